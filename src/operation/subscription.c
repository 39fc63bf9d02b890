
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/subscription.h"
#include "store/scripts.h"


typedef struct {
    ngx_str_t    state;            /* of the workspace; empty: as it is */
    ngx_str_t    plan;
    ngx_str_t    pending;          /* line that awaits payment */
} lines_plan_found_t;


static ngx_int_t plan_customer(lines_op_t *op, redisReply *reply);
static ngx_int_t plan_list(lines_op_t *op);
static ngx_int_t plan_listed(lines_op_t *op, lines_billing_result_t *result);
static ngx_uint_t plan_rank(ngx_str_t *status);
static ngx_uint_t plan_others(lines_op_t *op, ngx_str_t *tenant);
static ngx_int_t plan_pending(lines_op_t *op, redisReply *reply);
static ngx_int_t plan_end(lines_op_t *op);
static ngx_int_t plan_ended(lines_op_t *op, redisReply *reply);
static ngx_int_t lapse_get(lines_op_t *op);
static ngx_int_t lapse_got(lines_op_t *op, lines_billing_result_t *result);
static void lapse_verdict(ngx_str_t *status, ngx_str_t *verdict);
static ngx_int_t lapse_ended(lines_op_t *op, redisReply *reply);
static void lapse_looked(void *data, redisReply *reply);


ngx_int_t
lines_plan_read(lines_op_t *op)
{
    ngx_str_t  argv[3];

    op->data = ngx_pcalloc(op->pool, sizeof(lines_plan_found_t));
    if (op->data == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "HMGET");
    argv[1] = lines_op_key(op, "t");
    ngx_str_set(&argv[2], "customer");

    return lines_op_command(op, 3, argv, plan_customer);
}


static ngx_int_t
plan_customer(lines_op_t *op, redisReply *reply)
{
    ngx_str_t  customer, named;

    customer = lines_reply_str(reply, 0);
    named = lines_op_get(op, "customer");

    /* another customer's plan is none of the workspace's, by now */

    if (customer.len == 0
        || customer.len != named.len
        || ngx_strncmp(customer.data, named.data, named.len) != 0)
    {
        return plan_end(op);
    }

    return lines_op_call(op, plan_list, plan_listed);
}


static ngx_int_t
plan_list(lines_op_t *op)
{
    ngx_str_t  customer;

    customer = lines_op_get(op, "customer");

    return lines_billing_list_subscriptions(op->carrier, &customer,
                                            lines_op_answered, op);
}


static ngx_int_t
plan_listed(lines_op_t *op, lines_billing_result_t *result)
{
    ngx_str_t                    *plan, argv[2];
    ngx_uint_t                    i, j, rank, best;
    lines_plan_found_t           *found;
    lines_stripe_subscription_t  *s;

    static ngx_str_t  states[] = {
        ngx_null_string,
        ngx_string("canceled"),
        ngx_string("past_due"),
        ngx_string("active")
    };

    switch (result->outcome) {

    case LINES_STRIPE_OK:
        break;

    case LINES_STRIPE_REFUSED:
        return plan_end(op);

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    default:
        return lines_op_again(op);
    }

    found = op->data;
    best = 0;

    s = result->subscriptions->elts;

    for (i = 0; i < result->subscriptions->nelts; i++) {

        rank = plan_rank(&s[i].status);

        if (rank <= best || plan_others(op, &s[i].metadata.tenant)) {
            continue;
        }

        for (j = 0; j < s[i].nprices; j++) {

            plan = lines_billing_plan(op->lmcf->billing, &s[i].prices[j]);
            if (plan == NULL) {
                continue;
            }

            best = rank;
            found->plan = *plan;
            break;
        }
    }

    found->state = states[best];

    if (best == 1) {
        ngx_str_null(&found->plan);
    }

    ngx_str_set(&argv[0], "GET");
    argv[1] = lines_op_key(op, "pending");

    return lines_op_command(op, 2, argv, plan_pending);
}


static ngx_uint_t
plan_rank(ngx_str_t *status)
{
    if (lines_is(status, "active") || lines_is(status, "trialing")) {
        return 3;
    }

    if (lines_is(status, "past_due")
        || lines_is(status, "unpaid")
        || lines_is(status, "paused"))
    {
        return 2;
    }

    /* one that was never paid for says nothing */

    return lines_is(status, "canceled") ? 1 : 0;
}


/* tenants may share a customer: a subscription may say whose it is */

static ngx_uint_t
plan_others(lines_op_t *op, ngx_str_t *tenant)
{
    ngx_str_t  id;

    if (tenant->len == 0) {
        return 0;
    }

    id = op->tenant;

    if (tenant->len + 2 == id.len) {
        id.data += 2;
        id.len -= 2;
    }

    return tenant->len != id.len
           || ngx_strncmp(tenant->data, id.data, id.len) != 0;
}


static ngx_int_t
plan_pending(lines_op_t *op, redisReply *reply)
{
    ngx_str_t            id;
    lines_plan_found_t  *found;

    found = op->data;

    if (reply->type == REDIS_REPLY_STRING) {
        id.data = (u_char *) reply->str;
        id.len = reply->len;

        found->pending.len = id.len;
        found->pending.data = ngx_pstrdup(op->pool, &id);

        if (found->pending.data == NULL) {
            return NGX_ERROR;
        }

        if (lines_is(&found->state, "canceled")) {
            lines_op_hint(op, &found->pending, op->conf->due);
        }
    }

    return plan_end(op);
}


static ngx_int_t
plan_end(lines_op_t *op)
{
    ngx_str_t            args[7 + 8];
    lines_plan_found_t  *found;

    found = op->data;

    args[0] = lines_op_key(op, "op:%V", &op->id);
    args[1] = lines_op_key(op, "ops");
    args[2] = lines_op_key(op, "t");
    args[3] = lines_op_key(op, "pending");
    args[4] = lines_op_key(op, "ev");
    args[5] = args[2];
    args[6] = args[2];

    if (found->pending.len) {
        args[5] = lines_op_key(op, "line:%V", &found->pending);
        args[6] = lines_op_key(op, "op:%V", &found->pending);
    }

    if (lines_op_guard(op, &args[7]) != NGX_OK) {
        return NGX_ERROR;
    }

    args[10] = op->id;
    args[11] = lines_op_get(op, "dirty");
    args[12] = found->state;
    args[13] = found->plan;
    args[14] = found->pending;

    return lines_op_eval(op, &lines_script_plan_end, 7, 15, args, plan_ended);
}


static ngx_int_t
plan_ended(lines_op_t *op, redisReply *reply)
{
    ngx_str_t  word, line, done = ngx_string("done");

    word = lines_reply_str(reply, 0);

    if (lines_is(&word, "dirty")) {
        return lines_op_take(op);
    }

    line = lines_reply_str(reply, 1);

    if (line.len) {
        ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                      "lines operation %V: the base plan of \"%V\" has ended, "
                      "line \"%V\" is canceled", &op->id, &op->tenant, &line);

        (void) lines_op_spawn(op->lmcf, &op->tenant, &line, 0,
                              LINES_WANT_INTENT);
    }

    return lines_op_enter(op, &done);
}


ngx_int_t
lines_lapse_read(lines_op_t *op)
{
    return lines_op_call(op, lapse_get, lapse_got);
}


static ngx_int_t
lapse_get(lines_op_t *op)
{
    ngx_str_t  subscription;

    subscription = lines_op_get(op, "subscription");

    return lines_billing_get_subscription(op->carrier, &subscription,
                                          lines_op_answered, op);
}


static ngx_int_t
lapse_got(lines_op_t *op, lines_billing_result_t *result)
{
    ngx_str_t  args[5 + 7], line, verdict;

    ngx_str_null(&verdict);

    switch (result->outcome) {

    case LINES_STRIPE_OK:
        lapse_verdict(&result->subscription->status, &verdict);
        break;

    case LINES_STRIPE_REFUSED:
        if (lines_stripe_error_is(&result->error, "resource_missing")) {
            ngx_str_set(&verdict, "ended");
        }

        break;

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    default:
        return lines_op_again(op);
    }

    line = lines_op_get(op, "line");

    args[0] = lines_op_key(op, "op:%V", &op->id);
    args[1] = lines_op_key(op, "ops");
    args[2] = lines_op_key(op, "line:%V", &line);
    args[3] = lines_op_key(op, "t");
    args[4] = lines_op_key(op, "ev");

    if (lines_op_guard(op, &args[5]) != NGX_OK) {
        return NGX_ERROR;
    }

    args[8] = op->id;
    args[9] = lines_op_get(op, "dirty");
    args[10] = verdict;
    args[11] = lines_op_get(op, "subscription");

    return lines_op_eval(op, &lines_script_lapse_end, 5, 12, args,
                         lapse_ended);
}


/* what never comes back has ended; of what is not known nothing follows */

static void
lapse_verdict(ngx_str_t *status, ngx_str_t *verdict)
{
    if (lines_is(status, "canceled") || lines_is(status, "incomplete_expired"))
    {
        ngx_str_set(verdict, "ended");

    } else if (lines_is(status, "past_due")
               || lines_is(status, "unpaid")
               || lines_is(status, "paused"))
    {
        ngx_str_set(verdict, "suspended");

    } else if (lines_is(status, "active")
               || lines_is(status, "trialing"))
    {
        ngx_str_set(verdict, "live");
    }
}


static ngx_int_t
lapse_ended(lines_op_t *op, redisReply *reply)
{
    ngx_str_t  word, done = ngx_string("done");

    word = lines_reply_str(reply, 0);

    if (lines_is(&word, "dirty")) {
        return lines_op_take(op);
    }

    return lines_op_enter(op, &done);
}


/*
 * As for an event, but no news: see lapse_begin.lua.  The hint is first, and
 * dropped where nothing came of it.
 */

void
lines_lapse_look(ngx_http_request_t *r, ngx_str_t *tenant, ngx_str_t *line,
    ngx_str_t *subscription)
{
    ngx_str_t           id, index[3], hint[3], args[3 + 4];
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(r);

    if (lmcf->billing == NULL) {
        return;
    }

    if (lines_derive_id(r->pool, "lapse:", subscription, &id) != NGX_OK
        || lines_redis_format(r->pool, &index[1], "lines:{ix:%V}", &id)
           != NGX_OK
        || lines_due(r->pool, tenant, &id, &hint[0], &hint[1]) != NGX_OK
        || lines_redis_format(r->pool, &args[0], "lines:{%V}:op:%V", tenant,
                              &id)
           != NGX_OK
        || lines_redis_format(r->pool, &args[1], "lines:{%V}:ops", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[2], "lines:{%V}:line:%V", tenant,
                              line)
           != NGX_OK)
    {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines: subscription \"%V\" of \"%V\" is to be read",
                   subscription, tenant);

    ngx_str_set(&index[0], "SET");
    index[2] = *tenant;

    /* when there is something to be found */
    ngx_str_set(&hint[2], "1000");

    args[3] = id;
    args[4] = *line;
    args[5] = *subscription;
    ngx_str_null(&args[6]);

    if (lines_redis_command(lmcf->redis, 3, index, lapse_looked, NULL) == NULL
        || lines_redis_eval(lmcf->redis, &lines_script_due_ensure, 1, 3, hint,
                            lapse_looked, NULL)
           == NULL)
    {
        return;
    }

    (void) lines_redis_eval(lmcf->redis, &lines_script_lapse_begin, 3, 7, args,
                            lapse_looked, NULL);
}


static void
lapse_looked(void *data, redisReply *reply)
{
}
