
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_key_cache.h"
#include "ngx_lines_digest_tree.h"


/* negative answers must not push out what is in use */
#define NGX_HTTP_LINES_KEY_CACHE_NEGATIVE  4096


typedef struct {
    ngx_str_node_t          node;          /* its string is the digest */
    ngx_queue_t             queue;
    ngx_atomic_uint_t       epoch;         /* of doubt, when it was put */
    ngx_http_lines_key_t    key;
} ngx_http_lines_key_node_t;


typedef struct {
    ngx_rbtree_t            rbtree;
    ngx_rbtree_node_t       sentinel;
    ngx_queue_t             positive;      /* most recently used first */
    ngx_queue_t             negative;
    ngx_uint_t              negatives;
    ngx_atomic_uint_t       generation;
    ngx_atomic_uint_t       epoch;
} ngx_http_lines_key_cache_t;


#define ngx_http_lines_key_find(cache, digest)                                \
    ((ngx_http_lines_key_node_t *)                                            \
     ngx_lines_digest_tree_find(&(cache)->rbtree, digest))


static void ngx_http_lines_key_free(ngx_slab_pool_t *shpool,
    ngx_http_lines_key_cache_t *cache, ngx_http_lines_key_node_t *node);
static ngx_http_lines_key_node_t *ngx_http_lines_key_alloc(
    ngx_slab_pool_t *shpool, ngx_http_lines_key_cache_t *cache);


void *
ngx_http_lines_key_cache_init(ngx_slab_pool_t *shpool)
{
    ngx_http_lines_key_cache_t  *cache;

    cache = ngx_slab_calloc(shpool, sizeof(ngx_http_lines_key_cache_t));
    if (cache == NULL) {
        return NULL;
    }

    ngx_lines_digest_tree_init(&cache->rbtree, &cache->sentinel);
    ngx_queue_init(&cache->positive);
    ngx_queue_init(&cache->negative);

    return cache;
}


ngx_int_t
ngx_http_lines_key_cache_get(ngx_http_lines_main_conf_t *lmcf,
    const u_char *digest, ngx_http_lines_key_t *key)
{
    ngx_slab_pool_t             *shpool;
    ngx_http_lines_key_node_t   *node;
    ngx_http_lines_key_cache_t  *cache;

    cache = ngx_http_lines_zone_area(lmcf, NGX_HTTP_LINES_ZONE_KEYS);
    shpool = ngx_http_lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    node = ngx_http_lines_key_find(cache, digest);

    if (node == NULL) {
        ngx_shmtx_unlock(&shpool->mutex);
        return NGX_DECLINED;
    }

    *key = node->key;
    key->verified = (node->epoch == cache->epoch);

    ngx_queue_remove(&node->queue);
    ngx_queue_insert_head(key->tenant_len ? &cache->positive
                                          : &cache->negative,
                          &node->queue);

    ngx_shmtx_unlock(&shpool->mutex);

    return NGX_OK;
}


ngx_atomic_uint_t
ngx_http_lines_key_cache_generation(ngx_http_lines_main_conf_t *lmcf)
{
    ngx_slab_pool_t             *shpool;
    ngx_atomic_uint_t            generation;
    ngx_http_lines_key_cache_t  *cache;

    cache = ngx_http_lines_zone_area(lmcf, NGX_HTTP_LINES_ZONE_KEYS);
    shpool = ngx_http_lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);
    generation = cache->generation;
    ngx_shmtx_unlock(&shpool->mutex);

    return generation;
}


void
ngx_http_lines_key_cache_put(ngx_http_lines_main_conf_t *lmcf,
    ngx_http_lines_key_t *key, ngx_atomic_uint_t generation)
{
    ngx_slab_pool_t             *shpool;
    ngx_http_lines_key_node_t   *node;
    ngx_http_lines_key_cache_t  *cache;

    cache = ngx_http_lines_zone_area(lmcf, NGX_HTTP_LINES_ZONE_KEYS);
    shpool = ngx_http_lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    if (cache->generation != generation) {
        goto done;
    }

    node = ngx_http_lines_key_find(cache, key->digest);

    if (node) {
        ngx_http_lines_key_free(shpool, cache, node);
    }

    if (key->tenant_len == 0
        && cache->negatives >= NGX_HTTP_LINES_KEY_CACHE_NEGATIVE)
    {
        ngx_http_lines_key_free(shpool, cache,
            ngx_queue_data(ngx_queue_last(&cache->negative),
                           ngx_http_lines_key_node_t, queue));
    }

    node = ngx_http_lines_key_alloc(shpool, cache);

    if (node == NULL) {
        goto done;
    }

    node->key = *key;
    node->epoch = cache->epoch;

    ngx_lines_digest_tree_insert(&cache->rbtree, &node->node,
                                 node->key.digest);

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
ngx_http_lines_key_cache_drop(ngx_http_lines_main_conf_t *lmcf,
    const u_char *digest)
{
    ngx_slab_pool_t             *shpool;
    ngx_http_lines_key_node_t   *node;
    ngx_http_lines_key_cache_t  *cache;

    cache = ngx_http_lines_zone_area(lmcf, NGX_HTTP_LINES_ZONE_KEYS);
    shpool = ngx_http_lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    cache->generation++;

    node = ngx_http_lines_key_find(cache, digest);

    if (node) {
        ngx_http_lines_key_free(shpool, cache, node);
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


void
ngx_http_lines_key_cache_doubt(ngx_http_lines_main_conf_t *lmcf)
{
    ngx_slab_pool_t             *shpool;
    ngx_http_lines_key_cache_t  *cache;

    cache = ngx_http_lines_zone_area(lmcf, NGX_HTTP_LINES_ZONE_KEYS);
    shpool = ngx_http_lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    cache->generation++;
    cache->epoch++;

    ngx_shmtx_unlock(&shpool->mutex);
}


static void
ngx_http_lines_key_free(ngx_slab_pool_t *shpool,
    ngx_http_lines_key_cache_t *cache, ngx_http_lines_key_node_t *node)
{
    ngx_queue_remove(&node->queue);
    ngx_rbtree_delete(&cache->rbtree, &node->node.node);

    if (node->key.tenant_len == 0) {
        cache->negatives--;
    }

    ngx_slab_free_locked(shpool, node);
}


/* makes room at the expense of what was not used for longest */

static ngx_http_lines_key_node_t *
ngx_http_lines_key_alloc(ngx_slab_pool_t *shpool,
    ngx_http_lines_key_cache_t *cache)
{
    ngx_uint_t                  i;
    ngx_queue_t                *queue;
    ngx_http_lines_key_node_t  *node;

    for (i = 0; i < 8; i++) {

        node = ngx_slab_alloc_locked(shpool,
                                     sizeof(ngx_http_lines_key_node_t));
        if (node) {
            return node;
        }

        queue = ngx_queue_empty(&cache->negative) ? &cache->positive
                                                  : &cache->negative;
        if (ngx_queue_empty(queue)) {
            break;
        }

        ngx_http_lines_key_free(shpool, cache,
            ngx_queue_data(ngx_queue_last(queue), ngx_http_lines_key_node_t,
                           queue));
    }

    return NULL;
}
