
#include "http/text.h"
#include "http/zone.h"
#include "limit/keeper.h"
#include "limit/lease.h"


#define LINES_LEASE_SLAB   256      /* that a bucket takes */
#define LINES_LEASE_TRIES  16       /* buckets looked at for one to forget */

#define LINES_LEASE_FRESH  15000    /* ms for which a rate is good, */
#define LINES_LEASE_LOOK   1000     /* where it decides something */


static lines_lease_area_t  *area;
static ngx_slab_pool_t     *shpool;


void *
lines_lease_init(ngx_slab_pool_t *pool)
{
    lines_lease_area_t  *new;

    new = ngx_slab_calloc(pool, sizeof(lines_lease_area_t));

    /* a node is another one with each new zone, which knows no number */

    if (new == NULL || lines_id(new->id) != NGX_OK) {
        return NULL;
    }

    ngx_rbtree_init(&new->rbtree, &new->sentinel,
                    ngx_str_rbtree_insert_value);

    ngx_queue_init(&new->lru);
    lines_ledger_init(&new->ledger);

    /* a quarter of the zone: the others live there too */

    new->buckets_max = (ngx_uint_t) (pool->end - pool->start) / 4
                       / LINES_LEASE_SLAB;
    new->swept = ngx_current_msec;

    return new;
}


void
lines_lease_attach(lines_main_conf_t *lmcf)
{
    area = lines_zone_area(lmcf, LINES_ZONE_LIMITS);
    shpool = lines_zone_pool(lmcf);
}


/* rather one that is full, which is all that is known of one that is made */

ngx_uint_t
lines_lease_forget(ngx_uint_t forget)
{
    ngx_uint_t           i;
    ngx_queue_t         *q;
    lines_lease_node_t  *node, *found;

    found = NULL;
    q = ngx_queue_last(&area->lru);

    for (i = 0;
         i < LINES_LEASE_TRIES && q != ngx_queue_sentinel(&area->lru);
         i++, q = ngx_queue_prev(q))
    {
        node = ngx_queue_data(q, lines_lease_node_t, lru);

        if (!lines_bucket_settled(&node->bucket)) {
            lines_ledger_ready(&area->ledger, &node->bucket,
                               ngx_current_msec);
            continue;
        }

        if (!forget) {
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

    if (found == NULL) {
        return 0;
    }

    ngx_queue_remove(&found->lru);
    ngx_rbtree_delete(&area->rbtree, &found->node.node);
    area->buckets--;

    ngx_slab_free_locked(shpool, found);

    return 1;
}


static lines_lease_node_t *
lease_create(lines_limit_t *limit, ngx_str_t *key, uint32_t hash)
{
    ngx_uint_t           tries;
    lines_lease_node_t  *node;


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

                lines_bucket_init(&node->bucket, hash % LINES_SHARDS,
                                  &limit->rate);

                ngx_rbtree_insert(&area->rbtree, &node->node.node);
                area->buckets++;

                return node;
            }
        }

        if (!lines_lease_forget(1)) {
            break;
        }
    }

    return NULL;
}


lines_lease_node_t *
lines_lease_lock(lines_limit_t *limit, ngx_str_t *key)
{
    uint32_t             hash;
    lines_lease_node_t  *node;

    hash = ngx_murmur_hash2(key->data, key->len);

    ngx_shmtx_lock(&shpool->mutex);

    node = (lines_lease_node_t *) ngx_str_rbtree_lookup(&area->rbtree, key,
                                                        hash);
    if (node) {
        ngx_queue_remove(&node->lru);

    } else if (limit) {
        node = lease_create(limit, key, hash);
    }

    if (node) {
        ngx_queue_insert_head(&area->lru, &node->lru);
    }

    return node;
}


/* after a reload the configuration may say another */

static void
lease_configured(lines_lease_node_t *node, lines_limit_t *limit)
{
    if (!node->own) {
        lines_bucket_rate(&node->bucket, &limit->rate, node->bucket.version,
                          ngx_current_msec);
    }
}


/* "INTERVAL BURST ..." */

ngx_int_t
lines_lease_rate(ngx_str_t *interval, ngx_str_t *burst, lines_rate_t *rate)
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
lines_lease_told(lines_lease_node_t *node, ngx_str_t *text, ngx_msec_t asked)
{
    off_t         full, version;
    ngx_str_t     rest, word, interval, burst;
    lines_rate_t  rate;

    rest = *text;
    word = lines_word(&rest);
    full = ngx_atoof(word.data, word.len);

    if (full == NGX_ERROR || full > (off_t) 1 << 53) {
        return NGX_ERROR;
    }

    if (rest.len) {
        interval = lines_word(&rest);
        burst = lines_word(&rest);
        version = ngx_atoof(rest.data, rest.len);

        if (version == NGX_ERROR
            || lines_lease_rate(&interval, &burst, &rate) != NGX_OK)
        {
            return NGX_ERROR;
        }

        node->own = 1;
        lines_bucket_rate(&node->bucket, &rate, version, ngx_current_msec);
    }

    lines_bucket_told(&node->bucket, (double) full, asked, ngx_current_msec);

    return NGX_OK;
}


ngx_int_t
lines_lease_take(lines_limit_t *limit, ngx_str_t *key, ngx_str_t *tenant,
    lines_rate_t *rate, lines_gcra_t *gcra)
{
    ngx_int_t            rc;
    ngx_uint_t           hurry, look, shard;
    lines_lease_node_t  *node;

    node = lines_lease_lock(limit, key);

    if (node == NULL) {
        ngx_shmtx_unlock(&shpool->mutex);
        return NGX_DECLINED;
    }

    lease_configured(node, limit);

    rc = lines_ledger_admit(&area->ledger, &node->bucket,
                            ngx_current_msec, gcra, &hurry);

    /* a rate that decides something should be the latest */

    look = tenant->len
           && (limit->kind & LINES_LIMIT_IDENTITY)
           && (!node->looks
               || lines_zone_since(node->looked)
                  >= (rc == NGX_OK && node->bucket.state < LINES_BUCKET_READY
                      ? LINES_LEASE_FRESH : LINES_LEASE_LOOK));

    if (look) {
        node->looks = 1;
        node->looked = ngx_current_msec;
    }

    *rate = node->bucket.rate;
    shard = node->bucket.shard;

    ngx_shmtx_unlock(&shpool->mutex);

    if (look) {
        lines_keeper_look(limit, key, tenant);
    }

    if (hurry) {
        lines_keeper_settle(shard, 0);
    }

    return rc;
}


size_t
lines_lease_write(u_char *text, lines_bucket_t *bucket, ngx_int_t uses, int64_t age)
{
    return ngx_snprintf(text, LINES_LEASE_TEXT, "%i %L %.6f %ui %L", uses, age,
                        bucket->rate.interval, bucket->rate.burst,
                        bucket->version)
           - text;
}


ngx_int_t
lines_lease_ask(lines_caller_t *caller, lines_limit_t *limit, ngx_str_t *key,
    lines_limit_settle_pt done, void *data)
{
    u_char               text[LINES_LEASE_TEXT];
    ngx_str_t            uses;
    ngx_uint_t           shard;
    lines_bucket_t       bucket;
    lines_lease_node_t  *node;

    ngx_memzero(&bucket, sizeof(lines_bucket_t));
    lines_bucket_init(&bucket, 0, &limit->rate);

    node = lines_lease_lock(NULL, key);

    if (node) {
        bucket = node->bucket;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    shard = ngx_murmur_hash2(key->data, key->len) % LINES_SHARDS;

    uses.data = text;
    uses.len = lines_lease_write(text, &bucket, bucket.uses + bucket.sent, 0);

    return lines_try_limit_settle(caller, done, data,
                                  .shard = (int64_t) shard,
                                  .node = { LINES_ID_LEN, area->id },
                                  .need = 1,
                                  .ids.n = 1, .ids.elts = key,
                                  .uses.n = 1, .uses.elts = &uses);
}


ngx_int_t
lines_lease_answered(lines_limit_t *limit, ngx_str_t *key, ngx_msec_t asked,
    lines_limit_settle_reply_t *reply, lines_rate_t *rate, lines_gcra_t *gcra)
{
    double               tat;
    ngx_int_t            rc;
    ngx_uint_t           none;
    lines_lease_node_t  *node, alone;

    if (reply == NULL || reply->buckets.n != 1) {
        return NGX_ERROR;
    }

    node = lines_lease_lock(limit, key);
    none = (node == NULL);

    /* nothing is remembered of it: then this is all there is */

    if (none) {
        ngx_memzero(&alone, sizeof(lines_lease_node_t));
        lines_bucket_init(&alone.bucket, 0, &limit->rate);
        node = &alone;
    }

    rc = lines_lease_told(node, &reply->buckets.elts[0], asked);

    if (rc == NGX_OK) {
        *rate = node->bucket.rate;

        tat = node->bucket.tat;
        lines_gcra_take(rate, &tat, (double) ngx_current_msec * 1000,
                        reply->granted ? 0 : 1, gcra);

        if (reply->granted) {
            gcra->granted = 1;

        } else if (gcra->granted) {

            /* there is one by now */

            *gcra = (lines_gcra_t) { .retry = 1 };
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


ngx_int_t
lines_lease_exact(lines_limit_t *limit, ngx_str_t *key,
    lines_gcra_reply_t *reply, lines_rate_t *rate, lines_gcra_t *gcra)
{
    ngx_msec_t           now;
    lines_lease_node_t  *node;

    if (reply == NULL
        || reply->remaining < 0
        || reply->retry < 0
        || reply->burst <= 0
        || reply->burst > LINES_BURST_MAX
        || reply->interval.len == 0)
    {
        return NGX_ERROR;
    }

    rate->interval = strtod((char *) reply->interval.data, NULL);
    rate->burst = (ngx_uint_t) reply->burst;

    if (!(rate->interval > 0 && rate->interval <= LINES_INTERVAL_MAX)) {
        return NGX_ERROR;
    }

    *gcra = (lines_gcra_t) {
        (reply->granted != 0), reply->remaining, reply->retry
    };

    now = ngx_current_msec;
    node = lines_lease_lock(limit, key);

    if (node) {
        node->bucket.rate = *rate;
        node->own = 1;

        lines_bucket_told(&node->bucket,
                          lines_gcra_tat(rate, 0, gcra->remaining), now, now);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return NGX_OK;
}


void
lines_lease_give(lines_limit_t *limit, ngx_str_t *key, double interval)
{
    u_char               us[64];
    lines_lease_node_t  *node;

    if (limit->each) {
        (void) lines_forget_gcra_return(lines_keeper_caller(), .bucket_key = *key,
                  .interval.data = us,
                  .interval.len = ngx_snprintf(us, sizeof(us), "%.6f", interval)
                                  - us);
        return;
    }

    node = lines_lease_lock(limit, key);

    if (node) {
        lines_ledger_give(&area->ledger, &node->bucket,
                          ngx_current_msec);
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


void
lines_lease_local(lines_limit_t *limit, ngx_str_t *key, lines_rate_t *rate,
    lines_gcra_t *gcra)
{
    lines_lease_node_t  *node;

    /* without a trace of it nothing can be counted */

    *gcra = (lines_gcra_t) { .granted = 1 };

    node = lines_lease_lock(limit, key);

    if (node) {
        lease_configured(node, limit);

        *rate = node->bucket.rate;
        lines_ledger_alone(&area->ledger, &node->bucket,
                           ngx_current_msec, gcra);
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


void
lines_lease_local_give(ngx_str_t *key)
{
    lines_lease_node_t  *node;

    node = lines_lease_lock(NULL, key);

    if (node) {
        lines_ledger_alone_give(&area->ledger, &node->bucket,
                                ngx_current_msec);
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


void
lines_lease_status(lines_lease_status_t *status)
{
    lines_rate_t  rate = { 1, LINES_BURST_MAX };

    status->ahead = (ngx_uint_t) ngx_max(area->ledger.ahead, 0);
    status->buckets = area->buckets;
    status->nodes = lines_ledger_share(&area->ledger, &rate,
                                       ngx_current_msec)
                    ? area->ledger.share.nodes : 0;
}
