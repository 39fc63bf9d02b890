
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
    u_char  *p, *last, *end, *next;

    last = value->data + value->len;

    for (p = value->data; p < last; p = next + 1) {

        end = ngx_strlchr(p, last, ';');

        if (end == NULL) {
            end = last;
        }

        next = end;

        bearer_trim(&p, &end);

        if ((size_t) (end - p) > name->len
            && p[name->len] == '='
            && ngx_memcmp(p, name->data, name->len) == 0)
        {
            token->data = p + name->len + 1;
            token->len = end - token->data;

            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static void
bearer_trim(u_char **data, u_char **last)
{
    while (*data < *last && (**data == ' ' || **data == '\t')) {
        (*data)++;
    }

    while (*data < *last && ((*last)[-1] == ' ' || (*last)[-1] == '\t')) {
        (*last)--;
    }
}
