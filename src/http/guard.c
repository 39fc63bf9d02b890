
#include "http/guard.h"


#define GUARD_SAY  60000    /* ms */


static ngx_int_t guard_phase(ngx_http_request_t *r);
static ngx_int_t guard_content(ngx_http_request_t *r);
static const char *guard_judge(ngx_http_request_t *r,
    lines_carrier_t *carrier, ngx_http_upstream_srv_conf_t *uscf);
static const char *guard_judge_peer(ngx_http_request_t *r,
    lines_carrier_t *carrier, ngx_http_upstream_srv_conf_t *uscf);
static ngx_http_upstream_srv_conf_t *guard_upstream(ngx_http_request_t *r);
static ngx_int_t guard_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t guard_get_peer(ngx_peer_connection_t *pc, void *data);
static void guard_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);


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


ngx_uint_t
lines_guard_verifies(ngx_http_upstream_conf_t *ucf)
{
    return ucf->ssl_verify == 1
           && ucf->ssl_server_name == 1
           && ucf->ssl_name != NULL
           && ucf->ssl_name != NGX_CONF_UNSET_PTR;
}


/* its being there says it all */

static void
guard_marked(void *data)
{
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

#else

#define lines_guard_verifies(ucf)  0
#define guard_is_foreign(r, u)  0
#define guard_mark(u)

#endif


static ngx_uint_t
guard_is_tls(ngx_http_upstream_t *u)
{
    return u->ssl && lines_guard_verifies(u->conf);
}


/* one mistake refuses each call of the location: an alert a minute says so */

static ngx_uint_t
guard_level(lines_location_t *location)
{
    if (location->said && ngx_current_msec - location->said_at < GUARD_SAY) {
        return NGX_LOG_INFO;
    }

    location->said = 1;
    location->said_at = ngx_current_msec;

    return NGX_LOG_ALERT;
}


static void
guard_refuse(lines_carrier_t *carrier, const char *why)
{
    ngx_uint_t         level;
    lines_location_t  *location;

    location = carrier->location;
    level = guard_level(location);

    carrier->passed = 0;
    location->refused = 1;

    ngx_log_error(level, carrier->log, 0,
                  "lines: \"%V\": a call to \"%V\" %s: it is not sent",
                  &location->name, &location->uri, why);
}


ngx_int_t
lines_guard_init(ngx_conf_t *cf)
{
    ngx_array_t                *handlers;
    ngx_http_handler_pt         first;
    ngx_http_core_main_conf_t  *cmcf;

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

        level = carrier->subrequest ? guard_level(carrier->location)
                                    : NGX_LOG_INFO;

        ngx_log_error(level, carrier->log, 0,
                      "lines: \"%V\" was asked for by a call, and is refused",
                      &r->uri);
        return NGX_HTTP_FORBIDDEN;
    }

    if (carrier->entered) {
        level = guard_level(carrier->location);

        carrier->passed = 0;

        ngx_log_error(level, carrier->log, 0,
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
        return guard_judge_peer(r, carrier, uscf);
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

    return lines_guard_is_local(u->resolved->sockaddr)
           ? NULL
           : "would go to other than a loopback address or a socket, "
             "without verified TLS";
}


/*
 * Of a call that may go to one address only: nothing is resolved once more,
 * and it is the name's own certificate that is asked for there.
 */

static const char *
guard_judge_peer(ngx_http_request_t *r, lines_carrier_t *carrier,
    ngx_http_upstream_srv_conf_t *uscf)
{
#if (NGX_HTTP_SSL || NGX_COMPAT)

    ngx_str_t                      name;
    ngx_http_upstream_resolved_t  *resolved;

    if (carrier->peer == NULL) {
        return NULL;
    }

    resolved = r->upstream->resolved;

    if (uscf
        || resolved == NULL
        || resolved->sockaddr == NULL
        || ngx_cmp_sockaddr(resolved->sockaddr, resolved->socklen,
                            carrier->peer, carrier->peer_len, 1)
           != NGX_OK)
    {
        return "would go to another address than the one that was looked at";
    }

    if (ngx_http_complex_value(r, r->upstream->conf->ssl_name, &name)
        != NGX_OK
        || name.len != carrier->peer_name->len
        || ngx_memcmp(name.data, carrier->peer_name->data, name.len) != 0)
    {
        return "would ask for another name's certificate by "
               "\"proxy_ssl_name\"";
    }

#endif

    return NULL;
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


ngx_uint_t
lines_guard_is_local(struct sockaddr *sockaddr)
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
        : carrier->location->plain && lines_guard_is_local(pc->sockaddr))
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
