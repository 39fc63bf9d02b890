
/*
 * DELETE of a workspace or an account: its record first, which is refused
 * while lines live or operations run; then its keys, lines, tickets and the
 * rest, page by page.  A deletion that was cut short goes on when it is asked
 * again: what names a thing goes after it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_admin.h"
#include "ngx_http_lines_auth.h"
#include "ngx_http_lines_inventory.h"
#include "ngx_lines_scripts.h"


#define NGX_HTTP_LINES_UNLINK_BATCH  50


static ngx_int_t ngx_http_lines_admin_delete_tenant(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_admin_tenant_deleted(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_admin_delete_keys(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_admin_keys_found(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_admin_delete_lines(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_admin_lines_found(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_admin_page(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, const char *list,
    ngx_http_lines_reply_pt handler);
static ngx_int_t ngx_http_lines_admin_delete_member(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, const char *list, ngx_str_t *id,
    ngx_uint_t nkeys, ngx_str_t *keys);
static ngx_int_t ngx_http_lines_admin_list_tickets(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_admin_tickets_listed(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_admin_release_tickets(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_admin_delete_tickets(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_admin_delete_rest(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_admin_answer_deleted(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_admin_ignore(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);


ngx_http_lines_step_pt  ngx_http_lines_admin_delete_workspace_steps[] = {
    ngx_http_lines_admin_authorize,
    ngx_http_lines_discard_body,
    ngx_http_lines_admin_workspace,
    ngx_http_lines_admin_delete_tenant,        /* 409 */
    ngx_http_lines_admin_delete_keys,
    ngx_http_lines_admin_delete_lines,
    ngx_http_lines_admin_delete_rest,
    ngx_http_lines_admin_answer_deleted,
    NULL
};


ngx_http_lines_step_pt  ngx_http_lines_admin_delete_account_steps[] = {
    ngx_http_lines_admin_authorize,
    ngx_http_lines_discard_body,
    ngx_http_lines_admin_account,
    ngx_http_lines_admin_delete_tenant,        /* 409 */
    ngx_http_lines_admin_delete_keys,
    ngx_http_lines_admin_delete_lines,
    ngx_http_lines_admin_list_tickets,
    ngx_http_lines_admin_release_tickets,
    ngx_http_lines_admin_delete_tickets,
    ngx_http_lines_admin_delete_rest,
    ngx_http_lines_admin_answer_deleted,
    NULL
};


static ngx_int_t
ngx_http_lines_admin_delete_tenant(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_str_t  args[3], *tenant;

    tenant = &ctx->identity.tenant;

    if (ngx_lines_redis_format(r->pool, &args[0], "lines:{%V}:t", tenant)
        != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[1], "lines:{%V}:ops",
                                  tenant)
           != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[2], "lines:{%V}:pending",
                                  tenant)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_eval(r, ctx, &ngx_lines_script_tenant_delete, 3, 3,
                               args, ngx_http_lines_admin_tenant_deleted);
}


/* an unknown tenant may be one whose deletion was cut short: go on with it */

static ngx_int_t
ngx_http_lines_admin_tenant_deleted(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  result;

    result.data = (u_char *) reply->str;
    result.len = (reply->type == REDIS_REPLY_STRING) ? reply->len : 0;

    if (ngx_http_lines_is(&result, "lines")) {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_CONFLICT, NULL,
                                    "The tenant has live lines");
    }

    if (ngx_http_lines_is(&result, "operations")) {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_CONFLICT, NULL,
                                    "The tenant has unfinished operations");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_admin_delete_keys(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_str_t  argv[2];

    ngx_str_set(&argv[0], "SMEMBERS");

    if (ngx_lines_redis_format(r->pool, &argv[1], "lines:{%V}:keys",
                               &ctx->identity.tenant)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_command(r, ctx, 2, argv,
                                  ngx_http_lines_admin_keys_found);
}


static ngx_int_t
ngx_http_lines_admin_keys_found(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_int_t   rc;
    ngx_str_t   argv[3], id;
    ngx_uint_t  i;

    rc = NGX_OK;

    for (i = 0; i < reply->elements; i++) {

        id = ngx_http_lines_reply_str(reply, i);

        ngx_str_set(&argv[0], "DEL");

        if (ngx_lines_redis_format(r->pool, &argv[1], "lines:{k:%V}", &id)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = ngx_http_lines_command(r, ctx, 2, argv,
                                    ngx_http_lines_admin_ignore);

        if (rc != NGX_AGAIN) {
            return rc;
        }

        ngx_str_set(&argv[0], "PUBLISH");
        ngx_str_set(&argv[1], NGX_HTTP_LINES_REVOKED);
        argv[2] = id;

        rc = ngx_http_lines_command(r, ctx, 3, argv,
                                    ngx_http_lines_admin_ignore);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


static ngx_int_t
ngx_http_lines_admin_ignore(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    redisReply *reply)
{
    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_admin_delete_lines(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    return ngx_http_lines_admin_page(r, ctx, "lines",
                                     ngx_http_lines_admin_lines_found);
}


static ngx_int_t
ngx_http_lines_admin_lines_found(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_int_t   rc;
    ngx_str_t   id, keys[3];
    ngx_uint_t  i;

    if (reply->elements == 0) {
        return NGX_OK;
    }

    rc = NGX_OK;

    for (i = 0; i < reply->elements; i++) {

        id = ngx_http_lines_reply_str(reply, i);

        if (ngx_lines_redis_format(r->pool, &keys[0], "lines:{%V}:line:%V",
                                   &ctx->identity.tenant, &id)
            != NGX_OK
            || ngx_lines_redis_format(r->pool, &keys[1], "lines:{%V}:op:%V",
                                      &ctx->identity.tenant, &id)
               != NGX_OK
            || ngx_lines_redis_format(r->pool, &keys[2], "lines:{ix:%V}", &id)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = ngx_http_lines_admin_delete_member(r, ctx, "lines", &id, 3, keys);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    /* the next page */

    ctx->step--;

    return rc;
}


/* a page of what the tenant has in a list, from its beginning */

static ngx_int_t
ngx_http_lines_admin_page(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    const char *list, ngx_http_lines_reply_pt handler)
{
    ngx_str_t  argv[4];

    ngx_str_set(&argv[0], "ZRANGE");
    ngx_str_set(&argv[2], "0");

    if (ngx_lines_redis_format(r->pool, &argv[1], "lines:{%V}:%s",
                               &ctx->identity.tenant, list)
        != NGX_OK
        || ngx_lines_redis_format(r->pool, &argv[3], "%d",
                                  NGX_HTTP_LINES_UNLINK_BATCH - 1)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_command(r, ctx, 4, argv, handler);
}


/* its keys, each in a command of its own as their slots differ; then its
   place in the list, by which what is left would be found again */

static ngx_int_t
ngx_http_lines_admin_delete_member(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, const char *list, ngx_str_t *id,
    ngx_uint_t nkeys, ngx_str_t *keys)
{
    ngx_int_t   rc;
    ngx_str_t   argv[3];
    ngx_uint_t  i;

    ngx_str_set(&argv[0], "UNLINK");

    for (i = 0; i < nkeys; i++) {

        argv[1] = keys[i];

        rc = ngx_http_lines_command(r, ctx, 2, argv,
                                    ngx_http_lines_admin_ignore);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    ngx_str_set(&argv[0], "ZREM");
    argv[2] = *id;

    if (ngx_lines_redis_format(r->pool, &argv[1], "lines:{%V}:%s",
                               &ctx->identity.tenant, list)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_command(r, ctx, 3, argv,
                                  ngx_http_lines_admin_ignore);
}


/* tickets, a page: none can be added or fulfilled without the record */

static ngx_int_t
ngx_http_lines_admin_list_tickets(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    return ngx_http_lines_admin_page(r, ctx, "tickets",
                                     ngx_http_lines_admin_tickets_listed);
}


static ngx_int_t
ngx_http_lines_admin_tickets_listed(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t    *id;
    ngx_uint_t    i;
    ngx_array_t  *tickets;

    tickets = ngx_array_create(r->pool, NGX_HTTP_LINES_UNLINK_BATCH,
                               sizeof(ngx_str_t));
    if (tickets == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < reply->elements; i++) {

        id = ngx_array_push(tickets);

        if (id == NULL
            || ngx_http_lines_reply_copy(r, reply, i, id) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ctx->data = tickets;

    return NGX_OK;
}


/*
 * The numbers first, while their tickets are there: to whoever looks at a
 * number of no ticket it was never handed out, and would not rest.
 */

static ngx_int_t
ngx_http_lines_admin_release_tickets(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t     rc;
    ngx_str_t     holder, *ids, args[NGX_HTTP_LINES_INV_RELEASE_ARGS];
    ngx_uint_t    i;
    ngx_array_t  *tickets;

    rc = NGX_OK;
    tickets = ctx->data;
    ids = tickets->elts;

    for (i = 0; i < tickets->nelts; i++) {

        if (ngx_lines_redis_format(r->pool, &holder, "ticket.%V", &ids[i])
            != NGX_OK
            || ngx_http_lines_inventory_release(r->pool,
                            &ctx->identity.tenant, &holder,
                            ngx_http_lines_get_main_conf(r)->quarantine,
                            args)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = ngx_http_lines_eval(r, ctx, &ngx_lines_script_inv_release,
                                 NGX_HTTP_LINES_INV_RELEASE_KEYS,
                                 NGX_HTTP_LINES_INV_RELEASE_ARGS, args,
                                 ngx_http_lines_admin_ignore);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


static ngx_int_t
ngx_http_lines_admin_delete_tickets(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t     rc;
    ngx_str_t    *ids, keys[2];
    ngx_uint_t    i;
    ngx_array_t  *tickets;

    tickets = ctx->data;
    ids = tickets->elts;

    if (tickets->nelts == 0) {
        return NGX_OK;
    }

    rc = NGX_OK;

    for (i = 0; i < tickets->nelts; i++) {

        if (ngx_lines_redis_format(r->pool, &keys[0], "lines:{%V}:ticket:%V",
                                   &ctx->identity.tenant, &ids[i])
            != NGX_OK
            || ngx_lines_redis_format(r->pool, &keys[1],
                                      "lines:{ix:ticket.%V}", &ids[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = ngx_http_lines_admin_delete_member(r, ctx, "tickets", &ids[i], 2,
                                                keys);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    /* the next page */

    while (*ctx->step != ngx_http_lines_admin_list_tickets) {
        ctx->step--;
    }

    ctx->step--;

    return rc;
}


static ngx_int_t
ngx_http_lines_admin_delete_rest(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t    rc;
    ngx_str_t    argv[8], *tenant;
    ngx_uint_t   i;

    static const char  *names[] = {
        "keys", "lines", "ev", "win", "pending", NULL
    };

    tenant = &ctx->identity.tenant;

    ngx_str_set(&argv[0], "UNLINK");

    for (i = 0; names[i]; i++) {
        if (ngx_lines_redis_format(r->pool, &argv[1 + i], "lines:{%V}:%s",
                                   tenant, names[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    rc = ngx_http_lines_command(r, ctx, 1 + i, argv,
                                ngx_http_lines_admin_ignore);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_str_set(&argv[0], "SREM");
    ngx_str_set(&argv[1], "lines:{tenants}");
    argv[2] = *tenant;

    return ngx_http_lines_command(r, ctx, 3, argv,
                                  ngx_http_lines_admin_ignore);
}


static ngx_int_t
ngx_http_lines_admin_answer_deleted(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    return ngx_http_lines_answer_format(r, ctx, NGX_HTTP_OK,
                                        "{\"id\":\"%V\",\"deleted\":true}",
                                        &ctx->params[0]);
}
