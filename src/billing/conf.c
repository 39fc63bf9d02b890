
#include "billing/billing.h"
#include "directive/params.h"
#include "http/location.h"
#include "http/text.h"
#include "limit/gcra.h"


#define LINES_BILLING_URI      "/_lines/billing/"
#define LINES_BILLING_VERSION  "2026-10-28.endive"
#define LINES_BILLING_FIRST    "2025-03-31"    /* with invoice payments */
#define LINES_BILLING_LIVE     12500    /* µs: 80r/s */
#define LINES_BILLING_TEST     50000    /* 20r/s */


static char *
billing_rate(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    ngx_uint_t *interval = field;

    lines_rate_t  rate;

    if (lines_rate_parse(value, &rate) != NGX_OK || rate.interval > 1e6) {
        return LINES_PARAM_INVALID;
    }

    *interval = rate.interval + 0.999;

    return NGX_CONF_OK;
}


/* deployment and version go into headers and metadata as they are */

static lines_param_t  billing_params[] = {
    lines_param_secret("key_file", lines_billing_conf_t, key,
                       LINES_PARAM_REQUIRED),
    lines_param_word("deployment", lines_billing_conf_t, deployment, 64,
                     LINES_PARAM_REQUIRED),
    lines_param_word("version", lines_billing_conf_t, version, 64, 0),
    lines_param_word("anchor", lines_billing_conf_t, anchor, 64, 0),
    lines_param_msec("budget", lines_billing_conf_t, budget,
                     1, LINES_PARAM_ANY, 3000),
    /* less than the lease of an operation */
    lines_param_msec("timeout", lines_billing_conf_t, timeout,
                     1, LINES_PARAM_ANY, 18000),
    lines_param_other("rate", offsetof(lines_billing_conf_t, interval),
                      billing_rate, "a rate from 1r/s up, as 80r/s"),
    lines_param_plain(lines_billing_conf_t, plain),
    lines_param_end
};


static lines_directive_t  billing_directive = {
    .name = "lines_billing",
    .params = billing_params,
    .of = "of"
};


static lines_billing_conf_t *
billing_conf(ngx_conf_t *cf, lines_main_conf_t *lmcf)
{
    lines_billing_conf_t  *bcf;

    if (lmcf->billing) {
        return lmcf->billing;
    }

    bcf = ngx_pcalloc(cf->pool, sizeof(lines_billing_conf_t));

    if (bcf == NULL
        || ngx_array_init(&bcf->plans, cf->pool, 4,
                          sizeof(lines_billing_plan_t))
           != NGX_OK)
    {
        return NULL;
    }

    ngx_str_set(&bcf->uri, LINES_BILLING_URI);
    ngx_str_set(&bcf->version, LINES_BILLING_VERSION);

    lmcf->billing = bcf;

    return bcf;
}


char *
lines_billing(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ngx_str_t             *value;
    ngx_uint_t             uri;
    lines_billing_conf_t  *bcf;

    bcf = billing_conf(cf, lmcf);
    if (bcf == NULL) {
        return NGX_CONF_ERROR;
    }

    if (bcf->key.len) {
        return "is duplicate";
    }

    value = cf->args->elts;
    uri = (value[1].data[0] == '/');

    if (uri) {
        bcf->uri = value[1];
    }

    if (lines_params(cf, &billing_directive, 1 + uri, bcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (bcf->uri.data[bcf->uri.len - 1] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_billing\" needs a URI that ends with "
                           "\"/\" instead of \"%V\"", &bcf->uri);
        return NGX_CONF_ERROR;
    }

    if (ngx_strncmp(bcf->version.data, LINES_BILLING_FIRST, 10) < 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_billing\": \"version=%V\" has no invoice "
                           "payments: " LINES_BILLING_FIRST ".basil is the "
                           "first that has", &bcf->version);
        return NGX_CONF_ERROR;
    }

    if (bcf->budget > bcf->timeout) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_billing\": \"budget=\" exceeds "
                           "\"timeout=\"");
        return NGX_CONF_ERROR;
    }

    /* sk_live_… and rk_live_… */

    bcf->livemode = bcf->key.len > 8
                    && ngx_strncmp(bcf->key.data + 2, "_live_", 6) == 0;

    if (bcf->interval == 0) {
        bcf->interval = bcf->livemode ? LINES_BILLING_LIVE : LINES_BILLING_TEST;
    }

    return lines_location(cf, lmcf,
                          &(lines_location_t) { .name = value[0],
                                                .uri = bcf->uri,
                                                .plain = bcf->plain,
                                                .once = 1,
                                                .buffer = 64 * 1024 });
}


char *
lines_billing_plans(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ngx_str_t             *value, *price;
    ngx_uint_t             i;
    ngx_array_t           *prices;
    lines_billing_conf_t  *bcf;
    lines_billing_plan_t  *plan;

    static lines_param_t  params[] = {
        { .name = ngx_string("price"), .type = LINES_PARAM_STRING,
          .flags = LINES_PARAM_REQUIRED|LINES_PARAM_MANY },
        lines_param_end
    };

    static lines_directive_t  directive = {
        .name = "lines_billing_plan",
        .params = params,
        .of = "of"
    };

    bcf = billing_conf(cf, lmcf);
    if (bcf == NULL) {
        return NGX_CONF_ERROR;
    }

    prices = NULL;

    if (lines_params(cf, &directive, 2, &prices) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;
    price = prices->elts;

    for (i = 0; i < prices->nelts; i++) {

        if (lines_billing_plan(bcf, &price[i])) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate price \"%V\" in "
                               "\"lines_billing_plan\"", &price[i]);
            return NGX_CONF_ERROR;
        }

        plan = ngx_array_push(&bcf->plans);
        if (plan == NULL) {
            return NGX_CONF_ERROR;
        }

        plan->price = price[i];
        plan->plan = value[1];
    }

    return NGX_CONF_OK;
}


char *
lines_billing_init_conf(ngx_conf_t *cf, lines_main_conf_t *lmcf)
{
    if (lmcf->billing && lmcf->billing->key.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"lines_billing_plan\" needs \"lines_billing\"");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_str_t *
lines_billing_plan(lines_billing_conf_t *bcf, ngx_str_t *price)
{
    ngx_uint_t             i;
    lines_billing_plan_t  *plan;

    plan = bcf->plans.elts;

    for (i = 0; i < bcf->plans.nelts; i++) {
        if (lines_same(&plan[i].price, price)) {
            return &plan[i].plan;
        }
    }

    return NULL;
}


ngx_uint_t
lines_billing_base(lines_billing_conf_t *bcf,
    lines_stripe_subscription_t *subscription, ngx_str_t *plan)
{
    ngx_str_t   *found;
    ngx_uint_t   i;

    ngx_str_null(plan);

    for (i = 0; i < subscription->nprices; i++) {
        found = lines_billing_plan(bcf, &subscription->prices[i]);

        if (found) {
            *plan = *found;
            return 1;
        }
    }

    return subscription->unpriced && bcf->plans.nelts;
}


/*
 * The key shows in a billing call that the guard let go and nowhere else: not
 * in a log format, not in another location that a mistake puts it in.
 */

static ngx_int_t
billing_key_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    lines_carrier_t       *carrier;
    lines_billing_conf_t  *bcf;

    *v = ngx_http_variable_null_value;
    v->no_cacheable = 1;

    carrier = lines_carrier_find(r);

    if (carrier == NULL
        || carrier->of == NULL
        || carrier->of != carrier->lmcf->billing
        || r != carrier->subrequest)
    {
        return NGX_OK;
    }

    if (!carrier->passed) {
        ngx_log_error(NGX_LOG_ALERT, carrier->log, 0,
                      "lines: $lines_billing_key is asked for before it is "
                      "known where the call goes: it is empty");
        return NGX_OK;
    }

    bcf = carrier->lmcf->billing;

    if (r->uri.len < bcf->uri.len
        || ngx_memcmp(r->uri.data, bcf->uri.data, bcf->uri.len) != 0)
    {
        return NGX_OK;
    }

    v->len = bcf->key.len;
    v->data = bcf->key.data;

    return NGX_OK;
}


ngx_int_t
lines_billing_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var;

    static ngx_str_t  name = ngx_string("lines_billing_key");

    var = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = billing_key_variable;

    return NGX_OK;
}
