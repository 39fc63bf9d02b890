
/*
 * Limits, and the rates of their own that tenants and plans have.
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "auth/auth.h"
#include "http/text.h"
#include "limit/limit.h"


typedef struct {
    ngx_str_t       key;     /* the hash in Redis */
    ngx_str_t       field;
    ngx_str_t       text;    /* the rate as written */
    int64_t         burst;
    ngx_str_t       rate;    /* "INTERVAL BURST RATE" */
} own_rate_t;


static ngx_uint_t
is_rate(ngx_str_t *value)
{
    lines_rate_t  rate;

    return lines_rate_parse(value, &rate) == NGX_OK;
}


const lines_body_input_t  lines_admin_rate_input =
    lines_body_input(own_rate_t,
        lines_in_string("rate", own_rate_t, text, 32, is_rate,
                        "rate must be a rate, as 50r/s",
                        .flags = LINES_REQUIRED),
        lines_in_number("burst", own_rate_t, burst, 1, LINES_BURST_MAX,
                        "burst must be a positive integer",
                        .flags = LINES_NULL_BAD));

const lines_body_input_t  lines_admin_rate_own = lines_own(own_rate_t);


ngx_int_t
lines_admin_list_limits(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_uint_t          i;
    lines_json_t        json = { .pool = r->pool };
    lines_limit_t      *limit;
    lines_main_conf_t  *lmcf;
    static const char  *fail[] = { "local", "open", "closed" };

    lmcf = lines_get_main_conf(r);

    lines_json_add(&json, "{'limits':[");

    for (i = 0; lmcf->limits && i < lmcf->limits->nelts; i++) {
        limit = ((lines_limit_t **) lmcf->limits->elts)[i];

        lines_json_add(&json, ",{'limit':'%V','key':%J,'rate':'%V','burst':%L,"
                       "'sync':'%s','fail':'%s','status':%L,'dryRun':%B}",
                       &limit->id, &limit->key, &limit->text,
                       (int64_t) limit->rate.burst,
                       limit->each ? "each" : "lease", fail[limit->fail],
                       (int64_t) limit->status, limit->dry_run);
    }

    lines_json_add(&json, "]}");

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}


ngx_int_t
lines_admin_find_limit(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_uint_t          i;
    lines_limit_t      *limit;
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(r);

    for (i = 0; lmcf->limits && i < lmcf->limits->nelts; i++) {
        limit = ((lines_limit_t **) lmcf->limits->elts)[i];

        if (lines_same(&limit->id, &ctx->params[1])) {
            return limit->kind & LINES_LIMIT_IDENTITY
                   ? NGX_OK
                   : lines_refuse(ctx, 400, "The limit does not count by "
                                  "tenant or key");
        }
    }

    return lines_refuse(ctx, 404, "No such limit in the configuration");
}


/* a field of the tenant's hash, or "LIMIT PLAN" of the one of all plans */

ngx_int_t
lines_admin_name_rate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t   *tenant;
    own_rate_t  *own = ctx->data;

    tenant = &ctx->identity.tenant;

    if ((tenant->len ? lines_key_tenant(r->pool, &own->key, tenant)
                     : lines_key_limits(r->pool, &own->key))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_redis_format(r->pool, &own->field,
                              tenant->len ? "limit:%V" : "%V %V",
                              &ctx->params[1], &ctx->params[0]);
}


ngx_int_t
lines_admin_write_rate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_rate_t  rate;
    own_rate_t   *own = ctx->data;

    (void) lines_rate_parse(&own->text, &rate);

    if (own->burst == 0) {
        own->burst = ngx_max((int64_t) (1e6 / rate.interval + 0.5), 1);
    }

    return lines_redis_format(r->pool, &own->rate, "%.6f %L %V", rate.interval,
                              own->burst, &own->text);
}


lines_asks(lines_admin_put_rate, own_rate_t *own, limit_put,
           .limits_key = own->key, .field = own->field, .rate = own->rate,
           .plan = (ctx->identity.tenant.len == 0),
           .most = LINES_LIMIT_PLANS_MAX)
{
    switch (reply->is) {

    case LINES_LIMIT_PUT_UNKNOWN:
        return lines_admin_unknown(ctx);

    case LINES_LIMIT_PUT_FULL:
        return lines_refuse(ctx, 409, "Too many plans have rates of their "
                            "own");
    }

    return NGX_OK;
}


/* nodes look at it anew, as at a key that was revoked */

ngx_int_t
lines_admin_tell_rates(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  plans = ngx_string(LINES_RATES_PLANS);

    return lines_key_revoked(&ctx->caller, NULL, NULL,
                             .id = ctx->identity.tenant.len
                                   ? ctx->identity.tenant : plans,
                             .channel = ngx_string(LINES_REVOKED));
}


ngx_int_t
lines_admin_show_put(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    own_rate_t  *own = ctx->data;

    return lines_json_ok(ctx, "{'limit':'%V','rate':'%V','burst':%L}",
                         &ctx->params[1], &own->text, own->burst);
}


/* "INTERVAL BURST RATE" */

lines_asks(lines_admin_show_rate, own_rate_t *own, rate_get,
           .limits_key = own->key, .field = own->field)
{
    ngx_str_t  text, burst;

    text = reply->rate;

    if (text.len == 0) {
        return lines_refuse(ctx, 404, "The limit's own rate applies");
    }

    (void) lines_word(&text);
    burst = lines_word(&text);

    return text.len ? lines_json_ok(ctx,
                                    "{'limit':'%V','rate':'%V','burst':%V}",
                                    &ctx->params[1], &text, &burst)
                    : NGX_ERROR;
}


ngx_int_t
lines_admin_delete_rate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    own_rate_t  *own = ctx->data;

    return lines_rate_del(&ctx->caller, NULL, NULL, .limits_key = own->key,
                          .field = own->field);
}


ngx_int_t
lines_admin_show_deleted_rate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_json_ok(ctx, "{'limit':'%V','deleted':true}",
                         &ctx->params[1]);
}
