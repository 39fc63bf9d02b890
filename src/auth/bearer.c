
#include "auth/bearer.h"
#include "http/text.h"


ngx_int_t
lines_bearer_header(ngx_str_t *value, ngx_str_t *token)
{
    u_char  *p, *last, *end;

    p = value->data;
    last = p + value->len;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (p < last && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    if (p == last) {
        return NGX_DECLINED;
    }

    end = memchr(p, ' ', last - p);

    if (end == NULL) {

        /* "Bearer" alone, or a token without its scheme */

        return NGX_ABORT;
    }

    if (end - p != 6 || strncasecmp((char *) p, "bearer", 6) != 0) {
        return NGX_DECLINED;
    }

    for (p = end; *p == ' '; p++) { /* void: last is no space */ }

    if (memchr(p, ' ', last - p) != NULL) {
        return NGX_ABORT;
    }

    token->data = p;
    token->len = last - p;

    return NGX_OK;
}


ngx_uint_t
lines_bearer_key(ngx_str_t *prefix, ngx_str_t *value, ngx_str_t *key)
{
    return value->len
           && lines_bearer_header(value, key) == NGX_OK
           && key->len > prefix->len
           && ngx_strncmp(key->data, prefix->data, prefix->len) == 0;
}


ngx_int_t
lines_bearer_cookie(ngx_str_t *value, ngx_str_t *name, ngx_str_t *token)
{
    ngx_str_t  rest, cookie;

    rest = *value;

    while (rest.len) {

        cookie = lines_item(&rest, ';');

        if (cookie.len > name->len
            && cookie.data[name->len] == '='
            && ngx_memcmp(cookie.data, name->data, name->len) == 0)
        {
            token->data = cookie.data + name->len + 1;
            token->len = cookie.len - name->len - 1;

            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}
