
/*
 * lines_auth in any location: who asks is found out in the access phase, so
 * that whatever answers in the content phase is protected.
 *
 * return and rewrite run before the access phase, and subrequests have none:
 * nginx -t warns where it can see either.
 */

#ifndef _NGX_HTTP_LINES_ACCESS_H_INCLUDED_
#define _NGX_HTTP_LINES_ACCESS_H_INCLUDED_


#include "ngx_http_lines_auth.h"


struct ngx_http_lines_auth_conf_s {
    ngx_uint_t    methods;         /* 0: off */
    time_t        stale;
};


/* lines_auth workspace|account|clerk|any|off [stale=60s] */
char *ngx_http_lines_auth_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

char *ngx_http_lines_access_merge(ngx_conf_t *cf,
    ngx_http_lines_loc_conf_t *prev, ngx_http_lines_loc_conf_t *conf);

/* postconfiguration */
ngx_int_t ngx_http_lines_access_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LINES_ACCESS_H_INCLUDED_ */
