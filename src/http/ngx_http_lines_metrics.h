
/*
 * Counters in lines_zone.  Each worker adds to a slot of its own, by atomic
 * additions without any lock, and a scrape sums the slots.  After a reload the
 * old and the new worker of a number share a slot, which is why the additions
 * are atomic at all.
 *
 * Whatever a label can say is bounded: endpoints, limits and words of failure
 * are registered by name, up to a number, and the rest is "other".  No tenant
 * and no key is a label.
 */

#ifndef _NGX_HTTP_LINES_METRICS_H_INCLUDED_
#define _NGX_HTTP_LINES_METRICS_H_INCLUDED_


#include "ngx_http_lines_zone.h"


#define NGX_HTTP_LINES_METRICS_SLOTS      8
#define NGX_HTTP_LINES_METRICS_WORKERS    256
#define NGX_HTTP_LINES_METRICS_NAMES      64
#define NGX_HTTP_LINES_METRICS_NAME_LEN   71
#define NGX_HTTP_LINES_METRICS_BUCKETS    (NGX_LINES_REDIS_LATENCIES - 1)
#define NGX_HTTP_LINES_METRICS_OUTCOMES   10     /* of limits */
#define NGX_HTTP_LINES_METRICS_CALLS      8      /* billing's outcomes */


/* registries of names; the first name of each is "other" */

typedef enum {
    NGX_HTTP_LINES_METRICS_ENDPOINT = 0,   /* "api endpoint" */
    NGX_HTTP_LINES_METRICS_LIMIT,          /* id of a limit */
    NGX_HTTP_LINES_METRICS_AUTH,           /* "method outcome" */
    NGX_HTTP_LINES_METRICS_REGISTRIES
} ngx_http_lines_metrics_registry_e;


/* how a fetch of an issuer's keys ended */

typedef enum {
    NGX_HTTP_LINES_METRICS_FETCH_OK = 0,
    NGX_HTTP_LINES_METRICS_FETCH_INVALID,  /* an answer, but no keys */
    NGX_HTTP_LINES_METRICS_FETCH_ERROR,
    NGX_HTTP_LINES_METRICS_FETCHES
} ngx_http_lines_metrics_fetch_e;


/* codes of answers that are told apart, then classes of the others */

#define NGX_HTTP_LINES_METRICS_CODES      36


typedef struct {
    ngx_atomic_t    buckets[NGX_HTTP_LINES_METRICS_BUCKETS + 1];
    ngx_atomic_t    sum;                   /* ms */
} ngx_http_lines_histogram_t;


typedef struct {
    ngx_atomic_t                requests[NGX_HTTP_LINES_METRICS_NAMES]
                                        [NGX_HTTP_LINES_METRICS_CODES];
    ngx_http_lines_histogram_t  latency[NGX_HTTP_LINES_METRICS_NAMES];

    ngx_atomic_t                auth[NGX_HTTP_LINES_METRICS_NAMES];
    ngx_atomic_t                key_cache_hits;
    ngx_atomic_t                key_cache_misses;
    ngx_atomic_t                key_cache_stale;
    ngx_atomic_t                token_cache_hits;
    ngx_atomic_t                token_cache_misses;
    ngx_atomic_t                jwks_fetches[NGX_HTTP_LINES_METRICS_FETCHES];

    ngx_atomic_t                limits[NGX_HTTP_LINES_METRICS_NAMES]
                                      [NGX_HTTP_LINES_METRICS_OUTCOMES];
    ngx_atomic_t                lease_renewals;
    ngx_atomic_t                lease_returned;    /* tokens */

    ngx_atomic_t                billing_calls[NGX_HTTP_LINES_METRICS_CALLS];
    ngx_http_lines_histogram_t  billing_latency;
    ngx_atomic_t                billing_up;        /* when it last answered, */
    ngx_atomic_t                billing_down;      /* and when it did not: s */

    /* published by each worker, once a second, from the store's own */

    ngx_atomic_t                redis_commands;
    ngx_atomic_t                redis_errors;
    ngx_atomic_t                redis_disk;
    ngx_atomic_t                redis_timeouts;
    ngx_atomic_t                redis_late;
    ngx_atomic_t                redis_refused;
    ngx_atomic_t                redis_resends;
    ngx_atomic_t                redis_repeats;
    ngx_atomic_t                redis_reconnects;
    ngx_atomic_t                redis_opened;      /* the breaker */
    ngx_http_lines_histogram_t  redis_latency;
} ngx_http_lines_metrics_slot_t;


/* gauges of a worker: each has a place of its own */

typedef struct {
    ngx_atomic_t                pid;               /* 0: nobody's */
    ngx_atomic_t                redis_connected;
    ngx_atomic_t                redis_away;
    ngx_atomic_t                redis_probing;
    ngx_atomic_t                redis_inflight;
} ngx_http_lines_metrics_worker_t;


typedef struct {
    ngx_uint_t                  count;
    struct {
        u_char                  len;
        u_char                  data[NGX_HTTP_LINES_METRICS_NAME_LEN];
    } names[NGX_HTTP_LINES_METRICS_NAMES];
} ngx_http_lines_metrics_registry_t;


/* what the pass over Redis found last: see ngx_http_lines_survey.h */

#define NGX_HTTP_LINES_METRICS_GAUGES  64

typedef struct {
    ngx_atomic_t                at;        /* s since the epoch; 0: never */
    ngx_atomic_t                values[NGX_HTTP_LINES_METRICS_GAUGES];
} ngx_http_lines_metrics_survey_t;


typedef struct {
    ngx_http_lines_metrics_registry_t
                         registries[NGX_HTTP_LINES_METRICS_REGISTRIES];
    ngx_http_lines_metrics_survey_t  survey;
    ngx_http_lines_metrics_worker_t  workers[NGX_HTTP_LINES_METRICS_WORKERS];
    ngx_http_lines_metrics_slot_t    slots[NGX_HTTP_LINES_METRICS_SLOTS];
} ngx_http_lines_metrics_area_t;


/* of this worker; never NULL: before init_process it is nobody's */
extern ngx_http_lines_metrics_slot_t  *ngx_http_lines_metrics;

/* upper bounds of the buckets are the store's, ms */
#define ngx_http_lines_metrics_bounds  ngx_lines_redis_bounds

/* codes of answers, as their label says */
extern ngx_str_t
    ngx_http_lines_metrics_codes[NGX_HTTP_LINES_METRICS_CODES];


void *ngx_http_lines_metrics_init_area(ngx_slab_pool_t *shpool);

/* postconfiguration: requests are counted in the log phase */
ngx_int_t ngx_http_lines_metrics_init(ngx_conf_t *cf);

ngx_int_t ngx_http_lines_metrics_init_process(ngx_cycle_t *cycle,
    ngx_http_lines_main_conf_t *lmcf);
void ngx_http_lines_metrics_exit_process(ngx_http_lines_main_conf_t *lmcf);

/* the index of a name, registered if need be; 0 where there is no room */
ngx_uint_t ngx_http_lines_metrics_name(ngx_uint_t registry,
    ngx_str_t *name);

/* a limit, by its index in lmcf->limits: in init_process, then as it counts */
void ngx_http_lines_metrics_set_limit(ngx_uint_t limit, ngx_str_t *id);
void ngx_http_lines_metrics_limit(ngx_uint_t limit, ngx_uint_t outcome);


#define ngx_http_lines_metrics_add(counter, n)                                \
    (void) ngx_atomic_fetch_add(&ngx_http_lines_metrics->counter,             \
                                (ngx_atomic_int_t) (n))

#define ngx_http_lines_metrics_inc(counter)                                   \
    ngx_http_lines_metrics_add(counter, 1)


static ngx_inline void
ngx_http_lines_histogram_add(ngx_http_lines_histogram_t *histogram,
    ngx_msec_t ms)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_LINES_METRICS_BUCKETS; i++) {
        if (ms <= ngx_http_lines_metrics_bounds[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&histogram->buckets[i], 1);
    (void) ngx_atomic_fetch_add(&histogram->sum, (ngx_atomic_int_t) ms);
}


/*
 * A call to billing has ended: outcome is an ngx_lines_stripe_outcome_e, which
 * billing numbers from 0; answered says whether billing did.
 */

static ngx_inline void
ngx_http_lines_metrics_billing(ngx_uint_t outcome, ngx_uint_t answered,
    ngx_msec_t ms)
{
    if (outcome >= NGX_HTTP_LINES_METRICS_CALLS) {
        outcome = NGX_HTTP_LINES_METRICS_CALLS - 1;
    }

    ngx_http_lines_metrics_inc(billing_calls[outcome]);
    ngx_http_lines_histogram_add(&ngx_http_lines_metrics->billing_latency, ms);

    if (answered) {
        ngx_http_lines_metrics->billing_up = ngx_time();

    } else {
        ngx_http_lines_metrics->billing_down = ngx_time();
    }
}


#endif /* _NGX_HTTP_LINES_METRICS_H_INCLUDED_ */
