
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "account/agent_plan.h"


#define LINES_PREVIEW_TTL_MAX  (24 * 3600 * 1000)


static ngx_int_t agent_plan_parameter(ngx_conf_t *cf, lines_agent_plan_t *plan,
    ngx_str_t *value, ngx_uint_t *seen);


char *
lines_agent_plan(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ngx_str_t           *value;
    ngx_uint_t           i, seen;
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
    plan->preview_ttl = 10 * 60 * 1000;
    ngx_str_set(&plan->daily, "3");
    ngx_str_set(&plan->monthly, "10");

    seen = 0;

    for (i = 2; i < cf->args->nelts; i++) {
        if (agent_plan_parameter(cf, plan, &value[i], &seen) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (plan->price.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_agent_plan\" \"%V\" needs price=ID",
                           &plan->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
agent_plan_parameter(ngx_conf_t *cf, lines_agent_plan_t *plan,
    ngx_str_t *value, ngx_uint_t *seen)
{
    size_t      len;
    ngx_int_t   n;
    ngx_str_t   text, *limit;
    ngx_uint_t  i;

    static const char  *names[] = {
        "price=", "preview_ttl=", "daily=", "monthly=", NULL
    };

    len = 0;

    for (i = 0; names[i]; i++) {
        len = ngx_strlen(names[i]);

        if (value->len >= len && ngx_strncmp(value->data, names[i], len) == 0)
        {
            break;
        }
    }

    if (names[i] == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"lines_agent_plan\"",
                           value);
        return NGX_ERROR;
    }

    if (*seen & (1 << i)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate parameter \"%V\" in "
                           "\"lines_agent_plan\"", value);
        return NGX_ERROR;
    }

    *seen |= 1 << i;

    text.data = value->data + len;
    text.len = value->len - len;

    if (text.len == 0) {
        goto invalid;
    }

    if (i == 0) {
        plan->price = text;
        return NGX_OK;
    }

    if (i == 1) {
        n = ngx_parse_time(&text, 0);

        if (n == NGX_ERROR || n < 1000 || n > LINES_PREVIEW_TTL_MAX) {
            goto invalid;
        }

        plan->preview_ttl = n;
        return NGX_OK;
    }

    limit = (i == 2) ? &plan->daily : &plan->monthly;

    if (ngx_strcmp(text.data, "unlimited") != 0) {
        n = ngx_atoi(text.data, text.len);

        if (n == NGX_ERROR || n > NGX_MAX_INT32_VALUE) {
            goto invalid;
        }
    }

    *limit = text;

    return NGX_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"lines_agent_plan\"", value);

    return NGX_ERROR;
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
