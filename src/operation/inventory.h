
/*
 * The inventory: phone numbers that can be handed out.  All of it is one slot
 * of Redis (lib/inventory.lua), so that what spans it and a tenant's slot is
 * ordered instead of atomic: a number is leased after its operation has begun
 * and released before that ends, and whatever was leased is looked at later.
 */

#ifndef _LINES_OPERATION_INVENTORY_H_INCLUDED_
#define _LINES_OPERATION_INVENTORY_H_INCLUDED_


#include "http/request.h"


typedef enum {
    LINES_INV_NUMBERS = 0,
    LINES_INV_FREE,
    LINES_INV_QUARANTINED,
    LINES_INV_LEASED,
    LINES_INV_ASSIGNED,
    LINES_INV_OPERATIONS,
    LINES_INV_LEASES,
    LINES_INV_ALL
} lines_inventory_e;


/* the keys, by lines_inventory_e */
extern ngx_str_t  lines_inventory[];


/*
 * What inv_lease, inv_assign and inv_release want; the arrays are the
 * caller's.  operation holds the number: a purchase by its id, a ticket as
 * "ticket.ID".  Strings are not copied, numbers are formatted in the pool.
 */

#define LINES_INV_LEASE_KEYS    6
#define LINES_INV_LEASE_ARGS    12
#define LINES_INV_ASSIGN_KEYS   3
#define LINES_INV_ASSIGN_ARGS   5
#define LINES_INV_RELEASE_KEYS  7
#define LINES_INV_RELEASE_ARGS  10

/* not_after 0: no bound; area, number: NULL for any */
ngx_int_t lines_inventory_lease(ngx_pool_t *pool, lines_main_conf_t *lmcf,
    ngx_str_t *tenant, ngx_str_t *operation, int64_t not_after,
    ngx_str_t *area, ngx_str_t *number, ngx_str_t *args);

void lines_inventory_assign(ngx_str_t *operation, ngx_str_t *number,
    ngx_str_t *args);

ngx_int_t lines_inventory_release(ngx_pool_t *pool, ngx_str_t *tenant,
    ngx_str_t *operation, ngx_msec_t quarantine, ngx_str_t *args);


/*
 * Each worker looks at the leases that are old: an operation that is
 * unfinished goes on; what nothing holds any more is released.
 */

ngx_int_t lines_inventory_init_process(ngx_cycle_t *cycle,
    lines_main_conf_t *lmcf);
void lines_inventory_exit_process(void);


#endif /* _LINES_OPERATION_INVENTORY_H_INCLUDED_ */
