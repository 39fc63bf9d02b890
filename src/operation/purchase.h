
/*
 * The purchase of an account's line (operation/README.md, "A confirm"): one
 * table of steps, each with its undo.  account/confirm.c begins it, by the
 * script confirm_begin.
 */

#ifndef _LINES_OPERATION_PURCHASE_H_INCLUDED_
#define _LINES_OPERATION_PURCHASE_H_INCLUDED_


#include "operation/operation.h"


extern lines_op_kind_t  lines_purchase_kind;


/* the steps; charge is in a file of its own */

ngx_int_t lines_purchase_charge(lines_op_t *op);

/* the exact body and the key of an attempt's call, as fields of the record */
ngx_int_t lines_purchase_call(lines_op_t *op, ngx_str_t *payment_method,
    ngx_uint_t attempt, ngx_str_t *body, ngx_str_t *key);

/* undoes what was done, to end with this answer */
ngx_int_t lines_purchase_refuse(lines_op_t *op, ngx_uint_t status,
    const char *error, const char *message);


#endif /* _LINES_OPERATION_PURCHASE_H_INCLUDED_ */
