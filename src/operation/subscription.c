
#include "auth/auth.h"
#include "http/text.h"
#include "operation/kinds.h"
#include "operation/subscription.h"
#include "store/calls.h"


/* above the instant, in seconds */
#define LINES_PLAN_RANK  40


static ngx_int_t plan_list(lines_op_t *op);
static ngx_int_t plan_listed(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t plan_customer(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t plan_rank(ngx_str_t *status);
static ngx_int_t plan_pending(void *data, lines_pending_get_reply_t *reply);
static ngx_int_t plan_end(lines_op_t *op, ngx_str_t *pending);
static ngx_int_t plan_ended(void *data, lines_plan_end_reply_t *reply);
static ngx_int_t lapse_held(void *data, lines_line_billed_reply_t *reply);
static ngx_int_t lapse_announced(void *data);
static ngx_int_t lapse_end(void *data);
static ngx_int_t lapse_write(lines_op_t *op, ngx_uint_t doubt);
static ngx_int_t lapse_ended(void *data, lines_lapse_end_reply_t *reply);


/* whatever billing has of it, which it does not tell */

ngx_int_t
lines_plan_leave(lines_op_t *op)
{
    op->data = ngx_pcalloc(op->pool, sizeof(lines_plans_t));

    return op->data ? plan_end(op, NULL) : NGX_ERROR;
}


/* goes on where an earlier run came to, if there was no news since */

ngx_int_t
lines_plan_read(lines_op_t *op)
{
    ngx_str_t              price, customer, payer;
    ngx_uint_t             i;
    lines_plans_t         *plans;
    lines_billing_plan_t  *plan;

    customer = lines_op_get(op, "customer");
    payer = lines_op_get(op, "payer");

    /* another customer's plan is none of the workspace's, by now */

    if (customer.len == 0 || !lines_same(&payer, &customer)) {
        return lines_plan_leave(op);
    }

    plans = ngx_pcalloc(op->pool, sizeof(lines_plans_t));

    if (plans == NULL || op->lmcf->billing == NULL) {
        return NGX_ERROR;
    }

    op->data = plans;

    price = lines_op_get(op, "price");
    plan = op->lmcf->billing->plans.elts;

    for (i = 0; i < op->lmcf->billing->plans.nelts; i++) {

        if (lines_same(&plan[i].price, &price)) {
            plans->n = i;
            plans->after = lines_op_get(op, "after");
            plans->best = lines_op_get_number(op, "best");
            plans->plan = lines_op_get(op, "plan");
        }
    }

    return plan_list(op);
}


static ngx_int_t
plan_list(lines_op_t *op)
{
    lines_billing_ask_t  ask = { .id = lines_op_get(op, "customer") };

    if (!lines_plans_ask(op->lmcf->billing, op->data, &ask)) {
        return lines_pending_get(&op->caller, plan_pending, op,
                                 .tenant = op->tenant);
    }

    return lines_op_ask(op, plan_listed, &ask);
}


static ngx_int_t
plan_listed(lines_op_t *op, lines_billing_result_t *result)
{
    lines_plans_t         *plans = op->data;
    lines_billing_plan_t  *plan = op->lmcf->billing->plans.elts;

    if (lines_plans_listed(op->lmcf->billing, plans, &op->tenant, result)
        != NGX_OK)
    {
        if (result->outcome != LINES_STRIPE_MISSING) {
            return lines_op_outcome(op, result, "plan_refused");
        }

        if (lines_stripe_missing(&result->error, "starting_after")) {
            return lines_op_anew(op, "price", "plan_refused");
        }

        /* or the customer any more, who had something a moment ago */

        return lines_op_bill(op, plan_customer, .kind = LINES_BILLING_CUSTOMER,
                             .id = lines_op_get(op, "customer"));
    }

    if (plans->after.len) {
        return lines_op_rest(op, op->conf->retry,
                             { "price", plan[plans->n].price },
                             { "after", plans->after },
                             { "best", lines_op_number(op, plans->best) },
                             { "plan", plans->plan },
                             { "tries", ngx_null_string });
    }

    return plan_list(op);
}


/* with a customer all that he has ends, and is listed no more */

static ngx_int_t
plan_customer(lines_op_t *op, lines_billing_result_t *result)
{
    lines_plans_t  *plans = op->data;

    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "customer_missing");
    }

    if (!result->customer->deleted) {
        return lines_op_stuck(op, "plan_refused");
    }

    plans->best = (int64_t) 1 << LINES_PLAN_RANK;

    return lines_pending_get(&op->caller, plan_pending, op,
                             .tenant = op->tenant);
}


ngx_uint_t
lines_plans_ask(lines_billing_conf_t *bcf, lines_plans_t *plans,
    lines_billing_ask_t *ask)
{
    lines_billing_plan_t  *plan = bcf->plans.elts;

    if (plans->n == bcf->plans.nelts) {
        return 0;
    }

    ask->kind = LINES_BILLING_FIND;
    ask->price = plan[plans->n].price;
    ask->after = plans->after;

    return 1;
}


ngx_int_t
lines_plans_listed(lines_billing_conf_t *bcf, lines_plans_t *plans,
    ngx_str_t *tenant, lines_billing_result_t *result)
{
    int64_t                       rank;
    ngx_uint_t                    i;
    lines_billing_plan_t         *plan = bcf->plans.elts;
    lines_stripe_subscription_t  *s;

    if (result->outcome == LINES_STRIPE_OK) {
        s = result->subscriptions->elts;

        for (i = 0; i < result->subscriptions->nelts; i++) {

            rank = plan_rank(&s[i].status);

            if (rank == 0 || lines_plan_others(tenant, &s[i].metadata.tenant)) {
                continue;
            }

            rank = (rank << LINES_PLAN_RANK) + s[i].created;

            if (rank > plans->best) {
                plans->best = rank;
                plans->plan = plan[plans->n].plan;
            }
        }

        plans->after = result->after;

    } else if (lines_stripe_missing(&result->error, "price")) {
        /* a price that billing does not know is nobody's */

        ngx_str_null(&plans->after);

    } else {
        return NGX_DECLINED;
    }

    if (plans->after.len == 0) {
        plans->n++;
    }

    return NGX_OK;
}


ngx_str_t
lines_plans_state(lines_plans_t *plans)
{
    static const char  *states[] = { "", "canceled", "past_due", "active" };

    return lines_op_text(states[plans->best >> LINES_PLAN_RANK]);
}


/* one that was never paid for says nothing */

static ngx_int_t
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


ngx_uint_t
lines_plan_others(ngx_str_t *tenant, ngx_str_t *named)
{
    ngx_str_t  id;

    id.data = tenant->data + 2;
    id.len = tenant->len - 2;

    return named->len
           && !lines_same(named, &id)
           && !lines_same(named, tenant);
}


static ngx_int_t
plan_pending(void *data, lines_pending_get_reply_t *reply)
{
    lines_op_t *op = data;

    lines_plans_t  *plans = op->data;

    if (reply->id.len && plans->best) {
        lines_op_hint(op, &reply->id, op->conf->due);
    }

    return plan_end(op, &reply->id);
}


/* pending: the line that awaits payment, where it was looked for */

static ngx_int_t
plan_end(lines_op_t *op, ngx_str_t *pending)
{
    ngx_str_t       none = ngx_null_string;
    lines_plans_t  *plans = op->data;

    return lines_plan_end(&op->caller, plan_ended, op, lines_op_held(op),
                          .state = lines_plans_state(plans),
                          .plan = plans->best >> LINES_PLAN_RANK < 2
                                  ? none : plans->plan,
                          .line = pending ? *pending : none);
}


static ngx_int_t
plan_ended(void *data, lines_plan_end_reply_t *reply)
{
    lines_op_t *op = data;

    /* its plan's rates are others, maybe */

    (void) lines_forget_key_revoked(&op->caller, .id = op->tenant,
                                    .channel = ngx_string(LINES_REVOKED));

    if (reply->pending.len) {
        lines_op_log(op, NGX_LOG_NOTICE,
                     "the base plan of \"%V\" is another, or has ended: line "
                     "\"%V\" is looked at", &op->tenant, &reply->pending);

        (void) lines_op_spawn(op->lmcf, &op->tenant, &reply->pending);
    }

    return lines_op_enter(op, "done");
}


/*
 * A line that is released, or failed, has nothing to do with its subscription by
 * now: what cannot be read of that is not to keep its tenant from being
 * deleted.
 */

ngx_int_t
lines_lapse_read(lines_op_t *op)
{
    return lines_line_billed(&op->caller, lapse_held, op, .tenant = op->tenant,
                             .id = lines_op_get(op, "line"));
}


/* as lapse_begin.lua and lapse_end.lua have it */

static ngx_int_t
lapse_held(void *data, lines_line_billed_reply_t *reply)
{
    lines_op_t *op = data;

    ngx_str_t   subscription, none = ngx_null_string;
    ngx_uint_t  status;

    subscription = lines_op_get(op, "subscription");
    status = lines_status(&reply->status);

    if (lines_same(&reply->subscription, &subscription)
        && (status == LINES_ACTIVE || status == LINES_PROVISIONING)
        && reply->released.len == 0
        && (reply->lapsed.len == 0 || reply->ended.len == 0))
    {
        return lines_op_look(op);
    }

    return lines_op_set(op, "subscription", &none);
}


/*
 * What a line that ends has cost, or may cost yet, is looked after; so is the
 * number of an account's line, which goes back.
 */

ngx_int_t
lines_lapse_judge(lines_op_t *op)
{
    return op->seen.sub == LINES_SUB_ENDED
           ? lines_refund_announce(op, lapse_announced) : lapse_end(op);
}


static ngx_int_t
lapse_announced(void *data)
{
    lines_op_t *op = data;

    return op->tenant.data[0] == 'a'
           ? lines_then_inv_watch(&op->caller, lapse_end, op,
                                  .tenant = op->tenant,
                                  .operation = lines_op_get(op, "line"),
                                  .delay = op->conf->lease)
           : lapse_end(op);
}


/*
 * Money that a bank is said to have cannot be counted now: that is no reason
 * for a line to go on that is not paid for, nor not to look at other money.
 */

ngx_int_t
lines_lapse_doubt(lines_op_t *op)
{
    return lapse_write(op, 1);
}


/* what never comes back has ended; of what is not known nothing follows */

static ngx_int_t
lapse_end(void *data)
{
    return lapse_write(data, 0);
}


static ngx_int_t
lapse_write(lines_op_t *op, ngx_uint_t doubt)
{
    static const char  *verdicts[LINES_SUBS] = {
        [LINES_SUB_NONE] = "",
        [LINES_SUB_INCOMPLETE] = "",
        [LINES_SUB_LIVE] = "live",
        [LINES_SUB_OVERDUE] = "suspended",
        [LINES_SUB_ENDED] = "ended",
        [LINES_SUB_MISSING] = "",
        [LINES_SUB_UNTOLD] = ""
    };

    if (lines_refund_name(op) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_lapse_end(&op->caller, lapse_ended, op, lines_op_held(op),
                           .line = lines_op_get(op, "line"),
                           .verdict = lines_op_text(verdicts[op->seen.sub]),
                           .subscription = lines_op_get(op, "subscription"),
                           .ended = lines_op_ended(op), .refund = op->refund,
                           .doubt = doubt);
}


static ngx_int_t
lapse_ended(void *data, lines_lapse_end_reply_t *reply)
{
    lines_op_t *op = data;

    if (reply->is == LINES_LAPSE_END_DOUBT) {
        return lines_op_set(op, "invoice", &reply->invoice) != NGX_OK
               ? NGX_ERROR
               : op->reason ? lines_op_stuck(op, op->reason)
               : lines_money_unlisted(&op->seen.ledger) ? lines_op_again(op)
               : lines_charge_wait(op);
    }

    if (reply->begun.len) {
        (void) lines_op_spawn(op->lmcf, &op->tenant, &reply->begun);

        (void) lines_forget_prov_rem(&op->caller, .tenant = op->tenant,
                                     .id = lines_op_get(op, "line"));
    }

    /* else only once its lease is over */

    if (op->tenant.data[0] == 'a') {
        (void) lines_forget_inv_watch(&op->caller, .tenant = op->tenant,
                                      .operation = lines_op_get(op, "line"),
                                      .delay = 0);
    }

    return lines_op_over(op);
}
