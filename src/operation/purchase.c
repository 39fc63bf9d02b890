
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/text.h"
#include "operation/charge.h"
#include "operation/provisioner.h"
#include "operation/purchase.h"
#include "operation/refund.h"
#include "store/calls.h"


static ngx_int_t purchase_customer(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t purchase_got_card(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t purchase_has_card(lines_op_t *op, ngx_str_t *payment_method);
static ngx_int_t purchase_no_card(lines_op_t *op);
static ngx_int_t purchase_leased(void *data, lines_inv_lease_reply_t *reply);
static ngx_int_t purchase_released(void *data,
    lines_inv_release_reply_t *reply);
static ngx_int_t purchase_charged(lines_op_t *op,
    lines_stripe_subscription_t *subscription);
static ngx_int_t purchase_refused(lines_op_t *op, lines_stripe_error_t *error);
static ngx_int_t purchase_absent(lines_op_t *op);
static ngx_int_t purchase_assigned(void *data,
    lines_inv_assign_reply_t *reply);
static ngx_int_t purchase_let_go(void *data, lines_inv_release_reply_t *reply);
static ngx_int_t purchase_told(lines_op_t *op, lines_result_t *result);
static ngx_int_t purchase_failed(lines_op_t *op);
static ngx_int_t purchase_uncharged(lines_op_t *op);
static ngx_int_t purchase_confirmed(void *data,
    lines_confirm_end_reply_t *reply);
static ngx_int_t purchase_taken_back(void *data,
    lines_undo_end_reply_t *reply);
static void purchase_settled(lines_op_t *op);
static ngx_int_t purchase_call(lines_op_t *op, ngx_str_t *payment_method,
    ngx_uint_t attempt, ngx_str_t *body, ngx_str_t *key);
static ngx_int_t purchase_refuse(lines_op_t *op, ngx_uint_t status,
    const char *error, ngx_str_t message);


static const lines_charge_t  purchase_charge = {
    purchase_charged, purchase_refused, purchase_absent
};


/* reads only: it can be repeated at will */

ngx_int_t
lines_purchase_card(lines_op_t *op)
{
    if (lines_op_get(op, "customer").len == 0) {
        return purchase_no_card(op);
    }

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
    switch (result->outcome) {

    case LINES_STRIPE_OK:
        if (result->payment_method.len
            && (result->customer == NULL || !result->customer->deleted))
        {
            return purchase_has_card(op, &result->payment_method);
        }

        /* fall through */

    case LINES_STRIPE_REFUSED:
        return purchase_no_card(op);

    default:
        return lines_op_outcome(op, result, "");
    }
}


static ngx_int_t
purchase_has_card(lines_op_t *op, ngx_str_t *payment_method)
{
    ngx_str_t  body, key;

    if (purchase_call(op, payment_method, op->attempt, &body, &key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_op_advance(op, { "payment_method", *payment_method },
                            { "body", body }, { "key", key });
}


static ngx_int_t
purchase_no_card(lines_op_t *op)
{
    return purchase_refuse(op, 402, "no_card_on_file",
                       lines_op_text("No card is available for the account"));
}


/*
 * Another slot, where the fence does not reach: the lease of the operation
 * does.  Whoever has lost it comes too late.
 */

ngx_int_t
lines_purchase_lease(lines_op_t *op)
{
    int64_t  not_after;

    not_after = op->now + (int64_t) op->conf->lease;

    return lines_inv_lease(&op->caller, purchase_leased, op,
                           .operation = op->id, .tenant = op->tenant,
                           .not_after = &not_after,
                           .delay = 2 * op->conf->lease);
}


static ngx_int_t
purchase_leased(void *data, lines_inv_lease_reply_t *reply)
{
    lines_op_t *op = data;

    if (reply->is == LINES_INV_LEASE_NONE) {

        if (lines_op_get(op, "subscription").len) {
            return purchase_failed(op);
        }

        return purchase_refuse(op, 503, "no_lines_available",
                       lines_op_text("No lines are currently available"));
    }

    if (reply->is != LINES_INV_LEASE_LEASED
        && reply->is != LINES_INV_LEASE_HELD)
    {
        /* late: another may have it by now */

        return lines_op_take(op);
    }

    if (lines_is(&op->step, "assign")) {
        return lines_op_move(op, "assign", { "number", reply->number },
                             { "worker", reply->worker });
    }

    return lines_op_advance(op, { "number", reply->number },
                            { "worker", reply->worker },
                        { "sent_at", lines_op_number(op, lines_op_now(op)) });
}


ngx_int_t
lines_purchase_release(lines_op_t *op)
{
    return lines_inv_release(&op->caller, purchase_released, op,
                             .operation = op->id, .tenant = op->tenant,
                             .quarantine = 0);
}


static ngx_int_t
purchase_released(void *data, lines_inv_release_reply_t *reply)
{
    return lines_op_undone(data);
}


ngx_int_t
lines_purchase_charge(lines_op_t *op)
{
    return lines_charge(op, &purchase_charge);
}


static ngx_int_t
purchase_charged(lines_op_t *op, lines_stripe_subscription_t *subscription)
{
    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: subscription \"%V\" is %V", &op->id,
                  &subscription->id, &subscription->status);

    if (lines_is(&subscription->status, "active")
        || lines_is(&subscription->status, "trialing"))
    {
        return lines_op_advance(op, { "subscription", subscription->id },
                                { "invoice", subscription->invoice.id });
    }

    /* of no use to anybody, however it came about: take it back */

    return lines_op_move(op, "undo:charge",
                         { "subscription", subscription->id },
                         { "invoice", subscription->invoice.id },
                         { "answer_status", ngx_string("500") },
                         { "answer", ngx_string("{\"status\":\"ERROR\","
                         "\"error\":\"provisioning_failed\","
                         "\"message\":\"Subscription was created, but "
                         "line provisioning failed\"}") });
}


static ngx_int_t
purchase_refused(lines_op_t *op, lines_stripe_error_t *error)
{
    ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                  "lines operation %V: refused by billing, \"%V\" \"%V\"",
                  &op->id, &error->code, &error->message);

    if (lines_is(&error->type, "card_error")) {
        return purchase_refuse(op, 402, "card_declined",
                               error->message.len
                               ? error->message
                               : lines_op_text("Your card was declined."));
    }

    if (lines_stripe_error_is(error, "resource_missing")
        && (error->param.len == 0
            || lines_is(&error->param, "default_payment_method")
            || lines_is(&error->param, "customer")))
    {
        return purchase_no_card(op);
    }

    ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                  "lines operation %V: billing does not take the charge, "
                  "\"%V\" \"%V\"", &op->id, &error->param, &error->message);

    return purchase_uncharged(op);
}


static ngx_int_t
purchase_absent(lines_op_t *op)
{
    int64_t    now;
    ngx_str_t  payment_method, body, key;

    now = lines_op_now(op);

    /* nobody was charged, and a day later nobody expects it any more */

    if (now - lines_op_get_number(op, "begun") >= (int64_t) op->conf->resend) {
        return purchase_uncharged(op);
    }

    payment_method = lines_op_get(op, "payment_method");

    if (purchase_call(op, &payment_method, op->attempt + 1, &body, &key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: attempt %ui is dead, another one",
                  &op->id, op->attempt);

    return lines_op_move(op, "charge",
                         { "attempt", lines_op_number(op, op->attempt + 1) },
                         { "body", body }, { "key", key },
                         { "sent_at", lines_op_number(op, now) },
                         { "absent_at", ngx_null_string },
                         { "tries", ngx_null_string });
}


ngx_int_t
lines_purchase_refund(lines_op_t *op)
{
    return lines_refund(op, lines_op_undone);
}


ngx_int_t
lines_purchase_assign(lines_op_t *op)
{
    return lines_inv_assign(&op->caller, purchase_assigned, op,
                            .number = lines_op_get(op, "number"),
                            .operation = op->id);
}


/* nobody is told where there is no provisioner */

static ngx_int_t
purchase_assigned(void *data, lines_inv_assign_reply_t *reply)
{
    lines_op_t *op = data;

    ngx_str_t  number;

    if (reply->is == LINES_INV_ASSIGN_ASSIGNED) {
        return op->lmcf->provisioner.len ? lines_op_move(op, "tell")
                                         : lines_op_move(op, "end");
    }

    /* it is paid for: another number, if there is one */

    number = lines_op_get(op, "number");

    ngx_log_error(NGX_LOG_ERR, op->log, 0,
                  "lines operation %V: does not hold \"%V\" any more", &op->id,
                  &number);

    return lines_inv_release(&op->caller, purchase_let_go, op,
                             .operation = op->id, .tenant = op->tenant,
                             .quarantine = 0);
}


static ngx_int_t
purchase_let_go(void *data, lines_inv_release_reply_t *reply)
{
    return lines_purchase_lease(data);
}


ngx_int_t
lines_purchase_tell(lines_op_t *op)
{
    ngx_str_t  json, account, number, worker, subscription;

    if (op->lmcf->provisioner.len == 0) {
        return lines_op_advance(op);
    }

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

    return lines_op_tell(op, &json, purchase_told);
}


static ngx_int_t
purchase_told(lines_op_t *op, lines_result_t *result)
{
    switch (lines_provisioner_verdict(result)) {

    case NGX_OK:
        return lines_op_advance(op);

    case NGX_DECLINED:
        ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                      "lines operation %V: the provisioner refused, %ui",
                      &op->id, result->status);

        return purchase_failed(op);

    default:
        return lines_op_again(op);
    }
}


static ngx_int_t
purchase_failed(lines_op_t *op)
{
    return purchase_refuse(op, 500, "provisioning_failed",
                     lines_op_text("Subscription was created, but line "
                                   "provisioning failed"));
}


static ngx_int_t
purchase_uncharged(lines_op_t *op)
{
    return purchase_refuse(op, 500, "provisioning_failed",
                     lines_op_text("The line could not be provisioned; "
                                   "nothing was charged"));
}


ngx_int_t
lines_purchase_end(lines_op_t *op)
{
    return lines_confirm_end(&op->caller, purchase_confirmed, op,
                             lines_op_held(op),
                             .idem_key = lines_op_get(op, "idempotency"));
}


static ngx_int_t
purchase_confirmed(void *data, lines_confirm_end_reply_t *reply)
{
    purchase_settled(data);

    return lines_op_ended(data, &reply->answer_status, &reply->answer);
}


ngx_int_t
lines_purchase_undone(lines_op_t *op)
{
    return lines_undo_end(&op->caller, purchase_taken_back, op,
                          lines_op_held(op),
                          .idem_key = lines_op_get(op, "idempotency"));
}


/* its answer was written when the undo began */

static ngx_int_t
purchase_taken_back(void *data, lines_undo_end_reply_t *reply)
{
    purchase_settled(data);

    return lines_op_enter(data, "done");
}


/* nobody needs to look at the number */

static void
purchase_settled(lines_op_t *op)
{
    (void) lines_forget_lease_rem(&op->caller, .tenant = op->tenant,
                                  .id = op->id);
}


/* the exact body and the key of an attempt's call */

static ngx_int_t
purchase_call(lines_op_t *op, ngx_str_t *payment_method, ngx_uint_t attempt,
    ngx_str_t *body, ngx_str_t *key)
{
    ngx_str_t                customer, price;
    lines_stripe_metadata_t  metadata = {
        .deployment = op->lmcf->billing->deployment,
        .tenant = op->tenant,
        .operation = op->id,
        .attempt = attempt
    };

    customer = lines_op_get(op, "customer");
    price = lines_op_get(op, "price");

    if (lines_stripe_charge_body(op->pool, &customer, &price, payment_method,
                                 &metadata, body)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_redis_format(op->pool, key, "lines:%V:sub:%ui", &op->id,
                              attempt);
}


/* undoes what was done, to end with this answer */

static ngx_int_t
purchase_refuse(lines_op_t *op, ngx_uint_t status, const char *error,
    ngx_str_t message)
{
    ngx_str_t  answer, text;

    text = lines_json_string(op->pool, &message);

    if (text.data == NULL
        || lines_redis_format(op->pool, &answer,
                              "{\"status\":\"ERROR\",\"error\":\"%s\","
                              "\"message\":%V}", error, &text)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_op_undo(op, status, &answer);
}
