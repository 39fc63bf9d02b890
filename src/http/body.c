
/*
 * Bodies.  They are read unbuffered, so that a limit of ours holds for chunked
 * bodies too, answers come in the location's dialect, and nothing is ever
 * written to a temporary file.
 */

#include "http/answer.h"
#include "http/body.h"
#include "http/headers.h"
#include "http/router.h"
#include "http/steps.h"
#include "http/strict.h"
#include "http/text.h"


#define LINES_JSON_DEPTH  32


typedef struct {
    ngx_array_t    bytes;
    lines_body_pt  done;
    ngx_int_t      rc;
    unsigned       parked:1;
} lines_body_t;


static void body_event(ngx_http_request_t *r);


/*
 * Content-Type of a JSON body.  A missing one is refused as well: a browser's
 * form can be made to send a body without one.
 */

static ngx_int_t
check_type(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    size_t            len;
    u_char           *p;
    ngx_table_elt_t  *h;

    static ngx_str_t  identity = ngx_string("identity");
    static ngx_str_t  json = ngx_string("application/json");

    /* there may be several headers, and each may be a list */

    for (h = lines_find_header(r, "content-encoding");
         h;
         h = lines_next_header(r, "content-encoding", h))
    {
        for (p = h->value.data; *p; p += len ? len : 1) {

            len = strcspn((char *) p, ", \t");

            if (len == 0
                || (len == identity.len
                    && ngx_strncasecmp(p, identity.data, len) == 0))
            {
                continue;
            }

            if (lines_add_header(r, "Accept-Encoding", &identity) != NGX_OK) {
                return NGX_ERROR;
            }

            return lines_error(r, ctx, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE, NULL,
                               "Content-Encoding is not supported: send "
                               "the body uncompressed");
        }
    }

    h = r->headers_in.content_type;

    if (h
        && h->value.len >= json.len
        && ngx_strncasecmp(h->value.data, json.data, json.len) == 0)
    {
        for (p = h->value.data + json.len; *p == ' ' || *p == '\t'; p++) {
            /* void */
        }

        if (*p == '\0' || *p == ';') {
            return NGX_OK;
        }
    }

    return lines_error(r, ctx, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE, NULL,
                       "Content-Type must be application/json");
}


static ngx_int_t
bad_body(ngx_http_request_t *r, lines_ctx_t *ctx, const char *why)
{
    return ctx->api->bad_body
           ? ctx->api->bad_body(r, ctx, why)
           : lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL, why);
}


/* NGX_DECLINED: there is none, and why */

static ngx_int_t
find_object(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *bytes,
    const char **why)
{
    json_t        *body;
    ngx_int_t      rc;
    json_error_t   error;

    /* jansson's own bound (2048) is compiled in, and its parser is recursive */

    if (lines_strict_json_scan(bytes, -1, LINES_JSON_DEPTH, bytes->len)
        == NULL)
    {
        *why = "Request body is nested too deeply";
        return NGX_DECLINED;
    }

    rc = lines_json_parse(r->pool, bytes, JSON_REJECT_DUPLICATES, &body,
                          &error);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK) {

        if (json_is_object(body)) {
            ctx->body = body;
            return NGX_OK;
        }

        *why = "Request body must be a JSON object";

    } else {
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "lines body: %s at %d", error.text, error.position);

        switch (json_error_code(&error)) {

        case json_error_null_character:
        case json_error_null_byte_in_key:
            *why = "Request body must not have the control character U+0000";
            break;

        case json_error_duplicate_key:
            *why = "Request body has a duplicate member";
            break;

        default:
            *why = "Request body is not valid JSON";
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
parse_json(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *bytes)
{
    ngx_int_t    rc;
    const char  *why;

    rc = find_object(r, ctx, bytes, &why);

    return rc == NGX_DECLINED ? bad_body(r, ctx, why) : rc;
}


static ngx_int_t
parse_any(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *bytes)
{
    ngx_int_t    rc;
    const char  *why;

    rc = find_object(r, ctx, bytes, &why);

    return rc == NGX_DECLINED ? NGX_OK : rc;
}


ngx_int_t
lines_read_json(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = check_type(r, ctx);

    return rc == NGX_OK
           ? lines_read_body(r, ctx, parse_json)
           : rc;
}


static ngx_int_t
parse_optional_json(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *bytes)
{
    size_t     i;
    ngx_int_t  rc;

    for (i = 0; i < bytes->len; i++) {

        if (memchr(" \t\r\n", bytes->data[i], 4) == NULL) {
            rc = check_type(r, ctx);

            return rc == NGX_OK ? parse_json(r, ctx, bytes) : rc;
        }
    }

    return NGX_OK;
}


/* that a body is blank, or in no chunks, shows when it was read */

ngx_int_t
lines_read_optional_json(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    if (r->headers_in.content_length_n <= 0 && !r->headers_in.chunked) {
        return lines_discard_body(r, ctx);
    }

    return lines_read_body(r, ctx, parse_optional_json);
}


ngx_int_t
lines_read_any_body(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    if (r->headers_in.content_length_n <= 0 && !r->headers_in.chunked) {
        return lines_discard_body(r, ctx);
    }

    return lines_read_body(r, ctx, parse_any);
}


/* rc is what nginx would answer */

static ngx_int_t
unreadable(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc)
{
    return lines_error(r, ctx, rc, NULL,
                       rc == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE
                       ? "Request body is too large"
                       : rc == NGX_HTTP_REQUEST_TIME_OUT
                       ? "Request body did not come in time"
                       : "Request body could not be read");
}


ngx_int_t
lines_discard_body(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        r->keepalive = 0;
        return unreadable(r, ctx, rc);
    }

    return NGX_OK;
}


ngx_int_t
lines_read_body(ngx_http_request_t *r, lines_ctx_t *ctx, lines_body_pt done)
{
    ngx_int_t      rc;
    lines_body_t  *body;

    /* in a named location nginx has not looked at it */

    if (r->headers_in.content_length_n > (off_t) ctx->api->body_limit) {
        return unreadable(r, ctx, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE);
    }

    body = ngx_pcalloc(r->pool, sizeof(lines_body_t));

    if (body == NULL
        || ngx_array_init(&body->bytes, r->pool, 1024, 1) != NGX_OK)
    {
        return NGX_ERROR;
    }

    body->done = done;
    body->rc = NGX_AGAIN;
    ctx->reading = body;

    r->request_body_no_buffering = 1;
    r->request_body_in_file_only = 0;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines body: started");

    rc = ngx_http_read_client_request_body(r, body_event);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        ctx->reading = NULL;
        return unreadable(r, ctx, rc);
    }

    /* parking is counted once, by whoever runs the steps */
    r->main->count--;

    /*
     * HTTP/2: where all of it came before it was asked for, nginx falls back
     * to buffering, and its event is still to come
     */

    body->parked = 1;

    return body->rc;
}


/*
 * Copies what has come and hands the buffers back, unless others read the body
 * as well, as with "mirror"; or what to refuse it with
 */

static ngx_int_t
append_body(ngx_http_request_t *r, ngx_array_t *bytes, size_t limit)
{
    void         *old;
    u_char       *p;
    ssize_t       n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    cl = r->request_body ? r->request_body->bufs : NULL;

    for ( /* void */ ; cl; cl = cl->next) {
        b = cl->buf;

        if (!ngx_buf_in_memory(b) && !b->in_file) {
            continue;
        }

        n = (ssize_t) ngx_buf_size(b);

        if (n > (ssize_t) (limit - bytes->nelts)) {
            return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
        }

        old = bytes->elts;

        p = ngx_array_push_n(bytes, n);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (bytes->elts != old) {
            (void) ngx_pfree(r->pool, old);
        }

        if (ngx_buf_in_memory(b)) {
            ngx_memcpy(p, b->pos, n);

            if (r->request_body_no_buffering) {
                b->pos = b->last;
            }

        } else if (ngx_read_file(b->file, p, n, b->file_pos) != n) {

            /*
             * HTTP/2: what came before it was asked for, with no length said,
             * nginx keeps in a file
             */

            return NGX_ERROR;
        }
    }

    if (r->request_body_no_buffering) {
        r->request_body->bufs = NULL;
    }

    return NGX_OK;
}


static ngx_int_t
continue_body(ngx_http_request_t *r, lines_ctx_t *ctx, lines_body_t *body)
{
    ngx_int_t  rc;
    ngx_str_t  bytes;

    for ( ;; ) {

        rc = append_body(r, &body->bytes, ctx->api->body_limit);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_OK) {

            if (!r->reading_body) {
                break;
            }

            rc = ngx_http_read_unbuffered_request_body(r);
        }

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            ctx->reading = NULL;
            return unreadable(r, ctx, rc);
        }

        if (r->request_body->bufs == NULL && r->reading_body) {
            r->read_event_handler = body_event;
            return NGX_AGAIN;
        }
    }

    r->read_event_handler = ngx_http_block_reading;
    ctx->reading = NULL;

    bytes.data = body->bytes.elts;
    bytes.len = body->bytes.nelts;

    return body->done(r, ctx, &bytes);
}


/* called from within ngx_http_read_client_request_body(), or later */

static void
body_event(ngx_http_request_t *r)
{
    ngx_int_t      rc;
    lines_ctx_t   *ctx;
    lines_body_t  *body;

    ctx = ngx_http_get_module_ctx(r, ngx_http_lines_module);

    if (ctx == NULL || ctx->reading == NULL) {
        return;
    }

    body = ctx->reading;
    rc = continue_body(r, ctx, body);

    if (body->parked) {
        lines_resume(r, ctx, rc);
        return;
    }

    body->rc = rc;
}
