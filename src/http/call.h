
/*
 * What a carrier's subrequest says and hears: private to the carrier.
 */

#ifndef _LINES_HTTP_CALL_H_INCLUDED_
#define _LINES_HTTP_CALL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/carrier.h"


/*
 * Gives a subrequest that was just created method, headers and body of its
 * own.  NGX_ERROR: out of memory, or a header with control characters.
 */

ngx_int_t lines_call_edit(ngx_http_request_t *sr, lines_call_t *call,
    ngx_str_t *id);

/*
 * What became of it, from within its post handler: sets all of result but
 * elapsed.  Strings stay in the subrequest.  id is for the debug log, which is
 * told why an answer is none.
 */

void lines_call_result(ngx_http_request_t *sr, ngx_int_t rc, ngx_str_t *id,
    lines_result_t *result);


#endif /* _LINES_HTTP_CALL_H_INCLUDED_ */
