
/*
 * A socket in nginx' events.  Of hiredis, the reader and the formatter are
 * used: its own contexts know one transport, and the asynchronous one asserts
 * that a reply was asked for, and on what came over the network.
 */

#include "store/redis_log.h"
#include "store/redis_tls.h"
#include <netinet/tcp.h>


/* of what came, at once: so many bytes, so often */
#define LINES_REDIS_READ   16384
#define LINES_REDIS_READS  16

/* room for commands: at first, and what is kept once they have left */
#define LINES_REDIS_OUT       4096
#define LINES_REDIS_OUT_KEPT  65536


static void redis_socket_options(lines_redis_connection_t *conn, int fd);
static void redis_connected(ngx_event_t *ev);
static void redis_secured(ngx_connection_t *c);
static void redis_established(lines_redis_connection_t *conn);
static ngx_int_t redis_append(lines_redis_connection_t *conn, void *start,
    size_t len);
static void redis_queue(lines_redis_connection_t *conn,
    lines_redis_asked_t *asked);
static void redis_read_handler(ngx_event_t *rev);
static void redis_read(lines_redis_connection_t *conn);
static void redis_read_now(lines_redis_connection_t *conn);
static char *redis_error(lines_redis_connection_t *conn);
static void redis_take_all(lines_redis_connection_t *conn);
static void redis_excess(lines_redis_connection_t *conn);
static void redis_take(lines_redis_connection_t *conn, redisReply *reply);
static void redis_answer(lines_redis_connection_t *conn, redisReply *reply);
static void redis_write_handler(ngx_event_t *wev);
static void redis_flush_handler(ngx_event_t *ev);
static void redis_write(lines_redis_connection_t *conn);


void
lines_redis_connect(lines_redis_connection_t *conn)
{
    ngx_err_t          err;
    ngx_socket_t       s;
    ngx_connection_t  *c;
    struct sockaddr   *sockaddr;

    conn->state = LINES_REDIS_CONNECTING;
    conn->flushed = 0;

    sockaddr = &conn->addrs[conn->current].sockaddr.sockaddr;

    s = ngx_socket(sockaddr->sa_family, SOCK_STREAM, 0);
    if (s == (ngx_socket_t) -1) {
        lines_redis_fail(conn, "socket() failed: %s", strerror(ngx_errno));
        return;
    }

    c = ngx_get_connection(s, conn->log);
    if (c == NULL) {
        (void) ngx_close_socket(s);
        lines_redis_fail(conn, "no free worker connection");
        return;
    }

    conn->connection = c;

    redis_socket_options(conn, s);

    c->data = conn;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->idle = 1;
    c->recv = ngx_recv;
    c->send = ngx_send;

    /* what became of it is told once, with the cause */

    c->log_error = NGX_ERROR_INFO;

    c->read->handler = redis_connected;
    c->write->handler = redis_connected;
    c->read->log = conn->log;
    c->write->log = conn->log;

    conn->flush.handler = redis_flush_handler;
    conn->flush.data = conn;
    conn->flush.log = conn->log;

    conn->replies.log = conn->log;

    conn->reader = lines_redis_reader(&conn->replies);
    if (conn->reader == NULL) {
        lines_redis_fail(conn, "no memory");
        return;
    }

    if (ngx_nonblocking(s) == -1) {
        lines_redis_fail(conn, "could not be made non-blocking: %s",
                         strerror(ngx_socket_errno));
        return;
    }

    if (connect(s, sockaddr, conn->addrs[conn->current].socklen) == -1) {
        err = ngx_socket_errno;

        if (err != NGX_EINPROGRESS) {
            lines_redis_fail(conn, "%s", strerror(err));
            return;
        }
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK
        || ngx_handle_write_event(c->write, 0) != NGX_OK)
    {
        lines_redis_fail(conn, "could not add an event");
    }
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
                      "fcntl(FD_CLOEXEC) \"%V\" failed", conn->name);
    }

    for (i = 0; options[i].text && conn->conf->url.family != AF_UNIX; i++) {

        if (setsockopt(fd, options[i].level, options[i].name,
                       &options[i].value, sizeof(int))
            == -1)
        {
            ngx_log_error(NGX_LOG_WARN, conn->log, ngx_socket_errno,
                          "setsockopt(%s) \"%V\" failed", options[i].text,
                          conn->name);
        }
    }
}


/* an error is told by both events, or by one */

static void
redis_connected(ngx_event_t *ev)
{
    int                        err;
    socklen_t                  len;
    ngx_connection_t          *c;
    lines_redis_connection_t  *conn;

    c = ev->data;
    conn = c->data;

    if (c->close || conn->drop.posted) {
        c->close = 0;
        return;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                   "lines redis connect: \"%V\" %d", conn->name, err);

    if (err) {
        lines_redis_fail(conn, "%s", strerror(err));
        return;
    }

    if (!ev->write) {
        return;
    }

    if (conn->conf->tls == NULL) {
        redis_established(conn);
        return;
    }

    conn->state = LINES_REDIS_TLS;

    if (lines_redis_tls_start(conn, redis_secured) == NGX_ERROR) {
        lines_redis_drop(conn);
    }
}


static void
redis_secured(ngx_connection_t *c)
{
    lines_redis_connection_t *conn = c->data;

    if (conn->drop.posted) {
        return;
    }

    if (lines_redis_tls_check(conn) != NGX_OK) {
        lines_redis_drop(conn);
        return;
    }

    redis_established(conn);
}


static void
redis_established(lines_redis_connection_t *conn)
{
    ngx_connection_t  *c;

    c = conn->connection;

    conn->state = LINES_REDIS_HANDSHAKE;

    c->read->handler = redis_read_handler;
    c->write->handler = redis_write_handler;

    /* a server may speak first, to refuse */

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    redis_write(conn);
}


void
lines_redis_disconnect(lines_redis_connection_t *conn)
{
    if (conn->flush.posted) {
        ngx_delete_posted_event(&conn->flush);
    }

    if (conn->connection) {
        lines_redis_tls_close(conn);
        ngx_close_connection(conn->connection);
        conn->connection = NULL;
    }

    if (conn->reader) {
        redisReaderFree(conn->reader);
        conn->reader = NULL;
    }

    if (!conn->taking) {
        lines_redis_replies_free(&conn->replies);
    }

    ngx_free(conn->out.start);
    ngx_memzero(&conn->out, sizeof(ngx_buf_t));

    while (!ngx_queue_empty(&conn->asked)) {
        redis_answer(conn, NULL);
    }
}


ngx_int_t
lines_redis_send(lines_redis_connection_t *conn, lines_redis_asked_t *asked,
    u_char *start, size_t len)
{
    if (redis_append(conn, start, len) != NGX_OK) {
        return NGX_ERROR;
    }

    redis_queue(conn, asked);

    return NGX_OK;
}


static ngx_int_t
redis_append(lines_redis_connection_t *conn, void *start, size_t len)
{
    u_char     *p;
    size_t      used, size;
    ngx_buf_t  *out;

    out = &conn->out;

    if ((size_t) (out->end - out->last) < len) {
        used = out->last - out->pos;
        size = ngx_max(2 * (used + len), LINES_REDIS_OUT);

        p = ngx_alloc(size, conn->log);
        if (p == NULL) {
            lines_redis_fail(conn, "no memory");
            return NGX_ERROR;
        }

        if (used) {
            ngx_memcpy(p, out->pos, used);
        }

        ngx_free(out->start);

        out->start = p;
        out->pos = p;
        out->last = p + used;
        out->end = p + size;
    }

    out->last = ngx_cpymem(out->last, start, len);

    return NGX_OK;
}


void
lines_redis_ask(lines_redis_connection_t *conn, lines_redis_reply_pt handler,
    void *data, const char *fmt, ...)
{
    int                   len;
    char                 *command;
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
    len = redisvFormatCommand(&command, fmt, args);
    va_end(args);

    if (len < 0) {
        lines_redis_fail(conn, "no memory");

    } else {
        (void) redis_append(conn, command, len);
        redisFreeCommand(command);
    }

    redis_queue(conn, asked);
}


static void
redis_queue(lines_redis_connection_t *conn, lines_redis_asked_t *asked)
{
    if (ngx_queue_empty(&conn->asked)) {
        conn->heard = ngx_current_msec;
        conn->stalls = 0;
    }

    asked->end = conn->flushed + (conn->out.last - conn->out.pos);

    ngx_queue_insert_tail(&conn->asked, &asked->queue);

    /* commands of one turn of the event loop leave in one write */

    if (conn->connection && conn->connection->write->ready) {
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
                       "lines redis shutdown: \"%V\"", conn->name);
    }

    redis_read(conn);
}


static void
redis_read(lines_redis_connection_t *conn)
{
    u_char             buffer[LINES_REDIS_READ];
    ssize_t            n;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = conn->connection;

    for (i = 0; !conn->drop.posted; i++) {

        if (i == LINES_REDIS_READS) {
            ngx_post_event(c->read, &ngx_posted_next_events);
            return;
        }

        ngx_set_socket_errno(0);

        n = c->recv(c, buffer, LINES_REDIS_READ);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            lines_redis_fail(conn, "%s", n == 0 ? "Server closed the connection"
                                                : redis_error(conn));
            return;
        }

        if (redisReaderFeed(conn->reader, (char *) buffer, n) != REDIS_OK) {
            lines_redis_fail(conn, "%s", conn->reader->errstr);
            return;
        }

        redis_take_all(conn);

        /* what is left is the beginning of one */

        if (!conn->drop.posted && conn->reader->len > LINES_REDIS_REPLY_MAX) {
            redis_excess(conn);
        }
    }

    if (!conn->drop.posted && ngx_handle_read_event(c->read, 0) != NGX_OK) {
        lines_redis_fail(conn, "could not add a read event");
    }
}


/* TLS may end where no call of the system failed: errno, which was cleared
   before, is none then, or that of a socket that has no more */

static char *
redis_error(lines_redis_connection_t *conn)
{
    ngx_err_t  err;

    err = ngx_socket_errno;

    return (conn->conf->tls && (err == 0 || err == NGX_EAGAIN))
           ? "TLS error" : strerror(err);
}


/* once the connection is given up no more of it is believed */

static void
redis_take_all(lines_redis_connection_t *conn)
{
    redisReply  *reply;

    while (!conn->drop.posted) {
        if (redisReaderGetReply(conn->reader, (void **) &reply) != REDIS_OK) {

            if (conn->replies.excess) {
                redis_excess(conn);

            } else {
                lines_redis_fail(conn, "%s", conn->reader->errstr);
            }

            return;
        }

        if (reply == NULL) {
            return;
        }

        /* bytes alone prove nothing: they may be of a reply without an end */

        conn->heard = ngx_current_msec;
        conn->stalls = 0;
        conn->taking = 1;

        redis_take(conn, reply);

        conn->taking = 0;

        lines_redis_reply_done(&conn->replies);
    }
}


static void
redis_excess(lines_redis_connection_t *conn)
{
    lines_redis_fail(conn, "a reply of more than %d elements or %d MB",
                     LINES_REDIS_ELEMENTS, LINES_REDIS_REPLY_MAX >> 20);
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
    ngx_connection_t          *c;
    lines_redis_connection_t  *conn;

    c = wev->data;
    conn = c->data;

    /* nothing is sent to one that is given up */

    if (!conn->drop.posted) {
        redis_write(conn);
    }
}


static void
redis_flush_handler(ngx_event_t *ev)
{
    lines_redis_connection_t *conn = ev->data;

    /*
     * When the server has closed the connection epoll will tell in the next
     * turn only: what is written now is lost, without a word whether it was.
     * What has no byte written surely has not run.  The end may stand behind
     * what was sent before.
     */

    if (conn->state < LINES_REDIS_HANDSHAKE || conn->drop.posted) {
        return;
    }

    if (lines_redis_readable(conn)) {
        redis_read_now(conn);
    }

    if (!conn->drop.posted) {
        redis_write(conn);
    }
}


/* whatever nginx believes of what there is to read */

static void
redis_read_now(lines_redis_connection_t *conn)
{
    conn->connection->read->available = -1;

    redis_read(conn);
}


ngx_int_t
lines_redis_turn_connection(lines_redis_connection_t *conn)
{
    if (conn->state == LINES_REDIS_READY && !conn->drop.posted) {
        redis_read_now(conn);
    }

    lines_redis_flush(conn);

    return (conn->state == LINES_REDIS_READY && !conn->drop.posted)
           ? NGX_OK : NGX_DECLINED;
}


void
lines_redis_flush(lines_redis_connection_t *conn)
{
    if (conn->state == LINES_REDIS_READY && !conn->drop.posted) {
        redis_write(conn);
    }
}


static void
redis_write(lines_redis_connection_t *conn)
{
    ssize_t            n;
    ngx_buf_t         *out;
    ngx_connection_t  *c;

    c = conn->connection;
    out = &conn->out;

    while (out->pos < out->last) {
        ngx_set_socket_errno(0);

        n = c->send(c, out->pos, out->last - out->pos);

        if (n == NGX_ERROR) {
            lines_redis_fail(conn, "%s", redis_error(conn));
            return;
        }

        if (n <= 0) {
            break;
        }

        out->pos += n;
        conn->flushed += n;
    }

    if (out->pos == out->last) {

        if (out->end - out->start > LINES_REDIS_OUT_KEPT) {
            ngx_free(out->start);
            ngx_memzero(out, sizeof(ngx_buf_t));
        }

        out->pos = out->start;
        out->last = out->start;
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        lines_redis_fail(conn, "could not add a write event");
    }
}


ngx_uint_t
lines_redis_readable(lines_redis_connection_t *conn)
{
    u_char  byte;

    return recv(conn->connection->fd, &byte, 1, MSG_PEEK|MSG_DONTWAIT) != -1
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
