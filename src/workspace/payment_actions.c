
/*
 * POST line-requests/:id: what a client may do about a line that awaits
 * payment: have the link again, or cancel it.
 */

#include "api/ask.h"
#include "api/client.h"
#include "api/input.h"
#include "api/json.h"
#include "api/tenant_limits.h"
#include "http/answer.h"
#include "http/failpoint.h"
#include "http/text.h"
#include "operation/operation.h"
#include "workspace/routes.h"
#include "workspace/workspace.h"


typedef struct {
    ngx_str_t                action;
    ngx_uint_t               cancel;  /* flag: else the link */
    lines_line_read_reply_t  line;    /* as last read */
} lines_action_t;


static const char  not_pending[] =
    "This action applies only to requests that await payment.";


const lines_body_input_t  lines_action_input =
    lines_body_input(lines_action_t,
        lines_in_word("action", lines_action_t, action, "Unsupported action",
                      .words = { "cancel", "payment_link" },
                      .flags = LINES_REQUIRED));


ngx_int_t
lines_action_read(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_action_t  *action = ctx->data;

    action->cancel = lines_is(&action->action, "cancel");

    return lines_keep_line_read(&ctx->caller, &action->line,
                                .tenant = ctx->identity.tenant,
                                .id = ctx->params[0]);
}


/* 503: not known within the budget; it goes on without the client */

static ngx_int_t
action_refuse(lines_ctx_t *ctx, ngx_uint_t status, const char *message)
{
    lines_action_t  *action = ctx->data;

    if (status == NGX_HTTP_SERVICE_UNAVAILABLE) {
        ctx->retry_after = 5;
    }

    return lines_json(ctx, status, "{'success':false,'status':'%V',"
                      "'message':'%s','line':%V}", &action->line.status,
                      message, &action->line.document);
}


ngx_int_t
lines_action_decide(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t       *subscription;
    lines_action_t  *action = ctx->data;

    subscription = &action->line.subscription;

    if (action->line.status.len == 0) {
        return lines_line_request_unknown(ctx);
    }

    /* paying is what a workspace that is past due is to do */

    if (!action->cancel
        && !lines_is(subscription, "active")
        && !lines_is(subscription, "past_due"))
    {
        return lines_subscription_required(ctx,
                       "An active subscription is required to pay for lines.");
    }

    if (lines_status(&action->line.status) != LINES_AWAITING_PAYMENT) {
        return action_refuse(ctx, NGX_HTTP_CONFLICT, not_pending);
    }

    if (action->cancel) {
        return NGX_OK;
    }

    if (lines_is(&action->line.wish, "cancel")) {
        return action_refuse(ctx, NGX_HTTP_CONFLICT,
                             "This line request is being canceled.");
    }

    return lines_get_main_conf(r)->billing ? NGX_OK
                                           : lines_unavailable(r, ctx, 60);
}


lines_answered(cancel_hinted, void *none, due_add)
{
    LINES_FAILPOINT("cancel.begin.before");

    return NGX_OK;
}


static ngx_int_t
cancel_due(lines_ctx_t *ctx, ngx_msec_t delay, lines_due_add_pt done)
{
    return lines_due_add(&ctx->caller, done, ctx,
                         .shard = lines_due_shard(&ctx->params[0]),
                         .tenant = ctx->identity.tenant, .id = ctx->params[0],
                         .delay = delay);
}


/*
 * The hint of a cancellation is written before the wish and again after it:
 * whoever holds the operation may set another due instant between the two.
 */

ngx_int_t
lines_action_hint(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_action_t  *action = ctx->data;

    return action->cancel
           ? cancel_due(ctx, lines_get_main_conf(r)->operation->due,
                        cancel_hinted)
           : NGX_OK;
}


lines_asks(lines_action_wish, lines_action_t *action, line_wish,
           .tenant = ctx->identity.tenant, .id = ctx->params[0],
           .wish = lines_op_text(action->cancel ? "cancel" : "link"),
           .interval = lines_tenant_limits_of(r)->interval,
           .size = lines_tenant_limits_of(r)->size)
{
    static ngx_str_t  bound = ngx_string("billing");

    if (action->cancel) {
        LINES_FAILPOINT("cancel.begin.after");
    }

    switch (reply->is) {

    case LINES_LINE_WISH_UNKNOWN:
        return lines_line_request_unknown(ctx);

    case LINES_LINE_WISH_BOUND:
        return lines_tenant_limited(ctx, &bound, reply->ms);

    case LINES_LINE_WISH_ILLEGAL:
        action->line.status = reply->status;
        action->line.document = reply->document;

        return action->cancel
               ? action_refuse(ctx, NGX_HTTP_CONFLICT, not_pending)
               : lines_action_show(r, ctx);
    }

    return action->cancel ? cancel_due(ctx, 0, NULL) : NGX_OK;
}


static ngx_int_t
linked(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc, lines_op_t *op)
{
    ngx_str_t        url, invoice, refused, answer, status, step, wish, place;
    lines_action_t  *action = ctx->data;

    if (rc == NGX_OK && op) {
        step = lines_op_get(op, "step");
        wish = lines_op_get(op, "wish");
        place = lines_op_get(op, "place");
        status = lines_op_get(op, "invoice_status");
        url = lines_op_get(op, "url");
        invoice = lines_op_get(op, "invoice");

        if (lines_is(&step, "await")
            && !lines_is(&wish, "cancel")
            && place.len == 0
            && lines_is(&status, "open")
            && url.len)
        {
            /* reused: read afresh just now */

            return lines_json_ok(ctx, "{'success':true,"
                                 "'status':'awaiting_payment','paymentUrl':%J,"
                                 "'invoiceId':%J,'reused':%B}", &url, &invoice,
                                 (ngx_uint_t) ((int64_t) op->attempt
                                               == action->line.attempt));
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

    return NGX_OK;
}


ngx_int_t
lines_action_start(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_action_t  *action = ctx->data;

    return lines_op_start(ctx, &ctx->params[0], 1, 0,
                          action->cancel ? NULL : linked);
}


lines_asks(lines_action_show, lines_action_t *action, line_read,
           .tenant = ctx->identity.tenant, .id = ctx->params[0])
{
    action->line = *reply;

    if (lines_status(&reply->status) == LINES_AWAITING_PAYMENT) {
        return action_refuse(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                             action->cancel
                             ? "The cancellation goes on: billing has not "
                               "answered yet."
                             : "Billing has not answered yet.");
    }

    if (action->cancel) {

        if (lines_status(&reply->status) == LINES_CANCELED) {
            return lines_json_ok(ctx, "{'success':true,'status':'canceled',"
                                 "'line':%V}", &reply->document);
        }

        return action_refuse(ctx, NGX_HTTP_CONFLICT,
                             "The payment was faster than the cancellation.");
    }

    /* paid, or included: the normal answer, as the request would have had it */

    if (lines_status(&reply->status) == LINES_PROVISIONING
        || lines_status(&reply->status) == LINES_ACTIVE)
    {
        return lines_json_ok(ctx, LINES_LINE_REQUEST, &reply->status,
                             &reply->payment, (ngx_uint_t) reply->required,
                             &reply->document);
    }

    return action_refuse(ctx, NGX_HTTP_CONFLICT, not_pending);
}
