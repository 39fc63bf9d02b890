
/*
 * The worker's Redis: its servers, what is known of them together.
 */

#include "store/cluster.h"
#include "store/redis_commit.h"
#include "store/redis_handshake.h"
#include "store/redis_life.h"
#include "store/redis_node.h"


static lines_redis_node_t *redis_create_node(lines_redis_t *redis,
    lines_cluster_address_t *address);
static void redis_destroy_node(lines_redis_node_t *node);
static void redis_add_status(lines_redis_node_t *node,
    lines_redis_status_t *status);
static void redis_ready(void *data);
static void redis_lost(void *data);
static void redis_refuse_handler(ngx_event_t *ev);


static lines_cluster_owner_t  redis_owner = {
    redis_create_node,
    redis_destroy_node,
    lines_redis_op_place,
    lines_redis_op_done
};


lines_redis_t *
lines_redis_create(ngx_cycle_t *cycle, lines_redis_conf_t *conf)
{
    lines_redis_t  *redis;

    redis = ngx_pcalloc(cycle->pool, sizeof(lines_redis_t));
    if (redis == NULL) {
        return NULL;
    }

    redis->conf = conf;
    redis->log = cycle->log;

    ngx_queue_init(&redis->nodes);

    if (conf->cluster) {
        redis->cluster = lines_cluster_create(cycle, redis, &redis_owner);

        return redis->cluster ? redis : NULL;
    }

    if (conf->master.len) {
        redis->sentinel = lines_sentinel_create(cycle, conf);
        if (redis->sentinel == NULL) {
            return NULL;
        }
    }

    redis->node = redis_create_node(redis, NULL);

    return redis->node ? redis : NULL;
}


/*
 * Starts to connect, to that address of a cluster's, copied, or, where it is
 * NULL, to where the configuration or Sentinel says.
 */

static lines_redis_node_t *
redis_create_node(lines_redis_t *redis, lines_cluster_address_t *address)
{
    ngx_str_t                  host;
    lines_redis_node_t        *node;
    lines_redis_connection_t  *conn;

    node = ngx_calloc(sizeof(lines_redis_node_t), redis->log);
    if (node == NULL) {
        return NULL;
    }

    node->redis = redis;

    ngx_queue_init(&node->waiting);

    node->refuse.handler = redis_refuse_handler;
    node->refuse.data = node;
    node->refuse.log = redis->log;

    conn = &node->connection;

    conn->conf = redis->conf;
    conn->log = redis->log;
    conn->data = node;
    conn->role = "commands";
    conn->status = &node->status;
    conn->ready = redis_ready;
    conn->lost = redis_lost;

    if (address) {
        node->address = *address;

        host.data = address->host;
        host.len = address->len;

        node->name.data = node->name_data;
        node->name.len = ngx_sprintf(node->name_data,
                                     ngx_strlchr(host.data,
                                                 host.data + host.len, ':')
                                     ? "[%V]:%d" : "%V:%d", &host,
                                     (int) address->port)
                         - node->name_data;
    }

    ngx_queue_insert_tail(&redis->nodes, &node->queue);

    lines_redis_guide(node, conn);

    lines_redis_open(conn);

    if (redis->conf->replicas) {
        node->commit = lines_redis_commit_create(node, lines_redis_op_done);

        if (node->commit == NULL) {
            redis_destroy_node(node);
            return NULL;
        }
    }

    if (redis->joined && redis->joined(node) != NGX_OK) {
        redis_destroy_node(node);
        return NULL;
    }

    return node;
}


/* who waits for it, or for a reply of it, is told of none */

static void
redis_destroy_node(lines_redis_node_t *node)
{
    if (node->subscription) {
        node->redis->left(node);
    }

    node->connection.away = 1;

    /* what was asked for last, of which nobody needs to hear */

    lines_redis_flush(&node->connection);
    lines_redis_close(&node->connection);

    if (node->commit) {
        lines_redis_commit_destroy(node->commit);
    }

    if (node->refuse.posted) {
        ngx_delete_posted_event(&node->refuse);
    }

    lines_redis_op_refuse(node);

    ngx_queue_remove(&node->queue);

    ngx_free(node);
}


void
lines_redis_destroy(lines_redis_t *redis)
{
    redis->closed = 1;

    if (redis->cluster) {
        lines_cluster_destroy(redis->cluster);
        return;
    }

    redis_destroy_node(redis->node);

    if (redis->sentinel) {
        lines_sentinel_destroy(redis->sentinel);
    }
}


void
lines_redis_end(lines_redis_t *redis)
{
    redis->closed = 1;
}


ngx_int_t
lines_redis_turn(lines_redis_t *redis)
{
    ngx_int_t            rc;
    lines_redis_node_t  *node;

    rc = NGX_DECLINED;
    node = NULL;

    while ((node = lines_redis_next(redis, node))) {
        if (lines_redis_turn_connection(&node->connection) == NGX_OK) {
            rc = NGX_OK;
        }
    }

    ngx_msleep(1);
    ngx_time_update();

    return rc;
}


void
lines_redis_divide(lines_redis_t *redis, lines_redis_t *limits)
{
    redis->limits = limits;
}


lines_redis_t *
lines_redis_limits(lines_redis_t *redis)
{
    return redis->limits ? redis->limits : redis;
}


ngx_uint_t
lines_redis_primary(lines_redis_t *redis, ngx_str_t *tenant)
{
    lines_redis_node_t   *node;
    lines_cluster_key_t   key;

    if (redis->cluster == NULL) {
        return 0;
    }

    /* all of them have it as their tag */

    ngx_memzero(&key, sizeof(lines_cluster_key_t));
    lines_cluster_key_add(&key, tenant);

    node = lines_cluster_node(redis->cluster, lines_cluster_key_slot(&key));

    return node && node->nslots < LINES_CLUSTER_SLOTS ? node->number : 0;
}


void
lines_redis_status(lines_redis_t *redis, lines_redis_status_t *status)
{
    ngx_uint_t                 known;
    lines_redis_node_t        *node;
    lines_redis_connection_t  *conn;

    *status = redis->status;

    node = NULL;
    known = 1;

    while ((node = lines_redis_next(redis, node))) {
        redis_add_status(node, status);

        known &= node->connection.state == LINES_REDIS_READY
                 && node->connection.run_id[0] != '\0';

        status->servers += ngx_murmur_hash2(node->connection.run_id,
                                            LINES_REDIS_RUN_ID);
    }

    if (!known) {
        status->servers = 0;
    }

    /* what may be lost is as safe as it has to be */

    if (redis->conf->limits) {
        status->evicts = 0;
        status->no_aof = 0;
        status->no_info = 0;
        status->no_config = 0;
        status->settings = 0;
    }

    if (redis->cluster) {
        lines_cluster_status(redis->cluster, status);
        return;
    }

    conn = &redis->node->connection;

    status->connected = (conn->state == LINES_REDIS_READY);
    status->serves = status->connected;

    if (!status->connected) {
        status->reason.data = conn->logged;
        status->reason.len = ngx_strlen(conn->logged);
    }
}


static void
redis_add_status(lines_redis_node_t *node, lines_redis_status_t *status)
{
    lines_redis_status_t      *own;
    lines_redis_connection_t  *conn;

    own = &node->status;
    conn = &node->connection;

    status->evicts |= own->evicts;
    status->no_aof |= own->no_aof;
    status->no_info |= own->no_info;
    status->no_config |= own->no_config;
    status->settings |= own->settings;
    status->readonly |= own->readonly;

    status->unconfirmed |= node->commit
                           && !lines_redis_commit_good(node->commit);
    status->unsynced |= node->commit
                        && !lines_redis_commit_synced(node->commit);
    status->away |= conn->away;
    status->probing |= conn->away
                       && conn->state >= LINES_REDIS_RESOLVING
                       && conn->state <= LINES_REDIS_HANDSHAKE;
    status->reconnects += conn->connects ? conn->connects - 1 : 0;
    status->denied |= conn->denied_at
                      && ngx_current_msec - conn->denied_at
                         <= LINES_REDIS_DENIED;

    /* of several nodes, what was met last */

    if (conn->refused_at
        && ngx_current_msec - conn->refused_at <= LINES_REDIS_REFUSED
        && (status->refuses == NULL
            || (ngx_msec_int_t) (conn->refused_at - status->refused_at) > 0))
    {
        status->refuses = conn->refuses;
        status->refused_at = conn->refused_at;
    }
}


void
lines_redis_review(lines_redis_t *redis)
{
    lines_redis_node_t  *node;

    node = NULL;

    while ((node = lines_redis_next(redis, node))) {
        lines_redis_look(&node->connection);
    }
}


static void
redis_ready(void *data)
{
    lines_redis_node_t *node = data;

    node->status.readonly = 0;
    node->down = 0;

    if (node->commit) {
        lines_redis_commit_renew(node->commit);
    }

    lines_redis_op_resume(node);
}


static void
redis_lost(void *data)
{
    lines_redis_node_t *node = data;

    if (node->redis->cluster) {
        lines_cluster_lost(node->redis->cluster);
    }

    if (node->connection.away && !ngx_queue_empty(&node->waiting)) {
        ngx_post_event(&node->refuse, &ngx_posted_events);
    }
}


static void
redis_refuse_handler(ngx_event_t *ev)
{
    lines_redis_op_refuse(ev->data);
}
