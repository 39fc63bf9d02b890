
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/answer.h"
#include "http/command.h"
#include "http/steps.h"


static void request_resume(lines_caller_t *caller, ngx_int_t rc);
static ngx_int_t request_failed(lines_caller_t *caller);
static void request_heard(lines_caller_t *caller, lines_store_call_t *call,
    ngx_uint_t good);


void
lines_caller_of_request(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_caller_init(&ctx->caller, lines_get_main_conf(r)->redis, r->pool,
                      r->connection->log);

    ctx->caller.id = &ctx->request_id;
    ctx->caller.resume = request_resume;
    ctx->caller.failed = request_failed;
    ctx->caller.heard = request_heard;
}


static void
request_resume(lines_caller_t *caller, ngx_int_t rc)
{
    lines_ctx_t  *ctx;

    ctx = ngx_queue_data(caller, lines_ctx_t, caller);

    lines_resume(ctx->request, ctx, rc);
}


static ngx_int_t
request_failed(lines_caller_t *caller)
{
    lines_ctx_t  *ctx;

    ctx = ngx_queue_data(caller, lines_ctx_t, caller);

    return lines_unavailable(ctx->request, ctx, 1);
}


static void
request_heard(lines_caller_t *caller, lines_store_call_t *call, ngx_uint_t good)
{
    lines_ctx_t  *ctx;

    ctx = ngx_queue_data(caller, lines_ctx_t, caller);

    ngx_http_set_log_request(ctx->request->connection->log, ctx->request);
}
