
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


#include "http/conf.h"
#include "limit/gcra.h"
#include "store/calls.h"


#define LINES_LEASE_KEY_MAX  255


/* a bucket whose unused tokens go back */

typedef struct {
    ngx_uint_t  tokens;
    double      interval;
    size_t      len;
    u_char      key[LINES_LEASE_KEY_MAX];
} lines_lease_return_t;


void *lines_lease_init(ngx_slab_pool_t *shpool);

/*
 * Takes a token of the lease, if there is one: gcra says, at the last known
 * rate, so far as the node knows.  NGX_DECLINED: Redis is to be asked for one.
 * renew: tokens to ask for in the background, or 0.
 */
ngx_int_t lines_lease_take(lines_main_conf_t *lmcf, ngx_str_t *key,
    lines_rate_t *rate, lines_gcra_t *gcra, ngx_uint_t *renew);

/*
 * What gcra.lua says of a bucket is read and remembered; NGX_ERROR: there is no
 * reply, or no good one.  surplus: of a renewal, else NULL.  Its tokens become
 * the lease; so many of them may this node not hold: they go back.
 */
ngx_int_t lines_lease_answered(lines_main_conf_t *lmcf, ngx_str_t *key,
    lines_gcra_reply_t *reply, lines_rate_t *rate, lines_gcra_t *gcra,
    ngx_uint_t *surplus);

/* without Redis: the node's own bucket, at the last known rate */
void lines_lease_local(lines_main_conf_t *lmcf, ngx_str_t *key,
    lines_rate_t *rate, lines_gcra_t *gcra);

/* the token that the above took at this rate was not used */
void lines_lease_local_give(lines_main_conf_t *lmcf, ngx_str_t *key,
    lines_rate_t *rate);

/*
 * Takes what was not used out of the leases, up to n of them; one worker at a
 * time, each half second.  Returns how many.
 */
ngx_uint_t lines_lease_unused(lines_main_conf_t *lmcf,
    lines_lease_return_t *returns, ngx_uint_t n);

/* tokens held by this node, and buckets known to it */
void lines_lease_status(lines_main_conf_t *lmcf, ngx_uint_t *tokens,
    ngx_uint_t *buckets);


#endif /* _LINES_LIMIT_LEASE_H_INCLUDED_ */
