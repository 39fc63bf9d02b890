
/*
 * hiredis asserts that a reply was asked for, and that a subscription brings
 * messages of a certain form: an assertion on what came over the network costs
 * the worker.  Its reader makes replies through functions that may be
 * replaced; these refuse what it would not survive, which ends the connection.
 */

#include "store/redis_reader.h"


#if (HIREDIS_MAJOR >= 1)
typedef size_t  lines_redis_elements_t;
#else
typedef int     lines_redis_elements_t;
#endif


static void *redis_create_string(const redisReadTask *task, char *data,
    size_t len);
static void *redis_create_array(const redisReadTask *task,
    lines_redis_elements_t n);
static void *redis_create_integer(const redisReadTask *task, long long value);
static void *redis_create_nil(const redisReadTask *task);
#if (HIREDIS_MAJOR >= 1)
static void *redis_create_double(const redisReadTask *task, double value,
    char *data, size_t len);
static void *redis_create_bool(const redisReadTask *task, int value);
#endif
static ngx_uint_t redis_unexpected(const redisReadTask *task);


static redisReplyObjectFunctions  *redis_hiredis;
static redisReplyObjectFunctions   redis_functions;


void
lines_redis_guard_reader(lines_redis_connection_t *conn, redisReader *reader)
{
    if (redis_hiredis == NULL) {
        redis_hiredis = reader->fn;

        redis_functions = *reader->fn;
        redis_functions.createString = redis_create_string;
        redis_functions.createArray = redis_create_array;
        redis_functions.createInteger = redis_create_integer;
        redis_functions.createNil = redis_create_nil;
#if (HIREDIS_MAJOR >= 1)
        redis_functions.createDouble = redis_create_double;
        redis_functions.createBool = redis_create_bool;
#endif
    }

    reader->fn = &redis_functions;
    reader->privdata = conn;
}


static void *
redis_create_string(const redisReadTask *task, char *data, size_t len)
{
    lines_redis_connection_t *conn = task->privdata;

    /* an error may come unasked, as when there are too many clients */

    if (task->parent == NULL
        && task->type != REDIS_REPLY_ERROR
        && redis_unexpected(task))
    {
        return NULL;
    }

    if (conn->in_message && task->parent && task->parent->parent == NULL) {

        if ((task->idx < 2 && task->type != REDIS_REPLY_STRING)
            || (task->idx == 0
                && (len != 7 || ngx_strncmp(data, "message", 7) != 0)
                && (len != 9 || ngx_strncmp(data, "subscribe", 9) != 0)))
        {
            lines_redis_connection_cause(conn, "not a message");
            return NULL;
        }
    }

    return redis_hiredis->createString(task, data, len);
}


static void *
redis_create_array(const redisReadTask *task, lines_redis_elements_t n)
{
    lines_redis_connection_t *conn = task->privdata;

    if (task->parent == NULL) {
        conn->in_message = (conn->ac
                            && (conn->ac->c.flags & REDIS_SUBSCRIBED)
                            && conn->ac->replies.head == NULL);

        if (conn->in_message) {
            if (task->type != REDIS_REPLY_ARRAY || n != 3) {
                lines_redis_connection_cause(conn, "not a message");
                return NULL;
            }

        } else if (redis_unexpected(task)) {
            return NULL;
        }

    } else if (redis_unexpected(task)) {
        return NULL;
    }

    return redis_hiredis->createArray(task, n);
}


static void *
redis_create_integer(const redisReadTask *task, long long value)
{
    if (redis_unexpected(task)) {
        return NULL;
    }

    return redis_hiredis->createInteger(task, value);
}


static void *
redis_create_nil(const redisReadTask *task)
{
    if (redis_unexpected(task)) {
        return NULL;
    }

    return redis_hiredis->createNil(task);
}


#if (HIREDIS_MAJOR >= 1)

static void *
redis_create_double(const redisReadTask *task, double value, char *data,
    size_t len)
{
    if (redis_unexpected(task)) {
        return NULL;
    }

    return redis_hiredis->createDouble(task, value, data, len);
}


static void *
redis_create_bool(const redisReadTask *task, int value)
{
    if (redis_unexpected(task)) {
        return NULL;
    }

    return redis_hiredis->createBool(task, value);
}

#endif


static ngx_uint_t
redis_unexpected(const redisReadTask *task)
{
    lines_redis_connection_t *conn = task->privdata;

    if (task->parent) {

        /* a message's kind and channel are strings */

        if (conn->in_message && task->parent->parent == NULL && task->idx < 2)
        {
            lines_redis_connection_cause(conn, "not a message");
            return 1;
        }

        return 0;
    }

    conn->in_message = 0;

    if (conn->ac && conn->ac->replies.head) {
        return 0;
    }

    lines_redis_connection_cause(conn, "a reply that nobody asked for");

    return 1;
}
