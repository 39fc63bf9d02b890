
/*
 * Steps that ask Redis: what is asked and what is made of the reply stand
 * together; how the one is sent, and the other comes back to its request,
 * stands here.
 */

#ifndef _LINES_API_ASK_H_INCLUDED_
#define _LINES_API_ASK_H_INCLUDED_


#include "http/context.h"
#include "store/calls.h"


/*
 * A step, and the block behind it:
 *
 *     lines_asks(lines_admin_set_usage, report_t *report, line_usage,
 *                .tenant = ctx->identity.tenant, .id = ctx->params[0], …)
 *     {
 *         return reply->is == LINES_LINE_USAGE_UNKNOWN ? … : …;
 *     }
 *
 * The step sends a call of store/calls.h with these arguments.  When that is
 * answered the block has reply, and returns as a step does; without a good one
 * the request was answered with 503.  Both know r and ctx, and ctx->data as it
 * is declared there ("void *none": it is not looked at).
 */

#define lines_asks(step, own, call, ...)                                      \
    lines_reply_to_block(step##_reply, own, call)                             \
                                                                              \
    static ngx_int_t                                                          \
    step##_ask(ngx_http_request_t *r, lines_ctx_t *ctx, own)                  \
    {                                                                         \
        return lines_##call(&ctx->caller, step##_reply, ctx, __VA_ARGS__);    \
    }                                                                         \
                                                                              \
    ngx_int_t                                                                 \
    step(ngx_http_request_t *r, lines_ctx_t *ctx)                             \
    {                                                                         \
        return step##_ask(r, ctx, ctx->data);                                 \
    }                                                                         \
                                                                              \
    lines_reply_block(step##_reply, own, call)

/* the block alone, as the done() of a call with ctx for data that a step makes
   in its own way; of one that tries, reply may be NULL */

#define lines_answered(done, own, call)                                       \
    lines_reply_to_block(done, own, call)                                     \
    lines_reply_block(done, own, call)

/* no block: the next step comes, whatever the reply says */

#define lines_tells(step, call, ...)                                          \
    ngx_int_t                                                                 \
    step(ngx_http_request_t *r, lines_ctx_t *ctx)                             \
    {                                                                         \
        return lines_##call(&ctx->caller, NULL, NULL, __VA_ARGS__);           \
    }


/* what they are made of */

#define lines_reply_block(done, own, call)                                    \
    static ngx_int_t                                                          \
    done##_block(ngx_http_request_t *r, lines_ctx_t *ctx, own,                \
        lines_##call##_reply_t *reply)

#define lines_reply_to_block(done, own, call)                                 \
    lines_reply_block(done, own, call);                                       \
                                                                              \
    static ngx_int_t                                                          \
    done(void *data, lines_##call##_reply_t *reply)                           \
    {                                                                         \
        lines_ctx_t  *ctx = data;                                             \
                                                                              \
        return done##_block(ctx->request, ctx, ctx->data, reply);             \
    }


#endif /* _LINES_API_ASK_H_INCLUDED_ */
