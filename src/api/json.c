
#include "api/json.h"
#include "http/text.h"


#define LINES_JSON_SIZE  512


static void
json_append(lines_json_t *json, ngx_str_t *text)
{
    size_t   size;
    u_char  *p;

    if (text->len == 0) {
        return;
    }

    if ((size_t) (json->end - json->last) < text->len) {
        size = 2 * (json->end - json->start) + text->len + LINES_JSON_SIZE;

        p = ngx_pnalloc(json->pool, size);
        if (p == NULL) {
            json->failed = 1;
            return;
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

    json->last = ngx_cpymem(json->last, text->data, text->len);
}


static void
json_write(lines_json_t *json, const char *fmt, va_list args)
{
    u_char         number[NGX_INT64_LEN];
    ngx_str_t      text;
    ngx_uint_t     i;
    lines_list_t  *list;

    static u_char     quote[] = "\"";
    static ngx_str_t  words[] = { ngx_string("false"), ngx_string("true") };

    for ( /* void */ ; *fmt; fmt++) {
        text.data = (u_char *) fmt;
        text.len = 1;

        if (*fmt == '\'') {
            text.data = quote;

        } else if (*fmt == ',' && json->last > json->start
                   && (json->last[-1] == '[' || json->last[-1] == '{'))
        {
            continue;

        } else if (*fmt == '%') {

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
        }

        json_append(json, &text);
    }
}


void
lines_json_add(lines_json_t *json, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    json_write(json, fmt, args);
    va_end(args);
}


ngx_int_t
lines_json(lines_ctx_t *ctx, ngx_uint_t status, const char *fmt, ...)
{
    va_list       args;
    lines_json_t  json = { .pool = ctx->request->pool };

    va_start(args, fmt);
    json_write(&json, fmt, args);
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
