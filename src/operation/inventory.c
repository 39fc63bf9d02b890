
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/inventory.h"
#include "operation/operation.h"
#include "store/calls.h"


#define LINES_INV_LOOKS  16


/* one lease that is looked at: three of the reply's */

typedef struct {
    ngx_str_t  tenant;
    ngx_str_t  operation;
    ngx_str_t  number;
    ngx_str_t  looked;     /* what follows is of this look only */
} lines_inventory_look_t;


static void inventory_resume(lines_caller_t *caller, ngx_int_t rc);
static ngx_int_t inventory_old(void *data, lines_inv_look_reply_t *reply);
static void inventory_look(ngx_str_t *member);
static ngx_int_t inventory_fate(void *data, lines_inv_fate_reply_t *reply);


static lines_main_conf_t  *inventory_conf;
static lines_caller_t      inventory_caller;   /* its pool is NULL: at rest */


void
lines_inventory_sweep(lines_main_conf_t *lmcf)
{
    ngx_pool_t  *pool;

    if (inventory_caller.pool) {
        return;
    }

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return;
    }

    inventory_conf = lmcf;
    lines_caller_init(&inventory_caller, lmcf->redis, pool, ngx_cycle->log);

    inventory_caller.resume = inventory_resume;

    if (lines_try_inv_look(&inventory_caller, inventory_old, NULL,
                           .most = LINES_INV_LOOKS,
                           .delay = lmcf->operation->lease)
        != NGX_AGAIN)
    {
        lines_inventory_end();
    }
}


/* once nothing is under way */

static void
inventory_resume(lines_caller_t *caller, ngx_int_t rc)
{
    if (rc != NGX_AGAIN) {
        lines_inventory_end();
    }
}


void
lines_inventory_end(void)
{
    if (inventory_caller.pool == NULL) {
        return;
    }

    lines_caller_detach(&inventory_caller);
    ngx_destroy_pool(inventory_caller.pool);
    inventory_caller.pool = NULL;
}


static ngx_int_t
inventory_old(void *data, lines_inv_look_reply_t *reply)
{
    ngx_uint_t  i;

    if (reply == NULL || ngx_exiting) {
        return NGX_OK;
    }

    for (i = 0; i + 2 < reply->members.n; i += 3) {
        inventory_look(&reply->members.elts[i]);
    }

    return NGX_OK;
}


static void
inventory_look(ngx_str_t *member)
{
    u_char                  *p, *last;
    ngx_str_t                ticket;
    lines_inventory_look_t  *look;

    last = member->data + member->len;

    p = ngx_strlchr(member->data, last, ' ');
    look = ngx_palloc(inventory_caller.pool, sizeof(lines_inventory_look_t));

    if (look == NULL) {
        return;
    }

    if (p == NULL) {
        lines_due_malformed("leases", member);
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines inventory: looks at \"%V\"", member);

    look->tenant.data = member->data;
    look->tenant.len = p - member->data;
    look->operation.data = p + 1;
    look->operation.len = last - p - 1;
    look->number = member[1];
    look->looked = member[2];

    /* a ticket holds a number as "ticket.ID" */

    ngx_str_null(&ticket);

    p = ngx_strlchr(look->operation.data, last, '.');

    if (p) {
        ticket.data = p + 1;
        ticket.len = last - p - 1;
    }

    (void) lines_try_inv_fate(&inventory_caller, inventory_fate, look,
                              .tenant = look->tenant,
                              .operation = look->operation, .ticket = ticket,
                              .number = look->number);
}


static ngx_int_t
inventory_fate(void *data, lines_inv_fate_reply_t *reply)
{
    lines_inventory_look_t *look = data;

    /* without a reply, here or to what follows, it is looked at once more */

    if (reply == NULL) {
        return NGX_OK;
    }

    switch (reply->is) {

    case LINES_INV_FATE_UNFINISHED:
        (void) lines_op_spawn(inventory_conf, &look->tenant, &look->operation);
        break;

    case LINES_INV_FATE_HELD:

        (void) lines_forget_inv_keep(&inventory_caller,
                                     .operation = look->operation,
                                     .tenant = look->tenant,
                                     .looked = look->looked);
        break;

    default: /* LINES_INV_FATE_RELEASED, LINES_INV_FATE_GONE */

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "lines inventory: the number of \"%V\", operation "
                      "\"%V\", goes back", &look->tenant, &look->operation);

        (void) lines_forget_inv_release(&inventory_caller,
            .operation = look->operation, .tenant = look->tenant,
            .quarantine = reply->is == LINES_INV_FATE_RELEASED
                          ? inventory_conf->quarantine : 0,
            .looked = look->looked);
    }

    return NGX_OK;
}
