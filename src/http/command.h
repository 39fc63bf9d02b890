
/*
 * The request's side of an operation of the store: what is on its way, and
 * what happens to it when the request ends first.
 */

#ifndef _LINES_HTTP_COMMAND_H_INCLUDED_
#define _LINES_HTTP_COMMAND_H_INCLUDED_


#include "http/request.h"


/* whatever is still on its way to Redis may come back unheard */
void lines_detach_commands(lines_ctx_t *ctx);


#endif /* _LINES_HTTP_COMMAND_H_INCLUDED_ */
