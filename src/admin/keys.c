
/*
 * API keys: made, listed, limited.  A key, or a key pair's secret, is shown
 * once; Redis has hashes only.
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "auth/auth.h"
#include "http/digest.h"
#include "http/text.h"


#define LINES_KEY_BYTES     32       /* 256 bits */
#define LINES_KEY_ID_BYTES  16

/* of a list, read at a time */
#define LINES_KEYS_RUN      50

/* of years with four digits, since the epoch */
#define LINES_DAYS          2932897


/* of name, role and expires_at: data NULL: absent; len 0: to be taken away */

typedef struct {
    ngx_str_t      name;
    ngx_str_t      role;
    ngx_str_t      expires_at;
    ngx_str_t      expires;    /* the same, Unix time, ms */

    ngx_str_t      key;        /* shown once; of a pair: its id */
    ngx_str_t      secret;     /* of a pair, shown once */
    ngx_str_t      hash;       /* SHA-256 of that, hex */
    ngx_str_t      id;         /* SHA-256 of the key, hex */
} api_key_t;

typedef struct {
    lines_list_t             ids;
    ngx_uint_t               next;    /* to be read */
    ngx_uint_t               shown;
    lines_key_show_reply_t  *read;    /* those between, whichever of them was
                                         answered first: they lie on several
                                         nodes of a cluster */
    lines_json_t             json;
} key_list_t;


/* YYYY-MM-DDTHH:MM:SS[.mmm]Z in Unix time, ms; NGX_ERROR: it is none */

static int64_t
read_instant(ngx_str_t *value)
{
    size_t     len;
    time_t     s;
    ngx_int_t  ms;
    ngx_str_t  rest;

    len = lines_read_time(value, "%Y-%m-%dT%H:%M:%S", &s);

    if (len == 0 || s < 0) {
        return NGX_ERROR;
    }

    rest.data = value->data + len;
    rest.len = value->len - len;

    if (lines_is(&rest, "Z")) {
        return (int64_t) s * 1000;
    }

    if (rest.len != sizeof(".000Z") - 1
        || rest.data[0] != '.'
        || rest.data[4] != 'Z')
    {
        return NGX_ERROR;
    }

    ms = ngx_atoi(&rest.data[1], 3);

    return ms == NGX_ERROR ? NGX_ERROR : (int64_t) s * 1000 + ms;
}


static ngx_uint_t
is_instant(ngx_str_t *value)
{
    return read_instant(value) != NGX_ERROR;
}


const lines_body_input_t  lines_admin_key_input =
    lines_body_input(api_key_t,
        lines_in_text("name", api_key_t, name, 64, .flags = LINES_NULL_EMPTY),
        lines_in_word("role", api_key_t, role, "role must be all or read",
                      .words = { "all", "read" }),
        lines_in_string("expires_at", api_key_t, expires_at, 24, is_instant,
                        "expires_at must be an instant, as "
                        "2030-01-31T00:00:00.000Z, or null",
                        .flags = LINES_NULL_EMPTY));

const lines_body_input_t  lines_admin_key_list_own =
    lines_own(key_list_t);


/*
 * What is not known here would be a limit that is none, as of a name that was
 * mistyped: such a key must not be given out.
 */

ngx_int_t
lines_admin_check_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    int64_t      ms;
    json_t      *value;
    const char  *name;
    ngx_time_t  *tp;
    api_key_t   *key = ctx->data;

    json_object_foreach(ctx->body, name, value) {

        if (lines_find_input(lines_admin_key_input.fields, name) == NULL) {
            return lines_refuse(ctx, 400, "A key has no other members than "
                                "name, role and expires_at");
        }
    }

    if (key->expires_at.len == 0) {
        key->expires = key->expires_at;
        return NGX_OK;
    }

    tp = ngx_timeofday();
    ms = read_instant(&key->expires_at);

    if (ms <= (int64_t) tp->sec * 1000 + (int64_t) tp->msec) {
        return lines_refuse(ctx, 400, "expires_at must be in the future");
    }

    return lines_redis_format(r->pool, &key->expires, "%L", ms);
}


lines_answered(key_listed, api_key_t *key, key_add)
{
    ngx_str_t  none = ngx_null_string;

    ngx_str_t  pairs[] = {
        ngx_string("name"), key->name,
        ngx_string("role"), key->role,
        ngx_string("expires"), key->expires,
        ngx_string("key_id"), key->hash.len ? key->key : none,
        ngx_string("secret"), key->hash
    };

    if (reply->listed != 1) {
        return lines_admin_unknown(ctx);
    }

    return lines_key_put(&ctx->caller, NULL, NULL, .id = key->id,
                         .tenant = ctx->identity.tenant,
                         .created = ngx_time(),
                         .fields = lines_given(pairs, 1));
}


static ngx_int_t
random_hex(ngx_pool_t *pool, ngx_str_t *prefix, size_t len, ngx_str_t *value)
{
    u_char  bytes[LINES_KEY_BYTES];

    value->len = prefix->len + 2 * len;
    value->data = ngx_pnalloc(pool, value->len);

    if (value->data == NULL || lines_random(bytes, len) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_hex_dump(ngx_cpymem(value->data, prefix->data, prefix->len), bytes,
                 len);

    return NGX_OK;
}


/* listed first: a key that is not in the list could not be revoked */

ngx_int_t
lines_admin_make_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t   none = ngx_string("");
    api_key_t  *key = ctx->data;
    ngx_uint_t  pair;

    pair = (ctx->identity.tenant.data[0] == 'a');

    if (random_hex(r->pool, pair ? &none : &lines_get_main_conf(r)->key_prefix,
                   pair ? LINES_KEY_ID_BYTES : LINES_KEY_BYTES, &key->key)
        != NGX_OK
        || (pair
            && (random_hex(r->pool, &none, LINES_KEY_BYTES, &key->secret)
                != NGX_OK
                || lines_hash(r->pool, &key->secret, &key->hash) != NGX_OK))
        || lines_hash(r->pool, &key->key, &key->id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_key_add(&ctx->caller, key_listed, ctx,
                         .tenant = ctx->identity.tenant, .id = key->id);
}


/*
 * A deletion that came in between saw the list before the key was stored.  A
 * key that nobody is told of is good for nothing, whatever fails from here.
 */

lines_asks(lines_admin_confirm_key, api_key_t *key, key_kept,
           .tenant = ctx->identity.tenant, .id = key->id)
{
    if (reply->kept != 1) {
        (void) lines_forget_key_del(&ctx->caller, .id = key->id);

        return lines_admin_unknown(ctx);
    }

    return key->secret.len
           ? lines_json(ctx, NGX_HTTP_CREATED,
                        "{'id':'%V','key_id':'%V','secret':'%V'}",
                        &key->id, &key->key, &key->secret)
           : lines_json(ctx, NGX_HTTP_CREATED, "{'id':'%V','key':'%V'}",
                        &key->id, &key->key);
}


lines_answered(key_updated, api_key_t *key, key_update)
{
    return reply->there == 1 ? NGX_OK
                             : lines_refuse(ctx, 404, "Key not found");
}


ngx_int_t
lines_admin_put_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    api_key_t  *key = ctx->data;

    ngx_str_t  pairs[] = {
        ngx_string("name"), key->name,
        ngx_string("role"), key->role,
        ngx_string("expires"), key->expires
    };

    key->id = ctx->params[1];

    if (lines_admin_key_id(r, &key->id) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_key_update(&ctx->caller, key_updated, ctx, .id = key->id,
                            .tenant = ctx->identity.tenant,
                            .fields = lines_given(pairs, 0));
}


/* nodes look at it anew, as after a revocation: and find what it is now */

ngx_int_t
lines_admin_tell_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    api_key_t  *key = ctx->data;

    return lines_key_revoked(&ctx->caller, NULL, NULL, .id = key->id,
                             .channel = ngx_string(LINES_REVOKED));
}


/* libc has no date of what is too far away: nginx' own is any number */

static void
show_instant(lines_json_t *json, const char *name, time_t s, ngx_int_t ms)
{
    ngx_tm_t   tm;
    ngx_str_t  date;

    u_char     buf[NGX_TIME_T_LEN + sizeof("-12-31T23:59:59.999Z")];

    ngx_gmtime(s, &tm);

    date.data = buf;
    date.len = ngx_sprintf(buf, "%04d-%02d-%02dT%02d:%02d:%02d.%03iZ",
                           tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                           tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec, ms)
               - buf;

    lines_json_add(json, ",'%s':'%V'", name, &date);
}


/* nothing of one that is listed, but was never stored, or is half revoked */

static void
show_key(lines_json_t *json, ngx_str_t *id, lines_key_show_reply_t *key)
{
    off_t      expires;
    time_t     created, day;
    ngx_tm_t   tm;
    ngx_str_t  date;

    u_char     buf[NGX_TIME_T_LEN + sizeof("-12-31")];

    created = ngx_atotm(key->created.data, key->created.len);

    if (created == NGX_ERROR) {
        return;
    }

    lines_json_add(json, json->last > json->start ? ",{'id':'%V'"
                                                  : "{'id':'%V'", id);

    if (key->key_id.len) {
        lines_json_add(json, ",'key_id':'%V'", &key->key_id);
    }

    if (key->name.len) {
        lines_json_add(json, ",'name':%J", &key->name);
    }

    lines_json_add(json, ",'role':'%s'",
                   key->role.len == 0 || lines_is(&key->role, "all")
                   ? "all" : "read");

    show_instant(json, "createdAt", created, 0);

    expires = ngx_atoof(key->expires.data, key->expires.len);

    if (expires != NGX_ERROR) {
        show_instant(json, "expires_at", expires / 1000, expires % 1000);
    }

    day = ngx_atotm(key->used.data, key->used.len);

    if (day > 0 && day < LINES_DAYS) {
        ngx_gmtime(day * 86400, &tm);

        date.data = buf;
        date.len = ngx_sprintf(buf, "%04d-%02d-%02d", tm.ngx_tm_year,
                               tm.ngx_tm_mon, tm.ngx_tm_mday) - buf;

        lines_json_add(json, ",'last_used':'%V'", &date);
    }

    lines_json_add(json, "}");
}


/* one that was revoked meanwhile has nothing to show */

lines_asks(lines_admin_show_key, api_key_t *key, key_show, .id = key->id)
{
    lines_json_t  json = { .pool = r->pool };

    show_key(&json, &key->id, reply);

    return json.start ? lines_json_answer(ctx, NGX_HTTP_OK, &json)
                      : lines_refuse(ctx, 404, "Key not found");
}


lines_asks(lines_admin_list_keys, key_list_t *list, keys_all,
           .tenant = ctx->identity.tenant)
{
    list->ids = reply->ids;
    list->json.pool = r->pool;

    list->read = ngx_palloc(r->pool,
                            LINES_KEYS_RUN * sizeof(lines_key_show_reply_t));
    if (list->read == NULL) {
        return NGX_ERROR;
    }

    lines_json_add(&list->json, "{'keys':[");

    return NGX_OK;
}


/* some, then the next ones */

ngx_int_t
lines_admin_read_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t    rc;
    ngx_uint_t   i, n;
    key_list_t  *list = ctx->data;

    for (i = 0; list->shown < list->next; i++, list->shown++) {
        show_key(&list->json, &list->ids.elts[list->shown], &list->read[i]);
    }

    n = ngx_min(list->ids.n, list->next + LINES_KEYS_RUN);

    if (list->next == n) {
        lines_json_add(&list->json, "]}");

        return lines_json_answer(ctx, NGX_HTTP_OK, &list->json);
    }

    do {
        rc = lines_keep_key_show(&ctx->caller,
                                 &list->read[list->next - list->shown],
                                 .id = list->ids.elts[list->next]);
        list->next++;

    } while (rc == NGX_AGAIN && list->next < n);

    ctx->step--;

    return rc;
}
