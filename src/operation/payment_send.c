
/*
 * The subscription of a paid line: sent, sent again under the same key, or
 * looked up by what it says of itself.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/payment.h"
#include "store/scripts.h"


/* so many rests with a 5xx: it may be a saved one, replayed for ever */
#define LINES_SAVED_TRIES  2


static ngx_int_t payment_subscribe(lines_op_t *op);
static ngx_int_t payment_subscribed(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t payment_sent(lines_op_t *op,
    lines_stripe_subscription_t *subscription);
static ngx_int_t payment_recorded(lines_op_t *op, redisReply *reply);
static ngx_int_t payment_refused(lines_op_t *op, lines_stripe_error_t *error);
static ngx_int_t payment_ended(lines_op_t *op, redisReply *reply);
static ngx_int_t payment_find(lines_op_t *op);
static ngx_int_t payment_found(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t payment_absent(lines_op_t *op);
static ngx_int_t payment_renewed(lines_op_t *op, redisReply *reply);
static ngx_int_t payment_canceled(lines_op_t *op, redisReply *reply);


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
lines_payment_keys(lines_op_t *op, ngx_str_t *keys)
{
    ngx_str_t  line;

    line = lines_op_get(op, "line");

    keys[0] = lines_op_key(op, "op:%V", &op->id);
    keys[1] = lines_op_key(op, "ops");
    keys[2] = lines_op_key(op, "line:%V", &line);
    keys[3] = lines_op_key(op, "t");
    keys[4] = lines_op_key(op, "pending");
    keys[5] = lines_op_key(op, "ev");
    keys[6] = lines_op_get(op, "idempotency");

    if (keys[6].len == 0) {
        keys[6] = keys[0];
    }

    return NGX_OK;
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
    ngx_str_t  args[10];

    args[0] = lines_op_key(op, "op:%V", &op->id);
    args[9] = lines_op_get(op, "line");
    args[1] = lines_op_key(op, "line:%V", &args[9]);

    if (lines_op_guard(op, &args[2]) != NGX_OK
        || lines_redis_format(op->pool, &args[5], "%M", op->conf->lease)
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
        return lines_op_again(op);
    }

    if (lines_op_set(op, "subscription", &args[6]) != NGX_OK
        || lines_op_set(op, "invoice", &args[7]) != NGX_OK
        || lines_op_set(op, "url", &args[8]) != NGX_OK
        || lines_op_set(op, "invoice_status", &subscription->invoice.status)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: subscription \"%V\", invoice \"%V\"",
                  &op->id, &args[6], &args[7]);

    lines_op_renewed(op);

    return lines_op_eval(op, &lines_script_request_sent, 2, 10, args,
                         payment_recorded);
}


static ngx_int_t
payment_recorded(lines_op_t *op, redisReply *reply)
{
    ngx_str_t  intent, status, answer, await = ngx_string("await");

    intent = lines_reply_str(reply, 1);
    status = lines_reply_str(reply, 2);
    answer = lines_reply_str(reply, 3);

    if (lines_op_set(op, "intent", &intent) != NGX_OK
        || lines_op_set(op, "answer_status", &status) != NGX_OK
        || lines_op_set(op, "answer", &answer) != NGX_OK
        || lines_op_enter(op, &await) != NGX_OK)
    {
        return NGX_ERROR;
    }

    status = lines_op_get(op, "invoice_status");

    if (intent.len
        || status.len != 4
        || ngx_strncmp(status.data, "open", 4) != 0)
    {
        return NGX_OK;
    }

    return lines_op_rest(op, lines_payment_poll(op), 0, NULL);
}


static ngx_int_t
payment_refused(lines_op_t *op, lines_stripe_error_t *error)
{
    ngx_str_t  args[LINES_LINE_KEYS + 6], *argv;

    lines_payment_keys(op, args);

    argv = &args[LINES_LINE_KEYS];

    if (lines_op_guard(op, argv) != NGX_OK) {
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

    if (error->type.len == 10
        && error->message.len
        && ngx_strncmp(error->type.data, "card_error", 10) == 0)
    {
        argv[5] = error->message;

    } else if (lines_stripe_error_is(error, "resource_missing")
               && lines_is(&error->param, "customer"))
    {
        ngx_str_set(&argv[4], "subscription_required");
        ngx_str_set(&argv[5],
                    "Billing does not know the customer of this "
                    "workspace: set up billing first.");
    }

    ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                  "lines operation %V: refused by billing, \"%V\" \"%V\"",
                  &op->id, &error->code, &error->message);

    return lines_op_eval(op, &lines_script_request_refused, LINES_LINE_KEYS,
                         LINES_LINE_KEYS + 6, args, payment_ended);
}


/* the record has its answer now */

static ngx_int_t
payment_ended(lines_op_t *op, redisReply *reply)
{
    return lines_op_take(op);
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
    ngx_str_t  args[8], line, customer, price;

    line = lines_op_get(op, "line");
    customer = lines_op_get(op, "customer");
    price = lines_op_get(op, "price");

    args[0] = lines_op_key(op, "op:%V", &op->id);
    args[1] = lines_op_key(op, "line:%V", &line);

    if (lines_op_guard(op, &args[2]) != NGX_OK
        || lines_redis_format(op->pool, &args[5], "%M", op->conf->lease)
           != NGX_OK
        || lines_payment_call(op->pool, op->lmcf, &op->tenant, &line,
                              &customer, &price, op->attempt + 1, &args[6],
                              &args[7])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: attempt %ui is dead, another one",
                  &op->id, op->attempt);

    /* there is something to send: not only when its invoice is looked at */

    lines_op_hint(op, &op->id, op->conf->due);

    return lines_op_eval(op, &lines_script_request_again, 2, 8, args,
                         payment_renewed);
}


/* also where a cancel came first: the record says so */

static ngx_int_t
payment_renewed(lines_op_t *op, redisReply *reply)
{
    return lines_op_take(op);
}


ngx_int_t
lines_payment_cancel(lines_op_t *op, ngx_str_t *reason)
{
    ngx_str_t  args[LINES_LINE_KEYS + 5], *argv;

    lines_payment_keys(op, args);

    argv = &args[LINES_LINE_KEYS];

    if (lines_op_guard(op, argv) != NGX_OK) {
        return NGX_ERROR;
    }

    argv[3] = op->id;
    argv[4] = *reason;

    return lines_op_eval(op, &lines_script_cancel_end, LINES_LINE_KEYS,
                         LINES_LINE_KEYS + 5, args, payment_canceled);
}


static ngx_int_t
payment_canceled(lines_op_t *op, redisReply *reply)
{
    return lines_op_take(op);
}
