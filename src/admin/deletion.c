
/*
 * What is deleted: an API key, or a workspace or an account, which stops to be
 * one (refused while lines live or operations run); then its keys, its record,
 * lines, tickets and the rest go, page by page.  A deletion that was cut short
 * goes on when it is asked again: what names a thing goes after it, once that
 * is known to be gone.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/routes.h"
#include "auth/auth.h"
#include "http/digest.h"
#include "store/calls.h"


#define LINES_UNLINK_BATCH  50


/* what a tenant has, in this order; tickets are an account's */

typedef enum {
    DELETE_KEYS = 0,
    DELETE_LINES,
    DELETE_TICKETS
} part_e;

typedef struct {
    part_e                          part;
    ngx_uint_t                      then;    /* flag: of the page's second
                                                round */
    union {                                  /* the page */
        lines_list_t                ids;
        lines_keys_some_reply_t     keys;
        lines_lines_page_reply_t    lines;
        lines_tickets_page_reply_t  tickets;
    };
} deletion_t;


static ngx_int_t find_key(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t key_found(void *data, lines_keys_has_reply_t *reply);
static ngx_int_t show_revoked(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t delete_tenant(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t tenant_deleted(void *data,
    lines_tenant_delete_reply_t *reply);
static ngx_int_t list_page(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t delete_page(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t delete_one(lines_ctx_t *ctx, ngx_str_t *id);
static ngx_int_t unlist_page(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t next_page(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t delete_rest(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t show_deleted(ngx_http_request_t *r, lines_ctx_t *ctx);


lines_step_pt  lines_admin_revoke_key_steps[] = {
    find_key,
    delete_page,
    delete_page,
    unlist_page,
    show_revoked,
    NULL
};


lines_step_pt  lines_admin_delete_tenant_steps[] = {
    delete_tenant,              /* 409 */
    list_page,
    delete_page,
    delete_page,
    unlist_page,
    next_page,
    delete_rest,
    show_deleted,
    NULL
};


/* by its SHA-256, or, of a pair, by its key_id */

static ngx_int_t
find_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    u_char       digest[LINES_SHA256_LEN];
    ngx_str_t   *id;
    deletion_t  *deletion;

    id = &ctx->params[1];

    deletion = ngx_pcalloc(r->pool, sizeof(deletion_t));

    if (deletion == NULL
        || (lines_hex_decode(digest, sizeof(digest), id) != NGX_OK
            && lines_admin_hash(r->pool, id, id) != NGX_OK))
    {
        return NGX_ERROR;
    }

    ctx->data = deletion;
    deletion->ids.n = 1;
    deletion->ids.elts = id;

    return lines_keys_has(&ctx->caller, key_found, ctx,
                          .tenant = ctx->identity.tenant, .id = *id);
}


/* a key that is not there (any more) is revoked: DELETE is idempotent */

static ngx_int_t
key_found(void *data, lines_keys_has_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return reply->listed == 1 ? NGX_OK : show_revoked(ctx->request, ctx);
}


static ngx_int_t
show_revoked(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_answer_format(r, ctx, NGX_HTTP_OK,
                               "{\"id\":\"%V\",\"revoked\":true}",
                               &ctx->params[1]);
}


static ngx_int_t
delete_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ctx->data = ngx_pcalloc(r->pool, sizeof(deletion_t));
    if (ctx->data == NULL) {
        return NGX_ERROR;
    }

    return lines_tenant_delete(&ctx->caller, tenant_deleted, ctx,
                               .tenant = ctx->identity.tenant);
}


/* an unknown tenant may be one whose deletion was cut short: go on with it */

static ngx_int_t
tenant_deleted(void *data, lines_tenant_delete_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    switch (reply->is) {

    case LINES_TENANT_DELETE_LINES:
        return lines_error(ctx->request, ctx, NGX_HTTP_CONFLICT, NULL,
                           "The tenant has live lines");

    case LINES_TENANT_DELETE_OPERATIONS:
        return lines_error(ctx->request, ctx, NGX_HTTP_CONFLICT, NULL,
                           "The tenant has unfinished operations");
    }

    return NGX_OK;
}


/* none can be added any more */

static ngx_int_t
list_page(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    deletion_t  *deletion;

    deletion = ctx->data;

    switch (deletion->part) {

    case DELETE_KEYS:
        return lines_keep_keys_some(&ctx->caller, &deletion->keys,
                                    .tenant = ctx->identity.tenant,
                                    .most = LINES_UNLINK_BATCH);

    case DELETE_LINES:
        return lines_keep_lines_page(&ctx->caller, &deletion->lines,
                                     .tenant = ctx->identity.tenant,
                                     .last = LINES_UNLINK_BATCH - 1);

    default: /* DELETE_TICKETS */
        return lines_keep_tickets_page(&ctx->caller, &deletion->tickets,
                                       .tenant = ctx->identity.tenant,
                                       .last = LINES_UNLINK_BATCH - 1);
    }
}


/* one after another, all on their way at once */

static ngx_int_t
delete_page(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t    rc;
    ngx_uint_t   i;
    deletion_t  *deletion;

    rc = NGX_OK;
    deletion = ctx->data;

    for (i = 0; i < deletion->ids.n; i++) {
        rc = delete_one(ctx, &deletion->ids.elts[i]);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    deletion->then = !deletion->then;

    return rc;
}


/*
 * A key goes before its announcement: whoever hears of it may look at once, and
 * must find nothing.  A ticket's number goes while the ticket is there: to
 * whoever looks at a number of no ticket it was never handed out, and would not
 * rest.
 */

static ngx_int_t
delete_one(lines_ctx_t *ctx, ngx_str_t *id)
{
    ngx_int_t    rc;
    ngx_str_t    name;
    deletion_t  *deletion;

    name = *id;
    deletion = ctx->data;

    if (deletion->part == DELETE_TICKETS
        && lines_redis_format(ctx->request->pool, &name, "ticket.%V", id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    switch (2 * deletion->part + deletion->then) {

    case 2 * DELETE_KEYS:
        return lines_key_del(&ctx->caller, NULL, NULL, .id = *id);

    case 2 * DELETE_KEYS + 1:
        return lines_key_revoked(&ctx->caller, NULL, NULL, .id = *id,
                                 .channel = ngx_string(LINES_REVOKED));

    case 2 * DELETE_LINES:
        return lines_line_unlink(&ctx->caller, NULL, NULL,
                                 .tenant = ctx->identity.tenant, .id = *id);

    case 2 * DELETE_TICKETS:
        return lines_inv_release(&ctx->caller, NULL, NULL,
                  .tenant = ctx->identity.tenant,
                  .quarantine = lines_get_main_conf(ctx->request)->quarantine,
                  .operation = name);

    case 2 * DELETE_TICKETS + 1:
        rc = lines_ticket_unlink(&ctx->caller, NULL, NULL,
                                 .tenant = ctx->identity.tenant, .id = *id);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return lines_ix_del(&ctx->caller, NULL, NULL, .id = name);
}


/* off the list, by which what is left is found again */

static ngx_int_t
unlist_page(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    deletion_t  *deletion;

    deletion = ctx->data;

    if (deletion->ids.n == 0) {
        return NGX_OK;
    }

    switch (deletion->part) {

    case DELETE_KEYS:
        return lines_keys_rem(&ctx->caller, NULL, NULL,
                              .tenant = ctx->identity.tenant,
                              .ids = deletion->ids);

    case DELETE_LINES:
        return lines_lines_rem(&ctx->caller, NULL, NULL,
                               .tenant = ctx->identity.tenant,
                               .ids = deletion->ids);

    default: /* DELETE_TICKETS */
        return lines_tickets_rem(&ctx->caller, NULL, NULL,
                                 .tenant = ctx->identity.tenant,
                                 .ids = deletion->ids);
    }
}


/* until one is empty; with the last of its keys goes the tenant's record */

static ngx_int_t
next_page(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_uint_t   end;
    deletion_t  *deletion;

    deletion = ctx->data;
    end = (ctx->identity.tenant.data[0] == 'a') ? DELETE_TICKETS
                                                : DELETE_LINES;

    if (deletion->ids.n == 0 && deletion->part++ == end) {
        return NGX_OK;
    }

    lines_again_from(ctx, deletion->part == DELETE_KEYS ? delete_tenant
                                                        : list_page);
    return NGX_OK;
}


static ngx_int_t
delete_rest(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = lines_tenant_unlink(&ctx->caller, NULL, NULL,
                             .tenant = ctx->identity.tenant);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return lines_tenants_rem(&ctx->caller, NULL, NULL,
                             .tenant = ctx->identity.tenant);
}


static ngx_int_t
show_deleted(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_answer_format(r, ctx, NGX_HTTP_OK,
                               "{\"id\":\"%V\",\"deleted\":true}",
                               &ctx->params[0]);
}
