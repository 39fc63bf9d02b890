
/*
 * The calls of an operation: on its carrier, under a fresh lease.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/failpoint.h"
#include "operation/engine.h"


/* a lease this young (ms) outlasts any call */
#define LINES_FRESH  1000


static ngx_int_t op_call_prepare(lines_op_t *op);
static ngx_int_t op_call_send(lines_op_t *op);
static ngx_int_t op_call_claimed(lines_op_t *op, redisReply *reply);


ngx_int_t
lines_op_call(lines_op_t *op, lines_op_run_pt send, lines_op_answer_pt answer)
{
    if (op->lmcf->billing == NULL) {
        ngx_log_error(NGX_LOG_ERR, op->log, 0,
                      "lines operation %V: there is no lines_billing",
                      &op->id);
        return NGX_ERROR;
    }

    op->send = send;
    op->answer = answer;

    return op_call_prepare(op);
}


ngx_int_t
lines_op_call_other(lines_op_t *op, lines_op_run_pt send,
    lines_op_result_pt result)
{
    op->send = send;
    op->result = result;

    return op_call_prepare(op);
}


/* no call without a carrier, nor under a lease that it could outlast */

static ngx_int_t
op_call_prepare(lines_op_t *op)
{
    ngx_str_t  key, args[3];
    u_char     lease[NGX_INT64_LEN], fence[NGX_INT64_LEN];

    if (op->carrier == NULL) {
        op->carrier = lines_carrier_create(op->lmcf, &op->id, ngx_cycle->log);
        if (op->carrier == NULL) {
            return NGX_ERROR;
        }
    }

    if (ngx_current_msec - op->claimed < LINES_FRESH) {
        return op_call_send(op);
    }

    key = lines_op_key(op, "op:%V", &op->id);

    args[0] = key;
    args[1].data = lease;
    args[1].len = ngx_sprintf(lease, "%M", op->conf->lease) - lease;
    args[2].data = fence;
    args[2].len = ngx_sprintf(fence, "%ui", op->fence) - fence;

    lines_op_renewed(op);

    return lines_op_eval(op, &lines_script_op_claim, 1, 3, args,
                         op_call_claimed);
}


static ngx_int_t
op_call_claimed(lines_op_t *op, redisReply *reply)
{
    ngx_str_t  word;

    word = lines_reply_str(reply, 0);

    if (word.len != 7 || ngx_strncmp(word.data, "claimed", 7) != 0) {
        op->lost = 1;
        return NGX_DONE;
    }

    /* under the fence held, or a higher one: somebody was there meanwhile */

    if (reply->elements > 2) {
        ngx_uint_t  i;
        ngx_str_t   name, value;

        for (i = 2; i + 1 < reply->elements; i += 2) {
            name = lines_reply_str(reply, i);

            if (name.len != 5 || ngx_strncmp(name.data, "fence", 5) != 0) {
                continue;
            }

            value = lines_reply_str(reply, i + 1);

            if ((ngx_uint_t) ngx_atoi(value.data, value.len) != op->fence) {
                op->fence = ngx_atoi(value.data, value.len);
                return lines_op_claim(op);
            }
        }
    }

    return op_call_send(op);
}


static ngx_int_t
op_call_send(lines_op_t *op)
{
    LINES_FAILPOINT_STEP("op.call.before", &op->point);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: call of %V", &op->id, &op->point);

    return op->send(op);
}


void
lines_op_answered(void *data, lines_billing_result_t *result)
{
    lines_op_t  *op = data;

    LINES_FAILPOINT_STEP("op.answer", &op->point);

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: %V answered, outcome %ui, status %ui",
                   &op->id, &op->point, (ngx_uint_t) result->outcome,
                   result->status);

    if (result->outcome != LINES_STRIPE_OK) {
        ngx_log_error(NGX_LOG_INFO, op->log, 0,
                      "lines operation %V: %V: billing said %ui \"%V\" \"%V\","
                      " request \"%V\"", &op->id, &op->point, result->status,
                      &result->error.type, &result->error.code,
                      &result->request_id);
    }

    lines_op_post(op, op->answer(op, result));
}


void
lines_op_other_answered(void *data, lines_result_t *result)
{
    lines_op_t  *op = data;

    LINES_FAILPOINT_STEP("op.answer", &op->point);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: %V answered, status %ui", &op->id,
                   &op->point, result->status);

    lines_op_post(op, op->result(op, result));
}
