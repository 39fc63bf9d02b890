
/*
 * A request meets its limits: phases, the step, the verdict.
 */

#include "auth/identity.h"
#include "http/answer.h"
#include "http/digest.h"
#include "http/metrics.h"
#include "http/steps.h"
#include "http/text.h"
#include "limit/concurrency.h"
#include "limit/lease.h"
#include "limit/limit.h"


/* by who decides, and what */

ngx_str_t  lines_limit_outcomes[] = {
    ngx_string("passed"),
    ngx_string("rejected"),
    ngx_string("rejected_dry_run"),
    ngx_string("passed_local"),
    ngx_string("rejected_local"),
    ngx_string("rejected_local_dry_run"),
    ngx_string("passed_open"),
    ngx_string("unavailable"),
    ngx_string("unavailable_dry_run")
};


static void
limit_settle(lines_limit_result_t *result, lines_limit_by_e by,
    lines_gcra_t *gcra)
{
    lines_limit_state_t  *state;

    result->by = by;
    result->verdict = gcra->granted ? LINES_LIMIT_PASSED
                      : result->limit->dry_run ? LINES_LIMIT_DRY_REJECTED
                      : LINES_LIMIT_REJECTED;
    result->remaining = gcra->remaining;
    result->retry = gcra->retry;
    result->reset = gcra->granted
                    ? lines_gcra_full(&result->rate, gcra->remaining)
                    : gcra->retry;

    lines_metrics_inc(limits[result->limit->metric]
                            [lines_limit_outcome(result)]);

    state = result->ctx->limit;

    if (result->verdict == LINES_LIMIT_REJECTED
        && (state->rejected == NULL
            || result->retry > state->rejected->retry))
    {
        state->rejected = result;
    }
}


/* Redis cannot be asked; or, owed is 0, it did not answer in time, and the token
   may be gone there */

static void
limit_alone(lines_limit_result_t *result, ngx_uint_t owed)
{
    lines_gcra_t    gcra;
    lines_limit_t  *limit;

    limit = result->limit;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, result->ctx->request->connection->log,
                   0, "lines limit: %V without Redis, fail:%ui", &limit->id,
                   limit->fail);

    if (limit->fail == LINES_FAIL_LOCAL) {
        lines_lease_local(limit, &result->key, owed, &result->rate, &gcra);
        limit_settle(result, LINES_LIMIT_NODE, &gcra);
        return;
    }

    gcra = (lines_gcra_t) {
        .granted = (limit->fail == LINES_FAIL_OPEN),
        .retry = 1000
    };

    limit_settle(result, LINES_LIMIT_NOBODY, &gcra);
}


static ngx_int_t
limit_reject(lines_ctx_t *ctx, lines_limit_result_t *result)
{
    ngx_uint_t           status;
    lines_api_t         *dialect;
    lines_loc_conf_t    *llcf;
    ngx_http_request_t  *r;

    r = ctx->request;
    llcf = lines_get_loc_conf(r);

    status = (result->by == LINES_LIMIT_NOBODY) ? NGX_HTTP_SERVICE_UNAVAILABLE
                                                : result->limit->status;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "lines: limit \"%V\": %V", &result->limit->id,
                  &lines_limit_outcomes[lines_limit_outcome(result)]);

    dialect = llcf->api ? llcf->api : llcf->dialect;

    /* Retry-After and the others come from the header filter */

    if (dialect == NULL || lines_has_error_page(r, status)) {
        ctx->rc = status;
        return NGX_DONE;
    }

    ctx->api = dialect;

    return status == NGX_HTTP_SERVICE_UNAVAILABLE
           ? lines_error(r, ctx, status, NULL,
                         "Service temporarily unavailable")
           : lines_error(r, ctx, status, "rate_limited", "Too many requests");
}


/* NGX_OK, NGX_AGAIN, or NGX_DONE: the request ends with ctx->rc */

static ngx_int_t
limit_conclude(lines_ctx_t *ctx)
{
    ngx_uint_t             i;
    lines_limit_state_t   *state;
    lines_limit_result_t  *result;

    state = ctx->limit;

    if (state->pending) {
        return NGX_AGAIN;
    }

    if (state->rejected == NULL) {
        return NGX_OK;
    }

    /* a request that is rejected takes no token of the other limits */

    for (i = 0; i < state->nresults; i++) {
        result = &state->results[i];

        if (result->verdict != LINES_LIMIT_PASSED) {
            continue;
        }

        result->remaining++;

        if (result->by == LINES_LIMIT_REDIS) {
            lines_lease_give(result->limit, &result->key);

        } else if (result->by == LINES_LIMIT_NODE) {
            lines_lease_local_give(&result->key);
        }
    }

    return limit_reject(ctx, state->rejected);
}


static ngx_int_t
limit_answered(void *data, lines_limit_settle_reply_t *reply)
{
    lines_limit_result_t *result = data;

    lines_gcra_t          gcra;
    lines_limit_state_t  *state;

    state = result->ctx->limit;
    state->pending--;
    result->asking = 0;

    if (lines_lease_answered(result->limit, &result->key, result->asked, reply,
                             &result->rate, &gcra)
        == NGX_OK)
    {
        ngx_log_debug4(NGX_LOG_DEBUG_HTTP,
                       result->ctx->request->connection->log, 0,
                       "lines limit: %V granted %ui, remaining %ui, retry %M",
                       &result->limit->id, gcra.granted, gcra.remaining,
                       gcra.retry);

        limit_settle(result, LINES_LIMIT_REDIS, &gcra);

    } else {

        /* what it refused (it has no memory left, say) it has not counted */

        limit_alone(result, result->ctx->caller.refused);
    }

    return limit_conclude(result->ctx);
}


/* NGX_OK: the result is there; NGX_AGAIN: Redis was asked */

static ngx_int_t
limit_ask(lines_limit_result_t *result)
{
    ngx_int_t             rc;
    lines_ctx_t          *ctx;
    lines_gcra_t          gcra;
    lines_limit_t        *limit;
    lines_limit_state_t  *state;

    ctx = result->ctx;
    limit = result->limit;
    state = ctx->limit;

    if (lines_lease_take(limit, &result->key, &result->tenant, &result->rate,
                         &gcra)
        == NGX_OK)
    {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ctx->request->connection->log, 0,
                       "lines limit: %V by itself, granted %ui, remaining %ui",
                       &limit->id, gcra.granted, gcra.remaining);

        limit_settle(result, LINES_LIMIT_REDIS, &gcra);
        return NGX_OK;
    }

    result->asked = ngx_current_msec;

    rc = lines_lease_ask(&ctx->caller, limit, &result->key, limit_answered,
                         result);

    if (rc == NGX_AGAIN) {
        state->pending++;
        result->asking = 1;

    } else if (rc == NGX_DECLINED) {
        limit_alone(result, 1);
    }

    return rc;
}


/*
 * NGX_DECLINED: there is nothing to count by, at least not yet.  wait: flag,
 * authentication may come, and what depends on it is left for then.  late:
 * flag, it depends on who asks.
 */

static ngx_int_t
limit_key(lines_ctx_t *ctx, lines_limit_t *limit, ngx_uint_t wait,
    ngx_str_t *key, ngx_uint_t *late)
{
    u_char               hex[LINES_SHA256_LEN * 2];
    ngx_str_t            value, *whose;
    lines_identity_t    *identity;
    ngx_http_request_t  *r;

    r = ctx->request;
    identity = &ctx->identity;
    *late = limit->kind & LINES_LIMIT_IDENTITY;

    if (*late) {
        if (lines_counted_as(ctx, &value) != NGX_OK) {
            return NGX_DECLINED;
        }

        /* sessions of one tenant share a bucket: they have no key */

        whose = identity->key_id.len ? &identity->key_id : &identity->method;

        return limit->kind == LINES_LIMIT_TENANT
               ? lines_redis_format(r->pool, key, "%V:%V", &limit->id, &value)
               : lines_redis_format(r->pool, key, "%V:%V:%V", &limit->id,
                                    &value, whose);
    }

    if (limit->kind == LINES_LIMIT_IP) {
        value = r->connection->addr_text;

    } else if (lines_try_value(r, limit->variable, wait, &value, late)
               != NGX_OK
               || value.len == 0
               || lines_sha256_hex(&value, hex) != NGX_OK)
    {
        return NGX_DECLINED;

    } else {
        value.data = hex;
        value.len = sizeof(hex);
    }

    return lines_redis_format(r->pool, key, "%V:%V", &limit->id, &value);
}


/* NULL: it does not concern this request, or was checked already */

static lines_limit_result_t *
limit_add(lines_ctx_t *ctx, lines_limit_t *limit, ngx_uint_t wait)
{
    ngx_str_t              key;
    ngx_uint_t             known, late;
    lines_limit_state_t   *state;
    lines_limit_result_t  *result;

    state = ctx->limit;
    result = state->results;

    while (result < state->results + state->nresults
           && result->limit != limit)
    {
        result++;
    }

    known = (result < state->results + state->nresults);

    /*
     * Whoever else it became on the way is counted as well; a variable that
     * differs by now without that has another reason.
     */

    if (known
        && !(limit->kind & LINES_LIMIT_IDENTITY)
        && (!result->late
            || (lines_same(&result->tenant, &ctx->identity.tenant)
                && lines_same(&result->user, &ctx->identity.user))))
    {
        return NULL;
    }

    if (limit_key(ctx, limit, wait, &key, &late) != NGX_OK
        || (known && lines_same(&result->key, &key)))
    {
        return NULL;
    }

    if (!known) {
        state->nresults++;
    }

    *result = (lines_limit_result_t) {
        .ctx = ctx,
        .limit = limit,
        .key = key,
        .tenant = ctx->identity.tenant,
        .user = ctx->identity.user,
        .late = late,
        .rate = limit->rate,
        .by = LINES_LIMIT_PENDING
    };

    return result;
}


/* who left has what was asked for him answered to nobody */

static void
limit_leave(void *data)
{
    lines_limit_state_t *state = data;

    ngx_uint_t  i;

    for (i = 0; i < state->nresults; i++) {
        if (state->results[i].asking) {
            lines_lease_unasked(&state->results[i].key);
        }
    }
}


/*
 * Checks what was not checked before: a request counts once, however often it
 * is redirected internally.
 */

static ngx_int_t
limit_check(lines_ctx_t *ctx, ngx_uint_t kinds, ngx_uint_t wait)
{
    size_t                 size;
    ngx_uint_t             i;
    ngx_array_t           *limits;
    lines_limit_t        **p;
    lines_main_conf_t     *lmcf;
    ngx_pool_cleanup_t    *cln;
    lines_limit_state_t   *state;
    lines_limit_result_t  *result;

    if (ctx->limit == NULL) {
        lmcf = lines_get_main_conf(ctx->request);

        /* no more results than there are limits: they are pointed at */

        size = sizeof(lines_limit_state_t)
               + lmcf->limits->nelts * sizeof(lines_limit_result_t);

        cln = ngx_pool_cleanup_add(ctx->request->pool, size);
        if (cln == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(cln->data, size);

        cln->handler = limit_leave;
        ctx->limit = cln->data;
    }

    state = ctx->limit;

    if (state->pending) {
        return NGX_AGAIN;
    }

    if (state->rejected || ctx->crowded) {

        /* what shows the rejection is not rejected as well */

        return NGX_OK;
    }

    limits = lines_get_loc_conf(ctx->request)->limits;
    p = limits->elts;

    for (i = 0; i < limits->nelts; i++) {

        result = (p[i]->kind & kinds) ? limit_add(ctx, p[i], wait) : NULL;

        if (result && limit_ask(result) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    return limit_conclude(ctx);
}


static ngx_int_t
limit_phase(ngx_http_request_t *r, ngx_uint_t kinds)
{
    ngx_int_t          rc;
    lines_ctx_t       *ctx;
    lines_loc_conf_t  *llcf;

    llcf = lines_get_loc_conf(r);

    if (llcf->limits == NULL || r != r->main) {
        return NGX_DECLINED;
    }

    ctx = lines_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    /* an API authenticates by itself, in a step */

    rc = limit_check(ctx, kinds, kinds == LINES_LIMIT_EARLY || llcf->api);

    return rc == NGX_OK ? NGX_DECLINED
           : rc == NGX_AGAIN ? lines_phase_wait(r, ctx)
           : rc == NGX_DONE ? lines_phase_done(r, ctx, rc)
           : rc;
}


static ngx_int_t
limit_preaccess(ngx_http_request_t *r)
{
    return limit_phase(r, LINES_LIMIT_EARLY);
}


static ngx_int_t
limit_precontent(ngx_http_request_t *r)
{
    return limit_phase(r, LINES_LIMIT_LATE);
}


ngx_int_t
lines_limit_init(ngx_conf_t *cf, lines_main_conf_t *lmcf)
{
    return lmcf->limits == NULL
           || (lines_add_handler(cf, NGX_HTTP_PREACCESS_PHASE, limit_preaccess,
                                 NULL)
               == NGX_OK
               && lines_add_handler(cf, NGX_HTTP_PRECONTENT_PHASE,
                                    limit_precontent, NULL)
                  == NGX_OK)
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
lines_limit_identity(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t  rc;

    /* first, so that who is refused by it takes no token */

    rc = lines_concurrency_take(r, ctx);

    return rc == NGX_OK && lines_get_loc_conf(r)->limits
           ? limit_check(ctx, LINES_LIMIT_LATE, 0)
           : rc;
}
