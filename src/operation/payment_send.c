
/*
 * The subscription of a paid line: sent, sent again under the same key, or
 * looked up by what it says of itself.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/text.h"
#include "operation/payment.h"
#include "store/calls.h"


/* so many rests with a 5xx: it may be a saved one, replayed for ever */
#define LINES_SAVED_TRIES  2


static ngx_int_t payment_subscribe(lines_op_t *op);
static ngx_int_t payment_subscribed(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t payment_sent(lines_op_t *op,
    lines_stripe_subscription_t *subscription);
static ngx_int_t payment_recorded(void *data,
    lines_request_sent_reply_t *reply);
static ngx_int_t payment_refused(lines_op_t *op, lines_stripe_error_t *error);
static ngx_int_t payment_ended(void *data,
    lines_request_refused_reply_t *reply);
static ngx_int_t payment_find(lines_op_t *op);
static ngx_int_t payment_found(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t payment_absent(lines_op_t *op);
static ngx_int_t payment_renewed(void *data,
    lines_request_again_reply_t *reply);
static ngx_int_t payment_canceled(void *data, lines_cancel_end_reply_t *reply);


ngx_int_t
lines_payment_call(ngx_pool_t *pool, lines_main_conf_t *lmcf,
    ngx_str_t *tenant, ngx_str_t *line, ngx_str_t *customer, ngx_str_t *price,
    ngx_uint_t attempt, ngx_str_t *body, ngx_str_t *key)
{
    lines_stripe_metadata_t  metadata;

    ngx_memzero(&metadata, sizeof(lines_stripe_metadata_t));

    metadata.deployment = lmcf->billing->deployment;
    metadata.tenant = *tenant;
    metadata.line = *line;
    metadata.attempt = attempt;

    if (lines_stripe_addon_body(pool, customer, price, &metadata, body)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_redis_format(pool, key, "lines:%V:sub:%ui", line, attempt);
}


ngx_int_t
lines_payment_send(lines_op_t *op)
{
    int64_t  absent, sent, now;

    now = lines_op_now(op);
    sent = lines_op_get_number(op, "sent_at");
    absent = lines_op_get_number(op, "absent_at");

    if (absent && now - absent < (int64_t) op->conf->absent) {
        return lines_op_rest(op, absent + (int64_t) op->conf->absent - now, 0,
                             NULL);
    }

    /* after a day the key may be forgotten, and would bill once more */

    if (absent || now - sent >= (int64_t) op->conf->resend) {
        return lines_op_call(op, payment_find, payment_found);
    }

    return lines_op_call(op, payment_subscribe, payment_subscribed);
}


static ngx_int_t
payment_subscribe(lines_op_t *op)
{
    ngx_str_t  body, key;

    body = lines_op_get(op, "body");
    key = lines_op_get(op, "key");

    return lines_billing_subscribe(op->carrier, &body, &key, lines_op_answered,
                                   op);
}


static ngx_int_t
payment_subscribed(lines_op_t *op, lines_billing_result_t *result)
{
    switch (result->outcome) {

    case LINES_STRIPE_OK:
        return payment_sent(op, result->subscription);

    case LINES_STRIPE_REFUSED:
        return payment_refused(op, &result->error);

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    case LINES_STRIPE_UNKNOWN:

        if (result->status >= 500
            && (result->should_retry == 0
                || lines_op_get_number(op, "tries") >= LINES_SAVED_TRIES))
        {
            return lines_op_call(op, payment_find, payment_found);
        }

        /* fall through */

    default:
        return lines_op_again(op);
    }
}


static ngx_int_t
payment_sent(lines_op_t *op, lines_stripe_subscription_t *subscription)
{
    lines_stripe_invoice_t    *invoice;
    lines_request_sent_args_t  args;

    invoice = &subscription->invoice;

    if (invoice->id.len == 0) {
        ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                      "lines operation %V: subscription \"%V\" has no invoice",
                      &op->id, &subscription->id);
        return lines_op_again(op);
    }

    if (lines_op_set(op, "subscription", &subscription->id) != NGX_OK
        || lines_op_set(op, "invoice", &invoice->id) != NGX_OK
        || lines_op_set(op, "url", &invoice->url) != NGX_OK
        || lines_op_set(op, "invoice_status", &invoice->status) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: subscription \"%V\", invoice \"%V\"",
                  &op->id, &subscription->id, &invoice->id);

    lines_op_held(op, &args);

    args.line = lines_op_get(op, "line");
    args.lease = op->conf->lease;
    args.subscription = subscription->id;
    args.invoice = invoice->id;
    args.url = invoice->url;
    args.invoice_status = invoice->status;

    lines_op_renewed(op);

    return lines_send_request_sent(&op->caller, LINES_CALL, &args,
                                   payment_recorded, op);
}


static ngx_int_t
payment_recorded(void *data, lines_request_sent_reply_t *reply)
{
    lines_op_t *op = data;

    ngx_str_t  status, await = ngx_string("await");

    if (lines_op_set(op, "intent", &reply->intent) != NGX_OK
        || lines_op_set(op, "answer_status", &reply->answer_status) != NGX_OK
        || lines_op_set(op, "answer", &reply->answer) != NGX_OK
        || lines_op_enter(op, &await) != NGX_OK)
    {
        return NGX_ERROR;
    }

    status = lines_op_get(op, "invoice_status");

    if (reply->intent.len || !lines_is(&status, "open")) {
        return NGX_OK;
    }

    return lines_op_rest(op, lines_payment_poll(op), 0, NULL);
}


static ngx_int_t
payment_refused(lines_op_t *op, lines_stripe_error_t *error)
{
    lines_request_refused_args_t  args;

    lines_op_held(op, &args);
    lines_op_of_line(op, &args);

    if (error->decline_code.len) {
        args.reason = error->decline_code;

    } else if (error->code.len) {
        args.reason = error->code;

    } else {
        ngx_str_set(&args.reason, "payment_refused");
    }

    /* only what is said about a card is meant for its owner */

    ngx_str_set(&args.message,
                "The payment for this line could not be set up.");

    if (error->type.len == 10
        && error->message.len
        && ngx_strncmp(error->type.data, "card_error", 10) == 0)
    {
        args.message = error->message;

    } else if (lines_stripe_error_is(error, "resource_missing")
               && lines_is(&error->param, "customer"))
    {
        ngx_str_set(&args.reason, "subscription_required");
        ngx_str_set(&args.message,
                    "Billing does not know the customer of this "
                    "workspace: set up billing first.");
    }

    ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                  "lines operation %V: refused by billing, \"%V\" \"%V\"",
                  &op->id, &error->code, &error->message);

    return lines_send_request_refused(&op->caller, LINES_CALL, &args,
                                      payment_ended, op);
}


/* the record has its answer now */

static ngx_int_t
payment_ended(void *data, lines_request_refused_reply_t *reply)
{
    return lines_op_take(data);
}


static ngx_int_t
payment_find(lines_op_t *op)
{
    ngx_str_t                customer;
    lines_stripe_metadata_t  match;

    ngx_memzero(&match, sizeof(lines_stripe_metadata_t));

    match.tenant = op->tenant;
    match.line = lines_op_get(op, "line");
    match.attempt = op->attempt;

    customer = lines_op_get(op, "customer");

    return lines_billing_find_subscriptions(op->carrier, &customer, &match,
                                            lines_op_since(op),
                                            lines_op_answered, op);
}


static ngx_int_t
payment_found(lines_op_t *op, lines_billing_result_t *result)
{
    switch (result->outcome) {

    case LINES_STRIPE_OK:

        if (result->subscriptions && result->subscriptions->nelts) {
            return payment_sent(op, result->subscriptions->elts);
        }

        return payment_absent(op);

    case LINES_STRIPE_REFUSED:

        /* no such customer: nothing can have been created for it */

        return payment_absent(op);

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    default:
        return lines_op_again(op);
    }
}


static ngx_int_t
payment_absent(lines_op_t *op)
{
    int64_t    now;
    u_char     instant[NGX_INT64_LEN];
    ngx_str_t  fields[2], intent, reason;

    now = lines_op_now(op);

    if (lines_op_get_number(op, "absent_at") == 0) {

        ngx_str_set(&fields[0], "absent_at");
        fields[1].data = instant;
        fields[1].len = ngx_sprintf(instant, "%L", now) - instant;

        return lines_op_rest(op, op->conf->absent, 2, fields);
    }

    intent = lines_op_get(op, "intent");

    if (intent.len) {
        reason = lines_op_get(op, "intent_reason");
        return lines_payment_cancel(op, &reason);
    }

    if (now - lines_op_get_number(op, "sent_at") >= (int64_t) op->conf->resend)
    {
        ngx_str_set(&reason, "payment_expired");
        return lines_payment_cancel(op, &reason);
    }

    return lines_payment_again(op);
}


ngx_int_t
lines_payment_again(lines_op_t *op)
{
    ngx_str_t                   customer, price;
    lines_request_again_args_t  args;

    customer = lines_op_get(op, "customer");
    price = lines_op_get(op, "price");

    lines_op_held(op, &args);

    args.line = lines_op_get(op, "line");
    args.lease = op->conf->lease;

    if (lines_payment_call(op->pool, op->lmcf, &op->tenant, &args.line,
                           &customer, &price, op->attempt + 1, &args.body,
                           &args.key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: attempt %ui is dead, another one",
                  &op->id, op->attempt);

    /* there is something to send: not only when its invoice is looked at */

    lines_op_hint(op, &op->id, op->conf->due);

    return lines_send_request_again(&op->caller, LINES_CALL, &args,
                                    payment_renewed, op);
}


/* also where a cancel came first: the record says so */

static ngx_int_t
payment_renewed(void *data, lines_request_again_reply_t *reply)
{
    return lines_op_take(data);
}


ngx_int_t
lines_payment_cancel(lines_op_t *op, ngx_str_t *reason)
{
    lines_cancel_end_args_t  args;

    lines_op_held(op, &args);
    lines_op_of_line(op, &args);

    args.reason = *reason;

    return lines_send_cancel_end(&op->caller, LINES_CALL, &args,
                                 payment_canceled, op);
}


static ngx_int_t
payment_canceled(void *data, lines_cancel_end_reply_t *reply)
{
    return lines_op_take(data);
}
