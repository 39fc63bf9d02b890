
/*
 * The request's side of an operation of the store: what is on its way, and
 * what happens to it when the request ends first.
 */

#ifndef _NGX_HTTP_LINES_COMMAND_H_INCLUDED_
#define _NGX_HTTP_LINES_COMMAND_H_INCLUDED_


#include "ngx_http_lines_request.h"


/* whatever is still on its way to Redis may come back unheard */
void ngx_http_lines_detach_commands(ngx_http_lines_ctx_t *ctx);


#endif /* _NGX_HTTP_LINES_COMMAND_H_INCLUDED_ */
