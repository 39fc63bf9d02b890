
/*
 * Whom a limit counts: two who ask, and the keys of their buckets.  The first
 * byte says which kind of limit it is, the second what each of the two has; then
 * a line each of tenant, user, key and value, of one and of the other.  Behind
 * "=" a rate as it is written, and what a bucket does by it; behind "<" what
 * Redis says of one.
 */

#include "fuzz.h"
#include "limit/limit.c"
#include "limit/lease.c"
#include "limit/keeper.c"
#include "limit/ledger.c"
#include "limit/rates.c"


static ngx_str_t  variable;


ngx_int_t
lines_try_value(ngx_http_request_t *r, ngx_http_complex_value_t *cv,
    ngx_uint_t wait, ngx_str_t *value, ngx_uint_t *late)
{
    *value = variable;
    *late = 0;

    return NGX_OK;
}


/* tenants and ids of keys are what authentication lets through */

static ngx_str_t
fuzz_name(fuzz_t *in, const char *kind)
{
    size_t      i;
    ngx_str_t   text, name;

    text = fuzz_line(in);
    name.data = ngx_pnalloc(fuzz_request().pool, text.len + 3);
    ngx_memcpy(name.data, kind, ngx_strlen(kind));
    name.len = ngx_strlen(kind);

    for (i = 0; i < ngx_min(text.len, 64); i++) {
        if (lines_is_alnum(text.data[i]) || text.data[i] == '_'
            || text.data[i] == '-')
        {
            name.data[name.len++] = text.data[i];
        }
    }

    if (name.len == ngx_strlen(kind)) {
        name.len = 0;
    }

    return name;
}


typedef struct {
    ngx_str_t   who;
    ngx_str_t   whose;
    ngx_str_t   key;
    ngx_int_t   rc;
} fuzz_asker_t;


static fuzz_asker_t
fuzz_ask(fuzz_t *in, lines_limit_t *limit, ngx_uint_t has)
{
    u_char             *p;
    ngx_str_t           key_id;
    ngx_uint_t          late;
    fuzz_asker_t        asker;
    fuzz_request_t      request;
    lines_identity_t   *identity;

    request = fuzz_request();
    identity = &request.ctx->identity;
    ngx_memzero(&asker, sizeof(fuzz_asker_t));

    identity->tenant = fuzz_name(in, has & 1 ? "w:" : "a:");
    identity->user = fuzz_line(in);
    key_id = fuzz_name(in, "");
    variable = fuzz_line(in);

    ngx_str_set(&identity->method, "clerk");

    if (has & 2) {
        ngx_str_set(&identity->method, "key");
        identity->key_id = key_id;
    }

    request.r->connection->addr_text = variable;

    asker.rc = limit_key(request.ctx, limit, 0, &asker.key, &late);

    if (limit->kind & LINES_LIMIT_IDENTITY) {
        asker.who = identity->tenant.len ? identity->tenant : identity->user;
        asker.whose = identity->key_id.len ? identity->key_id
                                           : identity->method;

        if (limit->kind == LINES_LIMIT_TENANT) {
            asker.whose.len = 0;
        }

    } else {
        asker.who = variable;
    }

    must(asker.rc == NGX_OK || asker.rc == NGX_DECLINED);
    must((asker.rc == NGX_DECLINED) == (asker.who.len == 0)
         || limit->kind == LINES_LIMIT_IP);

    if (asker.rc != NGX_OK || limit->kind == LINES_LIMIT_IP) {
        return asker;
    }

    /* an id, which is behind a hash tag of numbers */

    must(ngx_strncmp(asker.key.data, "name:", 5) == 0);

    for (p = asker.key.data; p < asker.key.data + asker.key.len; p++) {
        must(*p > ' ' && *p < 0x7f);
    }

    return asker;
}


static void
fuzz_keys(fuzz_t *in, ngx_uint_t kind)
{
    ngx_uint_t      has, same;
    fuzz_asker_t    one, other;
    lines_limit_t   limit;

    static const ngx_uint_t  kinds[] = {
        LINES_LIMIT_TENANT, LINES_LIMIT_KEY, LINES_LIMIT_IP,
        LINES_LIMIT_VARIABLE
    };

    ngx_memzero(&limit, sizeof(lines_limit_t));
    ngx_str_set(&limit.id, "name");
    limit.kind = kinds[kind % 4];
    limit.each = kind / 4 % 2;

    has = fuzz_byte(in);

    one = fuzz_ask(in, &limit, has);
    other = fuzz_ask(in, &limit, has >> 4);

    if (one.rc != NGX_OK || other.rc != NGX_OK) {
        return;
    }

    /* one's bucket is nobody else's */

    same = lines_same(&one.who, &other.who)
           && lines_same(&one.whose, &other.whose);

    if (limit.kind != LINES_LIMIT_IP) {
        must(lines_same(&one.key, &other.key) == same
             || (limit.kind & LINES_LIMIT_IDENTITY));
        must(!lines_same(&one.key, &other.key)
             || (lines_same(&one.who, &other.who)
                 && lines_same(&one.whose, &other.whose)));
    }
}


/* a bucket as Redis tells of it, and what is let through by it */

static void
fuzz_bucket(fuzz_t *in, lines_rate_t *rate, double full)
{
    ngx_int_t        was;
    ngx_uint_t       i, what, hurry, share;
    ngx_msec_t       now;
    lines_gcra_t     gcra;
    lines_rate_t     other;
    lines_bucket_t   bucket, *batch[LINES_BATCH];

    static lines_ledger_t  ledger;

    now = 1000000;

    lines_ledger_init(&ledger);
    lines_ledger_joined(&ledger, now - LINES_SHARE_JOINS,
                        now - LINES_SHARE_JOINS, 0, 1);
    lines_ledger_joined(&ledger, now, now, 1, fuzz_byte(in));

    ngx_memzero(&bucket, sizeof(lines_bucket_t));
    lines_bucket_init(&bucket, 0, rate);
    lines_ledger_told(&ledger, &bucket, full, 0, now, now);

    for (i = 0; i < 64 && in->p < in->last; i++) {
        now += fuzz_byte(in);
        what = fuzz_byte(in);
        share = lines_ledger_share(&ledger, &bucket.rate, now);
        was = bucket.uses + bucket.sent;

        must(share <= bucket.rate.burst / LINES_LEASE_SHARE);

        switch (what % 8) {

        case 0:
            lines_ledger_give(&ledger, &bucket, now);
            break;

        case 1:
            lines_ledger_alone(&ledger, &bucket, now, what & 8, &gcra);
            must(gcra.remaining <= bucket.rate.burst);
            must((gcra.granted == 0) == (gcra.retry > 0));
            break;

        case 2:
            (void) lines_ledger_send(&ledger, &ledger.shards[0], now, what & 8,
                                     batch);
            must(lines_bucket_age(&bucket, now) >= 0);
            break;

        case 3:
            if (lines_ledger_heard(&ledger, &ledger.shards[0],
                                   ledger.shards[0].number, now, batch))
            {
                lines_ledger_told(&ledger, &bucket, full, what / 16,
                                  now - what / 8, now);
            }

            break;

        case 4:
            other.burst = fuzz_byte(in) + 1;
            other.interval = 10 * (double) (fuzz_byte(in) + 1);
            lines_bucket_rate(&bucket, &other, what / 8, now);
            break;

        default:
            if (lines_ledger_admit(&ledger, &bucket, now, &gcra, &hurry)
                == NGX_OK)
            {
                must(gcra.remaining <= bucket.rate.burst);
                must((gcra.granted == 0) == (gcra.retry > 0));
                must(!gcra.granted || was < (ngx_int_t) share);
            }
        }

        must(ledger.ahead == bucket.uses + bucket.sent);
        must((bucket.state == LINES_BUCKET_SENT)
             == !ngx_queue_empty(&ledger.shards[0].sent));
        must(lines_gcra_full(&bucket.rate, bucket.rate.burst) == 0);
    }

    must(lines_rate_window(rate) > 0);
}


static void
fuzz_rate(fuzz_t *in)
{
    ngx_str_t      text;
    lines_rate_t   rate;

    ngx_memzero(&rate, sizeof(lines_rate_t));
    text = fuzz_line(in);

    if (lines_rate_parse(&text, &rate) != NGX_OK) {
        return;
    }

    must(rate.interval >= 1e6 / LINES_RATE_MAX
         && rate.interval <= LINES_INTERVAL_MAX);

    rate.burst = (ngx_uint_t) fuzz_int(in) % LINES_BURST_MAX + 1;
    fuzz_bucket(in, &rate, (double) (fuzz_byte(in) * 1000));
}


static void
fuzz_reply(fuzz_t *in)
{
    ngx_str_t            text, told;
    lines_rate_t         rate = { 1000, 100 };
    lines_lease_node_t   node;

    static lines_lease_area_t  area;

    /* as the reader of replies has them: an end behind it */

    text = fuzz_line(in);
    told.len = text.len;
    told.data = ngx_pnalloc(fuzz_request().pool, text.len + 1);

    if (text.len) {
        ngx_memcpy(told.data, text.data, text.len);
    }

    told.data[text.len] = '\0';

    ngx_memzero(&node, sizeof(lines_lease_node_t));
    lines_bucket_init(&node.bucket, 0, &rate);

    keeper.area = &area;

    if (lines_keeper_told(&node, &told, (int64_t) fuzz_byte(in) - 1,
                          ngx_current_msec)
        != NGX_OK)
    {
        return;
    }

    rate = node.bucket.rate;

    must(rate.burst > 0 && rate.burst <= LINES_BURST_MAX);
    must(rate.interval > 0 && rate.interval <= LINES_INTERVAL_MAX);
    must(node.bucket.tat >= 0 && node.bucket.tat < 2e18);
    must(node.bucket.version >= 0);

    fuzz_bucket(in, &rate, node.bucket.tat - (double) ngx_current_msec * 1000);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t      in = { data, data + size };
    ngx_uint_t  kind;

    kind = fuzz_byte(&in);

    if (kind == '=') {
        fuzz_rate(&in);

    } else if (kind == '<') {
        fuzz_reply(&in);

    } else {
        fuzz_keys(&in, kind);
    }

    fuzz_end();

    return 0;
}
