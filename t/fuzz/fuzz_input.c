
/*
 * A body, or a query string, as a client may send it: the first byte chooses the
 * endpoint, of those that read one, the second how it comes, the third in pieces
 * of which size; then a line each of Content-Type, Content-Encoding, and the
 * rest is what was sent.
 */

#include "fuzz.h"
#include "http/body.c"

#undef row
#include "account/routes.c"
#undef row
#include "admin/routes.c"
#undef row

#include "api/input.h"

extern lines_api_t  lines_workspace_api;


/* kinds of rows that no endpoint's query has */

typedef struct {
    ngx_str_t   text;
    ngx_str_t   word;
    ngx_str_t   mail;
    ngx_str_t   number;
    int64_t     limit;
    ngx_str_t   amount;
} fuzz_query_t;

static const lines_input_t  query[] = {
    lines_in_text("text", fuzz_query_t, text, 16),
    lines_in_word("word", fuzz_query_t, word, "word is bad",
                  .words = { "one", "two" }, .flags = LINES_REQUIRED),
    lines_in_string("mail", fuzz_query_t, mail, 254, lines_is_email,
                    "mail is bad"),
    lines_in_string("number", fuzz_query_t, number, 16, lines_is_e164,
                    "number is bad", .when = offsetof(fuzz_query_t, word),
                    .says = "two"),
    lines_in_number("limit", fuzz_query_t, limit, 1, 100, "limit is bad"),
    lines_input_end
};


static fuzz_t      sent;
static size_t      piece;
static ngx_int_t   resumed;


void
lines_resume(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc)
{
    resumed = rc;
}


/* the next piece; nothing of it may have come */

static ngx_int_t
fuzz_piece(ngx_http_request_t *r)
{
    size_t  n;
    fuzz_t  part;

    ngx_str_t     text;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    n = sent.last - sent.p;
    n = piece ? ngx_min(n, piece) : n;

    part.p = sent.p;
    part.last = sent.p + n;
    sent.p = part.last;
    text = fuzz_rest(&part);

    cl = ngx_pcalloc(r->pool, sizeof(ngx_chain_t));
    b = ngx_pcalloc(r->pool, sizeof(ngx_buf_t));
    b->pos = text.data;
    b->last = text.data + text.len;
    b->temporary = 1;
    cl->buf = b;

    r->request_body->bufs = n ? cl : NULL;
    r->reading_body = sent.p < sent.last;

    return r->reading_body ? NGX_AGAIN : NGX_OK;
}


ngx_int_t
ngx_http_read_client_request_body(ngx_http_request_t *r,
    ngx_http_client_body_handler_pt handler)
{
    r->main->count++;
    r->request_body = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    r->read_event_handler = ngx_http_block_reading;

    /* what is there at once is not told apart from what was buffered */

    if (fuzz_piece(r) == NGX_OK) {
        r->request_body_no_buffering = 0;
    }

    handler(r);

    return NGX_OK;
}


ngx_int_t
ngx_http_read_unbuffered_request_body(ngx_http_request_t *r)
{
    static ngx_uint_t  calls;

    /* at times there is nothing to read yet */

    return ++calls % 3 ? fuzz_piece(r) : NGX_AGAIN;
}


void
ngx_http_block_reading(ngx_http_request_t *r)
{
}


ngx_int_t
ngx_http_discard_request_body(ngx_http_request_t *r)
{
    return NGX_OK;
}


/* the operator's log is written first: there is no Redis here */

ngx_int_t
lines_admin_log_bad_body(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *why)
{
    return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL, why);
}


/* utf8: flag, JSON has no other; nginx reads two lead bytes as one character */

static void
fuzz_judge(const lines_input_t *inputs, void *to, ngx_uint_t utf8)
{
    size_t                i, n;
    json_t               *list;
    int64_t               number;
    ngx_str_t            *value;
    ngx_uint_t            found;
    const lines_input_t  *input, *other;

    for (input = inputs; input->name; input++) {

        if (input->says
            && !lines_is((ngx_str_t *) ((u_char *) to + input->when),
                         input->says))
        {
            continue;
        }

        if (input->kind == LINES_INPUT_OBJECT) {
            fuzz_judge(input->members, to, utf8);
            continue;
        }

        /* of several rows of a field, each has its own rules */

        for (other = inputs; other->name; other++) {
            if (other != input
                && other->offset == input->offset
                && other->kind != LINES_INPUT_OBJECT)
            {
                break;
            }
        }

        if (other->name) {
            continue;
        }

        if (input->kind == LINES_INPUT_LIST) {
            list = *(json_t **) (void *) ((u_char *) to + input->offset);
            n = json_array_size(list);
            must(list == NULL
                 || (n >= (size_t) input->min && n <= (size_t) input->max));
            continue;
        }

        if (input->kind == LINES_INPUT_NUMBER) {
            number = *(int64_t *) (void *) ((u_char *) to + input->offset);
            must(number == 0 || (number >= input->min
                                 && number <= input->max));
            continue;
        }

        if (input->kind == LINES_INPUT_FLAG) {
            must(*(ngx_uint_t *) (void *) ((u_char *) to + input->offset) <= 1);
            continue;
        }

        value = (ngx_str_t *) (void *) ((u_char *) to + input->offset);

        must(value->len == 0 || value->data);

        if (value->len == 0) {
            must(!(input->flags & LINES_REQUIRED)
                 || input->kind != LINES_INPUT_TEXT);
            continue;
        }

        n = 0;

        for (i = 0; i < value->len; i++) {
            n += (value->data[i] & 0xc0) != 0x80;
            must(input->kind == LINES_INPUT_AMOUNT
                 || (value->data[i] >= ' ' && value->data[i] != 0x7f));
        }

        must(input->kind == LINES_INPUT_AMOUNT
             || (utf8 ? n : value->len / 4) <= (size_t) input->max);

        found = 0;

        for (i = 0; input->words[i]; i++) {
            found |= lines_is(value, input->words[i]);
        }

        must(i == 0 || found
             || (input->kind == LINES_INPUT_AMOUNT
                 && strspn((char *) value->data, "-0123456789") > 0)
             || (input->is && input->is(value)));

        must(found || input->is == NULL || input->is(value));
    }
}


static ngx_int_t
fuzz_body(fuzz_request_t *request, fuzz_t *in, ngx_uint_t nth)
{
    ngx_int_t                  rc;
    ngx_str_t                  value;
    ngx_uint_t                 i, j, n, how;
    lines_ctx_t               *ctx;
    lines_route_t             *route;
    ngx_http_request_t        *r;
    const lines_body_input_t  *input;

    static lines_api_t  *apis[] = {
        &lines_workspace_api, &lines_account_api, &admin_api
    };

    r = request->r;
    ctx = request->ctx;

    for (n = 0, i = 0; ctx->route == NULL; i = (i + 1) % 3) {

        for (j = 0; apis[i]->routes[j].steps; j++) {
            route = &apis[i]->routes[j];

            if ((route->first[3] == lines_read_json
                 || route->first[3] == lines_read_optional_json)
                && n++ == nth)
            {
                ctx->route = route;
                ctx->api = apis[i];
                break;
            }
        }
    }

    how = fuzz_byte(in);
    piece = fuzz_byte(in);

    value = fuzz_line(in);

    if (how & 1) {
        ngx_str_set(&value, "application/json");
    }

    if (!(how & 2)) {
        fuzz_request_header(request, "Content-Type", value);
    }

    value = fuzz_line(in);

    if (how & 4) {
        fuzz_request_header(request, "Content-Encoding", value);
    }

    sent = *in;
    r->headers_in.chunked = (how & 8) != 0;
    r->headers_in.content_length_n = how & 8 ? -1 : in->last - in->p;

    rc = ctx->route->first[3](r, ctx);

    while (rc == NGX_AGAIN) {
        must(r->read_event_handler == body_event);
        resumed = NGX_AGAIN;
        r->read_event_handler(r);
        rc = resumed;
    }

    must(rc == NGX_OK || rc == NGX_DONE);
    must((rc == NGX_OK) == (fuzz_status == 0));
    must(r->count == 1);

    input = ctx->route->input;

    if (rc != NGX_OK || input == NULL) {
        return rc;
    }

    rc = lines_read_input(r, ctx);

    if (rc == NGX_OK) {
        fuzz_judge(input->fields, ctx->data, 1);
    }

    return rc;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t          in = { data, data + size };
    ngx_int_t       rc;
    ngx_uint_t      nth;
    fuzz_query_t    asked;
    fuzz_request_t  request;

    request = fuzz_request();
    nth = fuzz_byte(&in) % 32;

    if (nth == 31) {
        ngx_memzero(&asked, sizeof(fuzz_query_t));
        request.r->args = fuzz_rest(&in);
        rc = lines_read_query(request.r, request.ctx, query, &asked);

        if (rc == NGX_OK) {
            fuzz_judge(query, &asked, 0);
        }

    } else {
        rc = fuzz_body(&request, &in, nth);
    }

    must(rc == NGX_OK ? fuzz_status == 0
                      : rc == NGX_DONE && fuzz_status >= 400
                        && fuzz_status < 500);

    fuzz_end();

    return 0;
}
