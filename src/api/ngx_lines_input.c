
#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lines_input.h"


#define NGX_LINES_NAME_MAX             100
#define NGX_LINES_EMAIL_MAX            254
#define NGX_LINES_ZIPCODE_MAX          10
#define NGX_LINES_STATE_MAX            64
#define NGX_LINES_URL_MAX              2048
#define NGX_LINES_IDEMPOTENCY_KEY_MAX  255


#define ngx_lines_is_alnum(ch)                                                \
    (((ch) >= '0' && (ch) <= '9') || ((ch) >= 'A' && (ch) <= 'Z')             \
     || ((ch) >= 'a' && (ch) <= 'z'))


static const char *ngx_lines_parse_channel(json_t *body,
    ngx_lines_input_t *input);
static const char *ngx_lines_parse_contact(json_t *body,
    ngx_lines_input_t *input);
static const char *ngx_lines_parse_details(json_t *body,
    ngx_lines_input_t *input);


ngx_uint_t
ngx_lines_is_e164(ngx_str_t *value)
{
    size_t  i;

    if (value->len < 8 || value->len > 16 || value->data[0] != '+'
        || value->data[1] < '1' || value->data[1] > '9')
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
ngx_lines_is_email(ngx_str_t *value)
{
    size_t       i, at;
    u_char       ch, prev;
    ngx_uint_t   dots;

    if (value->len < 5 || value->len > NGX_LINES_EMAIL_MAX) {
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
            if (!ngx_lines_is_alnum(ch) && !(ch == '-' && prev != '.')) {
                return 0;
            }

        } else if (!ngx_lines_is_alnum(ch)
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
ngx_lines_is_tenant(ngx_str_t *value)
{
    size_t  i;

    if (value->len == 0 || value->len > 64) {
        return 0;
    }

    for (i = 0; i < value->len; i++) {
        if (!ngx_lines_is_alnum(value->data[i]) && value->data[i] != '_'
            && value->data[i] != '-')
        {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_lines_member(json_t *body, const char *name, size_t max,
    ngx_str_t *value)
{
    size_t   i;
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

    if (value->len > max) {
        return NGX_ERROR;
    }

    for (i = 0; i < value->len; i++) {
        if (value->data[i] < ' ' || value->data[i] == 0x7f) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


const char *
ngx_lines_parse_input(json_t *body, ngx_lines_input_t *input)
{
    ngx_int_t    rc;
    const char  *error;

    ngx_memzero(input, sizeof(ngx_lines_input_t));

    rc = ngx_lines_member(body, "firstName", NGX_LINES_NAME_MAX,
                          &input->first);

    if (rc == NGX_DECLINED || (rc == NGX_OK && input->first.len == 0)) {
        return "firstName is required";
    }

    if (rc == NGX_ERROR) {
        return "firstName must be a string of at most 100 bytes";
    }

    rc = ngx_lines_member(body, "lastName", NGX_LINES_NAME_MAX,
                          &input->last);

    if (rc == NGX_DECLINED || (rc == NGX_OK && input->last.len == 0)) {
        return "lastName is required";
    }

    if (rc == NGX_ERROR) {
        return "lastName must be a string of at most 100 bytes";
    }

    error = ngx_lines_parse_channel(body, input);

    if (error == NULL) {
        error = ngx_lines_parse_contact(body, input);
    }

    if (error == NULL) {
        error = ngx_lines_parse_details(body, input);
    }

    return error;
}


static const char *
ngx_lines_parse_channel(json_t *body, ngx_lines_input_t *input)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    rc = ngx_lines_member(body, "channelType", 16, &value);

    if (rc == NGX_DECLINED) {
        return "channelType is required";
    }

    if (rc == NGX_OK && value.len == 5
        && ngx_strncmp(value.data, "email", 5) == 0)
    {
        input->email_channel = 1;
        return NULL;
    }

    if (rc == NGX_ERROR || value.len != 5
        || ngx_strncmp(value.data, "phone", 5) != 0)
    {
        return "channelType must be \"phone\" or \"email\"";
    }

    rc = ngx_lines_member(body, "lineType", 16, &value);

    if (rc == NGX_DECLINED) {
        return NULL;
    }

    if (rc == NGX_OK && value.len == 9
        && ngx_strncmp(value.data, "purchased", 9) == 0)
    {
        return NULL;
    }

    if (rc == NGX_OK && value.len == 4
        && ngx_strncmp(value.data, "byon", 4) == 0)
    {
        input->byon = 1;
        return NULL;
    }

    return "lineType must be \"purchased\" or \"byon\"";
}


static const char *
ngx_lines_parse_contact(json_t *body, ngx_lines_input_t *input)
{
    ngx_int_t  rc;

    rc = ngx_lines_member(body, "email", NGX_LINES_EMAIL_MAX, &input->email);

    if (rc == NGX_DECLINED || (rc == NGX_OK && input->email.len == 0)) {

        if (input->email_channel) {
            return "email is required for email lines";
        }

        if (input->byon) {
            return "email is required for byon lines";
        }

    } else if (rc == NGX_ERROR || !ngx_lines_is_email(&input->email)) {
        return "email must be a valid email address";
    }

    if (!input->byon) {
        return NULL;
    }

    rc = ngx_lines_member(body, "phone", 16, &input->phone);

    if (rc == NGX_DECLINED) {
        return "phone is required for byon lines";
    }

    if (rc == NGX_ERROR || !ngx_lines_is_e164(&input->phone)) {
        return "phone must be an E.164 number such as +14155551234";
    }

    return NULL;
}


static const char *
ngx_lines_parse_details(json_t *body, ngx_lines_input_t *input)
{
    ngx_int_t   rc;
    ngx_str_t  *url;

    if (ngx_lines_member(body, "zipcode", NGX_LINES_ZIPCODE_MAX,
                         &input->zipcode)
        == NGX_ERROR)
    {
        return "zipcode must be a string of at most 10 bytes";
    }

    if (ngx_lines_member(body, "state", NGX_LINES_STATE_MAX, &input->state)
        == NGX_ERROR)
    {
        return "state must be a string of at most 64 bytes";
    }

    rc = ngx_lines_member(body, "forwardCallsTo", 16, &input->forwards);

    if (rc == NGX_ERROR
        || (input->forwards.len && !ngx_lines_is_e164(&input->forwards)))
    {
        return "forwardCallsTo must be an E.164 number such as +14155551234";
    }

    url = &input->image;
    rc = ngx_lines_member(body, "profileImageUrl", NGX_LINES_URL_MAX, url);

    if (rc == NGX_ERROR
        || (url->len
            && (url->len < 9
                || (ngx_strncasecmp(url->data, (u_char *) "https://", 8) != 0
                    && ngx_strncasecmp(url->data, (u_char *) "http://", 7)
                       != 0))))
    {
        return "profileImageUrl must be an http or https URL of at most "
               "2048 bytes";
    }

    rc = ngx_lines_member(body, "idempotencyKey",
                          NGX_LINES_IDEMPOTENCY_KEY_MAX,
                          &input->idempotency_key);

    if (rc == NGX_ERROR
        || (rc == NGX_OK && input->idempotency_key.len == 0))
    {
        return "idempotencyKey must be a string of 1 to 255 bytes";
    }

    return NULL;
}
