
/*
 * The auditor's look at billing: all subscriptions that live, those that ended
 * soon after they began, and what went back since the last pass, in pages; and
 * one by one what these do not tell.
 */

#include "background/audit_billing.h"
#include "http/text.h"
#include "operation/operation.h"


#define LINES_AUDIT_ENDED  1                       /* the phase */


static void audit_listed(void *data, lines_billing_result_t *result);
static ngx_int_t audit_subscriptions(void);
static ngx_int_t audit_entries(void);
static ngx_int_t audit_subscription(lines_stripe_subscription_t *s,
    ngx_str_t *state);
static ngx_int_t audit_judged(lines_look_t *look);
static ngx_int_t audit_sold(void *data, lines_tenants_add_reply_t *reply);
static ngx_int_t audit_push_ended(void);

static ngx_int_t audit_get(void);
static void audit_got(void *data, lines_billing_result_t *result);
static ngx_int_t audit_line(lines_stripe_subscription_t *s);
static ngx_int_t audit_invoice(void);
static void audit_paid(void *data, lines_billing_result_t *result);
static void audit_invoiced(void *data, lines_billing_result_t *result);
static ngx_int_t audit_went_back(lines_look_t *look);


static lines_audit_t *const       audit = &lines_audit;
static lines_audit_side_t *const  side = &lines_audit_side;


void
lines_audit_forget(void)
{
    ngx_memzero(side, sizeof(lines_audit_side_t));
    lines_audit_plan_forget();
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
        side->list = result->list ? result->list : result->subscriptions;

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
    ngx_str_t                     state;
    lines_stripe_subscription_t  *s;

    while (audit->n < side->list->nelts) {
        s = (lines_stripe_subscription_t *) side->list->elts + audit->n++;

        switch (lines_op_sub(&s->status)) {

        case LINES_SUB_LIVE:
            ngx_str_set(&state, "active");
            break;

        case LINES_SUB_OVERDUE:
            ngx_str_set(&state, "past_due");
            break;

        case LINES_SUB_ENDED:
            ngx_str_null(&state);

            /* of those that live Stripe lists what expired, too */

            if (audit->at != LINES_AUDIT_ENDED) {
                continue;
            }

            break;

        default:
            continue;
        }

        if (lines_audit_item(&s->id)) {
            return audit_subscription(s, &state);
        }
    }

    audit->n = 0;
    audit->next = lines_audit_read;

    return NGX_OK;
}


static ngx_int_t
audit_subscription(lines_stripe_subscription_t *s, ngx_str_t *state)
{
    lines_audit_look(&side->look, audit_judged);
    lines_look_at(&side->look, s);

    if (lines_look_ours(&side->look)) {
        return lines_look(&side->look);
    }

    return audit->at == LINES_AUDIT_ENDED ? NGX_OK
                                          : lines_audit_plan_listed(s, state);
}


/* what was given back, and stands; a refund that failed; what a bank took */

static ngx_int_t
audit_entries(void)
{
    ngx_uint_t             i;
    lines_audit_read_t    *read;
    lines_stripe_entry_t  *entry = side->list->elts;

    for (i = 0; i < side->list->nelts; i++) {

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
               : side->read ? lines_audit_orphan() : audit_push_ended();
    }

    if (lines_audit_disagrees(look)) {
        return lines_audit_unseen();
    }

    /* another deployment's, that names our line, says nothing of it */

    if (!lines_same(&look->line.subscription, &look->subscription)) {
        return NGX_OK;
    }

    /* one whose money is in doubt is read, and counted */

    if (side->read && side->read->doubt) {
        return side->invoice.id.len ? lines_audit_count() : NGX_OK;
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
        .kind = LINES_AUDIT_hint, .repaired = 1, .tenant = side->look.tenant,
        .id = side->look.id, .subscription = side->look.subscription,
        .here = ngx_string("its tenant is not listed"),
        .there = side->look.status
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
        read->tenant = lines_audit_keep(&side->look.tenant);
        read->id = lines_audit_keep(&side->look.id);
        read->subscription = lines_audit_keep(&side->look.subscription);
    }

    return NGX_OK;
}


/* what pages do not tell, one by one; then the step is done, or goes on */

ngx_int_t
lines_audit_read(void)
{
    lines_audit_read_t  *read;

    audit->read = lines_audit_read;

    lines_audit_put_down();

    side->read = NULL;

    while (audit->n < audit->reads.nelts) {
        read = (lines_audit_read_t *) audit->reads.elts + audit->n++;

        if (lines_audit_item(read->of == LINES_AUDIT_OF_PLAN ? &read->tenant
                             : read->id.len ? &read->id : &read->invoice))
        {
            side->read = read;
            lines_audit_look(&side->look, audit_judged);

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
    lines_audit_read_t   *read = side->read;
    lines_billing_ask_t   ask = { .kind = LINES_BILLING_SUBSCRIPTION };

    audit->next = lines_audit_read;

    switch (read->of) {

    case LINES_AUDIT_OF_LINE:
        ask.id = read->subscription;
        return lines_audit_bill(&ask, audit_got);

    case LINES_AUDIT_OF_PLAN:
        return lines_audit_plan_read(&read->tenant);

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
    lines_audit_read_t   *read = side->read;
    lines_audit_found_t  *found = &side->found;

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
    lines_audit_read_t       *read = side->read;
    lines_stripe_metadata_t  *of = &s->metadata;

    id = of->line.len ? &of->line : &of->operation;

    if (lines_same(&of->tenant, &read->tenant)
        && lines_same(id, &read->id))
    {
        side->invoice = s->invoice;
        lines_look_at(&side->look, s);

        return lines_look_ours(&side->look) ? lines_look(&side->look) : NGX_OK;
    }

    side->found = (lines_audit_found_t) {
        .kind = LINES_AUDIT_shared, .tenant = read->tenant, .id = read->id,
        .subscription = read->subscription,
        .here = lines_op_text("its line's"), .there = *id
    };

    return lines_audit_find(&side->found);
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
        side->read->invoice = lines_audit_keep(&entry->invoice);
        lines_audit_run(lines_audit_later(audit_invoice));
        return;
    }

    lines_audit_run(NGX_OK);
}


static ngx_int_t
audit_invoice(void)
{
    lines_billing_ask_t  ask = {
        .kind = LINES_BILLING_INVOICE, .id = side->read->invoice
    };

    audit->next = lines_audit_read;

    return lines_audit_bill(&ask, audit_invoiced);
}


static void
audit_invoiced(void *data, lines_billing_result_t *result)
{
    lines_look_t  *look = &side->look;

    if (result->outcome != LINES_STRIPE_OK) {
        lines_audit_run(result->outcome == LINES_STRIPE_MISSING
                        ? NGX_OK : lines_audit_failed(result));
        return;
    }

    side->invoice = *result->invoice;

    look->metadata = &side->invoice.metadata;
    look->subscription = side->invoice.subscription;
    look->invoice = side->invoice.id;
    look->created = side->invoice.paid_at;
    look->disputed = side->read->disputed;
    look->paid = side->read->failed;
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
        return lines_audit_orphan();
    }

    if (look->follows == LINES_FOLLOWS_RELEASE) {
        return lines_audit_since();
    }

    status = lines_status(&look->line.status);
    same = lines_same(&look->line.subscription, &look->subscription)
           && look->line.ended.len == 0 && look->line.released.len == 0
           && (status == LINES_ACTIVE || status == LINES_PROVISIONING);

    if (!same || side->read->failed) {
        return NGX_OK;
    }

    if (side->read->disputed) {
        side->found = (lines_audit_found_t) {
            .kind = LINES_AUDIT_disputed, .repaired = 1,
            .tenant = look->tenant, .id = look->id,
            .subscription = look->subscription, .here = look->line.status,
            .there = lines_op_text("a bank took it back"),
            .act = lines_audit_act
        };

        return lines_audit_unseen();
    }

    return lines_audit_mark(&audit->caller, NULL, NULL, .tenant = look->tenant,
                            .line = look->id, .ahead = 0,
                            .doubt = lines_op_text("begin"));
}
