
/*
 * Which primary of a cluster has which slots: the replies of CLUSTER SHARDS and
 * CLUSTER SLOTS, and redirections
 * (redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec).  Pure:
 * it knows no connection.  Internal to the store.
 */

#ifndef _LINES_STORE_CLUSTER_MAP_H_INCLUDED_
#define _LINES_STORE_CLUSTER_MAP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <hiredis/hiredis.h>

#include "store/cluster_slot.h"


#define LINES_CLUSTER_NODES  512     /* primaries */
#define LINES_CLUSTER_HOST   255
#define LINES_CLUSTER_ID     40


/* small letters; no host: that of the node that was asked; no port: nobody
   knows.  id: the node's, by which it is told from one that has got its address
   since; it begins with a zero where nobody said it */

typedef struct {
    u_char     host[LINES_CLUSTER_HOST];
    size_t     len;
    in_port_t  port;
    u_char     id[LINES_CLUSTER_ID];
} lines_cluster_address_t;


typedef struct {
    ngx_uint_t               nnodes;     /* primaries that have slots */
    lines_cluster_address_t  nodes[LINES_CLUSTER_NODES];
    uint16_t                 owners[LINES_CLUSTER_SLOTS];
                                         /* of nodes, from 1; 0: nobody */
    ngx_uint_t               unusable;   /* flag: some have a primary, but no
                                            address of it that can be used, */
    ngx_uint_t               slot;       /* one of them */
} lines_cluster_map_t;


/*
 * NGX_ERROR: it is not such a reply, contradicts itself, or has more primaries
 * than there is room for; the map is not to be used then.  Of a primary
 * without a port of that kind, or whose host is none, the slots are nobody's:
 * all others are served.  secure: flag, ports of TLS.
 */
ngx_int_t lines_cluster_read_shards(lines_cluster_map_t *map,
    redisReply *reply, ngx_uint_t secure);
ngx_int_t lines_cluster_read_slots(lines_cluster_map_t *map,
    redisReply *reply);

/* "MOVED SLOT HOST:PORT", "ASK …": the slot, or NGX_ERROR.  A host may be
   "?", where a node has no name to be called by: no port then. */
ngx_int_t lines_cluster_read_redirection(lines_cluster_address_t *address,
    u_char *text, size_t len);

/* all but the id.  NGX_ERROR: neither a name nor an address, or no port;
   NGX_DECLINED: "?" */
ngx_int_t lines_cluster_set_address(lines_cluster_address_t *address,
    u_char *host, size_t len, long long port);

ngx_uint_t lines_cluster_same(lines_cluster_address_t *one,
    lines_cluster_address_t *other);


/* flag: it may be part of a host's name or address, which go into the log */
static ngx_inline ngx_uint_t
lines_redis_host_char(u_char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
           || (ch >= '0' && ch <= '9')
           || ch == '.' || ch == '-' || ch == '_' || ch == ':' || ch == '%';
}


#endif /* _LINES_STORE_CLUSTER_MAP_H_INCLUDED_ */
