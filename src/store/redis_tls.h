
/*
 * TLS of a connection to Redis (rediss://), by nginx' own: in an nginx, or a
 * build of the module, that has none, lines_redis_tls_init() refuses it.
 * Internal to the store.
 */

#ifndef _LINES_STORE_REDIS_TLS_H_INCLUDED_
#define _LINES_STORE_REDIS_TLS_H_INCLUDED_


#include "store/redis_connection.h"


/*
 * In configuration: sets conf->tls, of the cycle's pool, by what the parameters
 * say.  Returns NGX_CONF_OK, or NGX_CONF_ERROR having logged what failed.
 */
char *lines_redis_tls_init(ngx_conf_t *cf, lines_redis_conf_t *conf);

/*
 * On a socket that is connected.  NGX_OK, NGX_AGAIN: done is called once the
 * handshake has ended, well or not, with the connection's handlers as they were
 * left by nginx: the caller sets its own.  NGX_ERROR: see conn->cause.
 */
ngx_int_t lines_redis_tls_start(lines_redis_connection_t *conn,
    ngx_connection_handler_pt done);

/*
 * In done: whether it went well, and the server is the one that is meant.
 * NGX_ERROR: see conn->cause.
 */
ngx_int_t lines_redis_tls_check(lines_redis_connection_t *conn);

/* before the socket is closed; of one without TLS, too */
void lines_redis_tls_close(lines_redis_connection_t *conn);

/* the connection is never made again: forgets the session */
void lines_redis_tls_forget(lines_redis_connection_t *conn);


#endif /* _LINES_STORE_REDIS_TLS_H_INCLUDED_ */
