
/*
 * Who may use the operator's API: the tokens of lines_admin's file, each with
 * a name and a role.
 */

#ifndef _LINES_ADMIN_OPERATORS_H_INCLUDED_
#define _LINES_ADMIN_OPERATORS_H_INCLUDED_


#include "http/context.h"
#include "http/digest.h"


#define LINES_OPERATOR_NAME  64


typedef struct {
    ngx_str_t    name;
    ngx_uint_t   reads;    /* flag: it may not do more */
    u_char       digest[LINES_SHA256_LEN];    /* of the token */
} lines_operator_t;


/*
 * Handler of token_file=: field becomes an array of operators.  A line of the
 * file is "NAME all|read TOKEN", or a token alone, of "operator", who may all;
 * what begins with # is a comment.  Tokens have 32 characters at least.
 */
char *lines_operators_read(ngx_conf_t *cf, ngx_str_t *file, void *field);

/* of the location: whose token is in Authorization, or whose name that is; NULL:
   nobody's */
lines_operator_t *lines_operator_by_token(ngx_http_request_t *r);
lines_operator_t *lines_operator_by_name(ngx_http_request_t *r,
    ngx_str_t *name);


#endif /* _LINES_ADMIN_OPERATORS_H_INCLUDED_ */
