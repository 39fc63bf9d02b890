
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_access.h"
#include "ngx_http_lines_tenant_plan.h"
#include "ngx_http_lines_phase.h"


#define NGX_HTTP_LINES_AUTH_STALE  60


/* how far a request has come; conf says by whose rules */

typedef struct {
    ngx_http_lines_auth_conf_t   *conf;
    ngx_int_t                     rc;
    unsigned                      done:1;
    unsigned                      planned:1;   /* its plan was asked for */
} ngx_http_lines_access_state_t;


static ngx_int_t ngx_http_lines_access_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_lines_access_known(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_int_t rc);
static ngx_int_t ngx_http_lines_access_judge(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_access_state_t *state);
static ngx_int_t ngx_http_lines_access_challenge(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_uint_t ngx_http_lines_access_rewrites(ngx_conf_t *cf,
    ngx_http_core_loc_conf_t *clcf);


/* how the two dialects say "no" where nothing of ours answers */

static ngx_http_lines_api_t  ngx_http_lines_access_workspace = {
    ngx_string("gateway"), ngx_http_lines_plain_error, NULL, 0
};

static ngx_http_lines_api_t  ngx_http_lines_access_account = {
    ngx_string("gateway"), ngx_http_lines_account_error, NULL, 0
};


ngx_int_t
ngx_http_lines_access_init(ngx_conf_t *cf)
{
    ngx_uint_t                  n;
    ngx_array_t                *handlers;
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    handlers = &cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers;
    n = handlers->nelts;

    h = ngx_array_push(handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_lines_access_handler;

    /*
     * The last one runs first.  nginx' own allow and deny, the last of its
     * modules in this phase, go before us: who is denied need not learn
     * whether a key is good.
     */

    if (n) {
        h[0] = h[-1];
        h[-1] = ngx_http_lines_access_handler;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_access_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_http_lines_ctx_t           *ctx;
    ngx_http_lines_loc_conf_t      *llcf;
    ngx_http_lines_access_state_t  *state;

    llcf = ngx_http_lines_get_loc_conf(r);

    if (llcf->auth == NULL) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_lines_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    state = ctx->access;

    if (state == NULL) {
        state = ngx_pcalloc(r->pool, sizeof(ngx_http_lines_access_state_t));
        if (state == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ctx->access = state;
    }

    if (!ngx_queue_empty(&ctx->commands)) {
        return NGX_AGAIN;
    }

    if (state->done && state->conf->methods == llcf->auth->methods) {

        /* resumed, or redirected internally to a location like the first */

        return ngx_http_lines_access_judge(r, ctx, state);
    }

    state->conf = llcf->auth;
    state->done = 0;
    state->planned = 0;

    rc = ngx_http_lines_authenticate(r, ctx, llcf->auth->methods,
                                     llcf->auth->stale,
                                     ngx_http_lines_access_known);

    if (rc == NGX_AGAIN) {
        return ngx_http_lines_phase_wait(r, ctx);
    }

    if (rc != NGX_OK || !state->done) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_lines_access_judge(r, ctx, state);
}


static ngx_int_t
ngx_http_lines_access_known(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    ngx_int_t rc)
{
    ngx_http_lines_access_state_t  *state;

    state = ctx->access;

    state->done = 1;
    state->rc = rc;

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_access_judge(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_access_state_t *state)
{
    ngx_int_t                   rc;
    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_lines_loc_conf_t  *llcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    llcf = ngx_http_lines_get_loc_conf(r);

    if (state->rc == NGX_OK && ctx->identity.tenant.len == 0
        && state->conf->methods != NGX_HTTP_LINES_AUTH_CLERK)
    {
        /* a person is enough for "clerk" only; elsewhere a tenant is meant */

        if (ngx_http_lines_has_error_page(r, NGX_HTTP_BAD_REQUEST)) {
            return NGX_HTTP_BAD_REQUEST;
        }

        ctx->api = llcf->dialect;
        rc = ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                  "No active workspace");

    } else if (state->rc == NGX_OK) {

        if (!state->planned) {
            state->planned = 1;

            if (ngx_http_lines_tenant_plan(r, ctx) == NGX_AGAIN) {
                return ngx_http_lines_phase_wait(r, ctx);
            }
        }

        return NGX_OK;

    } else if (state->rc == NGX_ERROR) {

        /* nobody knows: neither yes nor no */

        if (ngx_http_lines_has_error_page(r, NGX_HTTP_SERVICE_UNAVAILABLE)) {

            if (ngx_http_lines_retry_after(r, 1) != NGX_OK) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

            return NGX_HTTP_SERVICE_UNAVAILABLE;
        }

        ctx->api = llcf->dialect;
        rc = ngx_http_lines_unavailable(r, ctx, 1);

    } else {

        /* under "satisfy any" another may yet let the request pass */

        if (clcf->satisfy == NGX_HTTP_SATISFY_ANY
            || ngx_http_lines_has_error_page(r, NGX_HTTP_UNAUTHORIZED))
        {
            if (ngx_http_lines_access_challenge(r, ctx) != NGX_OK) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

            return NGX_HTTP_UNAUTHORIZED;
        }

        ctx->api = llcf->dialect;
        rc = ngx_http_lines_unauthorized(r, ctx,
                                         ngx_http_lines_challenge(ctx));
    }

    if (rc != NGX_DONE) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_lines_phase_done(r, ctx);
}


static ngx_int_t
ngx_http_lines_access_challenge(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_table_elt_t  *h;

    if (r->headers_out.www_authenticate) {
        return NGX_OK;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    ngx_str_set(&h->key, "WWW-Authenticate");
    h->value.data = (u_char *) ngx_http_lines_challenge(ctx);
    h->value.len = ngx_strlen(h->value.data);

    r->headers_out.www_authenticate = h;

    return NGX_OK;
}


char *
ngx_http_lines_auth_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lines_loc_conf_t *llcf = conf;

    ngx_int_t                     n;
    ngx_str_t                    *value, s;
    ngx_uint_t                    i;
    ngx_http_lines_auth_conf_t   *auth;
    ngx_http_lines_main_conf_t   *lmcf;

    if (llcf->auth) {
        return "is duplicate";
    }

    auth = ngx_pcalloc(cf->pool, sizeof(ngx_http_lines_auth_conf_t));
    if (auth == NULL) {
        return NGX_CONF_ERROR;
    }

    auth->stale = NGX_HTTP_LINES_AUTH_STALE;
    llcf->auth = auth;
    llcf->dialect = &ngx_http_lines_access_workspace;

    value = cf->args->elts;

    if (ngx_http_lines_is(&value[1], "workspace")) {
        auth->methods = NGX_HTTP_LINES_AUTH_KEY|NGX_HTTP_LINES_AUTH_CLERK;

    } else if (ngx_http_lines_is(&value[1], "account")) {
        auth->methods = NGX_HTTP_LINES_AUTH_KEY_PAIR;
        llcf->dialect = &ngx_http_lines_access_account;

    } else if (ngx_http_lines_is(&value[1], "clerk")) {
        auth->methods = NGX_HTTP_LINES_AUTH_CLERK;

    } else if (ngx_http_lines_is(&value[1], "any")) {
        auth->methods = NGX_HTTP_LINES_AUTH_KEY|NGX_HTTP_LINES_AUTH_CLERK
                        |NGX_HTTP_LINES_AUTH_KEY_PAIR;

    } else if (!ngx_http_lines_is(&value[1], "off")) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"lines_auth\", it must "
                           "be \"workspace\", \"account\", \"clerk\", "
                           "\"any\" or \"off\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (value[i].len > sizeof("stale=") - 1 && auth->methods
            && ngx_strncmp(value[i].data, "stale=", sizeof("stale=") - 1)
               == 0)
        {
            s.data = value[i].data + sizeof("stale=") - 1;
            s.len = value[i].len - (sizeof("stale=") - 1);

            n = ngx_parse_time(&s, 1);

            if (n != NGX_ERROR) {
                auth->stale = n;
                continue;
            }
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"lines_auth\"",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);
    lmcf->used = 1;

    return NGX_CONF_OK;
}


char *
ngx_http_lines_access_merge(ngx_conf_t *cf, ngx_http_lines_loc_conf_t *prev,
    ngx_http_lines_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (conf->auth == NULL) {
        conf->auth = prev->auth;
        conf->dialect = prev->dialect;

    } else if (conf->auth->methods == 0) {
        conf->auth = NULL;
        conf->dialect = NULL;
    }

    if (conf->auth == NULL) {
        return NGX_CONF_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->name.len == 0 || clcf->noname) {
        return NGX_CONF_OK;
    }

    if (ngx_http_lines_access_rewrites(cf, clcf)) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "location \"%V\" has \"lines_auth\" together with "
                      "\"return\" or \"rewrite\", which run before it and "
                      "are not protected", &clcf->name);
    }

    if (clcf->internal == 1 && conf->auth != prev->auth) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "location \"%V\" has \"lines_auth\" together with "
                      "\"internal\": subrequests, as of \"auth_request\" and "
                      "SSI, are not checked", &clcf->name);
    }

    return NGX_CONF_OK;
}


/*
 * The rewrite module's own structure is private to it, but begins with the
 * array of its codes: sequences of structures that begin with a function.
 */

static ngx_uint_t
ngx_http_lines_access_rewrites(ngx_conf_t *cf, ngx_http_core_loc_conf_t *clcf)
{
    u_char                    *p, *last;
    uintptr_t                  code;
    ngx_uint_t                 i;
    ngx_array_t              **codes;
    ngx_module_t             **modules;

    modules = cf->cycle->modules;

    for (i = 0; modules[i]; i++) {
        if (modules[i]->type == NGX_HTTP_MODULE
            && ngx_strcmp(modules[i]->name, "ngx_http_rewrite_module") == 0)
        {
            break;
        }
    }

    if (modules[i] == NULL || clcf->loc_conf == NULL) {
        return 0;
    }

    codes = clcf->loc_conf[modules[i]->ctx_index];

    if (codes == NULL || *codes == NULL) {
        return 0;
    }

    p = (*codes)->elts;
    last = p + (*codes)->nelts * (*codes)->size;

    for ( /* void */ ; p + sizeof(uintptr_t) <= last;
         p += sizeof(uintptr_t))
    {
        ngx_memcpy(&code, p, sizeof(uintptr_t));

        if (code == (uintptr_t) ngx_http_script_return_code
#if (NGX_PCRE)
            || code == (uintptr_t) ngx_http_script_regex_end_code
#endif
           )
        {
            return 1;
        }
    }

    return 0;
}
