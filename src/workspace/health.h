
/*
 * What a probe's answer says about a line.  Knows JSON, but no request.
 */

#ifndef _LINES_WORKSPACE_HEALTH_H_INCLUDED_
#define _LINES_WORKSPACE_HEALTH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define LINES_HEALTH_FAILURES  16
#define LINES_HEALTH_FAILURE   256     /* bytes of each */


typedef struct {
    ngx_str_t    status;       /* healthy, down */
    ngx_str_t    failures;     /* a JSON array of strings */
} lines_health_t;


/*
 * The status code speaks first: 2xx is healthy, unless the body, an object,
 * says otherwise: by "status" (healthy, ok, up and pass are good, as in
 * application/health+json) or by "failures", an array of strings.  Any other
 * code, and a body that is neither empty nor an object, is a failure of its
 * own: probe_status_500, probe_answer_invalid.
 * NGX_ERROR: no memory.
 */

ngx_int_t lines_health_read(ngx_pool_t *pool, ngx_uint_t status,
    ngx_str_t *body, lines_health_t *health);

/* down, because of one failure: a short word */
ngx_int_t lines_health_down(ngx_pool_t *pool, const char *failure,
    lines_health_t *health);


#endif /* _LINES_WORKSPACE_HEALTH_H_INCLUDED_ */
