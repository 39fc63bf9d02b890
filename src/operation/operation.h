
/*
 * Operations: what must happen exactly once (operation/README.md).  A worker
 * carries one on with nobody's help: a client may wait for it and may leave,
 * the sweeper starts the same one without.
 */

#ifndef _LINES_OPERATION_OPERATION_H_INCLUDED_
#define _LINES_OPERATION_OPERATION_H_INCLUDED_


#include "operation/record.h"


/* one of op->waiters; wake() takes it out, once; op is still whole */

typedef struct lines_op_waiter_s  lines_op_waiter_t;

struct lines_op_waiter_s {
    ngx_queue_t   queue;
    void        (*wake)(lines_op_waiter_t *w, lines_op_t *op, ngx_int_t rc);
};


/*
 * An operation that runs here, or a new one that is being claimed, or that
 * begin leased just now (NULL: it did not); NULL: neither Redis nor memory.
 */

lines_op_t *lines_op_obtain(lines_main_conf_t *lmcf, ngx_str_t *tenant,
    ngx_str_t *id, lines_op_begun_t *begun);

/* the one that runs here, or NULL */
lines_op_t *lines_op_find(lines_op_conf_t *conf, ngx_str_t *tenant,
    ngx_str_t *id);

/*
 * With no client.  NGX_OK: it was started, or runs here already; NGX_ERROR:
 * not now.
 */

#define lines_op_spawn(lmcf, tenant, id)                                      \
    (lines_op_obtain(lmcf, tenant, id, NULL) ? NGX_OK : NGX_ERROR)

/* the same for whoever has begun it */
#define lines_op_begin(lmcf, tenant, id, begun)                               \
    (lines_op_obtain(lmcf, tenant, id, begun) ? NGX_OK : NGX_ERROR)


/*
 * There is news for it: whoever holds it sees them before it rests, and nobody
 * waits for that.  Without an id, nothing.
 */

void lines_op_signal(lines_caller_t *caller, lines_main_conf_t *lmcf,
    ngx_str_t *tenant, ngx_str_t *id);


/* before the first one begins; and what is left is in Redis: nobody here is to
   hear of it any more */
void lines_op_init_process(lines_main_conf_t *lmcf);
void lines_op_exit_process(lines_main_conf_t *lmcf);


/* For the actions. */

/* LOOK: the subscription as it is now, with its invoice */
ngx_int_t lines_op_look(lines_op_t *op);

/* what billing says of the operation's subscription, from here on in view */
void lines_op_saw(lines_op_t *op, lines_stripe_subscription_t *subscription);

/* when the subscription that was seen ended, as billing tells it; s, empty: it
   has not, or nobody knows */
ngx_str_t lines_op_ended(lines_op_t *op);

/* a subscription's status; what is not known is INCOMPLETE: nothing follows */
lines_sub_e lines_op_sub(ngx_str_t *status);

/* what an invoice is; UNSEEN: no more than its id is known */
lines_invoice_e lines_op_invoice(lines_stripe_invoice_t *invoice);

/*
 * A billing call: makes the carrier, claims the lease anew where it is not
 * fresh, and asks, as
 *     return lines_op_bill(op, payment_got, .kind = LINES_BILLING_INVOICE,
 *                          .id = lines_op_get(op, "invoice"));
 * answer(op, result) is called once.  Strings are of op->pool.
 */

#define lines_op_bill(op, answer, ...)                                        \
    lines_op_ask(op, answer, &(lines_billing_ask_t) { __VA_ARGS__ })

ngx_int_t lines_op_ask(lines_op_t *op, lines_op_answer_pt answer,
    lines_billing_ask_t *ask);

/*
 * The same for the provisioner: json is of op->pool, what it says is in view as
 * op->seen.told.  Whether there is one: op->lmcf->provisioner.len.
 */

#define lines_op_tell(op, json)  lines_op_bill(op, NULL, .body = json)

/*
 * An outcome that decides nothing (RETRY, UNKNOWN, UNSENT, or a provisioner
 * that is away): the step again, soon while a client waits and a few times
 * only, else after a rest.
 */

ngx_int_t lines_op_again(lines_op_t *op);

/* the same, and a list, how far which was read field place says, from its begin */
ngx_int_t lines_op_again_from(lines_op_t *op, const char *place);

/* so many in a row that came to nothing, before somebody is told */
#define LINES_OP_TRIES  16

/* for people to look at: an alert, "stuck" in the record, a rest */
ngx_int_t lines_op_stuck(lines_op_t *op, const char *reason);

/*
 * Billing does not know what a list was to go on after, which field place says:
 * from its begin, once in a step; then it is stuck by that reason.
 */
ngx_int_t lines_op_anew(lines_op_t *op, const char *place,
    const char *refused);

/* what is not OK: REFUSED and MISSING are stuck by that reason, ALERT by its
   own; else again */
ngx_int_t lines_op_outcome(lines_op_t *op, lines_billing_result_t *result,
    const char *refused);

/*
 * A POST under a key that is not OK: seen.call is REFUSED, with seen.error; or
 * DOUBTFUL, where what is under the key is not to be had by sending it again (a
 * 5xx, now and after some rests, which may be a saved one; or another body had
 * it); else as lines_op_outcome().
 */
ngx_int_t lines_op_post_failed(lines_op_t *op, lines_billing_result_t *result);

/*
 * For who rests with that reason as "stuck" among its own fields: an alert,
 * where it is another than before, and the operator's list.
 */
void lines_op_list_stuck(lines_op_t *op, ngx_str_t reason);


#endif /* _LINES_OPERATION_OPERATION_H_INCLUDED_ */
