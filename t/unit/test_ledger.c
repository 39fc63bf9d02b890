
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

    ok(lines_ledger_send(&ledger.shards[3], now, 0, batch) == 1
       && batch[0] == &bucket && bucket.sent == 10 && bucket.uses == 0,
       "they are sent");
    ok(admitted(5, now + 2000) == 0, "and count until that is acknowledged");
    ok(lines_bucket_age(&bucket, now + 2000) == 2000000, "with their age");

    ok(lines_ledger_send(&ledger.shards[3], now + 100, 0, batch) == 0,
       "one waits for the reply");
    lines_ledger_unheard(&ledger.shards[3], 1);
    ok(lines_ledger_send(&ledger.shards[3], now + 100, 0, batch) == 0,
       "without one it is sent again, not at once");
    ok(lines_ledger_send(&ledger.shards[3], now + 300, 0, batch) == 1
       && ledger.shards[3].number == 1 && bucket.sent == 10,
       "with its number");
    ok(lines_ledger_send(&ledger.shards[3], now + 300 + LINES_SETTLE_AGAIN, 0,
                         batch) == 1
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

    ok(lines_ledger_send(&ledger.shards[3], now + 50, 0, batch) == 0
       && lines_ledger_send(&ledger.shards[3], now + 50, 1, batch) == 1,
       "at a worker's end not at all");
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
       && lines_ledger_send(&ledger.shards[3], now, 1, batch) == 1
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

    (void) lines_ledger_send(&ledger.shards[3], 119000, 1, batch);
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
    (void) lines_ledger_send(&ledger.shards[3], now, 1, batch);
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
        lines_ledger_alone(&ledger, &bucket, 100000, &gcra);
        passed += gcra.granted;
    }

    ok(passed == 20, "its part of what was left: %lu", passed);

    for (i = passed = 0; i < 4000; i++) {
        lines_ledger_alone(&ledger, &bucket, 100000 + 100 * i, &gcra);
        passed += gcra.granted;
    }

    ok(passed == 99 || passed == 100, "its part of the rate: %lu", passed);

    ok(lines_ledger_admit(&ledger, &bucket, 100000, &gcra, &hurry)
       == NGX_DECLINED, "until Redis says something");

    lines_ledger_alone_give(&ledger, &bucket, 500000);
    lines_ledger_alone(&ledger, &bucket, 500000, &gcra);
    ok(gcra.granted == 1, "one that was not used");
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

    return done_testing();
}
