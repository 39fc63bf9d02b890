
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_clerk.h"
#include "ngx_http_lines_token_cache.h"
#include "ngx_http_lines_metrics.h"
#include "ngx_lines_bearer.h"


/* one token of one request */

typedef struct {
    ngx_http_request_t             *request;
    ngx_http_lines_clerk_conf_t    *conf;
    ngx_http_lines_auth_done_pt     done;

    ngx_str_t                       text;
    ngx_lines_jwt_t                 jwt;
    ngx_http_lines_token_t          token;      /* its place in the cache */

    ngx_http_lines_jwks_waiter_t    waiter;
    ngx_uint_t                      since;      /* fetches before it came */
    unsigned                        begun:1;
    unsigned                        parsed:1;
} ngx_http_lines_session_t;


static ngx_int_t ngx_http_lines_clerk_find(ngx_http_request_t *r,
    ngx_http_lines_clerk_conf_t *conf, ngx_str_t *token,
    ngx_lines_jwt_reason_e *reason);
static ngx_int_t ngx_http_lines_clerk_find_cookie(ngx_http_request_t *r,
    ngx_str_t *name, ngx_str_t *token);
static ngx_int_t ngx_http_lines_clerk_judge(ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_session_t *session);
static ngx_int_t ngx_http_lines_clerk_verify(ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_session_t *session, int64_t now);
static ngx_int_t ngx_http_lines_clerk_wait(ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_session_t *session, ngx_uint_t fetch);
static void ngx_http_lines_clerk_resume(void *data);
static void ngx_http_lines_clerk_cleanup(void *data);
static ngx_int_t ngx_http_lines_clerk_accept(ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_session_t *session);
static void ngx_http_lines_clerk_remember(ngx_http_lines_session_t *session,
    int64_t now);
static ngx_int_t ngx_http_lines_clerk_refuse(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_lines_jwt_reason_e reason,
    ngx_http_lines_auth_done_pt done);
static ngx_int_t ngx_http_lines_clerk_unavailable(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_auth_done_pt done);


ngx_int_t
ngx_http_lines_clerk_authenticate(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_auth_done_pt done)
{
    ngx_str_t                   token;
    ngx_uint_t                  i;
    ngx_pool_cleanup_t         *cln;
    ngx_lines_jwt_reason_e      reason;
    ngx_http_lines_session_t   *session;
    ngx_http_lines_loc_conf_t  *llcf;

    llcf = ngx_http_lines_get_loc_conf(r);

    ngx_str_set(&ctx->identity.method, "clerk");

    if (ngx_http_lines_clerk_find(r, llcf->clerk, &token, &reason)
        != NGX_OK)
    {
        return ngx_http_lines_clerk_refuse(r, ctx, reason, done);
    }

    if (token.len > NGX_LINES_JWT_MAX_LEN) {
        return ngx_http_lines_clerk_refuse(r, ctx, NGX_LINES_JWT_TOO_LONG,
                                           done);
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_lines_session_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    session = cln->data;
    ngx_memzero(session, sizeof(ngx_http_lines_session_t));

    session->request = r;
    session->conf = llcf->clerk;
    session->done = done;
    session->text = token;

    cln->handler = ngx_http_lines_clerk_cleanup;

    if (ngx_lines_sha256(&token, session->token.digest) != NGX_OK) {
        return NGX_ERROR;
    }

    /* what one configuration accepts is nothing to another */

    for (i = 0; i < NGX_LINES_SHA256_LEN; i++) {
        session->token.digest[i] ^= llcf->clerk->id[i];
    }

    return ngx_http_lines_clerk_judge(ctx, session);
}


static ngx_int_t
ngx_http_lines_clerk_find(ngx_http_request_t *r,
    ngx_http_lines_clerk_conf_t *conf, ngx_str_t *token,
    ngx_lines_jwt_reason_e *reason)
{
    ngx_int_t  rc;

    rc = NGX_DECLINED;

    if (r->headers_in.authorization) {
        rc = ngx_lines_bearer_header(&r->headers_in.authorization->value,
                                     token);
    }

    if (rc == NGX_ABORT) {
        *reason = NGX_LINES_JWT_MALFORMED;
        return NGX_DECLINED;
    }

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    *reason = NGX_LINES_JWT_MISSING;

    ngx_http_lines_clerk_cookie(r, conf, token);

    if (token->len == 0) {
        return NGX_DECLINED;
    }

    if (conf->options.nparties == 0 && !ngx_http_lines_clerk_reads(r)) {
        *reason = NGX_LINES_JWT_COOKIE_REFUSED;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * A subrequest is GET whatever the client sent, and so is a request that
 * error_page sends to a URI: the request line tells.
 */

ngx_uint_t
ngx_http_lines_clerk_reads(ngx_http_request_t *r)
{
    ngx_str_t  *line;

    line = &r->main->request_line;

    return (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))
           && (r->main->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))
           && ((line->len > 4 && ngx_strncmp(line->data, "GET ", 4) == 0)
               || (line->len > 5 && ngx_strncmp(line->data, "HEAD ", 5) == 0));
}


void
ngx_http_lines_clerk_cookie(ngx_http_request_t *r,
    ngx_http_lines_clerk_conf_t *conf, ngx_str_t *token)
{
    if (conf == NULL || conf->cookie.len == 0
        || ngx_http_lines_clerk_find_cookie(r, &conf->cookie, token) != NGX_OK)
    {
        ngx_str_null(token);
    }
}


static ngx_int_t
ngx_http_lines_clerk_find_cookie(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *token)
{
#if (nginx_version >= 1023000)

    ngx_table_elt_t  *h;

    for (h = r->headers_in.cookie; h; h = h->next) {
        if (ngx_lines_bearer_cookie(&h->value, name, token) == NGX_OK) {
            return NGX_OK;
        }
    }

#else

    ngx_uint_t         i;
    ngx_table_elt_t  **h;

    h = r->headers_in.cookies.elts;

    for (i = 0; i < r->headers_in.cookies.nelts; i++) {
        if (ngx_lines_bearer_cookie(&h[i]->value, name, token) == NGX_OK) {
            return NGX_OK;
        }
    }

#endif

    return NGX_DECLINED;
}


/* from the top after each wait */

static ngx_int_t
ngx_http_lines_clerk_judge(ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_session_t *session)
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

    rc = ngx_http_lines_jwks_current(session->conf->jwks, &fetch);

    if (!session->begun) {
        session->begun = 1;
        session->since = fetch;
    }

    if (rc == NGX_OK) {
        session->token.generation = session->conf->jwks->generation;

        if (ngx_http_lines_token_cache_get(ngx_http_lines_get_main_conf(r),
                                           &session->token, now)
            == NGX_OK)
        {
            ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                           "lines clerk: cached");

            ngx_http_lines_metrics_inc(token_cache_hits);

            return ngx_http_lines_clerk_accept(ctx, session);
        }

        ngx_http_lines_metrics_inc(token_cache_misses);
    }

    /* nonsense is refused though the keys be away */

    if (!session->parsed) {

        buf = ngx_pnalloc(r->pool, ngx_lines_jwt_room(session->text.len));
        if (buf == NULL) {
            return NGX_ERROR;
        }

        switch (ngx_lines_jwt_parse(&session->jwt, &session->text, buf)) {

        case NGX_OK:
            session->parsed = 1;
            break;

        case NGX_DECLINED:
            return ngx_http_lines_clerk_refuse(r, ctx, session->jwt.reason,
                                               session->done);

        default:
            return NGX_ERROR;
        }
    }

    if (rc == NGX_AGAIN) {
        return ngx_http_lines_clerk_wait(ctx, session, fetch);
    }

    if (rc != NGX_OK) {
        return ngx_http_lines_clerk_unavailable(r, ctx, session->done);
    }

    return ngx_http_lines_clerk_verify(ctx, session, now);
}


static ngx_int_t
ngx_http_lines_clerk_verify(ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_session_t *session, int64_t now)
{
    ngx_int_t                     rc;
    ngx_uint_t                    fetch;
    ngx_lines_jwt_t              *jwt;
    ngx_lines_jwk_t              *key;
    ngx_http_lines_jwks_t        *jwks;
    ngx_lines_jwk_verifier_t     *verifier;
    ngx_http_lines_clerk_conf_t  *conf;

    conf = session->conf;
    jwks = conf->jwks;
    jwt = &session->jwt;

    rc = ngx_lines_jwt_key(jwt, jwks->set, &key);

    if (rc == NGX_DECLINED && jwt->reason == NGX_LINES_JWT_UNKNOWN_KID
        && ngx_http_lines_jwks_refetch(jwks, session->since, &fetch)
           == NGX_AGAIN)
    {
        return ngx_http_lines_clerk_wait(ctx, session, fetch);
    }

    if (rc == NGX_OK) {
        verifier = ngx_http_lines_jwks_verifier(jwks, key);

        if (verifier == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_lines_jwt_verify(jwt, verifier, &conf->options, now);
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_lines_clerk_refuse(session->request, ctx,
                                           jwt->reason, session->done);
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_lines_clerk_remember(session, now);

    return ngx_http_lines_clerk_accept(ctx, session);
}


static ngx_int_t
ngx_http_lines_clerk_wait(ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_session_t *session, ngx_uint_t fetch)
{
    ngx_http_request_t            *r;
    ngx_http_lines_jwks_waiter_t  *waiter;

    r = session->request;
    waiter = &session->waiter;

    if (waiter->handler == NULL) {
        waiter->handler = ngx_http_lines_clerk_resume;
        waiter->data = session;
        waiter->deadline = ngx_current_msec + NGX_HTTP_LINES_JWKS_WAIT;

    } else if ((ngx_msec_int_t) (ngx_current_msec - waiter->deadline) >= 0) {

        if (session->jwt.reason == NGX_LINES_JWT_UNKNOWN_KID) {
            return ngx_http_lines_clerk_refuse(r, ctx, session->jwt.reason,
                                               session->done);
        }

        return ngx_http_lines_clerk_unavailable(r, ctx, session->done);
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines clerk: wait for fetch %ui", fetch);

    waiter->fetch = fetch;

    ngx_http_lines_jwks_wait(session->conf->jwks, waiter);

    return NGX_AGAIN;
}


static void
ngx_http_lines_clerk_resume(void *data)
{
    ngx_http_lines_session_t *session = data;

    ngx_http_request_t    *r;
    ngx_http_lines_ctx_t  *ctx;

    r = session->request;
    ctx = ngx_http_lines_find_ctx(r);

    ngx_http_set_log_request(r->connection->log, r);

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines clerk: resumed");

    ngx_http_lines_resume(r, ctx, ngx_http_lines_clerk_judge(ctx, session));
}


static void
ngx_http_lines_clerk_cleanup(void *data)
{
    ngx_http_lines_session_t *session = data;

    ngx_http_lines_jwks_forget(&session->waiter);
}


static ngx_int_t
ngx_http_lines_clerk_accept(ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_session_t *session)
{
    ngx_str_t                  *sub;
    ngx_http_request_t         *r;
    ngx_http_lines_identity_t  *identity;

    r = session->request;
    identity = &ctx->identity;
    sub = &session->jwt.sub;

    if (session->jwt.tenant.len) {

        if (ngx_lines_redis_format(r->pool, &identity->tenant, "w:%V",
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
                   "lines clerk: user \"%V\" tenant \"%V\"",
                   &identity->user, &identity->tenant);

    return session->done(r, ctx, NGX_OK);
}


static void
ngx_http_lines_clerk_remember(ngx_http_lines_session_t *session, int64_t now)
{
    ngx_lines_jwt_t         *jwt;
    ngx_http_lines_token_t  *token;

    jwt = &session->jwt;
    token = &session->token;

    if (jwt->sub.len > NGX_HTTP_LINES_TOKEN_USER
        || jwt->tenant.len > NGX_HTTP_LINES_TOKEN_TENANT - 2)
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

    ngx_http_lines_token_cache_put(
                             ngx_http_lines_get_main_conf(session->request),
                             token, now);
}


static ngx_int_t
ngx_http_lines_clerk_refuse(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    ngx_lines_jwt_reason_e reason, ngx_http_lines_auth_done_pt done)
{
    ctx->identity.failure = *ngx_lines_jwt_reason(reason);

    /* RFC 6750, section 3.1: no error code where no token was shown */

    if (reason != NGX_LINES_JWT_MISSING) {
        ctx->identity.challenge = "Bearer error=\"invalid_token\"";
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "lines: authentication failed: %V",
                  &ctx->identity.failure);

    return done(r, ctx, NGX_DECLINED);
}


static ngx_int_t
ngx_http_lines_clerk_unavailable(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_auth_done_pt done)
{
    ctx->identity.failure = *ngx_lines_jwt_reason(NGX_LINES_JWT_NO_KEYS);

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "lines: a session token cannot be judged: %V",
                  &ctx->identity.failure);

    return done(r, ctx, NGX_ERROR);
}
