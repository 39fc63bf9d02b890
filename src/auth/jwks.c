
#include "auth/jwks.h"
#include "http/carrier.h"
#include "http/metrics.h"
#include "http/zone.h"


/* how soon waiting requests look at what another worker does */
#define LINES_JWKS_POLL   20

/* how often a worker looks whether a fetch is due */
#define LINES_JWKS_TICK   1000

/* after a failure: doubled with each, up to the cool-down; without any keys
   nobody can be served, and the issuer is asked each second */
#define LINES_JWKS_RETRY  1000

/*
 * Put aside while the zone is empty: others may fill it, and then neither a
 * rotation nor an issuer that comes with a reload may fail for want of room.
 * A key of 2048 bits takes some 300 bytes.
 */
#define LINES_JWKS_SPARE  8
#define LINES_JWKS_ROOM   4000    /* of a slot: an entry and its two slots
                                     take two pages */

#define LINES_JWKS_SET_MAX  lines_jwk_set_room(LINES_JWK_MAX_DOCUMENT)


#define jwks_due(when) \
    ((ngx_msec_int_t) (ngx_current_msec - (when)) >= 0)

/* by the clock of any worker: it stands while that is busy */
#define jwks_at_once()  (ngx_current_msec - LINES_JWKS_MARK)

/* unless its worker is late or dead */
#define jwks_running(entry) \
    ((entry)->begun != (entry)->ended && !jwks_due((entry)->mark))

#define jwks_lock(jwks) \
    ngx_shmtx_lock(&lines_zone_pool((jwks)->lmcf)->mutex)
#define jwks_unlock(jwks) \
    ngx_shmtx_unlock(&lines_zone_pool((jwks)->lmcf)->mutex)


/* one fetch, on a carrier: the client whose token needs the keys may leave, and
   others wait for them */

typedef struct {
    lines_jwks_t     *jwks;
    ngx_uint_t        number;
    ngx_msec_t        start;
    lines_carrier_t  *carrier;
} jwks_fetch_t;


/* with the zone locked, or not shared yet */

static lines_jwks_entry_t *
jwks_create(ngx_slab_pool_t *shpool, ngx_queue_t *entries)
{
    ngx_uint_t           i;
    lines_jwks_entry_t  *entry;

    entry = ngx_slab_calloc_locked(shpool, sizeof(lines_jwks_entry_t)
                                           + 2 * LINES_JWKS_ROOM);
    if (entry == NULL) {
        return NULL;
    }

    for (i = 0; i < 2; i++) {
        entry->slots[i].room = LINES_JWKS_ROOM;
        entry->slots[i].set = (lines_jwk_set_t *)
                              ((u_char *) (entry + 1) + i * LINES_JWKS_ROOM);
    }

    ngx_queue_insert_tail(entries, &entry->queue);

    return entry;
}


/* the area is the queue of all entries */

void *
lines_jwks_init_area(ngx_slab_pool_t *shpool)
{
    ngx_uint_t    i;
    ngx_queue_t  *entries;

    entries = ngx_slab_alloc(shpool, sizeof(ngx_queue_t));
    if (entries == NULL) {
        return NULL;
    }

    ngx_queue_init(entries);

    for (i = 0; i < LINES_JWKS_SPARE; i++) {
        if (jwks_create(shpool, entries) == NULL) {
            return NULL;
        }
    }

    return entries;
}


/* what was made of the set; a cleanup's handler, too */

static void
jwks_drop(void *data)
{
    lines_jwks_t *jwks = data;

    ngx_uint_t  i;

    for (i = 0; jwks->verifiers && i < LINES_JWK_MAX_KEYS; i++) {
        lines_jwk_verifier_destroy(&jwks->verifiers[i]);
    }
}


/*
 * Finds or makes jwks->entry.  What the location leads to may have changed
 * with the configuration: whichever worker of a new one comes here first has
 * the keys fetched, so that they are known before the first client comes, and
 * what an older configuration is fetching is of no use.  The others, and one
 * that takes the place of a dead worker, do not: a node asks once.
 */

static ngx_int_t
jwks_enter(lines_jwks_t *jwks)
{
    ngx_queue_t         *q, *entries;
    ngx_slab_pool_t     *shpool;
    lines_jwks_entry_t  *entry, *spare;

    entries = lines_zone_area(jwks->lmcf, LINES_ZONE_JWKS);
    shpool = lines_zone_pool(jwks->lmcf);
    spare = NULL;

    ngx_shmtx_lock(&shpool->mutex);

    for (q = ngx_queue_head(entries);
         q != ngx_queue_sentinel(entries);
         q = ngx_queue_next(q))
    {
        entry = ngx_queue_data(q, lines_jwks_entry_t, queue);

        if (ngx_memcmp(entry->id, jwks->id, LINES_SHA256_LEN) == 0) {
            goto found;
        }

        if (entry->configured == 0) {
            spare = entry;
        }
    }

    entry = spare ? spare : jwks_create(shpool, entries);

    if (entry == NULL) {
        ngx_shmtx_unlock(&shpool->mutex);
        return NGX_ERROR;
    }

    ngx_memcpy(entry->id, jwks->id, LINES_SHA256_LEN);
    entry->kid_due = ngx_current_msec;

found:

    jwks->entry = entry;

    /* a worker that is slow to start may come after those of a newer one */

    if (entry->configured < jwks->lmcf->configured) {
        entry->configured = jwks->lmcf->configured;
        entry->due = jwks_at_once();
        entry->ended = ++entry->begun;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return NGX_OK;
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


/* NGX_ERROR: the zone has no room, the old set stays */

static ngx_int_t
jwks_store(ngx_slab_pool_t *shpool, lines_jwks_entry_t *entry,
    lines_jwk_set_t *set)
{
    lines_jwk_set_t    *p, *known;
    lines_jwks_slot_t  *slot;

    /* the same keys once more: what was verified by them stays so */

    known = entry->slots[entry->current].set;

    if (entry->generation
        && known->size == set->size
        && ngx_memcmp(known, set, set->size) == 0)
    {
        return NGX_OK;
    }

    slot = &entry->slots[!entry->current];

    if (set->size > slot->room) {

        p = ngx_slab_alloc_locked(shpool, set->size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (slot->room > LINES_JWKS_ROOM) {
            ngx_slab_free_locked(shpool, slot->set);
        }

        slot->set = p;
        slot->room = set->size;
    }

    ngx_memcpy(slot->set, set, set->size);

    entry->current = !entry->current;
    entry->generation++;

    return NGX_OK;
}


/*
 * With a set, or without: outcome is what is counted then.  Flag: the set is
 * not the one known so far, or this is the first failure in a row.
 */

static ngx_uint_t
jwks_end(lines_jwks_t *jwks, ngx_uint_t number, ngx_msec_t start,
    lines_jwk_set_t *set, ngx_uint_t outcome)
{
    ngx_int_t            rc;
    ngx_msec_t           delay;
    ngx_uint_t           changed, generation;
    ngx_slab_pool_t     *shpool;
    lines_jwks_entry_t  *entry;

    entry = jwks->entry;
    shpool = lines_zone_pool(jwks->lmcf);
    changed = 0;

    /* where another was begun since, this one's result is of no use */

    rc = NGX_DECLINED;

    ngx_shmtx_lock(&shpool->mutex);

    generation = entry->generation;

    if (entry->begun == number) {
        entry->ended = number;

        rc = set ? jwks_store(shpool, entry, set) : NGX_OK;

        if (set && rc == NGX_OK) {
            entry->fetched = start;
            entry->fails = 0;
            entry->due = start + jwks->ttl / 4 * 3;

        } else {
            changed = (entry->fails == 0);
            delay = LINES_JWKS_RETRY;

            if (generation) {
                delay <<= ngx_min(entry->fails, 16);
                delay = ngx_min(delay, jwks->cooldown);
            }

            entry->fails++;
            entry->due = ngx_current_msec + delay;
        }

        changed |= (entry->generation != generation);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "lines: \"lines_zone\" has no room for the keys "
                      "of \"%V\"", &jwks->issuer);

    } else if (set) {
        outcome = LINES_METRICS_FETCH_OK;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines jwks: fetch %ui ended, set:%p rc:%i", number, set,
                   rc);

    lines_metrics_inc(jwks_fetches[outcome]);

    /* requests go on from an event of their own: whoever began the fetch is
       not done yet */

    if (!ngx_queue_empty(&jwks->waiters)) {
        ngx_add_timer(&jwks->timer, 0);
    }

    return changed;
}


static void
jwks_answered(void *data, lines_result_t *result)
{
    jwks_fetch_t *fetch = data;

    const void          *why;
    u_char              *buf, status[sizeof("status ") + NGX_INT_T_LEN];
    ngx_int_t            rc;
    ngx_log_t           *log;
    ngx_str_t           *issuer;
    ngx_uint_t           outcome;
    lines_jwk_set_t     *set;
    lines_jwk_report_t   report;

    log = fetch->carrier->log;
    issuer = &fetch->jwks->issuer;

    rc = NGX_ERROR;
    set = NULL;
    report.skipped = 0;

    if (result->transport != LINES_COMPLETE) {
        why = "no whole answer";

    } else if (result->status != NGX_HTTP_OK) {
        (void) ngx_sprintf(status, "status %ui%Z", result->status);
        why = status;

    } else if (result->body.len <= LINES_JWK_MAX_DOCUMENT
               && !lines_jwk_is_document(&result->body))
    {
        /* what a server says is never taken for a PEM file */

        rc = NGX_DECLINED;
        why = "not-json";

    } else {
        buf = ngx_palloc(fetch->carrier->pool,
                         lines_jwk_set_room(result->body.len));
        if (buf) {
            rc = lines_jwk_parse(&result->body, buf, &set, &report);
        }

        why = (rc == NGX_DECLINED) ? report.error : "no memory";
    }

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "lines: keys of \"%V\" are not to be had: %s", issuer,
                      why);
    }

    outcome = (rc == NGX_DECLINED) ? LINES_METRICS_FETCH_INVALID
                                   : LINES_METRICS_FETCH_ERROR;

    if (jwks_end(fetch->jwks, fetch->number, fetch->start, set, outcome)) {

        if (set) {
            ngx_log_error(NGX_LOG_NOTICE, log, 0,
                          "lines: \"%V\" has %uD keys, %ui skipped", issuer,
                          set->nkeys, report.skipped);
        }

        lines_jwks_report(log, issuer, &report);
    }

    lines_carrier_destroy(fetch->carrier);
}


/* what comes of it is written to jwks->entry, and who waits for it is woken,
   later */

static void
jwks_fetch(lines_jwks_t *jwks, ngx_uint_t number)
{
    ngx_str_t            id = ngx_string("jwks");
    jwks_fetch_t        *fetch;
    lines_carrier_t     *carrier;
    ngx_keyval_t         accept = {
        ngx_string("Accept"), ngx_string("application/json")
    };

    carrier = lines_carrier_create(jwks->lmcf, &id, ngx_cycle->log);
    if (carrier == NULL) {
        goto failed;
    }

    fetch = ngx_palloc(carrier->pool, sizeof(jwks_fetch_t));
    if (fetch == NULL) {
        goto failed;
    }

    *fetch = (jwks_fetch_t) { jwks, number, ngx_current_msec, carrier };

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, carrier->log, 0,
                   "lines jwks: fetch %ui of \"%V\"", number, &jwks->issuer);

    if (lines_carrier_call(carrier,
                           &(lines_call_t) { .method = NGX_HTTP_GET,
                                             .uri = jwks->uri,
                                             .headers = &accept,
                                             .nheaders = 1,
                                             .timeout = LINES_JWKS_TIMEOUT },
                           jwks_answered, fetch)
        == NGX_AGAIN)
    {
        return;
    }

failed:

    if (carrier) {
        lines_carrier_destroy(carrier);
    }

    (void) jwks_end(jwks, number, 0, NULL, LINES_METRICS_FETCH_ERROR);
}


/*
 * Keys are kept fresh though nobody comes: what is revoked stays revoked.  A
 * worker that leaves asks for those only who wait.
 */

static void
jwks_tick(ngx_event_t *ev)
{
    lines_jwks_t *jwks = ev->data;

    ngx_uint_t            ended, number;
    ngx_msec_t            interval;
    ngx_queue_t          *q, all;
    lines_jwks_entry_t   *entry;
    lines_jwks_waiter_t  *waiter;

    number = 0;
    entry = jwks->entry;

    jwks_lock(jwks);

    /*
     * A fetch that another configuration is to begin may not have been; where
     * none is due any more, one that was late has brought the keys.
     */

    ended = jwks_running(entry) ? entry->ended
            : jwks_due(entry->due) ? entry->begun : (ngx_uint_t) -1;

    if (!jwks_running(entry)
        && jwks_due(entry->due)
        && entry->configured == jwks->lmcf->configured
        && (!(ngx_exiting || ngx_quit || ngx_terminate)
            || !ngx_queue_empty(&jwks->waiters)))
    {
        number = ++entry->begun;
        entry->mark = ngx_current_msec + LINES_JWKS_MARK;
    }

    jwks_unlock(jwks);

    if (number) {
        jwks_fetch(jwks, number);
    }

    /* a request that goes on may end others, and itself */

    ngx_queue_init(&all);
    ngx_queue_add(&all, &jwks->waiters);
    ngx_queue_init(&jwks->waiters);

    while (!ngx_queue_empty(&all)) {

        q = ngx_queue_head(&all);
        waiter = ngx_queue_data(q, lines_jwks_waiter_t, queue);

        if (ended >= waiter->fetch || jwks_due(waiter->deadline)) {
            lines_jwks_forget(waiter);
            waiter->handler(waiter);

        } else {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&jwks->waiters, q);
        }
    }

    interval = ngx_max(jwks->ttl / 16, 50);

    jwks_arm(jwks, ngx_min(interval, LINES_JWKS_TICK));
}


ngx_int_t
lines_jwks_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    ngx_uint_t            i;
    lines_jwks_t        **all, *jwks;
    ngx_pool_cleanup_t   *cln;

    for (i = 0; lmcf->jwks && i < lmcf->jwks->nelts; i++) {

        all = lmcf->jwks->elts;
        jwks = all[i];

        cln = ngx_pool_cleanup_add(cycle->pool, 0);
        if (cln == NULL) {
            return NGX_ERROR;
        }

        cln->handler = jwks_drop;
        cln->data = jwks;

        jwks->lmcf = lmcf;
        jwks->verifiers = ngx_pcalloc(cycle->pool,
                            LINES_JWK_MAX_KEYS * sizeof(lines_jwk_verifier_t));

        if (jwks->verifiers == NULL) {
            return NGX_ERROR;
        }

        if (jwks->uri.len == 0) {
            continue;
        }

        /* most of it is never touched */

        jwks->set = ngx_palloc(cycle->pool, LINES_JWKS_SET_MAX);
        if (jwks->set == NULL) {
            return NGX_ERROR;
        }

        ngx_queue_init(&jwks->waiters);

        jwks->timer.handler = jwks_tick;
        jwks->timer.data = jwks;
        jwks->timer.log = cycle->log;

        if (jwks_enter(jwks) != NGX_OK) {
            ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                          "lines: \"lines_zone\" has no room for the keys "
                          "of \"%V\"", &jwks->issuer);
            continue;
        }

        jwks_arm(jwks, 1);
    }

    return NGX_OK;
}


/* a copy of the zone's set becomes this worker's */

static ngx_int_t
jwks_adopt(lines_jwks_t *jwks)
{
    size_t               size;
    lines_jwk_set_t     *from;
    lines_jwks_entry_t  *entry;

    entry = jwks->entry;

    jwks_drop(jwks);

    jwks_lock(jwks);

    from = entry->slots[entry->current].set;
    size = ngx_min(from->size, LINES_JWKS_SET_MAX);
    ngx_memcpy(jwks->set, from, size);
    jwks->generation = entry->generation;

    jwks_unlock(jwks);

    if (!lines_jwk_set_valid(jwks->set, size)) {
        jwks->generation = 0;
        return NGX_ERROR;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines jwks: generation %ui of \"%V\"", jwks->generation,
                   &jwks->issuer);

    return NGX_OK;
}


/*
 * A fetch that is due is begun by the timer.  Workers of an old configuration,
 * whose issuer may be another, have those of the new one ask.
 */

ngx_int_t
lines_jwks_current(lines_jwks_t *jwks, lines_jwks_waiter_t *waiter)
{
    ngx_uint_t           generation, usable, running, due, fresh;
    ngx_msec_t           age;
    lines_jwks_entry_t  *entry;

    if (jwks->uri.len == 0) {
        return NGX_OK;
    }

    if (jwks->entry == NULL) {
        return NGX_DECLINED;
    }

    entry = jwks->entry;

    jwks_lock(jwks);

    age = lines_zone_since(entry->fetched);
    generation = entry->generation;
    usable = (generation != 0 && age < ngx_max(jwks->stale, jwks->ttl));

    /* old keys are for an issuer that cannot be asked */

    fresh = (age < jwks->ttl || entry->fails);
    running = jwks_running(entry);

    /* their age alone is no affair of an old configuration's */

    due = !running
          && jwks_due(entry->due)
          && (!usable || entry->configured == jwks->lmcf->configured);

    waiter->fetch = entry->begun + due;

    jwks_unlock(jwks);

    if (waiter->since == 0) {
        waiter->since = waiter->fetch;
    }

    if (due) {
        jwks_arm(jwks, 0);
    }

    if ((due || running) && !(usable && fresh)) {
        return NGX_AGAIN;
    }

    if (!usable) {
        return NGX_DECLINED;
    }

    return (generation == jwks->generation) ? NGX_OK : jwks_adopt(jwks);
}


ngx_int_t
lines_jwks_refetch(lines_jwks_t *jwks, lines_jwks_waiter_t *waiter)
{
    ngx_int_t            rc;
    ngx_uint_t           running;
    lines_jwks_entry_t  *entry;

    if (jwks->uri.len == 0) {
        return NGX_DECLINED;
    }

    rc = NGX_AGAIN;
    entry = jwks->entry;

    jwks_lock(jwks);

    running = jwks_running(entry);
    waiter->fetch = entry->begun + !running;

    if (running || jwks_due(entry->due)) {

        /* what is under way may have been asked for before the key was made:
           it is looked at, and if need be asked again */

    } else if (entry->ended > waiter->since || !jwks_due(entry->kid_due)) {
        rc = NGX_DECLINED;

    } else {
        entry->due = jwks_at_once();
        entry->kid_due = ngx_current_msec + jwks->cooldown;
    }

    jwks_unlock(jwks);

    if (rc == NGX_AGAIN && !running) {
        jwks_arm(jwks, 0);
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
    lines_jwks_state_e    state;

    ngx_memzero(status, sizeof(lines_jwks_status_t));

    for (i = 0; lmcf->jwks && i < lmcf->jwks->nelts; i++) {

        jwks = lmcf->jwks->elts;
        entry = jwks[i]->entry;

        if (jwks[i]->uri.len == 0) {
            continue;
        }

        if (entry && entry->generation) {
            state = entry->fails ? LINES_JWKS_STALE : LINES_JWKS_OK;

            age = lines_zone_since(entry->fetched);

            status->known++;
            status->age = ngx_max(status->age, age);

        } else {
            state = (entry && entry->fails) ? LINES_JWKS_UNREACHABLE
                                            : LINES_JWKS_UNKNOWN;
            status->missing++;
        }

        status->worst = ngx_max(status->worst, state);
    }
}


ngx_int_t
lines_jwks_wait(lines_jwks_t *jwks, lines_jwks_waiter_t *waiter)
{
    if (waiter->deadline == 0) {
        waiter->deadline = ngx_current_msec + LINES_JWKS_WAIT;

    } else if (jwks_due(waiter->deadline)) {
        return NGX_DECLINED;
    }

    waiter->waiting = 1;

    ngx_queue_insert_tail(&jwks->waiters, &waiter->queue);

    jwks_arm(jwks, LINES_JWKS_POLL);

    return NGX_AGAIN;
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


void
lines_jwks_report(ngx_log_t *log, ngx_str_t *source,
    lines_jwk_report_t *report)
{
    ngx_uint_t  i;

    for (i = 0; i < report->skipped && i < LINES_JWK_MAX_REPORTED; i++) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "lines: key %ui of \"%V\" is skipped: %s",
                      report->skips[i].key, source, report->skips[i].reason);
    }

    if (report->skipped > i) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "lines: %ui more keys of \"%V\" are skipped",
                      report->skipped - i, source);
    }
}
