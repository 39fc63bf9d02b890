
#include "http/answer.h"
#include "http/router.h"
#include "http/steps.h"


#define LINES_FIRST  (sizeof(((lines_route_t *) 0)->first)                    \
                      / sizeof(lines_step_pt))


/*
 * A request that waits is told when its client leaves, also where that was
 * heard of together with the request, and comes to no event of its own.
 * NGX_ERROR where the connection cannot be watched.
 */

static ngx_int_t
watch_client(ngx_http_request_t *r)
{
    ngx_event_t  *rev;

    /* as limit_req does while it delays */

    rev = r->connection->read;

    r->read_event_handler = ngx_http_test_reading;

    /* of a body that was dropped: it would end what comes after this request */

    if (rev->timer_set) {
        ngx_del_timer(rev);
    }

    if (rev->ready) {
        ngx_post_event(rev, &ngx_posted_events);
        return NGX_OK;
    }

    return ngx_handle_read_event(rev, 0);
}


/* nginx drops what comes of a body, and after its end looks no more; where that
   failed, the request's end is posted */

static void
watch_discarded(ngx_http_request_t *r)
{
    ngx_http_discarded_request_body_handler(r);

    if (!r->discard_body) {
        (void) watch_client(r);
    }
}


void
lines_run(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc)
{
    lines_step_pt  step;

    while (rc == NGX_OK) {

        if (ctx->first < LINES_FIRST) {
            step = ctx->route->first[ctx->first++];
            rc = step ? step(r, ctx) : NGX_OK;
            continue;
        }

        step = *ctx->step++;

        if (step == NULL) {
            ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                          "lines: steps of \"%V\" ended without an answer",
                          &ctx->route->name);
            rc = NGX_ERROR;
            break;
        }

        rc = step(r, ctx);

        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "lines step: %V %ui: %i", &ctx->route->name,
                       (ngx_uint_t) (ctx->step - ctx->route->steps), rc);
    }

    if (rc == NGX_AGAIN) {

        /*
         * A client that leaves is not waited for.  What was begun on its
         * behalf is in Redis, or runs on a request of its own.  A body that
         * is read has a handler that sees it leave as well.
         */

        if (ctx->reading) {
            return;
        }

        if (r->discard_body) {
            r->read_event_handler = watch_discarded;
            return;
        }

        if (watch_client(r) == NGX_OK) {
            return;
        }

        rc = NGX_ERROR;
    }

    if (rc != NGX_DONE) {
        rc = r->header_sent
             ? NGX_ERROR
             : lines_error(r, ctx,
                           rc < NGX_HTTP_BAD_REQUEST
                           ? NGX_HTTP_INTERNAL_SERVER_ERROR
                           : (ngx_uint_t) rc, NULL, "Internal server error");
    }

    lines_finalize(r, ctx, rc);
}


void
lines_again_from(lines_ctx_t *ctx, lines_step_pt step)
{
    while (*--ctx->step != step) { /* void */ }
}


void
lines_resume(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (rc != NGX_AGAIN) {
        ctx->resume(r, ctx, rc);
    }

    ngx_http_run_posted_requests(c);
}


static void
phase_resume(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc)
{
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines phase: resumed with %i", rc);

    if (rc == NGX_OK) {
        r->read_event_handler = ngx_http_block_reading;
        r->write_event_handler = ngx_http_core_run_phases;

        ngx_http_core_run_phases(r);
        return;
    }

    lines_finalize(r, ctx, rc);
}


ngx_int_t
lines_phase_wait(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ctx->resume = phase_resume;

    if (watch_client(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_AGAIN;
}


ngx_int_t
lines_phase_done(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc)
{
    if (rc != NGX_DONE) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    lines_finalize(r, ctx, NGX_DONE);

    return NGX_DONE;
}


ngx_uint_t
lines_has_error_page(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_uint_t                 i;
    ngx_http_err_page_t       *page;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    page = clcf->error_pages ? clcf->error_pages->elts : NULL;

    for (i = 0; page && i < clcf->error_pages->nelts; i++) {
        if ((ngx_uint_t) page[i].status == status) {
            return 1;
        }
    }

    return 0;
}
