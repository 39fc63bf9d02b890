
/*
 * The endpoints of accounts, and what each of them does: its steps.
 */

#ifndef _LINES_ACCOUNT_ROUTES_H_INCLUDED_
#define _LINES_ACCOUNT_ROUTES_H_INCLUDED_


#include "http/router.h"


extern lines_api_t  lines_account_api;


extern lines_step_pt  lines_preview_steps[];
extern lines_step_pt  lines_confirm_steps[];
extern lines_step_pt  lines_account_lines_steps[];
extern lines_step_pt  lines_limits_steps[];
/* 410, or headers that say so, where an endpoint will go */
ngx_int_t lines_ticket_deprecated(ngx_http_request_t *r, lines_ctx_t *ctx);

extern lines_step_pt  lines_ticket_add_steps[];
extern lines_step_pt  lines_ticket_get_steps[];


#endif /* _LINES_ACCOUNT_ROUTES_H_INCLUDED_ */
