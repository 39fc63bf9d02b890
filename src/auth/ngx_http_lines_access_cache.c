
/*
 * Caches behind lines_auth: nginx -t warns of each that nobody has spoken of;
 * cache=tenant is believed, and checked.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_access.h"
#include "ngx_http_lines_variables.h"


static ngx_int_t ngx_http_lines_access_cached(ngx_http_request_t *r);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


void
ngx_http_lines_access_cache_init(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_lines_access_cached;
}


/* all modules with a cache have the upstream's configuration first in theirs */

void
ngx_http_lines_access_caches(ngx_conf_t *cf, ngx_http_lines_loc_conf_t *conf,
    ngx_http_core_loc_conf_t *clcf)
{
#if (NGX_HTTP_CACHE)

    ngx_uint_t                 i;
    ngx_module_t              *module;
    ngx_http_upstream_conf_t  *ucf;

    static const char *const caches[][2] = {
        { "ngx_http_proxy_module", "proxy_cache" },
        { "ngx_http_fastcgi_module", "fastcgi_cache" },
        { "ngx_http_uwsgi_module", "uwsgi_cache" },
        { "ngx_http_scgi_module", "scgi_cache" }
    };

    if (conf->auth->cache != NGX_HTTP_LINES_CACHE_UNSAID
        || conf->api || clcf->handler == NULL)
    {
        return;
    }

    for (i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {

        module = ngx_http_lines_find_module(cf, caches[i][0]);

        if (module == NULL) {
            continue;
        }

        ucf = ngx_http_conf_get_module_loc_conf(cf, (*module));

        if (ucf->cache != 1) {
            continue;
        }

        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "location \"%V\" has \"%s\" behind \"lines_auth\": "
                      "unless its key has $lines_tenant, what one tenant was "
                      "sent is sent to others; say in \"lines_auth\" "
                      "\"cache=tenant\" where it has, \"cache=shared\" "
                      "where that is meant", &clcf->name, caches[i][1]);
    }

#endif
}


/*
 * cache=tenant: the cache's key, as it turned out for this request, has who
 * asks.  Else it is not known for whom the answer was made.
 */

static ngx_int_t
ngx_http_lines_access_cached(ngx_http_request_t *r)
{
#if (NGX_HTTP_CACHE)

    ngx_str_t                  *key, *who;
    ngx_uint_t                  i;
    ngx_http_lines_ctx_t       *ctx, *own;
    ngx_http_lines_loc_conf_t  *llcf;

    llcf = ngx_http_lines_get_loc_conf(r);

    if (r->cache == NULL || llcf->auth == NULL
        || llcf->auth->cache != NGX_HTTP_LINES_CACHE_TENANT)
    {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_lines_identity_ctx(r);
    own = ngx_http_lines_get_ctx(r);

    if (own == NULL) {
        return NGX_ERROR;
    }

    /* who came in by address alone is nobody's tenant; a refusal has no page */

    if (ctx == NULL || own->cache_refused) {
        return ngx_http_next_header_filter(r);
    }

    who = ctx->identity.tenant.len ? &ctx->identity.tenant
                                   : &ctx->identity.user;

    if (who->len == 0) {
        return ngx_http_next_header_filter(r);
    }

    key = r->cache->keys.elts;

    for (i = 0; i < r->cache->keys.nelts; i++) {
        if (memmem(key[i].data, key[i].len, who->data, who->len)) {
            return ngx_http_next_header_filter(r);
        }
    }

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "lines: \"lines_auth\" says \"cache=tenant\", but the "
                  "cache's key has no $lines_tenant: nothing is sent");

    own->cache_refused = 1;

    /* headers may be of another tenant, too */

    ngx_http_clean_header(r);

    return NGX_HTTP_INTERNAL_SERVER_ERROR;

#else

    return ngx_http_next_header_filter(r);

#endif
}
