
/*
 * The purchase of an account's line (operation/README.md, "A confirm"): the
 * steps of operation/kinds.c and what undoes them.  account/confirm.c begins
 * it, by the script confirm_begin.
 */

#ifndef _LINES_OPERATION_PURCHASE_H_INCLUDED_
#define _LINES_OPERATION_PURCHASE_H_INCLUDED_


#include "operation/operation.h"


ngx_int_t lines_purchase_card(lines_op_t *op);
ngx_int_t lines_purchase_lease(lines_op_t *op);
ngx_int_t lines_purchase_charge(lines_op_t *op);
ngx_int_t lines_purchase_assign(lines_op_t *op);
ngx_int_t lines_purchase_tell(lines_op_t *op);
ngx_int_t lines_purchase_end(lines_op_t *op);

ngx_int_t lines_purchase_release(lines_op_t *op);
ngx_int_t lines_purchase_refund(lines_op_t *op);
ngx_int_t lines_purchase_undone(lines_op_t *op);


#endif /* _LINES_OPERATION_PURCHASE_H_INCLUDED_ */
