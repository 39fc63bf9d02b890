
/*
 * The purchase of an account's line (operation/README.md, "A confirm"), which
 * account/confirm.c begins by the script confirm_begin.
 */

#ifndef _LINES_OPERATION_PURCHASE_H_INCLUDED_
#define _LINES_OPERATION_PURCHASE_H_INCLUDED_


#include "operation/operation.h"


/* what is decided of a purchase (operation/decide.h) */
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


#endif /* _LINES_OPERATION_PURCHASE_H_INCLUDED_ */
