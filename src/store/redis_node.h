
/*
 * The servers that take commands: one, or each primary of a cluster.  Internal
 * to the store.
 */

#ifndef _LINES_STORE_REDIS_NODE_H_INCLUDED_
#define _LINES_STORE_REDIS_NODE_H_INCLUDED_


#include "store/redis_op.h"


/* in turn: NULL for the first one, and after the last one */
lines_redis_node_t *lines_redis_next(lines_redis_t *redis,
    lines_redis_node_t *node);

/* flag: nothing comes from it, for so long that an operation fails */
ngx_uint_t lines_redis_silent(lines_redis_node_t *node);

/* a connection, before it is opened, goes where that of the node does */
void lines_redis_guide(lines_redis_node_t *node,
    lines_redis_connection_t *conn);


#endif /* _LINES_STORE_REDIS_NODE_H_INCLUDED_ */
