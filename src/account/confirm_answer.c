
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "account/confirm.h"


#define LINES_PENDING_RETRY  2


static ngx_int_t confirm_answer(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *status, ngx_str_t *answer, int64_t until);
static ngx_int_t confirm_in_progress(ngx_http_request_t *r, lines_ctx_t *ctx);


ngx_int_t
lines_confirm_done(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc,
    lines_op_t *op)
{
    ngx_str_t         status, answer;
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines confirm: \"%V\" rc:%i step:\"%V\"", &confirm->id, rc,
                   op ? &op->step : &confirm->step);

    /* an answer is recorded when an undo begins, and holds once it is done */

    if (op && lines_is(&op->step, "done")) {
        status = lines_op_get(op, "answer_status");
        answer = lines_op_get(op, "answer");

        answer.data = ngx_pstrdup(r->pool, &answer);
        if (answer.data == NULL) {
            return NGX_ERROR;
        }

        return confirm_answer(r, ctx, &status, &answer, 0);
    }

    return confirm->replay
           ? confirm_in_progress(r, ctx)
           : lines_confirm_pending(r, ctx);
}


/* until: when waiting helps, milliseconds; 0: not said */

static ngx_int_t
confirm_answer(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *status,
    ngx_str_t *answer, int64_t until)
{
    int64_t           seconds;
    ngx_int_t         code;
    ngx_str_t         yes = ngx_string("true");
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    code = status->len ? ngx_atoi(status->data, status->len) : NGX_ERROR;

    if (code == NGX_ERROR || answer->len == 0) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "lines confirm: operation \"%V\" is done without an "
                      "answer", &confirm->id);
        return NGX_ERROR;
    }

    seconds = 0;

    if (until) {
        seconds = until > confirm->now
                  ? (until - confirm->now + 999) / 1000
                  : 1;

    } else if (code == NGX_HTTP_SERVICE_UNAVAILABLE) {
        seconds = 60;
    }

    if (seconds && lines_retry_after(r, seconds) != NGX_OK) {
        return NGX_ERROR;
    }

    if (confirm->replay
        && lines_add_header(r, "Idempotency-Replayed", &yes) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_answer(r, ctx, code, answer);
}


ngx_int_t
lines_confirm_replay(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    if (confirm->recorded_print.len != confirm->idem.fingerprint.len
        || ngx_strncmp(confirm->recorded_print.data,
                       confirm->idem.fingerprint.data,
                       confirm->recorded_print.len)
           != 0)
    {
        return lines_error(r, ctx, 422, NULL,
                          "This idempotency key was used for another request");
    }

    /* the same token: its operation has been read */

    confirm->replay = 1;
    ctx->operation = confirm->id;

    if (lines_is(&confirm->step, "done")) {
        return confirm_answer(r, ctx, &confirm->answer_status,
                              &confirm->answer, confirm->answer_until);
    }

    if (confirm->step.len == 0) {
        return lines_confirm_used(r, ctx);
    }

    /* in somebody's hands; else it goes on right here */

    if (confirm->lease_until > confirm->now) {
        return confirm_in_progress(r, ctx);
    }

    return lines_op_start(r, ctx, &ctx->identity.tenant, &confirm->id, 0, 0, 0,
                          lines_confirm_done);
}


ngx_int_t
lines_confirm_pending(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    if (lines_retry_after(r, LINES_PENDING_RETRY) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_answer_format(r, ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                 "{\"status\":\"ERROR\",\"error\":\"provisioning_pending\","
                 "\"message\":\"The outcome of the purchase is not known yet; "
                 "repeat the request with its Idempotency-Key, or look at the "
                 "account's lines.\",\"operation\":\"%V\"}", &confirm->id);
}


static ngx_int_t
confirm_in_progress(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    if (lines_retry_after(r, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_answer_format(r, ctx, NGX_HTTP_CONFLICT,
                "{\"status\":\"ERROR\",\"message\":\"A request with this "
                "idempotency key is still in progress\",\"operation\":\"%V\"}",
                &confirm->id);
}


ngx_int_t
lines_confirm_expired(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_error(r, ctx, 410, "token_expired",
                       "The preview_token has expired or was "
                       "already used; call preview again");
}


/* whoever lost an answer learns here what became of it */

ngx_int_t
lines_confirm_used(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    const char       *state;
    lines_confirm_t  *confirm;

    confirm = ctx->data;

    if (confirm->step.len && !lines_is(&confirm->step, "done")) {
        state = "pending";

        if (confirm->lease_until <= confirm->now) {
            (void) lines_op_spawn(lines_get_main_conf(r),
                                  &ctx->identity.tenant, &confirm->id, 0, 0);
        }

    } else {
        state = confirm->line ? "succeeded" : "failed";
    }

    return lines_answer_format(r, ctx, 410,
                      "{\"status\":\"ERROR\",\"error\":\"token_expired\","
                      "\"message\":\"The preview_token was already used; call "
                      "preview again\",\"operation\":\"%V\",\"state\":\"%s\"}",
                      &confirm->id, state);
}
