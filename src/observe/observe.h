
#ifndef _LINES_OBSERVE_OBSERVE_H_INCLUDED_
#define _LINES_OBSERVE_OBSERVE_H_INCLUDED_


#include "http/router.h"


/* of the module; docker/debian/changelog tells what is in it */
#define LINES_VERSION  "1.0.0"


/* ms between two passes of the survey, where none of those who look says */
#define LINES_SURVEY_PAUSE  30000


/* lines_metrics [survey=30s]: Prometheus' text, or OpenMetrics where Accept
   names it */
char *lines_metrics_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* lines_ready: 200 or 503, with a reason for each dependency, and what runs */
extern lines_api_t  lines_ready_api;


/*
 * lines_docs [file]: the page that "make docs" makes, read here; a relative
 * name is that of a file beside nginx.conf.
 */
char *lines_docs(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* "if" and "limit_except" answer as their location does */
void lines_docs_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf);

/*
 * lines_console [admin=PATH] [dir=PATH] [chart=FILE]: the operator's console, its
 * files read here.
 */
char *lines_console(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

void lines_console_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf);


#endif /* _LINES_OBSERVE_OBSERVE_H_INCLUDED_ */
