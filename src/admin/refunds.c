
/*
 * GET lines/:id/refund: what would go back of a line, counted now, as its
 * operation counts it; nothing is changed.  POST: it ends, and that goes back.
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "billing/billing.h"
#include "billing/money.h"
#include "http/router.h"
#include "http/steps.h"
#include "http/text.h"
#include "operation/record.h"


/* of an answer; and a preview takes no longer than half of a call may */
#define LINES_REFUND_INVOICES    10

#define LINES_REFUND_CURRENCIES  4


typedef struct {
    ngx_str_t  currency;
    int64_t    amount;
} sum_t;


typedef struct {
    ngx_str_t                cursor;       /* invoice that the list goes on
                                              after; empty: from the newest */
    json_t                  *told;         /* that would go back, borrowed; NULL:
                                              whatever it is */
    ngx_str_t                named;        /* with it: the cursor that stood
                                              there; empty: there was none */
    ngx_uint_t               counts;       /* flag */

    ngx_str_t                status;
    ngx_str_t                subscription;
    ngx_str_t                known[2];     /* invoices that are there: its first
                                              and latest; may be empty */
    ngx_uint_t               listed;       /* LINES_LISTED_... */
    ngx_str_t                operation;
    ngx_str_t                document;

    lines_ctx_t             *ctx;
    lines_carrier_t         *carrier;
    ngx_msec_t               start;
    lines_stripe_invoice_t   invoice;      /* at hand */
    lines_money_t            money;
    ngx_uint_t               n;            /* counted */
    lines_json_t             invoices;
    sum_t                    due[LINES_REFUND_CURRENCIES];
    ngx_uint_t               ndue;
} refund_t;


static ngx_int_t refund_ask(refund_t *refund, lines_billing_ask_t *ask,
    lines_billing_pt handler);
static void refund_looked(void *data, lines_billing_result_t *result);
static ngx_int_t refund_list(refund_t *refund);
static void refund_listed(void *data, lines_billing_result_t *result);
static ngx_int_t refund_ends(refund_t *refund);
static void refund_unlisted(void *data, lines_billing_result_t *result);
static ngx_int_t refund_walk(refund_t *refund);
static void refund_counted(void *data, lines_billing_result_t *result);


#define BAD_CURSOR  "cursor is not one that was given out"

const lines_body_input_t  lines_admin_refund_input =
    lines_body_input(refund_t,
        lines_in_string("cursor", refund_t, cursor, 255, lines_is_tenant,
                        BAD_CURSOR));


#define BAD_DUE  "due must be an object of whole numbers, by currency"

/* by currencies of any name, which are read as they stand */

static const lines_input_t  currencies[] = { lines_input_end };

const lines_body_input_t  lines_admin_refund_ask_input =
    lines_body_input(refund_t,
        lines_in_object("due", currencies, BAD_DUE),
        lines_in_string("cursor", refund_t, named, 255, lines_is_tenant,
                        BAD_CURSOR));


static ngx_int_t
read_told(lines_ctx_t *ctx, refund_t *refund)
{
    json_t      *amount;
    const char  *currency;

    refund->told = ctx->body ? json_object_get(ctx->body, "due") : NULL;

    if (json_is_null(refund->told)) {
        refund->told = NULL;
    }

    json_object_foreach(refund->told, currency, amount) {
        if (!json_is_integer(amount) || json_integer_value(amount) < 0) {
            return lines_refuse(ctx, 400, BAD_DUE);
        }
    }

    return NGX_OK;
}


/* what cannot be refunded, and what to do with it */

static ngx_int_t
refuse(lines_ctx_t *ctx, lines_line_refund_reply_t *reply)
{
    const char  *words;

    switch (reply->is) {

    case LINES_LINE_REFUND_UNKNOWN:
        return lines_admin_unknown(ctx);

    case LINES_LINE_REFUND_FREE:
        words = "Nothing was paid for the line, which is %V, as the plan "
                "includes it: release ends it";
        break;

    default: /* LINES_LINE_REFUND_ILLEGAL */

        switch (lines_status(&reply->status)) {

        case LINES_AWAITING_PAYMENT:
            words = "A line that is %V has cost nothing yet: its workspace "
                    "ends it by cancel";
            break;

        case LINES_PROVISIONING:
            words = "A line that is %V cannot be refunded: report it as "
                    "failed, and what it cost goes back";
            break;

        default:
            words = "A line that is %V cannot be refunded: what it cost goes "
                    "back by itself";
        }
    }

    return lines_admin_conflict(ctx, "status", &reply->status, words);
}


/* what is refused has written nothing yet */

lines_answered(refund_read, refund_t *refund, line_refund)
{
    if (reply->is != LINES_LINE_REFUND_DUE
        && reply->is != LINES_LINE_REFUND_SAME)
    {
        return refuse(ctx, reply);
    }

    refund->status = reply->status;
    refund->subscription = reply->subscription;
    refund->known[0] = reply->invoice;

    /* what is said again is not counted */

    refund->counts = ctx->route->method == NGX_HTTP_GET
                     || (refund->told && reply->is == LINES_LINE_REFUND_DUE);

    return NGX_OK;
}


ngx_int_t
lines_admin_read_refund(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = read_told(ctx, ctx->data);

    return rc != NGX_OK
           ? rc
           : lines_line_refund(&ctx->caller, refund_read, ctx,
                               .tenant = ctx->identity.tenant,
                               .id = ctx->params[0]);
}


static void
refund_cleanup(void *data)
{
    lines_carrier_destroy(data);
}


ngx_int_t
lines_admin_count_refund(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    refund_t            *refund = ctx->data;
    lines_main_conf_t   *lmcf;
    ngx_pool_cleanup_t  *cln;

    lines_billing_ask_t  ask = {
        .kind = LINES_BILLING_SUBSCRIPTION, .id = refund->subscription
    };

    lmcf = lines_get_main_conf(r);

    if (!refund->counts) {
        return NGX_OK;
    }

    if (lmcf->billing == NULL) {
        return lines_unavailable(r, ctx, 1);
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    refund->carrier = lines_carrier_create(lmcf, &ctx->request_id,
                                           ngx_cycle->log);
    if (refund->carrier == NULL) {
        return lines_unavailable(r, ctx, 1);
    }

    cln->handler = refund_cleanup;
    cln->data = refund->carrier;

    refund->ctx = ctx;
    refund->start = ngx_current_msec;
    refund->invoices.pool = r->pool;

    lines_json_add(&refund->invoices, "[");

    /* of the rest of a list nobody knows what was before it */

    if (refund->cursor.len) {
        refund->listed = LINES_LISTED_FIRST|LINES_LISTED_LATEST;
        return refund_list(refund);
    }

    return refund_ask(refund, &ask, refund_looked);
}


static ngx_int_t
refund_ask(refund_t *refund, lines_billing_ask_t *ask, lines_billing_pt handler)
{
    ask->rank = LINES_BUDGET_NEW;

    return lines_billing_ask(refund->carrier, ask, handler, refund)
           == NGX_AGAIN
           ? NGX_AGAIN
           : lines_unavailable(refund->ctx->request, refund->ctx, 1);
}


/* billing does not say what it was asked for: what an answer says instead */

static ngx_int_t
refund_untold(refund_t *refund, lines_billing_result_t *result)
{
    lines_ctx_t  *ctx = refund->ctx;

    return result->outcome == LINES_STRIPE_MISSING
           ? lines_admin_conflict(ctx, "subscription", &refund->subscription,
                                  "Billing does not know %V")
           : lines_unavailable(ctx->request, ctx, 1);
}


static void
refund_looked(void *data, lines_billing_result_t *result)
{
    refund_t *refund = data;

    ngx_int_t     rc;
    lines_ctx_t  *ctx = refund->ctx;

    if (result->outcome == LINES_STRIPE_OK) {
        refund->known[1] = result->subscription->invoice.id;
        rc = refund_list(refund);

    } else {
        rc = refund_untold(refund, result);
    }

    lines_resume(ctx->request, ctx, rc);
}


/* the next one that was paid for, ever, or can be yet */

static ngx_int_t
refund_list(refund_t *refund)
{
    lines_billing_ask_t  ask = {
        .kind = LINES_BILLING_UNSETTLED, .id = refund->subscription,
        .after = refund->cursor,
        .known = { refund->known[0], refund->known[1] }
    };

    return refund_ask(refund, &ask, refund_listed);
}


lines_answered(refund_settled, refund_t *refund, settled_get)
{
    lines_money_settled(&refund->money, &reply->amount);
    lines_money_until(&refund->money, reply->until);

    return refund_walk(refund);
}


static ngx_int_t
refund_begin(refund_t *refund, lines_billing_result_t *result)
{
    ngx_msec_t    timeout;
    lines_ctx_t  *ctx = refund->ctx;

    if (lines_stripe_missing(&result->error, "starting_after")
        && refund->n == 0)
    {
        return lines_refuse(ctx, 400, BAD_CURSOR);
    }

    if (result->outcome != LINES_STRIPE_OK) {
        return refund_untold(refund, result);
    }

    refund->listed |= result->listed;

    /* it was read in part */

    if (result->after.len) {
        refund->cursor = result->after;
        return NGX_OK;
    }

    if (result->invoice == NULL) {
        return refund_ends(refund);
    }

    /* what is compared goes as far as what it is compared with, which was told
       within half of that time */

    timeout = lines_get_main_conf(ctx->request)->billing->timeout;

    if (refund->n == LINES_REFUND_INVOICES
        || (refund->n && lines_same(&refund->named, &refund->cursor))
        || (refund->n
            && ngx_current_msec - refund->start
               > (refund->told ? timeout : timeout / 2)))
    {
        return NGX_OK;
    }

    refund->n++;
    refund->invoice = *result->invoice;
    refund->cursor = refund->invoice.id;

    lines_money_begin(&refund->money, &refund->invoice);

    return lines_settled_get(&ctx->caller, refund_settled, ctx,
                             .tenant = ctx->identity.tenant,
                             .invoice = refund->invoice.id,
                             .subscription = refund->subscription);
}


/*
 * All of the list was read.  What is not on it, but is there, its operation
 * waits for: nobody is told that it is not due.
 */

static ngx_int_t
refund_ends(refund_t *refund)
{
    ngx_uint_t           i;
    lines_billing_ask_t  ask = { .kind = LINES_BILLING_INVOICE };

    for (i = 0; i < 2; i++) {
        if (refund->known[i].len
            && !(refund->listed & LINES_LISTED_FIRST << i))
        {
            refund->listed |= LINES_LISTED_FIRST << i;
            ask.id = refund->known[i];

            return refund_ask(refund, &ask, refund_unlisted);
        }
    }

    ngx_str_null(&refund->cursor);

    return NGX_OK;
}


static void
refund_unlisted(void *data, lines_billing_result_t *result)
{
    refund_t *refund = data;

    lines_ctx_t  *ctx = refund->ctx;

    lines_resume(ctx->request, ctx,
                 result->outcome == LINES_STRIPE_MISSING
                 || (result->outcome == LINES_STRIPE_OK
                     && !lines_same(&result->invoice->subscription,
                                    &refund->subscription))
                 ? refund_ends(refund)
                 : lines_unavailable(ctx->request, ctx, 1));
}


static void
refund_listed(void *data, lines_billing_result_t *result)
{
    refund_t  *refund = data;

    lines_resume(refund->ctx->request, refund->ctx,
                 refund_begin(refund, result));
}


static void
refund_add_due(refund_t *refund, int64_t amount)
{
    ngx_uint_t  i;

    for (i = 0; i < refund->ndue; i++) {
        if (lines_same(&refund->due[i].currency, &refund->money.currency)) {
            break;
        }
    }

    if (i == LINES_REFUND_CURRENCIES) {
        return;
    }

    if (i == refund->ndue) {
        refund->due[refund->ndue++].currency = refund->money.currency;
    }

    if (__builtin_add_overflow(refund->due[i].amount, amount,
                               &refund->due[i].amount))
    {
        refund->due[i].amount = INT64_MAX;
    }
}


/* what its operation would be stuck with goes back by people's hands alone */

static void
refund_add(refund_t *refund)
{
    int64_t          paid, back, due;
    ngx_str_t        stuck;
    lines_money_t   *money = &refund->money;
    lines_money_e    is;

    is = lines_money_close(money);

    lines_json_add(&refund->invoices,
                   ",{'invoice':%J,'status':%J,'currency':%J",
                   &refund->invoice.id, &refund->invoice.status,
                   &money->currency);

    if (is == LINES_MONEY_UNCLEAR) {
        lines_json_add(&refund->invoices, ",'paid':null,'given_back':null,"
                       "'disputed':null,'due':null,'stuck':'money_unclear'}");
        return;
    }

    /* what is clear has been summed up */

    due = lines_money_due(money);
    paid = money->charged + money->balance + money->outside - money->owed;
    back = money->refunded + money->credited;

    ngx_str_null(&stuck);

    switch (is) {

    case LINES_MONEY_FAILED:
        ngx_str_set(&stuck, "refund_failed");
        break;

    case LINES_MONEY_DUE:
        refund_add_due(refund, due);
        break;

    default:

        /* what people say that they gave back is all that was left */

        back += due;
        due = 0;
    }

    lines_json_add(&refund->invoices, ",'paid':%L,'given_back':%L,"
                   "'disputed':%L,'due':%L,'stuck':%J}", paid, back,
                   money->disputed, due, &stuck);
}


static ngx_int_t
refund_walk(refund_t *refund)
{
    lines_billing_ask_t  ask = {
        .kind = lines_billing_lists(refund->money.asks),
        .id = refund->money.whose
    };

    if (refund->money.asks) {
        return refund_ask(refund, &ask, refund_counted);
    }

    refund_add(refund);

    return refund_list(refund);
}


static void
refund_counted(void *data, lines_billing_result_t *result)
{
    refund_t *refund = data;

    ngx_int_t     rc;
    lines_ctx_t  *ctx = refund->ctx;

    if (result->outcome == LINES_STRIPE_OK) {
        lines_money_listed(&refund->money, result->list);
        rc = refund_walk(refund);

    } else {
        rc = lines_unavailable(ctx->request, ctx, 1);
    }

    lines_resume(ctx->request, ctx, rc);
}


/* json begins with a bracket, and what is before this */

static ngx_int_t
refund_show(lines_ctx_t *ctx, ngx_uint_t status, lines_json_t *json)
{
    refund_t  *refund = ctx->data;

    sum_t       *sum;
    ngx_str_t    invoices;
    ngx_uint_t   i;

    if (refund->invoices.failed) {
        return NGX_ERROR;
    }

    lines_json_add(&refund->invoices, "]");

    invoices.data = refund->invoices.start;
    invoices.len = refund->invoices.last - refund->invoices.start;

    lines_json_add(json, ",'line':%J,'status':%J,'subscription':%J,"
                   "'invoices':%V,'due':{", &ctx->params[0], &refund->status,
                   &refund->subscription, &invoices);

    for (i = 0; i < refund->ndue; i++) {
        sum = &refund->due[i];
        lines_json_add(json, ",%J:%L", &sum->currency, sum->amount);
    }

    lines_json_add(json, "},'cursor':%J}", &refund->cursor);

    return lines_json_answer(ctx, status, json);
}


ngx_int_t
lines_admin_show_refund(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_json_t  json = { .pool = r->pool };

    lines_json_add(&json, "{");

    return refund_show(ctx, NGX_HTTP_OK, &json);
}


/*
 * What is told is what a preview says first, and where that ended: as much may
 * be due of other invoices, when a newer one has pushed one out.
 */

ngx_int_t
lines_admin_compare_refund(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    refund_t  *refund = ctx->data;

    sum_t        *sum;
    json_t       *amount;
    ngx_str_t     name;
    ngx_uint_t    i, same;
    const char   *currency;
    lines_json_t  json = { .pool = r->pool };

    if (!refund->counts) {
        return NGX_OK;
    }

    same = lines_same(&refund->named, &refund->cursor);

    for (i = 0; i < refund->ndue; i++) {
        sum = &refund->due[i];
        amount = json_object_getn(refund->told, (char *) sum->currency.data,
                                  sum->currency.len);

        if (json_integer_value(amount) != sum->amount) {
            same = 0;
        }
    }

    json_object_foreach(refund->told, currency, amount) {
        name = lines_op_text(currency);

        for (i = 0; i < refund->ndue; i++) {
            if (lines_same(&name, &refund->due[i].currency)) {
                break;
            }
        }

        if (i == refund->ndue && json_integer_value(amount) != 0) {
            same = 0;
        }
    }

    if (same) {
        return NGX_OK;
    }

    lines_json_add(&json, "{'error':'Another amount would go back by now'");

    return refund_show(ctx, NGX_HTTP_CONFLICT, &json);
}


ngx_int_t
lines_admin_begin_refund(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    refund_t  *refund = ctx->data;

    return lines_admin_announce_refund(r, ctx, &refund->operation, 1);
}


lines_asks(lines_admin_refund, refund_t *refund, line_refund,
           .tenant = ctx->identity.tenant, .id = ctx->params[0],
           .operation = refund->operation)
{
    if (reply->is != LINES_LINE_REFUND_REFUNDING
        && reply->is != LINES_LINE_REFUND_SAME)
    {
        return refuse(ctx, reply);
    }

    refund->document = reply->document;

    return lines_admin_ended(ctx, &reply->operation, &reply->pending,
                             &reply->number);
}


ngx_int_t
lines_admin_show_refunding(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    refund_t  *refund = ctx->data;

    return lines_json_ok(ctx, "{'line':%V,'operation':'%V'}",
                         &refund->document, &refund->operation);
}
