
#include "deliver/address.h"
#include "deliver/delivery.h"
#include "http/location.h"
#include "http/metrics.h"
#include "http/text.h"
#include "store/calls.h"


/* ms: what takes longer is in the way of others */
#define LINES_DELIVERY_SLOW   3000

/* ms beside what a call and its name may take, until another worker calls */
#define LINES_DELIVERY_SPARE  15000

/* seconds that Retry-After may ask for */
#define LINES_DELIVERY_LATER  3600


typedef struct {
    ngx_queue_t           queue;
    lines_main_conf_t    *lmcf;
    lines_carrier_t      *carrier;      /* its id is the message's */
    lines_caller_t        caller;
    lines_delivery_item_t item;
    lines_delivery_url_t  url;
    lines_hook_target_t   target;
    ngx_sockaddr_t        peer;
    u_char                address[NGX_SOCKADDR_STRLEN];
    ngx_msec_t            start;
    void                (*done)(void *data);
    void                 *data;
} lines_delivery_t;


static void delivery_resolve(lines_delivery_t *d);
static void delivery_resolved(ngx_resolver_ctx_t *ctx);
static void delivery_call(lines_delivery_t *d);
static ngx_int_t delivery_signature(lines_delivery_t *d, ngx_str_t *timestamp,
    ngx_str_t *signature);
static void delivery_answered(void *data, lines_result_t *result);
static void delivery_failed(lines_delivery_t *d, const char *reason);
static void delivery_note(lines_delivery_t *d, ngx_str_t outcome,
    const char *reason, ngx_uint_t status, ngx_uint_t slow,
    time_t retry_after);
static ngx_int_t delivery_noted(void *data, lines_hook_done_reply_t *reply);
static void delivery_end(lines_delivery_t *d);


/* of this worker */

static ngx_queue_t  deliveries;


/* seconds until the next try, after so many; all of them are three days */

static const ngx_uint_t  delivery_delays[LINES_DELIVERY_TRIES - 1] = {
    5, 60, 300, 1800, 7200, 18000, 36000, 50400, 72000, 72000
};


/* a name of the DNS, with a dot in it, whose end is no number: no address,
   however it may be written */

static ngx_uint_t
delivery_is_name(ngx_str_t *host)
{
    size_t   i, label, dots;
    u_char   ch, first;

    label = 0;
    dots = 0;
    first = '0';
    ch = '-';

    if (host->len == 0 || host->len > 253) {
        return 0;
    }

    for (i = 0; i < host->len; i++) {
        ch = host->data[i];

        if (ch == '.') {

            if (label == 0 || host->data[i - 1] == '-') {
                return 0;
            }

            label = 0;
            dots++;
            continue;
        }

        if (!lines_is_alnum(ch) && (ch != '-' || label == 0)) {
            return 0;
        }

        if (label == 0) {
            first = ch;
        }

        if (++label > 63) {
            return 0;
        }
    }

    return dots && label && ch != '-' && first > '9';
}


const char *
lines_delivery_url(lines_hooks_conf_t *hcf, ngx_str_t *text,
    lines_delivery_url_t *url)
{
    u_char     *p, *last;
    ngx_int_t   port;

    static u_char  scheme[] = "https://";

    if (!lines_is_graph(text)
        || text->len < sizeof(scheme)
        || ngx_strncasecmp(text->data, scheme, sizeof(scheme) - 1) != 0)
    {
        return "url must begin with https://";
    }

    p = text->data + sizeof(scheme) - 1;
    last = text->data + text->len;

    url->host.data = p;

    while (p < last && *p != ':' && *p != '/' && *p != '?') { p++; }

    url->host.len = p - url->host.data;
    url->port = 443;

    if (!delivery_is_name(&url->host)) {
        return "url must have the name of a host, as hooks.example.com, and "
               "no user or address";
    }

    if (p < last && *p == ':') {

        url->uri.data = ++p;

        while (p < last && *p >= '0' && *p <= '9') { p++; }

        port = ngx_atoi(url->uri.data, p - url->uri.data);
        url->port = (port == NGX_ERROR) ? 0 : (ngx_uint_t) port;
    }

    if (url->port != 443 && url->port != hcf->port) {
        return "url must be of port 443";
    }

    url->uri.data = p;
    url->uri.len = last - p;

    if (p == last || *p != '/'
        || ngx_strlchr(p, last, '#') || ngx_strlchr(p, last, '\\'))
    {
        return "url must have a path, as /hooks, and no fragment";
    }

    return NULL;
}


ngx_int_t
lines_delivery_whose(u_char buf[LINES_DELIVERY_WHOSE], ngx_str_t *tenant,
    ngx_str_t *hook, ngx_str_t *whose)
{
    if (tenant->len + hook->len >= LINES_DELIVERY_WHOSE) {
        return NGX_ERROR;
    }

    whose->data = buf;
    whose->len = lines_pair(buf, tenant, hook) - buf;

    return NGX_OK;
}


ngx_msec_t
lines_delivery_lease(lines_main_conf_t *lmcf)
{
    lines_location_t  *location;

    location = lines_location_of(lmcf, LINES_HOOKS_OUT);

    return location->clcf->resolver_timeout + lmcf->hooks->timeout
           + LINES_DELIVERY_SPARE;
}


ngx_msec_t
lines_delivery_longest(lines_main_conf_t *lmcf)
{
    ngx_msec_t  delay;

    delay = delivery_delays[LINES_DELIVERY_TRIES - 2] * lmcf->hooks->retry / 5;

    return ngx_max(delay + delay / 5, LINES_DELIVERY_LATER * 1000)
           + LINES_DELIVERY_SPARE;
}


void
lines_delivery_init_process(void)
{
    ngx_queue_init(&deliveries);
}


void
lines_delivery_exit_process(void)
{
    ngx_queue_t       *q;
    lines_delivery_t  *d;

    for (q = ngx_queue_head(&deliveries);
         q != ngx_queue_sentinel(&deliveries);
         q = ngx_queue_next(q))
    {
        d = ngx_queue_data(q, lines_delivery_t, queue);

        lines_caller_detach(&d->caller);
    }
}


static ngx_int_t
delivery_copy(ngx_pool_t *pool, ngx_str_t *to, ngx_str_t *from)
{
    to->len = from->len;
    to->data = ngx_pnalloc(pool, from->len + 1);

    if (to->data == NULL) {
        return NGX_ERROR;
    }

    ngx_cpystrn(to->data, from->data, from->len + 1);

    return NGX_OK;
}


ngx_int_t
lines_delivery_start(lines_main_conf_t *lmcf, lines_delivery_item_t *item,
    void (*done)(void *data), void *data)
{
    u_char             buf[128];
    ngx_str_t          id, *to, *from;
    ngx_uint_t         i;
    lines_carrier_t   *carrier;
    lines_delivery_t  *d;

    /* two webhooks of one receiver must not take each other's for their own */

    id.data = buf;
    id.len = ngx_snprintf(buf, sizeof(buf), "msg_%V_%V", &item->hook,
                          &item->event)
             - buf;

    carrier = lines_carrier_create(lmcf, &id, ngx_cycle->log);
    if (carrier == NULL) {
        return NGX_ERROR;
    }

    d = ngx_pcalloc(carrier->pool, sizeof(lines_delivery_t));
    if (d == NULL) {
        goto failed;
    }

    to = (ngx_str_t *) &d->item;
    from = (ngx_str_t *) item;

    for (i = 0; i < sizeof(lines_delivery_item_t) / sizeof(ngx_str_t); i++) {
        if (delivery_copy(carrier->pool, &to[i], &from[i]) != NGX_OK) {
            goto failed;
        }
    }

    d->lmcf = lmcf;
    d->carrier = carrier;
    d->start = ngx_current_msec;
    d->done = done;
    d->data = data;

    lines_caller_init(&d->caller, lmcf->redis, NULL, carrier->log);

    ngx_queue_insert_tail(&deliveries, &d->queue);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, carrier->log, 0,
                   "lines deliver: %V of %V to \"%V\"", &carrier->id,
                   &d->item.tenant, &d->item.url);

    /* a URL from before another configuration */

    if (lines_delivery_url(lmcf->hooks, &d->item.url, &d->url)) {
        delivery_failed(d, "url");

    } else {
        delivery_resolve(d);
    }

    return NGX_OK;

failed:

    lines_carrier_destroy(carrier);

    return NGX_ERROR;
}


static void
delivery_resolve(lines_delivery_t *d)
{
    ngx_resolver_ctx_t        *ctx;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = lines_location_of(d->lmcf, LINES_HOOKS_OUT)->clcf;

    ctx = ngx_resolve_start(clcf->resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        delivery_failed(d, "name_not_resolved");
        return;
    }

    ctx->name = d->url.host;
    ctx->handler = delivery_resolved;
    ctx->data = d;
    ctx->timeout = clcf->resolver_timeout;

    /* may call the handler at once; frees ctx when it fails */

    if (ngx_resolve_name(ctx) != NGX_OK) {
        delivery_failed(d, "name_not_resolved");
    }
}


/* one that is not global is enough: who answers may mean the next one by
   another */

static void
delivery_resolved(ngx_resolver_ctx_t *ctx)
{
    lines_delivery_t *d = ctx->data;

    ngx_uint_t            i;
    ngx_resolver_addr_t  *addr;

    if (ctx->state || ctx->naddrs == 0) {
        ngx_resolve_name_done(ctx);
        delivery_failed(d, "name_not_resolved");
        return;
    }

    for (i = 0; i < ctx->naddrs; i++) {

        if (!lines_address_global(ctx->addrs[i].sockaddr,
                                  d->lmcf->hooks->allow))
        {
            ngx_resolve_name_done(ctx);
            delivery_failed(d, "address_not_public");
            return;
        }
    }

    addr = &ctx->addrs[ngx_random() % ctx->naddrs];

    ngx_memcpy(&d->peer, addr->sockaddr, addr->socklen);
    ngx_inet_set_port(&d->peer.sockaddr, (in_port_t) d->url.port);

    d->target.conf = d->lmcf->hooks;
    d->target.parts[0].data = d->address;
    d->target.parts[0].len = ngx_sock_ntop(&d->peer.sockaddr, addr->socklen,
                                           d->address, NGX_SOCKADDR_STRLEN, 1);
    d->target.parts[1] = d->url.host;
    d->target.parts[2] = d->url.uri;

    ngx_resolve_name_done(ctx);

    delivery_call(d);
}


static void
delivery_call(lines_delivery_t *d)
{
    u_char         digits[NGX_TIME_T_LEN];
    ngx_str_t      timestamp, signature;
    lines_call_t   call;

    timestamp.data = digits;
    timestamp.len = ngx_sprintf(digits, "%T", ngx_time()) - digits;

    if (delivery_signature(d, &timestamp, &signature) != NGX_OK) {
        delivery_failed(d, "secret");
        return;
    }

    ngx_keyval_t  headers[] = {
        { ngx_string("Content-Type"), ngx_string("application/json") },
        { ngx_string("User-Agent"), ngx_string("Lines-Webhooks/1") },
        { ngx_string("webhook-id"), d->carrier->id },
        { ngx_string("webhook-timestamp"), timestamp },
        { ngx_string("webhook-signature"), signature }
    };

    ngx_memzero(&call, sizeof(lines_call_t));

    call.method = NGX_HTTP_POST;
    call.uri = d->lmcf->hooks->uri;
    call.headers = headers;
    call.nheaders = sizeof(headers) / sizeof(ngx_keyval_t);
    call.body = d->item.body;
    call.timeout = d->lmcf->hooks->timeout;
    call.of = &d->target;
    call.peer = &d->peer.sockaddr;
    call.peer_len = d->peer.sockaddr.sa_family == AF_INET6
                    ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    call.peer_name = &d->url.host;

    if (lines_carrier_call(d->carrier, &call, delivery_answered, d)
        != NGX_AGAIN)
    {
        delivery_failed(d, "not_sent");
    }
}


/* by each secret that counts, with a space between; a former one that cannot be
   opened is in nobody's way */

static ngx_int_t
delivery_signature(lines_delivery_t *d, ngx_str_t *timestamp,
    ngx_str_t *signature)
{
    u_char               secret[LINES_HOOK_SECRET], *p;
    u_char               buf[LINES_DELIVERY_WHOSE];
    ngx_int_t            rc;
    ngx_str_t            whose, *sealed;
    ngx_uint_t           i;
    lines_hooks_conf_t  *hcf;

    hcf = d->lmcf->hooks;

    p = ngx_pnalloc(d->carrier->pool, 2 * LINES_HOOK_SIGNATURE + 1);

    if (p == NULL
        || lines_delivery_whose(buf, &d->item.tenant, &d->item.hook, &whose)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    signature->data = p;

    for (i = 0; i < 2; i++) {
        sealed = i ? &d->item.before : &d->item.secret;

        if (sealed->len == 0) {
            continue;
        }

        rc = lines_unseal(hcf->keys, hcf->nkeys, &whose, sealed, secret);

        if (rc != NGX_OK) {
            ngx_log_error(NGX_LOG_ERR, d->carrier->log, 0,
                          "lines: the %ssecret of webhook \"%V\" of \"%V\" "
                          "cannot be opened: it was sealed by another key than "
                          "those of \"" LINES_HOOKS_OUT "\"",
                          i ? "former " : "", &d->item.hook, &d->item.tenant);

            if (i) {
                break;
            }

        } else {
            if (i) {
                *p++ = ' ';
            }

            rc = lines_hook_sign(secret, LINES_HOOK_SECRET, &d->carrier->id,
                                 timestamp, &d->item.body, p);
        }

        OPENSSL_cleanse(secret, sizeof(secret));

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }

        p += LINES_HOOK_SIGNATURE;
    }

    signature->len = p - signature->data;

    return signature->len ? NGX_OK : NGX_ERROR;
}


/* its name counts: who answers for that may take his time, too */

static ngx_uint_t
delivery_is_slow(lines_delivery_t *d)
{
    return ngx_current_msec - d->start > LINES_DELIVERY_SLOW;
}


/* nobody reads the body of an answer: one that is too long is as good */

static void
delivery_answered(void *data, lines_result_t *result)
{
    lines_delivery_t *d = data;

    ngx_uint_t  status;

    static ngx_str_t  delivered = ngx_string("delivered");
    static ngx_str_t  failed = ngx_string("failed");

    status = result->begun ? result->begun : result->status;

    if (status == 0) {
        delivery_note(d, failed,
                      result->transport == LINES_UNSENT ? "not_reached"
                                                        : "no_answer",
                      0, 1, -1);
        return;
    }

    delivery_note(d, status / 100 == 2 ? delivered : failed, "", status,
                  delivery_is_slow(d), result->retry_after);
}


static void
delivery_failed(lines_delivery_t *d, const char *reason)
{
    static ngx_str_t  failed = ngx_string("failed");

    delivery_note(d, failed, reason, 0, delivery_is_slow(d), -1);
}


/* a fifth more or less: what failed together is not tried again together */

static ngx_msec_t
delivery_delay(lines_delivery_t *d, time_t retry_after)
{
    ngx_int_t   tries;
    ngx_msec_t  delay;

    tries = ngx_atoi(d->item.tries.data, d->item.tries.len);

    if (tries < 0 || tries >= LINES_DELIVERY_TRIES - 1) {
        return 0;
    }

    delay = delivery_delays[tries] * d->lmcf->hooks->retry / 5;
    delay = delay - delay / 5 + ngx_random() % (delay * 2 / 5 + 1);

    if (retry_after > 0) {
        delay = ngx_max(delay, (ngx_msec_t) ngx_min(retry_after,
                                                    LINES_DELIVERY_LATER)
                               * 1000);
    }

    return ngx_max(delay, 1);
}


static void
delivery_note(lines_delivery_t *d, ngx_str_t outcome, const char *reason,
    ngx_uint_t status, ngx_uint_t slow, time_t retry_after)
{
    int64_t     delay;
    ngx_str_t   why;
    ngx_uint_t  good;

    good = (outcome.data[0] == 'd');
    delay = good ? 0 : (int64_t) delivery_delay(d, retry_after);

    why.data = (u_char *) reason;
    why.len = ngx_strlen(reason);

    lines_metrics_inc(hooks[good ? LINES_METRICS_HOOK_DELIVERED
                                 : LINES_METRICS_HOOK_FAILED]);

    /* without a reply its lease ends, and it is told again */

    if (lines_try_hook_done(&d->caller, delivery_noted, d,
                            .tenant = d->item.tenant, .id = d->item.hook,
                            .entry = d->item.event,
                            .tries = ngx_atoi(d->item.tries.data,
                                              d->item.tries.len),
                            .url = d->item.url,
                            .outcome = outcome, .reason = why,
                            .status = (int64_t) status,
                            .took = (int64_t) (ngx_current_msec - d->start),
                            .slow = slow,
                            .delay = delay,
                            .pause = status == 410 ? 0
                                                   : d->lmcf->hooks->pause)
        != NGX_AGAIN)
    {
        delivery_end(d);
    }
}


static ngx_int_t
delivery_noted(void *data, lines_hook_done_reply_t *reply)
{
    lines_delivery_t *d = data;

    if (reply && reply->is == LINES_HOOK_DONE_PAUSED) {
        lines_metrics_inc(hooks[LINES_METRICS_HOOK_PAUSED]);

        ngx_log_error(NGX_LOG_NOTICE, d->carrier->log, 0,
                      "lines: webhook \"%V\" of \"%V\" is paused: %V",
                      &d->item.hook, &d->item.tenant, &reply->reason);
    }

    delivery_end(d);

    return NGX_OK;
}


static void
delivery_end(lines_delivery_t *d)
{
    ngx_queue_remove(&d->queue);

    d->done(d->data);

    lines_carrier_destroy(d->carrier);
}
