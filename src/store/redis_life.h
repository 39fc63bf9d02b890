
/*
 * A connection, re-established for ever: its addresses, connecting with
 * backoff, the handshake.
 */

#ifndef _LINES_STORE_REDIS_LIFE_H_INCLUDED_
#define _LINES_STORE_REDIS_LIFE_H_INCLUDED_


#include "store/redis_connection.h"


/*
 * Starts to connect; conf, log, role, data and the owner's handlers are set by
 * the caller, everything else is zero.
 */
void lines_redis_open(lines_redis_connection_t *conn);

/*
 * Of one that has locate: it is at host, an address or a name of up to
 * LINES_REDIS_HOST bytes, copied; moved: it was elsewhere before, and is left
 * there.
 */
void lines_redis_located(lines_redis_connection_t *conn, ngx_str_t *host,
    in_port_t port, ngx_uint_t moved);

/*
 * The same of one whose guide knows another server of the configuration: that
 * one's addresses, name and TLS.
 */
void lines_redis_aim(lines_redis_connection_t *conn, lines_redis_conf_t *conf);

/* for ever; pending hiredis callbacks run with a NULL reply */
void lines_redis_close(lines_redis_connection_t *conn);


#endif /* _LINES_STORE_REDIS_LIFE_H_INCLUDED_ */
