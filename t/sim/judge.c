
/*
 * Whether the books balance: all that is in Redis against all that is at
 * billing, once all is at rest.  The rules are those of
 * t/lib/Test/Lines/Judge.pm, by the same names.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <stdarg.h>
#include <stdio.h>

#include "world.h"


#define MOST  4096


typedef struct {
    int     n;
    char  **elts;          /* each with a zero */
} list_t;

typedef struct {
    char    tenant[32];
    char    id[48];
    list_t  h;
    int     runs, ends, awaiting;     /* one of: */
    int     failed, canceled;
    int     found;
} line_t;


static line_t  lines[MOST];
static int     nlines;

static list_t  keys;
static list_t  audited;          /* what is on the auditor's list */


static list_t list_of(const sim_str_t *reply);
#define ask(...)  list_of(sim_ask(__VA_ARGS__, NULL))
static void list_free(list_t *list);
static const char *field(list_t *h, const char *name);
static int has(list_t *h, const char *name);
static int contains(list_t *list, const char *value);
static void judge_lines(void);
static void judge_document(line_t *l);
static void judge_line(line_t *l);
static void judge_subscriptions(void);
static void judge_tenant(const char *tenant);
static void judge_operations(const char *tenant);
static void judge_window(const char *tenant, list_t *t);
static void judge_numbers(void);
static void judge_audit(void);
static int forgave(const char *id);
static int forgiven(sim_sub_t *s);
static int shown(const char *kind, const char *id);


/* a reply that is an array of strings, or one */

static list_t
list_of(const sim_str_t *reply)
{
    int               i, n;
    char             *p;
    size_t            len;
    list_t            list = { 0, NULL };

    p = (char *) reply->data;
    n = 1;

    if (*p == '*') {
        n = strtol(p + 1, &p, 10);
        p += 2;
    }

    if (n <= 0) {
        return list;
    }

    list.elts = calloc(n, sizeof(char *));

    for (i = 0; i < n; i++) {

        if (*p == ':') {
            list.elts[list.n++] = strndup(p + 1, strcspn(p + 1, "\r"));
            p = strchr(p, '\n') + 1;
            continue;
        }

        if (*p != '$') {
            fprintf(stderr, "%.*s\n", (int) reply->len, reply->data);
            abort();
        }

        if (p[1] == '-') {
            p += 5;
            continue;
        }

        len = strtol(p + 1, &p, 10);
        list.elts[list.n] = malloc(len + 1);
        memcpy(list.elts[list.n], p + 2, len);
        list.elts[list.n++][len] = '\0';
        p += len + 4;
    }

    return list;
}


static void
list_free(list_t *list)
{
    int  i;

    for (i = 0; i < list->n; i++) {
        free(list->elts[i]);
    }

    free(list->elts);
    list->elts = NULL;
    list->n = 0;
}


static const char *
field(list_t *h, const char *name)
{
    int  i;

    for (i = 0; i + 1 < h->n; i += 2) {
        if (strcmp(h->elts[i], name) == 0) {
            return h->elts[i + 1];
        }
    }

    return "";
}


static int
has(list_t *h, const char *name)
{
    return field(h, name)[0] != '\0';
}


static int
contains(list_t *list, const char *value)
{
    int  i;

    for (i = 0; i < list->n; i++) {
        if (strcmp(list->elts[i], value) == 0) {
            return 1;
        }
    }

    return 0;
}


#define is(value, text)  (strcmp(value, text) == 0)


void
sim_judge(void)
{
    int     i;
    list_t  tenants;

    keys = ask("KEYS", "lines:*");
    audited = ask("HKEYS", "lines:{audit}:found");

    /* of what Redis does not know any more the operator decides */

    if (!world.restored) {
        judge_lines();
        judge_subscriptions();
    }

    tenants = ask("SMEMBERS", "lines:{tenants}");

    for (i = 0; i < tenants.n; i++) {

        if (!world.restored) {
            judge_tenant(tenants.elts[i]);
        }

        judge_operations(tenants.elts[i]);
    }

    list_free(&tenants);

    if (!world.restored) {
        judge_numbers();
        judge_audit();
    }

    for (i = 0; i < nlines; i++) {
        list_free(&lines[i].h);
    }

    nlines = 0;

    list_free(&keys);
    list_free(&audited);
}


/* by "OUTCOME KIND TENANT ID WHAT" */

static int
shown(const char *kind, const char *id)
{
    int   i;
    char  of[24], what[64];

    for (i = 0; i < audited.n; i++) {
        if (sscanf(audited.elts[i], "shown %23s %*s %63s", of, what) == 2
            && is(of, kind) && is(what, id))
        {
            return 1;
        }
    }

    return 0;
}


/* what balances is not to be shown, nor what is repaired once more */

static void
judge_audit(void)
{
    int   i;
    char  id[64];

    for (i = 0; i < audited.n && !world.lost && world.findings == 0; i++) {

        if (sscanf(audited.elts[i], "shown credited %*s %*s %63s", id) != 1
            || !forgave(id))
        {
            sim_found("audit", "%s, and the books balance", audited.elts[i]);
        }
    }
}


/* people gave back all of a payment, of a line that ran */

static int
forgave(const char *id)
{
    int        i, n;
    sim_sub_t  s;

    for (i = 0; (n = sim_billing_sub(i, 0, &s)) != 0; i = n) {
        if (is(s.id, id)) {
            return s.forgave;
        }
    }

    return 0;
}


/*
 * A line that runs and that nobody pays for is let alone where people gave back
 * the last payment, all of it, nobody else gave anything, and the auditor shows
 * it.
 */

static int
forgiven(sim_sub_t *s)
{
    return s->forgiven && s->first_net == 0
           && s->paid - s->back - s->disputed >= 0
           && (s->unpaid || world.lost || shown("credited", s->line));
}


/* "lines:{TENANT}:WHAT:ID" */

static int
key_of(const char *key, const char *what, char *tenant, char *id)
{
    int  n;

    n = 0;

    return sscanf(key, "lines:{%31[^}]}:%n", tenant, &n) == 1
           && n
           && strncmp(key + n, what, strlen(what)) == 0
           && snprintf(id, 48, "%s", key + n + strlen(what)) < 48;
}


static void
judge_lines(void)
{
    int      i;
    line_t  *l;

    nlines = 0;

    for (i = 0; i < keys.n && nlines < MOST; i++) {
        l = &lines[nlines];

        if (!key_of(keys.elts[i], "rec:", l->tenant, l->id)) {
            continue;
        }

        l->h = ask("HGETALL", keys.elts[i]);
        nlines++;

        l->failed = is(field(&l->h, "status"), "failed");
        l->canceled = is(field(&l->h, "status"), "canceled");
        l->ends = !l->failed && !l->canceled
                  && (has(&l->h, "released")
                      || (has(&l->h, "lapsed") && has(&l->h, "ended")));
        l->awaiting = !l->ends
                      && is(field(&l->h, "status"), "awaiting_payment");
        l->runs = !l->failed && !l->canceled && !l->ends && !l->awaiting;
    }

    for (i = 0; i < nlines; i++) {
        judge_document(&lines[i]);
        judge_line(&lines[i]);
    }
}


static int
find_sub(const char *id, sim_sub_t *s)
{
    int  i;

    for (i = 0; (i = sim_billing_sub(i, 0, s)) != 0; /* void */ ) {
        if (is(s->id, id)) {
            return 1;
        }
    }

    return 0;
}


/* what clients are shown is never older than the record */

static void
judge_document(line_t *l)
{
    int     known;
    char    key[96], says[96];
    list_t  list;

    snprintf(key, sizeof(key), "lines:{%s}:line:%s", l->tenant, l->id);
    list = ask("GET", key);

    known = list.n && list.elts[0][0] == '2';

    snprintf(says, sizeof(says), "\"paymentStatus\":\"%s\"",
             field(&l->h, "payment"));
    known = known && strstr(list.elts[0], says);

    /* what has ended is canceled, also where it failed before */

    snprintf(says, sizeof(says), "\"provisioningStatus\":\"%s\"",
             has(&l->h, "released")
             || (has(&l->h, "lapsed") && has(&l->h, "ended"))
             ? "canceled" : field(&l->h, "status"));
    known = known && strstr(list.elts[0], says);

    if (!known) {
        sim_found("record", "line %s of %s has the document of another: %s",
                  l->id, l->tenant, list.n ? list.elts[0] : "none");
    }

    list_free(&list);
}


static void
judge_line(line_t *l)
{
    int          i, there, suspended, back;
    char         key[96], who[160], member[96];
    int64_t      at;
    list_t       list;
    sim_sub_t    s;
    const char  *sub, *place, *status;

    status = field(&l->h, "status");
    sub = field(&l->h, "subscription");
    place = field(&l->h, "place");
    there = *sub && find_sub(sub, &s);

    snprintf(who, sizeof(who), "line %s of %s (%s, %s%s)", l->id, l->tenant,
             status, field(&l->h, "payment"), l->ends ? ", ended" : "");

    if ((l->awaiting || l->runs) && !*place) {
        sim_found("place", "%s holds no place", who);
    }

    if (!l->awaiting && !l->runs && *place) {
        sim_found("place", "%s holds a place", who);
    }

    snprintf(key, sizeof(key), "lines:{ix:%s}", l->id);
    list = ask("GET", key);

    /* it is written before its line, and may be what Redis forgot */

    if ((list.n == 0 && !world.lost)
        || (list.n && !is(list.elts[0], l->tenant)))
    {
        sim_found("record", "%s is not known by its id", who);
    }

    list_free(&list);

    if (l->runs && is(status, "provisioning")) {
        snprintf(member, sizeof(member), "%s %s", l->tenant, l->id);
        list = ask("ZSCORE", "lines:{prov}", member);

        if (list.n == 0 && !world.lost) {
            sim_found("hint", "%s is in no list of the provisioner's", who);
        }

        list_free(&list);
    }

    if (l->runs && is(place, "included")) {
        if (there && s.live) {
            sim_found("ends", "%s is included, and has a live subscription: "
                      "%s", who, sub);
        }

        return;
    }

    if (there && (!is(s.tenant, l->tenant) || !is(s.line, l->id))) {
        sim_found("double", "%s has the subscription of another line: %s (%s "
                  "%s)", who, sub, s.tenant, s.line);
    }

    if (!l->runs) {

        if (!there) {
            return;
        }

        if (s.live && !l->awaiting) {
            sim_found("ends", "%s has a live subscription: %s (%s)", who, sub,
                      s.status);
        }

        /* part of what it awaits may be there; what ended as its money went
           back is as one that failed */

        back = has(&l->h, "ended")
               && is(field(&l->h, "reason"), "payment_refunded");

        if (s.paid - s.back - s.disputed != 0 && (!l->ends || back)
            && !l->awaiting)
        {
            sim_found("kept", "%s is not to be paid for: %s, paid %lld, given "
                      "back %lld, disputed %lld", who, sub, (long long) s.paid,
                      (long long) s.back, (long long) s.disputed);
        }

        if (l->ends && s.open) {
            sim_found("ends", "%s has an invoice that can be paid: %s", who,
                      sub);
        }

        /* by billing's clock, and Redis' where that is right */

        if (l->ends) {
            at = s.ended ? s.ended / SIM_SECOND : world.now / SIM_SECOND;

            if ((world.may & SIM_CLOCKS) == 0) {
                at = ngx_min(at, strtoll(field(&l->h, "ended"), NULL, 10)
                                 / 1000);
            }

            for (i = 0; (i = sim_billing_sub(i, (at + 1) * SIM_SECOND, &s)); ) {
                if (is(s.id, sub) && s.kept_after) {
                    sim_found("kept", "%s has ended, and was paid for since: "
                              "%s, %lld", who, sub, (long long) s.kept_after);
                }

                /* but where it ended as its money went back: as the operator
                   asked, which Redis may have forgotten */

                if (is(s.id, sub) && s.ours_before
                    && (world.may & SIM_CLOCKS) == 0
                    && !(world.lost && sim_people_refunds(l->tenant, l->id))
                    && !is(field(&l->h, "reason"), "payment_refunded"))
                {
                    sim_found("given", "%s was there, and what was paid for it "
                              "went back: %s, %lld", who, sub,
                              (long long) s.ours_before);
                }
            }
        }

        if (l->awaiting && s.good) {
            sim_found("pending", "%s has a subscription that is paid for: %s",
                      who, sub);
        }

        return;
    }

    if (!there) {
        sim_found("live", "%s has no subscription: %s", who, sub);
        return;
    }

    if (!s.good && !s.unpaid) {
        sim_found("live", "%s has no live subscription: %s (%s)", who, sub,
                  s.status);
    }

    if ((!s.paid_any || (s.first_paid && s.first_net <= 0)
         || (s.paid && s.paid - s.back - s.disputed <= 0))
        && !forgiven(&s))
    {
        sim_found("paid", "%s was not paid for: %s, paid %lld, given back "
                  "%lld", who, sub, (long long) s.paid, (long long) s.back);
    }

    suspended = has(&l->h, "suspended");

    if (suspended && s.good) {
        sim_found("suspended", "%s is suspended, and its subscription is %s: "
                  "%s", who, s.status, sub);
    }

    if (!suspended && s.unpaid) {
        sim_found("suspended", "%s is not suspended, and its subscription is "
                  "%s: %s", who, s.status, sub);
    }
}


static void
judge_subscriptions(void)
{
    int        i, j, n, holders, gone;
    int64_t    left;
    sim_sub_t  s, other;

    for (i = 0; (n = sim_billing_sub(i, 0, &s)) != 0; i = n) {

        for (holders = 0, j = 0; j < nlines; j++) {
            holders += is(field(&lines[j].h, "subscription"), s.id);
        }

        if (s.paid < s.back + s.disputed) {
            sim_found("over", "subscription %s of %s %s: paid %lld, given back "
                      "%lld", s.id, s.tenant, s.line, (long long) s.paid,
                      (long long) s.back);
        }

        if (holders > 1) {
            sim_found("double", "subscription %s is that of %d lines", s.id,
                      holders);
        }

        for (j = n; s.live && (j = sim_billing_sub(j, 0, &other)) != 0; ) {
            if (other.live && is(other.tenant, s.tenant)
                && is(other.line, s.line))
            {
                sim_found("double", "%s %s has live subscriptions %s and %s",
                          s.tenant, s.line, s.id, other.id);
            }
        }

        if (holders) {
            continue;
        }

        gone = sim_people_left(s.tenant, &left);

        /* what Redis forgot, and nobody has paid, expires */

        if (s.live && !(world.lost && is(s.status, "incomplete"))) {
            sim_found("orphan", "subscription %s (%s) of %s %s has no line",
                      s.id, s.status, s.tenant, s.line);
        }

        if (gone) {
            (void) sim_billing_sub(i, left, &s);

            if (s.kept_after) {
                sim_found("kept", "subscription %s of %s, which left before "
                          "it paid: %lld", s.id, s.tenant,
                          (long long) s.kept_after);
            }

            continue;
        }

        /* what a tenant of that name paid before it was deleted is not its */

        (void) sim_billing_sub(i, left, &s);

        if (s.kept_after) {
            sim_found("kept", "subscription %s (%s) of %s %s has no line: paid "
                      "%lld, given back %lld", s.id, s.status, s.tenant,
                      s.line, (long long) s.paid, (long long) s.back);
        }
    }
}


static void
judge_tenant(const char *tenant)
{
    int          i, j, n, seen;
    char         key[96], pending[64];
    line_t      *l;
    list_t       t, list, window, ops;
    const char  *state, *plan, *place;

    static const char  *places[] = {
        "phone_included", "phone_paid", "email_included", "email_paid",
        "account_lines"
    };

    snprintf(key, sizeof(key), "lines:{%s}:t", tenant);
    t = ask("HGETALL", key);

    if (has(&t, "deleting")) {
        list_free(&t);
        return;
    }

    for (i = 0; i < 5; i++) {

        for (n = 0, j = 0; j < nlines; j++) {
            l = &lines[j];
            place = field(&l->h, "place");

            if (!is(l->tenant, tenant) || !*place) {
                continue;
            }

            if (is(place, "account")) {
                n += i == 4;

            } else {
                snprintf(key, sizeof(key), "%s_%s", field(&l->h, "channel"),
                         place);
                n += is(key, places[i]);
            }
        }

        if (atoi(field(&t, places[i])) != n) {
            sim_found("counter", "%s counts %s of %s, and has %d", tenant,
                      field(&t, places[i]), places[i], n);
        }
    }

    snprintf(key, sizeof(key), "lines:{%s}:pending", tenant);
    list = ask("GET", key);
    snprintf(pending, sizeof(pending), "%s", list.n ? list.elts[0] : "");
    list_free(&list);

    snprintf(key, sizeof(key), "lines:{%s}:lines", tenant);
    list = ask("ZRANGE", key, "0", "-1");

    snprintf(key, sizeof(key), "lines:{%s}:win", tenant);
    window = ask("ZRANGE", key, "0", "-1");

    snprintf(key, sizeof(key), "lines:{%s}:ops", tenant);
    ops = ask("SMEMBERS", key);

    seen = 0;

    for (j = 0; j < nlines; j++) {
        l = &lines[j];
        l->found = 0;

        if (!is(l->tenant, tenant)) {
            continue;
        }

        if (l->awaiting && !is(l->id, pending)) {
            sim_found("pending", "line %s is not what %s waits for", l->id,
                      tenant);
        }

        if (is(l->id, pending)) {
            seen = 1;

            if (!l->awaiting) {
                sim_found("pending", "%s is blocked by line %s, which does "
                          "not await payment", tenant, l->id);
            }
        }

        if (l->awaiting && !contains(&ops, l->id)) {
            sim_found("operation", "line %s of %s is waited for by nobody",
                      l->id, tenant);
        }

        if (!contains(&list, l->id)) {
            sim_found("record", "%s does not list line %s", tenant, l->id);
        }

        if (tenant[0] == 'a' && !contains(&window, l->id)
            && !(world.lost && shown("window", l->id)))
        {
            sim_found("window", "line %s of %s is not in the window", l->id,
                      tenant);
        }

        l->found = 1;
    }

    if (*pending && !seen) {
        sim_found("pending", "%s is blocked by line %s, which is not there",
                  tenant, pending);
    }

    for (i = 0; i < list.n; i++) {
        for (n = 0, j = 0; j < nlines; j++) {
            n += lines[j].found && is(lines[j].id, list.elts[i]);
        }

        /* a deletion goes on though Redis forgot that it began */

        if (n == 0 && !(world.lost && shown("record", list.elts[i]))) {
            sim_found("record", "%s lists line %s, which is not there", tenant,
                      list.elts[i]);
        }
    }

    judge_window(tenant, &t);

    for (i = 0; i < window.n; i++) {
        for (n = 0, j = 0; j < nlines; j++) {
            n += lines[j].found && is(lines[j].id, window.elts[i]);
        }

        if (n == 0 && !contains(&ops, window.elts[i])
            && !(world.lost && shown("window", window.elts[i])))
        {
            sim_found("window", "%s of %s has a place in the window, and no "
                      "line", window.elts[i], tenant);
        }
    }

    if (tenant[0] == 'w'
        && sim_billing_base(field(&t, "customer"), &state, &plan) >= 0
        && (!is(field(&t, "subscription"), state)
            || (!is(state, "canceled") && !is(field(&t, "plan"), plan))))
    {
        sim_found("plan", "%s is %s %s, and its base plan %s %s", tenant,
                  field(&t, "subscription"), field(&t, "plan"), state, plan);
    }

    list_free(&t);
    list_free(&list);
    list_free(&window);
    list_free(&ops);
}


/* of all purchases that stand no more have begun at a time than may */

static void
judge_window(const char *tenant, list_t *t)
{
    int      i, j, limit;
    char     key[96];
    list_t   window;
    double   length;

    static const char  *fields[] = { "limit_daily", "limit_monthly" };

    snprintf(key, sizeof(key), "lines:{%s}:win", tenant);
    window = ask("ZRANGE", key, "0", "-1", "WITHSCORES");

    for (i = 0; i < 2; i++) {
        limit = atoi(field(t, fields[i]));
        length = (i ? 30.0 : 1.0) * SIM_DAY / 1000;

        for (j = limit; limit && 2 * j + 1 < window.n; j++) {
            if (atof(window.elts[2 * j + 1])
                - atof(window.elts[2 * (j - limit) + 1]) < length)
            {
                sim_found("window", "%s has bought more than its %s of %d",
                          tenant, fields[i], limit);
                break;
            }
        }
    }

    list_free(&window);
}


static void
judge_operations(const char *tenant)
{
    int       i;
    char      key[96], shard[32], member[96], of[32], id[48];
    list_t    ops, op, hint;
    ngx_str_t name;

    snprintf(key, sizeof(key), "lines:{%s}:ops", tenant);
    ops = ask("SMEMBERS", key);

    for (i = 0; i < ops.n; i++) {
        snprintf(key, sizeof(key), "lines:{%s}:op:%s", tenant, ops.elts[i]);
        op = ask("HGETALL", key);

        if (op.n == 0 || is(field(&op, "step"), "done")) {
            sim_found("operation", "%s of %s is among the unfinished, and is "
                      "%s", ops.elts[i], tenant, op.n ? "done" : "not there");
            list_free(&op);
            continue;
        }

        if (!is(field(&op, "step"), "await") || has(&op, "wish")
            || has(&op, "stuck"))
        {
            sim_found("operation", "%s of %s (%s) is in %s%s%s", ops.elts[i],
                      tenant, field(&op, "kind"), field(&op, "step"),
                      has(&op, "stuck") ? ", stuck: " : "",
                      field(&op, "stuck"));
        }

        name = lines_op_text(ops.elts[i]);

        snprintf(shard, sizeof(shard), "lines:{due:%lld}",
                 (long long) lines_due_shard(&name));
        snprintf(member, sizeof(member), "%s %s", tenant, ops.elts[i]);

        hint = ask("ZSCORE", shard, member);

        if (hint.n == 0) {
            sim_found("hint", "%s of %s (%s) is unfinished, and has no hint",
                      ops.elts[i], tenant, field(&op, "kind"));
        }

        list_free(&hint);
        list_free(&op);
    }

    for (i = 0; i < keys.n; i++) {

        if (!key_of(keys.elts[i], "op:", of, id) || !is(of, tenant)
            || contains(&ops, id))
        {
            continue;
        }

        op = ask("HGETALL", keys.elts[i]);

        if (op.n && !is(field(&op, "step"), "done")) {
            sim_found("operation", "%s of %s is in %s, and not among the "
                      "unfinished", id, tenant, field(&op, "step"));
        }

        list_free(&op);
    }

    list_free(&ops);
}


static void
judge_numbers(void)
{
    int          i, j, k, held, in, own;
    char         state[24], op[48], tenant[32], key[96], id[48];
    char         of[32];
    list_t       numbers, holds, set;
    const char  *number;

    static const char  *sets[] = {
        "free", "leased", "assigned", "quarantined"
    };

    numbers = ask("HGETALL", "lines:{inv}:numbers");
    holds = ask("HGETALL", "lines:{inv}:operations");

    for (i = 0; i + 1 < numbers.n; i += 2) {
        number = numbers.elts[i];

        /* that it was taken Redis may have forgotten: then it is shown */

        if (world.lost && shown("number", number)) {
            continue;
        }

        op[0] = tenant[0] = '\0';

        /* the operator's own have no worker, and are in no set */

        own = strstr(numbers.elts[i + 1], "  ") != NULL;

        (void) sscanf(numbers.elts[i + 1], own ? "%23s %47s %31s"
                                               : "%23s %*s %47s %31s",
                      state, op, tenant);

        for (k = own ? 4 : 0; k < 4; k++) {
            snprintf(key, sizeof(key), "lines:{inv}:%s", sets[k]);
            set = ask("ZSCORE", key, number);
            in = set.n != 0;
            list_free(&set);

            if (in != is(state, sets[k])) {
                sim_found("number", "%s is %s, and is %sin the set of those "
                          "that are %s", number, state, in ? "" : "not ",
                          sets[k]);
            }
        }

        if (is(state, "leased")) {
            sim_found("number", "%s is leased by %s", number, op);
        }

        if (*op && !is(field(&holds, op), number)) {
            sim_found("number", "%s is %s to %s, which holds %s", number,
                      state, op, field(&holds, op));
        }

        for (held = 0, j = 0; j < nlines; j++) {

            if (!is(field(&lines[j].h, "number"), number)
                || has(&lines[j].h, "released")
                || has(&lines[j].h, "ended"))
            {
                continue;
            }

            held++;

            if (!is(state, "assigned") || !is(op, lines[j].id)) {
                sim_found("number", "%s is that of line %s, and is %s %s",
                          number, lines[j].id, state, op);
            }
        }

        for (j = 0; j < keys.n; j++) {

            if (!key_of(keys.elts[j], "ticket:", of, id)) {
                continue;
            }

            set = ask("HGETALL", keys.elts[j]);
            in = is(field(&set, "status"), "FULFILLED")
                 && is(field(&set, "number"), number);
            list_free(&set);

            snprintf(key, sizeof(key), "lines:{%s}:t", of);
            set = ask("HGET", key, "deleting");
            in = in && set.n == 0;
            list_free(&set);

            held += in;

            if (in && (!is(state, "assigned") || !is(op + 7, id))) {
                sim_found("number", "%s is that of ticket %s, and is %s %s",
                          number, id, state, op);
            }
        }

        if (held > 1) {
            sim_found("number", "%s is that of %d lines", number, held);
        }

        if (held == 0 && is(state, "assigned")) {
            sim_found("number", "%s is assigned to %s, which has no line",
                      number, op);
        }
    }

    list_free(&numbers);
    list_free(&holds);
}


/* what the auditor's last pass has found: whether it repairs anything */

int
sim_judge_audited(void)
{
    int     i, n;
    list_t  found;

    found = ask("HKEYS", "lines:{audit}:found");

    for (n = 0, i = 0; i < found.n; i++) {
        n += strncmp(found.elts[i], "repaired ", 9) == 0;
    }

    list_free(&found);

    if (n) {
        (void) sim_ask("DEL", "lines:{audit}:found", "lines:{audit}:order",
                       NULL);
    }

    return n != 0;
}


/* operations that have not ended, of all tenants */

ngx_uint_t
sim_judge_unfinished(void)
{
    int         i;
    char        key[96];
    list_t      tenants, ops;
    ngx_uint_t  n;

    n = 0;
    tenants = ask("SMEMBERS", "lines:{tenants}");

    for (i = 0; i < tenants.n; i++) {
        snprintf(key, sizeof(key), "lines:{%s}:ops", tenants.elts[i]);
        ops = ask("SMEMBERS", key);
        n += ops.n;
        list_free(&ops);
    }

    list_free(&tenants);

    return n;
}
