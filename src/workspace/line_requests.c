
/*
 * GET line-requests, line-requests/:id, and lines/by-user: the lines of a
 * workspace, with the usage of the day.
 */

#include "api/ask.h"
#include "api/client.h"
#include "api/input.h"
#include "api/json.h"
#include "api/listing.h"
#include "events/wait.h"
#include "http/id.h"
#include "workspace/routes.h"
#include "workspace/workspace.h"


#define LINES_LIST_DEFAULT  20


typedef struct {
    lines_waiting_t  waiting;
    ngx_uint_t       reconciled;    /* flag: billing was asked, or is not to
                                       be */
} request_read_t;


const lines_body_input_t  lines_request_read_input =
    lines_body_input(request_read_t, lines_in_wait(request_read_t, waiting));


ngx_int_t
lines_line_request_list(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t  rc;

#define status_word(name)  #name,

    static const lines_input_t  inputs[] = {
        lines_in_word("status", lines_listing_t, status,
                      "status must be awaiting_payment, provisioning, active, "
                      "failed or canceled",
                      .words = { LINES_EACH_STATUS(status_word) }),
        lines_in_text("customerReference", lines_listing_t, reference,
                      LINES_REFERENCE_MAX),
        lines_input_end
    };

    rc = lines_listing_create(r, ctx, &ctx->identity.tenant, "requests",
                              "{\"success\":true,\"lineRequests\":[",
                              LINES_LIST_DEFAULT);

    return rc == NGX_OK ? lines_read_query(r, ctx, inputs, ctx->data) : rc;
}


ngx_int_t
lines_by_user(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_listing_create(r, ctx, &ctx->identity.tenant, "lines",
                                "{\"lines\":[", 0);
}


ngx_int_t
lines_line_request_id(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    if (lines_is_id(&ctx->params[0])) {
        return NGX_OK;
    }

    return lines_refuse(ctx, 400, "Invalid line request id");
}


ngx_int_t
lines_line_request_wait(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    request_read_t  *own = ctx->data;

    own->waiting.line = ctx->params[0];

    return NGX_OK;
}


/* of a stream of its events */

lines_asks(lines_line_request_known, void *none, line_exists,
           .tenant = ctx->identity.tenant, .id = ctx->params[0])
{
    return reply->there ? NGX_OK : lines_line_request_unknown(ctx);
}


lines_answered(line_request_turn, void *none, poll_take)
{
    /*
     * Somebody asked billing a moment ago, or Redis takes no writes, or nobody
     * knows: what is known is good enough.  Whether Redis can be read, the
     * read that follows finds out.
     */

    if (reply == NULL || reply->ok.len == 0) {
        return NGX_OK;
    }

    /* the reader waits for that no longer than a second */

    return lines_op_start(ctx, &ctx->params[0], 0,
                          lines_get_main_conf(r)->operation->reader, NULL);
}


/*
 * It is reconciled with billing, once in a while over the whole fleet, and read
 * by the next step: then what is known is good enough.
 */

static ngx_int_t
line_request_reconcile(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t        rc;
    request_read_t  *own = ctx->data;

    own->reconciled = 1;

    rc = lines_try_poll_take(&ctx->caller, line_request_turn, ctx,
                 .tenant = ctx->identity.tenant, .id = ctx->params[0],
                 .ms = lines_get_main_conf(r)->operation->reconcile);

    return rc == NGX_DECLINED ? NGX_OK : rc;
}


/*
 * As a rule this is all that is asked and done: the document is ready.  It does
 * not say all of a line that awaits payment (the layout's number has "?"), nor
 * of one whose workspace is not paid for; and there may be none, as the line is
 * of the layout before, or not there at all.
 */

lines_asks(lines_line_request_shown, request_read_t *own, line_shown,
           .tenant = ctx->identity.tenant, .id = ctx->params[0])
{
    ngx_str_t  text, layout, status, payment, required;

    /* whoever waits has had billing asked as it came, and is told on time */

    own->reconciled = lines_waited(&own->waiting)
                      || lines_get_main_conf(r)->billing == NULL;

    text = reply->text;

    layout = lines_word(&text);
    status = lines_word(&text);
    payment = lines_word(&text);
    required = lines_word(&text);

    if (lines_is(&layout, "2?")
        && lines_status(&status) == LINES_AWAITING_PAYMENT
        && !own->reconciled)
    {
        return line_request_reconcile(r, ctx);
    }

    if (!lines_is(&layout, "2")
        || text.len == 0
        || (reply->unpaid.len && lines_status(&status) == LINES_ACTIVE))
    {
        return NGX_OK;
    }

    return lines_wait_answer(ctx, LINES_LINE_REQUEST, &status, &payment,
                             lines_is(&required, "1"), &text);
}


lines_asks(lines_line_request_get, request_read_t *own, line_read,
           .tenant = ctx->identity.tenant, .id = ctx->params[0])
{
    if (reply->document.len == 0) {
        return lines_line_request_unknown(ctx);
    }

    if (reply->unclear.len) {
        lines_lapse_look(r, &ctx->identity.tenant, &ctx->params[0],
                         &reply->unclear);
    }

    if (lines_status(&reply->status) != LINES_AWAITING_PAYMENT) {
        return lines_wait_answer(ctx, LINES_LINE_REQUEST, &reply->status,
                                 &reply->payment, (ngx_uint_t) reply->required,
                                 &reply->document);
    }

    if (!own->reconciled) {
        return line_request_reconcile(r, ctx);
    }

    return lines_wait_answer(ctx, "{'success':true,'status':'%V',"
                             "'paymentStatus':'%V','paymentRequired':true,"
                             "'line':%V,'paymentUrl':%V,'invoiceId':%V}",
                             &reply->status, &reply->payment, &reply->document,
                             &reply->url, &reply->invoice);
}
