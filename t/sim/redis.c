
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"


struct sim_copy_s {
    map_t  keys;
};


static unsigned name_hash(const char *name, size_t len);
static void buffer_add(buffer_t *b, const char *data, size_t len);
static void unknown(sim_redis_t *r, size_t argc, const view_t *argv);
static void reply_number(sim_redis_t *r, char type, int64_t n);


sim_redis_t *
sim_redis_create(void)
{
    unsigned          i;
    sim_redis_t      *r;
    const command_t  *cmd;

    r = sim_alloc(sizeof(sim_redis_t));
    memset(r, 0, sizeof(sim_redis_t));

    r->out = &r->reply;
    r->random = 88172645463325252ull;

    for (cmd = sim_commands; cmd->name; cmd++) {
        i = name_hash(cmd->name, strlen(cmd->name));

        while (r->commands[i % COMMAND_SLOTS]) {
            i++;
        }

        r->commands[i % COMMAND_SLOTS] = cmd;
    }

    sim_script_init(r);

    return r;
}


void
sim_redis_destroy(sim_redis_t *r)
{
    sim_script_done(r);
    map_free(&r->keys, MAP_VALUES);

    free(r->reply.data);
    free(r->nested.data);
    free(r->argv);
    free(r);
}


void
sim_redis_set_time(sim_redis_t *r, int64_t us)
{
    r->time = us;
    r->now = us / 1000;
}


int64_t
sim_redis_time(sim_redis_t *r)
{
    return r->time;
}


const sim_str_t *
sim_redis_command(sim_redis_t *r, size_t argc, const sim_str_t *argv)
{
    size_t            i;
    const command_t  *cmd;

    r->open = 0;
    r->reply.len = 0;
    r->out = &r->reply;

    if (argc > r->nargv) {
        r->nargv = argc;
        r->argv = sim_realloc(r->argv, argc * sizeof(view_t));
    }

    for (i = 0; i < argc; i++) {
        r->argv[i].len = argv[i].len;
        r->argv[i].data = argv[i].len ? (const char *) argv[i].data : "";
    }

    cmd = sim_redis_find(r, r->argv[0]);

    if (cmd == NULL) {
        unknown(r, argc, r->argv);

    } else if (!sim_redis_arity(cmd, argc)) {
        reply_error(r, "ERR wrong number of arguments for '%s' command",
                    cmd->name);

    } else {
        sim_redis_run(r, cmd, argc, r->argv);
    }

    r->replied.data = (unsigned char *) r->reply.data;
    r->replied.len = r->reply.len;

    return &r->replied;
}


unsigned
sim_redis_open(sim_redis_t *r)
{
    return r->open;
}


sim_copy_t *
sim_redis_copy(sim_redis_t *r)
{
    sim_copy_t  *copy;

    copy = sim_alloc(sizeof(sim_copy_t));
    map_copy(&copy->keys, &r->keys, MAP_VALUES);

    return copy;
}


void
sim_redis_restore(sim_redis_t *r, const sim_copy_t *copy)
{
    map_free(&r->keys, MAP_VALUES);
    map_copy(&r->keys, &copy->keys, MAP_VALUES);
}


void
sim_redis_copy_free(sim_copy_t *copy)
{
    map_free(&copy->keys, MAP_VALUES);
    free(copy);
}


static unsigned
name_hash(const char *name, size_t len)
{
    unsigned  h;

    for (h = 0; len--; name++) {
        h = h * 31 + tolower((unsigned char) *name);
    }

    return h;
}


const command_t *
sim_redis_find(sim_redis_t *r, view_t name)
{
    unsigned          i;
    const command_t  *cmd;

    for (i = name_hash(name.data, name.len); ; i++) {
        cmd = r->commands[i % COMMAND_SLOTS];

        if (cmd == NULL || view_is(name, cmd->name)) {
            return cmd;
        }
    }
}


static void
unknown(sim_redis_t *r, size_t argc, const view_t *argv)
{
    int     n, left;
    char    args[256];
    size_t  i, len;

    len = 0;
    args[0] = '\0';

    for (i = 1; i < argc && len < 128; i++) {
        left = 128 - (int) len;
        n = argv[i].len < (size_t) left ? (int) argv[i].len : left;
        len += snprintf(args + len, sizeof(args) - len, "'%.*s' ", n,
                        argv[i].data);
    }

    n = argv[0].len < 128 ? (int) argv[0].len : 128;

    reply_error(r, "ERR unknown command '%.*s', with args beginning with: %s",
                n, argv[0].data, args);
}


static void
buffer_add(buffer_t *b, const char *data, size_t len)
{
    if (b->size - b->len < len) {
        b->size = (b->size + len) * 2;
        b->data = sim_realloc(b->data, b->size);
    }

    if (len) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
}


void
reply_raw(sim_redis_t *r, const char *data, size_t len)
{
    buffer_add(r->out, data, len);
}


void
reply_status(sim_redis_t *r, const char *text)
{
    reply_raw(r, "+", 1);
    reply_raw(r, text, strlen(text));
    reply_raw(r, "\r\n", 2);
}


/* with its code; whatever ends a line within it is a space */

void
reply_error(sim_redis_t *r, const char *fmt, ...)
{
    int      n;
    char    *text;
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);

    text = sim_alloc(n + 1);

    va_start(args, fmt);
    vsnprintf(text, n + 1, fmt, args);
    va_end(args);

    while (n && (text[n - 1] == '\r' || text[n - 1] == '\n')) {
        n--;
    }

    text[n] = '\0';

    for (n = 0; text[n]; n++) {
        if (text[n] == '\r' || text[n] == '\n') {
            text[n] = ' ';
        }
    }

    reply_raw(r, "-", 1);
    reply_raw(r, text, n);
    reply_raw(r, "\r\n", 2);

    free(text);
}


/* ":n", "$n", "*n" */

static void
reply_number(sim_redis_t *r, char type, int64_t n)
{
    char       buf[32], *p;
    uint64_t   u;

    u = n < 0 ? - (uint64_t) n : (uint64_t) n;

    p = buf + sizeof(buf);
    *--p = '\n';
    *--p = '\r';

    do {
        *--p = '0' + u % 10;
        u /= 10;
    } while (u);

    if (n < 0) {
        *--p = '-';
    }

    *--p = type;

    reply_raw(r, p, buf + sizeof(buf) - p);
}


void
reply_int(sim_redis_t *r, int64_t n)
{
    reply_number(r, ':', n);
}


void
reply_double(sim_redis_t *r, double d)
{
    char    buf[64];
    view_t  v;

    if (isinf(d)) {
        v.len = d > 0 ? 3 : 4;
        v.data = d > 0 ? "inf" : "-inf";

    } else {
        v.len = snprintf(buf, sizeof(buf), "%.17g", d);
        v.data = buf;
    }

    reply_bulk(r, v);
}


void
reply_bulk(sim_redis_t *r, view_t v)
{
    reply_number(r, '$', v.len);
    reply_raw(r, v.data, v.len);
    reply_raw(r, "\r\n", 2);
}


void
reply_null(sim_redis_t *r)
{
    reply_raw(r, "$-1\r\n", 5);
}


void
reply_array(sim_redis_t *r, size_t n)
{
    reply_number(r, '*', n);
}


int
view_int(view_t v, int64_t *n)
{
    int          negative;
    uint64_t     u;
    const char  *p, *end;

    p = v.data;
    end = p + v.len;

    if (v.len == 0 || v.len > 20) {
        return 0;
    }

    if (v.len == 1 && *p == '0') {
        *n = 0;
        return 1;
    }

    negative = (*p == '-');
    p += negative;

    if (p == end || *p < '1' || *p > '9') {
        return 0;
    }

    for (u = 0; p < end; p++) {
        if (*p < '0' || *p > '9'
            || u > (UINT64_MAX - (uint64_t) (*p - '0')) / 10)
        {
            return 0;
        }

        u = u * 10 + (*p - '0');
    }

    if (u > (uint64_t) INT64_MAX + negative) {
        return 0;
    }

    *n = negative ? (int64_t) (0 - u) : (int64_t) u;

    return 1;
}


int
view_is(view_t v, const char *word)
{
    size_t  i;

    for (i = 0; i < v.len; i++) {
        if (tolower((unsigned char) v.data[i]) != word[i] || !word[i]) {
            return 0;
        }
    }

    return word[i] == '\0';
}
