
#include "tap.h"
#include "limit/gcra.h"


static void
test_parse(void)
{
    size_t        i;
    ngx_str_t     s;
    lines_rate_t  rate;

    static const struct {
        const char  *text;
        double       interval;
    } good[] = {
        { "50r/s", 20000 },
        { "1r/s", 1000000 },
        { "3000r/m", 20000 },
        { "1r/m", 60000000 },
        { "10r/h", 360000000 },
        { "100000r/s", 10 },
    };

    static const char  *bad[] = {
        "", "r/s", "0r/s", "-1r/s", "1", "1r", "1r/", "1r/d", "1r/ss",
        "1.5r/s", "1 r/s", "100001r/s", "1R/S", "99999999999999999999r/s",
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        s = exact(good[i].text, strlen(good[i].text));
        ok(lines_rate_parse(&s, &rate) == NGX_OK
           && rate.interval == good[i].interval, "rate %s", good[i].text);
        free(s.data);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        s = exact(bad[i], strlen(bad[i]));
        ok(lines_rate_parse(&s, &rate) == NGX_ERROR, "no rate: \"%s\"",
           bad[i]);
        free(s.data);
    }
}


static void
test_take(void)
{
    double        tat, now;
    ngx_uint_t    i, passed;
    lines_gcra_t  r;
    lines_rate_t  rate = { 20000, 100 };    /* 50 a second */

    now = 1.7e15;
    tat = 0;

    lines_gcra_take(&rate, &tat, now, 1, &r);
    ok(r.granted == 1 && r.remaining == 99 && r.retry == 0,
       "the first of a full bucket");

    passed = 1;

    for (i = 0; i < 200; i++) {
        lines_gcra_take(&rate, &tat, now, 1, &r);
        passed += r.granted;
    }

    ok(passed == 100, "a burst is the bucket, no more: %lu", passed);
    ok(r.granted == 0 && r.remaining == 0 && r.retry == 21,
       "then none for 20 ms, rounded up: %lu", r.retry);

    now += (double) r.retry * 1000;
    lines_gcra_take(&rate, &tat, now, 1, &r);
    ok(r.granted == 1, "after the time it said, one passes");

    lines_gcra_take(&rate, &tat, now, 1, &r);
    ok(r.granted == 0, "and only one");

    passed = 0;

    for (i = 0; i < 10000; i++) {
        now += 1000;
        lines_gcra_take(&rate, &tat, now, 1, &r);
        passed += r.granted;
    }

    ok(passed == 500, "10 s at a thousand a second: %lu of 500", passed);

    now += 3600e6;
    lines_gcra_take(&rate, &tat, now, 0, &r);
    ok(r.granted == 0 && r.remaining == 100,
       "a long pause fills it and no more");

    tat = now + 2e6 + 1e6;
    lines_gcra_take(&rate, &tat, now, 1, &r);
    ok(r.granted == 0 && r.remaining == 0 && r.retry == 1021,
       "emptier than empty: what it owes is refilled first: %lu", r.retry);
}


static void
test_give(void)
{
    double        tat, now = 1e15;
    lines_gcra_t  r;
    lines_rate_t  rate = { 1000, 100 };

    tat = 0;

    lines_gcra_take(&rate, &tat, now, 56, &r);
    ok(r.granted == 56 && r.remaining == 44, "many at once");

    lines_gcra_take(&rate, &tat, now, 45, &r);
    ok(r.granted == 0 && r.remaining == 44, "all that are needed, or none");

    lines_gcra_give(&rate, &tat, now, 44);
    lines_gcra_take(&rate, &tat, now, 0, &r);
    ok(r.remaining == 88, "what is given back is there again");

    lines_gcra_give(&rate, &tat, now, 1000);
    lines_gcra_take(&rate, &tat, now, 0, &r);
    ok(r.remaining == 100, "a bucket does not overflow");

    tat = lines_gcra_tat(&rate, now, 1);
    lines_gcra_take(&rate, &tat, now, 1, &r);
    ok(r.granted == 1 && r.remaining == 0, "the last one");

    lines_gcra_take(&rate, &tat, now, 0, &r);
    ok(r.granted == 0 && r.retry == 0,
       "nothing needed and nothing there is no refusal");
}


static void
test_times(void)
{
    lines_rate_t  rate = { 20000, 100 };
    lines_rate_t  fast = { 10, 5 };

    ok(lines_rate_window(&rate) == 2, "fills in 2 s");
    ok(lines_rate_window(&fast) == 1, "never in less than a second");
    ok(lines_gcra_full(&rate, 100) == 0, "full is full");
    ok(lines_gcra_full(&rate, 50) == 1000, "half full in a second");
    ok(lines_seconds(1) == 1
       && lines_seconds(1000) == 1
       && lines_seconds(1001) == 2
       && lines_seconds(0) == 0, "seconds are rounded up");
}


int
main(void)
{
    test_parse();
    test_take();
    test_give();
    test_times();

    return done_testing();
}
