
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_refund.h"


/* so many rests with a 5xx: it may be a saved one, replayed for ever */
#define NGX_HTTP_LINES_SAVED_TRIES  2


static ngx_int_t ngx_http_lines_refund_delete(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_unsubscribed(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result);
static ngx_int_t ngx_http_lines_refund_deleted(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result);
static ngx_int_t ngx_http_lines_refund_outcome(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result, const char *refused);
static ngx_int_t ngx_http_lines_refund_find(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_refund_found(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result);
static ngx_int_t ngx_http_lines_refund_get(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_refund_got(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result);
static ngx_int_t ngx_http_lines_refund_again(ngx_http_lines_operation_t *op,
    int64_t now);
static ngx_int_t ngx_http_lines_refund_settled(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_refund_list(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_refund_listed(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result);
static ngx_int_t ngx_http_lines_refund_void(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_refund_voided(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result);
static ngx_int_t ngx_http_lines_refund_record(ngx_http_lines_operation_t *op,
    ngx_str_t *body, int64_t now);
static ngx_int_t ngx_http_lines_refund_credit(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_refund_credited(
    ngx_http_lines_operation_t *op, ngx_http_lines_billing_result_t *result);


ngx_int_t
ngx_http_lines_unsubscribe(ngx_http_lines_operation_t *op,
    ngx_http_lines_operation_run_pt done)
{
    op->done = done;

    if (ngx_http_lines_operation_get(op, "subscription").len == 0) {
        return done(op);
    }

    return ngx_http_lines_operation_call(op, ngx_http_lines_refund_delete,
                                         ngx_http_lines_unsubscribed);
}


ngx_int_t
ngx_http_lines_refund(ngx_http_lines_operation_t *op,
    ngx_http_lines_operation_run_pt done)
{
    int64_t  at;

    op->done = done;

    if (ngx_http_lines_operation_get(op, "subscription").len == 0) {
        return done(op);
    }

    if (ngx_http_lines_operation_get(op, "refund_body").len == 0) {

        if (ngx_http_lines_operation_get(op, "refund_next").len) {
            return ngx_http_lines_operation_call(op,
                                             ngx_http_lines_refund_list,
                                             ngx_http_lines_refund_listed);
        }

        return ngx_http_lines_operation_call(op, ngx_http_lines_refund_delete,
                                             ngx_http_lines_refund_deleted);
    }

    at = ngx_http_lines_operation_get_number(op, "refund_at");

    if (ngx_http_lines_operation_get_number(op, "absent_at")
        || ngx_http_lines_operation_now(op) - at
           >= (int64_t) op->conf->resend)
    {
        return ngx_http_lines_operation_call(op, ngx_http_lines_refund_get,
                                             ngx_http_lines_refund_got);
    }

    return ngx_http_lines_operation_call(op, ngx_http_lines_refund_credit,
                                         ngx_http_lines_refund_credited);
}


static ngx_int_t
ngx_http_lines_refund_delete(ngx_http_lines_operation_t *op)
{
    ngx_str_t  subscription;

    subscription = ngx_http_lines_operation_get(op, "subscription");

    return ngx_http_lines_billing_cancel_subscription(op->carrier,
                                           &subscription,
                                           ngx_http_lines_operation_answered,
                                           op);
}


static ngx_int_t
ngx_http_lines_unsubscribed(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    if (result->outcome != NGX_LINES_STRIPE_OK) {
        return ngx_http_lines_refund_outcome(op, result, "cancel_refused");
    }

    return op->done(op);
}


static ngx_int_t
ngx_http_lines_refund_deleted(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    if (result->outcome != NGX_LINES_STRIPE_OK) {
        return ngx_http_lines_refund_outcome(op, result, "cancel_refused");
    }

    if (ngx_http_lines_operation_get(op, "invoice").len == 0) {
        return ngx_http_lines_operation_call(op, ngx_http_lines_refund_find,
                                             ngx_http_lines_refund_found);
    }

    return ngx_http_lines_operation_call(op, ngx_http_lines_refund_get,
                                         ngx_http_lines_refund_got);
}


static ngx_int_t
ngx_http_lines_refund_outcome(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result, const char *refused)
{
    switch (result->outcome) {

    case NGX_LINES_STRIPE_REFUSED:
        return ngx_http_lines_operation_stuck(op, refused);

    case NGX_LINES_STRIPE_ALERT:
        return ngx_http_lines_operation_stuck(op, "billing_alert");

    default:
        return ngx_http_lines_operation_again(op);
    }
}


static ngx_int_t
ngx_http_lines_refund_find(ngx_http_lines_operation_t *op)
{
    ngx_str_t  subscription;

    subscription = ngx_http_lines_operation_get(op, "subscription");

    return ngx_http_lines_billing_get_subscription(op->carrier, &subscription,
                                           ngx_http_lines_operation_answered,
                                           op);
}


static ngx_int_t
ngx_http_lines_refund_found(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    ngx_str_t  *invoice;

    if (result->outcome == NGX_LINES_STRIPE_REFUSED) {
        return op->done(op);
    }

    if (result->outcome != NGX_LINES_STRIPE_OK) {
        return ngx_http_lines_refund_outcome(op, result, "");
    }

    invoice = &result->subscription->invoice.id;

    if (invoice->len == 0) {
        return ngx_http_lines_refund_settled(op);
    }

    if (ngx_http_lines_operation_set(op, "invoice", invoice) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_lines_operation_call(op, ngx_http_lines_refund_get,
                                         ngx_http_lines_refund_got);
}


static ngx_int_t
ngx_http_lines_refund_get(ngx_http_lines_operation_t *op)
{
    ngx_str_t  invoice;

    invoice = ngx_http_lines_operation_get(op, "invoice");

    return ngx_http_lines_billing_get_invoice(op->carrier, &invoice,
                                           ngx_http_lines_operation_answered,
                                           op);
}


static ngx_int_t
ngx_http_lines_refund_got(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    int64_t                      now;
    ngx_int_t                    rc;
    ngx_str_t                    body, fields[2], yes = ngx_string("1");
    ngx_lines_stripe_invoice_t  *invoice;
    ngx_lines_stripe_metadata_t  metadata;

    if (result->outcome != NGX_LINES_STRIPE_OK) {
        return ngx_http_lines_refund_outcome(op, result, "invoice_missing");
    }

    invoice = result->invoice;
    now = ngx_http_lines_operation_now(op);

    if (ngx_http_lines_is(&invoice->status, "open")
        || ngx_http_lines_is(&invoice->status, "uncollectible"))
    {
        if (op->repeats++ > 2) {
            return ngx_http_lines_operation_again(op);
        }

        return ngx_http_lines_operation_call(op, ngx_http_lines_refund_void,
                                             ngx_http_lines_refund_voided);
    }

    ngx_memzero(&metadata, sizeof(ngx_lines_stripe_metadata_t));

    metadata.deployment = op->lmcf->billing->deployment;
    metadata.tenant = op->tenant;
    metadata.line = ngx_http_lines_operation_get(op, "line");
    metadata.operation = op->id;

    rc = ngx_lines_stripe_refund_body(op->pool, invoice, &metadata, &body);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {

        /* nothing was paid, or all of it went back already */

        if (invoice->credited > 0
            && ngx_http_lines_operation_set(op, "refunded", &yes) != NGX_OK)
        {
            return NGX_ERROR;
        }

        return ngx_http_lines_refund_settled(op);
    }

    if (ngx_http_lines_operation_get(op, "refund_body").len) {

        if (ngx_http_lines_refund_again(op, now) == NGX_OK) {
            return ngx_http_lines_refund_record(op, &body, now);
        }

        if (ngx_http_lines_operation_get_number(op, "absent_at")) {
            return ngx_http_lines_operation_rest(op, op->conf->absent, 0,
                                                 NULL);
        }

        /* too old to be sent again under its key: this was the first look */

        ngx_str_set(&fields[0], "absent_at");

        if (ngx_lines_redis_format(op->pool, &fields[1], "%L", now)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        return ngx_http_lines_operation_rest(op, op->conf->absent, 2, fields);
    }

    return ngx_http_lines_refund_record(op, &body, now);
}


/* it was sent, and is not there: once more only after two looks */

static ngx_int_t
ngx_http_lines_refund_again(ngx_http_lines_operation_t *op, int64_t now)
{
    int64_t  absent;

    absent = ngx_http_lines_operation_get_number(op, "absent_at");

    return absent && now - absent >= (int64_t) op->conf->absent
           ? NGX_OK : NGX_AGAIN;
}


/*
 * The invoice at hand is done with.  Those of the renewals follow, from the
 * newest on: "refund_after" is the last of them that is done with, and never
 * one that is under way.
 */

static ngx_int_t
ngx_http_lines_refund_settled(ngx_http_lines_operation_t *op)
{
    ngx_str_t  fields[16], invoice, listed;

    invoice = ngx_http_lines_operation_get(op, "invoice");
    listed = ngx_http_lines_operation_get(op, "refund_listed");

    if (listed.len && listed.len == invoice.len
        && ngx_memcmp(listed.data, invoice.data, listed.len) == 0
        && ngx_http_lines_operation_set(op, "refund_after", &listed)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_lines_operation_get(op, "refund_body").len == 0) {
        return ngx_http_lines_operation_call(op, ngx_http_lines_refund_list,
                                             ngx_http_lines_refund_listed);
    }

    ngx_str_set(&fields[0], "refund_body");
    ngx_str_null(&fields[1]);
    ngx_str_set(&fields[2], "refund_key");
    ngx_str_null(&fields[3]);
    ngx_str_set(&fields[4], "refund_at");
    ngx_str_null(&fields[5]);
    ngx_str_set(&fields[6], "absent_at");
    ngx_str_null(&fields[7]);
    ngx_str_set(&fields[8], "refund_next");
    ngx_str_set(&fields[9], "1");
    ngx_str_set(&fields[10], "refund_after");
    fields[11] = ngx_http_lines_operation_get(op, "refund_after");
    ngx_str_set(&fields[12], "refunded");
    fields[13] = ngx_http_lines_operation_get(op, "refunded");
    ngx_str_set(&fields[14], "tries");
    ngx_str_null(&fields[15]);

    return ngx_http_lines_operation_step(op, (char *) op->step.data, 16,
                                         fields);
}


static ngx_int_t
ngx_http_lines_refund_list(ngx_http_lines_operation_t *op)
{
    ngx_str_t  after, subscription;

    after = ngx_http_lines_operation_get(op, "refund_after");
    subscription = ngx_http_lines_operation_get(op, "subscription");

    return ngx_http_lines_billing_find_unsettled(op->carrier, &subscription,
                                           &after,
                                           ngx_http_lines_operation_answered,
                                           op);
}


static ngx_int_t
ngx_http_lines_refund_listed(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    if (result->outcome != NGX_LINES_STRIPE_OK) {
        return ngx_http_lines_refund_outcome(op, result, "invoices_refused");
    }

    if (result->invoice == NULL) {
        return op->done(op);
    }

    if (ngx_http_lines_operation_set(op, "invoice", &result->invoice->id)
        != NGX_OK
        || ngx_http_lines_operation_set(op, "refund_listed",
                                        &result->invoice->id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_refund_got(op, result);
}


static ngx_int_t
ngx_http_lines_refund_void(ngx_http_lines_operation_t *op)
{
    ngx_str_t  invoice, key;

    invoice = ngx_http_lines_operation_get(op, "invoice");

    if (ngx_lines_redis_format(op->pool, &key, "lines:%V:void:%V:%L", &op->id,
                               &invoice,
                               ngx_http_lines_operation_get_number(op,
                                                                   "tries"))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_billing_void_invoice(op->carrier, &invoice, &key,
                                           ngx_http_lines_operation_answered,
                                           op);
}


static ngx_int_t
ngx_http_lines_refund_voided(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    switch (result->outcome) {

    case NGX_LINES_STRIPE_OK:
    case NGX_LINES_STRIPE_REFUSED:

        /* paid or void by now: read it */

        return ngx_http_lines_operation_call(op, ngx_http_lines_refund_get,
                                             ngx_http_lines_refund_got);

    default:
        return ngx_http_lines_refund_outcome(op, result, "");
    }
}


/* the exact body and key first; the step is entered again and sends them */

static ngx_int_t
ngx_http_lines_refund_record(ngx_http_lines_operation_t *op, ngx_str_t *body,
    int64_t now)
{
    int64_t    n;
    ngx_str_t  fields[16], step;

    n = ngx_http_lines_operation_get_number(op, "refunds") + 1;

    ngx_str_set(&fields[0], "refund_body");
    fields[1] = *body;
    ngx_str_set(&fields[2], "refund_key");
    ngx_str_set(&fields[4], "refund_at");
    ngx_str_set(&fields[6], "refunds");
    ngx_str_set(&fields[8], "absent_at");
    ngx_str_null(&fields[9]);
    ngx_str_set(&fields[10], "invoice");
    fields[11] = ngx_http_lines_operation_get(op, "invoice");
    ngx_str_set(&fields[12], "refund_listed");
    fields[13] = ngx_http_lines_operation_get(op, "refund_listed");
    ngx_str_set(&fields[14], "refund_next");
    ngx_str_null(&fields[15]);

    if (ngx_lines_redis_format(op->pool, &fields[5], "%L", now) != NGX_OK
        || ngx_lines_redis_format(op->pool, &fields[7], "%L", n) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (n == 1) {
        if (ngx_lines_redis_format(op->pool, &fields[3], "lines:%V:refund",
                                   &op->id)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else if (ngx_lines_redis_format(op->pool, &fields[3],
                                      "lines:%V:refund:%L", &op->id, n)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    step = op->step;

    return ngx_http_lines_operation_step(op, (char *) step.data, 16, fields);
}


static ngx_int_t
ngx_http_lines_refund_credit(ngx_http_lines_operation_t *op)
{
    ngx_str_t  body, key;

    body = ngx_http_lines_operation_get(op, "refund_body");
    key = ngx_http_lines_operation_get(op, "refund_key");

    return ngx_http_lines_billing_refund(op->carrier, &body, &key,
                                         ngx_http_lines_operation_answered,
                                         op);
}


static ngx_int_t
ngx_http_lines_refund_credited(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    ngx_str_t  fields[4], invoice, yes = ngx_string("1");

    switch (result->outcome) {

    case NGX_LINES_STRIPE_OK:

        if (ngx_http_lines_operation_set(op, "refunded", &yes) != NGX_OK) {
            return NGX_ERROR;
        }

        invoice = ngx_http_lines_operation_get(op, "invoice");

        ngx_log_error(NGX_LOG_INFO, op->log, 0,
                      "lines operation %V: refunded invoice \"%V\"",
                      &op->id, &invoice);

        return ngx_http_lines_refund_settled(op);

    case NGX_LINES_STRIPE_REFUSED:

        /*
         * For people to look at.  Once they say "again", the invoice is read
         * and, if need be, another body goes out under another key.
         */

        ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                      "lines operation %V: refund refused, \"%V\" \"%V\"",
                      &op->id, &result->error.code, &result->error.message);

        ngx_http_lines_operation_list_stuck(op);

        ngx_str_set(&fields[0], "stuck");
        ngx_str_set(&fields[1], "refund_refused");
        ngx_str_set(&fields[2], "refund_body");
        ngx_str_null(&fields[3]);

        return ngx_http_lines_operation_rest(op, op->conf->every, 4, fields);

    case NGX_LINES_STRIPE_UNKNOWN:

        if (result->status >= 500
            && (result->should_retry == 0
                || ngx_http_lines_operation_get_number(op, "tries")
                   >= NGX_HTTP_LINES_SAVED_TRIES))
        {
            ngx_str_set(&fields[0], "absent_at");

            if (ngx_lines_redis_format(op->pool, &fields[1], "%L",
                                       ngx_http_lines_operation_now(op))
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            return ngx_http_lines_operation_step(op, (char *) op->step.data,
                                                 2, fields);
        }

        /* fall through */

    default:
        return ngx_http_lines_refund_outcome(op, result, "");
    }
}
