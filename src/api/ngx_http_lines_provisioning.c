
/*
 * POST lines/provision-preview: may the account buy a line now, and a token
 * for it.  GET lines: those that it bought.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_limit.h"
#include "ngx_http_lines_account.h"
#include "ngx_http_lines_inventory.h"
#include "ngx_http_lines_listing.h"
#include "ngx_lines_preview_token.h"
#include "ngx_lines_scripts.h"


#define NGX_HTTP_LINES_ACCOUNT_PAGE  50


static ngx_int_t ngx_http_lines_preview_read(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_preview_counted(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_preview_check_plan(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_preview_check_limits(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_preview_check_window(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_window_t *window,
    const char *error, const char *period);
static ngx_int_t ngx_http_lines_preview_check_inventory(
    ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_preview_issue(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_preview_issued(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_account_windows(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_account_window(ngx_http_request_t *r,
    redisReply *reply, ngx_uint_t i, ngx_http_lines_window_t *window);
static ngx_int_t ngx_http_lines_account_list(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_account_listed(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);


ngx_http_lines_step_pt  ngx_http_lines_preview_steps[] = {
    ngx_http_lines_authenticate_account,       /* 401 */
    ngx_http_lines_limit_identity,             /* 429 */
    ngx_http_lines_discard_body,
    ngx_http_lines_preview_read,
    ngx_http_lines_preview_check_plan,         /* 403 */
    ngx_http_lines_preview_check_limits,       /* 429 */
    ngx_http_lines_preview_check_inventory,    /* 503 */
    ngx_http_lines_preview_issue,
    NULL
};


ngx_http_lines_step_pt  ngx_http_lines_account_lines_steps[] = {
    ngx_http_lines_authenticate_account,       /* 401 */
    ngx_http_lines_limit_identity,             /* 429 */
    ngx_http_lines_discard_body,
    ngx_http_lines_account_list,               /* 400 */
    ngx_http_lines_listing_members,
    ngx_http_lines_listing_documents,
    ngx_http_lines_listing_more,
    ngx_http_lines_account_listed,
    NULL
};


static ngx_int_t
ngx_http_lines_preview_read(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t  rc;
    ngx_str_t  args[4];

    rc = ngx_http_lines_account_read_windows(r, ctx);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    args[0] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_FREE];
    args[1] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_LEASED];
    args[2] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_ASSIGNED];
    args[3] = ngx_http_lines_inventory[NGX_HTTP_LINES_INV_QUARANTINED];

    return ngx_http_lines_eval(r, ctx, &ngx_lines_script_inv_count, 4, 4,
                               args, ngx_http_lines_preview_counted);
}


static ngx_int_t
ngx_http_lines_preview_counted(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_http_lines_account_state_t  *state;

    state = ctx->data;

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0
        && reply->element[0]->type == REDIS_REPLY_INTEGER
        && reply->element[0]->integer > 0)
    {
        state->free = reply->element[0]->integer;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_preview_check_plan(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_http_lines_account_state_t  *state;

    state = ctx->data;

    return state->plan ? NGX_OK : ngx_http_lines_account_plan_error(r, ctx);
}


static ngx_int_t
ngx_http_lines_preview_check_limits(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t                        rc;
    ngx_http_lines_account_state_t  *state;

    state = ctx->data;

    rc = ngx_http_lines_preview_check_window(r, ctx, &state->day,
                                             "daily_limit_reached", "day");
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_lines_preview_check_window(r, ctx, &state->month,
                                               "monthly_limit_reached",
                                               "month");
}


static ngx_int_t
ngx_http_lines_preview_check_window(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_window_t *window,
    const char *error, const char *period)
{
    if (!window->full) {
        return NGX_OK;
    }

    if (window->retry_after.len
        && ngx_http_lines_add_header(r, "Retry-After", &window->retry_after)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_answer_format(r, ctx, NGX_HTTP_TOO_MANY_REQUESTS,
               "{\"status\":\"ERROR\",\"error\":\"%s\",\"message\":\"Maximum "
               "%V lines can be added per %s via API\"}",
               error, &window->limit, period);
}


static ngx_int_t
ngx_http_lines_preview_check_inventory(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_http_lines_account_state_t  *state;

    state = ctx->data;

    if (state->free) {
        return NGX_OK;
    }

    if (ngx_http_lines_retry_after(r, 60) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_lines_error(r, ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                "no_lines_available", NGX_HTTP_LINES_NO_LINES);
}


static ngx_int_t
ngx_http_lines_preview_issue(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    u_char                           hash[64];
    ngx_str_t                        args[2], account, token;
    ngx_http_lines_account_state_t  *state;

    state = ctx->data;

    account = ngx_http_lines_account_id(ctx);

    token.len = NGX_LINES_PREVIEW_TOKEN_LEN;
    token.data = ngx_pnalloc(r->pool, token.len);

    if (token.data == NULL
        || ngx_lines_preview_token(&account, token.data) != NGX_OK
        || ngx_lines_preview_token_hash(&token, hash) != NGX_OK)
    {
        return NGX_ERROR;
    }

    state->token = token.data;

    if (ngx_lines_redis_format(r->pool, &args[0], "lines:{%V}:tok:%*s",
                               &ctx->identity.tenant, sizeof(hash), hash)
        != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[1], "%M",
                                  state->plan->preview_ttl)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_eval(r, ctx, &ngx_lines_script_preview_issue, 1, 2,
                               args, ngx_http_lines_preview_issued);
}


static ngx_int_t
ngx_http_lines_preview_issued(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t                        expires, period;
    ngx_uint_t                       seconds;
    ngx_http_lines_account_state_t  *state;

    state = ctx->data;

    if (reply->type != REDIS_REPLY_STRING) {
        return NGX_ERROR;
    }

    expires.data = (u_char *) reply->str;
    expires.len = reply->len;

    seconds = state->plan->preview_ttl / 1000;

    if (seconds % 60 == 0) {
        if (ngx_lines_redis_format(r->pool, &period, "%ui minute%s",
                                   seconds / 60, seconds == 60 ? "" : "s")
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else if (ngx_lines_redis_format(r->pool, &period, "%ui second%s",
                                      seconds, seconds == 1 ? "" : "s")
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_answer_format(r, ctx, NGX_HTTP_OK,
               "{\"status\":\"OK\",\"preview_token\":\"%*s\","
               "\"expires_at\":\"%V\",\"message\":\"Call the confirm endpoint "
               "with this token within %V to complete the purchase.\"}",
               (size_t) NGX_LINES_PREVIEW_TOKEN_LEN, state->token, &expires,
               &period);
}


ngx_int_t
ngx_http_lines_account_read_windows(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_str_t                       *args;
    ngx_uint_t                       i, n;
    ngx_http_lines_main_conf_t      *lmcf;
    ngx_http_lines_agent_plan_t     *plan;
    ngx_http_lines_account_state_t  *state;

    lmcf = ngx_http_lines_get_main_conf(r);

    n = lmcf->agent_plans ? lmcf->agent_plans->nelts : 0;
    plan = n ? lmcf->agent_plans->elts : NULL;

    state = ngx_pcalloc(r->pool, sizeof(ngx_http_lines_account_state_t));
    args = ngx_palloc(r->pool, (3 + 3 * n) * sizeof(ngx_str_t));

    if (state == NULL || args == NULL) {
        return NGX_ERROR;
    }

    ctx->data = state;

    if (ngx_lines_redis_format(r->pool, &args[0], "lines:{%V}:t",
                               &ctx->identity.tenant)
        != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[1], "lines:{%V}:win",
                                  &ctx->identity.tenant)
           != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[2], "lines:{%V}:ops",
                                  &ctx->identity.tenant)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        args[3 + 3 * i] = plan[i].name;
        args[4 + 3 * i] = plan[i].daily;
        args[5 + 3 * i] = plan[i].monthly;
    }

    return ngx_http_lines_eval(r, ctx, &ngx_lines_script_window_read, 3,
                               3 + 3 * n, args,
                               ngx_http_lines_account_windows);
}


static ngx_int_t
ngx_http_lines_account_windows(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t                        plan;
    ngx_http_lines_account_state_t  *state;

    state = ctx->data;

    plan = ngx_http_lines_reply_str(reply, 1);

    state->plan = ngx_http_lines_find_agent_plan(
                                     ngx_http_lines_get_main_conf(r), &plan);
    if (state->plan) {
        ctx->identity.plan = state->plan->name;
    }

    if (ngx_http_lines_account_window(r, reply, 2, &state->day) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_lines_account_window(r, reply, 7, &state->month);
}


static ngx_int_t
ngx_http_lines_account_window(ngx_http_request_t *r, redisReply *reply,
    ngx_uint_t i, ngx_http_lines_window_t *window)
{
    window->full = ngx_http_lines_reply_str(reply, i + 2).len != 0;

    return ngx_http_lines_reply_copy(r, reply, i, &window->limit) == NGX_OK
           && ngx_http_lines_reply_copy(r, reply, i + 1, &window->used)
              == NGX_OK
           && ngx_http_lines_reply_copy(r, reply, i + 3,
                                        &window->retry_after)
              == NGX_OK
           && ngx_http_lines_reply_copy(r, reply, i + 4, &window->resets_at)
              == NGX_OK
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_lines_account_list(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_http_lines_listing_t  *listing;

    listing = ngx_http_lines_listing_create(r, ctx, &ctx->identity.tenant,
                                            NGX_HTTP_LINES_ACCOUNT_PAGE, &rc);
    if (listing == NULL) {
        return rc;
    }

    listing->list = "account";

    return ngx_lines_redis_format(r->pool, &listing->key, "lines:{%V}:lines",
                                  &ctx->identity.tenant);
}


static ngx_int_t
ngx_http_lines_account_listed(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    return ngx_http_lines_listing_answer(r, ctx,
                                         "{\"status\":\"OK\",\"lines\":[");
}
