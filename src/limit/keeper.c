
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
    lines_main_conf_t  *lmcf;
    ngx_uint_t          busy;
    ngx_str_t           key;
    u_char              data[LINES_LEASE_KEY_MAX];
} lines_renewal_t;


static void keeper_handler(ngx_event_t *ev);
static void keeper_return(lines_main_conf_t *lmcf);
static ngx_int_t keeper_plans(void *data, lines_plan_rates_reply_t *reply);
static ngx_int_t keeper_plan(ngx_pool_t *pool, lines_limit_t *limit,
    ngx_str_t *field, ngx_str_t *value);
static ngx_int_t renewal_handler(void *data, lines_gcra_reply_t *reply);


static ngx_event_t       keeper;
static lines_caller_t    keeper_caller;
static ngx_connection_t  keeper_connection;
static ngx_msec_t        keeper_asked;
static ngx_uint_t        keeper_asking;
static ngx_pool_t       *keeper_pool;
static lines_renewal_t   renewals[LINES_KEEPER_RENEWALS];


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

    lines_caller_init(&keeper_caller, lmcf->redis, NULL, cycle->log);

    /* the log of a timer is looked for in a connection */

    keeper_connection.fd = (ngx_socket_t) -1;
    keeper_connection.data = lmcf;

    keeper.handler = keeper_handler;
    keeper.data = &keeper_connection;
    keeper.log = cycle->log;
    keeper.cancelable = 1;

    ngx_add_timer(&keeper, LINES_KEEPER_INTERVAL);

    return NGX_OK;
}


void
lines_limit_exit_process(lines_main_conf_t *lmcf)
{
    if (lmcf->limits == NULL) {
        return;
    }

    lines_caller_detach(&keeper_caller);

    if (keeper.timer_set) {
        ngx_del_timer(&keeper);
    }

    if (keeper_pool) {
        ngx_destroy_pool(keeper_pool);
        keeper_pool = NULL;
    }
}


static void
keeper_handler(ngx_event_t *ev)
{
    ngx_connection_t         *c;
    lines_main_conf_t        *lmcf;
    lines_redis_status_t      status;

    c = ev->data;
    lmcf = c->data;

    if (ngx_exiting || lmcf->redis == NULL) {
        return;
    }

    lines_redis_status(lmcf->redis, &status);

    if (status.connected) {
        keeper_return(lmcf);
    }

    if (status.connected
        && !keeper_asking
        && ngx_current_msec - keeper_asked >= LINES_KEEPER_PLANS
        && lines_try_plan_rates(&keeper_caller, keeper_plans, lmcf)
           == NGX_AGAIN)
    {
        keeper_asking = 1;
        keeper_asked = ngx_current_msec;
    }

    ngx_add_timer(ev, LINES_KEEPER_INTERVAL);
}


static void
keeper_return(lines_main_conf_t *lmcf)
{
    ngx_str_t   key;
    ngx_uint_t  i, n;
    static lines_lease_return_t returns[LINES_KEEPER_RETURNS];

    n = lines_lease_unused(lmcf, returns, LINES_KEEPER_RETURNS);

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
    lines_main_conf_t *lmcf = data;

    ngx_uint_t       i, n;
    ngx_pool_t      *pool;
    lines_limit_t  **limit;

    keeper_asking = 0;

    pool = (reply && reply->pairs.n) ? ngx_create_pool(4096, keeper.log)
                                     : NULL;

    if (reply == NULL || (reply->pairs.n && pool == NULL)) {
        keeper_asked -= LINES_KEEPER_PLANS;
        return NGX_OK;
    }

    limit = lmcf->limits->elts;

    for (i = 0; i < lmcf->limits->nelts; i++) {
        limit[i]->plans = NULL;

        for (n = 0; n + 1 < reply->pairs.n; n += 2) {
            if (keeper_plan(pool, limit[i], &reply->pairs.elts[n],
                            &reply->pairs.elts[n + 1])
                != NGX_OK)
            {
                limit[i]->plans = NULL;
                break;
            }
        }
    }

    if (keeper_pool) {
        ngx_destroy_pool(keeper_pool);
    }

    keeper_pool = pool;

    return NGX_OK;
}


static ngx_int_t
keeper_plan(ngx_pool_t *pool, lines_limit_t *limit, ngx_str_t *field,
    ngx_str_t *value)
{
    u_char     *p, *last, *sp;
    ngx_str_t  *plan;
    ngx_uint_t  i;

    if (field->len <= limit->id.len
        || field->data[limit->id.len] != ' '
        || ngx_strncmp(field->data, limit->id.data, limit->id.len) != 0)
    {
        return NGX_OK;
    }

    last = value->data + value->len;

    sp = ngx_strlchr(value->data, last, ' ');
    if (sp == NULL) {
        return NGX_OK;
    }

    p = ngx_strlchr(sp + 1, last, ' ');

    if (limit->plans == NULL) {
        limit->plans = ngx_array_create(pool, 12, sizeof(ngx_str_t));
        if (limit->plans == NULL) {
            return NGX_ERROR;
        }
    }

    plan = ngx_array_push_n(limit->plans, 3);
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
    ngx_uint_t          i;
    lines_renewal_t    *renewal;
    lines_gcra_args_t   args;

    for (i = 0; i < LINES_KEEPER_RENEWALS && renewals[i].busy; i++) {
        /* void */
    }

    if (i < LINES_KEEPER_RENEWALS) {
        renewal = &renewals[i];

        renewal->lmcf = lmcf;
        renewal->key.data = renewal->data;
        renewal->key.len = key->len;
        ngx_memcpy(renewal->data, key->data, key->len);

        lines_limit_args(limit, key, 0, tokens, &args);

        if (lines_send_gcra(&keeper_caller, LINES_CALL_TRY, &args,
                            renewal_handler, renewal)
            == NGX_AGAIN)
        {
            renewal->busy = 1;
            lines_metrics_inc(lease_renewals);
            return;
        }
    }

    (void) lines_lease_answered(lmcf, key, NULL, NULL, 1);
}


static ngx_int_t
renewal_handler(void *data, lines_gcra_reply_t *reply)
{
    lines_renewal_t *renewal = data;

    ngx_uint_t    surplus;
    lines_rate_t  rate;
    lines_gcra_t  gcra;

    renewal->busy = 0;

    if (lines_limit_parse(reply, &rate, &gcra) != NGX_OK) {
        (void) lines_lease_answered(renewal->lmcf, &renewal->key, NULL, NULL,
                                    1);
        return NGX_OK;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, keeper.log, 0,
                   "lines lease: \"%V\" renewed by %ui, %ui remain",
                   &renewal->key, gcra.granted, gcra.remaining);

    surplus = lines_lease_answered(renewal->lmcf, &renewal->key, &rate, &gcra,
                                   1);
    if (surplus) {
        lines_limit_give(&renewal->key, surplus, rate.interval);
    }

    return NGX_OK;
}


void
lines_limit_give(ngx_str_t *key, ngx_uint_t tokens, double interval)
{
    u_char  us[64];

    (void) lines_forget_gcra_return(&keeper_caller, .bucket_key = *key,
          .tokens = tokens, .interval.data = us,
          .interval.len = ngx_snprintf(us, sizeof(us), "%.6f", interval) - us);
}


void
lines_limit_args(lines_limit_t *limit, ngx_str_t *key, ngx_uint_t need,
    ngx_uint_t extra, lines_gcra_args_t *args)
{
    u_char  *p, *last;

    ngx_memzero(args, sizeof(lines_gcra_args_t));

    args->bucket_key = *key;
    args->need = need;
    args->extra = extra;
    args->rate = limit->interval;
    args->size = limit->rate.burst;
    args->limit = limit->id;

    if (!(limit->kind & LINES_LIMIT_IDENTITY)) {
        return;
    }

    /* the hash tag of the bucket's key: who waits for tokens is gone */

    last = key->data + key->len;
    p = ngx_strlchr(key->data, last, '{');

    if (p) {
        args->tenant.data = ++p;
        p = ngx_strlchr(p, last, '}');
        args->tenant.len = p ? p - args->tenant.data : 0;
    }

    if (limit->plans) {
        args->plans.n = limit->plans->nelts;
        args->plans.elts = limit->plans->elts;
    }
}


ngx_int_t
lines_limit_parse(lines_gcra_reply_t *reply, lines_rate_t *rate,
    lines_gcra_t *result)
{
    double  interval;

    if (reply == NULL
        || reply->granted < 0
        || reply->remaining < 0
        || reply->retry < 0
        || reply->burst <= 0
        || reply->burst > LINES_BURST_MAX
        || reply->interval.len == 0)
    {
        return NGX_ERROR;
    }

    interval = strtod((char *) reply->interval.data, NULL);

    /* what is multiplied here must be a time */

    if (!(interval > 0 && interval <= LINES_INTERVAL_MAX)) {
        return NGX_ERROR;
    }

    result->granted = reply->granted;
    result->remaining = reply->remaining;
    result->retry = reply->retry;
    rate->interval = interval;
    rate->burst = reply->burst;

    return NGX_OK;
}
