
/*
 * Ids of lines and operations: 24 hex digits, ordered by time, unique over a
 * fleet without coordination: 48 bits of milliseconds, 48 bits at random, the
 * latter counted up within one millisecond of one process.
 */

#ifndef _LINES_HTTP_ID_H_INCLUDED_
#define _LINES_HTTP_ID_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define LINES_ID_LEN  24


/* writes LINES_ID_LEN bytes; NGX_ERROR where there is no randomness */
ngx_int_t lines_id(u_char *id);

/* exactly 24 hex digits in lower case */
ngx_uint_t lines_is_id(ngx_str_t *id);


#endif /* _LINES_HTTP_ID_H_INCLUDED_ */
