
/*
 * Line requests that exist: read one, list them, cancel one or have its
 * payment link again.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "api/input.h"
#include "api/listing.h"
#include "http/answer.h"
#include "http/id.h"
#include "http/text.h"
#include "limit/limit.h"
#include "operation/subscription.h"
#include "workspace/payments.h"
#include "workspace/routes.h"
#include "workspace/workspace.h"


#define LINES_LIST_DEFAULT  20


static ngx_int_t line_request_list(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t line_request_get(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t line_request_got(void *data, lines_line_read_reply_t *reply);
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
    line_request_manage,        /* 400, 402, 403, 404, 409 */
    NULL
};


static ngx_int_t
line_request_list(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    lines_listing_t  *listing;

    static const lines_input_t  inputs[] = {
        lines_in_word("status", lines_listing_t, status,
                      "status must be awaiting_payment, provisioning, active, "
                      "failed or canceled",
                      .words = { "awaiting_payment", "provisioning", "active",
                                 "failed", "canceled" }),
        lines_input_end
    };

    listing = lines_listing_create(r, ctx, &ctx->identity.tenant,
                                   LINES_LIST_DEFAULT, &rc);
    if (listing == NULL) {
        return rc;
    }

    rc = lines_read_query(r, ctx, inputs, listing);

    if (rc != NGX_OK) {
        return rc;
    }

    listing->list = "requests";
    listing->prefix = "{\"success\":true,\"lineRequests\":[";

    return lines_key_lines(r->pool, &listing->key, &ctx->identity.tenant);
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
    return lines_read_line(ctx, &ctx->params[0], line_request_got);
}


static ngx_int_t
line_request_got(void *data, lines_line_read_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ngx_http_request_t  *r;

    r = ctx->request;

    if (reply->document.len == 0) {
        return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                           "Line request not found");
    }

    if (reply->unclear.len) {
        lines_lapse_look(r, &ctx->identity.tenant, &ctx->params[0],
                         &reply->unclear);
    }

    if (!lines_is(&reply->status, "awaiting_payment")) {
        return lines_answer_format(r, ctx, NGX_HTTP_OK,
                             "{\"success\":true,\"status\":\"%V\","
                             "\"paymentStatus\":\"%V\",\"paymentRequired\":%s,"
                             "\"line\":%V}", &reply->status, &reply->payment,
                             reply->required ? "true" : "false",
                             &reply->document);
    }

    /* once: the second time what is known is good enough */

    if (ctx->data == NULL) {
        ctx->data = ctx;
        return lines_reconcile(r, ctx, &ctx->params[0], line_request_get);
    }

    return lines_answer_format(r, ctx, NGX_HTTP_OK,
                "{\"success\":true,\"status\":\"%V\",\"paymentStatus\":\"%V\","
                "\"paymentRequired\":true,\"line\":%V,\"paymentUrl\":%V,"
                "\"invoiceId\":%V}", &reply->status, &reply->payment,
                &reply->document, &reply->url, &reply->invoice);
}


static ngx_int_t
line_request_manage(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t   rc;
    ngx_str_t  *action;

    static const lines_input_t  inputs[] = {
        { .name = "action", .kind = LINES_INPUT_STRING, .max = 32,
          .flags = LINES_REQUIRED, .words = { "cancel", "payment_link" },
          .bad = "Unsupported action" },
        lines_input_end
    };

    rc = lines_read_input(r, ctx, sizeof(ngx_str_t), inputs);

    if (rc != NGX_OK) {
        return rc;
    }

    action = ctx->data;

    return lines_is(action, "cancel") ? lines_cancel(r, ctx)
                                      : lines_payment_link(r, ctx);
}
