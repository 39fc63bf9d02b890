
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

#ifndef _LINES_HTTP_METRICS_H_INCLUDED_
#define _LINES_HTTP_METRICS_H_INCLUDED_


#include "http/zone.h"


#define LINES_METRICS_SLOTS      8
#define LINES_METRICS_WORKERS    256
#define LINES_METRICS_NAMES      96
#define LINES_METRICS_NAME_LEN   71
#define LINES_METRICS_BUCKETS    (LINES_REDIS_LATENCIES - 1)
#define LINES_METRICS_OUTCOMES   10     /* of limits */
#define LINES_METRICS_CALLS      8      /* billing's outcomes */
#define LINES_METRICS_AUDITS     16     /* kinds of disagreements */
#define LINES_METRICS_TENANT     7      /* lines_tenant_limits */
#define LINES_METRICS_CONCURRENCY  3    /* lines_concurrency's outcomes */


/* registries of names; the first name of each is "other" */

typedef enum {
    LINES_METRICS_ENDPOINT = 0,   /* "api endpoint" */
    LINES_METRICS_LIMIT,          /* id of a limit */
    LINES_METRICS_AUTH,           /* "method outcome" */
    LINES_METRICS_REGISTRIES
} lines_metrics_registry_e;


/* how a fetch of an issuer's keys ended */

typedef enum {
    LINES_METRICS_FETCH_OK = 0,
    LINES_METRICS_FETCH_INVALID,  /* an answer, but no keys */
    LINES_METRICS_FETCH_ERROR,
    LINES_METRICS_FETCHES
} lines_metrics_fetch_e;


/* what came of a look at a token's signature */

typedef enum {
    LINES_METRICS_GOOD = 0,
    LINES_METRICS_BAD,
    LINES_METRICS_UNSEEN,         /* too many of its address were bad */
    LINES_METRICS_SIGNATURES
} lines_metrics_signature_e;


/* what came of telling a webhook */

enum {
    LINES_METRICS_HOOK_DELIVERED = 0,
    LINES_METRICS_HOOK_FAILED,
    LINES_METRICS_HOOK_PAUSED,    /* and that it is told no more */
    LINES_METRICS_HOOKS
};


/* codes of answers that are told apart, then classes of the others */

#define LINES_METRICS_CODES      36


/* upper bounds of the buckets: lines_redis_bounds, ms */

typedef struct {
    ngx_atomic_t  buckets[LINES_METRICS_BUCKETS + 1];
    ngx_atomic_t  sum;    /* ms */
} lines_histogram_t;


/* published by each worker, once a second, from the store's own */

typedef struct {
    ngx_atomic_t       commands;
    ngx_atomic_t       errors;
    ngx_atomic_t       disk;
    ngx_atomic_t       timeouts;
    ngx_atomic_t       late;
    ngx_atomic_t       refused;
    ngx_atomic_t       resends;
    ngx_atomic_t       repeats;
    ngx_atomic_t       reconnects;
    ngx_atomic_t       opened;      /* the breaker */
    lines_histogram_t  latency;
} lines_metrics_redis_t;


enum {
    LINES_METRICS_REDIS = 0,
    LINES_METRICS_REDIS_LIMITS,     /* "lines_redis limits" */
    LINES_METRICS_STORES
};


typedef struct {
    ngx_atomic_t       requests[LINES_METRICS_NAMES][LINES_METRICS_CODES];
    lines_histogram_t  latency[LINES_METRICS_NAMES];

    ngx_atomic_t       auth[LINES_METRICS_NAMES];
    ngx_atomic_t       key_cache_hits;
    ngx_atomic_t       key_cache_misses;
    ngx_atomic_t       key_cache_stale;
    ngx_atomic_t       token_cache_hits;
    ngx_atomic_t       token_cache_misses;
    ngx_atomic_t       token_signatures[LINES_METRICS_SIGNATURES];
    ngx_atomic_t       jwks_fetches[LINES_METRICS_FETCHES];

    ngx_atomic_t       limits[LINES_METRICS_NAMES][LINES_METRICS_OUTCOMES];
    ngx_atomic_t       lease_settlements;
    ngx_atomic_t       lease_settled;     /* buckets */
    ngx_atomic_t       tenant_limited[LINES_METRICS_TENANT];
    ngx_atomic_t       concurrency[LINES_METRICS_CONCURRENCY];
    ngx_atomic_t       hooks[LINES_METRICS_HOOKS];

    ngx_atomic_t       billing_calls[LINES_METRICS_CALLS];
    lines_histogram_t  billing_latency;
    ngx_atomic_t       budget_waits;      /* calls, for the fleet's budget, */
    ngx_atomic_t       budget_refused;    /* and in vain */
    ngx_atomic_t       billing_up;        /* when it last answered, */
    ngx_atomic_t       billing_down;      /* and when it did not: ms */

    ngx_atomic_t       malformed;         /* hints */
    ngx_atomic_t       audit[LINES_METRICS_AUDITS];

    lines_metrics_redis_t  redis[LINES_METRICS_STORES];
} lines_metrics_slot_t;


/* gauges of a worker: each has a place of its own */

typedef struct {
    ngx_atomic_t  pid;    /* 0: nobody's */
    ngx_atomic_t  waiting;    /* requests, for a line to change */
    ngx_atomic_t  streams;    /* of events */

    struct {
        ngx_atomic_t  connected;
        ngx_atomic_t  away;
        ngx_atomic_t  probing;
        ngx_atomic_t  inflight;
    } redis[LINES_METRICS_STORES];
} lines_metrics_worker_t;


typedef struct {
    ngx_uint_t  count;
    struct {
        u_char  len;
        u_char  data[LINES_METRICS_NAME_LEN];
    } names[LINES_METRICS_NAMES];
} lines_metrics_registry_t;


/* what the pass over Redis found last: see background/survey.h */

#define LINES_METRICS_GAUGES  64

typedef struct {
    ngx_atomic_t  at;    /* s since the epoch; 0: never */
    ngx_atomic_t  values[LINES_METRICS_GAUGES];
} lines_metrics_survey_t;


typedef struct {
    lines_metrics_registry_t registries[LINES_METRICS_REGISTRIES];
    lines_metrics_survey_t  survey;
    ngx_atomic_t            audited;      /* s since the epoch: the last pass of
                                             the auditor; the first's begin;
                                             0: none yet */
    lines_metrics_worker_t  workers[LINES_METRICS_WORKERS];
    lines_metrics_slot_t    slots[LINES_METRICS_SLOTS];
} lines_metrics_area_t;


/* of this worker; never NULL: before init_process it is nobody's */
extern lines_metrics_slot_t  *lines_metrics;

/* codes of answers, as their label says */
extern ngx_str_t  lines_metrics_codes[LINES_METRICS_CODES];


void *lines_metrics_init_area(ngx_slab_pool_t *shpool);

/* postconfiguration: requests are counted in the log phase */
ngx_int_t lines_metrics_init(ngx_conf_t *cf);

void lines_metrics_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf);
void lines_metrics_exit_process(lines_main_conf_t *lmcf);

/* so many requests of this worker wait for a line to change, or are streams of
   events */
void lines_metrics_waiting(ngx_uint_t waits, ngx_uint_t streams);

/*
 * The number of a name, "a b" or, where b is NULL, "a"; registered if need be;
 * 0, which is "other", where there is no room.
 */
ngx_uint_t lines_metrics_name(lines_metrics_registry_e registry, ngx_str_t *a,
    ngx_str_t *b);


/* a counter of lines_metrics_slot_t, by its offset there: of all workers */
ngx_atomic_uint_t lines_metrics_sum(lines_metrics_area_t *area, size_t offset);


#define lines_metrics_add(counter, n)                    \
    (void) ngx_atomic_fetch_add(&lines_metrics->counter, \
                                (ngx_atomic_int_t) (n))

#define lines_metrics_inc(counter) \
    lines_metrics_add(counter, 1)


static ngx_inline void
lines_histogram_add(lines_histogram_t *histogram, ngx_msec_t ms)
{
    ngx_uint_t  i;

    for (i = 0; i < LINES_METRICS_BUCKETS; i++) {
        if (ms <= lines_redis_bounds[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&histogram->buckets[i], 1);
    (void) ngx_atomic_fetch_add(&histogram->sum, (ngx_atomic_int_t) ms);
}


#endif /* _LINES_HTTP_METRICS_H_INCLUDED_ */
