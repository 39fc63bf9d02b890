
/*
 * What t/00-generator.t declares, sent and answered without a Redis.
 */

#include "store/calls.h"
#include "store/redis_op.h"


static lines_redis_op_t         op;
static lines_redis_handler_pt   handler;
static void                    *handler_data;
static ngx_int_t                to;
static ngx_uint_t               usable = 1;
static ngx_uint_t               tests, logged;
static ngx_int_t                resumed, told;
static void                    *seen;
static u_char                   command[4096];

volatile ngx_msec_t             ngx_current_msec;

static ngx_pool_t               pool;
static void                    *allocated[1024];
static ngx_uint_t               nallocated;

lines_script_t  lines_script_begin = { ngx_string("begin"),
                                       ngx_string(""), ngx_string("sha"), 0 };
lines_script_t  lines_script_page, lines_script_count;


/* of nginx, what is needed; memory is malloc's, so that sanitizers see it */

static u_char *
format(u_char *p, const char *fmt, va_list args)
{
    ngx_str_t  *s;

    for ( /* void */ ; *fmt; fmt++) {

        if (*fmt != '%') {
            *p++ = *fmt;
            continue;
        }

        switch (*++fmt) {

        case 'V':
            s = va_arg(args, ngx_str_t *);
            p = s->len ? ngx_cpymem(p, s->data, s->len) : p;
            break;

        case 'L':
            p += sprintf((char *) p, "%lld", (long long) va_arg(args, int64_t));
            break;

        case 'u':
            fmt++;
            p += sprintf((char *) p, "%zu", va_arg(args, size_t));
            break;
        }
    }

    return p;
}

u_char * ngx_cdecl
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    u_char   *p, out[256];
    va_list   args;

    va_start(args, fmt);
    p = format(out, fmt, args);
    va_end(args);

    return ngx_cpymem(buf, out, p - out);
}

off_t
ngx_atoof(u_char *line, size_t n)
{
    off_t  value;

    if (n == 0) {
        return NGX_ERROR;
    }

    for (value = 0; n--; line++) {
        if (*line < '0' || *line > '9') {
            return NGX_ERROR;
        }

        value = value * 10 + *line - '0';
    }

    return value;
}

void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    return malloc(size);
}

void *
ngx_palloc(ngx_pool_t *unused, size_t size)
{
    return allocated[nallocated++] = malloc(size);
}


/* what the store has besides */

void ngx_cdecl
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    /* as nginx does once more */

    if (level <= log->log_level) {
        logged++;
    }
}

void lines_redis_detach(lines_redis_op_t *o) { handler = NULL; }

ngx_int_t
lines_redis_format(ngx_pool_t *pool, ngx_str_t *value, const char *fmt, ...)
{
    va_list  args;

    value->data = ngx_palloc(pool, 256);

    va_start(args, fmt);
    value->len = format(value->data, fmt, args) - value->data;
    va_end(args);

    return NGX_OK;
}

lines_redis_op_t *
lines_redis_op_create(lines_redis_t *redis, ngx_int_t slot, size_t len,
    ngx_uint_t durable)
{
    static u_char  *room;

    if (!usable) {
        return NULL;
    }

    /* of that very size, for the sanitizer */

    free(room);
    room = malloc(len);

    ngx_memzero(&op, sizeof(lines_redis_op_t));
    op.start = room;
    to = slot;

    return &op;
}

lines_redis_op_t *
lines_redis_op_submit(lines_redis_op_t *o, lines_redis_handler_pt h, void *d)
{
    handler = h;
    handler_data = d;

    ngx_memcpy(command, o->start, o->len);
    command[o->len] = '\0';

    return o;
}


static void
ok(ngx_uint_t good, const char *what)
{
    printf("%s %u - %s\n", good ? "ok" : "not ok", (unsigned) ++tests, what);
}

/* "$3\r\nSET\r\n" as " SET" */

static void
sent(const char *expected, const char *what)
{
    int      n;
    u_char   out[4096], *p, *o;
    size_t   len;

    o = out;
    n = 0;

    for (p = (u_char *) strchr((char *) command, '$'); p && *p == '$'; ) {
        len = atoi((char *) p + 1);
        p = (u_char *) strchr((char *) p, '\n') + 1;
        *o++ = ' ';
        o = ngx_cpymem(o, p, len);
        p += len + 2;
        n++;
    }

    *o = '\0';

    ok(p && *p == '\0' && command[0] == '*'
       && atoi((char *) command + 1) == n
       && strcmp((char *) out, expected) == 0, what);

    if (strcmp((char *) out, expected) != 0) {
        printf("# %s\n", out);
    }
}


/* replies: i123, sTEXT, n, [ … ] */

static redisReply *
parse(const char **p)
{
    const char  *end;
    redisReply  *r;

    r = calloc(1, sizeof(redisReply));

    while (**p == ' ') {
        (*p)++;
    }

    switch (*(*p)++) {

    case 'i':
        r->type = REDIS_REPLY_INTEGER;
        r->integer = strtoll(*p, (char **) p, 10);
        break;

    case 'n':
        r->type = REDIS_REPLY_NIL;
        break;

    case 'e':
    case 's':
        r->type = (*p)[-1] == 'e' ? REDIS_REPLY_ERROR : REDIS_REPLY_STRING;
        end = *p + strcspn(*p, " ");
        r->len = end - *p;
        r->str = strndup(*p, r->len);
        *p = end;
        break;

    case '[':
        r->type = REDIS_REPLY_ARRAY;
        r->element = calloc(16, sizeof(redisReply *));

        while ((*p)[strspn(*p, " ")] != ']') {
            r->element[r->elements++] = parse(p);
        }

        *p += strspn(*p, " ") + 1;
        break;
    }

    return r;
}

static void
drop(redisReply *r)
{
    size_t  i;

    for (i = 0; i < r->elements; i++) {
        drop(r->element[i]);
    }

    free(r->element);
    free(r->str);
    free(r);
}

static void
answer(const char *text)
{
    redisReply              *reply;
    lines_redis_handler_pt   h;

    h = handler;
    handler = NULL;
    resumed = told = 100;
    seen = NULL;

    reply = text ? parse(&text) : NULL;
    h(handler_data, reply);

    if (reply) {
        drop(reply);
    }
}


static void on_resume(lines_caller_t *c, ngx_int_t rc) { resumed = rc; }
static ngx_int_t on_failed(lines_caller_t *c) { told = 1; return NGX_BUSY; }
static ngx_int_t on_lost(lines_caller_t *c) { told = 2; return NGX_DONE; }

#define DONE(name)                                                            \
    static ngx_int_t                                                          \
    name##_done(void *data, lines_##name##_reply_t *reply)                    \
    {                                                                         \
        ok(data == &tests, #name ": the data are the caller's");              \
        seen = reply;                                                         \
        told = 3;                                                             \
        return NGX_OK;                                                        \
    }

DONE(begin)
DONE(page)
DONE(count)
DONE(who)
DONE(get)

static ngx_int_t
next_done(void *data)
{
    ok(data == &tests, "then: the data are the caller's");
    told = 5;
    return NGX_DONE;
}

#define is(s, text)                                                           \
    ((s).len == sizeof(text) - 1 && memcmp((s).data, text, (s).len) == 0)


int
main(void)
{
    int64_t               most;
    ngx_log_t             log;
    ngx_str_t             key, ids[2], fields[2];
    lines_redis_t         redis;
    lines_caller_t        caller;
    lines_page_args_t     page;
    lines_begin_args_t    begin;
    lines_begin_reply_t  *b;
    lines_page_reply_t   *p;

    static lines_redis_conf_t  conf;

    ngx_memzero(&log, sizeof(log));
    ngx_memzero(&redis, sizeof(redis));
    redis.conf = &conf;

    lines_caller_init(&caller, &redis, &pool, &log);
    caller.resume = on_resume;
    caller.failed = on_failed;
    caller.lost = on_lost;

    ngx_str_set(&ids[0], "x");
    ngx_str_set(&ids[1], "y");
    ngx_str_set(&fields[0], "f");
    ngx_str_set(&fields[1], "");

    ngx_memzero(&begin, sizeof(begin));
    ngx_str_set(&begin.tenant, "w:1");
    ngx_str_set(&begin.id, "i");
    begin.now = -5;
    begin.fields.n = 2;
    begin.fields.elts = fields;

    ok(lines_key_line(&pool, &key, &begin.tenant, &begin.id) == NGX_OK
       && is(key, "lines:{w:1}:line:i"), "a key");

    ok(lines_send_begin(&caller, LINES_CALL, &begin, begin_done, &tests) == NGX_AGAIN, "begin");
    ok(to == LINES_CLUSTER_ANY, "it has one server, which has all keys");
    sent(" EVALSHA sha 3 lines:{w:1}:t lines:{w:1}:line:i lines:{w:1}:t"
         " -5   w:1 i f ", "a key that is not there is the first; the rest is "
         "empty");

    answer("[ sdone s17 n sa sbc i9 ]");
    b = seen;
    ok(told == 3 && resumed == NGX_OK && b->is == LINES_BEGIN_DONE, "a word");
    ok(b->number == 17 && b->document.data == NULL, "a number, and nil");
    ok(b->rest.n == 3 && is(b->rest.elts[1], "bc") && is(b->rest.elts[2], "9")
       && b->rest.elts[1].data[2] == '\0', "all that follows");

    lines_send_begin(&caller, LINES_CALL, &begin, begin_done, &tests);
    answer("[ sdone s-9007199254740992 n n n ]");
    b = seen;
    ok(b && b->number == -9007199254740992 && b->rest.n == 2
       && b->rest.elts[1].data, "the least number; nil is empty there, too");

    most = 3;
    begin.most = &most;
    begin.told = 1;
    ngx_str_set(&begin.idem_key, "{w:1}i");
    begin.fields.n = 0;

    redis.cluster = (lines_cluster_t *) &conf;
    lines_send_begin(&caller, LINES_CALL, &begin, begin_done, &tests);
    redis.cluster = NULL;
    ok(to == 4532, "of a cluster: who has the slot of its keys");
    sent(" EVALSHA sha 4 lines:{w:1}:t lines:{w:1}:line:i {w:1}i"
         " lines:{w:1}:absent -5 3 1 w:1 i", "... and a key that is not there");
    answer("slate");

    lines_send_begin(&caller, LINES_CALL, &begin, begin_done, &tests);
    sent(" EVALSHA sha 3 lines:{w:1}:t lines:{w:1}:line:i {w:1}i -5 3 1 w:1 i",
         "all is there");
    answer("slate");
    b = seen;
    ok(told == 3 && b->is == LINES_BEGIN_LATE, "a word alone");

#define wrong(text, what)                                                     \
    lines_send_begin(&caller, LINES_CALL, &begin, begin_done, &tests);                         \
    answer(text);                                                             \
    ok(told == 1 && resumed == NGX_BUSY && seen == NULL, what)

    wrong("[ sother ]", "a word that is not declared");
    wrong("[ sdone sx n ]", "no number");
    wrong("[ sdone s9007199254740993 n ]", "a number that Lua rounds");
    wrong("[ sdone i-9223372036854775807 n ]", "nor one that cannot be added");
    wrong("[ sdone ]", "too few");
    wrong("[ slate s1 ]", "too many");
    wrong("[ sdone s1 [ ] ]", "a list in place of a string");
    wrong("[ ]", "nothing");
    wrong("i4", "a number in place of a word");
    wrong("eERR", "an error");
    wrong(NULL, "no reply");

    lines_send_begin(&caller, LINES_CALL, &begin, begin_done, &tests);
    answer("[ slost sx ]");
    ok(told == 2 && resumed == NGX_DONE, "lost");

    lines_send_begin(&caller, LINES_CALL_TRY, &begin, begin_done, &tests);
    answer(NULL);
    ok(told == 3 && seen == NULL && resumed == NGX_OK, "tried: no reply");

    /* who wants nothing of the reply */

    lines_then_count(&caller, next_done, &tests, .tenant = ngx_string("t"));
    answer("i4");
    ok(told == 5 && resumed == NGX_DONE, "then: what comes next is called");

    lines_then_count(&caller, next_done, &tests, .tenant = ngx_string("t"));
    answer("[ ]");
    ok(told == 1, "but not by a reply that is none");

    lines_then_count(&caller, next_done, &tests, .tenant = ngx_string("t"));
    answer(NULL);
    ok(told == 1, "nor by none");

    /* what each one is told, and what is said in the background */

#define errors(n, what)                                                       \
    logged = 0;                                                               \
    lines_send_begin(&caller, LINES_CALL_TRY, &begin, begin_done, &tests);                     \
    answer("eERR");                                                           \
    lines_send_begin(&caller, LINES_CALL_TRY, &begin, begin_done, &tests);                     \
    answer("sother");                                                         \
    ok(logged == n, what)

    log.log_level = NGX_LOG_ERR;
    ngx_current_msec = 1000;
    errors(2, "a request's errors are logged, each");

    caller.failed = NULL;
    errors(1, "nobody's, once");
    ngx_current_msec += 9999;
    errors(0, "for ten seconds");
    ngx_current_msec += 1;
    errors(1, "and then again");

    caller.failed = on_failed;
    log.log_level = 0;

    usable = 0;
    ok(lines_send_begin(&caller, LINES_CALL_TRY, &begin, begin_done, &tests) == NGX_DECLINED,
       "tried: refused");
    ok(lines_send_begin(&caller, LINES_CALL, &begin, begin_done, &tests) == NGX_BUSY,
       "refused");
    usable = 1;

    ngx_str_null(&begin.id);
    ok(lines_send_begin(&caller, LINES_CALL, &begin, begin_done, &tests) == NGX_BUSY,
       "a key with an empty part is not sent");

    /* two under way */

    lines_get(&caller, get_done, &tests, .line_key = ngx_string("k"));
    sent(" GET k", "a ready-made key");
    {
        void  *first = handler_data;

        lines_get(&caller, NULL, NULL, .line_key = ngx_string("k"));
        answer("n");
        ok(resumed == NGX_AGAIN, "the other one is waited for");
        handler = NULL;
        lines_get(&caller, NULL, NULL, .line_key = ngx_string("k"));
        lines_caller_detach(&caller);
        ok(!lines_caller_busy(&caller) && first, "detached");
    }

    ngx_memzero(&page, sizeof(page));
    ngx_str_set(&page.tenant, "t");
    page.ids.n = 2;
    page.ids.elts = ids;

    /* replies that live until done() returns */

    caller.pool = NULL;

    lines_send_page(&caller, LINES_CALL, &page, page_done, &tests);
    answer("[ ]");
    ok(told == 3, "a row that is not there");
    lines_send_page(&caller, LINES_CALL, &page, page_done, &tests);
    answer("[ i1 n ]");
    ok(told == 1, "too short a row");

    caller.pool = &pool;

    lines_send_page(&caller, LINES_CALL, &page, page_done, &tests);
    sent(" EVALSHA  3 lines:{t}:t lines:{t}:line:x lines:{t}:line:y",
         "a list of keys");
    answer("[ i1 shello [ sa i2 n ] su sv ]");
    p = seen;
    ok(p && p->n == 1 && p->marks.n == 3 && is(p->marks.elts[0], "a")
       && is(p->marks.elts[1], "2"), "a list within");
    ok(p && p->marks.elts[2].len == 0 && p->marks.elts[2].data
       && *p->marks.elts[2].data == '\0', "what is nil in a list is empty");
    ok(p && p->rest.n == 2, "and behind");

    lines_count(&caller, count_done, &tests, .tenant = ngx_string("t"));
    answer("i12");
    ok(seen && ((lines_count_reply_t *) seen)->n == 12, "a value");
    lines_count(&caller, count_done, &tests, .tenant = ngx_string("t"));
    answer("n");
    ok(told == 1, "a value that is nil must be declared so");

    lines_who(&caller, who_done, &tests, .tenant = ngx_string("t"));
    sent(" HMGET lines:{t}:t plan places", "fields are asked for");
    answer("[ n s4 ]");
    ok(seen && ((lines_who_reply_t *) seen)->places == 4
       && ((lines_who_reply_t *) seen)->plan.data == NULL, "and read");

    /* kept where the caller says, and left alone where there is none */

    {
        lines_who_reply_t  kept;

        ngx_memzero(&kept, sizeof(kept));
        ok(lines_keep_who(&caller, &kept, .tenant = ngx_string("t")) == NGX_AGAIN, "to be kept");
        answer("[ splan s5 ]");
        ok(resumed == NGX_OK && kept.places == 5 && is(kept.plan, "plan"),
           "kept");
        lines_keep_who(&caller, &kept, .tenant = ngx_string("t"));
        answer(NULL);
        ok(told == 1 && resumed == NGX_BUSY && kept.places == 5,
           "no reply: nothing is kept");
    }

    ok(lines_forget_put(&caller, .shard = 7, .at = 99,
                        .tenant = ngx_string("t"), .id = ngx_string("i"))
       == NGX_OK, "forgotten");
    sent(" ZADD lines:{due:7} 99 t i", "a member of two");
    answer("eERR");

    while (nallocated) {
        free(allocated[--nallocated]);
    }

    free(op.start);

    printf("1..%u\n", (unsigned) tests);

    return 0;
}
