
/*
 * Leases: tokens that Redis has taken from a bucket and that this node may
 * use.  They lie in lines_zone, for all workers of the node.
 *
 * A node holds at most floor(burst / LINES_LEASE_SHARE) unused tokens of
 * a bucket, as many as the last quarter of a second used up, asks for more in
 * the background when half of them are gone, and gives back what nobody used
 * for a second.  A bucket that is asked rarely, or nearly empty, is asked for
 * each request: there a lease is no gain.  A refusal is remembered while it
 * holds, for a second at the most.
 *
 * The same entries keep what the node last knew of a bucket, with which it
 * goes on alone while Redis is away (fail=local).
 */

#ifndef _LINES_LIMIT_LEASE_H_INCLUDED_
#define _LINES_LIMIT_LEASE_H_INCLUDED_


#include "limit/limit.h"


void *lines_lease_init(ngx_slab_pool_t *shpool);

/*
 * init_process: renewing and giving back leases; the rates of plans, which the
 * admin API may change at any time, are read each second.
 */
ngx_int_t lines_lease_init_process(ngx_cycle_t *cycle,
    lines_main_conf_t *lmcf);
void lines_lease_exit_process(lines_main_conf_t *lmcf);

/* asks gcra.lua: as lines_try_gcra() */
ngx_int_t lines_lease_send(lines_caller_t *caller, lines_limit_t *limit,
    ngx_str_t *key, ngx_uint_t need, ngx_uint_t extra, lines_gcra_pt done,
    void *data);

/*
 * Takes a token of the lease, if there is one: gcra says, at the last known
 * rate, so far as the node knows.  NGX_DECLINED: Redis is to be asked for one.
 * renew: tokens to ask for in the background, or 0.
 */
ngx_int_t lines_lease_take(ngx_str_t *key, lines_rate_t *rate,
    lines_gcra_t *gcra, ngx_uint_t *renew);

/*
 * What gcra.lua says of a bucket is read and remembered; NGX_ERROR: there is no
 * reply, or no good one.  Of a renewal (a flag) the tokens granted become the
 * lease; those that this node may not hold go back.
 */
ngx_int_t lines_lease_answered(ngx_str_t *key, lines_gcra_reply_t *reply,
    lines_rate_t *rate, lines_gcra_t *gcra, ngx_uint_t renewal);

/* takes tokens ahead, in the background */
void lines_lease_renew(lines_limit_t *limit, ngx_str_t *key,
    ngx_uint_t tokens);

/*
 * Gives unused tokens back.  Nobody waits: lost ones come back by themselves,
 * at the limit's rate.
 */
void lines_lease_give(ngx_str_t *key, ngx_uint_t tokens, double interval);

/* without Redis: the node's own bucket, at the last known rate */
void lines_lease_local(ngx_str_t *key, lines_rate_t *rate,
    lines_gcra_t *gcra);

/* the token that the above took at this rate was not used */
void lines_lease_local_give(ngx_str_t *key, lines_rate_t *rate);

/* tokens held by this node, and buckets known to it */
void lines_lease_status(ngx_uint_t *tokens, ngx_uint_t *buckets);


#endif /* _LINES_LIMIT_LEASE_H_INCLUDED_ */
