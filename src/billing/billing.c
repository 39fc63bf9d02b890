
/*
 * One call to Stripe with its repeats, lists page by page: what is asked is a
 * row of a table, and what is read of the answer a function.
 */

#include "billing/billing.h"
#include "billing/money.h"
#include "http/failpoint.h"
#include "http/headers.h"
#include "http/metrics.h"
#include "http/text.h"


/* pages of five: more might not fit in an answer of 64k; smaller ones then */
#define LINES_BILLING_PAGE   5
#define LINES_BILLING_PAGES  100


typedef struct lines_billing_call_s  lines_billing_call_t;


/*
 * read() takes an object of a 2xx answer and sets what was asked for in
 * call->result: NGX_OK; NGX_DONE: no more of the list is needed; or NGX_ERROR,
 * and the outcome is unknown unless read() has set another.
 */

typedef struct {
    ngx_str_t      name;
    ngx_uint_t     method;
    ngx_int_t    (*read)(lines_billing_call_t *call, json_t *json);
    const char    *before;   /* the path is before, id, after */
    const char    *after;    /* NULL: without an id */
    const char    *whose;    /* the argument that the id is; NULL: none */
    lines_form_t   arg;
    ngx_uint_t     page;     /* of a list, so many at a time; 0: no list */
    ngx_uint_t     gone;     /* flag: 404 is as good as 200 */
} lines_billing_kind_t;


struct lines_billing_call_s {
    lines_carrier_t         *carrier;
    lines_billing_conf_t    *bcf;
    lines_billing_kind_t    *kind;
    lines_billing_ask_t      ask;

    ngx_str_t                uri;
    ngx_str_t                args;

    ngx_msec_t               start;
    ngx_uint_t               tries;     /* of this page */

    /* of lists */
    ngx_uint_t               page;      /* so many at a time */
    ngx_uint_t               pages;
    ngx_str_t                last;      /* id, the page's last */

    union {
        lines_stripe_subscription_t  subscription;
        lines_stripe_invoice_t       invoice;
        lines_stripe_customer_t      customer;
    } object;                           /* that the result points to */

    lines_billing_result_t   result;
    lines_billing_pt         handler;
    void                    *data;
};


/* who asks for such a list goes on with it by what it was read to */
#define billing_in_part(call)                                                 \
    ((call)->ask.kind == LINES_BILLING_FIND                                   \
     || (call)->ask.kind == LINES_BILLING_UNSETTLED)


/* test objects under a live key, or the reverse: not the account we think */

static ngx_int_t
billing_livemode(lines_billing_call_t *call, ngx_uint_t livemode)
{
    if (livemode == call->bcf->livemode) {
        return NGX_OK;
    }

    call->result.outcome = LINES_STRIPE_ALERT;

    ngx_log_error(NGX_LOG_CRIT, call->carrier->log, 0,
                  "lines: billing has an object of livemode %ui "
                  "under a key of livemode %ui", livemode,
                  call->bcf->livemode);

    return NGX_ERROR;
}


/* nothing wanted is anything */

static ngx_uint_t
billing_differs(ngx_str_t *want, ngx_str_t *have)
{
    return want->len && !lines_same(want, have);
}


ngx_uint_t
lines_billing_matches(lines_stripe_metadata_t *want,
    lines_stripe_metadata_t *metadata)
{
    return !billing_differs(&want->deployment, &metadata->deployment)
           && !billing_differs(&want->tenant, &metadata->tenant)
           && !billing_differs(&want->line, &metadata->line)
           && !billing_differs(&want->operation, &metadata->operation)
           && (want->attempt == 0 || want->attempt == metadata->attempt);
}


/* an answer to another call says nothing of this one, whoever mixed them up */

static ngx_int_t
billing_read_subscription(lines_billing_call_t *call, json_t *json)
{
    lines_stripe_subscription_t  *subscription = &call->object.subscription;

    call->result.subscription = subscription;

    return lines_stripe_parse_subscription(json, subscription) == NGX_OK
           && !billing_differs(&call->ask.id, &subscription->id)
           && lines_billing_matches(&call->ask.match, &subscription->metadata)
           ? billing_livemode(call, subscription->livemode) : NGX_ERROR;
}


static ngx_int_t
billing_read_found(lines_billing_call_t *call, json_t *json)
{
    lines_stripe_subscription_t  *subscription, *found;

    subscription = &call->object.subscription;

    if (lines_stripe_parse_subscription(json, subscription) != NGX_OK) {
        return NGX_ERROR;
    }

    call->last = subscription->id;

    if (!lines_billing_matches(&call->ask.match, &subscription->metadata)) {
        return NGX_OK;
    }

    if (billing_livemode(call, subscription->livemode) != NGX_OK) {
        return NGX_ERROR;
    }

    found = ngx_array_push(call->result.subscriptions);
    if (found == NULL) {
        return NGX_ERROR;
    }

    *found = *subscription;

    return NGX_OK;
}


static ngx_int_t
billing_read_invoice(lines_billing_call_t *call, json_t *json)
{
    lines_stripe_invoice_t  *invoice = &call->object.invoice;

    call->result.invoice = invoice;

    return lines_stripe_parse_invoice(json, invoice) == NGX_OK
           && !invoice->untold
           && !billing_differs(&call->ask.id, &invoice->id)
           ? billing_livemode(call, invoice->livemode) : NGX_ERROR;
}


/* it can be paid, or was since */

static ngx_uint_t
billing_unsettled(lines_billing_call_t *call, lines_stripe_invoice_t *invoice)
{
    return lines_is(&invoice->status, "open")
           || lines_is(&invoice->status, "uncollectible")
           || ((invoice->amount_paid > 0 || invoice->balance > 0)
               && !(call->ask.held && invoice->first)
               && (lines_money_late(invoice, call->ask.since)
                   || call->ask.since == 0
                   || (invoice->paid_at == call->ask.since
                       && !billing_differs(&invoice->id, &call->ask.told))));
}


/* an invoice that is not asked for may be paid back to nobody */

static ngx_int_t
billing_read_unsettled(lines_billing_call_t *call, json_t *json)
{
    ngx_uint_t               i;
    lines_stripe_invoice_t  *invoice = &call->object.invoice;

    if (lines_stripe_parse_invoice(json, invoice) != NGX_OK
        || invoice->untold
        || billing_differs(&call->ask.id, &invoice->subscription))
    {
        return NGX_ERROR;
    }

    call->last = invoice->id;

    for (i = 0; i < 2; i++) {
        if (lines_same(&call->ask.known[i], &invoice->id)) {
            call->result.listed |= LINES_LISTED_FIRST << i;
        }
    }

    if (!billing_unsettled(call, invoice)) {
        return NGX_OK;
    }

    call->result.invoice = invoice;

    return billing_livemode(call, invoice->livemode) == NGX_OK ? NGX_DONE
                                                               : NGX_ERROR;
}


static ngx_int_t
billing_read_customer(lines_billing_call_t *call, json_t *json)
{
    lines_stripe_customer_t  *customer = &call->object.customer;

    if (lines_stripe_parse_customer(json, customer) != NGX_OK
        || billing_differs(&call->ask.id, &customer->id))
    {
        return NGX_ERROR;
    }

    call->result.customer = customer;
    call->result.payment_method = customer->payment_method;

    /* what is left of a deleted one does not say */

    return customer->deleted ? NGX_OK
                             : billing_livemode(call, customer->livemode);
}


static ngx_int_t
billing_read_card(lines_billing_call_t *call, json_t *json)
{
    json_t  *id;

    id = json_object_get(json, "id");

    if (!json_is_string(id)) {
        return NGX_ERROR;
    }

    call->result.payment_method.data = (u_char *) json_string_value(id);
    call->result.payment_method.len = json_string_length(id);

    return NGX_DONE;
}


/* no amount is read of it: a note's transaction is not expanded here */

static ngx_int_t
billing_read_given(lines_billing_call_t *call, json_t *json)
{
    lines_stripe_entry_t  entry;

    (void) lines_stripe_parse_entry(json, &entry);

    return entry.kind == LINES_STRIPE_OTHER
           || billing_differs(&call->ask.id, &entry.invoice)
           ? NGX_ERROR : NGX_OK;
}


/* all that is listed must be of what was asked for */

static ngx_int_t
billing_read_entry(lines_billing_call_t *call, json_t *json)
{
    lines_stripe_entry_t  *entry;
    lines_billing_kind_e   kind = call->ask.kind;

    entry = ngx_array_push(call->result.list);

    if (entry == NULL
        || lines_stripe_parse_entry(json, entry) != NGX_OK
        || entry->untold
        || billing_differs(&call->ask.id,
                           kind == LINES_BILLING_PAYMENTS
                           || kind == LINES_BILLING_CREDITS
                           ? &entry->invoice : &entry->payment)
        || (entry->kind != LINES_STRIPE_REFUND
            && billing_livemode(call, entry->livemode) != NGX_OK))
    {
        return NGX_ERROR;
    }

    call->last = entry->id;

    return NGX_OK;
}


/* an object, or those of a page; NGX_AGAIN: another page follows */

static ngx_int_t
billing_read(lines_billing_call_t *call, json_t *json)
{
    size_t       i;
    json_t      *data, *item, *rest;
    ngx_int_t    rc;
    ngx_uint_t   more;

    if (call->kind->page == 0) {
        return call->kind->read(call, json);
    }

    data = json_object_get(json, "data");
    rest = json_object_get(json, "has_more");

    /* what does not say whether that is all is no list, which proves nothing */

    if (!json_is_array(data) || !json_is_boolean(rest)) {
        return NGX_ERROR;
    }

    json_array_foreach(data, i, item) {
        rc = call->kind->read(call, item);

        if (rc != NGX_OK) {
            return rc == NGX_DONE ? NGX_OK : rc;
        }
    }

    more = json_is_true(rest);

    /* a list that has more, and a page with nothing in it, has no end */

    if (more && i == 0) {
        return NGX_ERROR;
    }

    /* who wants pages asks for the next one himself */

    if (call->ask.limit) {
        if (more) {
            call->result.after = call->last;
        }

        return NGX_OK;
    }

    /* one attempt has one subscription at most */

    if (call->ask.match.attempt && call->result.subscriptions->nelts) {
        return NGX_OK;
    }

    return more ? NGX_AGAIN : NGX_OK;
}


#define billing_kind(text, by, what, path)                                    \
    .name = ngx_string(text), .method = by, .read = billing_read_##what,      \
    .before = path
#define billing_get(text, what, path)                                         \
    billing_kind(text, NGX_HTTP_GET, what, path)
#define billing_post(text, what, path)                                        \
    billing_kind(text, NGX_HTTP_POST, what, path)
#define billing_list(text, what, path, id)                                    \
    billing_get(text, what, path), .whose = id, .page = LINES_BILLING_PAGE


/* by lines_billing_kind_e */

static lines_billing_kind_t  billing_kinds[] = {

    { billing_post("subscribe", subscription, "v1/subscriptions") },

    { billing_get("subscription", subscription, "v1/subscriptions/"),
      .after = "", .arg = { "expand[0]", ngx_string("latest_invoice") } },

    { billing_kind("cancel", NGX_HTTP_DELETE, subscription,
                   "v1/subscriptions/"), .after = "", .gone = 1 },

    { billing_list("subscriptions", found, "v1/subscriptions",
                   "status=all&customer") },

    { billing_get("invoice", invoice, "v1/invoices/"), .after = "" },
    { billing_list("invoices", unsettled, "v1/invoices", "subscription") },
    { billing_post("void", invoice, "v1/invoices/"), .after = "/void" },

    { billing_get("customer", customer, "v1/customers/"), .after = "" },
    { billing_get("card", card, "v1/customers/"), .after = "/payment_methods",
      .arg = { "type", ngx_string("card") }, .page = 1 },

    { billing_post("credit", given, "v1/credit_notes") },
    { billing_post("refund", given, "v1/refunds") },

    { billing_list("payments", entry, "v1/invoice_payments", "invoice") },
    { billing_list("credits", entry, "v1/credit_notes", "invoice"),
      .arg = { "expand[0]",
               ngx_string("data.customer_balance_transaction") } },
    { billing_list("refunds", entry, "v1/refunds", "charge") },
    { billing_list("disputes", entry, "v1/disputes", "charge") },
    { billing_list("paid", entry, "v1/invoice_payments",
                   "payment[type]=payment_intent&payment[payment_intent]") },

    { billing_post("anchor", customer, "v1/customers/"), .after = "" }
};


/*
 * Whether a smaller page may fit where this one did not.  Of everybody's lists,
 * that is the auditor's to see.
 */

static ngx_uint_t
billing_halved(lines_billing_call_t *call, lines_result_t *answer)
{
    if (call->page == 0 || call->ask.all || answer->begun != NGX_HTTP_OK) {
        return 0;
    }

    if (call->page == 1) {
        ngx_log_error(NGX_LOG_ERR, call->carrier->log, 0,
                      "lines: billing %V: what follows \"%V\" has no whole "
                      "answer even alone: \"subrequest_output_buffer_size\" of "
                      "\"%V\" must be larger, if it is that",
                      &call->kind->name, &call->last, &call->bcf->uri);
        return 0;
    }

    call->page /= 2;

    ngx_log_error(NGX_LOG_WARN, call->carrier->log, 0,
                  "lines: billing %V: a page has no whole answer, one of %ui "
                  "is asked for", &call->kind->name, call->page);

    return 1;
}


static ngx_str_t
billing_header(lines_result_t *answer, const char *name)
{
    ngx_str_t         none = ngx_null_string;
    ngx_table_elt_t  *h;

    h = answer->headers ? lines_header_in(answer->headers, name, NULL) : NULL;

    return h ? h->value : none;
}


/* what Stripe says beside the body */

static void
billing_headers(lines_result_t *answer, lines_billing_result_t *result)
{
    ngx_str_t  retry, replayed, date;

    retry = billing_header(answer, "stripe-should-retry");
    replayed = billing_header(answer, "idempotent-replayed");
    date = billing_header(answer, "date");

    result->should_retry = lines_is_nocase(&retry, "true") ? 1
                           : lines_is_nocase(&retry, "false") ? 0 : -1;
    result->replayed = lines_is_nocase(&replayed, "true");
    result->request_id = billing_header(answer, "request-id");
    result->date = ngx_max(ngx_parse_http_time(date.data, date.len), 0);
}


/*
 * What a call made, by billing's own clock, before it was sent: an answer of
 * before that does not say so.  Two seconds are those that both instants are cut
 * to.
 */

static ngx_uint_t
billing_older(lines_billing_call_t *call, json_t *json)
{
    time_t  took;

    took = (ngx_current_msec - call->start) / 1000;

    return call->kind->method == NGX_HTTP_POST && call->kind->after == NULL
           && call->result.date - took - 2
              > json_integer_value(json_object_get(json, "created"));
}


/* sets the outcome; NGX_AGAIN: there is more to ask for */

static ngx_int_t
billing_judge(lines_billing_call_t *call, lines_result_t *answer)
{
    json_t                  *json;
    ngx_int_t                rc;
    lines_billing_result_t  *result = &call->result;

    result->status = answer->status;
    result->retry_after = answer->retry_after;

    billing_headers(answer, result);

    ngx_memzero(&result->error, sizeof(lines_stripe_error_t));

    if (answer->transport != LINES_COMPLETE) {
        result->outcome = answer->transport == LINES_UNSENT
                          ? LINES_STRIPE_UNSENT
                          : LINES_STRIPE_UNKNOWN;
        return NGX_OK;
    }

    if (lines_json_parse(call->carrier->pool, &answer->body, 0, &json, NULL)
        != NGX_OK)
    {
        json = NULL;
    }

    result->outcome = lines_stripe_classify(answer->status, json,
                                            result->should_retry,
                                            &result->error);

    if (call->kind->gone && result->outcome == LINES_STRIPE_MISSING) {
        ngx_memzero(&result->error, sizeof(lines_stripe_error_t));
        result->outcome = LINES_STRIPE_OK;
        return NGX_OK;
    }

    if (result->outcome != LINES_STRIPE_OK) {
        return NGX_OK;
    }

    if (billing_older(call, json)) {
        result->replayed = 1;
    }

    rc = billing_read(call, json);

    if (rc == NGX_ERROR) {

        if (result->outcome == LINES_STRIPE_OK) {
            result->outcome = LINES_STRIPE_UNKNOWN;
        }

        ngx_log_error(NGX_LOG_ERR, call->carrier->log, 0,
                      "lines: billing answered %V with %ui, but not with "
                      "what was asked for", &call->kind->name, answer->status);
    }

    return rc;
}


/* 409 and 429 only, and within the budget */

static ngx_uint_t
billing_pause(lines_billing_call_t *call, ngx_msec_t *pause)
{
    ngx_msec_t  elapsed;

    if (call->result.should_retry == 0) {
        return 0;
    }

    elapsed = ngx_current_msec - call->start;

    *pause = lines_stripe_backoff(call->tries, call->result.retry_after,
                                  ngx_random());

    return elapsed + *pause < ngx_min(call->bcf->budget, call->bcf->timeout);
}


static ngx_int_t billing_page(lines_billing_call_t *call);
static ngx_int_t billing_send(lines_billing_call_t *call);
static void billing_turn(void *data);
static ngx_int_t billing_request(lines_billing_call_t *call);
static void billing_again(void *data);
static void billing_answered(void *data, lines_result_t *answer);
static void billing_done(lines_billing_call_t *call);


ngx_int_t
lines_billing_ask(lines_carrier_t *carrier, lines_billing_ask_t *ask,
    lines_billing_pt handler, void *data)
{
    ngx_str_t              id;
    ngx_pool_t            *pool;
    lines_billing_call_t  *call;
    lines_billing_kind_t  *kind;

    if (carrier->lmcf->billing == NULL) {
        ngx_log_error(NGX_LOG_ERR, carrier->log, 0,
                      "lines: a billing call without \"lines_billing\"");
        return NGX_ERROR;
    }

    pool = carrier->pool;
    kind = &billing_kinds[ask->kind];

    call = ngx_pcalloc(pool, sizeof(lines_billing_call_t));
    if (call == NULL) {
        return NGX_ERROR;
    }

    call->carrier = carrier;
    call->bcf = carrier->lmcf->billing;
    call->kind = kind;
    call->ask = *ask;
    call->last = ask->after;
    call->page = ask->limit ? ask->limit : kind->page;
    call->handler = handler;
    call->data = data;
    call->start = ngx_current_msec;

    ngx_str_null(&id);

    /*
     * An empty id would name the collection, a path of another kind, or the
     * list of everybody's, which nobody is to ask for by mistake.
     */

    if ((ask->all ? kind->whose == NULL || ask->id.len
                  : (kind->after || kind->whose) && ask->id.len == 0)
        || (kind->after && lines_form_escape(pool, &ask->id, &id) != NGX_OK)
        || lines_redis_format(pool, &call->uri, "%V%s%V%s", &call->bcf->uri,
                              kind->before, &id,
                              kind->after ? kind->after : "")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (kind->read == billing_read_found) {
        call->result.subscriptions = ngx_array_create(pool, 4,
                                          sizeof(lines_stripe_subscription_t));
        if (call->result.subscriptions == NULL) {
            return NGX_ERROR;
        }
    }

    if (kind->read == billing_read_entry) {
        call->result.list = ngx_array_create(pool, 4,
                                             sizeof(lines_stripe_entry_t));
        if (call->result.list == NULL) {
            return NGX_ERROR;
        }
    }

    return billing_page(call);
}


/* what follows call->last; NGX_ERROR: no more of it by this call */

static ngx_int_t
billing_page(lines_billing_call_t *call)
{
    const char            *whose;
    lines_billing_ask_t   *ask = &call->ask;
    lines_billing_kind_t  *kind = call->kind;

    /* so late that the next one might not be answered in time */

    if (call->pages == LINES_BILLING_PAGES
        || (call->pages
            && ngx_current_msec - call->start >= call->bcf->timeout / 2))
    {
        return NGX_ERROR;
    }

    call->pages++;

    whose = ask->kind == LINES_BILLING_REFUNDS
            || ask->kind == LINES_BILLING_DISPUTES
            ? lines_stripe_payment_param(&ask->id) : kind->whose;

    /* when an invoice was paid, no argument asks for */

    if (lines_form(call->carrier->pool, &call->args,
            { lines_form_if(!ask->all, whose), ask->id },
            { lines_form_if(ask->ended, "status"), ngx_string("ended") },
            { lines_form_if(kind->whose && ask->price.len, "price"),
              ask->price },
            { lines_form_if(ask->since && ask->kind != LINES_BILLING_UNSETTLED,
                            "created[gte]"),
              lines_form_number(ask->since) },
            kind->arg,
            { lines_form_if(kind->page, "limit"),
              lines_form_number(call->page) },
            { lines_form_if(kind->page && call->last.len, "starting_after"),
              call->last })
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    call->tries = 0;

    return billing_send(call);
}


static ngx_int_t
billing_send(lines_billing_call_t *call)
{
    /* so that there is time for its answer */

    return lines_budget_wait(call->carrier, call->ask.rank,
                             ngx_min(call->bcf->budget,
                                     call->bcf->timeout / 2),
                             billing_turn, call) == NGX_AGAIN
           ? NGX_AGAIN : billing_request(call);
}


static void
billing_turn(void *data)
{
    lines_billing_call_t  *call = data;

    lines_billing_result_t  *result = &call->result;

    if (call->carrier->late) {
        lines_budget_refused();

    } else if (billing_request(call) == NGX_AGAIN) {
        return;
    }

    /* what was answered before is so yet; of a list a part proves nothing, and
       what it waited for was not asked */

    if (result->outcome != LINES_STRIPE_RETRY) {
        result->outcome = LINES_STRIPE_UNSENT;
    }

    billing_done(call);
}


static ngx_int_t
billing_request(lines_billing_call_t *call)
{
    ngx_int_t     rc;
    ngx_msec_t    elapsed;
    lines_call_t  request;

    ngx_keyval_t  headers[] = {
        { ngx_string("Stripe-Version"), call->bcf->version },

        /* of a POST */

        { ngx_string("Content-Type"),
          ngx_string("application/x-www-form-urlencoded") },
        { ngx_string("Idempotency-Key"), call->ask.key }
    };

    elapsed = ngx_current_msec - call->start;

    if (elapsed >= call->bcf->timeout) {
        return NGX_ERROR;
    }

    request = (lines_call_t) {
        .method = call->kind->method,
        .uri = call->uri,
        .args = call->args,
        .headers = headers,
        .nheaders = call->kind->method == NGX_HTTP_POST ? 3 : 1,
        .body = call->ask.body,
        .timeout = call->bcf->timeout - elapsed,
        .of = call->bcf
    };

    call->tries++;
    call->result.tries++;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, call->carrier->log, 0,
                   "lines billing %V: %V \"%V\" try %ui", &call->carrier->id,
                   &call->kind->name, &call->uri, call->tries);

    LINES_FAILPOINT_STEP("billing.before", &call->kind->name);

    rc = lines_carrier_call(call->carrier, &request, billing_answered, call);

    if (rc != NGX_AGAIN) {
        call->tries--;
        call->result.tries--;
    }

    return rc;
}


static void
billing_again(void *data)
{
    lines_billing_call_t  *call = data;

    if (billing_send(call) != NGX_AGAIN) {
        billing_done(call);
    }
}


static void
billing_answered(void *data, lines_result_t *answer)
{
    lines_billing_call_t  *call = data;

    ngx_int_t                rc;
    ngx_msec_t               pause;
    lines_billing_result_t  *result;

    LINES_FAILPOINT_STEP("billing.after", &call->kind->name);

    result = &call->result;

    if (billing_halved(call, answer)) {

        if (billing_page(call) == NGX_AGAIN) {
            return;
        }

        /* from there, another time; but only where it came any further */

        if (billing_in_part(call)
            && !lines_same(&call->last, &call->ask.after))
        {
            result->after = call->last;
        }
    }

    rc = billing_judge(call, answer);

    if (rc == NGX_AGAIN) {

        if (billing_page(call) == NGX_AGAIN) {
            return;
        }

        result->after = call->last;

        if (!billing_in_part(call)) {
            result->outcome = LINES_STRIPE_UNKNOWN;
        }
    }

    if (result->outcome == LINES_STRIPE_RETRY && billing_pause(call, &pause)) {
        ngx_log_error(NGX_LOG_WARN, call->carrier->log, 0,
                      "lines: billing answered %V with %ui, again in %M ms",
                      &call->kind->name, result->status, pause);

        lines_carrier_wait(call->carrier, pause, billing_again, call);
        return;
    }

    billing_done(call);
}


/* the one place that every outcome passes */

static void
billing_done(lines_billing_call_t *call)
{
    ngx_uint_t               level;
    ngx_msec_t               elapsed;
    lines_billing_result_t  *result = &call->result;

    static const struct {
        const char   *name;
        ngx_uint_t    level;
    } outcomes[] = {
        { "ok", NGX_LOG_DEBUG },
        { "refused", NGX_LOG_INFO },
        { "missing", NGX_LOG_INFO },
        { "alert", NGX_LOG_CRIT },
        { "retry", NGX_LOG_ERR },
        { "unknown", NGX_LOG_ERR },
        { "unsent", NGX_LOG_ERR }
    };

    elapsed = ngx_current_msec - call->start;

    lines_metrics_inc(billing_calls[result->outcome]);
    lines_histogram_add(&lines_metrics->billing_latency, elapsed);

    if (result->status) {
        lines_metrics->billing_up = ngx_current_msec;

    } else if (result->tries) {
        lines_metrics->billing_down = ngx_current_msec;
    }

    if (result->outcome == LINES_STRIPE_OK) {
        ngx_log_debug5(NGX_LOG_DEBUG_HTTP, call->carrier->log, 0,
                       "lines billing %V: %V ok, %ui, %ui tries, %M ms",
                       &call->carrier->id, &call->kind->name, result->status,
                       result->tries, elapsed);

    } else {
        level = result->tries ? outcomes[result->outcome].level : NGX_LOG_INFO;

        ngx_log_error(level, call->carrier->log, 0,
                      "lines: billing %V: %s, status %ui, type \"%V\", "
                      "code \"%V\", param \"%V\", request \"%V\", "
                      "%ui tries, %M ms", &call->kind->name,
                      outcomes[result->outcome].name, result->status,
                      &result->error.type, &result->error.code,
                      &result->error.param, &result->request_id,
                      result->tries, elapsed);

        result->subscription = NULL;
        result->invoice = NULL;
        result->customer = NULL;
        result->subscriptions = NULL;
        result->list = NULL;
    }

    call->handler(call->data, result);
}
