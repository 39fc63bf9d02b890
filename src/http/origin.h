
/*
 * Which site a browser sends a request from: its Origin (RFC 6454), which no
 * page can set.
 */

#ifndef _LINES_HTTP_ORIGIN_H_INCLUDED_
#define _LINES_HTTP_ORIGIN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* NGX_OK; NGX_DECLINED: there is none; NGX_ABORT: there are several */
ngx_int_t lines_origin(ngx_http_request_t *r, ngx_str_t *origin);

/* flag: it is one of these, to the byte, as browsers write them; "null", which
   any sandboxed page sends, is none */
ngx_uint_t lines_origin_among(ngx_str_t *origin, ngx_str_t *origins,
    ngx_uint_t n);

/*
 * Flag: it is that of the request itself.  That is known only where TLS ends
 * here.  A plain connection may come from what ends TLS before nginx: then
 * the scheme is not known, and a page of http://HOST, which anybody on the way
 * can write, would pass for one of https://HOST; X-Forwarded-Proto is
 * anybody's word.  There, the origin has to be named as others are.
 */

ngx_uint_t lines_origin_own(ngx_http_request_t *r, ngx_str_t *origin);

/*
 * Flag: it is of the request's host; without TLS here, of either scheme.  That
 * is no proof by itself, but to refuse others by.
 */
ngx_uint_t lines_origin_host(ngx_http_request_t *r, ngx_str_t *origin);

/* the port of the request's host, as the client named it; empty: it did not */
ngx_str_t lines_origin_port(ngx_http_request_t *r);


#endif /* _LINES_HTTP_ORIGIN_H_INCLUDED_ */
