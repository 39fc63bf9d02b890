
/*
 * The operator's side of the inventory and of tickets: steps of the admin
 * API's routes.
 */

#ifndef _NGX_HTTP_LINES_ADMIN_NUMBERS_H_INCLUDED_
#define _NGX_HTTP_LINES_ADMIN_NUMBERS_H_INCLUDED_


#include "ngx_http_lines_request.h"


extern ngx_http_lines_step_pt  ngx_http_lines_admin_add_numbers_steps[];
extern ngx_http_lines_step_pt  ngx_http_lines_admin_list_numbers_steps[];
extern ngx_http_lines_step_pt  ngx_http_lines_admin_delete_number_steps[];
extern ngx_http_lines_step_pt  ngx_http_lines_admin_move_ticket_steps[];


#endif /* _NGX_HTTP_LINES_ADMIN_NUMBERS_H_INCLUDED_ */
