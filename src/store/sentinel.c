
/*
 * Sentinels may differ: one that was cut off still names the primary of before.
 * Each change of the primary has a number that grows, its configuration's epoch:
 * the word of the highest one counts, of several the latest (who leads a failover
 * has its epoch from the beginning), and a lower one again only where most of the
 * Sentinels have it, as after they were set up anew.
 */

#include "store/redis_life.h"
#include "store/redis_log.h"
#include "store/sentinel.h"


/* asked so often even if nothing seems to have changed */
#define LINES_SENTINEL_PERIOD  10000

#define LINES_SENTINEL_HOST    255
#define LINES_SENTINEL_NAME    512


typedef struct {
    lines_redis_connection_t  connection;
    lines_sentinel_t         *sentinel;
    ngx_event_t               timer;

    /* its word, if it has one */
    u_char                    host[LINES_SENTINEL_HOST + 1];
    size_t                    len;
    in_port_t                 port;
    off_t                     epoch;
    ngx_uint_t                heard;        /* as number N of all words */

    unsigned                  told:1;
    unsigned                  asking:1;
    unsigned                  subscribed:1;
    unsigned                  unknown:1;    /* it was said that it knows no
                                               such primary */
} sentinel_peer_t;


struct lines_sentinel_s {
    lines_redis_conf_t  *conf;
    ngx_log_t           *log;
    ngx_queue_t          followers;

    sentinel_peer_t     *peers;
    ngx_uint_t           npeers;
    ngx_uint_t           words;    /* so many were heard */

    /* what counts; an empty host: nothing yet */
    ngx_str_t            host;
    in_port_t            port;
    off_t                epoch;
    ngx_str_t            name;     /* for messages: conf's, and the address */

    u_char               host_data[LINES_SENTINEL_HOST + 1];
    u_char               name_data[LINES_SENTINEL_NAME];
};


static void sentinel_locate(lines_redis_connection_t *conn, ngx_uint_t last);
static void sentinel_ready(void *data);
static void sentinel_lost(void *data);
static void sentinel_ask(sentinel_peer_t *peer);
static void sentinel_answered(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static void sentinel_message(void *data, redisReply *reply);
static void sentinel_unknown(sentinel_peer_t *peer, redisReply *reply);
static ngx_int_t sentinel_read_epoch(sentinel_peer_t *peer, redisReply *reply);
static ngx_int_t sentinel_read_address(sentinel_peer_t *peer,
    redisReply *reply);
static void sentinel_decide(lines_sentinel_t *sentinel);
static ngx_uint_t sentinel_same(lines_sentinel_t *sentinel,
    sentinel_peer_t *peer);
static void sentinel_timer_handler(ngx_event_t *ev);


lines_sentinel_t *
lines_sentinel_create(ngx_cycle_t *cycle, lines_redis_conf_t *conf)
{
    ngx_uint_t                 i;
    sentinel_peer_t           *peer;
    lines_sentinel_t          *sentinel;
    lines_redis_conf_t        *confs;
    lines_redis_connection_t  *conn;

    sentinel = ngx_pcalloc(cycle->pool, sizeof(lines_sentinel_t));
    if (sentinel == NULL) {
        return NULL;
    }

    sentinel->conf = conf;
    sentinel->log = cycle->log;
    sentinel->name = conf->name;
    sentinel->host.data = sentinel->host_data;

    ngx_queue_init(&sentinel->followers);

    confs = conf->sentinels->elts;
    sentinel->npeers = conf->sentinels->nelts;

    sentinel->peers = ngx_pcalloc(cycle->pool,
                                  sentinel->npeers * sizeof(sentinel_peer_t));
    if (sentinel->peers == NULL) {
        return NULL;
    }

    for (i = 0; i < sentinel->npeers; i++) {
        peer = &sentinel->peers[i];
        peer->sentinel = sentinel;

        peer->timer.handler = sentinel_timer_handler;
        peer->timer.data = peer;
        peer->timer.log = cycle->log;
        peer->timer.cancelable = 1;

        conn = &peer->connection;

        conn->conf = &confs[i];
        conn->log = cycle->log;
        conn->data = peer;
        conn->role = "Sentinel";
        conn->ready = sentinel_ready;
        conn->lost = sentinel_lost;
        conn->message = sentinel_message;

        lines_redis_open(conn);
    }

    return sentinel;
}


void
lines_sentinel_destroy(lines_sentinel_t *sentinel)
{
    ngx_uint_t  i;

    for (i = 0; i < sentinel->npeers; i++) {
        sentinel_lost(&sentinel->peers[i]);
        lines_redis_close(&sentinel->peers[i].connection);
    }
}


void
lines_sentinel_follow(lines_sentinel_t *sentinel,
    lines_redis_connection_t *conn)
{
    conn->name = &sentinel->name;
    conn->guide = sentinel;
    conn->locate = sentinel_locate;

    ngx_queue_insert_tail(&sentinel->followers, &conn->follower);
}


/*
 * The first word that comes counts, and a better one later.  Where no Sentinel
 * answers, the primary that was known before is better than none.
 */

static void
sentinel_locate(lines_redis_connection_t *conn, ngx_uint_t last)
{
    lines_sentinel_t *sentinel = conn->guide;

    ngx_uint_t  i, asked;

    asked = 0;

    for (i = 0; i < sentinel->npeers && !last; i++) {
        if (sentinel->peers[i].connection.state == LINES_REDIS_READY) {
            sentinel_ask(&sentinel->peers[i]);
            asked++;
        }
    }

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, sentinel->log, 0,
                   "lines sentinel locate: \"%V\", asked:%ui last:%ui",
                   conn->name, asked, last);

    if (asked) {
        return;
    }

    if (sentinel->host.len) {
        lines_redis_located(conn, &sentinel->host, sentinel->port, 0);

    } else if (last) {
        lines_redis_fail(conn, "no Sentinel tells where it is");
    }
}


static void
sentinel_ready(void *data)
{
    sentinel_peer_t *peer = data;

    peer->subscribed = 0;
    peer->asking = 0;

    sentinel_ask(peer);
}


static void
sentinel_lost(void *data)
{
    sentinel_peer_t *peer = data;

    peer->told = 0;

    if (peer->timer.timer_set) {
        ngx_del_timer(&peer->timer);
    }
}


/* who subscribes may ask nothing else meanwhile: RESP2 */

static void
sentinel_ask(sentinel_peer_t *peer)
{
    ngx_str_t                 *master;
    lines_redis_connection_t  *conn;

    if (peer->asking) {
        return;
    }

    conn = &peer->connection;
    master = &peer->sentinel->conf->master;

    peer->asking = 1;

    if (peer->subscribed) {
        lines_redis_ask(conn, sentinel_answered, peer, "UNSUBSCRIBE");
    }

    lines_redis_ask(conn, sentinel_answered, peer, "SENTINEL MASTER %b",
                    master->data, master->len);
    lines_redis_ask(conn, sentinel_answered, peer,
                    "SENTINEL GET-MASTER-ADDR-BY-NAME %b",
                    master->data, master->len);
    lines_redis_ask(conn, sentinel_answered, peer, "SUBSCRIBE +switch-master");

    peer->subscribed = 1;

    if (peer->timer.timer_set) {
        ngx_del_timer(&peer->timer);
    }

    ngx_add_timer(&peer->timer, conn->conf->silence);
}


static void
sentinel_answered(lines_redis_connection_t *conn, void *data,
    redisReply *reply)
{
    if (reply) {
        sentinel_message(data, reply);
    }
}


/* a message may come between the answers: each says itself what it is */

static void
sentinel_message(void *data, redisReply *reply)
{
    sentinel_peer_t *peer = data;

    redisReply  *channel;

    static ngx_str_t  subscribe = ngx_string("subscribe");
    static ngx_str_t  message = ngx_string("message");
    static ngx_str_t  moved = ngx_string("+switch-master");

    if (reply->type == REDIS_REPLY_ERROR) {
        sentinel_unknown(peer, reply);
        return;
    }

    /* it knows no such primary, which it says by an error as well */

    if (reply->type == REDIS_REPLY_NIL) {
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY) {
        lines_redis_fail(&peer->connection, "the server is not Sentinel");
        return;
    }

    if (reply->elements == 3) {
        channel = reply->element[1];

        if (lines_redis_reply_is(reply->element[0], &message)
            && lines_redis_reply_is(channel, &moved))
        {
            ngx_log_debug1(NGX_LOG_DEBUG_EVENT, peer->sentinel->log, 0,
                           "lines sentinel: +switch-master of \"%V\"",
                           peer->connection.name);

            /* of this primary or of another one: the answer says */

            sentinel_ask(peer);

        } else if (lines_redis_reply_is(reply->element[0], &subscribe)) {
            peer->asking = 0;

            ngx_add_timer(&peer->timer, LINES_SENTINEL_PERIOD);
        }

        return;
    }

    if ((reply->elements == 2 ? sentinel_read_address(peer, reply)
                              : sentinel_read_epoch(peer, reply))
        != NGX_OK)
    {
        lines_redis_fail(&peer->connection, "the server is not Sentinel");
    }
}


static void
sentinel_unknown(sentinel_peer_t *peer, redisReply *reply)
{
    peer->told = 0;

    if (!peer->unknown) {
        peer->unknown = 1;

        ngx_log_error(NGX_LOG_ERR, peer->sentinel->log, 0,
                      "lines redis \"%V\", Sentinel: it does not tell where "
                      "\"%V\" is: %*s", peer->connection.name,
                      &peer->sentinel->conf->master,
                      ngx_min((size_t) reply->len, LINES_REDIS_TEXT_LEN),
                      reply->str);
    }
}


/* names and values in turn */

static ngx_int_t
sentinel_read_epoch(sentinel_peer_t *peer, redisReply *reply)
{
    size_t       i;
    redisReply  *value;

    static ngx_str_t  name = ngx_string("config-epoch");

    for (i = 0; i + 1 < reply->elements; i += 2) {
        value = reply->element[i + 1];

        if (lines_redis_reply_is(reply->element[i], &name)
            && value->type == REDIS_REPLY_STRING)
        {
            peer->epoch = ngx_atoof((u_char *) value->str, value->len);

            return peer->epoch == NGX_ERROR ? NGX_ERROR : NGX_OK;
        }
    }

    return NGX_ERROR;
}


/* the primary, and, while a failover ends, the one that was promoted */

static ngx_int_t
sentinel_read_address(sentinel_peer_t *peer, redisReply *reply)
{
    ngx_int_t    n;
    redisReply  *host, *port;

    host = reply->element[0];
    port = reply->element[1];

    if (host->type != REDIS_REPLY_STRING
        || port->type != REDIS_REPLY_STRING
        || host->len == 0
        || (size_t) host->len > LINES_SENTINEL_HOST)
    {
        return NGX_ERROR;
    }

    n = ngx_atoi((u_char *) port->str, port->len);

    if (n < 1 || n > 65535) {
        return NGX_ERROR;
    }

    ngx_memcpy(peer->host, host->str, host->len);

    peer->len = host->len;
    peer->port = n;
    peer->told = 1;
    peer->unknown = 0;
    peer->heard = ++peer->sentinel->words;

    sentinel_decide(peer->sentinel);

    return NGX_OK;
}


static void
sentinel_decide(lines_sentinel_t *sentinel)
{
    u_char                    *p;
    ngx_uint_t                 i, n, moved;
    ngx_queue_t               *q, *next;
    sentinel_peer_t           *peer, *best;
    lines_redis_connection_t  *conn;

    n = 0;
    best = NULL;

    for (i = 0; i < sentinel->npeers; i++) {
        peer = &sentinel->peers[i];

        if (!peer->told) {
            continue;
        }

        n++;

        if (best == NULL
            || peer->epoch > best->epoch
            || (peer->epoch == best->epoch && peer->heard > best->heard))
        {
            best = peer;
        }
    }

    if (best == NULL
        || (sentinel->host.len
            && best->epoch < sentinel->epoch
            && 2 * n <= sentinel->npeers))
    {
        return;
    }

    moved = !sentinel_same(sentinel, best);

    if (moved) {
        sentinel->host.len = best->len;
        sentinel->port = best->port;

        ngx_memcpy(sentinel->host_data, best->host, best->len);
        sentinel->host_data[best->len] = '\0';

        p = ngx_snprintf(sentinel->name_data, LINES_SENTINEL_NAME,
                         "%V at %V:%d", &sentinel->conf->name, &sentinel->host,
                         (int) sentinel->port);

        sentinel->name.data = sentinel->name_data;
        sentinel->name.len = p - sentinel->name_data;

        ngx_log_error(NGX_LOG_NOTICE, sentinel->log, 0,
                      "lines redis \"%V\": so says Sentinel \"%V\", epoch %O",
                      &sentinel->name, best->connection.name, best->epoch);
    }

    sentinel->epoch = best->epoch;

    for (q = ngx_queue_head(&sentinel->followers);
         q != ngx_queue_sentinel(&sentinel->followers);
         q = next)
    {
        next = ngx_queue_next(q);
        conn = ngx_queue_data(q, lines_redis_connection_t, follower);

        lines_redis_located(conn, &sentinel->host, sentinel->port, moved);
    }
}


static ngx_uint_t
sentinel_same(lines_sentinel_t *sentinel, sentinel_peer_t *peer)
{
    return peer->port == sentinel->port
           && peer->len == sentinel->host.len
           && ngx_memcmp(peer->host, sentinel->host_data, peer->len) == 0;
}


static void
sentinel_timer_handler(ngx_event_t *ev)
{
    sentinel_peer_t *peer = ev->data;

    if (peer->asking) {
        lines_redis_fail(&peer->connection, "no reply, for \"silence=\"");
        return;
    }

    if (!ngx_exiting) {
        sentinel_ask(peer);
    }
}
