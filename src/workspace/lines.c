
/*
 * GET lines/by-user: the lines of a workspace, with the usage of the day.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "api/listing.h"
#include "workspace/routes.h"


static ngx_int_t by_user(ngx_http_request_t *r, lines_ctx_t *ctx);


lines_step_pt  lines_lines_by_user_steps[] = {
    by_user,                    /* 400 */
    lines_listing_run,
    NULL
};


static ngx_int_t
by_user(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_listing_create(r, ctx, &ctx->identity.tenant, "lines",
                                "{\"lines\":[", 0);
}
