
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "billing/money.h"
#include "http/answer.h"
#include "http/failpoint.h"
#include "http/steps.h"
#include "http/text.h"
#include "operation/event.h"
#include "operation/operation.h"
#include "operation/subscription.h"
#include "store/calls.h"


#define LINES_CUSTOMER_TENANTS  64


typedef struct {
    lines_look_t      look;
    lines_carrier_t  *carrier;    /* where it does not say whose it is */
    ngx_str_t         customer;
    ngx_str_t        *tenants;    /* of the customer */
    ngx_str_t        *plans;      /* their operations */
    ngx_uint_t        ntenants;
    ngx_uint_t        left;
} lines_event_t;


static ngx_int_t event_ignore(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_uint_t event_known(ngx_str_t *type);
static ngx_int_t event_payment(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_stripe_event_t *event);
static ngx_int_t event_ask(lines_ctx_t *ctx, lines_billing_kind_e kind,
    ngx_str_t *id, lines_billing_pt handler);
static void event_paid(void *data, lines_billing_result_t *result);
static void event_invoice(void *data, lines_billing_result_t *result);
static void event_carrier_cleanup(void *data);
static ngx_int_t event_end(lines_look_t *look);
static ngx_int_t look_operation(void *data, lines_op_seen_reply_t *reply);
static ngx_uint_t look_is_name(ngx_str_t *name);
static ngx_int_t look_news(void *data, lines_op_wake_reply_t *reply);
static ngx_int_t look_billed(lines_look_t *look);
static ngx_int_t look_line(void *data, lines_line_billed_reply_t *reply);
static ngx_int_t look_derive(lines_look_t *look, const char *prefix,
    ngx_str_t *name, lines_due_add_pt done);
static ngx_int_t look_announce(lines_look_t *look, ngx_str_t *tenant,
    ngx_str_t *id, lines_due_add_pt done);
static ngx_int_t look_orphan(void *data, lines_due_add_reply_t *reply);
static ngx_int_t look_orphaned(void *data, lines_orphan_begin_reply_t *reply);
static ngx_int_t look_release(void *data, lines_due_add_reply_t *reply);
static ngx_int_t look_released(void *data, lines_release_again_reply_t *reply);
static ngx_int_t look_lapse(void *data, lines_due_add_reply_t *reply);
static ngx_int_t look_lapsed(void *data, lines_lapse_begin_reply_t *reply);
static ngx_int_t look_plan(void *data, lines_due_add_reply_t *reply);
static ngx_int_t look_planned(void *data, lines_plan_begin_reply_t *reply);
static ngx_int_t look_hint(lines_look_t *look, ngx_str_t *tenant,
    ngx_str_t *id, lines_due_add_pt done);
static ngx_int_t look_hinted(void *data, lines_due_add_reply_t *reply);
static ngx_int_t look_spawn(lines_look_t *look);
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
    "refund.failed",
    "refund.updated",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
    NULL
};


ngx_int_t
lines_webhook_event(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_stripe_event_t *event)
{
    ngx_uint_t                    i;
    lines_look_t                 *look;
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

    look = &ev->look;
    look->lmcf = lmcf;
    look->caller = &ctx->caller;
    look->pool = r->pool;
    look->log = r->connection->log;
    look->end = event_end;
    look->data = ctx;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines event: \"%V\" %V", &event->id, &event->type);

    if (event->kind == LINES_STRIPE_INVOICE) {
        invoice = &event->object.invoice;

        look->metadata = &invoice->metadata;
        look->subscription = invoice->subscription;
        look->invoice = invoice->id;
        look->paid = lines_is(&event->type, "invoice.paid");

        return look->metadata->deployment.len ? lines_look(look)
                                              : event_ignore(r, ctx);
    }

    if (event->kind != LINES_STRIPE_SUBSCRIPTION) {
        return event_payment(r, ctx, event);
    }

    subscription = &event->object.subscription;

    lines_look_at(look, subscription);
    look->gone = lines_is(&event->type, "customer.subscription.deleted");
    ev->customer = subscription->customer;

    if (lines_look_ours(look)) {

        /* what we create ourselves is no news */

        return lines_is(&event->type, "customer.subscription.created")
               ? event_ignore(r, ctx)
               : lines_look(look);
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
        return event_ignore(r, ctx);
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


static ngx_int_t
event_ask(lines_ctx_t *ctx, lines_billing_kind_e kind, ngx_str_t *id,
    lines_billing_pt handler)
{
    lines_event_t        *ev = ctx->data;
    lines_billing_ask_t   ask = { .kind = kind, .id = *id };

    return lines_billing_ask(ev->carrier, &ask, handler, ctx) == NGX_AGAIN
           ? NGX_AGAIN : lines_unavailable(ctx->request, ctx, 1);
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


static void
event_invoice(void *data, lines_billing_result_t *result)
{
    lines_ctx_t *ctx = data;

    ngx_int_t            rc;
    lines_event_t       *ev = ctx->data;
    lines_look_t        *look = &ev->look;
    ngx_http_request_t  *r = ctx->request;

    if (result->invoice) {
        look->metadata = &result->invoice->metadata;
        look->subscription = result->invoice->subscription;
        look->invoice = result->invoice->id;

        rc = look->metadata->deployment.len ? lines_look(look)
                                            : event_ignore(r, ctx);

    } else {
        rc = result->outcome == LINES_STRIPE_OK
             || result->outcome == LINES_STRIPE_REFUSED
             ? event_ignore(r, ctx) : lines_unavailable(r, ctx, 1);
    }

    lines_resume(r, ctx, rc);
}


static void
event_carrier_cleanup(void *data)
{
    lines_carrier_destroy(data);
}


static ngx_int_t
event_end(lines_look_t *look)
{
    lines_ctx_t *ctx = look->data;

    return look->later ? lines_unavailable(ctx->request, ctx, 1)
                       : event_ignore(ctx->request, ctx);
}


void
lines_look_at(lines_look_t *look, lines_stripe_subscription_t *subscription)
{
    look->metadata = &subscription->metadata;
    look->subscription = subscription->id;
    look->invoice = subscription->invoice.id;
    look->status = subscription->status;
    look->created = subscription->created;
}


ngx_uint_t
lines_look_ours(lines_look_t *look)
{
    return look->metadata->deployment.len
           && (look->metadata->line.len || look->metadata->operation.len);
}


/* what metadata says becomes part of keys */

static ngx_uint_t
look_is_name(ngx_str_t *name)
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


ngx_int_t
lines_look(lines_look_t *look)
{
    ngx_str_t  name;

    look->follows = LINES_FOLLOWS_NOTHING;
    look->tenant = look->metadata->tenant;
    look->id = look->metadata->line.len
               ? look->metadata->line
               : look->metadata->operation;

    if (look->tenant.len < 3) {
        return look->end(look);
    }

    name.data = look->tenant.data + 2;
    name.len = look->tenant.len - 2;

    if ((look->tenant.data[0] != 'w' && look->tenant.data[0] != 'a')
        || look->tenant.data[1] != ':'
        || !look_is_name(&name)
        || !look_is_name(&look->id)
        || !look_is_name(&look->subscription))
    {
        return look->end(look);
    }

    return lines_op_seen(look->caller, look_operation, look,
                         .tenant = look->tenant, .id = look->id);
}


static ngx_int_t
look_operation(void *data, lines_op_seen_reply_t *reply)
{
    lines_look_t *look = data;

    ngx_uint_t  older;

    older = (look->metadata->attempt
             && (int64_t) look->metadata->attempt < reply->attempt)
            || (reply->subscription.len
                && !lines_same(&reply->subscription, &look->subscription));

    look->unfinished = reply->step.len && !lines_is(&reply->step, "done")
                       && !older;

    look->unknown = (reply->step.len == 0);

    /* what a bank took back ends a line, whatever else goes on with it */

    if (!look->unfinished || look->disputed) {
        return look_billed(look);
    }

    look->follows = LINES_FOLLOWS_NEWS;

    if (look->judge) {
        return look->end(look);
    }

    look->spawn = look->id;

    return lines_op_wake(look->caller, look_news, look,
                         .tenant = look->tenant, .id = look->id);
}


/* known to whoever holds it; the hint is for when nobody does */

static ngx_int_t
look_news(void *data, lines_op_wake_reply_t *reply)
{
    lines_look_t *look = data;

    LINES_FAILPOINT("event.news.after");

    /* it has ended since it was seen: the news is its line's */

    return reply->unfinished
           ? look_hint(look, &look->tenant, &look->id, look_hinted)
           : look_billed(look);
}


static ngx_int_t
look_billed(lines_look_t *look)
{
    return lines_line_billed(look->caller, look_line, look,
                             .tenant = look->tenant, .id = look->id);
}


static ngx_int_t
look_line(void *data, lines_line_billed_reply_t *reply)
{
    lines_look_t *look = data;

    ngx_uint_t   ours, failed, holds, fine, due, doubt;
    lines_sub_e  sub;

    look->line = *reply;
    look->follows = LINES_FOLLOWS_NOTHING;

    doubt = reply->suspended.len
            || reply->reading.len
            || (reply->lapsed.len && reply->ended.len == 0);

    ours = reply->subscription.len
           && lines_same(&reply->subscription, &look->subscription);

    failed = ours && lines_status(&reply->status) == LINES_FAILED;

    holds = ours && !failed && lines_status(&reply->status) != LINES_CANCELED;

    sub = lines_op_sub(&look->status);
    fine = (sub == LINES_SUB_LIVE);
    due = (sub == LINES_SUB_OVERDUE);

    if (!holds) {

        /*
         * Money came in, or will, that nobody waited for.  Of another name, it
         * may well be another deployment's.  What has ended, and was nobody's
         * that is known, may have been ended by us, and forgotten with what was
         * to go back.
         */

        if (((look->status.len ? fine || due : look->paid)
             || (sub == LINES_SUB_ENDED && look->unknown
                 && reply->status.len == 0))
            && lines_billing_ours(look->lmcf->billing, look->metadata))
        {
            look->follows = LINES_FOLLOWS_ORPHAN;
        }

    /* it should have been canceled long ago, or is being so */

    } else if (reply->released.len && (fine || due)) {
        look->follows = LINES_FOLLOWS_RELEASE;

    /* that all is well is news where it was not, or may be known not to be */

    } else if (doubt
               || look->disputed
               || (look->status.len && (!fine || look->gone)))
    {
        look->follows = LINES_FOLLOWS_LAPSE;
    }

    /* of a line that is to be handed out yet: billing tells it again */

    if (look->disputed && look->unfinished && !holds) {
        look->later = 1;
    }

    if (look->judge || look->follows == LINES_FOLLOWS_NOTHING) {
        return look->end(look);
    }

    if (look->follows == LINES_FOLLOWS_LAPSE) {
        return lines_look_lapse(look);
    }

    if (look->follows == LINES_FOLLOWS_RELEASE) {
        return look_derive(look, "end:", &look->id, look_release);
    }

    /* what it cost is given back by one that may be under way */

    return failed ? look_derive(look, "refund:", &look->id, look_orphan)
                  : look_derive(look, "orphan:", &look->subscription,
                                look_orphan);
}


/* an operation of its own: where it is looked up, when it is due, its begin */

static ngx_int_t
look_derive(lines_look_t *look, const char *prefix, ngx_str_t *name,
    lines_due_add_pt done)
{
    return lines_derive_id(look->pool, prefix, name, &look->spawn) == NGX_OK
           ? look_announce(look, &look->tenant, &look->spawn, done)
           : NGX_ERROR;
}


static ngx_int_t
look_announce(lines_look_t *look, ngx_str_t *tenant, ngx_str_t *id,
    lines_due_add_pt done)
{
    ngx_int_t  rc;

    rc = lines_ix_put(look->caller, NULL, NULL, .id = *id, .tenant = *tenant);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return look_hint(look, tenant, id, done);
}


static ngx_int_t
look_orphan(void *data, lines_due_add_reply_t *reply)
{
    lines_look_t *look = data;

    int64_t  attempt;

    ngx_log_error(NGX_LOG_WARN, look->log, 0,
                  "lines: no line holds subscription \"%V\" of \"%V\": it is "
                  "refunded by operation %V", &look->subscription,
                  &look->tenant, &look->spawn);

    attempt = look->metadata->attempt;

    return lines_orphan_begin(look->caller, look_orphaned, look,
                              .tenant = look->tenant, .id = look->spawn,
                              .line = look->id,
                              .subscription = look->subscription,
                              .invoice = look->invoice,
                              .attempt = attempt ? &attempt : NULL);
}


static ngx_int_t
look_orphaned(void *data, lines_orphan_begin_reply_t *reply)
{
    return look_spawn(data);
}


static ngx_int_t
look_release(void *data, lines_due_add_reply_t *reply)
{
    lines_look_t *look = data;

    return lines_release_again(look->caller, look_released, look,
                               .tenant = look->tenant, .id = look->spawn,
                               .line = look->id,
                               .subscription = look->subscription);
}


static ngx_int_t
look_released(void *data, lines_release_again_reply_t *reply)
{
    return look_spawn(data);
}


ngx_int_t
lines_look_lapse(lines_look_t *look)
{
    return look_derive(look, "lapse:", &look->subscription, look_lapse);
}


static ngx_int_t
look_lapse(void *data, lines_due_add_reply_t *reply)
{
    lines_look_t *look = data;

    ngx_str_t  none = ngx_null_string;

    return lines_lapse_begin(look->caller, look_lapsed, look,
                             .tenant = look->tenant, .id = look->spawn,
                             .line = look->id,
                             .subscription = look->subscription,
                             .invoice = look->disputed ? look->invoice : none,
                             .news = 1);
}


static ngx_int_t
look_lapsed(void *data, lines_lapse_begin_reply_t *reply)
{
    lines_look_t *look = data;

    if (look->disputed
        && look->unfinished
        && reply->is == LINES_LAPSE_BEGIN_NONE)
    {
        look->later = 1;
        return look->end(look);
    }

    return look_spawn(look);
}


ngx_int_t
lines_look_plan(lines_look_t *look)
{
    return lines_plan_id(look->pool, &look->tenant, &look->spawn) == NGX_OK
           ? look_announce(look, &look->tenant, &look->spawn, look_plan)
           : NGX_ERROR;
}


static ngx_int_t
look_plan(void *data, lines_due_add_reply_t *reply)
{
    lines_look_t *look = data;

    return lines_plan_begin(look->caller, look_planned, look,
                            .tenant = look->tenant, .id = look->spawn,
                            .customer = look->customer);
}


static ngx_int_t
look_planned(void *data, lines_plan_begin_reply_t *reply)
{
    return look_spawn(data);
}


/* look at it now: the hint outlives this worker */

static ngx_int_t
look_hint(lines_look_t *look, ngx_str_t *tenant, ngx_str_t *id,
    lines_due_add_pt done)
{
    return lines_due_add(look->caller, done, look,
                         .shard = lines_due_shard(id), .tenant = *tenant,
                         .id = *id, .delay = 0);
}


static ngx_int_t
look_hinted(void *data, lines_due_add_reply_t *reply)
{
    return look_spawn(data);
}


static ngx_int_t
look_spawn(lines_look_t *look)
{
    (void) lines_op_spawn(look->lmcf, &look->tenant, &look->spawn);

    return look->end(look);
}


/*
 * A base plan: it is the workspaces' of its customer.  Each is read by
 * an operation of its own.
 */

static ngx_int_t
event_base(ngx_http_request_t *r, lines_ctx_t *ctx, lines_event_t *ev)
{
    if (!look_is_name(&ev->customer)) {
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
        rc = look_announce(&ev->look, &ev->tenants[i], &ev->plans[i],
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
    lines_look_t *look = data;

    ngx_int_t       rc;
    ngx_uint_t      i;
    lines_ctx_t    *ctx = look->data;
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
