
/*
 * A cluster: which node has a slot, asked at once after each loss and
 * redirection, and now and then; and what becomes of an operation that a node
 * does not serve.  Internal to the store.
 */

#ifndef _LINES_STORE_CLUSTER_H_INCLUDED_
#define _LINES_STORE_CLUSTER_H_INCLUDED_


#include "store/redis_op.h"


/* what is done with nodes and operations */

typedef struct {
    /* in redis->nodes; NULL: no memory */
    lines_redis_node_t  *(*create)(lines_redis_t *redis,
                                   lines_cluster_address_t *address);
    void                 (*destroy)(lines_redis_node_t *node);
    void                 (*place)(lines_redis_op_t *op,
                                  lines_redis_node_t *node);
    void                 (*done)(lines_redis_op_t *op, redisReply *reply);
} lines_cluster_owner_t;


/* redis->conf has cluster and sentinels, which are nodes here; owner is not
   copied.  NULL: no memory */
lines_cluster_t *lines_cluster_create(ngx_cycle_t *cycle,
    lines_redis_t *redis, lines_cluster_owner_t *owner);

/* and its nodes; redis->closed is set */
void lines_cluster_destroy(lines_cluster_t *cluster);

/* that has the slot, or any for LINES_CLUSTER_ANY; NULL: nobody is known */
lines_redis_node_t *lines_cluster_node(lines_cluster_t *cluster,
    ngx_int_t slot);

/* flag: who has the slot is known not to serve, or nobody has it, for longer
   than passes by itself */
ngx_uint_t lines_cluster_away(lines_cluster_t *cluster, ngx_int_t slot);

/* a node was lost, or does not answer: the map may be another now */
void lines_cluster_lost(lines_cluster_t *cluster);

/*
 * Takes over an operation that surely has not run, or may run twice: it is
 * tried soon, at whom its slot is by then.
 */
void lines_cluster_later(lines_cluster_t *cluster, lines_redis_op_t *op);

/*
 * The reply of an operation is an error.  NGX_OK: it is a redirection or one
 * that passes, and the operation was taken over; NGX_ERROR: it cannot be
 * followed, or nobody waits any more; NGX_DECLINED: another error.
 */
ngx_int_t lines_cluster_redirect(lines_cluster_t *cluster,
    lines_redis_op_t *op, redisReply *reply);

/* N of a key lines:{marker:N} that the node has, as far as is known */
ngx_uint_t lines_cluster_marker(lines_redis_node_t *node);

/* connected, serves and reason, and while there is no map away and probing */
void lines_cluster_status(lines_cluster_t *cluster,
    lines_redis_status_t *status);


#endif /* _LINES_STORE_CLUSTER_H_INCLUDED_ */
