
/*
 * The engine: an operation is claimed, its steps run one after another, make
 * calls under a fresh lease, and it ends or rests.  What goes to Redis:
 * operation/record.c.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/failpoint.h"
#include "http/text.h"
#include "operation/operation.h"
#include "operation/provisioner.h"


#define LINES_REPEATS        2
#define LINES_TRIES          16
#define LINES_STUCK          60000


/* so many rests with a 5xx */
#define LINES_SAVED_TRIES    2

/* a lease this young (ms) outlasts any call */
#define LINES_FRESH          1000


static void op_next(ngx_event_t *ev);
static lines_op_step_t *op_find_step(lines_op_t *op, ngx_str_t *name);
static ngx_int_t op_run(lines_op_t *op);
static ngx_int_t op_call(lines_op_t *op);
static ngx_int_t op_call_claimed(void *data, lines_op_claim_reply_t *reply);
static ngx_int_t op_call_send(lines_op_t *op);
static void op_answered(void *data, lines_billing_result_t *result);
static void op_told(void *data, lines_result_t *result);
static ngx_int_t op_repeat(lines_op_t *op);
static ngx_int_t op_finish(lines_op_t *op);
static void op_end(lines_op_t *op, ngx_int_t rc);
static void op_swept(lines_op_conf_t *ocf);


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

        if (lines_op_same(&op->id, id) && lines_op_same(&op->tenant, tenant)) {
            return op;
        }
    }

    return NULL;
}


lines_op_t *
lines_op_obtain(lines_main_conf_t *lmcf, ngx_str_t *tenant, ngx_str_t *id,
    ngx_uint_t want, lines_op_begun_t *begun)
{
    ngx_int_t         rc;
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
    op->want = want;

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
        rc = lines_op_leased(op, begun);
        lines_op_post(op, rc);

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

    if (rc != NGX_AGAIN) {
        op_end(op, rc);
    }
}


static lines_op_step_t *
op_find_step(lines_op_t *op, ngx_str_t *name)
{
    lines_op_step_t  *s;

    for (s = op->kind->steps; s->name.len; s++) {
        if (lines_op_same(&s->name, name)) {
            return s;
        }
    }

    return NULL;
}


/* "undo:NAME" takes back what NAME has done */

static ngx_int_t
op_run(lines_op_t *op)
{
    ngx_str_t         name;
    ngx_uint_t        undo;
    lines_op_step_t  *s;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: %V, attempt %ui", &op->id, &op->point,
                   op->attempt);

    if (lines_is(&op->step, "done")) {
        return op_finish(op);
    }

    if (lines_is(&op->step, "undone")) {
        return op->kind->undone
               ? op->kind->undone(op)
               : lines_op_stuck(op, "undo");
    }

    name = op->step;
    undo = (name.len > 5 && ngx_strncmp(name.data, "undo:", 5) == 0);

    if (undo) {
        name.data += 5;
        name.len -= 5;
    }

    s = op_find_step(op, &name);

    if (s == NULL) {
        ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                      "lines operation %V: no such step \"%V\"", &op->id,
                      &op->point);

        return NGX_ERROR;
    }

    if (!undo) {
        return s->run(op);
    }

    return s->undo ? s->undo(op) : lines_op_undone(op);
}


ngx_int_t
lines_op_advance_fields(lines_op_t *op, lines_op_field_t *fields)
{
    lines_op_step_t  *s;

    s = op_find_step(op, &op->step);

    if (s == NULL || s[1].name.len == 0) {
        return NGX_ERROR;
    }

    return lines_op_move_fields(op, (char *) s[1].name.data, fields);
}


ngx_int_t
lines_op_undo(lines_op_t *op, ngx_uint_t status, ngx_str_t *answer)
{
    u_char  next[64];

    ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                  "lines operation %V: undone from \"%V\", %ui", &op->id,
                  &op->point, status);

    *ngx_snprintf(next, sizeof(next) - 1, "undo:%V", &op->step) = '\0';

    return lines_op_move(op, (char *) next,
                         { "answer_status", lines_op_number(op, status) },
                         { "answer", *answer });
}


ngx_int_t
lines_op_undone(lines_op_t *op)
{
    u_char            next[64];
    ngx_str_t         name;
    lines_op_step_t  *s;

    name = op->step;

    if (name.len > 5) {
        name.data += 5;
        name.len -= 5;
    }

    s = op_find_step(op, &name);

    if (s == NULL) {
        return NGX_ERROR;
    }

    while (s-- > op->kind->steps) {

        if (s->undo) {
            *ngx_snprintf(next, sizeof(next) - 1, "undo:%V", &s->name) = '\0';

            return lines_op_move(op, (char *) next);
        }
    }

    return lines_op_move(op, "undone");
}


ngx_int_t
lines_op_ask(lines_op_t *op, lines_op_answer_pt answer,
    lines_billing_ask_t *ask)
{
    if (op->lmcf->billing == NULL) {
        ngx_log_error(NGX_LOG_ERR, op->log, 0,
                      "lines operation %V: there is no lines_billing",
                      &op->id);
        return NGX_ERROR;
    }

    op->ask = *ask;
    op->answer = answer;

    return op_call(op);
}


ngx_int_t
lines_op_tell(lines_op_t *op, ngx_str_t *json, lines_op_result_pt result)
{
    op->json = *json;
    op->answer = NULL;
    op->result = result;

    return op_call(op);
}


/* no call without a carrier, nor under a lease that it could outlast */

static ngx_int_t
op_call(lines_op_t *op)
{
    if (op->carrier == NULL) {
        op->carrier = lines_carrier_create(op->lmcf, &op->id, ngx_cycle->log);
        if (op->carrier == NULL) {
            return NGX_ERROR;
        }
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
    lines_op_t  *op = data;

    ngx_int_t   fence;
    ngx_str_t  *field;
    ngx_uint_t  i;

    if (reply->is != LINES_OP_CLAIM_CLAIMED) {
        op->lost = 1;
        return NGX_DONE;
    }

    /* under the fence held, or a higher one: somebody was there meanwhile */

    field = reply->fields.elts;

    for (i = 0; i + 1 < reply->fields.n; i += 2) {

        if (!lines_is(&field[i], "fence")) {
            continue;
        }

        fence = ngx_atoi(field[i + 1].data, field[i + 1].len);

        if ((ngx_uint_t) fence != op->fence) {
            op->fence = fence;
            return lines_op_take(op);
        }
    }

    return op_call_send(op);
}


static ngx_int_t
op_call_send(lines_op_t *op)
{
    LINES_FAILPOINT_STEP("op.call.before", &op->point);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: call of %V", &op->id, &op->point);

    if (op->answer) {
        return lines_billing_ask(op->carrier, &op->ask, op_answered, op);
    }

    return lines_provisioner_call(op->carrier, &op->id, &op->tenant, &op->json,
                                  op_told, op);
}


static void
op_answered(void *data, lines_billing_result_t *result)
{
    lines_op_t  *op = data;

    LINES_FAILPOINT_STEP("op.answer", &op->point);

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: %V answered, outcome %ui, status %ui",
                   &op->id, &op->point, (ngx_uint_t) result->outcome,
                   result->status);

    if (result->outcome != LINES_STRIPE_OK) {
        ngx_log_error(NGX_LOG_INFO, op->log, 0,
                      "lines operation %V: %V: billing said %ui \"%V\" \"%V\","
                      " request \"%V\"", &op->id, &op->point, result->status,
                      &result->error.type, &result->error.code,
                      &result->request_id);
    }

    lines_op_post(op, op->answer(op, result));
}


static void
op_told(void *data, lines_result_t *result)
{
    lines_op_t  *op = data;

    LINES_FAILPOINT_STEP("op.answer", &op->point);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: %V answered, status %ui", &op->id,
                   &op->point, result->status);

    lines_op_post(op, op->result(op, result));
}


static ngx_int_t
op_repeat(lines_op_t *op)
{
    return NGX_OK;
}


ngx_int_t
lines_op_again(lines_op_t *op)
{
    int64_t     tries;
    ngx_str_t   more;
    ngx_msec_t  delay;

    if (!ngx_queue_empty(&op->waiters) && op->repeats < LINES_REPEATS) {
        op->repeats++;

        return lines_op_wait(op, 300 * op->repeats + ngx_random() % 100,
                             op_repeat);
    }

    tries = lines_op_get_number(op, "tries");

    delay = op->conf->retry << ngx_min(tries, 2);
    more = lines_op_number(op, tries + 1);

    if (tries + 1 != LINES_TRIES) {
        return lines_op_rest(op, delay, { "tries", more });
    }

    ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                  "lines operation %V: %V gets no answer", &op->id,
                  &op->point);

    lines_op_list_stuck(op);

    return lines_op_rest(op, delay, { "tries", more },
                         { "stuck", ngx_string("no_answer") });
}


ngx_int_t
lines_op_stuck(lines_op_t *op, const char *reason)
{
    ngx_str_t   known;
    ngx_uint_t  level;

    known = lines_op_get(op, "stuck");
    level = lines_is(&known, reason) ? NGX_LOG_INFO : NGX_LOG_ALERT;

    ngx_log_error(level, op->log, 0, "lines operation %V: %V is stuck: %s",
                  &op->id, &op->point, reason);

    lines_op_list_stuck(op);

    /* once the cause is gone it goes on by itself */

    return lines_op_rest(op, ngx_min(op->conf->every, LINES_STUCK),
                         { "stuck", lines_op_text(reason) });
}


ngx_int_t
lines_op_outcome(lines_op_t *op, lines_billing_result_t *result,
    const char *refused)
{
    switch (result->outcome) {

    case LINES_STRIPE_REFUSED:
        return lines_op_stuck(op, refused);

    case LINES_STRIPE_ALERT:
        return lines_op_stuck(op, "billing_alert");

    default:
        return lines_op_again(op);
    }
}


ngx_uint_t
lines_op_saved(lines_op_t *op, lines_billing_result_t *result)
{
    return result->outcome == LINES_STRIPE_UNKNOWN
           && result->status >= 500
           && (result->should_retry == 0
               || lines_op_get_number(op, "tries") >= LINES_SAVED_TRIES);
}


/* where the operator finds it: written before the record says so */

void
lines_op_list_stuck(lines_op_t *op)
{
    (void) lines_forget_stuck_put(&op->caller, .at = lines_op_now(op),
                                  .tenant = op->tenant, .id = op->id);
}


/* its record is done: the hint goes, the clients learn */

static ngx_int_t
op_finish(lines_op_t *op)
{
    op->ended = 1;

    lines_op_not_due(op);

    return NGX_DONE;
}


static void
op_end(lines_op_t *op, ngx_int_t rc)
{
    lines_op_waiter_t  *w;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: leaves %V, rc:%i lost:%d", &op->id,
                   &op->point, rc, op->lost);

    ngx_queue_remove(&op->queue);

    if (op->swept) {
        op_swept(op->conf);

        if (op->unknown) {
            lines_op_idle(op);
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
