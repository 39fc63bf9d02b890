
#include "http/metrics.h"
#include "http/router.h"
#include "http/text.h"


#define LINES_METRICS_PUBLISH  1000


/* the classes come last, by their first digit from 1 */

#define code(text)  ngx_string(#text)

ngx_str_t  lines_metrics_codes[LINES_METRICS_CODES] = {
    code(101), code(200), code(201), code(202), code(204), code(206),
    code(301), code(302), code(303), code(304), code(307), code(308),
    code(400), code(401), code(402), code(403), code(404), code(405),
    code(409), code(410), code(413), code(415), code(422), code(429),
    code(499), code(500), code(501), code(502), code(503), code(504),
    code(other), code(1xx), code(2xx), code(3xx), code(4xx), code(5xx)
};

#define LINES_METRICS_SINGLE  30


/* counts of what happens before a worker has its slot go nowhere */

static lines_metrics_slot_t  metrics_nowhere;

lines_metrics_slot_t  *lines_metrics = &metrics_nowhere;


static lines_metrics_area_t    *metrics_area;
static lines_metrics_worker_t  *metrics_worker;
static ngx_slab_pool_t         *metrics_shpool;
static ngx_event_t              metrics_timer;
static lines_redis_status_t     metrics_published[LINES_METRICS_STORES];


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
        area->registries[i].names[0].len
            = ngx_sprintf(area->registries[i].names[0].data, "other other")
              - area->registries[i].names[0].data;
    }

    return area;
}


static ngx_uint_t
metrics_find(lines_metrics_registry_t *registry, ngx_str_t *name)
{
    ngx_uint_t  i, count;

    count = registry->count;
    ngx_memory_barrier();

    for (i = 1; i < count; i++) {
        if (registry->names[i].len == name->len
            && ngx_memcmp(registry->names[i].data, name->data, name->len) == 0)
        {
            return i;
        }
    }

    return 0;
}


ngx_uint_t
lines_metrics_name(lines_metrics_registry_e registry, ngx_str_t *a,
    ngx_str_t *b)
{
    u_char                     buffer[LINES_METRICS_NAME_LEN];
    ngx_str_t                  name;
    ngx_uint_t                 n;
    lines_metrics_registry_t  *reg;

    name.data = buffer;
    name.len = b ? a->len + 1 + b->len : a->len;

    if (name.len == 0 || name.len > LINES_METRICS_NAME_LEN) {
        return 0;
    }

    if (b) {
        (void) lines_pair(buffer, a, b);

    } else {
        name.data = a->data;
    }

    reg = &metrics_area->registries[registry];
    n = metrics_find(reg, &name);

    if (n || reg->count == LINES_METRICS_NAMES) {
        return n;
    }

    ngx_shmtx_lock(&metrics_shpool->mutex);

    n = metrics_find(reg, &name);

    if (n == 0 && reg->count < LINES_METRICS_NAMES) {
        n = reg->count;

        reg->names[n].len = (u_char) name.len;
        ngx_memcpy(reg->names[n].data, name.data, name.len);

        /* a reader that sees the number sees the name */
        ngx_memory_barrier();
        reg->count = n + 1;
    }

    ngx_shmtx_unlock(&metrics_shpool->mutex);

    return n;
}


static ngx_uint_t
metrics_code(ngx_http_request_t *r)
{
    ngx_int_t   status;
    ngx_uint_t  i;

    status = r->err_status ? r->err_status : r->headers_out.status;

    if (status == 0 && r->http_version == NGX_HTTP_VERSION_9) {
        status = 200;
    }

    if (status < 100 || status > 599) {
        return LINES_METRICS_SINGLE;
    }

    for (i = 0; i < LINES_METRICS_SINGLE; i++) {
        if (ngx_atoi(lines_metrics_codes[i].data, 3) == status) {
            return i;
        }
    }

    return LINES_METRICS_SINGLE + status / 100;
}


#define metrics_delta(counter, field)                                         \
    lines_metrics_add(redis[store].counter,                                   \
                      status.field - metrics_published[store].field)


static void
metrics_publish_store(lines_redis_t *redis, ngx_uint_t store)
{
    ngx_uint_t            i;
    lines_redis_status_t  status;

    lines_redis_status(redis, &status);

    metrics_delta(commands, commands);
    metrics_delta(errors, errors);
    metrics_delta(disk, disk);
    metrics_delta(timeouts, timeouts);
    metrics_delta(late, late);
    metrics_delta(refused, refused);
    metrics_delta(resends, resends);
    metrics_delta(repeats, repeats);
    metrics_delta(reconnects, reconnects);

    for (i = 0; i < LINES_REDIS_LATENCIES; i++) {
        metrics_delta(latency.buckets[i], latency[i]);
    }

    metrics_delta(latency.sum, latency_sum);

    if (status.away && !metrics_published[store].away) {
        lines_metrics_inc(redis[store].opened);
    }

    if (metrics_worker->pid == (ngx_atomic_uint_t) ngx_pid) {
        metrics_worker->redis[store].connected = status.connected;
        metrics_worker->redis[store].away = status.away;
        metrics_worker->redis[store].probing = status.probing;
        metrics_worker->redis[store].inflight = status.inflight;
    }

    metrics_published[store] = status;

    /* a warning goes once its cause has gone */

    if (status.settings || status.evicts || status.no_aof) {
        lines_redis_review(redis);
    }
}


static void
metrics_publish(lines_main_conf_t *lmcf)
{
    lines_redis_t  *limits;

    limits = lines_redis_limits(lmcf->redis);

    metrics_publish_store(lmcf->redis, LINES_METRICS_REDIS);

    if (limits != lmcf->redis) {
        metrics_publish_store(limits, LINES_METRICS_REDIS_LIMITS);
    }
}


static void
metrics_timer_handler(ngx_event_t *ev)
{
    metrics_publish(ev->data);

    if (!ngx_exiting) {
        ngx_add_timer(ev, LINES_METRICS_PUBLISH);
    }
}


void
lines_metrics_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    metrics_area = lines_zone_area(lmcf, LINES_ZONE_METRICS);
    metrics_shpool = lines_zone_pool(lmcf);

    lines_metrics = &metrics_area->slots[ngx_worker % LINES_METRICS_SLOTS];

    metrics_worker = &metrics_area->workers[
                               ngx_worker % LINES_METRICS_WORKERS];

    ngx_memzero(metrics_worker, sizeof(lines_metrics_worker_t));

    metrics_worker->pid = ngx_pid;

    metrics_timer.handler = metrics_timer_handler;
    metrics_timer.data = lmcf;
    metrics_timer.log = cycle->log;
    metrics_timer.cancelable = 1;

    ngx_add_timer(&metrics_timer, 100);
}


void
lines_metrics_exit_process(lines_main_conf_t *lmcf)
{
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


void
lines_metrics_waiting(ngx_uint_t waits, ngx_uint_t streams)
{
    if (metrics_worker
        && metrics_worker->pid == (ngx_atomic_uint_t) ngx_pid)
    {
        metrics_worker->waiting = waits;
        metrics_worker->streams = streams;
    }
}


ngx_atomic_uint_t
lines_metrics_sum(lines_metrics_area_t *area, size_t offset)
{
    ngx_uint_t         i;
    ngx_atomic_uint_t  sum;

    sum = 0;

    for (i = 0; i < LINES_METRICS_SLOTS; i++) {
        sum += *(ngx_atomic_t *) ((u_char *) &area->slots[i] + offset);
    }

    return sum;
}


static ngx_int_t
metrics_log_handler(ngx_http_request_t *r)
{
    ngx_str_t         *api, *name, *method, *failure;
    ngx_uint_t         i;
    ngx_msec_int_t     ms;
    lines_ctx_t       *ctx;
    lines_identity_t  *identity;

    static ngx_str_t  gateway = ngx_string("gateway");
    static ngx_str_t  location = ngx_string("location");
    static ngx_str_t  accepted = ngx_string("accepted");
    static ngx_str_t  none = ngx_string("none");

    ctx = (r == r->main) ? lines_find_ctx(r) : NULL;

    /* a variable alone makes a context, too */

    if (ctx == NULL
        || (ctx->api == NULL
            && ctx->limit == NULL
            && ctx->identity.rules.methods == 0))
    {
        return NGX_OK;
    }

    api = &gateway;
    name = &location;

    /* api is set for the sake of its errors, too */

    if (ctx->route || (ctx->api && ctx->api->routes)) {
        api = &ctx->api->name;
        name = ctx->route ? &ctx->route->name : &none;
    }

    i = lines_metrics_name(LINES_METRICS_ENDPOINT, api, name);

    ms = (ngx_msec_int_t) ((ngx_cached_time->sec - r->start_sec) * 1000
                           + (ngx_cached_time->msec - r->start_msec))
         - (ngx_msec_int_t) ctx->waited;

    lines_metrics_inc(requests[i][metrics_code(r)]);
    lines_histogram_add(&lines_metrics->latency[i],
                        (ngx_msec_t) ngx_max(ms, 0));

    /* the operator names tenants without being one */

    identity = &ctx->identity;

    if (identity->method.len || identity->failure.len) {
        method = identity->method.len ? &identity->method : &none;
        failure = identity->failure.len ? &identity->failure : &accepted;

        i = lines_metrics_name(LINES_METRICS_AUTH, method, failure);

        lines_metrics_inc(auth[i]);
    }

    return NGX_OK;
}


ngx_int_t
lines_metrics_init(ngx_conf_t *cf)
{
    return lines_add_handler(cf, NGX_HTTP_LOG_PHASE, metrics_log_handler,
                             NULL);
}
