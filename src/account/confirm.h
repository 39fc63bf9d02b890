
/*
 * A confirm: what was read of it, and how it is answered.
 */

#ifndef _LINES_ACCOUNT_CONFIRM_H_INCLUDED_
#define _LINES_ACCOUNT_CONFIRM_H_INCLUDED_


#include "account/account.h"
#include "api/idempotency.h"
#include "operation/operation.h"


typedef struct {
    ngx_str_t            token;
    ngx_uint_t           issued;      /* flag: to this account */
    lines_idempotency_t  idem;
    ngx_str_t            hash;
    ngx_str_t            id;          /* of the operation */

    /* as read before begin, which checks all of it again */
    int64_t              now;         /* Redis' clock, ms */
    ngx_str_t            plan_name;
    ngx_str_t            customer;
    ngx_str_t            recorded;    /* idempotency: operation */
    ngx_str_t            recorded_print;
    ngx_str_t            mark;        /* of the token */

    ngx_str_t            step;        /* of the operation */
    int64_t              lease_until;
    ngx_str_t            answer_status;
    ngx_str_t            answer;
    int64_t              answer_until;
    ngx_uint_t           line;        /* flag: there is one */

    lines_agent_plan_t  *plan;
    ngx_uint_t           tries;
    ngx_uint_t           replay;      /* flag */
} lines_confirm_t;


/* a step: reads what decides; begin checks all of it again */
ngx_int_t lines_confirm_check(ngx_http_request_t *r, lines_ctx_t *ctx);

/* how a purchase that was started, or waited for, has come out */
ngx_int_t lines_confirm_done(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc, lines_op_t *op);

/* the idempotency key was used: 422, 409, or the same answer again */
ngx_int_t lines_confirm_replay(ngx_http_request_t *r, lines_ctx_t *ctx);

/* 503: the outcome is not known yet */
ngx_int_t lines_confirm_pending(ngx_http_request_t *r, lines_ctx_t *ctx);

/* 410, without and with the operation that used the token */
ngx_int_t lines_confirm_expired(ngx_http_request_t *r, lines_ctx_t *ctx);
ngx_int_t lines_confirm_used(ngx_http_request_t *r, lines_ctx_t *ctx);


#endif /* _LINES_ACCOUNT_CONFIRM_H_INCLUDED_ */
