
/*
 * The map of a cluster is asked for.
 */

#include "store/cluster_ask.h"
#include "store/redis_life.h"
#include "store/redis_log.h"
#include "store/redis_node.h"


struct lines_cluster_ask_s {
    lines_redis_t             *redis;
    ngx_log_t                 *log;
    lines_cluster_take_pt      take;

    lines_redis_connection_t   seed;
    ngx_uint_t                 nseed;     /* that is tried next */

    lines_redis_connection_t  *asking;    /* NULL: nobody is asked */
    ngx_msec_t                 asked_at;
    ngx_uint_t                 turn;

    off_t                      told;      /* the epoch, by who is asked; 0: it
                                             does not say */
    ngx_uint_t                 bad;       /* flag: that a map cannot be used was
                                             said, */
    ngx_uint_t                 unusable;  /* ... or a part of it */
    lines_cluster_map_t        map;       /* that is being read */
};


static ngx_uint_t ask_primary(lines_cluster_ask_t *ask);
static ngx_uint_t ask_answers(lines_redis_node_t *node);
static void ask_question(lines_cluster_ask_t *ask,
    lines_redis_connection_t *conn);
static void ask_open_seed(lines_cluster_ask_t *ask);
static void ask_locate_seed(lines_redis_connection_t *conn, ngx_uint_t last);
static void ask_seed_ready(void *data);
static void ask_seed_lost(void *data);
static void ask_down(lines_cluster_ask_t *ask);
static void ask_told_state(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static void ask_told_epoch(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static void ask_told_slots(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static void ask_told_shards(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static void ask_take(lines_cluster_ask_t *ask, lines_redis_connection_t *conn,
    ngx_int_t rc);
static void ask_complain(lines_cluster_ask_t *ask,
    lines_redis_connection_t *conn, char *why);
static void ask_fill_hosts(lines_cluster_ask_t *ask,
    lines_redis_connection_t *conn);


lines_cluster_ask_t *
lines_cluster_ask_create(ngx_cycle_t *cycle, lines_redis_t *redis,
    lines_cluster_take_pt take)
{
    lines_cluster_ask_t  *ask;

    ask = ngx_pcalloc(cycle->pool, sizeof(lines_cluster_ask_t));
    if (ask == NULL) {
        return NULL;
    }

    ask->redis = redis;
    ask->log = cycle->log;
    ask->take = take;

    ask_open_seed(ask);

    return ask;
}


void
lines_cluster_ask_destroy(lines_cluster_ask_t *ask)
{
    lines_redis_close(&ask->seed);
}


lines_redis_connection_t *
lines_cluster_ask_seed(lines_cluster_ask_t *ask)
{
    return &ask->seed;
}


void
lines_cluster_ask_forget(lines_cluster_ask_t *ask,
    lines_redis_connection_t *conn)
{
    if (ask->asking == conn) {
        ask->asking = NULL;
    }
}


void
lines_cluster_ask_next(lines_cluster_ask_t *ask)
{
    ask_down(ask);

    if (ask->asking
        && ngx_current_msec - ask->asked_at < ask->redis->conf->timeout)
    {
        return;
    }

    /* one that is slow is asked no more for now, but may serve */

    if (ask->asking == &ask->seed) {
        lines_redis_fail(&ask->seed, "it does not tell its map");
    }

    ask->asking = NULL;

    if (ask_primary(ask)) {
        if (ask->seed.state != LINES_REDIS_CLOSED) {
            lines_redis_close(&ask->seed);
        }

    } else if (ask->seed.state == LINES_REDIS_READY) {
        ask_question(ask, &ask->seed);

    } else {
        ask_open_seed(ask);
    }
}


/* one after the other; flag: there is one */

static ngx_uint_t
ask_primary(lines_cluster_ask_t *ask)
{
    ngx_uint_t           i, n;
    lines_redis_node_t  *node;

    n = 0;
    node = NULL;

    while ((node = lines_redis_next(ask->redis, node))) {
        n += ask_answers(node);
    }

    if (n == 0) {
        return 0;
    }

    i = ask->turn++ % n;

    while ((node = lines_redis_next(ask->redis, node))) {

        if (ask_answers(node) && i-- == 0) {
            ask_question(ask, &node->connection);
            break;
        }
    }

    return 1;
}


/* each is asked whether it serves again, and not when it is its turn */

static void
ask_down(lines_cluster_ask_t *ask)
{
    lines_redis_node_t  *node;

    node = NULL;

    while ((node = lines_redis_next(ask->redis, node))) {

        if (node->down && ask_answers(node)) {
            lines_redis_ask(&node->connection, ask_told_state, node,
                            "CLUSTER INFO");
        }
    }
}


static void
ask_told_state(lines_redis_connection_t *conn, void *data, redisReply *reply)
{
    lines_redis_node_t *node = data;

    if (reply == NULL) {
        return;
    }

    /* where it is refused nobody would ever hear that it serves again */

    node->stateless = (reply->type != REDIS_REPLY_STRING);

    lines_cluster_ask_set_down(node, !node->stateless
                                     && strstr(reply->str, "cluster_state:ok")
                                        == NULL);
}


static ngx_uint_t
ask_answers(lines_redis_node_t *node)
{
    return node->connection.state == LINES_REDIS_READY
           && !lines_redis_silent(node);
}


static void
ask_question(lines_cluster_ask_t *ask, lines_redis_connection_t *conn)
{
    ask->asking = conn;
    ask->asked_at = ngx_current_msec;

    lines_redis_ask(conn, ask_told_epoch, ask, "CLUSTER INFO");
    lines_redis_ask(conn, ask_told_slots, ask, "CLUSTER SLOTS");
}


static void
ask_open_seed(lines_cluster_ask_t *ask)
{
    lines_redis_connection_t  *conn;

    conn = &ask->seed;

    if (conn->state != LINES_REDIS_CLOSED) {
        return;
    }

    ngx_memzero(conn, sizeof(lines_redis_connection_t));

    conn->conf = ask->redis->conf;
    conn->name = &ask->redis->conf->name;
    conn->log = ask->log;
    conn->data = ask;
    conn->role = "map of the cluster";
    conn->ready = ask_seed_ready;
    conn->lost = ask_seed_lost;
    conn->locate = ask_locate_seed;
    conn->guide = ask;
    conn->any = 1;

    lines_redis_open(conn);
}


static void
ask_locate_seed(lines_redis_connection_t *conn, ngx_uint_t last)
{
    lines_cluster_ask_t *ask = conn->guide;

    ngx_array_t         *seeds;
    lines_redis_conf_t  *conf;

    if (last) {
        return;
    }

    seeds = ask->redis->conf->sentinels;
    conf = seeds->elts;
    conf = &conf[ask->nseed++ % seeds->nelts];

    conn->name = &conf->name;

    lines_redis_aim(conn, conf);
}


static void
ask_seed_ready(void *data)
{
    lines_cluster_ask_t *ask = data;

    if (ask->asking == NULL || ask->asking == &ask->seed) {
        ask_question(ask, &ask->seed);
    }
}


static void
ask_seed_lost(void *data)
{
    lines_cluster_ask_t *ask = data;

    if (ask->asking == &ask->seed) {
        ask->asking = NULL;
    }
}


static void
ask_told_epoch(lines_redis_connection_t *conn, void *data, redisReply *reply)
{
    lines_cluster_ask_t *ask = data;

    char    *p;
    size_t   len;

    static char  name[] = "cluster_current_epoch:";

    if (conn != ask->asking) {
        return;
    }

    ask->told = 0;

    if (conn != &ask->seed) {
        ask_told_state(conn, conn->data, reply);
    }

    if (reply == NULL || reply->type != REDIS_REPLY_STRING) {
        return;
    }

    p = strstr(reply->str, name);

    if (p) {
        p += sizeof(name) - 1;
        len = strspn(p, "0123456789");

        ask->told = ngx_max(ngx_atoof((u_char *) p, len), 0);
    }
}


/* as it is when some of its slots are nobody's, or it is cut off from most */

void
lines_cluster_ask_set_down(lines_redis_node_t *node, ngx_uint_t down)
{
    if (down && node->stateless) {
        return;
    }

    if (down && !node->down) {
        node->down_at = ngx_current_msec;

        ngx_log_error(NGX_LOG_ERR, node->redis->log, 0,
                      "lines redis \"%V\": CLUSTERDOWN: it does not serve",
                      &node->name);

    } else if (node->down && !down) {
        ngx_log_error(NGX_LOG_NOTICE, node->redis->log, 0,
                      "lines redis \"%V\": it serves again, after %M ms",
                      &node->name, ngx_current_msec - node->down_at);
    }

    node->down = down;
}


/*
 * CLUSTER SHARDS only where this is refused: a node of Redis 8 may leave itself
 * out of its shard there, and then tells its slots once more with each reply; or
 * tell no slots while two take themselves for the primary.
 */

static void
ask_told_slots(lines_redis_connection_t *conn, void *data, redisReply *reply)
{
    lines_cluster_ask_t *ask = data;

    if (conn != ask->asking) {
        return;
    }

    if (reply == NULL) {
        ask->asking = NULL;
        return;
    }

    if (reply->type != REDIS_REPLY_ERROR) {
        ask_take(ask, conn, lines_cluster_read_slots(&ask->map, reply));
        return;
    }

    if (lines_redis_error_is(reply, "cluster support disabled")) {
        ask->asking = NULL;
        lines_redis_fail(conn, "the server is no node of a cluster: "
                         "\"redis://\" is for that");
        return;
    }

    lines_redis_ask(conn, ask_told_shards, ask, "CLUSTER SHARDS");
}


static void
ask_told_shards(lines_redis_connection_t *conn, void *data, redisReply *reply)
{
    lines_cluster_ask_t *ask = data;

    if (conn != ask->asking) {
        return;
    }

    if (reply == NULL) {
        ask->asking = NULL;
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ask->asking = NULL;
        ask_complain(ask, conn, reply->str);
        return;
    }

    ask_take(ask, conn,
             lines_cluster_read_shards(&ask->map, reply,
                                       ask->redis->conf->secure));
}


static void
ask_take(lines_cluster_ask_t *ask, lines_redis_connection_t *conn,
    ngx_int_t rc)
{
    ask->asking = NULL;

    if (rc != NGX_OK) {
        ask_complain(ask, conn, "it cannot be read");
        return;
    }

    /* as one does that was reset */

    if (ask->map.nnodes == 0) {
        ask_complain(ask, conn, "no slot has a primary");
        return;
    }

    ask->bad = 0;

    if (ask->map.unusable && !ask->unusable) {
        ngx_log_error(NGX_LOG_ERR, ask->log, 0,
                      "lines redis \"%V\": its map of the cluster has no "
                      "address that can be used of the primary of slot %ui",
                      conn->name, ask->map.slot);
    }

    ask->unusable = ask->map.unusable;

    ask_fill_hosts(ask, conn);

    ask->take(ask->redis->cluster, &ask->map, ask->told);
}


/* once, until there is a good one */

static void
ask_complain(lines_cluster_ask_t *ask, lines_redis_connection_t *conn,
    char *why)
{
    if (!ask->bad) {
        ask->bad = 1;

        ngx_log_error(NGX_LOG_ERR, ask->log, 0,
                      "lines redis \"%V\": its map of the cluster is not used: "
                      "%*s", conn->name,
                      ngx_min(ngx_strlen(why), LINES_REDIS_TEXT_LEN), why);
    }

    /* another one may tell a better one */

    if (conn == &ask->seed) {
        lines_redis_fail(conn, "its map of the cluster is not used: %*s",
                         ngx_min(ngx_strlen(why), LINES_REDIS_TEXT_LEN), why);
    }

    ask->take(ask->redis->cluster, NULL, 0);
}


/*
 * Who has no name of its own is where the one is that was asked, by its name
 * only if that can be looked up.
 */

static void
ask_fill_hosts(lines_cluster_ask_t *ask, lines_redis_connection_t *conn)
{
    u_char                    text[NGX_SOCKADDR_STRLEN];
    ngx_str_t                 host;
    ngx_uint_t                i;
    ngx_sockaddr_t           *sa;
    lines_redis_node_t       *node;
    lines_cluster_address_t  *address;

    if (conn != &ask->seed) {
        node = conn->data;
        host.data = node->address.host;
        host.len = node->address.len;

    } else if (conn->host.len && conn->conf->resolver) {
        host = conn->host;

    } else {
        sa = &conn->addrs[conn->current].sockaddr;

        host.data = text;
        host.len = ngx_sock_ntop(&sa->sockaddr,
                                 conn->addrs[conn->current].socklen, text,
                                 NGX_SOCKADDR_STRLEN, 0);
    }

    for (i = 0; i < ask->map.nnodes; i++) {
        address = &ask->map.nodes[i];

        if (address->len == 0) {
            (void) lines_cluster_set_address(address, host.data, host.len,
                                             address->port);
        }
    }
}
