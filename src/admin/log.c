
/*
 * The log of what operators asked for: GET audit-log.
 */

#include "admin/routes.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "http/router.h"
#include "http/text.h"


#define LINES_LOG_KEPT  10000
#define LINES_LOG_PAGE  100
#define LINES_LOG_TEXT  512      /* of a path, of a body: its beginning */


typedef struct {
    ngx_str_t  before;     /* an entry's id */
    int64_t    limit;
} page_t;


static ngx_uint_t is_entry(ngx_str_t *value);


const lines_body_input_t  lines_admin_log_input =
    lines_body_input(page_t,
        lines_in_number("limit", page_t, limit, 1, LINES_LOG_PAGE,
                        "limit must be from 1 to 100"),
        lines_in_string("cursor", page_t, before, 41, is_entry,
                        "cursor is not one that was given out"));


/*
 * Before it is done, so that nothing is done which is not in the log.  What
 * came of it says the access log, by the request's id, and the tenant's events.
 */

ngx_int_t
lines_admin_log(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    size_t     n;
    ngx_str_t  path, body;

    char       text[LINES_LOG_TEXT];

    if (ctx->route->method == NGX_HTTP_GET) {
        return NGX_OK;
    }

    /* escaped anew: it may have been any bytes */

    n = 2 * ngx_escape_uri(NULL, r->uri.data, r->uri.len, NGX_ESCAPE_URI);

    path.len = r->uri.len + n;
    path.data = ngx_pnalloc(r->pool, path.len);
    if (path.data == NULL) {
        return NGX_ERROR;
    }

    ngx_escape_uri(path.data, r->uri.data, r->uri.len, NGX_ESCAPE_URI);

    ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                  "lines: the operator \"%V\" asks for %V \"%V\"",
                  &ctx->operator, &r->method_name, &path);

    path.len = ngx_min(path.len, LINES_LOG_TEXT);

    /* what does not fit is left out from some point on, and is zeroes */

    ngx_memzero(text, sizeof(text));

    n = ctx->body ? json_dumpb(ctx->body, text, sizeof(text),
                               JSON_COMPACT|JSON_ENSURE_ASCII)
                  : 0;

    body.data = (u_char *) text;
    body.len = ngx_min(n, strnlen(text, sizeof(text)));

    return lines_admin_log_add(&ctx->caller, NULL, NULL,
                               .operator = ctx->operator,
                               .method = r->method_name, .path = path,
                               .body = body,
                               .address = r->connection->addr_text,
                               .request = ctx->request_id,
                               .most = LINES_LOG_KEPT);
}


/* an entry's id in a stream of Redis': MS-N; 0-0 has nothing before it */

static ngx_uint_t
is_entry(ngx_str_t *value)
{
    ngx_str_t  number, rest;

    rest = *value;
    number = lines_split(&rest, '-');

    return ngx_atoof(number.data, number.len) > 0
           && ngx_atoof(rest.data, rest.len) != NGX_ERROR;
}


lines_asks(lines_admin_show_log, page_t *page, admin_log_page,
           .before = page->before,
           .most = page->limit ? page->limit : LINES_LOG_PAGE)
{
    ngx_uint_t    i;
    lines_json_t  json = { .pool = r->pool };

    lines_json_add(&json, "{'entries':[");

    for (i = 0; i < reply->entries.n; i++) {
        lines_json_add(&json, ",%V", &reply->entries.elts[i]);
    }

    lines_json_add(&json, "],'cursor':%J}", &reply->cursor);

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}
