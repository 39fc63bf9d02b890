
/*
 * Operations that need a look, and another try by the operator's word.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/listing.h"
#include "http/id.h"
#include "operation/operation.h"
#include "store/scripts.h"


#define LINES_STUCK_MAX  100


typedef struct {
    ngx_str_t     *members;          /* "TENANT ID" */
    ngx_uint_t     nmembers;
    ngx_uint_t     next;
    ngx_array_t    items;            /* ngx_str_t: JSON */
} lines_stuck_t;


static ngx_int_t admin_stuck(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_stuck_members(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_stuck_records(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_stuck_record(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_stuck_listed(ngx_http_request_t *r, lines_ctx_t *ctx);
static void admin_member(ngx_str_t *member, ngx_str_t *tenant, ngx_str_t *id);
static ngx_int_t admin_operation_json(ngx_http_request_t *r, ngx_str_t *tenant,
    ngx_str_t *id, redisReply *reply, ngx_str_t *json);

static ngx_int_t admin_retry_find(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_retry_found(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_retry_unknown(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_retry_clear(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_retry_cleared(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_retry_hint(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_retry_hinted(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_retry_start(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_retried(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc, lines_op_t *op);
static ngx_int_t admin_retry_read(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_retry_answer(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);


lines_step_pt  lines_admin_list_operations_steps[] = {
    admin_stuck,                /* 400 */
    admin_stuck_records,
    admin_stuck_listed,
    NULL
};


lines_step_pt  lines_admin_retry_operation_steps[] = {
    admin_retry_find,           /* 400, 404 */
    admin_retry_clear,          /* 404 */
    admin_retry_hint,
    admin_retry_start,
    admin_retry_read,
    NULL
};


/* what is shown of a record, in this order */

static ngx_str_t  admin_operation_fields[] = {
    ngx_string("kind"),
    ngx_string("step"),
    ngx_string("stuck"),
    ngx_string("line"),
    ngx_string("attempt"),
    ngx_string("subscription"),
    ngx_string("invoice"),
    ngx_string("tries"),
    ngx_string("begun"),
    ngx_null_string
};


static ngx_int_t
admin_stuck(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t       state, argv[4];
    lines_stuck_t  *stuck;

    if (lines_query(r, "state", &state) != NGX_OK
        || !lines_is(&state, "stuck"))
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "state must be stuck");
    }

    stuck = ngx_pcalloc(r->pool, sizeof(lines_stuck_t));

    if (stuck == NULL
        || ngx_array_init(&stuck->items, r->pool, 8, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->data = stuck;

    ngx_str_set(&argv[0], "ZRANGE");
    ngx_str_set(&argv[1], "lines:{stuck}");
    ngx_str_set(&argv[2], "0");

    if (lines_redis_format(r->pool, &argv[3], "%d", LINES_STUCK_MAX - 1)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 4, argv, admin_stuck_members);
}


static ngx_int_t
admin_stuck_members(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_uint_t      i;
    lines_stuck_t  *stuck;

    stuck = ctx->data;

    if (reply->type != REDIS_REPLY_ARRAY) {
        return NGX_ERROR;
    }

    stuck->members = ngx_palloc(r->pool,
                                (reply->elements + 1) * sizeof(ngx_str_t));
    if (stuck->members == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < reply->elements; i++) {
        if (lines_reply_copy(r, reply, i, &stuck->members[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    stuck->nmembers = reply->elements;

    return NGX_OK;
}


static ngx_int_t
admin_stuck_records(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t       rc;
    ngx_str_t       argv[11], tenant, id, *field;
    ngx_uint_t      i, n;
    lines_stuck_t  *stuck;

    stuck = ctx->data;

    if (stuck->nmembers == 0) {
        return NGX_OK;
    }

    ngx_str_set(&argv[0], "HMGET");

    n = 2;

    for (field = admin_operation_fields; field->len; field++) {
        argv[n++] = *field;
    }

    for (i = 0; i < stuck->nmembers; i++) {
        admin_member(&stuck->members[i], &tenant, &id);

        if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:op:%V", &tenant,
                               &id)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = lines_command(r, ctx, n, argv, admin_stuck_record);
        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return NGX_AGAIN;
}


static ngx_int_t
admin_stuck_record(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t       tenant, id, *item, *member, argv[3];
    lines_stuck_t  *stuck;

    stuck = ctx->data;

    member = &stuck->members[stuck->next++];

    /* the list is a hint; the record knows */

    if (lines_reply_str(reply, 2).len == 0) {
        ngx_str_set(&argv[0], "ZREM");
        ngx_str_set(&argv[1], "lines:{stuck}");
        argv[2] = *member;

        lines_forget_command(r, 3, argv);

        return NGX_OK;
    }

    admin_member(member, &tenant, &id);

    item = ngx_array_push(&stuck->items);
    if (item == NULL) {
        return NGX_ERROR;
    }

    return admin_operation_json(r, &tenant, &id, reply, item);
}


static ngx_int_t
admin_stuck_listed(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    size_t          len;
    u_char         *p;
    ngx_str_t       json, *item;
    ngx_uint_t      i;
    lines_stuck_t  *stuck;

    stuck = ctx->data;
    item = stuck->items.elts;

    len = sizeof("{\"operations\":[]}") - 1;

    for (i = 0; i < stuck->items.nelts; i++) {
        len += item[i].len + 1;
    }

    json.data = ngx_pnalloc(r->pool, len);
    if (json.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(json.data, "{\"operations\":[",
                   sizeof("{\"operations\":[") - 1);

    for (i = 0; i < stuck->items.nelts; i++) {
        if (i) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, item[i].data, item[i].len);
    }

    p = ngx_cpymem(p, "]}", 2);

    json.len = p - json.data;

    return lines_answer(r, ctx, NGX_HTTP_OK, &json);
}


static void
admin_member(ngx_str_t *member, ngx_str_t *tenant, ngx_str_t *id)
{
    u_char  *space, *last;

    last = member->data + member->len;
    space = ngx_strlchr(member->data, last, ' ');

    if (space == NULL) {
        space = last;
    }

    tenant->data = member->data;
    tenant->len = space - member->data;

    id->data = (space < last) ? space + 1 : last;
    id->len = last - id->data;
}


static ngx_int_t
admin_operation_json(ngx_http_request_t *r, ngx_str_t *tenant, ngx_str_t *id,
    redisReply *reply, ngx_str_t *json)
{
    ngx_str_t   value, members[2], text[16], *field;
    ngx_uint_t  i;

    members[0] = lines_json_string(r->pool, tenant);
    members[1] = lines_json_string(r->pool, id);

    if (lines_redis_format(r->pool, json, "{\"id\":%V,\"tenant\":%V",
                           &members[1], &members[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    field = admin_operation_fields;

    for (i = 0; field[i].len; i++) {
        value = lines_reply_str(reply, i);

        if (value.len == 0) {
            ngx_str_set(&text[i], "null");

        } else if (lines_is(&field[i], "attempt")
                   || lines_is(&field[i], "tries")
                   || lines_is(&field[i], "begun"))
        {
            text[i] = value;

        } else {
            text[i] = lines_json_string(r->pool, &value);
        }

        value = *json;

        if (lines_redis_format(r->pool, json, "%V,\"%V\":%V", &value,
                               &field[i], &text[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    value = *json;

    return lines_redis_format(r->pool, json, "%V}", &value);
}


static ngx_int_t
admin_retry_find(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  argv[2];

    if (!lines_is_id(&ctx->params[0])) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "Invalid operation id");
    }

    ngx_str_set(&argv[0], "GET");

    if (lines_redis_format(r->pool, &argv[1], "lines:{ix:%V}", &ctx->params[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 2, argv, admin_retry_found);
}


static ngx_int_t
admin_retry_found(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  tenant;

    if (reply->type != REDIS_REPLY_STRING || reply->len < 3) {
        return admin_retry_unknown(r, ctx);
    }

    tenant.data = (u_char *) reply->str;
    tenant.len = reply->len;

    ctx->identity.tenant.len = tenant.len;
    ctx->identity.tenant.data = ngx_pstrdup(r->pool, &tenant);

    return ctx->identity.tenant.data ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
admin_retry_unknown(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                       "Operation not found");
}


static ngx_int_t
admin_retry_clear(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  args[1];

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:op:%V",
                           &ctx->identity.tenant, &ctx->params[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_eval(r, ctx, &lines_script_op_retry, 1, 1, args,
                      admin_retry_cleared);
}


static ngx_int_t
admin_retry_cleared(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    if (reply->type != REDIS_REPLY_STRING || reply->len == 0) {
        return admin_retry_unknown(r, ctx);
    }

    return NGX_OK;
}


static ngx_int_t
admin_retry_hint(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  args[3];

    if (lines_due(r->pool, &ctx->identity.tenant, &ctx->params[0], &args[0],
                  &args[1])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&args[2], "0");

    return lines_eval(r, ctx, &lines_script_due_add, 1, 3, args,
                      admin_retry_hinted);
}


static ngx_int_t
admin_retry_hinted(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    return NGX_OK;
}


static ngx_int_t
admin_retry_start(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_op_start(r, ctx, &ctx->identity.tenant, &ctx->params[0], 0,
                          LINES_WANT_INTENT, 0, admin_retried);
}


static ngx_int_t
admin_retried(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc,
    lines_op_t *op)
{
    return NGX_OK;
}


static ngx_int_t
admin_retry_read(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t   argv[11], *field;
    ngx_uint_t  n;

    ngx_str_set(&argv[0], "HMGET");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:op:%V",
                           &ctx->identity.tenant, &ctx->params[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    n = 2;

    for (field = admin_operation_fields; field->len; field++) {
        argv[n++] = *field;
    }

    return lines_command(r, ctx, n, argv, admin_retry_answer);
}


static ngx_int_t
admin_retry_answer(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  json;

    if (admin_operation_json(r, &ctx->identity.tenant, &ctx->params[0], reply,
                             &json)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_answer(r, ctx, NGX_HTTP_OK, &json);
}
