
/*
 * How far a node may be ahead of Redis, and what it still owes there: the
 * arithmetic of sync=lease, without I/O, memory or a clock of its own.
 *
 * Nodes share each bucket.  A node lets requests through at once, as long as
 * by what it knows there are tokens, and as long as no more than its share is
 * not acknowledged: floor(burst / LINES_LEASE_SHARE), or less, so that the
 * shares of all nodes together are at most half of the burst.  What was let
 * through is settled later: charged in full, as of when it was.
 *
 * Hence, over any span of time, the fleet lets through no more than
 *
 *     burst + rate * span + burst / 2
 *
 * and in the long run no more than the rate.  For let true be the level of
 * a bucket if all were settled.  Of those who let something through after
 * Redis told them last, look at the one who was told last: by that there was
 * a token left, and since then each other node has done no more than its
 * share, as none of them was told anything.  So true is never below minus the
 * sum of shares.  t/sim/limits.c looks whether it is so.
 *
 * Who lets nothing through ahead asks Redis for each token: a node whose share
 * is below 1, one that has just joined, as older shares may still be larger,
 * and one that has not heard of Redis for LINES_SHARE_HELD.
 *
 * Who cannot ask, either, goes on alone (fail=local): with its part of the rate
 * and of what was there, by the last known number of nodes.  What it let through
 * by that and what has not come back since is owed like the rest.
 *
 * Buckets are in shards, each of which is one slot of Redis.  A shard settles
 * a batch of them at a time, with a number: it is sent until it is
 * acknowledged, by whichever worker, and counts once.
 *
 * Instants are ms of the node's clock, but for doubles, which are µs of it.
 */

#ifndef _LINES_LIMIT_LEDGER_H_INCLUDED_
#define _LINES_LIMIT_LEDGER_H_INCLUDED_


#include "limit/gcra.h"


#define LINES_LEASE_SHARE    10

#define LINES_SHARE_HELD     5000    /* since the node asked for it */
#define LINES_SHARE_JOINS    5500    /* until older ones have lapsed */
#define LINES_SHARE_KEPT     10000   /* Redis counts a node, unheard */

#define LINES_SHARDS         64
#define LINES_BATCH          100     /* buckets */

#define LINES_SETTLE_LATEST  15000   /* since the first open use */
#define LINES_SETTLE_WITH    10000   /* along with one that is due */
#define LINES_SETTLE_AGAIN   2000    /* who sent it has died */
#define LINES_SETTLE_RETRY   250     /* there was no good reply */
#define LINES_SETTLE_LOOK    1000    /* at a bucket that was empty */


typedef struct {
    ngx_uint_t    nodes;      /* that share, so far as is known; 0: it is not */
    ngx_msec_t    asked;
    ngx_msec_t    since;      /* this one is among them */
} lines_share_t;


typedef enum {
    LINES_BUCKET_IDLE = 0,    /* in no queue: nothing to be settled */
    LINES_BUCKET_OPEN,        /* it can wait */
    LINES_BUCKET_READY,
    LINES_BUCKET_SENT
} lines_bucket_e;


typedef struct {
    ngx_queue_t   queue;      /* of its shard */
    lines_rate_t  rate;
    int64_t       version;    /* when the rate was read, Unix time, ms; 0: it is
                                 the configuration's */
    double        tat;        /* of the bucket, so far as is known; after what
                                 is below; alone: of the node's part, were
                                 nothing let through that is owed */
    double        open;       /* TAT of the open uses, were they alone */
    double        local;      /* TAT of the node's part, alone */
    double        as_of;      /* when those sent were let through */
    ngx_int_t     uses;       /* open; below 0: tokens go back */
    ngx_int_t     sent;
    ngx_msec_t    asked;      /* the last of the asks */
    ngx_msec_t    first;      /* of the open uses */
    ngx_msec_t    told;       /* by Redis */

    uint32_t      asks;       /* on their way */

    unsigned      shard:6;    /* its number */
    unsigned      state:2;    /* lines_bucket_e */
    unsigned      known:1;    /* told once */
    unsigned      alone:22;   /* it goes on by local, one of so many nodes */
} lines_bucket_t;


typedef struct {
    ngx_queue_t   open;       /* by their first use */
    ngx_queue_t   ready;
    ngx_queue_t   sent;       /* the settlement under way */
    ngx_uint_t    number;     /* its number, or the last one's */
    ngx_msec_t    asked;      /* when it was sent */
    ngx_uint_t    busy;       /* flag: somebody waits for its reply */
    ngx_uint_t    more;       /* flag: another was asked for meanwhile, or is
                                 full already */
} lines_shard_t;


typedef struct {
    lines_share_t  share;
    lines_shard_t  shards[LINES_SHARDS];
    ngx_int_t      ahead;     /* uses that are not acknowledged */
} lines_ledger_t;


void lines_ledger_init(lines_ledger_t *ledger);

/* limit_join.lua replied; asked: when it was sent.  known, nodes: its reply */
void lines_ledger_joined(lines_ledger_t *ledger, ngx_msec_t asked,
    ngx_msec_t now, ngx_uint_t known, ngx_uint_t nodes);

/* the most that this node may be ahead at this rate, now */
ngx_uint_t lines_ledger_share(lines_ledger_t *ledger, lines_rate_t *rate,
    ngx_msec_t now);

/* a bucket that is full, so far as is known; zeroed before */
void lines_bucket_init(lines_bucket_t *bucket, ngx_uint_t shard,
    lines_rate_t *rate);

/* another rate, unless an older one: what was used stays used */
void lines_bucket_rate(lines_bucket_t *bucket, lines_rate_t *rate,
    int64_t version, ngx_msec_t now);

/*
 * One request.  NGX_OK: gcra says what becomes of it; NGX_DECLINED: Redis is to
 * be asked.  hurry: flag, the shard is to be settled now.
 */
ngx_int_t lines_ledger_admit(lines_ledger_t *ledger, lines_bucket_t *bucket,
    ngx_msec_t now, lines_gcra_t *gcra, ngx_uint_t *hurry);

/*
 * Redis is asked for a token: what is left may be taken by those that are
 * asked for, so that who comes meanwhile asks as well.  Returns the settlement
 * that the bucket's sent ones are of, or 0.
 */
ngx_uint_t lines_ledger_ask(lines_ledger_t *ledger, lines_bucket_t *bucket,
    ngx_msec_t now);

/* that was answered, or will not be */
void lines_bucket_asked(lines_bucket_t *bucket);

/* so many Redis does not know of yet; below 0: tokens go back */
ngx_int_t lines_bucket_owes(lines_bucket_t *bucket, ngx_msec_t now);

/* a token that was had, be it of Redis, was not used */
void lines_ledger_give(lines_ledger_t *ledger, lines_bucket_t *bucket,
    ngx_msec_t now);

/* without Redis: the node's part of the bucket.  owed: flag, Redis surely has
   not counted it. */
void lines_ledger_alone(lines_ledger_t *ledger, lines_bucket_t *bucket,
    ngx_msec_t now, ngx_uint_t owed, lines_gcra_t *gcra);
void lines_ledger_alone_give(lines_ledger_t *ledger, lines_bucket_t *bucket,
    ngx_msec_t now);

/* ... of it, in tokens: what is to be owed, and is not yet */
double lines_bucket_alone(lines_bucket_t *bucket, ngx_msec_t now);

/* flag: nothing of it is lost if it is forgotten */
ngx_uint_t lines_bucket_settled(lines_bucket_t *bucket);

/* its memory goes, and with it whatever it owes */
void lines_ledger_forget(lines_ledger_t *ledger, lines_bucket_t *bucket);

/* flag: the same of all its buckets */
ngx_uint_t lines_shard_settled(lines_shard_t *shard);

/* to be settled with the next ones */
void lines_ledger_ready(lines_ledger_t *ledger, lines_bucket_t *bucket,
    ngx_msec_t now);

/* flag: there is something for lines_ledger_send() */
ngx_uint_t lines_ledger_due(lines_shard_t *shard, ngx_msec_t now);

/*
 * The settlement to be sent, of up to LINES_BATCH buckets, with shard->number:
 * the next one, or the one under way, once more.  all: flag, also what can
 * wait.  0: nothing.
 */
ngx_uint_t lines_ledger_send(lines_ledger_t *ledger, lines_shard_t *shard,
    ngx_msec_t now, ngx_uint_t all, lines_bucket_t *batch[]);

/* how old those are that a bucket of the batch was sent with, µs */
int64_t lines_bucket_age(lines_bucket_t *bucket, ngx_msec_t now);

/* it could not be sent, or nothing came back: it is to be sent once more */
void lines_ledger_unheard(lines_shard_t *shard, ngx_uint_t number);

/* the same of whatever is under way, and at once */
void lines_ledger_again(lines_shard_t *shard, ngx_msec_t now);

/*
 * It was acknowledged: the buckets it was sent with, in that order, each of
 * which must be told what was replied of it; fewer, where some were forgotten
 * meanwhile: they are in no order then.  0: it was, by an earlier reply.
 */
ngx_uint_t lines_ledger_heard(lines_ledger_t *ledger, lines_shard_t *shard,
    ngx_uint_t number, ngx_msec_t now, lines_bucket_t *batch[]);

/*
 * Redis told, to who asked then, in how many µs the bucket is full; settled: the
 * latest settlement that is in this.  Twice the older word may come last: where
 * others told meanwhile the lower level counts.
 */
void lines_ledger_told(lines_ledger_t *ledger, lines_bucket_t *bucket,
    double full, ngx_uint_t settled, ngx_msec_t asked, ngx_msec_t now);


#endif /* _LINES_LIMIT_LEDGER_H_INCLUDED_ */
