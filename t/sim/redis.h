
/*
 * A Redis in the process, for simulations: a keyspace in memory, the commands
 * that the scripts of src/store/scripts and src/store/commands use (and those
 * that tests look with), the scripts themselves by Lua 5.1, and a clock that
 * stands until it is set.
 *
 * What is promised: each reply is to the byte what Redis 7.0 replies, errors
 * too, but for what Redis itself leaves open, the order of a set's members and
 * SRANDMEMBER's choice (sim_redis_open() tells), and INFO.  A hash keeps the
 * order in which its fields came, as a small one of Redis' does.  Nodes of a
 * stream hold 100 entries, whatever their size (stream-node-max-bytes 0).  What
 * has expired goes when somebody asks for it, not before.
 * t/87-sim-redis.t holds it against a real one.
 *
 * Without memory the process ends.
 */

#ifndef _SIM_REDIS_H_INCLUDED_
#define _SIM_REDIS_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


typedef struct sim_redis_s  sim_redis_t;
typedef struct sim_copy_s   sim_copy_t;

/* laid out as ngx_str_t is */

typedef struct {
    size_t          len;
    unsigned char  *data;
} sim_str_t;


/* no keys, no scripts; the clock says 1970 */
sim_redis_t *sim_redis_create(void);
void sim_redis_destroy(sim_redis_t *r);

/*
 * The clock, in microseconds since 1970: of TIME, of expiry, of a stream's
 * ids.  It may go back, as Redis' may.
 */
void sim_redis_set_time(sim_redis_t *r, int64_t us);
int64_t sim_redis_time(sim_redis_t *r);

/*
 * Runs a command; scripts are loaded and run by SCRIPT LOAD, EVALSHA and EVAL.
 * It happens as a whole.  Returns the reply in RESP2, good until the next
 * call.  Strings are copied; argc is at least 1.
 */
const sim_str_t *sim_redis_command(sim_redis_t *r, size_t argc,
    const sim_str_t *argv);

/* what Redis leaves open of the reply to the last command */

#define SIM_REDIS_ORDER   1    /* the order of its elements */
#define SIM_REDIS_CHOICE  2    /* which elements they are */

unsigned sim_redis_open(sim_redis_t *r);

/*
 * A copy of all keys, which stays as it is, and the way back to it, as often as
 * wanted: a Redis that lost what it did since.  The clock and the scripts are
 * not part of it.  It costs some 10 ns a key (values are shared until they are
 * written to), and belongs to the Redis that it was taken of, which must not
 * end before it is freed.
 */
sim_copy_t *sim_redis_copy(sim_redis_t *r);
void sim_redis_restore(sim_redis_t *r, const sim_copy_t *copy);
void sim_redis_copy_free(sim_copy_t *copy);


#endif /* _SIM_REDIS_H_INCLUDED_ */
