
/*
 * A pass is a row of steps: a page of billing's subscriptions, some tenants, a
 * page of numbers.  Each tick of the timer takes the lease anew, writes down
 * where the pass is, and makes one step, with at most one call to billing:
 * that is its rate.  What a step finds is a doubt at first: the step is made
 * once more, and only what is found twice counts (audit_found.lua).
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
#include "operation/database.h"
#include "operation/event.h"
#include "operation/operation.h"
#include "store/calls.h"


/* ten are some 50k, of the 64k that an answer may have */
#define LINES_AUDIT_SUBSCRIPTIONS  10

#define LINES_AUDIT_PAGE    100                    /* lines, numbers, … */
#define LINES_AUDIT_FOUND   200                    /* that are listed */
#define LINES_AUDIT_READS   64                     /* of a step */
#define LINES_AUDIT_KEEP    (7 * 86400000LL)


typedef ngx_int_t (*audit_step_pt)(void);


/* what a tenant has pages of */

enum {
    AUDIT_LINES = 0,
    AUDIT_WINDOW,
    AUDIT_TICKETS,
    AUDIT_LISTS
};


static struct {
    lines_main_conf_t     *lmcf;
    lines_op_conf_t       *conf;
    ngx_event_t            timer;
    lines_caller_t         caller;
    ngx_str_t              me;
    u_char                 name[16];
    ngx_uint_t             limit;        /* of billing's page */

    /* where the next step begins; its phase is empty: as it is */
    ngx_str_t              phase;
    ngx_str_t              cursor;
    u_char                 place[128];
    int64_t                began;        /* the pass: Redis' clock */

    /* of a step */
    ngx_pool_t            *pool;         /* NULL: at rest */
    lines_carrier_t       *carrier;
    audit_step_pt          next;
    ngx_uint_t             again;        /* flag: it is made for the second
                                            time, */
    ngx_uint_t             doubt;        /* flag: or has to be */
    lines_look_t           look;
    lines_audit_found_t    found;        /* of it */
    lines_list_t           members;      /* tenants */
    ngx_uint_t             n;            /* and how many are done with */
    ngx_array_t           *subscriptions;
    ngx_array_t            reads;        /* lines whose subscriptions are to be
                                            read: lines_audit_found_t */

    /* of a tenant */
    ngx_str_t              tenant;
    ngx_str_t              version;
    lines_list_t           places;
    ngx_uint_t             list;
    int64_t                from;
} audit;


static void audit_tick(ngx_event_t *ev);
static ngx_int_t audit_turned(void *data, lines_audit_turn_reply_t *reply);
static void audit_resume(lines_caller_t *caller, ngx_int_t rc);
static void audit_run(ngx_int_t rc);
static void audit_stop(void);
static void audit_put_down(void);
static ngx_int_t audit_place(const char *phase, ngx_str_t *cursor);
static ngx_int_t audit_bill(lines_billing_ask_t *ask, lines_billing_pt done);
static ngx_int_t audit_findings(ngx_str_t *tenant, ngx_str_t *operation,
    lines_list_t *findings);
static ngx_int_t audit_told(void *data, lines_audit_found_reply_t *reply);
static void audit_log(lines_audit_found_t *found);

static ngx_int_t audit_subscriptions(void);
static void audit_listed(void *data, lines_billing_result_t *result);
static ngx_int_t audit_list(void);
static ngx_int_t audit_look(lines_stripe_subscription_t *subscription);
static ngx_int_t audit_judged(lines_look_t *look);
static ngx_uint_t audit_disagrees(lines_look_t *look);
static ngx_int_t audit_free(void *data, lines_audit_flight_reply_t *reply);
static ngx_int_t audit_act(void *data, lines_audit_found_reply_t *reply);
static ngx_int_t audit_acted(lines_look_t *look);

static ngx_int_t audit_tenants(void);
static ngx_int_t audit_scanned(void *data, lines_tenants_scan_reply_t *reply);
static ngx_int_t audit_tenant(void);
static ngx_int_t audit_counted(void *data, lines_audit_tenant_reply_t *reply);
static ngx_int_t audit_page(void);
static ngx_int_t audit_paged(void *data, lines_audit_page_reply_t *reply);
static ngx_int_t audit_lines(void *data, lines_audit_lines_reply_t *reply);
static ngx_int_t audit_held(void *data, lines_audit_held_reply_t *reply);
static ngx_int_t audit_read(void);
static ngx_int_t audit_get(void);
static void audit_got(void *data, lines_billing_result_t *result);

static ngx_int_t audit_numbers(void);
static ngx_int_t audit_assigned(void *data,
    lines_audit_numbers_reply_t *reply);
static ngx_int_t audit_number(void *data, lines_audit_number_reply_t *reply);
static ngx_int_t audit_end(void);
static ngx_int_t audit_step(void);


static const char  *audit_lists[] = { "lines", "window", "tickets" };

static const struct {
    const char     *phase;
    audit_step_pt   step;
} audit_phases[] = {
    { "subscriptions", audit_subscriptions },
    { "tenants", audit_tenants },
    { "numbers", audit_numbers },
    { "end", audit_end }
};


#define audit_name(kind)  ngx_string(#kind),

ngx_str_t  lines_audit_kinds[LINES_AUDITS] = {
    LINES_EACH_AUDIT(audit_name)
};


ngx_int_t
lines_audit_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    /* one worker of a node is enough */

    if (lmcf->billing == NULL || lmcf->operation->audit == 0
        || ngx_worker != 0)
    {
        return NGX_OK;
    }

    ngx_memzero(&audit, sizeof(audit));

    audit.lmcf = lmcf;
    audit.conf = lmcf->operation;
    audit.limit = LINES_AUDIT_SUBSCRIPTIONS;

    audit.me.data = audit.name;
    audit.me.len = ngx_sprintf(audit.name, "%08xD%08xD",
                               (uint32_t) ngx_random(),
                               (uint32_t) (ngx_random() ^ ngx_pid))
                   - audit.name;

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


/* a step, or the next part of one: only for who holds the lease */

static void
audit_tick(ngx_event_t *ev)
{
    ngx_str_t  phase, cursor;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        audit_stop();
        return;
    }

    ngx_str_null(&phase);
    ngx_str_null(&cursor);

    if (audit.pool == NULL) {
        phase = audit.phase;
        cursor = audit.cursor;

        audit.next = NULL;
        audit.doubt = 0;
        audit.pool = ngx_create_pool(4096, ngx_cycle->log);

        if (audit.pool == NULL
            || ngx_array_init(&audit.reads, audit.pool, 4,
                              sizeof(lines_audit_found_t))
               != NGX_OK)
        {
            audit_run(NGX_ERROR);
            return;
        }

        lines_caller_init(&audit.caller, audit.lmcf->redis, audit.pool,
                          ngx_cycle->log);
        audit.caller.resume = audit_resume;
    }

    audit_run(lines_audit_turn(&audit.caller, audit_turned, NULL,
                               .me = audit.me, .lease = audit.conf->lease,
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

    if (reply->is != LINES_AUDIT_TURN_MINE) {
        return NGX_DECLINED;
    }

    if (audit.next) {
        return NGX_OK;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines audit: %V \"%V\" again:%ui", &reply->phase,
                   &reply->cursor, audit.again);

    ngx_str_null(&audit.phase);

    audit.began = reply->began;
    audit.cursor = reply->cursor;

    for (i = 0; i < sizeof(audit_phases) / sizeof(audit_phases[0]); i++) {
        if (lines_is(&reply->phase, audit_phases[i].phase)) {
            audit.next = audit_phases[i].step;
            return NGX_OK;
        }
    }

    /* of another release: from the beginning */

    ngx_str_null(&audit.cursor);

    return audit_place(audit_phases[0].phase, &audit.cursor);
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

    audit.again = (rc == NGX_DONE && audit.doubt && !audit.again);

    if (rc != NGX_DONE || audit.again) {
        ngx_str_null(&audit.phase);
        ngx_str_null(&audit.cursor);
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


/* where the next step begins; NGX_DONE */

static ngx_int_t
audit_place(const char *phase, ngx_str_t *cursor)
{
    if (cursor->len > sizeof(audit.place)) {
        return NGX_ERROR;
    }

    audit.phase = lines_op_text(phase);

    if (cursor->len) {
        ngx_memmove(audit.place, cursor->data, cursor->len);
    }

    audit.cursor.data = audit.place;
    audit.cursor.len = cursor->len;

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


#define audit_args(found, once)                                               \
    .kind = lines_audit_kinds[(found)->kind],                                 \
    .outcome = lines_op_text((found)->repaired ? "repaired" : "shown"),       \
    .tenant = (found)->tenant, .id = (found)->id,                             \
    .subscription = (found)->subscription, .here = (found)->here,             \
    .there = (found)->there, .most = LINES_AUDIT_FOUND, .sure = once

void
lines_audit_report(lines_caller_t *caller, lines_audit_found_t *found)
{
    audit_log(found);

    (void) lines_forget_audit_found(caller, audit_args(found, 1));
}


static void
audit_log(lines_audit_found_t *found)
{
    ngx_uint_t  level;

    level = found->repaired ? NGX_LOG_WARN : NGX_LOG_ERR;

    lines_metrics_inc(audit[found->kind]);

    ngx_log_error(level, ngx_cycle->log, 0,
                  "lines audit: %V, %s: \"%V\" of \"%V\", subscription \"%V\": "
                  "\"%V\", but \"%V\"", &lines_audit_kinds[found->kind],
                  found->repaired ? "repaired" : "shown", &found->id,
                  &found->tenant, &found->subscription, &found->here,
                  &found->there);
}


/* of a script: kind, outcome, id, here, there, …; NGX_OK: there are none */

static ngx_int_t
audit_findings(ngx_str_t *tenant, ngx_str_t *operation,
    lines_list_t *findings)
{
    ngx_str_t            *f;
    ngx_int_t             rc;
    ngx_uint_t            i, kind;
    lines_audit_found_t  *found;

    rc = NGX_OK;

    for (i = 0; i + 4 < findings->n; i += 5) {
        f = &findings->elts[i];

        for (kind = 0; kind < LINES_AUDITS - 1; kind++) {
            if (lines_op_same(&lines_audit_kinds[kind], &f[0])) {
                break;
            }
        }

        found = ngx_palloc(audit.pool, sizeof(lines_audit_found_t));
        if (found == NULL) {
            return NGX_ERROR;
        }

        *found = (lines_audit_found_t) {
            .kind = kind, .repaired = lines_is(&f[1], "repaired"),
            .tenant = *tenant, .id = f[2], .here = f[3], .there = f[4]
        };

        if (found->repaired) {
            found->operation = *operation;
        }

        rc = lines_audit_found(&audit.caller, audit_told, found,
                               audit_args(found, 0));
        if (rc != NGX_AGAIN) {
            return NGX_ERROR;
        }
    }

    return rc;
}


static ngx_int_t
audit_told(void *data, lines_audit_found_reply_t *reply)
{
    lines_audit_found_t *found = data;

    if (reply->is == LINES_AUDIT_FOUND_DOUBT) {
        audit.doubt = 1;
        return NGX_OK;
    }

    audit_log(found);

    /* the inventory looks itself, and takes the number back */

    if (found->operation.len) {
        (void) lines_forget_inv_watch(&audit.caller, .tenant = found->tenant,
                                      .operation = found->operation,
                                      .delay = 0);
    }

    return NGX_OK;
}


/* Billing's side: a page of all subscriptions that have not ended. */

static ngx_int_t
audit_subscriptions(void)
{
    lines_billing_ask_t  ask = {
        .kind = LINES_BILLING_ALL,
        .after = audit.cursor,
        .limit = audit.limit
    };

    return audit_bill(&ask, audit_listed);
}


static void
audit_listed(void *data, lines_billing_result_t *result)
{
    ngx_int_t                     rc;
    ngx_str_t                     none = ngx_null_string;
    lines_stripe_subscription_t  *s;

    if (result->outcome == LINES_STRIPE_OK) {
        audit.subscriptions = result->subscriptions;
        audit.n = 0;
        audit.next = audit_list;

        s = result->subscriptions->elts;

        rc = result->more
             ? audit_place(audit_phases[0].phase,
                           &s[result->subscriptions->nelts - 1].id)
             : audit_place("tenants", &none);

        /* the same page, when it is read again */

        if (!audit.again) {
            audit.limit = ngx_min(audit.limit * 2, LINES_AUDIT_SUBSCRIPTIONS);
        }

        audit_run(rc == NGX_DONE ? NGX_OK : rc);
        return;
    }

    /* one that is too large by itself: what follows it is not seen */

    if (audit.limit == 1 && result->status == NGX_HTTP_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "lines audit: the subscription after \"%V\" is larger "
                      "than subrequest_output_buffer_size: those that are "
                      "older are not listed", &audit.cursor);

        rc = audit_place("tenants", &none);
        audit_run(rc == NGX_DONE ? NGX_OK : rc);
        return;
    }

    /* the page is too large; or where it begins is not known any more */

    audit.limit = ngx_max(audit.limit / 2, 1);

    audit_run(result->outcome == LINES_STRIPE_REFUSED && audit.cursor.len
              ? audit_place(audit_phases[0].phase, &none)
              : NGX_ERROR);
}


static ngx_int_t
audit_list(void)
{
    lines_sub_e                   sub;
    lines_stripe_subscription_t  *s;

    while (audit.n < audit.subscriptions->nelts) {
        s = (lines_stripe_subscription_t *) audit.subscriptions->elts
            + audit.n++;

        sub = lines_op_sub(&s->status);

        if (sub == LINES_SUB_LIVE || sub == LINES_SUB_OVERDUE) {
            return audit_look(s);
        }
    }

    return NGX_DONE;
}


static ngx_int_t
audit_look(lines_stripe_subscription_t *subscription)
{
    ngx_memzero(&audit.look, sizeof(lines_look_t));

    audit.look.lmcf = audit.lmcf;
    audit.look.caller = &audit.caller;
    audit.look.pool = audit.pool;
    audit.look.log = ngx_cycle->log;
    audit.look.judge = 1;
    audit.look.end = audit_judged;

    lines_look_at(&audit.look, subscription);

    return lines_look_ours(&audit.look) ? lines_look(&audit.look) : NGX_OK;
}


/* what somebody sees to is passed over */

static ngx_int_t
audit_judged(lines_look_t *look)
{
    ngx_str_t   ids[4];
    ngx_uint_t  i;

    static const struct {
        const char  *prefix;
        ngx_uint_t   line;     /* flag: of the line, else the subscription */
    } derived[] = {
        { "orphan:", 0 },
        { "lapse:", 0 },
        { "refund:", 1 },
        { "end:", 1 }
    };

    if (look->follows == LINES_FOLLOWS_NEWS || look->tenant.len == 0) {
        return NGX_OK;
    }

    if (!audit_disagrees(look)) {

        return look->line.subscription.len
               ? lines_audit_mark(&audit.caller, NULL, NULL,
                                  .tenant = look->tenant, .line = look->id)
               : NGX_OK;
    }

    for (i = 0; i < 4; i++) {
        if (lines_derive_id(audit.pool, derived[i].prefix,
                            derived[i].line ? &look->id : &look->subscription,
                            &ids[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return lines_audit_flight(&audit.caller, audit_free, NULL,
                              .tenant = look->tenant, .ids.elts = ids,
                              .ids.n = 4);
}


/* whether a subscription and its line disagree; audit.found says how */

static ngx_uint_t
audit_disagrees(lines_look_t *look)
{
    ngx_uint_t            unpaid;
    lines_sub_e           sub;
    lines_database_t      database;
    lines_audit_found_t  *found;

    sub = lines_op_sub(&look->status);
    unpaid = (sub == LINES_SUB_OVERDUE);

    found = &audit.found;

    *found = (lines_audit_found_t) {
        .repaired = 1, .tenant = look->tenant, .id = look->id,
        .subscription = look->subscription, .here = look->line.status,
        .there = look->status
    };

    if (look->follows == LINES_FOLLOWS_ORPHAN) {
        found->kind = LINES_AUDIT_orphan;

        /* a database that was emptied knows nothing of what it sold */

        found->repaired = lines_database_state(look->lmcf, &database)
                          == LINES_DATABASE_FINE
                          && look->created * 1000 >= database.born;

        if (look->line.status.len == 0) {
            ngx_str_set(&found->here, "no such line");

        } else if (!lines_op_same(&look->line.subscription,
                                  &look->subscription))
        {
            ngx_str_set(&found->here, "its line has another one");
        }

        return 1;
    }

    if (look->follows != LINES_FOLLOWS_LAPSE || look->line.reading.len) {
        return 0;
    }

    if (sub == LINES_SUB_LIVE) {
        found->kind = LINES_AUDIT_suspended;
        ngx_str_set(&found->here, "suspended");

        return 1;
    }

    found->kind = LINES_AUDIT_unpaid;

    return sub == LINES_SUB_ENDED
           || (unpaid && look->line.suspended.len == 0);
}


static ngx_int_t
audit_free(void *data, lines_audit_flight_reply_t *reply)
{
    return reply->unfinished
           ? NGX_OK
           : lines_audit_found(&audit.caller, audit_act, &audit.found,
                               audit_args(&audit.found, 0));
}


/* what is sure has its operation begun, as an event would */

static ngx_int_t
audit_act(void *data, lines_audit_found_reply_t *reply)
{
    (void) audit_told(data, reply);

    if (reply->is == LINES_AUDIT_FOUND_DOUBT || !audit.found.repaired) {
        return NGX_OK;
    }

    audit.look.judge = 0;
    audit.look.end = audit_acted;

    return lines_look(&audit.look);
}


static ngx_int_t
audit_acted(lines_look_t *look)
{
    return NGX_OK;
}


/* Redis' side: tenants, each by itself. */

static ngx_int_t
audit_tenants(void)
{
    if (audit.cursor.len == 0) {
        ngx_str_set(&audit.cursor, "0");
    }

    return lines_tenants_scan(&audit.caller, audit_scanned, NULL,
                              .cursor = audit.cursor);
}


static ngx_int_t
audit_scanned(void *data, lines_tenants_scan_reply_t *reply)
{
    ngx_str_t  none = ngx_null_string;

    audit.members = reply->members;
    audit.n = 0;
    audit.next = audit_tenant;

    return (lines_is(&reply->cursor, "0")
            ? audit_place("numbers", &none)
            : audit_place("tenants", &reply->cursor))
           == NGX_DONE
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
audit_tenant(void)
{
    if (audit.n == audit.members.n) {
        audit.n = 0;
        audit.next = audit_read;

        return NGX_OK;
    }

    audit.tenant = audit.members.elts[audit.n++];
    ngx_str_null(&audit.version);

    return audit.tenant.len
           ? lines_audit_tenant(&audit.caller, audit_counted, NULL,
                                .tenant = audit.tenant)
           : NGX_OK;
}


/* before its lines are read, and after */

static ngx_int_t
audit_counted(void *data, lines_audit_tenant_reply_t *reply)
{
    if (reply->version.len == 0 || audit.version.len) {
        audit.next = audit_tenant;

        return audit_findings(&audit.tenant, NULL, &reply->findings);
    }

    audit.version = reply->version;
    audit.places.n = 0;
    audit.list = AUDIT_LINES;
    audit.from = 0;
    audit.next = audit_page;

    return NGX_OK;
}


static ngx_int_t
audit_page(void)
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

    case AUDIT_TICKETS:
        rc = lines_key_tickets(audit.pool, &key, &audit.tenant);
        break;

    default:
        return lines_audit_tenant(&audit.caller, audit_counted, NULL,
                                  .tenant = audit.tenant,
                                  .version = audit.version,
                                  .places = audit.places);
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
    ngx_uint_t  list;

    list = audit.list;
    audit.from += reply->ids.n;

    /* a workspace has neither windows nor tickets */

    if (reply->ids.n < LINES_AUDIT_PAGE) {
        audit.from = 0;
        audit.list = audit.tenant.data[0] == 'a' ? list + 1 : AUDIT_LISTS;
    }

    return reply->ids.n
           ? lines_audit_lines(&audit.caller, audit_lines, NULL,
                               .tenant = audit.tenant, .ids = reply->ids,
                               .list = lines_op_text(audit_lists[list]),
                               .since = audit.began, .sums = audit.places)
           : NGX_OK;
}


static ngx_int_t
audit_lines(void *data, lines_audit_lines_reply_t *reply)
{
    ngx_uint_t            i;
    lines_audit_found_t  *read;

    audit.places = reply->places;

    for (i = 0; i + 1 < reply->unlisted.n; i += 2) {

        /* the next pass sees what is left */

        if (audit.reads.nelts == LINES_AUDIT_READS) {
            break;
        }

        read = ngx_array_push(&audit.reads);
        if (read == NULL) {
            return NGX_ERROR;
        }

        *read = (lines_audit_found_t) {
            .kind = LINES_AUDIT_shared, .tenant = audit.tenant,
            .id = reply->unlisted.elts[i],
            .subscription = reply->unlisted.elts[i + 1]
        };
    }

    if (audit_findings(&audit.tenant, NULL, &reply->findings) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return reply->numbers.n
           ? lines_audit_held(&audit.caller, audit_held, NULL,
                              .tenant = audit.tenant,
                              .numbers = reply->numbers)
           : NGX_OK;
}


static ngx_int_t
audit_held(void *data, lines_audit_held_reply_t *reply)
{
    return audit_findings(&audit.tenant, NULL, &reply->findings);
}


/* lines that billing did not list: what they are paid by, one a tick */

static ngx_int_t
audit_read(void)
{
    audit_put_down();

    if (audit.n == audit.reads.nelts) {
        return NGX_DONE;
    }

    audit.next = audit_get;
    ngx_add_timer(&audit.timer, audit.conf->audit);

    return NGX_AGAIN;
}


static ngx_int_t
audit_get(void)
{
    lines_audit_found_t  *read = audit.reads.elts;
    lines_billing_ask_t   ask = {
        .kind = LINES_BILLING_SUBSCRIPTION,
        .id = read[audit.n].subscription
    };

    return audit_bill(&ask, audit_got);
}


static void
audit_got(void *data, lines_billing_result_t *result)
{
    ngx_str_t                    *id;
    lines_audit_found_t          *read;
    lines_stripe_metadata_t      *of;
    lines_stripe_subscription_t  *s;

    read = (lines_audit_found_t *) audit.reads.elts + audit.n++;

    audit.next = audit_read;

    s = result->subscription;

    /* what was there once is never gone: another account's key, perhaps */

    if (result->outcome == LINES_STRIPE_REFUSED && result->status == 404) {
        read->kind = LINES_AUDIT_unpaid;
        ngx_str_set(&read->here, "active");
        ngx_str_set(&read->there, "no such subscription");

        audit_run(lines_audit_found(&audit.caller, audit_told, read,
                                    audit_args(read, 0)));
        return;
    }

    if (result->outcome != LINES_STRIPE_OK) {

        /* too large an answer would be so each time */

        audit_run(result->status == NGX_HTTP_OK ? NGX_OK : NGX_ERROR);
        return;
    }

    of = &s->metadata;
    id = of->line.len ? &of->line : &of->operation;

    if (lines_op_same(&of->tenant, &read->tenant)
        && lines_op_same(id, &read->id))
    {
        audit_run(audit_look(s));
        return;
    }

    ngx_str_set(&read->here, "its line's");
    read->there = *id;

    audit_run(lines_audit_found(&audit.caller, audit_told, read,
                                audit_args(read, 0)));
}


/* The inventory: whoever it says holds a number knows it. */

static ngx_int_t
audit_numbers(void)
{
    return lines_audit_numbers(&audit.caller, audit_assigned, NULL,
                               .from = audit.cursor,
                               .most = LINES_AUDIT_PAGE);
}


static ngx_int_t
audit_assigned(void *data, lines_audit_numbers_reply_t *reply)
{
    ngx_int_t   rc;
    ngx_str_t  *held;
    ngx_uint_t  i;

    rc = audit_place(reply->cursor.len ? "numbers" : "end", &reply->cursor);

    audit.next = audit_step;

    for (i = 0; rc != NGX_ERROR && i + 3 < reply->held.n; i += 4) {
        held = &reply->held.elts[i];

        rc = lines_audit_number(&audit.caller, audit_number, held,
                                .number = held[0], .operation = held[1],
                                .tenant = held[2], .ticket = held[3]);
    }

    return rc;
}


static ngx_int_t
audit_number(void *data, lines_audit_number_reply_t *reply)
{
    ngx_str_t *held = data;

    return audit_findings(&held[2], &held[1], &reply->findings);
}


static ngx_int_t
audit_step(void)
{
    return NGX_DONE;
}


static ngx_int_t
audit_end(void)
{
    audit.next = audit_step;

    return lines_audit_end(&audit.caller, NULL, NULL,
                           .keep = LINES_AUDIT_KEEP);
}
