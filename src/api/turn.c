
#include "api/turn.h"
#include "http/answer.h"
#include "http/steps.h"


/* of a tenant that has any; allocated with its name behind it */

struct lines_turns_s {
    ngx_str_node_t  node;
    ngx_queue_t     queue;      /* of tenants to be served */
    ngx_queue_t     waiting;    /* lines_turn_t */
    ngx_uint_t      users;      /* turns that point here */
    ngx_uint_t      running;
    ngx_uint_t      primary;    /* whose turns these are, as well */
    size_t          held;
    unsigned        queued:1;
};


static void turn_next(ngx_event_t *ev);


/* of this worker */

static struct {
    ngx_rbtree_t       tree;
    ngx_rbtree_node_t  sentinel;
    ngx_queue_t        tenants;    /* who wait, and may have more */
    ngx_queue_t        heavy;      /* turns that wait for memory */
    ngx_uint_t         running;
    ngx_uint_t         primaries[LINES_PRIMARIES];  /* ... of each */
    size_t             held;
    ngx_event_t        next;
} keeper = {
    .tree = { &keeper.sentinel, &keeper.sentinel,
              ngx_str_rbtree_insert_value },
    .tenants = { &keeper.tenants, &keeper.tenants },
    .heavy = { &keeper.heavy, &keeper.heavy },
    .next = { .handler = turn_next }
};


static lines_turns_t *
turn_tenant(ngx_str_t *tenant)
{
    uint32_t        hash;
    lines_turns_t  *turns;

    keeper.next.log = ngx_cycle->log;

    hash = ngx_crc32_short(tenant->data, tenant->len);

    turns = (lines_turns_t *) ngx_str_rbtree_lookup(&keeper.tree, tenant,
                                                    hash);
    if (turns) {
        return turns;
    }

    turns = ngx_calloc(sizeof(lines_turns_t) + tenant->len, ngx_cycle->log);
    if (turns == NULL) {
        return NULL;
    }

    ngx_queue_init(&turns->waiting);

    turns->node.node.key = hash;
    turns->node.str.len = tenant->len;
    turns->node.str.data = (u_char *) (turns + 1);
    ngx_memcpy(turns->node.str.data, tenant->data, tenant->len);

    ngx_rbtree_insert(&keeper.tree, &turns->node.node);

    return turns;
}


static void
turn_cleanup(void *data)
{
    lines_turn_t *turn = data;

    lines_turns_t  *turns;

    lines_turn_end(turn);
    lines_turn_release(turn);

    turns = turn->turns;

    /* who waits has it as its tenant as well */

    if (--turns->users == 0) {
        ngx_rbtree_delete(&keeper.tree, &turns->node.node);
        ngx_free(turns);
    }
}


static void
turn_late(ngx_event_t *ev)
{
    lines_ctx_t         *ctx;
    lines_turn_t        *turn;
    ngx_http_request_t  *r;

    turn = ev->data;
    ctx = turn->ctx;
    r = ctx->request;

    if (turn->late) {
        lines_turn_end(turn);
        lines_resume(r, ctx, turn->late(r, ctx));
        return;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "lines: a list of \"%V\" had to wait for others for too "
                  "long", &turn->turns->node.str);

    lines_turn_end(turn);

    lines_resume(r, ctx, lines_unavailable(r, ctx, 1));
}


lines_turn_t *
lines_turn_create(lines_ctx_t *ctx, ngx_str_t *tenant, lines_step_pt run)
{
    lines_turn_t        *turn;
    lines_turns_t       *turns;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(ctx->request->pool, sizeof(lines_turn_t));
    turns = cln ? turn_tenant(tenant) : NULL;

    if (turns == NULL) {
        return NULL;
    }

    turn = cln->data;
    cln->handler = turn_cleanup;

    ngx_memzero(turn, sizeof(lines_turn_t));

    turn->ctx = ctx;
    turn->run = run;
    turn->turns = turns;
    turns->users++;

    turn->timer.handler = turn_late;
    turn->timer.data = turn;
    turn->timer.log = ctx->request->connection->log;

    /* by an error, too: its client may take its time to read that */

    ctx->on_answer = lines_turn_end;
    ctx->on_answer_data = turn;

    return turn;
}


/* the tenant queues where it may be served */

static void
turn_settle(lines_turns_t *turns)
{
    ngx_uint_t  ready;

    ready = !ngx_queue_empty(&turns->waiting)
            && turns->running < LINES_TENANT_TURNS;

    if (ready && !turns->queued) {
        ngx_queue_insert_tail(&keeper.tenants, &turns->queue);
        turns->queued = 1;

    } else if (!ready && turns->queued) {
        ngx_queue_remove(&turns->queue);
        turns->queued = 0;
    }

    if (!ngx_queue_empty(&keeper.tenants) && keeper.running < LINES_TURNS) {
        ngx_post_event(&keeper.next, &ngx_posted_events);
    }
}


/* who is served may be freed by what follows: never from here */

ngx_int_t
lines_turn_take(lines_turn_t *turn)
{
    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, turn->timer.log, 0,
                   "lines turn: waits, %ui run, %ui of the tenant",
                   keeper.running, turn->turns->running);

    turn->waiting = 1;
    ngx_queue_insert_tail(&turn->turns->waiting, &turn->queue);

    if (turn->turns->running == 0) {
        turn->turns->primary = lines_redis_primary(turn->ctx->caller.redis,
                                                   &turn->turns->node.str);
    }

    ngx_add_timer(&turn->timer, LINES_TURN_WAIT);

    turn_settle(turn->turns);

    return NGX_AGAIN;
}


/* a primary that hangs leaves turns for tenants of the others, and so do
   several: none has more than is left */

static lines_turns_t *
turn_whose(void)
{
    ngx_queue_t    *q;
    lines_turns_t  *turns;

    if (keeper.running == LINES_TURNS) {
        return NULL;
    }

    for (q = ngx_queue_head(&keeper.tenants);
         q != ngx_queue_sentinel(&keeper.tenants);
         q = ngx_queue_next(q))
    {
        turns = ngx_queue_data(q, lines_turns_t, queue);

        if (turns->primary == 0
            || keeper.primaries[turns->primary] < LINES_TURNS - keeper.running)
        {
            return turns;
        }
    }

    return NULL;
}


static ngx_uint_t
turn_fits(lines_turn_t *turn)
{
    size_t  left;

    left = keeper.held < LINES_HELD ? LINES_HELD - keeper.held : 0;

    return turn->turns->held + LINES_HELD_TURN
           <= left / (turn->held ? LINES_LEFT_MORE : LINES_LEFT_FIRST);
}


static void
turn_count(lines_turns_t *turns, ssize_t size)
{
    turns->held += size;
    keeper.held += size;

    if (size < 0 && !ngx_queue_empty(&keeper.heavy)) {
        ngx_post_event(&keeper.next, &ngx_posted_events);
    }
}


void
lines_turn_end(void *data)
{
    lines_turn_t *turn = data;

    if (turn->running) {
        turn->turns->running--;
        keeper.primaries[turn->turns->primary]--;
        keeper.running--;

        turn_count(turn->turns, -LINES_HELD_TURN);

    } else if (turn->waiting) {
        ngx_queue_remove(&turn->queue);

        /* unless it is the timer that ends the wait */

        if (turn->timer.timer_set) {
            ngx_del_timer(&turn->timer);
        }

    } else {
        return;
    }

    turn->waiting = 0;
    turn->running = 0;

    turn_settle(turn->turns);
}


void
lines_turn_hold(lines_turn_t *turn, size_t size)
{
    turn->held += size;
    turn_count(turn->turns, size);
}


void
lines_turn_release(lines_turn_t *turn)
{
    turn_count(turn->turns, - (ssize_t) turn->held);
    turn->held = 0;
}


static void
turn_next(ngx_event_t *ev)
{
    ngx_queue_t    *q, *next;
    lines_step_pt   step;
    lines_turn_t   *turn;
    lines_turns_t  *turns;

    /* what fits by now waits as all others do, but no longer than it would */

    for (q = ngx_queue_head(&keeper.heavy);
         q != ngx_queue_sentinel(&keeper.heavy);
         q = next)
    {
        next = ngx_queue_next(q);
        turn = ngx_queue_data(q, lines_turn_t, queue);

        if (turn_fits(turn)) {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&turn->turns->waiting, q);
            turn_settle(turn->turns);
        }
    }

    while ((turns = turn_whose())) {
        ngx_queue_remove(&turns->queue);
        turns->queued = 0;

        q = ngx_queue_head(&turns->waiting);
        turn = ngx_queue_data(q, lines_turn_t, queue);

        ngx_queue_remove(q);

        step = NULL;

        if (turn_fits(turn)) {
            step = turn->run;
            turn->running = 1;
            turns->running++;
            keeper.primaries[turns->primary]++;
            keeper.running++;

            /* what it may bring is counted from now on, and what it brought
               besides */

            turn_count(turns, LINES_HELD_TURN);

        } else if (turn->held && turn->send) {
            step = turn->send;

        } else {
            ngx_log_debug2(NGX_LOG_DEBUG_HTTP, turn->timer.log, 0,
                           "lines turn: waits, %uz bytes are held, %uz of "
                           "the tenant", keeper.held, turns->held);

            ngx_queue_insert_tail(&keeper.heavy, q);
        }

        turn_settle(turns);

        if (step) {
            turn->waiting = 0;
            ngx_del_timer(&turn->timer);
            lines_resume(turn->ctx->request, turn->ctx,
                         step(turn->ctx->request, turn->ctx));
        }
    }
}
