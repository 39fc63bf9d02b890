
/*
 * Stripe's objects, as far as their fields are stable over versions, the bodies
 * of the requests that create them, and what an answer means for the one who
 * asked (https://docs.stripe.com/api/errors; operation/README.md, "What
 * Stripe's answers mean").  Pure: bytes in, structs out.
 *
 * Strings of a parsed object point into the json_t that it was parsed from.
 * A member that is absent, null or of another type is an empty string or 0.
 */

#ifndef _LINES_BILLING_STRIPE_H_INCLUDED_
#define _LINES_BILLING_STRIPE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>

#include "http/text.h"

/* as many as Stripe tells with a subscription, which may have twice that */
#define LINES_STRIPE_MAX_PRICES  10


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
    ngx_str_t                subscription;
    ngx_str_t                url;           /* hosted_invoice_url */
    int64_t                  amount_paid;   /* in the currency's units */
    int64_t                  balance;       /* taken of the customer's
                                               balance; less than nothing: of
                                               his debt, due with the total */
    int64_t                  overpaid;      /* kept on it */
    int64_t                  noted;         /* by credit notes since it was
                                               paid, listed or not */
    int64_t                  paid_at;       /* seconds: or void since; 0:
                                               neither */
    ngx_str_t                currency;
    ngx_uint_t               livemode;
    ngx_uint_t               first;         /* flag: its subscription began
                                               with it */
    ngx_uint_t               untold;        /* flag: it does not say what was
                                               paid */
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
    ngx_uint_t               unpriced;   /* flag: there are prices that were
                                            not told */
    lines_stripe_invoice_t   invoice;    /* latest_invoice; no more
                                            than its id where it was
                                            not expanded */
    ngx_uint_t               livemode;
    int64_t                  created;    /* seconds */
    int64_t                  ended;      /* seconds; 0: it has not */
    lines_stripe_metadata_t  metadata;
} lines_stripe_subscription_t;


typedef struct {
    ngx_str_t   id;
    ngx_str_t   payment_method;  /* the default one */
    ngx_str_t   database;        /* of metadata: lines_database; see
                                    operation/database.h */
    ngx_uint_t  deleted;
    ngx_uint_t  livemode;
} lines_stripe_customer_t;


typedef enum {
    LINES_STRIPE_OTHER = 0,
    LINES_STRIPE_INVOICE,
    LINES_STRIPE_SUBSCRIPTION,
    LINES_STRIPE_PAYMENT,
    LINES_STRIPE_CREDIT,
    LINES_STRIPE_REFUND,
    LINES_STRIPE_DISPUTE
} lines_stripe_object_e;


/*
 * What is booked of an invoice: a payment (invoice_payment), a credit note (its
 * refunds are listed as refunds, too: they are no part of balance and outside),
 * a refund or a dispute of a payment.
 */

typedef struct {
    lines_stripe_object_e  kind;
    ngx_str_t              id;
    ngx_str_t              status;    /* payment: open, paid, canceled
                                         note: issued, void
                                         refund: pending, requires_action,
                                         succeeded, failed, canceled
                                         dispute: warning_*, needs_response,
                                         under_review, lost, won */
    ngx_str_t              invoice;   /* of a payment, a note */
    ngx_str_t              payment;   /* intent, or charge without one; none
                                         of a payment outside of Stripe */
    ngx_str_t              currency;
    int64_t                amount;    /* of a payment: paid */
    int64_t                balance;   /* of a note: to the customer's balance */
    int64_t                outside;   /* given back outside of Stripe */
    int64_t                created;   /* seconds */
    int64_t                paid_at;   /* of a payment; seconds, 0: not told */
    ngx_uint_t             livemode;  /* not said of a refund */
    ngx_uint_t             untold;    /* flag: it does not say how much */
} lines_stripe_entry_t;


/* a webhook's event: a hint to look, never the state itself */

typedef struct {
    ngx_str_t              id;
    ngx_str_t              type;        /* invoice.paid, … */
    ngx_int_t              livemode;    /* -1: not said */
    lines_stripe_object_e  kind;        /* of data.object */
    union {
        lines_stripe_invoice_t       invoice;
        lines_stripe_subscription_t  subscription;
        lines_stripe_entry_t         entry;
    } object;
} lines_stripe_event_t;


/* NGX_DECLINED: not such an object, or one without an id */

ngx_int_t lines_stripe_parse_invoice(json_t *json,
    lines_stripe_invoice_t *invoice);
ngx_int_t lines_stripe_parse_subscription(json_t *json,
    lines_stripe_subscription_t *subscription);
ngx_int_t lines_stripe_parse_customer(json_t *json,
    lines_stripe_customer_t *customer);
ngx_int_t lines_stripe_parse_entry(json_t *json, lines_stripe_entry_t *entry);
ngx_int_t lines_stripe_parse_event(json_t *json, lines_stripe_event_t *event);


/*
 * The body of POST /v1/subscriptions, to be built once, kept in the operation
 * and sent again byte for byte.  Empty members of metadata are left out.
 * Of an account's line, with its card, off session; without one (NULL) of a
 * workspace's, to be paid on the hosted invoice.
 */

ngx_int_t lines_stripe_subscribe_body(ngx_pool_t *pool, ngx_str_t *customer,
    ngx_str_t *price, ngx_str_t *card, lines_stripe_metadata_t *metadata,
    ngx_str_t *body);

/*
 * What gives back.  The body of POST /v1/credit_notes, by the ways that it came
 * (the sum is above zero), and that of POST /v1/refunds, of one payment.
 */

ngx_int_t lines_stripe_credit_body(ngx_pool_t *pool, ngx_str_t *invoice,
    int64_t charged, int64_t balance, int64_t outside,
    lines_stripe_metadata_t *metadata, ngx_str_t *body);

/* the deployment that a body of these names; empty: none */
ngx_str_t lines_stripe_deployment(ngx_str_t *body);

ngx_int_t lines_stripe_refund_body(ngx_pool_t *pool, ngx_str_t *payment,
    int64_t amount, lines_stripe_metadata_t *metadata, ngx_str_t *body);

/* the name of the parameter that says whose: a payment intent, or a charge */
const char *lines_stripe_payment_param(ngx_str_t *payment);


typedef enum {
    LINES_STRIPE_OK = 0,
    LINES_STRIPE_REFUSED,     /* final for this key: no effect, ever; proves
                                 nothing of what the call names */
    LINES_STRIPE_MISSING,     /* as final: what error.param names, or the path,
                                 is not there */
    LINES_STRIPE_ALERT,       /* a bad API key, another livemode: the
                                 operator's mistake; says nothing about
                                 earlier effects */
    LINES_STRIPE_RETRY,       /* this try had no effect; the same key
                                 again, later */
    LINES_STRIPE_UNKNOWN,     /* it may have had its effect: the same key
                                 again, a bounded number of times; for an
                                 idempotency_error, another body had it */
    LINES_STRIPE_UNSENT       /* never reached Stripe: as RETRY */
} lines_stripe_outcome_e;


/* of a refusal; empty where Stripe said nothing */

typedef struct {
    ngx_str_t   type;             /* card_error, invalid_request_error, … */
    ngx_str_t   code;             /* card_declined, resource_missing, … */
    ngx_str_t   decline_code;
    ngx_str_t   param;
    ngx_str_t   message;          /* Stripe's words, for the log */
} lines_stripe_error_t;


/*
 * status and body of a complete answer; should_retry is Stripe-Should-Retry:
 * 1, 0 or -1 for none.  body is NULL where it was not a JSON object.
 * error's strings live as long as body.
 */

lines_stripe_outcome_e lines_stripe_classify(ngx_uint_t status, json_t *body,
    ngx_int_t should_retry, lines_stripe_error_t *error);

/* flag: error.code is what is said */
#define lines_stripe_error_is(error, said)  lines_is(&(error)->code, said)

/* flag: error is of one that is MISSING, and names it so */
ngx_uint_t lines_stripe_missing(lines_stripe_error_t *error, const char *param);

/* flag: neither this call nor its repetition can have an effect */
#define lines_stripe_refused(outcome)                                         \
    ((outcome) == LINES_STRIPE_REFUSED || (outcome) == LINES_STRIPE_MISSING)

/*
 * The pause before try n (1, 2, …) of what Stripe asked to repeat, in
 * milliseconds: exponential, half of it jitter; never less than retry_after
 * (seconds, -1: none).  random is any number.
 */

ngx_msec_t lines_stripe_backoff(ngx_uint_t n, time_t retry_after,
    ngx_uint_t random);


/* application/x-www-form-urlencoded, as Stripe reads it */

typedef struct {
    const char  *name;     /* sent as it is: it comes from the program;
                              NULL: the row is left out */
    ngx_str_t    value;    /* may be anything */
} lines_form_t;

/* of rows { name, value }; NGX_ERROR: no memory */
#define lines_form(pool, form, ...)                                           \
    lines_form_write(pool, form, (lines_form_t[]) { __VA_ARGS__ },            \
                     sizeof((lines_form_t[]) { __VA_ARGS__ })                 \
                     / sizeof(lines_form_t))

ngx_int_t lines_form_write(ngx_pool_t *pool, ngx_str_t *form,
    const lines_form_t *rows, ngx_uint_t n);

/* the name of a row that may be left out */
#define lines_form_if(given, name)  ((given) ? name : NULL)

/* a value that lives as long as the block it is written in */
#define lines_form_number(number)                                             \
    lines_form_digits((u_char[NGX_INT64_LEN]) { 0 }, number)

ngx_str_t lines_form_digits(u_char *buf, int64_t number);

/* one segment of a path: everything but RFC 3986's unreserved is escaped */
ngx_int_t lines_form_escape(ngx_pool_t *pool, ngx_str_t *value,
    ngx_str_t *escaped);


#endif /* _LINES_BILLING_STRIPE_H_INCLUDED_ */
