
/*
 * $lines_tenant_plan: read from the tenant where some directive uses the
 * variable, and remembered by the worker for a few seconds.
 */

#ifndef _LINES_AUTH_TENANT_PLAN_H_INCLUDED_
#define _LINES_AUTH_TENANT_PLAN_H_INCLUDED_


#include "http/context.h"


/*
 * Sets ctx->identity.plan, for who is authenticated.  NGX_OK: done, with or
 * without a plan; NGX_AGAIN: Redis was asked, the reply ends the wait with
 * NGX_OK.
 */

ngx_int_t lines_tenant_plan(ngx_http_request_t *r, lines_ctx_t *ctx);


#endif /* _LINES_AUTH_TENANT_PLAN_H_INCLUDED_ */
