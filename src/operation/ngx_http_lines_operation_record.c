
/*
 * What an operation reads from and writes to Redis.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_operation_engine.h"
#include "ngx_http_lines_failpoint.h"


#define NGX_HTTP_LINES_RECLAIM_DELAY  400
#define NGX_HTTP_LINES_RECLAIMS       6


typedef struct {
    ngx_uint_t   n;
    ngx_str_t   *fields;
} ngx_http_lines_operation_changes_t;


static ngx_int_t ngx_http_lines_operation_claimed(
    ngx_http_lines_operation_t *op, redisReply *reply);
static void ngx_http_lines_operation_replied(void *data, redisReply *reply);
static ngx_int_t ngx_http_lines_operation_reclaim(
    ngx_http_lines_operation_t *op);
static ngx_int_t ngx_http_lines_operation_stepped(
    ngx_http_lines_operation_t *op, redisReply *reply);
static ngx_int_t ngx_http_lines_operation_rested(
    ngx_http_lines_operation_t *op, redisReply *reply);
static ngx_int_t ngx_http_lines_operation_write(
    ngx_http_lines_operation_t *op, ngx_str_t *next, ngx_msec_t lease,
    ngx_uint_t nfields, ngx_str_t *fields,
    ngx_http_lines_operation_reply_pt handler);
static void ngx_http_lines_operation_unheard(void *data, redisReply *reply);


ngx_int_t
ngx_http_lines_operation_claim(ngx_http_lines_operation_t *op)
{
    u_char     lease[NGX_INT64_LEN], fence[NGX_INT64_LEN];
    ngx_str_t  args[3];

    args[0] = ngx_http_lines_operation_key(op, "op:%V", &op->id);

    if (args[0].len == 0) {
        return NGX_ERROR;
    }

    args[1].data = lease;
    args[1].len = ngx_sprintf(lease, "%M", op->conf->lease) - lease;
    args[2].data = fence;
    args[2].len = ngx_sprintf(fence, "%ui", op->fence) - fence;

    op->claimed = ngx_current_msec;
    op->reply = ngx_http_lines_operation_claimed;

    op->command = ngx_lines_redis_eval(op->lmcf->redis,
                                       &ngx_lines_script_op_claim, 1, 3, args,
                                       ngx_http_lines_operation_replied, op);

    if (op->command == NULL) {
        return op->kind ? ngx_http_lines_operation_reclaim(op) : NGX_ERROR;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_lines_operation_claimed(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    ngx_str_t                          word, name, value;
    ngx_uint_t                         i;
    ngx_http_lines_operation_kind_t  **kind;

    word = ngx_http_lines_reply_str(reply, 0);

    if (word.len == 4 && ngx_strncmp(word.data, "none", 4) == 0) {
        op->unknown = 1;
        return NGX_DONE;
    }

    if (word.len == 4 && ngx_strncmp(word.data, "busy", 4) == 0) {
        op->lost = 1;
        return NGX_DONE;
    }

    value = ngx_http_lines_reply_str(reply, 1);
    op->now = ngx_atoof(value.data, value.len);

    op->fields.nelts = 0;

    for (i = 2; i + 1 < reply->elements; i += 2) {
        name = ngx_http_lines_reply_str(reply, i);
        value = ngx_http_lines_reply_str(reply, i + 1);

        /* names come from our own scripts; zero-terminated by hiredis */

        if (ngx_http_lines_operation_set(op, (char *) name.data, &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    op->attempt = ngx_http_lines_operation_get_number(op, "attempt");
    op->fence = ngx_http_lines_operation_get_number(op, "fence");
    op->kind = NULL;

    name = ngx_http_lines_operation_get(op, "kind");

    for (kind = ngx_http_lines_operation_kinds; *kind; kind++) {

        if (name.len && (*kind)->name.len == name.len
            && ngx_strncmp((*kind)->name.data, name.data, name.len) == 0)
        {
            op->kind = *kind;
            break;
        }
    }

    name = ngx_http_lines_operation_get(op, "step");

    if (ngx_http_lines_operation_enter(op, &name) != NGX_OK) {
        return NGX_ERROR;
    }

    if (word.len == 4 && ngx_strncmp(word.data, "done", 4) == 0) {
        return ngx_http_lines_operation_finish(op);
    }

    NGX_HTTP_LINES_FAILPOINT_STEP("op.claim.after", &op->point);

    if (op->kind == NULL) {
        ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                      "lines operation %V: unknown kind \"%V\"",
                      &op->id, &op->point);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_lines_operation_eval(ngx_http_lines_operation_t *op,
    ngx_lines_script_t *script, ngx_uint_t nkeys, ngx_uint_t nargs,
    ngx_str_t *args, ngx_http_lines_operation_reply_pt handler)
{
    ngx_uint_t  i;

    for (i = 0; i < nkeys; i++) {
        if (args[i].len == 0) {
            return NGX_ERROR;
        }
    }

    NGX_HTTP_LINES_FAILPOINT_STEP("op.write.before", &op->point);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: %V in %V",
                   &op->id, &script->name, &op->point);

    op->reply = handler;
    op->command = ngx_lines_redis_eval(op->lmcf->redis, script, nkeys, nargs,
                                       args, ngx_http_lines_operation_replied,
                                       op);

    if (op->command == NULL) {
        return ngx_http_lines_operation_reclaim(op);
    }

    return NGX_AGAIN;
}


ngx_int_t
ngx_http_lines_operation_command(ngx_http_lines_operation_t *op,
    ngx_uint_t argc, ngx_str_t *argv,
    ngx_http_lines_operation_reply_pt handler)
{
    op->reply = handler;
    op->command = ngx_lines_redis_command(op->lmcf->redis, argc, argv,
                                          ngx_http_lines_operation_replied,
                                          op);

    if (op->command == NULL) {
        return ngx_http_lines_operation_reclaim(op);
    }

    return NGX_AGAIN;
}


static void
ngx_http_lines_operation_replied(void *data, redisReply *reply)
{
    ngx_http_lines_operation_t  *op = data;

    ngx_int_t  rc;
    ngx_str_t  word;

    op->command = NULL;

    if (reply == NULL) {
        rc = ngx_http_lines_operation_reclaim(op);

    } else if (reply->type == REDIS_REPLY_ERROR) {
        ngx_log_error(NGX_LOG_ERR, op->log, 0,
                      "lines operation %V: Redis refused in \"%V\": %*s",
                      &op->id, &op->point, (size_t) reply->len, reply->str);
        rc = ngx_http_lines_operation_reclaim(op);

    } else {
        word = ngx_http_lines_reply_str(reply, 0);

        if (word.len == 4 && ngx_strncmp(word.data, "lost", 4) == 0) {
            ngx_log_error(NGX_LOG_INFO, op->log, 0,
                          "lines operation %V: lost in \"%V\"",
                          &op->id, &op->point);
            op->lost = 1;
            rc = NGX_DONE;

        } else {
            if (op->reply != ngx_http_lines_operation_claimed) {
                NGX_HTTP_LINES_FAILPOINT_STEP("op.write.after", &op->point);
            }

            rc = op->reply(op, reply);
        }
    }

    ngx_http_lines_operation_post(op, rc);
}


/* what became of the write is unknown: the record knows */

static ngx_int_t
ngx_http_lines_operation_reclaim(ngx_http_lines_operation_t *op)
{
    if (op->kind == NULL || op->reclaims++ == NGX_HTTP_LINES_RECLAIMS) {
        return NGX_ERROR;
    }

    return ngx_http_lines_operation_wait(op, NGX_HTTP_LINES_RECLAIM_DELAY,
                                         ngx_http_lines_operation_claim);
}


ngx_int_t
ngx_http_lines_operation_guard(ngx_http_lines_operation_t *op, ngx_str_t *args)
{
    args[0] = op->step;

    if (ngx_lines_redis_format(op->pool, &args[1], "%ui", op->attempt)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_lines_redis_format(op->pool, &args[2], "%ui", op->fence);
}


static ngx_int_t
ngx_http_lines_operation_write(ngx_http_lines_operation_t *op,
    ngx_str_t *next, ngx_msec_t lease, ngx_uint_t nfields, ngx_str_t *fields,
    ngx_http_lines_operation_reply_pt handler)
{
    ngx_str_t                           *args;
    ngx_uint_t                           i;
    ngx_http_lines_operation_changes_t  *changes;

    args = ngx_palloc(op->pool, (6 + nfields) * sizeof(ngx_str_t));
    changes = ngx_palloc(op->pool, sizeof(ngx_http_lines_operation_changes_t));

    if (args == NULL || changes == NULL) {
        return NGX_ERROR;
    }

    args[0] = ngx_http_lines_operation_key(op, "op:%V", &op->id);

    if (ngx_http_lines_operation_guard(op, &args[1]) != NGX_OK
        || ngx_lines_redis_format(op->pool, &args[5], "%M", lease) != NGX_OK)
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

    return ngx_http_lines_operation_eval(op, &ngx_lines_script_op_step, 1,
                                         6 + nfields, args, handler);
}


ngx_int_t
ngx_http_lines_operation_step(ngx_http_lines_operation_t *op,
    const char *next, ngx_uint_t nfields, ngx_str_t *fields)
{
    ngx_str_t  name;

    name.data = (u_char *) next;
    name.len = ngx_strlen(next);

    ngx_http_lines_operation_renewed(op);

    return ngx_http_lines_operation_write(op, &name, op->conf->lease, nfields,
                                          fields,
                                          ngx_http_lines_operation_stepped);
}


static ngx_int_t
ngx_http_lines_operation_stepped(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    ngx_str_t                            intent;
    ngx_uint_t                           i;
    ngx_http_lines_operation_changes_t  *changes;

    changes = op->changes;

    for (i = 0; i + 1 < changes->n; i += 2) {
        if (ngx_http_lines_operation_set(op,
                                         (char *) changes->fields[i].data,
                                         &changes->fields[i + 1])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    intent = ngx_http_lines_reply_str(reply, 1);

    if (ngx_http_lines_operation_set(op, "intent", &intent) != NGX_OK
        || ngx_http_lines_operation_enter(op, &op->next_step) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_lines_operation_rest(ngx_http_lines_operation_t *op,
    ngx_msec_t delay, ngx_uint_t nfields, ngx_str_t *fields)
{
    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: rests in %V for %M",
                   &op->id, &op->point, delay);

    ngx_http_lines_operation_due(op, delay);

    return ngx_http_lines_operation_write(op, &op->step, 0, nfields, fields,
                                          ngx_http_lines_operation_rested);
}


static ngx_int_t
ngx_http_lines_operation_rested(ngx_http_lines_operation_t *op,
    redisReply *reply)
{
    ngx_int_t  rc;
    ngx_str_t  intent, dirty, held;

    intent = ngx_http_lines_operation_get(op, "intent");
    held = ngx_http_lines_operation_get(op, "dirty");
    dirty = ngx_http_lines_reply_str(reply, 2);

    rc = ngx_http_lines_operation_stepped(op, reply);

    if (rc != NGX_OK) {
        return rc;
    }

    /* there was an event, or a wish to cancel, since it was claimed */

    if ((intent.len == 0 && ngx_http_lines_operation_get(op, "intent").len)
        || dirty.len != held.len
        || (dirty.len && ngx_strncmp(dirty.data, held.data, dirty.len) != 0))
    {
        return ngx_http_lines_operation_claim(op);
    }

    return NGX_DONE;
}


ngx_int_t
ngx_http_lines_operation_enter(ngx_http_lines_operation_t *op,
    ngx_str_t *step)
{
    ngx_str_t  kind;

    if (op->step.len != step->len
        || (step->len
            && ngx_strncmp(op->step.data, step->data, step->len) != 0))
    {
        op->repeats = 0;
    }

    if (ngx_http_lines_operation_set(op, "step", step) != NGX_OK) {
        return NGX_ERROR;
    }

    op->step = ngx_http_lines_operation_get(op, "step");

    kind = ngx_http_lines_operation_get(op, "kind");

    return ngx_lines_redis_format(op->pool, &op->point, "%V.%V",
                                  &kind, &op->step);
}


void
ngx_http_lines_operation_due(ngx_http_lines_operation_t *op, ngx_msec_t delay)
{
    ngx_http_lines_operation_hint(op, &op->id, delay);
}


void
ngx_http_lines_operation_hint(ngx_http_lines_operation_t *op, ngx_str_t *id,
    ngx_msec_t delay)
{
    u_char     ms[NGX_INT64_LEN];
    ngx_str_t  args[3];

    if (ngx_http_lines_due(op->pool, &op->tenant, id, &args[0], &args[1])
        != NGX_OK)
    {
        return;
    }

    args[2].data = ms;
    args[2].len = ngx_sprintf(ms, "%M", delay) - ms;

    (void) ngx_lines_redis_eval(op->lmcf->redis, &ngx_lines_script_due_add, 1,
                                3, args, ngx_http_lines_operation_unheard,
                                NULL);
}


void
ngx_http_lines_operation_not_due(ngx_http_lines_operation_t *op)
{
    u_char     ms[NGX_INT64_LEN];
    ngx_str_t  argv[3];

    if (op->kind
        && (ngx_http_lines_is(&op->kind->name, "plan")
            || ngx_http_lines_is(&op->kind->name, "lapse")))
    {
        /* it may have begun once more since it ended: that hint is its own */

        if (ngx_http_lines_due(op->pool, &op->tenant, &op->id, &argv[0],
                               &argv[1])
            != NGX_OK)
        {
            return;
        }

        argv[2].data = ms;
        argv[2].len = ngx_sprintf(ms, "%M", op->conf->late) - ms;

        (void) ngx_lines_redis_eval(op->lmcf->redis,
                                    &ngx_lines_script_due_done, 1, 3, argv,
                                    ngx_http_lines_operation_unheard, NULL);
        return;
    }

    ngx_str_set(&argv[0], "ZREM");

    if (ngx_http_lines_due(op->pool, &op->tenant, &op->id, &argv[1], &argv[2])
        != NGX_OK)
    {
        return;
    }

    ngx_http_lines_operation_forget(op, 3, argv);
}


void
ngx_http_lines_operation_forget(ngx_http_lines_operation_t *op,
    ngx_uint_t argc, ngx_str_t *argv)
{
    (void) ngx_lines_redis_command(op->lmcf->redis, argc, argv,
                                   ngx_http_lines_operation_unheard, NULL);
}


void
ngx_http_lines_operation_idle(ngx_http_lines_operation_t *op)
{
    u_char     ms[NGX_INT64_LEN], late[NGX_INT64_LEN];
    ngx_str_t  args[4];

    if (ngx_http_lines_due(op->pool, &op->tenant, &op->id, &args[0], &args[1])
        != NGX_OK)
    {
        return;
    }

    args[2].data = ms;
    args[2].len = ngx_sprintf(ms, "%M", op->conf->hint) - ms;
    args[3].data = late;
    args[3].len = ngx_sprintf(late, "%M", op->conf->late) - late;

    (void) ngx_lines_redis_eval(op->lmcf->redis, &ngx_lines_script_due_drop, 1,
                                4, args, ngx_http_lines_operation_unheard,
                                NULL);
}


/* a hint: lost is as good as late */

static void
ngx_http_lines_operation_unheard(void *data, redisReply *reply)
{
    (void) data;
    (void) reply;
}
