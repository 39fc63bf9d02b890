
/*
 * Clerk session tokens: RS256 only (RFC 7515, 7519, 8725), by the official
 * SDK's rules and stricter ones: the issuer must match; padding, "crit",
 * members that stand twice, non-finite and huge times, machine and template
 * tokens, pending sessions are refused.
 *
 *     lines_jwt_parse()    shape and header; believes nothing
 *     lines_jwt_key()      which key of the set claims to have signed it
 *     lines_jwt_verify()   signature, only then claims
 *
 * Each returns NGX_OK; NGX_DECLINED with jwt->reason, the token is refused;
 * or NGX_ERROR, it could not be judged (no memory).
 */

#ifndef _LINES_AUTH_JWT_H_INCLUDED_
#define _LINES_AUTH_JWT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>

#include "auth/jwk.h"


#define LINES_JWT_MAX_LEN     16384
#define LINES_JWT_MAX_TENANT  64

/* beyond it a JSON number is no exact integer (RFC 7493) */
#define LINES_JWT_MAX_TIME    9007199254740991.0


/* what the caller's buffer needs for a token of len bytes */
#define lines_jwt_room(len)  (3 * (len))


/* why a token is refused, and the word for it */

#define LINES_JWT_REASONS(X)                                                \
    X(ACCEPTED, "accepted")                                                 \
    X(MISSING, "token-missing")                                             \
    X(TOO_LONG, "token-too-long")                                           \
    X(MALFORMED, "token-malformed")      /* not three parts of base64url */ \
    X(BAD_HEADER, "token-invalid-header")              /* no JSON object */ \
    X(BAD_TYPE, "token-invalid-type")                                       \
    X(BAD_CATEGORY, "token-invalid-category")                               \
    X(BAD_ALGORITHM, "token-invalid-algorithm")                             \
    X(CRITICAL_HEADER, "token-critical-header")                             \
    X(NO_KID, "kid-missing")                                                \
    X(UNKNOWN_KID, "kid-unknown")                                           \
    X(NO_KEYS, "keys-unavailable")     /* the issuer's are not known */     \
    X(BAD_SIGNATURE, "token-invalid-signature")                             \
    X(BAD_CLAIMS, "token-invalid-claims")  /* not JSON, or a wrong type */  \
    X(BAD_SUBJECT, "token-invalid-subject")                                 \
    X(BAD_ISSUER, "token-invalid-issuer")                                   \
    X(BAD_PARTY, "token-invalid-party")                                     \
    X(EXPIRED, "token-expired")                                             \
    X(NOT_ACTIVE_YET, "token-not-active-yet")                               \
    X(ISSUED_IN_FUTURE, "token-issued-in-future")                           \
    X(SESSION_PENDING, "session-pending")                                   \
    X(BAD_TENANT, "tenant-malformed")                                       \
    X(COOKIE_REFUSED, "cookie-refused")    /* from which site? */           \
    X(TOO_MANY, "too-many-failures")       /* of the client's address */

#define LINES_JWT_ENUM(name, word)  LINES_JWT_##name,

typedef enum {
    LINES_JWT_REASONS(LINES_JWT_ENUM)
    LINES_JWT_NREASONS
} lines_jwt_reason_e;


/* strings end with a zero */

typedef struct {
    ngx_str_t   issuer;          /* must equal iss */
    ngx_str_t  *parties;         /* azp must be one of them, */
    ngx_uint_t  nparties;        /*   unless there are none */
    int64_t     leeway;          /* ms */
    ngx_str_t   tenant_claim;    /* path as "o.id"; empty: o.id
                                    when v is 2, else org_id */
} lines_jwt_options_t;


/* all strings but the signed part lie in the caller's buffer */

typedef struct {
    lines_jwt_reason_e  reason;

    ngx_str_t           signed_part;    /* header.payload */
    ngx_str_t           payload;        /* decoded */
    ngx_str_t           signature;      /* decoded */

    ngx_str_t           kid;            /* empty: none, or no string */

    /* believed only after lines_jwt_verify() */

    ngx_str_t           sub;
    ngx_str_t           tenant;         /* empty: no organization; else
                                           [A-Za-z0-9_-]{1,64} */
    int64_t             exp;            /* seconds; the token may be
                                           believed before exp + leeway */

    /* by lines_jwt_verify(): */
    unsigned            judged:1;       /* the signature was computed, */
    unsigned            good:1;         /* and is the issuer's */

    u_char             *buf;            /* the caller's, what is left */
} lines_jwt_t;


/*
 * buf has lines_jwt_room(token->len) bytes; both live as long as jwt.
 */

ngx_int_t lines_jwt_parse(lines_jwt_t *jwt, ngx_str_t *token, u_char *buf);


/*
 * Sets *key.  LINES_JWT_UNKNOWN_KID is the one refusal that newer keys
 * may cure.
 */

ngx_int_t lines_jwt_key(lines_jwt_t *jwt, lines_jwk_set_t *set,
    lines_jwk_t **key);


/* once for each parsed token; now is Unix time in ms */

ngx_int_t lines_jwt_verify(lines_jwt_t *jwt, lines_jwk_verifier_t *verifier,
    lines_jwt_options_t *options, int64_t now);


/* its second half: what a payload says whose signature was good */

ngx_int_t lines_jwt_check_claims(lines_jwt_t *jwt, json_t *claims,
    lines_jwt_options_t *options, int64_t now);


/* a stable short word for logs and variables: "token-expired" */

ngx_str_t *lines_jwt_reason(lines_jwt_reason_e reason);


#endif /* _LINES_AUTH_JWT_H_INCLUDED_ */
