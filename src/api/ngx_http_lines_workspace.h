
/*
 * The workspace dialect: its routes, and how it says "no".
 */

#ifndef _NGX_HTTP_LINES_WORKSPACE_H_INCLUDED_
#define _NGX_HTTP_LINES_WORKSPACE_H_INCLUDED_


#include "ngx_http_lines_request.h"
#include "ngx_http_lines_auth.h"


extern ngx_http_lines_api_t  ngx_http_lines_workspace_api;


/* {"success":false,"status":…,"message":…[,"redirect":…]} */
ngx_int_t ngx_http_lines_business_error(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_uint_t http_status, const char *status,
    const char *message, const char *redirect);

/* the header Location of a 201: where the request with that id is read */
ngx_int_t ngx_http_lines_line_request_location(ngx_http_request_t *r,
    ngx_str_t *id);


/* the steps of the routes */

extern ngx_http_lines_step_pt  ngx_http_lines_line_request_create_steps[];
extern ngx_http_lines_step_pt  ngx_http_lines_line_request_list_steps[];
extern ngx_http_lines_step_pt  ngx_http_lines_line_request_get_steps[];
extern ngx_http_lines_step_pt  ngx_http_lines_line_request_manage_steps[];
extern ngx_http_lines_step_pt  ngx_http_lines_lines_by_user_steps[];
extern ngx_http_lines_step_pt  ngx_http_lines_check_steps[];


#endif /* _NGX_HTTP_LINES_WORKSPACE_H_INCLUDED_ */
