
/*
 * Finishes what others began and could not finish: what is due, the old leases
 * of numbers; and writes hints that were lost again, for who goes over all
 * operations.  A few commands at a time; nobody waits for them.
 */

#include "background/audit.h"
#include "background/sweeper.h"
#include "http/metrics.h"
#include "http/text.h"
#include "operation/database.h"
#include "operation/operation.h"


#define LINES_INV_LOOKS  16


/* one lease that is looked at: three of the reply's */

typedef struct {
    ngx_str_t  tenant;
    ngx_str_t  operation;
    ngx_str_t  number;
    ngx_str_t  looked;     /* what follows is of this look only */
} lease_look_t;


/* one operation whose hint is looked for */

typedef struct {
    lines_caller_t  *caller;
    ngx_str_t        tenant;
    ngx_str_t        id;
} hint_t;


static void sweep_start(ngx_event_t *ev);
static ngx_uint_t sweep_turn(lines_op_conf_t *ocf);
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
static ngx_int_t hint_ensured(void *data, lines_due_ensure_reply_t *reply);
static ngx_int_t hint_seen(void *data, lines_op_seen_reply_t *reply);


/* of this node: one of its workers looks for all */

typedef struct {
    ngx_atomic_t  looked;     /* ms */
    ngx_atomic_t  backlog;    /* flag: it found more than it may carry */
} sweep_area_t;


/* of this worker */

static struct {
    lines_main_conf_t  *lmcf;
    lines_caller_t      due;
    lines_caller_t      leases;       /* without a pool: at rest */
} sweeper;


void *
lines_sweeper_init_area(ngx_slab_pool_t *shpool)
{
    return ngx_slab_calloc(shpool, sizeof(sweep_area_t));
}


void
lines_sweeper_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    lines_op_conf_t  *ocf = lmcf->operation;

    sweeper.lmcf = lmcf;
    lines_caller_init(&sweeper.due, lmcf->redis, NULL, cycle->log);

    ocf->sweeper.handler = sweep_start;
    ocf->sweeper.data = ocf;
    ocf->sweeper.log = cycle->log;
    ocf->sweeper.cancelable = 1;

    ngx_add_timer(&ocf->sweeper, 1 + ngx_random() % ocf->sweep);
}


void
lines_sweeper_exit_process(void)
{
    lines_op_conf_t  *ocf;

    if (sweeper.lmcf == NULL) {
        return;
    }

    ocf = sweeper.lmcf->operation;

    if (ocf->sweeper.timer_set) {
        ngx_del_timer(&ocf->sweeper);
    }

    lines_caller_detach(&sweeper.due);
    sweep_end(&sweeper.leases);
}


static void
sweep_start(ngx_event_t *ev)
{
    ngx_int_t         rc;
    ngx_uint_t        i, first;
    lines_op_conf_t  *ocf = ev->data;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    if (!lines_database_ours(sweeper.lmcf) || !sweep_turn(ocf)) {
        goto next;
    }

    first = ngx_random() % LINES_DUE_SHARDS;

    /* a part of a cluster may be away: the others' shards are due, too */

    for (i = 0; i < LINES_DUE_SHARDS; i++) {
        rc = lines_try_due_read(&sweeper.due, swept_shard, NULL,
                                .shard = (first + i) % LINES_DUE_SHARDS,
                                .most = ocf->batch, .lease = ocf->lease);

        if (rc != NGX_AGAIN && rc != NGX_DECLINED) {
            break;
        }
    }

    leases_start();

next:

    /* jitter: the workers of a fleet do not look all at once */

    ngx_add_timer(ev,
                  ocf->sweep - ocf->sweep / 8
                  + ngx_random() % (ocf->sweep / 4 + 1));
}


/* whose timer comes first: one that has died, or is held up, is none of them */

static ngx_uint_t
sweep_turn(lines_op_conf_t *ocf)
{
    ngx_atomic_uint_t   looked;
    sweep_area_t       *area;

    area = lines_zone_area(sweeper.lmcf, LINES_ZONE_SWEEP);

    looked = area->looked;

    if (looked && !area->backlog
        && lines_zone_since(looked) < ocf->sweep - ocf->sweep / 4)
    {
        return 0;
    }

    if (!ngx_atomic_cmp_set(&area->looked, looked, ngx_current_msec)) {
        return 0;
    }

    area->backlog = 0;

    return 1;
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
    sweep_area_t     *area;
    lines_op_conf_t  *ocf = sweeper.lmcf->operation;

    if (sweep_read("due", member, &tenant, &id) != NGX_OK) {
        return;
    }

    if (ocf->sweeping >= ocf->batch) {
        ocf->backlog = 1;
        area = lines_zone_area(sweeper.lmcf, LINES_ZONE_SWEEP);
        area->backlog = 1;
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
                              .number = look->number,
                              .most = lines_op_longest(
                                                   sweeper.lmcf->operation));
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

    case LINES_INV_FATE_RESTS:

        /* however often its number is looked at, billing hears when it is due */

        break;

    case LINES_INV_FATE_LOST:
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


void
lines_sweeper_ensure_hints(lines_caller_t *caller, lines_main_conf_t *lmcf,
    ngx_str_t *tenant, lines_list_t *ids)
{
    hint_t      *hint;
    ngx_uint_t   i;

    /* in a database that is not this fleet's there is nothing to go on with */

    if (!lines_database_ours(lmcf)) {
        return;
    }

    for (i = 0; i < ids->n; i++) {
        hint = ngx_palloc(caller->pool, sizeof(hint_t));

        if (hint == NULL) {
            return;
        }

        hint->caller = caller;
        hint->tenant = *tenant;
        hint->id = ids->elts[i];

        if (hint->id.len) {
            (void) lines_try_due_ensure(caller, hint_ensured, hint,
                                        .tenant = hint->tenant,
                                        .shard = lines_due_shard(&hint->id),
                                        .delay = lmcf->operation->due,
                                        .id = hint->id);
        }
    }
}


static ngx_int_t
hint_ensured(void *data, lines_due_ensure_reply_t *reply)
{
    hint_t *hint = data;

    /* it was lost, unless the operation has ended meanwhile */

    if (reply && reply->added) {
        (void) lines_try_op_seen(hint->caller, hint_seen, hint,
                                 .tenant = hint->tenant, .id = hint->id);
    }

    return NGX_OK;
}


static ngx_int_t
hint_seen(void *data, lines_op_seen_reply_t *reply)
{
    hint_t *hint = data;

    lines_audit_found_t  found = {
        .kind = LINES_AUDIT_hint, .repaired = 1,
        .tenant = hint->tenant, .id = hint->id,
        .here = ngx_string("unfinished"), .there = ngx_string("no hint")
    };

    if (reply == NULL || reply->step.len == 0) {
        return NGX_OK;
    }

    /* it has ended since: whoever claims it takes the hint away again */

    if (lines_is(&reply->step, "done")) {
        (void) lines_op_spawn(sweeper.lmcf, &hint->tenant, &hint->id);
        return NGX_OK;
    }

    lines_audit_report(hint->caller, &found);

    return NGX_OK;
}
