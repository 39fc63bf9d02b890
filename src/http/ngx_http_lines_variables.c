
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_variables.h"


/* those of the identity come first */

#define NGX_HTTP_LINES_IDENTITY_VARIABLES  6

/* seconds between two warnings of a worker about one variable */
#define NGX_HTTP_LINES_VARIABLE_WARNING    60


static ngx_http_get_variable_pt ngx_http_lines_computed(ngx_conf_t *cf,
    const char *module, const char *directive);
static ngx_http_lines_identity_t *ngx_http_lines_variable_identity(
    ngx_http_request_t *r, ngx_uint_t n);
static void ngx_http_lines_variable_early(ngx_http_request_t *r,
    ngx_uint_t n);
static ngx_int_t ngx_http_lines_variable_identity_text(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_lines_variable_text(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_lines_variable_auth(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_lines_variable_request_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_lines_variable_time(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_lines_variables[] = {

    { ngx_string("lines_tenant"), NULL,
      ngx_http_lines_variable_identity_text, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_tenant_plan"), NULL,
      ngx_http_lines_variable_identity_text, 1,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_key_id"), NULL,
      ngx_http_lines_variable_identity_text, 2,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_user"), NULL,
      ngx_http_lines_variable_identity_text, 3,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_auth_failure"), NULL,
      ngx_http_lines_variable_identity_text, 4,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lines_auth"), NULL, ngx_http_lines_variable_auth, 5,
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


/* of the first of them */

static size_t  ngx_http_lines_identity_fields[] = {
    offsetof(ngx_http_lines_identity_t, tenant),
    offsetof(ngx_http_lines_identity_t, plan),
    offsetof(ngx_http_lines_identity_t, key_id),
    offsetof(ngx_http_lines_identity_t, user),
    offsetof(ngx_http_lines_identity_t, failure)
};


/* of this worker: when it last warned; a try runs, and has met an identity */

static time_t      ngx_http_lines_variable_warned[
                                          NGX_HTTP_LINES_IDENTITY_VARIABLES];
static ngx_uint_t  ngx_http_lines_variable_trying;
static ngx_uint_t  ngx_http_lines_variable_met;


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


ngx_int_t
ngx_http_lines_variables_init(ngx_conf_t *cf)
{
    ngx_uint_t                   i;
    ngx_http_lines_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    for (i = 0; i < NGX_HTTP_LINES_IDENTITY_VARIABLES; i++) {
        if (ngx_http_lines_variable_used(cf,
                         (char *) ngx_http_lines_variables[i].name.data))
        {
            break;
        }
    }

    if (i == NGX_HTTP_LINES_IDENTITY_VARIABLES) {
        return NGX_OK;
    }

    lmcf->computed[0] = ngx_http_lines_computed(cf, "ngx_http_map_module",
                                                "map");
    lmcf->computed[1] = ngx_http_lines_computed(cf,
                                               "ngx_http_split_clients_module",
                                               "split_clients");
    return NGX_OK;
}


/*
 * The handlers of such variables are private to their modules.  An empty
 * block of the directive, made here, gets a variable with that handler.
 */

static ngx_http_get_variable_pt
ngx_http_lines_computed(ngx_conf_t *cf, const char *module,
    const char *directive)
{
    char                 *rv;
    u_char                end[] = "}";
    ngx_buf_t             b;
    ngx_str_t            *value, name;
    ngx_conf_t            block;
    ngx_array_t           args;
    ngx_command_t        *cmd;
    ngx_module_t         *m;
    ngx_conf_file_t       file;
    ngx_http_variable_t  *var;

    m = ngx_http_lines_find_module(cf, module);

    if (m == NULL) {
        return NULL;
    }

    for (cmd = m->commands; cmd->name.len; cmd++) {
        if (ngx_http_lines_is(&cmd->name, directive)) {
            break;
        }
    }

    if (cmd->name.len == 0
        || ngx_array_init(&args, cf->temp_pool, 3, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NULL;
    }

    name.len = sizeof("lines_computed_by_") - 1 + cmd->name.len;
    name.data = ngx_pnalloc(cf->pool, name.len + 2);
    value = ngx_array_push_n(&args, 3);

    if (name.data == NULL || value == NULL) {
        return NULL;
    }

    (void) ngx_sprintf(name.data, "$lines_computed_by_%V%Z", &cmd->name);

    value[0] = cmd->name;
    ngx_str_set(&value[1], "nothing");
    value[2].data = name.data;
    value[2].len = name.len + 1;

    ngx_memzero(&b, sizeof(ngx_buf_t));
    b.start = end;
    b.pos = end;
    b.last = end + 1;
    b.end = b.last;

    /* no file is read: the block ends in the buffer; any number but -1 will
       do as the descriptor */

    ngx_memzero(&file, sizeof(ngx_conf_file_t));
    file.file.name = cmd->name;
    file.buffer = &b;
    file.line = 1;

    block = *cf;
    block.args = &args;
    block.conf_file = &file;

    rv = cmd->set(&block, cmd, ngx_http_conf_get_module_main_conf(cf, (*m)));

    if (rv != NGX_CONF_OK) {
        return NULL;
    }

    name.data++;

    var = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_CHANGEABLE);

    return var ? var->get_handler : NULL;
}


ngx_int_t
ngx_http_lines_variables_init_process(ngx_cycle_t *cycle,
    ngx_http_lines_main_conf_t *lmcf)
{
    ngx_int_t                   i;
    ngx_http_phase_handler_t   *ph;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);

    ph = cmcf->phase_engine.handlers;

    for (i = 0; ph[i].checker; i++) {
        if (ph[i].checker == ngx_http_core_access_phase) {
            break;
        }
    }

    lmcf->access_phase = i;

    lmcf->saved = ngx_palloc(cycle->pool, (cmcf->variables.nelts + 1)
                                          * sizeof(ngx_http_variable_value_t));

    return lmcf->saved ? NGX_OK : NGX_ERROR;
}


void
ngx_http_lines_forget_computed(ngx_http_request_t *r)
{
    ngx_uint_t                   i;
    ngx_http_variable_t         *v;
    ngx_http_core_main_conf_t   *cmcf;
    ngx_http_lines_main_conf_t  *lmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    lmcf = ngx_http_lines_get_main_conf(r);

    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {

        if (v[i].get_handler
            && (v[i].get_handler == lmcf->computed[0]
                || v[i].get_handler == lmcf->computed[1]))
        {
            r->variables[i].valid = 0;
            r->variables[i].not_found = 0;
        }
    }
}


ngx_int_t
ngx_http_lines_try_value(ngx_http_request_t *r, ngx_http_complex_value_t *cv,
    ngx_str_t *value)
{
    size_t                       size;
    ngx_int_t                    rc;
    ngx_http_lines_ctx_t        *ctx;
    ngx_http_core_main_conf_t   *cmcf;
    ngx_http_lines_main_conf_t  *lmcf;

    ctx = ngx_http_lines_find_ctx(r);

    if (ctx && ctx->identity.settled) {
        return ngx_http_complex_value(r, cv, value);
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    lmcf = ngx_http_lines_get_main_conf(r);

    size = cmcf->variables.nelts * sizeof(ngx_http_variable_value_t);

    ngx_memcpy(lmcf->saved, r->variables, size);

    ngx_http_lines_variable_trying = 1;
    ngx_http_lines_variable_met = 0;

    rc = ngx_http_complex_value(r, cv, value);

    ngx_http_lines_variable_trying = 0;

    if (!ngx_http_lines_variable_met) {
        return rc;
    }

    ngx_memcpy(r->variables, lmcf->saved, size);

    return NGX_DECLINED;
}


ngx_uint_t
ngx_http_lines_names_identity(ngx_conf_t *cf, ngx_http_complex_value_t *cv)
{
    ngx_uint_t                  i, *index;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    if (cv->flushes == NULL) {
        return 0;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    v = cmcf->variables.elts;

    for (index = cv->flushes; *index != (ngx_uint_t) -1; index++) {

        for (i = 0; i < NGX_HTTP_LINES_IDENTITY_VARIABLES; i++) {

            if (ngx_http_lines_is(&v[*index].name,
                          (char *) ngx_http_lines_variables[i].name.data))
            {
                return 1;
            }
        }
    }

    return 0;
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


ngx_http_lines_ctx_t *
ngx_http_lines_identity_ctx(ngx_http_request_t *r)
{
    ngx_http_lines_ctx_t  *ctx;

    for ( /* void */ ; r != r->main; r = r->parent) {

        ctx = ngx_http_lines_find_ctx(r);

        if (ctx && ctx->identity.settled) {
            return ctx;
        }
    }

    return ngx_http_lines_find_ctx(r);
}


/* NULL where nothing is known; n is that of the variable */

static ngx_http_lines_identity_t *
ngx_http_lines_variable_identity(ngx_http_request_t *r, ngx_uint_t n)
{
    ngx_http_lines_ctx_t  *ctx;

    ctx = ngx_http_lines_identity_ctx(r);

    if ((ctx == NULL || !ctx->identity.settled) && r == r->main) {

        if (ngx_http_lines_variable_trying) {
            ngx_http_lines_variable_met = 1;
            return NULL;
        }

        ngx_http_lines_variable_early(r, n);
    }

    return ctx ? &ctx->identity : NULL;
}


/* who reads it in the log, or in a refusal, reads it late enough */

static void
ngx_http_lines_variable_early(ngx_http_request_t *r, ngx_uint_t n)
{
    ngx_http_lines_ctx_t        *ctx;
    ngx_http_lines_main_conf_t  *lmcf;

    lmcf = ngx_http_lines_get_main_conf(r);

    if (r->phase_handler >= lmcf->access_phase || r->headers_out.status) {
        return;
    }

    ctx = ngx_http_lines_get_ctx(r);

    if (ctx) {
        ctx->early = 1;
    }

    if (ngx_http_lines_variable_warned[n]
        && ngx_time() - ngx_http_lines_variable_warned[n]
           < NGX_HTTP_LINES_VARIABLE_WARNING)
    {
        return;
    }

    ngx_http_lines_variable_warned[n] = ngx_time();

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "lines: \"$%V\" was read before authentication, when it is "
                  "empty: \"set\", \"if\", \"rewrite\", \"limit_req\" and "
                  "\"limit_conn\" run before it; use \"lines_rate_limit\" for "
                  "limits, and \"volatile\" in a \"map\"",
                  &ngx_http_lines_variables[n].name);
}


static ngx_int_t
ngx_http_lines_variable_identity_text(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_lines_identity_t  *identity;

    identity = ngx_http_lines_variable_identity(r, data);

    return ngx_http_lines_variable_str(v, identity
                         ? (ngx_str_t *) ((u_char *) identity
                                   + ngx_http_lines_identity_fields[data])
                         : NULL);
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
    ngx_http_lines_identity_t  *identity;

    identity = ngx_http_lines_variable_identity(r, data);

    return ngx_http_lines_variable_str(v, (identity && (identity->tenant.len
                                                    || identity->user.len))
                                          ? &identity->method : NULL);
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
