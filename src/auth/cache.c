
#include "auth/cache.h"
#include "http/table.h"
#include "http/zone.h"


/* negative answers must not push out what is in use */
#define LINES_CACHE_NEGATIVE  4096

/* of the zone, for all tokens together: an eighth */
#define LINES_CACHE_TOKENS    8
#define LINES_CACHE_SLAB      256    /* that an entry takes */

#define LINES_CACHE_MOVES     4      /* s: in these it is moved once */


enum {
    CACHE_POSITIVE = 0,            /* keys */
    CACHE_NEGATIVE,
    CACHE_TOKENS,
    CACHE_NUMBER
};


typedef struct {
    ngx_queue_t        queue;      /* most recently used first */
    ngx_uint_t         count;
    ngx_uint_t         max;
} lines_cache_t;


typedef struct {
    ngx_slab_pool_t   *shpool;
    lines_table_t     *table;      /* of all: no two credentials have the
                                      same digest */
    lines_cache_t      caches[CACHE_NUMBER];
    ngx_atomic_uint_t  generation;
    ngx_atomic_uint_t  epoch;
} lines_cache_area_t;


typedef struct {
    ngx_str_node_t     node;       /* its string is the digest, its byte of
                                      data the cache's number and when it was
                                      moved to the head of its queue */
    ngx_queue_t        queue;

    union {                        /* all begin with the digest */
        u_char         digest[LINES_SHA256_LEN];
        lines_key_t    key;
        lines_token_t  token;
    };
} lines_cache_node_t;

_Static_assert(sizeof(lines_cache_node_t) <= LINES_CACHE_SLAB,
    "an entry outgrew its slab");


#define cache_of(area, entry)  (&(area)->caches[(entry)->node.node.data & 3])

#define cache_data(number)                                            \
    ((u_char) (ngx_time() / LINES_CACHE_MOVES * 4 + (number)))

#define cache_last(cache)                                             \
    (ngx_queue_data(ngx_queue_last(&(cache)->queue), lines_cache_node_t, queue))


void *
lines_cache_init(ngx_slab_pool_t *shpool)
{
    ngx_uint_t           i;
    lines_cache_area_t  *area;

    area = ngx_slab_calloc(shpool, sizeof(lines_cache_area_t));
    if (area == NULL) {
        return NULL;
    }

    area->shpool = shpool;

    area->table = lines_table_create(shpool);
    if (area->table == NULL) {
        return NULL;
    }

    for (i = 0; i < CACHE_NUMBER; i++) {
        ngx_queue_init(&area->caches[i].queue);
    }

    area->caches[CACHE_POSITIVE].max = NGX_MAX_INT_T_VALUE;
    area->caches[CACHE_NEGATIVE].max = LINES_CACHE_NEGATIVE;
    area->caches[CACHE_TOKENS].max = (shpool->end - shpool->start)
                                     / LINES_CACHE_TOKENS / LINES_CACHE_SLAB;

    return area;
}


static lines_cache_area_t *
cache_lock(lines_main_conf_t *lmcf)
{
    lines_cache_area_t  *area;

    area = lines_zone_area(lmcf, LINES_ZONE_KEYS);

    ngx_shmtx_lock(&area->shpool->mutex);

    return area;
}


/*
 * A digest needs no hash: its first word is one.  The time that this takes
 * tells of digests only, never of what they are made of: a secret is compared
 * elsewhere.
 */

static lines_cache_node_t *
cache_find(lines_cache_area_t *area, const u_char *digest)
{
    uint32_t   hash;
    ngx_str_t  name = { LINES_SHA256_LEN, (u_char *) digest };

    ngx_memcpy(&hash, digest, sizeof(uint32_t));

    return (lines_cache_node_t *) lines_table_find(area->table, &name, hash);
}


/* to move it touches its neighbours, too: not each time */

static void
cache_use(lines_cache_area_t *area, lines_cache_node_t *node)
{
    u_char  data;

    data = cache_data(node->node.node.data & 3);

    if (node->node.node.data == data) {
        return;
    }

    node->node.node.data = data;

    ngx_queue_remove(&node->queue);
    ngx_queue_insert_head(&cache_of(area, node)->queue, &node->queue);
}


static void
cache_free(lines_cache_area_t *area, lines_cache_node_t *node)
{
    if (node == NULL) {
        return;
    }

    ngx_queue_remove(&node->queue);
    lines_table_remove(area->table, &node->node);

    cache_of(area, node)->count--;

    ngx_slab_free_locked(area->shpool, node);
}


/* in the place of what is known of the same, makes room at the expense of what
   was not used for longest */

static void
cache_add(lines_cache_area_t *area, ngx_uint_t number, void *entry,
    size_t size)
{
    uint32_t             hash;
    ngx_uint_t           i;
    lines_cache_t       *cache, *spare;
    lines_cache_node_t  *node;

    cache_free(area, cache_find(area, entry));

    cache = &area->caches[number];

    if (cache->count >= cache->max) {
        cache_free(area, cache_last(cache));
    }

    for (i = 0; /* void */ ; i++) {

        node = ngx_slab_alloc_locked(area->shpool,
                                     sizeof(lines_cache_node_t));
        if (node) {
            break;
        }

        spare = cache;

        if (number != CACHE_TOKENS) {
            spare = &area->caches[CACHE_NEGATIVE];

            if (spare->count == 0) {
                spare = &area->caches[CACHE_POSITIVE];
            }
        }

        if (i == 8 || spare->count == 0) {
            return;
        }

        cache_free(area, cache_last(spare));
    }

    ngx_memcpy(&node->key, entry, size);
    ngx_memcpy(&hash, entry, sizeof(uint32_t));

    node->node.node.key = hash;
    node->node.node.data = cache_data(number);
    node->node.str.len = LINES_SHA256_LEN;
    node->node.str.data = node->digest;
    lines_table_add(area->table, &node->node);
    ngx_queue_insert_head(&cache->queue, &node->queue);
    cache->count++;
}


ngx_int_t
lines_key_cache_get(lines_main_conf_t *lmcf, lines_key_t *key)
{
    lines_cache_area_t  *area;
    lines_cache_node_t  *node;

    area = cache_lock(lmcf);

    node = cache_find(area, key->digest);

    if (node) {
        *key = node->key;
        key->verified = (key->epoch == area->epoch);
        cache_use(area, node);
    }

    key->generation = area->generation;

    ngx_shmtx_unlock(&area->shpool->mutex);

    return node ? NGX_OK : NGX_DECLINED;
}


void
lines_key_cache_put(lines_main_conf_t *lmcf, lines_key_t *key)
{
    lines_cache_area_t  *area;

    area = cache_lock(lmcf);

    if (area->generation == key->generation) {

        key->epoch = area->epoch;

        cache_add(area, key->tenant_len ? CACHE_POSITIVE : CACHE_NEGATIVE,
                  key, sizeof(lines_key_t));
    }

    ngx_shmtx_unlock(&area->shpool->mutex);
}


void
lines_key_cache_revoke(lines_main_conf_t *lmcf, const u_char *digest)
{
    lines_cache_area_t  *area;

    area = cache_lock(lmcf);

    area->generation++;

    if (digest) {
        cache_free(area, cache_find(area, digest));

    } else {
        area->epoch++;
    }

    ngx_shmtx_unlock(&area->shpool->mutex);
}


ngx_uint_t
lines_key_cache_use(lines_main_conf_t *lmcf, const u_char *digest,
    uint32_t day)
{
    ngx_uint_t           first;
    lines_cache_area_t  *area;
    lines_cache_node_t  *node;

    area = cache_lock(lmcf);

    node = cache_find(area, digest);
    first = (node == NULL || node->key.used < day);

    if (node && first) {
        node->key.used = day;
    }

    ngx_shmtx_unlock(&area->shpool->mutex);

    return first;
}


ngx_int_t
lines_token_cache_get(lines_main_conf_t *lmcf, lines_token_t *token,
    int64_t now)
{
    lines_cache_area_t  *area;
    lines_cache_node_t  *node;

    area = cache_lock(lmcf);

    node = cache_find(area, token->digest);

    if (node
        && (node->token.until <= now
            || (node->token.reason
                && node->token.until > now + LINES_TOKEN_REFUSED)
            || node->token.generation != token->generation))
    {
        cache_free(area, node);
        node = NULL;
    }

    if (node) {
        *token = node->token;
        cache_use(area, node);
    }

    ngx_shmtx_unlock(&area->shpool->mutex);

    return node ? NGX_OK : NGX_DECLINED;
}


void
lines_token_cache_put(lines_main_conf_t *lmcf, lines_token_t *token,
    int64_t now)
{
    ngx_uint_t           i;
    lines_cache_t       *tokens;
    lines_cache_area_t  *area;

    area = cache_lock(lmcf);
    tokens = &area->caches[CACHE_TOKENS];

    /* what is no longer used has mostly expired: two out for one in */

    for (i = 0; i < 2 && tokens->count; i++) {
        if (cache_last(tokens)->token.until > now) {
            break;
        }

        cache_free(area, cache_last(tokens));
    }

    cache_add(area, CACHE_TOKENS, token, sizeof(lines_token_t));

    ngx_shmtx_unlock(&area->shpool->mutex);
}
