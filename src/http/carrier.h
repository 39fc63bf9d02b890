
/*
 * The carrier: a request of nobody's, on which the module makes its own calls
 * to internal locations.  A client's request may be reset or shut down at any
 * moment and would take its subrequests with it; nothing can take a carrier
 * away but the end of the process.
 *
 * Life and memory.  create() gives a carrier and everything in it; the owner
 * makes calls and waits one after another, and calls destroy() once.
 * carrier->pool is the owner's to use: whatever belongs to the operation may
 * live there, it goes last of all.  Cleanups of that pool run at the very end.
 * Handlers are called from nginx's posted events or from a timer, never from
 * within the function that was given them and never with a request of nginx's
 * on the stack: a handler may start the next call, resume or finalize other
 * requests (with ngx_http_run_posted_requests() of theirs), and destroy the
 * carrier.
 *
 * A gracefully exiting worker waits for its carriers: there is always a timer
 * of the upstream's, of Redis' or of wait() pending.
 */

#ifndef _LINES_HTTP_CARRIER_H_INCLUDED_
#define _LINES_HTTP_CARRIER_H_INCLUDED_


#include "http/conf.h"


typedef struct lines_carrier_s  lines_carrier_t;


/* where calls go: an internal location, as a directive names it */

struct lines_location_s {
    ngx_str_t          name;     /* of the directive */
    ngx_str_t          uri;
    ngx_uint_t         plain;    /* flag: without TLS to loopback addresses
                                    and sockets */
    ngx_uint_t         once;     /* flag: what is sent there has an effect */
    size_t             buffer;   /* for answers, at least; a multiple of 1k */
    ngx_uint_t         resolves; /* flag: names are resolved by its resolver,
                                    and calls go to an address */

    /* set by lines_location() */
    lines_location_t  *next;
    u_char            *file;
    ngx_uint_t         line;
    ngx_uint_t         refused;  /* flag: the last call from this worker was */
    ngx_uint_t         said;     /* flag: an alert said so, */
    ngx_msec_t         said_at;  /* and when */
    ngx_http_core_loc_conf_t  *clcf;
};


/* what became of a call */

typedef enum {
    LINES_COMPLETE = 0,   /* an answer, whole; any status */
    LINES_UNKNOWN,        /* sent, at least in part: it may have had its
                             effect */
    LINES_UNSENT          /* surely not a byte was sent */
} lines_transport_e;


typedef struct {
    lines_transport_e  transport;
    ngx_uint_t         status;        /* 0 unless complete */
    ngx_str_t          body;          /* empty unless complete; until the
                                         handler returns */
    ngx_list_t        *headers;       /* ngx_table_elt_t; NULL unless complete;
                                         as long as body */
    time_t             retry_after;   /* seconds; -1: none */
    ngx_msec_t         elapsed;
    ngx_uint_t         begun;         /* of an answer that is not whole, the
                                         status: it broke off, or is larger than
                                         the location's buffer; 0: none came */
} lines_result_t;


/* copied where it must be: all of it may die when the call has begun */

typedef struct {
    ngx_uint_t            method;     /* NGX_HTTP_GET, _POST, _DELETE */
    ngx_str_t             uri;        /* of the internal location */
    ngx_str_t             args;       /* escaped; may be empty */
    ngx_keyval_t         *headers;    /* beside X-Request-Id, traceparent
                                         and Content-Length */
    ngx_uint_t            nheaders;
    ngx_str_t             body;
    ngx_msec_t            timeout;    /* of the whole call; 0: only those of
                                         the location */
    void                 *of;         /* the caller's, for variables that are
                                         asked for within the call */

    /* the caller's while the call runs, or NULL: the one address that it may
       go to, and whose certificate it must be shown there */
    struct sockaddr      *peer;
    socklen_t             peer_len;
    ngx_str_t            *peer_name;
} lines_call_t;


/* result is the carrier's, and good until the handler returns */
typedef void (*lines_call_pt)(void *data, lines_result_t *result);

typedef void (*lines_wait_pt)(void *data);


struct lines_carrier_s {
    ngx_pool_t             *pool;        /* the owner's */
    ngx_log_t              *log;         /* error lines carry the id */
    ngx_str_t               id;          /* sent as X-Request-Id */
    ngx_str_t               trace;       /* the owner's: sent as traceparent,
                                            unless it is empty */

    /* everything below is the carrier's own */
    lines_main_conf_t      *lmcf;
    ngx_http_request_t     *request;
    ngx_http_request_t     *subrequest;  /* of the running call */
    void                   *of;          /* the same */
    ngx_connection_t       *connection;
    ngx_http_connection_t   hc;
    ngx_http_log_ctx_t      log_ctx;
    ngx_log_t               own_log;
    struct sockaddr_in      sockaddr;

    ngx_http_post_subrequest_t  post;

    ngx_event_t             next;        /* posted: result or end */
    ngx_event_t             timer;       /* timeout of a call, wait */

    ngx_queue_t             queue;       /* that it waits in, */
    ngx_uint_t              rank;        /* and its place there */

    lines_call_pt           handler;
    lines_wait_pt           wait;
    void                   *data;
    lines_result_t          result;
    ngx_msec_t              start;       /* of a call, or in the queue */

    /* the guard's */
    lines_location_t       *location;
    struct sockaddr        *peer;
    socklen_t               peer_len;
    ngx_str_t              *peer_name;
    ngx_event_get_peer_pt   get;         /* of the balancer */
    ngx_event_free_peer_pt  free;
    ngx_uint_t              uri_changes;  /* left, as it was let go */
    ngx_http_upstream_init_peer_pt  init;  /* of the upstream */

    unsigned                entered:1;   /* the guard has seen it */
    unsigned                passed:1;    /* the guard let it go */
    unsigned                calling:1;
    unsigned                queued:1;
    unsigned                late:1;      /* its turn did not come in time */
    unsigned                destroyed:1;
};


/*
 * A carrier in lmcf->carrier_ctx; id (an operation's, or a word such as
 * "jwks") is copied.  NULL, with a line in the log: out of memory or of
 * connections, or no carrier_ctx.  Nothing has happened then: 503.
 */

lines_carrier_t *lines_carrier_create(lines_main_conf_t *lmcf, ngx_str_t *id,
    ngx_log_t *log);

/*
 * One call at a time.  NGX_AGAIN: handler will be called, once.  NGX_ERROR:
 * it will not, and nothing was sent.
 */

ngx_int_t lines_carrier_call(lines_carrier_t *carrier, lines_call_t *call,
    lines_call_pt handler, void *data);

/* calls handler after a while; not while a call runs */
void lines_carrier_wait(lines_carrier_t *carrier, ngx_msec_t delay,
    lines_wait_pt handler, void *data);

/*
 * The same in a queue, behind those of its rank and lower ones: handler is
 * called by turn(), or, carrier->late, after that while.
 */

void lines_carrier_queue(lines_carrier_t *carrier, ngx_queue_t *queue,
    ngx_uint_t rank, ngx_msec_t delay, lines_wait_pt handler, void *data);
void lines_carrier_turn(lines_carrier_t *carrier);

#define lines_carrier_queued(q)  (ngx_queue_data(q, lines_carrier_t, queue))

/*
 * From anywhere, once; also while a call or a wait is under way, whose handler
 * is not called then.  The carrier and its pool are gone soon after: the
 * caller must not touch them again.
 */

void lines_carrier_destroy(lines_carrier_t *carrier);

/* the carrier whose connection's log this is, or NULL for a client's */
lines_carrier_t *lines_carrier_of(ngx_log_t *log);

/* the same by a (sub)request */
#define lines_carrier_find(r)                                                 \
    lines_carrier_of((r)->main->connection->log)


#endif /* _LINES_HTTP_CARRIER_H_INCLUDED_ */
