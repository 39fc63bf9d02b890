
#include "directive/params.h"
#include "http/location.h"
#include "operation/provisioner.h"


#define LINES_PROVISIONER_TIMEOUT  15000


char *
lines_provisioner_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ngx_str_t  *value;

    static lines_param_t  params[] = {
        lines_param_plain(lines_main_conf_t, provisioner_plain),
        lines_param_end
    };

    static lines_directive_t  directive = {
        .name = "lines_provisioner",
        .params = params,
        .of = "of"
    };

    if (lmcf->provisioner.len) {
        return "is duplicate";
    }

    if (lines_params(cf, &directive, 2, lmcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    lmcf->provisioner = value[1];

    return lines_location(cf, lmcf,
                          &(lines_location_t) {
                              .name = value[0],
                              .uri = value[1],
                              .plain = lmcf->provisioner_plain,
                              .once = 1
                          });
}


ngx_int_t
lines_provisioner_call(lines_carrier_t *carrier, ngx_str_t *id,
    ngx_str_t *tenant, ngx_str_t *json, lines_call_pt handler, void *data)
{
    ngx_keyval_t  headers[] = {
        { ngx_string("Content-Type"), ngx_string("application/json") },
        { ngx_string("Idempotency-Key"), *id },
        { ngx_string("X-Lines-Tenant"), *tenant }
    };

    lines_call_t  call = {
        .method = NGX_HTTP_POST,
        .uri = carrier->lmcf->provisioner,
        .headers = headers,
        .nheaders = 3,
        .body = *json,
        .timeout = LINES_PROVISIONER_TIMEOUT
    };

    return lines_carrier_call(carrier, &call, handler, data);
}


lines_tell_e
lines_provisioner_verdict(lines_result_t *result)
{
    ngx_uint_t  status = result->status;

    if (result->transport != LINES_COMPLETE
        || status == 408 || status == 409 || status == 425 || status == 429)
    {
        return LINES_TELL_NOT;
    }

    return status / 100 == 2 ? LINES_TELL_TAKEN
           : status / 100 == 4 ? LINES_TELL_REFUSED : LINES_TELL_NOT;
}
