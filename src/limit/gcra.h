
/*
 * The generic cell rate algorithm: a bucket of `burst` tokens that fills at a
 * steady rate, kept as one instant, the theoretical arrival time (TAT) at
 * which it will be full.  Knows no request and no clock of its own; the same
 * arithmetic as scripts/limit_settle.lua, on Redis' clock there, on the node's
 * here.
 *
 * Instants and durations are microseconds in doubles: integers of that size
 * are exact, and intervals need not be whole.
 */

#ifndef _LINES_LIMIT_GCRA_H_INCLUDED_
#define _LINES_LIMIT_GCRA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define LINES_RATE_MAX     100000      /* requests per second */
#define LINES_BURST_MAX    10000000
#define LINES_INTERVAL_MAX 3600e6      /* of 1r/h */


typedef struct {
    double       interval;     /* in which one token comes back */
    ngx_uint_t   burst;        /* of the full bucket, at least 1 */
} lines_rate_t;


typedef struct {
    ngx_uint_t   granted;      /* tokens taken */
    ngx_uint_t   remaining;    /* left in the bucket */
    ngx_msec_t   retry;        /* until what was needed is there; 0: it was */
} lines_gcra_t;


/*
 * "50r/s", "3000r/m", "10r/h" into interval.  NGX_ERROR where it is none of
 * these, is zero or above LINES_RATE_MAX.
 */

ngx_int_t lines_rate_parse(ngx_str_t *value, lines_rate_t *rate);

/*
 * Takes `need` tokens, or none where there are fewer.  A bucket may be emptier
 * than empty: then what it owes is refilled first.
 */

void lines_gcra_take(lines_rate_t *rate, double *tat, double now,
    ngx_uint_t need, lines_gcra_t *result);

/* tokens that were taken and not used; the bucket never overflows */
void lines_gcra_give(lines_rate_t *rate, double *tat, double now,
    ngx_uint_t tokens);

/* the TAT of a bucket that holds so many tokens now */
double lines_gcra_tat(lines_rate_t *rate, double now, ngx_uint_t remaining);

/* until a bucket that holds so many is full again */
ngx_msec_t lines_gcra_full(lines_rate_t *rate, ngx_uint_t remaining);

/* seconds in which an empty bucket fills: the window of RateLimit-Policy */
ngx_uint_t lines_rate_window(lines_rate_t *rate);

/* milliseconds to whole seconds, rounded up */
#define lines_seconds(ms)  (((ms) + 999) / 1000)


#endif /* _LINES_LIMIT_GCRA_H_INCLUDED_ */
