
/*
 * The number of a line that the operator releases: it rests a while, and then
 * is free again.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/numbers.h"
#include "http/answer.h"
#include "operation/conf.h"
#include "store/calls.h"


static ngx_int_t admin_number_released(void *data,
    lines_inv_release_reply_t *reply);
static ngx_int_t admin_line_released(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *document);


/* a hint, before the line ends: whatever happens, its number is looked at */

ngx_int_t
lines_admin_watch_number(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    if (ctx->identity.tenant.len == 0 || ctx->identity.tenant.data[0] != 'a') {
        return NGX_OK;
    }

    return lines_inv_watch(&ctx->caller, NULL, NULL,
                           .tenant = ctx->identity.tenant,
                           .operation = ctx->params[0],
                           .delay = lines_get_main_conf(r)->operation->lease);
}


ngx_int_t
lines_admin_release_number(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *number, ngx_str_t *document)
{
    if (number->len == 0) {
        return admin_line_released(r, ctx, document);
    }

    ctx->data = document;

    return lines_inv_release(&ctx->caller, admin_number_released, ctx,
                             .operation = ctx->params[0],
                             .tenant = ctx->identity.tenant,
                             .quarantine = lines_get_main_conf(r)->quarantine);
}


static ngx_int_t
admin_number_released(void *data, lines_inv_release_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return admin_line_released(ctx->request, ctx, ctx->data);
}


static ngx_int_t
admin_line_released(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *document)
{
    return lines_answer_format(r, ctx, NGX_HTTP_OK, "{\"line\":%V}", document);
}
