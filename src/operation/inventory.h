
/*
 * The inventory: phone numbers that can be handed out.  All of it is one slot
 * of Redis (lib/inventory.lua), so that what spans it and a tenant's slot is
 * ordered instead of atomic: a number is leased after its operation has begun
 * and released before that ends, and whatever was leased is looked at later.
 */

#ifndef _LINES_OPERATION_INVENTORY_H_INCLUDED_
#define _LINES_OPERATION_INVENTORY_H_INCLUDED_


#include "http/conf.h"


/*
 * Each worker looks at the leases that are old: an operation that is
 * unfinished goes on; what nothing holds any more is released.
 */

ngx_int_t lines_inventory_init_process(ngx_cycle_t *cycle,
    lines_main_conf_t *lmcf);
void lines_inventory_exit_process(void);


#endif /* _LINES_OPERATION_INVENTORY_H_INCLUDED_ */
