
/*
 * A line request that has to be paid for: begun, blocking another one, read.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/answer.h"
#include "http/text.h"
#include "workspace/payments.h"


typedef struct {
    ngx_str_t      id;
    ngx_str_t      line;    /* its document */
    lines_step_pt  again;
    void          *data;    /* the endpoint's own, meanwhile */
} lines_pay_t;


static lines_pay_t *pay_create(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *id);
static ngx_int_t paid(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc,
    lines_op_t *op);
static ngx_int_t unblocked(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc, lines_op_t *op);
static ngx_int_t blocking_read(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t blocking_line(void *data, lines_line_read_reply_t *reply);
static ngx_int_t reconcile_turn(void *data, lines_poll_take_reply_t *reply);
static ngx_int_t reconciled(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc, lines_op_t *op);
static ngx_int_t pay_again(ngx_http_request_t *r, lines_ctx_t *ctx);


ngx_int_t
lines_read_line(lines_ctx_t *ctx, ngx_str_t *id, lines_line_read_pt done)
{
    return lines_line_read(&ctx->caller, done, ctx,
                           .tenant = ctx->identity.tenant, .id = *id);
}


static lines_pay_t *
pay_create(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *id)
{
    lines_pay_t  *pay;

    pay = ngx_pcalloc(r->pool, sizeof(lines_pay_t));
    if (pay == NULL) {
        return NULL;
    }

    pay->id = *id;
    pay->data = ctx->data;
    ctx->data = pay;

    return pay;
}


ngx_int_t
lines_pay(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *id,
    lines_op_begun_t *begun)
{
    lines_pay_t  *pay;

    pay = pay_create(r, ctx, id);
    if (pay == NULL) {
        return NGX_ERROR;
    }

    pay->line = begun->document;

    if (lines_op_begin(lines_get_main_conf(r), &ctx->identity.tenant, id,
                       begun)
        != NGX_OK)
    {
        return lines_unavailable(r, ctx, 1);
    }

    return lines_op_start(r, ctx, &ctx->identity.tenant, id, 0, 0, paid);
}


static ngx_int_t
paid(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc, lines_op_t *op)
{
    ngx_str_t     answer;
    ngx_int_t     status;
    lines_pay_t  *pay;

    pay = ctx->data;

    if (op) {
        answer = lines_op_get(op, "answer");
        status = lines_op_get_number(op, "answer_status");

        if (answer.len && status) {
            answer.data = ngx_pstrdup(r->pool, &answer);
            if (answer.data == NULL) {
                return NGX_ERROR;
            }

            if (status == NGX_HTTP_CREATED
                && lines_line_request_location(r, &pay->id) != NGX_OK)
            {
                return NGX_ERROR;
            }

            return lines_answer(r, ctx, status, &answer);
        }
    }

    /* not known yet: the same key resolves it, later and without the client */

    ctx->retry_after = 5;

    return lines_answer_format(r, ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                   "{\"success\":false,\"status\":\"awaiting_payment\","
                   "\"paymentStatus\":\"pending\",\"paymentRequired\":true,"
                   "\"message\":\"Billing has not answered yet. Read the line "
                   "request until it shows paymentUrl, or use the action "
                   "payment_link.\",\"line\":%V}", &pay->line);
}


ngx_int_t
lines_blocked(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *id,
    ngx_uint_t reconcile, lines_step_pt again)
{
    lines_pay_t  *pay;

    pay = pay_create(r, ctx, id);
    if (pay == NULL) {
        return NGX_ERROR;
    }

    pay->again = again;

    if (!reconcile || lines_get_main_conf(r)->billing == NULL) {
        return blocking_read(r, ctx);
    }

    return lines_op_start(r, ctx, &ctx->identity.tenant, id,
                          LINES_WANT_CANCEL, 0, unblocked);
}


static ngx_int_t
unblocked(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc,
    lines_op_t *op)
{
    return blocking_read(r, ctx);
}


static ngx_int_t
blocking_read(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_pay_t  *pay;

    pay = ctx->data;

    return lines_read_line(ctx, &pay->id, blocking_line);
}


static ngx_int_t
blocking_line(void *data, lines_line_read_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_pay_t  *pay;

    pay = ctx->data;

    if (!lines_is(&reply->status, "awaiting_payment")) {
        ctx->data = pay->data;
        return pay->again(ctx->request, ctx);
    }

    return lines_answer_format(ctx->request, ctx, NGX_HTTP_CONFLICT,
                 "{\"success\":false,\"status\":\"awaiting_payment\","
                 "\"message\":\"Another line request is awaiting payment: pay "
                 "or cancel it first.\",\"line\":%V,\"paymentUrl\":%V,"
                 "\"invoiceId\":%V}", &reply->document, &reply->url,
                 &reply->invoice);
}


ngx_int_t
lines_reconcile(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *id,
    lines_step_pt again)
{
    ngx_int_t           rc;
    lines_pay_t        *pay;
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(r);

    if (lmcf->billing == NULL) {
        return again(r, ctx);
    }

    pay = pay_create(r, ctx, id);
    if (pay == NULL) {
        return NGX_ERROR;
    }

    pay->again = again;

    rc = lines_try_poll_take(&ctx->caller, reconcile_turn, ctx,
                             .tenant = ctx->identity.tenant, .id = *id,
                             .ms = lmcf->operation->reconcile);

    return rc == NGX_DECLINED ? pay_again(r, ctx) : rc;
}


static ngx_int_t
reconcile_turn(void *data, lines_poll_take_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_pay_t         *pay;
    lines_main_conf_t   *lmcf;
    ngx_http_request_t  *r;

    pay = ctx->data;
    r = ctx->request;
    lmcf = lines_get_main_conf(r);

    /*
     * Somebody asked billing a moment ago, or Redis takes no writes, or nobody
     * knows: what is known is good enough.  Whether Redis can be read, the
     * read that follows finds out.
     */

    if (reply == NULL || reply->ok.len == 0) {
        return pay_again(r, ctx);
    }

    return lines_op_start(r, ctx, &ctx->identity.tenant, &pay->id, 0,
                          lmcf->operation->reader, reconciled);
}


static ngx_int_t
reconciled(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc,
    lines_op_t *op)
{
    return pay_again(r, ctx);
}


static ngx_int_t
pay_again(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_pay_t  *pay;

    pay = ctx->data;
    ctx->data = pay->data;

    return pay->again(r, ctx);
}
