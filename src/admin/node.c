
/*
 * GET node: what this node knows of itself, for the console.  The counters are
 * those of lines_metrics, since the zone was made; what of them is a rate is
 * up to whoever reads them twice.
 */

#include "admin/routes.h"
#include "api/health.h"
#include "background/survey.h"
#include "http/metrics.h"
#include "http/text.h"
#include "limit/limit.h"


#define counter(field)  offsetof(lines_metrics_slot_t, field)


typedef struct {
    lines_json_t          *json;
    lines_metrics_area_t  *area;
} node_t;


static int64_t
node_sum(node_t *node, size_t offset)
{
    return (int64_t) lines_metrics_sum(node->area, offset);
}


/* of counters beside each other those that are not 0, by their words */

static void
node_words(node_t *node, const char *name, size_t offset, ngx_str_t *words,
    ngx_uint_t n)
{
    int64_t     value;
    ngx_uint_t  i;

    lines_json_add(node->json, ",'%s':{", name);

    for (i = 0; i < n; i++) {
        value = node_sum(node, offset + i * sizeof(ngx_atomic_t));

        if (value) {
            lines_json_add(node->json, ",'%V':%L", &words[i], value);
        }
    }

    lines_json_add(node->json, "}");
}


/* how many took up to which time, not added up, and then all that took longer */

static void
node_latency(node_t *node, size_t offset)
{
    ngx_uint_t  i;

    lines_json_add(node->json, ",'latency':{'buckets':[");

    for (i = 0; i <= LINES_METRICS_BUCKETS; i++) {
        lines_json_add(node->json, ",%L",
                       node_sum(node, offset + i * sizeof(ngx_atomic_t)
                                      + offsetof(lines_histogram_t, buckets)));
    }

    lines_json_add(node->json, "],'sum':%L}",
                   node_sum(node, offset + offsetof(lines_histogram_t, sum)));
}


static ngx_str_t
node_name(node_t *node, lines_metrics_registry_e registry, ngx_uint_t i)
{
    lines_metrics_registry_t  *names = &node->area->registries[registry];

    return (ngx_str_t) { names->names[i].len, names->names[i].data };
}


static void
node_requests(node_t *node)
{
    ngx_str_t   api, endpoint;
    ngx_uint_t  i;

    lines_json_add(node->json, ",'requests':[");

    for (i = 0; i < node->area->registries[LINES_METRICS_ENDPOINT].count; i++) {
        endpoint = node_name(node, LINES_METRICS_ENDPOINT, i);
        api = lines_word(&endpoint);

        lines_json_add(node->json, ",{'api':'%V','endpoint':'%V'", &api,
                       &endpoint);
        node_words(node, "codes", counter(requests[i]), lines_metrics_codes,
                   LINES_METRICS_CODES);
        node_latency(node, counter(latency[i]));
        lines_json_add(node->json, "}");
    }

    lines_json_add(node->json, "],'limits':[");

    for (i = 0; i < node->area->registries[LINES_METRICS_LIMIT].count; i++) {
        endpoint = node_name(node, LINES_METRICS_LIMIT, i);

        lines_json_add(node->json, ",{'limit':'%V'", &endpoint);
        node_words(node, "outcomes", counter(limits[i]), lines_limit_outcomes,
                   LINES_LIMIT_OUTCOMES);
        lines_json_add(node->json, "}");
    }

    lines_json_add(node->json, "]");
}


static void
node_neighbours(node_t *node, lines_main_conf_t *lmcf)
{
    static ngx_str_t  outcomes[] = {
        ngx_string("ok"), ngx_string("refused"), ngx_string("missing"),
        ngx_string("alert"), ngx_string("retry"), ngx_string("unknown"),
        ngx_string("unsent"), ngx_string("other")
    };

    lines_json_add(node->json, ",'redis':{'commands':%L,'errors':%L,"
                   "'timeouts':%L,'refused':%L",
                   node_sum(node, counter(redis[0].commands)),
                   node_sum(node, counter(redis[0].errors)),
                   node_sum(node, counter(redis[0].timeouts)),
                   node_sum(node, counter(redis[0].refused)));
    node_latency(node, counter(redis[0].latency));
    lines_json_add(node->json, "}");

    if (lmcf->billing == NULL) {
        lines_json_add(node->json, ",'billing':null");
        return;
    }

    lines_json_add(node->json, ",'billing':{'waits':%L",
                   node_sum(node, counter(budget_waits)));
    node_words(node, "calls", counter(billing_calls), outcomes,
               LINES_METRICS_CALLS);
    node_latency(node, counter(billing_latency));
    lines_json_add(node->json, "}");
}


/* of the fleet: what the last pass over all tenants found, whoever made it */

static void
node_survey(node_t *node)
{
    ngx_int_t                age;
    ngx_uint_t               i;
    ngx_atomic_int_t         lines[LINES_STATES];
    lines_metrics_survey_t   survey;

#define node_state(state)  ngx_string(#state),

    static ngx_str_t  states[] = { LINES_EACH_COUNTED(node_state) };

    survey = node->area->survey;

    if (survey.at == 0) {
        lines_json_add(node->json, ",'fleet':null");
        return;
    }

    lines_survey_states(&survey, lines);
    age = ngx_time() - (time_t) survey.at;

    lines_json_add(node->json, ",'fleet':{'age':%L,'tenants':%L,'lines':{",
                   (int64_t) ngx_max(age, 0),
                   (int64_t) survey.values[LINES_SURVEY_TENANTS]);

    for (i = LINES_STATE_new + 1; i < LINES_STATES; i++) {
        lines_json_add(node->json, ",'%V':%L", &states[i - 1],
                       (int64_t) lines[i]);
    }

    lines_json_add(node->json, "},'numbers':{'free':%L,'leased':%L,"
                   "'assigned':%L,'quarantined':%L},'operations':{"
                   "'running':%L,'stuck':%L,'oldest':%L}}",
                   (int64_t) survey.values[LINES_SURVEY_FREE],
                   (int64_t) survey.values[LINES_SURVEY_LEASED],
                   (int64_t) survey.values[LINES_SURVEY_ASSIGNED],
                   (int64_t) survey.values[LINES_SURVEY_QUARANTINED],
                   (int64_t) survey.values[LINES_SURVEY_OPERATIONS],
                   (int64_t) survey.values[LINES_SURVEY_STUCK],
                   (int64_t) survey.values[LINES_SURVEY_OLDEST]);
}


ngx_int_t
lines_admin_show_node(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    node_t              node;
    ngx_str_t           name;
    ngx_uint_t          i;
    ngx_time_t         *tp;
    lines_json_t        json = { .pool = r->pool };
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(r);
    tp = ngx_timeofday();

    node.json = &json;
    node.area = lines_zone_area(lmcf, LINES_ZONE_METRICS);

    /* behind a balancer the next look may be at another, whose counts are its */

    if (lines_redis_format(r->pool, &name, "%V:%P",
                           (ngx_str_t *) &ngx_cycle->hostname, ngx_parent)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    lines_json_add(&json, "{'node':%J,'at':%L,'health':{", &name,
                   (int64_t) tp->sec * 1000 + (int64_t) tp->msec);
    (void) lines_health_add(&json, lmcf);
    lines_json_add(&json, "},'bounds':[");

    for (i = 0; i < LINES_METRICS_BUCKETS; i++) {
        lines_json_add(&json, ",%L", (int64_t) lines_redis_bounds[i]);
    }

    lines_json_add(&json, "]");

    node_requests(&node);
    node_neighbours(&node, lmcf);
    node_survey(&node);

    lines_json_add(&json, "}");

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}
