
/*
 * Finishes what others began and could not finish: each worker looks at the
 * due lists of the fleet every few seconds.  The fence decides who carries an
 * operation on.
 *
 * A due list is but a hint, in a slot of its own, and a failover may lose it.
 * So now and then a few tenants are looked at: what is unfinished there is
 * given its hint again.  A few commands at a time; nobody waits for them.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/text.h"
#include "operation/audit.h"
#include "operation/inventory.h"
#include "operation/operation.h"
#include "operation/sweeper.h"


#define LINES_WALK_BATCH  16      /* hints at a time */


/* of a worker: which tenants it looks at for operations without a hint */

typedef struct {
    lines_main_conf_t  *lmcf;
    lines_caller_t      caller;
    ngx_pool_t         *pool;         /* NULL: at rest */
    u_char              cursor[24];   /* of SSCAN */
    size_t              cursor_len;
    lines_list_t        tenants;      /* left */
    lines_list_t        ids;          /* of the operations of one, left */
    ngx_uint_t          pending;      /* hints on their way */
} lines_walk_t;


static void sweep_start(ngx_event_t *ev);
static ngx_int_t swept_shard(void *data, lines_due_read_reply_t *reply);
static ngx_int_t sweep_member(lines_main_conf_t *lmcf, ngx_str_t *member);
static void walk_start(lines_main_conf_t *lmcf);
static void walk_resume(lines_caller_t *caller, ngx_int_t rc);
static ngx_int_t walk_scanned(void *data, lines_tenants_scan_reply_t *reply);
static ngx_int_t walk_next(lines_walk_t *walk);
static ngx_int_t walk_operations(void *data, lines_ops_read_reply_t *reply);
static ngx_int_t walk_hint(lines_walk_t *walk);
static ngx_int_t walk_hinted(void *data, lines_due_ensure_reply_t *reply);
static ngx_int_t walk_seen(void *data, lines_op_seen_reply_t *reply);
static void walk_end(lines_walk_t *walk);


static lines_walk_t  the_walk;


ngx_int_t
lines_op_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    lines_op_conf_t  *ocf = lmcf->operation;

    ngx_queue_init(&ocf->running);
    lines_caller_init(&ocf->caller, lmcf->redis, NULL, cycle->log);
    ocf->sweeping = 0;
    ocf->walked = ngx_current_msec - ngx_random() % ocf->walk_every;

    ocf->sweeper.handler = sweep_start;
    ocf->sweeper.data = lmcf;
    ocf->sweeper.log = cycle->log;
    ocf->sweeper.cancelable = 1;

    ngx_add_timer(&ocf->sweeper, 1 + ngx_random() % ocf->sweep);

    return lines_audit_init_process(cycle, lmcf);
}


void
lines_op_exit_process(lines_main_conf_t *lmcf)
{
    ngx_queue_t      *q;
    lines_op_t       *op;
    lines_op_conf_t  *ocf = lmcf->operation;

    if (ocf == NULL || ocf->running.next == NULL) {
        return;
    }

    if (ocf->sweeper.timer_set) {
        ngx_del_timer(&ocf->sweeper);
    }

    /* what is left is in Redis; nobody here is to hear of it any more */

    for (q = ngx_queue_head(&ocf->running);
         q != ngx_queue_sentinel(&ocf->running);
         q = ngx_queue_next(q))
    {
        op = ngx_queue_data(q, lines_op_t, queue);

        lines_caller_detach(&op->caller);
    }

    lines_caller_detach(&ocf->caller);
    lines_inventory_end();
    lines_audit_exit_process();

    if (the_walk.pool) {
        lines_caller_detach(&the_walk.caller);
        walk_end(&the_walk);
    }
}


static void
sweep_start(ngx_event_t *ev)
{
    ngx_uint_t          i, first;
    lines_main_conf_t  *lmcf;
    lines_op_conf_t    *ocf;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    lmcf = ev->data;
    ocf = lmcf->operation;

    first = ngx_random() % LINES_DUE_SHARDS;

    for (i = 0; i < LINES_DUE_SHARDS; i++) {
        if (lines_try_due_read(&ocf->caller, swept_shard, lmcf,
                               .shard = (first + i) % LINES_DUE_SHARDS,
                               .most = ocf->batch, .lease = ocf->lease)
            != NGX_AGAIN)
        {
            break;
        }
    }

    lines_inventory_sweep(lmcf);

    if (ngx_current_msec - ocf->walked >= ocf->walk_every) {
        ocf->walked = ngx_current_msec;
        walk_start(lmcf);
    }

    /* jitter: the workers of a fleet do not look all at once */

    ngx_add_timer(ev,
                  ocf->sweep - ocf->sweep / 8
                  + ngx_random() % (ocf->sweep / 4 + 1));
}


static ngx_int_t
swept_shard(void *data, lines_due_read_reply_t *reply)
{
    lines_main_conf_t *lmcf = data;

    ngx_str_t   *member;
    ngx_uint_t   i;

    if (reply == NULL || ngx_exiting) {
        return NGX_OK;
    }

    for (i = 0; i + 1 < reply->members.n; i += 2) {
        member = &reply->members.elts[i];

        if (sweep_member(lmcf, member) != NGX_OK) {
            lines_due_malformed("due", member);
        }
    }

    return NGX_OK;
}


/* NGX_DECLINED: it says nothing, and was dropped (due_read.lua) */

static ngx_int_t
sweep_member(lines_main_conf_t *lmcf, ngx_str_t *member)
{
    u_char           *space;
    ngx_str_t         tenant, id;
    lines_op_t       *op;
    lines_op_conf_t  *ocf = lmcf->operation;

    space = ngx_strlchr(member->data, member->data + member->len, ' ');

    if (space == NULL) {
        return NGX_DECLINED;
    }

    if (ocf->sweeping >= ocf->batch) {
        ocf->backlog = 1;
        return NGX_OK;
    }

    tenant.data = member->data;
    tenant.len = space - member->data;

    id.data = space + 1;
    id.len = member->data + member->len - id.data;

    if (lines_op_find(ocf, &tenant, &id)) {
        return NGX_OK;
    }

    op = lines_op_obtain(lmcf, &tenant, &id, NULL);
    if (op == NULL) {
        return NGX_OK;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ocf->sweeper.log, 0, "lines sweep: %V",
                   member);

    op->swept = 1;
    ocf->sweeping++;

    return NGX_OK;
}


/* looks for lost hints, unless it does so already */

static void
walk_start(lines_main_conf_t *lmcf)
{
    lines_walk_t  *walk;
    ngx_str_t      cursor;

    walk = &the_walk;

    if (walk->pool) {
        return;
    }

    walk->pool = ngx_create_pool(4096, ngx_cycle->log);
    if (walk->pool == NULL) {
        return;
    }

    walk->lmcf = lmcf;

    lines_caller_init(&walk->caller, lmcf->redis, walk->pool, ngx_cycle->log);

    walk->caller.resume = walk_resume;

    cursor.data = walk->cursor;
    cursor.len = walk->cursor_len;

    if (walk->cursor_len == 0) {
        ngx_str_set(&cursor, "0");
    }

    if (lines_tenants_scan(&walk->caller, walk_scanned, walk,
                           .cursor = cursor)
        != NGX_AGAIN)
    {
        walk_end(walk);
    }
}


/* whatever it was that was not answered: another walk will come by */

static void
walk_resume(lines_caller_t *caller, ngx_int_t rc)
{
    if (rc != NGX_AGAIN) {
        walk_end(ngx_queue_data(caller, lines_walk_t, caller));
    }
}


static ngx_int_t
walk_scanned(void *data, lines_tenants_scan_reply_t *reply)
{
    lines_walk_t *walk = data;

    walk->cursor_len = 0;

    if (reply->cursor.len && reply->cursor.len <= sizeof(walk->cursor)) {
        ngx_memcpy(walk->cursor, reply->cursor.data, reply->cursor.len);
        walk->cursor_len = reply->cursor.len;
    }

    walk->tenants = reply->members;

    return walk_next(walk);
}


/* NGX_DONE: there is no other tenant */

static ngx_int_t
walk_next(lines_walk_t *walk)
{
    ngx_str_t  *tenant;

    while (walk->tenants.n && !ngx_exiting) {
        tenant = &walk->tenants.elts[walk->tenants.n - 1];

        if (tenant->len) {
            return lines_ops_read(&walk->caller, walk_operations, walk,
                                  .tenant = *tenant);
        }

        walk->tenants.n--;
    }

    return NGX_DONE;
}


static ngx_int_t
walk_operations(void *data, lines_ops_read_reply_t *reply)
{
    lines_walk_t *walk = data;

    walk->ids = reply->ids;

    return walk_hint(walk);
}


/* the next few of the tenant, then the next tenant */

static ngx_int_t
walk_hint(lines_walk_t *walk)
{
    ngx_str_t  id;

    while (walk->ids.n && walk->pending < LINES_WALK_BATCH) {

        id = walk->ids.elts[--walk->ids.n];

        if (id.len == 0) {
            continue;
        }

        if (lines_try_due_ensure(&walk->caller, walk_hinted,
                            &walk->ids.elts[walk->ids.n],
                            .tenant = walk->tenants.elts[walk->tenants.n - 1],
                            .shard = lines_due_shard(&id),
                            .delay = walk->lmcf->operation->due, .id = id)
            != NGX_AGAIN)
        {
            /* not now: another walk will come by */

            walk->ids.n = 0;
            break;
        }

        walk->pending++;
    }

    if (walk->pending) {
        return NGX_AGAIN;
    }

    walk->tenants.n--;

    return walk_next(walk);
}


static ngx_int_t
walk_hinted(void *data, lines_due_ensure_reply_t *reply)
{
    ngx_str_t *id = data;

    lines_walk_t  *walk = &the_walk;

    /* it was lost, unless the operation has ended meanwhile */

    if (reply && reply->added
        && lines_try_op_seen(&walk->caller, walk_seen, id,
                             .tenant = walk->tenants.elts[walk->tenants.n - 1],
                             .id = *id)
           == NGX_AGAIN)
    {
        return NGX_AGAIN;
    }

    walk->pending--;

    return walk_hint(walk);
}


static ngx_int_t
walk_seen(void *data, lines_op_seen_reply_t *reply)
{
    ngx_str_t *id = data;

    lines_walk_t         *walk = &the_walk;
    lines_audit_found_t   found = {
        .kind = LINES_AUDIT_hint, .repaired = 1,
        .tenant = walk->tenants.elts[walk->tenants.n - 1], .id = *id,
        .here = ngx_string("unfinished"), .there = ngx_string("no hint")
    };

    if (reply && reply->step.len && !lines_is(&reply->step, "done")) {
        lines_audit_report(&walk->caller, &found);
    }

    walk->pending--;

    return walk_hint(walk);
}


static void
walk_end(lines_walk_t *walk)
{
    ngx_destroy_pool(walk->pool);

    walk->pool = NULL;
    walk->pending = 0;
}
