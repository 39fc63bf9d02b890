
/*
 * Commands in Redis' protocol (RESP2): an array of binary-safe strings,
 * written into memory of the caller.
 */

#ifndef _LINES_STORE_RESP_H_INCLUDED_
#define _LINES_STORE_RESP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* of one more string beside its data */
#define LINES_RESP_OVERHEAD  (1 + NGX_SIZE_T_LEN + 4)


/* an upper bound for a command of these strings and one byte after it */
size_t lines_resp_len(ngx_uint_t argc, ngx_str_t *argv);

/* these return the end of what was written */
u_char *lines_resp_array(u_char *p, ngx_uint_t n);
u_char *lines_resp_string(u_char *p, u_char *data, size_t len);


#endif /* _LINES_STORE_RESP_H_INCLUDED_ */
