
#include "api/tenant_limits.h"
#include "auth/dialect.h"
#include "auth/jwks.h"
#include "background/audit.h"
#include "background/survey.h"
#include "directive/params.h"
#include "http/answer.h"
#include "http/body.h"
#include "http/headers.h"
#include "http/metrics.h"
#include "http/text.h"
#include "limit/concurrency.h"
#include "limit/lease.h"
#include "limit/limit.h"
#include "observe/observe.h"
#include "operation/database.h"


#define LINES_METRICS_LABELS  256
#define LINES_METRICS_BUFFER  16384
#define LINES_METRICS_LINE    2048


/* values that no slot has: what a sample shows is as large as a counter */

typedef struct {
    ngx_atomic_uint_t       jwks_missing;
    ngx_atomic_uint_t       jwks_age;
    lines_lease_status_t    leases;
    ngx_uint_t              held;
    ngx_atomic_uint_t       waiting;
    ngx_atomic_uint_t       streams;
    ngx_uint_t              build;

    struct {
        ngx_atomic_uint_t   inflight;
        ngx_atomic_uint_t   connected;
        ngx_atomic_uint_t   breaker[3];    /* workers, by its state */
    } redis[LINES_METRICS_STORES];

    ngx_atomic_uint_t       database_held;
    ngx_atomic_uint_t       survey_age;
    ngx_atomic_uint_t       audit_age;
    lines_metrics_survey_t  survey;
    ngx_atomic_int_t        lines[LINES_STATES];
    ngx_atomic_uint_t       zone_free;
} metrics_values_t;


typedef struct {
    ngx_pool_t            *pool;
    ngx_chain_t           *first;
    ngx_chain_t          **next;      /* link, */
    ngx_buf_t             *buf;       /* and the last buffer */
    off_t                  len;
    lines_metrics_area_t  *area;
    metrics_values_t       values;
    ngx_uint_t             there;     /* bits, see below */
    ngx_uint_t             open;      /* flag: OpenMetrics */
    ngx_uint_t             failed;    /* flag: memory does not suffice */
} metrics_out_t;


/* what is shown only where it is there */

#define METRICS_CLERK    0x1    /* a lines_clerk */
#define METRICS_JWKS     0x2    /* an issuer's keys */
#define METRICS_BILLING  0x4
#define METRICS_SURVEY   0x8
#define METRICS_AUDIT    0x10   /* a pass has ended */
#define METRICS_LIMITS   0x20   /* a store of limits alone */


/*
 * A family and its samples, or more samples of the family before: of each name
 * of a registry, if it is by names, one for each word, if it has words, else
 * one.  Labels are formats of a name or word, "a b" or "a"; a label without
 * words says all by itself.
 */

typedef struct {
    const char  *name;      /* without a counter's suffix; NULL: more samples */
    const char  *type;
    const char  *help;
    ngx_uint_t   where;     /* bits */

    size_t       offset;
    ngx_uint_t   slots;     /* flag: there, the sum of all, else in the
                               values */
    const char  *label;
    ngx_str_t   *words;
    ngx_uint_t   nwords;

    const char  *names;     /* their labels, */
    ngx_uint_t   registry;
    size_t       size;      /* what each has in a slot, */
    ngx_uint_t   zeros;     /* of how many words a zero is shown, */
    ngx_uint_t   other;     /* and of the name "other" as well: flag */
} metrics_row_t;


#define in_slots(field)                                                       \
    .slots = 1, .offset = offsetof(lines_metrics_slot_t, field)

#define in_names(field, kind, format)                                         \
    in_slots(field), .size = sizeof(((lines_metrics_slot_t *) 0)->field[0]),  \
    .registry = LINES_METRICS_##kind, .names = format

#define in_values(field)                                                      \
    .offset = offsetof(metrics_values_t, field)

#define in_redis(field)                                                       \
    in_slots(redis[LINES_METRICS_REDIS].field)

#define in_limits(field)                                                      \
    in_slots(redis[LINES_METRICS_REDIS_LIMITS].field), .where = METRICS_LIMITS

#define in_survey(value)                                                      \
    in_values(survey.values[LINES_SURVEY_##value])

#define by(format, ...)                                                       \
    .label = format, .words = (ngx_str_t []) { __VA_ARGS__ },                 \
    .nwords = sizeof((ngx_str_t []) { __VA_ARGS__ }) / sizeof(ngx_str_t)

#define metrics_move(from, to)   ngx_string(#from " " #to),
#define metrics_counted(state)   ngx_string(#state),


static const metrics_row_t  metrics_table[] = {

    { "lines_build_info", "gauge",
      "1, with the versions of the module, of nginx and of hiredis.",
      .label = "version=\"" LINES_VERSION "\",nginx=\"" NGINX_VERSION "\","
               "hiredis=\"%V\"",
      .words = &lines_redis_hiredis, .nwords = 1, in_values(build) },

    { "lines_http_requests", "counter",
      "Requests answered, by endpoint and code.",
      in_names(requests, ENDPOINT, "api=\"%V\",endpoint=\"%V\""),
      .label = "code=\"%V\"",
      .words = lines_metrics_codes, .nwords = LINES_METRICS_CODES },
    { "lines_http_request_duration_seconds", "histogram",
      "Time from the first byte of a request to the last of its answer.",
      in_names(latency, ENDPOINT, "api=\"%V\",endpoint=\"%V\"") },

    { "lines_auth_attempts", "counter",
      "Authentications by method and outcome.",
      in_names(auth, AUTH, "method=\"%V\",outcome=\"%V\""),
      .zeros = 1, .other = 1 },
    { "lines_key_cache_lookups", "counter",
      "API keys looked up in the cache: hit, miss (Redis was asked), stale "
      "(used, as Redis could not be asked).",
      .label = "result=\"hit\"", in_slots(key_cache_hits) },
    { .label = "result=\"miss\"", in_slots(key_cache_misses) },
    { .label = "result=\"stale\"", in_slots(key_cache_stale) },

    { "lines_token_cache_lookups", "counter",
      "Session tokens looked up in the cache.", METRICS_CLERK,
      .label = "result=\"hit\"", in_slots(token_cache_hits) },
    { .label = "result=\"miss\"", in_slots(token_cache_misses) },
    { "lines_token_signatures", "counter",
      "Signatures of session tokens: good, bad, or not looked at, as too many "
      "of the client's address were bad.", METRICS_CLERK,
      by("result=\"%V\"", ngx_string("good"), ngx_string("bad"),
         ngx_string("refused")), in_slots(token_signatures) },
    { "lines_jwks_fetches", "counter",
      "Fetches of issuers' keys by outcome.", METRICS_CLERK,
      by("outcome=\"%V\"", ngx_string("ok"), ngx_string("invalid"),
         ngx_string("error")), in_slots(jwks_fetches) },
    { "lines_jwks_issuers_without_keys", "gauge",
      "Issuers whose keys were never fetched.", METRICS_CLERK,
      in_values(jwks_missing) },
    { "lines_jwks_age_seconds", "gauge",
      "Age of the oldest issuer's keys.", METRICS_JWKS, in_values(jwks_age) },

    { "lines_limit_requests", "counter",
      "Requests that met a limit, by outcome.",
      in_names(limits, LIMIT, "limit=\"%V\""), .label = "outcome=\"%V\"",
      .words = lines_limit_outcomes, .nwords = LINES_LIMIT_OUTCOMES,
      .zeros = 2 },
    { "lines_limit_settlements", "counter",
      "Batches of buckets settled with Redis.", in_slots(lease_settlements) },
    { "lines_limit_settled_buckets", "counter",
      "Buckets in those batches.", in_slots(lease_settled) },
    { "lines_limit_ahead_requests", "gauge",
      "Requests let through by this node, and not settled yet.",
      in_values(leases.ahead) },
    { "lines_limit_buckets", "gauge",
      "Buckets that this node remembers.", in_values(leases.buckets) },
    { "lines_limit_nodes", "gauge",
      "Nodes that share the buckets; 0: this one has no share, and asks Redis "
      "each time.", in_values(leases.nodes) },
    { "lines_concurrency_requests", "gauge",
      "Requests that lines_concurrency counts at present.",
      in_values(held) },
    { "lines_waiting_requests", "gauge",
      "Requests that wait for a line to change, of those.",
      in_values(waiting) },
    { "lines_event_streams", "gauge",
      "Streams of events that are open, of those.",
      in_values(streams) },
    { "lines_concurrency_limited_requests", "counter",
      "Requests that met lines_concurrency and were not simply counted.",
      .label = "outcome=\"%V\"", .words = lines_concurrency_outcomes,
      .nwords = LINES_METRICS_CONCURRENCY, in_slots(concurrency) },
    { "lines_tenant_limited_requests", "counter",
      "Requests refused as their tenant had reached a bound of "
      "lines_tenant_limits.",
      .label = "bound=\"%V\"", .words = lines_tenant_bounds,
      .nwords = LINES_TENANT_BOUNDS, in_slots(tenant_limited) },
    { "lines_webhook_calls", "counter",
      "Calls that told a webhook of an event; paused: such after which it is "
      "told no more.",
      by("outcome=\"%V\"", ngx_string("delivered"), ngx_string("failed"),
         ngx_string("paused")), in_slots(hooks) },

    { "lines_redis_operations", "counter",
      "Operations sent to Redis.", in_redis(commands) },
    { .label = "store=\"limits\"", in_limits(commands) },
    { "lines_redis_failures", "counter",
      "Operations without a good answer: error (a refusal, or a lost "
      "connection), timeout, refused (not sent, as Redis was away or too many "
      "were in flight).",
      .label = "reason=\"error\"", in_redis(errors) },
    { .label = "reason=\"disk\"", in_redis(disk) },
    { .label = "reason=\"timeout\"", in_redis(timeouts) },
    { .label = "reason=\"refused\"", in_redis(refused) },
    { .label = "store=\"limits\",reason=\"error\"", in_limits(errors) },
    { .label = "store=\"limits\",reason=\"disk\"", in_limits(disk) },
    { .label = "store=\"limits\",reason=\"timeout\"", in_limits(timeouts) },
    { .label = "store=\"limits\",reason=\"refused\"", in_limits(refused) },
    { "lines_redis_late_replies", "counter",
      "Replies that came after their deadline.", in_redis(late) },
    { .label = "store=\"limits\"", in_limits(late) },
    { "lines_redis_script_loads", "counter",
      "Scripts that Redis did not know yet.", in_redis(resends) },
    { .label = "store=\"limits\"", in_limits(resends) },
    { "lines_redis_repeats", "counter",
      "Operations sent again on a new connection.", in_redis(repeats) },
    { .label = "store=\"limits\"", in_limits(repeats) },
    { "lines_redis_reconnects", "counter",
      "Connections made anew.", in_redis(reconnects) },
    { .label = "store=\"limits\"", in_limits(reconnects) },
    { "lines_redis_breaker_openings", "counter",
      "Times that Redis was given up.", in_redis(opened) },
    { .label = "store=\"limits\"", in_limits(opened) },
    { "lines_redis_operation_duration_seconds", "histogram",
      "Time from an operation to its reply.", in_redis(latency) },
    { .label = "store=\"limits\"", in_limits(latency) },
    { "lines_redis_in_flight", "gauge",
      "Operations that wait for their reply.",
      in_values(redis[LINES_METRICS_REDIS].inflight) },
    { .label = "store=\"limits\"", .where = METRICS_LIMITS,
      in_values(redis[LINES_METRICS_REDIS_LIMITS].inflight) },
    { "lines_redis_connected_workers", "gauge",
      "Workers connected to Redis.",
      in_values(redis[LINES_METRICS_REDIS].connected) },
    { .label = "store=\"limits\"", .where = METRICS_LIMITS,
      in_values(redis[LINES_METRICS_REDIS_LIMITS].connected) },
    { "lines_redis_breaker_workers", "gauge",
      "Workers by the state of their breaker.",
      by("state=\"%V\"", ngx_string("closed"), ngx_string("open"),
         ngx_string("half_open")),
      in_values(redis[LINES_METRICS_REDIS].breaker) },
    { by("store=\"limits\",state=\"%V\"", ngx_string("closed"),
         ngx_string("open"), ngx_string("half_open")), .where = METRICS_LIMITS,
      in_values(redis[LINES_METRICS_REDIS_LIMITS].breaker) },

    { "lines_billing_calls", "counter",
      "Calls to billing by outcome.", METRICS_BILLING,
      by("outcome=\"%V\"", ngx_string("ok"), ngx_string("refused"),
         ngx_string("missing"), ngx_string("alert"), ngx_string("retry"),
         ngx_string("unknown"), ngx_string("unsent")),
      in_slots(billing_calls) },
    { .label = "outcome=\"other\"",
      in_slots(billing_calls[LINES_METRICS_CALLS - 1]) },
    { "lines_billing_call_duration_seconds", "histogram",
      "Time of a call with its repeats, and what it waited for.",
      METRICS_BILLING,
      in_slots(billing_latency) },
    { "lines_billing_budget_waits", "counter",
      "Calls to billing that waited, as the fleet's budget was used up.",
      METRICS_BILLING, in_slots(budget_waits) },
    { "lines_billing_budget_refused", "counter",
      "Calls to billing that waited in vain, and were not sent.",
      METRICS_BILLING, in_slots(budget_refused) },
    { "lines_database_held", "gauge",
      "1 while nothing is charged: Redis is not the database that it was, or "
      "what it was has not been read yet.", METRICS_BILLING,
      in_values(database_held) },

    { "lines_malformed_hints", "counter",
      "Hints that named no operation, and were dropped.",
      in_slots(malformed) },

    { "lines_audit_disagreements", "counter",
      "What the auditor found to disagree, by kind.", METRICS_BILLING,
      .label = "kind=\"%V\"", .words = lines_audit_kinds,
      .nwords = LINES_AUDITS, in_slots(audit) },
    { "lines_audit_age_seconds", "gauge",
      "Time since the auditor's last whole pass, or since the first began.",
      METRICS_AUDIT, in_values(audit_age) },

    { "lines_survey_age_seconds", "gauge",
      "Age of what was added up over all tenants: the families below.",
      METRICS_SURVEY, in_values(survey_age) },
    { "lines_tenants", "gauge",
      "Workspaces and accounts.", METRICS_SURVEY, in_survey(TENANTS) },
    { "lines_survey_skipped", "gauge",
      "What the last survey could not read, and passed over.", METRICS_SURVEY,
      in_survey(SKIPPED) },
    { "lines_line_transitions", "counter",
      "Moves of lines, of the whole fleet.", METRICS_SURVEY,
      by("from=\"%V\",to=\"%V\"", LINES_EACH_MOVE(metrics_move)),
      in_survey(SHOWN) },
    { "lines_lines", "gauge",
      "Lines by state.", METRICS_SURVEY,
      by("state=\"%V\"", LINES_EACH_COUNTED(metrics_counted)),
      in_values(lines[LINES_STATE_new + 1]) },
    { "lines_numbers", "gauge",
      "Numbers of the inventory by state.", METRICS_SURVEY,
      by("state=\"%V\"", ngx_string("free"), ngx_string("leased"),
         ngx_string("assigned"), ngx_string("quarantined")), in_survey(FREE) },
    { "lines_operations", "gauge",
      "Unfinished operations by state.", METRICS_SURVEY,
      by("state=\"%V\"", ngx_string("running"), ngx_string("stuck")),
      in_survey(OPERATIONS) },
    { "lines_operations_oldest_seconds", "gauge",
      "Age of the oldest unfinished operation.", METRICS_SURVEY,
      in_survey(OLDEST) },
    { "lines_webhook_events_untold", "gauge",
      "Events that webhooks are to be told of again.", METRICS_SURVEY,
      in_survey(UNTOLD) },

    { "lines_zone_free_bytes", "gauge",
      "Free pages of lines_zone.", in_values(zone_free) }
};


static void
metrics_fill(metrics_out_t *out, lines_main_conf_t *lmcf)
{
    ngx_int_t                age;
    ngx_uint_t               i, n;
    metrics_values_t        *values;
    lines_jwks_status_t      jwks;
    lines_metrics_worker_t  *worker;

    values = &out->values;
    out->area = lines_zone_area(lmcf, LINES_ZONE_METRICS);

    if (lmcf->jwks) {
        lines_jwks_status(lmcf, &jwks);

        out->there |= METRICS_CLERK | (jwks.known ? METRICS_JWKS : 0);
        values->jwks_missing = jwks.missing;
        values->jwks_age = jwks.age / 1000;
    }

    lines_lease_status(&values->leases);

    values->build = 1;
    values->held = lines_concurrency_held(lmcf);

    for (i = 0; i < LINES_METRICS_WORKERS; i++) {
        worker = &out->area->workers[i];

        values->waiting += worker->waiting;
        values->streams += worker->streams;

        for (n = 0; worker->pid && n < LINES_METRICS_STORES; n++) {
            values->redis[n].breaker[worker->redis[n].probing ? 2
                                     : worker->redis[n].away ? 1 : 0]++;
            values->redis[n].connected += worker->redis[n].connected;
            values->redis[n].inflight += worker->redis[n].inflight;
        }
    }

    if (lmcf->limits_conf.name.len) {
        out->there |= METRICS_LIMITS;
    }

    if (lmcf->billing) {
        out->there |= METRICS_BILLING;
        values->database_held = lines_database_held(lmcf);
    }

    values->survey = out->area->survey;

    if (values->survey.at) {
        out->there |= METRICS_SURVEY;
    }

    age = ngx_time() - (time_t) values->survey.at;
    values->survey_age = ngx_max(age, 0);

    if (out->area->audited) {
        out->there |= METRICS_AUDIT;

        age = ngx_time() - (time_t) out->area->audited;
        values->audit_age = ngx_max(age, 0);
    }

    lines_survey_states(&values->survey, values->lines);

    values->zone_free = lines_zone_pool(lmcf)->pfree * ngx_pagesize;
}


/* a line, or a few */

static void
metrics_print(metrics_out_t *out, const char *fmt, ...)
{
    u_char       *p;
    va_list       args;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = out->buf;

    if (b == NULL || b->end - b->last < LINES_METRICS_LINE) {

        cl = ngx_alloc_chain_link(out->pool);
        b = ngx_create_temp_buf(out->pool, LINES_METRICS_BUFFER);

        if (cl == NULL || b == NULL || out->failed) {
            out->failed = 1;
            return;
        }

        cl->buf = b;
        cl->next = NULL;

        *out->next = cl;
        out->next = &cl->next;
        out->buf = b;
    }

    va_start(args, fmt);
    p = ngx_vslprintf(b->last, b->end, fmt, args);
    va_end(args);

    out->len += p - b->last;
    b->last = p;
}


static ngx_atomic_uint_t
metrics_value(metrics_out_t *out, ngx_uint_t slots, size_t offset)
{
    return slots ? lines_metrics_sum(out->area, offset)
                 : *(ngx_atomic_uint_t *) ((u_char *) &out->values + offset);
}


/* names are ours or checked, and need no escapes */

static void
metrics_label(ngx_str_t *labels, const char *fmt, u_char *data, size_t len)
{
    u_char     *p, *last;
    ngx_str_t   a, b = { len, data };

    a = lines_word(&b);
    last = labels->data + LINES_METRICS_LABELS;

    p = ngx_slprintf(labels->data + labels->len, last, labels->len ? "," : "");
    p = ngx_slprintf(p, last, fmt, &a, &b);

    labels->len = p - labels->data;
}


static void
metrics_histogram(metrics_out_t *out, const char *name, ngx_str_t *labels,
    size_t offset)
{
    const char        *comma;
    ngx_uint_t         i;
    ngx_atomic_uint_t  count, sum, values[LINES_METRICS_BUCKETS + 1];

    static const char  *les[] = {
        "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5",
        "1.0", "2.0", "5.0", "10.0", "+Inf"
    };

    _Static_assert(sizeof(les) / sizeof(les[0]) == LINES_METRICS_BUCKETS + 1,
                   "les: the text of each bound");

    count = 0;

    for (i = 0; i <= LINES_METRICS_BUCKETS; i++) {
        count += metrics_value(out, 1, offset
                               + offsetof(lines_histogram_t, buckets[i]));
        values[i] = count;
    }

    if (count == 0 && labels->len) {
        return;
    }

    comma = labels->len ? "," : "";

    for (i = 0; i <= LINES_METRICS_BUCKETS; i++) {
        metrics_print(out, "%s_bucket{%V%sle=\"%s\"} %uA\n", name, labels,
                      comma, les[i], values[i]);
    }

    sum = metrics_value(out, 1, offset + offsetof(lines_histogram_t, sum));

    metrics_print(out, labels->len
                       ? "%s_sum{%V} %uA.%03uA\n%s_count{%V} %uA\n"
                       : "%s_sum%V %uA.%03uA\n%s_count%V %uA\n",
                  name, labels, sum / 1000, sum % 1000, name, labels, count);
}


static void
metrics_samples(metrics_out_t *out, const metrics_row_t *family,
    const metrics_row_t *row, ngx_str_t *labels, size_t offset,
    ngx_uint_t zeros)
{
    size_t             len;
    ngx_str_t         *word, none = ngx_string("");
    ngx_uint_t         i;
    ngx_atomic_uint_t  value;

    if (family->type[0] == 'h') {
        if (row->label) {
            metrics_label(labels, row->label, (u_char *) "", 0);
        }

        metrics_histogram(out, family->name, labels, offset);
        return;
    }

    len = labels->len;

    for (i = 0; i < ngx_max(row->nwords, 1); i++) {
        value = metrics_value(out, row->slots,
                              offset + i * sizeof(ngx_atomic_t));

        if (value == 0 && i >= zeros) {
            continue;
        }

        labels->len = len;

        if (row->label) {
            word = row->words ? &row->words[i] : &none;
            metrics_label(labels, row->label, word->data, word->len);
        }

        metrics_print(out, labels->len ? "%s%s{%V} %uA\n" : "%s%s%V %uA\n",
                      family->name, family->type[0] == 'c' ? "_total" : "",
                      labels, value);
    }
}


/* a counter's family has its suffix in Prometheus' text only */

static void
metrics_rows(metrics_out_t *out)
{
    u_char                     buffer[LINES_METRICS_LABELS];
    ngx_str_t                  labels;
    const char                *suffix;
    ngx_uint_t                 i, n;
    const metrics_row_t       *row, *family;
    lines_metrics_registry_t  *registry;

    family = NULL;
    labels.data = buffer;

    for (i = 0; i < sizeof(metrics_table) / sizeof(metrics_row_t); i++) {
        row = &metrics_table[i];

        if (row->name) {
            family = row;
        }

        if ((family->where | row->where) & ~out->there) {
            continue;
        }

        if (row->name) {
            suffix = (row->type[0] == 'c' && !out->open) ? "_total" : "";

            metrics_print(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", row->name,
                          suffix, row->help, row->name, suffix, row->type);
        }

        labels.len = 0;

        if (row->names == NULL) {
            metrics_samples(out, family, row, &labels, row->offset,
                            ngx_max(row->nwords, 1));
            continue;
        }

        registry = &out->area->registries[row->registry];

        for (n = 0; n < registry->count; n++, labels.len = 0) {
            metrics_label(&labels, row->names, registry->names[n].data,
                          registry->names[n].len);

            metrics_samples(out, family, row, &labels,
                            row->offset + n * row->size,
                            (n || row->other) ? row->zeros : 0);
        }
    }
}


/* Prometheus names it first; whoever refuses it writes q=0 */

static ngx_uint_t
metrics_wants_open(ngx_http_request_t *r)
{
    u_char           *p, *end;
    ngx_table_elt_t  *h;
    static u_char     type[] = "application/openmetrics-text";

    h = lines_find_header(r, "accept");

    if (h == NULL) {
        return 0;
    }

    p = ngx_strlcasestrn(h->value.data, h->value.data + h->value.len, type,
                         sizeof(type) - 2);
    if (p == NULL) {
        return 0;
    }

    end = p + strcspn((char *) p, ",");
    p = ngx_strlcasestrn(p, end, (u_char *) "q=0", 2);

    while (p && p < end && (*p < '1' || *p > '9')) {
        p++;
    }

    return p != end;
}


static ngx_int_t
metrics_show(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    metrics_out_t  out;

    static ngx_str_t  text = ngx_string("text/plain; version=0.0.4; "
                                        "charset=utf-8");
    static ngx_str_t  open = ngx_string("application/openmetrics-text; "
                                        "version=1.0.0; charset=utf-8");

    ngx_memzero(&out, sizeof(metrics_out_t));

    out.pool = r->pool;
    out.next = &out.first;
    out.open = metrics_wants_open(r);

    metrics_fill(&out, lines_get_main_conf(r));
    metrics_rows(&out);

    if (out.open) {
        metrics_print(&out, "# EOF\n");
    }

    if (out.failed) {
        return NGX_ERROR;
    }

    out.buf->last_buf = (r == r->main) ? 1 : 0;
    out.buf->last_in_chain = 1;

    return lines_answer_chain(r, ctx, NGX_HTTP_OK, out.open ? &open : &text,
                              out.first, out.len);
}


static lines_route_t  metrics_routes[] = {

    { NGX_HTTP_GET, ngx_string(""), ngx_string("metrics"),
      { NULL, NULL, NULL, lines_discard_body },
      (lines_step_pt []) { metrics_show, NULL }, NULL },

    { 0, ngx_null_string, ngx_null_string, { NULL }, NULL, NULL }
};


static lines_api_t  metrics_api = {
    ngx_string("metrics"),
    lines_plain_error,
    metrics_routes,
    0,
    NULL
};


char *
lines_metrics_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_msec_t          survey;
    lines_main_conf_t  *lmcf;

    static lines_param_t  params[] = {
        { .name = ngx_string("survey"), .type = LINES_PARAM_MSEC,
          .min = 1, .max = LINES_PARAM_ANY },
        lines_param_end
    };

    static lines_directive_t  directive = {
        .name = "lines_metrics",
        .params = params
    };

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    if (lines_params(cf, &directive, 1, &survey) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    /* the last word is that of a location that says one */

    if (survey) {
        lmcf->survey = survey;

    } else if (lmcf->survey == 0) {
        lmcf->survey = LINES_SURVEY_PAUSE;
    }

    return lines_set_api(cf, conf, &metrics_api);
}
