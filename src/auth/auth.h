
/*
 * Who asks.  Authentication takes a request and a callback, so that a step of
 * an endpoint and the handler of a phase can both use it.
 */

#ifndef _LINES_AUTH_AUTH_H_INCLUDED_
#define _LINES_AUTH_AUTH_H_INCLUDED_


#include "http/context.h"


#define LINES_AUTH_KEY       0x0001   /* Bearer, a workspace's key */
#define LINES_AUTH_CLERK     0x0002   /* Bearer or cookie, a session
                                                  token */
#define LINES_AUTH_KEY_PAIR  0x0004   /* an account's id and secret */


/*
 * rc is NGX_OK: ctx->identity says who; NGX_DECLINED: nobody that we know,
 * ctx->identity.failure says why; NGX_ERROR: it could not be found out.  Its
 * result is that of a step.
 */

typedef ngx_int_t (*lines_auth_done_pt)(ngx_http_request_t *r,
    lines_ctx_t *ctx, ngx_int_t rc);

/*
 * Tries the methods given.  done is called at once, and its result returned;
 * or NGX_AGAIN is returned, and ctx->resume gets its result later.  stale says
 * for how many seconds after it was last asked of Redis a known key is still
 * good while Redis cannot be asked.
 */

ngx_int_t lines_authenticate(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t methods, time_t stale, lines_auth_done_pt done);


/* who asks is found out: the first that every done does, and one itself;
   returns NGX_OK */

ngx_int_t lines_settle(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc);

/*
 * Flag: identity was found out by the very rules that hold for r where it is
 * now, and by what it shows now.  There is no other way to go on with it; who
 * is not known so is authenticated again.
 */

ngx_uint_t lines_same_rules(ngx_http_request_t *r, lines_identity_t *identity,
    ngx_uint_t methods, time_t stale);


/* of the answer to who is not let in, were it only for want of a tenant */
ngx_uint_t lines_identity_status(lines_identity_t *identity);

/* that answer, as of lines_error(); challenge: of a 401, NULL where keys come
   in headers of their own */
ngx_int_t lines_refuse_identity(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t status, const char *challenge);

/* what a 401 asks for */
#define lines_challenge(ctx) \
    ((ctx)->identity.challenge ? (ctx)->identity.challenge : "Bearer")


/*
 * Steps: 401 in the dialect, or the next step with ctx->identity set.  A
 * session without a workspace is 400.
 */

ngx_int_t lines_authenticate_workspace(ngx_http_request_t *r,
    lines_ctx_t *ctx);
ngx_int_t lines_authenticate_session(ngx_http_request_t *r,
    lines_ctx_t *ctx);    /* a person; no API key */
ngx_int_t lines_authenticate_account(ngx_http_request_t *r, lines_ctx_t *ctx);


/*
 * $lines_tenant_plan, where some directive uses it: sets ctx->identity.plan,
 * for who is authenticated.  NGX_OK: done, with or without a plan; NGX_AGAIN:
 * Redis was asked, the reply ends the wait with NGX_OK.
 */

ngx_int_t lines_tenant_plan(ngx_http_request_t *r, lines_ctx_t *ctx);


/*
 * init_process, exit_process: the subscription by which keys are revoked on
 * this node.  told, with lmcf, hears what comes, and hands it on to
 * lines_auth_told() among others.
 */

ngx_int_t lines_auth_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf,
    lines_message_pt told);
void lines_auth_exit_process(lines_main_conf_t *lmcf);

/* NULL: some may have been revoked, unheard */
void lines_auth_told(lines_main_conf_t *lmcf, ngx_str_t *message);

/* its channel: revoked keys are announced by their id, and a tenant whose rate
   or plan has changed (limit/lease.h), "line TENANT ID", "event TENANT" (events/listeners.h);
   what is none of these is no affair of a node that does not know it */
#define LINES_REVOKED  "lines:revoked"


#endif /* _LINES_AUTH_AUTH_H_INCLUDED_ */
