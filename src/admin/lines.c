
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
#include "http/answer.h"
#include "http/digest.h"
#include "http/id.h"
#include "http/text.h"
#include "operation/operation.h"
#include "store/calls.h"


typedef struct {
    ngx_str_t    status;
    ngx_str_t    phone;
    ngx_str_t    reason;
    int64_t      conversations;
    int64_t      messages;
    ngx_str_t    operation;        /* that the script may begin */
} lines_admin_line_t;


static ngx_int_t admin_find_line(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_line_found(void *data, lines_ix_get_reply_t *reply);
static ngx_int_t admin_parse_status(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_parse_usage(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_parse_release(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_announce(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_operation_id(ngx_pool_t *pool, ngx_str_t *line,
    ngx_str_t *id);
static ngx_int_t admin_set_status(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_status_set(void *data,
    lines_line_report_reply_t *reply);
static ngx_int_t admin_set_usage(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_usage_set(void *data, lines_line_usage_reply_t *reply);
static ngx_int_t admin_release(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_released(void *data,
    lines_line_release_reply_t *reply);
static ngx_int_t admin_line_unknown(ngx_http_request_t *r, lines_ctx_t *ctx);
static void admin_go_on(lines_ctx_t *ctx, ngx_str_t *operation);


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


/* whose line it is: the index was written before the line */

static ngx_int_t
admin_find_line(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    if (!lines_is_id(&ctx->params[0])) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "Invalid line id");
    }

    return lines_ix_get(&ctx->caller, admin_line_found, ctx,
                        .id = ctx->params[0]);
}


static ngx_int_t
admin_line_found(void *data, lines_ix_get_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    if (reply->tenant.len < 3) {
        return admin_line_unknown(ctx->request, ctx);
    }

    ctx->identity.tenant = reply->tenant;

    return NGX_OK;
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

    al->conversations = json_integer_value(conversations);
    al->messages = json_integer_value(messages);

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
    ngx_int_t             rc;
    lines_admin_line_t   *al;
    lines_due_add_args_t  due;

    al = ctx->data;

    if (lines_is(&al->status, "active")) {
        return NGX_OK;
    }

    if (admin_operation_id(r->pool, &ctx->params[0], &al->operation) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = lines_ix_put(&ctx->caller, NULL, NULL, .id = al->operation,
                      .tenant = ctx->identity.tenant);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    /* due by Redis' clock, as everything that the sweeper looks at */

    due.shard = lines_due_shard(&al->operation);
    due.tenant = ctx->identity.tenant;
    due.id = al->operation;
    due.delay = lines_get_main_conf(r)->operation->due;

    return lines_send_due_add(&ctx->caller, LINES_CALL, &due, NULL, NULL);
}


static ngx_int_t
admin_operation_id(ngx_pool_t *pool, ngx_str_t *line, ngx_str_t *id)
{
    u_char    *hex;
    ngx_str_t  text;

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
admin_set_status(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_line_t  *al;

    al = ctx->data;

    return lines_line_report(&ctx->caller, admin_status_set, ctx,
                             .tenant = ctx->identity.tenant,
                             .id = ctx->params[0], .status = al->status,
                             .phone = al->phone, .reason = al->reason,
                             .operation = al->operation);
}


static ngx_int_t
admin_status_set(void *data, lines_line_report_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    switch (reply->is) {

    case LINES_LINE_REPORT_UNKNOWN:
        return admin_line_unknown(ctx->request, ctx);

    case LINES_LINE_REPORT_ILLEGAL:
        return lines_answer_format(ctx->request, ctx, NGX_HTTP_CONFLICT,
                      "{\"error\":\"A line that is %V cannot be reported so\","
                      "\"status\":\"%V\"}", &reply->status, &reply->status);
    }

    (void) lines_forget_prov_rem(&ctx->caller, .tenant = ctx->identity.tenant,
                                 .id = ctx->params[0]);

    admin_go_on(ctx, &reply->operation);

    return lines_answer_format(ctx->request, ctx, NGX_HTTP_OK,
                               "{\"line\":%V}", &reply->document);
}


/* the operation that the script began runs at once; the sweeper is for when
   this worker dies */

static void
admin_go_on(lines_ctx_t *ctx, ngx_str_t *operation)
{
    if (operation->len) {
        (void) lines_op_spawn(lines_get_main_conf(ctx->request),
                              &ctx->identity.tenant, operation, 0);
    }
}


static ngx_int_t
admin_set_usage(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_line_t  *al;

    al = ctx->data;

    return lines_line_usage(&ctx->caller, admin_usage_set, ctx,
                            .tenant = ctx->identity.tenant,
                            .id = ctx->params[0],
                            .conversations = al->conversations,
                            .messages = al->messages);
}


static ngx_int_t
admin_usage_set(void *data, lines_line_usage_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_admin_line_t  *al;

    al = ctx->data;

    if (reply->is == LINES_LINE_USAGE_UNKNOWN) {
        return admin_line_unknown(ctx->request, ctx);
    }

    return lines_answer_format(ctx->request, ctx, NGX_HTTP_OK,
                      "{\"id\":\"%V\",\"usage\":{\"newConversationsCount\":%L,"
                      "\"totalMessagesCount\":%L}}", &ctx->params[0],
                      al->conversations, al->messages);
}


static ngx_int_t
admin_release(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_line_t  *al;

    al = ctx->data;

    return lines_line_release(&ctx->caller, admin_released, ctx,
                              .tenant = ctx->identity.tenant,
                              .id = ctx->params[0],
                              .operation = al->operation);
}


static ngx_int_t
admin_released(void *data, lines_line_release_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    switch (reply->is) {

    case LINES_LINE_RELEASE_UNKNOWN:
        return admin_line_unknown(ctx->request, ctx);

    case LINES_LINE_RELEASE_ILLEGAL:
        return lines_answer_format(ctx->request, ctx, NGX_HTTP_CONFLICT,
                         "{\"error\":\"A line that is %V cannot be released\","
                         "\"status\":\"%V\"}", &reply->status, &reply->status);
    }

    admin_go_on(ctx, &reply->operation);

    return lines_admin_release_number(ctx->request, ctx, &reply->number,
                                      &reply->document);
}
