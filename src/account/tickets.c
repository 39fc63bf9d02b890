
/*
 * The deprecated way to a line: a ticket, which people fulfill.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "account/account.h"
#include "account/routes.h"
#include "api/input.h"
#include "limit/limit.h"
#include "store/scripts.h"


/* where nothing is said: 1 January 2026 */
#define LINES_DEPRECATED_SINCE  1767225600


static ngx_int_t ticket_headers(ngx_http_request_t *r,
    lines_deprecated_t *deprecated, ngx_str_t *successor);
static ngx_int_t ticket_validate(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_uint_t ticket_is_area(ngx_str_t *area);
static ngx_int_t ticket_number(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t ticket_numbered(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t ticket_index(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t ticket_indexed(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t ticket_add(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t ticket_added(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t ticket_refused(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t ticket_find(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t ticket_found(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t ticket_get(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t ticket_got(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);


typedef struct {
    ngx_str_t    area;
    ngx_str_t    id;
} lines_ticket_t;


lines_step_pt  lines_ticket_add_steps[] = {
    ticket_validate,                  /* 400 */
    ticket_number,
    ticket_index,
    ticket_add,
    NULL
};


lines_step_pt  lines_ticket_get_steps[] = {
    ticket_find,                      /* 400, 403, 404 */
    ticket_get,
    NULL
};


/* RFC 9745, 8594 and 5829: since when, until when, and what instead */

ngx_int_t
lines_ticket_deprecated(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t                  successor;
    ngx_http_core_loc_conf_t  *clcf;
    lines_deprecated_t        *deprecated;

    static lines_deprecated_t  defaults;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    deprecated = lines_get_loc_conf(r)->deprecated;

    if (deprecated == NULL) {
        deprecated = &defaults;
    }

    if (lines_redis_format(r->pool, &successor, "%Vlines/provision-preview",
                           &clcf->name)
        != NGX_OK
        || ticket_headers(r, deprecated, &successor) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!deprecated->off) {
        return NGX_OK;
    }

    return lines_answer_format(r, ctx, 410,
                  "{\"status\":\"ERROR\",\"message\":\"This endpoint is gone; "
                  "use POST %V\"}", &successor);
}


static ngx_int_t
ticket_headers(ngx_http_request_t *r, lines_deprecated_t *deprecated,
    ngx_str_t *successor)
{
    ngx_str_t  value;

    if (lines_redis_format(r->pool, &value, "@%T",
                           deprecated->since
                           ? deprecated->since
                           : (time_t) LINES_DEPRECATED_SINCE)
        != NGX_OK
        || lines_add_header(r, "Deprecation", &value) != NGX_OK
        || lines_redis_format(r->pool, &value,
                              "<%V>; rel=\"successor-version\"", successor)
           != NGX_OK
        || lines_add_header(r, "Link", &value) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (deprecated->sunset == 0) {
        return NGX_OK;
    }

    value.data = ngx_pnalloc(r->pool, sizeof("Mon, 28 Sep 1970 00:00:00 GMT"));
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_http_time(value.data, deprecated->sunset) - value.data;

    return lines_add_header(r, "Sunset", &value);
}


static ngx_int_t
ticket_validate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t        rc;
    ngx_str_t        type;
    lines_ticket_t  *ticket;

    ticket = ngx_pcalloc(r->pool, sizeof(lines_ticket_t));
    if (ticket == NULL) {
        return NGX_ERROR;
    }

    ctx->data = ticket;

    if (lines_member(ctx->body, "line_request_type", 16, &type) != NGX_OK
        || !lines_is(&type, "phone"))
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "line_request_type must be phone");
    }

    rc = lines_member(ctx->body, "desired_area_code", 16, &ticket->area);

    if (rc == NGX_DECLINED) {
        ngx_str_null(&ticket->area);
        return NGX_OK;
    }

    if (rc != NGX_OK || !ticket_is_area(&ticket->area)) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                          "desired_area_code must be a 3-digit area code or a "
                          "5-digit zip code");
    }

    return NGX_OK;
}


static ngx_uint_t
ticket_is_area(ngx_str_t *area)
{
    size_t  i;

    if (area->len != 3 && area->len != 5) {
        return 0;
    }

    for (i = 0; i < area->len; i++) {
        if (area->data[i] < '0' || area->data[i] > '9') {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ticket_number(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  argv[2];

    ngx_str_set(&argv[0], "INCR");
    ngx_str_set(&argv[1], "lines:{ticketseq}");

    return lines_command(r, ctx, 2, argv, ticket_numbered);
}


static ngx_int_t
ticket_numbered(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    lines_ticket_t  *ticket;

    ticket = ctx->data;

    if (reply->type != REDIS_REPLY_INTEGER) {
        return NGX_ERROR;
    }

    return lines_redis_format(r->pool, &ticket->id, "%L",
                              (int64_t) reply->integer);
}


/* written before the ticket itself */

static ngx_int_t
ticket_index(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t        argv[3];
    lines_ticket_t  *ticket;

    ticket = ctx->data;

    ngx_str_set(&argv[0], "SET");
    argv[2] = ctx->identity.tenant;

    if (lines_redis_format(r->pool, &argv[1], "lines:{ix:ticket.%V}",
                           &ticket->id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 3, argv, ticket_indexed);
}


static ngx_int_t
ticket_indexed(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    return NGX_OK;
}


static ngx_int_t
ticket_add(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t        args[6], *tenant;
    lines_ticket_t  *ticket;

    ticket = ctx->data;
    tenant = &ctx->identity.tenant;

    args[4] = ticket->id;
    args[5] = ticket->area;

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:ticket:%V", tenant,
                           &ticket->id)
        != NGX_OK
        || lines_redis_format(r->pool, &args[1], "lines:{%V}:tickets", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[2], "lines:{%V}:ev", tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[3], "lines:{%V}:t", tenant)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_eval(r, ctx, &lines_script_ticket_add, 4, 6, args,
                      ticket_added);
}


static ngx_int_t
ticket_added(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  document;

    if (reply->type == REDIS_REPLY_NIL) {
        return ticket_refused(r, ctx);
    }

    if (reply->type != REDIS_REPLY_STRING) {
        return NGX_ERROR;
    }

    document.data = (u_char *) reply->str;
    document.len = reply->len;

    return lines_answer_format(r, ctx, NGX_HTTP_OK,
                               "{\"status\":\"OK\",\"data\":%V}", &document);
}


/* the account was deleted after its key had been looked at */

static ngx_int_t
ticket_refused(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t        argv[2];
    lines_ticket_t  *ticket;

    ticket = ctx->data;

    ngx_str_set(&argv[0], "DEL");

    if (lines_redis_format(r->pool, &argv[1], "lines:{ix:ticket.%V}",
                           &ticket->id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    lines_forget_command(r, 2, argv);

    return lines_error(r, ctx, NGX_HTTP_UNAUTHORIZED, NULL,
                       "Invalid API credentials");
}


static ngx_int_t
ticket_find(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t   argv[2], *id;

    id = &ctx->params[0];

    if (id->len > 15 || ngx_atoi(id->data, id->len) == NGX_ERROR) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "Invalid line request ticket id");
    }

    ngx_str_set(&argv[0], "GET");

    if (lines_redis_format(r->pool, &argv[1], "lines:{ix:ticket.%V}", id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 2, argv, ticket_found);
}


static ngx_int_t
ticket_found(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  *tenant;

    tenant = &ctx->identity.tenant;

    if (reply->type != REDIS_REPLY_STRING) {
        return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                           "Line request ticket not found");
    }

    if ((size_t) reply->len != tenant->len
        || ngx_strncmp(reply->str, tenant->data, tenant->len) != 0)
    {
        return lines_error(r, ctx, NGX_HTTP_FORBIDDEN, NULL,
                         "The line request ticket belongs to another account");
    }

    return NGX_OK;
}


static ngx_int_t
ticket_get(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  argv[3];

    ngx_str_set(&argv[0], "HGET");
    ngx_str_set(&argv[2], "json");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:ticket:%V",
                           &ctx->identity.tenant, &ctx->params[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 3, argv, ticket_got);
}


static ngx_int_t
ticket_got(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    if (reply->type != REDIS_REPLY_STRING) {
        return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                           "Line request ticket not found");
    }

    return ticket_added(r, ctx, reply);
}
