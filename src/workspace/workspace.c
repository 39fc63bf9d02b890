
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "workspace/workspace.h"


ngx_int_t
lines_business_error(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t http_status, const char *status, const char *message,
    const char *redirect)
{
    if (redirect == NULL) {
        return lines_answer_format(r, ctx, http_status,
                    "{\"success\":false,\"status\":\"%s\",\"message\":\"%s\"}",
                    status, message);
    }

    return lines_answer_format(r, ctx, http_status,
                     "{\"success\":false,\"status\":\"%s\",\"message\":\"%s\","
                     "\"redirect\":\"%s\"}", status, message, redirect);
}


ngx_int_t
lines_line_request_location(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_str_t                  value;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (lines_redis_format(r->pool, &value, "%Vline-requests/%V", &clcf->name,
                           id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_add_header(r, "Location", &value);
}
