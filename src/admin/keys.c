
/*
 * API keys: made and listed.  A key, or a key pair's secret, is shown once;
 * Redis has hashes only.
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "http/digest.h"


#define LINES_KEY_BYTES     32       /* 256 bits */
#define LINES_KEY_ID_BYTES  16

/* of a list, read at a time */
#define LINES_KEYS_RUN      50


typedef struct {
    ngx_str_t      key;     /* shown once; of a pair: its id */
    ngx_str_t      secret;  /* of a pair, shown once */
    ngx_str_t      id;      /* SHA-256 of the key, hex */
} new_key_t;

typedef struct {
    lines_list_t   ids;
    ngx_uint_t     next;    /* to be read */
    ngx_uint_t     got;
    lines_json_t   json;
} key_list_t;


static ngx_int_t random_hex(ngx_pool_t *pool, ngx_str_t *prefix, size_t len,
    ngx_str_t *value);


const lines_body_input_t  lines_admin_new_key_own =
    lines_own(new_key_t);

const lines_body_input_t  lines_admin_key_list_own =
    lines_own(key_list_t);


lines_answered(key_listed, new_key_t *nk, key_add)
{
    ngx_str_t  secret;

    if (reply->listed != 1) {
        return lines_admin_unknown(ctx);
    }

    if (nk->secret.len == 0) {
        return lines_key_put(&ctx->caller, NULL, NULL, .id = nk->id,
                             .tenant = ctx->identity.tenant,
                             .created = ngx_time());
    }

    if (lines_hash(r->pool, &nk->secret, &secret) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_pair_put(&ctx->caller, NULL, NULL, .id = nk->id,
                          .tenant = ctx->identity.tenant,
                          .created = ngx_time(), .key_id = nk->key,
                          .secret = secret);
}


/* listed first: a key that is not in the list could not be revoked */

ngx_int_t
lines_admin_make_key(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t   none = ngx_string("");
    new_key_t  *nk = ctx->data;
    ngx_uint_t  pair;

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


/*
 * A deletion that came in between saw the list before the key was stored.  A
 * key that nobody is told of is good for nothing, whatever fails from here.
 */

lines_asks(lines_admin_confirm_key, new_key_t *nk, keys_has,
           .tenant = ctx->identity.tenant, .id = nk->id)
{
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


lines_asks(lines_admin_list_keys, key_list_t *list, keys_all,
           .tenant = ctx->identity.tenant)
{
    list->ids = reply->ids;
    list->json.pool = r->pool;

    lines_json_add(&list->json, "{'keys':[");

    return NGX_OK;
}


lines_answered(key_read, key_list_t *list, key_show)
{
    time_t      created;
    ngx_tm_t    tm;
    ngx_str_t  *id, date;

    id = &list->ids.elts[list->got++];

    created = ngx_atotm(reply->created.data, reply->created.len);

    /* listed, but never stored, or half revoked */

    if (created == NGX_ERROR) {
        return NGX_OK;
    }

    /* libc has no date of what is too far away: nginx' own is any number */

    ngx_gmtime(created, &tm);

    if (lines_redis_format(r->pool, &date,
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


/* some, then the next ones */

ngx_int_t
lines_admin_read_keys(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t    rc;
    ngx_uint_t   n;
    key_list_t  *list = ctx->data;

    n = ngx_min(list->ids.n, list->next + LINES_KEYS_RUN);

    if (list->next == n) {
        lines_json_add(&list->json, "]}");

        return lines_json_answer(ctx, NGX_HTTP_OK, &list->json);
    }

    do {
        rc = lines_key_show(&ctx->caller, key_read, ctx,
                            .id = list->ids.elts[list->next++]);

    } while (rc == NGX_AGAIN && list->next < n);

    ctx->step--;

    return rc;
}
