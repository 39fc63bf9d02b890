
/*
 * Redis inside nginx's event loop: one multiplexed connection per worker, and
 * of a cluster one to each primary.
 * Knows timers and events, but no request.
 */

#ifndef _LINES_STORE_REDIS_H_INCLUDED_
#define _LINES_STORE_REDIS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


typedef struct lines_redis_s  lines_redis_t;


/* what lines_redis says, read once at configuration */

typedef struct {
    ngx_str_t        name;        /* host:port/db, the path or the hosts, for
                                     messages: never a secret */
    ngx_url_t        url;         /* resolved at configuration */
    ngx_str_t        host;        /* ends with a zero; empty for a unix
                                     socket, a numeric address, a master */
    in_port_t        port;
    ngx_str_t        master;      /* the primary's name for Sentinel;
                                     empty: it is at url */
    ngx_array_t     *sentinels;   /* lines_redis_conf_t: who knows it, or, of a
                                     cluster, its map */
    ngx_uint_t       cluster;     /* flag */
    ngx_str_t        user;
    ngx_str_t        password;    /* from password_file= only */
    ngx_str_t        sentinel_user;
    ngx_str_t        sentinel_password;
    ngx_uint_t       db;
    ngx_uint_t       secure;      /* flag: rediss */
    void            *tls;         /* ngx_ssl_t; NULL: plain */
    ngx_str_t        ca;          /* files; empty: the system's */
    ngx_str_t        cert;
    ngx_str_t        key;
    ngx_str_t        sni;         /* empty: the host */
    ngx_uint_t       verify;      /* flag: the server's certificate */
    ngx_msec_t       timeout;     /* of one operation */
    ngx_msec_t       silence;     /* until the connection is given up */
    ngx_msec_t       connect_timeout;
    ngx_uint_t       max_inflight;
    ngx_uint_t       replicas;    /* that must have a write before it is told
                                     of; 0: none */
    ngx_msec_t       wait;        /* for them */
    ngx_uint_t       fsync;       /* flag: ... and on their disks */
    ngx_uint_t       limits;      /* flag, set before: counts of limits and
                                     nothing else, which may be lost */
    ngx_uint_t       layout;      /* 1: nodes of the release before are to know
                                     what is written (scripts/lib/line.lua) */
    ngx_resolver_t  *resolver;    /* of servers; NULL: the address found
                                     at configuration is kept */
    ngx_msec_t       resolver_timeout;
    ngx_str_t        file;        /* where the directive stands */
    ngx_uint_t       line;
} lines_redis_conf_t;


/* what nobody waits for with replicas=0, where there are replicas */
#define LINES_REDIS_PROMISE                                                   \
    "what was acknowledged last may be lost in a failover"


#define LINES_REDIS_LATENCIES  14

extern const ngx_msec_t  lines_redis_bounds[LINES_REDIS_LATENCIES - 1];

/* the version of the hiredis that is inside */
extern ngx_str_t  lines_redis_hiredis;


/* what conf/redis.conf sets, and CONFIG GET tells; the last has no name */

typedef struct {
    ngx_str_t   name;
    ngx_str_t   value;
    ngx_uint_t  least;    /* flag: more is as good */
} lines_redis_wish_t;

extern lines_redis_wish_t  lines_redis_wishes[];


typedef struct {
    ngx_uint_t  connected;    /* flag: ready for operations, */
    ngx_uint_t  serves;       /* ... or, of a cluster, a part of it is */
    ngx_uint_t  unconfirmed;  /* flag: of replicas=, too few have what is
                                 written */
    ngx_uint_t  unsynced;     /* flag: of fsync=on, it has no WAITAOF */
    uint32_t    servers;      /* which servers these are, by their run ids:
                                 another after each restart, and failover; 0:
                                 not all are known */
    ngx_uint_t  inflight;
    ngx_uint_t  reconnects;
    ngx_uint_t  evicts;       /* flag: maxmemory-policy is not
                                 noeviction */
    ngx_uint_t  no_aof;       /* flag */
    ngx_uint_t  replicated;   /* flag: it has replicas, and with replicas=0
                                 none is waited for */
    ngx_uint_t  no_info;      /* flag: INFO is refused, so that the
                                 two above are not known */
    ngx_uint_t  no_config;    /* flag: CONFIG is refused, so that
                                 settings are not known */
    ngx_uint_t  denied;       /* flag: a command met NOPERM within
                                 the last minute */
    ngx_uint_t  readonly;     /* flag: last write met READONLY */
    char       *refuses;      /* why it refused a write within the last
                                 minute; NULL: it did not */
    ngx_msec_t  refused_at;   /* ... and when */
    ngx_uint_t  settings;     /* lines_redis_wishes: a bit for
                                 each that is not met */
    ngx_str_t   reason;       /* why it is not connected, or empty;
                                 the connection's */
    ngx_uint_t  away;         /* flag: operations fail at once */
    ngx_uint_t  probing;      /* flag: away, and an attempt to
                                 connect is under way */

    /* since the worker started */
    ngx_uint_t  commands;     /* operations accepted */
    ngx_uint_t  errors;       /* error replies, lost outcomes */
    ngx_uint_t  disk;         /* error replies that are MISCONF, OOM
                                 or NOREPLICAS */
    ngx_uint_t  timeouts;     /* deadlines met */
    ngx_uint_t  late;         /* replies after their deadline */
    ngx_uint_t  refused;      /* away, or max_inflight reached */
    ngx_uint_t  resends;      /* scripts sent again by EVAL */
    ngx_uint_t  repeats;      /* sent again on a new connection */
    ngx_uint_t  latency[LINES_REDIS_LATENCIES];
                                        /* replies by the time they took: up to
                                           lines_redis_bounds[i], longer */
    ngx_msec_t  latency_sum;
} lines_redis_status_t;


/*
 * Parses redis[s]://[user@]host[:port][/db], unix:/path[:db] or
 * redis[s]+sentinel://[user@]host[:port],.../master[/db] or
 * redis[s]+cluster://[user@]host[:port],... and the parameters
 * timeout=, silence=, connect_timeout=, max_inflight=, password_file=, user=,
 * cacert=, cert=, key=, sni=, verify= of rediss, and sentinel_user=,
 * sentinel_password_file= of Sentinel; of limits there is no replicas=, wait=,
 * fsync= and layout=.  value[0] is the directive's name.
 * Returns NGX_CONF_OK, or NGX_CONF_ERROR having logged directive, value and
 * line.
 */

char *lines_redis_parse_conf(ngx_conf_t *cf, lines_redis_conf_t *conf);


/*
 * Once the whole configuration is read and conf->resolver is set: a host that
 * was not found at configuration needs a resolver.
 */

char *lines_redis_check_conf(ngx_conf_t *cf, lines_redis_conf_t *conf);


/*
 * In init_process: allocates from the cycle's pool and starts to connect.
 * Returns NULL only without memory.  Redis need not be there.
 */

lines_redis_t *lines_redis_create(ngx_cycle_t *cycle,
    lines_redis_conf_t *conf);

/*
 * Keys of the schema that say "store: limits" are in another one, which is
 * created and destroyed as this one is.
 */
void lines_redis_divide(lines_redis_t *redis, lines_redis_t *limits);

/* that one, or redis itself */
lines_redis_t *lines_redis_limits(lines_redis_t *redis);

/*
 * A number below LINES_PRIMARIES, of the primary that has a tenant's keys: who
 * shares what is scarce out among primaries takes them for one that have the
 * same.  0: there is but one, or nobody is known to have them.
 */

#define LINES_PRIMARIES  64

ngx_uint_t lines_redis_primary(lines_redis_t *redis, ngx_str_t *tenant);

/*
 * In exit_process, after the subscribers: frees every connection, reconnects
 * no more.  Handlers of what is still in flight are not called.
 */
void lines_redis_destroy(lines_redis_t *redis);

/*
 * In exit_process, for who has last words that need an answer, once all others
 * have gone: none of those who asked before is told any more.  Who asks from
 * then on is, in lines_redis_turn(): a turn of the event loop for its
 * connections alone, of a millisecond.  NGX_DECLINED: there is none that serves.
 */
void lines_redis_end(lines_redis_t *redis);
ngx_int_t lines_redis_turn(lines_redis_t *redis);


void lines_redis_status(lines_redis_t *redis, lines_redis_status_t *status);

/*
 * Who shows the status asks for another look at Redis' settings: they may be
 * set while it runs.  What comes of it is in a later status.
 */
void lines_redis_review(lines_redis_t *redis);


/*
 * Formats a key or an argument: as ngx_snprintf(), allocated from the pool.
 * NGX_ERROR without memory.
 */

ngx_int_t lines_redis_format(ngx_pool_t *pool, ngx_str_t *value,
    const char *fmt, ...);


/*
 * A subscription on a connection of its own, of a cluster on one to each
 * primary, re-established for ever.  One for each Redis.
 * handler gets each message (nothing but messages of the channel), or NULL
 * where some may have been missed: at each (re)subscription.
 * lines_subscriber_alive() is true while its echo (a PUBLISH to a channel
 * of its own every 300 ms through redis) came back within the last 3 s.
 */

typedef struct lines_subscriber_s  lines_subscriber_t;

typedef void (*lines_message_pt)(void *data, ngx_str_t *message);

lines_subscriber_t *lines_subscriber_create(ngx_cycle_t *cycle,
    lines_redis_t *redis, ngx_str_t *channel, lines_message_pt handler,
    void *data);

void lines_subscriber_destroy(lines_subscriber_t *subscriber);

ngx_uint_t lines_subscriber_alive(lines_subscriber_t *subscriber);


#endif /* _LINES_STORE_REDIS_H_INCLUDED_ */
