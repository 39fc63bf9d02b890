
/*
 * The operator's side of the inventory and of tickets: steps of the admin
 * API's routes.
 */

#ifndef _LINES_ADMIN_NUMBERS_H_INCLUDED_
#define _LINES_ADMIN_NUMBERS_H_INCLUDED_


#include "http/context.h"


/* a step, before an account's line ends: its number will be looked at */
ngx_int_t lines_admin_watch_number(ngx_http_request_t *r, lines_ctx_t *ctx);

/*
 * The line has ended: its number (empty: none) goes into quarantine, then the
 * line's document, which is the request's, is answered.
 */
ngx_int_t lines_admin_release_number(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *number, ngx_str_t *document);


#endif /* _LINES_ADMIN_NUMBERS_H_INCLUDED_ */
