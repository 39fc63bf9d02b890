
/*
 * The auditor's look at billing: the steps that are called for its lists, and
 * for what is read by itself.
 */

#ifndef _LINES_BACKGROUND_AUDIT_BILLING_H_INCLUDED_
#define _LINES_BACKGROUND_AUDIT_BILLING_H_INCLUDED_


#include "background/audit_judge.h"


#define LINES_AUDIT_DAY  86400000


/* nothing of the step is known any more: its pool is gone */
void lines_audit_forget(void);

/* a page of the phase: subscriptions, ended, refunds, credits and disputes */
ngx_int_t lines_audit_list(void);

/* lines_audit.reads, from n on, one in a tick; then the step is done */
ngx_int_t lines_audit_read(void);


/*
 * audit_money.c: the money of side.look's subscription, as orphan_begin.lua has
 * it, of a deleted tenant what was paid since, or was due; or of side.invoice,
 * a read in each tick: that too where it was paid since its line ended.
 */

ngx_int_t lines_audit_orphan(void);
ngx_int_t lines_audit_since(void);
ngx_int_t lines_audit_count(void);


/* audit_plan.c: a subscription that is no line's, in that state */
ngx_int_t lines_audit_plan_listed(lines_stripe_subscription_t *s,
    ngx_str_t *state);

/* the base plan of a workspace is to be read, once; and is; tenant lives as long
   as the step */
void lines_audit_plan_push(ngx_str_t *tenant);
ngx_int_t lines_audit_plan_read(ngx_str_t *tenant);

void lines_audit_plan_forget(void);


#endif /* _LINES_BACKGROUND_AUDIT_BILLING_H_INCLUDED_ */
