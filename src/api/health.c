
/*
 * What a worker knows of itself and of its neighbours already: cheap enough to
 * be asked each second by each balancer.  Redis' settings are looked at behind
 * it.
 */

#include "api/health.h"
#include "auth/jwks.h"
#include "http/location.h"
#include "http/metrics.h"
#include "operation/database.h"


static void
health_warnings(lines_json_t *json, lines_redis_status_t *status)
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
        { offsetof(lines_redis_status_t, unconfirmed),
          "too few replicas (replicas=): writes are refused" },
        { offsetof(lines_redis_status_t, unsynced),
          "the server has no WAITAOF: replicas= is without fsync=" },
        { offsetof(lines_redis_status_t, denied),
          "a command is refused (NOPERM)" },
        { offsetof(lines_redis_status_t, no_info),
          "INFO is refused: eviction and persistence are not checked" },
        { offsetof(lines_redis_status_t, no_config),
          "CONFIG is refused: settings are not checked" }
    };

    if (status->refuses) {
        lines_json_add(json, ",'%s: writes are refused'", status->refuses);
    }

    for (i = 0; i < sizeof(warnings) / sizeof(warnings[0]); i++) {

        if (*(ngx_uint_t *) ((u_char *) status + warnings[i].flag)) {
            lines_json_add(json, ",'%s'", warnings[i].says);
        }
    }

    for (i = 0; lines_redis_wishes[i].name.len; i++) {
        wish = &lines_redis_wishes[i];

        if (status->settings & ((ngx_uint_t) 1 << i)) {
            lines_json_add(json, ",'%V is not %V'", &wish->name, &wish->value);
        }
    }
}


static void
health_redis(lines_json_t *json, const char *name, lines_redis_status_t *status)
{
    lines_json_add(json, ",'%s':{'status':'%s'", name,
                   status->connected ? "ok"
                   : status->serves ? "partial" : "unreachable");

    if (status->reason.len) {
        lines_json_add(json, ",'reason':%J", &status->reason);
    }

    lines_json_add(json, ",'breaker':'%s','inFlight':%L,'warnings':[",
                   status->probing ? "half_open"
                   : status->away ? "open" : "closed",
                   (int64_t) status->inflight);

    health_warnings(json, status);

    lines_json_add(json, "]}");
}


/* nothing is wrong with the other side of "insecure": nothing is sent there */

static void
health_other(lines_json_t *json, lines_main_conf_t *lmcf, const char *name,
    const char *directive, const char *status)
{
    lines_json_add(json, ",'%s':{'status':'%s'}", name,
                   lines_location_refused(lmcf, directive) ? "insecure"
                                                           : status);
}


/* one that is held is no node's fault, but none can sell or end anything */

static void
health_database(lines_json_t *json, lines_main_conf_t *lmcf)
{
    ngx_uint_t         state;
    lines_database_t   known;

    /* untold: it serves all but charges, and webhooks: no reason to take it
       away */

    static const char  *states[] = { "unknown", "ok", "untold", "held" };

    state = lines_database_state(lmcf, &known);

    lines_json_add(json, ",'database':{'status':'%s'", states[state]);

    if (state >= LINES_DATABASE_UNTOLD) {
        lines_json_add(json, ",'reason':'%s'", state == LINES_DATABASE_HELD
                                               ? (char *) known.found.reason
                                               : "anchor");
    }

    lines_json_add(json, "}");
}


/*
 * What a node can do without for a while is told, and decides nothing: keys of
 * API clients are good without the issuer's, lines are read without billing.
 */

static void
health_others(lines_json_t *json, lines_main_conf_t *lmcf)
{
    ngx_uint_t             i;
    ngx_atomic_uint_t      up, down;
    lines_jwks_status_t    jwks;
    lines_metrics_area_t  *area;

    static const char *const states[] = {
        [LINES_JWKS_OK] = "ok",
        [LINES_JWKS_UNKNOWN] = "unknown",
        [LINES_JWKS_STALE] = "stale",
        [LINES_JWKS_UNREACHABLE] = "unreachable"
    };

    lines_jwks_status(lmcf, &jwks);

    if (jwks.worst) {
        health_other(json, lmcf, "jwks", "lines_clerk", states[jwks.worst]);
    }

    if (lmcf->billing == NULL) {
        return;
    }

    area = lines_zone_area(lmcf, LINES_ZONE_METRICS);

    up = 0;
    down = 0;

    for (i = 0; i < LINES_METRICS_SLOTS; i++) {
        up = ngx_max(up, area->slots[i].billing_up);
        down = ngx_max(down, area->slots[i].billing_down);
    }

    health_other(json, lmcf, "billing", "lines_billing",
                down > up ? "unreachable" : up ? "ok" : "unknown");

    health_database(json, lmcf);
}


ngx_uint_t
lines_health_add(lines_json_t *json, lines_main_conf_t *lmcf)
{
    ngx_uint_t            fine;
    lines_redis_t        *limits;
    ngx_slab_pool_t      *shpool;
    lines_redis_status_t  status;

    shpool = lines_zone_pool(lmcf);

    lines_redis_status(lmcf->redis, &status);
    lines_redis_review(lmcf->redis);

    /* while a part of a cluster is away the others' tenants are served */

    fine = status.serves
           && lines_database_state(lmcf, NULL) != LINES_DATABASE_HELD;

    lines_json_add(json, "'ready':%B", fine);

    health_redis(json, "redis", &status);

    /* nothing is lost with it but counts: fail= says what becomes of requests */

    limits = lines_redis_limits(lmcf->redis);

    if (limits != lmcf->redis) {
        lines_redis_status(limits, &status);
        health_redis(json, "limits", &status);
    }

    lines_json_add(json, ",'zone':{'status':'%s','freeBytes':%L}",
                   shpool->pfree ? "ok" : "full",
                   (int64_t) (shpool->pfree * ngx_pagesize));

    health_others(json, lmcf);

    return fine;
}
