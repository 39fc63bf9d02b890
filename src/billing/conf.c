
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "billing/billing.h"
#include "http/secret.h"


#define LINES_BILLING_URI      "/_lines/billing/"
#define LINES_BILLING_VERSION  "2026-10-28.endive"


static lines_billing_conf_t *billing_conf(ngx_conf_t *cf,
    lines_main_conf_t *lmcf);
static ngx_int_t billing_parameter(ngx_conf_t *cf, lines_billing_conf_t *bcf,
    ngx_str_t *value, ngx_str_t *key_file);
static ngx_int_t billing_word(ngx_str_t *value);
static ngx_uint_t billing_live(ngx_str_t *key);
static ngx_int_t billing_key_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  billing_key_var = {
    ngx_string("lines_billing_key"), NULL,
    billing_key_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0
};


char *
lines_billing(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ngx_str_t             *value, key_file, name;
    ngx_uint_t             i;
    lines_billing_conf_t  *bcf;

    bcf = billing_conf(cf, lmcf);
    if (bcf == NULL) {
        return NGX_CONF_ERROR;
    }

    if (bcf->key.len) {
        return "is duplicate";
    }

    ngx_str_null(&key_file);

    value = cf->args->elts;
    i = 1;

    if (value[1].data[0] == '/') {
        bcf->uri = value[1];
        i = 2;
    }

    for ( /* void */ ; i < cf->args->nelts; i++) {

        if (billing_parameter(cf, bcf, &value[i], &key_file) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (bcf->uri.data[bcf->uri.len - 1] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_billing\" needs a URI that ends with "
                           "\"/\" instead of \"%V\"", &bcf->uri);
        return NGX_CONF_ERROR;
    }

    if (key_file.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_billing\" lacks \"key_file=\"");
        return NGX_CONF_ERROR;
    }

    if (bcf->deployment.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_billing\" lacks \"deployment=\"");
        return NGX_CONF_ERROR;
    }

    if (bcf->budget > bcf->timeout) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_billing\": \"budget=\" exceeds "
                           "\"timeout=\"");
        return NGX_CONF_ERROR;
    }

    if (lines_read_secret(cf, "lines_billing", &key_file, &bcf->key) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    bcf->livemode = billing_live(&bcf->key);

    ngx_str_set(&name, "lines_billing");

    return lines_carrier_require(cf, lmcf, LINES_LOCATION_BILLING, &name,
                                 &bcf->uri, bcf->plain);
}


char *
lines_billing_plans(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ngx_str_t             *value, price;
    ngx_uint_t             i;
    lines_billing_conf_t  *bcf;
    lines_billing_plan_t  *plan;

    bcf = billing_conf(cf, lmcf);
    if (bcf == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {

        price = value[i];

        if (price.len <= sizeof("price=") - 1
            || ngx_strncmp(price.data, "price=", sizeof("price=") - 1) != 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of "
                               "\"lines_billing_plan\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        price.data += sizeof("price=") - 1;
        price.len -= sizeof("price=") - 1;

        if (lines_billing_plan(bcf, &price)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate price \"%V\" in "
                               "\"lines_billing_plan\"", &price);
            return NGX_CONF_ERROR;
        }

        plan = ngx_array_push(&bcf->plans);
        if (plan == NULL) {
            return NGX_CONF_ERROR;
        }

        plan->price = price;
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


static lines_billing_conf_t *
billing_conf(ngx_conf_t *cf, lines_main_conf_t *lmcf)
{
    lines_billing_conf_t  *bcf;

    if (lmcf->billing) {
        return lmcf->billing;
    }

    bcf = ngx_pcalloc(cf->pool, sizeof(lines_billing_conf_t));
    if (bcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&bcf->plans, cf->pool, 4, sizeof(lines_billing_plan_t))
        != NGX_OK)
    {
        return NULL;
    }

    ngx_str_set(&bcf->uri, LINES_BILLING_URI);
    ngx_str_set(&bcf->version, LINES_BILLING_VERSION);

    bcf->budget = 3000;

    /* less than the lease of an operation */
    bcf->timeout = 18000;

    lmcf->billing = bcf;

    return bcf;
}


static ngx_int_t
billing_parameter(ngx_conf_t *cf, lines_billing_conf_t *bcf, ngx_str_t *value,
    ngx_str_t *key_file)
{
    ngx_int_t  ms;
    ngx_str_t  v;

#define lines_billing_is(name)                                \
    (value->len > sizeof(name) - 1                            \
     && ngx_strncmp(value->data, name, sizeof(name) - 1) == 0 \
     && (v.data = value->data + sizeof(name) - 1,             \
         v.len = value->len - (sizeof(name) - 1)))

    if (lines_carrier_is_plain(value)) {
        bcf->plain = 1;
        return NGX_OK;
    }

    if (lines_billing_is("key_file=")) {
        *key_file = v;
        return NGX_OK;
    }

    if (lines_billing_is("deployment=") && billing_word(&v) == NGX_OK) {
        bcf->deployment = v;
        return NGX_OK;
    }

    if (lines_billing_is("version=") && billing_word(&v) == NGX_OK) {
        bcf->version = v;
        return NGX_OK;
    }

    if (lines_billing_is("budget=")) {
        ms = ngx_parse_time(&v, 0);

        if (ms > 0) {
            bcf->budget = ms;
            return NGX_OK;
        }
    }

    if (lines_billing_is("timeout=")) {
        ms = ngx_parse_time(&v, 0);

        if (ms > 0) {
            bcf->timeout = ms;
            return NGX_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"lines_billing\"", value);

    return NGX_ERROR;
}


/* it goes into headers and metadata as it is */

static ngx_int_t
billing_word(ngx_str_t *value)
{
    u_char      c;
    ngx_uint_t  i;

    if (value->len > 64) {
        return NGX_ERROR;
    }

    for (i = 0; i < value->len; i++) {
        c = value->data[i];

        if (!((c >= 'a' && c <= 'z')
              || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9')
              || c == '_'
              || c == '-'
              || c == '.'))
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* sk_live_… and rk_live_… */

static ngx_uint_t
billing_live(ngx_str_t *key)
{
    return key->len > 8 && ngx_strncmp(key->data + 2, "_live_", 6) == 0;
}


ngx_str_t *
lines_billing_plan(lines_billing_conf_t *bcf, ngx_str_t *price)
{
    ngx_uint_t             i;
    lines_billing_plan_t  *plan;

    plan = bcf->plans.elts;

    for (i = 0; i < bcf->plans.nelts; i++) {
        if (plan[i].price.len == price->len
            && ngx_memcmp(plan[i].price.data, price->data, price->len) == 0)
        {
            return &plan[i].plan;
        }
    }

    return NULL;
}


ngx_uint_t
lines_billing_ours(lines_billing_conf_t *bcf,
    lines_stripe_metadata_t *metadata)
{
    return metadata->deployment.len == bcf->deployment.len
           && ngx_memcmp(metadata->deployment.data, bcf->deployment.data,
                         bcf->deployment.len)
              == 0;
}


ngx_int_t
lines_billing_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    v = &billing_key_var;

    var = ngx_http_add_variable(cf, &v->name, v->flags);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = v->get_handler;
    var->data = v->data;

    return NGX_OK;
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

    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;
    v->len = 0;
    v->data = (u_char *) "";

    carrier = lines_carrier_find(r);

    if (carrier == NULL || !carrier->billing || r != carrier->subrequest) {
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
