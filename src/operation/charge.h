
/*
 * A subscription is asked for, by the record's "body" and "key": the one call
 * whose outcome may stay unknown.  It is looked up by what it says of itself:
 * tenant and attempt, and the line, or the operation where there is none.
 */

#ifndef _LINES_OPERATION_CHARGE_H_INCLUDED_
#define _LINES_OPERATION_CHARGE_H_INCLUDED_


#include "operation/operation.h"


/*
 * The exact body and the key of an attempt's call, to be recorded before it:
 * of an operation with its card, or (card is NULL) of a line, to be paid on its
 * invoice.  metadata, but for the deployment, is the caller's.
 */

ngx_int_t lines_charge_call(ngx_pool_t *pool, lines_main_conf_t *lmcf,
    lines_stripe_metadata_t *metadata, ngx_str_t *customer, ngx_str_t *price,
    ngx_str_t *card, ngx_str_t *body, ngx_str_t *key);

/* the same by what the record says of it; whose: the customer's field */
ngx_int_t lines_charge_write(lines_op_t *op, ngx_uint_t attempt,
    const char *whose, ngx_str_t *body, ngx_str_t *key);


#endif /* _LINES_OPERATION_CHARGE_H_INCLUDED_ */
