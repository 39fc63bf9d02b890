
/*
 * The fleet's budget: each request to billing takes a token of one bucket in
 * Redis before it is sent, over all nodes and workers.
 */

#ifndef _LINES_BILLING_BUDGET_H_INCLUDED_
#define _LINES_BILLING_BUDGET_H_INCLUDED_


#include "http/carrier.h"


/* who comes first; what follows leaves a part of the bucket (budget_take.lua) */

typedef enum {
    LINES_BUDGET_FIRST = 0,    /* what is under way */
    LINES_BUDGET_AGAIN,        /* what charges, once it did not at once, */
    LINES_BUDGET_NEW,          /* and before */
    LINES_BUDGET_LAST,         /* the auditor */
    LINES_BUDGET_RANKS
} lines_budget_rank_e;


/*
 * NGX_OK: there is no budget.  NGX_AGAIN: handler is called with a token, or
 * without one after that time: carrier->late, which is to be told.
 */

ngx_int_t lines_budget_wait(lines_carrier_t *carrier, lines_budget_rank_e rank,
    ngx_msec_t time, lines_wait_pt handler, void *data);
void lines_budget_refused(void);

/* before lines_redis_destroy() */
void lines_budget_exit_process(void);


#endif /* _LINES_BILLING_BUDGET_H_INCLUDED_ */
