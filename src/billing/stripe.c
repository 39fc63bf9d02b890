
#include "billing/stripe.h"


#define LINES_STRIPE_BACKOFF      200     /* ms before the second try */
#define LINES_STRIPE_BACKOFF_MAX  2000

#define stripe_metadata_rows(metadata)                                        \
    { "metadata[lines_deployment]", (metadata)->deployment },                 \
    { "metadata[tenant]", (metadata)->tenant },                               \
    { lines_form_if((metadata)->line.len, "metadata[line_request]"),          \
      (metadata)->line },                                                     \
    { lines_form_if((metadata)->operation.len, "metadata[operation]"),        \
      (metadata)->operation },                                                \
    { lines_form_if((metadata)->attempt, "metadata[attempt]"),                \
      lines_form_number((metadata)->attempt) }


/* the document is ours, and what it says is shown by logs: line by line */

static void
stripe_string(json_t *json, const char *name, ngx_str_t *value)
{
    size_t   i;
    json_t  *member;

    member = json_object_get(json, name);

    if (!json_is_string(member)) {
        return;
    }

    value->data = (u_char *) json_string_value(member);
    value->len = json_string_length(member);

    for (i = 0; i < value->len; i++) {
        if (value->data[i] < 0x20 || value->data[i] == 0x7f) {
            value->data[i] = ' ';
        }
    }
}


/* the id of what may be expanded */

static void
stripe_reference(json_t *json, const char *name, ngx_str_t *id)
{
    json_t  *member;

    member = json_object_get(json, name);

    stripe_string(json_is_object(member) ? member : json,
                  json_is_object(member) ? "id" : name, id);
}


static int64_t
stripe_number(json_t *json, const char *name)
{
    return json_integer_value(json_object_get(json, name));
}


static ngx_uint_t
stripe_flag(json_t *json, const char *name)
{
    return json_is_true(json_object_get(json, name));
}


static ngx_uint_t
stripe_object(json_t *json, const char *kind, ngx_str_t *id)
{
    ngx_str_t  object = ngx_null_string;

    stripe_string(json, "object", &object);
    stripe_string(json, "id", id);

    return lines_is(&object, kind) && id->len != 0;
}


static void
stripe_payment(json_t *json, ngx_str_t *payment)
{
    stripe_reference(json, "payment_intent", payment);

    if (payment->len == 0) {
        stripe_reference(json, "charge", payment);
    }
}


static void
stripe_parse_metadata(json_t *json, lines_stripe_metadata_t *metadata)
{
    ngx_int_t  n;
    ngx_str_t  attempt = ngx_null_string;

    ngx_memzero(metadata, sizeof(lines_stripe_metadata_t));

    stripe_string(json, "lines_deployment", &metadata->deployment);
    stripe_string(json, "tenant", &metadata->tenant);
    stripe_string(json, "line_request", &metadata->line);
    stripe_string(json, "operation", &metadata->operation);
    stripe_string(json, "attempt", &attempt);

    n = ngx_atoi(attempt.data, attempt.len);

    metadata->attempt = ngx_max(n, 0);
}


static void
stripe_prices(json_t *json, lines_stripe_subscription_t *subscription)
{
    size_t      i;
    json_t     *items, *item;
    ngx_str_t  *price;

    items = json_object_get(json, "items");

    subscription->unpriced = stripe_flag(items, "has_more");

    items = json_object_get(items, "data");

    json_array_foreach(items, i, item) {

        if (subscription->nprices == LINES_STRIPE_MAX_PRICES) {
            subscription->unpriced = 1;
            break;
        }

        price = &subscription->prices[subscription->nprices];

        stripe_reference(item, "price", price);

        if (price->len) {
            subscription->nprices++;
        }
    }
}


/* before invoices told their subscription's metadata, their items did */

static void
stripe_item_metadata(json_t *json, lines_stripe_metadata_t *metadata)
{
    size_t   i;
    json_t  *item;

    json = json_object_get(json_object_get(json, "lines"), "data");

    json_array_foreach(json, i, item) {

        if (metadata->deployment.len) {
            return;
        }

        stripe_parse_metadata(json_object_get(item, "metadata"), metadata);
    }
}


ngx_int_t
lines_stripe_parse_invoice(json_t *json, lines_stripe_invoice_t *invoice)
{
    json_t     *details;
    ngx_str_t   reason;

    ngx_memzero(invoice, sizeof(lines_stripe_invoice_t));

    if (!stripe_object(json, "invoice", &invoice->id)) {
        return NGX_DECLINED;
    }

    stripe_string(json, "status", &invoice->status);
    stripe_reference(json, "customer", &invoice->customer);
    stripe_string(json, "hosted_invoice_url", &invoice->url);

    invoice->amount_paid = stripe_number(json, "amount_paid");
    invoice->untold = !json_is_integer(json_object_get(json, "amount_paid"));
    invoice->livemode = stripe_flag(json, "livemode");

    /* what a draft will take is not known yet */

    if (json_is_integer(json_object_get(json, "ending_balance"))) {
        invoice->balance = stripe_number(json, "ending_balance")
                           - stripe_number(json, "starting_balance");
    }

    invoice->overpaid = stripe_number(json, "amount_overpaid");
    invoice->noted = stripe_number(json, "post_payment_credit_notes_amount");

    ngx_str_null(&reason);
    stripe_string(json, "billing_reason", &reason);
    invoice->first = lines_is(&reason, "subscription_create");

    details = json_object_get(json, "status_transitions");
    invoice->paid_at = stripe_number(details, "paid_at");

    /* a part of it may have been paid until then */

    if (invoice->paid_at == 0) {
        invoice->paid_at = stripe_number(details, "voided_at");
    }

    stripe_string(json, "currency", &invoice->currency);

    stripe_parse_metadata(json_object_get(json, "metadata"),
                          &invoice->metadata);

    /* versions of 2025 and later, then the two older forms */

    details = json_object_get(json_object_get(json, "parent"),
                              "subscription_details");

    if (!json_is_object(details)) {
        details = json_object_get(json, "subscription_details");
    }

    stripe_reference(details, "subscription", &invoice->subscription);

    if (invoice->subscription.len == 0) {
        stripe_reference(json, "subscription", &invoice->subscription);
    }

    if (json_object_size(json_object_get(details, "metadata"))) {
        stripe_parse_metadata(json_object_get(details, "metadata"),
                              &invoice->metadata);

    } else if (details == NULL) {
        stripe_item_metadata(json, &invoice->metadata);
    }

    return NGX_OK;
}


ngx_int_t
lines_stripe_parse_subscription(json_t *json,
    lines_stripe_subscription_t *subscription)
{
    json_t  *invoice;

    ngx_memzero(subscription, sizeof(lines_stripe_subscription_t));

    if (!stripe_object(json, "subscription", &subscription->id)) {
        return NGX_DECLINED;
    }

    stripe_string(json, "status", &subscription->status);
    stripe_reference(json, "customer", &subscription->customer);
    stripe_prices(json, subscription);

    subscription->livemode = stripe_flag(json, "livemode");
    subscription->created = stripe_number(json, "created");
    subscription->ended = stripe_number(json, "ended_at");

    stripe_parse_metadata(json_object_get(json, "metadata"),
                          &subscription->metadata);

    invoice = json_object_get(json, "latest_invoice");

    if (json_is_object(invoice)) {
        (void) lines_stripe_parse_invoice(invoice, &subscription->invoice);

    } else {
        stripe_string(json, "latest_invoice", &subscription->invoice.id);
    }

    return NGX_OK;
}


ngx_int_t
lines_stripe_parse_customer(json_t *json, lines_stripe_customer_t *customer)
{
    ngx_memzero(customer, sizeof(lines_stripe_customer_t));

    if (!stripe_object(json, "customer", &customer->id)) {
        return NGX_DECLINED;
    }

    customer->deleted = stripe_flag(json, "deleted");
    customer->livemode = stripe_flag(json, "livemode");

    stripe_reference(json_object_get(json, "invoice_settings"),
                     "default_payment_method", &customer->payment_method);

    if (customer->payment_method.len == 0) {
        stripe_reference(json, "default_source", &customer->payment_method);
    }

    stripe_string(json_object_get(json, "metadata"), "lines_database",
                  &customer->database);

    return NGX_OK;
}


ngx_int_t
lines_stripe_parse_entry(json_t *json, lines_stripe_entry_t *entry)
{
    json_t      *amount, *payment;
    ngx_uint_t   i;

    static const struct {
        const char             *object;
        lines_stripe_object_e   kind;
        const char             *amount;
    } kinds[] = {
        { "invoice_payment", LINES_STRIPE_PAYMENT, "amount_paid" },
        { "credit_note", LINES_STRIPE_CREDIT, "amount" },
        { "refund", LINES_STRIPE_REFUND, "amount" },
        { "dispute", LINES_STRIPE_DISPUTE, "amount" }
    };

    ngx_memzero(entry, sizeof(lines_stripe_entry_t));

    for (i = 0; !stripe_object(json, kinds[i].object, &entry->id); ) {
        if (++i == sizeof(kinds) / sizeof(kinds[0])) {
            return NGX_DECLINED;
        }
    }

    entry->kind = kinds[i].kind;

    stripe_string(json, "status", &entry->status);
    stripe_reference(json, "invoice", &entry->invoice);
    stripe_string(json, "currency", &entry->currency);

    payment = json_object_get(json, "payment");
    stripe_payment(json_is_object(payment) ? payment : json, &entry->payment);

    entry->paid_at = stripe_number(json_object_get(json, "status_transitions"),
                                   "paid_at");

    /* a transaction of less than nothing is what the customer gets */

    amount = json_object_get(json, "customer_balance_transaction");

    entry->amount = stripe_number(json, kinds[i].amount);
    entry->untold = !json_is_integer(json_object_get(json, kinds[i].amount))
                    && (entry->kind != LINES_STRIPE_PAYMENT
                        || lines_is(&entry->status, "paid"));
    entry->balance = -stripe_number(amount, "amount");
    entry->outside = stripe_number(json, "out_of_band_amount");
    entry->created = stripe_number(json, "created");
    entry->livemode = stripe_flag(json, "livemode");

    /* one that was not expanded tells nothing */

    return json_is_string(amount) ? NGX_DECLINED : NGX_OK;
}


ngx_int_t
lines_stripe_parse_event(json_t *json, lines_stripe_event_t *event)
{
    json_t  *livemode, *object;

    ngx_memzero(event, sizeof(lines_stripe_event_t));

    if (!stripe_object(json, "event", &event->id)) {
        return NGX_DECLINED;
    }

    stripe_string(json, "type", &event->type);

    if (event->type.len == 0) {
        return NGX_DECLINED;
    }

    livemode = json_object_get(json, "livemode");
    event->livemode = json_is_boolean(livemode) ? json_is_true(livemode) : -1;

    object = json_object_get(json_object_get(json, "data"), "object");

    if (lines_stripe_parse_invoice(object, &event->object.invoice) == NGX_OK) {
        event->kind = LINES_STRIPE_INVOICE;

    } else if (lines_stripe_parse_subscription(object,
                                                   &event->object.subscription)
               == NGX_OK)
    {
        event->kind = LINES_STRIPE_SUBSCRIPTION;

    } else if (lines_stripe_parse_entry(object, &event->object.entry)
               == NGX_OK)
    {
        event->kind = event->object.entry.kind;
    }

    return NGX_OK;
}


ngx_int_t
lines_stripe_subscribe_body(ngx_pool_t *pool, ngx_str_t *customer,
    ngx_str_t *price, ngx_str_t *card, lines_stripe_metadata_t *metadata,
    ngx_str_t *body)
{
    ngx_str_t  behavior, none = ngx_null_string;

    ngx_str_set(&behavior, "default_incomplete");

    if (card) {
        ngx_str_set(&behavior, "error_if_incomplete");
    }

    return lines_form(pool, body,
        { "customer", *customer },
        { "items[0][price]", *price },
        { lines_form_if(!card, "items[0][quantity]"), ngx_string("1") },

        /* cards of the older kind, "card_…" and "src_…", are taken as well */

        { lines_form_if(card, "default_payment_method"), card ? *card : none },
        { "payment_behavior", behavior },
        { lines_form_if(card, "off_session"), ngx_string("true") },
        { lines_form_if(!card,
                        "payment_settings[save_default_payment_method]"),
          ngx_string("on_subscription") },

        /*
         * Bank debits stay "processing" for days, neither paid nor voidable;
         * and what is charged at once would be active before it is paid.
         */

        { "payment_settings[payment_method_types][0]", ngx_string("card") },
        stripe_metadata_rows(metadata),
        { "expand[0]", ngx_string("latest_invoice") });
}


ngx_int_t
lines_stripe_credit_body(ngx_pool_t *pool, ngx_str_t *invoice, int64_t charged,
    int64_t balance, int64_t outside, lines_stripe_metadata_t *metadata,
    ngx_str_t *body)
{
    return lines_form(pool, body,
        { "invoice", *invoice },
        { "amount", lines_form_number(charged + balance + outside) },
        { lines_form_if(charged, "refund_amount"),
          lines_form_number(charged) },
        { lines_form_if(balance, "credit_amount"),
          lines_form_number(balance) },
        { lines_form_if(outside, "out_of_band_amount"),
          lines_form_number(outside) },
        stripe_metadata_rows(metadata));
}


ngx_int_t
lines_stripe_refund_body(ngx_pool_t *pool, ngx_str_t *payment, int64_t amount,
    lines_stripe_metadata_t *metadata, ngx_str_t *body)
{
    return lines_form(pool, body,
        { lines_stripe_payment_param(payment), *payment },
        { "amount", lines_form_number(amount) },
        stripe_metadata_rows(metadata));
}


ngx_str_t
lines_stripe_deployment(ngx_str_t *body)
{
    u_char     *end, *last;
    ngx_str_t   name = ngx_null_string;

    static const char  field[] = "metadata[lines_deployment]=";

    if (body->len == 0) {
        return name;
    }

    /* brackets of values are escaped, and a name needs no escape */

    last = body->data + body->len;
    name.data = memmem(body->data, body->len, field, sizeof(field) - 1);

    if (name.data) {
        name.data += sizeof(field) - 1;
        end = ngx_strlchr(name.data, last, '&');
        name.len = (end ? end : last) - name.data;
    }

    return name;
}


const char *
lines_stripe_payment_param(ngx_str_t *payment)
{
    return payment->len > 3 && ngx_strncmp(payment->data, "pi_", 3) == 0
           ? "payment_intent" : "charge";
}


lines_stripe_outcome_e
lines_stripe_classify(ngx_uint_t status, json_t *body, ngx_int_t should_retry,
    lines_stripe_error_t *error)
{
    json_t  *object;

    ngx_memzero(error, sizeof(lines_stripe_error_t));

    if (status >= 200 && status < 300) {

        /* Stripe always says what it made; a 200 of something else is none */

        return json_is_object(body) ? LINES_STRIPE_OK : LINES_STRIPE_UNKNOWN;
    }

    object = json_object_get(body, "error");

    stripe_string(object, "type", &error->type);
    stripe_string(object, "code", &error->code);
    stripe_string(object, "decline_code", &error->decline_code);
    stripe_string(object, "param", &error->param);
    stripe_string(object, "message", &error->message);

    /* a proxy or a firewall in between may answer 4xx too: not Stripe's word */

    if (status < 400
        || status >= 500
        || (lines_is(&error->type, "idempotency_error")
            && !lines_is(&error->code, "idempotency_key_in_use")))
    {
        return LINES_STRIPE_UNKNOWN;
    }

    if (status == 409
        || status == 429
        || lines_is(&error->code, "idempotency_key_in_use")
        || lines_is(&error->code, "lock_timeout")
        || lines_is(&error->code, "rate_limit")
        || should_retry == 1)
    {
        return LINES_STRIPE_RETRY;
    }

    if (status == 401 || status == 403) {
        return LINES_STRIPE_ALERT;
    }

    if (lines_stripe_error_is(error, "resource_missing")) {
        return LINES_STRIPE_MISSING;
    }

    return error->type.len ? LINES_STRIPE_REFUSED : LINES_STRIPE_UNKNOWN;
}


ngx_uint_t
lines_stripe_missing(lines_stripe_error_t *error, const char *param)
{
    return lines_stripe_error_is(error, "resource_missing")
           && lines_is(&error->param, param);
}


ngx_msec_t
lines_stripe_backoff(ngx_uint_t n, time_t retry_after, ngx_uint_t random)
{
    ngx_msec_t  pause;

    pause = ngx_min(LINES_STRIPE_BACKOFF << ngx_min(n - 1, 8),
                    LINES_STRIPE_BACKOFF_MAX);
    pause = pause / 2 + random % (pause / 2 + 1);

    /* an hour is beyond any budget; a huge number must not wrap */

    retry_after = ngx_max(ngx_min(retry_after, 3600), 0);

    return ngx_max(pause, (ngx_msec_t) retry_after * 1000);
}


ngx_int_t
lines_form_write(ngx_pool_t *pool, ngx_str_t *form, const lines_form_t *rows,
    ngx_uint_t n)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i;

    len = 0;

    for (i = 0; i < n; i++) {
        if (rows[i].name) {
            len += ngx_strlen(rows[i].name) + 3 * rows[i].value.len + 2;
        }
    }

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    form->data = p;

    for (i = 0; i < n; i++) {

        if (rows[i].name == NULL) {
            continue;
        }

        if (p != form->data) {
            *p++ = '&';
        }

        /* brackets as they are: so do Stripe's own libraries */

        p = ngx_cpymem(p, rows[i].name, ngx_strlen(rows[i].name));
        *p++ = '=';
        p = (u_char *) ngx_escape_uri(p, rows[i].value.data,
                                      rows[i].value.len,
                                      NGX_ESCAPE_URI_COMPONENT);
    }

    form->len = p - form->data;

    return NGX_OK;
}


ngx_str_t
lines_form_digits(u_char *buf, int64_t number)
{
    ngx_str_t  value;

    value.data = buf;
    value.len = ngx_sprintf(buf, "%L", number) - buf;

    return value;
}


ngx_int_t
lines_form_escape(ngx_pool_t *pool, ngx_str_t *value, ngx_str_t *escaped)
{
    u_char  *last;

    escaped->data = ngx_pnalloc(pool, 3 * value->len);
    if (escaped->data == NULL) {
        return NGX_ERROR;
    }

    last = (u_char *) ngx_escape_uri(escaped->data, value->data, value->len,
                                     NGX_ESCAPE_URI_COMPONENT);
    escaped->len = last - escaped->data;

    return NGX_OK;
}
