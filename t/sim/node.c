
/*
 * A node: what a worker of nginx has in its memory, its connection to Redis,
 * its calls.  The store's transport (store/redis_op.c) and the carrier
 * (http/carrier.c) end here: what they were asked is done when the simulation
 * says so, or never.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdio.h>

#include "background/audit.h"
#include "background/survey.h"
#include "background/sweeper.h"
#include "billing/billing.h"
#include "http/metrics.h"
#include "http/text.h"
#include "operation/operation.h"
#include "store/redis_op.h"
#include "store/scripts.h"

#include "world.h"


typedef struct {
    lines_redis_op_t   op;         /* the first: it is all that others see */
    ngx_queue_t        queue;
    sim_node_t        *node;
    char              *reply;      /* of what was executed */
    size_t             nreply;
    unsigned           looks:2;    /* for work: no step of its own; 2: nor is
                                      what it finds */
} command_t;

typedef struct {
    lines_carrier_t    carrier;
    ngx_queue_t        queue;      /* of node->dead */
    sim_call_t        *call;
    lines_billing_pt   none;
} carrier_t;


static void node_run(sim_node_t *node);
static void node_statics(sim_node_t *node, int in);
static void command_execute(command_t *c);
static void command_tell(command_t *c, int heard);
static void command_free(command_t *c);
static void carrier_waited(ngx_event_t *ev);


/* of http/metrics.c */

static lines_metrics_area_t  area;
static lines_metrics_slot_t  metrics;
lines_metrics_slot_t        *lines_metrics = &metrics;
const ngx_msec_t             lines_redis_bounds[LINES_REDIS_LATENCIES - 1];

ngx_module_t  ngx_http_lines_module;    /* its index is 0 */


static sim_static_t  nginx_statics[] = {
    { &ngx_event_timer_rbtree, sizeof(ngx_rbtree_t) },
    { &ngx_posted_events, sizeof(ngx_queue_t) },
    { NULL, 0 }
};


static char  lost_text[] = "cut";


void
sim_redis_begin(void)
{
    size_t           i;
    lines_script_t  *script;
    const sim_str_t *reply;

    world.redis = sim_redis_create();
    sim_redis_set_time(world.redis, world.now);

    for (i = 0; lines_scripts[i]; i++) {
        script = lines_scripts[i];

        sim_str_t  argv[3] = {
            { 6, (u_char *) "SCRIPT" }, { 4, (u_char *) "LOAD" },
            { script->source.len, script->source.data }
        };

        reply = sim_redis_command(world.redis, 3, argv);

        if (reply->len < 46 || reply->data[0] != '$'
            || ngx_memcmp(reply->data + 5, script->sha1.data, 40) != 0)
        {
            fprintf(stderr, "%.*s: %.*s\n", (int) script->name.len,
                    script->name.data, (int) reply->len, reply->data);
            abort();
        }
    }
}


const sim_str_t *
sim_ask(const char *arg, ...)
{
    size_t     n;
    va_list    args;
    sim_str_t  argv[64];

    n = 0;
    va_start(args, arg);

    for ( /* void */ ; arg && n < 64; arg = va_arg(args, const char *)) {
        argv[n].data = (u_char *) arg;
        argv[n++].len = strlen(arg);
    }

    va_end(args);

    sim_redis_set_time(world.redis, world.now + world.skew);

    return sim_redis_command(world.redis, n, argv);
}


ngx_queue_t *
sim_pools(void)
{
    if (world.node == NULL) {
        abort();
    }

    return &world.node->pools;
}


void
sim_node_boot(sim_node_t *node)
{
    static lines_billing_plan_t   plans[] = {
        { ngx_string("price_base"), ngx_string("pro") },
        { ngx_string("price_small"), ngx_string("small") }
    };

    /* plan, channel, how many it includes: people.c */

    static ngx_str_t              places[] = {
        ngx_string("pro"), ngx_string("phone"), ngx_string("1"),
        ngx_string("small"), ngx_string("phone"), ngx_string("1")
    };

    static lines_redis_conf_t     redis_conf = { .name = ngx_string("sim") };

    static lines_billing_conf_t   billing = {
        .uri = ngx_string("/b/"),
        .deployment = ngx_string("sim"),
        .anchor = ngx_string("cus_anchor"),
        .version = ngx_string("x"),
        .budget = 3000,
        .timeout = 18000
    };

    lines_redis_t  *redis;

    billing.plans.elts = plans;
    billing.plans.nelts = 2;
    billing.plans.size = sizeof(lines_billing_plan_t);

    ngx_queue_init(&node->pools);
    ngx_queue_init(&node->dead);
    ngx_queue_init(&node->sent);
    ngx_queue_init(&node->replies);
    ngx_queue_init(&node->requests);

    node->up = 1;
    node->stalled = 0;
    node->away = 0;

    node->skew = (world.may & SIM_CLOCKS) && sim_one_in(2)
                 ? (int64_t) sim_random(2 * SIM_HOUR) - SIM_HOUR : 0;

    ngx_memzero(node->statics, sizeof(node->statics));
    ngx_memzero(&node->lmcf, sizeof(lines_main_conf_t));

    node->op = (lines_op_conf_t) {
        .lease = 20000, .sweep = 5000, .due = 30000, .budget = 3000,
        .reconcile = 5000, .reader = 1000, .retry = 5000, .absent = 30000,
        .resend = 82800000, .hint = 300000, .late = 5000, .walk_every = 60000,
        .poll = { 60000, 300000, 1800000 }, .npolls = 3, .every = 3600000,
        .dead = 83100000, .batch = 16, .audit = 500,
        .pass = world.quiet || world.seed % 2 ? 30 * 86400000LL : 600000,
        .kinds = lines_op_kinds
    };

    if (world.wrong && strcmp(world.wrong->name, "wait") == 0) {
        node->op.absent = 1;
    }

    node->lmcf.billing = &billing;
    node->lmcf.operation = &node->op;
    node->lmcf.quarantine = 60000;

    node->lmcf.places.elts = places;
    node->lmcf.places.nelts = 6;
    node->lmcf.places.size = sizeof(ngx_str_t);

    /* in some worlds the inventory is asked for its clock */

    node->lmcf.redis_conf.cluster = (world.seed % 16 == 8);

    node->zone.areas[LINES_ZONE_METRICS] = &area;
    node->zone.areas[LINES_ZONE_DATABASE] = &node->database;
    node->zone.areas[LINES_ZONE_SWEEP] = node->sweep;
    ngx_memzero(node->sweep, sizeof(node->sweep));
    node->shm.shm.addr = (u_char *) &node->slab;
    node->lmcf.zone = &node->zone;
    node->lmcf.shm_zone = &node->shm;

    if (world.seed % 5) {
        ngx_str_set(&node->lmcf.provisioner, "/p/");
    }

    /* in the memory of the node all is zero, but for what has no end */

    node_statics(node, 1);
    sim_nginx_set_time(world.now, node->skew);
    world.node = node;

    ngx_queue_init(&ngx_posted_events);

    redis = calloc(1, sizeof(lines_redis_t));
    if (redis == NULL) {
        abort();
    }

    redis->conf = &redis_conf;
    node->lmcf.redis = redis;

    (void) lines_database_init_process((ngx_cycle_t *) ngx_cycle, &node->lmcf);
    lines_op_init_process(&node->lmcf);
    lines_sweeper_init_process((ngx_cycle_t *) ngx_cycle, &node->lmcf);
    lines_audit_init_process((ngx_cycle_t *) ngx_cycle, &node->lmcf);
    lines_survey_init_process((ngx_cycle_t *) ngx_cycle, &node->lmcf);

    sim_node_leave();

    sim_trace("node %d boots, its clock %lld s off", node->id,
              (long long) (node->skew / SIM_SECOND));
}


/* as SIGKILL does it: what was sent may yet arrive, and nobody hears */

void
sim_node_kill(sim_node_t *node)
{
    ngx_queue_t  *q;
    sim_call_t   *call;
    command_t    *c;
    ngx_uint_t    n;

    sim_trace("node %d is killed", node->id);

    /* of what it had sent, some has left */

    for (n = sim_random(5); n && !ngx_queue_empty(&node->sent); n--) {
        c = ngx_queue_data(ngx_queue_head(&node->sent), command_t, queue);

        command_execute(c);
    }

    for (q = ngx_queue_head(&world.calls);
         q != ngx_queue_sentinel(&world.calls);
         q = ngx_queue_next(q))
    {
        call = ngx_queue_data(q, sim_call_t, queue);

        if (call->node == node && call->carrier) {
            call->carrier = NULL;

            if (call->arrives > 0 && sim_one_in(2)) {
                call->arrives = -1;
            }
        }
    }

    node->kills++;

    /* its worker alone, or all of it: what it remembers is in its zone */

    if (sim_one_in(2)) {
        ngx_memzero(&node->database, sizeof(lines_database_area_t));
    }

    sim_node_free(node);
}


void
sim_node_free(sim_node_t *node)
{
    ngx_queue_t  *q;

    if (!node->up) {
        return;
    }

    sim_node_enter(node);

    /* what is of no pool */
    lines_database_exit_process(&node->lmcf);
    lines_audit_exit_process();
    lines_sweeper_exit_process();
    lines_op_exit_process(&node->lmcf);
    lines_survey_exit_process();

    sim_people_gone(node);

    node_statics(node, 0);

    world.killing = 1;
    sim_pools_destroy(&node->pools);
    world.killing = 0;
    world.node = NULL;

    while (!ngx_queue_empty(&node->sent)) {
        q = ngx_queue_head(&node->sent);
        command_free(ngx_queue_data(q, command_t, queue));
    }

    while (!ngx_queue_empty(&node->replies)) {
        q = ngx_queue_head(&node->replies);
        command_free(ngx_queue_data(q, command_t, queue));
    }

    free(node->lmcf.redis);

    node->up = 0;
}


static void
node_statics(sim_node_t *node, int in)
{
    u_char        *p;
    ngx_uint_t     i;
    sim_static_t  *s;

    sim_static_t  *all[] = {
        nginx_statics, sim_sweeper_statics, sim_survey_statics,
        sim_database_statics, sim_audit_statics, sim_audit_judge_statics, sim_audit_pass_statics,
        sim_audit_plan_statics
    };

    p = node->statics;

    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        for (s = all[i]; s->at; s++) {

            if (p + s->size > node->statics + sizeof(node->statics)) {
                abort();
            }

            if (in) {
                ngx_memcpy(s->at, p, s->size);
            } else {
                ngx_memcpy(p, s->at, s->size);
            }

            p += s->size;
        }
    }
}


void
sim_node_enter(sim_node_t *node)
{
    if (world.node || !node->up) {
        abort();
    }

    node_statics(node, 1);
    sim_nginx_set_time(world.now, node->skew);
    world.node = node;
}


/* what was posted runs before anything else does, as in nginx' loop */

void
sim_node_leave(void)
{
    sim_node_t  *node = world.node;

    node_run(node);
    node_statics(node, 0);
    sim_nginx_set_time(world.now, 0);

    world.node = NULL;
}


static void
node_run(sim_node_t *node)
{
    carrier_t    *c;
    ngx_event_t  *ev;
    ngx_queue_t  *q;

    for ( ;; ) {

        if (!ngx_queue_empty(&ngx_posted_events)) {
            q = ngx_queue_head(&ngx_posted_events);
            ev = ngx_queue_data(q, ngx_event_t, queue);

            ngx_delete_posted_event(ev);
            ev->handler(ev);

            continue;
        }

        if (ngx_queue_empty(&node->dead)) {
            return;
        }

        q = ngx_queue_head(&node->dead);
        c = ngx_queue_data(q, carrier_t, queue);

        ngx_queue_remove(q);
        ngx_destroy_pool(c->carrier.pool);
    }
}


/* of the first, in us; 0: there is none.  The tree comes first of all */

int64_t
sim_node_timer(sim_node_t *node)
{
    ngx_rbtree_node_t  *first;

    if (!node->up) {
        return 0;
    }

    first = ((ngx_rbtree_t *) (void *) node->statics)->root;

    return first ? (int64_t) first->key * 1000 : 0;
}


int
sim_node_tick(sim_node_t *node)
{
    uint64_t      deeds;
    ngx_event_t  *ev;

    deeds = world.deeds;

    sim_node_enter(node);

    ev = sim_timer_first();

    if (ev && (ngx_msec_int_t) (ev->timer.key - ngx_current_msec) <= 0) {
        ngx_event_del_timer(ev);
        ev->timedout = 1;
        ev->handler(ev);
    }

    sim_node_leave();

    return world.deeds != deeds;
}


int
sim_node_busy(sim_node_t *node)
{
    return node->up && (!ngx_queue_empty(&node->sent)
                        || !ngx_queue_empty(&node->replies));
}


ngx_uint_t
sim_node_running(sim_node_t *node)
{
    ngx_uint_t    n;
    ngx_queue_t  *q;

    n = 0;

    if (!node->up) {
        return 0;
    }

    for (q = ngx_queue_head(&node->op.running);
         q != ngx_queue_sentinel(&node->op.running);
         q = ngx_queue_next(q))
    {
        n++;
    }

    return n;
}


/* store/redis_op.h */

lines_redis_op_t *
lines_redis_op_create(lines_redis_t *redis, ngx_int_t slot, size_t len,
    ngx_uint_t durable)
{
    command_t  *c;

    if (world.node->away > world.now) {
        return NULL;
    }

    c = calloc(1, sizeof(command_t) + len);
    if (c == NULL) {
        abort();
    }

    c->op.start = (u_char *) (c + 1);
    c->op.redis = redis;
    c->node = world.node;

    return &c->op;
}


lines_redis_op_t *
lines_redis_op_submit(lines_redis_op_t *op, lines_redis_handler_pt handler,
    void *data)
{
    command_t   *c = (command_t *) op;
    ngx_str_t   *name;

    op->handler = handler;
    op->data = data;

    if (op->script) {
        name = &op->script->name;

        c->looks = lines_is(name, "due_read") || lines_is(name, "inv_look")
                   ? 1
                   : lines_is(name, "audit_turn")
                     || lines_is(name, "database_check")
                     || lines_is(name, "survey_read")
                     || lines_is(name, "inv_count")
                     || lines_is(name, "tenant_survey")
                     || lines_is(name, "ops_survey")
                     || lines_is(name, "due_ensure") ? 2 : 0;
    }

    world.deeds += !c->looks;

    ngx_queue_insert_tail(&c->node->sent, &c->queue);

    return op;
}


void
lines_redis_status(lines_redis_t *redis, lines_redis_status_t *status)
{
    ngx_memzero(status, sizeof(lines_redis_status_t));
    status->connected = world.node->away <= world.now;
    status->serves = status->connected;
    status->servers = world.server;
}


void
lines_redis_detach(lines_redis_op_t *op)
{
    op->handler = NULL;
}


/* what is in the way of a command to Redis: RESP, as it was written */

static void
command_execute(command_t *c)
{
    u_char           *p;
    size_t            argc, i;
    sim_str_t         argv[256];
    const sim_str_t  *reply;

    p = c->op.start;
    argc = strtoul((char *) p + 1, (char **) &p, 10);
    p += 2;

    if (argc > 256) {
        abort();
    }

    for (i = 0; i < argc; i++) {
        argv[i].len = strtoul((char *) p + 1, (char **) &p, 10);
        argv[i].data = p + 2;
        p += argv[i].len + 4;
    }

    sim_redis_set_time(world.redis, world.now + world.skew);

    reply = sim_redis_command(world.redis, argc, argv);

    /* "confirm" of database_check: also where nobody hears its answer */

    if (c->op.script && lines_is(&c->op.script->name, "database_check")
        && argc > 8 && argv[8].len == 1 && argv[8].data[0] == '1')
    {
        world.held = 0;
    }

    if (world.verbose && !c->looks) {
        sim_trace("node %d: Redis: %.*s%.*s %.*s: %.*s", c->node->id,
                  c->op.script ? (int) c->op.script->name.len : 0,
                  c->op.script ? (char *) c->op.script->name.data : "",
                  c->op.script ? 0 : (int) argv[0].len, argv[0].data,
                  (int) argv[c->op.script ? 3 : 1].len,
                  argv[c->op.script ? 3 : 1].data,
                  (int) ngx_min(reply->len, 70), reply->data);
    }

    for (i = 0; c->op.script && lines_scripts[i]; i++) {
        if (lines_scripts[i] == c->op.script) {
            world.ran[i]++;
        }
    }

    if (reply->data[0] == '-') {
        sim_found("redis", "%.*s", (int) reply->len, reply->data);
    }

    if (c->op.handler == NULL) {
        command_free(c);
        return;
    }

    ngx_queue_remove(&c->queue);

    free(c->reply);
    c->nreply = reply->len;
    c->reply = malloc(reply->len);

    if (c->reply == NULL) {
        abort();
    }

    ngx_memcpy(c->reply, reply->data, reply->len);

    ngx_queue_insert_tail(&c->node->replies, &c->queue);

    /* whoever says something sees what became of it, also where none answers */

    if (c->op.script && lines_is(&c->op.script->name, "op_resolve")) {
        sim_people_said((char *) argv[3].data, argv[3].len, c->reply,
                        c->nreply);
    }
}


int
sim_node_execute(sim_node_t *node)
{
    int         looks;
    command_t  *c;

    c = ngx_queue_data(ngx_queue_head(&node->sent), command_t, queue);
    looks = c->looks;

    command_execute(c);

    return !looks;
}


static void
command_tell(command_t *c, int heard)
{
    void                    *reply;
    redisReader             *reader;
    lines_redis_handler_pt   handler;

    handler = c->op.handler;
    c->op.handler = NULL;

    if (handler) {
        reply = NULL;
        reader = NULL;

        if (heard) {
            reader = redisReaderCreate();

            if (reader == NULL
                || redisReaderFeed(reader, c->reply, c->nreply) != REDIS_OK
                || redisReaderGetReply(reader, &reply) != REDIS_OK
                || reply == NULL)
            {
                abort();
            }
        }

        c->op.redis->repeated = c->op.repeated;
        handler(c->op.data, reply);

        if (reader) {
            freeReplyObject(reply);
            redisReaderFree(reader);
        }
    }
}


static void
command_free(command_t *c)
{
    ngx_queue_remove(&c->queue);
    free(c->reply);
    free(c);
}


int
sim_node_deliver(sim_node_t *node)
{
    int         looks;
    command_t  *c;

    sim_node_enter(node);

    c = ngx_queue_data(ngx_queue_head(&node->replies), command_t, queue);
    looks = c->looks == 2 || (c->looks && c->nreply <= 4);

    /* its handler may send others: never behind this one */

    command_tell(c, 1);
    command_free(c);

    sim_node_leave();

    return !looks;
}


/* one that is under way: its deadline is met, it may be executed yet */

void
sim_node_late(sim_node_t *node)
{
    ngx_uint_t    n;
    ngx_queue_t  *q, *list;
    command_t    *c;

    list = ngx_queue_empty(&node->sent) || sim_one_in(2) ? &node->replies
                                                         : &node->sent;
    n = sim_random(4);

    for (q = ngx_queue_head(list);
         q != ngx_queue_sentinel(list);
         q = ngx_queue_next(q))
    {
        c = ngx_queue_data(q, command_t, queue);

        if (c->op.handler && n-- == 0) {
            sim_trace("node %d: a reply of Redis' is late: %.*s", node->id,
                      c->op.script ? (int) c->op.script->name.len : 0,
                      c->op.script ? (char *) c->op.script->name.data : "");

            sim_node_enter(node);
            command_tell(c, 0);
            sim_node_leave();

            return;
        }
    }
}


/*
 * The connection is lost.  What was not sent waits for the next one, and what
 * only reads, or may run twice, is sent once more; all else has an unknown
 * outcome.
 */

void
sim_node_cut(sim_node_t *node)
{
    ngx_uint_t    n;
    ngx_queue_t  *q, again, unknown;
    command_t    *c;

    sim_trace("node %d: its connection to Redis is %s", node->id, lost_text);

    ngx_queue_init(&again);
    ngx_queue_init(&unknown);

    /* some of what left has run, some has not, and some never left */

    for (n = sim_random(4); n && !ngx_queue_empty(&node->sent); n--) {
        command_execute(ngx_queue_data(ngx_queue_head(&node->sent), command_t,
                                       queue));
    }

    while (!ngx_queue_empty(&node->replies)) {
        q = ngx_queue_head(&node->replies);
        c = ngx_queue_data(q, command_t, queue);
        ngx_queue_remove(q);

        if (c->op.again && !c->op.repeated && c->op.handler) {
            c->op.repeated = 1;
            ngx_queue_insert_tail(&again, q);

        } else {
            ngx_queue_insert_tail(&unknown, q);
        }
    }

    for (n = sim_random(3); n && !ngx_queue_empty(&node->sent); n--) {
        q = ngx_queue_head(&node->sent);
        c = ngx_queue_data(q, command_t, queue);
        ngx_queue_remove(q);

        if (c->op.again && !c->op.repeated && c->op.handler) {
            c->op.repeated = 1;
            ngx_queue_insert_tail(&again, q);

        } else {
            ngx_queue_insert_tail(&unknown, q);
        }
    }

    /* these first, then what never left */

    while (!ngx_queue_empty(&again)) {
        q = ngx_queue_last(&again);
        ngx_queue_remove(q);
        ngx_queue_insert_head(&node->sent, q);
    }

    if (sim_one_in(3)) {
        node->away = world.now + (int64_t) sim_random(10 * SIM_SECOND);
    }

    sim_node_enter(node);

    while (!ngx_queue_empty(&unknown)) {
        c = ngx_queue_data(ngx_queue_head(&unknown), command_t, queue);
        command_tell(c, 0);
        command_free(c);
    }

    sim_node_leave();
}


/* http/carrier.h */

lines_carrier_t *
lines_carrier_create(lines_main_conf_t *lmcf, ngx_str_t *id, ngx_log_t *log)
{
    carrier_t   *c;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(4096, log);
    c = ngx_pcalloc(pool, sizeof(carrier_t));

    c->carrier.pool = pool;
    c->carrier.log = log;
    c->carrier.lmcf = lmcf;
    c->carrier.id.len = id->len;
    c->carrier.id.data = ngx_pstrdup(pool, id);

    return &c->carrier;
}


static char *
text(ngx_str_t *value)
{
    char  *copy;

    copy = malloc(value->len + 1);
    if (copy == NULL) {
        abort();
    }

    if (value->len) {
        ngx_memcpy(copy, value->data, value->len);
    }

    copy[value->len] = '\0';

    return copy;
}


ngx_int_t
lines_carrier_call(lines_carrier_t *carrier, lines_call_t *asked,
    lines_call_pt handler, void *data)
{
    ngx_str_t    none = ngx_null_string;
    ngx_uint_t   i;
    sim_call_t  *call;
    carrier_t   *c = (carrier_t *) carrier;
    int64_t      timeout;

    call = calloc(1, sizeof(sim_call_t));
    if (call == NULL || c->call) {
        abort();
    }

    call->node = world.node;
    call->carrier = carrier;
    call->method = asked->method;
    call->path = text(&asked->uri);
    call->args = text(&asked->args);
    call->body = text(&asked->body);
    call->should_retry = -1;

    for (i = 0; i < asked->nheaders; i++) {
        if (asked->headers[i].key.data[0] == 'I') {
            call->key = text(&asked->headers[i].value);
        }
    }

    if (call->key == NULL) {
        call->key = text(&none);
    }

    timeout = (int64_t) (asked->timeout ? asked->timeout : 15000) * 1000;

    call->arrives = world.now + 1 + (int64_t) sim_random(50000);
    call->answers = call->arrives + 1 + (int64_t) sim_random(100000);

    if ((world.may & SIM_CALLS) && !world.quiet) {

        switch (sim_random(60)) {

        case 0:
            call->arrives = -1;         /* it is heard that it never left */
            break;

        case 1:
        case 2:
            call->arrives = -1;
            call->deaf = 1;
            call->answers = world.now + timeout;
            break;

        case 3:                         /* late, and nobody waits any more */
            call->arrives = world.now + (int64_t) sim_random(30 * SIM_SECOND);
            call->deaf = 1;
            call->answers = world.now + timeout;
            break;

        case 4:
        case 5:
            call->deaf = 1;
            call->answers = world.now + (int64_t) sim_random(timeout);
            break;

        case 6:
            call->fails = 500;
            call->saves = sim_random(2);
            break;

        case 7:
            call->spoils = 1;
            call->saves = sim_random(2);
            break;

        case 8:
            call->fails = 429;
            break;

        case 9:
            call->fails = 409;
            break;

        case 10:
        case 11:
        case 12:
            call->answers = call->arrives + (int64_t) sim_random(timeout);
            break;

        case 13:
            call->twice = 1;
            break;

        case 14:
            call->fails = 503;
        }

        if (call->answers > world.now + timeout) {
            call->answers = world.now + timeout;
            call->deaf = 1;
        }
    }

    sim_trace("node %d: call %s %s?%s key %s (arrives %+lld ms, answered "
              "%+lld ms%s%s)", call->node->id,
              call->method == NGX_HTTP_GET ? "GET"
              : call->method == NGX_HTTP_POST ? "POST" : "DELETE",
              call->path, call->args, call->key,
              call->arrives == -1 ? -1LL
              : (long long) (call->arrives - world.now) / 1000,
              (long long) (call->answers - world.now) / 1000,
              call->deaf ? ", unheard" : "",
              call->fails || call->spoils ? ", fails" : "");

    /* who has looked before may go on with that run */

    if (world.held && world.now > world.held + 2 * SIM_MINUTE
        && asked->method != NGX_HTTP_GET && strncmp(call->path, "/p/", 3) != 0
        && strstr(call->path, "customers") == NULL)
    {
        sim_found("held", "a call though the database is not confirmed: %s",
                  call->path);
    }

    carrier->handler = handler;
    carrier->data = data;
    carrier->start = ngx_current_msec;

    c->call = call;
    world.deeds++;

    ngx_queue_insert_tail(&world.calls, &call->queue);

    return NGX_AGAIN;
}


/* it takes its effect */

void
sim_call_arrive(sim_call_t *call)
{
    if (call->twice) {
        call->twice = 0;
        sim_billing_serve(call);
    }

    sim_billing_serve(call);

    sim_trace("call %s %s?%s key %s: %d%s%s", call->path, call->body,
              call->args, call->key, call->status,
              call->replayed ? ", replayed" : "",
              call->carrier ? "" : ", nobody hears");

    call->arrives = 0;
}


static void
call_header(ngx_list_t *list, const char *name, const char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(list);
    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key = lines_op_text(name);
    h->value = lines_op_text(value);
}


/* somebody hears, that there is an answer, or that there is none */

void
sim_call_answer(sim_call_t *call)
{
    char              date[sizeof("Mon, 28 Sep 1970 06:00:00 GMT")];
    time_t            now;
    lines_result_t    result;
    lines_carrier_t  *carrier;

    carrier = call->carrier;

    sim_trace("node %d: answered %s: %d %s", call->node->id, call->path,
              call->deaf ? 0 : call->status,
              call->arrives == -1 && !call->deaf ? "unsent" : "");

    sim_node_enter(call->node);

    ngx_memzero(&result, sizeof(lines_result_t));

    result.retry_after = -1;

    if (call->deaf) {
        result.transport = LINES_UNKNOWN;

    } else if (call->arrives) {
        result.transport = LINES_UNSENT;

    } else {
        result.transport = LINES_COMPLETE;
        result.status = call->status;
        result.body.data = (u_char *) call->json;
        result.body.len = call->json ? strlen(call->json) : 0;
        result.headers = ngx_list_create(carrier->pool, 4,
                                         sizeof(ngx_table_elt_t));

        now = world.now / SIM_SECOND;
        strftime(date, sizeof(date), "%a, %d %b %Y %T GMT", gmtime(&now));
        call_header(result.headers, "Date", date);

        if (call->replayed) {
            call_header(result.headers, "Idempotent-Replayed", "true");
        }

        if (call->should_retry != -1) {
            call_header(result.headers, "Stripe-Should-Retry",
                        call->should_retry ? "true" : "false");
        }
    }

    ((carrier_t *) carrier)->call = NULL;
    call->carrier = NULL;

    carrier->handler(carrier->data, &result);

    sim_node_leave();
}


void
sim_call_free(sim_call_t *call)
{
    ngx_queue_remove(&call->queue);
    free(call->path);
    free(call->args);
    free(call->key);
    free(call->body);
    free(call->json);
    free(call);
}


/* nobody waits for a budget: there is none */

void
lines_carrier_queue(lines_carrier_t *carrier, ngx_queue_t *queue,
    ngx_uint_t rank, ngx_msec_t delay, lines_wait_pt handler, void *data)
{
    abort();
}


void
lines_carrier_turn(lines_carrier_t *carrier)
{
    abort();
}


void
lines_carrier_wait(lines_carrier_t *carrier, ngx_msec_t delay,
    lines_wait_pt handler, void *data)
{
    carrier->wait = handler;
    carrier->data = data;
    carrier->timer.handler = carrier_waited;
    carrier->timer.data = carrier;
    carrier->timer.log = carrier->log;

    ngx_add_timer(&carrier->timer, delay);
}


static void
carrier_waited(ngx_event_t *ev)
{
    lines_carrier_t  *carrier = ev->data;

    carrier->wait(carrier->data);
}


void
lines_carrier_destroy(lines_carrier_t *carrier)
{
    carrier_t  *c = (carrier_t *) carrier;

    /* its pool goes with all others */

    if (world.killing) {
        return;
    }

    if (c->call) {
        c->call->carrier = NULL;
        c->call = NULL;
    }

    if (carrier->timer.timer_set) {
        ngx_del_timer(&carrier->timer);
    }

    ngx_queue_insert_tail(&world.node->dead, &c->queue);
}
