
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/text.h"
#include "operation/provisioner.h"
#include "operation/purchase.h"
#include "operation/refund.h"
#include "store/calls.h"


#define LINES_NO_CARD \
    "No card is available for the account"


static ngx_int_t purchase_card(lines_op_t *op);
static ngx_int_t purchase_get_customer(lines_op_t *op);
static ngx_int_t purchase_customer(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t purchase_get_card(lines_op_t *op);
static ngx_int_t purchase_got_card(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t purchase_has_card(lines_op_t *op, ngx_str_t *payment_method);
static ngx_int_t purchase_lease(lines_op_t *op);
static ngx_int_t purchase_leased(void *data, lines_inv_lease_reply_t *reply);
static ngx_int_t purchase_release(lines_op_t *op);
static ngx_int_t purchase_give_back(lines_op_t *op, lines_inv_release_pt done);
static ngx_int_t purchase_released(void *data,
    lines_inv_release_reply_t *reply);
static ngx_int_t purchase_refund(lines_op_t *op);
static ngx_int_t purchase_assign(lines_op_t *op);
static ngx_int_t purchase_assigned(void *data,
    lines_inv_assign_reply_t *reply);
static ngx_int_t purchase_let_go(void *data, lines_inv_release_reply_t *reply);
static ngx_int_t purchase_tell(lines_op_t *op);
static ngx_int_t purchase_told(lines_op_t *op, lines_result_t *result);
static ngx_int_t purchase_end(lines_op_t *op);
static ngx_int_t purchase_undone(lines_op_t *op);
static ngx_int_t purchase_confirmed(void *data,
    lines_confirm_end_reply_t *reply);
static ngx_int_t purchase_taken_back(void *data,
    lines_undo_end_reply_t *reply);
static ngx_int_t purchase_ended(lines_op_t *op);


static lines_op_step_t  purchase_steps[] = {
    { ngx_string("card"),    purchase_card,    NULL },
    { ngx_string("lease"),   purchase_lease,
                             purchase_release },
    { ngx_string("charge"),  lines_purchase_charge,
                             purchase_refund },
    { ngx_string("assign"),  purchase_assign,  NULL },
    { ngx_string("tell"),    purchase_tell,    NULL },
    { ngx_string("end"),     purchase_end,     NULL },
    { ngx_null_string, NULL, NULL }
};


lines_op_kind_t  lines_purchase_kind = {
    ngx_string("purchase"),
    purchase_steps,
    purchase_undone
};


ngx_int_t
lines_purchase_refuse(lines_op_t *op, ngx_uint_t status, const char *error,
    const char *message)
{
    ngx_str_t  answer, text;

    text.data = (u_char *) message;
    text.len = ngx_strlen(message);

    text = lines_json_string(op->pool, &text);

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


ngx_int_t
lines_purchase_call(lines_op_t *op, ngx_str_t *payment_method,
    ngx_uint_t attempt, ngx_str_t *body, ngx_str_t *key)
{
    ngx_str_t                customer, price;
    lines_stripe_metadata_t  metadata;

    customer = lines_op_get(op, "customer");
    price = lines_op_get(op, "price");

    ngx_memzero(&metadata, sizeof(lines_stripe_metadata_t));

    metadata.deployment = op->lmcf->billing->deployment;
    metadata.tenant = op->tenant;
    metadata.operation = op->id;
    metadata.attempt = attempt;

    if (lines_stripe_charge_body(op->pool, &customer, &price, payment_method,
                                 &metadata, body)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_redis_format(op->pool, key, "lines:%V:sub:%ui", &op->id,
                              attempt);
}


/* reads only: it can be repeated at will */

static ngx_int_t
purchase_card(lines_op_t *op)
{
    if (lines_op_get(op, "customer").len == 0) {
        return lines_purchase_refuse(op, 402, "no_card_on_file",
                                     LINES_NO_CARD);
    }

    return lines_op_call(op, purchase_get_customer, purchase_customer);
}


static ngx_int_t
purchase_get_customer(lines_op_t *op)
{
    ngx_str_t  customer;

    customer = lines_op_get(op, "customer");

    return lines_billing_get_customer(op->carrier, &customer,
                                      lines_op_answered, op);
}


static ngx_int_t
purchase_customer(lines_op_t *op, lines_billing_result_t *result)
{
    switch (result->outcome) {

    case LINES_STRIPE_OK:

        if (result->customer->deleted) {
            break;
        }

        if (result->customer->payment_method.len) {
            return purchase_has_card(op, &result->customer->payment_method);
        }

        return lines_op_call(op, purchase_get_card, purchase_got_card);

    case LINES_STRIPE_REFUSED:
        break;

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    default:
        return lines_op_again(op);
    }

    return lines_purchase_refuse(op, 402, "no_card_on_file", LINES_NO_CARD);
}


static ngx_int_t
purchase_get_card(lines_op_t *op)
{
    ngx_str_t  customer;

    customer = lines_op_get(op, "customer");

    return lines_billing_get_card(op->carrier, &customer, lines_op_answered,
                                  op);
}


static ngx_int_t
purchase_got_card(lines_op_t *op, lines_billing_result_t *result)
{
    switch (result->outcome) {

    case LINES_STRIPE_OK:

        if (result->payment_method.len) {
            return purchase_has_card(op, &result->payment_method);
        }

        break;

    case LINES_STRIPE_REFUSED:
        break;

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    default:
        return lines_op_again(op);
    }

    return lines_purchase_refuse(op, 402, "no_card_on_file", LINES_NO_CARD);
}


static ngx_int_t
purchase_has_card(lines_op_t *op, ngx_str_t *payment_method)
{
    ngx_str_t  fields[6];

    ngx_str_set(&fields[0], "payment_method");
    fields[1] = *payment_method;
    ngx_str_set(&fields[2], "body");
    ngx_str_set(&fields[4], "key");

    if (lines_purchase_call(op, payment_method, op->attempt, &fields[3],
                            &fields[5])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_op_advance(op, 6, fields);
}


/*
 * Another slot, where the fence does not reach: the lease of the operation
 * does.  Whoever has lost it comes too late.
 */

static ngx_int_t
purchase_lease(lines_op_t *op)
{
    int64_t                 not_after;
    lines_inv_lease_args_t  args;

    ngx_memzero(&args, sizeof(args));

    not_after = op->now + (int64_t) op->conf->lease;

    args.operation = op->id;
    args.tenant = op->tenant;
    args.not_after = &not_after;
    args.delay = 2 * op->conf->lease;

    return lines_send_inv_lease(&op->caller, LINES_CALL, &args,
                                purchase_leased, op);
}


static ngx_int_t
purchase_leased(void *data, lines_inv_lease_reply_t *reply)
{
    lines_op_t *op = data;

    ngx_str_t  fields[6];

    if (reply->is == LINES_INV_LEASE_NONE) {

        if (lines_op_get(op, "subscription").len) {
            return lines_purchase_refuse(op, 500, "provisioning_failed",
                             "Subscription was created, but line provisioning "
                             "failed");
        }

        return lines_purchase_refuse(op, 503, "no_lines_available",
                                     "No lines are currently available");
    }

    if (reply->is != LINES_INV_LEASE_LEASED
        && reply->is != LINES_INV_LEASE_HELD)
    {
        /* late: another may have it by now */

        return lines_op_take(op);
    }

    ngx_str_set(&fields[0], "number");
    fields[1] = reply->number;
    ngx_str_set(&fields[2], "worker");
    fields[3] = reply->worker;

    if (lines_is(&op->step, "assign")) {
        return lines_op_move(op, "assign", 4, fields);
    }

    ngx_str_set(&fields[4], "sent_at");

    if (lines_redis_format(op->pool, &fields[5], "%L", lines_op_now(op))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_op_advance(op, 6, fields);
}


static ngx_int_t
purchase_release(lines_op_t *op)
{
    return purchase_give_back(op, purchase_released);
}


static ngx_int_t
purchase_give_back(lines_op_t *op, lines_inv_release_pt done)
{
    return lines_inv_release(&op->caller, done, op, .operation = op->id,
                             .tenant = op->tenant, .quarantine = 0);
}


static ngx_int_t
purchase_released(void *data, lines_inv_release_reply_t *reply)
{
    return lines_op_undone(data);
}


static ngx_int_t
purchase_refund(lines_op_t *op)
{
    return lines_refund(op, lines_op_undone);
}


static ngx_int_t
purchase_assign(lines_op_t *op)
{
    return lines_inv_assign(&op->caller, purchase_assigned, op,
                            .number = lines_op_get(op, "number"),
                            .operation = op->id);
}


static ngx_int_t
purchase_assigned(void *data, lines_inv_assign_reply_t *reply)
{
    lines_op_t *op = data;

    ngx_str_t  number;

    if (reply->is == LINES_INV_ASSIGN_ASSIGNED) {
        return lines_op_advance(op, 0, NULL);
    }

    /* it is paid for: another number, if there is one */

    number = lines_op_get(op, "number");

    ngx_log_error(NGX_LOG_ERR, op->log, 0,
                  "lines operation %V: does not hold \"%V\" any more", &op->id,
                  &number);

    return purchase_give_back(op, purchase_let_go);
}


static ngx_int_t
purchase_let_go(void *data, lines_inv_release_reply_t *reply)
{
    return purchase_lease(data);
}


static ngx_int_t
purchase_tell(lines_op_t *op)
{
    ngx_str_t  json, account, number, worker, subscription;

    if (op->lmcf->provisioner.len == 0) {
        return lines_op_advance(op, 0, NULL);
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

    return lines_provisioner_tell(op, &json, purchase_told);
}


static ngx_int_t
purchase_told(lines_op_t *op, lines_result_t *result)
{
    switch (lines_provisioner_verdict(result)) {

    case NGX_OK:
        return lines_op_advance(op, 0, NULL);

    case NGX_DECLINED:
        ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                      "lines operation %V: the provisioner refused, %ui",
                      &op->id, result->status);

        return lines_purchase_refuse(op, 500, "provisioning_failed",
                     "Subscription was created, but line provisioning failed");

    default:
        return lines_op_again(op);
    }
}


static ngx_int_t
purchase_end(lines_op_t *op)
{
    lines_confirm_end_args_t  args;

    lines_op_held(op, &args);

    args.idem_key = lines_op_get(op, "idempotency");

    return lines_send_confirm_end(&op->caller, LINES_CALL, &args,
                                  purchase_confirmed, op);
}


static ngx_int_t
purchase_confirmed(void *data, lines_confirm_end_reply_t *reply)
{
    return purchase_ended(data);
}


static ngx_int_t
purchase_undone(lines_op_t *op)
{
    lines_undo_end_args_t  args;

    lines_op_held(op, &args);

    args.idem_key = lines_op_get(op, "idempotency");

    return lines_send_undo_end(&op->caller, LINES_CALL, &args,
                               purchase_taken_back, op);
}


static ngx_int_t
purchase_taken_back(void *data, lines_undo_end_reply_t *reply)
{
    return purchase_ended(data);
}


/* the record has its answer now; nobody needs to look at the number */

static ngx_int_t
purchase_ended(lines_op_t *op)
{
    (void) lines_forget_lease_rem(&op->caller, .tenant = op->tenant,
                                  .id = op->id);

    return lines_op_take(op);
}
