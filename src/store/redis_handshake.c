
/*
 * What a new connection to Redis is asked before it serves, and, of this, what
 * one that serves is asked again.
 */

#include "store/redis_handshake.h"
#include "store/redis_log.h"


#define REDIS_NOAUTH                                                          \
    "NOAUTH: the server asks for a password: see \"password_file=\", of a "   \
    "Sentinel \"sentinel_password_file=\""


/* what a new connection, or one that serves, is asked */

typedef struct {
    int     type;    /* of a good reply; 0: any */

    /* of a reply of that type, or an error that refuses nothing */
    void  (*take)(lines_redis_connection_t *conn, redisReply *reply);
} redis_question_t;


/* an error that ends the connection, and why */

typedef struct {
    char   *words;     /* as lines_redis_error_is() has them */
    char   *cause;     /* NULL: what the server says */
} redis_refusal_t;


static void redis_ask(lines_redis_connection_t *conn);
static void redis_heard(lines_redis_connection_t *conn, void *data,
    redisReply *reply);

static void redis_take_role(lines_redis_connection_t *conn,
    redisReply *reply);
static void redis_take_id(lines_redis_connection_t *conn, redisReply *reply);
static void redis_selected(lines_redis_connection_t *conn, redisReply *reply);
static void redis_script_ran(lines_redis_connection_t *conn,
    redisReply *reply);
static void redis_take_info(lines_redis_connection_t *conn,
    redisReply *reply);
static void redis_take_config(lines_redis_connection_t *conn,
    redisReply *reply);
static void redis_take_cluster(lines_redis_connection_t *conn,
    redisReply *reply);
static void redis_take_nodes(lines_redis_connection_t *conn,
    redisReply *reply);
static ngx_uint_t redis_own_slots(char *p);
static void redis_pong(lines_redis_connection_t *conn, redisReply *reply);
static ngx_str_t redis_info_field(redisReply *reply, char *name);
static ngx_uint_t redis_info_is(redisReply *reply, char *name, char *value);


lines_redis_wish_t  lines_redis_wishes[] = {
    { ngx_string("appendfsync"), ngx_string("always"), 0 },
    { ngx_string("hash-max-listpack-value"), ngx_string("1024"), 1 },
    { ngx_string("stream-node-max-bytes"), ngx_string("512"), 0 },
    { ngx_null_string, ngx_null_string, 0 }
};


/*
 * The server's words are not logged: where AUTH is renamed they quote the
 * password.
 */

static const redis_refusal_t  redis_auth_refusals[] = {
    { "WRONGPASS", "AUTH failed: wrong user or password" },
    { "invalid password", "AUTH failed: wrong user or password" },
    { "no password is set", "AUTH failed: the server has no password" },
    { "without any password", "AUTH failed: the server has no password" },
    { "max number of clients", "max number of clients reached" },
    { "LOADING", "LOADING: not ready yet" },
    { NULL, "AUTH failed: refused by the server" }
};


/* NOPERM and the like are no reason to stay away, these are */

static const redis_refusal_t  redis_refusals[] = {
    { "NOAUTH", REDIS_NOAUTH },
    { "operation not permitted", REDIS_NOAUTH },
    { "LOADING", "LOADING: not ready yet" },
    { "max number of clients", NULL },
    { "MASTERDOWN", NULL },
    { "DENIED", NULL },
    { "BUSY", NULL },
    { NULL, NULL }
};


static redis_question_t  redis_auth = { 0, NULL };
static redis_question_t  redis_role = { REDIS_REPLY_ARRAY, redis_take_role };
static redis_question_t  redis_id = { REDIS_REPLY_STRING, redis_take_id };
static redis_question_t  redis_select = { 0, redis_selected };
static redis_question_t  redis_script = { 0, redis_script_ran };
static redis_question_t  redis_info = { REDIS_REPLY_STRING, redis_take_info };
static redis_question_t  redis_config = { REDIS_REPLY_ARRAY,
                                          redis_take_config };
static redis_question_t  redis_cluster = { REDIS_REPLY_STRING,
                                           redis_take_cluster };
static redis_question_t  redis_nodes = { REDIS_REPLY_STRING,
                                         redis_take_nodes };
static redis_question_t  redis_ping = { REDIS_REPLY_STATUS, redis_pong };


/*
 * AUTH, ROLE, SELECT, INFO and CONFIG GET (or PING), sent together; a node of a
 * cluster is asked for its id or its slots besides.  The reply of the last one makes the
 * connection ready.
 */

void
lines_redis_handshake(lines_redis_connection_t *conn)
{
    lines_redis_conf_t  *conf;

    conf = conn->conf;

    if (conf->user.len) {
        lines_redis_ask(conn, redis_heard, &redis_auth, "AUTH %b %b",
                        conf->user.data, conf->user.len,
                        conf->password.data, conf->password.len);

    } else if (conf->password.len) {
        lines_redis_ask(conn, redis_heard, &redis_auth, "AUTH %b",
                        conf->password.data, conf->password.len);
    }

    /* INFO may be refused: who was elsewhere before is asked by itself */

    if (conn->locate && !conn->any) {
        lines_redis_ask(conn, redis_heard, &redis_role, "ROLE");
    }

    if (conn->id && conn->id[0]) {
        lines_redis_ask(conn, redis_heard, &redis_id, "CLUSTER MYID");
    }

    if (conn->status == NULL) {

        /* a channel belongs to no database */

        lines_redis_ask(conn, redis_heard, &redis_ping, "PING");
        return;
    }

    if (conf->db) {
        lines_redis_ask(conn, redis_heard, &redis_select, "SELECT %u",
                        (unsigned) conf->db);
    }

    if (conn->denied) {
        lines_redis_ask(conn, redis_heard, &redis_script,
                        "EVAL %s 1 lines:{denied}",
                        "return redis.call('EXISTS', KEYS[1])");
    }

    redis_ask(conn);
}


void
lines_redis_look(lines_redis_connection_t *conn)
{
    if (conn->state == LINES_REDIS_READY
        && ngx_current_msec - conn->looked_at >= LINES_REDIS_LOOK)
    {
        conn->looked_at = ngx_current_msec;
        redis_ask(conn);
    }
}


static void
redis_ask(lines_redis_connection_t *conn)
{
    /* one INFO: several sections in one command are known since 7.0 only */

    lines_redis_ask(conn, redis_heard, &redis_info, "INFO");
    lines_redis_ask(conn, redis_heard, &redis_config, "CONFIG GET %s %s %s",
                    lines_redis_wishes[0].name.data,
                    lines_redis_wishes[1].name.data,
                    lines_redis_wishes[2].name.data);
}


/* in a handshake, or, of one that serves, what is looked at again */

static void
redis_heard(lines_redis_connection_t *conn, void *data, redisReply *reply)
{
    redis_question_t *question = data;

    ngx_uint_t              again;
    const redis_refusal_t  *refusal;

    again = (conn->state == LINES_REDIS_READY);

    if (reply == NULL || (!again && conn->state != LINES_REDIS_HANDSHAKE)) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        if (again) {
            return;
        }

        refusal = question == &redis_auth ? redis_auth_refusals
                                          : redis_refusals;

        while (refusal->words && !lines_redis_error_is(reply, refusal->words))
        {
            refusal++;
        }

        if (refusal->cause) {
            lines_redis_fail(conn, "%s", refusal->cause);
            return;
        }

        if (refusal->words) {
            lines_redis_fail(conn, "refused: %*s",
                             ngx_min((size_t) reply->len, LINES_REDIS_TEXT_LEN),
                             reply->str);
            return;
        }

    } else if (question->type && reply->type != question->type) {
        if (!again) {
            lines_redis_fail(conn, "the server is not Redis");
        }

        return;
    }

    if (question->take) {
        question->take(conn, reply);
    }
}


static void
redis_take_role(lines_redis_connection_t *conn, redisReply *reply)
{
    static ngx_str_t  master = ngx_string("master");
    static ngx_str_t  slave = ngx_string("slave");

    if (reply->type == REDIS_REPLY_ERROR
        || (reply->elements
            && lines_redis_reply_is(reply->element[0], &master)))
    {
        return;
    }

    lines_redis_fail(conn, "%s",
                     reply->elements
                     && lines_redis_reply_is(reply->element[0], &slave)
                     ? "READONLY: a replica, not the primary"
                     : "neither a primary nor a replica: its ROLE is another");
}


/*
 * An address may have gone to a node of another cluster, whose map is another
 * one, and whose tenants are.  The map may name another node there by now.
 */

static void
redis_take_id(lines_redis_connection_t *conn, redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR
        && conn->id[0]
        && (reply->len != LINES_CLUSTER_ID
            || ngx_memcmp(reply->str, conn->id, LINES_CLUSTER_ID) != 0))
    {
        lines_redis_fail(conn, "another node than the one that the cluster's "
                         "map names there");
    }
}


static void
redis_selected(lines_redis_connection_t *conn, redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        lines_redis_fail(conn, "SELECT %ui failed: %*s", conn->conf->db,
                         ngx_min((size_t) reply->len, LINES_REDIS_TEXT_LEN),
                         reply->str);
    }
}


static void
redis_script_ran(lines_redis_connection_t *conn, redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR) {
        conn->denied = 0;
        return;
    }

    /* a slot that is not its own says nothing of scripts, but is told below */

    if (!lines_redis_error_is(reply, "MOVED")
        && !lines_redis_error_is(reply, "ASK")
        && !lines_redis_error_is(reply, "TRYAGAIN")
        && !lines_redis_error_is(reply, "CLUSTERDOWN"))
    {
        lines_redis_fail(conn, "NOPERM: scripts are refused");
    }
}


/* what is amiss is told with each connection, and when it becomes so */

static void
redis_take_info(lines_redis_connection_t *conn, redisReply *reply)
{
    ngx_str_t              policy, run_id;
    ngx_uint_t             again, evicts, no_aof, replicated;
    lines_redis_conf_t    *conf;
    lines_redis_status_t  *status;

    conf = conn->conf;
    status = conn->status;
    again = (conn->state == LINES_REDIS_READY);

    ngx_memzero(conn->told_id, LINES_REDIS_RUN_ID);

    if (reply->type == REDIS_REPLY_ERROR) {
        conn->cluster = 0;
        status->evicts = 0;
        status->no_aof = 0;
        status->no_info = 1;

        if (!conf->limits) {
            ngx_log_error(NGX_LOG_WARN, conn->log, 0,
                          "lines redis \"%V\": INFO is refused: its "
                          "maxmemory-policy and persistence are not known",
                          conn->name);
        }

        return;
    }

    if (!again && redis_info_is(reply, "loading:", "1")) {
        lines_redis_fail(conn, "LOADING: not ready yet");
        return;
    }

    /* writes would fail, reads may be old: wait for it to be the primary */

    if (!again && redis_info_is(reply, "role:", "slave")) {
        lines_redis_fail(conn, "READONLY: a replica, not the primary");
        return;
    }

    policy = redis_info_field(reply, "maxmemory_policy:");
    evicts = policy.len
             && !conf->limits
             && !redis_info_is(reply, "maxmemory_policy:", "noeviction");

    if (evicts && !(again && status->evicts)) {
        ngx_log_error(NGX_LOG_WARN, conn->log, 0,
                      "lines redis \"%V\": maxmemory-policy is \"%V\", not "
                      "\"noeviction\": records may be lost", conn->name,
                      &policy);
    }

    no_aof = !conf->limits && redis_info_is(reply, "aof_enabled:", "0");

    if (no_aof && !(again && status->no_aof)) {
        ngx_log_error(NGX_LOG_WARN, conn->log, 0,
                      "lines redis \"%V\": no AOF (appendonly is off): "
                      "records may be lost when it restarts",
                      conn->name);
    }

    /* of Sentinel and a cluster it was said at configuration */

    replicated = conf->replicas == 0
                 && !conf->limits
                 && !conf->cluster
                 && conf->master.len == 0
                 && redis_info_field(reply, "connected_slaves:").len
                 && !redis_info_is(reply, "connected_slaves:", "0");

    if (replicated && !status->replicated && ngx_worker == 0) {
        ngx_log_error(NGX_LOG_NOTICE, conn->log, 0,
                      "lines redis \"%V\": it has replicas, and there is no "
                      "\"replicas=\": " LINES_REDIS_PROMISE, conn->name);
    }

    if (redis_info_is(reply, "aof_last_write_status:", "err")) {
        lines_redis_refuses(conn, "its last write of the AOF failed",
                            "its disk is full or fails");
    }

    status->evicts = evicts;
    status->no_aof = no_aof;
    status->replicated = replicated;
    status->no_info = 0;

    conn->cluster = redis_info_is(reply, "cluster_enabled:", "1");

    run_id = redis_info_field(reply, "run_id:");

    if (run_id.len == LINES_REDIS_RUN_ID) {
        ngx_memcpy(conn->told_id, run_id.data, LINES_REDIS_RUN_ID);
    }

    /* one that is being made may yet fail: the one before counts until then */

    if (again) {
        ngx_memcpy(conn->run_id, conn->told_id, LINES_REDIS_RUN_ID);
    }
}


/* where CONFIG is not allowed a provider sets what it sets: nothing is known */

static void
redis_take_config(lines_redis_connection_t *conn, redisReply *reply)
{
    size_t                 i;
    ngx_uint_t             again, n, known;
    redisReply            *name, *value;
    lines_redis_wish_t    *wish;
    lines_redis_status_t  *status;

    status = conn->status;
    again = (conn->state == LINES_REDIS_READY);

    /* what is not met is told unless it was known before */

    known = again ? status->settings : 0;

    status->settings = 0;
    status->no_config = (reply->type == REDIS_REPLY_ERROR);
    conn->looked_at = ngx_current_msec;

    for (i = 0; i + 1 < reply->elements && !conn->conf->limits; i += 2) {
        name = reply->element[i];
        value = reply->element[i + 1];

        for (n = 0; lines_redis_wishes[n].name.len; n++) {
            wish = &lines_redis_wishes[n];

            if (!lines_redis_reply_is(name, &wish->name)
                || value->type != REDIS_REPLY_STRING
                || lines_redis_reply_is(value, &wish->value)
                || (wish->least
                    && ngx_atoi((u_char *) value->str, value->len)
                       >= ngx_atoi(wish->value.data, wish->value.len)))
            {
                continue;
            }

            status->settings |= (ngx_uint_t) 1 << n;

            if (!(known & ((ngx_uint_t) 1 << n))) {
                ngx_log_error(NGX_LOG_WARN, conn->log, 0,
                              "lines redis \"%V\": %V is \"%*s\", not \"%V\" "
                              "as in conf/redis.conf", conn->name,
                              &wish->name, (size_t) value->len, value->str,
                              &wish->value);
            }
        }
    }

    if (again) {
        return;
    }

    if (conn->conf->cluster && !conn->cluster && !status->no_info) {
        lines_redis_fail(conn, "the server is no node of a cluster: "
                         "\"redis://\" is for that");
        return;
    }

    if (conn->conf->cluster || !conn->cluster) {
        conn->greeted(conn);
        return;
    }

    lines_redis_ask(conn, redis_heard, &redis_cluster, "CLUSTER INFO");
    lines_redis_ask(conn, redis_heard, &redis_nodes, "CLUSTER NODES");
}


/* a node that has all slots serves like any other Redis */

static void
redis_take_cluster(lines_redis_connection_t *conn, redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR
        && !redis_info_is(reply, "cluster_state:", "ok"))
    {
        lines_redis_fail(conn, "CLUSTERDOWN: a cluster node out of service");
    }
}


static void
redis_take_nodes(lines_redis_connection_t *conn, redisReply *reply)
{
    ngx_uint_t  slots;

    /* where this is not allowed MOVED will tell */

    slots = (reply->type == REDIS_REPLY_ERROR)
            ? LINES_CLUSTER_SLOTS
            : redis_own_slots(reply->str);

    if (slots != LINES_CLUSTER_SLOTS) {
        lines_redis_fail(conn, "a cluster node with %ui of %d slots: "
                         "\"redis+cluster://\" is for several",
                         slots, LINES_CLUSTER_SLOTS);
        return;
    }

    conn->greeted(conn);
}


/*
 * CLUSTER NODES: id address flags primary ping pong epoch link slot ...; our
 * own has "myself" as its first flag; a slot is N or N-M; one that is being
 * moved, "[...", counts as gone.
 */

static ngx_uint_t
redis_own_slots(char *p)
{
    long         from, to;
    char        *end;
    ngx_uint_t   field, slots, moving;

    slots = 0;
    moving = 0;

    p = strstr(p, " myself");

    for (field = 2; p && *p == ' '; field++) {
        p++;

        if (field >= 8 && *p == '[') {
            moving++;

        } else if (field >= 8) {
            from = strtol(p, &end, 10);
            to = (*end == '-') ? strtol(end + 1, NULL, 10) : from;

            if (end > p
                && from >= 0
                && to >= from
                && to < LINES_CLUSTER_SLOTS)
            {
                slots += to - from + 1;
            }
        }

        p += strcspn(p, " \n");
    }

    return slots - ngx_min(moving, slots);
}


static void
redis_pong(lines_redis_connection_t *conn, redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR
        && ngx_strcmp(reply->str, "PONG") != 0)
    {
        lines_redis_fail(conn, "the server is not Redis");
        return;
    }

    conn->greeted(conn);
}


/* name ends with a colon; the value is empty when the field is not there */

static ngx_str_t
redis_info_field(redisReply *reply, char *name)
{
    char       *p;
    ngx_str_t   value;

    ngx_str_null(&value);

    p = strstr(reply->str, name);

    while (p && p > reply->str && p[-1] != '\n') {
        p = strstr(p + 1, name);
    }

    if (p) {
        value.data = (u_char *) p + ngx_strlen(name);
        value.len = strcspn((char *) value.data, "\r\n");
    }

    return value;
}


static ngx_uint_t
redis_info_is(redisReply *reply, char *name, char *value)
{
    ngx_str_t  field;

    field = redis_info_field(reply, name);

    return field.len == ngx_strlen(value)
           && ngx_strncmp(field.data, value, field.len) == 0;
}
