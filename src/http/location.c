
/*
 * The internal locations of the module's own calls: found and looked at once
 * the configuration is whole.
 *
 * What a location does is read from its ngx_http_upstream_conf_t.  The proxy
 * module's own structure is private to it, but begins with that one, in 1.22
 * as in 1.26 and 1.31; the module is looked up by its name.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/guard.h"


#define LINES_BILLING_BUFFER  (64 * 1024)
#define LINES_JWKS_BUFFER     (256 * 1024)


static ngx_http_conf_ctx_t *location_server(ngx_conf_t *cf,
    ngx_array_t *locations);
static ngx_http_core_loc_conf_t *location_find(ngx_http_conf_ctx_t *ctx,
    lines_location_t *location);
static ngx_http_core_loc_conf_t *location_match(
    ngx_http_core_loc_conf_t *pclcf, ngx_str_t *uri);
static ngx_http_core_loc_conf_t *location_match_static(
    ngx_http_location_tree_node_t *node, ngx_str_t *uri, ngx_uint_t *exact);
static ngx_int_t location_check(ngx_conf_t *cf, lines_main_conf_t *lmcf,
    lines_location_t *location, ngx_http_core_loc_conf_t *clcf);
static ngx_int_t location_tls(ngx_conf_t *cf, lines_location_t *location,
    ngx_http_upstream_conf_t *ucf);
static ngx_uint_t location_plain(ngx_http_upstream_srv_conf_t *uscf);
static ngx_http_upstream_conf_t *location_proxy(ngx_conf_t *cf,
    lines_main_conf_t *lmcf, ngx_http_core_loc_conf_t *clcf);
static ngx_http_handler_pt location_handler(ngx_conf_t *cf,
    ngx_module_t *module);
static ngx_int_t location_refuse(ngx_conf_t *cf, lines_location_t *location,
    const char *why);


char *
lines_carrier_require(ngx_conf_t *cf, lines_main_conf_t *lmcf,
    lines_location_e kind, ngx_str_t *name, ngx_str_t *uri, ngx_uint_t plain)
{
    lines_location_t  *location;

    if (uri->len == 0 || uri->data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" needs the URI of an internal location "
                           "instead of \"%V\"", name, uri);
        return NGX_CONF_ERROR;
    }

    if (lmcf->locations == NULL) {
        lmcf->locations = ngx_array_create(cf->pool, 4,
                                           sizeof(lines_location_t));
        if (lmcf->locations == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    location = ngx_array_push(lmcf->locations);
    if (location == NULL) {
        return NGX_CONF_ERROR;
    }

    location->kind = kind;
    location->name = *name;
    location->uri = *uri;
    location->file = cf->conf_file ? cf->conf_file->file.name.data : NULL;
    location->line = cf->conf_file ? cf->conf_file->line : 0;
    location->plain = plain;
    location->refused = 0;

    return NGX_CONF_OK;
}


ngx_uint_t
lines_carrier_refused(lines_main_conf_t *lmcf, lines_location_e kind)
{
    ngx_uint_t         i;
    lines_location_t  *location;

    location = lmcf->locations ? lmcf->locations->elts : NULL;

    for (i = 0; location && i < lmcf->locations->nelts; i++) {
        if (location[i].kind == kind && location[i].refused) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
lines_carrier_check(ngx_conf_t *cf, lines_main_conf_t *lmcf)
{
    ngx_uint_t                 i;
    ngx_http_core_loc_conf_t  *clcf;
    lines_location_t          *location;

    if (lmcf->locations == NULL) {
        return NGX_OK;
    }

    lmcf->carrier_ctx = location_server(cf, lmcf->locations);

    if (lmcf->carrier_ctx == NULL) {
        return NGX_ERROR;
    }

    location = lmcf->locations->elts;

    for (i = 0; i < lmcf->locations->nelts; i++) {

        clcf = location_find(lmcf->carrier_ctx, &location[i]);

        if (location_check(cf, lmcf, &location[i], clcf) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return lines_guard_init(cf, lmcf);
}


/* the first server that has all of the locations */

static ngx_http_conf_ctx_t *
location_server(ngx_conf_t *cf, ngx_array_t *locations)
{
    ngx_uint_t                  i, n, found, best;
    ngx_http_core_srv_conf_t  **cscfp;
    ngx_http_core_main_conf_t  *cmcf;
    lines_location_t           *location, *missing;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    location = locations->elts;
    missing = location;
    best = 0;

    for (n = 0; n < cmcf->servers.nelts; n++) {

        found = 0;

        for (i = 0; i < locations->nelts; i++) {
            if (location_find(cscfp[n]->ctx, &location[i]) == NULL) {
                break;
            }

            found++;
        }

        if (found == locations->nelts) {
            return cscfp[n]->ctx;
        }

        if (found > best) {
            best = found;
            missing = &location[i];
        }
    }

    if (best) {
        (void) location_refuse(cf, missing,
                 "is in no location of the server that has the other internal "
                 "locations: they belong in one server block");

    } else {
        (void) location_refuse(cf, missing, "is in no location of any server");
    }

    return NULL;
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
    if (clcf == NULL) {
        return NULL;
    }

    if (clcf->internal == 1
        || (clcf->name.len == location->uri.len
            && ngx_strncmp(clcf->name.data, location->uri.data,
                           location->uri.len)
               == 0))
    {
        return clcf;
    }

    return NULL;
}


/* as ngx_http_core_find_location() does with a request */

static ngx_http_core_loc_conf_t *
location_match(ngx_http_core_loc_conf_t *pclcf, ngx_str_t *uri)
{
    ngx_uint_t                  exact, noregex;
    ngx_http_core_loc_conf_t   *clcf, *nested;
#if (NGX_PCRE)
    ngx_http_core_loc_conf_t  **clcfp;
#endif

    noregex = 0;

    clcf = location_match_static(pclcf->static_locations, uri, &exact);

    if (clcf) {

        if (exact) {
            return clcf;
        }

        noregex = clcf->noregex;

        nested = location_match(clcf, uri);
        if (nested) {
            return nested;
        }
    }

#if (NGX_PCRE)

    if (!noregex && pclcf->regex_locations) {

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


static ngx_http_core_loc_conf_t *
location_match_static(ngx_http_location_tree_node_t *node, ngx_str_t *uri,
    ngx_uint_t *exact)
{
    u_char                    *p;
    size_t                     len, n;
    ngx_int_t                  rc;
    ngx_http_core_loc_conf_t  *found;

    found = NULL;
    *exact = 0;

    p = uri->data;
    len = uri->len;

    while (node) {

        n = ngx_min(len, (size_t) node->len);

        rc = ngx_filename_cmp(p, node->name, n);

        if (rc != 0) {
            node = (rc < 0) ? node->left : node->right;
            continue;
        }

        if (len > (size_t) node->len) {

            if (node->inclusive == NULL) {
                node = node->right;
                continue;
            }

            found = node->inclusive;
            node = node->tree;
            p += n;
            len -= n;

            continue;
        }

        if (len == (size_t) node->len) {

            if (node->exact) {
                *exact = 1;
                return node->exact;
            }

            return node->inclusive;
        }

        node = node->left;
    }

    return found;
}


static ngx_int_t
location_check(ngx_conf_t *cf, lines_main_conf_t *lmcf,
    lines_location_t *location, ngx_http_core_loc_conf_t *clcf)
{
    ngx_uint_t                 once;
    ngx_http_upstream_conf_t  *ucf;

    if (clcf->internal != 1) {
        return location_refuse(cf, location,
                "is a location that clients can reach: it lacks \"internal\"");
    }

    ucf = location_proxy(cf, lmcf, clcf);

    if (ucf == NULL) {
        return location_refuse(cf, location,
                               "is a location without \"proxy_pass\", "
                               "or with another handler in its place");
    }

    /* what has an effect must not be sent twice behind our back */

    once = (location->kind == LINES_LOCATION_BILLING
            || location->kind == LINES_LOCATION_PROVISIONER);

    if (once && !(ucf->next_upstream & NGX_HTTP_UPSTREAM_FT_OFF)) {
        return location_refuse(cf, location,
           "is a location without \"proxy_next_upstream off\": "
           "nginx could send a call twice, and hide what became of the first");
    }

    if (ucf->intercept_errors == 1) {
        return location_refuse(cf, location,
                           "is a location with \"proxy_intercept_errors on\", "
                           "which loses the answers to refused calls");
    }

    if (once && ucf->pass_request_headers == 0) {
        return location_refuse(cf, location,
                      "is a location with \"proxy_pass_request_headers off\", "
                      "which loses the Idempotency-Key");
    }

    if (once && ucf->pass_request_body == 0) {
        return location_refuse(cf, location,
                         "is a location with \"proxy_pass_request_body off\"");
    }

#if (NGX_HTTP_CACHE)
    if (ucf->cache == 1) {
        return location_refuse(cf, location,
                   "is a location with \"proxy_cache\", its own or inherited: "
                   "it needs \"proxy_cache off\"");
    }
#endif

    if (location->kind == LINES_LOCATION_BILLING
        && clcf->subrequest_output_buffer_size < LINES_BILLING_BUFFER)
    {
        return location_refuse(cf, location,
                      "is a location with a \"subrequest_output_buffer_size\" "
                      "of less than 64k: longer answers would be lost");
    }

    if (location->kind == LINES_LOCATION_JWKS
        && clcf->subrequest_output_buffer_size < LINES_JWKS_BUFFER)
    {
        return location_refuse(cf, location,
                      "is a location with a \"subrequest_output_buffer_size\" "
                      "of less than 256k: longer answers would be lost");
    }

    return location_tls(cf, location, ucf);
}


/*
 * An early word; the guard decides.  nginx keeps to itself whether it is https,
 * but what may not go plain must be verified whatever the scheme.
 */

static ngx_int_t
location_tls(ngx_conf_t *cf, lines_location_t *location,
    ngx_http_upstream_conf_t *ucf)
{
    if (location->plain && location_plain(ucf->upstream)) {
        return NGX_OK;
    }

#if (NGX_HTTP_SSL || NGX_COMPAT)

    /* nginx itself asks for the trusted certificate once this is on */

    if (ucf->ssl_verify != 1) {
        return location_refuse(cf, location,
            location->plain
            ? "is a location that proxies to other than loopback addresses "
              "and sockets without \"proxy_ssl_verify on\" and "
              "\"proxy_ssl_trusted_certificate\""
            : "is a location that proxies without \"proxy_ssl_verify on\" and "
              "\"proxy_ssl_trusted_certificate\": it needs https, or, for "
              "plain http on this machine, the parameter \"plain=loopback\"");
    }

    if (ucf->ssl_server_name != 1) {
        return location_refuse(cf, location,
            "is a location that proxies without \"proxy_ssl_server_name on\"");
    }

    if (!lines_guard_verifies(ucf)) {
        return location_refuse(cf, location,
                      "is a location that proxies without \"proxy_ssl_name\"");
    }

    /*
     * Before 1.23.1 there is a context for https and for variables only.
     * Since then locations share it: that it is there says nothing.
     */

    if (ucf->ssl == NULL) {
        return location_refuse(cf, location,
           location->plain
           ? "is a location that proxies by plain http to other than loopback "
             "addresses and sockets"
           : "is a location that proxies by plain http: it needs https, or, "
             "on this machine, the parameter \"plain=loopback\"");
    }

    return NGX_OK;

#else

    return location_refuse(cf, location,
         "is a location whose calls need TLS, which this nginx does not have, "
         "or, on this machine, the parameter \"plain=loopback\"");

#endif
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


/* NULL: the location has no "proxy_pass", or another handler instead */

static ngx_http_upstream_conf_t *
location_proxy(ngx_conf_t *cf, lines_main_conf_t *lmcf,
    ngx_http_core_loc_conf_t *clcf)
{
    ngx_uint_t      i;
    ngx_module_t  **modules;

    modules = cf->cycle->modules;

    for (i = 0; lmcf->proxy_handler == NULL && modules[i]; i++) {

        if (modules[i]->type == NGX_HTTP_MODULE
            && ngx_strcmp(modules[i]->name, "ngx_http_proxy_module") == 0)
        {
            lmcf->proxy = modules[i]->ctx_index;
            lmcf->proxy_handler = location_handler(cf, modules[i]);
            break;
        }
    }

    if (clcf->handler == NULL || clcf->handler != lmcf->proxy_handler) {
        return NULL;
    }

    return clcf->loc_conf[lmcf->proxy];
}


/*
 * The handler is private to the proxy module: what "proxy_pass" makes of a
 * location of nobody's tells.  With a variable, it makes no upstream.
 */

static ngx_http_handler_pt
location_handler(ngx_conf_t *cf, ngx_module_t *module)
{
    void                      *conf;
    ngx_str_t                 *value;
    ngx_conf_t                 own;
    ngx_command_t             *cmd;
    ngx_http_module_t         *ctx;
    ngx_http_conf_ctx_t        http;
    ngx_http_core_loc_conf_t  *clcf;

    ctx = module->ctx;
    own = *cf;
    http = *(ngx_http_conf_ctx_t *) cf->ctx;

    own.ctx = &http;
    own.args = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));
    http.loc_conf = ngx_pcalloc(cf->pool,
                                sizeof(void *) * ngx_http_max_module);
    clcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_core_loc_conf_t));
    conf = ctx->create_loc_conf(&own);

    if (own.args == NULL
        || http.loc_conf == NULL
        || clcf == NULL
        || conf == NULL)
    {
        return NULL;
    }

    http.loc_conf[ngx_http_core_module.ctx_index] = clcf;
    http.loc_conf[module->ctx_index] = conf;

    value = ngx_array_push_n(own.args, 2);
    ngx_str_set(&value[0], "proxy_pass");
    ngx_str_set(&value[1], "http://$uri");

    for (cmd = module->commands; cmd->name.len; cmd++) {

        if (ngx_strcmp(cmd->name.data, "proxy_pass") == 0
            && cmd->set(&own, cmd, conf) == NGX_CONF_OK)
        {
            return clcf->handler;
        }
    }

    return NULL;
}


static ngx_int_t
location_refuse(ngx_conf_t *cf, lines_location_t *location, const char *why)
{
    if (location->file) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"%V\": \"%V\" %s in %s:%ui",
                      &location->name, &location->uri, why, location->file,
                      location->line);
    } else {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"%V\": \"%V\" %s",
                      &location->name, &location->uri, why);
    }

    return NGX_ERROR;
}
