
/*
 * Where a session token, or an API key, stands in a request (RFC 6750; Clerk's
 * cookie).
 */

#ifndef _LINES_AUTH_BEARER_H_INCLUDED_
#define _LINES_AUTH_BEARER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * From the value of an Authorization header.
 * NGX_OK: token is set, never empty, and points into value.
 * NGX_DECLINED: the header is empty or of another scheme (Basic before a
 * staging site, say): a cookie may be looked at.
 * NGX_ABORT: a token was meant, but is not there or not one word: 401, and
 * the cookie is not looked at.
 */

ngx_int_t lines_bearer_header(ngx_str_t *value, ngx_str_t *token);

/* flag: value, which may be empty, has an API key, which it may be, *key */
ngx_uint_t lines_bearer_key(ngx_str_t *prefix, ngx_str_t *value,
    ngx_str_t *key);


/*
 * From the value of one Cookie header: the first cookie of exactly that name.
 * NGX_OK: token is set, perhaps empty, and points into value.
 * NGX_DECLINED: no such cookie; the caller tries its next Cookie header.
 */

ngx_int_t lines_bearer_cookie(ngx_str_t *value, ngx_str_t *name,
    ngx_str_t *token);


#endif /* _LINES_AUTH_BEARER_H_INCLUDED_ */
