
/*
 * Why money goes back: a paid line failed, an active one was released, or
 * billing has what no line holds.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/refund.h"
#include "store/calls.h"


static ngx_int_t refund_line_done(lines_op_t *op);
static ngx_int_t release_line_done(lines_op_t *op);
static ngx_int_t refund_orphan_done(lines_op_t *op);
static ngx_int_t refund_end(lines_op_t *op, const char *payment,
    const char *event);
static ngx_int_t refund_ended(void *data, lines_refund_end_reply_t *reply);


ngx_int_t
lines_refund_line(lines_op_t *op)
{
    return lines_refund(op, refund_line_done);
}


ngx_int_t
lines_release_line(lines_op_t *op)
{
    return lines_unsubscribe(op, release_line_done);
}


ngx_int_t
lines_refund_orphan(lines_op_t *op)
{
    return lines_refund(op, refund_orphan_done);
}


static ngx_int_t
refund_line_done(lines_op_t *op)
{
    return refund_end(op, "refunded", "line.refunded");
}


static ngx_int_t
release_line_done(lines_op_t *op)
{
    return refund_end(op, "", "line.unsubscribed");
}


static ngx_int_t
refund_orphan_done(lines_op_t *op)
{
    return refund_end(op, "", "orphan.refunded");
}


static ngx_int_t
refund_end(lines_op_t *op, const char *payment, const char *event)
{
    lines_refund_end_args_t  args;

    lines_op_held(op, &args);

    args.line = lines_op_get(op, "line");
    args.payment.data = (u_char *) payment;
    args.payment.len = ngx_strlen(payment);
    args.subscription = lines_op_get(op, "subscription");
    args.name.data = (u_char *) event;
    args.name.len = ngx_strlen(event);

    return lines_send_refund_end(&op->caller, LINES_CALL, &args, refund_ended,
                                 op);
}


static ngx_int_t
refund_ended(void *data, lines_refund_end_reply_t *reply)
{
    ngx_str_t  done = ngx_string("done");

    return lines_op_enter(data, &done);
}
