
/*
 * hiredis' context on nginx's events: it owns the descriptor's buffers, nginx
 * the descriptor.  Events are level-triggered, because redisBufferRead() reads
 * at most 16K at once.  Its asynchronous context is not used: that asserts that
 * a reply was asked for, and on what came over the network.
 */

#include "store/redis_connection.h"
#include <hiredis/sds.h>
#include <netinet/tcp.h>


/* of what came before a write, 16k each */
#define LINES_REDIS_READS  16


static void redis_socket_options(lines_redis_connection_t *conn, int fd);
static void redis_add_event(lines_redis_connection_t *conn, ngx_event_t *ev);
static void redis_queue(lines_redis_connection_t *conn,
    lines_redis_asked_t *asked);
static void redis_read_handler(ngx_event_t *rev);
static void redis_take(lines_redis_connection_t *conn, redisReply *reply);
static void redis_answer(lines_redis_connection_t *conn, redisReply *reply);
static void redis_write_handler(ngx_event_t *wev);
static void redis_flush_handler(ngx_event_t *ev);
static void redis_write(lines_redis_connection_t *conn);


void
lines_redis_attach(lines_redis_connection_t *conn, redisContext *context)
{
    ngx_connection_t  *c;

    conn->context = context;
    conn->flushed = 0;

    if (context == NULL || context->err) {
        lines_redis_fail(conn, "%s", context ? context->errstr : "no memory");
        return;
    }

    c = ngx_get_connection(context->fd, conn->log);
    if (c == NULL) {
        lines_redis_fail(conn, "no free worker connection");
        return;
    }

    redis_socket_options(conn, context->fd);

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

    redis_add_event(conn, c->write);
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
redis_add_event(lines_redis_connection_t *conn, ngx_event_t *ev)
{
    if (!ev->active
        && ngx_add_event(ev, ev->write ? NGX_WRITE_EVENT : NGX_READ_EVENT,
                         NGX_LEVEL_EVENT)
           != NGX_OK)
    {
        lines_redis_fail(conn, "could not add a %s event",
                         ev->write ? "write" : "read");
    }
}


void
lines_redis_disconnect(lines_redis_connection_t *conn)
{
    if (conn->flush.posted) {
        ngx_delete_posted_event(&conn->flush);
    }

    if (conn->connection) {
        ngx_close_connection(conn->connection);
        conn->connection = NULL;
        conn->context->fd = -1;
    }

    if (conn->context) {
        redisFree(conn->context);
        conn->context = NULL;
    }

    while (!ngx_queue_empty(&conn->asked)) {
        redis_answer(conn, NULL);
    }
}


ngx_int_t
lines_redis_send(lines_redis_connection_t *conn, lines_redis_asked_t *asked,
    u_char *start, size_t len)
{
    if (redisAppendFormattedCommand(conn->context, (char *) start, len)
        != REDIS_OK)
    {
        lines_redis_fail(conn, "no memory");
        return NGX_ERROR;
    }

    redis_queue(conn, asked);

    return NGX_OK;
}


void
lines_redis_ask(lines_redis_connection_t *conn, lines_redis_reply_pt handler,
    void *data, const char *fmt, ...)
{
    int                   rc;
    va_list               args;
    lines_redis_asked_t  *asked;

    asked = ngx_alloc(sizeof(lines_redis_asked_t), conn->log);

    if (asked == NULL) {
        lines_redis_fail(conn, "no memory");
        return;
    }

    *asked = (lines_redis_asked_t) {
        .handler = handler, .data = data, .own = 1
    };

    va_start(args, fmt);
    rc = redisvAppendCommand(conn->context, fmt, args);
    va_end(args);

    if (rc != REDIS_OK) {
        lines_redis_fail(conn, "no memory");
    }

    redis_queue(conn, asked);
}


static void
redis_queue(lines_redis_connection_t *conn, lines_redis_asked_t *asked)
{
    if (ngx_queue_empty(&conn->asked)) {
        conn->heard = ngx_current_msec;
    }

    asked->end = conn->flushed + sdslen(conn->context->obuf);

    ngx_queue_insert_tail(&conn->asked, &asked->queue);

    /* commands of one turn of the event loop leave in one write */

    if (!conn->connection->write->active) {
        ngx_post_event(&conn->flush, &ngx_posted_events);
    }

    /* a subscription has a heartbeat */

    if (conn->state == LINES_REDIS_READY
        && conn->message == NULL
        && !conn->timer.timer_set)
    {
        ngx_add_timer(&conn->timer, conn->conf->silence);
    }
}


static void
redis_read_handler(ngx_event_t *rev)
{
    redisReply                *reply;
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

    if (redisBufferRead(conn->context) != REDIS_OK) {
        lines_redis_fail(conn, "%s", conn->context->errstr);
    }

    /* once the connection is given up no more of it is believed */

    while (!conn->drop.posted) {
        if (redisGetReplyFromReader(conn->context, (void **) &reply)
            != REDIS_OK)
        {
            lines_redis_fail(conn, "%s", conn->context->errstr);
            return;
        }

        if (reply == NULL) {
            return;
        }

        redis_take(conn, reply);
        freeReplyObject(reply);
    }
}


static void
redis_take(lines_redis_connection_t *conn, redisReply *reply)
{
    lines_redis_asked_t  *asked;

    asked = ngx_queue_data(ngx_queue_head(&conn->asked), lines_redis_asked_t,
                           queue);

    /* what has not left yet has no reply: whatever comes is of no command */

    if (!ngx_queue_empty(&conn->asked) && asked->end <= conn->flushed) {
        redis_answer(conn, reply);

    } else if (reply->type == REDIS_REPLY_ERROR) {

        /* it may come unasked, as when there are too many clients */

        lines_redis_fail(conn, "%s", reply->str);

    } else if (conn->message) {
        conn->message(conn->data, reply);

    } else {
        lines_redis_fail(conn, "a reply that nobody asked for");
    }

    if (conn->state == LINES_REDIS_DRAINING && ngx_queue_empty(&conn->asked)) {
        lines_redis_fail(conn, "closed");
    }
}


static void
redis_answer(lines_redis_connection_t *conn, redisReply *reply)
{
    ngx_queue_t          *q;
    lines_redis_asked_t  *asked, a;

    q = ngx_queue_head(&conn->asked);
    ngx_queue_remove(q);

    asked = ngx_queue_data(q, lines_redis_asked_t, queue);
    a = *asked;

    if (a.own) {
        ngx_free(asked);
    }

    a.handler(conn, a.data, reply);
}


static void
redis_write_handler(ngx_event_t *wev)
{
    int                        err;
    socklen_t                  len;
    ngx_connection_t          *c;
    lines_redis_connection_t  *conn;

    c = wev->data;
    conn = c->data;

    if (conn->state == LINES_REDIS_CONNECTING) {
        err = 0;
        len = sizeof(int);

        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1) {
            err = ngx_socket_errno;
        }

        ngx_log_debug2(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                       "lines redis connect: \"%V\" %d", &conn->conf->name,
                       err ? REDIS_ERR : REDIS_OK);

        if (err) {
            lines_redis_fail(conn, "%s", strerror(err));
            return;
        }

        conn->state = LINES_REDIS_HANDSHAKE;

        redis_add_event(conn, c->read);
    }

    /* nor is anything sent to one that is given up */

    if (!conn->drop.posted) {
        redis_write(conn);
    }
}


static void
redis_flush_handler(ngx_event_t *ev)
{
    lines_redis_connection_t *conn = ev->data;

    ngx_uint_t  n;

    /*
     * When the server has closed the connection epoll will tell in the next
     * turn only: what is written now is lost, without a word whether it was.
     * What has no byte written surely has not run.  The end may stand behind
     * what was sent before.
     */

    for (n = 0; n < LINES_REDIS_READS; n++) {

        if (conn->drop.posted || !lines_redis_readable(conn)) {
            break;
        }

        redis_read_handler(conn->connection->read);
    }

    if (!conn->drop.posted) {
        redis_write(conn);
    }
}


static void
redis_write(lines_redis_connection_t *conn)
{
    int           done;
    size_t        len;
    ngx_event_t  *wev;

    wev = conn->connection->write;
    len = sdslen(conn->context->obuf);

    if (redisBufferWrite(conn->context, &done) != REDIS_OK) {
        lines_redis_fail(conn, "%s", conn->context->errstr);
        return;
    }

    conn->flushed += len - sdslen(conn->context->obuf);

    if (!done) {
        redis_add_event(conn, wev);

    } else if (wev->active) {
        (void) ngx_del_event(wev, NGX_WRITE_EVENT, 0);
    }
}


ngx_uint_t
lines_redis_readable(lines_redis_connection_t *conn)
{
    u_char  byte;

    return recv(conn->context->fd, &byte, 1, MSG_PEEK|MSG_DONTWAIT) != -1
           || ngx_socket_errno != NGX_EAGAIN;
}


void
lines_redis_drop(lines_redis_connection_t *conn)
{
    if (conn->state == LINES_REDIS_CLOSED) {
        return;
    }

    conn->state = (conn->state == LINES_REDIS_READY
                   || conn->state == LINES_REDIS_DRAINING)
                  ? LINES_REDIS_DRAINING
                  : LINES_REDIS_FAILED;

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
}


void ngx_cdecl
lines_redis_cause(lines_redis_connection_t *conn, const char *fmt, ...)
{
    va_list  args;

    if (conn->cause[0] == '\0') {
        va_start(args, fmt);
        *ngx_vslprintf(conn->cause, conn->cause + LINES_REDIS_CAUSE_LEN - 1,
                       fmt, args) = '\0';
        va_end(args);
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
