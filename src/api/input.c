
#include "api/input.h"
#include "api/json.h"
#include "http/digest.h"
#include "http/router.h"


#define LINES_EMAIL_MAX  254


ngx_int_t
lines_hash(ngx_pool_t *pool, ngx_str_t *value, ngx_str_t *hex)
{
    u_char  *p;

    p = ngx_pnalloc(pool, 2 * LINES_SHA256_LEN);

    if (p == NULL || lines_sha256_hex(value, p) != NGX_OK) {
        return NGX_ERROR;
    }

    hex->len = 2 * LINES_SHA256_LEN;
    hex->data = p;

    return NGX_OK;
}


lines_list_t
lines_given_of(ngx_str_t *pairs, ngx_uint_t n, ngx_uint_t made)
{
    ngx_uint_t    i;
    lines_list_t  given = { .elts = pairs };

    for (i = 0; i < n; i += 2) {
        if (made ? pairs[i + 1].len != 0 : pairs[i + 1].data != NULL) {
            pairs[given.n++] = pairs[i];
            pairs[given.n++] = pairs[i + 1];
        }
    }

    return given;
}


size_t
lines_read_time(ngx_str_t *text, const char *format, time_t *time)
{
    char       again[sizeof("YYYY-MM-DDTHH:MM:SS")];
    size_t     len;
    struct tm  tm;

    ngx_memzero(&tm, sizeof(struct tm));

    if (strptime((char *) text->data, format, &tm) == NULL) {
        return 0;
    }

    *time = timegm(&tm);

    /* a day that there is not has become another one */

    len = strftime(again, sizeof(again), format, &tm);

    return ngx_strncmp(text->data, again, len) == 0 ? len : 0;
}


ngx_uint_t
lines_is_e164(ngx_str_t *value)
{
    return value->len >= 8
           && value->len <= 16
           && value->data[0] == '+'
           && value->data[1] != '0'
           && ngx_atoof(value->data + 1, value->len - 1) != NGX_ERROR;
}


ngx_uint_t
lines_is_email(ngx_str_t *value)
{
    size_t       i, at;
    u_char       ch, prev;
    ngx_uint_t   dots;

    if (value->len < 5 || value->len > LINES_EMAIL_MAX) {
        return 0;
    }

    at = 0;
    dots = 0;
    prev = '.';

    for (i = 0; i < value->len; i++) {
        ch = value->data[i];

        if (ch == '@') {
            if (at || i == 0 || i > 64 || prev == '.') {
                return 0;
            }

            at = i;
            prev = '.';
            continue;
        }

        if (ch == '.') {
            if (prev == '.' || (at && prev == '-')) {
                return 0;
            }

            dots += at ? 1 : 0;

        } else if (at) {
            if (!lines_is_alnum(ch) && !(ch == '-' && prev != '.')) {
                return 0;
            }

        } else if (!lines_is_alnum(ch)
                   && (ch == '\0'
                       || ngx_strchr("!#$%&'*+/=?^_`{|}~-", ch) == NULL))
        {
            return 0;
        }

        prev = ch;
    }

    return at && dots && prev != '.' && prev != '-';
}


ngx_int_t
lines_read_input(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    const lines_body_input_t *input = ctx->route->input;

    ctx->data = ngx_pcalloc(r->pool, input->size);
    if (ctx->data == NULL) {
        return NGX_ERROR;
    }

    return ctx->route->method == NGX_HTTP_GET
           ? lines_read_query(r, ctx, input->fields, ctx->data)
           : lines_read_members(r, ctx, ctx->body, input->fields, ctx->data);
}


static ngx_int_t
input_error(ngx_http_request_t *r, lines_ctx_t *ctx, const char *format,
    const char *name, size_t max)
{
    ngx_str_t  text;

    if (lines_redis_format(r->pool, &text, format, name, max) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_refuse(ctx, 400, (char *) text.data);
}


static ngx_int_t
input_absent(ngx_http_request_t *r, lines_ctx_t *ctx,
    const lines_input_t *input)
{
    if (!(input->flags & LINES_REQUIRED)) {
        return NGX_OK;
    }

    if (input->absent || input->bad) {
        return lines_refuse(ctx, 400,
                            input->absent ? input->absent : input->bad);
    }

    return input_error(r, ctx, "%s is required%Z", input->name, 0);
}


/*
 * White_Space (PropList.txt) and Default_Ignorable_Code_Point
 * (DerivedCoreProperties.txt) of Unicode 16.0, but for control characters,
 * which have a word of their own; and two that have neither property and show
 * nothing all the same: the marks of annotations and the braille blank.
 */

static ngx_uint_t
text_is_blank(uint32_t ch)
{
    ngx_uint_t  i;

    static const struct {
        uint32_t  first;
        uint32_t  last;
    } blank[] = {
        { 0x0020, 0x0020 }, { 0x00a0, 0x00a0 }, { 0x00ad, 0x00ad },
        { 0x034f, 0x034f }, { 0x061c, 0x061c }, { 0x115f, 0x1160 },
        { 0x1680, 0x1680 }, { 0x17b4, 0x17b5 }, { 0x180b, 0x180f },
        { 0x2000, 0x200f }, { 0x2028, 0x202f }, { 0x205f, 0x206f },
        { 0x2800, 0x2800 }, { 0x3000, 0x3000 }, { 0x3164, 0x3164 },
        { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff }, { 0xffa0, 0xffa0 },
        { 0xfff0, 0xfffb }, { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a },
        { 0xe0000, 0xe0fff }
    };

    for (i = 0; i < sizeof(blank) / sizeof(blank[0]); i++) {
        if (ch <= blank[i].last) {
            return ch >= blank[i].first;
        }
    }

    return 0;
}


/* NULL, or what is wrong */

static const char *
text_judge(ngx_str_t *value, size_t max)
{
    size_t       n;
    u_char      *p, *q, *last;
    uint32_t     ch;
    ngx_uint_t   control, visible;

    n = 0;
    control = 0;
    visible = 0;

    last = value->data + value->len;

    for (p = value->data; p < last; n++) {

        if (*p < 0x80) {
            ch = *p++;

        } else {
            q = p;
            ch = ngx_utf8_decode(&q, last - p);

            if (ch > 0x10ffff) {
                q = p + 1;
                ch = *p;
            }

            p = q;
        }

        if (ch < ' ' || (ch >= 0x7f && ch <= 0x9f)) {
            control = 1;

        } else if (!text_is_blank(ch)) {
            visible = 1;
        }
    }

    if (control) {
        return "%s must not have control characters%Z";
    }

    if (n > max) {
        return "%s must have at most %uz characters%Z";
    }

    return n && !visible ? "%s must not be blank%Z" : NULL;
}


static ngx_int_t
input_string(ngx_http_request_t *r, lines_ctx_t *ctx,
    const lines_input_t *input, ngx_str_t *value)
{
    ngx_int_t            rc;
    const char  *const  *word;

    if (input->kind == LINES_INPUT_TEXT) {

        if (value->len == 0) {
            return input_absent(r, ctx, input);
        }

        rc = lines_check_text(r, ctx, input->name, value, input->max);

        if (rc != NGX_OK) {
            return rc;
        }

    } else if (text_judge(value, input->max)) {
        return lines_refuse(ctx, 400, input->bad);
    }

    for (word = input->words; *word; word++) {

        if (lines_is(value, *word)) {
            return NGX_OK;
        }
    }

    if (word != input->words || (input->is && !input->is(value))) {
        return lines_refuse(ctx, 400, input->bad);
    }

    return NGX_OK;
}


static ngx_int_t
input_member(ngx_http_request_t *r, lines_ctx_t *ctx, json_t *member,
    const lines_input_t *input, void *field)
{
    int64_t     n;
    ngx_str_t  *value = field;

    if (input->kind == LINES_INPUT_OBJECT && json_is_object(member)) {
        return lines_read_members(r, ctx, member, input->members, field);
    }

    if (input->kind == LINES_INPUT_LIST) {
        n = (int64_t) json_array_size(member);

        if (n < input->min || n > input->max) {
            return lines_refuse(ctx, 400, input->bad);
        }

        *(json_t **) field = member;
        return NGX_OK;
    }

    if (input->kind == LINES_INPUT_FLAG && json_is_boolean(member)) {
        *(ngx_uint_t *) field = json_is_true(member);
        return NGX_OK;
    }

    if (json_is_integer(member)) {
        n = json_integer_value(member);

        if (n >= input->min && n <= input->max) {

            if (input->kind == LINES_INPUT_NUMBER) {
                *(int64_t *) field = n;
                return NGX_OK;
            }

            if (input->kind == LINES_INPUT_AMOUNT) {
                return lines_redis_format(r->pool, value, "%L", n);
            }
        }
    }

    if (json_is_null(member) && input->flags & LINES_NULL_EMPTY) {
        ngx_str_set(value, "");
        return NGX_OK;
    }

    if (json_is_string(member)
        && input->kind != LINES_INPUT_NUMBER
        && input->kind != LINES_INPUT_FLAG
        && input->kind != LINES_INPUT_OBJECT)
    {
        value->data = (u_char *) json_string_value(member);
        value->len = json_string_length(member);

        return input_string(r, ctx, input, value);
    }

    if (input->flags & LINES_LOOSE) {
        return input_absent(r, ctx, input);
    }

    return input->kind == LINES_INPUT_TEXT
           ? input_error(r, ctx, "%s must be a string%Z", input->name, 0)
           : lines_refuse(ctx, 400, input->bad);
}


ngx_int_t
lines_read_members(ngx_http_request_t *r, lines_ctx_t *ctx, json_t *object,
    const lines_input_t *inputs, void *to)
{
    json_t               *member;
    ngx_int_t             rc;
    const lines_input_t  *input;

    for (input = inputs; input->name; input++) {

        if (input->says
            && !lines_is((ngx_str_t *) ((u_char *) to + input->when),
                         input->says))
        {
            continue;
        }

        member = json_object_get(object, input->name);

        if (json_is_null(member)
            && !(input->flags & (LINES_NULL_BAD|LINES_NULL_EMPTY)))
        {
            member = NULL;
        }

        rc = member ? input_member(r, ctx, member, input,
                                   (u_char *) to + input->offset)
                    : input_absent(r, ctx, input);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


const lines_input_t *
lines_find_input(const lines_input_t *inputs, const char *name)
{
    for ( /* void */ ; inputs->name; inputs++) {
        if (ngx_strcmp(inputs->name, name) == 0) {
            return inputs;
        }
    }

    return NULL;
}


ngx_int_t
lines_read_query(ngx_http_request_t *r, lines_ctx_t *ctx,
    const lines_input_t *inputs, void *to)
{
    ngx_int_t             rc, n;
    ngx_str_t             value;
    const lines_input_t  *input;

    for (input = inputs; input->name; input++) {

        rc = lines_query(r, input->name, &value);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_DECLINED) {
            rc = input_absent(r, ctx, input);

        } else if (input->kind == LINES_INPUT_NUMBER) {
            n = ngx_atoi(value.data, value.len);

            rc = n < input->min || n > input->max
                 ? lines_refuse(ctx, 400, input->bad)
                 : NGX_OK;

            *(int64_t *) ((u_char *) to + input->offset) = n;

        } else {
            *(ngx_str_t *) ((u_char *) to + input->offset) = value;

            rc = input_string(r, ctx, input, &value);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


ngx_int_t
lines_check_text(ngx_http_request_t *r, lines_ctx_t *ctx, const char *name,
    ngx_str_t *value, size_t max)
{
    const char  *format;

    format = text_judge(value, max);

    return format ? input_error(r, ctx, format, name, max) : NGX_OK;
}


ngx_int_t
lines_query(ngx_http_request_t *r, const char *name, ngx_str_t *value)
{
    u_char    *dst, *src;
    ngx_str_t  raw;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &raw) != NGX_OK) {
        return NGX_DECLINED;
    }

    value->data = ngx_pnalloc(r->pool, raw.len ? raw.len : 1);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    dst = value->data;
    src = raw.data;

    ngx_unescape_uri(&dst, &src, raw.len, 0);

    value->len = dst - value->data;

    return NGX_OK;
}
