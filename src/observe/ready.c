
/*
 * Readiness, from what this worker knows already: cheap enough to be asked
 * each second by each balancer.  Redis' settings are looked at behind it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/dialect.h"
#include "auth/jwks.h"
#include "http/answer.h"
#include "http/body.h"
#include "http/guard.h"
#include "http/metrics.h"
#include "http/text.h"
#include "observe/ready.h"
#include "operation/database.h"


static ngx_int_t ready(ngx_http_request_t *r, lines_ctx_t *ctx);
static u_char *ready_warnings(lines_redis_status_t *status, u_char *p,
    u_char *last);
static u_char *ready_others(lines_main_conf_t *lmcf, u_char *p, u_char *last);
static u_char *ready_database(lines_main_conf_t *lmcf, u_char *p,
    u_char *last);
static u_char *ready_other(lines_main_conf_t *lmcf, const char *name,
    const char *directive, const char *status, u_char *p, u_char *last);


static lines_route_t  ready_routes[] = {

    { NGX_HTTP_GET, ngx_string(""), ngx_string("ready"),
      { NULL, NULL, NULL, lines_discard_body },
      (lines_step_pt []) { ready, NULL }, NULL },

    { 0, ngx_null_string, ngx_null_string, { NULL }, NULL, NULL }
};


lines_api_t  lines_ready_api = {
    ngx_string("ready"),
    lines_plain_error,
    ready_routes,
    0
};


static ngx_int_t
ready(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    u_char                buffer[1024], list[1024];
    ngx_str_t             others, reason, warnings;
    ngx_uint_t            fine;
    ngx_slab_pool_t      *shpool;
    lines_redis_status_t  status;
    lines_main_conf_t    *lmcf;

    lmcf = lines_get_main_conf(r);
    shpool = lines_zone_pool(lmcf);

    lines_redis_status(lmcf->redis, &status);
    lines_redis_review(lmcf->redis);

    others.data = buffer;
    others.len = ready_others(lmcf, buffer, buffer + sizeof(buffer)) - buffer;

    warnings.data = list;
    warnings.len = ready_warnings(&status, list, list + sizeof(list)) - list;

    if (warnings.len) {

        /* the comma of the first one */

        warnings.data++;
        warnings.len--;
    }

    fine = status.connected
           && lines_database_state(lmcf, NULL) != LINES_DATABASE_HELD;

    ngx_str_null(&reason);

    if (status.reason.len) {
        reason = lines_json_string(r->pool, &status.reason);
        if (reason.data == NULL) {
            return NGX_ERROR;
        }
    }

    return lines_answer_format(r, ctx,
                fine ? NGX_HTTP_OK : NGX_HTTP_SERVICE_UNAVAILABLE,
                "{\"ready\":%s,\"redis\":{\"status\":\"%s\"%s%V,"
                "\"breaker\":\"%s\",\"inFlight\":%ui,"
                "\"warnings\":[%V]},"
                "\"zone\":{\"status\":\"%s\",\"freeBytes\":%ui}%V}",
                fine ? "true" : "false",
                status.connected ? "ok" : "unreachable",
                reason.len ? ",\"reason\":" : "", &reason,
                status.probing ? "half_open" : status.away ? "open" : "closed",
                status.inflight, &warnings, shpool->pfree ? "ok" : "full",
                (ngx_uint_t) shpool->pfree * ngx_pagesize, &others);
}


static u_char *
ready_warnings(lines_redis_status_t *status, u_char *p, u_char *last)
{
    ngx_uint_t           i;
    lines_redis_wish_t  *wish;

    static const struct {
        size_t       flag;
        const char  *says;
    } warnings[] = {
        { offsetof(lines_redis_status_t, evicts),
          "maxmemory-policy is not noeviction" },
        { offsetof(lines_redis_status_t, no_aof),
          "append-only file is off" },
        { offsetof(lines_redis_status_t, denied),
          "a command is refused (NOPERM)" },
        { offsetof(lines_redis_status_t, no_info),
          "INFO is refused: eviction and persistence are not checked" },
        { offsetof(lines_redis_status_t, no_config),
          "CONFIG is refused: settings are not checked" }
    };

    if (status->refuses) {
        p = ngx_slprintf(p, last, ",\"%s: writes are refused\"",
                         status->refuses);
    }

    for (i = 0; i < sizeof(warnings) / sizeof(warnings[0]); i++) {

        if (*(ngx_uint_t *) ((u_char *) status + warnings[i].flag)) {
            p = ngx_slprintf(p, last, ",\"%s\"", warnings[i].says);
        }
    }

    for (i = 0; lines_redis_wishes[i].name.len; i++) {
        wish = &lines_redis_wishes[i];

        if (status->settings & ((ngx_uint_t) 1 << i)) {
            p = ngx_slprintf(p, last, ",\"%V is not %V\"", &wish->name,
                             &wish->value);
        }
    }

    return p;
}


/*
 * What a node can do without for a while is told, and decides nothing: keys of
 * API clients are good without the issuer's, lines are read without billing.
 */

static u_char *
ready_others(lines_main_conf_t *lmcf, u_char *p, u_char *last)
{
    ngx_uint_t             i, n, state, worst;
    lines_jwks_t         **jwks;
    ngx_atomic_uint_t      up, down;
    lines_jwks_entry_t    *entry;
    lines_metrics_area_t  *area;

    /*
     * What an issuer's keys are in, the worst last: of several that one counts.
     * None at all are worse than old ones; before anybody asked none are amiss.
     */

    static const char  *states[] = {
        NULL, "ok", "unknown", "stale", "unreachable"
    };

    jwks = lmcf->jwks ? lmcf->jwks->elts : NULL;
    n = lmcf->jwks ? lmcf->jwks->nelts : 0;

    worst = 0;

    for (i = 0; i < n; i++) {
        entry = jwks[i]->entry;

        if (jwks[i]->uri.len) {
            state = !entry ? 2
                    : entry->fails ? (entry->generation ? 3 : 4)
                    : entry->generation ? 1 : 2;
            worst = ngx_max(worst, state);
        }
    }

    if (worst) {
        p = ready_other(lmcf, "jwks", "lines_clerk", states[worst], p, last);
    }

    if (lmcf->billing == NULL) {
        return p;
    }

    area = lines_zone_area(lmcf, LINES_ZONE_METRICS);

    up = 0;
    down = 0;

    for (i = 0; i < LINES_METRICS_SLOTS; i++) {
        up = ngx_max(up, area->slots[i].billing_up);
        down = ngx_max(down, area->slots[i].billing_down);
    }

    p = ready_other(lmcf, "billing", "lines_billing",
                    down > up ? "unreachable" : up ? "ok" : "unknown", p,
                    last);

    return ready_database(lmcf, p, last);
}


/* one that is held is no node's fault, but none can sell or end anything */

static u_char *
ready_database(lines_main_conf_t *lmcf, u_char *p, u_char *last)
{
    lines_database_t  known;

    switch (lines_database_state(lmcf, &known)) {

    case LINES_DATABASE_HELD:
        return ngx_slprintf(p, last, ",\"database\":{\"status\":\"held\","
                            "\"reason\":\"%s\"}", known.reason);

    case LINES_DATABASE_FINE:
        return ngx_slprintf(p, last, ",\"database\":{\"status\":\"ok\"}");

    default:
        return ngx_slprintf(p, last,
                            ",\"database\":{\"status\":\"unknown\"}");
    }
}


/* nothing is wrong with the other side of "insecure": nothing is sent there */

static u_char *
ready_other(lines_main_conf_t *lmcf, const char *name, const char *directive,
    const char *status, u_char *p, u_char *last)
{
    return ngx_slprintf(p, last, ",\"%s\":{\"status\":\"%s\"}", name,
                        lines_location_refused(lmcf, directive) ? "insecure"
                                                                : status);
}
