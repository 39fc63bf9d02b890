
/*
 * Subscriptions that live on: a workspace's base plan, and the add-on of a
 * line.  Both are read after an event about them, never derived from it.
 */

#ifndef _LINES_OPERATION_SUBSCRIPTION_H_INCLUDED_
#define _LINES_OPERATION_SUBSCRIPTION_H_INCLUDED_


#include "operation/operation.h"


/* of the operation that reads a workspace's base plan: one a workspace */
#define lines_plan_id(pool, tenant, id) \
    lines_derive_id(pool, "plan:", tenant, id)


/*
 * The walk over what a customer has of base plans, one price after another: of
 * all that it has, there may be too many.  plans->n is the price whose list is
 * read next, past the subscription plans->after, until all have been.
 */

typedef struct {
    ngx_uint_t   n;
    ngx_str_t    after;
    int64_t      best;             /* rank and instant of the best; 0: none */
    ngx_str_t    plan;             /* and its plan */
} lines_plans_t;

/* 0: all were read */
ngx_uint_t lines_plans_ask(lines_billing_conf_t *bcf, lines_plans_t *plans,
    lines_billing_ask_t *ask);

/* NGX_DECLINED: billing did not tell; a refusal is of the customer, or after */
ngx_int_t lines_plans_listed(lines_billing_conf_t *bcf, lines_plans_t *plans,
    ngx_str_t *tenant, lines_billing_result_t *result);

/* what the best says: active, past_due, canceled or nothing */
ngx_str_t lines_plans_state(lines_plans_t *plans);


/* tenants may share a customer: one's base plan may say whose it is */
ngx_uint_t lines_plan_others(ngx_str_t *tenant, ngx_str_t *named);


#endif /* _LINES_OPERATION_SUBSCRIPTION_H_INCLUDED_ */
