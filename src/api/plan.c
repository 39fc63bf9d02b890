
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "api/plan.h"


#define LINES_DAILY_CONVERSATIONS  50
#define LINES_DAILY_MESSAGES       500


static char *plan_parameter(ngx_conf_t *cf, lines_plan_t *plan,
    ngx_str_t *value, ngx_uint_t *seen);


char *
lines_plan(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ngx_str_t     *value;
    ngx_uint_t     i, seen;
    lines_plan_t  *plan;

    lines_channel_e  channel;

    value = cf->args->elts;

    if (ngx_strcmp(value[2].data, "phone") == 0) {
        channel = LINES_PHONE;

    } else if (ngx_strcmp(value[2].data, "email") == 0) {
        channel = LINES_EMAIL;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid channel \"%V\" in \"lines_plan\", it "
                           "must be \"phone\" or \"email\"", &value[2]);
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
    plan->max = LINES_UNLIMITED;
    plan->conversations = LINES_DAILY_CONVERSATIONS;
    plan->messages = LINES_DAILY_MESSAGES;

    seen = 0;

    for (i = 3; i < cf->args->nelts; i++) {
        if (plan_parameter(cf, plan, &value[i], &seen) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
plan_parameter(ngx_conf_t *cf, lines_plan_t *plan, ngx_str_t *value,
    ngx_uint_t *seen)
{
    size_t      len;
    ngx_int_t   n, *number;
    ngx_uint_t  i;

    static const char  *names[] = {
        "price=", "included=", "max=", "daily_conversations=",
        "daily_messages=", NULL
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
                           "invalid parameter \"%V\" in \"lines_plan\"",
                           value);
        return NGX_CONF_ERROR;
    }

    if (*seen & (1 << i)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate parameter \"%V\" in \"lines_plan\"",
                           value);
        return NGX_CONF_ERROR;
    }

    *seen |= 1 << i;

    if (value->len == len) {
        goto invalid;
    }

    if (i == 0) {
        plan->price.data = value->data + len;
        plan->price.len = value->len - len;
        return NGX_CONF_OK;
    }

    n = ngx_atoi(value->data + len, value->len - len);

    if (n == NGX_ERROR || n > NGX_MAX_INT32_VALUE) {
        goto invalid;
    }

    number = (i == 1) ? &plan->included
             : (i == 2) ? &plan->max
             : (i == 3) ? &plan->conversations
             : &plan->messages;
    *number = n;

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"lines_plan\"", value);

    return NGX_CONF_ERROR;
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
