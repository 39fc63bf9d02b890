
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/identity.h"
#include "http/digest.h"
#include "limit/bucket.h"


static ngx_int_t limit_whose(ngx_http_request_t *r, lines_identity_t *identity,
    ngx_str_t *whose);


ngx_int_t
lines_limit_key(ngx_http_request_t *r, lines_ctx_t *ctx, lines_limit_t *limit,
    ngx_uint_t wait, ngx_str_t *key, ngx_uint_t *late)
{
    u_char             hex[LINES_SHA256_LEN * 2];
    ngx_str_t          value;
    ngx_int_t          rc;
    lines_identity_t  *identity;

    identity = &ctx->identity;
    *late = limit->kind & LINES_LIMIT_IDENTITY;

    switch (limit->kind) {

    case LINES_LIMIT_TENANT:

        rc = limit_whose(r, identity, &value);

        if (rc != NGX_OK) {
            return rc;
        }

        return lines_key_limit(r->pool, key, &value, &limit->id);

    case LINES_LIMIT_KEY:

        rc = limit_whose(r, identity, &value);

        if (rc != NGX_OK) {
            return rc;
        }

        /* sessions of one tenant share a bucket: they have no key */

        return lines_key_limit_of(r->pool, key, &value, &limit->id,
                                  identity->key_id.len ? &identity->key_id
                                                       : &identity->method);

    case LINES_LIMIT_IP:
        return lines_key_limit_other(r->pool, key, &limit->id,
                                     &r->connection->addr_text);

    default:  /* LINES_LIMIT_VARIABLE */
        break;
    }

    rc = lines_try_value(r, limit->variable, wait, &value, late);

    if (rc != NGX_OK
        || value.len == 0
        || lines_sha256_hex(&value, hex) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    value.data = hex;
    value.len = sizeof(hex);

    return lines_key_limit_other(r->pool, key, &limit->id, &value);
}


/* a session without a workspace is its user's own affair */

static ngx_int_t
limit_whose(ngx_http_request_t *r, lines_identity_t *identity,
    ngx_str_t *whose)
{
    u_char  hex[LINES_SHA256_LEN * 2];

    if (identity->tenant.len) {
        *whose = identity->tenant;
        return NGX_OK;
    }

    if (identity->user.len == 0
        || lines_sha256_hex(&identity->user, hex) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    return lines_redis_format(r->pool, whose, "u:%*s", sizeof(hex), hex);
}


void
lines_limit_args(lines_limit_t *limit, ngx_str_t *key, ngx_uint_t need,
    ngx_uint_t extra, lines_gcra_args_t *args)
{
    u_char  *p, *last;

    ngx_memzero(args, sizeof(lines_gcra_args_t));

    args->bucket_key = *key;
    args->need = need;
    args->extra = extra;
    args->rate = limit->interval;
    args->size = limit->rate.burst;
    args->limit = limit->id;

    if (!(limit->kind & LINES_LIMIT_IDENTITY)) {
        return;
    }

    /* the hash tag of the bucket's key: who waits for tokens is gone */

    last = key->data + key->len;
    p = ngx_strlchr(key->data, last, '{');

    if (p) {
        args->tenant.data = ++p;
        p = ngx_strlchr(p, last, '}');
        args->tenant.len = p ? p - args->tenant.data : 0;
    }

    if (limit->plans) {
        args->plans.n = limit->plans->nelts;
        args->plans.elts = limit->plans->elts;
    }
}


ngx_int_t
lines_limit_parse(lines_gcra_reply_t *reply, lines_rate_t *rate,
    lines_gcra_t *result)
{
    double  interval;

    if (reply == NULL
        || reply->granted < 0
        || reply->remaining < 0
        || reply->retry < 0
        || reply->burst <= 0
        || reply->interval.len == 0)
    {
        return NGX_ERROR;
    }

    interval = strtod((char *) reply->interval.data, NULL);

    if (!(interval > 0)) {
        return NGX_ERROR;
    }

    result->granted = reply->granted;
    result->remaining = reply->remaining;
    result->retry = reply->retry;
    rate->interval = interval;
    rate->burst = reply->burst;

    return NGX_OK;
}
