
/*
 * The auditor's look at billing: the steps that are called for its lists, and
 * for what is read by itself.
 */

#ifndef _LINES_OPERATION_AUDIT_BILLING_H_INCLUDED_
#define _LINES_OPERATION_AUDIT_BILLING_H_INCLUDED_


#include "billing/money.h"
#include "operation/audit_pass.h"
#include "operation/look.h"


#define LINES_AUDIT_DAY  86400000


/* what is looked at, of a page or by itself; kept between the ticks of a step */

typedef struct {
    lines_look_t             look;
    lines_audit_found_t      found;      /* of it */
    ngx_array_t             *list;       /* of a page: subscriptions, or what
                                            went back */
    lines_audit_read_t      *read;       /* NULL: it is of the page */
    lines_stripe_invoice_t   invoice;
    lines_money_t            money;      /* of that */
    int64_t                  since;      /* s: what was paid before is kept */
    ngx_uint_t               unlooked;   /* flag: asked by its operation, too */
} lines_audit_side_t;

extern lines_audit_side_t  lines_audit_side;


/* nothing of the step is known any more: its pool is gone */
void lines_audit_forget(void);

/* a page of the phase: subscriptions, ended, refunds, credits and disputes */
ngx_int_t lines_audit_list(void);

/* lines_audit.reads, from n on, one in a tick; then the step is done */
ngx_int_t lines_audit_read(void);

/* look is empty but for who asks: it only says what follows, to judged() */
void lines_audit_look(lines_look_t *look,
    ngx_int_t (*judged)(lines_look_t *look));

/* whether a subscription and its line disagree; side.found says how */
ngx_uint_t lines_audit_disagrees(lines_look_t *look);

/* that is found, unless an operation is under way that sees to it; what is sure
   has its operation begun, as an event would */
ngx_int_t lines_audit_unseen(void);
ngx_int_t lines_audit_act(void);


/*
 * audit_money.c: the money of side.look's subscription, as orphan_begin.lua has
 * it, of a deleted tenant what was paid since, or was due; or of side.invoice,
 * a read in each tick.
 */

ngx_int_t lines_audit_orphan(void);
ngx_int_t lines_audit_count(void);


/* audit_plan.c: a subscription that is no line's, in that state */
ngx_int_t lines_audit_plan_listed(lines_stripe_subscription_t *s,
    ngx_str_t *state);

/* the base plan of a workspace is to be read, once; and is; tenant lives as long
   as the step */
void lines_audit_plan_push(ngx_str_t *tenant);
ngx_int_t lines_audit_plan_read(ngx_str_t *tenant);

void lines_audit_plan_forget(void);


#endif /* _LINES_OPERATION_AUDIT_BILLING_H_INCLUDED_ */
