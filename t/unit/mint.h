
/* Keys and signed tokens for tests, made on the spot. */

#ifndef _MINT_H_INCLUDED_
#define _MINT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/evp.h>


EVP_PKEY *mint_key(unsigned bits, unsigned long e);

/* malloc()ed, terminated */
char *mint_base64url(const void *data, size_t len);
char *mint_jwk(EVP_PKEY *key, const char *members);
char *mint_pem(EVP_PKEY *key);

/* header and payload are encoded first; the result is malloc()ed */
ngx_str_t mint_token(EVP_PKEY *key, const char *header, const char *payload);
ngx_str_t mint_token_n(EVP_PKEY *key, const char *header, size_t hlen,
    const char *payload, size_t plen);

/* signs an encoded "header.payload" */
ngx_str_t mint_signed(EVP_PKEY *key, const char *input, const char *md);


#endif /* _MINT_H_INCLUDED_ */
