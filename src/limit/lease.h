
/*
 * The buckets that a node knows, in lines_zone, for all of its workers: how far
 * it is ahead of Redis with each (limit/ledger.h), and what it goes on by while
 * Redis is away (fail=local).
 *
 * One worker of the node at a time settles what waits, 64 shards of buckets, and
 * says each second that the node is there; if it dies the next one goes on with
 * it.  A shard of which a bucket has nearly used up its share is settled at
 * once, by the worker that used it.
 *
 * Rates of tenants and plans lie with the tenants, and nobody waits for them:
 * those of plans each worker reads each second; a tenant's, and which plan it
 * has, are looked up as its buckets are used, each minute, each second where
 * they refuse somebody or Redis is asked.  What changes is told to all nodes, as
 * a revoked key is, and looked up at once.
 *
 * Where the zone has no room for another bucket the least used that owes
 * nothing is forgotten; where there is none, Redis is asked for each request,
 * and goes by the rate that it knows of the bucket, or by the configuration's:
 * nobody waits for a tenant's.  If Redis cannot be asked, either, one is
 * forgotten that owes, as if the node had been killed: what comes is counted.
 */

#ifndef _LINES_LIMIT_LEASE_H_INCLUDED_
#define _LINES_LIMIT_LEASE_H_INCLUDED_


#include "limit/limit.h"


void *lines_lease_init(ngx_slab_pool_t *shpool);

ngx_int_t lines_lease_init_process(ngx_cycle_t *cycle,
    lines_main_conf_t *lmcf);
void lines_lease_exit_process(lines_main_conf_t *lmcf);

/*
 * Of the channel of revocations: a tenant whose rate or plan is another by now,
 * or LINES_RATES_PLANS, where rates of plans are.  NULL: whatever may have been
 * missed.
 */
void lines_lease_told(ngx_str_t *message);

/*
 * A token, if this node may take it by itself; gcra says what becomes of the
 * request, rate by which rate.  NGX_DECLINED: Redis is to be asked, as
 * sync=each has it each time.
 */
ngx_int_t lines_lease_take(lines_limit_t *limit, ngx_str_t *key,
    ngx_str_t *tenant, lines_rate_t *rate, lines_gcra_t *gcra);

/* asks Redis for a token, as lines_try_limit_settle(), ... */
ngx_int_t lines_lease_ask(lines_caller_t *caller, lines_limit_t *limit,
    ngx_str_t *key, lines_limit_settle_pt done, void *data);

/* ... and remembers what it said; asked: when.  NGX_ERROR: there is no good
   reply */
ngx_int_t lines_lease_answered(lines_limit_t *limit, ngx_str_t *key,
    ngx_msec_t asked, lines_limit_settle_reply_t *reply, lines_rate_t *rate,
    lines_gcra_t *gcra);

/* ... or nobody waits for what it says any more */
void lines_lease_unasked(ngx_str_t *key);

/* a token that was had by one of the above was not used */
void lines_lease_give(lines_limit_t *limit, ngx_str_t *key);

/* without Redis: this node's part of the bucket, at the last known rate; owed:
   flag, Redis surely has not counted it, and is to hear of it later */
void lines_lease_local(lines_limit_t *limit, ngx_str_t *key, ngx_uint_t owed,
    lines_rate_t *rate, lines_gcra_t *gcra);

/* the token that the above took was not used */
void lines_lease_local_give(ngx_str_t *key);


typedef struct {
    ngx_uint_t  ahead;      /* let through, and not acknowledged by Redis */
    ngx_uint_t  buckets;    /* known */
    ngx_uint_t  nodes;      /* that share them; 0: this one has no share */
} lines_lease_status_t;

void lines_lease_status(lines_lease_status_t *status);


#endif /* _LINES_LIMIT_LEASE_H_INCLUDED_ */
