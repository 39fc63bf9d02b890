
/*
 * POST line-requests: a line of the plan at once, or one more against payment.
 * What decides is read in one round trip; then hints are written, and line,
 * capacity, idempotency record and operation in one script, which checks all
 * of it again.
 */

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
#include "operation/charge.h"
#include "operation/database.h"
#include "workspace/routes.h"
#include "workspace/workspace.h"


/* what is asked for, each a field of the line; in the order of the fingerprint;
   then what its plan says */

#define LINES_EACH_FIELD(field)                                               \
    field(channel) field(type) field(first) field(last) field(email)          \
    field(phone) field(zipcode) field(state) field(forwards) field(image)     \
    field(reference) field(conversations) field(messages)

#define field_number(name)  FIELD_##name,
#define field_name(name)    ngx_string(#name),

enum { LINES_EACH_FIELD(field_number) LINES_FIELDS };

#define LINES_ASKED  FIELD_conversations

static ngx_str_t  create_fields[] = { LINES_EACH_FIELD(field_name) };


typedef struct {
    ngx_str_t                     asked[LINES_FIELDS];  /* empty: absent */
    ngx_str_t                     key;
    ngx_uint_t                    email;       /* flag: else phone */
    lines_idempotency_t           idem;

    /* as read before begin, which checks all of it again */
    lines_pending_get_reply_t     pending;
    lines_tenant_places_reply_t   tenant;
    lines_plan_t                 *plan;
    ngx_uint_t                    reconciled;  /* flag: the blocking one */

    ngx_str_t                     id;
    ngx_uint_t                    checked;     /* flag: the database, for
                                                 one that is charged */
    ngx_uint_t                    open;        /* flag: a begin of it may run
                                                  yet */
    ngx_str_t                     document;    /* of the line */
    ngx_str_t                     other;       /* id of the blocking line, or of
                                                  the one that is replayed */
} lines_create_t;


#define create_text(name, field, max, ...)                                    \
    lines_in_text(name, lines_create_t, asked[FIELD_##field], max,        \
                  __VA_ARGS__)

#define create_word(name, field, bad, ...)                                    \
    lines_in_word(name, lines_create_t, asked[FIELD_##field], bad,        \
                  __VA_ARGS__)

#define create_email(...)                                                     \
    create_text("email", email, 254, .is = lines_is_email,                    \
                .bad = "email must be a valid email address", __VA_ARGS__)

#define create_e164(name, field, ...)                                         \
    create_text(name, field, 16, .is = lines_is_e164,                         \
                .bad = name " must be an E.164 number such as +14155551234",  \
                __VA_ARGS__)

#define create_when(field, text)                                              \
    .when = offsetof(lines_create_t, asked[FIELD_##field]), .says = text


static ngx_uint_t
create_is_url(ngx_str_t *url)
{
    return url->len > 8
           && (ngx_strncasecmp(url->data, (u_char *) "https://", 8) == 0
               || ngx_strncasecmp(url->data, (u_char *) "http://", 7) == 0);
}


const lines_body_input_t  lines_create_input =
    lines_body_input(lines_create_t,
        create_text("firstName", first, 100, .flags = LINES_REQUIRED),
        create_text("lastName", last, 100, .flags = LINES_REQUIRED),
        create_word("channelType", channel,
                    "channelType must be \"phone\" or \"email\"",
                    .words = { "phone", "email" }, .flags = LINES_REQUIRED,
                    .absent = "channelType is required"),
        create_word("lineType", type,
                    "lineType of an email line must be \"purchased\"",
                    .words = { "purchased" }, create_when(channel, "email")),
        create_word("lineType", type,
                    "lineType must be \"purchased\" or \"byon\"",
                    .words = { "purchased", "byon" }),
        create_email(create_when(channel, "email"), .flags = LINES_REQUIRED,
                     .absent = "email is required for email lines"),
        create_email(create_when(type, "byon"), .flags = LINES_REQUIRED,
                     .absent = "email is required for byon lines"),
        create_email(),
        create_e164("phone", phone, create_when(type, "byon"),
                    .flags = LINES_REQUIRED,
                    .absent = "phone is required for byon lines"),
        create_text("zipcode", zipcode, 10),
        create_text("state", state, 64),
        create_e164("forwardCallsTo", forwards),
        create_text("profileImageUrl", image, 2048, .is = create_is_url,
                    .bad = "profileImageUrl must be an http or https URL"),
        create_text("customerReference", reference,
                    LINES_REFERENCE_MAX),
        lines_in_text("idempotencyKey", lines_create_t, key, 255));


ngx_int_t
lines_create_validate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t        fields[LINES_ASKED], *type;
    lines_create_t  *create = ctx->data;

    create->email = lines_is(&create->asked[FIELD_channel], "email");

    /* an empty one is a mistake of the client's, and would protect nothing */

    if (create->key.data && create->key.len == 0) {
        return lines_refuse(ctx, 400, "idempotencyKey must not be empty");
    }

    type = &create->asked[FIELD_type];

    if (type->len == 0) {
        ngx_str_set(type, "purchased");
    }

    ngx_memcpy(fields, create->asked, sizeof(fields));

    /* empty as ever: keys that are in use go on to match */

    if (create->email) {
        ngx_str_null(&fields[FIELD_type]);
    }

    /* the last, and newer than keys that are in use */

    return lines_idempotency_init(r, ctx, "line-requests", &create->key,
                                  fields[FIELD_reference].len
                                  ? LINES_ASKED : LINES_ASKED - 1,
                                  fields, &create->idem);
}


/* one round trip for all that decides about the request */

ngx_int_t
lines_create_check(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t        rc;
    lines_create_t  *create = ctx->data;

    rc = lines_idempotency_read(ctx, &create->idem);

    if (rc == NGX_AGAIN) {
        rc = lines_keep_pending_get(&ctx->caller, &create->pending,
                                    .tenant = ctx->identity.tenant);
    }

    if (rc == NGX_AGAIN) {
        rc = lines_keep_tenant_places(&ctx->caller, &create->tenant,
                                      .tenant = ctx->identity.tenant);
    }

    return rc;
}


lines_answered(create_replayed, lines_create_t *create, answer_read)
{
    if (reply->status == 0 || reply->answer.len == 0) {

        ctx->retry_after = 1;

        return lines_refuse(ctx, 409, "A request with this idempotency key is "
                            "still in progress");
    }

    if (lines_idempotency_replayed(r) != NGX_OK
        || (reply->status == NGX_HTTP_CREATED
            && lines_line_request_location(r, &create->other) != NGX_OK))
    {
        return NGX_ERROR;
    }

    return lines_answer(r, ctx, reply->status, &reply->answer);
}


lines_answered(create_blocking, lines_create_t *create, line_read)
{
    if (lines_status(&reply->status) != LINES_AWAITING_PAYMENT) {
        return lines_idempotency_again(r, ctx, &create->idem,
                                       lines_create_check);
    }

    return lines_json(ctx, NGX_HTTP_CONFLICT, "{'success':false,"
                      "'status':'awaiting_payment','message':'Another line "
                      "request is awaiting payment: pay or cancel it "
                      "first.','line':%V,'paymentUrl':%V,'invoiceId':%V}",
                      &reply->document, &reply->url, &reply->invoice);
}


static ngx_int_t
create_blocked(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc,
    lines_op_t *op)
{
    lines_create_t  *create = ctx->data;

    return lines_line_read(&ctx->caller, create_blocking, ctx,
                           .tenant = ctx->identity.tenant,
                           .id = create->other);
}


lines_answered(create_yields, lines_create_t *create, line_wish)
{
    /* it is not known, or not to be known for now: as it was read */

    if (reply == NULL || reply->is != LINES_LINE_WISH_WISHED) {
        return create_blocked(r, ctx, NGX_OK, NULL);
    }

    return lines_op_start(ctx, &create->other, 1, 0, create_blocked);
}


/* whoever finds it: the reader or the script */

static ngx_int_t
create_refused(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_line_begin_reply_t *reply)
{
    ngx_int_t               rc;
    lines_create_t         *create = ctx->data;
    lines_tenant_limits_t  *limits;

    switch (reply->is) {

    case LINES_LINE_BEGIN_IDEMPOTENT:

        rc = lines_idempotency_same(r, ctx, &create->idem,
                                    &reply->fingerprint);

        if (rc != NGX_OK) {
            return rc;
        }

        /* the operation of a line request has its line's id */

        create->other = reply->operation;

        return lines_answer_read(&ctx->caller, create_replayed, ctx,
                                 .tenant = ctx->identity.tenant,
                                 .id = create->other);

    case LINES_LINE_BEGIN_SUBSCRIPTION:

        if (lines_is(&reply->state, "past_due")) {
            return lines_json(ctx, 402, "{'error':'READ_ONLY',"
                              "'code':'READ_ONLY','reason':'past_due'}");
        }

        return lines_subscription_required(ctx,
                      "An active subscription is required to request lines.");

    case LINES_LINE_BEGIN_BLOCKED:

        create->other = reply->line;

        if (create->reconciled || lines_get_main_conf(r)->billing == NULL) {
            return create_blocked(r, ctx, NGX_OK, NULL);
        }

        create->reconciled = 1;

        /* where its invoice died it is canceled; beyond its bound nobody
           looks */

        limits = lines_tenant_limits_of(r);

        rc = lines_try_line_wish(&ctx->caller, create_yields, ctx,
                                 .tenant = ctx->identity.tenant,
                                 .id = create->other,
                                 .wish = ngx_string("yield"),
                                 .interval = limits->interval,
                                 .size = limits->size);

        return rc == NGX_DECLINED ? create_blocked(r, ctx, NGX_OK, NULL) : rc;

    case LINES_LINE_BEGIN_FULL:

        return lines_json(ctx, NGX_HTTP_FORBIDDEN, "{'success':false,"
                          "'status':'forbidden_line_type','message':'Your plan "
                          "does not allow another %s line.'}",
                          create->email ? "email" : "phone");

    case LINES_LINE_BEGIN_CUSTOMER:

        /* the plan would allow it, but nobody is there to be charged */

        return lines_subscription_required(ctx,
                   "Another line has to be paid for, and the workspace has no "
                   "customer at billing: set up billing first.");

    case LINES_LINE_BEGIN_BOUND:
        return lines_tenant_limited(ctx, &reply->which, reply->ms);

    case LINES_LINE_BEGIN_PAYMENT:

        /* it must not pretend: without billing nothing is created */

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "lines: a line that has to be paid for needs "
                      "lines_billing");

        return lines_unavailable(r, ctx, 60);
    }

    /* changed, late: what was read is not so any more */

    return lines_idempotency_again(r, ctx, &create->idem, lines_create_check);
}


ngx_int_t
lines_create_decide(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    int64_t                       included, paid;
    ngx_uint_t                    email;
    lines_plan_t                 *plan;
    lines_create_t               *create = ctx->data;
    lines_line_begin_reply_t      reply;
    lines_tenant_places_reply_t  *tenant;

    tenant = &create->tenant;

    ctx->identity.plan = tenant->plan;

    email = create->email;
    included = email ? tenant->email_included : tenant->phone_included;
    paid = email ? tenant->email_paid : tenant->phone_paid;

    plan = lines_find_plan(lines_get_main_conf(r), &tenant->plan,
                           email ? LINES_EMAIL : LINES_PHONE);

    /* what begin would say */

    lines_idempotency_of(&create->idem, &tenant->made);

    reply.operation = create->idem.recorded.operation;
    reply.fingerprint = create->idem.recorded.fingerprint;
    reply.state = tenant->subscription;
    reply.line = create->pending.id;

    if (reply.operation.len) {
        reply.is = LINES_LINE_BEGIN_IDEMPOTENT;

    } else if (!lines_is(&tenant->subscription, "active")) {
        reply.is = LINES_LINE_BEGIN_SUBSCRIPTION;

    } else if (reply.line.len) {
        reply.is = LINES_LINE_BEGIN_BLOCKED;

    } else if (plan == NULL
               || (plan->max != LINES_UNLIMITED
                   && included + paid >= plan->max)
               || (included >= plan->included && plan->price.len == 0))
    {
        reply.is = LINES_LINE_BEGIN_FULL;

    } else if (included >= plan->included && tenant->customer.len == 0) {
        reply.is = LINES_LINE_BEGIN_CUSTOMER;

    } else if (included >= plan->included
               && lines_get_main_conf(r)->billing == NULL)
    {
        reply.is = LINES_LINE_BEGIN_PAYMENT;

    } else if (included >= plan->included
               && lines_database_held(lines_get_main_conf(r)))
    {
        return lines_unavailable(r, ctx, 60);

    } else {
        create->plan = plan;
        create->checked = (included >= plan->included);
        return NGX_OK;
    }

    return create_refused(r, ctx, &reply);
}


/*
 * Hints, written before what they point at: where the id is looked up, when
 * the sweeper should see to it, what the provisioner will find.
 */

ngx_int_t
lines_create_announce(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    u_char          *p;
    ngx_int_t        rc;
    lines_create_t  *create = ctx->data;

    /* the id of a begin that may run yet is kept: see create_begun() */

    if (create->id.len == 0) {
        p = ngx_pnalloc(r->pool, LINES_ID_LEN);

        if (p == NULL || lines_id(p) != NGX_OK) {
            return NGX_ERROR;
        }

        create->id.data = p;
        create->id.len = LINES_ID_LEN;
    }

    rc = create->checked
         ? lines_database_ask(lines_get_main_conf(r), &ctx->caller)
         : NGX_AGAIN;

    if (rc == NGX_AGAIN) {
        rc = lines_idempotency_announce(ctx, &create->id);
    }

    /* begin may find a place free by then; a hint too many is dropped */

    if (rc != NGX_AGAIN || create->plan->included == 0) {
        return rc;
    }

    return lines_prov_put(&ctx->caller, NULL, NULL,
                          .at = lines_idempotency_now(&create->idem),
                          .tenant = ctx->identity.tenant, .id = create->id);
}


static void
create_not_due(lines_ctx_t *ctx)
{
    lines_create_t  *create = ctx->data;

    (void) lines_forget_due_rem(&ctx->caller,
                                .shard = lines_due_shard(&create->id),
                                .tenant = ctx->identity.tenant,
                                .id = create->id);
}


static ngx_int_t
create_included(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *answer,
    lines_op_begun_t *begun)
{
    lines_create_t     *create = ctx->data;
    lines_main_conf_t  *lmcf;

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


static ngx_int_t
create_paid(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc,
    lines_op_t *op)
{
    ngx_str_t        answer;
    ngx_int_t        status;
    lines_create_t  *create = ctx->data;

    if (op) {
        answer = lines_op_get(op, "answer");
        status = lines_op_get_number(op, "answer_status");

        if (answer.len && status) {
            answer.data = ngx_pstrdup(r->pool, &answer);

            if (answer.data == NULL
                || (status == NGX_HTTP_CREATED
                    && lines_line_request_location(r, &create->id) != NGX_OK))
            {
                return NGX_ERROR;
            }

            return lines_answer(r, ctx, status, &answer);
        }
    }

    /* not known yet: the same key resolves it, later and without the client */

    ctx->retry_after = 5;

    return lines_json(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                      "{'success':false,'status':'awaiting_payment',"
                      "'paymentStatus':'pending','paymentRequired':true,"
                      "'message':'Billing has not answered yet. Read the line "
                      "request until it shows paymentUrl, or use the action "
                      "payment_link.','line':%V}", &create->document);
}


lines_answered(create_begun, lines_create_t *create, line_begin)
{
    lines_op_begun_t  begun;

    LINES_FAILPOINT("create.begin.after");

    if (reply->is == LINES_LINE_BEGIN_CREATED) {

        begun.fields = reply->record;
        begun.now = reply->now;
        begun.sent = ctx->caller.start;
        begun.fence = reply->fence;
        begun.checked = create->checked;
        begun.document = reply->document;

        if (reply->answer.len) {
            return create_included(r, ctx, &reply->answer, &begun);
        }

        create->document = reply->document;

        if (lines_op_begin(lines_get_main_conf(r), &ctx->identity.tenant,
                           &create->id, &begun)
            != NGX_OK)
        {
            return lines_unavailable(r, ctx, 1);
        }

        return lines_op_start(ctx, &create->id, 0, 0, create_paid);
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

    /* the hint last: while it is there all that was announced is looked at */

    if (!create->open) {
        lines_forget_ix_del(&ctx->caller, .id = create->id);

        if (create->plan->included) {
            lines_forget_prov_rem(&ctx->caller,
                                  .tenant = ctx->identity.tenant,
                                  .id = create->id);
        }

        create_not_due(ctx);
        ngx_str_null(&create->id);
    }

    return create_refused(r, ctx, reply);
}


ngx_int_t
lines_create_begin(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    int64_t                 max;
    ngx_str_t               body, key, *asked, fields[2 * LINES_FIELDS];
    ngx_uint_t              i;
    ngx_pool_t             *pool;
    lines_plan_t           *plan;
    lines_create_t         *create = ctx->data;
    lines_main_conf_t      *lmcf;
    lines_tenant_limits_t  *limits;

    lines_stripe_metadata_t  metadata = {
        .tenant = ctx->identity.tenant,
        .line = create->id,
        .attempt = 1
    };

    limits = lines_tenant_limits_of(r);
    plan = create->plan;
    pool = r->pool;
    lmcf = lines_get_main_conf(r);
    max = plan->max;

    ngx_str_null(&body);
    ngx_str_null(&key);

    /* the exact call is recorded before it is made */

    if (plan->price.len
        && create->tenant.customer.len
        && lmcf->billing
        && lines_charge_call(pool, lmcf, &metadata, &create->tenant.customer,
                             &plan->price, NULL, &body, &key)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    asked = create->asked;

    if (lines_redis_format(pool, &asked[FIELD_conversations], "%i",
                           plan->conversations)
        != NGX_OK
        || lines_redis_format(pool, &asked[FIELD_messages], "%i",
                              plan->messages)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < LINES_FIELDS; i++) {
        fields[2 * i] = create_fields[i];
        fields[2 * i + 1] = create->asked[i];
    }

    /* what was begun in another database is not charged */

    if (create->checked && lines_database_held(lmcf)) {
        return lines_unavailable(r, ctx, 60);
    }

    LINES_FAILPOINT("create.begin.before");

    return lines_line_begin(&ctx->caller, create_begun, ctx,
               .tenant = ctx->identity.tenant, .id = create->id,
               .idem_key = create->idem.record,
               .not_after = lines_idempotency_now(&create->idem)
                            + (int64_t) lmcf->operation->late,
               .plan = create->tenant.plan, .included = plan->included,
               .price = plan->price,
               .max = max == LINES_UNLIMITED ? NULL : &max,
               .customer = create->tenant.customer,
               .fingerprint = create->idem.fingerprint, .body = body,
               .call_key = key, .lease = lmcf->operation->lease,
               .provisioner = (lmcf->provisioner.len != 0),
               .before = (lmcf->redis_conf.layout == 1),
               .requests = limits->requests, .declines = limits->declined,
               .within = limits->window, .interval = limits->interval,
               .size = limits->size, .trace = lines_traceparent(r),
               .fields.n = 2 * LINES_FIELDS, .fields.elts = fields);
}
