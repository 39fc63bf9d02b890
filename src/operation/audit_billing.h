
/*
 * The auditor's look at billing: the steps that are called for its lists, and
 * for what is read by itself.
 */

#ifndef _LINES_OPERATION_AUDIT_BILLING_H_INCLUDED_
#define _LINES_OPERATION_AUDIT_BILLING_H_INCLUDED_


#include "operation/audit_pass.h"


/* nothing of the step is known any more: its pool is gone */
void lines_audit_forget(void);

/* a page of the phase: subscriptions, ended, refunds, credits and disputes */
ngx_int_t lines_audit_list(void);

/* lines_audit.reads, from n on, one in a tick; then the step is done */
ngx_int_t lines_audit_read(void);

/* the base plan of a workspace, once; tenant lives as long as the step */
void lines_audit_push_plan(ngx_str_t *tenant);


#endif /* _LINES_OPERATION_AUDIT_BILLING_H_INCLUDED_ */
