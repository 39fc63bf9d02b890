
/*
 * The subscription of a paid line: sent, sent again under the same key, or
 * looked up by what it says of itself.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_payment.h"
#include "ngx_lines_scripts.h"


/* so many rests with a 5xx: it may be a saved one, replayed for ever */
#define NGX_HTTP_LINES_SAVED_TRIES  2


static ngx_int_t ngx_http_lines_payment_subscribe(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_payment_subscribed(
    ngx_http_lines_operation_t *op, ngx_http_lines_billing_result_t *result);
static ngx_int_t ngx_http_lines_payment_sent(ngx_http_lines_operation_t *op,
    ngx_lines_stripe_subscription_t *subscription);
static ngx_int_t ngx_http_lines_payment_recorded(
    ngx_http_lines_operation_t *op, redisReply *reply);
static ngx_int_t ngx_http_lines_payment_refused(
    ngx_http_lines_operation_t *op, ngx_lines_stripe_error_t *error);
static ngx_int_t ngx_http_lines_payment_ended(ngx_http_lines_operation_t *op,
    redisReply *reply);
static ngx_int_t ngx_http_lines_payment_find(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_payment_found(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result);
static ngx_int_t ngx_http_lines_payment_absent(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_payment_renewed(
    ngx_http_lines_operation_t *op, redisReply *reply);
static ngx_int_t ngx_http_lines_payment_canceled(
    ngx_http_lines_operation_t *op, redisReply *reply);


ngx_int_t
ngx_http_lines_payment_call(ngx_pool_t *pool,
    ngx_http_lines_main_conf_t *lmcf, ngx_str_t *tenant, ngx_str_t *line,
    ngx_str_t *customer, ngx_str_t *price, ngx_uint_t attempt,
    ngx_str_t *body, ngx_str_t *key)
{
    ngx_lines_stripe_metadata_t  metadata;

    ngx_memzero(&metadata, sizeof(ngx_lines_stripe_metadata_t));

    metadata.deployment = lmcf->billing->deployment;
    metadata.tenant = *tenant;
    metadata.line = *line;
    metadata.attempt = attempt;

    if (ngx_lines_stripe_addon_body(pool, customer, price, &metadata, body)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_lines_redis_format(pool, key, "lines:%V:sub:%ui", line,
                                  attempt);
}


ngx_int_t
ngx_http_lines_payment_keys(ngx_http_lines_operation_t *op, ngx_str_t *keys)
{
    ngx_str_t  line;

    line = ngx_http_lines_operation_get(op, "line");

    keys[0] = ngx_http_lines_operation_key(op, "op:%V", &op->id);
    keys[1] = ngx_http_lines_operation_key(op, "ops");
    keys[2] = ngx_http_lines_operation_key(op, "line:%V", &line);
    keys[3] = ngx_http_lines_operation_key(op, "t");
    keys[4] = ngx_http_lines_operation_key(op, "pending");
    keys[5] = ngx_http_lines_operation_key(op, "ev");
    keys[6] = ngx_http_lines_operation_get(op, "idempotency");

    if (keys[6].len == 0) {
        keys[6] = keys[0];
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_lines_payment_send(ngx_http_lines_operation_t *op)
{
    int64_t  absent, sent, now;

    now = ngx_http_lines_operation_now(op);
    sent = ngx_http_lines_operation_get_number(op, "sent_at");
    absent = ngx_http_lines_operation_get_number(op, "absent_at");

    if (absent && now - absent < (int64_t) op->conf->absent) {
        return ngx_http_lines_operation_rest(op,
                                  absent + (int64_t) op->conf->absent - now,
                                  0, NULL);
    }

    /* after a day the key may be forgotten, and would bill once more */

    if (absent || now - sent >= (int64_t) op->conf->resend) {
        return ngx_http_lines_operation_call(op, ngx_http_lines_payment_find,
                                             ngx_http_lines_payment_found);
    }

    return ngx_http_lines_operation_call(op, ngx_http_lines_payment_subscribe,
                                         ngx_http_lines_payment_subscribed);
}


static ngx_int_t
ngx_http_lines_payment_subscribe(ngx_http_lines_operation_t *op)
{
    ngx_str_t  body, key;

    body = ngx_http_lines_operation_get(op, "body");
    key = ngx_http_lines_operation_get(op, "key");

    return ngx_http_lines_billing_subscribe(op->carrier, &body, &key,
                                            ngx_http_lines_operation_answered,
                                            op);
}


static ngx_int_t
ngx_http_lines_payment_subscribed(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    switch (result->outcome) {

    case NGX_LINES_STRIPE_OK:
        return ngx_http_lines_payment_sent(op, result->subscription);

    case NGX_LINES_STRIPE_REFUSED:
        return ngx_http_lines_payment_refused(op, &result->error);

    case NGX_LINES_STRIPE_ALERT:
        return ngx_http_lines_operation_stuck(op, "billing_alert");

    case NGX_LINES_STRIPE_UNKNOWN:

        if (result->status >= 500
            && (result->should_retry == 0
                || ngx_http_lines_operation_get_number(op, "tries")
                   >= NGX_HTTP_LINES_SAVED_TRIES))
        {
            return ngx_http_lines_operation_call(op,
                                             ngx_http_lines_payment_find,
                                             ngx_http_lines_payment_found);
        }

        /* fall through */

    default:
        return ngx_http_lines_operation_again(op);
    }
}


static ngx_int_t
ngx_http_lines_payment_sent(ngx_http_lines_operation_t *op,
    ngx_lines_stripe_subscription_t *subscription)
{
    ngx_str_t  args[10];

    args[0] = ngx_http_lines_operation_key(op, "op:%V", &op->id);
    args[9] = ngx_http_lines_operation_get(op, "line");
    args[1] = ngx_http_lines_operation_key(op, "line:%V", &args[9]);

    if (ngx_http_lines_operation_guard(op, &args[2]) != NGX_OK
        || ngx_lines_redis_format(op->pool, &args[5], "%M", op->conf->lease)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    args[6] = subscription->id;
    args[7] = subscription->invoice.id;
    args[8] = subscription->invoice.url;
    args[9] = subscription->invoice.status;

    if (args[7].len == 0) {
        ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                      "lines operation %V: subscription \"%V\" has no invoice",
                      &op->id, &args[6]);
        return ngx_http_lines_operation_again(op);
    }

    if (ngx_http_lines_operation_set(op, "subscription", &args[6]) != NGX_OK
        || ngx_http_lines_operation_set(op, "invoice", &args[7]) != NGX_OK
        || ngx_http_lines_operation_set(op, "url", &args[8]) != NGX_OK
        || ngx_http_lines_operation_set(op, "invoice_status",
                                        &subscription->invoice.status)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: subscription \"%V\", invoice \"%V\"",
                  &op->id, &args[6], &args[7]);

    ngx_http_lines_operation_renewed(op);

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_request_sent, 2,
                                         10, args,
                                         ngx_http_lines_payment_recorded);
}


static ngx_int_t
ngx_http_lines_payment_recorded(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    ngx_str_t  intent, status, answer, await = ngx_string("await");

    intent = ngx_http_lines_reply_str(reply, 1);
    status = ngx_http_lines_reply_str(reply, 2);
    answer = ngx_http_lines_reply_str(reply, 3);

    if (ngx_http_lines_operation_set(op, "intent", &intent) != NGX_OK
        || ngx_http_lines_operation_set(op, "answer_status", &status)
           != NGX_OK
        || ngx_http_lines_operation_set(op, "answer", &answer) != NGX_OK
        || ngx_http_lines_operation_enter(op, &await) != NGX_OK)
    {
        return NGX_ERROR;
    }

    status = ngx_http_lines_operation_get(op, "invoice_status");

    if (intent.len || status.len != 4
        || ngx_strncmp(status.data, "open", 4) != 0)
    {
        return NGX_OK;
    }

    return ngx_http_lines_operation_rest(op, ngx_http_lines_payment_poll(op),
                                         0, NULL);
}


static ngx_int_t
ngx_http_lines_payment_refused(ngx_http_lines_operation_t *op,
    ngx_lines_stripe_error_t *error)
{
    ngx_str_t  args[NGX_HTTP_LINES_LINE_KEYS + 6], *argv;

    ngx_http_lines_payment_keys(op, args);

    argv = &args[NGX_HTTP_LINES_LINE_KEYS];

    if (ngx_http_lines_operation_guard(op, argv) != NGX_OK) {
        return NGX_ERROR;
    }

    argv[3] = op->id;

    if (error->decline_code.len) {
        argv[4] = error->decline_code;

    } else if (error->code.len) {
        argv[4] = error->code;

    } else {
        ngx_str_set(&argv[4], "payment_refused");
    }

    /* only what is said about a card is meant for its owner */

    ngx_str_set(&argv[5], "The payment for this line could not be set up.");

    if (error->type.len == 10 && error->message.len
        && ngx_strncmp(error->type.data, "card_error", 10) == 0)
    {
        argv[5] = error->message;

    } else if (ngx_lines_stripe_error_is(error, "resource_missing")
               && ngx_http_lines_is(&error->param, "customer"))
    {
        ngx_str_set(&argv[4], "subscription_required");
        ngx_str_set(&argv[5], "Billing does not know the customer of this "
                              "workspace: set up billing first.");
    }

    ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                  "lines operation %V: refused by billing, \"%V\" \"%V\"",
                  &op->id, &error->code, &error->message);

    return ngx_http_lines_operation_eval(op,
                                         &ngx_lines_script_request_refused,
                                         NGX_HTTP_LINES_LINE_KEYS,
                                         NGX_HTTP_LINES_LINE_KEYS + 6, args,
                                         ngx_http_lines_payment_ended);
}


/* the record has its answer now */

static ngx_int_t
ngx_http_lines_payment_ended(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    return ngx_http_lines_operation_claim(op);
}


static ngx_int_t
ngx_http_lines_payment_find(ngx_http_lines_operation_t *op)
{
    ngx_str_t                    customer;
    ngx_lines_stripe_metadata_t  match;

    ngx_memzero(&match, sizeof(ngx_lines_stripe_metadata_t));

    match.tenant = op->tenant;
    match.line = ngx_http_lines_operation_get(op, "line");
    match.attempt = op->attempt;

    customer = ngx_http_lines_operation_get(op, "customer");

    return ngx_http_lines_billing_find_subscriptions(op->carrier, &customer,
                                         &match,
                                         ngx_http_lines_operation_since(op),
                                         ngx_http_lines_operation_answered,
                                         op);
}


static ngx_int_t
ngx_http_lines_payment_found(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    switch (result->outcome) {

    case NGX_LINES_STRIPE_OK:

        if (result->subscriptions && result->subscriptions->nelts) {
            return ngx_http_lines_payment_sent(op,
                                               result->subscriptions->elts);
        }

        return ngx_http_lines_payment_absent(op);

    case NGX_LINES_STRIPE_REFUSED:

        /* no such customer: nothing can have been created for it */

        return ngx_http_lines_payment_absent(op);

    case NGX_LINES_STRIPE_ALERT:
        return ngx_http_lines_operation_stuck(op, "billing_alert");

    default:
        return ngx_http_lines_operation_again(op);
    }
}


static ngx_int_t
ngx_http_lines_payment_absent(ngx_http_lines_operation_t *op)
{
    int64_t    now;
    u_char     instant[NGX_INT64_LEN];
    ngx_str_t  fields[2], intent, reason;

    now = ngx_http_lines_operation_now(op);

    if (ngx_http_lines_operation_get_number(op, "absent_at") == 0) {

        ngx_str_set(&fields[0], "absent_at");
        fields[1].data = instant;
        fields[1].len = ngx_sprintf(instant, "%L", now) - instant;

        return ngx_http_lines_operation_rest(op, op->conf->absent, 2, fields);
    }

    intent = ngx_http_lines_operation_get(op, "intent");

    if (intent.len) {
        reason = ngx_http_lines_operation_get(op, "intent_reason");
        return ngx_http_lines_payment_cancel(op, &reason);
    }

    if (now - ngx_http_lines_operation_get_number(op, "sent_at")
        >= (int64_t) op->conf->resend)
    {
        ngx_str_set(&reason, "payment_expired");
        return ngx_http_lines_payment_cancel(op, &reason);
    }

    return ngx_http_lines_payment_again(op);
}


ngx_int_t
ngx_http_lines_payment_again(ngx_http_lines_operation_t *op)
{
    ngx_str_t  args[8], line, customer, price;

    line = ngx_http_lines_operation_get(op, "line");
    customer = ngx_http_lines_operation_get(op, "customer");
    price = ngx_http_lines_operation_get(op, "price");

    args[0] = ngx_http_lines_operation_key(op, "op:%V", &op->id);
    args[1] = ngx_http_lines_operation_key(op, "line:%V", &line);

    if (ngx_http_lines_operation_guard(op, &args[2]) != NGX_OK
        || ngx_lines_redis_format(op->pool, &args[5], "%M", op->conf->lease)
           != NGX_OK
        || ngx_http_lines_payment_call(op->pool, op->lmcf, &op->tenant, &line,
                                       &customer, &price, op->attempt + 1,
                                       &args[6], &args[7])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: attempt %ui is dead, another one",
                  &op->id, op->attempt);

    /* there is something to send: not only when its invoice is looked at */

    ngx_http_lines_operation_hint(op, &op->id, op->conf->due);

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_request_again,
                                         2, 8, args,
                                         ngx_http_lines_payment_renewed);
}


/* also where a cancel came first: the record says so */

static ngx_int_t
ngx_http_lines_payment_renewed(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    return ngx_http_lines_operation_claim(op);
}


ngx_int_t
ngx_http_lines_payment_cancel(ngx_http_lines_operation_t *op,
    ngx_str_t *reason)
{
    ngx_str_t  args[NGX_HTTP_LINES_LINE_KEYS + 5], *argv;

    ngx_http_lines_payment_keys(op, args);

    argv = &args[NGX_HTTP_LINES_LINE_KEYS];

    if (ngx_http_lines_operation_guard(op, argv) != NGX_OK) {
        return NGX_ERROR;
    }

    argv[3] = op->id;
    argv[4] = *reason;

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_cancel_end,
                                         NGX_HTTP_LINES_LINE_KEYS,
                                         NGX_HTTP_LINES_LINE_KEYS + 5, args,
                                         ngx_http_lines_payment_canceled);
}


static ngx_int_t
ngx_http_lines_payment_canceled(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    return ngx_http_lines_operation_claim(op);
}
