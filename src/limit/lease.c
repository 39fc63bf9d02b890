
#include "http/metrics.h"
#include "http/text.h"
#include "http/zone.h"
#include "limit/lease.h"


#define LINES_LEASE_WINDOW  250    /* ms over which use is observed */
#define LINES_LEASE_IDLE    1000   /* ms after which tokens go back */
#define LINES_LEASE_SWEEP   400    /* ms between two sweeps */
#define LINES_LEASE_ASKING  2000   /* ms: its asker has died */
#define LINES_LEASE_SCAN    1024   /* leases looked at in a sweep */
#define LINES_LEASE_DENIED  1000   /* ms after which Redis is asked
                                               again: rates may change */

#define LINES_LEASE_KEY_MAX   255
#define LINES_LEASE_RETURNS   32   /* in a sweep */
#define LINES_LEASE_RENEWALS  256  /* on their way */

#define LINES_KEEPER_INTERVAL  250
#define LINES_KEEPER_PLANS     1000


typedef struct {
    ngx_rbtree_t          rbtree;
    ngx_rbtree_node_t     sentinel;
    ngx_queue_t           lru;
    ngx_queue_t           holding;       /* those with tokens */
    ngx_uint_t            buckets;
    ngx_uint_t            buckets_max;
    ngx_uint_t            tokens;
    ngx_msec_t            swept;
} lines_lease_area_t;


typedef struct {
    ngx_str_node_t  node;         /* its string is data */
    ngx_queue_t     lru;
    ngx_queue_t     holding;

    lines_rate_t    rate;
    double          tat;          /* of the node's own bucket, on the
                                     node's clock */
    ngx_msec_t      synced;       /* when Redis last answered */
    ngx_uint_t      remaining;    /* in Redis, then */
    ngx_uint_t      tokens;
    ngx_msec_t      used;
    ngx_msec_t      asked;
    ngx_msec_t      denied;       /* until */
    ngx_msec_t      recheck;      /* the latest time to ask again */
    ngx_msec_t      window;
    ngx_uint_t      count;        /* of requests in the window */
    ngx_uint_t      usual;        /* of requests in a window */

    unsigned        asking:1;
    unsigned        denying:1;
    unsigned        known:1;      /* Redis has answered once */

    u_char          data[1];
} lines_lease_node_t;


/* a renewal on its way, or tokens that go back */

typedef struct {
    ngx_uint_t      busy;
    ngx_uint_t      tokens;
    double          interval;
    ngx_str_t       key;
    u_char          data[LINES_LEASE_KEY_MAX];
} lines_lease_call_t;


/* what each worker does in the background */

static struct {
    lines_main_conf_t   *lmcf;
    lines_lease_area_t  *area;
    ngx_slab_pool_t     *shpool;
    ngx_event_t          timer;
    lines_caller_t       caller;
    ngx_msec_t           asked;      /* for the plans' rates */
    ngx_uint_t           asking;     /* flag */
    ngx_pool_t          *plans;      /* or NULL */
    lines_lease_call_t   renewals[LINES_LEASE_RENEWALS];
} keeper;


void *
lines_lease_init(ngx_slab_pool_t *shpool)
{
    lines_lease_area_t  *area;

    area = ngx_slab_calloc(shpool, sizeof(lines_lease_area_t));
    if (area == NULL) {
        return NULL;
    }

    ngx_rbtree_init(&area->rbtree, &area->sentinel,
                    ngx_str_rbtree_insert_value);

    ngx_queue_init(&area->lru);
    ngx_queue_init(&area->holding);

    /* a quarter of the zone: the others live there too */

    area->buckets_max = (ngx_uint_t) (shpool->end - shpool->start) / 4
                        / (sizeof(lines_lease_node_t) + 128);
    area->swept = ngx_current_msec;

    return area;
}


static ngx_uint_t
lease_want(lines_lease_node_t *node)
{
    ngx_uint_t  want;

    want = ngx_max(node->usual, node->count);

    /* one request in a window is not worth a lease */

    if (want < 2) {
        return 0;
    }

    return ngx_min(want, lines_lease_max(&node->rate));
}


/* so many tokens from now on */

static void
lease_hold(lines_lease_node_t *node, ngx_uint_t tokens)
{
    if (tokens && node->tokens == 0) {
        ngx_queue_insert_tail(&keeper.area->holding, &node->holding);
        node->used = ngx_current_msec;

    } else if (tokens == 0 && node->tokens) {
        ngx_queue_remove(&node->holding);
    }

    keeper.area->tokens += tokens - node->tokens;
    node->tokens = tokens;
}


/* in place of those that were used least, whose tokens are lost: too few */

static lines_lease_node_t *
lease_create(ngx_str_t *key, uint32_t hash)
{
    ngx_uint_t           tries;
    lines_lease_area_t  *area;
    lines_lease_node_t  *node;

    area = keeper.area;

    for (tries = 0; tries < 4 && key->len <= LINES_LEASE_KEY_MAX; tries++) {

        if (area->buckets < area->buckets_max) {
            node = ngx_slab_calloc_locked(keeper.shpool,
                                          offsetof(lines_lease_node_t, data)
                                          + key->len);
            if (node) {
                ngx_memcpy(node->data, key->data, key->len);

                node->node.node.key = hash;
                node->node.str.len = key->len;
                node->node.str.data = node->data;
                node->window = ngx_current_msec;

                ngx_rbtree_insert(&area->rbtree, &node->node.node);
                area->buckets++;

                return node;
            }
        }

        if (ngx_queue_empty(&area->lru)) {
            break;
        }

        node = ngx_queue_data(ngx_queue_last(&area->lru), lines_lease_node_t,
                              lru);

        lease_hold(node, 0);

        ngx_queue_remove(&node->lru);
        ngx_rbtree_delete(&area->rbtree, &node->node.node);
        area->buckets--;

        ngx_slab_free_locked(keeper.shpool, node);
    }

    return NULL;
}


/* made where there is none; NULL without memory: to be unlocked even so */

static lines_lease_node_t *
lease_lock(ngx_str_t *key)
{
    uint32_t             hash;
    lines_lease_area_t  *area;
    lines_lease_node_t  *node;

    area = keeper.area;
    hash = ngx_murmur_hash2(key->data, key->len);

    ngx_shmtx_lock(&keeper.shpool->mutex);

    node = (lines_lease_node_t *) ngx_str_rbtree_lookup(&area->rbtree, key,
                                                        hash);
    if (node) {
        ngx_queue_remove(&node->lru);

    } else {
        node = lease_create(key, hash);
    }

    if (node) {
        ngx_queue_insert_head(&area->lru, &node->lru);
    }

    return node;
}


static void
lease_set_key(lines_lease_call_t *call, ngx_str_t *key)
{
    call->key.len = key->len;
    call->key.data = call->data;
    ngx_memcpy(call->data, key->data, key->len);
}


/* of what was not used; one worker at a time */

static void
keeper_return(void)
{
    ngx_uint_t           i, n, scan, left, want;
    ngx_queue_t         *q, *last;
    lines_lease_area_t  *area;
    lines_lease_node_t  *node;

    static lines_lease_call_t  returns[LINES_LEASE_RETURNS];

    area = keeper.area;
    n = 0;

    ngx_shmtx_lock(&keeper.shpool->mutex);

    q = &area->holding;
    last = ngx_queue_last(q);

    if (lines_zone_since(area->swept) < LINES_LEASE_SWEEP) {
        last = q;

    } else {
        area->swept = ngx_current_msec;
    }

    for (scan = 0;
         scan < LINES_LEASE_SCAN && n < LINES_LEASE_RETURNS && q != last;
         scan++)
    {
        /* the next sweep starts with those not yet looked at */

        q = ngx_queue_head(&area->holding);
        ngx_queue_remove(q);
        ngx_queue_insert_tail(&area->holding, q);

        node = ngx_queue_data(q, lines_lease_node_t, holding);
        want = lease_want(node);
        left = node->tokens;

        if (lines_zone_since(node->used) >= LINES_LEASE_IDLE) {
            left = 0;

        } else if (lines_zone_since(node->window) > 2 * LINES_LEASE_WINDOW
                   && left > 2 * want + 1)
        {
            /* it is used, but no longer at the pace that it was taken for */
            left = want;
        }

        if (left < node->tokens) {
            returns[n].tokens = node->tokens - left;
            returns[n].interval = node->rate.interval;
            lease_set_key(&returns[n], &node->node.str);

            node->remaining += returns[n++].tokens;
            lease_hold(node, left);
        }
    }

    ngx_shmtx_unlock(&keeper.shpool->mutex);

    for (i = 0; i < n; i++) {
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, keeper.timer.log, 0,
                       "lines lease: %ui tokens of \"%V\" go back",
                       returns[i].tokens, &returns[i].key);

        lines_metrics_add(lease_returned, returns[i].tokens);

        lines_lease_give(&returns[i].key, returns[i].tokens,
                         returns[i].interval);
    }
}


static ngx_int_t
keeper_plan(ngx_pool_t *pool, lines_limit_t *limit, ngx_str_t *field,
    ngx_str_t *value)
{
    ngx_str_t  *plan, rest, interval;
    ngx_uint_t  i;

    rest = *value;
    interval = lines_word(&rest);

    if (interval.len == value->len
        || field->len <= limit->id.len
        || field->data[limit->id.len] != ' '
        || ngx_strncmp(field->data, limit->id.data, limit->id.len) != 0)
    {
        return NGX_OK;
    }

    if (limit->plans == NULL) {
        limit->plans = ngx_array_create(pool, 12, sizeof(ngx_str_t));
    }

    plan = limit->plans ? ngx_array_push_n(limit->plans, 3) : NULL;
    if (plan == NULL) {
        return NGX_ERROR;
    }

    plan[0].data = field->data + limit->id.len + 1;
    plan[0].len = field->len - limit->id.len - 1;
    plan[1] = interval;
    plan[2] = lines_word(&rest);

    for (i = 0; i < 3; i++) {
        plan[i].data = ngx_pstrdup(pool, &plan[i]);
        if (plan[i].data == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * Replaces what was known: fields are "LIMIT PLAN", values "INTERVAL BURST
 * TEXT".
 */

static ngx_int_t
keeper_plans(void *data, lines_plan_rates_reply_t *reply)
{
    ngx_str_t       *pair;
    ngx_uint_t       i, n;
    ngx_pool_t      *pool;
    lines_limit_t  **limit;

    keeper.asking = 0;

    pool = (reply && reply->pairs.n) ? ngx_create_pool(4096, keeper.timer.log)
                                     : NULL;

    if (reply == NULL || (reply->pairs.n && pool == NULL)) {
        keeper.asked -= LINES_KEEPER_PLANS;
        return NGX_OK;
    }

    limit = keeper.lmcf->limits->elts;

    for (i = 0; i < keeper.lmcf->limits->nelts; i++) {
        limit[i]->plans = NULL;

        for (n = 0; n + 1 < reply->pairs.n; n += 2) {
            pair = &reply->pairs.elts[n];

            if (keeper_plan(pool, limit[i], &pair[0], &pair[1]) != NGX_OK) {
                limit[i]->plans = NULL;
                break;
            }
        }
    }

    if (keeper.plans) {
        ngx_destroy_pool(keeper.plans);
    }

    keeper.plans = pool;

    return NGX_OK;
}


static void
keeper_handler(ngx_event_t *ev)
{
    lines_redis_status_t  status;

    if (ngx_exiting || keeper.lmcf->redis == NULL) {
        return;
    }

    lines_redis_status(keeper.lmcf->redis, &status);

    if (status.serves) {
        keeper_return();
    }

    if (status.serves
        && !keeper.asking
        && ngx_current_msec - keeper.asked >= LINES_KEEPER_PLANS
        && lines_try_plan_rates(&keeper.caller, keeper_plans, NULL)
           == NGX_AGAIN)
    {
        keeper.asking = 1;
        keeper.asked = ngx_current_msec;
    }

    ngx_add_timer(ev, LINES_KEEPER_INTERVAL);
}


ngx_int_t
lines_lease_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    ngx_uint_t       i;
    lines_limit_t  **limit;

    keeper.area = lines_zone_area(lmcf, LINES_ZONE_LIMITS);
    keeper.shpool = lines_zone_pool(lmcf);

    if (lmcf->limits == NULL) {
        return NGX_OK;
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

    ngx_add_timer(&keeper.timer, LINES_KEEPER_INTERVAL);

    return NGX_OK;
}


void
lines_lease_exit_process(lines_main_conf_t *lmcf)
{
    if (lmcf->limits == NULL) {
        return;
    }

    lines_caller_detach(&keeper.caller);

    if (keeper.timer.timer_set) {
        ngx_del_timer(&keeper.timer);
    }

    if (keeper.plans) {
        ngx_destroy_pool(keeper.plans);
        keeper.plans = NULL;
    }
}


ngx_int_t
lines_lease_take(ngx_str_t *key, lines_rate_t *rate, lines_gcra_t *gcra,
    ngx_uint_t *renew)
{
    ngx_int_t            rc;
    ngx_msec_t           now, elapsed;
    ngx_uint_t           want;
    lines_lease_node_t  *node;

    now = ngx_current_msec;
    rc = NGX_DECLINED;
    *renew = 0;

    ngx_memzero(gcra, sizeof(lines_gcra_t));

    node = lease_lock(key);

    if (node == NULL) {
        ngx_shmtx_unlock(&keeper.shpool->mutex);
        return rc;
    }

    /* how many requests a window usually sees */

    elapsed = lines_zone_since(node->window);

    if (elapsed >= LINES_LEASE_WINDOW) {
        node->usual = node->count * LINES_LEASE_WINDOW / elapsed;
        node->count = 0;
        node->window = now;
    }

    node->count++;

    want = node->known ? lease_want(node) : 0;

    if (node->tokens) {
        lease_hold(node, node->tokens - 1);
        node->used = now;

        *renew = (node->tokens < want / 2) ? want - node->tokens : 0;
        gcra->granted = 1;
        gcra->remaining = lines_gcra_refilled(&node->rate,
                                              node->remaining + node->tokens,
                                              lines_zone_since(node->synced));
        rc = NGX_OK;

    } else if (node->denying
               && (ngx_msec_int_t) (node->recheck - now) > 0)
    {
        gcra->retry = node->denied - now;
        rc = NGX_OK;

    } else {

        /* who asks may leave, and would take along what was granted besides */

        *renew = want;
    }

    if (rc == NGX_OK) {
        *rate = node->rate;
    }

    if (node->asking && lines_zone_since(node->asked) <= LINES_LEASE_ASKING) {
        *renew = 0;

    } else if (*renew) {
        node->asking = 1;
        node->asked = now;
    }

    ngx_shmtx_unlock(&keeper.shpool->mutex);

    return rc;
}


static ngx_int_t
lease_parse(lines_gcra_reply_t *reply, lines_rate_t *rate, lines_gcra_t *gcra)
{
    double  interval;

    if (reply == NULL
        || reply->granted < 0
        || reply->remaining < 0
        || reply->retry < 0
        || reply->burst <= 0
        || reply->burst > LINES_BURST_MAX
        || reply->interval.len == 0)
    {
        return NGX_ERROR;
    }

    interval = strtod((char *) reply->interval.data, NULL);

    /* what is multiplied here must be a time */

    if (!(interval > 0 && interval <= LINES_INTERVAL_MAX)) {
        return NGX_ERROR;
    }

    *rate = (lines_rate_t) { interval, reply->burst };
    *gcra = (lines_gcra_t) { reply->granted, reply->remaining, reply->retry };

    return NGX_OK;
}


ngx_int_t
lines_lease_answered(ngx_str_t *key, lines_gcra_reply_t *reply,
    lines_rate_t *rate, lines_gcra_t *gcra, ngx_uint_t renewal)
{
    ngx_int_t            rc;
    ngx_msec_t           now;
    ngx_uint_t           tokens, room;
    lines_lease_node_t  *node;

    rc = lease_parse(reply, rate, gcra);

    if (rc != NGX_OK && !renewal) {
        return rc;
    }

    tokens = (rc == NGX_OK && renewal) ? gcra->granted : 0;

    node = lease_lock(key);

    if (node && renewal) {
        node->asking = 0;
    }

    if (node && rc == NGX_OK) {
        now = ngx_current_msec;

        node->known = 1;
        node->rate = *rate;
        node->synced = now;
        node->remaining = gcra->remaining;
        node->tat = lines_gcra_tat(rate, (double) now * 1000, gcra->remaining);
        node->denying = (gcra->retry > 0);
        node->denied = now + gcra->retry;
        node->recheck = now + ngx_min(gcra->retry, LINES_LEASE_DENIED);

        /* a renewal that was given up may have been answered after all */

        room = lines_lease_max(rate);
        room = ngx_min(room - ngx_min(room, node->tokens), tokens);
        tokens -= room;

        lease_hold(node, node->tokens + room);
    }

    ngx_shmtx_unlock(&keeper.shpool->mutex);

    if (tokens) {
        lines_lease_give(key, tokens, rate->interval);
    }

    return rc;
}


void
lines_lease_local(ngx_str_t *key, lines_rate_t *rate, lines_gcra_t *gcra)
{
    lines_lease_node_t  *node;

    /* without a trace of it nothing can be counted */

    *gcra = (lines_gcra_t) { .granted = 1 };

    node = lease_lock(key);

    if (node) {
        if (node->known) {
            *rate = node->rate;
        }

        lines_gcra_take(rate, &node->tat, (double) ngx_current_msec * 1000, 1,
                        0, gcra);
    }

    ngx_shmtx_unlock(&keeper.shpool->mutex);
}


void
lines_lease_local_give(ngx_str_t *key, lines_rate_t *rate)
{
    lines_lease_node_t  *node;

    node = lease_lock(key);

    if (node) {
        lines_gcra_give(rate, &node->tat, (double) ngx_current_msec * 1000, 1);
    }

    ngx_shmtx_unlock(&keeper.shpool->mutex);
}


static ngx_int_t
lease_renewed(void *data, lines_gcra_reply_t *reply)
{
    lines_lease_call_t *call = data;

    lines_rate_t  rate;
    lines_gcra_t  gcra;

    call->busy = 0;

    if (lines_lease_answered(&call->key, reply, &rate, &gcra, 1) == NGX_OK) {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, keeper.timer.log, 0,
                       "lines lease: \"%V\" renewed by %ui, %ui remain",
                       &call->key, gcra.granted, gcra.remaining);
    }

    return NGX_OK;
}


void
lines_lease_renew(lines_limit_t *limit, ngx_str_t *key, ngx_uint_t tokens)
{
    lines_rate_t         rate;
    lines_gcra_t         gcra;
    lines_lease_call_t  *call, *last;

    call = keeper.renewals;
    last = call + LINES_LEASE_RENEWALS;

    while (call < last && call->busy) {
        call++;
    }

    if (call < last) {
        lease_set_key(call, key);

        if (lines_lease_send(&keeper.caller, limit, &call->key, 0, tokens,
                             lease_renewed, call)
            == NGX_AGAIN)
        {
            call->busy = 1;
            lines_metrics_inc(lease_renewals);
            return;
        }
    }

    (void) lines_lease_answered(key, NULL, &rate, &gcra, 1);
}


void
lines_lease_give(ngx_str_t *key, ngx_uint_t tokens, double interval)
{
    u_char  us[64];

    (void) lines_forget_gcra_return(&keeper.caller, .bucket_key = *key,
          .tokens = tokens, .interval.data = us,
          .interval.len = ngx_snprintf(us, sizeof(us), "%.6f", interval) - us);
}


ngx_int_t
lines_lease_send(lines_caller_t *caller, lines_limit_t *limit, ngx_str_t *key,
    ngx_uint_t need, ngx_uint_t extra, lines_gcra_pt done, void *data)
{
    u_char             *p, *last;
    lines_gcra_args_t   args;

    args = (lines_gcra_args_t) {
        .bucket_key = *key,
        .need = need,
        .extra = extra,
        .rate = limit->interval,
        .size = limit->rate.burst,
        .limit = limit->id
    };

    last = key->data + key->len;
    p = (limit->kind & LINES_LIMIT_IDENTITY) ? ngx_strlchr(key->data, last, '{')
                                             : NULL;

    /* the hash tag of the bucket's key: who waits for tokens is gone */

    if (p) {
        args.tenant.data = ++p;
        p = ngx_strlchr(p, last, '}');
        args.tenant.len = p ? p - args.tenant.data : 0;

        if (limit->plans) {
            args.plans.n = limit->plans->nelts;
            args.plans.elts = limit->plans->elts;
        }
    }

    return lines_send_gcra(caller, LINES_CALL_TRY, &args, done, data);
}


void
lines_lease_status(ngx_uint_t *tokens, ngx_uint_t *buckets)
{
    *tokens = keeper.area->tokens;
    *buckets = keeper.area->buckets;
}
