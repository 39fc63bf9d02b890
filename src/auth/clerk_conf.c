
#include "auth/access.h"
#include "auth/clerk.h"
#include "directive/params.h"
#include "http/cors.h"
#include "http/location.h"
#include "http/text.h"


#define LINES_CLERK_LEEWAY      5000
#define LINES_CLERK_MAX_LEEWAY  (5 * 60 * 1000)
#define LINES_CLERK_TTL         (5 * 60 * 1000)
#define LINES_CLERK_STALE       (24 * 60 * 60 * 1000)
#define LINES_CLERK_COOLDOWN    (30 * 1000)
#define LINES_CLERK_FAILED      10    /* tokens of an address and second */


/* RFC 6265, section 4.1.1: a token of HTTP */
#define LINES_CLERK_COOKIE      "!#$%&'*+-.^_`|~0123456789"            \
                                "abcdefghijklmnopqrstuvwxyz"           \
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


/* what the directive said, before it is looked at as a whole */

typedef struct {
    lines_clerk_conf_t    clerk;
    lines_jwks_t          jwks;
    ngx_str_t             key_file;
    ngx_array_t          *parties;    /* ngx_str_t */
} lines_clerk_args_t;


static lines_param_t  clerk_params[] = {
    lines_param_string("issuer", lines_clerk_args_t, clerk.options.issuer, 0),
    lines_param_string("jwks", lines_clerk_args_t, jwks.uri, 0),
    lines_param_string("key_file", lines_clerk_args_t, key_file, 0),
    lines_param_string("authorized_party", lines_clerk_args_t, parties,
                       LINES_PARAM_MANY),
    lines_param_string("cookie", lines_clerk_args_t, clerk.cookie, 0),
    lines_param_string("tenant_claim", lines_clerk_args_t,
                       clerk.options.tenant_claim, 0),
    lines_param_msec("leeway", lines_clerk_args_t, clerk.options.leeway,
                     0, LINES_CLERK_MAX_LEEWAY, LINES_CLERK_LEEWAY),
    lines_param_msec("jwks_ttl", lines_clerk_args_t, jwks.ttl,
                     100, LINES_PARAM_ANY, 0),
    lines_param_msec("jwks_stale", lines_clerk_args_t, jwks.stale,
                     1, LINES_PARAM_ANY, 0),
    lines_param_msec("jwks_cooldown", lines_clerk_args_t, jwks.cooldown,
                     100, LINES_PARAM_ANY, 0),
    lines_param_other("failed", offsetof(lines_clerk_args_t, clerk.failed),
                      lines_failures_set, "a rate, as 10r/s or 30r/m, up to "
                      "1000, or \"unlimited\""),
    lines_param_plain(lines_clerk_args_t, jwks.plain),
    lines_param_end
};


static lines_directive_t  clerk_directive = {
    .name = "lines_clerk",
    .params = clerk_params,
    .empty = "empty parameter",
    .time = "invalid time"
};


static ngx_uint_t
clerk_is_url(ngx_str_t *text)
{
    return ((text->len > 8
             && ngx_strncasecmp(text->data, (u_char *) "https://", 8) == 0)
            || (text->len > 7
                && ngx_strncasecmp(text->data, (u_char *) "http://", 7) == 0))
           && text->data[text->len - 1] != '/';
}


static ngx_int_t
jwks_read_file(ngx_conf_t *cf, ngx_str_t *path, ngx_str_t *text)
{
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_err_t         err;
    const char       *call, *why;
    ngx_file_info_t   fi;

    err = 0;
    call = "";
    why = NULL;

    fd = ngx_open_file(path->data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        err = ngx_errno;
        call = ngx_open_file_n " ";
        why = "failed";

    } else if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        why = "is not a regular file";

    } else if (ngx_file_size(&fi) > LINES_JWK_MAX_DOCUMENT) {
        why = "is longer than 256k";

    } else {
        text->len = ngx_file_size(&fi);
        text->data = ngx_pnalloc(cf->temp_pool, text->len + 1);

        n = text->data ? ngx_read_fd(fd, text->data, text->len) : -1;

        if (n != (ssize_t) text->len) {
            err = (n == -1) ? ngx_errno : 0;
            call = ngx_read_fd_n " ";
            why = "failed";
        }
    }

    if (fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(fd);
    }

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, err,
                           "\"lines_clerk\": %s\"%V\" %s", call, path, why);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
jwks_file(ngx_conf_t *cf, lines_jwks_t *jwks, ngx_str_t *file)
{
    u_char             *buf;
    ngx_int_t           rc;
    ngx_str_t           text;
    lines_jwk_report_t  report;

    if (ngx_conf_full_name(cf->cycle, file, 1) != NGX_OK
        || jwks_read_file(cf, file, &text) != NGX_OK)
    {
        return NGX_ERROR;
    }

    buf = ngx_palloc(cf->pool, lines_jwk_set_room(text.len));
    if (buf == NULL) {
        return NGX_ERROR;
    }

    rc = lines_jwk_parse(&text, buf, &jwks->set, &report);

    lines_jwks_report(cf->log, file, &report);

    if (rc != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no key in \"%V\" of \"lines_clerk\": %s", file,
                           report.error);
        return NGX_ERROR;
    }

    /* the keys themselves say which file it is: it may change */

    jwks->issuer = *file;

    text.data = buf;
    text.len = jwks->set->size;

    return lines_sha256(&text, jwks->id);
}


/* the same source for all directives that name the same keys */

static lines_jwks_t *
jwks_add(ngx_conf_t *cf, lines_jwks_t *like)
{
    ngx_uint_t          i;
    lines_jwks_t      **jwks;
    lines_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    if (lmcf->jwks == NULL) {
        lmcf->jwks = ngx_array_create(cf->pool, 2, sizeof(lines_jwks_t *));
        if (lmcf->jwks == NULL) {
            return NULL;
        }
    }

    jwks = lmcf->jwks->elts;

    for (i = 0; i < lmcf->jwks->nelts; i++) {

        if (ngx_memcmp(jwks[i]->id, like->id, LINES_SHA256_LEN) != 0) {
            continue;
        }

        if (jwks[i]->ttl != like->ttl
            || jwks[i]->stale != like->stale
            || jwks[i]->cooldown != like->cooldown
            || jwks[i]->plain != like->plain)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"lines_clerk\" names the keys \"%V\" again, "
                               "but with another jwks_ttl, jwks_stale, "
                               "jwks_cooldown or plain", &like->uri);
            return NULL;
        }

        return jwks[i];
    }

    if (like->uri.len
        && lines_location(cf, lmcf, &(lines_location_t) {
                              .name = ngx_string("lines_clerk"),
                              .uri = like->uri, .plain = like->plain,
                              .buffer = 256 * 1024 })
           != NGX_CONF_OK)
    {
        return NULL;
    }

    jwks = ngx_array_push(lmcf->jwks);
    if (jwks == NULL) {
        return NULL;
    }

    *jwks = ngx_palloc(cf->pool, sizeof(lines_jwks_t));

    if (*jwks) {
        **jwks = *like;
    }

    return *jwks;
}


/* lengths stand between the texts: no two configurations look alike */

static ngx_int_t
clerk_identify(ngx_conf_t *cf, lines_clerk_conf_t *clerk)
{
    ngx_str_t             text;
    ngx_uint_t            i;
    lines_jwt_options_t  *options;

    options = &clerk->options;

    if (lines_redis_format(cf->temp_pool, &text, "%*s%L:%uz:%V%uz:%V%ui:",
                           (size_t) LINES_SHA256_LEN, clerk->jwks->id,
                           options->leeway, options->issuer.len,
                           &options->issuer, options->tenant_claim.len,
                           &options->tenant_claim, options->nparties)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < options->nparties; i++) {
        if (lines_redis_format(cf->temp_pool, &text, "%V%uz:%V", &text,
                               options->parties[i].len, &options->parties[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return lines_sha256(&text, clerk->id);
}


char *
lines_clerk(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    ngx_str_t           *value, text;
    const char          *error;
    lines_jwks_t        *jwks;
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
        return NGX_CONF_OK;
    }

    ngx_memzero(&args, sizeof(lines_clerk_args_t));

    args.clerk.failed = (lines_failures_t) {
        .interval = 1000000 / LINES_CLERK_FAILED, .burst = LINES_CLERK_FAILED
    };

    if (lines_params(cf, &clerk_directive, 1, &args) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    *clerk = args.clerk;
    jwks = &args.jwks;

    error = NULL;

    if (!clerk_is_url(&clerk->options.issuer)) {
        error = "needs issuer=https://..., the Frontend API URL without a "
                "slash at its end";

    } else if (!jwks->uri.len == !args.key_file.len) {
        error = "needs either jwks=, the URI of an internal location, or "
                "key_file=";

    } else if (args.key_file.len
               && (jwks->ttl || jwks->stale || jwks->cooldown || jwks->plain))
    {
        error = "with key_file= has no use for jwks_ttl=, jwks_stale=, "
                "jwks_cooldown= and plain=";
    }

    if (error) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"lines_clerk\" %s",
                           error);
        return NGX_CONF_ERROR;
    }

    if (clerk->cookie.len == 0) {
        ngx_str_set(&clerk->cookie, "__session");

    } else if (lines_is(&clerk->cookie, "off")) {
        clerk->cookie.len = 0;

    } else if (strspn((char *) clerk->cookie.data, LINES_CLERK_COOKIE)
               != clerk->cookie.len)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" in \"lines_clerk\" is no cookie's name",
                           &clerk->cookie);
        return NGX_CONF_ERROR;
    }

    if (args.parties) {
        clerk->options.parties = args.parties->elts;
        clerk->options.nparties = args.parties->nelts;
    }

    if (args.key_file.len) {

        if (jwks_file(cf, jwks, &args.key_file) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

    } else {
        jwks->issuer = clerk->options.issuer;
        jwks->ttl = jwks->ttl ? jwks->ttl : LINES_CLERK_TTL;
        jwks->stale = jwks->stale ? jwks->stale : LINES_CLERK_STALE;
        jwks->cooldown = jwks->cooldown
                         ? jwks->cooldown
                         : LINES_CLERK_COOLDOWN;

        if (lines_redis_format(cf->temp_pool, &text, "%V%N%V", &jwks->issuer,
                               &jwks->uri)
            != NGX_OK
            || lines_sha256(&text, jwks->id) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    clerk->jwks = jwks_add(cf, jwks);

    if (clerk->jwks == NULL || clerk_identify(cf, clerk) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
lines_clerk_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (conf->clerk == NULL) {
        conf->clerk = prev->clerk;

    } else if (conf->clerk->jwks == NULL) {
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


char *
lines_clerk_cors_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf)
{
    lines_jwt_options_t  *options;

    options = conf->clerk ? &conf->clerk->options : NULL;

    return lines_cors_merge(cf, prev, conf, options ? options->parties : NULL,
                            options ? options->nparties : 0);
}
