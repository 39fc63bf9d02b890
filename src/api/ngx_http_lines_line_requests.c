
/*
 * Line requests that exist: read one, list them, cancel one or have its
 * payment link again.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_limit.h"
#include "ngx_http_lines_workspace.h"
#include "ngx_http_lines_listing.h"
#include "ngx_http_lines_payments.h"
#include "ngx_http_lines_subscription.h"
#include "ngx_lines_input.h"
#include "ngx_lines_id.h"


#define NGX_HTTP_LINES_LIST_DEFAULT  20


static ngx_int_t ngx_http_lines_line_request_list(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_line_request_listed(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_line_request_check_id(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_line_request_get(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_line_request_got(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_line_request_action(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_line_request_manage(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);


ngx_http_lines_step_pt  ngx_http_lines_line_request_list_steps[] = {
    ngx_http_lines_authenticate_workspace,
    ngx_http_lines_limit_identity,
    ngx_http_lines_discard_body,
    ngx_http_lines_line_request_list,          /* 400 */
    ngx_http_lines_listing_members,
    ngx_http_lines_listing_documents,
    ngx_http_lines_listing_more,
    ngx_http_lines_line_request_listed,
    NULL
};


ngx_http_lines_step_pt  ngx_http_lines_line_request_get_steps[] = {
    ngx_http_lines_authenticate_workspace,
    ngx_http_lines_limit_identity,
    ngx_http_lines_discard_body,
    ngx_http_lines_line_request_check_id,      /* 400 */
    ngx_http_lines_line_request_get,           /* 404 */
    NULL
};


ngx_http_lines_step_pt  ngx_http_lines_line_request_manage_steps[] = {
    ngx_http_lines_authenticate_workspace,
    ngx_http_lines_limit_identity,
    ngx_http_lines_line_request_check_id,      /* 400 */
    ngx_http_lines_read_optional_json,         /* 400, 413, 415 */
    ngx_http_lines_line_request_action,        /* 400 */
    ngx_http_lines_line_request_manage,        /* 402, 403, 404, 409 */
    NULL
};


static ngx_int_t
ngx_http_lines_line_request_list(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_str_t                 *status;
    ngx_http_lines_listing_t  *listing;

    listing = ngx_http_lines_listing_create(r, ctx, &ctx->identity.tenant,
                                            NGX_HTTP_LINES_LIST_DEFAULT, &rc);
    if (listing == NULL) {
        return rc;
    }

    status = &listing->status;

    if (ngx_http_lines_query(r, "status", status) == NGX_OK
        && !ngx_http_lines_is(status, "awaiting_payment")
        && !ngx_http_lines_is(status, "provisioning")
        && !ngx_http_lines_is(status, "active")
        && !ngx_http_lines_is(status, "failed")
        && !ngx_http_lines_is(status, "canceled"))
    {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                   "status must be awaiting_payment, provisioning, active, "
                   "failed or canceled");
    }

    listing->list = "requests";

    return ngx_lines_redis_format(r->pool, &listing->key, "lines:{%V}:lines",
                                  &ctx->identity.tenant);
}


static ngx_int_t
ngx_http_lines_line_request_listed(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    return ngx_http_lines_listing_answer(r, ctx,
                                  "{\"success\":true,\"lineRequests\":[");
}


static ngx_int_t
ngx_http_lines_line_request_check_id(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    if (ngx_lines_is_id(&ctx->params[0])) {
        return NGX_OK;
    }

    return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                "Invalid line request id");
}


static ngx_int_t
ngx_http_lines_line_request_get(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    return ngx_http_lines_line_read(r, ctx, ngx_http_lines_line_request_got);
}


static ngx_int_t
ngx_http_lines_line_request_got(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t  json, status, payment, required, url, invoice, unclear;

    json = ngx_http_lines_reply_str(reply, NGX_HTTP_LINES_READ_DOCUMENT);
    status = ngx_http_lines_reply_str(reply, NGX_HTTP_LINES_READ_STATUS);
    payment = ngx_http_lines_reply_str(reply, NGX_HTTP_LINES_READ_PAYMENT);
    required = ngx_http_lines_reply_str(reply, NGX_HTTP_LINES_READ_REQUIRED);

    if (json.len == 0) {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                                    "Line request not found");
    }

    unclear = ngx_http_lines_reply_str(reply, NGX_HTTP_LINES_READ_UNCLEAR);

    if (unclear.len) {
        ngx_http_lines_lapse_look(r, &ctx->identity.tenant, &ctx->params[0],
                                  &unclear);
    }

    if (!ngx_http_lines_is(&status, "awaiting_payment")) {
        return ngx_http_lines_answer_format(r, ctx, NGX_HTTP_OK,
                   "{\"success\":true,\"status\":\"%V\","
                   "\"paymentStatus\":\"%V\",\"paymentRequired\":%s,"
                   "\"line\":%V}",
                   &status, &payment,
                   ngx_http_lines_is(&required, "1") ? "true" : "false",
                   &json);
    }

    /* once: the second time what is known is good enough */

    if (ctx->data == NULL) {
        ctx->data = ctx;
        return ngx_http_lines_reconcile(r, ctx, &ctx->params[0],
                                        ngx_http_lines_line_request_get);
    }

    url = ngx_http_lines_reply_str(reply, NGX_HTTP_LINES_READ_URL);
    invoice = ngx_http_lines_reply_str(reply, NGX_HTTP_LINES_READ_INVOICE);

    return ngx_http_lines_answer_format(r, ctx, NGX_HTTP_OK,
               "{\"success\":true,\"status\":\"%V\",\"paymentStatus\":\"%V\","
               "\"paymentRequired\":true,\"line\":%V,\"paymentUrl\":%V,"
               "\"invoiceId\":%V}",
               &status, &payment, &json, &url, &invoice);
}


static ngx_int_t
ngx_http_lines_line_request_action(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_str_t  action;

    if (ngx_lines_member(ctx->body, "action", 32, &action) == NGX_OK
        && (ngx_http_lines_is(&action, "cancel")
            || ngx_http_lines_is(&action, "payment_link")))
    {
        return NGX_OK;
    }

    return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                "Unsupported action");
}


static ngx_int_t
ngx_http_lines_line_request_manage(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_str_t  action;

    if (ngx_lines_member(ctx->body, "action", 32, &action) == NGX_OK
        && ngx_http_lines_is(&action, "cancel"))
    {
        return ngx_http_lines_cancel(r, ctx);
    }

    return ngx_http_lines_payment_link(r, ctx);
}
