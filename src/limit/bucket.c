
/*
 * A bucket in Redis: its key, how gcra.lua is asked, what it replies.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/digest.h"
#include "http/variables.h"
#include "limit/limit.h"


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

        return lines_redis_format(r->pool, key, "lines:{%V}:limit:%V", &value,
                                  &limit->id);

    case LINES_LIMIT_KEY:

        rc = limit_whose(r, identity, &value);

        if (rc != NGX_OK) {
            return rc;
        }

        /* sessions of one tenant share a bucket: they have no key */

        return lines_redis_format(r->pool, key, "lines:{%V}:limit:%V:%V",
                                  &value, &limit->id,
                                  identity->key_id.len
                                  ? &identity->key_id
                                  : &identity->method);

    case LINES_LIMIT_IP:
        value = r->connection->addr_text;

        return lines_redis_format(r->pool, key, "lines:{limit:%V:%V}",
                                  &limit->id, &value);

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

    return lines_redis_format(r->pool, key, "lines:{limit:%V:%*s}", &limit->id,
                              sizeof(hex), hex);
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


ngx_uint_t
lines_limit_args(ngx_pool_t *pool, lines_limit_t *limit, ngx_str_t *key,
    ngx_uint_t need, ngx_uint_t extra, ngx_str_t **args, ngx_uint_t *nkeys)
{
    u_char              *p, *end;
    ngx_str_t           *a;
    ngx_uint_t           i, n, nplans;
    lines_limit_plan_t  *plan;

    nplans = limit->plans ? limit->plans->nelts : 0;

    a = ngx_palloc(pool, (7 + 3 * nplans) * sizeof(ngx_str_t));
    p = ngx_pnalloc(pool, 4 * 24 + key->len);

    if (a == NULL || p == NULL) {
        return 0;
    }

    n = 0;
    a[n++] = *key;

    if (limit->kind & LINES_LIMIT_IDENTITY) {

        /* "lines:{T}" of the bucket's key, and ":t" */

        end = ngx_strlchr(key->data, key->data + key->len, '}');
        if (end == NULL) {
            return 0;
        }

        a[n].data = p;
        p = ngx_cpymem(p, key->data, end + 1 - key->data);
        *p++ = ':';
        *p++ = 't';
        a[n].len = p - a[n].data;
        n++;
    }

    *nkeys = n;

    a[n].data = p;
    p = ngx_sprintf(p, "%ui", need);
    a[n].len = p - a[n].data;
    n++;

    a[n].data = p;
    p = ngx_sprintf(p, "%ui", extra);
    a[n].len = p - a[n].data;
    n++;

    a[n].data = p;
    p = ngx_sprintf(p, "%.6f", limit->rate.interval);
    a[n].len = p - a[n].data;
    n++;

    a[n].data = p;
    p = ngx_sprintf(p, "%ui", limit->rate.burst);
    a[n].len = p - a[n].data;
    n++;

    a[n++] = limit->id;

    if (nplans && *nkeys == 2) {
        plan = limit->plans->elts;

        for (i = 0; i < nplans; i++) {
            a[n++] = plan[i].plan;
            a[n++] = plan[i].interval;
            a[n++] = plan[i].burst;
        }
    }

    *args = a;

    return n;
}


ngx_int_t
lines_limit_parse(redisReply *reply, lines_rate_t *rate, lines_gcra_t *result)
{
    double       interval;
    ngx_uint_t   i;
    redisReply **e;

    if (reply == NULL
        || reply->type != REDIS_REPLY_ARRAY
        || reply->elements != 5)
    {
        return NGX_ERROR;
    }

    e = reply->element;

    for (i = 0; i < 5; i++) {
        if (e[i]->type != (i == 3 ? REDIS_REPLY_STRING : REDIS_REPLY_INTEGER)
            || (i != 3 && e[i]->integer < 0))
        {
            return NGX_ERROR;
        }
    }

    interval = strtod(e[3]->str, NULL);

    if (!(interval > 0) || e[4]->integer == 0) {
        return NGX_ERROR;
    }

    result->granted = e[0]->integer;
    result->remaining = e[1]->integer;
    result->retry = e[2]->integer;
    rate->interval = interval;
    rate->burst = e[4]->integer;

    return NGX_OK;
}
