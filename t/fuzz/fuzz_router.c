
/*
 * Any path, by any method, under any API: it is found where its pattern says,
 * or it is 404, or 405 with what is allowed.  The first byte is the API, the
 * second the method, the third how long the prefix is.
 */

#include "fuzz.h"
#include "http/router.c"

#undef row
#include "account/routes.c"
#undef row
#include "admin/routes.c"
#undef row

extern lines_api_t  lines_workspace_api;


static ngx_int_t  ran;


void
lines_run(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc)
{
    ran = rc;
}


static void
fuzz_found(lines_ctx_t *ctx, ngx_str_t *path)
{
    u_char      *p, *s, *end;
    ngx_str_t    made;
    ngx_uint_t   n;

    /* the pattern with what was read is the path again */

    made.data = ngx_pnalloc(ctx->request->pool, path->len + 1);
    p = made.data;
    n = 0;
    s = ctx->route->path.data;
    end = s + ctx->route->path.len;

    while (s < end) {

        if (*s != ':') {
            must(p < made.data + path->len);
            *p++ = *s++;
            continue;
        }

        must(n < LINES_MAX_PARAMS
             && ctx->params[n].len > 0
             && ctx->params[n].data >= path->data
             && ctx->params[n].data + ctx->params[n].len
                <= path->data + path->len
             && memchr(ctx->params[n].data, '/', ctx->params[n].len) == NULL
             && (size_t) (made.data + path->len - p) >= ctx->params[n].len);

        p = ngx_cpymem(p, ctx->params[n].data, ctx->params[n].len);
        n++;

        while (s < end && *s != '/') {
            s++;
        }
    }

    made.len = p - made.data;
    must(lines_same(&made, path));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t               n;
    fuzz_t               in = { data, data + size };
    ngx_str_t            path;
    lines_api_t         *api;
    fuzz_request_t       request;
    ngx_http_request_t  *r;

    static lines_api_t  *apis[] = {
        &lines_workspace_api, &lines_account_api, &admin_api
    };

    static const ngx_uint_t  methods[] = {
        NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_POST, NGX_HTTP_PUT,
        NGX_HTTP_DELETE, NGX_HTTP_OPTIONS, NGX_HTTP_PATCH, NGX_HTTP_TRACE,
        NGX_HTTP_UNKNOWN
    };

    request = fuzz_request();
    r = request.r;

    api = apis[fuzz_byte(&in) % 3];
    r->method = methods[fuzz_byte(&in) % 9];
    n = fuzz_byte(&in) % 8;
    r->uri = fuzz_rest(&in);

    lines_get_loc_conf(r)->api = api;
    lines_get_loc_conf(r)->prefix.data = r->uri.data;
    lines_get_loc_conf(r)->prefix.len = ngx_min(n, r->uri.len);

    /* "rewrite ... break" may leave another URI there */

    if (n == 7) {
        ngx_str_set(&lines_get_loc_conf(r)->prefix, "/other/");
    }

    must(content_handler(r) == NGX_DONE && r->count == 2);

    if (ran == NGX_OK) {

        path = r->uri;

        if (lines_get_loc_conf(r)->prefix.len) {
            path.data += lines_get_loc_conf(r)->prefix.len;
            path.len -= lines_get_loc_conf(r)->prefix.len;

        } else {
            path.len = 0;
        }

        must(fuzz_status == 0
             && request.ctx->route->method & (r->method | NGX_HTTP_GET));
        fuzz_found(request.ctx, &path);

    } else {
        must(ran == NGX_DONE);
        must(fuzz_status == 404
             || (fuzz_status == 405
                 && r->headers_out.headers.part.nelts == 1));
    }

    fuzz_end();

    return 0;
}
