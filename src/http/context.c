
#include "http/answer.h"
#include "http/context.h"
#include "http/failpoint.h"
#include "http/headers.h"
#include "http/steps.h"


#define LINES_REQUEST_ID_MAX  128


static void
ctx_cleanup(void *data)
{
    lines_ctx_t  *ctx = data;

    lines_caller_detach(&ctx->caller);
}


lines_ctx_t *
lines_find_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;
    lines_ctx_t         *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_lines_module);

    if (ctx != NULL || (!r->internal && !r->filter_finalize)) {
        return ctx;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler != ctx_cleanup) {
            continue;
        }

        ctx = cln->data;

        /* subrequests share the pool */

        if (ctx->request == r) {
            ngx_http_set_ctx(r, ctx, ngx_http_lines_module);

            /* nginx forgets where another answer begins: an error_page, a
               post_action, what a filter says instead of ours */

            ctx->answered = 0;
            ctx->refused_with = 0;
            ctx->untold = 0;

            return ctx;
        }
    }

    return NULL;
}


/* the request as a caller of the store (store/caller.h) */

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


/* what only reads is no step: after it all is as it was */

static void
request_sending(lines_caller_t *caller, lines_store_call_t *call)
{
    if (!(call->script ? call->script->again : call->again)) {
        LINES_FAILPOINT_STEP("request.before", &call->name);
    }
}


static void
request_heard(lines_caller_t *caller, lines_store_call_t *call, ngx_uint_t good)
{
    lines_ctx_t  *ctx;

    ctx = ngx_queue_data(caller, lines_ctx_t, caller);

    if (good && !(call->script ? call->script->again : call->again)) {
        LINES_FAILPOINT_STEP("request.after", &call->name);
    }

    ngx_http_set_log_request(ctx->request->connection->log, ctx->request);
}


/* the client's X-Request-Id where it is well formed, else one of our own */

static ngx_int_t
request_id_get(ngx_http_request_t *r, ngx_str_t *id)
{
    size_t            i;
    u_char           *p;
    uint32_t          words[4];
    ngx_table_elt_t  *h;

    static const char  allowed[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:";

    h = lines_find_header(r, "x-request-id");

    if (h
        && h->value.len
        && h->value.len <= LINES_REQUEST_ID_MAX
        && strspn((char *) h->value.data, allowed) == h->value.len)
    {
        *id = h->value;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, 2 * sizeof(words));
    if (p == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < 4; i++) {
        words[i] = (uint32_t) ngx_random();
    }

    ngx_hex_dump(p, (u_char *) words, sizeof(words));

    id->data = p;
    id->len = 2 * sizeof(words);

    return NGX_OK;
}


lines_ctx_t *
lines_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;
    lines_ctx_t         *ctx;

    ctx = lines_find_ctx(r);

    if (ctx) {
        return ctx;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(lines_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(lines_ctx_t));

    ctx->request = r;
    ctx->rc = NGX_ERROR;

    lines_caller_init(&ctx->caller, lines_get_main_conf(r)->redis, r->pool,
                      r->connection->log);

    ctx->caller.id = &ctx->request_id;
    ctx->caller.resume = request_resume;
    ctx->caller.failed = request_failed;
    ctx->caller.sending = request_sending;
    ctx->caller.heard = request_heard;

    if (request_id_get(r, &ctx->request_id) != NGX_OK) {
        return NULL;
    }

    cln->handler = ctx_cleanup;
    ngx_http_set_ctx(r, ctx, ngx_http_lines_module);

    return ctx;
}
