
/*
 * One connection to Redis: nginx' connection, what is to leave on it, hiredis'
 * reader of what comes, and who waits for that.  What becomes of it is in
 * store/redis_life.h.  Both the command connection and the subscriber own one.
 * Internal to the store.
 */

#ifndef _LINES_STORE_REDIS_CONNECTION_H_INCLUDED_
#define _LINES_STORE_REDIS_CONNECTION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <hiredis/hiredis.h>

#include "store/cluster_map.h"
#include "store/redis.h"
#include "store/redis_reply.h"


#define LINES_REDIS_ADDRS      8
#define LINES_REDIS_HOST       255    /* bytes of a name (RFC 1035, 2.3.4) */
#define LINES_REDIS_CAUSE_LEN  192
#define LINES_REDIS_RUN_ID     40
#define LINES_REDIS_TEXT_LEN   100    /* of what the server says, in messages */

/* its settings are looked at again so soon at the earliest */
#define LINES_REDIS_LOOK       5000

/* how long a write that was refused is remembered, and not told again */
#define LINES_REDIS_REFUSED    60000

/* the same of a command that the ACL refuses */
#define LINES_REDIS_DENIED     60000


typedef struct lines_redis_connection_s  lines_redis_connection_t;

typedef void (*lines_redis_connection_pt)(void *data);

/*
 * NULL: the connection was lost before.  The reply is freed after the call,
 * unless its pool was taken by then (store/redis_reply.h).
 */
typedef void (*lines_redis_reply_pt)(lines_redis_connection_t *conn,
    void *data, redisReply *reply);


/* one who waits for a reply; the handler is called once */

typedef struct {
    ngx_queue_t            queue;
    lines_redis_reply_pt   handler;
    void                  *data;
    size_t                 end;     /* of its command in conn's stream */
    ngx_uint_t             own;     /* flag: freed by the connection */
} lines_redis_asked_t;


typedef enum {
    LINES_REDIS_CLOSED = 0,
    LINES_REDIS_BACKOFF,
    LINES_REDIS_RESOLVING,
    LINES_REDIS_CONNECTING,
    LINES_REDIS_TLS,
    LINES_REDIS_HANDSHAKE,
    LINES_REDIS_READY,
    LINES_REDIS_FAILED,         /* to be dropped by a posted event */
    LINES_REDIS_DRAINING        /* takes no more commands */
} lines_redis_state_e;


struct lines_redis_connection_s {
    lines_redis_conf_t        *conf;
    ngx_str_t                 *name;        /* for messages; NULL when it is
                                               opened: conf's */
    ngx_log_t                 *log;
    void                      *data;        /* the owner's */

    /* event ident must be after 3 pointers as in ngx_connection_t */
    ngx_int_t                  ident;

    lines_redis_state_e        state;
    char                      *role;        /* for messages */

    /* what INFO and CONFIG say goes there; NULL: they are not asked for */
    lines_redis_status_t      *status;

    /* its handshake is done */
    void                     (*greeted)(lines_redis_connection_t *conn);

    /* ready for commands; called while a reply is handled */
    lines_redis_connection_pt  ready;

    /*
     * an attempt failed, or the connection was lost: see away.  Called from
     * anywhere: the owner must not call back its users from there.
     */
    lines_redis_connection_pt  lost;

    /*
     * somebody else knows where it is, and calls lines_redis_located(), now or
     * later; last: nobody waits longer for a better word than the one that is
     * known.  NULL: conf has the address.
     */
    void                     (*locate)(lines_redis_connection_t *conn,
                                       ngx_uint_t last);
    void                      *guide;       /* ... that one */
    u_char                    *id;          /* of the node of a cluster that is
                                               to be there; NULL, or no first
                                               letter: any */
    ngx_queue_t                follower;    /* in the guide's queue */

    /* what nobody asked for; NULL: it ends the connection */
    void                     (*message)(void *data, redisReply *reply);

    ngx_connection_t          *connection;
    redisReader               *reader;
    lines_redis_replies_t      replies;
    ngx_buf_t                  out;         /* what has not left yet */
    void                      *session;     /* of TLS, to be resumed */
    ngx_log_t                  tls_log;
    ngx_str_t                  host;        /* ends with a zero; empty: it has
                                               no name */
    u_char                     located[LINES_REDIS_HOST + 1];
                                            /* what locate found, if a name */
    in_port_t                  port;
    ngx_resolver_ctx_t        *resolve;

    ngx_queue_t                asked;       /* in the order of the replies */

    ngx_event_t                timer;
    ngx_event_t                flush;
    ngx_event_t                drop;

    struct {
        ngx_sockaddr_t         sockaddr;
        socklen_t              socklen;
    } addrs[LINES_REDIS_ADDRS];
    ngx_uint_t                 naddrs;
    ngx_uint_t                 current;

    ngx_uint_t                 failures;    /* rounds in a row */
    ngx_uint_t                 flaps;       /* short lives in a row */
    ngx_msec_t                 ready_at;
    ngx_msec_t                 lost_at;     /* or opened */
    ngx_uint_t                 connects;
    size_t                     flushed;     /* bytes of commands that the
                                               kernel took */
    ngx_msec_t                 heard;       /* since when what was sent
                                               waits for a reply */
    ngx_uint_t                 stalls;      /* looks for one since then */

    u_char                     cause[LINES_REDIS_CAUSE_LEN];
    u_char                     logged[LINES_REDIS_CAUSE_LEN];
    ngx_msec_t                 logged_at;   /* 0: not since it was ready */
    ngx_uint_t                 overdue;     /* operations, since they were */
    ngx_msec_t                 overdue_at;  /* told of */

    u_char                     told_id[LINES_REDIS_RUN_ID];
                                            /* by INFO, in a handshake too */
    u_char                     run_id[LINES_REDIS_RUN_ID];
                                            /* of the server that was ready
                                               last; empty: INFO does not say */

    unsigned                   away:1;      /* known not to be there */
    unsigned                   taking:1;    /* a reply is looked at */
    unsigned                   denied:1;    /* ask whether scripts run */
    unsigned                   cluster:1;   /* it is a node of one */
    unsigned                   any:1;       /* located, but a replica will do */

    char                      *refuses;     /* why it did a write, */
    ngx_msec_t                 refused_at;  /* and when */
    ngx_msec_t                 looked_at;   /* at INFO and CONFIG */
    ngx_msec_t                 denied_at;   /* a command: NOPERM */
};


/*
 * Connects to the current address; what is sent meanwhile waits.  It may have
 * failed when it returns.
 */
void lines_redis_connect(lines_redis_connection_t *conn);

/* closes it, if there is one: who waits hears of no reply */
void lines_redis_disconnect(lines_redis_connection_t *conn);

/*
 * A command of len bytes, whose handler and data are set.  NGX_ERROR: it is
 * not sent, and without memory the connection fails.
 */
ngx_int_t lines_redis_send(lines_redis_connection_t *conn,
    lines_redis_asked_t *asked, u_char *start, size_t len);

/*
 * The same of one that is made here: fmt is hiredis', %s, %u, and %b for binary
 * data and their size_t.
 */
void lines_redis_ask(lines_redis_connection_t *conn,
    lines_redis_reply_pt handler, void *data, const char *fmt, ...);


/* flag: its socket has bytes, its end or an error */
ngx_uint_t lines_redis_readable(lines_redis_connection_t *conn);

/* what has been asked for leaves now, as far as the socket takes it */
void lines_redis_flush(lines_redis_connection_t *conn);

/* what has come is read, and the same; NGX_DECLINED: it does not serve */
ngx_int_t lines_redis_turn_connection(lines_redis_connection_t *conn);

/* to be reconnected, from anywhere; an attempt to connect, too */
void lines_redis_drop(lines_redis_connection_t *conn);

/* the same once the replies of what was sent have come; in a handler */
void lines_redis_drain(lines_redis_connection_t *conn, char *cause);


/* of the state it is in; another one is replaced */
void lines_redis_timer(lines_redis_connection_t *conn, ngx_msec_t timer);


/* flag: a string of this text */
ngx_uint_t lines_redis_reply_is(redisReply *reply, ngx_str_t *text);

/*
 * Flag: an error of this code, which those of scripts have inside before 7.0,
 * or, of several words, one that says so.
 */
ngx_uint_t lines_redis_error_is(redisReply *reply, char *words);


#endif /* _LINES_STORE_REDIS_CONNECTION_H_INCLUDED_ */
