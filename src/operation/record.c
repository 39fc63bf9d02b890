
/*
 * What an operation reads from and writes to Redis.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/failpoint.h"
#include "http/text.h"
#include "operation/engine.h"


#define LINES_RECLAIM_DELAY  400
#define LINES_RECLAIMS       6


static void op_resume(lines_caller_t *caller, ngx_int_t rc);
static ngx_int_t op_failed(lines_caller_t *caller);
static ngx_int_t op_lost(lines_caller_t *caller);
static void op_sending(lines_caller_t *caller, lines_store_call_t *call);
static void op_heard(lines_caller_t *caller, lines_store_call_t *call,
    ngx_uint_t good);
static ngx_int_t op_claimed(void *data, lines_op_claim_reply_t *reply);
static ngx_int_t op_reclaim(lines_op_t *op);
static ngx_int_t op_moved(void *data, lines_op_step_reply_t *reply);
static ngx_int_t op_rested(void *data, lines_op_step_reply_t *reply);
static ngx_int_t op_write(lines_op_t *op, ngx_str_t *next, ngx_msec_t lease,
    ngx_uint_t nfields, ngx_str_t *fields, lines_op_step_pt done);


void
lines_op_caller(lines_op_t *op)
{
    lines_caller_init(&op->caller, op->lmcf->redis, op->pool, op->log);

    op->caller.id = &op->id;
    op->caller.resume = op_resume;
    op->caller.failed = op_failed;
    op->caller.lost = op_lost;
    op->caller.sending = op_sending;
    op->caller.heard = op_heard;
}


static void
op_resume(lines_caller_t *caller, ngx_int_t rc)
{
    lines_op_post(ngx_queue_data(caller, lines_op_t, caller), rc);
}


static ngx_int_t
op_failed(lines_caller_t *caller)
{
    return op_reclaim(ngx_queue_data(caller, lines_op_t, caller));
}


static ngx_int_t
op_lost(lines_caller_t *caller)
{
    lines_op_t  *op;

    op = ngx_queue_data(caller, lines_op_t, caller);

    ngx_log_error(NGX_LOG_INFO, op->log, 0,
                  "lines operation %V: lost in \"%V\"", &op->id, &op->point);

    op->lost = 1;

    return NGX_DONE;
}


/* a claim has a failpoint of its own */

static void
op_sending(lines_caller_t *caller, lines_store_call_t *call)
{
    lines_op_t  *op;

    op = ngx_queue_data(caller, lines_op_t, caller);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: %V in %V", &op->id, &call->name,
                   &op->point);

    if (call->script && !op->claiming) {
        LINES_FAILPOINT_STEP("op.write.before", &op->point);
    }
}


static void
op_heard(lines_caller_t *caller, lines_store_call_t *call, ngx_uint_t good)
{
    lines_op_t  *op;

    op = ngx_queue_data(caller, lines_op_t, caller);

    if (good && !op->claiming) {
        LINES_FAILPOINT_STEP("op.write.after", &op->point);
    }

    op->claiming = 0;
}


ngx_int_t
lines_op_take(lines_op_t *op)
{
    op->claimed = ngx_current_msec;
    op->claiming = 1;

    return lines_op_claim(&op->caller, op_claimed, op, .tenant = op->tenant,
                          .id = op->id, .lease = op->conf->lease,
                          .fence = op->fence);
}


static ngx_int_t
op_claimed(void *data, lines_op_claim_reply_t *reply)
{
    lines_op_t  *op = data;

    ngx_str_t          name, *field;
    ngx_uint_t         i;
    lines_op_kind_t  **kind;

    switch (reply->is) {

    case LINES_OP_CLAIM_NONE:
        op->unknown = 1;
        return NGX_DONE;

    case LINES_OP_CLAIM_BUSY:
        op->lost = 1;
        return NGX_DONE;
    }

    op->now = reply->now;
    op->fields.nelts = 0;

    field = reply->fields.elts;

    for (i = 0; i + 1 < reply->fields.n; i += 2) {

        /* names come from our own scripts; they end with a zero */

        if (lines_op_set(op, (char *) field[i].data, &field[i + 1])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    op->attempt = lines_op_get_number(op, "attempt");
    op->fence = lines_op_get_number(op, "fence");
    op->kind = NULL;

    name = lines_op_get(op, "kind");

    for (kind = lines_op_kinds; *kind; kind++) {

        if (name.len
            && (*kind)->name.len == name.len
            && ngx_strncmp((*kind)->name.data, name.data, name.len) == 0)
        {
            op->kind = *kind;
            break;
        }
    }

    name = lines_op_get(op, "step");

    if (lines_op_enter(op, &name) != NGX_OK) {
        return NGX_ERROR;
    }

    if (reply->is == LINES_OP_CLAIM_DONE) {
        return lines_op_finish(op);
    }

    LINES_FAILPOINT_STEP("op.claim.after", &op->point);

    if (op->kind == NULL) {
        ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                      "lines operation %V: unknown kind \"%V\"", &op->id,
                      &op->point);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* what became of the write is unknown: the record knows */

static ngx_int_t
op_reclaim(lines_op_t *op)
{
    if (op->kind == NULL || op->reclaims++ == LINES_RECLAIMS) {
        return NGX_ERROR;
    }

    return lines_op_wait(op, LINES_RECLAIM_DELAY, lines_op_take);
}


static ngx_int_t
op_write(lines_op_t *op, ngx_str_t *next, ngx_msec_t lease, ngx_uint_t nfields,
    ngx_str_t *fields, lines_op_step_pt done)
{
    ngx_str_t            *copy;
    ngx_uint_t            i;
    lines_op_step_args_t  args;

    copy = ngx_palloc(op->pool, (nfields + 1) * sizeof(ngx_str_t));
    if (copy == NULL) {
        return NGX_ERROR;
    }

    /* the caller's strings may be on its stack; the copy learns them later */

    for (i = 0; i < nfields; i++) {
        copy[i].len = fields[i].len;
        copy[i].data = ngx_pnalloc(op->pool, fields[i].len + 1);

        if (copy[i].data == NULL) {
            return NGX_ERROR;
        }

        if (fields[i].len) {
            ngx_memcpy(copy[i].data, fields[i].data, fields[i].len);
        }

        copy[i].data[fields[i].len] = '\0';
    }

    op->changes.n = nfields;
    op->changes.elts = copy;

    op->next_step.data = ngx_pstrdup(op->pool, next);
    if (op->next_step.data == NULL) {
        return NGX_ERROR;
    }

    op->next_step.len = next->len;

    lines_op_held(op, &args);

    args.next_step = *next;
    args.lease = lease;
    args.fields = op->changes;

    return lines_send_op_step(&op->caller, LINES_CALL, &args, done, op);
}


ngx_int_t
lines_op_move(lines_op_t *op, const char *next, ngx_uint_t nfields,
    ngx_str_t *fields)
{
    ngx_str_t  name;

    name.data = (u_char *) next;
    name.len = ngx_strlen(next);

    lines_op_renewed(op);

    return op_write(op, &name, op->conf->lease, nfields, fields, op_moved);
}


static ngx_int_t
op_moved(void *data, lines_op_step_reply_t *reply)
{
    lines_op_t  *op = data;

    ngx_str_t  *field;
    ngx_uint_t  i;

    field = op->changes.elts;

    for (i = 0; i + 1 < op->changes.n; i += 2) {
        if (lines_op_set(op, (char *) field[i].data, &field[i + 1]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (lines_op_set(op, "intent", &reply->intent) != NGX_OK
        || lines_op_enter(op, &op->next_step) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
lines_op_rest(lines_op_t *op, ngx_msec_t delay, ngx_uint_t nfields,
    ngx_str_t *fields)
{
    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: rests in %V for %M", &op->id,
                   &op->point, delay);

    lines_op_due(op, delay);

    return op_write(op, &op->step, 0, nfields, fields, op_rested);
}


static ngx_int_t
op_rested(void *data, lines_op_step_reply_t *reply)
{
    lines_op_t  *op = data;

    ngx_int_t  rc;
    ngx_str_t  intent, held;

    intent = lines_op_get(op, "intent");
    held = lines_op_get(op, "dirty");

    rc = op_moved(op, reply);

    if (rc != NGX_OK) {
        return rc;
    }

    /* there was an event, or a wish to cancel, since it was claimed */

    if ((intent.len == 0 && lines_op_get(op, "intent").len)
        || reply->dirty.len != held.len
        || (held.len
            && ngx_strncmp(reply->dirty.data, held.data, held.len) != 0))
    {
        return lines_op_take(op);
    }

    return NGX_DONE;
}


ngx_int_t
lines_op_enter(lines_op_t *op, ngx_str_t *step)
{
    ngx_str_t  kind;

    if (op->step.len != step->len
        || (step->len
            && ngx_strncmp(op->step.data, step->data, step->len) != 0))
    {
        op->repeats = 0;
    }

    if (lines_op_set(op, "step", step) != NGX_OK) {
        return NGX_ERROR;
    }

    op->step = lines_op_get(op, "step");

    kind = lines_op_get(op, "kind");

    return lines_redis_format(op->pool, &op->point, "%V.%V", &kind, &op->step);
}


void
lines_op_due(lines_op_t *op, ngx_msec_t delay)
{
    lines_op_hint(op, &op->id, delay);
}


void
lines_op_hint(lines_op_t *op, ngx_str_t *id, ngx_msec_t delay)
{
    (void) lines_forget_due_add(&op->caller, .shard = lines_due_shard(id),
                                .tenant = op->tenant, .id = *id,
                                .delay = delay);
}


void
lines_op_not_due(lines_op_t *op)
{
    if (op->kind
        && (lines_is(&op->kind->name, "plan")
            || lines_is(&op->kind->name, "lapse")))
    {
        /* it may have begun once more since it ended: that hint is its own */

        (void) lines_forget_due_done(&op->caller,
                                     .shard = lines_due_shard(&op->id),
                                     .tenant = op->tenant, .id = op->id,
                                     .late = op->conf->late);
        return;
    }

    (void) lines_forget_due_rem(&op->caller,
                                .shard = lines_due_shard(&op->id),
                                .tenant = op->tenant, .id = op->id);
}


void
lines_op_idle(lines_op_t *op)
{
    (void) lines_forget_due_drop(&op->caller,
                                 .shard = lines_due_shard(&op->id),
                                 .tenant = op->tenant, .id = op->id,
                                 .overdue = op->conf->hint,
                                 .late = op->conf->late);
}
