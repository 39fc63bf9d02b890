
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "account/account.h"
#include "directive/params.h"
#include "http/answer.h"


static char *account_set_header(ngx_conf_t *cf, ngx_str_t *value, void *field);
static char *account_set_date(ngx_conf_t *cf, ngx_str_t *value, void *field);


static lines_param_t  account_params[] = {
    lines_param_other("key_id_header",
                      offsetof(lines_loc_conf_t, key_id_header),
                      account_set_header, "letters, digits and \"-\""),
    lines_param_other("secret_header",
                      offsetof(lines_loc_conf_t, secret_header),
                      account_set_header, "letters, digits and \"-\""),
    lines_param_end
};


static lines_directive_t  account_directive = {
    .name = "lines_account_api",
    .params = account_params
};


static lines_param_t  deprecated_params[] = {
    lines_param_other("since", offsetof(lines_deprecated_t, since),
                      account_set_date, "YYYY-MM-DD"),
    lines_param_other("sunset", offsetof(lines_deprecated_t, sunset),
                      account_set_date, "YYYY-MM-DD"),
    lines_param_end
};


static lines_directive_t  deprecated_directive = {
    .name = "lines_deprecated_endpoints",
    .params = deprecated_params
};


static ngx_conf_enum_t  deprecated_words[] = {
    { ngx_string("on"), 0 },
    { ngx_string("off"), 1 },
    { ngx_null_string, 0 }
};


char *
lines_account_headers(ngx_conf_t *cf, lines_loc_conf_t *llcf)
{
    return lines_params(cf, &account_directive, 1, llcf);
}


static char *
account_set_header(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    ngx_str_t *name = field;

    size_t  i;
    u_char  ch;

    name->len = value->len;
    name->data = ngx_pnalloc(cf->pool, name->len + 1);

    if (name->data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_strlow(name->data, value->data, name->len);
    name->data[name->len] = '\0';

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if (!((ch >= 'a' && ch <= 'z')
              || (ch >= '0' && ch <= '9')
              || ch == '-'))
        {
            return "invalid name of a header";
        }
    }

    return NGX_CONF_OK;
}


char *
lines_deprecated_endpoints(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    ngx_str_t           *value;
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

    if (lines_params_choose(cf, &deprecated_directive, "invalid value",
                            &value[1], deprecated_words, &deprecated->off)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    return lines_params(cf, &deprecated_directive, 2, deprecated);
}


/* midnight UTC of YYYY-MM-DD, by the parser of HTTP's own dates */

static char *
account_set_date(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    time_t *date = field;

    u_char      *p, text[sizeof("Mon, 28 Sep 1970 00:00:00 GMT") - 1];
    ngx_int_t    year, month, day;

    static const char  *months[] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun",
        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
    };

    p = value->data;

    if (value->len != 10 || p[4] != '-' || p[7] != '-') {
        return "invalid date";
    }

    year = ngx_atoi(p, 4);
    month = ngx_atoi(p + 5, 2);
    day = ngx_atoi(p + 8, 2);

    if (year < 1971 || month < 1 || month > 12 || day < 1 || day > 31) {
        return "invalid date";
    }

    /* the weekday is not looked at */

    p = ngx_sprintf(text, "Mon, %02i %s %04i 00:00:00 GMT", day,
                    months[month - 1], year);

    *date = ngx_parse_http_time(text, p - text);

    return (*date == NGX_ERROR) ? "invalid date" : NGX_CONF_OK;
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
