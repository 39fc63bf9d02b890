
/*
 * Durable before told (lines_redis replicas=): the reply of a write on which
 * something hangs is kept back until replicas have the write.  WAIT counts what
 * its own connection wrote, and blocks that one: so a connection of its own
 * writes a marker after the replies of all writes that are there by then, for
 * replication is one stream, and then WAITs; whatever comes meanwhile shares
 * the next WAIT (redis.io/docs/latest/commands/wait).  With fsync=on it is
 * WAITAOF, which counts replicas that have it on their disk, of servers that
 * know it (Redis 7.2).  Internal to the store.
 */

#ifndef _LINES_STORE_REDIS_COMMIT_H_INCLUDED_
#define _LINES_STORE_REDIS_COMMIT_H_INCLUDED_


#include "store/redis_op.h"


/*
 * After the connection for commands, where replicas= is set.  told gets
 * each operation once, with its reply, which it does not free, or NULL: its
 * outcome is unknown, as it may be lost.  NULL: no memory.
 */
lines_redis_commit_t *lines_redis_commit_create(lines_redis_node_t *node,
    void (*told)(lines_redis_op_t *op, redisReply *reply));

/* whom it still holds is told first */
void lines_redis_commit_destroy(lines_redis_commit_t *commit);

/* flag: replicas had what was written last, as far as is known */
ngx_uint_t lines_redis_commit_good(lines_redis_commit_t *commit);

/* flag: it is on their disks then, if that is asked for (fsync=on) */
ngx_uint_t lines_redis_commit_synced(lines_redis_commit_t *commit);

/*
 * Takes over the operation, in the handler of its reply, and that reply, which
 * the connection for commands then does not free.
 */
void lines_redis_commit_hold(lines_redis_commit_t *commit,
    lines_redis_op_t *op, redisReply *reply);

/*
 * There is a new connection for commands: what was written on the one before may
 * have gone to another server.
 */
void lines_redis_commit_renew(lines_redis_commit_t *commit);


#endif /* _LINES_STORE_REDIS_COMMIT_H_INCLUDED_ */
