
/*
 * The endpoints of accounts, and what each of them does: its steps.
 */

#ifndef _LINES_ACCOUNT_ROUTES_H_INCLUDED_
#define _LINES_ACCOUNT_ROUTES_H_INCLUDED_


#include "api/input.h"
#include "http/router.h"


extern lines_api_t  lines_account_api;


extern const lines_body_input_t  lines_account_preview_input,
    lines_account_confirm_input, lines_account_ticket_input,
    lines_account_ticket_own, lines_account_state_own,
    lines_account_line_input;

/* 410, or headers that say so, where an endpoint will go */
lines_step_t  lines_ticket_deprecated;

/* provisioning.c, confirm.c, line.c, tickets.c */

lines_step_t  lines_account_read, lines_account_plan,
    lines_account_preview_token, lines_account_preview_issue,
    lines_account_preview_reserve, lines_account_preview_answer,
    lines_account_limits_answer, lines_account_list;
lines_step_t  lines_account_confirm_validate, lines_account_confirm_check,
    lines_account_confirm_decide, lines_account_confirm_offer,
    lines_account_confirm_dry, lines_account_confirm_reserve,
    lines_account_confirm_announce, lines_account_confirm_begin;
lines_step_t  lines_account_line_number, lines_account_line_turn,
    lines_account_line_find, lines_account_line_get;
lines_step_t  lines_account_ticket_next, lines_account_ticket_announce,
    lines_account_ticket_add,
    lines_account_ticket_find, lines_account_ticket_owner,
    lines_account_ticket_get;


#endif /* _LINES_ACCOUNT_ROUTES_H_INCLUDED_ */
