
/*
 * The world of the fuzzers: nginx' core as the simulation has it, each piece of
 * a pool by itself, and what of HTTP the module's readers call.  What answers is
 * replaced: it writes down what would be said.
 */

#include "fuzz.h"

#define ngx_hextoi       sim_hextoi
#define ngx_escape_json  sim_escape_json

#include "../sim/nginx.c"

#undef ngx_hextoi
#undef ngx_escape_json

#include "http/answer.h"
#include "http/steps.h"


ngx_uint_t    fuzz_status;
const char   *fuzz_message;

volatile size_t  touched;

ngx_module_t  ngx_http_lines_module, ngx_http_core_module;

static ngx_queue_t  pools;
static ngx_pool_t  *texts;     /* of inputs */


/* the simulation's own */

ngx_queue_t *
sim_pools(void)
{
    if (pools.next == NULL) {
        ngx_queue_init(&pools);
        sim_nginx_init();
        sim_nginx_set_time((int64_t) 1700000000 * 1000000, 0);
    }

    return &pools;
}


void
sim_logged(ngx_uint_t level, const char *text)
{
    /* an alert is a word to the operator that something cannot be */

    must(level > NGX_LOG_ALERT || strstr(text, "a key has an empty part"));
}


void
ngx_reset_pool(ngx_pool_t *pool)
{
    block_t      *block;
    node_pool_t  *p = (node_pool_t *) pool;

    while (p->blocks) {
        block = p->blocks;
        p->blocks = block->next;
        free(block);
    }
}


ngx_int_t
ngx_hextoi(u_char *line, size_t n)
{
    u_char     ch;
    ngx_int_t  value;

    if (n == 0) {
        return NGX_ERROR;
    }

    for (value = 0; n--; line++) {
        ch = *line | 0x20;

        if (*line >= '0' && *line <= '9') {
            value = value * 16 + (*line - '0');

        } else if (ch >= 'a' && ch <= 'f') {
            value = value * 16 + (ch - 'a' + 10);

        } else {
            return NGX_ERROR;
        }
    }

    return value;
}


/* what is no hexadecimal digit ends an escape, and stays if it is the first */

void
ngx_unescape_uri(u_char **dst, u_char **src, size_t size, ngx_uint_t type)
{
    u_char     *d, *s;
    ngx_int_t   high, low;
    ngx_uint_t  state;

    must(type == 0);

    d = *dst;
    high = 0;
    state = 0;

    for (s = *src; size; size--, s++) {

        switch (state) {

        case 0:
            if (*s == '%') {
                state = 1;

            } else {
                *d++ = *s;
            }

            break;

        case 1:
            high = ngx_hextoi(s, 1);
            state = high == NGX_ERROR ? 0 : 2;

            if (state == 0) {
                *d++ = *s;
            }

            break;

        default:
            low = ngx_hextoi(s, 1);
            state = 0;

            if (low != NGX_ERROR) {
                *d++ = (u_char) (high * 16 + low);
            }
        }
    }

    *dst = d;
    *src = s;
}


uintptr_t
ngx_escape_json(u_char *dst, u_char *src, size_t size)
{
    uintptr_t  more;

    static const u_char  hex[] = "0123456789ABCDEF";

    for (more = 0; size; size--, src++) {

        if (*src > 0x1f && *src != '\\' && *src != '"') {
            if (dst) {
                *dst++ = *src;
            }

            continue;
        }

        more += *src > 0x1f ? 1 : 5;

        if (dst == NULL) {
            continue;
        }

        *dst++ = '\\';

        if (*src > 0x1f) {
            *dst++ = *src;
            continue;
        }

        dst = ngx_cpymem(dst, "u00", 3);
        *dst++ = hex[*src >> 4];
        *dst++ = hex[*src & 15];
    }

    return dst ? (uintptr_t) dst : more;
}


uint32_t
ngx_utf8_decode(u_char **p, size_t n)
{
    size_t    len;
    uint32_t  u, i, valid;

    u = **p;

    if (u >= 0xf0) {
        u &= 0x07;
        valid = 0xffff;
        len = 3;

    } else if (u >= 0xe0) {
        u &= 0x0f;
        valid = 0x7ff;
        len = 2;

    } else if (u >= 0xc2) {
        u &= 0x1f;
        valid = 0x7f;
        len = 1;

    } else {
        (*p)++;
        return 0xffffffff;
    }

    if (n - 1 < len) {
        return 0xfffffffe;
    }

    (*p)++;

    while (len) {
        i = *(*p)++;

        if (i < 0x80) {
            return 0xffffffff;
        }

        u = (u << 6) | (i & 0x3f);
        len--;
    }

    return u > valid ? u : 0xffffffff;
}


ngx_int_t
ngx_memn2cmp(u_char *s1, u_char *s2, size_t n1, size_t n2)
{
    int  rc;

    rc = memcmp(s1, s2, ngx_min(n1, n2));

    return rc ? rc : n1 < n2 ? -1 : n1 > n2;
}


static const char  base64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


void
ngx_encode_base64url(ngx_str_t *dst, ngx_str_t *src)
{
    size_t    i;
    u_char   *d;
    uint32_t  bits, n;

    d = dst->data;
    bits = 0;
    n = 0;

    for (i = 0; i < src->len; i++) {
        bits = bits << 8 | src->data[i];
        n += 8;

        while (n >= 6) {
            n -= 6;
            *d++ = base64[bits >> n & 63];
        }
    }

    if (n) {
        *d++ = base64[bits << (6 - n) & 63];
    }

    dst->len = d - dst->data;
}


ngx_int_t
ngx_decode_base64url(ngx_str_t *dst, ngx_str_t *src)
{
    size_t    i;
    u_char   *d;
    uint32_t  bits, n;

    for (i = 0; i < src->len && src->data[i] != '='; i++) {
        if (src->data[i] == '\0' || strchr(base64, src->data[i]) == NULL) {
            return NGX_ERROR;
        }
    }

    if (i % 4 == 1) {
        return NGX_ERROR;
    }

    d = dst->data;
    src->len = i;
    bits = 0;
    n = 0;

    for (i = 0; i < src->len; i++) {
        bits = bits << 6 | (uint32_t) (strchr(base64, src->data[i]) - base64);
        n += 6;

        if (n >= 8) {
            n -= 8;
            *d++ = (u_char) (bits >> n);
        }
    }

    dst->len = d - dst->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_arg(ngx_http_request_t *r, u_char *name, size_t len, ngx_str_t *value)
{
    u_char  *p, *last, *end;

    p = r->args.data;
    last = p + r->args.len;

    while (p < last) {
        end = memchr(p, '&', last - p);
        end = end ? end : last;

        if ((size_t) (end - p) > len
            && p[len] == '='
            && strncasecmp((char *) p, (char *) name, len) == 0)
        {
            value->data = p + len + 1;
            value->len = end - value->data;
            return NGX_OK;
        }

        p = end + 1;
    }

    return NGX_DECLINED;
}


ngx_uint_t
fuzz_byte(fuzz_t *in)
{
    return in->p < in->last ? *in->p++ : 0;
}


void
fuzz_touch(ngx_str_t *text)
{
    size_t  i;

    must(text->len == 0 || text->data);

    for (i = 0; i < text->len; i++) {
        touched += text->data[i];
    }
}


int64_t
fuzz_int(fuzz_t *in)
{
    int64_t     n;
    ngx_uint_t  i;

    n = 0;

    for (i = 0; i < 8; i++) {
        n = (int64_t) ((uint64_t) n << 8 | fuzz_byte(in));
    }

    return n;
}


ngx_str_t
fuzz_line(fuzz_t *in)
{
    fuzz_t         part;
    ngx_str_t      line;
    const u_char  *end;

    end = in->p < in->last ? memchr(in->p, '\n', in->last - in->p) : NULL;

    part.p = in->p;
    part.last = end ? end : in->last;
    line = fuzz_rest(&part);
    in->p = end ? end + 1 : in->last;

    return line;
}


ngx_str_t
fuzz_rest(fuzz_t *in)
{
    ngx_str_t  text;

    if (texts == NULL) {
        texts = ngx_create_pool(0, NULL);
    }

    text.len = in->last - in->p;
    text.data = ngx_pnalloc(texts, text.len);

    if (text.len) {
        ngx_memcpy(text.data, in->p, text.len);
    }

    in->p = in->last;

    return text;
}


fuzz_request_t
fuzz_request(void)
{
    fuzz_request_t       request;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    (void) sim_pools();

    request.pool = ngx_create_pool(0, NULL);
    request.pool->log = ngx_cycle->log;

    c = ngx_pcalloc(request.pool, sizeof(ngx_connection_t));
    r = ngx_pcalloc(request.pool, sizeof(ngx_http_request_t));

    c->log = ngx_cycle->log;
    c->pool = request.pool;

    r->connection = c;
    r->pool = request.pool;
    r->main = r;
    r->count = 1;
    r->method = NGX_HTTP_POST;
    r->headers_in.content_length_n = -1;

    ngx_http_lines_module.ctx_index = 0;
    ngx_http_core_module.ctx_index = 1;

    r->ctx = ngx_pcalloc(r->pool, 2 * sizeof(void *));
    r->main_conf = ngx_pcalloc(r->pool, 2 * sizeof(void *));
    r->loc_conf = ngx_pcalloc(r->pool, 2 * sizeof(void *));
    r->main_conf[0] = ngx_pcalloc(r->pool, sizeof(lines_main_conf_t));
    r->loc_conf[0] = ngx_pcalloc(r->pool, sizeof(lines_loc_conf_t));
    r->loc_conf[1] = ngx_pcalloc(r->pool, sizeof(ngx_http_core_loc_conf_t));

    must(ngx_list_init(&r->headers_in.headers, r->pool, 16,
                       sizeof(ngx_table_elt_t)) == NGX_OK
         && ngx_list_init(&r->headers_out.headers, r->pool, 64,
                          sizeof(ngx_table_elt_t)) == NGX_OK);

    request.r = r;
    request.ctx = ngx_pcalloc(r->pool, sizeof(lines_ctx_t));
    request.ctx->request = r;
    request.ctx->caller.pool = r->pool;
    request.ctx->caller.log = c->log;
    r->ctx[0] = request.ctx;

    fuzz_status = 0;
    fuzz_message = NULL;

    return request;
}


/* nginx' values end with a zero */

void
fuzz_request_header(fuzz_request_t *request, const char *name,
    ngx_str_t value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&request->r->headers_in.headers);

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = ngx_pnalloc(request->pool, value.len + 1);
    h->value.len = value.len;

    if (value.len) {
        ngx_memcpy(h->value.data, value.data, value.len);
    }

    h->value.data[value.len] = '\0';

    if (ngx_strcmp(name, "Content-Type") == 0) {
        request->r->headers_in.content_type = h;
    }
}


void
fuzz_end(void)
{
    sim_pools_destroy(sim_pools());
    texts = NULL;
}


/* the module's own, of what answers */

ngx_int_t
lines_error(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t status,
    const char *error, const char *message)
{
    must(fuzz_status == 0 && message && *message);

    fuzz_status = status;
    fuzz_message = message;

    return NGX_DONE;
}


lines_ctx_t *
lines_find_ctx(ngx_http_request_t *r)
{
    return r->ctx[0];
}


lines_ctx_t *
lines_get_ctx(ngx_http_request_t *r)
{
    return r->ctx[0];
}
