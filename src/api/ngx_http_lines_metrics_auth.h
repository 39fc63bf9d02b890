
#ifndef _NGX_HTTP_LINES_METRICS_AUTH_H_INCLUDED_
#define _NGX_HTTP_LINES_METRICS_AUTH_H_INCLUDED_


#include "ngx_http_lines_metrics_text.h"


/* families of authentication; those of session tokens and their issuers' keys
   where there is a lines_clerk */
void ngx_http_lines_metrics_auth(ngx_http_lines_metrics_out_t *out,
    ngx_http_lines_main_conf_t *lmcf);


#endif /* _NGX_HTTP_LINES_METRICS_AUTH_H_INCLUDED_ */
