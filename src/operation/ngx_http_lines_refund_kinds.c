
/*
 * Why money goes back: a paid line failed, an active one was released, or
 * billing has what no line holds.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_refund.h"
#include "ngx_lines_scripts.h"


static ngx_int_t ngx_http_lines_refund_line_done(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_release_line_done(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_refund_orphan_done(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_refund_end(ngx_http_lines_operation_t *op,
    const char *payment, const char *event);
static ngx_int_t ngx_http_lines_refund_ended(ngx_http_lines_operation_t *op,
    redisReply *reply);


ngx_int_t
ngx_http_lines_refund_line(ngx_http_lines_operation_t *op)
{
    return ngx_http_lines_refund(op, ngx_http_lines_refund_line_done);
}


ngx_int_t
ngx_http_lines_release_line(ngx_http_lines_operation_t *op)
{
    return ngx_http_lines_unsubscribe(op, ngx_http_lines_release_line_done);
}


ngx_int_t
ngx_http_lines_refund_orphan(ngx_http_lines_operation_t *op)
{
    return ngx_http_lines_refund(op, ngx_http_lines_refund_orphan_done);
}


static ngx_int_t
ngx_http_lines_refund_line_done(ngx_http_lines_operation_t *op)
{
    return ngx_http_lines_refund_end(op, "refunded", "line.refunded");
}


static ngx_int_t
ngx_http_lines_release_line_done(ngx_http_lines_operation_t *op)
{
    return ngx_http_lines_refund_end(op, "", "line.unsubscribed");
}


static ngx_int_t
ngx_http_lines_refund_orphan_done(ngx_http_lines_operation_t *op)
{
    return ngx_http_lines_refund_end(op, "", "orphan.refunded");
}


static ngx_int_t
ngx_http_lines_refund_end(ngx_http_lines_operation_t *op,
    const char *payment, const char *event)
{
    ngx_str_t  args[4 + 7], line;

    line = ngx_http_lines_operation_get(op, "line");

    args[0] = ngx_http_lines_operation_key(op, "op:%V", &op->id);
    args[1] = ngx_http_lines_operation_key(op, "ops");
    args[2] = ngx_http_lines_operation_key(op, "line:%V", &line);
    args[3] = ngx_http_lines_operation_key(op, "ev");

    if (ngx_http_lines_operation_guard(op, &args[4]) != NGX_OK) {
        return NGX_ERROR;
    }

    args[7] = op->id;
    args[8].data = (u_char *) payment;
    args[8].len = ngx_strlen(payment);
    args[9] = ngx_http_lines_operation_get(op, "subscription");
    args[10].data = (u_char *) event;
    args[10].len = ngx_strlen(event);

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_refund_end, 4,
                                         11, args,
                                         ngx_http_lines_refund_ended);
}


static ngx_int_t
ngx_http_lines_refund_ended(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    ngx_str_t  done = ngx_string("done");

    return ngx_http_lines_operation_enter(op, &done);
}
