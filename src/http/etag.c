
#include "http/etag.h"
#include "http/text.h"


/* two hashes, and what is around them */
#define LINES_ETAG_LEN  (sizeof("W/\"\"") - 1 + 16)


/* what follows is an instant: its name with the quote that it begins with;
   within a text of a client's, quotes are escaped */

static const ngx_str_t  etag_instants[] = {
    ngx_string("\"updatedAt\":\""),
    ngx_string("\"updated_at\":\""),
    ngx_string("\"lastCheckedAt\":\"")
};

#define LINES_ETAG_INSTANTS  (sizeof(etag_instants) / sizeof(ngx_str_t))


/* so long is the name of an instant at p, or 0 */

static size_t
etag_instant(u_char *p, u_char *last)
{
    ngx_uint_t  i;

    for (i = 0; i < LINES_ETAG_INSTANTS; i++) {

        if ((size_t) (last - p) >= etag_instants[i].len
            && ngx_memcmp(p, etag_instants[i].data, etag_instants[i].len) == 0)
        {
            return etag_instants[i].len;
        }
    }

    return 0;
}


/* each read has one: a digest would take a tenth of what a read does, a hash of
   32 bits alone would be the same for another text too often */

static void
etag_add(uint32_t hash[], u_char *from, u_char *last)
{
    hash[0] = hash[0] * 31 + ngx_murmur_hash2(from, last - from);

    if (from < last) {
        hash[1] = hash[1] * 31 + ngx_murmur_hash2(from + 1, last - from - 1);
    }
}


ngx_int_t
lines_etag(ngx_pool_t *pool, ngx_str_t *json, ngx_str_t *etag)
{
    size_t     len;
    u_char    *p, *from, *last;
    uint32_t   hash[2];

    etag->data = ngx_pnalloc(pool, LINES_ETAG_LEN);
    if (etag->data == NULL) {
        return NGX_ERROR;
    }

    hash[0] = 0;
    hash[1] = 0;

    from = json->data;
    last = json->data + json->len;

    for (p = ngx_strlchr(from, last, '"');
         p;
         p = ngx_strlchr(p + 1, last, '"'))
    {
        len = etag_instant(p, last);

        if (len == 0) {
            continue;
        }

        p += len;
        etag_add(hash, from, p);

        from = ngx_strlchr(p, last, '"');
        if (from == NULL) {
            from = last;
            break;
        }

        p = from;
    }

    etag_add(hash, from, last);

    p = ngx_sprintf(etag->data, "W/\"%08xD%08xD\"", hash[0], hash[1]);
    etag->len = p - etag->data;

    return NGX_OK;
}


/* the opaque part of the first of a list, with its quotes, which the list loses;
   NGX_DECLINED: there is none, or it is malformed from here on */

static ngx_int_t
etag_next(ngx_str_t *list, ngx_str_t *opaque)
{
    u_char  *p, *last;

    p = list->data;
    last = p + list->len;

    while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
        p++;
    }

    if (last - p > 2 && p[0] == 'W' && p[1] == '/') {
        p += 2;
    }

    if (p == last || *p != '"') {
        return NGX_DECLINED;
    }

    opaque->data = p;

    p = ngx_strlchr(p + 1, last, '"');
    if (p == NULL) {
        return NGX_DECLINED;
    }

    opaque->len = ++p - opaque->data;

    list->data = p;
    list->len = last - p;

    return NGX_OK;
}


ngx_uint_t
lines_etag_known(ngx_http_request_t *r, ngx_str_t *etag)
{
    ngx_str_t  list, own, opaque;

    list = *etag;

    if (r->headers_in.if_none_match == NULL
        || etag_next(&list, &own) != NGX_OK)
    {
        return 0;
    }

    list = r->headers_in.if_none_match->value;

    if (lines_is(&list, "*")) {
        return 1;
    }

    while (etag_next(&list, &opaque) == NGX_OK) {

        if (lines_same(&opaque, &own)) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
lines_etag_named(ngx_http_request_t *r)
{
    ngx_str_t  list, opaque;

    if (r->headers_in.if_none_match == NULL) {
        return 0;
    }

    list = r->headers_in.if_none_match->value;

    return etag_next(&list, &opaque) == NGX_OK;
}
