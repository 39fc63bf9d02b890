
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "billing/call.h"


static ngx_int_t billing_read_subscription(lines_billing_call_t *call,
    json_t *json);
static ngx_int_t billing_read_subscriptions(lines_billing_call_t *call,
    json_t *json);
static ngx_uint_t billing_matches(lines_billing_call_t *call,
    lines_stripe_metadata_t *metadata);
static ngx_int_t billing_read_invoice(lines_billing_call_t *call,
    json_t *json);
static ngx_int_t billing_read_customer(lines_billing_call_t *call,
    json_t *json);
static ngx_int_t billing_read_card(lines_billing_call_t *call, json_t *json);
static ngx_int_t billing_read_credit_note(lines_billing_call_t *call,
    json_t *json);


static lines_billing_kind_t  billing_kind_subscribe = {
    ngx_string("subscribe"), NGX_HTTP_POST,
    billing_read_subscription, NULL,
    "v1/subscriptions", "", "", 0
};


static lines_billing_kind_t
    billing_kind_subscription =
{
    ngx_string("subscription"), NGX_HTTP_GET,
    billing_read_subscription, NULL,
    "v1/subscriptions/", "", "expand[0]=latest_invoice", 0
};


static lines_billing_kind_t  billing_kind_cancel = {
    ngx_string("cancel"), NGX_HTTP_DELETE,
    billing_read_subscription, NULL,
    "v1/subscriptions/", "", "", 1
};


static lines_billing_kind_t
    billing_kind_subscriptions =
{
    ngx_string("subscriptions"), NGX_HTTP_GET,
    billing_read_subscriptions, lines_billing_page,
    "v1/subscriptions", "", "", 0
};


static lines_billing_kind_t  billing_kind_invoice = {
    ngx_string("invoice"), NGX_HTTP_GET,
    billing_read_invoice, NULL,
    "v1/invoices/", "", "", 0
};


static lines_billing_kind_t  billing_kind_void = {
    ngx_string("void"), NGX_HTTP_POST,
    billing_read_invoice, NULL,
    "v1/invoices/", "/void", "", 0
};


static lines_billing_kind_t  billing_kind_customer = {
    ngx_string("customer"), NGX_HTTP_GET,
    billing_read_customer, NULL,
    "v1/customers/", "", "", 0
};


static lines_billing_kind_t  billing_kind_card = {
    ngx_string("card"), NGX_HTTP_GET,
    billing_read_card, NULL,
    "v1/customers/", "/payment_methods", "type=card&limit=1", 0
};


static lines_billing_kind_t  billing_kind_refund = {
    ngx_string("refund"), NGX_HTTP_POST,
    billing_read_credit_note, NULL,
    "v1/credit_notes", "", "", 0
};


ngx_int_t
lines_billing_subscribe(lines_carrier_t *carrier, ngx_str_t *body,
    ngx_str_t *key, lines_billing_pt handler, void *data)
{
    return lines_billing_write(lines_billing_create(carrier,
                                                    &billing_kind_subscribe,
                                                    NULL, handler, data), key,
                               body);
}


ngx_int_t
lines_billing_refund(lines_carrier_t *carrier, ngx_str_t *body, ngx_str_t *key,
    lines_billing_pt handler, void *data)
{
    return lines_billing_write(lines_billing_create(carrier,
                                                    &billing_kind_refund, NULL,
                                                    handler, data), key, body);
}


ngx_int_t
lines_billing_void_invoice(lines_carrier_t *carrier, ngx_str_t *id,
    ngx_str_t *key, lines_billing_pt handler, void *data)
{
    return lines_billing_write(lines_billing_create(carrier,
                                                    &billing_kind_void, id,
                                                    handler, data), key, NULL);
}


ngx_int_t
lines_billing_get_subscription(lines_carrier_t *carrier, ngx_str_t *id,
    lines_billing_pt handler, void *data)
{
    return lines_billing_send(lines_billing_create(carrier,
                                                   &billing_kind_subscription,
                                                   id, handler, data));
}


ngx_int_t
lines_billing_cancel_subscription(lines_carrier_t *carrier, ngx_str_t *id,
    lines_billing_pt handler, void *data)
{
    return lines_billing_send(lines_billing_create(carrier,
                                                   &billing_kind_cancel, id,
                                                   handler, data));
}


ngx_int_t
lines_billing_get_invoice(lines_carrier_t *carrier, ngx_str_t *id,
    lines_billing_pt handler, void *data)
{
    return lines_billing_send(lines_billing_create(carrier,
                                                   &billing_kind_invoice, id,
                                                   handler, data));
}


ngx_int_t
lines_billing_get_customer(lines_carrier_t *carrier, ngx_str_t *id,
    lines_billing_pt handler, void *data)
{
    return lines_billing_send(lines_billing_create(carrier,
                                                   &billing_kind_customer, id,
                                                   handler, data));
}


ngx_int_t
lines_billing_get_card(lines_carrier_t *carrier, ngx_str_t *customer,
    lines_billing_pt handler, void *data)
{
    return lines_billing_send(lines_billing_create(carrier, &billing_kind_card,
                                                   customer, handler, data));
}


ngx_int_t
lines_billing_list_subscriptions(lines_carrier_t *carrier, ngx_str_t *customer,
    lines_billing_pt handler, void *data)
{
    return lines_billing_find_subscriptions(carrier, customer, NULL, 0,
                                            handler, data);
}


ngx_int_t
lines_billing_find_subscriptions(lines_carrier_t *carrier, ngx_str_t *customer,
    lines_stripe_metadata_t *match, int64_t since, lines_billing_pt handler,
    void *data)
{
    ngx_uint_t             i;
    ngx_str_t              escaped, *member[3];
    lines_billing_call_t  *call;

    call = lines_billing_create(carrier, &billing_kind_subscriptions, NULL,
                                handler, data);
    if (call == NULL) {
        return NGX_ERROR;
    }

    call->since = since;
    call->result.subscriptions =
                            ngx_array_create(carrier->pool, 4,
                                          sizeof(lines_stripe_subscription_t));

    if (call->result.subscriptions == NULL
        || lines_form_escape(carrier->pool, customer, &escaped) != NGX_OK
        || lines_redis_format(carrier->pool, &call->filter,
                              "customer=%V&status=all", &escaped)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (match) {
        call->match = ngx_palloc(carrier->pool,
                                 sizeof(lines_stripe_metadata_t));
        if (call->match == NULL) {
            return NGX_ERROR;
        }

        *call->match = *match;

        member[0] = &call->match->tenant;
        member[1] = &call->match->line;
        member[2] = &call->match->operation;

        for (i = 0; i < 3; i++) {
            if (member[i]->len) {
                member[i]->data = ngx_pstrdup(carrier->pool, member[i]);
                if (member[i]->data == NULL) {
                    return NGX_ERROR;
                }
            }
        }
    }

    return lines_billing_page(call);
}


static ngx_int_t
billing_read_subscription(lines_billing_call_t *call, json_t *json)
{
    lines_stripe_subscription_t  *subscription;

    subscription = ngx_palloc(call->carrier->pool,
                              sizeof(lines_stripe_subscription_t));
    if (subscription == NULL) {
        return NGX_ERROR;
    }

    if (lines_stripe_parse_subscription(json, subscription) != NGX_OK) {
        return NGX_ERROR;
    }

    call->result.subscription = subscription;

    return lines_billing_livemode(call, subscription->livemode);
}


static ngx_int_t
billing_read_subscriptions(lines_billing_call_t *call, json_t *json)
{
    size_t                       i;
    json_t                      *data, *item;
    lines_stripe_subscription_t  subscription, *found;

    data = json_object_get(json, "data");

    if (!json_is_array(data)) {
        return NGX_ERROR;
    }

    json_array_foreach(data, i, item) {

        if (lines_stripe_parse_subscription(item, &subscription) != NGX_OK) {
            return NGX_ERROR;
        }

        call->last = subscription.id;

        if (subscription.created && subscription.created < call->since) {
            return NGX_OK;
        }

        if (!billing_matches(call, &subscription.metadata)) {
            continue;
        }

        if (lines_billing_livemode(call, subscription.livemode) != NGX_OK) {
            return NGX_ERROR;
        }

        found = ngx_array_push(call->result.subscriptions);
        if (found == NULL) {
            return NGX_ERROR;
        }

        *found = subscription;
    }

    if (!json_is_true(json_object_get(json, "has_more"))) {
        return NGX_OK;
    }

    if (json_array_size(data) == 0) {
        return NGX_ERROR;
    }

    /* one attempt has one subscription at most */

    if (call->match
        && call->match->attempt
        && call->result.subscriptions->nelts)
    {
        return NGX_OK;
    }

    return NGX_AGAIN;
}


static ngx_uint_t
billing_matches(lines_billing_call_t *call, lines_stripe_metadata_t *metadata)
{
    lines_stripe_metadata_t  *match;

#define lines_billing_differs(want, have) \
    ((want)->len                          \
     && ((want)->len != (have)->len       \
         || ngx_memcmp((want)->data, (have)->data, (want)->len) != 0))

    match = call->match;

    if (match == NULL) {
        return 1;
    }

    return lines_billing_ours(call->bcf, metadata)
           && !lines_billing_differs(&match->tenant, &metadata->tenant)
           && !lines_billing_differs(&match->line, &metadata->line)
           && !lines_billing_differs(&match->operation, &metadata->operation)
           && (match->attempt == 0 || match->attempt == metadata->attempt);
}


static ngx_int_t
billing_read_invoice(lines_billing_call_t *call, json_t *json)
{
    lines_stripe_invoice_t  *invoice;

    invoice = ngx_palloc(call->carrier->pool, sizeof(lines_stripe_invoice_t));
    if (invoice == NULL) {
        return NGX_ERROR;
    }

    if (lines_stripe_parse_invoice(json, invoice) != NGX_OK) {
        return NGX_ERROR;
    }

    call->result.invoice = invoice;

    return lines_billing_livemode(call, invoice->livemode);
}


static ngx_int_t
billing_read_customer(lines_billing_call_t *call, json_t *json)
{
    lines_stripe_customer_t  *customer;

    customer = ngx_palloc(call->carrier->pool,
                          sizeof(lines_stripe_customer_t));
    if (customer == NULL) {
        return NGX_ERROR;
    }

    if (lines_stripe_parse_customer(json, customer) != NGX_OK) {
        return NGX_ERROR;
    }

    call->result.customer = customer;
    call->result.payment_method = customer->payment_method;

    /* what is left of a deleted one does not say */

    if (customer->deleted) {
        return NGX_OK;
    }

    return lines_billing_livemode(call, customer->livemode);
}


static ngx_int_t
billing_read_card(lines_billing_call_t *call, json_t *json)
{
    json_t  *data, *id;

    data = json_object_get(json, "data");

    if (!json_is_array(data)) {
        return NGX_ERROR;
    }

    if (json_array_size(data) == 0) {
        return NGX_OK;
    }

    id = json_object_get(json_array_get(data, 0), "id");

    if (!json_is_string(id)) {
        return NGX_ERROR;
    }

    call->result.payment_method.data = (u_char *) json_string_value(id);
    call->result.payment_method.len = json_string_length(id);

    return NGX_OK;
}


static ngx_int_t
billing_read_credit_note(lines_billing_call_t *call, json_t *json)
{
    lines_stripe_credit_note_t  *note;

    note = ngx_palloc(call->carrier->pool, sizeof(lines_stripe_credit_note_t));
    if (note == NULL) {
        return NGX_ERROR;
    }

    if (lines_stripe_parse_credit_note(json, note) != NGX_OK) {
        return NGX_ERROR;
    }

    call->result.credit_note = note;

    return lines_billing_livemode(call, note->livemode);
}
