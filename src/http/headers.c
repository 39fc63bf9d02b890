
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/headers.h"


ngx_str_t  lines_own_headers[LINES_OWN_HEADERS] = {
    ngx_string("Cache-Control"),
    ngx_string("X-Request-Id"),
    ngx_string("Retry-After")
};


ngx_table_elt_t *
lines_find_header(ngx_http_request_t *r, const char *name)
{
    return lines_next_header(r, name, NULL);
}


ngx_table_elt_t *
lines_next_header(ngx_http_request_t *r, const char *name,
    ngx_table_elt_t *after)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);
    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (after) {
            if (&h[i] == after) {
                after = NULL;
            }

            continue;
        }

        if (h[i].hash
            && h[i].key.len == len
            && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
        {
            return &h[i];
        }
    }
}


ngx_int_t
lines_ask(ngx_http_request_t *r, const char *challenge)
{
    ngx_table_elt_t  *h;

    h = r->headers_out.www_authenticate;

    if (h && h->hash) {
        return NGX_OK;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));
    h->hash = 1;
    ngx_str_set(&h->key, "WWW-Authenticate");
    h->value.data = (u_char *) challenge;
    h->value.len = ngx_strlen(challenge);

    /* satisfy any takes it back */
    r->headers_out.www_authenticate = h;

    return NGX_OK;
}


ngx_int_t
lines_add_header(ngx_http_request_t *r, const char *name, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    /* where headers of one name are linked, this one ends its list */
    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;

    return NGX_OK;
}


ngx_int_t
lines_retry_after(ngx_http_request_t *r, ngx_uint_t seconds)
{
    ngx_str_t  value;

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%ui", seconds ? seconds : 1)
                - value.data;

    return lines_add_own(r, LINES_RETRY_AFTER, &value);
}


ngx_int_t
lines_add_own(ngx_http_request_t *r, ngx_uint_t n, ngx_str_t *value)
{
    return lines_add_header(r, (char *) lines_own_headers[n].data, value);
}
