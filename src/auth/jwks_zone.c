
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "auth/jwks_zone.h"
#include "auth/token_cache.h"
#include "http/zone.h"


/* after a failure: doubled with each, up to the cool-down; without any keys
   nobody can be served, and the issuer is asked each second */
#define LINES_JWKS_RETRY  1000

/*
 * Put aside while the zone is empty: others may fill it, and then neither a
 * rotation nor an issuer that comes with a reload may fail for want of room.
 * A key of 2048 bits takes some 300 bytes.
 */
#define LINES_JWKS_SPARE  8
#define LINES_JWKS_ROOM   4096


static lines_jwks_entry_t *jwks_create(ngx_slab_pool_t *shpool);
static ngx_int_t jwks_store(ngx_slab_pool_t *shpool, lines_jwks_entry_t *entry,
    lines_jwk_set_t *set, ngx_uint_t *changed);
static ngx_msec_t jwks_backoff(lines_jwks_t *jwks, lines_jwks_entry_t *entry);


void *
lines_jwks_init_area(ngx_slab_pool_t *shpool)
{
    ngx_uint_t           i;
    lines_jwks_area_t   *area;
    lines_jwks_entry_t  *entry;

    area = ngx_slab_calloc(shpool, sizeof(lines_jwks_area_t));
    if (area == NULL) {
        return NULL;
    }

    ngx_queue_init(&area->entries);
    ngx_queue_init(&area->spare);

    for (i = 0; i < LINES_JWKS_SPARE; i++) {

        entry = jwks_create(shpool);
        if (entry == NULL) {
            return NULL;
        }

        ngx_queue_insert_tail(&area->spare, &entry->queue);
    }

    area->tokens = lines_token_cache_init(shpool);

    return area->tokens ? area : NULL;
}


/* with the zone locked, or not shared yet */

static lines_jwks_entry_t *
jwks_create(ngx_slab_pool_t *shpool)
{
    lines_jwks_entry_t  *entry;

    entry = ngx_slab_calloc_locked(shpool, sizeof(lines_jwks_entry_t));
    if (entry == NULL) {
        return NULL;
    }

    entry->set = ngx_slab_alloc_locked(shpool, LINES_JWKS_ROOM);
    entry->next = ngx_slab_alloc_locked(shpool, LINES_JWKS_ROOM);

    if (entry->set == NULL || entry->next == NULL) {

        if (entry->set) {
            ngx_slab_free_locked(shpool, entry->set);
        }

        if (entry->next) {
            ngx_slab_free_locked(shpool, entry->next);
        }

        ngx_slab_free_locked(shpool, entry);
        return NULL;
    }

    entry->room = LINES_JWKS_ROOM;
    entry->next_room = LINES_JWKS_ROOM;

    return entry;
}


ngx_int_t
lines_jwks_enter(lines_jwks_t *jwks)
{
    ngx_queue_t         *q;
    ngx_slab_pool_t     *shpool;
    lines_jwks_area_t   *area;
    lines_jwks_entry_t  *entry;

    area = lines_zone_area(jwks->lmcf, LINES_ZONE_JWKS);
    shpool = lines_zone_pool(jwks->lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    for (q = ngx_queue_head(&area->entries);
         q != ngx_queue_sentinel(&area->entries);
         q = ngx_queue_next(q))
    {
        entry = ngx_queue_data(q, lines_jwks_entry_t, queue);

        if (ngx_memcmp(entry->id, jwks->id, LINES_SHA256_LEN) == 0) {

            goto done;
        }
    }

    if (!ngx_queue_empty(&area->spare)) {
        q = ngx_queue_head(&area->spare);
        ngx_queue_remove(q);

        entry = ngx_queue_data(q, lines_jwks_entry_t, queue);

    } else {
        entry = jwks_create(shpool);
    }

    if (entry) {
        ngx_memcpy(entry->id, jwks->id, LINES_SHA256_LEN);

        entry->kid_due = ngx_current_msec;

        ngx_queue_insert_tail(&area->entries, &entry->queue);
    }

done:

    /* a worker that is slow to start may come after those of a newer one */

    if (entry && entry->configured < jwks->lmcf->configured) {
        entry->configured = jwks->lmcf->configured;
        entry->due = ngx_current_msec;

        (void) lines_jwks_mark(jwks, entry, &jwks->first);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    jwks->entry = entry;

    return entry ? NGX_OK : NGX_ERROR;
}


ngx_msec_t
lines_jwks_age(lines_jwks_entry_t *entry)
{
    return lines_zone_since(entry->fetched);
}


void
lines_jwks_look(lines_jwks_entry_t *entry)
{
    if (entry->marked && lines_jwks_due(entry->mark)) {
        entry->marked = 0;
    }
}


ngx_uint_t
lines_jwks_wanted(lines_jwks_t *jwks, lines_jwks_entry_t *entry)
{
    return !entry->marked
           && entry->configured == jwks->lmcf->configured
           && lines_jwks_due(entry->due);
}


ngx_uint_t
lines_jwks_mark(lines_jwks_t *jwks, lines_jwks_entry_t *entry, ngx_uint_t *own)
{
    if (entry->configured != jwks->lmcf->configured) {
        *own = 0;
        entry->due = ngx_current_msec;

        return entry->begun + 1;
    }

    entry->marked = 1;
    entry->mark = ngx_current_msec + LINES_JWKS_MARK;

    *own = ++entry->begun;

    return *own;
}


ngx_int_t
lines_jwks_end(lines_jwks_t *jwks, ngx_uint_t fetch, ngx_msec_t start,
    lines_jwk_set_t *set, ngx_uint_t *changed)
{
    ngx_int_t            rc;
    ngx_slab_pool_t     *shpool;
    lines_jwks_entry_t  *entry;

    *changed = 0;

    entry = jwks->entry;
    shpool = lines_zone_pool(jwks->lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    if (entry->begun != fetch) {
        ngx_shmtx_unlock(&shpool->mutex);
        return NGX_DECLINED;
    }

    entry->marked = 0;
    entry->ended = fetch;

    rc = NGX_OK;

    if (set) {
        rc = jwks_store(shpool, entry, set, changed);
    }

    if (set && rc == NGX_OK) {
        entry->fetched = start;
        entry->fails = 0;
        entry->due = start + jwks->ttl / 4 * 3;

    } else {
        *changed = (entry->fails == 0);

        entry->fails++;
        entry->due = ngx_current_msec + jwks_backoff(jwks, entry);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


static ngx_int_t
jwks_store(ngx_slab_pool_t *shpool, lines_jwks_entry_t *entry,
    lines_jwk_set_t *set, ngx_uint_t *changed)
{
    size_t            room;
    lines_jwk_set_t  *p;

    /* the same keys once more: what was verified by them stays so */

    if (entry->generation
        && entry->set->size == set->size
        && ngx_memcmp(entry->set, set, set->size) == 0)
    {
        return NGX_OK;
    }

    if (set->size > entry->next_room) {

        p = ngx_slab_alloc_locked(shpool, set->size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_slab_free_locked(shpool, entry->next);

        entry->next = p;
        entry->next_room = set->size;
    }

    ngx_memcpy(entry->next, set, set->size);

    p = entry->set;
    room = entry->room;

    entry->set = entry->next;
    entry->room = entry->next_room;
    entry->next = p;
    entry->next_room = room;

    entry->generation++;

    *changed = 1;

    return NGX_OK;
}


static ngx_msec_t
jwks_backoff(lines_jwks_t *jwks, lines_jwks_entry_t *entry)
{
    ngx_msec_t  delay;

    if (entry->generation == 0) {
        return LINES_JWKS_RETRY;
    }

    delay = LINES_JWKS_RETRY << ngx_min(entry->fails - 1, 16);

    return ngx_min(delay, jwks->cooldown);
}


u_char *
lines_jwks_copy(lines_jwks_t *jwks, ngx_pool_t *pool)
{
    u_char              *buf;
    size_t               size;
    ngx_slab_pool_t     *shpool;
    lines_jwks_entry_t  *entry;

    entry = jwks->entry;
    shpool = lines_zone_pool(jwks->lmcf);

    for ( ;; ) {

        ngx_shmtx_lock(&shpool->mutex);
        size = entry->generation ? entry->set->size : 0;
        ngx_shmtx_unlock(&shpool->mutex);

        buf = size ? ngx_palloc(pool, size) : NULL;
        if (buf == NULL) {
            return NULL;
        }

        /* memory is not asked for under the lock */

        ngx_shmtx_lock(&shpool->mutex);

        if (entry->set->size == size) {
            ngx_memcpy(buf, entry->set, size);
            jwks->generation = entry->generation;

            ngx_shmtx_unlock(&shpool->mutex);

            return lines_jwk_set_valid((lines_jwk_set_t *) buf, size)
                   ? buf
                   : NULL;
        }

        ngx_shmtx_unlock(&shpool->mutex);
    }
}
