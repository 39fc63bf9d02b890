
/*
 * JSON of strangers: bounded before it is parsed.
 */

#ifndef _LINES_AUTH_STRICT_JSON_H_INCLUDED_
#define _LINES_AUTH_STRICT_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>


/*
 * Loads text as one object: RFC 8259 in UTF-8, nothing around it but white
 * space, no number beyond a double (integers become doubles as well, so that
 * an odd claim of twenty digits does no harm), no U+0000 in a string unless
 * flags have JSON_ALLOW_NUL, no more than depth objects and arrays inside one
 * another and containers in all: it costs the parser bounded memory and stack.
 * NGX_OK: *object is the caller's reference.  NGX_DECLINED: it is not that.
 * NGX_ERROR: no memory (where jansson does not tell it from bad syntax, it is
 * NGX_DECLINED too).
 */

ngx_int_t lines_strict_json_load(ngx_str_t *text, size_t flags,
    ngx_uint_t depth, ngx_uint_t containers, json_t **object);

/* and no member twice at any level */
#define lines_strict_json_object(text, depth, containers, object) \
    lines_strict_json_load(text, JSON_REJECT_DUPLICATES, depth, containers, \
                           object)

/*
 * The first byte stop outside of strings, objects and arrays, or the end, of
 * text that is well-formed (-1: just the end).  NULL where it opens more
 * containers than that.
 */
u_char *lines_strict_json_scan(ngx_str_t *text, int stop, ngx_uint_t depth,
    ngx_uint_t containers);

/* flag: a string, not empty, that may stand in a header of the upstream's
   request or in a log; value may be NULL */
ngx_uint_t lines_strict_json_clean(json_t *value);


#endif /* _LINES_AUTH_STRICT_JSON_H_INCLUDED_ */
