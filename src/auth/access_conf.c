
/*
 * lines_auth: the directive, and what nginx -t says of its location.
 */

#include "auth/access.h"
#include "auth/dialect.h"
#include "auth/hide.h"
#include "directive/params.h"
#include "http/router.h"
#include "http/text.h"


#define LINES_AUTH_STALE  60


/* how the two dialects say "no" where nothing of ours answers */

static lines_api_t  access_workspace = {
    ngx_string("gateway"), lines_plain_error, NULL, 0, NULL
};

static lines_api_t  access_account = {
    ngx_string("gateway"), lines_account_error, NULL, 0, NULL
};


static ngx_conf_enum_t  access_modes[] = {
    { ngx_string("workspace"), LINES_AUTH_KEY|LINES_AUTH_CLERK },
    { ngx_string("account"), LINES_AUTH_KEY_PAIR },
    { ngx_string("clerk"), LINES_AUTH_CLERK },
    { ngx_string("any"),
      LINES_AUTH_KEY|LINES_AUTH_CLERK|LINES_AUTH_KEY_PAIR },
    { ngx_string("off"), 0 },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  access_words[] = {
    { ngx_string("tenant"), LINES_CACHE_TENANT },
    { ngx_string("shared"), LINES_CACHE_SHARED },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  access_hides[] = {
    { ngx_string("keys"), LINES_HIDE_KEYS },
    { ngx_string("on"), LINES_HIDE_ALL },
    { ngx_string("off"), LINES_HIDE_NONE },
    { ngx_null_string, 0 }
};


static lines_param_t  access_params[] = {
    lines_param_sec("stale", lines_auth_conf_t, stale,
                    0, LINES_PARAM_ANY, LINES_AUTH_STALE),
    lines_param_enum("cache", lines_auth_conf_t, cache, access_words),
    lines_param_enum("hide_credentials", lines_auth_conf_t, hide,
                     access_hides),
    lines_param_end
};


static lines_directive_t  access_directive = {
    .name = "lines_auth",
    .params = access_params,
    .empty = LINES_PARAM_INVALID,
    .twice = LINES_PARAM_INVALID
};


static lines_directive_t  access_off = {
    .name = "lines_auth",
    .params = &access_params[sizeof(access_params) / sizeof(lines_param_t) - 1]
};


char *
lines_auth_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    ngx_str_t          *value;
    lines_auth_conf_t  *auth;
    lines_main_conf_t  *lmcf;

    if (llcf->auth) {
        return "is duplicate";
    }

    auth = ngx_pcalloc(cf->pool, sizeof(lines_auth_conf_t));
    if (auth == NULL) {
        return NGX_CONF_ERROR;
    }

    llcf->auth = auth;

    value = cf->args->elts;

    if (lines_params_choose(cf, &access_directive, "invalid value", &value[1],
                            access_modes, &auth->methods)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    llcf->dialect = (auth->methods == LINES_AUTH_KEY_PAIR)
                    ? &access_account
                    : &access_workspace;

    if (lines_params(cf, auth->methods ? &access_directive : &access_off, 2,
                     auth)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    llcf->cache = auth->cache;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);
    lmcf->used = 1;

    if (auth->methods) {
        lmcf->auth = 1;
    }

    return NGX_CONF_OK;
}


char *
lines_access_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf)
{
    void               ***seen;
    lines_main_conf_t    *lmcf;

    if (conf->auth == NULL) {
        conf->auth = prev->auth;
        conf->cache = prev->cache;
        conf->dialect = prev->dialect;

    } else if (conf->auth->methods == 0) {
        conf->auth = NULL;
        conf->dialect = NULL;
    }

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    if (lmcf->locations_seen == NULL) {
        lmcf->locations_seen = ngx_array_create(cf->temp_pool, 16,
                                                sizeof(void **));
        if (lmcf->locations_seen == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    seen = ngx_array_push(lmcf->locations_seen);
    if (seen == NULL) {
        return NGX_CONF_ERROR;
    }

    *seen = ((ngx_http_conf_ctx_t *) cf->ctx)->loc_conf;

    return NGX_CONF_OK;
}


/* flag: by some location's auth_request, whose structure is private to its
   module, but begins with the URI */

static ngx_uint_t
access_asked(lines_main_conf_t *lmcf, ngx_str_t *name)
{
    void      ***loc_conf;
    ngx_uint_t   i;

    loc_conf = lmcf->locations_seen->elts;

    for (i = 0; lmcf->auth_request && i < lmcf->locations_seen->nelts; i++) {

        if (lines_same(loc_conf[i][lmcf->auth_request->ctx_index], name)) {
            return 1;
        }
    }

    return 0;
}


/*
 * The rewrite module's own structure is private to it, but begins with the
 * array of its codes: sequences of structures that begin with a function.
 */

static ngx_uint_t
access_rewrites(ngx_conf_t *cf, void **loc_conf)
{
    u_char        *p, *last;
    uintptr_t      code;
    ngx_array_t  **codes;
    ngx_module_t  *module;

    module = lines_find_module(cf, "ngx_http_rewrite_module");

    codes = module ? loc_conf[module->ctx_index] : NULL;

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


void
lines_access_warn(ngx_conf_t *cf)
{
    void                     ***loc_conf;
    ngx_uint_t                  i;
    lines_loc_conf_t           *llcf;
    lines_main_conf_t          *lmcf;
    ngx_http_core_loc_conf_t   *clcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    loc_conf = lmcf->locations_seen ? lmcf->locations_seen->elts : NULL;

    for (i = 0; loc_conf && i < lmcf->locations_seen->nelts; i++) {

        llcf = loc_conf[i][ngx_http_lines_module.ctx_index];
        clcf = loc_conf[i][ngx_http_core_module.ctx_index];

        if (clcf->name.len == 0) {
            continue;
        }

        if (llcf->auth) {
            lines_access_caches(cf, loc_conf[i]);
        }

        /* subrequests are checked before them */

        if (llcf->auth
            && !clcf->noname
            && access_rewrites(cf, loc_conf[i])
            && (clcf->internal != 1 || !access_asked(lmcf, &clcf->name)))
        {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "location \"%V\" has \"lines_auth\" together with "
                          "\"return\" or \"rewrite\", which run before it and "
                          "are not protected", &clcf->name);
        }

        if (llcf->limited && access_asked(lmcf, &clcf->name)) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "location \"%V\" has \"lines_rate_limit\", but "
                          "is asked by \"auth_request\": subrequests are "
                          "not counted; it belongs into the location "
                          "that asks", &clcf->name);
        }
    }

    lmcf->locations_seen = NULL;
}
