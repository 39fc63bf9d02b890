
/*
 * Whether Redis is the database that it was.  It holds an id and a watermark
 * that rises each minute; both are remembered in lines_zone, and in the
 * metadata of a customer at billing (anchor= of lines_billing), for a fleet
 * that begins anew.  Where they disagree by more than a lost suffix the
 * database is held until the operator confirms it: nothing is canceled, given
 * back or charged on its word.  Without lines_billing nobody looks.
 *
 * The zone knows what was found a second ago; who takes something away asks
 * once more (operation/decide.c).
 */

#ifndef _LINES_OPERATION_DATABASE_H_INCLUDED_
#define _LINES_OPERATION_DATABASE_H_INCLUDED_


#include "http/conf.h"
#include "http/id.h"
#include "store/calls.h"


#define LINES_DATABASE_REASON  8
#define LINES_DATABASES        4


typedef enum {
    LINES_DATABASE_UNKNOWN = 0,   /* this worker has not looked yet */
    LINES_DATABASE_FINE,
    LINES_DATABASE_UNTOLD,        /* the anchor has not been read: as held */
    LINES_DATABASE_HELD
} lines_database_e;


/* what Redis was found to be */

typedef struct {
    uint32_t    of;                                /* which one, and whose */
    int64_t     born;                              /* older things it need not
                                                      know; ms, 0: all */
    u_char      reason[LINES_DATABASE_REASON + 1]; /* ends with a zero; empty:
                                                      it is not held */
    ngx_uint_t  alone;                             /* flag: only this node is
                                                      held: it is another
                                                      deployment's */
    ngx_uint_t  looked;                            /* flag: a worker has */
} lines_database_found_t;


/* what a node remembers, and what it has found by that */

typedef struct {
    u_char      id[LINES_ID_LEN];
    size_t      len;                               /* of id; 0: none */
    int64_t     watermark;
    ngx_uint_t  told;                              /* flag: the anchor was read,
                                                      or need not be */
    ngx_msec_t  rose;                              /* the watermark */

    lines_database_found_t  found;                 /* by this worker's like */
} lines_database_t;


/*
 * All workers compare with the same, but what they find is of the Redis that
 * they have: after a reload those of two configurations run.
 */

typedef struct {
    lines_database_t        known;
    lines_database_found_t  found[LINES_DATABASES];
    ngx_uint_t              n;                     /* that were ever found */
} lines_database_area_t;


/* the area LINES_ZONE_DATABASE */
void *lines_database_init_area(ngx_slab_pool_t *shpool);

ngx_int_t lines_database_init_process(ngx_cycle_t *cycle,
    lines_main_conf_t *lmcf);
void lines_database_exit_process(lines_main_conf_t *lmcf);

/* as it was found last, by any worker of the node that has the same Redis; but
   well only where this one has looked, too; known may be NULL */
lines_database_e lines_database_state(lines_main_conf_t *lmcf,
    lines_database_t *known);

/* nothing new may be charged, and nothing taken away */
#define lines_database_held(lmcf)                                             \
    (lines_database_state(lmcf, NULL) >= LINES_DATABASE_UNTOLD)

/*
 * What is unfinished there is this deployment's, to go on with and to audit:
 * not before this worker has looked, nor where this node is held alone.
 */
ngx_uint_t lines_database_ours(lines_main_conf_t *lmcf);

/* where this worker has not looked yet it does; NGX_OK: it knows */
ngx_int_t lines_database_meet(lines_main_conf_t *lmcf, lines_caller_t *caller);

/* this node is held alone: it takes in nothing that others would know of */
ngx_uint_t lines_database_alone(lines_main_conf_t *lmcf);

/*
 * With what else a request asks before it begins what is charged: what comes of
 * it is what lines_database_held() tells from then on.
 */
ngx_int_t lines_database_ask(lines_main_conf_t *lmcf, lines_caller_t *caller);

/*
 * Asks Redis; confirm: a flag, it is this one now, by the operator's word.
 * done() hands its reply to lines_database_saw() first.
 */
ngx_int_t lines_database_look(lines_main_conf_t *lmcf, lines_caller_t *caller,
    ngx_uint_t confirm, lines_database_check_pt done, void *data);
void lines_database_saw(lines_main_conf_t *lmcf,
    lines_database_check_reply_t *reply);


#endif /* _LINES_OPERATION_DATABASE_H_INCLUDED_ */
