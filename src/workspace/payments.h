
/*
 * Line requests against payment: what the client sees of their operations.
 */

#ifndef _LINES_WORKSPACE_PAYMENTS_H_INCLUDED_
#define _LINES_WORKSPACE_PAYMENTS_H_INCLUDED_


#include "operation/operation.h"
#include "workspace/workspace.h"


/* what line_read.lua says of a line; URL and INVOICE are JSON */

enum {
    LINES_READ_DOCUMENT = 0,
    LINES_READ_STATUS,
    LINES_READ_PAYMENT,
    LINES_READ_REQUIRED,      /* 0, 1 */
    LINES_READ_INTENT,
    LINES_READ_ATTEMPT,
    LINES_READ_URL,
    LINES_READ_INVOICE,
    LINES_READ_UNCLEAR        /* add-on, as of lapse_look() */
};

/* the tenant's line that the route's first parameter names */
ngx_int_t lines_line_read(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_reply_pt handler);

/*
 * A paid line was begun under this fence: its operation starts, and the client
 * gets 201 with the link, 402 where billing refused, 503 with the line where
 * the outcome is not known yet.  line is its document.
 */

ngx_int_t lines_pay(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *id,
    ngx_uint_t fence, ngx_str_t *line);

/*
 * A line that awaits payment blocks another request: where its invoice died it
 * is canceled, and again() is called; otherwise 409 with the line.
 */

ngx_int_t lines_blocked(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *id,
    ngx_uint_t reconcile, lines_step_pt again);

/*
 * A reader met a line that awaits payment: it is reconciled with billing, once
 * in a while over the whole fleet, and the reader waits for that not longer
 * than a second.  Then again() is called.
 */

ngx_int_t lines_reconcile(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *id, lines_step_pt again);


/* the actions of a line request; the id is the route's first parameter */

ngx_int_t lines_payment_link(ngx_http_request_t *r, lines_ctx_t *ctx);
ngx_int_t lines_cancel(ngx_http_request_t *r, lines_ctx_t *ctx);


#endif /* _LINES_WORKSPACE_PAYMENTS_H_INCLUDED_ */
