
#include "deliver/conf.h"
#include "directive/params.h"
#include "http/location.h"


#define hooks_time(name, field, least, most, preset)                         \
    lines_param_msec(name, lines_hooks_conf_t, field, least, most, preset)

#define LINES_HOOKS_HOUR  (3600 * 1000)
#define LINES_HOOKS_DAY   (24 * LINES_HOOKS_HOUR)


static char *
hooks_allow(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    ngx_array_t **allow = field;

    ngx_cidr_t  *cidr;

    *allow = ngx_array_create(cf->pool, 1, sizeof(ngx_cidr_t));

    cidr = *allow ? ngx_array_push(*allow) : NULL;

    if (cidr == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_ptocidr(value, cidr) == NGX_ERROR ? LINES_PARAM_INVALID
                                                 : NGX_CONF_OK;
}


static lines_param_t  hooks_params[] = {
    lines_param_secret("key_file", lines_hooks_conf_t, key_file,
                       LINES_PARAM_REQUIRED),
    lines_param_secret("old_key_file", lines_hooks_conf_t, old_key_file, 0),
    hooks_time("timeout", timeout, 1, 60 * 1000, 10 * 1000),
    lines_param_number("concurrency", lines_hooks_conf_t, concurrency, 2, 512,
                       32),
    hooks_time("retry", retry, 1, LINES_HOOKS_HOUR / 60, 5000),
    hooks_time("sweep", sweep, 1, LINES_HOOKS_HOUR, 5000),
    hooks_time("look", look, 1, LINES_HOOKS_HOUR, 60 * 1000),
    hooks_time("pause", pause, 1, 30 * (ngx_int_t) LINES_HOOKS_DAY,
               5 * LINES_HOOKS_DAY),
    hooks_time("rotation", rotation, 1, 30 * (ngx_int_t) LINES_HOOKS_DAY,
               LINES_HOOKS_DAY),
    lines_param_other("unsafe_allow", offsetof(lines_hooks_conf_t, allow),
                      hooks_allow, "a network, as 127.0.0.0/8"),
    lines_param_number("unsafe_port", lines_hooks_conf_t, port, 1, 65535, 443),
    lines_param_end
};


static lines_directive_t  hooks_directive = {
    .name = LINES_HOOKS_OUT,
    .params = hooks_params
};


static char *
hooks_key(ngx_conf_t *cf, lines_hooks_conf_t *hcf, const char *param,
    ngx_str_t *text)
{
    if (text->len == 0) {
        return NGX_CONF_OK;
    }

    if (lines_seal_key(&hcf->keys[hcf->nkeys++], text) == NGX_OK) {
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%s\" of \"" LINES_HOOKS_OUT "\" must have a key of "
                       "32 bytes, as 64 hex digits or in base64 (openssl rand "
                       "-hex 32)", param);

    return NGX_CONF_ERROR;
}


char *
lines_hooks_out(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ngx_str_t           *value;
    lines_hooks_conf_t  *hcf;

    if (lmcf->hooks) {
        return "is duplicate";
    }

    hcf = ngx_pcalloc(cf->pool, sizeof(lines_hooks_conf_t));
    if (hcf == NULL) {
        return NGX_CONF_ERROR;
    }

    if (lines_params(cf, &hooks_directive, 2, hcf) != NGX_CONF_OK
        || hooks_key(cf, hcf, "key_file", &hcf->key_file) != NGX_CONF_OK
        || hooks_key(cf, hcf, "old_key_file", &hcf->old_key_file)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (hcf->allow || hcf->port != 443) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"" LINES_HOOKS_OUT "\" is unsafe by "
                           "\"unsafe_allow\" or \"unsafe_port\": tenants can "
                           "reach what only this machine should");
    }

    value = cf->args->elts;

    hcf->uri = value[1];
    lmcf->hooks = hcf;

    return lines_location(cf, lmcf,
                          &(lines_location_t) { .name = value[0],
                                                .uri = value[1],
                                                .once = 1,
                                                .resolves = 1 });
}


/* they show in a call of ours and nowhere else */

static ngx_int_t
hooks_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t            *part;
    lines_carrier_t      *carrier;
    lines_hook_target_t  *target;

    *v = ngx_http_variable_null_value;
    v->no_cacheable = 1;

    carrier = lines_carrier_find(r);

    if (carrier == NULL
        || carrier->peer == NULL
        || carrier->of == NULL
        || r != carrier->subrequest)
    {
        return NGX_OK;
    }

    target = carrier->of;
    part = &target->parts[data];

    v->len = part->len;
    v->data = part->data;

    return NGX_OK;
}


static ngx_http_variable_t  hooks_variables[] = {

    { ngx_string("lines_webhook_address"), NULL, hooks_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_webhook_host"), NULL, hooks_variable, 1,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_webhook_uri"), NULL, hooks_variable, 2,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
lines_hooks_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = hooks_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}
