
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/guard.h"


static ngx_int_t guard_phase(ngx_http_request_t *r);
static ngx_int_t guard_content(ngx_http_request_t *r);
static void guard_settle(ngx_http_upstream_conf_t *ucf);
static const char *guard_judge(ngx_http_request_t *r,
    lines_carrier_t *carrier);
static const char *guard_plain(ngx_http_request_t *r);
static ngx_uint_t guard_is_tls(ngx_http_upstream_t *u);
static int ngx_libc_cdecl guard_compare(const void *one, const void *two);
static ngx_int_t guard_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t guard_get_peer(ngx_peer_connection_t *pc, void *data);
static void guard_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static ngx_uint_t guard_has_tls(ngx_connection_t *c);
static ngx_uint_t guard_is_marked(ngx_http_request_t *r,
    ngx_http_upstream_t *u, ngx_connection_t *c);
static void guard_mark(ngx_http_upstream_t *u, ngx_connection_t *c);
static void guard_marked(void *data);
static void guard_refuse(lines_carrier_t *carrier, const char *why);


/* on a connection that was verified: by which settings, and for whom */

typedef struct {
    ngx_http_upstream_conf_t  *conf;
    ngx_str_t                  name;
} lines_guard_mark_t;


ngx_int_t
lines_guard_init(ngx_conf_t *cf, lines_main_conf_t *lmcf)
{
    ngx_uint_t                      i;
    ngx_array_t                    *handlers;
    ngx_http_handler_pt            *h;
    ngx_http_core_main_conf_t      *cmcf;
    ngx_http_upstream_srv_conf_t  **uscfp;
    ngx_http_upstream_main_conf_t  *umcf;
    lines_guard_upstream_t         *upstream;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    handlers = &cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers;

    /*
     * A phase runs from the end of its array.  Twice: last, whatever others
     * have done before, and also first, as they may leave out the rest.
     */

    h = ngx_array_push_n(handlers, 2);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h[1] = guard_phase;

    h = handlers->elts;

    ngx_memmove(&h[1], &h[0],
                (handlers->nelts - 2) * sizeof(ngx_http_handler_pt));

    h[0] = guard_phase;

    /* all of them: a variable in proxy_pass may name any */

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    lmcf->upstreams = ngx_array_create(cf->pool, umcf->upstreams.nelts + 1,
                                       sizeof(lines_guard_upstream_t));
    if (lmcf->upstreams == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        upstream = ngx_array_push(lmcf->upstreams);
        if (upstream == NULL) {
            return NGX_ERROR;
        }

        upstream->uscf = uscfp[i];
        upstream->init = uscfp[i]->peer.init;

        uscfp[i]->peer.init = guard_init_peer;
    }

    /* every proxied request of this nginx passes here: it is found quickly */

    ngx_qsort(lmcf->upstreams->elts, lmcf->upstreams->nelts,
              sizeof(lines_guard_upstream_t), guard_compare);

    return NGX_OK;
}


static int ngx_libc_cdecl
guard_compare(const void *one, const void *two)
{
    const lines_guard_upstream_t *first = one;
    const lines_guard_upstream_t *second = two;

    return (first->uscf > second->uscf) - (first->uscf < second->uscf);
}


/* subrequests have no access phase; this one comes before the content */

static ngx_int_t
guard_phase(ngx_http_request_t *r)
{
    ngx_uint_t        level;
    lines_carrier_t  *carrier;

    carrier = lines_carrier_find(r);

    if (carrier == NULL || r->content_handler == guard_content)
    {
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
    ngx_int_t             rc;
    const char           *why;
    ngx_http_upstream_t  *before;
    lines_carrier_t      *carrier;

    carrier = lines_carrier_find(r);

    before = r->upstream;

    r->aio = 1;
    rc = carrier->lmcf->proxy_handler(r);
    r->aio = 0;

    if (rc != NGX_DONE || r->upstream == before) {
        return rc;
    }

    why = guard_judge(r, carrier);

    if (why) {
        guard_refuse(carrier, why);

        /* it was never begun: nothing may be read out of it */
        r->upstream = NULL;

        ngx_http_finalize_request(r, NGX_HTTP_SERVICE_UNAVAILABLE);
        return NGX_DONE;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, carrier->log, 0, "lines guard: tls:%ui",
                   guard_is_tls(r->upstream));

    guard_settle(r->upstream->conf);

    carrier->passed = 1;
    carrier->uri_changes = r->uri_changes;
    carrier->location->refused = 0;

    ngx_http_upstream_init(r);

    return NGX_DONE;
}


/*
 * What no call may do, whatever its location says.  The settings are the
 * location's own: none but calls come there.
 */

static void
guard_settle(ngx_http_upstream_conf_t *ucf)
{
    /* the other side does not choose what is served instead */

    ucf->ignore_headers |= NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT;

#if (NGX_HTTP_SSL || NGX_COMPAT)

    /*
     * An upstream keeps one session for all locations, and with it what the
     * certificate was found to be by the settings of whoever made it.
     */

    ucf->ssl_session_reuse = 0;

#endif
}


/* NULL: it may go on to its peer; else why it must not */

static const char *
guard_judge(ngx_http_request_t *r, lines_carrier_t *carrier)
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

    if (carrier->location->plain) {
        return guard_plain(r);
    }

    return u->ssl
           ? "would go over https without \"proxy_ssl_verify on\", "
             "\"proxy_ssl_server_name on\" and \"proxy_ssl_name\""
           : "would go over plain http, without \"plain=loopback\"";
}


/* where ngx_http_upstream_init_request() looks for peers, in its order */

static const char *
guard_plain(ngx_http_request_t *r)
{
    ngx_uint_t                       i;
    ngx_http_upstream_t             *u;
    ngx_http_upstream_srv_conf_t    *uscf, **uscfp;
    ngx_http_upstream_resolved_t    *resolved;
    ngx_http_upstream_main_conf_t   *umcf;

    u = r->upstream;
    uscf = u->conf->upstream;
    resolved = u->resolved;

    if (resolved) {

        umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);
        uscfp = umcf->upstreams.elts;
        uscf = NULL;

        for (i = 0; i < umcf->upstreams.nelts; i++) {

            if (uscfp[i]->host.len == resolved->host.len
                && ((uscfp[i]->port == 0 && resolved->no_port)
                    || uscfp[i]->port == resolved->port)
                && ngx_strncasecmp(uscfp[i]->host.data, resolved->host.data,
                                   resolved->host.len)
                   == 0)
            {
                uscf = uscfp[i];
                break;
            }
        }

        if (uscf == NULL && resolved->sockaddr == NULL) {
            return "would go to a name that is yet to be resolved, without "
                   "verified TLS: \"plain=loopback\" needs an address, "
                   "a socket or an upstream";
        }

        if (uscf == NULL) {
            return lines_guard_is_local(resolved->sockaddr)
                   ? NULL
                   : "would go to other than a loopback address or a socket, "
                     "without verified TLS";
        }
    }

    /* the peer is looked at when it is chosen: see to it that it will be */

    if (uscf == NULL || uscf->peer.init != guard_init_peer) {
        return "would go to an upstream whose peers cannot be looked at, "
               "without verified TLS";
    }

    return NULL;
}


static ngx_uint_t
guard_is_tls(ngx_http_upstream_t *u)
{
    return u->ssl && lines_guard_verifies(u->conf);
}


/*
 * There under NGX_COMPAT whatever this module was configured with; where there
 * is neither, the nginx that loads the module has no TLS.
 */

ngx_uint_t
lines_guard_verifies(ngx_http_upstream_conf_t *ucf)
{
#if (NGX_HTTP_SSL || NGX_COMPAT)
    return ucf->ssl_verify == 1
           && ucf->ssl_server_name == 1
           && ucf->ssl_name != NULL
           && ucf->ssl_name != NGX_CONF_UNSET_PTR;
#else
    return 0;
#endif
}


ngx_uint_t
lines_guard_is_local(struct sockaddr *sockaddr)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    u_char               *p;
    struct sockaddr_in6  *sin6;
#endif

    switch (sockaddr->sa_family) {

#if (NGX_HAVE_UNIX_DOMAIN)
    case AF_UNIX:
        return 1;
#endif

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sockaddr;
        p = sin6->sin6_addr.s6_addr;

        return IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr)
               || (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr) && p[12] == 127);
#endif

    case AF_INET:
        sin = (struct sockaddr_in *) sockaddr;
        return (ntohl(sin->sin_addr.s_addr) >> 24) == 127;
    }

    return 0;
}


static ngx_int_t
guard_init_peer(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us)
{
    ngx_int_t               rc;
    ngx_http_upstream_t    *u;
    lines_carrier_t        *carrier;
    lines_main_conf_t      *lmcf;
    lines_guard_upstream_t  wanted, *upstream;

    lmcf = lines_get_main_conf(r);

    wanted.uscf = us;

    upstream = bsearch(&wanted, lmcf->upstreams->elts, lmcf->upstreams->nelts,
                       sizeof(lines_guard_upstream_t), guard_compare);
    if (upstream == NULL) {
        return NGX_ERROR;
    }

    rc = upstream->init(r, us);

    carrier = lines_carrier_find(r);

    if (rc != NGX_OK || carrier == NULL) {
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

    u = (ngx_http_upstream_t *) ((u_char *) pc
                                 - offsetof(ngx_http_upstream_t, peer));

    carrier = lines_carrier_of(pc->log);

    rc = carrier->get(pc, data);

    if (rc != NGX_OK && rc != NGX_DONE) {
        return rc;
    }

    if (!guard_is_tls(u)) {

        if (carrier->location->plain && lines_guard_is_local(pc->sockaddr)) {
            return rc;
        }

        guard_refuse(carrier,
                     "would go to other than a loopback address or a socket, "
                     "without verified TLS");
        return NGX_ERROR;
    }

    /*
     * A connection of an upstream's keepalive was verified by the settings of
     * the location that made it, if any, and is not verified again: one that
     * was not made for a call by these very settings may lead to anybody.
     */

    if (rc == NGX_DONE
        && guard_has_tls(pc->connection)
        && !guard_is_marked(carrier->subrequest, u, pc->connection))
    {
        guard_refuse(carrier,
                     "would go over a connection that another location keeps: "
                     "it needs an upstream of its own");
        return NGX_ERROR;
    }

    return rc;
}


/* before a keepalive takes the connection */

static void
guard_free_peer(ngx_peer_connection_t *pc, void *data, ngx_uint_t state)
{
    ngx_http_upstream_t  *u;
    lines_carrier_t      *carrier;

    u = (ngx_http_upstream_t *) ((u_char *) pc
                                 - offsetof(ngx_http_upstream_t, peer));

    carrier = lines_carrier_of(pc->log);

    if (u->request_sent
        && !pc->cached
        && guard_is_tls(u)
        && guard_has_tls(pc->connection))
    {
        guard_mark(u, pc->connection);
    }

    carrier->free(pc, data, state);
}


static ngx_uint_t
guard_has_tls(ngx_connection_t *c)
{
#if (NGX_SSL || NGX_COMPAT)
    return c && c->ssl && c->pool;
#else
    return 0;
#endif
}


static ngx_uint_t
guard_is_marked(ngx_http_request_t *r, ngx_http_upstream_t *u,
    ngx_connection_t *c)
{
#if (NGX_HTTP_SSL || NGX_COMPAT)
    ngx_str_t            name;
    ngx_pool_cleanup_t  *cln;
    lines_guard_mark_t  *mark;

    /* u->ssl_name is known with a handshake only */

    if (r == NULL
        || ngx_http_complex_value(r, u->conf->ssl_name, &name) != NGX_OK)
    {
        return 0;
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
            return 1;
        }
    }
#endif

    return 0;
}


static void
guard_mark(ngx_http_upstream_t *u, ngx_connection_t *c)
{
#if (NGX_HTTP_SSL || NGX_COMPAT)
    ngx_pool_cleanup_t  *cln;
    lines_guard_mark_t  *mark;

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
#endif
}


/* its being there says it all */

static void
guard_marked(void *data)
{
}


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
