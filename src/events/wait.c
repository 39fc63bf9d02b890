
#include "events/wait.h"
#include "events/listeners.h"
#include "events/parked.h"
#include "http/etag.h"
#include "http/headers.h"
#include "http/router.h"
#include "http/steps.h"
#include "store/calls.h"


_Static_assert(LINES_LISTENERS_KNOWN > LINES_WAIT_MOST * 1000,
    "who waits is forgotten meanwhile");

/* where that cannot be written, nobody tells: it waits no longer than this */
#define LINES_WAIT_UNTOLD  1000

/* what each look leaves in the request's pool has a bound, too */
#define LINES_WAIT_LOOKS   32


struct lines_wait_s {
    lines_listener_t   listener;
    lines_ctx_t     *ctx;         /* NULL: it has left */
    lines_caller_t  *caller;      /* to the end: what it asks is in the pool */
    ngx_event_t      end;
    ngx_pool_t      *pool;        /* of the last look */
    ngx_msec_t       since;
    ngx_uint_t       looks;

    unsigned         idle:1;      /* nothing is under way */
    unsigned         news:1;      /* since the look that is */
    unsigned         last:1;      /* that look's is the answer */
    unsigned         counted:1;
};


static void
wait_leave(lines_wait_t *wait)
{
    if (wait->ctx == NULL) {
        return;
    }

    wait->ctx = NULL;

    lines_listeners_leave(&wait->listener);

    if (wait->end.timer_set) {
        ngx_del_timer(&wait->end);
    }

    if (wait->counted) {
        lines_parked_leave(LINES_PARKED_WAIT);
    }
}


static void
wait_cleanup(void *data)
{
    lines_wait_t  *wait = data;

    /* a client may leave while Redis is asked */

    lines_caller_detach(wait->caller);

    wait_leave(wait);

    ngx_destroy_pool(wait->pool);
}


static void
wait_wake(lines_listener_t *listener)
{
    lines_wait_t *wait = (lines_wait_t *) listener;

    lines_ctx_t  *ctx;

    listener->told = 0;
    wait->last |= (ngx_exiting != 0);

    if (!wait->idle) {
        wait->news = 1;
        return;
    }

    wait->idle = 0;

    ctx = wait->ctx;
    ctx->waited += ngx_current_msec - wait->since;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ctx->request->connection->log, 0,
                   "lines wait: line %V is looked at, last:%d", &listener->line,
                   wait->last);

    lines_again_from(ctx, lines_wait_renewed);
    lines_resume(ctx->request, ctx, NGX_OK);
}


static void
wait_end_handler(ngx_event_t *ev)
{
    lines_wait_t  *wait = ev->data;

    wait->last = 1;

    if (wait->idle) {
        wait_wake(&wait->listener);
    }
}


static ngx_int_t
wait_create(ngx_http_request_t *r, lines_ctx_t *ctx, lines_waiting_t *waiting)
{
    lines_wait_t        *wait;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(lines_wait_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    wait = cln->data;
    ngx_memzero(wait, sizeof(lines_wait_t));

    wait->pool = ngx_create_pool(NGX_MIN_POOL_SIZE, r->connection->log);
    if (wait->pool == NULL) {
        return NGX_ERROR;
    }

    wait->ctx = ctx;
    wait->caller = &ctx->caller;
    wait->listener.tenant = ctx->identity.tenant;
    wait->listener.key_id = ctx->identity.key_id;
    wait->listener.line = waiting->line;
    wait->listener.wake = wait_wake;

    wait->end.handler = wait_end_handler;
    wait->end.data = wait;
    wait->end.log = r->connection->log;

    lines_listeners_join(&wait->listener);
    ngx_add_timer(&wait->end, (ngx_msec_t) waiting->seconds * 1000);

    cln->handler = wait_cleanup;
    waiting->wait = wait;

    return NGX_OK;
}


/* a key may have been revoked meanwhile, a session have ended */

ngx_int_t
lines_wait_renewed(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_waiting_t  *waiting = ctx->data;

    ctx->caller.pool = r->pool;

    return waiting->wait ? ctx->route->first[0](r, ctx) : NGX_OK;
}


static ngx_int_t
wait_put(void *data, lines_wait_put_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    ngx_msec_t        left;
    lines_wait_t     *wait;
    lines_waiting_t  *waiting;

    waiting = ctx->data;
    wait = waiting->wait;

    if (reply == NULL && wait->end.timer_set) {
        left = wait->end.timer.key - ngx_current_msec;

        if ((ngx_msec_int_t) left > LINES_WAIT_UNTOLD) {
            ngx_add_timer(&wait->end, LINES_WAIT_UNTOLD);
        }
    }

    return NGX_OK;
}


/*
 * It hears of news before what there is is read.  What that leaves is gone with
 * the next look: nothing is to grow while it waits.
 */

ngx_int_t
lines_wait_begin(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    lines_wait_t     *wait;
    lines_waiting_t  *waiting = ctx->data;

    /* who knows of no state waits for none */

    if (waiting->seconds == 0 || r != r->main || !lines_etag_named(r)) {
        return NGX_OK;
    }

    if (waiting->wait == NULL && wait_create(r, ctx, waiting) != NGX_OK) {
        return NGX_ERROR;
    }

    wait = waiting->wait;
    wait->news = 0;

    ngx_reset_pool(wait->pool);
    ctx->caller.pool = wait->pool;

    rc = lines_try_wait_put(&ctx->caller, wait_put, ctx,
                            .tenant = wait->listener.tenant,
                            .ms = LINES_LISTENERS_KNOWN);

    return rc == NGX_DECLINED ? wait_put(ctx, NULL) : rc;
}


ngx_uint_t
lines_waited(lines_waiting_t *waiting)
{
    return waiting->wait && waiting->wait->looks;
}


/* NGX_DECLINED: it does not wait, or not any more; else a step's result */

static ngx_int_t
wait_park(ngx_http_request_t *r, lines_ctx_t *ctx, lines_wait_t *wait)
{
    ngx_int_t  rc;

    if (wait->last
        || ngx_exiting
        || ngx_quit
        || ngx_terminate
        || ++wait->looks > LINES_WAIT_LOOKS)
    {
        return NGX_DECLINED;
    }

    if (wait->news) {
        lines_again_from(ctx, lines_wait_renewed);
        return NGX_OK;
    }

    if (!wait->counted) {
        rc = lines_parked_take(r, ctx, LINES_PARKED_WAIT);

        if (rc != NGX_OK) {
            return rc;
        }

        wait->counted = 1;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines wait: line %V, look %ui", &wait->listener.line,
                   wait->looks);

    wait->idle = 1;
    wait->since = ngx_current_msec;

    return NGX_AGAIN;
}


ngx_int_t
lines_wait_answer(lines_ctx_t *ctx, const char *fmt, ...)
{
    va_list              args;
    ngx_int_t            rc;
    ngx_str_t            text, etag;
    lines_json_t         json;
    lines_wait_t        *wait;
    lines_waiting_t     *waiting = ctx->data;
    ngx_http_request_t  *r = ctx->request;

    wait = waiting->wait;

    ngx_memzero(&json, sizeof(lines_json_t));
    json.pool = wait ? wait->pool : r->pool;

    va_start(args, fmt);
    lines_json_write(&json, fmt, args);
    va_end(args);

    text.data = json.start;
    text.len = json.last - json.start;

    if (json.failed || lines_etag(json.pool, &text, &etag) != NGX_OK) {
        return NGX_ERROR;
    }

    if (r != r->main || !lines_etag_known(r, &etag)) {
        rc = NGX_DONE;

    } else {
        rc = wait ? wait_park(r, ctx, wait) : NGX_DECLINED;

        if (rc != NGX_DECLINED) {
            (void) ngx_pfree(json.pool, json.start);
            return rc;
        }
    }

    if (wait) {
        wait_leave(wait);

        if (ngx_exiting) {
            r->keepalive = 0;
        }
    }

    if (lines_add_header(r, "ETag", &etag) != NGX_OK) {
        return NGX_ERROR;
    }

    return rc == NGX_DECLINED ? lines_not_modified(r, ctx)
                              : lines_answer(r, ctx, NGX_HTTP_OK, &text);
}
