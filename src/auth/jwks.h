
/*
 * The keys of a token's issuer, as one node knows them: fetched through an
 * internal location by whichever worker comes first, kept in lines_zone for
 * all of them, the last good set served while the issuer is away.  Or read
 * once from a file at configuration.
 *
 * In the zone is what all workers share: the set, when it was fetched, and
 * the mark of a running fetch, which expires so that a killed worker blocks
 * nobody.  In each worker: a copy of the set, whose keys OpenSSL parses once,
 * and the requests that wait for a fetch.
 */

#ifndef _LINES_AUTH_JWKS_H_INCLUDED_
#define _LINES_AUTH_JWKS_H_INCLUDED_


#include "auth/jwk.h"
#include "http/conf.h"
#include "http/digest.h"


/* of one fetch as a whole; the mark outlives it, a request waits for two */
#define LINES_JWKS_TIMEOUT  5000
#define LINES_JWKS_MARK     (LINES_JWKS_TIMEOUT + 1000)
#define LINES_JWKS_WAIT     (2 * LINES_JWKS_MARK)


typedef struct {
    lines_jwk_set_t  *set;
    size_t            room;        /* that it has */
} lines_jwks_slot_t;


typedef struct {                  /* in shared memory */
    ngx_queue_t        queue;
    u_char             id[LINES_SHA256_LEN];

    /* the set, and room beside it where a new one is written: a worker may
       die in the middle of it */

    lines_jwks_slot_t  slots[2];
    ngx_uint_t         current;     /* slot; see generation */
    ngx_uint_t         generation;  /* 0: there never was a set */
    ngx_msec_t         fetched;     /* when its fetch began */

    ngx_uint_t         configured;  /* of the newest workers: see main_conf_t;
                                       0: the entry is nobody's yet */
    ngx_uint_t         fails;       /* in a row */
    ngx_msec_t         due;         /* of the next fetch */
    ngx_msec_t         kid_due;     /* of the next for an unknown kid's sake */
    ngx_uint_t         begun;       /* fetches, counted */
    ngx_uint_t         ended;       /* the last that ended */
    ngx_msec_t         mark;        /* until when number begun may be under
                                       way */
} lines_jwks_entry_t;


typedef struct {
    ngx_str_t              issuer;
    ngx_str_t              uri;         /* of the location; empty: a file */
    ngx_msec_t             ttl;
    ngx_msec_t             stale;
    ngx_msec_t             cooldown;
    ngx_uint_t             plain;       /* flag: plain=loopback */
    u_char                 id[LINES_SHA256_LEN];    /* of issuer and location,
                                                       or of the file's keys */

    /* of this worker */
    lines_main_conf_t     *lmcf;
    lines_jwks_entry_t    *entry;
    ngx_queue_t            waiters;
    ngx_event_t            timer;       /* for them, and for what is due */
    ngx_uint_t             generation;  /* 0: nothing yet, or a file */
    lines_jwk_set_t       *set;         /* a file's is the configuration's */
    lines_jwk_verifier_t  *verifiers;   /* by ordinal, each made once */
} lines_jwks_t;


/* one who needs keys: zeros, and a handler for when it has waited */

typedef struct {
    ngx_queue_t  queue;
    ngx_uint_t   since;      /* the last fetch when it came */
    ngx_uint_t   fetch;      /* that it is to wait for */
    ngx_msec_t   deadline;
    void  (*handler)(void *waiter);
    ngx_uint_t   waiting;    /* flag */
} lines_jwks_waiter_t;


/*
 * What an issuer's keys are in, the worst last: none at all are worse than old
 * ones; before anybody asked none are amiss.
 */

typedef enum {
    LINES_JWKS_NONE = 0,    /* no issuer */
    LINES_JWKS_OK,
    LINES_JWKS_UNKNOWN,
    LINES_JWKS_STALE,
    LINES_JWKS_UNREACHABLE
} lines_jwks_state_e;


/* of all issuers whose keys are fetched */

typedef struct {
    ngx_uint_t          known;      /* issuers with keys */
    ngx_uint_t          missing;    /* and those without */
    ngx_msec_t          age;        /* of the oldest keys */
    lines_jwks_state_e  worst;
} lines_jwks_status_t;


/* the zone's area */
void *lines_jwks_init_area(ngx_slab_pool_t *shpool);

ngx_int_t lines_jwks_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf);


/*
 * Makes jwks->set the one to judge by.  NGX_OK: it is there (and a fetch may
 * be begun in the background).  NGX_AGAIN: none that may be used, a fetch is on
 * its way: wait.  NGX_DECLINED: none, and none to be had now.
 */

ngx_int_t lines_jwks_current(lines_jwks_t *jwks, lines_jwks_waiter_t *waiter);

/*
 * The set lacks a kid.  NGX_AGAIN: a fetch is on its way: wait, then look
 * again.  NGX_DECLINED: keys fetched since the waiter came lack it too, or it
 * is too soon to fetch anew.
 */

ngx_int_t lines_jwks_refetch(lines_jwks_t *jwks, lines_jwks_waiter_t *waiter);

/*
 * NGX_AGAIN: waiter->handler is called, never at once, when that fetch has
 * ended in whatever way, or none did in time.  NGX_DECLINED: it has waited for
 * long enough.
 */

ngx_int_t lines_jwks_wait(lines_jwks_t *jwks, lines_jwks_waiter_t *waiter);
void lines_jwks_forget(void *waiter);    /* a cleanup's handler, too */

/* one line for each key that is skipped */
void lines_jwks_report(ngx_log_t *log, ngx_str_t *source,
    lines_jwk_report_t *report);

void lines_jwks_status(lines_main_conf_t *lmcf, lines_jwks_status_t *status);


#endif /* _LINES_AUTH_JWKS_H_INCLUDED_ */
