
/*
 * Between the files of the engine: nobody else's business.
 */

#ifndef _NGX_HTTP_LINES_OPERATION_ENGINE_H_INCLUDED_
#define _NGX_HTTP_LINES_OPERATION_ENGINE_H_INCLUDED_


#include "ngx_http_lines_operation.h"
#include "ngx_lines_scripts.h"


/*
 * An operation that runs here, or a new one that is being claimed; NULL:
 * neither Redis nor memory.
 */

ngx_http_lines_operation_t *ngx_http_lines_operation_obtain(
    ngx_http_lines_main_conf_t *lmcf, ngx_str_t *tenant, ngx_str_t *id,
    ngx_uint_t fence, ngx_uint_t want);

/* the one that runs here, or NULL */
ngx_http_lines_operation_t *ngx_http_lines_operation_find(
    ngx_http_lines_operation_conf_t *conf, ngx_str_t *tenant, ngx_str_t *id);

/* goes on with rc from a posted event */
void ngx_http_lines_operation_post(ngx_http_lines_operation_t *op,
    ngx_int_t rc);

/* calls wake(op) after a while; NGX_AGAIN */
ngx_int_t ngx_http_lines_operation_wait(ngx_http_lines_operation_t *op,
    ngx_msec_t delay, ngx_http_lines_operation_run_pt wake);

/* the hint to the operation: at another instant, gone, gone if idle */
void ngx_http_lines_operation_due(ngx_http_lines_operation_t *op,
    ngx_msec_t delay);
void ngx_http_lines_operation_not_due(ngx_http_lines_operation_t *op);
void ngx_http_lines_operation_idle(ngx_http_lines_operation_t *op);

/* of those that the sweeper began one has come to rest */
void ngx_http_lines_swept_one(ngx_http_lines_operation_conf_t *ocf);

/* looks for lost hints, unless it does so already */
void ngx_http_lines_walk(ngx_http_lines_main_conf_t *lmcf);

/* its waiting clients learn how it ended; op is still whole */
void ngx_http_lines_operation_wake_clients(ngx_http_lines_operation_t *op,
    ngx_int_t rc);


#endif /* _NGX_HTTP_LINES_OPERATION_ENGINE_H_INCLUDED_ */
