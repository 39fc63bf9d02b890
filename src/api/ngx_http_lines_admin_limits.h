
/*
 * Rates of request limits that differ from the configuration's: of a tenant,
 * or of a plan.  Nodes learn of them within a second, without a reload.
 */

#ifndef _NGX_HTTP_LINES_ADMIN_LIMITS_H_INCLUDED_
#define _NGX_HTTP_LINES_ADMIN_LIMITS_H_INCLUDED_


#include "ngx_http_lines_request.h"


/* GET limits: those of the configuration */
extern ngx_http_lines_step_pt  ngx_http_lines_admin_list_limits_steps[];

/* workspaces/:id/limits/:limit */
extern ngx_http_lines_step_pt
                            ngx_http_lines_admin_put_workspace_limit_steps[];
extern ngx_http_lines_step_pt
                            ngx_http_lines_admin_get_workspace_limit_steps[];
extern ngx_http_lines_step_pt
                         ngx_http_lines_admin_delete_workspace_limit_steps[];

/* accounts/:id/limits/:limit */
extern ngx_http_lines_step_pt  ngx_http_lines_admin_put_account_limit_steps[];
extern ngx_http_lines_step_pt  ngx_http_lines_admin_get_account_limit_steps[];
extern ngx_http_lines_step_pt
                           ngx_http_lines_admin_delete_account_limit_steps[];

/* plans/:plan/limits/:limit */
extern ngx_http_lines_step_pt  ngx_http_lines_admin_put_plan_limit_steps[];
extern ngx_http_lines_step_pt  ngx_http_lines_admin_get_plan_limit_steps[];
extern ngx_http_lines_step_pt  ngx_http_lines_admin_delete_plan_limit_steps[];


#endif /* _NGX_HTTP_LINES_ADMIN_LIMITS_H_INCLUDED_ */
