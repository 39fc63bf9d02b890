
#include "billing/money.h"
#include "http/answer.h"
#include "http/steps.h"
#include "http/text.h"
#include "operation/look.h"
#include "webhook/event.h"


#define LINES_CUSTOMER_TENANTS  64


typedef struct {
    lines_look_t      look;
    lines_carrier_t  *carrier;    /* where it does not say whose it is */
    lines_list_t      tenants;    /* of a customer: those that are left */
    ngx_uint_t        plans;      /* and of how many a plan is read */
} lines_event_t;


/* those that a transition may follow from */

static const char  *event_types[] = {
    "invoice.paid",
    "invoice.voided",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.marked_uncollectible",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "refund.failed",
    "refund.updated",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
    NULL
};


static ngx_uint_t
event_known(ngx_str_t *type)
{
    const char  **known;

    for (known = event_types; *known; known++) {
        if (lines_is(type, *known)) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
event_end(lines_look_t *look)
{
    lines_ctx_t *ctx = look->data;

    return look->later ? lines_unavailable(ctx->request, ctx, 1) : NGX_OK;
}


static ngx_int_t
event_of(lines_look_t *look, lines_stripe_invoice_t *invoice)
{
    look->metadata = &invoice->metadata;
    look->subscription = invoice->subscription;
    look->invoice = invoice->id;

    return look->metadata->deployment.len ? lines_look(look) : NGX_OK;
}


static void
event_carrier_cleanup(void *data)
{
    lines_carrier_destroy(data);
}


static ngx_int_t
event_ask(lines_ctx_t *ctx, lines_billing_kind_e kind, ngx_str_t *id,
    lines_billing_pt handler)
{
    lines_event_t        *ev = ctx->data;
    lines_billing_ask_t   ask = { .kind = kind, .id = *id };

    return lines_billing_ask(ev->carrier, &ask, handler, ctx) == NGX_AGAIN
           ? NGX_AGAIN : lines_unavailable(ctx->request, ctx, 1);
}


/* NULL: it paid for none; or it cannot be had now */

static void
event_invoice(void *data, lines_billing_result_t *result)
{
    lines_ctx_t *ctx = data;

    ngx_int_t       rc;
    lines_event_t  *ev = ctx->data;

    if (result->invoice) {
        rc = event_of(&ev->look, result->invoice);

    } else {

        /* of no invoice; or it does not tell, and sends the event again */

        rc = result->outcome == LINES_STRIPE_OK
             || result->outcome == LINES_STRIPE_MISSING
             ? NGX_OK : lines_unavailable(ctx->request, ctx, 1);
    }

    lines_resume(ctx->request, ctx, rc);
}


static void
event_paid(void *data, lines_billing_result_t *result)
{
    lines_ctx_t *ctx = data;

    lines_stripe_entry_t  *entry;

    if (result->outcome != LINES_STRIPE_OK || result->list->nelts == 0) {
        event_invoice(data, result);
        return;
    }

    entry = result->list->elts;

    lines_resume(ctx->request, ctx,
                 event_ask(ctx, LINES_BILLING_INVOICE, &entry->invoice,
                           event_invoice));
}


/* a refund, or a dispute, is of a payment: of which invoice, billing says */

static ngx_int_t
event_payment(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_stripe_event_t *event)
{
    lines_event_t         *ev = ctx->data;
    ngx_pool_cleanup_t    *cln;
    lines_stripe_entry_t  *entry = &event->object.entry;

    /* one that was won is money that came in */

    ev->look.disputed = event->kind == LINES_STRIPE_DISPUTE
                        && lines_money_taken(&entry->status);
    ev->look.paid = !ev->look.disputed;

    /* other refunds are counted by who gives back */

    if (entry->payment.len == 0
        || (event->kind == LINES_STRIPE_REFUND
            && !lines_is(&entry->status, "failed")
            && !lines_is(&entry->status, "canceled")))
    {
        return NGX_OK;
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    ev->carrier = lines_carrier_create(ev->look.lmcf, &ctx->request_id,
                                       ngx_cycle->log);
    if (ev->carrier == NULL) {
        return lines_unavailable(r, ctx, 1);
    }

    cln->handler = event_carrier_cleanup;
    cln->data = ev->carrier;

    return event_ask(ctx, LINES_BILLING_PAID, &entry->payment, event_paid);
}


/* of the next workspace: each is read by an operation of its own */

static ngx_int_t
event_plan(lines_look_t *look)
{
    lines_event_t  *ev = ngx_queue_data(look, lines_event_t, look);

    while (ev->tenants.n) {
        look->tenant = ev->tenants.elts[--ev->tenants.n];

        if (look->tenant.len < 3 || look->tenant.data[0] != 'w') {
            continue;
        }

        if (++ev->plans <= LINES_CUSTOMER_TENANTS) {
            return lines_look_plan(look);
        }

        ngx_log_error(NGX_LOG_ERR, look->log, 0,
                      "lines: customer \"%V\" has too many workspaces",
                      &look->customer);

        ev->tenants.n = 0;
    }

    return NGX_OK;
}


static ngx_int_t
event_tenants(void *data, lines_tenants_of_reply_t *reply)
{
    lines_event_t *ev = data;

    ev->tenants = reply->tenants;

    return event_plan(&ev->look);
}


ngx_int_t
lines_webhook_event(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_stripe_event_t *event)
{
    ngx_str_t                     plan;
    lines_look_t                 *look;
    lines_event_t                *ev;
    lines_main_conf_t            *lmcf = lines_get_main_conf(r);
    lines_stripe_subscription_t  *subscription;

    if (!event_known(&event->type)) {
        return NGX_OK;
    }

    ev = ngx_pcalloc(r->pool, sizeof(lines_event_t));
    if (ev == NULL) {
        return NGX_ERROR;
    }

    ctx->data = ev;

    look = &ev->look;
    look->lmcf = lmcf;
    look->caller = &ctx->caller;
    look->pool = r->pool;
    look->log = r->connection->log;
    look->end = event_end;
    look->data = ctx;

    if (event->kind == LINES_STRIPE_INVOICE) {
        /* or in part, and nobody can pay the rest */

        look->paid = lines_is(&event->type, "invoice.paid")
                     || (event->object.invoice.amount_paid > 0
                         && !lines_is(&event->object.invoice.status, "open"));

        return event_of(look, &event->object.invoice);
    }

    if (event->kind != LINES_STRIPE_SUBSCRIPTION) {
        return event_payment(r, ctx, event);
    }

    subscription = &event->object.subscription;

    lines_look_at(look, subscription);
    look->gone = lines_is(&event->type, "customer.subscription.deleted");

    if (lines_look_ours(look)) {

        /* what we create ourselves is no news */

        return lines_is(&event->type, "customer.subscription.created")
               ? NGX_OK : lines_look(look);
    }

    /* a base plan: it is the workspaces' of its customer */

    if (lines_is_tenant(&subscription->customer)
        && lines_billing_base(lmcf->billing, subscription, &plan))
    {
        look->customer = subscription->customer;
        look->end = event_plan;

        return lines_tenants_of(&ctx->caller, event_tenants, ev,
                                .customer = look->customer);
    }

    return NGX_OK;
}
