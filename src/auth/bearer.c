
#include "auth/bearer.h"


static ngx_uint_t bearer_scheme(u_char *data, size_t len);
static void bearer_trim(u_char **data, u_char **last);


ngx_int_t
lines_bearer_header(ngx_str_t *value, ngx_str_t *token)
{
    u_char      *p, *last, *end;
    ngx_uint_t   bearer;

    p = value->data;
    last = p + value->len;

    bearer_trim(&p, &last);

    if (p == last) {
        return NGX_DECLINED;
    }

    end = ngx_strlchr(p, last, ' ');

    if (end == NULL) {

        /* "Bearer" alone, or a token without its scheme */

        return NGX_ABORT;
    }

    bearer = bearer_scheme(p, end - p);

    if (!bearer) {
        return NGX_DECLINED;
    }

    for (p = end; *p == ' '; p++) { /* void: last is no space */ }

    if (ngx_strlchr(p, last, ' ') != NULL) {
        return NGX_ABORT;
    }

    token->data = p;
    token->len = last - p;

    return NGX_OK;
}


static ngx_uint_t
bearer_scheme(u_char *data, size_t len)
{
    size_t               i;
    static const u_char  bearer[] = "bearer";

    if (len != sizeof(bearer) - 1) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (ngx_tolower(data[i]) != bearer[i]) {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
lines_bearer_cookie(ngx_str_t *value, ngx_str_t *name, ngx_str_t *token)
{
    u_char  *p, *last, *end, *start, *stop;

    p = value->data;
    last = p + value->len;

    while (p < last) {

        end = ngx_strlchr(p, last, ';');

        if (end == NULL) {
            end = last;
        }

        start = p;
        stop = end;

        bearer_trim(&start, &stop);

        if ((size_t) (stop - start) > name->len
            && start[name->len] == '='
            && ngx_memcmp(start, name->data, name->len) == 0)
        {
            token->data = start + name->len + 1;
            token->len = stop - token->data;

            return NGX_OK;
        }

        p = end + 1;
    }

    return NGX_DECLINED;
}


static void
bearer_trim(u_char **data, u_char **last)
{
    u_char  *p, *end;

    p = *data;
    end = *last;

    while (p < end && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (p < end && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }

    *data = p;
    *last = end;
}
