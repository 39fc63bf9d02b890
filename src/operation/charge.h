
/*
 * A subscription is asked for, by the record's "body" and "key": the one call
 * whose outcome may stay unknown.  It is looked up by what it says of itself:
 * tenant and attempt, and the line, or the operation where there is none.
 */

#ifndef _LINES_OPERATION_CHARGE_H_INCLUDED_
#define _LINES_OPERATION_CHARGE_H_INCLUDED_


#include "operation/operation.h"


/*
 * What comes of it is in view as op->seen.call; THERE is op->seen.subscription,
 * and REFUSED is op->seen.error.
 */

ngx_int_t lines_charge_send(lines_op_t *op);
ngx_int_t lines_charge_find(lines_op_t *op);

/* one that is not found is looked for once more, a while later */
ngx_int_t lines_charge_wait(lines_op_t *op);


#endif /* _LINES_OPERATION_CHARGE_H_INCLUDED_ */
