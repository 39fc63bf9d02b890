
#include "limit/ledger.h"


#define us(ms)                   ((double) (ms) * 1000)

#define since(now, then)         ((ngx_msec_int_t) ((now) - (then)))

#define bucket_ahead(bucket)     ((bucket)->uses + (bucket)->sent)

#define LEDGER_EPSILON           1e-6       /* of a token */
#define LEDGER_NODES             0x3fffff   /* a bucket's alone has no more */


void
lines_ledger_init(lines_ledger_t *ledger)
{
    ngx_uint_t  i;

    ngx_memzero(ledger, sizeof(lines_ledger_t));

    for (i = 0; i < LINES_SHARDS; i++) {
        ngx_queue_init(&ledger->shards[i].open);
        ngx_queue_init(&ledger->shards[i].ready);
        ngx_queue_init(&ledger->shards[i].sent);
    }
}


void
lines_ledger_joined(lines_ledger_t *ledger, ngx_msec_t asked, ngx_msec_t now,
    ngx_uint_t known, ngx_uint_t nodes)
{
    lines_share_t  *share;

    share = &ledger->share;

    if (share->nodes == 0 || !known) {
        share->since = now;
    }

    /* where some were forgotten they come back, too, in a while: who is alone
       again before that is one of as many as before */

    if (since(now, share->since) < LINES_SHARE_JOINS
        || since(asked, share->asked) >= LINES_SHARE_HELD)
    {
        nodes = ngx_max(nodes, share->nodes);
    }

    share->asked = asked;
    share->nodes = ngx_max(nodes, 1);
}


ngx_uint_t
lines_ledger_share(lines_ledger_t *ledger, lines_rate_t *rate, ngx_msec_t now)
{
    lines_share_t  *share;

    share = &ledger->share;

    if (share->nodes == 0
        || since(now, share->asked) >= LINES_SHARE_HELD
        || since(now, share->since) < LINES_SHARE_JOINS)
    {
        return 0;
    }

    return ngx_min(rate->burst / LINES_LEASE_SHARE,
                   rate->burst / (2 * share->nodes));
}


void
lines_bucket_init(lines_bucket_t *bucket, ngx_uint_t shard, lines_rate_t *rate)
{
    bucket->shard = shard;
    bucket->rate = *rate;
}


/* the node's part, while it goes on alone */

static lines_rate_t
bucket_part(lines_bucket_t *bucket)
{
    return (lines_rate_t) {
        .interval = bucket->rate.interval * (double) bucket->alone,
        .burst = ngx_max(bucket->rate.burst / bucket->alone, 1)
    };
}


/* as much is gone by the other rate, and a debt stays one, but none comes of a
   burst that is smaller */

static double
bucket_by(double tat, lines_rate_t *was, lines_rate_t *rate, ngx_msec_t now)
{
    double  used, debt;

    used = (tat - us(now)) / was->interval;
    debt = ngx_max(used - (double) was->burst, 0);
    used = ngx_min(used, (double) rate->burst + debt);

    return used > 0 ? us(now) + used * rate->interval : 0;
}


void
lines_bucket_rate(lines_bucket_t *bucket, lines_rate_t *rate, int64_t version,
    ngx_msec_t now)
{
    double        as_of;
    lines_rate_t  was, is;

    if (version < bucket->version) {
        return;
    }

    bucket->version = version;

    if (rate->interval == bucket->rate.interval
        && rate->burst == bucket->rate.burst)
    {
        return;
    }

    as_of = bucket->open - (double) bucket->uses * bucket->rate.interval;
    bucket->open = as_of + (double) bucket->uses * rate->interval;

    was = bucket->alone ? bucket_part(bucket) : bucket->rate;
    bucket->rate = *rate;
    is = bucket->alone ? bucket_part(bucket) : bucket->rate;

    bucket->tat = bucket_by(bucket->tat, &was, &is, now);
    bucket->local = bucket_by(bucket->local, &was, &is, now);
}


static void
bucket_move(lines_ledger_t *ledger, lines_bucket_t *bucket,
    lines_bucket_e state)
{
    lines_shard_t  *shard;

    shard = &ledger->shards[bucket->shard];

    if (bucket->state != LINES_BUCKET_IDLE) {
        ngx_queue_remove(&bucket->queue);
    }

    bucket->state = state;

    if (state == LINES_BUCKET_OPEN) {
        ngx_queue_insert_tail(&shard->open, &bucket->queue);

    } else if (state == LINES_BUCKET_READY) {
        ngx_queue_insert_tail(&shard->ready, &bucket->queue);
    }
}


void
lines_ledger_ready(lines_ledger_t *ledger, lines_bucket_t *bucket,
    ngx_msec_t now)
{
    if (bucket->state == LINES_BUCKET_IDLE) {
        bucket->first = now;
    }

    if (bucket->state < LINES_BUCKET_READY) {
        bucket_move(ledger, bucket, LINES_BUCKET_READY);
    }
}


/* so many are open from now on: where there were none before it is by now */

static void
bucket_use(lines_ledger_t *ledger, lines_bucket_t *bucket, ngx_int_t uses,
    ngx_msec_t now)
{
    if (bucket->uses == 0) {
        bucket->open = us(now);

        /* what was given back meanwhile has its place among the open ones */

        if (bucket->state != LINES_BUCKET_OPEN) {
            bucket->first = now;
        }

        if (bucket->state == LINES_BUCKET_IDLE) {
            bucket_move(ledger, bucket, LINES_BUCKET_OPEN);
        }

    } else if (uses > 0 && bucket->open < us(now)) {
        bucket->open = us(now);
    }

    bucket->uses += uses;
    bucket->open += (double) uses * bucket->rate.interval;
    ledger->ahead += uses;
}


/* a worker that died left some for ever: they count while others are new */

static ngx_uint_t
bucket_asks(lines_bucket_t *bucket, ngx_msec_t now)
{
    return since(now, bucket->asked) < LINES_SETTLE_AGAIN ? bucket->asks : 0;
}


ngx_uint_t
lines_ledger_ask(lines_ledger_t *ledger, lines_bucket_t *bucket, ngx_msec_t now)
{
    bucket->asks = bucket_asks(bucket, now) + 1;
    bucket->asked = now;

    return bucket->state == LINES_BUCKET_SENT
           ? ledger->shards[bucket->shard].number : 0;
}


void
lines_bucket_asked(lines_bucket_t *bucket)
{
    if (bucket->asks) {
        bucket->asks--;
    }
}


double
lines_bucket_alone(lines_bucket_t *bucket, ngx_msec_t now)
{
    double  owed;

    if (!bucket->alone) {
        return 0;
    }

    owed = bucket->local - ngx_max(bucket->tat, us(now));

    return owed > 0 ? owed / bucket_part(bucket).interval : 0;
}


/* but for a rounding error */

static ngx_int_t
bucket_whole(double tokens)
{
    return (ngx_int_t) (tokens + 1 - LEDGER_EPSILON);
}


ngx_int_t
lines_bucket_owes(lines_bucket_t *bucket, ngx_msec_t now)
{
    return bucket_ahead(bucket)
           + bucket_whole(lines_bucket_alone(bucket, now));
}


/* what was let through alone is settled as if it was ahead; what is no whole
   token is as of so long ago */

static void
bucket_owe(lines_ledger_t *ledger, lines_bucket_t *bucket, ngx_msec_t now)
{
    double     owed;
    ngx_int_t  n;

    owed = lines_bucket_alone(bucket, now);
    n = bucket_whole(owed);

    if (n) {
        bucket_use(ledger, bucket, n, now);
        bucket->open -= ((double) n - owed) * bucket->rate.interval;
        bucket->tat = bucket->local;
    }
}


ngx_int_t
lines_ledger_admit(lines_ledger_t *ledger, lines_bucket_t *bucket,
    ngx_msec_t now, lines_gcra_t *gcra, ngx_uint_t *hurry)
{
    double      tat;
    ngx_int_t   share;
    ngx_uint_t  stale;

    *hurry = 0;

    /* it went on by itself, of which Redis knows nothing */

    if (bucket->alone) {
        return NGX_DECLINED;
    }

    tat = bucket->tat;
    share = lines_ledger_share(ledger, &bucket->rate, now);
    stale = !bucket->known || since(now, bucket->told) >= LINES_SETTLE_LOOK;

    lines_gcra_take(&bucket->rate, &tat, us(now), 1, gcra);

    if (!gcra->granted) {

        if (stale && share == 0) {
            return NGX_DECLINED;
        }

        /* the rate may be another one by now */

        if (stale) {
            lines_ledger_ready(ledger, bucket, now);
        }

        return NGX_OK;
    }

    if (bucket_ahead(bucket) >= share
        || gcra->remaining < bucket_asks(bucket, now))
    {
        return NGX_DECLINED;
    }

    bucket->tat = tat;
    bucket_use(ledger, bucket, 1, now);

    if (2 * bucket_ahead(bucket) >= share) {
        lines_ledger_ready(ledger, bucket, now);
        *hurry = (4 * bucket_ahead(bucket) >= 3 * share);
    }

    return NGX_OK;
}


void
lines_ledger_give(lines_ledger_t *ledger, lines_bucket_t *bucket,
    ngx_msec_t now)
{
    lines_gcra_give(&bucket->rate, &bucket->tat, us(now), 1);
    bucket_use(ledger, bucket, -1, now);
}


static void
bucket_part_with(lines_ledger_t *ledger, lines_bucket_t *bucket,
    ngx_msec_t now)
{
    double        used, own, left;
    lines_rate_t  part;

    bucket->alone = ngx_min(ngx_max(ledger->share.nodes, 1), LEDGER_NODES);
    part = bucket_part(bucket);

    used = (bucket->tat - us(now)) / bucket->rate.interval;
    used = ngx_max(used, 0);

    /* what this node has let through and Redis does not know of is missing
       here alone, all else in each part */

    own = (double) ngx_max(bucket_ahead(bucket), 0);
    own = ngx_min(own, used);

    left = ((double) bucket->rate.burst - (used - own)) / bucket->alone - own;

    /* of a burst below their number each has one, while all is there */

    if (used < LEDGER_EPSILON || left > (double) part.burst) {
        left = (double) part.burst;
    }

    bucket->tat = us(now) + ((double) part.burst - left) * part.interval;
    bucket->local = bucket->tat;
}


void
lines_ledger_alone(lines_ledger_t *ledger, lines_bucket_t *bucket,
    ngx_msec_t now, ngx_uint_t owed, lines_gcra_t *gcra)
{
    lines_rate_t  part;

    if (!bucket->alone) {
        bucket_part_with(ledger, bucket, now);
    }

    part = bucket_part(bucket);

    lines_gcra_take(&part, &bucket->local, us(now), 1, gcra);

    if (gcra->granted && !owed) {
        bucket->tat = ngx_max(bucket->tat, us(now)) + part.interval;
    }

    /* Redis hears of it, though nobody comes any more */

    lines_ledger_ready(ledger, bucket, now);
}


void
lines_ledger_alone_give(lines_ledger_t *ledger, lines_bucket_t *bucket,
    ngx_msec_t now)
{
    lines_rate_t  part;

    /* Redis is back, and it is owed by now */

    if (!bucket->alone) {
        lines_ledger_give(ledger, bucket, now);
        return;
    }

    part = bucket_part(bucket);

    lines_gcra_give(&part, &bucket->local, us(now), 1);
}


ngx_uint_t
lines_bucket_settled(lines_bucket_t *bucket)
{
    return bucket->uses == 0 && bucket->state == LINES_BUCKET_IDLE;
}


void
lines_ledger_forget(lines_ledger_t *ledger, lines_bucket_t *bucket)
{
    if (bucket->state != LINES_BUCKET_IDLE) {
        ngx_queue_remove(&bucket->queue);
    }

    ledger->ahead -= bucket_ahead(bucket);
}


ngx_uint_t
lines_shard_settled(lines_shard_t *shard)
{
    return ngx_queue_empty(&shard->open)
           && ngx_queue_empty(&shard->ready)
           && ngx_queue_empty(&shard->sent);
}


static ngx_uint_t
shard_waits(lines_shard_t *shard, ngx_msec_t now, ngx_msec_t latest)
{
    lines_bucket_t  *bucket;

    if (ngx_queue_empty(&shard->open)) {
        return 0;
    }

    bucket = ngx_queue_data(ngx_queue_head(&shard->open), lines_bucket_t,
                            queue);

    return since(now, bucket->first) >= (ngx_msec_int_t) latest;
}


/* flag: a settlement is under way, and it is too early to send it again */

static ngx_uint_t
shard_busy(lines_shard_t *shard, ngx_msec_t now)
{
    return !ngx_queue_empty(&shard->sent)
           && since(now, shard->asked) < (shard->busy ? LINES_SETTLE_AGAIN
                                                      : LINES_SETTLE_RETRY);
}


ngx_uint_t
lines_ledger_due(lines_shard_t *shard, ngx_msec_t now)
{
    return !shard_busy(shard, now)
           && (!ngx_queue_empty(&shard->sent)
               || !ngx_queue_empty(&shard->ready)
               || shard_waits(shard, now, LINES_SETTLE_LATEST));
}


static ngx_uint_t
shard_batch(lines_shard_t *shard, lines_bucket_t *batch[])
{
    ngx_uint_t    n;
    ngx_queue_t  *q;

    n = 0;

    for (q = ngx_queue_head(&shard->sent);
         q != ngx_queue_sentinel(&shard->sent);
         q = ngx_queue_next(q))
    {
        batch[n++] = ngx_queue_data(q, lines_bucket_t, queue);
    }

    return n;
}


ngx_uint_t
lines_ledger_send(lines_ledger_t *ledger, lines_shard_t *shard,
    ngx_msec_t now, ngx_uint_t all, lines_bucket_t *batch[])
{
    ngx_uint_t       n;
    ngx_msec_t       wait;
    ngx_queue_t     *q;
    lines_bucket_t  *bucket;

    if (shard_busy(shard, now)) {
        shard->more = 1;
        return 0;
    }

    if (!all && !lines_ledger_due(shard, now)) {
        return 0;
    }

    if (ngx_queue_empty(&shard->sent)) {

        wait = all ? 0 : shard_waits(shard, now, LINES_SETTLE_LATEST)
               ? LINES_SETTLE_WITH : LINES_SETTLE_LATEST;

        for (n = 0; n < LINES_BATCH; n++) {

            if (!ngx_queue_empty(&shard->ready)) {
                q = ngx_queue_head(&shard->ready);

            } else if (shard_waits(shard, now, wait)) {
                q = ngx_queue_head(&shard->open);

            } else {
                break;
            }

            bucket = ngx_queue_data(q, lines_bucket_t, queue);

            bucket_owe(ledger, bucket, now);

            ngx_queue_remove(q);
            ngx_queue_insert_tail(&shard->sent, q);

            bucket->state = LINES_BUCKET_SENT;
            bucket->sent = bucket->uses;
            bucket->as_of = bucket->open
                            - (double) bucket->uses * bucket->rate.interval;
            bucket->uses = 0;
        }

        if (n == 0) {
            return 0;
        }

        shard->number++;
        shard->more = (n == LINES_BATCH);
    }

    shard->busy = 1;
    shard->asked = now;

    return shard_batch(shard, batch);
}


int64_t
lines_bucket_age(lines_bucket_t *bucket, ngx_msec_t now)
{
    double  age;

    age = us(now) - bucket->as_of;

    return (bucket->sent > 0 && age > 0) ? (int64_t) age : 0;
}


void
lines_ledger_unheard(lines_shard_t *shard, ngx_uint_t number)
{
    if (shard->number == number) {
        shard->busy = 0;
    }
}


void
lines_ledger_again(lines_shard_t *shard, ngx_msec_t now)
{
    shard->busy = 0;
    shard->asked = now - LINES_SETTLE_RETRY;
}


ngx_uint_t
lines_ledger_heard(lines_ledger_t *ledger, lines_shard_t *shard,
    ngx_uint_t number, ngx_msec_t now, lines_bucket_t *batch[])
{
    ngx_uint_t       i, n;
    ngx_int_t        share;
    lines_bucket_t  *bucket;

    if (shard->number != number) {
        return 0;
    }

    n = shard_batch(shard, batch);

    for (i = 0; i < n; i++) {
        bucket = batch[i];
        share = lines_ledger_share(ledger, &bucket->rate, now);

        bucket_owe(ledger, bucket, now);

        ledger->ahead -= bucket->sent;
        bucket->sent = 0;

        bucket_move(ledger, bucket,
                    bucket->uses == 0 ? LINES_BUCKET_IDLE
                    : 2 * bucket->uses >= share ? LINES_BUCKET_READY
                    : LINES_BUCKET_OPEN);
    }

    shard->busy = 0;

    return n;
}


void
lines_ledger_told(lines_ledger_t *ledger, lines_bucket_t *bucket, double full,
    ngx_uint_t settled, ngx_msec_t asked, ngx_msec_t now)
{
    double     tat;
    ngx_int_t  ahead;

    bucket_owe(ledger, bucket, now);

    ahead = bucket->uses;

    if (settled < ledger->shards[bucket->shard].number) {
        ahead += bucket->sent;
    }

    tat = us(now) + full + (double) ahead * bucket->rate.interval;

    if (!bucket->known
        || bucket->alone
        || since(asked, bucket->told) > 0)
    {
        bucket->tat = tat;

    } else {
        bucket->tat = ngx_max(bucket->tat, tat);
    }

    bucket->known = 1;
    bucket->alone = 0;
    bucket->told = now;
}
