
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

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
static ngx_int_t plan_list(lines_op_t *op);
static ngx_int_t plan_listed(lines_op_t *op, lines_billing_result_t *result);
static ngx_uint_t plan_rank(ngx_str_t *status);
static ngx_uint_t plan_others(lines_op_t *op, ngx_str_t *tenant);
static ngx_int_t plan_pending(void *data, lines_pending_get_reply_t *reply);
static ngx_int_t plan_end(lines_op_t *op);
static ngx_int_t plan_ended(void *data, lines_plan_end_reply_t *reply);
static ngx_int_t lapse_get(lines_op_t *op);
static ngx_int_t lapse_got(lines_op_t *op, lines_billing_result_t *result);
static void lapse_verdict(ngx_str_t *status, ngx_str_t *verdict);
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

    if (named.len == 0
        || reply->customer.len != named.len
        || ngx_strncmp(reply->customer.data, named.data, named.len) != 0)
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

    return lines_pending_get(&op->caller, plan_pending, op,
                             .tenant = op->tenant);
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
    lines_plan_found_t    *found;
    lines_plan_end_args_t  args;

    found = op->data;

    lines_op_held(op, &args);

    args.dirty = lines_op_get(op, "dirty");
    args.state = found->state;
    args.plan = found->plan;
    args.line = found->pending;

    return lines_send_plan_end(&op->caller, LINES_CALL, &args, plan_ended,
                               op);
}


static ngx_int_t
plan_ended(void *data, lines_plan_end_reply_t *reply)
{
    lines_op_t *op = data;

    ngx_str_t  done = ngx_string("done");

    if (reply->is == LINES_PLAN_END_DIRTY) {
        return lines_op_take(op);
    }

    if (reply->canceled.len) {
        ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                      "lines operation %V: the base plan of \"%V\" has ended, "
                      "line \"%V\" is canceled", &op->id, &op->tenant,
                      &reply->canceled);

        (void) lines_op_spawn(op->lmcf, &op->tenant, &reply->canceled, 0,
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
    lines_lapse_end_args_t  args;

    ngx_str_null(&args.verdict);

    switch (result->outcome) {

    case LINES_STRIPE_OK:
        lapse_verdict(&result->subscription->status, &args.verdict);
        break;

    case LINES_STRIPE_REFUSED:
        if (lines_stripe_error_is(&result->error, "resource_missing")) {
            ngx_str_set(&args.verdict, "ended");
        }

        break;

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    default:
        return lines_op_again(op);
    }

    lines_op_held(op, &args);

    args.line = lines_op_get(op, "line");
    args.dirty = lines_op_get(op, "dirty");
    args.subscription = lines_op_get(op, "subscription");

    return lines_send_lapse_end(&op->caller, LINES_CALL, &args, lapse_ended,
                                op);
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
lapse_ended(void *data, lines_lapse_end_reply_t *reply)
{
    lines_op_t *op = data;

    ngx_str_t  done = ngx_string("done");

    if (reply->is == LINES_LAPSE_END_DIRTY) {
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
    lines_caller_t           *caller;
    lines_due_ensure_args_t   hint;
    lines_lapse_begin_args_t  args;

    if (lines_get_main_conf(r)->billing == NULL
        || lines_derive_id(r->pool, "lapse:", subscription, &args.id)
           != NGX_OK)
    {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines: subscription \"%V\" of \"%V\" is to be read",
                   subscription, tenant);

    caller = &lines_get_ctx(r)->caller;

    hint.shard = lines_due_shard(&args.id);
    hint.tenant = *tenant;
    hint.id = args.id;

    /* when there is something to be found */
    hint.delay = 1000;

    args.tenant = *tenant;
    args.line = *line;
    args.subscription = *subscription;
    args.news = 0;

    if (lines_forget_ix_put(caller, .id = args.id,
                            .tenant = *tenant) == NGX_OK
        && lines_send_due_ensure(caller, LINES_CALL_FORGET, &hint, NULL,
                                 NULL) == NGX_OK)
    {
        (void) lines_send_lapse_begin(caller, LINES_CALL_FORGET, &args, NULL,
                                      NULL);
    }
}
