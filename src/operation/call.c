
/*
 * The calls of an operation: on its carrier, under a fresh lease.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/failpoint.h"
#include "http/text.h"
#include "operation/engine.h"


/* a lease this young (ms) outlasts any call */
#define LINES_FRESH  1000


static ngx_int_t op_call_prepare(lines_op_t *op);
static ngx_int_t op_call_send(lines_op_t *op);
static ngx_int_t op_call_claimed(void *data, lines_op_claim_reply_t *reply);


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
    if (op->carrier == NULL) {
        op->carrier = lines_carrier_create(op->lmcf, &op->id, ngx_cycle->log);
        if (op->carrier == NULL) {
            return NGX_ERROR;
        }
    }

    if (ngx_current_msec - op->claimed < LINES_FRESH) {
        return op_call_send(op);
    }

    lines_op_renewed(op);

    return lines_op_claim(&op->caller, op_call_claimed, op,
                          .tenant = op->tenant, .id = op->id,
                          .lease = op->conf->lease, .fence = op->fence);
}


static ngx_int_t
op_call_claimed(void *data, lines_op_claim_reply_t *reply)
{
    lines_op_t  *op = data;

    ngx_int_t   fence;
    ngx_str_t  *field;
    ngx_uint_t  i;

    if (reply->is != LINES_OP_CLAIM_CLAIMED) {
        op->lost = 1;
        return NGX_DONE;
    }

    /* under the fence held, or a higher one: somebody was there meanwhile */

    field = reply->fields.elts;

    for (i = 0; i + 1 < reply->fields.n; i += 2) {

        if (!lines_is(&field[i], "fence")) {
            continue;
        }

        fence = ngx_atoi(field[i + 1].data, field[i + 1].len);

        if ((ngx_uint_t) fence != op->fence) {
            op->fence = fence;
            return lines_op_take(op);
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
