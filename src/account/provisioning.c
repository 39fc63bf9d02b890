
/*
 * POST lines/provision-preview: may the account buy a line now, and a token
 * for it.  GET lines: those that it bought.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "account/account.h"
#include "account/preview_token.h"
#include "account/routes.h"
#include "api/listing.h"
#include "limit/limit.h"
#include "store/calls.h"


#define LINES_ACCOUNT_PAGE  50


static ngx_int_t preview_read(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t preview_check_plan(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t preview_check_limits(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t preview_check_window(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_window_t *window, const char *error, const char *period);
static ngx_int_t preview_check_inventory(ngx_http_request_t *r,
    lines_ctx_t *ctx);
static ngx_int_t preview_issue(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t preview_issued(void *data,
    lines_preview_issue_reply_t *reply);
static ngx_int_t account_windows(void *data, lines_window_read_reply_t *reply);
static ngx_int_t account_list(ngx_http_request_t *r, lines_ctx_t *ctx);


lines_step_pt  lines_preview_steps[] = {
    preview_read,
    preview_check_plan,            /* 403 */
    preview_check_limits,          /* 429 */
    preview_check_inventory,       /* 503 */
    preview_issue,
    NULL
};


lines_step_pt  lines_account_lines_steps[] = {
    account_list,                     /* 400 */
    lines_listing_run,
    NULL
};


static ngx_int_t
preview_read(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t               rc;
    lines_account_state_t  *state;

    rc = lines_account_read_windows(r, ctx);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    state = ctx->data;

    return lines_keep_inv_count(&ctx->caller, &state->numbers);
}


static ngx_int_t
preview_check_plan(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_account_state_t  *state;

    state = ctx->data;

    return state->plan ? NGX_OK : lines_account_plan_error(r, ctx);
}


static ngx_int_t
preview_check_limits(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t               rc;
    lines_account_state_t  *state;

    state = ctx->data;

    rc = preview_check_window(r, ctx, &state->day, "daily_limit_reached",
                              "day");
    if (rc != NGX_OK) {
        return rc;
    }

    return preview_check_window(r, ctx, &state->month, "monthly_limit_reached",
                                "month");
}


static ngx_int_t
preview_check_window(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_window_t *window, const char *error, const char *period)
{
    if (!window->full) {
        return NGX_OK;
    }

    if (window->retry_after.len
        && lines_add_header(r, "Retry-After", &window->retry_after) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_answer_format(r, ctx, NGX_HTTP_TOO_MANY_REQUESTS,
                "{\"status\":\"ERROR\",\"error\":\"%s\",\"message\":\"Maximum "
                "%V lines can be added per %s via API\"}", error,
                &window->limit, period);
}


static ngx_int_t
preview_check_inventory(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_account_state_t  *state;

    state = ctx->data;

    if (state->numbers.free > 0) {
        return NGX_OK;
    }

    if (lines_retry_after(r, 60) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_error(r, ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                       "no_lines_available", LINES_NO_LINES);
}


static ngx_int_t
preview_issue(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    u_char                  hash[64];
    ngx_str_t               account;
    lines_account_state_t  *state;

    state = ctx->data;

    account = lines_account_id(ctx);

    state->token.len = LINES_PREVIEW_TOKEN_LEN;
    state->token.data = ngx_pnalloc(r->pool, LINES_PREVIEW_TOKEN_LEN);

    if (state->token.data == NULL
        || lines_preview_token(&account, state->token.data) != NGX_OK
        || lines_preview_token_hash(&state->token, hash) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_preview_issue(&ctx->caller, preview_issued, ctx,
                               .tenant = ctx->identity.tenant,
                               .hash.data = hash, .hash.len = sizeof(hash),
                               .ttl = state->plan->preview_ttl);
}


static ngx_int_t
preview_issued(void *data, lines_preview_issue_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ngx_str_t               period;
    ngx_uint_t              seconds;
    ngx_http_request_t     *r;
    lines_account_state_t  *state;

    state = ctx->data;
    r = ctx->request;

    seconds = state->plan->preview_ttl / 1000;

    if (seconds % 60 == 0) {
        if (lines_redis_format(r->pool, &period, "%ui minute%s", seconds / 60,
                               seconds == 60 ? "" : "s")
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else if (lines_redis_format(r->pool, &period, "%ui second%s",
                                      seconds, seconds == 1 ? "" : "s")
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_answer_format(r, ctx, NGX_HTTP_OK,
               "{\"status\":\"OK\",\"preview_token\":\"%V\","
               "\"expires_at\":\"%V\",\"message\":\"Call the confirm endpoint "
               "with this token within %V to complete the purchase.\"}",
               &state->token, &reply->expires, &period);
}


ngx_int_t
lines_account_read_windows(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t           *elts;
    ngx_uint_t           i, n;
    lines_main_conf_t   *lmcf;
    lines_agent_plan_t  *plan;

    lmcf = lines_get_main_conf(r);

    n = lmcf->agent_plans ? lmcf->agent_plans->nelts : 0;
    plan = n ? lmcf->agent_plans->elts : NULL;

    ctx->data = ngx_pcalloc(r->pool, sizeof(lines_account_state_t));
    elts = ngx_palloc(r->pool, 3 * n * sizeof(ngx_str_t));

    if (ctx->data == NULL || elts == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        elts[3 * i] = plan[i].name;
        elts[3 * i + 1] = plan[i].daily;
        elts[3 * i + 2] = plan[i].monthly;
    }

    return lines_window_read(&ctx->caller, account_windows, ctx,
                             .tenant = ctx->identity.tenant, .plans.n = 3 * n,
                             .plans.elts = elts);
}


static ngx_int_t
account_windows(void *data, lines_window_read_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_account_state_t  *state;

    state = ctx->data;

    state->plan = lines_find_agent_plan(lines_get_main_conf(ctx->request),
                                        &reply->plan);
    if (state->plan) {
        ctx->identity.plan = state->plan->name;
    }

    state->day.limit = reply->day_limit;
    state->day.used = reply->day_used;
    state->day.full = reply->day_full;
    state->day.retry_after = reply->day_retry_after;
    state->day.resets_at = reply->day_resets_at;

    state->month.limit = reply->month_limit;
    state->month.used = reply->month_used;
    state->month.full = reply->month_full;
    state->month.retry_after = reply->month_retry_after;
    state->month.resets_at = reply->month_resets_at;

    return NGX_OK;
}


static ngx_int_t
account_list(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_listing_create(r, ctx, &ctx->identity.tenant, "account",
                                "{\"status\":\"OK\",\"lines\":[",
                                LINES_ACCOUNT_PAGE);
}
