
#include "auth/jwt.h"
#include "http/digest.h"
#include "http/strict.h"
#include "http/text.h"

#include <openssl/err.h>


#define LINES_JWT_DEPTH       64
#define LINES_JWT_CONTAINERS  1024

/* Clerk's header member "cat" */
#define LINES_JWT_SESSION     "cl_B7d4PD111AAA"
#define LINES_JWT_ANY         "cl_I7d4PD111III"

/* what the subject of a machine's token starts with: it is no session */
#define LINES_JWT_MACHINE     "mch_"


#define LINES_JWT_WORD(name, word)  ngx_string(word),

static ngx_str_t  jwt_reasons[] = {
    LINES_JWT_REASONS(LINES_JWT_WORD)
};


static ngx_int_t
jwt_refuse(lines_jwt_t *jwt, lines_jwt_reason_e reason)
{
    jwt->reason = reason;

    return NGX_DECLINED;
}


static ngx_int_t
jwt_load(lines_jwt_t *jwt, ngx_str_t *part, lines_jwt_reason_e reason,
    json_t **object)
{
    ngx_int_t  rc;

    rc = lines_strict_json_object(part, LINES_JWT_DEPTH, LINES_JWT_CONTAINERS,
                                  object);

    return (rc == NGX_DECLINED) ? jwt_refuse(jwt, reason) : rc;
}


static ngx_uint_t
jwt_equals(json_t *value, const void *text)
{
    return json_is_string(value)
           && ngx_strcmp(json_string_value(value), text) == 0;
}


/*
 * A string is never longer than its JSON was.  Only the tenant's claim may be
 * kept a second time under another name, so room for two of each suffices,
 * beside the decoded parts.
 */

static void
jwt_keep(lines_jwt_t *jwt, ngx_str_t *text, json_t *value)
{
    if (json_is_string(value)) {
        text->len = json_string_length(value);
        text->data = jwt->buf;

        jwt->buf = ngx_cpymem(jwt->buf, json_string_value(value), text->len);
    }
}


/* jwk, jku, x5c, x5u: a token does not choose the key that it is judged by */

static ngx_int_t
jwt_check_header(lines_jwt_t *jwt, json_t *header)
{
    json_t  *value;

    value = json_object_get(header, "typ");

    if (value && !jwt_equals(value, "JWT")) {
        return jwt_refuse(jwt, LINES_JWT_BAD_TYPE);
    }

    if (!jwt_equals(json_object_get(header, "alg"), "RS256")) {
        return jwt_refuse(jwt, LINES_JWT_BAD_ALGORITHM);
    }

    if (json_object_get(header, "crit")) {
        return jwt_refuse(jwt, LINES_JWT_CRITICAL_HEADER);
    }

    value = json_object_get(header, "cat");

    if (value
        && !jwt_equals(value, LINES_JWT_SESSION)
        && !jwt_equals(value, LINES_JWT_ANY))
    {
        return jwt_refuse(jwt, LINES_JWT_BAD_CATEGORY);
    }

    jwt_keep(jwt, &jwt->kid, json_object_get(header, "kid"));

    return NGX_OK;
}


ngx_int_t
lines_jwt_parse(lines_jwt_t *jwt, ngx_str_t *token, u_char *buf)
{
    u_char      *p, *last, *dot;
    json_t      *object;
    ngx_int_t    rc;
    ngx_str_t    parts[3], encoded;
    ngx_uint_t   i;

    ngx_memzero(jwt, sizeof(lines_jwt_t));

    if (token->len == 0) {
        return jwt_refuse(jwt, LINES_JWT_MISSING);
    }

    if (token->len > LINES_JWT_MAX_LEN) {
        return jwt_refuse(jwt, LINES_JWT_TOO_LONG);
    }

    /* nothing is done about a token of which any part is no base64url */

    p = token->data;
    last = p + token->len;

    for (i = 0; i < 3; i++) {

        dot = (i < 2) ? ngx_strlchr(p, last, '.') : last;
        if (dot == NULL) {
            return jwt_refuse(jwt, LINES_JWT_MALFORMED);
        }

        encoded.data = p;
        encoded.len = dot - p;
        parts[i].data = buf;

        if (lines_base64url_decode(&parts[i], &encoded) != NGX_OK) {
            return jwt_refuse(jwt, LINES_JWT_MALFORMED);
        }

        buf += parts[i].len;
        p = dot + 1;
    }

    if (parts[0].len == 0 || parts[2].len == 0) {
        return jwt_refuse(jwt, LINES_JWT_MALFORMED);
    }

    jwt->signed_part.data = token->data;
    jwt->signed_part.len = encoded.data - 1 - token->data;
    jwt->payload = parts[1];
    jwt->signature = parts[2];
    jwt->buf = buf;

    rc = jwt_load(jwt, &parts[0], LINES_JWT_BAD_HEADER, &object);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = jwt_check_header(jwt, object);

    json_decref(object);

    return rc;
}


ngx_int_t
lines_jwt_key(lines_jwt_t *jwt, lines_jwk_set_t *set, lines_jwk_t **key)
{
    *key = lines_jwk_find(set, &jwt->kid);

    if (*key == NULL) {
        return jwt_refuse(jwt, jwt->kid.len ? LINES_JWT_UNKNOWN_KID
                                            : LINES_JWT_NO_KID);
    }

    return NGX_OK;
}


ngx_int_t
lines_jwt_verify(lines_jwt_t *jwt, lines_jwk_verifier_t *verifier,
    lines_jwt_options_t *options, int64_t now)
{
    u_char      digest[LINES_SHA256_LEN];
    json_t     *claims;
    ngx_int_t   rc;

    if (jwt->signature.len != verifier->signature_len) {
        return jwt_refuse(jwt, LINES_JWT_BAD_SIGNATURE);
    }

    if (lines_sha256(&jwt->signed_part, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    jwt->judged = 1;

    if (EVP_PKEY_verify(verifier->ctx, jwt->signature.data,
                        jwt->signature.len, digest, LINES_SHA256_LEN)
        != 1)
    {
        /* what stays in the queue would be logged by the next TLS call */
        ERR_clear_error();

        return jwt_refuse(jwt, LINES_JWT_BAD_SIGNATURE);
    }

    jwt->good = 1;

    rc = jwt_load(jwt, &jwt->payload, LINES_JWT_BAD_CLAIMS, &claims);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = lines_jwt_check_claims(jwt, claims, options, now);

    json_decref(claims);

    return rc;
}


/*
 * A claim that is absent counts as 0.  Fractions of a second are rounded
 * against the token.
 */

static ngx_int_t
jwt_check_times(lines_jwt_t *jwt, json_t *claims, int64_t leeway, int64_t now)
{
    double       value;
    json_t      *claim;
    int64_t      seconds[3];
    ngx_uint_t   i;

    static const char *const names[] = { "exp", "nbf", "iat" };

    for (i = 0; i < 3; i++) {

        seconds[i] = 0;

        claim = json_object_get(claims, names[i]);

        if (claim == NULL && i > 0) {
            continue;
        }

        value = json_number_value(claim);

        /* written so that not-a-number fails too */

        if (!json_is_number(claim)
            || !(value >= -LINES_JWT_MAX_TIME && value <= LINES_JWT_MAX_TIME))
        {
            return jwt_refuse(jwt, LINES_JWT_BAD_CLAIMS);
        }

        seconds[i] = (int64_t) value;

        if (i > 0 && (double) seconds[i] < value) {
            seconds[i]++;

        } else if (i == 0 && (double) seconds[i] > value) {
            seconds[i]--;
        }
    }

    if (seconds[0] * 1000 <= now - leeway) {
        return jwt_refuse(jwt, LINES_JWT_EXPIRED);
    }

    if (seconds[1] * 1000 > now + leeway) {
        return jwt_refuse(jwt, LINES_JWT_NOT_ACTIVE_YET);
    }

    if (seconds[2] * 1000 > now + leeway) {
        return jwt_refuse(jwt, LINES_JWT_ISSUED_IN_FUTURE);
    }

    jwt->exp = seconds[0];

    return NGX_OK;
}


/*
 * Where a member on the way is absent or null there is no tenant, which is how
 * a session without an organization looks.  Where something on the way is of
 * another type, nobody can say what is meant.
 */

static ngx_int_t
jwt_check_tenant(lines_jwt_t *jwt, json_t *claims, ngx_str_t *path)
{
    u_char            *p, *last, *dot;
    json_t            *value;
    static ngx_str_t   v1 = ngx_string("org_id");
    static ngx_str_t   v2 = ngx_string("o.id");

    if (path->len == 0) {
        value = json_object_get(claims, "v");

        path = (json_is_number(value) && json_number_value(value) == 2)
               ? &v2
               : &v1;
    }

    value = claims;
    last = path->data + path->len;

    for (p = path->data; p; p = dot ? dot + 1 : NULL) {

        if (!json_is_object(value)) {
            return jwt_refuse(jwt, LINES_JWT_BAD_TENANT);
        }

        dot = ngx_strlchr(p, last, '.');

        value = json_object_getn(value, (const char *) p,
                                 (dot ? dot : last) - p);

        if (value == NULL || json_is_null(value)) {
            return NGX_OK;
        }
    }

    jwt_keep(jwt, &jwt->tenant, value);

    return (lines_is_tenant(&jwt->tenant)
            && jwt->tenant.len <= LINES_JWT_MAX_TENANT)
           ? NGX_OK
           : jwt_refuse(jwt, LINES_JWT_BAD_TENANT);
}


ngx_int_t
lines_jwt_check_claims(lines_jwt_t *jwt, json_t *claims,
    lines_jwt_options_t *options, int64_t now)
{
    json_t      *value;
    ngx_int_t    rc;
    ngx_uint_t   i;

    value = json_object_get(claims, "sub");

    if (!lines_strict_json_clean(value)
        || ngx_strncmp(json_string_value(value), LINES_JWT_MACHINE,
                       sizeof(LINES_JWT_MACHINE) - 1)
           == 0)
    {
        return jwt_refuse(jwt, LINES_JWT_BAD_SUBJECT);
    }

    jwt_keep(jwt, &jwt->sub, value);

    if (options->issuer.len == 0
        || !jwt_equals(json_object_get(claims, "iss"), options->issuer.data))
    {
        return jwt_refuse(jwt, LINES_JWT_BAD_ISSUER);
    }

    value = json_object_get(claims, "azp");

    for (i = 0; i < options->nparties; i++) {
        if (jwt_equals(value, options->parties[i].data)) {
            break;
        }
    }

    if (options->nparties && i == options->nparties) {
        return jwt_refuse(jwt, LINES_JWT_BAD_PARTY);
    }

    rc = jwt_check_times(jwt, claims, options->leeway, now);

    if (rc != NGX_OK) {
        return rc;
    }

    if (jwt_equals(json_object_get(claims, "sts"), "pending")) {
        return jwt_refuse(jwt, LINES_JWT_SESSION_PENDING);
    }

    return jwt_check_tenant(jwt, claims, &options->tenant_claim);
}


ngx_str_t *
lines_jwt_reason(lines_jwt_reason_e reason)
{
    return &jwt_reasons[reason];
}
