
/*
 * POST line-requests: a line of the plan at once, or one more against payment.
 * Here is what decides about it; workspace/line_request_begin.c begins it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "limit/limit.h"
#include "store/calls.h"
#include "workspace/line_request_create.h"
#include "workspace/payments.h"
#include "workspace/routes.h"
#include "workspace/workspace.h"


/* a begin may find the plan changed since it was read: look again */
#define LINES_CREATE_TRIES  3


static ngx_int_t create_validate(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t create_check(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t create_time(void *data, lines_time_reply_t *reply);
static ngx_int_t create_recorded(void *data, lines_idem_read_reply_t *reply);
static ngx_int_t create_pending(void *data, lines_pending_get_reply_t *reply);
static ngx_int_t create_tenant(void *data, lines_tenant_places_reply_t *reply);
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
    ngx_int_t                    rc;
    lines_create_t              *create;
    lines_idem_read_args_t       idem;
    lines_pending_get_args_t     pending;
    lines_tenant_places_args_t   tenant;

    create = ctx->data;

    rc = lines_time(&ctx->caller, NULL, create_time, ctx);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    if (create->idem.key.len) {
        idem.idem_key = create->idem.record;

        rc = lines_idem_read(&ctx->caller, &idem, create_recorded, ctx);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    pending.tenant = ctx->identity.tenant;

    rc = lines_pending_get(&ctx->caller, &pending, create_pending, ctx);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    tenant.tenant = ctx->identity.tenant;

    return lines_tenant_places(&ctx->caller, &tenant, create_tenant, ctx);
}


static ngx_int_t
create_time(void *data, lines_time_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_create_t  *create;

    create = ctx->data;
    create->now = reply->seconds * 1000 + reply->micros / 1000;

    return NGX_OK;
}


static ngx_int_t
create_recorded(void *data, lines_idem_read_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_create_t  *create;

    create = ctx->data;
    create->recorded = reply->operation;
    create->recorded_print = reply->fingerprint;

    return NGX_OK;
}


static ngx_int_t
create_pending(void *data, lines_pending_get_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_create_t  *create;

    create = ctx->data;
    create->blocking = reply->id;

    return NGX_OK;
}


static ngx_int_t
create_tenant(void *data, lines_tenant_places_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_create_t  *create;

    create = ctx->data;

    create->plan_name = reply->plan;
    create->subscription = reply->subscription;
    create->customer = reply->customer;

    if (create->input.email_channel) {
        create->included = reply->email_included;
        create->paid = reply->email_paid;

    } else {
        create->included = reply->phone_included;
        create->paid = reply->phone_paid;
    }

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
