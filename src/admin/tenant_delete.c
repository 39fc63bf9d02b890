
/*
 * DELETE of a workspace or an account: it stops to be one, which is refused
 * while lines live or operations run; then its keys, lines and tickets go, page
 * by page, and with the last of them its record and the rest.  A deletion that
 * was cut short goes on when it is asked again: what names a thing goes after
 * it, once that is known to be gone.
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


/* with each of a page, one after another, and with their places in the list */

typedef struct {
    ngx_int_t  (*first)(lines_ctx_t *ctx, ngx_str_t *id);
    ngx_int_t  (*then)(lines_ctx_t *ctx, ngx_str_t *id);
    ngx_int_t  (*unlist)(lines_ctx_t *ctx, lines_list_t *ids);
} lines_admin_left_t;


static ngx_int_t admin_delete_tenant(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_tenant_deleted(void *data,
    lines_tenant_delete_reply_t *reply);
static ngx_int_t admin_list_left(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_left_listed(void *data,
    lines_tenant_left_reply_t *reply);
static ngx_int_t admin_first(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_then(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_each(lines_ctx_t *ctx,
    ngx_int_t (*send)(lines_ctx_t *ctx, ngx_str_t *id));
static ngx_int_t admin_unlist(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_delete_key(lines_ctx_t *ctx, ngx_str_t *id);
static ngx_int_t admin_announce_key(lines_ctx_t *ctx, ngx_str_t *id);
static ngx_int_t admin_unlist_keys(lines_ctx_t *ctx, lines_list_t *ids);
static ngx_int_t admin_delete_line(lines_ctx_t *ctx, ngx_str_t *id);
static ngx_int_t admin_unlist_lines(lines_ctx_t *ctx, lines_list_t *ids);
static ngx_int_t admin_release_ticket(lines_ctx_t *ctx, ngx_str_t *id);
static ngx_int_t admin_delete_ticket(lines_ctx_t *ctx, ngx_str_t *id);
static ngx_int_t admin_unlist_tickets(lines_ctx_t *ctx, lines_list_t *ids);
static ngx_int_t admin_forget_tenant(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_end_tenant(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_answer_deleted(ngx_http_request_t *r, lines_ctx_t *ctx);


lines_step_pt  lines_admin_delete_tenant_steps[] = {
    admin_delete_tenant,        /* 409 */
    admin_list_left,
    admin_first,
    admin_then,
    admin_unlist,
    admin_forget_tenant,
    admin_end_tenant,
    admin_answer_deleted,
    NULL
};


/*
 * Whoever hears of a key may look at once, and must find nothing.  A ticket's
 * number goes first: to whoever looks at a number of no ticket it was never
 * handed out, and would not rest.
 */

static lines_admin_left_t  admin_left[] = {
    [LINES_TENANT_LEFT_KEYS] =
        { admin_delete_key, admin_announce_key, admin_unlist_keys },
    [LINES_TENANT_LEFT_LINES] =
        { admin_delete_line, NULL, admin_unlist_lines },
    [LINES_TENANT_LEFT_TICKETS] =
        { admin_release_ticket, admin_delete_ticket, admin_unlist_tickets },
    [LINES_TENANT_LEFT_REST] = { NULL, NULL, NULL }
};


static ngx_int_t
admin_delete_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_tenant_delete(&ctx->caller, admin_tenant_deleted, ctx,
                               .tenant = ctx->identity.tenant);
}


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

    case LINES_TENANT_DELETE_GONE:
        return admin_answer_deleted(ctx->request, ctx);
    }

    return NGX_OK;
}


/* a page: nothing can be added any more */

static ngx_int_t
admin_list_left(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_tenant_left(&ctx->caller, admin_left_listed, ctx,
                             .tenant = ctx->identity.tenant,
                             .most = LINES_UNLINK_BATCH);
}


static ngx_int_t
admin_left_listed(void *data, lines_tenant_left_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ctx->data = reply;

    return reply->is == LINES_TENANT_LEFT_GONE
           ? admin_answer_deleted(ctx->request, ctx)
           : NGX_OK;
}


static ngx_int_t
admin_first(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_tenant_left_reply_t  *left;

    left = ctx->data;

    return admin_each(ctx, admin_left[left->is].first);
}


static ngx_int_t
admin_then(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_tenant_left_reply_t  *left;

    left = ctx->data;

    return admin_each(ctx, admin_left[left->is].then);
}


/* all on their way at once */

static ngx_int_t
admin_each(lines_ctx_t *ctx, ngx_int_t (*send)(lines_ctx_t *ctx, ngx_str_t *id))
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    lines_tenant_left_reply_t  *left;

    rc = NGX_OK;
    left = ctx->data;

    for (i = 0; send && i < left->ids.n; i++) {
        rc = send(ctx, &left->ids.elts[i]);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


/*
 * Their places in the list, by which what is left is found again; then the next
 * page, unless nothing was left.
 */

static ngx_int_t
admin_unlist(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_tenant_left_reply_t  *left;

    left = ctx->data;

    if (left->is == LINES_TENANT_LEFT_REST) {
        return NGX_OK;
    }

    lines_again_from(ctx, admin_list_left);

    return admin_left[left->is].unlist(ctx, &left->ids);
}


static ngx_int_t
admin_delete_key(lines_ctx_t *ctx, ngx_str_t *id)
{
    return lines_key_del(&ctx->caller, NULL, NULL, .id = *id);
}


static ngx_int_t
admin_announce_key(lines_ctx_t *ctx, ngx_str_t *id)
{
    lines_key_revoked_args_t  args;

    ngx_str_set(&args.channel, LINES_REVOKED);
    args.id = *id;

    return lines_send_key_revoked(&ctx->caller, LINES_CALL, &args, NULL,
                                  NULL);
}


static ngx_int_t
admin_unlist_keys(lines_ctx_t *ctx, lines_list_t *ids)
{
    return lines_keys_rem(&ctx->caller, NULL, NULL,
                          .tenant = ctx->identity.tenant, .ids = *ids);
}


static ngx_int_t
admin_delete_line(lines_ctx_t *ctx, ngx_str_t *id)
{
    ngx_int_t  rc;

    rc = lines_line_unlink(&ctx->caller, NULL, NULL,
                           .tenant = ctx->identity.tenant, .id = *id);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return lines_ix_del(&ctx->caller, NULL, NULL, .id = *id);
}


static ngx_int_t
admin_unlist_lines(lines_ctx_t *ctx, lines_list_t *ids)
{
    return lines_lines_rem(&ctx->caller, NULL, NULL,
                           .tenant = ctx->identity.tenant, .ids = *ids);
}


static ngx_int_t
admin_release_ticket(lines_ctx_t *ctx, ngx_str_t *id)
{
    ngx_str_t  operation;

    if (lines_redis_format(ctx->request->pool, &operation, "ticket.%V",
                           id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_inv_release(&ctx->caller, NULL, NULL,
                  .tenant = ctx->identity.tenant,
                  .quarantine = lines_get_main_conf(ctx->request)->quarantine,
                  .operation = operation);
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

    rc = lines_send_ticket_unlink(&ctx->caller, LINES_CALL, &ticket, NULL,
                                  NULL);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return lines_send_ix_del(&ctx->caller, LINES_CALL, &ix, NULL, NULL);
}


static ngx_int_t
admin_unlist_tickets(lines_ctx_t *ctx, lines_list_t *ids)
{
    return lines_tickets_rem(&ctx->caller, NULL, NULL,
                             .tenant = ctx->identity.tenant, .ids = *ids);
}


/* while nobody can make another of its name, who would be found by these */

static ngx_int_t
admin_forget_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t                   rc;
    lines_tenant_left_reply_t  *left;

    left = ctx->data;

    rc = lines_tenants_rem(&ctx->caller, NULL, NULL,
                           .tenant = ctx->identity.tenant);

    if (rc != NGX_AGAIN || left->customer.len == 0) {
        return rc;
    }

    return lines_customer_rem(&ctx->caller, NULL, NULL,
                              .customer = left->customer,
                              .tenant = ctx->identity.tenant);
}


static ngx_int_t
admin_end_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_tenant_end(&ctx->caller, NULL, NULL,
                            .tenant = ctx->identity.tenant);
}


static ngx_int_t
admin_answer_deleted(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_answer_format(r, ctx, NGX_HTTP_OK,
                               "{\"id\":\"%V\",\"deleted\":true}",
                               &ctx->params[0]);
}
