
/*
 * application/x-www-form-urlencoded, as Stripe reads it.  Pure.
 */

#ifndef _LINES_BILLING_FORM_H_INCLUDED_
#define _LINES_BILLING_FORM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_pool_t   *pool;
    ngx_array_t   bytes;      /* of u_char */
    unsigned      failed:1;   /* out of memory: finish() says so */
} lines_form_t;


void lines_form_init(lines_form_t *form, ngx_pool_t *pool);

/*
 * name is sent as it is, brackets and all: it comes from the program.  The
 * value may be anything.
 */

void lines_form_add(lines_form_t *form, const char *name, ngx_str_t *value);
void lines_form_add_text(lines_form_t *form, const char *name,
    const char *value);
void lines_form_add_number(lines_form_t *form, const char *name,
    int64_t value);

/* the bytes, in the pool; NGX_ERROR: out of memory on the way */
ngx_int_t lines_form_finish(lines_form_t *form, ngx_str_t *body);

/* one segment of a path, or a value: everything but unreserved is escaped */
ngx_int_t lines_form_escape(ngx_pool_t *pool, ngx_str_t *value,
    ngx_str_t *escaped);


#endif /* _LINES_BILLING_FORM_H_INCLUDED_ */
