
#ifndef _NGX_HTTP_LINES_READY_H_INCLUDED_
#define _NGX_HTTP_LINES_READY_H_INCLUDED_


#include "ngx_http_lines_request.h"


/* lines_ready: 200 or 503, with a reason for each dependency */
extern ngx_http_lines_api_t  ngx_http_lines_ready_api;


#endif /* _NGX_HTTP_LINES_READY_H_INCLUDED_ */
