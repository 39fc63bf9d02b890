
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/inventory.h"
#include "operation/operation.h"
#include "store/scripts.h"


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
static void inventory_old(void *data, redisReply *reply);
static void inventory_look(lines_main_conf_t *lmcf, ngx_str_t *member);
static void inventory_fate(void *data, redisReply *reply);
static void inventory_settled(void *data, redisReply *reply);


ngx_str_t  lines_inventory[] = {
    ngx_string("lines:{inv}:numbers"),
    ngx_string("lines:{inv}:free"),
    ngx_string("lines:{inv}:quarantined"),
    ngx_string("lines:{inv}:leased"),
    ngx_string("lines:{inv}:assigned"),
    ngx_string("lines:{inv}:operations"),
    ngx_string("lines:{inv}:leases"),
    ngx_string("lines:{inv}:all")
};


static ngx_event_t  inventory_sweeper;
static ngx_queue_t  inventory_looks;


ngx_int_t
lines_inventory_lease(ngx_pool_t *pool, lines_main_conf_t *lmcf,
    ngx_str_t *tenant, ngx_str_t *operation, int64_t not_after,
    ngx_str_t *area, ngx_str_t *number, ngx_str_t *args)
{
    args[0] = lines_inventory[LINES_INV_NUMBERS];
    args[1] = lines_inventory[LINES_INV_FREE];
    args[2] = lines_inventory[LINES_INV_QUARANTINED];
    args[3] = lines_inventory[LINES_INV_LEASED];
    args[4] = lines_inventory[LINES_INV_OPERATIONS];
    args[5] = lines_inventory[LINES_INV_LEASES];

    args[6] = *operation;
    args[7] = *tenant;

    ngx_str_null(&args[8]);
    ngx_str_null(&args[10]);
    ngx_str_null(&args[11]);

    if (area) {
        args[10] = *area;
    }

    if (number) {
        args[11] = *number;
    }

    if (not_after
        && lines_redis_format(pool, &args[8], "%L", not_after) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_redis_format(pool, &args[9], "%M",
                              2 * lmcf->operation->lease);
}


void
lines_inventory_assign(ngx_str_t *operation, ngx_str_t *number,
    ngx_str_t *args)
{
    args[0] = lines_inventory[LINES_INV_NUMBERS];
    args[1] = lines_inventory[LINES_INV_LEASED];
    args[2] = lines_inventory[LINES_INV_ASSIGNED];
    args[3] = *number;
    args[4] = *operation;
}


ngx_int_t
lines_inventory_release(ngx_pool_t *pool, ngx_str_t *tenant,
    ngx_str_t *operation, ngx_msec_t quarantine, ngx_str_t *args)
{
    args[0] = lines_inventory[LINES_INV_NUMBERS];
    args[1] = lines_inventory[LINES_INV_FREE];
    args[2] = lines_inventory[LINES_INV_QUARANTINED];
    args[3] = lines_inventory[LINES_INV_LEASED];
    args[4] = lines_inventory[LINES_INV_ASSIGNED];
    args[5] = lines_inventory[LINES_INV_OPERATIONS];
    args[6] = lines_inventory[LINES_INV_LEASES];
    args[7] = *operation;
    args[8] = *tenant;

    return lines_redis_format(pool, &args[9], "%M", quarantine);
}


ngx_int_t
lines_inventory_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    ngx_event_t  *ev;

    ev = &inventory_sweeper;

    ngx_memzero(ev, sizeof(ngx_event_t));
    ngx_queue_init(&inventory_looks);

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
    u_char              limit[NGX_INT_T_LEN], delay[NGX_INT_T_LEN];
    ngx_str_t           args[3];
    lines_main_conf_t  *lmcf;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    lmcf = ev->data;

    args[0] = lines_inventory[LINES_INV_LEASES];
    args[1].data = limit;
    args[1].len = ngx_sprintf(limit, "%d", LINES_INV_LOOKS) - limit;
    args[2].data = delay;
    args[2].len = ngx_sprintf(delay, "%M", lmcf->operation->lease) - delay;

    (void) lines_redis_eval(lmcf->redis, &lines_script_inv_look, 1, 3, args,
                            inventory_old, lmcf);

    ngx_add_timer(ev,
                  lmcf->operation->sweep / 2
                  + ngx_random() % (lmcf->operation->sweep + 1));
}


static void
inventory_old(void *data, redisReply *reply)
{
    lines_main_conf_t *lmcf = data;

    ngx_str_t   member;
    ngx_uint_t  i;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || ngx_exiting) {
        return;
    }

    for (i = 0; i < reply->elements; i++) {
        member = lines_reply_str(reply, i);

        if (member.len) {
            inventory_look(lmcf, &member);
        }
    }
}


static void
inventory_look(lines_main_conf_t *lmcf, ngx_str_t *member)
{
    u_char                  *p;
    ngx_str_t                args[3];
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

    if (lines_redis_format(pool, &args[0], "lines:{%V}:op:%V", &look->tenant,
                           &look->operation)
        != NGX_OK
        || lines_redis_format(pool, &args[1], "lines:{%V}:line:%V",
                              &look->tenant, &look->operation)
           != NGX_OK
        || lines_redis_format(pool, &args[2], "lines:{%V}:%V", &look->tenant,
                              &look->operation)
           != NGX_OK)
    {
        goto failed;
    }

    /* a ticket's key is "ticket:ID", what it holds a number as "ticket.ID" */

    p = ngx_strlchr(args[2].data, args[2].data + args[2].len, '.');
    if (p) {
        *p = ':';
    }

    if (lines_redis_eval(lmcf->redis, &lines_script_inv_fate, 3, 3, args,
                         inventory_fate, look)
        != NULL)
    {
        ngx_queue_insert_tail(&inventory_looks, &look->queue);
        return;
    }

failed:

    ngx_destroy_pool(pool);
}


static void
inventory_fate(void *data, redisReply *reply)
{
    lines_inventory_look_t *look = data;

    ngx_str_t           fate, args[LINES_INV_RELEASE_ARGS];
    ngx_msec_t          quarantine;
    lines_main_conf_t  *lmcf;

    lmcf = look->lmcf;

    ngx_queue_remove(&look->queue);

    if (reply == NULL || reply->type != REDIS_REPLY_STRING) {
        goto done;
    }

    fate.data = (u_char *) reply->str;
    fate.len = reply->len;

    if (lines_is(&fate, "unfinished")) {
        (void) lines_op_spawn(lmcf, &look->tenant, &look->operation, 0, 0);
        goto done;
    }

    if (lines_is(&fate, "held")) {

        args[0] = lines_inventory[LINES_INV_NUMBERS];
        args[1] = lines_inventory[LINES_INV_LEASED];
        args[2] = lines_inventory[LINES_INV_ASSIGNED];
        args[3] = lines_inventory[LINES_INV_OPERATIONS];
        args[4] = lines_inventory[LINES_INV_LEASES];
        args[5] = look->operation;
        args[6] = look->tenant;

        (void) lines_redis_eval(lmcf->redis, &lines_script_inv_keep, 5, 7,
                                args, inventory_settled, NULL);

        goto done;
    }

    quarantine = lines_is(&fate, "released") ? lmcf->quarantine : 0;

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "lines inventory: the number of \"%V\", operation \"%V\", "
                  "goes back", &look->tenant, &look->operation);

    if (lines_inventory_release(look->pool, &look->tenant, &look->operation,
                                quarantine, args)
        == NGX_OK)
    {
        (void) lines_redis_eval(lmcf->redis, &lines_script_inv_release,
                                LINES_INV_RELEASE_KEYS, LINES_INV_RELEASE_ARGS,
                                args, inventory_settled, NULL);
    }

done:

    ngx_destroy_pool(look->pool);
}


/* without a reply it is looked at once more */

static void
inventory_settled(void *data, redisReply *reply)
{
    (void) data;
    (void) reply;
}
