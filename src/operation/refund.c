
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/text.h"
#include "operation/refund.h"


/* so many rests with a 5xx: it may be a saved one, replayed for ever */
#define LINES_SAVED_TRIES  2


static ngx_int_t refund_delete(lines_op_t *op);
static ngx_int_t unsubscribed(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t refund_deleted(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t refund_outcome(lines_op_t *op, lines_billing_result_t *result,
    const char *refused);
static ngx_int_t refund_find(lines_op_t *op);
static ngx_int_t refund_found(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t refund_get(lines_op_t *op);
static ngx_int_t refund_got(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t refund_again(lines_op_t *op, int64_t now);
static ngx_int_t refund_settled(lines_op_t *op);
static ngx_int_t refund_list(lines_op_t *op);
static ngx_int_t refund_listed(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t refund_void(lines_op_t *op);
static ngx_int_t refund_voided(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t refund_record(lines_op_t *op, ngx_str_t *body, int64_t now);
static ngx_int_t refund_credit(lines_op_t *op);
static ngx_int_t refund_credited(lines_op_t *op,
    lines_billing_result_t *result);


ngx_int_t
lines_unsubscribe(lines_op_t *op, lines_op_run_pt done)
{
    op->done = done;

    if (lines_op_get(op, "subscription").len == 0) {
        return done(op);
    }

    return lines_op_call(op, refund_delete, unsubscribed);
}


ngx_int_t
lines_refund(lines_op_t *op, lines_op_run_pt done)
{
    int64_t  at;

    op->done = done;

    if (lines_op_get(op, "subscription").len == 0) {
        return done(op);
    }

    if (lines_op_get(op, "refund_body").len == 0) {

        if (lines_op_get(op, "refund_next").len) {
            return lines_op_call(op, refund_list, refund_listed);
        }

        return lines_op_call(op, refund_delete, refund_deleted);
    }

    at = lines_op_get_number(op, "refund_at");

    if (lines_op_get_number(op, "absent_at")
        || lines_op_now(op) - at >= (int64_t) op->conf->resend)
    {
        return lines_op_call(op, refund_get, refund_got);
    }

    return lines_op_call(op, refund_credit, refund_credited);
}


static ngx_int_t
refund_delete(lines_op_t *op)
{
    ngx_str_t  subscription;

    subscription = lines_op_get(op, "subscription");

    return lines_billing_cancel_subscription(op->carrier, &subscription,
                                             lines_op_answered, op);
}


static ngx_int_t
unsubscribed(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome != LINES_STRIPE_OK) {
        return refund_outcome(op, result, "cancel_refused");
    }

    return op->done(op);
}


static ngx_int_t
refund_deleted(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome != LINES_STRIPE_OK) {
        return refund_outcome(op, result, "cancel_refused");
    }

    if (lines_op_get(op, "invoice").len == 0) {
        return lines_op_call(op, refund_find, refund_found);
    }

    return lines_op_call(op, refund_get, refund_got);
}


static ngx_int_t
refund_outcome(lines_op_t *op, lines_billing_result_t *result,
    const char *refused)
{
    switch (result->outcome) {

    case LINES_STRIPE_REFUSED:
        return lines_op_stuck(op, refused);

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    default:
        return lines_op_again(op);
    }
}


static ngx_int_t
refund_find(lines_op_t *op)
{
    ngx_str_t  subscription;

    subscription = lines_op_get(op, "subscription");

    return lines_billing_get_subscription(op->carrier, &subscription,
                                          lines_op_answered, op);
}


static ngx_int_t
refund_found(lines_op_t *op, lines_billing_result_t *result)
{
    ngx_str_t  *invoice;

    if (result->outcome == LINES_STRIPE_REFUSED) {
        return op->done(op);
    }

    if (result->outcome != LINES_STRIPE_OK) {
        return refund_outcome(op, result, "");
    }

    invoice = &result->subscription->invoice.id;

    if (invoice->len == 0) {
        return refund_settled(op);
    }

    if (lines_op_set(op, "invoice", invoice) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_op_call(op, refund_get, refund_got);
}


static ngx_int_t
refund_get(lines_op_t *op)
{
    ngx_str_t  invoice;

    invoice = lines_op_get(op, "invoice");

    return lines_billing_get_invoice(op->carrier, &invoice, lines_op_answered,
                                     op);
}


static ngx_int_t
refund_got(lines_op_t *op, lines_billing_result_t *result)
{
    int64_t                  now;
    ngx_int_t                rc;
    ngx_str_t                body, fields[2], yes = ngx_string("1");
    lines_stripe_invoice_t  *invoice;
    lines_stripe_metadata_t  metadata;

    if (result->outcome != LINES_STRIPE_OK) {
        return refund_outcome(op, result, "invoice_missing");
    }

    invoice = result->invoice;
    now = lines_op_now(op);

    if (lines_is(&invoice->status, "open")
        || lines_is(&invoice->status, "uncollectible"))
    {
        if (op->repeats++ > 2) {
            return lines_op_again(op);
        }

        return lines_op_call(op, refund_void, refund_voided);
    }

    ngx_memzero(&metadata, sizeof(lines_stripe_metadata_t));

    metadata.deployment = op->lmcf->billing->deployment;
    metadata.tenant = op->tenant;
    metadata.line = lines_op_get(op, "line");
    metadata.operation = op->id;

    rc = lines_stripe_refund_body(op->pool, invoice, &metadata, &body);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {

        /* nothing was paid, or all of it went back already */

        if (invoice->credited > 0
            && lines_op_set(op, "refunded", &yes) != NGX_OK)
        {
            return NGX_ERROR;
        }

        return refund_settled(op);
    }

    if (lines_op_get(op, "refund_body").len) {

        if (refund_again(op, now) == NGX_OK) {
            return refund_record(op, &body, now);
        }

        if (lines_op_get_number(op, "absent_at")) {
            return lines_op_rest(op, op->conf->absent, 0, NULL);
        }

        /* too old to be sent again under its key: this was the first look */

        ngx_str_set(&fields[0], "absent_at");

        if (lines_redis_format(op->pool, &fields[1], "%L", now) != NGX_OK) {
            return NGX_ERROR;
        }

        return lines_op_rest(op, op->conf->absent, 2, fields);
    }

    return refund_record(op, &body, now);
}


/* it was sent, and is not there: once more only after two looks */

static ngx_int_t
refund_again(lines_op_t *op, int64_t now)
{
    int64_t  absent;

    absent = lines_op_get_number(op, "absent_at");

    return absent && now - absent >= (int64_t) op->conf->absent
           ? NGX_OK
           : NGX_AGAIN;
}


/*
 * The invoice at hand is done with.  Those of the renewals follow, from the
 * newest on: "refund_after" is the last of them that is done with, and never
 * one that is under way.
 */

static ngx_int_t
refund_settled(lines_op_t *op)
{
    ngx_str_t  fields[16], invoice, listed;

    invoice = lines_op_get(op, "invoice");
    listed = lines_op_get(op, "refund_listed");

    if (listed.len
        && listed.len == invoice.len
        && ngx_memcmp(listed.data, invoice.data, listed.len) == 0
        && lines_op_set(op, "refund_after", &listed) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (lines_op_get(op, "refund_body").len == 0) {
        return lines_op_call(op, refund_list, refund_listed);
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
    fields[11] = lines_op_get(op, "refund_after");
    ngx_str_set(&fields[12], "refunded");
    fields[13] = lines_op_get(op, "refunded");
    ngx_str_set(&fields[14], "tries");
    ngx_str_null(&fields[15]);

    return lines_op_move(op, (char *) op->step.data, 16, fields);
}


static ngx_int_t
refund_list(lines_op_t *op)
{
    ngx_str_t  after, subscription;

    after = lines_op_get(op, "refund_after");
    subscription = lines_op_get(op, "subscription");

    return lines_billing_find_unsettled(op->carrier, &subscription, &after,
                                        lines_op_answered, op);
}


static ngx_int_t
refund_listed(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome != LINES_STRIPE_OK) {
        return refund_outcome(op, result, "invoices_refused");
    }

    if (result->invoice == NULL) {
        return op->done(op);
    }

    if (lines_op_set(op, "invoice", &result->invoice->id) != NGX_OK
        || lines_op_set(op, "refund_listed", &result->invoice->id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return refund_got(op, result);
}


static ngx_int_t
refund_void(lines_op_t *op)
{
    ngx_str_t  invoice, key;

    invoice = lines_op_get(op, "invoice");

    if (lines_redis_format(op->pool, &key, "lines:%V:void:%V:%L", &op->id,
                           &invoice, lines_op_get_number(op, "tries"))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_billing_void_invoice(op->carrier, &invoice, &key,
                                      lines_op_answered, op);
}


static ngx_int_t
refund_voided(lines_op_t *op, lines_billing_result_t *result)
{
    switch (result->outcome) {

    case LINES_STRIPE_OK:
    case LINES_STRIPE_REFUSED:

        /* paid or void by now: read it */

        return lines_op_call(op, refund_get, refund_got);

    default:
        return refund_outcome(op, result, "");
    }
}


/* the exact body and key first; the step is entered again and sends them */

static ngx_int_t
refund_record(lines_op_t *op, ngx_str_t *body, int64_t now)
{
    int64_t    n;
    ngx_str_t  fields[16], step;

    n = lines_op_get_number(op, "refunds") + 1;

    ngx_str_set(&fields[0], "refund_body");
    fields[1] = *body;
    ngx_str_set(&fields[2], "refund_key");
    ngx_str_set(&fields[4], "refund_at");
    ngx_str_set(&fields[6], "refunds");
    ngx_str_set(&fields[8], "absent_at");
    ngx_str_null(&fields[9]);
    ngx_str_set(&fields[10], "invoice");
    fields[11] = lines_op_get(op, "invoice");
    ngx_str_set(&fields[12], "refund_listed");
    fields[13] = lines_op_get(op, "refund_listed");
    ngx_str_set(&fields[14], "refund_next");
    ngx_str_null(&fields[15]);

    if (lines_redis_format(op->pool, &fields[5], "%L", now) != NGX_OK
        || lines_redis_format(op->pool, &fields[7], "%L", n) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (n == 1) {
        if (lines_redis_format(op->pool, &fields[3], "lines:%V:refund",
                               &op->id)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else if (lines_redis_format(op->pool, &fields[3],
                                      "lines:%V:refund:%L", &op->id, n)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    step = op->step;

    return lines_op_move(op, (char *) step.data, 16, fields);
}


static ngx_int_t
refund_credit(lines_op_t *op)
{
    ngx_str_t  body, key;

    body = lines_op_get(op, "refund_body");
    key = lines_op_get(op, "refund_key");

    return lines_billing_refund(op->carrier, &body, &key, lines_op_answered,
                                op);
}


static ngx_int_t
refund_credited(lines_op_t *op, lines_billing_result_t *result)
{
    ngx_str_t  fields[4], invoice, yes = ngx_string("1");

    switch (result->outcome) {

    case LINES_STRIPE_OK:

        if (lines_op_set(op, "refunded", &yes) != NGX_OK) {
            return NGX_ERROR;
        }

        invoice = lines_op_get(op, "invoice");

        ngx_log_error(NGX_LOG_INFO, op->log, 0,
                      "lines operation %V: refunded invoice \"%V\"", &op->id,
                      &invoice);

        return refund_settled(op);

    case LINES_STRIPE_REFUSED:

        /*
         * For people to look at.  Once they say "again", the invoice is read
         * and, if need be, another body goes out under another key.
         */

        ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                      "lines operation %V: refund refused, \"%V\" \"%V\"",
                      &op->id, &result->error.code, &result->error.message);

        lines_op_list_stuck(op);

        ngx_str_set(&fields[0], "stuck");
        ngx_str_set(&fields[1], "refund_refused");
        ngx_str_set(&fields[2], "refund_body");
        ngx_str_null(&fields[3]);

        return lines_op_rest(op, op->conf->every, 4, fields);

    case LINES_STRIPE_UNKNOWN:

        if (result->status >= 500
            && (result->should_retry == 0
                || lines_op_get_number(op, "tries") >= LINES_SAVED_TRIES))
        {
            ngx_str_set(&fields[0], "absent_at");

            if (lines_redis_format(op->pool, &fields[1], "%L",
                                   lines_op_now(op))
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            return lines_op_move(op, (char *) op->step.data, 2, fields);
        }

        /* fall through */

    default:
        return refund_outcome(op, result, "");
    }
}
