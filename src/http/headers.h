
/*
 * Headers: those of a request, and ours in its answer.
 */

#ifndef _LINES_HTTP_HEADERS_H_INCLUDED_
#define _LINES_HTTP_HEADERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Headers of ours that give way to those of the same name that the operator
 * adds.
 */

enum {
    LINES_CACHE_CONTROL = 0,
    LINES_X_REQUEST_ID,
    LINES_RETRY_AFTER,
    LINES_NOSNIFF,
    LINES_OWN_HEADERS
};

extern const char  *lines_own_headers[];

/* value is not copied */
#define lines_add_own(r, n, value)                                            \
    lines_add_header(r, lines_own_headers[n], value)

/* WWW-Authenticate, unless somebody asks for something already */
ngx_int_t lines_ask(ngx_http_request_t *r, const char *challenge);

/* appends a header to the answer; value is not copied */
ngx_int_t lines_add_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/* of several calls the last one counts; for steps: ctx->retry_after */
ngx_int_t lines_retry_after(ngx_http_request_t *r, ngx_uint_t seconds);

/* the next header of that name after that one; NULL for after: the first */
ngx_table_elt_t *lines_header_in(ngx_list_t *headers, const char *name,
    ngx_table_elt_t *after);

/*
 * A request's header leaves it: what sends the request on does not see it.
 * Whoever points at it still may; the lists of other requests, which share
 * their memory, are as they were.
 */
ngx_int_t lines_drop_header(ngx_http_request_t *r, ngx_table_elt_t *h);

/* and comes back: a copy of it, as the last one */
ngx_table_elt_t *lines_push_header(ngx_http_request_t *r, ngx_table_elt_t *h);

/* of a request */
#define lines_find_header(r, name) \
    lines_next_header(r, name, NULL)

#define lines_next_header(r, name, after) \
    lines_header_in(&(r)->headers_in.headers, name, after)


#endif /* _LINES_HTTP_HEADERS_H_INCLUDED_ */
