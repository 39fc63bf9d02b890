
/*
 * How the dialects say "no".
 */

#ifndef _LINES_AUTH_DIALECT_H_INCLUDED_
#define _LINES_AUTH_DIALECT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* {"error":"message"[,"code":…]}: workspaces', and of the operator's APIs */
ngx_int_t lines_plain_error(ngx_pool_t *pool, const char *error,
    const char *message, ngx_str_t *json);

/* {"status":"ERROR"[,"error":…],"message":…}: accounts' */
ngx_int_t lines_account_error(ngx_pool_t *pool, const char *error,
    const char *message, ngx_str_t *json);


#endif /* _LINES_AUTH_DIALECT_H_INCLUDED_ */
