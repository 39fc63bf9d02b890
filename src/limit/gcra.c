
#include "limit/gcra.h"


/* a token that is a rounding error short of being there is there */
#define LINES_GCRA_EPSILON  1e-6


ngx_int_t
lines_rate_parse(ngx_str_t *value, lines_rate_t *rate)
{
    double      period;
    u_char     *unit;
    ngx_int_t   n;

    if (value->len < sizeof("1r/s") - 1) {
        return NGX_ERROR;
    }

    unit = value->data + value->len - 3;
    n = ngx_atoi(value->data, value->len - 3);

    period = unit[2] == 's' ? 1e6
             : unit[2] == 'm' ? 60e6
             : unit[2] == 'h' ? 3600e6
             : 0;

    if (unit[0] != 'r' || unit[1] != '/' || n == NGX_ERROR || n == 0) {
        return NGX_ERROR;
    }

    rate->interval = period / (double) n;

    return rate->interval < 1e6 / LINES_RATE_MAX ? NGX_ERROR : NGX_OK;
}


void
lines_gcra_take(lines_rate_t *rate, double *tat, double now, ngx_uint_t need,
    lines_gcra_t *result)
{
    double      room, tokens;
    ngx_uint_t  available;

    if (*tat < now) {
        *tat = now;
    }

    room = now + (double) rate->burst * rate->interval - *tat;
    tokens = (double) rate->burst - (*tat - now) / rate->interval
             + LINES_GCRA_EPSILON;
    available = (tokens > 0) ? (ngx_uint_t) tokens : 0;

    if (available < need) {
        *result = (lines_gcra_t) {
            .remaining = available,
            .retry = (ngx_msec_t) (((double) need * rate->interval - room)
                                   / 1000) + 1
        };

        return;
    }

    *result = (lines_gcra_t) {
        .granted = need,
        .remaining = available - need
    };

    *tat += (double) need * rate->interval;
}


void
lines_gcra_give(lines_rate_t *rate, double *tat, double now, ngx_uint_t tokens)
{
    *tat -= (double) tokens * rate->interval;

    if (*tat < now) {
        *tat = now;
    }
}


double
lines_gcra_tat(lines_rate_t *rate, double now, ngx_uint_t remaining)
{
    ngx_uint_t  used;

    used = rate->burst - ngx_min(remaining, rate->burst);

    return now + (double) used * rate->interval;
}


ngx_msec_t
lines_gcra_full(lines_rate_t *rate, ngx_uint_t remaining)
{
    return (ngx_msec_t) (lines_gcra_tat(rate, 0, remaining) / 1000);
}


ngx_uint_t
lines_rate_window(lines_rate_t *rate)
{
    ngx_uint_t  ms;

    ms = (ngx_uint_t) ((double) rate->burst * rate->interval / 1000);

    return ms ? lines_seconds(ms) : 1;
}
