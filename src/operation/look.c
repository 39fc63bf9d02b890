
#include "http/failpoint.h"
#include "http/text.h"
#include "operation/look.h"
#include "operation/operation.h"


static ngx_int_t look_operation(void *data, lines_op_seen_reply_t *reply);
static ngx_int_t look_news(void *data, lines_op_wake_reply_t *reply);
static ngx_int_t look_billed(lines_look_t *look);
static ngx_int_t look_line(void *data, lines_line_billed_reply_t *reply);
static ngx_int_t look_listed(void *data, lines_tenants_has_reply_t *reply);
static ngx_int_t look_indexed(void *data, lines_ix_get_reply_t *reply);
static ngx_int_t look_lost(lines_look_t *look);
static ngx_int_t look_begins(lines_look_t *look);
static ngx_uint_t look_uncounted(lines_look_t *look, ngx_uint_t ours);
static ngx_int_t look_begin(lines_look_t *look, const char *prefix,
    ngx_str_t *name);
static ngx_int_t look_hint(lines_look_t *look);
static ngx_int_t look_hinted(void *data);
static ngx_int_t look_lapsed(void *data, lines_lapse_begin_reply_t *reply);
static ngx_int_t look_spawn(void *data);


void
lines_look_at(lines_look_t *look, lines_stripe_subscription_t *subscription)
{
    look->metadata = &subscription->metadata;
    look->subscription = subscription->id;
    look->invoice = subscription->invoice.id;
    look->status = subscription->status;
    look->created = subscription->created;
    look->ended = subscription->ended;
}


ngx_uint_t
lines_look_ours(lines_look_t *look)
{
    return look->metadata->deployment.len
           && (look->metadata->line.len || look->metadata->operation.len);
}


ngx_int_t
lines_look(lines_look_t *look)
{
    ngx_str_t  kind, name;

    look->follows = LINES_FOLLOWS_NOTHING;
    look->tenant = look->metadata->tenant;
    look->id = look->metadata->line.len
               ? look->metadata->line
               : look->metadata->operation;

    name = look->tenant;
    kind = lines_split(&name, ':');

    /* what metadata says becomes part of keys */

    if ((!lines_is(&kind, "w") && !lines_is(&kind, "a"))
        || !lines_is_tenant(&name)
        || !lines_is_tenant(&look->id)
        || !lines_is_tenant(&look->subscription))
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

    int64_t     attempt;
    ngx_uint_t  older;

    attempt = look->metadata->attempt;

    older = (attempt && attempt < reply->attempt)
            || (reply->subscription.len
                && !lines_same(&reply->subscription, &look->subscription));

    look->unfinished = reply->step.len && !lines_is(&reply->step, "done")
                       && !older;

    /* nothing of it is known, or it ended without having known this one */

    look->unknown = !look->unfinished && !older
                    && reply->subscription.len == 0;

    /*
     * What a bank took back ends a line, whatever else goes on with it; what
     * came in of one that failed, or ended, is not for its own to see.
     */

    if (!look->unfinished || look->disputed || (look->judge && look->paid)) {
        return look_billed(look);
    }

    look->follows = LINES_FOLLOWS_NEWS;

    if (look->judge) {
        return look->end(look);
    }

    look->spawn = look->id;

    return lines_op_wake(look->caller, look_news, look,
                         .tenant = look->tenant, .id = look->id,
                         .subscription = look->subscription,
                         .attempt = attempt ? &attempt : NULL);
}


/* known to whoever holds it; the hint is for when nobody does */

static ngx_int_t
look_news(void *data, lines_op_wake_reply_t *reply)
{
    lines_look_t *look = data;

    LINES_FAILPOINT("event.news.after");

    /*
     * It has ended since it was seen, or is at another attempt, or will end
     * without a look at money, as its line failed, or ended, or is included by
     * now, or it has given up a charge: the news is its line's, or an orphan's.
     */

    return reply->unfinished == 1 ? look_hint(look) : look_billed(look);
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

    ngx_uint_t   ours, holds, fine, due, doubt;
    lines_sub_e  sub;

    look->line = *reply;
    look->lost = 0;
    look->follows = LINES_FOLLOWS_NOTHING;

    doubt = reply->suspended.len
            || reply->reading.len
            || (reply->lapsed.len && reply->ended.len == 0);

    ours = reply->subscription.len
           && lines_same(&reply->subscription, &look->subscription);

    /*
     * Or ended as one does, though it was active: see told.lua.  By itself the
     * reason may be the provisioner's.
     */

    look->failed = ours
                   && (lines_status(&reply->status) == LINES_FAILED
                       || (reply->ended.len
                           && lines_is(&reply->reason, "payment_refunded")));

    holds = ours
            && !look->failed
            && lines_status(&reply->status) != LINES_CANCELED;

    sub = lines_op_sub(&look->status);
    fine = (sub == LINES_SUB_LIVE);
    due = (sub == LINES_SUB_OVERDUE);

    if (!holds) {

        /*
         * Money came in, or will, that nobody waited for.  Of another name, it
         * may well be another deployment's.
         */

        if (((look->status.len ? fine || due : look->paid)
             || (sub == LINES_SUB_ENDED && look_uncounted(look, ours)))
            && lines_same(&look->metadata->deployment,
                          &look->lmcf->billing->deployment))
        {
            look->follows = LINES_FOLLOWS_ORPHAN;
        }

    /*
     * It should have been canceled long ago, or is being so; and nobody's is
     * what came in since a line ended, and should that not go back.
     */

    } else if ((reply->released.len && (fine || due))
               || (look->paid && (reply->ended.len || reply->released.len)))
    {
        look->follows = LINES_FOLLOWS_RELEASE;

    /* that all is well is news where it was not, or may be known not to be */

    } else if (doubt
               || look->disputed
               || (look->status.len && (!fine || look->gone)))
    {
        look->follows = LINES_FOLLOWS_LAPSE;
    }

    if (look->unfinished
        && !look->disputed
        && look->judge
        && !look->failed
        && look->follows != LINES_FOLLOWS_RELEASE)
    {
        look->follows = LINES_FOLLOWS_NEWS;
    }

    /* of a line that is to be handed out yet: billing tells it again */

    if (look->disputed && look->unfinished && !holds) {
        look->later = 1;
    }

    /* one that is not here, and was never deleted: is it known elsewhere? */

    if (look->follows == LINES_FOLLOWS_ORPHAN && reply->stranger.len) {
        return lines_tenants_has(look->caller, look_listed, look,
                                 .tenant = look->tenant);
    }

    return look_begins(look);
}


/*
 * The list of tenants is in another slot, and so is the index of the line.  A
 * primary of a cluster that comes back empty has lost what its tenants bought,
 * which is no reason to take it from them.
 */

static ngx_int_t
look_listed(void *data, lines_tenants_has_reply_t *reply)
{
    lines_look_t *look = data;

    return reply->listed == 1
           ? look_lost(look)
           : lines_ix_get(look->caller, look_indexed, look, .id = look->id);
}


static ngx_int_t
look_indexed(void *data, lines_ix_get_reply_t *reply)
{
    lines_look_t *look = data;

    return reply->tenant.data && lines_same(&reply->tenant, &look->tenant)
           ? look_lost(look) : look_begins(look);
}


static ngx_int_t
look_lost(lines_look_t *look)
{
    look->lost = 1;

    if (!look->judge) {
        ngx_log_error(NGX_LOG_ALERT, look->log, 0,
                      "lines: tenant \"%V\" is known, and lost: subscription "
                      "\"%V\", which no line holds, is left alone",
                      &look->tenant, &look->subscription);
    }

    return look->end(look);
}


static ngx_int_t
look_begins(lines_look_t *look)
{
    if (look->judge || look->follows == LINES_FOLLOWS_NOTHING) {
        return look->end(look);
    }

    if (look->follows == LINES_FOLLOWS_LAPSE) {
        return look_begin(look, "lapse:", &look->subscription);
    }

    /* what a line cost is given back by one that may be under way */

    return look->failed || look->follows == LINES_FOLLOWS_RELEASE
           ? look_begin(look, "refund:", &look->id)
           : look_begin(look, "orphan:", &look->subscription);
}


ngx_int_t
lines_look_plan(lines_look_t *look)
{
    look->follows = LINES_FOLLOWS_PLAN;

    return look_begin(look, "plan:", &look->tenant);
}


/*
 * What has ended, and was nobody's that is known, may have been ended by us,
 * and forgotten with what was to go back.  Who was said to be canceled ended
 * without a look: what it was asked for, or held, was left to whoever hears.
 */

static ngx_uint_t
look_uncounted(lines_look_t *look, ngx_uint_t ours)
{
    lines_line_billed_reply_t  *line = &look->line;

    if (line->status.len && lines_status(&line->status) != LINES_CANCELED) {
        return 0;
    }

    return ours ? lines_is(&line->reason, "canceled_by_operator")
                : look->unknown && line->subscription.len == 0;
}


/* an operation of its own: where it is looked up, when it is due, its begin */

static ngx_int_t
look_begin(lines_look_t *look, const char *prefix, ngx_str_t *name)
{
    ngx_int_t  rc;

    if (lines_derive_id(look->pool, prefix, name, &look->spawn) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = lines_ix_put(look->caller, NULL, NULL, .id = look->spawn,
                      .tenant = look->tenant);

    /* its tenant may be gone, and then in no other list */

    if (rc == NGX_AGAIN && look->follows == LINES_FOLLOWS_ORPHAN) {
        rc = lines_orphaned_add(look->caller, NULL, NULL,
                                .tenant = look->tenant);
    }

    return rc == NGX_AGAIN ? look_hint(look) : rc;
}


/* look at it now: the hint outlives this worker */

static ngx_int_t
look_hint(lines_look_t *look)
{
    return lines_then_due_add(look->caller, look_hinted, look,
                              .shard = lines_due_shard(&look->spawn),
                              .tenant = look->tenant, .id = look->spawn,
                              .delay = 0);
}


static ngx_int_t
look_hinted(void *data)
{
    lines_look_t *look = data;

    int64_t    attempt;
    ngx_str_t  none = ngx_null_string;

    switch (look->follows) {

    case LINES_FOLLOWS_ORPHAN:
    case LINES_FOLLOWS_RELEASE:
        ngx_log_error(NGX_LOG_WARN, look->log, 0,
                      "lines: subscription \"%V\" of \"%V\" has no line: "
                      "operation %V cancels it, and gives back what is due",
                      &look->subscription, &look->tenant, &look->spawn);

        attempt = look->metadata->attempt;

        return lines_then_orphan_begin(look->caller, look_spawn, look,
                                       .tenant = look->tenant,
                                       .id = look->spawn, .line = look->id,
                                       .subscription = look->subscription,
                                       .invoice = look->invoice,
                                       .attempt = attempt ? &attempt : NULL);

    case LINES_FOLLOWS_LAPSE:
        return lines_lapse_begin(look->caller, look_lapsed, look,
                                 .tenant = look->tenant, .id = look->spawn,
                                 .line = look->id,
                                 .subscription = look->subscription,
                                 .invoice = look->disputed ? look->invoice
                                                           : none,
                                 .news = 1);

    case LINES_FOLLOWS_PLAN:
        return lines_then_plan_begin(look->caller, look_spawn, look,
                                     .tenant = look->tenant, .id = look->spawn,
                                     .customer = look->customer);

    default: /* LINES_FOLLOWS_NEWS */
        return look_spawn(look);
    }
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


static ngx_int_t
look_spawn(void *data)
{
    lines_look_t *look = data;

    /* who found none under way, just before, has taken it off that list */

    if (look->follows == LINES_FOLLOWS_ORPHAN) {
        (void) lines_forget_orphaned_add(look->caller, .tenant = look->tenant);
    }

    (void) lines_op_spawn(look->lmcf, &look->tenant, &look->spawn);

    return look->end(look);
}
