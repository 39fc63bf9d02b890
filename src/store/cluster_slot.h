
/*
 * The slot of a key (redis.io/docs/latest/operate/oss_and_stack/reference/
 * cluster-spec).  Internal to the store.
 */

#ifndef _LINES_STORE_CLUSTER_SLOT_H_INCLUDED_
#define _LINES_STORE_CLUSTER_SLOT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define LINES_CLUSTER_SLOTS  16384

#define LINES_CLUSTER_ANY    (-1)    /* the slot of what has no key */


/* the hash tag of a key that comes in parts; zero it, slot last */

typedef struct {
    uint32_t    all;       /* CRC16 of all of it, of what is in the tag */
    uint32_t    tag;
    ngx_uint_t  opened;    /* flags */
    ngx_uint_t  closed;
    ngx_uint_t  filled;
} lines_cluster_key_t;

void lines_cluster_key_add(lines_cluster_key_t *key, ngx_str_t *part);
ngx_int_t lines_cluster_key_slot(lines_cluster_key_t *key);


#endif /* _LINES_STORE_CLUSTER_SLOT_H_INCLUDED_ */
