
/*
 * The nodes of a cluster.  A node may tell an old map, as one that was cut off
 * does: its epoch, which grows with each failover and each slot that moves, is
 * compared, and an older one counts only when it is told again and again, as
 * after a cluster was set up anew.
 */

#include "store/cluster.h"
#include "store/redis_life.h"
#include "store/redis_log.h"


/* the map is read so often, and so often while not all is served */
#define LINES_CLUSTER_PERIOD     10000
#define LINES_CLUSTER_TROUBLE    200

/* ... but not more often than this, whatever redirections come */
#define LINES_CLUSTER_PAUSE      50

/* an operation that is to be tried again waits so long */
#define LINES_CLUSTER_RETRY      50

/* how often one is sent elsewhere */
#define LINES_CLUSTER_REDIRECTS  8

/* a map of an older epoch is believed the so manieth time */
#define LINES_CLUSTER_OLDER      10

/* a node without slots that operations are sent to, by ASK, stays so long */
#define LINES_CLUSTER_ASKED      30000

/* nodes that are known at all: with those that leave */
#define LINES_CLUSTER_KNOWN      (2 * LINES_CLUSTER_NODES)

#define LINES_CLUSTER_MARKERS    200000


struct lines_cluster_s {
    lines_redis_t             *redis;
    ngx_log_t                 *log;

    ngx_queue_t                nodes;
    ngx_uint_t                 nnodes;
    ngx_queue_t                followers;

    ngx_queue_t                later;
    ngx_event_t                retry;

    lines_redis_connection_t   seed;       /* while no node is connected */
    ngx_uint_t                 nseed;      /* that is tried next */

    ngx_event_t                timer;
    lines_redis_connection_t  *asking;     /* NULL: nobody is asked */
    ngx_msec_t                 asked_at;
    ngx_uint_t                 turn;
    ngx_uint_t                 follow_turn;

    off_t                      told;       /* the epoch, by who is asked; 0: it
                                              does not say */
    off_t                      epoch;      /* of the map; 0: unknown */
    ngx_uint_t                 older;      /* maps in a row */

    unsigned                   known:1;    /* there is a map */
    unsigned                   bad:1;      /* that one cannot be read was said */
    unsigned                   destroyed:1;

    ngx_uint_t                 unserved;   /* slots */
    lines_redis_node_t        *slots[LINES_CLUSTER_SLOTS];
    lines_cluster_map_t        map;        /* that is being read */

    u_char                     reason[LINES_REDIS_CAUSE_LEN
                                      + LINES_CLUSTER_HOST + 16];
};


static void cluster_wake(lines_cluster_t *cluster, ngx_msec_t delay);
static void cluster_timer_handler(ngx_event_t *ev);
static ngx_uint_t cluster_ask(lines_cluster_t *cluster);
static void cluster_question(lines_cluster_t *cluster,
    lines_redis_connection_t *conn);
static ngx_uint_t cluster_whole(lines_cluster_t *cluster);
static void cluster_sweep(lines_cluster_t *cluster);
static void cluster_remove(lines_cluster_t *cluster, lines_redis_node_t *node);
static void cluster_open_seed(lines_cluster_t *cluster);
static void cluster_locate_seed(lines_redis_connection_t *conn,
    ngx_uint_t last);
static void cluster_seed_ready(void *data);
static void cluster_seed_lost(void *data);
static void cluster_told_epoch(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static void cluster_told_shards(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static void cluster_told_slots(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static void cluster_take(lines_cluster_t *cluster,
    lines_redis_connection_t *conn, ngx_int_t rc);
static void cluster_complain(lines_cluster_t *cluster,
    lines_redis_connection_t *conn, char *why);
static void cluster_fill_hosts(lines_cluster_t *cluster,
    lines_redis_connection_t *conn);
static ngx_int_t cluster_apply(lines_cluster_t *cluster);
static void cluster_set_slot(lines_cluster_t *cluster, ngx_uint_t slot,
    lines_redis_node_t *node);
static lines_redis_node_t *cluster_find(lines_cluster_t *cluster,
    lines_cluster_address_t *address);
static void cluster_reroute(lines_cluster_t *cluster,
    lines_redis_node_t *node);
static void cluster_retry_handler(ngx_event_t *ev);
static void cluster_locate_any(lines_redis_connection_t *conn,
    ngx_uint_t last);


lines_cluster_t *
lines_cluster_create(ngx_cycle_t *cycle, lines_redis_t *redis)
{
    lines_cluster_t  *cluster;

    cluster = ngx_pcalloc(cycle->pool, sizeof(lines_cluster_t));
    if (cluster == NULL) {
        return NULL;
    }

    cluster->redis = redis;
    cluster->log = cycle->log;
    cluster->unserved = LINES_CLUSTER_SLOTS;

    ngx_queue_init(&cluster->nodes);
    ngx_queue_init(&cluster->followers);
    ngx_queue_init(&cluster->later);

    cluster->retry.handler = cluster_retry_handler;
    cluster->retry.data = cluster;
    cluster->retry.log = cycle->log;
    cluster->retry.cancelable = 1;

    cluster->timer.handler = cluster_timer_handler;
    cluster->timer.data = cluster;
    cluster->timer.log = cycle->log;
    cluster->timer.cancelable = 1;

    cluster_open_seed(cluster);
    cluster_wake(cluster, LINES_CLUSTER_TROUBLE);

    return cluster;
}


void
lines_cluster_destroy(lines_cluster_t *cluster)
{
    ngx_queue_t       *q;
    lines_redis_op_t  *op;

    cluster->destroyed = 1;

    lines_redis_close(&cluster->seed);

    while (!ngx_queue_empty(&cluster->nodes)) {
        q = ngx_queue_head(&cluster->nodes);
        cluster_remove(cluster, ngx_queue_data(q, lines_redis_node_t, queue));
    }

    while (!ngx_queue_empty(&cluster->later)) {
        q = ngx_queue_head(&cluster->later);
        op = ngx_queue_data(q, lines_redis_op_t, asked.queue);

        lines_redis_detach(op);
    }

    if (cluster->retry.timer_set) {
        ngx_del_timer(&cluster->retry);
    }

    if (cluster->timer.timer_set) {
        ngx_del_timer(&cluster->timer);
    }
}


lines_redis_node_t *
lines_cluster_next(lines_cluster_t *cluster, lines_redis_node_t *node)
{
    ngx_queue_t  *q;

    q = ngx_queue_next(node ? &node->queue : &cluster->nodes);

    return q == ngx_queue_sentinel(&cluster->nodes)
           ? NULL : ngx_queue_data(q, lines_redis_node_t, queue);
}


lines_redis_node_t *
lines_cluster_node(lines_cluster_t *cluster, ngx_int_t slot)
{
    lines_redis_node_t  *node, *any;

    if (slot != LINES_CLUSTER_ANY) {
        return cluster->slots[slot];
    }

    any = NULL;
    node = NULL;

    while ((node = lines_cluster_next(cluster, node))) {

        if (node->nslots == 0) {
            continue;
        }

        if (node->connection.state == LINES_REDIS_READY) {
            return node;
        }

        any = node;
    }

    return any;
}


ngx_uint_t
lines_cluster_away(lines_cluster_t *cluster)
{
    return !cluster->known && cluster->seed.away;
}


void
lines_cluster_lost(lines_cluster_t *cluster)
{
    if (!cluster->destroyed) {
        cluster_wake(cluster, LINES_CLUSTER_PAUSE);
    }
}


/* who waits for a node that is connected, goes there */

void
lines_cluster_ready(lines_cluster_t *cluster)
{
    ngx_queue_t               *q;
    lines_redis_connection_t  *conn;

    for (q = ngx_queue_head(&cluster->followers);
         q != ngx_queue_sentinel(&cluster->followers);
         q = ngx_queue_next(q))
    {
        conn = ngx_queue_data(q, lines_redis_connection_t, follower);

        if (conn->state == LINES_REDIS_RESOLVING && conn->resolve == NULL) {
            cluster_locate_any(conn, 0);
        }
    }
}


/* at that time at the latest */

static void
cluster_wake(lines_cluster_t *cluster, ngx_msec_t delay)
{
    if (cluster->timer.timer_set) {

        if ((ngx_msec_int_t) (cluster->timer.timer.key - ngx_current_msec)
            <= (ngx_msec_int_t) delay)
        {
            return;
        }

        ngx_del_timer(&cluster->timer);
    }

    ngx_add_timer(&cluster->timer, delay);
}


static void
cluster_timer_handler(ngx_event_t *ev)
{
    lines_cluster_t *cluster = ev->data;

    cluster_sweep(cluster);

    if (cluster->asking
        && ngx_current_msec - cluster->asked_at
           >= cluster->redis->conf->timeout)
    {
        /* one that is slow may be asked no more, but serve */

        if (cluster->asking == &cluster->seed) {
            lines_redis_fail(&cluster->seed, "it does not tell its map");
        }

        cluster->asking = NULL;
    }

    if (cluster->asking == NULL && !cluster_ask(cluster)) {
        cluster_open_seed(cluster);
    }

    cluster_wake(cluster, cluster_whole(cluster) ? LINES_CLUSTER_PERIOD
                                                 : LINES_CLUSTER_TROUBLE);
}


/* one node after the other; flag: there is one */

static ngx_uint_t
cluster_ask(lines_cluster_t *cluster)
{
    ngx_uint_t           i, n;
    lines_redis_node_t  *node;

    n = 0;
    node = NULL;

    while ((node = lines_cluster_next(cluster, node))) {
        n += (node->connection.state == LINES_REDIS_READY);
    }

    if (n == 0) {

        if (cluster->seed.state == LINES_REDIS_READY) {
            cluster_question(cluster, &cluster->seed);
        }

        return 0;
    }

    if (cluster->seed.state != LINES_REDIS_CLOSED) {
        lines_redis_close(&cluster->seed);
    }

    i = cluster->turn++ % n;

    while ((node = lines_cluster_next(cluster, node))) {

        if (node->connection.state == LINES_REDIS_READY && i-- == 0) {
            cluster_question(cluster, &node->connection);
            break;
        }
    }

    return 1;
}


static void
cluster_question(lines_cluster_t *cluster, lines_redis_connection_t *conn)
{
    cluster->asking = conn;
    cluster->asked_at = ngx_current_msec;

    lines_redis_ask(conn, cluster_told_epoch, cluster, "CLUSTER INFO");
    lines_redis_ask(conn, cluster_told_shards, cluster, "CLUSTER SHARDS");
}


/* flag: each slot has a node that is connected */

static ngx_uint_t
cluster_whole(lines_cluster_t *cluster)
{
    lines_redis_node_t  *node;

    if (cluster->unserved) {
        return 0;
    }

    node = NULL;

    while ((node = lines_cluster_next(cluster, node))) {

        if (node->nslots && node->connection.state != LINES_REDIS_READY) {
            return 0;
        }
    }

    return 1;
}


/*
 * A node that has nothing more to do here goes, once what was sent to it is
 * answered.  Called by the timer alone: nothing of it is in use.
 */

static void
cluster_sweep(lines_cluster_t *cluster)
{
    lines_redis_node_t        *node, *next;
    lines_redis_connection_t  *conn;

    for (node = lines_cluster_next(cluster, NULL); node; node = next) {
        next = lines_cluster_next(cluster, node);
        conn = &node->connection;

        if (node->nslots
            || (node->asked_at
                && ngx_current_msec - node->asked_at < LINES_CLUSTER_ASKED))
        {
            continue;
        }

        node->asked_at = 0;
        cluster_reroute(cluster, node);

        if (ngx_queue_empty(&conn->asked)
            || (conn->state != LINES_REDIS_READY
                && conn->state != LINES_REDIS_DRAINING))
        {
            ngx_log_error(NGX_LOG_NOTICE, cluster->log, 0,
                          "lines redis \"%V\": it has no slots any more",
                          &node->name);

            cluster_remove(cluster, node);
        }
    }
}


static void
cluster_remove(lines_cluster_t *cluster, lines_redis_node_t *node)
{
    ngx_uint_t  i;

    for (i = 0; node->nslots && i < LINES_CLUSTER_SLOTS; i++) {
        if (cluster->slots[i] == node) {
            cluster_set_slot(cluster, i, NULL);
        }
    }

    ngx_queue_remove(&node->queue);
    cluster->nnodes--;

    if (node->connection.connects) {
        cluster->redis->status.reconnects += node->connection.connects - 1;
    }

    lines_redis_node_destroy(node);

    if (cluster->asking == &node->connection) {
        cluster->asking = NULL;
    }
}


static void
cluster_open_seed(lines_cluster_t *cluster)
{
    lines_redis_connection_t  *conn;

    conn = &cluster->seed;

    if (conn->state != LINES_REDIS_CLOSED) {
        return;
    }

    ngx_memzero(conn, sizeof(lines_redis_connection_t));

    conn->conf = cluster->redis->conf;
    conn->name = &cluster->redis->conf->name;
    conn->log = cluster->log;
    conn->data = cluster;
    conn->role = "map of the cluster";
    conn->ready = cluster_seed_ready;
    conn->lost = cluster_seed_lost;
    conn->locate = cluster_locate_seed;
    conn->guide = cluster;
    conn->any = 1;

    lines_redis_open(conn);
}


static void
cluster_locate_seed(lines_redis_connection_t *conn, ngx_uint_t last)
{
    lines_cluster_t *cluster = conn->guide;

    ngx_array_t         *seeds;
    lines_redis_conf_t  *conf;

    if (last) {
        return;
    }

    seeds = cluster->redis->conf->sentinels;
    conf = seeds->elts;
    conf = &conf[cluster->nseed++ % seeds->nelts];

    conn->name = &conf->name;

    lines_redis_aim(conn, conf);
}


static void
cluster_seed_ready(void *data)
{
    lines_cluster_t *cluster = data;

    if (cluster->asking == NULL || cluster->asking == &cluster->seed) {
        cluster_question(cluster, &cluster->seed);
    }
}


static void
cluster_seed_lost(void *data)
{
    lines_cluster_t *cluster = data;

    if (cluster->asking == &cluster->seed) {
        cluster->asking = NULL;
    }
}


static void
cluster_told_epoch(lines_redis_connection_t *conn, void *data,
    redisReply *reply)
{
    lines_cluster_t *cluster = data;

    char    *p;
    size_t   len;

    static char  name[] = "cluster_current_epoch:";

    if (conn != cluster->asking) {
        return;
    }

    cluster->told = 0;

    if (reply == NULL || reply->type != REDIS_REPLY_STRING) {
        return;
    }

    p = strstr(reply->str, name);

    if (p) {
        p += sizeof(name) - 1;
        len = strspn(p, "0123456789");

        cluster->told = ngx_max(ngx_atoof((u_char *) p, len), 0);
    }
}


static void
cluster_told_shards(lines_redis_connection_t *conn, void *data,
    redisReply *reply)
{
    lines_cluster_t *cluster = data;

    if (conn != cluster->asking) {
        return;
    }

    if (reply == NULL) {
        cluster->asking = NULL;
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        lines_redis_ask(conn, cluster_told_slots, cluster, "CLUSTER SLOTS");
        return;
    }

    cluster_take(cluster, conn,
                 lines_cluster_read_shards(&cluster->map, reply,
                                           cluster->redis->conf->secure));
}


static void
cluster_told_slots(lines_redis_connection_t *conn, void *data,
    redisReply *reply)
{
    lines_cluster_t *cluster = data;

    if (conn != cluster->asking) {
        return;
    }

    if (reply == NULL) {
        cluster->asking = NULL;
        return;
    }

    if (reply->type != REDIS_REPLY_ERROR) {
        cluster_take(cluster, conn,
                     lines_cluster_read_slots(&cluster->map, reply));
        return;
    }

    cluster->asking = NULL;

    if (lines_redis_error_is(reply, "cluster support disabled")) {
        lines_redis_fail(conn, "the server is no node of a cluster: "
                         "\"redis://\" is for that");
        return;
    }

    cluster_complain(cluster, conn, reply->str);
}


static void
cluster_take(lines_cluster_t *cluster, lines_redis_connection_t *conn,
    ngx_int_t rc)
{
    cluster->asking = NULL;

    if (rc != NGX_OK) {
        cluster_complain(cluster, conn, "it cannot be read");
        return;
    }

    /* as one does that was reset */

    if (cluster->map.nnodes == 0) {
        cluster_complain(cluster, conn, "no slot has a primary");
        return;
    }

    if (cluster->told
        && cluster->told < cluster->epoch
        && ++cluster->older < LINES_CLUSTER_OLDER)
    {
        ngx_log_debug3(NGX_LOG_DEBUG_EVENT, cluster->log, 0,
                       "lines cluster: \"%V\" tells epoch %O, not %O",
                       conn->name, cluster->told, cluster->epoch);

        cluster_wake(cluster, LINES_CLUSTER_TROUBLE);
        return;
    }

    cluster->older = 0;
    cluster->bad = 0;
    cluster->epoch = cluster->told ? cluster->told : cluster->epoch;

    cluster_fill_hosts(cluster, conn);

    if (cluster_apply(cluster) != NGX_OK) {
        cluster_wake(cluster, LINES_CLUSTER_TROUBLE);
        return;
    }

    cluster->known = 1;

    if (!cluster_whole(cluster)) {
        cluster_wake(cluster, LINES_CLUSTER_TROUBLE);
    }
}


/* once, until there is a good one */

static void
cluster_complain(lines_cluster_t *cluster, lines_redis_connection_t *conn,
    char *why)
{
    if (!cluster->bad) {
        cluster->bad = 1;

        ngx_log_error(NGX_LOG_ERR, cluster->log, 0,
                      "lines redis \"%V\": its map of the cluster is not used: "
                      "%*s", conn->name,
                      ngx_min(ngx_strlen(why), LINES_REDIS_TEXT_LEN), why);
    }

    /* another one may tell a better one */

    if (conn == &cluster->seed) {
        lines_redis_fail(conn, "its map of the cluster is not used: %*s",
                         ngx_min(ngx_strlen(why), LINES_REDIS_TEXT_LEN), why);
    }

    cluster_wake(cluster, LINES_CLUSTER_TROUBLE);
}


static void
cluster_fill_hosts(lines_cluster_t *cluster, lines_redis_connection_t *conn)
{
    ngx_str_t                 host;
    ngx_uint_t                i;
    lines_redis_node_t       *node;
    lines_cluster_address_t  *address;

    if (conn == &cluster->seed) {
        host = conn->conf->url.host;

        if (host.len > 2 && host.data[0] == '[') {
            host.data++;
            host.len -= 2;
        }

    } else {
        node = conn->data;
        host.data = node->address.host;
        host.len = node->address.len;
    }

    for (i = 0; i < cluster->map.nnodes; i++) {
        address = &cluster->map.nodes[i];

        if (address->len == 0) {
            (void) lines_cluster_set_address(address, host.data, host.len,
                                             address->port);
        }
    }
}


static ngx_int_t
cluster_apply(lines_cluster_t *cluster)
{
    ngx_uint_t            i;
    lines_redis_node_t   *node, *nodes[LINES_CLUSTER_NODES];
    lines_cluster_map_t  *map;

    map = &cluster->map;

    for (i = 0; i < map->nnodes; i++) {
        nodes[i] = cluster_find(cluster, &map->nodes[i]);

        if (nodes[i] == NULL) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < LINES_CLUSTER_SLOTS; i++) {
        cluster_set_slot(cluster, i,
                         map->owners[i] ? nodes[map->owners[i] - 1] : NULL);
    }

    node = NULL;

    while ((node = lines_cluster_next(cluster, node))) {
        cluster_reroute(cluster, node);
    }

    return NGX_OK;
}


static void
cluster_set_slot(lines_cluster_t *cluster, ngx_uint_t slot,
    lines_redis_node_t *node)
{
    if (cluster->slots[slot]) {
        cluster->slots[slot]->nslots--;

    } else {
        cluster->unserved--;
    }

    if (node) {
        node->nslots++;

    } else {
        cluster->unserved++;
    }

    cluster->slots[slot] = node;
}


/* NULL: no memory, or too many */

static lines_redis_node_t *
cluster_find(lines_cluster_t *cluster, lines_cluster_address_t *address)
{
    lines_redis_node_t  *node;

    node = NULL;

    while ((node = lines_cluster_next(cluster, node))) {

        if (lines_cluster_same(&node->address, address)) {
            return node;
        }
    }

    if (cluster->nnodes == LINES_CLUSTER_KNOWN) {
        return NULL;
    }

    node = lines_redis_node_create(cluster->redis, address);
    if (node == NULL) {
        return NULL;
    }

    ngx_queue_insert_tail(&cluster->nodes, &node->queue);
    cluster->nnodes++;

    ngx_log_error(NGX_LOG_NOTICE, cluster->log, 0,
                  "lines redis \"%V\": a primary of the cluster \"%V\"",
                  &node->name, &cluster->redis->conf->name);

    return node;
}


/* who waits for a node that does not have the slot any more does so elsewhere */

static void
cluster_reroute(lines_cluster_t *cluster, lines_redis_node_t *node)
{
    ngx_queue_t       *q, *next;
    lines_redis_op_t  *op;

    for (q = ngx_queue_head(&node->waiting);
         q != ngx_queue_sentinel(&node->waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        op = ngx_queue_data(q, lines_redis_op_t, asked.queue);

        if (lines_cluster_node(cluster, op->slot) != node
            && (!op->asking || node->asked_at == 0))
        {
            ngx_queue_remove(q);
            lines_cluster_later(cluster, op);
        }
    }
}


void
lines_cluster_later(lines_cluster_t *cluster, lines_redis_op_t *op)
{
    op->node = NULL;
    op->sent = 0;
    op->asking = 0;

    ngx_queue_insert_tail(&cluster->later, &op->asked.queue);

    if (!cluster->retry.timer_set && !cluster->destroyed) {
        ngx_add_timer(&cluster->retry, LINES_CLUSTER_RETRY);
    }
}


static void
cluster_retry_handler(ngx_event_t *ev)
{
    lines_cluster_t *cluster = ev->data;

    ngx_queue_t          all, *q;
    lines_redis_op_t    *op;
    lines_redis_node_t  *node;

    ngx_queue_init(&all);

    if (!ngx_queue_empty(&cluster->later)) {
        ngx_queue_add(&all, &cluster->later);
        ngx_queue_init(&cluster->later);
    }

    while (!ngx_queue_empty(&all)) {
        q = ngx_queue_head(&all);
        ngx_queue_remove(q);

        op = ngx_queue_data(q, lines_redis_op_t, asked.queue);
        node = lines_cluster_node(cluster, op->slot);

        if (node == NULL || node->connection.away) {
            lines_cluster_later(cluster, op);
            cluster_wake(cluster, LINES_CLUSTER_TROUBLE);

        } else {
            lines_redis_op_place(op, node);
        }
    }
}


/*
 * What is redirected has not run.  A node that is told of by one that does not
 * have the slot is believed for this slot at once, unless another one was told
 * of meanwhile.
 */

ngx_int_t
lines_cluster_redirect(lines_cluster_t *cluster, lines_redis_op_t *op,
    redisReply *reply)
{
    ngx_int_t                 slot;
    ngx_uint_t                asking, moved;
    lines_redis_node_t       *node;
    lines_cluster_address_t   address;

    moved = (ngx_strncmp(reply->str, "MOVED ", 6) == 0);
    asking = (ngx_strncmp(reply->str, "ASK ", 4) == 0);

    if (!moved
        && !asking
        && ngx_strncmp(reply->str, "TRYAGAIN ", 9) != 0
        && ngx_strncmp(reply->str, "CLUSTERDOWN ", 12) != 0
        && ngx_strncmp(reply->str, "LOADING ", 8) != 0)
    {
        return NGX_DECLINED;
    }

    if (op->handler == NULL || op->slot == LINES_CLUSTER_ANY) {
        return NGX_ERROR;
    }

    if (!moved && !asking) {
        cluster_wake(cluster, LINES_CLUSTER_TROUBLE);
        lines_cluster_later(cluster, op);
        return NGX_OK;
    }

    if (op->redirects == LINES_CLUSTER_REDIRECTS) {
        return NGX_ERROR;
    }

    op->redirects++;

    slot = lines_cluster_read_redirection(&address, (u_char *) reply->str,
                                          reply->len);
    if (slot != op->slot) {
        return NGX_ERROR;
    }

    if (address.len == 0) {
        (void) lines_cluster_set_address(&address, op->node->address.host,
                                         op->node->address.len, address.port);
    }

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, cluster->log, 0,
                   "lines cluster: %p, \"%s\"", op, reply->str);

    if (moved) {
        cluster_wake(cluster, LINES_CLUSTER_PAUSE);
    }

    if (moved && cluster->slots[slot] != op->node) {
        node = cluster->slots[slot];

    } else {
        node = cluster_find(cluster, &address);
    }

    if (node == NULL) {
        lines_cluster_later(cluster, op);
        return NGX_OK;
    }

    if (moved) {
        cluster_set_slot(cluster, slot, node);

    } else {
        node->asked_at = ngx_max(ngx_current_msec, 1);
    }

    if (node == op->node || node->connection.away) {
        lines_cluster_later(cluster, op);
        return NGX_OK;
    }

    op->asking = asking;

    lines_redis_op_place(op, node);

    return NGX_OK;
}


void
lines_cluster_follow(lines_cluster_t *cluster, lines_redis_connection_t *conn)
{
    conn->guide = cluster;
    conn->locate = cluster_locate_any;

    ngx_queue_insert_tail(&cluster->followers, &conn->follower);
}


/* its failures are its own, wherever it goes */

static void
cluster_locate_any(lines_redis_connection_t *conn, ngx_uint_t last)
{
    lines_cluster_t *cluster = conn->guide;

    ngx_str_t            host;
    ngx_uint_t           i, n, failures;
    lines_redis_node_t  *node;

    n = 0;
    node = NULL;

    while ((node = lines_cluster_next(cluster, node))) {
        n += (node->connection.state == LINES_REDIS_READY);
    }

    if (n == 0 && !last) {
        return;
    }

    if (n == 0) {
        lines_redis_fail(conn, "no node of the cluster is connected");
        return;
    }

    i = cluster->follow_turn++ % n;

    while ((node = lines_cluster_next(cluster, node))) {
        if (node->connection.state == LINES_REDIS_READY && i-- == 0) {
            break;
        }
    }

    host.data = node->address.host;
    host.len = node->address.len;
    failures = conn->failures;

    lines_redis_located(conn, &host, node->address.port, 1);

    conn->failures = failures;
}


ngx_uint_t
lines_cluster_marker(lines_redis_node_t *node)
{
    u_char                buffer[sizeof("marker:") + NGX_INT_T_LEN];
    ngx_str_t             tag;
    ngx_uint_t            i;
    lines_cluster_t      *cluster;
    lines_cluster_key_t   key;

    cluster = node->redis->cluster;

    for (i = 0; node->nslots && i < LINES_CLUSTER_MARKERS; i++) {
        ngx_memzero(&key, sizeof(lines_cluster_key_t));

        tag.data = buffer;
        tag.len = ngx_sprintf(buffer, "marker:%ui", node->marker) - buffer;

        lines_cluster_key_add(&key, &tag);

        if (cluster->slots[lines_cluster_key_slot(&key)] == node) {
            break;
        }

        node->marker = (node->marker + 1) % LINES_CLUSTER_MARKERS;
    }

    return node->marker;
}


void
lines_cluster_status(lines_cluster_t *cluster, lines_redis_status_t *status)
{
    u_char                    *p;
    ngx_uint_t                 i;
    lines_redis_node_t        *node;
    lines_redis_connection_t  *conn;

    p = cluster->reason;
    status->reason.data = p;

    if (!cluster->known) {
        conn = &cluster->seed;

        status->away = conn->away;
        status->probing = conn->away
                          && conn->state >= LINES_REDIS_RESOLVING
                          && conn->state <= LINES_REDIS_HANDSHAKE;

        status->reason.len = ngx_sprintf(p, "%s", conn->logged) - p;
        return;
    }

    node = NULL;

    while ((node = lines_cluster_next(cluster, node))) {
        conn = &node->connection;

        if (node->nslots && conn->state != LINES_REDIS_READY) {
            status->reason.len = ngx_sprintf(p, "%V: %s", &node->name,
                                             conn->logged)
                                 - p;
            return;
        }
    }

    if (cluster->unserved) {
        for (i = 0; cluster->slots[i]; i++) { /* void */ }

        status->reason.len = ngx_sprintf(p, "%ui slots have no primary, the "
                                         "first is %ui", cluster->unserved, i)
                             - p;
        return;
    }

    status->connected = 1;
    status->reason.len = 0;
}
