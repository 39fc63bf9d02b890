
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "auth/jwks_fetch.h"
#include "http/carrier.h"
#include "http/metrics.h"


/* after a failure: doubled with each, up to the cool-down; without any keys
   nobody can be served, and the issuer is asked each second */
#define LINES_JWKS_RETRY  1000


typedef struct {
    lines_jwks_t     *jwks;
    ngx_uint_t        number;
    ngx_msec_t        start;
    lines_carrier_t  *carrier;
} lines_jwks_fetch_t;


static void jwks_answered(void *data, lines_result_t *result);
static ngx_int_t jwks_end(lines_jwks_t *jwks, ngx_uint_t number,
    ngx_msec_t start, lines_jwk_set_t *set, ngx_uint_t *changed);
static ngx_int_t jwks_store(ngx_slab_pool_t *shpool, lines_jwks_entry_t *entry,
    lines_jwk_set_t *set, ngx_uint_t *changed);


ngx_int_t
lines_jwks_fetch(lines_jwks_t *jwks, ngx_uint_t number)
{
    ngx_str_t            id = ngx_string("jwks");
    ngx_uint_t           changed;
    lines_call_t         call;
    lines_carrier_t     *carrier;
    lines_jwks_fetch_t  *fetch;
    lines_call_header_t  accept = {
        ngx_string("Accept"), ngx_string("application/json")
    };

    carrier = lines_carrier_create(jwks->lmcf, &id, ngx_cycle->log);
    if (carrier == NULL) {
        goto failed;
    }

    fetch = ngx_palloc(carrier->pool, sizeof(lines_jwks_fetch_t));
    if (fetch == NULL) {
        goto failed;
    }

    fetch->jwks = jwks;
    fetch->number = number;
    fetch->start = ngx_current_msec;
    fetch->carrier = carrier;

    ngx_memzero(&call, sizeof(lines_call_t));

    call.method = NGX_HTTP_GET;
    call.uri = jwks->uri;
    call.headers = &accept;
    call.nheaders = 1;
    call.timeout = LINES_JWKS_TIMEOUT;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, carrier->log, 0,
                   "lines jwks: fetch %ui of \"%V\"", number, &jwks->issuer);

    if (lines_carrier_call(carrier, &call, jwks_answered, fetch) == NGX_AGAIN)
    {
        return NGX_OK;
    }

failed:

    if (carrier) {
        lines_carrier_destroy(carrier);
    }

    lines_metrics_inc(jwks_fetches[LINES_METRICS_FETCH_ERROR]);

    (void) jwks_end(jwks, number, ngx_current_msec, NULL, &changed);

    return NGX_ERROR;
}


static void
jwks_answered(void *data, lines_result_t *result)
{
    lines_jwks_fetch_t *fetch = data;

    u_char              *buf;
    ngx_int_t            rc;
    ngx_log_t           *log;
    ngx_str_t           *issuer;
    const char          *why;
    ngx_uint_t           changed, outcome;
    lines_jwk_set_t     *set;
    lines_jwk_report_t   report;

    log = fetch->carrier->log;
    issuer = &fetch->jwks->issuer;

    buf = NULL;
    set = NULL;
    why = NULL;
    report.skipped = 0;
    outcome = LINES_METRICS_FETCH_ERROR;

    if (result->transport != LINES_COMPLETE) {
        why = "no whole answer";

    } else if (result->status != NGX_HTTP_OK) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "lines: keys of \"%V\" are not to be had: status %ui",
                      issuer, result->status);

    } else if (result->body.len <= LINES_JWK_MAX_DOCUMENT
               && !lines_jwk_is_document(&result->body))
    {
        /* what a server says is never taken for a PEM file */

        outcome = LINES_METRICS_FETCH_INVALID;
        why = "not-json";

    } else {
        buf = ngx_alloc(lines_jwk_set_room(result->body.len), log);

        rc = buf ? lines_jwk_parse(&result->body, buf, &set, &report)
                 : NGX_ERROR;

        if (rc == NGX_DECLINED) {
            outcome = LINES_METRICS_FETCH_INVALID;
            why = (char *) report.error.data;

        } else if (rc != NGX_OK) {
            why = "no memory";
        }
    }

    if (why) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "lines: keys of \"%V\" are not to be had: %s", issuer,
                      why);
    }

    rc = jwks_end(fetch->jwks, fetch->number, fetch->start, set, &changed);

    if (set && rc != NGX_ERROR) {
        outcome = LINES_METRICS_FETCH_OK;
    }

    lines_metrics_inc(jwks_fetches[outcome]);

    if (changed) {

        if (set) {
            ngx_log_error(NGX_LOG_NOTICE, log, 0,
                          "lines: \"%V\" has %uD keys, %ui skipped", issuer,
                          set->nkeys, report.skipped);
        }

        lines_jwks_report(log, issuer, &report);
    }

    if (buf) {
        ngx_free(buf);
    }

    lines_carrier_destroy(fetch->carrier);
}


/*
 * With a set or without.  *changed, a flag: the set is not the one known so
 * far, or this is the first failure in a row.  NGX_DECLINED: another fetch was
 * begun since, this one's result is of no use.  NGX_ERROR: the zone has no
 * room, the old set stays.
 */

static ngx_int_t
jwks_end(lines_jwks_t *jwks, ngx_uint_t number, ngx_msec_t start,
    lines_jwk_set_t *set, ngx_uint_t *changed)
{
    ngx_int_t            rc;
    ngx_msec_t           delay;
    ngx_slab_pool_t     *shpool;
    lines_jwks_entry_t  *entry;

    *changed = 0;

    entry = jwks->entry;
    shpool = lines_zone_pool(jwks->lmcf);

    ngx_shmtx_lock(&shpool->mutex);

    rc = NGX_DECLINED;

    if (entry->begun != number) {
        goto done;
    }

    entry->marked = 0;
    entry->ended = number;

    rc = set ? jwks_store(shpool, entry, set, changed) : NGX_OK;

    if (set && rc == NGX_OK) {
        entry->fetched = start;
        entry->fails = 0;
        entry->due = start + jwks->ttl / 4 * 3;

        goto done;
    }

    *changed = (entry->fails == 0);

    delay = LINES_JWKS_RETRY;

    if (entry->generation) {
        delay <<= ngx_min(entry->fails, 16);
        delay = ngx_min(delay, jwks->cooldown);
    }

    entry->fails++;
    entry->due = ngx_current_msec + delay;

done:

    ngx_shmtx_unlock(&shpool->mutex);

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "lines: \"lines_zone\" has no room for the keys "
                      "of \"%V\"", &jwks->issuer);
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines jwks: fetch %ui ended, set:%p rc:%i", number, set,
                   rc);

    /* requests go on from an event of their own: whoever began the fetch is
       not done yet */

    if (!ngx_queue_empty(&jwks->waiters)) {
        ngx_add_timer(&jwks->timer, 0);
    }

    return rc;
}


static ngx_int_t
jwks_store(ngx_slab_pool_t *shpool, lines_jwks_entry_t *entry,
    lines_jwk_set_t *set, ngx_uint_t *changed)
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

        ngx_slab_free_locked(shpool, slot->set);

        slot->set = p;
        slot->room = set->size;
    }

    ngx_memcpy(slot->set, set, set->size);

    entry->current = !entry->current;
    entry->generation++;

    *changed = 1;

    return NGX_OK;
}


void
lines_jwks_report(ngx_log_t *log, ngx_str_t *source,
    lines_jwk_report_t *report)
{
    ngx_uint_t  i;

    for (i = 0; i < report->skipped && i < LINES_JWK_MAX_REPORTED; i++) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "lines: key %ui of \"%V\" is skipped: %V",
                      report->skips[i].key, source, &report->skips[i].reason);
    }

    if (report->skipped > i) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "lines: %ui more keys of \"%V\" are skipped",
                      report->skipped - i, source);
    }
}
