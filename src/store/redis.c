
/*
 * The worker's Redis: its public face.  What becomes of an operation is in
 * store/redis_op.c, of the connection in store/redis_life.c.
 */

#include "store/redis_life.h"
#include "store/redis_op.h"


#define LINES_REDIS_FORMAT_MAX  (4 * 1024 * 1024)


static void redis_ready(void *data);
static void redis_lost(void *data);
static void redis_refuse_handler(ngx_event_t *ev);


lines_redis_t *
lines_redis_create(ngx_cycle_t *cycle, lines_redis_conf_t *conf)
{
    lines_redis_t             *redis;
    lines_redis_connection_t  *conn;

    redis = ngx_pcalloc(cycle->pool, sizeof(lines_redis_t));
    if (redis == NULL) {
        return NULL;
    }

    redis->conf = conf;
    redis->log = cycle->log;

    ngx_queue_init(&redis->waiting);

    redis->refuse.handler = redis_refuse_handler;
    redis->refuse.data = redis;
    redis->refuse.log = cycle->log;

    conn = &redis->connection;

    conn->conf = conf;
    conn->log = cycle->log;
    conn->data = redis;
    conn->role = "commands";
    conn->status = &redis->status;
    conn->ready = redis_ready;
    conn->lost = redis_lost;

    lines_redis_open(conn);

    return redis;
}


void
lines_redis_destroy(lines_redis_t *redis)
{
    redis->connection.away = 1;

    lines_redis_close(&redis->connection);

    if (redis->refuse.posted) {
        ngx_delete_posted_event(&redis->refuse);
    }

    redis_refuse_handler(&redis->refuse);
}


void
lines_redis_status(lines_redis_t *redis, lines_redis_status_t *status)
{
    lines_redis_connection_t  *conn;

    conn = &redis->connection;

    *status = redis->status;

    status->connected = (conn->state == LINES_REDIS_READY);
    status->away = conn->away;
    status->probing = conn->away
                      && conn->state >= LINES_REDIS_RESOLVING
                      && conn->state <= LINES_REDIS_HANDSHAKE;
    status->reconnects = conn->connects ? conn->connects - 1 : 0;
    status->denied = conn->denied_at
                     && ngx_current_msec - conn->denied_at
                        <= LINES_REDIS_DENIED;
    status->refuses = conn->refused_at
                      && ngx_current_msec - conn->refused_at
                         <= LINES_REDIS_REFUSED
                      ? conn->refuses
                      : NULL;

    if (!status->connected) {
        status->reason.data = conn->logged;
        status->reason.len = ngx_strlen(conn->logged);
    }
}


void
lines_redis_review(lines_redis_t *redis)
{
    lines_redis_look(&redis->connection);
}


ngx_int_t
lines_redis_format(ngx_pool_t *pool, ngx_str_t *value, const char *fmt, ...)
{
    u_char   *p, *last, buffer[512];
    size_t    size;
    va_list   args;

    p = buffer;
    size = sizeof(buffer);

    for ( ;; ) {
        va_start(args, fmt);
        last = ngx_vslprintf(p, p + size, fmt, args);
        va_end(args);

        if (last < p + size) {
            break;
        }

        if (p != buffer) {
            (void) ngx_pfree(pool, p);
        }

        if (size == LINES_REDIS_FORMAT_MAX) {
            return NGX_ERROR;
        }

        size = ngx_min(size * 8, LINES_REDIS_FORMAT_MAX);

        p = ngx_palloc(pool, size);
        if (p == NULL) {
            return NGX_ERROR;
        }
    }

    value->len = last - p;
    value->data = p;

    if (p == buffer) {
        value->data = ngx_pstrdup(pool, value);
    }

    return value->data ? NGX_OK : NGX_ERROR;
}


static void
redis_ready(void *data)
{
    lines_redis_t *redis = data;

    ngx_queue_t       *q;
    lines_redis_op_t  *op;

    redis->status.readonly = 0;

    while (!ngx_queue_empty(&redis->waiting)) {
        q = ngx_queue_head(&redis->waiting);
        op = ngx_queue_data(q, lines_redis_op_t, queue);

        if (lines_redis_op_send(op, op->start, op->len) != NGX_OK) {
            break;
        }

        ngx_queue_remove(q);
    }
}


static void
redis_lost(void *data)
{
    lines_redis_t *redis = data;

    if (redis->connection.away && !ngx_queue_empty(&redis->waiting)) {
        ngx_post_event(&redis->refuse, &ngx_posted_events);
    }
}


static void
redis_refuse_handler(ngx_event_t *ev)
{
    lines_redis_t *redis = ev->data;

    ngx_queue_t       *q;
    lines_redis_op_t  *op;

    while (redis->connection.away && !ngx_queue_empty(&redis->waiting)) {
        q = ngx_queue_head(&redis->waiting);
        ngx_queue_remove(q);

        op = ngx_queue_data(q, lines_redis_op_t, queue);

        redis->status.errors++;

        lines_redis_op_done(op, NULL);
    }
}
