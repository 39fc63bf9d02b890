
/*
 * API keys: made, listed, revoked.  A key, or a key pair's secret, is shown
 * once; Redis has hashes only.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/routes.h"
#include "auth/auth.h"
#include "http/answer.h"
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
    ngx_array_t             items;   /* of a list */
    lines_keys_all_reply_t  listed;
    ngx_uint_t              next;
} lines_admin_key_t;


static ngx_int_t admin_make_key(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_random(ngx_pool_t *pool, ngx_str_t *prefix, size_t len,
    ngx_str_t *value);
static ngx_int_t admin_hash(ngx_pool_t *pool, ngx_str_t *value,
    ngx_str_t *hex);
static ngx_int_t admin_add_key(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_store_key(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_confirm_key(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_key_confirmed(void *data, lines_keys_has_reply_t *reply);
static ngx_int_t admin_key_listed(void *data, lines_key_add_reply_t *reply);
static ngx_int_t admin_show_key(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_key_ids(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_read_keys(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_got_key(void *data, lines_key_show_reply_t *reply);
static ngx_int_t admin_show_keys(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_find_key(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_key_found(void *data, lines_keys_has_reply_t *reply);
static ngx_int_t admin_delete_key(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_announce_revoked(ngx_http_request_t *r,
    lines_ctx_t *ctx);
static ngx_int_t admin_unlist_key(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_show_revoked(ngx_http_request_t *r, lines_ctx_t *ctx);


lines_step_pt  lines_admin_add_key_steps[] = {
    lines_admin_tenant_exists,        /* 404 */
    admin_make_key,
    admin_add_key,
    admin_store_key,
    admin_confirm_key,
    admin_show_key,
    NULL
};


lines_step_pt  lines_admin_list_keys_steps[] = {
    lines_admin_tenant_exists,        /* 404 */
    admin_key_ids,
    admin_read_keys,
    admin_show_keys,
    NULL
};


lines_step_pt  lines_admin_revoke_key_steps[] = {
    admin_find_key,                   /* 404 */
    admin_delete_key,
    admin_announce_revoked,
    admin_unlist_key,
    admin_show_revoked,
    NULL
};


static ngx_int_t
admin_make_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t           prefix;
    lines_main_conf_t  *lmcf;
    lines_admin_key_t  *ak;

    ak = ngx_pcalloc(r->pool, sizeof(lines_admin_key_t));
    if (ak == NULL) {
        return NGX_ERROR;
    }

    ctx->data = ak;
    lmcf = lines_get_main_conf(r);

    if (ctx->identity.tenant.data[0] == 'w') {

        if (admin_random(r->pool, &lmcf->key_prefix, LINES_KEY_BYTES, &ak->key)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else {
        ngx_str_null(&prefix);

        if (admin_random(r->pool, &prefix, LINES_KEY_ID_BYTES, &ak->key)
            != NGX_OK
            || admin_random(r->pool, &prefix, LINES_KEY_BYTES, &ak->secret)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return admin_hash(r->pool, &ak->key, &ak->id);
}


static ngx_int_t
admin_random(ngx_pool_t *pool, ngx_str_t *prefix, size_t len, ngx_str_t *value)
{
    u_char  *p;

    u_char   bytes[LINES_KEY_BYTES];

    if (lines_random(bytes, len) != NGX_OK) {
        return NGX_ERROR;
    }

    value->len = prefix->len + 2 * len;
    value->data = ngx_pnalloc(pool, value->len);

    if (value->data == NULL) {
        return NGX_ERROR;
    }

    p = value->data;

    if (prefix->len) {
        p = ngx_cpymem(p, prefix->data, prefix->len);
    }

    ngx_hex_dump(p, bytes, len);

    return NGX_OK;
}


static ngx_int_t
admin_hash(ngx_pool_t *pool, ngx_str_t *value, ngx_str_t *hex)
{
    hex->len = 2 * LINES_SHA256_LEN;
    hex->data = ngx_pnalloc(pool, hex->len);

    if (hex->data == NULL) {
        return NGX_ERROR;
    }

    return lines_sha256_hex(value, hex->data);
}


/* listed first: a key that is not in the list could not be revoked */

static ngx_int_t
admin_add_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_key_t  *ak;

    ak = ctx->data;

    return lines_key_add(&ctx->caller, admin_key_listed, ctx,
                         .tenant = ctx->identity.tenant, .id = ak->id);
}


static ngx_int_t
admin_key_listed(void *data, lines_key_add_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return reply->listed == 1 ? NGX_OK
                              : lines_admin_no_tenant(ctx->request, ctx);
}


static ngx_int_t
admin_store_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_key_t  *ak;
    ngx_str_t           secret;

    ak = ctx->data;

    if (ak->secret.len == 0) {
        return lines_key_put(&ctx->caller, NULL, NULL, .id = ak->id,
                             .tenant = ctx->identity.tenant,
                             .created = ngx_time());
    }

    if (admin_hash(r->pool, &ak->secret, &secret) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_pair_put(&ctx->caller, NULL, NULL, .id = ak->id,
                          .tenant = ctx->identity.tenant,
                          .created = ngx_time(), .key_id = ak->key,
                          .secret = secret);
}


/*
 * A deletion that came in between saw the list before the key was stored.  A
 * key that nobody is told of is good for nothing, whatever fails from here.
 */

static ngx_int_t
admin_confirm_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_key_t  *ak;

    ak = ctx->data;

    return lines_keys_has(&ctx->caller, admin_key_confirmed, ctx,
                          .tenant = ctx->identity.tenant, .id = ak->id);
}


static ngx_int_t
admin_key_confirmed(void *data, lines_keys_has_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_admin_key_t     *ak;

    if (reply->listed == 1) {
        return NGX_OK;
    }

    ak = ctx->data;

    (void) lines_forget_key_del(&ctx->caller, .id = ak->id);

    return lines_admin_no_tenant(ctx->request, ctx);
}


static ngx_int_t
admin_show_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_key_t  *ak;

    ak = ctx->data;

    if (ak->secret.len) {
        return lines_answer_format(r, ctx, NGX_HTTP_CREATED,
                         "{\"id\":\"%V\",\"key_id\":\"%V\",\"secret\":\"%V\"}",
                         &ak->id, &ak->key, &ak->secret);
    }

    return lines_answer_format(r, ctx, NGX_HTTP_CREATED,
                               "{\"id\":\"%V\",\"key\":\"%V\"}", &ak->id,
                               &ak->key);
}


static ngx_int_t
admin_key_ids(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_key_t  *ak;

    ak = ngx_pcalloc(r->pool, sizeof(lines_admin_key_t));
    if (ak == NULL
        || ngx_array_init(&ak->items, r->pool, 8, sizeof(ngx_str_t)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->data = ak;

    return lines_keep_keys_all(&ctx->caller, &ak->listed,
                               .tenant = ctx->identity.tenant);
}


static ngx_int_t
admin_read_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t           rc;
    ngx_uint_t          i, n;
    lines_admin_key_t  *ak;

    ak = ctx->data;
    rc = NGX_OK;

    n = ngx_min(ak->listed.ids.n, ak->next + LINES_KEYS_RUN);

    for (i = ak->next; i < n; i++) {

        rc = lines_key_show(&ctx->caller, admin_got_key, ctx,
                            .id = ak->listed.ids.elts[i]);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    /* then the next ones */

    if (rc == NGX_AGAIN) {
        ctx->step--;
    }

    return rc;
}


static ngx_int_t
admin_got_key(void *data, lines_key_show_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    time_t              created;
    ngx_tm_t            tm;
    ngx_str_t          *id, *item, *key_id;
    lines_admin_key_t  *ak;

    ak = ctx->data;
    id = &ak->listed.ids.elts[ak->next++];
    key_id = &reply->key_id;

    created = reply->created.len
              ? ngx_atotm(reply->created.data, reply->created.len)
              : NGX_ERROR;

    if (created == NGX_ERROR) {

        /* listed, but never stored, or half revoked */

        return NGX_OK;
    }

    item = ngx_array_push(&ak->items);
    if (item == NULL) {
        return NGX_ERROR;
    }

    ngx_gmtime(created, &tm);

    return lines_redis_format(ctx->request->pool, item,
                              "{\"id\":\"%V\",%s%V%s\"createdAt\":"
                              "\"%04d-%02d-%02dT%02d:%02d:%02d.000Z\"}",
                              id, key_id->len ? "\"key_id\":\"" : "", key_id,
                              key_id->len ? "\"," : "", tm.ngx_tm_year,
                              tm.ngx_tm_mon, tm.ngx_tm_mday, tm.ngx_tm_hour,
                              tm.ngx_tm_min, tm.ngx_tm_sec);
}


static ngx_int_t
admin_show_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_key_t  *ak;

    ak = ctx->data;

    return lines_answer_array(r, ctx, "{\"keys\":", &ak->items, "}");
}


/*
 * By its SHA-256, or, of a pair, by its key_id: in lower case, whatever tool
 * wrote it down, as one that is not listed passes for revoked
 */

static ngx_int_t
admin_find_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    size_t              len;
    u_char              bytes[LINES_SHA256_LEN];
    ngx_str_t           id;
    lines_admin_key_t  *ak;

    ak = ngx_pcalloc(r->pool, sizeof(lines_admin_key_t));
    if (ak == NULL) {
        return NGX_ERROR;
    }

    ctx->data = ak;
    id = ctx->params[1];
    len = id.len / 2;

    if (len <= sizeof(bytes) && lines_hex_decode(bytes, len, &id) == NGX_OK) {

        id.data = ngx_pnalloc(r->pool, id.len);
        if (id.data == NULL) {
            return NGX_ERROR;
        }

        ngx_hex_dump(id.data, bytes, len);
    }

    ak->id = id;

    if (id.len != 2 * LINES_SHA256_LEN
        && admin_hash(r->pool, &id, &ak->id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_keys_has(&ctx->caller, admin_key_found, ctx,
                          .tenant = ctx->identity.tenant, .id = ak->id);
}


/* a key that is not there (any more) is revoked: DELETE is idempotent */

static ngx_int_t
admin_key_found(void *data, lines_keys_has_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return reply->listed == 1 ? NGX_OK
                              : admin_show_revoked(ctx->request, ctx);
}


/* the credential goes before its announcement and before its place in the
   list: what is left behind by a crash is a hint too many */

static ngx_int_t
admin_delete_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_key_t  *ak;

    ak = ctx->data;

    return lines_key_del(&ctx->caller, NULL, NULL, .id = ak->id);
}


static ngx_int_t
admin_announce_revoked(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_key_t        *ak;
    lines_key_revoked_args_t  args;

    ak = ctx->data;

    ngx_str_set(&args.channel, LINES_REVOKED);
    args.id = ak->id;

    return lines_send_key_revoked(&ctx->caller, LINES_CALL, &args, NULL,
                                  NULL);
}


static ngx_int_t
admin_unlist_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_key_t  *ak;

    ak = ctx->data;

    return lines_keys_rem(&ctx->caller, NULL, NULL,
                          .tenant = ctx->identity.tenant, .ids.n = 1,
                          .ids.elts = &ak->id);
}


static ngx_int_t
admin_show_revoked(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_admin_key_t  *ak;

    ak = ctx->data;

    return lines_answer_format(r, ctx, NGX_HTTP_OK,
                               "{\"id\":\"%V\",\"revoked\":true}", &ak->id);
}
