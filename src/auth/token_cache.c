
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/digest_tree.h"
#include "auth/jwks_zone.h"
#include "auth/token_cache.h"
#include "http/zone.h"


/* of the zone, for all entries together: an eighth */
#define LINES_TOKEN_SHARE  8
#define LINES_TOKEN_SLAB   256    /* that an entry takes */


typedef struct {
    ngx_str_node_t  node;    /* its string is the digest */
    ngx_queue_t     queue;
    lines_token_t   token;
} lines_token_node_t;

_Static_assert(sizeof(lines_token_node_t) <= LINES_TOKEN_SLAB,
    "a token outgrew its slab");


typedef struct {
    ngx_rbtree_t       rbtree;
    ngx_rbtree_node_t  sentinel;
    ngx_queue_t        queue;    /* most recently used first */
    ngx_uint_t         count;
    ngx_uint_t         max;
} lines_token_cache_t;


#define lines_token_find(cache, digest) \
    ((lines_token_node_t *)             \
     lines_digest_tree_find(&(cache)->rbtree, digest))


static lines_token_cache_t *token_cache(lines_main_conf_t *lmcf);
static void token_free(ngx_slab_pool_t *shpool, lines_token_cache_t *cache,
    lines_token_node_t *node);
static void token_expire(ngx_slab_pool_t *shpool, lines_token_cache_t *cache,
    ngx_uint_t n, int64_t now);


void *
lines_token_cache_init(ngx_slab_pool_t *shpool)
{
    lines_token_cache_t  *cache;

    cache = ngx_slab_calloc(shpool, sizeof(lines_token_cache_t));
    if (cache == NULL) {
        return NULL;
    }

    lines_digest_tree_init(&cache->rbtree, &cache->sentinel);
    ngx_queue_init(&cache->queue);

    cache->max = (shpool->end - shpool->start) / LINES_TOKEN_SHARE
                 / LINES_TOKEN_SLAB;

    return cache;
}


ngx_int_t
lines_token_cache_get(lines_main_conf_t *lmcf, lines_token_t *token,
    int64_t now)
{
    ngx_int_t             rc;
    ngx_slab_pool_t      *shpool;
    lines_token_node_t   *node;
    lines_token_cache_t  *cache;

    cache = token_cache(lmcf);
    shpool = lines_zone_pool(lmcf);

    rc = NGX_DECLINED;

    ngx_shmtx_lock(&shpool->mutex);

    node = lines_token_find(cache, token->digest);

    if (node == NULL) {
        goto done;
    }

    if (node->token.until <= now
        || node->token.generation != token->generation)
    {
        token_free(shpool, cache, node);
        goto done;
    }

    *token = node->token;

    ngx_queue_remove(&node->queue);
    ngx_queue_insert_head(&cache->queue, &node->queue);

    rc = NGX_OK;

done:

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


void
lines_token_cache_put(lines_main_conf_t *lmcf, lines_token_t *token,
    int64_t now)
{
    ngx_uint_t            i;
    ngx_slab_pool_t      *shpool;
    lines_token_node_t   *node;
    lines_token_cache_t  *cache;

    cache = token_cache(lmcf);
    shpool = lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    node = lines_token_find(cache, token->digest);

    if (node) {
        token_free(shpool, cache, node);
    }

    /* what is no longer used has mostly expired: two out for one in */

    token_expire(shpool, cache, 2, now);

    if (cache->count >= cache->max) {
        token_expire(shpool, cache, 1, INT64_MAX);
    }

    node = NULL;

    for (i = 0; i < 8; i++) {

        node = ngx_slab_alloc_locked(shpool, sizeof(lines_token_node_t));
        if (node || ngx_queue_empty(&cache->queue)) {
            break;
        }

        token_expire(shpool, cache, 1, INT64_MAX);
    }

    if (node) {
        node->token = *token;

        lines_digest_tree_insert(&cache->rbtree, &node->node,
                                 node->token.digest);
        ngx_queue_insert_head(&cache->queue, &node->queue);
        cache->count++;
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


static lines_token_cache_t *
token_cache(lines_main_conf_t *lmcf)
{
    lines_jwks_area_t  *area;

    area = lines_zone_area(lmcf, LINES_ZONE_JWKS);

    return area->tokens;
}


static void
token_free(ngx_slab_pool_t *shpool, lines_token_cache_t *cache,
    lines_token_node_t *node)
{
    ngx_queue_remove(&node->queue);
    ngx_rbtree_delete(&cache->rbtree, &node->node.node);

    cache->count--;

    ngx_slab_free_locked(shpool, node);
}


/* the least recently used ones, n at most, as far as they end by now */

static void
token_expire(ngx_slab_pool_t *shpool, lines_token_cache_t *cache, ngx_uint_t n,
    int64_t now)
{
    lines_token_node_t  *node;

    while (n-- && !ngx_queue_empty(&cache->queue)) {

        node = ngx_queue_data(ngx_queue_last(&cache->queue),
                              lines_token_node_t, queue);

        if (node->token.until > now) {
            return;
        }

        token_free(shpool, cache, node);
    }
}
