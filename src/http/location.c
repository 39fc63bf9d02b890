
/*
 * What a location does is read from its ngx_http_upstream_conf_t.  The proxy
 * module's own structure is private to it, but begins with that one, in 1.22
 * as in 1.26 and 1.31; the module is looked up by its name.
 */

#include "http/guard.h"
#include "http/location.h"
#include "http/text.h"


char *
lines_location(ngx_conf_t *cf, lines_main_conf_t *lmcf,
    lines_location_t *location)
{
    lines_location_t  *known, **last;

    if (location->uri.len == 0 || location->uri.data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" needs the URI of an internal location "
                           "instead of \"%V\"", &location->name,
                           &location->uri);
        return NGX_CONF_ERROR;
    }

    known = ngx_palloc(cf->pool, sizeof(lines_location_t));
    if (known == NULL) {
        return NGX_CONF_ERROR;
    }

    *known = *location;

    known->file = cf->conf_file->file.name.data;
    known->line = cf->conf_file->line;

    for (last = &lmcf->locations; *last; last = &(*last)->next) { /* void */ }

    *last = known;

    return NGX_CONF_OK;
}


lines_location_t *
lines_location_of(lines_main_conf_t *lmcf, const char *name)
{
    lines_location_t  *location;

    for (location = lmcf->locations; location; location = location->next) {
        if (lines_is(&location->name, name)) {
            break;
        }
    }

    return location;
}


ngx_uint_t
lines_location_refused(lines_main_conf_t *lmcf, const char *name)
{
    lines_location_t  *location;

    for (location = lmcf->locations; location; location = location->next) {
        if (location->refused && lines_is(&location->name, name)) {
            return 1;
        }
    }

    return 0;
}


/* the location with the URI's longest prefix; of two, the exact one */

static ngx_http_core_loc_conf_t *
location_longest(ngx_http_location_tree_node_t *node, ngx_str_t *uri,
    ngx_http_core_loc_conf_t *found)
{
    ngx_uint_t                 i;
    ngx_http_core_loc_conf_t  *clcf;

    if (node == NULL) {
        return found;
    }

    for (i = 0; i < 2; i++) {
        clcf = i ? node->exact : node->inclusive;

        if (clcf
            && clcf->name.len <= uri->len
            && (!clcf->exact_match || clcf->name.len == uri->len)
            && (found == NULL || clcf->name.len >= found->name.len)
            && ngx_filename_cmp(uri->data, clcf->name.data, clcf->name.len)
               == 0)
        {
            found = clcf;
        }
    }

    found = location_longest(node->left, uri, found);
    found = location_longest(node->right, uri, found);

    return location_longest(node->tree, uri, found);
}


/* as ngx_http_core_find_location() does with a request */

static ngx_http_core_loc_conf_t *
location_match(ngx_http_core_loc_conf_t *pclcf, ngx_str_t *uri)
{
    ngx_http_core_loc_conf_t   *clcf, *nested;
#if (NGX_PCRE)
    ngx_http_core_loc_conf_t  **clcfp;
#endif

    clcf = location_longest(pclcf->static_locations, uri, NULL);

    if (clcf) {

        nested = clcf->exact_match ? clcf : location_match(clcf, uri);
        if (nested) {
            return nested;
        }
    }

#if (NGX_PCRE)

    if (pclcf->regex_locations && !(clcf && clcf->noregex)) {

        for (clcfp = pclcf->regex_locations; *clcfp; clcfp++) {

            if (ngx_regex_exec((*clcfp)->regex->regex, uri, NULL, 0) >= 0) {
                nested = location_match(*clcfp, uri);
                return nested ? nested : *clcfp;
            }
        }
    }

#endif

    return clcf;
}


/*
 * A catch-all such as "location /" is not meant: the location is internal, or
 * it carries the very name.
 */

static ngx_http_core_loc_conf_t *
location_find(ngx_http_conf_ctx_t *ctx, lines_location_t *location)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = location_match(ctx->loc_conf[ngx_http_core_module.ctx_index],
                          &location->uri);

    return (clcf
            && (clcf->internal == 1
                || lines_same(&clcf->name, &location->uri)))
           ? clcf
           : NULL;
}


static void
location_refuse(ngx_conf_t *cf, lines_location_t *location, const char *why)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"%V\": \"%V\" %s in %s:%ui",
                  &location->name, &location->uri, why, location->file,
                  location->line);
}


/* the first server that has all of the locations */

static ngx_http_conf_ctx_t *
location_server(ngx_conf_t *cf, lines_location_t *locations)
{
    ngx_uint_t                  n, found, best;
    lines_location_t           *location, *missing;
    ngx_http_core_srv_conf_t  **cscfp;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    missing = locations;
    best = 0;

    for (n = 0; n < cmcf->servers.nelts; n++) {

        found = 0;
        location = locations;

        while (location && location_find(cscfp[n]->ctx, location)) {
            location = location->next;
            found++;
        }

        if (location == NULL) {
            return cscfp[n]->ctx;
        }

        if (found > best) {
            best = found;
            missing = location;
        }
    }

    location_refuse(cf, missing,
                    best
                    ? "is in no location of the server that has the other "
                      "internal locations: they belong in one server block"
                    : "is in no location of any server");

    return NULL;
}


/*
 * The handler is private to the proxy module: what "proxy_pass" makes of a
 * location of nobody's tells.  With a variable, it makes no upstream.
 */

static ngx_http_handler_pt
location_handler(ngx_conf_t *cf, ngx_module_t *module)
{
    void                     **loc_conf, *conf;
    ngx_conf_t                 own;
    ngx_command_t             *cmd;
    ngx_http_module_t         *ctx;
    ngx_http_conf_ctx_t        http;
    ngx_http_core_loc_conf_t  *clcf;

    static ngx_str_t  words[] = {
        ngx_string("proxy_pass"), ngx_string("http://$uri")
    };

    loc_conf = ngx_pcalloc(cf->pool, sizeof(void *) * ngx_http_max_module);
    clcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_core_loc_conf_t));

    http = *(ngx_http_conf_ctx_t *) cf->ctx;
    http.loc_conf = loc_conf;

    own = *cf;
    own.ctx = &http;
    own.args = &(ngx_array_t) { .elts = words, .nelts = 2 };

    ctx = module->ctx;
    conf = ctx->create_loc_conf(&own);

    if (loc_conf == NULL || clcf == NULL || conf == NULL) {
        return NULL;
    }

    loc_conf[ngx_http_core_module.ctx_index] = clcf;
    loc_conf[module->ctx_index] = conf;

    for (cmd = module->commands; cmd->name.len; cmd++) {

        if (lines_is(&cmd->name, "proxy_pass")
            && cmd->set(&own, cmd, conf) == NGX_CONF_OK)
        {
            return clcf->handler;
        }
    }

    return NULL;
}


/* flag: as far as it is known, its peers are loopback addresses and sockets */

static ngx_uint_t
location_plain(ngx_http_upstream_srv_conf_t *uscf)
{
    ngx_uint_t                   i, n;
    ngx_http_upstream_server_t  *server;

    if (uscf == NULL || uscf->servers == NULL) {
        return 1;
    }

    server = uscf->servers->elts;

    for (i = 0; i < uscf->servers->nelts; i++) {
        for (n = 0; n < server[i].naddrs; n++) {
            if (!lines_guard_is_local(server[i].addrs[n].sockaddr)) {
                return 0;
            }
        }
    }

    return 1;
}


/* NULL: it is sound; else what it is */

static const char *
location_judge(lines_main_conf_t *lmcf, lines_location_t *location,
    ngx_http_core_loc_conf_t *clcf)
{
    ngx_http_upstream_conf_t  *ucf;

    static char  small[128];

    if (clcf->internal != 1) {
        return "is a location that clients can reach: it lacks \"internal\"";
    }

    if (clcf->handler == NULL || clcf->handler != lmcf->proxy_handler) {
        return "is a location without \"proxy_pass\", "
               "or with another handler in its place";
    }

    ucf = clcf->loc_conf[lmcf->proxy];

    /* what has an effect must not be sent twice behind our back */

    if (location->once && !(ucf->next_upstream & NGX_HTTP_UPSTREAM_FT_OFF)) {
        return "is a location without \"proxy_next_upstream off\": nginx "
               "could send a call twice, and hide what became of the first";
    }

    if (ucf->intercept_errors == 1) {
        return "is a location with \"proxy_intercept_errors on\", "
               "which loses the answers to refused calls";
    }

    if (location->once && ucf->pass_request_headers == 0) {
        return "is a location with \"proxy_pass_request_headers off\", "
               "which loses the Idempotency-Key";
    }

    if (location->once && ucf->pass_request_body == 0) {
        return "is a location with \"proxy_pass_request_body off\"";
    }

#if (NGX_HTTP_CACHE)
    if (ucf->cache == 1) {
        return "is a location with \"proxy_cache\", its own or inherited: "
               "it needs \"proxy_cache off\"";
    }
#endif

    if (clcf->subrequest_output_buffer_size < location->buffer) {
        ngx_sprintf((u_char *) small, "is a location with a "
                    "\"subrequest_output_buffer_size\" of less than %uzk: "
                    "longer answers would be lost%Z", location->buffer / 1024);
        return small;
    }

    if (location->resolves
        && (clcf->resolver == NULL || clcf->resolver->connections.nelts == 0))
    {
        return "is a location without \"resolver\", of its own or of the "
               "http block";
    }

    if (location->plain && location_plain(ucf->upstream)) {
        return NULL;
    }

    /*
     * An early word; the guard decides.  nginx keeps to itself whether it is
     * https, but what may not go plain must be verified whatever the scheme.
     */

#if (NGX_HTTP_SSL || NGX_COMPAT)

    /* nginx itself asks for the trusted certificate once this is on */

    if (ucf->ssl_verify != 1) {
        return location->plain
            ? "is a location that proxies to other than loopback addresses "
              "and sockets without \"proxy_ssl_verify on\" and "
              "\"proxy_ssl_trusted_certificate\""
            : "is a location that proxies without \"proxy_ssl_verify on\" and "
              "\"proxy_ssl_trusted_certificate\": it needs https, or, for "
              "plain http on this machine, the parameter \"plain=loopback\"";
    }

    if (ucf->ssl_server_name != 1) {
        return "is a location that proxies without "
               "\"proxy_ssl_server_name on\"";
    }

    if (!lines_guard_verifies(ucf)) {
        return "is a location that proxies without \"proxy_ssl_name\"";
    }

    /*
     * Before 1.23.1 there is a context for https and for variables only.
     * Since then locations share it: that it is there says nothing.
     */

    if (ucf->ssl == NULL) {
        return location->plain
           ? "is a location that proxies by plain http to other than loopback "
             "addresses and sockets"
           : "is a location that proxies by plain http: it needs https, or, "
             "on this machine, the parameter \"plain=loopback\"";
    }

    return NULL;

#else

    return "is a location whose calls need TLS, which this nginx does not "
           "have, or, on this machine, the parameter \"plain=loopback\"";

#endif
}


ngx_int_t
lines_locations_init(ngx_conf_t *cf, lines_main_conf_t *lmcf)
{
    const char        *why;
    ngx_module_t      *proxy;
    lines_location_t  *location;

    if (lmcf->locations == NULL) {
        return NGX_OK;
    }

    lmcf->carrier_ctx = location_server(cf, lmcf->locations);

    if (lmcf->carrier_ctx == NULL) {
        return NGX_ERROR;
    }

    proxy = lines_find_module(cf, "ngx_http_proxy_module");

    if (proxy) {
        lmcf->proxy = proxy->ctx_index;
        lmcf->proxy_handler = location_handler(cf, proxy);
    }

    for (location = lmcf->locations; location; location = location->next) {

        location->clcf = location_find(lmcf->carrier_ctx, location);

        why = location_judge(lmcf, location, location->clcf);
        if (why) {
            location_refuse(cf, location, why);
            return NGX_ERROR;
        }
    }

    return lines_guard_init(cf);
}
