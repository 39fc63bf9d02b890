
/*
 * DELETE of a workspace or an account: its record first, which is refused
 * while lines live or operations run; then its keys, lines, tickets and the
 * rest, page by page.  A deletion that was cut short goes on when it is asked
 * again: what names a thing goes after it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/routes.h"
#include "auth/auth.h"
#include "operation/inventory.h"
#include "store/scripts.h"


#define LINES_UNLINK_BATCH  50


static ngx_int_t admin_delete_tenant(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_tenant_deleted(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_delete_keys(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_keys_found(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_delete_lines(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_lines_found(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_page(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *list, lines_reply_pt handler);
static ngx_int_t admin_delete_member(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *list, ngx_str_t *id, ngx_uint_t nkeys, ngx_str_t *keys);
static ngx_int_t admin_list_tickets(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_tickets_listed(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_release_tickets(ngx_http_request_t *r,
    lines_ctx_t *ctx);
static ngx_int_t admin_delete_tickets(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_delete_rest(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_answer_deleted(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_ignore(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);


lines_step_pt  lines_admin_delete_workspace_steps[] = {
    admin_delete_tenant,        /* 409 */
    admin_delete_keys,
    admin_delete_lines,
    admin_delete_rest,
    admin_answer_deleted,
    NULL
};


lines_step_pt  lines_admin_delete_account_steps[] = {
    admin_delete_tenant,        /* 409 */
    admin_delete_keys,
    admin_delete_lines,
    admin_list_tickets,
    admin_release_tickets,
    admin_delete_tickets,
    admin_delete_rest,
    admin_answer_deleted,
    NULL
};


static ngx_int_t
admin_delete_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  args[3], *tenant;

    tenant = &ctx->identity.tenant;

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:t", tenant) != NGX_OK
        || lines_redis_format(r->pool, &args[1], "lines:{%V}:ops", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[2], "lines:{%V}:pending", tenant)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_eval(r, ctx, &lines_script_tenant_delete, 3, 3, args,
                      admin_tenant_deleted);
}


/* an unknown tenant may be one whose deletion was cut short: go on with it */

static ngx_int_t
admin_tenant_deleted(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply)
{
    ngx_str_t  result;

    result.data = (u_char *) reply->str;
    result.len = (reply->type == REDIS_REPLY_STRING) ? reply->len : 0;

    if (lines_is(&result, "lines")) {
        return lines_error(r, ctx, NGX_HTTP_CONFLICT, NULL,
                           "The tenant has live lines");
    }

    if (lines_is(&result, "operations")) {
        return lines_error(r, ctx, NGX_HTTP_CONFLICT, NULL,
                           "The tenant has unfinished operations");
    }

    return NGX_OK;
}


static ngx_int_t
admin_delete_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  argv[2];

    ngx_str_set(&argv[0], "SMEMBERS");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:keys",
                           &ctx->identity.tenant)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 2, argv, admin_keys_found);
}


static ngx_int_t
admin_keys_found(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_int_t   rc;
    ngx_str_t   argv[3], id;
    ngx_uint_t  i;

    rc = NGX_OK;

    for (i = 0; i < reply->elements; i++) {

        id = lines_reply_str(reply, i);

        ngx_str_set(&argv[0], "DEL");

        if (lines_redis_format(r->pool, &argv[1], "lines:{k:%V}", &id)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = lines_command(r, ctx, 2, argv, admin_ignore);

        if (rc != NGX_AGAIN) {
            return rc;
        }

        ngx_str_set(&argv[0], "PUBLISH");
        ngx_str_set(&argv[1], LINES_REVOKED);
        argv[2] = id;

        rc = lines_command(r, ctx, 3, argv, admin_ignore);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


static ngx_int_t
admin_ignore(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    return NGX_OK;
}


static ngx_int_t
admin_delete_lines(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_page(r, ctx, "lines", admin_lines_found);
}


static ngx_int_t
admin_lines_found(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_int_t   rc;
    ngx_str_t   id, keys[3];
    ngx_uint_t  i;

    if (reply->elements == 0) {
        return NGX_OK;
    }

    rc = NGX_OK;

    for (i = 0; i < reply->elements; i++) {

        id = lines_reply_str(reply, i);

        if (lines_redis_format(r->pool, &keys[0], "lines:{%V}:line:%V",
                               &ctx->identity.tenant, &id)
            != NGX_OK
            || lines_redis_format(r->pool, &keys[1], "lines:{%V}:op:%V",
                                  &ctx->identity.tenant, &id)
               != NGX_OK
            || lines_redis_format(r->pool, &keys[2], "lines:{ix:%V}", &id)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = admin_delete_member(r, ctx, "lines", &id, 3, keys);

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
admin_page(ngx_http_request_t *r, lines_ctx_t *ctx, const char *list,
    lines_reply_pt handler)
{
    ngx_str_t  argv[4];

    ngx_str_set(&argv[0], "ZRANGE");
    ngx_str_set(&argv[2], "0");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:%s",
                           &ctx->identity.tenant, list)
        != NGX_OK
        || lines_redis_format(r->pool, &argv[3], "%d", LINES_UNLINK_BATCH - 1)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 4, argv, handler);
}


/* its keys, each in a command of its own as their slots differ; then its
   place in the list, by which what is left would be found again */

static ngx_int_t
admin_delete_member(ngx_http_request_t *r, lines_ctx_t *ctx, const char *list,
    ngx_str_t *id, ngx_uint_t nkeys, ngx_str_t *keys)
{
    ngx_int_t   rc;
    ngx_str_t   argv[3];
    ngx_uint_t  i;

    ngx_str_set(&argv[0], "UNLINK");

    for (i = 0; i < nkeys; i++) {

        argv[1] = keys[i];

        rc = lines_command(r, ctx, 2, argv, admin_ignore);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    ngx_str_set(&argv[0], "ZREM");
    argv[2] = *id;

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:%s",
                           &ctx->identity.tenant, list)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 3, argv, admin_ignore);
}


/* tickets, a page: none can be added or fulfilled without the record */

static ngx_int_t
admin_list_tickets(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_page(r, ctx, "tickets", admin_tickets_listed);
}


static ngx_int_t
admin_tickets_listed(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply)
{
    ngx_str_t    *id;
    ngx_uint_t    i;
    ngx_array_t  *tickets;

    tickets = ngx_array_create(r->pool, LINES_UNLINK_BATCH, sizeof(ngx_str_t));
    if (tickets == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < reply->elements; i++) {

        id = ngx_array_push(tickets);

        if (id == NULL || lines_reply_copy(r, reply, i, id) != NGX_OK) {
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
admin_release_tickets(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t     rc;
    ngx_str_t     holder, *ids, args[LINES_INV_RELEASE_ARGS];
    ngx_uint_t    i;
    ngx_array_t  *tickets;

    rc = NGX_OK;
    tickets = ctx->data;
    ids = tickets->elts;

    for (i = 0; i < tickets->nelts; i++) {

        if (lines_redis_format(r->pool, &holder, "ticket.%V", &ids[i])
            != NGX_OK
            || lines_inventory_release(r->pool, &ctx->identity.tenant, &holder,
                                       lines_get_main_conf(r)->quarantine,
                                       args)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = lines_eval(r, ctx, &lines_script_inv_release,
                        LINES_INV_RELEASE_KEYS, LINES_INV_RELEASE_ARGS, args,
                        admin_ignore);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


static ngx_int_t
admin_delete_tickets(ngx_http_request_t *r, lines_ctx_t *ctx)
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

        if (lines_redis_format(r->pool, &keys[0], "lines:{%V}:ticket:%V",
                               &ctx->identity.tenant, &ids[i])
            != NGX_OK
            || lines_redis_format(r->pool, &keys[1], "lines:{ix:ticket.%V}",
                                  &ids[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = admin_delete_member(r, ctx, "tickets", &ids[i], 2, keys);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    /* the next page */

    lines_again_from(ctx, admin_list_tickets);

    return rc;
}


static ngx_int_t
admin_delete_rest(ngx_http_request_t *r, lines_ctx_t *ctx)
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
        if (lines_redis_format(r->pool, &argv[1 + i], "lines:{%V}:%s", tenant,
                               names[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    rc = lines_command(r, ctx, 1 + i, argv, admin_ignore);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_str_set(&argv[0], "SREM");
    ngx_str_set(&argv[1], "lines:{tenants}");
    argv[2] = *tenant;

    return lines_command(r, ctx, 3, argv, admin_ignore);
}


static ngx_int_t
admin_answer_deleted(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_answer_format(r, ctx, NGX_HTTP_OK,
                               "{\"id\":\"%V\",\"deleted\":true}",
                               &ctx->params[0]);
}
