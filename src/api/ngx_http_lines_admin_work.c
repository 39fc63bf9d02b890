
/*
 * The provisioner's list of work.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_admin.h"
#include "ngx_http_lines_listing.h"
#include "ngx_lines_scripts.h"


#define NGX_HTTP_LINES_LIST_DEFAULT  100

/* how long the announcement of a line may come before the line itself */
#define NGX_HTTP_LINES_ANNOUNCED     (5 * 60 * 1000)


static ngx_int_t ngx_http_lines_admin_list_lines(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_admin_lines_listed(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static void ngx_http_lines_admin_drop_idle(ngx_http_request_t *r,
    ngx_str_t *tenant, ngx_str_t *id);
static void ngx_http_lines_admin_dropped(void *data, redisReply *reply);


ngx_http_lines_step_pt  ngx_http_lines_admin_list_lines_steps[] = {
    ngx_http_lines_admin_authorize,
    ngx_http_lines_discard_body,
    ngx_http_lines_admin_list_lines,           /* 400 */
    ngx_http_lines_listing_members,
    ngx_http_lines_listing_documents,
    ngx_http_lines_listing_more,
    ngx_http_lines_admin_lines_listed,
    NULL
};


/* the provisioner's list of work: over all workspaces, oldest first */

static ngx_int_t
ngx_http_lines_admin_list_lines(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_str_t                  status, all;
    ngx_http_lines_listing_t  *listing;

    if (ngx_http_lines_query(r, "status", &status) != NGX_OK
        || !ngx_http_lines_is(&status, "provisioning"))
    {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                    "status must be provisioning");
    }

    ngx_str_set(&all, "");

    listing = ngx_http_lines_listing_create(r, ctx, &all,
                                            NGX_HTTP_LINES_LIST_DEFAULT, &rc);
    if (listing == NULL) {
        return rc;
    }

    ngx_str_set(&listing->key, "lines:{prov}");
    listing->oldest = 1;
    listing->list = "work";
    listing->status = status;
    listing->idle = ngx_http_lines_admin_drop_idle;

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_admin_lines_listed(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    return ngx_http_lines_listing_answer(r, ctx, "{\"lines\":[");
}


/*
 * It has gone on, or never came to be.  Nobody waits: a hint that stays is
 * looked at with the next list.
 */

static void
ngx_http_lines_admin_drop_idle(ngx_http_request_t *r, ngx_str_t *tenant,
    ngx_str_t *id)
{
    ngx_str_t                    args[3];
    ngx_http_lines_main_conf_t  *lmcf;

    lmcf = ngx_http_lines_get_main_conf(r);

    ngx_str_set(&args[0], "lines:{prov}");

    if (ngx_lines_redis_format(r->pool, &args[1], "%V %V", tenant, id)
        != NGX_OK
        || ngx_lines_redis_format(r->pool, &args[2], "%d",
                                  NGX_HTTP_LINES_ANNOUNCED)
           != NGX_OK)
    {
        return;
    }

    (void) ngx_lines_redis_eval(lmcf->redis, &ngx_lines_script_prov_drop, 1,
                                3, args, ngx_http_lines_admin_dropped, NULL);
}


static void
ngx_http_lines_admin_dropped(void *data, redisReply *reply)
{
    (void) data;
    (void) reply;
}
