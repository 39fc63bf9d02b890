
/*
 * Who asks: by a token, or by a session.
 *
 * A session is a random id in a cookie.  Redis has its digest, under which stand
 * the operator's name and a proof, which is made of the id, the token's digest
 * and the role: so a session is over on each node as soon as that node's file
 * has another token or role for the name, Redis' content opens nothing, and what
 * somebody writes into Redis, who knows no token, is no session.
 */

#include "admin/operators.h"
#include "admin/session.h"
#include "api/ask.h"
#include "api/json.h"
#include "auth/bearer.h"
#include "http/digest.h"
#include "http/headers.h"
#include "http/origin.h"
#include "http/router.h"
#include "http/text.h"


#define LINES_SESSION_COOKIE   "lines_session"
#define LINES_SESSION_HEADER   "x-lines-console"
#define LINES_SESSION_SECONDS  (8 * 3600)

/* of one operator: then the oldest goes */
#define LINES_SESSION_MOST     10

#define LINES_SESSION_ID       32
#define LINES_SESSION_HEX      (2 * LINES_SHA256_LEN)

/* cookies of the name that are looked at */
#define LINES_SESSION_COOKIES  8


/* that a worker has seen to be good, for a while */
#define LINES_SESSION_SEEN     16
#define LINES_SESSION_TRUST    (5 * 60 * 1000)


typedef struct session_s  session_t;

struct session_s {
    u_char      id[LINES_SESSION_ID];
    u_char      hash[LINES_SESSION_HEX];    /* of that, hex */
    int64_t     until;                      /* ms since the epoch */
    ngx_uint_t  plain;                      /* flag: of a cookie that has no
                                               port in its name */
    session_t  *next;                       /* of another cookie */
};


/*
 * What a node knows without Redis its operator wants to see just when Redis is
 * away: "GET node" counts then with a session that was good here just before.
 */

static struct {
    u_char      hash[LINES_SESSION_HEX];
    u_char      proof[LINES_SESSION_HEX];
    u_char      name[LINES_OPERATOR_NAME];
    size_t      len;
    int64_t     until;
    ngx_msec_t  at;
} sessions_seen[LINES_SESSION_SEEN];


static ngx_uint_t
is_session_route(lines_ctx_t *ctx)
{
    return lines_is(&ctx->route->path, "session");
}


static ngx_str_t
session_hash(session_t *session)
{
    return (ngx_str_t) { LINES_SESSION_HEX, session->hash };
}


static ngx_int_t
session_digest(session_t *session)
{
    ngx_str_t  id = { LINES_SESSION_ID, session->id };

    return lines_sha256_hex(&id, session->hash);
}


/* what only who has both the session's id and the token's digest can make */

static ngx_int_t
session_proof(session_t *session, lines_operator_t *op,
    u_char proof[LINES_SESSION_HEX])
{
    u_char     *p, data[LINES_SESSION_ID + LINES_SHA256_LEN + 1];
    ngx_str_t   text = { sizeof(data), data };

    p = ngx_cpymem(data, session->id, LINES_SESSION_ID);
    p = ngx_cpymem(p, op->digest, LINES_SHA256_LEN);
    *p = op->reads ? 'r' : 'a';

    return lines_sha256_hex(&text, proof);
}


static ngx_int_t
unauthorized(ngx_http_request_t *r, lines_ctx_t *ctx, const char *why)
{
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0, "lines: %s", why);

    return lines_unauthorized(r, ctx, "Bearer");
}


/* anybody may open a session, and end his own */

static ngx_int_t
operator_may(ngx_http_request_t *r, lines_ctx_t *ctx, lines_operator_t *op)
{
    ctx->operator = op->name;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines operator: \"%V\" may %s", &op->name,
                   op->reads ? "read" : "all");

    /* of a row: it serves HEAD as well */

    if (op->reads && ctx->route->method != NGX_HTTP_GET
        && !is_session_route(ctx))
    {
        return lines_refuse(ctx, NGX_HTTP_FORBIDDEN,
                            "This token may only read");
    }

    return NGX_OK;
}


/*
 * Browsers keep one cookie of a name for all ports of a host, behind each of
 * which, or of a tunnel, may be a deployment: the port is part of the name.
 */

static ngx_int_t
session_cookie(ngx_http_request_t *r, ngx_uint_t plain, ngx_str_t *name)
{
    ngx_str_t  port;

    port = lines_origin_port(r);

    if (plain || port.len == 0) {
        ngx_str_set(name, LINES_SESSION_COOKIE);
        return NGX_OK;
    }

    return lines_redis_format(r->pool, name, LINES_SESSION_COOKIE "_%V", &port);
}


/*
 * Of the cookies of a name those that may be a session's, after those that are
 * there.  Pages of another port or of a sibling's name can set some as well,
 * which come first and which no sign-in replaces: the first that is a session
 * counts.
 */

static session_t **
session_named(ngx_http_request_t *r, ngx_uint_t plain, session_t **last)
{
    ngx_str_t         name, rest, value;
    ngx_uint_t        n;
    session_t        *session;
    ngx_table_elt_t  *h;

    if (session_cookie(r, plain, &name) != NGX_OK) {
        return last;
    }

    n = 0;

    for (h = lines_find_header(r, "cookie");
         h;
         h = lines_next_header(r, "cookie", h))
    {
        rest = h->value;

        while (lines_bearer_cookie(&rest, &name, &value) == NGX_OK
               && n++ < LINES_SESSION_COOKIES)
        {
            rest.len -= value.data + value.len - rest.data;
            rest.data = value.data + value.len;

            session = ngx_pcalloc(r->pool, sizeof(session_t));
            if (session == NULL) {
                return last;
            }

            session->plain = plain;

            if (lines_hex_decode(session->id, LINES_SESSION_ID, &value)
                == NGX_OK
                && session_digest(session) == NGX_OK)
            {
                *last = session;
                last = &session->next;
            }
        }
    }

    return last;
}


/* NULL: none; those without a port are of clients that have named them so, and
   of nodes that did */

static session_t *
session_cookies(ngx_http_request_t *r)
{
    session_t  *sessions, **last;

    sessions = NULL;
    last = &sessions;

    if (lines_origin_port(r).len) {
        last = session_named(r, 0, last);
    }

    (void) session_named(r, 1, last);

    return sessions;
}


/*
 * The cookie comes along whoever made the browser send it.  SameSite=Strict
 * keeps it from other sites', but not from pages of another port or a sibling's
 * name; a header of its own none of them can add without asking before, and
 * what browsers say of where a request is from is believed where it says no.
 */

static ngx_uint_t
session_own_page(ngx_http_request_t *r)
{
    ngx_int_t         rc;
    ngx_str_t         origin;
    ngx_table_elt_t  *h;

    h = lines_find_header(r, LINES_SESSION_HEADER);

    if (h == NULL || !lines_is(&h->value, "1")) {
        return 0;
    }

    rc = lines_origin(r, &origin);

    if (rc == NGX_ABORT || (rc == NGX_OK && !lines_origin_host(r, &origin))) {
        return 0;
    }

    h = lines_find_header(r, "sec-fetch-site");

    return h == NULL
           || (lines_is(&h->value, "same-origin")
               && lines_next_header(r, "sec-fetch-site", h) == NULL);
}


/* in the place that it has, or else of the one that was seen before all others */

static void
session_saw(session_t *session, lines_operator_t *op,
    u_char proof[LINES_SESSION_HEX])
{
    ngx_uint_t  i, n;

    for (i = 0, n = 0; i < LINES_SESSION_SEEN; i++) {

        if (ngx_memcmp(sessions_seen[i].hash, session->hash, LINES_SESSION_HEX)
            == 0)
        {
            n = i;
            break;
        }

        if ((ngx_msec_int_t) (sessions_seen[i].at - sessions_seen[n].at) < 0) {
            n = i;
        }
    }

    ngx_memcpy(sessions_seen[n].hash, session->hash, LINES_SESSION_HEX);
    ngx_memcpy(sessions_seen[n].proof, proof, LINES_SESSION_HEX);
    ngx_memcpy(sessions_seen[n].name, op->name.data, op->name.len);
    sessions_seen[n].len = op->name.len;
    sessions_seen[n].until = session->until;
    sessions_seen[n].at = ngx_current_msec;
}


/* that it is over was heard here: it was not good just before */

static void
session_forget(session_t *session)
{
    ngx_uint_t  i;

    for (i = 0; i < LINES_SESSION_SEEN; i++) {
        if (ngx_memcmp(sessions_seen[i].hash, session->hash, LINES_SESSION_HEX)
            == 0)
        {
            ngx_memzero(&sessions_seen[i], sizeof(sessions_seen[i]));
        }
    }
}


/* whose it is, as far as this worker knows; NULL: nobody's */

static lines_operator_t *
session_seen(ngx_http_request_t *r, session_t *session)
{
    u_char             proof[LINES_SESSION_HEX];
    ngx_str_t          name;
    ngx_uint_t         i;
    lines_operator_t  *op;

    for (i = 0; i < LINES_SESSION_SEEN; i++) {

        if (sessions_seen[i].len == 0
            || ngx_memcmp(sessions_seen[i].hash, session->hash,
                          LINES_SESSION_HEX)
               != 0)
        {
            continue;
        }

        name.len = sessions_seen[i].len;
        name.data = sessions_seen[i].name;
        op = lines_operator_by_name(r, &name);

        return op
               && ngx_current_msec - sessions_seen[i].at < LINES_SESSION_TRUST
               && sessions_seen[i].until / 1000 > (int64_t) ngx_time()
               && session_proof(session, op, proof) == NGX_OK
               && lines_equal(proof, sessions_seen[i].proof, LINES_SESSION_HEX)
               ? op : NULL;
    }

    return NULL;
}


/* Redis was not to be asked */

static ngx_int_t
session_untold(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    session_t         *session;
    lines_operator_t  *op;

    op = NULL;

    if (lines_is(&ctx->route->path, "node")) {
        for (session = ctx->data; session && op == NULL;
             session = session->next)
        {
            op = session_seen(r, session);
        }
    }

    if (op == NULL) {
        return lines_unavailable(r, ctx, 1);
    }

    ctx->data = NULL;

    return operator_may(r, ctx, op);
}


static ngx_int_t session_ask(lines_ctx_t *ctx, session_t *session);


lines_answered(session_known, session_t *session, session_read)
{
    u_char             proof[LINES_SESSION_HEX];
    lines_operator_t  *op;

    if (reply == NULL) {
        return session_untold(r, ctx);
    }

    op = reply->operator.len ? lines_operator_by_name(r, &reply->operator)
                             : NULL;

    if (op == NULL
        || reply->proof.len != LINES_SESSION_HEX
        || session_proof(session, op, proof) != NGX_OK
        || !lines_equal(proof, reply->proof.data, LINES_SESSION_HEX))
    {
        session_forget(session);

        return session->next
               ? session_ask(ctx, session->next)
               : unauthorized(r, ctx, "the operator's session is over, or was "
                                      "none");
    }

    session->until = reply->ends;
    session_saw(session, op, proof);

    /* what other steps find there is their own */

    if (!is_session_route(ctx)) {
        ctx->data = NULL;
    }

    return operator_may(r, ctx, op);
}


static ngx_int_t
session_ask(lines_ctx_t *ctx, session_t *session)
{
    ngx_int_t  rc;

    ctx->data = session;

    rc = lines_try_session_read(&ctx->caller, session_known, ctx,
                                .hash = session_hash(session));

    return rc == NGX_DECLINED ? session_untold(ctx->request, ctx) : rc;
}


ngx_int_t
lines_admin_authorize(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t          token;
    session_t         *session;
    lines_operator_t  *op;

    op = lines_operator_by_token(r);

    if (op) {
        return operator_may(r, ctx, op);
    }

    session = NULL;

    /*
     * One session opens no other.  Credentials of another scheme are none of
     * ours: a browser that has some for what is around, auth_basic's of the
     * console say, sends them along.
     */

    if ((r->headers_in.authorization == NULL
         || lines_bearer_header(&r->headers_in.authorization->value, &token)
            == NGX_DECLINED)
        && !(is_session_route(ctx) && ctx->route->method == NGX_HTTP_POST))
    {
        session = session_cookies(r);
    }

    if (session == NULL) {
        return unauthorized(r, ctx, "the operator's token is missing or wrong");
    }

    if (!session_own_page(r)) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "lines: an operator's session came from elsewhere than "
                      "its page");

        return lines_refuse(ctx, NGX_HTTP_FORBIDDEN,
                            "A session counts in requests of its own site with "
                            "the header X-Lines-Console: 1");
    }

    return session_ask(ctx, session);
}


/* age 0: it goes */

static ngx_int_t
session_set_cookie(ngx_http_request_t *r, session_t *session, ngx_str_t *id,
    ngx_uint_t age)
{
    ngx_str_t    name, value;
    const char  *secure;

    secure = "";

#if (NGX_HTTP_SSL)
    if (r->connection->ssl) {
        secure = "; Secure";
    }
#endif

    if (session_cookie(r, session->plain, &name) != NGX_OK
        || lines_redis_format(r->pool, &value,
                              "%V=%V; Path=%V; Max-Age=%ui; "
                              "HttpOnly; SameSite=Strict%s", &name, id,
                              &lines_get_loc_conf(r)->prefix, age, secure)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_add_header(r, "Set-Cookie", &value);
}


static ngx_int_t
session_answer(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t status,
    int64_t until)
{
    ngx_tm_t           tm;
    ngx_str_t          ends;
    lines_operator_t  *op;

    u_char             buf[sizeof("\"2026-12-31T23:59:59.999Z\"") + 16];

    op = lines_operator_by_name(r, &ctx->operator);

    if (op == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&ends, "null");

    if (until) {
        ngx_gmtime((time_t) (until / 1000), &tm);

        ends.data = buf;
        ends.len = ngx_sprintf(buf, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03uiZ\"",
                               tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                               tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec,
                               (ngx_uint_t) (until % 1000))
                   - buf;
    }

    return lines_json(ctx, status, "{'operator':'%V','role':'%s',"
                      "'expires_at':%V}", &op->name, op->reads ? "read" : "all",
                      &ends);
}


lines_answered(session_begun, session_t *session, session_begin)
{
    u_char     hex[2 * LINES_SESSION_ID];
    ngx_str_t  id = { sizeof(hex), hex };

    ngx_hex_dump(hex, session->id, LINES_SESSION_ID);

    return session_set_cookie(r, session, &id, LINES_SESSION_SECONDS) == NGX_OK
           ? session_answer(r, ctx, NGX_HTTP_CREATED, reply->ends)
           : NGX_ERROR;
}


ngx_int_t
lines_admin_begin_session(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    u_char             proof[LINES_SESSION_HEX];
    session_t         *session;
    lines_operator_t  *op;

    op = lines_operator_by_name(r, &ctx->operator);
    session = ngx_pcalloc(r->pool, sizeof(session_t));

    if (op == NULL
        || session == NULL
        || lines_random(session->id, LINES_SESSION_ID) != NGX_OK
        || session_digest(session) != NGX_OK
        || session_proof(session, op, proof) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->data = session;

    return lines_session_begin(&ctx->caller, session_begun, ctx,
                               .hash = session_hash(session),
                               .operator = op->name,
                               .proof = { LINES_SESSION_HEX, proof },
                               .time = (int64_t) LINES_SESSION_SECONDS * 1000,
                               .most = LINES_SESSION_MOST);
}


ngx_int_t
lines_admin_show_session(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    session_t  *session = ctx->data;

    return session_answer(r, ctx, NGX_HTTP_OK, session ? session->until : 0);
}


lines_answered(session_ended, session_t *session, session_end)
{
    ngx_str_t  none = ngx_string("");

    session_forget(session);

    return session_set_cookie(r, session, &none, 0) == NGX_OK
           ? lines_json_ok(ctx, "{'ended':true}")
           : NGX_ERROR;
}


ngx_int_t
lines_admin_end_session(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    session_t  *session = ctx->data;

    if (session == NULL) {
        return lines_refuse(ctx, 404, "There is no session: the request has a "
                            "token");
    }

    return lines_session_end(&ctx->caller, session_ended, ctx,
                             .hash = session_hash(session),
                             .operator = ctx->operator);
}
