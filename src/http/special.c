
/*
 * Errors that nginx itself raises in the location of an API: an address that
 * is denied, another module's limit, a body that is too large, the prefix
 * without its slash.  They are rewritten on their way out, so that it does not
 * matter who raised them; an error_page comes before.
 *
 * And what the operator's add_header says goes before what this module says:
 * it is known after nginx' headers filter only, hence a module that is nothing
 * but a filter right behind that one.  There, no 503 leaves without
 * Retry-After, though another location may answer for the API's in the end.
 */

#include "http/answer.h"
#include "http/cors.h"
#include "http/headers.h"
#include "http/router.h"


/* of headers_out.last_modified_time, where -1 is none as well, and nginx sets
   it to that right before it sends a page of its own */
#define LINES_NO_PAGE     -2


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_header_filter_pt  headers_next;


/*
 * Flag: it is nginx' own page of an error.  What return gives a text to has no
 * err_status; but an error that an error_page has led here keeps its status,
 * whoever answers.
 */

static ngx_uint_t
special_is_page(ngx_http_request_t *r)
{
    if (r->headers_out.last_modified_time == LINES_NO_PAGE) {
        r->headers_out.last_modified_time = -1;
        return 0;
    }

    return r->err_status >= NGX_HTTP_BAD_REQUEST
           && r->headers_out.last_modified_time == -1
           && r->headers_out.last_modified == NULL;
}


/* "/api" of "/api/": nginx would redirect, and clients would forget the body */

static ngx_uint_t
special_slash(ngx_http_request_t *r)
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


static void
special_finalize(ngx_http_request_t *r)
{
    r->header_only = 0;
    r->write_event_handler = ngx_http_request_empty_handler;

    /* the redirect has looked for one, too; after another's, there is none */

    if (!r->internal) {
        r->error_page = 0;
    }

    ngx_http_finalize_request(r, NGX_HTTP_NOT_FOUND);
}


/*
 * The redirect is forgotten, its page is not sent, and once nginx is done with
 * it, the request ends with 404 instead: as an error_page would have it.
 */

static ngx_int_t
special_not_found(ngx_http_request_t *r)
{
    lines_ctx_t  *ctx;

    ctx = lines_get_ctx(r);

    if (ctx == NULL || ngx_http_post_request(r, NULL) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_clean_header(r);
    r->err_status = 0;

    ctx->met_api = 1;

    r->header_only = 1;
    r->main->count++;
    r->write_event_handler = special_finalize;

    return NGX_DONE;
}


static const char *
special_message(ngx_uint_t status)
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
        { NGX_HTTP_BAD_GATEWAY, "Bad gateway" },
        { NGX_HTTP_SERVICE_UNAVAILABLE, "Service temporarily unavailable" },
        { NGX_HTTP_GATEWAY_TIME_OUT, "Gateway timeout" }
    };

    for (i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        if (messages[i].status == status) {
            return messages[i].message;
        }
    }

    return status < NGX_HTTP_INTERNAL_SERVER_ERROR
           ? "Bad request"
           : "Internal server error";
}


/* ours in its place, header and body: nginx sends no page after header_only */

static ngx_int_t
special_page(ngx_http_request_t *r, lines_api_t *api)
{
    ngx_int_t               rc;
    ngx_str_t               json;
    const char             *code, *message;
    ngx_chain_t             out;
    lines_ctx_t            *ctx;
    const lines_refusal_t  *refusal;

    code = NULL;
    message = special_message(r->headers_out.status);

    ctx = lines_get_ctx(r);
    refusal = ctx ? ctx->identity.refusal : NULL;

    if (refusal
        && refusal->status == r->headers_out.status
        && ctx->refused_with == refusal->status)
    {
        code = refusal->code;
        message = refusal->words;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines special: %ui %s", r->headers_out.status, message);

    if (ctx == NULL
        || api->error(r->pool, code, message, &json) != NGX_OK
        || lines_answer_headers(r, ctx, &lines_json_type, json.len) != NGX_OK
        || lines_answer_buf(r, &json, &out) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->api = api;

    /* as of a module that set it before another one refused */

    if (r->headers_out.content_encoding) {
        r->headers_out.content_encoding->hash = 0;
        r->headers_out.content_encoding = NULL;
    }

    rc = ngx_http_next_header_filter(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    rc = ngx_http_output_filter(r, &out);
    r->header_only = 1;

    return rc;
}


static ngx_int_t
special_header_filter(ngx_http_request_t *r)
{
    ngx_uint_t    page;
    lines_ctx_t  *ctx;
    lines_api_t  *api;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    page = special_is_page(r);

    ctx = lines_find_ctx(r);
    api = lines_get_loc_conf(r)->api;

    if (ctx && ctx->answered) {
        return ngx_http_next_header_filter(r);
    }

    if (api && special_slash(r)) {
        return special_not_found(r);
    }

    if (ctx && ctx->refused_with == r->err_status) {
        api = ctx->api;
    }

    return (api && page) ? special_page(r, api)
                         : ngx_http_next_header_filter(r);
}


/* an error_page may leave the location before anything of ours runs */

static ngx_int_t
special_located(ngx_http_request_t *r)
{
    lines_ctx_t  *ctx;

    if (lines_get_loc_conf(r)->api == NULL || r != r->main) {
        return NGX_DECLINED;
    }

    /* an error that was met before, and that others answer here now */

    if (r->err_status >= NGX_HTTP_BAD_REQUEST) {
        ngx_http_clear_last_modified(r);
        r->headers_out.last_modified_time = LINES_NO_PAGE;
    }

    ctx = lines_get_ctx(r);

    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->met_api = 1;

    return NGX_DECLINED;
}


ngx_int_t
lines_special_init(ngx_conf_t *cf)
{
    return lines_add_handler(cf, NGX_HTTP_REWRITE_PHASE, special_located, NULL);
}


void
lines_special_filter_init(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = special_header_filter;
}


/*
 * Ours are known by where their names are.  But "expires", which may be the
 * whole server's, does not make an answer one for caches.
 */

static ngx_int_t
headers_filter(ngx_http_request_t *r)
{
    ngx_uint_t        n, others;
    const char       *name;
    ngx_list_t       *headers;
    lines_ctx_t      *ctx;
    ngx_table_elt_t  *h, *own;

    if (lines_cors_headers(r) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx = (r == r->main) ? lines_find_ctx(r) : NULL;

    if (ctx == NULL) {
        return headers_next(r);
    }

    headers = &r->headers_out.headers;

    for (n = 0; n < LINES_OWN_HEADERS; n++) {

        name = lines_own_headers[n];
        own = NULL;
        others = 0;

        for (h = lines_header_in(headers, name, NULL);
             h;
             h = lines_header_in(headers, name, h))
        {
            if (h->key.data != (u_char *) name) {
                others = 1;
                continue;
            }

            /* a second refusal, of an error_page: it says it last */

            if (own) {
                own->hash = 0;
            }

            own = h;
        }

        if (n == LINES_CACHE_CONTROL && r->headers_out.expires) {
            others = 0;
        }

        if (own && others) {
            own->hash = 0;
        }

        if (n == LINES_RETRY_AFTER
            && own == NULL
            && !others
            && r->headers_out.status == NGX_HTTP_SERVICE_UNAVAILABLE
            && (ctx->answered || ctx->met_api || lines_get_loc_conf(r)->api)
            && lines_retry_after(r, 1) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return headers_next(r);
}


static ngx_int_t
headers_init(ngx_conf_t *cf)
{
    headers_next = ngx_http_top_header_filter;
    ngx_http_top_header_filter = headers_filter;

    return NGX_OK;
}


static ngx_http_module_t  headers_module_ctx = {
    .postconfiguration = headers_init
};


ngx_module_t  ngx_http_lines_headers_module = {
    NGX_MODULE_V1,
    .ctx = &headers_module_ctx,
    .type = NGX_HTTP_MODULE
};
