
/*
 * The request as a caller of the store (store/caller.h).
 */

#ifndef _LINES_HTTP_COMMAND_H_INCLUDED_
#define _LINES_HTTP_COMMAND_H_INCLUDED_


#include "http/context.h"


/* ctx->caller: its calls resume the request, or answer it with 503 */
void lines_caller_of_request(ngx_http_request_t *r, lines_ctx_t *ctx);


#endif /* _LINES_HTTP_COMMAND_H_INCLUDED_ */
