
/*
 * The engine of money, asked everything: over the whole product of what can be
 * true, whether it answers, whether what it does next ever repeats itself, and
 * whether every way through it ends.  With "table" it prints its answers, of
 * which operation/README.md has a copy.
 */

#include "tap.h"
#include "operation/decide.h"


#define WAYS  64

/* sanitizers look at how it is answered, not at what: one of seven will do */
#ifndef STRIDE
#define STRIDE  1
#endif

/* an end of a run: it rests, has ended, or is somebody else's */
#define DONE  LINES_POINTS


enum { AT, WISH, CALL, SUB, INVOICE, PLACE, MONEY, BANK, NUMBER, TOLD, CARD,
       EARLY, OLD, OFF, TRIED, MOVED, FACTS };

typedef struct {
    unsigned char  fact[FACTS];
} state_t;


#define first_of(name, text)  text,
#define name_of(name)         #name,

static const char  *points[] = { LINES_EACH_POINT(first_of) };
static const char  *actions[] = { LINES_EACH_ACTION(name_of) };

static const struct {
    const char  *name;
    unsigned     n;
    const char  *values[8];
} facts[FACTS] = {
    { "at", LINES_POINTS, { NULL } },
    { "wish", LINES_WISHES, { "none", "link", "yield", "cancel",
                              "said to be settled", "said to be canceled" } },
    { "call", LINES_CALLS, { "due", "doubtful", "missed", "missed a while ago",
                             "absent", "refused", "there" } },
    { "subscription", LINES_SUBS, { "none", "unseen", "incomplete", "live",
                                    "overdue", "ended", "missing", "untold" } },
    { "invoice", LINES_INVOICES, { "unseen", "open", "paid", "void",
                                   "uncollectible", "missing",
                                   "none" } },
    { "place", LINES_PLACES, { "unseen", "none", "taken" } },
    { "money", LINES_MONEYS, { "uncounted", "none came in", "all went back",
                               "some is left", "a refund failed",
                               "unclear" } },
    { "a bank", 2, { "took nothing", "took some" } },
    { "number", LINES_NUMBERS, { "none", "leased", "lost", "out",
                                 "assigned" } },
    { "provisioner", LINES_TELLS, { "not told", "took it", "refused it" } },
    { "card", LINES_CARDS, { "unseen", "none", "there" } },
    { "look", 2, { "due", "early" } },
    { "age", 2, { "young", "old" } },
    { "written off", 2, { "no", "yes" } },
    { "tried", 2, { "no", "in vain" } },
    { "customer", 2, { "same", "another" } }
};

/* in the order in which a decision is read */
static const unsigned  order[] = { SUB, INVOICE, PLACE, MONEY, BANK, CALL,
                                   WISH, MOVED, EARLY, OFF, NUMBER, TOLD, CARD, OLD,
                                   TRIED };

#define ORDER  (sizeof(order) / sizeof(order[0]))


static void
view_of(const state_t *s, lines_view_t *view)
{
    memset(view, 0, sizeof(lines_view_t));

    view->at = s->fact[AT];
    view->wish = s->fact[WISH];
    view->call = s->fact[CALL];
    view->sub = s->fact[SUB];
    view->invoice = s->fact[INVOICE];
    view->place = s->fact[PLACE];
    view->money = s->fact[MONEY];
    view->disputed = s->fact[BANK];
    view->number = s->fact[NUMBER];
    view->told = s->fact[TOLD];
    view->card = s->fact[CARD];
    view->early = s->fact[EARLY];
    view->old = s->fact[OLD];
    view->off = s->fact[OFF];
    view->tried = s->fact[TRIED];
    view->moved = s->fact[MOVED];
}


static lines_decision_t
ask(const state_t *s)
{
    lines_view_t  view;

    view_of(s, &view);

    return lines_decide(&view);
}


/* the same with another fact or two; a fact of FACTS is none */

static state_t
with(const state_t *s, unsigned f, unsigned v, unsigned g, unsigned w)
{
    state_t  next = *s;

    if (f < FACTS) {
        next.fact[f] = v;
    }

    if (g < FACTS) {
        next.fact[g] = w;
    }

    return next;
}


/* at a point, and nothing has been seen; what somebody wished stays */

static state_t
afresh(const state_t *s, unsigned at)
{
    state_t  next;

    memset(&next, 0, sizeof(next));

    next.fact[AT] = at;
    next.fact[WISH] = s->fact[WISH];
    next.fact[SUB] = LINES_SUB_UNSEEN;

    return next;
}


/* whether this run is stuck, and goes by a person's word */

static int
said(const state_t *s)
{
    return s->fact[WISH] >= LINES_WISH_SETTLED;
}


/* what may be true after an action: all of it, within one run */

static unsigned
effects(const state_t *s, lines_action_e action, state_t *next)
{
    unsigned  n = 0, i, j, at = s->fact[AT];
    unsigned  purchase = at >= LINES_AT_CARD && at <= LINES_AT_UNDONE;

#define may(...)  next[n++] = with(s, __VA_ARGS__)
#define ends()    may(AT, DONE, FACTS, 0)

    switch (action) {

    case LINES_DO_REST:
    case LINES_DO_AGAIN:
    case LINES_DO_STUCK:
    case LINES_DO_WAIT:
    case LINES_DO_REPORT:
    case LINES_DO_PLAN:
    case LINES_DO_END:
        ends();
        break;

    case LINES_DO_SEND:
        for (i = LINES_SUB_INCOMPLETE; i <= LINES_SUB_ENDED; i++) {
            for (j = LINES_INVOICE_OPEN; j < LINES_INVOICES; j++) {
                may(SUB, i, INVOICE, j);
                next[n - 1].fact[CALL] = LINES_CALL_THERE;
                next[n - 1].fact[MONEY] = LINES_MONEY_DUE;
                next[n - 1].fact[BANK] = 0;
            }
        }

        may(CALL, LINES_CALL_THERE, SUB, LINES_SUB_UNSEEN);
        next[n - 1].fact[MONEY] = LINES_MONEY_UNSEEN;
        may(CALL, LINES_CALL_REFUSED, FACTS, 0);
        may(CALL, LINES_CALL_DOUBTFUL, FACTS, 0);
        ends();
        break;

    case LINES_DO_FIND:
        for (i = LINES_SUB_INCOMPLETE; i <= LINES_SUB_ENDED; i++) {
            may(CALL, LINES_CALL_THERE, SUB, i);
            next[n - 1].fact[INVOICE] = LINES_INVOICE_UNSEEN;
            next[n - 1].fact[MONEY] = LINES_MONEY_UNSEEN;
        }

        may(CALL, s->fact[CALL] == LINES_CALL_MISSED_ONCE
                  ? LINES_CALL_ABSENT : LINES_CALL_MISSED, FACTS, 0);
        ends();
        break;

    case LINES_DO_RENEW:
        next[n] = afresh(s, purchase ? LINES_AT_CHARGE : LINES_AT_SEND);
        next[n].fact[SUB] = LINES_SUB_NONE;
        next[n++].fact[WISH] = LINES_WISH_NONE;
        break;

    case LINES_DO_RECORD:
        if (purchase) {
            may(AT, LINES_AT_ASSIGN, FACTS, 0);

        } else {
            next[n++] = afresh(s, LINES_AT_AWAIT);
            ends();
        }

        break;

    case LINES_DO_LOOK:
        for (i = LINES_SUB_INCOMPLETE; i <= LINES_SUB_ENDED; i++) {
            for (j = LINES_INVOICE_OPEN; j < LINES_INVOICES; j++) {
                may(SUB, i, INVOICE, j);
                next[n - 1].fact[MONEY] = LINES_MONEY_UNSEEN;
            }
        }

        may(SUB, LINES_SUB_MISSING, INVOICE, LINES_INVOICE_MISSING);
        may(SUB, LINES_SUB_UNTOLD, INVOICE, LINES_INVOICE_MISSING);
        ends();
        break;

    case LINES_DO_VOID:
        may(INVOICE, LINES_INVOICE_VOID, OFF, s->fact[OFF]
            || s->fact[INVOICE] == LINES_INVOICE_UNCOLLECTIBLE);
        may(INVOICE, LINES_INVOICE_UNSEEN, TRIED, 1);
        ends();
        break;

    case LINES_DO_DELETE:
        may(SUB, LINES_SUB_ENDED, FACTS, 0);
        ends();
        break;

    case LINES_DO_PLACE:
        may(PLACE, LINES_PLACE_TAKEN, FACTS, 0);
        may(PLACE, LINES_PLACE_NONE, FACTS, 0);
        ends();
        break;

    case LINES_DO_SETTLE:
    case LINES_DO_INCLUDE:
        may(AT, LINES_AT_TELL, WISH, LINES_WISH_NONE);
        next[n - 1].fact[PLACE] = LINES_PLACE_UNSEEN;

        if (action == LINES_DO_INCLUDE) {
            next[n - 1].fact[SUB] = LINES_SUB_NONE;
        }

        ends();
        break;

    case LINES_DO_TELL:
        may(TOLD, LINES_TELL_TAKEN, FACTS, 0);
        may(TOLD, LINES_TELL_REFUSED, FACTS, 0);
        ends();
        break;

    case LINES_DO_CARD:
        may(CARD, LINES_CARD_NONE, FACTS, 0);
        may(CARD, LINES_CARD_THERE, FACTS, 0);
        ends();
        break;

    case LINES_DO_LEASE:
        may(NUMBER, LINES_NUMBER_LEASED, FACTS, 0);
        may(NUMBER, LINES_NUMBER_OUT, FACTS, 0);
        ends();
        break;

    case LINES_DO_ASSIGN:
        may(NUMBER, LINES_NUMBER_ASSIGNED, FACTS, 0);
        may(NUMBER, LINES_NUMBER_LOST, FACTS, 0);
        break;

    case LINES_DO_DROP:
        may(NUMBER, LINES_NUMBER_NONE, TRIED, 1);
        break;

    case LINES_DO_NEXT:
        may(AT, at == LINES_AT_UNCHARGE ? LINES_AT_UNLEASE : at + 1,
            FACTS, 0);

        if (at == LINES_AT_ASSIGN) {
            may(AT, LINES_AT_CONFIRM, FACTS, 0);
        }

        break;

    case LINES_DO_REFUSE:
    case LINES_DO_FAIL:
        if (purchase) {
            may(AT, at == LINES_AT_CARD ? LINES_AT_UNDONE
                    : at == LINES_AT_LEASE ? LINES_AT_UNLEASE
                    : LINES_AT_UNCHARGE, FACTS, 0);

        } else {
            ends();
        }

        break;

    case LINES_DO_LIST:
        for (i = LINES_INVOICE_OPEN; i <= LINES_INVOICE_MISSING; i++) {
            may(INVOICE, i, MONEY, i == LINES_INVOICE_VOID
                            ? LINES_MONEY_NONE : LINES_MONEY_UNSEEN);

            if (at == LINES_AT_AWAIT) {
                next[n - 1].fact[AT] = LINES_AT_OTHERS;
            }
        }

        ends();
        break;

    case LINES_DO_COUNT:
        for (i = LINES_MONEY_NONE; i < LINES_MONEYS; i++) {
            may(MONEY, i, BANK, 0);
            may(MONEY, i, BANK, 1);
        }

        ends();
        break;

    case LINES_DO_CREDIT:
        may(CALL, LINES_CALL_DUE, FACTS, 0);
        ends();
        break;

    /* less is left, or another amount: as an invoice that was not there yet */

    case LINES_DO_GIVE:
        may(CALL, LINES_CALL_ABSENT, MONEY, LINES_MONEY_RETURNED);
        may(CALL, LINES_CALL_REFUSED, MONEY, LINES_MONEY_UNSEEN);
        may(CALL, LINES_CALL_DOUBTFUL, MONEY, LINES_MONEY_UNSEEN);
        ends();
        break;

    /* so is the next one, of which there is an end */

    case LINES_DO_PASS:
        may(INVOICE, LINES_INVOICE_MISSING, FACTS, 0);

        if (said(s)) {
            next[n - 1].fact[WISH] = LINES_WISH_NONE;
        }

        ends();
        break;

    case LINES_DO_RETURN:
        may(AT, LINES_AT_UNDONE, FACTS, 0);
        break;

    default:
        break;
    }

    /* it did not get on with that, and a person has said what is true */

    for (i = LINES_WISH_SETTLED; !said(s) && i < LINES_WISHES; i++) {
        may(WISH, i, FACTS, 0);
    }

    return n;
}


static size_t
number(const state_t *s)
{
    size_t    n = 0;
    unsigned  f;

    for (f = 0; f < FACTS; f++) {
        n = n * facts[f].n + s->fact[f];
    }

    return n;
}


static const char *
text(const state_t *s)
{
    unsigned     f;
    char        *p;
    static char  line[512];

    p = line + sprintf(line, "%s", points[s->fact[AT]]);

    for (f = 1; f < FACTS; f++) {
        p += sprintf(p, ", %s %s", facts[f].name, facts[f].values[s->fact[f]]);
    }

    return line;
}


/* 1: on the way now; 2: every way from here ends */
static unsigned char  *marks;
static unsigned        deepest, circles, idle, unknown;


static void
walk(const state_t *s, unsigned depth)
{
    size_t            me;
    state_t           next[WAYS];
    unsigned          i, n;
    lines_decision_t  decision;

    if (s->fact[AT] == DONE) {
        return;
    }

    me = number(s);

    if (marks[me] == 2) {
        return;
    }

    if (marks[me] == 1) {
        if (circles++ == 0) {
            printf("# a circle: %s\n", text(s));
        }

        return;
    }

    marks[me] = 1;

    if (depth > deepest) {
        deepest = depth;
    }

    decision = ask(s);

    if (decision.action >= LINES_ACTIONS) {
        return;
    }

    n = effects(s, decision.action, next);

    if (n == 0 && unknown++ == 0) {
        printf("# nothing comes of %s: %s\n", actions[decision.action],
               text(s));
    }

    for (i = 0; i < n; i++) {
        if (memcmp(&next[i], s, sizeof(state_t)) == 0 && idle++ == 0) {
            printf("# nothing changes by %s: %s\n", actions[decision.action],
                   text(s));
        }

        walk(&next[i], depth + 1);
    }

    marks[me] = 2;
}


/* whether a fact makes a difference at a point: test_all() looks */

static int
matters(unsigned at, unsigned f)
{
    switch (at) {

    case LINES_AT_UNCHARGE:
    case LINES_AT_REFUND:
    case LINES_AT_ORPHAN:
    case LINES_AT_RELEASE:
    case LINES_AT_LAPSE:
        return f == AT || f == WISH || f == CALL || f == SUB || f == INVOICE
               || f == MONEY || f == BANK || f == TRIED;

    case LINES_AT_AWAIT:
        return f != NUMBER && f != TOLD && f != CARD && f != OLD;

    case LINES_AT_OTHERS:
        return f != SUB && f != NUMBER && f != TOLD && f != CARD && f != OLD
               && f != EARLY;

    default:
        return f != PLACE && f != MOVED && f != OFF && f != EARLY;
    }
}


/* the next of all states that may differ; 0: that was the last */

static int
following(state_t *s, unsigned from)
{
    unsigned  f;

    for (f = FACTS; f-- > from; ) {
        if (matters(s->fact[AT], f) && ++s->fact[f] < facts[f].n) {
            return 1;
        }

        s->fact[f] = 0;
    }

    return 0;
}


static int
stepping(state_t *s)
{
    unsigned  i;

    for (i = 0; i < STRIDE; i++) {
        if (!following(s, 0)) {
            return 0;
        }
    }

    return 1;
}


static void
test_all(void)
{
    size_t            n = 0, bad = 0, differ = 0, asked = 0;
    state_t           s, other;
    unsigned          f, v;
    lines_decision_t  decision, same;

    memset(&s, 0, sizeof(s));

    for (f = 0, n = 1; f < FACTS; f++) {
        n *= facts[f].n;
    }

    marks = calloc(n, 1);
    if (marks == NULL) {
        abort();
    }

    do {
        decision = ask(&s);

        if (decision.action >= LINES_ACTIONS
            || (decision.action == LINES_DO_STUCK && decision.reason == NULL))
        {
            bad++;
        }

        walk(&s, 0);
        asked++;

        for (f = 1; f < FACTS; f++) {
            for (v = matters(s.fact[AT], f) ? facts[f].n : 1;
                 v < facts[f].n;
                 v++)
            {
                other = with(&s, f, v, FACTS, 0);
                same = ask(&other);
                differ += same.action != decision.action
                          || same.reason != decision.reason;
            }
        }

    } while (stepping(&s));

    ok(bad == 0, "an answer to each of %zu states", asked);
    ok(differ == 0, "the rest of %zu are answered as one of these", n);
    ok(unknown == 0, "each action is known here");
    ok(idle == 0, "no action twice in a row without a change between");
    ok(circles == 0, "every way ends, the longest after %u actions", deepest);

    free(marks);
}


/*
 * What is the database's is no fact of its own: it may keep what is decided
 * from being done, and nothing else.
 */

static lines_action_e
based(const state_t *s, lines_base_e base)
{
    lines_view_t  view;

    view_of(s, &view);
    view.base = base;

    return lines_decide(&view).action;
}


/* by action: what is done instead */

static unsigned
bases(lines_action_e instead[LINES_BASES][LINES_ACTIONS])
{
    state_t         s;
    unsigned        b, odd = 0;
    lines_action_e  fine, now;

    memset(&s, 0, sizeof(s));

    for (fine = 0; fine < LINES_ACTIONS; fine++) {
        for (b = 0; b < LINES_BASES; b++) {
            instead[b][fine] = LINES_ACTIONS;
        }
    }

    do {
        fine = based(&s, LINES_BASE_FINE);

        for (b = 0; b < LINES_BASES; b++) {
            now = based(&s, b);

            if (instead[b][fine] != LINES_ACTIONS && instead[b][fine] != now) {
                odd++;
            }

            instead[b][fine] = now;
        }

    } while (stepping(&s));

    return odd;
}


static void
test_bases(void)
{
    unsigned        odd, wrong = 0, done = 0;
    lines_action_e  a, instead[LINES_BASES][LINES_ACTIONS];

    static const lines_action_e  taking[] = {
        LINES_DO_SEND, LINES_DO_VOID, LINES_DO_DELETE, LINES_DO_CREDIT,
        LINES_DO_GIVE
    };

    odd = bases(instead);

    for (a = 0; a < LINES_ACTIONS; a++) {

        if (instead[LINES_BASE_FINE][a] == LINES_ACTIONS) {
            continue;
        }

        if (instead[LINES_BASE_UNSEEN][a] != a
            && instead[LINES_BASE_UNSEEN][a] != LINES_DO_CHECK)
        {
            wrong++;
        }

        if (instead[LINES_BASE_HELD][a] != a
            && instead[LINES_BASE_HELD][a] != LINES_DO_HOLD)
        {
            wrong++;
        }
    }

    for (a = 0; a < sizeof(taking) / sizeof(taking[0]); a++) {
        if (instead[LINES_BASE_UNSEEN][taking[a]] != LINES_DO_CHECK
            || instead[LINES_BASE_HELD][taking[a]] != LINES_DO_HOLD)
        {
            done++;
        }
    }

    ok(odd == 0, "the database makes the same difference everywhere");
    ok(wrong == 0, "... that it is looked at, or waited for");
    ok(done == 0, "nothing is charged or taken away by the word of one that is held");
}


static void
print_base(const char *when, const lines_action_e *instead)
{
    unsigned        n = 0;
    lines_action_e  a;

    for (a = 0; a < LINES_ACTIONS; a++) {
        if (instead[a] != a && instead[a] != LINES_ACTIONS) {
            printf("%s%s", n++ ? ", " : "- ", actions[a]);
        }
    }

    for (a = 0; a < LINES_ACTIONS; a++) {
        if (instead[a] != a && instead[a] != LINES_ACTIONS) {
            printf(", where the database is %s: **%s**\n", when,
                   actions[instead[a]]);
            return;
        }
    }
}


/* of what was paid something is there, or nothing was to be paid */

static int
there(const state_t *s)
{
    return !s->fact[BANK]
           && (s->fact[MONEY] == LINES_MONEY_NONE
               || s->fact[MONEY] == LINES_MONEY_DUE
               || s->fact[MONEY] == LINES_MONEY_FAILED);
}


/* brings somebody nearer to his line */

static int
makes(const state_t *s, lines_action_e action)
{
    switch (s->fact[AT]) {

    case LINES_AT_TELL:
    case LINES_AT_ASSIGN:
    case LINES_AT_INFORM:
    case LINES_AT_CONFIRM:
        return action == LINES_DO_TELL || action == LINES_DO_LEASE
               || action == LINES_DO_ASSIGN || action == LINES_DO_NEXT
               || action == LINES_DO_END;

    default:
        return 0;
    }
}


/* an invoice of what is given up */

static int
gives_back(const state_t *s)
{
    return (s->fact[AT] == LINES_AT_REFUND || s->fact[AT] == LINES_AT_ORPHAN
            || s->fact[AT] == LINES_AT_UNCHARGE)
           && s->fact[SUB] == LINES_SUB_ENDED
           && s->fact[INVOICE] == LINES_INVOICE_PAID;
}


/* what must never be, whatever else is true */

static void
test_rules(void)
{
    state_t           s;
    lines_decision_t  d;
    unsigned          paid = 0, open = 0, live = 0, twice = 0, unpaid = 0;
    unsigned          both = 0, none = 0, uncounted = 0, fought = 0, kept = 0;
    unsigned          nothing = 0, rest = 0, apart = 0;

    memset(&s, 0, sizeof(s));

    do {
        d = ask(&s);

        /* of what a person says: test_said() */

        if (said(&s)) {
            continue;
        }

        if (s.fact[AT] == LINES_AT_AWAIT) {

            if (s.fact[INVOICE] == LINES_INVOICE_PAID
                && d.action != LINES_DO_COUNT
                && d.action != LINES_DO_REPORT
                && d.action != LINES_DO_SETTLE
                && d.action != LINES_DO_LOOK
                && d.action != LINES_DO_STUCK)
            {
                paid++;
            }

            if ((s.fact[INVOICE] == LINES_INVOICE_OPEN
                 || s.fact[INVOICE] == LINES_INVOICE_UNCOLLECTIBLE)
                && (d.action == LINES_DO_END || d.action == LINES_DO_RENEW))
            {
                open++;
            }

            if (s.fact[SUB] != LINES_SUB_ENDED
                && s.fact[SUB] != LINES_SUB_MISSING
                && (d.action == LINES_DO_END || d.action == LINES_DO_RENEW
                    || d.action == LINES_DO_INCLUDE))
            {
                live++;
            }

            if (s.fact[INVOICE] != LINES_INVOICE_MISSING
                && (d.action == LINES_DO_END || d.action == LINES_DO_RENEW))
            {
                kept++;
            }

            if (d.action == LINES_DO_INCLUDE
                || (d.action == LINES_DO_LIST
                    && s.fact[INVOICE] != LINES_INVOICE_VOID
                    && s.fact[INVOICE] != LINES_INVOICE_NONE
                    && s.fact[INVOICE] != LINES_INVOICE_MISSING))
            {
                both++;
            }
        }

        if (s.fact[AT] == LINES_AT_OTHERS) {
            apart += s.fact[INVOICE] != LINES_INVOICE_MISSING
                     && (d.action == LINES_DO_END || d.action == LINES_DO_RENEW
                         || d.action == LINES_DO_INCLUDE);
        }

        if (s.fact[AT] == LINES_AT_AWAIT || s.fact[AT] == LINES_AT_OTHERS) {

            if ((s.fact[PLACE] == LINES_PLACE_TAKEN
                 && (d.action == LINES_DO_RENEW || d.action == LINES_DO_REST))
                || (s.fact[PLACE] != LINES_PLACE_TAKEN
                    && d.action == LINES_DO_INCLUDE))
            {
                none++;
            }
        }

        if ((s.fact[AT] == LINES_AT_SEND || s.fact[AT] == LINES_AT_CHARGE)
            && s.fact[CALL] != LINES_CALL_ABSENT
            && (d.action == LINES_DO_RENEW || d.action == LINES_DO_END))
        {
            twice++;
        }

        if ((d.action == LINES_DO_GIVE || d.action == LINES_DO_CREDIT)
            && s.fact[MONEY] != LINES_MONEY_DUE)
        {
            uncounted++;
        }

        if ((d.action == LINES_DO_GIVE || d.action == LINES_DO_CREDIT)
            && (s.fact[CALL] == LINES_CALL_DOUBTFUL
                || s.fact[CALL] == LINES_CALL_REFUSED))
        {
            fought++;
        }

        if (s.fact[SUB] != LINES_SUB_NONE
            && ((s.fact[AT] == LINES_AT_CONFIRM && d.action == LINES_DO_END)
                || (s.fact[AT] == LINES_AT_TELL && d.action == LINES_DO_END))
            && s.fact[SUB] != LINES_SUB_LIVE
            && s.fact[SUB] != LINES_SUB_OVERDUE)
        {
            unpaid++;
        }

        if (s.fact[INVOICE] == LINES_INVOICE_PAID
            && s.fact[SUB] != LINES_SUB_NONE
            && !there(&s)
            && makes(&s, d.action))
        {
            nothing++;
        }

        if (s.fact[SUB] != LINES_SUB_NONE
            && s.fact[INVOICE] == LINES_INVOICE_UNSEEN
            && makes(&s, d.action))
        {
            nothing++;
        }

        if (s.fact[AT] == LINES_AT_AWAIT
            && d.action == LINES_DO_SETTLE
            && (s.fact[INVOICE] != LINES_INVOICE_PAID
                || s.fact[MONEY] == LINES_MONEY_UNSEEN))
        {
            nothing++;
        }

        if (s.fact[BANK]
            && s.fact[MONEY] == LINES_MONEY_DUE
            && gives_back(&s)
            && (d.action == LINES_DO_PASS || d.action == LINES_DO_END
                || d.action == LINES_DO_NEXT))
        {
            rest++;
        }

    } while (stepping(&s));

    ok(paid == 0, "what is paid for is never given up");
    ok(open == 0, "nothing ends, or begins anew, that can still be paid");
    ok(live == 0, "... or whose subscription lives");
    ok(kept == 0, "... or before all of its invoices were looked at");
    ok(apart == 0, "... and what came in by any of them has gone back");
    ok(both == 0, "nothing is promoted whose invoice can still be paid");
    ok(none == 0, "... nor without a place; with one nobody is asked to pay");
    ok(twice == 0, "no other attempt before this one is proven absent");
    ok(uncounted == 0, "nothing goes back but what was counted and is due");
    ok(fought == 0, "... nor what is doubtful or refused");
    ok(unpaid == 0, "nobody has a line whose subscription does not live");
    ok(nothing == 0, "... nor one that was paid back: it is counted before");
    ok(rest == 0, "what a bank did not take goes back");
}


/*
 * A person's word is the way out of what is stuck: there is one at each point
 * that asks anybody anything, and no call is needed for it.
 */

static void
test_said(void)
{
    state_t           s, other;
    unsigned          i, at, asks = 0, none = 0, both = 0;
    lines_decision_t  d;
    unsigned char     ways[LINES_POINTS][LINES_WISHES];

    memset(&s, 0, sizeof(s));
    memset(ways, 0, sizeof(ways));

    do {
        if (s.fact[WISH] != LINES_WISH_NONE) {
            continue;
        }

        for (i = LINES_WISH_SETTLED; i < LINES_WISHES; i++) {
            other = with(&s, WISH, i, FACTS, 0);
            d = ask(&other);

            /* it says nothing of this: as if it had not been said */

            if (d.action == ask(&s).action && d.reason == ask(&s).reason) {
                continue;
            }

            ways[s.fact[AT]][i] = 1;

            asks += d.action != LINES_DO_END && d.action != LINES_DO_NEXT
                    && d.action != LINES_DO_PASS && d.action != LINES_DO_FAIL
                    && d.action != LINES_DO_REFUSE;
        }

    } while (stepping(&s));

    for (at = 0; at < LINES_POINTS; at++) {
        i = ways[at][LINES_WISH_SETTLED] + ways[at][LINES_WISH_GIVEN_UP];

        /* giving a number back, and the end of an undo, is up to Redis alone */

        none += i == 0 && at != LINES_AT_UNLEASE && at != LINES_AT_UNDONE;
        both += i == 2;
    }

    ok(none == 0, "a person's word is a way out of every point");
    ok(both == 0, "... one word of the two");
    ok(asks == 0, "... for which nobody is asked");
}


/* what a person said of what is stuck is read apart */

static unsigned
read_of(unsigned f)
{
    return f == WISH ? LINES_WISH_SETTLED : facts[f].n;
}


/* all decisions below a prefix of facts, as a number */

static unsigned long
below(state_t *s, unsigned depth)
{
    unsigned          v;
    unsigned long     sum = 5381;
    const char       *p;
    lines_decision_t  d;

    if (depth == ORDER) {
        d = ask(s);
        sum = sum * 33 + d.action;

        for (p = d.reason ? d.reason : ""; *p; p++) {
            sum = sum * 33 + *p;
        }

        return sum;
    }

    if (order[depth] == WISH && said(s)) {
        return below(s, depth + 1);
    }

    for (v = 0; v < read_of(order[depth]); v++) {
        s->fact[order[depth]] = v;
        sum = sum * 1000003 + below(s, depth + 1);
    }

    s->fact[order[depth]] = 0;

    return sum;
}


static void
print(state_t *s, unsigned depth, unsigned indent)
{
    unsigned          v, w, n, f, same, lines;
    unsigned long     sums[8];
    lines_decision_t  d;

    if (depth == ORDER) {
        d = ask(s);
        printf(": **%s**%s%s\n", actions[d.action], d.reason ? " " : "",
               d.reason ? d.reason : "");
        return;
    }

    f = order[depth];
    n = read_of(f);

    if (f == WISH && said(s)) {
        print(s, depth + 1, indent);
        return;
    }

    same = 1;

    for (v = 0; v < n; v++) {
        s->fact[f] = v;
        sums[v] = below(s, depth + 1);
        same = same && sums[v] == sums[0];
    }

    if (same) {
        s->fact[f] = 0;
        print(s, depth + 1, indent);
        return;
    }

    printf("\n");

    for (v = 0; v < n; v++) {

        for (w = 0; w < v && sums[w] != sums[v]; w++) { /* void */ }

        if (w < v) {
            continue;
        }

        printf("%*s- %s ", indent, "", facts[f].name);

        for (w = v, lines = 0; w < n; w++) {
            if (sums[w] == sums[v]) {
                printf("%s%s", lines++ ? ", " : "", facts[f].values[w]);
            }
        }

        s->fact[f] = v;
        print(s, depth + 1, indent + 2);
    }

    s->fact[f] = 0;
}


/* whether a word makes no difference at a point */

static int
unsaid(const state_t *word)
{
    state_t  s, other;

    memset(&s, 0, sizeof(s));
    s.fact[AT] = word->fact[AT];

    do {
        other = with(&s, WISH, word->fact[WISH], FACTS, 0);

        if (s.fact[WISH] == LINES_WISH_NONE
            && (ask(&s).action != ask(&other).action
                || ask(&s).reason != ask(&other).reason))
        {
            return 0;
        }

    } while (following(&s, 1));

    return 1;
}


static void
table(void)
{
    state_t         s;
    unsigned        at, w;
    lines_action_e  instead[LINES_BASES][LINES_ACTIONS];

    for (at = 0; at < LINES_POINTS; at++) {
        memset(&s, 0, sizeof(s));
        s.fact[AT] = at;

        printf("- `%s`", points[at]);
        print(&s, 0, 2);

        memset(&s, 0, sizeof(s));
        s.fact[AT] = at;

        for (w = LINES_WISH_SETTLED; w < LINES_WISHES; w++) {
            s.fact[WISH] = w;

            if (unsaid(&s)) {
                continue;
            }

            printf("  - stuck, and %s", facts[WISH].values[w]);
            print(&s, 0, 4);
        }
    }

    (void) bases(instead);

    print_base("not looked at yet", instead[LINES_BASE_UNSEEN]);
    print_base("held", instead[LINES_BASE_HELD]);
}


int
main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "table") == 0) {
        table();
        return 0;
    }

    test_all();
    test_rules();
    test_said();
    test_bases();

    return done_testing();
}
