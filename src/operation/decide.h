
/*
 * What an operation does next: a pure function of what is true now, in the
 * record and at billing.  Who woke it does not matter, and nothing is
 * remembered but what the view says.  No I/O, no memory, no nginx:
 * t/unit/test_decide.c asks it everything that can be asked.
 */

#ifndef _LINES_OPERATION_DECIDE_H_INCLUDED_
#define _LINES_OPERATION_DECIDE_H_INCLUDED_


#include "billing/money.h"


/*
 * The recovery point that the record names: LINES_AT_ "KIND.STEP"; OTHERS is
 * none: a run in AWAIT that is past the line's first invoice.
 */

#define LINES_EACH_POINT(point)                                               \
    point(SEND, "request.send")                                               \
    point(AWAIT, "request.await")                                             \
    point(OTHERS, "request.await:others")                                     \
    point(TELL, "request.tell")                                               \
    point(CARD, "purchase.card")                                              \
    point(LEASE, "purchase.lease")                                            \
    point(CHARGE, "purchase.charge")                                          \
    point(ASSIGN, "purchase.assign")                                          \
    point(INFORM, "purchase.tell")                                            \
    point(CONFIRM, "purchase.end")                                            \
    point(UNCHARGE, "purchase.undo:charge")                                   \
    point(UNLEASE, "purchase.undo:lease")                                     \
    point(UNDONE, "purchase.undone")                                          \
    point(REFUND, "refund.cancel")                                            \
    point(ORPHAN, "orphan.cancel")                                            \
    point(RELEASE, "release.cancel")                                          \
    point(LAPSE, "lapse.read")                                                \
    point(PLAN, "plan.read")


/* what an operation can do: LINES_DO_ */

#define LINES_EACH_ACTION(action)                                             \
    action(REST)     /* until its next look */                                \
    action(CHECK)    /* whether Redis is the database that it was */          \
    action(HOLD)     /* it is not: a rest */                                  \
    action(AGAIN)    /* soon: nothing is certain */                           \
    action(STUCK)    /* for people to look at */                              \
    action(SEND)     /* POST of the subscription, by the recorded key */      \
    action(FIND)     /* the same by its metadata, among the customer's */     \
    action(WAIT)     /* it was not found; another look, later */              \
    action(RENEW)    /* another attempt: this one is proven dead */           \
    action(RECORD)   /* the subscription is there: write it down */           \
    action(LOOK)     /* GET of the subscription, with its invoice */          \
    action(VOID)     /* the invoice */                                        \
    action(DELETE)   /* the subscription */                                   \
    action(PLACE)    /* one of the plan, if any is free: nobody has to pay */ \
    action(SETTLE)   /* the line is paid for */                               \
    action(INCLUDE)  /* the line is in a place of the plan */                 \
    action(TELL)     /* the provisioner */                                    \
    action(CARD)     /* look for the account's card */                        \
    action(LEASE)    /* a number */                                           \
    action(ASSIGN)   /* the number to its line */                             \
    action(DROP)     /* the number: it is not this operation's */             \
    action(NEXT)     /* the next step: this one is done */                    \
    action(REFUSE)   /* nothing was charged: undo, and say why */             \
    action(FAIL)     /* what was charged goes back */                         \
    action(LIST)     /* the next invoice, from the newest on */               \
    action(COUNT)    /* its money */                                          \
    action(CREDIT)   /* write down what is to be given back of it */          \
    action(GIVE)     /* give back what is written down */                     \
    action(REPORT)   /* for people to look at; it is counted again, later */  \
    action(PASS)     /* this invoice is done with */                          \
    action(RETURN)   /* the number, to the inventory */                       \
    action(PLAN)     /* read the customer's base plan */                      \
    action(END)


#define lines_point_name(name, text)  LINES_AT_##name,
#define lines_action_name(name)       LINES_DO_##name,

typedef enum {
    LINES_EACH_POINT(lines_point_name)
    LINES_POINTS
} lines_point_e;

typedef enum {
    LINES_EACH_ACTION(lines_action_name)
    LINES_ACTIONS
} lines_action_e;


/* what somebody asked for, of a line that awaits its payment, or is stuck */

typedef enum {
    LINES_WISH_NONE = 0,
    LINES_WISH_LINK,        /* a page to pay: a new attempt, if need be */
    LINES_WISH_YIELD,       /* that it ends, if nobody can pay it any more */
    LINES_WISH_CANCEL,      /* that it ends */
    LINES_WISH_SETTLED,     /* a person's, where this run is stuck: nothing
                               more goes back; */
    LINES_WISH_GIVEN_UP,    /* nothing more comes of it */
    LINES_WISHES
} lines_wish_e;


/* the POST of this attempt; where money goes back, of what was written down */

typedef enum {
    LINES_CALL_DUE = 0,     /* it may be sent, again or for the first time */
    LINES_CALL_DOUBTFUL,    /* too old for its key, or a saved error: look */
    LINES_CALL_MISSED,      /* not found, a moment ago */
    LINES_CALL_MISSED_ONCE, /* not found, a while ago: look once more */
    LINES_CALL_ABSENT,      /* not found twice: it never was */
    LINES_CALL_REFUSED,     /* nothing was created, and never will be */
    LINES_CALL_THERE,
    LINES_CALLS
} lines_call_e;


/* what the record stands in, as this run has seen it */

typedef enum {
    LINES_BASE_FINE = 0,    /* the database that it was */
    LINES_BASE_UNSEEN,      /* as far as is known */
    LINES_BASE_HELD,        /* another, or an old one, says what is recorded */
    LINES_BASES
} lines_base_e;


/* the subscription, as this run has seen it */

typedef enum {
    LINES_SUB_NONE = 0,     /* there is none to be seen */
    LINES_SUB_UNSEEN,
    LINES_SUB_INCOMPLETE,   /* its first invoice is not paid */
    LINES_SUB_LIVE,         /* active, trialing */
    LINES_SUB_OVERDUE,      /* past due, unpaid, paused */
    LINES_SUB_ENDED,        /* canceled, expired: for ever */
    LINES_SUB_MISSING,      /* billing does not know it */
    LINES_SUB_UNTOLD,       /* billing refuses to say */
    LINES_SUBS
} lines_sub_e;


/*
 * Its invoice, likewise; NONE: there is none, since nobody has to pay; MISSING:
 * billing does not know it, or, in a list, no other is left.
 */

typedef enum {
    LINES_INVOICE_UNSEEN = 0,
    LINES_INVOICE_OPEN,
    LINES_INVOICE_PAID,
    LINES_INVOICE_VOID,
    LINES_INVOICE_UNCOLLECTIBLE,
    LINES_INVOICE_MISSING,
    LINES_INVOICE_NONE,
    LINES_INVOICES
} lines_invoice_e;


/* a place of the plan, of a line that was to be paid for */

typedef enum {
    LINES_PLACE_UNSEEN = 0,
    LINES_PLACE_NONE,       /* there is none that is free */
    LINES_PLACE_TAKEN,      /* it is kept for this line */
    LINES_PLACES
} lines_place_e;


typedef enum {
    LINES_NUMBER_NONE = 0,
    LINES_NUMBER_LEASED,
    LINES_NUMBER_LOST,      /* leased, but another has it by now */
    LINES_NUMBER_OUT,       /* there is none that is free */
    LINES_NUMBER_ASSIGNED,
    LINES_NUMBERS
} lines_number_e;


typedef enum {
    LINES_TELL_NOT = 0,
    LINES_TELL_TAKEN,       /* or there is nobody to be told */
    LINES_TELL_REFUSED,
    LINES_TELLS
} lines_tell_e;


typedef enum {
    LINES_CARD_UNSEEN = 0,
    LINES_CARD_NONE,
    LINES_CARD_THERE,
    LINES_CARDS
} lines_card_e;


typedef struct {
    lines_point_e    at;
    lines_base_e     base;
    lines_wish_e     wish;
    lines_call_e     call;
    lines_sub_e      sub;
    lines_invoice_e  invoice;
    lines_place_e    place;
    lines_money_e    money;      /* of that invoice */
    lines_number_e   number;
    lines_tell_e     told;
    lines_card_e     card;
    unsigned         early:1;    /* before it was to be looked at */
    unsigned         old:1;      /* nobody waits for the charge any more */
    unsigned         off:1;      /* written off, before it was void */
    unsigned         tried:1;    /* in vain, by this run: it was refused */
    unsigned         disputed:1; /* a bank took a part of that money */
    unsigned         moved:1;    /* another customer is to pay by now */
} lines_view_t;


typedef struct {
    lines_action_e   action;
    const char      *reason;     /* of an end, a failure, or being stuck;
                                    "suspended": not paid for at its end */
} lines_decision_t;


lines_decision_t lines_decide(const lines_view_t *view);


#endif /* _LINES_OPERATION_DECIDE_H_INCLUDED_ */
