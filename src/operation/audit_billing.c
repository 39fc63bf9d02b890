
/*
 * The auditor's look at billing: all subscriptions that live, those that ended
 * soon after they began, and what went back since the last pass, in pages; and
 * one by one what these do not tell.
 */

#include "billing/money.h"
#include "http/text.h"
#include "operation/audit_billing.h"
#include "operation/database.h"
#include "operation/look.h"
#include "operation/operation.h"
#include "operation/subscription.h"


#define LINES_AUDIT_DAY    86400000
#define LINES_AUDIT_PLANS  5                       /* of a page: as FIND's */
#define LINES_AUDIT_ENDED  1                       /* the phase */


static void audit_listed(void *data, lines_billing_result_t *result);
static ngx_int_t audit_subscriptions(void);
static ngx_int_t audit_entries(void);
static ngx_int_t audit_subscription(lines_stripe_subscription_t *s);
static ngx_int_t audit_plans(void *data, lines_tenants_of_reply_t *reply);
static ngx_int_t audit_plan(void *data, lines_tenant_base_reply_t *reply);
static void audit_look(ngx_int_t (*judged)(lines_look_t *look));
static ngx_int_t audit_judged(lines_look_t *look);
static ngx_int_t audit_sold(void *data, lines_tenants_add_reply_t *reply);
static ngx_int_t audit_push_ended(void);
static ngx_uint_t audit_disagrees(lines_look_t *look);
static ngx_int_t audit_flight(ngx_uint_t n);
static ngx_int_t audit_free(void *data, lines_audit_flight_reply_t *reply);
static ngx_int_t audit_act(void);
static ngx_int_t audit_acted(lines_look_t *look);

static ngx_int_t audit_get(void);
static void audit_got(void *data, lines_billing_result_t *result);
static ngx_int_t audit_line(lines_stripe_subscription_t *s);
static ngx_int_t audit_invoice(void);
static void audit_paid(void *data, lines_billing_result_t *result);
static void audit_invoiced(void *data, lines_billing_result_t *result);
static ngx_int_t audit_went_back(lines_look_t *look);
static ngx_int_t audit_since(void);
static ngx_int_t audit_orphan(void);
static ngx_int_t audit_left(void *data, lines_deleted_get_reply_t *reply);
static ngx_int_t audit_owed(void *data, lines_owed_get_reply_t *reply);
static ngx_int_t audit_unsettled(void);
static void audit_came_in(void *data, lines_billing_result_t *result);
static ngx_int_t audit_count(void);
static ngx_int_t audit_settled(void *data, lines_settled_get_reply_t *reply);
static ngx_int_t audit_count_next(void);
static void audit_counted(void *data, lines_billing_result_t *result);
static ngx_int_t audit_sum(void);
static ngx_int_t audit_credited(lines_look_t *look);
static ngx_int_t audit_customer(void *data,
    lines_tenant_customer_reply_t *reply);
static ngx_int_t audit_prices(void);
static void audit_priced(void *data, lines_billing_result_t *result);
static ngx_int_t audit_base(void *data, lines_tenant_base_reply_t *reply);
static ngx_int_t audit_act_plan(void);


static lines_audit_t *const  audit = &lines_audit;

static struct {
    lines_look_t             look;
    lines_audit_found_t      found;      /* of it */

    /* of a page */
    ngx_array_t             *list;       /* subscriptions, or what went back */
    ngx_str_t                state;      /* as the subscription at hand says */
    ngx_str_t                plan;       /* of a workspace's base plan, */
    ngx_str_t                named;      /* and whose it says that it is */

    /* of a read */
    lines_audit_read_t      *read;
    lines_stripe_invoice_t   invoice;
    lines_money_t            money;
    int64_t                  since;      /* s: what was paid before is kept */
    ngx_uint_t               unlooked;   /* flag: asked by its operation, too */
    ngx_str_t                customer;
    lines_plans_t            plans;
    ngx_uint_t               unlisted;   /* flag: they are refused */
} side;


void
lines_audit_forget(void)
{
    ngx_memzero(&side, sizeof(side));
}


/* a page of billing's, of the phase */

ngx_int_t
lines_audit_list(void)
{
    static const lines_billing_kind_e  lists[] = {
        LINES_BILLING_FIND, LINES_BILLING_FIND, LINES_BILLING_REFUNDS,
        LINES_BILLING_CREDITS, LINES_BILLING_DISPUTES
    };

    lines_billing_ask_t  ask = {
        .kind = lists[audit->at],
        .all = 1,
        .after = audit->cursor,
        .limit = audit->limit,
        .since = audit->at ? audit->since : 0
    };

    /*
     * Of a subscription that ended, and was forgotten with the operation that
     * ended it, nothing is known; nor is it listed again once it has.  What is
     * sold today may be paid in a day.
     */

    if (audit->at == LINES_AUDIT_ENDED) {
        ask.ended = 1;
        ask.since = ngx_max(ask.since - LINES_AUDIT_DAY / 1000, 0);
    }

    return lines_audit_bill(&ask, audit_listed);
}


static void
audit_listed(void *data, lines_billing_result_t *result)
{
    ngx_int_t  rc;
    ngx_str_t  none = ngx_null_string;

    if (result->outcome == LINES_STRIPE_OK) {
        audit->barred = 0;
        side.list = result->list ? result->list : result->subscriptions;

        audit->n = 0;
        audit->next = result->list ? audit_entries : audit_subscriptions;

        rc = result->after.len ? lines_audit_at(&result->after)
                               : lines_audit_onwards();

        lines_audit_run(rc == NGX_DONE ? NGX_OK : rc);
        return;
    }

    /* that the key may not read; the first: nor anything else, perhaps */

    if (result->outcome == LINES_STRIPE_ALERT) {
        audit->barred = audit->barred || audit->at == 0;
        audit->away = 0;
        lines_audit_run(NGX_ERROR);
        return;
    }

    /* one that is too large by itself: what follows it will not be seen */

    if (audit->limit == 1 && result->outcome == LINES_STRIPE_UNKNOWN
        && result->status < 500)
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "lines audit: what follows \"%V\" of the %s is larger "
                      "than subrequest_output_buffer_size: those that are "
                      "older are not listed", &audit->cursor,
                      audit->phases[audit->at].name);

        lines_audit_run(lines_audit_failed(result));
        return;
    }

    /* the page is too large; or where it begins is not known any more */

    if (audit->limit > 1 && !lines_stripe_refused(result->outcome)) {
        audit->limit /= 2;
        audit->away = 1;
        lines_audit_run(NGX_ERROR);
        return;
    }

    /* not for ever: what is refused then, too, is a page that cannot be read */

    if (lines_stripe_missing(&result->error, "starting_after")
        && !audit->anew)
    {
        audit->anew = 1;
        lines_audit_run(lines_audit_at(&none));
        return;
    }

    lines_audit_run(lines_audit_failed(result));
}


static ngx_int_t
audit_subscriptions(void)
{
    lines_stripe_subscription_t  *s;

    while (audit->n < side.list->nelts) {
        s = (lines_stripe_subscription_t *) side.list->elts + audit->n++;

        switch (lines_op_sub(&s->status)) {

        case LINES_SUB_LIVE:
            ngx_str_set(&side.state, "active");
            break;

        case LINES_SUB_OVERDUE:
            ngx_str_set(&side.state, "past_due");
            break;

        case LINES_SUB_ENDED:

            /* of those that live Stripe lists what expired, too */

            if (audit->at != LINES_AUDIT_ENDED) {
                continue;
            }

            break;

        default:
            continue;
        }

        if (lines_audit_item(&s->id)) {
            return audit_subscription(s);
        }
    }

    audit->n = 0;
    audit->next = lines_audit_read;

    return NGX_OK;
}


static ngx_int_t
audit_subscription(lines_stripe_subscription_t *s)
{
    audit_look(audit_judged);
    lines_look_at(&side.look, s);

    if (lines_look_ours(&side.look)) {
        return lines_look(&side.look);
    }

    if (audit->at == LINES_AUDIT_ENDED
        || !lines_billing_base(audit->lmcf->billing, s, &side.plan))
    {
        return NGX_OK;
    }

    side.named = s->metadata.tenant;

    return lines_tenants_of(&audit->caller, audit_plans, NULL,
                            .customer = s->customer);
}


static ngx_int_t
audit_plans(void *data, lines_tenants_of_reply_t *reply)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    rc = NGX_OK;

    for (i = 0; i < reply->tenants.n; i++) {
        if (reply->tenants.elts[i].len < 3
            || reply->tenants.elts[i].data[0] != 'w')
        {
            continue;
        }

        rc = lines_tenant_base(&audit->caller, audit_plan,
                               &reply->tenants.elts[i],
                               .tenant = reply->tenants.elts[i]);
        if (rc != NGX_AGAIN) {
            return NGX_ERROR;
        }
    }

    return rc;
}


/* which of a customer's plans it is to be is seen by reading all of them */

static ngx_int_t
audit_plan(void *data, lines_tenant_base_reply_t *reply)
{
    ngx_str_t *tenant = data;

    /* another's: what this one has is read with those that were not listed */

    if (lines_plan_others(tenant, &side.named)) {
        return NGX_OK;
    }

    if (lines_same(&reply->subscription, &side.state)
        && lines_same(&reply->plan, &side.plan))
    {
        return lines_audit_mark(&audit->caller, NULL, NULL, .tenant = *tenant,
                                .ahead = 0, .plan_by = reply->plan_by);
    }

    lines_audit_push_plan(tenant);

    return NGX_OK;
}


void
lines_audit_push_plan(ngx_str_t *tenant)
{
    ngx_uint_t           i;
    lines_audit_read_t  *read = audit->reads.elts;

    for (i = 0; i < audit->reads.nelts; i++) {
        if (read[i].of == LINES_AUDIT_OF_PLAN
            && lines_same(&read[i].tenant, tenant))
        {
            return;
        }
    }

    read = lines_audit_push();

    if (read) {
        read->of = LINES_AUDIT_OF_PLAN;
        read->tenant = *tenant;
    }
}


/* what was given back, and stands; a refund that failed; what a bank took */

static ngx_int_t
audit_entries(void)
{
    ngx_uint_t             i;
    lines_audit_read_t    *read;
    lines_stripe_entry_t  *entry = side.list->elts;

    for (i = 0; i < side.list->nelts; i++) {

        if (lines_is(&entry[i].status, "void")
            || (entry[i].kind == LINES_STRIPE_DISPUTE
                && !lines_money_taken(&entry[i].status))
            || (entry[i].payment.len == 0 && entry[i].invoice.len == 0))
        {
            continue;
        }

        read = lines_audit_push();
        if (read == NULL) {
            return NGX_ERROR;
        }

        read->of = LINES_AUDIT_OF_MONEY;
        read->id = lines_audit_keep(&entry[i].payment);
        read->invoice = lines_audit_keep(&entry[i].invoice);
        read->disputed = (entry[i].kind == LINES_STRIPE_DISPUTE);
        read->failed = entry[i].kind == LINES_STRIPE_REFUND
                       && (lines_is(&entry[i].status, "failed")
                           || lines_is(&entry[i].status, "canceled"));
    }

    audit->next = lines_audit_read;

    return NGX_OK;
}


static void
audit_look(ngx_int_t (*judged)(lines_look_t *look))
{
    ngx_memzero(&side.look, sizeof(lines_look_t));

    side.look.lmcf = audit->lmcf;
    side.look.caller = &audit->caller;
    side.look.pool = audit->pool;
    side.look.log = ngx_cycle->log;
    side.look.judge = 1;
    side.look.end = judged;
}


/* what somebody sees to is passed over */

static ngx_int_t
audit_judged(lines_look_t *look)
{
    if (look->follows == LINES_FOLLOWS_NEWS || look->tenant.len == 0) {
        return NGX_OK;
    }

    /* a line that still runs by one that ended is found as a line */

    if (audit->at == LINES_AUDIT_ENDED) {
        return look->follows != LINES_FOLLOWS_ORPHAN ? NGX_OK
               : side.read ? audit_orphan() : audit_push_ended();
    }

    if (audit_disagrees(look)) {
        return audit_flight(3);
    }

    /* another deployment's, that names our line, says nothing of it */

    if (!lines_same(&look->line.subscription, &look->subscription)) {
        return NGX_OK;
    }

    /* one whose money is in doubt is read, and counted */

    if (side.read && side.read->doubt) {
        return side.invoice.id.len ? audit_count() : NGX_OK;
    }

    /* the list of tenants, in another slot, may have lost who has it */

    if (lines_tenants_add(&audit->caller, audit_sold, NULL,
                          .tenant = look->tenant)
        != NGX_AGAIN)
    {
        return NGX_ERROR;
    }

    return lines_audit_mark(&audit->caller, NULL, NULL, .tenant = look->tenant,
                            .line = look->id, .ahead = 0);
}


static ngx_int_t
audit_sold(void *data, lines_tenants_add_reply_t *reply)
{
    lines_audit_found_t  found = {
        .kind = LINES_AUDIT_hint, .repaired = 1, .tenant = side.look.tenant,
        .id = side.look.id, .subscription = side.look.subscription,
        .here = ngx_string("its tenant is not listed"),
        .there = side.look.status
    };

    if (reply->added) {
        lines_audit_report(&audit->caller, &found);
    }

    return NGX_OK;
}


/* what it cost may have gone back */

static ngx_int_t
audit_push_ended(void)
{
    lines_audit_read_t  *read;

    read = lines_audit_push();

    if (read) {
        read->of = LINES_AUDIT_OF_LINE;
        read->tenant = lines_audit_keep(&side.look.tenant);
        read->id = lines_audit_keep(&side.look.id);
        read->subscription = lines_audit_keep(&side.look.subscription);
    }

    return NGX_OK;
}


/* whether a subscription and its line disagree; side.found says how */

static ngx_uint_t
audit_disagrees(lines_look_t *look)
{
    ngx_uint_t            same;
    lines_sub_e           sub;
    lines_database_t      database;
    lines_audit_found_t  *found;

    sub = lines_op_sub(&look->status);
    same = lines_same(&look->line.subscription, &look->subscription);

    found = &side.found;

    *found = (lines_audit_found_t) {
        .repaired = 1, .tenant = look->tenant, .id = look->id,
        .subscription = look->subscription, .here = look->line.status,
        .there = look->status, .act = audit_act
    };

    if (look->follows == LINES_FOLLOWS_ORPHAN) {
        found->kind = LINES_AUDIT_orphan;

        /* a database that was emptied knows nothing of what it sold */

        found->repaired = lines_database_state(look->lmcf, &database)
                          == LINES_DATABASE_FINE
                          && look->created * 1000 >= database.found.born
                          && !look->lost;

        if (look->lost) {
            ngx_str_set(&found->here, "its tenant is lost");

        } else if (look->line.status.len == 0) {
            ngx_str_set(&found->here, "no such line");

        } else if (!same) {
            ngx_str_set(&found->here, "its line has another one");
        }

        return 1;
    }

    /* of one that ended, and was not released, nobody says what is due */

    if (look->follows == LINES_FOLLOWS_RELEASE
        || (same && look->line.ended.len && !look->line.reading.len
            && (sub == LINES_SUB_LIVE || sub == LINES_SUB_OVERDUE)))
    {
        found->kind = LINES_AUDIT_released;
        found->repaired = (look->follows == LINES_FOLLOWS_RELEASE);
        found->here = lines_op_text(look->line.released.len ? "released"
                                                            : "ended");

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
           || (sub == LINES_SUB_OVERDUE && look->line.suspended.len == 0);
}


/* whether one of those operations is under way that see to it */

static ngx_int_t
audit_flight(ngx_uint_t n)
{
    ngx_str_t   ids[3];
    ngx_uint_t  i;

    static const char  *derived[] = { "refund:", "orphan:", "lapse:" };

    for (i = 0; i < n; i++) {
        if (lines_derive_id(audit->pool, derived[i],
                            i < 1 ? &side.look.id : &side.look.subscription,
                            &ids[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (n == 0 && lines_plan_id(audit->pool, &side.found.tenant, ids)
                  != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_audit_flight(&audit->caller, audit_free, NULL,
                              .tenant = side.found.tenant, .ids.elts = ids,
                              .ids.n = ngx_max(n, 1));
}


static ngx_int_t
audit_free(void *data, lines_audit_flight_reply_t *reply)
{
    return reply->unfinished ? NGX_OK : lines_audit_find(&side.found);
}


/* what is sure has its operation begun, as an event would */

static ngx_int_t
audit_act(void)
{
    if (!side.found.repaired) {
        return NGX_OK;
    }

    side.look.judge = 0;
    side.look.end = audit_acted;

    return lines_look(&side.look);
}


static ngx_int_t
audit_acted(lines_look_t *look)
{
    return NGX_OK;
}


/* what pages do not tell, one by one; then the step is done, or goes on */

ngx_int_t
lines_audit_read(void)
{
    lines_audit_read_t  *read;

    lines_audit_put_down();

    side.read = NULL;

    while (audit->n < audit->reads.nelts) {
        read = (lines_audit_read_t *) audit->reads.elts + audit->n++;

        if (lines_audit_item(read->of == LINES_AUDIT_OF_PLAN ? &read->tenant
                             : read->id.len ? &read->id : &read->invoice))
        {
            side.read = read;
            audit_look(audit_judged);

            return lines_audit_later(audit_get);
        }
    }

    audit->n = 0;
    audit->reads.nelts = 0;

    if (audit->rest == NULL) {
        return NGX_DONE;
    }

    audit->next = audit->rest;
    audit->rest = NULL;

    return NGX_OK;
}


static ngx_int_t
audit_get(void)
{
    lines_audit_read_t   *read = side.read;
    lines_billing_ask_t   ask = { .kind = LINES_BILLING_SUBSCRIPTION };

    audit->next = lines_audit_read;

    switch (read->of) {

    case LINES_AUDIT_OF_LINE:
        ask.id = read->subscription;
        return lines_audit_bill(&ask, audit_got);

    case LINES_AUDIT_OF_PLAN:
        return lines_tenant_customer(&audit->caller, audit_customer, NULL,
                                     .tenant = read->tenant);

    default: /* LINES_AUDIT_OF_MONEY */

        if (read->invoice.len) {
            return audit_invoice();
        }

        ask.kind = LINES_BILLING_PAID;
        ask.id = read->id;
        return lines_audit_bill(&ask, audit_paid);
    }
}


static void
audit_got(void *data, lines_billing_result_t *result)
{
    lines_audit_read_t   *read = side.read;
    lines_audit_found_t  *found = &side.found;

    if (result->outcome == LINES_STRIPE_OK) {
        lines_audit_run(audit_line(result->subscription));
        return;
    }

    /* what was there once is never gone: another account's key, perhaps */

    if (result->outcome == LINES_STRIPE_MISSING) {
        *found = (lines_audit_found_t) {
            .kind = LINES_AUDIT_unpaid, .tenant = read->tenant,
            .id = read->id, .subscription = read->subscription
        };

        ngx_str_set(&found->here, "active");
        ngx_str_set(&found->there, "no such subscription");

        lines_audit_run(lines_audit_find(found));
        return;
    }

    lines_audit_run(lines_audit_failed(result));
}


/* as billing tells it, it may be another line's */

static ngx_int_t
audit_line(lines_stripe_subscription_t *s)
{
    ngx_str_t                *id;
    lines_audit_read_t       *read = side.read;
    lines_stripe_metadata_t  *of = &s->metadata;

    id = of->line.len ? &of->line : &of->operation;

    if (lines_same(&of->tenant, &read->tenant)
        && lines_same(id, &read->id))
    {
        side.invoice = s->invoice;
        lines_look_at(&side.look, s);

        return lines_look_ours(&side.look) ? lines_look(&side.look) : NGX_OK;
    }

    side.found = (lines_audit_found_t) {
        .kind = LINES_AUDIT_shared, .tenant = read->tenant, .id = read->id,
        .subscription = read->subscription,
        .here = lines_op_text("its line's"), .there = *id
    };

    return lines_audit_find(&side.found);
}


/* Money that went back: of which payment, of which invoice, of whose. */

static void
audit_paid(void *data, lines_billing_result_t *result)
{
    lines_stripe_entry_t  *entry;

    if (result->outcome != LINES_STRIPE_OK) {
        lines_audit_run(result->outcome == LINES_STRIPE_MISSING
                        ? NGX_OK : lines_audit_failed(result));
        return;
    }

    /* none: it paid for no invoice */

    if (result->list->nelts) {
        entry = result->list->elts;
        side.read->invoice = lines_audit_keep(&entry->invoice);
        lines_audit_run(lines_audit_later(audit_invoice));
        return;
    }

    lines_audit_run(NGX_OK);
}


static ngx_int_t
audit_invoice(void)
{
    lines_billing_ask_t  ask = {
        .kind = LINES_BILLING_INVOICE, .id = side.read->invoice
    };

    audit->next = lines_audit_read;

    return lines_audit_bill(&ask, audit_invoiced);
}


static void
audit_invoiced(void *data, lines_billing_result_t *result)
{
    lines_look_t  *look = &side.look;

    if (result->outcome != LINES_STRIPE_OK) {
        lines_audit_run(result->outcome == LINES_STRIPE_MISSING
                        ? NGX_OK : lines_audit_failed(result));
        return;
    }

    side.invoice = *result->invoice;

    look->metadata = &side.invoice.metadata;
    look->subscription = side.invoice.subscription;
    look->invoice = side.invoice.id;
    look->created = side.invoice.paid_at;
    look->disputed = side.read->disputed;
    look->paid = side.read->failed;
    look->end = audit_went_back;

    lines_audit_run(lines_look_ours(look) ? lines_look(look) : NGX_OK);
}


static ngx_int_t
audit_went_back(lines_look_t *look)
{
    ngx_uint_t  same, status;

    if (look->follows == LINES_FOLLOWS_NEWS || look->tenant.len == 0) {
        return NGX_OK;
    }

    /* what was to go back, and did not; that people gave it is counted */

    if (look->follows == LINES_FOLLOWS_ORPHAN) {
        return audit_orphan();
    }

    if (look->follows == LINES_FOLLOWS_RELEASE) {
        return audit_since();
    }

    status = lines_status(&look->line.status);
    same = lines_same(&look->line.subscription, &look->subscription)
           && look->line.ended.len == 0 && look->line.released.len == 0
           && (status == LINES_ACTIVE || status == LINES_PROVISIONING);

    if (!same || side.read->failed) {
        return NGX_OK;
    }

    if (side.read->disputed) {
        side.found = (lines_audit_found_t) {
            .kind = LINES_AUDIT_disputed, .repaired = 1,
            .tenant = look->tenant, .id = look->id,
            .subscription = look->subscription, .here = look->line.status,
            .there = lines_op_text("a bank took it back"), .act = audit_act
        };

        return audit_flight(3);
    }

    return lines_audit_mark(&audit->caller, NULL, NULL, .tenant = look->tenant,
                            .line = look->id, .ahead = 0,
                            .doubt = lines_op_text("begin"));
}


/* as line_left(): what was paid while the line was there is kept */

static ngx_int_t
audit_since(void)
{
    int64_t     at;
    ngx_str_t  *left;

    left = side.look.line.ended.len ? &side.look.line.ended
                                    : &side.look.line.released;

    at = ngx_min(ngx_atoof(left->data, left->len) / 1000,
                 (int64_t) ngx_time());

    return side.invoice.paid_at <= at ? NGX_OK : audit_count();
}


/* as orphan_begin.lua: of a deleted tenant what was paid since, or was due */

static ngx_int_t
audit_orphan(void)
{
    return lines_deleted_get(&audit->caller, audit_left, NULL,
                             .tenant = side.look.tenant);
}


static ngx_int_t
audit_left(void *data, lines_deleted_get_reply_t *reply)
{
    side.since = reply->at / 1000;
    side.unlooked = 0;

    return lines_owed_get(&audit->caller, audit_owed, NULL,
                          .tenant = side.look.tenant,
                          .subscription = side.look.subscription);
}


static ngx_int_t
audit_owed(void *data, lines_owed_get_reply_t *reply)
{
    ngx_str_t  since, billed;

    /* or by its operation, which was given up without a look */

    if (reply->since.len == 0 && !side.unlooked) {
        side.unlooked = 1;

        return lines_owed_get(&audit->caller, audit_owed, NULL,
                              .tenant = side.look.tenant,
                              .subscription = side.look.id);
    }

    billed = reply->since;
    since = lines_word(&billed);

    if (since.len) {
        side.since = billed.len
                     && !lines_same(&billed, &side.look.subscription)
                     ? 0 : ngx_atoof(since.data, since.len);
    }

    side.since = ngx_min(side.since, (int64_t) ngx_time());

    if (side.look.status.len) {
        ngx_str_null(&side.invoice.id);
        return lines_audit_later(audit_unsettled);
    }

    return side.invoice.paid_at && side.invoice.paid_at < side.since
           ? NGX_OK : audit_count();
}


/* one that has ended: what came in, invoice by invoice */

static ngx_int_t
audit_unsettled(void)
{
    lines_billing_ask_t  ask = {
        .kind = LINES_BILLING_UNSETTLED, .id = side.look.subscription,
        .after = side.invoice.id, .since = side.since,
        .told = side.look.invoice
    };

    audit->next = lines_audit_read;

    return lines_audit_bill(&ask, audit_came_in);
}


static void
audit_came_in(void *data, lines_billing_result_t *result)
{
    if (result->after.len) {
        side.invoice.id = lines_audit_keep(&result->after);
        lines_audit_run(lines_audit_later(audit_unsettled));
        return;
    }

    if (result->outcome != LINES_STRIPE_OK) {
        lines_audit_run(lines_audit_failed(result));
        return;
    }

    if (result->invoice) {
        side.invoice = *result->invoice;
        lines_audit_run(audit_count());
        return;
    }

    lines_audit_run(NGX_OK);
}


/* the money of an invoice: a read in each tick */

static ngx_int_t
audit_count(void)
{
    lines_money_begin(&side.money, &side.invoice);

    return lines_settled_get(&audit->caller, audit_settled, NULL,
                             .tenant = side.look.tenant,
                             .invoice = side.invoice.id,
                             .subscription = side.look.subscription);
}


static ngx_int_t
audit_settled(void *data, lines_settled_get_reply_t *reply)
{
    lines_money_settled(&side.money, &reply->amount);
    lines_money_until(&side.money, side.invoice.paid_at, reply->until,
                      ngx_time());

    return lines_audit_later(audit_count_next);
}


static ngx_int_t
audit_count_next(void)
{
    lines_billing_ask_t  ask = {
        .kind = lines_billing_lists(side.money.asks), .id = side.money.whose
    };

    return lines_audit_bill(&ask, audit_counted);
}


static void
audit_counted(void *data, lines_billing_result_t *result)
{
    if (result->outcome != LINES_STRIPE_OK) {
        lines_audit_run(lines_audit_failed(result));
        return;
    }

    lines_money_listed(&side.money, result->list);

    lines_audit_run(side.money.asks ? lines_audit_later(audit_count_next)
                                    : audit_sum());
}


static ngx_int_t
audit_sum(void)
{
    lines_look_t         *look = &side.look;
    lines_money_e         money;
    lines_audit_found_t  *found = &side.found;

    audit->next = lines_audit_read;

    money = lines_money_close(&side.money);

    if (look->follows == LINES_FOLLOWS_ORPHAN
        || look->follows == LINES_FOLLOWS_RELEASE)
    {
        (void) audit_disagrees(look);

        if (look->status.len == 0) {
            ngx_str_set(&found->there, "a refund failed");
        }

        if (money == LINES_MONEY_DUE || money == LINES_MONEY_FAILED
            || (money == LINES_MONEY_UNCLEAR && look->status.len))
        {
            return audit_flight(3);
        }

        return look->status.len ? lines_audit_later(audit_unsettled) : NGX_OK;
    }

    /* the last payment is not ours any more: does the line still run? */

    if (money == LINES_MONEY_RETURNED
        && side.money.refunded + side.money.credited > 0
        && look->line.ended.len == 0)
    {
        look->end = audit_credited;

        return lines_look(look);
    }

    return lines_audit_mark(&audit->caller, NULL, NULL, .tenant = look->tenant,
                            .line = look->id, .ahead = 0,
                            .doubt = lines_op_text("end"));
}


/* it may have ended while its money was counted, or be about to */

static ngx_int_t
audit_credited(lines_look_t *look)
{
    if (look->follows == LINES_FOLLOWS_NEWS || look->line.ended.len
        || look->line.released.len)
    {
        return NGX_OK;
    }

    side.found = (lines_audit_found_t) {
        .kind = LINES_AUDIT_credited, .tenant = look->tenant,
        .id = look->id, .subscription = look->subscription,
        .here = look->line.status,
        .there = lines_op_text("all that it paid went back")
    };

    return audit_flight(3);
}


/* A workspace's base plan: of all that its customer has of such prices. */

static ngx_int_t
audit_customer(void *data, lines_tenant_customer_reply_t *reply)
{
    if (reply->customer.len == 0) {
        return NGX_OK;
    }

    side.customer = reply->customer;
    ngx_memzero(&side.plans, sizeof(lines_plans_t));
    side.unlisted = 0;

    audit->next = audit_prices;

    return NGX_OK;
}


static ngx_int_t
audit_prices(void)
{
    lines_billing_ask_t  ask = {
        .id = side.customer, .limit = LINES_AUDIT_PLANS
    };

    if (!lines_plans_ask(audit->lmcf->billing, &side.plans, &ask)) {
        audit->next = lines_audit_read;

        return lines_tenant_base(&audit->caller, audit_base, NULL,
                                 .tenant = side.read->tenant);
    }

    return lines_audit_bill(&ask, audit_priced);
}


static void
audit_priced(void *data, lines_billing_result_t *result)
{
    if (lines_plans_listed(audit->lmcf->billing, &side.plans,
                           &side.read->tenant, result)
        == NGX_OK)
    {
        /* once all are read, billing is not asked */

        if (side.plans.n == audit->lmcf->billing->plans.nelts) {
            audit->next = audit_prices;
            lines_audit_run(NGX_OK);
            return;
        }

        lines_audit_run(lines_audit_later(audit_prices));
        return;
    }

    /* a customer that billing does not know has no plan, any more perhaps */

    if (lines_stripe_missing(&result->error, "customer")) {
        side.plans.best = 0;
        side.plans.n = audit->lmcf->billing->plans.nelts;
        side.unlisted = 1;

        audit->next = audit_prices;
        lines_audit_run(NGX_OK);
        return;
    }

    lines_audit_run(lines_audit_failed(result));
}


static ngx_int_t
audit_base(void *data, lines_tenant_base_reply_t *reply)
{
    ngx_str_t             none = ngx_null_string, state, *sides;
    ngx_uint_t            lives, lost;
    lines_audit_read_t   *read = side.read;

    if (!lines_same(&reply->customer, &side.customer)) {
        return NGX_OK;
    }

    state = lines_plans_state(&side.plans);
    lives = state.len && !lines_is(&state, "canceled");

    /* what billing wrote goes on here, and is not there any more */

    lost = state.len == 0
           && lines_is(&reply->plan_by, "billing")
           && (lines_is(&reply->subscription, "active")
               || lines_is(&reply->subscription, "past_due"));

    /* of one that billing never had nothing follows: not soon again */

    if ((state.len == 0 && !lost)
        || (lines_same(&reply->subscription, &state)
            && (!lives || lines_same(&reply->plan, &side.plans.plan))))
    {
        return lines_audit_mark(&audit->caller, NULL, NULL,
                                .tenant = read->tenant,
                                .ahead = state.len ? 0 : LINES_AUDIT_DAY,
                                .plan_by = state.len ? reply->plan_by : none);
    }

    sides = ngx_pcalloc(audit->pool, 2 * sizeof(ngx_str_t));

    if (sides == NULL
        || lines_redis_format(audit->pool, &sides[0], "%V %V",
                              &reply->subscription, &reply->plan)
           != NGX_OK
        || lines_redis_format(audit->pool, &sides[1],
                              !lost ? "%V %V" : side.unlisted
                                                ? "no such customer" : "none",
                              &state, &side.plans.plan)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    side.look.tenant = read->tenant;
    side.look.customer = side.customer;

    /*
     * What the operator wrote since billing did is theirs: a contract; so may
     * be what an older version wrote.  One that is lost may have gone to
     * another price, customer or workspace, of which billing says nothing; but
     * whether its customer was deleted it says to who reads it.
     */

    side.found = (lines_audit_found_t) {
        .kind = LINES_AUDIT_plan,
        .repaired = lines_is(&reply->plan_by, "billing")
                    && (!lost || side.unlisted),
        .tenant = read->tenant, .id = side.customer, .here = sides[0],
        .there = sides[1], .act = audit_act_plan
    };

    return audit_flight(0);
}


static ngx_int_t
audit_act_plan(void)
{
    if (!side.found.repaired) {
        return NGX_OK;
    }

    side.look.end = audit_acted;

    return lines_look_plan(&side.look);
}
