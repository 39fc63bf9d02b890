
/*
 * Strict base64url (RFC 4648, section 5, as RFC 7515 uses it): no padding,
 * no white space, no character of the standard alphabet, no left-over bits.
 * So each octet string has exactly one accepted spelling.
 */

#ifndef _LINES_AUTH_BASE64URL_H_INCLUDED_
#define _LINES_AUTH_BASE64URL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* the value of a digit, one of [A-Za-z0-9_-]; -1: it is none */
ngx_int_t lines_base64url_digit(u_char ch);

/* exact for every length that can be decoded */
#define lines_base64url_decoded_len(len) \
    ((len) / 4 * 3 + (len) % 4 * 3 / 4)


/*
 * dst->data is the caller's, with room for
 * lines_base64url_decoded_len(src->len); dst->len is set.  dst may not
 * overlap src.  Returns NGX_OK (empty decodes to empty) or NGX_DECLINED.
 */

ngx_int_t lines_base64url_decode(ngx_str_t *dst, ngx_str_t *src);


#endif /* _LINES_AUTH_BASE64URL_H_INCLUDED_ */
