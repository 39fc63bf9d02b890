
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_variables.h"


static ngx_int_t ngx_http_lines_variable_text(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_lines_variable_auth(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_lines_variable_request_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_lines_variable_time(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_lines_variables[] = {

    { ngx_string("lines_tenant"), NULL, ngx_http_lines_variable_text,
      offsetof(ngx_http_lines_ctx_t, identity.tenant),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_tenant_plan"), NULL, ngx_http_lines_variable_text,
      offsetof(ngx_http_lines_ctx_t, identity.plan),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_key_id"), NULL, ngx_http_lines_variable_text,
      offsetof(ngx_http_lines_ctx_t, identity.key_id),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_user"), NULL, ngx_http_lines_variable_text,
      offsetof(ngx_http_lines_ctx_t, identity.user),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_auth"), NULL, ngx_http_lines_variable_auth,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_auth_failure"), NULL, ngx_http_lines_variable_text,
      offsetof(ngx_http_lines_ctx_t, identity.failure),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_request_id"), NULL,
      ngx_http_lines_variable_request_id,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_redis_time"), NULL, ngx_http_lines_variable_time,
      offsetof(ngx_http_lines_ctx_t, redis_time),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_billing_time"), NULL, ngx_http_lines_variable_time,
      offsetof(ngx_http_lines_ctx_t, billing_time),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_operation"), NULL, ngx_http_lines_variable_text,
      offsetof(ngx_http_lines_ctx_t, operation),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_lines_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_lines_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_lines_variable_used(ngx_conf_t *cf, const char *name)
{
    size_t                      len;
    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    len = ngx_strlen(name);
    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {
        if (v[i].name.len == len
            && ngx_strncmp(v[i].name.data, name, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_lines_variable_str(ngx_http_variable_value_t *v, ngx_str_t *value)
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


static ngx_int_t
ngx_http_lines_variable_text(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_lines_ctx_t  *ctx;

    ctx = ngx_http_lines_find_ctx(r->main);

    return ngx_http_lines_variable_str(v, ctx
                                       ? (ngx_str_t *) ((u_char *) ctx + data)
                                       : NULL);
}


/* a method that failed is no authentication */

static ngx_int_t
ngx_http_lines_variable_auth(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_lines_ctx_t  *ctx;

    ctx = ngx_http_lines_find_ctx(r->main);

    return ngx_http_lines_variable_str(v, (ctx && (ctx->identity.tenant.len
                                                   || ctx->identity.user.len))
                                          ? &ctx->identity.method : NULL);
}


/* asked for anywhere, it is there: it may go to any upstream */

static ngx_int_t
ngx_http_lines_variable_request_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_lines_ctx_t  *ctx;

    ctx = ngx_http_lines_get_ctx(r->main);

    if (ctx == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_lines_variable_str(v, &ctx->request_id);
}


static ngx_int_t
ngx_http_lines_variable_time(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t              value;
    ngx_msec_t             ms;
    ngx_http_lines_ctx_t  *ctx;

    ctx = ngx_http_lines_find_ctx(r->main);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ms = *(ngx_msec_t *) ((u_char *) ctx + data);

    value.data = ngx_pnalloc(r->pool, NGX_TIME_T_LEN + 4);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%T.%03M", (time_t) (ms / 1000),
                            ms % 1000)
                - value.data;

    return ngx_http_lines_variable_str(v, &value);
}
