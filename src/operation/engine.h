
/*
 * Between the files of the engine: nobody else's business.
 */

#ifndef _LINES_OPERATION_ENGINE_H_INCLUDED_
#define _LINES_OPERATION_ENGINE_H_INCLUDED_


#include "operation/operation.h"
#include "store/calls.h"


/*
 * An operation that runs here, or a new one that is being claimed; NULL:
 * neither Redis nor memory.
 */

lines_op_t *lines_op_obtain(lines_main_conf_t *lmcf, ngx_str_t *tenant,
    ngx_str_t *id, ngx_uint_t fence, ngx_uint_t want);

/* op->caller: no reply, and the operation is claimed again */
void lines_op_caller(lines_op_t *op);

/* the one that runs here, or NULL */
lines_op_t *lines_op_find(lines_op_conf_t *conf, ngx_str_t *tenant,
    ngx_str_t *id);

/* goes on with rc from a posted event */
void lines_op_post(lines_op_t *op, ngx_int_t rc);

/* calls wake(op) after a while; NGX_AGAIN */
ngx_int_t lines_op_wait(lines_op_t *op, ngx_msec_t delay,
    lines_op_run_pt wake);

/* the hint to the operation: at another instant, gone, gone if idle */
void lines_op_due(lines_op_t *op, ngx_msec_t delay);
void lines_op_not_due(lines_op_t *op);
void lines_op_idle(lines_op_t *op);

/* of those that the sweeper began one has come to rest */
void lines_swept_one(lines_op_conf_t *ocf);

/* looks for lost hints, unless it does so already */
void lines_walk(lines_main_conf_t *lmcf);

/* its waiting clients learn how it ended; op is still whole */
void lines_op_wake_clients(lines_op_t *op, ngx_int_t rc);


#endif /* _LINES_OPERATION_ENGINE_H_INCLUDED_ */
