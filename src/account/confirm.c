
/*
 * POST lines/provision-confirm: uses up a preview token and buys a line.  All
 * that decides is read in one round trip; begin checks all of it again.
 */

#include "account/account.h"
#include "account/preview_token.h"
#include "account/routes.h"
#include "api/ask.h"
#include "api/client.h"
#include "api/idempotency.h"
#include "api/input.h"
#include "api/json.h"
#include "api/plan.h"
#include "api/tenant_limits.h"
#include "http/answer.h"
#include "http/failpoint.h"
#include "http/id.h"
#include "http/text.h"
#include "http/trace.h"
#include "operation/database.h"
#include "operation/operation.h"


typedef struct {
    ngx_str_t                   token;
    ngx_str_t                   reference;  /* the client's own */
    ngx_int_t                   issued;   /* NGX_OK: to this account;
                                             NGX_ABORT: to another */
    lines_idempotency_t         idem;
    ngx_str_t                   hash;
    ngx_str_t                   id;       /* of the operation */

    /* as read before begin */
    lines_tenant_offer_reply_t  tenant;
    lines_token_get_reply_t     held;     /* of the token */
    lines_purchase_get_reply_t  op;
    lines_line_exists_reply_t   line;
    lines_bound_read_reply_t    bound;    /* of lines_tenant_limits */
    lines_inv_held_reply_t      reserved; /* of a dry run */

    lines_plan_t               *plan;
    int64_t                     left;     /* ms, of the token */
    ngx_str_t                   number;   /* reserved for it; empty: any will
                                             do */
    ngx_str_t                   other;    /* that is reserved in its place */
    ngx_uint_t                  replay;   /* flag */
    lines_dry_run_t             dry;
} lines_confirm_t;


const lines_body_input_t  lines_account_confirm_input =
    lines_body_input(lines_confirm_t,
        lines_in_text("preview_token", lines_confirm_t, token, 1024,
                      .flags = LINES_REQUIRED|LINES_LOOSE,
                      .absent = "preview_token is required"),
        lines_in_text("customer_reference", lines_confirm_t, reference,
                      LINES_REFERENCE_MAX),
        lines_in_flag("dry_run", lines_confirm_t, dry.asked,
                      "dry_run must be true or false"));


ngx_int_t
lines_account_confirm_validate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t         account, asked[2], none = ngx_null_string;
    lines_confirm_t  *confirm = ctx->data;

    account = lines_account_id(ctx);

    confirm->issued = lines_preview_token_check(&account, &confirm->token);

    if (confirm->issued == NGX_ERROR
        || lines_hash(r->pool, &confirm->token, &confirm->hash) != NGX_OK)
    {
        return NGX_ERROR;
    }

    confirm->id = confirm->hash;
    confirm->id.len = LINES_ID_LEN;

    asked[0] = confirm->token;
    asked[1] = confirm->reference;

    return lines_idempotency_init(r, ctx, "provision-confirm", &none,
                                  confirm->reference.len ? 2 : 1, asked,
                                  &confirm->idem);
}


ngx_int_t
lines_account_confirm_check(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t               rc;
    ngx_str_t              *tenant;
    lines_confirm_t        *confirm = ctx->data;
    lines_tenant_limits_t  *limits;

    tenant = &ctx->identity.tenant;
    limits = lines_tenant_limits_of(r);

    rc = lines_idempotency_read(ctx, &confirm->idem);

    /* the token, and what it was used for */

    if (rc == NGX_AGAIN && confirm->issued == NGX_OK) {
        rc = lines_keep_token_get(&ctx->caller, &confirm->held,
                                  .tenant = *tenant, .hash = confirm->hash,
                                  .id = confirm->id);

        if (rc == NGX_AGAIN) {
            rc = lines_keep_purchase_get(&ctx->caller, &confirm->op,
                                         .tenant = *tenant,
                                         .id = confirm->id);
        }

        if (rc == NGX_AGAIN) {
            rc = lines_keep_line_exists(&ctx->caller, &confirm->line,
                                        .tenant = *tenant, .id = confirm->id);
        }

        if (rc == NGX_AGAIN) {
            rc = lines_keep_bound_read(&ctx->caller, &confirm->bound,
                                       .tenant = *tenant,
                                       .declines = limits->declined,
                                       .within = limits->window,
                                       .interval = limits->interval,
                                       .size = limits->size);
        }
    }

    if (rc == NGX_AGAIN) {
        rc = lines_keep_tenant_offer(&ctx->caller, &confirm->tenant,
                                     .tenant = *tenant);
    }

    return rc;
}


/* until: when waiting helps, milliseconds; 0: not said */

static ngx_int_t
confirm_answer(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t status,
    ngx_str_t *answer, int64_t until)
{
    int64_t           seconds;
    lines_confirm_t  *confirm = ctx->data;

    if (status == 0 || answer->len == 0) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "lines confirm: operation \"%V\" is done without an "
                      "answer", &confirm->id);
        return NGX_ERROR;
    }

    seconds = status == NGX_HTTP_SERVICE_UNAVAILABLE ? 60 : 0;

    if (until) {
        until -= lines_idempotency_now(&confirm->idem);
        seconds = until > 0 ? (until + 999) / 1000 : 1;
    }

    ctx->retry_after = seconds;

    if (confirm->replay && lines_idempotency_replayed(r) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_answer(r, ctx, status, answer);
}


/*
 * No longer than a lease, or the longest rest: see left() in
 * store/scripts/lib/time.lua.  However often it is asked for, billing hears of
 * it when it is due.
 */

static ngx_uint_t
confirm_rests(ngx_http_request_t *r, lines_confirm_t *confirm)
{
    int64_t           now, held, due;
    lines_op_conf_t  *ocf;

    ocf = lines_get_main_conf(r)->operation;

    now = lines_idempotency_now(&confirm->idem);
    held = confirm->op.lease_until - now;
    due = confirm->op.due - now;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines confirm: held for %L, due in %L", held, due);

    return (held > 0 && held <= (int64_t) ocf->lease)
           || (due > 0 && due <= (int64_t) lines_op_longest(ocf));
}


/* whoever lost an answer learns here what became of it */

static ngx_int_t
confirm_used(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    const char       *state;
    lines_confirm_t  *confirm = ctx->data;

    if (confirm->op.step.len && !lines_is(&confirm->op.step, "done")) {
        state = "pending";

        if (!confirm_rests(r, confirm)) {
            (void) lines_op_spawn(lines_get_main_conf(r),
                                  &ctx->identity.tenant, &confirm->id);
        }

    } else {
        state = confirm->line.there ? "succeeded" : "failed";
    }

    return lines_json(ctx, 410, "{'status':'ERROR','error':'token_expired',"
                      "'message':'The preview_token was already used; call "
                      "preview again','operation':'%V','state':'%s'}",
                      &confirm->id, state);
}


static ngx_int_t
confirm_pending(lines_ctx_t *ctx)
{
    lines_confirm_t  *confirm = ctx->data;

    ctx->retry_after = confirm->replay ? 1 : 2;

    if (confirm->replay) {
        return lines_json(ctx, NGX_HTTP_CONFLICT, "{'status':'ERROR',"
                          "'message':'A request with this idempotency key is "
                          "still in progress','operation':'%V'}",
                          &confirm->id);
    }

    return lines_json(ctx, NGX_HTTP_SERVICE_UNAVAILABLE, "{'status':'ERROR',"
                      "'error':'provisioning_pending','message':'%s',"
                      "'operation':'%V'}", "The outcome of the purchase is not "
                      "known yet; repeat the request with its Idempotency-Key, "
                      "or look at the account's lines.", &confirm->id);
}


static ngx_int_t
confirm_done(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc,
    lines_op_t *op)
{
    ngx_str_t  answer;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines confirm: \"%V\" rc:%i step:\"%V\"",
                   &ctx->operation, rc,
                   op ? &op->step : &((lines_confirm_t *) ctx->data)->op.step);

    /* an answer is recorded when an undo begins, and holds once it is done */

    if (op && lines_is(&op->step, "done")) {
        answer = lines_op_get(op, "answer");

        answer.data = ngx_pstrdup(r->pool, &answer);
        if (answer.data == NULL) {
            return NGX_ERROR;
        }

        return confirm_answer(r, ctx,
                              lines_op_get_number(op, "answer_status"),
                              &answer, 0);
    }

    return confirm_pending(ctx);
}


static ngx_int_t
confirm_replay(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    lines_confirm_t  *confirm = ctx->data;

    rc = lines_idempotency_same(r, ctx, &confirm->idem,
                                &confirm->idem.recorded.fingerprint);

    if (rc != NGX_OK) {
        return rc;
    }

    /* the same token: its operation has been read */

    confirm->replay = 1;
    ctx->operation = confirm->id;

    if (lines_is(&confirm->op.step, "done")) {
        return confirm_answer(r, ctx, confirm->op.answer_status,
                              &confirm->op.answer, confirm->op.answer_until);
    }

    if (confirm->op.step.len == 0) {
        return confirm_used(r, ctx);
    }

    /* in somebody's hands, or not due; else it goes on right here */

    if (confirm_rests(r, confirm)) {
        return confirm_pending(ctx);
    }

    return lines_op_start(ctx, &confirm->id, 0, 0, confirm_done);
}


/* as token_made() in store/scripts/lib/tenant.lua wrote it */

static ngx_uint_t
confirm_is_of(ngx_str_t *mark, ngx_str_t *made)
{
    u_char  *end;

    end = mark->data + mark->len - made->len;

    return mark->len > made->len
           && end[-1] == ' '
           && ngx_memcmp(end, made->data, made->len) == 0;
}


static ngx_int_t
confirm_expired(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_error(r, ctx, 410, "token_expired",
                       "The preview_token has expired or was "
                       "already used; call preview again");
}


ngx_int_t
lines_account_confirm_decide(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    off_t               expires;
    ngx_str_t          *mark, *made;
    lines_confirm_t    *confirm = ctx->data;
    lines_main_conf_t  *lmcf;

    mark = &confirm->held.mark;
    made = &confirm->tenant.made;
    lmcf = lines_get_main_conf(r);

    lines_idempotency_of(&confirm->idem, made);

    /* another confirm had used the token by then, and failed: nobody else gives
       back what was reserved after that */

    if (confirm->other.len
        && lines_is(&confirm->op.step, "done")
        && !confirm->line.there)
    {
        (void) lines_forget_inv_release(&ctx->caller,
                                        .operation = confirm->id,
                                        .tenant = ctx->identity.tenant);
    }

    if (confirm->idem.recorded.operation.len) {
        return confirm_replay(r, ctx);
    }

    confirm->plan = lines_find_plan(lmcf, &confirm->tenant.plan, LINES_AGENT);

    if (confirm->plan == NULL) {
        return lines_account_plan_error(ctx);
    }

    /* another account's: known without a look, and not burnt */

    if (confirm->issued == NGX_ABORT) {
        return lines_refuse(ctx, 403, "The preview_token belongs to another "
                            "account");
    }

    /* a former account's of the name, or this one's */

    if (made->len && mark->len) {

        if (!confirm_is_of(mark, made)) {
            return confirm_expired(r, ctx);
        }

        mark->len -= made->len + 1;
    }

    if (confirm->op.step.len
        || (mark->len > 5 && ngx_strncmp(mark->data, "used ", 5) == 0))
    {
        return confirm_used(r, ctx);
    }

    expires = NGX_ERROR;

    if (mark->len > 6 && ngx_strncmp(mark->data, "valid ", 6) == 0) {
        expires = ngx_atoof(mark->data + 6, mark->len - 6);
    }

    confirm->left = expires - lines_idempotency_now(&confirm->idem);

    if (confirm->left <= 0) {
        return confirm_expired(r, ctx);
    }

    if (lmcf->billing == NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "lines: a purchase needs lines_billing");
        return lines_unavailable(r, ctx, 60);
    }

    if (lines_database_held(lmcf)) {
        return lines_unavailable(r, ctx, 60);
    }

    /* before it is announced: many of them leave nothing to be looked at */

    return confirm->bound.which.len
           ? lines_tenant_limited(ctx, &confirm->bound.which,
                                  confirm->bound.ms)
           : NGX_OK;
}


ngx_int_t
lines_account_confirm_offer(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    lines_confirm_t  *confirm = ctx->data;

    if (!confirm->dry.asked) {
        return NGX_OK;
    }

    rc = lines_offer_read(r, ctx, &confirm->dry.offer);

    return rc == NGX_AGAIN && confirm->held.prefix.len
           ? lines_keep_inv_held(&ctx->caller, &confirm->reserved,
                                 .operation = confirm->id)
           : rc;
}


ngx_int_t
lines_account_confirm_dry(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_confirm_t  *confirm = ctx->data;

    if (!confirm->dry.asked) {
        return NGX_OK;
    }

    confirm->dry.wished = (confirm->held.prefix.len != 0);
    confirm->dry.offer.reserved = confirm->reserved.number;

    return lines_dry_run(r, ctx, &confirm->dry, &confirm->tenant.customer);
}


/* another than the one that was shown is not bought: it is shown first, if its
   token is good still */

lines_answered(confirm_reserved, lines_confirm_t *confirm, inv_reserve)
{
    switch (reply->is) {

    case LINES_INV_RESERVE_NONE:
        return lines_account_no_area(ctx);

    case LINES_INV_RESERVE_RESERVED:
        confirm->other = reply->number;

        return lines_idempotency_again(r, ctx, &confirm->idem,
                                       lines_account_confirm_check);
    }

    confirm->number = reply->number;

    return NGX_OK;
}


/* for the token's time, and until the operation that begins has leased it */

ngx_int_t
lines_account_confirm_reserve(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_confirm_t    *confirm = ctx->data;
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(r);

    if (confirm->other.len) {
        return lines_json(ctx, NGX_HTTP_CONFLICT, "{'status':'ERROR',"
                          "'error':'number_changed','message':'The number "
                          "that was reserved is no longer available; another "
                          "one is now: confirm again to buy it',"
                          "'phone_number':'%V'}", &confirm->other);
    }

    return confirm->held.prefix.len
           ? lines_inv_reserve(&ctx->caller, confirm_reserved, ctx,
                               .operation = confirm->id,
                               .tenant = ctx->identity.tenant,
                               .prefix = confirm->held.prefix,
                               .keep = confirm->left
                                       + 2 * (int64_t) lmcf->operation->lease,
                               .rest = lmcf->quarantine)
           : NGX_OK;
}


ngx_int_t
lines_account_confirm_announce(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    lines_confirm_t  *confirm = ctx->data;

    ctx->operation = confirm->id;

    rc = lines_database_ask(lines_get_main_conf(r), &ctx->caller);

    return rc == NGX_AGAIN
           ? lines_idempotency_announce(ctx, &confirm->id)
           : rc;
}


lines_answered(confirm_begun, lines_confirm_t *confirm, confirm_begin)
{
    lines_op_begun_t  begun;

    /* it may have begun, or not: nobody knows yet */

    if (reply == NULL) {
        return confirm_pending(ctx);
    }

    LINES_FAILPOINT("confirm.begin.after");

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines confirm: \"%V\" begun, is:%ui", &confirm->id,
                   reply->is);

    switch (reply->is) {

    case LINES_CONFIRM_BEGIN_BEGUN:

        /* from here on there is an operation, whoever carries it on */

        begun.fields = reply->record;
        begun.now = reply->now;
        begun.sent = ctx->caller.start;
        begun.fence = reply->fence;
        begun.checked = 1;
        ngx_str_null(&begun.document);

        if (lines_op_begin(lines_get_main_conf(r), &ctx->identity.tenant,
                           &confirm->id, &begun)
            != NGX_OK)
        {
            return confirm_pending(ctx);
        }

        return lines_op_start(ctx, &confirm->id, 0, 0, confirm_done);

    case LINES_CONFIRM_BEGIN_REFUSED:

        if (reply->retry_after.len) {
            ctx->retry_after = ngx_max(1, ngx_atoi(reply->retry_after.data,
                                                   reply->retry_after.len));
        }

        /* the refusal is kept for a day: it is found by its id as long */

        (void) lines_forget_ix_keep(&ctx->caller, .id = confirm->id);

        if (confirm->number.len) {
            (void) lines_forget_inv_release(&ctx->caller,
                                            .operation = confirm->id,
                                            .tenant = ctx->identity.tenant);
        }

        return lines_answer(r, ctx, reply->status, &reply->answer);

    case LINES_CONFIRM_BEGIN_BOUND:

        /* its hints are dropped when they are due: another confirm may begin
           with this token right now */

        return lines_tenant_limited(ctx, &reply->which, reply->ms);

    case LINES_CONFIRM_BEGIN_EXPIRED:

        /* by a clock that may be set back: its hints are dropped as well */

        return confirm_expired(r, ctx);
    }

    /* "idempotent", "used", "changed", "late": read again what it says now */

    return lines_idempotency_again(r, ctx, &confirm->idem,
                                   lines_account_confirm_check);
}


ngx_int_t
lines_account_confirm_begin(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t               rc;
    lines_confirm_t        *confirm = ctx->data;
    lines_main_conf_t      *lmcf;
    lines_tenant_limits_t  *limits;

    lmcf = lines_get_main_conf(r);
    limits = lines_tenant_limits_of(r);

    /* what was begun in another database is not charged */

    if (lines_database_held(lmcf)) {
        return lines_unavailable(r, ctx, 60);
    }

    LINES_FAILPOINT("confirm.begin.before");

    rc = lines_try_confirm_begin(&ctx->caller, confirm_begun, ctx,
             .tenant = ctx->identity.tenant, .hash = confirm->hash,
             .id = confirm->id, .idem_key = confirm->idem.record,
             .not_after = lines_idempotency_now(&confirm->idem)
                          + (int64_t) lmcf->operation->late,
             .plan = confirm->tenant.plan,
             .customer = confirm->tenant.customer,
             .price = confirm->plan->price, .daily = confirm->plan->daily,
             .monthly = confirm->plan->monthly,
             .fingerprint = confirm->idem.fingerprint,
             .lease = lmcf->operation->lease,
             .ttl = LINES_PREVIEW_TTL_MAX, .declines = limits->declined,
             .within = limits->window, .interval = limits->interval,
             .size = limits->size, .trace = lines_traceparent(r),
             .reference = confirm->reference, .wanted = confirm->number);

    return rc == NGX_DECLINED ? lines_unavailable(r, ctx, 1) : rc;
}
