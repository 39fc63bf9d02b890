
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/input.h"
#include "http/answer.h"
#include "http/text.h"
#include "limit/limit.h"
#include "store/calls.h"


/* what a request is about; in ctx->data */

typedef struct {
    lines_limit_t  *limit;
    ngx_str_t       key;     /* the hash in Redis */
    ngx_str_t       field;
    ngx_str_t       text;    /* the rate as written */
    lines_rate_t    rate;
} lines_admin_limit_t;


static ngx_int_t admin_list_limits(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_tenant_limit(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_plan_limit(ngx_http_request_t *r, lines_ctx_t *ctx);
static lines_admin_limit_t *admin_find_limit(ngx_http_request_t *r,
    lines_ctx_t *ctx, ngx_int_t *rc);
static ngx_int_t admin_parse_limit(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_put_tenant_limit(ngx_http_request_t *r,
    lines_ctx_t *ctx);
static ngx_int_t admin_put_plan_limit(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_limit_value(lines_admin_limit_t *al, ngx_pool_t *pool,
    ngx_str_t *value);
static ngx_int_t admin_tenant_limit_put(void *data,
    lines_limit_tenant_put_reply_t *reply);
static ngx_int_t admin_limit_put(lines_ctx_t *ctx);
static ngx_int_t admin_plan_limit_put(void *data,
    lines_limit_plan_put_reply_t *reply);
static ngx_int_t admin_get_limit(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_limit_got(void *data, lines_rate_get_reply_t *reply);
static ngx_int_t admin_delete_limit(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_limit_deleted(void *data,
    lines_rate_del_reply_t *reply);


lines_step_pt  lines_admin_list_limits_steps[] = {
    admin_list_limits,
    NULL
};


lines_step_pt  lines_admin_put_tenant_limit_steps[] = {
    admin_tenant_limit,               /* 404, 400 */
    admin_parse_limit,                /* 400 */
    admin_put_tenant_limit,           /* 404 */
    NULL
};


lines_step_pt  lines_admin_get_tenant_limit_steps[] = {
    admin_tenant_limit,
    admin_get_limit,            /* 404 */
    NULL
};


lines_step_pt  lines_admin_delete_tenant_limit_steps[] = {
    admin_tenant_limit,
    admin_delete_limit,
    NULL
};


lines_step_pt  lines_admin_put_plan_limit_steps[] = {
    admin_plan_limit,           /* 404, 400 */
    admin_parse_limit,
    admin_put_plan_limit,       /* 409 */
    NULL
};


lines_step_pt  lines_admin_get_plan_limit_steps[] = {
    admin_plan_limit,
    admin_get_limit,
    NULL
};


lines_step_pt  lines_admin_delete_plan_limit_steps[] = {
    admin_plan_limit,
    admin_delete_limit,
    NULL
};


static ngx_int_t
admin_list_limits(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    u_char             *p, *last;
    size_t              size;
    ngx_str_t           json, key;
    ngx_uint_t          i, n;
    lines_limit_t     **limit;
    lines_main_conf_t  *lmcf;
    static const char  *fail[] = { "local", "open", "closed" };

    lmcf = lines_get_main_conf(r);

    n = lmcf->limits ? lmcf->limits->nelts : 0;
    limit = lmcf->limits ? lmcf->limits->elts : NULL;

    size = sizeof("{\"limits\":[]}");

    for (i = 0; i < n; i++) {
        size += 256 + limit[i]->id.len + limit[i]->text.len
                + 6 * limit[i]->key.len;
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    json.data = p;
    last = p + size;

    p = ngx_slprintf(p, last, "{\"limits\":[");

    for (i = 0; i < n; i++) {
        key = lines_json_string(r->pool, &limit[i]->key);
        if (key.data == NULL) {
            return NGX_ERROR;
        }

        p = ngx_slprintf(p, last,
                         "%s{\"limit\":\"%V\",\"key\":%V,"
                         "\"rate\":\"%V\",\"burst\":%ui,\"sync\":\"%s\","
                         "\"fail\":\"%s\",\"status\":%ui,\"dryRun\":%s}",
                         i ? "," : "", &limit[i]->id, &key, &limit[i]->text,
                         limit[i]->rate.burst,
                         limit[i]->each ? "each" : "lease",
                         fail[limit[i]->fail], limit[i]->status,
                         limit[i]->dry_run ? "true" : "false");
    }

    p = ngx_slprintf(p, last, "]}");

    json.len = p - json.data;

    return lines_answer(r, ctx, NGX_HTTP_OK, &json);
}


static ngx_int_t
admin_tenant_limit(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t             rc;
    lines_admin_limit_t  *al;

    al = admin_find_limit(r, ctx, &rc);

    if (al == NULL) {
        return rc;
    }

    if (lines_key_tenant(r->pool, &al->key, &ctx->identity.tenant) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_redis_format(r->pool, &al->field, "limit:%V", &al->limit->id);
}


static ngx_int_t
admin_plan_limit(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t             rc;
    lines_admin_limit_t  *al;

    if (!lines_is_tenant(&ctx->params[0])) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL, "Invalid plan");
    }

    al = admin_find_limit(r, ctx, &rc);

    if (al == NULL) {
        return rc;
    }

    if (lines_key_limits(r->pool, &al->key) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_redis_format(r->pool, &al->field, "%V %V", &al->limit->id,
                              &ctx->params[0]);
}


static lines_admin_limit_t *
admin_find_limit(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t *rc)
{
    ngx_str_t            *name;
    ngx_uint_t            i, n;
    lines_limit_t       **limit;
    lines_main_conf_t    *lmcf;
    lines_admin_limit_t  *al;

    lmcf = lines_get_main_conf(r);
    name = &ctx->params[1];

    n = lmcf->limits ? lmcf->limits->nelts : 0;
    limit = lmcf->limits ? lmcf->limits->elts : NULL;

    for (i = 0; i < n; i++) {
        if (limit[i]->id.len == name->len
            && ngx_strncmp(limit[i]->id.data, name->data, name->len) == 0)
        {
            break;
        }
    }

    if (i == n) {
        *rc = lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                          "No such limit in the configuration");
        return NULL;
    }

    if (!(limit[i]->kind & LINES_LIMIT_IDENTITY)) {
        *rc = lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                          "The limit does not count by tenant or key");
        return NULL;
    }

    *rc = NGX_ERROR;

    al = ngx_pcalloc(r->pool, sizeof(lines_admin_limit_t));
    if (al == NULL) {
        return NULL;
    }

    al->limit = limit[i];
    ctx->data = al;

    return al;
}


static ngx_int_t
admin_parse_limit(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    json_t               *burst;
    lines_admin_limit_t  *al;

    al = ctx->data;

    if (lines_member(ctx->body, "rate", 32, &al->text) != NGX_OK
        || lines_rate_parse(&al->text, &al->rate) != NGX_OK)
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "rate must be a rate, as 50r/s");
    }

    burst = json_object_get(ctx->body, "burst");

    if (burst == NULL) {
        al->rate.burst = ngx_max((ngx_uint_t) (1e6 / al->rate.interval + 0.5),
                                 1);
        return NGX_OK;
    }

    if (!json_is_integer(burst)
        || json_integer_value(burst) < 1
        || json_integer_value(burst) > LINES_BURST_MAX)
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "burst must be a positive integer");
    }

    al->rate.burst = json_integer_value(burst);

    return NGX_OK;
}


static ngx_int_t
admin_limit_value(lines_admin_limit_t *al, ngx_pool_t *pool, ngx_str_t *value)
{
    return lines_redis_format(pool, value, "%.6f %ui %V", al->rate.interval,
                              al->rate.burst, &al->text);
}


static ngx_int_t
admin_put_tenant_limit(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_limit_t  *al;
    ngx_str_t             rate;

    al = ctx->data;

    if (admin_limit_value(al, r->pool, &rate) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_limit_tenant_put(&ctx->caller, admin_tenant_limit_put, ctx,
                                  .tenant = ctx->identity.tenant,
                                  .field = al->field, .rate = rate);
}


static ngx_int_t
admin_put_plan_limit(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_limit_t  *al;
    ngx_str_t             rate;

    al = ctx->data;

    if (admin_limit_value(al, r->pool, &rate) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_limit_plan_put(&ctx->caller, admin_plan_limit_put, ctx,
                                .field = al->field,
                                .most = LINES_LIMIT_PLANS_MAX, .rate = rate);
}


static ngx_int_t
admin_plan_limit_put(void *data, lines_limit_plan_put_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    if (reply->stored == 0) {
        return lines_error(ctx->request, ctx, NGX_HTTP_CONFLICT, NULL,
                           "Too many plans have rates of their own");
    }

    return admin_limit_put(ctx);
}


static ngx_int_t
admin_tenant_limit_put(void *data, lines_limit_tenant_put_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return reply->stored == 1 ? admin_limit_put(ctx)
                              : lines_admin_no_tenant(ctx->request, ctx);
}


static ngx_int_t
admin_limit_put(lines_ctx_t *ctx)
{
    lines_admin_limit_t  *al;

    al = ctx->data;

    return lines_answer_format(ctx->request, ctx, NGX_HTTP_OK,
                            "{\"limit\":\"%V\",\"rate\":\"%V\",\"burst\":%ui}",
                            &al->limit->id, &al->text, al->rate.burst);
}


static ngx_int_t
admin_get_limit(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_limit_t  *al;

    al = ctx->data;

    return lines_rate_get(&ctx->caller, admin_limit_got, ctx,
                          .limits_key = al->key, .field = al->field);
}


/* "INTERVAL BURST RATE" */

static ngx_int_t
admin_limit_got(void *data, lines_rate_get_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    u_char               *p, *sp, *last;
    ngx_str_t             value, burst, text;
    lines_admin_limit_t  *al;

    al = ctx->data;
    value = reply->rate;

    if (value.len == 0) {
        return lines_error(ctx->request, ctx, NGX_HTTP_NOT_FOUND, NULL,
                           "The limit's own rate applies");
    }

    last = value.data + value.len;

    p = ngx_strlchr(value.data, last, ' ');
    sp = p ? ngx_strlchr(p + 1, last, ' ') : NULL;

    if (sp == NULL) {
        return NGX_ERROR;
    }

    burst.data = p + 1;
    burst.len = sp - burst.data;
    text.data = sp + 1;
    text.len = last - text.data;

    return lines_answer_format(ctx->request, ctx, NGX_HTTP_OK,
                             "{\"limit\":\"%V\",\"rate\":\"%V\",\"burst\":%V}",
                             &al->limit->id, &text, &burst);
}


static ngx_int_t
admin_delete_limit(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_limit_t  *al;

    al = ctx->data;

    return lines_rate_del(&ctx->caller, admin_limit_deleted, ctx,
                          .limits_key = al->key, .field = al->field);
}


static ngx_int_t
admin_limit_deleted(void *data, lines_rate_del_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_admin_limit_t  *al;

    al = ctx->data;

    return lines_answer_format(ctx->request, ctx, NGX_HTTP_OK,
                               "{\"limit\":\"%V\",\"deleted\":true}",
                               &al->limit->id);
}
