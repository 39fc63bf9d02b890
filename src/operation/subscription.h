
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
