
/*
 * The operator's API.  Only it takes the operator's token; nginx's own allow
 * and deny come before it.
 */

#ifndef _LINES_ADMIN_ADMIN_H_INCLUDED_
#define _LINES_ADMIN_ADMIN_H_INCLUDED_


#include "http/context.h"


/* lines_admin token_file=PATH */
char *lines_admin_token(ngx_conf_t *cf, lines_loc_conf_t *llcf);


/* steps that the endpoints share */

/* 401 unless the operator's token was sent */
ngx_int_t lines_admin_authorize(ngx_http_request_t *r, lines_ctx_t *ctx);

/*
 * 400 unless the first parameter is an id of a tenant; sets
 * ctx->identity.tenant to that of the workspace, or account.
 */
ngx_int_t lines_admin_workspace(ngx_http_request_t *r, lines_ctx_t *ctx);
ngx_int_t lines_admin_account(ngx_http_request_t *r, lines_ctx_t *ctx);

/* 404 unless that tenant exists, and is not being deleted */
ngx_int_t lines_admin_tenant_exists(ngx_http_request_t *r, lines_ctx_t *ctx);

/* that 404 */
ngx_int_t lines_admin_no_tenant(ngx_http_request_t *r, lines_ctx_t *ctx);


#endif /* _LINES_ADMIN_ADMIN_H_INCLUDED_ */
