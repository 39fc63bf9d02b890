
/*
 * The ledger of one invoice, counted from what billing holds: who paid how, and
 * what went back.  Pure: no I/O, no memory; t/unit/test_money.c.
 *
 *     given back = refunds that neither failed nor were canceled, each once,
 *                  and the balance and out-of-band parts of issued credit
 *                  notes (a note's own refunds are refunds)
 *     due        = paid - owed - given back - disputed, never less than
 *                  nothing
 *
 * In the currency's smallest units.  What does not fit together (another
 * currency, an amount below zero, a sum without end, fewer payments than the
 * invoice says) is unclear, and nothing follows from it.
 */

#ifndef _LINES_BILLING_MONEY_H_INCLUDED_
#define _LINES_BILLING_MONEY_H_INCLUDED_


#include "billing/stripe.h"


typedef struct {
    ngx_str_t   currency;    /* the invoice's */

    int64_t     told;        /* paid, as the invoice has it */
    int64_t     noted;       /* by credit notes, as it has them, */
    int64_t     notes;       /* and by those that are listed */

    int64_t     charged;     /* paid by Stripe, */
    int64_t     balance;     /* from the customer's balance, */
    int64_t     outside;     /* outside of Stripe */
    int64_t     owed;        /* of all that: for what the customer owed before,
                                which is no part of the invoice's total */

    int64_t     refunded;    /* given back of what was charged, */
    int64_t     credited;    /* or otherwise */
    int64_t     disputed;    /* taken back by banks */
    int64_t     failed;      /* refunds that failed or were canceled: no part
                                of what was given back */

    ngx_str_t   payment;     /* one of which something is left, */
    int64_t     left;        /* and how much */
    ngx_uint_t  parts;       /* how many there are */

    ngx_str_t   now;         /* the payment that is being counted */
    int64_t     rest;
    int64_t     sound;       /* what had failed before it */
    int64_t     aside;       /* left of payments until then, which people say
                                is given back, next to later ones */
    unsigned    unclear:1;
    unsigned    settled:1;   /* all of it is given back, people say */
    unsigned    whole:1;     /* the invoice says when the last of it was paid */
    unsigned    before:1;    /* the payment at hand: until then; */
    unsigned    held:1;      /* a bank has some of it */
    unsigned    taken:1;     /* a bank has some of all that, in any currency */

    int64_t     last;        /* when the last of it was paid, s; 0: not told */
    int64_t     until;       /* what was paid before that is given back, people
                                say, but for what may have failed since */

    /* of the walk */
    lines_stripe_object_e  asks;    /* for these; OTHER: all is counted */
    ngx_str_t              whose;   /* an invoice's, or a payment's */
    ngx_array_t           *payments;
    ngx_uint_t             counted;
} lines_money_t;


typedef enum {
    LINES_MONEY_UNSEEN = 0,
    LINES_MONEY_NONE,        /* none came in */
    LINES_MONEY_RETURNED,    /* all of it went back, or banks have it */
    LINES_MONEY_DUE,         /* some is left that can be given back */
    LINES_MONEY_FAILED,      /* some is left, and a refund of it has failed */
    LINES_MONEY_UNCLEAR,
    LINES_MONEYS
} lines_money_e;


/*
 * The walk over what is booked of an invoice: who has begun asks for
 * money->asks of money->whose, and tells what was listed, whole, until nothing
 * is asked for.  Lists live as long as the walk.
 */

void lines_money_begin(lines_money_t *money, lines_stripe_invoice_t *invoice);
void lines_money_listed(lines_money_t *money, ngx_array_t *list);

/* in this order: credit notes, then each payment before what is of it */
void lines_money_add(lines_money_t *money, lines_stripe_entry_t *entry);

/* what people say that they gave back outside of billing: an amount, "all", or
   nothing */
void lines_money_settled(lines_money_t *money, ngx_str_t *amount);

/* the same of all that was paid until then; by billing's clock, s, 0: nothing */
void lines_money_until(lines_money_t *money, int64_t until);

/*
 * What was paid later is for nothing: since an instant of Redis' clock, or since
 * its subscription ended by billing's, which says when it was paid, too, where
 * that is sooner.  Seconds; 0: ever, or it goes on.
 */
int64_t lines_money_since(int64_t since, int64_t ended);

/*
 * Whether it was paid later than that.  What was paid in the very second was
 * paid for what ended in it; but what was void then, mostly by whoever ended it,
 * paid for nothing: a part of it goes back.
 */
ngx_uint_t lines_money_late(lines_stripe_invoice_t *invoice, int64_t since);

/* whether a bank has the money, by a dispute's status */
ngx_uint_t lines_money_taken(ngx_str_t *status);

/* what it comes to, once all is counted */
lines_money_e lines_money_close(lines_money_t *money);

/* flag: less was counted than the invoice says: billing may list it later */
ngx_uint_t lines_money_unlisted(const lines_money_t *money);

/* what went back, or was to and failed, as far as it is counted */
int64_t lines_money_back(const lines_money_t *money);

/* -1: a sum without end, which is unclear */
int64_t lines_money_due(const lines_money_t *money);

/* the same by the ways that it came, as it goes back; the sum is what is due */
void lines_money_ways(const lines_money_t *money, int64_t *charged,
    int64_t *balance, int64_t *outside);


#endif /* _LINES_BILLING_MONEY_H_INCLUDED_ */
