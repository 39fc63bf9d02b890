
/* The same of the inventory's. */

#include "operation/inventory.c"

#include "world.h"


sim_static_t  sim_inventory_statics[] = {
    { &inventory_conf, sizeof(inventory_conf) },
    { &inventory_caller, sizeof(inventory_caller) },
    { NULL, 0 }
};
