
/*
 * Why money goes back (a paid line failed, an active one was released, billing
 * has what no line holds, a purchase is undone), and how.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/text.h"
#include "operation/refund.h"
#include "store/calls.h"


static ngx_int_t refund_end(lines_op_t *op);
static ngx_int_t refund_ended(void *data, lines_refund_end_reply_t *reply);
static ngx_int_t refund_delete(lines_op_t *op, lines_op_answer_pt answer);
static ngx_int_t unsubscribed(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t refund_deleted(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t refund_found(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t refund_get(lines_op_t *op);
static ngx_int_t refund_got(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t refund_settled(lines_op_t *op);
static ngx_int_t refund_list(lines_op_t *op);
static ngx_int_t refund_listed(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t refund_void(lines_op_t *op);
static ngx_int_t refund_voided(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t refund_record(lines_op_t *op, ngx_str_t *body, int64_t now);
static ngx_int_t refund_credited(lines_op_t *op,
    lines_billing_result_t *result);


static ngx_str_t  refund_yes = ngx_string("1");


ngx_int_t
lines_refund_all(lines_op_t *op)
{
    return lines_refund(op, refund_end);
}


ngx_int_t
lines_unsubscribe(lines_op_t *op)
{
    op->done = refund_end;

    return lines_op_get(op, "subscription").len
           ? refund_delete(op, unsubscribed)
           : refund_end(op);
}


static ngx_int_t
refund_end(lines_op_t *op)
{
    const char  *payment, *event;

    payment = "";

    if (op->at == LINES_AT_REFUND) {
        payment = "refunded";
        event = "line.refunded";

    } else if (op->at == LINES_AT_RELEASE) {
        event = "line.unsubscribed";

    } else {
        event = "orphan.refunded";
    }

    return lines_refund_end(&op->caller, refund_ended, op, lines_op_held(op),
                            .line = lines_op_get(op, "line"),
                            .payment = lines_op_text(payment),
                            .subscription = lines_op_get(op, "subscription"),
                            .name = lines_op_text(event));
}


static ngx_int_t
refund_ended(void *data, lines_refund_end_reply_t *reply)
{
    return lines_op_enter(data, "done");
}


ngx_int_t
lines_refund(lines_op_t *op, lines_op_run_pt done)
{
    op->done = done;

    if (lines_op_get(op, "subscription").len == 0) {
        return done(op);
    }

    if (lines_op_get(op, "refund_body").len == 0) {
        return lines_op_get(op, "refund_next").len
               ? refund_list(op)
               : refund_delete(op, refund_deleted);
    }

    if (lines_op_get_number(op, "absent_at")
        || lines_op_now(op) - lines_op_get_number(op, "refund_at")
           >= (int64_t) op->conf->resend)
    {
        return refund_get(op);
    }

    return lines_op_bill(op, refund_credited, .kind = LINES_BILLING_REFUND,
                         .body = lines_op_get(op, "refund_body"),
                         .key = lines_op_get(op, "refund_key"));
}


static ngx_int_t
refund_delete(lines_op_t *op, lines_op_answer_pt answer)
{
    return lines_op_bill(op, answer, .kind = LINES_BILLING_CANCEL,
                         .id = lines_op_get(op, "subscription"));
}


static ngx_int_t
unsubscribed(lines_op_t *op, lines_billing_result_t *result)
{
    return result->outcome == LINES_STRIPE_OK
           ? op->done(op)
           : lines_op_outcome(op, result, "cancel_refused");
}


static ngx_int_t
refund_deleted(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "cancel_refused");
    }

    if (lines_op_get(op, "invoice").len) {
        return refund_get(op);
    }

    return lines_op_bill(op, refund_found, .kind = LINES_BILLING_SUBSCRIPTION,
                         .id = lines_op_get(op, "subscription"));
}


static ngx_int_t
refund_found(lines_op_t *op, lines_billing_result_t *result)
{
    ngx_str_t  *invoice;

    if (result->outcome == LINES_STRIPE_REFUSED) {
        return op->done(op);
    }

    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "");
    }

    invoice = &result->subscription->invoice.id;

    if (invoice->len == 0) {
        return refund_settled(op);
    }

    if (lines_op_set(op, "invoice", invoice) != NGX_OK) {
        return NGX_ERROR;
    }

    return refund_get(op);
}


static ngx_int_t
refund_get(lines_op_t *op)
{
    return lines_op_bill(op, refund_got, .kind = LINES_BILLING_INVOICE,
                         .id = lines_op_get(op, "invoice"));
}


static ngx_int_t
refund_got(lines_op_t *op, lines_billing_result_t *result)
{
    int64_t                  now, absent;
    ngx_int_t                rc;
    ngx_str_t                body;
    lines_stripe_invoice_t  *invoice;
    lines_stripe_metadata_t  metadata = {
        .deployment = op->lmcf->billing->deployment,
        .tenant = op->tenant,
        .line = lines_op_get(op, "line"),
        .operation = op->id
    };

    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "invoice_missing");
    }

    invoice = result->invoice;
    now = lines_op_now(op);

    if (lines_is(&invoice->status, "open")
        || lines_is(&invoice->status, "uncollectible"))
    {
        if (op->repeats++ > 2) {
            return lines_op_again(op);
        }

        return refund_void(op);
    }

    rc = lines_stripe_refund_body(op->pool, invoice, &metadata, &body);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {

        /* nothing was paid, or all of it went back already */

        if (invoice->credited > 0
            && lines_op_set(op, "refunded", &refund_yes) != NGX_OK)
        {
            return NGX_ERROR;
        }

        return refund_settled(op);
    }

    absent = lines_op_get_number(op, "absent_at");

    /* what was sent, and is not there: once more only after two looks */

    if (lines_op_get(op, "refund_body").len == 0
        || (absent && now - absent >= (int64_t) op->conf->absent))
    {
        return refund_record(op, &body, now);
    }

    if (absent) {
        return lines_op_rest(op, op->conf->absent);
    }

    /* too old to be sent again under its key: this was the first look */

    return lines_op_rest(op, op->conf->absent,
                         { "absent_at", lines_op_number(op, now) });
}


/*
 * The invoice at hand is done with.  Those of the renewals follow, from the
 * newest on: "refund_after" is the last of them that is done with, and never
 * one that is under way.
 */

static ngx_int_t
refund_settled(lines_op_t *op)
{
    ngx_str_t  invoice, listed;

    invoice = lines_op_get(op, "invoice");
    listed = lines_op_get(op, "refund_listed");

    if (listed.len
        && lines_op_same(&listed, &invoice)
        && lines_op_set(op, "refund_after", &listed) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (lines_op_get(op, "refund_body").len == 0) {
        return refund_list(op);
    }

    return lines_op_move(op, (char *) op->step.data,
                         { "refund_body", ngx_null_string },
                         { "refund_key", ngx_null_string },
                         { "refund_at", ngx_null_string },
                         { "absent_at", ngx_null_string },
                         { "refund_next", ngx_string("1") },
                         { "refund_after", lines_op_get(op, "refund_after") },
                         { "refunded", lines_op_get(op, "refunded") },
                         { "tries", ngx_null_string });
}


static ngx_int_t
refund_list(lines_op_t *op)
{
    return lines_op_bill(op, refund_listed, .kind = LINES_BILLING_UNSETTLED,
                         .id = lines_op_get(op, "subscription"),
                         .after = lines_op_get(op, "refund_after"));
}


static ngx_int_t
refund_listed(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "invoices_refused");
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

    return lines_op_bill(op, refund_voided, .kind = LINES_BILLING_VOID,
                         .id = invoice, .key = key);
}


static ngx_int_t
refund_voided(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome == LINES_STRIPE_OK
        || result->outcome == LINES_STRIPE_REFUSED)
    {
        /* paid or void by now: read it */

        return refund_get(op);
    }

    return lines_op_outcome(op, result, "");
}


/* the exact body and key first; the step is entered again and sends them */

static ngx_int_t
refund_record(lines_op_t *op, ngx_str_t *body, int64_t now)
{
    int64_t    n;
    ngx_int_t  rc;
    ngx_str_t  key;

    n = lines_op_get_number(op, "refunds") + 1;

    rc = n == 1
         ? lines_redis_format(op->pool, &key, "lines:%V:refund", &op->id)
         : lines_redis_format(op->pool, &key, "lines:%V:refund:%L", &op->id,
                              n);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_op_move(op, (char *) op->step.data,
                         { "refund_body", *body }, { "refund_key", key },
                         { "refund_at", lines_op_number(op, now) },
                         { "refunds", lines_op_number(op, n) },
                         { "absent_at", ngx_null_string },
                         { "invoice", lines_op_get(op, "invoice") },
                         { "refund_listed",
                           lines_op_get(op, "refund_listed") },
                         { "refund_next", ngx_null_string });
}


static ngx_int_t
refund_credited(lines_op_t *op, lines_billing_result_t *result)
{
    ngx_str_t  invoice;

    if (result->outcome == LINES_STRIPE_OK) {

        if (lines_op_set(op, "refunded", &refund_yes) != NGX_OK) {
            return NGX_ERROR;
        }

        invoice = lines_op_get(op, "invoice");

        ngx_log_error(NGX_LOG_INFO, op->log, 0,
                      "lines operation %V: refunded invoice \"%V\"", &op->id,
                      &invoice);

        return refund_settled(op);
    }

    if (result->outcome == LINES_STRIPE_REFUSED) {

        /*
         * For people to look at.  Once they say "again", the invoice is read
         * and, if need be, another body goes out under another key.
         */

        ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                      "lines operation %V: refund refused, \"%V\" \"%V\"",
                      &op->id, &result->error.code, &result->error.message);

        lines_op_list_stuck(op);

        return lines_op_rest(op, op->conf->every,
                             { "stuck", ngx_string("refund_refused") },
                             { "refund_body", ngx_null_string });
    }

    if (lines_op_saved(op, result)) {
        return lines_op_move(op, (char *) op->step.data,
                     { "absent_at", lines_op_number(op, lines_op_now(op)) });
    }

    return lines_op_outcome(op, result, "");
}
