
/*
 * The key of a PEM file.
 */

#ifndef _LINES_AUTH_JWK_PEM_H_INCLUDED_
#define _LINES_AUTH_JWK_PEM_H_INCLUDED_


#include "auth/jwk.h"


/*
 * NGX_OK with what was found added or reported as skipped, NGX_DECLINED with
 * report->error set, NGX_ERROR without memory.
 */

ngx_int_t lines_jwk_read_pem(lines_jwk_builder_t *b, ngx_str_t *text);


#endif /* _LINES_AUTH_JWK_PEM_H_INCLUDED_ */
