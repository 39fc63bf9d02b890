
#ifndef _LINES_API_CLIENT_H_INCLUDED_
#define _LINES_API_CLIENT_H_INCLUDED_


#include "http/context.h"
#include "operation/operation.h"


/*
 * What a waiting client learns.  rc is
 *   NGX_OK        the operation is at rest, or done
 *   NGX_AGAIN     the budget is over; it goes on without the client
 *   NGX_BUSY      another process holds it, still at the end of the budget
 *   NGX_DECLINED  there is no such operation (any more)
 *   NGX_ERROR     Redis or billing cannot be asked now: 503
 * op (NULL for BUSY, DECLINED, ERROR) shows the record as far as it is known:
 * lines_op_get(op, "answer") and so on, until the handler
 * returns.  The result is that of a step of the request.
 */

typedef ngx_int_t (*lines_op_done_pt)(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc, lines_op_t *op);


/*
 * Starts, joins or waits for an operation of the request's tenant.  budget 0 is
 * the configured one.  afresh: the request has written a wish, or news; the
 * rest of a run that was under way before is no answer.  Returns NGX_AGAIN:
 * done is called later, once, unless the client leaves before, and the request
 * resumes with its result (without a done with the next step, whatever there
 * was to learn); or what lines_unavailable() returned.  The text of id is the
 * request's.
 */

ngx_int_t lines_op_start(lines_ctx_t *ctx, ngx_str_t *id, ngx_uint_t afresh,
    ngx_msec_t budget, lines_op_done_pt done);


/*
 * A line of which it is not known whether its add-on has ended was met: that is
 * read soon, by whom it concerns.  Nobody waits.
 */
void lines_lapse_look(ngx_http_request_t *r, ngx_str_t *tenant,
    ngx_str_t *line, ngx_str_t *subscription);


#endif /* _LINES_API_CLIENT_H_INCLUDED_ */
