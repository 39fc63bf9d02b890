
/*
 * What a plan allows: lines_plan of workspaces, lines_agent_plan of accounts.
 */

#ifndef _LINES_API_PLAN_H_INCLUDED_
#define _LINES_API_PLAN_H_INCLUDED_


#include "http/conf.h"


/* preview_ttl of a plan, ms */
#define LINES_PREVIEW_TTL_MAX  (24 * 3600 * 1000)


#define LINES_UNLIMITED  (-1)


typedef enum {
    LINES_PHONE = 0,
    LINES_EMAIL,
    LINES_AGENT                      /* what an account may buy */
} lines_channel_e;


typedef struct {
    ngx_str_t        name;
    lines_channel_e  channel;
    ngx_int_t        included;
    ngx_int_t        max;            /* included and paid ones, or
                                        LINES_UNLIMITED */
    ngx_str_t        price;          /* of one more; empty: none
                                        can be bought */
    ngx_int_t        conversations;  /* a day, of each line */
    ngx_int_t        messages;

    /* of agents, whose own limits come before these */
    ngx_str_t        daily;          /* a number, or "unlimited" */
    ngx_str_t        monthly;
    ngx_msec_t       preview_ttl;
} lines_plan_t;


char *lines_plan(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *lines_agent_plan(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* NULL: the plan does not have such lines */
lines_plan_t *lines_find_plan(lines_main_conf_t *lmcf, ngx_str_t *name,
    lines_channel_e channel);


#endif /* _LINES_API_PLAN_H_INCLUDED_ */
