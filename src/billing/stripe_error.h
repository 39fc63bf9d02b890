
/*
 * What an answer of Stripe's means for the one who asked
 * (https://docs.stripe.com/api/errors; operation/README.md, "What Stripe's
 * answers mean").  Pure.
 */

#ifndef _LINES_BILLING_STRIPE_ERROR_H_INCLUDED_
#define _LINES_BILLING_STRIPE_ERROR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>


typedef enum {
    LINES_STRIPE_OK = 0,
    LINES_STRIPE_REFUSED,     /* final for this key: no effect, ever */
    LINES_STRIPE_ALERT,       /* idempotency_error, a bad API key, another
                                 livemode: ours or the operator's mistake;
                                 says nothing about earlier effects */
    LINES_STRIPE_RETRY,       /* this try had no effect; the same key
                                 again, later */
    LINES_STRIPE_UNKNOWN,     /* it may have had its effect: the same key
                                 again, a bounded number of times */
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

/* error.code is code */
ngx_uint_t lines_stripe_error_is(lines_stripe_error_t *error,
    const char *code);

/*
 * The pause before try n (1, 2, …) of what Stripe asked to repeat, in
 * milliseconds: exponential, half of it jitter; never less than retry_after
 * (seconds, -1: none).  random is any number.
 */

ngx_msec_t lines_stripe_backoff(ngx_uint_t n, time_t retry_after,
    ngx_uint_t random);


#endif /* _LINES_BILLING_STRIPE_ERROR_H_INCLUDED_ */
