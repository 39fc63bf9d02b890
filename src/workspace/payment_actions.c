
/*
 * What a client may do about a line that awaits payment: have the link again,
 * or cancel it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/answer.h"
#include "http/failpoint.h"
#include "http/text.h"
#include "workspace/payments.h"


/* ctx->data of all of them is the line as last read */

static ngx_int_t action_conflict(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *message);
static ngx_int_t action_pending(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *message);
static ngx_int_t link_line(void *data, lines_line_read_reply_t *line);
static ngx_int_t link_subscription(void *data,
    lines_tenant_subscription_reply_t *reply);
static ngx_int_t link_decide(lines_ctx_t *ctx, lines_line_read_reply_t *line,
    lines_tenant_subscription_reply_t *reply);
static ngx_int_t linked(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc,
    lines_op_t *op);
static ngx_int_t link_read(void *data, lines_line_read_reply_t *line);
static ngx_int_t cancel_hint(void *data, lines_line_read_reply_t *line);
static ngx_int_t cancel_due(lines_ctx_t *ctx, ngx_msec_t delay,
    lines_due_add_pt done);
static ngx_int_t cancel_hinted(void *data, lines_due_add_reply_t *reply);
static ngx_int_t cancel_begun(void *data, lines_cancel_begin_reply_t *reply);
static ngx_int_t cancel_start(void *data, lines_due_add_reply_t *reply);
static ngx_int_t canceled(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc, lines_op_t *op);
static ngx_int_t cancel_read(void *data, lines_line_read_reply_t *line);


static const char  not_pending[] =
    "This action applies only to requests that await payment.";


static ngx_int_t
action_conflict(ngx_http_request_t *r, lines_ctx_t *ctx, const char *message)
{
    lines_line_read_reply_t  *line;

    line = ctx->data;

    return lines_answer_format(r, ctx, NGX_HTTP_CONFLICT,
                     "{\"success\":false,\"status\":\"%V\",\"message\":\"%s\","
                     "\"line\":%V}", &line->status, message, &line->document);
}


/* the outcome is not known within the budget; it goes on without the client */

static ngx_int_t
action_pending(ngx_http_request_t *r, lines_ctx_t *ctx, const char *message)
{
    lines_line_read_reply_t  *line;

    line = ctx->data;

    ctx->retry_after = 5;

    return lines_answer_format(r, ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                     "{\"success\":false,\"status\":\"%V\",\"message\":\"%s\","
                     "\"line\":%V}", &line->status, message, &line->document);
}


ngx_int_t
lines_payment_link(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t  rc;

    ctx->data = NULL;

    /*
     * Both in one write.  Either may be answered first: a script that Redis
     * does not know is sent once more.
     */

    rc = lines_read_line(ctx, &ctx->params[0], link_line);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return lines_tenant_subscription(&ctx->caller, link_subscription, ctx,
                                     .tenant = ctx->identity.tenant);
}


static ngx_int_t
link_line(void *data, lines_line_read_reply_t *line)
{
    lines_ctx_t  *ctx = data;

    lines_tenant_subscription_reply_t  *reply;

    reply = ctx->data;
    ctx->data = line;

    return reply ? link_decide(ctx, line, reply) : NGX_OK;
}


static ngx_int_t
link_subscription(void *data, lines_tenant_subscription_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_line_read_reply_t  *line;

    line = ctx->data;

    if (line == NULL) {
        ctx->data = reply;
        return NGX_OK;
    }

    return link_decide(ctx, line, reply);
}


static ngx_int_t
link_decide(lines_ctx_t *ctx, lines_line_read_reply_t *line,
    lines_tenant_subscription_reply_t *reply)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (line->status.len == 0) {
        return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                           "Line request not found");
    }

    /* paying is what a workspace that is past due is to do */

    if (!lines_is(&reply->subscription, "active")
        && !lines_is(&reply->subscription, "past_due"))
    {
        return lines_business_error(r, ctx, NGX_HTTP_FORBIDDEN,
                        "subscription_required",
                        "An active subscription is required to pay for lines.",
                        "/billing");
    }

    if (!lines_is(&line->status, "awaiting_payment")) {
        return action_conflict(r, ctx, not_pending);
    }

    if (line->intent.len) {
        return action_conflict(r, ctx, "This line request is being canceled.");
    }

    if (lines_get_main_conf(r)->billing == NULL) {
        return lines_unavailable(r, ctx, 60);
    }

    return lines_op_start(r, ctx, &ctx->identity.tenant, &ctx->params[0],
                          LINES_WANT_LINK, 0, linked);
}


static ngx_int_t
linked(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc, lines_op_t *op)
{
    ngx_str_t                 url, invoice, refused, answer, status, step;
    ngx_str_t                 intent;
    ngx_uint_t                reused;
    lines_line_read_reply_t  *line;

    line = ctx->data;

    if (rc == NGX_OK && op) {
        step = lines_op_get(op, "step");
        intent = lines_op_get(op, "intent");
        status = lines_op_get(op, "invoice_status");
        url = lines_op_get(op, "url");
        invoice = lines_op_get(op, "invoice");

        if (lines_is(&step, "await")
            && intent.len == 0
            && lines_is(&status, "open")
            && url.len)
        {
            /* read afresh just now */

            reused = ((int64_t) op->attempt == line->attempt);

            url = lines_json_string(r->pool, &url);
            invoice = lines_json_string(r->pool, &invoice);

            return lines_answer_format(r, ctx, NGX_HTTP_OK,
                           "{\"success\":true,\"status\":\"awaiting_payment\","
                           "\"paymentUrl\":%V,\"invoiceId\":%V,\"reused\":%s}",
                           &url, &invoice, reused ? "true" : "false");
        }

        /* as a creation that billing refuses is answered */

        refused = lines_op_get(op, "refused");

        if (refused.len) {
            answer = lines_op_get(op, "answer");
            answer.data = ngx_pstrdup(r->pool, &answer);

            return answer.data ? lines_answer(r, ctx, 402, &answer)
                               : NGX_ERROR;
        }
    }

    return lines_read_line(ctx, &ctx->params[0], link_read);
}


static ngx_int_t
link_read(void *data, lines_line_read_reply_t *line)
{
    lines_ctx_t  *ctx = data;

    ngx_http_request_t  *r;

    ctx->data = line;
    r = ctx->request;

    if (lines_is(&line->status, "awaiting_payment")) {
        return action_pending(r, ctx, "Billing has not answered yet.");
    }

    /* paid meanwhile: the normal answer, as the request would have had it */

    if (lines_is(&line->status, "provisioning")
        || lines_is(&line->status, "active"))
    {
        return lines_answer_format(r, ctx, NGX_HTTP_OK,
                             "{\"success\":true,\"status\":\"%V\","
                             "\"paymentStatus\":\"%V\",\"paymentRequired\":%s,"
                             "\"line\":%V}", &line->status, &line->payment,
                             line->required ? "true" : "false",
                             &line->document);
    }

    return action_conflict(r, ctx, not_pending);
}


/*
 * The hint is written before the intent and again after it: whoever holds the
 * operation may set another due instant between the two.
 */

ngx_int_t
lines_cancel(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_read_line(ctx, &ctx->params[0], cancel_hint);
}


static ngx_int_t
cancel_hint(void *data, lines_line_read_reply_t *line)
{
    lines_ctx_t  *ctx = data;

    ngx_http_request_t  *r;

    ctx->data = line;
    r = ctx->request;

    if (line->status.len == 0) {
        return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                           "Line request not found");
    }

    if (!lines_is(&line->status, "awaiting_payment")) {
        return action_conflict(r, ctx, not_pending);
    }

    return cancel_due(ctx, lines_get_main_conf(r)->operation->due,
                      cancel_hinted);
}


static ngx_int_t
cancel_due(lines_ctx_t *ctx, ngx_msec_t delay, lines_due_add_pt done)
{
    return lines_due_add(&ctx->caller, done, ctx,
                         .shard = lines_due_shard(&ctx->params[0]),
                         .tenant = ctx->identity.tenant, .id = ctx->params[0],
                         .delay = delay);
}


static ngx_int_t
cancel_hinted(void *data, lines_due_add_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    LINES_FAILPOINT("cancel.begin.before");

    return lines_cancel_begin(&ctx->caller, cancel_begun, ctx,
                              .tenant = ctx->identity.tenant,
                              .id = ctx->params[0]);
}


static ngx_int_t
cancel_begun(void *data, lines_cancel_begin_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ngx_http_request_t       *r;
    lines_line_read_reply_t  *line;

    LINES_FAILPOINT("cancel.begin.after");

    line = ctx->data;
    r = ctx->request;

    switch (reply->is) {

    case LINES_CANCEL_BEGIN_UNKNOWN:
        return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                           "Line request not found");

    case LINES_CANCEL_BEGIN_ILLEGAL:
        line->status = reply->status;
        line->document = reply->document;

        return action_conflict(r, ctx, not_pending);
    }

    return cancel_due(ctx, lines_get_main_conf(r)->operation->retry,
                      cancel_start);
}


static ngx_int_t
cancel_start(void *data, lines_due_add_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return lines_op_start(ctx->request, ctx, &ctx->identity.tenant,
                          &ctx->params[0], LINES_WANT_INTENT, 0, canceled);
}


static ngx_int_t
canceled(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc, lines_op_t *op)
{
    return lines_read_line(ctx, &ctx->params[0], cancel_read);
}


static ngx_int_t
cancel_read(void *data, lines_line_read_reply_t *line)
{
    lines_ctx_t  *ctx = data;

    ngx_http_request_t  *r;

    ctx->data = line;
    r = ctx->request;

    if (lines_is(&line->status, "canceled")) {
        return lines_answer_format(r, ctx, NGX_HTTP_OK,
                      "{\"success\":true,\"status\":\"canceled\",\"line\":%V}",
                      &line->document);
    }

    if (lines_is(&line->status, "awaiting_payment")) {
        return action_pending(r, ctx,
                    "The cancellation goes on: billing has not answered yet.");
    }

    return action_conflict(r, ctx,
                           "The payment was faster than the cancellation.");
}
