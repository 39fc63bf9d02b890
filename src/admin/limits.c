
/*
 * Limits, and the rates of their own that tenants and plans have.
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/input.h"
#include "api/json.h"
#include "http/answer.h"
#include "http/router.h"
#include "http/text.h"
#include "limit/limit.h"
#include "store/calls.h"


typedef struct {
    ngx_str_t       key;     /* the hash in Redis */
    ngx_str_t       field;
    ngx_str_t       text;    /* the rate as written */
    lines_rate_t    rate;
    int64_t         burst;
} own_rate_t;


static ngx_int_t name_rate(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_uint_t is_rate(ngx_str_t *value);
static ngx_int_t tenant_rate_put(void *data,
    lines_limit_tenant_put_reply_t *reply);
static ngx_int_t plan_rate_put(void *data,
    lines_limit_plan_put_reply_t *reply);
static ngx_int_t rate_put(lines_ctx_t *ctx);
static ngx_int_t rate_got(void *data, lines_rate_get_reply_t *reply);
static ngx_int_t rate_deleted(void *data, lines_rate_del_reply_t *reply);


ngx_int_t
lines_admin_list_limits(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_uint_t          i;
    lines_json_t        json = { .pool = r->pool };
    lines_limit_t      *limit;
    lines_main_conf_t  *lmcf;
    static const char  *fail[] = { "local", "open", "closed" };

    lmcf = lines_get_main_conf(r);

    lines_json_add(&json, "{'limits':[");

    for (i = 0; lmcf->limits && i < lmcf->limits->nelts; i++) {
        limit = ((lines_limit_t **) lmcf->limits->elts)[i];

        lines_json_add(&json, ",{'limit':'%V','key':%J,'rate':'%V','burst':%L,"
                       "'sync':'%s','fail':'%s','status':%L,'dryRun':%B}",
                       &limit->id, &limit->key, &limit->text,
                       (int64_t) limit->rate.burst,
                       limit->each ? "each" : "lease", fail[limit->fail],
                       (int64_t) limit->status, limit->dry_run);
    }

    lines_json_add(&json, "]}");

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}


ngx_int_t
lines_admin_find_limit(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_uint_t          i;
    lines_limit_t      *limit;
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(r);

    for (i = 0; lmcf->limits && i < lmcf->limits->nelts; i++) {
        limit = ((lines_limit_t **) lmcf->limits->elts)[i];

        if (lines_same(&limit->id, &ctx->params[1])) {
            return limit->kind & LINES_LIMIT_IDENTITY
                   ? name_rate(r, ctx)
                   : lines_refuse(ctx, 400, "The limit does not count by "
                                  "tenant or key");
        }
    }

    return lines_refuse(ctx, 404, "No such limit in the configuration");
}


/* a field of the tenant's hash, or "LIMIT PLAN" of the one of all plans */

static ngx_int_t
name_rate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t   *tenant;
    own_rate_t  *own;

    tenant = &ctx->identity.tenant;

    own = ngx_pcalloc(r->pool, sizeof(own_rate_t));
    if (own == NULL) {
        return NGX_ERROR;
    }

    ctx->data = own;

    if ((tenant->len ? lines_key_tenant(r->pool, &own->key, tenant)
                     : lines_key_limits(r->pool, &own->key))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_redis_format(r->pool, &own->field,
                              tenant->len ? "limit:%V" : "%V %V",
                              &ctx->params[1], &ctx->params[0]);
}


ngx_int_t
lines_admin_parse_rate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t    rc;
    own_rate_t  *own;

    static const lines_input_t  inputs[] = {
        lines_in_string("rate", own_rate_t, text, 32, is_rate,
                        "rate must be a rate, as 50r/s",
                        .flags = LINES_REQUIRED),
        lines_in_number("burst", own_rate_t, burst, 1, LINES_BURST_MAX,
                        "burst must be a positive integer",
                        .flags = LINES_NULL_BAD),
        lines_input_end
    };

    own = ctx->data;

    rc = lines_read_members(r, ctx, ctx->body, inputs, own);

    if (rc == NGX_OK) {
        (void) lines_rate_parse(&own->text, &own->rate);

        if (own->burst == 0) {
            own->burst = ngx_max((int64_t) (1e6 / own->rate.interval + 0.5), 1);
        }
    }

    return rc;
}


static ngx_uint_t
is_rate(ngx_str_t *value)
{
    lines_rate_t  rate;

    return lines_rate_parse(value, &rate) == NGX_OK;
}


ngx_int_t
lines_admin_ask_rate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t    rate;
    own_rate_t  *own = ctx->data;

    switch (ctx->route->method) {

    case NGX_HTTP_GET:
        return lines_rate_get(&ctx->caller, rate_got, ctx,
                              .limits_key = own->key, .field = own->field);

    case NGX_HTTP_DELETE:
        return lines_rate_del(&ctx->caller, rate_deleted, ctx,
                              .limits_key = own->key, .field = own->field);
    }

    if (lines_redis_format(r->pool, &rate, "%.6f %L %V", own->rate.interval,
                           own->burst, &own->text)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->identity.tenant.len) {
        return lines_limit_tenant_put(&ctx->caller, tenant_rate_put, ctx,
                                      .tenant = ctx->identity.tenant,
                                      .field = own->field, .rate = rate);
    }

    return lines_limit_plan_put(&ctx->caller, plan_rate_put, ctx,
                                .field = own->field,
                                .most = LINES_LIMIT_PLANS_MAX, .rate = rate);
}


static ngx_int_t
tenant_rate_put(void *data, lines_limit_tenant_put_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return reply->stored == 1 ? rate_put(ctx) : lines_admin_unknown(ctx);
}


static ngx_int_t
plan_rate_put(void *data, lines_limit_plan_put_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    if (reply->stored == 0) {
        return lines_refuse(ctx, 409, "Too many plans have rates of their "
                            "own");
    }

    return rate_put(ctx);
}


static ngx_int_t
rate_put(lines_ctx_t *ctx)
{
    own_rate_t  *own = ctx->data;

    return lines_json_ok(ctx, "{'limit':'%V','rate':'%V','burst':%L}",
                         &ctx->params[1], &own->text, own->burst);
}


/* "INTERVAL BURST RATE" */

static ngx_int_t
rate_got(void *data, lines_rate_get_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ngx_str_t  text, burst;

    text = reply->rate;

    if (text.len == 0) {
        return lines_refuse(ctx, 404, "The limit's own rate applies");
    }

    (void) lines_word(&text);
    burst = lines_word(&text);

    return text.len ? lines_json_ok(ctx,
                                    "{'limit':'%V','rate':'%V','burst':%V}",
                                    &ctx->params[1], &text, &burst)
                    : NGX_ERROR;
}


static ngx_int_t
rate_deleted(void *data, lines_rate_del_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return lines_json_ok(ctx, "{'limit':'%V','deleted':true}",
                         &ctx->params[1]);
}
