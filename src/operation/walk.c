
/*
 * A due list is but a hint, in a slot of its own, and a failover may lose it.
 * So now and then a few tenants are looked at: what is unfinished there is
 * given its hint again.  A few commands at a time; nobody waits for them.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/engine.h"


#define LINES_WALK_BATCH  16      /* hints at a time */


static void walk_resume(lines_caller_t *caller, ngx_int_t rc);
static ngx_int_t walk_scanned(void *data, lines_tenants_scan_reply_t *reply);
static ngx_int_t walk_next(lines_walk_t *walk);
static ngx_int_t walk_operations(void *data, lines_ops_read_reply_t *reply);
static ngx_int_t walk_hint(lines_walk_t *walk);
static ngx_int_t walk_hinted(void *data, lines_due_ensure_reply_t *reply);
static void walk_end(lines_walk_t *walk);


void
lines_walk(lines_main_conf_t *lmcf)
{
    lines_walk_t  *walk;
    ngx_str_t      cursor;

    walk = &lmcf->operation->walk;

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

        if (lines_try_due_ensure(&walk->caller, walk_hinted, walk,
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
    lines_walk_t *walk = data;

    if (reply && reply->added) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "lines: the hint to an unfinished operation was lost");
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
