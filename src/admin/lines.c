
/*
 * What the provisioner and the operator report of a line, and its release.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/numbers.h"
#include "admin/routes.h"
#include "api/input.h"
#include "http/digest.h"
#include "http/id.h"
#include "operation/operation.h"
#include "store/scripts.h"




typedef struct {
    ngx_str_t    status;
    ngx_str_t    phone;
    ngx_str_t    reason;
    ngx_int_t    conversations;
    ngx_int_t    messages;
    ngx_str_t    operation;        /* that the script may begin */
} lines_admin_line_t;


static ngx_int_t admin_find_line(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_line_found(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_parse_status(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_parse_usage(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_parse_release(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_announce(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_operation_id(ngx_pool_t *pool, ngx_str_t *line,
    ngx_str_t *id);
static ngx_int_t admin_announced(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_set_status(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_status_set(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_set_usage(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_usage_set(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_release(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_released(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_line_unknown(ngx_http_request_t *r, lines_ctx_t *ctx);
static void admin_drop_hint(ngx_http_request_t *r, ngx_str_t *tenant,
    ngx_str_t *id);
static void admin_go_on(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);


lines_step_pt  lines_admin_line_status_steps[] = {
    admin_parse_status,         /* 400 */
    admin_find_line,            /* 404 */
    admin_announce,
    admin_set_status,           /* 409 */
    NULL
};


lines_step_pt  lines_admin_line_usage_steps[] = {
    admin_parse_usage,          /* 400 */
    admin_find_line,            /* 404 */
    admin_set_usage,
    NULL
};


lines_step_pt  lines_admin_line_release_steps[] = {
    admin_parse_release,
    admin_find_line,            /* 404 */
    admin_announce,
    lines_admin_watch_number,
    admin_release,              /* 409 */
    NULL
};


static void
admin_drop_hint(ngx_http_request_t *r, ngx_str_t *tenant, ngx_str_t *id)
{
    ngx_str_t  argv[3];

    ngx_str_set(&argv[0], "ZREM");
    ngx_str_set(&argv[1], "lines:{prov}");

    if (lines_redis_format(r->pool, &argv[2], "%V %V", tenant, id) == NGX_OK) {
        lines_forget_command(r, 3, argv);
    }
}


/* whose line it is: the index was written before the line */

static ngx_int_t
admin_find_line(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  argv[2];

    if (!lines_is_id(&ctx->params[0])) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "Invalid line id");
    }

    ngx_str_set(&argv[0], "GET");

    if (lines_redis_format(r->pool, &argv[1], "lines:{ix:%V}", &ctx->params[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 2, argv, admin_line_found);
}


static ngx_int_t
admin_line_found(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  tenant;

    if (reply->type != REDIS_REPLY_STRING || reply->len < 3) {
        return admin_line_unknown(r, ctx);
    }

    tenant.data = (u_char *) reply->str;
    tenant.len = reply->len;

    ctx->identity.tenant.len = tenant.len;
    ctx->identity.tenant.data = ngx_pstrdup(r->pool, &tenant);

    return ctx->identity.tenant.data ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
admin_line_unknown(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL, "Line not found");
}


static ngx_int_t
admin_parse_status(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t            rc;
    const char          *error;
    lines_admin_line_t  *al;

    static const lines_text_t  reason = lines_text("reason", 500);

    al = ngx_pcalloc(r->pool, sizeof(lines_admin_line_t));
    if (al == NULL) {
        return NGX_ERROR;
    }

    ctx->data = al;

    if (lines_member(ctx->body, "status", 16, &al->status) != NGX_OK
        || (!lines_is(&al->status, "active")
            && !lines_is(&al->status, "failed")))
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "status must be active or failed");
    }

    rc = lines_member(ctx->body, "phone", 16, &al->phone);

    if (rc == NGX_ERROR || (rc == NGX_OK && !lines_is_e164(&al->phone))) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                         "phone must be an E.164 number such as +14155551234");
    }

    error = lines_text_member(ctx->body, &reason, &al->reason);

    if (error) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL, error);
    }

    if (lines_is(&al->status, "failed") && al->reason.len == 0) {
        ngx_str_set(&al->reason, "provisioning_failed");
    }

    return NGX_OK;
}


static ngx_int_t
admin_parse_usage(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    json_t              *conversations, *messages;
    lines_admin_line_t  *al;

    al = ngx_pcalloc(r->pool, sizeof(lines_admin_line_t));
    if (al == NULL) {
        return NGX_ERROR;
    }

    ctx->data = al;

    conversations = json_object_get(ctx->body, "newConversationsCount");
    messages = json_object_get(ctx->body, "totalMessagesCount");

    if (!json_is_integer(conversations)
        || !json_is_integer(messages)
        || json_integer_value(conversations) < 0
        || json_integer_value(conversations) > NGX_MAX_INT32_VALUE
        || json_integer_value(messages) < 0
        || json_integer_value(messages) > NGX_MAX_INT32_VALUE)
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                        "newConversationsCount and totalMessagesCount must be "
                        "whole numbers");
    }

    al->conversations = (ngx_int_t) json_integer_value(conversations);
    al->messages = (ngx_int_t) json_integer_value(messages);

    return NGX_OK;
}


static ngx_int_t
admin_parse_release(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ctx->data = ngx_pcalloc(r->pool, sizeof(lines_admin_line_t));

    return ctx->data ? NGX_OK : NGX_ERROR;
}


/*
 * The scripts may begin an operation that gives money back: its index and its
 * due instant are written before.  Its id derives from the line's, so that a
 * report that is repeated names the same one.
 */

static ngx_int_t
admin_announce(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_str_t            argv[4];
    lines_main_conf_t   *lmcf;
    lines_admin_line_t  *al;

    al = ctx->data;
    lmcf = lines_get_main_conf(r);

    if (lines_is(&al->status, "active")) {
        return NGX_OK;
    }

    if (admin_operation_id(r->pool, &ctx->params[0], &al->operation) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "SET");
    argv[2] = ctx->identity.tenant;

    if (lines_redis_format(r->pool, &argv[1], "lines:{ix:%V}", &al->operation)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = lines_command(r, ctx, 3, argv, admin_announced);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    /* due by Redis' clock, as everything that the sweeper looks at */

    if (lines_due(r->pool, &ctx->identity.tenant, &al->operation, &argv[0],
                  &argv[1])
        != NGX_OK
        || lines_redis_format(r->pool, &argv[2], "%M", lmcf->operation->due)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_eval(r, ctx, &lines_script_due_add, 1, 3, argv,
                      admin_announced);
}


static ngx_int_t
admin_operation_id(ngx_pool_t *pool, ngx_str_t *line, ngx_str_t *id)
{
    u_char     *hex;
    ngx_str_t   text;

    hex = ngx_pnalloc(pool, 2 * LINES_SHA256_LEN);

    if (hex == NULL
        || lines_redis_format(pool, &text, "end:%V", line) != NGX_OK
        || lines_sha256_hex(&text, hex) != NGX_OK)
    {
        return NGX_ERROR;
    }

    id->data = hex;
    id->len = LINES_ID_LEN;

    return NGX_OK;
}


static ngx_int_t
admin_announced(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    return NGX_OK;
}


static ngx_int_t
admin_set_status(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t            args[6 + 5], *tenant;
    lines_admin_line_t  *al;

    al = ctx->data;
    tenant = &ctx->identity.tenant;

    ngx_memzero(args, sizeof(args));

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:line:%V", tenant,
                           &ctx->params[0])
        != NGX_OK
        || lines_redis_format(r->pool, &args[1], "lines:{%V}:t", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[2], "lines:{%V}:pending", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[3], "lines:{%V}:ev", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[4], "lines:{%V}:op:%V", tenant,
                              &al->operation)
           != NGX_OK
        || lines_redis_format(r->pool, &args[5], "lines:{%V}:ops", tenant)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    args[6] = al->status;
    args[7] = al->phone;
    args[8] = al->reason;
    args[9] = al->operation;
    ngx_str_set(&args[10], "0");

    return lines_eval(r, ctx, &lines_script_line_report, 6, 11, args,
                      admin_status_set);
}


static ngx_int_t
admin_status_set(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  result, document;

    result = lines_reply_str(reply, 0);
    document = lines_reply_str(reply, 1);

    if (lines_is(&result, "unknown")) {
        return admin_line_unknown(r, ctx);
    }

    if (lines_is(&result, "illegal")) {
        return lines_answer_format(r, ctx, NGX_HTTP_CONFLICT,
                      "{\"error\":\"A line that is %V cannot be reported so\","
                      "\"status\":\"%V\"}", &document, &document);
    }

    admin_drop_hint(r, &ctx->identity.tenant, &ctx->params[0]);
    admin_go_on(r, ctx, reply);

    return lines_answer_format(r, ctx, NGX_HTTP_OK, "{\"line\":%V}",
                               &document);
}


/* the operation that the script began runs at once; the sweeper is for when
   this worker dies */

static void
admin_go_on(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  operation;

    operation = lines_reply_str(reply, 2);

    if (operation.len) {
        (void) lines_op_spawn(lines_get_main_conf(r), &ctx->identity.tenant,
                              &operation, 0, 0);
    }
}


static ngx_int_t
admin_set_usage(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t            args[3];
    lines_admin_line_t  *al;

    al = ctx->data;

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:line:%V",
                           &ctx->identity.tenant, &ctx->params[0])
        != NGX_OK
        || lines_redis_format(r->pool, &args[1], "%i", al->conversations)
           != NGX_OK
        || lines_redis_format(r->pool, &args[2], "%i", al->messages) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_eval(r, ctx, &lines_script_line_usage, 1, 3, args,
                      admin_usage_set);
}


static ngx_int_t
admin_usage_set(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t            result;
    lines_admin_line_t  *al;

    al = ctx->data;
    result = lines_reply_str(reply, 0);

    if (lines_is(&result, "unknown")) {
        return admin_line_unknown(r, ctx);
    }

    return lines_answer_format(r, ctx, NGX_HTTP_OK,
                      "{\"id\":\"%V\",\"usage\":{\"newConversationsCount\":%i,"
                      "\"totalMessagesCount\":%i}}", &ctx->params[0],
                      al->conversations, al->messages);
}


static ngx_int_t
admin_release(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t            args[6], *tenant;
    lines_admin_line_t  *al;

    al = ctx->data;
    tenant = &ctx->identity.tenant;

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:line:%V", tenant,
                           &ctx->params[0])
        != NGX_OK
        || lines_redis_format(r->pool, &args[1], "lines:{%V}:t", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[2], "lines:{%V}:ev", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[3], "lines:{%V}:op:%V", tenant,
                              &al->operation)
           != NGX_OK
        || lines_redis_format(r->pool, &args[4], "lines:{%V}:ops", tenant)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    args[5] = al->operation;

    return lines_eval(r, ctx, &lines_script_line_release, 5, 6, args,
                      admin_released);
}


static ngx_int_t
admin_released(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  result, document, number;

    result = lines_reply_str(reply, 0);
    document = lines_reply_str(reply, 1);

    if (lines_is(&result, "unknown")) {
        return admin_line_unknown(r, ctx);
    }

    if (lines_is(&result, "illegal")) {
        return lines_answer_format(r, ctx, NGX_HTTP_CONFLICT,
                         "{\"error\":\"A line that is %V cannot be released\","
                         "\"status\":\"%V\"}", &document, &document);
    }

    admin_go_on(r, ctx, reply);

    number = lines_reply_str(reply, 3);

    return lines_admin_release_number(r, ctx, &number, &document);
}
