
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_token_cache.h"
#include "ngx_http_lines_jwks_zone.h"
#include "ngx_lines_digest_tree.h"


/* of the zone, for all entries together: an eighth */
#define NGX_HTTP_LINES_TOKEN_SHARE  8
#define NGX_HTTP_LINES_TOKEN_SLAB   256    /* that an entry takes */


typedef struct {
    ngx_str_node_t           node;         /* its string is the digest */
    ngx_queue_t              queue;
    ngx_http_lines_token_t   token;
} ngx_http_lines_token_node_t;

_Static_assert(sizeof(ngx_http_lines_token_node_t)
               <= NGX_HTTP_LINES_TOKEN_SLAB, "a token outgrew its slab");


typedef struct {
    ngx_rbtree_t             rbtree;
    ngx_rbtree_node_t        sentinel;
    ngx_queue_t              queue;        /* most recently used first */
    ngx_uint_t               count;
    ngx_uint_t               max;
} ngx_http_lines_token_cache_t;


#define ngx_http_lines_token_find(cache, digest)                              \
    ((ngx_http_lines_token_node_t *)                                          \
     ngx_lines_digest_tree_find(&(cache)->rbtree, digest))


static ngx_http_lines_token_cache_t *ngx_http_lines_token_cache(
    ngx_http_lines_main_conf_t *lmcf);
static void ngx_http_lines_token_free(ngx_slab_pool_t *shpool,
    ngx_http_lines_token_cache_t *cache, ngx_http_lines_token_node_t *node);
static void ngx_http_lines_token_expire(ngx_slab_pool_t *shpool,
    ngx_http_lines_token_cache_t *cache, ngx_uint_t n, int64_t now);


void *
ngx_http_lines_token_cache_init(ngx_slab_pool_t *shpool)
{
    ngx_http_lines_token_cache_t  *cache;

    cache = ngx_slab_calloc(shpool, sizeof(ngx_http_lines_token_cache_t));
    if (cache == NULL) {
        return NULL;
    }

    ngx_lines_digest_tree_init(&cache->rbtree, &cache->sentinel);
    ngx_queue_init(&cache->queue);

    cache->max = (shpool->end - shpool->start)
                 / NGX_HTTP_LINES_TOKEN_SHARE / NGX_HTTP_LINES_TOKEN_SLAB;

    return cache;
}


ngx_int_t
ngx_http_lines_token_cache_get(ngx_http_lines_main_conf_t *lmcf,
    ngx_http_lines_token_t *token, int64_t now)
{
    ngx_int_t                      rc;
    ngx_slab_pool_t               *shpool;
    ngx_http_lines_token_node_t   *node;
    ngx_http_lines_token_cache_t  *cache;

    cache = ngx_http_lines_token_cache(lmcf);
    shpool = ngx_http_lines_zone_pool(lmcf);

    rc = NGX_DECLINED;

    ngx_shmtx_lock(&shpool->mutex);

    node = ngx_http_lines_token_find(cache, token->digest);

    if (node == NULL) {
        goto done;
    }

    if (node->token.until <= now
        || node->token.generation != token->generation)
    {
        ngx_http_lines_token_free(shpool, cache, node);
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
ngx_http_lines_token_cache_put(ngx_http_lines_main_conf_t *lmcf,
    ngx_http_lines_token_t *token, int64_t now)
{
    ngx_uint_t                     i;
    ngx_slab_pool_t               *shpool;
    ngx_http_lines_token_node_t   *node;
    ngx_http_lines_token_cache_t  *cache;

    cache = ngx_http_lines_token_cache(lmcf);
    shpool = ngx_http_lines_zone_pool(lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    node = ngx_http_lines_token_find(cache, token->digest);

    if (node) {
        ngx_http_lines_token_free(shpool, cache, node);
    }

    /* what is no longer used has mostly expired: two out for one in */

    ngx_http_lines_token_expire(shpool, cache, 2, now);

    if (cache->count >= cache->max) {
        ngx_http_lines_token_expire(shpool, cache, 1, INT64_MAX);
    }

    node = NULL;

    for (i = 0; i < 8; i++) {

        node = ngx_slab_alloc_locked(shpool,
                                     sizeof(ngx_http_lines_token_node_t));
        if (node || ngx_queue_empty(&cache->queue)) {
            break;
        }

        ngx_http_lines_token_expire(shpool, cache, 1, INT64_MAX);
    }

    if (node) {
        node->token = *token;

        ngx_lines_digest_tree_insert(&cache->rbtree, &node->node,
                                     node->token.digest);
        ngx_queue_insert_head(&cache->queue, &node->queue);
        cache->count++;
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


static ngx_http_lines_token_cache_t *
ngx_http_lines_token_cache(ngx_http_lines_main_conf_t *lmcf)
{
    ngx_http_lines_jwks_area_t  *area;

    area = ngx_http_lines_zone_area(lmcf, NGX_HTTP_LINES_ZONE_JWKS);

    return area->tokens;
}


static void
ngx_http_lines_token_free(ngx_slab_pool_t *shpool,
    ngx_http_lines_token_cache_t *cache, ngx_http_lines_token_node_t *node)
{
    ngx_queue_remove(&node->queue);
    ngx_rbtree_delete(&cache->rbtree, &node->node.node);

    cache->count--;

    ngx_slab_free_locked(shpool, node);
}


/* the least recently used ones, n at most, as far as they end by now */

static void
ngx_http_lines_token_expire(ngx_slab_pool_t *shpool,
    ngx_http_lines_token_cache_t *cache, ngx_uint_t n, int64_t now)
{
    ngx_http_lines_token_node_t  *node;

    while (n-- && !ngx_queue_empty(&cache->queue)) {

        node = ngx_queue_data(ngx_queue_last(&cache->queue),
                              ngx_http_lines_token_node_t, queue);

        if (node->token.until > now) {
            return;
        }

        ngx_http_lines_token_free(shpool, cache, node);
    }
}
