
/*
 * POST tickets/:id: the operator fulfills or cancels a ticket.  A number of
 * the inventory that fulfills one is assigned to it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/numbers.h"
#include "admin/routes.h"
#include "api/input.h"
#include "operation/inventory.h"
#include "store/scripts.h"


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
static ngx_int_t admin_ticket_found(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_ticket_read(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_ticket_state(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_ticket_lease(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_ticket_leased(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_ticket_move(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_ticket_moved(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_ticket_assign(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_ticket_assigned(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
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
    ngx_str_t  argv[2];

    ngx_str_set(&argv[0], "GET");

    if (lines_redis_format(r->pool, &argv[1], "lines:{ix:ticket.%V}",
                           &ctx->params[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 2, argv, admin_ticket_found);
}


static ngx_int_t
admin_ticket_found(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  tenant;

    if (reply->type != REDIS_REPLY_STRING) {
        return admin_ticket_unknown(r, ctx);
    }

    tenant.data = (u_char *) reply->str;
    tenant.len = reply->len;

    ctx->identity.tenant.len = tenant.len;
    ctx->identity.tenant.data = ngx_pstrdup(r->pool, &tenant);

    return ctx->identity.tenant.data ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
admin_ticket_read(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  argv[4];

    ngx_str_set(&argv[0], "HMGET");
    ngx_str_set(&argv[2], "status");
    ngx_str_set(&argv[3], "area");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:ticket:%V",
                           &ctx->identity.tenant, &ctx->params[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 4, argv, admin_ticket_state);
}


static ngx_int_t
admin_ticket_state(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t              status;
    lines_admin_ticket_t  *ticket;

    ticket = ctx->data;

    status = lines_reply_str(reply, 0);

    if (status.len == 0) {
        return admin_ticket_unknown(r, ctx);
    }

    ticket->open = lines_is(&status, "OPEN");

    return lines_reply_copy(r, reply, 1, &ticket->area);
}


/* a number of the operator's own need not be of the inventory */

static ngx_int_t
admin_ticket_lease(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t              args[LINES_INV_LEASE_ARGS];
    lines_admin_ticket_t  *ticket;

    ticket = ctx->data;

    if (!ticket->open || !lines_is(&ticket->status, "FULFILLED")) {
        return NGX_OK;
    }

    if (lines_inventory_lease(r->pool, lines_get_main_conf(r),
                              &ctx->identity.tenant, &ticket->holder, 0,
                              ticket->area.len == 3 ? &ticket->area : NULL,
                              &ticket->number, args)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_eval(r, ctx, &lines_script_inv_lease, LINES_INV_LEASE_KEYS,
                      LINES_INV_LEASE_ARGS, args, admin_ticket_leased);
}


static ngx_int_t
admin_ticket_leased(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t              word;
    lines_admin_ticket_t  *ticket;

    ticket = ctx->data;

    word = lines_reply_str(reply, 0);

    if (lines_is(&word, "unknown")) {
        return NGX_OK;
    }

    if (lines_is(&word, "none")) {
        return lines_error(r, ctx, NGX_HTTP_CONFLICT, NULL,
                           "No number is free");
    }

    if (lines_is(&word, "taken")) {
        return lines_error(r, ctx, NGX_HTTP_CONFLICT, NULL,
                           "The number is not free");
    }

    ticket->leased = 1;

    return lines_reply_copy(r, reply, 1, &ticket->number);
}


static ngx_int_t
admin_ticket_move(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t              args[5];
    lines_admin_ticket_t  *ticket;

    ticket = ctx->data;

    args[3] = ticket->status;
    args[4] = ticket->number;

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:ticket:%V",
                           &ctx->identity.tenant, &ctx->params[0])
        != NGX_OK
        || lines_redis_format(r->pool, &args[1], "lines:{%V}:ev",
                              &ctx->identity.tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[2], "lines:{%V}:t",
                              &ctx->identity.tenant)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_eval(r, ctx, &lines_script_ticket_move, 3, 5, args,
                      admin_ticket_moved);
}


static ngx_int_t
admin_ticket_moved(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t              word, status;
    lines_admin_ticket_t  *ticket;

    ticket = ctx->data;

    word = lines_reply_str(reply, 0);

    /* a number that was leased in vain goes back when it is looked at */

    if (lines_is(&word, "unknown")) {
        return admin_ticket_unknown(r, ctx);
    }

    if (lines_is(&word, "illegal")) {

        status = lines_reply_str(reply, 1);

        return lines_answer_format(r, ctx, NGX_HTTP_CONFLICT,
                                   "{\"error\":\"The ticket is %V already\","
                                   "\"status\":\"%V\"}", &status, &status);
    }

    return lines_reply_copy(r, reply, 1, &ticket->document);
}


static ngx_int_t
admin_ticket_assign(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t              args[LINES_INV_ASSIGN_ARGS];
    lines_admin_ticket_t  *ticket;

    ticket = ctx->data;

    if (!ticket->leased) {
        return NGX_OK;
    }

    lines_inventory_assign(&ticket->holder, &ticket->number, args);

    return lines_eval(r, ctx, &lines_script_inv_assign, LINES_INV_ASSIGN_KEYS,
                      LINES_INV_ASSIGN_ARGS, args, admin_ticket_assigned);
}


static ngx_int_t
admin_ticket_assigned(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply)
{
    return NGX_OK;
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
