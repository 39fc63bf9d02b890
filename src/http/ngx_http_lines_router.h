
#ifndef _NGX_HTTP_LINES_ROUTER_H_INCLUDED_
#define _NGX_HTTP_LINES_ROUTER_H_INCLUDED_


#include "ngx_http_lines_request.h"


/*
 * Finds the route of ctx->api for the path under the location's prefix and
 * sets ctx->route and ctx->params.  NGX_OK, or NGX_DONE where it answered 404
 * or 405 (with Allow).
 */

ngx_int_t ngx_http_lines_route(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);


#endif /* _NGX_HTTP_LINES_ROUTER_H_INCLUDED_ */
