
/*
 * What a client may do about a line that awaits payment: have the link again,
 * or cancel it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/failpoint.h"
#include "store/scripts.h"
#include "workspace/payments.h"


typedef struct {
    ngx_int_t  attempt;    /* whose link the client may have */
    ngx_str_t  line;       /* its document, as last read */
    ngx_str_t  status;
    ngx_str_t  payment;
    ngx_str_t  required;
    ngx_str_t  intent;
    ngx_str_t  due_key;
    ngx_str_t  due_member;
} lines_action_t;


static ngx_int_t link_subscription(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t link_line(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t linked(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc,
    lines_op_t *op);
static ngx_int_t link_read(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t action_copy(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t action_conflict(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *message);
static ngx_int_t action_pending(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *message);
static ngx_int_t cancel_hint(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t cancel_hinted(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t cancel_begun(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t cancel_start(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t canceled(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc, lines_op_t *op);
static ngx_int_t cancel_read(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);


static const char  not_pending[] =
    "This action applies only to requests that await payment.";


static ngx_int_t
action_copy(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t        value;
    lines_action_t  *action;

    action = ctx->data;

    if (lines_reply_copy(r, reply, LINES_READ_DOCUMENT, &action->line)
        != NGX_OK
        || lines_reply_copy(r, reply, LINES_READ_STATUS, &action->status)
           != NGX_OK
        || lines_reply_copy(r, reply, LINES_READ_PAYMENT, &action->payment)
           != NGX_OK
        || lines_reply_copy(r, reply, LINES_READ_REQUIRED, &action->required)
           != NGX_OK
        || lines_reply_copy(r, reply, LINES_READ_INTENT, &action->intent)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    value = lines_reply_str(reply, LINES_READ_ATTEMPT);
    action->attempt = value.len ? ngx_atoi(value.data, value.len) : 0;

    return NGX_OK;
}


static ngx_int_t
action_conflict(ngx_http_request_t *r, lines_ctx_t *ctx, const char *message)
{
    lines_action_t  *action;

    action = ctx->data;

    return lines_answer_format(r, ctx, NGX_HTTP_CONFLICT,
                     "{\"success\":false,\"status\":\"%V\",\"message\":\"%s\","
                     "\"line\":%V}", &action->status, message, &action->line);
}


/* the outcome is not known within the budget; it goes on without the client */

static ngx_int_t
action_pending(ngx_http_request_t *r, lines_ctx_t *ctx, const char *message)
{
    lines_action_t  *action;

    action = ctx->data;

    if (lines_retry_after(r, 5) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_answer_format(r, ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                     "{\"success\":false,\"status\":\"%V\",\"message\":\"%s\","
                     "\"line\":%V}", &action->status, message, &action->line);
}


ngx_int_t
lines_payment_link(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t  rc;
    ngx_str_t  argv[3];

    ctx->data = ngx_pcalloc(r->pool, sizeof(lines_action_t));
    if (ctx->data == NULL) {
        return NGX_ERROR;
    }

    /* both in one write: the line, then the subscription that decides */

    rc = lines_line_read(r, ctx, link_line);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_str_set(&argv[0], "HMGET");
    ngx_str_set(&argv[2], "subscription");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:t",
                           &ctx->identity.tenant)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 3, argv, link_subscription);
}


static ngx_int_t
link_line(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    return action_copy(r, ctx, reply);
}


static ngx_int_t
link_subscription(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t        state;
    lines_action_t  *action;

    action = ctx->data;

    if (action->status.len == 0) {
        return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                           "Line request not found");
    }

    state = lines_reply_str(reply, 0);

    /* paying is what a workspace that is past due is to do */

    if (!lines_is(&state, "active") && !lines_is(&state, "past_due")) {
        return lines_business_error(r, ctx, NGX_HTTP_FORBIDDEN,
                        "subscription_required",
                        "An active subscription is required to pay for lines.",
                        "/billing");
    }

    if (!lines_is(&action->status, "awaiting_payment")) {
        return action_conflict(r, ctx, not_pending);
    }

    if (action->intent.len) {
        return action_conflict(r, ctx, "This line request is being canceled.");
    }

    if (lines_get_main_conf(r)->billing == NULL) {
        return lines_unavailable(r, ctx, 60);
    }

    return lines_op_start(r, ctx, &ctx->identity.tenant, &ctx->params[0], 0,
                          LINES_WANT_LINK, 0, linked);
}


static ngx_int_t
linked(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc, lines_op_t *op)
{
    ngx_str_t        url, invoice, refused, answer, status, step, intent;
    ngx_uint_t       reused;
    lines_action_t  *action;

    action = ctx->data;

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

            reused = ((ngx_int_t) op->attempt == action->attempt);

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

    return lines_line_read(r, ctx, link_read);
}


static ngx_int_t
link_read(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    lines_action_t  *action;

    action = ctx->data;

    if (action_copy(r, ctx, reply) != NGX_OK) {
        return NGX_ERROR;
    }

    if (lines_is(&action->status, "awaiting_payment")) {
        return action_pending(r, ctx, "Billing has not answered yet.");
    }

    /* paid meanwhile: the normal answer, as the request would have had it */

    if (lines_is(&action->status, "provisioning")
        || lines_is(&action->status, "active"))
    {
        return lines_answer_format(r, ctx, NGX_HTTP_OK,
                             "{\"success\":true,\"status\":\"%V\","
                             "\"paymentStatus\":\"%V\",\"paymentRequired\":%s,"
                             "\"line\":%V}", &action->status, &action->payment,
                             lines_is(&action->required, "1")
                             ? "true"
                             : "false", &action->line);
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
    ctx->data = ngx_pcalloc(r->pool, sizeof(lines_action_t));
    if (ctx->data == NULL) {
        return NGX_ERROR;
    }

    return lines_line_read(r, ctx, cancel_hint);
}


static ngx_int_t
cancel_hint(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t           args[3];
    lines_action_t     *action;
    lines_main_conf_t  *lmcf;

    action = ctx->data;
    lmcf = lines_get_main_conf(r);

    if (action_copy(r, ctx, reply) != NGX_OK) {
        return NGX_ERROR;
    }

    if (action->status.len == 0) {
        return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                           "Line request not found");
    }

    if (!lines_is(&action->status, "awaiting_payment")) {
        return action_conflict(r, ctx, not_pending);
    }

    if (lines_due(r->pool, &ctx->identity.tenant, &ctx->params[0],
                  &action->due_key, &action->due_member)
        != NGX_OK
        || lines_redis_format(r->pool, &args[2], "%M", lmcf->operation->due)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    args[0] = action->due_key;
    args[1] = action->due_member;

    return lines_eval(r, ctx, &lines_script_due_add, 1, 3, args,
                      cancel_hinted);
}


static ngx_int_t
cancel_hinted(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  args[3];

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:line:%V",
                           &ctx->identity.tenant, &ctx->params[0])
        != NGX_OK
        || lines_redis_format(r->pool, &args[1], "lines:{%V}:op:%V",
                              &ctx->identity.tenant, &ctx->params[0])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_null(&args[2]);

    LINES_FAILPOINT("cancel.begin.before");

    return lines_eval(r, ctx, &lines_script_cancel_begin, 2, 3, args,
                      cancel_begun);
}


static ngx_int_t
cancel_begun(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t        word, args[3];
    lines_action_t  *action;

    LINES_FAILPOINT("cancel.begin.after");

    action = ctx->data;
    word = lines_reply_str(reply, 0);

    if (lines_is(&word, "unknown")) {
        return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                           "Line request not found");
    }

    if (!lines_is(&word, "intent")) {

        if (lines_reply_copy(r, reply, 1, &action->status) != NGX_OK
            || lines_reply_copy(r, reply, 2, &action->line) != NGX_OK)
        {
            return NGX_ERROR;
        }

        return action_conflict(r, ctx, not_pending);
    }

    args[0] = action->due_key;
    args[1] = action->due_member;

    if (lines_redis_format(r->pool, &args[2], "%M",
                           lines_get_main_conf(r) ->operation->retry)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_eval(r, ctx, &lines_script_due_add, 1, 3, args, cancel_start);
}


static ngx_int_t
cancel_start(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    return lines_op_start(r, ctx, &ctx->identity.tenant, &ctx->params[0], 0,
                          LINES_WANT_INTENT, 0, canceled);
}


static ngx_int_t
canceled(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc, lines_op_t *op)
{
    return lines_line_read(r, ctx, cancel_read);
}


static ngx_int_t
cancel_read(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    lines_action_t  *action;

    action = ctx->data;

    if (action_copy(r, ctx, reply) != NGX_OK) {
        return NGX_ERROR;
    }

    if (lines_is(&action->status, "canceled")) {
        return lines_answer_format(r, ctx, NGX_HTTP_OK,
                      "{\"success\":true,\"status\":\"canceled\",\"line\":%V}",
                      &action->line);
    }

    if (lines_is(&action->status, "awaiting_payment")) {
        return action_pending(r, ctx,
                    "The cancellation goes on: billing has not answered yet.");
    }

    return action_conflict(r, ctx,
                           "The payment was faster than the cancellation.");
}
