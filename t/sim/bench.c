
/*
 * bench SCRIPTS: how many script calls a second, each way of a paid line from
 * its begin to its end and what reads it meanwhile; and what a copy of all keys
 * costs.  SCRIPTS has the expanded scripts.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "redis.h"
#include "value.h"


#define LINES    10000
#define TENANTS  100
#define COPIES   5000


enum {
    DUE_ADD = 0,
    LINE_BEGIN,
    OP_CLAIM,
    REQUEST_SENT,
    OP_STEP,
    REQUEST_PAID,
    TOLD,
    LINE_REPORT,
    LINE_READ,
    LINE_RELEASE,
    DUE_DROP,
    SCRIPTS
};

static const char *const  names[] = {
    "due_add", "line_begin", "op_claim", "request_sent", "op_step",
    "request_paid", "told", "line_report", "line_read", "line_release",
    "due_drop"
};


static sim_redis_t  *redis;
static char          digests[SCRIPTS][41];
static size_t        calls;


/* of the processor: others may run, too */

static double
seconds(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


static const sim_str_t *
command(size_t argc, const char **args)
{
    size_t     i;
    sim_str_t  argv[64];

    for (i = 0; i < argc; i++) {
        argv[i].data = (unsigned char *) args[i];
        argv[i].len = strlen(args[i]);
    }

    return sim_redis_command(redis, argc, argv);
}


/* keys and arguments, ended by NULL; the reply must begin so */

static void
script(int which, const char *expected, const char *nkeys, ...)
{
    size_t            argc;
    va_list           more;
    const char       *args[64];
    const sim_str_t  *reply;

    args[0] = "EVALSHA";
    args[1] = digests[which];
    args[2] = nkeys;

    va_start(more, nkeys);

    for (argc = 3; (args[argc] = va_arg(more, const char *)); argc++) {
        /* void */
    }

    va_end(more);

    reply = command(argc, args);
    calls++;

    if (memcmp(reply->data, expected, strlen(expected)) != 0) {
        fprintf(stderr, "%s: %.*s\n", names[which], (int) reply->len,
                reply->data);
        exit(1);
    }
}


static void
load(const char *dir, int which)
{
    FILE             *f;
    char              name[4096], source[65536];
    const char       *args[3];
    const sim_str_t  *reply;

    snprintf(name, sizeof(name), "%s/%s.lua", dir, names[which]);

    f = fopen(name, "r");

    if (f == NULL) {
        perror(name);
        exit(1);
    }

    source[fread(source, 1, sizeof(source) - 1, f)] = '\0';
    fclose(f);

    args[0] = "SCRIPT";
    args[1] = "LOAD";
    args[2] = source;

    reply = command(3, args);
    memcpy(digests[which], reply->data + 5, 40);
}


static void
line(int i)
{
    char  t[64], l[96], lines[64], pending[64], op[96], ops[64], ev[64],
          id[32], refund[96], member[64], late[32], tenant[32];
    int   w;

    w = i % TENANTS;

    snprintf(id, sizeof(id), "%024d", i);
    snprintf(tenant, sizeof(tenant), "w:%d", w);
    snprintf(t, sizeof(t), "lines:{w:%d}:t", w);
    snprintf(l, sizeof(l), "lines:{w:%d}:line:%s", w, id);
    snprintf(lines, sizeof(lines), "lines:{w:%d}:lines", w);
    snprintf(pending, sizeof(pending), "lines:{w:%d}:pending", w);
    snprintf(op, sizeof(op), "lines:{w:%d}:op:%s", w, id);
    snprintf(refund, sizeof(refund), "lines:{w:%d}:op:r%s", w, id);
    snprintf(ops, sizeof(ops), "lines:{w:%d}:ops", w);
    snprintf(ev, sizeof(ev), "lines:{w:%d}:journal", w);
    snprintf(member, sizeof(member), "w:%d %s", w, id);
    snprintf(late, sizeof(late), "%lld",
             (long long) sim_redis_time(redis) / 1000 + 5000);

    script(DUE_ADD, ":1", "1", "lines:{due:0}", member, "0", NULL);
    script(LINE_BEGIN, "*", "8", t, l, lines, pending, op, ops, op, ev, late,
           id, tenant, "paid", "0", "price_email", "", "cus_1", "", "the=body",
           "lines:sub:1", "20000", "1", "channel", "email", "type", "",
           "first", "Ada", "last", "Lovelace", "email", "a@example.com", NULL);
    script(OP_CLAIM, "*", "2", op, t, "20000", "1", NULL);
    script(REQUEST_SENT, "*5\r\n$2\r\nok", "2", op, l, "send", "1", "1",
           "20000", "sub_1", "in_1", "https://pay/1", "open", NULL);
    script(LINE_READ, "*9", "3", l, t, op, NULL);
    script(OP_STEP, "*3\r\n$2\r\nok", "1", op, "await", "1", "1", "await",
           "20000", "payment_method", "pm_1", NULL);
    script(REQUEST_PAID, "*4\r\n$2\r\nok", "7", op, ops, l, t, pending, ev, op,
           "await", "1", "1", id, "20000", "sub_1", "in_1", "1", NULL);
    script(TOLD, "*3\r\n$2\r\nok", "8", op, ops, l, t, pending, ev, op, refund,
           "tell", "1", "1", id, "taken", "", "r1", NULL);
    script(LINE_REPORT, "*3\r\n$5\r\nmoved", "6", l, t, pending, ev, l, ops,
           "active", "+14155550001", "", "r1", NULL);
    script(LINE_READ, "*9", "3", l, t, op, NULL);
    script(LINE_RELEASE, "*4\r\n$8\r\nreleased", "5", l, t, ev, refund, ops,
           id, NULL);
    script(DUE_DROP, ":1", "1", "lines:{due:0}", member, "0", "5000", NULL);
}


/* nothing but tenants */

static void
empty(void)
{
    int          i;
    char         t[64];
    const char  *flush[] = { "FLUSHALL" },
                *tenant[] = { "HSET", t, "plan", "paid", "subscription",
                              "active", "customer", "cus_1" };

    (void) command(1, flush);

    for (i = 0; i < TENANTS; i++) {
        snprintf(t, sizeof(t), "lines:{w:%d}:t", i);
        (void) command(8, tenant);
    }
}


int
main(int n, char **args)
{
    int          i, round;
    double       start, took;
    sim_copy_t  *copy;
    const char  *size[] = { "DBSIZE" },
                *set[] = { "HSET", "lines:{w:0}:t", "touched", "1" };

    if (n != 2) {
        fprintf(stderr, "usage: bench SCRIPTS\n");
        return 2;
    }

    redis = sim_redis_create();
    sim_redis_set_time(redis, 1763000000000000);

    for (i = 0; i < SCRIPTS; i++) {
        load(args[1], i);
    }

    took = 0;

    for (i = 0; i < LINES; i++) {

        if (i % 1000 == 0) {
            empty();
        }

        start = seconds();
        line(i);
        took += seconds() - start;

        sim_redis_set_time(redis, sim_redis_time(redis) + 1000);
    }

    printf("%.0f script calls a second\n", calls / took);

    /* a copy, one write, and back: with all keys, and with some */

    for (round = 0; round < 2; round++) {
        i = atoi((char *) command(1, size)->data + 1);
        copy = sim_redis_copy(redis);
        start = seconds();

        for (n = 0; n < COPIES / (round ? 1 : 10); n++) {
            sim_redis_copy_free(copy);
            copy = sim_redis_copy(redis);
            (void) command(4, set);
            sim_redis_restore(redis, copy);
        }

        took = seconds() - start;
        sim_redis_copy_free(copy);
        printf("%d keys: a copy and the way back in %.1f us\n", i,
               took / n * 1e6);

        empty();

        for (n = 0; n < 20; n++) {
            line(n);
        }
    }

    sim_redis_destroy(redis);

    return 0;
}
