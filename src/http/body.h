
/*
 * Bodies of requests.
 */

#ifndef _LINES_HTTP_BODY_H_INCLUDED_
#define _LINES_HTTP_BODY_H_INCLUDED_


#include "http/context.h"


/*
 * Steps about bodies.  read_json: an object is demanded (400, 413, 415 in the
 * dialect), duplicate members, depth and UTF-8 are checked, ctx->body is set.
 * read_optional_json: a body that is empty or of white space, of whatever type,
 * is as good as {}, and ctx->body is NULL.  read_any_body: so is whatever is no
 * such object, of whatever type.  discard_body: for requests whose body does not
 * matter.
 */

ngx_int_t lines_read_json(ngx_http_request_t *r, lines_ctx_t *ctx);
ngx_int_t lines_read_optional_json(ngx_http_request_t *r, lines_ctx_t *ctx);
ngx_int_t lines_read_any_body(ngx_http_request_t *r, lines_ctx_t *ctx);
ngx_int_t lines_discard_body(ngx_http_request_t *r, lines_ctx_t *ctx);

/*
 * The raw bytes, up to the API's body_limit (413 in the dialect beyond it);
 * done is called at once or later, and its result is that of a step.
 */

typedef ngx_int_t (*lines_body_pt)(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *bytes);

ngx_int_t lines_read_body(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_body_pt done);


#endif /* _LINES_HTTP_BODY_H_INCLUDED_ */
