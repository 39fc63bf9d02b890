
/*
 * Stripe-Signature: "t=<seconds>,v1=<hex>[,v1=<hex>…]", where each v1 is the
 * HMAC-SHA256 of "t.body" over the raw bytes of the body.
 */

#ifndef _NGX_LINES_STRIPE_SIGNATURE_H_INCLUDED_
#define _NGX_LINES_STRIPE_SIGNATURE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/evp.h>


#define NGX_LINES_STRIPE_MAX_SECRETS  4
#define NGX_LINES_STRIPE_MAX_HEADER   16384


typedef enum {
    NGX_LINES_STRIPE_ACCEPTED = 0,
    NGX_LINES_STRIPE_NO_SIGNATURE,      /* no header, or no v1 in it */
    NGX_LINES_STRIPE_MALFORMED,         /* no single t of plain digits */
    NGX_LINES_STRIPE_TOO_OLD,
    NGX_LINES_STRIPE_IN_FUTURE,
    NGX_LINES_STRIPE_EMPTY_BODY,
    NGX_LINES_STRIPE_MISMATCH
} ngx_lines_stripe_reason_e;


/*
 * The secrets of one location, keyed once for each process; several, so that
 * one can be rotated.  Holds a running computation, so one webhook at a time:
 * start, update and finish within one turn of the event loop.
 */

typedef struct {
    EVP_MAC_CTX    *macs[NGX_LINES_STRIPE_MAX_SECRETS];
    ngx_uint_t      nmacs;
} ngx_lines_stripe_secrets_t;


typedef struct {
    ngx_lines_stripe_reason_e    reason;
    ngx_lines_stripe_secrets_t  *secrets;
    ngx_str_t                    header;
    ngx_str_t                    time;      /* digits, inside header */
    size_t                       received;
} ngx_lines_stripe_signature_t;


/*
 * NGX_OK or NGX_ERROR.  An empty secret, and more than
 * NGX_LINES_STRIPE_MAX_SECRETS, are refused.
 */

ngx_int_t ngx_lines_stripe_secrets_create(ngx_lines_stripe_secrets_t *secrets,
    ngx_str_t *values, ngx_uint_t n);
void ngx_lines_stripe_secrets_destroy(ngx_lines_stripe_secrets_t *secrets);


/*
 * header: the value of the one Stripe-Signature header (the caller refuses a
 * request with two), which lives until finish.  now and tolerance are seconds;
 * a time further in the future than tolerance is refused as well.
 * NGX_OK; NGX_DECLINED with signature->reason; NGX_ERROR where OpenSSL fails.
 */

ngx_int_t ngx_lines_stripe_signature_start(
    ngx_lines_stripe_signature_t *signature, ngx_str_t *header,
    ngx_lines_stripe_secrets_t *secrets, time_t now, time_t tolerance);

/* the next bytes of the body as they came; NGX_OK or NGX_ERROR */
ngx_int_t ngx_lines_stripe_signature_update(
    ngx_lines_stripe_signature_t *signature, u_char *data, size_t len);

/* NGX_OK: Stripe sent this body.  Otherwise as start. */
ngx_int_t ngx_lines_stripe_signature_finish(
    ngx_lines_stripe_signature_t *signature);


/* a stable short word for logs and metrics: "signature-mismatch" */

ngx_str_t *ngx_lines_stripe_signature_reason(ngx_lines_stripe_reason_e reason);


#endif /* _NGX_LINES_STRIPE_SIGNATURE_H_INCLUDED_ */
