
#include "http/headers.h"
#include "http/text.h"
#include "store/redis.h"


const char  *lines_own_headers[LINES_OWN_HEADERS] = {
    "Cache-Control",
    "X-Request-Id",
    "Retry-After",
    "X-Content-Type-Options"
};


ngx_table_elt_t *
lines_header_in(ngx_list_t *headers, const char *name,
    ngx_table_elt_t *after)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);

    for (part = &headers->part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (after) {
                if (&h[i] == after) {
                    after = NULL;
                }

                continue;
            }

            if (h[i].hash
                && h[i].key.len == len
                && strncasecmp((char *) h[i].key.data, name, len) == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


static ngx_table_elt_t *
push_header(ngx_http_request_t *r, const char *name, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);

    /* where headers of one name are linked, this one ends its list */

    if (h) {
        *h = (ngx_table_elt_t) {
            .hash = 1,
            .key = { ngx_strlen(name), (u_char *) name },
            .value = *value
        };
    }

    return h;
}


ngx_int_t
lines_ask(ngx_http_request_t *r, const char *challenge)
{
    ngx_str_t         value;
    ngx_table_elt_t  *h;

    h = r->headers_out.www_authenticate;

    if (h && h->hash) {
        return NGX_OK;
    }

    value.data = (u_char *) challenge;
    value.len = ngx_strlen(challenge);

    /* satisfy any takes it back */
    r->headers_out.www_authenticate = push_header(r, "WWW-Authenticate",
                                                  &value);

    return r->headers_out.www_authenticate ? NGX_OK : NGX_ERROR;
}


ngx_int_t
lines_add_header(ngx_http_request_t *r, const char *name, ngx_str_t *value)
{
    return push_header(r, name, value) ? NGX_OK : NGX_ERROR;
}


ngx_int_t
lines_drop_header(ngx_http_request_t *r, ngx_table_elt_t *h)
{
    ngx_list_t       *headers;
    ngx_uint_t        i, n;
    ngx_table_elt_t  *elts;
    ngx_list_part_t  *part, *own, *copy, **next;

    /* parts of its own, of the same elements: without this one, and full */

    headers = &r->headers_in.headers;
    own = NULL;
    next = &own;

    for (part = &headers->part; part; part = part->next) {
        elts = part->elts;

        for (i = 0; i < part->nelts; i = n + 1) {

            for (n = i; n < part->nelts && &elts[n] != h; n++) { /* void */ }

            if (n == i) {
                continue;
            }

            copy = ngx_palloc(r->pool, sizeof(ngx_list_part_t));
            if (copy == NULL) {
                return NGX_ERROR;
            }

            *copy = (ngx_list_part_t) { .elts = &elts[i], .nelts = n - i };

            *next = copy;
            next = &copy->next;
        }
    }

    if (own == NULL) {
        return ngx_list_init(headers, r->pool, 4, sizeof(ngx_table_elt_t));
    }

    headers->part = *own;

    for (part = &headers->part; part->next; part = part->next) { /* void */ }

    headers->last = part;
    headers->nalloc = part->nelts;

    return NGX_OK;
}


ngx_table_elt_t *
lines_push_header(ngx_http_request_t *r, ngx_table_elt_t *h)
{
    ngx_table_elt_t  *copy;

    copy = ngx_list_push(&r->headers_in.headers);

    if (copy) {
        *copy = *h;
#if (nginx_version >= 1023000)
        copy->next = NULL;
#endif
    }

    return copy;
}


ngx_int_t
lines_retry_after(ngx_http_request_t *r, ngx_uint_t seconds)
{
    ngx_str_t  value;

    return lines_redis_format(r->pool, &value, "%ui", seconds ? seconds : 1)
           == NGX_OK
           ? lines_add_own(r, LINES_RETRY_AFTER, &value)
           : NGX_ERROR;
}
