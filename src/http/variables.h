
/*
 * Variables of a request for the upstream's headers and for the log
 * (conf/variables.md).  None is cacheable: they change while a request goes on.
 */

#ifndef _LINES_HTTP_VARIABLES_H_INCLUDED_
#define _LINES_HTTP_VARIABLES_H_INCLUDED_


#include "http/context.h"


/* preconfiguration: these variables */
ngx_int_t lines_variables_init(ngx_conf_t *cf);

/* a list, which ends with ngx_http_null_variable; none is cacheable */
ngx_int_t lines_add_variables(ngx_conf_t *cf, ngx_http_variable_t *list);

/* flag, in postconfiguration: some directive uses the variable */
ngx_uint_t lines_variable_used(ngx_conf_t *cf, const char *name);

/* what a variable's handler gives back; data is not copied */
ngx_int_t lines_variable_str(ngx_http_variable_value_t *v, ngx_str_t *value);


#endif /* _LINES_HTTP_VARIABLES_H_INCLUDED_ */
