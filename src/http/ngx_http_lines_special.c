
/*
 * Errors that nginx itself raises in the location of an API: an address that
 * is denied, another module's limit, a body that is too large, the prefix
 * without its slash.  They are rewritten on their way out, so that it does not
 * matter who raised them; an error_page comes before.
 *
 * And the one place that lets no 503 leave without Retry-After.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_request.h"


#define NGX_HTTP_LINES_RETRY_AFTER  1


static ngx_int_t ngx_http_lines_special_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_lines_special_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_lines_special_page(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_uint_t ngx_http_lines_special_slash(ngx_http_request_t *r);
static const char *ngx_http_lines_special_message(ngx_uint_t status);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;

static ngx_str_t  ngx_http_lines_special_type =
    ngx_string("application/json");


ngx_int_t
ngx_http_lines_special_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_lines_special_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_lines_special_body_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_special_header_filter(ngx_http_request_t *r)
{
    ngx_http_lines_ctx_t       *ctx;
    ngx_http_lines_loc_conf_t  *llcf;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    llcf = ngx_http_lines_get_loc_conf(r);
    ctx = ngx_http_lines_find_ctx(r);

    if (ctx == NULL || !ctx->answered) {

        if (llcf->api == NULL) {
            return ngx_http_next_header_filter(r);
        }

        /* nginx' own: what return gives a text to has no err_status */

        if (r->err_status >= NGX_HTTP_BAD_REQUEST
            || ngx_http_lines_special_slash(r))
        {
            ctx = ngx_http_lines_get_ctx(r);

            if (ctx == NULL) {
                return NGX_ERROR;
            }

            ctx->api = llcf->api;

            if (ngx_http_lines_special_page(r, ctx) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    if (r->headers_out.status == NGX_HTTP_SERVICE_UNAVAILABLE
        && ngx_http_lines_says_when(r) == NULL
        && ngx_http_lines_retry_after(r, NGX_HTTP_LINES_RETRY_AFTER)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ngx_http_lines_special_page(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    const char  *message;

    if (ngx_http_lines_special_slash(r)) {
        ngx_http_clear_location(r);

        r->err_status = NGX_HTTP_NOT_FOUND;
        r->headers_out.status = NGX_HTTP_NOT_FOUND;
        r->headers_out.status_line.len = 0;
    }

    message = ngx_http_lines_special_message(r->headers_out.status);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines special: %ui %s", r->headers_out.status, message);

    if (ctx->api->error(r->pool, NULL, message, &ctx->page) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_lines_answer_headers(r, ctx, &ngx_http_lines_special_type,
                                         ctx->page.len);
}


/* "/api" of "/api/": nginx would redirect, and clients would forget the body */

static ngx_uint_t
ngx_http_lines_special_slash(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (r->err_status != NGX_HTTP_MOVED_PERMANENTLY
        || r->headers_out.location == NULL)
    {
        return 0;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    return r->uri.len + 1 == clcf->name.len
           && ngx_strncmp(r->uri.data, clcf->name.data, r->uri.len) == 0;
}


static const char *
ngx_http_lines_special_message(ngx_uint_t status)
{
    ngx_uint_t  i;

    static const struct {
        ngx_uint_t   status;
        const char  *message;
    } messages[] = {
        { NGX_HTTP_UNAUTHORIZED, "Unauthorized" },
        { NGX_HTTP_FORBIDDEN, "Forbidden" },
        { NGX_HTTP_NOT_FOUND, "Not found" },
        { NGX_HTTP_NOT_ALLOWED, "Method not allowed" },
        { NGX_HTTP_LENGTH_REQUIRED, "Content-Length is required" },
        { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, "Request body is too large" },
        { NGX_HTTP_UNSUPPORTED_MEDIA_TYPE, "Unsupported media type" },
        { NGX_HTTP_MISDIRECTED_REQUEST,
          "The server does not answer for this host" },
        { NGX_HTTP_TOO_MANY_REQUESTS, "Too many requests" },
        { NGX_HTTP_NOT_IMPLEMENTED, "Not implemented" },
        { NGX_HTTP_SERVICE_UNAVAILABLE, "Service temporarily unavailable" }
    };

    for (i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        if (messages[i].status == status) {
            return messages[i].message;
        }
    }

    return status < NGX_HTTP_INTERNAL_SERVER_ERROR ? "Bad request"
                                                   : "Internal server error";
}


static ngx_int_t
ngx_http_lines_special_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t             *b;
    ngx_chain_t            out, *cl;
    ngx_http_lines_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_lines_module);

    if (in == NULL || ctx == NULL || ctx->page.len == 0 || r != r->main) {
        return ngx_http_next_body_filter(r, in);
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = ctx->page.data;
    b->last = ctx->page.data + ctx->page.len;
    b->memory = 1;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
    }

    ctx->page.len = 0;

    return ngx_http_next_body_filter(r, &out);
}
