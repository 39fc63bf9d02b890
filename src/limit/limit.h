
/*
 * Request rate limits: lines_rate_limit in any location.  Limits by address
 * are checked in the preaccess phase, limits by identity in the precontent
 * phase, or, in an API location, by a step after authentication; limits by
 * variable as early as the variable has a value, which those that depend on
 * an identity have not before authentication.
 *
 * A bucket lives in Redis and is counted there, on Redis' clock
 * (scripts/limit_settle.lua).  sync=each asks for each request; sync=lease (the
 * default) lets requests through at once and settles them later: see
 * limit/ledger.h.
 */

#ifndef _LINES_LIMIT_LIMIT_H_INCLUDED_
#define _LINES_LIMIT_LIMIT_H_INCLUDED_


#include "http/context.h"
#include "limit/gcra.h"
#include "store/calls.h"


#define LINES_LIMIT_TENANT     0x01
#define LINES_LIMIT_KEY        0x02
#define LINES_LIMIT_IP         0x04
#define LINES_LIMIT_VARIABLE   0x08

#define LINES_LIMIT_IDENTITY \
    (LINES_LIMIT_TENANT|LINES_LIMIT_KEY)

/* what is checked before authentication, and after it */

#define LINES_LIMIT_EARLY \
    (LINES_LIMIT_IP|LINES_LIMIT_VARIABLE)
#define LINES_LIMIT_LATE \
    (LINES_LIMIT_IDENTITY|LINES_LIMIT_VARIABLE)


/* what becomes of a request while Redis cannot be asked */

#define LINES_FAIL_LOCAL       0
#define LINES_FAIL_OPEN        1
#define LINES_FAIL_CLOSED      2


#define LINES_LIMIT_NAME_MAX   64
#define LINES_LIMITS_MAX       64      /* in one configuration */


typedef struct {
    ngx_str_t                  id;        /* unique: in keys of Redis, in
                                             metrics and the admin API */
    ngx_str_t                  name;      /* in headers */
    ngx_str_t                  text;      /* the rate as written */
    ngx_str_t                  key;       /* as written */
    ngx_http_complex_value_t  *variable;
    ngx_uint_t                 identity;  /* flag: it names one of an
                                             identity */

    /* with the key all that makes limits different, up to the metric */

    lines_rate_t               rate;
    ngx_uint_t                 kind;
    ngx_uint_t                 fail;
    ngx_uint_t                 status;
    ngx_uint_t                 each;      /* flags */
    ngx_uint_t                 dry_run;
    ngx_uint_t                 x_headers;

    ngx_uint_t                 metric;    /* of this worker: its number among
                                             lines_metrics->limits */

    ngx_array_t               *plans;     /* of this worker, or NULL: those
                                             that have a rate of their own */
} lines_limit_t;


/*
 * What a request met at one limit: who decided, and what.  Both together are
 * the outcome, as metrics and $lines_limit_status name it.
 */

typedef enum {
    LINES_LIMIT_REDIS = 0,       /* or this node, ahead of it */
    LINES_LIMIT_NODE,            /* fail=local */
    LINES_LIMIT_NOBODY,          /* fail=open, fail=closed */
    LINES_LIMIT_PENDING          /* Redis is asked */
} lines_limit_by_e;

typedef enum {
    LINES_LIMIT_PASSED = 0,
    LINES_LIMIT_REJECTED,
    LINES_LIMIT_DRY_REJECTED,
    LINES_LIMIT_VERDICTS
} lines_limit_verdict_e;

#define LINES_LIMIT_OUTCOMES  (LINES_LIMIT_PENDING * LINES_LIMIT_VERDICTS)

#define lines_limit_outcome(result) \
    ((result)->by * LINES_LIMIT_VERDICTS + (result)->verdict)

/* flag: what remains, and when there is more */
#define lines_limit_known(result)  ((result)->by < LINES_LIMIT_NOBODY)

extern ngx_str_t  lines_limit_outcomes[];


typedef struct {
    lines_ctx_t            *ctx;
    lines_limit_t          *limit;
    ngx_str_t               key;       /* the bucket's id */
    ngx_str_t               tenant;    /* who was counted */
    ngx_str_t               user;
    ngx_uint_t              late;      /* flag: key depends on who asks */
    ngx_msec_t              asked;     /* Redis, when */
    ngx_uint_t              asking;    /* flag: its answer is to come */
    lines_rate_t            rate;      /* that counted */
    lines_limit_by_e        by;
    lines_limit_verdict_e   verdict;
    ngx_uint_t              remaining;
    ngx_msec_t              reset;     /* until more, or all */
    ngx_msec_t              retry;
} lines_limit_result_t;


typedef struct {
    ngx_uint_t              pending;
    lines_limit_result_t   *rejected;  /* the one that decides */
    ngx_uint_t              nresults;
    lines_limit_result_t    results[];
} lines_limit_state_t;


/* lines_rate_limit */
char *lines_rate_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* a location with no limits of its own has its parent's; NULL is unset */
char *lines_limit_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf);

/* preconfiguration: $lines_limit_status, $lines_limit_remaining */
ngx_int_t lines_limit_add_variables(ngx_conf_t *cf);

/*
 * postconfiguration: warns of zones of limit_req and limit_conn whose key
 * names a variable of the identity, which is not known when they count.
 */
void lines_limit_zones(ngx_conf_t *cf);

/* postconfiguration: the phases and the header filter */
ngx_int_t lines_limit_init(ngx_conf_t *cf, lines_main_conf_t *lmcf);
void lines_limit_filter_init(void);

/*
 * A step, after the one that authenticates: lines_concurrency, and the
 * location's limits by identity.
 */
ngx_int_t lines_limit_identity(ngx_http_request_t *r, lines_ctx_t *ctx);


/* overrides of plans, by limit and plan */
#define LINES_LIMIT_PLANS_MAX  1000

/* nodes are told that some are others by now; where it is a tenant's, its name,
   as "w:ID", in its place: on the channel of revocations */
#define LINES_RATES_PLANS      "plans"


#endif /* _LINES_LIMIT_LIMIT_H_INCLUDED_ */
