
#include "auth/jwk.h"
#include "http/strict.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>


#define LINES_JWKS_DEPTH       32
#define LINES_JWKS_CONTAINERS  16384

#define LINES_JWK_MAX_N        (LINES_JWK_MAX_BITS / 8)
#define LINES_JWK_MAX_E        8    /* OpenSSL's bound for long keys */
#define LINES_JWK_SLACK        3    /* leading zero octets are forgiven */


#define jwks_scan(text, stop)                                         \
    lines_strict_json_scan(text, stop, LINES_JWKS_DEPTH,              \
                           LINES_JWKS_CONTAINERS)

#define jwk_first(set)  ((lines_jwk_t *) ((set) + 1))
#define jwk_kid(key)    ((u_char *) ((key) + 1))
#define jwk_n(key)      (jwk_kid(key) + (key)->kid_len)
#define jwk_e(key)      (jwk_n(key) + (key)->n_len)
#define jwk_len(kid_len, n_len, e_len)                                \
    ngx_align(sizeof(lines_jwk_t) + (kid_len) + (n_len) + (e_len),    \
              sizeof(uint32_t))
#define jwk_next(key)                                                 \
    ((lines_jwk_t *) ((u_char *) (key)                                \
                      + jwk_len((key)->kid_len, (key)->n_len,         \
                                (key)->e_len)))


/* the size of the set is what it has so far */

typedef struct {
    lines_jwk_set_t  *set;
    size_t            room;
    ngx_uint_t        total;    /* records, ambiguous ones too */
} jwk_builder_t;


/* readers return NULL, or why there is nothing */

static const char  jwk_no_memory[] = "no-memory";


static void
jwks_trim(ngx_str_t *text)
{
    /* JSON has no other byte below the space between its tokens */

    while (text->len && text->data[0] <= ' ') {
        text->data++;
        text->len--;
    }

    while (text->len && text->data[text->len - 1] <= ' ') {
        text->len--;
    }
}


/* takes the next element off the inside of an object or an array */

static ngx_uint_t
jwks_next(ngx_str_t *list, ngx_str_t *element)
{
    u_char  *p, *last;

    jwks_trim(list);

    if (list->len == 0) {
        return 0;
    }

    p = jwks_scan(list, ',');
    last = list->data + list->len;

    element->data = list->data;
    element->len = p - list->data;

    list->data = (p < last) ? p + 1 : last;
    list->len = last - list->data;

    return 1;
}


/* text is JSON, an object: so every bracket and quote has its other half */

static ngx_int_t
jwks_find_keys(ngx_str_t *text, ngx_str_t *keys)
{
    ngx_str_t  members, member;

    keys->data = NULL;

    members = *text;
    jwks_trim(&members);

    members.data++;
    members.len -= 2;

    while (jwks_next(&members, &member)) {

        if (ngx_strncmp(member.data, "\"keys\"", 6) != 0) {
            continue;
        }

        if (keys->data) {
            return NGX_DECLINED;
        }

        keys->data = jwks_scan(&member, ':') + 1;
        keys->len = member.data + member.len - keys->data;

        jwks_trim(keys);

        if (keys->data[0] != '[') {
            return NGX_DECLINED;
        }

        keys->data++;
        keys->len -= 2;
    }

    return keys->data ? NGX_OK : NGX_DECLINED;
}


static const char *
jwks_check(json_t *object, ngx_str_t *kid)
{
    size_t       i;
    json_t      *value, *op;
    const char  *reason;

    static const struct {
        const char  *name;
        const char  *value;
        const char  *reason;    /* where it has another */
    } members[] = {
        { "kty", "RSA", "other-type" },
        { "use", "sig", "other-use" },
        { "alg", "RS256", "other-algorithm" }
    };

    for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {

        value = json_object_get(object, members[i].name);

        if (value == NULL && i > 0) {
            continue;
        }

        if (!json_is_string(value)) {
            return "malformed";
        }

        if (ngx_strcmp(json_string_value(value), members[i].value) != 0) {
            return members[i].reason;
        }
    }

    value = json_object_get(object, "key_ops");

    if (value) {
        if (!json_is_array(value)) {
            return "malformed";
        }

        reason = "other-use";

        json_array_foreach(value, i, op) {

            if (!json_is_string(op)) {
                return "malformed";
            }

            if (ngx_strcmp(json_string_value(op), "verify") == 0) {
                reason = NULL;
            }
        }

        if (reason) {
            return reason;
        }
    }

    value = json_object_get(object, "kid");

    if (value == NULL) {
        return "no-kid";
    }

    kid->data = (u_char *) json_string_value(value);
    kid->len = json_string_length(value);

    return (lines_strict_json_clean(value) && kid->len <= LINES_JWK_MAX_KID)
           ? NULL
           : "malformed";
}


static const char *
jwks_number(json_t *value, size_t max, BIGNUM **bn)
{
    u_char     buf[LINES_JWK_MAX_N + LINES_JWK_SLACK];
    ngx_str_t  text, number;

    text.data = (u_char *) json_string_value(value);
    text.len = json_string_length(value);

    number.data = buf;

    if (lines_base64url_decoded_len(text.len) > max + LINES_JWK_SLACK
        || lines_base64url_decode(&number, &text) != NGX_OK)
    {
        return "malformed";
    }

    *bn = BN_bin2bn(number.data, (int) number.len, NULL);

    return *bn ? NULL : jwk_no_memory;
}


/* no two records have the same one */

static lines_jwk_t *
jwk_lookup(lines_jwk_set_t *set, ngx_str_t *kid)
{
    lines_jwk_t  *key;

    for (key = jwk_first(set);
         (u_char *) key < (u_char *) set + set->size;
         key = jwk_next(key))
    {
        if (key->kid_len == kid->len
            && ngx_memcmp(jwk_kid(key), kid->data, kid->len) == 0)
        {
            return key;
        }
    }

    return NULL;
}


/* what is fit for RS256; a NULL number is malformed */

static const char *
jwk_add(jwk_builder_t *b, ngx_str_t *kid, BIGNUM *n, BIGNUM *e)
{
    size_t        len, n_len, e_len;
    lines_jwk_t  *key, *known;

    n_len = n ? BN_num_bytes(n) : 0;
    e_len = e ? BN_num_bytes(e) : 0;

    if (n_len == 0
        || n_len > LINES_JWK_MAX_N
        || e_len == 0
        || e_len > LINES_JWK_MAX_E)
    {
        return "malformed";
    }

    if (BN_num_bits(n) < LINES_JWK_MIN_BITS) {
        return "weak";
    }

    if (!BN_is_odd(n)) {
        return "malformed";
    }

    if (!BN_is_odd(e) || BN_is_one(e)) {
        return "weak";
    }

    len = jwk_len(kid->len, n_len, e_len);

    if (len > b->room - b->set->size) {
        return "too-many";
    }

    key = (lines_jwk_t *) ((u_char *) b->set + b->set->size);
    ngx_memzero(key, len);

    key->ordinal = (uint16_t) b->total;
    key->kid_len = (uint16_t) kid->len;
    key->n_len = (uint16_t) n_len;
    key->e_len = (uint16_t) e_len;

    if (kid->len) {
        ngx_memcpy(jwk_kid(key), kid->data, kid->len);
    }

    (void) BN_bn2nativepad(n, jwk_n(key), n_len);
    (void) BN_bn2nativepad(e, jwk_e(key), e_len);

    /* the set does not end behind it yet */

    known = jwk_lookup(b->set, kid);

    if (known) {

        if (known->n_len == n_len
            && known->e_len == e_len
            && ngx_memcmp(jwk_n(known), jwk_n(key), n_len + e_len) == 0)
        {
            return "repeated";
        }

        /* which of the two the issuer means is anybody's guess */

        if (!known->ambiguous) {
            known->ambiguous = 1;
            b->set->nkeys--;
        }

        return "ambiguous-kid";
    }

    b->set->size += (uint32_t) len;
    b->set->nkeys++;
    b->total++;

    return NULL;
}


static const char *
jwks_read_key(jwk_builder_t *b, ngx_str_t *text)
{
    BIGNUM      *n, *e;
    json_t      *object;
    ngx_int_t    rc;
    ngx_str_t    kid;
    const char  *reason;

    rc = lines_strict_json_object(text, LINES_JWKS_DEPTH,
                                  LINES_JWKS_CONTAINERS, &object);

    if (rc != NGX_OK) {
        return (rc == NGX_ERROR) ? jwk_no_memory : "malformed";
    }

    n = NULL;
    e = NULL;

    reason = jwks_check(object, &kid);

    if (reason == NULL) {
        reason = jwks_number(json_object_get(object, "n"), LINES_JWK_MAX_N,
                             &n);
    }

    if (reason == NULL) {
        reason = jwks_number(json_object_get(object, "e"), LINES_JWK_MAX_E,
                             &e);
    }

    if (reason == NULL) {
        reason = jwk_add(b, &kid, n, e);
    }

    BN_free(e);
    BN_free(n);
    json_decref(object);

    return reason;
}


/*
 * The document is checked as a whole, then each key is parsed by itself, so
 * that a key with a member twice costs that key and not the whole set.
 */

static const char *
jwks_read(jwk_builder_t *b, ngx_str_t *text, lines_jwk_report_t *report)
{
    json_t            *document;
    ngx_int_t          rc;
    ngx_str_t          keys, entry;
    ngx_uint_t         position;
    const char        *reason;

    rc = lines_strict_json_load(text, JSON_ALLOW_NUL, LINES_JWKS_DEPTH,
                                LINES_JWKS_CONTAINERS, &document);

    if (rc != NGX_OK) {
        return (rc == NGX_ERROR) ? jwk_no_memory : "not-json";
    }

    json_decref(document);

    if (jwks_find_keys(text, &keys) != NGX_OK) {
        return "no-keys-array";
    }

    for (position = 0; jwks_next(&keys, &entry); position++) {

        reason = (position < LINES_JWK_MAX_KEYS)
                 ? jwks_read_key(b, &entry)
                 : "too-many";

        if (reason == NULL) {
            continue;
        }

        if (reason == jwk_no_memory) {
            return reason;
        }

        if (report->skipped < LINES_JWK_MAX_REPORTED) {
            report->skips[report->skipped].key = position;
            report->skips[report->skipped].reason = reason;
        }

        report->skipped++;
    }

    return NULL;
}


static const char *
pem_read(jwk_builder_t *b, ngx_str_t *text)
{
    BIO                  *bio;
    char                 *name, *header;
    long                  len;
    BIGNUM               *n, *e;
    EVP_PKEY             *pkey;
    ngx_str_t             kid = ngx_null_string;
    const char           *reason;
    unsigned char        *der;
    const unsigned char  *p;

    bio = BIO_new_mem_buf(text->data, (int) text->len);

    if (bio == NULL) {
        return jwk_no_memory;
    }

    pkey = NULL;
    reason = "not-pem";

    while (PEM_read_bio(bio, &name, &header, &der, &len) == 1) {

        p = der;

        if (pkey) {
            reason = "several-keys";

        } else if (ngx_strcmp(name, PEM_STRING_PUBLIC) != 0) {
            reason = "not-a-public-key";

        } else if ((pkey = d2i_PUBKEY(NULL, &p, len)) == NULL
                   || p != der + len)
        {
            reason = "malformed";

        } else {
            reason = NULL;
        }

        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, len);

        if (reason) {
            break;
        }
    }

    BIO_free(bio);

    if (reason == NULL && EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA) {
        reason = "other-type";
    }

    if (reason == NULL) {
        n = NULL;
        e = NULL;

        (void) EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n);
        (void) EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e);

        reason = jwk_add(b, &kid, n, e);
        b->set->any_kid = 1;

        BN_free(e);
        BN_free(n);
    }

    EVP_PKEY_free(pkey);
    ERR_clear_error();

    return reason;
}


ngx_int_t
lines_jwk_parse(ngx_str_t *text, u_char *buf, lines_jwk_set_t **set,
    lines_jwk_report_t *report)
{
    const char     *error;
    jwk_builder_t   b;

    *report = (lines_jwk_report_t) { .error = "" };

    b.set = (lines_jwk_set_t *) buf;
    b.room = lines_jwk_set_room(text->len);
    b.total = 0;

    *b.set = (lines_jwk_set_t) { .version = LINES_JWK_VERSION,
                                 .size = sizeof(lines_jwk_set_t) };

    if (text->len > LINES_JWK_MAX_DOCUMENT) {
        error = "document-too-large";

    } else {
        error = lines_jwk_is_document(text) ? jwks_read(&b, text, report)
                                            : pem_read(&b, text);
    }

    if (error == NULL && b.set->nkeys == 0) {
        error = "no-usable-key";
    }

    if (error == jwk_no_memory) {
        return NGX_ERROR;
    }

    if (error) {
        report->error = error;
        return NGX_DECLINED;
    }

    *set = b.set;

    return NGX_OK;
}


ngx_uint_t
lines_jwk_is_document(ngx_str_t *text)
{
    u_char  *p, *last;

    last = text->data + text->len;

    for (p = text->data; p < last && memchr(" \t\r\n", *p, 4); p++) {
        /* void */
    }

    return p < last && *p == '{';
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
    key = jwk_first(set);

    for (ordinal = 0; left; ordinal++) {

        if (left < sizeof(lines_jwk_t)) {
            return 0;
        }

        len = jwk_len(key->kid_len, key->n_len, key->e_len);

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
    lines_jwk_t  *key;

    if (set->any_kid) {
        return jwk_first(set);
    }

    key = kid->len ? jwk_lookup(set, kid) : NULL;

    return (key && !key->ambiguous) ? key : NULL;
}


ngx_int_t
lines_jwk_verifier_create(lines_jwk_verifier_t *verifier, lines_jwk_t *key)
{
    int            ok;
    EVP_PKEY      *pkey;
    OSSL_PARAM     params[3];
    EVP_PKEY_CTX  *ctx;

    *verifier = (lines_jwk_verifier_t) { .signature_len = key->n_len };

    params[0] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, jwk_n(key),
                                        key->n_len);
    params[1] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, jwk_e(key),
                                        key->e_len);
    params[2] = OSSL_PARAM_construct_end();

    pkey = NULL;
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);

    ok = ctx
         && EVP_PKEY_fromdata_init(ctx) == 1
         && EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) == 1
         && (verifier->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL))
            != NULL
         && EVP_PKEY_verify_init(verifier->ctx) == 1
         && EVP_PKEY_CTX_set_rsa_padding(verifier->ctx, RSA_PKCS1_PADDING) == 1
         && EVP_PKEY_CTX_set_signature_md(verifier->ctx, EVP_sha256()) == 1;

    /* the verifier's context keeps the key */

    EVP_PKEY_free(pkey);
    EVP_PKEY_CTX_free(ctx);

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
    verifier->ctx = NULL;
}
