
/*
 * The inventory: phone numbers that can be handed out.  All of it is one slot
 * of Redis (lib/inventory.lua), so that what spans it and a tenant's slot is
 * ordered instead of atomic: a number is leased after its operation has begun
 * and released before that ends, and whatever was leased is looked at later.
 */

#ifndef _NGX_HTTP_LINES_INVENTORY_H_INCLUDED_
#define _NGX_HTTP_LINES_INVENTORY_H_INCLUDED_


#include "ngx_http_lines_request.h"


typedef enum {
    NGX_HTTP_LINES_INV_NUMBERS = 0,
    NGX_HTTP_LINES_INV_FREE,
    NGX_HTTP_LINES_INV_QUARANTINED,
    NGX_HTTP_LINES_INV_LEASED,
    NGX_HTTP_LINES_INV_ASSIGNED,
    NGX_HTTP_LINES_INV_OPERATIONS,
    NGX_HTTP_LINES_INV_LEASES,
    NGX_HTTP_LINES_INV_ALL
} ngx_http_lines_inventory_e;


/* the keys, by ngx_http_lines_inventory_e */
extern ngx_str_t  ngx_http_lines_inventory[];


/*
 * What inv_lease, inv_assign and inv_release want; the arrays are the
 * caller's.  operation holds the number: a purchase by its id, a ticket as
 * "ticket.ID".  Strings are not copied, numbers are formatted in the pool.
 */

#define NGX_HTTP_LINES_INV_LEASE_KEYS    6
#define NGX_HTTP_LINES_INV_LEASE_ARGS    12
#define NGX_HTTP_LINES_INV_ASSIGN_KEYS   3
#define NGX_HTTP_LINES_INV_ASSIGN_ARGS   5
#define NGX_HTTP_LINES_INV_RELEASE_KEYS  7
#define NGX_HTTP_LINES_INV_RELEASE_ARGS  10

/* not_after 0: no bound; area, number: NULL for any */
ngx_int_t ngx_http_lines_inventory_lease(ngx_pool_t *pool,
    ngx_http_lines_main_conf_t *lmcf, ngx_str_t *tenant,
    ngx_str_t *operation, int64_t not_after, ngx_str_t *area,
    ngx_str_t *number, ngx_str_t *args);

void ngx_http_lines_inventory_assign(ngx_str_t *operation, ngx_str_t *number,
    ngx_str_t *args);

ngx_int_t ngx_http_lines_inventory_release(ngx_pool_t *pool,
    ngx_str_t *tenant, ngx_str_t *operation, ngx_msec_t quarantine,
    ngx_str_t *args);


/*
 * Each worker looks at the leases that are old: an operation that is
 * unfinished goes on; what nothing holds any more is released.
 */

ngx_int_t ngx_http_lines_inventory_init_process(ngx_cycle_t *cycle,
    ngx_http_lines_main_conf_t *lmcf);
void ngx_http_lines_inventory_exit_process(void);


#endif /* _NGX_HTTP_LINES_INVENTORY_H_INCLUDED_ */
