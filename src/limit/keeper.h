
/*
 * The buckets of a node, below limit/lease.c, which lets requests through by
 * them: where they lie, and what Redis is asked about them in the background.
 */

#ifndef _LINES_LIMIT_KEEPER_H_INCLUDED_
#define _LINES_LIMIT_KEEPER_H_INCLUDED_


#include "http/id.h"
#include "http/table.h"
#include "limit/ledger.h"
#include "limit/limit.h"


#define LINES_LEASE_KEY_MAX  255
#define LINES_LEASE_TEXT     160    /* of what is settled of a bucket */

#define LINES_LEASE_TENANTS  256    /* queues of them, by their hash */
#define LINES_LEASE_MOVED    0xfffffff


typedef struct {
    lines_table_t        *table;
    ngx_queue_t           lru;
    ngx_uint_t            buckets;
    ngx_uint_t            buckets_max;
    ngx_pid_t             keeper;       /* the worker that settles; or 0 */
    ngx_msec_t            swept;        /* by it */
    ngx_msec_t            joined;       /* when that was asked for */
    ngx_msec_t            missed;       /* until then rates may have become
                                           others, unheard */
    ngx_queue_t           tenants[LINES_LEASE_TENANTS];
                                        /* buckets whose rate is a tenant's */
    u_char                id[LINES_ID_LEN];     /* the node's */
    lines_ledger_t        ledger;
} lines_lease_area_t;


typedef struct {
    ngx_str_node_t        node;         /* its string is data */
    ngx_queue_t           lru;
    lines_bucket_t        bucket;

    ngx_queue_t           tenants;      /* once its tenant was asked, */
    ngx_msec_t            looked;       /* and when */
    uint32_t              tenant;       /* hashes: of it, */
    uint32_t              plan;         /* and of its plan */

    unsigned              looks:1;      /* it was asked */
    unsigned              stale:1;      /* to be asked again */
    unsigned              its:1;        /* the rate is its tenant's own, */
    unsigned              own:1;        /* or at least not the
                                           configuration's */
    unsigned              moved:28;     /* to the head of lru: when */
    u_char                data[1];
} lines_lease_node_t;


void lines_keeper_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf);
void lines_keeper_exit_process(lines_main_conf_t *lmcf);

/*
 * The bucket of a key, made where there is none and limit is given; NULL: none.
 * The zone is locked, and to be unlocked, even so.
 */
lines_lease_node_t *lines_keeper_lock(lines_limit_t *limit, ngx_str_t *key);
void lines_keeper_unlock(void);

/* the same for who has nobody else to count: where there is no room, the least
   used goes with what it owes */
lines_lease_node_t *lines_keeper_lock_anyway(lines_limit_t *limit,
    ngx_str_t *key);

/* the zone alone */
void lines_keeper_lock_zone(void);

/* what limit_settle.lua reads of a bucket, at most LINES_LEASE_TEXT; and says,
   to who asked then */
size_t lines_keeper_write(u_char *text, lines_bucket_t *bucket,
    ngx_int_t uses, int64_t age);
ngx_int_t lines_keeper_told(lines_lease_node_t *node, ngx_str_t *text,
    int64_t settled, ngx_msec_t asked);

/* INTERVAL and BURST; NGX_ERROR: they are no rate */
ngx_int_t lines_keeper_parse(ngx_str_t *interval, ngx_str_t *burst,
    lines_rate_t *rate);

lines_lease_area_t *lines_keeper_area(void);

/* With the zone unlocked: */

/* settles what a shard has ready; all: flag, whatever is open */
void lines_keeper_settle(ngx_uint_t shard, ngx_uint_t all);



#endif /* _LINES_LIMIT_KEEPER_H_INCLUDED_ */
