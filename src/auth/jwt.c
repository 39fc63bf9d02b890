
#include "auth/base64url.h"
#include "auth/jwt_claims.h"
#include "auth/strict_json.h"
#include "http/digest.h"

#include <openssl/err.h>


#define LINES_JWT_DEPTH       64
#define LINES_JWT_CONTAINERS  1024

/* Clerk's header member "cat" */
#define LINES_JWT_SESSION     "cl_B7d4PD111AAA"
#define LINES_JWT_ANY         "cl_I7d4PD111III"


static ngx_int_t jwt_split(lines_jwt_t *jwt, ngx_str_t *token,
    ngx_str_t *header);
static ngx_int_t jwt_load(lines_jwt_t *jwt, ngx_str_t *encoded,
    lines_jwt_reason_e reason, json_t **object);
static ngx_int_t jwt_check_header(lines_jwt_t *jwt, json_t *header);
static ngx_int_t jwt_check_signature(lines_jwt_t *jwt,
    lines_jwk_verifier_t *verifier);


static ngx_str_t  jwt_reasons[] = {
    ngx_string("accepted"),
    ngx_string("token-missing"),
    ngx_string("token-too-long"),
    ngx_string("token-malformed"),
    ngx_string("token-invalid-header"),
    ngx_string("token-invalid-type"),
    ngx_string("token-invalid-category"),
    ngx_string("token-invalid-algorithm"),
    ngx_string("token-critical-header"),
    ngx_string("kid-missing"),
    ngx_string("kid-unknown"),
    ngx_string("keys-unavailable"),
    ngx_string("token-invalid-signature"),
    ngx_string("token-invalid-claims"),
    ngx_string("token-invalid-subject"),
    ngx_string("token-invalid-issuer"),
    ngx_string("token-invalid-party"),
    ngx_string("token-expired"),
    ngx_string("token-not-active-yet"),
    ngx_string("token-issued-in-future"),
    ngx_string("session-pending"),
    ngx_string("tenant-malformed"),
    ngx_string("cookie-refused")
};


ngx_int_t
lines_jwt_parse(lines_jwt_t *jwt, ngx_str_t *token, u_char *buf)
{
    json_t     *object;
    ngx_int_t   rc;
    ngx_str_t   header;

    ngx_memzero(jwt, sizeof(lines_jwt_t));

    jwt->buf = buf;

    rc = jwt_split(jwt, token, &header);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = jwt_load(jwt, &header, LINES_JWT_BAD_HEADER, &object);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = jwt_check_header(jwt, object);

    json_decref(object);

    return rc;
}


static ngx_int_t
jwt_split(lines_jwt_t *jwt, ngx_str_t *token, ngx_str_t *header)
{
    u_char     *first, *second, *last;
    ngx_str_t   decoded;

    if (token->len == 0) {
        return lines_jwt_refuse(jwt, LINES_JWT_MISSING);
    }

    if (token->len > LINES_JWT_MAX_LEN) {
        return lines_jwt_refuse(jwt, LINES_JWT_TOO_LONG);
    }

    last = token->data + token->len;

    first = ngx_strlchr(token->data, last, '.');
    second = first ? ngx_strlchr(first + 1, last, '.') : NULL;

    if (second == NULL || ngx_strlchr(second + 1, last, '.') != NULL) {
        return lines_jwt_refuse(jwt, LINES_JWT_MALFORMED);
    }

    header->data = token->data;
    header->len = first - token->data;

    jwt->payload.data = first + 1;
    jwt->payload.len = second - (first + 1);

    jwt->signature.data = second + 1;
    jwt->signature.len = last - (second + 1);

    jwt->signed_part.data = token->data;
    jwt->signed_part.len = second - token->data;

    /* nothing is done about a token of which any part is no base64url */

    decoded.data = jwt->buf;

    if (header->len == 0
        || jwt->signature.len == 0
        || lines_base64url_decode(&decoded, &jwt->payload) != NGX_OK
        || lines_base64url_decode(&decoded, &jwt->signature) != NGX_OK
        || lines_base64url_decode(&decoded, header) != NGX_OK)
    {
        return lines_jwt_refuse(jwt, LINES_JWT_MALFORMED);
    }

    return NGX_OK;
}


/* what is decoded is scratch: the parser keeps copies */

static ngx_int_t
jwt_load(lines_jwt_t *jwt, ngx_str_t *encoded, lines_jwt_reason_e reason,
    json_t **object)
{
    ngx_int_t  rc;
    ngx_str_t  decoded;

    decoded.data = jwt->buf;

    (void) lines_base64url_decode(&decoded, encoded);

    rc = lines_strict_json_object(&decoded, LINES_JWT_DEPTH,
                                  LINES_JWT_CONTAINERS, object);

    if (rc == NGX_DECLINED) {
        return lines_jwt_refuse(jwt, reason);
    }

    return rc;
}


/* jwk, jku, x5c, x5u: a token does not choose the key that it is judged by */

static ngx_int_t
jwt_check_header(lines_jwt_t *jwt, json_t *header)
{
    json_t  *value;

    value = json_object_get(header, "typ");

    if (value && !lines_jwt_equals(value, "JWT")) {
        return lines_jwt_refuse(jwt, LINES_JWT_BAD_TYPE);
    }

    value = json_object_get(header, "alg");

    if (!lines_jwt_equals(value, "RS256")) {
        return lines_jwt_refuse(jwt, LINES_JWT_BAD_ALGORITHM);
    }

    if (json_object_get(header, "crit")) {
        return lines_jwt_refuse(jwt, LINES_JWT_CRITICAL_HEADER);
    }

    value = json_object_get(header, "cat");

    if (value
        && !lines_jwt_equals(value, LINES_JWT_SESSION)
        && !lines_jwt_equals(value, LINES_JWT_ANY))
    {
        return lines_jwt_refuse(jwt, LINES_JWT_BAD_CATEGORY);
    }

    value = json_object_get(header, "kid");

    if (json_is_string(value)) {
        lines_jwt_keep(jwt, &jwt->kid, value);
    }

    return NGX_OK;
}


ngx_int_t
lines_jwt_key(lines_jwt_t *jwt, lines_jwk_set_t *set, lines_jwk_t **key)
{
    *key = lines_jwk_find(set, &jwt->kid);

    if (*key == NULL) {
        return lines_jwt_refuse(jwt,
                                jwt->kid.len
                                ? LINES_JWT_UNKNOWN_KID
                                : LINES_JWT_NO_KID);
    }

    return NGX_OK;
}


ngx_int_t
lines_jwt_verify(lines_jwt_t *jwt, lines_jwk_verifier_t *verifier,
    lines_jwt_options_t *options, int64_t now)
{
    json_t     *claims;
    ngx_int_t   rc;

    rc = jwt_check_signature(jwt, verifier);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = jwt_load(jwt, &jwt->payload, LINES_JWT_BAD_CLAIMS, &claims);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = lines_jwt_check_claims(jwt, claims, options, now);

    json_decref(claims);

    return rc;
}


static ngx_int_t
jwt_check_signature(lines_jwt_t *jwt, lines_jwk_verifier_t *verifier)
{
    int        rc;
    u_char     digest[LINES_SHA256_LEN];
    ngx_str_t  signature;

    if (lines_base64url_decoded_len(jwt->signature.len)
        != verifier->signature_len)
    {
        return lines_jwt_refuse(jwt, LINES_JWT_BAD_SIGNATURE);
    }

    signature.data = jwt->buf;

    (void) lines_base64url_decode(&signature, &jwt->signature);

    if (lines_sha256(&jwt->signed_part, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = EVP_PKEY_verify(verifier->ctx, signature.data, signature.len, digest,
                         LINES_SHA256_LEN);

    if (rc != 1) {

        /* what stays in the queue would be logged by the next TLS call */
        ERR_clear_error();

        return lines_jwt_refuse(jwt, LINES_JWT_BAD_SIGNATURE);
    }

    return NGX_OK;
}


ngx_uint_t
lines_jwt_equals(json_t *value, const char *text)
{
    return json_is_string(value)
           && ngx_strcmp(json_string_value(value), text) == 0;
}


/*
 * A string is never longer than its JSON was.  Only the tenant's claim may be
 * kept a second time under another name, so room for two of each suffices.
 */

void
lines_jwt_keep(lines_jwt_t *jwt, ngx_str_t *text, json_t *value)
{
    text->len = json_string_length(value);
    text->data = jwt->buf;

    jwt->buf = ngx_cpymem(jwt->buf, json_string_value(value), text->len);
}


ngx_int_t
lines_jwt_refuse(lines_jwt_t *jwt, lines_jwt_reason_e reason)
{
    jwt->reason = reason;

    return NGX_DECLINED;
}


ngx_str_t *
lines_jwt_reason(lines_jwt_reason_e reason)
{
    return &jwt_reasons[reason];
}
