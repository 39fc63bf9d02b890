
#include "auth/base64url.h"
#include "auth/jwk.h"
#include "auth/strict_json.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
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


/* what a reader found */

typedef struct {
    ngx_str_t            kid;
    ngx_str_t            n;        /* big-endian, no leading zero; at */
    ngx_str_t            e;        /* n_buf and e_buf */
    u_char               n_buf[LINES_JWK_MAX_N + LINES_JWK_SLACK];
    u_char               e_buf[LINES_JWK_MAX_E + LINES_JWK_SLACK];
} jwk_candidate_t;


/* the set that it goes into; size is what it has so far */

typedef struct {
    lines_jwk_set_t     *set;
    size_t               room;
    ngx_uint_t           total;    /* records, ambiguous ones too */
    lines_jwk_report_t  *report;
} jwk_builder_t;


/* readers return NULL, or why there is nothing */

static const char *jwks_read(jwk_builder_t *b, ngx_str_t *text);
static ngx_int_t jwks_find_keys(ngx_str_t *text, ngx_str_t *keys);
static ngx_uint_t jwks_next(ngx_str_t *list, ngx_str_t *element);
static void jwks_trim(ngx_str_t *text);
static const char *jwks_read_key(jwk_builder_t *b, ngx_str_t *text);
static const char *jwks_candidate(json_t *object, jwk_candidate_t *candidate);
static ngx_int_t jwks_number(json_t *value, ngx_str_t *number, size_t max);
static const char *pem_read(jwk_builder_t *b, ngx_str_t *text);
static const char *pem_candidate(EVP_PKEY *pkey, jwk_candidate_t *candidate);
static ngx_int_t pem_number(EVP_PKEY *pkey, const char *name,
    ngx_str_t *number, size_t max);
static const char *jwk_add(jwk_builder_t *b, jwk_candidate_t *candidate);
static lines_jwk_t *jwk_next(lines_jwk_t *key);
static lines_jwk_t *jwk_lookup(lines_jwk_set_t *set, ngx_str_t *kid);


static const char  jwk_no_memory[] = "no-memory";


ngx_int_t
lines_jwk_parse(ngx_str_t *text, u_char *buf, lines_jwk_set_t **set,
    lines_jwk_report_t *report)
{
    const char     *error;
    jwk_builder_t   b;

    ngx_memzero(report, sizeof(lines_jwk_report_t));

    b.set = (lines_jwk_set_t *) buf;
    b.room = lines_jwk_set_room(text->len);
    b.total = 0;
    b.report = report;

    b.set->version = LINES_JWK_VERSION;
    b.set->size = sizeof(lines_jwk_set_t);
    b.set->nkeys = 0;
    b.set->any_kid = 0;

    if (text->len > LINES_JWK_MAX_DOCUMENT) {
        error = "document-too-large";

    } else {
        error = lines_jwk_is_document(text) ? jwks_read(&b, text)
                                            : pem_read(&b, text);
    }

    if (error == NULL && b.set->nkeys == 0) {
        error = "no-usable-key";
    }

    if (error == jwk_no_memory) {
        return NGX_ERROR;
    }

    if (error) {
        report->error.data = (u_char *) error;
        report->error.len = ngx_strlen(error);
        return NGX_DECLINED;
    }

    *set = b.set;

    return NGX_OK;
}


ngx_uint_t
lines_jwk_is_document(ngx_str_t *text)
{
    size_t  i;

    for (i = 0; i < text->len; i++) {
        switch (text->data[i]) {

        case ' ':
        case '\t':
        case CR:
        case LF:
            break;

        default:
            return text->data[i] == '{';
        }
    }

    return 0;
}


/*
 * The document is checked as a whole, then each key is parsed by itself, so
 * that a key with a member twice costs that key and not the whole set.
 */

static const char *
jwks_read(jwk_builder_t *b, ngx_str_t *text)
{
    json_t            *document;
    ngx_int_t          rc;
    ngx_str_t          keys, entry;
    ngx_uint_t         position;
    const char        *reason;
    lines_jwk_skip_t  *skip;

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

        if (b->report->skipped < LINES_JWK_MAX_REPORTED) {
            skip = &b->report->skips[b->report->skipped];

            skip->key = position;
            skip->reason.data = (u_char *) reason;
            skip->reason.len = ngx_strlen(reason);
        }

        b->report->skipped++;
    }

    return NULL;
}


/* text is JSON, an object: so every bracket and quote has its other half */

static ngx_int_t
jwks_find_keys(ngx_str_t *text, ngx_str_t *keys)
{
    u_char     *colon;
    ngx_str_t   members, member, name;

    keys->data = NULL;

    members = *text;
    jwks_trim(&members);

    members.data++;
    members.len -= 2;

    while (jwks_next(&members, &member)) {

        colon = jwks_scan(&member, ':');

        name.data = member.data;
        name.len = colon - member.data;
        jwks_trim(&name);

        if (name.len != sizeof("\"keys\"") - 1
            || ngx_memcmp(name.data, "\"keys\"", name.len) != 0)
        {
            continue;
        }

        if (keys->data) {
            return NGX_DECLINED;
        }

        keys->data = colon + 1;
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


static const char *
jwks_read_key(jwk_builder_t *b, ngx_str_t *text)
{
    json_t           *object;
    ngx_int_t         rc;
    const char       *reason;
    jwk_candidate_t   candidate;

    rc = lines_strict_json_object(text, LINES_JWKS_DEPTH,
                                  LINES_JWKS_CONTAINERS, &object);

    if (rc != NGX_OK) {
        return (rc == NGX_ERROR) ? jwk_no_memory : "malformed";
    }

    reason = jwks_candidate(object, &candidate);

    if (reason == NULL) {
        reason = jwk_add(b, &candidate);
    }

    json_decref(object);

    return reason;
}


/* candidate->kid points into object */

static const char *
jwks_candidate(json_t *object, jwk_candidate_t *candidate)
{
    size_t       i;
    json_t      *value, *op;
    ngx_uint_t   verify;

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

        verify = 0;

        json_array_foreach(value, i, op) {

            if (!json_is_string(op)) {
                return "malformed";
            }

            if (ngx_strcmp(json_string_value(op), "verify") == 0) {
                verify = 1;
            }
        }

        if (!verify) {
            return "other-use";
        }
    }

    value = json_object_get(object, "kid");

    if (value == NULL) {
        return "no-kid";
    }

    if (!lines_strict_json_clean(value)
        || json_string_length(value) > LINES_JWK_MAX_KID)
    {
        return "malformed";
    }

    candidate->kid.data = (u_char *) json_string_value(value);
    candidate->kid.len = json_string_length(value);

    candidate->n.data = candidate->n_buf;
    candidate->e.data = candidate->e_buf;

    if (jwks_number(json_object_get(object, "n"), &candidate->n,
                    LINES_JWK_MAX_N)
        != NGX_OK
        || jwks_number(json_object_get(object, "e"), &candidate->e,
                       LINES_JWK_MAX_E)
           != NGX_OK)
    {
        return "malformed";
    }

    return NULL;
}


static ngx_int_t
jwks_number(json_t *value, ngx_str_t *number, size_t max)
{
    ngx_str_t  text;

    if (!json_is_string(value)) {
        return NGX_DECLINED;
    }

    text.data = (u_char *) json_string_value(value);
    text.len = json_string_length(value);

    if (lines_base64url_decoded_len(text.len) > max + LINES_JWK_SLACK
        || lines_base64url_decode(number, &text) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    while (number->len && number->data[0] == 0) {
        number->data++;
        number->len--;
    }

    return (number->len == 0 || number->len > max) ? NGX_DECLINED : NGX_OK;
}


static const char *
pem_read(jwk_builder_t *b, ngx_str_t *text)
{
    BIO                   *bio;
    char                  *name, *header;
    long                   len;
    EVP_PKEY              *pkey;
    const char            *reason;
    unsigned char         *der;
    const unsigned char   *p;
    jwk_candidate_t        candidate;

    bio = BIO_new_mem_buf(text->data, (int) text->len);

    if (bio == NULL) {
        return jwk_no_memory;
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
        reason = pem_candidate(pkey, &candidate);
    }

    EVP_PKEY_free(pkey);
    ERR_clear_error();

    if (reason == NULL) {
        reason = jwk_add(b, &candidate);
        b->set->any_kid = 1;
    }

    return reason;
}


static const char *
pem_candidate(EVP_PKEY *pkey, jwk_candidate_t *candidate)
{
    if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA) {
        return "other-type";
    }

    ngx_str_null(&candidate->kid);

    candidate->n.data = candidate->n_buf;
    candidate->e.data = candidate->e_buf;

    if (pem_number(pkey, OSSL_PKEY_PARAM_RSA_N, &candidate->n,
                       LINES_JWK_MAX_N)
        != NGX_OK
        || pem_number(pkey, OSSL_PKEY_PARAM_RSA_E, &candidate->e,
                          LINES_JWK_MAX_E)
           != NGX_OK)
    {
        return "malformed";
    }

    return NULL;
}


static ngx_int_t
pem_number(EVP_PKEY *pkey, const char *name, ngx_str_t *number, size_t max)
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


/* what is fit for RS256 */

static const char *
jwk_add(jwk_builder_t *b, jwk_candidate_t *candidate)
{
    u_char       *p;
    size_t        len;
    ngx_str_t    *kid, *n, *e;
    lines_jwk_t  *key;

    kid = &candidate->kid;
    n = &candidate->n;
    e = &candidate->e;

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

    key = jwk_lookup(b->set, kid);

    if (key) {

        if (key->n_len == n->len
            && key->e_len == e->len
            && ngx_memcmp(jwk_n(key), n->data, n->len) == 0
            && ngx_memcmp(jwk_e(key), e->data, e->len) == 0)
        {
            return "repeated";
        }

        /* which of the two the issuer means is anybody's guess */

        if (!key->ambiguous) {
            key->ambiguous = 1;
            b->set->nkeys--;
        }

        return "ambiguous-kid";
    }

    len = jwk_len(kid->len, n->len, e->len);

    if (len > b->room - b->set->size) {
        return "too-many";
    }

    key = (lines_jwk_t *) ((u_char *) b->set + b->set->size);
    ngx_memzero(key, len);

    key->ordinal = (uint16_t) b->total++;
    key->kid_len = (uint16_t) kid->len;
    key->n_len = (uint16_t) n->len;
    key->e_len = (uint16_t) e->len;

    p = jwk_kid(key);

    if (kid->len) {
        p = ngx_cpymem(p, kid->data, kid->len);
    }

    p = ngx_cpymem(p, n->data, n->len);
    ngx_memcpy(p, e->data, e->len);

    b->set->size += (uint32_t) len;
    b->set->nkeys++;

    return NULL;
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


static lines_jwk_t *
jwk_next(lines_jwk_t *key)
{
    return (lines_jwk_t *) ((u_char *) key
                            + jwk_len(key->kid_len, key->n_len, key->e_len));
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

    n = BN_bin2bn(jwk_n(key), key->n_len, NULL);
    e = BN_bin2bn(jwk_e(key), key->e_len, NULL);
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
