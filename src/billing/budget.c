
#include "billing/billing.h"
#include "http/metrics.h"
#include "store/calls.h"


#define LINES_BUDGET_PAUSE  20       /* ms between two trips of a worker, when
                                        it is used up or Redis is away, */
#define LINES_BUDGET_LOOK   200      /* and at most */
#define LINES_BUDGET_TOLD   10000    /* ms between two lines in the log */
#define LINES_BUDGET_BURST  250000   /* µs whose calls may be sent at once: in a
                                        second no more than Stripe's limit */


/* of the worker, which asks for all that wait at once, and keeps no tokens */

static struct {
    lines_caller_t   caller;
    ngx_queue_t      queue;      /* of carriers, by rank; NULL: none yet */
    ngx_event_t      timer;      /* until the next trip */
    ngx_uint_t       asked;      /* by the trip that is under way */
    ngx_uint_t       refused;    /* calls, */
    ngx_msec_t       told;       /* since that was logged */
} budget;


static void budget_ask(ngx_event_t *ev);
static ngx_int_t budget_told(void *data, lines_budget_take_reply_t *reply);


ngx_int_t
lines_budget_wait(lines_carrier_t *carrier, lines_budget_rank_e rank,
    ngx_msec_t time, lines_wait_pt handler, void *data)
{
    lines_main_conf_t  *lmcf = carrier->lmcf;

    if (lmcf->billing->interval == 0) {
        return NGX_OK;
    }

    if (budget.queue.next == NULL) {
        lines_caller_init(&budget.caller, lmcf->redis, NULL, ngx_cycle->log);
        ngx_queue_init(&budget.queue);

        budget.timer.handler = budget_ask;
        budget.timer.data = lmcf->billing;
        budget.timer.log = ngx_cycle->log;
        budget.told = ngx_current_msec - LINES_BUDGET_TOLD;
    }

    lines_carrier_queue(carrier, &budget.queue, rank, time, handler, data);

    /* behind one for whom there was none there is none, either */

    if (ngx_queue_head(&budget.queue) == &carrier->queue
        || !budget.timer.timer_set)
    {
        budget_ask(&budget.timer);
    }

    return NGX_AGAIN;
}


static void
budget_ask(ngx_event_t *ev)
{
    ngx_int_t              rc;
    ngx_uint_t             n[LINES_BUDGET_RANKS] = { 0 };
    ngx_queue_t           *q;
    lines_billing_conf_t  *bcf = ev->data;

    if (budget.asked || ngx_queue_empty(&budget.queue)) {
        return;
    }

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    for (q = ngx_queue_head(&budget.queue);
         q != &budget.queue;
         q = ngx_queue_next(q))
    {
        n[lines_carrier_queued(q)->rank]++;
        budget.asked++;
    }

    rc = lines_try_budget_take(&budget.caller, budget_told, ev,
                               .interval = bcf->interval,
                               .size = ngx_max(LINES_BUDGET_BURST
                                               / bcf->interval, 2),
                               .first = n[LINES_BUDGET_FIRST],
                               .again = n[LINES_BUDGET_AGAIN],
                               .new = n[LINES_BUDGET_NEW],
                               .last = n[LINES_BUDGET_LAST]);

    if (rc != NGX_AGAIN) {
        (void) budget_told(ev, NULL);
    }
}


static ngx_int_t
budget_told(void *data, lines_budget_take_reply_t *reply)
{
    int64_t           granted, left, ms;
    lines_carrier_t  *carrier;

    granted = reply ? reply->granted : 0;
    ms = reply ? reply->ms : 0;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "lines budget: %L of %ui calls to billing, more in %L ms",
                   granted, budget.asked, ms);

    /* what was taken for one that is gone by now is the next one's */

    for (left = granted; left && !ngx_queue_empty(&budget.queue); left--) {
        carrier = lines_carrier_queued(ngx_queue_head(&budget.queue));

        if (ngx_current_msec - carrier->start >= LINES_BUDGET_PAUSE) {
            lines_metrics_inc(budget_waits);
        }

        lines_carrier_turn(carrier);
    }

    left = budget.asked - granted;
    budget.asked = 0;

    if (left == 0) {
        budget_ask(data);

    } else if (!budget.timer.timer_set) {
        ngx_add_timer(&budget.timer, ngx_min(ngx_max(ms, LINES_BUDGET_PAUSE),
                                             LINES_BUDGET_LOOK));
    }

    return NGX_OK;
}


void
lines_budget_refused(void)
{
    lines_metrics_inc(budget_waits);
    lines_metrics_inc(budget_refused);
    budget.refused++;

    if (ngx_current_msec - budget.told >= LINES_BUDGET_TOLD) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "lines: calls to billing that were not sent: %ui, as "
                      "\"rate=\" of \"lines_billing\" allows no more, or Redis "
                      "cannot be asked", budget.refused);

        budget.refused = 0;
        budget.told = ngx_current_msec;
    }
}


void
lines_budget_exit_process(void)
{
    if (budget.timer.timer_set) {
        ngx_del_timer(&budget.timer);
    }

    if (budget.queue.next) {
        lines_caller_detach(&budget.caller);
    }
}
