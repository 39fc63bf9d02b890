
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "billing/call.h"
#include "http/failpoint.h"
#include "http/headers.h"
#include "http/metrics.h"
#include "http/text.h"


static void billing_again(void *data);
static void billing_answered(void *data, lines_result_t *answer);
static void billing_headers(lines_result_t *answer,
    lines_billing_result_t *result);
static ngx_int_t billing_judge(lines_billing_call_t *call,
    lines_result_t *answer);
static json_t *billing_json(lines_billing_call_t *call, ngx_str_t *body);
static ngx_uint_t billing_pause(lines_billing_call_t *call, ngx_msec_t *pause);
static void billing_done(lines_billing_call_t *call);
static void billing_log(lines_billing_call_t *call);


lines_billing_call_t *
lines_billing_create(lines_carrier_t *carrier, lines_billing_kind_t *kind,
    ngx_str_t *id, lines_billing_pt handler, void *data)
{
    u_char                *p;
    size_t                 len;
    ngx_str_t              escaped;
    lines_billing_call_t  *call;

    if (carrier->lmcf->billing == NULL) {
        ngx_log_error(NGX_LOG_ERR, carrier->log, 0,
                      "lines: a billing call without \"lines_billing\"");
        return NULL;
    }

    call = ngx_pcalloc(carrier->pool, sizeof(lines_billing_call_t));
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
            || lines_form_escape(carrier->pool, id, &escaped) != NGX_OK)
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
                                 kind->before, &escaped, kind->after) - p;

    call->args.data = (u_char *) kind->args;
    call->args.len = ngx_strlen(kind->args);

    return call;
}


ngx_int_t
lines_billing_write(lines_billing_call_t *call, ngx_str_t *key,
    ngx_str_t *body)
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

    return lines_billing_send(call);
}


ngx_int_t
lines_billing_send(lines_billing_call_t *call)
{
    ngx_int_t            rc;
    ngx_uint_t           n;
    ngx_msec_t           elapsed;
    lines_call_t         request;
    lines_call_header_t  headers[3];

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

    ngx_memzero(&request, sizeof(lines_call_t));

    request.method = call->kind->method;
    request.uri = call->uri;
    request.args = call->args;
    request.headers = headers;
    request.nheaders = n;
    request.body = call->body;
    request.timeout = call->bcf->timeout - elapsed;
    request.of = call->bcf;

    call->tries++;
    call->result.tries++;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, call->carrier->log, 0,
                   "lines billing %V: %V \"%V\" try %ui", &call->carrier->id,
                   &call->kind->name, &call->uri, call->tries);

    LINES_FAILPOINT_STEP("billing.before", &call->kind->name);

    rc = lines_carrier_call(call->carrier, &request, billing_answered, call);

    if (rc != NGX_AGAIN) {
        call->tries--;
        call->result.tries--;
    }

    return rc;
}


static void
billing_again(void *data)
{
    lines_billing_call_t  *call = data;

    if (lines_billing_send(call) != NGX_AGAIN) {
        billing_done(call);
    }
}


static void
billing_answered(void *data, lines_result_t *answer)
{
    lines_billing_call_t  *call = data;

    ngx_int_t                rc;
    ngx_msec_t               pause;
    lines_billing_result_t  *result;

    LINES_FAILPOINT_STEP("billing.after", &call->kind->name);

    result = &call->result;

    rc = billing_judge(call, answer);

    if (rc == NGX_AGAIN) {

        if (call->kind->next(call) == NGX_AGAIN) {
            return;
        }

        result->outcome = LINES_STRIPE_UNKNOWN;
    }

    if (result->outcome == LINES_STRIPE_RETRY && billing_pause(call, &pause)) {
        ngx_log_error(NGX_LOG_WARN, call->carrier->log, 0,
                      "lines: billing answered %V with %ui, again in %M ms",
                      &call->kind->name, result->status, pause);

        lines_carrier_wait(call->carrier, pause, billing_again, call);
        return;
    }

    billing_done(call);
}


/* what Stripe says beside the body */

static void
billing_headers(lines_result_t *answer, lines_billing_result_t *result)
{
    ngx_table_elt_t  *h;

    result->should_retry = -1;
    ngx_str_null(&result->request_id);

    if (answer->headers == NULL) {
        return;
    }

    h = lines_header_in(answer->headers, "stripe-should-retry", NULL);

    if (h && lines_is_nocase(&h->value, "true")) {
        result->should_retry = 1;

    } else if (h && lines_is_nocase(&h->value, "false")) {
        result->should_retry = 0;
    }

    h = lines_header_in(answer->headers, "request-id", NULL);

    if (h) {
        result->request_id = h->value;
    }
}


/* sets the outcome; NGX_AGAIN: there is more to ask for */

static ngx_int_t
billing_judge(lines_billing_call_t *call, lines_result_t *answer)
{
    json_t                  *json;
    ngx_int_t                rc;
    lines_billing_result_t  *result;

    result = &call->result;

    result->status = answer->status;
    result->retry_after = answer->retry_after;

    billing_headers(answer, result);

    ngx_memzero(&result->error, sizeof(lines_stripe_error_t));

    if (answer->transport == LINES_UNSENT) {
        result->outcome = LINES_STRIPE_UNSENT;
        return NGX_OK;
    }

    if (answer->transport == LINES_UNKNOWN) {
        result->outcome = LINES_STRIPE_UNKNOWN;
        return NGX_OK;
    }

    json = billing_json(call, &answer->body);

    result->outcome = lines_stripe_classify(answer->status, json,
                                            result->should_retry,
                                            &result->error);

    if (call->kind->gone
        && result->outcome == LINES_STRIPE_REFUSED
        && (result->status == 404
            || lines_stripe_error_is(&result->error, "resource_missing")))
    {
        ngx_memzero(&result->error, sizeof(lines_stripe_error_t));
        result->outcome = LINES_STRIPE_OK;
        return NGX_OK;
    }

    if (result->outcome != LINES_STRIPE_OK) {
        return NGX_OK;
    }

    rc = call->kind->read(call, json);

    if (rc == NGX_ERROR) {

        if (result->outcome == LINES_STRIPE_OK) {
            result->outcome = LINES_STRIPE_UNKNOWN;
        }

        ngx_log_error(NGX_LOG_ERR, call->carrier->log, 0,
                      "lines: billing answered %V with %ui, but not with "
                      "what was asked for", &call->kind->name, answer->status);
    }

    return rc;
}


/* 409 and 429 only, and within the budget */

static ngx_uint_t
billing_pause(lines_billing_call_t *call, ngx_msec_t *pause)
{
    ngx_msec_t  elapsed;

    if (call->result.should_retry == 0) {
        return 0;
    }

    elapsed = ngx_current_msec - call->start;

    *pause = lines_stripe_backoff(call->tries, call->result.retry_after,
                                  ngx_random());

    return elapsed + *pause < ngx_min(call->bcf->budget, call->bcf->timeout);
}


static void
billing_done(lines_billing_call_t *call)
{
    lines_billing_result_t  *result;

    result = &call->result;

    result->elapsed = ngx_current_msec - call->start;

    if (result->outcome != LINES_STRIPE_OK) {
        result->subscription = NULL;
        result->invoice = NULL;
        result->customer = NULL;
        result->credit_note = NULL;
        result->subscriptions = NULL;
    }

    billing_log(call);

    call->handler(call->data, result);
}


/* the one place that every outcome passes */

static void
billing_log(lines_billing_call_t *call)
{
    ngx_uint_t               level;
    lines_billing_result_t  *result;
    static const char                *outcomes[] = {
        "ok", "refused", "alert", "retry", "unknown", "unsent"
    };

    result = &call->result;

    lines_metrics_inc(billing_calls[result->outcome]);
    lines_histogram_add(&lines_metrics->billing_latency, result->elapsed);

    if (result->status) {
        lines_metrics->billing_up = ngx_time();

    } else {
        lines_metrics->billing_down = ngx_time();
    }

    if (result->outcome == LINES_STRIPE_OK) {
        ngx_log_debug5(NGX_LOG_DEBUG_HTTP, call->carrier->log, 0,
                       "lines billing %V: %V ok, %ui, %ui tries, %M ms",
                       &call->carrier->id, &call->kind->name, result->status,
                       result->tries, result->elapsed);
        return;
    }

    switch (result->outcome) {

    case LINES_STRIPE_ALERT:
        level = NGX_LOG_CRIT;
        break;

    case LINES_STRIPE_REFUSED:
        level = NGX_LOG_INFO;
        break;

    default:
        level = NGX_LOG_ERR;
    }

    ngx_log_error(level, call->carrier->log, 0,
                  "lines: billing %V: %s, status %ui, type \"%V\", "
                  "code \"%V\", param \"%V\", request \"%V\", "
                  "%ui tries, %M ms", &call->kind->name,
                  outcomes[result->outcome], result->status,
                  &result->error.type, &result->error.code,
                  &result->error.param, &result->request_id, result->tries,
                  result->elapsed);
}


/* lives as long as the carrier */

static json_t *
billing_json(lines_billing_call_t *call, ngx_str_t *body)
{
    json_t  *json;

    return lines_json_parse(call->carrier->pool, body, 0, &json, NULL)
           == NGX_OK
           ? json
           : NULL;
}
