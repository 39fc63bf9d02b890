
#include "api/tenant_limits.h"
#include "events/parked.h"
#include "http/answer.h"
#include "http/metrics.h"
#include "limit/concurrency.h"


/* of a worker's connections, a half */
#define LINES_PARKED_SHARE    2

#define LINES_PARKED_RETRY    5000     /* ms, where there are too many */
#define LINES_PARKED_WARNING  10000    /* ms between two warnings */


/* of this worker */
static ngx_uint_t  parked[LINES_PARKED_KINDS];


static void
parked_show(void)
{
    lines_metrics_waiting(parked[LINES_PARKED_WAIT],
                          parked[LINES_PARKED_STREAM]);
}


/* who is refused comes again and again: one of many is a warning */

static ngx_uint_t
parked_level(void)
{
    static ngx_msec_t  warned;

    if (warned && ngx_current_msec - warned < LINES_PARKED_WARNING) {
        return NGX_LOG_INFO;
    }

    warned = ngx_current_msec;

    return NGX_LOG_WARN;
}


ngx_int_t
lines_parked_take(ngx_http_request_t *r, lines_ctx_t *ctx, lines_parked_e kind)
{
    int64_t     *waits;
    ngx_int_t    rc;
    ngx_uint_t   n, level;

    static ngx_str_t  bound = ngx_string("waits");
    static ngx_str_t  name = ngx_string("*waits");

    n = parked[LINES_PARKED_WAIT] + parked[LINES_PARKED_STREAM];

    if (n >= ngx_cycle->connection_n / LINES_PARKED_SHARE) {
        level = parked_level();

        ngx_log_error(level, r->connection->log, 0,
                      "lines: %ui requests wait, on half of "
                      "\"worker_connections\": one more may not", n);

        return lines_unavailable(r, ctx, LINES_PARKED_RETRY / 1000);
    }

    waits = lines_tenant_limits_of(r)->waits;

    rc = lines_concurrency_besides(r, ctx, &name,
                                   waits ? (ngx_uint_t) *waits
                                         : NGX_MAX_INT_T_VALUE);

    if (rc == NGX_BUSY) {
        return lines_tenant_limited(ctx, &bound, LINES_PARKED_RETRY);
    }

    if (rc == NGX_OK) {
        parked[kind]++;
        parked_show();
    }

    return rc;
}


void
lines_parked_leave(lines_parked_e kind)
{
    parked[kind]--;
    parked_show();
}
