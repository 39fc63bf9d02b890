
#include "http/metrics.h"
#include "http/text.h"
#include "http/zone.h"
#include "limit/keeper.h"
#include "limit/lease.h"


#define LINES_LEASE_SLAB       256    /* that a bucket takes */
#define LINES_LEASE_TRIES      16     /* buckets looked at for one to forget */
#define LINES_LEASE_MOVES      4      /* s: in these it is moved once */
#define LINES_LEASE_ROOM       256    /* so many are settled for those who come,
                                         where there is little room */

#define LINES_LEASE_FULL       ((off_t) 1 << 60)    /* µs: three times the
                                         largest burst at the lowest rate */

#define LINES_KEEPER_TICK      20
#define LINES_KEEPER_TURNS     10     /* ticks: in these each shard has one, so
                                         that what is ready goes together; who
                                         cannot wait does not (hurry) */
#define LINES_KEEPER_INTERVAL  250    /* of others: it has died */
#define LINES_KEEPER_JOINS     1000
#define LINES_KEEPER_CALLS     (2 * LINES_SHARDS)
#define LINES_KEEPER_END       1000   /* a worker's: its master kills it half a
                                         second later */


/* a settlement on its way */

typedef struct {
    ngx_uint_t            busy;
    ngx_uint_t            shard;
    ngx_uint_t            number;
    ngx_uint_t            n;
    ngx_msec_t            asked;
} lines_keeper_call_t;


/* what each worker does in the background */

static struct {
    lines_main_conf_t    *lmcf;
    lines_lease_area_t   *area;
    ngx_slab_pool_t      *shpool;
    ngx_event_t           timer;
    lines_caller_t        caller;
    ngx_msec_t            joining;    /* asked for, or 0 */
    ngx_uint_t            turn;       /* of shards */
    lines_keeper_call_t   calls[LINES_KEEPER_CALLS];
} keeper;


void *
lines_lease_init(ngx_slab_pool_t *pool)
{
    ngx_uint_t           i;
    lines_lease_area_t  *new;

    new = ngx_slab_calloc(pool, sizeof(lines_lease_area_t));

    /* a node is another one with each new zone, which knows no number */

    if (new == NULL || lines_id(new->id) != NGX_OK) {
        return NULL;
    }

    new->table = lines_table_create(pool);
    if (new->table == NULL) {
        return NULL;
    }

    ngx_queue_init(&new->lru);
    lines_ledger_init(&new->ledger);

    for (i = 0; i < LINES_LEASE_TENANTS; i++) {
        ngx_queue_init(&new->tenants[i]);
    }

    /* a quarter of the zone, or half where ids are long: others live there */

    new->buckets_max = (ngx_uint_t) (pool->end - pool->start) / 4
                       / LINES_LEASE_SLAB;
    new->swept = ngx_current_msec;
    new->missed = ngx_current_msec;

    return new;
}


/* the least used are settled, so that they can be forgotten */

static void
keeper_make_room(void)
{
    ngx_uint_t           i;
    ngx_queue_t         *q;
    lines_lease_node_t  *node;

    q = ngx_queue_last(&keeper.area->lru);

    for (i = 0;
         i < LINES_LEASE_ROOM && q != ngx_queue_sentinel(&keeper.area->lru);
         i++, q = ngx_queue_prev(q))
    {
        node = ngx_queue_data(q, lines_lease_node_t, lru);

        if (!lines_bucket_settled(&node->bucket)) {
            lines_ledger_ready(&keeper.area->ledger, &node->bucket,
                               ngx_current_msec);
        }
    }
}


/*
 * Rather one that is full, which is all that is known of one that is made;
 * anyway: flag, if none is settled, the one that owes least.
 */

static ngx_uint_t
keeper_forget(ngx_uint_t anyway)
{
    ngx_int_t            owes, least;
    ngx_uint_t           i;
    ngx_queue_t         *q;
    lines_lease_node_t  *node, *found, *owing;

    found = NULL;
    owing = NULL;
    least = 0;
    q = ngx_queue_last(&keeper.area->lru);

    for (i = 0;
         i < LINES_LEASE_TRIES && q != ngx_queue_sentinel(&keeper.area->lru);
         i++, q = ngx_queue_prev(q))
    {
        node = ngx_queue_data(q, lines_lease_node_t, lru);

        if (!lines_bucket_settled(&node->bucket)) {
            lines_ledger_ready(&keeper.area->ledger, &node->bucket,
                               ngx_current_msec);

            owes = lines_bucket_owes(&node->bucket, ngx_current_msec);

            if (owing == NULL || owes < least) {
                owing = node;
                least = owes;
            }

            continue;
        }

        if (found == NULL) {
            found = node;
        }

        if (node->bucket.tat <= (double) ngx_current_msec * 1000) {
            found = node;
            break;
        }
    }

    if (found == NULL && anyway && owing) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, keeper.timer.log, 0,
                       "lines lease: forgotten with %i that it owes", least);

        lines_ledger_forget(&keeper.area->ledger, &owing->bucket);
        found = owing;
    }

    if (found == NULL) {
        return 0;
    }

    ngx_queue_remove(&found->lru);

    if (found->looks) {
        ngx_queue_remove(&found->tenants);
    }

    lines_table_remove(keeper.area->table, &found->node);
    keeper.area->buckets--;

    ngx_slab_free_locked(keeper.shpool, found);

    return 1;
}


/* flag: it was not used lately.  To move it touches its neighbours, too. */

static ngx_uint_t
keeper_moves(lines_lease_node_t *node)
{
    unsigned  slice;

    slice = (ngx_time() / LINES_LEASE_MOVES) & LINES_LEASE_MOVED;

    if (node->moved == slice) {
        return 0;
    }

    node->moved = slice;

    return 1;
}


static lines_lease_node_t *
keeper_create(lines_limit_t *limit, ngx_str_t *key, uint32_t hash,
    ngx_uint_t anyway)
{
    ngx_uint_t           tries;
    lines_lease_node_t  *node;

    for (tries = 0; tries < 4 && key->len <= LINES_LEASE_KEY_MAX; tries++) {

        if (keeper.area->buckets < keeper.area->buckets_max) {
            node = ngx_slab_calloc_locked(keeper.shpool,
                                          offsetof(lines_lease_node_t, data)
                                          + key->len);
            if (node) {
                ngx_memcpy(node->data, key->data, key->len);

                node->node.node.key = hash;
                node->node.str.len = key->len;
                node->node.str.data = node->data;

                lines_bucket_init(&node->bucket, hash % LINES_SHARDS,
                                  &limit->rate);

                lines_table_add(keeper.area->table, &node->node);
                keeper.area->buckets++;

                (void) keeper_moves(node);
                ngx_queue_insert_head(&keeper.area->lru, &node->lru);

                return node;
            }
        }

        if (!keeper_forget(anyway)) {
            break;
        }
    }

    return NULL;
}


static lines_lease_node_t *
keeper_lock(lines_limit_t *limit, ngx_str_t *key, ngx_uint_t anyway)
{
    uint32_t             hash;
    lines_lease_node_t  *node;

    hash = ngx_murmur_hash2(key->data, key->len);

    ngx_shmtx_lock(&keeper.shpool->mutex);

    node = (lines_lease_node_t *) lines_table_find(keeper.area->table, key,
                                                   hash);
    if (node == NULL) {
        return limit ? keeper_create(limit, key, hash, anyway) : NULL;
    }

    if (keeper_moves(node)) {
        ngx_queue_remove(&node->lru);
        ngx_queue_insert_head(&keeper.area->lru, &node->lru);
    }

    return node;
}


lines_lease_node_t *
lines_keeper_lock(lines_limit_t *limit, ngx_str_t *key)
{
    return keeper_lock(limit, key, 0);
}


lines_lease_node_t *
lines_keeper_lock_anyway(lines_limit_t *limit, ngx_str_t *key)
{
    return keeper_lock(limit, key, 1);
}


ngx_int_t
lines_keeper_parse(ngx_str_t *interval, ngx_str_t *burst, lines_rate_t *rate)
{
    ngx_int_t  n;

    if (interval->len == 0 || interval->len > 64) {
        return NGX_ERROR;
    }

    rate->interval = strtod((char *) interval->data, NULL);
    n = ngx_atoi(burst->data, burst->len);

    /* what is multiplied by it must be a time */

    if (!(rate->interval > 0 && rate->interval <= LINES_INTERVAL_MAX)
        || n <= 0 || n > LINES_BURST_MAX)
    {
        return NGX_ERROR;
    }

    rate->burst = n;

    return NGX_OK;
}


/* "FULL [INTERVAL BURST VERSION]" */

ngx_int_t
lines_keeper_told(lines_lease_node_t *node, ngx_str_t *text, int64_t settled,
    ngx_msec_t asked)
{
    off_t         full, version;
    ngx_str_t     rest, word, interval, burst;
    lines_rate_t  rate;

    rest = *text;
    word = lines_word(&rest);
    full = ngx_atoof(word.data, word.len);

    if (full == NGX_ERROR || full > LINES_LEASE_FULL || settled < 0) {
        return NGX_ERROR;
    }

    if (rest.len) {
        interval = lines_word(&rest);
        burst = lines_word(&rest);
        version = ngx_atoof(rest.data, rest.len);

        if (version == NGX_ERROR
            || lines_keeper_parse(&interval, &burst, &rate) != NGX_OK)
        {
            return NGX_ERROR;
        }

        node->own = 1;
        lines_bucket_rate(&node->bucket, &rate, version, ngx_current_msec);
    }

    lines_ledger_told(&keeper.area->ledger, &node->bucket, (double) full,
                      (ngx_uint_t) settled, asked, ngx_current_msec);

    return NGX_OK;
}


size_t
lines_keeper_write(u_char *text, lines_bucket_t *bucket, ngx_int_t uses,
    int64_t age)
{
    return ngx_snprintf(text, LINES_LEASE_TEXT, "%i %L %.6f %ui %L", uses, age,
                        bucket->rate.interval, bucket->rate.burst,
                        bucket->version)
           - text;
}


static lines_lease_node_t *
keeper_node(lines_bucket_t *bucket)
{
    return (lines_lease_node_t *)
           ((u_char *) bucket - offsetof(lines_lease_node_t, bucket));
}


static ngx_str_t
keeper_id(void)
{
    return (ngx_str_t) { LINES_ID_LEN, keeper.area->id };
}


lines_lease_area_t *
lines_keeper_area(void)
{
    return keeper.area;
}


void
lines_keeper_lock_zone(void)
{
    ngx_shmtx_lock(&keeper.shpool->mutex);
}


void
lines_keeper_unlock(void)
{
    ngx_shmtx_unlock(&keeper.shpool->mutex);
}


/* unheard, or heard; another worker may have been faster */

static ngx_int_t
keeper_settled(void *data, lines_limit_settle_reply_t *reply)
{
    lines_keeper_call_t *call = data;

    ngx_uint_t       i, n, due;
    lines_shard_t   *shard;
    lines_bucket_t  *batch[LINES_BATCH];

    call->busy = 0;
    shard = &keeper.area->ledger.shards[call->shard];

    ngx_shmtx_lock(&keeper.shpool->mutex);

    if (reply == NULL || reply->buckets.n != call->n) {
        lines_ledger_unheard(shard, call->number);
        due = 0;

    } else {
        n = lines_ledger_heard(&keeper.area->ledger, shard, call->number,
                               ngx_current_msec, batch);

        /* of fewer, as some were forgotten, it is not known which they are */

        for (i = 0; n == call->n && i < n; i++) {
            (void) lines_keeper_told(keeper_node(batch[i]),
                                     &reply->buckets.elts[i], reply->settled,
                                     call->asked);
        }

        due = shard->more && lines_ledger_due(shard, ngx_current_msec);
    }

    ngx_shmtx_unlock(&keeper.shpool->mutex);

    if (due) {
        lines_keeper_settle(call->shard, 0);
    }

    return NGX_OK;
}


void
lines_keeper_settle(ngx_uint_t number, ngx_uint_t all)
{
    u_char              *p;
    ngx_str_t            id;
    ngx_uint_t           i, n;
    lines_shard_t       *shard;
    lines_bucket_t      *batch[LINES_BATCH];
    lines_lease_node_t  *node;
    lines_keeper_call_t  *call, *last;

    static u_char     text[LINES_BATCH * (LINES_LEASE_KEY_MAX
                                          + LINES_LEASE_TEXT)];
    static ngx_str_t  ids[LINES_BATCH], uses[LINES_BATCH];

    call = keeper.calls;
    last = call + LINES_KEEPER_CALLS;

    while (call < last && call->busy) {
        call++;
    }

    if (call == last) {
        return;
    }

    id = keeper_id();
    shard = &keeper.area->ledger.shards[number];
    p = text;

    ngx_shmtx_lock(&keeper.shpool->mutex);

    n = lines_ledger_send(&keeper.area->ledger, shard, ngx_current_msec, all,
                          batch);

    for (i = 0; i < n; i++) {
        node = keeper_node(batch[i]);

        ids[i].data = p;
        ids[i].len = node->node.str.len;
        p = ngx_cpymem(p, node->node.str.data, node->node.str.len);

        uses[i].data = p;
        uses[i].len = lines_keeper_write(p, batch[i], batch[i]->sent,
                                  lines_bucket_age(batch[i],
                                                   ngx_current_msec));
        p += uses[i].len;
    }

    *call = (lines_keeper_call_t) {
        .shard = number, .number = shard->number, .n = n,
        .asked = ngx_current_msec
    };

    ngx_shmtx_unlock(&keeper.shpool->mutex);

    if (n == 0) {
        return;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, keeper.timer.log, 0,
                   "lines lease: settlement %ui of shard %ui, %ui buckets",
                   call->number, number, n);

    lines_metrics_inc(lease_settlements);
    lines_metrics_add(lease_settled, n);

    if (lines_try_limit_settle(&keeper.caller, keeper_settled, call,
                               .shard = (int64_t) number, .node = id,
                               .ids.n = n, .ids.elts = ids,
                               .number = (int64_t) call->number,
                               .uses.n = n, .uses.elts = uses)
        == NGX_AGAIN)
    {
        call->busy = 1;
        return;
    }

    ngx_shmtx_lock(&keeper.shpool->mutex);
    lines_ledger_unheard(shard, call->number);
    ngx_shmtx_unlock(&keeper.shpool->mutex);
}


static ngx_int_t
keeper_joined(void *data, lines_limit_join_reply_t *reply)
{
    lines_ledger_t  *ledger;

    if (reply && reply->nodes > 0) {
        ledger = &keeper.area->ledger;

        ngx_shmtx_lock(&keeper.shpool->mutex);
        lines_ledger_joined(ledger, keeper.joining, ngx_current_msec,
                            reply->known != 0, (ngx_uint_t) reply->nodes);
        ngx_shmtx_unlock(&keeper.shpool->mutex);
    }

    keeper.joining = 0;

    return NGX_OK;
}


/* one worker at a time settles what waits, and says that the node is there */

static ngx_uint_t
keeper_sweep(void)
{
    ngx_msec_t           now;
    ngx_uint_t           i, n, join, turns;
    ngx_uint_t           due[LINES_SHARDS];
    lines_lease_area_t  *area;

    area = keeper.area;
    now = ngx_current_msec;
    n = 0;

    ngx_shmtx_lock(&keeper.shpool->mutex);

    if (area->keeper && area->keeper != ngx_pid
        && lines_zone_since(area->swept) < LINES_KEEPER_INTERVAL)
    {
        ngx_shmtx_unlock(&keeper.shpool->mutex);
        return 0;
    }

    area->keeper = ngx_pid;
    area->swept = now;

    turns = LINES_KEEPER_TURNS;

    /* one that comes finds another that can be forgotten: no settlement that
       makes room waits for company */

    if (area->buckets > area->buckets_max - area->buckets_max / 8) {
        keeper_make_room();
        turns = 1;
    }

    keeper.turn++;

    for (i = keeper.turn % turns; i < LINES_SHARDS; i += turns) {
        if (lines_ledger_due(&area->ledger.shards[i], now)) {
            due[n++] = i;
        }
    }

    join = (keeper.joining == 0
            && (area->ledger.share.nodes == 0
                || lines_zone_since(area->joined) >= LINES_KEEPER_JOINS));

    if (join) {
        area->joined = now;
    }

    ngx_shmtx_unlock(&keeper.shpool->mutex);

    for (i = 0; i < n; i++) {
        lines_keeper_settle(due[i], 0);
    }

    if (join && lines_try_limit_join(&keeper.caller, keeper_joined, NULL,
                                     .node = keeper_id(),
                                     .keep = LINES_SHARE_KEPT)
                == NGX_AGAIN)
    {
        keeper.joining = now;
    }

    return 1;
}


static void
keeper_handler(ngx_event_t *ev)
{
    ngx_uint_t            ours;
    lines_redis_status_t  status;

    if (ngx_exiting || keeper.lmcf->redis == NULL) {

        /* another worker's from now on */

        if (keeper.area->keeper == ngx_pid) {
            keeper.area->keeper = 0;
        }

        return;
    }

    lines_redis_status(lines_redis_limits(keeper.lmcf->redis), &status);

    ours = status.serves ? keeper_sweep() : 0;

    ngx_add_timer(ev, ours ? LINES_KEEPER_TICK : LINES_KEEPER_INTERVAL);
}


void
lines_keeper_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    ngx_uint_t       i;
    lines_limit_t  **limit;

    keeper.area = lines_zone_area(lmcf, LINES_ZONE_LIMITS);
    keeper.shpool = lines_zone_pool(lmcf);

    if (lmcf->limits == NULL) {
        return;
    }

    limit = lmcf->limits->elts;

    for (i = 0; i < lmcf->limits->nelts; i++) {
        limit[i]->metric = lines_metrics_name(LINES_METRICS_LIMIT,
                                              &limit[i]->id, NULL);
    }

    keeper.lmcf = lmcf;

    lines_caller_init(&keeper.caller, lmcf->redis, NULL, cycle->log);

    keeper.timer.handler = keeper_handler;
    keeper.timer.data = &keeper;
    keeper.timer.log = cycle->log;
    keeper.timer.cancelable = 1;

    ngx_add_timer(&keeper.timer, LINES_KEEPER_TICK);
}


/* what this worker waited for the others may send once more; again: flag,
   whatever is under way may be */

static void
keeper_unheard(ngx_uint_t again)
{
    ngx_uint_t            i;
    lines_shard_t        *shards;
    lines_keeper_call_t  *call;

    lines_caller_detach(&keeper.caller);

    shards = keeper.area->ledger.shards;

    ngx_shmtx_lock(&keeper.shpool->mutex);

    for (i = 0; i < LINES_KEEPER_CALLS; i++) {
        call = &keeper.calls[i];

        if (call->busy) {
            lines_ledger_unheard(&shards[call->shard], call->number);
            call->busy = 0;
        }
    }

    for (i = 0; again && i < LINES_SHARDS; i++) {
        lines_ledger_again(&shards[i], ngx_current_msec);
    }

    ngx_shmtx_unlock(&keeper.shpool->mutex);
}


/* sends what can be sent of whatever is open; flag: that is all of it, and it
   is acknowledged */

static ngx_uint_t
keeper_settle_all(void)
{
    ngx_uint_t  i, settled;

    for (i = 0; i < LINES_SHARDS; i++) {
        lines_keeper_settle(i, 1);
    }

    settled = 1;

    ngx_shmtx_lock(&keeper.shpool->mutex);

    for (i = 0; i < LINES_SHARDS; i++) {
        settled &= lines_shard_settled(&keeper.area->ledger.shards[i]);
    }

    ngx_shmtx_unlock(&keeper.shpool->mutex);

    return settled;
}


/*
 * The last one settles what is open, a batch of each shard after the other.
 * Others that go on after all, or end as well, send the same, which counts once.
 * Redis may be away, or go: nobody waits for it then.
 */

static void
keeper_end(lines_redis_t *redis)
{
    ngx_msec_t           start;
    lines_lease_area_t  *area;

    area = keeper.area;

    if (area->keeper && area->keeper != ngx_pid
        && lines_zone_since(area->swept) < LINES_KEEPER_INTERVAL)
    {
        return;
    }

    area->keeper = 0;

    keeper_unheard(1);

    lines_redis_end(redis);

    start = ngx_current_msec;

    while (!keeper_settle_all()
           && ngx_current_msec - start < LINES_KEEPER_END
           && lines_redis_turn(redis) == NGX_OK)
    {
        /* void */
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, keeper.timer.log, 0,
                   "lines lease: the end took %M ms, %i are not settled",
                   ngx_current_msec - start, area->ledger.ahead);
}


void
lines_keeper_exit_process(lines_main_conf_t *lmcf)
{
    lines_redis_t         *redis;
    lines_redis_status_t   status;

    if (lmcf->limits == NULL) {
        return;
    }

    redis = lines_redis_limits(lmcf->redis);

    lines_redis_status(redis, &status);

    if (status.serves) {
        keeper_end(redis);
    }

    keeper_unheard(0);

    if (keeper.timer.timer_set) {
        ngx_del_timer(&keeper.timer);
    }
}


