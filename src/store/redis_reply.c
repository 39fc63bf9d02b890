
#include "store/redis.h"
#include "store/redis_reply.h"


/* most replies fit */
#define LINES_REDIS_REPLY_POOL  4096

#if (HIREDIS_MAJOR >= 1)
typedef size_t redis_elements_t;
#else
typedef int redis_elements_t;
#endif


#define redis_number(number)  redis_number_as_it_is(number)
#define redis_number_as_it_is(number)  #number

ngx_str_t  lines_redis_hiredis = ngx_string(redis_number(HIREDIS_MAJOR) "."
                                            redis_number(HIREDIS_MINOR) "."
                                            redis_number(HIREDIS_PATCH));


static void *
reply_alloc(const redisReadTask *task, size_t size)
{
    lines_redis_replies_t *replies = task->privdata;

    if (size > LINES_REDIS_REPLY_MAX - replies->size) {
        replies->excess = 1;
        return NULL;
    }

    replies->size += size;

    if (replies->pool == NULL) {
        replies->pool = ngx_create_pool(LINES_REDIS_REPLY_POOL, replies->log);

        if (replies->pool == NULL) {
            return NULL;
        }
    }

    return ngx_palloc(replies->pool, size);
}


static redisReply *
reply_create(const redisReadTask *task, int type)
{
    redisReply  *reply, *parent;

    reply = reply_alloc(task, sizeof(redisReply));

    if (reply) {
        *reply = (redisReply) { .type = type };

        if (task->parent) {
            parent = task->parent->obj;
            parent->element[task->idx] = reply;
        }
    }

    return reply;
}


/* the task's type is what the protocol says: a string may be an error */

static void *
reply_string(const redisReadTask *task, char *text, size_t len)
{
    redisReply  *reply;

    reply = reply_create(task, task->type);

    if (reply) {
        reply->len = len;
        reply->str = reply_alloc(task, len + 1);

        if (reply->str == NULL) {
            return NULL;
        }

        ngx_memcpy(reply->str, text, len);
        reply->str[len] = '\0';
    }

    return reply;
}


static void *
reply_array(const redisReadTask *task, redis_elements_t elements)
{
    lines_redis_replies_t *replies = task->privdata;

    redisReply  *reply;

    if ((size_t) elements > LINES_REDIS_ELEMENTS - replies->elements) {
        replies->excess = 1;
        return NULL;
    }

    replies->elements += elements;

    reply = reply_create(task, task->type);

    if (reply && elements) {
        reply->elements = elements;
        reply->element = reply_alloc(task, elements * sizeof(redisReply *));

        if (reply->element == NULL) {
            return NULL;
        }
    }

    return reply;
}


static void *
reply_integer(const redisReadTask *task, long long value)
{
    redisReply  *reply;

    reply = reply_create(task, REDIS_REPLY_INTEGER);

    if (reply) {
        reply->integer = value;
    }

    return reply;
}


static void *
reply_nil(const redisReadTask *task)
{
    return reply_create(task, REDIS_REPLY_NIL);
}


#if (HIREDIS_MAJOR >= 1)

/* not of the protocol that we speak: of a type that nobody takes */

static void *
reply_double(const redisReadTask *task, double value, char *text, size_t len)
{
    return reply_create(task, REDIS_REPLY_DOUBLE);
}


static void *
reply_bool(const redisReadTask *task, int value)
{
    return reply_create(task, REDIS_REPLY_BOOL);
}

#endif


/* what was not read to its end goes with its pool */

static void
reply_free(void *reply)
{
}


static redisReplyObjectFunctions  reply_functions = {
    .createString = reply_string,
    .createArray = reply_array,
    .createInteger = reply_integer,
    .createNil = reply_nil,
#if (HIREDIS_MAJOR >= 1)
    .createDouble = reply_double,
    .createBool = reply_bool,
#endif
    .freeObject = reply_free
};


redisReader *
lines_redis_reader(lines_redis_replies_t *replies)
{
    redisReader  *reader;

    reader = redisReaderCreateWithFunctions(&reply_functions);

    if (reader) {
        reader->privdata = replies;

        replies->elements = 0;
        replies->size = 0;
        replies->excess = 0;
    }

    return reader;
}


void
lines_redis_reply_done(lines_redis_replies_t *replies)
{
    replies->elements = 0;
    replies->size = 0;

    if (replies->pool == NULL) {
        return;
    }

    /* a pool keeps all its blocks: those of a long list are not for ever */

    if (replies->pool->d.next) {
        lines_redis_replies_free(replies);

    } else {
        ngx_reset_pool(replies->pool);
    }
}


ngx_pool_t *
lines_redis_reply_keep(lines_redis_replies_t *replies)
{
    ngx_pool_t  *pool;

    pool = replies->pool;
    replies->pool = NULL;

    return pool;
}


void
lines_redis_replies_free(lines_redis_replies_t *replies)
{
    if (replies->pool) {
        ngx_destroy_pool(replies->pool);
        replies->pool = NULL;
    }
}
