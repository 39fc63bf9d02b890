
/*
 * A request meets its limits: phases, the step, the verdict.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/answer.h"
#include "http/metrics.h"
#include "http/steps.h"
#include "limit/bucket.h"
#include "limit/lease.h"


static ngx_int_t limit_preaccess(ngx_http_request_t *r);
static ngx_int_t limit_precontent(ngx_http_request_t *r);
static ngx_int_t limit_phase(ngx_http_request_t *r, ngx_array_t *limits,
    ngx_uint_t kinds, ngx_uint_t wait);

static ngx_int_t limit_check(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_array_t *limits, ngx_uint_t kinds, ngx_uint_t wait);
static lines_limit_result_t *limit_add(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_limit_state_t *state, lines_limit_t *limit, ngx_uint_t wait);
static ngx_uint_t limit_same(lines_limit_result_t *result,
    lines_identity_t *identity);
static ngx_int_t limit_ask(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_limit_result_t *result);
static ngx_int_t limit_send(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_limit_result_t *result);
static ngx_int_t limit_reply(void *data, lines_gcra_reply_t *reply);
static void limit_alone(ngx_http_request_t *r, lines_limit_result_t *result);
static void limit_settle(lines_limit_result_t *result, ngx_uint_t passed,
    ngx_uint_t local);
static ngx_uint_t limit_refuses(lines_limit_result_t *result);
static ngx_int_t limit_conclude(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_limit_state_t *state);
static ngx_int_t limit_reject(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_limit_result_t *result);


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


ngx_int_t
lines_limit_init(ngx_conf_t *cf, lines_main_conf_t *lmcf)
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

    *h = limit_preaccess;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = limit_precontent;

    return NGX_OK;
}


static ngx_int_t
limit_preaccess(ngx_http_request_t *r)
{
    lines_loc_conf_t  *llcf;

    llcf = lines_get_loc_conf(r);

    if (llcf->limits == NULL) {
        return NGX_DECLINED;
    }

    return limit_phase(r, llcf->limits, LINES_LIMIT_EARLY, 1);
}


static ngx_int_t
limit_precontent(ngx_http_request_t *r)
{
    lines_loc_conf_t  *llcf;

    llcf = lines_get_loc_conf(r);

    if (llcf->limits == NULL) {
        return NGX_DECLINED;
    }

    /* an API authenticates by itself, in a step */

    return limit_phase(r, llcf->limits, LINES_LIMIT_LATE, llcf->api != NULL);
}


static ngx_int_t
limit_phase(ngx_http_request_t *r, ngx_array_t *limits, ngx_uint_t kinds,
    ngx_uint_t wait)
{
    ngx_int_t     rc;
    lines_ctx_t  *ctx;

    if (r != r->main) {
        return NGX_DECLINED;
    }

    ctx = lines_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    rc = limit_check(r, ctx, limits, kinds, wait);

    if (rc == NGX_OK) {
        return NGX_DECLINED;
    }

    if (rc == NGX_AGAIN) {
        return lines_phase_wait(r, ctx);
    }

    if (rc == NGX_DONE) {
        return lines_phase_done(r, ctx);
    }

    return rc;
}


ngx_int_t
lines_limit_identity(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_loc_conf_t  *llcf;

    llcf = lines_get_loc_conf(r);

    if (llcf->limits == NULL) {
        return NGX_OK;
    }

    return limit_check(r, ctx, llcf->limits, LINES_LIMIT_LATE, 0);
}


/*
 * Checks what was not checked before: a request counts once, however often it
 * is redirected internally.
 */

static ngx_int_t
limit_check(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_array_t *limits,
    ngx_uint_t kinds, ngx_uint_t wait)
{
    ngx_int_t              rc;
    ngx_uint_t             i;
    lines_limit_t        **p;
    lines_limit_state_t   *state;
    lines_limit_result_t  *result;

    state = ctx->limit;

    if (state == NULL) {
        state = ngx_pcalloc(r->pool, sizeof(lines_limit_state_t));
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

        result = limit_add(r, ctx, state, p[i], wait);

        if (result == NULL) {
            continue;
        }

        rc = limit_ask(r, ctx, result);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    if (state->pending) {
        return NGX_AGAIN;
    }

    return limit_conclude(r, ctx, state);
}


/* NULL: it does not concern this request, or was checked already */

static lines_limit_result_t *
limit_add(ngx_http_request_t *r, lines_ctx_t *ctx, lines_limit_state_t *state,
    lines_limit_t *limit, ngx_uint_t wait)
{
    ngx_str_t              key;
    ngx_uint_t             i, late;
    lines_main_conf_t     *lmcf;
    lines_limit_result_t  *result;

    for (i = 0; i < state->nresults; i++) {
        if (state->results[i].limit == limit) {
            break;
        }
    }

    /* whoever else it became on the way is counted as well */

    if (i < state->nresults
        && !(limit->kind & LINES_LIMIT_IDENTITY)
        && (!state->results[i].late
            || limit_same(&state->results[i], &ctx->identity)))
    {
        return NULL;
    }

    if (lines_limit_key(r, ctx, limit, wait, &key, &late) != NGX_OK)
    {
        return NULL;
    }

    if (i < state->nresults
        && state->results[i].key.len == key.len
        && ngx_strncmp(state->results[i].key.data, key.data, key.len) == 0)
    {
        return NULL;
    }

    lmcf = lines_get_main_conf(r);

    if (state->results == NULL) {

        /* no more than there are: results are pointed at */

        state->results = ngx_palloc(r->pool,
                                    lmcf->limits->nelts
                                    * sizeof(lines_limit_result_t));
        if (state->results == NULL) {
            return NULL;
        }
    }

    if (i == state->nresults) {
        state->nresults++;
    }

    result = &state->results[i];
    ngx_memzero(result, sizeof(lines_limit_result_t));

    result->ctx = ctx;
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
limit_same(lines_limit_result_t *result, lines_identity_t *identity)
{
    ngx_str_t  *tenant, *user;

    tenant = &identity->tenant;
    user = &identity->user;

    return result->tenant.len == tenant->len
           && result->user.len == user->len
           && (tenant->len == 0
               || ngx_memcmp(result->tenant.data, tenant->data, tenant->len)
                  == 0)
           && (user->len == 0
               || ngx_memcmp(result->user.data, user->data, user->len) == 0);
}


/* NGX_OK: the result is there; NGX_AGAIN: Redis was asked */

static ngx_int_t
limit_ask(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_limit_result_t *result)
{
    ngx_int_t              rc;
    lines_lease_t          lease;
    lines_main_conf_t     *lmcf;
    lines_lease_verdict_e  verdict;

    if (result->limit->each) {
        return limit_send(r, ctx, result);
    }

    lmcf = lines_get_main_conf(r);

    verdict = lines_lease_take(lmcf, &result->key, &lease);

    rc = (verdict == LINES_LEASE_ASK) ? limit_send(r, ctx, result) : NGX_OK;

    if (lease.renew) {
        lines_limit_renew(lmcf, result->limit, &result->key, lease.renew);
    }

    if (verdict == LINES_LEASE_ASK) {
        return rc;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines limit: %V leased %d, remaining %ui",
                   &result->limit->id, (int) verdict, lease.remaining);

    result->known = 1;
    result->rate = lease.rate;
    result->remaining = lease.remaining;
    result->retry = lease.retry;
    result->took = (verdict == LINES_LEASE_PASSED);

    limit_settle(result, result->took, 0);

    return NGX_OK;
}


static ngx_int_t
limit_send(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_limit_result_t *result)
{
    ngx_int_t             rc;
    lines_gcra_args_t     args;
    lines_limit_state_t  *state;

    lines_limit_args(result->limit, &result->key, 1, 0, &args);

    rc = lines_try_gcra(&ctx->caller, &args, limit_reply, result);

    if (rc == NGX_AGAIN) {
        state = ctx->limit;
        state->pending++;
        result->pending = 1;
        return NGX_AGAIN;
    }

    if (rc == NGX_DECLINED) {
        limit_alone(r, result);
        return NGX_OK;
    }

    return NGX_ERROR;
}


static ngx_int_t
limit_reply(void *data, lines_gcra_reply_t *reply)
{
    lines_limit_result_t *result = data;

    lines_ctx_t          *ctx;
    lines_gcra_t          gcra;
    ngx_http_request_t   *r;
    lines_limit_state_t  *state;

    ctx = result->ctx;
    r = ctx->request;
    state = ctx->limit;

    result->pending = 0;
    state->pending--;

    if (lines_limit_parse(reply, &result->rate, &gcra) != NGX_OK) {
        limit_alone(r, result);

    } else {
        lines_lease_answered(lines_get_main_conf(r), &result->key,
                             &result->rate, &gcra);

        ngx_log_debug4(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "lines limit: %V granted %ui, remaining %ui, retry %M",
                       &result->limit->id, gcra.granted, gcra.remaining,
                       gcra.retry);

        result->known = 1;
        result->remaining = gcra.remaining;
        result->retry = gcra.retry;
        result->took = (gcra.granted > 0);

        limit_settle(result, result->took, 0);
    }

    if (state->pending) {
        return NGX_OK;
    }

    return limit_conclude(r, ctx, state);
}


/* Redis is away, or did not answer in time: the token may be gone there */

static void
limit_alone(ngx_http_request_t *r, lines_limit_result_t *result)
{
    lines_gcra_t        gcra;
    lines_limit_t      *limit;
    lines_main_conf_t  *lmcf;

    limit = result->limit;
    lmcf = lines_get_main_conf(r);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines limit: %V without Redis, fail:%ui", &limit->id,
                   limit->fail);

    switch (limit->fail) {

    case LINES_FAIL_OPEN:
        result->outcome = LINES_LIMIT_OPEN_PASSED;
        break;

    case LINES_FAIL_CLOSED:
        result->outcome = limit->dry_run
                          ? LINES_LIMIT_DRY_UNAVAILABLE
                          : LINES_LIMIT_UNAVAILABLE;
        result->retry = 1000;
        break;

    default:  /* LINES_FAIL_LOCAL */
        lines_lease_local(lmcf, &result->key, &result->rate, &gcra);

        result->known = 1;
        result->remaining = gcra.remaining;
        result->retry = gcra.retry;
        result->took_local = (gcra.granted > 0);

        limit_settle(result, result->took_local, 1);
        return;
    }

    lines_metrics_limit(limit->index, result->outcome);
}


static void
limit_settle(lines_limit_result_t *result, ngx_uint_t passed, ngx_uint_t local)
{
    ngx_uint_t  outcome;

    if (passed) {
        outcome = LINES_LIMIT_PASSED;

    } else if (result->limit->dry_run) {
        outcome = LINES_LIMIT_DRY_REJECTED;

    } else {
        outcome = LINES_LIMIT_REJECTED;
    }

    if (local) {
        outcome += LINES_LIMIT_LOCAL_PASSED;
    }

    result->outcome = outcome;
    result->reset = passed
                    ? lines_gcra_full(&result->rate, result->remaining)
                    : result->retry;

    lines_metrics_limit(result->limit->index, outcome);
}


static ngx_uint_t
limit_refuses(lines_limit_result_t *result)
{
    return result->outcome == LINES_LIMIT_REJECTED
           || result->outcome == LINES_LIMIT_LOCAL_REJECTED
           || result->outcome == LINES_LIMIT_UNAVAILABLE;
}


/* NGX_OK, or NGX_DONE: the request ends with ctx->rc */

static ngx_int_t
limit_conclude(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_limit_state_t *state)
{
    ngx_uint_t             i;
    lines_main_conf_t     *lmcf;
    lines_limit_result_t  *result;

    for (i = 0; i < state->nresults; i++) {
        result = &state->results[i];

        if (limit_refuses(result)
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

    lmcf = lines_get_main_conf(r);

    for (i = 0; i < state->nresults; i++) {
        result = &state->results[i];

        if (result->took) {
            result->took = 0;
            result->remaining++;

            lines_limit_give(&result->key, 1, result->rate.interval);

        } else if (result->took_local) {
            result->took_local = 0;
            result->remaining++;

            lines_lease_local_give(lmcf, &result->key, &result->rate);
        }
    }

    return limit_reject(r, ctx, state->rejected);
}


static ngx_int_t
limit_reject(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_limit_result_t *result)
{
    ngx_uint_t         status;
    lines_api_t       *dialect;
    lines_loc_conf_t  *llcf;

    llcf = lines_get_loc_conf(r);

    status = (result->outcome == LINES_LIMIT_UNAVAILABLE)
             ? NGX_HTTP_SERVICE_UNAVAILABLE
             : result->limit->status;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "lines: limit \"%V\": %V", &result->limit->id,
                  &lines_limit_outcomes[result->outcome]);

    dialect = llcf->api ? llcf->api : llcf->dialect;

    /* Retry-After and the others come from the header filter */

    if (dialect == NULL || lines_has_error_page(r, status)) {
        ctx->rc = status;
        return NGX_DONE;
    }

    ctx->api = dialect;

    if (status == NGX_HTTP_SERVICE_UNAVAILABLE) {
        return lines_error(r, ctx, status, NULL,
                           "Service temporarily unavailable");
    }

    return lines_error(r, ctx, status, "rate_limited", "Too many requests");
}
