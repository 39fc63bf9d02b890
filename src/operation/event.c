
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/answer.h"
#include "http/failpoint.h"
#include "http/text.h"
#include "operation/event.h"
#include "operation/operation.h"
#include "operation/subscription.h"
#include "store/calls.h"


#define LINES_CUSTOMER_TENANTS  64


typedef struct {
    lines_stripe_event_t     *event;
    lines_stripe_metadata_t  *metadata;

    ngx_str_t                 tenant;
    ngx_str_t                 id;         /* of the line's operation */
    ngx_str_t                 subscription;
    ngx_str_t                 invoice;
    ngx_str_t                 status;     /* of the subscription */
    ngx_str_t                 customer;

    ngx_str_t                 spawn;      /* operation to be started */

    ngx_str_t                *tenants;    /* of the customer */
    ngx_str_t                *plans;      /* their operations */
    ngx_uint_t                ntenants;
    ngx_uint_t                left;

    unsigned                  unfinished:1;
    unsigned                  older:1;    /* another attempt's object */
} lines_event_t;


static ngx_int_t event_ignore(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_uint_t event_known(ngx_str_t *type);
static ngx_int_t event_ours(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_event_t *ev);
static ngx_int_t event_operation(void *data, lines_op_seen_reply_t *reply);
static ngx_uint_t event_is_name(ngx_str_t *name);
static ngx_int_t event_news(void *data, lines_op_wake_reply_t *reply);
static ngx_int_t event_line(void *data, lines_line_billed_reply_t *reply);
static ngx_int_t event_derive(lines_ctx_t *ctx, const char *prefix,
    lines_due_add_pt done);
static ngx_int_t event_announce(lines_ctx_t *ctx, ngx_str_t *tenant,
    ngx_str_t *id, lines_due_add_pt done);
static ngx_int_t event_orphan(void *data, lines_due_add_reply_t *reply);
static ngx_int_t event_orphaned(void *data, lines_orphan_begin_reply_t *reply);
static ngx_int_t event_lapse(void *data, lines_due_add_reply_t *reply);
static ngx_int_t event_lapsed(void *data, lines_lapse_begin_reply_t *reply);
static ngx_int_t event_hint(lines_ctx_t *ctx, ngx_str_t *tenant, ngx_str_t *id,
    lines_due_add_pt done);
static ngx_int_t event_hinted(void *data, lines_due_add_reply_t *reply);
static ngx_int_t event_spawn(lines_ctx_t *ctx);
static ngx_int_t event_base(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_event_t *ev);
static ngx_int_t event_tenants(void *data, lines_tenants_of_reply_t *reply);
static ngx_int_t event_listed(void *data, lines_due_add_reply_t *reply);
static ngx_int_t event_begun(void *data, lines_plan_begin_reply_t *reply);


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
    NULL
};


ngx_int_t
lines_webhook_event(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_stripe_event_t *event)
{
    ngx_uint_t                    i;
    lines_event_t                *ev;
    lines_main_conf_t            *lmcf = lines_get_main_conf(r);
    lines_stripe_invoice_t       *invoice;
    lines_stripe_subscription_t  *subscription;

    if (lmcf->billing == NULL
        || event->kind == LINES_STRIPE_OTHER
        || !event_known(&event->type))
    {
        return event_ignore(r, ctx);
    }

    ev = ngx_pcalloc(r->pool, sizeof(lines_event_t));
    if (ev == NULL) {
        return NGX_ERROR;
    }

    ctx->data = ev;
    ev->event = event;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines event: \"%V\" %V", &event->id, &event->type);

    if (event->kind == LINES_STRIPE_INVOICE) {
        invoice = &event->object.invoice;

        ev->metadata = &invoice->metadata;
        ev->subscription = invoice->subscription;
        ev->invoice = invoice->id;

        return lines_billing_ours(lmcf->billing, ev->metadata)
               ? event_ours(r, ctx, ev)
               : event_ignore(r, ctx);
    }

    subscription = &event->object.subscription;

    ev->metadata = &subscription->metadata;
    ev->subscription = subscription->id;
    ev->invoice = subscription->invoice.id;
    ev->status = subscription->status;
    ev->customer = subscription->customer;

    if (lines_billing_ours(lmcf->billing, ev->metadata)
        && (ev->metadata->line.len || ev->metadata->operation.len))
    {
        /* what we create ourselves is no news */

        return lines_is(&event->type, "customer.subscription.created")
               ? event_ignore(r, ctx)
               : event_ours(r, ctx, ev);
    }

    for (i = 0; i < subscription->nprices; i++) {
        if (lines_billing_plan(lmcf->billing, &subscription->prices[i])) {
            return event_base(r, ctx, ev);
        }
    }

    return event_ignore(r, ctx);
}


static ngx_int_t
event_ignore(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    static ngx_str_t  received = ngx_string("{\"received\":true}");

    return lines_answer(r, ctx, NGX_HTTP_OK, &received);
}


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


/* what metadata says becomes part of keys */

static ngx_uint_t
event_is_name(ngx_str_t *name)
{
    u_char  ch;
    size_t  i;

    if (name->len == 0 || name->len > 64) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if (!((ch >= '0' && ch <= '9')
              || (ch >= 'A' && ch <= 'Z')
              || (ch >= 'a' && ch <= 'z')
              || ch == '_'
              || ch == '-'))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
event_ours(ngx_http_request_t *r, lines_ctx_t *ctx, lines_event_t *ev)
{
    ngx_str_t  name;

    ev->tenant = ev->metadata->tenant;
    ev->id = ev->metadata->line.len
             ? ev->metadata->line
             : ev->metadata->operation;

    if (ev->tenant.len < 3) {
        return event_ignore(r, ctx);
    }

    name.data = ev->tenant.data + 2;
    name.len = ev->tenant.len - 2;

    if ((ev->tenant.data[0] != 'w' && ev->tenant.data[0] != 'a')
        || ev->tenant.data[1] != ':'
        || !event_is_name(&name)
        || !event_is_name(&ev->id)
        || !event_is_name(&ev->subscription))
    {
        return event_ignore(r, ctx);
    }

    return lines_op_seen(&ctx->caller, event_operation, ctx,
                         .tenant = ev->tenant, .id = ev->id);
}


static ngx_int_t
event_operation(void *data, lines_op_seen_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    lines_event_t  *ev = ctx->data;

    ev->unfinished = (reply->step.len && !lines_is(&reply->step, "done"));

    ev->older = (ev->metadata->attempt
                 && (int64_t) ev->metadata->attempt < reply->attempt)
                || (reply->subscription.len
                    && !lines_op_same(&reply->subscription, &ev->subscription));

    if (ev->unfinished && !ev->older) {
        ev->spawn = ev->id;

        return lines_op_wake(&ctx->caller, event_news, ctx,
                              .tenant = ev->tenant, .id = ev->id);
    }

    return lines_line_billed(&ctx->caller, event_line, ctx,
                             .tenant = ev->tenant, .id = ev->id);
}


/* known to whoever holds it; the hint is for when nobody does */

static ngx_int_t
event_news(void *data, lines_op_wake_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    lines_event_t  *ev;

    LINES_FAILPOINT("event.news.after");

    ev = ctx->data;

    /* it has ended since it was seen: the news is its line's */

    return reply->unfinished
           ? event_hint(ctx, &ev->tenant, &ev->id, event_hinted)
           : lines_line_billed(&ctx->caller, event_line, ctx,
                               .tenant = ev->tenant, .id = ev->id);
}


static ngx_int_t
event_line(void *data, lines_line_billed_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    ngx_uint_t           holds, fine, doubt, invoice;
    lines_event_t       *ev = ctx->data;

    doubt = reply->suspended.len
            || reply->reading.len
            || (reply->lapsed.len && reply->ended.len == 0);

    holds = reply->subscription.len
            && lines_op_same(&reply->subscription, &ev->subscription)
            && lines_status(&reply->status) != LINES_CANCELED;

    invoice = (ev->event->kind == LINES_STRIPE_INVOICE);

    fine = lines_is(&ev->status, "active")
           || lines_is(&ev->status, "trialing");

    if (!holds) {

        /* money came in, or will, that nobody waited for */

        return (invoice
                ? lines_is(&ev->event->type, "invoice.paid")
                : fine || lines_is(&ev->status, "past_due"))
               ? event_derive(ctx, "orphan:", event_orphan)
               : event_ignore(ctx->request, ctx);
    }

    /* that all is well is news where it was not, or may be known not to be */

    return (doubt
            || (!invoice
                && (!fine
                    || lines_is(&ev->event->type,
                                "customer.subscription.deleted"))))
           ? event_derive(ctx, "lapse:", event_lapse)
           : event_ignore(ctx->request, ctx);
}


/* an operation of its own: where it is looked up, when it is due, its begin */

static ngx_int_t
event_derive(lines_ctx_t *ctx, const char *prefix, lines_due_add_pt done)
{
    lines_event_t  *ev = ctx->data;

    if (lines_derive_id(ctx->request->pool, prefix, &ev->subscription,
                        &ev->spawn)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return event_announce(ctx, &ev->tenant, &ev->spawn, done);
}


static ngx_int_t
event_announce(lines_ctx_t *ctx, ngx_str_t *tenant, ngx_str_t *id,
    lines_due_add_pt done)
{
    ngx_int_t  rc;

    rc = lines_ix_put(&ctx->caller, NULL, NULL, .id = *id, .tenant = *tenant);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return event_hint(ctx, tenant, id, done);
}


static ngx_int_t
event_orphan(void *data, lines_due_add_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    int64_t         attempt;
    lines_event_t  *ev = ctx->data;

    ngx_log_error(NGX_LOG_WARN, ctx->request->connection->log, 0,
                  "lines: no line holds subscription \"%V\" of \"%V\": it is "
                  "refunded by operation %V", &ev->subscription, &ev->tenant,
                  &ev->spawn);

    attempt = ev->metadata->attempt;

    return lines_orphan_begin(&ctx->caller, event_orphaned, ctx,
                              .tenant = ev->tenant, .id = ev->spawn,
                              .line = ev->id,
                              .subscription = ev->subscription,
                              .invoice = ev->invoice,
                              .attempt = attempt ? &attempt : NULL);
}


static ngx_int_t
event_orphaned(void *data, lines_orphan_begin_reply_t *reply)
{
    return event_spawn(data);
}


static ngx_int_t
event_lapse(void *data, lines_due_add_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    lines_event_t  *ev = ctx->data;

    return lines_lapse_begin(&ctx->caller, event_lapsed, ctx,
                             .tenant = ev->tenant, .id = ev->spawn,
                             .line = ev->id, .subscription = ev->subscription,
                             .news = 1);
}


static ngx_int_t
event_lapsed(void *data, lines_lapse_begin_reply_t *reply)
{
    return event_spawn(data);
}


/* look at it now: the hint outlives this worker */

static ngx_int_t
event_hint(lines_ctx_t *ctx, ngx_str_t *tenant, ngx_str_t *id,
    lines_due_add_pt done)
{
    return lines_due_add(&ctx->caller, done, ctx,
                         .shard = lines_due_shard(id), .tenant = *tenant,
                         .id = *id, .delay = 0);
}


static ngx_int_t
event_hinted(void *data, lines_due_add_reply_t *reply)
{
    return event_spawn(data);
}


static ngx_int_t
event_spawn(lines_ctx_t *ctx)
{
    lines_event_t       *ev = ctx->data;
    ngx_http_request_t  *r = ctx->request;

    (void) lines_op_spawn(lines_get_main_conf(r), &ev->tenant, &ev->spawn);

    return event_ignore(r, ctx);
}


/*
 * A base plan: it is the workspaces' of its customer.  Each is read by
 * an operation of its own.
 */

static ngx_int_t
event_base(ngx_http_request_t *r, lines_ctx_t *ctx, lines_event_t *ev)
{
    if (!event_is_name(&ev->customer)) {
        return event_ignore(r, ctx);
    }

    return lines_tenants_of(&ctx->caller, event_tenants, ctx,
                            .customer = ev->customer);
}


static ngx_int_t
event_tenants(void *data, lines_tenants_of_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    ngx_int_t            rc;
    ngx_str_t           *tenant;
    ngx_uint_t           i;
    lines_event_t       *ev = ctx->data;
    ngx_http_request_t  *r = ctx->request;

    if (reply->tenants.n > LINES_CUSTOMER_TENANTS) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "lines: customer \"%V\" has too many workspaces",
                      &ev->customer);
    }

    ev->tenants = reply->tenants.elts;
    ev->plans = ngx_pcalloc(r->pool,
                            (reply->tenants.n + 1) * sizeof(ngx_str_t));

    if (ev->plans == NULL) {
        return NGX_ERROR;
    }

    for (i = 0;
         i < reply->tenants.n && ev->ntenants < LINES_CUSTOMER_TENANTS;
         i++)
    {
        tenant = &reply->tenants.elts[i];

        if (tenant->len < 3 || tenant->data[0] != 'w') {
            continue;
        }

        if (lines_plan_id(r->pool, tenant, &ev->plans[ev->ntenants]) != NGX_OK)
        {
            return NGX_ERROR;
        }

        ev->tenants[ev->ntenants++] = *tenant;
    }

    if (ev->ntenants == 0) {
        return event_ignore(r, ctx);
    }

    for (i = 0; i < ev->ntenants; i++) {
        rc = event_announce(ctx, &ev->tenants[i], &ev->plans[i],
                                  event_listed);
        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return NGX_AGAIN;
}


static ngx_int_t
event_listed(void *data, lines_due_add_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    ngx_int_t       rc;
    ngx_uint_t      i;
    lines_event_t  *ev = ctx->data;

    /* all hints first */

    if (++ev->left < ev->ntenants) {
        return NGX_OK;
    }

    for (i = 0; i < ev->ntenants; i++) {
        rc = lines_plan_begin(&ctx->caller, event_begun, ctx,
                              .tenant = ev->tenants[i], .id = ev->plans[i],
                              .customer = ev->customer);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return NGX_AGAIN;
}


/* the last of several: all is recorded, and is read from here on */

static ngx_int_t
event_begun(void *data, lines_plan_begin_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    ngx_uint_t           i;
    lines_event_t       *ev = ctx->data;
    ngx_http_request_t  *r = ctx->request;

    if (--ev->left > 0) {
        return NGX_OK;
    }

    for (i = 0; i < ev->ntenants; i++) {
        (void) lines_op_spawn(lines_get_main_conf(r), &ev->tenants[i],
                              &ev->plans[i]);
    }

    return event_ignore(r, ctx);
}
