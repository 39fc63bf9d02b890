
/*
 * POST tickets/:id: the operator fulfills or cancels a ticket.  The number that
 * fulfills one is assigned to it first, be it the inventory's or the operator's
 * own; it goes back when it is looked at, unless the ticket names it.
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "http/text.h"
#include "operation/record.h"


typedef struct {
    ngx_str_t    status;           /* wanted */
    ngx_str_t    number;           /* fulfilledNumber; empty: any that fits */
    ngx_str_t    holder;           /* of a number, "ticket.ID" */
    int64_t      not_after;        /* with a lease: until then; 0: none */
    ngx_str_t    looks;            /* at it, before that */
} move_t;


#define BAD_NUMBER  "fulfilledNumber must be an E.164 number such as "        \
                    "+14155551234, of a ticket that is FULFILLED"

const lines_body_input_t  lines_admin_ticket_input =
    lines_body_input(move_t,
        lines_in_word("status", move_t, status,
                      "status must be FULFILLED or CANCELLED",
                      .words = { "FULFILLED", "CANCELLED" },
                      .flags = LINES_REQUIRED),
        lines_in_string("fulfilledNumber", move_t, number, 16, lines_is_e164,
                        BAD_NUMBER));


ngx_int_t
lines_admin_name_ticket(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    move_t  *move = ctx->data;

    if (move->number.len && lines_is(&move->status, "CANCELLED")) {
        return lines_refuse(ctx, 400, BAD_NUMBER);
    }

    return lines_redis_format(r->pool, &move->holder, "ticket.%V",
                              &ctx->params[0]);
}


lines_answered(number_leased, move_t *move, inv_lease)
{
    switch (reply->is) {

    case LINES_INV_LEASE_NONE:
        return lines_refuse(ctx, 409, "No number is free");

    case LINES_INV_LEASE_TAKEN:
        return lines_refuse(ctx, 409, "The number is not free");
    }

    move->number = reply->number;

    return NGX_OK;
}


lines_asks(lines_admin_read_ticket, move_t *move, ticket_state,
           .tenant = ctx->identity.tenant, .id = ctx->params[0])
{
    ngx_str_t  none = ngx_null_string;

    if (reply->status.len == 0) {
        return lines_admin_unknown(ctx);
    }

    if (!lines_is(&reply->status, "OPEN")
        || !lines_is(&move->status, "FULFILLED"))
    {
        return NGX_OK;
    }

    /* half of the time until it is looked at, which the lease begins: that is
       another slot, and another clock */

    move->not_after = reply->now
                      + (int64_t) lines_get_main_conf(r)->operation->lease;
    move->looks = reply->looks;

    return lines_inv_lease(&ctx->caller, number_leased, ctx,
                     .operation = move->holder,
                     .tenant = ctx->identity.tenant,
                     .delay = 2 * lines_get_main_conf(r)->operation->lease,
                     .wanted = move->number,
                     .area = reply->area.len == 3 ? reply->area : none,
                     .rest = lines_get_main_conf(r)->quarantine);
}


lines_answered(number_assigned, void *none, inv_assign)
{
    return reply->is == LINES_INV_ASSIGN_ASSIGNED
           ? NGX_OK : lines_refuse(ctx, 409, "The number is not free");
}


/* what was leased */

ngx_int_t
lines_admin_assign_number(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    move_t  *move = ctx->data;

    return move->not_after == 0
           ? NGX_OK
           : lines_inv_assign(&ctx->caller, number_assigned, ctx,
                              .number = move->number,
                              .operation = move->holder);
}


lines_asks(lines_admin_move_ticket, move_t *move, ticket_move,
           .tenant = ctx->identity.tenant, .id = ctx->params[0],
           .status = move->status, .number = move->number,
           .not_after = move->not_after ? &move->not_after : NULL,
           .most = 2 * lines_get_main_conf(r)->operation->lease,
           .looks = move->looks)
{
    switch (reply->is) {

    case LINES_TICKET_MOVE_UNKNOWN:
        return lines_admin_unknown(ctx);

    case LINES_TICKET_MOVE_LATE:
        return lines_unavailable(r, ctx, 1);

    case LINES_TICKET_MOVE_ILLEGAL:
        return lines_admin_conflict(ctx, "status", &reply->status,
                                    "The ticket is %V already");
    }

    return lines_json_ok(ctx, "{'data':%V}", &reply->document);
}
