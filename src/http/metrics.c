
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/metrics.h"
#include "http/router.h"


#define LINES_METRICS_PUBLISH  1000
#define LINES_METRICS_KNOWN    128


static ngx_int_t metrics_log_handler(ngx_http_request_t *r);
static ngx_uint_t metrics_endpoint(lines_ctx_t *ctx);
static void metrics_auth(lines_ctx_t *ctx);
static ngx_uint_t metrics_pair(ngx_uint_t registry, ngx_str_t *a,
    ngx_str_t *b);
static ngx_uint_t metrics_code(ngx_http_request_t *r);
static void metrics_publish_handler(ngx_event_t *ev);
static void metrics_publish(lines_main_conf_t *lmcf);


/* the classes come last, by their first digit from 1 */

ngx_str_t  lines_metrics_codes[LINES_METRICS_CODES] = {
    ngx_string("101"), ngx_string("200"), ngx_string("201"),
    ngx_string("202"), ngx_string("204"), ngx_string("206"),
    ngx_string("301"), ngx_string("302"), ngx_string("303"),
    ngx_string("304"), ngx_string("307"), ngx_string("308"),
    ngx_string("400"), ngx_string("401"), ngx_string("402"),
    ngx_string("403"), ngx_string("404"), ngx_string("405"),
    ngx_string("409"), ngx_string("410"), ngx_string("413"),
    ngx_string("415"), ngx_string("422"), ngx_string("429"),
    ngx_string("499"), ngx_string("500"), ngx_string("501"),
    ngx_string("502"), ngx_string("503"), ngx_string("504"),
    ngx_string("other"),
    ngx_string("1xx"), ngx_string("2xx"), ngx_string("3xx"),
    ngx_string("4xx"), ngx_string("5xx")
};

#define LINES_METRICS_SINGLE  30


/* counts of what happens before a worker has its slot go nowhere */

static lines_metrics_slot_t  metrics_nowhere;

lines_metrics_slot_t  *lines_metrics = &metrics_nowhere;


static lines_metrics_area_t    *metrics_area;
static lines_metrics_worker_t  *metrics_worker;
static ngx_slab_pool_t         *metrics_shpool;

/* names that are constants are known by their address */

typedef struct {
    u_char     *a;
    u_char     *b;
    ngx_uint_t  registry;
    ngx_uint_t  index;
} lines_metrics_known_t;

static lines_metrics_known_t
    metrics_known[LINES_METRICS_KNOWN];

static ngx_uint_t  metrics_limits[LINES_METRICS_NAMES];

static ngx_event_t           metrics_timer;
static ngx_connection_t      metrics_connection;
static lines_redis_status_t  metrics_published;


void *
lines_metrics_init_area(ngx_slab_pool_t *shpool)
{
    ngx_uint_t             i;
    lines_metrics_area_t  *area;

    area = ngx_slab_calloc(shpool, sizeof(lines_metrics_area_t));
    if (area == NULL) {
        return NULL;
    }

    for (i = 0; i < LINES_METRICS_REGISTRIES; i++) {
        area->registries[i].count = 1;
        area->registries[i].names[0].len = sizeof("other other") - 1;
        ngx_memcpy(area->registries[i].names[0].data, "other other",
                   sizeof("other other") - 1);
    }

    return area;
}


ngx_int_t
lines_metrics_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = metrics_log_handler;

    return NGX_OK;
}


ngx_int_t
lines_metrics_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    metrics_area  = lines_zone_area(lmcf, LINES_ZONE_METRICS);
    metrics_shpool = lines_zone_pool(lmcf);

    lines_metrics = &metrics_area->slots[ngx_worker % LINES_METRICS_SLOTS];

    metrics_worker = &metrics_area->workers[
                               ngx_worker % LINES_METRICS_WORKERS];

    ngx_memzero(metrics_worker, sizeof(lines_metrics_worker_t));

    metrics_worker->pid = ngx_pid;

    metrics_connection.fd = (ngx_socket_t) -1;
    metrics_connection.data = lmcf;

    metrics_timer.handler = metrics_publish_handler;
    metrics_timer.data = &metrics_connection;
    metrics_timer.log = cycle->log;
    metrics_timer.cancelable = 1;

    ngx_add_timer(&metrics_timer, 100);

    return NGX_OK;
}


void
lines_metrics_exit_process(lines_main_conf_t *lmcf)
{
    if (metrics_timer.timer_set) {
        ngx_del_timer(&metrics_timer);
    }

    if (lines_metrics == &metrics_nowhere) {
        return;
    }

    metrics_publish(lmcf);

    /* unless one that came with a reload has the place already */

    if (metrics_worker->pid == (ngx_atomic_uint_t) ngx_pid) {
        ngx_memzero(metrics_worker, sizeof(lines_metrics_worker_t));
    }

    lines_metrics = &metrics_nowhere;
}


ngx_uint_t
lines_metrics_name(ngx_uint_t registry, ngx_str_t *name)
{
    ngx_uint_t                 i, n;
    lines_metrics_registry_t  *reg;

    if (metrics_area == NULL
        || name->len == 0
        || name->len > LINES_METRICS_NAME_LEN)
    {
        return 0;
    }

    reg = &metrics_area->registries[registry];

    ngx_shmtx_lock(&metrics_shpool->mutex);

    n = 0;

    for (i = 1; i < reg->count; i++) {
        if (reg->names[i].len == name->len
            && ngx_memcmp(reg->names[i].data, name->data, name->len) == 0)
        {
            n = i;
            break;
        }
    }

    if (n == 0 && reg->count < LINES_METRICS_NAMES) {
        n = reg->count;

        reg->names[n].len = (u_char) name->len;
        ngx_memcpy(reg->names[n].data, name->data, name->len);

        /* a reader that sees the number sees the name */
        ngx_memory_barrier();
        reg->count = n + 1;
    }

    ngx_shmtx_unlock(&metrics_shpool->mutex);

    return n;
}


void
lines_metrics_set_limit(ngx_uint_t limit, ngx_str_t *id)
{
    if (limit < LINES_METRICS_NAMES) {
        metrics_limits[limit] = lines_metrics_name(LINES_METRICS_LIMIT, id);
    }
}


void
lines_metrics_limit(ngx_uint_t limit, ngx_uint_t outcome)
{
    ngx_uint_t  i;

    i = (limit < LINES_METRICS_NAMES) ? metrics_limits[limit] : 0;

    if (outcome < LINES_METRICS_OUTCOMES) {
        lines_metrics_inc(limits[i][outcome]);
    }
}


static ngx_int_t
metrics_log_handler(ngx_http_request_t *r)
{
    ngx_uint_t             endpoint;
    ngx_msec_int_t         ms;
    lines_ctx_t           *ctx;
    lines_metrics_slot_t  *slot;

    if (r != r->main) {
        return NGX_OK;
    }

    ctx = lines_find_ctx(r);

    /* a variable alone makes a context, too */

    if (ctx == NULL
        || (ctx->api == NULL
            && ctx->limit == NULL
            && ctx->identity.rules.methods == 0))
    {
        return NGX_OK;
    }

    slot = lines_metrics;
    endpoint = metrics_endpoint(ctx);

    ms = (ngx_msec_int_t) ((ngx_cached_time->sec - r->start_sec) * 1000
                           + (ngx_cached_time->msec - r->start_msec));

    (void) ngx_atomic_fetch_add(&slot->requests[endpoint][metrics_code(r)], 1);

    lines_histogram_add(&slot->latency[endpoint], (ngx_msec_t) ngx_max(ms, 0));

    metrics_auth(ctx);

    return NGX_OK;
}


static ngx_uint_t
metrics_endpoint(lines_ctx_t *ctx)
{
    static ngx_str_t  gateway = ngx_string("gateway");
    static ngx_str_t  location = ngx_string("location");
    static ngx_str_t  none = ngx_string("none");

    /* api is set for the sake of its errors, too */

    if (ctx->route == NULL && (ctx->api == NULL || ctx->api->routes == NULL)) {
        return metrics_pair(LINES_METRICS_ENDPOINT, &gateway, &location);
    }

    return metrics_pair(LINES_METRICS_ENDPOINT, &ctx->api->name,
                        ctx->route ? &ctx->route->name : &none);
}


static void
metrics_auth(lines_ctx_t *ctx)
{
    ngx_uint_t         i;
    lines_identity_t  *identity;
    static ngx_str_t   accepted = ngx_string("accepted");
    static ngx_str_t   none = ngx_string("none");

    identity = &ctx->identity;

    /* the operator names tenants without being one */

    if (identity->method.len == 0 && identity->failure.len == 0) {
        return;
    }

    i = metrics_pair(LINES_METRICS_AUTH,
                     identity->method.len ? &identity->method : &none,
                     identity->failure.len ? &identity->failure : &accepted);

    lines_metrics_inc(auth[i]);
}


/* of two constants: "a b" */

static ngx_uint_t
metrics_pair(ngx_uint_t registry, ngx_str_t *a, ngx_str_t *b)
{
    u_char                  buffer[LINES_METRICS_NAME_LEN];
    ngx_str_t               name;
    ngx_uint_t              i, hash;
    lines_metrics_known_t  *known;

    hash = ((uintptr_t) a->data >> 3) * 31 + ((uintptr_t) b->data >> 3)
           + registry;
    known = NULL;

    for (i = 0; i < 8; i++) {
        known = &metrics_known[(hash + i) % LINES_METRICS_KNOWN];

        if (known->a == a->data
            && known->b == b->data
            && known->registry == registry)
        {
            return known->index;
        }

        if (known->a == NULL) {
            break;
        }
    }

    name.data = buffer;
    name.len = ngx_snprintf(buffer, sizeof(buffer), "%V %V", a, b) - buffer;

    hash = lines_metrics_name(registry, &name);

    if (known && known->a == NULL) {
        known->a = a->data;
        known->b = b->data;
        known->registry = registry;
        known->index = hash;
    }

    return hash;
}


static ngx_uint_t
metrics_code(ngx_http_request_t *r)
{
    u_char      code[3];
    ngx_uint_t  i, status;

    status = r->err_status ? r->err_status : r->headers_out.status;

    if (status == 0 && r->http_version == NGX_HTTP_VERSION_9) {
        status = 200;
    }

    if (status < 100 || status > 599) {
        return LINES_METRICS_SINGLE;
    }

    ngx_sprintf(code, "%03ui", status);

    for (i = 0; i < LINES_METRICS_SINGLE; i++) {
        if (ngx_memcmp(lines_metrics_codes[i].data, code, 3) == 0) {
            return i;
        }
    }

    return LINES_METRICS_SINGLE + status / 100;
}


static void
metrics_publish_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    metrics_publish(c->data);

    if (!ngx_exiting) {
        ngx_add_timer(ev, LINES_METRICS_PUBLISH);
    }
}


#define lines_metrics_delta(counter, field) \
    lines_metrics_add(counter, status.field \
                                   - metrics_published.field)


static void
metrics_publish(lines_main_conf_t *lmcf)
{
    ngx_uint_t               i;
    lines_redis_status_t     status;
    lines_metrics_worker_t  *worker;

    if (lmcf->redis == NULL) {
        return;
    }

    lines_redis_status(lmcf->redis, &status);

    lines_metrics_delta(redis_commands, commands);
    lines_metrics_delta(redis_errors, errors);
    lines_metrics_delta(redis_disk, disk);
    lines_metrics_delta(redis_timeouts, timeouts);
    lines_metrics_delta(redis_late, late);
    lines_metrics_delta(redis_refused, refused);
    lines_metrics_delta(redis_resends, resends);
    lines_metrics_delta(redis_repeats, repeats);
    lines_metrics_delta(redis_reconnects, reconnects);

    for (i = 0; i < LINES_REDIS_LATENCIES; i++) {
        lines_metrics_delta(redis_latency.buckets[i], latency[i]);
    }

    lines_metrics_delta(redis_latency.sum, latency_sum);

    if (status.away && !metrics_published.away) {
        lines_metrics_inc(redis_opened);
    }

    worker = metrics_worker;

    if (worker->pid == (ngx_atomic_uint_t) ngx_pid) {
        worker->redis_connected = status.connected;
        worker->redis_away = status.away;
        worker->redis_probing = status.probing;
        worker->redis_inflight = status.inflight;
    }

    metrics_published = status;

    /* a warning goes once its cause has gone */

    if (status.settings || status.evicts || status.no_aof) {
        lines_redis_review(lmcf->redis);
    }
}
