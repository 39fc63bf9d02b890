
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/charge.h"


static ngx_int_t charge_answered(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t charge_find(lines_op_t *op);
static ngx_int_t charge_found(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t charge_absent(lines_op_t *op);


ngx_int_t
lines_charge(lines_op_t *op, const lines_charge_t *charge)
{
    int64_t  absent, sent, now;

    op->charge = charge;

    /* the record's attempt rises in the step that enters this one again */

    op->attempt = lines_op_get_number(op, "attempt");

    now = lines_op_now(op);
    sent = lines_op_get_number(op, "sent_at");
    absent = lines_op_get_number(op, "absent_at");

    if (absent && now - absent < (int64_t) op->conf->absent) {
        return lines_op_rest(op, absent + (int64_t) op->conf->absent - now);
    }

    /* after a day the key may be forgotten, and would bill once more */

    if (absent || now - sent >= (int64_t) op->conf->resend) {
        return charge_find(op);
    }

    return lines_op_bill(op, charge_answered,
                         .kind = LINES_BILLING_SUBSCRIBE,
                         .body = lines_op_get(op, "body"),
                         .key = lines_op_get(op, "key"));
}


static ngx_int_t
charge_answered(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome == LINES_STRIPE_OK) {
        return op->charge->charged(op, result->subscription);
    }

    if (result->outcome == LINES_STRIPE_REFUSED) {
        return op->charge->refused(op, &result->error);
    }

    if (lines_op_saved(op, result)) {
        return charge_find(op);
    }

    return lines_op_outcome(op, result, "");
}


static ngx_int_t
charge_find(lines_op_t *op)
{
    ngx_str_t  line, operation;

    line = lines_op_get(op, "line");
    ngx_str_null(&operation);

    if (line.len == 0) {
        operation = op->id;
    }

    return lines_op_bill(op, charge_found, .kind = LINES_BILLING_FIND,
                         .id = lines_op_get(op, "customer"),
                         .since = lines_op_since(op),
                         .match.tenant = op->tenant, .match.line = line,
                         .match.operation = operation,
                         .match.attempt = op->attempt);
}


static ngx_int_t
charge_found(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome == LINES_STRIPE_REFUSED) {

        /* no such customer: nothing can have been created for it */

        return charge_absent(op);
    }

    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "");
    }

    return result->subscriptions->nelts
           ? op->charge->charged(op, result->subscriptions->elts)
           : charge_absent(op);
}


static ngx_int_t
charge_absent(lines_op_t *op)
{
    if (lines_op_get_number(op, "absent_at") == 0) {
        return lines_op_rest(op, op->conf->absent,
                     { "absent_at", lines_op_number(op, lines_op_now(op)) });
    }

    return op->charge->absent(op);
}
