
/*
 * Requests at once: lines_concurrency, of one tenant on one node, whichever
 * of its workers serve them.  A request counts from when its tenant is known
 * until it and its subrequests are gone, what an upgraded connection carries
 * included; once, however often it is redirected.
 *
 * What is counted lies in lines_zone, in places that are there from the start:
 * nothing grows, and where none is left a request passes uncounted.  Each
 * request that counts has a place in the list of its worker, so that what a
 * worker leaves behind that was killed is found and given back.
 */

#ifndef _LINES_LIMIT_CONCURRENCY_H_INCLUDED_
#define _LINES_LIMIT_CONCURRENCY_H_INCLUDED_


#include "http/context.h"
#include "http/metrics.h"


#define LINES_CONCURRENCY_TENANT  100

/* what becomes of a request, where it is not simply counted */

typedef enum {
    LINES_CONCURRENCY_REFUSED = 0,
    LINES_CONCURRENCY_DRY,         /* dry_run */
    LINES_CONCURRENCY_UNCOUNTED
} lines_concurrency_e;

extern ngx_str_t  lines_concurrency_outcomes[LINES_METRICS_CONCURRENCY];


/* lines_concurrency tenant=N [name=NAME] [dry_run] | off */
char *lines_concurrency(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* the zone's area */
void *lines_concurrency_init_area(ngx_slab_pool_t *shpool);

/* postconfiguration: after lines_limit_init(), so that it comes before it */
ngx_int_t lines_concurrency_init(ngx_conf_t *cf);

/* init_process: gives back what a worker left that had this one's place;
   exit_process: and what is left of this one's */
void lines_concurrency_init_process(lines_main_conf_t *lmcf);
void lines_concurrency_exit_process(void);

/*
 * A step, after the one that authenticates: the request counts, or is refused.
 * NGX_OK; NGX_DONE: the request ends with ctx->rc.
 */
ngx_int_t lines_concurrency_take(ngx_http_request_t *r, lines_ctx_t *ctx);

/*
 * It counts besides as one of its tenant's that do something of their own, until
 * it is gone: NGX_OK, also where there is no place to count it; NGX_BUSY: most
 * of them do so already; NGX_ERROR.  name is none of lines_concurrency's.
 */
ngx_int_t lines_concurrency_besides(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *name, ngx_uint_t most);

/*
 * Who is counted: the tenant, or, of a session without a workspace, its user.
 * NGX_DECLINED: nobody is known, or no memory.
 */
ngx_int_t lines_counted_as(lines_ctx_t *ctx, ngx_str_t *value);

/* requests that count now */
ngx_uint_t lines_concurrency_held(lines_main_conf_t *lmcf);


#endif /* _LINES_LIMIT_CONCURRENCY_H_INCLUDED_ */
