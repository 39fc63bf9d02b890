
#include "http/text.h"
#include "http/zone.h"
#include "limit/lease.h"
#include "limit/rates.h"


ngx_int_t
lines_lease_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    lines_keeper_init_process(cycle, lmcf);

    if (lmcf->limits) {
        lines_rates_init_process(cycle, lmcf);
    }

    return NGX_OK;
}


void
lines_lease_exit_process(lines_main_conf_t *lmcf)
{
    lines_rates_exit_process();
    lines_keeper_exit_process(lmcf);
}


void
lines_lease_told(ngx_str_t *message)
{
    lines_rates_told(message);
}


/* after a reload the configuration may say another */

static void
lease_configured(lines_lease_node_t *node, lines_limit_t *limit)
{
    if (!node->own) {
        lines_bucket_rate(&node->bucket, &limit->rate, node->bucket.version,
                          ngx_current_msec);
    }
}


ngx_int_t
lines_lease_take(lines_limit_t *limit, ngx_str_t *key, ngx_str_t *tenant,
    lines_rate_t *rate, lines_gcra_t *gcra)
{
    ngx_int_t            rc;
    ngx_uint_t           hurry, look, shard;
    lines_lease_node_t  *node;

    node = lines_keeper_lock(limit, key);

    if (node == NULL) {
        lines_keeper_unlock();
        return NGX_DECLINED;
    }

    lease_configured(node, limit);

    lines_rates_apply(node, limit);

    hurry = 0;
    rc = limit->each ? NGX_DECLINED
                     : lines_ledger_admit(&lines_keeper_area()->ledger,
                                          &node->bucket, ngx_current_msec,
                                          gcra, &hurry);

    /* Another worker told the bucket by a later clock than this one looked at
       when its events began: that may be all that a fast rate is short of. */

    if (rc == NGX_OK && !gcra->granted) {
        ngx_time_update();

        rc = lines_ledger_admit(&lines_keeper_area()->ledger, &node->bucket,
                                ngx_current_msec, gcra, &hurry);
    }

    /* a rate that refuses somebody, or is asked for, should be the latest; of
       any other what changes it tells, or that it may have been missed */

    look = tenant->len
           && (limit->kind & LINES_LIMIT_IDENTITY)
           && lines_rates_due(node, tenant,
                              rc == NGX_OK ? !gcra->granted : !limit->each);

    *rate = node->bucket.rate;
    shard = node->bucket.shard;

    lines_keeper_unlock();

    if (look) {
        lines_rates_look(limit, key, tenant);
    }

    if (hurry) {
        lines_keeper_settle(shard, 0);
    }

    return rc;
}


/* locks the bucket that Redis is not asked about any more */

static lines_lease_node_t *
lease_asked(lines_limit_t *limit, ngx_str_t *key)
{
    lines_lease_node_t  *node;

    node = lines_keeper_lock(limit, key);

    if (node) {
        lines_bucket_asked(&node->bucket);
    }

    return node;
}


void
lines_lease_unasked(ngx_str_t *key)
{
    (void) lease_asked(NULL, key);
    lines_keeper_unlock();
}


ngx_int_t
lines_lease_ask(lines_caller_t *caller, lines_limit_t *limit, ngx_str_t *key,
    lines_limit_settle_pt done, void *data)
{
    u_char               text[LINES_LEASE_TEXT];
    ngx_str_t            uses;
    ngx_int_t            rc, owes;
    ngx_uint_t           shard, number;
    lines_bucket_t       bucket;
    lines_lease_node_t  *node;

    number = 0;
    ngx_memzero(&bucket, sizeof(lines_bucket_t));
    lines_bucket_init(&bucket, 0, &limit->rate);

    node = lines_keeper_lock(NULL, key);

    if (node) {
        number = lines_ledger_ask(&lines_keeper_area()->ledger, &node->bucket,
                                  ngx_current_msec);
        bucket = node->bucket;
    }

    lines_keeper_unlock();

    shard = ngx_murmur_hash2(key->data, key->len) % LINES_SHARDS;

    uses.data = text;
    owes = lines_bucket_owes(&bucket, ngx_current_msec);
    uses.len = lines_keeper_write(text, &bucket, owes, 0);

    rc = lines_try_limit_settle(caller, done, data,
                                .shard = (int64_t) shard,
                                .node = { LINES_ID_LEN,
                                          lines_keeper_area()->id },
                                .number = (int64_t) number,
                                .need = 1, .sent = bucket.sent,
                                .ids.n = 1, .ids.elts = key,
                                .uses.n = 1, .uses.elts = &uses);

    if (rc != NGX_AGAIN) {
        lines_lease_unasked(key);
    }

    return rc;
}


ngx_int_t
lines_lease_answered(lines_limit_t *limit, ngx_str_t *key, ngx_msec_t asked,
    lines_limit_settle_reply_t *reply, lines_rate_t *rate, lines_gcra_t *gcra)
{
    double               tat;
    ngx_int_t            rc;
    ngx_uint_t           none;
    lines_lease_node_t  *node, alone;

    if (reply == NULL || reply->buckets.n != 1) {
        lines_lease_unasked(key);
        return NGX_ERROR;
    }

    node = lease_asked(limit, key);
    none = (node == NULL);

    /* nothing is remembered of it: then this is all there is */

    if (none) {
        ngx_memzero(&alone, sizeof(lines_lease_node_t));
        lines_bucket_init(&alone.bucket, 0, &limit->rate);
        node = &alone;
    }

    rc = lines_keeper_told(node, &reply->buckets.elts[0], reply->settled,
                           asked);

    if (rc == NGX_OK) {
        *rate = node->bucket.rate;

        tat = node->bucket.tat;
        lines_gcra_take(rate, &tat, (double) ngx_current_msec * 1000,
                        reply->granted ? 0 : 1, gcra);

        if (reply->granted) {
            gcra->granted = 1;

        } else if (gcra->granted) {

            /* there is one by now */

            *gcra = (lines_gcra_t) { .retry = 1 };
        }
    }

    lines_keeper_unlock();

    return rc;
}


void
lines_lease_give(lines_limit_t *limit, ngx_str_t *key)
{
    ngx_uint_t           shard;
    lines_lease_node_t  *node;

    node = lines_keeper_lock(limit, key);
    shard = LINES_SHARDS;

    if (node) {
        lines_ledger_give(&lines_keeper_area()->ledger, &node->bucket,
                          ngx_current_msec);

        if (limit->each) {
            lines_ledger_ready(&lines_keeper_area()->ledger, &node->bucket,
                               ngx_current_msec);
            shard = node->bucket.shard;
        }
    }

    lines_keeper_unlock();

    if (shard < LINES_SHARDS) {
        lines_keeper_settle(shard, 0);
    }
}


void
lines_lease_local(lines_limit_t *limit, ngx_str_t *key, ngx_uint_t owed,
    lines_rate_t *rate, lines_gcra_t *gcra)
{
    lines_lease_node_t  *node;

    /* a zone that others fill has room for none */

    *gcra = (lines_gcra_t) { .granted = 1 };

    node = lines_keeper_lock_anyway(limit, key);

    if (node) {
        lease_configured(node, limit);

        *rate = node->bucket.rate;
        lines_ledger_alone(&lines_keeper_area()->ledger, &node->bucket,
                           ngx_current_msec, owed, gcra);
    }

    lines_keeper_unlock();
}


void
lines_lease_local_give(ngx_str_t *key)
{
    lines_lease_node_t  *node;

    node = lines_keeper_lock(NULL, key);

    if (node) {
        lines_ledger_alone_give(&lines_keeper_area()->ledger, &node->bucket,
                                ngx_current_msec);
    }

    lines_keeper_unlock();
}


void
lines_lease_status(lines_lease_status_t *status)
{
    lines_rate_t         rate = { 1, LINES_BURST_MAX };
    lines_lease_area_t  *area;

    area = lines_keeper_area();

    status->ahead = (ngx_uint_t) ngx_max(area->ledger.ahead, 0);
    status->buckets = area->buckets;
    status->nodes = lines_ledger_share(&area->ledger, &rate,
                                       ngx_current_msec)
                    ? area->ledger.share.nodes : 0;
}
