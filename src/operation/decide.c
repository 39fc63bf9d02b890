
#include <stddef.h>

#include "operation/decide.h"


#define decision(what, why)  (lines_decision_t) { LINES_DO_##what, why }


/*
 * A subscription is asked for.  Its outcome may stay unknown: then it is sent
 * again under its key, or looked for, and never given up before it is known.
 */

static lines_decision_t
charge(const lines_view_t *view)
{
    static const lines_decision_t  calls[LINES_CALLS] = {
        [LINES_CALL_DUE] = { LINES_DO_SEND, NULL },
        [LINES_CALL_DOUBTFUL] = { LINES_DO_FIND, NULL },
        [LINES_CALL_MISSED] = { LINES_DO_WAIT, NULL },
        [LINES_CALL_MISSED_ONCE] = { LINES_DO_FIND, NULL },
        [LINES_CALL_REFUSED] = { LINES_DO_REFUSE, NULL },
        [LINES_CALL_THERE] = { LINES_DO_RECORD, NULL }
    };

    if (view->call != LINES_CALL_ABSENT) {
        return calls[view->call];
    }

    /* nobody was charged, and a day later nobody expects it any more */

    if (view->at == LINES_AT_CHARGE
        && (view->old || view->wish == LINES_WISH_CANCEL))
    {
        return decision(REFUSE, NULL);
    }

    if (view->wish == LINES_WISH_CANCEL) {
        return decision(END, NULL);
    }

    return view->old ? decision(END, "payment_expired")
                     : decision(RENEW, NULL);
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


/* what is left of the invoice goes back; PASS: nothing is */

static lines_decision_t
owed(const lines_view_t *view)
{
    static const lines_decision_t  money[LINES_MONEYS] = {
        [LINES_MONEY_UNSEEN] = { LINES_DO_COUNT, NULL },
        [LINES_MONEY_NONE] = { LINES_DO_PASS, NULL },
        [LINES_MONEY_RETURNED] = { LINES_DO_PASS, NULL },
        [LINES_MONEY_FAILED] = { LINES_DO_REPORT, "refund_failed" },
        [LINES_MONEY_UNCLEAR] = { LINES_DO_REPORT, "money_unclear" }
    };

    /* WAIT: it may be there, and was not counted: looked at twice, at least */

    static const lines_decision_t  due[LINES_CALLS] = {
        [LINES_CALL_DUE] = { LINES_DO_GIVE, NULL },
        [LINES_CALL_DOUBTFUL] = { LINES_DO_WAIT, NULL },
        [LINES_CALL_MISSED] = { LINES_DO_WAIT, NULL },
        [LINES_CALL_MISSED_ONCE] = { LINES_DO_CREDIT, NULL },
        [LINES_CALL_ABSENT] = { LINES_DO_CREDIT, NULL },
        [LINES_CALL_REFUSED] = { LINES_DO_REPORT, "refund_refused" },
        [LINES_CALL_THERE] = { LINES_DO_WAIT, NULL }
    };

    if (view->money == LINES_MONEY_DUE) {
        return due[view->call];
    }

    /* what may be on its way is none of what people are asked to give back */

    if ((view->money == LINES_MONEY_FAILED
         || view->money == LINES_MONEY_UNCLEAR)
        && due[view->call].action != LINES_DO_CREDIT
        && view->call != LINES_CALL_REFUSED)
    {
        return decision(WAIT, NULL);
    }

    return money[view->money];
}


/* the next invoice, until nothing is left of any: NEXT */

static lines_decision_t
all_owed(const lines_view_t *view)
{
    switch (view->invoice) {

    case LINES_INVOICE_UNSEEN:
    case LINES_INVOICE_NONE:
        return decision(LIST, NULL);

    case LINES_INVOICE_OPEN:
    case LINES_INVOICE_UNCOLLECTIBLE:
        return view->tried ? decision(AGAIN, NULL) : decision(VOID, NULL);

    case LINES_INVOICE_MISSING:
        return decision(NEXT, NULL);

    default:
        return owed(view);
    }
}


/*
 * A line that nobody will pay for, as its first invoice is void.  A part of that
 * may have been paid, or another one, which people made of its subscription:
 * all of them are read before it ends, or there is another attempt.
 */

static lines_decision_t
others(const lines_view_t *view)
{
    lines_decision_t  decision;

    decision = all_owed(view);

    if (decision.action != LINES_DO_NEXT) {
        return decision;
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

    case LINES_INVOICE_OPEN:
    case LINES_INVOICE_UNCOLLECTIBLE:

        /* written off, it could still be paid: never billed again silently */

        if (view->invoice == LINES_INVOICE_UNCOLLECTIBLE
            || view->wish == LINES_WISH_CANCEL
            || view->sub == LINES_SUB_ENDED
            || view->place == LINES_PLACE_TAKEN
            || view->moved)
        {
            return view->tried ? decision(AGAIN, NULL) : decision(VOID, NULL);
        }

        return decision(REST, NULL);

    case LINES_INVOICE_MISSING:
    case LINES_INVOICE_NONE:

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

    /* others may have been paid, where billing still knows whose they are */

    return view->sub == LINES_SUB_MISSING
           && view->invoice == LINES_INVOICE_MISSING
           ? decision(END, NULL) : decision(LIST, NULL);
}


static lines_decision_t
number(const lines_view_t *view)
{
    static const lines_decision_t  numbers[LINES_NUMBERS] = {
        [LINES_NUMBER_NONE] = { LINES_DO_LEASE, NULL },
        [LINES_NUMBER_LEASED] = { LINES_DO_ASSIGN, NULL },
        [LINES_NUMBER_LOST] = { LINES_DO_DROP, NULL },
        [LINES_NUMBER_OUT] = { LINES_DO_FAIL, NULL },
        [LINES_NUMBER_ASSIGNED] = { LINES_DO_NEXT, NULL }
    };

    return view->number == LINES_NUMBER_LOST && view->tried
           ? decision(AGAIN, NULL) : numbers[view->number];
}


/* PASS: somebody pays, or nobody has to; one that is overdue may come back */

static lines_decision_t
billed(const lines_view_t *view)
{
    lines_decision_t  decision;

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

        if (view->at == LINES_AT_TELL || view->invoice == LINES_INVOICE_NONE) {
            return decision(PASS, NULL);
        }

        if (view->invoice == LINES_INVOICE_MISSING) {
            return decision(STUCK, "invoice_missing");
        }

        break;

    case LINES_SUB_ENDED:

        /*
         * Where what was paid went back as well it is as if it went on: should
         * the line be active by now, somebody hears if that fails.
         */

        if (view->at == LINES_AT_TELL && view->invoice == LINES_INVOICE_PAID) {
            decision = kept(view);

            if (decision.action == LINES_DO_COUNT
                || decision.action == LINES_DO_FAIL)
            {
                return decision;
            }
        }

        break;

    default: /* LINES_SUB_NONE */
        break;
    }

    return decision(FAIL, "subscription_ended");
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


/* of all invoices */

static lines_decision_t
given_back(const lines_view_t *view)
{
    return view->at == LINES_AT_UNCHARGE ? decision(NEXT, NULL)
                                         : decision(END, NULL);
}


/*
 * Nothing is billed any more, or can be paid, and all that came in goes back,
 * invoice by invoice: of a release, what came in since.  How much that is, is
 * counted before each step, so that nothing goes back twice, whoever gave it.
 */

static lines_decision_t
give_back(const lines_view_t *view)
{
    lines_decision_t  decision;

    if (view->sub != LINES_SUB_NONE
        && view->sub != LINES_SUB_ENDED
        && view->sub != LINES_SUB_MISSING)
    {
        return decision(DELETE, NULL);
    }

    if (view->sub == LINES_SUB_NONE) {
        return given_back(view);
    }

    decision = all_owed(view);

    return decision.action == LINES_DO_NEXT ? given_back(view) : decision;
}


/* one that a bank has taken back what was paid for is charged no more */

static lines_decision_t
lapse(const lines_view_t *view)
{
    if (view->sub == LINES_SUB_UNSEEN) {
        return decision(LOOK, NULL);
    }

    /* what is in doubt is to be counted, once billing shows it again */

    if (view->money == LINES_MONEY_UNSEEN) {
        if (view->sub == LINES_SUB_UNTOLD) {
            return decision(STUCK, "subscription_refused");
        }

        if (view->sub == LINES_SUB_MISSING) {
            return decision(STUCK, "subscription_missing");
        }
    }

    if (view->sub == LINES_SUB_INCOMPLETE
        || view->sub == LINES_SUB_LIVE
        || view->sub == LINES_SUB_OVERDUE)
    {
        if (view->money == LINES_MONEY_UNSEEN) {
            return view->invoice == LINES_INVOICE_MISSING
                   ? decision(STUCK, "invoice_missing")
                   : decision(COUNT, NULL);
        }

        if (view->disputed) {
            return decision(DELETE, NULL);
        }
    }

    return decision(END, NULL);
}


static lines_decision_t
card(const lines_view_t *view)
{
    return view->card == LINES_CARD_UNSEEN ? decision(CARD, NULL)
           : view->card == LINES_CARD_NONE
           ? decision(REFUSE, "no_card_on_file") : decision(NEXT, NULL);
}


static lines_decision_t
lease(const lines_view_t *view)
{
    return view->number == LINES_NUMBER_OUT
           ? decision(REFUSE, "no_lines_available")
           : view->number == LINES_NUMBER_LEASED ? decision(NEXT, NULL)
           : decision(LEASE, NULL);
}


/*
 * At each point what decides, or what is always done; and what follows of a
 * person's word; REST: nothing, it is not asked.
 */

#define SETTLED     .settled = { LINES_DO_END, NULL }
#define PASSED      .settled = { LINES_DO_PASS, NULL }
#define UNLOOKED    .given_up = { LINES_DO_END, "canceled_by_operator" }
#define NOT_BEGUN   .given_up = { LINES_DO_REFUSE, NULL }
#define NOT_WANTED  .given_up = { LINES_DO_FAIL, "canceled_by_operator" }

static const struct {
    lines_decision_t  (*decide)(const lines_view_t *view);
    lines_decision_t    always;
    lines_decision_t    settled;
    lines_decision_t    given_up;
} points[LINES_POINTS] = {
    [LINES_AT_SEND] = { .decide = charge, UNLOOKED },
    [LINES_AT_AWAIT] = { .decide = await, UNLOOKED },
    [LINES_AT_OTHERS] = { .decide = others, UNLOOKED },
    [LINES_AT_TELL] = { .decide = deliver, NOT_WANTED },
    [LINES_AT_CARD] = { .decide = card, NOT_BEGUN },
    [LINES_AT_LEASE] = { .decide = lease, NOT_BEGUN },
    [LINES_AT_CHARGE] = { .decide = charge, NOT_BEGUN },
    [LINES_AT_ASSIGN] = { .decide = deliver, NOT_WANTED },
    [LINES_AT_INFORM] = { .decide = deliver, NOT_WANTED },
    [LINES_AT_CONFIRM] = { .decide = deliver, NOT_WANTED },
    [LINES_AT_UNCHARGE] = { .decide = give_back, PASSED },
    [LINES_AT_UNLEASE] = { .always = { LINES_DO_RETURN, NULL } },
    [LINES_AT_UNDONE] = { .always = { LINES_DO_END, NULL } },
    [LINES_AT_REFUND] = { .decide = give_back, PASSED },
    [LINES_AT_ORPHAN] = { .decide = give_back, PASSED },
    [LINES_AT_RELEASE] = { .decide = give_back, PASSED },
    [LINES_AT_LAPSE] = { .decide = lapse, SETTLED },
    [LINES_AT_PLAN] = { .always = { LINES_DO_PLAN, NULL }, SETTLED }
};


static lines_decision_t
proceed(const lines_view_t *view)
{
    return points[view->at].decide ? points[view->at].decide(view)
                                   : points[view->at].always;
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

    decision = view->wish == LINES_WISH_SETTLED ? points[view->at].settled
                                                : points[view->at].given_up;

    if (decision.action == LINES_DO_REST) {

        /* it says nothing of this */

        unsaid = *view;
        unsaid.wish = LINES_WISH_NONE;

        return proceed(&unsaid);
    }

    return decision.action == LINES_DO_PASS
           && (view->invoice == LINES_INVOICE_UNSEEN
               || view->invoice == LINES_INVOICE_NONE
               || view->invoice == LINES_INVOICE_MISSING)
           ? given_back(view) : decision;
}


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
