
/*
 * One fetch of an issuer's keys, on a carrier: the client whose token needs
 * them may leave, and others wait for them.
 */

#ifndef _LINES_AUTH_JWKS_FETCH_H_INCLUDED_
#define _LINES_AUTH_JWKS_FETCH_H_INCLUDED_


#include "auth/jwks.h"


/*
 * What a fetch ends with; set NULL: it failed.  *changed, a flag: the set is
 * not the one known so far, or this is the first failure in a row.
 * NGX_DECLINED: it came too late, NGX_ERROR: the zone has no room.
 */

typedef ngx_int_t (*lines_jwks_fetched_pt)(lines_jwks_t *jwks,
    ngx_uint_t fetch, ngx_msec_t start, lines_jwk_set_t *set,
    ngx_uint_t *changed);

/* Ends in fetched(), later.  NGX_ERROR: it does not, nothing was begun. */

ngx_int_t lines_jwks_fetch(lines_jwks_t *jwks, ngx_uint_t number,
    lines_jwks_fetched_pt fetched);

/* one line for each key that is skipped */
void lines_jwks_report(ngx_log_t *log, ngx_uint_t level, ngx_str_t *source,
    lines_jwk_report_t *report);


#endif /* _LINES_AUTH_JWKS_FETCH_H_INCLUDED_ */
