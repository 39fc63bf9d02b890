
/*
 * A request is a short list of steps, which are run, parked and resumed.
 */

#ifndef _LINES_HTTP_STEPS_H_INCLUDED_
#define _LINES_HTTP_STEPS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/context.h"


/* goes on with the steps of ctx->route, where rc is NGX_OK, or ends with rc */
void lines_run(ngx_http_request_t *r, ngx_int_t rc);

/* step, which has run, and those after it run once more */
void lines_again_from(lines_ctx_t *ctx, lines_step_pt step);

/*
 * Ends a wait: runs resume with rc (NGX_OK: the next step; NGX_AGAIN:
 * nothing).  The request, and anything of its pool, may be gone afterwards.
 */

void lines_resume(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc);

/*
 * A request that waits is told when its client leaves, also where that was
 * heard of together with the request, and comes to no event of its own.
 * NGX_ERROR where the connection cannot be watched.
 */
ngx_int_t lines_watch_client(ngx_http_request_t *r);


#endif /* _LINES_HTTP_STEPS_H_INCLUDED_ */
