
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
#include "operation/inventory.h"
#include "store/scripts.h"


#define LINES_ACCOUNT_PAGE  50


static ngx_int_t preview_read(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t preview_counted(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t preview_check_plan(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t preview_check_limits(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t preview_check_window(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_window_t *window, const char *error, const char *period);
static ngx_int_t preview_check_inventory(ngx_http_request_t *r,
    lines_ctx_t *ctx);
static ngx_int_t preview_issue(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t preview_issued(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t account_windows(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t account_window(ngx_http_request_t *r, redisReply *reply,
    ngx_uint_t i, lines_window_t *window);
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
    lines_listing_members,
    lines_listing_documents,
    lines_listing_more,
    lines_listing_answer,
    NULL
};


static ngx_int_t
preview_read(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t  rc;
    ngx_str_t  args[4];

    rc = lines_account_read_windows(r, ctx);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    args[0] = lines_inventory[LINES_INV_FREE];
    args[1] = lines_inventory[LINES_INV_LEASED];
    args[2] = lines_inventory[LINES_INV_ASSIGNED];
    args[3] = lines_inventory[LINES_INV_QUARANTINED];

    return lines_eval(r, ctx, &lines_script_inv_count, 4, 4, args,
                      preview_counted);
}


static ngx_int_t
preview_counted(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    lines_account_state_t  *state;

    state = ctx->data;

    if (reply->type == REDIS_REPLY_ARRAY
        && reply->elements > 0
        && reply->element[0]->type == REDIS_REPLY_INTEGER
        && reply->element[0]->integer > 0)
    {
        state->free = reply->element[0]->integer;
    }

    return NGX_OK;
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

    if (state->free) {
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
    ngx_str_t               args[2], account, token;
    lines_account_state_t  *state;

    state = ctx->data;

    account = lines_account_id(ctx);

    token.len = LINES_PREVIEW_TOKEN_LEN;
    token.data = ngx_pnalloc(r->pool, token.len);

    if (token.data == NULL
        || lines_preview_token(&account, token.data) != NGX_OK
        || lines_preview_token_hash(&token, hash) != NGX_OK)
    {
        return NGX_ERROR;
    }

    state->token = token.data;

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:tok:%*s",
                           &ctx->identity.tenant, sizeof(hash), hash)
        != NGX_OK
        || lines_redis_format(r->pool, &args[1], "%M",
                              state->plan->preview_ttl)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_eval(r, ctx, &lines_script_preview_issue, 1, 2, args,
                      preview_issued);
}


static ngx_int_t
preview_issued(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t               expires, period;
    ngx_uint_t              seconds;
    lines_account_state_t  *state;

    state = ctx->data;

    if (reply->type != REDIS_REPLY_STRING) {
        return NGX_ERROR;
    }

    expires.data = (u_char *) reply->str;
    expires.len = reply->len;

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
               "{\"status\":\"OK\",\"preview_token\":\"%*s\","
               "\"expires_at\":\"%V\",\"message\":\"Call the confirm endpoint "
               "with this token within %V to complete the purchase.\"}",
               (size_t) LINES_PREVIEW_TOKEN_LEN, state->token, &expires,
               &period);
}


ngx_int_t
lines_account_read_windows(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t              *args;
    ngx_uint_t              i, n;
    lines_main_conf_t      *lmcf;
    lines_agent_plan_t     *plan;
    lines_account_state_t  *state;

    lmcf = lines_get_main_conf(r);

    n = lmcf->agent_plans ? lmcf->agent_plans->nelts : 0;
    plan = n ? lmcf->agent_plans->elts : NULL;

    state = ngx_pcalloc(r->pool, sizeof(lines_account_state_t));
    args = ngx_palloc(r->pool, (3 + 3 * n) * sizeof(ngx_str_t));

    if (state == NULL || args == NULL) {
        return NGX_ERROR;
    }

    ctx->data = state;

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:t",
                           &ctx->identity.tenant)
        != NGX_OK
        || lines_redis_format(r->pool, &args[1], "lines:{%V}:win",
                              &ctx->identity.tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[2], "lines:{%V}:ops",
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

    return lines_eval(r, ctx, &lines_script_window_read, 3, 3 + 3 * n, args,
                      account_windows);
}


static ngx_int_t
account_windows(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t               plan;
    lines_account_state_t  *state;

    state = ctx->data;

    plan = lines_reply_str(reply, 1);

    state->plan = lines_find_agent_plan(lines_get_main_conf(r), &plan);
    if (state->plan) {
        ctx->identity.plan = state->plan->name;
    }

    if (account_window(r, reply, 2, &state->day) != NGX_OK) {
        return NGX_ERROR;
    }

    return account_window(r, reply, 7, &state->month);
}


static ngx_int_t
account_window(ngx_http_request_t *r, redisReply *reply, ngx_uint_t i,
    lines_window_t *window)
{
    window->full = lines_reply_str(reply, i + 2).len != 0;

    return lines_reply_copy(r, reply, i, &window->limit) == NGX_OK
           && lines_reply_copy(r, reply, i + 1, &window->used) == NGX_OK
           && lines_reply_copy(r, reply, i + 3, &window->retry_after) == NGX_OK
           && lines_reply_copy(r, reply, i + 4, &window->resets_at) == NGX_OK
           ? NGX_OK
           : NGX_ERROR;
}


static ngx_int_t
account_list(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    lines_listing_t  *listing;

    listing = lines_listing_create(r, ctx, &ctx->identity.tenant,
                                   LINES_ACCOUNT_PAGE, &rc);
    if (listing == NULL) {
        return rc;
    }

    listing->list = "account";
    listing->prefix = "{\"status\":\"OK\",\"lines\":[";

    return lines_redis_format(r->pool, &listing->key, "lines:{%V}:lines",
                              &ctx->identity.tenant);
}
