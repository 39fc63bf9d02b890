
/*
 * What is true now of an operation: all that operation/decide.c is told, by the
 * record, and by what this run has seen.
 */

#include "operation/database.h"
#include "operation/view.h"


lines_wish_e
lines_op_word(lines_op_t *op)
{
    ngx_str_t  step, word;

    step = lines_op_get(op, "resolved_step");
    word = lines_op_get(op, "resolved");

    if (step.len == 0 || !lines_same(&step, &op->step)) {
        return LINES_WISH_NONE;
    }

    return lines_is(&word, "settled") ? LINES_WISH_SETTLED
                                      : LINES_WISH_GIVEN_UP;
}


static lines_wish_e
view_wish(lines_op_t *op)
{
    ngx_str_t     wish;
    lines_wish_e  said;

    said = lines_op_word(op);
    wish = lines_op_get(op, "wish");

    if (op->seen.stuck && said) {
        return said;
    }

    /* what was not charged by then is not to be once more */

    if (op->at == LINES_AT_CHARGE && said) {
        return LINES_WISH_CANCEL;
    }

    return lines_is(&wish, "cancel") ? LINES_WISH_CANCEL
           : lines_is(&wish, "link") ? LINES_WISH_LINK
           : lines_is(&wish, "yield") ? LINES_WISH_YIELD : LINES_WISH_NONE;
}


/* billing took what was to be given back, and shows no more than before that */

static ngx_uint_t
view_unlisted(lines_op_t *op)
{
    return op->seen.money == LINES_MONEY_DUE
           && lines_op_get(op, "given").len
           && lines_money_back(&op->seen.ledger)
              <= lines_op_get_number(op, "refund_shown");
}


/*
 * After a day the key may be forgotten, and would bill once more.  A look that
 * is under way goes on.
 */

static lines_call_e
view_call(lines_op_t *op)
{
    int64_t     absent, now;
    ngx_str_t   invoice;
    ngx_uint_t  back, other, told;

    now = lines_op_now(op);
    absent = lines_op_get_number(op, "absent_at");
    back = op->at == LINES_AT_REFUND || op->at == LINES_AT_ORPHAN
           || op->at == LINES_AT_RELEASE || op->at == LINES_AT_UNCHARGE
           || op->at == LINES_AT_AWAIT;

    invoice = lines_op_get(op, "refund_invoice");
    other = lines_money_due(&op->seen.ledger)
            != lines_op_get_number(op, "refund_amount");

    /* of another invoice, or not what is due now: was refused, or given, before */

    if (back
        && (lines_op_get(op, "refund_body").len == 0
            || (invoice.len
                && !lines_same(&invoice, &op->seen.subscription.invoice.id))
            || (other && (op->seen.call == LINES_CALL_REFUSED
                          || op->seen.call == LINES_CALL_THERE))))
    {
        return LINES_CALL_ABSENT;
    }

    if (op->seen.call) {
        return op->seen.call;
    }

    told = !back && lines_op_get(op, "told").len;

    if (absent) {

        if (now - absent >= (int64_t) op->conf->absent) {
            return back && !other && view_unlisted(op) ? LINES_CALL_THERE
                                                       : LINES_CALL_MISSED_ONCE;
        }

        /* billing has told of it, or a person is to be heard once it is seen */

        return told || (!back && lines_op_word(op)) ? LINES_CALL_DOUBTFUL
                                                    : LINES_CALL_MISSED;
    }

    /* what was written down, and perhaps sent, is not what is due by now */

    if (back && op->seen.money == LINES_MONEY_DUE && other) {
        return LINES_CALL_DOUBTFUL;
    }

    return told
           || (!back && lines_op_get(op, "after").len)
           || now - lines_op_get_number(op, back ? "refund_at" : "sent_at")
              >= (int64_t) op->conf->resend
           ? LINES_CALL_DOUBTFUL : LINES_CALL_DUE;
}


/* nothing is counted where nothing came in, or nobody asks for it */

static lines_money_e
view_money(lines_op_t *op)
{
    if ((op->seen.invoice == LINES_INVOICE_VOID
         && op->seen.subscription.invoice.amount_paid == 0)
        || (op->at == LINES_AT_LAPSE && lines_op_get(op, "invoice").len == 0))
    {
        return LINES_MONEY_NONE;
    }

    return op->seen.money;
}


void
lines_op_view(lines_op_t *op, lines_view_t *view)
{
    int64_t           left;
    ngx_str_t         status, payer, customer;
    lines_op_seen_t  *seen = &op->seen;

    status = lines_op_get(op, "invoice_status");
    payer = lines_op_get(op, "payer");
    customer = lines_op_get(op, "customer");

    left = lines_op_get_number(op, "due") - lines_op_now(op);

    *view = (lines_view_t) {
        .at = seen->others && op->at == LINES_AT_AWAIT ? LINES_AT_OTHERS
                                                       : op->at,
        .base = lines_database_held(op->lmcf) ? LINES_BASE_HELD
                : seen->checked || op->lmcf->billing == NULL
                ? LINES_BASE_FINE : LINES_BASE_UNSEEN,
        .wish = view_wish(op),
        .call = view_call(op),
        .sub = lines_op_get(op, "subscription").len == 0 ? LINES_SUB_NONE
               : seen->sub ? seen->sub : LINES_SUB_UNSEEN,
        .invoice = seen->invoice,
        .place = lines_op_get(op, "place").len ? LINES_PLACE_TAKEN
                                               : seen->place,
        .money = view_money(op),
        .number = seen->number == LINES_NUMBER_NONE
                  && lines_op_get(op, "number").len
                  ? LINES_NUMBER_LEASED : seen->number,
        .told = op->lmcf->provisioner.len ? seen->told : LINES_TELL_TAKEN,
        .card = customer.len ? seen->card : LINES_CARD_NONE,
        .early = left > 0
                 && left <= (int64_t) lines_op_longest(op->conf),

        /* of the attempt, or of the whole where attempts follow each other */

        .old = lines_op_now(op)
               - lines_op_get_number(op, op->at == LINES_AT_CHARGE
                                         ? "begun" : "sent_at")
               >= (int64_t) op->conf->resend,

        .off = seen->off || lines_is(&status, "uncollectible"),
        .tried = seen->tried,
        .disputed = seen->money && seen->ledger.taken,
        .moved = (payer.len && !lines_same(&payer, &customer))
                 || lines_op_get(op, "moved").len
    };
}
