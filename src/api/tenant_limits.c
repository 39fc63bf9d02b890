
#include "api/json.h"
#include "api/tenant_limits.h"
#include "directive/params.h"
#include "http/metrics.h"
#include "http/text.h"
#include "limit/gcra.h"


#define LINES_TENANT_LATER  3600              /* s */
#define LINES_TENANT_BURST  60
#define LINES_TENANT_HOUR   (3600 * 1000)
#define LINES_TENANT_DAY    (24 * 3600 * 1000)  /* declined.lua keeps as much */
#define LINES_TENANT_KEPT   1000                /* and so many */
#define LINES_TENANT_HOOKS  50                  /* all are looked at at once */


static int64_t  tenant_tickets = 100;
static int64_t  tenant_requests = 500;
static int64_t  tenant_declined = 5;
static int64_t  tenant_previews = 100;
static int64_t  tenant_waits = 50;
static int64_t  tenant_webhooks = 10;


static lines_tenant_limits_t  tenant_defaults = {
    .tickets = &tenant_tickets,
    .requests = &tenant_requests,
    .declined = &tenant_declined,
    .previews = &tenant_previews,
    .waits = &tenant_waits,
    .webhooks = &tenant_webhooks,
    .window = LINES_TENANT_HOUR,
    .interval = ngx_string("2000000"),    /* 30r/m */
    .size = LINES_TENANT_BURST
};


static char *
tenant_number(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    int64_t **number = field;

    ngx_int_t  n;

    if (lines_is(value, "unlimited")) {
        *number = NULL;
        return NGX_CONF_OK;
    }

    n = ngx_atoi(value->data, value->len);

    if (n < 1 || n > NGX_MAX_INT32_VALUE) {
        return LINES_PARAM_INVALID;
    }

    *number = ngx_palloc(cf->pool, sizeof(int64_t));
    if (*number == NULL) {
        return NGX_CONF_ERROR;
    }

    **number = n;

    return NGX_CONF_OK;
}


static char *
tenant_cards(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    int64_t **number = field;

    char  *rv;

    rv = tenant_number(cf, value, field);

    return rv == NGX_CONF_OK && *number && **number > LINES_TENANT_KEPT
           ? LINES_PARAM_INVALID : rv;
}


static char *
tenant_hooks(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    int64_t **number = field;

    char  *rv;

    rv = tenant_number(cf, value, field);

    return rv == NGX_CONF_OK
           && (*number == NULL || **number > LINES_TENANT_HOOKS)
           ? LINES_PARAM_INVALID : rv;
}


static char *
tenant_rate(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    ngx_str_t *interval = field;

    lines_rate_t  rate;

    if (lines_is(value, "unlimited")) {
        ngx_str_null(interval);
        return NGX_CONF_OK;
    }

    if (lines_rate_parse(value, &rate) != NGX_OK) {
        return LINES_PARAM_INVALID;
    }

    return lines_redis_format(cf->pool, interval, "%.6f", rate.interval)
           == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


#define tenant_param(name)                                                    \
    lines_param_other(#name, offsetof(lines_tenant_limits_t, name),           \
                      tenant_number, "a number from 1 up or \"unlimited\"")

static lines_param_t  tenant_params[] = {
    tenant_param(tickets),
    tenant_param(requests),
    lines_param_other("declined", offsetof(lines_tenant_limits_t, declined),
                      tenant_cards,
                      "a number from 1 to 1000 or \"unlimited\""),
    tenant_param(previews),
    tenant_param(waits),
    lines_param_other("webhooks", offsetof(lines_tenant_limits_t, webhooks),
                      tenant_hooks, "a number from 1 to 50"),
    lines_param_msec("declined_window", lines_tenant_limits_t, window,
                     60 * 1000, LINES_TENANT_DAY, LINES_TENANT_HOUR),
    lines_param_other("billing", offsetof(lines_tenant_limits_t, interval),
                      tenant_rate, "a rate, as 30r/m, or \"unlimited\""),
    lines_param_number("billing_burst", lines_tenant_limits_t, size,
                       1, LINES_BURST_MAX, LINES_TENANT_BURST),
    lines_param_end
};


static lines_directive_t  tenant_directive = {
    .name = "lines_tenant_limits",
    .params = tenant_params
};


ngx_str_t  lines_tenant_bounds[LINES_TENANT_BOUNDS] = {
    ngx_string("tickets"),
    ngx_string("requests"),
    ngx_string("declined"),
    ngx_string("billing"),
    ngx_string("previews"),
    ngx_string("waits"),
    ngx_string("webhooks")
};


static const struct {
    const char  *code;
    const char  *message;
} tenant_refusals[LINES_TENANT_BOUNDS] = {
    { "ticket_limit_reached",
      "Too many tickets are open: wait for one to be fulfilled or canceled" },
    { "request_limit_reached",
      "Too many line requests were made within a day" },
    { "declined_limit_reached",
      "Too many payments were declined: try again later" },
    { "billing_limit_reached",
      "Too many requests that billing has to be asked for" },
    { "preview_limit_reached",
      "Too many previews are open: confirm one, or wait for one to expire" },
    { "wait_limit_reached",
      "Too many requests wait at once: ask without wait, or again later" },
    { "webhook_limit_reached",
      "There are too many webhooks: change one, or delete one" }
};


char *
lines_tenant_limits(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    if (llcf->tenant_limits) {
        return "is duplicate";
    }

    llcf->tenant_limits = ngx_palloc(cf->pool, sizeof(lines_tenant_limits_t));
    if (llcf->tenant_limits == NULL) {
        return NGX_CONF_ERROR;
    }

    *llcf->tenant_limits = tenant_defaults;

    return lines_params(cf, &tenant_directive, 1, llcf->tenant_limits);
}


lines_tenant_limits_t *
lines_tenant_limits_of(ngx_http_request_t *r)
{
    lines_tenant_limits_t  *limits;

    limits = lines_get_loc_conf(r)->tenant_limits;

    return limits ? limits : &tenant_defaults;
}


ngx_int_t
lines_tenant_limited(lines_ctx_t *ctx, ngx_str_t *which, int64_t ms)
{
    ngx_http_request_t *r = ctx->request;

    ngx_uint_t   i, running;
    const char  *message;

    running = lines_is(which, "running");
    i = running ? LINES_TENANT_DECLINED : LINES_TENANT_BOUNDS - 1;

    while (i && !running && !lines_same(which, &lines_tenant_bounds[i])) {
        i--;
    }

    /* perhaps none was declined, and none will be */

    message = running ? "Too many payments are under way or were declined: try "
                        "again soon"
                      : tenant_refusals[i].message;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "lines: \"%V\" is refused, %s, for %L ms",
                  &ctx->identity.tenant, tenant_refusals[i].code, ms);

    lines_metrics_inc(tenant_limited[i]);

    ctx->retry_after = ms > 0 ? (ms + 999) / 1000 : LINES_TENANT_LATER;

    return lines_error(r, ctx, NGX_HTTP_TOO_MANY_REQUESTS,
                       tenant_refusals[i].code, message);
}
