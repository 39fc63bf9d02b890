
/*
 * What billing answers.  The first byte says which call it is an answer to, the
 * second how it comes; then a line of HTTP status, a line each of headers up to
 * an empty one, and the body.  Behind "$" is an invoice and what is booked of
 * it, behind any other byte above those of the calls an event of a webhook.
 */

#include "fuzz.h"
#include "billing/billing.c"
#include "billing/money.h"


/* the carrier is the fuzzer */

void
lines_carrier_wait(lines_carrier_t *carrier, ngx_msec_t delay,
    lines_wait_pt handler, void *data)
{
    must(0);
}


/* a call that gives back what a refund of this would ask for */

static void
fuzz_form(ngx_pool_t *pool, lines_stripe_metadata_t *metadata, ngx_str_t *id,
    int64_t amount)
{
    size_t      i;
    ngx_str_t   body, deployment;

    must(lines_stripe_credit_body(pool, id, amount, 0, 0, metadata, &body)
         == NGX_OK);

    for (i = 0; i < body.len; i++) {
        must(body.data[i] > ' ' && body.data[i] < 0x7f);
    }

    deployment = lines_stripe_deployment(&body);
    must(lines_same(&deployment, &metadata->deployment)
         || !lines_is_name(&metadata->deployment));

    must(lines_stripe_refund_body(pool, id, amount, metadata, &body)
         == NGX_OK);
    must(lines_stripe_subscribe_body(pool, id, id, id, metadata, &body)
         == NGX_OK);
    must(lines_stripe_subscribe_body(pool, id, id, NULL, metadata, &body)
         == NGX_OK);
}


static void
fuzz_money(ngx_str_t *text)
{
    json_t                  *json, *entry;
    size_t                   i;
    int64_t                  due, charged, balance, outside;
    ngx_uint_t               asked;
    ngx_array_t             *lists[LINES_STRIPE_DISPUTE + 1];
    lines_money_e            is;
    lines_money_t            money;
    fuzz_request_t           request;
    lines_stripe_entry_t     read, *added;
    lines_stripe_invoice_t   invoice;

    request = fuzz_request();

    if (lines_json_parse(request.pool, text, 0, &json, NULL) != NGX_OK
        || lines_stripe_parse_invoice(json_object_get(json, "invoice"),
                                      &invoice)
           != NGX_OK)
    {
        return;
    }

    for (i = 0; i <= LINES_STRIPE_DISPUTE; i++) {
        lists[i] = ngx_array_create(request.pool, 2,
                                    sizeof(lines_stripe_entry_t));
    }

    json_array_foreach(json_object_get(json, "booked"), i, entry) {

        if (lines_stripe_parse_entry(entry, &read) == NGX_OK) {
            must(read.id.len > 0 && read.kind >= LINES_STRIPE_PAYMENT
                 && read.kind <= LINES_STRIPE_DISPUTE);

            added = ngx_array_push(lists[read.kind]);
            *added = read;
        }
    }

    lines_money_begin(&money, &invoice);

    /* whatever is listed, the walk ends */

    for (asked = 0; money.asks != LINES_STRIPE_OTHER; asked++) {
        must(asked < 4 + 2 * lists[LINES_STRIPE_PAYMENT]->nelts);
        lines_money_listed(&money, lists[money.asks]);
    }

    is = lines_money_close(&money);
    due = lines_money_due(&money);

    must(is > LINES_MONEY_UNSEEN && is < LINES_MONEYS);

    if (is == LINES_MONEY_UNCLEAR) {
        return;
    }

    must(due >= 0);
    must((due > 0) == (is == LINES_MONEY_DUE || is == LINES_MONEY_FAILED));
    must(money.charged >= 0 && money.balance >= 0 && money.outside >= 0
         && money.refunded >= 0 && money.credited >= 0 && money.disputed >= 0);

    lines_money_ways(&money, &charged, &balance, &outside);

    must(charged >= 0 && balance >= 0 && outside >= 0);
    must(charged + balance + outside == due);
    must(charged <= money.charged && balance <= money.balance);
}


static void
fuzz_event(ngx_str_t *body)
{
    json_t                *json;
    fuzz_request_t         request;
    lines_stripe_event_t   event;

    request = fuzz_request();

    if (lines_json_parse(request.pool, body, 0, &json, NULL) != NGX_OK
        || lines_stripe_parse_event(json, &event) != NGX_OK)
    {
        return;
    }

    must(event.id.len > 0);
    must(event.kind <= LINES_STRIPE_DISPUTE);
    must(event.livemode >= -1 && event.livemode <= 1);
    fuzz_touch(&event.id);
    fuzz_touch(&event.type);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                    i;
    fuzz_t                    in = { data, data + size };
    ngx_int_t                 rc;
    ngx_str_t                 line, name;
    ngx_uint_t                kind, how;
    ngx_table_elt_t          *h;
    lines_result_t            answer;
    fuzz_request_t            request;
    lines_carrier_t           carrier;
    lines_billing_conf_t      bcf;
    lines_billing_call_t      call;
    lines_stripe_entry_t     *entry;
    lines_billing_result_t   *result;

    kind = fuzz_byte(&in);
    how = fuzz_byte(&in);
    request = fuzz_request();

    if (kind >= sizeof(billing_kinds) / sizeof(billing_kinds[0])) {
        in.p = ngx_min(data + 1, in.last);
        line = fuzz_rest(&in);

        if (kind == '$') {
            fuzz_money(&line);

        } else {
            fuzz_event(&line);
        }

        fuzz_end();
        return 0;
    }

    ngx_memzero(&answer, sizeof(lines_result_t));
    ngx_memzero(&carrier, sizeof(lines_carrier_t));
    ngx_memzero(&bcf, sizeof(lines_billing_conf_t));
    ngx_memzero(&call, sizeof(lines_billing_call_t));

    carrier.pool = request.pool;
    carrier.log = request.r->connection->log;
    bcf.livemode = how & 1;

    call.carrier = &carrier;
    call.bcf = &bcf;
    call.kind = &billing_kinds[kind];
    call.ask.kind = kind;
    call.ask.limit = how >> 1 & 1;
    call.ask.match.attempt = how >> 2 & 1;
    call.result.subscriptions = ngx_array_create(request.pool, 2,
                                          sizeof(lines_stripe_subscription_t));
    call.result.list = ngx_array_create(request.pool, 2,
                                        sizeof(lines_stripe_entry_t));

    line = fuzz_line(&in);
    answer.transport = how & 0x80 ? how >> 4 & 3 : LINES_COMPLETE;
    answer.status = ngx_max(ngx_atoi(line.data, line.len), 0);
    answer.retry_after = -1;

    answer.headers = ngx_list_create(request.pool, 64,
                                     sizeof(ngx_table_elt_t));

    for (i = 0; i < 60; i++) {
        line = fuzz_line(&in);

        if (line.len == 0) {
            break;
        }

        name = lines_split(&line, ':');
        h = ngx_list_push(answer.headers);
        h->hash = 1;
        h->key = name;
        h->value = line;
    }

    answer.body = fuzz_rest(&in);

    rc = billing_judge(&call, &answer);
    result = &call.result;

    must(rc == NGX_OK || rc == NGX_AGAIN || rc == NGX_ERROR);
    must(rc == NGX_OK || answer.transport == LINES_COMPLETE);
    must(result->outcome <= LINES_STRIPE_UNSENT);
    must(rc != NGX_ERROR || result->outcome == LINES_STRIPE_UNKNOWN
         || result->outcome == LINES_STRIPE_ALERT);
    must(rc != NGX_AGAIN || call.last.len > 0);

    /* a success says what was asked for, and no status but 2xx is one */

    if (result->outcome == LINES_STRIPE_OK) {
        must((answer.status >= 200 && answer.status < 300)
             || call.kind->gone);

    } else {
        fuzz_touch(&result->error.type);
        fuzz_touch(&result->error.code);
        fuzz_touch(&result->error.decline_code);
        fuzz_touch(&result->error.param);
        fuzz_touch(&result->error.message);
    }

    (void) lines_stripe_backoff(how, answer.status, how * 7919);

    if (result->subscription && rc == NGX_OK) {
        must(result->subscription->id.len > 0
             && result->subscription->nprices <= LINES_STRIPE_MAX_PRICES);
        fuzz_form(request.pool, &result->subscription->metadata,
                  &result->subscription->id, how + 1);
    }

    entry = call.result.list->elts;

    for (i = 0; i < call.result.list->nelts; i++) {
        fuzz_touch(&entry[i].id);
        fuzz_touch(&entry[i].status);
        fuzz_touch(&entry[i].invoice);
        fuzz_touch(&entry[i].payment);
    }

    if (result->invoice && rc == NGX_OK) {
        fuzz_form(request.pool, &result->invoice->metadata,
                  &result->invoice->id, how + 1);
    }

    fuzz_end();

    return 0;
}
