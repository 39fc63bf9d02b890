
#include <ngx_config.h>
#include <ngx_core.h>

#include "billing/money.h"


static ngx_uint_t
money_fits(lines_money_t *money, ngx_str_t *currency, int64_t amount)
{
    if (amount < 0 || (amount && !lines_same(currency, &money->currency))) {
        money->unclear = 1;
        return 0;
    }

    return 1;
}


static void
money_sum(lines_money_t *money, int64_t *sum, int64_t amount)
{
    if (__builtin_add_overflow(*sum, amount, sum)) {
        money->unclear = 1;
    }
}


/* the payment at hand is counted */

static void
money_next(lines_money_t *money)
{
    if (money->now.len && money->rest > 0) {
        money->parts++;

        if (money->before && money->failed == money->sound) {
            money_sum(money, &money->aside, money->rest);

        /* what a bank leaves of one may be refused to us as long as it has it */

        } else if (!money->held || money->payment.len == 0) {
            money->payment = money->now;
            money->left = money->rest;
        }
    }

    ngx_str_null(&money->now);
    money->rest = 0;
    money->held = 0;
    money->sound = money->failed;
}


void
lines_money_begin(lines_money_t *money, lines_stripe_invoice_t *invoice)
{
    ngx_memzero(money, sizeof(lines_money_t));

    money->currency = invoice->currency;

    /* what a void one took of the balance is there again, and so is a debt */

    if (lines_is(&invoice->status, "paid")) {
        money->balance = ngx_max(invoice->balance, 0);
        money->owed = ngx_max(-invoice->balance, 0);
        money->last = invoice->paid_at;
        money->whole = 1;
    }

    /* what was paid beyond it is on the customer's balance already */

    if (money_fits(money, &invoice->currency, invoice->overpaid)) {
        money->credited = invoice->overpaid;
    }

    money->asks = LINES_STRIPE_CREDIT;
    money->whose = invoice->id;

    money->told = invoice->amount_paid;
    money->noted = invoice->noted;
}


/* the next payment; one with nothing to be read of it is added alone */

static void
money_walk(lines_money_t *money)
{
    lines_stripe_entry_t  *payment;

    money_next(money);

    if (money->payments == NULL) {
        return;
    }

    payment = money->payments->elts;

    while (money->now.len == 0 && money->counted < money->payments->nelts) {
        lines_money_add(money, &payment[money->counted++]);
    }
}


void
lines_money_listed(lines_money_t *money, ngx_array_t *list)
{
    ngx_uint_t             i;
    lines_stripe_entry_t  *entry = list->elts;

    if (money->asks == LINES_STRIPE_PAYMENT) {
        money->payments = list;

    } else {
        for (i = 0; i < list->nelts; i++) {
            lines_money_add(money, &entry[i]);
        }
    }

    switch (money->asks) {

    case LINES_STRIPE_REFUND:
        money->asks = LINES_STRIPE_DISPUTE;
        return;

    case LINES_STRIPE_CREDIT:
        money->asks = LINES_STRIPE_PAYMENT;
        return;

    default:
        money_walk(money);
        break;
    }

    money->asks = money->now.len ? LINES_STRIPE_REFUND : LINES_STRIPE_OTHER;
    money->whose = money->now;
}


void
lines_money_add(lines_money_t *money, lines_stripe_entry_t *entry)
{
    ngx_str_t  *status = &entry->status;

    if (entry->kind == LINES_STRIPE_PAYMENT) {
        money_next(money);
    }

    if (entry->kind == LINES_STRIPE_DISPUTE) {

        if (!lines_money_taken(status)) {
            return;
        }

        /* how much, a bank may say in a currency of its own */

        money->taken |= (entry->amount != 0);
        money->held |= (entry->amount != 0);
    }

    if (!money_fits(money, &entry->currency, entry->amount)
        || !money_fits(money, &entry->currency, entry->balance)
        || !money_fits(money, &entry->currency, entry->outside))
    {
        return;
    }

    switch (entry->kind) {

    case LINES_STRIPE_PAYMENT:

        if (!lines_is(status, "paid")) {
            break;
        }

        money->last = ngx_max(money->last, entry->paid_at);
        money->before = entry->paid_at && entry->paid_at < money->until;

        if (entry->payment.len == 0) {
            money_sum(money, &money->outside, entry->amount);

            if (money->before) {
                money_sum(money, &money->aside, entry->amount);
            }

            break;
        }

        money_sum(money, &money->charged, entry->amount);

        money->now = entry->payment;
        money->rest = entry->amount;
        break;

    case LINES_STRIPE_CREDIT:

        money_sum(money, &money->notes, entry->amount);

        if (!lines_is(status, "void")) {
            money_sum(money, &money->credited, entry->balance);
            money_sum(money, &money->credited, entry->outside);
        }

        break;

    case LINES_STRIPE_REFUND:

        if (lines_is(status, "failed") || lines_is(status, "canceled")) {
            money_sum(money, &money->failed, entry->amount);
            break;
        }

        money_sum(money, &money->refunded, entry->amount);
        money_sum(money, &money->rest, -entry->amount);
        break;

    default: /* LINES_STRIPE_DISPUTE */
        money_sum(money, &money->disputed, entry->amount);
        money_sum(money, &money->rest, -entry->amount);
        break;
    }
}


/* it counts as a note that says so */

void
lines_money_settled(lines_money_t *money, ngx_str_t *amount)
{
    lines_stripe_entry_t  entry = {
        .kind = LINES_STRIPE_CREDIT, .currency = money->currency,
        .outside = ngx_atoof(amount->data, amount->len)
    };

    money->settled = lines_is(amount, "all");

    if (amount->len && !money->settled) {
        lines_money_add(money, &entry);
    }
}


void
lines_money_until(lines_money_t *money, int64_t until)
{
    money->until = until;
}


int64_t
lines_money_since(int64_t since, int64_t ended)
{
    return ended ? ngx_min(since, ended) : since;
}


ngx_uint_t
lines_money_late(lines_stripe_invoice_t *invoice, int64_t since)
{
    return invoice->paid_at > since
           || (invoice->paid_at == since && lines_is(&invoice->status, "void"));
}


/* won, it is ours again; a bank that only asks has taken nothing */

ngx_uint_t
lines_money_taken(ngx_str_t *status)
{
    return !lines_is(status, "won")
           && !lines_is(status, "prevented")
           && (status->len < 8
               || ngx_strncmp(status->data, "warning_", 8) != 0);
}


lines_money_e
lines_money_close(lines_money_t *money)
{
    money_next(money);

    if (money->settled
        || (money->last && money->last < money->until && money->failed == 0
            && (money->whole || !lines_money_unlisted(money))))
    {
        return LINES_MONEY_RETURNED;
    }

    /* of which payment a note was, before that or since, nobody knows */

    if (money->aside) {

        if (money->credited) {
            money->unclear = 1;

        } else {
            money->credited = money->aside;
            money->aside = 0;
        }
    }

    if (money->unclear
        || lines_money_unlisted(money)
        || lines_money_due(money) < 0)
    {
        return LINES_MONEY_UNCLEAR;
    }

    if (lines_money_due(money) == 0) {
        return money->refunded || money->credited || money->disputed
               ? LINES_MONEY_RETURNED : LINES_MONEY_NONE;
    }

    return money->failed ? LINES_MONEY_FAILED : LINES_MONEY_DUE;
}


ngx_uint_t
lines_money_unlisted(const lines_money_t *money)
{
    return money->notes < money->noted
           || (money->charged < money->told
               && money->told - money->charged > money->outside);
}


int64_t
lines_money_back(const lines_money_t *money)
{
    int64_t  back;

    return __builtin_add_overflow(money->refunded, money->credited, &back)
           || __builtin_add_overflow(back, money->failed, &back) ? 0 : back;
}


int64_t
lines_money_due(const lines_money_t *money)
{
    int64_t  due, back;

    if (__builtin_add_overflow(money->charged, money->balance, &due)
        || __builtin_add_overflow(due, money->outside, &due)
        || __builtin_add_overflow(money->refunded, money->credited, &back)
        || __builtin_add_overflow(back, money->disputed, &back)
        || __builtin_add_overflow(back, money->owed, &back))
    {
        return -1;
    }

    return ngx_max(due - back, 0);
}


void
lines_money_ways(const lines_money_t *money, int64_t *charged,
    int64_t *balance, int64_t *outside)
{
    int64_t  due;

    due = lines_money_due(money);

    /* to the card as long as there is something of it */

    *charged = ngx_max(ngx_min(due, money->charged - money->refunded
                                    - money->disputed), 0);
    *balance = ngx_min(due - *charged, money->balance);
    *outside = due - *charged - *balance;
}
