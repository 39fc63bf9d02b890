
/*
 * A pass of the auditor is a row of steps: a page of billing's, some tenants, a
 * page of numbers.  A step begins where the place says, and returns
 *
 *   NGX_OK     on with lines_audit.next()
 *   NGX_AGAIN  something is under way, of which lines_audit_run() is told
 *   NGX_DONE   it is done: the next one begins at the place
 *   NGX_ERROR  not now: it is made anew
 *
 * with at most one call to billing in each tick: that is the pass' rate.  What
 * fails again and again is passed over, and shown.
 *
 * Billing is always asked before Redis: an operation is recorded before its
 * effect, so that what billing shows and Redis does not know yet is under way
 * there, and passed over.
 */

#ifndef _LINES_BACKGROUND_AUDIT_PASS_H_INCLUDED_
#define _LINES_BACKGROUND_AUDIT_PASS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "background/audit.h"
#include "billing/billing.h"
#include "store/calls.h"


#define LINES_AUDIT_READS   200                    /* at a time: of a page of
                                                      lines, and some more */
#define LINES_AUDIT_LIMIT   10                     /* of a page of billing's:
                                                      some 50k, of 64k */
#define LINES_AUDIT_SKIPS   128                    /* a page of tenants, and
                                                      some more */
#define LINES_AUDIT_NAME    96


typedef ngx_int_t (*lines_audit_step_pt)(void);


typedef struct {
    const char           *name;
    lines_audit_step_pt   step;
} lines_audit_phase_t;


/*
 * What is read by itself, since pages do not tell: a line's subscription; a
 * workspace's base plan; what went back of a payment, or of an invoice.
 */

typedef enum {
    LINES_AUDIT_OF_LINE = 0,
    LINES_AUDIT_OF_PLAN,
    LINES_AUDIT_OF_MONEY
} lines_audit_of_e;

typedef struct {
    lines_audit_of_e  of;
    ngx_str_t         tenant;
    ngx_str_t         id;            /* of the line; of the payment */
    ngx_str_t         subscription;
    ngx_str_t         invoice;
    unsigned          doubt:1;       /* of the line's money */
    unsigned          failed:1;      /* the refund */
    unsigned          disputed:1;
} lines_audit_read_t;


typedef struct {
    lines_main_conf_t          *lmcf;
    lines_op_conf_t            *conf;
    const lines_audit_phase_t  *phases;      /* the last one ends the pass */
    ngx_uint_t                  nphases;
    void                      (*forget)(void);
    ngx_event_t                 timer;
    lines_caller_t              caller;
    ngx_str_t                   me;
    u_char                      name[16];
    ngx_uint_t                  limit;       /* of billing's page */

    /* where the next step begins; its phase is empty: as it is */
    ngx_str_t                   phase;
    ngx_str_t                   cursor;
    u_char                      place[128];

    /* of the pass */
    int64_t                     began;       /* Redis' clock */
    int64_t                     since;       /* s: what went back since */
    ngx_uint_t                  anew;        /* flag: the list of its phase was
                                                begun anew */

    /* of a step */
    ngx_pool_t                 *pool;        /* NULL: at rest */
    lines_carrier_t            *carrier;
    ngx_uint_t                  at;          /* its phase */
    lines_audit_step_pt         next;
    ngx_str_t                   item;        /* what is being looked at; empty:
                                                all of its page */
    ngx_uint_t                  away;        /* flag: a failure is nobody's */
    ngx_uint_t                  again;       /* flag: it is made for the second
                                                time, */
    ngx_uint_t                  doubt;       /* flag: or has to be */
    ngx_uint_t                  looked;      /* flag: something was found */
    ngx_uint_t                  skipped;     /* flag: some of it was passed over,
                                                which is to be written down */
    ngx_uint_t                  barred;      /* flag: by its key, all of billing */
    ngx_uint_t                  n;           /* how many are done with */
    ngx_array_t                 reads;       /* of lines_audit_read_t */
    lines_audit_step_pt         read;        /* the next one of them */
    lines_audit_step_pt         rest;        /* of it, once these are done;
                                                NULL: they were the end */
} lines_audit_t;

extern lines_audit_t  lines_audit;


/* begins to pass; forget() is called where a step's pool goes: nothing that is
   kept between ticks may point into it any more */
void lines_audit_begin(ngx_cycle_t *cycle, lines_main_conf_t *lmcf,
    const lines_audit_phase_t *phases, ngx_uint_t n, void (*forget)(void));

/* goes on with what a step returned */
void lines_audit_run(ngx_int_t rc);

/* on with it in the next tick; NGX_AGAIN */
ngx_int_t lines_audit_later(lines_audit_step_pt next);

/* where the next step begins: in this phase, or in the next one; NGX_DONE */
ngx_int_t lines_audit_at(ngx_str_t *cursor);
ngx_int_t lines_audit_onwards(void);

/* from here on this is looked at; 0: it is to be passed over */
ngx_uint_t lines_audit_item(ngx_str_t *name);

/*
 * A call to billing: the one of this tick.  What it answers lives until
 * lines_audit_put_down(), or the end of the step.
 */
ngx_int_t lines_audit_bill(lines_billing_ask_t *ask, lines_billing_pt done);
void lines_audit_put_down(void);

/* an outcome that is not OK: the result of a step */
ngx_int_t lines_audit_failed(lines_billing_result_t *result);

/* the read, with room for no more: NULL, and the next pass sees it */
lines_audit_read_t *lines_audit_push(void);

/* a string that outlives what billing answered; out of memory: empty */
ngx_str_t lines_audit_keep(ngx_str_t *text);

/*
 * Something was found: in doubt at first.  Where it counts, found->act() goes
 * on.  found lives as long as the step; the result is that of a step.
 */
ngx_int_t lines_audit_find(lines_audit_found_t *found);

/*
 * Of a script: kind, outcome, id, here, there, …  operation holds the numbers
 * that are repaired, and are looked at (NULL: none).  NGX_OK: there are none;
 * NGX_AGAIN, NGX_ERROR as a step.
 */
ngx_int_t lines_audit_findings(ngx_str_t *tenant, ngx_str_t *operation,
    lines_list_t *findings);


#endif /* _LINES_BACKGROUND_AUDIT_PASS_H_INCLUDED_ */
