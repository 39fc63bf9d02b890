
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/bearer.h"
#include "auth/clerk.h"
#include "auth/token_cache.h"
#include "http/metrics.h"
#include "http/steps.h"


/* one token of one request */

typedef struct {
    ngx_http_request_t  *request;
    lines_clerk_conf_t  *conf;
    lines_auth_done_pt   done;

    ngx_str_t            text;
    lines_jwt_t          jwt;
    lines_token_t        token;    /* its place in the cache */

    lines_jwks_waiter_t  waiter;
    ngx_uint_t           since;    /* fetches before it came */
    unsigned             begun:1;
    unsigned             parsed:1;
} lines_session_t;


static ngx_int_t clerk_find(ngx_http_request_t *r, lines_clerk_conf_t *conf,
    ngx_str_t *token, lines_jwt_reason_e *reason);
static ngx_int_t clerk_find_cookie(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *token);
static ngx_int_t clerk_judge(lines_ctx_t *ctx, lines_session_t *session);
static ngx_int_t clerk_verify(lines_ctx_t *ctx, lines_session_t *session,
    int64_t now);
static ngx_int_t clerk_wait(lines_ctx_t *ctx, lines_session_t *session,
    ngx_uint_t fetch);
static void clerk_resume(void *data);
static void clerk_cleanup(void *data);
static ngx_int_t clerk_accept(lines_ctx_t *ctx, lines_session_t *session);
static void clerk_remember(lines_session_t *session, int64_t now);
static ngx_int_t clerk_refuse(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_jwt_reason_e reason, lines_auth_done_pt done);
static ngx_int_t clerk_unavailable(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_auth_done_pt done);


ngx_int_t
lines_clerk_authenticate(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_auth_done_pt done)
{
    ngx_str_t            token;
    ngx_uint_t           i;
    ngx_pool_cleanup_t  *cln;
    lines_jwt_reason_e   reason;
    lines_session_t     *session;
    lines_loc_conf_t    *llcf;

    llcf = lines_get_loc_conf(r);

    ngx_str_set(&ctx->identity.method, "clerk");

    if (clerk_find(r, llcf->clerk, &token, &reason) != NGX_OK) {
        return clerk_refuse(r, ctx, reason, done);
    }

    if (token.len > LINES_JWT_MAX_LEN) {
        return clerk_refuse(r, ctx, LINES_JWT_TOO_LONG, done);
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(lines_session_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    session = cln->data;
    ngx_memzero(session, sizeof(lines_session_t));

    session->request = r;
    session->conf = llcf->clerk;
    session->done = done;
    session->text = token;

    cln->handler = clerk_cleanup;

    if (lines_sha256(&token, session->token.digest) != NGX_OK) {
        return NGX_ERROR;
    }

    /* what one configuration accepts is nothing to another */

    for (i = 0; i < LINES_SHA256_LEN; i++) {
        session->token.digest[i] ^= llcf->clerk->id[i];
    }

    return clerk_judge(ctx, session);
}


static ngx_int_t
clerk_find(ngx_http_request_t *r, lines_clerk_conf_t *conf, ngx_str_t *token,
    lines_jwt_reason_e *reason)
{
    ngx_int_t  rc;

    rc = NGX_DECLINED;

    if (r->headers_in.authorization) {
        rc = lines_bearer_header(&r->headers_in.authorization->value, token);
    }

    if (rc == NGX_ABORT) {
        *reason = LINES_JWT_MALFORMED;
        return NGX_DECLINED;
    }

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    *reason = LINES_JWT_MISSING;

    lines_clerk_cookie(r, conf, token);

    if (token->len == 0) {
        return NGX_DECLINED;
    }

    if (conf->options.nparties == 0 && !lines_clerk_reads(r)) {
        *reason = LINES_JWT_COOKIE_REFUSED;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * A subrequest is GET whatever the client sent, and so is a request that
 * error_page sends to a URI: the request line tells.
 */

ngx_uint_t
lines_clerk_reads(ngx_http_request_t *r)
{
    ngx_str_t  *line;

    line = &r->main->request_line;

    return (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))
           && (r->main->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))
           && ((line->len > 4 && ngx_strncmp(line->data, "GET ", 4) == 0)
               || (line->len > 5 && ngx_strncmp(line->data, "HEAD ", 5) == 0));
}


void
lines_clerk_cookie(ngx_http_request_t *r, lines_clerk_conf_t *conf,
    ngx_str_t *token)
{
    if (conf == NULL
        || conf->cookie.len == 0
        || clerk_find_cookie(r, &conf->cookie, token) != NGX_OK)
    {
        ngx_str_null(token);
    }
}


static ngx_int_t
clerk_find_cookie(ngx_http_request_t *r, ngx_str_t *name, ngx_str_t *token)
{
#if (nginx_version >= 1023000)

    ngx_table_elt_t  *h;

    for (h = r->headers_in.cookie; h; h = h->next) {
        if (lines_bearer_cookie(&h->value, name, token) == NGX_OK) {
            return NGX_OK;
        }
    }

#else

    ngx_uint_t         i;
    ngx_table_elt_t  **h;

    h = r->headers_in.cookies.elts;

    for (i = 0; i < r->headers_in.cookies.nelts; i++) {
        if (lines_bearer_cookie(&h[i]->value, name, token) == NGX_OK) {
            return NGX_OK;
        }
    }

#endif

    return NGX_DECLINED;
}


/* from the top after each wait */

static ngx_int_t
clerk_judge(lines_ctx_t *ctx, lines_session_t *session)
{
    u_char              *buf;
    int64_t              now;
    ngx_int_t            rc;
    ngx_uint_t           fetch;
    ngx_time_t          *tp;
    ngx_http_request_t  *r;

    r = session->request;

    tp = ngx_timeofday();
    now = (int64_t) tp->sec * 1000 + tp->msec;

    rc = lines_jwks_current(session->conf->jwks, &fetch);

    if (!session->begun) {
        session->begun = 1;
        session->since = fetch;
    }

    if (rc == NGX_OK) {
        session->token.generation = session->conf->jwks->generation;

        if (lines_token_cache_get(lines_get_main_conf(r), &session->token, now)
            == NGX_OK)
        {
            ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                           "lines clerk: cached");

            lines_metrics_inc(token_cache_hits);

            return clerk_accept(ctx, session);
        }

        lines_metrics_inc(token_cache_misses);
    }

    /* nonsense is refused though the keys be away */

    if (!session->parsed) {

        buf = ngx_pnalloc(r->pool, lines_jwt_room(session->text.len));
        if (buf == NULL) {
            return NGX_ERROR;
        }

        switch (lines_jwt_parse(&session->jwt, &session->text, buf)) {

        case NGX_OK:
            session->parsed = 1;
            break;

        case NGX_DECLINED:
            return clerk_refuse(r, ctx, session->jwt.reason, session->done);

        default:
            return NGX_ERROR;
        }
    }

    if (rc == NGX_AGAIN) {
        return clerk_wait(ctx, session, fetch);
    }

    if (rc != NGX_OK) {
        return clerk_unavailable(r, ctx, session->done);
    }

    return clerk_verify(ctx, session, now);
}


static ngx_int_t
clerk_verify(lines_ctx_t *ctx, lines_session_t *session, int64_t now)
{
    ngx_int_t              rc;
    ngx_uint_t             fetch;
    lines_jwt_t           *jwt;
    lines_jwk_t           *key;
    lines_jwks_t          *jwks;
    lines_jwk_verifier_t  *verifier;
    lines_clerk_conf_t    *conf;

    conf = session->conf;
    jwks = conf->jwks;
    jwt = &session->jwt;

    rc = lines_jwt_key(jwt, jwks->set, &key);

    if (rc == NGX_DECLINED
        && jwt->reason == LINES_JWT_UNKNOWN_KID
        && lines_jwks_refetch(jwks, session->since, &fetch) == NGX_AGAIN)
    {
        return clerk_wait(ctx, session, fetch);
    }

    if (rc == NGX_OK) {
        verifier = lines_jwks_verifier(jwks, key);

        if (verifier == NULL) {
            return NGX_ERROR;
        }

        rc = lines_jwt_verify(jwt, verifier, &conf->options, now);
    }

    if (rc == NGX_DECLINED) {
        return clerk_refuse(session->request, ctx, jwt->reason, session->done);
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    clerk_remember(session, now);

    return clerk_accept(ctx, session);
}


static ngx_int_t
clerk_wait(lines_ctx_t *ctx, lines_session_t *session, ngx_uint_t fetch)
{
    ngx_http_request_t   *r;
    lines_jwks_waiter_t  *waiter;

    r = session->request;
    waiter = &session->waiter;

    if (waiter->handler == NULL) {
        waiter->handler = clerk_resume;
        waiter->data = session;
        waiter->deadline = ngx_current_msec + LINES_JWKS_WAIT;

    } else if ((ngx_msec_int_t) (ngx_current_msec - waiter->deadline) >= 0) {

        if (session->jwt.reason == LINES_JWT_UNKNOWN_KID) {
            return clerk_refuse(r, ctx, session->jwt.reason, session->done);
        }

        return clerk_unavailable(r, ctx, session->done);
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines clerk: wait for fetch %ui", fetch);

    waiter->fetch = fetch;

    lines_jwks_wait(session->conf->jwks, waiter);

    return NGX_AGAIN;
}


static void
clerk_resume(void *data)
{
    lines_session_t *session = data;

    ngx_http_request_t  *r;
    lines_ctx_t         *ctx;

    r = session->request;
    ctx = lines_find_ctx(r);

    ngx_http_set_log_request(r->connection->log, r);

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines clerk: resumed");

    lines_resume(r, ctx, clerk_judge(ctx, session));
}


static void
clerk_cleanup(void *data)
{
    lines_session_t *session = data;

    lines_jwks_forget(&session->waiter);
}


static ngx_int_t
clerk_accept(lines_ctx_t *ctx, lines_session_t *session)
{
    ngx_str_t           *sub;
    ngx_http_request_t  *r;
    lines_identity_t    *identity;

    r = session->request;
    identity = &ctx->identity;
    sub = &session->jwt.sub;

    if (session->jwt.tenant.len) {

        if (lines_redis_format(r->pool, &identity->tenant, "w:%V",
                               &session->jwt.tenant)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else if (session->token.tenant_len) {
        identity->tenant.data = session->token.tenant;
        identity->tenant.len = session->token.tenant_len;
    }

    if (sub->data) {
        identity->user = *sub;

    } else {
        identity->user.data = session->token.user;
        identity->user.len = session->token.user_len;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines clerk: user \"%V\" tenant \"%V\"", &identity->user,
                   &identity->tenant);

    return session->done(r, ctx, NGX_OK);
}


static void
clerk_remember(lines_session_t *session, int64_t now)
{
    lines_jwt_t    *jwt;
    lines_token_t  *token;

    jwt = &session->jwt;
    token = &session->token;

    if (jwt->sub.len > LINES_TOKEN_USER
        || jwt->tenant.len > LINES_TOKEN_TENANT - 2)
    {
        return;
    }

    token->until = jwt->exp * 1000 + session->conf->options.leeway;

    token->user_len = (u_char) jwt->sub.len;

    if (jwt->sub.len) {
        ngx_memcpy(token->user, jwt->sub.data, jwt->sub.len);
    }

    token->tenant_len = 0;

    if (jwt->tenant.len) {
        token->tenant_len = (u_char) (jwt->tenant.len + 2);
        token->tenant[0] = 'w';
        token->tenant[1] = ':';
        ngx_memcpy(&token->tenant[2], jwt->tenant.data, jwt->tenant.len);
    }

    lines_token_cache_put(lines_get_main_conf(session->request), token, now);
}


static ngx_int_t
clerk_refuse(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_jwt_reason_e reason, lines_auth_done_pt done)
{
    ctx->identity.failure = *lines_jwt_reason(reason);

    /* RFC 6750, section 3.1: no error code where no token was shown */

    if (reason != LINES_JWT_MISSING) {
        ctx->identity.challenge = "Bearer error=\"invalid_token\"";
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "lines: authentication failed: %V", &ctx->identity.failure);

    return done(r, ctx, NGX_DECLINED);
}


static ngx_int_t
clerk_unavailable(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_auth_done_pt done)
{
    ctx->identity.failure = *lines_jwt_reason(LINES_JWT_NO_KEYS);

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "lines: a session token cannot be judged: %V",
                  &ctx->identity.failure);

    return done(r, ctx, NGX_ERROR);
}
