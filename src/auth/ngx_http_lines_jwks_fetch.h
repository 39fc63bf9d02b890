
/*
 * One fetch of an issuer's keys, on a carrier: the client whose token needs
 * them may leave, and others wait for them.
 */

#ifndef _NGX_HTTP_LINES_JWKS_FETCH_H_INCLUDED_
#define _NGX_HTTP_LINES_JWKS_FETCH_H_INCLUDED_


#include "ngx_http_lines_jwks.h"


/*
 * Ends in ngx_http_lines_jwks_fetched(), later.  NGX_ERROR: it does not,
 * nothing was begun.
 */

ngx_int_t ngx_http_lines_jwks_fetch(ngx_http_lines_jwks_t *jwks,
    ngx_uint_t number);

/* one line for each key that is skipped */
void ngx_http_lines_jwks_report(ngx_log_t *log, ngx_uint_t level,
    ngx_str_t *source, ngx_lines_jwk_report_t *report);


#endif /* _NGX_HTTP_LINES_JWKS_FETCH_H_INCLUDED_ */
