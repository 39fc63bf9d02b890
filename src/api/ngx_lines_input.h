
/*
 * What clients send, checked field by field.  Knows JSON, but no request.
 */

#ifndef _NGX_LINES_INPUT_H_INCLUDED_
#define _NGX_LINES_INPUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>


/* E.164: "+", then 7 to 15 digits, of which the first is not 0 */
ngx_uint_t ngx_lines_is_e164(ngx_str_t *value);

/* local part, "@", a domain with a dot: what no mail server would refuse */
ngx_uint_t ngx_lines_is_email(ngx_str_t *value);

/* [A-Za-z0-9_-]{1,64}: what may stand in a Redis key's hash tag */
ngx_uint_t ngx_lines_is_tenant(ngx_str_t *value);

/*
 * A string member; it points into body.  NGX_OK; NGX_DECLINED where it is
 * absent or null; NGX_ERROR where it is no string, is longer than max, or has
 * control characters.
 */
ngx_int_t ngx_lines_member(json_t *body, const char *name, size_t max,
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
} ngx_lines_input_t;

/* api-facts.md, "Workspace dialect".  NULL, or what is wrong */
const char *ngx_lines_parse_input(json_t *body, ngx_lines_input_t *input);


#endif /* _NGX_LINES_INPUT_H_INCLUDED_ */
