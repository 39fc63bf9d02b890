
/*
 * Workspaces and accounts: PUT and GET.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/input.h"
#include "store/scripts.h"


#define LINES_TENANT_FIELDS  5


/* members of the body, each a field of the tenant's hash */

typedef struct {
    ngx_uint_t  nargs;      /* of tenant_put */
    ngx_str_t   args[2 + 2 * LINES_TENANT_FIELDS];
    ngx_str_t   customer;
    ngx_uint_t  created;    /* flag */
} lines_admin_tenant_t;


static ngx_int_t admin_parse_workspace(ngx_http_request_t *r,
    lines_ctx_t *ctx);
static ngx_int_t admin_parse_account(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_parse_common(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_parse_limit(ngx_http_request_t *r, lines_ctx_t *ctx,
    json_t *limits, const char *name, const char *field);
static void admin_set_field(lines_ctx_t *ctx, const char *field,
    ngx_str_t *value);
static ngx_uint_t admin_is_name(ngx_str_t *value, size_t max);
static ngx_int_t admin_index_tenant(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_put_tenant(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_tenant_put(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_get_tenant(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_show_workspace(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_show_account(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_ignore(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);


lines_step_pt  lines_admin_put_workspace_steps[] = {
    admin_parse_workspace,      /* 400 */
    admin_index_tenant,
    admin_put_tenant,           /* 409 */
    admin_get_tenant,
    NULL
};


lines_step_pt  lines_admin_put_account_steps[] = {
    admin_parse_account,        /* 400 */
    admin_index_tenant,
    admin_put_tenant,           /* 409 */
    admin_get_tenant,
    NULL
};


lines_step_pt  lines_admin_get_tenant_steps[] = {
    lines_admin_tenant_exists,        /* 404 */
    admin_get_tenant,
    NULL
};


static ngx_int_t
admin_parse_workspace(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    rc = admin_parse_common(r, ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = lines_member(ctx->body, "subscription", 16, &value);

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    if (rc == NGX_ERROR
        || (!lines_is(&value, "active")
            && !lines_is(&value, "past_due")
            && !lines_is(&value, "canceled")
            && !lines_is(&value, "none")))
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                    "subscription must be active, past_due, canceled or none");
    }

    admin_set_field(ctx, "subscription", &value);

    return NGX_OK;
}


static ngx_int_t
admin_parse_account(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    json_t     *limits;
    ngx_int_t   rc;

    rc = admin_parse_common(r, ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    limits = json_object_get(ctx->body, "limits");

    if (limits == NULL) {
        return NGX_OK;
    }

    if (!json_is_object(limits)) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "limits must be an object");
    }

    rc = admin_parse_limit(r, ctx, limits, "api_provision_daily",
                           "limit_daily");
    if (rc != NGX_OK) {
        return rc;
    }

    return admin_parse_limit(r, ctx, limits, "api_provision_monthly",
                             "limit_monthly");
}


/* a number, "unlimited", or null for the plan's own */

static ngx_int_t
admin_parse_limit(ngx_http_request_t *r, lines_ctx_t *ctx, json_t *limits,
    const char *name, const char *field)
{
    json_t     *limit;
    ngx_str_t   value;

    limit = json_object_get(limits, name);

    if (limit == NULL) {
        return NGX_OK;
    }

    ngx_str_set(&value, "");

    if (json_is_integer(limit)
        && json_integer_value(limit) >= 0
        && json_integer_value(limit) <= NGX_MAX_INT32_VALUE)
    {
        if (lines_redis_format(r->pool, &value, "%L",
                               (int64_t) json_integer_value(limit))
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else if (json_is_string(limit)
               && ngx_strcmp(json_string_value(limit), "unlimited") == 0)
    {
        ngx_str_set(&value, "unlimited");

    } else if (!json_is_null(limit)) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                        "limits must be whole numbers, \"unlimited\" or null");
    }

    admin_set_field(ctx, field, &value);

    return NGX_OK;
}


static ngx_int_t
admin_parse_common(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    json_t                *member;
    ngx_str_t              value;
    lines_admin_tenant_t  *at;

    at = ngx_pcalloc(r->pool, sizeof(lines_admin_tenant_t));
    if (at == NULL) {
        return NGX_ERROR;
    }

    ctx->data = at;
    at->nargs = 2;

    member = json_object_get(ctx->body, "plan");

    if (member) {
        if (lines_member(ctx->body, "plan", 64, &value) != NGX_OK
            || !admin_is_name(&value, 64))
        {
            return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                               "plan must be 1 to 64 letters, digits, _ or -");
        }

        admin_set_field(ctx, "plan", &value);
    }

    member = json_object_get(ctx->body, "customer");

    if (member == NULL) {
        return NGX_OK;
    }

    if (json_is_null(member)) {
        ngx_str_set(&value, "");

    } else if (lines_member(ctx->body, "customer", 255, &value) != NGX_OK
               || !admin_is_name(&value, 255))
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                     "customer must be the id of a billing customer, or null");
    }

    admin_set_field(ctx, "customer", &value);
    at->customer = value;

    return NGX_OK;
}


static void
admin_set_field(lines_ctx_t *ctx, const char *field, ngx_str_t *value)
{
    lines_admin_tenant_t  *at;

    at = ctx->data;

    at->args[at->nargs].data = (u_char *) field;
    at->args[at->nargs].len = ngx_strlen(field);
    at->args[at->nargs + 1] = *value;
    at->nargs += 2;
}


static ngx_uint_t
admin_is_name(ngx_str_t *value, size_t max)
{
    size_t  i;
    u_char  ch;

    if (value->len == 0 || value->len > max) {
        return 0;
    }

    for (i = 0; i < value->len; i++) {
        ch = value->data[i];

        if (!((ch >= '0' && ch <= '9')
              || (ch >= 'A' && ch <= 'Z')
              || (ch >= 'a' && ch <= 'z')
              || ch == '_'
              || ch == '-'))
        {
            return 0;
        }
    }

    return 1;
}


/* found again from the other slots: written before the tenant itself */

static ngx_int_t
admin_index_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t              rc;
    ngx_str_t              argv[3];
    lines_admin_tenant_t  *at;

    at = ctx->data;

    ngx_str_set(&argv[0], "SADD");
    ngx_str_set(&argv[1], "lines:{tenants}");
    argv[2] = ctx->identity.tenant;

    rc = lines_command(r, ctx, 3, argv, admin_ignore);

    if (rc != NGX_AGAIN || at->customer.len == 0) {
        return rc;
    }

    if (lines_redis_format(r->pool, &argv[1], "lines:{ix:%V}", &at->customer)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 3, argv, admin_ignore);
}


static ngx_int_t
admin_put_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_tenant_t  *at;

    at = ctx->data;

    if (lines_redis_format(r->pool, &at->args[0], "lines:{%V}:t",
                           &ctx->identity.tenant)
        != NGX_OK
        || lines_redis_format(r->pool, &at->args[1], "lines:{%V}:keys",
                              &ctx->identity.tenant)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_eval(r, ctx, &lines_script_tenant_put, 2, at->nargs, at->args,
                      admin_tenant_put);
}


static ngx_int_t
admin_tenant_put(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    lines_admin_tenant_t  *at;

    at = ctx->data;

    if (reply->type == REDIS_REPLY_INTEGER && reply->integer == -1) {
        return lines_error(r, ctx, NGX_HTTP_CONFLICT, NULL,
                           "The tenant is being deleted: send DELETE again, "
                           "until it is answered with 200");
    }

    at->created = (reply->type == REDIS_REPLY_INTEGER && reply->integer == 1);

    return NGX_OK;
}


static ngx_int_t
admin_get_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  argv[12];

    ngx_str_set(&argv[0], "HMGET");
    ngx_str_set(&argv[2], "plan");
    ngx_str_set(&argv[3], "subscription");
    ngx_str_set(&argv[4], "customer");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:t",
                           &ctx->identity.tenant)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->identity.tenant.data[0] == 'a') {
        ngx_str_set(&argv[5], "limit_daily");
        ngx_str_set(&argv[6], "limit_monthly");
        ngx_str_set(&argv[7], "account_lines");

        return lines_command(r, ctx, 8, argv, admin_show_account);
    }

    ngx_str_set(&argv[5], "phone_included");
    ngx_str_set(&argv[6], "phone_paid");
    ngx_str_set(&argv[7], "email_included");
    ngx_str_set(&argv[8], "email_paid");

    return lines_command(r, ctx, 9, argv, admin_show_workspace);
}


static ngx_int_t
admin_show_workspace(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply)
{
    ngx_str_t              value[7], customer;
    ngx_uint_t             i;
    lines_admin_tenant_t  *at;

    at = ctx->data;

    for (i = 0; i < 7; i++) {
        value[i] = lines_reply_str(reply, i);

        if (i > 2 && value[i].len == 0) {
            ngx_str_set(&value[i], "0");
        }
    }

    if (value[1].len == 0) {
        ngx_str_set(&value[1], "none");
    }

    ngx_str_set(&customer, "null");

    if (value[2].len) {
        customer = lines_json_string(r->pool, &value[2]);
    }

    return lines_answer_format(r, ctx,
                      at && at->created ? NGX_HTTP_CREATED : NGX_HTTP_OK,
                      "{\"id\":\"%V\",\"plan\":\"%V\",\"subscription\":\"%V\","
                      "\"customer\":%V,\"lines\":{\"phone\":{\"included\":%V,"
                      "\"paid\":%V},\"email\":{\"included\":%V,\"paid\":%V}}}",
                      &ctx->params[0], &value[0], &value[1], &customer,
                      &value[3], &value[4], &value[5], &value[6]);
}


static ngx_int_t
admin_show_account(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t              value[6], customer;
    ngx_uint_t             i;
    lines_admin_tenant_t  *at;

    at = ctx->data;

    for (i = 0; i < 6; i++) {
        value[i] = lines_reply_str(reply, i);
    }

    ngx_str_set(&customer, "null");

    if (value[2].len) {
        customer = lines_json_string(r->pool, &value[2]);
    }

    for (i = 3; i < 5; i++) {
        if (value[i].len == 0) {
            ngx_str_set(&value[i], "null");

        } else if (lines_is(&value[i], "unlimited")) {
            ngx_str_set(&value[i], "\"unlimited\"");
        }
    }

    if (value[5].len == 0) {
        ngx_str_set(&value[5], "0");
    }

    return lines_answer_format(r, ctx,
                  at && at->created ? NGX_HTTP_CREATED : NGX_HTTP_OK,
                  "{\"id\":\"%V\",\"plan\":\"%V\",\"customer\":%V,\"limits\":{"
                  "\"api_provision_daily\":%V,\"api_provision_monthly\":%V},"
                  "\"lines\":%V}", &ctx->params[0], &value[0], &customer,
                  &value[3], &value[4], &value[5]);
}


static ngx_int_t
admin_ignore(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    return NGX_OK;
}
