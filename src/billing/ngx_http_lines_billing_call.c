
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_metrics.h"
#include "ngx_http_lines_billing_call.h"
#include "ngx_http_lines_failpoint.h"
#include "ngx_http_lines_metrics.h"


static void ngx_http_lines_billing_again(void *data);
static void ngx_http_lines_billing_answered(void *data,
    ngx_http_lines_result_t *answer);
static ngx_int_t ngx_http_lines_billing_judge(
    ngx_http_lines_billing_call_t *call, ngx_http_lines_result_t *answer);
static json_t *ngx_http_lines_billing_json(
    ngx_http_lines_billing_call_t *call, ngx_str_t *body);
static void ngx_http_lines_billing_json_free(void *data);
static ngx_uint_t ngx_http_lines_billing_pause(
    ngx_http_lines_billing_call_t *call, ngx_msec_t *pause);
static void ngx_http_lines_billing_done(ngx_http_lines_billing_call_t *call);
static void ngx_http_lines_billing_log(ngx_http_lines_billing_call_t *call);


ngx_http_lines_billing_call_t *
ngx_http_lines_billing_create(ngx_http_lines_carrier_t *carrier,
    ngx_http_lines_billing_kind_t *kind, ngx_str_t *id,
    ngx_http_lines_billing_pt handler, void *data)
{
    u_char                         *p;
    size_t                          len;
    ngx_str_t                       escaped;
    ngx_http_lines_billing_call_t  *call;

    if (carrier->lmcf->billing == NULL) {
        ngx_log_error(NGX_LOG_ERR, carrier->log, 0,
                      "lines: a billing call without \"lines_billing\"");
        return NULL;
    }

    call = ngx_pcalloc(carrier->pool, sizeof(ngx_http_lines_billing_call_t));
    if (call == NULL) {
        return NULL;
    }

    call->carrier = carrier;
    call->bcf = carrier->lmcf->billing;
    call->kind = kind;
    call->handler = handler;
    call->data = data;
    call->start = ngx_current_msec;

    ngx_str_null(&escaped);

    if (id) {

        /* an empty one would name the collection, or a path of another kind */

        if (id->len == 0
            || ngx_lines_form_escape(carrier->pool, id, &escaped) != NGX_OK)
        {
            return NULL;
        }
    }

    len = call->bcf->uri.len + ngx_strlen(kind->before) + escaped.len
          + ngx_strlen(kind->after);

    p = ngx_pnalloc(carrier->pool, len);
    if (p == NULL) {
        return NULL;
    }

    call->uri.data = p;
    call->uri.len = ngx_snprintf(p, len, "%V%s%V%s", &call->bcf->uri,
                                 kind->before, &escaped, kind->after)
                    - p;

    call->args.data = (u_char *) kind->args;
    call->args.len = ngx_strlen(kind->args);

    return call;
}


ngx_int_t
ngx_http_lines_billing_write(ngx_http_lines_billing_call_t *call,
    ngx_str_t *key, ngx_str_t *body)
{
    if (call == NULL) {
        return NGX_ERROR;
    }

    call->key.len = key->len;
    call->key.data = ngx_pstrdup(call->carrier->pool, key);

    if (call->key.data == NULL) {
        return NGX_ERROR;
    }

    if (body) {
        call->body.len = body->len;
        call->body.data = ngx_pstrdup(call->carrier->pool, body);

        if (call->body.data == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_http_lines_billing_send(call);
}


ngx_int_t
ngx_http_lines_billing_send(ngx_http_lines_billing_call_t *call)
{
    ngx_int_t                      rc;
    ngx_uint_t                     n;
    ngx_msec_t                     elapsed;
    ngx_http_lines_call_t          request;
    ngx_http_lines_call_header_t   headers[3];

    if (call == NULL) {
        return NGX_ERROR;
    }

    elapsed = ngx_current_msec - call->start;

    if (elapsed >= call->bcf->timeout) {
        return NGX_ERROR;
    }

    n = 0;

    ngx_str_set(&headers[n].name, "Stripe-Version");
    headers[n++].value = call->bcf->version;

    if (call->kind->method == NGX_HTTP_POST) {
        ngx_str_set(&headers[n].name, "Content-Type");
        ngx_str_set(&headers[n].value, "application/x-www-form-urlencoded");
        n++;

        ngx_str_set(&headers[n].name, "Idempotency-Key");
        headers[n++].value = call->key;
    }

    ngx_memzero(&request, sizeof(ngx_http_lines_call_t));

    request.method = call->kind->method;
    request.uri = call->uri;
    request.args = call->args;
    request.headers = headers;
    request.nheaders = n;
    request.body = call->body;
    request.timeout = call->bcf->timeout - elapsed;

    call->tries++;
    call->result.tries++;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, call->carrier->log, 0,
                   "lines billing: %V \"%V\" try %ui",
                   &call->kind->name, &call->uri, call->tries);

    NGX_HTTP_LINES_FAILPOINT_STEP("billing.before", &call->kind->name);

    call->carrier->billing = 1;

    rc = ngx_http_lines_carrier_call(call->carrier, &request,
                                     ngx_http_lines_billing_answered, call);

    if (rc != NGX_AGAIN) {
        call->carrier->billing = 0;
        call->tries--;
        call->result.tries--;
    }

    return rc;
}


static void
ngx_http_lines_billing_again(void *data)
{
    ngx_http_lines_billing_call_t  *call = data;

    if (ngx_http_lines_billing_send(call) != NGX_AGAIN) {
        ngx_http_lines_billing_done(call);
    }
}


static void
ngx_http_lines_billing_answered(void *data, ngx_http_lines_result_t *answer)
{
    ngx_http_lines_billing_call_t  *call = data;

    ngx_int_t                         rc;
    ngx_msec_t                        pause;
    ngx_http_lines_billing_result_t  *result;

    NGX_HTTP_LINES_FAILPOINT_STEP("billing.after", &call->kind->name);

    call->carrier->billing = 0;

    result = &call->result;

    rc = ngx_http_lines_billing_judge(call, answer);

    if (rc == NGX_AGAIN) {

        if (call->kind->next(call) == NGX_AGAIN) {
            return;
        }

        result->outcome = NGX_LINES_STRIPE_UNKNOWN;
    }

    if (result->outcome == NGX_LINES_STRIPE_RETRY
        && ngx_http_lines_billing_pause(call, &pause))
    {
        ngx_log_error(NGX_LOG_WARN, call->carrier->log, 0,
                      "lines: billing answered %V with %ui, again in %M ms",
                      &call->kind->name, result->status, pause);

        ngx_http_lines_carrier_wait(call->carrier, pause,
                                    ngx_http_lines_billing_again, call);
        return;
    }

    ngx_http_lines_billing_done(call);
}


/* sets the outcome; NGX_AGAIN: there is more to ask for */

static ngx_int_t
ngx_http_lines_billing_judge(ngx_http_lines_billing_call_t *call,
    ngx_http_lines_result_t *answer)
{
    json_t                           *json;
    ngx_int_t                         rc;
    ngx_http_lines_billing_result_t  *result;

    result = &call->result;

    result->status = answer->status;
    result->retry_after = answer->retry_after;
    result->should_retry = answer->should_retry;
    result->request_id = answer->request_id;

    ngx_memzero(&result->error, sizeof(ngx_lines_stripe_error_t));

    if (answer->transport == NGX_HTTP_LINES_UNSENT) {
        result->outcome = NGX_LINES_STRIPE_UNSENT;
        return NGX_OK;
    }

    if (answer->transport == NGX_HTTP_LINES_UNKNOWN) {
        result->outcome = NGX_LINES_STRIPE_UNKNOWN;
        return NGX_OK;
    }

    json = ngx_http_lines_billing_json(call, &answer->body);

    result->outcome = ngx_lines_stripe_classify(answer->status, json,
                                                answer->should_retry,
                                                &result->error);

    if (call->kind->gone
        && result->outcome == NGX_LINES_STRIPE_REFUSED
        && (result->status == 404
            || ngx_lines_stripe_error_is(&result->error, "resource_missing")))
    {
        ngx_memzero(&result->error, sizeof(ngx_lines_stripe_error_t));
        result->outcome = NGX_LINES_STRIPE_OK;
        return NGX_OK;
    }

    if (result->outcome != NGX_LINES_STRIPE_OK) {
        return NGX_OK;
    }

    rc = call->kind->read(call, json);

    if (rc == NGX_ERROR) {

        if (result->outcome == NGX_LINES_STRIPE_OK) {
            result->outcome = NGX_LINES_STRIPE_UNKNOWN;
        }

        ngx_log_error(NGX_LOG_ERR, call->carrier->log, 0,
                      "lines: billing answered %V with %ui, but not with "
                      "what was asked for",
                      &call->kind->name, answer->status);
    }

    return rc;
}


/* 409 and 429 only, and within the budget */

static ngx_uint_t
ngx_http_lines_billing_pause(ngx_http_lines_billing_call_t *call,
    ngx_msec_t *pause)
{
    ngx_msec_t  elapsed;

    if (call->result.should_retry == 0) {
        return 0;
    }

    elapsed = ngx_current_msec - call->start;

    *pause = ngx_lines_stripe_backoff(call->tries, call->result.retry_after,
                                      ngx_random());

    return elapsed + *pause < ngx_min(call->bcf->budget, call->bcf->timeout);
}


static void
ngx_http_lines_billing_done(ngx_http_lines_billing_call_t *call)
{
    ngx_http_lines_billing_result_t  *result;

    result = &call->result;

    result->elapsed = ngx_current_msec - call->start;

    if (result->outcome != NGX_LINES_STRIPE_OK) {
        result->subscription = NULL;
        result->invoice = NULL;
        result->customer = NULL;
        result->credit_note = NULL;
        result->subscriptions = NULL;
    }

    ngx_http_lines_billing_log(call);

    call->handler(call->data, result);
}


/* the one place that every outcome passes */

static void
ngx_http_lines_billing_log(ngx_http_lines_billing_call_t *call)
{
    ngx_uint_t                        level;
    ngx_http_lines_billing_result_t  *result;
    static const char                *outcomes[] = {
        "ok", "refused", "alert", "retry", "unknown", "unsent"
    };

    result = &call->result;

    ngx_http_lines_metrics_billing(result->outcome, result->status != 0,
                                   result->elapsed);

    if (result->outcome == NGX_LINES_STRIPE_OK) {
        ngx_log_debug4(NGX_LOG_DEBUG_HTTP, call->carrier->log, 0,
                       "lines billing: %V ok, %ui, %ui tries, %M ms",
                       &call->kind->name, result->status, result->tries,
                       result->elapsed);
        return;
    }

    level = (result->outcome == NGX_LINES_STRIPE_ALERT) ? NGX_LOG_CRIT
          : (result->outcome == NGX_LINES_STRIPE_REFUSED) ? NGX_LOG_INFO
          : NGX_LOG_ERR;

    ngx_log_error(level, call->carrier->log, 0,
                  "lines: billing %V: %s, status %ui, type \"%V\", "
                  "code \"%V\", param \"%V\", request \"%V\", "
                  "%ui tries, %M ms",
                  &call->kind->name, outcomes[result->outcome],
                  result->status, &result->error.type, &result->error.code,
                  &result->error.param, &result->request_id, result->tries,
                  result->elapsed);
}


/* lives as long as the carrier */

static json_t *
ngx_http_lines_billing_json(ngx_http_lines_billing_call_t *call,
    ngx_str_t *body)
{
    json_t              *json;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(call->carrier->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    json = json_loadb((char *) body->data, body->len, 0, NULL);

    if (json == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_lines_billing_json_free;
    cln->data = json;

    return json;
}


static void
ngx_http_lines_billing_json_free(void *data)
{
    json_decref(data);
}
