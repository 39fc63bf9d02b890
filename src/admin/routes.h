
/*
 * The operator's endpoints, and what each of them does: its steps.
 */

#ifndef _LINES_ADMIN_ROUTES_H_INCLUDED_
#define _LINES_ADMIN_ROUTES_H_INCLUDED_


#include "http/context.h"


/* lines_admin token_file=PATH */
char *lines_admin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


extern lines_step_pt  lines_admin_put_tenant_steps[];
extern lines_step_pt  lines_admin_get_tenant_steps[];
extern lines_step_pt  lines_admin_delete_tenant_steps[];
extern lines_step_pt  lines_admin_add_key_steps[];
extern lines_step_pt  lines_admin_list_keys_steps[];
extern lines_step_pt  lines_admin_revoke_key_steps[];
extern lines_step_pt  lines_admin_list_operations_steps[];
extern lines_step_pt  lines_admin_retry_operation_steps[];
extern lines_step_pt  lines_admin_list_lines_steps[];
extern lines_step_pt  lines_admin_line_status_steps[];
extern lines_step_pt  lines_admin_line_usage_steps[];
extern lines_step_pt  lines_admin_line_release_steps[];
extern lines_step_pt  lines_admin_add_numbers_steps[];
extern lines_step_pt  lines_admin_list_numbers_steps[];
extern lines_step_pt  lines_admin_delete_number_steps[];
extern lines_step_pt  lines_admin_move_ticket_steps[];
extern lines_step_pt  lines_admin_put_limit_steps[];
extern lines_step_pt  lines_admin_own_limit_steps[];
extern lines_step_pt  lines_admin_list_limits_steps[];


#endif /* _LINES_ADMIN_ROUTES_H_INCLUDED_ */
