
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
#include "http/answer.h"
#include "http/steps.h"
#include "store/calls.h"


#define LINES_UNLINK_BATCH  50


static ngx_int_t admin_delete_tenant(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_tenant_deleted(void *data,
    lines_tenant_delete_reply_t *reply);
static ngx_int_t admin_list_keys(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_keys_listed(void *data, lines_keys_some_reply_t *reply);
static ngx_int_t admin_each(lines_ctx_t *ctx,
    ngx_int_t (*send)(lines_ctx_t *ctx, ngx_str_t *id));
static ngx_int_t admin_delete_key(lines_ctx_t *ctx, ngx_str_t *id);
static ngx_int_t admin_announce_key(lines_ctx_t *ctx, ngx_str_t *id);
static ngx_int_t admin_delete_line(lines_ctx_t *ctx, ngx_str_t *id);
static ngx_int_t admin_release_ticket(lines_ctx_t *ctx, ngx_str_t *id);
static ngx_int_t admin_delete_ticket(lines_ctx_t *ctx, ngx_str_t *id);
static ngx_int_t admin_delete_keys(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_announce_keys(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_unlist_keys(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_list_lines(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_lines_listed(void *data,
    lines_lines_page_reply_t *reply);
static ngx_int_t admin_delete_lines(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_unlist_lines(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_list_tickets(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_tickets_listed(void *data,
    lines_tickets_page_reply_t *reply);
static ngx_int_t admin_release_tickets(ngx_http_request_t *r,
    lines_ctx_t *ctx);
static ngx_int_t admin_delete_tickets(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_unlist_tickets(ngx_http_request_t *r,
    lines_ctx_t *ctx);
static ngx_int_t admin_delete_rest(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_answer_deleted(ngx_http_request_t *r, lines_ctx_t *ctx);


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
    lines_tenant_delete_args_t  args;

    args.tenant = ctx->identity.tenant;

    return lines_tenant_delete(&ctx->caller, &args, admin_tenant_deleted, ctx);
}


/* an unknown tenant may be one whose deletion was cut short: go on with it */

static ngx_int_t
admin_tenant_deleted(void *data, lines_tenant_delete_reply_t *reply)
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


/* keys, a page: none can be added any more */

static ngx_int_t
admin_list_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_keys_some_args_t  args;

    args.tenant = ctx->identity.tenant;
    args.most = LINES_UNLINK_BATCH;

    return lines_keys_some(&ctx->caller, &args, admin_keys_listed, ctx);
}


static ngx_int_t
admin_keys_listed(void *data, lines_keys_some_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ctx->data = &reply->ids;

    return NGX_OK;
}


/* what a page has, one after another, all on their way at once */

static ngx_int_t
admin_each(lines_ctx_t *ctx, ngx_int_t (*send)(lines_ctx_t *ctx, ngx_str_t *id))
{
    ngx_int_t      rc;
    ngx_uint_t     i;
    lines_list_t  *page;

    rc = NGX_OK;
    page = ctx->data;

    for (i = 0; i < page->n; i++) {
        rc = send(ctx, &page->elts[i]);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


static ngx_int_t
admin_delete_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_each(ctx, admin_delete_key);
}


static ngx_int_t
admin_delete_key(lines_ctx_t *ctx, ngx_str_t *id)
{
    lines_key_del_args_t  args;

    args.id = *id;

    return lines_key_del(&ctx->caller, &args, NULL, NULL);
}


/* whoever hears of it may look at once, and must find nothing */

static ngx_int_t
admin_announce_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_each(ctx, admin_announce_key);
}


static ngx_int_t
admin_announce_key(lines_ctx_t *ctx, ngx_str_t *id)
{
    lines_key_revoked_args_t  args;

    ngx_str_set(&args.channel, LINES_REVOKED);
    args.id = *id;

    return lines_key_revoked(&ctx->caller, &args, NULL, NULL);
}


/*
 * The page's places in the list, by which what is left is found again; then
 * the next page, unless this one was empty.  With the last of its keys goes the
 * tenant's record.
 */

static ngx_int_t
admin_unlist_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_list_t           *page;
    lines_keys_rem_args_t   args;

    page = ctx->data;

    if (page->n == 0) {
        return NGX_OK;
    }

    args.tenant = ctx->identity.tenant;
    args.ids = *page;

    lines_again_from(ctx, admin_delete_tenant);

    return lines_keys_rem(&ctx->caller, &args, NULL, NULL);
}


static ngx_int_t
admin_list_lines(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_lines_page_args_t  args;

    args.tenant = ctx->identity.tenant;
    args.last = LINES_UNLINK_BATCH - 1;

    return lines_lines_page(&ctx->caller, &args, admin_lines_listed, ctx);
}


static ngx_int_t
admin_lines_listed(void *data, lines_lines_page_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ctx->data = &reply->ids;

    return NGX_OK;
}


static ngx_int_t
admin_delete_lines(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_each(ctx, admin_delete_line);
}


static ngx_int_t
admin_delete_line(lines_ctx_t *ctx, ngx_str_t *id)
{
    ngx_int_t                 rc;
    lines_ix_del_args_t       ix;
    lines_line_unlink_args_t  line;

    line.tenant = ctx->identity.tenant;
    line.id = *id;

    rc = lines_line_unlink(&ctx->caller, &line, NULL, NULL);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ix.id = *id;

    return lines_ix_del(&ctx->caller, &ix, NULL, NULL);
}


static ngx_int_t
admin_unlist_lines(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_list_t            *page;
    lines_lines_rem_args_t   args;

    page = ctx->data;

    if (page->n == 0) {
        return NGX_OK;
    }

    args.tenant = ctx->identity.tenant;
    args.ids = *page;

    lines_again_from(ctx, admin_list_lines);

    return lines_lines_rem(&ctx->caller, &args, NULL, NULL);
}


/* tickets, a page: none can be added or fulfilled without the record */

static ngx_int_t
admin_list_tickets(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_tickets_page_args_t  args;

    args.tenant = ctx->identity.tenant;
    args.last = LINES_UNLINK_BATCH - 1;

    return lines_tickets_page(&ctx->caller, &args, admin_tickets_listed, ctx);
}


static ngx_int_t
admin_tickets_listed(void *data, lines_tickets_page_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ctx->data = &reply->ids;

    return NGX_OK;
}


/*
 * The numbers first, while their tickets are there: to whoever looks at a
 * number of no ticket it was never handed out, and would not rest.
 */

static ngx_int_t
admin_release_tickets(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_each(ctx, admin_release_ticket);
}


static ngx_int_t
admin_release_ticket(lines_ctx_t *ctx, ngx_str_t *id)
{
    lines_inv_release_args_t  args;

    args.tenant = ctx->identity.tenant;
    args.quarantine = lines_get_main_conf(ctx->request)->quarantine;

    if (lines_redis_format(ctx->request->pool, &args.operation, "ticket.%V",
                           id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_inv_release(&ctx->caller, &args, NULL, NULL);
}


static ngx_int_t
admin_delete_tickets(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_each(ctx, admin_delete_ticket);
}


static ngx_int_t
admin_delete_ticket(lines_ctx_t *ctx, ngx_str_t *id)
{
    ngx_int_t                   rc;
    lines_ix_del_args_t         ix;
    lines_ticket_unlink_args_t  ticket;

    if (lines_redis_format(ctx->request->pool, &ix.id, "ticket.%V", id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ticket.tenant = ctx->identity.tenant;
    ticket.id = *id;

    rc = lines_ticket_unlink(&ctx->caller, &ticket, NULL, NULL);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return lines_ix_del(&ctx->caller, &ix, NULL, NULL);
}


static ngx_int_t
admin_unlist_tickets(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_list_t              *page;
    lines_tickets_rem_args_t   args;

    page = ctx->data;

    if (page->n == 0) {
        return NGX_OK;
    }

    args.tenant = ctx->identity.tenant;
    args.ids = *page;

    lines_again_from(ctx, admin_list_tickets);

    return lines_tickets_rem(&ctx->caller, &args, NULL, NULL);
}


static ngx_int_t
admin_delete_rest(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t                   rc;
    lines_tenants_rem_args_t    tenants;
    lines_tenant_unlink_args_t  tenant;

    tenant.tenant = ctx->identity.tenant;

    rc = lines_tenant_unlink(&ctx->caller, &tenant, NULL, NULL);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    tenants.tenant = ctx->identity.tenant;

    return lines_tenants_rem(&ctx->caller, &tenants, NULL, NULL);
}


static ngx_int_t
admin_answer_deleted(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_answer_format(r, ctx, NGX_HTTP_OK,
                               "{\"id\":\"%V\",\"deleted\":true}",
                               &ctx->params[0]);
}
