
/*
 * What a new connection says first, and what is asked of one that serves.
 */

#ifndef _LINES_STORE_REDIS_HANDSHAKE_H_INCLUDED_
#define _LINES_STORE_REDIS_HANDSHAKE_H_INCLUDED_


#include "store/redis_connection.h"


/* sends AUTH, SELECT, INFO and CONFIG GET in one go; then: conn->greeted() */
ngx_int_t lines_redis_handshake(lines_redis_connection_t *conn);

/* INFO and CONFIG GET again, now and then, of one that is ready */
void lines_redis_look(lines_redis_connection_t *conn);


#endif /* _LINES_STORE_REDIS_HANDSHAKE_H_INCLUDED_ */
