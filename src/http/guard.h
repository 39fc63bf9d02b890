
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
 *
 * The locations are looked at before, once the configuration is whole.
 */

#ifndef _LINES_HTTP_GUARD_H_INCLUDED_
#define _LINES_HTTP_GUARD_H_INCLUDED_


#include "http/carrier.h"


/* a directive names the location (copied); its URI must begin with "/" */
char *lines_location(ngx_conf_t *cf, lines_main_conf_t *lmcf,
    lines_location_t *location);

/* flag: the last call from this worker to that directive's was not let go */
ngx_uint_t lines_location_refused(lines_main_conf_t *lmcf, const char *name);

/*
 * At postconfiguration: finds the server block that has all of the locations,
 * saves it as lmcf->carrier_ctx and looks whether they are sound.  Messages
 * name the directive, its file and line.
 */
ngx_int_t lines_guard_init(ngx_conf_t *cf, lines_main_conf_t *lmcf);


#endif /* _LINES_HTTP_GUARD_H_INCLUDED_ */
