
/*
 * What becomes of an operation: sent or waiting, answered, late or lost.
 */

#include "store/cluster.h"
#include "store/redis_commit.h"
#include "store/redis_log.h"
#include "store/redis_op.h"


#define LINES_REDIS_FORMAT_MAX  (4 * 1024 * 1024)


static lines_redis_op_t *redis_make(lines_redis_t *redis, size_t len);
static ngx_int_t redis_send(lines_redis_op_t *op, u_char *start, size_t len);
static void redis_asked(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static void redis_reply_handler(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static ngx_int_t redis_again(lines_redis_op_t *op);
static ngx_int_t redis_resend(lines_redis_op_t *op);
static void redis_check_error(lines_redis_node_t *node, redisReply *reply);
static void redis_deadline_handler(ngx_event_t *ev);
static void redis_tell(lines_redis_op_t *op, redisReply *reply);


const ngx_msec_t  lines_redis_bounds[LINES_REDIS_LATENCIES - 1] = {
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000
};


lines_redis_op_t *
lines_redis_op_create(lines_redis_t *redis, ngx_int_t slot, size_t len,
    ngx_uint_t durable)
{
    ngx_uint_t           away, missing, full;
    lines_redis_op_t    *op;
    lines_redis_node_t  *node;

    node = redis->cluster ? lines_cluster_node(redis->cluster, slot)
                          : redis->node;
    away = redis->cluster ? lines_cluster_away(redis->cluster, slot)
                          : node->connection.away;
    durable = durable && redis->conf->replicas;
    missing = durable && node && !lines_redis_commit_good(node->commit);

    /*
     * One that hangs leaves room for what the others are asked, and so do
     * several: none takes more than is left.
     */

    full = redis->cluster
           && node
           && node->nslots < LINES_CLUSTER_SLOTS
           && redis->status.inflight + node->inflight
              >= redis->conf->max_inflight;

    if (away || missing || full) {
        ngx_log_debug3(NGX_LOG_DEBUG_EVENT, redis->log, 0,
                       "lines redis refuses: away:%ui, missing:%ui, full:%ui",
                       away, missing, full);
        redis->status.refused++;
        return NULL;
    }

    op = redis_make(redis, len);

    if (op) {
        op->slot = slot;
        op->durable = durable;
    }

    return op;
}


lines_redis_op_t *
lines_redis_op_create_at(lines_redis_node_t *node, size_t len)
{
    lines_redis_op_t  *op;

    if (node->connection.away) {
        node->redis->status.refused++;
        return NULL;
    }

    op = redis_make(node->redis, len);

    if (op) {
        op->slot = LINES_CLUSTER_ANY;
        lines_redis_op_at(op, node);
        op->pinned = 1;
    }

    return op;
}


static lines_redis_op_t *
redis_make(lines_redis_t *redis, size_t len)
{
    lines_redis_op_t  *op;

    if (redis->status.inflight >= redis->conf->max_inflight) {
        ngx_log_debug1(NGX_LOG_DEBUG_EVENT, redis->log, 0,
                       "lines redis refuses, in flight:%ui",
                       redis->status.inflight);
        redis->status.refused++;
        return NULL;
    }

    op = ngx_alloc(sizeof(lines_redis_op_t) + len, redis->log);
    if (op == NULL) {
        return NULL;
    }

    ngx_memzero(op, sizeof(lines_redis_op_t));

    op->redis = redis;
    op->ident = -1;
    op->start = (u_char *) (op + 1);
    op->asked.handler = redis_reply_handler;
    op->asked.data = op;

    op->timer.handler = redis_deadline_handler;
    op->timer.data = op;
    op->timer.log = redis->log;

    redis->status.inflight++;

    return op;
}


void
lines_redis_detach(lines_redis_op_t *op)
{
    op->handler = NULL;

    if (op->sent) {
        if (op->timer.timer_set) {
            ngx_del_timer(&op->timer);
        }

        return;
    }

    ngx_queue_remove(&op->asked.queue);
    lines_redis_op_done(op, NULL);
}


lines_redis_op_t *
lines_redis_op_submit(lines_redis_op_t *op, lines_redis_handler_pt handler,
    void *data)
{
    lines_redis_t       *redis;
    lines_redis_node_t  *node;

    redis = op->redis;

    op->handler = handler;
    op->data = data;
    op->submitted = ngx_current_msec;
    op->last = (redis->closed != 0);

    ngx_add_timer(&op->timer, redis->conf->timeout);

    redis->status.commands++;

    node = op->pinned ? op->node
                      : redis->cluster
                      ? lines_cluster_node(redis->cluster, op->slot)
                      : redis->node;

    if (node) {
        lines_redis_op_place(op, node);

    } else {
        lines_cluster_later(redis->cluster, op);
    }

    return op;
}


void
lines_redis_op_place(lines_redis_op_t *op, lines_redis_node_t *node)
{
    lines_redis_op_at(op, node);
    op->sent = 0;
    op->retried = 0;

    if (redis_send(op, op->start, op->len) == NGX_OK) {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, op->redis->log, 0,
                   "lines redis op waits: %p", op);

    ngx_queue_insert_tail(&node->waiting, &op->asked.queue);
}


void
lines_redis_op_resume(lines_redis_node_t *node)
{
    ngx_queue_t       *q;
    lines_redis_op_t  *op;

    while (!ngx_queue_empty(&node->waiting)) {
        q = ngx_queue_head(&node->waiting);
        ngx_queue_remove(q);

        op = ngx_queue_data(q, lines_redis_op_t, asked.queue);

        if (redis_send(op, op->start, op->len) != NGX_OK) {
            ngx_queue_insert_head(&node->waiting, q);
            break;
        }
    }
}


void
lines_redis_op_refuse(lines_redis_node_t *node)
{
    ngx_queue_t       *q;
    lines_redis_op_t  *op;

    while (node->connection.away && !ngx_queue_empty(&node->waiting)) {
        q = ngx_queue_head(&node->waiting);
        ngx_queue_remove(q);

        op = ngx_queue_data(q, lines_redis_op_t, asked.queue);

        node->redis->status.errors++;

        lines_redis_op_done(op, NULL);
    }
}


/* NGX_DECLINED: no connection takes it now */

static ngx_int_t
redis_send(lines_redis_op_t *op, u_char *start, size_t len)
{
    lines_redis_connection_t  *conn;

    conn = &op->node->connection;

    if (conn->state != LINES_REDIS_READY) {
        return NGX_DECLINED;
    }

    if (op->asking) {
        lines_redis_ask(conn, redis_asked, NULL, "ASKING");
    }

    if (lines_redis_send(conn, &op->asked, start, len) != NGX_OK) {
        return NGX_DECLINED;
    }

    op->sent = 1;

    return NGX_OK;
}


static void
redis_asked(lines_redis_connection_t *conn, void *data, redisReply *reply)
{
}


static void
redis_reply_handler(lines_redis_connection_t *conn, void *data,
    redisReply *reply)
{
    lines_redis_op_t *op = data;

    ngx_int_t       rc;
    ngx_uint_t      i;
    ngx_msec_t      ms;
    lines_redis_t  *redis;

    redis = op->redis;

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, redis->log, 0,
                   "lines redis reply: %p %d", op, reply ? reply->type : -1);

    if (reply == NULL) {

        if (redis_again(op) == NGX_OK) {
            return;
        }

        if (!op->expired) {
            redis->status.errors++;
        }

    } else if (op->expired) {
        redis->status.late++;

    } else if (reply->type == REDIS_REPLY_ERROR) {

        if (op->script
            && !op->retried
            && ngx_strncmp(reply->str, "NOSCRIPT", 8) == 0
            && redis_resend(op) == NGX_OK)
        {
            return;
        }

        rc = redis->cluster
             ? lines_cluster_redirect(redis->cluster, op, reply)
             : NGX_DECLINED;

        if (rc == NGX_OK) {
            return;
        }

        if (rc == NGX_DECLINED) {
            redis_check_error(op->node, reply);

        } else {
            redis->status.errors++;
        }
    }

    if (reply) {
        ms = ngx_current_msec - op->submitted;

        for (i = 0; i < LINES_REDIS_LATENCIES - 1; i++) {
            if (ms <= lines_redis_bounds[i]) {
                break;
            }
        }

        redis->status.latency[i]++;
        redis->status.latency_sum += ms;
    }

    if (reply
        && reply->type != REDIS_REPLY_ERROR
        && op->durable
        && op->handler)
    {
        lines_redis_commit_hold(op->node->commit, op, reply);
        return;
    }

    lines_redis_op_done(op, reply);
}


/*
 * Its connection was lost.  What cannot have run (the server never got the
 * last byte of it) and what may run twice waits for the next connection,
 * within its own deadline.
 */

static ngx_int_t
redis_again(lines_redis_op_t *op)
{
    ngx_uint_t                 unsent;
    lines_redis_t             *redis;
    lines_redis_connection_t  *conn;

    redis = op->redis;
    conn = &op->node->connection;

    if (conn->away || redis->closed || op->expired || op->handler == NULL) {
        return NGX_DECLINED;
    }

    unsent = (op->asked.end > conn->flushed);

    if (!unsent) {

        if (!op->again || op->repeated) {
            return NGX_DECLINED;
        }

        op->repeated = 1;
        redis->status.repeats++;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, redis->log, 0,
                   "lines redis op again: %p unsent:%ui", op, unsent);

    if (redis->cluster && !op->pinned) {
        lines_cluster_later(redis->cluster, op);
        return NGX_OK;
    }

    op->sent = 0;
    op->retried = 0;

    ngx_queue_insert_tail(&op->node->waiting, &op->asked.queue);

    return NGX_OK;
}


/* the node does not know the script: the same arguments with its source */

static ngx_int_t
redis_resend(lines_redis_op_t *op)
{
    u_char          *p, *start;
    size_t           len;
    ngx_int_t        rc;
    lines_redis_t   *redis;
    lines_script_t  *script;

    redis = op->redis;
    script = op->script;

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, redis->log, 0,
                   "lines redis script is unknown: \"%V\"", &script->name);

    len = 3 * LINES_REDIS_STRING + sizeof("EVAL") - 1 + script->source.len
          + op->len - op->tail;

    start = ngx_alloc(len, redis->log);
    if (start == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(start, "*%ui\r\n$4\r\nEVAL\r\n$%uz\r\n%V\r\n", op->argc,
                    script->source.len, &script->source);
    p = ngx_cpymem(p, op->start + op->tail, op->len - op->tail);

    op->retried = 1;
    redis->status.resends++;

    rc = redis_send(op, start, p - start);

    ngx_free(start);

    return rc;
}


/*
 * One that is no primary any more, or cannot serve, is left: the handshake of
 * the next connection finds out what it is now.  Where it only refuses writes
 * there is nowhere else to go, and reads are answered.
 */

static void
redis_check_error(lines_redis_node_t *node, redisReply *reply)
{
    lines_redis_t             *redis;
    lines_redis_connection_t  *conn;

    static const struct {
        char        *words;
        char        *leave;
        ngx_uint_t   readonly;  /* flag */
        char        *what;      /* a write is refused, */
        char        *why;
    } errors[] = {

        { "MISCONF", NULL, 0, "it refuses writes (MISCONF)",
          "its disk is full or fails" },

        { "OOM", NULL, 0, "it refuses writes (OOM)",
          "its memory is full (maxmemory)" },

        { "NOREPLICAS", NULL, 0, "it refuses writes (NOREPLICAS)",
          "it has too few replicas (min-replicas-to-write)" },

        { "READONLY", "READONLY: no longer the primary", 1, NULL, NULL },

        { "MASTERDOWN", "MASTERDOWN: a replica without its primary", 1, NULL,
          NULL },

        { "MOVED", "a cluster node that lacks a slot", 0, NULL, NULL },
        { "ASK", "a cluster node that lacks a slot", 0, NULL, NULL },
        { "CLUSTERDOWN", "a cluster node that lacks a slot", 0, NULL, NULL },
        { "NOAUTH", "out of service", 0, NULL, NULL },
        { "LOADING", "out of service", 0, NULL, NULL },
        { "NOPERM", NULL, 0, NULL, NULL },
        { "ACL failure in script", NULL, 0, NULL, NULL },
        { "user executing the script can't", NULL, 0, NULL, NULL },
        { NULL, NULL, 0, NULL, NULL }

    }, *error;

    redis = node->redis;
    conn = &node->connection;

    for (error = errors; error->words; error++) {
        if (lines_redis_error_is(reply, error->words)) {
            break;
        }
    }

    if (error->what) {
        redis->status.disk++;
        lines_redis_refuses(conn, error->what, error->why);
        return;
    }

    redis->status.errors++;

    if (error->leave) {
        node->status.readonly |= error->readonly;
        lines_redis_drain(conn, error->leave);

    } else if (error->words
               && (conn->denied_at == 0
                   || ngx_current_msec - conn->denied_at > LINES_REDIS_DENIED))
    {
        /* a new connection asks what is allowed: without scripts none is */

        ngx_log_error(NGX_LOG_ALERT, conn->log, 0,
                      "lines redis \"%V\": it refuses a command (NOPERM): the "
                      "user's ACL lacks what is needed", conn->name);

        conn->denied = 1;
        conn->denied_at = ngx_max(ngx_current_msec, 1);

        lines_redis_drain(conn, "NOPERM: a command is refused");
    }
}


static void
redis_deadline_handler(ngx_event_t *ev)
{
    lines_redis_op_t *op = ev->data;

    lines_redis_t  *redis;

    redis = op->redis;

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, redis->log, 0,
                   "lines redis deadline: %p sent:%d", op, (int) op->sent);

    redis->status.timeouts++;

    /* of a cluster it may wait for a node still */

    if (op->node) {
        lines_redis_overdue(&op->node->connection);

        if (redis->cluster) {
            lines_cluster_lost(redis->cluster);
        }
    }

    if (!op->sent) {
        ngx_queue_remove(&op->asked.queue);
        lines_redis_op_done(op, NULL);
        return;
    }

    /* the guard stays in the connection's queue: a late reply finds nobody */

    op->expired = 1;

    redis_tell(op, NULL);
}


void
lines_redis_op_done(lines_redis_op_t *op, redisReply *reply)
{
    if (op->timer.timer_set) {
        ngx_del_timer(&op->timer);
    }

    /* first, so that the handler can issue the next one under the bound */

    op->redis->status.inflight--;
    lines_redis_op_at(op, NULL);

    redis_tell(op, reply);

    ngx_free(op);
}


static void
redis_tell(lines_redis_op_t *op, redisReply *reply)
{
    lines_redis_handler_pt  handler;

    handler = op->handler;
    op->handler = NULL;

    if (handler && (op->last || !op->redis->closed)) {
        op->redis->repeated = op->repeated;
        handler(op->data, reply);
    }
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
