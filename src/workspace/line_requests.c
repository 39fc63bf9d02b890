
/*
 * Line requests that exist: read one, list them, cancel one or have its
 * payment link again.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "api/input.h"
#include "api/listing.h"
#include "http/id.h"
#include "limit/limit.h"
#include "operation/subscription.h"
#include "workspace/payments.h"
#include "workspace/routes.h"
#include "workspace/workspace.h"


#define LINES_LIST_DEFAULT  20


static ngx_int_t line_request_list(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t line_request_get(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t line_request_got(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t line_request_action(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t line_request_manage(ngx_http_request_t *r, lines_ctx_t *ctx);


lines_step_pt  lines_line_request_list_steps[] = {
    line_request_list,          /* 400 */
    lines_listing_members,
    lines_listing_documents,
    lines_listing_more,
    lines_listing_answer,
    NULL
};


lines_step_pt  lines_line_request_get_steps[] = {
    line_request_get,           /* 404 */
    NULL
};


lines_step_pt  lines_line_request_manage_steps[] = {
    line_request_action,           /* 400 */
    line_request_manage,           /* 402, 403, 404, 409 */
    NULL
};


static ngx_int_t
line_request_list(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    ngx_str_t        *status;
    lines_listing_t  *listing;

    listing = lines_listing_create(r, ctx, &ctx->identity.tenant,
                                   LINES_LIST_DEFAULT, &rc);
    if (listing == NULL) {
        return rc;
    }

    status = &listing->status;

    if (lines_query(r, "status", status) == NGX_OK
        && !lines_is(status, "awaiting_payment")
        && !lines_is(status, "provisioning")
        && !lines_is(status, "active")
        && !lines_is(status, "failed")
        && !lines_is(status, "canceled"))
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                      "status must be awaiting_payment, provisioning, active, "
                      "failed or canceled");
    }

    listing->list = "requests";
    listing->prefix = "{\"success\":true,\"lineRequests\":[";

    return lines_redis_format(r->pool, &listing->key, "lines:{%V}:lines",
                              &ctx->identity.tenant);
}


ngx_int_t
lines_line_request_id(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    if (lines_is_id(&ctx->params[0])) {
        return NGX_OK;
    }

    return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                       "Invalid line request id");
}


static ngx_int_t
line_request_get(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_line_read(r, ctx, line_request_got);
}


static ngx_int_t
line_request_got(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  json, status, payment, required, url, invoice, unclear;

    json = lines_reply_str(reply, LINES_READ_DOCUMENT);
    status = lines_reply_str(reply, LINES_READ_STATUS);
    payment = lines_reply_str(reply, LINES_READ_PAYMENT);
    required = lines_reply_str(reply, LINES_READ_REQUIRED);

    if (json.len == 0) {
        return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                           "Line request not found");
    }

    unclear = lines_reply_str(reply, LINES_READ_UNCLEAR);

    if (unclear.len) {
        lines_lapse_look(r, &ctx->identity.tenant, &ctx->params[0], &unclear);
    }

    if (!lines_is(&status, "awaiting_payment")) {
        return lines_answer_format(r, ctx, NGX_HTTP_OK,
                             "{\"success\":true,\"status\":\"%V\","
                             "\"paymentStatus\":\"%V\",\"paymentRequired\":%s,"
                             "\"line\":%V}", &status, &payment,
                             lines_is(&required, "1") ? "true" : "false",
                             &json);
    }

    /* once: the second time what is known is good enough */

    if (ctx->data == NULL) {
        ctx->data = ctx;
        return lines_reconcile(r, ctx, &ctx->params[0], line_request_get);
    }

    url = lines_reply_str(reply, LINES_READ_URL);
    invoice = lines_reply_str(reply, LINES_READ_INVOICE);

    return lines_answer_format(r, ctx, NGX_HTTP_OK,
                "{\"success\":true,\"status\":\"%V\",\"paymentStatus\":\"%V\","
                "\"paymentRequired\":true,\"line\":%V,\"paymentUrl\":%V,"
                "\"invoiceId\":%V}", &status, &payment, &json, &url, &invoice);
}


static ngx_int_t
line_request_action(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  action;

    if (lines_member(ctx->body, "action", 32, &action) == NGX_OK
        && (lines_is(&action, "cancel") || lines_is(&action, "payment_link")))
    {
        return NGX_OK;
    }

    return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                       "Unsupported action");
}


static ngx_int_t
line_request_manage(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  action;

    if (lines_member(ctx->body, "action", 32, &action) == NGX_OK
        && lines_is(&action, "cancel"))
    {
        return lines_cancel(r, ctx);
    }

    return lines_payment_link(r, ctx);
}
