
/*
 * What strangers encode, read strictly.
 */

#ifndef _LINES_HTTP_STRICT_H_INCLUDED_
#define _LINES_HTTP_STRICT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>


/*
 * base64url (RFC 4648, section 5, as RFC 7515 uses it): no padding, no white
 * space, no character of the standard alphabet, no left-over bits.  So each
 * octet string has exactly one accepted spelling.
 */

/* exact for every length that can be decoded */
#define lines_base64url_decoded_len(len) \
    ((len) / 4 * 3 + (len) % 4 * 3 / 4)


/*
 * dst->data is the caller's, with room for
 * lines_base64url_decoded_len(src->len); dst->len is set.  dst may not
 * overlap src.  Returns NGX_OK (empty decodes to empty) or NGX_DECLINED.
 */

ngx_int_t lines_base64url_decode(ngx_str_t *dst, ngx_str_t *src);


/*
 * JSON, bounded before it is parsed.
 *
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
 * text that is well-formed (-1: just the end, of any).  NULL where it opens
 * more containers than that, one inside another or in all.
 */
u_char *lines_strict_json_scan(ngx_str_t *text, int stop, ngx_uint_t depth,
    ngx_uint_t containers);

/* flag: a string, not empty, that may stand in a header of the upstream's
   request or in a log; value may be NULL */
ngx_uint_t lines_strict_json_clean(json_t *value);


#endif /* _LINES_HTTP_STRICT_H_INCLUDED_ */
