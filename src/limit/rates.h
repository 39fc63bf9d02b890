
/*
 * Rates of their own, of tenants and plans, as a node knows them: with each
 * bucket.  They lie with the tenants, in the store that has these, and no
 * request waits for them.
 */

#ifndef _LINES_LIMIT_RATES_H_INCLUDED_
#define _LINES_LIMIT_RATES_H_INCLUDED_


#include "limit/keeper.h"


void lines_rates_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf);
void lines_rates_exit_process(void);

/* With the zone locked: */

/* the bucket has the rate of its tenant's plan, where that is another by now */
void lines_rates_apply(lines_lease_node_t *node, lines_limit_t *limit);

/*
 * Flag: its tenant is to be asked, which is noted as done.  decides: flag, the
 * rate did.
 */
ngx_uint_t lines_rates_due(lines_lease_node_t *node, ngx_str_t *tenant,
    ngx_uint_t decides);

/* With the zone unlocked: */

/* asks for the rate of the bucket's tenant, and for its plan */
void lines_rates_look(lines_limit_t *limit, ngx_str_t *key, ngx_str_t *tenant);

/* see lines_lease_told() */
void lines_rates_told(ngx_str_t *message);


#endif /* _LINES_LIMIT_RATES_H_INCLUDED_ */
