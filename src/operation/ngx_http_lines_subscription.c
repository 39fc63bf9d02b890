
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_subscription.h"
#include "ngx_lines_scripts.h"


typedef struct {
    ngx_str_t    state;            /* of the workspace; empty: as it is */
    ngx_str_t    plan;
    ngx_str_t    pending;          /* line that awaits payment */
} ngx_http_lines_plan_found_t;


static ngx_int_t ngx_http_lines_plan_customer(ngx_http_lines_operation_t *op,
    redisReply *reply);
static ngx_int_t ngx_http_lines_plan_list(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_plan_listed(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result);
static ngx_uint_t ngx_http_lines_plan_rank(ngx_str_t *status);
static ngx_uint_t ngx_http_lines_plan_others(ngx_http_lines_operation_t *op,
    ngx_str_t *tenant);
static ngx_int_t ngx_http_lines_plan_pending(ngx_http_lines_operation_t *op,
    redisReply *reply);
static ngx_int_t ngx_http_lines_plan_end(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_plan_ended(ngx_http_lines_operation_t *op,
    redisReply *reply);
static ngx_int_t ngx_http_lines_lapse_get(ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_lapse_got(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result);
static void ngx_http_lines_lapse_verdict(ngx_str_t *status,
    ngx_str_t *verdict);
static ngx_int_t ngx_http_lines_lapse_ended(ngx_http_lines_operation_t *op,
    redisReply *reply);
static void ngx_http_lines_lapse_looked(void *data, redisReply *reply);


ngx_int_t
ngx_http_lines_plan_read(ngx_http_lines_operation_t *op)
{
    ngx_str_t  argv[3];

    op->data = ngx_pcalloc(op->pool, sizeof(ngx_http_lines_plan_found_t));
    if (op->data == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "HMGET");
    argv[1] = ngx_http_lines_operation_key(op, "t");
    ngx_str_set(&argv[2], "customer");

    return ngx_http_lines_operation_command(op, 3, argv,
                                            ngx_http_lines_plan_customer);
}


static ngx_int_t
ngx_http_lines_plan_customer(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    ngx_str_t  customer, named;

    customer = ngx_http_lines_reply_str(reply, 0);
    named = ngx_http_lines_operation_get(op, "customer");

    /* another customer's plan is none of the workspace's, by now */

    if (customer.len == 0 || customer.len != named.len
        || ngx_strncmp(customer.data, named.data, named.len) != 0)
    {
        return ngx_http_lines_plan_end(op);
    }

    return ngx_http_lines_operation_call(op, ngx_http_lines_plan_list,
                                         ngx_http_lines_plan_listed);
}


static ngx_int_t
ngx_http_lines_plan_list(ngx_http_lines_operation_t *op)
{
    ngx_str_t  customer;

    customer = ngx_http_lines_operation_get(op, "customer");

    return ngx_http_lines_billing_list_subscriptions(op->carrier, &customer,
                                           ngx_http_lines_operation_answered,
                                           op);
}


static ngx_int_t
ngx_http_lines_plan_listed(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    ngx_str_t                        *plan, argv[2];
    ngx_uint_t                        i, j, rank, best;
    ngx_http_lines_plan_found_t      *found;
    ngx_lines_stripe_subscription_t  *s;

    static ngx_str_t  states[] = {
        ngx_null_string,
        ngx_string("canceled"),
        ngx_string("past_due"),
        ngx_string("active")
    };

    switch (result->outcome) {

    case NGX_LINES_STRIPE_OK:
        break;

    case NGX_LINES_STRIPE_REFUSED:
        return ngx_http_lines_plan_end(op);

    case NGX_LINES_STRIPE_ALERT:
        return ngx_http_lines_operation_stuck(op, "billing_alert");

    default:
        return ngx_http_lines_operation_again(op);
    }

    found = op->data;
    best = 0;

    s = result->subscriptions->elts;

    for (i = 0; i < result->subscriptions->nelts; i++) {

        rank = ngx_http_lines_plan_rank(&s[i].status);

        if (rank <= best
            || ngx_http_lines_plan_others(op, &s[i].metadata.tenant))
        {
            continue;
        }

        for (j = 0; j < s[i].nprices; j++) {

            plan = ngx_http_lines_billing_plan(op->lmcf->billing,
                                               &s[i].prices[j]);
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
    argv[1] = ngx_http_lines_operation_key(op, "pending");

    return ngx_http_lines_operation_command(op, 2, argv,
                                            ngx_http_lines_plan_pending);
}


static ngx_uint_t
ngx_http_lines_plan_rank(ngx_str_t *status)
{
    if (ngx_http_lines_is(status, "active")
        || ngx_http_lines_is(status, "trialing"))
    {
        return 3;
    }

    if (ngx_http_lines_is(status, "past_due")
        || ngx_http_lines_is(status, "unpaid")
        || ngx_http_lines_is(status, "paused"))
    {
        return 2;
    }

    /* one that was never paid for says nothing */

    return ngx_http_lines_is(status, "canceled") ? 1 : 0;
}


/* tenants may share a customer: a subscription may say whose it is */

static ngx_uint_t
ngx_http_lines_plan_others(ngx_http_lines_operation_t *op, ngx_str_t *tenant)
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
ngx_http_lines_plan_pending(ngx_http_lines_operation_t *op, redisReply *reply)
{
    ngx_str_t                     id;
    ngx_http_lines_plan_found_t  *found;

    found = op->data;

    if (reply->type == REDIS_REPLY_STRING) {
        id.data = (u_char *) reply->str;
        id.len = reply->len;

        found->pending.len = id.len;
        found->pending.data = ngx_pstrdup(op->pool, &id);

        if (found->pending.data == NULL) {
            return NGX_ERROR;
        }

        if (ngx_http_lines_is(&found->state, "canceled")) {
            ngx_http_lines_operation_hint(op, &found->pending,
                                          op->conf->due);
        }
    }

    return ngx_http_lines_plan_end(op);
}


static ngx_int_t
ngx_http_lines_plan_end(ngx_http_lines_operation_t *op)
{
    ngx_str_t                     args[7 + 8];
    ngx_http_lines_plan_found_t  *found;

    found = op->data;

    args[0] = ngx_http_lines_operation_key(op, "op:%V", &op->id);
    args[1] = ngx_http_lines_operation_key(op, "ops");
    args[2] = ngx_http_lines_operation_key(op, "t");
    args[3] = ngx_http_lines_operation_key(op, "pending");
    args[4] = ngx_http_lines_operation_key(op, "ev");
    args[5] = args[2];
    args[6] = args[2];

    if (found->pending.len) {
        args[5] = ngx_http_lines_operation_key(op, "line:%V",
                                               &found->pending);
        args[6] = ngx_http_lines_operation_key(op, "op:%V", &found->pending);
    }

    if (ngx_http_lines_operation_guard(op, &args[7]) != NGX_OK) {
        return NGX_ERROR;
    }

    args[10] = op->id;
    args[11] = ngx_http_lines_operation_get(op, "dirty");
    args[12] = found->state;
    args[13] = found->plan;
    args[14] = found->pending;

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_plan_end, 7, 15,
                                         args, ngx_http_lines_plan_ended);
}


static ngx_int_t
ngx_http_lines_plan_ended(ngx_http_lines_operation_t *op, redisReply *reply)
{
    ngx_str_t  word, line, done = ngx_string("done");

    word = ngx_http_lines_reply_str(reply, 0);

    if (ngx_http_lines_is(&word, "dirty")) {
        return ngx_http_lines_operation_claim(op);
    }

    line = ngx_http_lines_reply_str(reply, 1);

    if (line.len) {
        ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                      "lines operation %V: the base plan of \"%V\" has ended, "
                      "line \"%V\" is canceled",
                      &op->id, &op->tenant, &line);

        (void) ngx_http_lines_operation_spawn(op->lmcf, &op->tenant, &line, 0,
                                              NGX_HTTP_LINES_WANT_INTENT);
    }

    return ngx_http_lines_operation_enter(op, &done);
}


ngx_int_t
ngx_http_lines_lapse_read(ngx_http_lines_operation_t *op)
{
    return ngx_http_lines_operation_call(op, ngx_http_lines_lapse_get,
                                         ngx_http_lines_lapse_got);
}


static ngx_int_t
ngx_http_lines_lapse_get(ngx_http_lines_operation_t *op)
{
    ngx_str_t  subscription;

    subscription = ngx_http_lines_operation_get(op, "subscription");

    return ngx_http_lines_billing_get_subscription(op->carrier, &subscription,
                                           ngx_http_lines_operation_answered,
                                           op);
}


static ngx_int_t
ngx_http_lines_lapse_got(ngx_http_lines_operation_t *op,
    ngx_http_lines_billing_result_t *result)
{
    ngx_str_t  args[5 + 7], line, verdict;

    ngx_str_null(&verdict);

    switch (result->outcome) {

    case NGX_LINES_STRIPE_OK:
        ngx_http_lines_lapse_verdict(&result->subscription->status, &verdict);
        break;

    case NGX_LINES_STRIPE_REFUSED:
        if (ngx_lines_stripe_error_is(&result->error, "resource_missing")) {
            ngx_str_set(&verdict, "ended");
        }

        break;

    case NGX_LINES_STRIPE_ALERT:
        return ngx_http_lines_operation_stuck(op, "billing_alert");

    default:
        return ngx_http_lines_operation_again(op);
    }

    line = ngx_http_lines_operation_get(op, "line");

    args[0] = ngx_http_lines_operation_key(op, "op:%V", &op->id);
    args[1] = ngx_http_lines_operation_key(op, "ops");
    args[2] = ngx_http_lines_operation_key(op, "line:%V", &line);
    args[3] = ngx_http_lines_operation_key(op, "t");
    args[4] = ngx_http_lines_operation_key(op, "ev");

    if (ngx_http_lines_operation_guard(op, &args[5]) != NGX_OK) {
        return NGX_ERROR;
    }

    args[8] = op->id;
    args[9] = ngx_http_lines_operation_get(op, "dirty");
    args[10] = verdict;
    args[11] = ngx_http_lines_operation_get(op, "subscription");

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_lapse_end, 5,
                                         12, args, ngx_http_lines_lapse_ended);
}


/* what never comes back has ended; of what is not known nothing follows */

static void
ngx_http_lines_lapse_verdict(ngx_str_t *status, ngx_str_t *verdict)
{
    if (ngx_http_lines_is(status, "canceled")
        || ngx_http_lines_is(status, "incomplete_expired"))
    {
        ngx_str_set(verdict, "ended");

    } else if (ngx_http_lines_is(status, "past_due")
               || ngx_http_lines_is(status, "unpaid")
               || ngx_http_lines_is(status, "paused"))
    {
        ngx_str_set(verdict, "suspended");

    } else if (ngx_http_lines_is(status, "active")
               || ngx_http_lines_is(status, "trialing"))
    {
        ngx_str_set(verdict, "live");
    }
}


static ngx_int_t
ngx_http_lines_lapse_ended(ngx_http_lines_operation_t *op, redisReply *reply)
{
    ngx_str_t  word, done = ngx_string("done");

    word = ngx_http_lines_reply_str(reply, 0);

    if (ngx_http_lines_is(&word, "dirty")) {
        return ngx_http_lines_operation_claim(op);
    }

    return ngx_http_lines_operation_enter(op, &done);
}


/* as for an event: the hint is first, and dropped where nothing came of it */

void
ngx_http_lines_lapse_look(ngx_http_request_t *r, ngx_str_t *tenant,
    ngx_str_t *line, ngx_str_t *subscription)
{
    ngx_str_t                    id, index[3], hint[3], args[3 + 3];
    ngx_http_lines_main_conf_t  *lmcf;

    lmcf = ngx_http_lines_get_main_conf(r);

    if (lmcf->billing == NULL) {
        return;
    }

    if (ngx_http_lines_derive_id(r->pool, "lapse:", subscription, &id)
        != NGX_OK
        || ngx_lines_redis_format(r->pool, &index[1], "lines:{ix:%V}", &id)
           != NGX_OK
        || ngx_http_lines_due(r->pool, tenant, &id, &hint[0], &hint[1])
           != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[0], "lines:{%V}:op:%V",
                                  tenant, &id)
           != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[1], "lines:{%V}:ops", tenant)
           != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[2], "lines:{%V}:line:%V",
                                  tenant, line)
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

    if (ngx_lines_redis_command(lmcf->redis, 3, index,
                                ngx_http_lines_lapse_looked, NULL)
        == NULL
        || ngx_lines_redis_eval(lmcf->redis, &ngx_lines_script_due_ensure, 1,
                                3, hint, ngx_http_lines_lapse_looked, NULL)
           == NULL)
    {
        return;
    }

    (void) ngx_lines_redis_eval(lmcf->redis, &ngx_lines_script_lapse_begin, 3,
                                6, args, ngx_http_lines_lapse_looked, NULL);
}


static void
ngx_http_lines_lapse_looked(void *data, redisReply *reply)
{
}
