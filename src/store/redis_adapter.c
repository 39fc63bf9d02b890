
/*
 * hiredis' asynchronous context on nginx's events.  hiredis owns the
 * descriptor; events are level-triggered, because redisBufferRead() reads at
 * most 16K at once.
 */

#include "store/redis_adapter.h"
#include "store/redis_reader.h"
#include <netinet/tcp.h>


static void redis_socket_options(lines_redis_connection_t *conn, int fd);
static void redis_read_handler(ngx_event_t *rev);
static void redis_write_handler(ngx_event_t *wev);
static void redis_flush_handler(ngx_event_t *ev);
static ngx_uint_t redis_gone(lines_redis_connection_t *conn);
static void redis_write(lines_redis_connection_t *conn);

static void redis_add_read(void *data);
static void redis_del_read(void *data);
static void redis_add_write(void *data);
static void redis_del_write(void *data);
static void redis_cleanup(void *data);
static void redis_connected(const redisAsyncContext *ac, int status);


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

    ac->data = conn;

    lines_redis_guard_reader(conn, ac->c.reader);

    ac->ev.data = conn;
    ac->ev.addRead = redis_add_read;
    ac->ev.delRead = redis_del_read;
    ac->ev.addWrite = redis_add_write;
    ac->ev.delWrite = redis_del_write;
    ac->ev.cleanup = redis_cleanup;

    /* this calls addWrite, which drives the connect */

    (void) redisAsyncSetConnectCallback(ac, redis_connected);

    return NGX_OK;
}


size_t
lines_redis_connection_await(lines_redis_connection_t *conn)
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
    int  value;

    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == -1) {
        ngx_log_error(NGX_LOG_ALERT, conn->log, ngx_errno,
                      "fcntl(FD_CLOEXEC) \"%V\" failed", &conn->conf->name);
    }

    if (conn->conf->url.family == AF_UNIX) {
        return;
    }

    value = 1;

    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof(int)) == -1) {
        ngx_log_error(NGX_LOG_WARN, conn->log, ngx_socket_errno,
                      "setsockopt(TCP_NODELAY) \"%V\" failed",
                      &conn->conf->name);
    }

    if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof(int)) == -1) {
        ngx_log_error(NGX_LOG_WARN, conn->log, ngx_socket_errno,
                      "setsockopt(SO_KEEPALIVE) \"%V\" failed",
                      &conn->conf->name);
    }

#ifdef TCP_KEEPIDLE

    value = 15;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, sizeof(int));
    value = 5;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &value, sizeof(int));
    value = 3;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &value, sizeof(int));

#endif
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

        if (conn->shutdown) {
            conn->shutdown(conn->data);
        }

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
    lines_redis_connection_t  *conn;

    conn = ev->data;

    if (conn->ac == NULL || conn->connection->write->active) {
        return;
    }

    if (redis_gone(conn)) {

        /* before a byte of it is written: it surely has not run */

        redisAsyncHandleRead(conn->ac);
        return;
    }

    redis_write(conn);
}


/*
 * The server has closed the connection, which epoll will tell in the next
 * turn only: what is written now is lost, without a word whether it was.
 */

static ngx_uint_t
redis_gone(lines_redis_connection_t *conn)
{
    u_char   byte;
    ssize_t  n;

    n = recv(conn->ac->c.fd, &byte, 1, MSG_PEEK|MSG_DONTWAIT);

    return n == 0
           || (n == -1
               && ngx_socket_errno != NGX_EAGAIN
               && ngx_socket_errno != NGX_EINTR);
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
redis_add_read(void *data)
{
    lines_redis_connection_t *conn = data;

    ngx_event_t  *rev;

    if (conn->connection == NULL) {
        return;
    }

    rev = conn->connection->read;

    if (rev->active) {
        return;
    }

    if (ngx_add_event(rev, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK) {
        lines_redis_connection_cause(conn, "could not add a read event");
        lines_redis_connection_fail(conn);
    }
}


static void
redis_del_read(void *data)
{
    lines_redis_connection_t *conn = data;

    ngx_event_t  *rev;

    if (conn->connection == NULL) {
        return;
    }

    rev = conn->connection->read;

    if (rev->active) {
        (void) ngx_del_event(rev, NGX_READ_EVENT, 0);
    }
}


static void
redis_add_write(void *data)
{
    lines_redis_connection_t *conn = data;

    ngx_event_t  *wev;

    if (conn->connection == NULL) {
        return;
    }

    wev = conn->connection->write;

    if (wev->active) {
        return;
    }

    /*
     * Commands of one turn of the event loop leave in one write.  While a
     * write is under way it was a partial one: posting it again would spin
     * until the server reads.
     */

    if ((conn->ac->c.flags & REDIS_CONNECTED) && !conn->flushing) {
        ngx_post_event(&conn->flush, &ngx_posted_events);
        return;
    }

    if (ngx_add_event(wev, NGX_WRITE_EVENT, NGX_LEVEL_EVENT) != NGX_OK) {
        lines_redis_connection_cause(conn, "could not add a write event");
        lines_redis_connection_fail(conn);
    }
}


static void
redis_del_write(void *data)
{
    lines_redis_connection_t *conn = data;

    ngx_event_t  *wev;

    if (conn->connection == NULL) {
        return;
    }

    wev = conn->connection->write;

    if (wev->active) {
        (void) ngx_del_event(wev, NGX_WRITE_EVENT, 0);
    }
}


/*
 * hiredis is about to close the descriptor and to free its context.  It calls
 * this hook once, before (1.x) or after (0.14) the pending callbacks.
 */

static void
redis_cleanup(void *data)
{
    lines_redis_connection_t *conn = data;

    ngx_connection_t   *c;
    redisAsyncContext  *ac;

    c = conn->connection;
    ac = conn->ac;

    if (c == NULL) {
        return;
    }

    if (conn->cause[0] == '\0' && ac->c.err) {
        lines_redis_connection_cause(conn, "%s", ac->c.errstr);
    }

    if (conn->flush.posted) {
        ngx_delete_posted_event(&conn->flush);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    if (ngx_del_conn) {
        ngx_del_conn(c, NGX_CLOSE_EVENT);

    } else {
        if (c->read->active || c->read->disabled) {
            ngx_del_event(c->read, NGX_READ_EVENT, NGX_CLOSE_EVENT);
        }

        if (c->write->active || c->write->disabled) {
            ngx_del_event(c->write, NGX_WRITE_EVENT, NGX_CLOSE_EVENT);
        }
    }

    c->read->closed = 1;
    c->write->closed = 1;

    ngx_free_connection(c);

    c->fd = (ngx_socket_t) -1;

    conn->connection = NULL;
    conn->ac = NULL;

    conn->closed(conn);
}
