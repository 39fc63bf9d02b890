
/*
 * The charge: the one step of a purchase whose outcome may stay unknown.  It
 * is never undone before it is known.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/text.h"
#include "operation/purchase.h"


/* so many rests with a 5xx: it may be a saved one, replayed for ever */
#define LINES_SAVED_TRIES  2


static ngx_int_t purchase_subscribe(lines_op_t *op);
static ngx_int_t purchase_subscribed(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t purchase_charged(lines_op_t *op,
    lines_stripe_subscription_t *subscription);
static ngx_int_t purchase_refused(lines_op_t *op, lines_stripe_error_t *error);
static ngx_int_t purchase_find(lines_op_t *op);
static ngx_int_t purchase_found(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_uint_t purchase_is_live(lines_stripe_subscription_t *subscription);
static ngx_int_t purchase_absent(lines_op_t *op);
static ngx_int_t purchase_again(lines_op_t *op);


ngx_int_t
lines_purchase_charge(lines_op_t *op)
{
    int64_t  absent, sent, now;

    /* the record's attempt rises in the step that enters this one again */

    op->attempt = lines_op_get_number(op, "attempt");

    now = lines_op_now(op);
    sent = lines_op_get_number(op, "sent_at");
    absent = lines_op_get_number(op, "absent_at");

    if (absent && now - absent < (int64_t) op->conf->absent) {
        return lines_op_rest(op, absent + (int64_t) op->conf->absent - now, 0,
                             NULL);
    }

    /* after a day the key may be forgotten, and would charge once more */

    if (absent || now - sent >= (int64_t) op->conf->resend) {
        return lines_op_call(op, purchase_find, purchase_found);
    }

    return lines_op_call(op, purchase_subscribe, purchase_subscribed);
}


static ngx_int_t
purchase_subscribe(lines_op_t *op)
{
    ngx_str_t  body, key;

    body = lines_op_get(op, "body");
    key = lines_op_get(op, "key");

    return lines_billing_subscribe(op->carrier, &body, &key, lines_op_answered,
                                   op);
}


static ngx_int_t
purchase_subscribed(lines_op_t *op, lines_billing_result_t *result)
{
    switch (result->outcome) {

    case LINES_STRIPE_OK:
        return purchase_charged(op, result->subscription);

    case LINES_STRIPE_REFUSED:
        return purchase_refused(op, &result->error);

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    case LINES_STRIPE_UNKNOWN:

        if (result->status >= 500
            && (result->should_retry == 0
                || lines_op_get_number(op, "tries") >= LINES_SAVED_TRIES))
        {
            return lines_op_call(op, purchase_find, purchase_found);
        }

        /* fall through */

    default:
        return lines_op_again(op);
    }
}


static ngx_int_t
purchase_charged(lines_op_t *op, lines_stripe_subscription_t *subscription)
{
    ngx_str_t  fields[8];

    ngx_str_set(&fields[0], "subscription");
    fields[1] = subscription->id;
    ngx_str_set(&fields[2], "invoice");
    fields[3] = subscription->invoice.id;

    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: subscription \"%V\" is %V", &op->id,
                  &subscription->id, &subscription->status);

    if (purchase_is_live(subscription)) {
        return lines_op_advance(op, 4, fields);
    }

    /* of no use to anybody, however it came about: take it back */

    ngx_str_set(&fields[4], "answer_status");
    ngx_str_set(&fields[5], "500");
    ngx_str_set(&fields[6], "answer");
    ngx_str_set(&fields[7],
                "{\"status\":\"ERROR\","
                "\"error\":\"provisioning_failed\","
                "\"message\":\"Subscription was created, but "
                "line provisioning failed\"}");

    return lines_op_move(op, "undo:charge", 8, fields);
}


/* nothing was created, and under this key never will be */

static ngx_int_t
purchase_refused(lines_op_t *op, lines_stripe_error_t *error)
{
    ngx_str_t  message;

    ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                  "lines operation %V: refused by billing, \"%V\" \"%V\"",
                  &op->id, &error->code, &error->message);

    if (lines_is(&error->type, "card_error")) {

        message.data = ngx_pnalloc(op->pool, error->message.len + 1);
        if (message.data == NULL) {
            return NGX_ERROR;
        }

        *ngx_cpymem(message.data, error->message.data, error->message.len)
            = '\0';

        return lines_purchase_refuse(op, 402, "card_declined",
                                     error->message.len
                                     ? (char *) message.data
                                     : "Your card was declined.");
    }

    if (lines_stripe_error_is(error, "resource_missing")
        && (error->param.len == 0
            || lines_is(&error->param, "default_payment_method")
            || lines_is(&error->param, "customer")))
    {
        return lines_purchase_refuse(op, 402, "no_card_on_file",
                                     "No card is available for the account");
    }

    ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                  "lines operation %V: billing does not take the charge, "
                  "\"%V\" \"%V\"", &op->id, &error->param, &error->message);

    return lines_purchase_refuse(op, 500, "provisioning_failed",
                                 "The line could not be provisioned; nothing "
                                 "was charged");
}


static ngx_int_t
purchase_find(lines_op_t *op)
{
    ngx_str_t                customer;
    lines_stripe_metadata_t  match;

    ngx_memzero(&match, sizeof(lines_stripe_metadata_t));

    match.tenant = op->tenant;
    match.operation = op->id;
    match.attempt = op->attempt;

    customer = lines_op_get(op, "customer");

    return lines_billing_find_subscriptions(op->carrier, &customer, &match,
                                            lines_op_since(op),
                                            lines_op_answered, op);
}


static ngx_int_t
purchase_found(lines_op_t *op, lines_billing_result_t *result)
{
    switch (result->outcome) {

    case LINES_STRIPE_OK:

        if (result->subscriptions && result->subscriptions->nelts) {
            return purchase_charged(op, result->subscriptions->elts);
        }

        return purchase_absent(op);

    case LINES_STRIPE_REFUSED:

        /* no such customer: nothing can have been created for it */

        return purchase_absent(op);

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    default:
        return lines_op_again(op);
    }
}


static ngx_uint_t
purchase_is_live(lines_stripe_subscription_t *subscription)
{
    return lines_is(&subscription->status, "active")
           || lines_is(&subscription->status, "trialing");
}


static ngx_int_t
purchase_absent(lines_op_t *op)
{
    int64_t    now;
    u_char     instant[NGX_INT64_LEN];
    ngx_str_t  fields[2];

    now = lines_op_now(op);

    if (lines_op_get_number(op, "absent_at") == 0) {

        ngx_str_set(&fields[0], "absent_at");
        fields[1].data = instant;
        fields[1].len = ngx_sprintf(instant, "%L", now) - instant;

        return lines_op_rest(op, op->conf->absent, 2, fields);
    }

    /* proven: nobody was charged.  A day later nobody expects it any more */

    if (now - lines_op_get_number(op, "begun") >= (int64_t) op->conf->resend) {
        return lines_purchase_refuse(op, 500, "provisioning_failed",
                                  "The line could not be provisioned; nothing "
                                  "was charged");
    }

    return purchase_again(op);
}


static ngx_int_t
purchase_again(lines_op_t *op)
{
    ngx_str_t  fields[12], payment_method;

    payment_method = lines_op_get(op, "payment_method");

    ngx_str_set(&fields[0], "attempt");
    ngx_str_set(&fields[2], "body");
    ngx_str_set(&fields[4], "key");
    ngx_str_set(&fields[6], "sent_at");
    ngx_str_set(&fields[8], "absent_at");
    ngx_str_null(&fields[9]);
    ngx_str_set(&fields[10], "tries");
    ngx_str_null(&fields[11]);

    if (lines_redis_format(op->pool, &fields[1], "%ui", op->attempt + 1)
        != NGX_OK
        || lines_redis_format(op->pool, &fields[7], "%L", lines_op_now(op))
           != NGX_OK
        || lines_purchase_call(op, &payment_method, op->attempt + 1,
                               &fields[3], &fields[5])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: attempt %ui is dead, another one",
                  &op->id, op->attempt);

    return lines_op_move(op, "charge", 12, fields);
}
