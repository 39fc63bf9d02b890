
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/access.h"
#include "auth/clerk.h"
#include "http/carrier.h"


#define LINES_CLERK_LEEWAY      5000
#define LINES_CLERK_MAX_LEEWAY  (5 * 60 * 1000)
#define LINES_CLERK_TTL         (5 * 60 * 1000)
#define LINES_CLERK_STALE       (24 * 60 * 60 * 1000)
#define LINES_CLERK_COOLDOWN    (30 * 1000)


/* what the directive said, before it is looked at as a whole */

typedef struct {
    lines_clerk_conf_t  *clerk;
    lines_jwks_t         jwks;
    ngx_str_t            key_file;
    ngx_str_t            cookie;
    ngx_array_t          parties;     /* ngx_str_t */
    ngx_msec_t           leeway;
    ngx_uint_t           leeway_set;  /* flag */
} lines_clerk_args_t;


static char *clerk_arg(ngx_conf_t *cf, lines_clerk_args_t *args,
    ngx_str_t *arg);
static char *clerk_text(ngx_str_t *field, ngx_str_t *value);
static char *clerk_time(ngx_msec_t *field, ngx_str_t *value, ngx_msec_t min,
    ngx_msec_t max);
static char *clerk_check(ngx_conf_t *cf, lines_clerk_args_t *args);
static ngx_uint_t clerk_is_url(ngx_str_t *text);
static ngx_uint_t clerk_is_cookie(ngx_str_t *name);
static ngx_int_t clerk_identify(ngx_conf_t *cf, lines_clerk_conf_t *clerk);


char *
lines_clerk(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    char                *rv;
    ngx_str_t           *value;
    ngx_uint_t           i;
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

    if (ngx_array_init(&args.parties, cf->pool, 2, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        rv = clerk_arg(cf, &args, &value[i]);

        if (rv != NGX_CONF_OK) {

            if (rv != NGX_CONF_ERROR) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "%s \"%V\" in \"lines_clerk\"", rv,
                                   &value[i]);
            }

            return NGX_CONF_ERROR;
        }
    }

    return clerk_check(cf, &args);
}


/* NGX_CONF_OK, NGX_CONF_ERROR, or what the argument is */

static char *
clerk_arg(ngx_conf_t *cf, lines_clerk_args_t *args, ngx_str_t *arg)
{
    u_char               *p;
    ngx_str_t             name, value, *party;
    lines_jwt_options_t  *options;

    options = &args->clerk->options;

    if (lines_carrier_is_plain(arg)) {
        args->jwks.plain = 1;
        return NGX_CONF_OK;
    }

    p = (u_char *) ngx_strlchr(arg->data, arg->data + arg->len, '=');

    if (p == NULL) {
        return "invalid parameter";
    }

    name.data = arg->data;
    name.len = p - arg->data;
    value.data = p + 1;
    value.len = arg->data + arg->len - value.data;

    if (value.len == 0) {
        return "empty parameter";
    }

    if (lines_is(&name, "issuer")) {
        return clerk_text(&options->issuer, &value);
    }

    if (lines_is(&name, "jwks")) {
        return clerk_text(&args->jwks.uri, &value);
    }

    if (lines_is(&name, "key_file")) {
        return clerk_text(&args->key_file, &value);
    }

    if (lines_is(&name, "authorized_party")) {
        party = ngx_array_push(&args->parties);
        if (party == NULL) {
            return NGX_CONF_ERROR;
        }

        *party = value;

        return NGX_CONF_OK;
    }

    if (lines_is(&name, "cookie")) {
        return clerk_text(&args->cookie, &value);
    }

    if (lines_is(&name, "tenant_claim")) {
        return clerk_text(&options->tenant_claim, &value);
    }

    if (lines_is(&name, "leeway")) {

        if (args->leeway_set) {
            return "duplicate parameter";
        }

        args->leeway_set = 1;

        return clerk_time(&args->leeway, &value, 0, LINES_CLERK_MAX_LEEWAY);
    }

    if (lines_is(&name, "jwks_ttl")) {
        return clerk_time(&args->jwks.ttl, &value, 100, NGX_MAX_INT_T_VALUE);
    }

    if (lines_is(&name, "jwks_stale")) {
        return clerk_time(&args->jwks.stale, &value, 1, NGX_MAX_INT_T_VALUE);
    }

    if (lines_is(&name, "jwks_cooldown")) {
        return clerk_time(&args->jwks.cooldown, &value, 100,
                          NGX_MAX_INT_T_VALUE);
    }

    return "invalid parameter";
}


static char *
clerk_text(ngx_str_t *field, ngx_str_t *value)
{
    if (field->data) {
        return "duplicate parameter";
    }

    *field = *value;

    return NGX_CONF_OK;
}


static char *
clerk_time(ngx_msec_t *field, ngx_str_t *value, ngx_msec_t min, ngx_msec_t max)
{
    ngx_int_t  n;

    if (*field) {
        return "duplicate parameter";
    }

    n = ngx_parse_time(value, 0);

    if (n == NGX_ERROR || (ngx_msec_t) n < min || (ngx_msec_t) n > max) {
        return "invalid time";
    }

    *field = n;

    return NGX_CONF_OK;
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

    clerk->options.parties = args->parties.elts;
    clerk->options.nparties = args->parties.nelts;
    clerk->options.leeway = args->leeway_set
                            ? (int64_t) args->leeway
                            : LINES_CLERK_LEEWAY;

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
