
/*
 * A look at what billing says of a subscription, by an event or a list: which
 * operation is woken by it, or begins.  Nothing is derived from events, or from
 * their order; what they are about is read, by an operation.
 */

#ifndef _LINES_OPERATION_LOOK_H_INCLUDED_
#define _LINES_OPERATION_LOOK_H_INCLUDED_


#include "billing/billing.h"
#include "store/calls.h"


typedef enum {
    LINES_FOLLOWS_NOTHING = 0,
    LINES_FOLLOWS_NEWS,         /* its operation is under way, and is woken */
    LINES_FOLLOWS_ORPHAN,       /* no line holds it */
    LINES_FOLLOWS_LAPSE,        /* its line's add-on is to be read */
    LINES_FOLLOWS_RELEASE,      /* its line was released, or has ended: it is
                                   canceled, and what came in since goes back */
    LINES_FOLLOWS_PLAN          /* a base plan is to be read */
} lines_follows_e;


/*
 * "This subscription is so at billing": what follows, for an event as for the
 * auditor.  What it points to lives until end().
 */

typedef struct lines_look_s  lines_look_t;

struct lines_look_s {
    lines_main_conf_t          *lmcf;
    lines_caller_t             *caller;
    ngx_pool_t                 *pool;
    ngx_log_t                  *log;

    ngx_int_t                 (*end)(lines_look_t *look);
    void                       *data;

    lines_stripe_metadata_t    *metadata;
    ngx_str_t                   subscription;
    ngx_str_t                   invoice;
    ngx_str_t                   customer;  /* of lines_look_plan() */
    int64_t                     created;   /* the subscription; s, 0: unknown */
    int64_t                     ended;     /* the same */
    ngx_str_t                   status;    /* of the subscription; empty: not
                                              said, it is of an invoice, */
    unsigned                    paid:1;    /* which is paid, or what went back
                                              of it has failed */
    unsigned                    disputed:1;  /* or a bank took it back */
    unsigned                    gone:1;    /* it is said to have ended */
    unsigned                    judge:1;   /* do nothing: only say what */
    unsigned                    unfinished:1;  /* the operation that it is of */
    unsigned                    unknown:1;     /* by its operation, if there
                                                  is one: that has ended */
    unsigned                    later:1;   /* nobody can act on it yet */
    unsigned                    failed:1;  /* the line that it is of */
    unsigned                    lost:1;    /* its tenant is: only shown */

    /* found */
    ngx_str_t                   tenant;
    ngx_str_t                   id;        /* of the line, and its operation */
    ngx_str_t                   spawn;     /* the operation that is begun */
    lines_follows_e             follows;
    lines_line_billed_reply_t   line;      /* unless there is news */
};


/* of a subscription as billing told it */
void lines_look_at(lines_look_t *look,
    lines_stripe_subscription_t *subscription);

/*
 * Its metadata names a line, or an operation, of a deployment: this one, or one
 * of a former name, of which only what a line here holds is ours.
 */
ngx_uint_t lines_look_ours(lines_look_t *look);

/*
 * The result is that of a step; ends with what end() returns, once what
 * follows is begun, and its hint in Redis.
 */
ngx_int_t lines_look(lines_look_t *look);

/* the base plan of the workspace look->tenant, whose customer that is */
ngx_int_t lines_look_plan(lines_look_t *look);


#endif /* _LINES_OPERATION_LOOK_H_INCLUDED_ */
