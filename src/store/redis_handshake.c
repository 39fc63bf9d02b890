
/*
 * What a new connection says first: AUTH, SELECT, INFO and CONFIG GET (or
 * PING), sent together; a node of a cluster is asked for its slots besides.
 * The reply of the last one makes the connection ready.
 */

#include "store/redis_adapter.h"
#include "store/redis_handshake.h"


#define LINES_REDIS_TEXT_LEN  100
#define LINES_REDIS_ARGS      8
#define LINES_REDIS_SLOTS     16384


static ngx_int_t redis_say(lines_redis_connection_t *conn,
    redisCallbackFn *callback, ngx_uint_t argc, ngx_str_t *argv);
static void redis_auth_handler(redisAsyncContext *ac, void *data,
    void *privdata);
static void redis_select_handler(redisAsyncContext *ac, void *data,
    void *privdata);
static void redis_script_handler(redisAsyncContext *ac, void *data,
    void *privdata);
static void redis_info_handler(redisAsyncContext *ac, void *data,
    void *privdata);
static void redis_take_info(lines_redis_connection_t *conn,
    redisReply *reply);
static void redis_take_config(lines_redis_connection_t *conn,
    redisReply *reply);
static ngx_uint_t redis_check_value(lines_redis_connection_t *conn,
    ngx_str_t *name, ngx_str_t *value, ngx_uint_t known);
static void redis_looked_handler(redisAsyncContext *ac, void *data,
    void *privdata);
static ngx_int_t redis_ask(lines_redis_connection_t *conn,
    redisCallbackFn *info, redisCallbackFn *config);
static void redis_config_handler(redisAsyncContext *ac, void *data,
    void *privdata);
static void redis_cluster_handler(redisAsyncContext *ac, void *data,
    void *privdata);
static void redis_nodes_handler(redisAsyncContext *ac, void *data,
    void *privdata);
static ngx_uint_t redis_own_slots(u_char *p, u_char *last);
static void redis_ping_handler(redisAsyncContext *ac, void *data,
    void *privdata);
static ngx_uint_t redis_refused(lines_redis_connection_t *conn,
    redisReply *reply);
static ngx_uint_t redis_reply_is(redisReply *reply, char *code);
static void redis_info_field(redisReply *reply, char *name, ngx_str_t *value);


lines_redis_wish_t  lines_redis_wishes[] = {
    { ngx_string("appendfsync"), ngx_string("always"), 0 },
    { ngx_string("hash-max-listpack-value"), ngx_string("1024"), 1 },
    { ngx_string("stream-node-max-bytes"), ngx_string("512"), 0 },
    { ngx_null_string, ngx_null_string, 0 }
};


ngx_int_t
lines_redis_handshake(lines_redis_connection_t *conn)
{
    u_char               db[NGX_INT_T_LEN];
    ngx_str_t            argv[LINES_REDIS_ARGS];
    ngx_uint_t           argc;
    lines_redis_conf_t  *conf;

    conf = conn->conf;

    if (conf->password.len) {
        argc = 0;

        ngx_str_set(&argv[argc], "AUTH");
        argc++;

        if (conf->user.len) {
            argv[argc++] = conf->user;
        }

        argv[argc++] = conf->password;

        if (redis_say(conn, redis_auth_handler, argc, argv) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (!conn->info) {

        /* a channel belongs to no database */

        ngx_str_set(&argv[0], "PING");

        return redis_say(conn, redis_ping_handler, 1, argv);
    }

    if (conf->db) {
        ngx_str_set(&argv[0], "SELECT");
        argv[1].data = db;
        argv[1].len = ngx_sprintf(db, "%ui", conf->db) - db;

        if (redis_say(conn, redis_select_handler, 2, argv) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (conn->denied) {
        ngx_str_set(&argv[0], "EVAL");
        ngx_str_set(&argv[1], "return redis.call('EXISTS', KEYS[1])");
        ngx_str_set(&argv[2], "1");
        ngx_str_set(&argv[3], "lines:{denied}");

        if (redis_say(conn, redis_script_handler, 4, argv) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return redis_ask(conn, redis_info_handler, redis_config_handler);
}


void
lines_redis_look(lines_redis_connection_t *conn)
{
    if (conn->state != LINES_REDIS_READY
        || !conn->info
        || ngx_current_msec - conn->looked_at < LINES_REDIS_LOOK)
    {
        return;
    }

    conn->looked_at = ngx_current_msec;

    (void) lines_redis_connection_await(conn);

    /* without memory there is another look */

    (void) redis_ask(conn, redis_looked_handler, redis_looked_handler);
}


/* of a connection that serves: a string is INFO's, an array CONFIG's */

static void
redis_looked_handler(redisAsyncContext *ac, void *data, void *privdata)
{
    lines_redis_connection_t *conn = privdata;

    redisReply  *reply;

    reply = data;

    if (reply == NULL || conn->state != LINES_REDIS_READY) {
        return;
    }

    if (reply->type == REDIS_REPLY_STRING) {
        redis_take_info(conn, reply);

    } else if (reply->type == REDIS_REPLY_ARRAY) {
        redis_take_config(conn, reply);
    }
}


static ngx_int_t
redis_ask(lines_redis_connection_t *conn, redisCallbackFn *info,
    redisCallbackFn *config)
{
    ngx_str_t   argv[LINES_REDIS_ARGS];
    ngx_uint_t  i;

    /* one INFO: several sections in one command are known since 7.0 only */

    ngx_str_set(&argv[0], "INFO");

    if (redis_say(conn, info, 1, argv) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "CONFIG");
    ngx_str_set(&argv[1], "GET");

    for (i = 0; lines_redis_wishes[i].name.len; i++) {
        argv[2 + i] = lines_redis_wishes[i].name;
    }

    return redis_say(conn, config, 2 + i, argv);
}


static ngx_int_t
redis_say(lines_redis_connection_t *conn, redisCallbackFn *callback,
    ngx_uint_t argc, ngx_str_t *argv)
{
    size_t       len[LINES_REDIS_ARGS];
    ngx_uint_t   i;
    const char  *arg[LINES_REDIS_ARGS];

    for (i = 0; i < argc; i++) {
        arg[i] = (const char *) argv[i].data;
        len[i] = argv[i].len;
    }

    if (redisAsyncCommandArgv(conn->ac, callback, conn, argc, arg, len)
        != REDIS_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
redis_auth_handler(redisAsyncContext *ac, void *data, void *privdata)
{
    lines_redis_connection_t *conn = privdata;

    u_char      *p;
    redisReply  *reply;

    reply = data;

    if (reply == NULL
        || conn->state != LINES_REDIS_HANDSHAKE
        || reply->type != REDIS_REPLY_ERROR)
    {
        return;
    }

    /*
     * The server's words are not logged: where AUTH is renamed they quote the
     * password.
     */

    p = (u_char *) reply->str;

    if (redis_reply_is(reply, "WRONGPASS")
        || ngx_strstr(p, "invalid password"))
    {
        lines_redis_connection_cause(conn,
                                     "AUTH failed: wrong user or password");

    } else if (ngx_strstr(p, "no password is set")
               || ngx_strstr(p, "without any password"))
    {
        lines_redis_connection_cause(conn,
                                    "AUTH failed: the server has no password");

    } else if (ngx_strstr(p, "max number of clients")) {
        lines_redis_connection_cause(conn, "max number of clients reached");

    } else if (redis_reply_is(reply, "LOADING")) {
        lines_redis_connection_cause(conn, "LOADING: not ready yet");

    } else {
        lines_redis_connection_cause(conn,
                                     "AUTH failed: refused by the server");
    }

    lines_redis_connection_fail(conn);
}


static void
redis_select_handler(redisAsyncContext *ac, void *data, void *privdata)
{
    lines_redis_connection_t *conn = privdata;

    redisReply  *reply;

    reply = data;

    if (reply == NULL
        || conn->state != LINES_REDIS_HANDSHAKE
        || reply->type != REDIS_REPLY_ERROR
        || redis_refused(conn, reply))
    {
        return;
    }

    lines_redis_connection_cause(conn, "SELECT %ui failed: %*s",
                                 conn->conf->db,
                                 ngx_min(reply->len,
                                         (size_t) LINES_REDIS_TEXT_LEN),
                                 reply->str);

    lines_redis_connection_fail(conn);
}


static void
redis_script_handler(redisAsyncContext *ac, void *data, void *privdata)
{
    lines_redis_connection_t *conn = privdata;

    redisReply  *reply;

    reply = data;

    if (reply == NULL
        || conn->state != LINES_REDIS_HANDSHAKE
        || (reply->type == REDIS_REPLY_ERROR && redis_refused(conn, reply)))
    {
        return;
    }

    /* a slot that is not its own says nothing of scripts, but is told below */

    if (reply->type == REDIS_REPLY_ERROR
        && (redis_reply_is(reply, "MOVED")
            || redis_reply_is(reply, "ASK")
            || redis_reply_is(reply, "TRYAGAIN")
            || redis_reply_is(reply, "CLUSTERDOWN")))
    {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        lines_redis_connection_cause(conn, "NOPERM: scripts are refused");
        lines_redis_connection_fail(conn);
        return;
    }

    conn->denied = 0;
}


static void
redis_info_handler(redisAsyncContext *ac, void *data, void *privdata)
{
    lines_redis_connection_t *conn = privdata;

    ngx_str_t    value;
    redisReply  *reply;

    reply = data;

    if (reply == NULL || conn->state != LINES_REDIS_HANDSHAKE) {
        return;
    }

    if (redis_refused(conn, reply)) {
        return;
    }

    if (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_ERROR)
    {
        lines_redis_connection_cause(conn, "the server is not Redis");
        lines_redis_connection_fail(conn);
        return;
    }

    conn->cluster = 0;

    if (reply->type != REDIS_REPLY_STRING) {
        conn->evicts = 0;
        conn->no_aof = 0;
        conn->no_info = 1;

        ngx_log_error(NGX_LOG_WARN, conn->log, 0,
                      "lines redis \"%V\": INFO is refused: its "
                      "maxmemory-policy and persistence are not known",
                      &conn->conf->name);
        return;
    }

    redis_info_field(reply, "loading:", &value);

    if (value.len && value.data[0] != '0') {
        lines_redis_connection_cause(conn, "LOADING: not ready yet");
        lines_redis_connection_fail(conn);
        return;
    }

    /* writes would fail, reads may be old: wait for it to be the primary */

    redis_info_field(reply, "role:", &value);

    if (value.len == 5 && ngx_strncmp(value.data, "slave", 5) == 0) {
        lines_redis_connection_cause(conn,
                                     "READONLY: a replica, not the primary");
        lines_redis_connection_fail(conn);
        return;
    }

    redis_take_info(conn, reply);

    redis_info_field(reply, "cluster_enabled:", &value);

    conn->cluster = (value.len && value.data[0] == '1');
}


/* what is amiss is told with each connection, and when it becomes so */

static void
redis_take_info(lines_redis_connection_t *conn, redisReply *reply)
{
    ngx_str_t   value;
    ngx_uint_t  again, evicts, no_aof;

    again = (conn->state == LINES_REDIS_READY);

    redis_info_field(reply, "maxmemory_policy:", &value);

    evicts = value.len
             && (value.len != 10
                 || ngx_strncmp(value.data, "noeviction", 10) != 0);

    if (evicts && !(again && conn->evicts)) {
        ngx_log_error(NGX_LOG_WARN, conn->log, 0,
                      "lines redis \"%V\": maxmemory-policy is \"%V\", not "
                      "\"noeviction\": records may be lost", &conn->conf->name,
                      &value);
    }

    redis_info_field(reply, "aof_enabled:", &value);

    no_aof = value.len && value.data[0] == '0';

    if (no_aof && !(again && conn->no_aof)) {
        ngx_log_error(NGX_LOG_WARN, conn->log, 0,
                      "lines redis \"%V\": no AOF (appendonly is off): "
                      "records may be lost when it restarts",
                      &conn->conf->name);
    }

    redis_info_field(reply, "aof_last_write_status:", &value);

    if (value.len == 3 && ngx_strncmp(value.data, "err", 3) == 0) {
        lines_redis_connection_refuses(conn,
                                       "its last write of the AOF failed",
                                       "its disk is full or fails");
    }

    conn->evicts = evicts;
    conn->no_aof = no_aof;
    conn->no_info = 0;
}


/* where CONFIG is not allowed a provider sets what it sets: nothing is known */

static void
redis_config_handler(redisAsyncContext *ac, void *data, void *privdata)
{
    lines_redis_connection_t *conn = privdata;

    ngx_str_t    argv[2];
    redisReply  *reply;

    reply = data;

    if (reply == NULL || conn->state != LINES_REDIS_HANDSHAKE) {
        return;
    }

    if (redis_refused(conn, reply)) {
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY && reply->type != REDIS_REPLY_ERROR) {
        lines_redis_connection_cause(conn, "the server is not Redis");
        lines_redis_connection_fail(conn);
        return;
    }

    redis_take_config(conn, reply);

    if (!conn->cluster) {
        conn->greeted(conn);
        return;
    }

    ngx_str_set(&argv[0], "CLUSTER");
    ngx_str_set(&argv[1], "INFO");

    if (redis_say(conn, redis_cluster_handler, 2, argv) == NGX_OK) {
        ngx_str_set(&argv[1], "NODES");

        if (redis_say(conn, redis_nodes_handler, 2, argv) == NGX_OK) {
            return;
        }
    }

    lines_redis_connection_cause(conn, "no memory");
    lines_redis_connection_fail(conn);
}


static void
redis_take_config(lines_redis_connection_t *conn, redisReply *reply)
{
    size_t        i;
    ngx_str_t     name, value;
    ngx_uint_t    known;
    redisReply  **element;

    known = (conn->state == LINES_REDIS_READY) ? conn->settings : 0;

    conn->settings = 0;
    conn->no_config = (reply->type == REDIS_REPLY_ERROR);
    conn->looked_at = ngx_current_msec;

    for (i = 0;
         reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements;
         i += 2)
    {
        element = &reply->element[i];

        if (element[0]->type == REDIS_REPLY_STRING
            && element[1]->type == REDIS_REPLY_STRING)
        {
            name.data = (u_char *) element[0]->str;
            name.len = element[0]->len;
            value.data = (u_char *) element[1]->str;
            value.len = element[1]->len;

            conn->settings |= redis_check_value(conn, &name, &value, known);
        }
    }
}


/* its bit where it is not met; told unless it was known before */

static ngx_uint_t
redis_check_value(lines_redis_connection_t *conn, ngx_str_t *name,
    ngx_str_t *value, ngx_uint_t known)
{
    ngx_uint_t           i;
    lines_redis_wish_t  *wish;

    for (i = 0; lines_redis_wishes[i].name.len; i++) {

        wish = &lines_redis_wishes[i];

        if (name->len != wish->name.len
            || ngx_strncmp(name->data, wish->name.data, name->len) != 0)
        {
            continue;
        }

        if ((value->len == wish->value.len
             && ngx_strncmp(value->data, wish->value.data, value->len) == 0)
            || (wish->least
                && ngx_atoi(value->data, value->len)
                   >= ngx_atoi(wish->value.data, wish->value.len)))
        {
            return 0;
        }

        if (!(known & ((ngx_uint_t) 1 << i))) {
            ngx_log_error(NGX_LOG_WARN, conn->log, 0,
                          "lines redis \"%V\": %V is \"%V\", not \"%V\" as in "
                          "conf/redis.conf", &conn->conf->name, name, value,
                          &wish->value);
        }

        return (ngx_uint_t) 1 << i;
    }

    return 0;
}


/* a node that has all slots serves like any other Redis */

static void
redis_cluster_handler(redisAsyncContext *ac, void *data, void *privdata)
{
    lines_redis_connection_t *conn = privdata;

    ngx_str_t    value;
    redisReply  *reply;

    reply = data;

    if (reply == NULL
        || conn->state != LINES_REDIS_HANDSHAKE
        || reply->type != REDIS_REPLY_STRING)
    {
        return;
    }

    redis_info_field(reply, "cluster_state:", &value);

    if (value.len != 2 || ngx_strncmp(value.data, "ok", 2) != 0) {
        lines_redis_connection_cause(conn,
                                 "CLUSTERDOWN: a cluster node out of service");
        lines_redis_connection_fail(conn);
    }
}


static void
redis_nodes_handler(redisAsyncContext *ac, void *data, void *privdata)
{
    lines_redis_connection_t *conn = privdata;

    ngx_uint_t   slots;
    redisReply  *reply;

    reply = data;

    if (reply == NULL || conn->state != LINES_REDIS_HANDSHAKE) {
        return;
    }

    /* where this is not allowed MOVED will tell */

    if (reply->type == REDIS_REPLY_STRING) {

        slots = redis_own_slots((u_char *) reply->str,
                                (u_char *) reply->str + reply->len);

        if (slots != LINES_REDIS_SLOTS) {
            lines_redis_connection_cause(conn,
                           "a cluster node with %ui of %d slots: a cluster of "
                           "several is not served", slots, LINES_REDIS_SLOTS);
            lines_redis_connection_fail(conn);
            return;
        }
    }

    conn->greeted(conn);
}


/*
 * CLUSTER NODES: id address flags primary ping pong epoch link slot ...; a
 * slot is N or N-M; one that is being moved, "[...", counts as gone.
 */

static ngx_uint_t
redis_own_slots(u_char *p, u_char *last)
{
    u_char      *end, *word, *dash;
    ngx_int_t    from, to;
    ngx_uint_t   field, own, slots, moving;

    while (p < last) {
        end = ngx_strlchr(p, last, LF);
        end = end ? end : last;

        own = 0;
        slots = 0;
        moving = 0;

        for (field = 0; p < end; field++) {
            word = p;
            p = ngx_strlchr(p, end, ' ');
            p = p ? p : end;

            if (field == 2) {
                own = (ngx_strlcasestrn(word, p, (u_char *) "myself", 6 - 1)
                       != NULL);

            } else if (field >= 8 && word < p) {

                if (*word == '[') {
                    moving++;

                } else {
                    dash = ngx_strlchr(word, p, '-');
                    from = ngx_atoi(word, (dash ? dash : p) - word);
                    to = dash ? ngx_atoi(dash + 1, p - dash - 1) : from;

                    if (from >= 0 && to >= from && to < LINES_REDIS_SLOTS) {
                        slots += to - from + 1;
                    }
                }
            }

            p++;
        }

        if (own) {
            return slots - ngx_min(moving, slots);
        }

        p = end + 1;
    }

    return 0;
}


static void
redis_ping_handler(redisAsyncContext *ac, void *data, void *privdata)
{
    lines_redis_connection_t *conn = privdata;

    redisReply  *reply;

    reply = data;

    if (reply == NULL || conn->state != LINES_REDIS_HANDSHAKE) {
        return;
    }

    if (redis_refused(conn, reply)) {
        return;
    }

    if (reply->type != REDIS_REPLY_ERROR
        && (reply->type != REDIS_REPLY_STATUS
            || ngx_strcmp(reply->str, "PONG") != 0))
    {
        lines_redis_connection_cause(conn, "the server is not Redis");
        lines_redis_connection_fail(conn);
        return;
    }

    conn->greeted(conn);
}


/* NOPERM and the like are no reason to stay away, these are */

static ngx_uint_t
redis_refused(lines_redis_connection_t *conn, redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR) {
        return 0;
    }

    if (redis_reply_is(reply, "NOAUTH")
        || ngx_strstr(reply->str, "operation not permitted"))
    {
        lines_redis_connection_cause(conn,
                                     "NOAUTH: the server asks for a password: "
                                     "see \"password_file=\"");

    } else if (redis_reply_is(reply, "LOADING")) {
        lines_redis_connection_cause(conn, "LOADING: not ready yet");

    } else if (ngx_strstr(reply->str, "max number of clients")
               || redis_reply_is(reply, "MASTERDOWN")
               || redis_reply_is(reply, "DENIED")
               || redis_reply_is(reply, "BUSY"))
    {
        lines_redis_connection_cause(conn, "refused: %*s",
                                     ngx_min(reply->len,
                                             (size_t) LINES_REDIS_TEXT_LEN),
                                     reply->str);

    } else {
        return 0;
    }

    lines_redis_connection_fail(conn);

    return 1;
}


static ngx_uint_t
redis_reply_is(redisReply *reply, char *code)
{
    size_t  len;

    len = ngx_strlen(code);

    if (reply->len < len || ngx_strncmp(reply->str, code, len) != 0) {
        return 0;
    }

    return reply->len == len || reply->str[len] == ' ';
}


/* name ends with a colon; the value is empty when the field is not there */

static void
redis_info_field(redisReply *reply, char *name, ngx_str_t *value)
{
    u_char  *p, *last, *end;
    size_t   len;

    ngx_str_null(value);

    len = ngx_strlen(name);
    p = (u_char *) reply->str;
    last = p + reply->len;

    while (p < last) {
        end = ngx_strlchr(p, last, '\n');
        if (end == NULL) {
            end = last;
        }

        if ((size_t) (end - p) >= len && ngx_strncmp(p, name, len) == 0) {
            value->data = p + len;
            value->len = end - value->data;

            if (value->len && value->data[value->len - 1] == '\r') {
                value->len--;
            }

            return;
        }

        p = end + 1;
    }
}
