
/*
 * A set of keys from a JWKS document, or from a PEM file.
 */

#ifndef _LINES_AUTH_JWK_SET_H_INCLUDED_
#define _LINES_AUTH_JWK_SET_H_INCLUDED_


#include "auth/jwk.h"


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


#endif /* _LINES_AUTH_JWK_SET_H_INCLUDED_ */
