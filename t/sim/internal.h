
/*
 * What redis.c, command.c and script.c have in common.
 */

#ifndef _SIM_INTERNAL_H_INCLUDED_
#define _SIM_INTERNAL_H_INCLUDED_


#include <lua.h>

#include "redis.h"
#include "value.h"


typedef struct {
    char    *data;
    size_t   len;
    size_t   size;
} buffer_t;


typedef struct {
    const char  *name;       /* in small letters */
    int          arity;      /* with the name; negative: or more */
    int          noscript;
    void       (*run)(sim_redis_t *r, size_t argc, const view_t *argv);
} command_t;


#define COMMAND_SLOTS  256

struct sim_redis_s {
    map_t             keys;        /* of values */
    int64_t           time;        /* us */
    int64_t           now;         /* ms */

    buffer_t          reply;
    buffer_t          nested;      /* of a command within a script */
    buffer_t         *out;         /* one of both */
    sim_str_t         replied;
    unsigned          open;
    uint64_t          random;

    const command_t  *commands[COMMAND_SLOTS];
    view_t           *argv;        /* kept from one command to the next */
    size_t            nargv;

    lua_State        *lua;
    map_t             scripts;     /* by sha1; score: Lua's reference */
    size_t            nkeys;       /* of the script that is to run */
    int               running;     /* flag */
};


/* the last is without a name */
extern const command_t  sim_commands[];

/* NULL: there is none */
const command_t *sim_redis_find(sim_redis_t *r, view_t name);

/* writes the reply of one that is there and has as many arguments as it must */
#define sim_redis_run(r, cmd, argc, argv)  (cmd)->run(r, argc, argv)
#define sim_redis_arity(cmd, argc)                                            \
    ((cmd)->arity > 0 ? (size_t) (cmd)->arity == (argc)                       \
                      : (size_t) -(cmd)->arity <= (argc))


void reply_raw(sim_redis_t *r, const char *data, size_t len);
void reply_status(sim_redis_t *r, const char *text);
void reply_error(sim_redis_t *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void reply_int(sim_redis_t *r, int64_t n);
void reply_double(sim_redis_t *r, double d);
void reply_bulk(sim_redis_t *r, view_t v);
void reply_null(sim_redis_t *r);
void reply_array(sim_redis_t *r, size_t n);

/* as Redis takes a string for a number; 0: it is none */
int view_int(view_t v, int64_t *n);

/* the name of a command or an option, of any case; word in small letters */
int view_is(view_t v, const char *word);


void sim_script_init(sim_redis_t *r);
void sim_script_done(sim_redis_t *r);

void command_eval(sim_redis_t *r, size_t argc, const view_t *argv);
void command_evalsha(sim_redis_t *r, size_t argc, const view_t *argv);
void command_script(sim_redis_t *r, size_t argc, const view_t *argv);


#endif /* _SIM_INTERNAL_H_INCLUDED_ */
