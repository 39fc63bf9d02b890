
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "api/plan.h"
#include "directive/params.h"


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


char *
lines_plan(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ngx_str_t     *value;
    ngx_uint_t     channel;
    lines_plan_t  *plan;

    value = cf->args->elts;

    if (lines_params_choose(cf, &plan_directive, "invalid channel", &value[2],
                            plan_channels, &channel)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "empty plan name in \"lines_plan\"");
        return NGX_CONF_ERROR;
    }

    if (lines_find_plan(lmcf, &value[1], channel)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate \"lines_plan\" \"%V\" \"%V\"", &value[1],
                           &value[2]);
        return NGX_CONF_ERROR;
    }

    plan = ngx_array_push(&lmcf->plans);
    if (plan == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(plan, sizeof(lines_plan_t));

    plan->name = value[1];
    plan->channel = channel;

    return lines_params(cf, &plan_directive, 3, plan);
}


lines_plan_t *
lines_find_plan(lines_main_conf_t *lmcf, ngx_str_t *name,
    lines_channel_e channel)
{
    ngx_uint_t     i;
    lines_plan_t  *plan;

    plan = lmcf->plans.elts;

    for (i = 0; i < lmcf->plans.nelts; i++) {

        if (plan[i].channel == channel
            && plan[i].name.len == name->len
            && ngx_strncmp(plan[i].name.data, name->data, name->len) == 0)
        {
            return &plan[i];
        }
    }

    return NULL;
}
