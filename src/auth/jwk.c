
#include "auth/jwk.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>


#define lines_jwk_kid(key)  ((u_char *) ((key) + 1))
#define lines_jwk_n(key)    (lines_jwk_kid(key) + (key)->kid_len)
#define lines_jwk_e(key)    (lines_jwk_n(key) + (key)->n_len)


static ngx_uint_t jwk_same(lines_jwk_t *key, lines_jwk_candidate_t *candidate);
static lines_jwk_t *jwk_next(lines_jwk_t *key);
static size_t jwk_record_len(lines_jwk_t *key);
static uint32_t jwk_hash(ngx_str_t *kid);


const char *
lines_jwk_check(ngx_str_t *n, ngx_str_t *e)
{
    /* of 2048 bits: the highest of them set */

    if (n->len < LINES_JWK_MIN_BITS / 8
        || (n->len == LINES_JWK_MIN_BITS / 8 && n->data[0] < 0x80))
    {
        return "weak";
    }

    if ((n->data[n->len - 1] & 1) == 0) {
        return "malformed";
    }

    if ((e->data[e->len - 1] & 1) == 0 || (e->len == 1 && e->data[0] < 3)) {
        return "weak";
    }

    return NULL;
}


const char *
lines_jwk_add(lines_jwk_builder_t *b, lines_jwk_candidate_t *candidate)
{
    u_char       *p;
    size_t        len;
    uint32_t      hash;
    ngx_uint_t    i;
    lines_jwk_t  *key;

    hash = jwk_hash(&candidate->kid);

    key = (lines_jwk_t *) (b->set + 1);

    for (i = 0; i < b->total; i++, key = jwk_next(key)) {

        if (key->hash != hash
            || key->kid_len != candidate->kid.len
            || ngx_memcmp(lines_jwk_kid(key), candidate->kid.data,
                          candidate->kid.len)
               != 0)
        {
            continue;
        }

        if (jwk_same(key, candidate)) {
            return "repeated";
        }

        /* which of the two the issuer means is anybody's guess */

        if (!key->ambiguous) {
            key->ambiguous = 1;
            b->set->nkeys--;
        }

        return "ambiguous-kid";
    }

    len = ngx_align(sizeof(lines_jwk_t) + candidate->kid.len + candidate->n.len
                    + candidate->e.len, sizeof(uint32_t));

    if (len > (size_t) (b->end - b->last)) {
        return "too-many";
    }

    key = (lines_jwk_t *) b->last;
    ngx_memzero(key, len);

    key->hash = hash;
    key->ordinal = (uint16_t) b->total;
    key->kid_len = (uint16_t) candidate->kid.len;
    key->n_len = (uint16_t) candidate->n.len;
    key->e_len = (uint16_t) candidate->e.len;

    p = lines_jwk_kid(key);

    if (candidate->kid.len) {
        p = ngx_cpymem(p, candidate->kid.data, candidate->kid.len);
    }

    p = ngx_cpymem(p, candidate->n.data, candidate->n.len);
    ngx_memcpy(p, candidate->e.data, candidate->e.len);

    b->last += len;
    b->total++;
    b->set->nkeys++;

    return NULL;
}


static ngx_uint_t
jwk_same(lines_jwk_t *key, lines_jwk_candidate_t *candidate)
{
    return key->n_len == candidate->n.len
           && key->e_len == candidate->e.len
           && ngx_memcmp(lines_jwk_n(key), candidate->n.data, candidate->n.len)
              == 0
           && ngx_memcmp(lines_jwk_e(key), candidate->e.data, candidate->e.len)
              == 0;
}


ngx_uint_t
lines_jwk_set_valid(lines_jwk_set_t *set, size_t size)
{
    size_t        left, len;
    ngx_uint_t    ordinal, usable;
    lines_jwk_t  *key;

    if (size < sizeof(lines_jwk_set_t)
        || set->version != LINES_JWK_VERSION
        || set->size != size)
    {
        return 0;
    }

    usable = 0;
    left = size - sizeof(lines_jwk_set_t);
    key = (lines_jwk_t *) (set + 1);

    for (ordinal = 0; left; ordinal++) {

        if (left < sizeof(lines_jwk_t)) {
            return 0;
        }

        len = jwk_record_len(key);

        if (len > left
            || key->ordinal != ordinal
            || key->n_len == 0
            || key->e_len == 0)
        {
            return 0;
        }

        usable += !key->ambiguous;
        left -= len;
        key = jwk_next(key);
    }

    return usable == set->nkeys && usable > 0;
}


lines_jwk_t *
lines_jwk_find(lines_jwk_set_t *set, ngx_str_t *kid)
{
    u_char       *end;
    uint32_t      hash;
    lines_jwk_t  *key;

    key = (lines_jwk_t *) (set + 1);

    if (set->any_kid) {
        return key;
    }

    if (kid->len == 0) {
        return NULL;
    }

    hash = jwk_hash(kid);
    end = (u_char *) set + set->size;

    for ( /* void */ ; (u_char *) key < end;
         key = jwk_next(key))
    {
        if (key->hash == hash
            && key->kid_len == kid->len
            && !key->ambiguous
            && ngx_memcmp(lines_jwk_kid(key), kid->data, kid->len) == 0)
        {
            return key;
        }
    }

    return NULL;
}


static lines_jwk_t *
jwk_next(lines_jwk_t *key)
{
    return (lines_jwk_t *) ((u_char *) key + jwk_record_len(key));
}


static size_t
jwk_record_len(lines_jwk_t *key)
{
    return ngx_align(sizeof(lines_jwk_t) + key->kid_len + key->n_len
                     + key->e_len, sizeof(uint32_t));
}


/* FNV-1a: merely saves comparisons */

static uint32_t
jwk_hash(ngx_str_t *kid)
{
    size_t    i;
    uint32_t  hash;

    hash = 2166136261u;

    for (i = 0; i < kid->len; i++) {
        hash = (hash ^ kid->data[i]) * 16777619u;
    }

    return hash;
}


ngx_int_t
lines_jwk_verifier_create(lines_jwk_verifier_t *verifier, lines_jwk_t *key)
{
    int              ok;
    BIGNUM          *n, *e;
    OSSL_PARAM      *params;
    EVP_PKEY_CTX    *ctx;
    OSSL_PARAM_BLD  *build;

    verifier->key = NULL;
    verifier->ctx = NULL;
    verifier->signature_len = key->n_len;

    params = NULL;

    n = BN_bin2bn(lines_jwk_n(key), key->n_len, NULL);
    e = BN_bin2bn(lines_jwk_e(key), key->e_len, NULL);
    build = OSSL_PARAM_BLD_new();
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);

    ok = n
         && e
         && build
         && ctx
         && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n)
         && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e)
         && (params = OSSL_PARAM_BLD_to_param(build)) != NULL
         && EVP_PKEY_fromdata_init(ctx) == 1
         && EVP_PKEY_fromdata(ctx, &verifier->key, EVP_PKEY_PUBLIC_KEY, params)
            == 1;

    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(e);
    BN_free(n);

    if (ok) {
        verifier->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, verifier->key, NULL);

        ok = verifier->ctx
             && EVP_PKEY_verify_init(verifier->ctx) == 1
             && EVP_PKEY_CTX_set_rsa_padding(verifier->ctx, RSA_PKCS1_PADDING)
                == 1
             && EVP_PKEY_CTX_set_signature_md(verifier->ctx, EVP_sha256())
                == 1;
    }

    if (!ok) {
        lines_jwk_verifier_destroy(verifier);

        /* what stays in the queue would be logged by the next TLS call */
        ERR_clear_error();

        return NGX_ERROR;
    }

    return NGX_OK;
}


void
lines_jwk_verifier_destroy(lines_jwk_verifier_t *verifier)
{
    EVP_PKEY_CTX_free(verifier->ctx);
    EVP_PKEY_free(verifier->key);

    verifier->ctx = NULL;
    verifier->key = NULL;
}
