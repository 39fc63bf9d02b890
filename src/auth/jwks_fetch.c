
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/jwk.h"
#include "auth/jwks_fetch.h"
#include "http/carrier.h"
#include "http/metrics.h"


typedef struct {
    lines_jwks_t           *jwks;
    ngx_uint_t              number;
    ngx_msec_t              start;
    lines_carrier_t        *carrier;
    lines_jwks_fetched_pt   fetched;
} lines_jwks_fetch_t;


static void jwks_answered(void *data, lines_result_t *result);
static ngx_uint_t jwks_failed(lines_jwks_fetch_t *fetch, ngx_uint_t outcome,
    const char *why, ngx_uint_t status);
static void jwks_read_set(lines_jwks_fetch_t *fetch, ngx_str_t *body);


ngx_int_t
lines_jwks_fetch(lines_jwks_t *jwks, ngx_uint_t number,
    lines_jwks_fetched_pt fetched)
{
    ngx_str_t            id = ngx_string("jwks");
    lines_call_t         call;
    lines_carrier_t     *carrier;
    lines_jwks_fetch_t  *fetch;
    lines_call_header_t   accept = {
        ngx_string("Accept"), ngx_string("application/json")
    };

    carrier = lines_carrier_create(jwks->lmcf, &id, ngx_cycle->log);
    if (carrier == NULL) {
        return NGX_ERROR;
    }

    fetch = ngx_palloc(carrier->pool, sizeof(lines_jwks_fetch_t));

    if (fetch == NULL) {
        lines_carrier_destroy(carrier);
        return NGX_ERROR;
    }

    fetch->jwks = jwks;
    fetch->number = number;
    fetch->fetched = fetched;
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

    if (lines_carrier_call(carrier, &call, jwks_answered, fetch) != NGX_AGAIN)
    {
        lines_carrier_destroy(carrier);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
jwks_answered(void *data, lines_result_t *result)
{
    lines_jwks_fetch_t *fetch = data;

    if (result->transport != LINES_COMPLETE) {
        (void) jwks_failed(fetch, LINES_METRICS_FETCH_ERROR, "no whole answer",
                           0);

    } else if (result->status != NGX_HTTP_OK) {
        (void) jwks_failed(fetch, LINES_METRICS_FETCH_ERROR, "status",
                           result->status);

    } else if (result->body.len > LINES_JWK_MAX_DOCUMENT) {
        (void) jwks_failed(fetch, LINES_METRICS_FETCH_INVALID,
                           "document-too-large", 0);

    } else if (!lines_jwk_is_document(&result->body)) {

        /* what a server says is never taken for a PEM file */

        (void) jwks_failed(fetch, LINES_METRICS_FETCH_INVALID, "not-json", 0);

    } else {
        jwks_read_set(fetch, &result->body);
    }

    lines_carrier_destroy(fetch->carrier);
}


/* flag: the first failure in a row */

static ngx_uint_t
jwks_failed(lines_jwks_fetch_t *fetch, ngx_uint_t outcome, const char *why,
    ngx_uint_t status)
{
    ngx_uint_t  changed;

    lines_metrics_inc(jwks_fetches[outcome]);

    if (status) {
        ngx_log_error(NGX_LOG_ERR, fetch->carrier->log, 0,
                      "lines: keys of \"%V\" are not to be had: %s %ui",
                      &fetch->jwks->issuer, why, status);
    } else {
        ngx_log_error(NGX_LOG_ERR, fetch->carrier->log, 0,
                      "lines: keys of \"%V\" are not to be had: %s",
                      &fetch->jwks->issuer, why);
    }

    (void) fetch->fetched(fetch->jwks, fetch->number, fetch->start, NULL,
                          &changed);

    return changed;
}


static void
jwks_read_set(lines_jwks_fetch_t *fetch, ngx_str_t *body)
{
    u_char             *buf;
    ngx_int_t           rc;
    const char         *why;
    ngx_uint_t          changed, outcome;
    lines_jwk_set_t    *set;
    lines_jwk_report_t  report;

    buf = ngx_alloc(lines_jwk_set_room(body->len), fetch->carrier->log);

    if (buf == NULL) {
        (void) jwks_failed(fetch, LINES_METRICS_FETCH_ERROR, "no memory", 0);
        return;
    }

    rc = lines_jwk_parse(body, buf, &set, &report);

    if (rc != NGX_OK) {

        if (rc == NGX_DECLINED) {
            outcome = LINES_METRICS_FETCH_INVALID;
            why = (char *) report.error.data;

        } else {
            outcome = LINES_METRICS_FETCH_ERROR;
            why = "no memory";
        }

        if (jwks_failed(fetch, outcome, why, 0)) {
            lines_jwks_report(fetch->carrier->log, NGX_LOG_WARN,
                              &fetch->jwks->issuer, &report);
        }

        ngx_free(buf);
        return;
    }

    rc = fetch->fetched(fetch->jwks, fetch->number, fetch->start, set, &changed);

    outcome = (rc == NGX_ERROR)
              ? LINES_METRICS_FETCH_ERROR
              : LINES_METRICS_FETCH_OK;

    lines_metrics_inc(jwks_fetches[outcome]);

    if (changed) {
        ngx_log_error(NGX_LOG_NOTICE, fetch->carrier->log, 0,
                      "lines: \"%V\" has %uD keys, %ui skipped",
                      &fetch->jwks->issuer, set->nkeys, report.skipped);

        lines_jwks_report(fetch->carrier->log, NGX_LOG_WARN,
                          &fetch->jwks->issuer, &report);
    }

    ngx_free(buf);
}


void
lines_jwks_report(ngx_log_t *log, ngx_uint_t level, ngx_str_t *source,
    lines_jwk_report_t *report)
{
    ngx_uint_t  i;

    for (i = 0; i < report->skipped && i < LINES_JWK_MAX_REPORTED; i++) {
        ngx_log_error(level, log, 0, "lines: key %ui of \"%V\" is skipped: %V",
                      report->skips[i].key, source, &report->skips[i].reason);
    }

    if (report->skipped > i) {
        ngx_log_error(level, log, 0,
                      "lines: %ui more keys of \"%V\" are skipped",
                      report->skipped - i, source);
    }
}
