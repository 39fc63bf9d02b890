
/*
 * hiredis' hooks into nginx's events.
 */

#ifndef _LINES_STORE_REDIS_ADAPTER_H_INCLUDED_
#define _LINES_STORE_REDIS_ADAPTER_H_INCLUDED_


#include "store/redis_connection.h"


/* takes over a context that connects; NGX_ERROR: it is still the caller's */
ngx_int_t lines_redis_attach(lines_redis_connection_t *conn,
    redisAsyncContext *ac);

/*
 * A command is about to be queued, its reply to be waited for: returns where
 * in the stream of bytes it begins, to be compared with conn->flushed.
 */
size_t lines_redis_connection_await(lines_redis_connection_t *conn);


#endif /* _LINES_STORE_REDIS_ADAPTER_H_INCLUDED_ */
