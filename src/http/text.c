
#include <ngx_config.h>
#include <ngx_core.h>

#include "http/text.h"


ngx_uint_t
lines_same(ngx_str_t *a, ngx_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || ngx_memcmp(a->data, b->data, a->len) == 0);
}


ngx_uint_t
lines_is(ngx_str_t *value, const char *text)
{
    ngx_str_t  s = { ngx_strlen(text), (u_char *) text };

    return lines_same(value, &s);
}


ngx_uint_t
lines_is_nocase(ngx_str_t *value, const char *text)
{
    size_t  len;

    len = ngx_strlen(text);

    return value->len == len
           && ngx_strncasecmp(value->data, (u_char *) text, len) == 0;
}


ngx_uint_t
lines_is_graph(ngx_str_t *value)
{
    size_t  i;

    for (i = 0; i < value->len; i++) {
        if (value->data[i] <= ' ' || value->data[i] >= 0x7f) {
            return 0;
        }
    }

    return 1;
}


ngx_uint_t
lines_is_name(ngx_str_t *value)
{
    size_t  i;

    for (i = 0; i < value->len; i++) {
        if (!lines_is_alnum(value->data[i])
            && value->data[i] != '_'
            && value->data[i] != '-')
        {
            return 0;
        }
    }

    return i != 0;
}


ngx_uint_t
lines_is_tenant(ngx_str_t *value)
{
    return value->len <= 64 && lines_is_name(value);
}


ngx_str_t
lines_split(ngx_str_t *text, u_char ch)
{
    u_char     *last, *end;
    ngx_str_t   part;

    /* what is not there has no data, to which nothing can be added */

    if (text->len == 0) {
        return *text;
    }

    last = text->data + text->len;
    end = memchr(text->data, ch, text->len);

    part.data = text->data;
    part.len = (end ? end : last) - text->data;

    text->data = end ? end + 1 : last;
    text->len = last - text->data;

    return part;
}


u_char *
lines_pair(u_char *p, ngx_str_t *a, ngx_str_t *b)
{
    p = a->len ? ngx_cpymem(p, a->data, a->len) : p;
    *p++ = ' ';

    return b->len ? ngx_cpymem(p, b->data, b->len) : p;
}


ngx_str_t
lines_item(ngx_str_t *list, u_char ch)
{
    ngx_str_t  item;

    item = lines_split(list, ch);

    while (item.len && (*item.data == ' ' || *item.data == '\t')) {
        item.data++;
        item.len--;
    }

    while (item.len
           && (item.data[item.len - 1] == ' '
               || item.data[item.len - 1] == '\t'))
    {
        item.len--;
    }

    return item;
}


ngx_str_t
lines_json_string(ngx_pool_t *pool, ngx_str_t *value)
{
    u_char     *p;
    size_t      escape;
    ngx_str_t   json;

    escape = ngx_escape_json(NULL, value->data, value->len);

    json.len = value->len + escape + 2;
    json.data = ngx_pnalloc(pool, json.len);

    if (json.data == NULL) {
        ngx_str_null(&json);
        return json;
    }

    p = json.data;
    *p++ = '"';
    p = (u_char *) ngx_escape_json(p, value->data, value->len);
    *p = '"';

    return json;
}


static void
json_free(void *data)
{
    json_decref(data);
}


ngx_int_t
lines_json_parse(ngx_pool_t *pool, ngx_str_t *text, size_t flags,
    json_t **json, json_error_t *error)
{
    json_error_t         local;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    error = error ? error : &local;

    *json = json_loadb((char *) text->data, text->len, flags, error);

    /* without memory jansson has no word for it */

    if (*json == NULL) {
        return error->text[0] ? NGX_DECLINED : NGX_ERROR;
    }

    cln->handler = json_free;
    cln->data = *json;

    return NGX_OK;
}
