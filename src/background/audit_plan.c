
/*
 * The auditor and the base plans of workspaces: what a page lists of them, and
 * all that a customer has of such prices, read one after another.
 */

#include "background/audit_billing.h"
#include "operation/operation.h"
#include "operation/subscription.h"


#define LINES_AUDIT_PLANS  5                       /* of a page: as FIND's */


static ngx_int_t plan_tenants(void *data, lines_tenants_of_reply_t *reply);
static ngx_int_t plan_compared(void *data, lines_tenant_base_reply_t *reply);
static ngx_int_t plan_customer(void *data,
    lines_tenant_customer_reply_t *reply);
static ngx_int_t plan_prices(void);
static void plan_priced(void *data, lines_billing_result_t *result);
static ngx_int_t plan_base(void *data, lines_tenant_base_reply_t *reply);
static ngx_int_t plan_free(void *data, lines_audit_flight_reply_t *reply);
static ngx_int_t plan_act(void);
static ngx_int_t plan_acted(lines_look_t *look);


static lines_audit_t *const  audit = &lines_audit;

static struct {
    /* as a page lists it */
    ngx_str_t            state;
    ngx_str_t            plan;
    ngx_str_t            named;      /* whose it says that it is */

    /* as it is read */
    ngx_str_t            tenant;
    ngx_str_t            customer;
    lines_plans_t        plans;
    ngx_uint_t           unlisted;   /* flag: they are refused */
    lines_audit_found_t  found;
    lines_look_t         look;
} base;


void
lines_audit_plan_forget(void)
{
    ngx_memzero(&base, sizeof(base));
}


ngx_int_t
lines_audit_plan_listed(lines_stripe_subscription_t *s, ngx_str_t *state)
{
    if (!lines_billing_base(audit->lmcf->billing, s, &base.plan)) {
        return NGX_OK;
    }

    base.state = *state;
    base.named = s->metadata.tenant;

    return lines_tenants_of(&audit->caller, plan_tenants, NULL,
                            .customer = s->customer);
}


static ngx_int_t
plan_tenants(void *data, lines_tenants_of_reply_t *reply)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    rc = NGX_OK;

    for (i = 0; i < reply->tenants.n; i++) {
        if (reply->tenants.elts[i].len < 3
            || reply->tenants.elts[i].data[0] != 'w')
        {
            continue;
        }

        rc = lines_tenant_base(&audit->caller, plan_compared,
                               &reply->tenants.elts[i],
                               .tenant = reply->tenants.elts[i]);
        if (rc != NGX_AGAIN) {
            return NGX_ERROR;
        }
    }

    return rc;
}


/* which of a customer's plans it is to be is seen by reading all of them */

static ngx_int_t
plan_compared(void *data, lines_tenant_base_reply_t *reply)
{
    ngx_str_t *tenant = data;

    /* another's: what this one has is read with those that were not listed */

    if (lines_plan_others(tenant, &base.named)) {
        return NGX_OK;
    }

    if (lines_same(&reply->subscription, &base.state)
        && lines_same(&reply->plan, &base.plan))
    {
        return lines_audit_mark(&audit->caller, NULL, NULL, .tenant = *tenant,
                                .ahead = 0, .plan_by = reply->plan_by);
    }

    lines_audit_plan_push(tenant);

    return NGX_OK;
}


void
lines_audit_plan_push(ngx_str_t *tenant)
{
    ngx_uint_t           i;
    lines_audit_read_t  *read = audit->reads.elts;

    for (i = 0; i < audit->reads.nelts; i++) {
        if (read[i].of == LINES_AUDIT_OF_PLAN
            && lines_same(&read[i].tenant, tenant))
        {
            return;
        }
    }

    read = lines_audit_push();

    if (read) {
        read->of = LINES_AUDIT_OF_PLAN;
        read->tenant = *tenant;
    }
}


ngx_int_t
lines_audit_plan_read(ngx_str_t *tenant)
{
    base.tenant = *tenant;

    return lines_tenant_customer(&audit->caller, plan_customer, NULL,
                                 .tenant = *tenant);
}


static ngx_int_t
plan_customer(void *data, lines_tenant_customer_reply_t *reply)
{
    if (reply->customer.len == 0) {
        return NGX_OK;
    }

    base.customer = reply->customer;
    ngx_memzero(&base.plans, sizeof(lines_plans_t));
    base.unlisted = 0;

    audit->next = plan_prices;

    return NGX_OK;
}


static ngx_int_t
plan_prices(void)
{
    lines_billing_ask_t  ask = {
        .id = base.customer, .limit = LINES_AUDIT_PLANS
    };

    if (!lines_plans_ask(audit->lmcf->billing, &base.plans, &ask)) {
        audit->next = audit->read;

        return lines_tenant_base(&audit->caller, plan_base, NULL,
                                 .tenant = base.tenant);
    }

    return lines_audit_bill(&ask, plan_priced);
}


static void
plan_priced(void *data, lines_billing_result_t *result)
{
    if (lines_plans_listed(audit->lmcf->billing, &base.plans,
                           &base.tenant, result)
        == NGX_OK)
    {
        /* once all are read, billing is not asked */

        if (base.plans.n == audit->lmcf->billing->plans.nelts) {
            audit->next = plan_prices;
            lines_audit_run(NGX_OK);
            return;
        }

        lines_audit_run(lines_audit_later(plan_prices));
        return;
    }

    /* a customer that billing does not know has no plan, any more perhaps */

    if (lines_stripe_missing(&result->error, "customer")) {
        base.plans.best = 0;
        base.plans.n = audit->lmcf->billing->plans.nelts;
        base.unlisted = 1;

        audit->next = plan_prices;
        lines_audit_run(NGX_OK);
        return;
    }

    lines_audit_run(lines_audit_failed(result));
}


static ngx_int_t
plan_base(void *data, lines_tenant_base_reply_t *reply)
{
    ngx_str_t   none = ngx_null_string, state, id, *sides;
    ngx_uint_t  lives, lost;

    if (!lines_same(&reply->customer, &base.customer)) {
        return NGX_OK;
    }

    state = lines_plans_state(&base.plans);
    lives = state.len && !lines_is(&state, "canceled");

    /* what billing wrote goes on here, and is not there any more */

    lost = state.len == 0
           && lines_is(&reply->plan_by, "billing")
           && (lines_is(&reply->subscription, "active")
               || lines_is(&reply->subscription, "past_due"));

    /* of one that billing never had nothing follows: not soon again */

    if ((state.len == 0 && !lost)
        || (lines_same(&reply->subscription, &state)
            && (!lives || lines_same(&reply->plan, &base.plans.plan))))
    {
        return lines_audit_mark(&audit->caller, NULL, NULL,
                                .tenant = base.tenant,
                                .ahead = state.len ? 0 : LINES_AUDIT_DAY,
                                .plan_by = state.len ? reply->plan_by : none);
    }

    sides = ngx_pcalloc(audit->pool, 2 * sizeof(ngx_str_t));

    if (sides == NULL
        || lines_redis_format(audit->pool, &sides[0], "%V %V",
                              &reply->subscription, &reply->plan)
           != NGX_OK
        || lines_redis_format(audit->pool, &sides[1],
                              !lost ? "%V %V" : base.unlisted
                                                ? "no such customer" : "none",
                              &state, &base.plans.plan)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /*
     * What the operator wrote since billing did is theirs: a contract; so may
     * be what an older version wrote.  One that is lost may have gone to
     * another price, customer or workspace, of which billing says nothing; but
     * whether its customer was deleted it says to who reads it.
     */

    base.found = (lines_audit_found_t) {
        .kind = LINES_AUDIT_plan,
        .repaired = lines_is(&reply->plan_by, "billing")
                    && (!lost || base.unlisted),
        .tenant = base.tenant, .id = base.customer, .here = sides[0],
        .there = sides[1], .act = plan_act
    };

    if (lines_plan_id(audit->pool, &base.tenant, &id) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_audit_flight(&audit->caller, plan_free, NULL,
                              .tenant = base.tenant, .ids.elts = &id,
                              .ids.n = 1);
}


static ngx_int_t
plan_free(void *data, lines_audit_flight_reply_t *reply)
{
    return reply->unfinished ? NGX_OK : lines_audit_find(&base.found);
}


static ngx_int_t
plan_act(void)
{
    if (!base.found.repaired) {
        return NGX_OK;
    }

    lines_audit_look(&base.look, plan_acted);

    base.look.tenant = base.tenant;
    base.look.customer = base.customer;

    return lines_look_plan(&base.look);
}


static ngx_int_t
plan_acted(lines_look_t *look)
{
    return NGX_OK;
}
