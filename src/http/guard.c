
/*
 * What a location does is read from its ngx_http_upstream_conf_t.  The proxy
 * module's own structure is private to it, but begins with that one, in 1.22
 * as in 1.26 and 1.31; the module is looked up by its name.
 */

#include "http/guard.h"
#include "http/text.h"


static ngx_http_conf_ctx_t *location_server(ngx_conf_t *cf,
    lines_location_t *locations);
static ngx_http_core_loc_conf_t *location_find(ngx_http_conf_ctx_t *ctx,
    lines_location_t *location);
static ngx_http_core_loc_conf_t *location_match(
    ngx_http_core_loc_conf_t *pclcf, ngx_str_t *uri);
static ngx_http_core_loc_conf_t *location_longest(
    ngx_http_location_tree_node_t *node, ngx_str_t *uri,
    ngx_http_core_loc_conf_t *found);
static const char *location_judge(lines_main_conf_t *lmcf,
    lines_location_t *location, ngx_http_core_loc_conf_t *clcf);
static ngx_uint_t location_plain(ngx_http_upstream_srv_conf_t *uscf);
static ngx_http_handler_pt location_handler(ngx_conf_t *cf,
    ngx_module_t *module);
static void location_refuse(ngx_conf_t *cf, lines_location_t *location,
    const char *why);
static ngx_int_t guard_phase(ngx_http_request_t *r);
static ngx_int_t guard_content(ngx_http_request_t *r);
static const char *guard_judge(ngx_http_request_t *r,
    lines_carrier_t *carrier, ngx_http_upstream_srv_conf_t *uscf);
static ngx_http_upstream_srv_conf_t *guard_upstream(ngx_http_request_t *r);
static ngx_uint_t guard_is_tls(ngx_http_upstream_t *u);
static ngx_uint_t guard_is_local(struct sockaddr *sockaddr);
static ngx_int_t guard_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t guard_get_peer(ngx_peer_connection_t *pc, void *data);
static void guard_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static void guard_refuse(lines_carrier_t *carrier, const char *why);


/*
 * The proxy's settings of TLS are there under NGX_COMPAT whatever this module
 * was configured with; where there is neither, the nginx that loads the module
 * has no TLS.
 */

#if (NGX_HTTP_SSL || NGX_COMPAT)

/* on a connection that was verified: by which settings, and for whom */

typedef struct {
    ngx_http_upstream_conf_t  *conf;
    ngx_str_t                  name;
} lines_guard_mark_t;


static ngx_uint_t guard_verifies(ngx_http_upstream_conf_t *ucf);
static ngx_uint_t guard_is_foreign(ngx_http_request_t *r,
    ngx_http_upstream_t *u);
static void guard_mark(ngx_http_upstream_t *u);
static void guard_marked(void *data);

#else

#define guard_verifies(ucf)  0
#define guard_is_foreign(r, u)  0
#define guard_mark(u)

#endif


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


ngx_int_t
lines_guard_init(ngx_conf_t *cf, lines_main_conf_t *lmcf)
{
    const char                 *why;
    ngx_array_t                *handlers;
    ngx_module_t               *proxy;
    ngx_http_handler_pt         first;
    ngx_http_core_main_conf_t  *cmcf;
    lines_location_t           *location;

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

        why = location_judge(lmcf, location,
                             location_find(lmcf->carrier_ctx, location));
        if (why) {
            location_refuse(cf, location, why);
            return NGX_ERROR;
        }
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    handlers = &cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers;

    /*
     * A phase runs from the end of its array.  Twice: last, whatever others
     * have done before, and also first, as they may leave out the rest.
     */

    first = handlers->nelts ? *(ngx_http_handler_pt *) handlers->elts : NULL;

    if (lines_add_handler(cf, NGX_HTTP_PRECONTENT_PHASE, guard_phase, first)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_add_handler(cf, NGX_HTTP_PRECONTENT_PHASE, guard_phase, NULL);
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
 * A catch-all such as "location /" is not meant: the location is internal, or
 * it carries the very name.
 */

static ngx_http_core_loc_conf_t *
location_find(ngx_http_conf_ctx_t *ctx, lines_location_t *location)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = location_match(ctx->loc_conf[ngx_http_core_module.ctx_index],
                          &location->uri);

    if (clcf
        && (clcf->internal == 1
            || lines_same(&clcf->name, &location->uri)))
    {
        return clcf;
    }

    return NULL;
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

    if (!guard_verifies(ucf)) {
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
            if (!guard_is_local(server[i].addrs[n].sockaddr)) {
                return 0;
            }
        }
    }

    return 1;
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


static void
location_refuse(ngx_conf_t *cf, lines_location_t *location, const char *why)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"%V\": \"%V\" %s in %s:%ui",
                  &location->name, &location->uri, why, location->file,
                  location->line);
}


/* subrequests have no access phase; this one comes before the content */

static ngx_int_t
guard_phase(ngx_http_request_t *r)
{
    ngx_uint_t        level;
    lines_carrier_t  *carrier;

    carrier = lines_carrier_find(r);

    if (carrier == NULL || r->content_handler == guard_content) {
        return NGX_DECLINED;
    }

    if (r != carrier->subrequest) {

        /* what an answer makes nginx include, say; a page for an error, once
           the call has ended, is nobody's mistake */

        level = carrier->subrequest ? NGX_LOG_ALERT : NGX_LOG_INFO;

        ngx_log_error(level, carrier->log, 0,
                      "lines: \"%V\" was asked for by a call, and is refused",
                      &r->uri);
        return NGX_HTTP_FORBIDDEN;
    }

    if (carrier->entered) {
        carrier->passed = 0;

        ngx_log_error(NGX_LOG_ALERT, carrier->log, 0,
                      "lines: \"%V\": a call to \"%V\" was redirected to "
                      "\"%V\", which is refused", &carrier->location->name,
                      &carrier->location->uri, &r->uri);
        return NGX_HTTP_FORBIDDEN;
    }

    carrier->entered = 1;

    /* another handler might redirect the call, or never end it */

    if (r->content_handler != carrier->lmcf->proxy_handler) {
        guard_refuse(carrier, "would not go through \"proxy_pass\"");
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    r->content_handler = guard_content;

    return NGX_DECLINED;
}


/*
 * The proxy's handler ends with ngx_http_upstream_init(), which leaves a
 * request alone that waits for aio: so it does its part, the upstream, its
 * settings and its URL, and no more.
 */

static ngx_int_t
guard_content(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    const char                    *why;
    lines_carrier_t               *carrier;
    ngx_http_upstream_t           *before;
    ngx_http_upstream_conf_t      *ucf;
    ngx_http_upstream_srv_conf_t  *uscf;

    carrier = lines_carrier_find(r);

    before = r->upstream;

    r->aio = 1;
    rc = carrier->lmcf->proxy_handler(r);
    r->aio = 0;

    if (rc != NGX_DONE || r->upstream == before) {
        return rc;
    }

    uscf = guard_upstream(r);
    why = guard_judge(r, carrier, uscf);

    if (why) {
        guard_refuse(carrier, why);

        /* it was never begun: nothing may be read out of it */
        r->upstream = NULL;

        ngx_http_finalize_request(r, NGX_HTTP_SERVICE_UNAVAILABLE);
        return NGX_DONE;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, carrier->log, 0, "lines guard: tls:%ui",
                   guard_is_tls(r->upstream));

    /*
     * What no call may do, whatever its location says: the other side does not
     * choose what is served instead, and, as an upstream keeps one session for
     * all locations, no certificate counts that was looked at by the settings
     * of another.  The settings are the location's own: none but calls come
     * there.
     */

    ucf = r->upstream->conf;
    ucf->ignore_headers |= NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT;

#if (NGX_HTTP_SSL || NGX_COMPAT)
    ucf->ssl_session_reuse = 0;
#endif

    carrier->passed = 1;
    carrier->uri_changes = r->uri_changes;
    carrier->location->refused = 0;

    /* it has the balancer choose, if at all, before it returns */

    if (uscf) {
        carrier->init = uscf->peer.init;
        uscf->peer.init = guard_init_peer;
    }

    ngx_http_upstream_init(r);

    if (uscf) {
        uscf->peer.init = carrier->init;
    }

    return NGX_DONE;
}


/* NULL: it may go on to its peer; else why it must not */

static const char *
guard_judge(ngx_http_request_t *r, lines_carrier_t *carrier,
    ngx_http_upstream_srv_conf_t *uscf)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if ((void *) u->conf != r->loc_conf[carrier->lmcf->proxy]) {
        return "would not go through \"proxy_pass\"";
    }

#if (NGX_HTTP_CACHE)
    if (u->conf->cache) {
        return "would go through \"proxy_cache\"";
    }
#endif

    if (guard_is_tls(u)) {
        return NULL;
    }

    if (!carrier->location->plain) {
        return u->ssl
               ? "would go over https without \"proxy_ssl_verify on\", "
                 "\"proxy_ssl_server_name on\" and \"proxy_ssl_name\""
               : "would go over plain http, without \"plain=loopback\"";
    }

    /* the peer of an upstream is looked at when it is chosen */

    if (uscf) {
        return NULL;
    }

    if (u->resolved == NULL || u->resolved->sockaddr == NULL) {
        return "would go to a name that is yet to be resolved, without "
               "verified TLS: \"plain=loopback\" needs an address, "
               "a socket or an upstream";
    }

    return guard_is_local(u->resolved->sockaddr)
           ? NULL
           : "would go to other than a loopback address or a socket, "
             "without verified TLS";
}


/*
 * Where ngx_http_upstream_init_request() looks for peers, in its order; NULL:
 * in what the URL says
 */

static ngx_http_upstream_srv_conf_t *
guard_upstream(ngx_http_request_t *r)
{
    ngx_uint_t                       i;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_resolved_t    *resolved;
    ngx_http_upstream_main_conf_t   *umcf;

    resolved = r->upstream->resolved;

    if (resolved == NULL) {
        return r->upstream->conf->upstream;
    }

    umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->host.len == resolved->host.len
            && ((uscfp[i]->port == 0 && resolved->no_port)
                || uscfp[i]->port == resolved->port)
            && ngx_strncasecmp(uscfp[i]->host.data, resolved->host.data,
                               resolved->host.len)
               == 0)
        {
            return uscfp[i];
        }
    }

    return NULL;
}


/* flag: a loopback address or a Unix socket */

static ngx_uint_t
guard_is_local(struct sockaddr *sockaddr)
{
    struct sockaddr_in  *sin;
    struct in6_addr     *in6;

    switch (sockaddr->sa_family) {

    case AF_UNIX:
        return 1;

    case AF_INET6:
        in6 = &((struct sockaddr_in6 *) sockaddr)->sin6_addr;

        return IN6_IS_ADDR_LOOPBACK(in6)
               || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);

    case AF_INET:
        sin = (struct sockaddr_in *) sockaddr;
        return (ntohl(sin->sin_addr.s_addr) >> 24) == 127;
    }

    return 0;
}


static ngx_int_t
guard_init_peer(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us)
{
    ngx_int_t             rc;
    lines_carrier_t      *carrier;
    ngx_http_upstream_t  *u;

    carrier = lines_carrier_find(r);

    rc = carrier->init(r, us);

    if (rc != NGX_OK) {
        return rc;
    }

    u = r->upstream;

    carrier->get = u->peer.get;
    carrier->free = u->peer.free;

    u->peer.get = guard_get_peer;
    u->peer.free = guard_free_peer;

    return NGX_OK;
}


static ngx_int_t
guard_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_int_t             rc;
    ngx_http_upstream_t  *u;
    lines_carrier_t      *carrier;

    u = ngx_queue_data(pc, ngx_http_upstream_t, peer);
    carrier = lines_carrier_of(pc->log);

    rc = carrier->get(pc, data);

    if (rc != NGX_OK && rc != NGX_DONE) {
        return rc;
    }

    if (guard_is_tls(u)
        ? rc == NGX_OK || !guard_is_foreign(carrier->subrequest, u)
        : carrier->location->plain && guard_is_local(pc->sockaddr))
    {
        return rc;
    }

    guard_refuse(carrier,
                 guard_is_tls(u)
                 ? "would go over a connection that another location keeps: "
                   "it needs an upstream of its own"
                 : "would go to other than a loopback address or a socket, "
                   "without verified TLS");

    return NGX_ERROR;
}


/* before a keepalive takes the connection */

static void
guard_free_peer(ngx_peer_connection_t *pc, void *data, ngx_uint_t state)
{
    ngx_http_upstream_t  *u;
    lines_carrier_t      *carrier;

    u = ngx_queue_data(pc, ngx_http_upstream_t, peer);
    carrier = lines_carrier_of(pc->log);

    if (u->request_sent && !pc->cached && guard_is_tls(u)) {
        guard_mark(u);
    }

    carrier->free(pc, data, state);
}


static ngx_uint_t
guard_is_tls(ngx_http_upstream_t *u)
{
    return u->ssl && guard_verifies(u->conf);
}


#if (NGX_HTTP_SSL || NGX_COMPAT)

static ngx_uint_t
guard_verifies(ngx_http_upstream_conf_t *ucf)
{
    return ucf->ssl_verify == 1
           && ucf->ssl_server_name == 1
           && ucf->ssl_name != NULL
           && ucf->ssl_name != NGX_CONF_UNSET_PTR;
}


/*
 * A connection of an upstream's keepalive was verified by the settings of the
 * location that made it, if any, and is not verified again: one that was not
 * made for a call by these very settings may lead to anybody.
 */

static ngx_uint_t
guard_is_foreign(ngx_http_request_t *r, ngx_http_upstream_t *u)
{
    ngx_str_t            name;
    ngx_connection_t    *c;
    ngx_pool_cleanup_t  *cln;
    lines_guard_mark_t  *mark;

    c = u->peer.connection;

    if (c == NULL || c->ssl == NULL || c->pool == NULL) {
        return 0;
    }

    /* u->ssl_name is known with a handshake only */

    if (r == NULL
        || ngx_http_complex_value(r, u->conf->ssl_name, &name) != NGX_OK)
    {
        return 1;
    }

    for (cln = c->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler != guard_marked) {
            continue;
        }

        mark = cln->data;

        /* nginx leaves off a port */

        if (mark->conf == u->conf
            && name.len >= mark->name.len
            && ngx_memcmp(name.data, mark->name.data, mark->name.len) == 0
            && (name.len == mark->name.len
                || name.data[mark->name.len] == ':'))
        {
            return 0;
        }
    }

    return 1;
}


static void
guard_mark(ngx_http_upstream_t *u)
{
    ngx_connection_t    *c;
    ngx_pool_cleanup_t  *cln;
    lines_guard_mark_t  *mark;

    c = u->peer.connection;

    if (c == NULL || c->ssl == NULL || c->pool == NULL) {
        return;
    }

    cln = ngx_pool_cleanup_add(c->pool, sizeof(lines_guard_mark_t));
    if (cln == NULL) {
        return;
    }

    mark = cln->data;

    mark->conf = u->conf;
    mark->name.len = u->ssl_name.len;
    mark->name.data = ngx_pstrdup(c->pool, &u->ssl_name);

    if (mark->name.data) {
        cln->handler = guard_marked;
    }
}


/* its being there says it all */

static void
guard_marked(void *data)
{
}

#endif


static void
guard_refuse(lines_carrier_t *carrier, const char *why)
{
    lines_location_t  *location;

    location = carrier->location;

    carrier->passed = 0;
    location->refused = 1;

    ngx_log_error(NGX_LOG_ALERT, carrier->log, 0,
                  "lines: \"%V\": a call to \"%V\" %s: it is not sent",
                  &location->name, &location->uri, why);
}
