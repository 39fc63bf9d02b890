
/*
 * A request meets its limits: phases, the step, the verdict.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_limit.h"
#include "ngx_http_lines_lease.h"
#include "ngx_http_lines_phase.h"
#include "ngx_http_lines_metrics.h"
#include "ngx_lines_scripts.h"


static ngx_int_t ngx_http_lines_limit_preaccess(ngx_http_request_t *r);
static ngx_int_t ngx_http_lines_limit_precontent(ngx_http_request_t *r);
static ngx_int_t ngx_http_lines_limit_phase(ngx_http_request_t *r,
    ngx_array_t *limits, ngx_uint_t kinds, ngx_uint_t wait);

static ngx_int_t ngx_http_lines_limit_check(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_array_t *limits, ngx_uint_t kinds,
    ngx_uint_t wait);
static ngx_http_lines_limit_result_t *ngx_http_lines_limit_add(
    ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_limit_state_t *state, ngx_http_lines_limit_t *limit,
    ngx_uint_t wait);
static ngx_uint_t ngx_http_lines_limit_same(
    ngx_http_lines_limit_result_t *result,
    ngx_http_lines_identity_t *identity);
static ngx_int_t ngx_http_lines_limit_ask(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_limit_result_t *result);
static ngx_int_t ngx_http_lines_limit_send(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_limit_result_t *result);
static ngx_int_t ngx_http_lines_limit_reply(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static void ngx_http_lines_limit_alone(ngx_http_request_t *r,
    ngx_http_lines_limit_result_t *result);
static void ngx_http_lines_limit_settle(ngx_http_lines_limit_result_t *result,
    ngx_uint_t passed, ngx_uint_t local);
static ngx_uint_t ngx_http_lines_limit_refuses(
    ngx_http_lines_limit_result_t *result);
static ngx_int_t ngx_http_lines_limit_conclude(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_limit_state_t *state);
static ngx_int_t ngx_http_lines_limit_reject(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_limit_result_t *result);


ngx_str_t  ngx_http_lines_limit_outcomes[] = {
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


ngx_int_t
ngx_http_lines_limit_init(ngx_conf_t *cf, ngx_http_lines_main_conf_t *lmcf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    if (lmcf->limits == NULL) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_lines_limit_preaccess;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_lines_limit_precontent;

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_limit_preaccess(ngx_http_request_t *r)
{
    ngx_http_lines_loc_conf_t  *llcf;

    llcf = ngx_http_lines_get_loc_conf(r);

    if (llcf->limits == NULL) {
        return NGX_DECLINED;
    }

    return ngx_http_lines_limit_phase(r, llcf->limits,
                                      NGX_HTTP_LINES_LIMIT_EARLY, 1);
}


static ngx_int_t
ngx_http_lines_limit_precontent(ngx_http_request_t *r)
{
    ngx_http_lines_loc_conf_t  *llcf;

    llcf = ngx_http_lines_get_loc_conf(r);

    if (llcf->limits == NULL) {
        return NGX_DECLINED;
    }

    /* an API authenticates by itself, in a step */

    return ngx_http_lines_limit_phase(r, llcf->limits,
                                      NGX_HTTP_LINES_LIMIT_LATE,
                                      llcf->api != NULL);
}


static ngx_int_t
ngx_http_lines_limit_phase(ngx_http_request_t *r, ngx_array_t *limits,
    ngx_uint_t kinds, ngx_uint_t wait)
{
    ngx_int_t              rc;
    ngx_http_lines_ctx_t  *ctx;

    if (r != r->main) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_lines_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_lines_limit_check(r, ctx, limits, kinds, wait);

    if (rc == NGX_OK) {
        return NGX_DECLINED;
    }

    if (rc == NGX_AGAIN) {
        return ngx_http_lines_phase_wait(r, ctx);
    }

    if (rc == NGX_DONE) {
        return ngx_http_lines_phase_done(r, ctx);
    }

    return rc;
}


ngx_int_t
ngx_http_lines_limit_identity(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_http_lines_loc_conf_t  *llcf;

    llcf = ngx_http_lines_get_loc_conf(r);

    if (llcf->limits == NULL) {
        return NGX_OK;
    }

    return ngx_http_lines_limit_check(r, ctx, llcf->limits,
                                      NGX_HTTP_LINES_LIMIT_LATE, 0);
}


/*
 * Checks what was not checked before: a request counts once, however often it
 * is redirected internally.
 */

static ngx_int_t
ngx_http_lines_limit_check(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    ngx_array_t *limits, ngx_uint_t kinds, ngx_uint_t wait)
{
    ngx_int_t                        rc;
    ngx_uint_t                       i;
    ngx_http_lines_limit_t         **p;
    ngx_http_lines_limit_state_t    *state;
    ngx_http_lines_limit_result_t   *result;

    state = ctx->limit;

    if (state == NULL) {
        state = ngx_pcalloc(r->pool, sizeof(ngx_http_lines_limit_state_t));
        if (state == NULL) {
            return NGX_ERROR;
        }

        ctx->limit = state;
    }

    if (state->pending) {
        return NGX_AGAIN;
    }

    if (state->rejected) {

        /* what shows the rejection is not rejected as well */

        return NGX_OK;
    }

    p = limits->elts;

    for (i = 0; i < limits->nelts; i++) {

        if (!(p[i]->kind & kinds)) {
            continue;
        }

        result = ngx_http_lines_limit_add(r, ctx, state, p[i], wait);

        if (result == NULL) {
            continue;
        }

        rc = ngx_http_lines_limit_ask(r, ctx, result);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    if (state->pending) {
        return NGX_AGAIN;
    }

    return ngx_http_lines_limit_conclude(r, ctx, state);
}


/* NULL: it does not concern this request, or was checked already */

static ngx_http_lines_limit_result_t *
ngx_http_lines_limit_add(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_limit_state_t *state, ngx_http_lines_limit_t *limit,
    ngx_uint_t wait)
{
    ngx_str_t                       key;
    ngx_uint_t                      i, late;
    ngx_http_lines_main_conf_t     *lmcf;
    ngx_http_lines_limit_result_t  *result;

    for (i = 0; i < state->nresults; i++) {
        if (state->results[i].limit == limit) {
            break;
        }
    }

    /* whoever else it became on the way is counted as well */

    if (i < state->nresults
        && !(limit->kind & NGX_HTTP_LINES_LIMIT_IDENTITY)
        && (!state->results[i].late
            || ngx_http_lines_limit_same(&state->results[i], &ctx->identity)))
    {
        return NULL;
    }

    if (ngx_http_lines_limit_key(r, ctx, limit, wait, &key, &late) != NGX_OK)
    {
        return NULL;
    }

    if (i < state->nresults
        && state->results[i].key.len == key.len
        && ngx_strncmp(state->results[i].key.data, key.data, key.len) == 0)
    {
        return NULL;
    }

    lmcf = ngx_http_lines_get_main_conf(r);

    if (state->results == NULL) {

        /* no more than there are: results are pointed at */

        state->results = ngx_palloc(r->pool, lmcf->limits->nelts
                                     * sizeof(ngx_http_lines_limit_result_t));
        if (state->results == NULL) {
            return NULL;
        }
    }

    if (i == state->nresults) {
        state->nresults++;
    }

    result = &state->results[i];
    ngx_memzero(result, sizeof(ngx_http_lines_limit_result_t));

    result->limit = limit;
    result->key = key;
    result->tenant = ctx->identity.tenant;
    result->user = ctx->identity.user;
    result->rate = limit->rate;
    result->late = (late != 0);

    return result;
}


/* flag: a variable that differs by now has another reason */

static ngx_uint_t
ngx_http_lines_limit_same(ngx_http_lines_limit_result_t *result,
    ngx_http_lines_identity_t *identity)
{
    ngx_str_t  *tenant, *user;

    tenant = &identity->tenant;
    user = &identity->user;

    return result->tenant.len == tenant->len
           && result->user.len == user->len
           && (tenant->len == 0 || ngx_memcmp(result->tenant.data,
                                              tenant->data, tenant->len) == 0)
           && (user->len == 0 || ngx_memcmp(result->user.data, user->data,
                                            user->len) == 0);
}


/* NGX_OK: the result is there; NGX_AGAIN: Redis was asked */

static ngx_int_t
ngx_http_lines_limit_ask(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_limit_result_t *result)
{
    ngx_int_t                        rc;
    ngx_http_lines_lease_t           lease;
    ngx_http_lines_main_conf_t      *lmcf;
    ngx_http_lines_lease_verdict_e   verdict;

    if (result->limit->each) {
        return ngx_http_lines_limit_send(r, ctx, result);
    }

    lmcf = ngx_http_lines_get_main_conf(r);

    verdict = ngx_http_lines_lease_take(lmcf, &result->key, &lease);

    rc = (verdict == NGX_HTTP_LINES_LEASE_ASK)
         ? ngx_http_lines_limit_send(r, ctx, result) : NGX_OK;

    if (lease.renew) {
        ngx_http_lines_limit_renew(lmcf, result->limit, &result->key,
                                   lease.renew);
    }

    if (verdict == NGX_HTTP_LINES_LEASE_ASK) {
        return rc;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines limit: %V leased %d, remaining %ui",
                   &result->limit->id, (int) verdict, lease.remaining);

    result->known = 1;
    result->rate = lease.rate;
    result->remaining = lease.remaining;
    result->retry = lease.retry;
    result->took = (verdict == NGX_HTTP_LINES_LEASE_PASSED);

    ngx_http_lines_limit_settle(result, result->took, 0);

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_limit_send(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_limit_result_t *result)
{
    ngx_int_t                      rc;
    ngx_str_t                     *args;
    ngx_uint_t                     n, nkeys;
    ngx_http_lines_limit_state_t  *state;

    n = ngx_http_lines_limit_args(r->pool, result->limit, &result->key, 1, 0,
                                  &args, &nkeys);
    if (n == 0) {
        return NGX_ERROR;
    }

    rc = ngx_http_lines_try_eval(r, ctx, &ngx_lines_script_gcra, nkeys, n,
                                 args, ngx_http_lines_limit_reply, result);

    if (rc == NGX_AGAIN) {
        state = ctx->limit;
        state->pending++;
        result->pending = 1;
        return NGX_AGAIN;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_lines_limit_alone(r, result);
        return NGX_OK;
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_lines_limit_reply(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    redisReply *reply)
{
    ngx_lines_gcra_t                gcra;
    ngx_http_lines_limit_state_t   *state;
    ngx_http_lines_limit_result_t  *result;

    state = ctx->limit;
    result = ctx->reply_data;

    result->pending = 0;
    state->pending--;

    if (ngx_http_lines_limit_parse(reply, &result->rate, &gcra) != NGX_OK) {
        ngx_http_lines_limit_alone(r, result);

    } else {
        ngx_http_lines_lease_answered(ngx_http_lines_get_main_conf(r),
                                      &result->key, &result->rate, &gcra);

        ngx_log_debug4(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "lines limit: %V granted %ui, remaining %ui, "
                       "retry %M", &result->limit->id, gcra.granted,
                       gcra.remaining, gcra.retry);

        result->known = 1;
        result->remaining = gcra.remaining;
        result->retry = gcra.retry;
        result->took = (gcra.granted > 0);

        ngx_http_lines_limit_settle(result, result->took, 0);
    }

    if (state->pending) {
        return NGX_OK;
    }

    return ngx_http_lines_limit_conclude(r, ctx, state);
}


/* Redis is away, or did not answer in time: the token may be gone there */

static void
ngx_http_lines_limit_alone(ngx_http_request_t *r,
    ngx_http_lines_limit_result_t *result)
{
    ngx_lines_gcra_t             gcra;
    ngx_http_lines_limit_t      *limit;
    ngx_http_lines_main_conf_t  *lmcf;

    limit = result->limit;
    lmcf = ngx_http_lines_get_main_conf(r);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines limit: %V without Redis, fail:%ui", &limit->id,
                   limit->fail);

    switch (limit->fail) {

    case NGX_HTTP_LINES_FAIL_OPEN:
        result->outcome = NGX_HTTP_LINES_LIMIT_OPEN_PASSED;
        break;

    case NGX_HTTP_LINES_FAIL_CLOSED:
        result->outcome = limit->dry_run
                          ? NGX_HTTP_LINES_LIMIT_DRY_UNAVAILABLE
                          : NGX_HTTP_LINES_LIMIT_UNAVAILABLE;
        result->retry = 1000;
        break;

    default: /* NGX_HTTP_LINES_FAIL_LOCAL */
        ngx_http_lines_lease_local(lmcf, &result->key, &result->rate, &gcra);

        result->known = 1;
        result->remaining = gcra.remaining;
        result->retry = gcra.retry;
        result->took_local = (gcra.granted > 0);

        ngx_http_lines_limit_settle(result, result->took_local, 1);
        return;
    }

    ngx_http_lines_metrics_limit(limit->index, result->outcome);
}


static void
ngx_http_lines_limit_settle(ngx_http_lines_limit_result_t *result,
    ngx_uint_t passed, ngx_uint_t local)
{
    ngx_uint_t  outcome;

    if (passed) {
        outcome = NGX_HTTP_LINES_LIMIT_PASSED;

    } else if (result->limit->dry_run) {
        outcome = NGX_HTTP_LINES_LIMIT_DRY_REJECTED;

    } else {
        outcome = NGX_HTTP_LINES_LIMIT_REJECTED;
    }

    if (local) {
        outcome += NGX_HTTP_LINES_LIMIT_LOCAL_PASSED;
    }

    result->outcome = outcome;
    result->reset = passed ? ngx_lines_gcra_full(&result->rate,
                                                 result->remaining)
                           : result->retry;

    ngx_http_lines_metrics_limit(result->limit->index, outcome);
}


static ngx_uint_t
ngx_http_lines_limit_refuses(ngx_http_lines_limit_result_t *result)
{
    return result->outcome == NGX_HTTP_LINES_LIMIT_REJECTED
           || result->outcome == NGX_HTTP_LINES_LIMIT_LOCAL_REJECTED
           || result->outcome == NGX_HTTP_LINES_LIMIT_UNAVAILABLE;
}


/* NGX_OK, or NGX_DONE: the request ends with ctx->rc */

static ngx_int_t
ngx_http_lines_limit_conclude(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_limit_state_t *state)
{
    ngx_uint_t                      i;
    ngx_http_lines_main_conf_t     *lmcf;
    ngx_http_lines_limit_result_t  *result;

    for (i = 0; i < state->nresults; i++) {
        result = &state->results[i];

        if (ngx_http_lines_limit_refuses(result)
            && (state->rejected == NULL
                || result->retry > state->rejected->retry))
        {
            state->rejected = result;
        }
    }

    if (state->rejected == NULL) {
        return NGX_OK;
    }

    /* a request that is rejected takes no token of the other limits */

    lmcf = ngx_http_lines_get_main_conf(r);

    for (i = 0; i < state->nresults; i++) {
        result = &state->results[i];

        if (result->took) {
            result->took = 0;
            result->remaining++;

            (void) ngx_http_lines_limit_give(lmcf, &result->key, 1,
                                             result->rate.interval);

        } else if (result->took_local) {
            result->took_local = 0;
            result->remaining++;

            ngx_http_lines_lease_local_give(lmcf, &result->key, &result->rate);
        }
    }

    return ngx_http_lines_limit_reject(r, ctx, state->rejected);
}


static ngx_int_t
ngx_http_lines_limit_reject(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_limit_result_t *result)
{
    ngx_uint_t                  status;
    ngx_http_lines_api_t       *dialect;
    ngx_http_lines_loc_conf_t  *llcf;

    llcf = ngx_http_lines_get_loc_conf(r);

    status = (result->outcome == NGX_HTTP_LINES_LIMIT_UNAVAILABLE)
             ? NGX_HTTP_SERVICE_UNAVAILABLE
             : result->limit->status;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "lines: limit \"%V\": %V", &result->limit->id,
                  &ngx_http_lines_limit_outcomes[result->outcome]);

    dialect = llcf->api ? llcf->api : llcf->dialect;

    /* Retry-After and the others come from the header filter */

    if (dialect == NULL || ngx_http_lines_has_error_page(r, status)) {
        ctx->rc = status;
        return NGX_DONE;
    }

    ctx->api = dialect;

    if (status == NGX_HTTP_SERVICE_UNAVAILABLE) {
        return ngx_http_lines_error(r, ctx, status, NULL,
                                    "Service temporarily unavailable");
    }

    return ngx_http_lines_error(r, ctx, status, "rate_limited",
                                "Too many requests");
}
