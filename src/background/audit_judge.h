
/*
 * What the auditor looks at, and what it thinks of that.
 */

#ifndef _LINES_BACKGROUND_AUDIT_JUDGE_H_INCLUDED_
#define _LINES_BACKGROUND_AUDIT_JUDGE_H_INCLUDED_


#include "background/audit_pass.h"
#include "billing/money.h"
#include "operation/look.h"


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
    ngx_uint_t               kept;       /* flag: of a line that was there: its
                                            first invoice, too */
} lines_audit_side_t;

extern lines_audit_side_t  lines_audit_side;


/* look is empty but for who asks: it only says what follows, to judged() */
void lines_audit_look(lines_look_t *look,
    ngx_int_t (*judged)(lines_look_t *look));

/* whether a subscription and its line disagree; side.found says how */
ngx_uint_t lines_audit_disagrees(lines_look_t *look);

/* that is found, unless an operation is under way that sees to it; what is sure
   has its operation begun, as an event would */
ngx_int_t lines_audit_unseen(void);
ngx_int_t lines_audit_act(void);


#endif /* _LINES_BACKGROUND_AUDIT_JUDGE_H_INCLUDED_ */
