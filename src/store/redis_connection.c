
/*
 * hiredis' asynchronous context on nginx's events.  hiredis owns the
 * descriptor; events are level-triggered, because redisBufferRead() reads at
 * most 16K at once.
 *
 * hiredis asserts that a reply was asked for, and that a subscription brings
 * messages of a certain form: an assertion on what came over the network costs
 * the worker.  Its reader makes replies through functions that may be
 * replaced; these refuse what it would not survive, which ends the connection.
 */

#include "store/redis_connection.h"
#include <netinet/tcp.h>


#if (HIREDIS_MAJOR >= 1)
typedef size_t  lines_redis_elements_t;
#else
typedef int     lines_redis_elements_t;
#endif


static void redis_socket_options(lines_redis_connection_t *conn, int fd);
static void redis_connected(const redisAsyncContext *ac, int status);
static void redis_read_handler(ngx_event_t *rev);
static void redis_write_handler(ngx_event_t *wev);
static void redis_flush_handler(ngx_event_t *ev);
static void redis_write(lines_redis_connection_t *conn);
static void redis_add_event(lines_redis_connection_t *conn, ngx_uint_t write);
static void redis_add_read(void *data);
static void redis_add_write(void *data);
static void redis_del_write(void *data);
static void redis_cleanup(void *data);
static void redis_cause(lines_redis_connection_t *conn, const char *fmt,
    va_list args);

static void *redis_create_string(const redisReadTask *task, char *data,
    size_t len);
static void *redis_create_array(const redisReadTask *task,
    lines_redis_elements_t n);
static void *redis_create_integer(const redisReadTask *task, long long value);
static void *redis_create_nil(const redisReadTask *task);
#if (HIREDIS_MAJOR >= 1)
static void *redis_create_double(const redisReadTask *task, double value,
    char *data, size_t len);
static void *redis_create_bool(const redisReadTask *task, int value);
#endif
static ngx_uint_t redis_unexpected(const redisReadTask *task, int type,
    ssize_t n);


static redisReplyObjectFunctions  *redis_hiredis;
static redisReplyObjectFunctions   redis_functions;


ngx_int_t
lines_redis_attach(lines_redis_connection_t *conn, redisAsyncContext *ac)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(ac->c.fd, conn->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    redis_socket_options(conn, ac->c.fd);

    c->data = conn;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->idle = 1;

    c->read->handler = redis_read_handler;
    c->write->handler = redis_write_handler;
    c->read->log = conn->log;
    c->write->log = conn->log;

    conn->flush.handler = redis_flush_handler;
    conn->flush.data = conn;
    conn->flush.log = conn->log;

    conn->connection = c;
    conn->ac = ac;
    conn->flushed = 0;

    redis_hiredis = ac->c.reader->fn;

    redis_functions = *redis_hiredis;
    redis_functions.createString = redis_create_string;
    redis_functions.createArray = redis_create_array;
    redis_functions.createInteger = redis_create_integer;
    redis_functions.createNil = redis_create_nil;
#if (HIREDIS_MAJOR >= 1)
    redis_functions.createDouble = redis_create_double;
    redis_functions.createBool = redis_create_bool;
#endif

    ac->c.reader->fn = &redis_functions;
    ac->c.reader->privdata = conn;

    ac->data = conn;
    ac->ev.data = conn;
    ac->ev.addRead = redis_add_read;
    ac->ev.addWrite = redis_add_write;
    ac->ev.delWrite = redis_del_write;
    ac->ev.cleanup = redis_cleanup;

    /* this calls addWrite, which drives the connect */

    (void) redisAsyncSetConnectCallback(ac, redis_connected);

    return NGX_OK;
}


size_t
lines_redis_await(lines_redis_connection_t *conn)
{
    if (conn->ac->replies.head == NULL) {
        conn->heard = ngx_current_msec;
    }

    if (!conn->timer.timer_set) {
        ngx_add_timer(&conn->timer, conn->conf->silence);
    }

    return conn->flushed + sdslen(conn->ac->c.obuf);
}


static void
redis_socket_options(lines_redis_connection_t *conn, int fd)
{
    ngx_uint_t  i;

    static const struct {
        char  *text;
        int    level;
        int    name;
        int    value;
    } options[] = {
        { "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1 },
        { "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1 },
#ifdef TCP_KEEPIDLE
        { "TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 15 },
        { "TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, 5 },
        { "TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 3 },
#endif
        { NULL, 0, 0, 0 }
    };

    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == -1) {
        ngx_log_error(NGX_LOG_ALERT, conn->log, ngx_errno,
                      "fcntl(FD_CLOEXEC) \"%V\" failed", &conn->conf->name);
    }

    for (i = 0; options[i].text && conn->conf->url.family != AF_UNIX; i++) {

        if (setsockopt(fd, options[i].level, options[i].name,
                       &options[i].value, sizeof(int))
            == -1)
        {
            ngx_log_error(NGX_LOG_WARN, conn->log, ngx_socket_errno,
                          "setsockopt(%s) \"%V\" failed", options[i].text,
                          &conn->conf->name);
        }
    }
}


static void
redis_connected(const redisAsyncContext *ac, int status)
{
    lines_redis_connection_t  *conn;

    conn = ac->data;

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                   "lines redis connect: \"%V\" %d", &conn->conf->name,
                   status);

    if (status == REDIS_OK && conn->state == LINES_REDIS_CONNECTING) {
        conn->state = LINES_REDIS_HANDSHAKE;
    }
}


static void
redis_read_handler(ngx_event_t *rev)
{
    ngx_connection_t          *c;
    lines_redis_connection_t  *conn;

    c = rev->data;
    conn = c->data;

    if (c->close) {

        /*
         * The worker begins to exit.  Requests that it still serves may need
         * Redis until the last of them is done, and this connection keeps no
         * worker alive: exit_process closes it.
         */

        c->close = 0;

        ngx_log_debug1(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                       "lines redis shutdown: \"%V\"", &conn->conf->name);

        return;
    }

    conn->heard = ngx_current_msec;

    /* frees conn->ac when the server has gone */

    redisAsyncHandleRead(conn->ac);
}


static void
redis_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;

    redis_write(c->data);
}


static void
redis_flush_handler(ngx_event_t *ev)
{
    lines_redis_connection_t *conn = ev->data;

    u_char   byte;
    ssize_t  n;

    if (conn->ac == NULL || conn->connection->write->active) {
        return;
    }

    /*
     * When the server has closed the connection epoll will tell in the next
     * turn only: what is written now is lost, without a word whether it was.
     * What has no byte written surely has not run.
     */

    n = recv(conn->ac->c.fd, &byte, 1, MSG_PEEK|MSG_DONTWAIT);

    if (n == 0
        || (n == -1
            && ngx_socket_errno != NGX_EAGAIN
            && ngx_socket_errno != NGX_EINTR))
    {
        redisAsyncHandleRead(conn->ac);
        return;
    }

    redis_write(conn);
}


static void
redis_write(lines_redis_connection_t *conn)
{
    size_t  len;

    len = sdslen(conn->ac->c.obuf);

    conn->flushing = 1;

    redisAsyncHandleWrite(conn->ac);

    conn->flushing = 0;

    if (conn->ac) {
        conn->flushed += len - sdslen(conn->ac->c.obuf);
    }
}


static void
redis_add_event(lines_redis_connection_t *conn, ngx_uint_t write)
{
    ngx_event_t  *ev;

    if (conn->connection == NULL) {
        return;
    }

    ev = write ? conn->connection->write : conn->connection->read;

    if (ev->active) {
        return;
    }

    /*
     * Commands of one turn of the event loop leave in one write.  While a
     * write is under way it was a partial one: posting it again would spin
     * until the server reads.
     */

    if (write && (conn->ac->c.flags & REDIS_CONNECTED) && !conn->flushing) {
        ngx_post_event(&conn->flush, &ngx_posted_events);
        return;
    }

    if (ngx_add_event(ev, write ? NGX_WRITE_EVENT : NGX_READ_EVENT,
                      NGX_LEVEL_EVENT)
        != NGX_OK)
    {
        lines_redis_fail(conn, "could not add a %s event",
                         write ? "write" : "read");
    }
}


static void
redis_add_read(void *data)
{
    redis_add_event(data, 0);
}


static void
redis_add_write(void *data)
{
    redis_add_event(data, 1);
}


static void
redis_del_write(void *data)
{
    lines_redis_connection_t *conn = data;

    if (conn->connection && conn->connection->write->active) {
        (void) ngx_del_event(conn->connection->write, NGX_WRITE_EVENT, 0);
    }
}


/*
 * hiredis is about to free its context.  It calls this hook once, before (1.x)
 * or after (0.14) the pending callbacks, and closes no descriptor of -1.
 */

static void
redis_cleanup(void *data)
{
    lines_redis_connection_t *conn = data;

    if (conn->connection == NULL) {
        return;
    }

    if (conn->ac->c.err) {
        lines_redis_cause(conn, "%s", conn->ac->c.errstr);
    }

    if (conn->flush.posted) {
        ngx_delete_posted_event(&conn->flush);
    }

    ngx_close_connection(conn->connection);

    conn->ac->c.fd = -1;

    conn->connection = NULL;
    conn->ac = NULL;

    conn->closed(conn);
}


void ngx_cdecl
lines_redis_fail(lines_redis_connection_t *conn, const char *fmt, ...)
{
    va_list  args;

    if (conn->state == LINES_REDIS_CLOSED) {
        return;
    }

    va_start(args, fmt);
    redis_cause(conn, fmt, args);
    va_end(args);

    conn->state = (conn->state == LINES_REDIS_READY
                   || conn->state == LINES_REDIS_DRAINING)
                  ? LINES_REDIS_DRAINING
                  : LINES_REDIS_FAILED;

    if (conn->ac && (conn->ac->c.flags & REDIS_IN_CALLBACK)) {

        /*
         * hiredis frees it as soon as the callback returns, and parses no more
         * of what may not be Redis' protocol at all
         */

        redisAsyncFree(conn->ac);
        return;
    }

    ngx_post_event(&conn->drop, &ngx_posted_events);
}


void
lines_redis_drain(lines_redis_connection_t *conn, char *cause)
{
    if (conn->state != LINES_REDIS_READY) {
        return;
    }

    lines_redis_cause(conn, "%s", cause);

    conn->state = LINES_REDIS_DRAINING;
    lines_redis_timer(conn, conn->conf->timeout);

    redisAsyncDisconnect(conn->ac);
}


void ngx_cdecl
lines_redis_cause(lines_redis_connection_t *conn, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    redis_cause(conn, fmt, args);
    va_end(args);
}


static void
redis_cause(lines_redis_connection_t *conn, const char *fmt, va_list args)
{
    if (conn->cause[0] == '\0') {
        *ngx_vslprintf(conn->cause, conn->cause + LINES_REDIS_CAUSE_LEN - 1,
                       fmt, args) = '\0';
    }
}


void
lines_redis_refuses(lines_redis_connection_t *conn, char *what, char *why)
{
    if (conn->refused_at == 0
        || ngx_strcmp(conn->refuses, why) != 0
        || ngx_current_msec - conn->refused_at > LINES_REDIS_REFUSED)
    {
        ngx_log_error(NGX_LOG_ALERT, conn->log, 0,
                      "lines redis \"%V\": %s: %s", &conn->conf->name, what,
                      why);

        conn->refuses = why;
        conn->refused_at = ngx_max(ngx_current_msec, 1);
    }
}


void
lines_redis_timer(lines_redis_connection_t *conn, ngx_msec_t timer)
{
    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    ngx_add_timer(&conn->timer, timer);
}


ngx_uint_t
lines_redis_reply_is(redisReply *reply, ngx_str_t *text)
{
    return reply->type == REDIS_REPLY_STRING
           && (size_t) reply->len == text->len
           && ngx_memcmp(reply->str, text->data, text->len) == 0;
}


ngx_uint_t
lines_redis_error_is(redisReply *reply, char *words)
{
    char  *p, last;

    p = strstr(reply->str, words);

    if (p == NULL || strchr(words, ' ')) {
        return p != NULL;
    }

    last = p[ngx_strlen(words)];

    return (p == reply->str || p[-1] == '-') && (last == ' ' || last == '\0');
}


static void *
redis_create_string(const redisReadTask *task, char *data, size_t len)
{
    lines_redis_connection_t *conn = task->privdata;

    if (redis_unexpected(task, task->type, -1)) {
        return NULL;
    }

    if (conn->in_message
        && task->parent && task->parent->parent == NULL && task->idx == 0
        && (len != 7 || ngx_strncmp(data, "message", 7) != 0)
        && (len != 9 || ngx_strncmp(data, "subscribe", 9) != 0))
    {
        lines_redis_cause(conn, "not a message");
        return NULL;
    }

    return redis_hiredis->createString(task, data, len);
}


static void *
redis_create_array(const redisReadTask *task, lines_redis_elements_t n)
{
    return redis_unexpected(task, task->type, n)
           ? NULL
           : redis_hiredis->createArray(task, n);
}


static void *
redis_create_integer(const redisReadTask *task, long long value)
{
    return redis_unexpected(task, task->type, -1)
           ? NULL
           : redis_hiredis->createInteger(task, value);
}


static void *
redis_create_nil(const redisReadTask *task)
{
    return redis_unexpected(task, REDIS_REPLY_NIL, -1)
           ? NULL
           : redis_hiredis->createNil(task);
}


#if (HIREDIS_MAJOR >= 1)

static void *
redis_create_double(const redisReadTask *task, double value, char *data,
    size_t len)
{
    return redis_unexpected(task, task->type, -1)
           ? NULL
           : redis_hiredis->createDouble(task, value, data, len);
}


static void *
redis_create_bool(const redisReadTask *task, int value)
{
    return redis_unexpected(task, task->type, -1)
           ? NULL
           : redis_hiredis->createBool(task, value);
}

#endif


/* n: of an array's elements, or -1; of a nil, task->type is a string's */

static ngx_uint_t
redis_unexpected(const redisReadTask *task, int type, ssize_t n)
{
    lines_redis_connection_t *conn = task->privdata;

    if (task->parent == NULL) {

        /* an error may come unasked, as when there are too many clients */

        if (type == REDIS_REPLY_ERROR) {
            return 0;
        }

        conn->in_message = 0;

        if (conn->ac && conn->ac->replies.head) {
            return 0;
        }

        if (n < 0 || conn->ac == NULL
            || !(conn->ac->c.flags & REDIS_SUBSCRIBED))
        {
            lines_redis_cause(conn, "a reply that nobody asked for");
            return 1;
        }

        conn->in_message = 1;

        if (type == REDIS_REPLY_ARRAY && n == 3) {
            return 0;
        }

    } else if (!conn->in_message
               || task->parent->parent
               || task->idx > 1
               || type == REDIS_REPLY_STRING)
    {
        /* a message's kind and channel are strings */

        return 0;
    }

    lines_redis_cause(conn, "not a message");

    return 1;
}
