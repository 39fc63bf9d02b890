
/*
 * A cluster: which node has a slot, by CLUSTER SHARDS of any node or one that
 * the configuration names, read at once after each loss and redirection, and now
 * and then; and what becomes of an operation that a node does not serve.
 * Internal to the store.
 */

#ifndef _LINES_STORE_CLUSTER_H_INCLUDED_
#define _LINES_STORE_CLUSTER_H_INCLUDED_


#include "store/redis_op.h"


/* redis->conf has cluster and sentinels, which are nodes here.  NULL: no
   memory */
lines_cluster_t *lines_cluster_create(ngx_cycle_t *cycle,
    lines_redis_t *redis);

/* and its nodes; redis->closed is set.  After those that follow were closed */
void lines_cluster_destroy(lines_cluster_t *cluster);

/* that has the slot, or any for LINES_CLUSTER_ANY; NULL: nobody is known */
lines_redis_node_t *lines_cluster_node(lines_cluster_t *cluster,
    ngx_int_t slot);

/* flag: there is no map, and nobody to tell one */
ngx_uint_t lines_cluster_away(lines_cluster_t *cluster);

/* a node was lost: the map may be another now */
void lines_cluster_lost(lines_cluster_t *cluster);

/* a node is connected now */
void lines_cluster_ready(lines_cluster_t *cluster);

/*
 * Takes over an operation that surely has not run, or may run twice: it is tried
 * soon, at whom its slot is by then.
 */
void lines_cluster_later(lines_cluster_t *cluster, lines_redis_op_t *op);

/*
 * The reply of an operation is an error.  NGX_OK: it is a redirection or one that
 * passes, and the operation was taken over; NGX_ERROR: one too many, or nobody
 * waits any more; NGX_DECLINED: another error.
 */
ngx_int_t lines_cluster_redirect(lines_cluster_t *cluster,
    lines_redis_op_t *op, redisReply *reply);

/* the connection, before it is opened, goes to any primary, each time to
   another */
void lines_cluster_follow(lines_cluster_t *cluster,
    lines_redis_connection_t *conn);

/* N of a key lines:{marker:N} that the node has, as far as is known */
ngx_uint_t lines_cluster_marker(lines_redis_node_t *node);

/* connected, away, probing and reason; what its nodes add is not in there */
void lines_cluster_status(lines_cluster_t *cluster,
    lines_redis_status_t *status);

/* nodes, in turn: NULL for the first one, and after the last one */
lines_redis_node_t *lines_cluster_next(lines_cluster_t *cluster,
    lines_redis_node_t *node);


#endif /* _LINES_STORE_CLUSTER_H_INCLUDED_ */
