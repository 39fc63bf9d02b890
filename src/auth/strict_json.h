
/*
 * JSON of strangers: bounded before it is parsed.
 */

#ifndef _LINES_AUTH_STRICT_JSON_H_INCLUDED_
#define _LINES_AUTH_STRICT_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>


/*
 * Whether text opens at most depth objects and arrays inside one another and
 * at most containers in all.  Says nothing about the rest of its syntax;
 * what it passes costs the parser bounded memory and stack.
 */

ngx_uint_t lines_strict_json_bounded(ngx_str_t *text, ngx_uint_t depth,
    ngx_uint_t containers);


/*
 * Loads text as one object: RFC 8259 in UTF-8, nothing around it but white
 * space, no member twice at any level, no U+0000 in a string, no number
 * beyond a double (integers become doubles as well, so that an odd claim of
 * twenty digits does no harm).
 * NGX_OK: *object is the caller's reference.  NGX_DECLINED: it is not that.
 * NGX_ERROR: no memory (where jansson does not tell it from bad syntax, it is
 * NGX_DECLINED too).
 */

ngx_int_t lines_strict_json_object(ngx_str_t *text, ngx_uint_t depth,
    ngx_uint_t containers, json_t **object);


#endif /* _LINES_AUTH_STRICT_JSON_H_INCLUDED_ */
