
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
 * $http_* variables.  A location that says otherwise has them back.
 */
ngx_int_t lines_hide(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t hide);
ngx_int_t lines_unhide(ngx_http_request_t *r, lines_ctx_t *ctx);


#endif /* _LINES_AUTH_HIDE_H_INCLUDED_ */
