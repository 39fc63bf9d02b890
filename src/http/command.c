
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/command.h"


typedef struct {
    ngx_queue_t        queue;
    lines_ctx_t       *ctx;
    lines_redis_op_t  *op;
    lines_reply_pt     handler;
    void              *data;
    ngx_uint_t         tries;    /* flag: hears of failures */
} lines_command_t;


static lines_command_t *create_command(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_reply_pt handler);
static ngx_int_t sent(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_command_t *cmd);
static void replied(void *data, redisReply *reply);
static void forgotten(void *data, redisReply *reply);


ngx_int_t
lines_command(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t argc,
    ngx_str_t *argv, lines_reply_pt handler)
{
    lines_command_t    *cmd;
    lines_main_conf_t  *lmcf;

    cmd = create_command(r, ctx, handler);
    if (cmd == NULL) {
        return NGX_ERROR;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines command: %V, %ui arguments", &argv[0], argc - 1);

    lmcf = lines_get_main_conf(r);

    cmd->op = lines_redis_command(lmcf->redis, argc, argv, replied, cmd);

    return sent(r, ctx, cmd);
}


ngx_int_t
lines_try_command(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t argc,
    ngx_str_t *argv, lines_reply_pt handler)
{
    lines_command_t    *cmd;
    lines_main_conf_t  *lmcf;

    cmd = create_command(r, ctx, handler);
    if (cmd == NULL) {
        return NGX_ERROR;
    }

    cmd->tries = 1;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines command: try %V, %ui arguments", &argv[0], argc - 1);

    lmcf = lines_get_main_conf(r);

    cmd->op = lines_redis_command(lmcf->redis, argc, argv, replied, cmd);
    if (cmd->op == NULL) {
        return NGX_DECLINED;
    }

    return sent(r, ctx, cmd);
}


ngx_int_t
lines_eval(ngx_http_request_t *r, lines_ctx_t *ctx, lines_script_t *script,
    ngx_uint_t nkeys, ngx_uint_t nargs, ngx_str_t *args,
    lines_reply_pt handler)
{
    lines_command_t    *cmd;
    lines_main_conf_t  *lmcf;

    cmd = create_command(r, ctx, handler);
    if (cmd == NULL) {
        return NGX_ERROR;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines script: %V", &script->name);

    lmcf = lines_get_main_conf(r);

    cmd->op = lines_redis_eval(lmcf->redis, script, nkeys, nargs, args,
                               replied, cmd);

    return sent(r, ctx, cmd);
}


ngx_int_t
lines_try_eval(ngx_http_request_t *r, lines_ctx_t *ctx, lines_script_t *script,
    ngx_uint_t nkeys, ngx_uint_t nargs, ngx_str_t *args,
    lines_reply_pt handler, void *data)
{
    lines_command_t    *cmd;
    lines_main_conf_t  *lmcf;

    cmd = create_command(r, ctx, handler);
    if (cmd == NULL) {
        return NGX_ERROR;
    }

    cmd->tries = 1;
    cmd->data = data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines script: try %V", &script->name);

    lmcf = lines_get_main_conf(r);

    cmd->op = lines_redis_eval(lmcf->redis, script, nkeys, nargs, args,
                               replied, cmd);
    if (cmd->op == NULL) {
        return NGX_DECLINED;
    }

    return sent(r, ctx, cmd);
}


static lines_command_t *
create_command(ngx_http_request_t *r, lines_ctx_t *ctx, lines_reply_pt handler)
{
    lines_command_t  *cmd;

    cmd = ngx_palloc(r->pool, sizeof(lines_command_t));
    if (cmd == NULL) {
        return NULL;
    }

    cmd->ctx = ctx;
    cmd->handler = handler;
    cmd->data = NULL;
    cmd->tries = 0;

    return cmd;
}


static ngx_int_t
sent(ngx_http_request_t *r, lines_ctx_t *ctx, lines_command_t *cmd)
{
    if (cmd->op == NULL) {
        return lines_unavailable(r, ctx, 1);
    }

    if (ngx_queue_empty(&ctx->commands)) {
        ctx->redis_start = ngx_current_msec;
    }

    ngx_queue_insert_tail(&ctx->commands, &cmd->queue);

    return NGX_AGAIN;
}


static void
replied(void *data, redisReply *reply)
{
    lines_command_t     *cmd = data;

    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;
    lines_ctx_t         *ctx;

    ctx = cmd->ctx;
    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_queue_remove(&cmd->queue);

    if (ngx_queue_empty(&ctx->commands)) {
        ctx->redis_time += ngx_current_msec - ctx->redis_start;
    }

    if (reply && reply->type == REDIS_REPLY_ERROR) {
        ngx_log_error(NGX_LOG_ERR, c->log, 0, "lines: Redis refused: %*s",
                      (size_t) reply->len, reply->str);
        reply = NULL;
    }

    if (reply == NULL && !cmd->tries) {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, c->log, 0,
                       "lines command: no reply");
        rc = lines_unavailable(r, ctx, 1);

    } else {
        ctx->reply_data = cmd->data;
        rc = cmd->handler(r, ctx, reply);
    }

    if (rc == NGX_OK && !ngx_queue_empty(&ctx->commands)) {
        rc = NGX_AGAIN;
    }

    lines_resume(r, ctx, rc);
}


void
lines_detach_commands(lines_ctx_t *ctx)
{
    ngx_queue_t      *q;
    lines_command_t  *cmd;

    while (!ngx_queue_empty(&ctx->commands)) {
        q = ngx_queue_head(&ctx->commands);
        ngx_queue_remove(q);

        cmd = ngx_queue_data(q, lines_command_t, queue);
        lines_redis_detach(cmd->op);
    }
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
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(r);

    (void) lines_redis_command(lmcf->redis, argc, argv, forgotten, NULL);
}


static void
forgotten(void *data, redisReply *reply)
{
}


ngx_uint_t
lines_is(ngx_str_t *value, const char *text)
{
    size_t  len;

    len = ngx_strlen(text);

    return value->len == len && ngx_strncmp(value->data, text, len) == 0;
}
