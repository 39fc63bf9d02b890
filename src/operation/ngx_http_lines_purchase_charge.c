
/*
 * The charge: the one step of a purchase whose outcome may stay unknown.  It
 * is never undone before it is known.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_purchase.h"


/* so many rests with a 5xx: it may be a saved one, replayed for ever */
#define NGX_HTTP_LINES_SAVED_TRIES  2


static ngx_int_t ngx_http_lines_purchase_subscribe(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_purchase_subscribed(
    ngx_http_lines_operation_t *op, ngx_http_lines_billing_result_t *result);
static ngx_int_t ngx_http_lines_purchase_charged(
    ngx_http_lines_operation_t *op,
    ngx_lines_stripe_subscription_t *subscription);
static ngx_int_t ngx_http_lines_purchase_refused(
    ngx_http_lines_operation_t *op, ngx_lines_stripe_error_t *error);
static ngx_int_t ngx_http_lines_purchase_find(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_purchase_found(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result);
static ngx_uint_t ngx_http_lines_purchase_is_live(
    ngx_lines_stripe_subscription_t *subscription);
static ngx_int_t ngx_http_lines_purchase_absent(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_purchase_again(ngx_http_lines_operation_t *op);


ngx_int_t
ngx_http_lines_purchase_charge(ngx_http_lines_operation_t *op)
{
    int64_t  absent, sent, now;

    /* the record's attempt rises in the step that enters this one again */

    op->attempt = ngx_http_lines_operation_get_number(op, "attempt");

    now = ngx_http_lines_operation_now(op);
    sent = ngx_http_lines_operation_get_number(op, "sent_at");
    absent = ngx_http_lines_operation_get_number(op, "absent_at");

    if (absent && now - absent < (int64_t) op->conf->absent) {
        return ngx_http_lines_operation_rest(op,
                                  absent + (int64_t) op->conf->absent - now,
                                  0, NULL);
    }

    /* after a day the key may be forgotten, and would charge once more */

    if (absent || now - sent >= (int64_t) op->conf->resend) {
        return ngx_http_lines_operation_call(op, ngx_http_lines_purchase_find,
                                             ngx_http_lines_purchase_found);
    }

    return ngx_http_lines_operation_call(op,
                                         ngx_http_lines_purchase_subscribe,
                                         ngx_http_lines_purchase_subscribed);
}


static ngx_int_t
ngx_http_lines_purchase_subscribe(ngx_http_lines_operation_t *op)
{
    ngx_str_t  body, key;

    body = ngx_http_lines_operation_get(op, "body");
    key = ngx_http_lines_operation_get(op, "key");

    return ngx_http_lines_billing_subscribe(op->carrier, &body, &key,
                                            ngx_http_lines_operation_answered,
                                            op);
}


static ngx_int_t
ngx_http_lines_purchase_subscribed(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    switch (result->outcome) {

    case NGX_LINES_STRIPE_OK:
        return ngx_http_lines_purchase_charged(op, result->subscription);

    case NGX_LINES_STRIPE_REFUSED:
        return ngx_http_lines_purchase_refused(op, &result->error);

    case NGX_LINES_STRIPE_ALERT:
        return ngx_http_lines_operation_stuck(op, "billing_alert");

    case NGX_LINES_STRIPE_UNKNOWN:

        if (result->status >= 500
            && (result->should_retry == 0
                || ngx_http_lines_operation_get_number(op, "tries")
                   >= NGX_HTTP_LINES_SAVED_TRIES))
        {
            return ngx_http_lines_operation_call(op,
                                             ngx_http_lines_purchase_find,
                                             ngx_http_lines_purchase_found);
        }

        /* fall through */

    default:
        return ngx_http_lines_operation_again(op);
    }
}


static ngx_int_t
ngx_http_lines_purchase_charged(ngx_http_lines_operation_t *op,
    ngx_lines_stripe_subscription_t *subscription)
{
    ngx_str_t  fields[8];

    ngx_str_set(&fields[0], "subscription");
    fields[1] = subscription->id;
    ngx_str_set(&fields[2], "invoice");
    fields[3] = subscription->invoice.id;

    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: subscription \"%V\" is %V",
                  &op->id, &subscription->id, &subscription->status);

    if (ngx_http_lines_purchase_is_live(subscription)) {
        return ngx_http_lines_operation_advance(op, 4, fields);
    }

    /* of no use to anybody, however it came about: take it back */

    ngx_str_set(&fields[4], "answer_status");
    ngx_str_set(&fields[5], "500");
    ngx_str_set(&fields[6], "answer");
    ngx_str_set(&fields[7], "{\"status\":\"ERROR\","
                            "\"error\":\"provisioning_failed\","
                            "\"message\":\"Subscription was created, but "
                            "line provisioning failed\"}");

    return ngx_http_lines_operation_step(op, "undo:charge", 8, fields);
}


/* nothing was created, and under this key never will be */

static ngx_int_t
ngx_http_lines_purchase_refused(ngx_http_lines_operation_t *op,
    ngx_lines_stripe_error_t *error)
{
    ngx_str_t  message;

    ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                  "lines operation %V: refused by billing, \"%V\" \"%V\"",
                  &op->id, &error->code, &error->message);

    if (ngx_http_lines_is(&error->type, "card_error")) {

        message.data = ngx_pnalloc(op->pool, error->message.len + 1);
        if (message.data == NULL) {
            return NGX_ERROR;
        }

        *ngx_cpymem(message.data, error->message.data, error->message.len)
            = '\0';

        return ngx_http_lines_purchase_refuse(op, 402, "card_declined",
                                              error->message.len
                                              ? (char *) message.data
                                              : "Your card was declined.");
    }

    if (ngx_lines_stripe_error_is(error, "resource_missing")
        && (error->param.len == 0
            || ngx_http_lines_is(&error->param, "default_payment_method")
            || ngx_http_lines_is(&error->param, "customer")))
    {
        return ngx_http_lines_purchase_refuse(op, 402, "no_card_on_file",
                                   "No card is available for the account");
    }

    ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                  "lines operation %V: billing does not take the charge, "
                  "\"%V\" \"%V\"", &op->id, &error->param, &error->message);

    return ngx_http_lines_purchase_refuse(op, 500, "provisioning_failed",
                                "The line could not be provisioned; nothing "
                                "was charged");
}


static ngx_int_t
ngx_http_lines_purchase_find(ngx_http_lines_operation_t *op)
{
    ngx_str_t                    customer;
    ngx_lines_stripe_metadata_t  match;

    ngx_memzero(&match, sizeof(ngx_lines_stripe_metadata_t));

    match.tenant = op->tenant;
    match.operation = op->id;
    match.attempt = op->attempt;

    customer = ngx_http_lines_operation_get(op, "customer");

    return ngx_http_lines_billing_find_subscriptions(op->carrier, &customer,
                                         &match,
                                         ngx_http_lines_operation_since(op),
                                         ngx_http_lines_operation_answered,
                                         op);
}


static ngx_int_t
ngx_http_lines_purchase_found(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    switch (result->outcome) {

    case NGX_LINES_STRIPE_OK:

        if (result->subscriptions && result->subscriptions->nelts) {
            return ngx_http_lines_purchase_charged(op,
                                                result->subscriptions->elts);
        }

        return ngx_http_lines_purchase_absent(op);

    case NGX_LINES_STRIPE_REFUSED:

        /* no such customer: nothing can have been created for it */

        return ngx_http_lines_purchase_absent(op);

    case NGX_LINES_STRIPE_ALERT:
        return ngx_http_lines_operation_stuck(op, "billing_alert");

    default:
        return ngx_http_lines_operation_again(op);
    }
}


static ngx_uint_t
ngx_http_lines_purchase_is_live(ngx_lines_stripe_subscription_t *subscription)
{
    return ngx_http_lines_is(&subscription->status, "active")
           || ngx_http_lines_is(&subscription->status, "trialing");
}


static ngx_int_t
ngx_http_lines_purchase_absent(ngx_http_lines_operation_t *op)
{
    int64_t    now;
    u_char     instant[NGX_INT64_LEN];
    ngx_str_t  fields[2];

    now = ngx_http_lines_operation_now(op);

    if (ngx_http_lines_operation_get_number(op, "absent_at") == 0) {

        ngx_str_set(&fields[0], "absent_at");
        fields[1].data = instant;
        fields[1].len = ngx_sprintf(instant, "%L", now) - instant;

        return ngx_http_lines_operation_rest(op, op->conf->absent, 2, fields);
    }

    /* proven: nobody was charged.  A day later nobody expects it any more */

    if (now - ngx_http_lines_operation_get_number(op, "begun")
        >= (int64_t) op->conf->resend)
    {
        return ngx_http_lines_purchase_refuse(op, 500, "provisioning_failed",
                                "The line could not be provisioned; nothing "
                                "was charged");
    }

    return ngx_http_lines_purchase_again(op);
}


static ngx_int_t
ngx_http_lines_purchase_again(ngx_http_lines_operation_t *op)
{
    ngx_str_t  fields[12], payment_method;

    payment_method = ngx_http_lines_operation_get(op, "payment_method");

    ngx_str_set(&fields[0], "attempt");
    ngx_str_set(&fields[2], "body");
    ngx_str_set(&fields[4], "key");
    ngx_str_set(&fields[6], "sent_at");
    ngx_str_set(&fields[8], "absent_at");
    ngx_str_null(&fields[9]);
    ngx_str_set(&fields[10], "tries");
    ngx_str_null(&fields[11]);

    if (ngx_lines_redis_format(op->pool, &fields[1], "%ui", op->attempt + 1)
        != NGX_OK
        || ngx_lines_redis_format(op->pool, &fields[7], "%L",
                                  ngx_http_lines_operation_now(op))
           != NGX_OK
        || ngx_http_lines_purchase_call(op, &payment_method, op->attempt + 1,
                                        &fields[3], &fields[5])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: attempt %ui is dead, another one",
                  &op->id, op->attempt);

    return ngx_http_lines_operation_step(op, "charge", 12, fields);
}
