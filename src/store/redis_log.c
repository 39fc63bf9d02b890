
/*
 * What is said of a connection to Redis, and how often.
 */

#include "store/redis_log.h"


/*
 * The same cause is an error once in this time, for the log's sake, unless
 * there was a connection since: each loss of one is told.
 */
#define LINES_REDIS_LOG_INTERVAL  30000


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
                      "lines redis \"%V\": %s: %s", conn->name, what,
                      why);

        conn->refuses = why;
        conn->refused_at = ngx_max(ngx_current_msec, 1);
    }
}


void
lines_redis_complain(lines_redis_connection_t *conn, char *what, ngx_uint_t n)
{
    u_char      cost[NGX_INT_T_LEN + sizeof(", with  under way")];
    ngx_uint_t  level;

    cost[0] = '\0';

    if (n) {
        (void) ngx_sprintf(cost, ", with %ui under way%Z", n);
    }

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

    ngx_log_error(level, conn->log, 0, "lines redis \"%V\", %s: %s: %s%s",
                  conn->name, conn->role, what,
                  conn->cause[0] ? conn->cause : (u_char *) "closed", cost);
}


void
lines_redis_overdue(lines_redis_connection_t *conn)
{
    conn->overdue++;

    if (conn->overdue_at
        && ngx_current_msec - conn->overdue_at < LINES_REDIS_LOG_INTERVAL)
    {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, conn->log, 0,
                  "lines redis \"%V\": no answer within \"timeout=\", %Mms, to "
                  "%ui operations since this was last said", conn->name,
                  conn->conf->timeout, conn->overdue);

    conn->overdue = 0;
    conn->overdue_at = ngx_max(ngx_current_msec, 1);
}
