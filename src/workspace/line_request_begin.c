
/*
 * POST line-requests, begun: hints first, then line, capacity, idempotency
 * record and operation in one script, and the answer.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/failpoint.h"
#include "http/id.h"
#include "operation/payment.h"
#include "store/calls.h"
#include "workspace/line_request_create.h"
#include "workspace/payments.h"
#include "workspace/workspace.h"


static ngx_int_t create_begun(void *data, lines_line_begin_reply_t *reply);
static void create_withdraw(lines_ctx_t *ctx);
static void create_not_due(lines_ctx_t *ctx);
static ngx_int_t create_included(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *answer);


/*
 * Hints, written before what they point at: where the id is looked up, when
 * the sweeper should see to it, what the provisioner will find.
 */

ngx_int_t
lines_create_announce(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    u_char                 *p;
    ngx_int_t               rc;
    lines_create_t         *create;
    lines_main_conf_t      *lmcf;
    lines_ix_put_args_t     ix;
    lines_due_put_args_t    due;
    lines_prov_put_args_t   prov;

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

    ix.id = create->id;
    ix.tenant = ctx->identity.tenant;

    rc = lines_ix_put(&ctx->caller, &ix, NULL, NULL);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    due.shard = lines_due_shard(&create->id);
    due.at = create->now + (int64_t) lmcf->operation->due;
    due.tenant = ctx->identity.tenant;
    due.id = create->id;

    rc = lines_due_put(&ctx->caller, &due, NULL, NULL);

    /* begin may find a place free by then; a hint too many is dropped */

    if (rc != NGX_AGAIN || create->plan->included == 0) {
        return rc;
    }

    prov.at = create->now;
    prov.tenant = ctx->identity.tenant;
    prov.id = create->id;

    return lines_prov_put(&ctx->caller, &prov, NULL, NULL);
}


ngx_int_t
lines_create_begin(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    int64_t                   max;
    ngx_str_t                 fields[24];
    ngx_pool_t               *pool;
    lines_plan_t             *plan;
    lines_input_t            *input;
    lines_create_t           *create;
    lines_main_conf_t        *lmcf;
    lines_line_begin_args_t   args;

    create = ctx->data;
    input = &create->input;
    plan = create->plan;
    pool = r->pool;
    lmcf = lines_get_main_conf(r);

    ngx_memzero(&args, sizeof(args));

    args.tenant = ctx->identity.tenant;
    args.id = create->id;
    args.idem_key = create->idem.record;
    args.not_after = create->now + (int64_t) lmcf->operation->late;
    args.plan = create->plan_name;
    args.included = plan->included;
    args.price = plan->price;
    args.customer = create->customer;
    args.fingerprint = create->idem.fingerprint;
    args.lease = lmcf->operation->lease;
    args.provisioner = (lmcf->provisioner.len != 0);

    if (plan->max != LINES_UNLIMITED) {
        max = plan->max;
        args.max = &max;
    }

    /* the exact call is recorded before it is made */

    if (plan->price.len
        && create->customer.len
        && lmcf->billing
        && lines_payment_call(pool, lmcf, &args.tenant, &args.id,
                              &create->customer, &plan->price, 1, &args.body,
                              &args.call_key)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&fields[0], "channel");
    ngx_str_set(&fields[1], "phone");
    ngx_str_set(&fields[2], "type");
    ngx_str_set(&fields[3], "purchased");

    if (input->email_channel) {
        ngx_str_set(&fields[1], "email");

    } else if (input->byon) {
        ngx_str_set(&fields[3], "byon");
    }

    ngx_str_set(&fields[4], "first");
    fields[5] = input->first;
    ngx_str_set(&fields[6], "last");
    fields[7] = input->last;
    ngx_str_set(&fields[8], "email");
    fields[9] = input->email;
    ngx_str_set(&fields[10], "phone");
    fields[11] = input->phone;
    ngx_str_set(&fields[12], "zipcode");
    fields[13] = input->zipcode;
    ngx_str_set(&fields[14], "state");
    fields[15] = input->state;
    ngx_str_set(&fields[16], "forwards");
    fields[17] = input->forwards;
    ngx_str_set(&fields[18], "image");
    fields[19] = input->image;
    ngx_str_set(&fields[20], "conversations");
    ngx_str_set(&fields[22], "messages");

    if (lines_redis_format(pool, &fields[21], "%i", plan->conversations)
        != NGX_OK
        || lines_redis_format(pool, &fields[23], "%i", plan->messages)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    args.fields.n = 24;
    args.fields.elts = fields;

    LINES_FAILPOINT("create.begin.before");

    return lines_line_begin(&ctx->caller, &args, create_begun, ctx);
}


static ngx_int_t
create_begun(void *data, lines_line_begin_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_create_t      *create;
    ngx_http_request_t  *r;

    LINES_FAILPOINT("create.begin.after");

    create = ctx->data;
    r = ctx->request;

    if (reply->is == LINES_LINE_BEGIN_CREATED) {
        return lines_is(&reply->place, "paid")
               ? lines_pay(r, ctx, &create->id, reply->fence,
                           &reply->document)
               : create_included(r, ctx, &reply->answer);
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
        return lines_idempotency_replay(r, ctx, &create->idem,
                                        &reply->operation,
                                        &reply->fingerprint);

    case LINES_LINE_BEGIN_SUBSCRIPTION:
        return lines_create_subscription(r, ctx, &reply->state);

    case LINES_LINE_BEGIN_BLOCKED:
        return lines_create_blocked(r, ctx, &reply->line);

    case LINES_LINE_BEGIN_FULL:
        return lines_create_full(r, ctx);

    case LINES_LINE_BEGIN_CUSTOMER:
        return lines_create_customer(r, ctx);

    case LINES_LINE_BEGIN_PAYMENT:
        return lines_create_unbilled(r, ctx);
    }

    /* LINES_LINE_BEGIN_CHANGED, LINES_LINE_BEGIN_LATE */

    return lines_create_again(r, ctx);
}


/* all that was announced; the hint last: while it is there it is looked at */

static void
create_withdraw(lines_ctx_t *ctx)
{
    lines_create_t         *create;
    lines_ix_del_args_t     ix;
    lines_prov_rem_args_t   prov;

    create = ctx->data;

    ix.id = create->id;

    lines_forget_ix_del(&ctx->caller, &ix);

    if (create->plan->included) {
        prov.tenant = ctx->identity.tenant;
        prov.id = create->id;

        lines_forget_prov_rem(&ctx->caller, &prov);
    }

    create_not_due(ctx);
}


static void
create_not_due(lines_ctx_t *ctx)
{
    lines_create_t        *create;
    lines_due_rem_args_t   args;

    create = ctx->data;

    args.shard = lines_due_shard(&create->id);
    args.tenant = ctx->identity.tenant;
    args.id = create->id;

    (void) lines_forget_due_rem(&ctx->caller, &args);
}


static ngx_int_t
create_included(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *answer)
{
    lines_create_t     *create;
    lines_main_conf_t  *lmcf;

    create = ctx->data;
    lmcf = lines_get_main_conf(r);

    if (lmcf->provisioner.len) {
        (void) lines_op_spawn(lmcf, &ctx->identity.tenant, &create->id, 1, 0);

    } else {

        /* done already; a hint that stays is dropped by the sweeper */

        create_not_due(ctx);
    }

    if (lines_line_request_location(r, &create->id) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_answer(r, ctx, NGX_HTTP_CREATED, answer);
}
