
/*
 * The guard of the module's own calls.  Each of them carries a secret or
 * decides on whom to believe: it leaves through proxy_pass only, over TLS that
 * verifies the other side's certificate and name, or, where the directive has
 * "plain=loopback", to a loopback address or a Unix socket.
 *
 * The guard stands between the proxy module and nginx' upstreams: when all is
 * known of the call but its peer, and not a byte of it is made.  The peer is
 * looked at when the balancer has chosen it, before there is a socket.  What
 * the guard refuses is unsent.
 *
 * A call comes to the guard once: what redirects it, be it a handler or the
 * answer, ends it.
 */

#ifndef _LINES_HTTP_GUARD_H_INCLUDED_
#define _LINES_HTTP_GUARD_H_INCLUDED_


#include "http/carrier.h"


/* at postconfiguration */
ngx_int_t lines_guard_init(ngx_conf_t *cf);

/* flag: a loopback address or a Unix socket */
ngx_uint_t lines_guard_is_local(struct sockaddr *sockaddr);

/* flag: over TLS, the other side's certificate and name are verified; where
   nginx may have TLS */
ngx_uint_t lines_guard_verifies(ngx_http_upstream_conf_t *ucf);


#endif /* _LINES_HTTP_GUARD_H_INCLUDED_ */
