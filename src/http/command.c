
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/command.h"


/* calls that are not declared yet */

typedef struct {
    lines_ctx_t     *ctx;
    lines_reply_pt   handler;
    void            *data;
} lines_command_t;


static void request_resume(lines_caller_t *caller, ngx_int_t rc);
static ngx_int_t request_failed(lines_caller_t *caller);
static void request_heard(lines_caller_t *caller, lines_store_call_t *call,
    ngx_uint_t good);
static ngx_int_t raw(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_script_t *script, ngx_uint_t nkeys, ngx_uint_t nargs,
    ngx_str_t *args, ngx_uint_t how, lines_reply_pt handler, void *data);
static ngx_int_t replied(void *data, redisReply *reply);


void
lines_caller_of_request(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_caller_init(&ctx->caller, lines_get_main_conf(r)->redis, r->pool,
                      r->connection->log);

    ctx->caller.id = &ctx->request_id;
    ctx->caller.resume = request_resume;
    ctx->caller.failed = request_failed;
    ctx->caller.heard = request_heard;
}


static void
request_resume(lines_caller_t *caller, ngx_int_t rc)
{
    lines_ctx_t  *ctx;

    ctx = ngx_queue_data(caller, lines_ctx_t, caller);

    lines_resume(ctx->request, ctx, rc);
}


static ngx_int_t
request_failed(lines_caller_t *caller)
{
    lines_ctx_t  *ctx;

    ctx = ngx_queue_data(caller, lines_ctx_t, caller);

    return lines_unavailable(ctx->request, ctx, 1);
}


static void
request_heard(lines_caller_t *caller, lines_store_call_t *call, ngx_uint_t good)
{
    lines_ctx_t  *ctx;

    ctx = ngx_queue_data(caller, lines_ctx_t, caller);

    ngx_http_set_log_request(ctx->request->connection->log, ctx->request);
}


ngx_int_t
lines_command(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t argc,
    ngx_str_t *argv, lines_reply_pt handler)
{
    return raw(r, ctx, NULL, 0, argc, argv, LINES_CALL, handler, NULL);
}


ngx_int_t
lines_try_command(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t argc,
    ngx_str_t *argv, lines_reply_pt handler)
{
    return raw(r, ctx, NULL, 0, argc, argv, LINES_CALL_TRY, handler, NULL);
}


ngx_int_t
lines_eval(ngx_http_request_t *r, lines_ctx_t *ctx, lines_script_t *script,
    ngx_uint_t nkeys, ngx_uint_t nargs, ngx_str_t *args,
    lines_reply_pt handler)
{
    return raw(r, ctx, script, nkeys, nargs, args, LINES_CALL, handler, NULL);
}


ngx_int_t
lines_try_eval(ngx_http_request_t *r, lines_ctx_t *ctx, lines_script_t *script,
    ngx_uint_t nkeys, ngx_uint_t nargs, ngx_str_t *args,
    lines_reply_pt handler, void *data)
{
    return raw(r, ctx, script, nkeys, nargs, args, LINES_CALL_TRY, handler,
               data);
}


static ngx_int_t
raw(ngx_http_request_t *r, lines_ctx_t *ctx, lines_script_t *script,
    ngx_uint_t nkeys, ngx_uint_t nargs, ngx_str_t *args, ngx_uint_t how,
    lines_reply_pt handler, void *data)
{
    lines_command_t  *cmd;

    cmd = ngx_palloc(r->pool, sizeof(lines_command_t));
    if (cmd == NULL) {
        return NGX_ERROR;
    }

    cmd->ctx = ctx;
    cmd->handler = handler;
    cmd->data = data;

    return lines_caller_raw(&ctx->caller, script, nkeys, nargs, args, how,
                            replied, cmd);
}


static ngx_int_t
replied(void *data, redisReply *reply)
{
    lines_command_t  *cmd = data;

    cmd->ctx->reply_data = cmd->data;

    return cmd->handler(cmd->ctx->request, cmd->ctx, reply);
}


ngx_str_t
lines_reply_str(redisReply *reply, ngx_uint_t i)
{
    ngx_str_t    value;
    redisReply  *element;

    ngx_str_null(&value);

    if (reply->type != REDIS_REPLY_ARRAY || i >= reply->elements) {
        return value;
    }

    element = reply->element[i];

    if (element->type == REDIS_REPLY_STRING
        || element->type == REDIS_REPLY_STATUS)
    {
        value.data = (u_char *) element->str;
        value.len = element->len;
    }

    return value;
}


ngx_int_t
lines_reply_copy(ngx_http_request_t *r, redisReply *reply, ngx_uint_t i,
    ngx_str_t *value)
{
    ngx_str_t  s;

    s = lines_reply_str(reply, i);

    ngx_str_null(value);

    if (s.len == 0) {
        return NGX_OK;
    }

    value->data = ngx_pstrdup(r->pool, &s);

    if (value->data == NULL) {
        return NGX_ERROR;
    }

    value->len = s.len;

    return NGX_OK;
}


void
lines_forget_command(ngx_http_request_t *r, ngx_uint_t argc, ngx_str_t *argv)
{
    lines_ctx_t  *ctx;

    ctx = lines_find_ctx(r);

    if (ctx) {
        (void) lines_caller_raw(&ctx->caller, NULL, 0, argc, argv,
                                LINES_CALL_FORGET, NULL, NULL);
    }
}


ngx_uint_t
lines_is(ngx_str_t *value, const char *text)
{
    size_t  len;

    len = ngx_strlen(text);

    return value->len == len && ngx_strncmp(value->data, text, len) == 0;
}
