
#include "operation/charge.h"
#include "operation/kinds.h"


#define LINES_CHARGE_DAY  86400

/* attempts, one after another, that are looked for, before somebody is told */
#define LINES_CHARGES  4


static lines_stripe_metadata_t charge_names(lines_op_t *op);
static ngx_int_t charge_answered(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t charge_told(lines_op_t *op, lines_billing_result_t *result);
static int64_t charge_since(lines_op_t *op);
static ngx_int_t charge_list(lines_op_t *op);
static ngx_int_t charge_found(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t charge_customer(lines_op_t *op,
    lines_billing_result_t *result);
static ngx_int_t charge_absent(lines_op_t *op);


ngx_int_t
lines_charge_call(ngx_pool_t *pool, lines_main_conf_t *lmcf,
    lines_stripe_metadata_t *metadata, ngx_str_t *customer, ngx_str_t *price,
    ngx_str_t *card, ngx_str_t *body, ngx_str_t *key)
{
    metadata->deployment = lmcf->billing->deployment;

    if (lines_stripe_subscribe_body(pool, customer, price, card, metadata,
                                    body)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_redis_format(pool, key, "lines:%V:sub:%ui",
                              card ? &metadata->operation : &metadata->line,
                              metadata->attempt);
}


ngx_int_t
lines_charge_write(lines_op_t *op, ngx_uint_t attempt, const char *whose,
    ngx_str_t *body, ngx_str_t *key)
{
    ngx_str_t                customer, price, card;
    lines_stripe_metadata_t  metadata = {
        .tenant = op->tenant,
        .line = lines_op_get(op, "line"),
        .attempt = attempt
    };

    customer = lines_op_get(op, whose);
    price = lines_op_get(op, "price");
    card = lines_op_get(op, "payment_method");

    if (metadata.line.len == 0) {
        metadata.operation = op->id;
    }

    if (attempt > op->attempt) {
        lines_op_log(op, NGX_LOG_INFO, "attempt %ui is dead, another one",
                     op->attempt);
    }

    return lines_charge_call(op->pool, op->lmcf, &metadata, &customer, &price,
                             metadata.line.len ? NULL : &card, body, key);
}


ngx_int_t
lines_charge_send(lines_op_t *op)
{
    return lines_op_bill(op, charge_answered,
                         .kind = LINES_BILLING_SUBSCRIBE,
                         .body = lines_op_get(op, "body"),
                         .key = lines_op_get(op, "key"),
                         .match = charge_names(op));
}


/* what this attempt makes is known by; and the name that it was sent under */

static lines_stripe_metadata_t
charge_names(lines_op_t *op)
{
    ngx_str_t                body;
    lines_stripe_metadata_t  names = {
        .tenant = op->tenant,
        .line = lines_op_get(op, "line"),
        .attempt = op->attempt
    };

    body = lines_op_get(op, "body");
    names.deployment = lines_stripe_deployment(&body);

    if (names.line.len == 0) {
        names.operation = op->id;
    }

    return names;
}


static ngx_int_t
charge_answered(lines_op_t *op, lines_billing_result_t *result)
{
    ngx_int_t  rc;

    if (result->outcome != LINES_STRIPE_OK) {

        if (result->outcome == LINES_STRIPE_UNKNOWN) {
            op->unsent = 0;
        }

        rc = lines_op_post_failed(op, result);

        /*
         * Of this try: an earlier one may have been taken, also where it was
         * refused since, and that is said again.
         */

        if (op->seen.call == LINES_CALL_REFUSED
            && (op->unsent != op->attempt || result->replayed))
        {
            op->seen.call = LINES_CALL_DOUBTFUL;
        }

        return rc;
    }

    op->seen.call = LINES_CALL_THERE;
    lines_op_saw(op, result->subscription);

    /*
     * It proves that it was created, not that it is still so; also where nobody
     * says that it is an answer of before.
     */

    if (result->replayed || op->unsent != op->attempt) {
        op->seen.sub = LINES_SUB_NONE;
        op->seen.invoice = LINES_INVOICE_UNSEEN;

        return NGX_OK;
    }

    /*
     * Nobody can have given back what came in just now; and what is active at
     * once was paid at once (error_if_incomplete), though its invoice is not
     * told with it.
     */

    op->seen.money = LINES_MONEY_DUE;

    if (op->seen.sub == LINES_SUB_LIVE
        && op->seen.invoice == LINES_INVOICE_UNSEEN)
    {
        op->seen.invoice = LINES_INVOICE_PAID;
    }

    return NGX_OK;
}


/* an event names it, which a list may not show yet; else it is looked for */

ngx_int_t
lines_charge_find(lines_op_t *op)
{
    ngx_str_t  told;

    told = lines_op_get(op, "told");

    return told.len ? lines_op_bill(op, charge_told,
                                    .kind = LINES_BILLING_SUBSCRIPTION,
                                    .id = told)
                    : charge_list(op);
}


static ngx_int_t
charge_told(lines_op_t *op, lines_billing_result_t *result)
{
    ngx_str_t                none = ngx_null_string;
    lines_stripe_metadata_t  names;

    if (result->outcome == LINES_STRIPE_OK) {
        names = charge_names(op);

        if (lines_billing_matches(&names, &result->subscription->metadata)) {
            op->seen.call = LINES_CALL_THERE;
            lines_op_saw(op, result->subscription);

            return NGX_OK;
        }

    } else if (!lines_stripe_refused(result->outcome)) {
        return lines_op_outcome(op, result, "");
    }

    /* another's, or not there */

    return lines_op_set(op, "told", &none) == NGX_OK ? charge_list(op)
                                                     : NGX_ERROR;
}


/* a day for clocks that differ; and what billing's is known to be behind */

static int64_t
charge_since(lines_op_t *op)
{
    int64_t  behind;

    behind = op->dated ? ngx_max(-op->ahead, 0) : 0;

    return ngx_max(lines_op_get_number(op, "begun") / 1000 - behind
                   - LINES_CHARGE_DAY, 0);
}


static ngx_int_t
charge_list(lines_op_t *op)
{
    return lines_op_bill(op, charge_found, .kind = LINES_BILLING_FIND,
                         .id = lines_op_get(op, "customer"),
                         .after = lines_op_get(op, "after"),
                         .since = charge_since(op),
                         .match = charge_names(op));
}


static ngx_int_t
charge_found(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome == LINES_STRIPE_OK && result->subscriptions->nelts) {
        op->seen.call = LINES_CALL_THERE;
        lines_op_saw(op, result->subscriptions->elts);

        return NGX_OK;
    }

    /* not to its end, which would prove something: the rest of it, later */

    if (result->after.len) {
        return lines_op_rest(op, op->conf->retry, { "after", result->after },
                             { "tries", ngx_null_string });
    }

    if (lines_stripe_missing(&result->error, "starting_after")) {
        return lines_op_anew(op, "after", "charge_unlisted");
    }

    /* the customer: never was, or is not any more */

    if (result->outcome == LINES_STRIPE_MISSING) {
        return lines_op_bill(op, charge_customer,
                             .kind = LINES_BILLING_CUSTOMER,
                             .id = lines_op_get(op, "customer"));
    }

    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "charge_unlisted");
    }

    /* by a clock that is further behind than was known it is older */

    return charge_since(op) < op->ask.since - LINES_CHARGE_DAY / 2
           ? charge_list(op) : charge_absent(op);
}


/*
 * For one who never was nothing can have been created.  Of one who was deleted
 * billing lists nothing: whether he was charged before only a person can see.
 */

static ngx_int_t
charge_customer(lines_op_t *op, lines_billing_result_t *result)
{
    if (result->outcome == LINES_STRIPE_MISSING) {
        return charge_absent(op);
    }

    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "charge_unlisted");
    }

    return lines_op_stuck(op, result->customer->deleted ? "customer_deleted"
                                                        : "charge_unlisted");
}


/* who looks sooner, as there is news, or a person's word, proves nothing */

static ngx_int_t
charge_absent(lines_op_t *op)
{
    op->seen.call = lines_charge_waited(op) ? LINES_CALL_ABSENT
                                            : LINES_CALL_MISSED;

    return NGX_OK;
}


ngx_uint_t
lines_charge_waited(lines_op_t *op)
{
    int64_t  absent;

    absent = lines_op_get_number(op, "absent_at");

    return absent
           && lines_op_now(op) - absent >= (int64_t) op->conf->absent;
}


/* one after another came to nothing: it goes on, and somebody is told */

ngx_int_t
lines_charge_wait(lines_op_t *op)
{
    int64_t     absent, now, tries, waits;
    ngx_str_t   stuck, none = ngx_null_string;
    ngx_uint_t  charge, given;

    now = lines_op_now(op);
    absent = lines_op_get_number(op, "absent_at");
    tries = lines_op_get_number(op, "tries");

    /* of charges; none is looked for any more where one was found */

    charge = op->at == LINES_AT_SEND || op->at == LINES_AT_CHARGE;
    waits = charge ? lines_op_get_number(op, "waits") : 0;

    stuck = lines_op_get(op, "stuck");

    /* what billing has taken is waited for until it is listed */

    given = op->seen.call == LINES_CALL_THERE
            || lines_op_get(op, "given").len;

    /* who is woken meanwhile waits for the same */

    if (absent == 0
        || (given && now - absent >= (int64_t) op->conf->absent))
    {
        absent = now;
        tries++;
        waits += charge;
    }

    if (waits >= LINES_CHARGES || tries >= LINES_OP_TRIES) {
        ngx_str_set(&stuck, "no_answer");
        lines_op_list_stuck(op, lines_op_text("no_answer"));
    }

    return lines_op_rest(op, ngx_max(absent + (int64_t) op->conf->absent - now,
                                     1),
                         { "absent_at", lines_op_number(op, absent) },
                         { "after", ngx_null_string },
                         { "told", ngx_null_string },
                         { "tries", lines_op_number(op, tries) },
                         { "waits", lines_op_number(op, waits) },
                         { "given", given ? lines_op_text("1") : none },
                         { "ahead", lines_op_ahead(op) },
                         { "stuck", stuck });
}
