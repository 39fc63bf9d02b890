
#include "api/json.h"
#include "http/text.h"


#define LINES_JSON_SIZE  512


/* NGX_OK: the text is there, and room behind it for more */

static ngx_int_t
json_append(lines_json_t *json, ngx_str_t *text, size_t more)
{
    size_t   size;
    u_char  *p;

    if ((size_t) (json->end - json->last) < text->len + more) {
        size = 2 * (json->end - json->start) + text->len + more
               + LINES_JSON_SIZE;

        p = ngx_pnalloc(json->pool, size);
        if (p == NULL) {
            json->failed = 1;
            return NGX_ERROR;
        }

        if (json->start) {
            json->last = ngx_cpymem(p, json->start, json->last - json->start);
            (void) ngx_pfree(json->pool, json->start);

        } else {
            json->last = p;
        }

        json->start = p;
        json->end = p + size;
    }

    if (text->len) {
        json->last = ngx_cpymem(json->last, text->data, text->len);
    }

    return NGX_OK;
}


void
lines_json_write(lines_json_t *json, const char *fmt, va_list args)
{
    u_char         number[NGX_INT64_LEN];
    ngx_str_t      text;
    ngx_uint_t     i;
    lines_list_t  *list;

    static ngx_str_t  words[] = { ngx_string("false"), ngx_string("true") };

    ngx_str_null(&text);

    /* what the format itself adds always has room */

    while (json_append(json, &text, ngx_strlen(fmt)) == NGX_OK) {

        for ( /* void */ ; *fmt && *fmt != '%'; fmt++) {

            if (*fmt != ','
                || json->last == json->start
                || (json->last[-1] != '[' && json->last[-1] != '{'))
            {
                *json->last++ = (*fmt == '\'') ? '"' : (u_char) *fmt;
            }
        }

        if (*fmt == '\0') {
            return;
        }

        switch (*++fmt) {

        case 's':
            text.data = va_arg(args, u_char *);
            text.len = ngx_strlen(text.data);
            break;

        case 'L':
            text.data = number;
            text.len = ngx_sprintf(number, "%L", va_arg(args, int64_t))
                       - number;
            break;

        case 'B':
            text = words[va_arg(args, ngx_uint_t) != 0];
            break;

        case 'A':
            list = va_arg(args, lines_list_t *);
            text.len = 0;

            for (i = 0; i < list->n; i++) {
                lines_json_add(json, i ? ",%V" : "%V", &list->elts[i]);
            }

            break;

        default:
            text = *va_arg(args, ngx_str_t *);

            if (*fmt != 'V' && text.len == 0) {
                ngx_str_set(&text, "null");

            } else if (*fmt == 'J') {
                text = lines_json_string(json->pool, &text);
                json->failed |= (text.data == NULL);
            }
        }

        fmt++;
    }
}


void
lines_json_add(lines_json_t *json, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    lines_json_write(json, fmt, args);
    va_end(args);
}


ngx_int_t
lines_json(lines_ctx_t *ctx, ngx_uint_t status, const char *fmt, ...)
{
    va_list       args;
    lines_json_t  json = { .pool = ctx->request->pool };

    va_start(args, fmt);
    lines_json_write(&json, fmt, args);
    va_end(args);

    return lines_json_answer(ctx, status, &json);
}


ngx_int_t
lines_json_answer(lines_ctx_t *ctx, ngx_uint_t status, lines_json_t *json)
{
    ngx_str_t  text;

    text.data = json->start;
    text.len = json->last - json->start;

    return json->failed ? NGX_ERROR
                        : lines_answer(ctx->request, ctx, status, &text);
}
