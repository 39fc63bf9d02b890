
/*
 * Clerk session tokens: RS256 only (RFC 7515, 7519, 8725), by the official
 * SDK's rules and stricter ones: the issuer must match; padding, "crit",
 * members that stand twice, non-finite and huge times, machine and template
 * tokens, pending sessions are refused.
 *
 *     ngx_lines_jwt_parse()    shape and header; believes nothing
 *     ngx_lines_jwt_key()      which key of the set claims to have signed it
 *     ngx_lines_jwt_verify()   signature, only then claims
 *
 * Each returns NGX_OK; NGX_DECLINED with jwt->reason, the token is refused;
 * or NGX_ERROR, it could not be judged (no memory).
 */

#ifndef _NGX_LINES_JWT_H_INCLUDED_
#define _NGX_LINES_JWT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lines_jwk.h"


#define NGX_LINES_JWT_MAX_LEN   16384

/* beyond it a JSON number is no exact integer (RFC 7493) */
#define NGX_LINES_JWT_MAX_TIME  9007199254740991.0


/* what the caller's buffer needs for a token of len bytes */
#define ngx_lines_jwt_room(len)  (2 * (len))


typedef enum {
    NGX_LINES_JWT_ACCEPTED = 0,
    NGX_LINES_JWT_MISSING,
    NGX_LINES_JWT_TOO_LONG,
    NGX_LINES_JWT_MALFORMED,            /* not three parts of base64url */
    NGX_LINES_JWT_BAD_HEADER,           /* not a JSON object */
    NGX_LINES_JWT_BAD_TYPE,
    NGX_LINES_JWT_BAD_CATEGORY,
    NGX_LINES_JWT_BAD_ALGORITHM,
    NGX_LINES_JWT_CRITICAL_HEADER,
    NGX_LINES_JWT_NO_KID,
    NGX_LINES_JWT_UNKNOWN_KID,
    NGX_LINES_JWT_NO_KEYS,              /* the issuer's keys are not known */
    NGX_LINES_JWT_BAD_SIGNATURE,
    NGX_LINES_JWT_BAD_CLAIMS,           /* not JSON, or of a wrong type */
    NGX_LINES_JWT_BAD_SUBJECT,
    NGX_LINES_JWT_BAD_ISSUER,
    NGX_LINES_JWT_BAD_PARTY,
    NGX_LINES_JWT_EXPIRED,
    NGX_LINES_JWT_NOT_ACTIVE_YET,
    NGX_LINES_JWT_ISSUED_IN_FUTURE,
    NGX_LINES_JWT_SESSION_PENDING,
    NGX_LINES_JWT_BAD_TENANT,
    NGX_LINES_JWT_COOKIE_REFUSED,       /* a write, and no parties set */
    NGX_LINES_JWT_NREASONS
} ngx_lines_jwt_reason_e;


typedef struct {
    ngx_str_t                issuer;          /* must equal iss */
    ngx_str_t               *parties;         /* azp must be one of them, */
    ngx_uint_t               nparties;        /*   unless there are none */
    int64_t                  leeway;          /* ms */
    ngx_str_t                tenant_claim;    /* path as "o.id"; empty: o.id
                                                 when v is 2, else org_id */
} ngx_lines_jwt_options_t;


/* all strings but the token's parts lie in the caller's buffer */

typedef struct {
    ngx_lines_jwt_reason_e   reason;

    ngx_str_t                signed_part;     /* header.payload */
    ngx_str_t                payload;         /* encoded */
    ngx_str_t                signature;       /* encoded */

    ngx_str_t                kid;             /* empty: none, or no string */

    /* believed only after ngx_lines_jwt_verify() */

    ngx_str_t                sub;
    ngx_str_t                sid;             /* empty: none */
    ngx_str_t                azp;             /* empty: none */
    ngx_str_t                tenant;          /* empty: no organization; else
                                                 [A-Za-z0-9_-]{1,64} */
    int64_t                  exp;             /* seconds; the token may be
                                                 believed before exp + leeway */

    u_char                  *buf;             /* the caller's, what is left */
} ngx_lines_jwt_t;


/*
 * buf has ngx_lines_jwt_room(token->len) bytes; both live as long as jwt.
 */

ngx_int_t ngx_lines_jwt_parse(ngx_lines_jwt_t *jwt, ngx_str_t *token,
    u_char *buf);


/*
 * Sets *key.  NGX_LINES_JWT_UNKNOWN_KID is the one refusal that newer keys
 * may cure.
 */

ngx_int_t ngx_lines_jwt_key(ngx_lines_jwt_t *jwt, ngx_lines_jwk_set_t *set,
    ngx_lines_jwk_t **key);


/* once for each parsed token; now is Unix time in ms */

ngx_int_t ngx_lines_jwt_verify(ngx_lines_jwt_t *jwt,
    ngx_lines_jwk_verifier_t *verifier, ngx_lines_jwt_options_t *options,
    int64_t now);


/* a stable short word for logs and variables: "token-expired" */

ngx_str_t *ngx_lines_jwt_reason(ngx_lines_jwt_reason_e reason);


/* whether text may be a tenant's id (it becomes part of Redis keys) */

ngx_uint_t ngx_lines_jwt_tenant_valid(ngx_str_t *text);


#endif /* _NGX_LINES_JWT_H_INCLUDED_ */
