
/*
 * Short texts.
 */

#ifndef _LINES_HTTP_TEXT_H_INCLUDED_
#define _LINES_HTTP_TEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>


/* 1 where both are the same text */
ngx_uint_t lines_same(ngx_str_t *a, ngx_str_t *b);

/* 1 where value is exactly text */
ngx_uint_t lines_is(ngx_str_t *value, const char *text);

/* the same, in upper or lower case */
ngx_uint_t lines_is_nocase(ngx_str_t *value, const char *text);

/* 1 where it has printable ASCII characters only, and no space */
ngx_uint_t lines_is_graph(ngx_str_t *value);

/* [A-Za-z0-9_-]+ */
ngx_uint_t lines_is_name(ngx_str_t *value);

/* the same, up to 64: what may stand in a Redis key's hash tag */
ngx_uint_t lines_is_tenant(ngx_str_t *value);

#define lines_is_alnum(ch)                                        \
    (((ch) >= '0' && (ch) <= '9') || ((ch) >= 'A' && (ch) <= 'Z') \
     || ((ch) >= 'a' && (ch) <= 'z'))

/* what text begins with, up to ch, which it loses, with that ch */
ngx_str_t lines_split(ngx_str_t *text, u_char ch);

/* the same of a list of a header's: without the white space around it */
ngx_str_t lines_item(ngx_str_t *list, u_char ch);

/* writes "A B" to p, which has room for it; where it ends */
u_char *lines_pair(u_char *p, ngx_str_t *a, ngx_str_t *b);

/* the first of its words */
#define lines_word(text)  lines_split(text, ' ')

/* a JSON string literal, with its quotes; len 0 and data NULL: no memory */
ngx_str_t lines_json_string(ngx_pool_t *pool, ngx_str_t *value);

/* json_loadb(), json is the pool's; NGX_DECLINED: it is none; NGX_ERROR: no
   memory */
ngx_int_t lines_json_parse(ngx_pool_t *pool, ngx_str_t *text, size_t flags,
    json_t **json, json_error_t *error);


#endif /* _LINES_HTTP_TEXT_H_INCLUDED_ */
