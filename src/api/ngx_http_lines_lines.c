
/*
 * GET lines/by-user: the lines of a workspace, with the usage of the day.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_limit.h"
#include "ngx_http_lines_workspace.h"
#include "ngx_http_lines_listing.h"


static ngx_int_t ngx_http_lines_by_user(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_by_user_answer(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);


ngx_http_lines_step_pt  ngx_http_lines_lines_by_user_steps[] = {
    ngx_http_lines_authenticate_workspace,
    ngx_http_lines_limit_identity,
    ngx_http_lines_discard_body,
    ngx_http_lines_by_user,                    /* 400 */
    ngx_http_lines_listing_members,
    ngx_http_lines_listing_documents,
    ngx_http_lines_listing_more,
    ngx_http_lines_by_user_answer,
    NULL
};


static ngx_int_t
ngx_http_lines_by_user(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_http_lines_listing_t  *listing;

    listing = ngx_http_lines_listing_create(r, ctx, &ctx->identity.tenant, 0,
                                            &rc);
    if (listing == NULL) {
        return rc;
    }

    listing->list = "lines";

    return ngx_lines_redis_format(r->pool, &listing->key, "lines:{%V}:lines",
                                  &ctx->identity.tenant);
}


static ngx_int_t
ngx_http_lines_by_user_answer(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    return ngx_http_lines_listing_answer(r, ctx, "{\"lines\":[");
}
