
/*
 * The subscription to a channel, on a connection of its own (RESP2 has no
 * commands on one that subscribes), and the heartbeat that proves it alive.
 */

#include "ngx_lines_redis_connection.h"
#include <openssl/rand.h>


#define NGX_LINES_HEARTBEAT_INTERVAL  300
#define NGX_LINES_HEARTBEAT_LIFE      900

/* the connection is given up when the echo is missing for so long */
#define NGX_LINES_HEARTBEAT_LOST      3000

#define NGX_LINES_HEARTBEATS          8     /* remembered ones */
#define NGX_LINES_TOKEN_LEN           16
#define NGX_LINES_HEARTBEAT_PREFIX    "lines:hb:"


typedef struct {
    u_char                         token[NGX_LINES_TOKEN_LEN];
    ngx_msec_t                     sent;
} ngx_lines_heartbeat_t;


struct ngx_lines_subscriber_s {
    ngx_lines_redis_connection_t   connection;
    ngx_lines_redis_t             *redis;
    ngx_log_t                     *log;

    ngx_str_t                      channel;
    ngx_str_t                      echo;        /* channel of the heartbeat */

    ngx_lines_message_pt           handler;
    void                         (*lost)(void *data);
    void                          *data;

    ngx_event_t                    timer;
    ngx_lines_redis_op_t          *op;

    ngx_lines_heartbeat_t          beats[NGX_LINES_HEARTBEATS];
    ngx_uint_t                     next;

    ngx_msec_t                     proven;      /* the echoed one was sent */
    ngx_uint_t                     published;   /* since the last echo */

    unsigned                       subscribed:1;
    unsigned                       alive:1;
    unsigned                       refused:1;
};


static void ngx_lines_subscriber_ready(void *data);
static void ngx_lines_subscriber_lost(void *data);
static void ngx_lines_subscriber_shutdown(void *data);
static void ngx_lines_subscriber_reply_handler(redisAsyncContext *ac,
    void *data, void *privdata);
static void ngx_lines_subscriber_subscribed(ngx_lines_subscriber_t *sub);
static void ngx_lines_subscriber_echo(ngx_lines_subscriber_t *sub,
    ngx_str_t *token);
static void ngx_lines_heartbeat_handler(ngx_event_t *ev);
static void ngx_lines_heartbeat_publish(ngx_lines_subscriber_t *sub);
static void ngx_lines_heartbeat_published(void *data, redisReply *reply);
static void ngx_lines_random_hex(u_char *p, size_t len);
static ngx_uint_t ngx_lines_reply_eq(redisReply *reply, ngx_str_t *value);


ngx_lines_subscriber_t *
ngx_lines_subscriber_create(ngx_cycle_t *cycle, ngx_lines_redis_conf_t *conf,
    ngx_lines_redis_t *redis, ngx_str_t *channel, ngx_lines_message_pt handler,
    void (*lost)(void *data), void *data)
{
    u_char                        *p;
    ngx_lines_subscriber_t        *sub;
    ngx_lines_redis_connection_t  *conn;

    sub = ngx_pcalloc(cycle->pool, sizeof(ngx_lines_subscriber_t));
    if (sub == NULL) {
        return NULL;
    }

    sub->echo.len = sizeof(NGX_LINES_HEARTBEAT_PREFIX) - 1
                    + NGX_LINES_TOKEN_LEN;
    sub->echo.data = ngx_pnalloc(cycle->pool, sub->echo.len);
    if (sub->echo.data == NULL) {
        return NULL;
    }

    p = ngx_cpymem(sub->echo.data, NGX_LINES_HEARTBEAT_PREFIX,
                   sizeof(NGX_LINES_HEARTBEAT_PREFIX) - 1);
    ngx_lines_random_hex(p, NGX_LINES_TOKEN_LEN);

    sub->redis = redis;
    sub->log = cycle->log;
    sub->channel = *channel;
    sub->handler = handler;
    sub->lost = lost;
    sub->data = data;

    sub->timer.handler = ngx_lines_heartbeat_handler;
    sub->timer.data = sub;
    sub->timer.log = cycle->log;
    sub->timer.cancelable = 1;

    conn = &sub->connection;

    conn->conf = conf;
    conn->log = cycle->log;
    conn->data = sub;
    conn->role = "subscription";
    conn->ready = ngx_lines_subscriber_ready;
    conn->lost = ngx_lines_subscriber_lost;
    conn->shutdown = ngx_lines_subscriber_shutdown;

    ngx_lines_redis_connection_open(conn);

    return sub;
}


void
ngx_lines_subscriber_destroy(ngx_lines_subscriber_t *sub)
{
    sub->subscribed = 0;
    sub->alive = 0;

    if (sub->timer.timer_set) {
        ngx_del_timer(&sub->timer);
    }

    if (sub->op) {
        ngx_lines_redis_detach(sub->op);
        sub->op = NULL;
    }

    ngx_lines_redis_connection_close(&sub->connection);
}


/*
 * Counted from the instant at which the echoed token was sent, not from its
 * arrival: what was published before that instant has surely been read.
 */

ngx_uint_t
ngx_lines_subscriber_alive(ngx_lines_subscriber_t *sub)
{
    return sub->subscribed && sub->alive
           && ngx_current_msec - sub->proven <= NGX_LINES_HEARTBEAT_LIFE;
}


static void
ngx_lines_subscriber_ready(void *data)
{
    ngx_lines_subscriber_t *sub = data;

    size_t       len[3];
    const char  *argv[3];

    argv[0] = "SUBSCRIBE";
    len[0] = sizeof("SUBSCRIBE") - 1;

    argv[1] = (const char *) sub->channel.data;
    len[1] = sub->channel.len;

    /* last: once it is confirmed the other one is, too */

    argv[2] = (const char *) sub->echo.data;
    len[2] = sub->echo.len;

    if (redisAsyncCommandArgv(sub->connection.ac,
                              ngx_lines_subscriber_reply_handler, sub, 3, argv,
                              len)
        != REDIS_OK)
    {
        ngx_lines_redis_connection_cause(&sub->connection, "no memory");
        ngx_lines_redis_connection_fail(&sub->connection);
    }

    /* an answer that never comes is noticed like a missing echo */

    sub->proven = ngx_current_msec;
    sub->published = 0;

    if (!sub->timer.timer_set) {
        ngx_add_timer(&sub->timer, NGX_LINES_HEARTBEAT_INTERVAL);
    }
}


static void
ngx_lines_subscriber_lost(void *data)
{
    ngx_lines_subscriber_t *sub = data;

    sub->subscribed = 0;
    sub->alive = 0;

    if (sub->timer.timer_set) {
        ngx_del_timer(&sub->timer);
    }
}


/* what is still served asks Redis itself */

static void
ngx_lines_subscriber_shutdown(void *data)
{
    ngx_lines_subscriber_destroy(data);
}


static void
ngx_lines_subscriber_reply_handler(redisAsyncContext *ac, void *data,
    void *privdata)
{
    ngx_lines_subscriber_t *sub = privdata;

    ngx_str_t    value;
    redisReply  *reply, **element;

    reply = data;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_lines_redis_connection_cause(&sub->connection,
                                         "SUBSCRIBE failed: %*s",
                                         ngx_min(reply->len, (size_t) 100),
                                         reply->str);
        ngx_lines_redis_connection_fail(&sub->connection);
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY
        || reply->elements != 3
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_STRING)
    {
        return;
    }

    element = reply->element;

    if (element[0]->len == 9
        && ngx_strncmp(element[0]->str, "subscribe", 9) == 0)
    {
        if (ngx_lines_reply_eq(element[1], &sub->echo)) {
            ngx_lines_subscriber_subscribed(sub);
        }

        return;
    }

    if (element[0]->len != 7
        || ngx_strncmp(element[0]->str, "message", 7) != 0
        || element[2]->type != REDIS_REPLY_STRING)
    {
        return;
    }

    value.data = (u_char *) element[2]->str;
    value.len = element[2]->len;

    if (ngx_lines_reply_eq(element[1], &sub->echo)) {
        ngx_lines_subscriber_echo(sub, &value);
        return;
    }

    if (ngx_lines_reply_eq(element[1], &sub->channel)) {
        ngx_log_debug2(NGX_LOG_DEBUG_EVENT, sub->log, 0,
                       "lines message: \"%V\" %uz bytes",
                       &sub->channel, value.len);

        sub->handler(sub->data, &value);
    }
}


static void
ngx_lines_subscriber_subscribed(ngx_lines_subscriber_t *sub)
{
    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, sub->log, 0,
                   "lines subscribed: \"%V\"", &sub->channel);

    sub->subscribed = 1;
    sub->alive = 0;

    sub->lost(sub->data);

    ngx_lines_heartbeat_publish(sub);
}


static void
ngx_lines_subscriber_echo(ngx_lines_subscriber_t *sub, ngx_str_t *token)
{
    ngx_uint_t              i;
    ngx_lines_heartbeat_t  *beat;

    if (token->len != NGX_LINES_TOKEN_LEN) {
        return;
    }

    for (i = 0; i < NGX_LINES_HEARTBEATS; i++) {
        beat = &sub->beats[i];

        if (ngx_memcmp(beat->token, token->data, NGX_LINES_TOKEN_LEN) != 0) {
            continue;
        }

        if (!sub->alive
            || (ngx_msec_int_t) (beat->sent - sub->proven) > 0)
        {
            sub->proven = beat->sent;
        }

        sub->alive = 1;
        sub->published = 0;

        return;
    }
}


static void
ngx_lines_heartbeat_handler(ngx_event_t *ev)
{
    ngx_lines_subscriber_t *sub = ev->data;

    if (ngx_exiting) {
        return;
    }

    /*
     * Publishing works, but nothing comes back: this connection is dead, or
     * leads to another server than the commands'.
     */

    if (sub->published > 3
        && ngx_current_msec - sub->proven > NGX_LINES_HEARTBEAT_LOST)
    {
        ngx_lines_redis_connection_drop(&sub->connection,
                                        "the subscription is silent");
        return;
    }

    ngx_lines_heartbeat_publish(sub);

    ngx_add_timer(ev, NGX_LINES_HEARTBEAT_INTERVAL);
}


static void
ngx_lines_heartbeat_publish(ngx_lines_subscriber_t *sub)
{
    ngx_str_t               argv[3];
    ngx_lines_heartbeat_t  *beat;

    if (sub->op || ngx_exiting) {

        /* the one before still waits for Redis: nothing to add to that */

        return;
    }

    beat = &sub->beats[sub->next++ % NGX_LINES_HEARTBEATS];

    ngx_lines_random_hex(beat->token, NGX_LINES_TOKEN_LEN);
    beat->sent = ngx_current_msec;

    ngx_str_set(&argv[0], "PUBLISH");
    argv[1] = sub->echo;
    argv[2].data = beat->token;
    argv[2].len = NGX_LINES_TOKEN_LEN;

    sub->op = ngx_lines_redis_command(sub->redis, 3, argv,
                                      ngx_lines_heartbeat_published, sub);
}


static void
ngx_lines_heartbeat_published(void *data, redisReply *reply)
{
    ngx_lines_subscriber_t *sub = data;

    sub->op = NULL;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_INTEGER) {
        sub->published++;
        sub->refused = 0;
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR && !sub->refused) {
        sub->refused = 1;

        ngx_log_error(NGX_LOG_ERR, sub->log, 0,
                      "lines redis \"%V\": PUBLISH failed: %*s",
                      &sub->connection.conf->name,
                      ngx_min(reply->len, (size_t) 100), reply->str);
    }
}


static void
ngx_lines_random_hex(u_char *p, size_t len)
{
    u_char  bytes[NGX_LINES_TOKEN_LEN / 2];
    size_t  i;

    /* nginx's own generator may run alike on two nodes */

    if (RAND_bytes(bytes, (int) (len / 2)) != 1) {
        for (i = 0; i < len / 2; i++) {
            bytes[i] = (u_char) (ngx_random() >> 8);
        }
    }

    ngx_hex_dump(p, bytes, len / 2);
}


static ngx_uint_t
ngx_lines_reply_eq(redisReply *reply, ngx_str_t *value)
{
    return reply->len == value->len
           && ngx_memcmp(reply->str, value->data, value->len) == 0;
}
