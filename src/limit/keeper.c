
/*
 * In the background of each worker: leases are renewed before they end and
 * given back when nobody uses them; the rates of plans, which the admin API
 * may change at any time, are read each second.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/metrics.h"
#include "limit/lease.h"
#include "limit/limit.h"


#define LINES_KEEPER_INTERVAL  250
#define LINES_KEEPER_PLANS     1000
#define LINES_KEEPER_RETURNS   32
#define LINES_KEEPER_RENEWALS  256


/* a renewal on its way */

typedef struct {
    ngx_uint_t  busy;
    ngx_str_t   key;
    u_char      data[LINES_LEASE_KEY_MAX];
} lines_renewal_t;


static void keeper_handler(ngx_event_t *ev);
static void keeper_return(void);
static ngx_int_t keeper_plans(void *data, lines_plan_rates_reply_t *reply);
static ngx_int_t keeper_plan(ngx_pool_t *pool, lines_limit_t *limit,
    ngx_str_t *field, ngx_str_t *value);
static ngx_int_t renewal_handler(void *data, lines_gcra_reply_t *reply);


static struct {
    lines_main_conf_t  *lmcf;
    ngx_log_t          *log;
    ngx_event_t         timer;
    lines_caller_t      caller;
    ngx_msec_t          asked;      /* for the plans' rates */
    ngx_uint_t          asking;     /* flag */
    ngx_pool_t         *plans;      /* or NULL */
    lines_renewal_t     renewals[LINES_KEEPER_RENEWALS];
} keeper;


ngx_int_t
lines_limit_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    ngx_uint_t       i;
    lines_limit_t  **limit;

    if (lmcf->limits == NULL) {
        return NGX_OK;
    }

    limit = lmcf->limits->elts;

    for (i = 0; i < lmcf->limits->nelts; i++) {
        lines_metrics_set_limit(i, &limit[i]->id);
    }

    keeper.lmcf = lmcf;
    keeper.log = cycle->log;

    lines_caller_init(&keeper.caller, lmcf->redis, NULL, cycle->log);

    keeper.timer.handler = keeper_handler;
    keeper.timer.data = &keeper;
    keeper.timer.log = cycle->log;
    keeper.timer.cancelable = 1;

    ngx_add_timer(&keeper.timer, LINES_KEEPER_INTERVAL);

    return NGX_OK;
}


void
lines_limit_exit_process(lines_main_conf_t *lmcf)
{
    if (lmcf->limits == NULL) {
        return;
    }

    lines_caller_detach(&keeper.caller);

    if (keeper.timer.timer_set) {
        ngx_del_timer(&keeper.timer);
    }

    if (keeper.plans) {
        ngx_destroy_pool(keeper.plans);
        keeper.plans = NULL;
    }
}


static void
keeper_handler(ngx_event_t *ev)
{
    lines_redis_status_t  status;

    if (ngx_exiting || keeper.lmcf->redis == NULL) {
        return;
    }

    lines_redis_status(keeper.lmcf->redis, &status);

    if (status.connected) {
        keeper_return();
    }

    if (status.connected
        && !keeper.asking
        && ngx_current_msec - keeper.asked >= LINES_KEEPER_PLANS
        && lines_try_plan_rates(&keeper.caller, keeper_plans, NULL)
           == NGX_AGAIN)
    {
        keeper.asking = 1;
        keeper.asked = ngx_current_msec;
    }

    ngx_add_timer(ev, LINES_KEEPER_INTERVAL);
}


static void
keeper_return(void)
{
    ngx_str_t   key;
    ngx_uint_t  i, n;
    static lines_lease_return_t returns[LINES_KEEPER_RETURNS];

    n = lines_lease_unused(keeper.lmcf, returns, LINES_KEEPER_RETURNS);

    for (i = 0; i < n; i++) {
        key.data = returns[i].key;
        key.len = returns[i].len;

        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, keeper.log, 0,
                       "lines lease: %ui tokens of \"%V\" go back",
                       returns[i].tokens, &key);

        lines_metrics_add(lease_returned, returns[i].tokens);

        lines_limit_give(&key, returns[i].tokens, returns[i].interval);
    }
}


/*
 * Replaces what was known: fields are "LIMIT PLAN", values "INTERVAL BURST
 * TEXT".
 */

static ngx_int_t
keeper_plans(void *data, lines_plan_rates_reply_t *reply)
{
    ngx_str_t       *pair;
    ngx_uint_t       i, n;
    ngx_pool_t      *pool;
    lines_limit_t  **limit;

    keeper.asking = 0;

    pool = (reply && reply->pairs.n) ? ngx_create_pool(4096, keeper.log)
                                     : NULL;

    if (reply == NULL || (reply->pairs.n && pool == NULL)) {
        keeper.asked -= LINES_KEEPER_PLANS;
        return NGX_OK;
    }

    limit = keeper.lmcf->limits->elts;

    for (i = 0; i < keeper.lmcf->limits->nelts; i++) {
        limit[i]->plans = NULL;

        for (n = 0; n + 1 < reply->pairs.n; n += 2) {
            pair = &reply->pairs.elts[n];

            if (keeper_plan(pool, limit[i], &pair[0], &pair[1]) != NGX_OK) {
                limit[i]->plans = NULL;
                break;
            }
        }
    }

    if (keeper.plans) {
        ngx_destroy_pool(keeper.plans);
    }

    keeper.plans = pool;

    return NGX_OK;
}


static ngx_int_t
keeper_plan(ngx_pool_t *pool, lines_limit_t *limit, ngx_str_t *field,
    ngx_str_t *value)
{
    u_char     *p, *last, *sp;
    ngx_str_t  *plan;
    ngx_uint_t  i;

    last = value->data + value->len;
    sp = ngx_strlchr(value->data, last, ' ');

    if (sp == NULL
        || field->len <= limit->id.len
        || field->data[limit->id.len] != ' '
        || ngx_strncmp(field->data, limit->id.data, limit->id.len) != 0)
    {
        return NGX_OK;
    }

    p = ngx_strlchr(sp + 1, last, ' ');

    if (limit->plans == NULL) {
        limit->plans = ngx_array_create(pool, 12, sizeof(ngx_str_t));
    }

    plan = limit->plans ? ngx_array_push_n(limit->plans, 3) : NULL;
    if (plan == NULL) {
        return NGX_ERROR;
    }

    plan[0].data = field->data + limit->id.len + 1;
    plan[0].len = field->len - limit->id.len - 1;
    plan[1].data = value->data;
    plan[1].len = sp - value->data;
    plan[2].data = sp + 1;
    plan[2].len = (p ? p : last) - (sp + 1);

    for (i = 0; i < 3; i++) {
        plan[i].data = ngx_pstrdup(pool, &plan[i]);
        if (plan[i].data == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
lines_limit_renew(lines_main_conf_t *lmcf, lines_limit_t *limit,
    ngx_str_t *key, ngx_uint_t tokens)
{
    ngx_uint_t        i, surplus;
    lines_rate_t      rate;
    lines_gcra_t      gcra;
    lines_renewal_t  *renewal;

    for (i = 0; i < LINES_KEEPER_RENEWALS; i++) {
        renewal = &keeper.renewals[i];

        if (renewal->busy) {
            continue;
        }

        renewal->key.data = renewal->data;
        renewal->key.len = key->len;
        ngx_memcpy(renewal->data, key->data, key->len);

        if (lines_limit_send(&keeper.caller, limit, key, 0, tokens,
                             renewal_handler, renewal)
            == NGX_AGAIN)
        {
            renewal->busy = 1;
            lines_metrics_inc(lease_renewals);
            return;
        }

        break;
    }

    (void) lines_lease_answered(lmcf, key, NULL, &rate, &gcra, &surplus);
}


static ngx_int_t
renewal_handler(void *data, lines_gcra_reply_t *reply)
{
    lines_renewal_t *renewal = data;

    ngx_uint_t    surplus;
    lines_rate_t  rate;
    lines_gcra_t  gcra;

    renewal->busy = 0;

    if (lines_lease_answered(keeper.lmcf, &renewal->key, reply, &rate, &gcra,
                             &surplus)
        == NGX_OK)
    {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, keeper.log, 0,
                       "lines lease: \"%V\" renewed by %ui, %ui remain",
                       &renewal->key, gcra.granted, gcra.remaining);
    }

    if (surplus) {
        lines_limit_give(&renewal->key, surplus, rate.interval);
    }

    return NGX_OK;
}


void
lines_limit_give(ngx_str_t *key, ngx_uint_t tokens, double interval)
{
    u_char  us[64];

    (void) lines_forget_gcra_return(&keeper.caller, .bucket_key = *key,
          .tokens = tokens, .interval.data = us,
          .interval.len = ngx_snprintf(us, sizeof(us), "%.6f", interval) - us);
}


ngx_int_t
lines_limit_send(lines_caller_t *caller, lines_limit_t *limit, ngx_str_t *key,
    ngx_uint_t need, ngx_uint_t extra, lines_gcra_pt done, void *data)
{
    u_char             *p, *last;
    lines_gcra_args_t   args;

    args = (lines_gcra_args_t) {
        .bucket_key = *key,
        .need = need,
        .extra = extra,
        .rate = limit->interval,
        .size = limit->rate.burst,
        .limit = limit->id
    };

    last = key->data + key->len;
    p = (limit->kind & LINES_LIMIT_IDENTITY) ? ngx_strlchr(key->data, last, '{')
                                             : NULL;

    /* the hash tag of the bucket's key: who waits for tokens is gone */

    if (p) {
        args.tenant.data = ++p;
        p = ngx_strlchr(p, last, '}');
        args.tenant.len = p ? p - args.tenant.data : 0;

        if (limit->plans) {
            args.plans.n = limit->plans->nelts;
            args.plans.elts = limit->plans->elts;
        }
    }

    return lines_send_gcra(caller, LINES_CALL_TRY, &args, done, data);
}
