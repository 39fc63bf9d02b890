
/*
 * The nodes of a cluster.  A node may tell an old map, as one that was cut off
 * does: its epoch, which grows with each failover and each slot that moves, is
 * compared, and an older one counts only when it is told again and again, as
 * after a cluster was set up anew.
 */

#include "store/cluster.h"
#include "store/cluster_ask.h"
#include "store/redis_life.h"
#include "store/redis_log.h"
#include "store/redis_node.h"


/* the map is read so often, */
#define LINES_CLUSTER_PERIOD     10000

/*
 * ... and soon after a redirection or a loss, or while not all is served, but
 * more slowly each time, until it was not for so long: a fleet has many workers
 */
#define LINES_CLUSTER_PAUSE      50
#define LINES_CLUSTER_CALM       3000

/* an operation that is to be tried again waits so long, */
#define LINES_CLUSTER_RETRY      50

/* and longer each time when it was sent elsewhere so often at once: while a slot
   goes over, two nodes may each name the other one; within its deadline */
#define LINES_CLUSTER_REDIRECTS  2

/* so often a delay grows to twice as much */
#define LINES_CLUSTER_DOUBLED    4

/* a map of an older epoch is believed the so manieth time */
#define LINES_CLUSTER_OLDER      10

/* a node without slots that operations are sent to, by ASK, stays so long */
#define LINES_CLUSTER_ASKED      30000

/* nodes that are known at all: with those that leave */
#define LINES_CLUSTER_KNOWN      (2 * LINES_CLUSTER_NODES)

#define LINES_CLUSTER_MARKERS    200000


struct lines_cluster_s {
    lines_redis_t          *redis;
    lines_cluster_owner_t  *owner;
    ngx_log_t              *log;

    lines_cluster_ask_t    *ask;
    ngx_event_t             timer;

    ngx_uint_t              nnodes;
    ngx_uint_t              created;    /* nodes, so far */
    ngx_queue_t             later;
    ngx_event_t             retry;

    off_t                   epoch;      /* of the map; 0: unknown */
    ngx_uint_t              older;      /* maps in a row */

    ngx_uint_t              reads;      /* of the map, one soon after another, */
    ngx_msec_t              read_at;    /* the last one */

    unsigned                known:1;    /* there is a map */
    unsigned                destroyed:1;

    ngx_uint_t              unserved;   /* slots, */
    ngx_msec_t              unserved_at;
                                        /* since when there are some */
    lines_redis_node_t     *slots[LINES_CLUSTER_SLOTS];

    u_char                  reason[LINES_REDIS_CAUSE_LEN
                                   + LINES_CLUSTER_HOST + 16];
};


static void cluster_hurry(lines_cluster_t *cluster);
static void cluster_wake(lines_cluster_t *cluster, ngx_msec_t delay);
static void cluster_timer_handler(ngx_event_t *ev);
static ngx_uint_t cluster_whole(lines_cluster_t *cluster);
static ngx_uint_t cluster_serves(lines_redis_node_t *node);
static void cluster_sweep(lines_cluster_t *cluster);
static void cluster_remove(lines_cluster_t *cluster, lines_redis_node_t *node);
static void cluster_take(lines_cluster_t *cluster, lines_cluster_map_t *map,
    off_t epoch);
static ngx_int_t cluster_apply(lines_cluster_t *cluster,
    lines_cluster_map_t *map);
static void cluster_set_slot(lines_cluster_t *cluster, ngx_uint_t slot,
    lines_redis_node_t *node);
static lines_redis_node_t *cluster_find(lines_cluster_t *cluster,
    lines_cluster_address_t *address);
static void cluster_give_up(lines_redis_node_t *node);
static void cluster_reroute(lines_cluster_t *cluster,
    lines_redis_node_t *node);
static void cluster_queue(lines_cluster_t *cluster, lines_redis_op_t *op);
static ngx_msec_t cluster_jitter(ngx_msec_t delay);
static void cluster_retry_handler(ngx_event_t *ev);


lines_cluster_t *
lines_cluster_create(ngx_cycle_t *cycle, lines_redis_t *redis,
    lines_cluster_owner_t *owner)
{
    lines_cluster_t  *cluster;

    cluster = ngx_pcalloc(cycle->pool, sizeof(lines_cluster_t));
    if (cluster == NULL) {
        return NULL;
    }

    cluster->redis = redis;
    cluster->owner = owner;
    cluster->log = cycle->log;
    cluster->unserved = LINES_CLUSTER_SLOTS;

    ngx_queue_init(&cluster->later);

    cluster->retry.handler = cluster_retry_handler;
    cluster->retry.data = cluster;
    cluster->retry.log = cycle->log;
    cluster->retry.cancelable = 1;

    cluster->timer.handler = cluster_timer_handler;
    cluster->timer.data = cluster;
    cluster->timer.log = cycle->log;
    cluster->timer.cancelable = 1;

    cluster->ask = lines_cluster_ask_create(cycle, redis, cluster_take);
    if (cluster->ask == NULL) {
        return NULL;
    }

    cluster_hurry(cluster);

    return cluster;
}


void
lines_cluster_destroy(lines_cluster_t *cluster)
{
    ngx_queue_t         *q;
    lines_redis_node_t  *node;

    cluster->destroyed = 1;

    lines_cluster_ask_destroy(cluster->ask);

    while ((node = lines_redis_next(cluster->redis, NULL))) {
        cluster_remove(cluster, node);
    }

    while (!ngx_queue_empty(&cluster->later)) {
        q = ngx_queue_head(&cluster->later);
        ngx_queue_remove(q);

        cluster->owner->done(ngx_queue_data(q, lines_redis_op_t, asked.queue),
                             NULL);
    }

    if (cluster->retry.timer_set) {
        ngx_del_timer(&cluster->retry);
    }

    if (cluster->timer.timer_set) {
        ngx_del_timer(&cluster->timer);
    }
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

    while ((node = lines_redis_next(cluster->redis, node))) {

        if (node->nslots == 0) {
            continue;
        }

        if (cluster_serves(node) && !lines_redis_silent(node)) {
            return node;
        }

        any = node;
    }

    return any;
}


ngx_uint_t
lines_cluster_away(lines_cluster_t *cluster, ngx_int_t slot)
{
    ngx_msec_t           patience;
    lines_redis_node_t  *node;

    if (!cluster->known) {
        return lines_cluster_ask_seed(cluster->ask)->away;
    }

    patience = cluster->redis->conf->connect_timeout;
    node = lines_cluster_node(cluster, slot);

    if (node == NULL) {
        return ngx_current_msec - cluster->unserved_at >= patience;
    }

    return node->connection.away
           || (node->down && ngx_current_msec - node->down_at >= patience);
}


void
lines_cluster_lost(lines_cluster_t *cluster)
{
    if (!cluster->destroyed) {
        cluster_hurry(cluster);
    }
}


static void
cluster_hurry(lines_cluster_t *cluster)
{
    ngx_msec_t  delay;

    if (ngx_current_msec - cluster->read_at > LINES_CLUSTER_CALM) {
        cluster->reads = 0;
    }

    delay = LINES_CLUSTER_PAUSE << ngx_min(cluster->reads,
                                           LINES_CLUSTER_DOUBLED);

    cluster_wake(cluster, delay);
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

    ngx_add_timer(&cluster->timer, cluster_jitter(delay));
}


static void
cluster_timer_handler(ngx_event_t *ev)
{
    lines_cluster_t *cluster = ev->data;

    cluster_sweep(cluster);

    lines_cluster_ask_next(cluster->ask);

    cluster->reads++;
    cluster->read_at = ngx_current_msec;

    if (!cluster_whole(cluster)) {
        cluster_hurry(cluster);
        return;
    }

    cluster_wake(cluster, LINES_CLUSTER_PERIOD);
}


/*
 * Flag: each slot has a node that serves.  One that is silent keeps its
 * connection, but another one may have been promoted meanwhile.
 */

static ngx_uint_t
cluster_whole(lines_cluster_t *cluster)
{
    lines_redis_node_t  *node;

    if (cluster->unserved) {
        return 0;
    }

    node = NULL;

    while ((node = lines_redis_next(cluster->redis, node))) {

        if (node->nslots
            && (!cluster_serves(node) || lines_redis_silent(node)))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
cluster_serves(lines_redis_node_t *node)
{
    return node->connection.state == LINES_REDIS_READY && !node->down;
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

    for (node = lines_redis_next(cluster->redis, NULL); node; node = next) {
        next = lines_redis_next(cluster->redis, node);
        conn = &node->connection;

        if (node->nslots
            || (node->asked_at
                && ngx_current_msec - node->asked_at < LINES_CLUSTER_ASKED))
        {
            continue;
        }

        node->asked_at = 0;
        cluster_reroute(cluster, node);
        cluster_give_up(node);

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

    cluster->nnodes--;

    if (node->connection.connects) {
        cluster->redis->status.reconnects += node->connection.connects - 1;
    }

    lines_cluster_ask_forget(cluster->ask, &node->connection);

    cluster->owner->destroy(node);
}


static void
cluster_take(lines_cluster_t *cluster, lines_cluster_map_t *map, off_t epoch)
{
    if (map == NULL) {
        cluster_hurry(cluster);
        return;
    }

    if (epoch
        && epoch < cluster->epoch
        && ++cluster->older < LINES_CLUSTER_OLDER)
    {
        ngx_log_debug2(NGX_LOG_DEBUG_EVENT, cluster->log, 0,
                       "lines cluster: a map of epoch %O, not %O",
                       epoch, cluster->epoch);

        cluster_hurry(cluster);
        return;
    }

    cluster->older = 0;
    cluster->epoch = epoch ? epoch : cluster->epoch;

    if (cluster_apply(cluster, map) != NGX_OK) {
        cluster_hurry(cluster);
        return;
    }

    cluster->known = 1;

    if (!cluster_whole(cluster)) {
        cluster_hurry(cluster);
    }
}


static ngx_int_t
cluster_apply(lines_cluster_t *cluster, lines_cluster_map_t *map)
{
    ngx_uint_t           i;
    lines_redis_node_t  *node, *nodes[LINES_CLUSTER_NODES];

    for (i = 0; i < map->nnodes; i++) {
        nodes[i] = cluster_find(cluster, &map->nodes[i]);

        if (nodes[i] == NULL) {
            return NGX_ERROR;
        }

        /* whoever connects there next is to be that one */

        ngx_memcpy(nodes[i]->address.id, map->nodes[i].id, LINES_CLUSTER_ID);
    }

    for (i = 0; i < LINES_CLUSTER_SLOTS; i++) {
        cluster_set_slot(cluster, i,
                         map->owners[i] ? nodes[map->owners[i] - 1] : NULL);
    }

    node = NULL;

    while ((node = lines_redis_next(cluster->redis, node))) {
        cluster_reroute(cluster, node);
        cluster_give_up(node);
    }

    return NGX_OK;
}


static void
cluster_set_slot(lines_cluster_t *cluster, ngx_uint_t slot,
    lines_redis_node_t *node)
{
    lines_redis_node_t  *before;

    before = cluster->slots[slot];

    /* of what nobody serves it counts since when */

    if (before == node) {
        return;
    }

    if (before) {
        before->nslots--;

    } else {
        cluster->unserved--;
    }

    if (node) {
        node->nslots++;

    } else if (cluster->unserved++ == 0) {
        cluster->unserved_at = ngx_current_msec;

        /*
         * Redis 8 takes the slots of a primary that failed out of its map:
         * one that is away here already was waited for.
         */

        if (before && before->connection.away) {
            cluster->unserved_at -= cluster->redis->conf->connect_timeout;
        }
    }

    cluster->slots[slot] = node;
}


/*
 * From one that is silent, and whose slots others have by now, nothing is to
 * be waited for: what it was sent that may run twice runs where its slot is.
 */

static void
cluster_give_up(lines_redis_node_t *node)
{
    if (node->nslots == 0 && node->asked_at == 0 && lines_redis_silent(node)) {
        lines_redis_fail(&node->connection, "no reply, and its slots are of "
                         "others");
    }
}


/* NULL: no memory, or too many */

static lines_redis_node_t *
cluster_find(lines_cluster_t *cluster, lines_cluster_address_t *address)
{
    lines_redis_node_t  *node;

    node = NULL;

    while ((node = lines_redis_next(cluster->redis, node))) {

        if (lines_cluster_same(&node->address, address)) {
            return node;
        }
    }

    if (cluster->nnodes == LINES_CLUSTER_KNOWN) {
        return NULL;
    }

    node = cluster->owner->create(cluster->redis, address);
    if (node == NULL) {
        return NULL;
    }

    cluster->nnodes++;
    node->number = 1 + cluster->created++ % (LINES_PRIMARIES - 1);

    ngx_log_error(NGX_LOG_NOTICE, cluster->log, 0,
                  "lines redis \"%V\": a primary of the cluster \"%V\"",
                  &node->name, &cluster->redis->conf->name);

    return node;
}


/* who waits for a node that does not have the slot any more waits elsewhere */

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

        if (!op->pinned
            && lines_cluster_node(cluster, op->slot) != node
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
    ngx_uint_t  n;

    n = op->redirects - ngx_min(op->redirects, LINES_CLUSTER_REDIRECTS);

    lines_redis_op_at(op, NULL);
    op->sent = 0;
    op->asking = 0;
    op->later = ngx_current_msec
                + cluster_jitter(LINES_CLUSTER_RETRY
                                 << ngx_min(n, LINES_CLUSTER_DOUBLED));

    cluster_queue(cluster, op);
}


static void
cluster_queue(lines_cluster_t *cluster, lines_redis_op_t *op)
{
    ngx_queue_insert_tail(&cluster->later, &op->asked.queue);

    if (!cluster->retry.timer_set && !cluster->destroyed) {
        ngx_add_timer(&cluster->retry, LINES_CLUSTER_RETRY / 4);
    }
}


/* what many do at once they do not do again in one instant */

static ngx_msec_t
cluster_jitter(ngx_msec_t delay)
{
    return delay / 2 + (ngx_msec_t) ngx_random() % (delay / 2 + 1);
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

        if ((ngx_msec_int_t) (op->later - ngx_current_msec) > 0) {
            cluster_queue(cluster, op);
            continue;
        }

        /* who comes anew is refused as well: what is away is not waited for */

        if (lines_cluster_away(cluster, op->slot)) {
            cluster->redis->status.errors++;
            cluster->owner->done(op, NULL);
            continue;
        }

        node = lines_cluster_node(cluster, op->slot);

        if (node == NULL) {
            lines_cluster_later(cluster, op);
            cluster_hurry(cluster);

        } else {
            cluster->owner->place(op, node);
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

    if (ngx_strncmp(reply->str, "CLUSTERDOWN The cluster", 23) == 0) {
        lines_cluster_ask_set_down(op->node, 1);
    }

    if (op->handler == NULL || op->slot == LINES_CLUSTER_ANY) {
        return NGX_ERROR;
    }

    if (!moved && !asking) {

        /* while a slot moves it may be sent to and fro many a time */

        op->redirects = 0;

        cluster_hurry(cluster);
        lines_cluster_later(cluster, op);
        return NGX_OK;
    }

    op->redirects++;

    ngx_memzero(&address, sizeof(lines_cluster_address_t));

    slot = lines_cluster_read_redirection(&address, (u_char *) reply->str,
                                          reply->len);

    if (slot != op->slot && slot != NGX_ERROR) {
        return NGX_ERROR;
    }

    if (slot == NGX_ERROR || address.port == 0) {

        /* the map knows its address */

        cluster_hurry(cluster);
        lines_cluster_later(cluster, op);
        return NGX_OK;
    }

    if (address.len == 0) {
        (void) lines_cluster_set_address(&address, op->node->address.host,
                                         op->node->address.len, address.port);
    }

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, cluster->log, 0,
                   "lines cluster: %p, \"%s\"", op, reply->str);

    if (moved) {
        cluster_hurry(cluster);
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

    /*
     * ASK counts for this time alone: later it would be told again.  Who was
     * asked for it, and sends on, has no more of it than the one before.
     */

    if (node == op->node
        || node->connection.away
        || (asking && op->asking)
        || (moved && op->redirects > LINES_CLUSTER_REDIRECTS))
    {
        lines_cluster_later(cluster, op);
        return NGX_OK;
    }

    op->asking = asking;

    cluster->owner->place(op, node);

    return NGX_OK;
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
    status->reason.len = 0;

    if (!cluster->known) {
        conn = lines_cluster_ask_seed(cluster->ask);

        status->away = conn->away;
        status->probing = conn->away
                          && conn->state >= LINES_REDIS_RESOLVING
                          && conn->state <= LINES_REDIS_HANDSHAKE;

        status->reason.len = ngx_sprintf(p, "%s", conn->logged) - p;
        return;
    }

    node = NULL;

    while ((node = lines_redis_next(cluster->redis, node))) {
        conn = &node->connection;

        if (node->nslots == 0) {
            continue;
        }

        if (cluster_serves(node)) {
            status->serves = 1;

        } else if (status->reason.len == 0) {
            status->reason.len = ngx_sprintf(p, "%V: %s", &node->name,
                                             node->down
                                             ? (u_char *) "CLUSTERDOWN"
                                             : conn->logged)
                                 - p;
        }
    }

    if (status->reason.len) {
        return;
    }

    if (cluster->unserved) {
        for (i = 0; cluster->slots[i]; i++) { /* void */ }

        status->reason.len = ngx_sprintf(p, "%ui slots have no primary, the "
                                         "first is %ui", cluster->unserved, i)
                             - p;
        return;
    }

    status->connected = 1;
}
