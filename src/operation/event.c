
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/failpoint.h"
#include "operation/event_private.h"
#include "store/scripts.h"


static ngx_uint_t event_known(ngx_str_t *type);
static ngx_int_t event_ours(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_event_t *ev);
static ngx_int_t event_operation(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t event_news(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t event_line(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t event_derive(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *prefix, lines_reply_pt handler);
static ngx_int_t event_orphan(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t event_lapse(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t event_begun(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t event_spawn(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);


/* those that a transition may follow from */

static ngx_str_t  event_types[] = {
    ngx_string("invoice.paid"),
    ngx_string("invoice.voided"),
    ngx_string("invoice.payment_failed"),
    ngx_string("invoice.payment_action_required"),
    ngx_string("invoice.marked_uncollectible"),
    ngx_string("customer.subscription.created"),
    ngx_string("customer.subscription.updated"),
    ngx_string("customer.subscription.deleted"),
    ngx_null_string
};


ngx_int_t
lines_webhook_event(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_stripe_event_t *event)
{
    ngx_uint_t                    i;
    lines_event_t                *ev;
    lines_main_conf_t            *lmcf;
    lines_stripe_invoice_t       *invoice;
    lines_stripe_subscription_t  *subscription;

    lmcf = lines_get_main_conf(r);

    if (lmcf->billing == NULL
        || event->kind == LINES_STRIPE_OTHER
        || !event_known(&event->type))
    {
        return lines_event_ignore(r, ctx);
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
               : lines_event_ignore(r, ctx);
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
               ? lines_event_ignore(r, ctx)
               : event_ours(r, ctx, ev);
    }

    for (i = 0; i < subscription->nprices; i++) {
        if (lines_billing_plan(lmcf->billing, &subscription->prices[i])) {
            return lines_event_base(r, ctx, ev);
        }
    }

    return lines_event_ignore(r, ctx);
}


ngx_int_t
lines_event_ignore(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_answer_format(r, ctx, NGX_HTTP_OK, "{\"received\":true}");
}


static ngx_uint_t
event_known(ngx_str_t *type)
{
    ngx_str_t  *known;

    for (known = event_types; known->len; known++) {
        if (known->len == type->len
            && ngx_strncmp(known->data, type->data, type->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* what metadata says becomes part of keys */

ngx_uint_t
lines_event_is_name(ngx_str_t *name)
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
    ngx_str_t  name, argv[5];

    ev->tenant = ev->metadata->tenant;
    ev->id = ev->metadata->line.len
             ? ev->metadata->line
             : ev->metadata->operation;

    if (ev->tenant.len < 3) {
        return lines_event_ignore(r, ctx);
    }

    name.data = ev->tenant.data + 2;
    name.len = ev->tenant.len - 2;

    if ((ev->tenant.data[0] != 'w' && ev->tenant.data[0] != 'a')
        || ev->tenant.data[1] != ':'
        || !lines_event_is_name(&name)
        || !lines_event_is_name(&ev->id)
        || !lines_event_is_name(&ev->subscription))
    {
        return lines_event_ignore(r, ctx);
    }

    ngx_str_set(&argv[0], "HMGET");
    ngx_str_set(&argv[2], "step");
    ngx_str_set(&argv[3], "attempt");
    ngx_str_set(&argv[4], "subscription");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:op:%V", &ev->tenant,
                           &ev->id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 5, argv, event_operation);
}


static ngx_int_t
event_operation(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_int_t       attempt;
    ngx_str_t       step, value, held, argv[8];
    lines_event_t  *ev;

    ev = ctx->data;

    step = lines_reply_str(reply, 0);
    value = lines_reply_str(reply, 1);
    held = lines_reply_str(reply, 2);

    attempt = value.len ? ngx_atoi(value.data, value.len) : 0;

    ev->unfinished = (step.len && !lines_is(&step, "done"));

    ev->older = (ev->metadata->attempt
                 && (ngx_int_t) ev->metadata->attempt < attempt)
                || (held.len
                    && (held.len != ev->subscription.len
                        || ngx_strncmp(held.data, ev->subscription.data,
                                       held.len)
                           != 0));

    if (ev->unfinished && !ev->older) {
        ev->spawn = ev->id;

        if (lines_redis_format(r->pool, &argv[0], "lines:{%V}:op:%V",
                               &ev->tenant, &ev->id)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        return lines_eval(r, ctx, &lines_script_op_dirty, 1, 1, argv,
                          event_news);
    }

    ngx_str_set(&argv[0], "HMGET");
    ngx_str_set(&argv[2], "subscription");
    ngx_str_set(&argv[3], "status");
    ngx_str_set(&argv[4], "suspended");
    ngx_str_set(&argv[5], "reading");
    ngx_str_set(&argv[6], "lapsed");
    ngx_str_set(&argv[7], "ended");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:line:%V",
                           &ev->tenant, &ev->id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 8, argv, event_line);
}


/* known to whoever holds it; the hint is for when nobody does */

static ngx_int_t
event_news(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    lines_event_t  *ev;

    LINES_FAILPOINT("event.news.after");

    ev = ctx->data;

    return lines_event_hint(r, ctx, &ev->tenant, &ev->id, event_spawn);
}


static ngx_int_t
event_line(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t       held, status, suspended, reading, lapsed, ended;
    ngx_uint_t      holds, live, fine, doubt;
    lines_event_t  *ev;

    ev = ctx->data;

    held = lines_reply_str(reply, 0);
    status = lines_reply_str(reply, 1);
    suspended = lines_reply_str(reply, 2);
    reading = lines_reply_str(reply, 3);
    lapsed = lines_reply_str(reply, 4);
    ended = lines_reply_str(reply, 5);

    /* that all is well is news where it was not, or may be known not to be */

    doubt = suspended.len || reading.len || (lapsed.len && ended.len == 0);

    holds = held.len
            && held.len == ev->subscription.len
            && ngx_strncmp(held.data, ev->subscription.data, held.len) == 0
            && !lines_is(&status, "canceled");

    if (ev->event->kind == LINES_STRIPE_INVOICE) {

        /* money came in that nobody waited for */

        if (!holds && lines_is(&ev->event->type, "invoice.paid")) {
            return event_derive(r, ctx, "orphan:", event_orphan);
        }

        return (holds && doubt)
               ? event_derive(r, ctx, "lapse:", event_lapse)
               : lines_event_ignore(r, ctx);
    }

    fine = lines_is(&ev->status, "active")
           || lines_is(&ev->status, "trialing");

    live = fine || lines_is(&ev->status, "past_due");

    if (!holds) {
        return live
               ? event_derive(r, ctx, "orphan:", event_orphan)
               : lines_event_ignore(r, ctx);
    }

    if (fine
        && !doubt
        && !lines_is(&ev->event->type, "customer.subscription.deleted"))
    {
        return lines_event_ignore(r, ctx);
    }

    return event_derive(r, ctx, "lapse:", event_lapse);
}


/* an operation of its own: where it is looked up, when it is due, its begin */

static ngx_int_t
event_derive(ngx_http_request_t *r, lines_ctx_t *ctx, const char *prefix,
    lines_reply_pt handler)
{
    ngx_int_t       rc;
    ngx_str_t       argv[3];
    lines_event_t  *ev;

    ev = ctx->data;

    ngx_str_set(&argv[0], "SET");
    argv[2] = ev->tenant;

    if (lines_derive_id(r->pool, prefix, &ev->subscription, &ev->spawn)
        != NGX_OK
        || lines_redis_format(r->pool, &argv[1], "lines:{ix:%V}", &ev->spawn)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = lines_command(r, ctx, 3, argv, lines_event_indexed);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return lines_event_hint(r, ctx, &ev->tenant, &ev->spawn, handler);
}


ngx_int_t
lines_event_indexed(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    return NGX_OK;
}


static ngx_int_t
event_orphan(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t       args[4 + 4];
    lines_event_t  *ev;

    ev = ctx->data;

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "lines: no line holds subscription \"%V\" of \"%V\": it is "
                  "refunded by operation %V", &ev->subscription, &ev->tenant,
                  &ev->spawn);

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:op:%V", &ev->tenant,
                           &ev->spawn)
        != NGX_OK
        || lines_redis_format(r->pool, &args[1], "lines:{%V}:ops", &ev->tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[2], "lines:{%V}:line:%V",
                              &ev->tenant, &ev->id)
           != NGX_OK
        || lines_redis_format(r->pool, &args[3], "lines:{%V}:op:%V",
                              &ev->tenant, &ev->id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    args[4] = ev->spawn;
    args[5] = ev->subscription;
    args[6] = ev->invoice;
    ngx_str_null(&args[7]);

    if (ev->metadata->attempt
        && lines_redis_format(r->pool, &args[7], "%ui", ev->metadata->attempt)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_eval(r, ctx, &lines_script_orphan_begin, 4, 8, args,
                      event_begun);
}


static ngx_int_t
event_lapse(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t       args[3 + 4];
    lines_event_t  *ev;

    ev = ctx->data;

    if (lines_redis_format(r->pool, &args[0], "lines:{%V}:op:%V", &ev->tenant,
                           &ev->spawn)
        != NGX_OK
        || lines_redis_format(r->pool, &args[1], "lines:{%V}:ops", &ev->tenant)
           != NGX_OK
        || lines_redis_format(r->pool, &args[2], "lines:{%V}:line:%V",
                              &ev->tenant, &ev->id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    args[3] = ev->spawn;
    args[4] = ev->id;
    args[5] = ev->subscription;
    ngx_str_set(&args[6], "1");

    return lines_eval(r, ctx, &lines_script_lapse_begin, 3, 7, args,
                      event_begun);
}


static ngx_int_t
event_begun(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    return event_spawn(r, ctx, reply);
}


/* look at it now: the hint outlives this worker */

ngx_int_t
lines_event_hint(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *tenant,
    ngx_str_t *id, lines_reply_pt handler)
{
    ngx_str_t  args[3];

    if (lines_due(r->pool, tenant, id, &args[0], &args[1]) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_str_set(&args[2], "0");

    return lines_eval(r, ctx, &lines_script_due_add, 1, 3, args, handler);
}


static ngx_int_t
event_spawn(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    lines_event_t  *ev;

    ev = ctx->data;

    (void) lines_op_spawn(lines_get_main_conf(r), &ev->tenant, &ev->spawn, 0,
                          0);

    return lines_event_ignore(r, ctx);
}
