
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

/* INFO and CONFIG GET again, now and then, of one that is ready */
void lines_redis_look(lines_redis_connection_t *conn);

/* for ever; pending hiredis callbacks run with a NULL reply */
void lines_redis_close(lines_redis_connection_t *conn);


#endif /* _LINES_STORE_REDIS_LIFE_H_INCLUDED_ */
