
/*
 * An operation: a guard object with its own deadline, which outlives whoever
 * asked and stays in the connection's queue until its reply has come.  Internal
 * to the store.
 */

#ifndef _LINES_STORE_REDIS_OP_H_INCLUDED_
#define _LINES_STORE_REDIS_OP_H_INCLUDED_


#include "store/redis_connection.h"
#include "store/script.h"
#include "store/sentinel.h"


typedef struct lines_redis_op_s      lines_redis_op_t;
typedef struct lines_redis_commit_s  lines_redis_commit_t;
typedef struct lines_redis_node_s    lines_redis_node_t;
typedef struct lines_cluster_s       lines_cluster_t;
typedef struct lines_subscription_s  lines_subscription_t;


/*
 * Commands are written by their makers, as an array of binary-safe strings
 * (RESP2): the most that one of them, or the array, takes beside its bytes
 */
#define LINES_REDIS_STRING  (1 + NGX_SIZE_T_LEN + 4)


/*
 * Called exactly once for an operation that was accepted, unless it was
 * detached before.  reply is NULL when the outcome is unknown (deadline,
 * connection lost): the command may have run.  It is freed after the call.
 * Never called from within lines_redis_op_submit() itself.
 */

typedef void (*lines_redis_handler_pt)(void *data, redisReply *reply);


struct lines_redis_op_s {
    lines_redis_t          *redis;
    lines_redis_node_t     *node;       /* it is sent to, or waits for */
    lines_redis_handler_pt  handler;    /* NULL: nobody waits */
    void                   *data;

    /* event ident must be after 3 pointers as in ngx_connection_t */
    ngx_int_t               ident;

    ngx_event_t             timer;
    lines_redis_asked_t     asked;      /* until it is sent: waiting */

    ngx_int_t               slot;
    ngx_uint_t              redirects;
    ngx_msec_t              later;      /* it is tried again then */

    lines_script_t         *script;
    ngx_uint_t              argc;       /* of a script's command */

    u_char                 *start;      /* the command as it is sent */
    size_t                  len;
    size_t                  tail;       /* after EVALSHA and digest */

    ngx_msec_t              submitted;

    unsigned                sent:1;
    unsigned                expired:1;
    unsigned                retried:1;
    unsigned                again:1;    /* it only reads, or its file says
                                           "--@again", see store/README.md */
    unsigned                repeated:1;
    unsigned                asking:1;   /* ASKING goes before it */
    unsigned                durable:1;  /* replicas are waited for */
    unsigned                pinned:1;   /* no other node will do */
    unsigned                last:1;     /* asked for since redis is closed */

    redisReply             *reply;      /* kept back until then, */
    ngx_pool_t             *pool;       /* with its memory */
};


/*
 * One server that takes commands: its connection, the operations that wait for
 * that, and what makes sure that replicas have what was written there.
 */

struct lines_redis_node_s {
    lines_redis_connection_t  connection;
    lines_redis_t            *redis;
    lines_redis_commit_t     *commit;      /* NULL: replicas=0 */

    ngx_queue_t               waiting;
    ngx_uint_t                inflight;    /* operations that have this node */
    ngx_event_t               refuse;      /* those that wait in vain */

    lines_redis_status_t      status;      /* what INFO and CONFIG say, and
                                              readonly */

    ngx_queue_t               queue;       /* in redis->nodes */
    lines_subscription_t     *subscription;
                                           /* NULL: nobody subscribes */

    /* of a cluster */
    ngx_str_t                 name;
    lines_cluster_address_t   address;     /* no port: it is of none */
    ngx_uint_t                number;      /* for lines_redis_primary() */
    ngx_uint_t                nslots;
    ngx_msec_t                asked_at;    /* ASK led to it last; 0: never */
    ngx_uint_t                marker;
    ngx_uint_t                down;        /* flag: it says that the cluster
                                              is, */
    ngx_msec_t                down_at;     /* and since when */
    ngx_uint_t                stateless;   /* flag: it does not say, CLUSTER
                                              INFO is refused */
    u_char                    name_data[LINES_CLUSTER_HOST
                                        + sizeof("[]:65535")];
};


struct lines_redis_s {
    lines_redis_conf_t       *conf;
    ngx_log_t                *log;

    ngx_queue_t               nodes;
    lines_redis_node_t       *node;        /* the one that there is, or */
    lines_cluster_t          *cluster;     /* who knows them; else NULL */
    lines_sentinel_t         *sentinel;    /* NULL: conf has the address */

    lines_subscriber_t       *subscriber;  /* NULL: nobody, or who is told of
                                              each new node and each that goes;
                                              NGX_ERROR: no memory */
    ngx_int_t               (*joined)(lines_redis_node_t *node);
    void                    (*left)(lines_redis_node_t *node);

    lines_redis_status_t      status;      /* what is counted */

    lines_redis_t            *limits;      /* who has those keys; NULL: this
                                              one does */

    ngx_uint_t                closed;      /* flag: nobody is told any more
                                              who asked before */

    ngx_uint_t                repeated;    /* flag, in a handler: its operation
                                              was sent twice, the first may run
                                              yet */
};


/*
 * slot: of its keys, or LINES_CLUSTER_ANY; whatever, where there is no cluster.
 * len: room at op->start for the command, counted in status.inflight; durable:
 * replicas are waited for, if there are to be any.  NULL: Redis is away, or
 * such replicas are, too much is under way, or there is no memory.
 */
lines_redis_op_t *lines_redis_op_create(lines_redis_t *redis, ngx_int_t slot,
    size_t len, ngx_uint_t durable);

/* the same for that node and no other */
lines_redis_op_t *lines_redis_op_create_at(lines_redis_node_t *node,
    size_t len);

/* it is sent to, or waits for, that one; NULL: for any */
static ngx_inline void
lines_redis_op_at(lines_redis_op_t *op, lines_redis_node_t *node)
{
    if (op->node) {
        op->node->inflight--;
    }

    op->node = node;

    if (node) {
        node->inflight++;
    }
}

/* sends it there, or lets it wait for that; it is in no queue */
void lines_redis_op_place(lines_redis_op_t *op, lines_redis_node_t *node);

/*
 * Starts the deadline, and sends op->start; while a connection is being made
 * it waits for that.  Takes over op.
 *
 * When the connection is lost, an operation that it takes along waits for the
 * next one, too, if that can do no harm: its last byte was not written, so that
 * it surely has not run, or, once, it may run twice (op->again).  Everything
 * else has an unknown outcome (a NULL reply), which its caller must know how to
 * clear up: tokens would be taken twice (gcra), a fence would be held by nobody
 * (op_claim), or the second reply would not say what the first one did.
 */
lines_redis_op_t *lines_redis_op_submit(lines_redis_op_t *op,
    lines_redis_handler_pt handler, void *data);

/*
 * The asker is gone: the handler will not be called, the reply is dropped.
 * What was not sent yet is never sent.  Not after the handler was called.
 */
void lines_redis_detach(lines_redis_op_t *op);

/* who waits for the node's connection: it is there now, or it is away */
void lines_redis_op_resume(lines_redis_node_t *node);
void lines_redis_op_refuse(lines_redis_node_t *node);

/* tells who asked, if he waits yet, and frees it; it is in no queue */
void lines_redis_op_done(lines_redis_op_t *op, redisReply *reply);


#endif /* _LINES_STORE_REDIS_OP_H_INCLUDED_ */
