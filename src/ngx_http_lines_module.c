
/*
 * Lines: a line-provisioning API and a rate-limiting gateway inside nginx.
 * This file is the table of contents: directives, configuration, phases.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_conf.h"
#include "ngx_http_lines_request.h"
#include "ngx_http_lines_zone.h"
#include "ngx_http_lines_metrics.h"
#include "ngx_http_lines_variables.h"
#include "ngx_http_lines_auth.h"
#include "ngx_http_lines_access.h"
#include "ngx_http_lines_clerk.h"
#include "ngx_http_lines_jwks_zone.h"
#include "ngx_http_lines_limit.h"
#include "ngx_http_lines_lease.h"
#include "ngx_http_lines_key_cache.h"
#include "ngx_http_lines_plan.h"
#include "ngx_http_lines_account.h"
#include "ngx_http_lines_failpoint.h"
#include "ngx_http_lines_billing.h"
#include "ngx_http_lines_billing_debug.h"
#include "ngx_http_lines_operation.h"
#include "ngx_http_lines_inventory.h"
#include "ngx_http_lines_provisioner.h"
#include "ngx_http_lines_admin.h"
#include "ngx_http_lines_ready.h"
#include "ngx_http_lines_metrics_api.h"
#include "ngx_http_lines_survey.h"
#include "ngx_http_lines_workspace.h"
#include "ngx_http_lines_check.h"
#include "ngx_http_lines_webhook.h"


static char *ngx_http_lines_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_lines_workspace_api_set(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_lines_admin_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_lines_ready_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

static ngx_int_t ngx_http_lines_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_lines_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_lines_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_lines_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_lines_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_lines_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_lines_init_process(ngx_cycle_t *cycle);
static void ngx_http_lines_exit_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_lines_commands[] = {

    { ngx_string("lines_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lines_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_lines_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_key_prefix"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_lines_main_conf_t, key_prefix),
      NULL },

    { ngx_string("lines_key_ttl"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_lines_main_conf_t, key_ttl),
      NULL },

    { ngx_string("lines_plan"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_lines_plan,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_agent_plan"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_lines_agent_plan,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_quarantine"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_lines_main_conf_t, quarantine),
      NULL },

    { ngx_string("lines_provisioner"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_lines_provisioner_set,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_billing"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_lines_billing,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_billing_plan"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_lines_billing_plans,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_operations"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_lines_operations,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_auth"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_lines_auth_set,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_clerk"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_lines_clerk,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_probe"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE123,
      ngx_http_lines_probe,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_rate_limit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_lines_rate_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_workspace_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_lines_workspace_api_set,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_account_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_ANY,
      ngx_http_lines_account,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_deprecated_endpoints"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_lines_deprecated_endpoints,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_admin"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_lines_admin_set,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_lines_metrics_set,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_ready"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_lines_ready_set,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_billing_webhook"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_lines_webhook,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    NGX_HTTP_LINES_BILLING_DEBUG_COMMANDS
    NGX_HTTP_LINES_FAILPOINT_COMMANDS

      ngx_null_command
};


static ngx_http_module_t  ngx_http_lines_module_ctx = {
    ngx_http_lines_preconfiguration,       /* preconfiguration */
    ngx_http_lines_postconfiguration,      /* postconfiguration */

    ngx_http_lines_create_main_conf,       /* create main configuration */
    ngx_http_lines_init_main_conf,         /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_lines_create_loc_conf,        /* create location configuration */
    ngx_http_lines_merge_loc_conf          /* merge location configuration */
};


ngx_module_t  ngx_http_lines_module = {
    NGX_MODULE_V1,
    &ngx_http_lines_module_ctx,            /* module context */
    ngx_http_lines_commands,               /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_lines_init_process,           /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_lines_exit_process,           /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
ngx_http_lines_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lines_main_conf_t *lmcf = conf;

    if (lmcf->redis_conf.name.len) {
        return "is duplicate";
    }

    return ngx_lines_redis_parse_conf(cf, &lmcf->redis_conf);
}


static char *
ngx_http_lines_workspace_api_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    return ngx_http_lines_set_api(cf, conf, &ngx_http_lines_workspace_api);
}


static char *
ngx_http_lines_admin_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lines_loc_conf_t *llcf = conf;

    char  *rv;

    rv = ngx_http_lines_set_api(cf, llcf, &ngx_http_lines_admin_api);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_http_lines_admin_token(cf, llcf);
}


static char *
ngx_http_lines_ready_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_lines_set_api(cf, conf, &ngx_http_lines_ready_api);
}


static ngx_int_t
ngx_http_lines_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_lines_zone_register(NGX_HTTP_LINES_ZONE_KEYS,
                                 ngx_http_lines_key_cache_init);
    ngx_http_lines_zone_register(NGX_HTTP_LINES_ZONE_JWKS,
                                 ngx_http_lines_jwks_init_area);
    ngx_http_lines_zone_register(NGX_HTTP_LINES_ZONE_LIMITS,
                                 ngx_http_lines_lease_init);
    ngx_http_lines_zone_register(NGX_HTTP_LINES_ZONE_METRICS,
                                 ngx_http_lines_metrics_init_area);

    if (ngx_http_lines_add_variables(cf) != NGX_OK
        || ngx_http_lines_limit_add_variables(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_billing_variables(cf);
}


static ngx_int_t
ngx_http_lines_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_lines_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    if (ngx_http_lines_carrier_check(cf, lmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!lmcf->used) {
        return NGX_OK;
    }

    ngx_http_lines_api_locations(cf, lmcf);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->resolver && clcf->resolver->connections.nelts) {
        lmcf->redis_conf.resolver = clcf->resolver;
        lmcf->redis_conf.resolver_timeout = clcf->resolver_timeout;
    }

    if (ngx_lines_redis_check_conf(cf, &lmcf->redis_conf) != NGX_CONF_OK) {
        return NGX_ERROR;
    }

    ngx_http_lines_limit_zones(cf);

    lmcf->tenant_plan = ngx_http_lines_variable_used(cf, "lines_tenant_plan");

    if (ngx_http_lines_special_init(cf) != NGX_OK
        || ngx_http_lines_access_init(cf) != NGX_OK
        || ngx_http_lines_limit_init(cf, lmcf) != NGX_OK
        || ngx_http_lines_limit_filter_init(cf) != NGX_OK
        || ngx_http_lines_metrics_init(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_zone_default(cf, lmcf);
}


static void *
ngx_http_lines_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_lines_main_conf_t  *lmcf;

    lmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_lines_main_conf_t));
    if (lmcf == NULL) {
        return NULL;
    }

    lmcf->key_ttl = NGX_CONF_UNSET_MSEC;
    lmcf->quarantine = NGX_CONF_UNSET_MSEC;

    lmcf->operation = ngx_http_lines_operation_create_conf(cf);
    if (lmcf->operation == NULL) {
        return NULL;
    }

    if (ngx_array_init(&lmcf->plans, cf->pool, 8,
                       sizeof(ngx_http_lines_plan_t))
        != NGX_OK)
    {
        return NULL;
    }

    return lmcf;
}


static char *
ngx_http_lines_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_lines_main_conf_t *lmcf = conf;

    char         *rv;
    ngx_str_t    *value;
    ngx_array_t   args, *saved;

    ngx_conf_init_msec_value(lmcf->key_ttl, 60000);
    ngx_conf_init_msec_value(lmcf->quarantine, 24 * 3600 * 1000);

    if (lmcf->key_prefix.data == NULL) {
        ngx_str_set(&lmcf->key_prefix, "tuco_");
    }

    rv = ngx_http_lines_billing_init_conf(cf, lmcf);

    if (rv == NGX_CONF_OK) {
        rv = ngx_http_lines_operation_init_conf(cf, lmcf->operation);
    }

    if (rv != NGX_CONF_OK || lmcf->redis_conf.name.len) {
        return rv;
    }

    if (ngx_array_init(&args, cf->temp_pool, 2, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    value = ngx_array_push_n(&args, 2);
    if (value == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_str_set(&value[0], "lines_redis");
    ngx_str_set(&value[1], "redis://127.0.0.1:6379/0");

    saved = cf->args;
    cf->args = &args;

    rv = ngx_lines_redis_parse_conf(cf, &lmcf->redis_conf);

    cf->args = saved;

    return rv;
}


static void *
ngx_http_lines_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_lines_loc_conf_t  *llcf;

    llcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_lines_loc_conf_t));
    if (llcf == NULL) {
        return NULL;
    }

    return llcf;
}


static char *
ngx_http_lines_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_lines_loc_conf_t *prev = parent;
    ngx_http_lines_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_lines_loc_conf_t  *names, none;

    /* an API's own directive says it all */

    ngx_memzero(&none, sizeof(ngx_http_lines_loc_conf_t));
    names = conf->api ? &none : prev;

    ngx_conf_merge_str_value(conf->key_id_header, names->key_id_header,
                             "sb-api-key-id");
    ngx_conf_merge_str_value(conf->secret_header, names->secret_header,
                             "sb-api-secret-key");

    if (conf->deprecated == NULL) {
        conf->deprecated = prev->deprecated;
    }

    if (ngx_http_lines_merge_api(cf, prev, conf) != NGX_CONF_OK
        || ngx_http_lines_access_merge(cf, prev, conf) != NGX_CONF_OK
        || ngx_http_lines_clerk_merge(cf, prev, conf) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_lines_limit_merge(cf, prev, conf) != NGX_CONF_OK) {
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


static ngx_int_t
ngx_http_lines_init_process(ngx_cycle_t *cycle)
{
    ngx_http_lines_main_conf_t  *lmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    lmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_lines_module);

    if (lmcf == NULL || !lmcf->used) {
        return NGX_OK;
    }

    lmcf->redis = ngx_lines_redis_create(cycle, &lmcf->redis_conf);
    if (lmcf->redis == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_lines_variables_init_process(cycle, lmcf) != NGX_OK
        || ngx_http_lines_metrics_init_process(cycle, lmcf) != NGX_OK
        || ngx_http_lines_survey_init_process(cycle, lmcf) != NGX_OK
        || ngx_http_lines_limit_init_process(cycle, lmcf) != NGX_OK
        || ngx_http_lines_auth_init_process(cycle, lmcf) != NGX_OK
        || ngx_http_lines_jwks_init_process(cycle, lmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_lines_access_init_process(cycle, lmcf);

    if (ngx_http_lines_operation_init_process(cycle, lmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_lines_inventory_init_process(cycle, lmcf);
}


static void
ngx_http_lines_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_lines_main_conf_t  *lmcf;

    lmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_lines_module);

    if (lmcf == NULL || lmcf->redis == NULL) {
        return;
    }

    ngx_http_lines_inventory_exit_process();
    ngx_http_lines_operation_exit_process(lmcf);
    ngx_http_lines_survey_exit_process(lmcf);
    ngx_http_lines_limit_exit_process(lmcf);
    ngx_http_lines_metrics_exit_process(lmcf);
    ngx_http_lines_jwks_exit_process(lmcf);
    ngx_http_lines_auth_exit_process(lmcf);
    ngx_lines_redis_destroy(lmcf->redis);
    lmcf->redis = NULL;
}
