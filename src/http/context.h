
/*
 * What the module knows of a request.
 */

#ifndef _LINES_HTTP_CONTEXT_H_INCLUDED_
#define _LINES_HTTP_CONTEXT_H_INCLUDED_


#include "http/conf.h"
#include "store/caller.h"

#include <jansson.h>


#define LINES_MAX_PARAMS  2


typedef struct lines_ctx_s    lines_ctx_t;
typedef struct lines_route_s  lines_route_t;


/*
 * A step returns
 *   NGX_OK     go on with the next one
 *   NGX_AGAIN  parked: something will resume the request
 *   NGX_DONE   answered
 *   an HTTP status, or NGX_ERROR: the request ends with it
 */

typedef ngx_int_t lines_step_t(ngx_http_request_t *r, lines_ctx_t *ctx);
typedef lines_step_t  *lines_step_pt;


/* whether a cookie counts: it comes along whoever made a browser send it */

typedef enum {
    LINES_SITE_TRUSTED = 0,    /* it does, or nothing is changed */
    LINES_SITE_UNSAID,         /* the browser did not tell which */
    LINES_SITE_OTHER
} lines_site_e;


/*
 * All that decides who somebody is: the configuration, and what the request
 * showed (another module may change its headers on the way).
 */

typedef struct {
    ngx_uint_t           methods;    /* 0: nothing was decided */
    time_t               stale;
    lines_clerk_conf_t  *clerk;
    ngx_str_t            key_id_header;
    ngx_str_t            secret_header;
    ngx_str_t            authorization;
    ngx_str_t            key_id;     /* by key_id_header */
    ngx_str_t            secret;
    ngx_str_t            cookie;     /* lines_clerk's, its value */
    lines_site_e         site;       /* that a browser sent it from with the
                                        cookie */
    ngx_uint_t           writes;     /* flag: it may change something; said
                                        where keys are asked for */
} lines_rules_t;


/* what a refusal is answered with, in place of 401 "Unauthorized" */

typedef struct {
    ngx_uint_t    status;
    const char   *code;
    const char   *words;
} lines_refusal_t;


/*
 * Who asks, as authentication found out, and by which rules: what other rules
 * would say is not known.
 */

typedef struct {
    lines_rules_t  rules;
    ngx_str_t      tenant;     /* w:ID or a:ID; empty: nobody */
    ngx_str_t      key_id;     /* SHA-256 of the key, hex */
    ngx_str_t      user;       /* of a session token: its sub */
    ngx_str_t      plan;       /* where it was read on the way */
    ngx_str_t      method;     /* "key", "clerk" */
    ngx_str_t      failure;    /* a short word, or empty */
    const char    *challenge;  /* of a 401; NULL: "Bearer" */
    const lines_refusal_t  *refusal;    /* its own, or NULL */
    int64_t        until;      /* ms since the epoch: what it showed is good no
                                  longer; 0: until it is revoked */
    ngx_uint_t     retry;      /* seconds: of a 429 in its place, or 0 */
    lines_cache_e  cache;      /* what the lines_auth that it met last says of
                                  caches */
    ngx_int_t      rc;         /* as of lines_auth_done_pt; good once it is
                                  settled */
    unsigned       settled:1;
    unsigned       planned:1;  /* its plan was asked for */
} lines_identity_t;


struct lines_ctx_s {
    ngx_http_request_t  *request;

    lines_api_t         *api;
    lines_route_t       *route;
    ngx_uint_t           first;       /* of route->first, the next to run */
    lines_step_pt       *step;        /* then: the next of route->steps */
    ngx_str_t            params[LINES_MAX_PARAMS];

    /* what runs once nothing is waited for: steps, or a phase's handler */
    void  (*resume)(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc);
    /* or NULL: runs when the request is finalized */
    void  (*on_answer)(void *data);
    void                *on_answer_data;
    lines_caller_t       caller;      /* of the store */

    ngx_str_t            request_id;
    lines_identity_t     identity;
    json_t              *body;        /* the object, or NULL; borrowed */
    void                *data;        /* the endpoint's own */
    void                *auth;        /* auth/'s own */
    ngx_array_t         *hidden;      /* ngx_table_elt_t *: credentials that
                                         upstreams do not see; NULL: none */
    ngx_http_request_t  *asked;       /* what auth_request made, where nobody
                                         could tell */
    void                *limit;       /* limit/'s own */
    void                *keyed;       /* the cache to whose key we added who
                                         asks: r->cache at that time */
    void                *refused;     /* the cache that nothing was sent from */
    void                *left;        /* the cache of a location that it left */

    ngx_msec_t           billing_time;
    ngx_msec_t           waited;      /* ms, for a line to change, or as a
                                         stream */
    ngx_str_t            operation;   /* id, for $lines_operation */
    ngx_str_t            operator;    /* whose token it was, for
                                         $lines_operator */

    ngx_int_t            rc;          /* of the answer's filters, or the status
                                         that nginx answers: for
                                         lines_finalize() */
    void                *reading;     /* the body being read */
    ngx_uint_t           retry_after;  /* seconds: the next answer says it;
                                          0: only a 503 does */
    ngx_uint_t           refused_with;  /* a status that nginx may answer with
                                           a page: in the dialect of api */
    lines_cors_t        *cors;        /* of the last location that has any */
    unsigned             preflight:1;  /* it is one, and allowed */
    unsigned             untold:1;    /* auth_request's could not tell */
    unsigned             answered:1;
    unsigned             begun:1;     /* its answer, the end of which is
                                         still to come */
    unsigned             met_api:1;   /* it came to an API's location */
    unsigned             crowded:1;   /* its tenant had as many requests as it
                                         may at once */
};


/*
 * The request's context; made when there is none.  It survives internal
 * redirects and named locations (found again through the pool's cleanups).
 * NULL without memory.
 */

lines_ctx_t *lines_get_ctx(ngx_http_request_t *r);

/* the same, but NULL where the request never met the module */
lines_ctx_t *lines_find_ctx(ngx_http_request_t *r);


/*
 * What a step asks Redis it asks as &ctx->caller, with ctx as data: a call of
 * store/calls.h returns NGX_AGAIN, or what lines_unavailable() returned, and
 * done(ctx, reply) returns as a step does.  A step may ask several, and then
 * returns NGX_AGAIN: the next step runs when all are answered.  Where Redis
 * fails, the request is answered with 503; handlers see good replies only.
 */


#endif /* _LINES_HTTP_CONTEXT_H_INCLUDED_ */
