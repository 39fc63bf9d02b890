
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/call.h"


static ngx_int_t call_header(ngx_http_request_t *sr, ngx_str_t *name,
    ngx_str_t *value);
static const char *call_incomplete(ngx_http_request_t *sr, ngx_int_t rc);
static void call_headers(ngx_http_request_t *sr, lines_result_t *result);


static const struct {
    ngx_uint_t   method;
    ngx_str_t    name;
} methods[] = {
    { NGX_HTTP_GET, ngx_string("GET") },
    { NGX_HTTP_POST, ngx_string("POST") },
    { NGX_HTTP_DELETE, ngx_string("DELETE") },
    { NGX_HTTP_PUT, ngx_string("PUT") },
    { 0, ngx_null_string }
};


ngx_int_t
lines_call_edit(ngx_http_request_t *sr, lines_call_t *call, ngx_str_t *id)
{
    u_char                   *p;
    ngx_buf_t                *b;
    ngx_str_t                 value;
    ngx_uint_t                i, named;
    ngx_http_request_body_t  *rb;
    static ngx_str_t          request_id = ngx_string("X-Request-Id");
    static ngx_str_t          length = ngx_string("Content-Length");

    for (i = 0; methods[i].method; i++) {
        if (methods[i].method == call->method) {
            break;
        }
    }

    if (methods[i].method == 0) {
        return NGX_ERROR;
    }

    sr->method = call->method;
    sr->method_name = methods[i].name;

    ngx_memzero(&sr->headers_in, sizeof(ngx_http_headers_in_t));

    sr->headers_in.content_length_n = -1;
    sr->headers_in.keep_alive_n = -1;

    if (ngx_list_init(&sr->headers_in.headers, sr->pool, 8,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    named = 0;

    for (i = 0; i < call->nheaders; i++) {

        if (call->headers[i].name.len == request_id.len
            && ngx_strncasecmp(call->headers[i].name.data, request_id.data,
                               request_id.len)
               == 0)
        {
            named = 1;
        }

        if (call_header(sr, &call->headers[i].name, &call->headers[i].value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (!named && call_header(sr, &request_id, id) != NGX_OK) {
        return NGX_ERROR;
    }

    /* a body of its own, be it empty, so that nginx looks for no other */

    rb = ngx_pcalloc(sr->pool, sizeof(ngx_http_request_body_t));
    if (rb == NULL) {
        return NGX_ERROR;
    }

    sr->request_body = rb;

    if (call->method == NGX_HTTP_GET || call->method == NGX_HTTP_DELETE) {
        if (call->body.len == 0) {
            return NGX_OK;
        }
    }

    sr->headers_in.content_length_n = call->body.len;

    p = ngx_pnalloc(sr->pool, NGX_OFF_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "%uz", call->body.len) - p;

    if (call_header(sr, &length, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (call->body.len == 0) {
        return NGX_OK;
    }

    b = ngx_create_temp_buf(sr->pool, call->body.len);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_cpymem(b->last, call->body.data, call->body.len);
    b->last_buf = 1;
    b->last_in_chain = 1;

    rb->bufs = ngx_alloc_chain_link(sr->pool);
    if (rb->bufs == NULL) {
        return NGX_ERROR;
    }

    rb->bufs->buf = b;
    rb->bufs->next = NULL;
    rb->buf = b;

    return NGX_OK;
}


static ngx_int_t
call_header(ngx_http_request_t *sr, ngx_str_t *name, ngx_str_t *value)
{
    u_char           *p;
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    /* a header's value comes from the network now and then */

    for (i = 0; i < value->len; i++) {
        if (value->data[i] < 0x20 || value->data[i] == 0x7f) {
            return NGX_ERROR;
        }
    }

    h = ngx_list_push(&sr->headers_in.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    p = ngx_pnalloc(sr->pool, 2 * name->len + value->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    h->key.data = p;
    h->key.len = name->len;
    h->lowcase_key = p + name->len;
    h->value.data = h->lowcase_key + name->len;
    h->value.len = value->len;

    ngx_memcpy(h->key.data, name->data, name->len);
    ngx_strlow(h->lowcase_key, name->data, name->len);
    h->hash = ngx_hash_key(h->lowcase_key, name->len);

    if (value->len) {
        ngx_memcpy(h->value.data, value->data, value->len);
    }

    h->value.data[value->len] = '\0';

    return NGX_OK;
}


void
lines_call_result(ngx_http_request_t *sr, ngx_int_t rc, ngx_str_t *id,
    lines_result_t *result)
{
    const char           *why;
    ngx_http_upstream_t  *u;

    result->retry_after = -1;
    result->should_retry = -1;

    u = sr->upstream;

    why = call_incomplete(sr, rc);

    if (why) {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, sr->connection->log, 0,
                       "lines call %V: no answer, %s, sent:%d", id, why,
                       u && u->request_sent);

        result->transport = (u && u->request_sent)
                            ? LINES_UNKNOWN
                            : LINES_UNSENT;
        return;
    }

    result->transport = LINES_COMPLETE;
    result->status = sr->headers_out.status;

    if (sr->out && sr->out->buf) {
        result->body.data = sr->out->buf->pos;
        result->body.len = sr->out->buf->last - sr->out->buf->pos;
    }

    call_headers(sr, result);
}


/* NULL: an answer, whole */

static const char *
call_incomplete(ngx_http_request_t *sr, ngx_int_t rc)
{
    off_t                 length;
    ngx_http_upstream_t  *u;

    u = sr->upstream;

    if (rc != NGX_OK) {
        return "ended by nginx";
    }

    if (u == NULL || sr->headers_out.status == 0) {
        return "without an upstream or a status";
    }

    if (sr->connection->error) {
        return "connection error";
    }

    /* a 200 is what nginx says of a body that broke off, too */

    if (u->buffering) {
        if (u->pipe == NULL
            || !u->pipe->upstream_done
            || u->pipe->downstream_error)
        {
            return "its buffered body broke off";
        }

    } else if (u->length != 0) {
        return "its body broke off";
    }

    length = (sr->out && sr->out->buf)
             ? sr->out->buf->last - sr->out->buf->pos
             : 0;

    if (u->headers_in.content_length_n != -1
        && u->headers_in.content_length_n != length)
    {
        return "another length than its header says";
    }

    return NULL;
}


static void
call_headers(ngx_http_request_t *sr, lines_result_t *result)
{
    time_t            when;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

#define lines_header_is(h, name)      \
    ((h)->key.len == sizeof(name) - 1 \
     && ngx_strncasecmp((h)->key.data, (u_char *) name, sizeof(name) - 1) == 0)

    part = &sr->upstream->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (lines_header_is(&h[i], "Retry-After")) {
            when = ngx_atotm(h[i].value.data, h[i].value.len);

            if (when == NGX_ERROR) {
                when = ngx_parse_http_time(h[i].value.data, h[i].value.len);
                when = when == NGX_ERROR ? -1 : ngx_max(when - ngx_time(), 0);
            }

            result->retry_after = when;

        } else if (lines_header_is(&h[i], "Stripe-Should-Retry")) {

            if (h[i].value.len == 4
                && ngx_strncasecmp(h[i].value.data, (u_char *) "true", 4) == 0)
            {
                result->should_retry = 1;

            } else if (h[i].value.len == 5
                       && ngx_strncasecmp(h[i].value.data, (u_char *) "false",
                                          5)
                          == 0)
            {
                result->should_retry = 0;
            }

        } else if (lines_header_is(&h[i], "Request-Id")) {
            result->request_id = h[i].value;
        }
    }
}
