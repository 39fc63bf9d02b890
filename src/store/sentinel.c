
/*
 * Sentinels may differ: one that was cut off names the primary of before.  Each
 * change of the primary has a number that grows, its configuration's epoch: the
 * word of the highest one counts, of several the one that changed last (who
 * leads a failover has its epoch from the beginning), and a lower one again
 * only where most of the Sentinels have it, as after they were set up anew.
 */

#include "store/redis_life.h"
#include "store/redis_log.h"
#include "store/sentinel.h"


/* asked so often even if nothing seems to have changed */
#define LINES_SENTINEL_PERIOD  10000

/* ... one that may not be subscribed to */
#define LINES_SENTINEL_POLL    1000

/* the first word waits so long for those of others, unless most have told */
#define LINES_SENTINEL_FIRST   300

#define LINES_SENTINEL_NAME    512


/* what of the asking is answered next, in this order */

typedef enum {
    SENTINEL_RESTS = 0,
    SENTINEL_UNSUBSCRIBES,
    SENTINEL_TELLS_EPOCH,
    SENTINEL_TELLS_ADDRESS,
    SENTINEL_SUBSCRIBES
} sentinel_step_e;


typedef struct {
    u_char     host[LINES_REDIS_HOST];    /* small letters */
    size_t     len;
    in_port_t  port;
    off_t      epoch;
} sentinel_word_t;


typedef struct {
    lines_redis_connection_t  connection;
    lines_sentinel_t         *sentinel;
    ngx_event_t               timer;

    sentinel_step_e           step;
    off_t                     epoch;        /* told by this asking; 0: refused,
                                               as the text says */
    u_char                    refused[LINES_REDIS_TEXT_LEN + 1];

    sentinel_word_t           word;         /* the last one */
    ngx_uint_t                changed;      /* as number N of all changes */

    unsigned                  told:1;       /* it stands by its word */
    unsigned                  subscribed:1;

    /* what was said in the log: it does not tell the address, the epoch, of
       changes; its word is too old */
    unsigned                  no_address:1;
    unsigned                  no_epoch:1;
    unsigned                  no_changes:1;
    unsigned                  old:1;
} sentinel_peer_t;


struct lines_sentinel_s {
    lines_redis_conf_t  *conf;
    ngx_log_t           *log;
    ngx_queue_t          followers;

    sentinel_peer_t     *peers;
    ngx_uint_t           npeers;
    ngx_uint_t           changes;

    sentinel_word_t      word;     /* what counts; no host: nothing yet */
    ngx_event_t          first;
    ngx_str_t            name;     /* for messages: conf's, and the address */
    u_char               name_data[LINES_SENTINEL_NAME];
};


static void sentinel_locate(lines_redis_connection_t *conn, ngx_uint_t last);
static void sentinel_ready(void *data);
static void sentinel_lost(void *data);
static void sentinel_ask(sentinel_peer_t *peer);
static void sentinel_answered(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static void sentinel_message(void *data, redisReply *reply);
static ngx_uint_t sentinel_is_event(redisReply *reply);
static ngx_int_t sentinel_take_epoch(sentinel_peer_t *peer, redisReply *reply);
static ngx_int_t sentinel_take_address(sentinel_peer_t *peer,
    redisReply *reply);
static void sentinel_no_address(sentinel_peer_t *peer, char *why);
static ngx_int_t sentinel_subscribed(sentinel_peer_t *peer, redisReply *reply);
static void sentinel_rest(sentinel_peer_t *peer);
static ngx_int_t sentinel_read_word(sentinel_word_t *word, redisReply *reply);
static ngx_uint_t sentinel_same(sentinel_word_t *one, sentinel_word_t *other);
static void sentinel_decide(lines_sentinel_t *sentinel);
static sentinel_peer_t *sentinel_best(lines_sentinel_t *sentinel,
    ngx_uint_t *most);
static void sentinel_believe(lines_sentinel_t *sentinel,
    sentinel_peer_t *peer);
static void sentinel_tell(lines_sentinel_t *sentinel, ngx_uint_t moved);
static void sentinel_complain(sentinel_peer_t *peer, char *what, char *why);
static void sentinel_timer(sentinel_peer_t *peer, ngx_msec_t timer);
static void sentinel_first_handler(ngx_event_t *ev);
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

    sentinel->first.handler = sentinel_first_handler;
    sentinel->first.data = sentinel;
    sentinel->first.log = cycle->log;
    sentinel->first.cancelable = 1;

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

    if (sentinel->first.timer_set) {
        ngx_del_timer(&sentinel->first);
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


/* where no Sentinel answers, the primary that was known is better than none */

static void
sentinel_locate(lines_redis_connection_t *conn, ngx_uint_t last)
{
    lines_sentinel_t *sentinel = conn->guide;

    ngx_str_t   host;
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

    if (sentinel->word.len) {
        host.data = sentinel->word.host;
        host.len = sentinel->word.len;

        lines_redis_located(conn, &host, sentinel->word.port, 0);

    } else if (last) {
        lines_redis_fail(conn, "no Sentinel tells where it is");
    }
}


static void
sentinel_ready(void *data)
{
    sentinel_peer_t *peer = data;

    peer->subscribed = 0;
    peer->step = SENTINEL_RESTS;

    sentinel_ask(peer);
}


static void
sentinel_lost(void *data)
{
    sentinel_peer_t *peer = data;

    peer->told = 0;

    if (peer->step != SENTINEL_RESTS) {
        sentinel_rest(peer);
    }

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

    if (peer->step != SENTINEL_RESTS) {
        return;
    }

    conn = &peer->connection;
    master = &peer->sentinel->conf->master;

    if (peer->subscribed) {
        peer->step = SENTINEL_UNSUBSCRIBES;
        lines_redis_ask(conn, sentinel_answered, peer, "UNSUBSCRIBE");

    } else {
        peer->step = SENTINEL_TELLS_EPOCH;
    }

    lines_redis_ask(conn, sentinel_answered, peer, "SENTINEL MASTER %b",
                    master->data, master->len);
    lines_redis_ask(conn, sentinel_answered, peer,
                    "SENTINEL GET-MASTER-ADDR-BY-NAME %b",
                    master->data, master->len);
    lines_redis_ask(conn, sentinel_answered, peer, "SUBSCRIBE +switch-master");

    sentinel_timer(peer, conn->conf->silence);
}


static void
sentinel_answered(lines_redis_connection_t *conn, void *data,
    redisReply *reply)
{
    if (reply) {
        sentinel_message(data, reply);
    }
}


/*
 * An event may come while an answer is waited for, and then the answer comes as
 * if it were one: what it is, its place tells.
 */

static void
sentinel_message(void *data, redisReply *reply)
{
    sentinel_peer_t *peer = data;

    ngx_int_t  rc;

    if (sentinel_is_event(reply)) {
        ngx_log_debug1(NGX_LOG_DEBUG_EVENT, peer->sentinel->log, 0,
                       "lines sentinel: +switch-master of \"%V\"",
                       peer->connection.name);

        /* of this primary or of another one: the answer says */

        sentinel_ask(peer);
        return;
    }

    switch (peer->step) {

    case SENTINEL_UNSUBSCRIBES:
        peer->step = SENTINEL_TELLS_EPOCH;
        rc = NGX_OK;
        break;

    case SENTINEL_TELLS_EPOCH:
        peer->step = SENTINEL_TELLS_ADDRESS;
        rc = sentinel_take_epoch(peer, reply);
        break;

    case SENTINEL_TELLS_ADDRESS:
        peer->step = SENTINEL_SUBSCRIBES;
        rc = sentinel_take_address(peer, reply);
        break;

    case SENTINEL_SUBSCRIBES:
        rc = sentinel_subscribed(peer, reply);
        break;

    default: /* SENTINEL_RESTS */
        rc = NGX_ERROR;
    }

    if (rc != NGX_OK) {
        lines_redis_fail(&peer->connection, "the server is not Sentinel");
    }
}


static ngx_uint_t
sentinel_is_event(redisReply *reply)
{
    static ngx_str_t  message = ngx_string("message");

    return reply->type == REDIS_REPLY_ARRAY
           && reply->elements == 3
           && lines_redis_reply_is(reply->element[0], &message);
}


/* names and values in turn; who may not ask this may still ask the address */

static ngx_int_t
sentinel_take_epoch(sentinel_peer_t *peer, redisReply *reply)
{
    size_t       i;
    redisReply  *value;

    static ngx_str_t  name = ngx_string("config-epoch");

    peer->epoch = 0;
    peer->refused[0] = '\0';

    if (reply->type == REDIS_REPLY_ERROR) {
        (void) ngx_cpystrn(peer->refused, (u_char *) reply->str,
                           LINES_REDIS_TEXT_LEN + 1);
        return NGX_OK;
    }

    if (reply->type != REDIS_REPLY_ARRAY) {
        return NGX_ERROR;
    }

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
sentinel_take_address(sentinel_peer_t *peer, redisReply *reply)
{
    ngx_int_t        rc;
    sentinel_word_t  word;

    /* it knows no such primary, which it said by an error before */

    if (reply->type == REDIS_REPLY_NIL) {
        sentinel_no_address(peer, peer->refused[0] ? (char *) peer->refused
                                                   : "it knows none");
        return NGX_OK;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        sentinel_no_address(peer, reply->str);
        return NGX_OK;
    }

    rc = sentinel_read_word(&word, reply);

    if (rc == NGX_DECLINED) {
        sentinel_no_address(peer, "neither an address nor a name");
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    word.epoch = peer->epoch;

    if (!sentinel_same(&word, &peer->word)
        || word.epoch != peer->word.epoch)
    {
        peer->word = word;
        peer->changed = ++peer->sentinel->changes;
        peer->old = 0;
    }

    if (peer->refused[0] && !peer->no_epoch) {
        sentinel_complain(peer, "the epoch", (char *) peer->refused);
    }

    peer->told = 1;
    peer->no_address = 0;
    peer->no_epoch = (peer->refused[0] != '\0');

    sentinel_decide(peer->sentinel);

    return NGX_OK;
}


static void
sentinel_no_address(sentinel_peer_t *peer, char *why)
{
    if (!peer->no_address) {
        sentinel_complain(peer, "the address", why);
    }

    peer->told = 0;
    peer->no_address = 1;
}


static ngx_int_t
sentinel_subscribed(sentinel_peer_t *peer, redisReply *reply)
{
    static ngx_str_t  subscribe = ngx_string("subscribe");

    if (reply->type == REDIS_REPLY_ERROR) {

        if (!peer->no_changes) {
            sentinel_complain(peer, "changes", reply->str);
        }

        peer->subscribed = 0;
        peer->no_changes = 1;

    } else if (reply->type == REDIS_REPLY_ARRAY
               && reply->elements
               && lines_redis_reply_is(reply->element[0], &subscribe))
    {
        peer->subscribed = 1;
        peer->no_changes = 0;

    } else {
        return NGX_ERROR;
    }

    sentinel_timer(peer, peer->subscribed ? LINES_SENTINEL_PERIOD
                                          : LINES_SENTINEL_POLL);
    sentinel_rest(peer);

    return NGX_OK;
}


/* if no other one has anything to tell either, what is known has to do */

static void
sentinel_rest(sentinel_peer_t *peer)
{
    ngx_uint_t         i;
    lines_sentinel_t  *sentinel;

    sentinel = peer->sentinel;

    peer->step = SENTINEL_RESTS;

    for (i = 0; i < sentinel->npeers; i++) {
        if (sentinel->peers[i].step != SENTINEL_RESTS) {
            return;
        }
    }

    if (sentinel->word.len) {
        sentinel_tell(sentinel, 0);
    }
}


/* NGX_ERROR: not what Sentinel answers; NGX_DECLINED: but nothing to go to */

static ngx_int_t
sentinel_read_word(sentinel_word_t *word, redisReply *reply)
{
    u_char       ch;
    size_t       i;
    ngx_int_t    n;
    redisReply  *host, *port;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        return NGX_ERROR;
    }

    host = reply->element[0];
    port = reply->element[1];

    if (host->type != REDIS_REPLY_STRING || port->type != REDIS_REPLY_STRING) {
        return NGX_ERROR;
    }

    n = ngx_atoi((u_char *) port->str, port->len);

    if (n < 1
        || n > 65535
        || host->len == 0
        || (size_t) host->len > LINES_REDIS_HOST)
    {
        return NGX_DECLINED;
    }

    for (i = 0; i < (size_t) host->len; i++) {
        ch = ngx_tolower((u_char) host->str[i]);

        if (!lines_redis_host_char(ch)) {
            return NGX_DECLINED;
        }

        word->host[i] = ch;
    }

    word->len = host->len;
    word->port = n;

    return NGX_OK;
}


static ngx_uint_t
sentinel_same(sentinel_word_t *one, sentinel_word_t *other)
{
    return one->port == other->port
           && one->len == other->len
           && ngx_memcmp(one->host, other->host, one->len) == 0;
}


static void
sentinel_decide(lines_sentinel_t *sentinel)
{
    ngx_uint_t        most, moved;
    sentinel_peer_t  *best;

    best = sentinel_best(sentinel, &most);
    if (best == NULL) {
        return;
    }

    if (sentinel->word.len == 0 && !most && !sentinel->first.timedout) {

        /* one that was cut off may be the first to answer */

        if (!sentinel->first.timer_set) {
            ngx_add_timer(&sentinel->first, LINES_SENTINEL_FIRST);
        }

        return;
    }

    moved = !sentinel_same(&sentinel->word, &best->word);

    if (sentinel->word.len && best->word.epoch < sentinel->word.epoch && !most)
    {
        if (moved && !best->old) {
            best->old = 1;

            ngx_log_error(NGX_LOG_WARN, sentinel->log, 0,
                          "lines redis \"%V\": Sentinel \"%V\" names "
                          "\"%*s\" port %d, of the older epoch %O: not "
                          "believed unless most of the Sentinels do",
                          &sentinel->name, best->connection.name,
                          best->word.len, best->word.host,
                          (int) best->word.port, best->word.epoch);
        }

        return;
    }

    if (moved) {
        sentinel_believe(sentinel, best);
    }

    sentinel->word.epoch = best->word.epoch;

    sentinel_tell(sentinel, moved);
}


/* of those that told, NULL: none; most: flag, of all there are they are most */

static sentinel_peer_t *
sentinel_best(lines_sentinel_t *sentinel, ngx_uint_t *most)
{
    ngx_uint_t        i, n;
    sentinel_peer_t  *peer, *best;

    n = 0;
    best = NULL;

    for (i = 0; i < sentinel->npeers; i++) {
        peer = &sentinel->peers[i];

        if (!peer->told) {
            continue;
        }

        n++;

        if (best == NULL
            || peer->word.epoch > best->word.epoch
            || (peer->word.epoch == best->word.epoch
                && peer->changed > best->changed))
        {
            best = peer;
        }
    }

    *most = (2 * n > sentinel->npeers);

    return best;
}


static void
sentinel_believe(lines_sentinel_t *sentinel, sentinel_peer_t *peer)
{
    u_char           *p;
    ngx_str_t         host;
    sentinel_word_t  *word;

    word = &sentinel->word;

    *word = peer->word;

    host.data = word->host;
    host.len = word->len;

    p = ngx_snprintf(sentinel->name_data, LINES_SENTINEL_NAME,
                     ngx_strlchr(host.data, host.data + host.len, ':')
                     ? "%V at [%V]:%d" : "%V at %V:%d",
                     &sentinel->conf->name, &host, (int) word->port);

    sentinel->name.data = sentinel->name_data;
    sentinel->name.len = p - sentinel->name_data;

    ngx_log_error(NGX_LOG_NOTICE, sentinel->log, 0,
                  "lines redis \"%V\": so says Sentinel \"%V\", epoch %O",
                  &sentinel->name, peer->connection.name, word->epoch);
}


static void
sentinel_tell(lines_sentinel_t *sentinel, ngx_uint_t moved)
{
    ngx_str_t                  host;
    ngx_queue_t               *q, *next;
    lines_redis_connection_t  *conn;

    host.data = sentinel->word.host;
    host.len = sentinel->word.len;

    for (q = ngx_queue_head(&sentinel->followers);
         q != ngx_queue_sentinel(&sentinel->followers);
         q = next)
    {
        next = ngx_queue_next(q);
        conn = ngx_queue_data(q, lines_redis_connection_t, follower);

        lines_redis_located(conn, &host, sentinel->word.port, moved);
    }
}


/* once, until it does */

static void
sentinel_complain(sentinel_peer_t *peer, char *what, char *why)
{
    ngx_log_error(NGX_LOG_ERR, peer->sentinel->log, 0,
                  "lines redis \"%V\", Sentinel: it does not tell %s of "
                  "\"%V\": %*s", peer->connection.name, what,
                  &peer->sentinel->conf->master,
                  ngx_min(ngx_strlen(why), LINES_REDIS_TEXT_LEN), why);
}


static void
sentinel_timer(sentinel_peer_t *peer, ngx_msec_t timer)
{
    if (peer->timer.timer_set) {
        ngx_del_timer(&peer->timer);
    }

    ngx_add_timer(&peer->timer, timer);
}


static void
sentinel_first_handler(ngx_event_t *ev)
{
    sentinel_decide(ev->data);
}


static void
sentinel_timer_handler(ngx_event_t *ev)
{
    sentinel_peer_t *peer = ev->data;

    if (peer->step != SENTINEL_RESTS) {
        lines_redis_fail(&peer->connection, "no reply, for \"silence=\"");
        return;
    }

    if (!ngx_exiting) {
        sentinel_ask(peer);
    }
}
