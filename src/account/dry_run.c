
/*
 * POST lines/provision-confirm with "dry_run": what it would come upon.  Nothing
 * is charged, nor written, but that billing was asked; the token is good for a
 * confirm yet.
 */

#include "account/account.h"
#include "api/json.h"
#include "api/tenant_limits.h"
#include "billing/billing.h"
#include "http/answer.h"
#include "http/steps.h"


static void dry_run_card(void *data, lines_billing_result_t *result);


static void
dry_run_cleanup(void *data)
{
    lines_carrier_destroy(data);
}


static ngx_int_t
dry_run_ask(lines_dry_run_t *dry, lines_billing_kind_e kind, ngx_str_t *id)
{
    lines_billing_ask_t  ask = {
        .kind = kind, .id = *id, .rank = LINES_BUDGET_NEW
    };

    return lines_billing_ask(dry->carrier, &ask, dry_run_card, dry)
           == NGX_AGAIN
           ? NGX_AGAIN : lines_unavailable(dry->ctx->request, dry->ctx, 1);
}


/* as purchase.c looks for it: the customer's own, or any */

static void
dry_run_card(void *data, lines_billing_result_t *result)
{
    lines_dry_run_t *dry = data;

    ngx_int_t                 rc;
    ngx_uint_t                known;
    lines_ctx_t              *ctx = dry->ctx;
    lines_json_t              json = { .pool = ctx->request->pool };
    lines_stripe_customer_t  *customer = result->customer;

    known = result->outcome == LINES_STRIPE_OK
            && (customer == NULL || !customer->deleted);

    if (known && result->payment_method.len) {
        lines_json_add(&json, "{'status':'OK','dry_run':true");

        if (dry->offer.reserved.len) {
            lines_json_add(&json, ",'phone_number':'%V'",
                           &dry->offer.reserved);
        }

        lines_json_add(&json, ",'message':'A confirm would buy a line now; "
                       "nothing was charged, and the preview_token is still "
                       "good'}");

        rc = lines_json_answer(ctx, NGX_HTTP_OK, &json);

    } else if (known && customer) {
        rc = dry_run_ask(dry, LINES_BILLING_CARD, &customer->id);

    } else if (known || customer || result->outcome == LINES_STRIPE_MISSING) {
        rc = lines_account_no_card(ctx);

    } else {
        rc = lines_unavailable(ctx->request, ctx, 1);
    }

    lines_resume(ctx->request, ctx, rc);
}


static ngx_int_t
dry_run_begin(lines_dry_run_t *dry)
{
    lines_ctx_t         *ctx = dry->ctx;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(ctx->request->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    dry->carrier = lines_carrier_create(lines_get_main_conf(ctx->request),
                                        &ctx->request_id, ngx_cycle->log);
    if (dry->carrier == NULL) {
        return lines_unavailable(ctx->request, ctx, 1);
    }

    cln->handler = dry_run_cleanup;
    cln->data = dry->carrier;

    return dry_run_ask(dry, LINES_BILLING_CUSTOMER, &dry->customer);
}


static ngx_int_t
dry_run_taken(void *data, lines_calls_take_reply_t *reply)
{
    lines_dry_run_t *dry = data;

    static ngx_str_t  bound = ngx_string("billing");

    return reply->ms ? lines_tenant_limited(dry->ctx, &bound, reply->ms)
                     : dry_run_begin(dry);
}


ngx_int_t
lines_dry_run(ngx_http_request_t *r, lines_ctx_t *ctx, lines_dry_run_t *dry,
    ngx_str_t *customer)
{
    ngx_int_t               rc;
    lines_tenant_limits_t  *limits;

    if (dry->wished && dry->offer.reserved.len == 0) {
        return lines_error(r, ctx, NGX_HTTP_CONFLICT, "number_changed",
                           "The number that was reserved is no longer "
                           "available; a confirm shows another");
    }

    rc = lines_offer_judge(r, ctx, &dry->offer);

    if (rc != NGX_OK) {
        return rc;
    }

    if (customer->len == 0) {
        return lines_account_no_card(ctx);
    }

    dry->ctx = ctx;
    dry->customer = *customer;

    limits = lines_tenant_limits_of(r);

    return limits->interval.len
           ? lines_calls_take(&ctx->caller, dry_run_taken, dry,
                              .tenant = ctx->identity.tenant,
                              .interval = limits->interval,
                              .size = limits->size)
           : dry_run_begin(dry);
}
