
/*
 * engine [--seed N] [--steps N] [--length N] [--may MASK] [--wrong NAME]
 *        [--all] [--verbose]
 * engine --wrongs
 *
 * Runs the engine's own files and the real scripts against a model of all
 * that is around them, one run after another, each of its own seed, until so
 * many steps were made.  In each, something may go wrong at any step; then all
 * faults end, everything comes to rest, and the books must balance.
 *
 * --steps 0, the default, is a single run: that of a seed that failed.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "store/scripts.h"

#include "world.h"


#define LENGTH  2000        /* steps of a run before all comes to rest */
#define REST    60000       /* and then at most */
#define PASSES  3           /* of the auditor's */


/* what the engine is held against: all of it (t/README.md) */
#define MAY     (SIM_KILLS|SIM_CUTS|SIM_CALLS|SIM_EVENTS|SIM_STALLS           \
                 |SIM_HANDS|SIM_REFUNDS|SIM_CARDS|SIM_PLANS|SIM_RENEWALS      \
                 |SIM_EARLY|SIM_DISPUTES|SIM_JUMPS|SIM_DELETES|SIM_SILENCE     \
                 |SIM_LOSSES|SIM_PARTS|SIM_RESTORES|SIM_CLOCKS|SIM_REFUSALS   \
                 |SIM_LAGS)


typedef enum {
    EXECUTE = 0, DELIVER, TICK, BOOT, ARRIVE, ANSWER, EVENT, REPORT, BILLING,
    WHATS
} what_e;

typedef struct {
    what_e   what;
    void    *of;
} ready_t;


sim_world_t  world;


const sim_wrong_t  sim_wrongs[] = {

    /* whoever has lost the lease writes all the same */
    { "fence", NULL, "return held[1] == step and held[2] == attempt and "
      "held[3] == fence", "return true" },

    /* billing/: keys are forgotten at once */
    { "keys", NULL, NULL, NULL },

    /* billing/: of several payments only one is seen */
    { "payments", NULL, NULL, NULL },

    /* what failed is not given back */
    { "refund", "told", "elseif filled(h.subscription) then",
      "elseif false then" },

    /* a place is never free again */
    { "place", NULL, "changes.place = ''\n", "\n" },

    /* news is no news */
    { "news", NULL, "redis.call('HSET', op, 'woken', 1)\n"
      "    redis.call('HINCRBY', op, 'dirty', 1)", "" },

    /* nobody will look: not by a hint, not by the survey */
    { "hint", NULL, "redis.call('SADD', ops, id)", "" },

    /* a line that was canceled goes on to block its workspace */
    { "pending", NULL, "redis.call('DEL', keys.pending)", "" },

    /* a number that is handed out is free as well */
    { "number", "inv_lease", "redis.call('ZREM', free_key, number)", "" },

    /* a number that is wanted for a ticket is taken from whoever has it */
    { "taken", "inv_lease", "if h.state ~= 'free' then", "if false then" },

    /* a window is never full */
    { "window", "confirm_begin", "if state.full then", "if false then" },

    /* the end of an add-on is not the end of its line */
    { "lapse", "lapse_end", "if verdict == 'ended' then", "if false then" },

    /* the auditor takes all that disagrees for under way */
    { "blind", "audit_flight", "return unfinished", "return 1" },

    /* any database is the right one */
    { "held", "database_check", "if reason and not confirm then",
      "if false then" },

    /* who gave all back of a line that runs is told nothing of it */
    { "credited", "audit_found", "local now = now_ms()\n",
      "if kind == 'credited' then return { 'known' } end\n"
      "local now = now_ms()\n" },

    /* billing/: what people gave back is not told before there is a line */
    { "given", NULL, NULL, NULL },

    /* what a person said was given back elsewhere is given back once more */
    { "settled", NULL, "redis.call('HINCRBY', settled, said[1], amount)", "" },

    /* node.c: what is not listed is not there, and not looked for again */
    { "wait", NULL, NULL, NULL },

    /* billing/: what is not listed yet nobody hears of */
    { "latest", NULL, NULL, NULL },

    /* it sees what is not so */
    { "false", "audit_tenant", "if counts ~= held", "if counts == held" },

    { NULL, NULL, NULL, NULL }
};


static sim_copy_t  *first;          /* of Redis, when the run began */
static sim_copy_t  *copy;           /* the same, a moment ago */
static int64_t      copied;
static int64_t      asked;          /* ms: a pass, by Redis' clock */
static int64_t      ended;          /* the last one before it */
static int64_t      began;          /* the run, */
static int64_t      jumped;         /* or a time in which nobody did anything */

static struct {
    uint64_t  runs;
    uint64_t  steps;
    uint64_t  kills;
    uint64_t  cuts;
    uint64_t  losses;
    uint64_t  restores;
    uint64_t  calls;
    uint64_t  events;
    uint64_t  failed;
} total;


static void plant(const sim_wrong_t *wrong);
static void run(uint64_t seed, uint64_t length, unsigned may);
static void step(void);
static int strike(void);
static void restore(void);
static int go(void);
static void advance(void);
static void rest(void);
static int audited(void);
static int64_t redis_time(const char *key, const char *field);
static int64_t next_hint(void);
static void drop_calls(void);


uint64_t
sim_random(uint64_t n)
{
    return sim_draw(&world.random, n);
}


uint64_t
sim_draw(uint64_t *stream, uint64_t n)
{
    uint64_t  x;

    /* splitmix64 */

    x = (*stream += 0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    x ^= x >> 31;

    return n ? x % n : 0;
}


void
sim_trace(const char *fmt, ...)
{
    va_list  args;

    if (!world.verbose) {
        return;
    }

    printf("%6llu %12.3f  ", (unsigned long long) world.steps,
           (double) (world.now % (1000 * SIM_DAY)) / SIM_SECOND);

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");
    fflush(stdout);
}


void
sim_logged(ngx_uint_t level, const char *text)
{
    ngx_uint_t  i;

    /* never, whatever others do */

    static const char  *never[] = {
        "no such step", "unknown kind", "undecided", "an empty part",
        "is not as declared", "without an answer", NULL
    };

    if (world.verbose) {
        sim_trace("node %d: [%d] %s", world.node ? world.node->id : -1,
                  (int) level, text);
    }

    for (i = 0; level <= NGX_LOG_ERR && never[i]; i++) {
        if (strstr(text, never[i])) {
            sim_found("engine", "%s", text);
        }
    }
}


void
sim_found(const char *kind, const char *fmt, ...)
{
    int      n;
    char     text[sizeof(world.finding)];
    va_list  args;

    n = snprintf(text, sizeof(text), "%s: ", kind);

    va_start(args, fmt);
    vsnprintf(text + n, sizeof(text) - n, fmt, args);
    va_end(args);

    sim_trace("FOUND %s", text);

    if (world.findings++ == 0) {
        memcpy(world.finding, text, sizeof(text));
    }
}


int
main(int argc, char **argv)
{
    int                 i, all;
    clock_t             start;
    uint64_t            seed, steps, length;
    unsigned            may;
    const sim_wrong_t  *wrong;

    seed = 1;
    steps = 0;
    length = LENGTH;
    may = MAY;
    all = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);

    for (i = 1; i < argc; i++) {

#define option(name)  (strcmp(argv[i], name) == 0 && i + 1 < argc)

        if (option("--seed")) {
            seed = strtoull(argv[++i], NULL, 0);

        } else if (option("--steps")) {
            steps = strtoull(argv[++i], NULL, 0);

        } else if (option("--length")) {
            length = strtoull(argv[++i], NULL, 0);

        } else if (option("--may")) {
            may = strtoul(argv[++i], NULL, 0);

        } else if (option("--wrong")) {
            i++;

            for (wrong = sim_wrongs; wrong->name; wrong++) {
                if (strcmp(wrong->name, argv[i]) == 0) {
                    world.wrong = wrong;
                }
            }

            if (world.wrong == NULL) {
                fprintf(stderr, "no such wrong: %s\n", argv[i]);
                return 2;
            }

        } else if (strcmp(argv[i], "--wrongs") == 0) {

            for (wrong = sim_wrongs; wrong->name; wrong++) {
                printf("%s\n", wrong->name);
            }

            return 0;

        } else if (strcmp(argv[i], "--all") == 0) {
            all = 1;

        } else if (strcmp(argv[i], "--verbose") == 0) {
            world.verbose = 1;

        } else {
            fprintf(stderr, "usage: %s [--seed N] [--steps N] [--length N] "
                    "[--may MASK] [--wrong NAME] [--all] [--verbose]\n",
                    argv[0]);
            return 2;
        }
    }

    sim_nginx_init();

    if (world.verbose) {
        sim_nginx_debug();
    }

    if (world.wrong) {
        plant(world.wrong);
    }

    start = clock();

    do {
        run(seed, length, may);

        if (world.findings) {
            total.failed++;
            printf("seed %llu: %s%s\n", (unsigned long long) seed,
                   world.finding, world.findings > 1 ? " …" : "");

            if (!all) {
                printf("to see it again: %s --seed %llu", argv[0],
                       (unsigned long long) seed);

                if (length != LENGTH) {
                    printf(" --length %llu", (unsigned long long) length);
                }

                if (may != MAY) {
                    printf(" --may 0x%x", may);
                }

                printf("%s%s --verbose\n", world.wrong ? " --wrong " : "",
                       world.wrong ? world.wrong->name : "");
                break;
            }
        }

        seed++;

    } while (total.steps < steps);

    printf("runs %llu, steps %llu, kills %llu, cuts %llu, losses %llu, restores %llu, calls "
           "%llu, events %llu, failed %llu, seconds %.1f\n",
           (unsigned long long) total.runs, (unsigned long long) total.steps,
           (unsigned long long) total.kills, (unsigned long long) total.cuts,
           (unsigned long long) total.losses,
           (unsigned long long) total.restores,
           (unsigned long long) total.calls,
           (unsigned long long) total.events,
           (unsigned long long) total.failed,
           (double) (clock() - start) / CLOCKS_PER_SEC);

    printf("scripts");

    for (i = 0; lines_scripts[i]; i++) {
        if (world.ran[i]) {
            printf(" %.*s %llu", (int) lines_scripts[i]->name.len,
                   lines_scripts[i]->name.data,
                   (unsigned long long) world.ran[i]);
        }
    }

    printf("\n");

    return total.failed != 0;
}


/* in the text of the scripts: the engine is as it is */

static void
plant(const sim_wrong_t *wrong)
{
    int              planted;
    char            *at, *text, *end;
    u_char           digest[20];
    size_t           i, len;
    ngx_str_t        name;
    lines_script_t  *script;

    if (wrong->from == NULL) {
        return;
    }

    planted = 0;

    for (i = 0; lines_scripts[i]; i++) {
        script = lines_scripts[i];
        name = script->name;

        if (wrong->script
            && (name.len != strlen(wrong->script)
                || memcmp(name.data, wrong->script, name.len) != 0))
        {
            continue;
        }

        at = memmem(script->source.data, script->source.len, wrong->from,
                    strlen(wrong->from));

        if (at == NULL) {
            continue;
        }

        len = script->source.len + strlen(wrong->to);
        text = malloc(len + 1 + 41);

        if (text == NULL) {
            abort();
        }

        end = mempcpy(text, script->source.data,
                      at - (char *) script->source.data);
        end = stpcpy(end, wrong->to);

        at += strlen(wrong->from);
        len = (char *) script->source.data + script->source.len - at;
        end = mempcpy(end, at, len);

        script->source.data = (u_char *) text;
        script->source.len = end - text;

        if (EVP_Digest(text, end - text, digest, NULL, EVP_sha1(), NULL) != 1) {
            abort();
        }

        *end++ = '\0';
        script->sha1.data = (u_char *) end;
        script->sha1.len = 40;
        ngx_hex_dump(script->sha1.data, digest, 20);

        planted++;
    }

    if (planted == 0) {
        fprintf(stderr, "nothing to plant \"%s\" in\n", wrong->name);
        exit(2);
    }
}


static void
run(uint64_t seed, uint64_t length, unsigned may)
{
    int       i;
    uint64_t  lag;

    world.seed = seed;
    world.random = seed;
    world.steps = 0;
    world.now = 1763000000 * SIM_SECOND;
    world.quiet = 0;
    world.lost = 0;
    world.server = 1;
    world.auditing = world.restored = 0;
    world.held = world.skew = 0;
    world.findings = 0;
    world.node = NULL;

    (void) sim_random(1);
    srandom(seed);

    /* each run has some of it: what a fault hides another run shows */

    world.may = may & (unsigned) (sim_random(1 << 20) | sim_random(1 << 20));

    if (!sim_one_in(8)) {
        world.may &= ~SIM_SILENCE;
    }

    if (!sim_one_in(3)) {
        world.may &= ~SIM_LOSSES;
    }

    if (!sim_one_in(5)) {
        world.may &= ~SIM_RESTORES;
    }

    if (!sim_one_in(6)) {
        world.may &= ~SIM_CLOCKS;
    }

    lag = seed;

    if (sim_draw(&lag, 2)) {
        world.may |= may & SIM_LAGS;
    }

    /* what Redis forgot was given back otherwise nobody knows of */

    if (world.may & (SIM_LOSSES | SIM_RESTORES)) {
        world.may &= ~SIM_REFUSALS;
    }

    sim_nginx_set_time(world.now, 0);

    ngx_queue_init(&world.calls);

    began = jumped = world.now;

    sim_redis_begin();
    sim_billing_begin();
    sim_people_begin();

    for (i = 0; i < SIM_NODES; i++) {
        world.nodes[i].id = i;
        world.nodes[i].kills = 0;
        ngx_memzero(&world.nodes[i].database, sizeof(lines_database_area_t));
        sim_node_boot(&world.nodes[i]);
    }

    sim_trace("seed %llu, may 0x%x", (unsigned long long) seed, world.may);

    first = (world.may & SIM_RESTORES) ? sim_redis_copy(world.redis) : NULL;

    while (world.steps < length && world.findings == 0) {
        step();
    }

    if (world.findings == 0) {
        rest();
    }

    if (world.findings == 0) {
        sim_judge();
    }

    total.runs++;
    total.steps += world.steps;

    if (copy) {
        sim_redis_copy_free(copy);
        copy = NULL;
    }

    if (first) {
        sim_redis_copy_free(first);
        first = NULL;
    }

    for (i = 0; i < SIM_NODES; i++) {
        total.kills += world.nodes[i].kills;
        sim_node_free(&world.nodes[i]);
    }

    drop_calls();
    sim_billing_end();
    sim_redis_destroy(world.redis);
}


/* one thing happens */

static void
step(void)
{
    world.steps++;
    world.now += (int64_t) sim_random(2000);

    sim_nginx_set_time(world.now, 0);

    if (!world.quiet && strike()) {
        return;
    }

    if (!go()) {
        advance();
    }
}


/* something that comes of itself: people, hands, faults */

static int
strike(void)
{
    int          i;
    char         text[24];
    sim_node_t  *node;

#define may(what)  (world.may & (what))

    node = &world.nodes[sim_random(SIM_NODES)];

    switch (sim_random(600)) {

    case 0: case 1: case 2: case 3: case 4: case 5: case 6: case 7:
    case 8: case 9: case 10: case 11: case 12: case 13: case 14: case 15:
        sim_people_act();
        return 1;

    case 20: case 21: case 22: case 23: case 24: case 25:
        sim_billing_pay();
        return 1;

    case 30: case 31: case 32:
        if (may(SIM_HANDS)) {
            sim_billing_hand();
            return 1;
        }

        return 0;

    case 40:
        if (may(SIM_CARDS)) {
            sim_billing_card();
            return 1;
        }

        return 0;

    case 41:
        if (may(SIM_PLANS)) {
            sim_billing_plan();
            return 1;
        }

        return 0;

    case 42: case 43: case 44: case 45: case 46: case 47:
        if (may(SIM_RENEWALS)) {
            sim_billing_renew();
            return 1;
        }

        return 0;

    case 48:
        if (may(SIM_DISPUTES)) {
            sim_billing_dispute();
            return 1;
        }

        return 0;

    case 49:
        if (may(SIM_PARTS)) {
            sim_billing_grant();
            return 1;
        }

        return 0;

    case 17: case 18:
        if (may(SIM_REFUSALS)) {
            sim_billing_refuse();
            return 1;
        }

        return 0;

    case 19:
        sim_people_resolve();
        return 1;

    case 50: case 51: case 52: case 53:
        if (may(SIM_KILLS) && node->up) {
            sim_node_kill(node);
            node->stalled = world.now + (int64_t) sim_random(
                                            sim_one_in(4) ? SIM_MINUTE
                                                          : 2 * SIM_SECOND);
            return 1;
        }

        return 0;

    case 54: case 55:
        if (may(SIM_CUTS) && node->up) {
            total.cuts++;
            sim_node_cut(node);
            return 1;
        }

        return 0;

    case 56: case 57:
        if (may(SIM_CUTS) && node->up) {
            sim_node_late(node);
            return 1;
        }

        return 0;

    case 58: case 59:

        /* as by SIGSTOP: what it hears it hears later, its clock is right */

        if (may(SIM_STALLS) && node->up && node->stalled <= world.now) {
            node->stalled = world.now + (int64_t) sim_random(SIM_MINUTE);
            sim_trace("node %d stands still for %lld ms", node->id,
                      (long long) (node->stalled - world.now) / 1000);
            return 1;
        }

        return 0;

    case 60: case 61: case 62: case 63: case 64: case 65: case 66: case 67:

        if (may(SIM_LOSSES)) {

            if (copy) {
                sim_redis_copy_free(copy);
            }

            copy = sim_redis_copy(world.redis);
            copied = world.now;
        }

        return 0;

    case 70: case 71: case 72:
        if (may(SIM_LOSSES) && copy && world.now - copied < 2 * SIM_SECOND) {
            sim_trace("Redis loses its last %lld ms",
                      (long long) (world.now - copied) / 1000);

            total.losses++;
            world.lost = 1;
            world.server++;

            sim_redis_restore(world.redis, copy);

            /*
             * A fleet that slept for hours raises it by them: t/89.  But what
             * was restored nobody has raised, before it is confirmed.
             */

            if (!world.held) {
                snprintf(text, sizeof(text), "%lld",
                         (long long) world.now / 1000);
                (void) sim_ask("HSET", "lines:{database}", "watermark", text,
                               NULL);
            }

            for (i = 0; i < SIM_NODES; i++) {
                if (world.nodes[i].up) {
                    sim_node_cut(&world.nodes[i]);
                }
            }

            return 1;
        }

        return 0;

    case 75:

        /*
         * Nodes all remember a later one, which is more than a lost suffix, or
         * another; at most once in a run.
         */

        if (may(SIM_RESTORES) && !world.restored && world.steps > 300
            && redis_time("lines:{database}", "watermark")
               > began / 1000 + 5 * 60000
            && world.now - jumped > 10 * SIM_SECOND)
        {
            restore();
            return 1;
        }

        return 0;

    case 76: case 77:
        if (world.held && world.now > world.held + 4 * SIM_MINUTE) {
            sim_people_confirm();
            return 1;
        }

        return 0;

    case 78:
        if (may(SIM_CLOCKS)) {
            world.skew = (int64_t) sim_random(20 * SIM_MINUTE)
                         - 10 * SIM_MINUTE;
            sim_trace("Redis' clock is %lld s off",
                      (long long) (world.skew / SIM_SECOND));
            return 1;
        }

        return 0;

    default:
        return 0;
    }
}


static void
restore(void)
{
    int  i;

    if (copy) {
        sim_redis_copy_free(copy);
        copy = NULL;
    }

    world.restored = 1;
    world.server++;
    world.held = world.now;
    total.restores++;

    if (sim_one_in(2)) {
        sim_trace("Redis is what it was at first");
        sim_redis_restore(world.redis, first);

    } else {
        sim_trace("Redis is emptied");
        (void) sim_ask("FLUSHALL", NULL);
        sim_people_again();
    }

    for (i = 0; i < SIM_NODES; i++) {
        if (world.nodes[i].up) {
            sim_node_cut(&world.nodes[i]);
        }
    }
}


/* one of those things that can happen now; 0: there is none */

static int
go(void)
{
    int           i, n, real;
    json_t       *event;
    ready_t       ready[256], *r;
    sim_call_t   *call;
    ngx_queue_t  *q, *next;
    sim_node_t   *node;

#define add(w, o)                                                             \
    (n < 256 ? (ready[n].what = w, ready[n++].of = o, (void) 0) : (void) 0)

again:

    n = 0;

    for (i = 0; i < SIM_NODES; i++) {
        node = &world.nodes[i];

        if (node->stalled > world.now) {

            /* what it sent before arrives */

            if (node->up && !ngx_queue_empty(&node->sent)) {
                add(EXECUTE, node);
            }

            continue;
        }

        if (!node->up) {
            add(BOOT, node);
            continue;
        }

        if (!ngx_queue_empty(&node->sent)) {
            add(EXECUTE, node);
            add(EXECUTE, node);
        }

        if (!ngx_queue_empty(&node->replies)) {
            add(DELIVER, node);
            add(DELIVER, node);
        }

        if (sim_node_timer(node) && sim_node_timer(node) <= world.now) {
            add(TICK, node);
        }
    }

    for (q = ngx_queue_head(&world.calls);
         q != ngx_queue_sentinel(&world.calls);
         q = next)
    {
        next = ngx_queue_next(q);
        call = ngx_queue_data(q, sim_call_t, queue);

        if (call->arrives > 0) {
            if (call->arrives <= world.now) {
                add(ARRIVE, call);
            }

        } else if (call->carrier == NULL) {
            sim_call_free(call);
            continue;
        }

        if (call->carrier && call->answers <= world.now
            && call->node->stalled <= world.now
            && (call->deaf || call->arrives <= 0))
        {
            add(ANSWER, call);
        }
    }

    if (sim_event_due() && sim_event_due() <= world.now) {
        for (i = 0; i < SIM_NODES; i++) {
            if (world.nodes[i].up && world.nodes[i].stalled <= world.now) {
                add(EVENT, &world.nodes[i]);
            }
        }
    }

    if (sim_people_due() && sim_people_due() <= world.now) {
        add(REPORT, NULL);
    }

    if (sim_billing_due() && sim_billing_due() <= world.now) {
        add(BILLING, NULL);
    }

    if (n == 0) {
        return 0;
    }

    r = &ready[sim_random(n)];
    real = 1;

    switch (r->what) {

    case EXECUTE:
        real = sim_node_execute(r->of);
        break;

    case DELIVER:
        real = sim_node_deliver(r->of);
        break;

    case TICK:
        real = sim_node_tick(r->of);
        break;

    case BOOT:
        sim_node_boot(r->of);
        break;

    case ARRIVE:
        total.calls++;
        sim_call_arrive(r->of);
        break;

    case ANSWER:
        sim_call_answer(r->of);
        break;

    case EVENT:
        event = sim_event_take();

        if (event) {
            total.events++;
            sim_people_event(r->of, event);
        }

        break;

    case REPORT:
        sim_people_tick();
        break;

    default:
        sim_billing_tick();
    }

    /* that a sweeper looked, and there was nothing, is no step */

    if (!real) {
        goto again;
    }

    return 1;
}


static void
sooner(int64_t *first, int64_t at)
{
    if (at && (*first == 0 || at < *first)) {
        *first = at;
    }
}


/* nothing can happen now: time goes on, to the next thing, or further */

static void
advance(void)
{
    int           i, flying;
    int64_t       first, hint;
    sim_call_t   *call;
    sim_node_t   *node;
    ngx_queue_t  *q;

    static const int64_t  jumps[] = {
        40 * SIM_SECOND, 6 * SIM_MINUTE, 35 * SIM_MINUTE, SIM_HOUR,
        8 * SIM_HOUR, 24 * SIM_HOUR, 40 * SIM_HOUR
    };

    first = 0;
    flying = 0;

    for (q = ngx_queue_head(&world.calls);
         q != ngx_queue_sentinel(&world.calls);
         q = ngx_queue_next(q))
    {
        call = ngx_queue_data(q, sim_call_t, queue);
        flying = 1;

        if (call->arrives > 0) {
            sooner(&first, call->arrives);
        }

        if (call->carrier && call->node->stalled <= world.now) {
            sooner(&first, call->answers);
        }
    }

    sooner(&first, sim_event_due());
    sooner(&first, sim_people_due());
    sooner(&first, sim_billing_due());

    for (i = 0; i < SIM_NODES; i++) {
        node = &world.nodes[i];

        if (node->stalled > world.now) {
            sooner(&first, node->stalled);
            flying = 1;
        }
    }

    if (!flying && !world.quiet && may(SIM_JUMPS) && sim_one_in(40)) {

        /* a loss and a day's standstill at once: billing forgot the key, too */

        world.now += jumps[sim_random(may(SIM_LOSSES)
                                      ? 5 : sizeof(jumps) / sizeof(jumps[0]))];
        jumped = world.now;
        sim_trace("time goes on");
        return;
    }

    if (world.quiet && !flying && !world.auditing) {

        /* hours without anything to do are no work */

        hint = next_hint();

        if (hint > world.now) {
            sooner(&first, hint);

            for (i = 0; i < SIM_NODES; i++) {
                if (sim_node_running(&world.nodes[i])) {
                    sooner(&first, sim_node_timer(&world.nodes[i]));
                }
            }

            if (first > world.now) {
                world.now = first;
            }

            return;
        }
    }

    for (i = 0; i < SIM_NODES; i++) {
        if (world.nodes[i].up && world.nodes[i].stalled <= world.now) {
            sooner(&first, sim_node_timer(&world.nodes[i]));
        }
    }

    if (first > world.now) {
        world.now = first;
    }
}


/* when somebody is to look next, as Redis has it: us; 0: never */

static int64_t
next_hint(void)
{
    int               i;
    char              key[32], *p;
    int64_t           first;
    const sim_str_t  *reply;

    first = 0;

    for (i = 0; i <= LINES_DUE_SHARDS; i++) {
        snprintf(key, sizeof(key), "lines:{due:%d}", i);

        reply = sim_ask("ZRANGE",
                        i == LINES_DUE_SHARDS ? "lines:{inv}:leases" : key,
                        "0", "0", "WITHSCORES", NULL);

        /* "*2", a member, its score */

        if (reply->data[1] != '2') {
            continue;
        }

        for (p = (char *) reply->data + reply->len - 3; *p != '\n'; p--) {
            /* void */
        }

        sooner(&first, (int64_t) (strtod(p + 1, NULL) * 1000) + 1000);
    }

    return first;
}


/* no faults, no hands: all that was begun comes to its end */

static void
rest(void)
{
    int       i, passes, dunned;
    int64_t   until;
    uint64_t  most;

    sim_trace("all is to come to rest");

    world.quiet = 1;
    passes = 0;
    dunned = 0;
    until = world.now + 8 * SIM_DAY;
    most = world.steps + REST;

    for (i = 0; i < SIM_NODES; i++) {
        world.nodes[i].away = 0;
        world.nodes[i].stalled = 0;
        world.nodes[i].op.pass = 30 * 86400000LL;
    }

    /* who hears nothing has to look */

    if (world.lost || may(SIM_SILENCE)) {
        sim_billing_announce();
    }

    while (world.findings == 0) {
        step();

        if (world.steps >= most || world.now >= until) {

            /* the judge says what is left */
            sim_trace("it does not come to rest");
            return;
        }

        /* who awaits the payment of a renewal asks until billing gives up */

        if (!dunned && world.now >= until - 4 * SIM_DAY) {
            sim_billing_dunned();
            dunned = 1;
        }

        if (world.steps % 16) {
            continue;
        }

        /*
         * The confirmation may be forgotten, too; and what is held may be what
         * billing tells of, until it has come to its end.
         */

        if (world.held
            || sim_ask("HEXISTS", "lines:{database}", "held", NULL)->data[1]
               == '1')
        {
            if (world.steps % 256 == 0) {
                sim_people_confirm();
            }

            continue;
        }

        if (sim_people_deleting()) {
            continue;
        }

        sim_people_resolve();

        if (sim_event_due() || sim_people_due()
            || !ngx_queue_empty(&world.calls))
        {
            continue;
        }

        for (i = 0; i < SIM_NODES; i++) {
            if (sim_node_running(&world.nodes[i])
                || sim_node_busy(&world.nodes[i]))
            {
                break;
            }
        }

        if (i < SIM_NODES || sim_judge_unfinished()
            || sim_ask("ZCARD", "lines:{inv}:leases", NULL)->data[1] != '0')
        {
            continue;
        }

        /* lists show all by then */

        if (world.now < sim_billing_caught_up()) {
            world.now = sim_billing_caught_up();
            continue;
        }

        /* what is forgotten, and paid in part, is heard of when it expires */

        if (world.lost && sim_billing_due()) {
            world.now = ngx_max(world.now, sim_billing_due());
            continue;
        }

        /* what was not heard, or forgotten, a pass of the auditor's finds */

        if (world.auditing) {
            if (!audited()) {
                continue;
            }

            sim_trace("a pass has ended");
            world.auditing = 0;

            /* who has heard of all has left nothing to repair */

            if (passes++ == 0 && !world.lost && !may(SIM_SILENCE)
                && sim_judge_audited())
            {
                sim_found("audit", "it had to repair what was heard of");
            }

        } else {
            (void) sim_judge_audited();
        }

        if (world.restored || passes == PASSES || (passes && !sim_judge_audited())) {
            return;
        }

        world.auditing = 1;
        asked = (world.now + world.skew) / 1000;
        ended = redis_time("lines:{audit}", "ended");
        (void) sim_ask("HSET", "lines:{audit}", "asked", "1", NULL);
    }
}


/*
 * A pass that began since it was asked for, to its end: another one than was
 * there, which may have been by a clock that has been set back.
 */

static int
audited(void)
{
    int64_t  at, end;

    at = redis_time("lines:{audit}", "began");
    end = redis_time("lines:{audit}", "ended");

    return at >= asked && end >= at && end != ended;
}


/* ms, by Redis' clock; 0: never */

static int64_t
redis_time(const char *key, const char *field)
{
    const sim_str_t  *reply;

    reply = sim_ask("HGET", key, field, NULL);

    return memcmp(reply->data, "$-1", 3) == 0
           ? 0 : strtoll(strchr((char *) reply->data, '\n') + 1, NULL, 10);
}


static void
drop_calls(void)
{
    while (!ngx_queue_empty(&world.calls)) {
        sim_call_free(ngx_queue_data(ngx_queue_head(&world.calls), sim_call_t,
                                     queue));
    }
}
