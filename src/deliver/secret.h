
/*
 * A webhook's secret: how it signs, and how it lies in Redis, which is sealed
 * by a key that only the operator's nodes have.
 */

#ifndef _LINES_DELIVER_SECRET_H_INCLUDED_
#define _LINES_DELIVER_SECRET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>


#define LINES_HOOK_SECRET     32    /* bytes */
#define LINES_HOOK_SIGNATURE  (sizeof("v1,") - 1 + 44)

#define LINES_SEAL_KEY        32    /* of AES-256 */
#define LINES_SEAL_ID         (sizeof("v1.") - 1 + 8 + 1)
#define LINES_SEAL_NONCE      12
#define LINES_SEAL_TAG        16

/* of a sealed secret, in characters */
#define LINES_SEALED                                                          \
    (LINES_SEAL_ID + 2 * (LINES_SEAL_NONCE + LINES_HOOK_SECRET                \
                          + LINES_SEAL_TAG))


/* the operator's; id: "v1.XXXXXXXX.", what all begins with that it sealed */

typedef struct {
    u_char     bytes[LINES_SEAL_KEY];
    u_char     name[LINES_SEAL_ID];
    ngx_str_t  id;
} lines_seal_key_t;


/* 64 hex digits, or base64 of 32 bytes; NGX_ERROR: it is none */
ngx_int_t lines_seal_key(lines_seal_key_t *key, ngx_str_t *text);

/*
 * whose: what it belongs to, with which alone it can be opened.  text has room
 * for LINES_SEALED.  NGX_ERROR where OpenSSL fails.
 */
ngx_int_t lines_seal(lines_seal_key_t *key, ngx_str_t *whose,
    const u_char secret[LINES_HOOK_SECRET], u_char *text);

/* by the one of n keys that sealed it; NGX_ERROR: none of them, or it is not
   whole, or another's */
ngx_int_t lines_unseal(lines_seal_key_t *keys, ngx_uint_t n, ngx_str_t *whose,
    ngx_str_t *text, u_char secret[LINES_HOOK_SECRET]);

/*
 * As Standard Webhooks says, "v1,BASE64" of HMAC-SHA256 of
 * "ID.TIMESTAMP.BODY": writes LINES_HOOK_SIGNATURE bytes; NGX_ERROR where
 * OpenSSL fails.
 */
ngx_int_t lines_hook_sign(const u_char *secret, size_t len, ngx_str_t *id,
    ngx_str_t *timestamp, ngx_str_t *body, u_char *signature);


#endif /* _LINES_DELIVER_SECRET_H_INCLUDED_ */
