
/*
 * An operation: a guard object with its own deadline, which outlives whoever
 * asked and stays in hiredis' queue until its reply has come.  Internal to
 * the store.
 */

#ifndef _NGX_LINES_REDIS_OP_H_INCLUDED_
#define _NGX_LINES_REDIS_OP_H_INCLUDED_


#include "ngx_lines_redis_connection.h"


/* commands up to this length need no memory of their own */
#define NGX_LINES_REDIS_INLINE  480

/* guards kept for the next operations */
#define NGX_LINES_REDIS_SPARE   256


struct ngx_lines_redis_op_s {
    ngx_queue_t                     queue;      /* waiting, or spare */
    ngx_lines_redis_t              *redis;

    /* event ident must be after 3 pointers as in ngx_connection_t */
    ngx_int_t                       ident;

    ngx_lines_redis_handler_pt      handler;    /* NULL: nobody waits */
    void                           *data;
    ngx_event_t                     timer;

    ngx_lines_script_t             *script;
    ngx_uint_t                      argc;       /* of a script's command */

    u_char                         *start;      /* the command as it is sent */
    size_t                          len;
    size_t                          tail;       /* after EVALSHA and digest */

    size_t                          end;        /* in the connection's bytes */
    ngx_msec_t                      submitted;

    unsigned                        sent:1;
    unsigned                        expired:1;
    unsigned                        retried:1;
    unsigned                        again:1;    /* may run twice */
    unsigned                        repeated:1;

    u_char                          buffer[NGX_LINES_REDIS_INLINE];
                                                /* last: is not cleared */
};


struct ngx_lines_redis_s {
    ngx_lines_redis_connection_t    connection;
    ngx_lines_redis_conf_t         *conf;
    ngx_log_t                      *log;

    ngx_queue_t                     waiting;
    ngx_queue_t                     spare;
    ngx_uint_t                      nspare;

    ngx_event_t                     refuse;     /* those that wait in vain */

    ngx_lines_redis_status_t        status;

    unsigned                        repeated:1; /* the operation whose handler
                                                   runs */
    unsigned                        destroyed:1;
};


/* len: room at op->start for the command, counted in status.inflight */
ngx_lines_redis_op_t *ngx_lines_redis_op_create(ngx_lines_redis_t *redis,
    size_t len);

/* starts the deadline, then sends op->start or lets it wait; takes over op */
ngx_lines_redis_op_t *ngx_lines_redis_op_submit(ngx_lines_redis_op_t *op,
    ngx_lines_redis_handler_pt handler, void *data);

/* NGX_DECLINED: no connection takes it now */
ngx_int_t ngx_lines_redis_op_send(ngx_lines_redis_op_t *op, u_char *start,
    size_t len);

/* frees the guard, then tells whoever waits */
void ngx_lines_redis_op_done(ngx_lines_redis_op_t *op, redisReply *reply);

void ngx_lines_redis_op_free(ngx_lines_redis_op_t *op);


#endif /* _NGX_LINES_REDIS_OP_H_INCLUDED_ */
