
/*
 * Money goes back (operation/decide.h, README.md "Refunds"): of a refund, an
 * orphan, a purchase that is undone, on the record's field "subscription".
 * Invoice by invoice from the newest on: "refund_after" is the last one that is
 * done with, "since" (seconds) passes over what was paid before.
 */

#ifndef _LINES_OPERATION_REFUND_H_INCLUDED_
#define _LINES_OPERATION_REFUND_H_INCLUDED_


#include "operation/operation.h"


ngx_int_t lines_refund_list(lines_op_t *op);
ngx_int_t lines_refund_credit(lines_op_t *op);
ngx_int_t lines_refund_give(lines_op_t *op);
ngx_int_t lines_refund_report(lines_op_t *op);
ngx_int_t lines_refund_pass(lines_op_t *op);

/* of a refund, a release, an orphan */
ngx_int_t lines_refund_finish(lines_op_t *op);

/* of any: the ledger of seen.subscription.invoice, and what it comes to */
ngx_int_t lines_refund_count(lines_op_t *op);


#endif /* _LINES_OPERATION_REFUND_H_INCLUDED_ */
