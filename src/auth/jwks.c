
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "auth/jwks.h"
#include "auth/jwks_fetch.h"
#include "auth/jwks_zone.h"
#include "http/metrics.h"


/* how soon waiting requests look at what another worker does */
#define LINES_JWKS_POLL   20

/* how often a worker looks whether a fetch is due */
#define LINES_JWKS_TICK   1000


static ngx_int_t jwks_begin(lines_jwks_t *jwks, ngx_uint_t number);
static ngx_int_t jwks_fetched(lines_jwks_t *jwks, ngx_uint_t fetch,
    ngx_msec_t start, lines_jwk_set_t *set, ngx_uint_t *changed);
static ngx_int_t jwks_adopt(lines_jwks_t *jwks);
static void jwks_cleanup(void *data);
static void jwks_poll(ngx_event_t *ev);
static void jwks_wake(lines_jwks_t *jwks);
static void jwks_tick(ngx_event_t *ev);


/* of this worker; nginx prints what it needs of data where it traces timers */

static ngx_event_t       jwks_ticker;
static ngx_connection_t  jwks_dumb;
static ngx_msec_t        jwks_interval;
static ngx_array_t      *jwks_sources;


ngx_int_t
lines_jwks_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    ngx_uint_t      i, remote;
    lines_jwks_t  **jwks;

    if (lmcf->jwks == NULL) {
        return NGX_OK;
    }

    remote = 0;
    jwks_interval = LINES_JWKS_TICK;

    jwks = lmcf->jwks->elts;

    for (i = 0; i < lmcf->jwks->nelts; i++) {

        jwks[i]->lmcf = lmcf;
        ngx_queue_init(&jwks[i]->waiters);

        jwks[i]->timer.handler = jwks_poll;
        jwks[i]->timer.data = jwks[i];
        jwks[i]->timer.log = cycle->log;

        if (jwks[i]->uri.len == 0) {
            continue;
        }

        remote = 1;

        if (jwks[i]->ttl / 16 < jwks_interval) {
            jwks_interval = ngx_max(jwks[i]->ttl / 16, 50);
        }

        if (lines_jwks_enter(jwks[i]) != NGX_OK) {
            ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                          "lines: \"lines_zone\" has no room for the keys "
                          "of \"%V\"", &jwks[i]->issuer);
        }
    }

    if (!remote) {
        return NGX_OK;
    }

    jwks_sources = lmcf->jwks;

    jwks_dumb.fd = (ngx_socket_t) -1;

    ngx_memzero(&jwks_ticker, sizeof(ngx_event_t));
    jwks_ticker.handler = jwks_tick;
    jwks_ticker.data = &jwks_dumb;
    jwks_ticker.log = cycle->log;
    jwks_ticker.cancelable = 1;

    ngx_add_timer(&jwks_ticker, 1);

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

    if (jwks_ticker.timer_set) {
        ngx_del_timer(&jwks_ticker);
    }

    jwks = lmcf->jwks->elts;

    for (i = 0; i < lmcf->jwks->nelts; i++) {

        if (jwks[i]->timer.timer_set) {
            ngx_del_timer(&jwks[i]->timer);
        }

        if (jwks[i]->pool) {
            ngx_destroy_pool(jwks[i]->pool);
            jwks[i]->pool = NULL;

        } else if (jwks[i]->verifiers) {
            jwks_cleanup(jwks[i]->verifiers);
        }
    }
}


ngx_int_t
lines_jwks_current(lines_jwks_t *jwks, ngx_uint_t *fetch)
{
    ngx_int_t            rc;
    ngx_uint_t           number, generation, usable;
    ngx_msec_t           age;
    ngx_slab_pool_t     *shpool;
    lines_jwks_entry_t  *entry;

    *fetch = 0;

    if (jwks->uri.len == 0) {
        return NGX_OK;
    }

    entry = jwks->entry;

    if (entry == NULL) {
        return NGX_DECLINED;
    }

    shpool = lines_zone_pool(jwks->lmcf);
    number = 0;

    ngx_shmtx_lock(&shpool->mutex);

    lines_jwks_look(entry);

    age = lines_jwks_age(entry);

    usable = (entry->generation != 0 && age < ngx_max(jwks->stale, jwks->ttl));

    *fetch = entry->begun;

    if (!usable) {

        rc = NGX_AGAIN;

        if (!entry->marked) {

            if (lines_jwks_due(entry->due)) {
                *fetch = lines_jwks_mark(jwks, entry, &number);

            } else {
                rc = NGX_DECLINED;
            }
        }

    } else {

        rc = NGX_OK;

        if (lines_jwks_wanted(jwks, entry)) {
            *fetch = lines_jwks_mark(jwks, entry, &number);
        }

        /* old keys are for an issuer that cannot be asked */

        if (age >= jwks->ttl && entry->fails == 0 && entry->marked) {
            rc = NGX_AGAIN;
        }
    }

    generation = entry->generation;

    ngx_shmtx_unlock(&shpool->mutex);

    if (number && jwks_begin(jwks, number) != NGX_OK && rc == NGX_AGAIN) {
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
    ngx_slab_pool_t     *shpool;
    lines_jwks_entry_t  *entry;

    if (jwks->uri.len == 0) {
        return NGX_DECLINED;
    }

    entry = jwks->entry;
    shpool = lines_zone_pool(jwks->lmcf);

    rc = NGX_AGAIN;
    number = 0;

    ngx_shmtx_lock(&shpool->mutex);

    lines_jwks_look(entry);

    *fetch = entry->begun;

    if (entry->marked) {

        /* what is under way may have been asked for before the key was made:
           it is looked at, and if need be asked again */

    } else if (entry->ended > since
               || !lines_jwks_due(entry->kid_due))
    {
        rc = NGX_DECLINED;

    } else {
        *fetch = lines_jwks_mark(jwks, entry, &number);
        entry->kid_due = ngx_current_msec + jwks->cooldown;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    if (number && jwks_begin(jwks, number) != NGX_OK) {
        return NGX_DECLINED;
    }

    return rc;
}


/* the mark was set: either a fetch begins, or it has failed */

static ngx_int_t
jwks_begin(lines_jwks_t *jwks, ngx_uint_t number)
{
    ngx_uint_t  changed;

    if (lines_jwks_fetch(jwks, number, jwks_fetched) == NGX_OK) {
        return NGX_OK;
    }

    lines_metrics_inc(jwks_fetches[LINES_METRICS_FETCH_ERROR]);

    (void) jwks_fetched(jwks, number, ngx_current_msec, NULL, &changed);

    return NGX_ERROR;
}


static ngx_int_t
jwks_fetched(lines_jwks_t *jwks, ngx_uint_t fetch, ngx_msec_t start,
    lines_jwk_set_t *set, ngx_uint_t *changed)
{
    ngx_int_t  rc;

    rc = lines_jwks_end(jwks, fetch, start, set, changed);

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "lines: \"lines_zone\" has no room for the keys "
                      "of \"%V\"", &jwks->issuer);
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines jwks: fetch %ui ended, set:%p rc:%i", fetch, set,
                   rc);

    /* requests go on from an event of their own: whoever began the fetch is
       not done yet */

    if (!ngx_queue_empty(&jwks->waiters)) {
        ngx_add_timer(&jwks->timer, 0);
    }

    return rc;
}


void
lines_jwks_status(lines_main_conf_t *lmcf, lines_jwks_status_t *status)
{
    ngx_uint_t           i;
    ngx_slab_pool_t     *shpool;
    lines_jwks_t       **jwks;
    lines_jwks_entry_t  *entry;

    ngx_memzero(status, sizeof(lines_jwks_status_t));

    if (lmcf->jwks == NULL) {
        return;
    }

    shpool = lines_zone_pool(lmcf);
    jwks = lmcf->jwks->elts;

    for (i = 0; i < lmcf->jwks->nelts; i++) {

        if (jwks[i]->uri.len == 0) {
            continue;
        }

        entry = jwks[i]->entry;

        if (entry == NULL) {
            status->missing++;
            continue;
        }

        ngx_shmtx_lock(&shpool->mutex);

        if (entry->generation) {
            status->known++;
            status->age = ngx_max(status->age, lines_jwks_age(entry));

        } else {
            status->missing++;
        }

        ngx_shmtx_unlock(&shpool->mutex);
    }
}


/* a copy of the zone's set becomes this worker's */

static ngx_int_t
jwks_adopt(lines_jwks_t *jwks)
{
    u_char              *buf;
    ngx_pool_t          *pool;
    ngx_pool_cleanup_t  *cln;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(pool, 0);

    if (cln == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    cln->data = ngx_pcalloc(pool,
                            LINES_JWK_MAX_KEYS * sizeof(lines_jwk_verifier_t));
    buf = cln->data ? lines_jwks_copy(jwks, pool) : NULL;

    if (buf == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    cln->handler = jwks_cleanup;

    if (jwks->pool) {
        ngx_destroy_pool(jwks->pool);
    }

    jwks->pool = pool;
    jwks->set = (lines_jwk_set_t *) buf;
    jwks->verifiers = cln->data;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines jwks: generation %ui of \"%V\"", jwks->generation,
                   &jwks->issuer);

    return NGX_OK;
}


static void
jwks_cleanup(void *data)
{
    lines_jwk_verifier_t *verifiers = data;

    ngx_uint_t  i;

    for (i = 0; i < LINES_JWK_MAX_KEYS; i++) {
        if (verifiers[i].key) {
            lines_jwk_verifier_destroy(&verifiers[i]);
        }
    }
}


lines_jwk_verifier_t *
lines_jwks_verifier(lines_jwks_t *jwks, lines_jwk_t *key)
{
    lines_jwk_verifier_t  *verifier;

    if (key->ordinal >= LINES_JWK_MAX_KEYS) {
        return NULL;
    }

    verifier = &jwks->verifiers[key->ordinal];

    if (verifier->key == NULL
        && lines_jwk_verifier_create(verifier, key) != NGX_OK)
    {
        ngx_memzero(verifier, sizeof(lines_jwk_verifier_t));
        return NULL;
    }

    return verifier;
}


void
lines_jwks_wait(lines_jwks_t *jwks, lines_jwks_waiter_t *waiter)
{
    waiter->waiting = 1;

    ngx_queue_insert_tail(&jwks->waiters, &waiter->queue);

    /* not cancelable: a worker that exits gracefully waits for its requests */

    if (!jwks->timer.timer_set) {
        ngx_add_timer(&jwks->timer, LINES_JWKS_POLL);
    }
}


void
lines_jwks_forget(lines_jwks_waiter_t *waiter)
{
    if (waiter->waiting) {
        waiter->waiting = 0;
        ngx_queue_remove(&waiter->queue);
    }
}


static void
jwks_poll(ngx_event_t *ev)
{
    lines_jwks_t *jwks = ev->data;

    jwks_wake(jwks);

    if (!ngx_queue_empty(&jwks->waiters) && !jwks->timer.timer_set) {
        ngx_add_timer(&jwks->timer, LINES_JWKS_POLL);
    }
}


static void
jwks_wake(lines_jwks_t *jwks)
{
    ngx_uint_t            begun, ended, marked;
    ngx_queue_t          *q, *next, ready;
    ngx_slab_pool_t      *shpool;
    lines_jwks_waiter_t  *waiter;

    shpool = lines_zone_pool(jwks->lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    lines_jwks_look(jwks->entry);

    begun = jwks->entry->begun;
    ended = jwks->entry->ended;
    marked = jwks->entry->marked;

    ngx_shmtx_unlock(&shpool->mutex);

    ngx_queue_init(&ready);

    for (q = ngx_queue_head(&jwks->waiters);
         q != ngx_queue_sentinel(&jwks->waiters);
         q = next)
    {
        next = ngx_queue_next(q);

        waiter = ngx_queue_data(q, lines_jwks_waiter_t, queue);

        /* a fetch that another configuration is to begin may not have been */

        if (ended >= waiter->fetch
            || (!marked && begun >= waiter->fetch)
            || lines_jwks_due(waiter->deadline))
        {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&ready, q);
        }
    }

    /* a request that goes on may end others, and itself */

    while (!ngx_queue_empty(&ready)) {

        q = ngx_queue_head(&ready);
        waiter = ngx_queue_data(q, lines_jwks_waiter_t, queue);

        lines_jwks_forget(waiter);

        waiter->handler(waiter->data);
    }
}


/* keys are kept fresh though nobody comes: what is revoked stays revoked */

static void
jwks_tick(ngx_event_t *ev)
{
    ngx_uint_t           i, number;
    ngx_slab_pool_t     *shpool;
    lines_jwks_t       **jwks;
    lines_jwks_entry_t  *entry;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    jwks = jwks_sources->elts;

    for (i = 0; i < jwks_sources->nelts; i++) {

        entry = jwks[i]->entry;

        if (entry == NULL) {
            continue;
        }

        number = jwks[i]->first;
        jwks[i]->first = 0;

        shpool = lines_zone_pool(jwks[i]->lmcf);

        ngx_shmtx_lock(&shpool->mutex);

        lines_jwks_look(entry);

        if (lines_jwks_wanted(jwks[i], entry)) {
            (void) lines_jwks_mark(jwks[i], entry, &number);
        }

        ngx_shmtx_unlock(&shpool->mutex);

        if (number) {
            (void) jwks_begin(jwks[i], number);
        }
    }

    ngx_add_timer(ev, jwks_interval);
}
