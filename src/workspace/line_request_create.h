
/*
 * POST line-requests, shared by its two files: what is checked, and what is
 * begun.
 */

#ifndef _LINES_WORKSPACE_LINE_REQUEST_CREATE_H_INCLUDED_
#define _LINES_WORKSPACE_LINE_REQUEST_CREATE_H_INCLUDED_


#include "api/idempotency.h"
#include "api/input.h"
#include "api/plan.h"
#include "http/request.h"


typedef struct {
    lines_input_t        input;
    lines_idempotency_t  idem;

    /* as read before begin, which checks all of it again */
    int64_t              now;           /* Redis' clock, ms */
    ngx_str_t            plan_name;
    ngx_str_t            subscription;
    ngx_str_t            customer;
    int64_t              included;      /* places taken */
    int64_t              paid;
    ngx_str_t            blocking;      /* id of the line */
    ngx_str_t            recorded;      /* idempotency: operation */
    ngx_str_t            recorded_print;

    lines_plan_t        *plan;
    ngx_uint_t           payment;       /* flag: needs it */
    ngx_uint_t           tries;
    ngx_uint_t           reconciled;    /* flag: the blocking one */

    ngx_str_t            id;
    ngx_uint_t           open;          /* flag: a begin of it may run yet */
} lines_create_t;


/* steps: hints are written, then the script that decides */

ngx_int_t lines_create_announce(ngx_http_request_t *r, lines_ctx_t *ctx);
ngx_int_t lines_create_begin(ngx_http_request_t *r, lines_ctx_t *ctx);

/* refusals, whoever finds them: the reader or the script */

ngx_int_t lines_create_subscription(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *state);
ngx_int_t lines_create_customer(ngx_http_request_t *r, lines_ctx_t *ctx);
ngx_int_t lines_create_unbilled(ngx_http_request_t *r, lines_ctx_t *ctx);
ngx_int_t lines_create_blocked(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *id);
ngx_int_t lines_create_full(ngx_http_request_t *r, lines_ctx_t *ctx);

/* back to the check, a few times: what it read is not so any more */

ngx_int_t lines_create_again(ngx_http_request_t *r, lines_ctx_t *ctx);


#endif /* _LINES_WORKSPACE_LINE_REQUEST_CREATE_H_INCLUDED_ */
