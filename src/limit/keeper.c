
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
#include "store/scripts.h"


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
static void keeper_ask_plans(lines_main_conf_t *lmcf);
static void keeper_plans(void *data, redisReply *reply);
static ngx_int_t keeper_plan(ngx_pool_t *pool, lines_limit_t *limit,
    redisReply *field, redisReply *value);
static void renewal_handler(void *data, redisReply *reply);
static void give_handler(void *data, redisReply *reply);


static ngx_event_t       keeper;
static ngx_connection_t  keeper_connection;
static ngx_msec_t        keeper_asked;
static ngx_uint_t        keeper_asking;
static ngx_uint_t        keeper_known;
static ngx_pool_t       *keeper_pool;
static lines_renewal_t
    renewals[LINES_KEEPER_RENEWALS];
static ngx_uint_t  renewal_next;


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
    ngx_connection_t     *c;
    lines_redis_status_t  status;
    lines_main_conf_t    *lmcf;

    c = ev->data;
    lmcf = c->data;

    if (ngx_exiting || lmcf->redis == NULL) {
        return;
    }

    lines_redis_status(lmcf->redis, &status);

    if (status.connected) {
        keeper_return(lmcf);
        keeper_ask_plans(lmcf);
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

        (void) lines_limit_give(lmcf, &key, returns[i].tokens,
                                returns[i].interval);
    }
}


static void
keeper_ask_plans(lines_main_conf_t *lmcf)
{
    ngx_str_t  argv[2];

    if (keeper_asking
        || (keeper_known
            && ngx_current_msec - keeper_asked < LINES_KEEPER_PLANS))
    {
        return;
    }

    ngx_str_set(&argv[0], "HGETALL");
    ngx_str_set(&argv[1], LINES_LIMIT_PLANS);

    if (lines_redis_command(lmcf->redis, 2, argv, keeper_plans, lmcf) != NULL)
    {
        keeper_asking = 1;
        keeper_asked = ngx_current_msec;
    }
}


/*
 * Replaces what was known: fields are "LIMIT PLAN", values "INTERVAL BURST
 * TEXT".
 */

static void
keeper_plans(void *data, redisReply *reply)
{
    lines_main_conf_t *lmcf = data;

    ngx_uint_t       i, n;
    ngx_pool_t      *pool;
    lines_limit_t  **limit;

    keeper_asking = 0;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        return;
    }

    keeper_known = 1;

    pool = NULL;

    if (reply->elements) {
        pool = ngx_create_pool(4096, keeper.log);
        if (pool == NULL) {
            return;
        }
    }

    limit = lmcf->limits->elts;

    for (i = 0; i < lmcf->limits->nelts; i++) {
        limit[i]->plans = NULL;

        for (n = 0; n + 1 < reply->elements; n += 2) {
            if (keeper_plan(pool, limit[i], reply->element[n],
                            reply->element[n + 1])
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
}


static ngx_int_t
keeper_plan(ngx_pool_t *pool, lines_limit_t *limit, redisReply *field,
    redisReply *value)
{
    u_char              *p, *last, *sp;
    ngx_str_t            s;
    lines_limit_plan_t  *plan;

    if (field->type != REDIS_REPLY_STRING
        || value->type != REDIS_REPLY_STRING
        || (size_t) field->len <= limit->id.len
        || field->str[limit->id.len] != ' '
        || ngx_strncmp(field->str, limit->id.data, limit->id.len) != 0)
    {
        return NGX_OK;
    }

    s.len = value->len;
    s.data = ngx_pnalloc(pool, value->len);
    if (s.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(s.data, value->str, value->len);

    last = s.data + s.len;

    sp = ngx_strlchr(s.data, last, ' ');
    if (sp == NULL) {
        return NGX_OK;
    }

    p = ngx_strlchr(sp + 1, last, ' ');
    if (p == NULL) {
        p = last;
    }

    if (limit->plans == NULL) {
        limit->plans = ngx_array_create(pool, 4, sizeof(lines_limit_plan_t));
        if (limit->plans == NULL) {
            return NGX_ERROR;
        }
    }

    plan = ngx_array_push(limit->plans);
    if (plan == NULL) {
        return NGX_ERROR;
    }

    plan->interval.data = s.data;
    plan->interval.len = sp - s.data;
    plan->burst.data = sp + 1;
    plan->burst.len = p - (sp + 1);

    plan->plan.len = field->len - limit->id.len - 1;
    plan->plan.data = ngx_pnalloc(pool, plan->plan.len);
    if (plan->plan.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(plan->plan.data, field->str + limit->id.len + 1,
               plan->plan.len);

    return NGX_OK;
}


void
lines_limit_renew(lines_main_conf_t *lmcf, lines_limit_t *limit,
    ngx_str_t *key, ngx_uint_t tokens)
{
    ngx_str_t        *args;
    ngx_uint_t        i, n, nkeys;
    ngx_pool_t       *pool;
    lines_renewal_t  *renewal;

    renewal = NULL;

    for (i = 0; i < LINES_KEEPER_RENEWALS; i++) {
        n = (renewal_next + i) % LINES_KEEPER_RENEWALS;

        if (!renewals[n].busy) {
            renewal = &renewals[n];
            renewal_next = n + 1;
            break;
        }
    }

    pool = renewal ? ngx_create_pool(1024, keeper.log) : NULL;

    if (pool == NULL) {
        lines_lease_unanswered(lmcf, key);
        return;
    }

    n = lines_limit_args(pool, limit, key, 0, tokens, &args, &nkeys);

    renewal->lmcf = lmcf;
    renewal->key.data = renewal->data;
    renewal->key.len = key->len;
    ngx_memcpy(renewal->data, key->data, key->len);

    if (n
        && lines_redis_eval(lmcf->redis, &lines_script_gcra, nkeys, n, args,
                            renewal_handler, renewal)
           != NULL)
    {
        renewal->busy = 1;
        lines_metrics_inc(lease_renewals);

    } else {
        lines_lease_unanswered(lmcf, key);
    }

    ngx_destroy_pool(pool);
}


static void
renewal_handler(void *data, redisReply *reply)
{
    lines_renewal_t *renewal = data;

    ngx_uint_t    surplus;
    lines_rate_t  rate;
    lines_gcra_t  gcra;

    renewal->busy = 0;

    if (lines_limit_parse(reply, &rate, &gcra) != NGX_OK) {
        lines_lease_unanswered(renewal->lmcf, &renewal->key);
        return;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, keeper.log, 0,
                   "lines lease: \"%V\" renewed by %ui, %ui remain",
                   &renewal->key, gcra.granted, gcra.remaining);

    surplus = lines_lease_renewed(renewal->lmcf, &renewal->key, &rate, &gcra);
    if (surplus) {
        (void) lines_limit_give(renewal->lmcf, &renewal->key, surplus,
                                rate.interval);
    }
}


ngx_int_t
lines_limit_give(lines_main_conf_t *lmcf, ngx_str_t *key, ngx_uint_t tokens,
    double interval)
{
    u_char     number[NGX_INT_T_LEN], us[64];
    ngx_str_t  args[3];

    args[0] = *key;

    args[1].data = number;
    args[1].len = ngx_sprintf(number, "%ui", tokens) - number;

    args[2].data = us;
    args[2].len = ngx_snprintf(us, sizeof(us), "%.6f", interval) - us;

    if (lines_redis_eval(lmcf->redis, &lines_script_gcra_give, 1, 3, args,
                         give_handler, NULL)
        == NULL)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
give_handler(void *data, redisReply *reply)
{
    /* lost tokens come back by themselves, at the limit's rate */
}
