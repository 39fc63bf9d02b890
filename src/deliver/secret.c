
#include "deliver/secret.h"
#include "http/digest.h"

#include <openssl/evp.h>
#include <openssl/params.h>


ngx_int_t
lines_seal_key(lines_seal_key_t *key, ngx_str_t *text)
{
    u_char     digest[LINES_SHA256_LEN], buf[LINES_SEAL_KEY + 3], *p;
    ngx_str_t  bytes;

    bytes.data = buf;

    if (text->len == 2 * LINES_SEAL_KEY) {

        if (lines_hex_decode(key->bytes, LINES_SEAL_KEY, text) != NGX_OK) {
            return NGX_ERROR;
        }

    } else {

        /* 43 characters, and perhaps a "=" */

        if (text->len < 43 || text->len > 44
            || ngx_decode_base64(&bytes, text) != NGX_OK
            || bytes.len != LINES_SEAL_KEY)
        {
            return NGX_ERROR;
        }

        ngx_memcpy(key->bytes, buf, LINES_SEAL_KEY);
        OPENSSL_cleanse(buf, sizeof(buf));
    }

    bytes.data = key->bytes;
    bytes.len = LINES_SEAL_KEY;

    if (lines_sha256(&bytes, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(key->name, "v1.", 3);
    p = ngx_hex_dump(p, digest, 4);
    *p = '.';

    key->id.data = key->name;
    key->id.len = LINES_SEAL_ID;

    return NGX_OK;
}


/* nonce, secret, tag; flag: sealed, else opened */

static ngx_int_t
seal_run(lines_seal_key_t *key, ngx_str_t *whose, u_char *nonce,
    const u_char *in, u_char *out, u_char *tag, ngx_uint_t seal)
{
    int              n;
    ngx_int_t        rc;
    EVP_CIPHER_CTX  *ctx;

    ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    if (EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->bytes, nonce,
                          (int) seal)
        == 1
        && EVP_CipherUpdate(ctx, NULL, &n, whose->data, (int) whose->len) == 1
        && EVP_CipherUpdate(ctx, out, &n, in, LINES_HOOK_SECRET) == 1
        && (seal
            || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, LINES_SEAL_TAG,
                                   tag)
               == 1)
        && EVP_CipherFinal_ex(ctx, out + n, &n) == 1
        && (!seal
            || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, LINES_SEAL_TAG,
                                   tag)
               == 1))
    {
        rc = NGX_OK;
    }

    EVP_CIPHER_CTX_free(ctx);

    return rc;
}


ngx_int_t
lines_seal(lines_seal_key_t *key, ngx_str_t *whose,
    const u_char secret[LINES_HOOK_SECRET], u_char *text)
{
    u_char  bytes[LINES_SEAL_NONCE + LINES_HOOK_SECRET + LINES_SEAL_TAG];

    if (lines_random(bytes, LINES_SEAL_NONCE) != NGX_OK
        || seal_run(key, whose, bytes, secret, bytes + LINES_SEAL_NONCE,
                    bytes + LINES_SEAL_NONCE + LINES_HOOK_SECRET, 1)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_hex_dump(ngx_cpymem(text, key->id.data, key->id.len), bytes,
                 sizeof(bytes));

    return NGX_OK;
}


ngx_int_t
lines_unseal(lines_seal_key_t *keys, ngx_uint_t n, ngx_str_t *whose,
    ngx_str_t *text, u_char secret[LINES_HOOK_SECRET])
{
    u_char      bytes[LINES_SEAL_NONCE + LINES_HOOK_SECRET + LINES_SEAL_TAG];
    ngx_str_t   hex;
    ngx_uint_t  i;

    if (text->len != LINES_SEALED) {
        return NGX_ERROR;
    }

    hex.data = text->data + LINES_SEAL_ID;
    hex.len = text->len - LINES_SEAL_ID;

    if (lines_hex_decode(bytes, sizeof(bytes), &hex) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        if (ngx_memcmp(keys[i].id.data, text->data, LINES_SEAL_ID) == 0) {
            return seal_run(&keys[i], whose, bytes, bytes + LINES_SEAL_NONCE,
                            secret,
                            bytes + LINES_SEAL_NONCE + LINES_HOOK_SECRET, 0);
        }
    }

    return NGX_ERROR;
}


ngx_int_t
lines_hook_sign(const u_char *secret, size_t len, ngx_str_t *id,
    ngx_str_t *timestamp, ngx_str_t *body, u_char *signature)
{
    size_t         n;
    u_char         bytes[LINES_SHA256_LEN];
    EVP_MAC       *mac;
    ngx_int_t      rc;
    ngx_str_t      raw, text;
    EVP_MAC_CTX   *ctx;

    OSSL_PARAM     params[] = {
        OSSL_PARAM_construct_utf8_string("digest", "SHA256", 0),
        OSSL_PARAM_construct_end()
    };

    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (mac == NULL) {
        return NGX_ERROR;
    }

    ctx = EVP_MAC_CTX_new(mac);
    rc = NGX_ERROR;

    if (ctx
        && EVP_MAC_init(ctx, secret, len, params) == 1
        && EVP_MAC_update(ctx, id->data, id->len) == 1
        && EVP_MAC_update(ctx, (u_char *) ".", 1) == 1
        && EVP_MAC_update(ctx, timestamp->data, timestamp->len) == 1
        && EVP_MAC_update(ctx, (u_char *) ".", 1) == 1
        && EVP_MAC_update(ctx, body->data, body->len) == 1
        && EVP_MAC_final(ctx, bytes, &n, sizeof(bytes)) == 1)
    {
        raw.data = bytes;
        raw.len = n;
        text.data = ngx_cpymem(signature, "v1,", 3);

        ngx_encode_base64(&text, &raw);

        rc = NGX_OK;
    }

    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);

    return rc;
}
