
/*
 * Whoever asks something of a node: clients, the operator, billing's webhooks.
 * They ask what the handlers of src/ ask, in that order (named at each), and
 * wait for operations, or leave.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <stdio.h>

#include "http/answer.h"
#include "http/context.h"
#include "http/steps.h"
#include "webhook/event.h"
#include "operation/charge.h"
#include "store/calls.h"

#include "world.h"


#define TENANTS  5
#define SPACES   3        /* of them; the others are accounts */
#define NAMES    64
#define TOKEN    3600000  /* ms */


typedef struct request_s  request_t;

typedef ngx_int_t (*next_pt)(request_t *q);

struct request_s {
    ngx_queue_t         queue;         /* of the node's */
    ngx_pool_t         *pool;
    sim_node_t         *node;
    lines_ctx_t         ctx;           /* its caller */
    ngx_http_request_t  r;
    ngx_connection_t    connection;
    ngx_log_t           log;
    ngx_http_log_ctx_t  log_ctx;
    void               *conf[1];

    next_pt             next;
    ngx_str_t           tenant;
    ngx_str_t           id;
    ngx_str_t           operation;     /* that is begun; or a ticket's name */
    ngx_str_t           number;        /* of a ticket */
    int64_t             not_after;
    ngx_str_t           looks;
    const char         *word;          /* a wish, a report */
    ngx_uint_t          refunds;       /* flag: it is no release */
    int                 report;        /* its place in the list + 1 */
    int                 tenant_at;

    json_t             *event;
    ngx_uint_t          answered;      /* status */

    lines_op_waiter_t   waiter;
    ngx_uint_t          waits;         /* flag */
    ngx_event_t         budget;

    /* what is read */
    lines_tenant_places_reply_t  places;
    lines_tenant_offer_reply_t   offer;
    lines_tenant_left_reply_t    left;
    int64_t                      deleting;
    int64_t             now;
};

typedef struct {
    char     name[24];
    char     customer[24];
    int      exists;
    int64_t  left;
} tenant_t;

typedef struct {
    char     tenant[24];
    char     id[40];
    enum { LINE, PURCHASE, TICKET } what;
    int      refunds;                 /* asked for by the operator */
} name_t;

/* what an account may buy in a day, and in a month */

static const char  *limits[][2] = {
    { "2", "4" }, { "3", "unlimited" }
};


typedef struct {
    char     tenant[24];
    char     id[40];
    char     status[16];
    int64_t  due;                     /* 0: it is done */
} report_t;


static tenant_t  tenants[TENANTS];
static name_t    names[NAMES];        /* of lines, lately */
static int       nnames;
static report_t  reports[NAMES];


static request_t *request(sim_node_t *node, const char *tenant,
    const char *id, next_pt next);
static void request_start(request_t *q);
static void request_end(request_t *q);
static void resumed(lines_caller_t *caller, ngx_int_t rc);
static ngx_int_t failed(lines_caller_t *caller);
static ngx_int_t wait_for(request_t *q, ngx_str_t *id);
static void woken(lines_op_waiter_t *w, lines_op_t *op, ngx_int_t rc);
static void budget(ngx_event_t *ev);
static void add_name(const char *tenant, const char *id, int what);
static void create_tenant(int i);
static sim_node_t *some_node(void);


void
sim_people_begin(void)
{
    int   i;
    char  number[24], watermark[24];

    ngx_memzero(tenants, sizeof(tenants));
    ngx_memzero(names, sizeof(names));
    ngx_memzero(reports, sizeof(reports));
    nnames = 0;

    sim_billing_customer("cus_0", "price_base");
    sim_billing_customer("cus_1", "price_base");
    sim_billing_customer("cus_2", NULL);
    sim_billing_customer("cus_3", NULL);
    sim_billing_customer("cus_anchor", NULL);

    for (i = 0; i < TENANTS; i++) {
        snprintf(tenants[i].name, sizeof(tenants[i].name), "%c:t%d",
                 i < SPACES ? 'w' : 'a', i);

        /* two workspaces are of one customer */
        snprintf(tenants[i].customer, sizeof(tenants[i].customer), "cus_%d",
                 i ? i - 1 : 0);

        create_tenant(i);
    }

    /* it is not the first time that somebody looks */

    snprintf(watermark, sizeof(watermark), "%lld",
             (long long) (world.now / 1000));
    (void) sim_ask("HSET", "lines:{database}", "id", "0123456789abcdef01234567",
                   "watermark", watermark, NULL);

    for (i = 0; i < 9; i++) {
        snprintf(number, sizeof(number), "+1415555000%d", i);

        (void) sim_ask("HSET", "lines:{inv}:numbers", number, "free w", NULL);
        (void) sim_ask("ZADD", "lines:{inv}:free", "0", number, NULL);
        (void) sim_ask("ZADD", "lines:{inv}:all", "0", number, NULL);
    }
}


void
sim_people_again(void)
{
    int  i;

    for (i = 0; i < TENANTS; i++) {
        create_tenant(i);
    }
}


/* admin/database.c */

static ngx_int_t
confirmed(void *data, lines_database_check_reply_t *reply)
{
    request_t  *q = data;

    lines_database_saw(&q->node->lmcf, reply);

    if (reply->is == LINES_DATABASE_CHECK_FINE) {
        sim_trace("the database is confirmed");
    }

    return NGX_DONE;
}


static ngx_int_t
confirm_database(request_t *q)
{
    return lines_database_state(&q->node->lmcf, NULL) == LINES_DATABASE_UNTOLD
           ? NGX_DONE
           : lines_database_look(&q->node->lmcf, &q->ctx.caller, 1, confirmed,
                                 q);
}


void
sim_people_confirm(void)
{
    sim_node_t  *node = some_node();

    if (node) {
        request_start(request(node, "", "", confirm_database));
    }
}


/* admin/tenants.c; nothing of it is to be found here */

static void
create_tenant(int i)
{
    char         key[64], customers[64];
    const char  *state, *plan;

    snprintf(key, sizeof(key), "lines:{%s}:t", tenants[i].name);
    snprintf(customers, sizeof(customers), "lines:{ix:%s}",
             tenants[i].customer);

    (void) sim_ask("SADD", "lines:{tenants}", tenants[i].name, NULL);
    (void) sim_ask("SADD", customers, tenants[i].name, NULL);

    plan = "agent";
    state = "active";

    if (i < SPACES) {
        (void) sim_billing_base(tenants[i].customer, &state, &plan);
    }

    (void) sim_ask("HSET", key, "plan", plan, "customer", tenants[i].customer,
                   "subscription", state, "plan_by", "billing", NULL);

    if (i >= SPACES) {
        (void) sim_ask("HSET", key, "limit_daily", limits[i - SPACES][0],
                       "limit_monthly", limits[i - SPACES][1], NULL);
    }

    tenants[i].exists = 1;
    tenants[i].left = 0;
}


/* 1: it was deleted, and when */

int
sim_people_left(const char *tenant, int64_t *when)
{
    int  i;

    for (i = 0; i < TENANTS; i++) {
        if (strcmp(tenants[i].name, tenant) == 0) {
            *when = tenants[i].left;
            return !tenants[i].exists;
        }
    }

    return 0;
}


static void
add_name(const char *tenant, const char *id, int what)
{
    name_t  *n;

    n = &names[nnames++ % NAMES];

    snprintf(n->tenant, sizeof(n->tenant), "%s", tenant);
    snprintf(n->id, sizeof(n->id), "%s", id);
    n->what = what;
    n->refunds = 0;
}


int
sim_people_refunds(const char *tenant, const char *id)
{
    int  i;

    for (i = 0; i < ngx_min(nnames, NAMES); i++) {
        if (strcmp(names[i].tenant, tenant) == 0
            && strcmp(names[i].id, id) == 0)
        {
            return names[i].refunds;
        }
    }

    return 0;
}


static name_t *
some_name(void)
{
    int  n;

    n = ngx_min(nnames, NAMES);

    if (n == 0) {
        return NULL;
    }

    /* the latest most of all */

    return sim_one_in(3) ? &names[sim_random(n)]
                         : &names[(nnames - 1 - (int) sim_random(ngx_min(n, 5)))
                                  % NAMES];
}


static void
new_id(char *id)
{
    uint64_t  high, low;

    /* one after the other: compilers differ in arguments */

    high = sim_random((uint64_t) 1 << 48);
    low = sim_random((uint64_t) 1 << 48);

    snprintf(id, 25, "%012llx%012llx", (unsigned long long) high,
             (unsigned long long) low);
}


static sim_node_t *
some_node(void)
{
    int          i;
    sim_node_t  *node;

    for (i = 0; i < 4; i++) {
        node = &world.nodes[sim_random(SIM_NODES)];

        if (node->up && node->stalled <= world.now) {
            return node;
        }
    }

    return NULL;
}


/* the node is entered: request_start() leaves it */

static request_t *
request(sim_node_t *node, const char *tenant, const char *id, next_pt next)
{
    request_t   *q;
    ngx_pool_t  *pool;

    sim_node_enter(node);

    pool = ngx_create_pool(4096, ngx_cycle->log);
    q = ngx_pcalloc(pool, sizeof(request_t));

    q->pool = pool;
    q->node = node;
    q->next = next;

    /* each with its zero */

    q->tenant.len = strlen(tenant);
    q->tenant.data = ngx_pnalloc(pool, q->tenant.len + 1);
    ngx_memcpy(q->tenant.data, tenant, q->tenant.len + 1);

    q->id.len = strlen(id);
    q->id.data = ngx_pnalloc(pool, q->id.len + 1);
    ngx_memcpy(q->id.data, id, q->id.len + 1);

    q->conf[0] = &node->lmcf;
    q->r.pool = pool;
    q->r.connection = &q->connection;
    q->r.main_conf = q->conf;
    q->connection.log = &q->log;
    q->log = *ngx_cycle->log;
    q->log.data = &q->log_ctx;

    q->ctx.request = &q->r;

    lines_caller_init(&q->ctx.caller, node->lmcf.redis, pool, ngx_cycle->log);

    q->ctx.caller.resume = resumed;
    q->ctx.caller.failed = failed;

    ngx_queue_insert_tail(&node->requests, &q->queue);

    return q;
}


static void
request_start(request_t *q)
{
    resumed(&q->ctx.caller, NGX_OK);

    sim_node_leave();
}


static void
resumed(lines_caller_t *caller, ngx_int_t rc)
{
    request_t  *q = ngx_queue_data(caller, request_t, ctx.caller);

    while (rc == NGX_OK) {
        rc = q->next(q);
    }

    if (rc != NGX_AGAIN) {
        request_end(q);
    }
}


/* 503 */

static ngx_int_t
failed(lines_caller_t *caller)
{
    return NGX_ERROR;
}


static void
request_end(request_t *q)
{
    lines_caller_detach(&q->ctx.caller);

    if (q->waits) {
        ngx_queue_remove(&q->waiter.queue);
    }

    if (q->budget.timer_set) {
        ngx_del_timer(&q->budget);
    }

    if (q->event) {
        if (q->answered == 200) {
            json_decref(q->event);

        } else {
            sim_event_again(q->event);
        }
    }

    if (q->report && q->answered == 200) {
        reports[q->report - 1].due = 0;
    }

    ngx_queue_remove(&q->queue);
    ngx_destroy_pool(q->pool);
}


/* its node is killed */

void
sim_people_gone(sim_node_t *node)
{
    request_t    *q;
    ngx_queue_t  *e;

    for (e = ngx_queue_head(&node->requests);
         e != ngx_queue_sentinel(&node->requests);
         e = ngx_queue_next(e))
    {
        q = ngx_queue_data(e, request_t, queue);

        if (q->event) {
            sim_event_again(q->event);
        }
    }
}


/* api/client.c, but for what it answers */

static ngx_int_t
wait_for(request_t *q, ngx_str_t *id)
{
    lines_op_t  *op;

    op = lines_op_obtain(&q->node->lmcf, &q->tenant, id, NULL);

    if (op == NULL || sim_one_in(3)) {
        return NGX_DONE;
    }

    q->waiter.wake = woken;
    q->waits = 1;

    q->budget.handler = budget;
    q->budget.data = q;
    q->budget.log = ngx_cycle->log;

    ngx_add_timer(&q->budget, q->node->op.budget);

    ngx_queue_insert_tail(&op->waiters, &q->waiter.queue);

    return NGX_AGAIN;
}


static void
woken(lines_op_waiter_t *w, lines_op_t *op, ngx_int_t rc)
{
    request_end(ngx_queue_data(w, request_t, waiter));
}


static void
budget(ngx_event_t *ev)
{
    request_end(ev->data);
}


/* workspace/line_request_create.c */

static ngx_int_t create_announce(request_t *q);
static ngx_int_t create_begin(request_t *q);
static ngx_int_t create_begun(void *data, lines_line_begin_reply_t *reply);
static ngx_int_t create_yields(void *data, lines_line_wish_reply_t *reply);


static ngx_int_t
create(request_t *q)
{
    q->next = create_announce;
    q->now = world.now / 1000;

    return lines_keep_tenant_places(&q->ctx.caller, &q->places,
                                    .tenant = q->tenant);
}


static ngx_int_t
create_announce(request_t *q)
{
    ngx_int_t  rc;

    q->next = create_begin;

    rc = lines_ix_put(&q->ctx.caller, NULL, NULL, .id = q->id,
                      .tenant = q->tenant);

    if (rc == NGX_AGAIN) {
        rc = lines_due_add(&q->ctx.caller, NULL, NULL,
                           .shard = lines_due_shard(&q->id),
                           .tenant = q->tenant, .id = q->id,
                           .delay = q->node->op.due);
    }

    if (rc == NGX_AGAIN) {
        rc = lines_prov_put(&q->ctx.caller, NULL, NULL, .at = q->now,
                            .tenant = q->tenant, .id = q->id);
    }

    return rc;
}


static ngx_int_t
create_begin(request_t *q)
{
    int64_t     max;
    ngx_str_t   body, key, price, idem;
    ngx_str_t   fields[] = {
        ngx_string("channel"), ngx_string("phone"),
        ngx_string("type"), ngx_string("purchased"),
        ngx_string("first"), ngx_string("A"),
        ngx_string("last"), ngx_string("B"),
        ngx_string("conversations"), ngx_string("50"),
        ngx_string("messages"), ngx_string("100")
    };

    lines_stripe_metadata_t  metadata = {
        .tenant = q->tenant, .line = q->id, .attempt = 1
    };

    max = q->places.plan.len == 5 ? 2 : 5;

    ngx_str_set(&price, "price_line");
    ngx_str_null(&body);
    ngx_str_null(&key);
    ngx_str_null(&idem);

    if (q->places.customer.len
        && lines_charge_call(q->pool, &q->node->lmcf, &metadata,
                             &q->places.customer, &price, NULL, &body, &key)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (q->word
        && lines_redis_format(q->pool, &idem, "lines:{%V}:idem:%s", &q->tenant,
                              q->word)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_line_begin(&q->ctx.caller, create_begun, q,
               .tenant = q->tenant, .id = q->id, .idem_key = idem,
               .not_after = q->now + (int64_t) q->node->op.late,
               .plan = q->places.plan, .included = 1, .price = price,
               .max = &max, .customer = q->places.customer,
               .fingerprint = idem.len ? price : (ngx_str_t) ngx_null_string,
               .body = body, .call_key = key, .lease = q->node->op.lease,
               .provisioner = (q->node->lmcf.provisioner.len != 0),
               .fields.n = 12, .fields.elts = fields);
}


static ngx_int_t
create_begun(void *data, lines_line_begin_reply_t *reply)
{
    request_t  *q = data;

    lines_op_begun_t  begun;

    if (reply->is == LINES_LINE_BEGIN_CREATED) {

        if (reply->place.len == 8 && q->node->lmcf.provisioner.len == 0) {

            /* done already */

            (void) lines_forget_due_rem(&q->ctx.caller,
                                        .shard = lines_due_shard(&q->id),
                                        .tenant = q->tenant, .id = q->id);

            sim_people_provisioned((char *) q->tenant.data + 2,
                                   (char *) q->id.data);
            return NGX_DONE;
        }

        begun.fields = reply->record;
        begun.now = reply->now;
        begun.sent = q->ctx.caller.start;
        begun.fence = reply->fence;
        begun.checked = 0;
        begun.document = reply->document;

        if (lines_op_begin(&q->node->lmcf, &q->tenant, &q->id, &begun)
            != NGX_OK)
        {
            return NGX_DONE;
        }

        return wait_for(q, &q->id);
    }

    if (reply->is == LINES_LINE_BEGIN_BLOCKED) {
        q->operation = reply->line;

        return lines_line_wish(&q->ctx.caller, create_yields, q,
                               .tenant = q->tenant, .id = reply->line,
                               .wish = ngx_string("yield"));
    }

    if (!q->ctx.caller.repeated) {
        lines_forget_ix_del(&q->ctx.caller, .id = q->id);
        (void) lines_forget_prov_rem(&q->ctx.caller, .tenant = q->tenant,
                                     .id = q->id);
        (void) lines_forget_due_rem(&q->ctx.caller,
                                    .shard = lines_due_shard(&q->id),
                                    .tenant = q->tenant, .id = q->id);
    }

    return NGX_DONE;
}


static ngx_int_t
create_yields(void *data, lines_line_wish_reply_t *reply)
{
    request_t  *q = data;

    return reply->is == LINES_LINE_WISH_WISHED ? wait_for(q, &q->operation)
                                               : NGX_DONE;
}


/* account/confirm.c; the token is there, for whoever has it */

static ngx_int_t confirm_announce(request_t *q);
static ngx_int_t confirm_begin(request_t *q);
static ngx_int_t confirm_begun(void *data, lines_confirm_begin_reply_t *reply);


static ngx_int_t
confirm(request_t *q)
{
    q->next = confirm_announce;
    q->now = world.now / 1000;

    return lines_keep_tenant_offer(&q->ctx.caller, &q->offer,
                                   .tenant = q->tenant);
}


static ngx_int_t
confirm_announce(request_t *q)
{
    ngx_int_t  rc;

    q->next = confirm_begin;

    rc = lines_ix_put(&q->ctx.caller, NULL, NULL, .id = q->id,
                      .tenant = q->tenant);

    if (rc == NGX_AGAIN) {
        rc = lines_due_add(&q->ctx.caller, NULL, NULL,
                           .shard = lines_due_shard(&q->id),
                           .tenant = q->tenant, .id = q->id,
                           .delay = q->node->op.due);
    }

    return rc;
}


static ngx_int_t
confirm_begin(request_t *q)
{
    ngx_str_t  idem, unlimited = ngx_string("unlimited");

    if (q->offer.plan.len == 0
        || lines_redis_format(q->pool, &idem, "lines:{%V}:idem:%V", &q->tenant,
                              &q->id)
           != NGX_OK)
    {
        return NGX_DONE;
    }

    return lines_confirm_begin(&q->ctx.caller, confirm_begun, q,
             .tenant = q->tenant, .hash = q->id, .id = q->id,
             .idem_key = idem,
             .not_after = q->now + (int64_t) q->node->op.late,
             .plan = q->offer.plan, .customer = q->offer.customer,
             .price = ngx_string("price_agent"),
             .daily = unlimited, .monthly = unlimited,
             .fingerprint = q->id, .lease = q->node->op.lease,
             .ttl = TOKEN);
}


static ngx_int_t
confirm_begun(void *data, lines_confirm_begin_reply_t *reply)
{
    request_t  *q = data;

    lines_op_begun_t  begun;

    switch (reply->is) {

    case LINES_CONFIRM_BEGIN_BEGUN:
        begun.fields = reply->record;
        begun.now = reply->now;
        begun.sent = q->ctx.caller.start;
        begun.fence = reply->fence;
        begun.checked = 0;
        ngx_str_null(&begun.document);

        if (lines_op_begin(&q->node->lmcf, &q->tenant, &q->id, &begun)
            != NGX_OK)
        {
            return NGX_DONE;
        }

        return wait_for(q, &q->id);

    case LINES_CONFIRM_BEGIN_IDEMPOTENT:
        return wait_for(q, &q->id);
    }

    return NGX_DONE;
}


/* a GET of the line; workspace/line_requests.c */

static ngx_int_t
look(request_t *q)
{
    return wait_for(q, &q->id);
}


/* workspace/payment_actions.c */

static ngx_int_t wished(void *data, lines_line_wish_reply_t *reply);
static ngx_int_t wish_start(void *data, lines_due_add_reply_t *reply);
static ngx_int_t wish_hinted(void *data, lines_due_add_reply_t *reply);


static ngx_int_t
link_again(request_t *q)
{
    return lines_line_wish(&q->ctx.caller, wished, q, .tenant = q->tenant,
                           .id = q->id, .wish = ngx_string("link"));
}


static ngx_int_t
cancel(request_t *q)
{
    q->word = "cancel";

    return lines_due_add(&q->ctx.caller, wish_hinted, q,
                         .shard = lines_due_shard(&q->id), .tenant = q->tenant,
                         .id = q->id, .delay = q->node->op.due);
}


static ngx_int_t
wish_hinted(void *data, lines_due_add_reply_t *reply)
{
    request_t  *q = data;

    return lines_line_wish(&q->ctx.caller, wished, q, .tenant = q->tenant,
                           .id = q->id, .wish = ngx_string("cancel"));
}


static ngx_int_t
wished(void *data, lines_line_wish_reply_t *reply)
{
    request_t  *q = data;

    if (reply->is != LINES_LINE_WISH_WISHED) {
        return NGX_DONE;
    }

    if (q->word) {
        return lines_due_add(&q->ctx.caller, wish_start, q,
                             .shard = lines_due_shard(&q->id),
                             .tenant = q->tenant, .id = q->id, .delay = 0);
    }

    return wait_for(q, &q->id);
}


static ngx_int_t
wish_start(void *data, lines_due_add_reply_t *reply)
{
    request_t  *q = data;

    return wait_for(q, &q->id);
}


/* admin/lines.c */

static ngx_int_t report_put(request_t *q);
static ngx_int_t reported(void *data, lines_line_report_reply_t *reply);
static ngx_int_t release_put(request_t *q);
static ngx_int_t released(void *data, lines_line_release_reply_t *reply);
static ngx_int_t refund_put(request_t *q);
static ngx_int_t refunded(void *data, lines_line_refund_reply_t *reply);
static ngx_int_t let_go(request_t *q, ngx_str_t *operation, ngx_str_t *number);
static ngx_int_t number_released(void *data, lines_inv_release_reply_t *reply);


static ngx_int_t
report(request_t *q)
{
    ngx_int_t  rc;

    q->next = q->word ? report_put : q->refunds ? refund_put : release_put;

    if (lines_refund_id(q->pool, &q->id, &q->operation) != NGX_OK) {
        return NGX_ERROR;
    }

    if (q->word && strcmp(q->word, "active") == 0) {
        return report_put(q);
    }

    rc = lines_ix_put(&q->ctx.caller, NULL, NULL, .id = q->operation,
                      .tenant = q->tenant);

    if (rc == NGX_AGAIN) {
        rc = lines_due_add(&q->ctx.caller, NULL, NULL,
                           .shard = lines_due_shard(&q->operation),
                           .tenant = q->tenant, .id = q->operation,
                           .delay = q->node->op.due);
    }

    if (rc == NGX_AGAIN && q->word == NULL && q->tenant.data[0] == 'a') {
        rc = lines_inv_watch(&q->ctx.caller, NULL, NULL, .tenant = q->tenant,
                             .operation = q->id, .delay = q->node->op.lease);
    }

    return rc;
}


static ngx_int_t
report_put(request_t *q)
{
    ngx_str_t  none = ngx_null_string, reason = ngx_string("broken");

    return lines_line_report(&q->ctx.caller, reported, q, .tenant = q->tenant,
                             .id = q->id, .status = lines_op_text(q->word),
                             .reason = q->word[0] == 'f' ? reason : none,
                             .operation = strcmp(q->word, "active") ? q->operation
                                                                    : none);
}


static ngx_int_t
reported(void *data, lines_line_report_reply_t *reply)
{
    request_t  *q = data;

    q->answered = 200;

    if (reply->is == LINES_LINE_REPORT_MOVED
        || reply->is == LINES_LINE_REPORT_SAME)
    {
        (void) lines_forget_prov_rem(&q->ctx.caller, .tenant = q->tenant,
                                     .id = q->id);

        if (reply->operation.len) {
            (void) lines_op_spawn(&q->node->lmcf, &q->tenant,
                                  &reply->operation);
        }
    }

    return NGX_DONE;
}


static ngx_int_t
release_put(request_t *q)
{
    return lines_line_release(&q->ctx.caller, released, q,
                              .tenant = q->tenant, .id = q->id,
                              .operation = q->operation);
}


static ngx_int_t
released(void *data, lines_line_release_reply_t *reply)
{
    request_t  *q = data;

    if (reply->is != LINES_LINE_RELEASE_RELEASED
        && reply->is != LINES_LINE_RELEASE_SAME)
    {
        return NGX_DONE;
    }

    return let_go(q, &reply->operation, &reply->number);
}


/* admin/refunds.c, without a preview */

static ngx_int_t
refund_put(request_t *q)
{
    return lines_line_refund(&q->ctx.caller, refunded, q,
                             .tenant = q->tenant, .id = q->id,
                             .operation = q->operation);
}


static ngx_int_t
refunded(void *data, lines_line_refund_reply_t *reply)
{
    request_t  *q = data;

    if (reply->is != LINES_LINE_REFUND_REFUNDING
        && reply->is != LINES_LINE_REFUND_SAME)
    {
        return NGX_DONE;
    }

    return let_go(q, &reply->operation, &reply->number);
}


static ngx_int_t
let_go(request_t *q, ngx_str_t *operation, ngx_str_t *number)
{
    if (operation->len) {
        (void) lines_op_spawn(&q->node->lmcf, &q->tenant, operation);
    }

    if (number->len == 0) {
        return NGX_DONE;
    }

    return lines_inv_release(&q->ctx.caller, number_released, q,
                             .operation = q->id, .tenant = q->tenant,
                             .quarantine = q->node->lmcf.quarantine);
}


static ngx_int_t
number_released(void *data, lines_inv_release_reply_t *reply)
{
    return NGX_DONE;
}


/* account/tickets.c, and admin/tickets.c */

static ngx_int_t ticket_add(request_t *q);
static ngx_int_t ticket_read(void *data, lines_ticket_state_reply_t *reply);
static ngx_int_t ticket_leased(void *data, lines_inv_lease_reply_t *reply);
static ngx_int_t ticket_assigned(void *data, lines_inv_assign_reply_t *reply);
static ngx_int_t ticket_move(request_t *q);
static ngx_int_t ticket_moved(void *data, lines_ticket_move_reply_t *reply);


static ngx_int_t
ticket_name(request_t *q, ngx_str_t *id, ngx_str_t *name)
{
    return lines_redis_format(q->pool, name, "ticket.%V", id);
}


static ngx_int_t
ticket(request_t *q)
{
    q->next = ticket_add;

    return ticket_name(q, &q->id, &q->operation) == NGX_OK
           ? lines_ix_put(&q->ctx.caller, NULL, NULL, .id = q->operation,
                          .tenant = q->tenant)
           : NGX_ERROR;
}


static ngx_int_t
ticket_done(void *data, lines_ticket_add_reply_t *reply)
{
    return NGX_DONE;
}


static ngx_int_t
ticket_add(request_t *q)
{
    return lines_ticket_add(&q->ctx.caller, ticket_done, q,
                            .tenant = q->tenant, .id = q->id);
}


static ngx_int_t
ticket_end(request_t *q)
{
    q->next = ticket_move;

    return ticket_name(q, &q->id, &q->operation) == NGX_OK
           ? lines_ticket_state(&q->ctx.caller, ticket_read, q,
                                .tenant = q->tenant, .id = q->id)
           : NGX_ERROR;
}


static ngx_int_t
ticket_read(void *data, lines_ticket_state_reply_t *reply)
{
    request_t  *q = data;

    if (reply->status.len == 0) {
        return NGX_DONE;
    }

    if (reply->status.data[0] != 'O' || q->word[0] != 'F') {
        return NGX_OK;
    }

    q->not_after = reply->now + (int64_t) q->node->op.lease;
    q->looks = reply->looks;

    return lines_inv_lease(&q->ctx.caller, ticket_leased, q,
                           .operation = q->operation, .tenant = q->tenant,
                           .delay = 2 * q->node->op.lease,
                           .wanted = q->number,
                           .rest = q->node->lmcf.quarantine);
}


static ngx_int_t
ticket_leased(void *data, lines_inv_lease_reply_t *reply)
{
    request_t  *q = data;

    if (reply->number.len == 0) {
        return NGX_DONE;
    }

    q->number.len = reply->number.len;
    q->number.data = ngx_pstrdup(q->pool, &reply->number);

    return lines_inv_assign(&q->ctx.caller, ticket_assigned, q,
                            .number = q->number, .operation = q->operation);
}


static ngx_int_t
ticket_assigned(void *data, lines_inv_assign_reply_t *reply)
{
    return reply->is == LINES_INV_ASSIGN_ASSIGNED ? NGX_OK : NGX_DONE;
}


static ngx_int_t
ticket_move(request_t *q)
{
    return lines_ticket_move(&q->ctx.caller, ticket_moved, q,
                             .tenant = q->tenant, .id = q->id,
                             .status = lines_op_text(q->word),
                             .number = q->number,
                             .not_after = q->not_after ? &q->not_after : NULL,
                             .most = 2 * q->node->op.lease,
                             .looks = q->looks);
}


static ngx_int_t
ticket_moved(void *data, lines_ticket_move_reply_t *reply)
{
    return NGX_DONE;
}


/* admin/deletion.c */

static ngx_int_t deleted(void *data, lines_tenant_delete_reply_t *reply);
static ngx_int_t delete_list(request_t *q);
static ngx_int_t delete_lines(request_t *q);
static ngx_int_t delete_index(request_t *q);
static ngx_int_t delete_end(request_t *q);
static ngx_int_t delete_ended(void *data, lines_tenant_end_reply_t *reply);
static ngx_int_t delete_found(request_t *q);
static ngx_int_t delete_name(request_t *q, ngx_str_t *name);
static ngx_int_t delete_line(void *data, lines_line_drop_reply_t *reply);
static ngx_int_t delete_ticket(void *data, lines_ticket_drop_reply_t *reply);


static ngx_int_t
delete_tenant(request_t *q)
{
    return lines_tenant_delete(&q->ctx.caller, deleted, q,
                               .tenant = q->tenant);
}


/* the reply to the first try may have been lost; Redis' clock may have been set */

static int64_t
deletion_began(request_t *q)
{
    char              key[64];
    const sim_str_t  *reply;

    snprintf(key, sizeof(key), "lines:{%s}:deleted", q->tenant.data);

    reply = sim_ask("GET", key, NULL);

    return (world.may & SIM_CLOCKS) || reply->data[1] == '-'
           ? world.now : strtoll(strchr((char *) reply->data, '\n'), NULL, 10)
                         * 1000;
}


static ngx_int_t
deleted(void *data, lines_tenant_delete_reply_t *reply)
{
    request_t  *q = data;

    if (reply->is == LINES_TENANT_DELETE_LINES
        || reply->is == LINES_TENANT_DELETE_OPERATIONS)
    {
        return NGX_DONE;
    }

    if (reply->is == LINES_TENANT_DELETE_GONE) {
        q->answered = 200;
        return NGX_DONE;
    }

    if (tenants[q->tenant_at].exists) {
        tenants[q->tenant_at].exists = 0;
        tenants[q->tenant_at].left = deletion_began(q);
        sim_trace("%s is deleted", tenants[q->tenant_at].name);
    }

    q->deleting = reply->at;
    q->next = delete_list;

    return NGX_OK;
}


static ngx_int_t
delete_list(request_t *q)
{
    q->next = delete_lines;

    return lines_keep_tenant_left(&q->ctx.caller, &q->left,
                                  .tenant = q->tenant, .at = q->deleting,
                                  .most = 100,
                                  .list = lines_op_text(
                                      q->left.is == LINES_TENANT_LEFT_TICKETS
                                      ? "tickets" : "lines"),
                                  .went = q->left.ids);
}


static ngx_int_t
delete_lines(request_t *q)
{
    ngx_int_t   rc;
    ngx_str_t   name;
    ngx_uint_t  i;

    if (q->left.is == LINES_TENANT_LEFT_GONE) {
        q->answered = 200;
        return NGX_DONE;
    }

    if (q->left.is == LINES_TENANT_LEFT_UNDONE) {
        return NGX_DONE;
    }

    if (q->left.is == LINES_TENANT_LEFT_REST) {
        q->next = delete_end;

        rc = lines_tenants_rem(&q->ctx.caller, NULL, NULL,
                               .tenant = q->tenant);

        if (rc != NGX_AGAIN || q->left.customer.len == 0) {
            return rc;
        }

        return lines_customer_rem(&q->ctx.caller, NULL, NULL,
                                  .customer = q->left.customer,
                                  .tenant = q->tenant);
    }

    q->next = delete_index;

    for (rc = NGX_AGAIN, i = 0; rc == NGX_AGAIN && i < q->left.ids.n; i++) {
        name = q->left.ids.elts[i];

        if (q->left.is == LINES_TENANT_LEFT_TICKETS
            && ticket_name(q, &q->left.ids.elts[i], &name) != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = lines_inv_release(&q->ctx.caller, NULL, NULL, .tenant = q->tenant,
                               .quarantine = q->node->lmcf.quarantine,
                               .operation = name);
    }

    return rc;
}


static ngx_int_t
delete_index(request_t *q)
{
    ngx_int_t   rc;
    ngx_str_t   name;
    ngx_uint_t  i;

    q->next = delete_list;

    for (rc = NGX_AGAIN, i = 0; rc == NGX_AGAIN && i < q->left.ids.n; i++) {
        name = q->left.ids.elts[i];

        rc = q->left.is == LINES_TENANT_LEFT_TICKETS
             ? lines_ticket_drop(&q->ctx.caller, delete_ticket, q,
                                 .tenant = q->tenant, .id = name)
             : lines_line_drop(&q->ctx.caller, delete_line, q,
                               .tenant = q->tenant, .id = name);
    }

    return rc;
}


static ngx_int_t
delete_name(request_t *q, ngx_str_t *name)
{
    return name->len ? lines_ix_del(&q->ctx.caller, NULL, NULL, .id = *name)
                     : NGX_OK;
}


static ngx_int_t
delete_line(void *data, lines_line_drop_reply_t *reply)
{
    return delete_name(data, &reply->name);
}


static ngx_int_t
delete_ticket(void *data, lines_ticket_drop_reply_t *reply)
{
    return delete_name(data, &reply->name);
}


static ngx_int_t
delete_end(request_t *q)
{
    return lines_tenant_end(&q->ctx.caller, delete_ended, q,
                            .tenant = q->tenant, .at = q->deleting);
}


static ngx_int_t
delete_ended(void *data, lines_tenant_end_reply_t *reply)
{
    request_t *q = data;

    ngx_int_t  rc;

    if (reply->is != LINES_TENANT_END_UNDONE) {
        q->answered = 200;
    }

    if (reply->is != LINES_TENANT_END_UNDONE
        && reply->is != LINES_TENANT_END_OTHER)
    {
        return NGX_DONE;
    }

    q->next = delete_found;

    rc = lines_tenants_add(&q->ctx.caller, NULL, NULL, .tenant = q->tenant);

    if (rc != NGX_AGAIN || reply->customer.len == 0) {
        return rc;
    }

    return lines_customer_add(&q->ctx.caller, NULL, NULL,
                              .customer = reply->customer,
                              .tenant = q->tenant);
}


static ngx_int_t
delete_found(request_t *q)
{
    return NGX_DONE;
}


/* whoever began to delete a tenant asks again, until that has ended */

ngx_uint_t
sim_people_deleting(void)
{
    int          i;
    char         key[64];
    request_t   *q;
    ngx_uint_t   n;
    sim_node_t  *node;

    node = some_node();

    for (n = 0, i = 0; i < TENANTS; i++) {
        snprintf(key, sizeof(key), "lines:{%s}:t", tenants[i].name);

        if (sim_ask("HEXISTS", key, "deleting", NULL)->data[1] == '0') {
            continue;
        }

        n++;

        if (node && world.steps % 256 == 0) {
            q = request(node, tenants[i].name, "", delete_tenant);
            q->tenant_at = i;
            request_start(q);
        }
    }

    return n;
}


/* webhook/webhook.c, once it knows who speaks */

static ngx_int_t
event_received(request_t *q)
{
    q->answered = 200;

    return NGX_DONE;
}


static ngx_int_t
event_start(request_t *q)
{
    lines_stripe_event_t  *event;

    q->next = event_received;

    event = ngx_pcalloc(q->pool, sizeof(lines_stripe_event_t));

    if (lines_stripe_parse_event(q->event, event) != NGX_OK) {
        abort();
    }

    return lines_webhook_event(&q->r, &q->ctx, event);
}


void
sim_people_event(sim_node_t *node, json_t *event)
{
    request_t  *q;

    sim_trace("node %d: event %s %s of %s", node->id,
              json_string_value(json_object_get(event, "id")),
              json_string_value(json_object_get(event, "type")),
              json_string_value(json_object_get(json_object_get(
                  json_object_get(event, "data"), "object"), "id")));

    q = request(node, "", "", event_start);
    q->event = event;
    q->ctx.data = q;

    request_start(q);
}


ngx_int_t
lines_answer_format(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t status,
    const char *fmt, ...)
{
    request_t  *q = ngx_queue_data(ctx, request_t, ctx);

    q->answered = status;

    return NGX_DONE;
}


ngx_int_t
lines_answer(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t status,
    ngx_str_t *json)
{
    return lines_answer_format(r, ctx, status, "");
}


ngx_int_t
lines_unavailable(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t retry_after)
{
    return lines_answer_format(r, ctx, 503, "");
}


/* http/steps.h */

void
lines_resume(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc)
{
    resumed(&ctx->caller, rc);
}


lines_ctx_t *
lines_get_ctx(ngx_http_request_t *r)
{
    request_t  *q = ngx_queue_data(r, request_t, r);

    return &q->ctx;
}


/* what the provisioner has taken it reports, after a while and until heard */

void
sim_people_provisioned(const char *workspace, const char *line)
{
    int  i;

    for (i = 0; i < NAMES - 1 && reports[i].due; i++) { /* void */ }

    snprintf(reports[i].tenant, sizeof(reports[i].tenant), "w:%s", workspace);
    snprintf(reports[i].id, sizeof(reports[i].id), "%s", line);
    snprintf(reports[i].status, sizeof(reports[i].status), "%s",
             sim_one_in(5) ? "failed" : "active");

    reports[i].due = world.now + 1 + (int64_t) sim_random(SIM_MINUTE);
}


int64_t
sim_people_due(void)
{
    int      i;
    int64_t  due;

    due = 0;

    for (i = 0; i < NAMES; i++) {
        if (reports[i].due && (due == 0 || reports[i].due < due)) {
            due = reports[i].due;
        }
    }

    return due;
}


void
sim_people_tick(void)
{
    int          i;
    request_t   *q;
    sim_node_t  *node;

    node = some_node();

    for (i = 0; i < NAMES; i++) {

        if (reports[i].due == 0 || reports[i].due > world.now) {
            continue;
        }

        /* until then it is on its way */
        reports[i].due = world.now + 10 * SIM_SECOND;

        if (node == NULL) {
            return;
        }

        sim_trace("node %d: line %s of %s is reported %s", node->id,
                  reports[i].id, reports[i].tenant, reports[i].status);

        q = request(node, reports[i].tenant, reports[i].id, report);
        q->word = reports[i].status;
        q->report = i + 1;

        request_start(q);
        return;
    }
}


void
sim_people_wake(sim_node_t *node, const char *tenant, const char *id)
{
    request_start(request(node, tenant, id, look));
}


/* admin/operations.c: what is stuck a person looks at, and says what is true */

static ngx_int_t resolve_hinted(void *data, lines_due_add_reply_t *reply);


static ngx_int_t
resolve_said(void *data, lines_op_resolve_reply_t *reply)
{
    request_t  *q = data;

    if (reply->is != LINES_OP_RESOLVE_RESOLVED
        && reply->is != LINES_OP_RESOLVE_SAME)
    {
        return NGX_DONE;
    }

    return lines_due_add(&q->ctx.caller, resolve_hinted, q,
                         .shard = lines_due_shard(&q->id), .tenant = q->tenant,
                         .id = q->id, .delay = 0);
}


static ngx_int_t
resolve_hinted(void *data, lines_due_add_reply_t *reply)
{
    request_t  *q = data;

    (void) lines_op_obtain(&q->node->lmcf, &q->tenant, &q->id, NULL);

    return NGX_DONE;
}


static ngx_int_t
resolve(request_t *q)
{
    u_char     note[24];
    ngx_str_t  as, text;

    as.data = (u_char *) q->word;
    as.len = strlen(q->word);

    /* each time anew: what is true of what it is stuck with now */

    text.data = note;
    text.len = ngx_sprintf(note, "%uL", world.steps) - note;

    return lines_op_resolve(&q->ctx.caller, resolve_said, q,
                            .tenant = q->tenant, .id = q->id, .as = as,
                            .by = ngx_string("op"), .note = text,
                            .lease = q->node->op.lease);
}


void
sim_people_resolve(void)
{
    int               n;
    char              member[96], at[24], tenant[32], id[48], key[96];
    request_t        *q;
    sim_node_t       *node;
    const sim_str_t  *reply;

    node = some_node();
    reply = sim_ask("ZCARD", "lines:{stuck}", NULL);
    n = atoi((char *) reply->data + 1);

    if (node == NULL || n == 0) {
        return;
    }

    snprintf(at, sizeof(at), "%d", (int) sim_random(n));
    reply = sim_ask("ZRANGE", "lines:{stuck}", at, at, NULL);

    /* "*1", its length, "TENANT ID" */

    snprintf(member, sizeof(member), "%.*s", (int) reply->len, reply->data);

    if (sscanf(member, "*1\r\n$%*d\r\n%31s %47s", tenant, id) != 2) {
        return;
    }

    /* who reads the list takes from it what is stuck no more */

    snprintf(key, sizeof(key), "lines:{%s}:op:%s", tenant, id);

    if (sim_ask("HEXISTS", key, "stuck", NULL)->data[1] == '0') {
        snprintf(member, sizeof(member), "%s %s", tenant, id);
        (void) sim_ask("ZREM", "lines:{stuck}", member, NULL);
        return;
    }

    q = request(node, tenant, id, resolve);
    q->word = sim_one_in(3) ? "canceled" : "settled";

    request_start(q);
}


/*
 * As it answers: of money, how much of which invoice is given back outside of
 * billing, all where that is unclear; else all that there is at billing comes
 * to its end by hand.
 */

void
sim_people_said(const char *key, size_t key_len, const char *reply, size_t len)
{
    char              text[160], name[96], id[32], stuck[32];
    long long         due;
    const sim_str_t  *sub;

    snprintf(text, sizeof(text), "%.*s", (int) len, reply);
    snprintf(name, sizeof(name), "%.*s", (int) key_len, key);

    if (strncmp(text, "*4\r\n$8\r\nresolved\r\n", 18) != 0) {
        return;
    }

    sim_trace("%s is resolved", name);

    if (sscanf(text + 18, "$%*d %31s $%*d %31s $%*d %lld", stuck, id, &due) == 3
        && strncmp(id, "in_", 3) == 0)
    {
        sim_billing_settle(id, strcmp(stuck, "money_unclear") == 0 ? INT64_MAX
                                                                   : due);
        return;
    }

    sub = sim_ask("HGET", name, "subscription", NULL);
    snprintf(text, sizeof(text), "%.*s", (int) sub->len, sub->data);

    if (sscanf(text, "$%*d %31s", id) == 1) {
        sim_billing_settle_all(id);
    }
}


void
sim_people_act(void)
{
    int          i;
    char         id[40], key[128], value[32];
    name_t      *name;
    request_t   *q;
    ngx_uint_t   refunds;
    sim_node_t  *node;

    static const char  *idems[] = { "k0", "k1", "k2", NULL };

    node = some_node();
    name = some_name();

    if (node == NULL) {
        return;
    }

    switch (sim_random(18)) {

    case 0:
    case 1:
    case 2:
    case 3:
        i = sim_random(SPACES);
        new_id(id);
        add_name(tenants[i].name, id, LINE);

        sim_trace("node %d: a line %s for %s", node->id, id, tenants[i].name);

        q = request(node, tenants[i].name, id, create);
        q->word = idems[sim_random(4)];
        break;

    case 4:
    case 5:
    case 6:
        i = SPACES + sim_random(TENANTS - SPACES);
        new_id(id);
        add_name(tenants[i].name, id, PURCHASE);

        snprintf(key, sizeof(key), "lines:{%s}:tok:%s", tenants[i].name, id);
        snprintf(value, sizeof(value), "valid %lld",
                 (long long) (world.now / 1000 + TOKEN));
        (void) sim_ask("SET", key, value, NULL);

        sim_trace("node %d: purchase %s of %s", node->id, id, tenants[i].name);

        q = request(node, tenants[i].name, id, confirm);
        break;

    case 7:

        /* once more, or at two nodes at once */

        if (name == NULL || name->what != PURCHASE) {
            return;
        }

        q = request(node, name->tenant, name->id, confirm);
        break;

    case 8:
    case 9:
        if (name == NULL || name->what == TICKET) {
            return;
        }

        sim_trace("node %d: looks at %s of %s", node->id, name->id,
                  name->tenant);

        q = request(node, name->tenant, name->id, look);
        break;

    case 10:
    case 11:
        if (name == NULL || name->what != LINE) {
            return;
        }

        sim_trace("node %d: a link for %s of %s", node->id, name->id,
                  name->tenant);

        q = request(node, name->tenant, name->id, link_again);
        break;

    case 12:
        if (name == NULL || name->what != LINE) {
            return;
        }

        sim_trace("node %d: cancel of %s of %s", node->id, name->id,
                  name->tenant);

        q = request(node, name->tenant, name->id, cancel);
        break;

    case 13:
        if (name == NULL || name->what == TICKET) {
            return;
        }

        refunds = (name->id[0] % 3 == 0);    /* of a name, always or never */

        sim_trace("node %d: %s of %s of %s", node->id,
                  refunds ? "refund" : "release", name->id, name->tenant);

        q = request(node, name->tenant, name->id, report);
        q->refunds = refunds;
        name->refunds |= refunds;
        break;

    case 14:
        if (name == NULL || name->what != LINE
            || node->lmcf.provisioner.len)
        {
            return;
        }

        sim_people_provisioned(name->tenant + 2, name->id);
        return;

    case 15:
        i = SPACES + sim_random(TENANTS - SPACES);
        new_id(id);
        add_name(tenants[i].name, id, TICKET);

        sim_trace("node %d: ticket %s of %s", node->id, id, tenants[i].name);

        q = request(node, tenants[i].name, id, ticket);
        break;

    case 16:

        /* any number, one of the inventory's, or the operator's own */

        for (i = 0; i < 4 && (name == NULL || name->what != TICKET); i++) {
            name = some_name();
        }

        if (name == NULL || name->what != TICKET) {
            return;
        }

        q = request(node, name->tenant, name->id, ticket_end);
        q->word = sim_one_in(4) ? "CANCELLED" : "FULFILLED";

        if (q->word[0] == 'F' && sim_one_in(2)) {
            snprintf(value, sizeof(value), "+14155550%d0%d", (int) sim_random(2),
                     (int) sim_random(6));
            q->number.len = strlen(value);
            q->number.data = ngx_pnalloc(q->pool, sizeof(value));
            ngx_memcpy(q->number.data, value, sizeof(value));
        }

        sim_trace("node %d: ticket %s of %s: %s %s", node->id, name->id,
                  name->tenant, q->word,
                  q->number.len ? (char *) q->number.data : "");
        break;

    default:
        i = sim_random(TENANTS);

        if (!(world.may & SIM_DELETES) || !sim_one_in(6)) {
            return;
        }

        /* what was begun is ended; one that is gone comes back, or not */

        q = request(node, tenants[i].name, "", delete_tenant);
        q->tenant_at = i;
    }

    request_start(q);
}
