
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
 * Of a customer's subscriptions of one base price: whether one of them says
 * more of the tenant's plan than the best so far (0: none), which it then is;
 * and what it says: active, past_due, canceled or nothing.
 */
ngx_uint_t lines_plan_better(ngx_str_t *tenant, ngx_array_t *subscriptions,
    int64_t *best);
const char *lines_plan_state(int64_t best);

ngx_int_t lines_plan_read(lines_op_t *op);
ngx_int_t lines_plan_leave(lines_op_t *op);
ngx_int_t lines_lapse_judge(lines_op_t *op);

/*
 * A line of which it is not known whether its add-on has ended was met: that is
 * read soon, by whom it concerns.  Nobody waits.
 */
void lines_lapse_look(ngx_http_request_t *r, ngx_str_t *tenant,
    ngx_str_t *line, ngx_str_t *subscription);


#endif /* _LINES_OPERATION_SUBSCRIPTION_H_INCLUDED_ */
