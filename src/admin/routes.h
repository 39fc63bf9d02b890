
/*
 * The operator's endpoints, and what each of them does: its steps.
 */

#ifndef _LINES_ADMIN_ROUTES_H_INCLUDED_
#define _LINES_ADMIN_ROUTES_H_INCLUDED_


#include "api/input.h"


/* lines_admin token_file=PATH */
char *lines_admin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


extern const lines_body_input_t  lines_admin_tenant_input,
    lines_admin_status_input, lines_admin_usage_input,
    lines_admin_ticket_input, lines_admin_resolve_input;


/* admin/log.c, tenants.c, deletion.c, keys.c, operations.c, lines.c, numbers.c,
   tickets.c, limits.c */

/* one of first: what changes something is in the log before it is done */
lines_step_t  lines_admin_log;
lines_step_t  lines_admin_show_log;
lines_step_t  lines_admin_parse_tenant, lines_admin_index_tenant,
    lines_admin_put_tenant, lines_admin_index_again, lines_admin_get_tenant;
lines_step_t  lines_admin_delete_tenant, lines_admin_list_page,
    lines_admin_delete_page, lines_admin_forget_tenant, lines_admin_end_tenant,
    lines_admin_show_deleted, lines_admin_find_key, lines_admin_show_revoked;
lines_step_t  lines_admin_make_key, lines_admin_confirm_key,
    lines_admin_list_keys, lines_admin_read_keys;
lines_step_t  lines_admin_list_stuck, lines_admin_read_stuck,
    lines_admin_show_stuck, lines_admin_clear_stuck, lines_admin_resolve,
    lines_admin_retry,
    lines_admin_database, lines_admin_confirm_database;
lines_step_t  lines_admin_ask_audit, lines_admin_read_audit;
lines_step_t  lines_admin_list_work, lines_admin_default_reason,
    lines_admin_announce, lines_admin_end_or_report,
    lines_admin_set_usage;
lines_step_t  lines_admin_numbers_add, lines_admin_numbers_page,
    lines_admin_numbers_entries, lines_admin_numbers_show,
    lines_admin_numbers_delete;
lines_step_t  lines_admin_name_ticket, lines_admin_read_ticket,
    lines_admin_move_ticket, lines_admin_show_ticket;
lines_step_t  lines_admin_list_limits, lines_admin_find_limit,
    lines_admin_parse_rate, lines_admin_ask_rate;


#endif /* _LINES_ADMIN_ROUTES_H_INCLUDED_ */
