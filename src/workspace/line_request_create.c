
/*
 * POST line-requests: a line of the plan at once, or one more against payment.
 * What decides is read in one round trip; then hints are written, and line,
 * capacity, idempotency record and operation in one script, which checks all
 * of it again.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "api/idempotency.h"
#include "api/input.h"
#include "api/plan.h"
#include "http/answer.h"
#include "http/failpoint.h"
#include "http/headers.h"
#include "http/id.h"
#include "http/steps.h"
#include "http/text.h"
#include "limit/limit.h"
#include "operation/payment.h"
#include "store/calls.h"
#include "workspace/payments.h"
#include "workspace/routes.h"
#include "workspace/workspace.h"


/* a begin may find the plan changed since it was read: look again */
#define LINES_CREATE_TRIES  3


/* what is asked for, in the order of the fingerprint */

enum {
    LINES_ASK_CHANNEL = 0,
    LINES_ASK_TYPE,
    LINES_ASK_FIRST,
    LINES_ASK_LAST,
    LINES_ASK_EMAIL,
    LINES_ASK_PHONE,
    LINES_ASK_ZIPCODE,
    LINES_ASK_STATE,
    LINES_ASK_FORWARDS,
    LINES_ASK_IMAGE,
    LINES_ASKED
};

/* as fields of the line; then, of its plan: conversations, messages */

static ngx_str_t  create_fields[LINES_ASKED + 2] = {
    ngx_string("channel"),
    ngx_string("type"),
    ngx_string("first"),
    ngx_string("last"),
    ngx_string("email"),
    ngx_string("phone"),
    ngx_string("zipcode"),
    ngx_string("state"),
    ngx_string("forwards"),
    ngx_string("image"),
    ngx_string("conversations"),
    ngx_string("messages")
};


typedef struct {
    ngx_str_t                     asked[LINES_ASKED];   /* empty: absent */
    ngx_str_t                     key;
    ngx_uint_t                    email;       /* flag: else phone */
    lines_idempotency_t           idem;

    /* as read before begin, which checks all of it again */
    lines_time_reply_t            time;
    lines_idem_read_reply_t       recorded;
    lines_pending_get_reply_t     pending;
    lines_tenant_places_reply_t   tenant;

    int64_t                       now;         /* Redis' clock, ms */
    lines_plan_t                 *plan;
    ngx_uint_t                    payment;     /* flag: needs it */
    ngx_uint_t                    tries;
    ngx_uint_t                    reconciled;  /* flag: the blocking one */

    ngx_str_t                     id;
    ngx_uint_t                    open;        /* flag: a begin of it may run
                                                  yet */
} lines_create_t;


static ngx_int_t create_validate(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_uint_t create_is_url(ngx_str_t *value);
static ngx_int_t create_check(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t create_decide(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t create_announce(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t create_replay(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_idempotency_t *idem, ngx_str_t *operation, ngx_str_t *fingerprint);
static ngx_int_t create_replayed(void *data,
    lines_answer_read_reply_t *reply);
static ngx_int_t create_begin(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t create_begun(void *data, lines_line_begin_reply_t *reply);
static void create_withdraw(lines_ctx_t *ctx);
static void create_not_due(lines_ctx_t *ctx);
static ngx_int_t create_included(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *answer, lines_op_begun_t *begun);
static ngx_int_t create_again(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t create_subscription(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *state);
static ngx_int_t create_customer(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t create_unbilled(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t create_full(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t create_blocked(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *id);


#define create_text(name, field, max, ...)                                    \
    lines_in_text(name, lines_create_t, asked[LINES_ASK_##field], max,        \
                  __VA_ARGS__)

#define create_word(name, field, bad, ...)                                    \
    lines_in_word(name, lines_create_t, asked[LINES_ASK_##field], bad,        \
                  __VA_ARGS__)

#define create_email(...)                                                     \
    create_text("email", EMAIL, 254, .is = lines_is_email,                    \
                .bad = "email must be a valid email address", __VA_ARGS__)

#define create_e164(name, field, ...)                                         \
    create_text(name, field, 16, .is = lines_is_e164,                         \
                .bad = name " must be an E.164 number such as +14155551234",  \
                __VA_ARGS__)

#define create_when(field, text)                                              \
    .when = offsetof(lines_create_t, asked[LINES_ASK_##field]), .says = text


static const lines_input_t  create_inputs[] = {
    create_text("firstName", FIRST, 100, .flags = LINES_REQUIRED),
    create_text("lastName", LAST, 100, .flags = LINES_REQUIRED),
    create_word("channelType", CHANNEL,
                "channelType must be \"phone\" or \"email\"",
                .words = { "phone", "email" }, .flags = LINES_REQUIRED,
                .absent = "channelType is required"),
    create_word("lineType", TYPE,
                "lineType of an email line must be \"purchased\"",
                .words = { "purchased" }, create_when(CHANNEL, "email")),
    create_word("lineType", TYPE,
                "lineType must be \"purchased\" or \"byon\"",
                .words = { "purchased", "byon" }),
    create_email(create_when(CHANNEL, "email"), .flags = LINES_REQUIRED,
                 .absent = "email is required for email lines"),
    create_email(create_when(TYPE, "byon"), .flags = LINES_REQUIRED,
                 .absent = "email is required for byon lines"),
    create_email(),
    create_e164("phone", PHONE, create_when(TYPE, "byon"),
                .flags = LINES_REQUIRED,
                .absent = "phone is required for byon lines"),
    create_text("zipcode", ZIPCODE, 10),
    create_text("state", STATE, 64),
    create_e164("forwardCallsTo", FORWARDS),
    create_text("profileImageUrl", IMAGE, 2048, .is = create_is_url,
                .bad = "profileImageUrl must be an http or https URL"),
    lines_in_text("idempotencyKey", lines_create_t, key, 255),
    lines_input_end
};


lines_step_pt  lines_line_request_create_steps[] = {
    create_validate,                  /* 400 */
    create_check,
    create_decide,                    /* 402, 403, 409, 422 */
    create_announce,
    create_begin,               /* the same again, and 201 */
    NULL
};


static ngx_int_t
create_validate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t        rc;
    ngx_str_t        fields[LINES_ASKED], *type;
    lines_create_t  *create;

    rc = lines_read_input(r, ctx, sizeof(lines_create_t), create_inputs);

    if (rc != NGX_OK) {
        return rc;
    }

    create = ctx->data;
    create->email = lines_is(&create->asked[LINES_ASK_CHANNEL], "email");

    /* an empty one is a mistake of the client's, and would protect nothing */

    if (create->key.data && create->key.len == 0) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "idempotencyKey must not be empty");
    }

    type = &create->asked[LINES_ASK_TYPE];

    if (type->len == 0) {
        ngx_str_set(type, "purchased");
    }

    ngx_memcpy(fields, create->asked, sizeof(fields));

    /* empty as ever: keys that are in use go on to match */

    if (create->email) {
        ngx_str_null(&fields[LINES_ASK_TYPE]);
    }

    return lines_idempotency_init(r, ctx, "line-requests", &create->key,
                                  LINES_ASKED, fields, &create->idem);
}


static ngx_uint_t
create_is_url(ngx_str_t *url)
{
    return url->len > 8
           && (ngx_strncasecmp(url->data, (u_char *) "https://", 8) == 0
               || ngx_strncasecmp(url->data, (u_char *) "http://", 7) == 0);
}


/* one round trip for all that decides about the request */

static ngx_int_t
create_check(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t        rc;
    lines_create_t  *create;

    create = ctx->data;

    rc = lines_keep_time(&ctx->caller, &create->time);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    if (create->idem.key.len) {
        rc = lines_keep_idem_read(&ctx->caller, &create->recorded,
                                  .idem_key = create->idem.record);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    rc = lines_keep_pending_get(&ctx->caller, &create->pending,
                                .tenant = ctx->identity.tenant);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return lines_keep_tenant_places(&ctx->caller, &create->tenant,
                                    .tenant = ctx->identity.tenant);
}


static ngx_int_t
create_decide(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    int64_t                       included, paid;
    ngx_uint_t                    email;
    lines_plan_t                 *plan;
    lines_create_t               *create;
    lines_tenant_places_reply_t  *tenant;

    create = ctx->data;
    tenant = &create->tenant;

    create->now = lines_time_ms(&create->time);
    ctx->identity.plan = tenant->plan;

    if (create->recorded.operation.len) {
        return create_replay(r, ctx, &create->idem,
                             &create->recorded.operation,
                             &create->recorded.fingerprint);
    }

    if (!lines_is(&tenant->subscription, "active")) {
        return create_subscription(r, ctx, &tenant->subscription);
    }

    if (create->pending.id.len) {
        return create_blocked(r, ctx, &create->pending.id);
    }

    email = create->email;
    included = email ? tenant->email_included : tenant->phone_included;
    paid = email ? tenant->email_paid : tenant->phone_paid;

    plan = lines_find_plan(lines_get_main_conf(r), &tenant->plan,
                           email ? LINES_EMAIL : LINES_PHONE);

    if (plan == NULL
        || (plan->max != LINES_UNLIMITED && included + paid >= plan->max)
        || (included >= plan->included && plan->price.len == 0))
    {
        return create_full(r, ctx);
    }

    create->plan = plan;
    create->payment = (included >= plan->included);

    if (create->payment && tenant->customer.len == 0) {
        return create_customer(r, ctx);
    }

    if (create->payment && lines_get_main_conf(r)->billing == NULL) {
        return create_unbilled(r, ctx);
    }

    return NGX_OK;
}


/*
 * Hints, written before what they point at: where the id is looked up, when
 * the sweeper should see to it, what the provisioner will find.
 */

static ngx_int_t
create_announce(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    u_char             *p;
    ngx_int_t           rc;
    lines_create_t     *create;
    lines_main_conf_t  *lmcf;

    create = ctx->data;
    lmcf = lines_get_main_conf(r);

    /* the id of a begin that may run yet is kept: see create_begun() */

    if (create->id.len == 0) {
        p = ngx_pnalloc(r->pool, LINES_ID_LEN);

        if (p == NULL || lines_id(p) != NGX_OK) {
            return NGX_ERROR;
        }

        create->id.data = p;
        create->id.len = LINES_ID_LEN;
    }

    rc = lines_ix_put(&ctx->caller, NULL, NULL, .id = create->id,
                      .tenant = ctx->identity.tenant);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    rc = lines_due_put(&ctx->caller, NULL, NULL,
                       .shard = lines_due_shard(&create->id),
                       .at = create->now + (int64_t) lmcf->operation->due,
                       .tenant = ctx->identity.tenant, .id = create->id);

    /* begin may find a place free by then; a hint too many is dropped */

    if (rc != NGX_AGAIN || create->plan->included == 0) {
        return rc;
    }

    return lines_prov_put(&ctx->caller, NULL, NULL, .at = create->now,
                          .tenant = ctx->identity.tenant, .id = create->id);
}


static ngx_int_t
create_begin(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    int64_t                  max;
    ngx_str_t                fields[2 * (LINES_ASKED + 2)];
    ngx_uint_t               i;
    ngx_pool_t              *pool;
    lines_plan_t            *plan;
    lines_create_t          *create;
    lines_main_conf_t       *lmcf;
    lines_line_begin_args_t  args;

    create = ctx->data;
    plan = create->plan;
    pool = r->pool;
    lmcf = lines_get_main_conf(r);

    ngx_memzero(&args, sizeof(args));

    args.tenant = ctx->identity.tenant;
    args.id = create->id;
    args.idem_key = create->idem.record;
    args.not_after = create->now + (int64_t) lmcf->operation->late;
    args.plan = create->tenant.plan;
    args.included = plan->included;
    args.price = plan->price;
    args.customer = create->tenant.customer;
    args.fingerprint = create->idem.fingerprint;
    args.lease = lmcf->operation->lease;
    args.provisioner = (lmcf->provisioner.len != 0);

    if (plan->max != LINES_UNLIMITED) {
        max = plan->max;
        args.max = &max;
    }

    /* the exact call is recorded before it is made */

    if (plan->price.len
        && create->tenant.customer.len
        && lmcf->billing
        && lines_payment_call(pool, lmcf, &args.tenant, &args.id,
                              &create->tenant.customer, &plan->price, 1,
                              &args.body, &args.call_key)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < LINES_ASKED; i++) {
        fields[2 * i + 1] = create->asked[i];
    }

    if (lines_redis_format(pool, &fields[2 * i + 1], "%i", plan->conversations)
        != NGX_OK
        || lines_redis_format(pool, &fields[2 * i + 3], "%i", plan->messages)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < LINES_ASKED + 2; i++) {
        fields[2 * i] = create_fields[i];
    }

    args.fields.n = 2 * (LINES_ASKED + 2);
    args.fields.elts = fields;

    LINES_FAILPOINT("create.begin.before");

    return lines_send_line_begin(&ctx->caller, LINES_CALL, &args,
                                 create_begun, ctx);
}


static ngx_int_t
create_begun(void *data, lines_line_begin_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_create_t      *create;
    lines_op_begun_t     begun;
    ngx_http_request_t  *r;

    LINES_FAILPOINT("create.begin.after");

    create = ctx->data;
    r = ctx->request;

    if (reply->is == LINES_LINE_BEGIN_CREATED) {
        begun.fields = reply->record;
        begun.now = reply->now;
        begun.sent = ctx->caller.start;
        begun.fence = reply->fence;
        begun.document = reply->document;

        return lines_is(&reply->place, "paid")
               ? lines_pay(r, ctx, &create->id, &begun)
               : create_included(r, ctx, &reply->answer, &begun);
    }

    /*
     * Refused: nothing of this id will ever be there, unless it was asked
     * twice, now or before.  The first one may run yet, on the connection that
     * was lost: its hints stay, and should this request begin once more, it
     * does so under the same id, to find that line and make no other.
     */

    if (ctx->caller.repeated) {
        create->open = 1;
    }

    if (!create->open) {
        create_withdraw(ctx);
        ngx_str_null(&create->id);
    }

    switch (reply->is) {

    case LINES_LINE_BEGIN_IDEMPOTENT:
        return create_replay(r, ctx, &create->idem, &reply->operation,
                             &reply->fingerprint);

    case LINES_LINE_BEGIN_SUBSCRIPTION:
        return create_subscription(r, ctx, &reply->state);

    case LINES_LINE_BEGIN_BLOCKED:
        return create_blocked(r, ctx, &reply->line);

    case LINES_LINE_BEGIN_FULL:
        return create_full(r, ctx);

    case LINES_LINE_BEGIN_CUSTOMER:
        return create_customer(r, ctx);

    case LINES_LINE_BEGIN_PAYMENT:
        return create_unbilled(r, ctx);
    }

    /* LINES_LINE_BEGIN_CHANGED, LINES_LINE_BEGIN_LATE */

    return create_again(r, ctx);
}


/* all that was announced; the hint last: while it is there it is looked at */

static void
create_withdraw(lines_ctx_t *ctx)
{
    lines_create_t  *create;

    create = ctx->data;

    lines_forget_ix_del(&ctx->caller, .id = create->id);

    if (create->plan->included) {
        lines_forget_prov_rem(&ctx->caller, .tenant = ctx->identity.tenant,
                              .id = create->id);
    }

    create_not_due(ctx);
}


static void
create_not_due(lines_ctx_t *ctx)
{
    lines_create_t  *create;

    create = ctx->data;

    (void) lines_forget_due_rem(&ctx->caller,
                                .shard = lines_due_shard(&create->id),
                                .tenant = ctx->identity.tenant,
                                .id = create->id);
}


static ngx_int_t
create_included(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *answer,
    lines_op_begun_t *begun)
{
    lines_create_t     *create;
    lines_main_conf_t  *lmcf;

    create = ctx->data;
    lmcf = lines_get_main_conf(r);

    if (lmcf->provisioner.len) {
        (void) lines_op_begin(lmcf, &ctx->identity.tenant, &create->id, begun);

    } else {

        /* done already; a hint that stays is dropped by the sweeper */

        create_not_due(ctx);
    }

    if (lines_line_request_location(r, &create->id) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_answer(r, ctx, NGX_HTTP_CREATED, answer);
}


/* back to the check, a few times: what it read is not so any more */

static ngx_int_t
create_again(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_create_t  *create;

    create = ctx->data;

    if (++create->tries == LINES_CREATE_TRIES) {
        return lines_unavailable(r, ctx, 1);
    }

    lines_again_from(ctx, create_check);

    return NGX_OK;
}


/* refusals, whoever finds them: the reader or the script */

static ngx_int_t
create_subscription(ngx_http_request_t *r, lines_ctx_t *ctx,
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

static ngx_int_t
create_customer(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_business_error(r, ctx, NGX_HTTP_FORBIDDEN,
                   "subscription_required",
                   "Another line has to be paid for, and the workspace has no "
                   "customer at billing: set up billing first.", "/billing");
}


/* it must not pretend: without billing nothing is created */

static ngx_int_t
create_unbilled(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "lines: a line that has to be paid for needs lines_billing");

    return lines_unavailable(r, ctx, 60);
}


static ngx_int_t
create_full(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_create_t  *create;

    create = ctx->data;

    return lines_business_error(r, ctx, NGX_HTTP_FORBIDDEN,
                              "forbidden_line_type",
                              create->email
                              ? "Your plan does not allow another email line."
                              : "Your plan does not allow another phone line.",
                              NULL);
}


static ngx_int_t
create_blocked(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *id)
{
    ngx_uint_t       reconcile;
    lines_create_t  *create;

    create = ctx->data;

    reconcile = !create->reconciled;
    create->reconciled = 1;

    return lines_blocked(r, ctx, id, reconcile, create_again);
}


/*
 * The record points to an operation that was begun with another fingerprint
 * (422), is under way (409) or has its answer, which is given again.  Both are
 * of the request's pool.
 */

static ngx_int_t
create_replay(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_idempotency_t *idem, ngx_str_t *operation, ngx_str_t *fingerprint)
{
    if (fingerprint->len != idem->fingerprint.len
        || ngx_strncmp(fingerprint->data, idem->fingerprint.data,
                       fingerprint->len)
           != 0)
    {
        return lines_error(r, ctx, 422, NULL,
                          "This idempotency key was used for another request");
    }

    idem->operation = *operation;
    ctx->data = idem;

    /* the operation of a line request has its line's id */

    return lines_answer_read(&ctx->caller, create_replayed, ctx,
                             .tenant = ctx->identity.tenant,
                             .id = *operation);
}


static ngx_int_t
create_replayed(void *data, lines_answer_read_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ngx_str_t             yes = ngx_string("true");
    ngx_http_request_t   *r;
    lines_idempotency_t  *idem;

    idem = ctx->data;
    r = ctx->request;

    if (reply->status == 0 || reply->answer.len == 0) {

        ctx->retry_after = 1;

        return lines_error(r, ctx, NGX_HTTP_CONFLICT, NULL,
                           "A request with this idempotency key is still in "
                           "progress");
    }

    if (lines_add_header(r, "Idempotency-Replayed", &yes) != NGX_OK
        || (reply->status == NGX_HTTP_CREATED
            && lines_line_request_location(r, &idem->operation) != NGX_OK))
    {
        return NGX_ERROR;
    }

    return lines_answer(r, ctx, reply->status, &reply->answer);
}
