
/*
 * Webhooks are told of what happens: README.md.  One worker of each node sees
 * to it, number 0; whose an event is among nodes, hook_claim.lua decides.
 */

#ifndef _LINES_DELIVER_DELIVER_H_INCLUDED_
#define _LINES_DELIVER_DELIVER_H_INCLUDED_


#include "http/conf.h"


/* a message of the channel that all nodes hear: "hooks TENANT" */
void lines_deliver_told(ngx_str_t *message);

void lines_deliver_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf);
void lines_deliver_exit_process(lines_main_conf_t *lmcf);


#endif /* _LINES_DELIVER_DELIVER_H_INCLUDED_ */
