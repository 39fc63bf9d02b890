
/*
 * The subscription to a channel, on a connection of its own (RESP2 has no
 * commands on one that subscribes), and the heartbeat that proves it alive.
 */

#include "store/redis_life.h"
#include "store/redis_op.h"
#include "store/resp.h"
#include <openssl/rand.h>


#define LINES_HEARTBEAT_INTERVAL  300
#define LINES_HEARTBEAT_LIFE      900

/* the connection is given up when the echo is missing for so long */
#define LINES_HEARTBEAT_LOST      3000

#define LINES_HEARTBEATS          8     /* remembered ones */
#define LINES_TOKEN_LEN           16


typedef struct {
    u_char      token[LINES_TOKEN_LEN];
    ngx_msec_t  sent;
} lines_heartbeat_t;


struct lines_subscriber_s {
    lines_redis_connection_t  connection;
    lines_redis_t            *redis;

    ngx_str_t                 channel;
    ngx_str_t                 echo;        /* channel of the heartbeat */

    lines_message_pt          handler;
    void  (*lost)(void *data);
    void                     *data;

    ngx_event_t               timer;
    lines_redis_op_t         *op;

    lines_heartbeat_t         beats[LINES_HEARTBEATS];
    ngx_uint_t                next;

    ngx_msec_t                proven;      /* the echoed one was sent */
    ngx_uint_t                published;   /* since the last echo */

    unsigned                  alive:1;     /* echoed since it subscribed */
    unsigned                  refused:1;
};


static void subscriber_ready(void *data);
static void subscriber_lost(void *data);
static void subscriber_reply_handler(redisAsyncContext *ac, void *data,
    void *privdata);
static void subscriber_echo(lines_subscriber_t *sub, redisReply *token);
static void heartbeat_handler(ngx_event_t *ev);
static void heartbeat_publish(lines_subscriber_t *sub);
static void heartbeat_published(void *data, redisReply *reply);
static void random_token(u_char *p);


lines_subscriber_t *
lines_subscriber_create(ngx_cycle_t *cycle, lines_redis_conf_t *conf,
    lines_redis_t *redis, ngx_str_t *channel, lines_message_pt handler,
    void (*lost)(void *data), void *data)
{
    u_char                     token[LINES_TOKEN_LEN];
    lines_subscriber_t        *sub;
    lines_redis_connection_t  *conn;

    sub = ngx_pcalloc(cycle->pool, sizeof(lines_subscriber_t));
    if (sub == NULL) {
        return NULL;
    }

    random_token(token);

    if (lines_redis_format(cycle->pool, &sub->echo, "lines:hb:%*s",
                           sizeof(token), token)
        != NGX_OK)
    {
        return NULL;
    }

    sub->redis = redis;
    sub->channel = *channel;
    sub->handler = handler;
    sub->lost = lost;
    sub->data = data;

    sub->timer.handler = heartbeat_handler;
    sub->timer.data = sub;
    sub->timer.log = cycle->log;
    sub->timer.cancelable = 1;

    conn = &sub->connection;

    conn->conf = conf;
    conn->log = cycle->log;
    conn->data = sub;
    conn->role = "subscription";
    conn->ready = subscriber_ready;
    conn->lost = subscriber_lost;

    lines_redis_open(conn);

    return sub;
}


void
lines_subscriber_destroy(lines_subscriber_t *sub)
{
    subscriber_lost(sub);

    if (sub->op) {
        lines_redis_detach(sub->op);
        sub->op = NULL;
    }

    lines_redis_close(&sub->connection);
}


/*
 * Counted from the instant at which the echoed token was sent, not from its
 * arrival: what was published before that instant has surely been read.
 */

ngx_uint_t
lines_subscriber_alive(lines_subscriber_t *sub)
{
    return sub->alive
           && ngx_current_msec - sub->proven <= LINES_HEARTBEAT_LIFE;
}


static void
subscriber_ready(void *data)
{
    lines_subscriber_t *sub = data;

    /* the echo is last: once it is confirmed the other one is, too */

    if (redisAsyncCommand(sub->connection.ac, subscriber_reply_handler, sub,
                          "SUBSCRIBE %b %b", sub->channel.data,
                          sub->channel.len, sub->echo.data, sub->echo.len)
        != REDIS_OK)
    {
        lines_redis_fail(&sub->connection, "no memory");
    }

    /* an answer that never comes is noticed like a missing echo */

    sub->proven = ngx_current_msec;
    sub->published = 0;

    if (!sub->timer.timer_set) {
        ngx_add_timer(&sub->timer, LINES_HEARTBEAT_INTERVAL);
    }
}


static void
subscriber_lost(void *data)
{
    lines_subscriber_t *sub = data;

    sub->alive = 0;

    if (sub->timer.timer_set) {
        ngx_del_timer(&sub->timer);
    }
}


/* the connection's reader has seen to it that an array is a message */

static void
subscriber_reply_handler(redisAsyncContext *ac, void *data, void *privdata)
{
    lines_subscriber_t *sub = privdata;

    ngx_str_t           value;
    redisReply         *reply, **element;

    static ngx_str_t    subscribe = ngx_string("subscribe");

    reply = data;

    if (reply && reply->type == REDIS_REPLY_ERROR) {
        lines_redis_fail(&sub->connection, "SUBSCRIBE failed: %*s",
                         ngx_min((size_t) reply->len, 100), reply->str);
        return;
    }

    if (reply == NULL
        || reply->type != REDIS_REPLY_ARRAY
        || reply->elements != 3)
    {
        return;
    }

    element = reply->element;

    if (lines_redis_reply_is(element[0], &subscribe)) {

        if (lines_redis_reply_is(element[1], &sub->echo)) {
            ngx_log_debug1(NGX_LOG_DEBUG_EVENT, sub->connection.log, 0,
                           "lines subscribed: \"%V\"", &sub->channel);

            sub->alive = 0;
            sub->lost(sub->data);

            heartbeat_publish(sub);
        }

        return;
    }

    if (element[2]->type != REDIS_REPLY_STRING) {
        return;
    }

    if (lines_redis_reply_is(element[1], &sub->echo)) {
        subscriber_echo(sub, element[2]);

    } else if (lines_redis_reply_is(element[1], &sub->channel)) {
        value.data = (u_char *) element[2]->str;
        value.len = element[2]->len;

        ngx_log_debug2(NGX_LOG_DEBUG_EVENT, sub->connection.log, 0,
                       "lines message: \"%V\" %uz bytes", &sub->channel,
                       value.len);

        sub->handler(sub->data, &value);
    }
}


static void
subscriber_echo(lines_subscriber_t *sub, redisReply *token)
{
    ngx_str_t           text;
    ngx_uint_t          i;
    lines_heartbeat_t  *beat;

    for (i = 0; i < LINES_HEARTBEATS; i++) {
        beat = &sub->beats[i];
        text.data = beat->token;
        text.len = LINES_TOKEN_LEN;

        if (!lines_redis_reply_is(token, &text)) {
            continue;
        }

        if (!sub->alive || (ngx_msec_int_t) (beat->sent - sub->proven) > 0) {
            sub->proven = beat->sent;
        }

        sub->alive = 1;
        sub->published = 0;

        return;
    }
}


static void
heartbeat_handler(ngx_event_t *ev)
{
    lines_subscriber_t *sub = ev->data;

    if (ngx_exiting) {
        return;
    }

    /*
     * Publishing works, but nothing comes back: this connection is dead, or
     * leads to another server than the commands'.
     */

    if (sub->published > 3
        && ngx_current_msec - sub->proven > LINES_HEARTBEAT_LOST)
    {
        lines_redis_fail(&sub->connection, "the subscription is silent");
        return;
    }

    heartbeat_publish(sub);

    ngx_add_timer(ev, LINES_HEARTBEAT_INTERVAL);
}


static void
heartbeat_publish(lines_subscriber_t *sub)
{
    u_char             *p;
    ngx_str_t           argv[3];
    ngx_uint_t          i;
    lines_heartbeat_t  *beat;

    /* the one before still waits for Redis: nothing to add to that */

    if (sub->op || ngx_exiting) {
        return;
    }

    beat = &sub->beats[sub->next++ % LINES_HEARTBEATS];

    random_token(beat->token);
    beat->sent = ngx_current_msec;

    ngx_str_set(&argv[0], "PUBLISH");
    argv[1] = sub->echo;
    argv[2].data = beat->token;
    argv[2].len = LINES_TOKEN_LEN;

    sub->op = lines_redis_op_create(sub->redis, lines_resp_len(3, argv));
    if (sub->op == NULL) {
        return;
    }

    p = lines_resp_array(sub->op->start, 3);

    for (i = 0; i < 3; i++) {
        p = lines_resp_string(p, argv[i].data, argv[i].len);
    }

    *p = '\0';
    sub->op->len = p - sub->op->start;

    (void) lines_redis_op_submit(sub->op, heartbeat_published, sub);
}


static void
heartbeat_published(void *data, redisReply *reply)
{
    lines_subscriber_t *sub = data;

    sub->op = NULL;

    if (reply && reply->type == REDIS_REPLY_INTEGER) {
        sub->published++;
        sub->refused = 0;

    } else if (reply && reply->type == REDIS_REPLY_ERROR && !sub->refused) {
        sub->refused = 1;

        ngx_log_error(NGX_LOG_ERR, sub->connection.log, 0,
                      "lines redis \"%V\": PUBLISH failed: %*s",
                      &sub->connection.conf->name,
                      ngx_min((size_t) reply->len, 100), reply->str);
    }
}


static void
random_token(u_char *p)
{
    u_char  bytes[LINES_TOKEN_LEN / 2];
    size_t  i;

    /* nginx's own generator may run alike on two nodes */

    if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
        for (i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (u_char) (ngx_random() >> 8);
        }
    }

    ngx_hex_dump(p, bytes, sizeof(bytes));
}
