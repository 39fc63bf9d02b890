
/*
 * Stripe's webhook: the raw bytes are verified, then parsed, then handed to
 * whom they concern.  What is not ours, or not known, is answered with 200:
 * anything else would have Stripe send it again for three days.
 */

#include "api/json.h"
#include "auth/dialect.h"
#include "directive/params.h"
#include "http/answer.h"
#include "http/body.h"
#include "http/failpoint.h"
#include "http/headers.h"
#include "http/router.h"
#include "http/text.h"
#include "operation/database.h"
#include "webhook/event.h"
#include "webhook/stripe_signature.h"
#include "webhook/webhook.h"


#define LINES_WEBHOOK_BODY       (256 * 1024)
#define LINES_WEBHOOK_TOLERANCE  300


typedef struct {
    lines_stripe_secrets_t  secrets;
    ngx_array_t            *keys;        /* ngx_str_t: what they are made of */
    ngx_int_t               tolerance;   /* seconds */
} lines_webhook_conf_t;


static ngx_int_t
webhook_refuse(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *reason)
{
    ctx->identity.failure = *reason;

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "lines: webhook refused: %V", reason);

    return lines_refuse(ctx, 400, "Invalid signature");
}


static ngx_int_t
webhook_body(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *body)
{
    json_t                 *json;
    ngx_int_t               rc;
    lines_webhook_conf_t   *wcf;
    lines_stripe_event_t   *event;
    lines_stripe_reason_e   judged;

    wcf = lines_get_loc_conf(r)->own;

    judged = lines_stripe_signature(&wcf->secrets, ctx->data, body, ngx_time(),
                                    wcf->tolerance);

    if (judged == LINES_STRIPE_FAILED) {
        return lines_unavailable(r, ctx, 1);
    }

    if (judged != LINES_STRIPE_ACCEPTED) {
        return webhook_refuse(r, ctx, lines_stripe_signature_reason(judged));
    }

    json = NULL;
    event = ngx_palloc(r->pool, sizeof(lines_stripe_event_t));

    rc = event ? lines_json_parse(r->pool, body, 0, &json, NULL) : NGX_ERROR;

    if (rc == NGX_ERROR) {
        return lines_unavailable(r, ctx, 1);
    }

    if (rc != NGX_OK || lines_stripe_parse_event(json, event) != NGX_OK) {
        return lines_refuse(ctx, 400, "Not an event");
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines webhook: \"%V\" of %V", &event->id, &event->type);

    ctx->data = event;

    return NGX_OK;
}


/* a body is kept only behind a header that could be of its signature */

static ngx_int_t
webhook_read(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_table_elt_t        *h;
    lines_webhook_conf_t   *wcf;
    lines_stripe_reason_e   judged;

    static ngx_str_t  two = ngx_string("two-signatures");

    h = lines_find_header(r, "stripe-signature");

    if (h == NULL || h->value.len == 0) {
        return webhook_refuse(r, ctx, lines_stripe_signature_reason(
                                          LINES_STRIPE_NO_SIGNATURE));
    }

    /* of two, which one would count? */

    if (lines_next_header(r, "stripe-signature", h)) {
        return webhook_refuse(r, ctx, &two);
    }

    wcf = lines_get_loc_conf(r)->own;

    judged = lines_stripe_signature_header(&h->value, ngx_time(),
                                           wcf->tolerance);

    if (judged != LINES_STRIPE_ACCEPTED) {
        return webhook_refuse(r, ctx, lines_stripe_signature_reason(judged));
    }

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines webhook: a signature that may be, its body is read");

    ctx->data = &h->value;

    return lines_read_body(r, ctx, webhook_body);
}


/* what is taken in is nowhere else: not before it is known where that is */

static ngx_int_t
webhook_where(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_database_meet(lines_get_main_conf(r), &ctx->caller);
}


static ngx_int_t
webhook_take(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_stripe_event_t  *event = ctx->data;
    lines_main_conf_t     *lmcf;

    lmcf = lines_get_main_conf(r);

    /* billing sends it again: to another node, or once lines_redis is right */

    if (lines_database_alone(lmcf)) {
        return lines_unavailable(r, ctx, 5);
    }

    if (lmcf->billing == NULL) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "lines: webhook without \"lines_billing\": event \"%V\" "
                      "is ignored", &event->id);
        return NGX_OK;
    }

    if (event->kind == LINES_STRIPE_OTHER) {
        return NGX_OK;
    }

    if (event->livemode != (ngx_int_t) lmcf->billing->livemode) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "lines: webhook's event \"%V\" has another livemode",
                      &event->id);
        return NGX_OK;
    }

    LINES_FAILPOINT("webhook.before");

    return lines_webhook_event(r, ctx, event);
}


static ngx_int_t
webhook_received(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    LINES_FAILPOINT("webhook.after");

    return lines_json_ok(ctx, "{'received':true}");
}


static lines_route_t  webhook_routes[] = {

    { NGX_HTTP_POST, ngx_string(""), ngx_string("webhook"), { NULL },
      (lines_step_pt[]) {
          webhook_read, webhook_where, webhook_take, webhook_received, NULL
      }, NULL },

    { 0, ngx_null_string, ngx_null_string, { NULL }, NULL, NULL }
};


static lines_api_t  webhook_api = {
    ngx_string("webhook"),
    lines_plain_error,
    webhook_routes,
    LINES_WEBHOOK_BODY,
    NULL
};


static lines_param_t  webhook_params[] = {
    lines_param_secret("secret_file", lines_webhook_conf_t, keys,
                       LINES_PARAM_REQUIRED|LINES_PARAM_MANY),
    lines_param_sec("tolerance", lines_webhook_conf_t, tolerance,
                    1, LINES_PARAM_ANY, LINES_WEBHOOK_TOLERANCE),
    lines_param_end
};


static lines_directive_t  webhook_directive = {
    .name = "lines_billing_webhook",
    .params = webhook_params,
    .of = "of"
};


char *
lines_webhook(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    char                  *rv;
    ngx_pool_cleanup_t    *cln;
    lines_webhook_conf_t  *wcf;

    rv = lines_set_api(cf, llcf, &webhook_api);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(lines_webhook_conf_t));
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    wcf = cln->data;
    ngx_memzero(wcf, sizeof(lines_webhook_conf_t));

    if (lines_params(cf, &webhook_directive, 1, wcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (wcf->keys->nelts > LINES_STRIPE_MAX_SECRETS) {
        return "has too many secrets";
    }

    if (lines_stripe_secrets_create(&wcf->secrets, wcf->keys->elts,
                                    wcf->keys->nelts)
        != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_billing_webhook\": OpenSSL failed");
        return NGX_CONF_ERROR;
    }

    cln->handler = lines_stripe_secrets_destroy;
    cln->data = &wcf->secrets;
    llcf->own = wcf;

    return NGX_CONF_OK;
}
