
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_jwks_fetch.h"
#include "ngx_http_lines_carrier.h"
#include "ngx_http_lines_metrics.h"


typedef struct {
    ngx_http_lines_jwks_t      *jwks;
    ngx_uint_t                  number;
    ngx_msec_t                  start;
    ngx_http_lines_carrier_t   *carrier;
} ngx_http_lines_jwks_fetch_t;


static void ngx_http_lines_jwks_answered(void *data,
    ngx_http_lines_result_t *result);
static ngx_uint_t ngx_http_lines_jwks_failed(
    ngx_http_lines_jwks_fetch_t *fetch, ngx_uint_t outcome, const char *why,
    ngx_uint_t status);
static void ngx_http_lines_jwks_read_set(ngx_http_lines_jwks_fetch_t *fetch,
    ngx_str_t *body);
static ngx_uint_t ngx_http_lines_jwks_is_object(ngx_str_t *body);


ngx_int_t
ngx_http_lines_jwks_fetch(ngx_http_lines_jwks_t *jwks, ngx_uint_t number)
{
    ngx_str_t                      id = ngx_string("jwks");
    ngx_http_lines_call_t          call;
    ngx_http_lines_carrier_t      *carrier;
    ngx_http_lines_jwks_fetch_t   *fetch;
    ngx_http_lines_call_header_t   accept = {
        ngx_string("Accept"), ngx_string("application/json")
    };

    carrier = ngx_http_lines_carrier_create(jwks->lmcf, &id, ngx_cycle->log);
    if (carrier == NULL) {
        return NGX_ERROR;
    }

    fetch = ngx_palloc(carrier->pool, sizeof(ngx_http_lines_jwks_fetch_t));

    if (fetch == NULL) {
        ngx_http_lines_carrier_destroy(carrier);
        return NGX_ERROR;
    }

    fetch->jwks = jwks;
    fetch->number = number;
    fetch->start = ngx_current_msec;
    fetch->carrier = carrier;

    ngx_memzero(&call, sizeof(ngx_http_lines_call_t));

    call.method = NGX_HTTP_GET;
    call.uri = jwks->uri;
    call.headers = &accept;
    call.nheaders = 1;
    call.timeout = NGX_HTTP_LINES_JWKS_TIMEOUT;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, carrier->log, 0,
                   "lines jwks: fetch %ui of \"%V\"", number, &jwks->issuer);

    if (ngx_http_lines_carrier_call(carrier, &call,
                                    ngx_http_lines_jwks_answered, fetch)
        != NGX_AGAIN)
    {
        ngx_http_lines_carrier_destroy(carrier);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_lines_jwks_answered(void *data, ngx_http_lines_result_t *result)
{
    ngx_http_lines_jwks_fetch_t *fetch = data;

    if (result->transport != NGX_HTTP_LINES_COMPLETE) {
        (void) ngx_http_lines_jwks_failed(fetch,
                                          NGX_HTTP_LINES_METRICS_FETCH_ERROR,
                                          "no whole answer", 0);

    } else if (result->status != NGX_HTTP_OK) {
        (void) ngx_http_lines_jwks_failed(fetch,
                                          NGX_HTTP_LINES_METRICS_FETCH_ERROR,
                                          "status", result->status);

    } else if (result->body.len > NGX_LINES_JWK_MAX_DOCUMENT) {
        (void) ngx_http_lines_jwks_failed(fetch,
                                          NGX_HTTP_LINES_METRICS_FETCH_INVALID,
                                          "document-too-large", 0);

    } else if (!ngx_http_lines_jwks_is_object(&result->body)) {
        (void) ngx_http_lines_jwks_failed(fetch,
                                          NGX_HTTP_LINES_METRICS_FETCH_INVALID,
                                          "not-json", 0);

    } else {
        ngx_http_lines_jwks_read_set(fetch, &result->body);
    }

    ngx_http_lines_carrier_destroy(fetch->carrier);
}


/* flag: the first failure in a row */

static ngx_uint_t
ngx_http_lines_jwks_failed(ngx_http_lines_jwks_fetch_t *fetch,
    ngx_uint_t outcome, const char *why, ngx_uint_t status)
{
    ngx_uint_t  changed;

    ngx_http_lines_metrics_inc(jwks_fetches[outcome]);

    if (status) {
        ngx_log_error(NGX_LOG_ERR, fetch->carrier->log, 0,
                      "lines: keys of \"%V\" are not to be had: %s %ui",
                      &fetch->jwks->issuer, why, status);
    } else {
        ngx_log_error(NGX_LOG_ERR, fetch->carrier->log, 0,
                      "lines: keys of \"%V\" are not to be had: %s",
                      &fetch->jwks->issuer, why);
    }

    (void) ngx_http_lines_jwks_fetched(fetch->jwks, fetch->number,
                                       fetch->start, NULL, &changed);

    return changed;
}


static void
ngx_http_lines_jwks_read_set(ngx_http_lines_jwks_fetch_t *fetch,
    ngx_str_t *body)
{
    u_char                  *buf;
    ngx_int_t                rc;
    const char              *why;
    ngx_uint_t               changed, outcome;
    ngx_lines_jwk_set_t     *set;
    ngx_lines_jwk_report_t   report;

    buf = ngx_alloc(ngx_lines_jwk_set_room(body->len), fetch->carrier->log);

    if (buf == NULL) {
        (void) ngx_http_lines_jwks_failed(fetch,
                                          NGX_HTTP_LINES_METRICS_FETCH_ERROR,
                                          "no memory", 0);
        return;
    }

    rc = ngx_lines_jwk_parse(body, buf, &set, &report);

    if (rc != NGX_OK) {

        if (rc == NGX_DECLINED) {
            outcome = NGX_HTTP_LINES_METRICS_FETCH_INVALID;
            why = (char *) report.error.data;

        } else {
            outcome = NGX_HTTP_LINES_METRICS_FETCH_ERROR;
            why = "no memory";
        }

        if (ngx_http_lines_jwks_failed(fetch, outcome, why, 0)) {
            ngx_http_lines_jwks_report(fetch->carrier->log, NGX_LOG_WARN,
                                       &fetch->jwks->issuer, &report);
        }

        ngx_free(buf);
        return;
    }

    rc = ngx_http_lines_jwks_fetched(fetch->jwks, fetch->number, fetch->start,
                                     set, &changed);

    outcome = (rc == NGX_ERROR) ? NGX_HTTP_LINES_METRICS_FETCH_ERROR
                                : NGX_HTTP_LINES_METRICS_FETCH_OK;

    ngx_http_lines_metrics_inc(jwks_fetches[outcome]);

    if (changed) {
        ngx_log_error(NGX_LOG_NOTICE, fetch->carrier->log, 0,
                      "lines: \"%V\" has %uD keys, %ui skipped",
                      &fetch->jwks->issuer, set->nkeys, report.skipped);

        ngx_http_lines_jwks_report(fetch->carrier->log, NGX_LOG_WARN,
                                   &fetch->jwks->issuer, &report);
    }

    ngx_free(buf);
}


/* what a server says is never taken for a PEM file */

static ngx_uint_t
ngx_http_lines_jwks_is_object(ngx_str_t *body)
{
    size_t  i;

    for (i = 0; i < body->len; i++) {
        switch (body->data[i]) {

        case ' ':
        case '\t':
        case CR:
        case LF:
            continue;

        default:
            return body->data[i] == '{';
        }
    }

    return 0;
}


void
ngx_http_lines_jwks_report(ngx_log_t *log, ngx_uint_t level,
    ngx_str_t *source, ngx_lines_jwk_report_t *report)
{
    ngx_uint_t  i;

    for (i = 0; i < report->skipped && i < NGX_LINES_JWK_MAX_REPORTED; i++) {
        ngx_log_error(level, log, 0, "lines: key %ui of \"%V\" is skipped: %V",
                      report->skips[i].key, source, &report->skips[i].reason);
    }

    if (report->skipped > i) {
        ngx_log_error(level, log, 0,
                      "lines: %ui more keys of \"%V\" are skipped",
                      report->skipped - i, source);
    }
}
