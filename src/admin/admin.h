
/*
 * The operator's API.  Only it takes the operator's token; nginx's own allow
 * and deny come before it.
 */

#ifndef _LINES_ADMIN_ADMIN_H_INCLUDED_
#define _LINES_ADMIN_ADMIN_H_INCLUDED_


#include "http/context.h"


/* steps that the endpoints share */

/*
 * 400 unless the path's first parameter may be an id: ctx->identity.tenant is
 * set where it is that of a workspace or account.
 */
ngx_int_t lines_admin_id(ngx_http_request_t *r, lines_ctx_t *ctx);

/*
 * The same of a line, an operation or a ticket, and whose it is: 404, or
 * ctx->identity.tenant is set.  The index was written before what it names.
 */
ngx_int_t lines_admin_owner(ngx_http_request_t *r, lines_ctx_t *ctx);

/* 404 unless that tenant exists and is not being deleted */
ngx_int_t lines_admin_tenant_exists(ngx_http_request_t *r, lines_ctx_t *ctx);

/* the request's tenant is found by the list of all, and by its customer, which
   may be empty: NGX_AGAIN, as asked */
ngx_int_t lines_admin_index(lines_ctx_t *ctx, ngx_str_t *customer);

/* of a key, by that or, of a pair, by its key_id: its SHA-256 in hex; NGX_ERROR
   without memory */
ngx_int_t lines_admin_key_id(ngx_http_request_t *r, ngx_str_t *id);

/* 404 of what the path names */
ngx_int_t lines_admin_unknown(lines_ctx_t *ctx);

/* 409 with text, in which %V is the state, and the state as that member */
ngx_int_t lines_admin_conflict(lines_ctx_t *ctx, const char *name,
    ngx_str_t *state, const char *text);

/*
 * Of the path's line: what its script may begin, to give money back, is written
 * down to be looked at, and named.  ends, a flag: so is the number of an
 * account's line.  NGX_AGAIN, as asked.
 */
ngx_int_t lines_admin_announce_refund(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *operation, ngx_uint_t ends);

/* it has ended: what was begun, or may have its place now, goes on, and its
   number is let go; each may be empty */
ngx_int_t lines_admin_ended(lines_ctx_t *ctx, ngx_str_t *operation,
    ngx_str_t *pending, ngx_str_t *number);


#endif /* _LINES_ADMIN_ADMIN_H_INCLUDED_ */
