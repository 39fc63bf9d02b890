
#include "account/account.h"
#include "api/input.h"
#include "api/json.h"
#include "directive/params.h"


static char *
account_set_header(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    ngx_str_t *name = field;

    name->len = value->len;
    name->data = ngx_pnalloc(cf->pool, name->len + 1);

    if (name->data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_strlow(name->data, value->data, name->len);
    name->data[name->len] = '\0';

    if (strspn((char *) name->data, "abcdefghijklmnopqrstuvwxyz0123456789-")
        != name->len)
    {
        return "invalid name of a header";
    }

    return NGX_CONF_OK;
}


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


/* midnight UTC of YYYY-MM-DD, from 1971 on */

static char *
account_set_date(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    time_t *date = field;

    return lines_read_time(value, "%Y-%m-%d", date) == value->len
           && *date >= 365 * 86400
           ? NGX_CONF_OK : "invalid date";
}


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


ngx_int_t
lines_account_plan_error(lines_ctx_t *ctx)
{
    return lines_refuse(ctx, 403, "Line provisioning via API is available only "
                        "for inbound_only / Agent plan accounts");
}


ngx_int_t
lines_account_no_card(lines_ctx_t *ctx)
{
    return lines_error(ctx->request, ctx, 402, "no_card_on_file",
                       "No card is available for the account");
}


ngx_int_t
lines_account_no_area(lines_ctx_t *ctx)
{
    ctx->retry_after = 60;

    return lines_error(ctx->request, ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                       "no_lines_in_area", "No lines are currently available "
                       "in this area");
}


ngx_str_t
lines_account_id(lines_ctx_t *ctx)
{
    ngx_str_t  id;

    id.data = ctx->identity.tenant.data + 2;
    id.len = ctx->identity.tenant.len - 2;

    return id;
}
