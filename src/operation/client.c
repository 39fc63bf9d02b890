
/*
 * A client waits for an operation and may leave at any time; the operation
 * does not notice.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/answer.h"
#include "http/steps.h"
#include "operation/client.h"


#define LINES_JOIN_DELAY  100


typedef struct {
    lines_op_waiter_t    waiter;
    ngx_http_request_t  *request;
    lines_ctx_t         *ctx;
    lines_main_conf_t   *lmcf;
    lines_op_t          *op;       /* NULL: not joined */
    ngx_str_t            tenant;
    ngx_str_t            id;
    lines_op_done_pt     done;
    ngx_uint_t           afresh;
    ngx_event_t          budget;
    ngx_event_t          join;     /* timer: another try */
    ngx_msec_t           start;
    unsigned             again:1;  /* it may have looked too early */
} lines_waiter_t;


static ngx_int_t waiter_join(lines_waiter_t *w);
static void waiter_wake(lines_op_waiter_t *waiter, lines_op_t *op,
    ngx_int_t rc);
static void waiter_join_handler(ngx_event_t *ev);
static void waiter_budget_handler(ngx_event_t *ev);
static void waiter_answer(lines_waiter_t *w, ngx_int_t rc, lines_op_t *op);
static void waiter_detach(lines_waiter_t *w);
static void waiter_cleanup(void *data);


ngx_int_t
lines_op_start(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *tenant,
    ngx_str_t *id, ngx_uint_t afresh, ngx_msec_t budget,
    lines_op_done_pt done)
{
    ngx_pool_cleanup_t  *cln;
    lines_waiter_t      *w;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(lines_waiter_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    w = cln->data;
    ngx_memzero(w, sizeof(lines_waiter_t));

    w->request = r;
    w->ctx = ctx;
    w->lmcf = lines_get_main_conf(r);
    w->waiter.wake = waiter_wake;
    w->afresh = afresh;
    w->done = done;
    w->start = ngx_current_msec;

    w->tenant.data = ngx_pstrdup(r->pool, tenant);
    w->id.data = ngx_pstrdup(r->pool, id);

    if (w->tenant.data == NULL || w->id.data == NULL) {
        return NGX_ERROR;
    }

    w->tenant.len = tenant->len;
    w->id.len = id->len;

    ctx->operation = w->id;

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

    ngx_add_timer(&w->budget, budget ? budget : w->lmcf->operation->budget);

    return NGX_AGAIN;
}


static ngx_int_t
waiter_join(lines_waiter_t *w)
{
    lines_op_t  *op;

    w->again = w->afresh
               && lines_op_find(w->lmcf->operation, &w->tenant, &w->id);

    op = lines_op_obtain(w->lmcf, &w->tenant, &w->id, NULL);
    if (op == NULL) {
        return NGX_ERROR;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, w->request->connection->log, 0,
                   "lines operation %V: a client waits", &w->id);

    w->op = op;

    ngx_queue_insert_tail(&op->waiters, &w->waiter.queue);

    return NGX_OK;
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
waiter_join_handler(ngx_event_t *ev)
{
    lines_waiter_t  *w = ev->data;

    if (waiter_join(w) != NGX_OK) {
        waiter_answer(w, NGX_ERROR, NULL);
    }
}


static void
waiter_budget_handler(ngx_event_t *ev)
{
    lines_waiter_t  *w = ev->data;

    lines_op_t  *op = w->op;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, w->request->connection->log, 0,
                   "lines operation %V: goes on without its client", &w->id);

    waiter_detach(w);

    if (op && op->kind) {
        waiter_answer(w, NGX_AGAIN, op);
        return;
    }

    waiter_answer(w, op ? NGX_ERROR : NGX_BUSY, NULL);
}


static void
waiter_answer(lines_waiter_t *w, ngx_int_t rc, lines_op_t *op)
{
    ngx_http_request_t  *r;
    lines_ctx_t         *ctx;

    r = w->request;
    ctx = w->ctx;

    waiter_cleanup(w);

    ctx->billing_time += ngx_current_msec - w->start;

    ngx_http_set_log_request(r->connection->log, r);

    rc = w->done(r, ctx, rc, op);

    lines_resume(r, ctx, rc);
}


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
