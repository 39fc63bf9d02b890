
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
#define LINES_REDIS_REPLICAS_MAX  16

/* so many timeouts without a byte, and the connection is given up */
#define LINES_REDIS_SILENCE       5


#define REDIS_LOCAL     0x01
#define REDIS_SECURE    0x02
#define REDIS_SENTINEL  0x04
#define REDIS_CLUSTER   0x08

typedef struct {
    ngx_str_t   prefix;
    ngx_uint_t  flags;
} redis_scheme_t;


static char *redis_refuse(ngx_conf_t *cf, char *err);
static redis_scheme_t *redis_find_scheme(ngx_str_t *url);
static char *redis_parse_url(ngx_conf_t *cf, lines_redis_conf_t *conf,
    redis_scheme_t *scheme, ngx_str_t *url, ngx_str_t *sentinels);
static char *redis_parse_path(ngx_conf_t *cf, lines_redis_conf_t *conf,
    ngx_str_t *url, u_char *p);
static char *redis_parse_master(lines_redis_conf_t *conf, u_char *p,
    u_char **last);
static char *redis_parse_db(lines_redis_conf_t *conf, u_char *p, u_char **last,
    u_char separator);
static char *redis_parse_user(lines_redis_conf_t *conf, u_char **p,
    u_char *last);
static char *redis_parse_host(ngx_conf_t *cf, lines_redis_conf_t *conf,
    u_char *p, u_char *last, in_port_t port);
static char *redis_set_sentinels(ngx_conf_t *cf, lines_redis_conf_t *conf,
    ngx_str_t *directive, ngx_str_t *list);
static char *redis_add_sentinel(ngx_conf_t *cf, lines_redis_conf_t *conf,
    u_char *p, u_char *last);
static char *redis_set_user(ngx_conf_t *cf, ngx_str_t *value, void *field);
static char *redis_set_password(ngx_conf_t *cf, ngx_str_t *value, void *field);
static char *redis_set_tls(ngx_conf_t *cf, lines_redis_conf_t *conf,
    ngx_str_t *directive);
static ngx_str_t redis_printable(ngx_str_t *value);


static ngx_conf_enum_t  redis_switch[] = {
    { ngx_string("on"), 1 },
    { ngx_string("off"), 0 },
    { ngx_null_string, 0 }
};


#define redis_own_params                                                      \
    lines_param_number("replicas", lines_redis_conf_t, replicas,              \
                       0, LINES_REDIS_REPLICAS_MAX, 0),                       \
    lines_param_msec("wait", lines_redis_conf_t, wait,                        \
                     1, NGX_MAX_INT32_VALUE, 100),                            \
    lines_param_enum("fsync", lines_redis_conf_t, fsync, redis_switch),       \
    lines_param_number("layout", lines_redis_conf_t, layout, 1, 2, 2),

/* own: what is not of "limits" */

#define redis_params_with(own)                                                \
    lines_param_msec("timeout", lines_redis_conf_t, timeout,                  \
                     1, NGX_MAX_INT32_VALUE, 2000),                           \
    lines_param_msec("silence", lines_redis_conf_t, silence,                  \
                     1, NGX_MAX_INT32_VALUE, 0),                              \
    lines_param_msec("connect_timeout", lines_redis_conf_t, connect_timeout,  \
                     1, NGX_MAX_INT32_VALUE, 1000),                           \
    lines_param_number("max_inflight", lines_redis_conf_t, max_inflight,      \
                       1, LINES_REDIS_INFLIGHT_MAX, 4096),                    \
    own                                                                       \
    lines_param_other("user", offsetof(lines_redis_conf_t, user),             \
                      redis_set_user, NULL),                                  \
    lines_param_other("password_file",                                        \
                      offsetof(lines_redis_conf_t, password),                 \
                      redis_set_password, NULL),                              \
    lines_param_string("sentinel_user", lines_redis_conf_t, sentinel_user,    \
                       0),                                                    \
    lines_param_other("sentinel_password_file",                               \
                      offsetof(lines_redis_conf_t, sentinel_password),        \
                      redis_set_password, NULL),                              \
    lines_param_string("cacert", lines_redis_conf_t, ca, 0),                  \
    lines_param_string("cert", lines_redis_conf_t, cert, 0),                  \
    lines_param_string("key", lines_redis_conf_t, key, 0),                    \
    lines_param_string("sni", lines_redis_conf_t, sni, 0),                    \
    lines_param_enum("verify", lines_redis_conf_t, verify, redis_switch),     \
    { .name = ngx_string("password"), .type = LINES_PARAM_REFUSED,            \
      .valid = "a password belongs in \"password_file=\"" },                  \
    { .name = ngx_string("sentinel_password"), .type = LINES_PARAM_REFUSED,   \
      .valid = "a password belongs in \"sentinel_password_file=\"" },         \
    lines_param_end

static lines_param_t  redis_params[] = {
    redis_params_with(redis_own_params)
};

static lines_param_t  redis_limits_params[] = {
    redis_params_with( /* void */ )
};


static lines_directive_t  redis_directive = {
    .name = "lines_redis",
    .params = redis_params,
    .of = "of",
    .time = "invalid time in parameter",
    .number = "invalid number in parameter"
};


static lines_directive_t  redis_limits_directive = {
    .name = "lines_redis limits",
    .params = redis_limits_params,
    .of = "of",
    .time = "invalid time in parameter",
    .number = "invalid number in parameter"
};


static redis_scheme_t  redis_schemes[] = {
    { ngx_string("unix:"), REDIS_LOCAL },
    { ngx_string("redis://"), 0 },
    { ngx_string("rediss://"), REDIS_SECURE },
    { ngx_string("redis+sentinel://"), REDIS_SENTINEL },
    { ngx_string("rediss+sentinel://"), REDIS_SENTINEL|REDIS_SECURE },
    { ngx_string("redis+cluster://"), REDIS_CLUSTER },
    { ngx_string("rediss+cluster://"), REDIS_CLUSTER|REDIS_SECURE },
    { ngx_null_string, 0 }
};


char *
lines_redis_parse_conf(ngx_conf_t *cf, lines_redis_conf_t *conf)
{
    char            *err;
    ngx_str_t       *value, sentinels;
    redis_scheme_t  *scheme;

    value = cf->args->elts;

    if (cf->conf_file) {
        conf->file = cf->conf_file->file.name;
        conf->line = cf->conf_file->line;
    }

    scheme = redis_find_scheme(&value[1]);

    ngx_str_null(&sentinels);

    conf->cluster = ((scheme->flags & REDIS_CLUSTER) != 0);

    err = redis_parse_url(cf, conf, scheme, &value[1], &sentinels);

    if (err) {
        return redis_refuse(cf, err);
    }

    conf->secure = ((scheme->flags & REDIS_SECURE) != 0);
    conf->verify = 1;

    if (lines_params(cf, conf->limits ? &redis_limits_directive
                                      : &redis_directive, 2, conf)
        != NGX_CONF_OK)
    {
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

    if (conf->replicas && conf->wait >= conf->timeout) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"wait=\" is not shorter than \"timeout=\" in "
                           "\"%V\" directive", &value[0]);
        return NGX_CONF_ERROR;
    }

    if (conf->fsync && conf->replicas == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fsync=on\" without \"replicas=\" in \"%V\" "
                           "directive", &value[0]);
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

    if ((conf->cluster || conf->master.len)
        && conf->replicas == 0
        && !conf->limits)
    {
        ngx_conf_log_error(NGX_LOG_NOTICE, cf, 0,
                           "no \"replicas=\" of \"%V\" directive, with a "
                           "%s: " LINES_REDIS_PROMISE, &value[0],
                           conf->cluster ? "cluster" : "primary of Sentinel's");
    }

    return redis_set_sentinels(cf, conf, &value[0], &sentinels);
}


/* err: of the URL; NGX_CONF_ERROR: it is known why */

static char *
redis_refuse(ngx_conf_t *cf, char *err)
{
    ngx_str_t  *value, shown;

    if (err != NGX_CONF_ERROR) {
        value = cf->args->elts;
        shown = redis_printable(&value[1]);

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in \"%V\" of \"%V\" directive", err, &shown,
                           &value[0]);
    }

    return NGX_CONF_ERROR;
}


/* all but what is in their part of the URL is as said for Redis */

static char *
redis_set_sentinels(ngx_conf_t *cf, lines_redis_conf_t *conf,
    ngx_str_t *directive, ngx_str_t *list)
{
    char    *err;
    u_char  *p, *comma, *last;

    if (conf->master.len == 0) {
        if (conf->sentinel_user.len || conf->sentinel_password.len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"sentinel_user=\" and "
                               "\"sentinel_password_file=\" are for "
                               "\"redis+sentinel://\" in \"%V\" directive",
                               directive);
            return NGX_CONF_ERROR;
        }

        if (!conf->cluster) {
            return NGX_CONF_OK;
        }
    }

    if (conf->sentinel_user.len && conf->sentinel_password.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"sentinel_user=\" without "
                           "\"sentinel_password_file=\" in \"%V\" directive",
                           directive);
        return NGX_CONF_ERROR;
    }

    conf->sentinels = ngx_array_create(cf->pool, 3, sizeof(lines_redis_conf_t));
    if (conf->sentinels == NULL) {
        return NGX_CONF_ERROR;
    }

    last = list->data + list->len;

    for (p = list->data; p <= last; p = comma + 1) {
        comma = ngx_strlchr(p, last, ',');

        if (comma == NULL) {
            comma = last;
        }

        err = redis_add_sentinel(cf, conf, p, comma);

        if (err) {
            return redis_refuse(cf, err);
        }
    }

    return NGX_CONF_OK;
}


static char *
redis_add_sentinel(ngx_conf_t *cf, lines_redis_conf_t *conf, u_char *p,
    u_char *last)
{
    char                *err;
    ngx_uint_t           i, n;
    lines_redis_conf_t  *sentinels, *sentinel;

    n = conf->sentinels->nelts;

    if (n == LINES_SENTINELS_MAX) {
        return conf->cluster
               ? "more than " ngx_value(LINES_SENTINELS_MAX) " nodes"
               : "more than " ngx_value(LINES_SENTINELS_MAX) " Sentinels";
    }

    sentinel = ngx_array_push(conf->sentinels);
    if (sentinel == NULL) {
        return NGX_CONF_ERROR;
    }

    *sentinel = *conf;

    if (conf->master.len) {
        sentinel->user = conf->sentinel_user;
        sentinel->password = conf->sentinel_password;

        ngx_str_null(&sentinel->master);
    }

    sentinel->sentinels = NULL;

    err = redis_parse_host(cf, sentinel, p, last,
                           conf->cluster ? LINES_REDIS_PORT
                                         : LINES_SENTINEL_PORT);

    if (err) {
        return err;
    }

    /* who is there twice would count twice */

    sentinels = conf->sentinels->elts;

    for (i = 0; i < n; i++) {
        if (sentinels[i].name.len == sentinel->name.len
            && ngx_strncasecmp(sentinels[i].name.data, sentinel->name.data,
                               sentinel->name.len)
               == 0)
        {
            return conf->cluster ? "the same node twice"
                                 : "the same Sentinel twice";
        }
    }

    return NULL;
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

    if (conf->sentinels) {
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


/* the last one has no prefix: nobody's */

static redis_scheme_t *
redis_find_scheme(ngx_str_t *url)
{
    redis_scheme_t  *scheme;

    for (scheme = redis_schemes; scheme->prefix.len; scheme++) {
        if (url->len >= scheme->prefix.len
            && ngx_strncasecmp(url->data, scheme->prefix.data,
                               scheme->prefix.len)
               == 0)
        {
            break;
        }
    }

    return scheme;
}


/* [user@]host[:port][/db], [user@]host[:port],.../master[/db], or
   [user@]host[:port],... */

static char *
redis_parse_url(ngx_conf_t *cf, lines_redis_conf_t *conf,
    redis_scheme_t *scheme, ngx_str_t *url, ngx_str_t *sentinels)
{
    char       *err;
    u_char     *p, *last;
    ngx_str_t   host;

    if (scheme->prefix.len == 0) {
        return "neither \"redis://\", \"rediss://\", "
               "\"redis+sentinel://\", \"rediss+sentinel://\", "
               "\"redis+cluster://\", \"rediss+cluster://\" nor \"unix:\"";
    }

    p = url->data + scheme->prefix.len;
    last = url->data + url->len;

    if (scheme->flags & REDIS_LOCAL) {
        return redis_parse_path(cf, conf, url, p);
    }

    err = (scheme->flags & REDIS_SENTINEL)
          ? redis_parse_master(conf, p, &last)
          : redis_parse_db(conf, p, &last, '/');

    if (err == NULL && (scheme->flags & REDIS_CLUSTER) && conf->db) {
        err = "a database other than 0, which a cluster does not have,";
    }

    if (err == NULL) {
        err = redis_parse_user(conf, &p, last);
    }

    if (err) {
        return err;
    }

    if (p == last) {
        return "no host";
    }

    if (scheme->flags & REDIS_SENTINEL) {
        sentinels->data = p;
        sentinels->len = last - p;
        host = conf->master;

    } else if (scheme->flags & REDIS_CLUSTER) {
        sentinels->data = p;
        sentinels->len = last - p;
        conf->name = *sentinels;

        return NULL;

    } else {
        err = redis_parse_host(cf, conf, p, last, LINES_REDIS_PORT);

        if (err) {
            return err;
        }

        host = conf->name;
    }

    return lines_redis_format(cf->pool, &conf->name, "%V/%ui", &host, conf->db)
           == NGX_OK
           ? NULL
           : NGX_CONF_ERROR;
}


static char *
redis_parse_path(ngx_conf_t *cf, lines_redis_conf_t *conf, ngx_str_t *url,
    u_char *p)
{
    char       *err;
    u_char     *last;
    ngx_url_t  *u;

    last = url->data + url->len;

    if (p == last || *p != '/') {
        return "no absolute path";
    }

    err = redis_parse_db(conf, p, &last, ':');

    if (err) {
        return err;
    }

    u = &conf->url;

    u->url.data = url->data;
    u->url.len = last - u->url.data;

    if (ngx_parse_url(cf->pool, u) != NGX_OK) {
        return u->err ? u->err : "invalid path";
    }

    conf->name.data = p;
    conf->name.len = last - p;

    return NULL;
}


/* what is behind the hosts, which end at *last then */

static char *
redis_parse_master(lines_redis_conf_t *conf, u_char *p, u_char **last)
{
    char    *err;
    u_char  *name, *end;

    p = ngx_strlchr(p, *last, '/');

    if (p == NULL || p + 1 == *last || p[1] == '/') {
        return "no name of a primary behind the Sentinels";
    }

    name = p + 1;
    end = *last;

    err = redis_parse_db(conf, name, &end, '/');

    if (err) {
        return err;
    }

    conf->master.data = name;
    conf->master.len = end - name;

    *last = p;

    /* as sentinel.conf has it */

    for (p = name; p < end; p++) {
        if (!lines_redis_host_char(*p) || *p == ':' || *p == '%') {
            return "a name of a primary of other than letters, digits, \".\", "
                   "\"-\" and \"_\"";
        }
    }

    return NULL;
}


static char *
redis_parse_db(lines_redis_conf_t *conf, u_char *p, u_char **last,
    u_char separator)
{
    ngx_int_t  n;

    p = ngx_strlchr(p, *last, separator);

    if (p == NULL) {
        return NULL;
    }

    n = (p + 1 < *last) ? ngx_atoi(p + 1, *last - p - 1) : 0;

    if (n == NGX_ERROR || n > NGX_MAX_INT32_VALUE) {
        return "invalid database number";
    }

    conf->db = n;
    *last = p;

    return NULL;
}


static char *
redis_parse_user(lines_redis_conf_t *conf, u_char **p, u_char *last)
{
    u_char  *at;

    at = ngx_strlchr(*p, last, '@');

    if (at == NULL) {
        return NULL;
    }

    if ((conf->master.len || conf->cluster) && ngx_strlchr(*p, at, ',')) {
        return "a host before \"user@\"";
    }

    if (ngx_strlchr(*p, at, ':')) {
        return "a password (it belongs in \"password_file=\")";
    }

    if (at == *p) {
        return "no user before \"@\"";
    }

    conf->user.data = *p;
    conf->user.len = at - *p;

    *p = at + 1;

    return NULL;
}


/* host[:port], up to last; sets the name, too */

static char *
redis_parse_host(ngx_conf_t *cf, lines_redis_conf_t *conf, u_char *p,
    u_char *last, in_port_t port)
{
    u_char     *c;
    ngx_url_t  *u;

    if (p == last) {
        return "an empty host";
    }

    for (c = p; c < last; c++) {
        if (!lines_redis_host_char(*c)
            && !(*p == '[' && (c == p || *c == ']')))
        {
            return "invalid host";
        }
    }

    /* nginx would take what is behind it for a path */

    if (last - p >= 5 && ngx_strncasecmp(p, (u_char *) "unix:", 5) == 0) {
        return "invalid host (a socket's path is \"unix:/...\" alone)";
    }

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
                              ? "[%V]:%d"
                              : "%V:%d", &u->host, (int) conf->port)
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
