
/*
 * What the directive lines_redis says: the URL and its parameters.
 */

#include "directive/params.h"
#include "directive/secret.h"
#include "store/redis_tls.h"


#define LINES_REDIS_PORT          6379
#define LINES_SENTINEL_PORT       26379
#define LINES_SENTINELS_MAX       16
#define LINES_REDIS_INFLIGHT_MAX  1000000

/* so many timeouts without a byte, and the connection is given up */
#define LINES_REDIS_SILENCE       5


static char *redis_parse_url(ngx_conf_t *cf, lines_redis_conf_t *conf,
    ngx_str_t *value);
static char *redis_parse_sentinels(ngx_conf_t *cf, lines_redis_conf_t *conf,
    u_char *p, u_char *last);
static char *redis_parse_host(ngx_conf_t *cf, lines_redis_conf_t *conf,
    u_char *p, u_char *last, in_port_t port);
static char *redis_set_sentinels(ngx_conf_t *cf, lines_redis_conf_t *conf,
    ngx_str_t *directive);
static char *redis_set_user(ngx_conf_t *cf, ngx_str_t *value, void *field);
static char *redis_set_password(ngx_conf_t *cf, ngx_str_t *value, void *field);
static char *redis_set_tls(ngx_conf_t *cf, lines_redis_conf_t *conf,
    ngx_str_t *directive);
static ngx_str_t redis_printable(ngx_str_t *value);


static ngx_conf_enum_t  redis_verify[] = {
    { ngx_string("on"), 1 },
    { ngx_string("off"), 0 },
    { ngx_null_string, 0 }
};


static lines_param_t  redis_params[] = {
    lines_param_msec("timeout", lines_redis_conf_t, timeout,
                     1, NGX_MAX_INT32_VALUE, 2000),
    lines_param_msec("silence", lines_redis_conf_t, silence,
                     1, NGX_MAX_INT32_VALUE, 0),
    lines_param_msec("connect_timeout", lines_redis_conf_t, connect_timeout,
                     1, NGX_MAX_INT32_VALUE, 1000),
    lines_param_number("max_inflight", lines_redis_conf_t, max_inflight,
                       1, LINES_REDIS_INFLIGHT_MAX, 4096),
    lines_param_other("user", offsetof(lines_redis_conf_t, user),
                      redis_set_user, NULL),
    lines_param_other("password_file", offsetof(lines_redis_conf_t, password),
                      redis_set_password, NULL),
    lines_param_string("sentinel_user", lines_redis_conf_t, sentinel_user, 0),
    lines_param_other("sentinel_password_file",
                      offsetof(lines_redis_conf_t, sentinel_password),
                      redis_set_password, NULL),
    lines_param_string("cacert", lines_redis_conf_t, ca, 0),
    lines_param_string("cert", lines_redis_conf_t, cert, 0),
    lines_param_string("key", lines_redis_conf_t, key, 0),
    lines_param_string("sni", lines_redis_conf_t, sni, 0),
    lines_param_enum("verify", lines_redis_conf_t, verify, redis_verify),
    { .name = ngx_string("password"), .type = LINES_PARAM_REFUSED,
      .valid = "a password belongs in \"password_file=\"" },
    lines_param_end
};


static lines_directive_t  redis_directive = {
    .name = "lines_redis",
    .params = redis_params,
    .of = "of",
    .time = "invalid time in parameter",
    .number = "invalid number in parameter"
};


/* known to the URL's readers, but not to this build */

static ngx_str_t  redis_schemes[] = {
    ngx_string("redis+cluster://"),
    ngx_string("rediss+cluster://"),
    ngx_null_string
};


char *
lines_redis_parse_conf(ngx_conf_t *cf, lines_redis_conf_t *conf)
{
    char       *err;
    ngx_str_t  *value, *scheme, shown;

    value = cf->args->elts;
    shown = redis_printable(&value[1]);

    if (cf->conf_file) {
        conf->file = cf->conf_file->file.name;
        conf->line = cf->conf_file->line;
    }

    for (scheme = redis_schemes; scheme->len; scheme++) {
        if (value[1].len >= scheme->len
            && ngx_strncasecmp(value[1].data, scheme->data, scheme->len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" is not served by this build: \"%V\" "
                               "of \"%V\" directive", scheme, &shown,
                               &value[0]);
            return NGX_CONF_ERROR;
        }
    }

    err = redis_parse_url(cf, conf, &value[1]);

    if (err && err != NGX_CONF_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in \"%V\" of \"%V\" directive", err, &shown,
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    conf->verify = 1;

    if (err || lines_params(cf, &redis_directive, 2, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (conf->silence == 0) {
        conf->silence = ngx_min(conf->timeout,
                                NGX_MAX_INT32_VALUE / LINES_REDIS_SILENCE)
                        * LINES_REDIS_SILENCE;
        conf->silence = ngx_max(conf->silence, conf->timeout);

    } else if (conf->silence < conf->timeout) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"silence=\" is shorter than \"timeout=\" in "
                           "\"%V\" directive", &value[0]);
        return NGX_CONF_ERROR;
    }

    if (conf->user.len && conf->password.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "user \"%V\" without \"password_file=\" in "
                           "\"%V\" directive", &conf->user, &value[0]);
        return NGX_CONF_ERROR;
    }

    if (redis_set_tls(cf, conf, &value[0]) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return redis_set_sentinels(cf, conf, &value[0]);
}


/* all but what is in their part of the URL is as said for Redis */

static char *
redis_set_sentinels(ngx_conf_t *cf, lines_redis_conf_t *conf,
    ngx_str_t *directive)
{
    ngx_uint_t           i;
    lines_redis_conf_t  *sentinel, own;

    if (conf->master.len == 0) {
        if (conf->sentinel_user.len || conf->sentinel_password.len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"sentinel_user=\" and "
                               "\"sentinel_password_file=\" are for "
                               "\"redis+sentinel://\" in \"%V\" directive",
                               directive);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    if (conf->sentinel_user.len && conf->sentinel_password.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"sentinel_user=\" without "
                           "\"sentinel_password_file=\" in \"%V\" directive",
                           directive);
        return NGX_CONF_ERROR;
    }

    sentinel = conf->sentinels->elts;

    for (i = 0; i < conf->sentinels->nelts; i++) {
        own = sentinel[i];

        sentinel[i] = *conf;
        sentinel[i].url = own.url;
        sentinel[i].host = own.host;
        sentinel[i].port = own.port;
        sentinel[i].name = own.name;
        sentinel[i].user = conf->sentinel_user;
        sentinel[i].password = conf->sentinel_password;
        sentinel[i].master.len = 0;
    }

    return NGX_CONF_OK;
}


static char *
redis_set_tls(ngx_conf_t *cf, lines_redis_conf_t *conf, ngx_str_t *directive)
{
    if ((conf->cert.len == 0) != (conf->key.len == 0)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"cert=\" and \"key=\" belong together in \"%V\" "
                           "directive", directive);
        return NGX_CONF_ERROR;
    }

    if (conf->secure) {
        return lines_redis_tls_init(cf, conf);
    }

    if (conf->ca.len || conf->cert.len || conf->sni.len || !conf->verify) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"cacert=\", \"cert=\", \"key=\", \"sni=\" and "
                           "\"verify=\" are for \"rediss://\" in \"%V\" "
                           "directive", directive);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
lines_redis_check_conf(ngx_conf_t *cf, lines_redis_conf_t *conf)
{
    ngx_uint_t           i;
    lines_redis_conf_t  *sentinel;

    if (conf->master.len) {
        sentinel = conf->sentinels->elts;

        for (i = 0; i < conf->sentinels->nelts; i++) {
            sentinel[i].resolver = conf->resolver;
            sentinel[i].resolver_timeout = conf->resolver_timeout;

            if (lines_redis_check_conf(cf, &sentinel[i]) != NGX_CONF_OK) {
                return NGX_CONF_ERROR;
            }
        }

        return NGX_CONF_OK;
    }

    if (conf->url.naddrs || conf->resolver) {
        return NGX_CONF_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "host not found in \"%V\" of \"lines_redis\" directive, and "
                  "there is no \"resolver\" to find it later in %V:%ui",
                  &conf->name, &conf->file, conf->line);

    return NGX_CONF_ERROR;
}


static char *
redis_parse_url(ngx_conf_t *cf, lines_redis_conf_t *conf, ngx_str_t *value)
{
    u_char      *p, *at, *db, *last, *master;
    ngx_int_t    n;
    ngx_url_t   *u;
    ngx_uint_t   local, sentinel;

    /* the configuration's strings end with a zero */

    p = value->data;
    last = p + value->len;
    local = (ngx_strncasecmp(p, (u_char *) "unix:", 5) == 0);
    sentinel = 0;

    if (local) {
        p += 5;

        if (*p != '/') {
            return "no absolute path";
        }

    } else if (ngx_strncasecmp(p, (u_char *) "redis://", 8) == 0) {
        p += 8;

    } else if (ngx_strncasecmp(p, (u_char *) "rediss://", 9) == 0) {
        p += 9;
        conf->secure = 1;

    } else if (ngx_strncasecmp(p, (u_char *) "redis+sentinel://", 17) == 0) {
        p += 17;
        sentinel = 1;

    } else if (ngx_strncasecmp(p, (u_char *) "rediss+sentinel://", 18) == 0) {
        p += 18;
        sentinel = 1;
        conf->secure = 1;

    } else {
        return "neither \"redis://\", \"rediss://\", "
               "\"redis+sentinel://\" nor \"unix:\"";
    }

    master = NULL;

    if (sentinel) {
        master = ngx_strlchr(p, last, '/');

        if (master == NULL || master + 1 == last || master[1] == '/') {
            return "no name of a primary behind the Sentinels";
        }

        master++;
    }

    db = ngx_strlchr(master ? master : p, last, local ? ':' : '/');

    if (db) {
        n = (db + 1 < last) ? ngx_atoi(db + 1, last - db - 1) : 0;

        if (n == NGX_ERROR || n > NGX_MAX_INT32_VALUE) {
            return "invalid database number";
        }

        conf->db = n;
        last = db;
    }

    at = local ? NULL : ngx_strlchr(p, last, '@');

    if (at) {
        if (ngx_strlchr(p, at, ':')) {
            return "a password (it belongs in \"password_file=\")";
        }

        if (at == p) {
            return "no user before \"@\"";
        }

        conf->user.data = p;
        conf->user.len = at - p;

        p = at + 1;
    }

    if (p == last) {
        return "no host";
    }

    if (sentinel) {
        conf->master.data = master;
        conf->master.len = last - master;

        return redis_parse_sentinels(cf, conf, p, master - 1);
    }

    if (!local) {
        return redis_parse_host(cf, conf, p, last, LINES_REDIS_PORT);
    }

    u = &conf->url;

    u->url.data = value->data;
    u->url.len = last - u->url.data;

    if (ngx_parse_url(cf->pool, u) != NGX_OK) {
        return u->err ? u->err : "invalid path";
    }

    conf->name.data = p;
    conf->name.len = last - p;

    return NULL;
}


static char *
redis_parse_sentinels(ngx_conf_t *cf, lines_redis_conf_t *conf, u_char *p,
    u_char *last)
{
    char                *err;
    u_char              *comma;
    lines_redis_conf_t  *sentinel;

    conf->sentinels = ngx_array_create(cf->pool, 3, sizeof(lines_redis_conf_t));
    if (conf->sentinels == NULL) {
        return NGX_CONF_ERROR;
    }

    for ( ;; p = comma + 1) {
        comma = ngx_strlchr(p, last, ',');

        if (comma == NULL) {
            comma = last;
        }

        if (comma == p) {
            return "an empty host";
        }

        if (conf->sentinels->nelts == LINES_SENTINELS_MAX) {
            return "more than 16 Sentinels";
        }

        sentinel = ngx_array_push(conf->sentinels);
        if (sentinel == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(sentinel, sizeof(lines_redis_conf_t));

        err = redis_parse_host(cf, sentinel, p, comma, LINES_SENTINEL_PORT);

        if (err) {
            return err;
        }

        if (comma == last) {
            break;
        }
    }

    return lines_redis_format(cf->pool, &conf->name, "%V/%ui", &conf->master,
                              conf->db)
           == NGX_OK
           ? NULL
           : NGX_CONF_ERROR;
}


/* host[:port], up to last */

static char *
redis_parse_host(ngx_conf_t *cf, lines_redis_conf_t *conf, u_char *p,
    u_char *last, in_port_t port)
{
    ngx_url_t  *u;

    u = &conf->url;

    u->url.data = p;
    u->url.len = last - p;
    u->default_port = port;
    u->no_resolve = 1;

    if (ngx_parse_url(cf->pool, u) != NGX_OK) {
        return u->err ? u->err : "invalid host";
    }

    conf->port = u->port;

    if (u->naddrs == 0) {

        /*
         * A name.  It need not be known now if "resolver" finds it later,
         * which is for lines_redis_check_conf() to say.
         */

        if (lines_redis_format(cf->pool, &conf->host, "%V%Z", &u->host)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        conf->host.len--;

        if (ngx_inet_resolve_host(cf->pool, u) != NGX_OK) {
            u->naddrs = 0;
        }
    }

    return lines_redis_format(cf->pool, &conf->name,
                              u->family == AF_INET6 && conf->host.len == 0
                              ? "[%V]:%d/%ui"
                              : "%V:%d/%ui", &u->host, (int) conf->port,
                              conf->db)
           == NGX_OK
           ? NULL
           : NGX_CONF_ERROR;
}


static char *
redis_set_user(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    ngx_str_t *user = field;

    if (user->len) {
        return "the URL names a user too: parameter";
    }

    *user = *value;

    return NGX_CONF_OK;
}


/* other than tokens, passwords may have blanks */

static char *
redis_set_password(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    ngx_str_t *password = field;

    u_char     *p, *last;
    ssize_t     n;
    ngx_str_t   file;

    p = ngx_pnalloc(cf->pool, LINES_SECRET_MAX);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    file = *value;

    n = lines_read_secret_file(cf, redis_directive.name, &file, p,
                               LINES_SECRET_MAX);

    if (n == NGX_ERROR) {
        return NGX_CONF_ERROR;
    }

    last = p + n;

    if (last > p && last[-1] == LF) {
        last--;
    }

    if (last > p && last[-1] == CR) {
        last--;
    }

    if (last == p) {
        return "an empty file in parameter";
    }

    if (n == LINES_SECRET_MAX) {
        return "too long a file in parameter";
    }

    if (ngx_strlchr(p, last, LF)) {
        return "more than one line in the file of parameter";
    }

    password->data = p;
    password->len = last - p;

    return NGX_CONF_OK;
}


/* a URL without what might be a password, for messages */

static ngx_str_t
redis_printable(ngx_str_t *value)
{
    u_char     *p, *last;
    ngx_str_t   shown;

    last = value->data + value->len;
    shown = *value;

    for (p = last; p > value->data && p[-1] != '@'; p--) { /* void */ }

    if (ngx_strlchr(value->data + ngx_min(8, value->len), p, ':')) {
        shown.data = p;
        shown.len = last - p;
    }

    return shown;
}
