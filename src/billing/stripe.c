
#include <ngx_config.h>
#include <ngx_core.h>

#include "billing/stripe.h"


static ngx_uint_t stripe_object(json_t *json, const char *kind, ngx_str_t *id);
static void stripe_string(json_t *json, const char *name, ngx_str_t *value);
static void stripe_reference(json_t *json, const char *name, ngx_str_t *id);
static int64_t stripe_number(json_t *json, const char *name);
static void stripe_parse_metadata(json_t *json,
    lines_stripe_metadata_t *metadata);
static void stripe_prices(json_t *json,
    lines_stripe_subscription_t *subscription);
static void stripe_add_metadata(lines_form_t *form,
    lines_stripe_metadata_t *metadata);


ngx_int_t
lines_stripe_parse_invoice(json_t *json, lines_stripe_invoice_t *invoice)
{
    json_t  *details;

    ngx_memzero(invoice, sizeof(lines_stripe_invoice_t));

    if (!stripe_object(json, "invoice", &invoice->id)) {
        return NGX_DECLINED;
    }

    stripe_string(json, "status", &invoice->status);
    stripe_reference(json, "customer", &invoice->customer);
    stripe_string(json, "hosted_invoice_url", &invoice->url);
    stripe_string(json, "currency", &invoice->currency);

    invoice->total = stripe_number(json, "total");
    invoice->amount_due = stripe_number(json, "amount_due");
    invoice->amount_paid = stripe_number(json, "amount_paid");
    invoice->credited = stripe_number(json,
                                      "post_payment_credit_notes_amount");
    invoice->livemode = json_is_true(json_object_get(json, "livemode"));

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

    subscription->livemode = json_is_true(json_object_get(json, "livemode"));
    subscription->created = stripe_number(json, "created");

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

    customer->deleted = json_is_true(json_object_get(json, "deleted"));
    customer->livemode = json_is_true(json_object_get(json, "livemode"));

    stripe_reference(json_object_get(json, "invoice_settings"),
                     "default_payment_method", &customer->payment_method);

    if (customer->payment_method.len == 0) {
        stripe_reference(json, "default_source", &customer->payment_method);
    }

    return NGX_OK;
}


ngx_int_t
lines_stripe_parse_credit_note(json_t *json, lines_stripe_credit_note_t *note)
{
    ngx_memzero(note, sizeof(lines_stripe_credit_note_t));

    if (!stripe_object(json, "credit_note", &note->id)) {
        return NGX_DECLINED;
    }

    stripe_string(json, "status", &note->status);
    note->amount = stripe_number(json, "amount");
    note->livemode = json_is_true(json_object_get(json, "livemode"));

    return NGX_OK;
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

    event->created = stripe_number(json, "created");

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
    }

    return NGX_OK;
}


static ngx_uint_t
stripe_object(json_t *json, const char *kind, ngx_str_t *id)
{
    const char  *object;

    object = json_string_value(json_object_get(json, "object"));

    if (object == NULL || ngx_strcmp(object, kind) != 0) {
        return 0;
    }

    stripe_string(json, "id", id);

    return id->len != 0;
}


static void
stripe_string(json_t *json, const char *name, ngx_str_t *value)
{
    json_t  *member;

    member = json_object_get(json, name);

    if (json_is_string(member)) {
        value->data = (u_char *) json_string_value(member);
        value->len = json_string_length(member);
    }
}


/* the id of what may be expanded */

static void
stripe_reference(json_t *json, const char *name, ngx_str_t *id)
{
    json_t  *member;

    member = json_object_get(json, name);

    if (json_is_object(member)) {
        stripe_string(member, "id", id);

    } else {
        stripe_string(json, name, id);
    }
}


static int64_t
stripe_number(json_t *json, const char *name)
{
    json_t  *member;

    member = json_object_get(json, name);

    return json_is_integer(member) ? (int64_t) json_integer_value(member) : 0;
}


static void
stripe_parse_metadata(json_t *json, lines_stripe_metadata_t *metadata)
{
    ngx_int_t  n;
    ngx_str_t  attempt;

    ngx_memzero(metadata, sizeof(lines_stripe_metadata_t));
    ngx_str_null(&attempt);

    stripe_string(json, "lines_deployment", &metadata->deployment);
    stripe_string(json, "tenant", &metadata->tenant);
    stripe_string(json, "line_request", &metadata->line);
    stripe_string(json, "operation", &metadata->operation);
    stripe_string(json, "attempt", &attempt);

    n = ngx_atoi(attempt.data, attempt.len);

    metadata->attempt = (n > 0) ? (ngx_uint_t) n : 0;
}


static void
stripe_prices(json_t *json, lines_stripe_subscription_t *subscription)
{
    size_t      i;
    json_t     *items, *item;
    ngx_str_t  *price;

    items = json_object_get(json_object_get(json, "items"), "data");

    json_array_foreach(items, i, item) {

        if (subscription->nprices == LINES_STRIPE_MAX_PRICES) {
            break;
        }

        price = &subscription->prices[subscription->nprices];

        stripe_reference(item, "price", price);

        if (price->len) {
            subscription->nprices++;
        }
    }
}


ngx_int_t
lines_stripe_addon_body(ngx_pool_t *pool, ngx_str_t *customer,
    ngx_str_t *price, lines_stripe_metadata_t *metadata, ngx_str_t *body)
{
    lines_form_t  form;

    lines_form_init(&form, pool);

    lines_form_add(&form, "customer", customer);
    lines_form_add(&form, "items[0][price]", price);
    lines_form_add_number(&form, "items[0][quantity]", 1);
    lines_form_add_text(&form, "payment_behavior", "default_incomplete");
    lines_form_add_text(&form, "payment_settings[save_default_payment_method]",
                        "on_subscription");

    /* bank debits stay "processing" for days, neither paid nor voidable */

    lines_form_add_text(&form, "payment_settings[payment_method_types][0]",
                        "card");
    stripe_add_metadata(&form, metadata);
    lines_form_add_text(&form, "expand[0]", "latest_invoice");

    return lines_form_finish(&form, body);
}


ngx_int_t
lines_stripe_charge_body(ngx_pool_t *pool, ngx_str_t *customer,
    ngx_str_t *price, ngx_str_t *payment_method,
    lines_stripe_metadata_t *metadata, ngx_str_t *body)
{
    lines_form_t  form;

    lines_form_init(&form, pool);

    lines_form_add(&form, "customer", customer);
    lines_form_add(&form, "items[0][price]", price);

    /* cards of the older kind, "card_…" and "src_…", are taken here as well */

    lines_form_add(&form, "default_payment_method", payment_method);
    lines_form_add_text(&form, "payment_behavior", "error_if_incomplete");
    lines_form_add_text(&form, "off_session", "true");
    stripe_add_metadata(&form, metadata);

    return lines_form_finish(&form, body);
}


ngx_int_t
lines_stripe_refund_body(ngx_pool_t *pool, lines_stripe_invoice_t *invoice,
    lines_stripe_metadata_t *metadata, ngx_str_t *body)
{
    int64_t       amount;
    lines_form_t  form;

    amount = invoice->amount_paid - invoice->credited;

    if (amount <= 0) {
        return NGX_DECLINED;
    }

    lines_form_init(&form, pool);

    lines_form_add(&form, "invoice", &invoice->id);
    lines_form_add_number(&form, "amount", amount);
    lines_form_add_number(&form, "refund_amount", amount);
    stripe_add_metadata(&form, metadata);

    return lines_form_finish(&form, body);
}


ngx_uint_t
lines_stripe_unsettled(lines_stripe_invoice_t *invoice)
{
    ngx_uint_t  i;

    static const ngx_str_t  payable[] = {
        ngx_string("open"),
        ngx_string("uncollectible")
    };

    if (invoice->amount_paid > invoice->credited) {
        return 1;
    }

    for (i = 0; i < sizeof(payable) / sizeof(payable[0]); i++) {
        if (invoice->status.len == payable[i].len
            && ngx_memcmp(invoice->status.data, payable[i].data,
                          payable[i].len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


static void
stripe_add_metadata(lines_form_t *form, lines_stripe_metadata_t *metadata)
{
    lines_form_add(form, "metadata[lines_deployment]", &metadata->deployment);
    lines_form_add(form, "metadata[tenant]", &metadata->tenant);

    if (metadata->line.len) {
        lines_form_add(form, "metadata[line_request]", &metadata->line);
    }

    if (metadata->operation.len) {
        lines_form_add(form, "metadata[operation]", &metadata->operation);
    }

    if (metadata->attempt) {
        lines_form_add_number(form, "metadata[attempt]", metadata->attempt);
    }
}
