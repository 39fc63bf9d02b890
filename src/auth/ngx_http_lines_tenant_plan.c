
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_tenant_plan.h"
#include "ngx_http_lines_key_cache.h"


#define NGX_HTTP_LINES_PLAN_LEN      64
#define NGX_HTTP_LINES_PLAN_TTL      5000
#define NGX_HTTP_LINES_PLAN_ENTRIES  1024


typedef struct {
    ngx_msec_t    asked;
    u_char        tenant_len;
    u_char        plan_len;
    u_char        tenant[NGX_HTTP_LINES_TENANT_LEN];
    u_char        plan[NGX_HTTP_LINES_PLAN_LEN];
} ngx_http_lines_plan_entry_t;


static ngx_http_lines_plan_entry_t *ngx_http_lines_plan_entry(
    ngx_str_t *tenant);
static ngx_int_t ngx_http_lines_tenant_plan_reply(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);


/* one entry for each value of a hash: the last tenant has it */

static ngx_http_lines_plan_entry_t
    ngx_http_lines_plan_entries[NGX_HTTP_LINES_PLAN_ENTRIES];


ngx_int_t
ngx_http_lines_tenant_plan(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_str_t                     argv[3], *tenant;
    ngx_http_lines_main_conf_t   *lmcf;
    ngx_http_lines_plan_entry_t  *entry;

    lmcf = ngx_http_lines_get_main_conf(r);
    tenant = &ctx->identity.tenant;

    if (!lmcf->tenant_plan || ctx->identity.plan.len || tenant->len == 0
        || tenant->len > NGX_HTTP_LINES_TENANT_LEN)
    {
        return NGX_OK;
    }

    entry = ngx_http_lines_plan_entry(tenant);

    if (entry->tenant_len == tenant->len
        && ngx_memcmp(entry->tenant, tenant->data, tenant->len) == 0
        && ngx_current_msec - entry->asked < NGX_HTTP_LINES_PLAN_TTL)
    {
        ctx->identity.plan.data = ngx_pnalloc(r->pool, entry->plan_len + 1);

        if (ctx->identity.plan.data) {
            ngx_memcpy(ctx->identity.plan.data, entry->plan,
                       entry->plan_len);
            ctx->identity.plan.len = entry->plan_len;
        }

        return NGX_OK;
    }

    ngx_str_set(&argv[0], "HMGET");
    ngx_str_set(&argv[2], "plan");

    if (ngx_lines_redis_format(r->pool, &argv[1], "lines:{%V}:t", tenant)
        != NGX_OK)
    {
        return NGX_OK;
    }

    rc = ngx_http_lines_try_command(r, ctx, 3, argv,
                                    ngx_http_lines_tenant_plan_reply);

    return (rc == NGX_AGAIN) ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
ngx_http_lines_tenant_plan_reply(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t                    *tenant, *plan;
    ngx_http_lines_plan_entry_t  *entry;

    if (reply == NULL) {
        return NGX_OK;
    }

    tenant = &ctx->identity.tenant;
    plan = &ctx->identity.plan;

    if (ngx_http_lines_reply_copy(r, reply, 0, plan) != NGX_OK
        || plan->len > NGX_HTTP_LINES_PLAN_LEN)
    {
        return NGX_OK;
    }

    entry = ngx_http_lines_plan_entry(tenant);

    entry->asked = ngx_current_msec;
    entry->tenant_len = (u_char) tenant->len;
    ngx_memcpy(entry->tenant, tenant->data, tenant->len);
    entry->plan_len = (u_char) plan->len;

    if (plan->len) {
        ngx_memcpy(entry->plan, plan->data, plan->len);
    }

    return NGX_OK;
}


static ngx_http_lines_plan_entry_t *
ngx_http_lines_plan_entry(ngx_str_t *tenant)
{
    return &ngx_http_lines_plan_entries[
               ngx_murmur_hash2(tenant->data, tenant->len)
               % NGX_HTTP_LINES_PLAN_ENTRIES];
}
