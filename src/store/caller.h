
/*
 * Who asks Redis, be it a step of a request, an operation or a timer, and what
 * it asks: the calls that the generator makes of the scripts' heads and of
 * store/commands (store/calls.h; how to declare one: store/README.md).
 */

#ifndef _LINES_STORE_CALLER_H_INCLUDED_
#define _LINES_STORE_CALLER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "store/redis.h"
#include "store/script.h"


typedef struct lines_caller_s      lines_caller_t;
typedef struct lines_store_call_s  lines_store_call_t;


typedef struct {
    ngx_uint_t   n;
    ngx_str_t   *elts;
} lines_list_t;


/*
 * One who calls.  It may have several calls under way; each answer's done()
 * says how to go on:
 *
 *   NGX_OK     with what comes next, once nothing else is under way
 *   NGX_AGAIN  not yet
 *   other      the caller's own affair
 *
 * and resume(caller, rc) gets that (NGX_AGAIN where an NGX_OK has others to
 * wait for).  The caller may be gone when resume() returns.
 *
 * Where there is no reply (Redis is away, too much is under way: refused; the
 * deadline, a lost connection, an error, a reply that does not fit what is
 * declared: the outcome is unknown), failed(caller) says how to go on.
 */

struct lines_caller_s {
    lines_redis_t  *redis;
    ngx_pool_t     *pool;      /* replies are copied there; NULL: they live
                                  until done() returns */
    ngx_log_t      *log;
    ngx_str_t      *id;        /* for debug lines, or NULL */

    /* all of them may be NULL; good: a flag, Redis replied, and not an error */

    void          (*resume)(lines_caller_t *caller, ngx_int_t rc);
    ngx_int_t     (*failed)(lines_caller_t *caller);

    void          (*sending)(lines_caller_t *caller, lines_store_call_t *call);
    void          (*heard)(lines_caller_t *caller, lines_store_call_t *call,
                           ngx_uint_t good);

    /* a script's word: its fence refused it, or there was news, and what it
       was called for is not done; in done()'s place */
    ngx_int_t     (*lost)(lines_caller_t *caller);
    ngx_int_t     (*woken)(lines_caller_t *caller);

    ngx_queue_t     calls;     /* under way */
    ngx_msec_t      start;
    ngx_msec_t      waited;    /* ms in which something was under way */
    ngx_uint_t      repeated;  /* flag, in done(): the call was sent
                                  twice; the first may run yet */
    ngx_uint_t      refused;   /* flag, in done(): Redis replied an error */
};


/*
 * All functions are NULL: good for who hears of everything in done(), by the
 * calls that try, and for who only forgets.
 */
void lines_caller_init(lines_caller_t *caller, lines_redis_t *redis,
    ngx_pool_t *pool, ngx_log_t *log);

/* the caller is going: what is under way may come back unheard */
void lines_caller_detach(lines_caller_t *caller);

#define lines_caller_busy(caller)  (!ngx_queue_empty(&(caller)->calls))


/*
 * What follows is between the generated calls and store/caller.c.
 */

enum {
    LINES_PIECE_TEXT = 0,    /* nothing but its text */
    LINES_PIECE_STR,
    LINES_PIECE_INT,         /* int64_t */
    LINES_PIECE_MAYBE,       /* int64_t *: NULL is empty */
    LINES_PIECE_FLAG,        /* ngx_uint_t: "1" or empty */
    LINES_PIECE_EACH         /* of the token's list, one after another */
};

/* a text, then a member of the arguments */

typedef struct {
    ngx_str_t    text;
    ngx_uint_t   type;
    size_t       offset;
} lines_store_piece_t;

#define LINES_PIECES  6

/* one string of a command; a list's: as many as it has elements */

typedef struct {
    ngx_uint_t           n;
    ssize_t              list;        /* offset of a lines_list_t, or -1 */
    ngx_uint_t           key;         /* flag: no member of it may be empty */
    ngx_uint_t           optional;    /* an empty key is, that many tokens
                                         before, the first; 0: none may be */
    lines_store_piece_t  pieces[LINES_PIECES];
} lines_store_token_t;


enum {
    LINES_MEMBER_STR = 0,
    LINES_MEMBER_INT,
    LINES_MEMBER_LIST,       /* an array in the array */
    LINES_MEMBER_REST        /* all that follows */
};

typedef struct {
    ngx_uint_t   type;
    ngx_uint_t   ref;        /* flag: not copied, until done() returns */
    size_t       offset;
    ngx_uint_t   optional;   /* flag: may be nil, or missing */
} lines_store_member_t;


/* what may come: after its first word, or without words the only one */

typedef struct {
    ngx_str_t                    word;
    ngx_uint_t                   n;
    const lines_store_member_t  *members;
} lines_store_shape_t;


enum {
    LINES_REPLY_NONE = 0,    /* whatever */
    LINES_REPLY_WORD,        /* an array, or the word alone */
    LINES_REPLY_ROW,         /* an array; an empty one: nothing is there */
    LINES_REPLY_VALUE        /* no array, or nil */
};

/* of the type that the call has: NULL where nothing is to be done */
typedef void (*lines_done_pt)(void);

typedef ngx_int_t (*lines_next_pt)(void *data);

struct lines_store_call_s {
    ngx_str_t                    name;
    lines_script_t              *script;    /* NULL: a command */
    ngx_uint_t                   again;     /* flag: a command only reads */
    ngx_uint_t                   durable;   /* flag: replicas are waited for */
    ngx_uint_t                   limits;    /* flag: lines_redis_limits() has
                                               its keys */
    ngx_uint_t                   nkeys;     /* tokens */
    ngx_uint_t                   ntokens;
    const lines_store_token_t   *tokens;
    ngx_uint_t                   kind;
    size_t                       size;      /* of the reply's struct */
    ngx_uint_t                   nshapes;
    const lines_store_shape_t   *shapes;
    ngx_uint_t                   lost;      /* that word's number, or 0 */
    ngx_uint_t                   woken;     /* likewise */
    ngx_int_t                  (*deliver)(lines_done_pt done, void *data,
                                          void *reply);
    ngx_msec_t                   told;      /* when it was last complained of,
                                               by who has no failed() */
};

enum {
    LINES_CALL = 0,
    LINES_CALL_TRY,          /* done() hears of no reply: NULL */
    LINES_CALL_KEEP,         /* data is where the reply's struct goes */
    LINES_CALL_FORGET,       /* nobody hears */
    LINES_CALL_THEN          /* done() is a lines_next_pt */
};

/*
 * NGX_AGAIN: done is called later, once, unless the caller is detached before;
 * else what failed() said, NGX_DECLINED where it was only tried, NGX_ERROR
 * without memory.
 */

ngx_int_t lines_caller_call(lines_caller_t *caller, lines_store_call_t *call,
    void *args, ngx_uint_t how, lines_done_pt done, void *data);

/* the same for who wants nothing of the reply */
ngx_int_t lines_caller_then(lines_caller_t *caller, lines_store_call_t *call,
    void *args, lines_next_pt next, void *data);


#endif /* _LINES_STORE_CALLER_H_INCLUDED_ */
