
/*
 * What Redis sends, read by hiredis, and each reply of it as one to a call of
 * ours: the first two bytes say which call, the third in pieces of which size it
 * comes, the fourth who asked; the rest is RESP.
 */

#include <hiredis/hiredis.h>

#include "fuzz.h"
#include "store/caller.c"
#include "store/redis_reply.c"
#include "store/calls.h"


extern lines_store_call_t  *fuzz_calls[];
extern ngx_uint_t           fuzz_ncalls;


static lines_redis_t        redis;
static lines_redis_conf_t   redis_conf;


/* not asked: what would be sent is not looked at */

lines_redis_op_t *
lines_redis_op_create(lines_redis_t *redis, ngx_int_t slot, size_t size,
    ngx_uint_t durable)
{
    return NULL;
}


lines_redis_op_t *
lines_redis_op_submit(lines_redis_op_t *op, lines_redis_handler_pt handler,
    void *data)
{
    return NULL;
}


void
lines_redis_op_detach(lines_redis_op_t *op)
{
}


/* what is copied ends with a zero */

static void
fuzz_text(ngx_str_t *text, ngx_uint_t ref)
{
    fuzz_touch(text);

    if (!ref && text->data) {
        must(text->data[text->len] == '\0');
    }
}


static void
fuzz_read(lines_store_call_t *call, u_char *out)
{
    ngx_uint_t                   i, j, word;
    lines_list_t                *list;
    const lines_store_shape_t   *shape;
    const lines_store_member_t  *member;

    word = call->kind == LINES_REPLY_WORD ? *(ngx_uint_t *) (void *) out : 1;
    must(word >= 1 && word <= call->nshapes);

    shape = &call->shapes[word - 1];

    for (i = 0; i < shape->n; i++) {
        member = &shape->members[i];

        must(member->offset < call->size);

        switch (member->type) {

        case LINES_MEMBER_STR:
            fuzz_text((ngx_str_t *) (void *) (out + member->offset),
                      member->ref);
            break;

        case LINES_MEMBER_INT:
            must(llabs(*(int64_t *) (void *) (out + member->offset))
                 <= LINES_INT_MAX);
            break;

        default:
            list = (lines_list_t *) (void *) (out + member->offset);

            for (j = 0; j < list->n; j++) {
                fuzz_text(&list->elts[j], member->ref);
            }
        }
    }
}


static void *heard;

static ngx_int_t
fuzz_failed(lines_caller_t *caller)
{
    heard = caller;
    return NGX_DONE;
}


static ngx_int_t
fuzz_word(lines_caller_t *caller)
{
    heard = caller;
    return NGX_DONE;
}


static ngx_int_t
fuzz_deliver(lines_done_pt done, void *data, void *reply)
{
    must(heard == NULL);
    heard = data;

    if (reply) {
        fuzz_read(data, reply);
    }

    return NGX_OK;
}


static void
fuzz_done(void)
{
}


/* as an answer comes to who asked: who keeps it, who tries, who forgets */

static void
fuzz_answered(lines_store_call_t *call, redisReply *reply, ngx_uint_t who)
{
    u_char              *kept;
    lines_asked_t       *a;
    lines_caller_t       caller;
    fuzz_request_t       request;
    lines_store_call_t   mine;

    request = fuzz_request();
    redis.conf = &redis_conf;

    lines_caller_init(&caller, &redis, who & 1 ? request.pool : NULL,
                      request.r->connection->log);

    caller.failed = who & 2 ? fuzz_failed : NULL;
    caller.lost = who & 4 ? fuzz_word : NULL;
    caller.woken = who & 4 ? fuzz_word : NULL;

    mine = *call;
    mine.deliver = fuzz_deliver;
    kept = ngx_alloc(call->size + 1, NULL);
    heard = NULL;

    a = allocate(&caller, sizeof(lines_asked_t));
    *a = (lines_asked_t) {
        .caller = &caller, .redis = &redis, .call = &mine, .data = call,
        .done = fuzz_done,
        .how = who >> 3 & 1 ? LINES_CALL_TRY : LINES_CALL
    };

    /* what is kept outlives its reply in a pool only */

    if ((who & 0x11) == 0x11) {
        a->how = LINES_CALL_KEEP;
        a->data = kept;
        ngx_memset(kept, 0xa5, call->size);
    }

    ngx_queue_insert_tail(&caller.calls, &a->queue);

    answered(a, reply);

    must(!lines_caller_busy(&caller));

    free(kept);
    ngx_destroy_pool(request.pool);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                     rc;
    size_t                  piece, n;
    fuzz_t                  in = { data, data + size };
    void                   *reply;
    ngx_uint_t              which, who;
    redisReader            *reader;
    lines_store_call_t     *call;
    lines_redis_replies_t   replies = { 0 };

    which = fuzz_byte(&in);
    which = which << 8 | fuzz_byte(&in);
    call = fuzz_calls[which % fuzz_ncalls];

    piece = fuzz_byte(&in);
    who = fuzz_byte(&in);

    reader = lines_redis_reader(&replies);
    must(reader != NULL);

    do {
        n = in.last - in.p;
        n = piece ? ngx_min(n, piece) : n;

        if (redisReaderFeed(reader, (const char *) in.p, n) != REDIS_OK) {
            break;
        }

        in.p += n;

        do {
            reply = NULL;
            rc = redisReaderGetReply(reader, &reply);

            if (rc == REDIS_OK && reply) {
                fuzz_answered(call, reply, who);
                lines_redis_reply_done(&replies);
            }

        } while (rc == REDIS_OK && reply);

    } while (rc == REDIS_OK && in.p < in.last);

    redisReaderFree(reader);
    lines_redis_replies_free(&replies);
    fuzz_answered(call, NULL, who);
    fuzz_end();

    return 0;
}
