
/*
 * What a workspace's plan allows: lines_plan.
 */

#ifndef _NGX_HTTP_LINES_PLAN_H_INCLUDED_
#define _NGX_HTTP_LINES_PLAN_H_INCLUDED_


#include "ngx_http_lines_conf.h"


#define NGX_HTTP_LINES_UNLIMITED  (-1)


typedef enum {
    NGX_HTTP_LINES_PHONE = 0,
    NGX_HTTP_LINES_EMAIL
} ngx_http_lines_channel_e;


typedef struct {
    ngx_str_t                   name;
    ngx_http_lines_channel_e    channel;
    ngx_int_t                   included;
    ngx_int_t                   max;            /* included and paid ones, or
                                                   NGX_HTTP_LINES_UNLIMITED */
    ngx_str_t                   price;          /* of one more; empty: none
                                                   can be bought */
    ngx_int_t                   conversations;  /* a day, of each line */
    ngx_int_t                   messages;
} ngx_http_lines_plan_t;


/*
 * lines_plan PLAN phone|email [included=N] [price=ID] [max=N]
 *            [daily_conversations=N] [daily_messages=N]
 */
char *ngx_http_lines_plan(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* NULL: the plan does not have such lines */
ngx_http_lines_plan_t *ngx_http_lines_find_plan(
    ngx_http_lines_main_conf_t *lmcf, ngx_str_t *name,
    ngx_http_lines_channel_e channel);


#endif /* _NGX_HTTP_LINES_PLAN_H_INCLUDED_ */
