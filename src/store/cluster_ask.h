
/*
 * Who tells the map of a cluster: its primaries in turn, or, while none is
 * connected, a node that the configuration names.  Internal to the store.
 */

#ifndef _LINES_STORE_CLUSTER_ASK_H_INCLUDED_
#define _LINES_STORE_CLUSTER_ASK_H_INCLUDED_


#include "store/redis_op.h"


typedef struct lines_cluster_ask_s  lines_cluster_ask_t;


/*
 * map: all its primaries have a host; it is the taker's for the call.  NULL:
 * there was none that can be used.  epoch: of who was asked; 0: it does not
 * say.
 */
typedef void (*lines_cluster_take_pt)(lines_cluster_t *cluster,
    lines_cluster_map_t *map, off_t epoch);


/* redis->nodes are asked; NULL: no memory */
lines_cluster_ask_t *lines_cluster_ask_create(ngx_cycle_t *cycle,
    lines_redis_t *redis, lines_cluster_take_pt take);

void lines_cluster_ask_destroy(lines_cluster_ask_t *ask);

/* unless somebody was asked just now, and may answer yet */
void lines_cluster_ask_next(lines_cluster_ask_t *ask);

/* what a node has said of itself: one that is down is asked with each map */
void lines_cluster_ask_set_down(lines_redis_node_t *node, ngx_uint_t down);

/* that connection will be there no more */
void lines_cluster_ask_forget(lines_cluster_ask_t *ask,
    lines_redis_connection_t *conn);

/* to a node of the configuration: closed while there are others */
lines_redis_connection_t *lines_cluster_ask_seed(lines_cluster_ask_t *ask);


#endif /* _LINES_STORE_CLUSTER_ASK_H_INCLUDED_ */
