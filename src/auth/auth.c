
/*
 * API keys: looked up by hash, remembered in lines_zone, forgotten on every
 * node within a second of their revocation.
 */

#include "auth/auth.h"
#include "auth/bearer.h"
#include "auth/cache.h"
#include "auth/clerk.h"
#include "auth/hide.h"
#include "auth/identity.h"
#include "http/answer.h"
#include "http/cors.h"
#include "http/headers.h"
#include "http/metrics.h"
#include "http/origin.h"
#include "http/text.h"
#include "store/calls.h"


#define LINES_KEY_MAX       256
#define LINES_DAY           86400

#define LINES_PLAN_LEN      64
#define LINES_PLAN_TTL      5000
#define LINES_PLAN_ENTRIES  1024


typedef struct {
    lines_auth_done_pt  done;
    ngx_uint_t          pair;     /* flag */
    u_char              secret[LINES_SHA256_LEN];
    u_char              hex[LINES_SHA256_LEN * 2];    /* of key's digest */
    lines_key_t         key;
} lines_key_lookup_t;


/* a key that is asked for in time, while what is remembered of it counts */

typedef struct {
    ngx_uint_t          busy;
    lines_key_t         key;
} lines_key_refresh_t;

#define LINES_KEY_REFRESHES  64


static struct {
    lines_main_conf_t    *lmcf;
    lines_caller_t        caller;
    lines_key_refresh_t   keys[LINES_KEY_REFRESHES];
} refresh;


/* a tenant's plan, remembered by the worker for a few seconds */

typedef struct {
    ngx_msec_t  asked;
    ngx_str_t   tenant;
    ngx_str_t   plan;
    u_char      text[LINES_TENANT_LEN + LINES_PLAN_LEN];    /* of both */
} lines_plan_entry_t;


/* one entry for each value of a hash: the last tenant has it */

static lines_plan_entry_t  plan_entries[LINES_PLAN_ENTRIES];


/* only to who has shown all of a key */

static const lines_refusal_t  key_expired = {
    NGX_HTTP_UNAUTHORIZED, "key_expired",
    "The API key has expired: use a new one"
};

static const lines_refusal_t  key_read_only = {
    NGX_HTTP_FORBIDDEN, "key_read_only",
    "The API key may only read: use GET or HEAD, or another key"
};


/* a header of that name, in lower case, hidden from upstreams or not; or
   NULL */

static ngx_table_elt_t *
credential(ngx_http_request_t *r, const char *name)
{
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    i = 0;
    h = lines_find_header(r, name);

    if (h) {
        return h;
    }

    do {
        h = lines_hidden(&r, &i);
    } while (h && !lines_is_nocase(&h->key, name));

    return h;
}


/* a header was left without it, for the upstream */

static ngx_str_t
hidden_cookie(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_str_t         cookie;
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    i = 0;
    ngx_str_null(&cookie);

    do {
        h = lines_hidden(&r, &i);
    } while (h
             && (!lines_is_nocase(&h->key, "cookie")
                 || lines_bearer_cookie(&h->value, name, &cookie) != NGX_OK));

    return cookie;
}


/*
 * Flag: nothing that a client asks for by another site's leave, or with a key
 * that may only read, can change anything: it came with GET, HEAD or OPTIONS,
 * and is no other method by now.  A subrequest is GET whatever the client sent,
 * and so is a request that error_page sends to a URI: the request line tells.
 * A WebSocket begins with GET, and what then comes through it may be anything.
 */

static ngx_uint_t
request_reads(ngx_http_request_t *r)
{
    ngx_str_t        *line;
    ngx_table_elt_t  *h;

    static const ngx_uint_t  methods = NGX_HTTP_GET|NGX_HTTP_HEAD
                                       |NGX_HTTP_OPTIONS;

    line = &r->main->request_line;
    h = lines_find_header(r, "upgrade");

    return (r->method & methods)
           && (r->main->method & methods)
           && ((line->len > 4 && ngx_strncmp(line->data, "GET ", 4) == 0)
               || (line->len > 5 && ngx_strncmp(line->data, "HEAD ", 5) == 0)
               || (line->len > 8
                   && ngx_strncmp(line->data, "OPTIONS ", 8) == 0))
           && (h == NULL
               || ngx_strcasestrn(h->value.data, "websocket", 9 - 1) == NULL);
}


/*
 * The page that asks says nothing of itself that another could not say; its
 * browser does, in headers that no page can set.  Where a token was minted
 * (azp) is not who sends it, and SameSite lets sibling hosts through.
 */

static lines_site_e
cookie_site(ngx_http_request_t *r, lines_loc_conf_t *llcf)
{
    ngx_int_t             rc;
    ngx_str_t             origin, *origins;
    ngx_uint_t            n;
    lines_cors_t         *cors;
    ngx_table_elt_t      *h;
    lines_jwt_options_t  *options;

    if (request_reads(r)) {
        return LINES_SITE_TRUSTED;
    }

    /* without "credentials" its list is of pages that have no cookies */

    cors = llcf->cors;

    if (cors && !cors->off && cors->credentials) {
        origins = cors->origins;
        n = cors->norigins;

    } else {
        options = &llcf->clerk->options;
        origins = options->parties;
        n = options->nparties;
    }

    rc = lines_origin(r, &origin);

    if (rc != NGX_DECLINED) {
        return (rc == NGX_OK
                && (lines_origin_among(&origin, origins, n)
                    || lines_origin_own(r, &origin)))
               ? LINES_SITE_TRUSTED
               : LINES_SITE_OTHER;
    }

    h = lines_find_header(r, "sec-fetch-site");

    if (h == NULL) {
        return LINES_SITE_UNSAID;
    }

    return (lines_is(&h->value, "same-origin")
            && lines_next_header(r, "sec-fetch-site", h) == NULL)
           ? LINES_SITE_TRUSTED
           : LINES_SITE_OTHER;
}


static void
rules_of(ngx_http_request_t *r, ngx_uint_t methods, time_t stale,
    lines_rules_t *rules)
{
    ngx_table_elt_t   *h;
    lines_loc_conf_t  *llcf;

    llcf = lines_get_loc_conf(r);

    *rules = (lines_rules_t) { .methods = methods, .stale = stale,
                               .clerk = llcf->clerk,
                               .key_id_header = llcf->key_id_header,
                               .secret_header = llcf->secret_header };

    if (methods & (LINES_AUTH_KEY|LINES_AUTH_KEY_PAIR)) {
        rules->writes = !request_reads(r);
    }

    if (methods & LINES_AUTH_KEY_PAIR) {

        h = credential(r, (char *) llcf->key_id_header.data);
        if (h) {
            rules->key_id = h->value;
        }

        h = credential(r, (char *) llcf->secret_header.data);
        if (h) {
            rules->secret = h->value;
        }
    }

    if (methods & (LINES_AUTH_KEY|LINES_AUTH_CLERK)) {

        h = r->headers_in.authorization
            ? r->headers_in.authorization
            : credential(r, "authorization");

        if (h) {
            rules->authorization = h->value;
        }
    }

    if ((methods & LINES_AUTH_CLERK)
        && llcf->clerk
        && llcf->clerk->cookie.len)
    {
        h = lines_find_header(r, "cookie");

        while (h
               && lines_bearer_cookie(&h->value, &llcf->clerk->cookie,
                                      &rules->cookie)
                  != NGX_OK)
        {
            h = lines_next_header(r, "cookie", h);
        }

        if (h == NULL) {
            rules->cookie = hidden_cookie(r, &llcf->clerk->cookie);
        }

        rules->site = rules->cookie.len ? cookie_site(r, llcf)
                                        : LINES_SITE_TRUSTED;
    }
}


static ngx_int_t
auth_fail(ngx_http_request_t *r, lines_ctx_t *ctx, const char *failure,
    lines_auth_done_pt done)
{
    ctx->identity.failure.data = (u_char *) failure;
    ctx->identity.failure.len = ngx_strlen(failure);

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "lines: authentication failed: %s", failure);

    return done(r, ctx, NGX_DECLINED);
}


/*
 * Told once a day by each node that remembers it.  What Redis did not hear of
 * is told again when Redis was asked again; nobody waits for it.
 */

static void
key_used(lines_ctx_t *ctx, lines_key_lookup_t *lookup)
{
    uint32_t  day;

    day = (uint32_t) (ngx_time() / LINES_DAY);

    if (lookup->key.used >= day
        || !lines_key_cache_use(lines_get_main_conf(ctx->request),
                                lookup->key.digest, day))
    {
        return;
    }

    (void) lines_forget_key_used(&ctx->caller, .id.data = lookup->hex,
                                 .id.len = LINES_SHA256_LEN * 2);
}


static ngx_int_t
key_judge(ngx_http_request_t *r, lines_ctx_t *ctx, lines_key_lookup_t *lookup)
{
    ngx_time_t        *tp;
    ngx_uint_t         match;
    lines_key_t       *key;
    lines_identity_t  *identity;

    key = &lookup->key;
    identity = &ctx->identity;

    /* an unknown key is compared too: both take as long; without a secret
       on either side these are zeros */

    match = lines_equal(lookup->secret, key->secret, LINES_SHA256_LEN);

    if (key->tenant_len == 0) {
        return auth_fail(r, ctx, "key-unknown", lookup->done);
    }

    if (!match || key->tenant[0] != (lookup->pair ? 'a' : 'w')) {
        return auth_fail(r, ctx, "key-mismatch", lookup->done);
    }

    /* whatever is remembered of it: the instant is as good as the key */

    tp = ngx_timeofday();

    if (key->expires
        && key->expires <= (int64_t) tp->sec * 1000 + (int64_t) tp->msec)
    {
        identity->refusal = &key_expired;
        identity->challenge = "Bearer error=\"invalid_token\", "
                              "error_description=\"The API key has expired\"";

        return auth_fail(r, ctx, "key-expired", lookup->done);
    }

    if (key->reads && identity->rules.writes) {
        identity->refusal = &key_read_only;

        return auth_fail(r, ctx, "key-read-only", lookup->done);
    }

    key_used(ctx, lookup);

    identity->key_id.data = lookup->hex;
    identity->key_id.len = LINES_SHA256_LEN * 2;
    identity->tenant.data = key->tenant;
    identity->tenant.len = key->tenant_len;
    identity->until = key->expires;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines key: tenant \"%V\"", &identity->tenant);

    return lookup->done(r, ctx, NGX_OK);
}


static void
key_take(lines_key_t *key, lines_key_read_reply_t *reply, ngx_log_t *log)
{
    ngx_int_t   used;
    ngx_str_t  *tenant;

    tenant = &reply->tenant;

    ngx_memzero(key->secret, LINES_SHA256_LEN);
    key->tenant_len = 0;
    key->asked = ngx_current_msec;

    used = ngx_atoi(reply->used.data, reply->used.len);
    key->used = (used > 0) ? (uint32_t) used : 0;

    /* a role that is not known yet is no leave to write */

    key->reads = (reply->role.len && !lines_is(&reply->role, "all"));
    key->expires = reply->expires.len
                   ? ngx_atoof(reply->expires.data, reply->expires.len) : 0;

    if (tenant->len <= 2 || tenant->len > LINES_TENANT_LEN) {

        /* nobody's */

    } else if (reply->secret.len
               && lines_hex_decode(key->secret, LINES_SHA256_LEN,
                                   &reply->secret)
                  != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "lines: a key of \"%V\" has a malformed secret "
                      "hash in Redis", tenant);

    } else if (key->expires == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "lines: a key of \"%V\" has a malformed expiry in "
                      "Redis", tenant);

    } else {
        ngx_memcpy(key->tenant, tenant->data, tenant->len);
        key->tenant_len = (u_char) tenant->len;
    }
}


static ngx_int_t
key_reply(void *data, lines_key_read_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    lines_key_t         *key;
    ngx_http_request_t  *r;
    lines_key_lookup_t  *lookup;

    r = ctx->request;
    lookup = ctx->auth;
    key = &lookup->key;

    if (reply == NULL) {

        if (key->tenant_len == 0
            || lines_zone_since(key->asked) / 1000
               >= (ngx_msec_t) ctx->identity.rules.stale)
        {
            ngx_str_set(&ctx->identity.failure, "unavailable");

            return lookup->done(r, ctx, NGX_ERROR);
        }

        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "lines key: stale");
        lines_metrics_inc(key_cache_stale);
        return key_judge(r, ctx, lookup);
    }

    key_take(key, reply, r->connection->log);

    lines_key_cache_put(lines_get_main_conf(r), key);

    return key_judge(r, ctx, lookup);
}


static ngx_int_t
key_refreshed(void *data, lines_key_read_reply_t *reply)
{
    lines_key_refresh_t *asked = data;

    asked->busy = 0;

    if (reply) {
        key_take(&asked->key, reply, ngx_cycle->log);
        lines_key_cache_put(refresh.lmcf, &asked->key);
    }

    return NGX_OK;
}


/*
 * A key that is in use is looked up again before its time is over, so that
 * nobody waits for it, whatever Redis does meanwhile.
 */

static void
key_refresh(lines_key_lookup_t *lookup)
{
    ngx_uint_t            i;
    lines_key_refresh_t  *asked;

    asked = NULL;

    for (i = 0; i < LINES_KEY_REFRESHES; i++) {

        if (!refresh.keys[i].busy) {
            asked = &refresh.keys[i];

        } else if (ngx_memcmp(refresh.keys[i].key.digest, lookup->key.digest,
                              LINES_SHA256_LEN)
                   == 0)
        {
            return;
        }
    }

    if (asked == NULL) {
        return;
    }

    asked->key = lookup->key;
    asked->busy = (lines_try_key_read(&refresh.caller, key_refreshed, asked,
                                      .id.data = lookup->hex,
                                      .id.len = LINES_SHA256_LEN * 2)
                   == NGX_AGAIN);
}


static ngx_uint_t
key_well_formed(ngx_str_t *key)
{
    return key->len && key->len <= LINES_KEY_MAX && lines_is_graph(key);
}


static ngx_int_t
key_authenticate(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *key,
    ngx_str_t *secret, lines_auth_done_pt done)
{
    ngx_msec_t           age;
    ngx_int_t            rc;
    lines_main_conf_t   *lmcf;
    lines_key_lookup_t  *lookup;

    if (!key_well_formed(key) || (secret && !key_well_formed(secret))) {
        return auth_fail(r, ctx, "key-malformed", done);
    }

    lookup = ngx_pcalloc(r->pool, sizeof(lines_key_lookup_t));
    if (lookup == NULL) {
        return NGX_ERROR;
    }

    lookup->done = done;
    lookup->pair = (secret != NULL);

    if (lines_sha256(key, lookup->key.digest) != NGX_OK
        || (secret && lines_sha256(secret, lookup->secret) != NGX_OK))
    {
        return NGX_ERROR;
    }

    ngx_str_set(&ctx->identity.method, "key");

    ctx->auth = lookup;
    lmcf = lines_get_main_conf(r);

    ngx_hex_dump(lookup->hex, lookup->key.digest, LINES_SHA256_LEN);

    /* a cached answer counts while revocations surely reach this worker, and
       did so ever since it was cached */

    if (lines_key_cache_get(lmcf, &lookup->key) == NGX_OK
        && lookup->key.verified
        && lines_zone_since(lookup->key.asked) < lmcf->key_ttl
        && lmcf->subscriber
        && lines_subscriber_alive(lmcf->subscriber))
    {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "lines key: cached");
        lines_metrics_inc(key_cache_hits);

        age = lines_zone_since(lookup->key.asked);

        if (lookup->key.tenant_len
            && age * 4 >= lmcf->key_ttl * 3)
        {
            key_refresh(lookup);
        }

        return key_judge(r, ctx, lookup);
    }

    lines_metrics_inc(key_cache_misses);

    rc = lines_try_key_read(&ctx->caller, key_reply, ctx,
                            .id.data = lookup->hex,
                            .id.len = LINES_SHA256_LEN * 2);

    return (rc == NGX_DECLINED) ? key_reply(ctx, NULL) : rc;
}


ngx_int_t
lines_authenticate(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t methods,
    time_t stale, lines_auth_done_pt done)
{
    ngx_str_t       token;
    lines_rules_t  *rules;

    ngx_memzero(&ctx->identity, sizeof(lines_identity_t));

    rules = &ctx->identity.rules;

    rules_of(r, methods, stale, rules);

    if (rules->key_id.data && rules->secret.data) {
        return key_authenticate(r, ctx, &rules->key_id, &rules->secret, done);
    }

    if ((methods & LINES_AUTH_KEY)
        && lines_bearer_key(&lines_get_main_conf(r)->key_prefix,
                            &rules->authorization, &token))
    {
        return key_authenticate(r, ctx, &token, NULL, done);
    }

    if ((methods & LINES_AUTH_CLERK) && rules->clerk) {
        return lines_clerk_authenticate(r, ctx, done);
    }

    return auth_fail(r, ctx, "credentials-missing", done);
}


/* what the one accepts, the other does; the cookie is no part of the id: it
   does not make a token good */

static ngx_uint_t
same_clerk(lines_clerk_conf_t *a, lines_clerk_conf_t *b)
{
    return a == b
           || (a
               && b
               && a->jwks == b->jwks
               && ngx_memcmp(a->id, b->id, LINES_SHA256_LEN) == 0
               && lines_same(&a->cookie, &b->cookie));
}


ngx_uint_t
lines_same_rules(ngx_http_request_t *r, lines_identity_t *identity,
    ngx_uint_t methods, time_t stale)
{
    lines_rules_t  *a, b;

    if (!identity->settled) {
        return 0;
    }

    a = &identity->rules;

    rules_of(r, methods, stale, &b);

    return a->methods == b.methods
           && a->stale == b.stale
           && same_clerk(a->clerk, b.clerk)
           && lines_same(&a->key_id_header, &b.key_id_header)
           && lines_same(&a->secret_header, &b.secret_header)
           && lines_same(&a->authorization, &b.authorization)
           && lines_same(&a->key_id, &b.key_id)
           && lines_same(&a->secret, &b.secret)
           && lines_same(&a->cookie, &b.cookie)
           && a->site == b.site
           && a->writes == b.writes;
}


ngx_int_t
lines_settle(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc)
{
    ctx->identity.settled = 1;
    ctx->identity.rc = rc;

    lines_forget_computed(r);

    return NGX_OK;
}


static ngx_int_t
tenant_known(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc)
{
    lines_identity_t  *identity;

    identity = &ctx->identity;

    (void) lines_settle(r, ctx, rc);

    if (rc == NGX_OK && identity->tenant.len) {
        return lines_tenant_plan(r, ctx);
    }

    return lines_refuse_identity(r, ctx, lines_identity_status(identity),
                                 (identity->rules.methods
                                  == LINES_AUTH_KEY_PAIR)
                                 ? NULL : lines_challenge(ctx));
}


ngx_int_t
lines_authenticate_workspace(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_authenticate(r, ctx, LINES_AUTH_KEY|LINES_AUTH_CLERK, 0,
                              tenant_known);
}


ngx_int_t
lines_authenticate_session(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_authenticate(r, ctx, LINES_AUTH_CLERK, 0, tenant_known);
}


ngx_int_t
lines_authenticate_account(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_authenticate(r, ctx, LINES_AUTH_KEY_PAIR, 0, tenant_known);
}


ngx_uint_t
lines_identity_status(lines_identity_t *identity)
{
    /* where nobody knows: neither yes nor no */

    return (identity->rc == NGX_OK) ? NGX_HTTP_BAD_REQUEST
           : (identity->rc == NGX_ERROR) ? NGX_HTTP_SERVICE_UNAVAILABLE
           : identity->retry ? NGX_HTTP_TOO_MANY_REQUESTS
           : identity->refusal ? identity->refusal->status
           : NGX_HTTP_UNAUTHORIZED;
}


ngx_int_t
lines_refuse_identity(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t status, const char *challenge)
{
    const lines_refusal_t  *refusal;

    if (status == NGX_HTTP_SERVICE_UNAVAILABLE) {
        return lines_unavailable(r, ctx, 1);
    }

    if (status == NGX_HTTP_TOO_MANY_REQUESTS) {
        ctx->retry_after = ngx_max(ctx->identity.retry, 1);

        return lines_error(r, ctx, status, "rate_limited",
                           "Too many session tokens of this address failed");
    }

    if (status == NGX_HTTP_UNAUTHORIZED
        && challenge
        && lines_ask(r, challenge) != NGX_OK)
    {
        return NGX_ERROR;
    }

    refusal = ctx->identity.refusal;

    if (refusal) {
        return lines_error(r, ctx, refusal->status, refusal->code,
                           refusal->words);
    }

    return lines_error(r, ctx, status, NULL,
                       (status != NGX_HTTP_UNAUTHORIZED)
                       ? "No active workspace"
                       : challenge ? "Unauthorized"
                       : "Invalid API credentials");
}


static lines_plan_entry_t *
plan_entry(ngx_str_t *tenant)
{
    return &plan_entries[
               ngx_murmur_hash2(tenant->data, tenant->len)
               % LINES_PLAN_ENTRIES];
}


static ngx_int_t
plan_reply(void *data, lines_plan_get_reply_t *reply)
{
    lines_ctx_t *ctx = data;

    u_char              *p;
    ngx_str_t           *tenant, *plan;
    lines_plan_entry_t  *entry;

    if (reply == NULL) {
        return NGX_OK;
    }

    tenant = &ctx->identity.tenant;
    plan = &ctx->identity.plan;

    *plan = reply->plan;

    if (plan->len <= LINES_PLAN_LEN) {
        entry = plan_entry(tenant);
        entry->asked = ngx_current_msec;

        p = ngx_cpymem(entry->text, tenant->data, tenant->len);
        entry->tenant = (ngx_str_t) { tenant->len, entry->text };
        entry->plan = (ngx_str_t) { plan->len, p };

        if (plan->len) {
            ngx_memcpy(p, plan->data, plan->len);
        }
    }

    return NGX_OK;
}


ngx_int_t
lines_tenant_plan(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_str_t           *tenant, *plan;
    lines_main_conf_t   *lmcf;
    lines_plan_entry_t  *entry;

    lmcf = lines_get_main_conf(r);
    tenant = &ctx->identity.tenant;

    if (!lmcf->tenant_plan
        || ctx->identity.plan.len
        || tenant->len == 0
        || tenant->len > LINES_TENANT_LEN)
    {
        return NGX_OK;
    }

    entry = plan_entry(tenant);
    plan = &ctx->identity.plan;

    if (lines_same(&entry->tenant, tenant)
        && ngx_current_msec - entry->asked < LINES_PLAN_TTL)
    {
        plan->data = ngx_pstrdup(r->pool, &entry->plan);
        plan->len = plan->data ? entry->plan.len : 0;

        return NGX_OK;
    }

    rc = lines_try_plan_get(&ctx->caller, plan_reply, ctx, .tenant = *tenant);

    return (rc == NGX_AGAIN) ? NGX_AGAIN : NGX_OK;
}


void
lines_auth_told(lines_main_conf_t *lmcf, ngx_str_t *message)
{
    u_char  digest[LINES_SHA256_LEN];

    if (message == NULL) {
        lines_key_cache_revoke(lmcf, NULL);

    } else if (lines_hex_decode(digest, LINES_SHA256_LEN, message) == NGX_OK) {
        lines_key_cache_revoke(lmcf, digest);
    }
}


ngx_int_t
lines_auth_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf,
    lines_message_pt told)
{
    ngx_str_t  channel = ngx_string(LINES_REVOKED);

    refresh.lmcf = lmcf;
    lines_caller_init(&refresh.caller, lmcf->redis, NULL, cycle->log);

    lmcf->subscriber = lines_subscriber_create(cycle, lmcf->redis, &channel,
                                               told, lmcf);

    return lmcf->subscriber ? NGX_OK : NGX_ERROR;
}


void
lines_auth_exit_process(lines_main_conf_t *lmcf)
{
    lines_caller_detach(&refresh.caller);

    if (lmcf->subscriber) {
        lines_subscriber_destroy(lmcf->subscriber);
        lmcf->subscriber = NULL;
    }
}
