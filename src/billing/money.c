
#include <ngx_config.h>
#include <ngx_core.h>

#include "billing/money.h"


static ngx_uint_t money_is(ngx_str_t *value, const char *text);
static ngx_uint_t money_fits(lines_money_t *money, ngx_str_t *currency,
    int64_t amount);
static void money_add(lines_money_t *money, int64_t *sum, int64_t amount);
static void money_next(lines_money_t *money);


void
lines_money_invoice(lines_money_t *money, lines_stripe_invoice_t *invoice)
{
    ngx_memzero(money, sizeof(lines_money_t));

    money->currency = invoice->currency;

    /* what was taken of the balance for a void one is there again */

    if (invoice->balance > 0 && money_is(&invoice->status, "paid")) {
        money->balance = invoice->balance;
    }

    /* what was paid beyond it is on the customer's balance already */

    if (money_fits(money, &invoice->currency, invoice->overpaid)) {
        money->credited = invoice->overpaid;
    }
}


void
lines_money_credit(lines_money_t *money, lines_stripe_credit_note_t *note)
{
    if (!money_is(&note->status, "void")
        && money_fits(money, &note->currency, note->balance)
        && money_fits(money, &note->currency, note->outside))
    {
        money_add(money, &money->credited, note->balance);
        money_add(money, &money->credited, note->outside);
    }
}


void
lines_money_payment(lines_money_t *money, lines_stripe_payment_t *payment)
{
    money_next(money);

    if (!money_is(&payment->status, "paid")
        || !money_fits(money, &payment->currency, payment->amount))
    {
        return;
    }

    if (payment->payment.len == 0) {
        money_add(money, &money->outside, payment->amount);
        return;
    }

    money_add(money, &money->charged, payment->amount);

    money->now = payment->payment;
    money->rest = payment->amount;
}


void
lines_money_refund(lines_money_t *money, lines_stripe_refund_t *refund)
{
    if (!money_fits(money, &refund->currency, refund->amount)) {
        return;
    }

    if (money_is(&refund->status, "failed")
        || money_is(&refund->status, "canceled"))
    {
        money_add(money, &money->failed, refund->amount);
        return;
    }

    money_add(money, &money->refunded, refund->amount);
    money_add(money, &money->rest, -refund->amount);
}


void
lines_money_dispute(lines_money_t *money, lines_stripe_dispute_t *dispute)
{
    /* one that was won is ours again; a bank that only asks has taken nothing */

    if (money_is(&dispute->status, "won")
        || (dispute->status.len > 8
            && ngx_strncmp(dispute->status.data, "warning_", 8) == 0)
        || !money_fits(money, &dispute->currency, dispute->amount))
    {
        return;
    }

    money_add(money, &money->disputed, dispute->amount);
    money_add(money, &money->rest, -dispute->amount);
}


lines_money_e
lines_money_close(lines_money_t *money)
{
    money_next(money);

    if (money->unclear || lines_money_due(money) < 0) {
        return LINES_MONEY_UNCLEAR;
    }

    /* the bank decides who has it, of all that is left */

    if (money->disputed) {
        return LINES_MONEY_DISPUTED;
    }

    if (lines_money_due(money) == 0) {
        return LINES_MONEY_NONE;
    }

    return money->failed ? LINES_MONEY_FAILED : LINES_MONEY_DUE;
}


int64_t
lines_money_due(const lines_money_t *money)
{
    int64_t  due, back;

    if (__builtin_add_overflow(money->charged, money->balance, &due)
        || __builtin_add_overflow(due, money->outside, &due)
        || __builtin_add_overflow(money->refunded, money->credited, &back)
        || __builtin_add_overflow(back, money->disputed, &back))
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


static ngx_uint_t
money_is(ngx_str_t *value, const char *text)
{
    return value->len == ngx_strlen(text)
           && ngx_memcmp(value->data, text, value->len) == 0;
}


static ngx_uint_t
money_fits(lines_money_t *money, ngx_str_t *currency, int64_t amount)
{
    if (amount == 0) {
        return 1;
    }

    if (amount < 0
        || currency->len != money->currency.len
        || ngx_memcmp(currency->data, money->currency.data, currency->len) != 0)
    {
        money->unclear = 1;
        return 0;
    }

    return 1;
}


static void
money_add(lines_money_t *money, int64_t *sum, int64_t amount)
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
        money->payment = money->now;
        money->left = money->rest;
    }

    ngx_str_null(&money->now);
    money->rest = 0;
}
