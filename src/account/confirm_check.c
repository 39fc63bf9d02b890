
/*
 * All that decides about a confirm, read in one round trip.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "account/confirm.h"


static ngx_int_t confirm_check_operation(ngx_http_request_t *r,
    lines_ctx_t *ctx);
static ngx_int_t confirm_time(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t confirm_tenant(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t confirm_recorded(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t confirm_mark(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t confirm_operation(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t confirm_line(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static int64_t confirm_number(redisReply *reply, ngx_uint_t i);


ngx_int_t
lines_confirm_check(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    ngx_str_t         argv[4];
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    ngx_str_set(&argv[0], "TIME");

    rc = lines_command(r, ctx, 1, argv, confirm_time);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    if (confirm->idem.key.len) {
        ngx_str_set(&argv[0], "HMGET");
        argv[1] = confirm->idem.record;
        ngx_str_set(&argv[2], "operation");
        ngx_str_set(&argv[3], "fingerprint");

        rc = lines_command(r, ctx, 4, argv, confirm_recorded);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    if (confirm->issued) {
        rc = confirm_check_operation(r, ctx);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    ngx_str_set(&argv[0], "HMGET");
    ngx_str_set(&argv[2], "plan");
    ngx_str_set(&argv[3], "customer");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:t",
                           &ctx->identity.tenant)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 4, argv, confirm_tenant);
}


/* the token, and what it was used for */

static ngx_int_t
confirm_check_operation(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    ngx_str_t         argv[7], *tenant;
    lines_confirm_t  *confirm;

    confirm = ctx->data;
    tenant = &ctx->identity.tenant;

    ngx_str_set(&argv[0], "GET");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:tok:%V", tenant,
                           &confirm->hash)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = lines_command(r, ctx, 2, argv, confirm_mark);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_str_set(&argv[0], "HMGET");
    ngx_str_set(&argv[2], "step");
    ngx_str_set(&argv[3], "lease_until");
    ngx_str_set(&argv[4], "answer_status");
    ngx_str_set(&argv[5], "answer");
    ngx_str_set(&argv[6], "answer_until");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:op:%V", tenant,
                           &confirm->id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = lines_command(r, ctx, 7, argv, confirm_operation);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_str_set(&argv[0], "EXISTS");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:line:%V", tenant,
                           &confirm->id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 2, argv, confirm_line);
}


static ngx_int_t
confirm_time(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    confirm->now = confirm_number(reply, 0) * 1000
                   + confirm_number(reply, 1) / 1000;

    return confirm->now ? NGX_OK : NGX_ERROR;
}


static int64_t
confirm_number(redisReply *reply, ngx_uint_t i)
{
    off_t      n;
    ngx_str_t  value;

    value = lines_reply_str(reply, i);
    n = value.len ? ngx_atoof(value.data, value.len) : 0;

    return n == NGX_ERROR ? 0 : n;
}


static ngx_int_t
confirm_tenant(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    if (lines_reply_copy(r, reply, 0, &confirm->plan_name) != NGX_OK
        || lines_reply_copy(r, reply, 1, &confirm->customer) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->identity.plan = confirm->plan_name;

    return NGX_OK;
}


static ngx_int_t
confirm_recorded(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    return lines_reply_copy(r, reply, 0, &confirm->recorded) == NGX_OK
           && lines_reply_copy(r, reply, 1, &confirm->recorded_print) == NGX_OK
           ? NGX_OK
           : NGX_ERROR;
}


static ngx_int_t
confirm_mark(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t         mark;
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    ngx_str_null(&confirm->mark);

    if (reply->type != REDIS_REPLY_STRING) {
        return NGX_OK;
    }

    mark.data = (u_char *) reply->str;
    mark.len = reply->len;

    confirm->mark.len = mark.len;
    confirm->mark.data = ngx_pstrdup(r->pool, &mark);

    return confirm->mark.data ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
confirm_operation(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    confirm->lease_until = confirm_number(reply, 1);
    confirm->answer_until = confirm_number(reply, 4);

    return lines_reply_copy(r, reply, 0, &confirm->step) == NGX_OK
           && lines_reply_copy(r, reply, 2, &confirm->answer_status) == NGX_OK
           && lines_reply_copy(r, reply, 3, &confirm->answer) == NGX_OK
           ? NGX_OK
           : NGX_ERROR;
}


static ngx_int_t
confirm_line(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    confirm->line = (reply->type == REDIS_REPLY_INTEGER
                     && reply->integer == 1);

    return NGX_OK;
}
