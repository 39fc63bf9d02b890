
/*
 * The log of what operators asked for: GET audit-log.
 */

#include "admin/operators.h"
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


const lines_body_input_t  lines_admin_log_input =
    lines_body_input(page_t,
        lines_in_number("limit", page_t, limit, 1, LINES_LOG_PAGE,
                        "limit must be from 1 to 100"),
        lines_in_string("cursor", page_t, before, 41, is_entry,
                        "cursor is not one that was given out"));


/* all but the body; in the error log, too */

static ngx_int_t
log_ask(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_admin_log_add_args_t *args)
{
    size_t     n;
    ngx_str_t  path;

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

    ngx_memzero(args, sizeof(lines_admin_log_add_args_t));

    args->operator = ctx->operator;
    args->method = r->method_name;
    args->path = path;
    args->address = r->connection->addr_text;
    args->request = ctx->request_id;
    args->most = LINES_LOG_KEPT;

    return NGX_OK;
}


/*
 * What nobody here reads may be anything, a secret that was meant for another:
 * of objects only members are copied that are declared, and of what should be
 * neither object nor list, but is, that it was one.  It is judged later: what
 * is refused is in the log, too.
 */

static json_t *
log_known(json_t *value, const lines_input_t *inputs)
{
    size_t                i;
    json_t               *copy, *part;
    const char           *name;
    const lines_input_t  *input;

    if (json_is_object(value)) {
        copy = json_object();

        json_object_foreach(value, name, part) {
            input = inputs ? lines_find_input(inputs, name) : NULL;

            if (input
                && json_object_set_new(copy, name,
                                       log_known(part, input->members))
                   != 0)
            {
                json_decref(copy);
                return NULL;
            }
        }

        return copy;
    }

    if (json_is_array(value)) {
        copy = json_array();

        json_array_foreach(value, i, part) {
            if (inputs
                && json_array_append_new(copy, log_known(part, inputs)) != 0)
            {
                json_decref(copy);
                return NULL;
            }
        }

        return copy;
    }

    return json_incref(value);
}


static int
log_copy(const char *text, size_t size, void *data)
{
    ngx_str_t *body = data;

    size = ngx_min(size, LINES_LOG_TEXT - body->len);

    ngx_memcpy(body->data + body->len, text, size);
    body->len += size;

    return 0;
}


static ngx_int_t
log_body(lines_ctx_t *ctx, ngx_str_t *body)
{
    int                        rc;
    json_t                    *known;
    const lines_body_input_t  *input = ctx->route->input;

    known = log_known(ctx->body, input ? input->fields : NULL);
    if (known == NULL) {
        return NGX_ERROR;
    }

    rc = json_dump_callback(known, log_copy, body,
                            JSON_COMPACT|JSON_ENSURE_ASCII);

    json_decref(known);

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


/*
 * Before it is done, so that nothing is done which is not in the log.  What
 * came of it says the access log, by the request's id, and the tenant's events.
 */

ngx_int_t
lines_admin_log(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    u_char                      text[LINES_LOG_TEXT];
    lines_operator_t           *op;
    lines_admin_log_add_args_t  args;

    if (ctx->route->method == NGX_HTTP_GET) {
        return NGX_OK;
    }

    if (log_ask(r, ctx, &args) != NGX_OK) {
        return NGX_ERROR;
    }

    /* his sessions: they push out of Redis nothing of who may do more */

    op = lines_operator_by_name(r, &ctx->operator);

    if (op && op->reads) {
        return NGX_OK;
    }

    args.body.data = text;

    if (ctx->body && log_body(ctx, &args.body) != NGX_OK) {
        return NGX_ERROR;
    }

    /*
     * What takes away does not wait: Redis may be full, and a key that leaked
     * has to go.  It is in the error log by now.
     */

    if (ctx->route->method == NGX_HTTP_DELETE) {
        (void) lines_send_admin_log_add(&ctx->caller, LINES_CALL_FORGET, &args,
                                        NULL, NULL);
        return NGX_OK;
    }

    return lines_send_admin_log_add(&ctx->caller, LINES_CALL, &args, NULL,
                                    NULL);
}


lines_answered(log_refused, char *why, admin_log_add)
{
    return lines_refuse(ctx, 400, why);
}


/* nobody knows which of it were members: none of it is written down */

ngx_int_t
lines_admin_log_bad_body(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *why)
{
    int64_t                     status;
    lines_admin_log_add_args_t  args;

    if (log_ask(r, ctx, &args) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->data = (char *) why;

    status = NGX_HTTP_BAD_REQUEST;
    args.status = &status;

    return lines_send_admin_log_add(&ctx->caller, LINES_CALL, &args,
                                    log_refused, ctx);
}


lines_asks(lines_admin_show_log, page_t *page, admin_log_page,
           .before = page->before,
           .most = page->limit ? page->limit : LINES_LOG_PAGE)
{
    return lines_json_ok(ctx, "{'entries':[%A],'cursor':%J}", &reply->entries,
                         &reply->cursor);
}
