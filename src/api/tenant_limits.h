
/*
 * What one tenant can cost: lines_tenant_limits.  Each bound is counted in
 * Redis by the script that writes what it bounds, and answered here; but of
 * requests that wait, which are of one node.
 */

#ifndef _LINES_API_TENANT_LIMITS_H_INCLUDED_
#define _LINES_API_TENANT_LIMITS_H_INCLUDED_


#include "http/context.h"


#define LINES_TENANT_BOUNDS    7

/* of lines_tenant_bounds */
#define LINES_TENANT_DECLINED  2
#define LINES_TENANT_WEBHOOKS  6

/* as parameters, scripts and metrics name them; scripts say "running", too: of
   "declined", as purchases under way count */
extern ngx_str_t  lines_tenant_bounds[LINES_TENANT_BOUNDS];


/* numbers: NULL is unlimited, as scripts take it */

struct lines_tenant_limits_s {
    int64_t     *tickets;       /* open, of an account */
    int64_t     *requests;      /* for lines, of a workspace in a day */
    int64_t     *declined;      /* charges, */
    ngx_msec_t   window;        /* in which they count */
    int64_t     *previews;      /* whose tokens are good, of an account */
    int64_t     *waits;         /* requests that wait at once, on a node */
    int64_t     *webhooks;      /* of a tenant; never NULL */
    ngx_str_t    interval;      /* µs in which billing may be asked once more, for
                                   scripts; empty: at will */
    ngx_int_t    size;          /* so often at once */
};


/*
 * lines_tenant_limits [tickets=N|unlimited] [requests=N|unlimited]
 *     [declined=N|unlimited] [declined_window=TIME]
 *     [billing=RATE|unlimited] [billing_burst=N] [previews=N|unlimited]
 *     [waits=N|unlimited] [webhooks=N]
 */
char *lines_tenant_limits(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* of the location; never NULL */
lines_tenant_limits_t *lines_tenant_limits_of(ngx_http_request_t *r);

/*
 * NGX_DONE: 429 in the dialect, with Retry-After: what no clock ends (0 ms) is
 * asked for again in an hour.  which: one of lines_tenant_bounds, or "running".
 */
ngx_int_t lines_tenant_limited(lines_ctx_t *ctx, ngx_str_t *which, int64_t ms);


#endif /* _LINES_API_TENANT_LIMITS_H_INCLUDED_ */
