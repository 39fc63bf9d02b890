
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

/* the steps */

ngx_int_t lines_payment_send(lines_op_t *op);
ngx_int_t lines_payment_await(lines_op_t *op);
ngx_int_t lines_payment_tell(lines_op_t *op);


#endif /* _LINES_OPERATION_PAYMENT_H_INCLUDED_ */
