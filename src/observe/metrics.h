
#ifndef _LINES_OBSERVE_METRICS_H_INCLUDED_
#define _LINES_OBSERVE_METRICS_H_INCLUDED_


#include "http/router.h"


/* lines_metrics: Prometheus' text, or OpenMetrics where Accept names it */
extern lines_api_t  lines_metrics_api;


/* lines_metrics [survey=30s] */
char *lines_metrics_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* _LINES_OBSERVE_METRICS_H_INCLUDED_ */
