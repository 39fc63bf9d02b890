
/*
 * The deprecated way to a line: a ticket, which people fulfill.
 */

#include "account/account.h"
#include "account/routes.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "api/tenant_limits.h"
#include "http/headers.h"
#include "http/steps.h"
#include "operation/operation.h"


/* where nothing is said: 1 January 2026 */
#define LINES_DEPRECATED_SINCE  1767225600

#define LINES_TICKET_TRIES      100


typedef struct {
    ngx_str_t   type;
    ngx_str_t   area;
    ngx_str_t   id;
    ngx_str_t   name;    /* "ticket.ID": its account is found by that */
    ngx_uint_t  tries;    /* numbers that were taken */
} lines_ticket_t;


static ngx_uint_t
ticket_is_area(ngx_str_t *area)
{
    return (area->len == 3 || area->len == 5)
           && ngx_atoi(area->data, area->len) != NGX_ERROR;
}


const lines_body_input_t  lines_account_ticket_input =
    lines_body_input(lines_ticket_t,
        lines_in_word("line_request_type", lines_ticket_t, type,
                      "line_request_type must be phone", .words = { "phone" },
                      .flags = LINES_REQUIRED),
        lines_in_string("desired_area_code", lines_ticket_t, area, 16,
                        ticket_is_area, "desired_area_code must be a 3-digit "
                        "area code or a 5-digit zip code"));

const lines_body_input_t  lines_account_ticket_own =
    lines_own(lines_ticket_t);


/* RFC 9745, 8594 and 5829: since when, until when, and what instead */

ngx_int_t
lines_ticket_deprecated(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t                  value, successor;
    ngx_http_core_loc_conf_t  *clcf;
    lines_deprecated_t        *deprecated;

    static lines_deprecated_t  defaults = { .since = LINES_DEPRECATED_SINCE };

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    deprecated = lines_get_loc_conf(r)->deprecated;

    if (deprecated == NULL) {
        deprecated = &defaults;
    }

    if (lines_redis_format(r->pool, &value, "@%T",
                           deprecated->since ? deprecated->since
                                             : defaults.since)
        != NGX_OK
        || lines_add_header(r, "Deprecation", &value) != NGX_OK
        || lines_redis_format(r->pool, &successor,
                              "%Vlines/provision-preview", &clcf->name)
           != NGX_OK
        || lines_redis_format(r->pool, &value,
                              "<%V>; rel=\"successor-version\"", &successor)
           != NGX_OK
        || lines_add_header(r, "Link", &value) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (deprecated->sunset) {
        value.data = ngx_pnalloc(r->pool,
                                 sizeof("Mon, 28 Sep 1970 00:00:00 GMT"));
        if (value.data == NULL) {
            return NGX_ERROR;
        }

        value.len = ngx_http_time(value.data, deprecated->sunset) - value.data;

        if (lines_add_header(r, "Sunset", &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (!deprecated->off) {
        return NGX_OK;
    }

    return lines_json(ctx, 410, "{'status':'ERROR','message':'This endpoint "
                      "is gone; use POST %V'}", &successor);
}


/* the hint last: while it is there all that was announced is looked at */

static void
ticket_unhint(lines_ctx_t *ctx, lines_ticket_t *ticket)
{
    (void) lines_forget_due_rem(&ctx->caller,
                                .shard = lines_due_shard(&ticket->name),
                                .tenant = ctx->identity.tenant,
                                .id = ticket->name);
}


/*
 * Redis may have lost how far the numbers were.  One that is somebody's stays
 * that one's ticket: the next one, or who asks again gets one after these.
 */

static ngx_int_t
ticket_taken(lines_ctx_t *ctx, lines_ticket_t *ticket)
{
    /* once: a hundred of them say no more */

    if (ticket->tries == 0) {
        ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, 0,
                      "lines: Redis has lost tickets' numbers: \"%V\" is "
                      "taken", &ticket->name);
    }

    if (++ticket->tries == LINES_TICKET_TRIES) {
        return lines_unavailable(ctx->request, ctx, 1);
    }

    lines_again_from(ctx, lines_account_ticket_next);

    return NGX_OK;
}


lines_answered(ticket_announced, lines_ticket_t *ticket, ix_new)
{
    if (reply->ok.data) {
        return NGX_OK;
    }

    ticket_unhint(ctx, ticket);

    return ticket_taken(ctx, ticket);
}


lines_answered(ticket_hinted, lines_ticket_t *ticket, due_add)
{
    return lines_ix_new(&ctx->caller, ticket_announced, ctx,
                        .id = ticket->name, .tenant = ctx->identity.tenant);
}


lines_asks(lines_account_ticket_next, lines_ticket_t *ticket, ticket_next)
{
    return lines_redis_format(r->pool, &ticket->id, "%L", reply->number)
           == NGX_OK
           ? lines_redis_format(r->pool, &ticket->name, "ticket.%V",
                                &ticket->id)
           : NGX_ERROR;
}


/*
 * Found by its id: written before the ticket itself.  Where this request comes
 * to nothing, whoever sees its hint takes that away: so there is none of what
 * is somebody's.
 */

lines_asks(lines_account_ticket_announce, lines_ticket_t *ticket, ix_get,
           .id = ticket->name)
{
    if (reply->tenant.data) {
        return ticket_taken(ctx, ticket);
    }

    return lines_due_add(&ctx->caller, ticket_hinted, ctx,
                         .shard = lines_due_shard(&ticket->name),
                         .tenant = ctx->identity.tenant, .id = ticket->name,
                         .delay = lines_get_main_conf(r)->operation->due);
}


lines_asks(lines_account_ticket_add, lines_ticket_t *ticket, ticket_add,
           .tenant = ctx->identity.tenant, .id = ticket->id,
           .area = ticket->area,
           .most = lines_tenant_limits_of(r)->tickets)
{
    static ngx_str_t  bound = ngx_string("tickets");

    if (reply->is != LINES_TICKET_ADD_ADDED
        && reply->is != LINES_TICKET_ADD_TAKEN)
    {
        (void) lines_forget_ix_del(&ctx->caller, .id = ticket->name);
    }

    ticket_unhint(ctx, ticket);

    switch (reply->is) {

    case LINES_TICKET_ADD_ADDED:
        return lines_json_ok(ctx, "{'status':'OK','data':%V}",
                             &reply->document);

    case LINES_TICKET_ADD_FULL:
        return lines_tenant_limited(ctx, &bound, 0);

    case LINES_TICKET_ADD_TAKEN:
        return ticket_taken(ctx, ticket);

    case LINES_TICKET_ADD_LATE:
        return lines_unavailable(r, ctx, 1);
    }

    /* the account was deleted after its key had been looked at */

    return lines_refuse(ctx, 401, "Invalid API credentials");
}


ngx_int_t
lines_account_ticket_find(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t       *id;
    lines_ticket_t  *ticket = ctx->data;

    id = &ctx->params[0];

    if (id->len > 15 || ngx_atoi(id->data, id->len) == NGX_ERROR) {
        return lines_refuse(ctx, 400, "Invalid line request ticket id");
    }

    return lines_redis_format(r->pool, &ticket->name, "ticket.%V", id);
}


lines_asks(lines_account_ticket_owner, lines_ticket_t *ticket, ix_get,
           .id = ticket->name)
{
    if (reply->tenant.data == NULL) {
        return lines_refuse(ctx, 404, "Line request ticket not found");
    }

    return lines_same(&reply->tenant, &ctx->identity.tenant)
           ? NGX_OK
           : lines_refuse(ctx, 403, "The line request ticket belongs to "
                          "another account");
}


lines_asks(lines_account_ticket_get, void *none, ticket_get,
           .tenant = ctx->identity.tenant, .id = ctx->params[0])
{
    return reply->json.data
           ? lines_json_ok(ctx, "{'status':'OK','data':%V}", &reply->json)
           : lines_refuse(ctx, 404, "Line request ticket not found");
}
