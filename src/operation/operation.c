
/*
 * The engine: an operation is claimed, its steps run one after another, make
 * calls under a fresh lease, and it ends or rests.  What goes to Redis:
 * operation/record.c.
 */

#include "http/failpoint.h"
#include "http/text.h"
#include "operation/database.h"
#include "operation/operation.h"
#include "operation/provisioner.h"
#include "operation/view.h"


#define LINES_REPEATS        2
#define LINES_STUCK          60000


/* so many rests with a 5xx */
#define LINES_SAVED_TRIES    2

/* a lease this young (ms) outlasts any call */
#define LINES_FRESH          1000


/* where it is stuck, and no money of an invoice is the reason */
#define op_stuck_fields(reason)                                               \
    { "stuck", lines_op_text(reason) }, { "stuck_invoice", ngx_null_string }, \
    { "stuck_due", ngx_null_string }, { "ahead", lines_op_ahead(op) }


static void op_next(ngx_event_t *ev);
static ngx_int_t op_run(lines_op_t *op);
static ngx_uint_t op_unstick(lines_op_t *op);
static ngx_int_t op_check(void *data, lines_database_check_reply_t *reply);
static ngx_int_t op_looked(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t op_invoice(lines_op_t *op, lines_billing_result_t *result);
static ngx_int_t op_call_claimed(void *data, lines_op_claim_reply_t *reply);
static ngx_int_t op_call_send(lines_op_t *op);
static void op_answered(void *data, lines_billing_result_t *result);
static void op_told(void *data, lines_result_t *result);
static ngx_int_t op_finish(lines_op_t *op);
static ngx_uint_t op_lasts(lines_op_t *op);
static ngx_int_t op_dropping(void *data, lines_due_drop_reply_t *reply);
static ngx_int_t op_announced(void *data);
static ngx_int_t op_drop(void *data);
static ngx_int_t op_dropped(void *data, lines_announced_reply_t *reply);
static void op_end(lines_op_t *op, ngx_int_t rc);
static void op_swept(lines_op_conf_t *ocf);


void
lines_op_init_process(lines_main_conf_t *lmcf)
{
    ngx_queue_init(&lmcf->operation->running);
    lmcf->operation->sweeping = 0;
}


void
lines_op_exit_process(lines_main_conf_t *lmcf)
{
    ngx_queue_t      *q;
    lines_op_t       *op;
    lines_op_conf_t  *ocf = lmcf->operation;

    if (ocf == NULL || ocf->running.next == NULL) {
        return;
    }

    for (q = ngx_queue_head(&ocf->running);
         q != ngx_queue_sentinel(&ocf->running);
         q = ngx_queue_next(q))
    {
        op = ngx_queue_data(q, lines_op_t, queue);

        lines_caller_detach(&op->caller);
    }
}


lines_op_t *
lines_op_find(lines_op_conf_t *conf, ngx_str_t *tenant, ngx_str_t *id)
{
    ngx_queue_t  *q;
    lines_op_t   *op;

    for (q = ngx_queue_head(&conf->running);
         q != ngx_queue_sentinel(&conf->running);
         q = ngx_queue_next(q))
    {
        op = ngx_queue_data(q, lines_op_t, queue);

        if (lines_same(&op->id, id) && lines_same(&op->tenant, tenant)) {
            return op;
        }
    }

    return NULL;
}


lines_op_t *
lines_op_obtain(lines_main_conf_t *lmcf, ngx_str_t *tenant, ngx_str_t *id,
    lines_op_begun_t *begun)
{
    ngx_pool_t       *pool;
    lines_op_t       *op;
    lines_op_conf_t  *conf = lmcf->operation;

    op = lines_op_find(conf, tenant, id);

    if (op) {
        return op;
    }

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    op = ngx_pcalloc(pool, sizeof(lines_op_t));
    if (op == NULL) {
        goto failed;
    }

    op->pool = pool;
    op->log = ngx_cycle->log;
    op->lmcf = lmcf;
    op->conf = conf;
    op->fence = begun ? begun->fence : 0;

    lines_op_caller(op);

    op->tenant.data = ngx_pstrdup(pool, tenant);
    op->id.data = ngx_pstrdup(pool, id);

    if (op->tenant.data == NULL
        || op->id.data == NULL
        || ngx_array_init(&op->fields, pool, 24, sizeof(ngx_keyval_t))
           != NGX_OK)
    {
        goto failed;
    }

    op->tenant.len = tenant->len;
    op->id.len = id->len;

    op->next.handler = op_next;
    op->next.data = op;
    op->next.log = op->log;

    ngx_queue_init(&op->waiters);

    if (begun && begun->fields.n) {
        lines_op_post(op, lines_op_leased(op, begun));

    } else if (lines_op_take(op) != NGX_AGAIN) {
        goto failed;
    }

    ngx_queue_insert_tail(&conf->running, &op->queue);

    return op;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


static void
op_next(ngx_event_t *ev)
{
    ngx_int_t    rc;
    lines_op_t  *op = ev->data;

    if (ev->timedout) {
        ev->timedout = 0;
        rc = op->wake(op);

    } else {
        rc = op->rc;
    }

    while (rc == NGX_OK) {
        rc = op_run(op);
    }

    /*
     * What a hint names was announced and has not begun.  Once nothing can
     * begin it any more the hint goes, and before it the index of what is not
     * there: a line may be that had no operation, or a ticket ("ticket.ID").
     */

    if (rc == NGX_DONE && op->unknown && op->swept && !op->dropping) {
        op->dropping = 1;

        rc = lines_due_drop(&op->caller, op_dropping, op, lines_op_member(op),
                            .overdue = op->conf->hint, .late = op->conf->late,
                            .go = 0);
    }

    if (rc != NGX_AGAIN) {
        op_end(op, rc);
    }
}


/* decides by what is true now, and does that: again until there is nothing */

static ngx_int_t
op_run(lines_op_t *op)
{
    lines_view_t      view;
    lines_op_run_pt   act;
    lines_decision_t  decision;

#if (NGX_DEBUG)

#define action_text(name)  #name,

    static const char  *actions[] = { LINES_EACH_ACTION(action_text) };

#endif

    if (lines_is(&op->step, "done")) {
        return op_finish(op);
    }

    if (op->at == LINES_POINTS) {
        lines_op_log(op, NGX_LOG_ALERT, "no such step \"%V\"", &op->point);

        return NGX_ERROR;
    }

    lines_op_view(op, &view);

    decision = lines_decide(&view);

    lines_op_debug(op, "%V, attempt %ui: %s %s", &op->point, op->attempt,
                   actions[decision.action],
                   decision.reason ? decision.reason : "");

    /* what was given back some other way is not to go back once more */

    if ((decision.action == LINES_DO_AGAIN
         || decision.action == LINES_DO_WAIT
         || decision.action == LINES_DO_REPORT
         || ((decision.action == LINES_DO_CREDIT
              || decision.action == LINES_DO_GIVE)
             && lines_op_word(op) == LINES_WISH_SETTLED))
        && op_unstick(op))
    {
        return NGX_OK;
    }

    op->reason = decision.reason;

    switch (decision.action) {

    case LINES_DO_CHECK:
        return lines_database_look(op->lmcf, &op->caller, 0, op_check, op);

    case LINES_DO_HOLD:

        /* it goes on by itself once the database is confirmed */

        return lines_op_rest(op, op->conf->retry << 2);

    case LINES_DO_LOOK:
        act = op->kind->acts[decision.action];
        return act ? act(op) : lines_op_look(op);

    case LINES_DO_AGAIN:

        /* nothing of what was seen is certain: all of it is looked at anew */

        (void) lines_op_forget(op);
        op->seen.stuck = 1;

        return lines_op_again(op);

    case LINES_DO_STUCK:
        act = op->kind->acts[decision.action];
        return act ? act(op) : lines_op_stuck(op, decision.reason);

    default:
        act = op->kind->acts[decision.action];
        return act ? act(op) : lines_op_stuck(op, "undecided");
    }
}


static ngx_int_t
op_check(void *data, lines_database_check_reply_t *reply)
{
    lines_op_t  *op = data;

    lines_database_saw(op->lmcf, reply);

    op->seen.checked = 1;

    return NGX_OK;
}


/* once in a run: where that does not help, it is stuck as before */

static ngx_uint_t
op_unstick(lines_op_t *op)
{
    if (op->seen.stuck || lines_op_word(op) == LINES_WISH_NONE) {
        return 0;
    }

    lines_op_log(op, NGX_LOG_NOTICE, "%V goes on by the operator's word",
                 &op->point);

    op->seen.stuck = 1;

    return 1;
}


ngx_int_t
lines_op_look(lines_op_t *op)
{
    return lines_op_bill(op, op_looked, .kind = LINES_BILLING_SUBSCRIPTION,
                         .id = lines_op_get(op, "subscription"));
}


static ngx_int_t
op_looked(lines_op_t *op, lines_billing_result_t *result)
{
    ngx_str_t  invoice, *latest;

    if (lines_stripe_refused(result->outcome)) {
        op->seen.sub = result->outcome == LINES_STRIPE_MISSING
                       ? LINES_SUB_MISSING : LINES_SUB_UNTOLD;
        op->seen.invoice = LINES_INVOICE_MISSING;

        return NGX_OK;
    }

    if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "");
    }

    lines_op_saw(op, result->subscription);

    invoice = lines_op_get(op, "invoice");
    latest = &result->subscription->invoice.id;

    /*
     * A renewal's tells nothing of the one that was to be paid first: without
     * that one nothing has been seen.
     */

    if (op->seen.invoice != LINES_INVOICE_UNSEEN
        && (invoice.len == 0 || lines_same(&invoice, latest)))
    {
        return NGX_OK;
    }

    op->seen.sub = LINES_SUB_NONE;
    op->seen.invoice = LINES_INVOICE_UNSEEN;

    return lines_op_bill(op, op_invoice, .kind = LINES_BILLING_INVOICE,
                         .id = invoice.len ? invoice : *latest);
}


static ngx_int_t
op_invoice(lines_op_t *op, lines_billing_result_t *result)
{
    if (lines_stripe_refused(result->outcome)) {
        op->seen.invoice = LINES_INVOICE_MISSING;

        if (result->outcome == LINES_STRIPE_REFUSED) {
            op->seen.sub = LINES_SUB_UNTOLD;
            return NGX_OK;
        }

    } else if (result->outcome != LINES_STRIPE_OK) {
        return lines_op_outcome(op, result, "");

    } else {
        op->seen.subscription.invoice = *result->invoice;
        op->seen.invoice = lines_op_invoice(result->invoice);

        if (op->seen.invoice == LINES_INVOICE_UNSEEN) {
            return lines_op_again(op);
        }
    }

    op->seen.sub = lines_op_sub(&op->seen.subscription.status);

    return NGX_OK;
}


void
lines_op_signal(lines_caller_t *caller, lines_main_conf_t *lmcf,
    ngx_str_t *tenant, ngx_str_t *id)
{
    if (id->len == 0 || lmcf->billing == NULL) {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines operation %V: news from \"%V\"", id, tenant);

    (void) lines_forget_op_wake(caller, .tenant = *tenant, .id = *id);

    (void) lines_forget_due_add(caller, .shard = lines_due_shard(id),
                                .tenant = *tenant, .id = *id, .delay = 0);

    (void) lines_op_spawn(lmcf, tenant, id);
}


void
lines_op_saw(lines_op_t *op, lines_stripe_subscription_t *subscription)
{
    op->seen.subscription = *subscription;
    op->seen.latest = subscription->invoice.id;
    op->seen.sub = lines_op_sub(&subscription->status);
    op->seen.invoice = lines_op_invoice(&subscription->invoice);
    op->seen.money = LINES_MONEY_UNSEEN;
}


ngx_str_t
lines_op_ended(lines_op_t *op)
{
    ngx_str_t  none = ngx_null_string;

    return op->seen.subscription.ended
           ? lines_op_number(op, op->seen.subscription.ended) : none;
}


lines_sub_e
lines_op_sub(ngx_str_t *status)
{
    ngx_uint_t  i;

    static const struct {
        const char   *status;
        lines_sub_e   sub;
    } states[] = {
        { "active", LINES_SUB_LIVE },
        { "trialing", LINES_SUB_LIVE },
        { "past_due", LINES_SUB_OVERDUE },
        { "unpaid", LINES_SUB_OVERDUE },
        { "paused", LINES_SUB_OVERDUE },
        { "canceled", LINES_SUB_ENDED },
        { "incomplete_expired", LINES_SUB_ENDED }
    };

    for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (lines_is(status, states[i].status)) {
            return states[i].sub;
        }
    }

    return LINES_SUB_INCOMPLETE;
}


lines_invoice_e
lines_op_invoice(lines_stripe_invoice_t *invoice)
{
    if (invoice->id.len == 0) {
        return LINES_INVOICE_NONE;
    }

    /* no more than its id: it was not asked for */

    if (invoice->status.len == 0) {
        return LINES_INVOICE_UNSEEN;
    }

    return lines_is(&invoice->status, "paid") ? LINES_INVOICE_PAID
           : lines_is(&invoice->status, "void") ? LINES_INVOICE_VOID
           : lines_is(&invoice->status, "uncollectible")
           ? LINES_INVOICE_UNCOLLECTIBLE : LINES_INVOICE_OPEN;
}


/* no call without a carrier, nor under a lease that it could outlast */

ngx_int_t
lines_op_ask(lines_op_t *op, lines_op_answer_pt answer,
    lines_billing_ask_t *ask)
{
    op->ask = *ask;
    op->answer = answer;

    /* what a charge begins with; all else is under way */

    if (ask->kind == LINES_BILLING_SUBSCRIBE
        || ask->kind == LINES_BILLING_CUSTOMER
        || ask->kind == LINES_BILLING_CARD)
    {
        op->ask.rank = op->swept || lines_op_get_number(op, "tries")
                       ? LINES_BUDGET_AGAIN : LINES_BUDGET_NEW;
    }

    if (op->carrier == NULL) {
        op->carrier = lines_carrier_create(op->lmcf, &op->id, ngx_cycle->log);
        if (op->carrier == NULL) {
            return NGX_ERROR;
        }

        op->carrier->trace = lines_op_get(op, "trace");
    }

    if (ngx_current_msec - op->claimed < LINES_FRESH) {
        return op_call_send(op);
    }

    lines_op_renewed(op);

    return lines_op_claim(&op->caller, op_call_claimed, op,
                          .tenant = op->tenant, .id = op->id,
                          .lease = op->conf->lease, .fence = op->fence);
}


static ngx_int_t
op_call_claimed(void *data, lines_op_claim_reply_t *reply)
{
    /* else somebody was there meanwhile */

    return reply->is == LINES_OP_CLAIM_HELD ? op_call_send(data)
                                            : lines_op_claimed(data, reply);
}


static ngx_int_t
op_call_send(lines_op_t *op)
{
    LINES_FAILPOINT_STEP("op.call.before", &op->point);

    lines_op_debug(op, "call of %V", &op->point);

    op->asked = lines_op_now(op) - op->lag;

    if (op->answer) {
        return lines_billing_ask(op->carrier, &op->ask, op_answered, op);
    }

    return lines_provisioner_call(op->carrier, &op->id, &op->tenant,
                                  &op->ask.body, op_told, op);
}


static void
op_answered(void *data, lines_billing_result_t *result)
{
    lines_op_t  *op = data;

    LINES_FAILPOINT_STEP("op.answer", &op->point);

    lines_op_debug(op, "%V answered, outcome %ui, status %ui", &op->point,
                   (ngx_uint_t) result->outcome, result->status);

    if (result->date) {
        lines_op_dated(op, result->date);
    }

    if (result->outcome != LINES_STRIPE_OK) {
        lines_op_log(op, NGX_LOG_INFO,
                     "%V: billing said %ui \"%V\" \"%V\", request \"%V\"",
                     &op->point, result->status, &result->error.type,
                     &result->error.code, &result->request_id);
    }

    lines_op_post(op, op->answer(op, result));
}


static void
op_told(void *data, lines_result_t *result)
{
    lines_op_t  *op = data;

    LINES_FAILPOINT_STEP("op.answer", &op->point);

    lines_op_debug(op, "%V answered, status %ui", &op->point, result->status);

    op->seen.told = lines_provisioner_verdict(result);

    if (op->seen.told == LINES_TELL_REFUSED) {
        lines_op_log(op, NGX_LOG_NOTICE, "the provisioner refused, %ui",
                     result->status);
    }

    lines_op_post(op, op->seen.told ? NGX_OK : lines_op_again(op));
}


ngx_int_t
lines_op_again(lines_op_t *op)
{
    return lines_op_again_from(op, NULL);
}


ngx_int_t
lines_op_again_from(lines_op_t *op, const char *place)
{
    int64_t     tries;
    ngx_str_t   more, none = ngx_null_string;
    ngx_msec_t  delay;

    if (place && lines_op_set(op, place, &none) != NGX_OK) {
        return NGX_ERROR;
    }

    if (op_unstick(op)) {
        return NGX_OK;
    }

    if (!ngx_queue_empty(&op->waiters) && op->repeats < LINES_REPEATS) {
        op->repeats++;

        /* by then it may not be so any more */

        return lines_op_wait(op, 300 * op->repeats + ngx_random() % 100,
                             lines_op_forget);
    }

    tries = lines_op_get_number(op, "tries");

    delay = op->conf->retry << ngx_min(tries, 2);
    more = lines_op_number(op, tries + 1);

    /* each time anew, should the list have lost it */

    if (tries + 1 < LINES_OP_TRIES) {
        return lines_op_rest(op, delay, { "tries", more }, { place, none });
    }

    lines_op_list_stuck(op, lines_op_text("no_answer"));

    return lines_op_rest(op, delay, { "tries", more },
                         op_stuck_fields("no_answer"), { place, none });
}


ngx_int_t
lines_op_stuck(lines_op_t *op, const char *reason)
{
    if (op_unstick(op)) {
        return NGX_OK;
    }

    lines_op_list_stuck(op, lines_op_text(reason));

    /* once the cause is gone it goes on by itself */

    return lines_op_rest(op, ngx_min(op->conf->every, LINES_STUCK),
                         op_stuck_fields(reason));
}


/* what it was to go on after may be gone since; but not each time */

ngx_int_t
lines_op_anew(lines_op_t *op, const char *place, const char *refused)
{
    if (op_unstick(op)) {
        return NGX_OK;
    }

    if (lines_op_get(op, "anew").len == 0) {
        return lines_op_rest(op, op->conf->retry, { place, ngx_null_string },
                             { "anew", ngx_string("1") },
                             { "tries", ngx_null_string });
    }

    lines_op_list_stuck(op, lines_op_text(refused));

    return lines_op_rest(op, ngx_min(op->conf->every, LINES_STUCK),
                         { place, ngx_null_string },
                         op_stuck_fields(refused));
}


ngx_int_t
lines_op_outcome(lines_op_t *op, lines_billing_result_t *result,
    const char *refused)
{
    return lines_stripe_refused(result->outcome) ? lines_op_stuck(op, refused)
           : result->outcome == LINES_STRIPE_ALERT
           ? lines_op_stuck(op, "billing_alert") : lines_op_again(op);
}


ngx_int_t
lines_op_post_failed(lines_op_t *op, lines_billing_result_t *result)
{
    ngx_uint_t             level;
    lines_stripe_error_t  *error = &result->error;

    if (lines_stripe_refused(result->outcome)) {
        op->seen.call = LINES_CALL_REFUSED;
        op->seen.error = *error;

        /* a card that is declined is the client's affair */

        level = op->ask.kind == LINES_BILLING_SUBSCRIBE ? NGX_LOG_NOTICE
                                                        : NGX_LOG_ERR;

        lines_op_log(op, level, "%V is refused by billing, \"%V\" \"%V\"",
                     &op->point, &error->code, &error->message);

        return NGX_OK;
    }

    if (result->outcome == LINES_STRIPE_UNKNOWN
        && (lines_is(&error->type, "idempotency_error")
            || (result->status >= 500
                && (result->should_retry == 0
                    || lines_op_get_number(op, "tries")
                       >= LINES_SAVED_TRIES))))
    {
        op->seen.call = LINES_CALL_DOUBTFUL;

        return NGX_OK;
    }

    return lines_op_outcome(op, result, "");
}


/* where the operator finds it: written before the record says so */

void
lines_op_list_stuck(lines_op_t *op, ngx_str_t reason)
{
    ngx_str_t   known;
    ngx_uint_t  level;

    known = lines_op_get(op, "stuck");
    level = lines_same(&known, &reason) ? NGX_LOG_INFO : NGX_LOG_ALERT;

    lines_op_log(op, level, "%V is stuck: %V, invoice \"%V\"", &op->point,
                 &reason, &op->seen.subscription.invoice.id);

    /* of one that has begun again, the end before may have taken it away */

    (void) lines_forget_ix_put(&op->caller, .id = op->id, .tenant = op->tenant);

    (void) lines_forget_stuck_put(&op->caller, .tenant = op->tenant,
                                  .id = op->id);
}


/*
 * Its record is done: the hint goes, the clients learn.  It is found by its id
 * as long as its record is there.
 */

static ngx_int_t
op_finish(lines_op_t *op)
{
    op->ended = 1;

    if (!op_lasts(op)) {
        (void) lines_forget_ix_keep(&op->caller, .id = op->id);

    } else if (lines_op_get(op, "line").len == 0) {

        /*
         * A token can be announced anew while the hint of a confirm that was
         * refused goes, and what was announced with it is given a day.
         */

        (void) lines_forget_ix_last(&op->caller, .id = op->id);
    }

    if (op->kind && op->kind->again) {

        /* it may have begun once more since it ended: that hint is its own */

        (void) lines_forget_due_done(&op->caller, lines_op_member(op),
                                     .late = op->conf->late);

    } else {
        (void) lines_forget_due_rem(&op->caller, lines_op_member(op));
    }

    return NGX_DONE;
}


/* its id is that of a line, which stays */

static ngx_uint_t
op_lasts(lines_op_t *op)
{
    ngx_str_t  kind;

    kind = lines_op_get(op, "kind");

    return lines_is(&kind, "request")
           || (lines_is(&kind, "purchase")
               && lines_op_get_number(op, "answer_status") == NGX_HTTP_OK);
}


static ngx_int_t
op_dropping(void *data, lines_due_drop_reply_t *reply)
{
    lines_op_t  *op = data;

    lines_op_debug(op, "is not there, hint:%L", reply->dropped);

    return reply->dropped == 2 ? op_announced(op) : NGX_DONE;
}


static ngx_int_t
op_announced(void *data)
{
    lines_op_t *op = data;

    ngx_str_t   id, kind;
    ngx_uint_t  ticket;

    id = op->id;
    kind = lines_split(&id, '.');
    ticket = id.len && lines_is(&kind, "ticket");

    return lines_announced(&op->caller, op_dropped, op, .tenant = op->tenant,
                           .id = ticket ? id : op->id, .charged = !ticket);
}


/*
 * A line request or a ticket that was not there never will be.  A token may
 * have bought meanwhile: what it bought is looked for once more, behind the
 * index's day.  What has not ended by then makes its index stay when it does.
 * A cluster has the index elsewhere, so that each step waits for the one before.
 */

static ngx_int_t
op_dropped(void *data, lines_announced_reply_t *reply)
{
    lines_op_t  *op = data;

    if (reply->there) {
        return lines_then_ix_last(&op->caller, op_drop, op, .id = op->id);
    }

    if (op->dropping == 1) {
        op->dropping = 2;

        return lines_then_ix_keep(&op->caller, op_announced, op, .id = op->id);
    }

    return op_drop(op);
}


static ngx_int_t
op_drop(void *data)
{
    lines_op_t *op = data;

    (void) lines_forget_due_drop(&op->caller, lines_op_member(op),
                                 .overdue = op->conf->hint,
                                 .late = op->conf->late, .go = 1);

    return NGX_DONE;
}


static void
op_end(lines_op_t *op, ngx_int_t rc)
{
    lines_op_waiter_t  *w;

    lines_op_debug(op, "leaves %V, rc:%i lost:%d", &op->point, rc, op->lost);

    ngx_queue_remove(&op->queue);

    if (op->swept) {
        op_swept(op->conf);

        /* what cannot be run is not to keep others from their turn */

        if (op->lost || rc == NGX_ERROR) {
            (void) lines_forget_due_rest(&op->caller, lines_op_member(op),
                                         .delay = op->lost ? op->conf->lease
                                                           : op->conf->retry);
        }
    }

    lines_caller_detach(&op->caller);

    if (op->next.timer_set) {
        ngx_del_timer(&op->next);
    }

    if (op->next.posted) {
        ngx_delete_posted_event(&op->next);
    }

    /* whoever is answered may take others of the same connection along */

    while (!ngx_queue_empty(&op->waiters)) {
        w = ngx_queue_data(ngx_queue_head(&op->waiters), lines_op_waiter_t,
                           queue);

        w->wake(w, op, rc);
    }

    if (op->carrier) {
        lines_carrier_destroy(op->carrier);
    }

    ngx_destroy_pool(op->pool);
}


/* one less: after an outage there is more to do than the next look may wait */

static void
op_swept(lines_op_conf_t *ocf)
{
    ocf->sweeping--;

    if (!ocf->backlog
        || ocf->sweeping > ocf->batch / 2
        || !ocf->sweeper.timer_set)
    {
        return;
    }

    ocf->backlog = 0;

    ngx_del_timer(&ocf->sweeper);
    ngx_add_timer(&ocf->sweeper, 1);
}
