
/*
 * The engine: an operation is claimed, its steps run one after another, and
 * it ends or rests.  What goes to Redis is next door.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/text.h"
#include "operation/engine.h"


#define LINES_REPEATS        2
#define LINES_TRIES          16
#define LINES_STUCK          60000


static void op_next(ngx_event_t *ev);
static lines_op_step_t *op_find_step(lines_op_t *op, ngx_str_t *name);
static ngx_int_t op_run(lines_op_t *op);
static ngx_int_t op_repeat(lines_op_t *op);
static void op_end(lines_op_t *op, ngx_int_t rc);


static ngx_str_t  step_done = ngx_string("done");
static ngx_str_t  step_undone = ngx_string("undone");


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

        if (op->id.len == id->len
            && op->tenant.len == tenant->len
            && ngx_strncmp(op->id.data, id->data, id->len) == 0
            && ngx_strncmp(op->tenant.data, tenant->data, tenant->len) == 0)
        {
            return op;
        }
    }

    return NULL;
}


lines_op_t *
lines_op_obtain(lines_main_conf_t *lmcf, ngx_str_t *tenant, ngx_str_t *id,
    ngx_uint_t fence, ngx_uint_t want)
{
    ngx_pool_t       *pool;
    lines_op_t       *op;
    lines_op_conf_t  *conf;

    conf = lmcf->operation;

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
    op->fence = fence;
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

    if (lines_op_take(op) != NGX_AGAIN) {
        goto failed;
    }

    ngx_queue_insert_tail(&conf->running, &op->queue);

    return op;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


ngx_int_t
lines_op_spawn(lines_main_conf_t *lmcf, ngx_str_t *tenant, ngx_str_t *id,
    ngx_uint_t fence, ngx_uint_t want)
{
    return lines_op_obtain(lmcf, tenant, id, fence, want) ? NGX_OK : NGX_ERROR;
}


void
lines_op_post(lines_op_t *op, ngx_int_t rc)
{
    if (rc == NGX_AGAIN) {
        return;
    }

    op->rc = rc;

    ngx_post_event(&op->next, &ngx_posted_events);
}


ngx_int_t
lines_op_wait(lines_op_t *op, ngx_msec_t delay, lines_op_run_pt wake)
{
    op->wake = wake;

    ngx_add_timer(&op->next, delay);

    return NGX_AGAIN;
}


static void
op_next(ngx_event_t *ev)
{
    ngx_int_t    rc;
    lines_op_t  *op;

    op = ev->data;

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

        if (s->name.len == name->len
            && ngx_strncmp(s->name.data, name->data, name->len) == 0)
        {
            return s;
        }
    }

    return NULL;
}


static ngx_int_t
op_run(lines_op_t *op)
{
    ngx_str_t         name;
    lines_op_step_t  *s;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: %V, attempt %ui", &op->id, &op->point,
                   op->attempt);

    if (op->step.len == step_done.len
        && ngx_strncmp(op->step.data, "done", 4) == 0)
    {
        return lines_op_finish(op);
    }

    if (op->step.len == step_undone.len
        && ngx_strncmp(op->step.data, "undone", 6) == 0)
    {
        return op->kind->undone
               ? op->kind->undone(op)
               : lines_op_stuck(op, "undo");
    }

    name = op->step;

    if (name.len > 5 && ngx_strncmp(name.data, "undo:", 5) == 0) {
        name.data += 5;
        name.len -= 5;

        s = op_find_step(op, &name);

        if (s) {
            return s->undo ? s->undo(op) : lines_op_undone(op);
        }

    } else {
        s = op_find_step(op, &name);

        if (s) {
            return s->run(op);
        }
    }

    ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                  "lines operation %V: no such step \"%V\"", &op->id,
                  &op->point);

    return NGX_ERROR;
}


static ngx_int_t
op_repeat(lines_op_t *op)
{
    return NGX_OK;
}


ngx_int_t
lines_op_advance(lines_op_t *op, ngx_uint_t nfields, ngx_str_t *fields)
{
    lines_op_step_t  *s;

    s = op_find_step(op, &op->step);

    if (s == NULL || s[1].name.len == 0) {
        return NGX_ERROR;
    }

    return lines_op_move(op, (char *) s[1].name.data, nfields, fields);
}


ngx_int_t
lines_op_undo(lines_op_t *op, ngx_uint_t status, ngx_str_t *answer)
{
    u_char    *p, code[NGX_INT_T_LEN], next[64];
    ngx_str_t  fields[4];

    ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                  "lines operation %V: undone from \"%V\", %ui", &op->id,
                  &op->point, status);

    p = ngx_snprintf(next, sizeof(next) - 1, "undo:%V", &op->step);
    *p = '\0';

    ngx_str_set(&fields[0], "answer_status");
    fields[1].data = code;
    fields[1].len = ngx_sprintf(code, "%ui", status) - code;
    ngx_str_set(&fields[2], "answer");
    fields[3] = *answer;

    return lines_op_move(op, (char *) next, 4, fields);
}


ngx_int_t
lines_op_undone(lines_op_t *op)
{
    u_char           *p, next[64];
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
            p = ngx_snprintf(next, sizeof(next) - 1, "undo:%V", &s->name);
            *p = '\0';

            return lines_op_move(op, (char *) next, 0, NULL);
        }
    }

    return lines_op_move(op, "undone", 0, NULL);
}


ngx_int_t
lines_op_again(lines_op_t *op)
{
    u_char      count[NGX_INT64_LEN];
    int64_t     tries;
    ngx_str_t   fields[4];
    ngx_msec_t  delay;
    ngx_uint_t  n;

    if (!ngx_queue_empty(&op->waiters) && op->repeats < LINES_REPEATS) {
        op->repeats++;

        return lines_op_wait(op, 300 * op->repeats + ngx_random() % 100,
                             op_repeat);
    }

    tries = lines_op_get_number(op, "tries");

    delay = op->conf->retry << ngx_min(tries, 2);

    ngx_str_set(&fields[0], "tries");
    fields[1].data = count;
    fields[1].len = ngx_sprintf(count, "%L", tries + 1) - count;

    n = 2;

    if (tries + 1 == LINES_TRIES) {
        ngx_log_error(NGX_LOG_ALERT, op->log, 0,
                      "lines operation %V: %V gets no answer", &op->id,
                      &op->point);

        ngx_str_set(&fields[2], "stuck");
        ngx_str_set(&fields[3], "no_answer");
        n = 4;

        lines_op_list_stuck(op);
    }

    return lines_op_rest(op, delay, n, fields);
}


ngx_int_t
lines_op_stuck(lines_op_t *op, const char *reason)
{
    ngx_str_t   fields[2], known;
    ngx_uint_t  level;

    known = lines_op_get(op, "stuck");
    level = lines_is(&known, reason) ? NGX_LOG_INFO : NGX_LOG_ALERT;

    ngx_log_error(level, op->log, 0, "lines operation %V: %V is stuck: %s",
                  &op->id, &op->point, reason);

    lines_op_list_stuck(op);

    ngx_str_set(&fields[0], "stuck");
    fields[1].data = (u_char *) reason;
    fields[1].len = ngx_strlen(reason);

    /* once the cause is gone it goes on by itself */

    return lines_op_rest(op, ngx_min(op->conf->every, LINES_STUCK), 2, fields);
}


/* where the operator finds it: written before the record says so */

void
lines_op_list_stuck(lines_op_t *op)
{
    (void) lines_forget_stuck_put(&op->caller, .at = lines_op_now(op),
                                  .tenant = op->tenant, .id = op->id);
}


ngx_int_t
lines_op_finish(lines_op_t *op)
{
    op->ended = 1;

    lines_op_not_due(op);

    return NGX_DONE;
}


static void
op_end(lines_op_t *op, ngx_int_t rc)
{
    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, op->log, 0,
                   "lines operation %V: leaves %V, rc:%i lost:%d", &op->id,
                   &op->point, rc, op->lost);

    ngx_queue_remove(&op->queue);

    if (op->swept) {
        lines_swept_one(op->conf);

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

    lines_op_wake_clients(op, rc);

    if (op->carrier) {
        lines_carrier_destroy(op->carrier);
    }

    ngx_destroy_pool(op->pool);
}
