
#include "tap.h"
#include "billing/stripe.h"


static json_t *
parse(const char *text)
{
    json_t  *json;

    json = json_loads(text, 0, NULL);

    if (json == NULL) {
        printf("Bail out! not JSON: %s\n", text);
        exit(1);
    }

    return json;
}


static void
test_form(void)
{
    ngx_str_t  value, body;

    value = exact("\0\r\n", 3);

    ok(lines_form(NULL, &body,
           { "customer", ngx_string("cus_1") },
           { "items[0][price]", ngx_string("a b&c=d+e%f/\xc3\xa9") },
           { lines_form_if(0, "none"), ngx_string("left out") },
           { "n", lines_form_number(INT64_MIN) },
           { "m", lines_form_number(0) },
           { lines_form_if(1, "raw"), value },
           { "empty", ngx_null_string }) == NGX_OK, "a form");
    free(value.data);

    is_str(&body,
           "customer=cus_1&items[0][price]=a%20b%26c%3Dd%2Be%25f%2F"
           "%C3%A9&n=-9223372036854775808&m=0&raw=%00%0D%0A&empty=",
           "values are escaped, names are not");

    value = str("../x?y");
    ok(lines_form_escape(NULL, &value, &body) == NGX_OK, "a segment");
    is_str(&body, "..%2Fx%3Fy", "stays one");
}


static void
test_bodies(void)
{
    ngx_str_t                customer, price, card, invoice, payment, body, name;
    lines_stripe_metadata_t  metadata;

    memset(&metadata, 0, sizeof(metadata));

    metadata.deployment = str("prod");
    metadata.tenant = str("w:one");
    metadata.line = str("aaaa");
    metadata.attempt = 2;

    customer = str("cus_1");
    price = str("price_1");
    card = str("pm_1");

    ok(lines_stripe_subscribe_body(NULL, &customer, &price, NULL, &metadata,
                                   &body)
       == NGX_OK, "an add-on");
    is_str(&body,
           "customer=cus_1&items[0][price]=price_1"
           "&items[0][quantity]=1&payment_behavior=default_incomplete"
           "&payment_settings[save_default_payment_method]=on_subscription"
           "&payment_settings[payment_method_types][0]=card"
           "&metadata[lines_deployment]=prod&metadata[tenant]=w%3Aone"
           "&metadata[line_request]=aaaa&metadata[attempt]=2"
           "&expand[0]=latest_invoice", "as the notes have it");

    name = lines_stripe_deployment(&body);
    is_str(&name, "prod", "and it names its deployment");

    name = lines_stripe_deployment(&customer);
    ok(name.len == 0, "what says nothing names none");

    ngx_str_null(&metadata.line);
    metadata.operation = str("bbbb");
    metadata.attempt = 0;

    ok(lines_stripe_subscribe_body(NULL, &customer, &price, &card, &metadata,
                                   &body)
       == NGX_OK, "a charge");
    is_str(&body,
           "customer=cus_1&items[0][price]=price_1"
           "&default_payment_method=pm_1&payment_behavior=error_if_incomplete"
           "&off_session=true&payment_settings[payment_method_types][0]=card"
           "&metadata[lines_deployment]=prod&metadata[tenant]=w%3Aone"
           "&metadata[operation]=bbbb&expand[0]=latest_invoice",
           "as the notes have it");

    card = str("card_1");
    (void) lines_stripe_subscribe_body(NULL, &customer, &price, &card,
                                       &metadata, &body);
    ok(memmem(body.data, body.len, "&default_payment_method=card_1&", 31)
       != NULL, "a card of the older kind is a source");

    invoice = str("in_1");

    ok(lines_stripe_credit_body(NULL, &invoice, 700, 0, 0, &metadata, &body)
       == NGX_OK, "a credit note");
    is_str(&body,
           "invoice=in_1&amount=700&refund_amount=700"
           "&metadata[lines_deployment]=prod&metadata[tenant]=w%3Aone"
           "&metadata[operation]=bbbb", "to the card");

    ok(lines_stripe_credit_body(NULL, &invoice, 700, 200, 100, &metadata,
                                &body) == NGX_OK, "another");
    is_str(&body,
           "invoice=in_1&amount=1000&refund_amount=700&credit_amount=200"
           "&out_of_band_amount=100"
           "&metadata[lines_deployment]=prod&metadata[tenant]=w%3Aone"
           "&metadata[operation]=bbbb", "each way that it came");

    payment = str("pi_1");

    ok(lines_stripe_refund_body(NULL, &payment, 300, &metadata, &body)
       == NGX_OK, "a refund");
    is_str(&body,
           "payment_intent=pi_1&amount=300"
           "&metadata[lines_deployment]=prod&metadata[tenant]=w%3Aone"
           "&metadata[operation]=bbbb", "of a payment");

    payment = str("ch_1");

    ok(lines_stripe_refund_body(NULL, &payment, 300, &metadata, &body)
       == NGX_OK
       && ngx_strncmp(body.data, "charge=ch_1&", 12) == 0, "or of a charge");
}


static void
test_entries(void)
{
    json_t                *json;
    lines_stripe_entry_t   e;

    json = parse("{\"object\":\"invoice_payment\",\"id\":\"inpay_1\","
                 "\"status\":\"paid\",\"invoice\":\"in_1\","
                 "\"amount_paid\":900,\"amount_requested\":1000,"
                 "\"currency\":\"usd\",\"payment\":{\"type\":"
                 "\"payment_intent\",\"payment_intent\":\"pi_1\"}}");
    ok(lines_stripe_parse_entry(json, &e) == NGX_OK
       && e.kind == LINES_STRIPE_PAYMENT && e.amount == 900,
       "a payment of an invoice");
    is_str(&e.invoice, "in_1", "which");
    is_str(&e.payment, "pi_1", "by what");
    json_decref(json);

    json = parse("{\"object\":\"invoice_payment\",\"id\":\"inpay_1\","
                 "\"payment\":{\"payment_record\":\"pr_1\"}}");
    ok(lines_stripe_parse_entry(json, &e) == NGX_OK && e.payment.len == 0,
       "one outside of Stripe");
    json_decref(json);

    json = parse("{\"object\":\"credit_note\",\"id\":\"cn_1\",\"amount\":900,"
                 "\"out_of_band_amount\":100,\"invoice\":{\"id\":\"in_1\"},"
                 "\"customer_balance_transaction\":{\"amount\":-200}}");
    ok(lines_stripe_parse_entry(json, &e) == NGX_OK
       && e.kind == LINES_STRIPE_CREDIT && e.amount == 900 && e.balance == 200
       && e.outside == 100, "a credit note and its parts");
    is_str(&e.invoice, "in_1", "of which");
    json_decref(json);

    json = parse("{\"object\":\"credit_note\",\"id\":\"cn_1\","
                 "\"customer_balance_transaction\":\"cbtxn_1\"}");
    ok(lines_stripe_parse_entry(json, &e) == NGX_DECLINED,
       "a part that was not told is not nothing");
    json_decref(json);

    json = parse("{\"object\":\"refund\",\"id\":\"re_1\",\"amount\":900,"
                 "\"charge\":\"ch_1\",\"payment_intent\":null}");
    ok(lines_stripe_parse_entry(json, &e) == NGX_OK
       && e.kind == LINES_STRIPE_REFUND, "a refund");
    is_str(&e.payment, "ch_1", "of a charge without an intent");
    json_decref(json);

    json = parse("{\"object\":\"dispute\",\"id\":\"dp_1\",\"amount\":900,"
                 "\"charge\":\"ch_1\",\"payment_intent\":\"pi_1\"}");
    ok(lines_stripe_parse_entry(json, &e) == NGX_OK
       && e.kind == LINES_STRIPE_DISPUTE, "a dispute");
    is_str(&e.payment, "pi_1", "of an intent");
    json_decref(json);

    json = parse("{\"object\":\"charge\",\"id\":\"ch_1\"}");
    ok(lines_stripe_parse_entry(json, &e) == NGX_DECLINED, "anything else");
    json_decref(json);

    ok(lines_stripe_parse_entry(NULL, &e) == NGX_DECLINED, "or nothing");
}


static void
test_invoices(void)
{
    unsigned                i;
    json_t                 *json;
    lines_stripe_invoice_t  invoice;

    static const struct {
        const char  *name;
        const char  *text;
    } forms[] = {
        { "parent.subscription_details",
          "{\"object\":\"invoice\",\"id\":\"in_1\",\"metadata\":{},\"parent\":"
          "{\"type\":\"subscription_details\",\"subscription_details\":"
          "{\"subscription\":\"sub_1\",\"metadata\":{\"lines_deployment\":"
          "\"prod\",\"attempt\":\"3\"}}}}" },
        { "the same, expanded",
          "{\"object\":\"invoice\",\"id\":\"in_1\",\"parent\":"
          "{\"subscription_details\":{\"subscription\":{\"id\":\"sub_1\"},"
          "\"metadata\":{\"lines_deployment\":\"prod\",\"attempt\":\"3\"}}}}" },
        { "subscription_details and subscription",
          "{\"object\":\"invoice\",\"id\":\"in_1\",\"subscription\":\"sub_1\","
          "\"subscription_details\":{\"metadata\":"
          "{\"lines_deployment\":\"prod\",\"attempt\":\"3\"}}}" },
        { "subscription alone",
          "{\"object\":\"invoice\",\"id\":\"in_1\",\"subscription\":"
          "{\"id\":\"sub_1\"},\"parent\":null,\"metadata\":"
          "{\"lines_deployment\":\"prod\",\"attempt\":\"3\"}}" },
        { NULL, NULL }
    };

    static const char  *wrong[] = {
        "{}", "[]", "null", "7", "{\"object\":\"invoice\"}",
        "{\"object\":\"invoice\",\"id\":\"\"}",
        "{\"object\":\"invoice\",\"id\":7}",
        "{\"object\":7,\"id\":\"in_1\"}",
        "{\"object\":\"subscription\",\"id\":\"in_1\"}", NULL
    };

    for (i = 0; forms[i].name; i++) {
        json = parse(forms[i].text);

        ok(lines_stripe_parse_invoice(json, &invoice) == NGX_OK, "%s",
           forms[i].name);
        is_str(&invoice.subscription, "sub_1", "its subscription");
        is_str(&invoice.metadata.deployment, "prod", "its deployment");
        ok(invoice.metadata.attempt == 3, "its attempt");

        json_decref(json);
    }

    json = parse("{\"object\":\"invoice\",\"id\":\"in_1\",\"status\":null,"
                 "\"customer\":{\"id\":\"cus_1\"},\"amount_paid\":\"9\","
                 "\"status_transitions\":{\"paid_at\":1e3},"
                 "\"amount_overpaid\":500,\"livemode\":\"true\","
                 "\"metadata\":[],\"parent\":7,\"hosted_invoice_url\":false,"
                 "\"subscription\":[]}");

    ok(lines_stripe_parse_invoice(json, &invoice) == NGX_OK,
       "members of strange types");
    is_str(&invoice.status, "", "are absent");
    is_str(&invoice.customer, "cus_1", "others are there");
    ok(invoice.amount_paid == 0
       && invoice.paid_at == 0
       && invoice.overpaid == 500
       && invoice.livemode == 0, "amounts too");
    json_decref(json);

    for (i = 0; wrong[i]; i++) {
        json = json_loads(wrong[i], JSON_DECODE_ANY, NULL);
        ok(lines_stripe_parse_invoice(json, &invoice) == NGX_DECLINED,
           "no invoice: %s", wrong[i]);
        json_decref(json);
    }

    ok(lines_stripe_parse_invoice(NULL, &invoice) == NGX_DECLINED,
       "no invoice: nothing");
}


static void
test_others(void)
{
    json_t                      *json;
    lines_stripe_event_t         event;
    lines_stripe_customer_t      customer;
    lines_stripe_subscription_t  subscription;

    json = parse(
                "{\"object\":\"subscription\",\"id\":\"sub_1\",\"status\":"
                "\"active\",\"customer\":\"cus_1\",\"created\":1700000000,"
                "\"livemode\":true,\"latest_invoice\":\"in_1\",\"items\":"
                "{\"data\":[{\"price\":{\"id\":\"p1\"}},{\"price\":null},"
                "{\"price\":\"p2\"},{},7]},\"metadata\":{\"tenant\":\"w:one\","
                "\"attempt\":\"-1\"}}");

    ok(lines_stripe_parse_subscription(json, &subscription) == NGX_OK,
       "a subscription");
    ok(subscription.nprices == 2, "two prices");
    is_str(&subscription.prices[1], "p2", "the second");
    is_str(&subscription.invoice.id, "in_1", "an invoice that is not expanded");
    ok(subscription.livemode == 1 && subscription.metadata.attempt == 0,
       "livemode, and no attempt");
    json_decref(json);

    json = parse("{\"object\":\"subscription\",\"id\":\"sub_1\",\"items\":"
                 "{\"data\":[{\"price\":\"a\"},{\"price\":\"a\"},"
                 "{\"price\":\"a\"},{\"price\":\"a\"},{\"price\":\"a\"},"
                 "{\"price\":\"a\"},{\"price\":\"a\"},{\"price\":\"a\"},"
                 "{\"price\":\"a\"},{\"price\":\"b\"}],\"has_more\":false}}");
    ok(lines_stripe_parse_subscription(json, &subscription) == NGX_OK
       && subscription.nprices == LINES_STRIPE_MAX_PRICES
       && !subscription.unpriced, "as many prices as are told");
    is_str(&subscription.prices[9], "b", "... the last one");
    json_decref(json);

    json = parse("{\"object\":\"subscription\",\"id\":\"sub_1\",\"items\":"
                 "{\"data\":[{\"price\":\"a\"}],\"has_more\":true}}");
    ok(lines_stripe_parse_subscription(json, &subscription) == NGX_OK
       && subscription.nprices == 1 && subscription.unpriced,
       "there are others");
    json_decref(json);

    json = parse("{\"object\":\"subscription\",\"id\":\"sub_1\",\"items\":"
                 "{\"data\":[{\"price\":\"a\"},{\"price\":\"a\"},"
                 "{\"price\":\"a\"},{\"price\":\"a\"},{\"price\":\"a\"},"
                 "{\"price\":\"a\"},{\"price\":\"a\"},{\"price\":\"a\"},"
                 "{\"price\":\"a\"},{\"price\":\"a\"},{\"price\":\"b\"}]}}");
    ok(lines_stripe_parse_subscription(json, &subscription) == NGX_OK
       && subscription.nprices == LINES_STRIPE_MAX_PRICES
       && subscription.unpriced, "more prices than there is room for");
    json_decref(json);

    json = parse(
                "{\"object\":\"customer\",\"id\":\"cus_1\",\"default_source\":"
                "\"card_1\",\"invoice_settings\":{\"default_payment_method\":"
                "null}}");
    ok(lines_stripe_parse_customer(json, &customer) == NGX_OK, "customer");
    is_str(&customer.payment_method, "card_1", "a source will do");
    json_decref(json);

    json = parse(
                "{\"object\":\"customer\",\"id\":\"cus_1\",\"default_source\":"
                "\"card_1\",\"invoice_settings\":{\"default_payment_method\":"
                "{\"id\":\"pm_1\"}}}");
    ok(lines_stripe_parse_customer(json, &customer) == NGX_OK, "customer");
    is_str(&customer.payment_method, "pm_1", "a payment method is better");
    json_decref(json);

    json = parse("{\"object\":\"event\",\"id\":\"evt_1\",\"type\":"
                 "\"invoice.paid\",\"livemode\":false,\"data\":{\"object\":"
                 "{\"object\":\"invoice\",\"id\":\"in_1\"}}}");
    ok(lines_stripe_parse_event(json, &event) == NGX_OK
       && event.kind == LINES_STRIPE_INVOICE
       && event.livemode == 0, "an event of an invoice");
    is_str(&event.object.invoice.id, "in_1", "which it names");
    json_decref(json);

    json = parse("{\"object\":\"event\",\"id\":\"evt_1\",\"type\":\"x\"}");
    ok(lines_stripe_parse_event(json, &event) == NGX_OK
       && event.kind == LINES_STRIPE_OTHER
       && event.livemode == -1, "an event of nothing");
    json_decref(json);

    json = parse("{\"object\":\"event\",\"id\":\"evt_1\",\"type\":7}");
    ok(lines_stripe_parse_event(json, &event) == NGX_DECLINED,
       "an event without a type is none");
    json_decref(json);
}


static void
test_errors(void)
{
    unsigned                i;
    json_t                 *json;
    lines_stripe_error_t    error;
    lines_stripe_outcome_e  outcome;

    static const struct {
        ngx_uint_t              status;
        const char             *body;
        ngx_int_t               should_retry;
        lines_stripe_outcome_e  outcome;
    } cases[] = {
        { 200, "{}", -1, LINES_STRIPE_OK },
        { 200, "[]", -1, LINES_STRIPE_UNKNOWN },
        { 200, NULL, -1, LINES_STRIPE_UNKNOWN },
        { 201, "{}", 0, LINES_STRIPE_OK },
        { 301, "{}", -1, LINES_STRIPE_UNKNOWN },
        { 402, "{\"error\":{\"type\":\"card_error\",\"code\":"
               "\"card_declined\",\"decline_code\":\"generic_decline\"}}", -1,
          LINES_STRIPE_REFUSED },
        { 402, "{\"error\":{\"type\":\"card_error\"}}", 0,
          LINES_STRIPE_REFUSED },
        { 400, "{\"error\":{\"type\":\"idempotency_error\"}}", -1,
          LINES_STRIPE_UNKNOWN },
        { 400, "{\"error\":{\"type\":\"invalid_request_error\",\"code\":"
               "\"resource_missing\",\"param\":\"price\"}}", -1,
          LINES_STRIPE_MISSING },
        { 400, "{\"error\":{\"type\":\"invalid_request_error\",\"code\":"
               "\"lock_timeout\"}}", -1, LINES_STRIPE_RETRY },
        { 400, "{\"error\":{\"type\":\"invalid_request_error\"}}", 1,
          LINES_STRIPE_RETRY },
        { 400, "<html>", -1, LINES_STRIPE_UNKNOWN },
        { 404, "{\"error\":{\"type\":\"invalid_request_error\"}}", -1,
          LINES_STRIPE_REFUSED },
        { 404, "{\"error\":\"nginx\"}", -1, LINES_STRIPE_UNKNOWN },
        { 401, "{\"error\":{\"type\":\"invalid_request_error\"}}", -1,
          LINES_STRIPE_ALERT },
        { 403, NULL, -1, LINES_STRIPE_ALERT },
        { 409, "{\"error\":{\"type\":\"idempotency_error\",\"code\":"
               "\"idempotency_key_in_use\"}}", -1, LINES_STRIPE_RETRY },
        { 409, NULL, -1, LINES_STRIPE_RETRY },
        { 429, NULL, 0, LINES_STRIPE_RETRY },
        { 500, "{\"error\":{\"type\":\"api_error\"}}", -1,
          LINES_STRIPE_UNKNOWN },
        { 500, "{\"error\":{\"type\":\"card_error\"}}", 0,
          LINES_STRIPE_UNKNOWN },
        { 503, NULL, 1, LINES_STRIPE_UNKNOWN },
        { 0, NULL, -1, LINES_STRIPE_UNKNOWN }
    };

    for (i = 0; cases[i].status; i++) {
        json = cases[i].body ? json_loads(cases[i].body, 0, NULL) : NULL;

        outcome = lines_stripe_classify(cases[i].status, json,
                                        cases[i].should_retry, &error);

        ok(outcome == cases[i].outcome, "%d %s (%d)", (int) cases[i].status,
           cases[i].body ? cases[i].body : "", (int) cases[i].should_retry);

        if (i == 5) {
            ok(lines_stripe_error_is(&error, "card_declined")
               && !lines_stripe_error_is(&error, "card"), "its code");
            is_str(&error.decline_code, "generic_decline", "and the bank's");
        }

        ok(lines_stripe_missing(&error, "price")
           == (cases[i].outcome == LINES_STRIPE_MISSING)
           && !lines_stripe_missing(&error, "customer"), "what is missing");

        json_decref(json);
    }

    json = json_loads("{\"error\":{\"message\":\"one\\n[alert] \\u007ftwo\"}}", 0,
                      NULL);
    (void) lines_stripe_classify(400, json, -1, &error);
    is_str(&error.message, "one [alert]  two", "a log has it in one line");
    json_decref(json);
}


static void
test_backoff(void)
{
    unsigned    n, random, bad;
    ngx_msec_t  pause;

    bad = 0;

    for (n = 1; n < 100; n++) {
        for (random = 0; random < 1000; random++) {
            pause = lines_stripe_backoff(n, -1, random);

            if (pause < 100 || pause > 2000) {
                bad++;
            }
        }
    }

    ok(bad == 0, "pauses of 0.1 to 2 s");
    ok(lines_stripe_backoff(1, -1, 0) != lines_stripe_backoff(1, -1, 7),
       "with jitter");
    ok(lines_stripe_backoff(1, 7, 3) == 7000, "Retry-After is heeded");
    ok(lines_stripe_backoff(9, 0, 0) >= 100, "and no excuse to hurry");
    ok(lines_stripe_backoff(1, NGX_MAX_INT_T_VALUE, 0) >= 3600 * 1000,
       "nor does a huge one wrap");
}


int
main(void)
{
    test_form();
    test_bodies();
    test_entries();
    test_invoices();
    test_others();
    test_errors();
    test_backoff();

    return done_testing();
}
