
/*
 * A paid line request: its subscription is asked for, its invoice read afresh
 * and then settled, canceled, tried anew or left to wait (webhook, reader,
 * link, cancel and sweeper are one), and the provisioner told of the line.
 */

#include "http/text.h"
#include "operation/charge.h"
#include "operation/kinds.h"
#include "store/calls.h"


static ngx_int_t payment_recorded(void *data,
    lines_request_sent_reply_t *reply);
static ngx_int_t payment_refused(void *data,
    lines_request_refused_reply_t *reply);
static ngx_int_t payment_renewed(void *data);
static ngx_msec_t payment_poll(lines_op_t *op);
static ngx_int_t payment_placed(void *data,
    lines_request_place_reply_t *reply);
static ngx_int_t payment_announced(void *data);
static ngx_uint_t payment_lost(lines_op_t *op);
static ngx_int_t payment_settled(void *data, lines_request_paid_reply_t *reply);
static ngx_int_t payment_voided(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t payment_deleted(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t payment_over(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t payment_canceled(void *data, lines_cancel_end_reply_t *reply);
static ngx_int_t tell_line(void *data, lines_line_document_reply_t *reply);
static ngx_int_t tell_announced(void *data);
static ngx_int_t told(lines_op_t *op, const char *verdict, const char *reason);
static ngx_int_t tell_ended(void *data, lines_told_reply_t *reply);


/* at rest with this write, where it waits for its payment */

ngx_int_t
lines_payment_record(lines_op_t *op)
{
    lines_stripe_invoice_t       *invoice;
    lines_stripe_subscription_t  *subscription = &op->seen.subscription;

    invoice = &subscription->invoice;

    if (invoice->id.len == 0) {
        lines_op_log(op, NGX_LOG_ALERT, "subscription \"%V\" has no invoice",
                     &subscription->id);
        return lines_op_again(op);
    }

    if (lines_op_set(op, "subscription", &subscription->id) != NGX_OK
        || lines_op_set(op, "invoice", &invoice->id) != NGX_OK
        || lines_op_set(op, "url", &invoice->url) != NGX_OK
        || lines_op_set(op, "invoice_status", &invoice->status) != NGX_OK)
    {
        return NGX_ERROR;
    }

    lines_op_log(op, NGX_LOG_INFO, "subscription \"%V\", invoice \"%V\"",
                 &subscription->id, &invoice->id);

    lines_op_renewed(op);

    op->rest = payment_poll(op);

    return lines_request_sent(&op->caller, payment_recorded, op,
                              lines_op_held(op),
                              .line = lines_op_get(op, "line"),
                              .lease = op->conf->lease, .rest = op->rest,
                              .subscription = subscription->id,
                              .invoice = invoice->id, .url = invoice->url,
                              .invoice_status = invoice->status);
}


static ngx_int_t
payment_recorded(void *data, lines_request_sent_reply_t *reply)
{
    lines_op_t  *op = data;

    if (lines_op_answered(op, "await", &reply->answer_status, &reply->answer)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return reply->is == LINES_REQUEST_SENT_GOES
           ? lines_op_take(op) : lines_op_rested(op, op->rest);
}


ngx_int_t
lines_payment_refuse(lines_op_t *op)
{
    ngx_str_t              reason, message;
    ngx_uint_t             card;
    lines_stripe_error_t  *error = &op->seen.error;

    card = lines_is(&error->type, "card_error");
    reason = error->decline_code.len ? error->decline_code : error->code;

    if (reason.len == 0) {
        ngx_str_set(&reason, "payment_refused");
    }

    /* only what is said about a card is meant for its owner */

    ngx_str_set(&message, "The payment for this line could not be set up.");

    if (card && error->message.len) {
        message = error->message;

    } else if (lines_stripe_missing(error, "customer")) {
        ngx_str_set(&reason, "subscription_required");
        ngx_str_set(&message,
                    "Billing does not know the customer of this "
                    "workspace: set up billing first.");
    }

    if (lines_op_set(op, "refused", &message) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_request_refused(&op->caller, payment_refused, op,
                                 lines_op_held(op), lines_op_of_line(op),
                                 .reason = reason, .message = message,
                                 .card = card);
}


static ngx_int_t
payment_refused(void *data, lines_request_refused_reply_t *reply)
{
    return lines_op_answered(data, "done", &reply->answer_status,
                             &reply->answer);
}


/* the attempt is proven dead: another one */

ngx_int_t
lines_payment_renew(lines_op_t *op)
{
    ngx_str_t    body, key;
    const char  *whose;

    whose = lines_op_get(op, "payer").len ? "payer" : "customer";

    if (lines_charge_write(op, op->attempt + 1, whose, &body, &key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* there is something to send: not only when its invoice is looked at */

    lines_op_hint(op, &op->id, op->conf->due);

    return lines_then_request_again(&op->caller, payment_renewed, op,
                                    lines_op_held(op),
                                    .line = lines_op_get(op, "line"),
                                    .lease = op->conf->lease, .body = body,
                                    .key = key,
                                    .customer = lines_op_get(op, whose));
}


/* also where a cancel came first: the record says so */

static ngx_int_t
payment_renewed(void *data)
{
    lines_op_t  *op = data;

    op->unsent = op->attempt + 1;

    return lines_op_take(op);
}


ngx_int_t
lines_payment_rest(lines_op_t *op)
{
    ngx_str_t                status;
    ngx_msec_t               delay;
    lines_stripe_invoice_t  *invoice = &op->seen.subscription.invoice;

    status = invoice->status;
    delay = payment_poll(op);

    /* the look that was due is its last: who asks before does not put it off */

    if (op->seen.invoice == LINES_INVOICE_VOID) {
        ngx_str_null(&invoice->url);
        ngx_str_set(&status, "void");
        delay = ngx_max(lines_op_get_number(op, "due") - lines_op_now(op), 1);
    }

    /* what it was stuck with is over: nobody is to end it for that */

    return lines_op_rest(op, delay, { "url", invoice->url },
                         { "invoice_status", status },
                         { "wish", ngx_null_string },
                         { "tries", ngx_null_string },
                         { "stuck", ngx_null_string },
                         { "stuck_invoice", ngx_null_string },
                         { "stuck_due", ngx_null_string });
}


ngx_int_t
lines_payment_place(lines_op_t *op)
{
    ngx_array_t  *places = &op->lmcf->places;

    /* with a place kept for it, it is not to wait for its next look */

    lines_op_hint(op, &op->id, op->conf->due);

    return lines_request_place(&op->caller, payment_placed, op,
                               lines_op_held(op),
                               .line = lines_op_get(op, "line"),
                               .plans.n = places->nelts,
                               .plans.elts = places->elts);
}


static ngx_int_t
payment_placed(void *data, lines_request_place_reply_t *reply)
{
    lines_op_t  *op = data;

    ngx_str_t  place = ngx_string("included");

    if (reply->is == LINES_REQUEST_PLACE_NONE) {
        op->seen.place = LINES_PLACE_NONE;
        return NGX_OK;
    }

    lines_op_log(op, NGX_LOG_INFO, "%V: the plan includes it by now",
                 &op->point);

    return lines_op_set(op, "place", &place);
}


/* the delay until an open invoice is looked at again */

static ngx_msec_t
payment_poll(lines_op_t *op)
{
    int64_t           age, next;
    ngx_uint_t        i;
    lines_op_conf_t  *conf = op->conf;

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


ngx_int_t
lines_payment_settle(lines_op_t *op)
{
    /* a reader may have come an hour before anybody would look by himself */

    lines_op_hint(op, &op->id, op->conf->due);

    /* the provisioner's list of work, written before the line moves there */

    return lines_then_prov_put(&op->caller, payment_announced, op,
                               .at = lines_op_now(op), .tenant = op->tenant,
                               .id = lines_op_get(op, "line"));
}


static ngx_int_t
payment_announced(void *data)
{
    lines_op_t *op = data;

    ngx_uint_t        included;
    lines_op_seen_t  *seen = &op->seen;

    lines_op_renewed(op);

    included = seen->invoice != LINES_INVOICE_PAID;

    /*
     * What has no subscription any more, or was paid back, is not just handed
     * out: "tell" fails; nor what is overdue: it suspends.
     */

    return lines_request_paid(&op->caller, payment_settled, op,
                              lines_op_held(op), lines_op_of_line(op),
                              .lease = op->conf->lease,
                              .subscription = lines_op_get(op, "subscription"),
                              .invoice = lines_op_get(op, "invoice"),
                              .included = included,
                              .provisioner = (op->lmcf->provisioner.len
                                  || (!included
                                      && (payment_lost(op)
                                          || seen->sub
                                             == LINES_SUB_OVERDUE))));
}


/* there is no subscription, or what was paid went back, or a bank has it */

static ngx_uint_t
payment_lost(lines_op_t *op)
{
    return op->seen.sub == LINES_SUB_ENDED
           || op->seen.sub == LINES_SUB_MISSING
           || op->seen.money == LINES_MONEY_RETURNED
           || (op->seen.money && op->seen.ledger.taken);
}


static ngx_int_t
payment_settled(void *data, lines_request_paid_reply_t *reply)
{
    lines_op_t *op = data;

    ngx_str_t     none = ngx_null_string;
    const char  **name;

    static const char  *gone[] = { "invoice_status", "url", "invoice",
                                   "subscription", "wish", "place", NULL };

    if (reply->is != LINES_REQUEST_PAID_OK) {

        /* the record and its line disagree: money is at stake */

        return lines_op_stuck(op, "line_moved");
    }

    name = op->seen.invoice == LINES_INVOICE_PAID ? &gone[4] : gone;

    lines_op_log(op, NGX_LOG_INFO, "%s", name == gone ? "included" : "paid");

    op->document = reply->document;

    for ( /* void */ ; *name; name++) {
        if (lines_op_set(op, *name, &none) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return lines_op_enter(op, (char *) reply->next.data);
}


ngx_int_t
lines_payment_void(lines_op_t *op)
{
    ngx_str_t  key, payer, customer, *invoice;

    invoice = &op->seen.subscription.invoice.id;
    payer = lines_op_get(op, "payer");
    customer = lines_op_get(op, "customer");

    /* why, where nobody else will know, should he be the customer again */

    if (op->at == LINES_AT_AWAIT
        && payer.len
        && !lines_same(&payer, &customer)
        && lines_op_get(op, "moved").len == 0)
    {
        return lines_op_move(op, "await", { "moved", ngx_string("1") });
    }

    /* twice is as good as once, and a saved 500 is not replayed for ever */

    if (lines_redis_format(op->pool, &key, "lines:%V:void:%V:%L", &op->id,
                           invoice, lines_op_get_number(op, "tries"))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_op_bill(op, payment_voided, .kind = LINES_BILLING_VOID,
                         .id = *invoice, .key = key);
}


static ngx_int_t
payment_voided(lines_op_t *op, lines_billing_result_t *result)
{
    if (!op->seen.others) {
        op->seen.off = op->seen.invoice == LINES_INVOICE_UNCOLLECTIBLE;
    }

    if (result->outcome != LINES_STRIPE_OK
        && !lines_stripe_refused(result->outcome))
    {
        return lines_op_outcome(op, result, "");
    }

    /*
     * A replayed answer may be stale, but void is final; what is told with it
     * includes a part that was paid since the invoice was read.
     */

    if (result->invoice && lines_is(&result->invoice->status, "void")) {
        op->seen.subscription.invoice.amount_paid =
                                               result->invoice->amount_paid;
        op->seen.invoice = LINES_INVOICE_VOID;

        return NGX_OK;
    }

    /* paid in the meantime, or void already */

    op->seen.tried = 1;
    op->seen.invoice = LINES_INVOICE_UNSEEN;

    return NGX_OK;
}


ngx_int_t
lines_payment_delete(lines_op_t *op)
{
    return lines_op_bill(op, payment_deleted, .kind = LINES_BILLING_CANCEL,
                         .id = lines_op_get(op, "subscription"));
}


static ngx_int_t
payment_deleted(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "cancel_refused");
    }

    if (result->subscription
        && lines_op_sub(&result->subscription->status) != LINES_SUB_ENDED)
    {
        return lines_op_again(op);
    }

    op->seen.sub = LINES_SUB_ENDED;

    /* of its own: a proxy may tell another date */

    if (result->subscription && result->subscription->ended) {
        lines_op_dated(op, result->subscription->ended);
    }

    /* when it ended, and its latest invoice, which a list may not show yet */

    if (result->subscription == NULL) {
        return lines_op_bill(op, payment_over,
                             .kind = LINES_BILLING_SUBSCRIPTION,
                             .id = lines_op_get(op, "subscription"));
    }

    return payment_over(op, result);
}


static ngx_int_t
payment_over(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome != LINES_STRIPE_OK
        && !lines_stripe_refused(result->outcome))
    {
        return lines_op_outcome(op, result, "");
    }

    if (result->subscription) {
        op->seen.subscription.ended = result->subscription->ended;
        op->seen.latest = result->subscription->invoice.id;
    }

    /*
     * So far billing's clock is off, which tells what was paid: but since when
     * may have been told by that.
     */

    return !op->dated
           || lines_op_get(op, "skew").len
           || lines_op_get_number(op, "since") == 0
           ? NGX_OK
           : lines_op_move(op, (char *) op->step.data,
                           { "skew", lines_op_number(op, op->ahead) });
}


/* nothing billable is left of the line, or it is handed out */

ngx_int_t
lines_payment_end(lines_op_t *op)
{
    ngx_str_t  reason;

    if (op->at == LINES_AT_TELL) {
        return told(op, op->reason ? op->reason : "taken", "");
    }

    reason = op->reason ? lines_op_text(op->reason)
                        : lines_op_get(op, "wish_reason");

    return lines_cancel_end(&op->caller, payment_canceled, op,
                            lines_op_held(op), lines_op_of_line(op),
                            .reason = reason);
}


static ngx_int_t
payment_canceled(void *data, lines_cancel_end_reply_t *reply)
{
    return lines_op_answered(data, "done", &reply->answer_status,
                             &reply->answer);
}


/* the line as it was written a moment ago, or read */

ngx_int_t
lines_payment_tell(lines_op_t *op)
{
    ngx_str_t  json;

    json = op->document;

    if (json.len) {
        ngx_str_null(&op->document);
        return lines_op_tell(op, json);
    }

    return lines_line_document(&op->caller, tell_line, op,
                               .tenant = op->tenant,
                               .id = lines_op_get(op, "line"));
}


static ngx_int_t
tell_line(void *data, lines_line_document_reply_t *reply)
{
    lines_op_t  *op = data;

    /* an operator may have reported it, meanwhile */

    if (reply->json.len == 0
        || lines_status(&reply->status) != LINES_PROVISIONING)
    {
        op->seen.told = LINES_TELL_TAKEN;
        return NGX_OK;
    }

    return lines_op_tell(op, reply->json);
}


ngx_int_t
lines_payment_fail(lines_op_t *op)
{
    return lines_refund_announce(op, tell_announced);
}


static ngx_int_t
tell_announced(void *data)
{
    lines_op_t  *op = data;

    return told(op, payment_lost(op) ? "ended" : "refused", op->reason);
}


static ngx_int_t
told(lines_op_t *op, const char *verdict, const char *reason)
{
    return lines_refund_name(op) == NGX_OK
           ? lines_told(&op->caller, tell_ended, op, lines_op_held(op),
                        lines_op_of_line(op), .refund = op->refund,
                        .verdict = lines_op_text(verdict),
                        .reason = lines_op_text(reason),
                        .ended = lines_op_ended(op))
           : NGX_ERROR;
}


static ngx_int_t
tell_ended(void *data, lines_told_reply_t *reply)
{
    lines_op_t  *op = data;

    if (reply->begun.len) {
        (void) lines_op_spawn(op->lmcf, &op->tenant, &reply->begun);

        (void) lines_forget_prov_rem(&op->caller, .tenant = op->tenant,
                                     .id = lines_op_get(op, "line"));
    }

    lines_op_signal(&op->caller, op->lmcf, &op->tenant, &reply->pending);

    return lines_op_enter(op, "done");
}
