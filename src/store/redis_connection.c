
/*
 * What any part of the store may say of a connection: why it ends, and that it
 * is to end.
 */

#include "store/redis_connection.h"


void
lines_redis_connection_drop(lines_redis_connection_t *conn, char *cause)
{
    if (conn->ac == NULL) {
        return;
    }

    lines_redis_connection_cause(conn, "%s", cause);

    redisAsyncFree(conn->ac);
}


void
lines_redis_connection_fail(lines_redis_connection_t *conn)
{
    if (conn->state == LINES_REDIS_CLOSED) {
        return;
    }

    if (conn->state == LINES_REDIS_READY
        || conn->state == LINES_REDIS_DRAINING)
    {
        conn->state = LINES_REDIS_DRAINING;

    } else {
        conn->state = LINES_REDIS_FAILED;
    }

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
lines_redis_connection_drain(lines_redis_connection_t *conn, char *cause)
{
    if (conn->state != LINES_REDIS_READY) {
        return;
    }

    lines_redis_connection_cause(conn, "%s", cause);

    conn->state = LINES_REDIS_DRAINING;
    lines_redis_connection_timer(conn, conn->conf->timeout);

    if (conn->ac->c.flags & REDIS_IN_CALLBACK) {
        redisAsyncDisconnect(conn->ac);

    } else {
        ngx_post_event(&conn->drop, &ngx_posted_events);
    }
}


void ngx_cdecl
lines_redis_connection_cause(lines_redis_connection_t *conn, const char *fmt,
    ...)
{
    u_char   *p;
    va_list   args;

    if (conn->cause[0] != '\0') {

        /* what came first explains what followed */

        return;
    }

    va_start(args, fmt);
    p = ngx_vslprintf(conn->cause, conn->cause + LINES_REDIS_CAUSE_LEN - 1,
                      fmt, args);
    va_end(args);

    *p = '\0';
}


void
lines_redis_connection_refuses(lines_redis_connection_t *conn, char *what,
    char *why)
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
lines_redis_connection_denied(lines_redis_connection_t *conn)
{
    if (conn->denied_at == 0
        || ngx_current_msec - conn->denied_at > LINES_REDIS_DENIED)
    {
        ngx_log_error(NGX_LOG_ALERT, conn->log, 0,
                      "lines redis \"%V\": it refuses a command (NOPERM): the "
                      "user's ACL lacks what is needed", &conn->conf->name);

        conn->denied = 1;
        conn->denied_at = ngx_max(ngx_current_msec, 1);

        lines_redis_connection_drain(conn, "NOPERM: a command is refused");
    }
}


void
lines_redis_connection_timer(lines_redis_connection_t *conn, ngx_msec_t timer)
{
    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    ngx_add_timer(&conn->timer, timer);
}
