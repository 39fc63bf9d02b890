
/*
 * A subscription is asked for: the one call whose outcome may stay unknown.  It
 * is sent again under the same key, or looked up by what it says of itself; it
 * is never given up before its outcome is known.
 */

#ifndef _LINES_OPERATION_CHARGE_H_INCLUDED_
#define _LINES_OPERATION_CHARGE_H_INCLUDED_


#include "operation/operation.h"


struct lines_charge_s {

    /* it is there: created just now, or found */
    ngx_int_t  (*charged)(lines_op_t *op,
                          lines_stripe_subscription_t *subscription);

    /* nothing was created, and under this key never will be */
    ngx_int_t  (*refused)(lines_op_t *op, lines_stripe_error_t *error);

    /* proven by two looks: nothing was created, and nobody sends it again */
    ngx_int_t  (*absent)(lines_op_t *op);
};


/*
 * The run of a step, by the record's "body", "key", "sent_at" and "absent_at".
 * What it is looked up by: tenant and attempt, and the line; the operation
 * where there is none.
 */

ngx_int_t lines_charge(lines_op_t *op, const lines_charge_t *charge);


#endif /* _LINES_OPERATION_CHARGE_H_INCLUDED_ */
