
/*
 * Writes that wait for replicas: those that are held until the next WAIT, and
 * those that the one under way is for.
 */

#include "store/cluster.h"
#include "store/redis_commit.h"
#include "store/redis_life.h"
#include "store/redis_log.h"
#include "store/redis_node.h"


/* where replicas are missing nothing is written, but a marker so often */
#define LINES_COMMIT_PROBE  200

/* the slot of a marker may have gone to another node: so many are tried */
#define LINES_COMMIT_MARKERS  16


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
    unsigned                  told:1;     /* that is in the log */
    ngx_uint_t                markers;    /* in a row, elsewhere */
};


static void commit_ready(void *data);
static void commit_lost(void *data);
static void commit_start_handler(ngx_event_t *ev);
static void commit_fail(lines_redis_commit_t *commit, char *why);
static void commit_probe_handler(ngx_event_t *ev);
static void commit_marked(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
static void commit_waited(lines_redis_connection_t *conn, void *data,
    redisReply *reply);
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
            commit_fail(commit, "its connection is away");
        }

        return;
    }

    if (conn->run_id[0] == '\0') {
        commit_fail(commit, "INFO is refused");
        return;
    }

    if (ngx_memcmp(conn->run_id, commands->run_id, LINES_REDIS_RUN_ID) != 0) {
        commit_tell(commit, &commit->held, 0);

        if (commands->state == LINES_REDIS_READY) {
            lines_redis_fail(conn, "commands go to another server");
        }

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

    lines_redis_ask(conn, commit_waited, commit, "WAIT %u %u",
                    (unsigned) conn->conf->replicas,
                    (unsigned) conn->conf->wait);
}


static void
commit_fail(lines_redis_commit_t *commit, char *why)
{
    lines_redis_connection_t  *conn;

    conn = &commit->connection;

    commit->missing = 1;

    if (!commit->told) {
        commit->told = 1;

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

    /* what it is now is asked anew */

    if (reply
        && reply->type == REDIS_REPLY_ERROR
        && lines_redis_error_is(reply, "READONLY"))
    {
        lines_redis_drain(conn, "READONLY: no longer the primary");

    } else if (reply && !commit->marked && commit->node->redis->cluster) {
        commit->elsewhere = 1;
        commit->node->marker++;
    }
}


static void
commit_waited(lines_redis_connection_t *conn, void *data, redisReply *reply)
{
    lines_redis_commit_t *commit = data;

    u_char     why[LINES_REDIS_CAUSE_LEN];
    ngx_int_t  n;

    commit->busy = 0;

    if (reply == NULL) {
        commit_tell(commit, &commit->waiting, 0);
        return;
    }

    if (commit->elsewhere && ++commit->markers < LINES_COMMIT_MARKERS) {
        if (!ngx_queue_empty(&commit->waiting)) {
            ngx_queue_add(&commit->held, &commit->waiting);
            ngx_queue_init(&commit->waiting);
        }

        commit->asked = 0;

        ngx_post_event(&commit->start, &ngx_posted_events);
        return;
    }

    commit->markers = 0;

    n = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;

    if (!commit->marked || n < (ngx_int_t) conn->conf->replicas) {
        (void) ngx_snprintf(why, LINES_REDIS_CAUSE_LEN,
                            "%i of %ui replicas have it within \"wait=%M\"%Z",
                            n, conn->conf->replicas, conn->conf->wait);

        commit_tell(commit, &commit->waiting, 0);
        commit_fail(commit, (char *) why);
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
