
/*
 * Stripe's objects, as far as their fields are stable over versions, and the
 * bodies of the requests that create them.  Pure: bytes in, structs out.
 *
 * Strings of a parsed object point into the json_t that it was parsed from.
 * A member that is absent, null or of another type is an empty string or 0.
 */

#ifndef _LINES_BILLING_STRIPE_H_INCLUDED_
#define _LINES_BILLING_STRIPE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>

#include "billing/form.h"


#define LINES_STRIPE_MAX_PRICES  8


/* metadata of what we create: ours only if deployment is */

typedef struct {
    ngx_str_t   deployment;    /* lines_deployment */
    ngx_str_t   tenant;        /* w:ID or a:ID */
    ngx_str_t   line;          /* line_request */
    ngx_str_t   operation;
    ngx_uint_t  attempt;       /* 0: none said */
} lines_stripe_metadata_t;


typedef struct {
    ngx_str_t                id;
    ngx_str_t                status;        /* draft, open, paid, void,
                                               uncollectible */
    ngx_str_t                customer;
    ngx_str_t                subscription;  /* of parent.subscription_
                                               details, or the older
                                               invoice.subscription */
    ngx_str_t                url;           /* hosted_invoice_url */
    ngx_str_t                currency;
    int64_t                  total;         /* in the currency's units */
    int64_t                  amount_due;
    int64_t                  amount_paid;
    int64_t                  credited;      /* by credit notes after
                                               payment */
    ngx_uint_t               livemode;
    lines_stripe_metadata_t  metadata;      /* the subscription's where
                                               the invoice tells it */
} lines_stripe_invoice_t;


typedef struct {
    ngx_str_t                id;
    ngx_str_t                status;     /* incomplete, active,
                                            past_due, unpaid, canceled,
                                            incomplete_expired,
                                            trialing, paused */
    ngx_str_t                customer;
    ngx_str_t                prices[LINES_STRIPE_MAX_PRICES];
    ngx_uint_t               nprices;
    lines_stripe_invoice_t   invoice;    /* latest_invoice; no more
                                            than its id where it was
                                            not expanded */
    ngx_uint_t               livemode;
    int64_t                  created;    /* seconds */
    lines_stripe_metadata_t  metadata;
} lines_stripe_subscription_t;


typedef struct {
    ngx_str_t   id;
    ngx_str_t   payment_method;  /* default_payment_method of
                                    invoice_settings, else
                                    default_source */
    ngx_uint_t  deleted;
    ngx_uint_t  livemode;
} lines_stripe_customer_t;


typedef struct {
    ngx_str_t   id;
    ngx_str_t   status;    /* issued, void */
    int64_t     amount;
    ngx_uint_t  livemode;
} lines_stripe_credit_note_t;


typedef enum {
    LINES_STRIPE_OTHER = 0,
    LINES_STRIPE_INVOICE,
    LINES_STRIPE_SUBSCRIPTION
} lines_stripe_object_e;


/* a webhook's event: a hint to look, never the state itself */

typedef struct {
    ngx_str_t              id;
    ngx_str_t              type;        /* invoice.paid, … */
    ngx_int_t              livemode;    /* -1: not said */
    int64_t                created;
    lines_stripe_object_e  kind;        /* of data.object */
    union {
        lines_stripe_invoice_t       invoice;
        lines_stripe_subscription_t  subscription;
    } object;
} lines_stripe_event_t;


/* NGX_DECLINED: not such an object, or one without an id */

ngx_int_t lines_stripe_parse_invoice(json_t *json,
    lines_stripe_invoice_t *invoice);
ngx_int_t lines_stripe_parse_subscription(json_t *json,
    lines_stripe_subscription_t *subscription);
ngx_int_t lines_stripe_parse_customer(json_t *json,
    lines_stripe_customer_t *customer);
ngx_int_t lines_stripe_parse_credit_note(json_t *json,
    lines_stripe_credit_note_t *note);
ngx_int_t lines_stripe_parse_event(json_t *json, lines_stripe_event_t *event);


/*
 * The body of POST /v1/subscriptions, to be built once, kept in the operation
 * and sent again byte for byte.  Empty members of metadata are left out.
 *
 * addon: a workspace's line, to be paid on the hosted invoice.
 * charge: an account's line, with its card, off session.
 */

ngx_int_t lines_stripe_addon_body(ngx_pool_t *pool, ngx_str_t *customer,
    ngx_str_t *price, lines_stripe_metadata_t *metadata, ngx_str_t *body);

ngx_int_t lines_stripe_charge_body(ngx_pool_t *pool, ngx_str_t *customer,
    ngx_str_t *price, ngx_str_t *payment_method,
    lines_stripe_metadata_t *metadata, ngx_str_t *body);

/*
 * The body of POST /v1/credit_notes that pays back what was paid of an
 * invoice and is not credited yet.  NGX_DECLINED: nothing is left to refund.
 */

ngx_int_t lines_stripe_refund_body(ngx_pool_t *pool,
    lines_stripe_invoice_t *invoice, lines_stripe_metadata_t *metadata,
    ngx_str_t *body);

/* something was paid and not paid back, or can still be paid */
ngx_uint_t lines_stripe_unsettled(lines_stripe_invoice_t *invoice);


#endif /* _LINES_BILLING_STRIPE_H_INCLUDED_ */
