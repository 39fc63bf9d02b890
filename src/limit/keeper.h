
/*
 * The buckets of a node, below limit/lease.c, which lets requests through by
 * them: where they lie, and what Redis is asked about them in the background.
 */

#ifndef _LINES_LIMIT_KEEPER_H_INCLUDED_
#define _LINES_LIMIT_KEEPER_H_INCLUDED_


#include "http/id.h"
#include "limit/ledger.h"
#include "limit/limit.h"


#define LINES_LEASE_KEY_MAX  255
#define LINES_LEASE_TEXT     160    /* of what is settled of a bucket */


typedef struct {
    ngx_rbtree_t          rbtree;
    ngx_rbtree_node_t     sentinel;
    ngx_queue_t           lru;
    ngx_uint_t            buckets;
    ngx_uint_t            buckets_max;
    ngx_pid_t             keeper;       /* the worker that settles; or 0 */
    ngx_msec_t            swept;        /* by it */
    ngx_msec_t            joined;       /* when that was asked for */
    u_char                id[LINES_ID_LEN];     /* the node's */
    lines_ledger_t        ledger;
} lines_lease_area_t;


typedef struct {
    ngx_str_node_t        node;         /* its string is data */
    ngx_queue_t           lru;
    lines_bucket_t        bucket;
    ngx_msec_t            looked;       /* when its tenant was asked */

    unsigned              looks:1;      /* at least once */
    unsigned              own:1;        /* not the configuration's rate */

    u_char                data[1];
} lines_lease_node_t;


/*
 * The bucket of a key, made where there is none and limit is given; NULL: none.
 * The zone is locked, and to be unlocked, even so.
 */
lines_lease_node_t *lines_keeper_lock(lines_limit_t *limit, ngx_str_t *key);
void lines_keeper_unlock(void);

/* what limit_settle.lua reads of a bucket, at most LINES_LEASE_TEXT; and says,
   to who asked then */
size_t lines_keeper_write(u_char *text, lines_bucket_t *bucket,
    ngx_int_t uses, int64_t age);
ngx_int_t lines_keeper_told(lines_lease_node_t *node, ngx_str_t *text,
    int64_t settled, ngx_msec_t asked);

lines_lease_area_t *lines_keeper_area(void);
lines_caller_t *lines_keeper_caller(void);

/* With the zone unlocked: */

/* settles what a shard has ready; all: flag, whatever is open */
void lines_keeper_settle(ngx_uint_t shard, ngx_uint_t all);

/* looks up the rate that the bucket's tenant has of its own, or its plan */
void lines_keeper_look(lines_limit_t *limit, ngx_str_t *key,
    ngx_str_t *tenant);


#endif /* _LINES_LIMIT_KEEPER_H_INCLUDED_ */
