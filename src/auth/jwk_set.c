
#include "auth/base64url.h"
#include "auth/jwk_pem.h"
#include "auth/jwk_set.h"
#include "auth/strict_json.h"


#define LINES_JWKS_DEPTH       32
#define LINES_JWKS_CONTAINERS  16384


static ngx_int_t jwks_read(lines_jwk_builder_t *b, ngx_str_t *text);
static ngx_int_t jwks_find_keys(ngx_str_t *text, ngx_str_t *keys);
static ngx_uint_t jwks_next(ngx_str_t *list, ngx_str_t *element);
static void jwks_trim(ngx_str_t *text);
static u_char *jwks_skip_string(u_char *p, u_char *last);
static ngx_int_t jwks_read_key(lines_jwk_builder_t *b, ngx_str_t *text,
    ngx_uint_t position);
static const char *jwks_candidate(json_t *object,
    lines_jwk_candidate_t *candidate);
static const char *jwks_check_use(json_t *object);
static ngx_int_t jwks_number(json_t *value, ngx_str_t *number, size_t max);
static void jwks_skip(lines_jwk_report_t *report, ngx_uint_t position,
    const char *reason);


ngx_int_t
lines_jwk_parse(ngx_str_t *text, u_char *buf, lines_jwk_set_t **set,
    lines_jwk_report_t *report)
{
    u_char              *p, *last;
    ngx_int_t            rc;
    lines_jwk_builder_t  b;

    ngx_memzero(report, sizeof(lines_jwk_report_t));

    if (text->len > LINES_JWK_MAX_DOCUMENT) {
        ngx_str_set(&report->error, "document-too-large");
        return NGX_DECLINED;
    }

    b.set = (lines_jwk_set_t *) buf;
    b.last = buf + sizeof(lines_jwk_set_t);
    b.end = buf + lines_jwk_set_room(text->len);
    b.total = 0;
    b.report = report;

    b.set->version = LINES_JWK_VERSION;
    b.set->nkeys = 0;
    b.set->any_kid = 0;

    p = text->data;
    last = p + text->len;

    while (p < last && (*p == ' ' || *p == '\t' || *p == CR || *p == LF)) {
        p++;
    }

    if (p < last && *p == '{') {
        rc = jwks_read(&b, text);

    } else {
        rc = lines_jwk_read_pem(&b, text);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (b.set->nkeys == 0) {
        ngx_str_set(&report->error, "no-usable-key");
        return NGX_DECLINED;
    }

    b.set->size = (uint32_t) (b.last - buf);
    *set = b.set;

    return NGX_OK;
}


/*
 * The document is checked as a whole, then each key is parsed by itself, so
 * that a key with a member twice costs that key and not the whole set.
 */

static ngx_int_t
jwks_read(lines_jwk_builder_t *b, ngx_str_t *text)
{
    json_t        *document;
    ngx_str_t      keys, entry;
    ngx_uint_t     position;
    json_error_t   error;

    if (!lines_strict_json_bounded(text, LINES_JWKS_DEPTH,
                                   LINES_JWKS_CONTAINERS))
    {
        ngx_str_set(&b->report->error, "not-json");
        return NGX_DECLINED;
    }

    error.text[0] = '\0';

    document = json_loadb((const char *) text->data, text->len,
                          JSON_ALLOW_NUL|JSON_DECODE_INT_AS_REAL, &error);

    if (document == NULL) {

        if (error.text[0] == '\0'
            || json_error_code(&error) == json_error_out_of_memory)
        {
            return NGX_ERROR;
        }

        ngx_str_set(&b->report->error, "not-json");
        return NGX_DECLINED;
    }

    json_decref(document);

    if (jwks_find_keys(text, &keys) != NGX_OK) {
        ngx_str_set(&b->report->error, "no-keys-array");
        return NGX_DECLINED;
    }

    for (position = 0; jwks_next(&keys, &entry); position++) {

        if (position >= LINES_JWK_MAX_KEYS) {
            jwks_skip(b->report, position, "too-many");
            continue;
        }

        if (jwks_read_key(b, &entry, position) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* text is JSON, an object: so every bracket and quote has its other half */

static ngx_int_t
jwks_find_keys(ngx_str_t *text, ngx_str_t *keys)
{
    u_char     *p, *last;
    ngx_str_t   members, member;

    keys->data = NULL;

    members = *text;
    jwks_trim(&members);

    members.data++;
    members.len -= 2;

    while (jwks_next(&members, &member)) {

        jwks_trim(&member);

        p = member.data;
        last = p + member.len;

        p = jwks_skip_string(p, last) + 1;

        if (p - member.data != sizeof("\"keys\"") - 1
            || ngx_memcmp(member.data, "\"keys\"", p - member.data) != 0)
        {
            continue;
        }

        if (keys->data) {
            return NGX_DECLINED;
        }

        p = ngx_strlchr(p, last, ':');

        keys->data = p + 1;
        keys->len = last - keys->data;

        jwks_trim(keys);

        if (keys->data[0] != '[') {
            return NGX_DECLINED;
        }

        keys->data++;
        keys->len -= 2;
    }

    return keys->data ? NGX_OK : NGX_DECLINED;
}


/* takes the next element off the inside of an object or an array */

static ngx_uint_t
jwks_next(ngx_str_t *list, ngx_str_t *element)
{
    u_char      *p, *last;
    ngx_uint_t   level;

    jwks_trim(list);

    if (list->len == 0) {
        return 0;
    }

    level = 0;
    last = list->data + list->len;

    for (p = list->data; p < last; p++) {

        if (*p == '"') {
            p = jwks_skip_string(p, last);

        } else if (*p == '{' || *p == '[') {
            level++;

        } else if (*p == '}' || *p == ']') {
            level--;

        } else if (*p == ',' && level == 0) {
            break;
        }
    }

    element->data = list->data;
    element->len = p - list->data;

    list->data = (p < last) ? p + 1 : last;
    list->len = last - list->data;

    return 1;
}


static void
jwks_trim(ngx_str_t *text)
{
    /* JSON has no other byte below the space between its tokens */

    while (text->len && text->data[0] <= ' ') {
        text->data++;
        text->len--;
    }

    while (text->len && text->data[text->len - 1] <= ' ') {
        text->len--;
    }
}


/* from an opening quote to the closing one */

static u_char *
jwks_skip_string(u_char *p, u_char *last)
{
    for (p++; p < last && *p != '"'; p++) {
        if (*p == '\\' && p + 1 < last) {
            p++;
        }
    }

    return p;
}


static ngx_int_t
jwks_read_key(lines_jwk_builder_t *b, ngx_str_t *text, ngx_uint_t position)
{
    json_t                *object;
    ngx_int_t              rc;
    const char            *reason;
    lines_jwk_candidate_t  candidate;

    rc = lines_strict_json_object(text, LINES_JWKS_DEPTH,
                                  LINES_JWKS_CONTAINERS, &object);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        jwks_skip(b->report, position, "malformed");
        return NGX_OK;
    }

    reason = jwks_candidate(object, &candidate);

    if (reason == NULL) {
        reason = lines_jwk_add(b, &candidate);
    }

    if (reason) {
        jwks_skip(b->report, position, reason);
    }

    json_decref(object);

    return NGX_OK;
}


/* candidate->kid points into object */

static const char *
jwks_candidate(json_t *object, lines_jwk_candidate_t *candidate)
{
    size_t       i;
    json_t      *value;
    const char  *reason;

    value = json_object_get(object, "kty");

    if (!json_is_string(value)) {
        return "malformed";
    }

    if (ngx_strcmp(json_string_value(value), "RSA") != 0) {
        return "other-type";
    }

    reason = jwks_check_use(object);

    if (reason) {
        return reason;
    }

    value = json_object_get(object, "kid");

    if (value == NULL) {
        return "no-kid";
    }

    if (!json_is_string(value)) {
        return "malformed";
    }

    candidate->kid.data = (u_char *) json_string_value(value);
    candidate->kid.len = json_string_length(value);

    if (candidate->kid.len == 0 || candidate->kid.len > LINES_JWK_MAX_KID) {
        return "malformed";
    }

    for (i = 0; i < candidate->kid.len; i++) {
        if (candidate->kid.data[i] < 0x20 || candidate->kid.data[i] == 0x7f) {
            return "malformed";
        }
    }

    candidate->n.data = candidate->n_buf;
    candidate->e.data = candidate->e_buf;

    if (jwks_number(json_object_get(object, "n"), &candidate->n,
                    LINES_JWK_MAX_N)
        != NGX_OK
        || jwks_number(json_object_get(object, "e"), &candidate->e,
                       LINES_JWK_MAX_E)
           != NGX_OK)
    {
        return "malformed";
    }

    return lines_jwk_check(&candidate->n, &candidate->e);
}


static const char *
jwks_check_use(json_t *object)
{
    size_t      i;
    json_t     *value, *op;
    ngx_uint_t  verify;

    value = json_object_get(object, "use");

    if (value) {
        if (!json_is_string(value)) {
            return "malformed";
        }

        if (ngx_strcmp(json_string_value(value), "sig") != 0) {
            return "other-use";
        }
    }

    value = json_object_get(object, "alg");

    if (value) {
        if (!json_is_string(value)) {
            return "malformed";
        }

        if (ngx_strcmp(json_string_value(value), "RS256") != 0) {
            return "other-algorithm";
        }
    }

    value = json_object_get(object, "key_ops");

    if (value) {
        if (!json_is_array(value)) {
            return "malformed";
        }

        verify = 0;

        json_array_foreach(value, i, op) {

            if (!json_is_string(op)) {
                return "malformed";
            }

            if (ngx_strcmp(json_string_value(op), "verify") == 0) {
                verify = 1;
            }
        }

        if (!verify) {
            return "other-use";
        }
    }

    return NULL;
}


static ngx_int_t
jwks_number(json_t *value, ngx_str_t *number, size_t max)
{
    ngx_str_t  text;

    if (!json_is_string(value)) {
        return NGX_DECLINED;
    }

    text.data = (u_char *) json_string_value(value);
    text.len = json_string_length(value);

    if (lines_base64url_decoded_len(text.len) > max + LINES_JWK_SLACK
        || lines_base64url_decode(number, &text) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    while (number->len && number->data[0] == 0) {
        number->data++;
        number->len--;
    }

    if (number->len == 0 || number->len > max) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
jwks_skip(lines_jwk_report_t *report, ngx_uint_t position, const char *reason)
{
    lines_jwk_skip_t  *skip;

    if (report->skipped < LINES_JWK_MAX_REPORTED) {
        skip = &report->skips[report->skipped];

        skip->key = position;
        skip->reason.data = (u_char *) reason;
        skip->reason.len = ngx_strlen(reason);
    }

    report->skipped++;
}
