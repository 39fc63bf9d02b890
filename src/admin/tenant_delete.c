
/*
 * DELETE of a workspace or an account: it stops to be one, which is refused
 * while lines live or operations run; then its keys, its record, lines, tickets
 * and the rest go, page by page.  A deletion that was cut short goes on when it
 * is asked again: what names a thing goes after it, once that is known to be
 * gone.
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
static ngx_int_t admin_list_keys(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_delete_keys(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_announce_keys(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_unlist_keys(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_list_lines(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_delete_lines(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_unlist_lines(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_list_tickets(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_release_tickets(ngx_http_request_t *r,
    lines_ctx_t *ctx);
static ngx_int_t admin_delete_tickets(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_unlist_tickets(ngx_http_request_t *r,
    lines_ctx_t *ctx);
static ngx_int_t admin_page(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *list);
static ngx_int_t admin_paged(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_unlink(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t nkeys, ngx_str_t *keys);
static ngx_int_t admin_unlist(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *command, const char *list, lines_step_pt next);
static ngx_int_t admin_delete_rest(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_answer_deleted(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_ignore(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);


lines_step_pt  lines_admin_delete_workspace_steps[] = {
    admin_delete_tenant,        /* 409 */
    admin_list_keys,
    admin_delete_keys,
    admin_announce_keys,
    admin_unlist_keys,
    admin_list_lines,
    admin_delete_lines,
    admin_unlist_lines,
    admin_delete_rest,
    admin_answer_deleted,
    NULL
};


lines_step_pt  lines_admin_delete_account_steps[] = {
    admin_delete_tenant,        /* 409 */
    admin_list_keys,
    admin_delete_keys,
    admin_announce_keys,
    admin_unlist_keys,
    admin_list_lines,
    admin_delete_lines,
    admin_unlist_lines,
    admin_list_tickets,
    admin_release_tickets,
    admin_delete_tickets,
    admin_unlist_tickets,
    admin_delete_rest,
    admin_answer_deleted,
    NULL
};


static ngx_int_t
admin_delete_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  args[4], *tenant;

    tenant = &ctx->identity.tenant;

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:t", tenant) != NGX_OK
        || lines_redis_format(r->pool, &args[1], "lines:{%V}:ops", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[2], "lines:{%V}:pending", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[3], "lines:{%V}:keys", tenant)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_eval(r, ctx, &lines_script_tenant_delete, 4, 4, args,
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


/* keys, a page: none can be added any more */

static ngx_int_t
admin_list_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  argv[3];

    ngx_str_set(&argv[0], "SRANDMEMBER");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:keys",
                           &ctx->identity.tenant)
        != NGX_OK
        || lines_redis_format(r->pool, &argv[2], "%d", LINES_UNLINK_BATCH)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 3, argv, admin_paged);
}


static ngx_int_t
admin_delete_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t     rc;
    ngx_str_t    *ids, key;
    ngx_uint_t    i;
    ngx_array_t  *page;

    rc = NGX_OK;
    page = ctx->data;
    ids = page->elts;

    for (i = 0; i < page->nelts; i++) {

        if (lines_redis_format(r->pool, &key, "lines:{k:%V}", &ids[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = admin_unlink(r, ctx, 1, &key);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


/* whoever hears of it may look at once, and must find nothing */

static ngx_int_t
admin_announce_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t     rc;
    ngx_str_t    *ids, argv[3];
    ngx_uint_t    i;
    ngx_array_t  *page;

    rc = NGX_OK;
    page = ctx->data;
    ids = page->elts;

    ngx_str_set(&argv[0], "PUBLISH");
    ngx_str_set(&argv[1], LINES_REVOKED);

    for (i = 0; i < page->nelts; i++) {

        argv[2] = ids[i];

        rc = lines_command(r, ctx, 3, argv, admin_ignore);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


/* with the last of them goes the tenant's record */

static ngx_int_t
admin_unlist_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_unlist(r, ctx, "SREM", "keys", admin_delete_tenant);
}


static ngx_int_t
admin_ignore(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    return NGX_OK;
}


static ngx_int_t
admin_list_lines(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_page(r, ctx, "lines");
}


static ngx_int_t
admin_delete_lines(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t     rc;
    ngx_str_t    *ids, keys[3];
    ngx_uint_t    i;
    ngx_array_t  *page;

    rc = NGX_OK;
    page = ctx->data;
    ids = page->elts;

    for (i = 0; i < page->nelts; i++) {

        if (lines_redis_format(r->pool, &keys[0], "lines:{%V}:line:%V",
                               &ctx->identity.tenant, &ids[i])
            != NGX_OK
            || lines_redis_format(r->pool, &keys[1], "lines:{%V}:op:%V",
                                  &ctx->identity.tenant, &ids[i])
               != NGX_OK
            || lines_redis_format(r->pool, &keys[2], "lines:{ix:%V}", &ids[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = admin_unlink(r, ctx, 3, keys);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


static ngx_int_t
admin_unlist_lines(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_unlist(r, ctx, "ZREM", "lines", admin_list_lines);
}


/* a page of what the tenant has in a list, from its beginning */

static ngx_int_t
admin_page(ngx_http_request_t *r, lines_ctx_t *ctx, const char *list)
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

    return lines_command(r, ctx, 4, argv, admin_paged);
}


static ngx_int_t
admin_paged(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t    *id;
    ngx_uint_t    i;
    ngx_array_t  *page;

    page = ngx_array_create(r->pool, LINES_UNLINK_BATCH, sizeof(ngx_str_t));
    if (page == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < reply->elements; i++) {

        id = ngx_array_push(page);

        if (id == NULL || lines_reply_copy(r, reply, i, id) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ctx->data = page;

    return NGX_OK;
}


/* each in a command of its own, as their slots differ */

static ngx_int_t
admin_unlink(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t nkeys,
    ngx_str_t *keys)
{
    ngx_int_t   rc;
    ngx_str_t   argv[2];
    ngx_uint_t  i;

    rc = NGX_OK;

    ngx_str_set(&argv[0], "UNLINK");

    for (i = 0; i < nkeys; i++) {

        argv[1] = keys[i];

        rc = lines_command(r, ctx, 2, argv, admin_ignore);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


/* the page's places in the list, by which what is left is found again; then
   the next page, unless this one was empty */

static ngx_int_t
admin_unlist(ngx_http_request_t *r, lines_ctx_t *ctx, const char *command,
    const char *list, lines_step_pt next)
{
    ngx_str_t     argv[2 + LINES_UNLINK_BATCH], *ids;
    ngx_uint_t    i;
    ngx_array_t  *page;

    page = ctx->data;
    ids = page->elts;

    if (page->nelts == 0) {
        return NGX_OK;
    }

    argv[0].data = (u_char *) command;
    argv[0].len = ngx_strlen(command);

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:%s",
                           &ctx->identity.tenant, list)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < page->nelts && i < LINES_UNLINK_BATCH; i++) {
        argv[2 + i] = ids[i];
    }

    lines_again_from(ctx, next);

    return lines_command(r, ctx, 2 + i, argv, admin_ignore);
}


/* tickets, a page: none can be added or fulfilled without the record */

static ngx_int_t
admin_list_tickets(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_page(r, ctx, "tickets");
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
    ngx_array_t  *page;

    rc = NGX_OK;
    page = ctx->data;
    ids = page->elts;

    for (i = 0; i < page->nelts; i++) {

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
    ngx_array_t  *page;

    rc = NGX_OK;
    page = ctx->data;
    ids = page->elts;

    for (i = 0; i < page->nelts; i++) {

        if (lines_redis_format(r->pool, &keys[0], "lines:{%V}:ticket:%V",
                               &ctx->identity.tenant, &ids[i])
            != NGX_OK
            || lines_redis_format(r->pool, &keys[1], "lines:{ix:ticket.%V}",
                                  &ids[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = admin_unlink(r, ctx, 2, keys);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


static ngx_int_t
admin_unlist_tickets(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_unlist(r, ctx, "ZREM", "tickets", admin_list_tickets);
}


static ngx_int_t
admin_delete_rest(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t    rc;
    ngx_str_t    argv[8], *tenant;
    ngx_uint_t   i;

    static const char  *names[] = {
        "lines", "ev", "win", "pending", NULL
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
