
/*
 * The one place that writes answers, and that ends a request with them.
 *
 * What a filter returns is for ngx_http_finalize_request() alone: NGX_AGAIN
 * says that the client takes its time, and nginx then goes on writing.  It
 * lives in ctx->rc, which nothing else reads, and never is a step's result.
 */

#include "http/answer.h"
#include "http/headers.h"
#include "http/router.h"
#include "http/text.h"


ngx_str_t  lines_json_type = ngx_string("application/json");

static ngx_str_t  no_store = ngx_string("no-store");
static ngx_str_t  nosniff = ngx_string("nosniff");


ngx_int_t
lines_answer(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t status,
    ngx_str_t *json)
{
    ngx_chain_t  out;

    if (lines_answer_buf(r, json, &out) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_answer_chain(r, ctx, status, &lines_json_type, &out,
                              json->len);
}


ngx_int_t
lines_answer_buf(ngx_http_request_t *r, ngx_str_t *json, ngx_chain_t *out)
{
    ngx_buf_t  *b;

    b = ngx_palloc(r->pool, sizeof(ngx_buf_t));
    if (b == NULL) {
        return NGX_ERROR;
    }

    *b = (ngx_buf_t) {
        .pos = json->data,
        .last = json->data + json->len,
        .memory = (json->len != 0),
        .last_buf = (r == r->main),
        .last_in_chain = 1
    };

    *out = (ngx_chain_t) { .buf = b };

    return NGX_OK;
}


/* NGX_OK: a body is to follow; NGX_DONE */

static ngx_int_t
answer_begin(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t status,
    ngx_str_t *type, off_t len)
{
    if (ctx->begun) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "lines: an answer is cut off, with %ui", status);
        ctx->rc = NGX_ERROR;
        return NGX_DONE;
    }

    if (ctx->answered) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "lines: answered twice, with %ui", status);
        return NGX_DONE;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines answer: %ui, %O bytes", status, len);

    ctx->answered = 1;
    ctx->rc = NGX_ERROR;

    /* who asks before it sends a body (Expect) must not send it in vain */

    if (status >= NGX_HTTP_BAD_REQUEST) {
        r->expect_tested = 1;
    }

    /* a body that nobody asked for yet; a no-op once it was read */

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        r->keepalive = 0;
    }

    r->headers_out.status = status;

    /* it is done already: no precondition can undo it */

    r->disable_not_modified = 1;

    if (lines_answer_headers(r, ctx, type, len) != NGX_OK) {
        return NGX_DONE;
    }

    ctx->rc = ngx_http_send_header(r);

    if (ctx->rc == NGX_ERROR || ctx->rc > NGX_OK || r->header_only) {
        return NGX_DONE;
    }

    return NGX_OK;
}


ngx_int_t
lines_answer_chain(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t status,
    ngx_str_t *type, ngx_chain_t *out, size_t len)
{
    if (answer_begin(r, ctx, status, type, len) != NGX_OK) {
        return NGX_DONE;
    }

    ctx->rc = ngx_http_output_filter(r, out);

    return NGX_DONE;
}


ngx_int_t
lines_not_modified(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  none = ngx_null_string;

    /* nginx' header filter knows that it has no body */

    (void) answer_begin(r, ctx, NGX_HTTP_NOT_MODIFIED, &none, -1);

    return NGX_DONE;
}


ngx_int_t
lines_begin(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t status,
    ngx_str_t *type)
{
    if (answer_begin(r, ctx, status, type, -1) != NGX_OK) {
        return NGX_DONE;
    }

    ctx->begun = 1;

    return NGX_OK;
}


/* as ngx_http_writer() does, which would end the request */

ngx_int_t
lines_part(ngx_http_request_t *r, ngx_chain_t *part)
{
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_core_loc_conf_t  *clcf;

    c = r->connection;
    wev = c->write;

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client timed out");
        c->timedout = 1;
        return NGX_ERROR;
    }

    if (part || !(wev->delayed || r->aio)) {

        if (ngx_http_output_filter(r, part) == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (!r->buffered && !r->postponed && !c->buffered) {

            if (wev->timer_set && !wev->delayed) {
                ngx_del_timer(wev);
            }

            return NGX_OK;
        }
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!wev->delayed) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    return ngx_handle_write_event(wev, clcf->send_lowat) == NGX_OK
           ? NGX_AGAIN
           : NGX_ERROR;
}


ngx_int_t
lines_end(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_chain_t *part)
{
    ctx->begun = 0;
    ctx->rc = ngx_http_output_filter(r, part);

    return NGX_DONE;
}


void
lines_finalize(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc)
{
    lines_caller_detach(&ctx->caller);

    if (ctx->on_answer) {
        ctx->on_answer(ctx->on_answer_data);
    }

    ngx_http_finalize_request(r, rc == NGX_DONE ? ctx->rc : rc);
}


ngx_int_t
lines_answer_headers(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *type,
    off_t len)
{
    ngx_str_t  parameters;

    /* "gzip_types" and the like name types without their parameters */

    parameters = *type;

    r->headers_out.content_length_n = len;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = lines_split(&parameters, ';').len;
    r->headers_out.content_type_lowcase = NULL;

    if (parameters.len) {
        ngx_str_set(&r->headers_out.charset, "utf-8");
    }

    if ((ctx->retry_after
         && lines_retry_after(r, ctx->retry_after) != NGX_OK)
        || lines_add_own(r, LINES_CACHE_CONTROL, &no_store) != NGX_OK
        || lines_add_own(r, LINES_NOSNIFF, &nosniff) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->retry_after = 0;

    return lines_add_own(r, LINES_X_REQUEST_ID, &ctx->request_id);
}


ngx_int_t
lines_error(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t status,
    const char *error, const char *message)
{
    ngx_str_t  json;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines error: %ui %s", status, message);

    if (ctx->api->error(r->pool, error, message, &json) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_answer(r, ctx, status, &json);
}


ngx_int_t
lines_unavailable(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t retry_after)
{
    ctx->retry_after = retry_after;

    return lines_error(r, ctx, NGX_HTTP_SERVICE_UNAVAILABLE, NULL,
                       "Service temporarily unavailable");
}


ngx_int_t
lines_unauthorized(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *challenge)
{
    if (challenge && lines_ask(r, challenge) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_error(r, ctx, NGX_HTTP_UNAUTHORIZED, NULL, "Unauthorized");
}
