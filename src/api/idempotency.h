
/*
 * Idempotency keys (draft-ietf-httpapi-idempotency-key-header;
 * operation/README.md, "Idempotency keys"): scoped to tenant and endpoint, a
 * pointer to what was created.
 */

#ifndef _LINES_API_IDEMPOTENCY_H_INCLUDED_
#define _LINES_API_IDEMPOTENCY_H_INCLUDED_


#include "http/context.h"


typedef struct {
    ngx_str_t    key;              /* as the client gave it; empty: none */
    ngx_str_t    record;           /* Redis key of the record */
    ngx_str_t    fingerprint;      /* hex; empty without a key */
    ngx_str_t    operation;        /* that is given again: the line's id */
} lines_idempotency_t;


/*
 * Takes the key from the header Idempotency-Key and from the body's member
 * (or an empty string); fields are those that make two requests the same.
 * NGX_OK, or NGX_DONE where it answered 400; idem->record is always set.
 */

ngx_int_t lines_idempotency_init(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *endpoint, ngx_str_t *member, ngx_uint_t nfields,
    ngx_str_t *fields, lines_idempotency_t *idem);


#endif /* _LINES_API_IDEMPOTENCY_H_INCLUDED_ */
