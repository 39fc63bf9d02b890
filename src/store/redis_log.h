
/*
 * What is said of a connection to Redis: why it ends, that it is not there,
 * that it refuses.  Internal to the store.
 */

#ifndef _LINES_STORE_REDIS_LOG_H_INCLUDED_
#define _LINES_STORE_REDIS_LOG_H_INCLUDED_


#include "store/redis_connection.h"


/* why it ends; what came first explains what follows */
void ngx_cdecl lines_redis_cause(lines_redis_connection_t *conn,
    const char *fmt, ...);

/* ... and it ends: lines_redis_drop() */
#define lines_redis_fail(conn, ...)                                           \
    (lines_redis_cause(conn, __VA_ARGS__), lines_redis_drop(conn))


/* the cause, as an error once in a while, else as information; n: so many
   operations were under way */
void lines_redis_complain(lines_redis_connection_t *conn, char *what,
    ngx_uint_t n);

/* an operation was not answered in time: told once in a while, with how many */
void lines_redis_overdue(lines_redis_connection_t *conn);

/*
 * A write was refused (MISCONF, OOM), or would be, as INFO says: counted by the
 * caller, told now and then.  what and why are constants.
 */
void lines_redis_refuses(lines_redis_connection_t *conn, char *what, char *why);


#endif /* _LINES_STORE_REDIS_LOG_H_INCLUDED_ */
