
/*
 * The endpoints of workspaces, and what each of them does: its steps.
 */

#ifndef _LINES_WORKSPACE_ROUTES_H_INCLUDED_
#define _LINES_WORKSPACE_ROUTES_H_INCLUDED_


#include "api/input.h"
#include "http/router.h"


extern lines_api_t  lines_workspace_api;


extern const lines_body_input_t  lines_create_input, lines_action_input,
    lines_request_read_input;

/* 400, unless the path has an id */
lines_step_t  lines_line_request_id;

/* lines_probe URI [timeout=10s] */
char *lines_probe(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* line_request_create.c, line_requests.c, payment_actions.c, check.c */

lines_step_t  lines_create_validate, lines_create_check, lines_create_decide,
    lines_create_announce, lines_create_begin;
lines_step_t  lines_line_request_list, lines_line_request_wait,
    lines_line_request_known, lines_line_request_shown, lines_line_request_get, lines_by_user;
lines_step_t  lines_action_read, lines_action_decide, lines_action_hint,
    lines_action_wish, lines_action_start, lines_action_show;
lines_step_t  lines_check_begin;


#endif /* _LINES_WORKSPACE_ROUTES_H_INCLUDED_ */
