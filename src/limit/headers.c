
/*
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

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/headers.h"
#include "limit/limit.h"


#define LINES_LIMIT_ITEM                      \
    (LINES_LIMIT_NAME_MAX + 2 * NGX_INT_T_LEN \
     + sizeof(", \"\";q=;w=") - 1)


static ngx_int_t limit_header_filter(ngx_http_request_t *r);
static ngx_int_t limit_add_headers(ngx_http_request_t *r,
    lines_limit_state_t *state);
static ngx_int_t limit_add_x_headers(ngx_http_request_t *r,
    lines_limit_result_t *result);
static ngx_int_t limit_add_number(ngx_http_request_t *r, const char *name,
    ngx_uint_t n);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


ngx_int_t
lines_limit_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = limit_header_filter;

    return NGX_OK;
}


static ngx_int_t
limit_header_filter(ngx_http_request_t *r)
{
    lines_ctx_t          *ctx;
    lines_limit_state_t  *state;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    ctx = lines_find_ctx(r);

    if (ctx == NULL || ctx->limit == NULL) {
        return ngx_http_next_header_filter(r);
    }

    state = ctx->limit;

    if (state->nresults && limit_add_headers(r, state) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
limit_add_headers(ngx_http_request_t *r, lines_limit_state_t *state)
{
    u_char                *p, *q;
    ngx_str_t              policy, limit;
    ngx_uint_t             i, any;
    lines_limit_result_t  *result, *worst;

    p = ngx_pnalloc(r->pool, state->nresults * LINES_LIMIT_ITEM);
    q = ngx_pnalloc(r->pool, state->nresults * LINES_LIMIT_ITEM);

    if (p == NULL || q == NULL) {
        return NGX_ERROR;
    }

    policy.data = p;
    limit.data = q;
    any = 0;

    for (i = 0; i < state->nresults; i++) {
        result = &state->results[i];

        if (result->limit->dry_run || result->pending) {
            continue;
        }

        p = ngx_sprintf(p, "%s\"%V\";q=%ui;w=%ui",
                        (p == policy.data) ? "" : ", ", &result->limit->name,
                        result->rate.burst, lines_rate_window(&result->rate));
        any = 1;

        if (!result->known) {
            continue;
        }

        q = ngx_sprintf(q, "%s\"%V\";r=%ui;t=%ui",
                        (q == limit.data) ? "" : ", ", &result->limit->name,
                        result->remaining,
                        (ngx_uint_t) lines_seconds(result->reset));
    }

    policy.len = p - policy.data;
    limit.len = q - limit.data;

    if (any && lines_add_header(r, "RateLimit-Policy", &policy) != NGX_OK) {
        return NGX_ERROR;
    }

    if (limit.len && lines_add_header(r, "RateLimit", &limit) != NGX_OK) {
        return NGX_ERROR;
    }

    if (state->rejected
        && lines_retry_after(r, lines_seconds(state->rejected->retry))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    worst = lines_limit_worst(state);

    if (worst
        && worst->known
        && worst->limit->x_headers
        && !worst->limit->dry_run)
    {
        return limit_add_x_headers(r, worst);
    }

    return NGX_OK;
}


static ngx_int_t
limit_add_x_headers(ngx_http_request_t *r, lines_limit_result_t *result)
{
    if (limit_add_number(r, "X-RateLimit-Limit", result->rate.burst) != NGX_OK
        || limit_add_number(r, "X-RateLimit-Remaining", result->remaining)
           != NGX_OK
        || limit_add_number(r, "X-RateLimit-Reset",
                            lines_seconds(result->reset))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
limit_add_number(ngx_http_request_t *r, const char *name, ngx_uint_t n)
{
    ngx_str_t  value;

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%ui", n) - value.data;

    return lines_add_header(r, name, &value);
}
