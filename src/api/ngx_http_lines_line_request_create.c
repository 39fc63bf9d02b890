
/*
 * POST line-requests: a line of the plan at once, or one more against payment.
 * Here is what decides about it; ngx_http_lines_line_request_begin.c begins it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_line_request_create.h"
#include "ngx_http_lines_limit.h"
#include "ngx_http_lines_payments.h"
#include "ngx_http_lines_workspace.h"


/* a begin may find the plan changed since it was read: look again */
#define NGX_HTTP_LINES_CREATE_TRIES  3


static ngx_int_t ngx_http_lines_create_validate(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_create_check(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_create_time(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_create_tenant(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_create_pending(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_create_recorded(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_create_decide(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);


ngx_http_lines_step_pt  ngx_http_lines_line_request_create_steps[] = {
    ngx_http_lines_authenticate_workspace,     /* 401 */
    ngx_http_lines_limit_identity,             /* 429 */
    ngx_http_lines_read_optional_json,         /* 400, 413, 415 */
    ngx_http_lines_create_validate,            /* 400 */
    ngx_http_lines_create_check,
    ngx_http_lines_create_decide,              /* 402, 403, 409, 422 */
    ngx_http_lines_create_announce,
    ngx_http_lines_create_begin,               /* the same again, and 201 */
    NULL
};


static ngx_int_t
ngx_http_lines_create_validate(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_str_t                 fields[10];
    const char               *error;
    ngx_lines_input_t        *input;
    ngx_http_lines_create_t  *create;

    create = ngx_pcalloc(r->pool, sizeof(ngx_http_lines_create_t));
    if (create == NULL) {
        return NGX_ERROR;
    }

    ctx->data = create;
    input = &create->input;

    error = ngx_lines_parse_input(ctx->body, input);

    if (error) {
        return ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                    error);
    }

    ngx_str_set(&fields[0], "phone");
    ngx_str_set(&fields[1], "purchased");

    if (input->email_channel) {
        ngx_str_set(&fields[0], "email");

        /* empty as ever: keys that are in use go on to match */
        ngx_str_null(&fields[1]);

    } else if (input->byon) {
        ngx_str_set(&fields[1], "byon");
    }

    fields[2] = input->first;
    fields[3] = input->last;
    fields[4] = input->email;
    fields[5] = input->phone;
    fields[6] = input->zipcode;
    fields[7] = input->state;
    fields[8] = input->forwards;
    fields[9] = input->image;

    return ngx_http_lines_idempotency_init(r, ctx, "line-requests",
                                           &input->idempotency_key, 10,
                                           fields, &create->idem);
}


/* one round trip for all that decides about the request */

static ngx_int_t
ngx_http_lines_create_check(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t                 rc;
    ngx_str_t                 argv[8], *tenant;
    ngx_http_lines_create_t  *create;

    create = ctx->data;
    tenant = &ctx->identity.tenant;

    ngx_str_set(&argv[0], "TIME");

    rc = ngx_http_lines_command(r, ctx, 1, argv, ngx_http_lines_create_time);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    if (create->idem.key.len) {
        ngx_str_set(&argv[0], "HMGET");
        argv[1] = create->idem.record;
        ngx_str_set(&argv[2], "operation");
        ngx_str_set(&argv[3], "fingerprint");

        rc = ngx_http_lines_command(r, ctx, 4, argv,
                                    ngx_http_lines_create_recorded);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    if (ngx_lines_redis_format(r->pool, &argv[1], "lines:{%V}:pending",
                               tenant)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "GET");

    rc = ngx_http_lines_command(r, ctx, 2, argv,
                                ngx_http_lines_create_pending);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    if (ngx_lines_redis_format(r->pool, &argv[1], "lines:{%V}:t", tenant)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "HMGET");
    ngx_str_set(&argv[2], "plan");
    ngx_str_set(&argv[3], "subscription");
    ngx_str_set(&argv[4], "customer");

    if (create->input.email_channel) {
        ngx_str_set(&argv[5], "email_included");
        ngx_str_set(&argv[6], "email_paid");

    } else {
        ngx_str_set(&argv[5], "phone_included");
        ngx_str_set(&argv[6], "phone_paid");
    }

    return ngx_http_lines_command(r, ctx, 7, argv,
                                  ngx_http_lines_create_tenant);
}


static ngx_int_t
ngx_http_lines_create_time(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    redisReply *reply)
{
    ngx_str_t                 value;
    ngx_int_t                 sec, usec;
    ngx_http_lines_create_t  *create;

    create = ctx->data;

    value = ngx_http_lines_reply_str(reply, 0);
    sec = ngx_atoi(value.data, value.len);

    value = ngx_http_lines_reply_str(reply, 1);
    usec = ngx_atoi(value.data, value.len);

    if (sec == NGX_ERROR || usec == NGX_ERROR) {
        return NGX_ERROR;
    }

    create->now = (int64_t) sec * 1000 + usec / 1000;

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_create_recorded(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_http_lines_create_t  *create;

    create = ctx->data;

    return ngx_http_lines_reply_copy(r, reply, 0, &create->recorded) == NGX_OK
           && ngx_http_lines_reply_copy(r, reply, 1, &create->recorded_print)
              == NGX_OK
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_lines_create_pending(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t                 id;
    ngx_http_lines_create_t  *create;

    create = ctx->data;

    ngx_str_null(&create->blocking);

    if (reply->type != REDIS_REPLY_STRING) {
        return NGX_OK;
    }

    id.data = (u_char *) reply->str;
    id.len = reply->len;

    create->blocking.len = id.len;
    create->blocking.data = ngx_pstrdup(r->pool, &id);

    return create->blocking.data ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_lines_create_tenant(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t                 value;
    ngx_http_lines_create_t  *create;

    create = ctx->data;

    if (ngx_http_lines_reply_copy(r, reply, 0, &create->plan_name) != NGX_OK
        || ngx_http_lines_reply_copy(r, reply, 1, &create->subscription)
           != NGX_OK
        || ngx_http_lines_reply_copy(r, reply, 2, &create->customer)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    value = ngx_http_lines_reply_str(reply, 3);
    create->included = value.len ? ngx_atoi(value.data, value.len) : 0;

    value = ngx_http_lines_reply_str(reply, 4);
    create->paid = value.len ? ngx_atoi(value.data, value.len) : 0;

    ctx->identity.plan = create->plan_name;

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_create_decide(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_http_lines_plan_t      *plan;
    ngx_http_lines_create_t    *create;

    create = ctx->data;

    if (create->recorded.len) {
        return ngx_http_lines_idempotency_replay(r, ctx, &create->idem,
                                                 &create->recorded,
                                                 &create->recorded_print);
    }

    if (!ngx_http_lines_is(&create->subscription, "active")) {
        return ngx_http_lines_create_subscription(r, ctx,
                                                  &create->subscription);
    }

    if (create->blocking.len) {
        return ngx_http_lines_create_blocked(r, ctx, &create->blocking);
    }

    plan = ngx_http_lines_find_plan(ngx_http_lines_get_main_conf(r),
                                    &create->plan_name,
                                    create->input.email_channel
                                    ? NGX_HTTP_LINES_EMAIL
                                    : NGX_HTTP_LINES_PHONE);

    if (plan == NULL
        || (plan->max != NGX_HTTP_LINES_UNLIMITED
            && create->included + create->paid >= plan->max)
        || (create->included >= plan->included && plan->price.len == 0))
    {
        return ngx_http_lines_create_full(r, ctx);
    }

    create->plan = plan;
    create->payment = (create->included >= plan->included);

    if (create->payment && create->customer.len == 0) {
        return ngx_http_lines_create_customer(r, ctx);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_lines_create_again(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_http_lines_create_t  *create;

    create = ctx->data;

    if (++create->tries == NGX_HTTP_LINES_CREATE_TRIES) {
        return ngx_http_lines_unavailable(r, ctx, 1);
    }

    while (*ctx->step != ngx_http_lines_create_check) {
        ctx->step--;
    }

    ctx->step--;

    return NGX_OK;
}


ngx_int_t
ngx_http_lines_create_subscription(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_str_t *state)
{
    if (ngx_http_lines_is(state, "past_due")) {
        return ngx_http_lines_answer_format(r, ctx, 402,
                   "{\"error\":\"READ_ONLY\",\"code\":\"READ_ONLY\","
                   "\"reason\":\"past_due\"}");
    }

    return ngx_http_lines_business_error(r, ctx, NGX_HTTP_FORBIDDEN,
               "subscription_required",
               "An active subscription is required to request lines.",
               "/billing");
}


/* the plan would allow it, but nobody is there to be charged */

ngx_int_t
ngx_http_lines_create_customer(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    return ngx_http_lines_business_error(r, ctx, NGX_HTTP_FORBIDDEN,
               "subscription_required",
               "Another line has to be paid for, and the workspace has no "
               "customer at billing: set up billing first.",
               "/billing");
}


ngx_int_t
ngx_http_lines_create_full(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_http_lines_create_t  *create;

    create = ctx->data;

    return ngx_http_lines_business_error(r, ctx, NGX_HTTP_FORBIDDEN,
               "forbidden_line_type",
               create->input.email_channel
               ? "Your plan does not allow another email line."
               : "Your plan does not allow another phone line.",
               NULL);
}


ngx_int_t
ngx_http_lines_create_blocked(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_str_t *id)
{
    ngx_uint_t                reconcile;
    ngx_http_lines_create_t  *create;

    create = ctx->data;

    reconcile = !create->reconciled;
    create->reconciled = 1;

    return ngx_http_lines_blocked(r, ctx, id, reconcile,
                                  ngx_http_lines_create_again);
}
