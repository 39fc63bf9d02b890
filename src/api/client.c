
/*
 * A client waits for an operation and may leave at any time; the operation
 * does not notice.  Or it has met a line that one is to be begun for.
 */

#include "http/answer.h"
#include "http/steps.h"
#include "api/client.h"


#define LINES_JOIN_DELAY  100


typedef struct {
    lines_op_waiter_t    waiter;
    lines_ctx_t         *ctx;
    lines_op_t          *op;       /* NULL: not joined */
    ngx_str_t            id;
    lines_op_done_pt     done;
    ngx_uint_t           afresh;
    ngx_event_t          budget;
    ngx_event_t          join;     /* timer: another try */
    ngx_msec_t           start;
    unsigned             again:1;  /* it may have looked too early */
} lines_waiter_t;


static void
waiter_detach(lines_waiter_t *w)
{
    if (w->op) {
        ngx_queue_remove(&w->waiter.queue);
        w->op = NULL;
    }

    if (w->join.timer_set) {
        ngx_del_timer(&w->join);
    }
}


static void
waiter_cleanup(void *data)
{
    lines_waiter_t  *w = data;

    waiter_detach(w);

    if (w->budget.timer_set) {
        ngx_del_timer(&w->budget);
    }
}


static void
waiter_answer(lines_waiter_t *w, ngx_int_t rc, lines_op_t *op)
{
    lines_ctx_t         *ctx = w->ctx;
    ngx_http_request_t  *r = ctx->request;

    waiter_cleanup(w);

    ctx->billing_time += ngx_current_msec - w->start;

    ngx_http_set_log_request(r->connection->log, r);

    lines_resume(r, ctx, w->done ? w->done(r, ctx, rc, op) : NGX_OK);
}


static void
waiter_wake(lines_op_waiter_t *waiter, lines_op_t *op, ngx_int_t rc)
{
    lines_waiter_t  *w = (lines_waiter_t *) waiter;

    waiter_detach(w);

    if (op->unknown) {
        waiter_answer(w, NGX_DECLINED, NULL);

    } else if (op->lost || (w->again && !op->ended)) {
        ngx_add_timer(&w->join, op->lost ? LINES_JOIN_DELAY : 1);

    } else if (rc == NGX_DONE && op->kind) {
        waiter_answer(w, NGX_OK, op);

    } else {
        waiter_answer(w, NGX_ERROR, NULL);
    }
}


static void
waiter_budget_handler(ngx_event_t *ev)
{
    lines_waiter_t  *w = ev->data;

    lines_op_t  *op = w->op;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "lines operation %V: goes on without its client", &w->id);

    waiter_detach(w);

    if (op && op->kind) {
        waiter_answer(w, NGX_AGAIN, op);
        return;
    }

    waiter_answer(w, op ? NGX_ERROR : NGX_BUSY, NULL);
}


static ngx_int_t
waiter_join(lines_waiter_t *w)
{
    ngx_str_t          *tenant = &w->ctx->identity.tenant;
    lines_main_conf_t  *lmcf = lines_get_main_conf(w->ctx->request);

    w->again = w->afresh && lines_op_find(lmcf->operation, tenant, &w->id);

    w->op = lines_op_obtain(lmcf, tenant, &w->id, NULL);
    if (w->op == NULL) {
        return NGX_ERROR;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, w->join.log, 0,
                   "lines operation %V: a client waits", &w->id);

    ngx_queue_insert_tail(&w->op->waiters, &w->waiter.queue);

    return NGX_OK;
}


static void
waiter_join_handler(ngx_event_t *ev)
{
    lines_waiter_t  *w = ev->data;

    if (waiter_join(w) != NGX_OK) {
        waiter_answer(w, NGX_ERROR, NULL);
    }
}


ngx_int_t
lines_op_start(lines_ctx_t *ctx, ngx_str_t *id, ngx_uint_t afresh,
    ngx_msec_t budget, lines_op_done_pt done)
{
    lines_waiter_t      *w;
    ngx_pool_cleanup_t  *cln;
    ngx_http_request_t  *r = ctx->request;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(lines_waiter_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    w = cln->data;
    ngx_memzero(w, sizeof(lines_waiter_t));

    w->ctx = ctx;
    w->waiter.wake = waiter_wake;
    w->id = *id;
    w->afresh = afresh;
    w->done = done;
    w->start = ngx_current_msec;

    ctx->operation = *id;

    w->budget.handler = waiter_budget_handler;
    w->budget.data = w;
    w->budget.log = r->connection->log;

    w->join.handler = waiter_join_handler;
    w->join.data = w;
    w->join.log = r->connection->log;

    if (waiter_join(w) != NGX_OK) {
        return lines_unavailable(r, ctx, 1);
    }

    cln->handler = waiter_cleanup;

    ngx_add_timer(&w->budget, budget ? budget
                              : lines_get_main_conf(r)->operation->budget);

    return NGX_AGAIN;
}


/*
 * As for an event, but no news: see lapse_begin.lua.  The hint is first, and
 * dropped where nothing came of it.
 */

void
lines_lapse_look(ngx_http_request_t *r, ngx_str_t *tenant, ngx_str_t *line,
    ngx_str_t *subscription)
{
    ngx_str_t        id;
    lines_caller_t  *caller;

    if (lines_get_main_conf(r)->billing == NULL
        || lines_derive_id(r->pool, "lapse:", subscription, &id) != NGX_OK)
    {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines: subscription \"%V\" of \"%V\" is to be read",
                   subscription, tenant);

    caller = &lines_get_ctx(r)->caller;

    /* due when there is something to be found */

    if (lines_forget_ix_put(caller, .id = id, .tenant = *tenant) == NGX_OK
        && lines_forget_due_ensure(caller, .shard = lines_due_shard(&id),
                                   .tenant = *tenant, .id = id,
                                   .delay = 1000) == NGX_OK)
    {
        (void) lines_forget_lapse_begin(caller, .tenant = *tenant, .id = id,
                                        .line = *line,
                                        .subscription = *subscription,
                                        .news = 0);
    }
}
