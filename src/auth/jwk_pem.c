
#include "auth/jwk_pem.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>


static const char *jwk_pem_candidate(EVP_PKEY *pkey,
    lines_jwk_candidate_t *candidate);
static ngx_int_t jwk_pem_number(EVP_PKEY *pkey, const char *name,
    ngx_str_t *number, size_t max);


ngx_int_t
lines_jwk_read_pem(lines_jwk_builder_t *b, ngx_str_t *text)
{
    BIO                   *bio;
    char                  *name, *header;
    long                   len;
    EVP_PKEY              *pkey;
    const char            *reason;
    unsigned char         *der;
    const unsigned char   *p;
    lines_jwk_candidate_t  candidate;

    bio = BIO_new_mem_buf(text->data, (int) text->len);

    if (bio == NULL) {
        return NGX_ERROR;
    }

    pkey = NULL;
    reason = "not-pem";

    while (PEM_read_bio(bio, &name, &header, &der, &len) == 1) {

        if (pkey) {
            reason = "several-keys";

        } else if (ngx_strcmp(name, PEM_STRING_PUBLIC) != 0) {
            reason = "not-a-public-key";

        } else {
            p = der;
            pkey = d2i_PUBKEY(NULL, &p, len);

            reason = (pkey && p == der + len) ? NULL : "malformed";
        }

        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, len);

        if (reason) {
            break;
        }
    }

    BIO_free(bio);

    if (reason == NULL) {
        reason = jwk_pem_candidate(pkey, &candidate);
    }

    EVP_PKEY_free(pkey);
    ERR_clear_error();

    if (reason == NULL) {
        reason = lines_jwk_add(b, &candidate);
        b->set->any_kid = 1;
    }

    if (reason) {
        b->report->error.data = (u_char *) reason;
        b->report->error.len = ngx_strlen(reason);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static const char *
jwk_pem_candidate(EVP_PKEY *pkey, lines_jwk_candidate_t *candidate)
{
    if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA) {
        return "other-type";
    }

    ngx_str_null(&candidate->kid);

    candidate->n.data = candidate->n_buf;
    candidate->e.data = candidate->e_buf;

    if (jwk_pem_number(pkey, OSSL_PKEY_PARAM_RSA_N, &candidate->n,
                       LINES_JWK_MAX_N)
        != NGX_OK
        || jwk_pem_number(pkey, OSSL_PKEY_PARAM_RSA_E, &candidate->e,
                          LINES_JWK_MAX_E)
           != NGX_OK)
    {
        return "malformed";
    }

    return lines_jwk_check(&candidate->n, &candidate->e);
}


static ngx_int_t
jwk_pem_number(EVP_PKEY *pkey, const char *name, ngx_str_t *number, size_t max)
{
    int      len;
    BIGNUM  *bn;

    bn = NULL;

    if (EVP_PKEY_get_bn_param(pkey, name, &bn) != 1) {
        return NGX_DECLINED;
    }

    len = BN_num_bytes(bn);

    if (len <= 0 || (size_t) len > max) {
        BN_free(bn);
        return NGX_DECLINED;
    }

    number->len = BN_bn2bin(bn, number->data);
    BN_free(bn);

    return NGX_OK;
}
