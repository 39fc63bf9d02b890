
#include "api/input.h"
#include "api/plan.h"
#include "directive/params.h"
#include "store/redis.h"


#define LINES_DAILY_CONVERSATIONS  50
#define LINES_DAILY_MESSAGES       500


static ngx_conf_enum_t  plan_channels[] = {
    { ngx_string("phone"), LINES_PHONE },
    { ngx_string("email"), LINES_EMAIL },
    { ngx_null_string, 0 }
};


static lines_param_t  plan_params[] = {
    lines_param_string("price", lines_plan_t, price, 0),
    lines_param_number("included", lines_plan_t, included,
                       0, NGX_MAX_INT32_VALUE, 0),
    lines_param_number("max", lines_plan_t, max,
                       0, NGX_MAX_INT32_VALUE, LINES_UNLIMITED),
    lines_param_number("daily_conversations", lines_plan_t, conversations,
                       0, NGX_MAX_INT32_VALUE, LINES_DAILY_CONVERSATIONS),
    lines_param_number("daily_messages", lines_plan_t, messages,
                       0, NGX_MAX_INT32_VALUE, LINES_DAILY_MESSAGES),
    lines_param_end
};


static lines_directive_t  plan_directive = {
    .name = "lines_plan",
    .params = plan_params
};


static char *
plan_limit(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (ngx_strcmp(value->data, "unlimited") != 0
        && (n == NGX_ERROR || n > NGX_MAX_INT32_VALUE))
    {
        return LINES_PARAM_INVALID;
    }

    *(ngx_str_t *) field = *value;

    return NGX_CONF_OK;
}


static lines_param_t  agent_plan_params[] = {
    lines_param_string("price", lines_plan_t, price, LINES_PARAM_REQUIRED),
    lines_param_msec("preview_ttl", lines_plan_t, preview_ttl,
                     1000, LINES_PREVIEW_TTL_MAX, 10 * 60 * 1000),
    lines_param_other("daily", offsetof(lines_plan_t, daily),
                      plan_limit, "a number or \"unlimited\""),
    lines_param_other("monthly", offsetof(lines_plan_t, monthly),
                      plan_limit, "a number or \"unlimited\""),
    lines_param_end
};


static lines_directive_t  agent_plan_directive = {
    .name = "lines_agent_plan",
    .params = agent_plan_params
};


static lines_plan_t *
plan_add(ngx_conf_t *cf, lines_main_conf_t *lmcf, lines_channel_e channel)
{
    ngx_str_t     *value;
    lines_plan_t  *plan;

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "empty plan name in \"%V\"",
                           &value[0]);
        return NULL;
    }

    if (lines_find_plan(lmcf, &value[1], channel)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           channel == LINES_AGENT
                           ? "duplicate \"%V\" \"%V\""
                           : "duplicate \"%V\" \"%V\" \"%V\"", &value[0],
                           &value[1], &value[2]);
        return NULL;
    }

    plan = ngx_array_push(&lmcf->plans);
    if (plan == NULL) {
        return NULL;
    }

    ngx_memzero(plan, sizeof(lines_plan_t));

    plan->name = value[1];
    plan->channel = channel;

    return plan;
}


char *
lines_plan(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t  *lmcf = conf;

    ngx_str_t     *value, *places;
    ngx_uint_t     channel;
    lines_plan_t  *plan;

    value = cf->args->elts;

    if (lines_params_choose(cf, &plan_directive, "invalid channel", &value[2],
                            plan_channels, &channel)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    plan = plan_add(cf, lmcf, channel);

    if (plan == NULL
        || lines_params(cf, &plan_directive, 3, plan) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    places = ngx_array_push_n(&lmcf->places, 3);

    if (places == NULL
        || lines_redis_format(cf->pool, &places[2], "%i", plan->included)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    places[0] = value[1];
    places[1] = value[2];

    return NGX_CONF_OK;
}


char *
lines_agent_plan(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_plan_t  *plan;

    plan = plan_add(cf, conf, LINES_AGENT);
    if (plan == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_str_set(&plan->daily, "3");
    ngx_str_set(&plan->monthly, "10");

    return lines_params(cf, &agent_plan_directive, 2, plan);
}


lines_plan_t *
lines_find_plan(lines_main_conf_t *lmcf, ngx_str_t *name,
    lines_channel_e channel)
{
    ngx_uint_t     i;
    lines_plan_t  *plan;

    plan = lmcf->plans.elts;

    for (i = 0; i < lmcf->plans.nelts; i++) {
        if (plan[i].channel == channel && lines_same(&plan[i].name, name)) {
            return &plan[i];
        }
    }

    return NULL;
}
