
#include "http/text.h"
#include "http/trace.h"
#include "http/variables.h"


/* an id is there, asked for anywhere: it may go to any upstream */

static ngx_int_t
variable_text(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_uint_t    id;
    lines_ctx_t  *ctx;

    id = (data == offsetof(lines_ctx_t, request_id));
    ctx = id ? lines_get_ctx(r->main) : lines_find_ctx(r->main);

    if (ctx == NULL) {
        return id ? NGX_ERROR : lines_variable_str(v, NULL);
    }

    return lines_variable_str(v, (ngx_str_t *) ((u_char *) ctx + data));
}


static ngx_int_t
variable_time(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t     value;
    ngx_msec_t    ms;
    lines_ctx_t  *ctx;

    ctx = lines_find_ctx(r->main);

    if (ctx == NULL) {
        return lines_variable_str(v, NULL);
    }

    ms = *(ngx_msec_t *) ((u_char *) ctx + data);

    return lines_redis_format(r->pool, &value, "%T.%03M", (time_t) (ms / 1000),
                              ms % 1000) == NGX_OK
           ? lines_variable_str(v, &value)
           : NGX_ERROR;
}


static ngx_int_t
variable_trace(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t  value;

    value = lines_traceparent(r->main);

    return lines_variable_str(v, &value);
}


static ngx_http_variable_t  variable_list[] = {
    { ngx_string("lines_request_id"), NULL, variable_text,
      offsetof(lines_ctx_t, request_id), 0, 0 },
    { ngx_string("lines_traceparent"), NULL, variable_trace, 0, 0, 0 },
    { ngx_string("lines_redis_time"), NULL, variable_time,
      offsetof(lines_ctx_t, caller.waited), 0, 0 },
    { ngx_string("lines_billing_time"), NULL, variable_time,
      offsetof(lines_ctx_t, billing_time), 0, 0 },
    { ngx_string("lines_operation"), NULL, variable_text,
      offsetof(lines_ctx_t, operation), 0, 0 },
    { ngx_string("lines_operator"), NULL, variable_text,
      offsetof(lines_ctx_t, operator), 0, 0 },
    ngx_http_null_variable
};


ngx_int_t
lines_variables_init(ngx_conf_t *cf)
{
    return lines_add_variables(cf, variable_list);
}


ngx_int_t
lines_add_variables(ngx_conf_t *cf, ngx_http_variable_t *list)
{
    ngx_http_variable_t  *var, *v;

    for (v = list; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, NGX_HTTP_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


ngx_uint_t
lines_variable_used(ngx_conf_t *cf, const char *name)
{
    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {
        if (lines_is(&v[i].name, name)) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
lines_variable_str(ngx_http_variable_value_t *v, ngx_str_t *value)
{
    if (value == NULL || value->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = value->data;
    v->len = value->len;
    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;

    return NGX_OK;
}
