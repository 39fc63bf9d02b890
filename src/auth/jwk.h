
/*
 * The keys of a token's issuer, from a JWKS document (RFC 7517) or a PEM file:
 * those that may verify RS256, everything else skipped with a reason.  A set
 * is one block without pointers, so it can be kept in shared memory.
 */

#ifndef _LINES_AUTH_JWK_H_INCLUDED_
#define _LINES_AUTH_JWK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/evp.h>


#define LINES_JWK_VERSION       3

#define LINES_JWK_MAX_DOCUMENT  (256 * 1024)
#define LINES_JWK_MAX_KEYS      512
#define LINES_JWK_MAX_KID       255

#define LINES_JWK_MIN_BITS      2048    /* RFC 7518, section 3.3 */
#define LINES_JWK_MAX_BITS      8192    /* bounds what one token costs */

#define LINES_JWK_MAX_REPORTED  16


/* room that a document's set needs at most */
#define lines_jwk_set_room(len) \
    (sizeof(lines_jwk_set_t) + sizeof(lines_jwk_t) + (len))


typedef struct {
    uint32_t     version;
    uint32_t     size;          /* of the whole block */
    uint32_t     nkeys;         /* usable ones */
    uint32_t     any_kid;       /* flag: from a PEM file, kid is ignored */
} lines_jwk_set_t;


/* one key inside a set; kid, n and e (in the machine's order of bytes, as
   OpenSSL's parameters are, none of them zeros in front) follow */

typedef struct {
    uint16_t     ordinal;       /* 0, 1, … among all keys of the set */
    uint16_t     ambiguous;     /* flag: its kid names two keys, use none */
    uint16_t     kid_len;
    uint16_t     n_len;
    uint16_t     e_len;
} lines_jwk_t;


typedef struct {
    ngx_uint_t   key;           /* position in the document, from 0 */
    const char  *reason;        /* short and stable: "weak", "other-use" */
} lines_jwk_skip_t;


typedef struct {
    const char       *error;      /* why the document as a whole is
                                     refused, empty if it is not */
    ngx_uint_t        skipped;    /* all; the first of them: */
    lines_jwk_skip_t  skips[LINES_JWK_MAX_REPORTED];
} lines_jwk_report_t;


/* an OpenSSL key made ready once; belongs to one process */

typedef struct {
    EVP_PKEY_CTX  *ctx;         /* PKCS#1 v1.5 with SHA-256, reused */
    size_t         signature_len;
} lines_jwk_verifier_t;


/*
 * Builds a set from text: a JWKS document when it starts with "{", else one
 * PEM block PUBLIC KEY.  buf is aligned for uint32_t and has room for
 * lines_jwk_set_room(text->len) bytes.
 * NGX_OK: *set is at buf, has at least one usable key, and set->size bytes of
 * it are to be kept.  NGX_DECLINED: report->error says why: keep the last
 * good set.  NGX_ERROR: no memory.  The report is filled in any case.
 */

ngx_int_t lines_jwk_parse(ngx_str_t *text, u_char *buf, lines_jwk_set_t **set,
    lines_jwk_report_t *report);

/* flag: text starts as a JWKS document */
ngx_uint_t lines_jwk_is_document(ngx_str_t *text);


/*
 * Whether size bytes at set (adopted from another process, say) hold a set of
 * this version whose records stay inside it.
 */

ngx_uint_t lines_jwk_set_valid(lines_jwk_set_t *set, size_t size);


/*
 * The usable key of that kid, or NULL; of a set from PEM its only key,
 * whatever kid says.
 */

lines_jwk_t *lines_jwk_find(lines_jwk_set_t *set, ngx_str_t *kid);


/* NGX_OK, or NGX_ERROR; what is made lasts until it is destroyed */

ngx_int_t lines_jwk_verifier_create(lines_jwk_verifier_t *verifier,
    lines_jwk_t *key);
void lines_jwk_verifier_destroy(lines_jwk_verifier_t *verifier);


#endif /* _LINES_AUTH_JWK_H_INCLUDED_ */
