
/*
 * The commands.  Order of checks and words of errors are Redis 7.0's.
 */

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"


#define COMMAND(name)                                                         \
    static void command_##name(sim_redis_t *r, size_t argc, const view_t *argv)

#define SYNTAX     "ERR syntax error"
#define NO_INT     "ERR value is not an integer or out of range"
#define NO_FLOAT   "ERR value is not a valid float"
#define WRONGTYPE  "WRONGTYPE Operation against a key holding the wrong kind" \
                   " of value"


/* the key, if it is there and has not expired */

static entry_t *
find(sim_redis_t *r, view_t key)
{
    entry_t  *e;

    e = map_find(&r->keys, key);

    if (e && e->u.value->expires != -1 && r->now > e->u.value->expires) {
        value_free(e->u.value);
        map_remove(&r->keys, e);
        return NULL;
    }

    return e;
}


static void
drop(sim_redis_t *r, entry_t *e)
{
    value_free(e->u.value);
    map_remove(&r->keys, e);
}


/* 0: it is of another type, which is the reply; *e is NULL: it is not there */

static int
typed(sim_redis_t *r, view_t key, uint32_t type, entry_t **e)
{
    *e = find(r, key);

    if (*e && (*e)->u.value->type != type) {
        reply_error(r, WRONGTYPE);
        return 0;
    }

    return 1;
}


/* to write to; e: what typed() found */

static value_t *
writable(sim_redis_t *r, view_t key, int type, entry_t *e)
{
    int  added;

    if (e) {
        return value_own(&e->u.value);
    }

    e = map_put(&r->keys, key, &added);
    e->u.value = value_create(type);

    return e->u.value;
}


static int
take_int(sim_redis_t *r, view_t v, int64_t *n)
{
    if (view_int(v, n)) {
        return 1;
    }

    reply_error(r, NO_INT);

    return 0;
}


/* a copy that ends with a zero, for strtod(); what is longer is no number */

static double
parse_double(view_t v, size_t *used)
{
    char    buf[256], *end;
    double  d;

    if (v.len >= sizeof(buf)) {
        *used = 0;
        return NAN;
    }

    if (v.len) {
        memcpy(buf, v.data, v.len);
    }

    buf[v.len] = '\0';

    errno = 0;
    d = strtod(buf, &end);

    /* of a range's end whatever follows a zero is not looked at */
    *used = end - buf;
    if (*end == '\0' && *used < v.len) {
        *used = SIZE_MAX;
    }

    return d;
}


static int
take_double(sim_redis_t *r, view_t v, double *d)
{
    size_t  used;

    *d = parse_double(v, &used);

    if (v.len == 0 || isspace((unsigned char) v.data[0]) || used != v.len
        || isnan(*d)
        || (errno == ERANGE && (isinf(*d) || *d == 0)))
    {
        reply_error(r, NO_FLOAT);
        return 0;
    }

    return 1;
}


/* Strings */

COMMAND(get)
{
    entry_t  *e;

    if (!typed(r, argv[1], TYPE_STRING, &e)) {
        return;
    }

    if (e) {
        reply_bulk(r, text_view(e->u.value->text));

    } else {
        reply_null(r);
    }
}


/* of another type, none */

COMMAND(mget)
{
    size_t    i;
    entry_t  *e;

    reply_array(r, argc - 1);

    for (i = 1; i < argc; i++) {
        e = find(r, argv[i]);

        if (e && e->u.value->type == TYPE_STRING) {
            reply_bulk(r, text_view(e->u.value->text));

        } else {
            reply_null(r);
        }
    }
}


COMMAND(set)
{
    int       nx, xx, keep, added;
    size_t    i;
    int64_t   expires, unit;
    entry_t  *e;
    value_t  *v;
    view_t    time;

    nx = xx = keep = 0;
    unit = 0;
    time = argv[0];

    for (i = 3; i < argc; i++) {
        if (view_is(argv[i], "nx") && !xx) {
            nx = 1;

        } else if (view_is(argv[i], "xx") && !nx) {
            xx = 1;

        } else if (view_is(argv[i], "keepttl") && !unit) {
            keep = 1;

        } else if (view_is(argv[i], "ex") && !keep && unit != 1
                   && i + 1 < argc)
        {
            unit = 1000;
            time = argv[++i];

        } else if (view_is(argv[i], "px") && !keep && unit != 1000
                   && i + 1 < argc)
        {
            unit = 1;
            time = argv[++i];

        } else {
            reply_error(r, SYNTAX);
            return;
        }
    }

    expires = -1;

    if (unit) {
        if (!take_int(r, time, &expires)) {
            return;
        }

        if (expires <= 0 || expires > INT64_MAX / unit
            || expires * unit > INT64_MAX - r->now)
        {
            reply_error(r, "ERR invalid expire time in 'set' command");
            return;
        }

        expires = expires * unit + r->now;
    }

    e = find(r, argv[1]);

    if ((nx && e) || (xx && !e)) {
        reply_null(r);
        return;
    }

    v = value_create(TYPE_STRING);
    v->text = text_create(argv[2]);
    v->expires = expires;

    if (e) {
        if (keep) {
            v->expires = e->u.value->expires;
        }

        value_free(e->u.value);

    } else {
        e = map_put(&r->keys, argv[1], &added);
    }

    e->u.value = v;

    reply_status(r, "OK");
}


static void
increase(sim_redis_t *r, view_t key, int64_t by)
{
    char      buf[32];
    int64_t   n;
    entry_t  *e;
    value_t  *v;

    if (!typed(r, key, TYPE_STRING, &e)) {
        return;
    }

    n = 0;

    if (e && !take_int(r, text_view(e->u.value->text), &n)) {
        return;
    }

    if (__builtin_add_overflow(n, by, &n)) {
        reply_error(r, "ERR increment or decrement would overflow");
        return;
    }

    v = writable(r, key, TYPE_STRING, e);

    if (v->text) {
        text_free(v->text);
    }

    v->text = text_create((view_t) { snprintf(buf, sizeof(buf), "%lld",
                                              (long long) n), buf });
    reply_int(r, n);
}


COMMAND(incr)
{
    increase(r, argv[1], 1);
}


COMMAND(incrby)
{
    int64_t  by;

    if (take_int(r, argv[2], &by)) {
        increase(r, argv[1], by);
    }
}


/* Hashes */

static void
reply_field(sim_redis_t *r, entry_t *e, view_t field)
{
    entry_t  *f;

    f = e ? map_find(&e->u.value->map, field) : NULL;

    if (f) {
        reply_bulk(r, text_view(f->u.text));

    } else {
        reply_null(r);
    }
}


COMMAND(hget)
{
    entry_t  *e;

    if (typed(r, argv[1], TYPE_HASH, &e)) {
        reply_field(r, e, argv[2]);
    }
}


COMMAND(hmget)
{
    size_t    i;
    entry_t  *e;

    if (!typed(r, argv[1], TYPE_HASH, &e)) {
        return;
    }

    reply_array(r, argc - 2);

    for (i = 2; i < argc; i++) {
        reply_field(r, e, argv[i]);
    }
}


static void
reply_hash(sim_redis_t *r, view_t key, int fields, int values)
{
    entry_t  *e, *f;

    if (!typed(r, key, TYPE_HASH, &e)) {
        return;
    }

    if (e == NULL) {
        reply_array(r, 0);
        return;
    }

    reply_array(r, e->u.value->map.live * (fields + values));

    map_each(&e->u.value->map, f) {
        if (fields) {
            reply_bulk(r, text_view(f->key));
        }

        if (values) {
            reply_bulk(r, text_view(f->u.text));
        }
    }
}


COMMAND(hgetall)
{
    reply_hash(r, argv[1], 1, 1);
}


COMMAND(hkeys)
{
    reply_hash(r, argv[1], 1, 0);
}


COMMAND(hvals)
{
    reply_hash(r, argv[1], 0, 1);
}


/* all at once, which is a way to iterate, too; 0: it is refused */

static int
scan(sim_redis_t *r, size_t argc, const view_t *argv, uint32_t type,
     entry_t **e)
{
    size_t   i;
    int64_t  n;

    if (!view_int(argv[2], &n) || n < 0) {
        reply_error(r, "ERR invalid cursor");
        return 0;
    }

    if (!typed(r, argv[1], type, e)) {
        return 0;
    }

    for (i = 3; *e && i < argc; i += 2) {
        if (!view_is(argv[i], "count") || i + 1 == argc) {
            reply_error(r, SYNTAX);
            return 0;
        }

        if (!take_int(r, argv[i + 1], &n)) {
            return 0;
        }

        if (n < 1) {
            reply_error(r, SYNTAX);
            return 0;
        }
    }

    reply_raw(r, "*2\r\n$1\r\n0\r\n", 11);

    if (*e) {
        r->open |= SIM_REDIS_CHOICE;
    }

    return 1;
}


COMMAND(hscan)
{
    entry_t  *e;

    if (scan(r, argc, argv, TYPE_HASH, &e)) {
        reply_hash(r, argv[1], 1, 1);
    }
}


COMMAND(hset)
{
    int       added, n;
    size_t    i;
    entry_t  *e;
    value_t  *v;

    if (argc % 2) {
        reply_error(r, "ERR wrong number of arguments for 'hset' command");
        return;
    }

    if (!typed(r, argv[1], TYPE_HASH, &e)) {
        return;
    }

    v = writable(r, argv[1], TYPE_HASH, e);

    for (n = 0, i = 2; i < argc; i += 2) {
        hash_set(v, argv[i], argv[i + 1], &added);
        n += added;
    }

    reply_int(r, n);
}


COMMAND(hsetnx)
{
    int       added;
    entry_t  *e;

    if (!typed(r, argv[1], TYPE_HASH, &e)) {
        return;
    }

    if (e && map_find(&e->u.value->map, argv[2])) {
        reply_int(r, 0);
        return;
    }

    hash_set(writable(r, argv[1], TYPE_HASH, e), argv[2], argv[3], &added);
    reply_int(r, 1);
}


COMMAND(hincrby)
{
    int       added;
    char      buf[32];
    int64_t   n, by;
    entry_t  *e, *f;

    if (!take_int(r, argv[3], &by) || !typed(r, argv[1], TYPE_HASH, &e)) {
        return;
    }

    n = 0;
    f = e ? map_find(&e->u.value->map, argv[2]) : NULL;

    if (f && !view_int(text_view(f->u.text), &n)) {
        reply_error(r, "ERR hash value is not an integer");
        return;
    }

    if (__builtin_add_overflow(n, by, &n)) {
        reply_error(r, "ERR increment or decrement would overflow");
        return;
    }

    hash_set(writable(r, argv[1], TYPE_HASH, e), argv[2],
             (view_t) { snprintf(buf, sizeof(buf), "%lld", (long long) n),
                        buf }, &added);
    reply_int(r, n);
}


/* members of hashes, sets and sorted sets; the key goes with the last */

static void
remove_members(sim_redis_t *r, size_t argc, const view_t *argv, uint32_t type,
    int (*remove_one)(value_t *v, view_t member))
{
    int       n;
    size_t    i;
    entry_t  *e;
    value_t  *v;

    if (!typed(r, argv[1], type, &e)) {
        return;
    }

    n = 0;

    if (e) {
        v = value_own(&e->u.value);

        for (i = 2; i < argc && v->map.live; i++) {
            n += remove_one(v, argv[i]);
        }

        if (v->map.live == 0) {
            drop(r, e);
        }
    }

    reply_int(r, n);
}


COMMAND(hdel)
{
    remove_members(r, argc, argv, TYPE_HASH, hash_remove);
}


static void
reply_is_member(sim_redis_t *r, const view_t *argv, uint32_t type)
{
    entry_t  *e;

    if (typed(r, argv[1], type, &e)) {
        reply_int(r, e && map_find(&e->u.value->map, argv[2]));
    }
}


static void
reply_count(sim_redis_t *r, view_t key, uint32_t type)
{
    entry_t  *e;

    if (typed(r, key, type, &e)) {
        reply_int(r, e ? e->u.value->map.live : 0);
    }
}


COMMAND(hexists)
{
    reply_is_member(r, argv, TYPE_HASH);
}


COMMAND(hlen)
{
    reply_count(r, argv[1], TYPE_HASH);
}


/* Sets */

COMMAND(sadd)
{
    int       n, added;
    size_t    i;
    entry_t  *e;
    value_t  *v;

    if (!typed(r, argv[1], TYPE_SET, &e)) {
        return;
    }

    v = writable(r, argv[1], TYPE_SET, e);

    for (n = 0, i = 2; i < argc; i++) {
        (void) map_put(&v->map, argv[i], &added);
        n += added;
    }

    reply_int(r, n);
}


COMMAND(srem)
{
    remove_members(r, argc, argv, TYPE_SET, set_remove);
}


COMMAND(sismember)
{
    reply_is_member(r, argv, TYPE_SET);
}


COMMAND(scard)
{
    reply_count(r, argv[1], TYPE_SET);
}


static void
reply_members(sim_redis_t *r, map_t *map)
{
    entry_t  *e;

    reply_array(r, map->live);

    map_each(map, e) {
        reply_bulk(r, text_view(e->key));
    }

    if (map->live > 1) {
        r->open |= SIM_REDIS_ORDER;
    }
}


COMMAND(smembers)
{
    map_t     none;
    entry_t  *e;

    if (typed(r, argv[1], TYPE_SET, &e)) {
        memset(&none, 0, sizeof(map_t));
        reply_members(r, e ? &e->u.value->map : &none);
    }
}


COMMAND(sscan)
{
    map_t     none;
    entry_t  *e;

    if (scan(r, argc, argv, TYPE_SET, &e)) {
        memset(&none, 0, sizeof(map_t));
        reply_members(r, e ? &e->u.value->map : &none);
    }
}


static uint64_t
random_number(sim_redis_t *r)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;

    return r->random;
}


/* neighbours, from anywhere */

COMMAND(srandmember)
{
    int64_t   n, i;
    map_t    *map;
    entry_t  *e, *m;

    if (argc > 3) {
        reply_error(r, SYNTAX);
        return;
    }

    n = 1;

    if (argc == 3) {
        if (!take_int(r, argv[2], &n)) {
            return;
        }

        if (n == INT64_MIN) {
            reply_error(r, "ERR value is out of range, value must between "
                        "-9223372036854775807 and 9223372036854775807");
            return;
        }

        if (n < 0) {
            reply_error(r, "ERR sim: no negative count");
            return;
        }
    }

    if (!typed(r, argv[1], TYPE_SET, &e)) {
        return;
    }

    if (e == NULL && argc == 2) {
        reply_null(r);
        return;
    }

    if (e == NULL || n == 0) {
        reply_array(r, 0);
        return;
    }

    map = &e->u.value->map;

    if (n >= map->live && argc == 3) {
        reply_members(r, map);
        return;
    }

    if (argc == 3) {
        reply_array(r, n);
    }

    m = map->elts + random_number(r) % map->used;

    for (i = 0; i < n; m++) {
        if (m == map->elts + map->used) {
            m = map->elts;
        }

        if (m->key) {
            reply_bulk(r, text_view(m->key));
            i++;
        }
    }

    if (map->live > 1) {
        r->open |= SIM_REDIS_CHOICE;
    }
}


/* Sorted sets */

static void
add_scores(sim_redis_t *r, size_t argc, const view_t *argv, int incr)
{
    int       nx, xx, gt, lt, ch, added, updated, processed;
    size_t    i, first, used;
    double    score;
    entry_t  *e, *m;
    value_t  *v;

    nx = xx = gt = lt = ch = 0;

    for (i = 2; i < argc; i++) {
        if (view_is(argv[i], "nx")) {
            nx = 1;

        } else if (view_is(argv[i], "xx")) {
            xx = 1;

        } else if (view_is(argv[i], "ch")) {
            ch = 1;

        } else if (view_is(argv[i], "incr")) {
            incr = 1;

        } else if (view_is(argv[i], "gt")) {
            gt = 1;

        } else if (view_is(argv[i], "lt")) {
            lt = 1;

        } else {
            break;
        }
    }

    first = i;

    if (first == argc || (argc - first) % 2) {
        reply_error(r, SYNTAX);
        return;
    }

    if (nx && xx) {
        reply_error(r, "ERR XX and NX options at the same time are not "
                    "compatible");
        return;
    }

    if ((gt && nx) || (lt && nx) || (gt && lt)) {
        reply_error(r, "ERR GT, LT, and/or NX options at the same time are "
                    "not compatible");
        return;
    }

    if (incr && argc - first > 2) {
        reply_error(r, "ERR INCR option supports a single increment-element "
                    "pair");
        return;
    }

    for (i = first; i < argc; i += 2) {
        if (!take_double(r, argv[i], &score)) {
            return;
        }
    }

    if (!typed(r, argv[1], TYPE_ZSET, &e)) {
        return;
    }

    added = updated = processed = 0;
    score = 0;

    v = (e || !xx) ? writable(r, argv[1], TYPE_ZSET, e) : NULL;

    for (i = first; v && i < argc; i += 2) {
        score = parse_double(argv[i], &used);
        m = map_find(&v->map, argv[i + 1]);

        if (m == NULL) {
            if (!xx) {
                zset_set(v, argv[i + 1], score);
                added++;
                processed++;
            }

            continue;
        }

        if (nx) {
            continue;
        }

        if (incr) {
            score += m->u.score;

            if (isnan(score)) {
                reply_error(r, "ERR resulting score is not a number (NaN)");
                return;
            }
        }

        if ((lt && score >= m->u.score) || (gt && score <= m->u.score)) {
            continue;
        }

        processed++;

        if (score != m->u.score) {
            zset_set(v, argv[i + 1], score);
            updated++;
        }
    }

    if (!incr) {
        reply_int(r, ch ? added + updated : added);

    } else if (processed) {
        reply_double(r, score);

    } else {
        reply_null(r);
    }
}


COMMAND(zadd)
{
    add_scores(r, argc, argv, 0);
}


COMMAND(zincrby)
{
    add_scores(r, argc, argv, 1);
}


COMMAND(zrem)
{
    remove_members(r, argc, argv, TYPE_ZSET, zset_remove);
}


COMMAND(zcard)
{
    reply_count(r, argv[1], TYPE_ZSET);
}


COMMAND(zscore)
{
    entry_t  *e, *m;

    if (!typed(r, argv[1], TYPE_ZSET, &e)) {
        return;
    }

    m = e ? map_find(&e->u.value->map, argv[2]) : NULL;

    if (m) {
        reply_double(r, m->u.score);

    } else {
        reply_null(r);
    }
}


typedef struct {
    double  score;
    view_t  member;
    int     open;      /* it is not part of the range itself */
    int     infinite;  /* of members: -1 before all, 1 after all */
} bound_t;


static int
score_bound(view_t v, bound_t *b)
{
    size_t  used;

    b->open = (v.len && v.data[0] == '(');

    if (b->open) {
        v.data++;
        v.len--;
    }

    b->score = parse_double(v, &used);

    return used >= v.len && !isnan(b->score);
}


static int
member_bound(view_t v, bound_t *b)
{
    b->open = 1;
    b->infinite = 0;

    switch (v.len ? v.data[0] : '\0') {
    case '+':
    case '-':
        b->infinite = v.data[0] == '+' ? 1 : -1;
        return v.len == 1 || v.data[1] == '\0';

    case '[':
        b->open = 0;

        /* fall through */

    case '(':
        b->member.data = v.data + 1;
        b->member.len = v.len - 1;
        return 1;
    }

    return 0;
}


/* the ranks between them: from *from, *to is not one of them */

static void
between_scores(value_t *v, bound_t *min, bound_t *max, size_t *from, size_t *to)
{
    *from = *to = 0;

    if (min->score > max->score
        || (min->score == max->score && (min->open || max->open)))
    {
        return;
    }

    *from = zset_from_score(v, min->score, min->open);
    *to = zset_from_score(v, max->score, !max->open);
}


static void
between_members(value_t *v, bound_t *min, bound_t *max, size_t *from,
    size_t *to)
{
    *from = *to = 0;

    if (min->infinite == 1 || max->infinite == -1) {
        return;
    }

    *to = v->map.live;

    if (min->infinite == 0) {
        *from = zset_from_member(v, min->member, min->open);
    }

    if (max->infinite == 0) {
        *to = zset_from_member(v, max->member, !max->open);
    }

    if (*to < *from) {
        *to = *from;
    }
}


/* replies with how many members are between two scores; 0: with an error */

static int
scored(sim_redis_t *r, const view_t *argv, entry_t **e, size_t *from,
    size_t *to)
{
    bound_t  min, max;

    if (!score_bound(argv[2], &min) || !score_bound(argv[3], &max)) {
        reply_error(r, "ERR min or max is not a float");
        return 0;
    }

    if (!typed(r, argv[1], TYPE_ZSET, e)) {
        return 0;
    }

    *from = *to = 0;

    if (*e) {
        between_scores((*e)->u.value, &min, &max, from, to);
    }

    reply_int(r, *to - *from);

    return 1;
}


COMMAND(zcount)
{
    size_t    from, to;
    entry_t  *e;

    (void) scored(r, argv, &e, &from, &to);
}


COMMAND(zremrangebyscore)
{
    size_t    from, to;
    entry_t  *e;
    value_t  *v;

    if (!scored(r, argv, &e, &from, &to) || from == to) {
        return;
    }

    v = value_own(&e->u.value);

    while (to-- > from) {
        zset_remove(v, text_view(v->ranks[to].member));
    }

    if (v->map.live == 0) {
        drop(r, e);
    }
}


enum {
    BY_ANY = 0,      /* the arguments say */
    BY_RANK,
    BY_SCORE,
    BY_MEMBER
};


static void
range(sim_redis_t *r, size_t argc, const view_t *argv, int by, int reverse,
    int may_reverse)
{
    int       scores;
    size_t    i, n, from, to;
    int64_t   offset, limit, start, end, len;
    bound_t   min, max;
    rank_t   *rank;
    entry_t  *e;
    view_t    low, high;

    scores = 0;
    offset = 0;
    limit = -1;
    start = end = 0;

    for (i = 4; i < argc; i++) {
        if (view_is(argv[i], "withscores")) {
            scores = 1;

        } else if (view_is(argv[i], "limit") && argc - i - 1 >= 2) {
            if (!take_int(r, argv[i + 1], &offset)
                || !take_int(r, argv[i + 2], &limit))
            {
                return;
            }

            i += 2;

        } else if (may_reverse && view_is(argv[i], "rev")) {
            reverse = 1;
            may_reverse = 0;

        } else if (by == BY_ANY && view_is(argv[i], "bylex")) {
            by = BY_MEMBER;

        } else if (by == BY_ANY && view_is(argv[i], "byscore")) {
            by = BY_SCORE;

        } else {
            reply_error(r, SYNTAX);
            return;
        }
    }

    if (by == BY_ANY) {
        by = BY_RANK;
    }

    if (limit != -1 && by == BY_RANK) {
        reply_error(r, "ERR syntax error, LIMIT is only supported in "
                    "combination with either BYSCORE or BYLEX");
        return;
    }

    if (scores && by == BY_MEMBER) {
        reply_error(r, "ERR syntax error, WITHSCORES not supported in "
                    "combination with BYLEX");
        return;
    }

    low = argv[reverse && by != BY_RANK ? 3 : 2];
    high = argv[reverse && by != BY_RANK ? 2 : 3];

    if (by == BY_RANK) {
        if (!take_int(r, low, &start) || !take_int(r, high, &end)) {
            return;
        }

    } else if (by == BY_SCORE) {
        if (!score_bound(low, &min) || !score_bound(high, &max)) {
            reply_error(r, "ERR min or max is not a float");
            return;
        }

    } else if (!member_bound(low, &min) || !member_bound(high, &max)) {
        reply_error(r, "ERR min or max not valid string range item");
        return;
    }

    if (!typed(r, argv[1], TYPE_ZSET, &e)) {
        return;
    }

    if (e == NULL) {
        reply_array(r, 0);
        return;
    }

    len = e->u.value->map.live;

    if (by == BY_RANK) {
        start += start < 0 ? len : 0;
        end += end < 0 ? len : 0;
        start = start < 0 ? 0 : start;
        end = end >= len ? len - 1 : end;

        from = to = 0;

        if (start <= end && start < len) {
            from = reverse ? len - 1 - end : start;
            to = from + (end - start) + 1;
        }

    } else if (by == BY_SCORE) {
        between_scores(e->u.value, &min, &max, &from, &to);

    } else {
        between_members(e->u.value, &min, &max, &from, &to);
    }

    n = to - from;

    if (offset < 0 || (uint64_t) offset >= n) {
        n = 0;

    } else {
        n -= offset;

        if (limit >= 0 && (uint64_t) limit < n) {
            n = limit;
        }
    }

    reply_array(r, scores ? 2 * n : n);

    for (i = 0; i < n; i++) {
        rank = &e->u.value->ranks[reverse ? to - 1 - offset - i
                                          : from + offset + i];
        reply_bulk(r, text_view(rank->member));

        if (scores) {
            reply_double(r, rank->score);
        }
    }
}


COMMAND(zrange)
{
    range(r, argc, argv, BY_ANY, 0, 1);
}


COMMAND(zrangebyscore)
{
    range(r, argc, argv, BY_SCORE, 0, 0);
}


COMMAND(zrevrangebyscore)
{
    range(r, argc, argv, BY_SCORE, 1, 0);
}


COMMAND(zrangebylex)
{
    range(r, argc, argv, BY_MEMBER, 0, 0);
}


/* Lists */

COMMAND(rpush)
{
    size_t        i;
    entry_t      *e;
    stream_t     *s;
    stream_id_t   id = { 0, 0 };

    if (!typed(r, argv[1], TYPE_LIST, &e)) {
        return;
    }

    s = writable(r, argv[1], TYPE_LIST, e)->stream;

    for (i = 2; i < argc; i++) {
        stream_add(s, id, 1, &argv[i]);
    }

    reply_int(r, s->n);
}


static void
reply_item(sim_redis_t *r, stream_t *s, size_t i)
{
    reply_bulk(r, text_view(s->elts[s->first + i]->texts[0]));
}


COMMAND(lpop)
{
    entry_t  *e;

    if (argc > 2) {
        reply_error(r, "ERR of LPOP one at a time is known here");
        return;
    }

    if (!typed(r, argv[1], TYPE_LIST, &e)) {
        return;
    }

    if (e == NULL) {
        reply_null(r);
        return;
    }

    reply_item(r, e->u.value->stream, 0);
    stream_drop(value_own(&e->u.value)->stream, 1);

    if (e->u.value->stream->n == 0) {
        drop(r, e);
    }
}


COMMAND(llen)
{
    entry_t  *e;

    if (typed(r, argv[1], TYPE_LIST, &e)) {
        reply_int(r, e ? e->u.value->stream->n : 0);
    }
}


COMMAND(lindex)
{
    int64_t   i;
    entry_t  *e;

    if (!typed(r, argv[1], TYPE_LIST, &e)) {
        return;
    }

    if (e == NULL) {
        reply_null(r);
        return;
    }

    if (!take_int(r, argv[2], &i)) {
        return;
    }

    i += i < 0 ? (int64_t) e->u.value->stream->n : 0;

    if (i < 0 || i >= (int64_t) e->u.value->stream->n) {
        reply_null(r);

    } else {
        reply_item(r, e->u.value->stream, i);
    }
}


COMMAND(lrange)
{
    int64_t   i, from, to, n;
    entry_t  *e;

    if (!take_int(r, argv[2], &from)
        || !take_int(r, argv[3], &to)
        || !typed(r, argv[1], TYPE_LIST, &e))
    {
        return;
    }

    n = e ? e->u.value->stream->n : 0;

    from = from < 0 ? from + n : from;
    from = from < 0 ? 0 : from;
    to = to < 0 ? to + n : to;
    to = to >= n ? n - 1 : to;

    reply_array(r, from > to ? 0 : to - from + 1);

    for (i = from; i <= to; i++) {
        reply_item(r, e->u.value->stream, i);
    }
}


/* Streams */

/* what Redis makes of it: a number as it writes them, else what strtoull() reads */

static int
stream_number(const char *text, uint64_t *n)
{
    char    *end;
    size_t   digits;

    if (*text == '-' && text[1] >= '1' && text[1] <= '9') {
        digits = strspn(text + 1, "0123456789");

        if (text[1 + digits] == '\0') {
            return 0;
        }
    }

    errno = 0;
    *n = strtoull(text, &end, 10);

    return errno == 0 && *text != '\0' && *end == '\0';
}


/* "ms" or "ms-seq" */

static int
stream_id(view_t v, uint64_t seq, stream_id_t *id)
{
    char  text[128], *dash;

    if (v.len >= sizeof(text)) {
        return 0;
    }

    memcpy(text, v.data, v.len);
    text[v.len] = '\0';

    id->seq = seq;
    dash = strchr(text, '-');

    if (dash) {
        *dash++ = '\0';
    }

    return stream_number(text, &id->ms)
           && (dash == NULL || stream_number(dash, &id->seq));
}


static int
id_cmp(stream_id_t a, stream_id_t b)
{
    return a.ms != b.ms ? (a.ms > b.ms) - (a.ms < b.ms)
                        : (a.seq > b.seq) - (a.seq < b.seq);
}


static void
id_next(stream_id_t *id)
{
    if (++id->seq == 0) {
        id->ms++;
    }
}


static void
id_previous(stream_id_t *id)
{
    if (id->seq-- == 0) {
        id->ms--;
    }
}


static void
reply_id(sim_redis_t *r, stream_id_t id)
{
    char  buf[64];

    reply_bulk(r, (view_t) { snprintf(buf, sizeof(buf), "%llu-%llu",
                                      (unsigned long long) id.ms,
                                      (unsigned long long) id.seq), buf });
}


/*
 * As many whole nodes go as can, and where that is asked for, of the next one
 * what is too much.
 */

static void
trim(stream_t *s, size_t most, int about)
{
    size_t            n;
    stream_entry_t  **e;

    while (s->n > most) {
        e = s->elts + s->first;

        for (n = 1; n < s->n && e[n]->node == e[0]->node; n++) { /* void */ }

        if (s->n - n < most) {
            if (!about) {
                stream_drop(s, s->n - most);
            }

            return;
        }

        stream_drop(s, n);
    }
}


COMMAND(xadd)
{
    int          about, given;
    size_t       i;
    int64_t      most;
    entry_t     *e;
    stream_t    *s;
    stream_id_t  id;

    most = -1;
    about = 0;
    given = 0;
    id.ms = id.seq = 0;

    for (i = 2; i < argc; i++) {
        if (view_is(argv[i], "*")) {
            break;
        }

        if (view_is(argv[i], "maxlen") && i + 1 < argc) {
            about = i + 2 < argc && view_is(argv[i + 1], "~");
            i += about || (i + 2 < argc && view_is(argv[i + 1], "="));

            if (!take_int(r, argv[++i], &most)) {
                return;
            }

            if (most < 0) {
                reply_error(r, "ERR The MAXLEN argument must be >= 0.");
                return;
            }

            continue;
        }

        given = 1;

        if (!stream_id(argv[i], 0, &id)) {
            reply_error(r, "ERR Invalid stream ID specified as stream command "
                        "argument");
            return;
        }

        break;
    }

    i++;

    if (argc < i + 2 || (argc - i) % 2) {
        reply_error(r, "ERR wrong number of arguments for 'xadd' command");
        return;
    }

    if (given && id.ms == 0 && id.seq == 0) {
        reply_error(r, "ERR The ID specified in XADD must be greater than 0-0");
        return;
    }

    if (!typed(r, argv[1], TYPE_STREAM, &e)) {
        return;
    }

    s = writable(r, argv[1], TYPE_STREAM, e)->stream;

    if (!given) {
        id.ms = r->now;

        if (id.ms <= s->last.ms) {
            id = s->last;
            id_next(&id);
        }
    }

    if (id_cmp(id, s->last) <= 0) {
        reply_error(r, "ERR The ID specified in XADD is equal or smaller than "
                    "the target stream top item");
        return;
    }

    stream_add(s, id, argc - i, argv + i);
    reply_id(r, id);

    if (most >= 0) {
        trim(s, most, about);
    }
}


COMMAND(xlen)
{
    entry_t  *e;

    if (typed(r, argv[1], TYPE_STREAM, &e)) {
        reply_int(r, e ? e->u.value->stream->n : 0);
    }
}


static int
id_bound(sim_redis_t *r, view_t v, int last, stream_id_t *id)
{
    int  without;

    if (v.len == 1 && (v.data[0] == '-' || v.data[0] == '+')) {
        id->ms = id->seq = v.data[0] == '+' ? UINT64_MAX : 0;
        return 1;
    }

    without = v.len > 1 && v.data[0] == '(';

    if (without) {
        v.data++;
        v.len--;
    }

    if (stream_id(v, last ? UINT64_MAX : 0, id)) {

        if (!without) {
            return 1;
        }

        if (id->ms == (last ? 0 : UINT64_MAX) && id->seq == id->ms) {
            reply_error(r, last ? "ERR invalid end ID for the interval"
                                : "ERR invalid start ID for the interval");
            return 0;
        }

        if (last) {
            id_previous(id);

        } else {
            id_next(id);
        }

        return 1;
    }

    reply_error(r, "ERR Invalid stream ID specified as stream command "
                "argument");

    return 0;
}


static void
stream_range(sim_redis_t *r, size_t argc, const view_t *argv, int reverse)
{
    size_t           i, j, n, from;
    int64_t          most;
    entry_t         *e;
    stream_t        *s;
    stream_id_t      start, end;
    stream_entry_t  *entry;

    if (!id_bound(r, argv[reverse ? 3 : 2], 0, &start)
        || !id_bound(r, argv[reverse ? 2 : 3], 1, &end))
    {
        return;
    }

    most = -1;

    for (i = 4; i < argc; i += 2) {
        if (!view_is(argv[i], "count") || i + 1 == argc) {
            reply_error(r, SYNTAX);
            return;
        }

        if (!take_int(r, argv[i + 1], &most)) {
            return;
        }

        most = most < 0 ? 0 : most;
    }

    if (!typed(r, argv[1], TYPE_STREAM, &e)) {
        return;
    }

    if (e == NULL) {
        reply_array(r, 0);
        return;
    }

    if (most == 0) {
        reply_raw(r, "*-1\r\n", 5);
        return;
    }

    s = e->u.value->stream;

    for (from = 0; from < s->n; from++) {
        if (id_cmp(s->elts[s->first + from]->id, start) >= 0) {
            break;
        }
    }

    for (n = 0; from + n < s->n; n++) {
        if (id_cmp(s->elts[s->first + from + n]->id, end) > 0) {
            break;
        }
    }

    if (most > 0 && (uint64_t) most < n) {
        from += reverse ? n - most : 0;
        n = most;
    }

    reply_array(r, n);

    for (i = 0; i < n; i++) {
        entry = s->elts[s->first + from + (reverse ? n - 1 - i : i)];

        reply_array(r, 2);
        reply_id(r, entry->id);
        reply_array(r, entry->n);

        for (j = 0; j < entry->n; j++) {
            reply_bulk(r, text_view(entry->texts[j]));
        }
    }
}


COMMAND(xrange)
{
    stream_range(r, argc, argv, 0);
}


COMMAND(xrevrange)
{
    stream_range(r, argc, argv, 1);
}


/* Keys */

COMMAND(del)
{
    int       n;
    size_t    i;
    entry_t  *e;

    for (n = 0, i = 1; i < argc; i++) {
        e = find(r, argv[i]);

        if (e) {
            drop(r, e);
            n++;
        }
    }

    reply_int(r, n);
}


COMMAND(exists)
{
    int     n;
    size_t  i;

    for (n = 0, i = 1; i < argc; i++) {
        n += find(r, argv[i]) != NULL;
    }

    reply_int(r, n);
}


COMMAND(type)
{
    entry_t  *e;

    static const char  *types[] = { "string", "hash", "set", "zset", "stream",
                                    "list" };

    e = find(r, argv[1]);
    reply_status(r, e ? types[e->u.value->type] : "none");
}


static void
expire(sim_redis_t *r, size_t argc, const view_t *argv, int64_t unit)
{
    int64_t   when;
    entry_t  *e;

    if (argc > 3) {
        reply_error(r, "ERR sim: no options");
        return;
    }

    if (!take_int(r, argv[2], &when)) {
        return;
    }

    if (when > INT64_MAX / unit || when < INT64_MIN / unit
        || when * unit > INT64_MAX - r->now)
    {
        reply_error(r, "ERR invalid expire time in '%s' command",
                    unit == 1 ? "pexpire" : "expire");
        return;
    }

    when = when * unit + r->now;
    e = find(r, argv[1]);

    if (e == NULL) {
        reply_int(r, 0);
        return;
    }

    if (when <= r->now) {
        drop(r, e);

    } else {
        value_own(&e->u.value)->expires = when;
    }

    reply_int(r, 1);
}


COMMAND(expire)
{
    expire(r, argc, argv, 1000);
}


COMMAND(pexpire)
{
    expire(r, argc, argv, 1);
}


COMMAND(persist)
{
    entry_t  *e;

    e = find(r, argv[1]);

    if (e == NULL || e->u.value->expires == -1) {
        reply_int(r, 0);
        return;
    }

    value_own(&e->u.value)->expires = -1;
    reply_int(r, 1);
}


static void
reply_ttl(sim_redis_t *r, view_t key, int ms)
{
    int64_t   ttl;
    entry_t  *e;

    e = find(r, key);

    if (e == NULL || e->u.value->expires == -1) {
        reply_int(r, e ? -1 : -2);
        return;
    }

    ttl = e->u.value->expires - r->now;
    reply_int(r, ms ? ttl : (ttl + 500) / 1000);
}


COMMAND(ttl)
{
    reply_ttl(r, argv[1], 0);
}


COMMAND(pttl)
{
    reply_ttl(r, argv[1], 1);
}


/* with "*" and "?" */

static int
matches(view_t pattern, view_t text)
{
    size_t  p, t, star, mark;

    p = t = 0;
    star = SIZE_MAX;
    mark = 0;

    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star = p++;
            mark = t;

        } else if (p < pattern.len
                   && (pattern.data[p] == '?'
                       || pattern.data[p] == text.data[t]))
        {
            p++;
            t++;

        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++mark;

        } else {
            return 0;
        }
    }

    while (p < pattern.len && pattern.data[p] == '*') {
        p++;
    }

    return p == pattern.len;
}


COMMAND(keys)
{
    size_t    n;
    entry_t  *e;

#define IS_LISTED(e)                                                          \
    ((e->u.value->expires == -1 || r->now <= e->u.value->expires)             \
     && matches(argv[1], text_view(e->key)))

    n = 0;

    map_each(&r->keys, e) {
        n += IS_LISTED(e);
    }

    reply_array(r, n);

    map_each(&r->keys, e) {
        if (IS_LISTED(e)) {
            reply_bulk(r, text_view(e->key));
        }
    }

    if (n > 1) {
        r->open |= SIM_REDIS_ORDER;
    }
}


COMMAND(dbsize)
{
    reply_int(r, r->keys.live);
}


COMMAND(flushall)
{
    map_free(&r->keys, MAP_VALUES);
    reply_status(r, "OK");
}


/* The rest */

COMMAND(time)
{
    char  buf[32];

    reply_array(r, 2);
    reply_bulk(r, (view_t) { snprintf(buf, sizeof(buf), "%lld",
                                      (long long) (r->time / 1000000)), buf });
    reply_bulk(r, (view_t) { snprintf(buf, sizeof(buf), "%lld",
                                      (long long) (r->time % 1000000)), buf });
}


COMMAND(ping)
{
    if (argc == 2) {
        reply_bulk(r, argv[1]);

    } else {
        reply_status(r, "PONG");
    }
}


COMMAND(echo)
{
    reply_bulk(r, argv[1]);
}


COMMAND(select)
{
    int64_t  n;

    if (!view_int(argv[1], &n)) {
        reply_error(r, NO_INT);

    } else if (n != 0) {
        reply_error(r, "ERR sim: there is one database");

    } else {
        reply_status(r, "OK");
    }
}


COMMAND(publish)
{
    reply_int(r, 0);
}


COMMAND(info)
{
    reply_bulk(r, (view_t) { 22, "redis_version:7.0.15\r\n" });
}


const command_t  sim_commands[] = {
    { "get", 2, 0, command_get },
    { "mget", -2, 0, command_mget },
    { "set", -3, 0, command_set },
    { "incr", 2, 0, command_incr },
    { "incrby", 3, 0, command_incrby },

    { "hget", 3, 0, command_hget },
    { "hmget", -3, 0, command_hmget },
    { "hgetall", 2, 0, command_hgetall },
    { "hkeys", 2, 0, command_hkeys },
    { "hvals", 2, 0, command_hvals },
    { "hscan", -3, 0, command_hscan },
    { "hset", -4, 0, command_hset },
    { "hsetnx", 4, 0, command_hsetnx },
    { "hincrby", 4, 0, command_hincrby },
    { "hdel", -3, 0, command_hdel },
    { "hexists", 3, 0, command_hexists },
    { "hlen", 2, 0, command_hlen },

    { "sadd", -3, 0, command_sadd },
    { "srem", -3, 0, command_srem },
    { "sismember", 3, 0, command_sismember },
    { "scard", 2, 0, command_scard },
    { "smembers", 2, 0, command_smembers },
    { "sscan", -3, 0, command_sscan },
    { "srandmember", -2, 0, command_srandmember },

    { "zadd", -4, 0, command_zadd },
    { "zincrby", 4, 0, command_zincrby },
    { "zrem", -3, 0, command_zrem },
    { "zcard", 2, 0, command_zcard },
    { "zscore", 3, 0, command_zscore },
    { "zcount", 4, 0, command_zcount },
    { "zrange", -4, 0, command_zrange },
    { "zrangebyscore", -4, 0, command_zrangebyscore },
    { "zremrangebyscore", 4, 0, command_zremrangebyscore },
    { "zrevrangebyscore", -4, 0, command_zrevrangebyscore },
    { "zrangebylex", -4, 0, command_zrangebylex },

    { "rpush", -3, 0, command_rpush },
    { "lpop", -2, 0, command_lpop },
    { "llen", 2, 0, command_llen },
    { "lindex", 3, 0, command_lindex },
    { "lrange", 4, 0, command_lrange },

    { "xadd", -5, 0, command_xadd },
    { "xlen", 2, 0, command_xlen },
    { "xrange", -4, 0, command_xrange },
    { "xrevrange", -4, 0, command_xrevrange },

    { "del", -2, 0, command_del },
    { "unlink", -2, 0, command_del },
    { "exists", -2, 0, command_exists },
    { "type", 2, 0, command_type },
    { "expire", -3, 0, command_expire },
    { "pexpire", -3, 0, command_pexpire },
    { "persist", 2, 0, command_persist },
    { "ttl", 2, 0, command_ttl },
    { "pttl", 2, 0, command_pttl },
    { "keys", 2, 0, command_keys },
    { "dbsize", 1, 0, command_dbsize },
    { "flushall", -1, 0, command_flushall },

    { "time", 1, 0, command_time },
    { "ping", -1, 0, command_ping },
    { "echo", 2, 0, command_echo },
    { "select", 2, 0, command_select },
    { "publish", 3, 0, command_publish },
    { "info", -1, 0, command_info },

    { "eval", -3, 1, command_eval },
    { "evalsha", -3, 1, command_evalsha },
    { "script", -2, 1, command_script },

    { NULL, 0, 0, NULL }
};
