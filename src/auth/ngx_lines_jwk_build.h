
/*
 * Between the readers of the two forms that keys come in and the set that
 * they fill.  Nobody else includes this.
 */

#ifndef _NGX_LINES_JWK_BUILD_H_INCLUDED_
#define _NGX_LINES_JWK_BUILD_H_INCLUDED_


#include "ngx_lines_jwk.h"


#define NGX_LINES_JWK_MAX_N  (NGX_LINES_JWK_MAX_BITS / 8)
#define NGX_LINES_JWK_MAX_E  8      /* OpenSSL's bound for long keys */

#define NGX_LINES_JWK_SLACK  3      /* leading zero octets are forgiven */


typedef struct {
    ngx_str_t                kid;   /* the reader's */
    ngx_str_t                n;     /* big-endian, no leading zero; at */
    ngx_str_t                e;     /* n_buf and e_buf */
    u_char                   n_buf[NGX_LINES_JWK_MAX_N + NGX_LINES_JWK_SLACK];
    u_char                   e_buf[NGX_LINES_JWK_MAX_E + NGX_LINES_JWK_SLACK];
} ngx_lines_jwk_candidate_t;


typedef struct {
    ngx_lines_jwk_set_t     *set;
    u_char                  *last;
    u_char                  *end;
    ngx_uint_t               total;     /* records, ambiguous ones too */
    ngx_lines_jwk_report_t  *report;
} ngx_lines_jwk_builder_t;


/*
 * The readers: NGX_OK with what they found added or reported as skipped,
 * NGX_DECLINED with report->error set, NGX_ERROR without memory.
 */

ngx_int_t ngx_lines_jwks_read(ngx_lines_jwk_builder_t *b, ngx_str_t *text);
ngx_int_t ngx_lines_jwk_read_pem(ngx_lines_jwk_builder_t *b, ngx_str_t *text);


/* NULL when the numbers are fit for RS256 or were added; else the reason */

const char *ngx_lines_jwk_check(ngx_str_t *n, ngx_str_t *e);
const char *ngx_lines_jwk_add(ngx_lines_jwk_builder_t *b,
    ngx_lines_jwk_candidate_t *candidate);


#endif /* _NGX_LINES_JWK_BUILD_H_INCLUDED_ */
