
/*
 * GET lines/by-user: the lines of a workspace, with the usage of the day.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "api/listing.h"
#include "limit/limit.h"
#include "store/calls.h"
#include "workspace/routes.h"
#include "workspace/workspace.h"


static ngx_int_t by_user(ngx_http_request_t *r, lines_ctx_t *ctx);


lines_step_pt  lines_lines_by_user_steps[] = {
    by_user,                    /* 400 */
    lines_listing_members,
    lines_listing_documents,
    lines_listing_more,
    lines_listing_answer,
    NULL
};


static ngx_int_t
by_user(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    lines_listing_t  *listing;

    listing = lines_listing_create(r, ctx, &ctx->identity.tenant, 0, &rc);
    if (listing == NULL) {
        return rc;
    }

    listing->list = "lines";
    listing->prefix = "{\"lines\":[";

    return lines_key_lines(r->pool, &listing->key, &ctx->identity.tenant);
}
