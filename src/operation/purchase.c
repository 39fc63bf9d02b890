
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/inventory.h"
#include "operation/provisioner.h"
#include "operation/purchase.h"
#include "operation/refund.h"
#include "store/scripts.h"


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
static ngx_int_t purchase_leased(lines_op_t *op, redisReply *reply);
static ngx_int_t purchase_release(lines_op_t *op);
static ngx_int_t purchase_released(lines_op_t *op, redisReply *reply);
static ngx_int_t purchase_refund(lines_op_t *op);
static ngx_int_t purchase_assign(lines_op_t *op);
static ngx_int_t purchase_assigned(lines_op_t *op, redisReply *reply);
static ngx_int_t purchase_let_go(lines_op_t *op, redisReply *reply);
static ngx_int_t purchase_tell(lines_op_t *op);
static ngx_int_t purchase_told(lines_op_t *op, lines_result_t *result);
static ngx_int_t purchase_end(lines_op_t *op);
static ngx_int_t purchase_undone(lines_op_t *op);
static ngx_int_t purchase_ended(lines_op_t *op, redisReply *reply);


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
    ngx_str_t  args[LINES_INV_LEASE_ARGS];

    if (lines_inventory_lease(op->pool, op->lmcf, &op->tenant, &op->id,
                              op->now + (int64_t) op->conf->lease, NULL, NULL,
                              args)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_op_eval(op, &lines_script_inv_lease, LINES_INV_LEASE_KEYS,
                         LINES_INV_LEASE_ARGS, args, purchase_leased);
}


static ngx_int_t
purchase_leased(lines_op_t *op, redisReply *reply)
{
    ngx_str_t  word, fields[6];

    word = lines_reply_str(reply, 0);

    if (lines_is(&word, "none")) {

        if (lines_op_get(op, "subscription").len) {
            return lines_purchase_refuse(op, 500, "provisioning_failed",
                             "Subscription was created, but line provisioning "
                             "failed");
        }

        return lines_purchase_refuse(op, 503, "no_lines_available",
                                     "No lines are currently available");
    }

    if (!lines_is(&word, "leased") && !lines_is(&word, "held")) {
        /* late: another may have it by now */

        return lines_op_take(op);
    }

    ngx_str_set(&fields[0], "number");
    fields[1] = lines_reply_str(reply, 1);
    ngx_str_set(&fields[2], "worker");
    fields[3] = lines_reply_str(reply, 2);

    if (lines_is(&op->step, "assign")) {
        return lines_op_step(op, "assign", 4, fields);
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
    ngx_str_t  args[LINES_INV_RELEASE_ARGS];

    if (lines_inventory_release(op->pool, &op->tenant, &op->id, 0, args)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_op_eval(op, &lines_script_inv_release, LINES_INV_RELEASE_KEYS,
                         LINES_INV_RELEASE_ARGS, args, purchase_released);
}


static ngx_int_t
purchase_released(lines_op_t *op, redisReply *reply)
{
    return lines_op_undone(op);
}


static ngx_int_t
purchase_refund(lines_op_t *op)
{
    return lines_refund(op, lines_op_undone);
}


static ngx_int_t
purchase_assign(lines_op_t *op)
{
    ngx_str_t  number, args[LINES_INV_ASSIGN_ARGS];

    number = lines_op_get(op, "number");

    lines_inventory_assign(&op->id, &number, args);

    return lines_op_eval(op, &lines_script_inv_assign, LINES_INV_ASSIGN_KEYS,
                         LINES_INV_ASSIGN_ARGS, args, purchase_assigned);
}


static ngx_int_t
purchase_assigned(lines_op_t *op, redisReply *reply)
{
    ngx_str_t  word, number, args[LINES_INV_RELEASE_ARGS];

    word = lines_reply_str(reply, 0);

    if (lines_is(&word, "assigned")) {
        return lines_op_advance(op, 0, NULL);
    }

    /* it is paid for: another number, if there is one */

    number = lines_op_get(op, "number");

    ngx_log_error(NGX_LOG_ERR, op->log, 0,
                  "lines operation %V: does not hold \"%V\" any more", &op->id,
                  &number);

    if (lines_inventory_release(op->pool, &op->tenant, &op->id, 0, args)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_op_eval(op, &lines_script_inv_release, LINES_INV_RELEASE_KEYS,
                         LINES_INV_RELEASE_ARGS, args, purchase_let_go);
}


static ngx_int_t
purchase_let_go(lines_op_t *op, redisReply *reply)
{
    return purchase_lease(op);
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
    ngx_str_t  args[7 + 5];

    args[0] = lines_op_key(op, "op:%V", &op->id);
    args[1] = lines_op_key(op, "ops");
    args[2] = lines_op_key(op, "line:%V", &op->id);
    args[3] = lines_op_key(op, "lines");
    args[4] = lines_op_key(op, "t");
    args[5] = lines_op_key(op, "ev");
    args[6] = lines_op_get(op, "idempotency");

    if (args[6].len == 0) {
        args[6] = args[0];
    }

    if (lines_op_guard(op, &args[7]) != NGX_OK) {
        return NGX_ERROR;
    }

    args[10] = op->id;
    args[11] = op->tenant;

    return lines_op_eval(op, &lines_script_confirm_end, 7, 12, args,
                         purchase_ended);
}


static ngx_int_t
purchase_undone(lines_op_t *op)
{
    ngx_str_t  args[5 + 4];

    args[0] = lines_op_key(op, "op:%V", &op->id);
    args[1] = lines_op_key(op, "ops");
    args[2] = lines_op_key(op, "win");
    args[3] = lines_op_key(op, "ev");
    args[4] = lines_op_get(op, "idempotency");

    if (args[4].len == 0) {
        args[4] = args[0];
    }

    if (lines_op_guard(op, &args[5]) != NGX_OK) {
        return NGX_ERROR;
    }

    args[8] = op->id;

    return lines_op_eval(op, &lines_script_undo_end, 5, 9, args,
                         purchase_ended);
}


/* the record has its answer now; nobody needs to look at the number */

static ngx_int_t
purchase_ended(lines_op_t *op, redisReply *reply)
{
    ngx_str_t  argv[3];

    ngx_str_set(&argv[0], "ZREM");
    argv[1] = lines_inventory[LINES_INV_LEASES];

    if (lines_redis_format(op->pool, &argv[2], "%V %V", &op->tenant, &op->id)
        == NGX_OK)
    {
        lines_op_forget(op, 3, argv);
    }

    return lines_op_take(op);
}
