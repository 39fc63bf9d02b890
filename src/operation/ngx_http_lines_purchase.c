
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_purchase.h"
#include "ngx_http_lines_inventory.h"
#include "ngx_http_lines_provisioner.h"
#include "ngx_http_lines_refund.h"
#include "ngx_lines_scripts.h"


#define NGX_HTTP_LINES_NO_CARD                                                \
    "No card is available for the account"


static ngx_int_t ngx_http_lines_purchase_card(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_purchase_get_customer(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_purchase_customer(
    ngx_http_lines_operation_t *op, ngx_http_lines_billing_result_t *result);
static ngx_int_t ngx_http_lines_purchase_get_card(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_purchase_got_card(
    ngx_http_lines_operation_t *op, ngx_http_lines_billing_result_t *result);
static ngx_int_t ngx_http_lines_purchase_has_card(
    ngx_http_lines_operation_t *op, ngx_str_t *payment_method);
static ngx_int_t ngx_http_lines_purchase_lease(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_purchase_leased(
    ngx_http_lines_operation_t *op, redisReply *reply);
static ngx_int_t ngx_http_lines_purchase_release(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_purchase_released(
    ngx_http_lines_operation_t *op, redisReply *reply);
static ngx_int_t ngx_http_lines_purchase_refund(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_purchase_assign(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_purchase_assigned(
    ngx_http_lines_operation_t *op, redisReply *reply);
static ngx_int_t ngx_http_lines_purchase_let_go(
    ngx_http_lines_operation_t *op, redisReply *reply);
static ngx_int_t ngx_http_lines_purchase_tell(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_purchase_told(ngx_http_lines_operation_t *op,
    ngx_http_lines_result_t *result);
static ngx_int_t ngx_http_lines_purchase_end(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_purchase_undone(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_purchase_ended(ngx_http_lines_operation_t *op,
    redisReply *reply);


static ngx_http_lines_operation_step_t  ngx_http_lines_purchase_steps[] = {
    { ngx_string("card"),    ngx_http_lines_purchase_card,    NULL },
    { ngx_string("lease"),   ngx_http_lines_purchase_lease,
                             ngx_http_lines_purchase_release },
    { ngx_string("charge"),  ngx_http_lines_purchase_charge,
                             ngx_http_lines_purchase_refund },
    { ngx_string("assign"),  ngx_http_lines_purchase_assign,  NULL },
    { ngx_string("tell"),    ngx_http_lines_purchase_tell,    NULL },
    { ngx_string("end"),     ngx_http_lines_purchase_end,     NULL },
    { ngx_null_string, NULL, NULL }
};


ngx_http_lines_operation_kind_t  ngx_http_lines_purchase_kind = {
    ngx_string("purchase"),
    ngx_http_lines_purchase_steps,
    ngx_http_lines_purchase_undone
};


ngx_int_t
ngx_http_lines_purchase_refuse(ngx_http_lines_operation_t *op,
    ngx_uint_t status, const char *error, const char *message)
{
    ngx_str_t  answer, text;

    text.data = (u_char *) message;
    text.len = ngx_strlen(message);

    text = ngx_http_lines_json_string(op->pool, &text);

    if (text.data == NULL
        || ngx_lines_redis_format(op->pool, &answer,
                                  "{\"status\":\"ERROR\",\"error\":\"%s\","
                                  "\"message\":%V}", error, &text)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_operation_undo(op, status, &answer);
}


ngx_int_t
ngx_http_lines_purchase_call(ngx_http_lines_operation_t *op,
    ngx_str_t *payment_method, ngx_uint_t attempt, ngx_str_t *body,
    ngx_str_t *key)
{
    ngx_str_t                    customer, price;
    ngx_lines_stripe_metadata_t  metadata;

    customer = ngx_http_lines_operation_get(op, "customer");
    price = ngx_http_lines_operation_get(op, "price");

    ngx_memzero(&metadata, sizeof(ngx_lines_stripe_metadata_t));

    metadata.deployment = op->lmcf->billing->deployment;
    metadata.tenant = op->tenant;
    metadata.operation = op->id;
    metadata.attempt = attempt;

    if (ngx_lines_stripe_charge_body(op->pool, &customer, &price,
                                     payment_method, &metadata, body)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_lines_redis_format(op->pool, key, "lines:%V:sub:%ui", &op->id,
                                  attempt);
}


/* reads only: it can be repeated at will */

static ngx_int_t
ngx_http_lines_purchase_card(ngx_http_lines_operation_t *op)
{
    if (ngx_http_lines_operation_get(op, "customer").len == 0) {
        return ngx_http_lines_purchase_refuse(op, 402, "no_card_on_file",
                                              NGX_HTTP_LINES_NO_CARD);
    }

    return ngx_http_lines_operation_call(op,
                                         ngx_http_lines_purchase_get_customer,
                                         ngx_http_lines_purchase_customer);
}


static ngx_int_t
ngx_http_lines_purchase_get_customer(ngx_http_lines_operation_t *op)
{
    ngx_str_t  customer;

    customer = ngx_http_lines_operation_get(op, "customer");

    return ngx_http_lines_billing_get_customer(op->carrier, &customer,
                                           ngx_http_lines_operation_answered,
                                           op);
}


static ngx_int_t
ngx_http_lines_purchase_customer(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    switch (result->outcome) {

    case NGX_LINES_STRIPE_OK:

        if (result->customer->deleted) {
            break;
        }

        if (result->customer->payment_method.len) {
            return ngx_http_lines_purchase_has_card(op,
                                          &result->customer->payment_method);
        }

        return ngx_http_lines_operation_call(op,
                                             ngx_http_lines_purchase_get_card,
                                             ngx_http_lines_purchase_got_card);

    case NGX_LINES_STRIPE_REFUSED:
        break;

    case NGX_LINES_STRIPE_ALERT:
        return ngx_http_lines_operation_stuck(op, "billing_alert");

    default:
        return ngx_http_lines_operation_again(op);
    }

    return ngx_http_lines_purchase_refuse(op, 402, "no_card_on_file",
                                          NGX_HTTP_LINES_NO_CARD);
}


static ngx_int_t
ngx_http_lines_purchase_get_card(ngx_http_lines_operation_t *op)
{
    ngx_str_t  customer;

    customer = ngx_http_lines_operation_get(op, "customer");

    return ngx_http_lines_billing_get_card(op->carrier, &customer,
                                           ngx_http_lines_operation_answered,
                                           op);
}


static ngx_int_t
ngx_http_lines_purchase_got_card(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    switch (result->outcome) {

    case NGX_LINES_STRIPE_OK:

        if (result->payment_method.len) {
            return ngx_http_lines_purchase_has_card(op,
                                                    &result->payment_method);
        }

        break;

    case NGX_LINES_STRIPE_REFUSED:
        break;

    case NGX_LINES_STRIPE_ALERT:
        return ngx_http_lines_operation_stuck(op, "billing_alert");

    default:
        return ngx_http_lines_operation_again(op);
    }

    return ngx_http_lines_purchase_refuse(op, 402, "no_card_on_file",
                                          NGX_HTTP_LINES_NO_CARD);
}


static ngx_int_t
ngx_http_lines_purchase_has_card(ngx_http_lines_operation_t *op,
    ngx_str_t *payment_method)
{
    ngx_str_t  fields[6];

    ngx_str_set(&fields[0], "payment_method");
    fields[1] = *payment_method;
    ngx_str_set(&fields[2], "body");
    ngx_str_set(&fields[4], "key");

    if (ngx_http_lines_purchase_call(op, payment_method, op->attempt,
                                     &fields[3], &fields[5])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_operation_advance(op, 6, fields);
}


/*
 * Another slot, where the fence does not reach: the lease of the operation
 * does.  Whoever has lost it comes too late.
 */

static ngx_int_t
ngx_http_lines_purchase_lease(ngx_http_lines_operation_t *op)
{
    ngx_str_t  args[NGX_HTTP_LINES_INV_LEASE_ARGS];

    if (ngx_http_lines_inventory_lease(op->pool, op->lmcf, &op->tenant,
                                       &op->id,
                                       op->now + (int64_t) op->conf->lease,
                                       NULL, NULL, args)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_inv_lease,
                                         NGX_HTTP_LINES_INV_LEASE_KEYS,
                                         NGX_HTTP_LINES_INV_LEASE_ARGS, args,
                                         ngx_http_lines_purchase_leased);
}


static ngx_int_t
ngx_http_lines_purchase_leased(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    ngx_str_t  word, fields[6];

    word = ngx_http_lines_reply_str(reply, 0);

    if (ngx_http_lines_is(&word, "none")) {

        if (ngx_http_lines_operation_get(op, "subscription").len) {
            return ngx_http_lines_purchase_refuse(op, 500,
                       "provisioning_failed",
                       "Subscription was created, but line provisioning "
                       "failed");
        }

        return ngx_http_lines_purchase_refuse(op, 503, "no_lines_available",
                                        "No lines are currently available");
    }

    if (!ngx_http_lines_is(&word, "leased")
        && !ngx_http_lines_is(&word, "held"))
    {
        /* late: another may have it by now */

        return ngx_http_lines_operation_claim(op);
    }

    ngx_str_set(&fields[0], "number");
    fields[1] = ngx_http_lines_reply_str(reply, 1);
    ngx_str_set(&fields[2], "worker");
    fields[3] = ngx_http_lines_reply_str(reply, 2);

    if (ngx_http_lines_is(&op->step, "assign")) {
        return ngx_http_lines_operation_step(op, "assign", 4, fields);
    }

    ngx_str_set(&fields[4], "sent_at");

    if (ngx_lines_redis_format(op->pool, &fields[5], "%L",
                               ngx_http_lines_operation_now(op))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_operation_advance(op, 6, fields);
}


static ngx_int_t
ngx_http_lines_purchase_release(ngx_http_lines_operation_t *op)
{
    ngx_str_t  args[NGX_HTTP_LINES_INV_RELEASE_ARGS];

    if (ngx_http_lines_inventory_release(op->pool, &op->tenant, &op->id, 0,
                                         args)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_inv_release,
                                         NGX_HTTP_LINES_INV_RELEASE_KEYS,
                                         NGX_HTTP_LINES_INV_RELEASE_ARGS,
                                         args,
                                         ngx_http_lines_purchase_released);
}


static ngx_int_t
ngx_http_lines_purchase_released(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    return ngx_http_lines_operation_undone(op);
}


static ngx_int_t
ngx_http_lines_purchase_refund(ngx_http_lines_operation_t *op)
{
    return ngx_http_lines_refund(op, ngx_http_lines_operation_undone);
}


static ngx_int_t
ngx_http_lines_purchase_assign(ngx_http_lines_operation_t *op)
{
    ngx_str_t  number, args[NGX_HTTP_LINES_INV_ASSIGN_ARGS];

    number = ngx_http_lines_operation_get(op, "number");

    ngx_http_lines_inventory_assign(&op->id, &number, args);

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_inv_assign,
                                         NGX_HTTP_LINES_INV_ASSIGN_KEYS,
                                         NGX_HTTP_LINES_INV_ASSIGN_ARGS, args,
                                         ngx_http_lines_purchase_assigned);
}


static ngx_int_t
ngx_http_lines_purchase_assigned(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    ngx_str_t  word, number, args[NGX_HTTP_LINES_INV_RELEASE_ARGS];

    word = ngx_http_lines_reply_str(reply, 0);

    if (ngx_http_lines_is(&word, "assigned")) {
        return ngx_http_lines_operation_advance(op, 0, NULL);
    }

    /* it is paid for: another number, if there is one */

    number = ngx_http_lines_operation_get(op, "number");

    ngx_log_error(NGX_LOG_ERR, op->log, 0,
                  "lines operation %V: does not hold \"%V\" any more",
                  &op->id, &number);

    if (ngx_http_lines_inventory_release(op->pool, &op->tenant, &op->id, 0,
                                         args)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_inv_release,
                                         NGX_HTTP_LINES_INV_RELEASE_KEYS,
                                         NGX_HTTP_LINES_INV_RELEASE_ARGS,
                                         args,
                                         ngx_http_lines_purchase_let_go);
}


static ngx_int_t
ngx_http_lines_purchase_let_go(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    return ngx_http_lines_purchase_lease(op);
}


static ngx_int_t
ngx_http_lines_purchase_tell(ngx_http_lines_operation_t *op)
{
    ngx_str_t  json, account, number, worker, subscription;

    if (op->lmcf->provisioner.len == 0) {
        return ngx_http_lines_operation_advance(op, 0, NULL);
    }

    account = op->tenant;
    account.data += 2;
    account.len -= 2;

    number = ngx_http_lines_operation_get(op, "number");
    worker = ngx_http_lines_operation_get(op, "worker");
    subscription = ngx_http_lines_operation_get(op, "subscription");

    worker = ngx_http_lines_json_string(op->pool, &worker);
    subscription = ngx_http_lines_json_string(op->pool, &subscription);

    if (worker.data == NULL || subscription.data == NULL
        || ngx_lines_redis_format(op->pool, &json,
               "{\"operation\":\"%V\",\"line\":\"%V\",\"account\":\"%V\","
               "\"direction\":\"inbound_only\",\"phone_number\":\"%V\","
               "\"worker_id\":%V,\"subscription_id\":%V}",
               &op->id, &op->id, &account, &number, &worker, &subscription)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_provisioner_tell(op, &json,
                                           ngx_http_lines_purchase_told);
}


static ngx_int_t
ngx_http_lines_purchase_told(ngx_http_lines_operation_t *op,
    ngx_http_lines_result_t *result)
{
    switch (ngx_http_lines_provisioner_verdict(result)) {

    case NGX_OK:
        return ngx_http_lines_operation_advance(op, 0, NULL);

    case NGX_DECLINED:
        ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                      "lines operation %V: the provisioner refused, %ui",
                      &op->id, result->status);

        return ngx_http_lines_purchase_refuse(op, 500, "provisioning_failed",
                   "Subscription was created, but line provisioning failed");

    default:
        return ngx_http_lines_operation_again(op);
    }
}


static ngx_int_t
ngx_http_lines_purchase_end(ngx_http_lines_operation_t *op)
{
    ngx_str_t  args[7 + 5];

    args[0] = ngx_http_lines_operation_key(op, "op:%V", &op->id);
    args[1] = ngx_http_lines_operation_key(op, "ops");
    args[2] = ngx_http_lines_operation_key(op, "line:%V", &op->id);
    args[3] = ngx_http_lines_operation_key(op, "lines");
    args[4] = ngx_http_lines_operation_key(op, "t");
    args[5] = ngx_http_lines_operation_key(op, "ev");
    args[6] = ngx_http_lines_operation_get(op, "idempotency");

    if (args[6].len == 0) {
        args[6] = args[0];
    }

    if (ngx_http_lines_operation_guard(op, &args[7]) != NGX_OK) {
        return NGX_ERROR;
    }

    args[10] = op->id;
    args[11] = op->tenant;

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_confirm_end,
                                         7, 12, args,
                                         ngx_http_lines_purchase_ended);
}


static ngx_int_t
ngx_http_lines_purchase_undone(ngx_http_lines_operation_t *op)
{
    ngx_str_t  args[5 + 4];

    args[0] = ngx_http_lines_operation_key(op, "op:%V", &op->id);
    args[1] = ngx_http_lines_operation_key(op, "ops");
    args[2] = ngx_http_lines_operation_key(op, "win");
    args[3] = ngx_http_lines_operation_key(op, "ev");
    args[4] = ngx_http_lines_operation_get(op, "idempotency");

    if (args[4].len == 0) {
        args[4] = args[0];
    }

    if (ngx_http_lines_operation_guard(op, &args[5]) != NGX_OK) {
        return NGX_ERROR;
    }

    args[8] = op->id;

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_undo_end, 5, 9,
                                         args, ngx_http_lines_purchase_ended);
}


/* the record has its answer now; nobody needs to look at the number */

static ngx_int_t
ngx_http_lines_purchase_ended(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    ngx_str_t  argv[3];

    ngx_str_set(&argv[0], "ZREM");
    argv[1] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_LEASES];

    if (ngx_lines_redis_format(op->pool, &argv[2], "%V %V", &op->tenant,
                               &op->id)
        == NGX_OK)
    {
        ngx_http_lines_operation_forget(op, 3, argv);
    }

    return ngx_http_lines_operation_claim(op);
}
