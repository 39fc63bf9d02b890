
/*
 * Lines: a line-provisioning API and a rate-limiting gateway inside nginx.
 * This file is the table of contents: directives, configuration, phases.
 */

#include "account/account.h"
#include "account/routes.h"
#include "admin/routes.h"
#include "api/plan.h"
#include "api/tenant_limits.h"
#include "auth/access.h"
#include "auth/auth.h"
#include "auth/cache.h"
#include "auth/clerk.h"
#include "auth/failures.h"
#include "auth/identity.h"
#include "auth/jwks.h"
#include "background/audit.h"
#include "background/survey.h"
#include "background/sweeper.h"
#include "billing/billing.h"
#include "deliver/conf.h"
#include "deliver/deliver.h"
#include "events/listeners.h"
#include "http/answer.h"
#include "http/cors.h"
#include "http/location.h"
#include "http/metrics.h"
#include "http/text.h"
#include "http/variables.h"
#include "limit/concurrency.h"
#include "limit/lease.h"
#include "limit/limit.h"
#include "observe/observe.h"
#include "operation/conf.h"
#include "operation/database.h"
#include "operation/operation.h"
#include "operation/provisioner.h"
#include "webhook/webhook.h"
#include "workspace/routes.h"


static char *redis_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_uint_t is_word(ngx_str_t *value);
static char *api_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *account_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

static ngx_int_t preconfiguration(ngx_conf_t *cf);
static ngx_int_t postconfiguration(ngx_conf_t *cf);
static ngx_int_t configure(ngx_conf_t *cf);
static void *create_main_conf(ngx_conf_t *cf);
static char *init_main_conf(ngx_conf_t *cf, void *conf);
static void *create_loc_conf(ngx_conf_t *cf);
static char *merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);
static void told(void *data, ngx_str_t *message);
static ngx_int_t init_process(ngx_cycle_t *cycle);
static void exit_process(ngx_cycle_t *cycle);


/* those of the configuration that is served, while another one is read */

static struct {
    ngx_http_output_header_filter_pt  header;
    ngx_http_output_body_filter_pt    body;
    ngx_http_request_body_filter_pt   request;
#if (nginx_version >= 1029000)
    ngx_http_output_header_filter_pt  hints;
#endif
} filters;


static ngx_command_t  commands[] = {

    { ngx_string("lines_zone"), NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      lines_zone, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_redis"), NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      redis_directive, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_key_prefix"), NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot, NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(lines_main_conf_t, key_prefix), NULL },
    { ngx_string("lines_key_ttl"), NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot, NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(lines_main_conf_t, key_ttl), NULL },
    { ngx_string("lines_plan"), NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      lines_plan, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_agent_plan"), NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      lines_agent_plan, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_quarantine"), NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot, NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(lines_main_conf_t, quarantine), NULL },
    { ngx_string("lines_provisioner"), NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      lines_provisioner_set, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_billing"), NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      lines_billing, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_billing_plan"), NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      lines_billing_plans, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_operations"), NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      lines_operations, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_probe"), NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE123,
      lines_probe, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_webhooks_out"), NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      lines_hooks_out, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },

    { ngx_string("lines_auth"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      lines_auth_set, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_clerk"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      lines_clerk, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_cors"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_ANY,
      lines_cors, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_rate_limit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      lines_rate_limit, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_concurrency"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      lines_concurrency, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_tenant_limits"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      lines_tenant_limits, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_deprecated_endpoints"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      lines_deprecated_endpoints, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    { ngx_string("lines_workspace_api"), NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      api_set, NGX_HTTP_LOC_CONF_OFFSET, 0, &lines_workspace_api },
    { ngx_string("lines_account_api"), NGX_HTTP_LOC_CONF|NGX_CONF_ANY,
      account_set, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_admin"), NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      lines_admin, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      lines_metrics_set, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_ready"), NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      api_set, NGX_HTTP_LOC_CONF_OFFSET, 0, &lines_ready_api },
    { ngx_string("lines_docs"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      lines_docs, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_console"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE123,
      lines_console, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },
    { ngx_string("lines_billing_webhook"), NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      lines_webhook, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

      ngx_null_command
};


static ngx_http_module_t  module_ctx = {
    .preconfiguration = preconfiguration,
    .postconfiguration = postconfiguration,
    .create_main_conf = create_main_conf,
    .init_main_conf = init_main_conf,
    .create_loc_conf = create_loc_conf,
    .merge_loc_conf = merge_loc_conf
};


ngx_module_t  ngx_http_lines_module = {
    NGX_MODULE_V1,
    .ctx = &module_ctx,
    .commands = commands,
    .type = NGX_HTTP_MODULE,
    .init_process = init_process,
    .exit_process = exit_process
};


static char *
redis_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    char         *rv;
    ngx_str_t    *value;
    ngx_array_t  *args, limits;

    args = cf->args;
    value = args->elts;

    if (!lines_is(&value[1], "limits")) {

        if (args->nelts > 2 && is_word(&value[1]) && !is_word(&value[2])
            && ngx_strlchr(value[2].data, value[2].data + value[2].len, '=')
               == NULL)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "no store is called \"%V\" in \"lines_redis\" "
                               "directive: one may be \"limits\"", &value[1]);
            return NGX_CONF_ERROR;
        }

        return lmcf->redis_conf.name.len
               ? "is duplicate"
               : lines_redis_parse_conf(cf, &lmcf->redis_conf);
    }

    if (lmcf->limits_conf.name.len) {
        return "\"limits\" is duplicate";
    }

    if (args->nelts == 2) {
        return "\"limits\" has no address";
    }

    lmcf->limits_conf.limits = 1;

    limits = (ngx_array_t) { .elts = value + 1, .nelts = args->nelts - 1 };
    ngx_str_set(&value[1], "lines_redis limits");

    cf->args = &limits;
    rv = lines_redis_parse_conf(cf, &lmcf->limits_conf);
    cf->args = args;

    return rv;
}


static ngx_uint_t
is_word(ngx_str_t *value)
{
    size_t  i;

    for (i = 0; i < value->len; i++) {
        if (!((value->data[i] | 0x20) >= 'a' && (value->data[i] | 0x20) <= 'z')
            && value->data[i] != '_')
        {
            return 0;
        }
    }

    return 1;
}


/* all that a location needs to be an API's */

static char *
api_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return lines_set_api(cf, conf, cmd->post);
}


static char *
account_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *rv;

    rv = lines_set_api(cf, conf, &lines_account_api);

    return rv == NGX_CONF_OK ? lines_account_headers(cf, conf) : rv;
}


static ngx_int_t
preconfiguration(ngx_conf_t *cf)
{
    lines_zone_register(LINES_ZONE_KEYS, lines_cache_init);
    lines_zone_register(LINES_ZONE_JWKS, lines_jwks_init_area);
    lines_zone_register(LINES_ZONE_LIMITS, lines_lease_init);
    lines_zone_register(LINES_ZONE_METRICS, lines_metrics_init_area);
    lines_zone_register(LINES_ZONE_DATABASE, lines_database_init_area);
    lines_zone_register(LINES_ZONE_SWEEP, lines_sweeper_init_area);
    lines_zone_register(LINES_ZONE_CONCURRENCY, lines_concurrency_init_area);
    lines_zone_register(LINES_ZONE_FAILURES, lines_failures_init_area);

    filters.header = ngx_http_top_header_filter;
    filters.body = ngx_http_top_body_filter;
    filters.request = ngx_http_top_request_body_filter;
#if (nginx_version >= 1029000)
    filters.hints = ngx_http_top_early_hints_filter;
#endif

    if (lines_variables_init(cf) != NGX_OK
        || lines_identity_init(cf) != NGX_OK
        || lines_hooks_variables(cf) != NGX_OK
        || lines_limit_add_variables(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_billing_variables(cf);
}


/*
 * The filters are the master's, of no configuration.  Where a reload fails, the
 * workers that take the place of others go on with the one before, and with the
 * filters as they are by then: so these are the same whatever is configured, and
 * what is refused here, between nginx' own, leaves none of them out.
 */

static ngx_int_t
postconfiguration(ngx_conf_t *cf)
{
    if (configure(cf) != NGX_OK) {
        ngx_http_top_header_filter = filters.header;
        ngx_http_top_body_filter = filters.body;
        ngx_http_top_request_body_filter = filters.request;
#if (nginx_version >= 1029000)
        ngx_http_top_early_hints_filter = filters.hints;
#endif
        return NGX_ERROR;
    }

    lines_special_filter_init();
    lines_access_cache_init();
    lines_limit_filter_init();

    return NGX_OK;
}


static ngx_int_t
configure(ngx_conf_t *cf)
{
    ngx_http_core_loc_conf_t  *clcf;
    lines_main_conf_t         *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    if (lines_locations_init(cf, lmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!lmcf->used) {
        return NGX_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->resolver && clcf->resolver->connections.nelts) {
        lmcf->redis_conf.resolver = clcf->resolver;
        lmcf->redis_conf.resolver_timeout = clcf->resolver_timeout;
        lmcf->limits_conf.resolver = clcf->resolver;
        lmcf->limits_conf.resolver_timeout = clcf->resolver_timeout;
    }

    if (lines_redis_check_conf(cf, &lmcf->redis_conf) != NGX_CONF_OK
        || (lmcf->limits_conf.name.len
            && lines_redis_check_conf(cf, &lmcf->limits_conf) != NGX_CONF_OK))
    {
        return NGX_ERROR;
    }

    lines_limit_zones(cf);

    lmcf->tenant_plan = lines_variable_used(cf, "lines_tenant_plan");

    if (lines_special_init(cf) != NGX_OK
        || lines_access_init(cf) != NGX_OK
        || lines_cors_init(cf) != NGX_OK
        || lines_limit_init(cf, lmcf) != NGX_OK
        || lines_concurrency_init(cf) != NGX_OK
        || lines_metrics_init(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_zone_default(cf, lmcf);
}


static void *
create_main_conf(ngx_conf_t *cf)
{
    lines_main_conf_t  *lmcf;

    lmcf = ngx_pcalloc(cf->pool, sizeof(lines_main_conf_t));
    if (lmcf == NULL) {
        return NULL;
    }

    lmcf->key_ttl = NGX_CONF_UNSET_MSEC;
    lmcf->quarantine = NGX_CONF_UNSET_MSEC;

    lmcf->operation = lines_op_create_conf(cf);

    if (lmcf->operation == NULL
        || ngx_array_init(&lmcf->places, cf->pool, 24, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&lmcf->plans, cf->pool, 8, sizeof(lines_plan_t))
           != NGX_OK)
    {
        return NULL;
    }

    return lmcf;
}


static char *
init_main_conf(ngx_conf_t *cf, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    char         *rv;
    ngx_array_t  *args;

    static ngx_str_t  redis[] = {
        ngx_string("lines_redis"), ngx_string("redis://127.0.0.1:6379/0")
    };

    ngx_conf_init_msec_value(lmcf->key_ttl, 60000);
    ngx_conf_init_msec_value(lmcf->quarantine, 24 * 3600 * 1000);

    if (lmcf->key_prefix.data == NULL) {
        ngx_str_set(&lmcf->key_prefix, "tuco_");
    }

    rv = lines_billing_init_conf(cf, lmcf);

    if (rv != NGX_CONF_OK || lmcf->redis_conf.name.len) {
        return rv;
    }

    args = cf->args;
    cf->args = &(ngx_array_t) { .elts = redis, .nelts = 2 };

    rv = lines_redis_parse_conf(cf, &lmcf->redis_conf);

    cf->args = args;

    return rv;
}


static void *
create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(lines_loc_conf_t));
}


static char *
merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    lines_loc_conf_t *prev = parent;
    lines_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;
    lines_loc_conf_t          *names, none;

    /* an API's own directive says it all */

    ngx_memzero(&none, sizeof(lines_loc_conf_t));
    names = conf->api ? &none : prev;

    ngx_conf_merge_str_value(conf->key_id_header, names->key_id_header,
                             "sb-api-key-id");
    ngx_conf_merge_str_value(conf->secret_header, names->secret_header,
                             "sb-api-secret-key");

    if (conf->deprecated == NULL) {
        conf->deprecated = prev->deprecated;
    }

    if (conf->tenant_limits == NULL) {
        conf->tenant_limits = prev->tenant_limits;
    }

    if (conf->concurrency == NULL) {
        conf->concurrency = prev->concurrency;
    }

    lines_docs_merge(cf, prev, conf);
    lines_console_merge(cf, prev, conf);

    if (lines_merge_api(cf, prev, conf) != NGX_CONF_OK
        || lines_access_merge(cf, prev, conf) != NGX_CONF_OK
        || lines_clerk_merge(cf, prev, conf) != NGX_CONF_OK
        || lines_clerk_cors_merge(cf, prev, conf) != NGX_CONF_OK
        || lines_limit_merge(cf, prev, conf) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->post_action.len && (conf->api || conf->auth || conf->limits)) {

        /* a client that leaves would send its request on while it waits */

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"post_action\" cannot be used in location \"%V\", "
                      "where requests wait for lines_* directives",
                      &clcf->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* on the channel of revocations; whoever waits looks once the others know */

static void
told(void *data, ngx_str_t *message)
{
    lines_auth_told(data, message);
    lines_lease_told(message);
    lines_listeners_told(message);
    lines_deliver_told(message);
}


static ngx_int_t
init_process(ngx_cycle_t *cycle)
{
    lines_redis_t      *limits;
    lines_main_conf_t  *lmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    lmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_lines_module);

    if (lmcf == NULL || !lmcf->used) {
        return NGX_OK;
    }

    lmcf->redis = lines_redis_create(cycle, &lmcf->redis_conf);
    if (lmcf->redis == NULL) {
        return NGX_ERROR;
    }

    if (lmcf->limits_conf.name.len) {
        limits = lines_redis_create(cycle, &lmcf->limits_conf);
        if (limits == NULL) {
            return NGX_ERROR;
        }

        lines_redis_divide(lmcf->redis, limits);
    }

    lines_metrics_init_process(cycle, lmcf);
    lines_survey_init_process(cycle, lmcf);

    if (lines_identity_init_process(cycle, lmcf) != NGX_OK
        || lines_lease_init_process(cycle, lmcf) != NGX_OK
        || lines_listeners_init_process(cycle, lmcf) != NGX_OK
        || lines_auth_init_process(cycle, lmcf, told) != NGX_OK
        || lines_jwks_init_process(cycle, lmcf) != NGX_OK
        || lines_database_init_process(cycle, lmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    lines_access_init_process(cycle, lmcf);
    lines_concurrency_init_process(lmcf);
    lines_deliver_init_process(cycle, lmcf);
    lines_op_init_process(lmcf);
    lines_sweeper_init_process(cycle, lmcf);
    lines_audit_init_process(cycle, lmcf);

    return NGX_OK;
}


static void
exit_process(ngx_cycle_t *cycle)
{
    lines_redis_t      *limits;
    lines_main_conf_t  *lmcf;

    lmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_lines_module);

    if (lmcf == NULL || lmcf->redis == NULL) {
        return;
    }

    lines_deliver_exit_process(lmcf);
    lines_audit_exit_process();
    lines_sweeper_exit_process();
    lines_op_exit_process(lmcf);
    lines_database_exit_process(lmcf);
    lines_budget_exit_process();
    lines_survey_exit_process();
    lines_concurrency_exit_process();
    lines_auth_exit_process(lmcf);
    lines_listeners_exit_process();
    lines_lease_exit_process(lmcf);
    lines_metrics_exit_process(lmcf);

    limits = lines_redis_limits(lmcf->redis);

    if (limits != lmcf->redis) {
        lines_redis_destroy(limits);
    }

    lines_redis_destroy(lmcf->redis);
    lmcf->redis = NULL;
}
