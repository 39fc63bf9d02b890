
/*
 * Finishes what others began and could not finish: what is due, and the old
 * leases of numbers.  A few commands at a time; nobody waits for them.
 */

#ifndef _LINES_BACKGROUND_SWEEPER_H_INCLUDED_
#define _LINES_BACKGROUND_SWEEPER_H_INCLUDED_


#include "operation/conf.h"
#include "store/calls.h"


/*
 * Operations of a tenant that may be unfinished have hints: those that were
 * lost are written again, and listed.  With the caller's pool; nothing is said
 * of those that cannot be asked for now.
 */

void lines_sweeper_ensure_hints(lines_caller_t *caller, lines_main_conf_t *lmcf,
    ngx_str_t *tenant, lines_list_t *ids);


/* the area LINES_ZONE_SWEEP: one worker of a node looks for all */
void *lines_sweeper_init_area(ngx_slab_pool_t *shpool);

/* of this worker; Redis has been created before */
void lines_sweeper_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf);
void lines_sweeper_exit_process(void);


#endif /* _LINES_BACKGROUND_SWEEPER_H_INCLUDED_ */
