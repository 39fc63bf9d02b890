
/*
 * What a representation is known by (RFC 9110, 8.8.3), and whether a client
 * knows it already (13.1.2).
 */

#ifndef _LINES_HTTP_ETAG_H_INCLUDED_
#define _LINES_HTTP_ETAG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * That of a JSON body, the same on each node.  A weak one, as the instant of a
 * change is no part of it: the members updatedAt, updated_at and lastCheckedAt.
 * NGX_ERROR: no memory.
 */
ngx_int_t lines_etag(ngx_pool_t *pool, ngx_str_t *json, ngx_str_t *etag);

/* flag: If-None-Match, of which nginx takes one, names it, or "*" */
ngx_uint_t lines_etag_known(ngx_http_request_t *r, ngx_str_t *etag);

/* flag: If-None-Match names any */
ngx_uint_t lines_etag_named(ngx_http_request_t *r);


#endif /* _LINES_HTTP_ETAG_H_INCLUDED_ */
