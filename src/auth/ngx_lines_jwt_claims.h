
/*
 * The second half of ngx_lines_jwt_verify(): what a signed payload says.
 * Nobody else includes this.
 */

#ifndef _NGX_LINES_JWT_CLAIMS_H_INCLUDED_
#define _NGX_LINES_JWT_CLAIMS_H_INCLUDED_


#include <jansson.h>

#include "ngx_lines_jwt.h"


ngx_int_t ngx_lines_jwt_check_claims(ngx_lines_jwt_t *jwt, json_t *claims,
    ngx_lines_jwt_options_t *options, int64_t now);


/* shared with the first half */

ngx_uint_t ngx_lines_jwt_equals(json_t *value, const char *text);
void ngx_lines_jwt_keep(ngx_lines_jwt_t *jwt, ngx_str_t *text, json_t *value);
ngx_int_t ngx_lines_jwt_refuse(ngx_lines_jwt_t *jwt,
    ngx_lines_jwt_reason_e reason);


#endif /* _NGX_LINES_JWT_CLAIMS_H_INCLUDED_ */
