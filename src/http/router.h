
#ifndef _LINES_HTTP_ROUTER_H_INCLUDED_
#define _LINES_HTTP_ROUTER_H_INCLUDED_


#include "http/request.h"


/*
 * Finds the route of ctx->api for the path under the location's prefix and
 * sets ctx->route and ctx->params.  NGX_OK, or NGX_DONE where it answered 404
 * or 405 (with Allow).
 */

ngx_int_t lines_route(ngx_http_request_t *r, lines_ctx_t *ctx);


#endif /* _LINES_HTTP_ROUTER_H_INCLUDED_ */
