
/*
 * The endpoints of workspaces, and what each of them does: its steps.
 */

#ifndef _LINES_WORKSPACE_ROUTES_H_INCLUDED_
#define _LINES_WORKSPACE_ROUTES_H_INCLUDED_


#include "http/router.h"


extern lines_api_t  lines_workspace_api;


/* 400, unless the path has an id */
ngx_int_t lines_line_request_id(ngx_http_request_t *r, lines_ctx_t *ctx);

extern lines_step_pt  lines_line_request_create_steps[];
extern lines_step_pt  lines_line_request_list_steps[];
extern lines_step_pt  lines_line_request_get_steps[];
extern lines_step_pt  lines_line_request_manage_steps[];
extern lines_step_pt  lines_lines_by_user_steps[];
extern lines_step_pt  lines_check_steps[];


#endif /* _LINES_WORKSPACE_ROUTES_H_INCLUDED_ */
