
/*
 * What an account may buy through the API: lines_agent_plan.
 */

#ifndef _LINES_ACCOUNT_AGENT_PLAN_H_INCLUDED_
#define _LINES_ACCOUNT_AGENT_PLAN_H_INCLUDED_


#include "http/conf.h"


typedef struct {
    ngx_str_t     name;
    ngx_str_t     price;
    ngx_str_t     daily;           /* a number, or "unlimited" */
    ngx_str_t     monthly;
    ngx_msec_t    preview_ttl;
} lines_agent_plan_t;


/*
 * lines_agent_plan PLAN price=ID [daily=N|unlimited] [monthly=N|unlimited]
 *                  [preview_ttl=TIME]
 * an account's own limits come before these
 */
char *lines_agent_plan(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* NULL: accounts of that plan buy nothing through the API */
lines_agent_plan_t *lines_find_agent_plan(lines_main_conf_t *lmcf,
    ngx_str_t *name);


#endif /* _LINES_ACCOUNT_AGENT_PLAN_H_INCLUDED_ */
