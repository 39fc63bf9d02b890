
/*
 * Writes that wait for replicas: those that are held until the next WAIT, and
 * those that the one under way is for.
 */

#include "store/cluster.h"
#include "store/redis_commit.h"
#include "store/redis_handshake.h"
#include "store/redis_life.h"
#include "store/redis_log.h"
#include "store/redis_node.h"


/* where replicas are missing nothing is written, but a marker so often */
#define LINES_COMMIT_PROBE  200

/* the slot of a marker may have gone to another node: so many are tried */
#define LINES_COMMIT_MARKERS  16

/* why nothing is acknowledged */
#define LINES_COMMIT_AWAY     1
#define LINES_COMMIT_REFUSED  2
#define LINES_COMMIT_FEW      4


struct lines_redis_commit_s {
    lines_redis_connection_t  connection;
    lines_redis_status_t      status;     /* INFO and CONFIG of its own */
    lines_redis_node_t       *node;
    void                    (*done)(lines_redis_op_t *op, redisReply *reply);

    ngx_queue_t               held;
    ngx_queue_t               waiting;
    ngx_event_t               start;      /* posted: replies of one turn of the
                                             event loop share a WAIT */
    ngx_event_t               probe;
    unsigned                  busy:1;     /* a WAIT is under way */
    unsigned                  marked:1;   /* ... its marker was written */
    unsigned                  elsewhere:1;
                                          /* ... or is another node's */
    unsigned                  asked:1;    /* one was, of this connection */
    unsigned                  missing:1;  /* the last one came to too few, or
                                             there is nobody to ask */
    unsigned                  told:3;     /* which reasons are in the log */
    unsigned                  unsynced:1; /* the server has no WAITAOF */
    ngx_uint_t                markers;    /* in a row, elsewhere */
    ngx_msec_t                until;      /* of the WAITAOF under way: when it */
    ngx_msec_t                step;       /* ends, and its next part */
    u_char                    refused[LINES_REDIS_TEXT_LEN + 1];
                                          /* what is said of the marker */
};


static void commit_ready(void *data);
static void commit_lost(void *data);
static void commit_start_handler(ngx_event_t *ev);
static void commit_ask(lines_redis_commit_t *commit);
static void commit_fail(lines_redis_commit_t *commit, ngx_uint_t reason,
    char *why);
static void commit_probe_handler(ngx_event_t *ev);
static void commit_marked(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static void commit_waited(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static ngx_uint_t commit_unsynced(lines_redis_commit_t *commit,
    redisReply *reply);
static void commit_again(lines_redis_commit_t *commit);
static void commit_tell(lines_redis_commit_t *commit, ngx_queue_t *queue,
    ngx_uint_t good);


lines_redis_commit_t *
lines_redis_commit_create(lines_redis_node_t *node,
    void (*done)(lines_redis_op_t *op, redisReply *reply))
{
    lines_redis_t             *redis;
    lines_redis_commit_t      *commit;
    lines_redis_connection_t  *conn;

    redis = node->redis;

    commit = ngx_calloc(sizeof(lines_redis_commit_t), redis->log);
    if (commit == NULL) {
        return NULL;
    }

    commit->node = node;
    commit->done = done;

    ngx_queue_init(&commit->held);
    ngx_queue_init(&commit->waiting);

    commit->start.handler = commit_start_handler;
    commit->start.data = commit;
    commit->start.log = redis->log;

    commit->probe.handler = commit_probe_handler;
    commit->probe.data = commit;
    commit->probe.log = redis->log;
    commit->probe.cancelable = 1;

    conn = &commit->connection;

    conn->conf = redis->conf;
    conn->log = redis->log;
    conn->data = commit;
    conn->role = "replication";
    conn->status = &commit->status;
    conn->ready = commit_ready;
    conn->lost = commit_lost;

    lines_redis_guide(node, conn);

    lines_redis_open(conn);

    return commit;
}


void
lines_redis_commit_destroy(lines_redis_commit_t *commit)
{
    lines_redis_close(&commit->connection);

    if (commit->start.posted) {
        ngx_delete_posted_event(&commit->start);
    }

    if (commit->probe.timer_set) {
        ngx_del_timer(&commit->probe);
    }

    commit_tell(commit, &commit->waiting, 0);
    commit_tell(commit, &commit->held, 0);

    ngx_free(commit);
}


ngx_uint_t
lines_redis_commit_good(lines_redis_commit_t *commit)
{
    return !commit->missing;
}


ngx_uint_t
lines_redis_commit_synced(lines_redis_commit_t *commit)
{
    return !commit->unsynced;
}


void
lines_redis_commit_hold(lines_redis_commit_t *commit, lines_redis_op_t *op,
    redisReply *reply)
{
    op->reply = reply;
    op->pool = lines_redis_reply_keep(&commit->node->connection.replies);

    ngx_queue_insert_tail(&commit->held, &op->asked.queue);

    ngx_post_event(&commit->start, &ngx_posted_events);
}


void
lines_redis_commit_renew(lines_redis_commit_t *commit)
{
    commit_tell(commit, &commit->waiting, 0);
    commit_tell(commit, &commit->held, 0);

    ngx_post_event(&commit->start, &ngx_posted_events);
}


static void
commit_ready(void *data)
{
    lines_redis_commit_t *commit = data;

    commit->asked = 0;
    commit->unsynced = 0;

    /* without memory for the question there was no answer to the last one */

    if (commit->busy) {
        commit->busy = 0;
        commit_tell(commit, &commit->waiting, 0);
    }

    ngx_post_event(&commit->start, &ngx_posted_events);
}


/* who is held is told from the event: this may be called from anywhere */

static void
commit_lost(void *data)
{
    lines_redis_commit_t *commit = data;

    ngx_post_event(&commit->start, &ngx_posted_events);
}


/*
 * Who is held waits for a connection as who is sent does, within his deadline.
 * The one connection is to be to the same server as the other.
 */

static void
commit_start_handler(ngx_event_t *ev)
{
    lines_redis_commit_t *commit = ev->data;

    lines_redis_connection_t  *conn, *commands;

    conn = &commit->connection;
    commands = &commit->node->connection;

    if (commit->busy) {
        return;
    }

    if (conn->state != LINES_REDIS_READY) {
        if (conn->away) {
            commit_fail(commit, LINES_COMMIT_AWAY, "its connection is away");
        }

        return;
    }

    /* both are asked again: the user's ACL may be mended */

    if (conn->run_id[0] == '\0') {
        lines_redis_look(conn);
        commit_fail(commit, LINES_COMMIT_REFUSED, "INFO is refused");
        return;
    }

    if (ngx_memcmp(conn->run_id, commands->run_id, LINES_REDIS_RUN_ID) != 0) {
        commit_tell(commit, &commit->held, 0);

        if (commands->state != LINES_REDIS_READY) {
            return;
        }

        if (commands->run_id[0] == '\0') {
            lines_redis_look(commands);
            commit_fail(commit, LINES_COMMIT_REFUSED, "INFO is refused");
            return;
        }

        lines_redis_fail(conn, "commands go to another server");

        return;
    }

    if (ngx_queue_empty(&commit->held) && commit->asked && !commit->missing) {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                   "lines redis commit: \"%V\"", conn->name);

    if (!ngx_queue_empty(&commit->held)) {
        ngx_queue_add(&commit->waiting, &commit->held);
        ngx_queue_init(&commit->held);
    }

    commit->busy = 1;
    commit->asked = 1;
    commit->marked = 0;
    commit->elsewhere = 0;

    if (commit->node->redis->cluster) {
        lines_redis_ask(conn, commit_marked, commit, "SET lines:{marker:%u} 1",
                        (unsigned) lines_cluster_marker(commit->node));

    } else {
        lines_redis_ask(conn, commit_marked, commit, "SET lines:{marker} 1");
    }

    commit->until = ngx_current_msec + conn->conf->wait;
    commit->step = 1;

    commit_ask(commit);
}


/*
 * A replica tells how far its disk is when it is asked, or after a second: if it
 * is asked together with the write, before that is on its disk.  WAITAOF asks it
 * once, so it is sent again and again, in steps that double.
 */

static void
commit_ask(lines_redis_commit_t *commit)
{
    ngx_msec_t           left;
    lines_redis_conf_t  *conf;

    conf = commit->connection.conf;

    commit->busy = 1;

    if (!conf->fsync || commit->unsynced) {
        lines_redis_ask(&commit->connection, commit_waited, commit,
                        "WAIT %u %u", (unsigned) conf->replicas,
                        (unsigned) conf->wait);
        return;
    }

    left = commit->until - ngx_current_msec;

    lines_redis_ask(&commit->connection, commit_waited, commit,
                    "WAITAOF 0 %u %u", (unsigned) conf->replicas,
                    (unsigned) ngx_min(commit->step, left));

    commit->step *= 2;
}


/* each reason is said once, until all is well: the last is the one to mend */

static void
commit_fail(lines_redis_commit_t *commit, ngx_uint_t reason, char *why)
{
    lines_redis_connection_t  *conn;

    conn = &commit->connection;

    commit->missing = 1;

    if (!(commit->told & reason)) {
        commit->told |= reason;

        ngx_log_error(NGX_LOG_ERR, conn->log, 0,
                      "lines redis \"%V\": what is written is not "
                      "acknowledged, %s", conn->name, why);
    }

    commit_tell(commit, &commit->held, 0);

    if (conn->state != LINES_REDIS_CLOSED && !commit->probe.timer_set) {
        ngx_add_timer(&commit->probe, LINES_COMMIT_PROBE);
    }
}


static void
commit_probe_handler(ngx_event_t *ev)
{
    lines_redis_commit_t *commit = ev->data;

    ngx_post_event(&commit->start, &ngx_posted_events);
}


static void
commit_marked(lines_redis_connection_t *conn, void *data, redisReply *reply)
{
    lines_redis_commit_t *commit = data;

    commit->marked = (reply && reply->type != REDIS_REPLY_ERROR);

    if (reply && !commit->marked) {
        (void) ngx_cpystrn(commit->refused, (u_char *) reply->str,
                           LINES_REDIS_TEXT_LEN + 1);
    }

    /* what it is now is asked anew */

    if (reply
        && reply->type == REDIS_REPLY_ERROR
        && lines_redis_error_is(reply, "READONLY"))
    {
        lines_redis_drain(conn, "READONLY: no longer the primary");

    } else if (reply
               && !commit->marked
               && commit->node->redis->cluster
               && (lines_redis_error_is(reply, "MOVED")
                   || lines_redis_error_is(reply, "ASK")
                   || lines_redis_error_is(reply, "TRYAGAIN")
                   || lines_redis_error_is(reply, "CLUSTERDOWN")))
    {
        commit->elsewhere = 1;
        commit->node->marker++;
    }
}


static void
commit_waited(lines_redis_connection_t *conn, void *data, redisReply *reply)
{
    lines_redis_commit_t *commit = data;

    u_char      why[LINES_REDIS_CAUSE_LEN];
    ngx_int_t   n;
    ngx_uint_t  synced, reason;

    commit->busy = 0;
    synced = conn->conf->fsync && !commit->unsynced;

    if (reply == NULL) {
        commit_tell(commit, &commit->waiting, 0);
        return;
    }

    if ((commit->elsewhere && ++commit->markers < LINES_COMMIT_MARKERS)
        || commit_unsynced(commit, reply))
    {
        commit_again(commit);
        return;
    }

    commit->markers = 0;

    /* of WAITAOF the second: the first is the primary's own disk */

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        reply = reply->element[1];
    }

    n = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;

    if (synced
        && commit->marked
        && reply->type == REDIS_REPLY_INTEGER
        && n < (ngx_int_t) conn->conf->replicas
        && (ngx_msec_int_t) (commit->until - ngx_current_msec) > 0)
    {
        commit_ask(commit);
        return;
    }

    if (!commit->marked || n < (ngx_int_t) conn->conf->replicas) {
        reason = LINES_COMMIT_REFUSED;

        if (reply->type == REDIS_REPLY_ERROR) {
            (void) ngx_snprintf(why, LINES_REDIS_CAUSE_LEN, "refused: %*s%Z",
                                ngx_min((size_t) reply->len,
                                        LINES_REDIS_TEXT_LEN),
                                reply->str);

        } else if (!commit->marked) {
            (void) ngx_snprintf(why, LINES_REDIS_CAUSE_LEN,
                                "the marker before WAIT is refused: %s%Z",
                                commit->refused);

        } else {
            reason = LINES_COMMIT_FEW;
            (void) ngx_snprintf(why, LINES_REDIS_CAUSE_LEN,
                                "%i of %ui replicas have it%s within "
                                "\"wait=%M\"%Z", n, conn->conf->replicas,
                                synced ? " on their disk" : "",
                                conn->conf->wait);
        }

        commit_tell(commit, &commit->waiting, 0);
        commit_fail(commit, reason, (char *) why);
        return;
    }

    commit->missing = 0;

    if (commit->told) {
        commit->told = 0;

        ngx_log_error(NGX_LOG_NOTICE, conn->log, 0,
                      "lines redis \"%V\": %i replicas have what is written "
                      "again", conn->name, n);
    }

    commit_tell(commit, &commit->waiting, 1);

    ngx_post_event(&commit->start, &ngx_posted_events);
}


/* a server of before Redis 7.2, or whose WAITAOF its provider has renamed */

static ngx_uint_t
commit_unsynced(lines_redis_commit_t *commit, redisReply *reply)
{
    lines_redis_connection_t  *conn;

    conn = &commit->connection;

    if (!conn->conf->fsync
        || commit->unsynced
        || reply->type != REDIS_REPLY_ERROR
        || !lines_redis_error_is(reply, "unknown command"))
    {
        return 0;
    }

    commit->unsynced = 1;

    ngx_log_error(NGX_LOG_WARN, conn->log, 0,
                  "lines redis \"%V\": no WAITAOF, which \"fsync=on\" asks "
                  "for: what is acknowledged has come to replicas, not to "
                  "their disks", conn->name);

    return 1;
}


/* who waits does so for the next one */

static void
commit_again(lines_redis_commit_t *commit)
{
    if (!ngx_queue_empty(&commit->waiting)) {
        ngx_queue_add(&commit->held, &commit->waiting);
        ngx_queue_init(&commit->waiting);
    }

    commit->asked = 0;

    ngx_post_event(&commit->start, &ngx_posted_events);
}


/* who is told may ask again at once, and be held */

static void
commit_tell(lines_redis_commit_t *commit, ngx_queue_t *queue, ngx_uint_t good)
{
    ngx_queue_t        all, *q;
    ngx_pool_t        *pool;
    lines_redis_op_t  *op;

    ngx_queue_init(&all);

    if (!ngx_queue_empty(queue)) {
        ngx_queue_add(&all, queue);
        ngx_queue_init(queue);
    }

    while (!ngx_queue_empty(&all)) {
        q = ngx_queue_head(&all);
        ngx_queue_remove(q);

        op = ngx_queue_data(q, lines_redis_op_t, asked.queue);
        pool = op->pool;

        if (!good) {
            commit->node->redis->status.errors++;
        }

        commit->done(op, good ? op->reply : NULL);

        ngx_destroy_pool(pool);
    }
}
