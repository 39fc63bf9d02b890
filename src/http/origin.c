
#include "http/headers.h"
#include "http/origin.h"
#include "http/text.h"


ngx_int_t
lines_origin(ngx_http_request_t *r, ngx_str_t *origin)
{
    ngx_table_elt_t  *h;

    h = lines_find_header(r, "origin");

    if (h == NULL) {
        return NGX_DECLINED;
    }

    *origin = h->value;

    return lines_next_header(r, "origin", h) ? NGX_ABORT : NGX_OK;
}


ngx_uint_t
lines_origin_among(ngx_str_t *origin, ngx_str_t *origins, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (lines_same(origin, &origins[i])) {
            return !lines_is(origin, "null");
        }
    }

    return 0;
}


/* as the client named it; in HTTP/3 there is no header of it, but :authority */

static ngx_str_t
origin_authority(ngx_http_request_t *r)
{
    ngx_str_t  host = ngx_null_string;

    if (r->headers_in.host) {
        return r->headers_in.host->value;
    }

    if (r->http_version >= NGX_HTTP_VERSION_20 && r->host_start) {
        host.data = r->host_start;
        host.len = r->host_end - r->host_start;
    }

    return host;
}


ngx_uint_t
lines_origin_own(ngx_http_request_t *r, ngx_str_t *origin)
{
#if (NGX_HTTP_SSL)

    ngx_str_t  host;

    static ngx_str_t  scheme = ngx_string("https://");
    static ngx_str_t  port = ngx_string(":443");

    if (r->connection->ssl == NULL) {
        return 0;
    }

    host = origin_authority(r);

    if (host.len > port.len
        && ngx_memcmp(host.data + host.len - port.len, port.data, port.len)
           == 0)
    {
        host.len -= port.len;
    }

    return host.len
           && origin->len == scheme.len + host.len
           && ngx_memcmp(origin->data, scheme.data, scheme.len) == 0
           && ngx_memcmp(origin->data + scheme.len, host.data, host.len) == 0;

#else
    return 0;
#endif
}


ngx_uint_t
lines_origin_host(ngx_http_request_t *r, ngx_str_t *origin)
{
    ngx_str_t   host;
    ngx_uint_t  i;

    static ngx_str_t  schemes[] = {
        ngx_string("https://"), ngx_string("http://")
    };

#if (NGX_HTTP_SSL)

    if (r->connection->ssl) {
        return lines_origin_own(r, origin);
    }

#endif

    host = origin_authority(r);

    for (i = 0; i < 2; i++) {

        if (host.len
            && origin->len == schemes[i].len + host.len
            && ngx_memcmp(origin->data, schemes[i].data, schemes[i].len) == 0
            && ngx_memcmp(origin->data + schemes[i].len, host.data, host.len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_str_t
lines_origin_port(ngx_http_request_t *r)
{
    u_char     *p, *last;
    ngx_str_t   host, port;

    ngx_str_null(&port);

    host = origin_authority(r);
    if (host.len == 0) {
        return port;
    }

    last = host.data + host.len;

    for (p = last; p > host.data && p[-1] >= '0' && p[-1] <= '9'; p--) {
        /* void */
    }

    if (p > host.data && p[-1] == ':' && last - p <= 5) {
        port.data = p;
        port.len = last - p;
    }

    return port;
}
