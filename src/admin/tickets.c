
/*
 * POST tickets/:id: the operator fulfills or cancels a ticket.  A number of
 * the inventory that fulfills one is assigned to it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/input.h"
#include "http/answer.h"
#include "http/text.h"
#include "operation/record.h"
#include "store/calls.h"


typedef struct {
    ngx_str_t    status;           /* wanted */
    ngx_str_t    number;           /* fulfilledNumber; empty: any that fits */
    ngx_str_t    area;
    ngx_str_t    holder;           /* of a number, "ticket.ID" */
    ngx_str_t    document;
    ngx_uint_t   open;             /* flag */
    ngx_uint_t   leased;           /* flag: the number is the inventory's */
} lines_admin_ticket_t;


static ngx_int_t admin_ticket_parse(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_ticket_find(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_ticket_found(void *data,
    lines_ix_get_reply_t *reply);
static ngx_int_t admin_ticket_read(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_ticket_state(void *data,
    lines_ticket_state_reply_t *reply);
static ngx_int_t admin_ticket_lease(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_ticket_leased(void *data,
    lines_inv_lease_reply_t *reply);
static ngx_int_t admin_ticket_move(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_ticket_moved(void *data,
    lines_ticket_move_reply_t *reply);
static ngx_int_t admin_ticket_assign(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_ticket_answer(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_ticket_unknown(ngx_http_request_t *r, lines_ctx_t *ctx);


lines_step_pt  lines_admin_move_ticket_steps[] = {
    admin_ticket_parse,         /* 400 */
    admin_ticket_find,          /* 404 */
    admin_ticket_read,
    admin_ticket_lease,         /* 409 */
    admin_ticket_move,          /* 409 */
    admin_ticket_assign,
    admin_ticket_answer,
    NULL
};


static ngx_int_t
admin_ticket_parse(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t              rc;
    lines_admin_ticket_t  *ticket;

    ticket = ngx_pcalloc(r->pool, sizeof(lines_admin_ticket_t));
    if (ticket == NULL) {
        return NGX_ERROR;
    }

    ctx->data = ticket;

    if (ctx->params[0].len > 15
        || ngx_atoi(ctx->params[0].data, ctx->params[0].len) == NGX_ERROR)
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "Invalid ticket id");
    }

    if (lines_member(ctx->body, "status", 16, &ticket->status) != NGX_OK
        || (!lines_is(&ticket->status, "FULFILLED")
            && !lines_is(&ticket->status, "CANCELLED")))
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "status must be FULFILLED or CANCELLED");
    }

    rc = lines_member(ctx->body, "fulfilledNumber", 16, &ticket->number);

    if (rc == NGX_DECLINED) {
        ngx_str_null(&ticket->number);

    } else if (rc != NGX_OK || !lines_is_e164(&ticket->number)
               || lines_is(&ticket->status, "CANCELLED"))
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "fulfilledNumber must be an E.164 number such as "
                           "+14155551234, of a ticket that is FULFILLED");
    }

    return lines_redis_format(r->pool, &ticket->holder, "ticket.%V",
                              &ctx->params[0]);
}


static ngx_int_t
admin_ticket_find(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_ticket_t  *ticket;

    ticket = ctx->data;

    return lines_ix_get(&ctx->caller, admin_ticket_found, ctx,
                        .id = ticket->holder);
}


static ngx_int_t
admin_ticket_found(void *data, lines_ix_get_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    if (reply->tenant.len == 0) {
        return admin_ticket_unknown(ctx->request, ctx);
    }

    ctx->identity.tenant = reply->tenant;

    return NGX_OK;
}


static ngx_int_t
admin_ticket_read(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_ticket_state(&ctx->caller, admin_ticket_state, ctx,
                              .tenant = ctx->identity.tenant,
                              .id = ctx->params[0]);
}


static ngx_int_t
admin_ticket_state(void *data, lines_ticket_state_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_admin_ticket_t  *ticket;

    ticket = ctx->data;

    if (reply->status.len == 0) {
        return admin_ticket_unknown(ctx->request, ctx);
    }

    ticket->open = lines_is(&reply->status, "OPEN");
    ticket->area = reply->area;

    return NGX_OK;
}


/* a number of the operator's own need not be of the inventory */

static ngx_int_t
admin_ticket_lease(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_ticket_t   *ticket;
    lines_inv_lease_args_t  args;

    ticket = ctx->data;

    if (!ticket->open || !lines_is(&ticket->status, "FULFILLED")) {
        return NGX_OK;
    }

    ngx_memzero(&args, sizeof(args));

    args.operation = ticket->holder;
    args.tenant = ctx->identity.tenant;
    args.delay = 2 * lines_get_main_conf(r)->operation->lease;
    args.wanted = ticket->number;

    if (ticket->area.len == 3) {
        args.area = ticket->area;
    }

    return lines_send_inv_lease(&ctx->caller, LINES_CALL, &args,
                                admin_ticket_leased, ctx);
}


static ngx_int_t
admin_ticket_leased(void *data, lines_inv_lease_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_admin_ticket_t  *ticket;

    ticket = ctx->data;

    switch (reply->is) {

    case LINES_INV_LEASE_UNKNOWN:
        return NGX_OK;

    case LINES_INV_LEASE_NONE:
        return lines_error(ctx->request, ctx, NGX_HTTP_CONFLICT, NULL,
                           "No number is free");

    case LINES_INV_LEASE_TAKEN:
        return lines_error(ctx->request, ctx, NGX_HTTP_CONFLICT, NULL,
                           "The number is not free");
    }

    ticket->leased = 1;
    ticket->number = reply->number;

    return NGX_OK;
}


static ngx_int_t
admin_ticket_move(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_ticket_t  *ticket;

    ticket = ctx->data;

    return lines_ticket_move(&ctx->caller, admin_ticket_moved, ctx,
                             .tenant = ctx->identity.tenant,
                             .id = ctx->params[0], .status = ticket->status,
                             .number = ticket->number);
}


static ngx_int_t
admin_ticket_moved(void *data, lines_ticket_move_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_admin_ticket_t  *ticket;

    ticket = ctx->data;

    switch (reply->is) {

    /* a number that was leased in vain goes back when it is looked at */

    case LINES_TICKET_MOVE_UNKNOWN:
        return admin_ticket_unknown(ctx->request, ctx);

    case LINES_TICKET_MOVE_ILLEGAL:
        return lines_answer_format(ctx->request, ctx, NGX_HTTP_CONFLICT,
                                   "{\"error\":\"The ticket is %V already\","
                                   "\"status\":\"%V\"}", &reply->status,
                                   &reply->status);
    }

    ticket->document = reply->document;

    return NGX_OK;
}


static ngx_int_t
admin_ticket_assign(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_ticket_t  *ticket;

    ticket = ctx->data;

    if (!ticket->leased) {
        return NGX_OK;
    }

    return lines_inv_assign(&ctx->caller, NULL, NULL,
                            .number = ticket->number,
                            .operation = ticket->holder);
}


static ngx_int_t
admin_ticket_answer(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_ticket_t  *ticket;

    ticket = ctx->data;

    return lines_answer_format(r, ctx, NGX_HTTP_OK, "{\"data\":%V}",
                               &ticket->document);
}


static ngx_int_t
admin_ticket_unknown(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL, "Ticket not found");
}
