
/*
 * A paid line request: its subscription, its invoice, its cancel.
 */

#ifndef _LINES_OPERATION_PAYMENT_H_INCLUDED_
#define _LINES_OPERATION_PAYMENT_H_INCLUDED_


#include "operation/operation.h"


/*
 * The body and the key of the call that asks for a line's subscription, to be
 * recorded by begin: ATTEMPT counts from 1.
 */

ngx_int_t lines_payment_call(ngx_pool_t *pool, lines_main_conf_t *lmcf,
    ngx_str_t *tenant, ngx_str_t *line, ngx_str_t *customer, ngx_str_t *price,
    ngx_uint_t attempt, ngx_str_t *body, ngx_str_t *key);

/* what is decided of a request (operation/decide.h) */
ngx_int_t lines_payment_record(lines_op_t *op);
ngx_int_t lines_payment_refuse(lines_op_t *op);
ngx_int_t lines_payment_renew(lines_op_t *op);
ngx_int_t lines_payment_rest(lines_op_t *op);
ngx_int_t lines_payment_void(lines_op_t *op);
ngx_int_t lines_payment_delete(lines_op_t *op);
ngx_int_t lines_payment_place(lines_op_t *op);
ngx_int_t lines_payment_settle(lines_op_t *op);
ngx_int_t lines_payment_tell(lines_op_t *op);
ngx_int_t lines_payment_fail(lines_op_t *op);
ngx_int_t lines_payment_end(lines_op_t *op);


#endif /* _LINES_OPERATION_PAYMENT_H_INCLUDED_ */
