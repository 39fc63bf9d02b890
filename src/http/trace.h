
/*
 * W3C Trace Context (https://www.w3.org/TR/trace-context/).  The module has no
 * spans of its own: it takes a trace over as it comes, and passes it on.
 */

#ifndef _LINES_HTTP_TRACE_H_INCLUDED_
#define _LINES_HTTP_TRACE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#define LINES_TRACEPARENT_LEN  55


/*
 * The request's traceparent as it goes on, in version 00, LINES_TRACEPARENT_LEN
 * bytes; empty where there is none, more than one, or one that is not well
 * formed.  As long as the request.
 */

ngx_str_t lines_traceparent(ngx_http_request_t *r);


#endif /* _LINES_HTTP_TRACE_H_INCLUDED_ */
