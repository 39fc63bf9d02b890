
#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lines_preview_token.h"
#include "ngx_lines_base64url.h"
#include "ngx_lines_digest.h"


#define NGX_LINES_PREVIEW_PREFIX      "lpv_"
#define NGX_LINES_PREVIEW_PREFIX_LEN  (sizeof(NGX_LINES_PREVIEW_PREFIX) - 1)

#define NGX_LINES_PREVIEW_RANDOM      24
#define NGX_LINES_PREVIEW_TAG         8
#define NGX_LINES_PREVIEW_CHECKSUM    4
#define NGX_LINES_PREVIEW_BYTES       (NGX_LINES_PREVIEW_RANDOM               \
                                       + NGX_LINES_PREVIEW_TAG                \
                                       + NGX_LINES_PREVIEW_CHECKSUM)


static ngx_int_t ngx_lines_preview_token_checksum(u_char *bytes,
    u_char digest[NGX_LINES_SHA256_LEN]);


ngx_int_t
ngx_lines_preview_token(ngx_str_t *account, u_char *token)
{
    u_char      *p, bytes[NGX_LINES_PREVIEW_BYTES],
                 digest[NGX_LINES_SHA256_LEN];
    uint32_t     word;
    ngx_uint_t   i;

    static const u_char  alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    if (ngx_lines_random(bytes, NGX_LINES_PREVIEW_RANDOM) != NGX_OK
        || ngx_lines_sha256(account, digest) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(bytes + NGX_LINES_PREVIEW_RANDOM, digest,
               NGX_LINES_PREVIEW_TAG);

    if (ngx_lines_preview_token_checksum(bytes, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memcpy(bytes + NGX_LINES_PREVIEW_RANDOM + NGX_LINES_PREVIEW_TAG,
               digest, NGX_LINES_PREVIEW_CHECKSUM);

    p = ngx_cpymem(token, NGX_LINES_PREVIEW_PREFIX,
                   NGX_LINES_PREVIEW_PREFIX_LEN);

    /* a multiple of three: nothing is left over */

    for (i = 0; i < NGX_LINES_PREVIEW_BYTES; i += 3) {
        word = (uint32_t) bytes[i] << 16 | (uint32_t) bytes[i + 1] << 8
               | bytes[i + 2];

        *p++ = alphabet[word >> 18];
        *p++ = alphabet[word >> 12 & 0x3f];
        *p++ = alphabet[word >> 6 & 0x3f];
        *p++ = alphabet[word & 0x3f];
    }

    return NGX_OK;
}


ngx_int_t
ngx_lines_preview_token_check(ngx_str_t *account, ngx_str_t *token)
{
    u_char     bytes[NGX_LINES_PREVIEW_BYTES], digest[NGX_LINES_SHA256_LEN];
    ngx_str_t  src, dst;

    if (token->len != NGX_LINES_PREVIEW_TOKEN_LEN
        || ngx_memcmp(token->data, NGX_LINES_PREVIEW_PREFIX,
                      NGX_LINES_PREVIEW_PREFIX_LEN)
           != 0)
    {
        return NGX_DECLINED;
    }

    src.data = token->data + NGX_LINES_PREVIEW_PREFIX_LEN;
    src.len = token->len - NGX_LINES_PREVIEW_PREFIX_LEN;
    dst.data = bytes;

    if (ngx_lines_base64url_decode(&dst, &src) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (ngx_lines_preview_token_checksum(bytes, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_memcmp(bytes + NGX_LINES_PREVIEW_RANDOM + NGX_LINES_PREVIEW_TAG,
                   digest, NGX_LINES_PREVIEW_CHECKSUM)
        != 0)
    {
        return NGX_DECLINED;
    }

    if (ngx_lines_sha256(account, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_memcmp(bytes + NGX_LINES_PREVIEW_RANDOM, digest,
                   NGX_LINES_PREVIEW_TAG)
        != 0)
    {
        return NGX_ABORT;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lines_preview_token_checksum(u_char *bytes,
    u_char digest[NGX_LINES_SHA256_LEN])
{
    ngx_str_t  text;

    text.data = bytes;
    text.len = NGX_LINES_PREVIEW_RANDOM + NGX_LINES_PREVIEW_TAG;

    return ngx_lines_sha256(&text, digest);
}


ngx_int_t
ngx_lines_preview_token_hash(ngx_str_t *token, u_char *hex)
{
    return ngx_lines_sha256_hex(token, hex);
}
