
/*
 * Who may use the operator's API: the tokens of lines_admin's file, each with
 * a name and a role.
 */

#ifndef _LINES_ADMIN_OPERATORS_H_INCLUDED_
#define _LINES_ADMIN_OPERATORS_H_INCLUDED_


#include "http/context.h"


/*
 * Handler of token_file=: field becomes an array of operators.  A line of the
 * file is "NAME all|read TOKEN", or a token alone, of "operator", who may all;
 * what begins with # is a comment.  Tokens have 32 characters at least.
 */
char *lines_operators_read(ngx_conf_t *cf, ngx_str_t *file, void *field);

/*
 * The first step: 401 unless one of the tokens was sent, 403 where it may only
 * read and the request does more.  ctx->operator is set.
 */
lines_step_t  lines_admin_authorize;


#endif /* _LINES_ADMIN_OPERATORS_H_INCLUDED_ */
