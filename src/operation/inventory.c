
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/inventory.h"
#include "operation/operation.h"
#include "store/calls.h"


#define LINES_INV_LOOKS  16


/* one lease that is looked at */

typedef struct {
    ngx_queue_t         queue;
    ngx_pool_t         *pool;
    lines_main_conf_t  *lmcf;
    ngx_str_t           tenant;
    ngx_str_t           operation;
} lines_inventory_look_t;


static void inventory_sweep(ngx_event_t *ev);
static ngx_int_t inventory_old(void *data, lines_inv_look_reply_t *reply);
static void inventory_look(lines_main_conf_t *lmcf, ngx_str_t *member);
static ngx_int_t inventory_fate(void *data, lines_inv_fate_reply_t *reply);


static ngx_event_t     inventory_sweeper;
static ngx_queue_t     inventory_looks;
static lines_caller_t  inventory_caller;


ngx_int_t
lines_inventory_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    ngx_event_t  *ev;

    ev = &inventory_sweeper;

    ngx_memzero(ev, sizeof(ngx_event_t));
    ngx_queue_init(&inventory_looks);
    lines_caller_init(&inventory_caller, lmcf->redis, NULL, cycle->log);

    ev->handler = inventory_sweep;
    ev->data = lmcf;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, 1 + ngx_random() % lmcf->operation->sweep);

    return NGX_OK;
}


void
lines_inventory_exit_process(void)
{
    ngx_queue_t             *q;
    lines_inventory_look_t  *look;

    if (inventory_sweeper.handler == NULL) {
        return;
    }

    if (inventory_sweeper.timer_set) {
        ngx_del_timer(&inventory_sweeper);
    }

    /* nobody will hear the answers to these */

    lines_caller_detach(&inventory_caller);

    while (!ngx_queue_empty(&inventory_looks)) {
        q = ngx_queue_head(&inventory_looks);
        look = ngx_queue_data(q, lines_inventory_look_t, queue);

        ngx_queue_remove(q);
        ngx_destroy_pool(look->pool);
    }
}


static void
inventory_sweep(ngx_event_t *ev)
{
    lines_main_conf_t  *lmcf;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    lmcf = ev->data;

    (void) lines_try_inv_look(&inventory_caller, inventory_old, lmcf,
                              .most = LINES_INV_LOOKS,
                              .delay = lmcf->operation->lease);

    ngx_add_timer(ev,
                  lmcf->operation->sweep / 2
                  + ngx_random() % (lmcf->operation->sweep + 1));
}


static ngx_int_t
inventory_old(void *data, lines_inv_look_reply_t *reply)
{
    lines_main_conf_t *lmcf = data;

    ngx_uint_t  i;

    if (reply == NULL || ngx_exiting) {
        return NGX_OK;
    }

    for (i = 0; i < reply->members.n; i++) {
        if (reply->members.elts[i].len) {
            inventory_look(lmcf, &reply->members.elts[i]);
        }
    }

    return NGX_OK;
}


static void
inventory_look(lines_main_conf_t *lmcf, ngx_str_t *member)
{
    u_char                  *p;
    ngx_str_t                ticket;
    ngx_pool_t              *pool;
    lines_inventory_look_t  *look;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return;
    }

    look = ngx_palloc(pool, sizeof(lines_inventory_look_t));
    if (look == NULL) {
        goto failed;
    }

    look->pool = pool;
    look->lmcf = lmcf;
    look->tenant.data = ngx_pstrdup(pool, member);

    if (look->tenant.data == NULL) {
        goto failed;
    }

    p = ngx_strlchr(look->tenant.data, look->tenant.data + member->len, ' ');
    if (p == NULL) {
        goto failed;
    }

    look->tenant.len = p - look->tenant.data;
    look->operation.data = p + 1;
    look->operation.len = look->tenant.data + member->len - p - 1;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines inventory: looks at \"%V\"", member);

    /* a ticket holds a number as "ticket.ID" */

    ngx_str_null(&ticket);

    p = ngx_strlchr(look->operation.data,
                    look->operation.data + look->operation.len, '.');
    if (p) {
        ticket.data = p + 1;
        ticket.len = look->operation.data + look->operation.len - p - 1;
    }

    if (lines_try_inv_fate(&inventory_caller, inventory_fate, look,
                           .tenant = look->tenant,
                           .operation = look->operation, .ticket = ticket)
        == NGX_AGAIN)
    {
        ngx_queue_insert_tail(&inventory_looks, &look->queue);
        return;
    }

failed:

    ngx_destroy_pool(pool);
}


static ngx_int_t
inventory_fate(void *data, lines_inv_fate_reply_t *reply)
{
    lines_inventory_look_t *look = data;

    lines_main_conf_t         *lmcf;

    lmcf = look->lmcf;

    ngx_queue_remove(&look->queue);

    if (reply == NULL) {
        goto done;
    }

    /* without a reply to what follows it is looked at once more */

    switch (reply->is) {

    case LINES_INV_FATE_UNFINISHED:
        (void) lines_op_spawn(lmcf, &look->tenant, &look->operation, 0);
        break;

    case LINES_INV_FATE_HELD:

        (void) lines_forget_inv_keep(&inventory_caller,
                                     .operation = look->operation,
                                     .tenant = look->tenant);
        break;

    default: /* LINES_INV_FATE_RELEASED, LINES_INV_FATE_GONE */

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "lines inventory: the number of \"%V\", operation "
                      "\"%V\", goes back", &look->tenant, &look->operation);

        (void) lines_forget_inv_release(&inventory_caller,
            .operation = look->operation, .tenant = look->tenant,
            .quarantine = reply->is == LINES_INV_FATE_RELEASED
                          ? lmcf->quarantine : 0);
    }

done:

    ngx_destroy_pool(look->pool);

    return NGX_OK;
}
