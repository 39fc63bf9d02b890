
/*
 * The worker's Redis: its public face.  What becomes of an operation is in
 * store/redis_op.c, of the connection in store/redis_life.c.
 */

#include "store/redis_handshake.h"
#include "store/redis_life.h"
#include "store/redis_op.h"
#include "store/resp.h"


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
    ngx_queue_init(&redis->spare);

    redis->refuse.handler = redis_refuse_handler;
    redis->refuse.data = redis;
    redis->refuse.log = cycle->log;

    conn = &redis->connection;

    conn->conf = conf;
    conn->log = cycle->log;
    conn->data = redis;
    conn->role = "commands";
    conn->info = 1;
    conn->ready = redis_ready;
    conn->lost = redis_lost;

    lines_redis_connection_open(conn);

    return redis;
}


void
lines_redis_destroy(lines_redis_t *redis)
{
    ngx_queue_t       *q;
    lines_redis_op_t  *op;

    redis->destroyed = 1;

    lines_redis_connection_close(&redis->connection);

    if (redis->refuse.posted) {
        ngx_delete_posted_event(&redis->refuse);
    }

    while (!ngx_queue_empty(&redis->waiting)) {
        q = ngx_queue_head(&redis->waiting);
        ngx_queue_remove(q);

        op = ngx_queue_data(q, lines_redis_op_t, queue);

        lines_redis_op_free(op);
    }

    while (!ngx_queue_empty(&redis->spare)) {
        q = ngx_queue_head(&redis->spare);
        ngx_queue_remove(q);

        ngx_free(ngx_queue_data(q, lines_redis_op_t, queue));
    }
}


lines_redis_op_t *
lines_redis_command(lines_redis_t *redis, ngx_uint_t argc, ngx_str_t *argv,
    lines_redis_handler_pt handler, void *data)
{
    u_char            *p;
    ngx_uint_t         i;
    lines_redis_op_t  *op;

    if (!lines_redis_usable(redis)) {
        return NULL;
    }

    op = lines_redis_op_create(redis, lines_resp_len(argc, argv));
    if (op == NULL) {
        return NULL;
    }

    p = lines_resp_array(op->start, argc);

    for (i = 0; i < argc; i++) {
        p = lines_resp_string(p, argv[i].data, argv[i].len);
    }

    /* hiredis looks one byte ahead */

    *p = '\0';
    op->len = p - op->start;
    op->again = lines_redis_reads(&argv[0]);

    return lines_redis_op_submit(op, handler, data);
}


lines_redis_op_t *
lines_redis_eval(lines_redis_t *redis, lines_script_t *script,
    ngx_uint_t nkeys, ngx_uint_t nargs, ngx_str_t *args,
    lines_redis_handler_pt handler, void *data)
{
    u_char            *p, number[NGX_INT_T_LEN];
    size_t             len;
    ngx_uint_t         i;
    lines_redis_op_t  *op;

    if (!lines_redis_usable(redis)) {
        return NULL;
    }

    len = lines_resp_len(nargs, args) + 3 * LINES_RESP_OVERHEAD
          + sizeof("EVALSHA") - 1 + script->sha1.len + NGX_INT_T_LEN;

    op = lines_redis_op_create(redis, len);
    if (op == NULL) {
        return NULL;
    }

    op->script = script;
    op->again = script->again;
    op->argc = nargs + 3;

    p = lines_resp_array(op->start, op->argc);
    p = lines_resp_string(p, (u_char *) "EVALSHA", sizeof("EVALSHA") - 1);
    p = lines_resp_string(p, script->sha1.data, script->sha1.len);

    op->tail = p - op->start;

    p = lines_resp_string(p, number,
                          ngx_sprintf(number, "%ui", nkeys) - number);

    for (i = 0; i < nargs; i++) {
        p = lines_resp_string(p, args[i].data, args[i].len);
    }

    *p = '\0';
    op->len = p - op->start;

    return lines_redis_op_submit(op, handler, data);
}


/* of the commands that are used; a new one that is missing is not repeated */

ngx_uint_t
lines_redis_reads(const ngx_str_t *name)
{
    ngx_uint_t  i;
    static ngx_str_t   names[] = {
        ngx_string("EXISTS"), ngx_string("GET"), ngx_string("HEXISTS"),
        ngx_string("HGET"), ngx_string("HGETALL"), ngx_string("HMGET"),
        ngx_string("SISMEMBER"), ngx_string("SMEMBERS"),
        ngx_string("SRANDMEMBER"), ngx_string("SSCAN"), ngx_string("TIME"),
        ngx_string("ZRANGE"), ngx_string("ZRANGEBYLEX"),
        ngx_string("ZRANGEBYSCORE"), ngx_string("ZREVRANGEBYSCORE"),
        ngx_null_string
    };

    for (i = 0; names[i].len; i++) {
        if (name->len == names[i].len
            && ngx_strncmp(name->data, names[i].data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
lines_redis_repeated(lines_redis_t *redis)
{
    return redis->repeated;
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
                      && (conn->state == LINES_REDIS_RESOLVING
                          || conn->state == LINES_REDIS_CONNECTING
                          || conn->state == LINES_REDIS_HANDSHAKE);
    status->reconnects = conn->connects ? conn->connects - 1 : 0;
    status->evicts = conn->evicts;
    status->no_aof = conn->no_aof;
    status->no_info = conn->no_info;
    status->no_config = conn->no_config;
    status->denied = conn->denied_at
                     && ngx_current_msec - conn->denied_at
                        <= LINES_REDIS_DENIED;
    status->settings = conn->settings;
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


ngx_uint_t
lines_redis_usable(lines_redis_t *redis)
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
