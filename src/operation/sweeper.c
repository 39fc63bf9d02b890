
/*
 * Finishes what others began and could not finish: what is due, the old leases
 * of numbers, and unfinished operations whose hints are lost.  A few commands
 * at a time; nobody waits for them.
 */

#include "http/metrics.h"
#include "http/text.h"
#include "operation/audit.h"
#include "operation/database.h"
#include "operation/operation.h"


#define LINES_INV_LOOKS   16
#define LINES_WALK_BATCH  16      /* hints at a time */


/* whether a tenant goes off the list of those that have, or had, an orphan */

enum {
    WALK_KEPT = 0,
    WALK_READ,            /* its operations were */
    WALK_DROPPED,         /* as there were none */
    WALK_AGAIN            /* they were read once more */
};


/* one lease that is looked at: three of the reply's */

typedef struct {
    ngx_str_t  tenant;
    ngx_str_t  operation;
    ngx_str_t  number;
    ngx_str_t  looked;     /* what follows is of this look only */
} lease_look_t;


static void sweep_start(ngx_event_t *ev);
static ngx_int_t swept_shard(void *data, lines_due_read_reply_t *reply);
static void sweep_member(ngx_str_t *member);
static ngx_int_t sweep_read(const char *list, ngx_str_t *member,
    ngx_str_t *tenant, ngx_str_t *id);
static ngx_int_t sweep_begin(lines_caller_t *caller);
static void sweep_resume(lines_caller_t *caller, ngx_int_t rc);
static void sweep_end(lines_caller_t *caller);
static void leases_start(void);
static ngx_int_t leases_old(void *data, lines_inv_look_reply_t *reply);
static void lease_look(ngx_str_t *member);
static ngx_int_t lease_fate(void *data, lines_inv_fate_reply_t *reply);
static void walk_start(void);
static ngx_int_t walk_scanned(void *data, lines_tenants_scan_reply_t *reply);
static ngx_int_t walk_orphaned(void *data, lines_orphaned_scan_reply_t *reply);
static ngx_int_t walk_page(ngx_str_t *cursor, lines_list_t *members);
static ngx_int_t walk_next(void);
static ngx_int_t walk_drop(void);
static ngx_int_t walk_hinted(void *data, lines_due_ensure_reply_t *reply);
static ngx_int_t walk_seen(void *data, lines_op_seen_reply_t *reply);


/* of this worker */

static struct {
    lines_main_conf_t  *lmcf;
    lines_caller_t      due;
    lines_caller_t      leases;       /* without a pool: at rest */
    lines_caller_t      walk;         /* the same */
    ngx_uint_t          orphaned;     /* flag: those are scanned, else all */
    ngx_uint_t          listed;       /* flag: tenants are of that list */
    ngx_uint_t          kept;         /* how much is known of that: below */
    ngx_str_t           cursor;       /* of SSCAN */
    u_char              text[24];     /* of it */
    lines_list_t        tenants;      /* left */
    ngx_str_t           tenant;       /* the one that is looked at, */
    lines_ops_read_reply_t  ops;      /* its operations that are left */
} sweeper;


ngx_int_t
lines_op_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    lines_op_conf_t  *ocf = lmcf->operation;

    sweeper.lmcf = lmcf;
    lines_caller_init(&sweeper.due, lmcf->redis, NULL, cycle->log);
    ngx_str_set(&sweeper.cursor, "0");

    ngx_queue_init(&ocf->running);
    ocf->sweeping = 0;
    ocf->walked = ngx_current_msec - ngx_random() % ocf->walk_every;

    ocf->sweeper.handler = sweep_start;
    ocf->sweeper.data = ocf;
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

    lines_caller_detach(&sweeper.due);
    sweep_end(&sweeper.leases);
    sweep_end(&sweeper.walk);
    lines_audit_exit_process();
}


static void
sweep_start(ngx_event_t *ev)
{
    ngx_uint_t        i, first;
    lines_op_conf_t  *ocf = ev->data;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    if (!lines_database_ours(sweeper.lmcf)) {
        goto next;
    }

    first = ngx_random() % LINES_DUE_SHARDS;

    for (i = 0; i < LINES_DUE_SHARDS; i++) {
        if (lines_try_due_read(&sweeper.due, swept_shard, NULL,
                               .shard = (first + i) % LINES_DUE_SHARDS,
                               .most = ocf->batch, .lease = ocf->lease)
            != NGX_AGAIN)
        {
            break;
        }
    }

    leases_start();

    if (ngx_current_msec - ocf->walked >= ocf->walk_every) {
        ocf->walked = ngx_current_msec;
        walk_start();
    }

next:

    /* jitter: the workers of a fleet do not look all at once */

    ngx_add_timer(ev,
                  ocf->sweep - ocf->sweep / 8
                  + ngx_random() % (ocf->sweep / 4 + 1));
}


static ngx_int_t
swept_shard(void *data, lines_due_read_reply_t *reply)
{
    ngx_uint_t  i;

    if (reply == NULL || ngx_exiting) {
        return NGX_OK;
    }

    for (i = 0; i + 1 < reply->members.n; i += 2) {
        sweep_member(&reply->members.elts[i]);
    }

    return NGX_OK;
}


static void
sweep_member(ngx_str_t *member)
{
    ngx_str_t         tenant, id;
    lines_op_t       *op;
    lines_op_conf_t  *ocf = sweeper.lmcf->operation;

    if (sweep_read("due", member, &tenant, &id) != NGX_OK) {
        return;
    }

    if (ocf->sweeping >= ocf->batch) {
        ocf->backlog = 1;
        return;
    }

    if (lines_op_find(ocf, &tenant, &id)) {
        return;
    }

    op = lines_op_obtain(sweeper.lmcf, &tenant, &id, NULL);
    if (op == NULL) {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ocf->sweeper.log, 0, "lines sweep: %V",
                   member);

    op->swept = 1;
    ocf->sweeping++;
}


/* "TENANT ID"; what names no operation was dropped by who listed it */

static ngx_int_t
sweep_read(const char *list, ngx_str_t *member, ngx_str_t *tenant,
    ngx_str_t *id)
{
    *id = *member;
    *tenant = lines_word(id);

    if (tenant->len < member->len) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "lines: \"%V\" in the list \"%s\" names no operation: "
                  "dropped", member, list);

    lines_metrics_inc(malformed);

    return NGX_DECLINED;
}


/* of its own pool; NGX_DECLINED: it is still at it, or has no memory */

static ngx_int_t
sweep_begin(lines_caller_t *caller)
{
    ngx_pool_t  *pool;

    if (caller->pool) {
        return NGX_DECLINED;
    }

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_DECLINED;
    }

    lines_caller_init(caller, sweeper.lmcf->redis, pool, ngx_cycle->log);

    caller->resume = sweep_resume;

    return NGX_OK;
}


/* whatever it was that was not answered: it will be looked at again */

static void
sweep_resume(lines_caller_t *caller, ngx_int_t rc)
{
    if (rc == NGX_OK && caller == &sweeper.walk) {
        rc = walk_next();
    }

    if (rc != NGX_AGAIN) {
        sweep_end(caller);
    }
}


static void
sweep_end(lines_caller_t *caller)
{
    if (caller->pool) {
        lines_caller_detach(caller);
        ngx_destroy_pool(caller->pool);
        caller->pool = NULL;
    }
}


/*
 * Looks at the leases that are old: an operation that is unfinished goes on;
 * what nothing holds any more is released.
 */

static void
leases_start(void)
{
    if (sweep_begin(&sweeper.leases) != NGX_OK) {
        return;
    }

    sweep_resume(&sweeper.leases,
                 lines_try_inv_look(&sweeper.leases, leases_old, NULL,
                                    .most = LINES_INV_LOOKS,
                                    .delay = sweeper.lmcf->operation->lease));
}


static ngx_int_t
leases_old(void *data, lines_inv_look_reply_t *reply)
{
    ngx_uint_t  i;

    if (reply == NULL || ngx_exiting) {
        return NGX_OK;
    }

    for (i = 0; i + 2 < reply->members.n; i += 3) {
        lease_look(&reply->members.elts[i]);
    }

    return NGX_OK;
}


static void
lease_look(ngx_str_t *member)
{
    ngx_str_t      ticket;
    lease_look_t  *look;

    look = ngx_palloc(sweeper.leases.pool, sizeof(lease_look_t));

    if (look == NULL
        || sweep_read("leases", member, &look->tenant, &look->operation)
           != NGX_OK)
    {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines inventory: looks at \"%V\"", member);

    look->number = member[1];
    look->looked = member[2];

    /* a ticket holds a number as "ticket.ID" */

    ticket = look->operation;
    (void) lines_split(&ticket, '.');

    (void) lines_try_inv_fate(&sweeper.leases, lease_fate, look,
                              .tenant = look->tenant,
                              .operation = look->operation, .ticket = ticket,
                              .number = look->number);
}


static ngx_int_t
lease_fate(void *data, lines_inv_fate_reply_t *reply)
{
    lease_look_t *look = data;

    /* without a reply, here or to what follows, it is looked at once more */

    if (reply == NULL) {
        return NGX_OK;
    }

    switch (reply->is) {

    case LINES_INV_FATE_UNFINISHED:
        (void) lines_op_spawn(sweeper.lmcf, &look->tenant, &look->operation);
        break;

    case LINES_INV_FATE_HELD:
        (void) lines_forget_inv_keep(&sweeper.leases,
                                     .operation = look->operation,
                                     .tenant = look->tenant,
                                     .looked = look->looked);
        break;

    default: /* LINES_INV_FATE_RELEASED, LINES_INV_FATE_GONE */

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "lines inventory: the number of \"%V\", operation "
                      "\"%V\", goes back", &look->tenant, &look->operation);

        (void) lines_forget_inv_release(&sweeper.leases,
            .operation = look->operation, .tenant = look->tenant,
            .quarantine = reply->is == LINES_INV_FATE_RELEASED
                          ? sweeper.lmcf->quarantine : 0,
            .looked = look->looked);
    }

    return NGX_OK;
}


/* looks for operations whose hints are lost: of all tenants, then of those that
   may be gone, and so on */

static void
walk_start(void)
{
    if (sweep_begin(&sweeper.walk) != NGX_OK) {
        return;
    }

    sweeper.tenants.n = 0;
    sweeper.ops.ids.n = 0;
    sweeper.listed = sweeper.orphaned;
    sweeper.kept = WALK_KEPT;

    sweep_resume(&sweeper.walk,
                 sweeper.orphaned
                 ? lines_orphaned_scan(&sweeper.walk, walk_orphaned, NULL,
                                       .cursor = sweeper.cursor)
                 : lines_tenants_scan(&sweeper.walk, walk_scanned, NULL,
                                      .cursor = sweeper.cursor));
}


static ngx_int_t
walk_scanned(void *data, lines_tenants_scan_reply_t *reply)
{
    return walk_page(&reply->cursor, &reply->members);
}


static ngx_int_t
walk_orphaned(void *data, lines_orphaned_scan_reply_t *reply)
{
    (void) walk_page(&reply->cursor, &reply->members);

    /* as a rule there are none */

    if (reply->members.n || sweeper.orphaned) {
        return NGX_OK;
    }

    sweeper.listed = 0;

    return lines_tenants_scan(&sweeper.walk, walk_scanned, NULL,
                              .cursor = sweeper.cursor);
}


static ngx_int_t
walk_page(ngx_str_t *cursor, lines_list_t *members)
{
    ngx_str_set(&sweeper.cursor, "0");

    if (cursor->len && cursor->len <= sizeof(sweeper.text)) {
        ngx_memcpy(sweeper.text, cursor->data, cursor->len);
        sweeper.cursor.data = sweeper.text;
        sweeper.cursor.len = cursor->len;
    }

    if (lines_is(&sweeper.cursor, "0")) {
        sweeper.orphaned = !sweeper.orphaned;
    }

    sweeper.tenants = *members;

    return NGX_OK;
}


/* the next few of the tenant, then the next tenant; NGX_DONE: there is none */

static ngx_int_t
walk_next(void)
{
    ngx_int_t      rc;
    ngx_str_t     *id;
    ngx_uint_t     n;
    lines_list_t  *ids = &sweeper.ops.ids;

    rc = walk_drop();

    if (rc != NGX_OK) {
        return rc;
    }

    for (n = 0; ids->n && n < LINES_WALK_BATCH; n++) {
        id = &ids->elts[--ids->n];

        if (id->len
            && lines_try_due_ensure(&sweeper.walk, walk_hinted, id,
                                    .tenant = sweeper.tenant,
                                    .shard = lines_due_shard(id),
                                    .delay = sweeper.lmcf->operation->due,
                                    .id = *id)
               != NGX_AGAIN)
        {
            ids->n = 0;
        }
    }

    if (lines_caller_busy(&sweeper.walk)) {
        return NGX_AGAIN;
    }

    while (sweeper.tenants.n && !ngx_exiting) {
        sweeper.tenant = sweeper.tenants.elts[--sweeper.tenants.n];

        if (sweeper.tenant.len) {
            sweeper.kept = sweeper.listed ? WALK_READ : WALK_KEPT;

            return lines_keep_ops_read(&sweeper.walk, &sweeper.ops,
                                       .tenant = sweeper.tenant);
        }
    }

    return NGX_DONE;
}


/*
 * A tenant without an operation is not to be looked at for an orphan any more.
 * One may begin just then: whoever begins it lists the tenant before, and once
 * more after, and whoever takes it away looks once more.  NGX_OK: go on.
 */

static ngx_int_t
walk_drop(void)
{
    ngx_uint_t  kept;

    kept = sweeper.kept;
    sweeper.kept = WALK_KEPT;

    switch (kept) {

    case WALK_READ:

        if (sweeper.ops.ids.n) {
            return NGX_OK;
        }

        sweeper.kept = WALK_DROPPED;

        return lines_orphaned_rem(&sweeper.walk, NULL, NULL,
                                  .tenant = sweeper.tenant);

    case WALK_DROPPED:
        sweeper.kept = WALK_AGAIN;

        return lines_keep_ops_read(&sweeper.walk, &sweeper.ops,
                                   .tenant = sweeper.tenant);

    case WALK_AGAIN:

        return sweeper.ops.ids.n
               ? lines_orphaned_add(&sweeper.walk, NULL, NULL,
                                    .tenant = sweeper.tenant)
               : NGX_OK;

    default: /* WALK_KEPT */
        return NGX_OK;
    }
}


static ngx_int_t
walk_hinted(void *data, lines_due_ensure_reply_t *reply)
{
    ngx_str_t *id = data;

    /* it was lost, unless the operation has ended meanwhile */

    if (reply && reply->added) {
        (void) lines_try_op_seen(&sweeper.walk, walk_seen, id,
                                 .tenant = sweeper.tenant, .id = *id);
    }

    return NGX_OK;
}


static ngx_int_t
walk_seen(void *data, lines_op_seen_reply_t *reply)
{
    ngx_str_t *id = data;

    lines_audit_found_t  found = {
        .kind = LINES_AUDIT_hint, .repaired = 1,
        .tenant = sweeper.tenant, .id = *id,
        .here = ngx_string("unfinished"), .there = ngx_string("no hint")
    };

    if (reply && reply->step.len && !lines_is(&reply->step, "done")) {
        lines_audit_report(&sweeper.walk, &found);
    }

    return NGX_OK;
}
