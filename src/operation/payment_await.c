
/*
 * The invoice of a paid line: read afresh, and then settled, canceled, tried
 * anew or left to wait.  Webhook, reader, link, cancel and sweeper are one.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/text.h"
#include "operation/payment.h"
#include "store/calls.h"


static ngx_int_t payment_get(lines_op_t *op);
static ngx_int_t payment_got(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t payment_open(lines_op_t *op, lines_stripe_invoice_t *invoice);
static ngx_int_t payment_dead(lines_op_t *op);
static ngx_int_t payment_paid(lines_op_t *op);
static ngx_int_t payment_announced(void *data, lines_prov_put_reply_t *reply);
static ngx_int_t payment_settled(void *data, lines_request_paid_reply_t *reply);
static ngx_int_t payment_void(lines_op_t *op);
static ngx_int_t payment_voided(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t payment_delete(lines_op_t *op);
static ngx_int_t payment_deleted(lines_op_t *op,
    lines_billing_result_t *result);


ngx_int_t
lines_payment_await(lines_op_t *op)
{
    ngx_str_t  intent;

    intent = lines_op_get(op, "intent");

    /* void first: what is void cannot be paid any more */

    if (intent.len) {
        return lines_op_call(op, payment_void, payment_voided);
    }

    return lines_op_call(op, payment_get, payment_got);
}


static ngx_int_t
payment_get(lines_op_t *op)
{
    ngx_str_t  invoice;

    invoice = lines_op_get(op, "invoice");

    return lines_billing_get_invoice(op->carrier, &invoice, lines_op_answered,
                                     op);
}


static ngx_int_t
payment_got(lines_op_t *op, lines_billing_result_t *result)
{
    ngx_str_t               *status, intent;
    lines_stripe_invoice_t  *invoice;

    switch (result->outcome) {

    case LINES_STRIPE_OK:
        break;

    case LINES_STRIPE_REFUSED:
        return lines_op_stuck(op, "invoice_missing");

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    default:
        return lines_op_again(op);
    }

    invoice = result->invoice;
    status = &invoice->status;
    intent = lines_op_get(op, "intent");

    if (lines_op_set(op, "invoice_status", status) != NGX_OK) {
        return NGX_ERROR;
    }

    if (lines_is(status, "paid")) {
        return payment_paid(op);
    }

    if (lines_is(status, "void")) {

        return intent.len
               ? lines_op_call(op, payment_delete, payment_deleted)
               : payment_dead(op);
    }

    if (lines_is(status, "uncollectible")) {

        /* it could still be paid: never billed again silently */

        if (op->data) {
            return lines_op_again(op);
        }

        op->data = op;

        return lines_op_call(op, payment_void, payment_voided);
    }

    if (intent.len) {

        /* a void was refused, and yet it is not paid */

        return lines_op_again(op);
    }

    return payment_open(op, invoice);
}


static ngx_int_t
payment_open(lines_op_t *op, lines_stripe_invoice_t *invoice)
{
    ngx_str_t  fields[6];

    ngx_str_set(&fields[0], "url");
    fields[1] = invoice->url;
    ngx_str_set(&fields[2], "invoice_status");
    fields[3] = invoice->status;
    ngx_str_set(&fields[4], "tries");
    ngx_str_null(&fields[5]);

    return lines_op_rest(op, lines_payment_poll(op), 6, fields);
}


ngx_msec_t
lines_payment_poll(lines_op_t *op)
{
    int64_t           age, next;
    ngx_uint_t        i;
    lines_op_conf_t  *conf;

    conf = op->conf;

    age = lines_op_now(op) - lines_op_get_number(op, "sent_at");

    for (i = 0; i < conf->npolls; i++) {
        if (age < (int64_t) conf->poll[i]) {
            return conf->poll[i] - age;
        }
    }

    next = age + (int64_t) conf->every;

    if (age < (int64_t) conf->dead && next > (int64_t) conf->dead) {
        next = conf->dead;
    }

    return next - age;
}


/* void, and not by us: expired, or by somebody's hand */

static ngx_int_t
payment_dead(lines_op_t *op)
{
    ngx_str_t  fields[4];

    if (op->want & (LINES_WANT_LINK|LINES_WANT_CANCEL)) {

        /* at most one live subscription: the old one goes first */

        return lines_op_call(op, payment_delete, payment_deleted);
    }

    ngx_str_set(&fields[0], "url");
    ngx_str_null(&fields[1]);
    ngx_str_set(&fields[2], "invoice_status");
    ngx_str_set(&fields[3], "void");

    return lines_op_rest(op, lines_payment_poll(op), 4, fields);
}


static ngx_int_t
payment_paid(lines_op_t *op)
{
    /* a reader may have come an hour before anybody would look by himself */

    lines_op_hint(op, &op->id, op->conf->due);

    /* the provisioner's list of work, written before the line moves there */

    return lines_prov_put(&op->caller, payment_announced, op,
                          .at = lines_op_now(op), .tenant = op->tenant,
                          .id = lines_op_get(op, "line"));
}


static ngx_int_t
payment_announced(void *data, lines_prov_put_reply_t *reply)
{
    lines_op_t *op = data;

    lines_request_paid_args_t  args;

    lines_op_held(op, &args);
    lines_op_of_line(op, &args);

    args.lease = op->conf->lease;
    args.subscription = lines_op_get(op, "subscription");
    args.invoice = lines_op_get(op, "invoice");
    args.provisioner = (op->lmcf->provisioner.len != 0);

    lines_op_renewed(op);

    return lines_send_request_paid(&op->caller, LINES_CALL, &args,
                                   payment_settled, op);
}


static ngx_int_t
payment_settled(void *data, lines_request_paid_reply_t *reply)
{
    lines_op_t *op = data;

    ngx_str_t  none;

    if (reply->is != LINES_REQUEST_PAID_OK) {

        /* the record and its line disagree: money is at stake */

        return lines_op_stuck(op, "line_moved");
    }

    ngx_str_null(&none);

    ngx_log_error(NGX_LOG_INFO, op->log, 0, "lines operation %V: paid",
                  &op->id);

    if (lines_op_set(op, "intent", &none) != NGX_OK
        || lines_op_enter(op, &reply->next) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
payment_void(lines_op_t *op)
{
    ngx_str_t  invoice, key;

    invoice = lines_op_get(op, "invoice");

    /* twice is as good as once, and a saved 500 is not replayed for ever */

    if (lines_redis_format(op->pool, &key, "lines:%V:void:%ui:%L", &op->id,
                           op->attempt, lines_op_get_number(op, "tries"))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_billing_void_invoice(op->carrier, &invoice, &key,
                                      lines_op_answered, op);
}


static ngx_int_t
payment_voided(lines_op_t *op, lines_billing_result_t *result)
{
    lines_stripe_invoice_t  *invoice;

    switch (result->outcome) {

    case LINES_STRIPE_OK:

        /* a replayed answer may be stale, but void is final */

        invoice = result->invoice;

        if (invoice && lines_is(&invoice->status, "void")) {
            return lines_op_call(op, payment_delete, payment_deleted);
        }

        /* fall through */

    case LINES_STRIPE_REFUSED:

        /* paid in the meantime, or void already */

        return lines_op_call(op, payment_get, payment_got);

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    default:
        return lines_op_again(op);
    }
}


static ngx_int_t
payment_delete(lines_op_t *op)
{
    ngx_str_t  subscription;

    subscription = lines_op_get(op, "subscription");

    return lines_billing_cancel_subscription(op->carrier, &subscription,
                                             lines_op_answered, op);
}


static ngx_int_t
payment_deleted(lines_op_t *op, lines_billing_result_t *result)
{
    ngx_str_t  reason, intent, status;

    switch (result->outcome) {

    case LINES_STRIPE_OK:
        break;

    case LINES_STRIPE_REFUSED:
        return lines_op_stuck(op, "cancel_refused");

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    default:
        return lines_op_again(op);
    }

    intent = lines_op_get(op, "intent");
    status = lines_op_get(op, "invoice_status");

    if (intent.len) {
        reason = lines_op_get(op, "intent_reason");

    } else if (lines_is(&status, "uncollectible")) {
        ngx_str_set(&reason, "payment_uncollectible");

    } else if (op->want & LINES_WANT_LINK) {
        return lines_payment_again(op);

    } else {
        ngx_str_set(&reason, "payment_expired");
    }

    return lines_payment_cancel(op, &reason);
}
