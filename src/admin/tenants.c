
/*
 * Workspaces and accounts: PUT and GET.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/input.h"
#include "store/calls.h"


#define LINES_TENANT_FIELDS  5


/* members of the body, each a field of the tenant's hash */

typedef struct {
    ngx_str_t   fields[2 * LINES_TENANT_FIELDS];
    ngx_uint_t  n;
    ngx_str_t   customer;
    ngx_uint_t  created;    /* flag */
} lines_admin_tenant_t;


static ngx_int_t admin_parse_tenant(ngx_http_request_t *r, lines_ctx_t *ctx);
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
static ngx_int_t admin_tenant_put(void *data, lines_tenant_put_reply_t *reply);
static ngx_int_t admin_get_tenant(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_show_workspace(void *data,
    lines_tenant_places_reply_t *reply);
static ngx_int_t admin_show_account(void *data,
    lines_account_show_reply_t *reply);
static ngx_uint_t admin_put_status(lines_ctx_t *ctx);
static ngx_str_t admin_customer_json(lines_ctx_t *ctx, ngx_str_t *customer);
static void admin_limit_json(ngx_str_t *limit);


lines_step_pt  lines_admin_put_tenant_steps[] = {
    admin_parse_tenant,         /* 400 */
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
admin_parse_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return ctx->identity.tenant.data[0] == 'w' ? admin_parse_workspace(r, ctx)
                                               : admin_parse_account(r, ctx);
}


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
    json_t    *limits;
    ngx_int_t  rc;

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
    json_t    *limit;
    ngx_str_t  value;

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

    at->fields[at->n].data = (u_char *) field;
    at->fields[at->n].len = ngx_strlen(field);
    at->fields[at->n + 1] = *value;
    at->n += 2;
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
    lines_admin_tenant_t  *at;

    at = ctx->data;

    rc = lines_tenants_add(&ctx->caller, NULL, NULL,
                           .tenant = ctx->identity.tenant);

    if (rc != NGX_AGAIN || at->customer.len == 0) {
        return rc;
    }

    return lines_customer_add(&ctx->caller, NULL, NULL,
                              .customer = at->customer,
                              .tenant = ctx->identity.tenant);
}


static ngx_int_t
admin_put_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_tenant_t  *at;

    at = ctx->data;

    return lines_tenant_put(&ctx->caller, admin_tenant_put, ctx,
                            .tenant = ctx->identity.tenant, .fields.n = at->n,
                            .fields.elts = at->fields);
}


static ngx_int_t
admin_tenant_put(void *data, lines_tenant_put_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_admin_tenant_t  *at;

    at = ctx->data;

    if (reply->created == -1) {
        return lines_error(ctx->request, ctx, NGX_HTTP_CONFLICT, NULL,
                           "The tenant is being deleted: send DELETE again, "
                           "until it is answered with 200");
    }

    at->created = (reply->created == 1);

    return NGX_OK;
}


static ngx_int_t
admin_get_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    if (ctx->identity.tenant.data[0] == 'a') {
        return lines_account_show(&ctx->caller, admin_show_account, ctx,
                                  .tenant = ctx->identity.tenant);
    }

    return lines_tenant_places(&ctx->caller, admin_show_workspace, ctx,
                               .tenant = ctx->identity.tenant);
}


static ngx_int_t
admin_show_workspace(void *data, lines_tenant_places_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ngx_str_t  customer;

    if (reply->subscription.len == 0) {
        ngx_str_set(&reply->subscription, "none");
    }

    customer = admin_customer_json(ctx, &reply->customer);

    return lines_answer_format(ctx->request, ctx, admin_put_status(ctx),
                      "{\"id\":\"%V\",\"plan\":\"%V\",\"subscription\":\"%V\","
                      "\"customer\":%V,\"lines\":{\"phone\":{\"included\":%L,"
                      "\"paid\":%L},\"email\":{\"included\":%L,\"paid\":%L}}}",
                      &ctx->params[0], &reply->plan, &reply->subscription,
                      &customer, reply->phone_included, reply->phone_paid,
                      reply->email_included, reply->email_paid);
}


static ngx_int_t
admin_show_account(void *data, lines_account_show_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ngx_str_t  customer;

    customer = admin_customer_json(ctx, &reply->customer);

    admin_limit_json(&reply->limit_daily);
    admin_limit_json(&reply->limit_monthly);

    return lines_answer_format(ctx->request, ctx, admin_put_status(ctx),
                  "{\"id\":\"%V\",\"plan\":\"%V\",\"customer\":%V,\"limits\":{"
                  "\"api_provision_daily\":%V,\"api_provision_monthly\":%V},"
                  "\"lines\":%L}", &ctx->params[0], &reply->plan, &customer,
                  &reply->limit_daily, &reply->limit_monthly,
                  reply->account_lines);
}


/* of a PUT or a GET */

static ngx_uint_t
admin_put_status(lines_ctx_t *ctx)
{
    lines_admin_tenant_t  *at;

    at = ctx->data;

    return at && at->created ? NGX_HTTP_CREATED : NGX_HTTP_OK;
}


static ngx_str_t
admin_customer_json(lines_ctx_t *ctx, ngx_str_t *customer)
{
    ngx_str_t  null = ngx_string("null");

    return customer->len ? lines_json_string(ctx->request->pool, customer)
                         : null;
}


static void
admin_limit_json(ngx_str_t *limit)
{
    if (limit->len == 0) {
        ngx_str_set(limit, "null");

    } else if (lines_is(limit, "unlimited")) {
        ngx_str_set(limit, "\"unlimited\"");
    }
}
