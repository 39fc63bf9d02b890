
/*
 * Why money goes back: a paid line failed, an active one was released, or
 * billing has what no line holds.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/refund.h"
#include "store/scripts.h"


static ngx_int_t refund_line_done(lines_op_t *op);
static ngx_int_t release_line_done(lines_op_t *op);
static ngx_int_t refund_orphan_done(lines_op_t *op);
static ngx_int_t refund_end(lines_op_t *op, const char *payment,
    const char *event);
static ngx_int_t refund_ended(lines_op_t *op, redisReply *reply);


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
    ngx_str_t  args[4 + 7], line;

    line = lines_op_get(op, "line");

    args[0] = lines_op_key(op, "op:%V", &op->id);
    args[1] = lines_op_key(op, "ops");
    args[2] = lines_op_key(op, "line:%V", &line);
    args[3] = lines_op_key(op, "ev");

    if (lines_op_guard(op, &args[4]) != NGX_OK) {
        return NGX_ERROR;
    }

    args[7] = op->id;
    args[8].data = (u_char *) payment;
    args[8].len = ngx_strlen(payment);
    args[9] = lines_op_get(op, "subscription");
    args[10].data = (u_char *) event;
    args[10].len = ngx_strlen(event);

    return lines_op_eval(op, &lines_script_refund_end, 4, 11, args,
                         refund_ended);
}


static ngx_int_t
refund_ended(lines_op_t *op, redisReply *reply)
{
    ngx_str_t  done = ngx_string("done");

    return lines_op_enter(op, &done);
}
