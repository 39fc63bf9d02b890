
/*
 * Finishes what others began and could not finish: each worker looks at the
 * due lists of the fleet every few seconds.  The fence decides who carries an
 * operation on; a list is but a hint.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/engine.h"


static void sweep_start(ngx_event_t *ev);
static ngx_int_t swept_shard(void *data, lines_due_read_reply_t *reply);
static void sweep_member(lines_main_conf_t *lmcf, ngx_str_t *member);


ngx_int_t
lines_op_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    lines_op_conf_t  *ocf;

    ocf = lmcf->operation;

    ngx_queue_init(&ocf->running);
    lines_caller_init(&ocf->caller, lmcf->redis, NULL, cycle->log);
    ocf->sweeping = 0;
    ocf->walked = ngx_current_msec - ngx_random() % ocf->walk_every;

    ocf->sweeper.handler = sweep_start;
    ocf->sweeper.data = lmcf;
    ocf->sweeper.log = cycle->log;
    ocf->sweeper.cancelable = 1;

    ngx_add_timer(&ocf->sweeper, 1 + ngx_random() % ocf->sweep);

    return NGX_OK;
}


void
lines_op_exit_process(lines_main_conf_t *lmcf)
{
    ngx_queue_t      *q;
    lines_op_t       *op;
    lines_op_conf_t  *ocf;

    ocf = lmcf->operation;

    if (ocf == NULL || ocf->running.next == NULL) {
        return;
    }

    if (ocf->sweeper.timer_set) {
        ngx_del_timer(&ocf->sweeper);
    }

    /* what is left is in Redis; nobody here is to hear of it any more */

    for (q = ngx_queue_head(&ocf->running);
         q != ngx_queue_sentinel(&ocf->running);
         q = ngx_queue_next(q))
    {
        op = ngx_queue_data(q, lines_op_t, queue);

        lines_caller_detach(&op->caller);
    }

    lines_caller_detach(&ocf->caller);

    if (ocf->walk.pool) {
        lines_caller_detach(&ocf->walk.caller);
        ngx_destroy_pool(ocf->walk.pool);
        ocf->walk.pool = NULL;
    }
}


/* one less: after an outage there is more to do than the next look may wait */

void
lines_swept_one(lines_op_conf_t *ocf)
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


static void
sweep_start(ngx_event_t *ev)
{
    ngx_uint_t          i, first;
    lines_main_conf_t  *lmcf;
    lines_op_conf_t    *ocf;
    int64_t             most;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    lmcf = ev->data;
    ocf = lmcf->operation;

    most = ocf->batch;

    first = ngx_random() % LINES_DUE_SHARDS;

    for (i = 0; i < LINES_DUE_SHARDS; i++) {
        if (lines_try_due_read(&ocf->caller, swept_shard, lmcf,
                               .shard = (first + i) % LINES_DUE_SHARDS,
                               .most = most)
            != NGX_AGAIN)
        {
            break;
        }
    }

    if (ngx_current_msec - ocf->walked >= ocf->walk_every) {
        ocf->walked = ngx_current_msec;
        lines_walk(lmcf);
    }

    /* jitter: the workers of a fleet do not look all at once */

    ngx_add_timer(ev,
                  ocf->sweep - ocf->sweep / 8
                  + ngx_random() % (ocf->sweep / 4 + 1));
}


static ngx_int_t
swept_shard(void *data, lines_due_read_reply_t *reply)
{
    lines_main_conf_t *lmcf = data;

    ngx_uint_t  i;

    if (reply == NULL || ngx_exiting) {
        return NGX_OK;
    }

    for (i = 0; i + 1 < reply->members.n; i += 2) {
        if (reply->members.elts[i].len) {
            sweep_member(lmcf, &reply->members.elts[i]);
        }
    }

    return NGX_OK;
}


static void
sweep_member(lines_main_conf_t *lmcf, ngx_str_t *member)
{
    u_char           *space;
    ngx_str_t         tenant, id;
    lines_op_t       *op;
    lines_op_conf_t  *ocf;

    ocf = lmcf->operation;

    space = ngx_strlchr(member->data, member->data + member->len, ' ');

    if (space == NULL) {
        return;
    }

    if (ocf->sweeping >= ocf->batch) {
        ocf->backlog = 1;
        return;
    }

    tenant.data = member->data;
    tenant.len = space - member->data;

    id.data = space + 1;
    id.len = member->data + member->len - id.data;

    if (lines_op_find(ocf, &tenant, &id)) {
        return;
    }

    op = lines_op_obtain(lmcf, &tenant, &id, 0, LINES_WANT_CANCEL);
    if (op == NULL) {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ocf->sweeper.log, 0, "lines sweep: %V",
                   member);

    op->swept = 1;
    ocf->sweeping++;
}
