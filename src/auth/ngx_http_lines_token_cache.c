
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_token_cache.h"
#include "ngx_http_lines_jwks_zone.h"


/* of the zone, for all entries together: an eighth */
#define NGX_HTTP_LINES_TOKEN_SHARE  8


typedef struct {
    ngx_rbtree_node_t        node;         /* key: the digest's first word */
    ngx_queue_t              queue;
    ngx_http_lines_token_t   token;
} ngx_http_lines_token_node_t;


typedef struct {
    ngx_rbtree_t             rbtree;
    ngx_rbtree_node_t        sentinel;
    ngx_queue_t              queue;        /* most recently used first */
    ngx_uint_t               count;
    ngx_uint_t               max;
} ngx_http_lines_token_cache_t;


static ngx_http_lines_token_cache_t *ngx_http_lines_token_cache(
    ngx_http_lines_main_conf_t *lmcf);
static ngx_rbtree_key_t ngx_http_lines_token_hash(const u_char *digest);
static ngx_http_lines_token_node_t *ngx_http_lines_token_find(
    ngx_http_lines_token_cache_t *cache, const u_char *digest);
static void ngx_http_lines_token_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
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

    ngx_rbtree_init(&cache->rbtree, &cache->sentinel,
                    ngx_http_lines_token_insert);
    ngx_queue_init(&cache->queue);

    /* an entry takes a slab of 256 bytes */

    cache->max = (shpool->end - shpool->start)
                 / NGX_HTTP_LINES_TOKEN_SHARE / 256;

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
        node->node.key = ngx_http_lines_token_hash(token->digest);

        ngx_rbtree_insert(&cache->rbtree, &node->node);
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


static ngx_rbtree_key_t
ngx_http_lines_token_hash(const u_char *digest)
{
    ngx_rbtree_key_t  hash;

    ngx_memcpy(&hash, digest, sizeof(ngx_rbtree_key_t));

    return hash;
}


static ngx_http_lines_token_node_t *
ngx_http_lines_token_find(ngx_http_lines_token_cache_t *cache,
    const u_char *digest)
{
    ngx_int_t                     rc;
    ngx_rbtree_key_t              hash;
    ngx_rbtree_node_t            *node, *sentinel;
    ngx_http_lines_token_node_t  *tn;

    hash = ngx_http_lines_token_hash(digest);

    node = cache->rbtree.root;
    sentinel = cache->rbtree.sentinel;

    while (node != sentinel) {

        if (hash != node->key) {
            node = (hash < node->key) ? node->left : node->right;
            continue;
        }

        tn = (ngx_http_lines_token_node_t *) node;

        rc = ngx_memcmp(digest, tn->token.digest, NGX_LINES_SHA256_LEN);

        if (rc == 0) {
            return tn;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


static void
ngx_http_lines_token_insert(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t            **p;
    ngx_http_lines_token_node_t   *tn, *tnt;

    for ( ;; ) {

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            tn = (ngx_http_lines_token_node_t *) node;
            tnt = (ngx_http_lines_token_node_t *) temp;

            p = (ngx_memcmp(tn->token.digest, tnt->token.digest,
                            NGX_LINES_SHA256_LEN) < 0)
                ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


static void
ngx_http_lines_token_free(ngx_slab_pool_t *shpool,
    ngx_http_lines_token_cache_t *cache, ngx_http_lines_token_node_t *node)
{
    ngx_queue_remove(&node->queue);
    ngx_rbtree_delete(&cache->rbtree, &node->node);

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
