
/*
 * Events about base plans: each workspace of the customer is marked dirty, and
 * is read by an operation of its own.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/event_private.h"
#include "operation/subscription.h"
#include "store/scripts.h"


#define LINES_CUSTOMER_TENANTS  64


static ngx_int_t event_tenants(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t event_dirty(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t event_dirtied(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);


/* a base plan: it is the workspaces' of its customer */

ngx_int_t
lines_event_base(ngx_http_request_t *r, lines_ctx_t *ctx, lines_event_t *ev)
{
    ngx_str_t  argv[2];

    if (!lines_event_is_name(&ev->customer)) {
        return lines_event_ignore(r, ctx);
    }

    ngx_str_set(&argv[0], "SMEMBERS");

    if (lines_redis_format(r->pool, &argv[1], "lines:{ix:%V}", &ev->customer)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 2, argv, event_tenants);
}


static ngx_int_t
event_tenants(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_int_t       rc;
    ngx_str_t      *tenant, argv[3];
    ngx_uint_t      i;
    lines_event_t  *ev;

    ev = ctx->data;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        return lines_event_ignore(r, ctx);
    }

    if (reply->elements > LINES_CUSTOMER_TENANTS) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "lines: customer \"%V\" has too many workspaces",
                      &ev->customer);
    }

    ev->tenants = ngx_pcalloc(r->pool, reply->elements * sizeof(ngx_str_t));
    ev->plans = ngx_pcalloc(r->pool, reply->elements * sizeof(ngx_str_t));

    if (ev->tenants == NULL || ev->plans == NULL) {
        return NGX_ERROR;
    }

    for (i = 0;
         i < reply->elements && ev->ntenants < LINES_CUSTOMER_TENANTS;
         i++)
    {
        tenant = &ev->tenants[ev->ntenants];

        if (lines_reply_copy(r, reply, i, tenant) != NGX_OK) {
            return NGX_ERROR;
        }

        if (tenant->len < 3 || tenant->data[0] != 'w') {
            continue;
        }

        if (lines_plan_id(r->pool, tenant, &ev->plans[ev->ntenants]) != NGX_OK)
        {
            return NGX_ERROR;
        }

        ev->ntenants++;
    }

    if (ev->ntenants == 0) {
        return lines_event_ignore(r, ctx);
    }

    ngx_str_set(&argv[0], "SET");

    for (i = 0; i < ev->ntenants; i++) {
        argv[2] = ev->tenants[i];

        if (lines_redis_format(r->pool, &argv[1], "lines:{ix:%V}",
                               &ev->plans[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = lines_command(r, ctx, 3, argv, lines_event_indexed);

        if (rc != NGX_AGAIN) {
            return rc;
        }

        rc = lines_event_hint(r, ctx, &ev->tenants[i], &ev->plans[i],
                              event_dirty);
        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return NGX_AGAIN;
}


static ngx_int_t
event_dirty(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_int_t       rc;
    ngx_str_t       args[2 + 2];
    ngx_uint_t      i;
    lines_event_t  *ev;

    ev = ctx->data;

    /* all hints first */

    if (++ev->left < ev->ntenants) {
        return NGX_OK;
    }

    args[3] = ev->customer;

    for (i = 0; i < ev->ntenants; i++) {
        args[2] = ev->plans[i];

        if (lines_redis_format(r->pool, &args[0], "lines:{%V}:op:%V",
                               &ev->tenants[i], &args[2])
            != NGX_OK
            || lines_redis_format(r->pool, &args[1], "lines:{%V}:ops",
                                  &ev->tenants[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = lines_eval(r, ctx, &lines_script_plan_dirty, 2, 4, args,
                        event_dirtied);
        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return NGX_AGAIN;
}


/* the last of several: all is recorded, and is read from here on */

static ngx_int_t
event_dirtied(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_uint_t      i;
    lines_event_t  *ev;

    ev = ctx->data;

    if (--ev->left > 0) {
        return NGX_OK;
    }

    for (i = 0; i < ev->ntenants; i++) {
        (void) lines_op_spawn(lines_get_main_conf(r), &ev->tenants[i],
                              &ev->plans[i], 0, 0);
    }

    return lines_event_ignore(r, ctx);
}
