
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/zone.h"
#include "limit/lease.h"


#define LINES_LEASE_WINDOW  250    /* ms over which use is observed */
#define LINES_LEASE_IDLE    1000   /* ms after which tokens go back */
#define LINES_LEASE_SWEEP   400    /* ms between two sweeps */
#define LINES_LEASE_ASKING  2000   /* ms: its asker has died */
#define LINES_LEASE_SCAN    1024   /* leases looked at in a sweep */
#define LINES_LEASE_DENIED  1000   /* ms after which Redis is asked
                                               again: rates may change */


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


#define lines_lease_find(area, key)              \
    ((lines_lease_node_t *)                      \
     ngx_str_rbtree_lookup(&(area)->rbtree, key, \
                           ngx_murmur_hash2((key)->data, (key)->len)))


static lines_lease_node_t *lease_get(lines_main_conf_t *lmcf, ngx_str_t *key);
static void lease_drop(lines_main_conf_t *lmcf, lines_lease_node_t *node);
static void lease_count(lines_lease_node_t *node);
static ngx_uint_t lease_want(lines_lease_node_t *node);
static void lease_know(lines_lease_node_t *node, lines_rate_t *rate,
    lines_gcra_t *gcra);
static void lease_hold(lines_lease_area_t *area, lines_lease_node_t *node,
    ngx_uint_t tokens);


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


lines_lease_verdict_e
lines_lease_take(lines_main_conf_t *lmcf, ngx_str_t *key, lines_lease_t *lease)
{
    ngx_msec_t             now;
    ngx_uint_t             want, known;
    ngx_slab_pool_t       *shpool;
    lines_lease_area_t    *area;
    lines_lease_node_t    *node;
    lines_lease_verdict_e  verdict;

    area = lines_zone_area(lmcf, LINES_ZONE_LIMITS);
    shpool = lines_zone_pool(lmcf);
    now = ngx_current_msec;

    ngx_memzero(lease, sizeof(lines_lease_t));

    verdict = LINES_LEASE_ASK;

    ngx_shmtx_lock(&shpool->mutex);

    node = lease_get(lmcf, key);

    if (node == NULL) {
        ngx_shmtx_unlock(&shpool->mutex);
        return verdict;
    }

    lease_count(node);

    if (node->asking && lines_zone_since(node->asked) > LINES_LEASE_ASKING) {
        node->asking = 0;
    }

    known = node->known;
    want = known ? lease_want(node) : 0;

    if (node->tokens) {
        node->tokens--;
        area->tokens--;
        node->used = now;

        if (node->tokens == 0) {
            ngx_queue_remove(&node->holding);
        }

        if (!node->asking && node->tokens < want / 2) {
            node->asking = 1;
            node->asked = now;
            lease->renew = want - node->tokens;
        }

        verdict = LINES_LEASE_PASSED;

    } else if (node->denying
               && (ngx_msec_int_t) (node->recheck - now) > 0)
    {
        lease->retry = node->denied - now;
        verdict = LINES_LEASE_REJECTED;

    } else if (!node->asking && want) {

        /* who asks may leave, and would take along what was granted besides */

        node->asking = 1;
        node->asked = now;
        lease->renew = want;
    }

    if (known) {
        lease->rate = node->rate;
        lease->remaining = lines_gcra_refilled(&node->rate,
                                               node->remaining + node->tokens,
                                               lines_zone_since(node->synced));
    }

    if (verdict == LINES_LEASE_REJECTED) {
        lease->remaining = 0;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return verdict;
}


void
lines_lease_answered(lines_main_conf_t *lmcf, ngx_str_t *key,
    lines_rate_t *rate, lines_gcra_t *gcra)
{
    ngx_slab_pool_t     *shpool;
    lines_lease_node_t  *node;

    shpool = lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    node = lease_get(lmcf, key);

    if (node) {
        lease_know(node, rate, gcra);
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


ngx_uint_t
lines_lease_renewed(lines_main_conf_t *lmcf, ngx_str_t *key,
    lines_rate_t *rate, lines_gcra_t *gcra)
{
    ngx_uint_t           tokens, room;
    ngx_slab_pool_t     *shpool;
    lines_lease_area_t  *area;
    lines_lease_node_t  *node;

    area = lines_zone_area(lmcf, LINES_ZONE_LIMITS);
    shpool = lines_zone_pool(lmcf);
    tokens = gcra->granted;

    ngx_shmtx_lock(&shpool->mutex);

    node = lease_get(lmcf, key);

    if (node == NULL) {
        ngx_shmtx_unlock(&shpool->mutex);
        return tokens;
    }

    node->asking = 0;

    lease_know(node, rate, gcra);

    /* a renewal that was given up may have been answered after all */

    room = lines_lease_max(rate);
    room = (room > node->tokens) ? room - node->tokens : 0;
    room = ngx_min(room, tokens);

    lease_hold(area, node, room);

    ngx_shmtx_unlock(&shpool->mutex);

    return tokens - room;
}


void
lines_lease_unanswered(lines_main_conf_t *lmcf, ngx_str_t *key)
{
    ngx_slab_pool_t     *shpool;
    lines_lease_area_t  *area;
    lines_lease_node_t  *node;

    area = lines_zone_area(lmcf, LINES_ZONE_LIMITS);
    shpool = lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    node = lines_lease_find(area, key);

    if (node) {
        node->asking = 0;
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


void
lines_lease_local(lines_main_conf_t *lmcf, ngx_str_t *key, lines_rate_t *rate,
    lines_gcra_t *gcra)
{
    ngx_slab_pool_t     *shpool;
    lines_lease_node_t  *node;

    shpool = lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    node = lease_get(lmcf, key);

    if (node == NULL) {
        ngx_shmtx_unlock(&shpool->mutex);

        /* without a trace of it nothing can be counted */

        gcra->granted = 1;
        gcra->remaining = 0;
        gcra->retry = 0;
        return;
    }

    if (node->known) {
        *rate = node->rate;
    }

    lines_gcra_take(rate, &node->tat, (double) ngx_current_msec * 1000, 1, 0,
                    gcra);

    ngx_shmtx_unlock(&shpool->mutex);
}


void
lines_lease_local_give(lines_main_conf_t *lmcf, ngx_str_t *key,
    lines_rate_t *rate)
{
    ngx_slab_pool_t     *shpool;
    lines_lease_area_t  *area;
    lines_lease_node_t  *node;

    area = lines_zone_area(lmcf, LINES_ZONE_LIMITS);
    shpool = lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    node = lines_lease_find(area, key);

    if (node) {
        lines_gcra_give(rate, &node->tat, (double) ngx_current_msec * 1000, 1);
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


ngx_uint_t
lines_lease_unused(lines_main_conf_t *lmcf, lines_lease_return_t *returns,
    ngx_uint_t n)
{
    ngx_uint_t           i, scan, excess, want;
    ngx_queue_t         *q, *first;
    ngx_slab_pool_t     *shpool;
    lines_lease_area_t  *area;
    lines_lease_node_t  *node;

    area = lines_zone_area(lmcf, LINES_ZONE_LIMITS);
    shpool = lines_zone_pool(lmcf);

    if (lines_zone_since(area->swept) < LINES_LEASE_SWEEP) {
        return 0;
    }

    i = 0;

    ngx_shmtx_lock(&shpool->mutex);

    if (lines_zone_since(area->swept) < LINES_LEASE_SWEEP) {
        ngx_shmtx_unlock(&shpool->mutex);
        return 0;
    }

    area->swept = ngx_current_msec;

    first = NULL;
    q = ngx_queue_head(&area->holding);

    for (scan = 0;
         scan < LINES_LEASE_SCAN && i < n && q != first
         && q != ngx_queue_sentinel(&area->holding);
         scan++)
    {
        node = ngx_queue_data(q, lines_lease_node_t, holding);
        q = ngx_queue_next(q);

        want = lease_want(node);

        if (lines_zone_since(node->used) >= LINES_LEASE_IDLE) {
            excess = node->tokens;

        } else if (lines_zone_since(node->window)
                   > 2 * LINES_LEASE_WINDOW
                   && node->tokens > 2 * want + 1)
        {
            /* it is used, but no longer at the pace that it was taken for */
            excess = node->tokens - want;

        } else {

            /* the next sweep starts with those not yet looked at */

            ngx_queue_remove(&node->holding);
            ngx_queue_insert_tail(&area->holding, &node->holding);

            if (first == NULL) {
                first = &node->holding;
            }

            continue;
        }

        returns[i].tokens = excess;
        returns[i].interval = node->rate.interval;
        returns[i].len = node->node.str.len;
        ngx_memcpy(returns[i].key, node->data, node->node.str.len);
        i++;

        node->tokens -= excess;
        area->tokens -= excess;
        node->remaining += excess;

        if (node->tokens == 0) {
            ngx_queue_remove(&node->holding);
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return i;
}


void
lines_lease_status(lines_main_conf_t *lmcf, ngx_uint_t *tokens,
    ngx_uint_t *buckets)
{
    lines_lease_area_t  *area;

    area = lines_zone_area(lmcf, LINES_ZONE_LIMITS);

    *tokens = area->tokens;
    *buckets = area->buckets;
}


/* made where there is none; NULL without memory.  The mutex is held. */

static lines_lease_node_t *
lease_get(lines_main_conf_t *lmcf, ngx_str_t *key)
{
    ngx_uint_t           tries;
    ngx_slab_pool_t     *shpool;
    lines_lease_area_t  *area;
    lines_lease_node_t  *node;

    area = lines_zone_area(lmcf, LINES_ZONE_LIMITS);

    node = lines_lease_find(area, key);

    if (node) {
        ngx_queue_remove(&node->lru);
        ngx_queue_insert_head(&area->lru, &node->lru);
        return node;
    }

    if (key->len > LINES_LEASE_KEY_MAX) {
        return NULL;
    }

    shpool = lines_zone_pool(lmcf);

    for (tries = 0; tries < 4; tries++) {

        if (area->buckets < area->buckets_max) {
            node = ngx_slab_calloc_locked(shpool,
                                          offsetof(lines_lease_node_t, data)
                                          + key->len);
            if (node) {
                break;
            }
        }

        if (ngx_queue_empty(&area->lru)) {
            return NULL;
        }

        lease_drop(lmcf,
                   ngx_queue_data(ngx_queue_last(&area->lru),
                                  lines_lease_node_t, lru));
    }

    if (node == NULL) {
        return NULL;
    }

    ngx_memcpy(node->data, key->data, key->len);

    node->node.node.key = ngx_murmur_hash2(key->data, key->len);
    node->node.str.len = key->len;
    node->node.str.data = node->data;
    node->window = ngx_current_msec;

    ngx_rbtree_insert(&area->rbtree, &node->node.node);
    ngx_queue_insert_head(&area->lru, &node->lru);
    area->buckets++;

    return node;
}


/* its unused tokens are lost, which errs on the side of too few */

static void
lease_drop(lines_main_conf_t *lmcf, lines_lease_node_t *node)
{
    lines_lease_area_t  *area;

    area = lines_zone_area(lmcf, LINES_ZONE_LIMITS);

    if (node->tokens) {
        ngx_queue_remove(&node->holding);
        area->tokens -= node->tokens;
    }

    ngx_queue_remove(&node->lru);
    ngx_rbtree_delete(&area->rbtree, &node->node.node);
    area->buckets--;

    ngx_slab_free_locked(lines_zone_pool(lmcf), node);
}


/* how many requests a window usually sees */

static void
lease_count(lines_lease_node_t *node)
{
    ngx_msec_t  elapsed;

    elapsed = lines_zone_since(node->window);

    if (elapsed >= LINES_LEASE_WINDOW) {
        node->usual = node->count * LINES_LEASE_WINDOW / elapsed;
        node->count = 0;
        node->window = ngx_current_msec;
    }

    node->count++;
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


/* what Redis says of a bucket */

static void
lease_know(lines_lease_node_t *node, lines_rate_t *rate, lines_gcra_t *gcra)
{
    ngx_msec_t  now;

    now = ngx_current_msec;

    node->known = 1;
    node->rate = *rate;
    node->synced = now;
    node->remaining = gcra->remaining;
    node->tat = lines_gcra_tat(rate, (double) now * 1000, gcra->remaining);
    node->denying = 0;

    if (gcra->retry) {
        node->denying = 1;
        node->denied = now + gcra->retry;
        node->recheck = now + ngx_min(gcra->retry, LINES_LEASE_DENIED);
    }
}


static void
lease_hold(lines_lease_area_t *area, lines_lease_node_t *node,
    ngx_uint_t tokens)
{
    if (tokens == 0) {
        return;
    }

    if (node->tokens == 0) {
        ngx_queue_insert_tail(&area->holding, &node->holding);
        node->used = ngx_current_msec;
    }

    node->tokens += tokens;
    area->tokens += tokens;
}
