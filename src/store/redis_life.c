
/*
 * The life of one connection: resolve, connect, handshake, ready, lost, wait,
 * and again.
 */

#include "store/redis_handshake.h"
#include "store/redis_life.h"
#include "store/redis_log.h"
#include "store/redis_tls.h"


#define LINES_REDIS_BACKOFF_MIN   50
#define LINES_REDIS_BACKOFF_MAX   1000

/* whoever waits for a connection is told that Redis is away after so many */
#define LINES_REDIS_PATIENCE      2

/* a connection that lives shorter is a failure, too: so many are forgiven */
#define LINES_REDIS_SETTLED       2000
#define LINES_REDIS_FLAPS         4

/* of a server that is no primary any more: how long its replies are awaited */
#define LINES_REDIS_MOVED         500

/* after a silence what can be read is looked at so often, each so many ms */
#define LINES_REDIS_STALLS        50
#define LINES_REDIS_STALL         10


static void redis_greeted(lines_redis_connection_t *conn);
static void redis_set_conf(lines_redis_connection_t *conn);
static void redis_add_address(lines_redis_connection_t *conn,
    struct sockaddr *sockaddr, socklen_t socklen);
static void redis_start(lines_redis_connection_t *conn);
static void redis_leave(lines_redis_connection_t *conn);
static void redis_resolve(lines_redis_connection_t *conn);
static void redis_set_host(lines_redis_connection_t *conn, ngx_str_t *host,
    in_port_t port);
static void redis_resolved(ngx_resolver_ctx_t *ctx);
static void redis_connect(lines_redis_connection_t *conn);
static void redis_check_silence(lines_redis_connection_t *conn);
static void redis_timer_handler(ngx_event_t *ev);
static void redis_drop_handler(ngx_event_t *ev);


static char  redis_moved[] = "Sentinel names another primary";


void
lines_redis_open(lines_redis_connection_t *conn)
{
    conn->ident = -1;

    ngx_queue_init(&conn->asked);

    conn->greeted = redis_greeted;
    conn->lost_at = ngx_current_msec;

    conn->timer.handler = redis_timer_handler;
    conn->timer.data = conn;
    conn->timer.log = conn->log;
    conn->timer.cancelable = 1;

    conn->drop.handler = redis_drop_handler;
    conn->drop.data = conn;
    conn->drop.log = conn->log;

    if (conn->name == NULL) {
        conn->name = &conn->conf->name;
    }

    redis_set_conf(conn);

    redis_start(conn);
}


static void
redis_set_conf(lines_redis_connection_t *conn)
{
    ngx_uint_t   i;
    ngx_addr_t  *addr;

    conn->host = conn->conf->host;
    conn->port = conn->conf->port;

    for (i = 0; i < conn->conf->url.naddrs; i++) {
        addr = &conn->conf->url.addrs[i];
        redis_add_address(conn, addr->sockaddr, addr->socklen);
    }
}


void
lines_redis_aim(lines_redis_connection_t *conn, lines_redis_conf_t *conf)
{
    conn->conf = conf;
    conn->naddrs = 0;

    lines_redis_tls_forget(conn);
    redis_set_conf(conn);
    redis_resolve(conn);
}


static void
redis_add_address(lines_redis_connection_t *conn, struct sockaddr *sockaddr,
    socklen_t socklen)
{
    ngx_uint_t  n;

    if (conn->naddrs < LINES_REDIS_ADDRS
        && socklen <= (socklen_t) sizeof(ngx_sockaddr_t))
    {
        n = conn->naddrs++;

        ngx_memcpy(&conn->addrs[n].sockaddr, sockaddr, socklen);
        conn->addrs[n].socklen = socklen;

        /* of a unix socket nothing is set; a resolver tells no port */

        ngx_inet_set_port(&conn->addrs[n].sockaddr.sockaddr, conn->port);
    }
}


void
lines_redis_close(lines_redis_connection_t *conn)
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

    lines_redis_disconnect(conn);
    lines_redis_tls_forget(conn);

    /* its memory may go */

    if (conn->follower.next) {
        ngx_queue_remove(&conn->follower);
        conn->follower.next = NULL;
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
    ngx_msec_t  silent;

    if (ngx_queue_empty(&conn->asked)) {
        return;
    }

    silent = ngx_current_msec - conn->heard;

    if (silent < conn->conf->silence) {
        ngx_add_timer(&conn->timer, conn->conf->silence - silent);
        return;
    }

    /*
     * After a stall of this process the reply may be there, but not read; it
     * may also be one that has no end.
     */

    if (conn->stalls < LINES_REDIS_STALLS && lines_redis_readable(conn)) {
        conn->stalls++;
        ngx_add_timer(&conn->timer, LINES_REDIS_STALL);
        return;
    }

    conn->away = 1;
    lines_redis_fail(conn, "no reply, for \"silence=\"");
}


static void
redis_start(lines_redis_connection_t *conn)
{
    conn->cause[0] = '\0';

    if (conn->locate == NULL || conn->current) {
        redis_resolve(conn);
        return;
    }

    conn->state = LINES_REDIS_RESOLVING;

    lines_redis_timer(conn, conn->conf->connect_timeout);

    conn->locate(conn, 0);
}


void
lines_redis_located(lines_redis_connection_t *conn, ngx_str_t *host,
    in_port_t port, ngx_uint_t moved)
{
    if (moved) {

        /*
         * What failed elsewhere says nothing of the new one, but whoever is
         * sent to and fro comes back more slowly: flaps stays.
         */

        conn->failures = 0;
        conn->naddrs = 0;
        conn->current = 0;
        lines_redis_tls_forget(conn);
    }

    switch (conn->state) {

    case LINES_REDIS_RESOLVING:

        if (conn->resolve) {
            if (!moved) {
                return;
            }

            ngx_resolve_name_done(conn->resolve);
            conn->resolve = NULL;
        }

        /* while its name cannot be resolved the addresses known before count */

        if (conn->naddrs == 0) {
            redis_set_host(conn, host, port);
        }

        redis_resolve(conn);

        return;

    case LINES_REDIS_BACKOFF:

        if (moved && conn->flaps < LINES_REDIS_FLAPS) {
            lines_redis_timer(conn, 1);
        }

        return;

    case LINES_REDIS_READY:
    case LINES_REDIS_DRAINING:

        if (moved) {
            redis_leave(conn);
        }

        return;

    case LINES_REDIS_CONNECTING:
    case LINES_REDIS_TLS:
    case LINES_REDIS_HANDSHAKE:

        if (moved) {
            lines_redis_fail(conn, "%s", redis_moved);
        }

        return;

    default:
        return;
    }
}


/* it may be on its way out already, as after READONLY, but not so fast */

static void
redis_leave(lines_redis_connection_t *conn)
{
    lines_redis_drain(conn, redis_moved);
    lines_redis_timer(conn, ngx_min(conn->conf->timeout, LINES_REDIS_MOVED));

    if (ngx_queue_empty(&conn->asked) || conn->message) {
        lines_redis_drop(conn);
    }
}


static void
redis_set_host(lines_redis_connection_t *conn, ngx_str_t *host, in_port_t port)
{
    ngx_sockaddr_t  sa;

    ngx_memzero(&sa, sizeof(ngx_sockaddr_t));

    conn->port = port;

    ngx_str_null(&conn->host);

    sa.sockaddr_in.sin_addr.s_addr = ngx_inet_addr(host->data, host->len);

    if (sa.sockaddr_in.sin_addr.s_addr != INADDR_NONE) {
        sa.sockaddr_in.sin_family = AF_INET;
        redis_add_address(conn, &sa.sockaddr, sizeof(struct sockaddr_in));
        return;
    }

#if (NGX_HAVE_INET6)

    if (ngx_inet6_addr(host->data, host->len,
                       sa.sockaddr_in6.sin6_addr.s6_addr)
        == NGX_OK)
    {
        sa.sockaddr_in6.sin6_family = AF_INET6;
        redis_add_address(conn, &sa.sockaddr, sizeof(struct sockaddr_in6));
        return;
    }

#endif

    /* a copy, since the resolver writes it in small letters */

    conn->host.data = conn->located;
    conn->host.len = ngx_min(host->len, LINES_REDIS_HOST);

    *ngx_cpymem(conn->located, host->data, conn->host.len) = '\0';
}


static void
redis_resolve(lines_redis_connection_t *conn)
{
    ngx_resolver_ctx_t  *ctx;

    if (conn->current
        || conn->host.len == 0
        || conn->conf->resolver == NULL)
    {
        redis_connect(conn);
        return;
    }

    conn->state = LINES_REDIS_RESOLVING;

    ctx = ngx_resolve_start(conn->conf->resolver, NULL);

    if (ctx) {
        ctx->name = conn->host;
        ctx->handler = redis_resolved;
        ctx->data = conn;
        ctx->timeout = conn->conf->resolver_timeout;
        ctx->cancelable = 1;

        conn->resolve = ctx;

        /* it has its own deadline: this one tells that Redis is away */

        lines_redis_timer(conn, conn->conf->connect_timeout);

        /* may call the handler at once; frees ctx when it fails */

        if (ngx_resolve_name(ctx) == NGX_OK) {
            return;
        }

        conn->resolve = NULL;
    }

    lines_redis_fail(conn, ctx ? "could not resolve \"%V\""
                               : "no resolver for \"%V\"", &conn->host);
}


static void
redis_resolved(ngx_resolver_ctx_t *ctx)
{
    lines_redis_connection_t *conn = ctx->data;

    ngx_uint_t  i;

    conn->resolve = NULL;

    if (ctx->state || ctx->naddrs == 0) {
        lines_redis_cause(conn, "could not resolve \"%V\" (%i: %s)", &ctx->name,
                          ctx->state, ngx_resolver_strerror(ctx->state));

        /* the addresses known before are better than none */

        if (conn->naddrs) {
            lines_redis_complain(conn, "old address is tried", 0);
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
    if (conn->naddrs == 0) {
        lines_redis_fail(conn, "no address of \"%V\" is known%s",
                         &conn->host, conn->conf->resolver
                         ? "" : ", and there is no \"resolver\"");
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                   "lines redis connect to \"%V\", address %ui",
                   conn->name, conn->current);

    lines_redis_connect(conn);

    if (conn->state == LINES_REDIS_CONNECTING) {
        lines_redis_timer(conn, conn->conf->connect_timeout);
        lines_redis_handshake(conn);
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
                      "lines redis \"%V\", %s: connected again, after %M ms",
                      conn->name, conn->role,
                      ngx_current_msec - conn->lost_at);
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                   "lines redis ready: \"%V\"", conn->name);

    conn->state = LINES_REDIS_READY;
    conn->cause[0] = '\0';
    conn->failures = 0;
    conn->away = 0;
    conn->logged_at = 0;
    conn->connects++;
    conn->ready_at = ngx_current_msec;

    ngx_memcpy(conn->run_id, conn->told_id, LINES_REDIS_RUN_ID);

    conn->ready(conn->data);
}


static void
redis_drop_handler(ngx_event_t *ev)
{
    lines_redis_connection_t *conn = ev->data;

    ngx_msec_t    delay;
    ngx_uint_t    failures, n;
    ngx_queue_t  *q;

    n = 0;

    for (q = ngx_queue_head(&conn->asked);
         q != ngx_queue_sentinel(&conn->asked);
         q = ngx_queue_next(q))
    {
        n++;
    }

    lines_redis_disconnect(conn);

    if (conn->state == LINES_REDIS_DRAINING) {
        lines_redis_complain(conn, "connection lost", n);

        conn->lost_at = ngx_current_msec;

        /* names are resolved anew: the primary may have moved */

        conn->current = 0;

        if (ngx_current_msec - conn->ready_at > LINES_REDIS_SETTLED) {
            conn->flaps = 0;
        }

        conn->flaps++;

        failures = conn->flaps - ngx_min(conn->flaps, LINES_REDIS_FLAPS);

    } else {
        lines_redis_complain(conn, "could not connect", 0);

        if (++conn->current >= conn->naddrs) {
            conn->current = 0;
            conn->failures++;
        }

        if (conn->failures >= LINES_REDIS_PATIENCE) {
            conn->away = 1;
        }

        failures = conn->failures;
    }

    delay = LINES_REDIS_BACKOFF_MIN << ngx_min(failures, 6);
    delay = ngx_min(delay, LINES_REDIS_BACKOFF_MAX);

    /* jitter: a fleet must not come back in one instant */

    delay = delay / 2 + (ngx_msec_t) ngx_random() % (delay / 2 + 1);

    /* its next address at once: a list of addresses is no recursion */

    delay = conn->current ? 1 : delay;

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                   "lines redis retry: \"%V\" in %M, away:%d",
                   conn->name, delay, (int) conn->away);

    conn->state = LINES_REDIS_BACKOFF;

    lines_redis_timer(conn, delay);

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

        if (conn->locate && conn->resolve == NULL) {
            conn->locate(conn, 1);
        }

        conn->lost(conn->data);
        break;

    case LINES_REDIS_CONNECTING:
    case LINES_REDIS_TLS:
    case LINES_REDIS_HANDSHAKE:

        /* an address that swallows packets costs whoever waits enough */

        conn->away = 1;
        lines_redis_fail(conn, conn->state == LINES_REDIS_CONNECTING
                               ? "connect timed out"
                               : conn->state == LINES_REDIS_TLS
                               ? "TLS handshake timed out"
                               : "handshake timed out");
        break;

    case LINES_REDIS_DRAINING:
        lines_redis_fail(conn, "drain timed out");
        break;

    case LINES_REDIS_READY:
        redis_check_silence(conn);
        break;

    default:
        break;
    }
}
