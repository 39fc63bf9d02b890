
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/context.h"
#include "http/text.h"
#include "operation/subscription.h"
#include "store/calls.h"


typedef struct {
    ngx_str_t    state;            /* of the workspace; empty: as it is */
    ngx_str_t    plan;
    ngx_str_t    pending;          /* line that awaits payment */
} lines_plan_found_t;


static ngx_int_t plan_customer(void *data,
    lines_tenant_customer_reply_t *reply);
static ngx_int_t plan_listed(lines_op_t *op, lines_billing_result_t *result);
static ngx_uint_t plan_rank(ngx_str_t *status);
static ngx_uint_t plan_others(lines_op_t *op, ngx_str_t *tenant);
static ngx_int_t plan_pending(void *data, lines_pending_get_reply_t *reply);
static ngx_int_t plan_end(lines_op_t *op);
static ngx_int_t plan_ended(void *data, lines_plan_end_reply_t *reply);
static ngx_int_t lapse_end(lines_op_t *op);
static ngx_int_t lapse_watched(void *data, lines_inv_watch_reply_t *reply);
static ngx_int_t lapse_ended(void *data, lines_lapse_end_reply_t *reply);


ngx_int_t
lines_plan_read(lines_op_t *op)
{
    op->data = ngx_pcalloc(op->pool, sizeof(lines_plan_found_t));
    if (op->data == NULL) {
        return NGX_ERROR;
    }

    return lines_tenant_customer(&op->caller, plan_customer, op,
                                 .tenant = op->tenant);
}


static ngx_int_t
plan_customer(void *data, lines_tenant_customer_reply_t *reply)
{
    lines_op_t *op = data;

    ngx_str_t  named;

    named = lines_op_get(op, "customer");

    /* another customer's plan is none of the workspace's, by now */

    if (named.len == 0 || !lines_op_same(&reply->customer, &named)) {
        return plan_end(op);
    }

    return lines_op_bill(op, plan_listed, .kind = LINES_BILLING_LIST,
                         .id = named);
}


static ngx_int_t
plan_listed(lines_op_t *op, lines_billing_result_t *result)
{
    ngx_str_t                    *plan;
    ngx_uint_t                    i, j, rank, best;
    lines_plan_found_t           *found;
    lines_stripe_subscription_t  *s;

    static ngx_str_t  states[] = {
        ngx_null_string,
        ngx_string("canceled"),
        ngx_string("past_due"),
        ngx_string("active")
    };

    if (result->outcome == LINES_STRIPE_REFUSED) {
        return plan_end(op);
    }

    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "");
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

    return lines_pending_get(&op->caller, plan_pending, op,
                             .tenant = op->tenant);
}


/* one that was never paid for says nothing */

static ngx_uint_t
plan_rank(ngx_str_t *status)
{
    switch (lines_op_sub(status)) {

    case LINES_SUB_LIVE:
        return 3;

    case LINES_SUB_OVERDUE:
        return 2;

    default:
        return lines_is(status, "canceled") ? 1 : 0;
    }
}


/* tenants may share a customer: a subscription may say whose it is */

static ngx_uint_t
plan_others(lines_op_t *op, ngx_str_t *tenant)
{
    ngx_str_t  id;

    id.data = op->tenant.data + 2;
    id.len = op->tenant.len - 2;

    return tenant->len
           && !lines_op_same(tenant, &id)
           && !lines_op_same(tenant, &op->tenant);
}


static ngx_int_t
plan_pending(void *data, lines_pending_get_reply_t *reply)
{
    lines_op_t *op = data;

    lines_plan_found_t  *found;

    found = op->data;
    found->pending = reply->id;

    if (found->pending.len && lines_is(&found->state, "canceled")) {
        lines_op_hint(op, &found->pending, op->conf->due);
    }

    return plan_end(op);
}


static ngx_int_t
plan_end(lines_op_t *op)
{
    lines_plan_found_t  *found = op->data;

    return lines_plan_end(&op->caller, plan_ended, op, lines_op_held(op),
                          .state = found->state, .plan = found->plan,
                          .line = found->pending);
}


static ngx_int_t
plan_ended(void *data, lines_plan_end_reply_t *reply)
{
    lines_op_t *op = data;

    if (reply->is == LINES_PLAN_END_WOKEN) {
        return lines_op_take(op);
    }

    if (reply->canceled.len) {
        ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                      "lines operation %V: the base plan of \"%V\" has ended, "
                      "line \"%V\" is canceled", &op->id, &op->tenant,
                      &reply->canceled);

        (void) lines_op_spawn(op->lmcf, &op->tenant, &reply->canceled);
    }

    return lines_op_enter(op, "done");
}


/* the number of an account's line that ends will be looked at, and goes back */

ngx_int_t
lines_lapse_judge(lines_op_t *op)
{
    if (op->tenant.data[0] == 'a'
        && (op->seen.sub == LINES_SUB_ENDED
            || op->seen.sub == LINES_SUB_MISSING))
    {
        return lines_inv_watch(&op->caller, lapse_watched, op,
                               .tenant = op->tenant,
                               .operation = lines_op_get(op, "line"),
                               .delay = op->conf->lease);
    }

    return lapse_end(op);
}


static ngx_int_t
lapse_watched(void *data, lines_inv_watch_reply_t *reply)
{
    return lapse_end(data);
}


/* what never comes back has ended; of what is not known nothing follows */

static ngx_int_t
lapse_end(lines_op_t *op)
{
    static const char  *verdicts[LINES_SUBS] = {
        [LINES_SUB_NONE] = "",
        [LINES_SUB_INCOMPLETE] = "",
        [LINES_SUB_LIVE] = "live",
        [LINES_SUB_OVERDUE] = "suspended",
        [LINES_SUB_ENDED] = "ended",
        [LINES_SUB_MISSING] = "ended",
        [LINES_SUB_UNTOLD] = ""
    };

    return lines_lapse_end(&op->caller, lapse_ended, op, lines_op_held(op),
                           .line = lines_op_get(op, "line"),
                           .verdict = lines_op_text(verdicts[op->seen.sub]),
                           .subscription = lines_op_get(op, "subscription"));
}


static ngx_int_t
lapse_ended(void *data, lines_lapse_end_reply_t *reply)
{
    lines_op_t *op = data;

    if (reply->is == LINES_LAPSE_END_WOKEN) {
        return lines_op_take(op);
    }

    /* else only once its lease is over */

    if (op->tenant.data[0] == 'a') {
        (void) lines_forget_inv_watch(&op->caller, .tenant = op->tenant,
                                      .operation = lines_op_get(op, "line"),
                                      .delay = 0);
    }

    return lines_op_enter(op, "done");
}


/*
 * As for an event, but no news: see lapse_begin.lua.  The hint is first, and
 * dropped where nothing came of it.
 */

void
lines_lapse_look(ngx_http_request_t *r, ngx_str_t *tenant, ngx_str_t *line,
    ngx_str_t *subscription)
{
    ngx_str_t        id;
    lines_caller_t  *caller;

    if (lines_get_main_conf(r)->billing == NULL
        || lines_derive_id(r->pool, "lapse:", subscription, &id) != NGX_OK)
    {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines: subscription \"%V\" of \"%V\" is to be read",
                   subscription, tenant);

    caller = &lines_get_ctx(r)->caller;

    /* due when there is something to be found */

    if (lines_forget_ix_put(caller, .id = id, .tenant = *tenant) == NGX_OK
        && lines_forget_due_ensure(caller, .shard = lines_due_shard(&id),
                                   .tenant = *tenant, .id = id,
                                   .delay = 1000) == NGX_OK)
    {
        (void) lines_forget_lapse_begin(caller, .tenant = *tenant, .id = id,
                                        .line = *line,
                                        .subscription = *subscription,
                                        .news = 0);
    }
}
