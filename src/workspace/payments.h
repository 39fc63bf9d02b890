
/*
 * Line requests against payment: what the client sees of their operations.
 */

#ifndef _LINES_WORKSPACE_PAYMENTS_H_INCLUDED_
#define _LINES_WORKSPACE_PAYMENTS_H_INCLUDED_


#include "operation/client.h"
#include "store/calls.h"
#include "workspace/workspace.h"


/* a line as its client is told of it; a step's results */
ngx_int_t lines_read_line(lines_ctx_t *ctx, ngx_str_t *id,
    lines_line_read_pt done);

/*
 * A paid line was begun: its operation starts, and the client
 * gets 201 with the link, 402 where billing refused, 503 with the line where
 * the outcome is not known yet.  What id and begun say is of the request's
 * pool.
 */

ngx_int_t lines_pay(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *id,
    lines_op_begun_t *begun);

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
