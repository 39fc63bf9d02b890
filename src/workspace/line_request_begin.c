
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
#include "store/scripts.h"
#include "workspace/line_request_create.h"
#include "workspace/payments.h"
#include "workspace/workspace.h"


static ngx_int_t create_announced(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t create_begun(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static void create_withdraw(ngx_http_request_t *r, lines_ctx_t *ctx);
static void create_not_due(ngx_http_request_t *r, lines_create_t *create);
static ngx_int_t create_paid(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);
static ngx_int_t create_included(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);


/*
 * Hints, written before what they point at: where the id is looked up, when
 * the sweeper should see to it, what the provisioner will find.
 */

ngx_int_t
lines_create_announce(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    u_char             *p;
    ngx_int_t           rc;
    ngx_str_t           argv[4];
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

    ngx_str_set(&argv[0], "SET");
    argv[2] = ctx->identity.tenant;

    if (lines_redis_format(r->pool, &argv[1], "lines:{ix:%V}", &create->id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = lines_command(r, ctx, 3, argv, create_announced);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_str_set(&argv[0], "ZADD");

    if (lines_due(r->pool, &ctx->identity.tenant, &create->id,
                  &create->due_key, &create->due_member)
        != NGX_OK
        || lines_redis_format(r->pool, &argv[2], "%L",
                              create->now + (int64_t) lmcf->operation->due)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    argv[1] = create->due_key;
    argv[3] = create->due_member;

    rc = lines_command(r, ctx, 4, argv, create_announced);

    /* begin may find a place free by then; a hint too many is dropped */

    if (rc != NGX_AGAIN || create->plan->included == 0) {
        return rc;
    }

    ngx_str_set(&argv[1], "lines:{prov}");

    if (lines_redis_format(r->pool, &argv[2], "%L", create->now) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 4, argv, create_announced);
}


static ngx_int_t
create_announced(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    return NGX_OK;
}


ngx_int_t
lines_create_begin(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t          *tenant, *id, args[8 + 13 + 24], *arg;
    ngx_pool_t         *pool;
    lines_input_t      *input;
    lines_plan_t       *plan;
    lines_create_t     *create;
    lines_main_conf_t  *lmcf;

    create = ctx->data;
    input = &create->input;
    plan = create->plan;
    tenant = &ctx->identity.tenant;
    id = &create->id;
    pool = r->pool;
    lmcf = lines_get_main_conf(r);

    ngx_memzero(args, sizeof(args));

    args[6] = create->idem.record;

    args[8 + 1] = *id;
    args[8 + 2] = *tenant;
    args[8 + 3] = create->plan_name;
    args[8 + 5] = plan->price;
    args[8 + 7] = create->customer;
    args[8 + 8] = create->idem.fingerprint;

    if (lmcf->provisioner.len) {
        ngx_str_set(&args[8 + 12], "1");
    }

    if (lines_redis_format(pool, &args[0], "lines:{%V}:t", tenant) != NGX_OK
        || lines_redis_format(pool, &args[1], "lines:{%V}:line:%V", tenant, id)
           != NGX_OK
        || lines_redis_format(pool, &args[2], "lines:{%V}:lines", tenant)
           != NGX_OK
        || lines_redis_format(pool, &args[3], "lines:{%V}:pending", tenant)
           != NGX_OK
        || lines_redis_format(pool, &args[4], "lines:{%V}:op:%V", tenant, id)
           != NGX_OK
        || lines_redis_format(pool, &args[5], "lines:{%V}:ops", tenant)
           != NGX_OK
        || lines_redis_format(pool, &args[7], "lines:{%V}:ev", tenant)
           != NGX_OK
        || lines_redis_format(pool, &args[8], "%L",
                              create->now + (int64_t) lmcf->operation->late)
           != NGX_OK
        || lines_redis_format(pool, &args[8 + 4], "%i", plan->included)
           != NGX_OK
        || lines_redis_format(pool, &args[8 + 11], "%M",
                              lmcf->operation->lease)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* the exact call is recorded before it is made */

    if (plan->price.len
        && create->customer.len
        && lmcf->billing
        && lines_payment_call(pool, lmcf, tenant, id, &create->customer,
                              &plan->price, 1, &args[8 + 9], &args[8 + 10])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (plan->max != LINES_UNLIMITED
        && lines_redis_format(pool, &args[8 + 6], "%i", plan->max) != NGX_OK)
    {
        return NGX_ERROR;
    }

    arg = &args[8 + 13];

    ngx_str_set(&arg[0], "channel");
    ngx_str_set(&arg[1], "phone");
    ngx_str_set(&arg[2], "type");
    ngx_str_set(&arg[3], "purchased");

    if (input->email_channel) {
        ngx_str_set(&arg[1], "email");

    } else if (input->byon) {
        ngx_str_set(&arg[3], "byon");
    }

    ngx_str_set(&arg[4], "first");
    arg[5] = input->first;
    ngx_str_set(&arg[6], "last");
    arg[7] = input->last;
    ngx_str_set(&arg[8], "email");
    arg[9] = input->email;
    ngx_str_set(&arg[10], "phone");
    arg[11] = input->phone;
    ngx_str_set(&arg[12], "zipcode");
    arg[13] = input->zipcode;
    ngx_str_set(&arg[14], "state");
    arg[15] = input->state;
    ngx_str_set(&arg[16], "forwards");
    arg[17] = input->forwards;
    ngx_str_set(&arg[18], "image");
    arg[19] = input->image;
    ngx_str_set(&arg[20], "conversations");
    ngx_str_set(&arg[22], "messages");

    if (lines_redis_format(pool, &arg[21], "%i", plan->conversations) != NGX_OK
        || lines_redis_format(pool, &arg[23], "%i", plan->messages) != NGX_OK)
    {
        return NGX_ERROR;
    }

    LINES_FAILPOINT("create.begin.before");

    return lines_eval(r, ctx, &lines_script_line_begin, 8,
                      sizeof(args) / sizeof(args[0]), args, create_begun);
}


static ngx_int_t
create_begun(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t        result, value, fingerprint;
    lines_create_t  *create;

    LINES_FAILPOINT("create.begin.after");

    create = ctx->data;

    result = lines_reply_str(reply, 0);
    value = lines_reply_str(reply, 1);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines create: \"%V\" %V", &create->id, &result);

    if (lines_is(&result, "created")) {
        return lines_is(&value, "paid")
               ? create_paid(r, ctx, reply)
               : create_included(r, ctx, reply);
    }

    /*
     * Refused: nothing of this id will ever be there, unless it was asked
     * twice, now or before.  The first one may run yet, on the connection that
     * was lost: its hints stay, and should this request begin once more, it
     * does so under the same id, to find that line and make no other.
     */

    if (lines_redis_repeated(lines_get_main_conf(r)->redis)) {
        create->open = 1;
    }

    if (!create->open) {
        create_withdraw(r, ctx);
        ngx_str_null(&create->id);
    }

    if (lines_is(&result, "idempotent")) {
        fingerprint = lines_reply_str(reply, 2);
        return lines_idempotency_replay(r, ctx, &create->idem, &value,
                                        &fingerprint);
    }

    if (lines_is(&result, "subscription")) {
        return lines_create_subscription(r, ctx, &value);
    }

    if (lines_is(&result, "blocked")) {
        return lines_create_blocked(r, ctx, &value);
    }

    if (lines_is(&result, "full")) {
        return lines_create_full(r, ctx);
    }

    if (lines_is(&result, "customer")) {
        return lines_create_customer(r, ctx);
    }

    if (lines_is(&result, "payment")) {
        return lines_create_unbilled(r, ctx);
    }

    /* "changed" or "late" */

    return lines_create_again(r, ctx);
}


/* all that was announced; the hint last: while it is there it is looked at */

static void
create_withdraw(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t        argv[3];
    lines_create_t  *create;

    create = ctx->data;

    ngx_str_set(&argv[0], "DEL");

    if (lines_redis_format(r->pool, &argv[1], "lines:{ix:%V}", &create->id)
        == NGX_OK)
    {
        lines_forget_command(r, 2, argv);
    }

    if (create->plan->included) {
        ngx_str_set(&argv[0], "ZREM");
        ngx_str_set(&argv[1], "lines:{prov}");
        argv[2] = create->due_member;

        lines_forget_command(r, 3, argv);
    }

    create_not_due(r, create);
}


static void
create_not_due(ngx_http_request_t *r, lines_create_t *create)
{
    ngx_str_t  argv[3];

    ngx_str_set(&argv[0], "ZREM");
    argv[1] = create->due_key;
    argv[2] = create->due_member;

    lines_forget_command(r, 3, argv);
}


static ngx_int_t
create_paid(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_int_t        fence;
    ngx_str_t        value, line;
    lines_create_t  *create;

    create = ctx->data;

    value = lines_reply_str(reply, 4);
    fence = ngx_atoi(value.data, value.len);

    if (fence == NGX_ERROR || lines_reply_copy(r, reply, 2, &line) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_pay(r, ctx, &create->id, fence, &line);
}


static ngx_int_t
create_included(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    ngx_str_t           answer;
    lines_create_t     *create;
    lines_main_conf_t  *lmcf;

    create = ctx->data;
    lmcf = lines_get_main_conf(r);

    if (lines_reply_copy(r, reply, 3, &answer) != NGX_OK) {
        return NGX_ERROR;
    }

    if (lmcf->provisioner.len) {
        (void) lines_op_spawn(lmcf, &ctx->identity.tenant, &create->id, 1, 0);

    } else {

        /* done already; a hint that stays is dropped by the sweeper */

        create_not_due(r, create);
    }

    if (lines_line_request_location(r, &create->id) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_answer(r, ctx, NGX_HTTP_CREATED, &answer);
}
