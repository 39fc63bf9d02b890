
/*
 * What Redis sends, read by hiredis into the memory of a pool: a reply of many
 * parts takes a few allocations, and one that is handed on takes its pool along.
 * It is hiredis' redisReply, which is never given to freeReplyObject().
 */

#ifndef _LINES_STORE_REDIS_REPLY_H_INCLUDED_
#define _LINES_STORE_REDIS_REPLY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <hiredis/hiredis.h>


/* of all arrays of a reply: hiredis makes room for what a head announces,
   whether it ever comes or not */
#define LINES_REDIS_ELEMENTS  1000000

/* bytes of a reply, twice what all lists of a worker may hold: a length that is
   wrong would swallow what comes for ever */
#define LINES_REDIS_REPLY_MAX  (128 * 1024 * 1024)


typedef struct {
    ngx_log_t   *log;
    ngx_pool_t  *pool;        /* of the reply that is read or looked at */
    size_t       elements;    /* that it has so far, */
    size_t       size;        /* and bytes */
    ngx_uint_t   excess;      /* flag: they were too many, its reader failed */
} lines_redis_replies_t;


/* log is set; NULL: no memory.  To be freed by redisReaderFree() */
redisReader *lines_redis_reader(lines_redis_replies_t *replies);

/* the last reply, kept or not, is done with: room for the next one */
void lines_redis_reply_done(lines_redis_replies_t *replies);

/* the pool of the last reply, which is the caller's from now on */
ngx_pool_t *lines_redis_reply_keep(lines_redis_replies_t *replies);

/* nothing is left; between two readers */
void lines_redis_replies_free(lines_redis_replies_t *replies);


#endif /* _LINES_STORE_REDIS_REPLY_H_INCLUDED_ */
