
/*
 * nginx' own errors in the location of an API.
 */

#ifndef _LINES_HTTP_SPECIAL_H_INCLUDED_
#define _LINES_HTTP_SPECIAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* they get its dialect: filters, for postconfiguration */
ngx_int_t lines_special_init(ngx_conf_t *cf);


#endif /* _LINES_HTTP_SPECIAL_H_INCLUDED_ */
