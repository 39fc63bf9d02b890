
/*
 * Caches behind lines_auth: nginx -t warns of each that nobody has spoken of;
 * what is said of them is checked when they are used.
 */

#include "auth/access.h"
#include "auth/identity.h"


/* seconds between two warnings of a worker about one location */
#define LINES_ACCESS_CACHE_WARNING  60000    /* ms */


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/* all modules with a cache have the upstream's configuration first in theirs */

void
lines_access_caches(ngx_conf_t *cf, void **loc_conf)
{
#if (NGX_HTTP_CACHE)

    ngx_uint_t                 i;
    ngx_module_t              *module;
    lines_loc_conf_t          *conf;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_upstream_conf_t  *ucf;

    static const char *const modules[] = {
        "ngx_http_proxy_module", "ngx_http_fastcgi_module",
        "ngx_http_uwsgi_module", "ngx_http_scgi_module"
    };

    conf = loc_conf[ngx_http_lines_module.ctx_index];
    clcf = loc_conf[ngx_http_core_module.ctx_index];

    if (conf->api || clcf->handler == NULL) {
        return;
    }

    for (i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {

        module = lines_find_module(cf, modules[i]);

        if (module == NULL) {
            continue;
        }

        ucf = loc_conf[module->ctx_index];

        if (ucf->store == 1 && conf->cache != LINES_CACHE_SHARED) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "location \"%V\" has \"%V_store\" behind "
                          "\"lines_auth\": nothing is stored unless it says "
                          "\"cache=shared\", where all tenants are sent the "
                          "same", &clcf->name, &ucf->module);
        }

        if (ucf->cache == 1 && conf->cache == LINES_CACHE_UNSAID) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "location \"%V\" has \"%V_cache\" behind "
                          "\"lines_auth\": unless its key has $lines_tenant, "
                          "nothing is stored; say in \"lines_auth\" "
                          "\"cache=tenant\" where it has, \"cache=shared\" "
                          "where all tenants are sent the same",
                          &clcf->name, &ucf->module);
        }
    }

#endif
}


#if (NGX_HTTP_CACHE)

/*
 * What is sent instead has no page of the cache, nor headers, which may be of
 * another tenant, too; it comes here as well.
 */

static ngx_int_t
access_unsent(ngx_http_request_t *r, ngx_int_t status, const char *why)
{
    lines_ctx_t  *ctx;

    ctx = lines_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (ctx->refused == r->cache) {
        return ngx_http_next_header_filter(r);
    }

    ctx->refused = r->cache;

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "lines: %s: nothing is sent", why);

    if (r->upstream) {
        r->upstream->cacheable = 0;
    }

    ngx_http_clean_header(r);

    return status;
}

#endif


static void
access_unstored(ngx_http_request_t *r, const char *what)
{
    ngx_str_t                 *module;
    lines_loc_conf_t          *llcf;
    ngx_http_core_loc_conf_t  *clcf;

    llcf = lines_get_loc_conf(r);

    if (llcf->cache_warned
        && ngx_current_msec - llcf->cache_warned < LINES_ACCESS_CACHE_WARNING)
    {
        return;
    }

    llcf->cache_warned = ngx_current_msec;

    module = &r->upstream->conf->module;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                 "lines: location \"%V\" has \"%V_%s\", but nothing there "
                 "tells tenants apart: a page was not stored; put "
                 "$lines_tenant into \"%V_cache_key\", or say \"cache=shared\""
                 " in the \"lines_auth\" that lets them in", &clcf->name,
                 module, what, module);
}


/*
 * A page that was made for somebody is stored, or sent from a cache, only
 * where the cache's key, as it was made for this request, has who asks; or
 * where pages are the same for all.  proxy_store has no key.  Whoever asks for
 * a page by a key of somebody's that the client has written, known or not, has
 * none.
 */

static ngx_int_t
access_cached(ngx_http_request_t *r)
{
    lines_ctx_t          *own;
    lines_cache_e         cache;
    ngx_http_upstream_t  *u;

#if (NGX_HTTP_CACHE)

    ngx_http_cache_t     *c;

    if (!lines_get_main_conf(r)->auth) {
        return ngx_http_next_header_filter(r);
    }

    own = lines_find_ctx(r);
    c = own && own->left == r->cache ? NULL : r->cache;

    if (c && lines_key_forged(r)) {
        return access_unsent(r, NGX_HTTP_BAD_REQUEST,
                             "the text of the cache's key says who asks");
    }

#endif

    /* who came in by address alone is nobody's tenant */

    if (lines_identity_who(r) == NULL) {
        return ngx_http_next_header_filter(r);
    }

    cache = lines_caches(r);

    if (cache == LINES_CACHE_SHARED) {
        return ngx_http_next_header_filter(r);
    }

    own = lines_get_ctx(r);
    if (own == NULL) {
        return NGX_ERROR;
    }

    u = r->upstream;

#if (NGX_HTTP_CACHE)

    if (c
        && c != own->keyed
        && cache == LINES_CACHE_TENANT)
    {
        return access_unsent(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                             "\"lines_auth\" says \"cache=tenant\", but the "
                             "cache's key has no $lines_tenant");
    }

    if (u && u->cacheable && c && c != own->keyed) {
        u->cacheable = 0;
        access_unstored(r, "cache");
    }

#endif

    /* nor is it that of a location that was left, which has ended */

    if (u && u->store && u->cleanup) {
        u->store = 0;
        access_unstored(r, "store");
    }

    return ngx_http_next_header_filter(r);
}


void
lines_access_cache_init(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = access_cached;
}
