
/*
 * The operator's endpoints, and what each of them does: its steps.
 */

#ifndef _LINES_ADMIN_ROUTES_H_INCLUDED_
#define _LINES_ADMIN_ROUTES_H_INCLUDED_


#include "api/input.h"


/* lines_admin token_file=PATH */
char *lines_admin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


extern const lines_body_input_t  lines_admin_workspace_input,
    lines_admin_account_input, lines_admin_status_input,
    lines_admin_usage_input, lines_admin_ticket_input,
    lines_admin_resolve_input, lines_admin_stuck_input,
    lines_admin_add_input, lines_admin_numbers_input,
    lines_admin_rate_input, lines_admin_log_input, lines_admin_key_input,
    lines_admin_events_input, lines_admin_refund_input,
    lines_admin_refund_ask_input;

/* of steps that have something of their own, and read nothing into it */
extern const lines_body_input_t  lines_admin_deletion_own,
    lines_admin_key_list_own, lines_admin_release_own, lines_admin_rate_own,
    lines_admin_story_own;


/* admin/log.c, tenants.c, deletion.c, keys.c, operations.c, database.c, audit.c,
   lines.c, refunds.c, events.c, numbers.c, tickets.c, limits.c, node.c */

/* one of first: what changes something is in the log before it is done */
lines_step_t  lines_admin_log;

/* of the API: what is refused for a body that is no JSON is in it, too */
ngx_int_t lines_admin_log_bad_body(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *why);

lines_step_t  lines_admin_show_log;
lines_step_t  lines_admin_index_tenant, lines_admin_put_tenant,
    lines_admin_index_again, lines_admin_show_workspace,
    lines_admin_show_account;
lines_step_t  lines_admin_delete_tenant, lines_admin_list_page,
    lines_admin_delete_page, lines_admin_forget_tenant, lines_admin_end_tenant,
    lines_admin_show_deleted, lines_admin_find_key, lines_admin_look_for_key,
    lines_admin_unlist_key, lines_admin_show_revoked;
lines_step_t  lines_admin_check_key, lines_admin_make_key,
    lines_admin_confirm_key, lines_admin_put_key, lines_admin_tell_key,
    lines_admin_show_key, lines_admin_list_keys, lines_admin_read_keys;
lines_step_t  lines_admin_list_operations, lines_admin_read_operations,
    lines_admin_show_operations, lines_admin_clear_stuck, lines_admin_due_now,
    lines_admin_resolve, lines_admin_retry, lines_admin_read_operation,
    lines_admin_show_operation, lines_admin_show_story;
lines_step_t  lines_admin_database, lines_admin_ask_audit,
    lines_admin_read_audit;
lines_step_t  lines_admin_list_work, lines_admin_list_lines,
    lines_admin_show_events, lines_admin_announce, lines_admin_report,
    lines_admin_set_usage, lines_admin_release, lines_admin_show_released;
lines_step_t  lines_admin_read_refund, lines_admin_count_refund,
    lines_admin_show_refund, lines_admin_compare_refund,
    lines_admin_begin_refund, lines_admin_refund, lines_admin_show_refunding;
lines_step_t  lines_admin_add_numbers, lines_admin_list_numbers,
    lines_admin_delete_number;
lines_step_t  lines_admin_name_ticket, lines_admin_read_ticket,
    lines_admin_assign_number, lines_admin_move_ticket;
lines_step_t  lines_admin_list_limits, lines_admin_find_limit,
    lines_admin_name_rate, lines_admin_write_rate, lines_admin_put_rate,
    lines_admin_tell_rates, lines_admin_show_put, lines_admin_show_rate,
    lines_admin_delete_rate, lines_admin_show_deleted_rate;
lines_step_t  lines_admin_show_node;


#endif /* _LINES_ADMIN_ROUTES_H_INCLUDED_ */
