
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


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/carrier.h"


typedef struct {
    ngx_http_upstream_srv_conf_t      *uscf;
    ngx_http_upstream_init_peer_pt     init;
} lines_guard_upstream_t;


/* at postconfiguration: the phase handler, and a look at peers of upstreams */
ngx_int_t lines_guard_init(ngx_conf_t *cf, lines_main_conf_t *lmcf);

/* flag: a loopback address or a Unix socket */
ngx_uint_t lines_guard_is_local(struct sockaddr *sockaddr);

/* flag: by what of the proxy's settings is there, TLS is verified */
ngx_uint_t lines_guard_verifies(ngx_http_upstream_conf_t *ucf);


#endif /* _LINES_HTTP_GUARD_H_INCLUDED_ */
