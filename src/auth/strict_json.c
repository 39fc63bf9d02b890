
#include "auth/strict_json.h"


ngx_uint_t
lines_strict_json_bounded(ngx_str_t *text, ngx_uint_t depth,
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

        switch (*p) {

        case '"':
            quoted = 1;
            break;

        case '{':
        case '[':
            if (level++ == depth || containers-- == 0) {
                return 0;
            }

            break;

        case '}':
        case ']':
            if (level-- == 0) {
                return 0;
            }

            break;
        }
    }

    return 1;
}


ngx_int_t
lines_strict_json_object(ngx_str_t *text, ngx_uint_t depth,
    ngx_uint_t containers, json_t **object)
{
    json_t        *value;
    json_error_t   error;

    if (!lines_strict_json_bounded(text, depth, containers)) {
        return NGX_DECLINED;
    }

    error.text[0] = '\0';

    value = json_loadb((const char *) text->data, text->len,
                       JSON_REJECT_DUPLICATES|JSON_DECODE_INT_AS_REAL, &error);

    if (value == NULL) {

        /* a refusal has a text, a failed malloc() mostly has none */

        if (error.text[0] == '\0'
            || json_error_code(&error) == json_error_out_of_memory)
        {
            return NGX_ERROR;
        }

        return NGX_DECLINED;
    }

    if (!json_is_object(value)) {
        json_decref(value);
        return NGX_DECLINED;
    }

    *object = value;

    return NGX_OK;
}
