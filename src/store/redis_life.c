
/*
 * The life of one connection: resolve, connect, handshake, ready, lost, wait,
 * and again.
 */

#include "store/redis_handshake.h"
#include "store/redis_life.h"


#define LINES_REDIS_BACKOFF_MIN   50
#define LINES_REDIS_BACKOFF_MAX   2000

/* whoever waits for a connection is told that Redis is away after so many */
#define LINES_REDIS_PATIENCE      2

/* a connection that lives shorter is a failure, too: so many are forgiven */
#define LINES_REDIS_SETTLED       2000
#define LINES_REDIS_FLAPS         4

/*
 * The same cause is an error once in this time, for the log's sake, unless
 * there was a connection since: each loss of one is told.
 */
#define LINES_REDIS_LOG_INTERVAL  30000


static void redis_greeted(lines_redis_connection_t *conn);
static void redis_closed(lines_redis_connection_t *conn);
static void redis_add_address(lines_redis_connection_t *conn,
    struct sockaddr *sockaddr, socklen_t socklen);
static void redis_start(lines_redis_connection_t *conn);
static void redis_resolved(ngx_resolver_ctx_t *ctx);
static void redis_connect(lines_redis_connection_t *conn);
static void redis_retry(lines_redis_connection_t *conn, ngx_uint_t failures);
static void redis_check_silence(lines_redis_connection_t *conn);
static void redis_timer_handler(ngx_event_t *ev);
static void redis_drop_handler(ngx_event_t *ev);
static void redis_complain(lines_redis_connection_t *conn, char *what);


void
lines_redis_connection_open(lines_redis_connection_t *conn)
{
    ngx_uint_t   i;
    ngx_addr_t  *addr;

    conn->ident = -1;
    conn->greeted = redis_greeted;
    conn->closed = redis_closed;

    conn->timer.handler = redis_timer_handler;
    conn->timer.data = conn;
    conn->timer.log = conn->log;
    conn->timer.cancelable = 1;

    conn->drop.handler = redis_drop_handler;
    conn->drop.data = conn;
    conn->drop.log = conn->log;

    for (i = 0; i < conn->conf->url.naddrs; i++) {
        addr = &conn->conf->url.addrs[i];
        redis_add_address(conn, addr->sockaddr, addr->socklen);
    }

    redis_start(conn);
}


static void
redis_add_address(lines_redis_connection_t *conn, struct sockaddr *sockaddr,
    socklen_t socklen)
{
    u_char  *text;

    if (conn->naddrs < LINES_REDIS_ADDRS) {
        text = conn->addrs[conn->naddrs++];
        text[ngx_sock_ntop(sockaddr, socklen, text, NGX_SOCKADDR_STRLEN, 0)]
            = '\0';
    }
}


void
lines_redis_connection_close(lines_redis_connection_t *conn)
{
    conn->state = LINES_REDIS_CLOSED;

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    if (conn->drop.posted) {
        ngx_delete_posted_event(&conn->drop);
    }

    if (conn->resolve) {
        ngx_resolve_name_done(conn->resolve);
        conn->resolve = NULL;
    }

    if (conn->ac) {
        redisAsyncFree(conn->ac);
    }
}


/*
 * Operations have deadlines of their own.  A server that stalls, on its disk
 * as a rule, is let go on, and with it what was sent to it; one from which
 * nothing comes for long while something is waited for is given up.
 */

static void
redis_check_silence(lines_redis_connection_t *conn)
{
    u_char      byte;
    ngx_msec_t  silent;

    if (conn->ac == NULL || conn->ac->replies.head == NULL) {
        return;
    }

    silent = ngx_current_msec - conn->heard;

    if (silent < conn->conf->silence) {
        ngx_add_timer(&conn->timer, conn->conf->silence - silent);
        return;
    }

    /* after a stall of this process the reply may be there, but not read */

    if (recv(conn->ac->c.fd, &byte, 1, MSG_PEEK|MSG_DONTWAIT) != -1
        || ngx_socket_errno != NGX_EAGAIN)
    {
        ngx_add_timer(&conn->timer, 10);
        return;
    }

    conn->away = 1;
    lines_redis_connection_drop(conn, "no reply, for \"silence=\"");
}


static void
redis_start(lines_redis_connection_t *conn)
{
    ngx_resolver_t      *resolver;
    ngx_resolver_ctx_t  *ctx;

    conn->cause[0] = '\0';

    resolver = conn->conf->resolver;

    /* without a "resolver" directive nginx makes one that has no servers */

    if (conn->current
        || conn->conf->host.len == 0
        || resolver == NULL
        || resolver->connections.nelts == 0)
    {
        redis_connect(conn);
        return;
    }

    conn->state = LINES_REDIS_RESOLVING;

    ctx = ngx_resolve_start(resolver, NULL);

    if (ctx) {
        ctx->name = conn->conf->host;
        ctx->handler = redis_resolved;
        ctx->data = conn;
        ctx->timeout = conn->conf->resolver_timeout;
        ctx->cancelable = 1;

        conn->resolve = ctx;

        /* it has its own deadline: this one tells that Redis is away */

        lines_redis_connection_timer(conn, conn->conf->connect_timeout);

        /* may call the handler at once; frees ctx when it fails */

        if (ngx_resolve_name(ctx) == NGX_OK) {
            return;
        }

        conn->resolve = NULL;
    }

    lines_redis_connection_fail(conn, "could not resolve \"%V\"",
                                &conn->conf->host);
}


static void
redis_resolved(ngx_resolver_ctx_t *ctx)
{
    lines_redis_connection_t *conn = ctx->data;

    ngx_uint_t  i;

    conn->resolve = NULL;

    if (ctx->state || ctx->naddrs == 0) {
        lines_redis_connection_cause(conn, "could not resolve \"%V\" (%i: %s)",
                                     &ctx->name, ctx->state,
                                     ngx_resolver_strerror(ctx->state));

        /* the addresses known before are better than none */

        if (conn->naddrs) {
            redis_complain(conn, "old address is tried");
            conn->cause[0] = '\0';
        }

    } else {
        conn->naddrs = 0;

        for (i = 0; i < ctx->naddrs; i++) {
            redis_add_address(conn, ctx->addrs[i].sockaddr,
                              ctx->addrs[i].socklen);
        }
    }

    ngx_resolve_name_done(ctx);

    redis_connect(conn);
}


static void
redis_connect(lines_redis_connection_t *conn)
{
    char               *text;
    redisAsyncContext  *ac;

    if (conn->naddrs == 0) {
        lines_redis_connection_fail(conn, "no address of \"%V\" is known",
                                    &conn->conf->host);
        return;
    }

    if (conn->current >= conn->naddrs) {
        conn->current = 0;
    }

    text = (char *) conn->addrs[conn->current];

    if (ngx_strncmp(text, "unix:", 5) == 0) {
        ngx_log_debug1(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                       "lines redis connect to %s", text);

        ac = redisAsyncConnectUnix(text + 5);

    } else {
        ngx_log_debug2(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                       "lines redis connect to %s, port %d", text,
                       (int) conn->conf->port);

        /* numeric, or hiredis would block in a look-up of its own */

        ac = redisAsyncConnect(text, conn->conf->port);
    }

    conn->state = LINES_REDIS_CONNECTING;

    if (ac == NULL || ac->err || lines_redis_attach(conn, ac) != NGX_OK) {
        lines_redis_connection_fail(conn, "%s",
                                    ac == NULL ? "no memory"
                                    : ac->err ? ac->errstr
                                    : "no free worker connection");
        if (ac) {
            redisAsyncFree(ac);
        }

        return;
    }

    lines_redis_connection_timer(conn, conn->conf->connect_timeout);

    if (lines_redis_handshake(conn) != NGX_OK) {
        lines_redis_connection_fail(conn, "no memory");
    }
}


static void
redis_greeted(lines_redis_connection_t *conn)
{
    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    if (conn->logged_at) {
        ngx_log_error(NGX_LOG_NOTICE, conn->log, 0,
                      "lines redis \"%V\", %s: connected again",
                      &conn->conf->name, conn->role);
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                   "lines redis ready: \"%V\"", &conn->conf->name);

    conn->state = LINES_REDIS_READY;
    conn->cause[0] = '\0';
    conn->failures = 0;
    conn->away = 0;
    conn->logged_at = 0;
    conn->connects++;
    conn->ready_at = ngx_current_msec;

    conn->ready(conn->data);
}


static void
redis_closed(lines_redis_connection_t *conn)
{
    if (conn->state == LINES_REDIS_CLOSED) {
        return;
    }

    if (conn->drop.posted) {
        ngx_delete_posted_event(&conn->drop);
    }

    if (conn->state == LINES_REDIS_READY
        || conn->state == LINES_REDIS_DRAINING)
    {
        redis_complain(conn, "connection lost");

        /* names are resolved anew: the primary may have moved */

        conn->current = 0;

        if (ngx_current_msec - conn->ready_at > LINES_REDIS_SETTLED) {
            conn->flaps = 0;
        }

        conn->flaps++;

        redis_retry(conn, conn->flaps - ngx_min(conn->flaps,
                                                LINES_REDIS_FLAPS));
        return;
    }

    redis_complain(conn, "could not connect");

    if (++conn->current < conn->naddrs) {

        /* from the event loop: a list of addresses is no recursion */

        conn->state = LINES_REDIS_BACKOFF;
        lines_redis_connection_timer(conn, 1);
        conn->lost(conn->data);
        return;
    }

    conn->current = 0;
    conn->failures++;

    if (conn->failures >= LINES_REDIS_PATIENCE) {
        conn->away = 1;
    }

    redis_retry(conn, conn->failures);
}


static void
redis_retry(lines_redis_connection_t *conn, ngx_uint_t failures)
{
    ngx_msec_t  delay;

    delay = LINES_REDIS_BACKOFF_MIN << ngx_min(failures, 6);
    delay = ngx_min(delay, LINES_REDIS_BACKOFF_MAX);

    /* jitter: a fleet must not come back in one instant */

    delay = delay / 2 + (ngx_msec_t) ngx_random() % (delay / 2 + 1);

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                   "lines redis retry: \"%V\" in %M, away:%d",
                   &conn->conf->name, delay, (int) conn->away);

    conn->state = LINES_REDIS_BACKOFF;

    lines_redis_connection_timer(conn, delay);

    conn->lost(conn->data);
}


static void
redis_timer_handler(ngx_event_t *ev)
{
    lines_redis_connection_t *conn = ev->data;

    switch (conn->state) {

    case LINES_REDIS_BACKOFF:
        redis_start(conn);
        break;

    case LINES_REDIS_RESOLVING:
        conn->away = 1;
        conn->lost(conn->data);
        break;

    case LINES_REDIS_CONNECTING:

        /* an address that swallows packets costs whoever waits enough */

        conn->away = 1;
        lines_redis_connection_drop(conn, "connect timed out");
        break;

    case LINES_REDIS_HANDSHAKE:
        conn->away = 1;
        lines_redis_connection_drop(conn, "handshake timed out");
        break;

    case LINES_REDIS_DRAINING:
        lines_redis_connection_drop(conn, "drain timed out");
        break;

    case LINES_REDIS_READY:
        redis_check_silence(conn);
        break;

    default:
        break;
    }
}


static void
redis_drop_handler(ngx_event_t *ev)
{
    lines_redis_connection_t *conn = ev->data;

    if (conn->ac) {
        redisAsyncFree(conn->ac);

    } else {
        redis_closed(conn);
    }
}


static void
redis_complain(lines_redis_connection_t *conn, char *what)
{
    ngx_uint_t  level;

    level = NGX_LOG_ERR;

    if (conn->logged_at
        && ngx_strcmp(conn->cause, conn->logged) == 0
        && ngx_current_msec - conn->logged_at < LINES_REDIS_LOG_INTERVAL)
    {
        level = NGX_LOG_INFO;

    } else {
        ngx_memcpy(conn->logged, conn->cause, LINES_REDIS_CAUSE_LEN);
        conn->logged_at = ngx_max(ngx_current_msec, 1);
    }

    ngx_log_error(level, conn->log, 0, "lines redis \"%V\", %s: %s: %s",
                  &conn->conf->name, conn->role, what,
                  conn->cause[0] ? conn->cause : (u_char *) "closed");
}
