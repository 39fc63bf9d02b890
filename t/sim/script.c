
/*
 * Scripts: Lua 5.1 as Redis 7.0 has it, without struct, bit and cmsgpack, and
 * of cjson what writes strings, and reads objects of strings and numbers.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>
#include <openssl/sha.h>

#include "internal.h"


#define SHA1_LEN  40


static void *allocate(void *data, void *p, size_t old, size_t size);
static int panic(lua_State *lua);
static sim_redis_t *owner(lua_State *lua);
static void sha1(view_t v, char *hex);
static const char *load(sim_redis_t *r, view_t source, char *hex);
static void run(sim_redis_t *r, const char *hex, int reference, size_t argc,
    const view_t *argv);
static void evaluate(sim_redis_t *r, size_t argc, const view_t *argv,
    int by_digest);
static void push_list(lua_State *lua, const char *name, size_t n,
    const view_t *elts);
static const char *member(lua_State *lua, const char *name);
static void reply_of(sim_redis_t *r, lua_State *lua, int depth);
static void reply_failure(sim_redis_t *r, lua_State *lua, const char *hex);

static int on_error(lua_State *lua);
static int no_such_global(lua_State *lua);
static int no_new_global(lua_State *lua);
static int lua_call_raising(lua_State *lua);
static int lua_call_returning(lua_State *lua);
static int call_command(lua_State *lua, int raise);
static int push_error(lua_State *lua, const char *text, size_t len);
static const char *push_reply(lua_State *lua, const char *p);
static int protected_call(lua_State *lua);
static int error_reply(lua_State *lua);
static int status_reply(lua_State *lua);
static int sha1hex(lua_State *lua);
static int log_nothing(lua_State *lua);
static int json_encode(lua_State *lua);
static int json_decode(lua_State *lua);


static const luaL_Reg  redis_functions[] = {
    { "call", lua_call_raising },
    { "pcall", lua_call_returning },
    { "error_reply", error_reply },
    { "status_reply", status_reply },
    { "sha1hex", sha1hex },
    { "log", log_nothing },
    { NULL, NULL }
};

static const luaL_Reg  cjson_functions[] = {
    { "encode", json_encode },
    { "decode", json_decode },
    { NULL, NULL }
};

static const luaL_Reg  libraries[] = {
    { "", luaopen_base },
    { LUA_TABLIBNAME, luaopen_table },
    { LUA_STRLIBNAME, luaopen_string },
    { LUA_MATHLIBNAME, luaopen_math },
    { NULL, NULL }
};

static const char *const  denied[] = {
    "dofile", "loadfile", "print", "newproxy", "module", "require", NULL
};

/* on_error()'s place in the registry */

static char  handler_key;


void
sim_script_init(sim_redis_t *r)
{
    size_t      i;
    lua_State  *lua;

    lua = lua_newstate(allocate, r);

    if (lua == NULL) {
        fprintf(stderr, "sim: no memory\n");
        abort();
    }

    r->lua = lua;
    lua_atpanic(lua, panic);

    /* a heap that stays in the processor's cache */

    lua_gc(lua, LUA_GCSETPAUSE, 150);

    lua_pushlightuserdata(lua, &handler_key);
    lua_pushcfunction(lua, on_error);
    lua_rawset(lua, LUA_REGISTRYINDEX);

    for (i = 0; libraries[i].func; i++) {
        lua_pushcfunction(lua, libraries[i].func);
        lua_pushstring(lua, libraries[i].name);
        lua_call(lua, 1, 0);
    }

    for (i = 0; denied[i]; i++) {
        lua_pushnil(lua);
        lua_setglobal(lua, denied[i]);
    }

    lua_pushcfunction(lua, protected_call);
    lua_setglobal(lua, "pcall");

    luaL_register(lua, "redis", redis_functions);
    luaL_register(lua, "cjson", cjson_functions);
    lua_pop(lua, 2);

    lua_newtable(lua);
    lua_pushcfunction(lua, no_such_global);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, no_new_global);
    lua_setfield(lua, -2, "__newindex");
    lua_setmetatable(lua, LUA_GLOBALSINDEX);
}


void
sim_script_done(sim_redis_t *r)
{
    lua_close(r->lua);
    map_free(&r->scripts, MAP_SCORES);
}


static void *
allocate(void *data, void *p, size_t old, size_t size)
{
    void  *new;

    new = NULL;

    if (size) {
        new = pool_alloc(size);
    }

    if (p) {
        if (new) {
            memcpy(new, p, old < size ? old : size);
        }

        pool_free(p, old);
    }

    return new;
}


/* nothing runs unprotected but what needs memory only */

static int
panic(lua_State *lua)
{
    fprintf(stderr, "sim: %s\n", lua_tostring(lua, -1));
    abort();
}


/* what its allocator is given */

static sim_redis_t *
owner(lua_State *lua)
{
    void  *r;

    (void) lua_getallocf(lua, &r);

    return r;
}


static void
sha1(view_t v, char *hex)
{
    size_t         i;
    unsigned char  digest[SHA_DIGEST_LENGTH];

    SHA1((const unsigned char *) v.data, v.len, digest);

    for (i = 0; i < sizeof(digest); i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
}


/* NULL: it has no sense, and the reply says so */

static const char *
load(sim_redis_t *r, view_t source, char *hex)
{
    int       added;
    view_t    name;
    entry_t  *e;

    sha1(source, hex);

    name.data = hex;
    name.len = SHA1_LEN;

    if (map_find(&r->scripts, name)) {
        return hex;
    }

    if (luaL_loadbuffer(r->lua, source.data, source.len, "@user_script")) {
        reply_error(r, "ERR Error compiling script (new function): %s",
                    lua_tostring(r->lua, -1));
        lua_pop(r->lua, 1);
        return NULL;
    }

    e = map_put(&r->scripts, name, &added);
    e->u.score = luaL_ref(r->lua, LUA_REGISTRYINDEX);

    return hex;
}


void
command_script(sim_redis_t *r, size_t argc, const view_t *argv)
{
    char      hex[SHA1_LEN + 1];
    size_t    i;
    entry_t  *e;

    if (view_is(argv[1], "load") && argc == 3) {
        if (load(r, argv[2], hex)) {
            reply_bulk(r, (view_t) { SHA1_LEN, hex });
        }

    } else if (view_is(argv[1], "exists") && argc > 2) {
        reply_array(r, argc - 2);

        for (i = 2; i < argc; i++) {
            reply_int(r, map_find(&r->scripts, argv[i]) != NULL);
        }

    } else if (view_is(argv[1], "flush")) {
        map_each(&r->scripts, e) {
            luaL_unref(r->lua, LUA_REGISTRYINDEX, e->u.score);
        }

        map_free(&r->scripts, MAP_SCORES);
        reply_status(r, "OK");

    } else {
        reply_error(r, "ERR sim: SCRIPT LOAD, EXISTS and FLUSH only");
    }
}


static void
evaluate(sim_redis_t *r, size_t argc, const view_t *argv, int by_digest)
{
    char      hex[SHA1_LEN + 1];
    size_t    i;
    int64_t   nkeys;
    entry_t  *e;

    if (!view_int(argv[2], &nkeys)) {
        reply_error(r, "ERR value is not an integer or out of range");
        return;
    }

    if (nkeys > (int64_t) argc - 3) {
        reply_error(r, "ERR Number of keys can't be greater than number of "
                    "args");
        return;
    }

    if (nkeys < 0) {
        reply_error(r, "ERR Number of keys can't be negative");
        return;
    }

    if (!by_digest) {
        if (load(r, argv[1], hex) == NULL) {
            return;
        }

    } else {
        hex[0] = '\0';

        if (argv[1].len == SHA1_LEN) {
            for (i = 0; i < SHA1_LEN; i++) {
                hex[i] = argv[1].data[i]
                         | (argv[1].data[i] >= 'A' && argv[1].data[i] <= 'Z'
                            ? 0x20 : 0);
            }

            hex[i] = '\0';
        }
    }

    e = map_find(&r->scripts, (view_t) { strlen(hex), hex });

    if (e == NULL) {
        reply_error(r, "NOSCRIPT No matching script. Please use EVAL.");
        return;
    }

    r->nkeys = nkeys;
    run(r, hex, e->u.score, argc - 3, argv + 3);
}


void
command_eval(sim_redis_t *r, size_t argc, const view_t *argv)
{
    evaluate(r, argc, argv, 0);
}


void
command_evalsha(sim_redis_t *r, size_t argc, const view_t *argv)
{
    evaluate(r, argc, argv, 1);
}


static void
run(sim_redis_t *r, const char *hex, int reference, size_t argc,
    const view_t *argv)
{
    int         rc;
    lua_State  *lua;

    lua = r->lua;

    lua_pushlightuserdata(lua, &handler_key);
    lua_rawget(lua, LUA_REGISTRYINDEX);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, reference);

    push_list(lua, "KEYS", r->nkeys, argv);
    push_list(lua, "ARGV", argc - r->nkeys, argv + r->nkeys);

    r->running = 1;
    rc = lua_pcall(lua, 0, 1, -2);
    r->running = 0;

    r->out = &r->reply;

    if (rc) {
        reply_failure(r, lua, hex);

    } else {
        reply_of(r, lua, 0);
    }

    lua_settop(lua, 0);
}


static void
push_list(lua_State *lua, const char *name, size_t n, const view_t *elts)
{
    size_t  i;

    lua_pushstring(lua, name);
    lua_createtable(lua, n, 0);

    for (i = 0; i < n; i++) {
        lua_pushlstring(lua, elts[i].data, elts[i].len);
        lua_rawseti(lua, -2, i + 1);
    }

    lua_rawset(lua, LUA_GLOBALSINDEX);
}


/* a table's member that is a string, or NULL; it stays on the stack */

static const char *
member(lua_State *lua, const char *name)
{
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);

    return lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1) : NULL;
}


/* the reply that the value on top becomes, which stays there */

static void
reply_of(sim_redis_t *r, lua_State *lua, int depth)
{
    int          i;
    char        *status;
    size_t       len, n;
    lua_Number   number;
    const char  *text;

    if (depth > 100 || !lua_checkstack(lua, 4)) {
        reply_error(r, "ERR reached lua stack limit");
        return;
    }

    switch (lua_type(lua, -1)) {

    case LUA_TSTRING:
        text = lua_tolstring(lua, -1, &len);
        reply_bulk(r, (view_t) { len, text });
        return;

    case LUA_TBOOLEAN:
        if (lua_toboolean(lua, -1)) {
            reply_int(r, 1);

        } else {
            reply_null(r);
        }

        return;

    case LUA_TNUMBER:

        /* what does not fit is what x86 makes of it */

        number = lua_tonumber(lua, -1);
        reply_int(r, number >= -9223372036854775808.0
                     && number < 9223372036854775808.0 ? (int64_t) number
                                                       : INT64_MIN);
        return;

    case LUA_TTABLE:
        break;

    default:
        reply_null(r);
        return;
    }

    text = member(lua, "err");

    if (text) {
        reply_error(r, "%s", text);
        lua_pop(lua, 1);
        return;
    }

    lua_pop(lua, 1);
    text = member(lua, "ok");

    if (text) {
        len = strlen(text);
        status = sim_alloc(len + 1);
        memcpy(status, text, len + 1);

        for (n = 0; n < len; n++) {
            if (status[n] == '\r' || status[n] == '\n') {
                status[n] = ' ';
            }
        }

        reply_status(r, status);
        free(status);
        lua_pop(lua, 1);
        return;
    }

    lua_pop(lua, 1);

    /* up to the first nil, wherever that is */

    for (i = 1; ; i++) {
        lua_rawgeti(lua, -1, i);

        if (lua_isnil(lua, -1)) {
            lua_pop(lua, 1);
            break;
        }

        lua_pop(lua, 1);
    }

    n = i - 1;
    reply_array(r, n);

    for (i = 1; (size_t) i <= n; i++) {
        lua_rawgeti(lua, -1, i);
        reply_of(r, lua, depth + 1);
        lua_pop(lua, 1);
    }
}


static void
reply_failure(sim_redis_t *r, lua_State *lua, const char *hex)
{
    char         line[32];
    const char  *text, *source;

    if (!lua_istable(lua, -1)) {
        text = lua_isstring(lua, -1) ? lua_tostring(lua, -1)
                                     : "execution failure";
        reply_error(r, "ERR Error running script %s, %.100s", hex, text);
        return;
    }

    lua_getfield(lua, -1, "err");
    lua_getfield(lua, -2, "source");
    lua_getfield(lua, -3, "line");

    text = lua_tostring(lua, -3);
    source = lua_tostring(lua, -2);

    if (source && lua_isstring(lua, -1)) {
        snprintf(line, sizeof(line), "%s", lua_tostring(lua, -1));
        reply_error(r, "%s script: %s, on %s:%s.", text ? text : "", hex,
                    source, line);

    } else {
        reply_error(r, "%s", text ? text : "");
    }
}


/* where it happened: in the script, not in what it called */

static int
on_error(lua_State *lua)
{
    int        found;
    lua_Debug  at;

    found = lua_getstack(lua, 1, &at);

    if (found) {
        lua_getinfo(lua, "nSl", &at);

        if (strcmp(at.what, "C") == 0) {
            found = lua_getstack(lua, 2, &at);

            if (found) {
                lua_getinfo(lua, "nSl", &at);
            }
        }
    }

    if (!lua_istable(lua, 1)) {
        lua_newtable(lua);
        lua_pushliteral(lua, "ERR ");

        lua_getglobal(lua, "tostring");
        lua_pushvalue(lua, 1);
        lua_call(lua, 1, 1);

        lua_concat(lua, 2);
        lua_setfield(lua, -2, "err");
        lua_replace(lua, 1);
    }

    lua_settop(lua, 1);

    if (found) {
        lua_pushstring(lua, at.source);
        lua_setfield(lua, 1, "source");
        lua_pushinteger(lua, at.currentline);
        lua_setfield(lua, 1, "line");
    }

    return 1;
}


static int
no_such_global(lua_State *lua)
{
    return luaL_error(lua, "Script attempted to access nonexistent global "
                      "variable '%s'", lua_tostring(lua, -1));
}


static int
no_new_global(lua_State *lua)
{
    return luaL_error(lua, "Attempt to modify a readonly table");
}


static int
lua_call_raising(lua_State *lua)
{
    return call_command(lua, 1);
}


static int
lua_call_returning(lua_State *lua)
{
    return call_command(lua, 0);
}


#define refuse(lua, raise, text)                                              \
    (push_error(lua, text, sizeof(text) - 1), raise ? lua_error(lua) : 1)


static int
call_command(lua_State *lua, int raise)
{
    int               i, argc;
    char              number[64];
    view_t           *argv;
    sim_redis_t      *r;
    const command_t  *cmd;

    r = owner(lua);
    argc = lua_gettop(lua);

    if (!r->running) {
        return refuse(lua, 1, "redis.call/pcall can only be called inside a "
                      "script invocation");
    }

    if (argc == 0) {
        return refuse(lua, raise, "Please specify at least one argument for "
                      "this redis lib call");
    }

    /* not the arguments of EVALSHA, which are in Lua's tables by now */

    if ((size_t) argc > r->nargv) {
        r->nargv = argc;
        r->argv = sim_realloc(r->argv, argc * sizeof(view_t));
    }

    argv = r->argv;
    luaL_checkstack(lua, 8, "arguments");

    for (i = 0; i < argc; i++) {

        switch (lua_type(lua, i + 1)) {

        case LUA_TNUMBER:
            lua_pushlstring(lua, number,
                            snprintf(number, sizeof(number), "%.17g",
                                     lua_tonumber(lua, i + 1)));
            lua_replace(lua, i + 1);
            break;

        case LUA_TSTRING:
            break;

        default:
            return refuse(lua, raise, "Lua redis lib command arguments must "
                          "be strings or integers");
        }

        argv[i].data = lua_tolstring(lua, i + 1, &argv[i].len);
    }

    cmd = sim_redis_find(r, argv[0]);

    if (cmd == NULL) {
        return refuse(lua, raise, "Unknown Redis command called from script");
    }

    if (!sim_redis_arity(cmd, (size_t) argc)) {
        return refuse(lua, raise, "Wrong number of args calling Redis command "
                      "from script");
    }

    if (cmd->noscript) {
        return refuse(lua, raise, "This Redis command is not allowed from "
                      "script");
    }

    r->nested.len = 0;
    r->out = &r->nested;

    sim_redis_run(r, cmd, argc, argv);

    /* the parser looks no further than what is there */

    r->out = &r->reply;
    raise = raise && r->nested.data[0] == '-';

    (void) push_reply(lua, r->nested.data);

    return raise ? lua_error(lua) : 1;
}


/* { err = "CODE text" } */

static int
push_error(lua_State *lua, const char *text, size_t len)
{
    lua_createtable(lua, 0, 3);

    if (text[0] == '-') {
        text++;
        len--;

    } else {
        lua_pushliteral(lua, "ERR ");
        lua_pushlstring(lua, text, len);
        lua_concat(lua, 2);
        lua_setfield(lua, -2, "err");
        return 1;
    }

    if (memchr(text, ' ', len) == NULL) {
        lua_pushliteral(lua, "ERR ");
        lua_pushlstring(lua, text, len);
        lua_concat(lua, 2);

    } else {
        lua_pushlstring(lua, text, len);
    }

    lua_setfield(lua, -2, "err");

    return 1;
}


static const char *
push_reply(lua_State *lua, const char *p)
{
    char         type;
    int64_t      n, i;
    const char  *end;

    type = *p++;
    end = strchr(p, '\r');

    if (type == '+') {
        lua_createtable(lua, 0, 1);
        lua_pushlstring(lua, p, end - p);
        lua_setfield(lua, -2, "ok");
        return end + 2;
    }

    if (type == '-') {
        push_error(lua, p - 1, end - p + 1);
        return end + 2;
    }

    n = strtoll(p, NULL, 10);
    p = end + 2;

    if (type == ':') {
        lua_pushnumber(lua, n);
        return p;
    }

    if (n == -1) {
        lua_pushboolean(lua, 0);
        return p;
    }

    if (type == '$') {
        lua_pushlstring(lua, p, n);
        return p + n + 2;
    }

    luaL_checkstack(lua, 4, "reply");
    lua_createtable(lua, n, 0);

    for (i = 0; i < n; i++) {
        p = push_reply(lua, p);
        lua_rawseti(lua, -2, i + 1);
    }

    return p;
}


/* pcall(), which tells of an error's text alone */

static int
protected_call(lua_State *lua)
{
    int  argc;

    luaL_checkany(lua, 1);

    argc = lua_gettop(lua);
    lua_pushboolean(lua, 1);
    lua_insert(lua, 1);

    if (lua_pcall(lua, argc - 1, LUA_MULTRET, 0)) {
        lua_remove(lua, 1);

        if (lua_istable(lua, -1)) {
            lua_getfield(lua, -1, "err");

            if (lua_isstring(lua, -1)) {
                lua_replace(lua, -2);
            }
        }

        lua_pushboolean(lua, 0);
        lua_insert(lua, 1);
    }

    return lua_gettop(lua);
}


static int
error_reply(lua_State *lua)
{
    const char  *text;

    if (lua_gettop(lua) != 1 || lua_type(lua, -1) != LUA_TSTRING) {
        return refuse(lua, 0, "wrong number or type of arguments");
    }

    text = lua_tostring(lua, 1);

    if (text[0] != '-') {
        lua_pushliteral(lua, "-");
        lua_insert(lua, 1);
        lua_concat(lua, 2);
        text = lua_tostring(lua, 1);
    }

    return push_error(lua, text, strlen(text));
}


static int
status_reply(lua_State *lua)
{
    if (lua_gettop(lua) != 1 || lua_type(lua, -1) != LUA_TSTRING) {
        return refuse(lua, 0, "wrong number or type of arguments");
    }

    lua_createtable(lua, 0, 1);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, "ok");

    return 1;
}


static int
sha1hex(lua_State *lua)
{
    char    hex[SHA1_LEN + 1];
    view_t  v;

    if (lua_gettop(lua) != 1) {
        return refuse(lua, 1, "wrong number of arguments");
    }

    v.data = luaL_checklstring(lua, 1, &v.len);
    sha1(v, hex);
    lua_pushstring(lua, hex);

    return 1;
}


static int
log_nothing(lua_State *lua)
{
    return 0;
}


/* of a string */

static int
json_encode(lua_State *lua)
{
    char                 escaped[8];
    size_t               i, len;
    luaL_Buffer          b;
    const char          *p;
    const unsigned char *text;

    static const char    letters[] = "btn\0fr";

    luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");

    if (lua_type(lua, 1) != LUA_TSTRING) {
        return luaL_error(lua, "sim: cjson.encode() takes strings");
    }

    text = (const unsigned char *) lua_tolstring(lua, 1, &len);

    luaL_buffinit(lua, &b);
    luaL_addchar(&b, '"');

    for (i = 0; i < len; i++) {

        p = NULL;

        if (text[i] >= 8 && text[i] <= 13 && letters[text[i] - 8]) {
            snprintf(escaped, sizeof(escaped), "\\%c", letters[text[i] - 8]);
            p = escaped;

        } else if (text[i] < 0x20 || text[i] == 0x7f) {
            snprintf(escaped, sizeof(escaped), "\\u%04x", text[i]);
            p = escaped;

        } else if (text[i] == '"' || text[i] == '\\' || text[i] == '/') {
            snprintf(escaped, sizeof(escaped), "\\%c", text[i]);
            p = escaped;
        }

        if (p) {
            luaL_addstring(&b, p);

        } else {
            luaL_addchar(&b, text[i]);
        }
    }

    luaL_addchar(&b, '"');
    luaL_pushresult(&b);

    return 1;
}


static const char *
json_space(const char *p)
{
    return p + strspn(p, " \t\r\n");
}


/* a code point in UTF-8, as cjson writes it */

static void
json_utf8(luaL_Buffer *b, unsigned code)
{
    if (code < 0x80) {
        luaL_addchar(b, (char) code);
        return;
    }

    if (code < 0x800) {
        luaL_addchar(b, (char) (0xc0 | code >> 6));

    } else {
        luaL_addchar(b, (char) (0xe0 | code >> 12));
        luaL_addchar(b, (char) (0x80 | (code >> 6 & 0x3f)));
    }

    luaL_addchar(b, (char) (0x80 | (code & 0x3f)));
}


/* pushes it; NULL: it is none */

static const char *
json_string(lua_State *lua, const char *p)
{
    int            n;
    unsigned       code;
    luaL_Buffer    b;
    const char    *escape;

    static const char  escapes[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";

    luaL_buffinit(lua, &b);

    for (p++; *p != '"'; p++) {

        if ((unsigned char) *p < 0x20) {
            luaL_pushresult(&b);
            return NULL;
        }

        if (*p != '\\') {
            luaL_addchar(&b, *p);
            continue;
        }

        p++;
        escape = *p ? strchr(escapes, *p) : NULL;

        if (escape) {
            luaL_addchar(&b, means[escape - escapes]);

        } else if (*p == 'u' && sscanf(p + 1, "%4x%n", &code, &n) == 1
                   && n == 4)
        {
            json_utf8(&b, code);
            p += 4;

        } else {
            luaL_pushresult(&b);
            return NULL;
        }
    }

    luaL_pushresult(&b);

    return p + 1;
}


static const char *
json_scalar(lua_State *lua, const char *p)
{
    char    *end;
    double   number;

    if (*p == '"') {
        return json_string(lua, p);
    }

    if (strncmp(p, "null", 4) == 0) {
        lua_pushlightuserdata(lua, NULL);
        return p + 4;
    }

    number = strtod(p, &end);

    if (end == p) {
        return NULL;
    }

    lua_pushnumber(lua, number);

    return end;
}


/* an object of strings and numbers, as the journal's entries are */

static int
json_decode(lua_State *lua)
{
    const char  *p;

    p = json_space(luaL_checkstring(lua, 1));

    if (*p != '{') {
        return luaL_error(lua, "sim: cjson.decode() takes objects");
    }

    lua_newtable(lua);
    p = json_space(p + 1);

    while (*p != '}') {
        p = *p == '"' ? json_string(lua, p) : NULL;
        p = p ? json_space(p) : NULL;
        p = p && *p == ':' ? json_scalar(lua, json_space(p + 1)) : NULL;

        if (p == NULL) {
            return luaL_error(lua, "sim: cjson.decode() takes strings and "
                              "numbers");
        }

        lua_rawset(lua, 2);
        p = json_space(p);

        if (*p == ',' && *json_space(p + 1) != '}') {
            p = json_space(p + 1);

        } else if (*p != '}') {
            return luaL_error(lua, "sim: cjson.decode() expects a comma");
        }
    }

    return *json_space(p + 1) ? luaL_error(lua, "sim: cjson.decode() expects "
                                           "the end") : 1;
}
