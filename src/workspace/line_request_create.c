
/*
 * POST line-requests: a line of the plan at once, or one more against payment.
 * Here is what decides about it; workspace/line_request_begin.c begins it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "limit/limit.h"
#include "workspace/line_request_create.h"
#include "workspace/payments.h"
#include "workspace/routes.h"
#include "workspace/workspace.h"


/* a begin may find the plan changed since it was read: look again */
#define LINES_CREATE_TRIES  3


static ngx_int_t create_validate(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t create_check(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t create_time(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t create_tenant(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t create_pending(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t create_recorded(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t create_decide(ngx_http_request_t *r, lines_ctx_t *ctx);


lines_step_pt  lines_line_request_create_steps[] = {
    create_validate,                  /* 400 */
    create_check,
    create_decide,                    /* 402, 403, 409, 422 */
    lines_create_announce,
    lines_create_begin,               /* the same again, and 201 */
    NULL
};


static ngx_int_t
create_validate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t        fields[10];
    const char      *error;
    lines_input_t   *input;
    lines_create_t  *create;

    create = ngx_pcalloc(r->pool, sizeof(lines_create_t));
    if (create == NULL) {
        return NGX_ERROR;
    }

    ctx->data = create;
    input = &create->input;

    error = lines_parse_input(ctx->body, input);

    if (error) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL, error);
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

    return lines_idempotency_init(r, ctx, "line-requests",
                                  &input->idempotency_key, 10, fields,
                                  &create->idem);
}


/* one round trip for all that decides about the request */

static ngx_int_t
create_check(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t        rc;
    ngx_str_t        argv[8], *tenant;
    lines_create_t  *create;

    create = ctx->data;
    tenant = &ctx->identity.tenant;

    ngx_str_set(&argv[0], "TIME");

    rc = lines_command(r, ctx, 1, argv, create_time);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    if (create->idem.key.len) {
        ngx_str_set(&argv[0], "HMGET");
        argv[1] = create->idem.record;
        ngx_str_set(&argv[2], "operation");
        ngx_str_set(&argv[3], "fingerprint");

        rc = lines_command(r, ctx, 4, argv, create_recorded);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:pending", tenant)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "GET");

    rc = lines_command(r, ctx, 2, argv, create_pending);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:t", tenant)
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

    return lines_command(r, ctx, 7, argv, create_tenant);
}


static ngx_int_t
create_time(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t        value;
    ngx_int_t        sec, usec;
    lines_create_t  *create;

    create = ctx->data;

    value = lines_reply_str(reply, 0);
    sec = ngx_atoi(value.data, value.len);

    value = lines_reply_str(reply, 1);
    usec = ngx_atoi(value.data, value.len);

    if (sec == NGX_ERROR || usec == NGX_ERROR) {
        return NGX_ERROR;
    }

    create->now = (int64_t) sec * 1000 + usec / 1000;

    return NGX_OK;
}


static ngx_int_t
create_recorded(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    lines_create_t  *create;

    create = ctx->data;

    return lines_reply_copy(r, reply, 0, &create->recorded) == NGX_OK
           && lines_reply_copy(r, reply, 1, &create->recorded_print) == NGX_OK
           ? NGX_OK
           : NGX_ERROR;
}


static ngx_int_t
create_pending(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t        id;
    lines_create_t  *create;

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
create_tenant(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t        value;
    lines_create_t  *create;

    create = ctx->data;

    if (lines_reply_copy(r, reply, 0, &create->plan_name) != NGX_OK
        || lines_reply_copy(r, reply, 1, &create->subscription) != NGX_OK
        || lines_reply_copy(r, reply, 2, &create->customer) != NGX_OK)
    {
        return NGX_ERROR;
    }

    value = lines_reply_str(reply, 3);
    create->included = value.len ? ngx_atoi(value.data, value.len) : 0;

    value = lines_reply_str(reply, 4);
    create->paid = value.len ? ngx_atoi(value.data, value.len) : 0;

    ctx->identity.plan = create->plan_name;

    return NGX_OK;
}


static ngx_int_t
create_decide(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_plan_t    *plan;
    lines_create_t  *create;

    create = ctx->data;

    if (create->recorded.len) {
        return lines_idempotency_replay(r, ctx, &create->idem,
                                        &create->recorded,
                                        &create->recorded_print);
    }

    if (!lines_is(&create->subscription, "active")) {
        return lines_create_subscription(r, ctx, &create->subscription);
    }

    if (create->blocking.len) {
        return lines_create_blocked(r, ctx, &create->blocking);
    }

    plan = lines_find_plan(lines_get_main_conf(r), &create->plan_name,
                           create->input.email_channel
                           ? LINES_EMAIL
                           : LINES_PHONE);

    if (plan == NULL
        || (plan->max != LINES_UNLIMITED
            && create->included + create->paid >= plan->max)
        || (create->included >= plan->included && plan->price.len == 0))
    {
        return lines_create_full(r, ctx);
    }

    create->plan = plan;
    create->payment = (create->included >= plan->included);

    if (create->payment && create->customer.len == 0) {
        return lines_create_customer(r, ctx);
    }

    if (create->payment && lines_get_main_conf(r)->billing == NULL) {
        return lines_create_unbilled(r, ctx);
    }

    return NGX_OK;
}


ngx_int_t
lines_create_again(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_create_t  *create;

    create = ctx->data;

    if (++create->tries == LINES_CREATE_TRIES) {
        return lines_unavailable(r, ctx, 1);
    }

    lines_again_from(ctx, create_check);

    return NGX_OK;
}


ngx_int_t
lines_create_subscription(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *state)
{
    if (lines_is(state, "past_due")) {
        return lines_answer_format(r, ctx, 402,
                             "{\"error\":\"READ_ONLY\",\"code\":\"READ_ONLY\","
                             "\"reason\":\"past_due\"}");
    }

    return lines_business_error(r, ctx, NGX_HTTP_FORBIDDEN,
                        "subscription_required",
                        "An active subscription is required to request lines.",
                        "/billing");
}


/* the plan would allow it, but nobody is there to be charged */

ngx_int_t
lines_create_customer(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_business_error(r, ctx, NGX_HTTP_FORBIDDEN,
                   "subscription_required",
                   "Another line has to be paid for, and the workspace has no "
                   "customer at billing: set up billing first.", "/billing");
}


/* it must not pretend: without billing nothing is created */

ngx_int_t
lines_create_unbilled(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "lines: a line that has to be paid for needs lines_billing");

    return lines_unavailable(r, ctx, 60);
}


ngx_int_t
lines_create_full(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_create_t  *create;

    create = ctx->data;

    return lines_business_error(r, ctx, NGX_HTTP_FORBIDDEN,
                              "forbidden_line_type",
                              create->input.email_channel
                              ? "Your plan does not allow another email line."
                              : "Your plan does not allow another phone line.",
                              NULL);
}


ngx_int_t
lines_create_blocked(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *id)
{
    ngx_uint_t       reconcile;
    lines_create_t  *create;

    create = ctx->data;

    reconcile = !create->reconciled;
    create->reconciled = 1;

    return lines_blocked(r, ctx, id, reconcile, lines_create_again);
}
