
/*
 * A due list is but a hint, in a slot of its own, and a failover may lose it.
 * So now and then a few tenants are looked at: what is unfinished there is
 * given its hint again.  A few commands at a time; nobody waits for them.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/engine.h"


#define LINES_WALK_BATCH  16      /* hints at a time */


static void walk_scanned(void *data, redisReply *reply);
static void walk_next(lines_main_conf_t *lmcf);
static void walk_operations(void *data, redisReply *reply);
static void walk_hint(lines_main_conf_t *lmcf);
static void walk_hinted(void *data, redisReply *reply);
static void walk_end(lines_walk_t *walk);


void
lines_walk(lines_main_conf_t *lmcf)
{
    ngx_str_t      argv[5];
    lines_walk_t  *walk;

    walk = &lmcf->operation->walk;

    if (walk->pool) {
        return;
    }

    walk->pool = ngx_create_pool(4096, ngx_cycle->log);
    if (walk->pool == NULL) {
        return;
    }

    ngx_str_set(&argv[0], "SSCAN");
    ngx_str_set(&argv[1], "lines:{tenants}");
    argv[2].data = walk->cursor;
    argv[2].len = walk->cursor_len;
    ngx_str_set(&argv[3], "COUNT");
    ngx_str_set(&argv[4], "50");

    if (walk->cursor_len == 0) {
        ngx_str_set(&argv[2], "0");
    }

    if (lines_redis_command(lmcf->redis, 5, argv, walk_scanned, lmcf) == NULL)
    {
        walk_end(walk);
    }
}


static void
walk_scanned(void *data, redisReply *reply)
{
    lines_main_conf_t *lmcf = data;

    ngx_str_t      cursor, tenant;
    ngx_uint_t     i;
    redisReply    *members;
    lines_walk_t  *walk;

    walk = &lmcf->operation->walk;

    if (reply == NULL
        || reply->type != REDIS_REPLY_ARRAY
        || reply->elements != 2
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        walk_end(walk);
        return;
    }

    cursor = lines_reply_str(reply, 0);
    walk->cursor_len = 0;

    if (cursor.len && cursor.len <= sizeof(walk->cursor)) {
        ngx_memcpy(walk->cursor, cursor.data, cursor.len);
        walk->cursor_len = cursor.len;
    }

    members = reply->element[1];

    walk->tenants = ngx_pcalloc(walk->pool,
                                (members->elements + 1) * sizeof(ngx_str_t));
    if (walk->tenants == NULL) {
        walk_end(walk);
        return;
    }

    walk->n = 0;

    for (i = 0; i < members->elements; i++) {
        tenant = lines_reply_str(members, i);

        walk->tenants[walk->n].len = tenant.len;
        walk->tenants[walk->n].data = ngx_pstrdup(walk->pool, &tenant);

        if (tenant.len == 0 || walk->tenants[walk->n].data == NULL) {
            continue;
        }

        walk->n++;
    }

    walk_next(lmcf);
}


static void
walk_next(lines_main_conf_t *lmcf)
{
    ngx_str_t      argv[2];
    lines_walk_t  *walk;

    walk = &lmcf->operation->walk;

    if (walk->n == 0 || ngx_exiting) {
        walk_end(walk);
        return;
    }

    ngx_str_set(&argv[0], "SMEMBERS");

    if (lines_redis_format(walk->pool, &argv[1], "lines:{%V}:ops",
                           &walk->tenants[walk->n - 1])
        != NGX_OK
        || lines_redis_command(lmcf->redis, 2, argv, walk_operations, lmcf)
           == NULL)
    {
        walk_end(walk);
    }
}


static void
walk_operations(void *data, redisReply *reply)
{
    lines_main_conf_t *lmcf = data;

    ngx_str_t      id;
    ngx_uint_t     i;
    lines_walk_t  *walk;

    walk = &lmcf->operation->walk;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        walk_end(walk);
        return;
    }

    walk->nids = 0;
    walk->ids = ngx_palloc(walk->pool,
                           (reply->elements + 1) * sizeof(ngx_str_t));
    if (walk->ids == NULL) {
        walk_end(walk);
        return;
    }

    for (i = 0; i < reply->elements; i++) {
        id = lines_reply_str(reply, i);

        walk->ids[walk->nids].len = id.len;
        walk->ids[walk->nids].data = id.len
                                     ? ngx_pstrdup(walk->pool, &id)
                                     : NULL;

        if (walk->ids[walk->nids].data) {
            walk->nids++;
        }
    }

    walk_hint(lmcf);
}


/* the next few of the tenant, then the next tenant */

static void
walk_hint(lines_main_conf_t *lmcf)
{
    ngx_str_t      args[3];
    lines_walk_t  *walk;

    walk = &lmcf->operation->walk;

    while (walk->nids && walk->pending < LINES_WALK_BATCH) {

        if (lines_due(walk->pool, &walk->tenants[walk->n - 1],
                      &walk->ids[--walk->nids], &args[0], &args[1])
            != NGX_OK
            || lines_redis_format(walk->pool, &args[2], "%M",
                                  lmcf->operation->due)
               != NGX_OK
            || lines_redis_eval(lmcf->redis, &lines_script_due_ensure, 1, 3,
                                args, walk_hinted, lmcf)
               == NULL)
        {
            /* not now: another walk will come by */

            walk->nids = 0;
            break;
        }

        walk->pending++;
    }

    if (walk->pending == 0) {
        walk->n--;
        walk_next(lmcf);
    }
}


static void
walk_hinted(void *data, redisReply *reply)
{
    lines_main_conf_t *lmcf = data;

    if (reply && reply->type == REDIS_REPLY_INTEGER && reply->integer) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "lines: the hint to an unfinished operation was lost");
    }

    lmcf->operation->walk.pending--;

    walk_hint(lmcf);
}


static void
walk_end(lines_walk_t *walk)
{
    ngx_destroy_pool(walk->pool);

    walk->pool = NULL;
    walk->n = 0;
}
