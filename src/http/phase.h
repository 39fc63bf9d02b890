
/*
 * Handlers of phases that wait for Redis, or that answer by themselves.
 */

#ifndef _LINES_HTTP_PHASE_H_INCLUDED_
#define _LINES_HTTP_PHASE_H_INCLUDED_


#include "http/context.h"


/*
 * Commands are on their way: the phases go on from the same handler when they
 * are answered with NGX_OK, and the request ends where a reply's handler
 * returned anything else.  A client may leave meanwhile.  Returns NGX_AGAIN,
 * for the handler to return.
 */
ngx_int_t lines_phase_wait(ngx_http_request_t *r, lines_ctx_t *ctx);

/* answered: ends the request; returns NGX_DONE, for the handler to return */
ngx_int_t lines_phase_done(ngx_http_request_t *r, lines_ctx_t *ctx);

/* flag: the location has an error_page for that status */
ngx_uint_t lines_has_error_page(ngx_http_request_t *r, ngx_uint_t status);


#endif /* _LINES_HTTP_PHASE_H_INCLUDED_ */
