
/*
 * What clients send, member by member, and what is said of a bad one.
 */

#ifndef _LINES_API_INPUT_H_INCLUDED_
#define _LINES_API_INPUT_H_INCLUDED_


#include "http/context.h"
#include "http/text.h"


/* of an array of names, each with its value, those that were given; made, a
   flag: and are not empty.  They move to its front. */
#define lines_given(pairs, made)                                              \
    lines_given_of(pairs, sizeof(pairs) / sizeof(pairs[0]), made)

lines_list_t lines_given_of(ngx_str_t *pairs, ngx_uint_t n, ngx_uint_t made);

/* SHA-256 in hex */
ngx_int_t lines_hash(ngx_pool_t *pool, ngx_str_t *value, ngx_str_t *hex);

/* what a text, which ends with a zero, begins with, in UTC and in strptime()'s
   format: its length; 0: there is no such time, or it is not written so */
size_t lines_read_time(ngx_str_t *text, const char *format, time_t *time);

/* E.164: "+", then 7 to 15 digits, of which the first is not 0 */
ngx_uint_t lines_is_e164(ngx_str_t *value);

/* local part, "@", a domain with a dot: what no mail server would refuse */
ngx_uint_t lines_is_email(ngx_str_t *value);


/*
 * A member of a body, or a parameter of the query string.  Absent is what is
 * not there or null; in a query string what is not there.
 *
 * lines_in_text:   a text, up to so many characters (code points), without
 *                  control characters (Cc) and not blank, which is what shows
 *                  nothing: white space of Unicode and what has no width.  Each
 *                  is refused in its own words, which begin with the name.  An
 *                  empty one is absent.
 * lines_in_word:   one of words
 * lines_in_string: what is() says, up to so many characters
 * lines_in_number: a whole number from min to max; null is bad
 * lines_in_flag:   true or false, of a body
 * lines_in_amount: a whole number, or one of words; null is an empty one
 * lines_in_object: an object, whose members are read into the same struct
 * lines_in_list:   from min to max of anything, for lines_read_members()
 *
 * What is none is answered with bad; where there is none and LINES_REQUIRED,
 * with absent, or bad, or "NAME is required".  A row is one of these macros,
 * with more of its members by name; a name may have several rows.
 */

#define LINES_REQUIRED   0x1
#define LINES_NULL_BAD   0x2
#define LINES_NULL_EMPTY 0x4     /* null is an empty string, with data */
#define LINES_LOOSE      0x8     /* what is no string is absent */


typedef enum {
    LINES_INPUT_TEXT,            /* ngx_str_t, as all but these */
    LINES_INPUT_STRING,
    LINES_INPUT_NUMBER,          /* int64_t */
    LINES_INPUT_FLAG,            /* ngx_uint_t */
    LINES_INPUT_AMOUNT,          /* ngx_str_t: the digits, or the word */
    LINES_INPUT_OBJECT,
    LINES_INPUT_LIST             /* json_t *, borrowed */
} lines_input_e;


typedef struct lines_input_s {
    const char      *name;
    lines_input_e    kind;
    ngx_uint_t       flags;
    size_t           offset;     /* of the field, untouched where absent */
    int64_t          min;
    int64_t          max;
    ngx_uint_t     (*is)(ngx_str_t *value);
    const char      *words[6];   /* ends with NULL */
    const char      *bad;
    const char      *absent;
    const struct lines_input_s  *members;    /* of an object, or of each that
                                                a list has */
    size_t           when;       /* offset of a field: the row counts only */
    const char      *says;       /* where that says so; NULL: always */
} lines_input_t;


#define lines_input(text, type, conf, field, ...)                             \
    { .name = text, .kind = LINES_INPUT_##type,                               \
      .offset = offsetof(conf, field), __VA_ARGS__ }

/* characters of the name that a client has for what it asks for */
#define LINES_REFERENCE_MAX  100

#define lines_in_text(text, conf, field, most, ...)                           \
    lines_input(text, TEXT, conf, field, .max = most, __VA_ARGS__)

#define lines_in_word(text, conf, field, said, ...)                           \
    lines_input(text, STRING, conf, field, .max = 32, .bad = said,            \
                __VA_ARGS__)

#define lines_in_string(text, conf, field, most, check, said, ...)            \
    lines_input(text, STRING, conf, field, .max = most, .is = check,          \
                .bad = said, __VA_ARGS__)

#define lines_in_number(text, conf, field, least, most, said, ...)            \
    lines_input(text, NUMBER, conf, field, .min = least, .max = most,         \
                .bad = said, __VA_ARGS__)

#define lines_in_flag(text, conf, field, said, ...)                           \
    lines_input(text, FLAG, conf, field, .bad = said, __VA_ARGS__)

#define lines_in_amount(text, conf, field, least, most, said, ...)            \
    lines_input(text, AMOUNT, conf, field, .min = least, .max = most,         \
                .flags = LINES_NULL_EMPTY, .bad = said, __VA_ARGS__)

#define lines_in_object(text, inputs, said, ...)                              \
    { .name = text, .kind = LINES_INPUT_OBJECT, .members = inputs,            \
      .bad = said, __VA_ARGS__ }

#define lines_in_list(text, conf, field, least, most, inputs, said, ...)      \
    lines_input(text, LIST, conf, field, .min = least, .max = most,           \
                .members = inputs, .bad = said, __VA_ARGS__)

#define lines_input_end  { .name = NULL }


/* what a row of an API says of its bodies, or a GET's of its query string: a
   struct, and its fields; lines_own: into this one nothing is read */

typedef struct {
    size_t         size;
    lines_input_t  fields[20];
} lines_body_input_t;

#define lines_body_input(type, ...)  { sizeof(type), { __VA_ARGS__ } }

#define lines_own(type)  { sizeof(type), { lines_input_end } }


/*
 * NGX_OK; NGX_DONE where the first bad one was answered with 400; NGX_ERROR
 * without memory.  Strings point into the body, or are of the request's pool.
 */

/* a step: ctx->data becomes the struct of the row's input, and is read from
   ctx->body, or the query string */
ngx_int_t lines_read_input(ngx_http_request_t *r, lines_ctx_t *ctx);

/* of an object, which may be none */
ngx_int_t lines_read_members(ngx_http_request_t *r, lines_ctx_t *ctx,
    json_t *object, const lines_input_t *inputs, void *to);

/* what there is of that name; NULL: nothing */
const lines_input_t *lines_find_input(const lines_input_t *inputs,
    const char *name);

ngx_int_t lines_read_query(ngx_http_request_t *r, lines_ctx_t *ctx,
    const lines_input_t *inputs, void *to);

/* a text that stands elsewhere; one that is no UTF-8 counts byte by byte */
ngx_int_t lines_check_text(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *name, ngx_str_t *value, size_t max);


/* an argument of the query string, decoded; NGX_DECLINED where it is absent,
   NGX_ERROR without memory */
ngx_int_t lines_query(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);


#endif /* _LINES_API_INPUT_H_INCLUDED_ */
