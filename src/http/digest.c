
#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>

#include "http/digest.h"


static EVP_MD      *sha256_md;
static EVP_MD_CTX  *sha256_ctx;


/* nginx unloads the module at its end, and the pointers with it */

static void __attribute__((destructor))
sha256_free(void)
{
    EVP_MD_CTX_free(sha256_ctx);
    EVP_MD_free(sha256_md);

    sha256_ctx = NULL;
    sha256_md = NULL;
}


ngx_int_t
lines_sha256(ngx_str_t *data, u_char digest[LINES_SHA256_LEN])
{
    if (sha256_ctx == NULL) {
        sha256_md = EVP_MD_fetch(NULL, "SHA256", NULL);
        sha256_ctx = EVP_MD_CTX_new();

        if (sha256_md == NULL || sha256_ctx == NULL) {
            sha256_free();
            return NGX_ERROR;
        }
    }

    return EVP_DigestInit_ex2(sha256_ctx, sha256_md, NULL) == 1
           && EVP_DigestUpdate(sha256_ctx, data->data, data->len) == 1
           && EVP_DigestFinal_ex(sha256_ctx, digest, NULL) == 1
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
lines_sha256_hex(ngx_str_t *data, u_char hex[LINES_SHA256_LEN * 2])
{
    u_char  digest[LINES_SHA256_LEN];

    if (lines_sha256(data, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_hex_dump(hex, digest, LINES_SHA256_LEN);

    return NGX_OK;
}


ngx_int_t
lines_hex_decode(u_char *bytes, size_t len, ngx_str_t *hex)
{
    size_t     i;
    ngx_int_t  n;

    if (hex->len != 2 * len) {
        return NGX_ERROR;
    }

    for (i = 0; i < len; i++) {
        n = ngx_hextoi(hex->data + 2 * i, 2);
        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        bytes[i] = (u_char) n;
    }

    return NGX_OK;
}
