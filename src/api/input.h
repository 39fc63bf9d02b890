
/*
 * What clients send, checked field by field.  Knows JSON, but no request.
 */

#ifndef _LINES_API_INPUT_H_INCLUDED_
#define _LINES_API_INPUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>


/* E.164: "+", then 7 to 15 digits, of which the first is not 0 */
ngx_uint_t lines_is_e164(ngx_str_t *value);

/* local part, "@", a domain with a dot: what no mail server would refuse */
ngx_uint_t lines_is_email(ngx_str_t *value);

/* [A-Za-z0-9_-]{1,64}: what may stand in a Redis key's hash tag */
ngx_uint_t lines_is_tenant(ngx_str_t *value);

/*
 * Every text that clients send is judged in one place: max is in characters
 * (code points), control characters are those of Unicode (Cc), and blank is
 * what shows nothing: white space of Unicode and what has no width.  Empty is
 * not blank: it counts as absent.
 */

typedef enum {
    LINES_TEXT_OK = 0,
    LINES_TEXT_LONG,
    LINES_TEXT_CONTROL,
    LINES_TEXT_BLANK
} lines_text_e;

/* value is UTF-8; what is not, as in a header, counts byte by byte */
lines_text_e lines_text_judge(ngx_str_t *value, size_t max);


/* a member that is a text, and what is said of a bad one */

typedef struct {
    const char   *name;
    size_t        max;
    const char   *type;
    const char   *length;
    const char   *control;
    const char   *blank;
} lines_text_t;

#define lines_text(name, max)                                  \
    { name, max,                                               \
      name " must be a string",                                \
      name " must have at most " ngx_value(max) " characters", \
      name " must not have control characters",                \
      name " must not be blank" }

/* NULL, or what is wrong; value points into body, and is empty if absent */
const char *lines_text_member(json_t *body, const lines_text_t *text,
    ngx_str_t *value);

/*
 * A member that is one of some words, or has a syntax of its own.  NGX_OK;
 * NGX_DECLINED where it is absent or null; NGX_ERROR where it is no string, or
 * a text that is refused.
 */
ngx_int_t lines_member(json_t *body, const char *name, size_t max,
    ngx_str_t *value);


/* a request for a line; strings point into the body, and are empty if absent */

typedef struct {
    ngx_uint_t   email_channel;     /* flag; else phone */
    ngx_uint_t   byon;              /* flag */
    ngx_str_t    first;
    ngx_str_t    last;
    ngx_str_t    email;
    ngx_str_t    phone;
    ngx_str_t    zipcode;
    ngx_str_t    state;
    ngx_str_t    forwards;
    ngx_str_t    image;
    ngx_str_t    idempotency_key;
} lines_input_t;

/* the body of POST line-requests, as conf/openapi.yaml has it; NULL, or what
   is wrong */
const char *lines_parse_input(json_t *body, lines_input_t *input);


#endif /* _LINES_API_INPUT_H_INCLUDED_ */
