
/*
 * lines_rate_limit rate=50r/s|3000r/m [burst=100]
 *     [key=tenant|key|ip|$variable] [name=NAME] [sync=lease|each]
 *     [fail=local|open|closed] [status=429] [dry_run] [x_ratelimit]
 * lines_rate_limit off
 */

#include "auth/access.h"
#include "auth/identity.h"
#include "directive/params.h"
#include "http/text.h"
#include "limit/limit.h"


/* all that makes limits different, but for the key, from the rate on */
#define LIMIT_SAME \
    (offsetof(lines_limit_t, metric) - offsetof(lines_limit_t, rate))


static ngx_conf_enum_t  limit_keys[] = {
    { ngx_string("tenant"), LINES_LIMIT_TENANT },
    { ngx_string("key"), LINES_LIMIT_KEY },
    { ngx_string("ip"), LINES_LIMIT_IP },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  limit_syncs[] = {
    { ngx_string("lease"), 0 },
    { ngx_string("each"), 1 },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  limit_fails[] = {
    { ngx_string("local"), LINES_FAIL_LOCAL },
    { ngx_string("open"), LINES_FAIL_OPEN },
    { ngx_string("closed"), LINES_FAIL_CLOSED },
    { ngx_null_string, 0 }
};


static char *
limit_set_rate(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    lines_limit_t *limit = field;

    limit->text = *value;

    return lines_rate_parse(value, &limit->rate) == NGX_OK
           ? NGX_CONF_OK
           : LINES_PARAM_INVALID;
}


static char *
limit_set_key(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    lines_limit_t *limit = field;

    ngx_conf_enum_t                   *word;
    ngx_http_compile_complex_value_t   ccv;

    limit->key = *value;

    for (word = limit_keys; word->name.len; word++) {

        if (lines_is(value, (char *) word->name.data)) {
            limit->kind = word->value;
            limit->name = word->name;
            return NGX_CONF_OK;
        }
    }

    limit->kind = LINES_LIMIT_VARIABLE;
    ngx_str_set(&limit->name, "custom");

    if (value->len < 2
        || ngx_strlchr(value->data, value->data + value->len, '$') == NULL)
    {
        return LINES_PARAM_INVALID;
    }

    limit->variable = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (limit->variable == NULL) {
        return NGX_CONF_ERROR;
    }

    ccv = (ngx_http_compile_complex_value_t) {
        .cf = cf, .value = &limit->key, .complex_value = limit->variable
    };

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return LINES_PARAM_INVALID;
    }

    limit->identity = lines_names_identity(cf, limit->variable);

    return NGX_CONF_OK;
}


static lines_param_t  limit_params[] = {
    lines_param_other("rate", 0, limit_set_rate,
                      "a rate, as 50r/s or 3000r/m"),
    lines_param_number("burst", lines_limit_t, rate.burst, 1, LINES_BURST_MAX,
                       0),
    lines_param_other("key", 0, limit_set_key,
                      "\"tenant\", \"key\", \"ip\" or a $variable"),
    lines_param_word("name", lines_limit_t, id, LINES_LIMIT_NAME_MAX, 0),
    lines_param_enum("sync", lines_limit_t, each, limit_syncs),
    lines_param_enum("fail", lines_limit_t, fail, limit_fails),
    lines_param_number("status", lines_limit_t, status, 400, 599,
                       NGX_HTTP_TOO_MANY_REQUESTS),
    lines_param_flag("dry_run", lines_limit_t, dry_run),
    lines_param_flag("x_ratelimit", lines_limit_t, x_headers),
    lines_param_end
};


static lines_directive_t  limit_directive = {
    .name = "lines_rate_limit",
    .params = limit_params
};


static lines_limit_t *
limit_find(ngx_array_t *limits, ngx_str_t *id)
{
    ngx_uint_t       i;
    lines_limit_t  **p;

    p = limits->elts;

    for (i = 0; i < limits->nelts; i++) {
        if (lines_same(&p[i]->id, id)) {
            return p[i];
        }
    }

    return NULL;
}


static ngx_uint_t
limit_same(lines_limit_t *a, lines_limit_t *b)
{
    return lines_same(&a->key, &b->key)
           && ngx_memcmp(&a->rate, &b->rate, LIMIT_SAME) == 0;
}


/*
 * A limit without a name is that of the place where it stands: the same on
 * every node that has the same configuration.  Places of several servers may
 * have one path: those that limit otherwise are others.
 */

static ngx_int_t
limit_identify(ngx_conf_t *cf, lines_limit_t *limit)
{
    uint32_t                   crc, id;
    ngx_uint_t                 tries;
    lines_limit_t             *known;
    lines_main_conf_t         *lmcf;
    ngx_http_core_loc_conf_t  *clcf;

    if (limit->id.len) {
        limit->name = limit->id;
        return NGX_OK;
    }

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    ngx_crc32_init(crc);
    ngx_crc32_update(&crc, clcf->name.data, clcf->name.len);
    ngx_crc32_update(&crc, limit->key.data, limit->key.len);
    ngx_crc32_update(&crc, limit->text.data, limit->text.len);

    for (tries = 0; tries < 2; tries++) {
        id = crc;
        ngx_crc32_final(id);

        if (lines_redis_format(cf->pool, &limit->id, "%V-%08xD", &limit->name,
                               id)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        known = lmcf->limits ? limit_find(lmcf->limits, &limit->id) : NULL;

        if (known == NULL || limit_same(known, limit)) {
            break;
        }

        ngx_crc32_update(&crc, (u_char *) &limit->rate, LIMIT_SAME);
    }

    return NGX_OK;
}


/* a name means one limit, wherever it is written: the first becomes *limit */

static ngx_int_t
limit_register(ngx_conf_t *cf, lines_limit_t **limit)
{
    lines_limit_t      *known, **p;
    lines_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    if (lmcf->limits == NULL) {
        lmcf->limits = ngx_array_create(cf->pool, 4, sizeof(lines_limit_t *));
        if (lmcf->limits == NULL) {
            return NGX_ERROR;
        }
    }

    known = limit_find(lmcf->limits, &(*limit)->id);

    if (known && limit_same(known, *limit)) {
        *limit = known;
        return NGX_OK;
    }

    if (known) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_rate_limit\" \"%V\" is written twice, "
                           "with different parameters", &known->id);
        return NGX_ERROR;
    }

    if (lmcf->limits->nelts == LINES_LIMITS_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "too many different \"lines_rate_limit\" "
                           "directives, at most %d are possible",
                           LINES_LIMITS_MAX);
        return NGX_ERROR;
    }

    p = ngx_array_push(lmcf->limits);
    if (p == NULL) {
        return NGX_ERROR;
    }

    *p = *limit;

    return NGX_OK;
}


char *
lines_rate_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    ngx_str_t          *value;
    lines_limit_t      *limit, **p;
    lines_main_conf_t  *lmcf;

    value = cf->args->elts;

    if (llcf->limits == NULL) {
        llcf->limits = ngx_array_create(cf->pool, 2, sizeof(lines_limit_t *));
        if (llcf->limits == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (cf->args->nelts == 2 && lines_is(&value[1], "off")) {
        return llcf->limits->nelts
               ? "has limits besides \"off\""
               : NGX_CONF_OK;
    }

    limit = ngx_pcalloc(cf->pool, sizeof(lines_limit_t));
    if (limit == NULL) {
        return NGX_CONF_ERROR;
    }

    limit->kind = LINES_LIMIT_TENANT;
    ngx_str_set(&limit->key, "tenant");
    ngx_str_set(&limit->name, "tenant");

    if (lines_params(cf, &limit_directive, 1, limit) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (limit->rate.interval == 0) {
        return "needs \"rate=\", as in \"rate=50r/s\"";
    }

    if (limit->rate.burst == 0) {

        /* what a second brings */

        limit->rate.burst = (ngx_uint_t) (1e6 / limit->rate.interval + 0.5);
        limit->rate.burst = ngx_max(limit->rate.burst, 1);
    }

    if (limit_identify(cf, limit) != NGX_OK
        || limit_register(cf, &limit) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (limit_find(llcf->limits, &limit->id)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_rate_limit\" \"%V\" is duplicate; "
                           "give each limit of a location a \"name=\" "
                           "of its own", &limit->id);
        return NGX_CONF_ERROR;
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


/* flag: auth_request may find out who asks: its structure is private to its
   module, but begins with the URI */

static ngx_uint_t
limit_asks(ngx_conf_t *cf)
{
    ngx_str_t     *uri;
    ngx_module_t  *module;

    module = lines_find_module(cf, "ngx_http_auth_request_module");
    uri = module ? ngx_http_conf_get_module_loc_conf(cf, (*module)) : NULL;

    return uri && uri->len;
}


char *
lines_limit_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf)
{
    ngx_uint_t                 i;
    ngx_http_core_loc_conf_t  *clcf;
    lines_limit_t            **p;

    if (conf->limits == NULL) {
        conf->limits = prev->limits;
        return NGX_CONF_OK;
    }

    /* "off" */

    if (conf->limits->nelts == 0) {
        conf->limits = NULL;
        return NGX_CONF_OK;
    }

    conf->limited = 1;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (conf->api || conf->auth || clcf->name.len == 0 || limit_asks(cf)) {
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

    /*
     * Private to their modules, the same from 1.22 to 1.31: behind two
     * pointers, and the rate, there is the key.
     */

    static const struct {
        const char  *module;
        const char  *directive;
        size_t       key;
    } limits[] = {
        { "ngx_http_limit_conn_module", "limit_conn", 2 * sizeof(void *) },
        { "ngx_http_limit_req_module", "limit_req",
          2 * sizeof(void *) + sizeof(ngx_uint_t) }
    };

    for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        module = lines_find_module(cf, limits[i].module);
        part = module ? &cf->cycle->shared_memory.part : NULL;

        for ( /* void */ ; part; part = part->next) {
            zone = part->elts;

            for (n = 0; n < part->nelts; n++) {

                /* one that is used, but nowhere declared, is refused later */

                if (zone[n].tag != module || zone[n].data == NULL) {
                    continue;
                }

                key = (void *) ((u_char *) zone[n].data + limits[i].key);

                if (lines_names_identity(cf, key)) {
                    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                                  "\"%s_zone\" \"%V\" counts by %V, which is "
                                  "empty before authentication, when \"%s\" "
                                  "runs; use \"lines_rate_limit\" instead",
                                  limits[i].directive, &zone[n].shm.name,
                                  &key->value, limits[i].directive);
                }
            }
        }
    }

#endif
}
