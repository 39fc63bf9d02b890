
#include <stddef.h>

#include "operation/decide.h"


#define decision(what, why)  (lines_decision_t) { LINES_DO_##what, why }


static lines_decision_t resolve(const lines_view_t *view);
static lines_decision_t proceed(const lines_view_t *view);
static lines_decision_t charge(const lines_view_t *view);
static lines_decision_t await(const lines_view_t *view);
static lines_decision_t deliver(const lines_view_t *view);
static lines_decision_t number(const lines_view_t *view);
static lines_decision_t billed(const lines_view_t *view);
static lines_decision_t kept(const lines_view_t *view);
static lines_decision_t give_back(const lines_view_t *view);
static lines_decision_t given_back(const lines_view_t *view);
static lines_decision_t owed(const lines_view_t *view);
static lines_decision_t lapse(const lines_view_t *view);
static lines_decision_t purchase(const lines_view_t *view);


/* what follows of a person's word at a point; REST: nothing, it is not asked */

#define SETTLED     .settled = { LINES_DO_END, NULL }
#define PASSED      .settled = { LINES_DO_PASS, NULL }
#define UNLOOKED    .given_up = { LINES_DO_END, "canceled_by_operator" }
#define NOT_BEGUN   .given_up = { LINES_DO_REFUSE, NULL }
#define NOT_WANTED  .given_up = { LINES_DO_FAIL, "canceled_by_operator" }

static const struct {
    lines_decision_t  settled;
    lines_decision_t  given_up;
} words[LINES_POINTS] = {
    [LINES_AT_SEND] = { UNLOOKED },
    [LINES_AT_AWAIT] = { UNLOOKED },
    [LINES_AT_TELL] = { NOT_WANTED },
    [LINES_AT_CARD] = { NOT_BEGUN },
    [LINES_AT_LEASE] = { NOT_BEGUN },
    [LINES_AT_CHARGE] = { NOT_BEGUN },
    [LINES_AT_ASSIGN] = { NOT_WANTED },
    [LINES_AT_INFORM] = { NOT_WANTED },
    [LINES_AT_CONFIRM] = { NOT_WANTED },
    [LINES_AT_UNCHARGE] = { PASSED },
    [LINES_AT_REFUND] = { PASSED },
    [LINES_AT_ORPHAN] = { PASSED },
    [LINES_AT_RELEASE] = { SETTLED },
    [LINES_AT_LAPSE] = { SETTLED },
    [LINES_AT_PLAN] = { SETTLED }
};


/*
 * What was decided, unless it is not to be done on the word of a database that
 * may be another.  What billing shows is written down all the same.
 */

lines_decision_t
lines_decide(const lines_view_t *view)
{
    lines_decision_t  decision;

    decision = view->wish == LINES_WISH_SETTLED
               || view->wish == LINES_WISH_GIVEN_UP
               ? resolve(view) : proceed(view);

    switch (decision.action) {

    case LINES_DO_SEND:
    case LINES_DO_VOID:
    case LINES_DO_DELETE:
    case LINES_DO_CREDIT:
    case LINES_DO_GIVE:

        /* never taken back: looked at in this run, not a second ago */

        return view->base == LINES_BASE_UNSEEN ? decision(CHECK, NULL)
               : view->base == LINES_BASE_HELD ? decision(HOLD, NULL)
               : decision;

    default:
        return decision;
    }
}


/*
 * What is true was tried, and this run is stuck with it: then a person's word
 * counts.  What would still come in by billing is an orphan's.
 */

static lines_decision_t
resolve(const lines_view_t *view)
{
    lines_view_t      unsaid;
    lines_decision_t  decision;

    decision = view->wish == LINES_WISH_SETTLED ? words[view->at].settled
                                                : words[view->at].given_up;

    if (decision.action == LINES_DO_REST) {

        /* it says nothing of this */

        unsaid = *view;
        unsaid.wish = LINES_WISH_NONE;

        return proceed(&unsaid);
    }

    return decision.action == LINES_DO_PASS
           && (view->invoice == LINES_INVOICE_UNSEEN
               || view->invoice == LINES_INVOICE_MISSING)
           ? given_back(view) : decision;
}


static lines_decision_t
proceed(const lines_view_t *view)
{
    switch (view->at) {

    case LINES_AT_SEND:
        return charge(view);

    case LINES_AT_AWAIT:
        return await(view);

    case LINES_AT_TELL:
    case LINES_AT_ASSIGN:
    case LINES_AT_INFORM:
    case LINES_AT_CONFIRM:
        return deliver(view);

    case LINES_AT_REFUND:
    case LINES_AT_ORPHAN:
    case LINES_AT_UNCHARGE:
    case LINES_AT_RELEASE:
        return give_back(view);

    case LINES_AT_UNLEASE:
        return decision(RETURN, NULL);

    case LINES_AT_LAPSE:
        return lapse(view);

    case LINES_AT_PLAN:
        return decision(PLAN, NULL);

    case LINES_AT_UNDONE:
        return decision(END, NULL);

    default:
        return purchase(view);
    }
}


/*
 * A subscription is asked for.  Its outcome may stay unknown: then it is sent
 * again under its key, or looked for, and never given up before it is known.
 */

static lines_decision_t
charge(const lines_view_t *view)
{
    switch (view->call) {

    case LINES_CALL_DUE:
        return decision(SEND, NULL);

    case LINES_CALL_DOUBTFUL:
    case LINES_CALL_MISSED_ONCE:
        return decision(FIND, NULL);

    case LINES_CALL_MISSED:
        return decision(WAIT, NULL);

    case LINES_CALL_REFUSED:
        return decision(REFUSE, NULL);

    case LINES_CALL_THERE:
        return decision(RECORD, NULL);

    default: /* LINES_CALL_ABSENT */

        if (view->wish == LINES_WISH_CANCEL) {
            return decision(END, NULL);
        }

        return view->old ? decision(END, "payment_expired")
                         : decision(RENEW, NULL);
    }
}


/*
 * A line's first invoice.  What can still be paid is voided before anything
 * ends, and what is void cannot be paid any more; a payment that was faster
 * wins.  What the plan includes by now nobody has to pay for: its place is
 * taken before the invoice is void, and given back where that was too late.
 * That of a customer who is none of the workspace's any more is void, and
 * whoever is gets another.
 */

static lines_decision_t
await(const lines_view_t *view)
{
    lines_decision_t  decision;

    if (view->sub == LINES_SUB_UNSEEN
        || view->invoice == LINES_INVOICE_UNSEEN)
    {
        return decision(LOOK, NULL);
    }

    if (view->sub == LINES_SUB_UNTOLD) {
        return decision(STUCK, "subscription_refused");
    }

    if (view->place == LINES_PLACE_UNSEEN
        && view->wish != LINES_WISH_CANCEL
        && (view->invoice == LINES_INVOICE_OPEN
            || view->invoice == LINES_INVOICE_VOID
            || view->invoice == LINES_INVOICE_UNCOLLECTIBLE))
    {
        return decision(PLACE, NULL);
    }

    switch (view->invoice) {

    case LINES_INVOICE_PAID:

        /* where that went back it fails in the next step, with all it cost */

        decision = kept(view);

        return decision.action == LINES_DO_PASS
               || decision.action == LINES_DO_FAIL
               ? decision(SETTLE, NULL) : decision;

    case LINES_INVOICE_UNCOLLECTIBLE:

        /* it could still be paid: never billed again silently */

        return view->tried ? decision(AGAIN, NULL) : decision(VOID, NULL);

    case LINES_INVOICE_OPEN:

        if (view->wish == LINES_WISH_CANCEL
            || view->sub == LINES_SUB_ENDED
            || view->place == LINES_PLACE_TAKEN
            || view->moved)
        {
            return view->tried ? decision(AGAIN, NULL) : decision(VOID, NULL);
        }

        return decision(REST, NULL);

    case LINES_INVOICE_MISSING:

        if (view->wish != LINES_WISH_CANCEL) {
            return decision(STUCK, "invoice_missing");
        }

        break;

    default: /* LINES_INVOICE_VOID */

        /* not by us: until its next look, who wants to pay may have another */

        if (view->wish == LINES_WISH_NONE
            && view->place != LINES_PLACE_TAKEN
            && view->early
            && !view->moved
            && !view->off)
        {
            return decision(REST, NULL);
        }

        break;
    }

    /* at most one live subscription: it goes before the line, or another */

    if (view->sub != LINES_SUB_ENDED && view->sub != LINES_SUB_MISSING) {
        return decision(DELETE, NULL);
    }

    /* a part may have been paid */

    if (view->invoice != LINES_INVOICE_MISSING) {
        decision = owed(view);

        if (decision.action != LINES_DO_PASS) {
            return decision;
        }
    }

    if (view->wish == LINES_WISH_CANCEL) {
        return decision(END, NULL);
    }

    if (view->place == LINES_PLACE_TAKEN) {
        return decision(INCLUDE, NULL);
    }

    if (view->off) {
        return decision(END, "payment_uncollectible");
    }

    return view->wish == LINES_WISH_LINK || view->moved
           ? decision(RENEW, NULL) : decision(END, "payment_expired");
}


/*
 * What was paid for is still so, and the number, and the provisioner's word
 * are there; or all goes back.  The line is suspended while it is overdue.
 */

static lines_decision_t
deliver(const lines_view_t *view)
{
    lines_decision_t  decision;

    decision = billed(view);

    if (decision.action != LINES_DO_PASS) {
        return decision;
    }

    if (view->at == LINES_AT_ASSIGN) {
        return number(view);
    }

    if (view->at != LINES_AT_CONFIRM && view->told != LINES_TELL_TAKEN) {
        return view->told == LINES_TELL_NOT
               ? decision(TELL, NULL) : decision(FAIL, "provisioning_failed");
    }

    if (view->at == LINES_AT_INFORM) {
        return decision(NEXT, NULL);
    }

    return decision(END, view->sub == LINES_SUB_OVERDUE ? "suspended" : NULL);
}


static lines_decision_t
number(const lines_view_t *view)
{
    switch (view->number) {

    case LINES_NUMBER_ASSIGNED:
        return decision(NEXT, NULL);

    case LINES_NUMBER_LEASED:
        return decision(ASSIGN, NULL);

    case LINES_NUMBER_LOST:
        return view->tried ? decision(AGAIN, NULL) : decision(DROP, NULL);

    case LINES_NUMBER_OUT:
        return decision(FAIL, NULL);

    default:
        return decision(LEASE, NULL);
    }
}


/* PASS: somebody pays, or nobody has to; one that is overdue may come back */

static lines_decision_t
billed(const lines_view_t *view)
{
    if (view->at == LINES_AT_TELL && view->sub == LINES_SUB_NONE) {
        return decision(PASS, NULL);
    }

    if (view->sub == LINES_SUB_UNSEEN
        || view->invoice == LINES_INVOICE_UNSEEN)
    {
        return decision(LOOK, NULL);
    }

    switch (view->sub) {

    case LINES_SUB_UNTOLD:
        return decision(STUCK, "subscription_refused");

    case LINES_SUB_MISSING:

        /* what was there once is never gone: another account's key, perhaps */

        return decision(STUCK, "subscription_missing");

    case LINES_SUB_INCOMPLETE:

        /* billing may take a moment to see its own payment */

        if (view->invoice == LINES_INVOICE_PAID
            || view->at == LINES_AT_TELL)
        {
            return decision(AGAIN, NULL);
        }

        break;

    case LINES_SUB_LIVE:
    case LINES_SUB_OVERDUE:

        if (view->invoice == LINES_INVOICE_PAID) {
            return kept(view);
        }

        /* a purchase is charged at once, or not at all: active is not paid */

        if (view->at == LINES_AT_TELL
            || view->invoice == LINES_INVOICE_MISSING)
        {
            return decision(PASS, NULL);
        }

        break;

    default: /* LINES_SUB_ENDED, LINES_SUB_NONE */
        break;
    }

    return decision(FAIL, "subscription_ended");
}


/*
 * Of what was paid: PASS, where something is left, or nothing was to be paid,
 * and no bank has taken any part of it.
 */

static lines_decision_t
kept(const lines_view_t *view)
{
    if (view->money == LINES_MONEY_UNSEEN) {
        return decision(COUNT, NULL);
    }

    if (view->disputed || view->money == LINES_MONEY_RETURNED) {
        return decision(FAIL, "payment_refunded");
    }

    return view->money == LINES_MONEY_UNCLEAR
           ? decision(REPORT, "money_unclear") : decision(PASS, NULL);
}


/*
 * Nothing is billed any more, and all that came in goes back, invoice by
 * invoice: but for a release, which gives nothing back.  How much that is, is
 * counted before each step, so that nothing goes back twice, whoever gave it.
 */

static lines_decision_t
give_back(const lines_view_t *view)
{
    if (view->sub != LINES_SUB_NONE
        && view->sub != LINES_SUB_ENDED
        && view->sub != LINES_SUB_MISSING)
    {
        return decision(DELETE, NULL);
    }

    if (view->at == LINES_AT_RELEASE
        || view->sub == LINES_SUB_NONE
        || view->invoice == LINES_INVOICE_MISSING)
    {
        return given_back(view);
    }

    switch (view->invoice) {

    case LINES_INVOICE_UNSEEN:
        return decision(LIST, NULL);

    case LINES_INVOICE_OPEN:
    case LINES_INVOICE_UNCOLLECTIBLE:
        return view->tried ? decision(AGAIN, NULL) : decision(VOID, NULL);

    default:
        return owed(view);
    }
}


/* of all invoices */

static lines_decision_t
given_back(const lines_view_t *view)
{
    return view->at == LINES_AT_UNCHARGE ? decision(NEXT, NULL)
                                         : decision(END, NULL);
}


/* what is left of the invoice goes back; PASS: nothing is */

static lines_decision_t
owed(const lines_view_t *view)
{
    switch (view->money) {

    case LINES_MONEY_UNSEEN:
        return decision(COUNT, NULL);

    case LINES_MONEY_NONE:
    case LINES_MONEY_RETURNED:
        return decision(PASS, NULL);

    case LINES_MONEY_FAILED:
        return decision(REPORT, "refund_failed");

    case LINES_MONEY_UNCLEAR:
        return decision(REPORT, "money_unclear");

    default: /* LINES_MONEY_DUE */
        break;
    }

    switch (view->call) {

    case LINES_CALL_ABSENT:
    case LINES_CALL_MISSED_ONCE:
        return decision(CREDIT, NULL);

    case LINES_CALL_DUE:
        return decision(GIVE, NULL);

    case LINES_CALL_REFUSED:
        return decision(REPORT, "refund_refused");

    default:

        /* it may be there, and was not counted: looked at twice, at least */

        return decision(WAIT, NULL);
    }
}


/* one that a bank has taken back what was paid for is charged no more */

static lines_decision_t
lapse(const lines_view_t *view)
{
    switch (view->sub) {

    case LINES_SUB_UNSEEN:
        return decision(LOOK, NULL);

    case LINES_SUB_INCOMPLETE:
    case LINES_SUB_LIVE:
    case LINES_SUB_OVERDUE:

        if (view->money == LINES_MONEY_UNSEEN) {
            return decision(COUNT, NULL);
        }

        return view->disputed ? decision(DELETE, NULL) : decision(END, NULL);

    default:
        return decision(END, NULL);
    }
}


/* until it is charged */

static lines_decision_t
purchase(const lines_view_t *view)
{
    switch (view->at) {

    case LINES_AT_CARD:
        return view->card == LINES_CARD_UNSEEN ? decision(CARD, NULL)
               : view->card == LINES_CARD_NONE
               ? decision(REFUSE, "no_card_on_file") : decision(NEXT, NULL);

    case LINES_AT_LEASE:
        return view->number == LINES_NUMBER_OUT
               ? decision(REFUSE, "no_lines_available")
               : view->number == LINES_NUMBER_LEASED ? decision(NEXT, NULL)
               : decision(LEASE, NULL);

    default: /* LINES_AT_CHARGE */

        /* nobody was charged, and a day later nobody expects it any more */

        if (view->call == LINES_CALL_ABSENT && view->old) {
            return decision(REFUSE, NULL);
        }

        return charge(view);
    }
}
