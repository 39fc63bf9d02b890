
#include "http/strict.h"


static const u_char  base64url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


ngx_int_t
lines_base64url_digit(u_char ch)
{
    const u_char  *p;

    p = memchr(base64url_digits, ch, sizeof(base64url_digits) - 1);

    return p ? p - base64url_digits : -1;
}


ngx_int_t
lines_base64url_decode(ngx_str_t *dst, ngx_str_t *src)
{
    u_char     *d;
    size_t      i;
    uint32_t    bits;
    ngx_int_t   digit;
    ngx_uint_t  n;

    d = dst->data;
    dst->len = 0;

    bits = 0;
    n = 0;

    for (i = 0; i < src->len; i++) {

        digit = lines_base64url_digit(src->data[i]);
        if (digit < 0) {
            return NGX_DECLINED;
        }

        bits = bits << 6 | (uint32_t) digit;
        n += 6;

        if (n >= 8) {
            n -= 8;
            *d++ = (u_char) (bits >> n);
            bits &= (1u << n) - 1;
        }
    }

    /* bits beyond the last octet would give it a second spelling */

    if (n == 6 || bits) {
        return NGX_DECLINED;
    }

    dst->len = d - dst->data;

    return NGX_OK;
}


ngx_int_t
lines_strict_json_load(ngx_str_t *text, size_t flags, ngx_uint_t depth,
    ngx_uint_t containers, json_t **object)
{
    json_error_t  error;

    if (lines_strict_json_scan(text, -1, depth, containers) == NULL) {
        return NGX_DECLINED;
    }

    error.text[0] = '\0';

    *object = json_loadb((const char *) text->data, text->len,
                         flags|JSON_DECODE_INT_AS_REAL, &error);

    if (*object == NULL) {

        /* a refusal has a text, a failed malloc() mostly has none */

        return (error.text[0] == '\0'
                || json_error_code(&error) == json_error_out_of_memory)
               ? NGX_ERROR
               : NGX_DECLINED;
    }

    if (!json_is_object(*object)) {
        json_decref(*object);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


u_char *
lines_strict_json_scan(ngx_str_t *text, int stop, ngx_uint_t depth,
    ngx_uint_t containers)
{
    u_char      *p, *last;
    ngx_uint_t   level, quoted;

    level = 0;
    quoted = 0;

    last = text->data + text->len;

    for (p = text->data; p < last; p++) {

        if (quoted) {

            if (*p == '\\' && p + 1 < last) {
                p++;

            } else if (*p == '"') {
                quoted = 0;
            }

            continue;
        }

        if (level == 0 && *p == stop) {
            return p;
        }

        switch (*p) {

        case '"':
            quoted = 1;
            break;

        case '{':
        case '[':
            if (level++ == depth || containers-- == 0) {
                return NULL;
            }

            break;

        case '}':
        case ']':
            level -= (level != 0);
            break;
        }
    }

    return last;
}


ngx_uint_t
lines_strict_json_clean(json_t *value)
{
    size_t       i, len;
    const char  *p;

    p = json_string_value(value);
    len = json_string_length(value);

    for (i = 0; i < len; i++) {
        if ((u_char) p[i] < 0x20 || p[i] == 0x7f) {
            return 0;
        }
    }

    return len > 0;
}
