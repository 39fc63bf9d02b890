
/*
 * hiredis asserts that a reply was asked for, and that a subscription brings
 * messages of a certain form: an assertion on what came over the network costs
 * the worker.  Its reader makes replies through functions that may be
 * replaced; these refuse what it would not survive, which ends the connection.
 */

#include "ngx_lines_redis_connection.h"


#if (HIREDIS_MAJOR >= 1)
typedef size_t  ngx_lines_redis_elements_t;
#else
typedef int     ngx_lines_redis_elements_t;
#endif


static void *ngx_lines_redis_create_string(const redisReadTask *task,
    char *data, size_t len);
static void *ngx_lines_redis_create_array(const redisReadTask *task,
    ngx_lines_redis_elements_t n);
static void *ngx_lines_redis_create_integer(const redisReadTask *task,
    long long value);
static void *ngx_lines_redis_create_nil(const redisReadTask *task);
#if (HIREDIS_MAJOR >= 1)
static void *ngx_lines_redis_create_double(const redisReadTask *task,
    double value, char *data, size_t len);
static void *ngx_lines_redis_create_bool(const redisReadTask *task, int value);
#endif
static ngx_uint_t ngx_lines_redis_unexpected(const redisReadTask *task);


static redisReplyObjectFunctions  *ngx_lines_redis_hiredis;
static redisReplyObjectFunctions   ngx_lines_redis_functions;


void
ngx_lines_redis_guard_reader(ngx_lines_redis_connection_t *conn,
    redisReader *reader)
{
    if (ngx_lines_redis_hiredis == NULL) {
        ngx_lines_redis_hiredis = reader->fn;

        ngx_lines_redis_functions = *reader->fn;
        ngx_lines_redis_functions.createString = ngx_lines_redis_create_string;
        ngx_lines_redis_functions.createArray = ngx_lines_redis_create_array;
        ngx_lines_redis_functions.createInteger =
                                               ngx_lines_redis_create_integer;
        ngx_lines_redis_functions.createNil = ngx_lines_redis_create_nil;
#if (HIREDIS_MAJOR >= 1)
        ngx_lines_redis_functions.createDouble = ngx_lines_redis_create_double;
        ngx_lines_redis_functions.createBool = ngx_lines_redis_create_bool;
#endif
    }

    reader->fn = &ngx_lines_redis_functions;
    reader->privdata = conn;
}


static void *
ngx_lines_redis_create_string(const redisReadTask *task, char *data,
    size_t len)
{
    ngx_lines_redis_connection_t *conn = task->privdata;

    /* an error may come unasked, as when there are too many clients */

    if (task->parent == NULL && task->type != REDIS_REPLY_ERROR
        && ngx_lines_redis_unexpected(task))
    {
        return NULL;
    }

    if (conn->in_message && task->parent && task->parent->parent == NULL) {

        if ((task->idx < 2 && task->type != REDIS_REPLY_STRING)
            || (task->idx == 0
                && (len != 7 || ngx_strncmp(data, "message", 7) != 0)
                && (len != 9 || ngx_strncmp(data, "subscribe", 9) != 0)))
        {
            ngx_lines_redis_connection_cause(conn, "not a message");
            return NULL;
        }
    }

    return ngx_lines_redis_hiredis->createString(task, data, len);
}


static void *
ngx_lines_redis_create_array(const redisReadTask *task,
    ngx_lines_redis_elements_t n)
{
    ngx_lines_redis_connection_t *conn = task->privdata;

    if (task->parent == NULL) {
        conn->in_message = (conn->ac
                            && (conn->ac->c.flags & REDIS_SUBSCRIBED)
                            && conn->ac->replies.head == NULL);

        if (conn->in_message) {
            if (task->type != REDIS_REPLY_ARRAY || n != 3) {
                ngx_lines_redis_connection_cause(conn, "not a message");
                return NULL;
            }

        } else if (ngx_lines_redis_unexpected(task)) {
            return NULL;
        }

    } else if (ngx_lines_redis_unexpected(task)) {
        return NULL;
    }

    return ngx_lines_redis_hiredis->createArray(task, n);
}


static void *
ngx_lines_redis_create_integer(const redisReadTask *task, long long value)
{
    if (ngx_lines_redis_unexpected(task)) {
        return NULL;
    }

    return ngx_lines_redis_hiredis->createInteger(task, value);
}


static void *
ngx_lines_redis_create_nil(const redisReadTask *task)
{
    if (ngx_lines_redis_unexpected(task)) {
        return NULL;
    }

    return ngx_lines_redis_hiredis->createNil(task);
}


#if (HIREDIS_MAJOR >= 1)

static void *
ngx_lines_redis_create_double(const redisReadTask *task, double value,
    char *data, size_t len)
{
    if (ngx_lines_redis_unexpected(task)) {
        return NULL;
    }

    return ngx_lines_redis_hiredis->createDouble(task, value, data, len);
}


static void *
ngx_lines_redis_create_bool(const redisReadTask *task, int value)
{
    if (ngx_lines_redis_unexpected(task)) {
        return NULL;
    }

    return ngx_lines_redis_hiredis->createBool(task, value);
}

#endif


static ngx_uint_t
ngx_lines_redis_unexpected(const redisReadTask *task)
{
    ngx_lines_redis_connection_t *conn = task->privdata;

    if (task->parent) {

        /* a message's kind and channel are strings */

        if (conn->in_message && task->parent->parent == NULL
            && task->idx < 2)
        {
            ngx_lines_redis_connection_cause(conn, "not a message");
            return 1;
        }

        return 0;
    }

    conn->in_message = 0;

    if (conn->ac && conn->ac->replies.head) {
        return 0;
    }

    ngx_lines_redis_connection_cause(conn, "a reply that nobody asked for");

    return 1;
}
