
#include "mint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>


static void *
need(void *p)
{
    if (p == NULL) {
        fprintf(stderr, "minting failed\n");
        abort();
    }

    return p;
}


EVP_PKEY *
mint_key(unsigned bits, unsigned long e)
{
    BIGNUM        *bn;
    EVP_PKEY      *key;
    EVP_PKEY_CTX  *ctx;

    key = NULL;
    bn = need(BN_new());
    BN_set_word(bn, e);

    ctx = need(EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL));

    EVP_PKEY_keygen_init(ctx);
    EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int) bits);
    EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, bn);
    EVP_PKEY_generate(ctx, &key);

    EVP_PKEY_CTX_free(ctx);
    BN_free(bn);

    return need(key);
}


char *
mint_base64url(const void *data, size_t len)
{
    char           *text, *p;
    size_t          i;
    unsigned        left, value;
    const u_char   *s = data;
    static const char  digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789-_";

    p = text = need(malloc(len * 4 / 3 + 4));
    left = 0;
    value = 0;

    for (i = 0; i < len; i++) {
        value = value << 8 | s[i];

        for (left += 8; left >= 6; left -= 6) {
            *p++ = digits[value >> (left - 6) & 63];
        }

        value &= 255;
    }

    if (left) {
        *p++ = digits[value << (6 - left) & 63];
    }

    *p = '\0';

    return text;
}


static char *
mint_number(EVP_PKEY *key, const char *name)
{
    int      len;
    char    *text;
    u_char   buf[2048];
    BIGNUM  *bn;

    bn = NULL;
    EVP_PKEY_get_bn_param(key, name, &bn);
    len = BN_bn2bin(need(bn), buf);
    text = mint_base64url(buf, (size_t) len);
    BN_free(bn);

    return text;
}


char *
mint_jwk(EVP_PKEY *key, const char *members)
{
    char    *n, *e, *text;
    size_t   len;

    n = mint_number(key, OSSL_PKEY_PARAM_RSA_N);
    e = mint_number(key, OSSL_PKEY_PARAM_RSA_E);

    len = strlen(n) + strlen(e) + strlen(members) + 64;
    text = need(malloc(len));

    snprintf(text, len, "{\"n\":\"%s\",\"e\":\"%s\"%s%s}", n, e,
             *members ? "," : "", members);

    free(n);
    free(e);

    return text;
}


char *
mint_pem(EVP_PKEY *key)
{
    BIO   *bio;
    char  *data, *text;
    long   len;

    bio = need(BIO_new(BIO_s_mem()));
    PEM_write_bio_PUBKEY(bio, key);
    len = BIO_get_mem_data(bio, &data);
    text = need(malloc((size_t) len + 1));
    memcpy(text, data, (size_t) len);
    text[len] = '\0';
    BIO_free(bio);

    return text;
}


ngx_str_t
mint_token(EVP_PKEY *key, const char *header, const char *payload)
{
    return mint_token_n(key, header, strlen(header), payload, strlen(payload));
}


ngx_str_t
mint_token_n(EVP_PKEY *key, const char *header, size_t hlen,
    const char *payload, size_t plen)
{
    char       *h, *p, *input;
    size_t      len;
    ngx_str_t   token;

    h = mint_base64url(header, hlen);
    p = mint_base64url(payload, plen);

    len = strlen(h) + strlen(p) + 2;
    input = need(malloc(len));
    snprintf(input, len, "%s.%s", h, p);

    token = mint_signed(key, input, "SHA256");

    free(input);
    free(p);
    free(h);

    return token;
}


ngx_str_t
mint_signed(EVP_PKEY *key, const char *input, const char *md)
{
    char        *text;
    u_char       signature[2048];
    size_t       len, total;
    ngx_str_t    token;
    EVP_MD_CTX  *ctx;

    len = sizeof(signature);
    ctx = need(EVP_MD_CTX_new());

    if (EVP_DigestSignInit_ex(ctx, NULL, md, NULL, NULL, key, NULL) != 1
        || EVP_DigestSign(ctx, signature, &len, (const u_char *) input,
                          strlen(input))
           != 1)
    {
        need(NULL);
    }

    EVP_MD_CTX_free(ctx);

    text = mint_base64url(signature, len);
    total = strlen(input) + 1 + strlen(text);

    token.data = need(malloc(total + 1));
    token.len = total;
    snprintf((char *) token.data, total + 1, "%s.%s", input, text);

    free(text);

    return token;
}
