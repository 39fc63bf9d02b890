
/*
 * Rates of request limits that differ from the configuration's: of a tenant,
 * or of a plan.  Nodes learn of them within a second, without a reload.
 */

#ifndef _LINES_ADMIN_LIMITS_H_INCLUDED_
#define _LINES_ADMIN_LIMITS_H_INCLUDED_


#include "http/request.h"


/* GET limits: those of the configuration */
extern lines_step_pt  lines_admin_list_limits_steps[];

/* workspaces/:id/limits/:limit */
extern lines_step_pt
                            lines_admin_put_workspace_limit_steps[];
extern lines_step_pt
                            lines_admin_get_workspace_limit_steps[];
extern lines_step_pt
                         lines_admin_delete_workspace_limit_steps[];

/* accounts/:id/limits/:limit */
extern lines_step_pt  lines_admin_put_account_limit_steps[];
extern lines_step_pt  lines_admin_get_account_limit_steps[];
extern lines_step_pt
                           lines_admin_delete_account_limit_steps[];

/* plans/:plan/limits/:limit */
extern lines_step_pt  lines_admin_put_plan_limit_steps[];
extern lines_step_pt  lines_admin_get_plan_limit_steps[];
extern lines_step_pt  lines_admin_delete_plan_limit_steps[];


#endif /* _LINES_ADMIN_LIMITS_H_INCLUDED_ */
