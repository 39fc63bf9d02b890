
#include "auth/bearer.h"


static void bearer_trim(u_char **data, u_char **last);


ngx_int_t
lines_bearer_header(ngx_str_t *value, ngx_str_t *token)
{
    u_char  *p, *last, *end;

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

    if (end - p != 6 || strncasecmp((char *) p, "bearer", 6) != 0) {
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
