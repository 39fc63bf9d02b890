
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


#define lease_area(lmcf)                                                     \
    ((lines_lease_area_t *) lines_zone_area(lmcf, LINES_ZONE_LIMITS))

#define lease_unlock(lmcf)                                                   \
    ngx_shmtx_unlock(&lines_zone_pool(lmcf)->mutex)


static ngx_int_t lease_parse(lines_gcra_reply_t *reply, lines_rate_t *rate,
    lines_gcra_t *gcra);
static lines_lease_node_t *lease_lock(lines_main_conf_t *lmcf, ngx_str_t *key);
static lines_lease_node_t *lease_create(lines_main_conf_t *lmcf,
    ngx_str_t *key, uint32_t hash);
static ngx_uint_t lease_want(lines_lease_node_t *node);
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


ngx_int_t
lines_lease_take(lines_main_conf_t *lmcf, ngx_str_t *key, lines_rate_t *rate,
    lines_gcra_t *gcra, ngx_uint_t *renew)
{
    ngx_int_t            rc;
    ngx_msec_t           now, elapsed;
    ngx_uint_t           want;
    lines_lease_node_t  *node;

    now = ngx_current_msec;
    rc = NGX_DECLINED;
    *renew = 0;

    ngx_memzero(gcra, sizeof(lines_gcra_t));

    node = lease_lock(lmcf, key);

    if (node == NULL) {
        lease_unlock(lmcf);
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
        lease_hold(lease_area(lmcf), node, node->tokens - 1);
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

    lease_unlock(lmcf);

    return rc;
}


ngx_int_t
lines_lease_answered(lines_main_conf_t *lmcf, ngx_str_t *key,
    lines_gcra_reply_t *reply, lines_rate_t *rate, lines_gcra_t *gcra,
    ngx_uint_t *surplus)
{
    ngx_int_t            rc;
    ngx_msec_t           now;
    ngx_uint_t           room;
    lines_lease_node_t  *node;

    rc = lease_parse(reply, rate, gcra);

    if (surplus) {
        *surplus = (rc == NGX_OK) ? gcra->granted : 0;

    } else if (rc != NGX_OK) {
        return rc;
    }

    node = lease_lock(lmcf, key);

    if (node && surplus) {
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
        room -= ngx_min(room, node->tokens);

        if (surplus) {
            room = ngx_min(room, *surplus);
            *surplus -= room;

            lease_hold(lease_area(lmcf), node, node->tokens + room);
        }
    }

    lease_unlock(lmcf);

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


void
lines_lease_local(lines_main_conf_t *lmcf, ngx_str_t *key, lines_rate_t *rate,
    lines_gcra_t *gcra)
{
    lines_lease_node_t  *node;

    /* without a trace of it nothing can be counted */

    *gcra = (lines_gcra_t) { .granted = 1 };

    node = lease_lock(lmcf, key);

    if (node) {
        if (node->known) {
            *rate = node->rate;
        }

        lines_gcra_take(rate, &node->tat, (double) ngx_current_msec * 1000, 1,
                        0, gcra);
    }

    lease_unlock(lmcf);
}


void
lines_lease_local_give(lines_main_conf_t *lmcf, ngx_str_t *key,
    lines_rate_t *rate)
{
    lines_lease_node_t  *node;

    node = lease_lock(lmcf, key);

    if (node) {
        lines_gcra_give(rate, &node->tat, (double) ngx_current_msec * 1000, 1);
    }

    lease_unlock(lmcf);
}


ngx_uint_t
lines_lease_unused(lines_main_conf_t *lmcf, lines_lease_return_t *returns,
    ngx_uint_t n)
{
    ngx_uint_t           i, scan, left, want;
    ngx_queue_t         *q, *last;
    lines_lease_area_t  *area;
    lines_lease_node_t  *node;

    area = lease_area(lmcf);
    i = 0;

    ngx_shmtx_lock(&lines_zone_pool(lmcf)->mutex);

    if (lines_zone_since(area->swept) < LINES_LEASE_SWEEP) {
        n = 0;

    } else {
        area->swept = ngx_current_msec;
    }

    q = &area->holding;
    last = ngx_queue_last(q);

    for (scan = 0; scan < LINES_LEASE_SCAN && i < n && q != last; scan++) {

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
            returns[i].tokens = node->tokens - left;
            returns[i].interval = node->rate.interval;
            returns[i].len = node->node.str.len;
            ngx_memcpy(returns[i].key, node->data, node->node.str.len);

            node->remaining += returns[i++].tokens;
            lease_hold(area, node, left);
        }
    }

    lease_unlock(lmcf);

    return i;
}


void
lines_lease_status(lines_main_conf_t *lmcf, ngx_uint_t *tokens,
    ngx_uint_t *buckets)
{
    *tokens = lease_area(lmcf)->tokens;
    *buckets = lease_area(lmcf)->buckets;
}


/* made where there is none; NULL without memory: to be unlocked even so */

static lines_lease_node_t *
lease_lock(lines_main_conf_t *lmcf, ngx_str_t *key)
{
    uint32_t             hash;
    lines_lease_area_t  *area;
    lines_lease_node_t  *node;

    area = lease_area(lmcf);
    hash = ngx_murmur_hash2(key->data, key->len);

    ngx_shmtx_lock(&lines_zone_pool(lmcf)->mutex);

    node = (lines_lease_node_t *) ngx_str_rbtree_lookup(&area->rbtree, key,
                                                        hash);
    if (node) {
        ngx_queue_remove(&node->lru);

    } else {
        node = lease_create(lmcf, key, hash);
    }

    if (node) {
        ngx_queue_insert_head(&area->lru, &node->lru);
    }

    return node;
}


/* in place of those that were used least, whose tokens are lost: too few */

static lines_lease_node_t *
lease_create(lines_main_conf_t *lmcf, ngx_str_t *key, uint32_t hash)
{
    ngx_uint_t           tries;
    ngx_slab_pool_t     *shpool;
    lines_lease_area_t  *area;
    lines_lease_node_t  *node;

    area = lease_area(lmcf);
    shpool = lines_zone_pool(lmcf);

    for (tries = 0; tries < 4 && key->len <= LINES_LEASE_KEY_MAX; tries++) {

        if (area->buckets < area->buckets_max) {
            node = ngx_slab_calloc_locked(shpool,
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

        lease_hold(area, node, 0);

        ngx_queue_remove(&node->lru);
        ngx_rbtree_delete(&area->rbtree, &node->node.node);
        area->buckets--;

        ngx_slab_free_locked(shpool, node);
    }

    return NULL;
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
lease_hold(lines_lease_area_t *area, lines_lease_node_t *node,
    ngx_uint_t tokens)
{
    if (tokens && node->tokens == 0) {
        ngx_queue_insert_tail(&area->holding, &node->holding);
        node->used = ngx_current_msec;

    } else if (tokens == 0 && node->tokens) {
        ngx_queue_remove(&node->holding);
    }

    area->tokens += tokens - node->tokens;
    node->tokens = tokens;
}
