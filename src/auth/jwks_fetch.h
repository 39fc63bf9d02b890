
/*
 * One fetch of an issuer's keys, on a carrier: the client whose token needs
 * them may leave, and others wait for them.
 */

#ifndef _LINES_AUTH_JWKS_FETCH_H_INCLUDED_
#define _LINES_AUTH_JWKS_FETCH_H_INCLUDED_


#include "auth/jwks.h"


/*
 * The fetch of that number, which was marked: what comes of it is written to
 * jwks->entry, and who waits for it is woken, later.  NGX_ERROR: it could not
 * be begun, and has failed.
 */

ngx_int_t lines_jwks_fetch(lines_jwks_t *jwks, ngx_uint_t number);

/* one line for each key that is skipped */
void lines_jwks_report(ngx_log_t *log, ngx_str_t *source,
    lines_jwk_report_t *report);


#endif /* _LINES_AUTH_JWKS_FETCH_H_INCLUDED_ */
