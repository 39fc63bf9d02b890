
#include "api/ask.h"
#include "api/json.h"
#include "api/tenant_limits.h"
#include "auth/auth.h"
#include "deliver/delivery.h"
#include "deliver/webhooks.h"
#include "http/digest.h"
#include "http/id.h"
#include "http/router.h"
#include "operation/record.h"


#define LINES_HOOK_URL        1024
#define LINES_HOOK_TYPES      32

/* "whsec_", and base64 of its bytes */
#define LINES_HOOK_WHSEC      (sizeof("whsec_") - 1 + 44)


typedef struct {
    ngx_str_t      url;
    json_t        *types;      /* borrowed; NULL: all, or as they were */
    ngx_str_t      status;
    ngx_str_t      event;      /* what it is told again: this one, */
    ngx_str_t      after;      /* or all that follow that one */

    lines_list_t   names;      /* of types */
    ngx_str_t      id;
    ngx_str_t      secret;     /* shown once; empty: it is the one before */
    ngx_str_t      sealed;
    ngx_str_t      document;
} hook_t;


static const char  hook_types_bad[] = "types must be a list of event types, as "
                                      "line.active, or of *";


static ngx_uint_t
is_event(ngx_str_t *value)
{
    return ngx_atoof(value->data, value->len) != NGX_ERROR;
}


#define hook_in_types                                                         \
    lines_in_list("types", hook_t, types, 1, LINES_HOOK_TYPES, NULL,          \
                  hook_types_bad)

const lines_body_input_t  lines_webhook_create_input =
    lines_body_input(hook_t,
        lines_in_text("url", hook_t, url, LINES_HOOK_URL,
                      .flags = LINES_REQUIRED),
        hook_in_types);

const lines_body_input_t  lines_webhook_change_input =
    lines_body_input(hook_t,
        lines_in_text("url", hook_t, url, LINES_HOOK_URL),
        hook_in_types,
        lines_in_word("status", hook_t, status,
                      "status must be active or paused",
                      .words = { "active", "paused" }));

const lines_body_input_t  lines_webhook_replay_input =
    lines_body_input(hook_t,
        lines_in_string("event", hook_t, event, 15, is_event,
                        "event must be the id of an event"),
        lines_in_string("after", hook_t, after, 15, is_event,
                        "after must be the id of an event"));

const lines_body_input_t  lines_webhook_own = lines_own(hook_t);


/* flag: its members are spelled as those of accounts */

static ngx_uint_t
hook_snake(lines_ctx_t *ctx)
{
    return lines_is(&ctx->api->name, "account");
}


static ngx_int_t
hook_unknown(lines_ctx_t *ctx)
{
    return lines_refuse(ctx, 404, "Webhook not found");
}


static ngx_int_t
hook_bad_types(lines_ctx_t *ctx)
{
    return lines_refuse(ctx, 400, hook_types_bad);
}


ngx_int_t
lines_webhook_offered(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    if (lines_get_main_conf(r)->hooks == NULL) {
        return lines_refuse(ctx, 404, "Webhooks are not offered here");
    }

    if (ctx->params[0].len && !lines_is_id(&ctx->params[0])) {
        return lines_refuse(ctx, 400, "Invalid webhook id");
    }

    return NGX_OK;
}


ngx_int_t
lines_webhook_check(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    hook_t *hook = ctx->data;

    size_t                 i;
    json_t                *name;
    ngx_str_t             *elts;
    const char            *wrong;
    lines_delivery_url_t   url;

    if (hook->url.len) {
        wrong = lines_delivery_url(lines_get_main_conf(r)->hooks, &hook->url,
                                   &url);
        if (wrong) {
            return lines_refuse(ctx, 400, wrong);
        }
    }

    elts = ngx_palloc(r->pool, LINES_HOOK_TYPES * sizeof(ngx_str_t));
    if (elts == NULL) {
        return NGX_ERROR;
    }

    hook->names.elts = elts;

    if (hook->types && !json_is_array(hook->types)) {
        return hook_bad_types(ctx);
    }

    json_array_foreach(hook->types, i, name) {

        if (!json_is_string(name)) {
            return hook_bad_types(ctx);
        }

        elts[i].data = (u_char *) json_string_value(name);
        elts[i].len = json_string_length(name);
        hook->names.n++;
    }

    return NGX_OK;
}


/* another secret: what is shown of it, and what is kept */

static ngx_int_t
hook_secret(ngx_http_request_t *r, lines_ctx_t *ctx, hook_t *hook)
{
    u_char               bytes[LINES_HOOK_SECRET];
    u_char               buf[LINES_DELIVERY_WHOSE];
    ngx_int_t            rc;
    ngx_str_t            raw, text, whose;
    lines_hooks_conf_t  *hcf;

    hcf = lines_get_main_conf(r)->hooks;

    hook->secret.data = ngx_pnalloc(r->pool, LINES_HOOK_WHSEC);
    hook->sealed.data = ngx_pnalloc(r->pool, LINES_SEALED);

    if (hook->secret.data == NULL
        || hook->sealed.data == NULL
        || lines_delivery_whose(buf, &ctx->identity.tenant, &hook->id, &whose)
           != NGX_OK
        || lines_random(bytes, sizeof(bytes)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    raw.data = bytes;
    raw.len = sizeof(bytes);
    text.data = ngx_cpymem(hook->secret.data, "whsec_", 6);

    ngx_encode_base64(&text, &raw);

    hook->secret.len = LINES_HOOK_WHSEC;
    hook->sealed.len = LINES_SEALED;

    rc = lines_seal(&hcf->keys[0], &whose, bytes, hook->sealed.data);

    OPENSSL_cleanse(bytes, sizeof(bytes));

    return rc;
}


lines_answered(hook_put, hook_t *hook, hook_put)
{
    ngx_str_t  *which;

    switch (reply->is) {

    case LINES_HOOK_PUT_MADE:
        hook->document = reply->document;
        return NGX_OK;

    case LINES_HOOK_PUT_TYPE:
        return hook_bad_types(ctx);

    case LINES_HOOK_PUT_FULL:
        which = &lines_tenant_bounds[LINES_TENANT_WEBHOOKS];
        return lines_tenant_limited(ctx, which, 0);

    default: /* LINES_HOOK_PUT_GONE: its tenant was deleted just now */
        return hook_unknown(ctx);
    }
}


ngx_int_t
lines_webhook_create(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    hook_t *hook = ctx->data;

    static ngx_str_t  all = ngx_string("*");

    hook->id.len = LINES_ID_LEN;
    hook->id.data = ngx_pnalloc(r->pool, LINES_ID_LEN);

    if (hook->id.data == NULL
        || lines_id(hook->id.data) != NGX_OK
        || hook_secret(r, ctx, hook) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (hook->names.n == 0) {
        hook->names = (lines_list_t) { .n = 1, .elts = &all };
    }

    return lines_hook_put(&ctx->caller, hook_put, ctx,
                          .tenant = ctx->identity.tenant, .id = hook->id,
                          .url = hook->url, .secret = hook->sealed,
                          .most = *lines_tenant_limits_of(r)->webhooks,
                          .snake = hook_snake(ctx), .types = hook->names);
}


lines_asks(lines_webhook_list, void *none, hook_list,
           .tenant = ctx->identity.tenant, .snake = hook_snake(ctx))
{
    return lines_json_ok(ctx, hook_snake(ctx)
                              ? "{'status':'OK','webhooks':[%A]}"
                              : "{'success':true,'webhooks':[%A]}",
                         &reply->documents);
}


static ngx_int_t
hook_answer(lines_ctx_t *ctx, ngx_uint_t status, ngx_str_t *document,
    ngx_str_t *secret)
{
    lines_json_t  json = { .pool = ctx->request->pool };

    lines_json_add(&json, hook_snake(ctx) ? "{'status':'OK','webhook':%V"
                                          : "{'success':true,'webhook':%V",
                   document);

    if (secret->len) {
        lines_json_add(&json, ",'secret':'%V'", secret);
    }

    lines_json_add(&json, "}");

    return lines_json_answer(ctx, status, &json);
}


lines_asks(lines_webhook_show, void *none, hook_list,
           .tenant = ctx->identity.tenant, .id = ctx->params[0],
           .snake = hook_snake(ctx))
{
    ngx_str_t  secret = ngx_null_string;

    return reply->documents.n
           ? hook_answer(ctx, NGX_HTTP_OK, &reply->documents.elts[0], &secret)
           : hook_unknown(ctx);
}


lines_asks(lines_webhook_change, hook_t *hook, hook_change,
           .tenant = ctx->identity.tenant, .id = ctx->params[0],
           .url = hook->url, .status = hook->status,
           .snake = hook_snake(ctx), .types = hook->names)
{
    switch (reply->is) {

    case LINES_HOOK_CHANGE_CHANGED:
        hook->document = reply->document;
        return NGX_OK;

    case LINES_HOOK_CHANGE_TYPE:
        return hook_bad_types(ctx);

    default: /* LINES_HOOK_CHANGE_UNKNOWN */
        return hook_unknown(ctx);
    }
}


lines_asks(lines_webhook_delete, void *none, hook_delete,
           .tenant = ctx->identity.tenant, .id = ctx->params[0])
{
    if (reply->deleted == 0) {
        return hook_unknown(ctx);
    }

    return lines_json_ok(ctx, hook_snake(ctx)
                              ? "{'status':'OK','id':'%V','deleted':true}"
                              : "{'success':true,'id':'%V','deleted':true}",
                         &ctx->params[0]);
}


lines_answered(hook_rotated, hook_t *hook, hook_secret)
{
    return reply->is == LINES_HOOK_SECRET_UNKNOWN
           ? hook_unknown(ctx)
           : hook_answer(ctx, NGX_HTTP_OK, &reply->document, &hook->secret);
}


ngx_int_t
lines_webhook_rotate(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    hook_t *hook = ctx->data;

    hook->id = ctx->params[0];

    if (hook_secret(r, ctx, hook) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_hook_secret(&ctx->caller, hook_rotated, ctx,
                             .tenant = ctx->identity.tenant, .id = hook->id,
                             .secret = hook->sealed,
                             .keep = lines_get_main_conf(r)->hooks->rotation,
                             .snake = hook_snake(ctx));
}


lines_asks(lines_webhook_calls, void *none, hook_calls,
           .tenant = ctx->identity.tenant, .id = ctx->params[0])
{
    if (reply->is == LINES_HOOK_CALLS_UNKNOWN) {
        return hook_unknown(ctx);
    }

    return lines_json_ok(ctx, hook_snake(ctx)
                              ? "{'status':'OK','deliveries':[%A]}"
                              : "{'success':true,'deliveries':[%A]}",
                         &reply->documents);
}


lines_answered(hook_replays, hook_t *hook, hook_replay)
{
    switch (reply->is) {

    case LINES_HOOK_REPLAY_REPLAYED:
        return NGX_OK;

    case LINES_HOOK_REPLAY_GONE:
        return lines_error(r, ctx, 410, "events_gone",
                           "There is no such event, or it is not kept any "
                           "more");

    default: /* LINES_HOOK_REPLAY_UNKNOWN */
        return hook_unknown(ctx);
    }
}


ngx_int_t
lines_webhook_replay(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    hook_t *hook = ctx->data;

    ngx_str_t  *event;

    if ((hook->event.len == 0) == (hook->after.len == 0)) {
        return lines_refuse(ctx, 400, "Either event or after is required");
    }

    event = hook->after.len ? &hook->after : &hook->event;

    return lines_hook_replay(&ctx->caller, hook_replays, ctx,
                             .tenant = ctx->identity.tenant,
                             .id = ctx->params[0],
                             .entry = ngx_atoof(event->data, event->len),
                             .all = hook->after.len != 0);
}


lines_tells(lines_webhook_due, hooks_due_soon, .tenant = ctx->identity.tenant,
            .shard = lines_due_shard(&ctx->identity.tenant), .delay = 0)


lines_tells(lines_webhook_tell, hooks_tell, .tenant = ctx->identity.tenant,
            .channel = ngx_string(LINES_REVOKED))


ngx_int_t
lines_webhook_made(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    hook_t *hook = ctx->data;

    return hook_answer(ctx, NGX_HTTP_CREATED, &hook->document, &hook->secret);
}


ngx_int_t
lines_webhook_changed(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    hook_t *hook = ctx->data;

    return hook_answer(ctx, NGX_HTTP_OK, &hook->document, &hook->secret);
}


ngx_int_t
lines_webhook_replayed(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_json(ctx, 202, hook_snake(ctx)
                                ? "{'status':'OK','id':'%V','replayed':true}"
                                : "{'success':true,'id':'%V','replayed':true}",
                      &ctx->params[0]);
}
