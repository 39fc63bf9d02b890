
/*
 * Events about base plans: each workspace of the customer is marked dirty, and
 * is read by an operation of its own.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/event_private.h"
#include "operation/subscription.h"


#define LINES_CUSTOMER_TENANTS  64


static ngx_int_t event_tenants(void *data, lines_tenants_of_reply_t *reply);
static ngx_int_t event_dirty(void *data, lines_due_add_reply_t *reply);
static ngx_int_t event_dirtied(void *data, lines_plan_dirty_reply_t *reply);


/* a base plan: it is the workspaces' of its customer */

ngx_int_t
lines_event_base(ngx_http_request_t *r, lines_ctx_t *ctx, lines_event_t *ev)
{
    if (!lines_event_is_name(&ev->customer)) {
        return lines_event_ignore(r, ctx);
    }

    return lines_tenants_of(&ctx->caller, event_tenants, ctx,
                            .customer = ev->customer);
}


static ngx_int_t
event_tenants(void *data, lines_tenants_of_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    ngx_int_t            rc;
    ngx_str_t           *tenant;
    ngx_uint_t           i;
    lines_event_t       *ev;
    ngx_http_request_t  *r;

    ev = ctx->data;
    r = ctx->request;

    if (reply->tenants.n > LINES_CUSTOMER_TENANTS) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "lines: customer \"%V\" has too many workspaces",
                      &ev->customer);
    }

    ev->tenants = reply->tenants.elts;
    ev->plans = ngx_pcalloc(r->pool,
                            (reply->tenants.n + 1) * sizeof(ngx_str_t));

    if (ev->plans == NULL) {
        return NGX_ERROR;
    }

    for (i = 0;
         i < reply->tenants.n && ev->ntenants < LINES_CUSTOMER_TENANTS;
         i++)
    {
        tenant = &reply->tenants.elts[i];

        if (tenant->len < 3 || tenant->data[0] != 'w') {
            continue;
        }

        if (lines_plan_id(r->pool, tenant, &ev->plans[ev->ntenants]) != NGX_OK)
        {
            return NGX_ERROR;
        }

        ev->tenants[ev->ntenants++] = *tenant;
    }

    if (ev->ntenants == 0) {
        return lines_event_ignore(r, ctx);
    }

    for (i = 0; i < ev->ntenants; i++) {
        rc = lines_event_announce(ctx, &ev->tenants[i], &ev->plans[i],
                                  event_dirty);
        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return NGX_AGAIN;
}


static ngx_int_t
event_dirty(void *data, lines_due_add_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    ngx_int_t       rc;
    ngx_str_t       customer;
    ngx_uint_t      i;
    lines_event_t  *ev;

    ev = ctx->data;

    /* all hints first */

    if (++ev->left < ev->ntenants) {
        return NGX_OK;
    }

    customer = ev->customer;

    for (i = 0; i < ev->ntenants; i++) {
        rc = lines_plan_dirty(&ctx->caller, event_dirtied, ctx,
                              .tenant = ev->tenants[i], .id = ev->plans[i],
                              .customer = customer);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return NGX_AGAIN;
}


/* the last of several: all is recorded, and is read from here on */

static ngx_int_t
event_dirtied(void *data, lines_plan_dirty_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    ngx_uint_t           i;
    lines_event_t       *ev;
    ngx_http_request_t  *r;

    ev = ctx->data;
    r = ctx->request;

    if (--ev->left > 0) {
        return NGX_OK;
    }

    for (i = 0; i < ev->ntenants; i++) {
        (void) lines_op_spawn(lines_get_main_conf(r), &ev->tenants[i],
                              &ev->plans[i], 0, 0);
    }

    return lines_event_ignore(r, ctx);
}
