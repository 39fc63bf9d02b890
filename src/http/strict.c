
#include "http/strict.h"


/* of each octet, 64: it is none; a token has hundreds */

static const u_char  base64url_digits[256] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64,
    64,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 63,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64
};


ngx_int_t
lines_base64url_decode(ngx_str_t *dst, ngx_str_t *src)
{
    u_char     *d;
    size_t      i;
    uint32_t    bits, digit;
    ngx_uint_t  n;

    d = dst->data;
    dst->len = 0;

    bits = 0;
    n = 0;

    for (i = 0; i < src->len; i++) {

        digit = base64url_digits[src->data[i]];
        if (digit == 64) {
            return NGX_DECLINED;
        }

        bits = bits << 6 | digit;
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
