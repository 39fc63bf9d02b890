
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
 * Looks at the leases that are old, unless it does so already: an operation
 * that is unfinished goes on; what nothing holds any more is released.
 */

void lines_inventory_sweep(lines_main_conf_t *lmcf);

/* at a worker's exit: nobody will hear the answers */
void lines_inventory_end(void);


#endif /* _LINES_OPERATION_INVENTORY_H_INCLUDED_ */
