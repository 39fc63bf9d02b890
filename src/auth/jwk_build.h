
/*
 * Between the readers of the two forms that keys come in and the set that
 * they fill.  Nobody else includes this.
 */

#ifndef _LINES_AUTH_JWK_BUILD_H_INCLUDED_
#define _LINES_AUTH_JWK_BUILD_H_INCLUDED_


#include "auth/jwk.h"


#define LINES_JWK_MAX_N  (LINES_JWK_MAX_BITS / 8)
#define LINES_JWK_MAX_E  8      /* OpenSSL's bound for long keys */

#define LINES_JWK_SLACK  3      /* leading zero octets are forgiven */


typedef struct {
    ngx_str_t  kid;   /* the reader's */
    ngx_str_t  n;     /* big-endian, no leading zero; at */
    ngx_str_t  e;     /* n_buf and e_buf */
    u_char     n_buf[LINES_JWK_MAX_N + LINES_JWK_SLACK];
    u_char     e_buf[LINES_JWK_MAX_E + LINES_JWK_SLACK];
} lines_jwk_candidate_t;


typedef struct {
    lines_jwk_set_t     *set;
    u_char              *last;
    u_char              *end;
    ngx_uint_t           total;    /* records, ambiguous ones too */
    lines_jwk_report_t  *report;
} lines_jwk_builder_t;


/*
 * The readers: NGX_OK with what they found added or reported as skipped,
 * NGX_DECLINED with report->error set, NGX_ERROR without memory.
 */

ngx_int_t lines_jwks_read(lines_jwk_builder_t *b, ngx_str_t *text);
ngx_int_t lines_jwk_read_pem(lines_jwk_builder_t *b, ngx_str_t *text);


/* NULL when the numbers are fit for RS256 or were added; else the reason */

const char *lines_jwk_check(ngx_str_t *n, ngx_str_t *e);
const char *lines_jwk_add(lines_jwk_builder_t *b,
    lines_jwk_candidate_t *candidate);


#endif /* _LINES_AUTH_JWK_BUILD_H_INCLUDED_ */
