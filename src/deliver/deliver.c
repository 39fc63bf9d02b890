
#include "deliver/deliver.h"
#include "deliver/delivery.h"
#include "http/text.h"
#include "operation/database.h"
#include "operation/record.h"
#include "store/calls.h"


/* tenants that are looked at at once */
#define LINES_DELIVER_RUNS   256

/* of a shard, read at a time */
#define LINES_DELIVER_BATCH  16

/* calls to one webhook at once, over all nodes */
#define LINES_DELIVER_EACH   4

/* events of one that may wait to be tried again */
#define LINES_DELIVER_MOST   1000

/* ms until a tenant is looked at for which there was no room */
#define LINES_DELIVER_LATER  1000

/* "w:" and an id */
#define LINES_DELIVER_TENANT 80

/* what hook_claim.lua says of each */
#define LINES_DELIVER_ITEM   8


/*
 * Two lanes: who did not answer in time lately has no part in what is there
 * for those that do.
 */

enum {
    LINES_DELIVER_FAST = 0,
    LINES_DELIVER_SLOW,
    LINES_DELIVER_LANES
};


/* a tenant that is looked at: until nothing is to be told, and nothing under
   way */

typedef struct {
    ngx_queue_t     queue;
    ngx_queue_t     ready;
    lines_caller_t  caller;
    int64_t         flight[LINES_DELIVER_LANES];  /* calls of it under way */
    int64_t         asked[LINES_DELIVER_LANES];   /* room that it may take */
    unsigned        waits:1;                      /* it is among the ready */
    unsigned        claims:1;
    unsigned        again:1;                      /* there may be more */
    ngx_str_t       tenant;
    u_char          name[LINES_DELIVER_TENANT];
} deliver_run_t;

typedef struct {
    deliver_run_t  *run;
    ngx_uint_t      lane;
} deliver_call_t;


static void deliver_sweep(ngx_event_t *ev);
static ngx_int_t deliver_swept(void *data,
    lines_hooks_due_read_reply_t *reply);
static void deliver_look(ngx_str_t *tenant);
static void deliver_ready(deliver_run_t *run);
static void deliver_wake(void);
static void deliver_next(ngx_event_t *ev);
static void deliver_claim(deliver_run_t *run);
static ngx_int_t deliver_claimed(void *data, lines_hook_claim_reply_t *reply);
static void deliver_item(deliver_run_t *run, ngx_str_t *item);
static void deliver_seal(deliver_run_t *run, ngx_str_t *item);
static void deliver_done(void *data);
static void deliver_rest(deliver_run_t *run, int64_t next);
static ngx_uint_t deliver_flies(deliver_run_t *run);
static ngx_uint_t deliver_yields(void);
static void deliver_free(void);


static struct {
    lines_main_conf_t  *lmcf;       /* NULL: this worker has no part in it */
    lines_caller_t      caller;
    ngx_event_t         sweep;
    ngx_event_t         next;
    ngx_queue_t         runs;
    ngx_queue_t         over;       /* runs that end: their caller is in use
                                       until it has returned */
    ngx_queue_t         ready;
    ngx_uint_t          nruns;
    ngx_uint_t          crowded;    /* flag: somebody found no room among them */
    int64_t             most[LINES_DELIVER_LANES];    /* calls at once, */
    int64_t             busy[LINES_DELIVER_LANES];    /* and that are, or may
                                                         be, under way */
} deliver;


void
lines_deliver_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    lines_hooks_conf_t *hcf = lmcf->hooks;

    lines_delivery_init_process();

    if (hcf == NULL || ngx_worker != 0) {
        return;
    }

    ngx_memzero(&deliver, sizeof(deliver));

    deliver.lmcf = lmcf;
    deliver.most[LINES_DELIVER_SLOW] = ngx_max(hcf->concurrency / 4, 1);
    deliver.most[LINES_DELIVER_FAST] = hcf->concurrency
                                       - deliver.most[LINES_DELIVER_SLOW];

    ngx_queue_init(&deliver.runs);
    ngx_queue_init(&deliver.over);
    ngx_queue_init(&deliver.ready);

    lines_caller_init(&deliver.caller, lmcf->redis, NULL, cycle->log);

    deliver.sweep.handler = deliver_sweep;
    deliver.sweep.data = &deliver;
    deliver.sweep.log = cycle->log;
    deliver.sweep.cancelable = 1;

    deliver.next.handler = deliver_next;
    deliver.next.data = &deliver;
    deliver.next.log = cycle->log;

    ngx_add_timer(&deliver.sweep, 1 + ngx_random() % hcf->sweep);
}


void
lines_deliver_exit_process(lines_main_conf_t *lmcf)
{
    ngx_queue_t    *q;
    deliver_run_t  *run;

    if (deliver.lmcf == NULL) {
        return;
    }

    if (deliver.sweep.timer_set) {
        ngx_del_timer(&deliver.sweep);
    }

    if (deliver.next.posted) {
        ngx_delete_posted_event(&deliver.next);
    }

    lines_delivery_exit_process();
    lines_caller_detach(&deliver.caller);

    while (!ngx_queue_empty(&deliver.runs)) {
        q = ngx_queue_head(&deliver.runs);
        run = ngx_queue_data(q, deliver_run_t, queue);

        lines_caller_detach(&run->caller);
        ngx_queue_remove(q);
        ngx_free(run);
    }

    deliver_free();

    deliver.lmcf = NULL;
}


static void
deliver_free(void)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&deliver.over)) {
        q = ngx_queue_head(&deliver.over);

        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, deliver_run_t, queue));
    }
}


static ngx_uint_t
deliver_rests(void)
{
    return ngx_exiting || ngx_quit || ngx_terminate
           || !lines_database_ours(deliver.lmcf);
}


static void
deliver_sweep(ngx_event_t *ev)
{
    ngx_int_t            rc;
    ngx_uint_t           i, first;
    lines_hooks_conf_t  *hcf;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    hcf = deliver.lmcf->hooks;
    first = ngx_random() % LINES_DUE_SHARDS;

    deliver.crowded = (deliver.nruns + LINES_DELIVER_BATCH > LINES_DELIVER_RUNS);

    for (i = 0;
         i < LINES_DUE_SHARDS
         && !deliver_rests()
         && deliver.nruns + LINES_DELIVER_BATCH <= LINES_DELIVER_RUNS;
         i++)
    {
        rc = lines_try_hooks_due_read(&deliver.caller, deliver_swept, NULL,
                                      .shard = (first + i) % LINES_DUE_SHARDS,
                                      .most = LINES_DELIVER_BATCH,
                                      .idle = hcf->look);

        if (rc != NGX_AGAIN && rc != NGX_DECLINED) {
            break;
        }
    }

    ngx_add_timer(ev, hcf->sweep - hcf->sweep / 8
                      + ngx_random() % (hcf->sweep / 4 + 1));
}


static ngx_int_t
deliver_swept(void *data, lines_hooks_due_read_reply_t *reply)
{
    ngx_uint_t  i;

    for (i = 0; reply && i < reply->tenants.n; i++) {
        deliver_look(&reply->tenants.elts[i]);
    }

    return NGX_OK;
}


void
lines_deliver_told(ngx_str_t *message)
{
    ngx_str_t  word, rest;

    /* what was missed is found when its tenant is due to be looked at */

    if (deliver.lmcf == NULL || message == NULL) {
        return;
    }

    rest = *message;
    word = lines_word(&rest);

    if (lines_is(&word, "hooks")) {
        deliver_look(&rest);
    }
}


static void
deliver_look(ngx_str_t *tenant)
{
    ngx_queue_t    *q;
    deliver_run_t  *run;

    if (deliver_rests()
        || tenant->len == 0
        || tenant->len > LINES_DELIVER_TENANT)
    {
        return;
    }

    for (q = ngx_queue_head(&deliver.runs);
         q != ngx_queue_sentinel(&deliver.runs);
         q = ngx_queue_next(q))
    {
        run = ngx_queue_data(q, deliver_run_t, queue);

        if (lines_same(&run->tenant, tenant)) {
            deliver_ready(run);
            return;
        }
    }

    run = NULL;

    if (deliver.nruns < LINES_DELIVER_RUNS) {
        run = ngx_calloc(sizeof(deliver_run_t), ngx_cycle->log);
    }

    if (run == NULL) {
        deliver.crowded = 1;

        (void) lines_forget_hooks_due_soon(&deliver.caller,
                                           .shard = lines_due_shard(tenant),
                                           .tenant = *tenant,
                                           .delay = LINES_DELIVER_LATER);
        return;
    }

    run->tenant.data = run->name;
    run->tenant.len = tenant->len;
    ngx_memcpy(run->name, tenant->data, tenant->len);

    lines_caller_init(&run->caller, deliver.lmcf->redis, NULL, ngx_cycle->log);

    ngx_queue_insert_tail(&deliver.runs, &run->queue);
    deliver.nruns++;

    deliver_ready(run);
}


/* behind all others: nobody has two turns before them */

static void
deliver_ready(deliver_run_t *run)
{
    run->again = 1;

    if (run->waits || run->claims) {
        return;
    }

    run->waits = 1;
    ngx_queue_insert_tail(&deliver.ready, &run->ready);

    deliver_wake();
}


static void
deliver_wake(void)
{
    if (!deliver.next.posted) {
        ngx_post_event(&deliver.next, &ngx_posted_events);
    }
}


static void
deliver_next(ngx_event_t *ev)
{
    ngx_queue_t    *q;
    deliver_run_t  *run;

    deliver_free();

    while (!ngx_queue_empty(&deliver.ready)
           && deliver.busy[LINES_DELIVER_FAST]
              < deliver.most[LINES_DELIVER_FAST])
    {
        q = ngx_queue_head(&deliver.ready);
        run = ngx_queue_data(q, deliver_run_t, ready);

        ngx_queue_remove(q);
        run->waits = 0;

        deliver_claim(run);
    }
}


static void
deliver_claim(deliver_run_t *run)
{
    int64_t              room, most;
    ngx_int_t            rc;
    ngx_uint_t           lane;
    lines_hooks_conf_t  *hcf;

    hcf = deliver.lmcf->hooks;

    for (lane = 0; lane < LINES_DELIVER_LANES; lane++) {
        room = deliver.most[lane] - deliver.busy[lane];

        /* one tenant has a quarter at the most, and so much of the slow lane as
           would be its own there: its dead webhooks are not in the way of its
           others */

        most = ngx_max(deliver.most[LINES_DELIVER_FAST] / 4, 1)
               - run->flight[lane];

        run->asked[lane] = ngx_max(ngx_min(room, most), 0);
        deliver.busy[lane] += run->asked[lane];
    }

    run->again = 0;

    /* its turn comes again when one of its calls ends */

    if (run->asked[LINES_DELIVER_FAST] + run->asked[LINES_DELIVER_SLOW] == 0
        && deliver_flies(run))
    {
        return;
    }

    run->claims = 1;

    rc = deliver_rests()
         ? NGX_DECLINED
         : lines_try_hook_claim(&run->caller, deliver_claimed, run,
                                .tenant = run->tenant,
                                .fast = run->asked[LINES_DELIVER_FAST],
                                .slow = run->asked[LINES_DELIVER_SLOW],
                                .each = LINES_DELIVER_EACH,
                                .lease = (int64_t)
                                         lines_delivery_lease(deliver.lmcf),
                                .most = LINES_DELIVER_MOST,
                                .longest = (int64_t)
                                      lines_delivery_longest(deliver.lmcf),
                                .idle = hcf->look, .seal = hcf->keys[0].id);

    if (rc != NGX_AGAIN) {
        (void) deliver_claimed(run, NULL);
    }
}


static ngx_int_t
deliver_claimed(void *data, lines_hook_claim_reply_t *reply)
{
    deliver_run_t *run = data;

    int64_t     next;
    ngx_uint_t  i, lane;

    run->claims = 0;

    for (lane = 0; lane < LINES_DELIVER_LANES; lane++) {
        deliver.busy[lane] -= run->asked[lane];
        run->asked[lane] = 0;
    }

    for (i = 0;
         reply && i + LINES_DELIVER_ITEM <= reply->items.n;
         i += LINES_DELIVER_ITEM)
    {
        deliver_item(run, &reply->items.elts[i]);
    }

    /* there may be room for others */

    deliver_wake();

    /* without a reply it is looked at when it is due to be */

    next = reply ? reply->next : -1;

    if (reply && (run->again || next == 1)) {

        if (run->waits || !deliver_yields()) {
            deliver_ready(run);
            return NGX_OK;
        }

        next = 1;
    }

    deliver_rest(run, next);

    return NGX_OK;
}


/* next: ms until there is more; 0: it has no webhooks; -1: nobody knows */

static void
deliver_rest(deliver_run_t *run, int64_t next)
{
    int64_t  shard;

    shard = lines_due_shard(&run->tenant);

    if (next > 0) {
        (void) lines_forget_hooks_due_soon(&deliver.caller, .shard = shard,
                                           .tenant = run->tenant,
                                           .delay = next);
    } else if (next == 0) {
        (void) lines_forget_hooks_due_rem(&deliver.caller, .shard = shard,
                                          .tenant = run->tenant);
    }

    if (!deliver_flies(run)) {
        ngx_queue_remove(&run->queue);
        deliver.nruns--;

        ngx_queue_insert_tail(&deliver.over, &run->queue);
        deliver_wake();
    }
}


static void
deliver_item(deliver_run_t *run, ngx_str_t *item)
{
    deliver_call_t         *call;
    lines_delivery_item_t   it;

    if (item[1].len == 0) {
        deliver_seal(run, item);
        return;
    }

    it = (lines_delivery_item_t) {
        .tenant = run->tenant, .hook = item[0], .event = item[1],
        .tries = item[2], .url = item[3], .secret = item[4],
        .before = item[5], .body = item[6]
    };

    call = ngx_alloc(sizeof(deliver_call_t), ngx_cycle->log);
    if (call == NULL) {
        return;
    }

    call->run = run;
    call->lane = item[7].len ? LINES_DELIVER_SLOW : LINES_DELIVER_FAST;

    run->flight[call->lane]++;
    deliver.busy[call->lane]++;

    if (lines_delivery_start(deliver.lmcf, &it, deliver_done, call) != NGX_OK)
    {
        run->flight[call->lane]--;
        deliver.busy[call->lane]--;
        ngx_free(call);
    }
}


static void
deliver_done(void *data)
{
    deliver_call_t *call = data;

    deliver_run_t  *run;

    run = call->run;

    run->flight[call->lane]--;
    deliver.busy[call->lane]--;

    ngx_free(call);

    /* it may wait for its turn already, for which there is room now */

    if (run->waits || run->claims || !deliver_yields()) {
        deliver_ready(run);

    } else if (!deliver_flies(run)) {
        deliver_rest(run, 1);
    }

    deliver_wake();
}


static ngx_uint_t
deliver_flies(deliver_run_t *run)
{
    return run->flight[LINES_DELIVER_FAST] || run->flight[LINES_DELIVER_SLOW];
}


/* who has had a turn makes room for those that found none, and is due again
   behind them; half stay, so that there is work until the next sweep */

static ngx_uint_t
deliver_yields(void)
{
    return deliver.crowded && deliver.nruns > LINES_DELIVER_RUNS / 2;
}


/* its secrets were sealed by a key that is to go */

static void
deliver_seal(deliver_run_t *run, ngx_str_t *item)
{
    u_char               secret[LINES_HOOK_SECRET];
    u_char               buf[LINES_DELIVERY_WHOSE];
    u_char               text[2][LINES_SEALED];
    ngx_int_t            rc;
    ngx_str_t            whose, sealed[2];
    ngx_uint_t           i;
    lines_hooks_conf_t  *hcf;

    hcf = deliver.lmcf->hooks;

    if (lines_delivery_whose(buf, &run->tenant, &item[0], &whose) != NGX_OK) {
        return;
    }

    for (i = 0; i < 2; i++) {
        ngx_str_null(&sealed[i]);

        if (item[4 + i].len == 0) {
            continue;
        }

        rc = lines_unseal(hcf->keys, hcf->nkeys, &whose, &item[4 + i], secret);

        if (rc == NGX_OK) {
            rc = lines_seal(&hcf->keys[0], &whose, secret, text[i]);
        }

        OPENSSL_cleanse(secret, sizeof(secret));

        if (rc != NGX_OK) {

            /* said when it is to sign something; without a former one it goes
               on */

            if (i) {
                break;
            }

            return;
        }

        sealed[i].data = text[i];
        sealed[i].len = LINES_SEALED;
    }

    /* there is nothing to be done about the former one */

    if (sealed[1].len == 0
        && ngx_strncmp(item[4].data, hcf->keys[0].id.data, LINES_SEAL_ID) == 0)
    {
        return;
    }

    (void) lines_forget_hook_seal(&deliver.caller, .tenant = run->tenant,
                                  .id = item[0], .secret = item[4],
                                  .before = item[5],
                                  .secret_sealed = sealed[0],
                                  .before_sealed = sealed[1]);
}
