
/*
 * The subscription to a channel, at each server on a connection of its own
 * (RESP2 has no commands on one that subscribes), and the heartbeat that proves
 * it alive.  What is published at one node of a cluster is told to all of them,
 * but on its way from node to node it may be lost, and nobody hears of that: so
 * each is subscribed to.  Who hears twice is told twice.
 *
 * The heartbeat of one server is published by way of the commands' connection:
 * after a failover that the two do not follow alike, only what comes back tells
 * that both lead to the same one.  Nodes of a cluster are where its map says,
 * and what is published goes to all of them, who would have nothing else to do:
 * there it is a PING on the subscription itself.
 */

#include "store/cluster.h"
#include "store/redis_life.h"
#include "store/redis_log.h"
#include "store/redis_node.h"
#include <openssl/rand.h>


#define LINES_HEARTBEAT_INTERVAL  500

/* so long the echo may be missing, as while Redis waits for its disk: then
   nothing counts as heard, and the connection is given up */
#define LINES_HEARTBEAT_LIFE      3000


struct lines_subscriber_s {
    lines_redis_t            *redis;
    ngx_str_t                 channel;
    lines_message_pt          handler;
    void                     *data;
};


struct lines_subscription_s {
    lines_redis_connection_t  connection;
    lines_subscriber_t       *subscriber;
    lines_redis_node_t       *node;

    ngx_str_t                 echo;        /* channel of the heartbeat: each
                                              is the instant it was sent at */
    u_char                    name[sizeof("lines:hb:") + 16];

    ngx_event_t               timer;
    lines_redis_op_t         *op;

    ngx_msec_t                proven;      /* the echoed one was sent */
    ngx_uint_t                published;   /* since the last echo */

    unsigned                  alive:1;     /* echoed since it subscribed */
    unsigned                  refused:1;
    unsigned                  pinged:1;    /* a PING is not answered yet */
};


static ngx_int_t subscriber_join(lines_redis_node_t *node);
static void subscriber_leave(lines_redis_node_t *node);
static void subscriber_ready(void *data);
static void subscriber_lost(void *data);
static void subscriber_answered(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static void subscriber_message(void *data, redisReply *reply);
static void subscriber_echo(lines_subscription_t *sub, redisReply *token);
static void heartbeat_handler(ngx_event_t *ev);
static void heartbeat_beat(lines_subscription_t *sub);
static void heartbeat_publish(lines_subscription_t *sub, u_char *token,
    size_t len);
static void heartbeat_published(void *data, redisReply *reply);


lines_subscriber_t *
lines_subscriber_create(ngx_cycle_t *cycle, lines_redis_t *redis,
    ngx_str_t *channel, lines_message_pt handler, void *data)
{
    lines_redis_node_t  *node;
    lines_subscriber_t  *subscriber;

    subscriber = ngx_pcalloc(cycle->pool, sizeof(lines_subscriber_t));
    if (subscriber == NULL) {
        return NULL;
    }

    subscriber->redis = redis;
    subscriber->channel = *channel;
    subscriber->handler = handler;
    subscriber->data = data;

    redis->subscriber = subscriber;
    redis->joined = subscriber_join;
    redis->left = subscriber_leave;

    node = NULL;

    while ((node = lines_redis_next(redis, node))) {
        if (subscriber_join(node) != NGX_OK) {
            return NULL;
        }
    }

    return subscriber;
}


void
lines_subscriber_destroy(lines_subscriber_t *subscriber)
{
    lines_redis_node_t  *node;

    subscriber->redis->joined = NULL;

    node = NULL;

    while ((node = lines_redis_next(subscriber->redis, node))) {
        subscriber_leave(node);
    }
}


/*
 * Counted from the instant at which the echoed token was sent, not from its
 * arrival: what was published before that instant has surely been read.  A Redis
 * that was found away is not waited for: who asks hears that at once.
 */

ngx_uint_t
lines_subscriber_alive(lines_subscriber_t *subscriber)
{
    ngx_uint_t             n;
    lines_redis_node_t    *node;
    lines_subscription_t  *sub;

    n = 0;
    node = NULL;

    while ((node = lines_redis_next(subscriber->redis, node))) {
        sub = node->subscription;

        if (subscriber->redis->cluster && node->nslots == 0) {
            continue;
        }

        if (!sub->alive
            || node->connection.away
            || ngx_current_msec - sub->proven > LINES_HEARTBEAT_LIFE)
        {
            return 0;
        }

        n++;
    }

    return n != 0;
}


static ngx_int_t
subscriber_join(lines_redis_node_t *node)
{
    uint64_t                   token;
    lines_subscription_t      *sub;
    lines_redis_connection_t  *conn;

    sub = ngx_calloc(sizeof(lines_subscription_t), node->redis->log);
    if (sub == NULL) {
        return NGX_ERROR;
    }

    node->subscription = sub;

    /* nginx's own generator may run alike on two nodes */

    if (RAND_bytes((u_char *) &token, sizeof(token)) != 1) {
        token = (uint64_t) ngx_random() << 32 ^ ngx_random();
    }

    sub->echo.data = sub->name;
    sub->echo.len = ngx_sprintf(sub->name, "lines:hb:%016xL", token)
                    - sub->name;

    sub->subscriber = node->redis->subscriber;
    sub->node = node;

    sub->timer.handler = heartbeat_handler;
    sub->timer.data = sub;
    sub->timer.log = node->redis->log;
    sub->timer.cancelable = 1;

    conn = &sub->connection;

    conn->conf = node->redis->conf;
    conn->log = node->redis->log;
    conn->data = sub;
    conn->role = "subscription";
    conn->ready = subscriber_ready;
    conn->lost = subscriber_lost;
    conn->message = subscriber_message;

    lines_redis_guide(node, conn);

    lines_redis_open(conn);

    return NGX_OK;
}


static void
subscriber_leave(lines_redis_node_t *node)
{
    lines_subscription_t  *sub;

    sub = node->subscription;
    node->subscription = NULL;

    subscriber_lost(sub);

    if (sub->op) {
        lines_redis_detach(sub->op);
        sub->op = NULL;
    }

    lines_redis_close(&sub->connection);

    ngx_free(sub);
}


static void
subscriber_ready(void *data)
{
    lines_subscription_t *sub = data;

    /* the echo is last: once it is confirmed the other one is, too */

    lines_redis_ask(&sub->connection, subscriber_answered, sub,
                    "SUBSCRIBE %b %b", sub->subscriber->channel.data,
                    sub->subscriber->channel.len, sub->echo.data,
                    sub->echo.len);

    /* an answer that never comes is noticed like a missing echo */

    sub->proven = ngx_current_msec;
    sub->published = 0;
    sub->pinged = 0;

    if (!sub->timer.timer_set) {
        ngx_add_timer(&sub->timer, LINES_HEARTBEAT_INTERVAL);
    }
}


static void
subscriber_lost(void *data)
{
    lines_subscription_t *sub = data;

    sub->alive = 0;

    if (sub->timer.timer_set) {
        ngx_del_timer(&sub->timer);
    }
}


/* of the channel, or to a PING; its echo's, or a message, comes like these */

static void
subscriber_answered(lines_redis_connection_t *conn, void *data,
    redisReply *reply)
{
    if (reply && reply->type == REDIS_REPLY_ERROR) {
        lines_redis_fail(conn, "SUBSCRIBE or PING failed: %*s",
                         ngx_min((size_t) reply->len, LINES_REDIS_TEXT_LEN),
                         reply->str);

    } else if (reply) {
        subscriber_message(data, reply);
    }
}


static void
subscriber_message(void *data, redisReply *reply)
{
    lines_subscription_t *sub = data;

    ngx_str_t            value;
    ngx_uint_t           subscribed;
    redisReply         **element;
    lines_subscriber_t  *subscriber;

    static ngx_str_t  subscribe = ngx_string("subscribe");
    static ngx_str_t  message = ngx_string("message");
    static ngx_str_t  pong = ngx_string("pong");

    if (reply->type != REDIS_REPLY_ARRAY) {
        lines_redis_fail(&sub->connection, "a reply that nobody asked for");
        return;
    }

    element = reply->element;
    subscriber = sub->subscriber;

    if (reply->elements == 2
        && lines_redis_reply_is(element[0], &pong)
        && element[1]->type == REDIS_REPLY_STRING)
    {
        sub->pinged = 0;
        subscriber_echo(sub, element[1]);
        return;
    }

    if (reply->elements != 3
        || element[1]->type != REDIS_REPLY_STRING
        || !((subscribed = lines_redis_reply_is(element[0], &subscribe))
             || lines_redis_reply_is(element[0], &message)))
    {
        lines_redis_fail(&sub->connection, "not a message");
        return;
    }

    if (subscribed) {
        if (lines_redis_reply_is(element[1], &sub->echo)) {
            ngx_log_debug1(NGX_LOG_DEBUG_EVENT, sub->connection.log, 0,
                           "lines subscribed: \"%V\"", &subscriber->channel);

            sub->alive = 0;
            subscriber->handler(subscriber->data, NULL);

            heartbeat_beat(sub);
        }

        return;
    }

    if (element[2]->type != REDIS_REPLY_STRING) {
        return;
    }

    if (lines_redis_reply_is(element[1], &sub->echo)) {
        subscriber_echo(sub, element[2]);

    } else if (lines_redis_reply_is(element[1], &subscriber->channel)) {
        value.data = (u_char *) element[2]->str;
        value.len = element[2]->len;

        ngx_log_debug2(NGX_LOG_DEBUG_EVENT, sub->connection.log, 0,
                       "lines message: \"%V\" %uz bytes", &subscriber->channel,
                       value.len);

        subscriber->handler(subscriber->data, &value);
    }
}


/* what is later than now is not ours */

static void
subscriber_echo(lines_subscription_t *sub, redisReply *token)
{
    off_t       n;
    ngx_msec_t  sent;

    n = ngx_atoof((u_char *) token->str, token->len);
    sent = (ngx_msec_t) n;

    if (n == NGX_ERROR || (ngx_msec_int_t) (ngx_current_msec - sent) < 0) {
        return;
    }

    if (!sub->alive || (ngx_msec_int_t) (sent - sub->proven) > 0) {
        sub->proven = sent;
    }

    sub->alive = 1;
    sub->published = 0;
}


static void
heartbeat_handler(ngx_event_t *ev)
{
    lines_subscription_t *sub = ev->data;

    ngx_msec_t  silent;

    if (ngx_exiting) {
        return;
    }

    silent = ngx_current_msec - sub->proven;

    /*
     * Publishing works, but nothing comes back: this connection is dead, or
     * leads to another server than the commands'.  A PING waits as commands do.
     */

    if ((sub->published > 3 && silent > LINES_HEARTBEAT_LIFE)
        || (sub->pinged && silent > sub->connection.conf->silence))
    {
        lines_redis_fail(&sub->connection, "the subscription is silent");
        return;
    }

    heartbeat_beat(sub);

    ngx_add_timer(ev, LINES_HEARTBEAT_INTERVAL);
}


static void
heartbeat_beat(lines_subscription_t *sub)
{
    u_char  token[NGX_TIME_T_LEN];
    size_t  len;

    /* the one before still waits for Redis: nothing to add to that */

    if (sub->op || sub->pinged || ngx_exiting) {
        return;
    }

    len = ngx_sprintf(token, "%M", ngx_current_msec) - token;

    if (sub->subscriber->redis->cluster) {
        sub->pinged = 1;
        lines_redis_ask(&sub->connection, subscriber_answered, sub, "PING %b",
                        token, len);
        return;
    }

    heartbeat_publish(sub, token, len);
}


static void
heartbeat_publish(lines_subscription_t *sub, u_char *token, size_t len)
{
    u_char  *p;

    sub->op = lines_redis_op_create_at(sub->node,
                                       4 * LINES_REDIS_STRING + sub->echo.len
                                       + sizeof("PUBLISH") - 1 + len);
    if (sub->op == NULL) {
        return;
    }

    p = sub->op->start;

    sub->op->len = ngx_sprintf(p, "*3\r\n$7\r\nPUBLISH\r\n$%uz\r\n%V\r\n"
                               "$%uz\r\n%*s\r\n", sub->echo.len, &sub->echo,
                               len, len, token)
                   - p;

    (void) lines_redis_op_submit(sub->op, heartbeat_published, sub);
}


static void
heartbeat_published(void *data, redisReply *reply)
{
    lines_subscription_t *sub = data;

    sub->op = NULL;

    if (reply && reply->type == REDIS_REPLY_INTEGER) {
        sub->published++;
        sub->refused = 0;

    } else if (reply && reply->type == REDIS_REPLY_ERROR && !sub->refused) {
        sub->refused = 1;

        ngx_log_error(NGX_LOG_ERR, sub->connection.log, 0,
                      "lines redis \"%V\": PUBLISH failed: %*s",
                      sub->connection.name,
                      ngx_min((size_t) reply->len, LINES_REDIS_TEXT_LEN),
                      reply->str);
    }
}
