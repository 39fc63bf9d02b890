
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "auth/jwks.h"
#include "auth/jwks_fetch.h"
#include "http/zone.h"


/* how soon waiting requests look at what another worker does */
#define LINES_JWKS_POLL   20

/* how often a worker looks whether a fetch is due */
#define LINES_JWKS_TICK   1000

/*
 * Put aside while the zone is empty: others may fill it, and then neither a
 * rotation nor an issuer that comes with a reload may fail for want of room.
 * A key of 2048 bits takes some 300 bytes.
 */
#define LINES_JWKS_SPARE  8
#define LINES_JWKS_ROOM   4096


#define jwks_due(when) \
    ((ngx_msec_int_t) (ngx_current_msec - (when)) >= 0)


#define jwks_unlock(jwks) \
    ngx_shmtx_unlock(&lines_zone_pool((jwks)->lmcf)->mutex)


typedef struct {
    ngx_queue_t  entries;
    ngx_queue_t  spare;
} lines_jwks_area_t;


static lines_jwks_entry_t *jwks_create(ngx_slab_pool_t *shpool);
static ngx_int_t jwks_enter(lines_jwks_t *jwks);
static lines_jwks_entry_t *jwks_lock(lines_jwks_t *jwks);
static ngx_uint_t jwks_mark(lines_jwks_t *jwks, ngx_uint_t *own);
static ngx_int_t jwks_adopt(lines_jwks_t *jwks);
static void jwks_drop(lines_jwks_t *jwks);
static void jwks_tick(ngx_event_t *ev);
static void jwks_arm(lines_jwks_t *jwks, ngx_msec_t delay);


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

    return area;
}


/* with the zone locked, or not shared yet */

static lines_jwks_entry_t *
jwks_create(ngx_slab_pool_t *shpool)
{
    ngx_uint_t           i;
    lines_jwks_entry_t  *entry;

    entry = ngx_slab_calloc_locked(shpool, sizeof(lines_jwks_entry_t));
    if (entry == NULL) {
        return NULL;
    }

    for (i = 0; i < 2; i++) {
        entry->slots[i].room = LINES_JWKS_ROOM;
        entry->slots[i].set = ngx_slab_alloc_locked(shpool, LINES_JWKS_ROOM);

        if (entry->slots[i].set == NULL) {

            if (i) {
                ngx_slab_free_locked(shpool, entry->slots[0].set);
            }

            ngx_slab_free_locked(shpool, entry);
            return NULL;
        }
    }

    return entry;
}


ngx_int_t
lines_jwks_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    ngx_uint_t      i;
    lines_jwks_t  **jwks;

    if (lmcf->jwks == NULL) {
        return NGX_OK;
    }

    jwks = lmcf->jwks->elts;

    for (i = 0; i < lmcf->jwks->nelts; i++) {

        jwks[i]->lmcf = lmcf;

        if (jwks[i]->uri.len == 0) {
            continue;
        }

        ngx_queue_init(&jwks[i]->waiters);

        jwks[i]->timer.handler = jwks_tick;
        jwks[i]->timer.data = jwks[i];
        jwks[i]->timer.log = cycle->log;

        if (jwks_enter(jwks[i]) != NGX_OK) {
            ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                          "lines: \"lines_zone\" has no room for the keys "
                          "of \"%V\"", &jwks[i]->issuer);
            continue;
        }

        jwks_arm(jwks[i], 1);
    }

    return NGX_OK;
}


/*
 * Finds or makes jwks->entry.  What the location leads to may have changed
 * with the configuration: whichever worker of a new one comes here first takes
 * jwks->first for itself, so that keys are known before the first client
 * comes, and what an older configuration is fetching is of no use.  The others,
 * and one that takes the place of a dead worker, do not: a node asks once.
 */

static ngx_int_t
jwks_enter(lines_jwks_t *jwks)
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
            goto found;
        }
    }

    if (!ngx_queue_empty(&area->spare)) {
        q = ngx_queue_head(&area->spare);
        ngx_queue_remove(q);

        entry = ngx_queue_data(q, lines_jwks_entry_t, queue);

    } else {
        entry = jwks_create(shpool);

        if (entry == NULL) {
            ngx_shmtx_unlock(&shpool->mutex);
            return NGX_ERROR;
        }
    }

    ngx_memcpy(entry->id, jwks->id, LINES_SHA256_LEN);
    entry->kid_due = ngx_current_msec;
    ngx_queue_insert_tail(&area->entries, &entry->queue);

found:

    jwks->entry = entry;

    /* a worker that is slow to start may come after those of a newer one */

    if (entry->configured < jwks->lmcf->configured) {
        entry->configured = jwks->lmcf->configured;
        entry->due = ngx_current_msec;

        (void) jwks_mark(jwks, &jwks->first);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return NGX_OK;
}


void
lines_jwks_exit_process(lines_main_conf_t *lmcf)
{
    ngx_uint_t      i;
    lines_jwks_t  **jwks;

    if (lmcf->jwks == NULL) {
        return;
    }

    jwks = lmcf->jwks->elts;

    for (i = 0; i < lmcf->jwks->nelts; i++) {

        if (jwks[i]->timer.timer_set) {
            ngx_del_timer(&jwks[i]->timer);
        }

        jwks_drop(jwks[i]);
    }
}


/* a mark whose worker is late or dead falls */

static lines_jwks_entry_t *
jwks_lock(lines_jwks_t *jwks)
{
    lines_jwks_entry_t  *entry;

    entry = jwks->entry;

    ngx_shmtx_lock(&lines_zone_pool(jwks->lmcf)->mutex);

    if (entry->marked && jwks_due(entry->mark)) {
        entry->marked = 0;
    }

    return entry;
}


/*
 * With the zone locked, and no fetch under way: returns the number of the next
 * one, and in *own the same if it is the caller's to begin.  Workers of an old
 * configuration, whose issuer may be another, have those of the new one ask.
 */

static ngx_uint_t
jwks_mark(lines_jwks_t *jwks, ngx_uint_t *own)
{
    lines_jwks_entry_t  *entry;

    entry = jwks->entry;

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
lines_jwks_current(lines_jwks_t *jwks, ngx_uint_t *fetch)
{
    ngx_int_t            rc;
    ngx_uint_t           number, generation, usable, wanted;
    ngx_msec_t           age;
    lines_jwks_entry_t  *entry;

    *fetch = 0;

    if (jwks->uri.len == 0) {
        return NGX_OK;
    }

    if (jwks->entry == NULL) {
        return NGX_DECLINED;
    }

    number = 0;

    entry = jwks_lock(jwks);

    age = lines_zone_since(entry->fetched);
    generation = entry->generation;
    usable = (generation != 0 && age < ngx_max(jwks->stale, jwks->ttl));

    /* for the sake of their age, workers of an old configuration leave it to
       those of the new one */

    wanted = !entry->marked
             && jwks_due(entry->due)
             && (!usable || entry->configured == jwks->lmcf->configured);

    *fetch = wanted ? jwks_mark(jwks, &number) : entry->begun;

    if (usable) {

        /* old keys are for an issuer that cannot be asked */

        rc = (age >= jwks->ttl && entry->fails == 0 && entry->marked)
             ? NGX_AGAIN
             : NGX_OK;

    } else {
        rc = (wanted || entry->marked) ? NGX_AGAIN : NGX_DECLINED;
    }

    jwks_unlock(jwks);

    if (number
        && lines_jwks_fetch(jwks, number) != NGX_OK
        && rc == NGX_AGAIN)
    {
        rc = usable ? NGX_OK : NGX_DECLINED;
    }

    if (rc == NGX_OK && generation != jwks->generation) {
        rc = jwks_adopt(jwks);
    }

    return rc;
}


ngx_int_t
lines_jwks_refetch(lines_jwks_t *jwks, ngx_uint_t since, ngx_uint_t *fetch)
{
    ngx_int_t            rc;
    ngx_uint_t           number;
    lines_jwks_entry_t  *entry;

    if (jwks->uri.len == 0) {
        return NGX_DECLINED;
    }

    rc = NGX_AGAIN;
    number = 0;

    entry = jwks_lock(jwks);

    *fetch = entry->begun;

    if (entry->marked) {

        /* what is under way may have been asked for before the key was made:
           it is looked at, and if need be asked again */

    } else if (entry->ended > since || !jwks_due(entry->kid_due)) {
        rc = NGX_DECLINED;

    } else {
        *fetch = jwks_mark(jwks, &number);
        entry->kid_due = ngx_current_msec + jwks->cooldown;
    }

    jwks_unlock(jwks);

    if (number && lines_jwks_fetch(jwks, number) != NGX_OK) {
        return NGX_DECLINED;
    }

    return rc;
}


void
lines_jwks_status(lines_main_conf_t *lmcf, lines_jwks_status_t *status)
{
    ngx_uint_t            i;
    ngx_msec_t            age;
    lines_jwks_t        **jwks;
    lines_jwks_entry_t   *entry;

    ngx_memzero(status, sizeof(lines_jwks_status_t));

    for (i = 0; lmcf->jwks && i < lmcf->jwks->nelts; i++) {

        jwks = lmcf->jwks->elts;
        entry = jwks[i]->entry;

        if (jwks[i]->uri.len == 0) {
            continue;
        }

        if (entry == NULL || entry->generation == 0) {
            status->missing++;
            continue;
        }

        age = lines_zone_since(entry->fetched);

        status->known++;
        status->age = ngx_max(status->age, age);
    }
}


/* a copy of the zone's set becomes this worker's */

static ngx_int_t
jwks_adopt(lines_jwks_t *jwks)
{
    size_t                 size;
    ngx_uint_t             generation;
    ngx_pool_t            *pool;
    lines_jwk_set_t       *set, *from;
    lines_jwks_entry_t    *entry;
    lines_jwk_verifier_t  *verifiers;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    verifiers = ngx_pcalloc(pool,
                            LINES_JWK_MAX_KEYS * sizeof(lines_jwk_verifier_t));
    if (verifiers == NULL) {
        goto failed;
    }

    /* memory is not asked for under the lock */

    for (set = NULL, size = 0; /* void */ ; /* void */ ) {

        entry = jwks_lock(jwks);

        from = entry->slots[entry->current].set;
        generation = entry->generation;

        if (set && from->size == size) {
            ngx_memcpy(set, from, size);
            jwks_unlock(jwks);
            break;
        }

        size = from->size;

        jwks_unlock(jwks);

        set = ngx_palloc(pool, size);
        if (set == NULL) {
            goto failed;
        }
    }

    if (!lines_jwk_set_valid(set, size)) {
        goto failed;
    }

    jwks_drop(jwks);

    jwks->pool = pool;
    jwks->set = set;
    jwks->verifiers = verifiers;
    jwks->generation = generation;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines jwks: generation %ui of \"%V\"", jwks->generation,
                   &jwks->issuer);

    return NGX_OK;

failed:

    ngx_destroy_pool(pool);

    return NGX_ERROR;
}


static void
jwks_drop(lines_jwks_t *jwks)
{
    ngx_uint_t  i;

    for (i = 0; jwks->verifiers && i < LINES_JWK_MAX_KEYS; i++) {
        lines_jwk_verifier_destroy(&jwks->verifiers[i]);
    }

    if (jwks->pool) {
        ngx_destroy_pool(jwks->pool);
    }
}


void
lines_jwks_wait(lines_jwks_t *jwks, lines_jwks_waiter_t *waiter)
{
    waiter->waiting = 1;

    ngx_queue_insert_tail(&jwks->waiters, &waiter->queue);

    jwks_arm(jwks, LINES_JWKS_POLL);
}


void
lines_jwks_forget(void *data)
{
    lines_jwks_waiter_t *waiter = data;

    if (waiter->waiting) {
        waiter->waiting = 0;
        ngx_queue_remove(&waiter->queue);
    }
}


/* keys are kept fresh though nobody comes: what is revoked stays revoked */

static void
jwks_tick(ngx_event_t *ev)
{
    lines_jwks_t *jwks = ev->data;

    ngx_uint_t            number, ended, leaving;
    ngx_msec_t            interval;
    ngx_queue_t          *q, *next, ready;
    lines_jwks_entry_t   *entry;
    lines_jwks_waiter_t  *waiter;

    leaving = ngx_exiting || ngx_quit || ngx_terminate;

    number = leaving ? 0 : jwks->first;
    jwks->first = 0;

    entry = jwks_lock(jwks);

    /* a fetch that another configuration is to begin may not have been */

    ended = entry->marked ? entry->ended : ngx_max(entry->begun, entry->ended);

    if (!leaving
        && !entry->marked
        && entry->configured == jwks->lmcf->configured
        && jwks_due(entry->due))
    {
        (void) jwks_mark(jwks, &number);
    }

    jwks_unlock(jwks);

    if (number) {
        (void) lines_jwks_fetch(jwks, number);
    }

    ngx_queue_init(&ready);

    for (q = ngx_queue_head(&jwks->waiters);
         q != ngx_queue_sentinel(&jwks->waiters);
         q = next)
    {
        next = ngx_queue_next(q);

        waiter = ngx_queue_data(q, lines_jwks_waiter_t, queue);

        if (ended >= waiter->fetch || jwks_due(waiter->deadline)) {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&ready, q);
        }
    }

    /* a request that goes on may end others, and itself */

    while (!ngx_queue_empty(&ready)) {

        q = ngx_queue_head(&ready);
        waiter = ngx_queue_data(q, lines_jwks_waiter_t, queue);

        lines_jwks_forget(waiter);

        waiter->handler(waiter);
    }

    interval = ngx_max(jwks->ttl / 16, 50);

    jwks_arm(jwks, ngx_min(interval, LINES_JWKS_TICK));
}


/* not cancelable while requests wait: a worker that exits gracefully waits for
   them */

static void
jwks_arm(lines_jwks_t *jwks, ngx_msec_t delay)
{
    ngx_event_t  *timer;

    timer = &jwks->timer;
    timer->cancelable = ngx_queue_empty(&jwks->waiters);

    if (!timer->cancelable) {
        delay = ngx_min(delay, LINES_JWKS_POLL);
    }

    if (timer->timer_set) {

        if ((ngx_msec_int_t) (timer->timer.key - ngx_current_msec)
            <= (ngx_msec_int_t) delay)
        {
            return;
        }

        ngx_del_timer(timer);
    }

    ngx_add_timer(timer, delay);
}
