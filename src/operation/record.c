
/*
 * What an operation reads from and writes to Redis.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/failpoint.h"
#include "operation/engine.h"


#define LINES_RECLAIM_DELAY  400
#define LINES_RECLAIMS       6


typedef struct {
    ngx_uint_t   n;
    ngx_str_t   *fields;
} lines_op_changes_t;


static void op_resume(lines_caller_t *caller, ngx_int_t rc);
static ngx_int_t op_failed(lines_caller_t *caller);
static ngx_int_t op_lost(lines_caller_t *caller);
static void op_sending(lines_caller_t *caller, lines_store_call_t *call);
static void op_heard(lines_caller_t *caller, lines_store_call_t *call,
    ngx_uint_t good);
static ngx_int_t op_claimed(void *data, lines_op_claim_reply_t *reply);
static ngx_int_t op_replied(void *data, redisReply *reply);
static ngx_int_t op_reclaim(lines_op_t *op);
static ngx_int_t op_stepped(lines_op_t *op, redisReply *reply);
static ngx_int_t op_rested(lines_op_t *op, redisReply *reply);
static ngx_int_t op_write(lines_op_t *op, ngx_str_t *next, ngx_msec_t lease,
    ngx_uint_t nfields, ngx_str_t *fields, lines_op_reply_pt handler);
static void op_unheard(void *data, redisReply *reply);


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
    lines_op_claim_args_t  args;

    args.tenant = op->tenant;
    args.id = op->id;
    args.lease = op->conf->lease;
    args.fence = op->fence;

    op->claimed = ngx_current_msec;
    op->claiming = 1;

    return lines_op_claim(&op->caller, &args, op_claimed, op);
}


static ngx_int_t
op_claimed(void *data, lines_op_claim_reply_t *reply)
{
    lines_op_t  *op = data;

    ngx_str_t         name, *field;
    ngx_uint_t        i;
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


ngx_int_t
lines_op_eval(lines_op_t *op, lines_script_t *script, ngx_uint_t nkeys,
    ngx_uint_t nargs, ngx_str_t *args, lines_op_reply_pt handler)
{
    ngx_uint_t  i;

    for (i = 0; i < nkeys; i++) {
        if (args[i].len == 0) {
            return NGX_ERROR;
        }
    }

    LINES_FAILPOINT_STEP("op.write.before", &op->point);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: %V in %V", &op->id, &script->name,
                   &op->point);

    op->reply = handler;

    return lines_caller_raw(&op->caller, script, nkeys, nargs, args,
                            LINES_CALL, op_replied, op);
}


ngx_int_t
lines_op_command(lines_op_t *op, ngx_uint_t argc, ngx_str_t *argv,
    lines_op_reply_pt handler)
{
    op->reply = handler;

    return lines_caller_raw(&op->caller, NULL, 0, argc, argv, LINES_CALL,
                            op_replied, op);
}


static ngx_int_t
op_replied(void *data, redisReply *reply)
{
    lines_op_t  *op = data;

    ngx_str_t  word;

    word = lines_reply_str(reply, 0);

    return lines_is(&word, "lost") ? op_lost(&op->caller)
                                   : op->reply(op, reply);
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


ngx_int_t
lines_op_guard(lines_op_t *op, ngx_str_t *args)
{
    args[0] = op->step;

    if (lines_redis_format(op->pool, &args[1], "%ui", op->attempt) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_redis_format(op->pool, &args[2], "%ui", op->fence);
}


static ngx_int_t
op_write(lines_op_t *op, ngx_str_t *next, ngx_msec_t lease, ngx_uint_t nfields,
    ngx_str_t *fields, lines_op_reply_pt handler)
{
    ngx_str_t           *args;
    ngx_uint_t           i;
    lines_op_changes_t  *changes;

    args = ngx_palloc(op->pool, (6 + nfields) * sizeof(ngx_str_t));
    changes = ngx_palloc(op->pool, sizeof(lines_op_changes_t));

    if (args == NULL || changes == NULL) {
        return NGX_ERROR;
    }

    args[0] = lines_op_key(op, "op:%V", &op->id);

    if (lines_op_guard(op, &args[1]) != NGX_OK
        || lines_redis_format(op->pool, &args[5], "%M", lease) != NGX_OK)
    {
        return NGX_ERROR;
    }

    args[4] = *next;

    /* the caller's strings may be on its stack; the copy learns them later */

    for (i = 0; i < nfields; i++) {
        args[6 + i].len = fields[i].len;
        args[6 + i].data = ngx_pnalloc(op->pool, fields[i].len + 1);

        if (args[6 + i].data == NULL) {
            return NGX_ERROR;
        }

        if (fields[i].len) {
            ngx_memcpy(args[6 + i].data, fields[i].data, fields[i].len);
        }

        args[6 + i].data[fields[i].len] = '\0';
    }

    changes->n = nfields;
    changes->fields = &args[6];

    op->next_step.data = ngx_pstrdup(op->pool, next);
    if (op->next_step.data == NULL) {
        return NGX_ERROR;
    }

    op->next_step.len = next->len;
    op->changes = changes;

    return lines_op_eval(op, &lines_script_op_step, 1, 6 + nfields, args,
                         handler);
}


ngx_int_t
lines_op_step(lines_op_t *op, const char *next, ngx_uint_t nfields,
    ngx_str_t *fields)
{
    ngx_str_t  name;

    name.data = (u_char *) next;
    name.len = ngx_strlen(next);

    lines_op_renewed(op);

    return op_write(op, &name, op->conf->lease, nfields, fields, op_stepped);
}


static ngx_int_t
op_stepped(lines_op_t *op, redisReply *reply)
{
    ngx_str_t            intent;
    ngx_uint_t           i;
    lines_op_changes_t  *changes;

    changes = op->changes;

    for (i = 0; i + 1 < changes->n; i += 2) {
        if (lines_op_set(op, (char *) changes->fields[i].data,
                         &changes->fields[i + 1])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    intent = lines_reply_str(reply, 1);

    if (lines_op_set(op, "intent", &intent) != NGX_OK
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
op_rested(lines_op_t *op, redisReply *reply)
{
    ngx_int_t  rc;
    ngx_str_t  intent, dirty, held;

    intent = lines_op_get(op, "intent");
    held = lines_op_get(op, "dirty");
    dirty = lines_reply_str(reply, 2);

    rc = op_stepped(op, reply);

    if (rc != NGX_OK) {
        return rc;
    }

    /* there was an event, or a wish to cancel, since it was claimed */

    if ((intent.len == 0 && lines_op_get(op, "intent").len)
        || dirty.len != held.len
        || (dirty.len && ngx_strncmp(dirty.data, held.data, dirty.len) != 0))
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
    u_char     ms[NGX_INT64_LEN];
    ngx_str_t  args[3];

    if (lines_due(op->pool, &op->tenant, id, &args[0], &args[1]) != NGX_OK) {
        return;
    }

    args[2].data = ms;
    args[2].len = ngx_sprintf(ms, "%M", delay) - ms;

    (void) lines_redis_eval(op->lmcf->redis, &lines_script_due_add, 1, 3, args,
                            op_unheard, NULL);
}


void
lines_op_not_due(lines_op_t *op)
{
    u_char     ms[NGX_INT64_LEN];
    ngx_str_t  argv[3];

    if (op->kind
        && (lines_is(&op->kind->name, "plan")
            || lines_is(&op->kind->name, "lapse")))
    {
        /* it may have begun once more since it ended: that hint is its own */

        if (lines_due(op->pool, &op->tenant, &op->id, &argv[0], &argv[1])
            != NGX_OK)
        {
            return;
        }

        argv[2].data = ms;
        argv[2].len = ngx_sprintf(ms, "%M", op->conf->late) - ms;

        (void) lines_redis_eval(op->lmcf->redis, &lines_script_due_done, 1, 3,
                                argv, op_unheard, NULL);
        return;
    }

    ngx_str_set(&argv[0], "ZREM");

    if (lines_due(op->pool, &op->tenant, &op->id, &argv[1], &argv[2])
        != NGX_OK)
    {
        return;
    }

    lines_op_forget(op, 3, argv);
}


void
lines_op_forget(lines_op_t *op, ngx_uint_t argc, ngx_str_t *argv)
{
    (void) lines_redis_command(op->lmcf->redis, argc, argv, op_unheard, NULL);
}


void
lines_op_idle(lines_op_t *op)
{
    u_char     ms[NGX_INT64_LEN], late[NGX_INT64_LEN];
    ngx_str_t  args[4];

    if (lines_due(op->pool, &op->tenant, &op->id, &args[0], &args[1])
        != NGX_OK)
    {
        return;
    }

    args[2].data = ms;
    args[2].len = ngx_sprintf(ms, "%M", op->conf->hint) - ms;
    args[3].data = late;
    args[3].len = ngx_sprintf(late, "%M", op->conf->late) - late;

    (void) lines_redis_eval(op->lmcf->redis, &lines_script_due_drop, 1, 4,
                            args, op_unheard, NULL);
}


/* a hint: lost is as good as late */

static void
op_unheard(void *data, redisReply *reply)
{
    (void) data;
    (void) reply;
}
