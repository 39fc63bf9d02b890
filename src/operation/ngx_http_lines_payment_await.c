
/*
 * The invoice of a paid line: read afresh, and then settled, canceled, tried
 * anew or left to wait.  Webhook, reader, link, cancel and sweeper are one.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_payment.h"
#include "ngx_lines_scripts.h"


static ngx_int_t ngx_http_lines_payment_get(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_payment_got(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result);
static ngx_int_t ngx_http_lines_payment_open(ngx_http_lines_operation_t *op,
    ngx_lines_stripe_invoice_t *invoice);
static ngx_int_t ngx_http_lines_payment_dead(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_payment_paid(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_payment_announced(
    ngx_http_lines_operation_t *op, redisReply *reply);
static ngx_int_t ngx_http_lines_payment_settled(
    ngx_http_lines_operation_t *op, redisReply *reply);
static ngx_int_t ngx_http_lines_payment_void(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_payment_voided(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result);
static ngx_int_t ngx_http_lines_payment_delete(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_payment_deleted(
    ngx_http_lines_operation_t *op, ngx_http_lines_billing_result_t *result);


ngx_int_t
ngx_http_lines_payment_await(ngx_http_lines_operation_t *op)
{
    ngx_str_t  intent;

    intent = ngx_http_lines_operation_get(op, "intent");

    /* void first: what is void cannot be paid any more */

    if (intent.len) {
        return ngx_http_lines_operation_call(op, ngx_http_lines_payment_void,
                                             ngx_http_lines_payment_voided);
    }

    return ngx_http_lines_operation_call(op, ngx_http_lines_payment_get,
                                         ngx_http_lines_payment_got);
}


static ngx_int_t
ngx_http_lines_payment_get(ngx_http_lines_operation_t *op)
{
    ngx_str_t  invoice;

    invoice = ngx_http_lines_operation_get(op, "invoice");

    return ngx_http_lines_billing_get_invoice(op->carrier, &invoice,
                                           ngx_http_lines_operation_answered,
                                           op);
}


static ngx_int_t
ngx_http_lines_payment_got(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    ngx_str_t                   *status, intent;
    ngx_lines_stripe_invoice_t  *invoice;

    switch (result->outcome) {

    case NGX_LINES_STRIPE_OK:
        break;

    case NGX_LINES_STRIPE_REFUSED:
        return ngx_http_lines_operation_stuck(op, "invoice_missing");

    case NGX_LINES_STRIPE_ALERT:
        return ngx_http_lines_operation_stuck(op, "billing_alert");

    default:
        return ngx_http_lines_operation_again(op);
    }

    invoice = result->invoice;
    status = &invoice->status;
    intent = ngx_http_lines_operation_get(op, "intent");

    if (ngx_http_lines_operation_set(op, "invoice_status", status) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_lines_is(status, "paid")) {
        return ngx_http_lines_payment_paid(op);
    }

    if (ngx_http_lines_is(status, "void")) {

        return intent.len
               ? ngx_http_lines_operation_call(op,
                                               ngx_http_lines_payment_delete,
                                               ngx_http_lines_payment_deleted)
               : ngx_http_lines_payment_dead(op);
    }

    if (ngx_http_lines_is(status, "uncollectible")) {

        /* it could still be paid: never billed again silently */

        if (op->data) {
            return ngx_http_lines_operation_again(op);
        }

        op->data = op;

        return ngx_http_lines_operation_call(op, ngx_http_lines_payment_void,
                                             ngx_http_lines_payment_voided);
    }

    if (intent.len) {

        /* a void was refused, and yet it is not paid */

        return ngx_http_lines_operation_again(op);
    }

    return ngx_http_lines_payment_open(op, invoice);
}


static ngx_int_t
ngx_http_lines_payment_open(ngx_http_lines_operation_t *op,
    ngx_lines_stripe_invoice_t *invoice)
{
    ngx_str_t  fields[6];

    ngx_str_set(&fields[0], "url");
    fields[1] = invoice->url;
    ngx_str_set(&fields[2], "invoice_status");
    fields[3] = invoice->status;
    ngx_str_set(&fields[4], "tries");
    ngx_str_null(&fields[5]);

    return ngx_http_lines_operation_rest(op, ngx_http_lines_payment_poll(op),
                                         6, fields);
}


ngx_msec_t
ngx_http_lines_payment_poll(ngx_http_lines_operation_t *op)
{
    int64_t                           age, next;
    ngx_uint_t                        i;
    ngx_http_lines_operation_conf_t  *conf;

    conf = op->conf;

    age = ngx_http_lines_operation_now(op)
          - ngx_http_lines_operation_get_number(op, "sent_at");

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
ngx_http_lines_payment_dead(ngx_http_lines_operation_t *op)
{
    ngx_str_t  fields[4];

    if (op->want & (NGX_HTTP_LINES_WANT_LINK|NGX_HTTP_LINES_WANT_CANCEL)) {

        /* at most one live subscription: the old one goes first */

        return ngx_http_lines_operation_call(op,
                                             ngx_http_lines_payment_delete,
                                             ngx_http_lines_payment_deleted);
    }

    ngx_str_set(&fields[0], "url");
    ngx_str_null(&fields[1]);
    ngx_str_set(&fields[2], "invoice_status");
    ngx_str_set(&fields[3], "void");

    return ngx_http_lines_operation_rest(op, ngx_http_lines_payment_poll(op),
                                         4, fields);
}


static ngx_int_t
ngx_http_lines_payment_paid(ngx_http_lines_operation_t *op)
{
    ngx_str_t  argv[4], line;

    /* a reader may have come an hour before anybody would look by himself */

    ngx_http_lines_operation_hint(op, &op->id, op->conf->due);

    /* the provisioner's list of work, written before the line moves there */

    line = ngx_http_lines_operation_get(op, "line");

    ngx_str_set(&argv[0], "ZADD");
    ngx_str_set(&argv[1], "lines:{prov}");

    if (ngx_lines_redis_format(op->pool, &argv[2], "%L",
                               ngx_http_lines_operation_now(op))
        != NGX_OK
        || ngx_lines_redis_format(op->pool, &argv[3], "%V %V", &op->tenant,
                                  &line)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_operation_command(op, 4, argv,
                                            ngx_http_lines_payment_announced);
}


static ngx_int_t
ngx_http_lines_payment_announced(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    ngx_str_t  args[NGX_HTTP_LINES_LINE_KEYS + 8], *argv;

    ngx_http_lines_payment_keys(op, args);

    argv = &args[NGX_HTTP_LINES_LINE_KEYS];

    if (ngx_http_lines_operation_guard(op, argv) != NGX_OK
        || ngx_lines_redis_format(op->pool, &argv[4], "%M", op->conf->lease)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    argv[3] = op->id;
    argv[5] = ngx_http_lines_operation_get(op, "subscription");
    argv[6] = ngx_http_lines_operation_get(op, "invoice");
    ngx_str_null(&argv[7]);

    if (op->lmcf->provisioner.len) {
        ngx_str_set(&argv[7], "1");
    }

    ngx_http_lines_operation_renewed(op);

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_settle,
                                         NGX_HTTP_LINES_LINE_KEYS,
                                         NGX_HTTP_LINES_LINE_KEYS + 8, args,
                                         ngx_http_lines_payment_settled);
}


static ngx_int_t
ngx_http_lines_payment_settled(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    ngx_str_t  word, step, none;

    word = ngx_http_lines_reply_str(reply, 0);

    if (!ngx_http_lines_is(&word, "ok")) {

        /* the record and its line disagree: money is at stake */

        return ngx_http_lines_operation_stuck(op, "line_moved");
    }

    step = ngx_http_lines_reply_str(reply, 1);
    ngx_str_null(&none);

    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: paid", &op->id);

    if (ngx_http_lines_operation_set(op, "intent", &none) != NGX_OK
        || ngx_http_lines_operation_enter(op, &step) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_payment_void(ngx_http_lines_operation_t *op)
{
    ngx_str_t  invoice, key;

    invoice = ngx_http_lines_operation_get(op, "invoice");

    /* twice is as good as once, and a saved 500 is not replayed for ever */

    if (ngx_lines_redis_format(op->pool, &key, "lines:%V:void:%ui:%L",
                               &op->id, op->attempt,
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
ngx_http_lines_payment_voided(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    ngx_lines_stripe_invoice_t  *invoice;

    switch (result->outcome) {

    case NGX_LINES_STRIPE_OK:

        /* a replayed answer may be stale, but void is final */

        invoice = result->invoice;

        if (invoice && ngx_http_lines_is(&invoice->status, "void")) {
            return ngx_http_lines_operation_call(op,
                                             ngx_http_lines_payment_delete,
                                             ngx_http_lines_payment_deleted);
        }

        /* fall through */

    case NGX_LINES_STRIPE_REFUSED:

        /* paid in the meantime, or void already */

        return ngx_http_lines_operation_call(op, ngx_http_lines_payment_get,
                                             ngx_http_lines_payment_got);

    case NGX_LINES_STRIPE_ALERT:
        return ngx_http_lines_operation_stuck(op, "billing_alert");

    default:
        return ngx_http_lines_operation_again(op);
    }
}


static ngx_int_t
ngx_http_lines_payment_delete(ngx_http_lines_operation_t *op)
{
    ngx_str_t  subscription;

    subscription = ngx_http_lines_operation_get(op, "subscription");

    return ngx_http_lines_billing_cancel_subscription(op->carrier,
                                           &subscription,
                                           ngx_http_lines_operation_answered,
                                           op);
}


static ngx_int_t
ngx_http_lines_payment_deleted(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    ngx_str_t  reason, intent, status;

    switch (result->outcome) {

    case NGX_LINES_STRIPE_OK:
        break;

    case NGX_LINES_STRIPE_REFUSED:
        return ngx_http_lines_operation_stuck(op, "cancel_refused");

    case NGX_LINES_STRIPE_ALERT:
        return ngx_http_lines_operation_stuck(op, "billing_alert");

    default:
        return ngx_http_lines_operation_again(op);
    }

    intent = ngx_http_lines_operation_get(op, "intent");
    status = ngx_http_lines_operation_get(op, "invoice_status");

    if (intent.len) {
        reason = ngx_http_lines_operation_get(op, "intent_reason");

    } else if (ngx_http_lines_is(&status, "uncollectible")) {
        ngx_str_set(&reason, "payment_uncollectible");

    } else if (op->want & NGX_HTTP_LINES_WANT_LINK) {
        return ngx_http_lines_payment_again(op);

    } else {
        ngx_str_set(&reason, "payment_expired");
    }

    return ngx_http_lines_payment_cancel(op, &reason);
}
