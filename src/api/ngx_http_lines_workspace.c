
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_workspace.h"


#define NGX_HTTP_LINES_WORKSPACE_BODY  (64 * 1024)


static ngx_http_lines_route_t  ngx_http_lines_workspace_routes[] = {

    { NGX_HTTP_POST, ngx_string("line-requests"),
      ngx_http_lines_line_request_create_steps,
      ngx_string("line_request_create") },

    { NGX_HTTP_GET, ngx_string("line-requests"),
      ngx_http_lines_line_request_list_steps,
      ngx_string("line_request_list") },

    { NGX_HTTP_GET, ngx_string("line-requests/:id"),
      ngx_http_lines_line_request_get_steps,
      ngx_string("line_request_get") },

    { NGX_HTTP_POST, ngx_string("line-requests/:id"),
      ngx_http_lines_line_request_manage_steps,
      ngx_string("line_request_manage") },

    { NGX_HTTP_GET, ngx_string("lines/by-user"),
      ngx_http_lines_lines_by_user_steps,
      ngx_string("lines_by_user") },

    { NGX_HTTP_GET, ngx_string("lines/check-availability"),
      ngx_http_lines_check_steps,
      ngx_string("line_check") },

    { 0, ngx_null_string, NULL, ngx_null_string }
};


ngx_http_lines_api_t  ngx_http_lines_workspace_api = {
    ngx_string("workspace"),
    ngx_http_lines_plain_error,
    ngx_http_lines_workspace_routes,
    NGX_HTTP_LINES_WORKSPACE_BODY
};


ngx_int_t
ngx_http_lines_business_error(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_uint_t http_status, const char *status,
    const char *message, const char *redirect)
{
    if (redirect == NULL) {
        return ngx_http_lines_answer_format(r, ctx, http_status,
                   "{\"success\":false,\"status\":\"%s\",\"message\":\"%s\"}",
                   status, message);
    }

    return ngx_http_lines_answer_format(r, ctx, http_status,
               "{\"success\":false,\"status\":\"%s\",\"message\":\"%s\","
               "\"redirect\":\"%s\"}",
               status, message, redirect);
}


ngx_int_t
ngx_http_lines_line_request_location(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_str_t                  value;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (ngx_lines_redis_format(r->pool, &value, "%Vline-requests/%V",
                               &clcf->name, id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_add_header(r, "Location", &value);
}
