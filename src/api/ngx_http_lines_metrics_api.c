
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_metrics_api.h"
#include "ngx_http_lines_metrics_text.h"
#include "ngx_http_lines_metrics_auth.h"
#include "ngx_http_lines_workspace.h"
#include "ngx_http_lines_survey.h"
#include "ngx_http_lines_limit.h"
#include "ngx_http_lines_lease.h"


#define NGX_HTTP_LINES_METRICS_SURVEY  30000


static ngx_int_t ngx_http_lines_metrics_show(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_metrics_send(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_metrics_out_t *out);

static void ngx_http_lines_metrics_requests(ngx_http_lines_metrics_out_t *out);
static void ngx_http_lines_metrics_limits(ngx_http_lines_metrics_out_t *out,
    ngx_http_lines_main_conf_t *lmcf);
static void ngx_http_lines_metrics_redis(ngx_http_lines_metrics_out_t *out);
static void ngx_http_lines_metrics_billing_calls(
    ngx_http_lines_metrics_out_t *out);
static void ngx_http_lines_metrics_lines(ngx_http_lines_metrics_out_t *out);
static void ngx_http_lines_metrics_zone(ngx_http_lines_metrics_out_t *out,
    ngx_http_lines_main_conf_t *lmcf);


static ngx_http_lines_step_pt  ngx_http_lines_metrics_steps[] = {
    ngx_http_lines_discard_body,
    ngx_http_lines_metrics_show,
    NULL
};


static ngx_http_lines_route_t  ngx_http_lines_metrics_routes[] = {

    { NGX_HTTP_GET, ngx_string(""),
      ngx_http_lines_metrics_steps, ngx_string("metrics") },

    { 0, ngx_null_string, NULL, ngx_null_string }
};


ngx_http_lines_api_t  ngx_http_lines_metrics_api = {
    ngx_string("metrics"),
    ngx_http_lines_plain_error,
    ngx_http_lines_metrics_routes,
    0
};


char *
ngx_http_lines_metrics_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_int_t                    n;
    ngx_str_t                   *value, s;
    ngx_http_lines_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    if (lmcf->survey == 0) {
        lmcf->survey = NGX_HTTP_LINES_METRICS_SURVEY;
    }

    if (cf->args->nelts == 2) {
        value = cf->args->elts;

        n = NGX_ERROR;

        if (value[1].len > sizeof("survey=") - 1
            && ngx_strncmp(value[1].data, "survey=", sizeof("survey=") - 1)
               == 0)
        {
            s.data = value[1].data + sizeof("survey=") - 1;
            s.len = value[1].len - (sizeof("survey=") - 1);

            n = ngx_parse_time(&s, 0);
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in "
                               "\"lines_metrics\", it must be survey=TIME",
                               &value[1]);
            return NGX_CONF_ERROR;
        }

        lmcf->survey = n;
    }

    return ngx_http_lines_set_api(cf, conf, &ngx_http_lines_metrics_api);
}


static ngx_int_t
ngx_http_lines_metrics_show(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_http_lines_main_conf_t    *lmcf;
    ngx_http_lines_metrics_out_t   out;

    lmcf = ngx_http_lines_get_main_conf(r);

    ngx_memzero(&out, sizeof(ngx_http_lines_metrics_out_t));

    out.pool = r->pool;
    out.area = ngx_http_lines_zone_area(lmcf, NGX_HTTP_LINES_ZONE_METRICS);
    out.open = ngx_http_lines_metrics_wants_open(r);

    ngx_http_lines_metrics_requests(&out);
    ngx_http_lines_metrics_auth(&out, lmcf);
    ngx_http_lines_metrics_limits(&out, lmcf);
    ngx_http_lines_metrics_redis(&out);

    if (lmcf->billing) {
        ngx_http_lines_metrics_billing_calls(&out);
    }

    ngx_http_lines_metrics_lines(&out);
    ngx_http_lines_metrics_zone(&out, lmcf);

    if (out.open) {
        ngx_http_lines_metrics_print(&out, "# EOF\n");
    }

    if (out.failed) {
        return NGX_ERROR;
    }

    return ngx_http_lines_metrics_send(r, ctx, &out);
}


static ngx_int_t
ngx_http_lines_metrics_send(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_metrics_out_t *out)
{
    static ngx_str_t  text = ngx_string("text/plain; version=0.0.4; "
                                        "charset=utf-8");
    static ngx_str_t  open = ngx_string("application/openmetrics-text; "
                                        "version=1.0.0; charset=utf-8");

    out->last->buf->last_buf = (r == r->main) ? 1 : 0;
    out->last->buf->last_in_chain = 1;

    return ngx_http_lines_answer_chain(r, ctx, NGX_HTTP_OK,
                                       out->open ? &open : &text,
                                       out->first, out->len);
}


static void
ngx_http_lines_metrics_requests(ngx_http_lines_metrics_out_t *out)
{
    u_char             buffer[NGX_HTTP_LINES_METRICS_LABELS];
    size_t             offset;
    ngx_str_t          labels;
    ngx_uint_t         i, n, count;
    ngx_atomic_uint_t  value;

    labels.data = buffer;
    count = out->area->registries[NGX_HTTP_LINES_METRICS_ENDPOINT].count;

    ngx_http_lines_metrics_family(out, "lines_http_requests", "counter",
                                  "Requests answered, by endpoint and code.");

    for (i = 0; i < count; i++) {
        ngx_http_lines_metrics_labels(out, NGX_HTTP_LINES_METRICS_ENDPOINT, i,
                                      "api", "endpoint", &labels);

        for (n = 0; n < NGX_HTTP_LINES_METRICS_CODES; n++) {
            value = ngx_http_lines_metrics_of(out, requests[i][n]);

            if (value) {
                ngx_http_lines_metrics_print(out,
                    "lines_http_requests_total{%V,code=\"%V\"} %uA\n",
                    &labels, &ngx_http_lines_metrics_codes[n], value);
            }
        }
    }

    ngx_http_lines_metrics_family(out, "lines_http_request_duration_seconds",
                                  "histogram", "Time from the first byte of "
                                  "a request to the last of its answer.");

    for (i = 0; i < count; i++) {
        offset = offsetof(ngx_http_lines_metrics_slot_t, latency[i]);

        ngx_http_lines_metrics_labels(out, NGX_HTTP_LINES_METRICS_ENDPOINT, i,
                                      "api", "endpoint", &labels);

        ngx_http_lines_metrics_histogram(out,
                                        "lines_http_request_duration_seconds",
                                        &labels, offset);
    }
}


static void
ngx_http_lines_metrics_limits(ngx_http_lines_metrics_out_t *out,
    ngx_http_lines_main_conf_t *lmcf)
{
    u_char             buffer[NGX_HTTP_LINES_METRICS_LABELS];
    ngx_str_t          labels;
    ngx_uint_t         i, n, tokens, buckets;
    ngx_atomic_uint_t  value;

    labels.data = buffer;

    ngx_http_lines_metrics_family(out, "lines_limit_requests", "counter",
                                  "Requests that met a limit, by outcome.");

    for (i = 0;
         i < out->area->registries[NGX_HTTP_LINES_METRICS_LIMIT].count;
         i++)
    {
        ngx_http_lines_metrics_labels(out, NGX_HTTP_LINES_METRICS_LIMIT, i,
                                      "limit", NULL, &labels);

        for (n = 0; n < NGX_HTTP_LINES_LIMIT_OUTCOMES; n++) {
            value = ngx_http_lines_metrics_of(out, limits[i][n]);

            if (value == 0 && (i == 0 || n > 1)) {
                continue;
            }

            ngx_http_lines_metrics_print(out,
                "lines_limit_requests_total{%V,outcome=\"%V\"} %uA\n",
                &labels, &ngx_http_lines_limit_outcomes[n], value);
        }
    }

    ngx_http_lines_metrics_single(out, "lines_limit_lease_renewals",
                                  "counter", "Leases renewed ahead of use.",
                                  ngx_http_lines_metrics_of(out,
                                                            lease_renewals));
    ngx_http_lines_metrics_single(out, "lines_limit_lease_returned_tokens",
                                  "counter", "Unused tokens given back.",
                                  ngx_http_lines_metrics_of(out,
                                                            lease_returned));

    ngx_http_lines_lease_status(lmcf, &tokens, &buckets);

    ngx_http_lines_metrics_single(out, "lines_limit_leased_tokens", "gauge",
                                  "Unused tokens that this node holds.",
                                  tokens);
    ngx_http_lines_metrics_single(out, "lines_limit_buckets", "gauge",
                                  "Buckets that this node remembers.",
                                  buckets);
}


static void
ngx_http_lines_metrics_redis(ngx_http_lines_metrics_out_t *out)
{
    ngx_str_t                         none = ngx_null_string;
    ngx_uint_t                        i;
    ngx_atomic_uint_t                 away, probing, workers, connected,
                                      inflight;
    ngx_http_lines_metrics_worker_t  *worker;

    ngx_http_lines_metrics_single(out, "lines_redis_operations", "counter",
                                  "Operations sent to Redis.",
                                  ngx_http_lines_metrics_of(out,
                                                            redis_commands));

    ngx_http_lines_metrics_family(out, "lines_redis_failures", "counter",
                                  "Operations without a good answer: error "
                                  "(a refusal, or a lost connection), "
                                  "timeout, refused (not sent, as Redis was "
                                  "away or too many were in flight).");

    ngx_http_lines_metrics_print(out,
        "lines_redis_failures_total{reason=\"error\"} %uA\n"
        "lines_redis_failures_total{reason=\"disk\"} %uA\n"
        "lines_redis_failures_total{reason=\"timeout\"} %uA\n"
        "lines_redis_failures_total{reason=\"refused\"} %uA\n",
        ngx_http_lines_metrics_of(out, redis_errors),
        ngx_http_lines_metrics_of(out, redis_disk),
        ngx_http_lines_metrics_of(out, redis_timeouts),
        ngx_http_lines_metrics_of(out, redis_refused));

    ngx_http_lines_metrics_single(out, "lines_redis_late_replies", "counter",
                                  "Replies that came after their deadline.",
                                  ngx_http_lines_metrics_of(out, redis_late));
    ngx_http_lines_metrics_single(out, "lines_redis_script_loads", "counter",
                                  "Scripts that Redis did not know yet.",
                                  ngx_http_lines_metrics_of(out,
                                                            redis_resends));
    ngx_http_lines_metrics_single(out, "lines_redis_repeats", "counter",
                                  "Operations sent again on a new connection.",
                                  ngx_http_lines_metrics_of(out,
                                                            redis_repeats));
    ngx_http_lines_metrics_single(out, "lines_redis_reconnects", "counter",
                                  "Connections made anew.",
                                  ngx_http_lines_metrics_of(out,
                                                         redis_reconnects));
    ngx_http_lines_metrics_single(out, "lines_redis_breaker_openings",
                                  "counter",
                                  "Times that Redis was given up.",
                                  ngx_http_lines_metrics_of(out,
                                                            redis_opened));

    ngx_http_lines_metrics_family(out,
                                  "lines_redis_operation_duration_seconds",
                                  "histogram",
                                  "Time from an operation to its reply.");
    ngx_http_lines_metrics_histogram(out,
                           "lines_redis_operation_duration_seconds", &none,
                           offsetof(ngx_http_lines_metrics_slot_t,
                                    redis_latency));

    away = 0;
    probing = 0;
    workers = 0;
    connected = 0;
    inflight = 0;

    for (i = 0; i < NGX_HTTP_LINES_METRICS_WORKERS; i++) {
        worker = &out->area->workers[i];

        if (worker->pid) {
            workers++;
            away += worker->redis_away;
            probing += worker->redis_probing;
            connected += worker->redis_connected;
            inflight += worker->redis_inflight;
        }
    }

    ngx_http_lines_metrics_single(out, "lines_redis_in_flight", "gauge",
                                  "Operations that wait for their reply.",
                                  inflight);
    ngx_http_lines_metrics_single(out, "lines_redis_connected_workers",
                                  "gauge", "Workers connected to Redis.",
                                  connected);

    ngx_http_lines_metrics_family(out, "lines_redis_breaker_workers", "gauge",
                                  "Workers by the state of their breaker.");

    ngx_http_lines_metrics_print(out,
        "lines_redis_breaker_workers{state=\"closed\"} %uA\n"
        "lines_redis_breaker_workers{state=\"open\"} %uA\n"
        "lines_redis_breaker_workers{state=\"half_open\"} %uA\n",
        workers > away ? workers - away : 0,
        away > probing ? away - probing : 0, probing);
}


static void
ngx_http_lines_metrics_billing_calls(ngx_http_lines_metrics_out_t *out)
{
    ngx_str_t           none = ngx_null_string;
    ngx_uint_t          i;
    static const char  *outcomes[NGX_HTTP_LINES_METRICS_CALLS] = {
        "ok", "refused", "alert", "retry", "unknown", "unsent", NULL, "other"
    };

    ngx_http_lines_metrics_family(out, "lines_billing_calls", "counter",
                                  "Calls to billing by outcome.");

    for (i = 0; i < NGX_HTTP_LINES_METRICS_CALLS; i++) {
        if (outcomes[i]) {
            ngx_http_lines_metrics_print(out,
                "lines_billing_calls_total{outcome=\"%s\"} %uA\n",
                outcomes[i],
                ngx_http_lines_metrics_of(out, billing_calls[i]));
        }
    }

    ngx_http_lines_metrics_family(out, "lines_billing_call_duration_seconds",
                                  "histogram",
                                  "Time of a call with its repeats.");
    ngx_http_lines_metrics_histogram(out,
                           "lines_billing_call_duration_seconds", &none,
                           offsetof(ngx_http_lines_metrics_slot_t,
                                    billing_latency));
}


/* lines in a state are those that went there less those that left */

static ngx_int_t
ngx_http_lines_metrics_in_state(ngx_atomic_t *values, const char *state)
{
    ngx_int_t                      n;
    ngx_uint_t                     i;
    ngx_http_lines_survey_move_t  *move;

    n = 0;

    for (i = 0; i < NGX_HTTP_LINES_SURVEY_MOVES; i++) {
        move = &ngx_http_lines_survey_moves[i];

        if (ngx_http_lines_is(&move->to, state)) {
            n += values[NGX_HTTP_LINES_SURVEY_RAW + i];
        }

        if (ngx_http_lines_is(&move->from, state)) {
            n -= values[NGX_HTTP_LINES_SURVEY_RAW + i];
        }
    }

    return n > 0 ? n : 0;
}


static void
ngx_http_lines_metrics_lines(ngx_http_lines_metrics_out_t *out)
{
    ngx_int_t                         age;
    ngx_uint_t                        i;
    ngx_atomic_t                     *values;
    ngx_http_lines_survey_move_t     *move;
    ngx_http_lines_metrics_survey_t  *survey;
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

    ngx_http_lines_metrics_single(out, "lines_survey_age_seconds", "gauge",
                                  "Age of what was added up over all "
                                  "tenants: the families below.",
                                  ngx_max(age, 0));
    ngx_http_lines_metrics_single(out, "lines_tenants", "gauge",
                                  "Workspaces and accounts.",
                                  values[NGX_HTTP_LINES_SURVEY_TENANTS]);

    ngx_http_lines_metrics_family(out, "lines_line_transitions", "counter",
                                  "Moves of lines, of the whole fleet.");

    for (i = 0; i < NGX_HTTP_LINES_SURVEY_MOVES; i++) {
        move = &ngx_http_lines_survey_moves[i];

        ngx_http_lines_metrics_print(out,
            "lines_line_transitions_total{from=\"%V\",to=\"%V\"} %uA\n",
            &move->from, &move->to, values[NGX_HTTP_LINES_SURVEY_SHOWN + i]);
    }

    ngx_http_lines_metrics_family(out, "lines_lines", "gauge",
                                  "Lines by state.");

    for (i = 0; states[i]; i++) {
        ngx_http_lines_metrics_print(out,
            "lines_lines{state=\"%s\"} %i\n", states[i],
            ngx_http_lines_metrics_in_state(values, states[i]));
    }

    ngx_http_lines_metrics_family(out, "lines_numbers", "gauge",
                                  "Numbers of the inventory by state.");

    ngx_http_lines_metrics_print(out,
        "lines_numbers{state=\"free\"} %uA\n"
        "lines_numbers{state=\"leased\"} %uA\n"
        "lines_numbers{state=\"assigned\"} %uA\n"
        "lines_numbers{state=\"quarantined\"} %uA\n",
        values[NGX_HTTP_LINES_SURVEY_FREE],
        values[NGX_HTTP_LINES_SURVEY_LEASED],
        values[NGX_HTTP_LINES_SURVEY_ASSIGNED],
        values[NGX_HTTP_LINES_SURVEY_QUARANTINED]);

    ngx_http_lines_metrics_family(out, "lines_operations", "gauge",
                                  "Unfinished operations by state.");

    ngx_http_lines_metrics_print(out,
        "lines_operations{state=\"running\"} %uA\n"
        "lines_operations{state=\"stuck\"} %uA\n",
        values[NGX_HTTP_LINES_SURVEY_OPERATIONS],
        values[NGX_HTTP_LINES_SURVEY_STUCK]);

    ngx_http_lines_metrics_single(out, "lines_operations_oldest_seconds",
                                  "gauge",
                                  "Age of the oldest unfinished operation.",
                                  values[NGX_HTTP_LINES_SURVEY_OLDEST]);
}


static void
ngx_http_lines_metrics_zone(ngx_http_lines_metrics_out_t *out,
    ngx_http_lines_main_conf_t *lmcf)
{
    ngx_slab_pool_t  *shpool;

    shpool = ngx_http_lines_zone_pool(lmcf);

    ngx_http_lines_metrics_single(out, "lines_zone_free_bytes", "gauge",
                                  "Free pages of lines_zone.",
                                  shpool->pfree * ngx_pagesize);
}
