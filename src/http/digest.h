
/*
 * SHA-256, fetched once (OpenSSL 3's one-shot SHA256() fetches at each call),
 * random bytes and comparison in constant time.
 */

#ifndef _LINES_HTTP_DIGEST_H_INCLUDED_
#define _LINES_HTTP_DIGEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define LINES_SHA256_LEN  32


/* NGX_ERROR where OpenSSL fails */
ngx_int_t lines_sha256(ngx_str_t *data, u_char digest[LINES_SHA256_LEN]);

/* the digest in hex: 64 bytes, no terminating zero */
ngx_int_t lines_sha256_hex(ngx_str_t *data, u_char hex[LINES_SHA256_LEN * 2]);

/* from the CSPRNG */
ngx_int_t lines_random(u_char *buf, size_t len);

/* 1 where both are the same bytes; takes the same time where they are not */
ngx_uint_t lines_equal(const u_char *a, const u_char *b, size_t len);

/* NGX_ERROR where hex is not 2 * len hex digits */
ngx_int_t lines_hex_decode(u_char *bytes, size_t len, ngx_str_t *hex);


#endif /* _LINES_HTTP_DIGEST_H_INCLUDED_ */
