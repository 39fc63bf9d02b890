
/*
 * Money goes back: a subscription is canceled, and what was paid for it is
 * paid back.  One step, which can be entered again at any point.
 */

#ifndef _LINES_OPERATION_REFUND_H_INCLUDED_
#define _LINES_OPERATION_REFUND_H_INCLUDED_


#include "operation/operation.h"


/*
 * The end of a step's run or undo, on the record's fields "subscription" and
 * "invoice" (found out where it is empty; without a subscription there is
 * nothing to do): DELETE of the subscription, then every invoice of it, the
 * renewals' too, is voided or credited in full, one after another: what is sent
 * is written down first, and what is done with, next.  done(op) is called when
 * it is certain that nothing is billed any more; the field "refunded" is "1" in
 * the copy where money went back.
 */

ngx_int_t lines_refund(lines_op_t *op, lines_op_run_pt done);


/* the step of the kinds refund and orphan; that of release: DELETE only */

ngx_int_t lines_refund_all(lines_op_t *op);
ngx_int_t lines_unsubscribe(lines_op_t *op);


#endif /* _LINES_OPERATION_REFUND_H_INCLUDED_ */
