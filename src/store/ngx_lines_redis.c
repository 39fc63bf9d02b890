
/*
 * Operations: each is a guard object with its own deadline, which outlives
 * whoever asked and stays in hiredis' queue until its reply has come.
 */

#include "ngx_lines_redis_connection.h"


#define NGX_LINES_REDIS_INLINE  480     /* most commands fit, none is copied
                                           to the heap that does */
#define NGX_LINES_REDIS_SPARE   256     /* guards kept for the next ones */


struct ngx_lines_redis_op_s {
    ngx_queue_t                     queue;      /* waiting, or spare */
    ngx_lines_redis_t              *redis;

    /* event ident must be after 3 pointers as in ngx_connection_t */
    ngx_int_t                       ident;

    ngx_lines_redis_handler_pt      handler;    /* NULL: nobody waits */
    void                           *data;
    ngx_event_t                     timer;

    ngx_lines_script_t             *script;
    ngx_uint_t                      argc;       /* of a script's command */

    u_char                         *start;      /* the command as it is sent */
    size_t                          len;
    size_t                          tail;       /* after EVALSHA and digest */

    ngx_uint_t                      reads;      /* of the connection, then */

    unsigned                        sent:1;
    unsigned                        expired:1;
    unsigned                        retried:1;

    u_char                          buffer[NGX_LINES_REDIS_INLINE];
};


struct ngx_lines_redis_s {
    ngx_lines_redis_connection_t    connection;
    ngx_lines_redis_conf_t         *conf;
    ngx_log_t                      *log;

    ngx_queue_t                     waiting;
    ngx_queue_t                     spare;
    ngx_uint_t                      nspare;

    ngx_event_t                     refuse;     /* those that wait in vain */

    ngx_lines_redis_status_t        status;

    unsigned                        destroyed:1;
};


static void ngx_lines_redis_ready(void *data);
static void ngx_lines_redis_lost(void *data);
static void ngx_lines_redis_refuse_handler(ngx_event_t *ev);

static ngx_lines_redis_op_t *ngx_lines_redis_op_create(
    ngx_lines_redis_t *redis, size_t len);
static void ngx_lines_redis_op_free(ngx_lines_redis_op_t *op);
static void ngx_lines_redis_op_done(ngx_lines_redis_op_t *op,
    redisReply *reply);
static ngx_lines_redis_op_t *ngx_lines_redis_submit(ngx_lines_redis_op_t *op,
    ngx_lines_redis_handler_pt handler, void *data);
static ngx_int_t ngx_lines_redis_send(ngx_lines_redis_op_t *op, u_char *start,
    size_t len);
static void ngx_lines_redis_reply_handler(redisAsyncContext *ac, void *data,
    void *privdata);
static ngx_int_t ngx_lines_redis_resend(ngx_lines_redis_op_t *op);
static void ngx_lines_redis_check_readonly(ngx_lines_redis_t *redis,
    redisReply *reply);
static void ngx_lines_redis_deadline_handler(ngx_event_t *ev);

static ngx_uint_t ngx_lines_redis_usable(ngx_lines_redis_t *redis);
static size_t ngx_lines_redis_args_len(ngx_uint_t argc, ngx_str_t *argv);
static u_char *ngx_lines_redis_write_len(u_char *p, u_char type, size_t n);
static u_char *ngx_lines_redis_write_arg(u_char *p, u_char *data, size_t len);


ngx_lines_redis_t *
ngx_lines_redis_create(ngx_cycle_t *cycle, ngx_lines_redis_conf_t *conf)
{
    ngx_lines_redis_t             *redis;
    ngx_lines_redis_connection_t  *conn;

    redis = ngx_pcalloc(cycle->pool, sizeof(ngx_lines_redis_t));
    if (redis == NULL) {
        return NULL;
    }

    redis->conf = conf;
    redis->log = cycle->log;

    ngx_queue_init(&redis->waiting);
    ngx_queue_init(&redis->spare);

    redis->refuse.handler = ngx_lines_redis_refuse_handler;
    redis->refuse.data = redis;
    redis->refuse.log = cycle->log;

    conn = &redis->connection;

    conn->conf = conf;
    conn->log = cycle->log;
    conn->data = redis;
    conn->info = 1;
    conn->ready = ngx_lines_redis_ready;
    conn->lost = ngx_lines_redis_lost;

    ngx_lines_redis_connection_open(conn);

    return redis;
}


void
ngx_lines_redis_destroy(ngx_lines_redis_t *redis)
{
    ngx_queue_t           *q;
    ngx_lines_redis_op_t  *op;

    redis->destroyed = 1;

    ngx_lines_redis_connection_close(&redis->connection);

    if (redis->refuse.posted) {
        ngx_delete_posted_event(&redis->refuse);
    }

    while (!ngx_queue_empty(&redis->waiting)) {
        q = ngx_queue_head(&redis->waiting);
        ngx_queue_remove(q);

        op = ngx_queue_data(q, ngx_lines_redis_op_t, queue);

        ngx_lines_redis_op_free(op);
    }

    while (!ngx_queue_empty(&redis->spare)) {
        q = ngx_queue_head(&redis->spare);
        ngx_queue_remove(q);

        ngx_free(ngx_queue_data(q, ngx_lines_redis_op_t, queue));
    }
}


ngx_lines_redis_op_t *
ngx_lines_redis_command(ngx_lines_redis_t *redis, ngx_uint_t argc,
    ngx_str_t *argv, ngx_lines_redis_handler_pt handler, void *data)
{
    u_char                *p;
    ngx_uint_t             i;
    ngx_lines_redis_op_t  *op;

    if (!ngx_lines_redis_usable(redis)) {
        return NULL;
    }

    op = ngx_lines_redis_op_create(redis,
                                   ngx_lines_redis_args_len(argc, argv));
    if (op == NULL) {
        return NULL;
    }

    p = ngx_lines_redis_write_len(op->start, '*', argc);

    for (i = 0; i < argc; i++) {
        p = ngx_lines_redis_write_arg(p, argv[i].data, argv[i].len);
    }

    /* hiredis looks one byte ahead */

    *p = '\0';
    op->len = p - op->start;

    return ngx_lines_redis_submit(op, handler, data);
}


ngx_lines_redis_op_t *
ngx_lines_redis_eval(ngx_lines_redis_t *redis, ngx_lines_script_t *script,
    ngx_uint_t nkeys, ngx_uint_t nargs, ngx_str_t *args,
    ngx_lines_redis_handler_pt handler, void *data)
{
    u_char                *p, number[NGX_INT_T_LEN];
    size_t                 len;
    ngx_uint_t             i;
    ngx_lines_redis_op_t  *op;

    if (!ngx_lines_redis_usable(redis)) {
        return NULL;
    }

    len = ngx_lines_redis_args_len(nargs, args)
          + sizeof("$7" CRLF "EVALSHA" CRLF) - 1
          + 1 + NGX_SIZE_T_LEN + 4 + script->sha1.len
          + 1 + NGX_SIZE_T_LEN + 4 + NGX_INT_T_LEN;

    op = ngx_lines_redis_op_create(redis, len);
    if (op == NULL) {
        return NULL;
    }

    op->script = script;
    op->argc = nargs + 3;

    p = ngx_lines_redis_write_len(op->start, '*', op->argc);
    p = ngx_lines_redis_write_arg(p, (u_char *) "EVALSHA", 7);
    p = ngx_lines_redis_write_arg(p, script->sha1.data, script->sha1.len);

    op->tail = p - op->start;

    p = ngx_lines_redis_write_arg(p, number,
                                  ngx_sprintf(number, "%ui", nkeys) - number);

    for (i = 0; i < nargs; i++) {
        p = ngx_lines_redis_write_arg(p, args[i].data, args[i].len);
    }

    *p = '\0';
    op->len = p - op->start;

    return ngx_lines_redis_submit(op, handler, data);
}


void
ngx_lines_redis_detach(ngx_lines_redis_op_t *op)
{
    op->handler = NULL;

    if (op->sent) {
        if (op->timer.timer_set) {
            ngx_del_timer(&op->timer);
        }

        return;
    }

    ngx_queue_remove(&op->queue);
    ngx_lines_redis_op_free(op);
}


void
ngx_lines_redis_status(ngx_lines_redis_t *redis,
    ngx_lines_redis_status_t *status)
{
    ngx_lines_redis_connection_t  *conn;

    conn = &redis->connection;

    *status = redis->status;

    status->connected = (conn->state == NGX_LINES_REDIS_READY);
    status->away = conn->away;
    status->reconnects = conn->connects ? conn->connects - 1 : 0;
    status->evicts = conn->evicts;
    status->no_aof = conn->no_aof;
}


ngx_int_t
ngx_lines_redis_format(ngx_pool_t *pool, ngx_str_t *value, const char *fmt,
    ...)
{
    u_char   *p, *last, buffer[512];
    size_t    size;
    va_list   args;

    va_start(args, fmt);
    last = ngx_vslprintf(buffer, buffer + sizeof(buffer), fmt, args);
    va_end(args);

    if (last < buffer + sizeof(buffer)) {
        value->len = last - buffer;
        value->data = ngx_pnalloc(pool, value->len);
        if (value->data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(value->data, buffer, value->len);

        return NGX_OK;
    }

    for (size = 4096; size <= 4 * 1024 * 1024; size *= 4) {
        p = ngx_palloc(pool, size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        va_start(args, fmt);
        last = ngx_vslprintf(p, p + size, fmt, args);
        va_end(args);

        if (last < p + size) {
            value->data = p;
            value->len = last - p;
            return NGX_OK;
        }

        (void) ngx_pfree(pool, p);
    }

    return NGX_ERROR;
}


static void
ngx_lines_redis_ready(void *data)
{
    ngx_lines_redis_t *redis = data;

    ngx_queue_t           *q;
    ngx_lines_redis_op_t  *op;

    redis->status.readonly = 0;

    while (!ngx_queue_empty(&redis->waiting)) {
        q = ngx_queue_head(&redis->waiting);
        op = ngx_queue_data(q, ngx_lines_redis_op_t, queue);

        if (ngx_lines_redis_send(op, op->start, op->len) != NGX_OK) {
            break;
        }

        ngx_queue_remove(q);
    }
}


static void
ngx_lines_redis_lost(void *data)
{
    ngx_lines_redis_t *redis = data;

    if (redis->connection.away && !ngx_queue_empty(&redis->waiting)) {
        ngx_post_event(&redis->refuse, &ngx_posted_events);
    }
}


static void
ngx_lines_redis_refuse_handler(ngx_event_t *ev)
{
    ngx_lines_redis_t *redis = ev->data;

    ngx_queue_t           *q;
    ngx_lines_redis_op_t  *op;

    while (redis->connection.away && !ngx_queue_empty(&redis->waiting)) {
        q = ngx_queue_head(&redis->waiting);
        ngx_queue_remove(q);

        op = ngx_queue_data(q, ngx_lines_redis_op_t, queue);

        redis->status.errors++;

        ngx_lines_redis_op_done(op, NULL);
    }
}


static ngx_uint_t
ngx_lines_redis_usable(ngx_lines_redis_t *redis)
{
    if (redis->destroyed || redis->connection.away) {
        redis->status.refused++;
        return 0;
    }

    if (redis->status.inflight >= redis->conf->max_inflight) {
        ngx_log_debug1(NGX_LOG_DEBUG_EVENT, redis->log, 0,
                       "lines redis in flight: %ui", redis->status.inflight);
        redis->status.refused++;
        return 0;
    }

    return 1;
}


static ngx_lines_redis_op_t *
ngx_lines_redis_op_create(ngx_lines_redis_t *redis, size_t len)
{
    ngx_queue_t           *q;
    ngx_lines_redis_op_t  *op;

    if (!ngx_queue_empty(&redis->spare)) {
        q = ngx_queue_head(&redis->spare);
        ngx_queue_remove(q);
        redis->nspare--;

        op = ngx_queue_data(q, ngx_lines_redis_op_t, queue);

    } else {
        op = ngx_alloc(sizeof(ngx_lines_redis_op_t), redis->log);
        if (op == NULL) {
            return NULL;
        }
    }

    ngx_memzero(op, offsetof(ngx_lines_redis_op_t, buffer));

    op->redis = redis;
    op->ident = -1;
    op->start = op->buffer;

    if (len > NGX_LINES_REDIS_INLINE) {
        op->start = ngx_alloc(len, redis->log);

        if (op->start == NULL) {
            ngx_free(op);
            return NULL;
        }
    }

    op->timer.handler = ngx_lines_redis_deadline_handler;
    op->timer.data = op;
    op->timer.log = redis->log;

    redis->status.inflight++;

    return op;
}


static void
ngx_lines_redis_op_free(ngx_lines_redis_op_t *op)
{
    ngx_lines_redis_t  *redis;

    redis = op->redis;

    if (op->timer.timer_set) {
        ngx_del_timer(&op->timer);
    }

    if (op->start != op->buffer) {
        ngx_free(op->start);
    }

    redis->status.inflight--;

    if (redis->destroyed || redis->nspare >= NGX_LINES_REDIS_SPARE) {
        ngx_free(op);
        return;
    }

    ngx_queue_insert_head(&redis->spare, &op->queue);
    redis->nspare++;
}


static void
ngx_lines_redis_op_done(ngx_lines_redis_op_t *op, redisReply *reply)
{
    void                        *data;
    ngx_uint_t                   destroyed;
    ngx_lines_redis_handler_pt   handler;

    handler = op->handler;
    data = op->data;
    destroyed = op->redis->destroyed;

    /* first, so that the handler can issue the next one under the bound */

    ngx_lines_redis_op_free(op);

    if (handler && !destroyed) {
        handler(data, reply);
    }
}


static ngx_lines_redis_op_t *
ngx_lines_redis_submit(ngx_lines_redis_op_t *op,
    ngx_lines_redis_handler_pt handler, void *data)
{
    ngx_lines_redis_t  *redis;

    redis = op->redis;

    op->handler = handler;
    op->data = data;

    ngx_add_timer(&op->timer, redis->conf->timeout);

    redis->status.commands++;

    if (redis->connection.state == NGX_LINES_REDIS_READY
        && ngx_lines_redis_send(op, op->start, op->len) == NGX_OK)
    {
        return op;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, redis->log, 0,
                   "lines redis op waits: %p", op);

    ngx_queue_insert_tail(&redis->waiting, &op->queue);

    return op;
}


static ngx_int_t
ngx_lines_redis_send(ngx_lines_redis_op_t *op, u_char *start, size_t len)
{
    ngx_lines_redis_connection_t  *conn;

    conn = &op->redis->connection;

    if (conn->state != NGX_LINES_REDIS_READY) {
        return NGX_DECLINED;
    }

    if (redisAsyncFormattedCommand(conn->ac, ngx_lines_redis_reply_handler, op,
                                   (const char *) start, len)
        != REDIS_OK)
    {
        /* the connection is being closed, or hiredis has no memory */

        if (!(conn->ac->c.flags & (REDIS_DISCONNECTING|REDIS_FREEING))) {
            ngx_lines_redis_connection_cause(conn, "no memory");
            ngx_lines_redis_connection_fail(conn);
        }

        return NGX_DECLINED;
    }

    op->sent = 1;
    op->reads = conn->reads;

    return NGX_OK;
}


static void
ngx_lines_redis_reply_handler(redisAsyncContext *ac, void *data,
    void *privdata)
{
    ngx_lines_redis_op_t *op = privdata;

    redisReply         *reply;
    ngx_lines_redis_t  *redis;

    reply = data;
    redis = op->redis;

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, redis->log, 0,
                   "lines redis reply: %p %d", op, reply ? reply->type : -1);

    if (reply == NULL) {
        if (!op->expired) {
            redis->status.errors++;
        }

    } else if (op->expired) {
        redis->status.late++;

    } else if (reply->type == REDIS_REPLY_ERROR) {

        if (op->script && !op->retried
            && ngx_strncmp(reply->str, "NOSCRIPT", 8) == 0
            && ngx_lines_redis_resend(op) == NGX_OK)
        {
            return;
        }

        redis->status.errors++;

        ngx_lines_redis_check_readonly(redis, reply);
    }

    ngx_lines_redis_op_done(op, reply);
}


/* the node does not know the script: the same arguments with its source */

static ngx_int_t
ngx_lines_redis_resend(ngx_lines_redis_op_t *op)
{
    u_char              *p, *start;
    size_t               len;
    ngx_int_t            rc;
    ngx_lines_redis_t   *redis;
    ngx_lines_script_t  *script;

    redis = op->redis;
    script = op->script;

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, redis->log, 0,
                   "lines redis script is unknown: \"%V\"", &script->name);

    len = 3 * (1 + NGX_SIZE_T_LEN + 4) + 4 + script->source.len
          + op->len - op->tail + 1;

    start = ngx_alloc(len, redis->log);
    if (start == NULL) {
        return NGX_ERROR;
    }

    p = ngx_lines_redis_write_len(start, '*', op->argc);
    p = ngx_lines_redis_write_arg(p, (u_char *) "EVAL", 4);
    p = ngx_lines_redis_write_arg(p, script->source.data, script->source.len);
    p = ngx_cpymem(p, op->start + op->tail, op->len - op->tail);

    *p = '\0';

    op->retried = 1;
    redis->status.resends++;

    rc = ngx_lines_redis_send(op, start, p - start);

    ngx_free(start);

    return rc;
}


/*
 * A failover has made a replica of it.  Scripts' errors carry the code inside
 * before 7.0.
 */

static void
ngx_lines_redis_check_readonly(ngx_lines_redis_t *redis, redisReply *reply)
{
    if (ngx_strncmp(reply->str, "READONLY", 8) != 0
        && ngx_strstr(reply->str, "-READONLY ") == NULL)
    {
        return;
    }

    redis->status.readonly = 1;

    ngx_lines_redis_connection_drain(&redis->connection,
                                     "READONLY: no longer the primary");
}


static void
ngx_lines_redis_deadline_handler(ngx_event_t *ev)
{
    ngx_lines_redis_op_t *op = ev->data;

    void                          *data;
    ngx_uint_t                     hung;
    ngx_lines_redis_t             *redis;
    ngx_lines_redis_handler_pt     handler;
    ngx_lines_redis_connection_t  *conn;

    redis = op->redis;
    conn = &redis->connection;

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, redis->log, 0,
                   "lines redis deadline: %p sent:%d", op, (int) op->sent);

    redis->status.timeouts++;

    if (!op->sent) {
        ngx_queue_remove(&op->queue);
        ngx_lines_redis_op_done(op, NULL);
        return;
    }

    /* the guard stays in hiredis' queue: a late reply finds nobody */

    handler = op->handler;
    data = op->data;

    op->handler = NULL;
    op->expired = 1;

    hung = (conn->ac != NULL && op->reads == conn->reads);

    if (hung) {

        /* not one byte since it was sent: nobody need wait for this server */

        conn->away = 1;
        ngx_lines_redis_connection_drop(conn, "no reply within the timeout");
    }

    if (handler) {
        handler(data, NULL);
    }
}


static size_t
ngx_lines_redis_args_len(ngx_uint_t argc, ngx_str_t *argv)
{
    size_t      len;
    ngx_uint_t  i;

    len = 1 + NGX_SIZE_T_LEN + 2 + 1;

    for (i = 0; i < argc; i++) {
        len += 1 + NGX_SIZE_T_LEN + 4 + argv[i].len;
    }

    return len;
}


static u_char *
ngx_lines_redis_write_len(u_char *p, u_char type, size_t n)
{
    u_char  *end, digits[NGX_SIZE_T_LEN];

    end = digits + NGX_SIZE_T_LEN;

    *p++ = type;

    do {
        *--end = (u_char) (n % 10 + '0');
        n /= 10;
    } while (n);

    p = ngx_cpymem(p, end, digits + NGX_SIZE_T_LEN - end);

    *p++ = CR;
    *p++ = LF;

    return p;
}


static u_char *
ngx_lines_redis_write_arg(u_char *p, u_char *data, size_t len)
{
    p = ngx_lines_redis_write_len(p, '$', len);

    if (len) {
        p = ngx_cpymem(p, data, len);
    }

    *p++ = CR;
    *p++ = LF;

    return p;
}
