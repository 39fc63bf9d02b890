
#include "http/text.h"
#include "http/zone.h"
#include "limit/rates.h"


#define LINES_RATES_FRESH   60000    /* ms for which a rate is good, */
#define LINES_RATES_DECIDE  1000     /* where it decides something */
#define LINES_RATES_LATE    5000     /* an answer may be */
#define LINES_RATES_POLL    1000     /* plans are read */
#define LINES_RATES_POLLS   3        /* after they were others */
#define LINES_RATES_TICK    250
#define LINES_RATES_LOOKS   256
#define LINES_RATES_TELLS   64       /* buckets of a tenant: the others are
                                        looked up as they are used */


/* a look at the rates of a tenant and its plan */

typedef struct {
    ngx_uint_t            busy;
    lines_limit_t        *limit;
    ngx_str_t             key;
    u_char                data[LINES_LEASE_KEY_MAX];
} lines_rates_look_t;


/* a plan's own rate of a limit */

typedef struct {
    uint32_t              plan;     /* its name's hash */
    lines_rate_t          rate;
} lines_plan_rate_t;


/* what each worker does in the background */

static struct {
    lines_main_conf_t    *lmcf;
    ngx_event_t           timer;
    lines_caller_t        caller;     /* of the store that has the tenants */
    ngx_msec_t            asked;      /* for the plans' rates */
    ngx_uint_t            asking;     /* flag */
    ngx_uint_t            again;      /* flag: they were told to be others */
    int64_t               changed;    /* when they were others last; as all
                                         versions of rates, Unix time, ms, by
                                         the clock of the store of tenants */
    ngx_uint_t            polls;      /* that count as such yet */
    uint32_t              hash;       /* of them all */
    ngx_pool_t           *plans;      /* or NULL */
    lines_rates_look_t    looks[LINES_RATES_LOOKS];
} rates;


static void rates_ask(void);


/* NULL: it has none of its own */

static lines_rate_t *
rates_of_plan(lines_limit_t *limit, uint32_t plan)
{
    ngx_uint_t          i;
    lines_plan_rate_t  *plans;

    plans = limit->plans ? limit->plans->elts : NULL;

    for (i = 0; plans && i < limit->plans->nelts; i++) {
        if (plans[i].plan == plan) {
            return &plans[i].rate;
        }
    }

    return NULL;
}


static void
rates_set(lines_lease_node_t *node, lines_limit_t *limit, lines_rate_t *rate,
    int64_t version)
{
    node->own = (rate != NULL);

    /*
     * What another node was told later is the latest.  What is later by more
     * than an answer may be late by came by a clock that was set back since.
     */

    if (node->bucket.version - version > LINES_RATES_LATE) {
        node->bucket.version = version;
    }

    lines_bucket_rate(&node->bucket, rate ? rate : &limit->rate, version,
                      ngx_current_msec);
}


static ngx_int_t
rates_looked(void *data, lines_rate_look_reply_t *reply)
{
    lines_rates_look_t *look = data;

    ngx_str_t            rest, interval, burst;
    lines_rate_t         rate;
    lines_lease_node_t  *node;

    look->busy = 0;

    node = lines_keeper_lock(NULL, &look->key);

    if (node && reply == NULL) {
        node->stale = 1;

    } else if (node) {
        rest = reply->rate;
        interval = lines_word(&rest);
        burst = lines_word(&rest);

        node->its = (lines_keeper_parse(&interval, &burst, &rate) == NGX_OK);

        /* in the place of what is no rate the configuration's is */

        node->plan = (reply->rate.len == 0 && reply->plan.len)
                     ? ngx_murmur_hash2(reply->plan.data, reply->plan.len) : 0;

        rates_set(node, look->limit,
                  node->its ? &rate : rates_of_plan(look->limit, node->plan),
                  reply->now);

        node->stale = (node->bucket.version > reply->now);
    }

    lines_keeper_unlock();

    return NGX_OK;
}


/* it could not be asked: soon */

static void
rates_again(ngx_str_t *key)
{
    lines_lease_node_t  *node;

    node = lines_keeper_lock(NULL, key);

    if (node) {
        node->stale = 1;
    }

    lines_keeper_unlock();
}


void
lines_rates_look(lines_limit_t *limit, ngx_str_t *key, ngx_str_t *tenant)
{
    lines_rates_look_t  *look, *last;

    look = rates.looks;
    last = look + LINES_RATES_LOOKS;

    while (look < last && look->busy) {
        look++;
    }

    if (look == last) {
        rates_again(key);
        return;
    }

    look->limit = limit;
    look->key.len = key->len;
    look->key.data = look->data;
    ngx_memcpy(look->data, key->data, key->len);

    look->busy = (lines_try_rate_look(&rates.caller, rates_looked, look,
                                      .tenant = *tenant, .limit = limit->id)
                  == NGX_AGAIN);

    if (!look->busy) {
        rates_again(key);
    }
}


void
lines_rates_apply(lines_lease_node_t *node, lines_limit_t *limit)
{
    if (node->looks && !node->its && node->bucket.version < rates.changed) {
        rates_set(node, limit, rates_of_plan(limit, node->plan),
                  rates.changed);
    }
}


ngx_uint_t
lines_rates_due(lines_lease_node_t *node, ngx_str_t *tenant,
    ngx_uint_t decides)
{
    ngx_queue_t         *tenants;
    lines_lease_area_t  *area;

    area = lines_keeper_area();

    if (node->looks) {
        decides |= node->stale
                   || (ngx_msec_int_t) (area->missed - node->looked) >= 0;

        if (lines_zone_since(node->looked)
            < (decides ? LINES_RATES_DECIDE : LINES_RATES_FRESH))
        {
            return 0;
        }

    } else {
        node->looks = 1;
        node->tenant = ngx_murmur_hash2(tenant->data, tenant->len);
        tenants = &area->tenants[node->tenant % LINES_LEASE_TENANTS];

        ngx_queue_insert_head(tenants, &node->tenants);
    }

    node->looked = ngx_current_msec;

    return 1;
}


/* of which limit a bucket of that tenant is: its key is "LIMIT:TENANT[:KEY]" */

static lines_limit_t *
rates_limit(lines_lease_node_t *node, ngx_str_t *tenant)
{
    size_t           len;
    u_char          *p;
    ngx_str_t       *key;
    ngx_uint_t       i;
    lines_limit_t  **limit;

    key = &node->node.str;
    limit = rates.lmcf->limits->elts;

    for (i = 0; i < rates.lmcf->limits->nelts; i++) {
        len = limit[i]->id.len + 1 + tenant->len;
        p = key->data + limit[i]->id.len;

        if (key->len >= len
            && ngx_memcmp(key->data, limit[i]->id.data, limit[i]->id.len) == 0
            && *p == ':'
            && ngx_memcmp(p + 1, tenant->data, tenant->len) == 0
            && (key->len == len || key->data[len] == ':'))
        {
            return limit[i];
        }
    }

    return NULL;
}


/* each worker that hears of it asks: who does it for all may have died */

static void
rates_told_tenant(ngx_str_t *tenant)
{
    uint32_t             hash;
    ngx_str_t            keys[LINES_RATES_TELLS];
    ngx_uint_t           i, n;
    ngx_queue_t         *q, *tenants;
    lines_limit_t       *limits[LINES_RATES_TELLS];
    lines_lease_node_t  *node;

    static u_char        text[LINES_RATES_TELLS][LINES_LEASE_KEY_MAX];

    n = 0;
    hash = ngx_murmur_hash2(tenant->data, tenant->len);
    tenants = &lines_keeper_area()->tenants[hash % LINES_LEASE_TENANTS];

    lines_keeper_lock_zone();

    for (q = ngx_queue_head(tenants); q != tenants; q = ngx_queue_next(q)) {
        node = ngx_queue_data(q, lines_lease_node_t, tenants);

        if (node->tenant != hash) {
            continue;
        }

        node->stale = 1;

        if (n < LINES_RATES_TELLS) {
            limits[n] = rates_limit(node, tenant);

            if (limits[n]) {
                keys[n].len = node->node.str.len;
                keys[n].data = text[n];
                ngx_memcpy(text[n], node->data, keys[n].len);
                n++;
            }
        }
    }

    lines_keeper_unlock();

    for (i = 0; i < n; i++) {
        lines_rates_look(limits[i], &keys[i], tenant);
    }
}


void
lines_rates_told(ngx_str_t *message)
{
    if (rates.lmcf == NULL) {
        return;
    }

    if (message == NULL || lines_is(message, LINES_RATES_PLANS)) {
        rates.again = 1;
        rates_ask();
    }

    if (message == NULL) {
        lines_keeper_area()->missed = ngx_current_msec;

    } else if (message->len > 2 && message->data[1] == ':') {
        rates_told_tenant(message);
    }
}


static ngx_int_t
rates_add(ngx_pool_t *pool, lines_limit_t *limit, ngx_str_t *field,
    ngx_str_t *value)
{
    size_t                len;
    ngx_str_t             rest, interval, burst;
    lines_rate_t          rate;
    lines_plan_rate_t    *plan;

    len = limit->id.len + 1;
    rest = *value;
    interval = lines_word(&rest);
    burst = lines_word(&rest);

    if (field->len <= len
        || field->data[len - 1] != ' '
        || ngx_strncmp(field->data, limit->id.data, len - 1) != 0
        || lines_keeper_parse(&interval, &burst, &rate) != NGX_OK)
    {
        return NGX_OK;
    }

    if (limit->plans == NULL) {
        limit->plans = ngx_array_create(pool, 4, sizeof(lines_plan_rate_t));
    }

    plan = limit->plans ? ngx_array_push(limit->plans) : NULL;
    if (plan == NULL) {
        return NGX_ERROR;
    }

    plan->plan = ngx_murmur_hash2(field->data + len, field->len - len);
    plan->rate = rate;

    return NGX_OK;
}


/*
 * Replaces what was known: fields are "LIMIT PLAN", values "INTERVAL BURST
 * TEXT".
 */

static ngx_int_t
rates_asked(void *data, lines_plan_rates_reply_t *reply)
{
    uint32_t         hash;
    ngx_str_t       *pair;
    ngx_uint_t       i, n;
    ngx_pool_t      *pool;
    lines_limit_t  **limit;

    rates.asking = 0;

    pool = (reply && reply->pairs.n) ? ngx_create_pool(4096, rates.timer.log)
                                     : NULL;

    if (reply == NULL || (reply->pairs.n && pool == NULL)) {
        rates.asked -= LINES_RATES_POLL;
        return NGX_OK;
    }

    limit = rates.lmcf->limits->elts;

    for (i = 0; i < rates.lmcf->limits->nelts; i++) {
        limit[i]->plans = NULL;

        for (n = 0; n + 1 < reply->pairs.n; n += 2) {
            pair = &reply->pairs.elts[n];

            if (rates_add(pool, limit[i], &pair[0], &pair[1]) != NGX_OK) {
                limit[i]->plans = NULL;
                break;
            }
        }
    }

    if (rates.plans) {
        ngx_destroy_pool(rates.plans);
    }

    rates.plans = pool;

    /*
     * Buckets get them as they are used.  Another worker that knew the older
     * ones yet may have written these meanwhile: so do the next polls.
     */

    hash = 0;

    for (n = 0; n < reply->pairs.n; n++) {
        pair = &reply->pairs.elts[n];
        hash = hash * 31 + ngx_murmur_hash2(pair->data, pair->len);
    }

    if (hash != rates.hash) {
        rates.hash = hash;
        rates.polls = LINES_RATES_POLLS;
    }

    if (rates.polls) {
        rates.polls--;
        rates.changed = reply->now;
    }

    if (rates.again) {
        rates_ask();
    }

    return NGX_OK;
}


static void
rates_ask(void)
{
    if (!rates.asking
        && lines_try_plan_rates(&rates.caller, rates_asked, NULL)
           == NGX_AGAIN)
    {
        rates.asking = 1;
        rates.again = 0;
        rates.asked = ngx_current_msec;
    }
}


static void
rates_handler(ngx_event_t *ev)
{
    lines_redis_status_t  status;

    if (ngx_exiting || rates.lmcf->redis == NULL) {
        return;
    }

    lines_redis_status(rates.lmcf->redis, &status);

    if (status.serves
        && ngx_current_msec - rates.asked >= LINES_RATES_POLL)
    {
        rates_ask();
    }

    ngx_add_timer(ev, LINES_RATES_TICK);
}


void
lines_rates_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    rates.lmcf = lmcf;

    lines_caller_init(&rates.caller, lmcf->redis, NULL, cycle->log);

    rates.timer.handler = rates_handler;
    rates.timer.data = &rates;
    rates.timer.log = cycle->log;
    rates.timer.cancelable = 1;

    ngx_add_timer(&rates.timer, 1);
}


void
lines_rates_exit_process(void)
{
    if (rates.lmcf == NULL) {
        return;
    }

    lines_caller_detach(&rates.caller);

    if (rates.timer.timer_set) {
        ngx_del_timer(&rates.timer);
    }

    if (rates.plans) {
        ngx_destroy_pool(rates.plans);
        rates.plans = NULL;
    }
}
