
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "account/agent_plan.h"
#include "directive/params.h"


#define LINES_PREVIEW_TTL_MAX  (24 * 3600 * 1000)


static char *agent_plan_limit(ngx_conf_t *cf, ngx_str_t *value, void *field);


static lines_param_t  agent_plan_params[] = {
    lines_param_string("price", lines_agent_plan_t, price,
                       LINES_PARAM_REQUIRED),
    lines_param_msec("preview_ttl", lines_agent_plan_t, preview_ttl,
                     1000, LINES_PREVIEW_TTL_MAX, 10 * 60 * 1000),
    lines_param_other("daily", offsetof(lines_agent_plan_t, daily),
                      agent_plan_limit, "a number or \"unlimited\""),
    lines_param_other("monthly", offsetof(lines_agent_plan_t, monthly),
                      agent_plan_limit, "a number or \"unlimited\""),
    lines_param_end
};


static lines_directive_t  agent_plan_directive = {
    .name = "lines_agent_plan",
    .params = agent_plan_params
};


char *
lines_agent_plan(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ngx_str_t           *value;
    lines_agent_plan_t  *plan;

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "empty plan name in \"lines_agent_plan\"");
        return NGX_CONF_ERROR;
    }

    if (lines_find_agent_plan(lmcf, &value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate \"lines_agent_plan\" \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (lmcf->agent_plans == NULL) {
        lmcf->agent_plans = ngx_array_create(cf->pool, 2,
                                             sizeof(lines_agent_plan_t));
        if (lmcf->agent_plans == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    plan = ngx_array_push(lmcf->agent_plans);
    if (plan == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(plan, sizeof(lines_agent_plan_t));

    plan->name = value[1];
    ngx_str_set(&plan->daily, "3");
    ngx_str_set(&plan->monthly, "10");

    return lines_params(cf, &agent_plan_directive, 2, plan);
}


static char *
agent_plan_limit(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    ngx_str_t *limit = field;

    ngx_int_t  n;

    if (ngx_strcmp(value->data, "unlimited") != 0) {
        n = ngx_atoi(value->data, value->len);

        if (n == NGX_ERROR || n > NGX_MAX_INT32_VALUE) {
            return LINES_PARAM_INVALID;
        }
    }

    *limit = *value;

    return NGX_CONF_OK;
}


lines_agent_plan_t *
lines_find_agent_plan(lines_main_conf_t *lmcf, ngx_str_t *name)
{
    ngx_uint_t           i;
    lines_agent_plan_t  *plan;

    if (lmcf->agent_plans == NULL) {
        return NULL;
    }

    plan = lmcf->agent_plans->elts;

    for (i = 0; i < lmcf->agent_plans->nelts; i++) {

        if (plan[i].name.len == name->len
            && ngx_strncmp(plan[i].name.data, name->data, name->len) == 0)
        {
            return &plan[i];
        }
    }

    return NULL;
}
