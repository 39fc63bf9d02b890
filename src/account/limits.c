
/*
 * GET limits.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "account/account.h"
#include "account/routes.h"
#include "http/answer.h"
#include "limit/limit.h"


static ngx_int_t limits_answer(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t limits_window(ngx_http_request_t *r, lines_window_t *window,
    ngx_uint_t seconds, ngx_str_t *json);


lines_step_pt  lines_limits_steps[] = {
    lines_account_read_windows,
    limits_answer,                    /* 403 */
    NULL
};


static ngx_int_t
limits_answer(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t               day, month;
    lines_account_state_t  *state;

    state = ctx->data;

    /* clients take any "no" here for a plan that cannot provision */

    if (state->plan == NULL) {
        return lines_account_plan_error(r, ctx);
    }

    if (limits_window(r, &state->day, 86400, &day) != NGX_OK
        || limits_window(r, &state->month, 30 * 86400, &month) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_answer_format(r, ctx, NGX_HTTP_OK,
                   "{\"status\":\"OK\",\"limits\":{\"api_provision_daily\":%V,"
                   "\"api_provision_monthly\":%V}}", &day, &month);
}


static ngx_int_t
limits_window(ngx_http_request_t *r, lines_window_t *window,
    ngx_uint_t seconds, ngx_str_t *json)
{
    int64_t    left;
    ngx_int_t  limit;
    ngx_str_t  resets;

    ngx_str_set(&resets, "null");

    if (window->resets_at.len
        && lines_redis_format(r->pool, &resets, "\"%V\"", &window->resets_at)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (window->limit.len == 0) {
        return lines_redis_format(r->pool, json,
                              "{\"limit\":null,\"used\":%L,\"remaining\":null,"
                              "\"window_seconds\":%ui,\"resets_at\":%V}",
                              window->used, seconds, &resets);
    }

    limit = ngx_atoi(window->limit.data, window->limit.len);
    left = limit > window->used ? limit - window->used : 0;

    return lines_redis_format(r->pool, json,
                              "{\"limit\":%i,\"used\":%L,\"remaining\":%L,"
                              "\"window_seconds\":%ui,\"resets_at\":%V}",
                              limit, window->used, left, seconds, &resets);
}
