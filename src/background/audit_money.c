
/*
 * The auditor counts: what came in of a subscription's invoices, or of one, and
 * what of that went back.
 */

#include "background/audit_billing.h"
#include "http/text.h"
#include "operation/operation.h"


static ngx_int_t audit_ended(void *data, lines_owed_get_reply_t *reply);
static ngx_int_t audit_left(void *data, lines_deleted_get_reply_t *reply);
static ngx_int_t audit_owed(void *data, lines_owed_get_reply_t *reply);
static ngx_int_t audit_unsettled(void);
static void audit_came_in(void *data, lines_billing_result_t *result);
static ngx_int_t audit_settled(void *data, lines_settled_get_reply_t *reply);
static ngx_int_t audit_count_next(void);
static void audit_counted(void *data, lines_billing_result_t *result);
static ngx_int_t audit_sum(void);
static ngx_int_t audit_credited(lines_look_t *look);


static lines_audit_t *const       audit = &lines_audit;
static lines_audit_side_t *const  side = &lines_audit_side;


/* by billing's clock, where its release has found out */

ngx_int_t
lines_audit_since(void)
{
    return lines_owed_get(&audit->caller, audit_ended, NULL,
                          .tenant = side->look.tenant,
                          .subscription = side->look.subscription);
}


static ngx_int_t
audit_ended(void *data, lines_owed_get_reply_t *reply)
{
    int64_t     at;
    ngx_str_t  *left, since, billed;

    left = side->look.line.ended.len ? &side->look.line.ended
                                     : &side->look.line.released;

    at = ngx_atoof(left->data, left->len) / 1000;

    billed = reply->since;
    since = lines_word(&billed);

    if (billed.len) {
        at = ngx_atoof(since.data, since.len);
    }

    return side->invoice.first || !lines_money_late(&side->invoice, at)
           ? NGX_OK : lines_audit_count();
}


ngx_int_t
lines_audit_orphan(void)
{
    return lines_deleted_get(&audit->caller, audit_left, NULL,
                             .tenant = side->look.tenant);
}


static ngx_int_t
audit_left(void *data, lines_deleted_get_reply_t *reply)
{
    side->since = reply->at / 1000;
    side->unlooked = 0;
    side->kept = 0;

    return lines_owed_get(&audit->caller, audit_owed, NULL,
                          .tenant = side->look.tenant,
                          .subscription = side->look.subscription);
}


static ngx_int_t
audit_owed(void *data, lines_owed_get_reply_t *reply)
{
    ngx_str_t  since, billed;

    /* or by its operation, which was given up without a look */

    if (reply->since.len == 0 && !side->unlooked) {
        side->unlooked = 1;

        return lines_owed_get(&audit->caller, audit_owed, NULL,
                              .tenant = side->look.tenant,
                              .subscription = side->look.id);
    }

    billed = reply->since;
    since = lines_word(&billed);

    side->kept = !side->unlooked && billed.len;

    if (since.len) {
        side->since = billed.len
                     && !lines_same(&billed, &side->look.subscription)
                     ? 0 : ngx_atoof(since.data, since.len);
    }

    if (side->look.status.len) {
        ngx_str_null(&side->invoice.id);
        return lines_audit_later(audit_unsettled);
    }

    if (side->kept) {
        return side->invoice.first
               || (side->invoice.paid_at
                   && !lines_money_late(&side->invoice, side->since))
               ? NGX_OK : lines_audit_count();
    }

    return side->invoice.paid_at && side->invoice.paid_at < side->since
           ? NGX_OK : lines_audit_count();
}


/* one that has ended: what came in, invoice by invoice */

static ngx_int_t
audit_unsettled(void)
{
    ngx_str_t  none = ngx_null_string;

    lines_billing_ask_t  ask = {
        .kind = LINES_BILLING_UNSETTLED, .id = side->look.subscription,
        .after = side->invoice.id,
        .since = lines_money_since(side->since, side->look.ended),
        .held = side->kept, .told = side->kept ? none : side->look.invoice
    };

    audit->next = audit->read;

    return lines_audit_bill(&ask, audit_came_in);
}


static void
audit_came_in(void *data, lines_billing_result_t *result)
{
    if (result->after.len) {
        side->invoice.id = lines_audit_keep(&result->after);
        lines_audit_run(lines_audit_later(audit_unsettled));
        return;
    }

    if (result->outcome != LINES_STRIPE_OK) {
        lines_audit_run(lines_audit_failed(result));
        return;
    }

    if (result->invoice) {
        side->invoice = *result->invoice;
        lines_audit_run(lines_audit_count());
        return;
    }

    lines_audit_run(NGX_OK);
}


ngx_int_t
lines_audit_count(void)
{
    lines_money_begin(&side->money, &side->invoice);

    return lines_settled_get(&audit->caller, audit_settled, NULL,
                             .tenant = side->look.tenant,
                             .invoice = side->invoice.id,
                             .subscription = side->look.subscription);
}


static ngx_int_t
audit_settled(void *data, lines_settled_get_reply_t *reply)
{
    lines_money_settled(&side->money, &reply->amount);
    lines_money_until(&side->money, reply->until);

    return lines_audit_later(audit_count_next);
}


static ngx_int_t
audit_count_next(void)
{
    lines_billing_ask_t  ask = {
        .kind = lines_billing_lists(side->money.asks), .id = side->money.whose
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

    lines_money_listed(&side->money, result->list);

    lines_audit_run(side->money.asks ? lines_audit_later(audit_count_next)
                                    : audit_sum());
}


static ngx_int_t
audit_sum(void)
{
    lines_look_t         *look = &side->look;
    lines_money_e         money;
    lines_audit_found_t  *found = &side->found;

    audit->next = audit->read;

    money = lines_money_close(&side->money);

    if (look->follows == LINES_FOLLOWS_ORPHAN
        || look->follows == LINES_FOLLOWS_RELEASE)
    {
        (void) lines_audit_disagrees(look);

        if (look->status.len == 0) {
            ngx_str_set(&found->there, "a refund failed");
        }

        if (money == LINES_MONEY_DUE || money == LINES_MONEY_FAILED
            || (money == LINES_MONEY_UNCLEAR
                && (look->status.len || lines_money_unlisted(&side->money))))
        {
            return lines_audit_unseen();
        }

        return look->status.len ? lines_audit_later(audit_unsettled) : NGX_OK;
    }

    /* its money stays in doubt, until billing lists what paid it */

    if (lines_money_unlisted(&side->money)) {
        return NGX_OK;
    }

    /* the last payment is not ours any more: does the line still run? */

    if (money == LINES_MONEY_RETURNED
        && side->money.refunded + side->money.credited > 0
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

    side->found = (lines_audit_found_t) {
        .kind = LINES_AUDIT_credited, .tenant = look->tenant,
        .id = look->id, .subscription = look->subscription,
        .here = look->line.status,
        .there = lines_op_text("all that it paid went back")
    };

    return lines_audit_unseen();
}
