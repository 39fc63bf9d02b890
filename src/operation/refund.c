
/*
 * How money goes back, and why: a paid line failed, an active one was released,
 * billing has what no line holds, a purchase is undone.
 */

#include "http/text.h"
#include "operation/kinds.h"
#include "store/calls.h"


/* tries, before a payment that is not listed is for people to look at */
#define LINES_REFUND_UNLISTED  3

#define LINES_REFUND_LISTED    (LINES_LISTED_FIRST|LINES_LISTED_LATEST)

/* of a run, besides: it lists */
#define LINES_REFUND_LISTS     4


static ngx_int_t refund_indexed(void *data);
static int64_t refund_since(lines_op_t *op);
static ngx_uint_t refund_keeps(lines_op_t *op);
static int64_t refund_late(lines_op_t *op);
static ngx_int_t refund_owes(lines_op_t *op, ngx_int_t (*next)(void *data));
static ngx_int_t refund_list(void *data);
static ngx_int_t refund_listed(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t refund_unlisted(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t refund_doubted(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t refund_next(lines_op_t *op, lines_stripe_invoice_t *invoice);
static ngx_int_t refund_take(lines_op_t *op, lines_stripe_invoice_t *invoice);
static ngx_int_t refund_settled(void *data, lines_settled_get_reply_t *reply);
static ngx_int_t refund_walk(lines_op_t *op);
static ngx_int_t refund_booked(void *data, lines_op_settle_reply_t *reply);
static ngx_int_t refund_counted(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t refund_give(void *data);
static ngx_int_t refund_given(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t refund_report(lines_op_t *op, ngx_str_t reason,
    ngx_str_t invoice, ngx_str_t due);
static ngx_int_t refund_reported(lines_op_t *op);
static ngx_int_t refund_pass(lines_op_t *op, ngx_uint_t write);


/*
 * What goes back may fail, and a bank may return what it took, when the line,
 * the operation and the tenant are gone: then this says that it is due.
 */

static ngx_int_t
refund_owes(lines_op_t *op, ngx_int_t (*next)(void *data))
{
    /* since a line ended is told once: the clock may be set back later */

    return refund_keeps(op)
           ? lines_then_owed_kept(&op->caller, next, op, .tenant = op->tenant,
                                  .subscription = lines_op_get(op,
                                                               "subscription"),
                                  .since = refund_late(op))
           : lines_then_owed_put(&op->caller, next, op, .tenant = op->tenant,
                                 .subscription = lines_op_get(op,
                                                              "subscription"),
                                 .since = refund_since(op));
}


ngx_int_t
lines_refund_name(lines_op_t *op)
{
    ngx_str_t  line;

    line = lines_op_get(op, "line");

    return lines_refund_id(op->pool, &line, &op->refund);
}


ngx_int_t
lines_refund_announce(lines_op_t *op, ngx_int_t (*then)(void *data))
{
    op->announced = then;

    return lines_refund_name(op) == NGX_OK
           ? lines_then_ix_put(&op->caller, refund_indexed, op,
                               .tenant = op->tenant, .id = op->refund)
           : NGX_ERROR;
}


static ngx_int_t
refund_indexed(void *data)
{
    lines_op_t *op = data;

    return lines_then_due_add(&op->caller, op->announced, op,
                              .shard = lines_due_shard(&op->refund),
                              .tenant = op->tenant, .delay = op->conf->due,
                              .id = op->refund);
}


/* a release that a node of the release before began does not say it */

static int64_t
refund_since(lines_op_t *op)
{
    int64_t    since;
    ngx_str_t  skew;

    since = lines_op_get_number(op, "since");

    if (since == 0) {
        return op->at == LINES_AT_RELEASE
               ? lines_op_get_number(op, "begun") / 1000 : 0;
    }

    skew = lines_op_get(op, "skew");

    return skew.len && skew.data[0] == '-'
           ? since - ngx_atoof(skew.data + 1, skew.len - 1)
           : since + lines_op_get_number(op, "skew");
}


/* by billing's clock, as far as it is known */

static int64_t
refund_late(lines_op_t *op)
{
    return lines_money_since(refund_since(op), op->seen.subscription.ended);
}


/* of a line that was there: what it was bought with, also of its orphan */

static ngx_uint_t
refund_keeps(lines_op_t *op)
{
    return op->at == LINES_AT_RELEASE
           || (op->at == LINES_AT_ORPHAN && lines_op_get(op, "kept").len);
}


ngx_int_t
lines_refund_list(lines_op_t *op)
{
    /* where something goes back it is said then, of a line that was awaited */

    return op->at == LINES_AT_AWAIT ? refund_list(op)
                                    : refund_owes(op, refund_list);
}


static ngx_int_t
refund_list(void *data)
{
    lines_op_t *op = data;

    ngx_str_t  none = ngx_null_string;
    ngx_str_t  after, invoice;

    after = lines_op_get(op, "refund_after");
    invoice = lines_op_get(op, "invoice");

    /* of the rest of a list nobody knows */

    if (!(op->seen.listed & LINES_REFUND_LISTS) && after.len) {
        op->seen.listed = LINES_REFUND_LISTED;
    }

    op->seen.listed |= LINES_REFUND_LISTS
                       | (invoice.len ? 0 : LINES_LISTED_FIRST)
                       | (op->seen.latest.len ? 0 : LINES_LISTED_LATEST);

    /* what was paid in the second in which a line ended was paid for it */

    return lines_op_bill(op, refund_listed, .kind = LINES_BILLING_UNSETTLED,
                         .id = lines_op_get(op, "subscription"),
                         .after = after,
                         .known = { invoice, op->seen.latest },
                         .since = refund_late(op),
                         .held = refund_keeps(op),
                         .told = refund_keeps(op) ? none : invoice);
}


static ngx_int_t
refund_listed(lines_op_t *op, lines_billing_result_t *result)
{
    /* the rest of a long list, later */

    if (result->after.len) {
        return lines_op_rest(op, op->conf->retry,
                             { "refund_after", result->after },
                             { "tries", ngx_null_string });
    }

    if (lines_stripe_missing(&result->error, "starting_after")) {
        return lines_op_anew(op, "refund_after", "invoices_refused");
    }

    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "invoices_refused");
    }

    op->seen.listed |= result->listed;

    return refund_next(op, result->invoice);
}


/* what there is, and is not listed, billing will list later, however late */

static ngx_int_t
refund_unlisted(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome == LINES_STRIPE_MISSING) {
        op->seen.listed |= op->seen.listed & LINES_LISTED_FIRST
                           ? LINES_LISTED_LATEST : LINES_LISTED_FIRST;

        return refund_next(op, NULL);
    }

    return result->outcome == LINES_STRIPE_OK
           ? lines_op_again_from(op, "refund_after")
           : lines_op_outcome(op, result, "invoices_refused");
}


/*
 * What became of what was written down is to be known before anything else is:
 * where its invoice is not the next one by now, as newer ones go back, too, it
 * has its turn first, and all of them then.
 */

static ngx_int_t
refund_doubted(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome == LINES_STRIPE_OK) {
        op->seen.doubt = LINES_DOUBT_FIRST;
        return refund_take(op, result->invoice);
    }

    if (result->outcome == LINES_STRIPE_MISSING) {
        op->seen.doubt = LINES_DOUBT_MISSING;
        op->seen.invoice = LINES_INVOICE_UNSEEN;
        return NGX_OK;
    }

    return lines_op_outcome(op, result, "invoices_refused");
}


static ngx_int_t
refund_next(lines_op_t *op, lines_stripe_invoice_t *invoice)
{
    ngx_str_t  doubted;

    doubted = lines_op_get(op, "refund_invoice");

    if (lines_op_get(op, "refund_body").len
        && doubted.len
        && op->seen.doubt != LINES_DOUBT_MISSING
        && (invoice == NULL || !lines_same(&doubted, &invoice->id)))
    {
        return lines_op_bill(op, refund_doubted, .kind = LINES_BILLING_INVOICE,
                             .id = doubted);
    }

    if (invoice == NULL
        && (op->seen.listed & LINES_REFUND_LISTED) != LINES_REFUND_LISTED)
    {
        return lines_op_bill(op, refund_unlisted,
                             .kind = LINES_BILLING_INVOICE,
                             .id = op->seen.listed & LINES_LISTED_FIRST
                                   ? op->seen.latest
                                   : lines_op_get(op, "invoice"));
    }

    if (invoice == NULL && lines_op_get(op, "report").len) {
        return refund_reported(op);
    }

    return refund_take(op, invoice);
}


static ngx_int_t
refund_take(lines_op_t *op, lines_stripe_invoice_t *invoice)
{
    op->seen.money = LINES_MONEY_UNSEEN;
    op->seen.invoice = LINES_INVOICE_MISSING;

    /* what was tried until here was about the first one */

    if (op->at == LINES_AT_AWAIT && !op->seen.others) {
        op->seen.others = 1;
        op->seen.tried = 0;
    }

    if (invoice) {
        op->seen.subscription.invoice = *invoice;
        op->seen.invoice = lines_op_invoice(invoice);
    }

    return NGX_OK;
}


ngx_int_t
lines_refund_count(lines_op_t *op)
{
    lines_op_seen_t  *seen = &op->seen;

    lines_money_begin(&seen->ledger, &seen->subscription.invoice);

    return lines_settled_get(&op->caller, refund_settled, op,
                             .tenant = op->tenant,
                             .invoice = seen->subscription.invoice.id,
                             .subscription = lines_op_get(op, "subscription"));
}


static ngx_int_t
refund_settled(void *data, lines_settled_get_reply_t *reply)
{
    lines_op_t *op = data;

    lines_money_settled(&op->seen.ledger, &reply->amount);
    lines_money_until(&op->seen.ledger, reply->until);

    return refund_walk(op);
}


static ngx_int_t
refund_walk(lines_op_t *op)
{
    int64_t           due;
    ngx_str_t         said;
    lines_op_seen_t  *seen = &op->seen;

    if (seen->ledger.asks) {
        return lines_op_bill(op, refund_counted,
                             .kind = lines_billing_lists(seen->ledger.asks),
                             .id = seen->ledger.whose);
    }

    if (op->at == LINES_AT_LAPSE) {

        /* a bank's word is not listed yet, nor perhaps what it took */

        if (!seen->ledger.taken
            && (lines_money_unlisted(&seen->ledger)
                || !lines_charge_waited(op)))
        {
            return op->kind->acts[LINES_DO_STUCK](op);
        }

    } else if (lines_money_unlisted(&seen->ledger)
               && lines_op_get_number(op, "tries") < LINES_REFUND_UNLISTED)
    {
        return lines_op_again(op);
    }

    seen->money = lines_money_close(&seen->ledger);

    lines_op_debug(op, "invoice \"%V\": %L are due, %L disputed, %L failed",
                   &seen->subscription.invoice.id,
                   lines_money_due(&seen->ledger), seen->ledger.disputed,
                   seen->ledger.failed);

    said = lines_op_get(op, "settle_invoice");

    if (said.len == 0
        || !lines_same(&said, &seen->subscription.invoice.id))
    {
        return NGX_OK;
    }

    /* billing's word first: a person's is good for what is left */

    due = seen->money == LINES_MONEY_DUE || seen->money == LINES_MONEY_FAILED
          ? lines_money_due(&seen->ledger) : 0;

    return lines_op_settle(&op->caller, refund_booked, op, lines_op_held(op),
                           .due = seen->money == LINES_MONEY_UNCLEAR ? NULL
                                                                     : &due);
}


static ngx_int_t
refund_booked(void *data, lines_op_settle_reply_t *reply)
{
    lines_op_t *op = data;

    lines_op_seen_t  *seen = &op->seen;
    static ngx_str_t  nothing = ngx_null_string;

    if (reply->amount.len) {
        lines_money_settled(&seen->ledger, &reply->amount);
        seen->money = lines_money_close(&seen->ledger);
    }

    return lines_op_set(op, "settle_invoice", &nothing);
}


static ngx_int_t
refund_counted(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "money_refused");
    }

    lines_money_listed(&op->seen.ledger, result->list);

    return refund_walk(op);
}


/*
 * The exact body and key first.  A credit note gives back all of it; one cannot
 * be made of an invoice that is not paid, nor choose among several payments, of
 * which a bank may have one: then these are refunded, one after another.  So is
 * what was charged where a note was refused: to a balance, say, that is gone.
 */

ngx_int_t
lines_refund_credit(lines_op_t *op)
{
    int64_t                  n, amount, charged, balance, outside;
    ngx_int_t                rc;
    ngx_str_t                body, key, stuck;
    lines_money_t           *ledger = &op->seen.ledger;
    lines_stripe_invoice_t  *invoice = &op->seen.subscription.invoice;
    lines_stripe_metadata_t  metadata = {
        .deployment = op->lmcf->billing->deployment,
        .tenant = op->tenant,
        .line = lines_op_get(op, "line"),
        .operation = op->id
    };

    amount = lines_money_due(ledger);
    stuck = lines_op_get(op, "stuck");

    if (ledger->payment.len
        && (ledger->parts > 1
            || ledger->taken
            || lines_is(&stuck, "refund_refused")
            || !lines_is(&invoice->status, "paid")))
    {
        rc = lines_stripe_refund_body(op->pool, &ledger->payment,
                                      ngx_min(amount, ledger->left),
                                      &metadata, &body);

    } else {
        lines_money_ways(ledger, &charged, &balance, &outside);

        rc = lines_stripe_credit_body(op->pool, &invoice->id, charged, balance,
                                      outside, &metadata, &body);
    }

    n = lines_op_get_number(op, "refunds") + 1;

    if (rc != NGX_OK
        || lines_redis_format(op->pool, &key, n == 1 ? "lines:%V:refund"
                              : "lines:%V:refund:%L", &op->id, n) != NGX_OK)
    {
        return NGX_ERROR;
    }

    op->seen.call = LINES_CALL_DUE;

    return lines_op_move(op, (char *) op->step.data,
                         { "refund_body", body }, { "refund_key", key },
                         { "refund_at",
                           lines_op_number(op, lines_op_now(op)) },
                         { "refund_amount", lines_op_number(op, amount) },
                         { "refund_invoice", invoice->id },
                         { "refund_after", lines_op_get(op, "refund_after") },
                         { "refund_shown",
                           lines_op_number(op, lines_money_back(ledger)) },
                         { "refunds", lines_op_number(op, n) },
                         { "given", ngx_null_string },
                         { "absent_at", ngx_null_string });
}


ngx_int_t
lines_refund_give(lines_op_t *op)
{
    /* lines_refund_list() has not said so */

    return op->at == LINES_AT_AWAIT ? refund_owes(op, refund_give)
                                    : refund_give(op);
}


static ngx_int_t
refund_give(void *data)
{
    lines_op_t *op = data;

    ngx_str_t   body, none = ngx_null_string;
    ngx_uint_t  note;

    body = lines_op_get(op, "refund_body");
    note = ngx_strncmp(body.data, "invoice=", 8) == 0;

    /* a note of another invoice is none of this one: it is not counted again */

    return lines_op_bill(op, refund_given,
                         .kind = note ? LINES_BILLING_CREDIT
                                      : LINES_BILLING_REFUND,
                         .id = note ? lines_op_get(op, "refund_invoice") : none,
                         .body = body, .key = lines_op_get(op, "refund_key"));
}


/* what is left is counted again, but where a note has just given it all back */

static ngx_int_t
refund_given(lines_op_t *op, lines_billing_result_t *result)
{
    op->seen.money = LINES_MONEY_UNSEEN;

    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_post_failed(op, result);
    }

    lines_op_log(op, NGX_LOG_INFO, "refunded invoice \"%V\"",
                 &op->seen.subscription.invoice.id);

    /* as much is due: it is not listed yet */

    op->seen.call = LINES_CALL_THERE;

    if (op->ask.kind == LINES_BILLING_CREDIT && !result->replayed) {
        op->seen.money = LINES_MONEY_RETURNED;
    }

    return NGX_OK;
}


/*
 * What was refused is not sent again under its key; what failed, never.  People
 * are to look at that alone: what is due of other invoices goes back first.  The
 * record knows of it meanwhile, should somebody else come to the list's end.
 */

ngx_int_t
lines_refund_report(lines_op_t *op)
{
    ngx_str_t  reason, due, *invoice;

    reason = lines_op_text(op->reason);
    invoice = &op->seen.subscription.invoice.id;
    due = lines_op_number(op, lines_money_due(&op->seen.ledger));

    if (op->at != LINES_AT_UNCHARGE
        && op->at != LINES_AT_REFUND
        && op->at != LINES_AT_ORPHAN
        && op->at != LINES_AT_RELEASE)
    {
        return refund_report(op, reason, *invoice, due);
    }

    if (lines_op_get(op, "report").len == 0
        && (lines_op_set(op, "report", &reason) != NGX_OK
            || lines_op_set(op, "report_invoice", invoice) != NGX_OK
            || lines_op_set(op, "report_due", &due) != NGX_OK))
    {
        return NGX_ERROR;
    }

    return refund_pass(op, 1);
}


static ngx_int_t
refund_report(lines_op_t *op, ngx_str_t reason, ngx_str_t invoice,
    ngx_str_t due)
{
    op->seen.subscription.invoice.id = invoice;

    lines_op_list_stuck(op, reason);

    return lines_op_rest(op, op->conf->every,
                         { "stuck", reason },
                         { "stuck_invoice", invoice },
                         { "stuck_due", due },
                         { "refund_body", ngx_null_string },
                         { "refund_after", ngx_null_string },
                         { "report", ngx_null_string },
                         { "report_invoice", ngx_null_string },
                         { "report_due", ngx_null_string });
}


/*
 * Nothing else is left; the next run counts all from the newest on.  So does
 * this one where there was news meanwhile of what it had passed.
 */

static ngx_int_t
refund_reported(lines_op_t *op)
{
    if (lines_op_get(op, "again").len == 0) {
        return refund_report(op, lines_op_get(op, "report"),
                             lines_op_get(op, "report_invoice"),
                             lines_op_get(op, "report_due"));
    }

    op->seen.invoice = LINES_INVOICE_UNSEEN;
    op->seen.listed = 0;

    return lines_op_move(op, (char *) op->step.data,
                         { "again", ngx_null_string },
                         { "refund_after", ngx_null_string },
                         { "report", ngx_null_string },
                         { "report_invoice", ngx_null_string },
                         { "report_due", ngx_null_string });
}


/* this invoice is done with; the next one begins with nothing written down */

ngx_int_t
lines_refund_pass(lines_op_t *op)
{
    return refund_pass(op, 0);
}


static ngx_int_t
refund_pass(lines_op_t *op, ngx_uint_t write)
{
    ngx_uint_t  said, doubted;

    /* what a person said of this one is not to be asked again */

    said = op->seen.stuck;
    doubted = (op->seen.doubt == LINES_DOUBT_FIRST);

    op->seen.doubt = 0;

    op->seen.call = LINES_CALL_DUE;
    op->seen.invoice = LINES_INVOICE_UNSEEN;
    op->seen.tried = 0;
    op->seen.stuck = 0;

    /* one that was not its turn: the list goes on where it was */

    if (!doubted
        && lines_op_set(op, "refund_after", &op->seen.subscription.invoice.id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (lines_op_get(op, "refund_body").len == 0 && !said && !write) {
        return NGX_OK;
    }

    return lines_op_move(op, (char *) op->step.data,
                         { "refund_body", ngx_null_string },
                         { "refund_key", ngx_null_string },
                         { "refund_at", ngx_null_string },
                         { "refund_amount", ngx_null_string },
                         { "refund_invoice", ngx_null_string },
                         { "refund_after", lines_op_get(op, "refund_after") },
                         { "report", lines_op_get(op, "report") },
                         { "report_invoice",
                           lines_op_get(op, "report_invoice") },
                         { "report_due", lines_op_get(op, "report_due") },
                         { "absent_at", ngx_null_string },
                         { "tries", ngx_null_string });
}


ngx_int_t
lines_refund_finish(lines_op_t *op)
{
    static const char  *events[LINES_POINTS] = {
        [LINES_AT_REFUND] = "line.refunded",
        [LINES_AT_RELEASE] = "line.unsubscribed",
        [LINES_AT_ORPHAN] = "orphan.refunded"
    };

    return lines_then_refund_end(&op->caller, lines_op_over, op,
                                 lines_op_held(op),
                                 .line = lines_op_get(op, "line"),
                                 .payment = lines_op_text(
                                     op->at == LINES_AT_REFUND ? "refunded"
                                                               : ""),
                                 .subscription = lines_op_get(op,
                                                              "subscription"),
                                 .name = lines_op_text(events[op->at]));
}
