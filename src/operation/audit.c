
/*
 * A pass is a row of steps: a page of billing's subscriptions, some tenants, a
 * page of numbers.  Each tick of the timer takes the lease anew, writes down
 * where the pass is, and makes one step, with at most one call to billing:
 * that is its rate.  What a step finds is doubted: it is looked at once more,
 * in a tick of its own, before anything follows.
 *
 * Billing is always asked before Redis: an operation is recorded before its
 * effect, so that what billing shows and Redis does not know yet is under way
 * there, and passed over.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/metrics.h"
#include "http/text.h"
#include "operation/audit.h"
#include "operation/event.h"
#include "operation/operation.h"
#include "operation/subscription.h"
#include "store/calls.h"


/* ten are some 50k, of the 64k that an answer may have */
#define LINES_AUDIT_SUBSCRIPTIONS  10

#define LINES_AUDIT_PAGE    100                    /* lines, numbers, … */
#define LINES_AUDIT_FOUND   200                    /* that are listed */
#define LINES_AUDIT_DOUBTS  64                     /* of a step */
#define LINES_AUDIT_KEEP    (7 * 86400000LL)
#define LINES_AUDIT_MONTH   (29 * 86400000LL)      /* less than a window */


typedef ngx_int_t (*audit_step_pt)(void);


/* what a tenant has pages of */

enum {
    AUDIT_LINES = 0,
    AUDIT_WINDOW,
    AUDIT_TICKETS,
    AUDIT_LISTS
};


/* a subscription that is to be read by itself */

typedef struct {
    ngx_str_t  subscription;
    ngx_str_t  tenant;
    ngx_str_t  id;         /* of the line */
} audit_doubt_t;


/* who holds a number, by the inventory */

typedef struct {
    ngx_str_t  number;
    ngx_str_t  operation;
    ngx_str_t  tenant;
} audit_held_t;


static struct {
    lines_main_conf_t     *lmcf;
    lines_op_conf_t       *conf;
    ngx_event_t            timer;
    lines_caller_t         caller;
    u_char                 me[16];

    /* the place that is to be written down; its phase is NULL: no news */
    const char            *phase;
    u_char                 cursor[128];
    size_t                 cursor_len;
    int64_t                began;        /* Redis' clock */
    ngx_uint_t             limit;        /* of billing's page */

    /* of a step */
    ngx_pool_t            *pool;         /* NULL: at rest */
    lines_carrier_t       *carrier;      /* while billing's answer is read */
    audit_step_pt          next;
    audit_step_pt          after;        /* once no doubt is left */
    lines_look_t           look;
    lines_audit_found_t    found;        /* of it */
    ngx_uint_t             flight;       /* flag: somebody sees to it */
    ngx_array_t            doubts;       /* audit_doubt_t */
    ngx_uint_t             ndoubts;      /* done with */
    lines_list_t           members;      /* tenants, or numbers, */
    ngx_uint_t             n;            /* and how many are done with */
    ngx_array_t           *subscriptions;
    ngx_uint_t             more;         /* flag */

    ngx_array_t            first;        /* lines_audit_found_t of the first
                                            look at what is only in Redis */
    ngx_uint_t             again;        /* flag: this is the second */

    /* a tenant */
    ngx_str_t              tenant;
    ngx_uint_t             list;
    int64_t                from;
    lines_list_t           ids;          /* of the page, or their numbers */
    ngx_uint_t             waits;        /* flag */
    int64_t                places[5];
    lines_audit_tenant_reply_t  counts;
} audit;


static void audit_tick(ngx_event_t *ev);
static ngx_int_t audit_turned(void *data, lines_audit_turn_reply_t *reply);
static void audit_resume(lines_caller_t *caller, ngx_int_t rc);
static void audit_run(ngx_int_t rc);
static void audit_stop(void);
static void audit_put_down(void);
static ngx_int_t audit_pause(audit_step_pt next);
static ngx_int_t audit_place(const char *phase, ngx_str_t *cursor);
static ngx_int_t audit_stepped(void);
static ngx_int_t audit_bill(lines_billing_ask_t *ask, lines_billing_pt done);

static ngx_int_t audit_subscriptions(void);
static void audit_listed(void *data, lines_billing_result_t *result);
static ngx_int_t audit_list(void);
static void audit_look(lines_stripe_subscription_t *subscription,
    ngx_int_t (*end)(lines_look_t *look));
static ngx_int_t audit_doubted(lines_look_t *look);
static ngx_uint_t audit_judge(lines_look_t *look);
static ngx_int_t audit_doubt(ngx_str_t *subscription, ngx_str_t *tenant,
    ngx_str_t *id);
static ngx_int_t audit_read(void);
static ngx_int_t audit_get(void);
static void audit_got(void *data, lines_billing_result_t *result);
static ngx_int_t audit_sure(lines_look_t *look);
static ngx_int_t audit_in_flight(void *data, lines_op_seen_reply_t *reply);
static ngx_int_t audit_settle(void);
static ngx_int_t audit_settled(lines_look_t *look);

static ngx_int_t audit_tenants(void);
static ngx_int_t audit_scanned(void *data, lines_tenants_scan_reply_t *reply);
static ngx_int_t audit_next_tenant(void);
static ngx_int_t audit_tenant(void);
static ngx_int_t audit_counted(void *data, lines_audit_tenant_reply_t *reply);
static ngx_int_t audit_page(void);
static ngx_int_t audit_ask_page(void);
static ngx_int_t audit_paged(void *data, lines_audit_page_reply_t *reply);
static ngx_int_t audit_lines(void *data, lines_audit_lines_reply_t *reply);
static ngx_int_t audit_window(void *data, lines_audit_window_reply_t *reply);
static ngx_int_t audit_tickets(void *data, lines_audit_tickets_reply_t *reply);
static ngx_int_t audit_ask_numbers(lines_list_t *held);
static ngx_int_t audit_numbered(void *data, lines_numbers_read_reply_t *reply);
static ngx_int_t audit_recounted(void *data,
    lines_audit_tenant_reply_t *reply);
static ngx_int_t audit_found(lines_audit_e kind, ngx_uint_t repaired,
    ngx_str_t *tenant, ngx_str_t *id, ngx_str_t *here, ngx_str_t *there);
static ngx_uint_t audit_same(lines_audit_found_t *a, lines_audit_found_t *b);

static ngx_int_t audit_numbers(void);
static ngx_int_t audit_numbers_paged(void *data,
    lines_numbers_page_reply_t *reply);
static ngx_int_t audit_ask_entries(void);
static ngx_int_t audit_entries(void *data, lines_numbers_read_reply_t *reply);
static ngx_int_t audit_held(void *data, lines_audit_number_reply_t *reply);
static ngx_int_t audit_checked(void);
static ngx_int_t audit_ended(void *data, lines_audit_end_reply_t *reply);
static ngx_str_t audit_word(ngx_str_t *text);


static const struct {
    const char     *phase;
    audit_step_pt   step;
} audit_phases[] = {
    { "subscriptions", audit_subscriptions },
    { "tenants", audit_tenants },
    { "numbers", audit_numbers }
};


#define audit_name(kind)  ngx_string(#kind),

ngx_str_t  lines_audit_kinds[LINES_AUDITS] = {
    LINES_EACH_AUDIT(audit_name)
};

static ngx_str_t  audit_none = ngx_null_string;


ngx_int_t
lines_audit_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    if (lmcf->billing == NULL || lmcf->operation->audit == 0
        || ngx_worker != 0)
    {
        return NGX_OK;
    }

    ngx_memzero(&audit, sizeof(audit));

    audit.lmcf = lmcf;
    audit.conf = lmcf->operation;
    audit.limit = LINES_AUDIT_SUBSCRIPTIONS;

    (void) ngx_sprintf(audit.me, "%08xD%08xD", (uint32_t) ngx_random(),
                       (uint32_t) ngx_random() ^ (uint32_t) ngx_pid);

    audit.timer.handler = audit_tick;
    audit.timer.data = &audit;
    audit.timer.log = cycle->log;
    audit.timer.cancelable = 1;

    ngx_add_timer(&audit.timer, 1 + ngx_random() % audit.conf->sweep);

    return NGX_OK;
}


void
lines_audit_exit_process(void)
{
    if (audit.lmcf == NULL) {
        return;
    }

    audit_stop();

    if (audit.timer.timer_set) {
        ngx_del_timer(&audit.timer);
    }
}


void
lines_audit_report(lines_caller_t *caller, lines_audit_found_t *found)
{
    ngx_uint_t  level;

    level = found->repaired ? NGX_LOG_WARN : NGX_LOG_ERR;

    lines_metrics_inc(audit[found->kind]);

    ngx_log_error(level, caller->log, 0,
                  "lines audit: %V, %s: \"%V\" of \"%V\", subscription \"%V\": "
                  "\"%V\", but \"%V\"", &lines_audit_kinds[found->kind],
                  found->repaired ? "repaired" : "shown", &found->id,
                  &found->tenant, &found->subscription, &found->here,
                  &found->there);

    (void) lines_forget_audit_found(caller,
                .kind = lines_audit_kinds[found->kind],
                .outcome = lines_op_text(found->repaired ? "repaired"
                                                         : "shown"),
                .tenant = found->tenant, .id = found->id,
                .subscription = found->subscription, .here = found->here,
                .there = found->there, .most = LINES_AUDIT_FOUND);
}


/* a step, or the next part of one: only for who holds the lease */

static void
audit_tick(ngx_event_t *ev)
{
    ngx_str_t  me, phase, cursor;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        audit_stop();
        return;
    }

    if (audit.pool == NULL) {
        audit.pool = ngx_create_pool(4096, ngx_cycle->log);

        if (audit.pool == NULL) {
            audit_run(NGX_ERROR);
            return;
        }

        lines_caller_init(&audit.caller, audit.lmcf->redis, audit.pool,
                          ngx_cycle->log);
        audit.caller.resume = audit_resume;
        audit.next = NULL;
        audit.ndoubts = 0;

        if (ngx_array_init(&audit.doubts, audit.pool, 4,
                           sizeof(audit_doubt_t))
            != NGX_OK
            || ngx_array_init(&audit.first, audit.pool, 4,
                              sizeof(lines_audit_found_t))
               != NGX_OK)
        {
            audit_run(NGX_ERROR);
            return;
        }
    }

    me.data = audit.me;
    me.len = sizeof(audit.me);

    cursor.data = audit.cursor;
    cursor.len = audit.cursor_len;

    ngx_str_null(&phase);

    if (audit.phase) {
        phase = lines_op_text(audit.phase);
    }

    audit_run(lines_audit_turn(&audit.caller, audit_turned, NULL, .me = me,
                               .lease = audit.conf->lease,
                               .pass = audit.conf->pass, .phase = phase,
                               .cursor = cursor));
}


static ngx_int_t
audit_turned(void *data, lines_audit_turn_reply_t *reply)
{
    ngx_uint_t             i;
    lines_metrics_area_t  *area;

    area = lines_zone_area(audit.lmcf, LINES_ZONE_METRICS);
    area->audited = reply->ended / 1000;

    audit.phase = NULL;

    if (reply->is != LINES_AUDIT_TURN_MINE) {
        return NGX_DECLINED;
    }

    if (audit.next) {
        return NGX_OK;
    }

    audit.began = reply->began;

    for (i = 0; i < sizeof(audit_phases) / sizeof(audit_phases[0]); i++) {
        if (lines_is(&reply->phase, audit_phases[i].phase)) {
            audit.next = audit_phases[i].step;
        }
    }

    /* of another release: from the beginning */

    if (audit.next == NULL || reply->cursor.len > sizeof(audit.cursor)) {
        return audit_place(audit_phases[0].phase, &audit_none);
    }

    audit.cursor_len = reply->cursor.len;
    ngx_memcpy(audit.cursor, reply->cursor.data, reply->cursor.len);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines audit: %V \"%V\"", &reply->phase, &reply->cursor);

    return NGX_OK;
}


static void
audit_resume(lines_caller_t *caller, ngx_int_t rc)
{
    if (rc == NGX_ERROR || !lines_caller_busy(caller)) {
        audit_run(rc);
    }
}


/*
 * NGX_OK: on with audit.next; NGX_AGAIN: something is under way; NGX_DONE: the
 * step is done; NGX_DECLINED: it is not our turn; NGX_ERROR: not now, the step
 * is made anew.
 */

static void
audit_run(ngx_int_t rc)
{
    while (rc == NGX_OK) {
        rc = audit.next();
    }

    if (rc == NGX_AGAIN) {
        return;
    }

    audit_stop();

    ngx_add_timer(&audit.timer, rc == NGX_DONE
                                ? audit.conf->audit
                                : ngx_max(audit.conf->sweep,
                                          audit.conf->audit));
}


static void
audit_stop(void)
{
    audit_put_down();

    if (audit.pool) {
        lines_caller_detach(&audit.caller);
        ngx_destroy_pool(audit.pool);
        audit.pool = NULL;
    }
}


/* what billing answered is not needed any more */

static void
audit_put_down(void)
{
    if (audit.carrier) {
        lines_carrier_destroy(audit.carrier);
        audit.carrier = NULL;
    }
}


static ngx_int_t
audit_pause(audit_step_pt next)
{
    audit_put_down();

    audit.next = next;
    ngx_add_timer(&audit.timer, audit.conf->audit);

    return NGX_AGAIN;
}


/* the step is done, and this is where the next one begins */

static ngx_int_t
audit_place(const char *phase, ngx_str_t *cursor)
{
    if (cursor->len > sizeof(audit.cursor)) {
        return NGX_ERROR;
    }

    audit.phase = phase;
    audit.cursor_len = cursor->len;
    ngx_memmove(audit.cursor, cursor->data, cursor->len);

    return NGX_DONE;
}


static ngx_int_t
audit_bill(lines_billing_ask_t *ask, lines_billing_pt done)
{
    ngx_str_t  id = ngx_string("audit");

    audit_put_down();

    audit.carrier = lines_carrier_create(audit.lmcf, &id, ngx_cycle->log);

    return audit.carrier
           ? lines_billing_ask(audit.carrier, ask, done, NULL)
           : NGX_ERROR;
}


/* Billing's side: a page of all subscriptions that have not ended. */

static ngx_int_t
audit_subscriptions(void)
{
    lines_billing_ask_t  ask = {
        .kind = LINES_BILLING_ALL,
        .after = { audit.cursor_len, audit.cursor },
        .limit = audit.limit
    };

    return audit_bill(&ask, audit_listed);
}


static void
audit_listed(void *data, lines_billing_result_t *result)
{
    if (result->outcome == LINES_STRIPE_OK) {
        audit.subscriptions = result->subscriptions;
        audit.more = result->more;
        audit.n = 0;
        audit.limit = ngx_min(audit.limit * 2, LINES_AUDIT_SUBSCRIPTIONS);
        audit.next = audit_list;

        audit_run(NGX_OK);
        return;
    }

    /* the page may be too large; or where it begins is not known any more */

    if (result->outcome == LINES_STRIPE_REFUSED && audit.cursor_len) {
        audit_run(audit_place(audit_phases[0].phase, &audit_none));
        return;
    }

    audit.limit = ngx_max(audit.limit / 2, 1);
    audit_run(NGX_ERROR);
}


static ngx_int_t
audit_list(void)
{
    lines_stripe_subscription_t  *s;

    s = audit.subscriptions->elts;

    while (audit.n < audit.subscriptions->nelts) {

        audit_look(&s[audit.n++], audit_doubted);

        switch (lines_op_sub(&audit.look.status)) {

        case LINES_SUB_LIVE:
        case LINES_SUB_OVERDUE:

            if (lines_look_ours(&audit.look)) {
                return lines_look(&audit.look);
            }

            break;

        default:
            break;
        }
    }

    audit.after = audit_stepped;

    if (!audit.more) {
        (void) audit_place("tenants", &audit_none);

    } else if (audit_place(audit_phases[0].phase, &s[audit.n - 1].id)
               != NGX_DONE)
    {
        return NGX_ERROR;
    }

    audit_put_down();

    return audit_read();
}


/* the place was set */

static ngx_int_t
audit_stepped(void)
{
    return NGX_DONE;
}


static void
audit_look(lines_stripe_subscription_t *subscription,
    ngx_int_t (*end)(lines_look_t *look))
{
    ngx_memzero(&audit.look, sizeof(lines_look_t));

    audit.look.lmcf = audit.lmcf;
    audit.look.caller = &audit.caller;
    audit.look.pool = audit.pool;
    audit.look.log = ngx_cycle->log;
    audit.look.judge = 1;
    audit.look.end = end;

    lines_look_at(&audit.look, subscription);
}


static ngx_int_t
audit_doubted(lines_look_t *look)
{
    if (audit_judge(look)) {
        return audit_doubt(&look->subscription, &look->tenant, &look->id);
    }

    if (look->line.subscription.len) {
        (void) lines_forget_audit_mark(&audit.caller, .tenant = look->tenant,
                                       .line = look->id);
    }

    return NGX_OK;
}


/*
 * Whether a subscription and what holds it disagree; audit.found says how.
 * What is under way is seen to.
 */

static ngx_uint_t
audit_judge(lines_look_t *look)
{
    ngx_uint_t            over;
    lines_sub_e           sub;
    lines_audit_found_t  *found;

    sub = lines_op_sub(&look->status);
    found = &audit.found;

    ngx_memzero(found, sizeof(lines_audit_found_t));

    found->tenant = look->tenant;
    found->id = look->id;
    found->subscription = look->subscription;
    found->here = look->line.status;
    found->there = look->status;

    if (look->follows == LINES_FOLLOWS_NEWS || look->tenant.len == 0) {
        return 0;
    }

    if (look->follows == LINES_FOLLOWS_ORPHAN) {
        found->kind = LINES_AUDIT_orphan;
        found->repaired = 1;

        if (found->here.len == 0) {
            ngx_str_set(&found->here, "no such line");

        } else if (look->line.subscription.len
                   && !lines_op_same(&look->line.subscription,
                                     &look->subscription))
        {
            ngx_str_set(&found->here, "its line has another one");
        }

        return 1;
    }

    over = look->line.ended.len != 0
           || lines_status(&look->line.status) == LINES_FAILED;

    if (over) {
        found->kind = LINES_AUDIT_outlived;

        return look->line.subscription.len
               && (sub == LINES_SUB_LIVE || sub == LINES_SUB_OVERDUE);
    }

    if (look->follows != LINES_FOLLOWS_LAPSE || look->line.reading.len) {
        return 0;
    }

    found->repaired = 1;

    if (sub == LINES_SUB_LIVE) {
        found->kind = LINES_AUDIT_suspended;
        ngx_str_set(&found->here, "suspended");

        return 1;
    }

    found->kind = LINES_AUDIT_unpaid;

    return sub == LINES_SUB_ENDED
           || (sub == LINES_SUB_OVERDUE && look->line.suspended.len == 0);
}


/* kept past billing's answer */

static ngx_int_t
audit_doubt(ngx_str_t *subscription, ngx_str_t *tenant, ngx_str_t *id)
{
    audit_doubt_t  *doubt;

    /* the next pass sees what is left */

    if (audit.doubts.nelts == LINES_AUDIT_DOUBTS) {
        return NGX_OK;
    }

    doubt = ngx_array_push(&audit.doubts);

    if (doubt == NULL) {
        return NGX_ERROR;
    }

    return lines_redis_format(audit.pool, &doubt->subscription, "%V",
                              subscription) == NGX_OK
           && lines_redis_format(audit.pool, &doubt->tenant, "%V", tenant)
              == NGX_OK
           && lines_redis_format(audit.pool, &doubt->id, "%V", id) == NGX_OK
           ? NGX_OK : NGX_ERROR;
}


/* The second look: each subscription that is doubted, by itself. */

static ngx_int_t
audit_read(void)
{
    audit_put_down();

    if (audit.ndoubts < audit.doubts.nelts) {
        return audit_pause(audit_get);
    }

    audit.doubts.nelts = 0;
    audit.ndoubts = 0;

    audit.next = audit.after;

    return NGX_OK;
}


static ngx_int_t
audit_get(void)
{
    audit_doubt_t        *doubt;
    lines_billing_ask_t   ask = { .kind = LINES_BILLING_SUBSCRIPTION };

    doubt = audit.doubts.elts;
    ask.id = doubt[audit.ndoubts].subscription;

    return audit_bill(&ask, audit_got);
}


static void
audit_got(void *data, lines_billing_result_t *result)
{
    audit_doubt_t                *doubt;
    lines_stripe_metadata_t      *metadata;
    lines_stripe_subscription_t   gone, *s;

    doubt = (audit_doubt_t *) audit.doubts.elts + audit.ndoubts++;

    audit.next = audit_read;
    s = result->subscription;

    if (result->outcome == LINES_STRIPE_REFUSED && result->status == 404) {
        ngx_memzero(&gone, sizeof(lines_stripe_subscription_t));
        gone.id = doubt->subscription;
        ngx_str_set(&gone.status, "canceled");
        s = &gone;

    } else if (result->outcome != LINES_STRIPE_OK) {
        audit_run(NGX_ERROR);
        return;
    }

    metadata = ngx_palloc(audit.pool, sizeof(lines_stripe_metadata_t));

    if (metadata == NULL) {
        audit_run(NGX_ERROR);
        return;
    }

    *metadata = s->metadata;

    audit_look(s, audit_sure);
    audit.look.metadata = metadata;

    /* one that is gone says nothing: its line does */

    if (s == &gone) {
        metadata->tenant = doubt->tenant;
        metadata->line = doubt->id;

    } else if (!lines_look_ours(&audit.look)
               || !lines_op_same(&metadata->tenant, &doubt->tenant)
               || !lines_op_same(metadata->line.len ? &metadata->line
                                                    : &metadata->operation,
                                 &doubt->id))
    {
        audit.found = (lines_audit_found_t) {
            .kind = LINES_AUDIT_shared, .tenant = doubt->tenant,
            .id = doubt->id, .subscription = doubt->subscription,
            .here = ngx_string("its line's"),
            .there = metadata->line.len ? metadata->line : metadata->operation
        };

        lines_audit_report(&audit.caller, &audit.found);
        audit_run(NGX_OK);
        return;
    }

    audit_run(lines_look(&audit.look));
}


static ngx_int_t
audit_sure(lines_look_t *look)
{
    ngx_str_t    id;
    ngx_uint_t   i;

    /* whoever may see to it already */

    static const struct {
        const char  *prefix;
        ngx_uint_t   line;     /* flag: of the line, else the subscription */
    } derived[] = {
        { "orphan:", 0 },
        { "lapse:", 0 },
        { "refund:", 1 },
        { "end:", 1 }
    };

    if (!audit_judge(look)) {
        return NGX_OK;
    }

    audit.flight = 0;
    audit.next = audit_settle;

    for (i = 0; i < sizeof(derived) / sizeof(derived[0]); i++) {

        if (lines_derive_id(audit.pool, derived[i].prefix,
                            derived[i].line ? &look->id : &look->subscription,
                            &id)
            != NGX_OK
            || lines_op_seen(&audit.caller, audit_in_flight, NULL,
                             .tenant = look->tenant, .id = id)
               != NGX_AGAIN)
        {
            return NGX_ERROR;
        }
    }

    return NGX_AGAIN;
}


static ngx_int_t
audit_in_flight(void *data, lines_op_seen_reply_t *reply)
{
    if (reply->step.len && !lines_is(&reply->step, "done")) {
        audit.flight = 1;
    }

    return NGX_OK;
}


static ngx_int_t
audit_settle(void)
{
    audit.next = audit_read;

    if (audit.flight) {
        return NGX_OK;
    }

    lines_audit_report(&audit.caller, &audit.found);

    if (!audit.found.repaired) {
        return NGX_OK;
    }

    audit.look.judge = 0;
    audit.look.end = audit_settled;

    return lines_look(&audit.look);
}


static ngx_int_t
audit_settled(lines_look_t *look)
{
    return NGX_OK;
}


/* Redis' side: tenants, each by itself. */

static ngx_int_t
audit_tenants(void)
{
    ngx_str_t  cursor = { audit.cursor_len, audit.cursor };

    if (cursor.len == 0) {
        ngx_str_set(&cursor, "0");
    }

    return lines_tenants_scan(&audit.caller, audit_scanned, NULL,
                              .cursor = cursor);
}


static ngx_int_t
audit_scanned(void *data, lines_tenants_scan_reply_t *reply)
{
    audit.members = reply->members;
    audit.n = 0;
    audit.next = audit_next_tenant;

    return audit_place(lines_is(&reply->cursor, "0") ? "numbers" : "tenants",
                       lines_is(&reply->cursor, "0") ? &audit_none
                                                     : &reply->cursor)
           == NGX_DONE
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
audit_next_tenant(void)
{
    audit.first.nelts = 0;
    audit.again = 0;

    while (audit.n < audit.members.n) {
        audit.tenant = audit.members.elts[audit.n++];

        if (audit.tenant.len > 2) {
            audit.next = audit_tenant;
            return NGX_OK;
        }
    }

    return NGX_DONE;
}


static ngx_int_t
audit_tenant(void)
{
    return lines_audit_tenant(&audit.caller, audit_counted, NULL,
                              .tenant = audit.tenant);
}


static ngx_int_t
audit_counted(void *data, lines_audit_tenant_reply_t *reply)
{
    if (!reply->there) {
        audit.next = audit_next_tenant;
        return NGX_OK;
    }

    audit.counts = *reply;
    audit.list = AUDIT_LINES;
    audit.from = 0;
    audit.waits = 0;
    ngx_memzero(audit.places, sizeof(audit.places));

    audit.next = audit_ask_page;

    return NGX_OK;
}


/* what is large is not read in one go */

static ngx_int_t
audit_page(void)
{
    return audit_pause(audit_ask_page);
}


static ngx_int_t
audit_ask_page(void)
{
    ngx_int_t  rc;
    ngx_str_t  key;

    switch (audit.list) {

    case AUDIT_LINES:
        rc = lines_key_lines(audit.pool, &key, &audit.tenant);
        break;

    case AUDIT_WINDOW:
        rc = lines_key_window(audit.pool, &key, &audit.tenant);
        break;

    default:
        rc = lines_key_tickets(audit.pool, &key, &audit.tenant);
        break;
    }

    return rc == NGX_OK
           ? lines_audit_page(&audit.caller, audit_paged, NULL,
                              .lines_key = key, .from = audit.from,
                              .to = audit.from + LINES_AUDIT_PAGE - 1)
           : NGX_ERROR;
}


static ngx_int_t
audit_paged(void *data, lines_audit_page_reply_t *reply)
{
    if (reply->ids.n == 0) {
        audit.from = 0;
        audit.list++;

        /* a workspace has neither windows nor tickets */

        if (audit.list < AUDIT_LISTS && audit.tenant.data[0] == 'a') {
            audit.next = audit_ask_page;
            return NGX_OK;
        }

        return lines_audit_tenant(&audit.caller, audit_recounted, NULL,
                                  .tenant = audit.tenant);
    }

    audit.ids = reply->ids;
    audit.from += reply->ids.n;
    audit.next = reply->ids.n == LINES_AUDIT_PAGE ? audit_page
                                                  : audit_ask_page;

    switch (audit.list) {

    case AUDIT_LINES:
        return lines_audit_lines(&audit.caller, audit_lines, NULL,
                                 .tenant = audit.tenant, .ids = audit.ids,
                                 .since = audit.began,
                                 .month = LINES_AUDIT_MONTH);

    case AUDIT_WINDOW:
        return lines_audit_window(&audit.caller, audit_window, NULL,
                                  .tenant = audit.tenant, .ids = audit.ids);

    default:
        return lines_audit_tickets(&audit.caller, audit_tickets, NULL,
                                   .tenant = audit.tenant, .ids = audit.ids);
    }
}


static ngx_int_t
audit_lines(void *data, lines_audit_lines_reply_t *reply)
{
    off_t        n;
    ngx_str_t   *f;
    ngx_uint_t   i, kind;

    audit.waits |= reply->waits;

    for (i = 0; i < reply->places.n && i < 5; i++) {
        n = ngx_atoof(reply->places.elts[i].data, reply->places.elts[i].len);
        audit.places[i] += ngx_max(n, 0);
    }

    for (i = 0; i + 4 < reply->findings.n; i += 5) {
        f = &reply->findings.elts[i];

        /* billing is to be asked */

        if (lines_is(&f[0], "unpaid") && f[2].len) {

            if (!audit.again && audit_doubt(&f[2], &audit.tenant, &f[1])
                                != NGX_OK)
            {
                return NGX_ERROR;
            }

            continue;
        }

        for (kind = 0; kind < LINES_AUDITS; kind++) {
            if (lines_op_same(&lines_audit_kinds[kind], &f[0])
                && audit_found(kind, 0, &audit.tenant, &f[1], &f[3], &f[4])
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return audit_ask_numbers(&reply->numbers);
}


static ngx_int_t
audit_window(void *data, lines_audit_window_reply_t *reply)
{
    ngx_uint_t  i;

    static ngx_str_t  here = ngx_string("a place in the window");
    static ngx_str_t  there = ngx_string("neither a line nor an operation");

    for (i = 0; i < reply->lost.n; i++) {
        if (audit_found(LINES_AUDIT_window, 0, &audit.tenant,
                        &reply->lost.elts[i], &here, &there)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
audit_tickets(void *data, lines_audit_tickets_reply_t *reply)
{
    return audit_ask_numbers(&reply->numbers);
}


/* pairs: a number, and who holds it */

static ngx_int_t
audit_ask_numbers(lines_list_t *held)
{
    ngx_uint_t    i;
    lines_list_t  numbers;

    if (held->n < 2) {
        return NGX_OK;
    }

    audit.ids = *held;

    numbers.n = held->n / 2;
    numbers.elts = ngx_palloc(audit.pool, numbers.n * sizeof(ngx_str_t));

    if (numbers.elts == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < numbers.n; i++) {
        numbers.elts[i] = held->elts[i * 2];
    }

    return lines_numbers_read(&audit.caller, audit_numbered, NULL,
                              .numbers = numbers);
}


static ngx_int_t
audit_numbered(void *data, lines_numbers_read_reply_t *reply)
{
    ngx_str_t   entry, state, *pair, here, there;
    ngx_uint_t  i;

    for (i = 0; i < reply->entries.n && i * 2 + 1 < audit.ids.n; i++) {
        pair = &audit.ids.elts[i * 2];
        entry = reply->entries.elts[i];
        there = entry;

        /* a ticket's may be none of the inventory's */

        if (entry.len == 0) {

            if (audit.list == AUDIT_TICKETS) {
                continue;
            }

            ngx_str_set(&there, "unknown");
        }

        state = audit_word(&entry);
        (void) audit_word(&entry);

        if (lines_is(&state, "assigned") || lines_is(&state, "leased")) {
            state = audit_word(&entry);

            if (lines_op_same(&state, &pair[1])
                && lines_op_same(&entry, &audit.tenant))
            {
                continue;
            }
        }

        if (lines_redis_format(audit.pool, &here, "held by %V", &pair[1])
            != NGX_OK
            || audit_found(LINES_AUDIT_number, 0, &audit.tenant, &pair[0],
                           &here, &there)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* lines that stood still while they were read hold what their tenant counts */

static ngx_int_t
audit_recounted(void *data, lines_audit_tenant_reply_t *reply)
{
    off_t        n;
    ngx_str_t    here, there;
    ngx_uint_t   i;

    static ngx_str_t  names[] = {
        ngx_string("phone_included"),
        ngx_string("phone_paid"),
        ngx_string("email_included"),
        ngx_string("email_paid"),
        ngx_string("account_lines")
    };

    static ngx_str_t  waits = ngx_string("its workspace waits for it");
    static ngx_str_t  not = ngx_string("it does not await a payment");

    if (lines_op_same(&reply->version, &audit.counts.version)) {

        for (i = 0; i < 5 && i < reply->counts.n; i++) {
            n = ngx_atoof(reply->counts.elts[i].data,
                          reply->counts.elts[i].len);

            if (n == audit.places[i]) {
                continue;
            }

            if (lines_redis_format(audit.pool, &here, "counts %V",
                                   &reply->counts.elts[i])
                != NGX_OK
                || lines_redis_format(audit.pool, &there, "lines hold %L",
                                      audit.places[i])
                   != NGX_OK
                || audit_found(LINES_AUDIT_counter, 0, &audit.tenant,
                               &names[i], &here, &there)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

        if (reply->pending.len
            && !audit.waits
            && lines_op_same(&reply->pending, &audit.counts.pending)
            && audit_found(LINES_AUDIT_pending, 0, &audit.tenant,
                           &reply->pending, &waits, &not)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (audit.first.nelts && !audit.again) {
        audit.again = 1;
        return audit_pause(audit_tenant);
    }

    audit.after = audit_next_tenant;

    return audit_read();
}


/* what is found twice is so */

static ngx_int_t
audit_found(lines_audit_e kind, ngx_uint_t repaired, ngx_str_t *tenant,
    ngx_str_t *id, ngx_str_t *here, ngx_str_t *there)
{
    ngx_uint_t            i;
    lines_audit_found_t   found, *first;

    found = (lines_audit_found_t) {
        .kind = kind, .repaired = repaired, .tenant = *tenant, .id = *id,
        .here = *here, .there = *there
    };

    if (audit.again) {
        first = audit.first.elts;

        for (i = 0; i < audit.first.nelts; i++) {
            if (audit_same(&first[i], &found)) {
                lines_audit_report(&audit.caller, &found);
                break;
            }
        }

        return NGX_OK;
    }

    if (audit.first.nelts == LINES_AUDIT_DOUBTS) {
        return NGX_OK;
    }

    first = ngx_array_push(&audit.first);
    if (first == NULL) {
        return NGX_ERROR;
    }

    *first = found;

    return NGX_OK;
}


static ngx_uint_t
audit_same(lines_audit_found_t *a, lines_audit_found_t *b)
{
    return a->kind == b->kind
           && lines_op_same(&a->tenant, &b->tenant)
           && lines_op_same(&a->id, &b->id)
           && lines_op_same(&a->here, &b->here)
           && lines_op_same(&a->there, &b->there);
}


/* The inventory: whoever it says holds a number knows it. */

static ngx_int_t
audit_numbers(void)
{
    ngx_str_t  key, from = { audit.cursor_len, audit.cursor };

    if (from.len == 0) {
        ngx_str_set(&from, "-");
    }

    return lines_key_inv_all(audit.pool, &key) == NGX_OK
           ? lines_numbers_page(&audit.caller, audit_numbers_paged, NULL,
                                .inv_all_key = key, .from = from,
                                .most = LINES_AUDIT_PAGE)
           : NGX_ERROR;
}


static ngx_int_t
audit_numbers_paged(void *data, lines_numbers_page_reply_t *reply)
{
    ngx_str_t  from;

    if (reply->numbers.n == 0) {
        return lines_audit_end(&audit.caller, audit_ended, NULL,
                               .keep = LINES_AUDIT_KEEP);
    }

    if (lines_redis_format(audit.pool, &from, "(%V",
                           &reply->numbers.elts[reply->numbers.n - 1])
        != NGX_OK
        || audit_place("numbers", &from) != NGX_DONE)
    {
        return NGX_ERROR;
    }

    audit.members = reply->numbers;
    audit.first.nelts = 0;
    audit.again = 0;
    audit.next = audit_ask_entries;

    return NGX_OK;
}


static ngx_int_t
audit_ask_entries(void)
{
    return lines_numbers_read(&audit.caller, audit_entries, NULL,
                              .numbers = audit.members);
}


static ngx_int_t
audit_entries(void *data, lines_numbers_read_reply_t *reply)
{
    u_char        *p, *last;
    ngx_int_t      rc;
    ngx_str_t      entry, state, ticket;
    ngx_uint_t     i;
    audit_held_t  *held;

    rc = NGX_OK;
    audit.next = audit_checked;

    for (i = 0; i < reply->entries.n && i < audit.members.n; i++) {
        entry = reply->entries.elts[i];
        state = audit_word(&entry);
        (void) audit_word(&entry);

        if (!lines_is(&state, "assigned")) {
            continue;
        }

        held = ngx_palloc(audit.pool, sizeof(audit_held_t));
        if (held == NULL) {
            return NGX_ERROR;
        }

        held->number = audit.members.elts[i];
        held->operation = audit_word(&entry);
        held->tenant = entry;

        /* a ticket holds a number as "ticket.ID" */

        ngx_str_null(&ticket);

        last = held->operation.data + held->operation.len;
        p = ngx_strlchr(held->operation.data, last, '.');

        if (p) {
            ticket.data = p + 1;
            ticket.len = last - p - 1;
        }

        rc = lines_audit_number(&audit.caller, audit_held, held,
                                .tenant = held->tenant,
                                .operation = held->operation,
                                .ticket = ticket, .number = held->number);

        if (rc != NGX_AGAIN) {
            return NGX_ERROR;
        }
    }

    return rc;
}


/* whose is gone: the inventory is to look itself, which gives it back */

static ngx_int_t
audit_held(void *data, lines_audit_number_reply_t *reply)
{
    audit_held_t *held = data;

    ngx_str_t   here, there;
    ngx_uint_t  gone;

    if (reply->is == LINES_AUDIT_NUMBER_AGREES
        || reply->is == LINES_AUDIT_NUMBER_UNFINISHED)
    {
        return NGX_OK;
    }

    gone = (reply->is == LINES_AUDIT_NUMBER_GONE);
    there = reply->has;

    if (gone) {
        ngx_str_set(&there, "nobody holds it");
    }

    if (lines_redis_format(audit.pool, &here, "assigned to %V",
                           &held->operation)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (audit.again && gone) {
        (void) lines_forget_inv_watch(&audit.caller, .tenant = held->tenant,
                                      .operation = held->operation,
                                      .delay = 0);
    }

    return audit_found(LINES_AUDIT_number, gone, &held->tenant, &held->number,
                       &here, &there);
}


static ngx_int_t
audit_checked(void)
{
    if (audit.first.nelts && !audit.again) {
        audit.again = 1;
        return audit_pause(audit_ask_entries);
    }

    return NGX_DONE;
}


static ngx_int_t
audit_ended(void *data, lines_audit_end_reply_t *reply)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines audit: a pass has ended");

    audit.phase = NULL;

    return NGX_DONE;
}


/* the first of text's words, which it loses */

static ngx_str_t
audit_word(ngx_str_t *text)
{
    u_char     *p, *last;
    ngx_str_t   word;

    last = text->data + text->len;
    p = text->len ? ngx_strlchr(text->data, last, ' ') : NULL;

    word.data = text->data;
    word.len = (p ? p : last) - text->data;

    text->data = p ? p + 1 : last;
    text->len = last - text->data;

    return word;
}
