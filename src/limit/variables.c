
/*
 * $lines_limit_status and $lines_limit_remaining: of the limit that rejected
 * the request, else of the one that has least left.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/variables.h"
#include "limit/limit.h"


static lines_limit_result_t *limit_shown(ngx_http_request_t *r);
static ngx_int_t limit_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t limit_remaining_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  limit_variables[] = {

    { ngx_string("lines_limit_status"), NULL,
      limit_status_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_limit_remaining"), NULL,
      limit_remaining_variable, 0, NGX_HTTP_VAR_NOCACHEABLE,
      0 },

      ngx_http_null_variable
};


ngx_int_t
lines_limit_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = limit_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
    }

    return NGX_OK;
}


lines_limit_result_t *
lines_limit_worst(lines_limit_state_t *state)
{
    ngx_uint_t             i;
    lines_limit_result_t  *worst, *result;

    if (state->rejected) {
        return state->rejected;
    }

    worst = NULL;

    for (i = 0; i < state->nresults; i++) {
        result = &state->results[i];

        if (result->pending) {
            continue;
        }

        if (result->outcome == LINES_LIMIT_DRY_REJECTED
            || result->outcome == LINES_LIMIT_LOCAL_DRY_REJECTED)
        {
            return result;
        }

        if (worst == NULL
            || (result->known
                && (!worst->known || result->remaining < worst->remaining)))
        {
            worst = result;
        }
    }

    return worst;
}


static lines_limit_result_t *
limit_shown(ngx_http_request_t *r)
{
    lines_ctx_t  *ctx;

    ctx = lines_find_ctx(r->main);

    if (ctx == NULL || ctx->limit == NULL) {
        return NULL;
    }

    return lines_limit_worst(ctx->limit);
}


static ngx_int_t
limit_status_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    lines_limit_result_t  *result;

    result = limit_shown(r);

    return lines_variable_str(v,
                              result
                              ? &lines_limit_outcomes[result->outcome]
                              : NULL);
}


static ngx_int_t
limit_remaining_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t              value;
    lines_limit_result_t  *result;

    result = limit_shown(r);

    if (result == NULL || !result->known) {
        v->not_found = 1;
        return NGX_OK;
    }

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%ui", result->remaining) - value.data;

    return lines_variable_str(v, &value);
}
