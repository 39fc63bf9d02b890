
/*
 * Where Sentinel says that the primary is: a connection to each of the
 * configured Sentinels, which is asked at once, after each loss of the primary,
 * when it tells +switch-master, and now and then
 * (redis.io/docs/latest/develop/reference/sentinel-clients).  Internal to the
 * store.
 */

#ifndef _LINES_STORE_SENTINEL_H_INCLUDED_
#define _LINES_STORE_SENTINEL_H_INCLUDED_


#include "store/redis_connection.h"


typedef struct lines_sentinel_s  lines_sentinel_t;


/* conf->master and conf->sentinels are set.  NULL: no memory */
lines_sentinel_t *lines_sentinel_create(ngx_cycle_t *cycle,
    lines_redis_conf_t *conf);

/* after those that follow were closed */
void lines_sentinel_destroy(lines_sentinel_t *sentinel);

/*
 * The connection, before it is opened, goes where the primary is, and leaves
 * what is the primary no more.
 */
void lines_sentinel_follow(lines_sentinel_t *sentinel,
    lines_redis_connection_t *conn);


#endif /* _LINES_STORE_SENTINEL_H_INCLUDED_ */
