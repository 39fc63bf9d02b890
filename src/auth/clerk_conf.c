
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/access.h"
#include "auth/clerk.h"
#include "directive/params.h"
#include "http/text.h"


#define LINES_CLERK_LEEWAY      5000
#define LINES_CLERK_MAX_LEEWAY  (5 * 60 * 1000)
#define LINES_CLERK_TTL         (5 * 60 * 1000)
#define LINES_CLERK_STALE       (24 * 60 * 60 * 1000)
#define LINES_CLERK_COOLDOWN    (30 * 1000)


/* what the directive said, before it is looked at as a whole */

typedef struct {
    lines_clerk_conf_t   *clerk;
    lines_jwks_t          jwks;
    lines_jwt_options_t   options;
    ngx_str_t             key_file;
    ngx_str_t             cookie;
    ngx_array_t          *parties;    /* ngx_str_t */
    ngx_msec_t            leeway;
} lines_clerk_args_t;


static char *clerk_check(ngx_conf_t *cf, lines_clerk_args_t *args);
static ngx_uint_t clerk_is_url(ngx_str_t *text);
static ngx_uint_t clerk_is_cookie(ngx_str_t *name);
static ngx_int_t clerk_identify(ngx_conf_t *cf, lines_clerk_conf_t *clerk);


static lines_param_t  clerk_params[] = {
    lines_param_string("issuer", lines_clerk_args_t, options.issuer, 0),
    lines_param_string("jwks", lines_clerk_args_t, jwks.uri, 0),
    lines_param_string("key_file", lines_clerk_args_t, key_file, 0),
    lines_param_string("authorized_party", lines_clerk_args_t, parties,
                       LINES_PARAM_MANY),
    lines_param_string("cookie", lines_clerk_args_t, cookie, 0),
    lines_param_string("tenant_claim", lines_clerk_args_t,
                       options.tenant_claim, 0),
    lines_param_msec("leeway", lines_clerk_args_t, leeway,
                     0, LINES_CLERK_MAX_LEEWAY, LINES_CLERK_LEEWAY),
    lines_param_msec("jwks_ttl", lines_clerk_args_t, jwks.ttl,
                     100, LINES_PARAM_ANY, 0),
    lines_param_msec("jwks_stale", lines_clerk_args_t, jwks.stale,
                     1, LINES_PARAM_ANY, 0),
    lines_param_msec("jwks_cooldown", lines_clerk_args_t, jwks.cooldown,
                     100, LINES_PARAM_ANY, 0),
    lines_param_plain(lines_clerk_args_t, jwks.plain),
    lines_param_end
};


static lines_directive_t  clerk_directive = {
    .name = "lines_clerk",
    .params = clerk_params,
    .empty = "empty parameter",
    .time = "invalid time"
};


char *
lines_clerk(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    ngx_str_t           *value;
    lines_clerk_conf_t  *clerk;
    lines_clerk_args_t   args;

    if (llcf->clerk) {
        return "is duplicate";
    }

    clerk = ngx_pcalloc(cf->pool, sizeof(lines_clerk_conf_t));
    if (clerk == NULL) {
        return NGX_CONF_ERROR;
    }

    llcf->clerk = clerk;

    value = cf->args->elts;

    if (cf->args->nelts == 2 && lines_is(&value[1], "off")) {
        clerk->off = 1;
        return NGX_CONF_OK;
    }

    ngx_memzero(&args, sizeof(lines_clerk_args_t));

    args.clerk = clerk;

    if (lines_params(cf, &clerk_directive, 1, &args) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return clerk_check(cf, &args);
}


static char *
clerk_check(ngx_conf_t *cf, lines_clerk_args_t *args)
{
    lines_jwks_t        *jwks;
    lines_main_conf_t   *lmcf;
    lines_clerk_conf_t  *clerk;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    clerk = args->clerk;
    jwks = &args->jwks;

    clerk->options = args->options;

    if (!clerk_is_url(&clerk->options.issuer)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_clerk\" needs issuer=https://..., "
                           "the Frontend API URL without a slash at its end");
        return NGX_CONF_ERROR;
    }

    if (!jwks->uri.len == !args->key_file.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_clerk\" needs either jwks=, the URI of "
                           "an internal location, or key_file=");
        return NGX_CONF_ERROR;
    }

    if (args->key_file.len
        && (jwks->ttl || jwks->stale || jwks->cooldown || jwks->plain))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_clerk\" with key_file= has no use for "
                           "jwks_ttl=, jwks_stale=, jwks_cooldown= and "
                           "plain=");
        return NGX_CONF_ERROR;
    }

    if (args->cookie.len == 0) {
        ngx_str_set(&clerk->cookie, "__session");

    } else if (!lines_is(&args->cookie, "off")) {

        if (!clerk_is_cookie(&args->cookie)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" in \"lines_clerk\" is no cookie's name",
                               &args->cookie);
            return NGX_CONF_ERROR;
        }

        clerk->cookie = args->cookie;
    }

    if (args->parties) {
        clerk->options.parties = args->parties->elts;
        clerk->options.nparties = args->parties->nelts;
    }

    clerk->options.leeway = args->leeway;

    if (args->key_file.len) {
        clerk->jwks = lines_jwks_file(cf, lmcf, &args->key_file);

    } else {
        jwks->issuer = clerk->options.issuer;
        jwks->ttl = jwks->ttl ? jwks->ttl : LINES_CLERK_TTL;
        jwks->stale = jwks->stale ? jwks->stale : LINES_CLERK_STALE;
        jwks->cooldown = jwks->cooldown
                         ? jwks->cooldown
                         : LINES_CLERK_COOLDOWN;

        clerk->jwks = lines_jwks_add(cf, lmcf, jwks);
    }

    if (clerk->jwks == NULL || clerk_identify(cf, clerk) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
clerk_is_url(ngx_str_t *text)
{
    size_t  scheme;

    if (text->len > 8
        && ngx_strncasecmp(text->data, (u_char *) "https://", 8) == 0)
    {
        scheme = 8;

    } else if (text->len > 7
               && ngx_strncasecmp(text->data, (u_char *) "http://", 7) == 0)
    {
        scheme = 7;

    } else {
        return 0;
    }

    return text->len > scheme && text->data[text->len - 1] != '/';
}


/* RFC 6265, section 4.1.1: a token of HTTP */

static ngx_uint_t
clerk_is_cookie(ngx_str_t *name)
{
    size_t  i;
    u_char  ch;

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if (ch <= ' '
            || ch >= 0x7f
            || ngx_strchr("()<>@,;:\\\"/[]?={}", ch) != NULL)
        {
            return 0;
        }
    }

    return 1;
}


/* lengths stand between the texts: no two configurations look alike */

static ngx_int_t
clerk_identify(ngx_conf_t *cf, lines_clerk_conf_t *clerk)
{
    size_t                len;
    u_char               *p;
    ngx_str_t             text;
    ngx_uint_t            i;
    lines_jwt_options_t  *options;

    options = &clerk->options;

    len = LINES_SHA256_LEN + options->issuer.len + options->tenant_claim.len
          + (4 + options->nparties) * (NGX_INT64_LEN + 1);

    for (i = 0; i < options->nparties; i++) {
        len += options->parties[i].len;
    }

    p = ngx_pnalloc(cf->temp_pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text.data = p;

    p = ngx_cpymem(p, clerk->jwks->id, LINES_SHA256_LEN);
    p = ngx_sprintf(p, "%L:%uz:%V%uz:%V%ui:", options->leeway,
                    options->issuer.len, &options->issuer,
                    options->tenant_claim.len, &options->tenant_claim,
                    options->nparties);

    for (i = 0; i < options->nparties; i++) {
        p = ngx_sprintf(p, "%uz:%V", options->parties[i].len,
                        &options->parties[i]);
    }

    text.len = p - text.data;

    return lines_sha256(&text, clerk->id);
}


/* the cookie is no part of the id: it does not make a token good */

ngx_uint_t
lines_clerk_same(lines_clerk_conf_t *a, lines_clerk_conf_t *b)
{
    if (a == b) {
        return 1;
    }

    return a
           && b
           && a->jwks == b->jwks
           && ngx_memcmp(a->id, b->id, LINES_SHA256_LEN) == 0
           && a->cookie.len == b->cookie.len
           && (a->cookie.len == 0
               || ngx_strncmp(a->cookie.data, b->cookie.data, b->cookie.len)
                  == 0);
}


char *
lines_clerk_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (conf->clerk == NULL) {
        conf->clerk = prev->clerk;

    } else if (conf->clerk->off) {
        conf->clerk = NULL;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (conf->clerk == NULL
        && conf->auth
        && conf->auth->methods == LINES_AUTH_CLERK
        && clcf->name.len
        && !clcf->noname)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "location \"%V\" has \"lines_auth clerk\", "
                      "but no \"lines_clerk\"", &clcf->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
