
/*
 * The number of a line that the operator releases: it rests a while, and then
 * is free again.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/numbers.h"
#include "operation/inventory.h"
#include "operation/operation.h"
#include "store/scripts.h"


static ngx_int_t admin_number_watched(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_number_released(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t admin_line_released(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *document);


/* a hint, before the line ends: whatever happens, its number is looked at */

ngx_int_t
lines_admin_watch_number(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t           args[3];
    lines_main_conf_t  *lmcf;

    if (ctx->identity.tenant.len == 0 || ctx->identity.tenant.data[0] != 'a') {
        return NGX_OK;
    }

    lmcf = lines_get_main_conf(r);

    args[0] = lines_inventory[LINES_INV_LEASES];

    if (lines_redis_format(r->pool, &args[1], "%V %V", &ctx->identity.tenant,
                           &ctx->params[0])
        != NGX_OK
        || lines_redis_format(r->pool, &args[2], "%M", lmcf->operation->lease)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_eval(r, ctx, &lines_script_due_add, 1, 3, args,
                      admin_number_watched);
}


static ngx_int_t
admin_number_watched(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply)
{
    return NGX_OK;
}


ngx_int_t
lines_admin_release_number(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *number, ngx_str_t *document)
{
    ngx_str_t  *copy, args[LINES_INV_RELEASE_ARGS];

    if (number->len == 0) {
        return admin_line_released(r, ctx, document);
    }

    copy = ngx_palloc(r->pool, sizeof(ngx_str_t));
    if (copy == NULL) {
        return NGX_ERROR;
    }

    copy->len = document->len;
    copy->data = ngx_pstrdup(r->pool, document);

    if (copy->data == NULL
        || lines_inventory_release(r->pool, &ctx->identity.tenant,
                                   &ctx->params[0],
                                   lines_get_main_conf(r)->quarantine, args)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->data = copy;

    return lines_eval(r, ctx, &lines_script_inv_release,
                      LINES_INV_RELEASE_KEYS, LINES_INV_RELEASE_ARGS, args,
                      admin_number_released);
}


static ngx_int_t
admin_number_released(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply)
{
    return admin_line_released(r, ctx, ctx->data);
}


static ngx_int_t
admin_line_released(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *document)
{
    return lines_answer_format(r, ctx, NGX_HTTP_OK, "{\"line\":%V}", document);
}
