
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "account/account.h"


static ngx_int_t account_header_name(ngx_conf_t *cf, ngx_str_t *value,
    size_t skip, ngx_str_t *name);
static time_t account_date(ngx_str_t *value, size_t skip);


char *
lines_account_headers(ngx_conf_t *cf, lines_loc_conf_t *llcf)
{
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "key_id_header=", 14) == 0) {

            if (account_header_name(cf, &value[i], 14, &llcf->key_id_header)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "secret_header=", 14) == 0) {

            if (account_header_name(cf, &value[i], 14, &llcf->secret_header)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"lines_account_api\"",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
account_header_name(ngx_conf_t *cf, ngx_str_t *value, size_t skip,
    ngx_str_t *name)
{
    size_t  i;
    u_char  ch;

    if (name->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate parameter \"%V\" in "
                           "\"lines_account_api\"", value);
        return NGX_ERROR;
    }

    name->len = value->len - skip;
    name->data = ngx_pnalloc(cf->pool, name->len + 1);

    if (name->data == NULL) {
        return NGX_ERROR;
    }

    ngx_strlow(name->data, value->data + skip, name->len);
    name->data[name->len] = '\0';

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if (!((ch >= 'a' && ch <= 'z')
              || (ch >= '0' && ch <= '9')
              || ch == '-'))
        {
            break;
        }
    }

    if (name->len == 0 || i < name->len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name of a header \"%V\" in "
                           "\"lines_account_api\"", value);
        return NGX_ERROR;
    }

    return NGX_OK;
}


char *
lines_deprecated_endpoints(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    time_t              *date;
    ngx_str_t           *value;
    ngx_uint_t           i;
    lines_deprecated_t  *deprecated;

    if (llcf->deprecated) {
        return "is duplicate";
    }

    deprecated = ngx_pcalloc(cf->pool, sizeof(lines_deprecated_t));
    if (deprecated == NULL) {
        return NGX_CONF_ERROR;
    }

    llcf->deprecated = deprecated;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        deprecated->off = 1;

    } else if (ngx_strcmp(value[1].data, "on") != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in "
                           "\"lines_deprecated_endpoints\", it must be "
                           "\"on\" or \"off\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "since=", 6) == 0) {
            date = &deprecated->since;

        } else if (ngx_strncmp(value[i].data, "sunset=", 7) == 0) {
            date = &deprecated->sunset;

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in "
                               "\"lines_deprecated_endpoints\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        if (*date) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate parameter \"%V\" in "
                               "\"lines_deprecated_endpoints\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        *date = account_date(&value[i], date == &deprecated->since ? 6 : 7);

        if (*date == NGX_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid date \"%V\" in "
                               "\"lines_deprecated_endpoints\", it must be "
                               "YYYY-MM-DD", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* midnight UTC of YYYY-MM-DD, by the parser of HTTP's own dates */

static time_t
account_date(ngx_str_t *value, size_t skip)
{
    u_char      *p, date[sizeof("Mon, 28 Sep 1970 00:00:00 GMT") - 1];
    ngx_int_t    year, month, day;

    static const char  *months[] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun",
        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
    };

    p = value->data + skip;

    if (value->len - skip != 10 || p[4] != '-' || p[7] != '-') {
        return NGX_ERROR;
    }

    year = ngx_atoi(p, 4);
    month = ngx_atoi(p + 5, 2);
    day = ngx_atoi(p + 8, 2);

    if (year < 1971 || month < 1 || month > 12 || day < 1 || day > 31) {
        return NGX_ERROR;
    }

    /* the weekday is not looked at */

    p = ngx_sprintf(date, "Mon, %02i %s %04i 00:00:00 GMT", day,
                    months[month - 1], year);

    return ngx_parse_http_time(date, p - date);
}


ngx_int_t
lines_account_plan_error(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_error(r, ctx, NGX_HTTP_FORBIDDEN, NULL,
                "Line provisioning via API is available only for inbound_only "
                "/ Agent plan accounts");
}


ngx_str_t
lines_account_id(lines_ctx_t *ctx)
{
    ngx_str_t  id;

    id.data = ctx->identity.tenant.data + 2;
    id.len = ctx->identity.tenant.len - 2;

    return id;
}


ngx_str_t
lines_json_instant(ngx_pool_t *pool, ngx_str_t *ms)
{
    off_t      n;
    ngx_tm_t   tm;
    ngx_str_t  text;

    n = ms->len ? ngx_atoof(ms->data, ms->len) : NGX_ERROR;

    if (n == NGX_ERROR) {
        ngx_str_set(&text, "null");
        return text;
    }

    ngx_gmtime((time_t) (n / 1000), &tm);

    if (lines_redis_format(pool, &text,
                           "\"%4d-%02d-%02dT%02d:%02d:%02d.%03dZ\"",
                           tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                           tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec,
                           (int) (n % 1000))
        != NGX_OK)
    {
        ngx_str_null(&text);
    }

    return text;
}
