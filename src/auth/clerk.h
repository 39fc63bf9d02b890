
/*
 * Clerk's session tokens as credentials: from the Authorization header, else
 * from a cookie (https://clerk.com/docs/guides/sessions/session-tokens).
 *
 * A cookie comes along whoever made the browser send the request.  It is good
 * for GET, HEAD and OPTIONS, and for writes only from sites that may: Origin is
 * one of them, or, without it, Sec-Fetch-Site is same-origin.  Else it is 403
 * (ctx->identity.refusal).
 */

#ifndef _LINES_AUTH_CLERK_H_INCLUDED_
#define _LINES_AUTH_CLERK_H_INCLUDED_


#include "auth/auth.h"
#include "auth/failures.h"
#include "auth/jwks.h"
#include "auth/jwt.h"


struct lines_clerk_conf_s {
    lines_jwt_options_t  options;
    ngx_str_t            cookie;    /* its name; empty: off */
    lines_jwks_t        *jwks;      /* NULL: "lines_clerk off" */
    lines_failures_t     failed;    /* how many tokens of an address may */
    u_char               id[LINES_SHA256_LEN];
                                           /* of all that decides whether a
                                              token is good */
};


/*
 * lines_clerk issuer=URL jwks=URI|key_file=PATH [authorized_party=ORIGIN ...]
 *             [leeway=5s] [cookie=__session|off] [tenant_claim=PATH]
 *             [jwks_ttl=5m] [jwks_stale=24h] [jwks_cooldown=30s]
 *             [failed=10r/s|unlimited]
 * lines_clerk off
 */
char *lines_clerk(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* after lines_access_merge() */
char *lines_clerk_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf);

/* lines_cors, after that: its origins, where it names none */
char *lines_clerk_cors_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf);


/*
 * As lines_authenticate(), by ctx->identity.rules, where no API key was shown
 * and the location has lines_clerk.  A good token of somebody without an active
 * organization gives ctx->identity.user, but no tenant.  Failures are the
 * words of lines_jwt_reason().
 */

ngx_int_t lines_clerk_authenticate(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_auth_done_pt done);


#endif /* _LINES_AUTH_CLERK_H_INCLUDED_ */
