
/*
 * What an account may buy through the API: lines_agent_plan.
 */

#ifndef _NGX_HTTP_LINES_AGENT_PLAN_H_INCLUDED_
#define _NGX_HTTP_LINES_AGENT_PLAN_H_INCLUDED_


#include "ngx_http_lines_conf.h"


typedef struct {
    ngx_str_t     name;
    ngx_str_t     price;
    ngx_str_t     daily;           /* a number, or "unlimited" */
    ngx_str_t     monthly;
    ngx_msec_t    preview_ttl;
} ngx_http_lines_agent_plan_t;


/*
 * lines_agent_plan PLAN price=ID [daily=N|unlimited] [monthly=N|unlimited]
 *                  [preview_ttl=TIME]
 * an account's own limits come before these
 */
char *ngx_http_lines_agent_plan(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* NULL: accounts of that plan buy nothing through the API */
ngx_http_lines_agent_plan_t *ngx_http_lines_find_agent_plan(
    ngx_http_lines_main_conf_t *lmcf, ngx_str_t *name);


#endif /* _NGX_HTTP_LINES_AGENT_PLAN_H_INCLUDED_ */
