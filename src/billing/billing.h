
/*
 * Billing: Stripe's calls on a carrier.
 *
 * Each call returns NGX_AGAIN, and its handler is called once, later; or
 * NGX_ERROR (out of memory), and nothing was sent.  Each request takes its token
 * first (billing/budget.h): UNSENT without.  409 and 429 are repeated
 * here, under the same key, with backoff, within the budget; everything else
 * is the operation's to decide, unknown outcomes above all.  A call, its
 * repeats and pauses included, ends within conf->timeout (default 18s), so
 * that a lease (default 20s) that was claimed before it outlasts it.
 *
 * Memory.  The result is good until the carrier is destroyed: what is worth
 * keeping longer goes to Redis.  No function here writes to Redis.
 */

#ifndef _LINES_BILLING_BILLING_H_INCLUDED_
#define _LINES_BILLING_BILLING_H_INCLUDED_


#include "billing/budget.h"
#include "billing/stripe.h"
#include "http/carrier.h"

#include <jansson.h>


/* lines_billing_plan PLAN price=PRICE …: prices of a base plan */

typedef struct {
    ngx_str_t  price;
    ngx_str_t  plan;
} lines_billing_plan_t;


struct lines_billing_conf_s {
    ngx_str_t    uri;         /* ends with "/" */
    ngx_str_t    key;         /* the secret */
    ngx_str_t    deployment;
    ngx_str_t    version;
    ngx_str_t    anchor;      /* a customer, who remembers which database Redis
                                 is; may be empty */
    ngx_msec_t   budget;      /* for 409 and 429, or until it may be sent */
    ngx_msec_t   timeout;     /* of a call with repeats */
    ngx_uint_t   livemode;    /* flag: by the key's kind */
    ngx_uint_t   plain;       /* flag: plain=loopback */
    ngx_array_t  plans;       /* of lines_billing_plan_t */
    ngx_uint_t   interval;    /* µs in which the fleet may make one more call;
                                 0: at will */
};


/* of the invoices that are known (ask.known), in their order */
#define LINES_LISTED_FIRST   1
#define LINES_LISTED_LATEST  2

typedef struct {
    lines_stripe_outcome_e  outcome;
    ngx_uint_t              status;        /* HTTP; 0: no answer */
    lines_stripe_error_t    error;         /* unless OK */
    time_t                  retry_after;   /* seconds; -1: none said */
    ngx_int_t               should_retry;  /* 1, 0, -1: none said */
    ngx_str_t               request_id;    /* Stripe's, for the log */
    ngx_uint_t              tries;
    ngx_uint_t              replayed;      /* flag: an answer of before, by
                                              Idempotent-Replayed or its age */
    time_t                  date;          /* billing's clock; 0: not said */

    /* the one that was asked for, if OK; otherwise NULL */
    lines_stripe_subscription_t  *subscription;
    lines_stripe_invoice_t       *invoice;
    lines_stripe_customer_t      *customer;
    ngx_str_t                     payment_method;  /* empty: none */
    ngx_array_t                  *subscriptions;   /* found, newest first */
    ngx_str_t                     after;    /* past which a list goes on that
                                               was not read to its end */
    ngx_array_t                  *list;            /* of lines_stripe_entry_t */
    ngx_uint_t                    listed;   /* LINES_LISTED_... */
} lines_billing_result_t;


typedef void (*lines_billing_pt)(void *data, lines_billing_result_t *result);


/*
 * What can be asked (billing_kinds in billing.c has the paths; bodies are those
 * of billing/stripe.h).  id: of what is asked for; of a list, whose it is.
 */

typedef enum {

    /* key as "lines:ID:sub:ATTEMPT"; an add-on with its invoice expanded */
    LINES_BILLING_SUBSCRIBE = 0,

    LINES_BILLING_SUBSCRIPTION,

    /* also gone or canceled already; subscription is NULL then */
    LINES_BILLING_CANCEL,

    /*
     * A customer's subscriptions, ended ones too, the newest first, past the
     * one after (empty: from the newest on): those that match what is set,
     * whoever made them.  A list that is too long is read in part: then the
     * result has an after.
     */
    LINES_BILLING_FIND,

    LINES_BILLING_INVOICE,

    /*
     * Of a subscription's invoices, the newest first, past the invoice after,
     * the first that can still be paid, or was paid (after the second since,
     * the invoice told also in it), or in part before it was void (also in
     * it); NULL where there is none.  A list that is too long is read in part, as above.
     */
    LINES_BILLING_UNSETTLED,

    /*
     * Key as "lines:ID:void:ATTEMPT".  REFUSED: not open any more; get it to
     * learn whether it was paid.
     */
    LINES_BILLING_VOID,

    /* payment_method is empty without a default; of a card, without a card */
    LINES_BILLING_CUSTOMER,
    LINES_BILLING_CARD,

    /* key as "lines:ID:refund".  REFUSED: for people to look at */
    LINES_BILLING_CREDIT,
    LINES_BILLING_REFUND,

    /*
     * What an invoice's money is counted by (billing/money.h), in the order of
     * lines_stripe_object_e: list, whole or UNKNOWN.  The id is an invoice's;
     * of the last two a payment intent's ("pi_"), or a charge's.
     */
    LINES_BILLING_PAYMENTS,
    LINES_BILLING_CREDITS,
    LINES_BILLING_REFUNDS,
    LINES_BILLING_DISPUTES,

    /* the payments of invoices by a payment intent: which invoice that was */
    LINES_BILLING_PAID,

    /* key as "lines:database:ID:WATERMARK" */
    LINES_BILLING_ANCHOR
} lines_billing_kind_e;

/* what lists such objects: payments, credit notes, refunds, disputes */
#define lines_billing_lists(object)                                           \
    (LINES_BILLING_PAYMENTS + (object) - LINES_STRIPE_PAYMENT)


/* strings live until the handler is called */

typedef struct {
    lines_billing_kind_e     kind;
    lines_budget_rank_e      rank;
    ngx_str_t                id;
    ngx_str_t                key;      /* of a POST */
    ngx_str_t                body;
    ngx_str_t                after;
    ngx_str_t                price;    /* empty: any */
    ngx_str_t                told;
    ngx_str_t                known[2]; /* to be told whether they are
                                          listed; may be empty */
    ngx_uint_t               all;      /* flag: everybody's list, without an
                                          id; of subscriptions those that have
                                          not ended, */
    ngx_uint_t               ended;    /* flag: or those that have */
    ngx_uint_t               limit;    /* of a page, of which it is one: the
                                          result has an after if there is
                                          more */
    int64_t                  since;    /* seconds; 0: all */
    ngx_uint_t               held;     /* flag: of a line that was there, so
                                          that its first invoice was paid
                                          before, by whatever clock */
    lines_stripe_metadata_t  match;    /* what is empty of it: any */
} lines_billing_ask_t;


ngx_int_t lines_billing_ask(lines_carrier_t *carrier, lines_billing_ask_t *ask,
    lines_billing_pt handler, void *data);


/* flag: all that is wanted is so; what is empty of it: any */
ngx_uint_t lines_billing_matches(lines_stripe_metadata_t *want,
    lines_stripe_metadata_t *metadata);


/* plan of a base price; NULL: no price of a base plan */
ngx_str_t *lines_billing_plan(lines_billing_conf_t *bcf, ngx_str_t *price);

/*
 * Whether it is, or may be, a base plan's, and of which plan; an empty one
 * where none of the prices that were told is, and there are others.
 */
ngx_uint_t lines_billing_base(lines_billing_conf_t *bcf,
    lines_stripe_subscription_t *subscription, ngx_str_t *plan);


/* in any order; conf is the module's main configuration */

char *lines_billing(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *lines_billing_plans(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* init_main_conf: whether the two directives fit */
char *lines_billing_init_conf(ngx_conf_t *cf, lines_main_conf_t *lmcf);

/* preconfiguration: $lines_billing_key, empty but in a billing call */
ngx_int_t lines_billing_variables(ngx_conf_t *cf);


#endif /* _LINES_BILLING_BILLING_H_INCLUDED_ */
