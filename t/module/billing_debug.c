
/*
 * "lines_billing_debug" makes a location that runs one billing call, or a plain
 * one, on a carrier and tells what came of it, so that tests can reach each of
 * them apart from the operations.  A module of its own, in the shared object of
 * the tests with failpoints.
 *
 *   ?op=subscribe&key=K&body=B   ?op=invoice&id=I   ?op=find&id=C&line=L …
 *   ?op=addon&id=C&price=P   ?op=charge&id=C&price=P&card=PM
 *   ?op=repay&id=I&amount=N: the bodies that operations make
 *   ?op=plain&uri=/x&method=POST&body=B&timeout=MS
 *   &times=N: one after another on the same carrier
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "billing/billing.h"


typedef struct {
    ngx_http_request_t      *client;     /* NULL: it left */
    ngx_http_cleanup_t      *cleanup;    /* the client's */
    lines_carrier_t         *carrier;
    ngx_str_t                op;
    ngx_str_t                id;
    ngx_str_t                key;
    ngx_str_t                body;
    ngx_str_t                uri;
    ngx_str_t                price;
    ngx_str_t                card;
    ngx_int_t                amount;
    ngx_uint_t               method;
    ngx_msec_t               timeout;
    ngx_uint_t               times;
    lines_stripe_metadata_t  match;
} lines_billing_debug_t;


static char *billing_debug(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t billing_debug_handler(ngx_http_request_t *r);
static void billing_debug_cleanup(void *data);
static ngx_int_t billing_debug_arg(ngx_http_request_t *r, ngx_pool_t *pool,
    const char *name, ngx_str_t *value);
static ngx_int_t billing_debug_body(lines_billing_debug_t *debug);
static ngx_int_t billing_debug_send(lines_billing_debug_t *debug);
static void billing_debug_plain(void *data, lines_result_t *result);
static void billing_debug_billing(void *data, lines_billing_result_t *result);
static void billing_debug_done(lines_billing_debug_t *debug, json_t *json);


static ngx_command_t  commands[] = {

    { ngx_string("lines_billing_debug"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      billing_debug,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_lines_debug_module = {
    NGX_MODULE_V1,
    &module_ctx,                           /* module context */
    commands,                              /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
billing_debug(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = billing_debug_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
billing_debug_handler(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_str_t               name, value;
    ngx_pool_t             *pool;
    ngx_http_cleanup_t     *cln;
    lines_carrier_t        *carrier;
    lines_main_conf_t      *lmcf;
    lines_billing_debug_t  *debug;

    static lines_location_t  any;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_str_set(&name, "debug");

    lmcf = lines_get_main_conf(r);

    /* what no directive names it calls by the rules of the first */

    if (lmcf->locations && lmcf->locations != &any) {
        any = *lmcf->locations;
        any.next = lmcf->locations;
        ngx_str_set(&any.uri, "/");

        lmcf->locations = &any;
    }

    carrier = lines_carrier_create(lmcf, &name, r->connection->log);

    if (carrier == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    pool = carrier->pool;

    cln = ngx_http_cleanup_add(r, 0);
    debug = ngx_pcalloc(pool, sizeof(lines_billing_debug_t));

    if (cln == NULL || debug == NULL) {
        lines_carrier_destroy(carrier);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    debug->carrier = carrier;
    debug->times = 1;
    debug->method = NGX_HTTP_GET;

    if (billing_debug_arg(r, pool, "op", &debug->op) != NGX_OK
        || billing_debug_arg(r, pool, "id", &debug->id) != NGX_OK
        || billing_debug_arg(r, pool, "key", &debug->key) != NGX_OK
        || billing_debug_arg(r, pool, "body", &debug->body) != NGX_OK
        || billing_debug_arg(r, pool, "uri", &debug->uri) != NGX_OK
        || billing_debug_arg(r, pool, "line", &debug->match.line) != NGX_OK
        || billing_debug_arg(r, pool, "tenant", &debug->match.tenant) != NGX_OK
        || billing_debug_arg(r, pool, "price", &debug->price) != NGX_OK
        || billing_debug_arg(r, pool, "card", &debug->card) != NGX_OK)
    {
        lines_carrier_destroy(carrier);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_arg(r, (u_char *) "times", 5, &value) == NGX_OK) {
        debug->times = ngx_max(ngx_atoi(value.data, value.len), 1);
    }

    if (ngx_http_arg(r, (u_char *) "attempt", 7, &value) == NGX_OK) {
        debug->match.attempt = ngx_max(ngx_atoi(value.data, value.len), 0);
    }

    if (ngx_http_arg(r, (u_char *) "timeout", 7, &value) == NGX_OK) {
        debug->timeout = ngx_max(ngx_atoi(value.data, value.len), 0);
    }

    if (ngx_http_arg(r, (u_char *) "method", 6, &value) == NGX_OK) {
        debug->method = value.len == 4 ? NGX_HTTP_POST : value.len
                        == 6 ? NGX_HTTP_DELETE : NGX_HTTP_GET;
    }

    if (ngx_http_arg(r, (u_char *) "amount", 6, &value) == NGX_OK) {
        debug->amount = ngx_max(ngx_atoi(value.data, value.len), 0);
    }

    if (billing_debug_body(debug) != NGX_OK
        || billing_debug_send(debug) != NGX_AGAIN)
    {
        lines_carrier_destroy(carrier);
        return NGX_HTTP_BAD_REQUEST;
    }

    debug->client = r;

    cln->handler = billing_debug_cleanup;
    cln->data = debug;

    debug->cleanup = cln;

    r->main->count++;
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_DONE;
}


static void
billing_debug_cleanup(void *data)
{
    lines_billing_debug_t *debug = data;

    debug->client = NULL;
}


static ngx_int_t
billing_debug_arg(ngx_http_request_t *r, ngx_pool_t *pool, const char *name,
    ngx_str_t *value)
{
    u_char     *dst, *src;
    ngx_str_t   arg;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &arg) != NGX_OK) {
        ngx_str_null(value);
        return NGX_OK;
    }

    value->data = ngx_pnalloc(pool, arg.len + 1);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    dst = value->data;
    src = arg.data;

    ngx_unescape_uri(&dst, &src, arg.len, 0);

    value->len = dst - value->data;

    return NGX_OK;
}


static ngx_int_t
billing_debug_body(lines_billing_debug_t *debug)
{
    ngx_pool_t  *pool;

#define lines_billing_debug_is(name)   \
    (debug->op.len == sizeof(name) - 1 \
     && ngx_strncmp(debug->op.data, name, sizeof(name) - 1) == 0)

    pool = debug->carrier->pool;

    if (debug->carrier->lmcf->billing) {
        debug->match.deployment = debug->carrier->lmcf->billing->deployment;
    }

    if (lines_billing_debug_is("addon")) {
        return lines_stripe_subscribe_body(pool, &debug->id, &debug->price,
                                           NULL, &debug->match, &debug->body);
    }

    if (lines_billing_debug_is("charge")) {
        return lines_stripe_subscribe_body(pool, &debug->id, &debug->price,
                                           &debug->card, &debug->match,
                                           &debug->body);
    }

    if (lines_billing_debug_is("repay")) {
        return lines_stripe_credit_body(pool, &debug->id, debug->amount, 0, 0,
                                        &debug->match, &debug->body);
    }

    return NGX_OK;
}


static ngx_int_t
billing_debug_send(lines_billing_debug_t *debug)
{
    ngx_uint_t            i;
    lines_call_t          call;
    lines_carrier_t      *c;
    lines_billing_ask_t   ask;

    static const struct {
        const char            *name;
        lines_billing_kind_e   kind;
    } ops[] = {
        { "subscribe", LINES_BILLING_SUBSCRIBE },
        { "addon", LINES_BILLING_SUBSCRIBE },
        { "charge", LINES_BILLING_SUBSCRIBE },
        { "subscription", LINES_BILLING_SUBSCRIPTION },
        { "cancel", LINES_BILLING_CANCEL },
        { "find", LINES_BILLING_FIND },
        { "list", LINES_BILLING_FIND },
        { "invoice", LINES_BILLING_INVOICE },
        { "void", LINES_BILLING_VOID },
        { "customer", LINES_BILLING_CUSTOMER },
        { "card", LINES_BILLING_CARD },
        { "refund", LINES_BILLING_REFUND },
        { "repay", LINES_BILLING_CREDIT }
    };

    c = debug->carrier;

    if (lines_billing_debug_is("plain")) {

        ngx_memzero(&call, sizeof(lines_call_t));

        call.method = debug->method;
        call.uri = debug->uri;
        call.body = debug->body;
        call.timeout = debug->timeout;

        return lines_carrier_call(c, &call, billing_debug_plain, debug);
    }

    ngx_memzero(&ask, sizeof(lines_billing_ask_t));

    /* what is made has no id yet */

    if (!lines_billing_debug_is("addon") && !lines_billing_debug_is("charge")) {
        ask.id = debug->id;
    }

    ask.key = debug->key;
    ask.body = debug->body;
    ask.price = debug->price;

    if (!lines_billing_debug_is("list")) {
        ask.match = debug->match;
    }

    for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (debug->op.len == ngx_strlen(ops[i].name)
            && ngx_strncmp(debug->op.data, ops[i].name, debug->op.len) == 0)
        {
            ask.kind = ops[i].kind;
            return lines_billing_ask(c, &ask, billing_debug_billing, debug);
        }
    }

    return NGX_ERROR;
}


static void
billing_debug_plain(void *data, lines_result_t *result)
{
    static const char  *transports[] = { "complete", "unknown", "unsent" };

    billing_debug_done(data,
                       json_pack("{ss si si ss%}", "transport",
                                 transports[result->transport], "status",
                                 (int) result->status, "length",
                                 (int) result->body.len, "body",
                                 result->body.data
                                 ? (char *) result->body.data
                                 : "", ngx_min(result->body.len, 512)));
}


static void
billing_debug_billing(void *data, lines_billing_result_t *result)
{
    json_t                       *json, *list;
    ngx_uint_t                    i;
    lines_stripe_invoice_t       *invoice;
    lines_stripe_subscription_t  *subscription;

    static const char  *outcomes[] = { "ok", "refused", "missing", "alert",
                                       "retry", "unknown", "unsent" };

#define lines_json_str(v) \
    json_stringn((v).len ? (char *) (v).data : "", (v).len)

    json = json_pack("{ss si si si si so so so so}", "outcome",
                     outcomes[result->outcome], "status", (int) result->status,
                     "tries", (int) result->tries, "retry_after",
                     (int) result->retry_after, "should_retry",
                     (int) result->should_retry, "type",
                     lines_json_str(result->error.type), "code",
                     lines_json_str(result->error.code), "payment_method",
                     lines_json_str(result->payment_method), "request_id",
                     lines_json_str(result->request_id));

    invoice = result->invoice;

    if (result->subscription) {
        subscription = result->subscription;
        invoice = &subscription->invoice;

        json_object_set_new(json, "subscription",
                            json_pack("{so so so so so si}", "id",
                                      lines_json_str(subscription->id),
                                      "status",
                                      lines_json_str(subscription->status),
                                      "price",
                                      lines_json_str(subscription->prices[0]),
                                      "line",
                                      lines_json_str(
                                                  subscription->metadata.line),
                                      "tenant",
                                      lines_json_str(
                                                subscription->metadata.tenant),
                                      "attempt",
                                      (int) subscription->metadata.attempt));
    }

    if (invoice) {
        json_object_set_new(json, "invoice",
                            json_pack("{so so so so so si}", "id",
                                      lines_json_str(invoice->id), "status",
                                      lines_json_str(invoice->status), "url",
                                      lines_json_str(invoice->url),
                                      "subscription",
                                      lines_json_str(invoice->subscription),
                                      "line",
                                      lines_json_str(invoice->metadata.line),
                                      "amount_paid",
                                      (int) invoice->amount_paid));
    }

    if (result->customer) {
        json_object_set_new(json, "customer",
                            lines_json_str(result->customer->id));
    }

    if (result->subscriptions) {
        list = json_array();
        subscription = result->subscriptions->elts;

        for (i = 0; i < result->subscriptions->nelts; i++) {
            json_array_append_new(list, lines_json_str(subscription[i].id));
        }

        json_object_set_new(json, "subscriptions", list);
    }

    billing_debug_done(data, json);
}


static void
billing_debug_done(lines_billing_debug_t *debug, json_t *json)
{
    char                *text;
    size_t               len;
    ngx_buf_t           *b;
    ngx_int_t            rc;
    ngx_chain_t          out;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    if (--debug->times) {
        json_decref(json);

        if (billing_debug_send(debug) == NGX_AGAIN) {
            return;
        }

        json = NULL;
    }

    text = json ? json_dumps(json, JSON_SORT_KEYS) : NULL;
    json_decref(json);

    ngx_log_error(NGX_LOG_NOTICE, debug->carrier->log, 0,
                  "lines: debug call ended: %s", text ? text : "none");

    r = debug->client;

    if (r) {
        debug->cleanup->handler = NULL;
    }

    lines_carrier_destroy(debug->carrier);

    if (r == NULL) {
        free(text);
        return;
    }

    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    len = text ? ngx_strlen(text) : 0;
    b = ngx_create_temp_buf(r->pool, len + 1);

    if (b == NULL || text == NULL) {
        free(text);
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        ngx_http_run_posted_requests(c);
        return;
    }

    b->last = ngx_cpymem(b->last, text, len);
    *b->last++ = LF;
    b->last_buf = 1;
    b->last_in_chain = 1;

    free(text);

    out.buf = b;
    out.next = NULL;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = len + 1;
    ngx_str_set(&r->headers_out.content_type, "application/json");

    rc = ngx_http_send_header(r);

    if ((rc == NGX_OK || rc == NGX_AGAIN) && !r->header_only) {
        rc = ngx_http_output_filter(r, &out);
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}
