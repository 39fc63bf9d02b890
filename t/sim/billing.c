
/*
 * Billing, as far as the engine sees it: Stripe's subscriptions, invoices,
 * payments, refunds, credit notes and idempotency keys, behind the paths and
 * the JSON of its API; and the provisioner.  What is asked and not known here
 * ends the process: add it.
 *
 * The rules are those of the sandbox (t/sandbox).
 *
 * What is there is read by its id at once; lists may show it later (SIM_LAGS).
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <jansson.h>

#include <stdarg.h>
#include <stdio.h>

#include "world.h"


#define PRICE        1500
#define FIRST        (23 * SIM_HOUR)     /* an incomplete one expires */
#define RENEWED      (30 * SIM_HOUR)
#define KEPT         (24 * SIM_HOUR)     /* idempotency keys */
#define FIELDS       32


typedef enum { INCOMPLETE, ACTIVE, PAST_DUE, UNPAID, CANCELED, EXPIRED } sub_e;
typedef enum { OPEN, PAID, VOID, UNCOLLECTIBLE } invoice_e;
typedef enum { REFUND_PENDING, REFUND_DONE, REFUND_FAILED } refund_e;

static const char  *sub_names[] = {
    "incomplete", "active", "past_due", "unpaid", "canceled",
    "incomplete_expired"
};

static const char  *invoice_names[] = {
    "open", "paid", "void", "uncollectible"
};

static const char  *refund_names[] = { "pending", "succeeded", "failed" };


/*
 * Lists, each of a lag of its own, and how long that may be: as long as the
 * engine says that it endures it.
 *
 * What is looked for twice is so 30 s apart (absent), and the first time when
 * it was there, if ever.  Payments that are not listed are waited for, or
 * reported and looked at each hour.  A pass of the auditor's reads what was
 * created ten minutes before the last one began.
 */

typedef enum {
    LISTED_SUBS = 0, LISTED_INVOICES, LISTED_PAYMENTS, LISTED_REFUNDS,
    LISTED_NOTES, LISTED_DISPUTES, LISTED_ALL, LISTS
} listed_e;

static const int64_t  lag_most[LISTS] = {
    [LISTED_SUBS] = 29 * SIM_SECOND,
    [LISTED_INVOICES] = 29 * SIM_SECOND,
    [LISTED_PAYMENTS] = 60 * SIM_SECOND,
    [LISTED_REFUNDS] = 29 * SIM_SECOND,
    [LISTED_NOTES] = 29 * SIM_SECOND,
    [LISTED_DISPUTES] = 29 * SIM_SECOND,
    [LISTED_ALL] = 9 * SIM_MINUTE
};

/* since when it is listed: with what it is of, and in the account's list */

typedef struct {
    int64_t   at;
    int64_t   all;
} listed_t;


typedef struct {
    char      id[24];
    char      card[32];          /* payment method; empty: none */
    int       standard;          /* flag: it is the default one */
    int       declines;          /* flag */
    int       deleted;           /* flag */
    int       base;              /* subscription of its base plan, or -1 */
    int64_t   balance;           /* that it has, and its next invoice takes */
    char      database[64];      /* metadata: the anchor's */
} customer_t;

typedef struct {
    int       customer;
    sub_e     status;
    int       latest;            /* invoice */
    int64_t   created;
    listed_t  listed;
    int64_t   ended;
    int       base;              /* flag: a base plan's */
    char      price[24];
    char      deployment[16];
    char      tenant[24];
    char      line[40];
    char      operation[40];
    char      attempt[8];
} sub_t;

typedef struct {
    int        sub;
    invoice_e  status;
    int64_t    total;
    int64_t    balance;          /* of that, taken from the customer's */
    int64_t    paid;             /* by payments */
    int64_t    credited;         /* by credit notes, after payment */
    int64_t    refunded;         /* of its payments, and did not fail */
    int64_t    bare;             /* of that, without a note */
    int64_t    otherwise;        /* given back to the balance, or outside */
    int64_t    disputed;
    int64_t    created;
    listed_t   listed;
    int64_t    paid_at;
    int64_t    voided_at;
    int64_t    given;            /* back, and billing does not know */
    int64_t    ours;             /* given back by operations */
    int        refuses;          /* flag: refunds of it */
    int        apart;            /* flag: for something besides, by hand */
    int        forgiven;         /* flag: people gave all of it back, of a
                                    line that runs, */
    int        early;            /* flag: or of what no line was there for */
} invoice_t;

typedef struct {
    int        invoice;
    int64_t    amount;
    int64_t    refunded;
    int64_t    created;
    listed_t   listed;
    int        outside;          /* flag: not by card */
    int        disputed;         /* flag */
} payment_t;

typedef struct {
    int        payment;
    int64_t    amount;
    int64_t    created;
    listed_t   listed;
    refund_e   status;
    int        note;             /* or -1 */
} refund_t;

typedef struct {
    int        invoice;
    int64_t    amount;
    int64_t    credit;           /* of it to the balance, */
    int64_t    outside;          /* or out of band */
    int64_t    created;
    listed_t   listed;
} note_t;

typedef struct {
    int        payment;
    int64_t    amount;
    int64_t    created;
    listed_t   listed;
    int        won;
} dispute_t;

typedef struct {
    char      *key;
    char      *print;
    int        status;
    char      *json;
    int64_t    at;
} key_t_;

typedef struct {
    json_t    *json;
    int64_t    at;
} event_t;

typedef struct {
    char       id[40];
    int        refuses;
} told_t;

typedef struct {
    char      *names[FIELDS];
    char      *values[FIELDS];
    int        n;
} form_t;

typedef struct {
    char      *data;
    size_t     len;
    size_t     size;
} text_t_;


#define LIST(type, name)                                                      \
    static type    *name;                                                     \
    static int      n##name, a##name;

LIST(customer_t, customers)
LIST(sub_t, subs)
LIST(invoice_t, invoices)
LIST(payment_t, payments)
LIST(refund_t, refunds)
LIST(note_t, notes)
LIST(dispute_t, disputes)
LIST(key_t_, keys)
LIST(event_t, events)
LIST(told_t, tolds)

static int  nevent;

static uint64_t  lag_random;
static int64_t   lags[LISTS];        /* of this run, at most */
static int64_t   caught_up;          /* when all lists show all */


#define add(name)                                                             \
    (n##name == a##name                                                       \
     ? (a##name = a##name ? a##name * 2 : 64,                                 \
        name = realloc(name, a##name * sizeof(name[0])), (void) 0)            \
     : (void) 0,                                                              \
     memset(&name[n##name], 0, sizeof(name[0])), &name[n##name++])


/* one that is planted here */
#define wrong(what)                                                           \
    (world.wrong && strcmp(world.wrong->name, what) == 0)

static void lags_begin(void);
static listed_t listed(listed_e list);
static void put(text_t_ *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void serve(sim_call_t *call);
static void answer(sim_call_t *call, int status, char *json);
static void copy(char *to, size_t size, const char *from);
static void refuse(sim_call_t *call, int status, const char *type,
    const char *code, const char *param);
static void form_read(form_t *form, const char *text);
static const char *form_get(form_t *form, const char *name);
static void form_free(form_t *form);
static void create_subscription(sim_call_t *call, form_t *form);
static void create_note(sim_call_t *call, form_t *form);
static void create_refund(sim_call_t *call, form_t *form);
static void provision(sim_call_t *call);
static void announce(const char *type, char *object);
static void pay_part(int i, int64_t amount, int outside);
static char *sub_json(int i, int expand);
static char *invoice_json(int i);


void
sim_billing_begin(void)
{
    ncustomers = nsubs = ninvoices = npayments = nrefunds = nnotes = 0;
    nkeys = nevents = ntolds = ndisputes = nevent = 0;

    lags_begin();
}


/* drawn from a stream of their own: who is without them has the same course */

static void
lags_begin(void)
{
    int  i;

    lag_random = ~world.seed;
    caught_up = 0;

    for (i = 0; i < LISTS; i++) {
        lags[i] = 0;

        if (!(world.may & SIM_LAGS) || sim_draw(&lag_random, 2)) {
            continue;
        }

        lags[i] = sim_draw(&lag_random, 2) ? lag_most[i]
                                           : ngx_min(lag_most[i],
                                                     5 * SIM_SECOND);
    }

    /* ten minutes by a clock that is off are none */

    if (world.may & SIM_CLOCKS) {
        lags[LISTED_ALL] = 0;
    }
}


static int64_t
lag_of(listed_e list)
{
    return lags[list] == 0 || sim_draw(&lag_random, 2) == 0
           ? 0 : (int64_t) sim_draw(&lag_random, lags[list]);
}


/* what has just come to be there */

static listed_t
listed(listed_e list)
{
    listed_t  listed;

    listed.at = world.now + lag_of(list);
    listed.all = ngx_max(listed.at, world.now + lag_of(LISTED_ALL));

    caught_up = ngx_max(caught_up, listed.all);

    return listed;
}


int64_t
sim_billing_caught_up(void)
{
    return caught_up;
}


void
sim_billing_end(void)
{
    int  i;

    for (i = 0; i < nkeys; i++) {
        free(keys[i].key);
        free(keys[i].print);
        free(keys[i].json);
    }

    for (i = 0; i < nevents; i++) {
        json_decref(events[i].json);
    }

    nkeys = nevents = 0;
}


static void
put(text_t_ *t, const char *fmt, ...)
{
    int      n;
    va_list  args;

    n = 0;

    for ( ;; ) {

        if (t->len + n >= t->size) {
            t->size = t->size * 2 + n + 1024;
            t->data = realloc(t->data, t->size);

            if (t->data == NULL) {
                abort();
            }
        }

        va_start(args, fmt);
        n = vsnprintf(t->data + t->len, t->size - t->len, fmt, args);
        va_end(args);

        if (t->len + n < t->size) {
            t->len += n;
            return;
        }
    }
}


/* its number: "sub_12" is 12; -1: there is none */

static int
number(const char *id, const char *prefix, int n)
{
    int     i;
    char   *end;
    size_t  len;

    len = strlen(prefix);

    if (id == NULL || strncmp(id, prefix, len) != 0) {
        return -1;
    }

    i = strtol(id + len, &end, 10);

    return *end == '\0' && i >= 0 && i < n ? i : -1;
}


static int
find_customer(const char *id)
{
    int  i;

    for (i = 0; i < ncustomers; i++) {
        if (id && strcmp(customers[i].id, id) == 0) {
            return i;
        }
    }

    return -1;
}


/* one call, with its key, and what the way there makes of it */

void
sim_billing_serve(sim_call_t *call)
{
    int       i;
    char     *print;
    size_t    len;
    key_t_   *key;

    call->replayed = 0;
    call->should_retry = -1;

    if (strncmp(call->path, "/p/", 3) == 0) {
        provision(call);
        return;
    }

    /* it did not come so far */

    if (call->fails && (!call->saves || call->key[0] == '\0')) {
        i = call->fails;
        refuse(call, i, i == 429 ? "invalid_request_error" : "api_error",
               i == 429 ? "rate_limit" : i == 409 ? "lock_timeout" : "", "");
        return;
    }

    if (call->method != NGX_HTTP_POST) {
        serve(call);

        if (call->spoils) {
            refuse(call, 500, "api_error", "", "");
        }

        return;
    }

    if (call->key[0] == '\0') {
        fprintf(stderr, "a POST without a key: %s\n", call->path);
        abort();
    }

    len = strlen(call->path) + strlen(call->body) + 2;
    print = malloc(len);
    if (print == NULL) {
        abort();
    }

    snprintf(print, len, "%s?%s", call->path, call->body);

    for (i = nkeys - 1; i >= 0; i--) {
        key = &keys[i];

        if (strcmp(key->key, call->key) != 0 || key->at + KEPT <= world.now) {
            continue;
        }

        if (strcmp(key->print, print) != 0) {
            refuse(call, 400, "idempotency_error", "", "");

        } else {
            answer(call, key->status, strdup(key->json));
            call->replayed = !(world.may & SIM_LAGS)
                             || sim_draw(&lag_random, 3) != 0;

            if (key->status >= 500) {
                call->should_retry = 0;
            }
        }

        free(print);
        return;
    }

    if (call->fails) {
        refuse(call, call->fails, "api_error", "", "");

    } else {
        serve(call);
    }

    key = add(keys);

    key->key = strdup(call->key);
    key->print = print;
    key->at = world.now;

    if (wrong("keys")) {
        key->at = -KEPT;
    }

    if (call->spoils && call->saves) {
        refuse(call, 500, "api_error", "", "");
    }

    key->status = call->status;
    key->json = strdup(call->json);

    if (call->spoils) {
        refuse(call, 500, "api_error", "", "");
    }
}


static void
answer(sim_call_t *call, int status, char *json)
{
    if (json == NULL) {
        abort();
    }

    free(call->json);

    call->status = status;
    call->json = json;
}


static void
refuse(sim_call_t *call, int status, const char *type, const char *code,
    const char *param)
{
    text_t_  t = { NULL, 0, 0 };

    put(&t, "{\"error\":{\"type\":\"%s\"", type);

    if (*code) {
        put(&t, ",\"code\":\"%s\"", code);
    }

    if (*param) {
        put(&t, ",\"param\":\"%s\"", param);
    }

    put(&t, ",\"message\":\"no\"}}");

    answer(call, status, t.data);
}


static void
missing(sim_call_t *call, int status, const char *param)
{
    refuse(call, status, "invalid_request_error", "resource_missing", param);
}


static char *
sub_json(int i, int expand)
{
    char     *invoice;
    sub_t    *s = &subs[i];
    text_t_   t = { NULL, 0, 0 };

    put(&t, "{\"id\":\"sub_%d\",\"object\":\"subscription\",\"status\":\"%s\","
        "\"customer\":\"%s\",\"livemode\":false,\"created\":%lld,"
        "\"ended_at\":%lld,\"items\":{\"data\":[{\"price\":{\"id\":\"%s\"}}]},"
        "\"metadata\":{",
        i, sub_names[s->status], customers[s->customer].id,
        (long long) (s->created / SIM_SECOND),
        (long long) (s->ended / SIM_SECOND), s->price);

    if (s->deployment[0]) {
        put(&t, "\"lines_deployment\":\"%s\",\"tenant\":\"%s\"",
            s->deployment, s->tenant);

        if (s->line[0]) {
            put(&t, ",\"line_request\":\"%s\"", s->line);
        }

        if (s->operation[0]) {
            put(&t, ",\"operation\":\"%s\"", s->operation);
        }

        put(&t, ",\"attempt\":\"%s\"", s->attempt);
    }

    if (expand) {
        invoice = invoice_json(s->latest);
        put(&t, "},\"latest_invoice\":%s}", invoice);
        free(invoice);

    } else if (wrong("latest")) {
        put(&t, "}}");

    } else {
        put(&t, "},\"latest_invoice\":\"in_%d\"}", s->latest);
    }

    return t.data;
}


static int64_t
remaining(invoice_t *v)
{
    return v->status == PAID ? 0 : v->total - v->balance - v->paid;
}


static char *
invoice_json(int i)
{
    int         j, first;
    sub_t      *s;
    int64_t     paid;
    invoice_t  *v = &invoices[i];
    text_t_     t = { NULL, 0, 0 };

    s = &subs[v->sub];

    for (first = 1, j = 0; j < i; j++) {
        first &= invoices[j].sub != v->sub;
    }

    paid = v->paid;

    for (j = 1; wrong("payments") && j < npayments; j++) {
        if (payments[j].invoice == i && payments[j - 1].invoice == i) {
            paid -= payments[j].amount;
        }
    }

    put(&t, "{\"id\":\"in_%d\",\"object\":\"invoice\",\"status\":\"%s\","
        "\"customer\":\"%s\",\"livemode\":false,\"created\":%lld,"
        "\"currency\":\"usd\",\"billing_reason\":\"%s\","
        "\"total\":%lld,\"amount_due\":%lld,\"amount_paid\":%lld,"
        "\"amount_remaining\":%lld,\"amount_overpaid\":0,"
        "\"pre_payment_credit_notes_amount\":0,"
        "\"post_payment_credit_notes_amount\":%lld,\"starting_balance\":%lld,"
        "\"ending_balance\":0,"
        "\"status_transitions\":{\"paid_at\":%lld,\"voided_at\":%lld},"
        "\"hosted_invoice_url\":\"https://pay/in_%d\","
        "\"parent\":{\"subscription_details\":{\"subscription\":\"sub_%d\","
        "\"metadata\":{", i, invoice_names[v->status],
        customers[s->customer].id, (long long) (v->created / SIM_SECOND),
        first ? "subscription_create" : "subscription_cycle",
        (long long) v->total, (long long) (v->total - v->balance),
        (long long) paid, (long long) remaining(v),
        (long long) v->credited, (long long) -v->balance, (long long) (v->paid_at / SIM_SECOND),
        (long long) (v->voided_at / SIM_SECOND), i,
        v->sub);

    if (s->deployment[0]) {
        put(&t, "\"lines_deployment\":\"%s\",\"tenant\":\"%s\"",
            s->deployment, s->tenant);

        if (s->line[0]) {
            put(&t, ",\"line_request\":\"%s\"", s->line);
        }

        if (s->operation[0]) {
            put(&t, ",\"operation\":\"%s\"", s->operation);
        }

        put(&t, ",\"attempt\":\"%s\"", s->attempt);
    }

    put(&t, "}}}}");

    return t.data;
}


static char *
note_json(int i)
{
    int       r, listed;
    note_t   *n = &notes[i];
    text_t_   t = { NULL, 0, 0 };

    put(&t, "{\"id\":\"cn_%d\",\"object\":\"credit_note\",\"status\":"
        "\"issued\",\"invoice\":\"in_%d\",\"amount\":%lld,\"total\":%lld,"
        "\"livemode\":false,\"currency\":\"usd\",\"created\":%lld,"
        "\"pre_payment_amount\":0,\"out_of_band_amount\":%lld,"
        "\"post_payment_amount\":%lld,\"refunds\":[", i, n->invoice,
        (long long) n->amount, (long long) n->amount,
        (long long) (n->created / SIM_SECOND), (long long) n->outside,
        (long long) n->amount);

    for (listed = 0, r = 0; r < nrefunds; r++) {
        if (refunds[r].note == i) {
            put(&t, "%s{\"amount_refunded\":%lld,\"refund\":\"re_%d\"}",
                listed++ ? "," : "", (long long) refunds[r].amount, r);
        }
    }

    put(&t, "]");

    if (n->credit) {
        put(&t, ",\"customer_balance_transaction\":{\"id\":\"cbtxn_%d\","
            "\"object\":\"customer_balance_transaction\","
            "\"amount\":%lld}", i, (long long) -n->credit);
    }

    put(&t, "}");

    return t.data;
}


static char *
refund_json(int i)
{
    refund_t  *r = &refunds[i];
    text_t_    t = { NULL, 0, 0 };

    put(&t, "{\"id\":\"re_%d\",\"object\":\"refund\",\"status\":\"%s\","
        "\"amount\":%lld,\"currency\":\"usd\",\"charge\":\"ch_%d\","
        "\"payment_intent\":\"pi_%d\",\"created\":%lld,\"livemode\":false}",
        i, refund_names[r->status], (long long) r->amount, r->payment,
        r->payment, (long long) (r->created / SIM_SECOND));

    return t.data;
}


static char *
payment_json(int i)
{
    payment_t  *p = &payments[i];
    text_t_     t = { NULL, 0, 0 };

    put(&t, "{\"id\":\"inpay_%d\",\"object\":\"invoice_payment\","
        "\"status\":\"paid\",\"invoice\":\"in_%d\",\"amount_paid\":%lld,"
        "\"amount_requested\":%lld,\"is_default\":false,\"livemode\":false,"
        "\"currency\":\"usd\",\"payment\":", i, p->invoice,
        (long long) p->amount, (long long) p->amount);

    if (p->outside) {
        put(&t, "{\"type\":\"payment_record\",\"payment_record\":"
            "\"pr_%d\"}}", i);
    } else {
        put(&t, "{\"type\":\"payment_intent\",\"payment_intent\":"
            "\"pi_%d\"}}", i);
    }

    return t.data;
}


static char *
dispute_json(int i)
{
    text_t_     t = { NULL, 0, 0 };
    dispute_t  *d = &disputes[i];

    put(&t, "{\"id\":\"dp_%d\",\"object\":\"dispute\",\"status\":"
        "\"%s\",\"amount\":%lld,\"currency\":\"usd\","
        "\"charge\":\"ch_%d\",\"payment_intent\":\"pi_%d\","
        "\"created\":%lld,\"livemode\":false}", i,
        d->won ? "won" : "needs_response", (long long) d->amount,
        d->payment, d->payment, (long long) (d->created / SIM_SECOND));

    return t.data;
}


/* a page, the newest first, of those that are wanted */

static void
list(sim_call_t *call, form_t *form, const char *prefix, int n,
    int (*wanted)(form_t *form, int i), char *(*json)(int i))
{
    int          i, limit, found;
    char        *one;
    text_t_      t = { NULL, 0, 0 };
    const char  *value;

    value = form_get(form, "limit");
    limit = value ? atoi(value) : 10;

    i = n - 1;
    value = form_get(form, "starting_after");

    if (value) {
        i = number(value, prefix, n) - 1;

        if (i < -1) {
            missing(call, 400, "starting_after");
            return;
        }
    }

    put(&t, "{\"object\":\"list\",\"data\":[");

    for (found = 0; i >= 0 && found <= limit; i--) {

        if (!wanted(form, i) || found++ == limit) {
            continue;
        }

        one = json(i);
        put(&t, "%s%s", found == 1 ? "" : ",", one);
        free(one);
    }

    put(&t, "],\"has_more\":%s}", found > limit ? "true" : "false");

    answer(call, 200, t.data);
}


static char *
sub_page(int i)
{
    return sub_json(i, 0);
}


/* in whole seconds, as billing counts */

static int
since(form_t *form, int64_t created)
{
    const char  *value;

    value = form_get(form, "created[gte]");

    return value == NULL || created / SIM_SECOND >= atoll(value);
}


static int
sub_wanted(form_t *form, int i)
{
    const char  *price, *status;

    price = form_get(form, "price");
    status = form_get(form, "status");

    /* without a customer: all that have not ended, or all that have */

    if (form_get(form, "customer") == NULL) {

        if (subs[i].listed.all > world.now) {
            return 0;
        }

        return status == NULL ? subs[i].status != CANCELED
               : strcmp(status, "ended") == 0 && subs[i].status >= CANCELED
                 && since(form, subs[i].created);
    }

    if (status == NULL || strcmp(status, "all") != 0) {
        fprintf(stderr, "subscriptions of the status %s\n", status);
        abort();
    }

    return subs[i].listed.at <= world.now
           && since(form, subs[i].created)
           && subs[i].customer == find_customer(form_get(form, "customer"))
           && (price == NULL || strcmp(price, subs[i].price) == 0);
}


static int
invoice_wanted(form_t *form, int i)
{
    return invoices[i].listed.at <= world.now
           && since(form, invoices[i].created)
           && invoices[i].sub == number(form_get(form, "subscription"), "sub_",
                                        nsubs);
}


/* what went back of it is not told */

static int
hidden(int invoice)
{
    return wrong("given") && invoices[invoice].early;
}


static int
note_wanted(form_t *form, int i)
{
    const char  *value;

    value = form_get(form, "invoice");

    return !hidden(notes[i].invoice) && since(form, notes[i].created)
           && (value ? notes[i].listed.at : notes[i].listed.all) <= world.now
           && (value == NULL
               || notes[i].invoice == number(value, "in_", ninvoices));
}


static int
payment_of(form_t *form, const char *intent, const char *charge)
{
    const char  *value;

    value = form_get(form, intent);

    return value ? number(value, "pi_", npayments)
                 : number(form_get(form, charge), "ch_", npayments);
}


/* of a payment, or all that there are */

static int
of_wanted(form_t *form, int payment, int64_t created, listed_t *listed)
{
    if (form_get(form, "payment_intent") == NULL
        && form_get(form, "charge") == NULL)
    {
        return listed->all <= world.now && since(form, created);
    }

    return listed->at <= world.now && since(form, created)
           && payment == payment_of(form, "payment_intent", "charge");
}


static int
refund_wanted(form_t *form, int i)
{
    return !hidden(payments[refunds[i].payment].invoice)
           && of_wanted(form, refunds[i].payment, refunds[i].created,
                        &refunds[i].listed);
}


static int
dispute_wanted(form_t *form, int i)
{
    return of_wanted(form, disputes[i].payment, disputes[i].created,
                     &disputes[i].listed);
}


static int
payment_wanted(form_t *form, int i)
{
    const char  *value;

    value = form_get(form, "invoice");

    if (payments[i].listed.at > world.now) {
        return 0;
    }

    if (wrong("payments") && i && payments[i - 1].invoice
                                  == payments[i].invoice)
    {
        return 0;
    }

    return value ? payments[i].invoice == number(value, "in_", ninvoices)
                 : i == payment_of(form, "payment[payment_intent]",
                                   "payment[charge]");
}


static void
sub_event(int i, const char *type)
{
    announce(type, sub_json(i, 0));
}


static void
invoice_event(int i, const char *type)
{
    announce(type, invoice_json(i));
}


/* what its customer has is taken first; nothing may be left to pay */

static int
new_invoice(int sub, int apart)
{
    int         i;
    invoice_t  *v, *last;
    customer_t *c = &customers[subs[sub].customer];

    v = add(invoices);
    i = ninvoices - 1;
    v->sub = sub;
    v->status = OPEN;
    v->apart = apart;
    v->total = PRICE;
    v->balance = ngx_min(c->balance, v->total);
    v->created = world.now;
    v->listed = listed(LISTED_INVOICES);

    /* only the latest is known otherwise: what is paid apart is none */

    last = &invoices[apart ? i : subs[sub].latest];

    if (last->sub == sub && last->listed.at > world.now
        && (apart || last != v))
    {
        last->listed.at = world.now;
    }

    c->balance -= v->balance;
    subs[sub].latest = i;

    if (remaining(v) == 0) {
        sim_trace("billing: in_%d is paid from the balance", i);
        pay_part(i, 0, 0);
    }

    return i;
}


/* what its invoices make of a subscription that is not ended */

static void
pay_part(int i, int64_t amount, int outside)
{
    sub_t      *s;
    invoice_t  *v = &invoices[i];
    payment_t  *p;

    if (amount) {
        p = add(payments);
        p->invoice = i;
        p->amount = amount;
        p->outside = outside;
        p->created = world.now;
        p->listed = listed(LISTED_PAYMENTS);
        v->paid += amount;
    }

    if (remaining(v)) {
        return;
    }

    v->status = PAID;
    v->paid_at = world.now;

    s = &subs[v->sub];

    invoice_event(i, "invoice.paid");

    if (!v->apart
        && (s->status == INCOMPLETE || s->status == PAST_DUE
            || s->status == UNPAID))
    {
        s->status = ACTIVE;
        sub_event(v->sub, "customer.subscription.updated");
    }
}


static void
pay(int i)
{
    if (invoices[i].status != PAID) {
        pay_part(i, remaining(&invoices[i]), 0);
    }
}


static void
void_invoice(int i)
{
    customers[subs[invoices[i].sub].customer].balance += invoices[i].balance;

    invoices[i].status = VOID;
    invoices[i].voided_at = world.now;
    invoice_event(i, "invoice.voided");
}


static void
cancel(int i)
{
    subs[i].status = CANCELED;
    subs[i].ended = world.now;
    sub_event(i, "customer.subscription.deleted");
}


static void
serve(sim_call_t *call)
{
    int          i;
    char        *path, *end, *json;
    form_t       form, query;
    text_t_      t = { NULL, 0, 0 };
    const char  *tail;

    path = call->path + 3;

    form_read(&form, call->body);
    form_read(&query, call->args);

#define is(m, p)  (call->method == NGX_HTTP_##m && strcmp(path, p) == 0)
#define below(m, p)                                                           \
    (call->method == NGX_HTTP_##m && strncmp(path, p, strlen(p)) == 0)

    if (is(POST, "v1/subscriptions")) {
        create_subscription(call, &form);

    } else if (is(GET, "v1/subscriptions")) {

        tail = form_get(&query, "customer");

        i = find_customer(tail);

        if (tail && (i == -1 || customers[i].deleted)) {
            missing(call, 400, "customer");

        } else {
            list(call, &query, "sub_", nsubs, sub_wanted, sub_page);
        }

    } else if (below(GET, "v1/subscriptions/")) {
        i = number(path + strlen("v1/subscriptions/"), "sub_", nsubs);

        if (i == -1) {
            missing(call, 404, "id");
        } else {
            answer(call, 200, sub_json(i, strstr(call->args, "latest_invoice")
                                          != NULL));
        }

    } else if (below(DELETE, "v1/subscriptions/")) {
        i = number(path + strlen("v1/subscriptions/"), "sub_", nsubs);

        if (i == -1 || subs[i].status >= CANCELED) {
            missing(call, 404, "id");

        } else {
            cancel(i);
            answer(call, 200, sub_json(i, 0));
        }

    } else if (is(GET, "v1/invoices")) {
        list(call, &query, "in_", ninvoices, invoice_wanted, invoice_json);

    } else if (below(GET, "v1/invoices/")) {
        i = number(path + strlen("v1/invoices/"), "in_", ninvoices);

        if (i == -1) {
            missing(call, 404, "id");
        } else {
            answer(call, 200, invoice_json(i));
        }

    } else if (below(POST, "v1/invoices/")) {
        path += strlen("v1/invoices/");
        end = strchr(path, '/');

        if (end == NULL || strcmp(end, "/void") != 0) {
            goto unknown;
        }

        *end = '\0';
        i = number(path, "in_", ninvoices);
        *end = '/';

        if (i == -1) {
            missing(call, 404, "id");

        } else if (invoices[i].status != OPEN
                   && invoices[i].status != UNCOLLECTIBLE)
        {
            refuse(call, 400, "invalid_request_error", "", "");

        } else {
            void_invoice(i);
            answer(call, 200, invoice_json(i));
        }

    } else if (below(GET, "v1/customers/")) {
        path += strlen("v1/customers/");
        tail = strchr(path, '/');

        if (tail) {
            json = strndup(path, tail - path);
            i = find_customer(json);
            free(json);

        } else {
            i = find_customer(path);
        }

        if (i == -1) {
            missing(call, 404, "id");

        } else if (customers[i].deleted && tail) {
            missing(call, 404, "id");

        } else if (customers[i].deleted) {
            put(&t, "{\"id\":\"%s\",\"object\":\"customer\","
                "\"deleted\":true}", customers[i].id);
            answer(call, 200, t.data);

        } else if (tail == NULL) {
            put(&t, "{\"id\":\"%s\",\"object\":\"customer\",\"livemode\":false,"
                "\"invoice_settings\":{\"default_payment_method\":",
                customers[i].id);

            if (customers[i].card[0] && customers[i].standard) {
                put(&t, "\"%s\"}", customers[i].card);
            } else {
                put(&t, "null}");
            }

            put(&t, ",\"metadata\":{\"lines_database\":\"%s\"}}",
                customers[i].database);

            answer(call, 200, t.data);

        } else if (strcmp(tail, "/payment_methods") == 0) {
            put(&t, "{\"object\":\"list\",\"data\":[");

            if (customers[i].card[0]) {
                put(&t, "{\"id\":\"%s\",\"object\":\"payment_method\"}",
                    customers[i].card);
            }

            put(&t, "],\"has_more\":false}");
            answer(call, 200, t.data);

        } else {
            goto unknown;
        }

    } else if (below(POST, "v1/customers/")) {
        i = find_customer(path + strlen("v1/customers/"));

        if (i == -1) {
            missing(call, 404, "id");

        } else {
            copy(customers[i].database, sizeof(customers[i].database),
                 form_get(&form, "metadata[lines_database]"));
            put(&t, "{\"id\":\"%s\",\"object\":\"customer\","
                "\"livemode\":false,\"metadata\":{\"lines_database\":"
                "\"%s\"}}", customers[i].id, customers[i].database);
            answer(call, 200, t.data);
        }

    } else if (is(POST, "v1/credit_notes")) {
        create_note(call, &form);

    } else if (is(GET, "v1/credit_notes")) {
        list(call, &query, "cn_", nnotes, note_wanted, note_json);

    } else if (is(POST, "v1/refunds")) {
        create_refund(call, &form);

    } else if (is(GET, "v1/refunds")) {
        list(call, &query, "re_", nrefunds, refund_wanted, refund_json);

    } else if (is(GET, "v1/disputes")) {
        list(call, &query, "dp_", ndisputes, dispute_wanted, dispute_json);

    } else if (is(GET, "v1/invoice_payments")) {
        list(call, &query, "inpay_", npayments, payment_wanted, payment_json);

    } else {
unknown:
        fprintf(stderr, "the model of billing does not know %s?%s\n",
                call->path, call->args);
        abort();
    }

    form_free(&form);
    form_free(&query);
}


static void
copy(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from ? from : "");
}


static void
create_subscription(sim_call_t *call, form_t *form)
{
    int          i, c, now;
    sub_t       *s;
    char        *json;
    const char  *behavior, *method;

    c = find_customer(form_get(form, "customer"));

    if (c == -1 || customers[c].deleted) {
        missing(call, 400, "customer");
        return;
    }

    behavior = form_get(form, "payment_behavior");
    method = form_get(form, "default_payment_method");

    if (method && strcmp(customers[c].card, method) != 0) {
        missing(call, 400, "default_payment_method");
        return;
    }

    now = strcmp(behavior, "error_if_incomplete") == 0;

    if (now && customers[c].declines && customers[c].balance < PRICE) {
        refuse(call, 402, "card_error", "card_declined", "");
        return;
    }

    /* for reasons of its own */

    if (!now && customers[c].declines && sim_one_in(3)) {
        refuse(call, 400, "invalid_request_error", "", "");
        return;
    }

    s = add(subs);
    i = nsubs - 1;

    s->customer = c;
    s->status = INCOMPLETE;
    s->created = world.now;
    s->listed = listed(LISTED_SUBS);

    copy(s->price, sizeof(s->price), form_get(form, "items[0][price]"));
    copy(s->deployment, sizeof(s->deployment),
         form_get(form, "metadata[lines_deployment]"));
    copy(s->tenant, sizeof(s->tenant), form_get(form, "metadata[tenant]"));
    copy(s->line, sizeof(s->line), form_get(form, "metadata[line_request]"));
    copy(s->operation, sizeof(s->operation),
         form_get(form, "metadata[operation]"));
    copy(s->attempt, sizeof(s->attempt), form_get(form, "metadata[attempt]"));

    /* at most one at a time for a line or a purchase */

    for (c = 0; c < i; c++) {
        if (subs[c].status < CANCELED
            && strcmp(subs[c].tenant, s->tenant) == 0
            && strcmp(subs[c].line, s->line) == 0
            && strcmp(subs[c].operation, s->operation) == 0
            && s->deployment[0])
        {
            sim_found("double", "sub_%d (%s) and sub_%d of %s %s%s", c,
                      sub_names[subs[c].status], i, s->tenant, s->line,
                      s->operation);
        }
    }

    new_invoice(i, 0);

    sub_event(i, "customer.subscription.created");

    if (now) {
        pay(s->latest);
        s = &subs[i];
    }

    json = sub_json(i, form_get(form, "expand[0]") != NULL);

    answer(call, 200, json);
}


/* some of what a payment brought goes back */

static void
refund(int payment, int64_t amount, int note)
{
    refund_t   *r;
    invoice_t  *v = &invoices[payments[payment].invoice];

    r = add(refunds);
    r->payment = payment;
    r->amount = amount;
    r->created = world.now;
    r->listed = listed(LISTED_REFUNDS);
    r->status = REFUND_DONE;
    r->note = note;

    payments[payment].refunded += amount;
    v->refunded += amount;
    v->bare += note == -1 ? amount : 0;
}


/* what is left of its payments by card */

static int64_t
refundable(int invoice)
{
    int      i;
    int64_t  left;

    for (left = 0, i = 0; i < npayments; i++) {
        if (payments[i].invoice == invoice && !payments[i].outside) {
            left += payments[i].amount - payments[i].refunded;
        }
    }

    return left;
}


/* to the cards, the balance, or outside; 0: more than there is */

static int
credit(int invoice, int64_t back, int64_t balance, int64_t outside)
{
    int         i;
    int64_t     part;
    note_t     *n;
    invoice_t  *v = &invoices[invoice];

    /* what was refunded without a note counts as well; v->refunded has both */

    if (v->status != PAID
        || back + balance + outside <= 0
        || back + balance + outside
           > v->paid + v->balance - v->credited - v->bare
        || back > refundable(invoice))
    {
        return 0;
    }

    n = add(notes);
    n->invoice = invoice;
    n->amount = back + balance + outside;
    n->credit = balance;
    n->outside = outside;
    n->created = world.now;
    n->listed = listed(LISTED_NOTES);

    v->credited += n->amount;
    v->otherwise += balance + outside;
    customers[subs[v->sub].customer].balance += balance;

    for (i = 0; i < npayments && back; i++) {
        if (payments[i].invoice == invoice && !payments[i].outside) {
            part = ngx_min(back, payments[i].amount - payments[i].refunded);

            if (part) {
                refund(i, part, nnotes - 1);
                back -= part;
            }
        }
    }

    return 1;
}


static void
create_note(sim_call_t *call, form_t *form)
{
    int          i;
    int64_t      amount, back, balance, outside;
    const char  *value;

    i = number(form_get(form, "invoice"), "in_", ninvoices);

    if (i == -1) {
        missing(call, 400, "invoice");
        return;
    }

#define amount_of(name)                                                       \
    ((value = form_get(form, name)) ? atoll(value) : 0)

    amount = amount_of("amount");
    back = amount_of("refund_amount");
    balance = amount_of("credit_amount");
    outside = amount_of("out_of_band_amount");

    if (back && invoices[i].disputed) {
        refuse(call, 400, "invalid_request_error", "charge_disputed", "");
        return;
    }

    if (back && invoices[i].refuses) {
        refuse(call, 400, "invalid_request_error", "charge_not_refundable", "");
        return;
    }

    if ((amount && amount != back + balance + outside)
        || !credit(i, back, balance, outside))
    {
        refuse(call, 400, "invalid_request_error", "", "amount");
        return;
    }

    invoices[i].ours += back + balance + outside;

    answer(call, 200, note_json(nnotes - 1));
}


static void
create_refund(sim_call_t *call, form_t *form)
{
    int          i;
    int64_t      amount, left;
    const char  *value;

    i = payment_of(form, "payment_intent", "charge");

    if (i == -1) {
        missing(call, 400, "payment_intent");
        return;
    }

    if (payments[i].disputed) {
        refuse(call, 400, "invalid_request_error", "charge_disputed", "");
        return;
    }

    if (invoices[payments[i].invoice].refuses) {
        refuse(call, 400, "invalid_request_error", "charge_not_refundable", "");
        return;
    }

    value = form_get(form, "amount");
    left = payments[i].amount - payments[i].refunded;
    amount = value ? atoll(value) : left;

    if (amount <= 0 || amount > left) {
        refuse(call, 400, "invalid_request_error", "charge_already_refunded",
               "");
        return;
    }

    refund(i, amount, -1);

    invoices[payments[i].invoice].ours += amount;

    answer(call, 200, refund_json(nrefunds - 1));
}


/* what it took once it has taken, what it refused it goes on to refuse */

static void
provision(sim_call_t *call)
{
    int      i;
    json_t  *json;

    if (call->fails) {
        answer(call, call->fails, strdup("{}"));
        return;
    }

    for (i = 0; i < ntolds; i++) {
        if (strcmp(tolds[i].id, call->key) == 0) {
            break;
        }
    }

    if (i == ntolds) {
        (void) add(tolds);
        copy(tolds[i].id, sizeof(tolds[i].id), call->key);
        tolds[i].refuses = sim_one_in(8);

        json = json_loads(call->body, 0, NULL);

        if (json == NULL) {
            sim_found("provisioner", "was told: %s", call->body);

        } else if (!tolds[i].refuses && json_object_get(json, "_id")) {
            sim_people_provisioned(
                json_string_value(json_object_get(json, "workspaceId")),
                json_string_value(json_object_get(json, "_id")));
        }

        json_decref(json);
    }

    answer(call, call->spoils ? 500 : tolds[i].refuses ? 422 : 200,
           strdup("{}"));
}


static void
announce(const char *type, char *object)
{
    event_t  *e;
    text_t_   t = { NULL, 0, 0 };

    if (world.may & SIM_SILENCE && !world.quiet) {
        free(object);
        return;
    }

    put(&t, "{\"id\":\"evt_%d\",\"object\":\"event\",\"type\":\"%s\","
        "\"livemode\":false,\"created\":%lld,\"data\":{\"object\":%s}}",
        nevent++, type, (long long) (world.now / SIM_SECOND), object);

    e = add(events);
    e->json = json_loads(t.data, 0, NULL);
    e->at = world.now + (int64_t) sim_random(
                (world.may & SIM_EVENTS) && sim_one_in(6) ? SIM_HOUR
                                                          : 2 * SIM_SECOND);

    if (e->json == NULL) {
        fprintf(stderr, "%s\n", t.data);
        abort();
    }

    if ((world.may & SIM_EVENTS) && sim_one_in(8)) {
        nevents++;

        if (nevents > aevents) {
            nevents--;

        } else {
            events[nevents - 1] = events[nevents - 2];
            events[nevents - 1].at += (int64_t) sim_random(SIM_MINUTE);
            json_incref(events[nevents - 1].json);
        }
    }

    free(t.data);
    free(object);
}


int64_t
sim_event_due(void)
{
    int      i;
    int64_t  due;

    due = 0;

    for (i = 0; i < nevents; i++) {
        if (due == 0 || events[i].at < due) {
            due = events[i].at;
        }
    }

    return due;
}


json_t *
sim_event_take(void)
{
    int      i, first;
    json_t  *json;

    first = nevents ? (int) sim_random(nevents) : 0;

    for (i = 0; i < nevents; i++) {
        first = (first + 1) % nevents;

        if (events[first].at <= world.now) {
            json = events[first].json;
            events[first] = events[--nevents];

            return json;
        }
    }

    return NULL;
}


/* it was not taken: once more, later */

void
sim_event_again(json_t *json)
{
    event_t  *e;

    e = add(events);
    e->json = json;
    e->at = world.now + SIM_SECOND + (int64_t) sim_random(SIM_MINUTE);
}


void
sim_billing_dunned(void)
{
    int  i;

    for (i = 0; i < nsubs; i++) {
        if (subs[i].status == PAST_DUE || subs[i].status == UNPAID) {
            sim_trace("billing: sub_%d is canceled for want of payment", i);
            cancel(i);
        }
    }
}


void
sim_billing_announce(void)
{
    int  i;

    for (i = 0; i < nsubs; i++) {
        if (subs[i].base) {
            sub_event(i, "customer.subscription.updated");
        }
    }

    for (i = 0; i < nrefunds; i++) {
        if (refunds[i].status == REFUND_FAILED) {
            announce("refund.failed", refund_json(i));
        }
    }

    for (i = 0; i < ndisputes; i++) {
        announce(disputes[i].won ? "charge.dispute.closed"
                                 : "charge.dispute.created", dispute_json(i));
    }
}


static void
form_read(form_t *form, const char *text)
{
    char        *p, **to;
    const char  *end;

    form->n = 0;

    while (*text && form->n < FIELDS) {
        to = &form->names[form->n];

        form->names[form->n] = NULL;
        form->values[form->n] = NULL;

        end = text + strcspn(text, "&");

        *to = p = malloc(end - text + 2);
        if (p == NULL) {
            abort();
        }

        for ( /* void */ ; text < end; text++) {

            if (*text == '=' && to == &form->names[form->n]) {
                *p++ = '\0';
                to = &form->values[form->n];
                *to = p;

            } else if (*text == '%') {
                *p++ = (text[1] % 32 + 9) % 25 * 16 + (text[2] % 32 + 9) % 25;
                text += 2;

            } else {
                *p++ = *text == '+' ? ' ' : *text;
            }
        }

        *p = '\0';

        if (*end == '&') {
            end++;
        }

        text = end;
        form->n++;
    }
}


static const char *
form_get(form_t *form, const char *name)
{
    int  i;

    for (i = 0; i < form->n; i++) {
        if (strcmp(form->names[i], name) == 0) {
            return form->values[i] ? form->values[i] : "";
        }
    }

    return NULL;
}


static void
form_free(form_t *form)
{
    int  i;

    for (i = 0; i < form->n; i++) {
        free(form->names[i]);
    }
}


/* what happens by itself, and by hand */

void
sim_billing_customer(const char *id, const char *base_price)
{
    sub_t       *s;
    customer_t  *c;

    c = add(customers);
    copy(c->id, sizeof(c->id), id);
    snprintf(c->card, sizeof(c->card), "pm_%s_0", id);
    c->standard = 1;
    c->base = -1;

    if (base_price) {
        s = add(subs);
        s->customer = ncustomers - 1;
        s->status = ACTIVE;
        s->created = world.now;
        s->base = 1;
        copy(s->price, sizeof(s->price), base_price);
        c->base = nsubs - 1;
        (void) new_invoice(nsubs - 1, 0);
        invoices[ninvoices - 1].status = PAID;
    }
}


/* what the workspaces of a customer are to be: the best of its base plans */

int
sim_billing_base(const char *customer, const char **state, const char **plan)
{
    int  i, c, best, rank;

    c = find_customer(customer);
    best = -1;
    *plan = "";

    for (i = nsubs - 1; i >= 0; i--) {

        if (!subs[i].base || subs[i].customer != c) {
            continue;
        }

        rank = subs[i].status == ACTIVE ? 2
               : subs[i].status == PAST_DUE || subs[i].status == UNPAID ? 1
               : 0;

        if (rank > best) {
            best = rank;
            *plan = strcmp(subs[i].price, "price_base") == 0 ? "pro" : "small";
        }
    }

    *state = best == 2 ? "active" : best == 1 ? "past_due" : "canceled";

    return best;
}


int64_t
sim_billing_due(void)
{
    int      i;
    int64_t  due;

    due = 0;

    for (i = 0; i < nsubs; i++) {
        if (subs[i].status == INCOMPLETE
            && (due == 0 || subs[i].created + FIRST < due))
        {
            due = subs[i].created + FIRST;
        }
    }

    return due;
}


void
sim_billing_tick(void)
{
    int  i;

    for (i = 0; i < nsubs; i++) {
        if (subs[i].status == INCOMPLETE
            && subs[i].created + FIRST <= world.now)
        {
            sim_trace("billing: sub_%d expires", i);

            if (invoices[subs[i].latest].status != PAID
                && invoices[subs[i].latest].status != VOID)
            {
                void_invoice(subs[i].latest);
            }

            subs[i].status = EXPIRED;
            subs[i].ended = world.now;
            sub_event(i, "customer.subscription.updated");
            return;
        }
    }
}


/* one of lines', lately: what nobody remembers nobody's hand is at */

static int
some_sub(void)
{
    int  i;

    i = nsubs - 1 - (int) sim_random(nsubs < 12 ? nsubs : 12);

    return i < 0 || subs[i].base ? -1 : i;
}


void
sim_billing_pay(void)
{
    int      i, outside;
    int64_t  amount;

    i = ninvoices - 1 - (int) sim_random(ninvoices < 6 ? ninvoices : 6);

    if (i >= 0 && invoices[i].status == OPEN && !subs[invoices[i].sub].base) {

        amount = remaining(&invoices[i]);
        outside = 0;

        if (world.may & SIM_PARTS) {
            outside = sim_one_in(6);
            amount = !outside && sim_one_in(3)
                     ? 1 + (int64_t) sim_random(amount) : amount;
        }

        sim_trace("billing: %lld of in_%d of sub_%d is paid by hand%s",
                  (long long) amount, i, invoices[i].sub,
                  outside ? ", outside" : "");

        pay_part(i, amount, outside);
    }
}


/* what a customer has from elsewhere */

void
sim_billing_grant(void)
{
    customer_t  *c;

    c = &customers[sim_random(ncustomers)];
    c->balance += 1 + (int64_t) sim_random(2 * PRICE);

    sim_trace("billing: %s has %lld", c->id, (long long) c->balance);
}


/* people have it pay something besides: its latest invoice stays another */

static void
bill_apart(int sub)
{
    int  i, latest;

    latest = subs[sub].latest;
    i = new_invoice(sub, 1);
    subs[sub].latest = latest;
    sim_trace("billing: in_%d is for something besides of sub_%d", i, sub);
}


void
sim_billing_renew(void)
{
    int     i, v;
    sub_t  *s;

    i = some_sub();

    if (i == -1) {
        return;
    }

    s = &subs[i];

    /* a month later: what was under way when it began has ended by then */

    if (s->created + RENEWED > world.now && !(world.may & SIM_EARLY)) {
        return;
    }

    switch (s->status) {

    case ACTIVE:
        if (sim_one_in(4)) {
            bill_apart(i);
            return;
        }

        v = new_invoice(i, 0);

        if (sim_one_in(2)) {
            sim_trace("billing: sub_%d is renewed by in_%d", i, v);
            pay(v);

        } else {
            sim_trace("billing: sub_%d is past due with in_%d", i, v);
            s->status = PAST_DUE;
            invoice_event(v, "invoice.payment_failed");
            sub_event(i, "customer.subscription.updated");
        }

        return;

    case PAST_DUE:
    case UNPAID:

        switch (sim_random(4)) {

        case 0:
            sim_trace("billing: sub_%d is unpaid", i);
            s->status = UNPAID;
            sub_event(i, "customer.subscription.updated");
            return;

        case 1:
            sim_trace("billing: sub_%d is canceled for want of payment", i);
            cancel(i);
            return;

        default:
            if (invoices[s->latest].status == OPEN) {
                sim_trace("billing: arrears of sub_%d are paid", i);
                pay(s->latest);
            }
        }

        return;

    case INCOMPLETE:
        bill_apart(i);
        return;

    default:
        return;
    }
}


/* by hand: refunds alone, or a credit note with them, or without */

static void
give_back(int v, int64_t amount, int kind)
{
    int         i;
    int64_t     part;
    invoice_t  *invoice = &invoices[v];

    static const char  *kinds[] = {
        "refunds", "a credit note", "the balance", "other ways"
    };

    /* what people have given back otherwise they do not give twice */

    if (invoice->status != PAID || invoice->disputed || invoice->given) {
        return;
    }

    /* what is left of either, as billing counts */

    part = invoice->paid + invoice->balance - invoice->credited
           - invoice->bare;
    amount = ngx_min(amount, part);

    if (kind < 2) {
        part = refundable(v);
        amount = ngx_min(amount, part);
    }

    if (amount <= 0) {
        return;
    }

    sim_trace("billing: %lld of in_%d goes back by hand, by %s",
              (long long) amount, v, kinds[kind]);

    if (kind) {
        (void) credit(v, kind == 1 ? amount : 0, kind == 2 ? amount : 0,
                      kind == 3 ? amount : 0);
        return;
    }

    for (i = 0; i < npayments && amount; i++) {
        if (payments[i].invoice == v && !payments[i].outside) {
            part = ngx_min(amount, payments[i].amount - payments[i].refunded);

            if (part) {
                refund(i, part, -1);
                amount -= part;
            }
        }
    }
}


/* a bank takes back what is left of a payment, or has to return it */

void
sim_billing_dispute(void)
{
    int         i, v, p;
    dispute_t  *d;

    if (ndisputes && sim_one_in(2)) {
        i = (int) sim_random(ndisputes);
        d = &disputes[i];

        if (!d->won) {
            sim_trace("billing: the dispute of payment %d is won", d->payment);

            d->won = 1;
            payments[d->payment].disputed = 0;
            invoices[payments[d->payment].invoice].disputed -= d->amount;

            announce("charge.dispute.closed", dispute_json(i));
            announce("charge.dispute.funds_reinstated", dispute_json(i));
        }

        return;
    }

    i = some_sub();

    if (i == -1) {
        return;
    }

    v = subs[i].latest;

    for (p = npayments - 1; p >= 0; p--) {
        if (payments[p].invoice == v && !payments[p].outside
            && !payments[p].disputed
            && payments[p].amount > payments[p].refunded)
        {
            break;
        }
    }

    /* of a payment that is not listed nobody knows what it is of */

    if (p < 0 || invoices[v].status != PAID || invoices[v].given
        || payments[p].listed.at > world.now)
    {
        return;
    }

    sim_trace("billing: payment %d of in_%d of sub_%d is disputed", p, v, i);

    d = add(disputes);
    d->payment = p;
    d->amount = payments[p].amount - payments[p].refunded;
    d->created = world.now;
    d->listed = listed(LISTED_DISPUTES);

    payments[p].disputed = 1;
    invoices[v].disputed += d->amount;

    announce("charge.dispute.created", dispute_json(ndisputes - 1));
    announce("charge.dispute.funds_withdrawn", dispute_json(ndisputes - 1));
}


/* what is left of what came in */

static int64_t
net(int v)
{
    invoice_t  *invoice = &invoices[v];

    return invoice->paid + (invoice->status == PAID ? invoice->balance : 0)
           - invoice->refunded - invoice->otherwise - invoice->given;
}


/* from now on, or no more; or one that was made fails */

void
sim_billing_refuse(void)
{
    int         i, v;
    refund_t   *r;
    payment_t  *p;

    if (nrefunds && sim_one_in(2)) {
        r = &refunds[nrefunds - 1 - (int) sim_random(ngx_min(nrefunds, 6))];
        p = &payments[r->payment];
        v = p->invoice;

        if (r->status != REFUND_DONE || invoices[v].disputed
            || invoices[v].given || p->listed.at > world.now)
        {
            return;
        }

        sim_trace("billing: refund re_%d of in_%d fails", (int) (r - refunds),
                  v);

        r->status = REFUND_FAILED;
        p->refunded -= r->amount;
        invoices[v].refunded -= r->amount;
        invoices[v].bare -= r->note == -1 ? r->amount : 0;

        announce("refund.failed", refund_json((int) (r - refunds)));
        return;
    }

    i = some_sub();

    if (i == -1) {
        return;
    }

    v = subs[i].latest;

    invoices[v].refuses = !invoices[v].refuses;

    sim_trace("billing: refunds of in_%d are %s", v,
              invoices[v].refuses ? "refused" : "made");
}


void
sim_billing_settle(const char *invoice, int64_t due)
{
    int         i;
    int64_t     amount;

    i = number(invoice, "in_", ninvoices);

    if (i == -1) {
        sim_found("settle", "no such invoice: %s", invoice);
        return;
    }

    amount = ngx_min(due, net(i));

    if (amount > 0) {
        invoices[i].given += amount;
        sim_trace("billing: %lld of %s is given back outside of it",
                  (long long) amount, invoice);
    }
}


void
sim_billing_settle_all(const char *subscription)
{
    int   i, v;
    char  id[24];

    i = number(subscription, "sub_", nsubs);

    if (i == -1 || subs[i].base) {
        return;
    }

    if (subs[i].status < CANCELED) {
        sim_trace("billing: sub_%d is canceled by hand", i);
        cancel(i);
    }

    for (v = 0; v < ninvoices; v++) {

        if (invoices[v].sub != i) {
            continue;
        }

        if (invoices[v].status == OPEN || invoices[v].status == UNCOLLECTIBLE)
        {
            void_invoice(v);
        }

        snprintf(id, sizeof(id), "in_%d", v);
        sim_billing_settle(id, net(v));
    }
}


/* what goes back before there is a line is seen then, or by nobody */

static void
show_back(int v)
{
    int  i;

    for (i = 0; i < nrefunds; i++) {
        if (payments[refunds[i].payment].invoice == v) {
            refunds[i].listed.at = ngx_min(refunds[i].listed.at, world.now);
        }
    }

    for (i = 0; i < nnotes; i++) {
        if (notes[i].invoice == v) {
            notes[i].listed.at = ngx_min(notes[i].listed.at, world.now);
        }
    }
}


/*
 * All of it, and it goes on: of a line that runs, which its owner keeps; or of
 * what nobody has a line for, nor is about to get one by what was counted a
 * moment ago.
 */

static void
give_all(sub_t *s, int kind)
{
    int               i, v = s->latest;
    char              key[96];
    note_t           *n;
    invoice_t        *invoice = &invoices[v];
    const sim_str_t  *op;

    static const char  runs[] = "$6\r\nactive\r\n";
    static const char  rests[] = "*2\r\n$1\r\n0\r\n$";
    static const char  done[] = "*2\r\n$1\r\n0\r\n$4\r\ndone";

    if (s->status != ACTIVE || invoice->status != PAID) {
        return;
    }

    snprintf(key, sizeof(key), "lines:{%s}:rec:%s", s->tenant,
             s->line[0] ? s->line : s->operation);

    op = sim_ask("HGET", key, "status", NULL);

    if (op->len == sizeof(runs) - 1 && memcmp(op->data, runs, op->len) == 0) {

        if (net(v) > 0) {
            give_back(v, PRICE, kind);
            invoice->forgiven = net(v) == 0;
        }

        return;
    }

    /* a renewal's is a part of all */

    for (i = 0; i < v; i++) {
        if (invoices[i].sub == invoice->sub) {
            return;
        }
    }

    snprintf(key, sizeof(key), "lines:{%s}:op:%s", s->tenant,
             s->line[0] ? s->line : s->operation);

    op = sim_ask("HMGET", key, "lease_until", "step", NULL);

    if (op->len < sizeof(done) - 1
        || memcmp(op->data, rests, sizeof(rests) - 1) != 0
        || memcmp(op->data, done, sizeof(done) - 1) == 0)
    {
        return;
    }

    invoice->early = 1;

    if (sim_one_in(2) || invoice->refunded || invoice->otherwise
        || invoice->disputed)
    {
        give_back(v, PRICE, kind);
        show_back(v);
        return;
    }

    sim_trace("billing: in_%d is credited to the balance by hand", v);

    n = add(notes);
    n->invoice = v;
    n->amount = n->credit = invoice->paid;
    n->created = world.now;

    invoice->credited += n->amount;
    invoice->otherwise += n->amount;

    show_back(v);
}


void
sim_billing_hand(void)
{
    int      i, v, kind;
    sub_t   *s;
    int64_t  amount;

    i = some_sub();

    if (i == -1) {
        return;
    }

    s = &subs[i];
    v = s->latest;

    /* by a refund alone, or by a credit note with its refund */
    kind = (world.may & SIM_REFUNDS) ? (int) sim_random(2) : 1;

    if ((world.may & SIM_PARTS) && sim_one_in(3)) {
        kind += 2;
    }

    switch (sim_random(8)) {

    case 6:
    case 7:
        give_all(s, kind);
        return;

    case 0:
        if (s->status < CANCELED) {
            sim_trace("billing: sub_%d is canceled by hand", i);
            cancel(i);
        }

        return;

    case 1:
        if (invoices[v].status == OPEN || invoices[v].status == UNCOLLECTIBLE)
        {
            sim_trace("billing: in_%d is voided by hand", v);
            void_invoice(v);
        }

        return;

    case 2:
        if (invoices[v].status == OPEN && s->status == INCOMPLETE) {
            sim_trace("billing: in_%d is written off by hand", v);
            invoices[v].status = UNCOLLECTIBLE;
            invoice_event(v, "invoice.marked_uncollectible");
        }

        return;

    case 3:
    case 4:

        /* all of it, and its end: in either order */

        if (s->status == ACTIVE) {

            if (sim_one_in(2)) {
                give_back(v, PRICE, kind);
                cancel(i);

            } else {
                cancel(i);
                give_back(v, PRICE, kind);
            }
        }

        return;

    default:

        /* a gesture: some of it */

        if (world.may & SIM_REFUNDS) {
            amount = 1 + (int64_t) sim_random(PRICE / 2);

            if (amount < net(v)) {
                give_back(v, amount, kind);

            } else {
                give_all(s, kind);
            }
        }
    }
}


void
sim_billing_card(void)
{
    customer_t  *c;

    if (ncustomers == 0) {
        return;
    }

    c = &customers[sim_random(ncustomers)];

    switch (sim_random(4)) {

    case 0:
        c->declines = !c->declines;
        break;

    case 1:
        c->standard = !c->standard;
        break;

    case 2:
        if (c->card[0]) {
            c->card[0] = '\0';
            break;
        }

        /* fall through */

    default:
        snprintf(c->card, sizeof(c->card), "pm_%s_%d", c->id, nevent);
    }

    sim_trace("billing: card of %s: %s%s%s", c->id, c->card,
              c->standard ? ", default" : "", c->declines ? ", declines" : "");
}


void
sim_billing_plan(void)
{
    int          c, i;
    sub_t       *s;
    customer_t  *customer;

    c = sim_random(ncustomers);
    customer = &customers[c];

    if (customer->deleted || strcmp(customer->id, "cus_anchor") == 0) {
        return;
    }

    /* all that it has ends with it */

    if (sim_one_in(30)) {
        sim_trace("billing: %s is deleted", customer->id);

        customer->deleted = 1;

        for (i = 0; i < nsubs; i++) {
            if (subs[i].customer == c && subs[i].status < CANCELED) {
                cancel(i);
            }
        }

        return;
    }

    if (customer->base == -1) {
        return;
    }

    i = customer->base;
    s = &subs[i];

    switch (sim_random(4)) {

    case 0:
        if (s->status < CANCELED) {
            cancel(i);
        }

        break;

    case 1:
        if (s->status < CANCELED) {
            s->status = s->status == ACTIVE ? PAST_DUE : ACTIVE;
            sub_event(i, "customer.subscription.updated");
        }

        break;

    default:
        if (s->status < CANCELED) {
            copy(s->price, sizeof(s->price),
                 sim_one_in(2) ? "price_base" : "price_small");
            sub_event(i, "customer.subscription.updated");
            break;
        }

        s = add(subs);
        s->customer = c;
        s->status = ACTIVE;
        s->created = world.now;
        s->base = 1;
        copy(s->price, sizeof(s->price), "price_base");
        customer->base = i = nsubs - 1;
        (void) new_invoice(i, 0);
        invoices[ninvoices - 1].status = PAID;
        sub_event(i, "customer.subscription.created");
    }

    sim_trace("billing: base plan of %s: sub_%d %s %s", customer->id, i,
              sub_names[subs[i].status], subs[i].price);
}


/* 0: there is no such subscription of a line */

int
sim_billing_sub(int i, int64_t left, sim_sub_t *sub)
{
    int         j;
    int64_t     paid, back, disputed;
    sub_t      *s;
    invoice_t  *v;

    while (i < nsubs && subs[i].base) {
        i++;
    }

    if (i >= nsubs) {
        return 0;
    }

    s = &subs[i];

    ngx_memzero(sub, sizeof(sim_sub_t));

    snprintf(sub->id, sizeof(sub->id), "sub_%d", i);
    copy(sub->tenant, sizeof(sub->tenant), s->tenant);
    copy(sub->line, sizeof(sub->line), s->line[0] ? s->line : s->operation);
    copy(sub->customer, sizeof(sub->customer), customers[s->customer].id);
    copy(sub->status, sizeof(sub->status), sub_names[s->status]);

    sub->ended = s->ended;
    sub->live = s->status < CANCELED;
    sub->good = s->status == ACTIVE;
    sub->unpaid = s->status == PAST_DUE || s->status == UNPAID;

    for (j = ninvoices - 1; j >= 0; j--) {
        v = &invoices[j];

        if (v->sub != i) {
            continue;
        }

        sub->ninvoices++;

        /* refunds, each once, and what of notes is none */

        paid = v->paid + (v->status == PAID ? v->balance : 0);
        back = v->refunded + v->otherwise + v->given;

        /* the bank has the last word about all of it */
        disputed = v->disputed ? paid - back : 0;

        if (v->status == PAID && !sub->paid_any) {
            sub->paid_any = 1;
            sub->first_paid = paid;
            sub->first_net = paid - back - disputed;
            sub->forgiven = v->forgiven;
        }

        sub->forgave |= v->forgiven;

        sub->paid += paid;
        sub->back += back;
        sub->disputed += disputed;

        sub->open |= v->status == OPEN || v->status == UNCOLLECTIBLE;

        if (v->status == PAID && v->paid_at < left - SIM_SECOND) {
            sub->ours_before += v->ours;
        }

        if (v->paid_at >= left || v->voided_at >= left) {
            sub->kept_after += paid - back - disputed;
        }
    }

    return i + 1;
}
