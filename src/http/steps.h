
/*
 * A request is a short list of steps, which are run, parked and resumed.
 */

#ifndef _LINES_HTTP_STEPS_H_INCLUDED_
#define _LINES_HTTP_STEPS_H_INCLUDED_


#include "http/context.h"


/* goes on with the steps of ctx->route, where rc is NGX_OK, or ends with rc */
void lines_run(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc);

/* step, which has run, and those after it run once more */
void lines_again_from(lines_ctx_t *ctx, lines_step_pt step);

/*
 * Ends a wait: runs resume with rc (NGX_OK: the next step; NGX_AGAIN:
 * nothing).  The request, and anything of its pool, may be gone afterwards.
 */

void lines_resume(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc);

/* handlers of phases that wait for Redis, or that answer by themselves */

/*
 * Commands are on their way: the phases go on from the same handler when they
 * are answered with NGX_OK, and the request ends where a reply's handler
 * returned anything else.  A client may leave meanwhile.  Returns NGX_AGAIN,
 * for the handler to return.
 */
ngx_int_t lines_phase_wait(ngx_http_request_t *r, lines_ctx_t *ctx);

/* ends the request that was answered with rc: NGX_DONE, or, where that failed,
   500; for the handler to return */
ngx_int_t lines_phase_done(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc);

/* flag: the location has an error_page for that status */
ngx_uint_t lines_has_error_page(ngx_http_request_t *r, ngx_uint_t status);


#endif /* _LINES_HTTP_STEPS_H_INCLUDED_ */
