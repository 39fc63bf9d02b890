
/*
 * What is shown of limits: $lines_limit_status and $lines_limit_remaining, of
 * the one that rejected the request, else of the one that has least left, and
 * RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers, since
 * its revision 09) on every answer that met a limit, whoever wrote it:
 *
 *     RateLimit-Policy: "tenant";q=100;w=2
 *     RateLimit: "tenant";r=37;t=2
 *
 * q is the full bucket and w the seconds in which it fills; r is what is left,
 * and t the seconds until it is full again or, after a rejection, until the
 * next request may pass, as in Retry-After.
 */

#include "http/headers.h"
#include "http/variables.h"
#include "limit/limit.h"


#define LINES_LIMIT_ITEM                      \
    (LINES_LIMIT_NAME_MAX + 2 * NGX_INT_T_LEN \
     + sizeof(", \"\";q=;w=") - 1)


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/* the result that says most: the rejection, else the scarcest; or NULL */

static lines_limit_result_t *
limit_worst(lines_limit_state_t *state)
{
    ngx_uint_t             i;
    lines_limit_result_t  *worst, *result;

    worst = state->rejected;

    for (i = 0; i < state->nresults && state->rejected == NULL; i++) {
        result = &state->results[i];

        if (result->by == LINES_LIMIT_PENDING) {
            continue;
        }

        if (lines_limit_known(result)
            && result->verdict == LINES_LIMIT_DRY_REJECTED)
        {
            return result;
        }

        if (worst == NULL
            || (lines_limit_known(result)
                && (!lines_limit_known(worst)
                    || result->remaining < worst->remaining)))
        {
            worst = result;
        }
    }

    return worst;
}


static ngx_int_t
limit_add_x_headers(ngx_http_request_t *r, lines_limit_result_t *result)
{
    ngx_str_t   value;
    ngx_uint_t  i;

    const struct {
        const char  *name;
        ngx_uint_t   n;
    } headers[] = {
        { "X-RateLimit-Limit", result->rate.burst },
        { "X-RateLimit-Remaining", result->remaining },
        { "X-RateLimit-Reset", lines_seconds(result->reset) }
    };

    for (i = 0; i < 3; i++) {
        if (lines_redis_format(r->pool, &value, "%ui", headers[i].n) != NGX_OK
            || lines_add_header(r, headers[i].name, &value) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
limit_add_headers(ngx_http_request_t *r, lines_limit_state_t *state)
{
    u_char                *p, *q;
    ngx_str_t              policy, limit;
    ngx_uint_t             i;
    lines_limit_result_t  *result, *worst;

    p = ngx_pnalloc(r->pool, state->nresults * LINES_LIMIT_ITEM);
    q = ngx_pnalloc(r->pool, state->nresults * LINES_LIMIT_ITEM);

    if (p == NULL || q == NULL) {
        return NGX_ERROR;
    }

    policy.data = p;
    limit.data = q;

    for (i = 0; i < state->nresults; i++) {
        result = &state->results[i];

        if (result->limit->dry_run || result->by == LINES_LIMIT_PENDING) {
            continue;
        }

        p = ngx_sprintf(p, "%s\"%V\";q=%ui;w=%ui",
                        (p == policy.data) ? "" : ", ", &result->limit->name,
                        result->rate.burst, lines_rate_window(&result->rate));

        if (lines_limit_known(result)) {
            q = ngx_sprintf(q, "%s\"%V\";r=%ui;t=%ui",
                            (q == limit.data) ? "" : ", ",
                            &result->limit->name, result->remaining,
                            (ngx_uint_t) lines_seconds(result->reset));
        }
    }

    policy.len = p - policy.data;
    limit.len = q - limit.data;

    if ((policy.len
         && lines_add_header(r, "RateLimit-Policy", &policy) != NGX_OK)
        || (limit.len && lines_add_header(r, "RateLimit", &limit) != NGX_OK)
        || (state->rejected
            && lines_retry_after(r, lines_seconds(state->rejected->retry))
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    worst = limit_worst(state);

    return worst
           && lines_limit_known(worst)
           && worst->limit->x_headers
           && !worst->limit->dry_run
           ? limit_add_x_headers(r, worst)
           : NGX_OK;
}


static ngx_int_t
limit_header_filter(ngx_http_request_t *r)
{
    lines_ctx_t          *ctx;
    lines_limit_state_t  *state;

    ctx = (r == r->main) ? lines_find_ctx(r) : NULL;
    state = ctx ? ctx->limit : NULL;

    if (state && state->nresults && limit_add_headers(r, state) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


void
lines_limit_filter_init(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = limit_header_filter;
}


static ngx_int_t
limit_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t remaining)
{
    ngx_str_t              value;
    lines_ctx_t           *ctx;
    lines_limit_result_t  *result;

    ctx = lines_find_ctx(r->main);
    result = (ctx && ctx->limit) ? limit_worst(ctx->limit) : NULL;

    if (result == NULL || (remaining && !lines_limit_known(result))) {
        return lines_variable_str(v, NULL);
    }

    if (!remaining) {
        return lines_variable_str(v, &lines_limit_outcomes[
                                                 lines_limit_outcome(result)]);
    }

    if (lines_redis_format(r->pool, &value, "%ui", result->remaining)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_variable_str(v, &value);
}


static ngx_http_variable_t  limit_variables[] = {

    { ngx_string("lines_limit_status"), NULL, limit_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_limit_remaining"), NULL, limit_variable, 1,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
lines_limit_add_variables(ngx_conf_t *cf)
{
    return lines_add_variables(cf, limit_variables);
}
