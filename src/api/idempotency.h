
/*
 * Idempotency keys (draft-ietf-httpapi-idempotency-key-header;
 * operation/README.md, "Idempotency keys"): scoped to tenant and endpoint, a
 * pointer to what was created.
 */

#ifndef _LINES_API_IDEMPOTENCY_H_INCLUDED_
#define _LINES_API_IDEMPOTENCY_H_INCLUDED_


#include "http/context.h"
#include "store/calls.h"


typedef struct {
    ngx_str_t                key;          /* as the client gave it; empty:
                                              none */
    ngx_str_t                record;       /* Redis key of the record */
    ngx_str_t                fingerprint;  /* hex; empty without a key */

    /* by lines_idempotency_read(), once it is answered */
    lines_idem_read_reply_t  recorded;     /* operation: empty without one */

    ngx_uint_t               tries;
} lines_idempotency_t;


/* ms, by the clock that the tenant's own scripts go by */
#define lines_idempotency_now(idem)  ((idem)->recorded.now)


/*
 * Takes the key from the header Idempotency-Key and from the body's member
 * (or an empty string); fields are those that make two requests the same.
 * NGX_OK, or NGX_DONE where it answered 400; idem->record is always set.
 */

ngx_int_t lines_idempotency_init(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *endpoint, ngx_str_t *member, ngx_uint_t nfields,
    ngx_str_t *fields, lines_idempotency_t *idem);


/*
 * What all that begins an operation has in common.  The record and Redis' time
 * are asked for: a step's result.
 */
ngx_int_t lines_idempotency_read(lines_ctx_t *ctx, lines_idempotency_t *idem);

/* what a former tenant of the name has used was not used: made is the tenant's,
   read with it */
void lines_idempotency_of(lines_idempotency_t *idem, ngx_str_t *made);

/* hints, written before what they point at: where the operation is looked up,
   and when the sweeper should see to it */
ngx_int_t lines_idempotency_announce(lines_ctx_t *ctx, ngx_str_t *id);

/* begin found that things have changed since they were read: a few times the
   steps from that one on run once more; then 503 */
ngx_int_t lines_idempotency_again(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_idempotency_t *idem, lines_step_pt step);

/* NGX_OK where the record is of the same request; else 422 */
ngx_int_t lines_idempotency_same(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_idempotency_t *idem, ngx_str_t *fingerprint);

/* the header of an answer that was given before */
ngx_int_t lines_idempotency_replayed(ngx_http_request_t *r);


#endif /* _LINES_API_IDEMPOTENCY_H_INCLUDED_ */
