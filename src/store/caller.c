
/*
 * A call on its way: what was declared is written straight into the command,
 * and its reply read into the struct that was declared.
 */

#include "store/caller.h"
#include "store/redis_op.h"
#include "store/resp.h"


/* 2^53 */
#define LINES_INT_MAX  9007199254740992LL

/* ms in which what runs in the background says once what is wrong */
#define LINES_TOLD     10000


typedef struct {
    ngx_queue_t          queue;
    lines_caller_t      *caller;
    lines_redis_op_t    *op;
    lines_store_call_t  *call;
    ngx_uint_t           how;
    lines_done_pt        done;
    void                *data;
} lines_asked_t;


static lines_redis_op_t *send_call(lines_caller_t *caller,
    lines_store_call_t *call, void *args, lines_redis_handler_pt handler,
    void *data);
static ssize_t measure(lines_store_call_t *call, const u_char *args,
    ngx_uint_t *argc, ngx_uint_t *nkeys);
static u_char *write_token(u_char *p, const lines_store_token_t *token,
    const u_char *args, ngx_str_t *each);
static lines_asked_t *ask(lines_caller_t *caller, ngx_uint_t how, void *data);
static ngx_int_t asked(lines_caller_t *caller, lines_asked_t *a);
static void forget(lines_caller_t *caller, lines_asked_t *a);
static ngx_int_t failed(lines_caller_t *caller);
static void answered(void *data, redisReply *reply);
static ngx_int_t deliver(lines_asked_t *a, redisReply *reply);
static ngx_uint_t error_level(lines_caller_t *caller,
    lines_store_call_t *call);
static void unheard(void *data, redisReply *reply);
static const lines_store_shape_t *find_shape(lines_store_call_t *call,
    redisReply *reply);
static void *read_reply(lines_caller_t *caller, lines_store_call_t *call,
    redisReply *reply);
static redisReply *element(redisReply *reply, ngx_uint_t i);
static ngx_int_t weigh(const lines_store_shape_t *shape, ngx_uint_t from,
    redisReply *reply, size_t *size);
static ngx_int_t is_string(redisReply *reply);
static void take(const lines_store_member_t *member, u_char *out,
    redisReply *reply, ngx_uint_t from, ngx_str_t **elts, u_char **text);
static void take_str(redisReply *reply, ngx_uint_t copied, ngx_str_t *value,
    u_char **text);
static ngx_int_t take_int(redisReply *reply, int64_t *value);


void
lines_caller_init(lines_caller_t *caller, lines_redis_t *redis,
    ngx_pool_t *pool, ngx_log_t *log)
{
    ngx_memzero(caller, sizeof(lines_caller_t));

    caller->redis = redis;
    caller->pool = pool;
    caller->log = log;

    ngx_queue_init(&caller->calls);
}


void
lines_caller_detach(lines_caller_t *caller)
{
    ngx_queue_t    *q;
    lines_asked_t  *a;

    while (lines_caller_busy(caller)) {
        q = ngx_queue_head(&caller->calls);
        a = ngx_queue_data(q, lines_asked_t, queue);

        ngx_queue_remove(q);
        lines_redis_detach(a->op);
        forget(caller, a);
    }
}


ngx_int_t
lines_caller_call(lines_caller_t *caller, lines_store_call_t *call, void *args,
    ngx_uint_t how, lines_done_pt done, void *data)
{
    lines_asked_t  *a;

    ngx_log_debug3(NGX_LOG_DEBUG_CORE, caller->log, 0,
                   "lines store: %V asks %V, how:%ui",
                   caller->id ? caller->id : &call->name, &call->name, how);

    if (how == LINES_CALL_FORGET) {
        return send_call(caller, call, args, unheard, NULL) ? NGX_OK
                                                            : NGX_DECLINED;
    }

    if (caller->sending) {
        caller->sending(caller, call);
    }

    a = ask(caller, how, data);
    if (a == NULL) {
        return NGX_ERROR;
    }

    a->call = call;
    a->done = done;
    a->op = send_call(caller, call, args, answered, a);

    return asked(caller, a);
}


static lines_asked_t *
ask(lines_caller_t *caller, ngx_uint_t how, void *data)
{
    lines_asked_t  *a;

    a = caller->pool ? ngx_palloc(caller->pool, sizeof(lines_asked_t))
                     : ngx_alloc(sizeof(lines_asked_t), caller->log);
    if (a == NULL) {
        return NULL;
    }

    ngx_memzero(a, sizeof(lines_asked_t));

    a->caller = caller;
    a->how = how;
    a->data = data;

    return a;
}


static ngx_int_t
asked(lines_caller_t *caller, lines_asked_t *a)
{
    ngx_uint_t  how;

    if (a->op == NULL) {
        ngx_log_debug1(NGX_LOG_DEBUG_CORE, caller->log, 0,
                       "lines store: %V: refused",
                       caller->id ? caller->id : &caller->redis->conf->name);

        how = a->how;
        forget(caller, a);

        return how == LINES_CALL_TRY ? NGX_DECLINED : failed(caller);
    }

    if (!lines_caller_busy(caller)) {
        caller->start = ngx_current_msec;
    }

    ngx_queue_insert_tail(&caller->calls, &a->queue);

    return NGX_AGAIN;
}


static void
forget(lines_caller_t *caller, lines_asked_t *a)
{
    if (caller->pool == NULL) {
        ngx_free(a);
    }
}


static ngx_int_t
failed(lines_caller_t *caller)
{
    return caller->failed ? caller->failed(caller) : NGX_ERROR;
}


static lines_redis_op_t *
send_call(lines_caller_t *caller, lines_store_call_t *call, void *args,
    lines_redis_handler_pt handler, void *data)
{
    u_char                     *p, number[NGX_INT_T_LEN];
    ssize_t                     len;
    ngx_uint_t                  i, j, argc, nkeys;
    lines_list_t               *list;
    lines_script_t             *script;
    lines_redis_op_t           *op;
    const lines_store_token_t  *token;

    if (!lines_redis_usable(caller->redis)) {
        return NULL;
    }

    len = measure(call, args, &argc, &nkeys);

    if (len < 0) {
        ngx_log_error(NGX_LOG_ALERT, caller->log, 0,
                      "lines store: %V: a key has an empty part",
                      &call->name);
        return NULL;
    }

    script = call->script;

    if (script) {
        len += 3 * LINES_RESP_OVERHEAD + sizeof("EVALSHA") - 1
               + script->sha1.len + NGX_INT_T_LEN;
    }

    op = lines_redis_op_create(caller->redis, len + LINES_RESP_OVERHEAD + 1);
    if (op == NULL) {
        return NULL;
    }

    if (script) {
        argc += 3;

        op->script = script;
        op->again = script->again;
        op->argc = argc;

        p = lines_resp_array(op->start, argc);
        p = lines_resp_string(p, (u_char *) "EVALSHA", sizeof("EVALSHA") - 1);
        p = lines_resp_string(p, script->sha1.data, script->sha1.len);

        op->tail = p - op->start;

        p = lines_resp_string(p, number,
                              ngx_sprintf(number, "%ui", nkeys) - number);

    } else {
        op->again = lines_redis_reads(&call->tokens[0].pieces[0].text);

        p = lines_resp_array(op->start, argc);
    }

    for (i = 0; i < call->ntokens; i++) {
        token = &call->tokens[i];

        if (token->list == -1) {
            p = write_token(p, token, args, NULL);
            continue;
        }

        list = (lines_list_t *) ((u_char *) args + token->list);

        for (j = 0; j < list->n; j++) {
            p = write_token(p, token, args, &list->elts[j]);
        }
    }

    /* hiredis looks one byte ahead */

    *p = '\0';
    op->len = p - op->start;

    return lines_redis_op_submit(op, handler, data);
}


#define piece_str(piece, args)  ((ngx_str_t *) (void *) (args + piece->offset))


/* an upper bound for the strings; -1: a key would have an empty part */

static ssize_t
measure(lines_store_call_t *call, const u_char *args, ngx_uint_t *argc,
    ngx_uint_t *nkeys)
{
    size_t                      len, n;
    ngx_str_t                  *s;
    ngx_uint_t                  i, j, empty;
    lines_list_t               *list;
    const lines_store_token_t  *token;
    const lines_store_piece_t  *piece;

    len = 0;
    *argc = 0;
    *nkeys = 0;

    for (i = 0; i < call->ntokens; i++) {
        token = &call->tokens[i];
        empty = 0;
        n = 1;
        list = NULL;

        if (token->list != -1) {
            list = (lines_list_t *) (void *) (args + token->list);
            n = list->n;
        }

        for (j = 0; j < token->n; j++) {
            piece = &token->pieces[j];

            len += n * piece->text.len;

            switch (piece->type) {

            case LINES_PIECE_TEXT:
            case LINES_PIECE_EACH:
                break;

            case LINES_PIECE_STR:
                s = piece_str(piece, args);
                len += n * s->len;
                empty |= (s->len == 0);
                break;

            default:
                len += n * NGX_INT64_LEN;
            }
        }

        if (list) {
            for (j = 0; j < list->n; j++) {
                len += list->elts[j].len;
                empty |= (list->elts[j].len == 0);
            }
        }

        if (empty && token->key) {
            if (!token->optional) {
                return -1;
            }

            for (j = 0; j < call->tokens[0].n; j++) {
                piece = &call->tokens[0].pieces[j];

                len += piece->text.len + NGX_INT64_LEN
                       + (piece->type == LINES_PIECE_STR
                          ? piece_str(piece, args)->len : 0);
            }
        }

        len += n * LINES_RESP_OVERHEAD;
        *argc += n;

        if (i < call->nkeys) {
            *nkeys += n;
        }
    }

    return len;
}


static u_char *
write_token(u_char *p, const lines_store_token_t *token, const u_char *args,
    ngx_str_t *each)
{
    size_t                      len;
    u_char                     *n, numbers[LINES_PIECES * NGX_INT64_LEN];
    int64_t                    *maybe;
    ngx_str_t                   parts[LINES_PIECES], *part;
    ngx_uint_t                  i;
    const lines_store_piece_t  *piece;

    len = 0;
    n = numbers;

    for (i = 0; i < token->n; i++) {
        piece = &token->pieces[i];
        part = &parts[i];

        part->data = n;

        switch (piece->type) {

        case LINES_PIECE_STR:
            *part = *piece_str(piece, args);

            if (token->optional && part->len == 0) {
                return write_token(p, token - token->optional, args, NULL);
            }

            break;

        case LINES_PIECE_EACH:
            *part = *each;
            break;

        case LINES_PIECE_INT:
            n = ngx_sprintf(n, "%L",
                            *(int64_t *) (void *) (args + piece->offset));
            part->len = n - part->data;
            break;

        case LINES_PIECE_MAYBE:
            maybe = *(int64_t **) (void *) (args + piece->offset);

            if (maybe) {
                n = ngx_sprintf(n, "%L", *maybe);
            }

            part->len = n - part->data;
            break;

        case LINES_PIECE_FLAG:
            if (*(ngx_uint_t *) (void *) (args + piece->offset)) {
                *n++ = '1';
            }

            part->len = n - part->data;
            break;

        default: /* LINES_PIECE_TEXT */
            part->len = 0;
        }

        len += piece->text.len + part->len;
    }

    p = ngx_sprintf(p, "$%uz\r\n", len);

    for (i = 0; i < token->n; i++) {
        if (token->pieces[i].text.len) {
            p = ngx_cpymem(p, token->pieces[i].text.data,
                           token->pieces[i].text.len);
        }

        if (parts[i].len) {
            p = ngx_cpymem(p, parts[i].data, parts[i].len);
        }
    }

    *p++ = '\r';
    *p++ = '\n';

    return p;
}


static void
unheard(void *data, redisReply *reply)
{
}


static void
answered(void *data, redisReply *reply)
{
    lines_asked_t   *a = data;

    ngx_int_t        rc;
    lines_caller_t  *caller;

    caller = a->caller;

    ngx_queue_remove(&a->queue);

    if (!lines_caller_busy(caller)) {
        caller->waited += ngx_current_msec - caller->start;
    }

    caller->repeated = lines_redis_repeated(caller->redis);

    if (caller->heard) {
        caller->heard(caller, a->call,
                      reply && reply->type != REDIS_REPLY_ERROR);
    }

    rc = deliver(a, reply);

    forget(caller, a);

    if (rc == NGX_OK && lines_caller_busy(caller)) {
        rc = NGX_AGAIN;
    }

    if (caller->resume) {
        caller->resume(caller, rc);
    }
}


static ngx_int_t
deliver(lines_asked_t *a, redisReply *reply)
{
    void                *out;
    ngx_int_t            rc;
    lines_caller_t      *caller;
    lines_store_call_t  *call;

    caller = a->caller;
    call = a->call;

    ngx_log_debug3(NGX_LOG_DEBUG_CORE, caller->log, 0,
                   "lines store: %V: %V answered, type:%i",
                   caller->id ? caller->id : &caller->redis->conf->name,
                   &call->name, (ngx_int_t) (reply ? reply->type : -1));

    if (reply && reply->type == REDIS_REPLY_ERROR) {
        ngx_log_error(error_level(caller, call), caller->log, 0,
                      "lines: Redis refused: %*s in %V", (size_t) reply->len,
                      reply->str, &call->name);

        reply = NULL;
    }

    out = NULL;

    if (reply) {
        out = read_reply(caller, call, reply);

        if (out && call->lost && *(ngx_uint_t *) out == call->lost
            && caller->lost)
        {
            rc = caller->lost(caller);
            goto done;
        }
    }

    if (out == NULL && a->how != LINES_CALL_TRY) {
        return failed(caller);
    }

    rc = NGX_OK;

    if (a->how == LINES_CALL_KEEP) {
        ngx_memcpy(a->data, out, call->size);

    } else if (a->done) {
        rc = call->deliver(a->done, a->data, out);
    }

done:

    if (out && caller->pool == NULL) {
        ngx_free(out);
    }

    return rc;
}


/*
 * A request says what became of it, and so does an operation.  Who has nobody
 * to tell asks several times a second, and would hear the same for ever.
 */

static ngx_uint_t
error_level(lines_caller_t *caller, lines_store_call_t *call)
{
    if (caller->failed) {
        return NGX_LOG_ERR;
    }

    if (call->told && ngx_current_msec - call->told < LINES_TOLD) {
        return NGX_LOG_DEBUG;
    }

    call->told = ngx_current_msec;

    return NGX_LOG_ERR;
}


static void *
read_reply(lines_caller_t *caller, lines_store_call_t *call, redisReply *reply)
{
    void                       *out;
    u_char                     *text;
    size_t                      size, lists;
    ngx_str_t                  *elts;
    ngx_uint_t                  i, from;
    const lines_store_shape_t  *shape;

    shape = find_shape(call, reply);
    from = (call->kind == LINES_REPLY_WORD);
    size = 0;

    if (shape == NULL
        || (call->kind != LINES_REPLY_NONE
            && weigh(shape, from, reply, &size) != NGX_OK))
    {
        ngx_log_error(error_level(caller, call), caller->log, 0,
                      "lines store: %V: the reply is not as declared, type %d",
                      &call->name, reply->type);
        return NULL;
    }

    /* the struct, the lists' elements, then the text of all */

    lists = ngx_align(call->size, sizeof(ngx_str_t *));
    size += lists;

    out = caller->pool ? ngx_palloc(caller->pool, size)
                       : ngx_alloc(size, caller->log);
    if (out == NULL) {
        return NULL;
    }

    ngx_memzero(out, lists);

    if (call->kind == LINES_REPLY_WORD) {
        *(ngx_uint_t *) out = shape - call->shapes + 1;
    }

    elts = (ngx_str_t *) ((u_char *) out + lists);
    text = (u_char *) elts;

    for (i = 0; i < shape->n; i++) {
        if (shape->members[i].type == LINES_MEMBER_LIST
            || shape->members[i].type == LINES_MEMBER_LIST_REF)
        {
            if (element(reply, from + i)) {
                text += element(reply, from + i)->elements * sizeof(ngx_str_t);
            }

        } else if (shape->members[i].type >= LINES_MEMBER_REST
                   && reply->type == REDIS_REPLY_ARRAY
                   && reply->elements > from + i)
        {
            text += (reply->elements - from - i) * sizeof(ngx_str_t);
        }
    }

    for (i = 0; i < shape->n; i++) {
        take(&shape->members[i], out, reply, from + i, &elts, &text);
    }

    return out;
}


static const lines_store_shape_t *
find_shape(lines_store_call_t *call, redisReply *reply)
{
    redisReply                 *word;
    const lines_store_shape_t  *shape, *end;

    switch (call->kind) {

    case LINES_REPLY_NONE:
        return call->shapes;

    case LINES_REPLY_ROW:
        return reply->type == REDIS_REPLY_ARRAY ? call->shapes : NULL;

    case LINES_REPLY_VALUE:
        return reply->type != REDIS_REPLY_ARRAY ? call->shapes : NULL;
    }

    word = element(reply, 0);

    if (word == NULL || !is_string(word)) {
        return NULL;
    }

    end = call->shapes + call->nshapes;

    for (shape = call->shapes; shape < end; shape++) {
        if (shape->word.len == (size_t) word->len
            && ngx_memcmp(shape->word.data, word->str, word->len) == 0)
        {
            return shape;
        }
    }

    return NULL;
}


/* a scalar is its own first element; NULL: it is absent, or nil */

static redisReply *
element(redisReply *reply, ngx_uint_t i)
{
    if (reply->type == REDIS_REPLY_ARRAY) {
        if (i >= reply->elements) {
            return NULL;
        }

        reply = reply->element[i];

    } else if (i) {
        return NULL;
    }

    return reply->type == REDIS_REPLY_NIL ? NULL : reply;
}


static ngx_int_t
is_string(redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING
           || reply->type == REDIS_REPLY_STATUS;
}


/* does it fit, and how much is there to copy */

static ngx_int_t
weigh(const lines_store_shape_t *shape, ngx_uint_t from, redisReply *reply,
    size_t *size)
{
    int64_t                      number;
    redisReply                  *e, *list;
    ngx_uint_t                   i, j, first, rest;
    const lines_store_member_t  *member;

    rest = 0;

    for (i = 0; i < shape->n; i++) {
        member = &shape->members[i];
        e = element(reply, from + i);
        list = e;
        first = 0;

        switch (member->type) {

        case LINES_MEMBER_REST:
        case LINES_MEMBER_REST_REF:
            rest = 1;
            first = from + i;
            list = reply;
            break;

        case LINES_MEMBER_LIST:
        case LINES_MEMBER_LIST_REF:
            if (e && e->type != REDIS_REPLY_ARRAY) {
                return NGX_ERROR;
            }

            break;

        default:
            if (e && !is_string(e) && e->type != REDIS_REPLY_INTEGER) {
                return NGX_ERROR;
            }

            list = NULL;
        }

        if (e == NULL && !rest) {

            /* of a row, all may be missing: nothing is there */

            if (!member->optional
                && (reply->type != REDIS_REPLY_ARRAY || reply->elements))
            {
                return NGX_ERROR;
            }

            continue;
        }

        if (list) {
            for (j = first; j < list->elements; j++) {
                e = list->element[j];

                if (e->type == REDIS_REPLY_ARRAY) {
                    return NGX_ERROR;
                }

                *size += sizeof(ngx_str_t);

                if (e->type == REDIS_REPLY_INTEGER) {
                    *size += NGX_INT64_LEN + 1;

                } else if (member->type == LINES_MEMBER_REST
                           || member->type == LINES_MEMBER_LIST)
                {
                    *size += e->len + 1;
                }
            }

            continue;
        }

        if (member->type == LINES_MEMBER_INT) {
            if (take_int(e, &number) != NGX_OK) {
                return NGX_ERROR;
            }

        } else if (e->type == REDIS_REPLY_INTEGER) {
            *size += NGX_INT64_LEN + 1;

        } else if (member->type == LINES_MEMBER_STR) {
            *size += e->len + 1;
        }
    }

    /* a word's reply, and a row, have no more than is declared */

    if (!rest && reply->type == REDIS_REPLY_ARRAY
        && reply->elements > from + shape->n)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
take(const lines_store_member_t *member, u_char *out, redisReply *reply,
    ngx_uint_t from, ngx_str_t **elts, u_char **text)
{
    redisReply    *e, *list;
    ngx_uint_t     i;
    lines_list_t  *value;

    e = element(reply, from);
    out += member->offset;

    switch (member->type) {

    case LINES_MEMBER_STR:
    case LINES_MEMBER_REF:
        if (e) {
            take_str(e, member->type == LINES_MEMBER_STR,
                     (ngx_str_t *) (void *) out, text);
        }

        return;

    case LINES_MEMBER_INT:
        if (e) {
            (void) take_int(e, (int64_t *) (void *) out);
        }

        return;

    case LINES_MEMBER_LIST:
    case LINES_MEMBER_LIST_REF:
        list = e;
        from = 0;
        break;

    default: /* LINES_MEMBER_REST, LINES_MEMBER_REST_REF */
        list = reply->type == REDIS_REPLY_ARRAY ? reply : NULL;
    }

    if (list == NULL || list->elements <= from) {
        return;
    }

    value = (lines_list_t *) (void *) out;

    value->n = list->elements - from;
    value->elts = *elts;
    *elts += value->n;

    for (i = 0; i < value->n; i++) {
        ngx_str_set(&value->elts[i], "");

        if (list->element[from + i]->type != REDIS_REPLY_NIL) {
            take_str(list->element[from + i],
                     member->type == LINES_MEMBER_LIST
                     || member->type == LINES_MEMBER_REST,
                     &value->elts[i], text);
        }
    }
}


/* what is copied ends with a zero, as hiredis' strings do */

static void
take_str(redisReply *reply, ngx_uint_t copied, ngx_str_t *value, u_char **text)
{
    if (reply->type == REDIS_REPLY_INTEGER) {
        value->data = *text;
        *text = ngx_sprintf(*text, "%L", (int64_t) reply->integer);
        value->len = *text - value->data;
        *(*text)++ = '\0';
        return;
    }

    value->len = reply->len;

    if (!copied) {
        value->data = (u_char *) reply->str;
        return;
    }

    value->data = *text;
    *text = ngx_cpymem(*text, reply->str, reply->len);
    *(*text)++ = '\0';
}


/*
 * An empty string is none: scripts say so of what is not there.  What Lua does
 * not carry to the digit is no number of ours: those can be added, and seconds
 * become milliseconds, without a look.
 */

static ngx_int_t
take_int(redisReply *reply, int64_t *value)
{
    u_char   *p, *last;
    int64_t   n;

    *value = 0;

    if (reply->type == REDIS_REPLY_INTEGER) {
        n = reply->integer;

    } else if (reply->len == 0) {
        return NGX_OK;

    } else {
        p = (u_char *) reply->str;
        last = p + reply->len;

        if (*p == '-') {
            p++;
        }

        n = ngx_atoof(p, last - p);

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (p != (u_char *) reply->str) {
            n = -n;
        }
    }

    if (n > LINES_INT_MAX || n < -LINES_INT_MAX) {
        return NGX_ERROR;
    }

    *value = n;

    return NGX_OK;
}
