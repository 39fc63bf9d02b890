
#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>

#include "account/preview_token.h"
#include "http/digest.h"
#include "http/strict.h"


#define LINES_PREVIEW_PREFIX      "lpv_"
#define LINES_PREVIEW_PREFIX_LEN  (sizeof(LINES_PREVIEW_PREFIX) - 1)

#define LINES_PREVIEW_RANDOM      24
#define LINES_PREVIEW_TAG         8
#define LINES_PREVIEW_CHECKSUM    4
#define LINES_PREVIEW_BYTES       (LINES_PREVIEW_RANDOM    \
                                       + LINES_PREVIEW_TAG \
                                       + LINES_PREVIEW_CHECKSUM)


static ngx_int_t
preview_token_checksum(u_char *bytes, u_char digest[LINES_SHA256_LEN])
{
    ngx_str_t  text;

    text.data = bytes;
    text.len = LINES_PREVIEW_RANDOM + LINES_PREVIEW_TAG;

    return lines_sha256(&text, digest);
}


ngx_int_t
lines_preview_token(ngx_str_t *account, u_char *token)
{
    u_char      text[LINES_PREVIEW_TOKEN_LEN + 1], digest[LINES_SHA256_LEN];
    u_char      bytes[LINES_PREVIEW_BYTES];
    ngx_uint_t  i;

    if (lines_random(bytes, LINES_PREVIEW_RANDOM) != NGX_OK
        || lines_sha256(account, digest) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(bytes + LINES_PREVIEW_RANDOM, digest, LINES_PREVIEW_TAG);

    if (preview_token_checksum(bytes, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memcpy(bytes + LINES_PREVIEW_RANDOM + LINES_PREVIEW_TAG, digest,
               LINES_PREVIEW_CHECKSUM);

    ngx_memcpy(text, LINES_PREVIEW_PREFIX, LINES_PREVIEW_PREFIX_LEN);

    /* a multiple of three: without padding */

    (void) EVP_EncodeBlock(text + LINES_PREVIEW_PREFIX_LEN, bytes,
                           LINES_PREVIEW_BYTES);

    for (i = 0; i < LINES_PREVIEW_TOKEN_LEN; i++) {
        token[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    }

    return NGX_OK;
}


ngx_int_t
lines_preview_token_check(ngx_str_t *account, ngx_str_t *token)
{
    u_char     bytes[LINES_PREVIEW_BYTES], digest[LINES_SHA256_LEN];
    ngx_str_t  src, dst;

    if (token->len != LINES_PREVIEW_TOKEN_LEN
        || ngx_memcmp(token->data, LINES_PREVIEW_PREFIX,
                      LINES_PREVIEW_PREFIX_LEN)
           != 0)
    {
        return NGX_DECLINED;
    }

    src.data = token->data + LINES_PREVIEW_PREFIX_LEN;
    src.len = token->len - LINES_PREVIEW_PREFIX_LEN;
    dst.data = bytes;

    if (lines_base64url_decode(&dst, &src) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (preview_token_checksum(bytes, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_memcmp(bytes + LINES_PREVIEW_RANDOM + LINES_PREVIEW_TAG, digest,
                   LINES_PREVIEW_CHECKSUM)
        != 0)
    {
        return NGX_DECLINED;
    }

    if (lines_sha256(account, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_memcmp(bytes + LINES_PREVIEW_RANDOM, digest, LINES_PREVIEW_TAG)
           == 0
           ? NGX_OK : NGX_ABORT;
}
