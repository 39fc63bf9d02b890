
/*
 * A call on its way: what was declared is written straight into the command,
 * and its reply read into the struct that was declared, both in two passes: how
 * much it is, then into memory of that size.
 */

#include "store/caller.h"
#include "store/cluster_slot.h"
#include "store/redis_op.h"


/* 2^53 */
#define LINES_INT_MAX  9007199254740992LL

/*
 * While a slot moves, a node of a cluster runs a script as long as all its keys
 * are there, and says of each that it does not find that it is elsewhere: a
 * script that touches one which it has removed itself would break off, half
 * done.  So each names one that is never there, and is not begun meanwhile.
 */
#define LINES_ABSENT   ":absent"

/* ms in which what runs in the background says once what is wrong */
#define LINES_TOLD     10000


typedef struct {
    ngx_queue_t          queue;
    lines_caller_t      *caller;
    lines_redis_t       *redis;
    lines_redis_op_t    *op;
    lines_store_call_t  *call;
    ngx_uint_t           how;
    lines_done_pt        done;
    void                *data;
} lines_asked_t;


typedef struct {
    u_char      *p;        /* NULL in the first pass */
    size_t       len;      /* an upper bound */
    ngx_uint_t   argc;
    ngx_uint_t   nkeys;
    ngx_int_t    slot;     /* of the first key, of a cluster */
    ngx_uint_t   hash;     /* flag: it is asked for */
    ngx_uint_t   absent;   /* flag: a key is added that is not there */
    size_t       first;    /* the first key's length, */
    u_char      *key;      /* and where it is; NULL in the first pass */
} lines_writing_t;


typedef struct {
    u_char      *out;      /* NULL in the first pass */
    ngx_str_t   *elts;     /* the lists' elements follow the struct */
    u_char      *text;     /* and the text of all these */
    size_t       nelts;
    size_t       size;     /* of the text */
} lines_reading_t;


static void *allocate(lines_caller_t *caller, size_t size);
static void release(lines_caller_t *caller, void *p);
static ngx_int_t failed(lines_caller_t *caller);

static lines_redis_t *store_of(lines_caller_t *caller,
    lines_store_call_t *call);
static lines_redis_op_t *send_call(lines_caller_t *caller,
    lines_store_call_t *call, void *args, lines_redis_handler_pt handler,
    void *data);
static ngx_int_t write_tokens(lines_writing_t *w, lines_store_call_t *call,
    u_char *args);
static ngx_int_t write_token(lines_writing_t *w,
    const lines_store_token_t *token, u_char *args, ngx_str_t *each);
static void write_absent(lines_writing_t *w);
static u_char *write_number(u_char *p, size_t n);
static u_char *write_head(u_char *p, u_char type, size_t n);
static u_char *write_string(u_char *p, u_char *text, size_t len);

static void unheard(void *data, redisReply *reply);
static void answered(void *data, redisReply *reply);
static ngx_uint_t error_level(lines_caller_t *caller,
    lines_store_call_t *call);
static void *read_reply(lines_caller_t *caller, lines_store_call_t *call,
    redisReply *reply);
static const lines_store_shape_t *find_shape(lines_store_call_t *call,
    redisReply *reply);
static redisReply *element(redisReply *reply, ngx_uint_t i);
static ngx_int_t is_string(redisReply *reply);
static ngx_int_t read_shape(lines_reading_t *rd, lines_store_call_t *call,
    const lines_store_shape_t *shape, redisReply *reply);
static ngx_int_t read_member(lines_reading_t *rd,
    const lines_store_member_t *member, redisReply *reply, ngx_uint_t i);
static ngx_int_t read_str(lines_reading_t *rd, redisReply *reply,
    ngx_uint_t ref, ngx_str_t *value);
static ngx_int_t read_int(redisReply *reply, int64_t *value);


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
        release(caller, a);
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

    a = allocate(caller, sizeof(lines_asked_t));
    if (a == NULL) {
        return NGX_ERROR;
    }

    *a = (lines_asked_t) {
        .caller = caller, .redis = store_of(caller, call), .call = call,
        .how = how, .done = done, .data = data
    };

    a->op = send_call(caller, call, args, answered, a);

    if (a->op == NULL) {
        ngx_log_debug1(NGX_LOG_DEBUG_CORE, caller->log, 0,
                       "lines store: %V: refused",
                       caller->id ? caller->id : &a->redis->conf->name);

        release(caller, a);

        return how == LINES_CALL_TRY ? NGX_DECLINED : failed(caller);
    }

    if (!lines_caller_busy(caller)) {
        caller->start = ngx_current_msec;
    }

    ngx_queue_insert_tail(&caller->calls, &a->queue);

    return NGX_AGAIN;
}


ngx_int_t
lines_caller_then(lines_caller_t *caller, lines_store_call_t *call, void *args,
    lines_next_pt next, void *data)
{
    return lines_caller_call(caller, call, args, LINES_CALL_THEN,
                             (lines_done_pt) next, data);
}


static void *
allocate(lines_caller_t *caller, size_t size)
{
    return caller->pool ? ngx_palloc(caller->pool, size)
                        : ngx_alloc(size, caller->log);
}


static void
release(lines_caller_t *caller, void *p)
{
    if (caller->pool == NULL) {
        ngx_free(p);
    }
}


static ngx_int_t
failed(lines_caller_t *caller)
{
    return caller->failed ? caller->failed(caller) : NGX_ERROR;
}


static lines_redis_t *
store_of(lines_caller_t *caller, lines_store_call_t *call)
{
    return (call->limits && caller->redis->limits) ? caller->redis->limits
                                                   : caller->redis;
}


static lines_redis_op_t *
send_call(lines_caller_t *caller, lines_store_call_t *call, void *args,
    lines_redis_handler_pt handler, void *data)
{
    u_char             digits[NGX_SIZE_T_LEN];
    lines_redis_t     *redis;
    lines_script_t    *script;
    lines_writing_t    w;
    lines_redis_op_t  *op;

    ngx_memzero(&w, sizeof(lines_writing_t));

    redis = store_of(caller, call);

    w.slot = LINES_CLUSTER_ANY;
    w.hash = (redis->cluster != NULL);
    w.absent = w.hash && call->script;

    if (write_tokens(&w, call, args) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, caller->log, 0,
                      "lines store: %V: a key has an empty part",
                      &call->name);
        return NULL;
    }

    script = call->script;

    if (script) {
        w.argc += 3;
        w.len += 3 * LINES_REDIS_STRING + sizeof("EVALSHA") - 1
                 + script->sha1.len + NGX_INT_T_LEN;
    }

    op = lines_redis_op_create(redis, w.slot, w.len + LINES_REDIS_STRING,
                               call->durable);
    if (op == NULL) {
        return NULL;
    }

    op->script = script;
    op->argc = w.argc;
    op->again = script ? script->again : call->again;

    w.p = write_head(op->start, '*', w.argc);

    if (script) {
        w.p = write_string(w.p, (u_char *) "EVALSHA", 7);
        w.p = write_string(w.p, script->sha1.data, script->sha1.len);

        op->tail = w.p - op->start;

        w.p = write_string(w.p, digits,
                           write_number(digits, w.nkeys) - digits);
    }

    (void) write_tokens(&w, call, args);

    op->len = w.p - op->start;

    return lines_redis_op_submit(op, handler, data);
}


/* NGX_ERROR: a key would have an empty part */

static ngx_int_t
write_tokens(lines_writing_t *w, lines_store_call_t *call, u_char *args)
{
    ngx_uint_t                  i, j, n;
    lines_list_t               *list;
    const lines_store_token_t  *token;

    for (i = 0; i < call->ntokens; i++) {
        token = &call->tokens[i];
        list = NULL;
        n = 1;

        if (token->list != -1) {
            list = (lines_list_t *) (void *) (args + token->list);
            n = list->n;
        }

        for (j = 0; j < n; j++) {
            if (write_token(w, token, args, list ? &list->elts[j] : NULL)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

        if (i < call->nkeys) {
            w->nkeys += n;

            /* a script counts what it has a list of, and only reads those */

            w->absent = w->absent && list == NULL;

            if (w->absent && i == call->nkeys - 1) {
                write_absent(w);
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
write_token(lines_writing_t *w, const lines_store_token_t *token, u_char *args,
    ngx_str_t *each)
{
    size_t                      len;
    void                       *member;
    u_char                     *n, numbers[LINES_PIECES * NGX_INT64_LEN];
    ngx_str_t                   parts[LINES_PIECES * 2], *part;
    ngx_uint_t                  i;
    lines_cluster_key_t         key;
    const lines_store_piece_t  *piece;

    len = 0;
    n = numbers;

    for (i = 0; i < token->n; i++) {
        piece = &token->pieces[i];

        parts[2 * i] = piece->text;
        part = &parts[2 * i + 1];

        member = args ? args + piece->offset : NULL;
        part->data = n;

        switch (piece->type) {

        case LINES_PIECE_STR:
            *part = *(ngx_str_t *) member;
            break;

        case LINES_PIECE_EACH:
            *part = *each;
            break;

        case LINES_PIECE_INT:
            n = ngx_sprintf(n, "%L", *(int64_t *) member);
            break;

        case LINES_PIECE_MAYBE:
            if (*(int64_t **) member) {
                n = ngx_sprintf(n, "%L", **(int64_t **) member);
            }

            break;

        case LINES_PIECE_FLAG:
            if (*(ngx_uint_t *) member) {
                *n++ = '1';
            }
        }

        if (piece->type != LINES_PIECE_STR && piece->type != LINES_PIECE_EACH)
        {
            part->len = n - part->data;

        } else if (part->len == 0 && token->key) {
            return token->optional
                   ? write_token(w, token - token->optional, args, NULL)
                   : NGX_ERROR;
        }

        len += piece->text.len + part->len;
    }

    w->len += LINES_REDIS_STRING + len;
    w->first = w->first ? w->first : len;

    if (w->p == NULL) {
        w->argc++;

        if (w->hash && token->key && w->slot == LINES_CLUSTER_ANY) {
            ngx_memzero(&key, sizeof(lines_cluster_key_t));

            for (i = 0; i < token->n * 2; i++) {
                lines_cluster_key_add(&key, &parts[i]);
            }

            w->slot = lines_cluster_key_slot(&key);
        }

        return NGX_OK;
    }

    w->p = write_head(w->p, '$', len);
    w->key = w->key ? w->key : w->p;

    for (i = 0; i < token->n * 2; i++) {
        if (parts[i].len) {
            w->p = ngx_cpymem(w->p, parts[i].data, parts[i].len);
        }
    }

    *w->p++ = CR;
    *w->p++ = LF;

    return NGX_OK;
}


/* of the first key what its hash tag ends with */

static void
write_absent(lines_writing_t *w)
{
    size_t   len;
    u_char  *last;

    w->nkeys++;
    w->len += LINES_REDIS_STRING + w->first + sizeof(LINES_ABSENT) - 1;

    if (w->p == NULL) {
        w->argc++;
        return;
    }

    last = ngx_strlchr(w->key, w->key + w->first, '}');
    len = (last ? (size_t) (last - w->key) + 1 : w->first);

    w->p = write_head(w->p, '$', len + sizeof(LINES_ABSENT) - 1);
    w->p = ngx_cpymem(w->p, w->key, len);
    w->p = ngx_cpymem(w->p, LINES_ABSENT CRLF, sizeof(LINES_ABSENT CRLF) - 1);
}


/* what ngx_sprintf() would do, for each part of each command */

static u_char *
write_number(u_char *p, size_t n)
{
    u_char  digits[NGX_SIZE_T_LEN], *d;

    d = digits + sizeof(digits);

    do {
        *--d = (u_char) (n % 10 + '0');
        n /= 10;
    } while (n);

    return ngx_cpymem(p, d, digits + sizeof(digits) - d);
}


static u_char *
write_head(u_char *p, u_char type, size_t n)
{
    *p++ = type;
    p = write_number(p, n);
    *p++ = CR;
    *p++ = LF;

    return p;
}


static u_char *
write_string(u_char *p, u_char *text, size_t len)
{
    p = write_head(p, '$', len);

    if (len) {
        p = ngx_cpymem(p, text, len);
    }

    *p++ = CR;
    *p++ = LF;

    return p;
}


static void
unheard(void *data, redisReply *reply)
{
}


static void
answered(void *data, redisReply *reply)
{
    lines_asked_t       *a = data;

    void                *out;
    ngx_int_t            rc;
    ngx_uint_t           level, word;
    lines_caller_t      *caller;
    lines_store_call_t  *call;

    caller = a->caller;
    call = a->call;

    ngx_queue_remove(&a->queue);

    if (!lines_caller_busy(caller)) {
        caller->waited += ngx_current_msec - caller->start;
    }

    caller->repeated = a->redis->repeated;
    caller->refused = (reply && reply->type == REDIS_REPLY_ERROR);

    if (caller->heard) {
        caller->heard(caller, call, reply && !caller->refused);
    }

    ngx_log_debug3(NGX_LOG_DEBUG_CORE, caller->log, 0,
                   "lines store: %V: %V answered, type:%i",
                   caller->id ? caller->id : &a->redis->conf->name,
                   &call->name, (ngx_int_t) (reply ? reply->type : -1));

    if (caller->refused) {
        level = error_level(caller, call);

        ngx_log_error(level, caller->log, 0,
                      "lines: Redis refused: %*s in %V", (size_t) reply->len,
                      reply->str, &call->name);

        reply = NULL;
    }

    out = reply ? read_reply(caller, call, reply) : NULL;
    word = out && call->kind == LINES_REPLY_WORD ? *(ngx_uint_t *) out : 0;
    rc = NGX_OK;

    if (word && word == call->lost && caller->lost) {
        rc = caller->lost(caller);

    } else if (word && word == call->woken && caller->woken) {
        rc = caller->woken(caller);

    } else if (out == NULL && a->how != LINES_CALL_TRY) {
        rc = failed(caller);

    } else if (a->how == LINES_CALL_KEEP) {
        ngx_memcpy(a->data, out, call->size);

    } else if (a->how == LINES_CALL_THEN) {
        rc = ((lines_next_pt) a->done)(a->data);

    } else if (a->done) {
        rc = call->deliver(a->done, a->data, out);
    }

    if (out) {
        release(caller, out);
    }

    release(caller, a);

    if (rc == NGX_OK && lines_caller_busy(caller)) {
        rc = NGX_AGAIN;
    }

    if (caller->resume) {
        caller->resume(caller, rc);
    }
}


/*
 * A request says what became of it, and so does an operation.  Who has nobody
 * to tell asks several times a second, and would hear the same for ever.  Kept
 * in a variable: ngx_log_error() is a macro and would ask twice.
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
    size_t                      lists;
    ngx_uint_t                  level;
    lines_reading_t             rd;
    const lines_store_shape_t  *shape;

    ngx_memzero(&rd, sizeof(lines_reading_t));

    shape = find_shape(call, reply);

    if (shape == NULL || read_shape(&rd, call, shape, reply) != NGX_OK) {
        level = error_level(caller, call);

        ngx_log_error(level, caller->log, 0,
                      "lines store: %V: the reply is not as declared, type %d",
                      &call->name, reply->type);
        return NULL;
    }

    lists = ngx_align(call->size, sizeof(ngx_str_t *));

    rd.out = allocate(caller,
                      lists + rd.nelts * sizeof(ngx_str_t) + rd.size);
    if (rd.out == NULL) {
        return NULL;
    }

    ngx_memzero(rd.out, lists);

    rd.elts = (ngx_str_t *) (void *) (rd.out + lists);
    rd.text = (u_char *) (rd.elts + rd.nelts);

    if (call->kind == LINES_REPLY_WORD) {
        *(ngx_uint_t *) (void *) rd.out = shape - call->shapes + 1;
    }

    (void) read_shape(&rd, call, shape, reply);

    return rd.out;
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


/* NGX_ERROR: it does not fit */

static ngx_int_t
read_shape(lines_reading_t *rd, lines_store_call_t *call,
    const lines_store_shape_t *shape, redisReply *reply)
{
    ngx_uint_t  i, from;

    from = (call->kind == LINES_REPLY_WORD);

    for (i = 0; i < shape->n; i++) {
        if (read_member(rd, &shape->members[i], reply, from + i) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    /* a word's reply, and a row, have no more than is declared */

    return (call->kind != LINES_REPLY_NONE
            && reply->type == REDIS_REPLY_ARRAY
            && reply->elements > from + i
            && (i == 0 || shape->members[i - 1].type != LINES_MEMBER_REST))
           ? NGX_ERROR
           : NGX_OK;
}


static ngx_int_t
read_member(lines_reading_t *rd, const lines_store_member_t *member,
    redisReply *reply, ngx_uint_t i)
{
    void          *value;
    int64_t        number;
    redisReply    *e, *list;
    ngx_uint_t     j, n;
    lines_list_t  *out;

    e = element(reply, i);
    value = rd->out ? rd->out + member->offset : NULL;

    if (member->type == LINES_MEMBER_REST) {
        list = reply;

    } else if (e == NULL) {

        /* of a row, all may be missing: nothing is there */

        return (member->optional
                || (reply->type == REDIS_REPLY_ARRAY && reply->elements == 0))
               ? NGX_OK
               : NGX_ERROR;

    } else if (member->type == LINES_MEMBER_INT) {
        return read_int(e, value ? value : &number);

    } else if (member->type == LINES_MEMBER_STR) {
        return read_str(rd, e, member->ref, value);

    } else if (e->type != REDIS_REPLY_ARRAY) {
        return NGX_ERROR;

    } else {
        list = e;
        i = 0;
    }

    out = value;
    n = list->elements - ngx_min(i, list->elements);
    rd->nelts += n;

    if (n && value) {
        out->n = n;
        out->elts = rd->elts;
        rd->elts += n;
    }

    for (j = 0; j < n; j++) {
        if (read_str(rd, list->element[i + j], member->ref,
                     value ? &out->elts[j] : NULL)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* what is copied ends with a zero, as hiredis' strings do; value or NULL */

static ngx_int_t
read_str(lines_reading_t *rd, redisReply *reply, ngx_uint_t ref,
    ngx_str_t *value)
{
    u_char     number[NGX_INT64_LEN];
    ngx_str_t  text;

    if (reply->type == REDIS_REPLY_INTEGER) {
        text.data = number;
        text.len = ngx_sprintf(number, "%L", (int64_t) reply->integer)
                   - number;
        ref = 0;

    } else if (reply->type == REDIS_REPLY_NIL) {
        ngx_str_set(&text, "");
        ref = 1;

    } else if (is_string(reply)) {
        text.data = (u_char *) reply->str;
        text.len = reply->len;

    } else {
        return NGX_ERROR;
    }

    if (!ref) {
        rd->size += text.len + 1;
    }

    if (value) {
        *value = text;

        if (!ref) {
            value->data = rd->text;
            rd->text = ngx_cpymem(rd->text, text.data, text.len);
            *rd->text++ = '\0';
        }
    }

    return NGX_OK;
}


/*
 * An empty string is none: scripts say so of what is not there.  What Lua does
 * not carry to the digit is no number of ours: those can be added, and seconds
 * become milliseconds, without a look.
 */

static ngx_int_t
read_int(redisReply *reply, int64_t *value)
{
    int64_t     n;
    ngx_uint_t  negative;

    n = reply->integer;

    if (is_string(reply)) {
        negative = (reply->str[0] == '-');
        n = reply->len ? ngx_atoof((u_char *) reply->str + negative,
                                   reply->len - negative)
                       : 0;

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (negative) {
            n = -n;
        }

    } else if (reply->type != REDIS_REPLY_INTEGER) {
        return NGX_ERROR;
    }

    if (n > LINES_INT_MAX || n < -LINES_INT_MAX) {
        return NGX_ERROR;
    }

    *value = n;

    return NGX_OK;
}
