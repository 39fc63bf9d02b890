
/*
 * Where a server is: as a cluster has told, Sentinel tells, or the
 * configuration says.
 */

#include "store/redis_life.h"
#include "store/redis_node.h"


static void node_locate(lines_redis_connection_t *conn, ngx_uint_t last);


lines_redis_node_t *
lines_redis_next(lines_redis_t *redis, lines_redis_node_t *node)
{
    ngx_queue_t  *q;

    q = ngx_queue_next(node ? &node->queue : &redis->nodes);

    return q == ngx_queue_sentinel(&redis->nodes)
           ? NULL : ngx_queue_data(q, lines_redis_node_t, queue);
}


void
lines_redis_guide(lines_redis_node_t *node, lines_redis_connection_t *conn)
{
    if (node->address.port) {
        conn->name = &node->name;
        conn->guide = node;
        conn->locate = node_locate;
        conn->id = node->address.id;

    } else if (node->redis->sentinel) {
        lines_sentinel_follow(node->redis->sentinel, conn);
    }
}


static void
node_locate(lines_redis_connection_t *conn, ngx_uint_t last)
{
    lines_redis_node_t *node = conn->guide;

    ngx_str_t  host;

    host.data = node->address.host;
    host.len = node->address.len;

    lines_redis_located(conn, &host, node->address.port, 0);
}


ngx_uint_t
lines_redis_silent(lines_redis_node_t *node)
{
    lines_redis_connection_t  *conn;

    conn = &node->connection;

    return conn->state == LINES_REDIS_READY
           && !ngx_queue_empty(&conn->asked)
           && ngx_current_msec - conn->heard >= conn->conf->timeout;
}
