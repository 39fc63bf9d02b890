
#include <ngx_config.h>
#include <ngx_core.h>

#include "api/input.h"


#define LINES_EMAIL_MAX  254


#define lines_is_alnum(ch)                                        \
    (((ch) >= '0' && (ch) <= '9') || ((ch) >= 'A' && (ch) <= 'Z') \
     || ((ch) >= 'a' && (ch) <= 'z'))


static ngx_uint_t is_blank(uint32_t ch);
static const char *parse_channel(json_t *body, lines_input_t *input);
static const char *parse_contact(json_t *body, lines_input_t *input);
static const char *parse_details(json_t *body, lines_input_t *input);


ngx_uint_t
lines_is_e164(ngx_str_t *value)
{
    size_t  i;

    if (value->len < 8
        || value->len > 16
        || value->data[0] != '+'
        || value->data[1] < '1'
        || value->data[1] > '9')
    {
        return 0;
    }

    for (i = 2; i < value->len; i++) {
        if (value->data[i] < '0' || value->data[i] > '9') {
            return 0;
        }
    }

    return 1;
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


ngx_uint_t
lines_is_tenant(ngx_str_t *value)
{
    size_t  i;

    if (value->len == 0 || value->len > 64) {
        return 0;
    }

    for (i = 0; i < value->len; i++) {
        if (!lines_is_alnum(value->data[i])
            && value->data[i] != '_'
            && value->data[i] != '-')
        {
            return 0;
        }
    }

    return 1;
}


lines_text_e
lines_text_judge(ngx_str_t *value, size_t max)
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

        } else if (!is_blank(ch)) {
            visible = 1;
        }
    }

    if (control) {
        return LINES_TEXT_CONTROL;
    }

    if (n > max) {
        return LINES_TEXT_LONG;
    }

    return (n && !visible) ? LINES_TEXT_BLANK : LINES_TEXT_OK;
}


/*
 * White_Space (PropList.txt) and Default_Ignorable_Code_Point
 * (DerivedCoreProperties.txt) of Unicode 16.0, but for control characters,
 * which have a word of their own; and two that have neither property and show
 * nothing all the same: the marks of annotations and the braille blank.
 */

static ngx_uint_t
is_blank(uint32_t ch)
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


const char *
lines_text_member(json_t *body, const lines_text_t *text, ngx_str_t *value)
{
    json_t  *member;

    ngx_str_null(value);

    member = json_object_get(body, text->name);

    if (member == NULL || json_is_null(member)) {
        return NULL;
    }

    if (!json_is_string(member)) {
        return text->type;
    }

    value->data = (u_char *) json_string_value(member);
    value->len = json_string_length(member);

    switch (lines_text_judge(value, text->max)) {

    case LINES_TEXT_LONG:
        return text->length;

    case LINES_TEXT_CONTROL:
        return text->control;

    case LINES_TEXT_BLANK:
        return text->blank;

    default:
        return NULL;
    }
}


ngx_int_t
lines_member(json_t *body, const char *name, size_t max, ngx_str_t *value)
{
    json_t  *member;

    ngx_str_null(value);

    member = json_object_get(body, name);

    if (member == NULL || json_is_null(member)) {
        return NGX_DECLINED;
    }

    if (!json_is_string(member)) {
        return NGX_ERROR;
    }

    value->data = (u_char *) json_string_value(member);
    value->len = json_string_length(member);

    return lines_text_judge(value, max) == LINES_TEXT_OK ? NGX_OK : NGX_ERROR;
}


const char *
lines_parse_input(json_t *body, lines_input_t *input)
{
    const char  *error;

    static const lines_text_t  first = lines_text("firstName", 100);
    static const lines_text_t  last = lines_text("lastName", 100);

    ngx_memzero(input, sizeof(lines_input_t));

    error = lines_text_member(body, &first, &input->first);

    if (error) {
        return error;
    }

    if (input->first.len == 0) {
        return "firstName is required";
    }

    error = lines_text_member(body, &last, &input->last);

    if (error) {
        return error;
    }

    if (input->last.len == 0) {
        return "lastName is required";
    }

    error = parse_channel(body, input);

    if (error == NULL) {
        error = parse_contact(body, input);
    }

    if (error == NULL) {
        error = parse_details(body, input);
    }

    return error;
}


static const char *
parse_channel(json_t *body, lines_input_t *input)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    rc = lines_member(body, "channelType", 16, &value);

    if (rc == NGX_DECLINED) {
        return "channelType is required";
    }

    if (rc == NGX_OK
        && value.len == 5
        && ngx_strncmp(value.data, "email", 5) == 0)
    {
        input->email_channel = 1;

    } else if (rc == NGX_ERROR || value.len != 5
               || ngx_strncmp(value.data, "phone", 5) != 0)
    {
        return "channelType must be \"phone\" or \"email\"";
    }

    rc = lines_member(body, "lineType", 16, &value);

    if (rc == NGX_DECLINED) {
        return NULL;
    }

    if (rc == NGX_OK
        && value.len == 9
        && ngx_strncmp(value.data, "purchased", 9) == 0)
    {
        return NULL;
    }

    if (input->email_channel) {
        return "lineType of an email line must be \"purchased\"";
    }

    if (rc == NGX_OK
        && value.len == 4
        && ngx_strncmp(value.data, "byon", 4) == 0)
    {
        input->byon = 1;
        return NULL;
    }

    return "lineType must be \"purchased\" or \"byon\"";
}


static const char *
parse_contact(json_t *body, lines_input_t *input)
{
    const char  *error;

    static const lines_text_t  email = lines_text("email", 254);
    static const lines_text_t  phone = lines_text("phone", 16);

    error = lines_text_member(body, &email, &input->email);

    if (error) {
        return error;
    }

    if (input->email.len == 0) {

        if (input->email_channel) {
            return "email is required for email lines";
        }

        if (input->byon) {
            return "email is required for byon lines";
        }

    } else if (!lines_is_email(&input->email)) {
        return "email must be a valid email address";
    }

    if (!input->byon) {
        return NULL;
    }

    error = lines_text_member(body, &phone, &input->phone);

    if (error) {
        return error;
    }

    if (input->phone.len == 0) {
        return "phone is required for byon lines";
    }

    if (!lines_is_e164(&input->phone)) {
        return "phone must be an E.164 number such as +14155551234";
    }

    return NULL;
}


static const char *
parse_details(json_t *body, lines_input_t *input)
{
    ngx_str_t   *url, *key;
    const char  *error;

    static const lines_text_t  zipcode = lines_text("zipcode", 10);
    static const lines_text_t  state = lines_text("state", 64);
    static const lines_text_t  forwards = lines_text("forwardCallsTo", 16);
    static const lines_text_t  image = lines_text("profileImageUrl", 2048);
    static const lines_text_t  idempotency_key = lines_text("idempotencyKey",
                                                            255);

    error = lines_text_member(body, &zipcode, &input->zipcode);

    if (error == NULL) {
        error = lines_text_member(body, &state, &input->state);
    }

    if (error == NULL) {
        error = lines_text_member(body, &forwards, &input->forwards);
    }

    if (error) {
        return error;
    }

    if (input->forwards.len && !lines_is_e164(&input->forwards)) {
        return "forwardCallsTo must be an E.164 number such as +14155551234";
    }

    url = &input->image;
    error = lines_text_member(body, &image, url);

    if (error) {
        return error;
    }

    if (url->len
        && (url->len < 9
            || (ngx_strncasecmp(url->data, (u_char *) "https://", 8) != 0
                && ngx_strncasecmp(url->data, (u_char *) "http://", 7) != 0)))
    {
        return "profileImageUrl must be an http or https URL";
    }

    key = &input->idempotency_key;
    error = lines_text_member(body, &idempotency_key, key);

    if (error) {
        return error;
    }

    /* an empty one is a mistake of the client's, and would protect nothing */

    if (key->data && key->len == 0) {
        return "idempotencyKey must not be empty";
    }

    return NULL;
}
