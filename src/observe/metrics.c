
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/dialect.h"
#include "directive/params.h"
#include "http/answer.h"
#include "http/body.h"
#include "http/text.h"
#include "limit/lease.h"
#include "limit/limit.h"
#include "observe/metrics.h"
#include "observe/metrics_auth.h"
#include "observe/metrics_text.h"
#include "observe/survey.h"


#define LINES_METRICS_SURVEY  30000


static ngx_int_t metrics_show(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t metrics_send(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_metrics_out_t *out);

static void metrics_requests(lines_metrics_out_t *out);
static void metrics_limits(lines_metrics_out_t *out, lines_main_conf_t *lmcf);
static void metrics_redis(lines_metrics_out_t *out);
static void metrics_billing_calls(lines_metrics_out_t *out);
static void metrics_lines(lines_metrics_out_t *out);
static void metrics_zone(lines_metrics_out_t *out, lines_main_conf_t *lmcf);


static lines_step_pt  metrics_steps[] = {
    metrics_show,
    NULL
};


static lines_route_t  metrics_routes[] = {

    { NGX_HTTP_GET, ngx_string(""), ngx_string("metrics"),
      { NULL, NULL, NULL, lines_discard_body },
      metrics_steps },

    { 0, ngx_null_string, ngx_null_string, { NULL }, NULL }
};


lines_api_t  lines_metrics_api = {
    ngx_string("metrics"),
    lines_plain_error,
    metrics_routes,
    0
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
        lmcf->survey = LINES_METRICS_SURVEY;
    }

    return lines_set_api(cf, conf, &lines_metrics_api);
}


static ngx_int_t
metrics_show(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_main_conf_t   *lmcf;
    lines_metrics_out_t  out;

    lmcf = lines_get_main_conf(r);

    ngx_memzero(&out, sizeof(lines_metrics_out_t));

    out.pool = r->pool;
    out.area = lines_zone_area(lmcf, LINES_ZONE_METRICS);
    out.open = lines_metrics_wants_open(r);

    metrics_requests(&out);
    lines_metrics_auth(&out, lmcf);
    metrics_limits(&out, lmcf);
    metrics_redis(&out);

    if (lmcf->billing) {
        metrics_billing_calls(&out);
    }

    metrics_lines(&out);
    metrics_zone(&out, lmcf);

    if (out.open) {
        lines_metrics_print(&out, "# EOF\n");
    }

    if (out.failed) {
        return NGX_ERROR;
    }

    return metrics_send(r, ctx, &out);
}


static ngx_int_t
metrics_send(ngx_http_request_t *r, lines_ctx_t *ctx, lines_metrics_out_t *out)
{
    static ngx_str_t  text = ngx_string("text/plain; version=0.0.4; "
                                        "charset=utf-8");
    static ngx_str_t  open = ngx_string("application/openmetrics-text; "
                                        "version=1.0.0; charset=utf-8");

    out->last->buf->last_buf = (r == r->main) ? 1 : 0;
    out->last->buf->last_in_chain = 1;

    return lines_answer_chain(r, ctx, NGX_HTTP_OK, out->open ? &open : &text,
                              out->first, out->len);
}


static void
metrics_requests(lines_metrics_out_t *out)
{
    u_char             buffer[LINES_METRICS_LABELS];
    size_t             offset;
    ngx_str_t          labels;
    ngx_uint_t         i, n, count;
    ngx_atomic_uint_t  value;

    labels.data = buffer;
    count = out->area->registries[LINES_METRICS_ENDPOINT].count;

    lines_metrics_family(out, "lines_http_requests", "counter",
                         "Requests answered, by endpoint and code.");

    for (i = 0; i < count; i++) {
        lines_metrics_labels(out, LINES_METRICS_ENDPOINT, i, "api", "endpoint",
                             &labels);

        for (n = 0; n < LINES_METRICS_CODES; n++) {
            value = lines_metrics_of(out, requests[i][n]);

            if (value) {
                lines_metrics_print(out,
                             "lines_http_requests_total{%V,code=\"%V\"} %uA\n",
                             &labels, &lines_metrics_codes[n], value);
            }
        }
    }

    lines_metrics_family(out, "lines_http_request_duration_seconds",
                         "histogram",
                         "Time from the first byte of "
                         "a request to the last of its answer.");

    for (i = 0; i < count; i++) {
        offset = offsetof(lines_metrics_slot_t, latency[i]);

        lines_metrics_labels(out, LINES_METRICS_ENDPOINT, i, "api", "endpoint",
                             &labels);

        lines_metrics_histogram(out, "lines_http_request_duration_seconds",
                                &labels, offset);
    }
}


static void
metrics_limits(lines_metrics_out_t *out, lines_main_conf_t *lmcf)
{
    u_char             buffer[LINES_METRICS_LABELS];
    ngx_str_t          labels;
    ngx_uint_t         i, n, tokens, buckets;
    ngx_atomic_uint_t  value;

    labels.data = buffer;

    lines_metrics_family(out, "lines_limit_requests", "counter",
                         "Requests that met a limit, by outcome.");

    for (i = 0; i < out->area->registries[LINES_METRICS_LIMIT].count; i++) {
        lines_metrics_labels(out, LINES_METRICS_LIMIT, i, "limit", NULL,
                             &labels);

        for (n = 0; n < LINES_LIMIT_OUTCOMES; n++) {
            value = lines_metrics_of(out, limits[i][n]);

            if (value == 0 && (i == 0 || n > 1)) {
                continue;
            }

            lines_metrics_print(out,
                         "lines_limit_requests_total{%V,outcome=\"%V\"} %uA\n",
                         &labels, &lines_limit_outcomes[n], value);
        }
    }

    lines_metrics_single(out, "lines_limit_lease_renewals", "counter",
                         "Leases renewed ahead of use.",
                         lines_metrics_of(out, lease_renewals));
    lines_metrics_single(out, "lines_limit_lease_returned_tokens", "counter",
                         "Unused tokens given back.",
                         lines_metrics_of(out, lease_returned));

    lines_lease_status(lmcf, &tokens, &buckets);

    lines_metrics_single(out, "lines_limit_leased_tokens", "gauge",
                         "Unused tokens that this node holds.", tokens);
    lines_metrics_single(out, "lines_limit_buckets", "gauge",
                         "Buckets that this node remembers.", buckets);
}


static void
metrics_redis(lines_metrics_out_t *out)
{
    ngx_str_t          none = ngx_null_string;
    ngx_uint_t         i;
    ngx_atomic_uint_t  away, probing, workers, connected,
                                      inflight;
    lines_metrics_worker_t  *worker;

    lines_metrics_single(out, "lines_redis_operations", "counter",
                         "Operations sent to Redis.",
                         lines_metrics_of(out, redis_commands));

    lines_metrics_family(out, "lines_redis_failures", "counter",
                         "Operations without a good answer: error "
                         "(a refusal, or a lost connection), "
                         "timeout, refused (not sent, as Redis was "
                         "away or too many were in flight).");

    lines_metrics_print(out,
                        "lines_redis_failures_total{reason=\"error\"} %uA\n"
                        "lines_redis_failures_total{reason=\"disk\"} %uA\n"
                        "lines_redis_failures_total{reason=\"timeout\"} %uA\n"
                        "lines_redis_failures_total{reason=\"refused\"} %uA\n",
                        lines_metrics_of(out, redis_errors),
                        lines_metrics_of(out, redis_disk),
                        lines_metrics_of(out, redis_timeouts),
                        lines_metrics_of(out, redis_refused));

    lines_metrics_single(out, "lines_redis_late_replies", "counter",
                         "Replies that came after their deadline.",
                         lines_metrics_of(out, redis_late));
    lines_metrics_single(out, "lines_redis_script_loads", "counter",
                         "Scripts that Redis did not know yet.",
                         lines_metrics_of(out, redis_resends));
    lines_metrics_single(out, "lines_redis_repeats", "counter",
                         "Operations sent again on a new connection.",
                         lines_metrics_of(out, redis_repeats));
    lines_metrics_single(out, "lines_redis_reconnects", "counter",
                         "Connections made anew.",
                         lines_metrics_of(out, redis_reconnects));
    lines_metrics_single(out, "lines_redis_breaker_openings", "counter",
                         "Times that Redis was given up.",
                         lines_metrics_of(out, redis_opened));

    lines_metrics_family(out, "lines_redis_operation_duration_seconds",
                         "histogram", "Time from an operation to its reply.");
    lines_metrics_histogram(out, "lines_redis_operation_duration_seconds",
                            &none,
                            offsetof(lines_metrics_slot_t, redis_latency));

    away = 0;
    probing = 0;
    workers = 0;
    connected = 0;
    inflight = 0;

    for (i = 0; i < LINES_METRICS_WORKERS; i++) {
        worker = &out->area->workers[i];

        if (worker->pid) {
            workers++;
            away += worker->redis_away;
            probing += worker->redis_probing;
            connected += worker->redis_connected;
            inflight += worker->redis_inflight;
        }
    }

    lines_metrics_single(out, "lines_redis_in_flight", "gauge",
                         "Operations that wait for their reply.", inflight);
    lines_metrics_single(out, "lines_redis_connected_workers", "gauge",
                         "Workers connected to Redis.", connected);

    lines_metrics_family(out, "lines_redis_breaker_workers", "gauge",
                         "Workers by the state of their breaker.");

    lines_metrics_print(out,
                      "lines_redis_breaker_workers{state=\"closed\"} %uA\n"
                      "lines_redis_breaker_workers{state=\"open\"} %uA\n"
                      "lines_redis_breaker_workers{state=\"half_open\"} %uA\n",
                      workers > away ? workers - away : 0,
                      away > probing ? away - probing : 0, probing);
}


static void
metrics_billing_calls(lines_metrics_out_t *out)
{
    ngx_str_t   none = ngx_null_string;
    ngx_uint_t  i;
    static const char  *outcomes[LINES_METRICS_CALLS] = {
        "ok", "refused", "alert", "retry", "unknown", "unsent", NULL, "other"
    };

    lines_metrics_family(out, "lines_billing_calls", "counter",
                         "Calls to billing by outcome.");

    for (i = 0; i < LINES_METRICS_CALLS; i++) {
        if (outcomes[i]) {
            lines_metrics_print(out,
                             "lines_billing_calls_total{outcome=\"%s\"} %uA\n",
                             outcomes[i],
                             lines_metrics_of(out, billing_calls[i]));
        }
    }

    lines_metrics_family(out, "lines_billing_call_duration_seconds",
                         "histogram", "Time of a call with its repeats.");
    lines_metrics_histogram(out, "lines_billing_call_duration_seconds", &none,
                            offsetof(lines_metrics_slot_t, billing_latency));
}


/* lines in a state are those that went there less those that left */

static ngx_int_t
metrics_in_state(ngx_atomic_t *values, const char *state)
{
    ngx_int_t             n;
    ngx_uint_t            i;
    lines_survey_move_t  *move;

    n = 0;

    for (i = 0; i < LINES_SURVEY_MOVES; i++) {
        move = &lines_survey_moves[i];

        if (lines_is(&move->to, state)) {
            n += values[LINES_SURVEY_RAW + i];
        }

        if (lines_is(&move->from, state)) {
            n -= values[LINES_SURVEY_RAW + i];
        }
    }

    return n > 0 ? n : 0;
}


static void
metrics_lines(lines_metrics_out_t *out)
{
    ngx_int_t                age;
    ngx_uint_t               i;
    ngx_atomic_t            *values;
    lines_survey_move_t     *move;
    lines_metrics_survey_t  *survey;
    static const char                *states[] = {
        "awaiting_payment", "provisioning", "active", "failed", "canceled",
        "released", NULL
    };

    survey = &out->area->survey;
    values = survey->values;

    if (survey->at == 0) {
        return;
    }

    age = ngx_time() - (time_t) survey->at;

    lines_metrics_single(out, "lines_survey_age_seconds", "gauge",
                         "Age of what was added up over all "
                         "tenants: the families below.", ngx_max(age, 0));
    lines_metrics_single(out, "lines_tenants", "gauge",
                         "Workspaces and accounts.",
                         values[LINES_SURVEY_TENANTS]);

    lines_metrics_family(out, "lines_line_transitions", "counter",
                         "Moves of lines, of the whole fleet.");

    for (i = 0; i < LINES_SURVEY_MOVES; i++) {
        move = &lines_survey_moves[i];

        lines_metrics_print(out,
                   "lines_line_transitions_total{from=\"%V\",to=\"%V\"} %uA\n",
                   &move->from, &move->to, values[LINES_SURVEY_SHOWN + i]);
    }

    lines_metrics_family(out, "lines_lines", "gauge", "Lines by state.");

    for (i = 0; states[i]; i++) {
        lines_metrics_print(out, "lines_lines{state=\"%s\"} %i\n", states[i],
                            metrics_in_state(values, states[i]));
    }

    lines_metrics_family(out, "lines_numbers", "gauge",
                         "Numbers of the inventory by state.");

    lines_metrics_print(out,
                        "lines_numbers{state=\"free\"} %uA\n"
                        "lines_numbers{state=\"leased\"} %uA\n"
                        "lines_numbers{state=\"assigned\"} %uA\n"
                        "lines_numbers{state=\"quarantined\"} %uA\n",
                        values[LINES_SURVEY_FREE], values[LINES_SURVEY_LEASED],
                        values[LINES_SURVEY_ASSIGNED],
                        values[LINES_SURVEY_QUARANTINED]);

    lines_metrics_family(out, "lines_operations", "gauge",
                         "Unfinished operations by state.");

    lines_metrics_print(out,
                        "lines_operations{state=\"running\"} %uA\n"
                        "lines_operations{state=\"stuck\"} %uA\n",
                        values[LINES_SURVEY_OPERATIONS],
                        values[LINES_SURVEY_STUCK]);

    lines_metrics_single(out, "lines_operations_oldest_seconds", "gauge",
                         "Age of the oldest unfinished operation.",
                         values[LINES_SURVEY_OLDEST]);
}


static void
metrics_zone(lines_metrics_out_t *out, lines_main_conf_t *lmcf)
{
    ngx_slab_pool_t  *shpool;

    shpool = lines_zone_pool(lmcf);

    lines_metrics_single(out, "lines_zone_free_bytes", "gauge",
                         "Free pages of lines_zone.",
                         shpool->pfree * ngx_pagesize);
}
