
/*
 * hiredis' reader, made safe.
 */

#ifndef _LINES_STORE_REDIS_READER_H_INCLUDED_
#define _LINES_STORE_REDIS_READER_H_INCLUDED_


#include "store/redis_connection.h"


/* refuses replies on which hiredis would abort */
void lines_redis_guard_reader(lines_redis_connection_t *conn,
    redisReader *reader);


#endif /* _LINES_STORE_REDIS_READER_H_INCLUDED_ */
