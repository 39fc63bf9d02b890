
/*
 * Answers of JSON: what is a string is escaped here, and nowhere else.
 */

#ifndef _LINES_API_JSON_H_INCLUDED_
#define _LINES_API_JSON_H_INCLUDED_


#include "http/answer.h"


typedef struct {
    ngx_pool_t  *pool;
    u_char      *start;
    u_char      *last;
    u_char      *end;
    ngx_uint_t   failed;    /* flag: no memory */
} lines_json_t;


/*
 * Appends to what begins as { .pool = … }.  A ' is a ", and a comma behind an
 * opening bracket is none.
 *
 * %V   ngx_str_t *: JSON, or of a string what needs no escape; %s: char *
 * %J   ngx_str_t *: a string, or null where it is empty
 * %N   ngx_str_t *: a number's digits, or null where it is empty
 * %L   int64_t
 * %B   ngx_uint_t: true or false
 * %A   lines_list_t *: JSON, with commas between
 */
void lines_json_add(lines_json_t *json, const char *fmt, ...);
void lines_json_write(lines_json_t *json, const char *fmt, va_list args);

/* as lines_answer(), whatever failed before */
ngx_int_t lines_json_answer(lines_ctx_t *ctx, ngx_uint_t status,
    lines_json_t *json);

/* all at once */
ngx_int_t lines_json(lines_ctx_t *ctx, ngx_uint_t status, const char *fmt,
    ...);

#define lines_json_ok(ctx, ...)  lines_json(ctx, NGX_HTTP_OK, __VA_ARGS__)

#define lines_refuse(ctx, status, message)                                    \
    lines_error((ctx)->request, ctx, status, NULL, message)


#endif /* _LINES_API_JSON_H_INCLUDED_ */
