
/*
 * Stripe-Signature: "t=<seconds>,v1=<hex>[,v1=<hex>…]", where each v1 is the
 * HMAC-SHA256 of "t.body" over the raw bytes of the body.
 */

#ifndef _LINES_WEBHOOK_STRIPE_SIGNATURE_H_INCLUDED_
#define _LINES_WEBHOOK_STRIPE_SIGNATURE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/evp.h>


#define LINES_STRIPE_MAX_SECRETS  4
#define LINES_STRIPE_MAX_HEADER   16384


typedef enum {
    LINES_STRIPE_ACCEPTED = 0,
    LINES_STRIPE_NO_SIGNATURE,      /* no header, or no v1 in it */
    LINES_STRIPE_MALFORMED,         /* no single t of plain digits */
    LINES_STRIPE_TOO_OLD,
    LINES_STRIPE_IN_FUTURE,
    LINES_STRIPE_EMPTY_BODY,
    LINES_STRIPE_MISMATCH,
    LINES_STRIPE_FAILED             /* OpenSSL has: nothing is known */
} lines_stripe_reason_e;


/*
 * The secrets of one location, keyed once for each process; several, so that
 * one can be rotated.  Holds a running computation, so one webhook at a time:
 * start, update and finish within one turn of the event loop.
 */

typedef struct {
    EVP_MAC_CTX  *macs[LINES_STRIPE_MAX_SECRETS];
    ngx_uint_t    nmacs;
} lines_stripe_secrets_t;


/*
 * NGX_OK or NGX_ERROR.  An empty secret, and more than
 * LINES_STRIPE_MAX_SECRETS, are refused.
 */

ngx_int_t lines_stripe_secrets_create(lines_stripe_secrets_t *secrets,
    ngx_str_t *values, ngx_uint_t n);
void lines_stripe_secrets_destroy(void *secrets);


/*
 * What the header shows by itself, before there is a body: that it has a time
 * and a v1, and is neither too old nor from the future; who has no secret can
 * write one that is accepted.  header: the value of the one Stripe-Signature
 * header (the caller refuses a request with two).  now and tolerance are
 * seconds; a time further in the future than tolerance is refused as well.
 */

lines_stripe_reason_e lines_stripe_signature_header(ngx_str_t *header,
    time_t now, time_t tolerance);


/* whether Stripe sent this body, as it came; the header is judged again, by
   the time that it is by now */

lines_stripe_reason_e lines_stripe_signature(lines_stripe_secrets_t *secrets,
    ngx_str_t *header, ngx_str_t *body, time_t now, time_t tolerance);


/* a stable short word for logs and metrics: "signature-mismatch" */

ngx_str_t *lines_stripe_signature_reason(lines_stripe_reason_e reason);


#endif /* _LINES_WEBHOOK_STRIPE_SIGNATURE_H_INCLUDED_ */
