
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/digest_tree.h"
#include "auth/key_cache.h"
#include "http/zone.h"


/* negative answers must not push out what is in use */
#define LINES_KEY_CACHE_NEGATIVE  4096


typedef struct {
    ngx_str_node_t     node;     /* its string is the digest */
    ngx_queue_t        queue;
    ngx_atomic_uint_t  epoch;    /* of doubt, when it was put */
    lines_key_t        key;
} lines_key_node_t;


typedef struct {
    ngx_rbtree_t       rbtree;
    ngx_rbtree_node_t  sentinel;
    ngx_queue_t        positive;    /* most recently used first */
    ngx_queue_t        negative;
    ngx_uint_t         negatives;
    ngx_atomic_uint_t  generation;
    ngx_atomic_uint_t  epoch;
} lines_key_cache_t;


#define lines_key_find(cache, digest) \
    ((lines_key_node_t *)             \
     lines_digest_tree_find(&(cache)->rbtree, digest))


static void key_free(ngx_slab_pool_t *shpool, lines_key_cache_t *cache,
    lines_key_node_t *node);
static lines_key_node_t *key_alloc(ngx_slab_pool_t *shpool,
    lines_key_cache_t *cache);


void *
lines_key_cache_init(ngx_slab_pool_t *shpool)
{
    lines_key_cache_t  *cache;

    cache = ngx_slab_calloc(shpool, sizeof(lines_key_cache_t));
    if (cache == NULL) {
        return NULL;
    }

    lines_digest_tree_init(&cache->rbtree, &cache->sentinel);
    ngx_queue_init(&cache->positive);
    ngx_queue_init(&cache->negative);

    return cache;
}


ngx_int_t
lines_key_cache_get(lines_main_conf_t *lmcf, const u_char *digest,
    lines_key_t *key)
{
    ngx_slab_pool_t    *shpool;
    lines_key_node_t   *node;
    lines_key_cache_t  *cache;

    cache = lines_zone_area(lmcf, LINES_ZONE_KEYS);
    shpool = lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    node = lines_key_find(cache, digest);

    if (node == NULL) {
        ngx_shmtx_unlock(&shpool->mutex);
        return NGX_DECLINED;
    }

    *key = node->key;
    key->verified = (node->epoch == cache->epoch);

    ngx_queue_remove(&node->queue);
    ngx_queue_insert_head(key->tenant_len
                          ? &cache->positive
                          : &cache->negative, &node->queue);

    ngx_shmtx_unlock(&shpool->mutex);

    return NGX_OK;
}


ngx_atomic_uint_t
lines_key_cache_generation(lines_main_conf_t *lmcf)
{
    ngx_slab_pool_t    *shpool;
    ngx_atomic_uint_t   generation;
    lines_key_cache_t  *cache;

    cache = lines_zone_area(lmcf, LINES_ZONE_KEYS);
    shpool = lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);
    generation = cache->generation;
    ngx_shmtx_unlock(&shpool->mutex);

    return generation;
}


void
lines_key_cache_put(lines_main_conf_t *lmcf, lines_key_t *key,
    ngx_atomic_uint_t generation)
{
    ngx_slab_pool_t    *shpool;
    lines_key_node_t   *node;
    lines_key_cache_t  *cache;

    cache = lines_zone_area(lmcf, LINES_ZONE_KEYS);
    shpool = lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    if (cache->generation != generation) {
        goto done;
    }

    node = lines_key_find(cache, key->digest);

    if (node) {
        key_free(shpool, cache, node);
    }

    if (key->tenant_len == 0 && cache->negatives >= LINES_KEY_CACHE_NEGATIVE) {
        key_free(shpool, cache,
                 ngx_queue_data(ngx_queue_last(&cache->negative),
                                lines_key_node_t, queue));
    }

    node = key_alloc(shpool, cache);

    if (node == NULL) {
        goto done;
    }

    node->key = *key;
    node->epoch = cache->epoch;

    lines_digest_tree_insert(&cache->rbtree, &node->node, node->key.digest);

    if (key->tenant_len) {
        ngx_queue_insert_head(&cache->positive, &node->queue);

    } else {
        ngx_queue_insert_head(&cache->negative, &node->queue);
        cache->negatives++;
    }

done:

    ngx_shmtx_unlock(&shpool->mutex);
}


void
lines_key_cache_drop(lines_main_conf_t *lmcf, const u_char *digest)
{
    ngx_slab_pool_t    *shpool;
    lines_key_node_t   *node;
    lines_key_cache_t  *cache;

    cache = lines_zone_area(lmcf, LINES_ZONE_KEYS);
    shpool = lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    cache->generation++;

    node = lines_key_find(cache, digest);

    if (node) {
        key_free(shpool, cache, node);
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


void
lines_key_cache_doubt(lines_main_conf_t *lmcf)
{
    ngx_slab_pool_t    *shpool;
    lines_key_cache_t  *cache;

    cache = lines_zone_area(lmcf, LINES_ZONE_KEYS);
    shpool = lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    cache->generation++;
    cache->epoch++;

    ngx_shmtx_unlock(&shpool->mutex);
}


static void
key_free(ngx_slab_pool_t *shpool, lines_key_cache_t *cache,
    lines_key_node_t *node)
{
    ngx_queue_remove(&node->queue);
    ngx_rbtree_delete(&cache->rbtree, &node->node.node);

    if (node->key.tenant_len == 0) {
        cache->negatives--;
    }

    ngx_slab_free_locked(shpool, node);
}


/* makes room at the expense of what was not used for longest */

static lines_key_node_t *
key_alloc(ngx_slab_pool_t *shpool, lines_key_cache_t *cache)
{
    ngx_uint_t         i;
    ngx_queue_t       *queue;
    lines_key_node_t  *node;

    for (i = 0; i < 8; i++) {

        node = ngx_slab_alloc_locked(shpool, sizeof(lines_key_node_t));
        if (node) {
            return node;
        }

        queue = ngx_queue_empty(&cache->negative)
                ? &cache->positive
                : &cache->negative;
        if (ngx_queue_empty(queue)) {
            break;
        }

        key_free(shpool, cache,
                 ngx_queue_data(ngx_queue_last(queue), lines_key_node_t,
                                queue));
    }

    return NULL;
}
