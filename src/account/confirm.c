
/*
 * POST lines/provision-confirm: uses up a preview token and buys a line.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "account/confirm.h"
#include "account/preview_token.h"
#include "account/routes.h"
#include "api/input.h"
#include "http/failpoint.h"
#include "http/id.h"
#include "limit/limit.h"
#include "store/scripts.h"


/* a begin may find that things have changed since they were read */
#define LINES_CONFIRM_TRIES  3


static ngx_int_t confirm_validate(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t confirm_decide(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t confirm_announce(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t confirm_announced(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t confirm_begin(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t confirm_begun(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static void confirm_withdraw(ngx_http_request_t *r, lines_confirm_t *confirm,
    ngx_uint_t kept);
static ngx_int_t confirm_again(ngx_http_request_t *r, lines_ctx_t *ctx);


lines_step_pt  lines_confirm_steps[] = {
    confirm_validate,                 /* 400 */
    lines_confirm_check,
    confirm_decide,                   /* 422, 409; 403, 410 */
    confirm_announce,
    confirm_begin,                    /* the same again; 429, then
                                         what the purchase says */
    NULL
};


static ngx_int_t
confirm_validate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    u_char           *p;
    ngx_str_t         account, none = ngx_null_string;
    const char       *error;
    lines_confirm_t  *confirm;

    static const lines_text_t  text = lines_text("preview_token", 1024);

    confirm = ngx_pcalloc(r->pool, sizeof(lines_confirm_t));
    if (confirm == NULL) {
        return NGX_ERROR;
    }

    ctx->data = confirm;

    error = lines_text_member(ctx->body, &text, &confirm->token);

    if (error == text.type || confirm->token.len == 0) {
        error = "preview_token is required";
    }

    if (error) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL, error);
    }

    account = lines_account_id(ctx);

    switch (lines_preview_token_check(&account, &confirm->token)) {

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

    if (p == NULL || lines_preview_token_hash(&confirm->token, p) != NGX_OK) {
        return NGX_ERROR;
    }

    confirm->hash.data = p;
    confirm->hash.len = 64;
    confirm->id.data = p;
    confirm->id.len = LINES_ID_LEN;

    return lines_idempotency_init(r, ctx, "provision-confirm", &none, 1,
                                  &confirm->token, &confirm->idem);
}


static ngx_int_t
confirm_decide(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    off_t               expires;
    lines_confirm_t    *confirm;
    lines_main_conf_t  *lmcf;

    confirm = ctx->data;
    lmcf = lines_get_main_conf(r);

    if (confirm->recorded.len) {
        return lines_confirm_replay(r, ctx);
    }

    confirm->plan = lines_find_agent_plan(lmcf, &confirm->plan_name);

    if (confirm->plan == NULL) {
        return lines_account_plan_error(r, ctx);
    }

    if (!confirm->issued) {

        if (confirm->mark.len) {
            return lines_error(r, ctx, NGX_HTTP_FORBIDDEN, NULL,
                               "The preview_token belongs to another account");
        }

        return lines_confirm_expired(r, ctx);
    }

    if (confirm->step.len
        || (confirm->mark.len > 5
            && ngx_strncmp(confirm->mark.data, "used ", 5) == 0))
    {
        return lines_confirm_used(r, ctx);
    }

    expires = NGX_ERROR;

    if (confirm->mark.len > 6
        && ngx_strncmp(confirm->mark.data, "valid ", 6) == 0)
    {
        expires = ngx_atoof(confirm->mark.data + 6, confirm->mark.len - 6);
    }

    if (expires == NGX_ERROR || expires <= confirm->now) {
        return lines_confirm_expired(r, ctx);
    }

    if (lmcf->billing == NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "lines: a purchase needs lines_billing");
        return lines_unavailable(r, ctx, 60);
    }

    return NGX_OK;
}


/* hints, written before what they point at */

static ngx_int_t
confirm_announce(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t           rc;
    ngx_str_t           argv[4];
    lines_confirm_t    *confirm;
    lines_main_conf_t  *lmcf;

    confirm = ctx->data;
    lmcf = lines_get_main_conf(r);

    ctx->operation = confirm->id;

    ngx_str_set(&argv[0], "SET");
    argv[2] = ctx->identity.tenant;

    if (lines_redis_format(r->pool, &argv[1], "lines:{ix:%V}", &confirm->id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = lines_command(r, ctx, 3, argv, confirm_announced);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_str_set(&argv[0], "ZADD");

    if (lines_due(r->pool, &ctx->identity.tenant, &confirm->id, &argv[1],
                  &argv[3])
        != NGX_OK
        || lines_redis_format(r->pool, &argv[2], "%L",
                              confirm->now + (int64_t) lmcf->operation->due)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 4, argv, confirm_announced);
}


static ngx_int_t
confirm_announced(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    return NGX_OK;
}


static ngx_int_t
confirm_begin(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t           rc;
    ngx_str_t           args[7 + 9], *tenant;
    lines_confirm_t    *confirm;
    lines_main_conf_t  *lmcf;

    confirm = ctx->data;
    lmcf = lines_get_main_conf(r);
    tenant = &ctx->identity.tenant;

    args[5] = confirm->idem.record;

    args[8] = confirm->id;
    args[9] = confirm->plan_name;
    args[10] = confirm->customer;
    args[11] = confirm->plan->price;
    args[12] = confirm->plan->daily;
    args[13] = confirm->plan->monthly;
    args[14] = confirm->idem.fingerprint;

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:t", tenant) != NGX_OK
        || lines_redis_format(r->pool, &args[1], "lines:{%V}:tok:%V", tenant,
                              &confirm->hash)
           != NGX_OK
        || lines_redis_format(r->pool, &args[2], "lines:{%V}:win", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[3], "lines:{%V}:op:%V", tenant,
                              &confirm->id)
           != NGX_OK
        || lines_redis_format(r->pool, &args[4], "lines:{%V}:ops", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[6], "lines:{%V}:ev", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[7], "%L",
                              confirm->now + (int64_t) lmcf->operation->late)
           != NGX_OK
        || lines_redis_format(r->pool, &args[15], "%M", lmcf->operation->lease)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    LINES_FAILPOINT("confirm.begin.before");

    rc = lines_try_eval(r, ctx, &lines_script_confirm_begin, 7, 16, args,
                        confirm_begun, NULL);

    return rc == NGX_DECLINED ? lines_unavailable(r, ctx, 1) : rc;
}


static ngx_int_t
confirm_begun(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_int_t         fence, status;
    ngx_str_t         word, value, answer;
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    /* it may have begun, or not: nobody knows yet */

    if (reply == NULL) {
        return lines_confirm_pending(r, ctx);
    }

    LINES_FAILPOINT("confirm.begin.after");

    word = lines_reply_str(reply, 0);
    value = lines_reply_str(reply, 1);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines confirm: \"%V\" %V", &confirm->id, &word);

    if (lines_is(&word, "begun")) {
        fence = ngx_atoi(value.data, value.len);

        /* from here on there is an operation, whoever carries it on */

        if (fence == NGX_ERROR
            || lines_op_spawn(lines_get_main_conf(r), &ctx->identity.tenant,
                              &confirm->id, fence, 0)
               != NGX_OK)
        {
            return lines_confirm_pending(r, ctx);
        }

        return lines_op_start(r, ctx, &ctx->identity.tenant, &confirm->id,
                              fence, 0, 0, lines_confirm_done);
    }

    if (lines_is(&word, "refused")) {
        status = ngx_atoi(value.data, value.len);

        if (status == NGX_ERROR
            || lines_reply_copy(r, reply, 2, &answer) != NGX_OK
            || lines_reply_copy(r, reply, 3, &value) != NGX_OK
            || (value.len
                && lines_add_header(r, "Retry-After", &value) != NGX_OK))
        {
            return NGX_ERROR;
        }

        confirm_withdraw(r, confirm, 1);

        return lines_answer(r, ctx, status, &answer);
    }

    if (lines_is(&word, "expired")) {

        /* for ever, and nobody else has begun it */

        confirm_withdraw(r, confirm, 0);

        return lines_confirm_expired(r, ctx);
    }

    /* "idempotent", "used", "changed", "late": read again what it says now */

    return confirm_again(r, ctx);
}


/* where its refusal is kept for a day, it is found by its id as long */

static void
confirm_withdraw(ngx_http_request_t *r, lines_confirm_t *confirm,
    ngx_uint_t kept)
{
    ngx_str_t  argv[3];

    if (lines_redis_format(r->pool, &argv[1], "lines:{ix:%V}", &confirm->id)
        != NGX_OK)
    {
        return;
    }

    ngx_str_set(&argv[0], "EXPIRE");
    ngx_str_set(&argv[2], "86400");

    if (!kept) {
        ngx_str_set(&argv[0], "DEL");
    }

    lines_forget_command(r, kept ? 3 : 2, argv);
}


static ngx_int_t
confirm_again(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    if (++confirm->tries == LINES_CONFIRM_TRIES) {
        return lines_unavailable(r, ctx, 1);
    }

    lines_again_from(ctx, lines_confirm_check);

    return NGX_OK;
}
