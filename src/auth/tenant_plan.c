
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/key_cache.h"
#include "auth/tenant_plan.h"
#include "store/calls.h"


#define LINES_PLAN_LEN      64
#define LINES_PLAN_TTL      5000
#define LINES_PLAN_ENTRIES  1024


typedef struct {
    ngx_msec_t  asked;
    u_char      tenant_len;
    u_char      plan_len;
    u_char      tenant[LINES_TENANT_LEN];
    u_char      plan[LINES_PLAN_LEN];
} lines_plan_entry_t;


static lines_plan_entry_t *plan_entry(ngx_str_t *tenant);
static ngx_int_t tenant_plan_reply(void *data, lines_plan_get_reply_t *reply);


/* one entry for each value of a hash: the last tenant has it */

static lines_plan_entry_t
    plan_entries[LINES_PLAN_ENTRIES];


ngx_int_t
lines_tenant_plan(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_str_t           *tenant;
    lines_main_conf_t   *lmcf;
    lines_plan_entry_t  *entry;

    lmcf = lines_get_main_conf(r);
    tenant = &ctx->identity.tenant;

    if (!lmcf->tenant_plan
        || ctx->identity.plan.len
        || tenant->len == 0
        || tenant->len > LINES_TENANT_LEN)
    {
        return NGX_OK;
    }

    entry = plan_entry(tenant);

    if (entry->tenant_len == tenant->len
        && ngx_memcmp(entry->tenant, tenant->data, tenant->len) == 0
        && ngx_current_msec - entry->asked < LINES_PLAN_TTL)
    {
        ctx->identity.plan.data = ngx_pnalloc(r->pool, entry->plan_len + 1);

        if (ctx->identity.plan.data) {
            ngx_memcpy(ctx->identity.plan.data, entry->plan, entry->plan_len);
            ctx->identity.plan.len = entry->plan_len;
        }

        return NGX_OK;
    }

    rc = lines_try_plan_get(&ctx->caller, tenant_plan_reply, ctx,
                            .tenant = *tenant);

    return (rc == NGX_AGAIN) ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
tenant_plan_reply(void *data, lines_plan_get_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    ngx_str_t           *tenant, *plan;
    lines_plan_entry_t  *entry;

    if (reply == NULL) {
        return NGX_OK;
    }

    tenant = &ctx->identity.tenant;
    plan = &ctx->identity.plan;

    *plan = reply->plan;

    if (plan->len > LINES_PLAN_LEN) {
        return NGX_OK;
    }

    entry = plan_entry(tenant);

    entry->asked = ngx_current_msec;
    entry->tenant_len = (u_char) tenant->len;
    ngx_memcpy(entry->tenant, tenant->data, tenant->len);
    entry->plan_len = (u_char) plan->len;

    if (plan->len) {
        ngx_memcpy(entry->plan, plan->data, plan->len);
    }

    return NGX_OK;
}


static lines_plan_entry_t *
plan_entry(ngx_str_t *tenant)
{
    return &plan_entries[
               ngx_murmur_hash2(tenant->data, tenant->len)
               % LINES_PLAN_ENTRIES];
}
