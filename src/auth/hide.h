
/*
 * hide_credentials= of lines_auth: what is good for asking here goes no further
 * than it has to.
 */

#ifndef _LINES_AUTH_HIDE_H_INCLUDED_
#define _LINES_AUTH_HIDE_H_INCLUDED_


#include "http/context.h"


/* which credentials the upstream does not see */

typedef enum {
    LINES_HIDE_KEYS = 0,
    LINES_HIDE_ALL,         /* session tokens as well */
    LINES_HIDE_NONE
} lines_hide_e;


/*
 * The credentials by which r may pass leave its headers, as hide says; without
 * memory NGX_ERROR.  Authentication still finds them (ctx->hidden), and so do
 * $http_* variables.  What another location hid is back, unless this one does.
 */
ngx_int_t lines_hide(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t hide);

/* one after another what is hidden of r and of who it is made for: *r and *i,
   which is 0 before the first, say how far it is; NULL: no more */
ngx_table_elt_t *lines_hidden(ngx_http_request_t **r, ngx_uint_t *i);


#endif /* _LINES_AUTH_HIDE_H_INCLUDED_ */
