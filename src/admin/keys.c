
/*
 * API keys: made and listed.  A key, or a key pair's secret, is shown once;
 * Redis has hashes only.
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/input.h"
#include "api/json.h"
#include "http/digest.h"
#include "store/calls.h"


#define LINES_KEY_BYTES     32       /* 256 bits */
#define LINES_KEY_ID_BYTES  16

/* of a list, read at a time */
#define LINES_KEYS_RUN      50


typedef struct {
    ngx_str_t               key;     /* shown once; of a pair: its id */
    ngx_str_t               secret;  /* of a pair, shown once */
    ngx_str_t               id;      /* SHA-256 of the key, hex */
} new_key_t;

typedef struct {
    lines_keys_all_reply_t  listed;
    ngx_uint_t              next;    /* to be read */
    ngx_uint_t              got;
    lines_json_t            json;
} key_list_t;


static ngx_int_t random_hex(ngx_pool_t *pool, ngx_str_t *prefix, size_t len,
    ngx_str_t *value);
static ngx_int_t key_listed(void *data, lines_key_add_reply_t *reply);
static ngx_int_t key_confirmed(void *data, lines_keys_has_reply_t *reply);
static ngx_int_t key_read(void *data, lines_key_show_reply_t *reply);


/* listed first: a key that is not in the list could not be revoked */

ngx_int_t
lines_admin_make_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t   none = ngx_string("");
    new_key_t  *nk;
    ngx_uint_t  pair;

    nk = ngx_pcalloc(r->pool, sizeof(new_key_t));
    if (nk == NULL) {
        return NGX_ERROR;
    }

    ctx->data = nk;
    pair = (ctx->identity.tenant.data[0] == 'a');

    if (random_hex(r->pool, pair ? &none : &lines_get_main_conf(r)->key_prefix,
                   pair ? LINES_KEY_ID_BYTES : LINES_KEY_BYTES, &nk->key)
        != NGX_OK
        || (pair
            && random_hex(r->pool, &none, LINES_KEY_BYTES, &nk->secret)
               != NGX_OK)
        || lines_hash(r->pool, &nk->key, &nk->id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_key_add(&ctx->caller, key_listed, ctx,
                         .tenant = ctx->identity.tenant, .id = nk->id);
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


static ngx_int_t
key_listed(void *data, lines_key_add_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ngx_str_t   secret;
    new_key_t  *nk = ctx->data;

    if (reply->listed != 1) {
        return lines_admin_unknown(ctx);
    }

    if (nk->secret.len == 0) {
        return lines_key_put(&ctx->caller, NULL, NULL, .id = nk->id,
                             .tenant = ctx->identity.tenant,
                             .created = ngx_time());
    }

    if (lines_hash(ctx->request->pool, &nk->secret, &secret) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_pair_put(&ctx->caller, NULL, NULL, .id = nk->id,
                          .tenant = ctx->identity.tenant,
                          .created = ngx_time(), .key_id = nk->key,
                          .secret = secret);
}


/*
 * A deletion that came in between saw the list before the key was stored.  A
 * key that nobody is told of is good for nothing, whatever fails from here.
 */

ngx_int_t
lines_admin_confirm_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    new_key_t  *nk = ctx->data;

    return lines_keys_has(&ctx->caller, key_confirmed, ctx,
                          .tenant = ctx->identity.tenant, .id = nk->id);
}


static ngx_int_t
key_confirmed(void *data, lines_keys_has_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    new_key_t  *nk = ctx->data;

    if (reply->listed != 1) {
        (void) lines_forget_key_del(&ctx->caller, .id = nk->id);

        return lines_admin_unknown(ctx);
    }

    return nk->secret.len
           ? lines_json(ctx, NGX_HTTP_CREATED,
                        "{'id':'%V','key_id':'%V','secret':'%V'}",
                        &nk->id, &nk->key, &nk->secret)
           : lines_json(ctx, NGX_HTTP_CREATED, "{'id':'%V','key':'%V'}",
                        &nk->id, &nk->key);
}


ngx_int_t
lines_admin_list_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    key_list_t  *list;

    list = ngx_pcalloc(r->pool, sizeof(key_list_t));
    if (list == NULL) {
        return NGX_ERROR;
    }

    ctx->data = list;
    list->json.pool = r->pool;

    lines_json_add(&list->json, "{'keys':[");

    return lines_keep_keys_all(&ctx->caller, &list->listed,
                               .tenant = ctx->identity.tenant);
}


/* some, then the next ones */

ngx_int_t
lines_admin_read_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t    rc;
    ngx_uint_t   n;
    key_list_t  *list = ctx->data;

    n = ngx_min(list->listed.ids.n, list->next + LINES_KEYS_RUN);

    if (list->next == n) {
        lines_json_add(&list->json, "]}");

        return lines_json_answer(ctx, NGX_HTTP_OK, &list->json);
    }

    do {
        rc = lines_key_show(&ctx->caller, key_read, ctx,
                            .id = list->listed.ids.elts[list->next++]);

    } while (rc == NGX_AGAIN && list->next < n);

    ctx->step--;

    return rc;
}


static ngx_int_t
key_read(void *data, lines_key_show_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    time_t       created;
    ngx_tm_t     tm;
    ngx_str_t   *id, date;
    key_list_t  *list = ctx->data;

    id = &list->listed.ids.elts[list->got++];

    created = ngx_atotm(reply->created.data, reply->created.len);

    /* listed, but never stored, or half revoked */

    if (created == NGX_ERROR) {
        return NGX_OK;
    }

    /* libc has no date of what is too far away: nginx' own is any number */

    ngx_gmtime(created, &tm);

    if (lines_redis_format(ctx->request->pool, &date,
                           "%04d-%02d-%02dT%02d:%02d:%02d.000Z",
                           tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                           tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    lines_json_add(&list->json, ",{'id':'%V'", id);

    if (reply->key_id.len) {
        lines_json_add(&list->json, ",'key_id':'%V'", &reply->key_id);
    }

    lines_json_add(&list->json, ",'createdAt':'%V'}", &date);

    return NGX_OK;
}
