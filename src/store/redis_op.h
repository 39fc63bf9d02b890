
/*
 * An operation: a guard object with its own deadline, which outlives whoever
 * asked and stays in hiredis' queue until its reply has come.  Internal to
 * the store.
 */

#ifndef _LINES_STORE_REDIS_OP_H_INCLUDED_
#define _LINES_STORE_REDIS_OP_H_INCLUDED_


#include "store/redis_connection.h"


struct lines_redis_op_s {
    ngx_queue_t             queue;      /* waiting */
    lines_redis_t          *redis;

    /* event ident must be after 3 pointers as in ngx_connection_t */
    ngx_int_t               ident;

    lines_redis_handler_pt  handler;    /* NULL: nobody waits */
    void                   *data;
    ngx_event_t             timer;

    lines_script_t         *script;
    ngx_uint_t              argc;       /* of a script's command */

    u_char                 *start;      /* the command as it is sent */
    size_t                  len;
    size_t                  tail;       /* after EVALSHA and digest */

    size_t                  end;        /* in the connection's bytes */
    ngx_msec_t              submitted;

    unsigned                sent:1;
    unsigned                expired:1;
    unsigned                retried:1;
    unsigned                again:1;    /* may run twice */
    unsigned                repeated:1;
};


struct lines_redis_s {
    lines_redis_connection_t  connection;
    lines_redis_conf_t       *conf;
    ngx_log_t                *log;

    ngx_queue_t               waiting;
    ngx_event_t               refuse;      /* those that wait in vain */

    lines_redis_status_t      status;

    ngx_uint_t                repeated;    /* flag, in a handler: its operation
                                              was sent twice, the first may run
                                              yet */
};


/*
 * len: room at op->start for the command, counted in status.inflight.  NULL:
 * Redis is away, too much is under way, or there is no memory.
 */
lines_redis_op_t *lines_redis_op_create(lines_redis_t *redis, size_t len);

/* starts the deadline, then sends op->start or lets it wait; takes over op */
lines_redis_op_t *lines_redis_op_submit(lines_redis_op_t *op,
    lines_redis_handler_pt handler, void *data);

/* NGX_DECLINED: no connection takes it now */
ngx_int_t lines_redis_op_send(lines_redis_op_t *op, u_char *start, size_t len);

/* frees the guard, then tells whoever waits */
void lines_redis_op_done(lines_redis_op_t *op, redisReply *reply);

void lines_redis_op_free(lines_redis_op_t *op);


#endif /* _LINES_STORE_REDIS_OP_H_INCLUDED_ */
