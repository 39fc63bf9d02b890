
/*
 * POST lines/provision-confirm: uses up a preview token and buys a line.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_limit.h"
#include "ngx_http_lines_confirm.h"
#include "ngx_http_lines_failpoint.h"
#include "ngx_lines_id.h"
#include "ngx_lines_input.h"
#include "ngx_lines_preview_token.h"
#include "ngx_lines_scripts.h"


/* a begin may find that things have changed since they were read */
#define NGX_HTTP_LINES_CONFIRM_TRIES  3


static ngx_int_t ngx_http_lines_confirm_validate(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_confirm_decide(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_confirm_announce(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_confirm_announced(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_confirm_begin(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_confirm_begun(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_confirm_again(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);


ngx_http_lines_step_pt  ngx_http_lines_confirm_steps[] = {
    ngx_http_lines_authenticate_account,       /* 401 */
    ngx_http_lines_limit_identity,             /* 429 */
    ngx_http_lines_read_optional_json,         /* 400, 413, 415 */
    ngx_http_lines_confirm_validate,           /* 400 */
    ngx_http_lines_confirm_check,
    ngx_http_lines_confirm_decide,             /* 422, 409; 403, 410 */
    ngx_http_lines_confirm_announce,
    ngx_http_lines_confirm_begin,              /* the same again; 429, then
                                                  what the purchase says */
    NULL
};


static ngx_int_t
ngx_http_lines_confirm_validate(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    u_char                    *p;
    ngx_str_t                  account, none = ngx_null_string;
    const char                *error;
    ngx_http_lines_confirm_t  *confirm;

    static const ngx_lines_text_t  text =
                                      ngx_lines_text("preview_token", 1024);

    confirm = ngx_pcalloc(r->pool, sizeof(ngx_http_lines_confirm_t));
    if (confirm == NULL) {
        return NGX_ERROR;
    }

    ctx->data = confirm;

    error = ngx_lines_text_member(ctx->body, &text, &confirm->token);

    if (error == text.type || confirm->token.len == 0) {
        error = "preview_token is required";
    }

    if (error) {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                    error);
    }

    account = ngx_http_lines_account_id(ctx);

    switch (ngx_lines_preview_token_check(&account, &confirm->token)) {

    case NGX_OK:
        confirm->issued = 1;
        break;

    case NGX_ABORT:

        /* another account's: known without a look, and not burnt */

        confirm->issued = 0;
        ngx_str_set(&confirm->mark, "foreign");
        break;

    case NGX_DECLINED:
        break;

    default:
        return NGX_ERROR;
    }

    p = ngx_pnalloc(r->pool, 64);

    if (p == NULL
        || ngx_lines_preview_token_hash(&confirm->token, p) != NGX_OK)
    {
        return NGX_ERROR;
    }

    confirm->hash.data = p;
    confirm->hash.len = 64;
    confirm->id.data = p;
    confirm->id.len = NGX_LINES_ID_LEN;

    return ngx_http_lines_idempotency_init(r, ctx, "provision-confirm", &none,
                                           1, &confirm->token,
                                           &confirm->idem);
}


static ngx_int_t
ngx_http_lines_confirm_decide(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    off_t                        expires;
    ngx_http_lines_confirm_t    *confirm;
    ngx_http_lines_main_conf_t  *lmcf;

    confirm = ctx->data;
    lmcf = ngx_http_lines_get_main_conf(r);

    if (confirm->recorded.len) {
        return ngx_http_lines_confirm_replay(r, ctx);
    }

    confirm->plan = ngx_http_lines_find_agent_plan(lmcf, &confirm->plan_name);

    if (confirm->plan == NULL) {
        return ngx_http_lines_account_plan_error(r, ctx);
    }

    if (!confirm->issued) {

        if (confirm->mark.len) {
            return ngx_http_lines_error(r, ctx, NGX_HTTP_FORBIDDEN, NULL,
                       "The preview_token belongs to another account");
        }

        return ngx_http_lines_confirm_expired(r, ctx);
    }

    if (confirm->step.len
        || (confirm->mark.len > 5
            && ngx_strncmp(confirm->mark.data, "used ", 5) == 0))
    {
        return ngx_http_lines_confirm_used(r, ctx);
    }

    expires = NGX_ERROR;

    if (confirm->mark.len > 6
        && ngx_strncmp(confirm->mark.data, "valid ", 6) == 0)
    {
        expires = ngx_atoof(confirm->mark.data + 6, confirm->mark.len - 6);
    }

    if (expires == NGX_ERROR || expires <= confirm->now) {
        return ngx_http_lines_confirm_expired(r, ctx);
    }

    if (lmcf->billing == NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "lines: a purchase needs lines_billing");
        return ngx_http_lines_unavailable(r, ctx, 60);
    }

    return NGX_OK;
}


/* hints, written before what they point at */

static ngx_int_t
ngx_http_lines_confirm_announce(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_str_t                    argv[4];
    ngx_http_lines_confirm_t    *confirm;
    ngx_http_lines_main_conf_t  *lmcf;

    confirm = ctx->data;
    lmcf = ngx_http_lines_get_main_conf(r);

    ctx->operation = confirm->id;

    ngx_str_set(&argv[0], "SET");
    argv[2] = ctx->identity.tenant;

    if (ngx_lines_redis_format(r->pool, &argv[1], "lines:{ix:%V}",
                               &confirm->id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_lines_command(r, ctx, 3, argv,
                                ngx_http_lines_confirm_announced);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_str_set(&argv[0], "ZADD");

    if (ngx_http_lines_due(r->pool, &ctx->identity.tenant, &confirm->id,
                           &argv[1], &argv[3])
        != NGX_OK
        || ngx_lines_redis_format(r->pool, &argv[2], "%L",
                                  confirm->now
                                  + (int64_t) lmcf->operation->due)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_command(r, ctx, 4, argv,
                                  ngx_http_lines_confirm_announced);
}


static ngx_int_t
ngx_http_lines_confirm_announced(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_confirm_begin(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_str_t                    args[7 + 9], *tenant;
    ngx_http_lines_confirm_t    *confirm;
    ngx_http_lines_main_conf_t  *lmcf;

    confirm = ctx->data;
    lmcf = ngx_http_lines_get_main_conf(r);
    tenant = &ctx->identity.tenant;

    args[5] = confirm->idem.record;

    args[8] = confirm->id;
    args[9] = confirm->plan_name;
    args[10] = confirm->customer;
    args[11] = confirm->plan->price;
    args[12] = confirm->plan->daily;
    args[13] = confirm->plan->monthly;
    args[14] = confirm->idem.fingerprint;

    if (ngx_lines_redis_format(r->pool, &args[0], "lines:{%V}:t", tenant)
        != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[1], "lines:{%V}:tok:%V",
                                  tenant, &confirm->hash)
           != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[2], "lines:{%V}:win", tenant)
           != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[3], "lines:{%V}:op:%V",
                                  tenant, &confirm->id)
           != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[4], "lines:{%V}:ops", tenant)
           != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[6], "lines:{%V}:ev", tenant)
           != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[7], "%L",
                                  confirm->now
                                  + (int64_t) lmcf->operation->late)
           != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[15], "%M",
                                  lmcf->operation->lease)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    NGX_HTTP_LINES_FAILPOINT("confirm.begin.before");

    rc = ngx_http_lines_try_eval(r, ctx, &ngx_lines_script_confirm_begin, 7,
                                 16, args, ngx_http_lines_confirm_begun,
                                 NULL);

    return rc == NGX_DECLINED ? ngx_http_lines_unavailable(r, ctx, 1) : rc;
}


static ngx_int_t
ngx_http_lines_confirm_begun(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    redisReply *reply)
{
    ngx_int_t                  fence, status;
    ngx_str_t                  word, value, answer;
    ngx_http_lines_confirm_t  *confirm;

    confirm = ctx->data;

    /* it may have begun, or not: nobody knows yet */

    if (reply == NULL) {
        return ngx_http_lines_confirm_pending(r, ctx);
    }

    NGX_HTTP_LINES_FAILPOINT("confirm.begin.after");

    word = ngx_http_lines_reply_str(reply, 0);
    value = ngx_http_lines_reply_str(reply, 1);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines confirm: \"%V\" %V", &confirm->id, &word);

    if (ngx_http_lines_is(&word, "begun")) {
        fence = ngx_atoi(value.data, value.len);

        /* from here on there is an operation, whoever carries it on */

        if (fence == NGX_ERROR
            || ngx_http_lines_operation_spawn(
                   ngx_http_lines_get_main_conf(r), &ctx->identity.tenant,
                   &confirm->id, fence, 0)
               != NGX_OK)
        {
            return ngx_http_lines_confirm_pending(r, ctx);
        }

        return ngx_http_lines_operation_start(r, ctx, &ctx->identity.tenant,
                                              &confirm->id, fence, 0, 0,
                                              ngx_http_lines_confirm_done);
    }

    if (ngx_http_lines_is(&word, "refused")) {
        status = ngx_atoi(value.data, value.len);

        if (status == NGX_ERROR
            || ngx_http_lines_reply_copy(r, reply, 2, &answer) != NGX_OK
            || ngx_http_lines_reply_copy(r, reply, 3, &value) != NGX_OK
            || (value.len
                && ngx_http_lines_add_header(r, "Retry-After", &value)
                   != NGX_OK))
        {
            return NGX_ERROR;
        }

        return ngx_http_lines_answer(r, ctx, status, &answer);
    }

    if (ngx_http_lines_is(&word, "expired")) {
        return ngx_http_lines_confirm_expired(r, ctx);
    }

    /* "idempotent", "used", "changed", "late": read again what it says now */

    return ngx_http_lines_confirm_again(r, ctx);
}


static ngx_int_t
ngx_http_lines_confirm_again(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_http_lines_confirm_t  *confirm;

    confirm = ctx->data;

    if (++confirm->tries == NGX_HTTP_LINES_CONFIRM_TRIES) {
        return ngx_http_lines_unavailable(r, ctx, 1);
    }

    while (*ctx->step != ngx_http_lines_confirm_check) {
        ctx->step--;
    }

    ctx->step--;

    return NGX_OK;
}
