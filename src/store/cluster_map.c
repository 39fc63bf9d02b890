
/*
 * The map of a cluster, as a node tells it.  What comes over the network may be
 * anything.
 */

#include "store/cluster_map.h"


static ngx_int_t read_shard(lines_cluster_map_t *map, redisReply *slots,
    redisReply *nodes, ngx_uint_t secure);
static redisReply *find_primary(redisReply *nodes);
static ngx_int_t read_node(lines_cluster_address_t *address, redisReply *node,
    ngx_uint_t secure);
static void read_id(lines_cluster_address_t *address, redisReply *id);
static ngx_int_t read_host(lines_cluster_address_t *address, redisReply *host,
    redisReply *ip, redisReply *port);
static ngx_int_t complete(lines_cluster_map_t *map);
static ngx_int_t add_range(lines_cluster_map_t *map,
    lines_cluster_address_t *address, redisReply *from, redisReply *to);
static ngx_int_t read_number(redisReply *reply, long long *number);
static ngx_uint_t find_node(lines_cluster_map_t *map,
    lines_cluster_address_t *address);
static redisReply *member(redisReply *pairs, const char *name);
static ngx_uint_t is(redisReply *reply, const char *text);


/* an array of shards, each of names and values in turn */

ngx_int_t
lines_cluster_read_shards(lines_cluster_map_t *map, redisReply *reply,
    ngx_uint_t secure)
{
    size_t       i;
    redisReply  *slots, *nodes;

    ngx_memzero(map, sizeof(lines_cluster_map_t));

    if (reply->type != REDIS_REPLY_ARRAY) {
        return NGX_ERROR;
    }

    for (i = 0; i < reply->elements; i++) {
        slots = member(reply->element[i], "slots");
        nodes = member(reply->element[i], "nodes");

        if (slots == NULL
            || nodes == NULL
            || read_shard(map, slots, nodes, secure) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return complete(map);
}


/* one of which no part can be used is none */

static ngx_int_t
complete(lines_cluster_map_t *map)
{
    return map->unusable && map->nnodes == 0 ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
read_shard(lines_cluster_map_t *map, redisReply *slots, redisReply *nodes,
    ngx_uint_t secure)
{
    size_t                    i;
    ngx_int_t                 rc;
    redisReply               *primary;
    lines_cluster_address_t   address;

    if (slots->type != REDIS_REPLY_ARRAY
        || slots->elements % 2
        || nodes->type != REDIS_REPLY_ARRAY)
    {
        return NGX_ERROR;
    }

    if (slots->elements == 0) {
        return NGX_OK;
    }

    primary = find_primary(nodes);

    rc = primary ? read_node(&address, primary, secure) : NGX_DECLINED;

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    for (i = 0; i < slots->elements; i += 2) {
        if (add_range(map, rc == NGX_OK ? &address : NULL, slots->element[i],
                      slots->element[i + 1])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* one that failed may be named beside the one that was promoted */

static redisReply *
find_primary(redisReply *nodes)
{
    size_t       i;
    redisReply  *role, *health, *found;

    found = NULL;

    for (i = 0; i < nodes->elements; i++) {
        role = member(nodes->element[i], "role");

        if (role == NULL || !is(role, "master")) {
            continue;
        }

        health = member(nodes->element[i], "health");

        if (health && is(health, "online")) {
            return nodes->element[i];
        }

        if (found == NULL) {
            found = nodes->element[i];
        }
    }

    return found;
}


/* NGX_DECLINED: it has none that can be used */

static ngx_int_t
read_node(lines_cluster_address_t *address, redisReply *node,
    ngx_uint_t secure)
{
    redisReply  *host, *ip, *port;

    host = member(node, "endpoint");
    ip = member(node, "ip");
    port = member(node, secure ? "tls-port" : "port");

    if (host == NULL) {
        host = ip;
    }

    if (host == NULL) {
        return NGX_ERROR;
    }

    read_id(address, member(node, "id"));

    return port ? read_host(address, host, ip, port) : NGX_DECLINED;
}


/* NULL, or anything else: it has none */

static void
read_id(lines_cluster_address_t *address, redisReply *id)
{
    ngx_memzero(address->id, LINES_CLUSTER_ID);

    if (id
        && id->type == REDIS_REPLY_STRING
        && id->len == LINES_CLUSTER_ID)
    {
        ngx_memcpy(address->id, id->str, LINES_CLUSTER_ID);
    }
}


/*
 * ip: NULL, or the node's address, for one whose name, by which it is to be
 * called, is not known
 */

static ngx_int_t
read_host(lines_cluster_address_t *address, redisReply *host, redisReply *ip,
    redisReply *port)
{
    ngx_int_t  rc;
    long long  number;

    if (read_number(port, &number) != NGX_OK) {
        return NGX_ERROR;
    }

    if (host->type == REDIS_REPLY_NIL) {
        rc = lines_cluster_set_address(address, NULL, 0, number);

    } else if (host->type == REDIS_REPLY_STRING) {
        rc = lines_cluster_set_address(address, (u_char *) host->str,
                                       host->len, number);

    } else {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED && ip && ip->type == REDIS_REPLY_STRING) {
        rc = lines_cluster_set_address(address, (u_char *) ip->str, ip->len,
                                       number);
    }

    /* "?" alone: it is where the one is that was asked */

    return rc == NGX_ERROR ? NGX_DECLINED : NGX_OK;
}


/* an array of: from, to, primary, replicas; each node an array of its host, its
   port and more */

ngx_int_t
lines_cluster_read_slots(lines_cluster_map_t *map, redisReply *reply)
{
    size_t                    i;
    ngx_int_t                 rc;
    redisReply               *range, *node;
    lines_cluster_address_t   address;

    ngx_memzero(map, sizeof(lines_cluster_map_t));

    if (reply->type != REDIS_REPLY_ARRAY) {
        return NGX_ERROR;
    }

    for (i = 0; i < reply->elements; i++) {
        range = reply->element[i];

        if (range->type != REDIS_REPLY_ARRAY || range->elements < 3) {
            return NGX_ERROR;
        }

        node = range->element[2];

        if (node->type != REDIS_REPLY_ARRAY || node->elements < 2) {
            return NGX_ERROR;
        }

        read_id(&address, node->elements > 2 ? node->element[2] : NULL);

        rc = read_host(&address, node->element[0],
                       node->elements > 3 ? member(node->element[3], "ip")
                                          : NULL,
                       node->element[1]);

        if (rc == NGX_ERROR
            || add_range(map, rc == NGX_OK ? &address : NULL,
                         range->element[0], range->element[1])
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return complete(map);
}


/* address: NULL, if there is none that can be used */

static ngx_int_t
add_range(lines_cluster_map_t *map, lines_cluster_address_t *address,
    redisReply *from, redisReply *to)
{
    long long   slot, last;
    ngx_uint_t  n;

    if (read_number(from, &slot) != NGX_OK
        || read_number(to, &last) != NGX_OK
        || last < slot
        || last >= LINES_CLUSTER_SLOTS)
    {
        return NGX_ERROR;
    }

    if (address == NULL) {
        map->unusable = 1;
        map->slot = slot;
        return NGX_OK;
    }

    n = find_node(map, address);

    if (n == 0) {
        return NGX_ERROR;
    }

    /* Redis 8 tells the same again and again: it is not gone through */

    if (map->owners[slot] == n && map->owners[last] == n) {
        return NGX_OK;
    }

    for ( /* void */ ; slot <= last; slot++) {
        if (map->owners[slot]) {
            return NGX_ERROR;
        }

        map->owners[slot] = n;
    }

    return NGX_OK;
}


/* which may come as a string */

static ngx_int_t
read_number(redisReply *reply, long long *number)
{
    *number = reply->type == REDIS_REPLY_INTEGER
              ? reply->integer
              : reply->type == REDIS_REPLY_STRING
              ? ngx_atoi((u_char *) reply->str, reply->len)
              : -1;

    return *number < 0 ? NGX_ERROR : NGX_OK;
}


/* from 1; 0: there is no room */

static ngx_uint_t
find_node(lines_cluster_map_t *map, lines_cluster_address_t *address)
{
    ngx_uint_t  i;

    for (i = 0; i < map->nnodes; i++) {
        if (lines_cluster_same(&map->nodes[i], address)) {
            return i + 1;
        }
    }

    if (map->nnodes == LINES_CLUSTER_NODES) {
        return 0;
    }

    map->nodes[map->nnodes++] = *address;

    return map->nnodes;
}


/* an IPv6 address has colons of its own: the port is behind the last one */

ngx_int_t
lines_cluster_read_redirection(lines_cluster_address_t *address, u_char *text,
    size_t len)
{
    u_char     *p, *host, *last;
    ngx_int_t   rc, slot, port;

    last = text + len;

    p = ngx_strlchr(text, last, ' ');
    if (p == NULL) {
        return NGX_ERROR;
    }

    p++;

    host = ngx_strlchr(p, last, ' ');
    if (host == NULL) {
        return NGX_ERROR;
    }

    slot = ngx_atoi(p, host - p);

    host++;

    for (p = last; p > host && p[-1] != ':'; p--) { /* void */ }

    if (p == host || slot < 0 || slot >= LINES_CLUSTER_SLOTS) {
        return NGX_ERROR;
    }

    port = ngx_atoi(p, last - p);

    rc = lines_cluster_set_address(address, host, p - 1 - host, port);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        address->port = 0;
    }

    return slot;
}


ngx_int_t
lines_cluster_set_address(lines_cluster_address_t *address, u_char *host,
    size_t len, long long port)
{
    size_t  i;

    if (port < 1 || port > 65535) {
        return NGX_ERROR;
    }

    address->port = port;
    address->len = 0;

    if (len == 0) {
        return NGX_OK;
    }

    if (len == 1 && host[0] == '?') {
        return NGX_DECLINED;
    }

    if (len > LINES_CLUSTER_HOST) {
        return NGX_ERROR;
    }

    for (i = 0; i < len; i++) {
        if (!lines_redis_host_char(host[i])) {
            return NGX_ERROR;
        }

        address->host[i] = ngx_tolower(host[i]);
    }

    address->len = len;

    return NGX_OK;
}


ngx_uint_t
lines_cluster_same(lines_cluster_address_t *one, lines_cluster_address_t *other)
{
    return one->port == other->port
           && one->len == other->len
           && ngx_memcmp(one->host, other->host, one->len) == 0;
}


static redisReply *
member(redisReply *pairs, const char *name)
{
    size_t  i;

    if (pairs->type != REDIS_REPLY_ARRAY) {
        return NULL;
    }

    for (i = 0; i + 1 < pairs->elements; i += 2) {
        if (is(pairs->element[i], name)) {
            return pairs->element[i + 1];
        }
    }

    return NULL;
}


static ngx_uint_t
is(redisReply *reply, const char *text)
{
    return reply->type == REDIS_REPLY_STRING
           && (size_t) reply->len == ngx_strlen(text)
           && ngx_memcmp(reply->str, text, reply->len) == 0;
}
