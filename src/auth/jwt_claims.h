
/*
 * The second half of lines_jwt_verify(): what a signed payload says.
 * Nobody else includes this.
 */

#ifndef _LINES_AUTH_JWT_CLAIMS_H_INCLUDED_
#define _LINES_AUTH_JWT_CLAIMS_H_INCLUDED_


#include <jansson.h>

#include "auth/jwt.h"


ngx_int_t lines_jwt_check_claims(lines_jwt_t *jwt, json_t *claims,
    lines_jwt_options_t *options, int64_t now);


/* shared with the first half */

ngx_uint_t lines_jwt_equals(json_t *value, const char *text);
void lines_jwt_keep(lines_jwt_t *jwt, ngx_str_t *text, json_t *value);
ngx_int_t lines_jwt_refuse(lines_jwt_t *jwt, lines_jwt_reason_e reason);


#endif /* _LINES_AUTH_JWT_CLAIMS_H_INCLUDED_ */
