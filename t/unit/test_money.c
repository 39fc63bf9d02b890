
/* The ledger of one invoice: what was paid, what went back, what is due. */

#include "tap.h"
#include "billing/money.h"


static lines_money_t           money;
static lines_stripe_invoice_t  invoice;

static ngx_array_t             walked[32];    /* lists live on */
static ngx_uint_t              nwalked;


static void
begin(const char *status)
{
    memset(&invoice, 0, sizeof(invoice));

    invoice.id = str("in_1");
    invoice.status = str(status);
    invoice.currency = str("usd");

    lines_money_begin(&money, &invoice);
}


static void
add(lines_stripe_object_e kind, const char *status, const char *currency,
    int64_t amount, int64_t balance, int64_t outside, const char *payment)
{
    lines_stripe_entry_t  entry;

    memset(&entry, 0, sizeof(entry));

    entry.kind = kind;
    entry.status = str(status);
    entry.currency = str(currency);
    entry.amount = amount;
    entry.balance = balance;
    entry.outside = outside;
    entry.payment = str(payment);

    lines_money_add(&money, &entry);
}


static void
payment(const char *id, const char *status, int64_t amount)
{
    add(LINES_STRIPE_PAYMENT, status, "usd", amount, 0, 0, id);
}


static void
paid_at(const char *id, int64_t amount, int64_t at)
{
    lines_stripe_entry_t  entry;

    memset(&entry, 0, sizeof(entry));

    entry.kind = LINES_STRIPE_PAYMENT;
    entry.status = str("paid");
    entry.currency = str("usd");
    entry.amount = amount;
    entry.payment = str(id);
    entry.paid_at = at;

    lines_money_add(&money, &entry);
}


static void
refund(const char *status, const char *currency, int64_t amount)
{
    add(LINES_STRIPE_REFUND, status, currency, amount, 0, 0, "");
}


static void
credit(const char *status, int64_t balance, int64_t outside)
{
    add(LINES_STRIPE_CREDIT, status, "usd", 1, balance, outside, "");
}


static void
dispute(const char *status, int64_t amount)
{
    add(LINES_STRIPE_DISPUTE, status, "usd", amount, 0, 0, "");
}


static void
comes_to(lines_money_e is, int64_t due, const char *what)
{
    lines_money_e  found;

    found = lines_money_close(&money);

    ok(found == is && (is == LINES_MONEY_UNCLEAR
                       || lines_money_due(&money) == due),
       "%s: %d, %" PRId64, what, (int) found, lines_money_due(&money));
}


static void
goes_back(int64_t charged, int64_t balance, int64_t outside)
{
    int64_t  c, b, o;

    lines_money_ways(&money, &c, &b, &o);

    ok(c == charged && b == balance && o == outside,
       "... as it came: %" PRId64 ", %" PRId64 ", %" PRId64, c, b, o);
}


static void
test_sums(void)
{
    begin("open");
    payment("pi_1", "open", 0);
    comes_to(LINES_MONEY_NONE, 0, "nothing came in");

    begin("paid");
    payment("pi_1", "paid", 900);
    comes_to(LINES_MONEY_DUE, 900, "paid");
    goes_back(900, 0, 0);
    ok(money.parts == 1 && money.left == 900, "... by one payment");

    begin("paid");
    payment("pi_1", "paid", 900);
    refund("succeeded", "usd", 400);
    comes_to(LINES_MONEY_DUE, 500, "a part was refunded");

    begin("paid");
    payment("pi_1", "paid", 900);
    refund("pending", "usd", 400);
    refund("succeeded", "usd", 500);
    comes_to(LINES_MONEY_RETURNED, 0, "one that is under way counts");
    ok(money.parts == 0, "... and no payment has any left");

    /* a note's own refund is among the refunds */
    begin("paid");
    credit("issued", 0, 0);
    payment("pi_1", "paid", 900);
    refund("succeeded", "usd", 900);
    comes_to(LINES_MONEY_RETURNED, 0, "a credit note and its refund, once");

    begin("paid");
    credit("issued", 200, 100);
    payment("pi_1", "paid", 900);
    comes_to(LINES_MONEY_DUE, 600, "to the balance, and past billing");
    goes_back(600, 0, 0);

    begin("paid");
    credit("void", 200, 100);
    payment("pi_1", "paid", 900);
    comes_to(LINES_MONEY_DUE, 900, "a note that is void gave nothing");

    begin("paid");
    credit("issued", 900, 0);
    payment("pi_1", "paid", 900);
    refund("succeeded", "usd", 400);
    comes_to(LINES_MONEY_RETURNED, 0, "more than all is nothing left");
}


static void
test_failed(void)
{
    begin("paid");
    payment("pi_1", "paid", 900);
    refund("failed", "usd", 900);
    comes_to(LINES_MONEY_FAILED, 900, "a refund that failed");

    begin("paid");
    payment("pi_1", "paid", 900);
    refund("canceled", "usd", 500);
    refund("succeeded", "usd", 400);
    comes_to(LINES_MONEY_FAILED, 500, "one that was canceled");

    begin("paid");
    payment("pi_1", "paid", 900);
    refund("failed", "usd", 900);
    refund("succeeded", "usd", 900);
    comes_to(LINES_MONEY_RETURNED, 0, "... and was made up for by hand");

    begin("paid");
    payment("pi_1", "paid", 900);
    dispute("needs_response", 900);
    comes_to(LINES_MONEY_RETURNED, 0, "a bank has it");

    begin("paid");
    payment("pi_1", "paid", 900);
    dispute("lost", 300);
    comes_to(LINES_MONEY_DUE, 600, "or a part of it");
    ok(money.disputed == 300 && money.left == 600, "... the rest is there");

    begin("paid");
    payment("pi_1", "paid", 300);
    dispute("needs_response", 300);
    payment("pi_2", "paid", 600);
    comes_to(LINES_MONEY_DUE, 600, "or one of two payments");
    ok(money.parts == 1 && money.left == 600
       && ngx_strncmp(money.payment.data, "pi_2", 4) == 0,
       "... the other goes back");

    begin("paid");
    payment("pi_1", "paid", 900);
    dispute("won", 900);
    dispute("warning_needs_response", 900);
    dispute("prevented", 900);
    comes_to(LINES_MONEY_DUE, 900, "won, only asked about, or prevented");
}


static void
test_settled(void)
{
    ngx_str_t  all = ngx_string("all"), some = ngx_string("400"),
               second = ngx_string("pi_2"), none = ngx_null_string;

    begin("paid");
    lines_money_settled(&money, &none);
    payment("pi_1", "paid", 900);
    comes_to(LINES_MONEY_DUE, 900, "nobody has said anything");

    begin("paid");
    lines_money_settled(&money, &some);
    payment("pi_1", "paid", 900);
    refund("failed", "usd", 900);
    comes_to(LINES_MONEY_FAILED, 500, "a part was given back outside of billing");

    begin("paid");
    lines_money_settled(&money, &some);
    payment("pi_1", "paid", 400);
    refund("failed", "usd", 400);
    comes_to(LINES_MONEY_RETURNED, 0, "... or what was due");

    begin("paid");
    lines_money_settled(&money, &all);
    payment("pi_1", "paid", 900);
    refund("succeeded", "eur", 900);
    ok(lines_money_close(&money) == LINES_MONEY_RETURNED,
       "... or all that is unclear");

    begin("paid");
    money.last = 10;
    lines_money_until(&money, 11);
    payment("pi_1", "paid", 900);
    ok(lines_money_close(&money) == LINES_MONEY_RETURNED,
       "... or all of the subscription's that was paid by then");

    begin("paid");
    money.last = 11;
    lines_money_until(&money, 11);
    payment("pi_1", "paid", 900);
    comes_to(LINES_MONEY_DUE, 900, "... but not later");

    begin("void");
    lines_money_until(&money, 11);
    payment("pi_1", "paid", 400);
    comes_to(LINES_MONEY_DUE, 400, "... nor where nobody tells when");

    begin("paid");
    money.last = 10;
    lines_money_until(&money, 11);
    payment("pi_1", "paid", 900);
    refund("failed", "usd", 900);
    comes_to(LINES_MONEY_FAILED, 900, "... but for what failed, perhaps since");

    begin("void");
    lines_money_until(&money, 11);
    paid_at("pi_1", 400, 10);
    paid_at("pi_2", 300, 12);
    comes_to(LINES_MONEY_DUE, 300, "of two payments the later one is due");
    ok(lines_same(&money.payment, &second), "... and it is the one to refund");

    begin("void");
    lines_money_until(&money, 11);
    money.credited = 100;
    paid_at("pi_1", 400, 10);
    paid_at("pi_2", 300, 12);
    ok(lines_money_close(&money) == LINES_MONEY_UNCLEAR,
       "... unless a note may be of either");

    begin("void");
    money.told = 700;
    lines_money_until(&money, 11);
    paid_at("pi_1", 400, 10);
    ok(lines_money_close(&money) == LINES_MONEY_UNCLEAR,
       "... nor is it done with before it is listed");
}


static void
test_ways(void)
{
    begin("paid");
    invoice.balance = 900;
    lines_money_begin(&money, &invoice);
    comes_to(LINES_MONEY_DUE, 900, "paid from the customer's balance");
    goes_back(0, 900, 0);

    begin("void");
    invoice.balance = 900;
    lines_money_begin(&money, &invoice);
    comes_to(LINES_MONEY_NONE, 0, "... which has it again, of a void one");

    begin("paid");
    payment("", "paid", 900);
    comes_to(LINES_MONEY_DUE, 900, "paid outside of Stripe");
    goes_back(0, 0, 900);

    begin("paid");
    invoice.balance = 200;
    lines_money_begin(&money, &invoice);
    credit("issued", 100, 0);
    payment("pi_1", "paid", 500);
    refund("succeeded", "usd", 100);
    payment("", "paid", 200);
    comes_to(LINES_MONEY_DUE, 700, "each way a part");
    goes_back(400, 200, 100);

    begin("paid");
    payment("pi_1", "paid", 500);
    refund("succeeded", "usd", 500);
    payment("pi_2", "paid", 300);
    refund("succeeded", "usd", 100);
    payment("ch_3", "paid", 100);
    comes_to(LINES_MONEY_DUE, 300, "several payments");
    ok(money.parts == 2 && money.left == 100
       && ngx_strncmp(money.payment.data, "ch_3", 4) == 0,
       "... one of them has that much left");

    begin("paid");
    invoice.overpaid = 100;
    lines_money_begin(&money, &invoice);
    payment("pi_1", "paid", 1000);
    comes_to(LINES_MONEY_DUE, 900, "what was too much is on the balance");
}


/* a debt of before is paid with the invoice, and stays paid */

static void
owes(int64_t owed)
{
    begin("paid");
    invoice.balance = -owed;
    lines_money_begin(&money, &invoice);
}


static void
test_owed(void)
{
    owes(500);
    payment("pi_1", "paid", 1400);
    comes_to(LINES_MONEY_DUE, 900, "a customer who owed 500");
    goes_back(900, 0, 0);

    owes(500);
    payment("pi_1", "paid", 300);
    payment("pi_2", "paid", 1100);
    comes_to(LINES_MONEY_DUE, 900, "... by two payments");
    ok(money.parts == 2 && money.left == 1100, "... both can go back");
    refund("succeeded", "usd", 900);
    comes_to(LINES_MONEY_RETURNED, 0, "... one of them in part");

    owes(500);
    payment("", "paid", 1400);
    comes_to(LINES_MONEY_DUE, 900, "... past billing");
    goes_back(0, 0, 900);

    owes(500);
    payment("pi_1", "paid", 1400);
    refund("succeeded", "usd", 900);
    comes_to(LINES_MONEY_RETURNED, 0, "all that the line cost went back");

    owes(500);
    credit("issued", 400, 0);
    payment("pi_1", "paid", 1400);
    comes_to(LINES_MONEY_DUE, 500, "or a part of it");

    owes(500);
    payment("pi_1", "paid", 1400);
    dispute("lost", 1400);
    comes_to(LINES_MONEY_RETURNED, 0, "a bank has more than that");

    owes(500);
    payment("pi_1", "paid", 500);
    comes_to(LINES_MONEY_NONE, 0, "nothing but the debt was paid");

    owes(500);
    payment("pi_1", "paid", 200);
    comes_to(LINES_MONEY_NONE, 0, "or what was left of it");

    begin("void");
    invoice.balance = -500;
    lines_money_begin(&money, &invoice);
    payment("pi_1", "paid", 300);
    comes_to(LINES_MONEY_DUE, 300, "he owes it again, where it is void");

    owes(INT64_MAX);
    payment("pi_1", "paid", 900);
    refund("succeeded", "usd", 900);
    comes_to(LINES_MONEY_UNCLEAR, 0, "a debt without end");
}


/* what is asked for, and the answer: of ids and statuses, each of 900 */

static void
asked(lines_stripe_object_e kind, const char *whose, ngx_uint_t n,
    const char *status, const char *payments[])
{
    ngx_uint_t             i;
    lines_stripe_entry_t  *entry;

    ok(money.asks == kind, "asks for %d of \"%s\"", (int) kind, whose);
    is_str(&money.whose, whose, "... whose");

    entry = calloc(3, sizeof(lines_stripe_entry_t));

    for (i = 0; i < n; i++) {
        entry[i].kind = kind;
        entry[i].status = str(status);
        entry[i].currency = str("usd");
        entry[i].amount = 900;
        entry[i].payment = str(payments ? payments[i] : "");
    }

    walked[nwalked].elts = entry;
    walked[nwalked].nelts = n;

    lines_money_listed(&money, &walked[nwalked++]);
}


static void
test_walk(void)
{
    const char  *payments[] = { "pi_1", "", "ch_2" };

    begin("paid");
    asked(LINES_STRIPE_CREDIT, "in_1", 1, "issued", NULL);
    asked(LINES_STRIPE_PAYMENT, "in_1", 3, "paid", payments);
    asked(LINES_STRIPE_REFUND, "pi_1", 1, "succeeded", NULL);
    asked(LINES_STRIPE_DISPUTE, "pi_1", 0, "", NULL);
    asked(LINES_STRIPE_REFUND, "ch_2", 0, "", NULL);
    asked(LINES_STRIPE_DISPUTE, "ch_2", 1, "won", NULL);
    ok(money.asks == LINES_STRIPE_OTHER, "all is counted");
    comes_to(LINES_MONEY_DUE, 1800, "each payment, with what is of it");
    ok(money.parts == 1 && money.outside == 900, "... one outside of Stripe");

    begin("open");
    asked(LINES_STRIPE_CREDIT, "in_1", 0, "", NULL);
    asked(LINES_STRIPE_PAYMENT, "in_1", 2, "open", payments);
    ok(money.asks == LINES_STRIPE_OTHER, "nothing went back of what is open");
    comes_to(LINES_MONEY_NONE, 0, "... and nothing came in");

    begin("paid");
    invoice.amount_paid = 900;
    lines_money_begin(&money, &invoice);
    asked(LINES_STRIPE_CREDIT, "in_1", 0, "", NULL);
    asked(LINES_STRIPE_PAYMENT, "in_1", 0, "", NULL);
    ok(money.asks == LINES_STRIPE_OTHER && lines_money_unlisted(&money),
       "a payment that the invoice knows is not listed");
    comes_to(LINES_MONEY_UNCLEAR, 0, "... nobody takes that for nothing paid");
}


static void
test_unclear(void)
{
    begin("paid");
    payment("pi_1", "paid", 900);
    refund("succeeded", "eur", 400);
    comes_to(LINES_MONEY_UNCLEAR, 0, "another currency");

    begin("paid");
    payment("pi_1", "paid", -1);
    comes_to(LINES_MONEY_UNCLEAR, 0, "less than nothing");

    begin("paid");
    payment("pi_1", "paid", INT64_MAX);
    payment("pi_2", "paid", INT64_MAX);
    comes_to(LINES_MONEY_UNCLEAR, 0, "a sum without end");

    begin("paid");
    invoice.balance = INT64_MAX;
    lines_money_begin(&money, &invoice);
    payment("pi_1", "paid", INT64_MAX);
    comes_to(LINES_MONEY_UNCLEAR, 0, "or all together");

    begin("paid");
    credit("issued", INT64_MAX, INT64_MAX);
    comes_to(LINES_MONEY_UNCLEAR, 0, "nor what went back");
}


int
main(void)
{
    test_sums();
    test_failed();
    test_settled();
    test_ways();
    test_owed();
    test_walk();
    test_unclear();

    return done_testing();
}
