
/*
 * lines_rate_limit rate=50r/s|3000r/m [burst=100]
 *     [key=tenant|key|ip|$variable] [name=NAME] [sync=lease|each]
 *     [fail=local|open|closed] [status=429] [dry_run] [x_ratelimit]
 * lines_rate_limit off
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/access.h"
#include "http/variables.h"
#include "limit/limit.h"


static ngx_int_t limit_param(ngx_conf_t *cf, lines_limit_t *limit,
    ngx_str_t *value);
static ngx_int_t limit_variable(ngx_conf_t *cf, lines_limit_t *limit);
static ngx_int_t limit_identify(ngx_conf_t *cf, lines_limit_t *limit);
static lines_limit_t *limit_register(ngx_conf_t *cf, lines_limit_t *limit);
static ngx_uint_t limit_same(lines_limit_t *a, lines_limit_t *b);
static ngx_int_t limit_asks(ngx_conf_t *cf, ngx_uint_t *asks);
static ngx_uint_t limit_arg(ngx_str_t *value, const char *name,
    ngx_str_t *arg);
static ngx_uint_t limit_is(ngx_str_t *value, const char *word);
static char *limit_invalid(ngx_conf_t *cf, ngx_str_t *value);


char *
lines_rate_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    ngx_str_t          *value;
    ngx_uint_t          i;
    lines_limit_t      *limit, **p;
    lines_main_conf_t  *lmcf;

    value = cf->args->elts;

    if (llcf->limits == NULL) {
        llcf->limits = ngx_array_create(cf->pool, 2, sizeof(lines_limit_t *));
        if (llcf->limits == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (cf->args->nelts == 2 && limit_is(&value[1], "off")) {
        return llcf->limits->nelts
               ? "has limits besides \"off\""
               : NGX_CONF_OK;
    }

    limit = ngx_pcalloc(cf->pool, sizeof(lines_limit_t));
    if (limit == NULL) {
        return NGX_CONF_ERROR;
    }

    limit->status = NGX_HTTP_TOO_MANY_REQUESTS;
    limit->kind = LINES_LIMIT_TENANT;
    ngx_str_set(&limit->key, "tenant");

    for (i = 1; i < cf->args->nelts; i++) {
        if (limit_param(cf, limit, &value[i]) != NGX_OK) {
            return limit_invalid(cf, &value[i]);
        }
    }

    if (limit->rate.interval == 0) {
        return "needs \"rate=\", as in \"rate=50r/s\"";
    }

    if (limit->rate.burst == 0) {

        /* what a second brings */

        limit->rate.burst = (ngx_uint_t) (1e6 / limit->rate.interval + 0.5);

        if (limit->rate.burst == 0) {
            limit->rate.burst = 1;
        }
    }

    if (limit_identify(cf, limit) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    limit = limit_register(cf, limit);
    if (limit == NULL) {
        return NGX_CONF_ERROR;
    }

    p = llcf->limits->elts;

    for (i = 0; i < llcf->limits->nelts; i++) {
        if (p[i] == limit) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"lines_rate_limit\" \"%V\" is duplicate; "
                               "give each limit of a location a \"name=\" "
                               "of its own", &limit->id);
            return NGX_CONF_ERROR;
        }
    }

    p = ngx_array_push(llcf->limits);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    *p = limit;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);
    lmcf->used = 1;

    return NGX_CONF_OK;
}


static ngx_int_t
limit_param(ngx_conf_t *cf, lines_limit_t *limit, ngx_str_t *value)
{
    size_t     i;
    u_char     ch;
    ngx_int_t  n;
    ngx_str_t  s;

    if (limit_arg(value, "rate=", &s)) {
        limit->text = s;
        return lines_rate_parse(&s, &limit->rate);
    }

    if (limit_arg(value, "burst=", &s)) {
        n = ngx_atoi(s.data, s.len);

        if (n == NGX_ERROR || n == 0 || n > LINES_BURST_MAX) {
            return NGX_ERROR;
        }

        limit->rate.burst = n;
        return NGX_OK;
    }

    if (limit_arg(value, "key=", &s)) {
        limit->key = s;

        if (limit_is(&s, "tenant")) {
            limit->kind = LINES_LIMIT_TENANT;
            return NGX_OK;
        }

        if (limit_is(&s, "key")) {
            limit->kind = LINES_LIMIT_KEY;
            return NGX_OK;
        }

        if (limit_is(&s, "ip")) {
            limit->kind = LINES_LIMIT_IP;
            return NGX_OK;
        }

        limit->kind = LINES_LIMIT_VARIABLE;
        return limit_variable(cf, limit);
    }

    if (limit_arg(value, "name=", &s)) {

        if (s.len == 0 || s.len > LINES_LIMIT_NAME_MAX) {
            return NGX_ERROR;
        }

        for (i = 0; i < s.len; i++) {
            ch = s.data[i];

            if (!((ch >= '0' && ch <= '9')
                  || (ch >= 'a' && ch <= 'z')
                  || (ch >= 'A' && ch <= 'Z')
                  || ch == '-'
                  || ch == '_'
                  || ch == '.'))
            {
                return NGX_ERROR;
            }
        }

        limit->id = s;
        limit->name = s;
        return NGX_OK;
    }

    if (limit_arg(value, "sync=", &s)) {
        limit->each = limit_is(&s, "each");

        return (limit->each || limit_is(&s, "lease")) ? NGX_OK : NGX_ERROR;
    }

    if (limit_arg(value, "fail=", &s)) {

        if (limit_is(&s, "open")) {
            limit->fail = LINES_FAIL_OPEN;

        } else if (limit_is(&s, "closed")) {
            limit->fail = LINES_FAIL_CLOSED;

        } else if (limit_is(&s, "local")) {
            limit->fail = LINES_FAIL_LOCAL;

        } else {
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    if (limit_arg(value, "status=", &s)) {
        n = ngx_atoi(s.data, s.len);

        if (n < 400 || n > 599) {
            return NGX_ERROR;
        }

        limit->status = n;
        return NGX_OK;
    }

    if (limit_is(value, "dry_run")) {
        limit->dry_run = 1;
        return NGX_OK;
    }

    if (limit_is(value, "x_ratelimit")) {
        limit->x_headers = 1;
        return NGX_OK;
    }

    return NGX_ERROR;
}


static ngx_int_t
limit_variable(ngx_conf_t *cf, lines_limit_t *limit)
{
    ngx_http_compile_complex_value_t  ccv;

    if (limit->key.len < 2
        || ngx_strlchr(limit->key.data, limit->key.data + limit->key.len, '$')
           == NULL)
    {
        return NGX_ERROR;
    }

    limit->variable = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (limit->variable == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &limit->key;
    ccv.complex_value = limit->variable;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_ERROR;
    }

    limit->identity = lines_names_identity(cf, limit->variable);

    return NGX_OK;
}


/*
 * A limit without a name is that of the place where it stands: the same on
 * every node that has the same configuration.
 */

static ngx_int_t
limit_identify(ngx_conf_t *cf, lines_limit_t *limit)
{
    uint32_t                   crc;
    const char                *name;
    ngx_http_core_loc_conf_t  *clcf;

    if (limit->id.len) {
        return NGX_OK;
    }

    switch (limit->kind) {

    case LINES_LIMIT_TENANT:
        name = "tenant";
        break;

    case LINES_LIMIT_KEY:
        name = "key";
        break;

    case LINES_LIMIT_IP:
        name = "ip";
        break;

    default:
        name = "custom";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    ngx_crc32_init(crc);
    ngx_crc32_update(&crc, clcf->name.data, clcf->name.len);
    ngx_crc32_update(&crc, limit->key.data, limit->key.len);
    ngx_crc32_update(&crc, limit->text.data, limit->text.len);
    ngx_crc32_final(crc);

    limit->name.data = (u_char *) name;
    limit->name.len = ngx_strlen(name);

    limit->id.data = ngx_pnalloc(cf->pool, limit->name.len + 1 + 8);
    if (limit->id.data == NULL) {
        return NGX_ERROR;
    }

    limit->id.len = ngx_sprintf(limit->id.data, "%s-%08xD", name, crc)
                    - limit->id.data;

    return NGX_OK;
}


/* a name means one limit, wherever it is written */

static lines_limit_t *
limit_register(ngx_conf_t *cf, lines_limit_t *limit)
{
    ngx_uint_t          i;
    lines_limit_t     **p;
    lines_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    if (lmcf->limits == NULL) {
        lmcf->limits = ngx_array_create(cf->pool, 4, sizeof(lines_limit_t *));
        if (lmcf->limits == NULL) {
            return NULL;
        }
    }

    p = lmcf->limits->elts;

    for (i = 0; i < lmcf->limits->nelts; i++) {

        if (p[i]->id.len != limit->id.len
            || ngx_strncmp(p[i]->id.data, limit->id.data, limit->id.len) != 0)
        {
            continue;
        }

        if (limit_same(p[i], limit)) {
            return p[i];
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_rate_limit\" \"%V\" is written twice, "
                           "with different parameters", &limit->id);
        return NULL;
    }

    if (lmcf->limits->nelts == LINES_LIMITS_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "too many different \"lines_rate_limit\" "
                           "directives, at most %d are possible",
                           LINES_LIMITS_MAX);
        return NULL;
    }

    limit->index = lmcf->limits->nelts;

    p = ngx_array_push(lmcf->limits);
    if (p == NULL) {
        return NULL;
    }

    *p = limit;

    return limit;
}


static ngx_uint_t
limit_same(lines_limit_t *a, lines_limit_t *b)
{
    return a->rate.interval == b->rate.interval
           && a->rate.burst == b->rate.burst
           && a->kind == b->kind
           && a->key.len == b->key.len
           && ngx_strncmp(a->key.data, b->key.data, a->key.len) == 0
           && a->fail == b->fail
           && a->status == b->status
           && a->each == b->each
           && a->dry_run == b->dry_run
           && a->x_headers == b->x_headers;
}


/*
 * Flag: auth_request may find out who asks.  Its structure is private to its
 * module, but begins with the URI.  All URIs are remembered.
 */

static ngx_int_t
limit_asks(ngx_conf_t *cf, ngx_uint_t *asks)
{
    ngx_str_t          *uri, *asked;
    ngx_module_t       *module;
    lines_main_conf_t  *lmcf;

    *asks = 0;

    module = lines_find_module(cf, "ngx_http_auth_request_module");

    if (module == NULL) {
        return NGX_OK;
    }

    uri = ngx_http_conf_get_module_loc_conf(cf, (*module));

    if (uri->len == 0) {
        return NGX_OK;
    }

    *asks = 1;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    if (lmcf->asked == NULL) {
        lmcf->asked = ngx_array_create(cf->temp_pool, 4, sizeof(ngx_str_t));
        if (lmcf->asked == NULL) {
            return NGX_ERROR;
        }
    }

    asked = lmcf->asked->nelts ? lmcf->asked->elts : NULL;

    /* most locations have it from the server around */

    if (asked && asked[lmcf->asked->nelts - 1].data == uri->data) {
        return NGX_OK;
    }

    asked = ngx_array_push(lmcf->asked);
    if (asked == NULL) {
        return NGX_ERROR;
    }

    *asked = *uri;

    return NGX_OK;
}


char *
lines_limit_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf)
{
    ngx_uint_t                 i, asks;
    ngx_http_core_loc_conf_t  *clcf;
    lines_limit_t            **p;

    if (limit_asks(cf, &asks) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (conf->limits == NULL) {
        conf->limits = prev->limits;
        return NGX_CONF_OK;
    }

    /* "off" */

    if (conf->limits->nelts == 0) {
        conf->limits = NULL;
        return NGX_CONF_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->name.len && lines_access_doubt(cf, clcf, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (conf->api || conf->auth || clcf->name.len == 0 || asks) {
        return NGX_CONF_OK;
    }

    p = conf->limits->elts;

    for (i = 0; i < conf->limits->nelts; i++) {

        if ((p[i]->kind & LINES_LIMIT_IDENTITY) || p[i]->identity) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"lines_rate_limit\" \"%V\" in location \"%V\" "
                          "counts by %V, but nothing there says who asks: "
                          "it needs \"lines_auth\"", &p[i]->id, &clcf->name,
                          &p[i]->key);
        }
    }

    return NGX_CONF_OK;
}


void
lines_limit_zones(ngx_conf_t *cf)
{
#if (nginx_version < 1032000)

    ngx_uint_t                 i, n;
    ngx_module_t              *module;
    ngx_shm_zone_t            *zone;
    ngx_list_part_t           *part;
    ngx_http_complex_value_t  *key;

    /* private to their modules; the same from 1.22 to 1.31 */

    typedef struct {
        void                      *sh;
        ngx_slab_pool_t           *shpool;
        ngx_http_complex_value_t   key;
    } conn_t;

    typedef struct {
        void                      *sh;
        ngx_slab_pool_t           *shpool;
        ngx_uint_t                 rate;
        ngx_http_complex_value_t   key;
    } req_t;

    static const struct {
        const char  *module;
        const char  *directive;
        size_t       key;
    } limits[] = {
        { "ngx_http_limit_conn_module", "limit_conn", offsetof(conn_t, key) },
        { "ngx_http_limit_req_module", "limit_req", offsetof(req_t, key) }
    };

    for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {

        module = lines_find_module(cf, limits[i].module);

        if (module == NULL) {
            continue;
        }

        part = &cf->cycle->shared_memory.part;
        zone = part->elts;

        for (n = 0; /* void */ ; n++) {

            if (n >= part->nelts) {
                if (part->next == NULL) {
                    break;
                }

                part = part->next;
                zone = part->elts;
                n = 0;
            }

            /* a zone that is used, but nowhere declared, is refused later */

            if (zone[n].tag != module || zone[n].data == NULL) {
                continue;
            }

            key = (ngx_http_complex_value_t *) ((u_char *) zone[n].data
                                                + limits[i].key);

            if (lines_names_identity(cf, key)) {
                ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                              "\"%s_zone\" \"%V\" counts by %V, which is "
                              "empty before authentication, when \"%s\" runs; "
                              "use \"lines_rate_limit\" instead",
                              limits[i].directive, &zone[n].shm.name,
                              &key->value, limits[i].directive);
            }
        }
    }

#endif
}


static ngx_uint_t
limit_arg(ngx_str_t *value, const char *name, ngx_str_t *arg)
{
    size_t  len;

    len = ngx_strlen(name);

    if (value->len < len || ngx_strncmp(value->data, name, len) != 0) {
        return 0;
    }

    arg->data = value->data + len;
    arg->len = value->len - len;

    return 1;
}


static ngx_uint_t
limit_is(ngx_str_t *value, const char *word)
{
    return value->len == ngx_strlen(word)
           && ngx_strncmp(value->data, word, value->len) == 0;
}


static char *
limit_invalid(ngx_conf_t *cf, ngx_str_t *value)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" in \"lines_rate_limit\"",
                       value);
    return NGX_CONF_ERROR;
}
