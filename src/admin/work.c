
/*
 * The provisioner's list of work.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/listing.h"
#include "http/answer.h"
#include "http/text.h"
#include "store/calls.h"


#define LINES_LIST_DEFAULT  100

/* how long the announcement of a line may come before the line itself */
#define LINES_ANNOUNCED     (5 * 60 * 1000)


static ngx_int_t admin_list_lines(ngx_http_request_t *r, lines_ctx_t *ctx);
static void admin_drop_idle(ngx_http_request_t *r, ngx_str_t *tenant,
    ngx_str_t *id);


lines_step_pt  lines_admin_list_lines_steps[] = {
    admin_list_lines,           /* 400 */
    lines_listing_members,
    lines_listing_documents,
    lines_listing_more,
    lines_listing_answer,
    NULL
};


/* the provisioner's list of work: over all workspaces, oldest first */

static ngx_int_t
admin_list_lines(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    ngx_str_t         status, all;
    lines_listing_t  *listing;

    if (lines_query(r, "status", &status) != NGX_OK
        || !lines_is(&status, "provisioning"))
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "status must be provisioning");
    }

    ngx_str_set(&all, "");

    listing = lines_listing_create(r, ctx, &all, LINES_LIST_DEFAULT, &rc);
    if (listing == NULL) {
        return rc;
    }

    if (lines_key_prov(r->pool, &listing->key) != NGX_OK) {
        return NGX_ERROR;
    }

    listing->oldest = 1;
    listing->list = "work";
    listing->prefix = "{\"lines\":[";
    listing->status = status;
    listing->idle = admin_drop_idle;

    return NGX_OK;
}


/*
 * It has gone on, or never came to be.  Nobody waits: a hint that stays is
 * looked at with the next list.
 */

static void
admin_drop_idle(ngx_http_request_t *r, ngx_str_t *tenant, ngx_str_t *id)
{
    lines_ctx_t  *ctx;

    ctx = lines_find_ctx(r);

    (void) lines_forget_prov_drop(&ctx->caller, .tenant = *tenant, .id = *id,
                                  .age = LINES_ANNOUNCED);
}
