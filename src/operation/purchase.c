
#include "http/text.h"
#include "operation/charge.h"
#include "operation/kinds.h"
#include "store/calls.h"


static ngx_int_t purchase_customer(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t purchase_got_card(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t purchase_clock(void *data, lines_inv_now_reply_t *reply);
static ngx_int_t purchase_number(lines_op_t *op, int64_t claimed);
static ngx_int_t purchase_leased(void *data, lines_inv_lease_reply_t *reply);
static ngx_int_t purchase_assigned(void *data,
    lines_inv_assign_reply_t *reply);
static ngx_int_t purchase_dropped(void *data);
static ngx_int_t purchase_confirmed(void *data,
    lines_confirm_end_reply_t *reply);
static ngx_int_t purchase_taken_back(void *data);
static void purchase_settled(lines_op_t *op);
static ngx_int_t purchase_undo(lines_op_t *op, ngx_uint_t status,
    const char *error, ngx_str_t message);


/* reads only: it can be repeated at will */

ngx_int_t
lines_purchase_card(lines_op_t *op)
{
    return lines_op_bill(op, purchase_customer, .kind = LINES_BILLING_CUSTOMER,
                         .id = lines_op_get(op, "customer"));
}


static ngx_int_t
purchase_customer(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome != LINES_STRIPE_OK
        || result->customer->deleted
        || result->payment_method.len)
    {
        return purchase_got_card(op, result);
    }

    return lines_op_bill(op, purchase_got_card, .kind = LINES_BILLING_CARD,
                         .id = lines_op_get(op, "customer"));
}


static ngx_int_t
purchase_got_card(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome != LINES_STRIPE_OK
        && result->outcome != LINES_STRIPE_MISSING)
    {
        return lines_op_outcome(op, result, "card_refused");
    }

    if (result->outcome == LINES_STRIPE_OK
        && result->payment_method.len
        && (result->customer == NULL || !result->customer->deleted))
    {
        op->seen.card = LINES_CARD_THERE;

        return lines_op_set(op, "payment_method", &result->payment_method);
    }

    op->seen.card = LINES_CARD_NONE;

    return NGX_OK;
}


/*
 * Another slot, where the fence does not reach: the lease of the operation
 * does.  Whoever has lost it comes too late, by the clock of that slot, which of
 * a cluster is another one than the lease was written by.
 */

ngx_int_t
lines_purchase_lease(lines_op_t *op)
{
    if (op->lmcf->redis_conf.cluster) {
        return lines_inv_now(&op->caller, purchase_clock, op);
    }

    return purchase_number(op, op->now);
}


/*
 * When the claim was sent, or sooner, by that clock: what the answer took is
 * gone of the lease, as is all that this worker slept.
 */

static ngx_int_t
purchase_clock(void *data, lines_inv_now_reply_t *reply)
{
    lines_op_t  *op = data;

    ngx_time_update();

    return purchase_number(op, reply->now - (int64_t) (ngx_current_msec
                                                       - op->claimed));
}


static ngx_int_t
purchase_number(lines_op_t *op, int64_t claimed)
{
    int64_t  not_after;

    not_after = claimed + (int64_t) op->conf->lease;

    return lines_inv_lease(&op->caller, purchase_leased, op,
                           .operation = op->id, .tenant = op->tenant,
                           .not_after = &not_after,
                           .delay = 2 * op->conf->lease,
                           .wanted = lines_op_get(op, "wanted"),
                           .rest = op->lmcf->quarantine);
}


static ngx_int_t
purchase_leased(void *data, lines_inv_lease_reply_t *reply)
{
    lines_op_t  *op = data;

    switch (reply->is) {

    case LINES_INV_LEASE_NONE:
    case LINES_INV_LEASE_TAKEN:
        op->seen.number = LINES_NUMBER_OUT;
        return NGX_OK;

    case LINES_INV_LEASE_LEASED:
    case LINES_INV_LEASE_HELD:

        /* one that was reserved, and the inventory does not list any more */

        if (reply->worker.len == 0) {
            op->seen.number = LINES_NUMBER_OUT;
            return NGX_OK;
        }

        op->seen.number = LINES_NUMBER_LEASED;

        return lines_op_set(op, "number", &reply->number) == NGX_OK
               ? lines_op_set(op, "worker", &reply->worker) : NGX_ERROR;

    default: /* LINES_INV_LEASE_LATE */

        /* another may have it by now, or the clock was set */

        if (lines_op_now(op) - op->now > (int64_t) op->conf->lease / 2) {
            return lines_op_take(op);
        }

        lines_op_log(op, NGX_LOG_ERR,
                     "the inventory's clock in Redis jumps: \"%V\" is late",
                     &op->tenant);

        return lines_op_again(op);
    }
}


/* what the step has found out, and the next one */

ngx_int_t
lines_purchase_next(lines_op_t *op)
{
    ngx_str_t  body, key;

    switch (op->at) {

    case LINES_AT_CARD:

        if (lines_charge_write(op, op->attempt, "customer", &body, &key)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        return lines_op_move(op, "lease", { "body", body }, { "key", key },
                             { "payment_method",
                               lines_op_get(op, "payment_method") });

    case LINES_AT_LEASE:
        op->unsent = op->attempt;

        return lines_op_move(op, "charge",
                        { "number", lines_op_get(op, "number") },
                        { "worker", lines_op_get(op, "worker") },
                        { "sent_at", lines_op_number(op, lines_op_now(op)) });

    case LINES_AT_ASSIGN:

        /* nobody is told where there is no provisioner */

        return lines_op_move(op, op->lmcf->provisioner.len ? "tell" : "end",
                             { "number", lines_op_get(op, "number") },
                             { "worker", lines_op_get(op, "worker") });

    case LINES_AT_UNCHARGE:
        return lines_op_move(op, "undo:lease");

    default: /* LINES_AT_INFORM */
        return lines_op_move(op, "end");
    }
}


ngx_int_t
lines_purchase_record(lines_op_t *op)
{
    lines_stripe_subscription_t  *subscription = &op->seen.subscription;

    lines_op_log(op, NGX_LOG_INFO, "subscription \"%V\" is %V",
                 &subscription->id, &subscription->status);

    return lines_op_move(op, "assign", { "subscription", subscription->id },
                         { "invoice", subscription->invoice.id });
}


ngx_int_t
lines_purchase_renew(lines_op_t *op)
{
    ngx_str_t  body, key;

    if (lines_charge_write(op, op->attempt + 1, "customer", &body, &key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    op->unsent = op->attempt + 1;
    op->seen.call = LINES_CALL_DUE;

    return lines_op_move(op, "charge",
                         { "attempt", lines_op_number(op, op->attempt + 1) },
                         { "body", body }, { "key", key },
                         { "sent_at", lines_op_number(op, lines_op_now(op)) },
                         { "absent_at", ngx_null_string },
                         { "after", ngx_null_string },
                         { "told", ngx_null_string },
                         { "tries", ngx_null_string });
}


ngx_int_t
lines_purchase_assign(lines_op_t *op)
{
    return lines_inv_assign(&op->caller, purchase_assigned, op,
                            .number = lines_op_get(op, "number"),
                            .operation = op->id);
}


static ngx_int_t
purchase_assigned(void *data, lines_inv_assign_reply_t *reply)
{
    lines_op_t  *op = data;

    ngx_str_t  number;

    if (reply->is == LINES_INV_ASSIGN_ASSIGNED) {
        op->seen.number = LINES_NUMBER_ASSIGNED;
        return NGX_OK;
    }

    /* it is paid for: another number, if there is one */

    number = lines_op_get(op, "number");

    lines_op_log(op, NGX_LOG_ERR, "does not hold \"%V\" any more", &number);

    op->seen.number = LINES_NUMBER_LOST;

    return NGX_OK;
}


/* the number that is not its own; on the way back, whichever it holds */

ngx_int_t
lines_purchase_drop(lines_op_t *op)
{
    ngx_str_t  lost;

    ngx_str_null(&lost);

    if (op->at != LINES_AT_UNLEASE) {
        lost = lines_op_get(op, "number");
    }

    /* by whoever goes on it may have been leased anew; none is after the end */

    return lines_then_inv_release(&op->caller, purchase_dropped, op,
                                  .operation = op->id, .tenant = op->tenant,
                                  .lost = lost);
}


static ngx_int_t
purchase_dropped(void *data)
{
    lines_op_t  *op = data;

    ngx_str_t  none = ngx_null_string;

    if (op->at == LINES_AT_UNLEASE) {
        return lines_op_move(op, "undone");
    }

    op->seen.number = LINES_NUMBER_NONE;
    op->seen.tried = 1;

    return lines_op_set(op, "number", &none);
}


ngx_int_t
lines_purchase_tell(lines_op_t *op)
{
    ngx_str_t  json, account, number, worker, subscription;

    account = op->tenant;
    account.data += 2;
    account.len -= 2;

    number = lines_op_get(op, "number");
    worker = lines_op_get(op, "worker");
    subscription = lines_op_get(op, "subscription");

    worker = lines_json_string(op->pool, &worker);
    subscription = lines_json_string(op->pool, &subscription);

    if (worker.data == NULL
        || subscription.data == NULL
        || lines_redis_format(op->pool, &json,
                    "{\"operation\":\"%V\",\"line\":\"%V\",\"account\":\"%V\","
                    "\"direction\":\"inbound_only\",\"phone_number\":\"%V\","
                    "\"worker_id\":%V,\"subscription_id\":%V}", &op->id,
                    &op->id, &account, &number, &worker, &subscription)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_op_tell(op, json);
}


/* nothing was charged */

ngx_int_t
lines_purchase_refuse(lines_op_t *op)
{
    ngx_str_t              no_card;
    lines_stripe_error_t  *error = &op->seen.error;

    ngx_str_set(&no_card, "No card is available for the account");

    if (op->at == LINES_AT_CARD && op->reason) {
        return purchase_undo(op, 402, op->reason, no_card);
    }

    if (op->at == LINES_AT_LEASE && op->reason
        && lines_op_get(op, "wanted").len)
    {
        return purchase_undo(op, 409, "number_lost",
                       lines_op_text("The number that was reserved is no "
                                     "longer available; nothing was charged: "
                                     "call preview again"));
    }

    if (op->at == LINES_AT_LEASE && op->reason) {
        return purchase_undo(op, 503, op->reason,
                       lines_op_text("No lines are currently available"));
    }

    if (op->seen.call == LINES_CALL_REFUSED) {
        if (lines_is(&error->type, "card_error")) {
            return purchase_undo(op, 402, "card_declined",
                                 error->message.len
                                 ? error->message
                                 : lines_op_text("Your card was declined."));
        }

        if (lines_stripe_missing(error, "")
            || lines_stripe_missing(error, "default_payment_method")
            || lines_stripe_missing(error, "customer"))
        {
            return purchase_undo(op, 402, "no_card_on_file", no_card);
        }

        lines_op_log(op, NGX_LOG_ALERT,
                     "billing does not take the charge, \"%V\" \"%V\"",
                     &error->param, &error->message);
    }

    return purchase_undo(op, 500, "provisioning_failed",
                   lines_op_text("The line could not be provisioned; "
                                 "nothing was charged"));
}


ngx_int_t
lines_purchase_fail(lines_op_t *op)
{
    return purchase_undo(op, 500, "provisioning_failed",
                   lines_op_text("Subscription was created, but line "
                                 "provisioning failed"));
}


/* what was done is undone, from the last step back, to end with this answer */

static ngx_int_t
purchase_undo(lines_op_t *op, ngx_uint_t status, const char *error,
    ngx_str_t message)
{
    ngx_str_t    answer, text, declined;
    const char  *step;

    ngx_str_null(&declined);

    if (ngx_strcmp(error, "card_declined") == 0) {
        ngx_str_set(&declined, "1");
    }

    /* what goes back is listed, from the newest invoice on */

    op->seen.invoice = LINES_INVOICE_UNSEEN;
    op->seen.money = LINES_MONEY_UNSEEN;

    text = lines_json_string(op->pool, &message);

    if (text.data == NULL
        || lines_redis_format(op->pool, &answer,
                              "{\"status\":\"ERROR\",\"error\":\"%s\","
                              "\"message\":%V}", error, &text)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    lines_op_log(op, NGX_LOG_NOTICE, "undone from \"%V\", %ui", &op->point,
                 status);

    /* what is reserved is held before it is leased */

    step = op->at == LINES_AT_CARD && lines_op_get(op, "wanted").len == 0
           ? "undone"
           : op->at == LINES_AT_CARD || op->at == LINES_AT_LEASE
           ? "undo:lease" : "undo:charge";

    return lines_op_move(op, step,
                         { "answer_status", lines_op_number(op, status) },
                         { "answer", answer }, { "declined", declined });
}


/* its answer was written when the undo began, or is now */

ngx_int_t
lines_purchase_end(lines_op_t *op)
{
    if (op->at == LINES_AT_UNDONE) {
        return lines_then_undo_end(&op->caller, purchase_taken_back, op,
                                   lines_op_held(op),
                                   .idem_key = lines_op_get(op,
                                                            "idempotency"));
    }

    return lines_confirm_end(&op->caller, purchase_confirmed, op,
                             lines_op_held(op),
                             .suspended = op->reason != NULL,
                             .before = (op->lmcf->redis_conf.layout == 1),
                             .idem_key = lines_op_get(op, "idempotency"));
}


static ngx_int_t
purchase_confirmed(void *data, lines_confirm_end_reply_t *reply)
{
    purchase_settled(data);

    return lines_op_answered(data, "done", &reply->answer_status,
                             &reply->answer);
}


static ngx_int_t
purchase_taken_back(void *data)
{
    purchase_settled(data);

    return lines_op_over(data);
}


/* nobody needs to look at the number */

static void
purchase_settled(lines_op_t *op)
{
    (void) lines_forget_inv_settle(&op->caller, .tenant = op->tenant,
                                   .operation = op->id);
}
