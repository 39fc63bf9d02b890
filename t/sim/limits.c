
/*
 * limits SCRIPTS [--seed N] [--runs N] [--wrong NAME] [--wrongs] [--verbose]
 *
 * Fleets of nodes that share buckets by src/limit/ledger.c and the real scripts,
 * on a virtual clock.  Each run is a world of its own by its seed: how many
 * nodes, which rate and burst, who asks when, and what goes wrong: messages that
 * are lost, late and doubled, nodes that are killed, cut off, and join, a Redis
 * that is away for all of them, and again, or full; workers that die, and rates
 * that are others on some of the nodes.
 *
 * Looked at: never has the fleet let through more than
 * burst + rate * t + burst / 2 in any t, and a node alone not more than
 * burst + rate * t; and what it let through is, to the
 * token, what the bucket was charged with, so that in the long run it is the
 * rate.  Who cannot ask goes on by its part (fail=local): by no more than that,
 * and what of it has not come back when Redis is there is charged, too.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limit/ledger.h"
#include "redis.h"


#define NODES     50
#define BUCKETS   3
#define ASKS      8            /* of a node for a bucket at once */
#define TICK      20000        /* µs */
#define PATIENCE  300          /* ms: then there is no reply */
#define START     1763000000000000
#define SLACK     4000         /* µs: clocks of nodes count in ms */


typedef enum {
    SETTLE = 0,
    ASK,
    JOIN,
    SCRIPTS
} kind_e;


/* who asks: now and then, more than there is all the time, or all nodes at once
   after a silence */

typedef enum {
    SOME = 0,
    FLOOD,
    TIDE,
    CROWDS
} crowd_e;


typedef enum {
    ARRIVAL = 0,
    TIDES,
    NODE_TICK,
    RECEIVED,                  /* by Redis */
    REPLIED,
    IMPATIENT,
    KILLED,
    STARTED,
    REPLACED,                  /* its worker */
    RELOADED,                  /* with the other rate */
    FULL,                      /* Redis refuses all */
    CUT,
    MENDED,
    AWAY,
    BACK
} what_e;


/* what a node let through by its part of a bucket */

typedef struct {
    double           oracle;       /* of the part, µs */
    double           nodes;        /* that it is one of */
    int64_t          since;        /* these were let through, */
    uint64_t         passed;       /* and nothing has become of them */
} alone_t;


typedef struct {
    lines_ledger_t   ledger;
    lines_bucket_t   buckets[BUCKETS];
    int              alive;
    int              cut;
    unsigned         life;
    unsigned         worker;
    int              rolled;       /* flag: it has the other rate */
    char             id[32];
    int64_t          offset;       /* of its clock, ms */
    int64_t          joined;       /* when it asked last, µs */
    int64_t          since;        /* it is cut */
    alone_t          alone[BUCKETS];
} node_t;


/* what is under way, and each of its events has a reference */

typedef struct {
    kind_e           kind;
    int              node;
    unsigned         life;
    unsigned         worker;
    int              bucket;
    ngx_uint_t       shard;
    ngx_uint_t       number;
    ngx_msec_t       asked;
    int              argc;
    char            *argv[3 + 2 + BUCKETS * 2 + 4];
    int              settled;      /* answered, or given up */
    int              granted;
    int              refused;      /* an error was replied */
    ngx_uint_t       charged;      /* the latest settlement, by the reply */
    int              n;
    double           full[BUCKETS];
    int              refs;
} message_t;


typedef struct {
    int64_t          at;
    uint64_t         order;
    what_e           what;
    int              node;
    int              last;         /* its reply is not read */
    message_t       *message;
} event_t;


static struct {
    sim_redis_t     *redis;
    char             digests[SCRIPTS][41];
    uint64_t         random;
    int64_t          now;          /* µs */
    event_t         *events;
    size_t           nevents, mevents;
    uint64_t         order;

    int              nodes;
    node_t           node[NODES];
    lines_rate_t     rate;
    crowd_e          crowd;
    int              losses;       /* of 1000 messages */
    int              kills, cuts, aways;
    int              deaths;       /* of workers */
    int              fulls;
    int              rolls;        /* flag: some nodes have the other rate */
    int64_t          full;         /* until then Redis is */
    lines_rate_t     rates[2];     /* of both the larger one is rate */
    int              strict;       /* flag: nothing else is wrong, and all know
                                      how many they are */
    int              fewer;        /* flag: some were alone that did not */
    int              away;         /* flag: for all of them, */
    int64_t          since;        /* and since when */
    int64_t          until;
    int              quiet;        /* flag: nobody asks any more */
    int64_t          quieted;
    uint64_t         numbers;      /* of a wrong */

    double           oracle[BUCKETS];    /* of what Redis let through, or will
                                            hear of, */
    double           fleet[BUCKETS];     /* of all, */
    double           charged[BUCKETS];   /* and of what it is charged with */
    uint64_t         owed[BUCKETS];      /* times that it was more */
    int64_t          first[BUCKETS];
    uint64_t         passed[BUCKETS];
    const char      *found;
    char             text[512];
} world;

static const char  *wrong;
static int          verbose;
static uint64_t     total_passed, total_settled, total_asks, total_kills,
                    total_cuts, total_lost, total_doubled, total_aways,
                    total_alone, total_owed, total_deaths, total_refused,
                    total_rolls;

static const char *const  wrongs[] = {
    "forgiven", "twice", "early", "unacknowledged", "joiner", "fleet",
    "unowed", "renewed", "whole", "fewer", "refused", "dead", "rolled", NULL
};

static const char *const  names[] = { "limit_settle", "limit_settle",
                                      "limit_join" };


static int
is_wrong(const char *name)
{
    return wrong && strcmp(wrong, name) == 0;
}


static uint64_t
rnd(uint64_t n)
{
    world.random ^= world.random << 13;
    world.random ^= world.random >> 7;
    world.random ^= world.random << 17;

    return (world.random >> 11) % n;
}


static void
find(const char *fmt, ...)
{
    va_list  args;

    if (world.found) {
        return;
    }

    va_start(args, fmt);
    vsnprintf(world.text, sizeof(world.text), fmt, args);
    va_end(args);

    world.found = world.text;
}


static int
event_before(event_t *a, event_t *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}


static void
event_add(int64_t delay, what_e what, int node, message_t *message, int last)
{
    size_t   i;
    event_t  e;

    if (world.nevents == world.mevents) {
        world.mevents = world.mevents ? 2 * world.mevents : 1024;
        world.events = realloc(world.events, world.mevents * sizeof(event_t));

        if (world.events == NULL) {
            abort();
        }
    }

    e = (event_t) { world.now + delay, world.order++, what, node, last,
                    message };

    if (message) {
        message->refs++;
    }

    for (i = world.nevents++; i; i = (i - 1) / 2) {
        if (!event_before(&e, &world.events[(i - 1) / 2])) {
            break;
        }

        world.events[i] = world.events[(i - 1) / 2];
    }

    world.events[i] = e;
}


static event_t
event_next(void)
{
    size_t   i, j;
    event_t  top, e;

    top = world.events[0];
    e = world.events[--world.nevents];

    for (i = 0; (j = 2 * i + 1) < world.nevents; i = j) {
        if (j + 1 < world.nevents
            && event_before(&world.events[j + 1], &world.events[j]))
        {
            j++;
        }

        if (!event_before(&world.events[j], &e)) {
            break;
        }

        world.events[i] = world.events[j];
    }

    world.events[i] = e;

    return top;
}


static void
message_free(message_t *m)
{
    int  i;

    if (m == NULL || --m->refs) {
        return;
    }

    for (i = 0; i < m->argc; i++) {
        free(m->argv[i]);
    }

    free(m);
}


static void
message_arg(message_t *m, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);

    if (vasprintf(&m->argv[m->argc++], fmt, args) == -1) {
        abort();
    }

    va_end(args);
}


static ngx_msec_t
clock_of(node_t *node)
{
    return (ngx_msec_t) (world.now / 1000 + node->offset);
}


static message_t *
message_new(kind_e kind, int node)
{
    message_t  *m;

    m = calloc(1, sizeof(message_t));

    if (m == NULL) {
        abort();
    }

    m->kind = kind;
    m->node = node;
    m->life = world.node[node].life;
    m->worker = world.node[node].worker;
    m->asked = clock_of(&world.node[node]);

    message_arg(m, "EVALSHA");
    message_arg(m, "%s", world.digests[kind]);

    return m;
}


static int64_t
delay(void)
{
    if (world.losses && rnd(1000) < (uint64_t) world.losses) {
        return (int64_t) rnd(3000000);
    }

    return 100 + (int64_t) rnd(2000);
}


static int
lost(int node)
{
    return world.node[node].cut
           || world.away
           || (!world.quiet && rnd(1000) < (uint64_t) world.losses);
}


static void
message_send(message_t *m)
{
    m->refs++;

    event_add(PATIENCE * 1000, IMPATIENT, m->node, m, 0);

    if (lost(m->node)) {
        total_lost++;

    } else {
        event_add(delay(), RECEIVED, m->node, m, 0);

        if (rnd(1000) < (uint64_t) world.losses) {
            total_doubled++;
            event_add(delay(), RECEIVED, m->node, m, rnd(2));
        }
    }

    message_free(m);
}


/* so many µs at the rate are missing from a bucket */

static double
take(double *tat, double n, double interval, int64_t at)
{
    *tat = ngx_max(*tat, (double) at) + n * interval;

    return *tat - (double) at;
}


/*
 * Be Redis away or back, now and then, the fleet has what there was, once more
 * what there was as each knew it, and once more what Redis gives before it is
 * told of that.
 */

static void
passed_fleet(int bucket, int64_t at)
{
    double  more, most;

    world.passed[bucket]++;
    total_passed++;

    more = take(&world.fleet[bucket], 1, world.rate.interval, at);
    most = 3.5 * (double) world.rate.burst + 2 * world.nodes;

    if (world.strict && more > most * world.rate.interval + SLACK) {
        find("fleet: %.1f more than rate * t + %.0f",
             more / world.rate.interval - most, most);
    }
}


/* let through: at most burst + rate * t + burst / 2 in any t is what a bucket
   of 1.5 bursts lets through */

static void
passed(int bucket, int64_t at)
{
    int      i, k;
    double   more, most;

    node_t  *node;

    if (world.passed[bucket] == 0) {
        world.first[bucket] = at;
    }

    passed_fleet(bucket, at);

    more = take(&world.oracle[bucket], 1, world.rate.interval, at);
    (void) take(&world.charged[bucket], 1, world.rate.interval, at);

    /* one node that is heard knows the bucket to the token */

    most = (double) world.rate.burst;

    if (world.nodes > 1 || world.losses || world.kills || world.cuts
        || world.aways || world.deaths || world.fulls || world.rolls)
    {
        most += (double) (world.rate.burst / 2);
    }

    /* who has no share any more may still owe what it let through by it */

    for (i = 0; i < world.nodes; i++) {
        node = &world.node[i];

        if (node->alive && (node->cut || world.away)) {
            k = (int) (node->buckets[bucket].uses + node->buckets[bucket].sent);
            most += k;
        }
    }

    if (more > most * world.rate.interval + SLACK) {
        find("bound: %.1f more than rate * t + %.0f",
             more / world.rate.interval - most, most);
    }
}


/* it has not been heard for so long that the node does not try any more */

static int
is_away(node_t *node)
{
    return (node->cut && world.now - node->since > PATIENCE * 1000)
           || (world.away && world.now - world.since > PATIENCE * 1000);
}


/* by nobody's word: what there is of its part, and that of the rate */

static void
passed_alone(int i, int b)
{
    double           part, more;
    node_t          *node;
    alone_t         *alone;
    lines_bucket_t  *bucket;

    node = &world.node[i];
    alone = &node->alone[b];
    bucket = &node->buckets[b];

    if (world.strict && (int) bucket->alone != world.nodes) {
        find("alone: one of %d, not of %d", (int) bucket->alone, world.nodes);
    }

    if ((int) bucket->alone < world.nodes) {
        world.fewer = 1;
    }

    total_alone++;
    passed_fleet(b, world.now);

    if (alone->passed++ == 0) {
        alone->since = world.now;
        alone->nodes = bucket->alone;
    }

    part = world.rate.interval * alone->nodes;
    more = take(&alone->oracle, 1, part, world.now);

    if (more > part * ngx_max((double) world.rate.burst / alone->nodes, 1)
               + SLACK)
    {
        find("alone: %.1f more than its part", more / part);
    }
}


/* what comes of it: it is owed, so many before this, or has come back */

static void
owed(int i, int b, double before)
{
    double           left;
    node_t          *node;
    alone_t         *alone;
    lines_bucket_t  *bucket;

    node = &world.node[i];
    alone = &node->alone[b];
    bucket = &node->buckets[b];

    if (!bucket->alone) {
        alone->oracle = 0;
    }

    if (alone->passed == 0
        || lines_bucket_alone(bucket, clock_of(node)) > 1e-3)
    {
        return;
    }

    /* no more can have come back */

    left = (double) alone->passed
           - (double) (world.now - alone->since + SLACK)
             / (world.rate.interval * alone->nodes);

    if (before < left - 0.5 || before > (double) alone->passed + 0.5) {
        find("owed: %.2f of %llu let through alone, at least %.2f were missing",
             before, (unsigned long long) alone->passed, left);
    }

    (void) take(&world.charged[b], before, world.rate.interval, world.now);

    world.owed[b]++;
    total_owed += (uint64_t) before;
    alone->passed = 0;
}


static double
owes(int i, int b)
{
    lines_bucket_t  *bucket;

    bucket = &world.node[i].buckets[b];

    if (is_wrong("unowed")) {
        bucket->local = bucket->tat;
    }

    return lines_bucket_alone(bucket, clock_of(&world.node[i]));
}


/* flag: there is a token in the node's part */

static int
node_alone(int i, int b, ngx_uint_t owed)
{
    node_t          *node;
    ngx_int_t        uses, sent;
    ngx_uint_t       nodes;
    lines_gcra_t     gcra;
    lines_bucket_t  *bucket;

    node = &world.node[i];
    bucket = &node->buckets[b];
    uses = bucket->uses;
    sent = bucket->sent;
    nodes = node->ledger.share.nodes;

    if (is_wrong("renewed") && !bucket->alone) {
        bucket->uses = bucket->sent = 0;
        bucket->tat = 0;
    }

    if (is_wrong("whole")) {
        node->ledger.share.nodes = 1;
    }

    lines_ledger_alone(&node->ledger, bucket, clock_of(node), owed, &gcra);

    bucket->uses = uses;
    bucket->sent = sent;
    node->ledger.share.nodes = nodes;

    if (gcra.granted && rnd(50) == 0) {
        lines_ledger_alone_give(&node->ledger, bucket, clock_of(node));

    } else if (gcra.granted) {
        passed_alone(i, b);
    }

    return gcra.granted != 0;
}


static void
node_settle(int i, ngx_uint_t shard)
{
    int               k, b;
    node_t           *node;
    ngx_uint_t        n, j;
    message_t        *m;
    ngx_msec_t        now;
    lines_shard_t    *s;
    lines_bucket_t   *batch[LINES_BATCH];
    double            before[BUCKETS];

    node = &world.node[i];
    now = clock_of(node);
    s = &node->ledger.shards[shard];

    for (b = 0; b < BUCKETS; b++) {
        before[b] = owes(i, b);
    }

    n = lines_ledger_send(&node->ledger, s, now, world.quiet, batch);

    for (j = 0; j < n; j++) {
        b = (int) (batch[j] - node->buckets);
        owed(i, b, before[b]);
    }

    if (n == 0) {
        return;
    }

    m = message_new(SETTLE, i);
    m->shard = shard;
    m->number = s->number;
    m->n = (int) n;

    message_arg(m, "%d", (int) n + 1);
    message_arg(m, "lines:{l:%d}:n:%s", (int) shard, node->id);

    for (j = 0; j < n; j++) {
        b = (int) (batch[j] - node->buckets);
        message_arg(m, "lines:{l:%d}:b:%d", (int) shard, b);
    }

    message_arg(m, "%llu", (unsigned long long)
                (is_wrong("twice") ? ++world.numbers : s->number));
    message_arg(m, "0");
    message_arg(m, "0");

    for (j = 0; j < n; j++) {
        message_arg(m, "%ld %lld %.6f %lu 0", (long) batch[j]->sent,
                    (long long) lines_bucket_age(batch[j], now)
                    + (is_wrong("early") ? 5000000 : 0),
                    batch[j]->rate.interval,
                    (unsigned long) batch[j]->rate.burst);
    }

    if (is_wrong("unacknowledged")) {
        for (k = 0; k < (int) n; k++) {
            node->ledger.ahead -= batch[k]->sent;
            batch[k]->sent = 0;
        }
    }

    total_settled += n;
    message_send(m);
}


static void
node_ask(int i, int b)
{
    message_t  *m;

    m = message_new(ASK, i);
    m->bucket = b;
    m->n = 1;

    message_arg(m, "2");
    message_arg(m, "lines:{l:%d}:n:%s", b / 2, world.node[i].id);
    message_arg(m, "lines:{l:%d}:b:%d", b / 2, b);
    message_arg(m, "%llu", (unsigned long long)
                lines_ledger_ask(&world.node[i].ledger,
                                 &world.node[i].buckets[b],
                                 clock_of(&world.node[i])));
    message_arg(m, "1");
    message_arg(m, "%ld", (long) world.node[i].buckets[b].sent);
    message_arg(m, "%ld 0 %.6f %lu 0",
                (long) lines_bucket_owes(&world.node[i].buckets[b],
                                         clock_of(&world.node[i])),
                world.node[i].buckets[b].rate.interval,
                (unsigned long) world.node[i].buckets[b].rate.burst);

    total_asks++;

    message_send(m);
}


static void
node_join(int i)
{
    message_t  *m;

    m = message_new(JOIN, i);

    message_arg(m, "1");
    message_arg(m, "lines:{l}:nodes");
    message_arg(m, "%s", world.node[i].id);
    message_arg(m, "%d", LINES_SHARE_KEPT);

    world.node[i].joined = world.now;

    message_send(m);
}


static void
node_tick(int i)
{
    node_t      *node;
    ngx_uint_t   s;

    node = &world.node[i];

    for (s = 0; s < (BUCKETS + 1) / 2; s++) {
        node_settle(i, s);
    }

    if (world.now - node->joined >= 1000000) {
        node_join(i);
    }

    if (is_wrong("joiner") || is_wrong("fleet")) {
        node->ledger.share.since = clock_of(node) - LINES_SHARE_JOINS;
    }

    if (is_wrong("fleet") && node->ledger.share.nodes) {
        node->ledger.share.nodes = 1;
    }

    event_add(TICK, NODE_TICK, i, NULL, (int) node->life);
}


static void
node_start(int i)
{
    int      b, rolled;
    node_t  *node;

    static unsigned  lives;

    node = &world.node[i];
    rolled = node->rolled;

    memset(node, 0, sizeof(node_t));

    node->alive = 1;
    node->rolled = rolled;
    node->life = ++lives;
    node->offset = (int64_t) rnd(1000000000);
    snprintf(node->id, sizeof(node->id), "n%u", lives);

    lines_ledger_init(&node->ledger);

    for (b = 0; b < BUCKETS; b++) {
        lines_bucket_init(&node->buckets[b], b / 2, &world.rates[rolled]);
    }

    node_join(i);
    event_add((int64_t) rnd(TICK), NODE_TICK, i, NULL, (int) node->life);
}


/* what it waited for nobody hears: another worker goes on */

static void
node_replace(int i)
{
    int      b;
    node_t  *node;

    node = &world.node[i];

    if (world.quiet || !node->alive) {
        return;
    }

    node->worker++;
    total_deaths++;

    for (b = 0; is_wrong("dead") && b < BUCKETS; b++) {
        node->ledger.ahead -= node->buckets[b].sent;
        node->buckets[b].sent = 0;
    }
}


/* the configuration goes round */

static void
node_reload(int i)
{
    int      b;
    node_t  *node;

    node = &world.node[i];

    if (world.quiet) {
        return;
    }

    node->rolled = !node->rolled;
    total_rolls++;

    for (b = 0; node->alive && b < BUCKETS; b++) {
        lines_bucket_rate(&node->buckets[b], &world.rates[node->rolled], 0,
                          clock_of(node));
    }
}


/* so many come at once */

static void
node_requests(int i, int b, int64_t n)
{
    node_t       *node;
    ngx_int_t     rc;
    ngx_uint_t    hurry, hurries;
    lines_gcra_t  gcra;

    node = &world.node[i];
    hurries = 0;

    for ( /* void */ ; n && !world.found; n--) {
        rc = lines_ledger_admit(&node->ledger, &node->buckets[b],
                                clock_of(node), &gcra, &hurry);

        if (rc == NGX_OK && gcra.granted) {
            hurries |= hurry;

            /* another limit may refuse it after all */

            if (rnd(50) == 0) {
                lines_ledger_give(&node->ledger, &node->buckets[b],
                                  clock_of(node));
                continue;
            }

            passed(b, world.now);
            continue;
        }

        if (rc == NGX_OK) {
            break;
        }

        if (is_away(node)) {
            if (!node_alone(i, b, 1)) {
                break;
            }

            continue;
        }

        if (node->buckets[b].asks >= ASKS
            && clock_of(node) - node->buckets[b].asked < LINES_SETTLE_AGAIN)
        {
            break;
        }

        node_ask(i, b);
    }

    if (hurries) {
        node_settle(i, node->buckets[b].shard);
    }
}


static void
arrival(int i)
{
    int      b;
    double   per;
    int64_t  n;

    if (world.quiet) {
        return;
    }

    b = (int) rnd(BUCKETS);
    n = (world.crowd == FLOOD || rnd(4) == 0)
        ? (int64_t) world.rate.burst : 1 + (int64_t) rnd(3);

    if (world.node[i].alive) {
        node_requests(i, b, n);
    }

    per = (double) world.rate.burst * world.rate.interval;
    per = ngx_min(per / 20, 2e6);

    event_add(1000 + (int64_t) rnd((uint64_t) per
                            * (world.crowd == FLOOD || rnd(20) ? 1 : 200) + 1),
              ARRIVAL, i, NULL, 0);
}


static void
tide(int left)
{
    int  i, b;

    if (world.quiet) {
        return;
    }

    for (i = 0; i < world.nodes; i++) {
        for (b = 0; b < BUCKETS && world.node[i].alive; b++) {
            node_requests(i, b, (int64_t) world.rate.burst);
        }
    }

    event_add(left ? 1000 + (int64_t) rnd(30000) : (int64_t) rnd(25000000),
              TIDES, 0, NULL, left ? left - 1 : (int) rnd(20));
}


static void
execute(message_t *m, int last)
{
    int               k;
    char             *p;
    size_t            i;
    sim_str_t         argv[32];
    const sim_str_t  *reply;

    if (world.full > world.now && m->kind != JOIN) {
        total_refused++;
        m->refused = 1;

        if (!last) {
            event_add(delay(), REPLIED, m->node, m, 0);
        }

        return;
    }

    for (i = 0; i < (size_t) m->argc; i++) {
        argv[i].data = (unsigned char *) m->argv[i];
        argv[i].len = strlen(m->argv[i]);
    }

    sim_redis_set_time(world.redis, START + world.now);
    reply = sim_redis_command(world.redis, (size_t) m->argc, argv);
    p = (char *) reply->data;

    if (*p != '*') {
        fprintf(stderr, "%s: %.*s\n", names[m->kind], (int) reply->len, p);
        exit(1);
    }

    /* of a doubled one what was said last is not read: nor what was first */

    p = strchr(p, ':') + 1;

    if (m->kind == ASK && atoi(p)) {
        passed(m->bucket, world.now);
    }

    if (last) {
        return;
    }

    m->granted = atoi(p);

    if (m->kind == JOIN) {
        m->n = atoi(strchr(p, ':') + 1);

    } else {
        p = strchr(p, ':') + 1;
        m->charged = strtoul(p, &p, 10);

        for (k = 0; k < m->n; k++) {
            p = strchr(strchr(p, '$'), '\n') + 1;
            m->full[k] = strtod(p, &p);
        }
    }

    if (lost(m->node)) {
        total_lost++;
        return;
    }

    event_add(delay(), REPLIED, m->node, m, 0);
}


static void
replied(message_t *m)
{
    int              k, b;
    double           before[BUCKETS];
    node_t          *node;
    ngx_uint_t       n;
    ngx_msec_t       now;
    lines_bucket_t  *batch[LINES_BATCH];

    node = &world.node[m->node];
    now = clock_of(node);

    for (b = 0; b < BUCKETS; b++) {
        before[b] = owes(m->node, b);
    }

    if (!node->alive || node->life != m->life || node->worker != m->worker) {
        return;
    }

    if (m->refused && !m->settled) {
        m->settled = 1;

        if (m->kind == SETTLE) {
            lines_ledger_unheard(&node->ledger.shards[m->shard], m->number);

        } else {
            lines_bucket_asked(&node->buckets[m->bucket]);
            (void) node_alone(m->node, m->bucket, !is_wrong("refused"));
        }
    }

    if (m->refused) {
        return;
    }

    switch (m->kind) {

    case ASK:
        if (!m->settled) {
            lines_bucket_asked(&node->buckets[m->bucket]);
            lines_ledger_told(&node->ledger, &node->buckets[m->bucket],
                              m->full[0], m->charged, m->asked, now);
            owed(m->node, m->bucket, before[m->bucket]);
        }

        break;

    case JOIN:
        if (!m->settled) {
            lines_ledger_joined(&node->ledger, m->asked, now,
                                (ngx_uint_t) m->granted, (ngx_uint_t) m->n);

            if (is_wrong("fewer")) {
                node->ledger.share.nodes = (ngx_uint_t) m->n;
            }
        }

        break;

    default:
        n = lines_ledger_heard(&node->ledger, &node->ledger.shards[m->shard],
                               m->number, now, batch);

        for (k = 0; k < (int) n; k++) {
            lines_ledger_told(&node->ledger, batch[k], m->full[k], m->charged,
                              m->asked, now);

            b = (int) (batch[k] - node->buckets);
            owed(m->node, b, before[b]);
        }
    }

    m->settled = 1;
}


static void
impatient(message_t *m)
{
    node_t  *node;

    node = &world.node[m->node];

    if (m->settled
        || !node->alive || node->life != m->life || node->worker != m->worker)
    {
        return;
    }

    m->settled = (m->kind != SETTLE);

    if (m->kind == ASK) {
        lines_bucket_asked(&node->buckets[m->bucket]);

    } else if (m->kind == SETTLE) {
        lines_ledger_unheard(&node->ledger.shards[m->shard], m->number);
    }
}


static void
killed(int i)
{
    int      b;
    node_t  *node;

    node = &world.node[i];

    if (world.quiet || !node->alive) {
        return;
    }

    /* it errs by what it has not settled */

    for (b = 0; b < BUCKETS; b++) {
        world.oracle[b] -= (double) (node->buckets[b].uses
                                     + node->buckets[b].sent)
                           * world.rate.interval;
    }

    node->alive = 0;
    total_kills++;

    event_add((int64_t) rnd(20000000), STARTED, i, NULL, 0);
    event_add((int64_t) rnd((uint64_t) world.until), KILLED, i, NULL, 0);
}


static void
run(void)
{
    event_t  e;

    while (world.nevents && !world.found && world.events[0].at < world.until) {

        e = event_next();
        world.now = e.at;

        switch (e.what) {

        case ARRIVAL:
            arrival(e.node);
            break;

        case TIDES:
            tide(e.last);
            break;

        case NODE_TICK:
            if (world.node[e.node].alive
                && world.node[e.node].life == (unsigned) e.last)
            {
                node_tick(e.node);
            }

            break;

        case RECEIVED:
            execute(e.message, e.last);
            break;

        case REPLIED:
            replied(e.message);
            break;

        case IMPATIENT:
            impatient(e.message);
            break;

        case KILLED:
            killed(e.node);
            break;

        case STARTED:
            if (!world.node[e.node].alive) {
                node_start(e.node);
            }

            break;

        case REPLACED:
            node_replace(e.node);
            event_add((int64_t) rnd(10000000), REPLACED, e.node, NULL, 0);
            break;

        case RELOADED:
            node_reload(e.node);
            event_add((int64_t) rnd(rnd(2) ? 500000 : 20000000), RELOADED,
                      e.node, NULL, 0);
            break;

        case FULL:
            world.full = world.quiet ? 0 : world.now + (int64_t) rnd(rnd(2) ? 500000 : 15000000);
            event_add((int64_t) rnd(20000000), FULL, 0, NULL, 0);
            break;

        case CUT:
            if (!world.quiet) {
                total_cuts++;
                world.node[e.node].cut = 1;
                world.node[e.node].since = world.now;
                event_add(1000000 + (int64_t) rnd(25000000), MENDED, e.node,
                          NULL, 0);
            }

            break;

        case MENDED:
            world.node[e.node].cut = 0;
            break;

        /* one that goes and comes, or for long */

        case AWAY:
            if (!world.quiet) {
                total_aways++;
                world.away = 1;
                world.since = world.now;
                event_add(400000 + (int64_t) rnd(rnd(2) ? 1000000 : 25000000),
                          BACK, 0, NULL, 0);
            }

            break;

        case BACK:
            world.away = 0;
            event_add((int64_t) rnd(rnd(2) ? 1500000 : 20000000), AWAY, 0, NULL,
                      0);
            break;
        }

        message_free(e.message);
    }
}


/*
 * What the bucket was charged with: all that was let through, once.  Where a
 * late settlement met one that was before it a full bucket loses what came
 * meanwhile.
 */

static void
look_charged(int b)
{
    char              key[64];
    double            more;
    const char       *p;
    const sim_str_t  *reply;
    sim_str_t         argv[2];

    snprintf(key, sizeof(key), "lines:{l:%d}:b:%d", b / 2, b);
    argv[0] = (sim_str_t) { 3, (unsigned char *) "GET" };
    argv[1] = (sim_str_t) { strlen(key), (unsigned char *) key };

    reply = sim_redis_command(world.redis, 2, argv);
    p = (char *) reply->data;

    if (*p != '$' || p[1] == '-') {
        if (world.charged[b] > (double) world.now) {
            find("charged: bucket %d is not there", b);
        }

        return;
    }

    more = (strtod(strchr(p, '\n') + 1, NULL) - START - world.charged[b])
           / world.rate.interval;

    /* no debt is more than two bursts: of a burst below their number each has
       one, alone, and who knows of no other has all of it */

    if ((more < -(0.5 + SLACK / world.rate.interval)
         && !world.fewer
         && (total_alone == 0 || world.rate.burst >= (ngx_uint_t) world.nodes))
        || (world.crowd == FLOOD
            && more > 0.5 + (double) (world.rate.burst / 2 + world.owed[b])))
    {
        find("charged: %.2f tokens more than %llu", more,
             (unsigned long long) world.passed[b]);
    }

    if (verbose) {
        printf("bucket %d: %llu passed, %.2f more were charged, %.4f of burst "
               "and rate\n", b, (unsigned long long) world.passed[b], more,
               (double) world.passed[b] * world.rate.interval
               / ((double) (world.quieted - world.first[b])
                  + (double) world.rate.burst * world.rate.interval));
    }
}


static void
load(const char *dir, kind_e kind)
{
    FILE             *f;
    char              name[4096], source[65536], *p;
    sim_str_t         argv[3];
    const sim_str_t  *reply;

    snprintf(name, sizeof(name), "%s/%s.lua", dir, names[kind]);

    f = fopen(name, "r");

    if (f == NULL) {
        perror(name);
        exit(1);
    }

    source[fread(source, 1, sizeof(source) - 1, f)] = '\0';
    fclose(f);

    p = is_wrong("forgiven") ? strstr(source, "3 * burst") : NULL;

    if (p) {
        memcpy(p, "1 * burst", 9);
    }

    p = is_wrong("rolled") ? strstr(source, "unpack(before)") : NULL;

    if (p) {
        memcpy(p, "nil           ", 14);
    }

    argv[0] = (sim_str_t) { 6, (unsigned char *) "SCRIPT" };
    argv[1] = (sim_str_t) { 4, (unsigned char *) "LOAD" };
    argv[2] = (sim_str_t) { strlen(source), (unsigned char *) source };

    reply = sim_redis_command(world.redis, 3, argv);
    memcpy(world.digests[kind], reply->data + 5, 40);
}


/* of two rates one has more, or is faster: none lets more through than one that
   is both */

static void
world_rates(void)
{
    lines_rate_t  *less;

    world.rates[0] = world.rates[1] = world.rate;

    if (!world.rolls) {
        return;
    }

    /* nobody knows by how much of which one it goes on alone */

    world.cuts = world.aways = world.fulls = 0;

    less = &world.rates[rnd(2)];
    less->burst -= less->burst / (2 + rnd(3));

    less = &world.rates[rnd(2)];
    less->interval *= 1 + (double) rnd(4) / 2;
}


static void
world_run(const char *dir, uint64_t seed)
{
    int       i, b;
    double    fill;
    uint64_t  begin;

    static const int         nodes[] = { 1, 4, 16, 50 };
    static const ngx_uint_t  bursts[] = { 10, 60, 100, 1000, 10000, 100000 };

    memset(&world, 0, sizeof(world));

    world.random = seed * 0x9e3779b97f4a7c15 + 1;
    world.redis = sim_redis_create();

    for (i = 0; i < SCRIPTS; i++) {
        load(dir, (kind_e) i);
    }

    for (i = 0; i < 10; i++) {
        (void) rnd(2);
    }

    world.nodes = nodes[rnd(4)];
    world.rate.burst = bursts[rnd(6)];
    world.crowd = (crowd_e) rnd(CROWDS);
    begin = rnd(2) ? 100000 : 8000000;

    /* fills in 0.5 to 60 s; such a rate as a directive can say */

    fill = 5e5 + (double) rnd(60000000);
    world.rate.interval = ngx_max(fill / (double) world.rate.burst, 10);
    world.rate.interval = 1e6 / (double) ngx_max((ngx_uint_t)
                                        (1e6 / world.rate.interval), 1);
    world.rate.interval = (double) (int64_t) (world.rate.interval * 1e6) / 1e6;

    world.losses = rnd(2) ? (int) rnd(100) : 0;
    world.kills = rnd(3) == 0;
    world.cuts = rnd(3) == 0;
    world.aways = rnd(3) == 0;
    world.until = 60000000;

    if (world.aways && rnd(2)) {
        world.strict = 1;
        world.losses = world.kills = world.cuts = 0;
    }

    world.deaths = !world.strict && rnd(3) == 0;
    world.fulls = !world.strict && rnd(4) == 0;
    world.rolls = !world.strict && rnd(3) == 0;

    world_rates();

    for (i = 0; i < world.nodes; i++) {

        /* some join later, or all start at once */

        event_add(rnd(4) || world.strict ? 0 : (int64_t) rnd(30000000),
                  STARTED, i, NULL, 0);

        if (world.crowd != TIDE) {
            event_add((int64_t) rnd(begin), ARRIVAL, i, NULL, 0);
        }

        if (world.kills && rnd(2)) {
            event_add((int64_t) rnd(60000000), KILLED, i, NULL, 0);
        }

        if (world.cuts && rnd(2)) {
            event_add((int64_t) rnd(60000000), CUT, i, NULL, 0);
        }

        if (world.deaths) {
            event_add((int64_t) rnd(20000000), REPLACED, i, NULL, 0);
        }

        if (world.rolls && (world.nodes == 1 || rnd(2))) {
            event_add((int64_t) rnd(20000000), RELOADED, i, NULL, 0);
        }
    }

    if (world.fulls) {
        event_add((int64_t) rnd(20000000), FULL, 0, NULL, 0);
    }

    if (world.crowd == TIDE) {
        event_add((int64_t) rnd(begin), TIDES, 0, NULL, 10);
    }

    if (world.aways) {
        event_add(8000000 + (int64_t) rnd(20000000), AWAY, 0, NULL, 0);
    }

    run();

    /* what is open is settled: then it has been charged, all of it, once */

    world.quiet = 1;
    world.away = 0;
    world.full = 0;
    world.quieted = world.now;
    world.until += 40000000;

    for (i = 0; i < world.nodes; i++) {
        world.node[i].cut = 0;
    }

    run();

    for (i = 0; i < world.nodes && !world.found; i++) {
        if (world.node[i].alive && world.node[i].ledger.ahead != 0) {
            find("settled: node %d is %ld ahead in the end", i,
                 (long) world.node[i].ledger.ahead);
        }

        for (b = 0; b < BUCKETS; b++) {
            if (world.node[i].alive
                && !lines_bucket_settled(&world.node[i].buckets[b]))
            {
                find("settled: node %d has %ld open in the end", i,
                     (long) world.node[i].buckets[b].uses);
            }
        }
    }

    for (b = 0; b < BUCKETS && !world.found; b++) {
        if (!world.kills && !world.rolls && world.passed[b]) {
            look_charged(b);
        }
    }

    if (world.found || verbose) {
        printf("seed %llu: %s\n  %d nodes, burst %lu, interval %.6f us%s%s%s%s"
               "%s%s, %d losses%s, at %.3f s\n", (unsigned long long) seed,
               world.found ? world.found : "good", world.nodes,
               (unsigned long) world.rate.burst, world.rate.interval,
               world.crowd == FLOOD ? ", flood"
               : world.crowd == TIDE ? ", tide" : "",
               world.kills ? ", kills" : "",
               world.cuts ? ", cuts" : "",
               world.deaths ? ", deaths" : "",
               world.fulls ? ", fulls" : "",
               world.rolls ? ", rolls" : "", world.losses,
               world.strict ? ", aways alone" : world.aways ? ", aways" : "",
               (double) world.now / 1e6);
    }

    while (world.nevents) {
        message_free(event_next().message);
    }

    free(world.events);
    sim_redis_destroy(world.redis);
}


int
main(int argc, char **argv)
{
    int          i;
    uint64_t     seed, runs, n;
    const char  *dir;

    dir = NULL;
    seed = 1;
    runs = 1;

    for (i = 1; i < argc; i++) {

        if (strcmp(argv[i], "--verbose") == 0) {
            verbose = 1;

        } else if (strcmp(argv[i], "--wrongs") == 0) {
            for (n = 0; wrongs[n]; n++) {
                puts(wrongs[n]);
            }

            return 0;

        } else if (strcmp(argv[i], "--wrong") == 0 && i + 1 < argc) {
            wrong = argv[++i];

        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);

        } else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
            runs = strtoull(argv[++i], NULL, 10);

        } else {
            dir = argv[i];
        }
    }

    if (dir == NULL) {
        fprintf(stderr, "usage: limits SCRIPTS [--seed N] [--runs N] "
                "[--wrong NAME] [--wrongs] [--verbose]\n");
        return 2;
    }

    for (n = 0; n < runs; n++) {
        world_run(dir, seed + n);

        if (world.found) {
            return 1;
        }
    }

    printf("runs %llu, passed %llu, settled %llu, asks %llu, kills %llu, "
           "cuts %llu, lost %llu, doubled %llu, aways %llu, alone %llu, owed "
           "%llu, deaths %llu, refused %llu, rolls %llu\n", (unsigned long long) runs,
           (unsigned long long) total_passed,
           (unsigned long long) total_settled, (unsigned long long) total_asks,
           (unsigned long long) total_kills, (unsigned long long) total_cuts,
           (unsigned long long) total_lost, (unsigned long long) total_doubled,
           (unsigned long long) total_aways, (unsigned long long) total_alone,
           (unsigned long long) total_owed, (unsigned long long) total_deaths,
           (unsigned long long) total_refused,
           (unsigned long long) total_rolls);

    return 0;
}
