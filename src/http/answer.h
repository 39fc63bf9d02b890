
/*
 * Answers, and the end of a request with them.
 */

#ifndef _LINES_HTTP_ANSWER_H_INCLUDED_
#define _LINES_HTTP_ANSWER_H_INCLUDED_


#include "http/context.h"


extern ngx_str_t  lines_json_type;


/*
 * All of them return NGX_DONE, and set what the request ends with;
 * NGX_ERROR without memory.  JSON; Cache-Control, X-Request-Id, nosniff and the
 * length are added in one place, and a Retry-After to each 503 that does not say
 * it yet, unless the operator adds headers of these names.
 */

ngx_int_t lines_answer(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t status, ngx_str_t *json);

/* 304: the client knows it */
ngx_int_t lines_not_modified(ngx_http_request_t *r, lines_ctx_t *ctx);

/* the headers alone: of answers, and of nginx' own errors */
ngx_int_t lines_answer_headers(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *type, off_t len);

/* json as all of a body */
ngx_int_t lines_answer_buf(ngx_http_request_t *r, ngx_str_t *json,
    ngx_chain_t *out);

/* of another type; len: of all buffers of out, the last of which says so */
ngx_int_t lines_answer_chain(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t status, ngx_str_t *type, ngx_chain_t *out, size_t len);

/*
 * An answer that comes in parts: begin has its headers, NGX_OK; NGX_DONE where
 * nothing is to follow.  Each part is a chain, the last of which lines_end()
 * takes, and returns NGX_DONE.  Whatever else would be answered from there on
 * cuts it off, so that nobody takes it for whole.
 */
ngx_int_t lines_begin(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t status, ngx_str_t *type);

/* NGX_OK: it is sent, and its memory is free; NGX_AGAIN: r's write event
   handler is to ask again, with NULL; NGX_ERROR */
ngx_int_t lines_part(ngx_http_request_t *r, ngx_chain_t *part);

ngx_int_t lines_end(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_chain_t *part);

/*
 * Ends the request with a step's result other than NGX_OK and NGX_AGAIN.
 * Where the client takes its time, nginx goes on sending.  The request, and
 * anything of its pool, may be gone afterwards.
 */

void lines_finalize(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc);

/* in the dialect of the location; error is a code, or NULL */
ngx_int_t lines_error(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t status, const char *error, const char *message);

/* 503 with Retry-After (seconds) in the dialect */
ngx_int_t lines_unavailable(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t retry_after);

/* 401 in the dialect, with WWW-Authenticate where challenge is given */
ngx_int_t lines_unauthorized(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *challenge);

/* nginx' own errors in an API's location, too: in postconfiguration the phase,
   and the filter, which is there whatever is configured */
ngx_int_t lines_special_init(ngx_conf_t *cf);
void lines_special_filter_init(void);


#endif /* _LINES_HTTP_ANSWER_H_INCLUDED_ */
