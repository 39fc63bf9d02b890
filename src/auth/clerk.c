
#include "auth/bearer.h"
#include "auth/cache.h"
#include "auth/clerk.h"
#include "http/metrics.h"
#include "http/steps.h"


#define LINES_CLERK_WARNING  60000    /* ms between two warnings */


_Static_assert(LINES_JWT_MAX_TENANT + 2 <= LINES_TENANT_LEN,
    "a tenant outgrew its place in the cache");


/* one token of one request */

typedef struct {
    lines_jwks_waiter_t  waiter;   /* first: is the session, too */

    lines_ctx_t         *ctx;
    lines_clerk_conf_t  *conf;
    lines_auth_done_pt   done;

    ngx_str_t            text;
    lines_jwt_t          jwt;      /* zeroes until it is parsed */
    lines_token_t        token;    /* its place in the cache */
} lines_session_t;


/* to who wrote the page, or the program */

static const lines_refusal_t  clerk_unsaid = {
    NGX_HTTP_FORBIDDEN, "cookie_refused",
    "A session cookie is not enough to change anything: neither Origin nor "
    "Sec-Fetch-Site tells which site sent the request; send the token as "
    "Authorization: Bearer"
};

static const lines_refusal_t  clerk_other = {
    NGX_HTTP_FORBIDDEN, "cookie_refused",
    "A session cookie is not enough to change anything from this Origin: send "
    "the token as Authorization: Bearer, or have the origin allowed"
};


static ngx_int_t
clerk_accept(lines_session_t *session)
{
    lines_identity_t  *identity;

    identity = &session->ctx->identity;

    identity->tenant.data = session->token.tenant;
    identity->tenant.len = session->token.tenant_len;
    identity->until = session->token.until;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, session->ctx->request->connection->log,
                   0, "lines clerk: user \"%V\" tenant \"%V\"",
                   &identity->user, &identity->tenant);

    return session->done(session->ctx->request, session->ctx, NGX_OK);
}


static ngx_int_t
clerk_refuse(lines_session_t *session, lines_jwt_reason_e reason)
{
    ngx_log_t         *log;
    lines_identity_t  *identity;

    log = session->ctx->request->connection->log;
    identity = &session->ctx->identity;

    identity->failure = *lines_jwt_reason(reason);

    if (reason == LINES_JWT_NO_KEYS) {
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "lines: a session token cannot be judged: %V",
                      &identity->failure);

        return session->done(session->ctx->request, session->ctx, NGX_ERROR);
    }

    /* RFC 6750, section 3.1: no error code where no token was shown */

    if (reason != LINES_JWT_MISSING
        && reason != LINES_JWT_TOO_MANY
        && identity->refusal == NULL)
    {
        identity->challenge = "Bearer error=\"invalid_token\"";
    }

    ngx_log_error(NGX_LOG_INFO, log, 0, "lines: authentication failed: %V",
                  &identity->failure);

    return session->done(session->ctx->request, session->ctx, NGX_DECLINED);
}


/* where all clients have the proxy's address, one stranger is enough */

static void
clerk_warn(ngx_http_request_t *r)
{
    static ngx_msec_t  warned;

    if (warned && ngx_current_msec - warned < LINES_CLERK_WARNING) {
        return;
    }

    warned = ngx_current_msec;

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "lines: too many session tokens of \"%V\" had a wrong "
                  "signature: others of that address are refused unless they "
                  "are known; if it is a proxy's, use \"set_real_ip_from\"",
                  &r->connection->addr_text);
}


/* as lines_jwt_verify(), by the issuer's keys; LINES_JWT_TOO_MANY: it was not
   looked at */

static ngx_int_t
clerk_verify(lines_session_t *session, int64_t now)
{
    ngx_int_t              rc;
    ngx_msec_t             wait;
    lines_jwk_t           *key;
    ngx_http_request_t    *r;
    lines_jwks_t          *jwks;
    lines_jwk_verifier_t  *verifier;

    jwks = session->conf->jwks;

    if (lines_jwt_key(&session->jwt, jwks->set, &key) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (key->ordinal >= LINES_JWK_MAX_KEYS) {
        return NGX_ERROR;
    }

    verifier = &jwks->verifiers[key->ordinal];

    if (verifier->ctx == NULL
        && lines_jwk_verifier_create(verifier, key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    r = session->ctx->request;

    wait = lines_failures_wait(lines_get_main_conf(r), r->connection,
                               &session->conf->failed);

    if (wait) {
        lines_metrics_inc(token_signatures[LINES_METRICS_UNSEEN]);
        clerk_warn(r);

        session->ctx->identity.retry = (wait + 999) / 1000;
        session->jwt.reason = LINES_JWT_TOO_MANY;

        return NGX_DECLINED;
    }

    rc = lines_jwt_verify(&session->jwt, verifier, &session->conf->options,
                          now);

    if (session->jwt.good) {
        lines_metrics_inc(token_signatures[LINES_METRICS_GOOD]);

    } else if (session->jwt.judged) {
        lines_metrics_inc(token_signatures[LINES_METRICS_BAD]);

        lines_failures_add(lines_get_main_conf(r), r->connection,
                           &session->conf->failed);
    }

    return rc;
}


static ngx_int_t
clerk_wait(lines_session_t *session)
{
    if (lines_jwks_wait(session->conf->jwks, &session->waiter) != NGX_AGAIN) {
        return clerk_refuse(session,
                            (session->jwt.reason == LINES_JWT_UNKNOWN_KID)
                            ? LINES_JWT_UNKNOWN_KID
                            : LINES_JWT_NO_KEYS);
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, session->ctx->request->connection->log,
                   0, "lines clerk: wait for fetch %ui",
                   session->waiter.fetch);

    return NGX_AGAIN;
}


/* from the top after each wait */

static ngx_int_t
clerk_judge(lines_session_t *session)
{
    u_char              *buf;
    int64_t              now;
    ngx_int_t            rc, keys;
    ngx_time_t          *tp;
    lines_jwt_t         *jwt;
    lines_token_t       *token;
    lines_identity_t    *identity;
    ngx_http_request_t  *r;

    r = session->ctx->request;
    identity = &session->ctx->identity;
    jwt = &session->jwt;
    token = &session->token;

    tp = ngx_timeofday();
    now = (int64_t) tp->sec * 1000 + tp->msec;

    keys = lines_jwks_current(session->conf->jwks, &session->waiter);

    if (keys == NGX_OK) {
        token->generation = session->conf->jwks->generation;

        if (lines_token_cache_get(lines_get_main_conf(r), token, now)
            == NGX_OK)
        {
            ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                           "lines clerk: cached");

            lines_metrics_inc(token_cache_hits);

            if (token->reason) {
                return clerk_refuse(session, token->reason);
            }

            identity->user.data = token->user;
            identity->user.len = token->user_len;

            return clerk_accept(session);
        }

        lines_metrics_inc(token_cache_misses);
    }

    rc = NGX_OK;

    /* nonsense is refused though the keys be away */

    if (jwt->buf == NULL) {

        buf = ngx_pnalloc(r->pool, lines_jwt_room(session->text.len));
        if (buf == NULL) {
            return NGX_ERROR;
        }

        rc = lines_jwt_parse(jwt, &session->text, buf);
    }

    if (rc == NGX_OK) {

        if (keys != NGX_OK) {
            return (keys == NGX_AGAIN)
                   ? clerk_wait(session)
                   : clerk_refuse(session, LINES_JWT_NO_KEYS);
        }

        rc = clerk_verify(session, now);
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {

        if (jwt->reason == LINES_JWT_UNKNOWN_KID
            && lines_jwks_refetch(session->conf->jwks, &session->waiter)
               == NGX_AGAIN)
        {
            return clerk_wait(session);
        }

        if (jwt->good
            && jwt->reason != LINES_JWT_NOT_ACTIVE_YET
            && jwt->reason != LINES_JWT_ISSUED_IN_FUTURE)
        {
            /* for good: who has an old one has no more verified */

            token->reason = jwt->reason;
            token->until = now + LINES_TOKEN_REFUSED;

            lines_token_cache_put(lines_get_main_conf(r), token, now);
        }

        return clerk_refuse(session, jwt->reason);
    }

    if (jwt->tenant.len) {
        token->tenant_len = (u_char) (ngx_sprintf(token->tenant, "w:%V",
                                                  &jwt->tenant)
                                      - token->tenant);
    }

    identity->user = jwt->sub;
    token->until = jwt->exp * 1000 + session->conf->options.leeway;

    if (jwt->sub.len <= LINES_USER_LEN) {
        ngx_memcpy(token->user, jwt->sub.data, jwt->sub.len);

        token->user_len = (u_char) jwt->sub.len;

        lines_token_cache_put(lines_get_main_conf(r), token, now);
    }

    return clerk_accept(session);
}


static void
clerk_resume(void *data)
{
    lines_session_t *session = data;

    ngx_http_request_t  *r;

    r = session->ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines clerk: resumed");

    lines_resume(r, session->ctx, clerk_judge(session));
}


ngx_int_t
lines_clerk_authenticate(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_auth_done_pt done)
{
    ngx_int_t            rc;
    ngx_uint_t           i;
    lines_rules_t       *rules;
    ngx_pool_cleanup_t  *cln;
    lines_session_t     *session;

    rules = &ctx->identity.rules;

    ngx_str_set(&ctx->identity.method, "clerk");

    cln = ngx_pool_cleanup_add(r->pool, sizeof(lines_session_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    session = cln->data;
    *session = (lines_session_t) { .waiter.handler = clerk_resume,
                                   .ctx = ctx, .conf = rules->clerk,
                                   .done = done };

    cln->handler = lines_jwks_forget;

    rc = rules->authorization.len
         ? lines_bearer_header(&rules->authorization, &session->text)
         : NGX_DECLINED;

    if (rc == NGX_ABORT) {
        return clerk_refuse(session, LINES_JWT_MALFORMED);
    }

    if (rc == NGX_DECLINED) {

        session->text = rules->cookie;

        if (rules->cookie.len == 0) {
            return clerk_refuse(session, LINES_JWT_MISSING);
        }

        if (rules->site != LINES_SITE_TRUSTED) {
            ctx->identity.refusal = (rules->site == LINES_SITE_UNSAID)
                                    ? &clerk_unsaid
                                    : &clerk_other;

            return clerk_refuse(session, LINES_JWT_COOKIE_REFUSED);
        }
    }

    if (session->text.len > LINES_JWT_MAX_LEN) {
        return clerk_refuse(session, LINES_JWT_TOO_LONG);
    }

    if (lines_sha256(&session->text, session->token.digest) != NGX_OK) {
        return NGX_ERROR;
    }

    /* what one configuration accepts is nothing to another */

    for (i = 0; i < LINES_SHA256_LEN; i++) {
        session->token.digest[i] ^= rules->clerk->id[i];
    }

    return clerk_judge(session);
}
