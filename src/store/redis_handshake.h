
/*
 * What a new connection to Redis is asked before it serves: who asks, whether
 * it is the primary, how it is set.  Internal to the store.
 */

#ifndef _LINES_STORE_REDIS_HANDSHAKE_H_INCLUDED_
#define _LINES_STORE_REDIS_HANDSHAKE_H_INCLUDED_


#include "store/redis_connection.h"


/*
 * Asks, of a connection that is being made; conn->greeted is called with the
 * last answer.  An answer that forbids to use the server ends the connection.
 */
void lines_redis_handshake(lines_redis_connection_t *conn);

/* INFO and CONFIG GET again, now and then, of one that is ready */
void lines_redis_look(lines_redis_connection_t *conn);


#endif /* _LINES_STORE_REDIS_HANDSHAKE_H_INCLUDED_ */
