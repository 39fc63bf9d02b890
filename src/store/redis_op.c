
/*
 * The worker's Redis, and what becomes of an operation: sent or waiting,
 * answered, late or lost.
 */

#include "store/redis_commit.h"
#include "store/redis_handshake.h"
#include "store/redis_life.h"
#include "store/redis_log.h"
#include "store/redis_op.h"


#define LINES_REDIS_FORMAT_MAX  (4 * 1024 * 1024)


static void redis_ready(void *data);
static void redis_lost(void *data);
static void redis_refuse_handler(ngx_event_t *ev);

static ngx_int_t redis_send(lines_redis_op_t *op, u_char *start, size_t len);
static void redis_reply_handler(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static ngx_int_t redis_again(lines_redis_op_t *op);
static ngx_int_t redis_resend(lines_redis_op_t *op);
static void redis_check_error(lines_redis_t *redis, redisReply *reply);
static void redis_deadline_handler(ngx_event_t *ev);
static void redis_done(lines_redis_op_t *op, redisReply *reply);
static void redis_tell(lines_redis_op_t *op, redisReply *reply);


const ngx_msec_t  lines_redis_bounds[LINES_REDIS_LATENCIES - 1] = {
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000
};


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

    if (conf->master.len) {
        redis->sentinel = lines_sentinel_create(cycle, conf);
        if (redis->sentinel == NULL) {
            return NULL;
        }

        lines_sentinel_follow(redis->sentinel, conn);
    }

    lines_redis_open(conn);

    if (conf->replicas) {
        redis->commit = lines_redis_commit_create(cycle, redis, redis_done);
        if (redis->commit == NULL) {
            return NULL;
        }
    }

    return redis;
}


void
lines_redis_destroy(lines_redis_t *redis)
{
    redis->connection.away = 1;

    /* what was asked for last, of which nobody needs to hear */

    lines_redis_flush(&redis->connection);
    lines_redis_close(&redis->connection);

    if (redis->commit) {
        lines_redis_commit_destroy(redis->commit);
    }

    if (redis->sentinel) {
        lines_sentinel_destroy(redis->sentinel);
    }

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
    status->unconfirmed = redis->commit
                          && !lines_redis_commit_good(redis->commit);
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


static void
redis_ready(void *data)
{
    lines_redis_t *redis = data;

    ngx_queue_t       *q;
    lines_redis_op_t  *op;

    redis->status.readonly = 0;

    if (redis->commit) {
        lines_redis_commit_renew(redis->commit);
    }

    while (!ngx_queue_empty(&redis->waiting)) {
        q = ngx_queue_head(&redis->waiting);
        ngx_queue_remove(q);

        op = ngx_queue_data(q, lines_redis_op_t, asked.queue);

        if (redis_send(op, op->start, op->len) != NGX_OK) {
            ngx_queue_insert_head(&redis->waiting, q);
            break;
        }
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

        op = ngx_queue_data(q, lines_redis_op_t, asked.queue);

        redis->status.errors++;

        redis_done(op, NULL);
    }
}


lines_redis_op_t *
lines_redis_op_create(lines_redis_t *redis, size_t len, ngx_uint_t durable)
{
    ngx_uint_t         missing;
    lines_redis_op_t  *op;

    durable = durable && redis->commit;
    missing = durable && !lines_redis_commit_good(redis->commit);

    if (redis->connection.away
        || missing
        || redis->status.inflight >= redis->conf->max_inflight)
    {
        ngx_log_debug3(NGX_LOG_DEBUG_EVENT, redis->log, 0,
                       "lines redis refuses: away:%d, missing:%ui, in "
                       "flight:%ui", (int) redis->connection.away, missing,
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
    op->durable = durable;
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
    redis_done(op, NULL);
}


lines_redis_op_t *
lines_redis_op_submit(lines_redis_op_t *op, lines_redis_handler_pt handler,
    void *data)
{
    lines_redis_t  *redis;

    redis = op->redis;

    op->handler = handler;
    op->data = data;
    op->submitted = ngx_current_msec;

    ngx_add_timer(&op->timer, redis->conf->timeout);

    redis->status.commands++;

    if (redis_send(op, op->start, op->len) == NGX_OK) {
        return op;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, redis->log, 0,
                   "lines redis op waits: %p", op);

    ngx_queue_insert_tail(&redis->waiting, &op->asked.queue);

    return op;
}


/* NGX_DECLINED: no connection takes it now */

static ngx_int_t
redis_send(lines_redis_op_t *op, u_char *start, size_t len)
{
    lines_redis_connection_t  *conn;

    conn = &op->redis->connection;

    if (conn->state != LINES_REDIS_READY
        || lines_redis_send(conn, &op->asked, start, len) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    op->sent = 1;

    return NGX_OK;
}


static void
redis_reply_handler(lines_redis_connection_t *conn, void *data,
    redisReply *reply)
{
    lines_redis_op_t *op = data;

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

        redis_check_error(redis, reply);
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
        lines_redis_commit_hold(redis->commit, op, reply);
        return;
    }

    redis_done(op, reply);
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
    conn = &redis->connection;

    if (conn->away || op->expired || op->handler == NULL) {
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

    op->sent = 0;
    op->retried = 0;

    ngx_queue_insert_tail(&redis->waiting, &op->asked.queue);

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
redis_check_error(lines_redis_t *redis, redisReply *reply)
{
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

    conn = &redis->connection;

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
        redis->status.readonly |= error->readonly;
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

    if (!op->sent) {
        ngx_queue_remove(&op->asked.queue);
        redis_done(op, NULL);
        return;
    }

    /* the guard stays in the connection's queue: a late reply finds nobody */

    op->expired = 1;

    redis_tell(op, NULL);
}


static void
redis_done(lines_redis_op_t *op, redisReply *reply)
{
    if (op->timer.timer_set) {
        ngx_del_timer(&op->timer);
    }

    /* first, so that the handler can issue the next one under the bound */

    op->redis->status.inflight--;

    redis_tell(op, reply);

    ngx_free(op);
}


static void
redis_tell(lines_redis_op_t *op, redisReply *reply)
{
    lines_redis_handler_pt  handler;

    handler = op->handler;
    op->handler = NULL;

    if (handler && op->redis->connection.state != LINES_REDIS_CLOSED) {
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
