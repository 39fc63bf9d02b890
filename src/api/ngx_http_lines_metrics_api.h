
#ifndef _NGX_HTTP_LINES_METRICS_API_H_INCLUDED_
#define _NGX_HTTP_LINES_METRICS_API_H_INCLUDED_


#include "ngx_http_lines_request.h"


/* lines_metrics: Prometheus' text, or OpenMetrics where Accept names it */
extern ngx_http_lines_api_t  ngx_http_lines_metrics_api;


/* lines_metrics [survey=30s] */
char *ngx_http_lines_metrics_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_LINES_METRICS_API_H_INCLUDED_ */
