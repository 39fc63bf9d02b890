
/*
 * What is deleted: an API key, or a workspace or an account, which stops to be
 * one (refused while lines live or operations run); then its keys, lines and
 * tickets go, page by page, and with the last of them its record and the rest.
 * A deletion that was cut short goes on when it is asked again: what names a
 * thing goes after it, once that is known to be gone.
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "auth/auth.h"
#include "http/digest.h"
#include "http/steps.h"


#define LINES_UNLINK_BATCH  50


typedef struct {
    lines_tenant_left_reply_t  left;    /* the page */
    ngx_uint_t                 round;   /* of it, the next */
    ngx_uint_t                 undone;  /* flag: Redis has lost its mark */
    int64_t                    at;      /* when it began; 0: of one key */
} deletion_t;


static ngx_str_t  lists[] = {
    [LINES_TENANT_LEFT_KEYS] = ngx_string("keys"),
    [LINES_TENANT_LEFT_LINES] = ngx_string("lines"),
    [LINES_TENANT_LEFT_TICKETS] = ngx_string("tickets")
};


const lines_body_input_t  lines_admin_deletion_own = lines_own(deletion_t);


ngx_int_t
lines_admin_find_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t   *id;
    deletion_t  *deletion = ctx->data;

    id = &ctx->params[1];

    if (lines_admin_key_id(r, id) != NGX_OK) {
        return NGX_ERROR;
    }

    deletion->left.is = LINES_TENANT_LEFT_KEYS;
    deletion->left.ids.n = 1;
    deletion->left.ids.elts = id;

    return NGX_OK;
}


/* in lower case, whatever tool wrote it down: one that is not listed passes for
   revoked */

ngx_int_t
lines_admin_key_id(ngx_http_request_t *r, ngx_str_t *id)
{
    size_t  len;
    u_char  bytes[LINES_SHA256_LEN];

    len = id->len / 2;

    if (len <= sizeof(bytes) && lines_hex_decode(bytes, len, id) == NGX_OK) {

        id->data = ngx_pnalloc(r->pool, id->len);
        if (id->data == NULL) {
            return NGX_ERROR;
        }

        ngx_hex_dump(id->data, bytes, len);
    }

    return id->len == 2 * LINES_SHA256_LEN ? NGX_OK
                                           : lines_hash(r->pool, id, id);
}


/* a key that is not there (any more) is revoked: DELETE is idempotent */

lines_asks(lines_admin_look_for_key, deletion_t *deletion, keys_has,
           .tenant = ctx->identity.tenant, .id = *deletion->left.ids.elts)
{
    return reply->listed == 1 ? NGX_OK : lines_admin_show_revoked(r, ctx);
}


ngx_int_t
lines_admin_show_revoked(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_json_ok(ctx, "{'id':'%V','revoked':true}", &ctx->params[1]);
}


lines_asks(lines_admin_delete_tenant, deletion_t *deletion, tenant_delete,
           .tenant = ctx->identity.tenant)
{
    switch (reply->is) {

    case LINES_TENANT_DELETE_LINES:
        return lines_refuse(ctx, 409, "The tenant has live lines");

    case LINES_TENANT_DELETE_OPERATIONS:
        return lines_refuse(ctx, 409, "The tenant has unfinished operations");

    case LINES_TENANT_DELETE_GONE:
        return lines_admin_show_deleted(r, ctx);
    }

    deletion->at = reply->at;

    return NGX_OK;
}


/*
 * None can be added any more.  What went leaves the list by which what is left
 * is found again.
 */

lines_asks(lines_admin_list_page, deletion_t *deletion, tenant_left,
           .tenant = ctx->identity.tenant, .at = deletion->at,
           .most = LINES_UNLINK_BATCH, .list = lists[deletion->left.is],
           .went = deletion->left.ids)
{
    deletion->left = *reply;
    deletion->round = 0;

    deletion->undone = (reply->is == LINES_TENANT_LEFT_UNDONE);

    return reply->is == LINES_TENANT_LEFT_GONE || deletion->undone
           ? lines_admin_show_deleted(r, ctx) : NGX_OK;
}


/* what names a thing that stays, as its deletion was lost, does so, too */

static ngx_int_t
delete_name(lines_ctx_t *ctx, ngx_str_t *name)
{
    return name->len ? lines_ix_del(&ctx->caller, NULL, NULL, .id = *name)
                     : NGX_OK;
}


lines_answered(line_dropped, void *none, line_drop)
{
    return delete_name(ctx, &reply->name);
}


lines_answered(ticket_dropped, void *none, ticket_drop)
{
    return delete_name(ctx, &reply->name);
}


/*
 * A key goes before its announcement: whoever hears of it may look at once, and
 * must find nothing.  The number of a ticket, or of an account's line, goes
 * while that is there: to whoever looks at a number that nobody names it was
 * never handed out, and would not rest.
 */

static ngx_int_t
delete_one(lines_ctx_t *ctx, ngx_str_t *id, ngx_uint_t then)
{
    ngx_str_t    name;
    deletion_t  *deletion = ctx->data;

    name = *id;

    if (deletion->left.is == LINES_TENANT_LEFT_TICKETS
        && lines_redis_format(ctx->request->pool, &name, "ticket.%V", id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    switch (2 * deletion->left.is + then) {

    case 2 * LINES_TENANT_LEFT_KEYS:
        return lines_key_del(&ctx->caller, NULL, NULL, .id = *id);

    case 2 * LINES_TENANT_LEFT_KEYS + 1:
        return lines_key_revoked(&ctx->caller, NULL, NULL, .id = *id,
                                 .channel = ngx_string(LINES_REVOKED));

    case 2 * LINES_TENANT_LEFT_LINES:
    case 2 * LINES_TENANT_LEFT_TICKETS:
        return lines_inv_release(&ctx->caller, NULL, NULL,
                  .tenant = ctx->identity.tenant,
                  .quarantine = lines_get_main_conf(ctx->request)->quarantine,
                  .operation = name);

    case 2 * LINES_TENANT_LEFT_LINES + 1:
        return lines_line_drop(&ctx->caller, line_dropped, ctx,
                               .tenant = ctx->identity.tenant, .id = *id);

    default:
        return lines_ticket_drop(&ctx->caller, ticket_dropped, ctx,
                                 .tenant = ctx->identity.tenant, .id = *id);
    }
}


/* in two rounds, each all on its way at once; and then a tenant's next page */

ngx_int_t
lines_admin_delete_page(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t    rc;
    ngx_uint_t   i;
    deletion_t  *deletion = ctx->data;

    rc = NGX_AGAIN;

    if (deletion->left.is == LINES_TENANT_LEFT_REST) {
        return NGX_OK;
    }

    if (deletion->round == 2) {

        if (deletion->at) {
            lines_again_from(ctx, lines_admin_list_page);
        }

        return NGX_OK;
    }

    for (i = 0; rc == NGX_AGAIN && i < deletion->left.ids.n; i++) {
        rc = delete_one(ctx, &deletion->left.ids.elts[i], deletion->round);
    }

    deletion->round++;
    lines_again_from(ctx, lines_admin_delete_page);

    return i ? rc : NGX_OK;
}


/*
 * Whoever made the key may have stored it since it went, and have found it listed
 * yet: it goes once more.
 */

ngx_int_t
lines_admin_unlist_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    deletion_t  *deletion = ctx->data;

    deletion->round = 0;

    return lines_keys_rem(&ctx->caller, NULL, NULL,
                          .tenant = ctx->identity.tenant,
                          .ids = deletion->left.ids);
}


/* while nobody can make another of its name, who would be found by these */

ngx_int_t
lines_admin_forget_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t    rc;
    deletion_t  *deletion = ctx->data;

    rc = lines_tenants_rem(&ctx->caller, NULL, NULL,
                           .tenant = ctx->identity.tenant);

    if (rc != NGX_AGAIN || deletion->left.customer.len == 0) {
        return rc;
    }

    return lines_customer_rem(&ctx->caller, NULL, NULL,
                              .customer = deletion->left.customer,
                              .tenant = ctx->identity.tenant);
}


/* one that is there was perhaps forgotten just now, and is found again */

lines_asks(lines_admin_end_tenant, deletion_t *deletion, tenant_end,
           .tenant = ctx->identity.tenant, .at = deletion->at)
{
    deletion->undone = (reply->is == LINES_TENANT_END_UNDONE);

    return reply->is == LINES_TENANT_END_OTHER || deletion->undone
           ? lines_admin_index(ctx, &reply->customer) : NGX_OK;
}


ngx_int_t
lines_admin_show_deleted(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    deletion_t  *deletion = ctx->data;

    /* a failover lost it: whoever asks again begins it anew */

    if (deletion->undone) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "lines: Redis has lost that \"%V\" was to be deleted",
                      &ctx->identity.tenant);

        return lines_unavailable(r, ctx, 1);
    }

    return lines_json_ok(ctx, "{'id':'%V','deleted':true}", &ctx->params[0]);
}
