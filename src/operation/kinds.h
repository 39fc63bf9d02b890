
/*
 * What is done of an operation where operation/decide.c says so: kinds.c has
 * which of these, by kind and action.
 */

#ifndef _LINES_OPERATION_KINDS_H_INCLUDED_
#define _LINES_OPERATION_KINDS_H_INCLUDED_


#include "operation/operation.h"


/*
 * charge.c.  What comes of it is in view as op->seen.call; THERE is
 * op->seen.subscription, and REFUSED is op->seen.error.
 */

ngx_int_t lines_charge_send(lines_op_t *op);
ngx_int_t lines_charge_find(lines_op_t *op);

/* one that is not found is looked for once more, a while later */
ngx_int_t lines_charge_wait(lines_op_t *op);

/* flag: it was not found so long ago that it is not there */
ngx_uint_t lines_charge_waited(lines_op_t *op);


/* payment.c: of a paid line request its subscription, invoice and cancel */

ngx_int_t lines_payment_record(lines_op_t *op);
ngx_int_t lines_payment_refuse(lines_op_t *op);
ngx_int_t lines_payment_renew(lines_op_t *op);
ngx_int_t lines_payment_rest(lines_op_t *op);
ngx_int_t lines_payment_place(lines_op_t *op);
ngx_int_t lines_payment_settle(lines_op_t *op);
ngx_int_t lines_payment_tell(lines_op_t *op);
ngx_int_t lines_payment_fail(lines_op_t *op);
ngx_int_t lines_payment_end(lines_op_t *op);

/* of any */
ngx_int_t lines_payment_void(lines_op_t *op);
ngx_int_t lines_payment_delete(lines_op_t *op);


/* purchase.c: an account's line, begun by the script confirm_begin */

ngx_int_t lines_purchase_card(lines_op_t *op);
ngx_int_t lines_purchase_lease(lines_op_t *op);
ngx_int_t lines_purchase_record(lines_op_t *op);
ngx_int_t lines_purchase_renew(lines_op_t *op);
ngx_int_t lines_purchase_assign(lines_op_t *op);
ngx_int_t lines_purchase_drop(lines_op_t *op);
ngx_int_t lines_purchase_tell(lines_op_t *op);
ngx_int_t lines_purchase_next(lines_op_t *op);
ngx_int_t lines_purchase_refuse(lines_op_t *op);
ngx_int_t lines_purchase_fail(lines_op_t *op);
ngx_int_t lines_purchase_end(lines_op_t *op);


/*
 * refund.c: of a refund, an orphan, a purchase that is undone, on the record's
 * field "subscription".  Invoice by invoice from the newest on: "refund_after"
 * is the last one that is done with, "since" (seconds) passes over what was
 * paid before.
 */

ngx_int_t lines_refund_list(lines_op_t *op);
ngx_int_t lines_refund_credit(lines_op_t *op);
ngx_int_t lines_refund_give(lines_op_t *op);
ngx_int_t lines_refund_report(lines_op_t *op);
ngx_int_t lines_refund_pass(lines_op_t *op);

/* the id of what gives back what its line has cost: op->refund */
ngx_int_t lines_refund_name(lines_op_t *op);

/* that, where it is looked up and when it is due, before it begins */
ngx_int_t lines_refund_announce(lines_op_t *op, ngx_int_t (*then)(void *data));

/* of a refund, a release, an orphan */
ngx_int_t lines_refund_finish(lines_op_t *op);

/* of any: the ledger of seen.subscription.invoice, and what it comes to */
ngx_int_t lines_refund_count(lines_op_t *op);


/* subscription.c: a base plan, a line's add-on */

ngx_int_t lines_plan_read(lines_op_t *op);
ngx_int_t lines_plan_leave(lines_op_t *op);
ngx_int_t lines_lapse_judge(lines_op_t *op);

/* a bank's word waits: the line is suspended, or resumed, meanwhile */
ngx_int_t lines_lapse_doubt(lines_op_t *op);

/* billing is asked only while there is a line that it would be about */
ngx_int_t lines_lapse_read(lines_op_t *op);


#endif /* _LINES_OPERATION_KINDS_H_INCLUDED_ */
