
/*
 * SHA-256, fetched once (OpenSSL 3's one-shot SHA256() fetches at each call),
 * random bytes and comparison in constant time.
 */

#ifndef _LINES_HTTP_DIGEST_H_INCLUDED_
#define _LINES_HTTP_DIGEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>


#define LINES_SHA256_LEN  32


/* NGX_ERROR where OpenSSL fails */
ngx_int_t lines_sha256(ngx_str_t *data, u_char digest[LINES_SHA256_LEN]);

/* the digest in hex: 64 bytes, no terminating zero */
ngx_int_t lines_sha256_hex(ngx_str_t *data, u_char hex[LINES_SHA256_LEN * 2]);

/* from the CSPRNG */
#define lines_random(buf, len)                                                \
    (RAND_bytes((u_char *) (buf), (int) (len)) == 1 ? NGX_OK : NGX_ERROR)

/* flag: both are the same bytes; takes the same time where they are not */
#define lines_equal(a, b, len)  (CRYPTO_memcmp(a, b, len) == 0)

/* NGX_ERROR where hex is not 2 * len hex digits */
ngx_int_t lines_hex_decode(u_char *bytes, size_t len, ngx_str_t *hex);


#endif /* _LINES_HTTP_DIGEST_H_INCLUDED_ */
