
#include "tap.h"
#include "limit/ledger.h"


static lines_ledger_t  ledger;
static lines_bucket_t  bucket, *batch[LINES_BATCH];
static lines_gcra_t    gcra;
static ngx_uint_t      hurry;


/* a node that shares with so many, and a bucket */

static void
begin(ngx_uint_t nodes, ngx_uint_t burst, ngx_msec_t now)
{
    lines_rate_t  rate = { 1000000, burst };

    lines_ledger_init(&ledger);
    lines_ledger_joined(&ledger, now - 6000, now - 6000, 0, nodes);
    lines_ledger_joined(&ledger, now, now, 1, nodes);

    memset(&bucket, 0, sizeof(lines_bucket_t));
    lines_bucket_init(&bucket, 3, &rate);
}


static ngx_uint_t
admitted(ngx_uint_t n, ngx_msec_t now)
{
    ngx_uint_t  passed;

    for (passed = 0; n; n--) {
        passed += lines_ledger_admit(&ledger, &bucket, now, &gcra, &hurry)
                  == NGX_OK
                  && gcra.granted;
    }

    return passed;
}


static void
test_share(void)
{
    lines_rate_t  rate = { 1000, 100 };

    lines_ledger_init(&ledger);
    ok(lines_ledger_share(&ledger, &rate, 50) == 0, "nobody has heard of it");

    lines_ledger_joined(&ledger, 1000, 1010, 0, 1);
    ok(lines_ledger_share(&ledger, &rate, 2000) == 0, "it has just joined");

    lines_ledger_joined(&ledger, 6000, 6010, 1, 1);
    ok(lines_ledger_share(&ledger, &rate, 6600) == 10,
       "a tenth, once older shares have lapsed");
    ok(lines_ledger_share(&ledger, &rate, 11000) == 0,
       "not for longer than 5 s");

    lines_ledger_joined(&ledger, 11500, 11510, 1, 20);
    ok(lines_ledger_share(&ledger, &rate, 11600) == 2, "20 share the half");

    lines_ledger_joined(&ledger, 11600, 11610, 1, 51);
    ok(lines_ledger_share(&ledger, &rate, 11700) == 0, "51 ask each time");

    lines_ledger_joined(&ledger, 30000, 30010, 0, 2);
    ok(lines_ledger_share(&ledger, &rate, 31000) == 0,
       "who was forgotten joins anew");
    ok(ledger.share.nodes == 51, "and is one of as many as before");

    lines_ledger_joined(&ledger, 35000, 35010, 1, 2);
    ok(ledger.share.nodes == 51, "... while the others may not be back");
    lines_ledger_joined(&ledger, 36000, 36010, 1, 2);
    ok(ledger.share.nodes == 2
       && lines_ledger_share(&ledger, &rate, 36100) == 10,
       "those that are, then");
}


static void
test_admit(void)
{
    ngx_msec_t  now = 100000;

    begin(1, 100, now);

    ok(admitted(4, now) == 4 && !hurry && bucket.state == LINES_BUCKET_OPEN,
       "at once, and it can wait");
    ok(admitted(1, now) == 1 && bucket.state == LINES_BUCKET_READY && !hurry,
       "half of the share: to be settled");
    ok(admitted(3, now) == 3 && hurry, "nearly all: now");
    ok(admitted(9, now) == 2, "no more than the share");
    ok(lines_ledger_admit(&ledger, &bucket, now, &gcra, &hurry)
       == NGX_DECLINED, "then Redis is asked");

    ok(lines_ledger_send(&ledger, &ledger.shards[3], now, 0, batch) == 1
       && batch[0] == &bucket && bucket.sent == 10 && bucket.uses == 0,
       "they are sent");
    ok(admitted(5, now + 2000) == 0, "and count until that is acknowledged");
    ok(lines_bucket_age(&bucket, now + 2000) == 2000000, "with their age");

    ok(lines_ledger_send(&ledger, &ledger.shards[3], now + 100, 0, batch) == 0,
       "one waits for the reply");
    lines_ledger_unheard(&ledger.shards[3], 1);
    ok(lines_ledger_send(&ledger, &ledger.shards[3], now + 100, 0, batch) == 0,
       "without one it is sent again, not at once");
    ok(lines_ledger_send(&ledger, &ledger.shards[3], now + 300, 0, batch) == 1
       && ledger.shards[3].number == 1 && bucket.sent == 10,
       "with its number");
    ok(lines_ledger_send(&ledger, &ledger.shards[3],
                         now + 300 + LINES_SETTLE_AGAIN, 0, batch) == 1
       && ledger.shards[3].number == 1, "and if who sent it is gone");

    ok(lines_ledger_heard(&ledger, &ledger.shards[3], 2, now, batch) == 0,
       "a reply to another one");
    ok(lines_ledger_heard(&ledger, &ledger.shards[3], 1, now + 200, batch) == 1
       && ledger.ahead == 0 && lines_bucket_settled(&bucket), "acknowledged");

    /* 98 are gone */

    lines_ledger_told(&ledger, &bucket, 98e6, 0, now + 100, now + 200);
    ok(lines_ledger_heard(&ledger, &ledger.shards[3], 1, now, batch) == 0,
       "once");
    ok(admitted(9, now + 200) == 2 && gcra.retry > 900 && gcra.retry < 1100,
       "what is left by Redis' word, then none: %lu", gcra.retry);

    lines_ledger_told(&ledger, &bucket, 130e6, 0, now + 300, now + 400);
    (void) admitted(1, now + 400);
    ok(gcra.granted == 0 && gcra.remaining == 0
       && gcra.retry > 32000 && gcra.retry < 34000,
       "a debt is waited for in full: %lu", gcra.retry);

    lines_ledger_told(&ledger, &bucket, 5e6, 0, now + 300, now + 500);
    (void) admitted(1, now + 500);
    ok(gcra.granted == 0, "the older word of two does not count");

    (void) admitted(1, now + 2000);
    ok(gcra.granted == 0 && bucket.state == LINES_BUCKET_READY,
       "a refusal is looked at again");
}


static void
test_latest(void)
{
    ngx_msec_t  now = 100000;

    begin(1, 1000, now);

    (void) admitted(1, now);
    ok(!lines_ledger_due(&ledger.shards[3], now + LINES_SETTLE_LATEST - 1),
       "a use can wait");
    ok(lines_ledger_due(&ledger.shards[3], now + LINES_SETTLE_LATEST),
       "15 s at the most");

    lines_ledger_give(&ledger, &bucket, now + 1000);
    (void) admitted(1, now + 10000);
    ok(lines_ledger_due(&ledger.shards[3], now + LINES_SETTLE_LATEST),
       "whose tokens come back holds up nobody behind it");

    ok(lines_ledger_send(&ledger, &ledger.shards[3], now + 50, 0, batch) == 0
       && lines_ledger_send(&ledger, &ledger.shards[3], now + 50, 1, batch)
          == 1,
       "at a worker's end not at all");

    ok(lines_ledger_send(&ledger, &ledger.shards[3], now + 60, 1, batch) == 0,
       "what is on its way is waited for");
    lines_ledger_again(&ledger.shards[3], now + 60);
    ok(lines_ledger_send(&ledger, &ledger.shards[3], now + 60, 1, batch) == 1
       && ledger.shards[3].number == 1,
       "or sent again, if who waits for it ends");
    ok(lines_ledger_heard(&ledger, &ledger.shards[3], 1, now + 70, batch) == 1
       && lines_shard_settled(&ledger.shards[3]), "that was all");
}


static void
test_give(void)
{
    ngx_msec_t  now = 100000;

    begin(1, 100, now);

    (void) admitted(1, now);
    lines_ledger_give(&ledger, &bucket, now);
    ok(ledger.ahead == 0 && bucket.uses == 0, "one that was not used");

    lines_ledger_give(&ledger, &bucket, now);
    ok(bucket.uses == -1
       && lines_ledger_send(&ledger, &ledger.shards[3], now, 1, batch) == 1
       && bucket.sent == -1 && lines_bucket_age(&bucket, now) == 0,
       "one of Redis' goes back there");
}


/* uses of which each is refilled before the next: none of them is gone */

static void
test_ages(void)
{
    ngx_uint_t  i;

    begin(1, 1000, 100000);

    for (i = 0; i < 10; i++) {
        lines_ledger_joined(&ledger, 100000 + 2000 * i, 100000 + 2000 * i, 1,
                            1);
        (void) admitted(1, 100000 + 2000 * i);
    }

    (void) lines_ledger_send(&ledger, &ledger.shards[3], 119000, 1, batch);
    ok(lines_bucket_age(&bucket, 119000) == 10000000,
       "the last one counts, ten are as of 10 s ago: %ld",
       (long) lines_bucket_age(&bucket, 119000));
}


static void
test_rate(void)
{
    ngx_msec_t    now = 100000;
    lines_rate_t  fast = { 1000, 200 }, slow = { 3600e6, 3 };

    begin(1, 100, now);
    lines_ledger_told(&ledger, &bucket, 100e6, 0, now, now);

    ok(admitted(1, now) == 0, "empty");

    lines_bucket_rate(&bucket, &fast, 10, now);
    ok(admitted(200, now) == 20, "a raised rate counts at once");

    lines_bucket_rate(&bucket, &slow, 9, now);
    ok(bucket.rate.burst == 200, "an older one does not");

    lines_bucket_rate(&bucket, &slow, 11, now);
    (void) admitted(1, now);
    ok(gcra.granted == 0 && gcra.retry <= 3600001,
       "a lowered one makes no debt of what was used");

    /* nor is one forgiven */

    begin(1, 100, now);
    lines_ledger_told(&ledger, &bucket, 140e6, 0, now, now);
    lines_bucket_rate(&bucket, &slow, 12, now);
    (void) admitted(1, now);
    ok(gcra.granted == 0 && gcra.retry > 40 * 3600000u,
       "a debt of forty tokens stays one");
}


/* who comes while Redis is asked, or while a settlement is on its way */

static void
test_asks(void)
{
    ngx_msec_t  now = 100000;

    begin(1, 100, now);
    lines_ledger_told(&ledger, &bucket, 95e6, 0, now, now);

    ok(lines_ledger_ask(&ledger, &bucket, now) == 0,
       "no settlement is on its way");
    (void) lines_ledger_ask(&ledger, &bucket, now);

    ok(admitted(9, now) == 3, "two of five may go to who asks");
    ok(lines_ledger_admit(&ledger, &bucket, now, &gcra, &hurry)
       == NGX_DECLINED, "of the rest it is Redis that knows");

    lines_bucket_asked(&bucket);
    ok(admitted(1, now) == 1, "one was not had");
    ok(admitted(1, now + LINES_SETTLE_AGAIN) == 1,
       "and what is never answered is not waited for");

    /* five are sent, and charged before the node hears of it */

    begin(1, 100, now);
    lines_ledger_told(&ledger, &bucket, 0, 0, now, now);
    (void) admitted(5, now);
    (void) lines_ledger_send(&ledger, &ledger.shards[3], now, 1, batch);
    ok(lines_ledger_ask(&ledger, &bucket, now) == 1, "one is");

    lines_ledger_told(&ledger, &bucket, 96e6, 1, now, now);
    lines_bucket_asked(&bucket);
    ok(admitted(9, now) == 4, "what is charged is not charged again");
}


static void
test_alone(void)
{
    ngx_uint_t  i, passed;

    begin(4, 100, 100000);
    lines_ledger_told(&ledger, &bucket, 20e6, 0, 100000, 100000);

    for (i = passed = 0; i < 100; i++) {
        lines_ledger_alone(&ledger, &bucket, 100000, 1, &gcra);
        passed += gcra.granted;
    }

    ok(passed == 20, "its part of what was left: %lu", passed);

    for (i = passed = 0; i < 4000; i++) {
        lines_ledger_alone(&ledger, &bucket, 100000 + 100 * i, 1, &gcra);
        passed += gcra.granted;
    }

    ok(passed == 99 || passed == 100, "its part of the rate: %lu", passed);

    ok(lines_ledger_admit(&ledger, &bucket, 100000, &gcra, &hurry)
       == NGX_DECLINED, "until Redis says something");

    lines_ledger_alone_give(&ledger, &bucket, 500000);
    lines_ledger_alone(&ledger, &bucket, 500000, 1, &gcra);
    ok(gcra.granted == 1, "one that was not used");
}


static ngx_uint_t
alone(ngx_uint_t n, ngx_msec_t now, ngx_uint_t owed)
{
    ngx_uint_t  passed;

    for (passed = 0; n; n--) {
        lines_ledger_alone(&ledger, &bucket, now, owed, &gcra);
        passed += gcra.granted;
    }

    return passed;
}


/* one of four, which let three through ahead; Redis knows of 20 more */

static void
begin_alone(void)
{
    begin(4, 100, 100000);
    lines_ledger_told(&ledger, &bucket, 20e6, 0, 100000, 100000);
    (void) admitted(3, 100000);
}


static ngx_uint_t
sent(ngx_msec_t now, ngx_uint_t all)
{
    return lines_ledger_send(&ledger, &ledger.shards[3], now, all, batch);
}


/* and when Redis is back it hears of them */

static void
test_owed(void)
{
    ngx_uint_t  i, passed;

    begin_alone();
    ok(alone(100, 100000, 1) == 17,
       "of its part, what itself let through is missing in full");
    ok(lines_bucket_owes(&bucket, 100000) == 20,
       "with these 17 Redis is asked: %ld",
       (long) lines_bucket_owes(&bucket, 100000));
    ok(!lines_bucket_settled(&bucket)
       && lines_ledger_due(&ledger.shards[3], 100000),
       "they are due without another request");

    ok(sent(100000, 0) == 1 && bucket.sent == 20 && ledger.ahead == 20,
       "and sent");
    ok(lines_bucket_owes(&bucket, 100000) == 20, "once");

    ok(alone(100, 108000, 1) == 2,
       "nothing comes of that while it is away: the part of the rate");
    lines_ledger_joined(&ledger, 108000, 108000, 1, 4);
    ok(lines_ledger_heard(&ledger, &ledger.shards[3], 1, 108000, batch) == 1
       && bucket.uses == 2 && bucket.state == LINES_BUCKET_OPEN,
       "what was let through meanwhile is owed, too");
    lines_ledger_told(&ledger, &bucket, 40e6, 1, 107990, 108000);
    ok(lines_bucket_owes(&bucket, 108000) == 2, "once");
    ok(admitted(1, 108000) == 1 && gcra.remaining == 57,
       "and Redis' word counts again: %lu", gcra.remaining);

    /* an answer to who asked may be first */

    begin_alone();
    (void) alone(17, 100000, 1);
    lines_ledger_told(&ledger, &bucket, 21e6, 0, 100000, 100000);
    ok(bucket.uses == 20 && admitted(1, 100000) == 0
       && bucket.state == LINES_BUCKET_READY, "as who asked was told");

    /* what has come back is owed no more */

    begin_alone();
    (void) alone(17, 100000, 1);
    ok(lines_bucket_owes(&bucket, 150000) == 20
       - (150000 - 132000) / 4000,
       "once what was missing before is there: %ld",
       (long) lines_bucket_owes(&bucket, 150000));
    ok(lines_bucket_owes(&bucket, 300000) == 3, "all of it");

    /* a rest of a token is one, of so long ago */

    begin(4, 100, 100000);
    ok(alone(1, 100000, 1) == 1 && sent(103000, 0) == 1 && bucket.sent == 1
       && lines_bucket_age(&bucket, 103000) == 750000,
       "a quarter of one is missing: %ld",
       (long) lines_bucket_age(&bucket, 103000));

    /* Redis may have counted it */

    begin(4, 100, 100000);
    ok(alone(100, 100000, 0) == 25 && lines_bucket_owes(&bucket, 100000) == 0,
       "what Redis may have counted is not owed");
    ok(alone(100, 104000, 1) == 1 && lines_bucket_owes(&bucket, 104000) == 1,
       "what it surely has not is");

    /* to and fro: each time it is away before it has heard of them */

    begin(4, 100, 100000);

    for (i = passed = 0; i < 50; i++) {
        passed += alone(100, 100000, 1);
        lines_ledger_told(&ledger, &bucket, 0, 0, 100000, 100000);
    }

    ok(passed == 25 && lines_bucket_owes(&bucket, 100000) == 25,
       "its part, once: %lu", passed);

    /* a fleet that is larger than the burst */

    begin(200, 100, 100000);
    ok(alone(100, 100000, 1) == 1 && lines_bucket_owes(&bucket, 100000) == 1,
       "one at least");
}


static void
test_owed_by_another_rate(void)
{
    lines_rate_t  fast = { 1000, 200 }, slow = { 3600e6, 12 };

    begin(4, 100, 100000);
    (void) alone(10, 100000, 1);
    lines_bucket_rate(&bucket, &fast, 10, 100000);
    ok(lines_bucket_owes(&bucket, 100000) == 10
       && alone(100, 100000, 1) == 40, "by another rate it is as much");

    begin(4, 100, 100000);
    (void) alone(10, 100000, 1);
    lines_bucket_rate(&bucket, &slow, 10, 100000);
    ok(alone(100, 100000, 1) == 0 && lines_bucket_owes(&bucket, 100000) == 3,
       "and no debt");
}


/* one that owes, where there is no other */

static void
test_forget(void)
{
    begin(1, 100, 100000);
    (void) admitted(3, 100000);
    lines_ledger_forget(&ledger, &bucket);
    ok(ledger.ahead == 0 && lines_shard_settled(&ledger.shards[3]),
       "a bucket is forgotten with what it owes");

    begin(1, 100, 100000);
    (void) admitted(3, 100000);
    (void) sent(100000, 1);
    lines_ledger_forget(&ledger, &bucket);
    ok(ledger.ahead == 0
       && lines_ledger_heard(&ledger, &ledger.shards[3], 1, 100010, batch) == 0,
       "... though it was sent");
}


int
main(void)
{
    test_share();
    test_admit();
    test_latest();
    test_give();
    test_ages();
    test_rate();
    test_asks();
    test_alone();
    test_owed();
    test_owed_by_another_rate();
    test_forget();

    return done_testing();
}
