
/*
 * The module's side of a request: its context, the steps that it takes, the
 * routes that lead to them, its body, its commands to Redis and its answer.
 */

#ifndef _LINES_HTTP_REQUEST_H_INCLUDED_
#define _LINES_HTTP_REQUEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <jansson.h>

#include "http/conf.h"
#include "store/caller.h"


#define LINES_MAX_PARAMS  2


typedef struct lines_ctx_s  lines_ctx_t;


/*
 * A step returns
 *   NGX_OK     go on with the next one
 *   NGX_AGAIN  parked: something will resume the request
 *   NGX_DONE   answered
 *   an HTTP status, or NGX_ERROR: the request ends with it
 */

typedef ngx_int_t (*lines_step_pt)(ngx_http_request_t *r, lines_ctx_t *ctx);


/* an endpoint */

typedef struct {
    ngx_uint_t      method;    /* NGX_HTTP_GET is HEAD as well */
    ngx_str_t       path;      /* under the location's prefix;
                                  ":name" is one segment */
    ngx_str_t       name;      /* for metrics and logs */
    lines_step_pt   first[4];  /* who may, how often, what about, and what
                                  becomes of the body; NULL: nothing */
    lines_step_pt  *steps;     /* then; ends with NULL */
} lines_route_t;


/* how a dialect says "no", as JSON: error is a short code, or NULL */

typedef ngx_int_t (*lines_error_pt)(ngx_pool_t *pool, const char *error,
    const char *message, ngx_str_t *json);

/* {"error":"message"[,"code":…]}: workspaces', and of the operator's APIs */
ngx_int_t lines_plain_error(ngx_pool_t *pool, const char *error,
    const char *message, ngx_str_t *json);

/* {"status":"ERROR"[,"error":…],"message":…}: accounts' */
ngx_int_t lines_account_error(ngx_pool_t *pool, const char *error,
    const char *message, ngx_str_t *json);


struct lines_api_s {
    ngx_str_t       name;        /* workspace, account, admin, … */
    lines_error_pt  error;
    lines_route_t  *routes;      /* ends with an empty path */
    size_t          body_limit;  /* of JSON bodies */
};


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
    ngx_uint_t           reads;      /* flag: all that a cookie is
                                        good for */
} lines_rules_t;


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
    lines_cache_e  cache;      /* what the lines_auth that it met
                                  last says of caches */
    ngx_int_t      rc;         /* as of lines_auth_done_pt;
                                  good once it is settled */
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
    void  (*resume)(ngx_http_request_t *r, ngx_int_t rc);
    void  (*on_answer)(void *data);  /* or NULL: runs when
                            the request is finalized */
    void                *on_answer_data;
    lines_caller_t       caller;      /* of the store */

    ngx_str_t            request_id;
    lines_identity_t     identity;
    json_t              *body;        /* the object, or NULL; borrowed */
    void                *data;        /* the endpoint's own */
    void                *auth;        /* auth/'s own */
    ngx_http_request_t  *asked;       /* what auth_request made, where
                                         nobody could tell */
    void                *limit;       /* limit/'s own */
    void                *keyed;       /* the cache to whose key we added who
                                         asks: r->cache at that time */
    void                *refused;     /* the cache that nothing was sent
                                         from */
    void                *left;        /* the cache of a location that it
                                         left */

    ngx_msec_t           billing_time;
    ngx_str_t            operation;   /* id, for $lines_operation */

    ngx_int_t            rc;          /* of the answer's filters, or the
                                         status that nginx answers: for
                                         lines_finalize() */
    void                *reading;     /* the body being read */
    ngx_uint_t           refused_with; /* a status that nginx may answer
                                         with a page: in the dialect of api */
    ngx_str_t            page;        /* instead of nginx' own error
                                         page; empty: none, or sent */
    unsigned             untold:1;    /* auth_request's could not tell */
    unsigned             answered:1;
    unsigned             begun:1;     /* its answer, the end of which is
                                         still to come */
    unsigned             met_api:1;   /* it came to an API's location */
    unsigned             drop_page:1;  /* of nginx' own: it goes nowhere */
};


/*
 * The request's context; made when there is none.  It survives internal
 * redirects and named locations (found again through the pool's cleanups).
 * NULL without memory.
 */

lines_ctx_t *lines_get_ctx(ngx_http_request_t *r);

/* the same, but NULL where the request never met the module */
lines_ctx_t *lines_find_ctx(ngx_http_request_t *r);


/* goes on with the steps of ctx->route, where rc is NGX_OK, or ends with rc */
void lines_run(ngx_http_request_t *r, ngx_int_t rc);

/* step, which has run, and those after it run once more */
void lines_again_from(lines_ctx_t *ctx, lines_step_pt step);

/*
 * Ends a wait: runs resume with rc (NGX_OK: the next step; NGX_AGAIN:
 * nothing).  The request, and anything of its pool, may be gone afterwards.
 */

void lines_resume(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc);

/*
 * A request that waits is told when its client leaves, also where that was
 * heard of together with the request, and comes to no event of its own.
 * NGX_ERROR where the connection cannot be watched.
 */
ngx_int_t lines_watch_client(ngx_http_request_t *r);


/*
 * What a step asks Redis it asks as &ctx->caller, with ctx as data: a call of
 * store/calls.h returns NGX_AGAIN, or what lines_unavailable() returned, and
 * done(ctx, reply) returns as a step does.  A step may ask several, and then
 * returns NGX_AGAIN: the next step runs when all are answered.  Where Redis
 * fails, the request is answered with 503; handlers see good replies only.
 */

/* 1 where value is exactly text */
ngx_uint_t lines_is(ngx_str_t *value, const char *text);


/*
 * Steps about bodies.  read_json: an object is demanded (400, 413, 415 in the
 * dialect), duplicate members, depth and UTF-8 are checked, ctx->body is set.
 * read_optional_json: a body that is empty or of white space, of whatever type,
 * is as good as {}, and ctx->body is NULL.  discard_body: for requests whose
 * body does not matter.
 */

ngx_int_t lines_read_json(ngx_http_request_t *r, lines_ctx_t *ctx);
ngx_int_t lines_read_optional_json(ngx_http_request_t *r, lines_ctx_t *ctx);
ngx_int_t lines_discard_body(ngx_http_request_t *r, lines_ctx_t *ctx);

/*
 * The raw bytes, up to limit (413 in the dialect beyond it); done is called
 * at once or later, and its result is that of a step.
 */

typedef ngx_int_t (*lines_body_pt)(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *bytes);

ngx_int_t lines_read_body(ngx_http_request_t *r, lines_ctx_t *ctx,
    size_t limit, lines_body_pt done);


/*
 * Answers.  All of them return NGX_DONE, and set what the request ends with;
 * NGX_ERROR without memory.  JSON; Cache-Control, X-Request-Id and the length
 * are added in one place, and a Retry-After to each 503 that does not say it
 * yet, unless the operator adds headers of these names.
 */

ngx_int_t lines_answer(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t status, ngx_str_t *json);

/* the headers alone: of answers, and of nginx' own errors */
ngx_int_t lines_answer_headers(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *type, off_t len);

/* of another type; len: of all buffers of out, the last of which says so */
ngx_int_t lines_answer_chain(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t status, ngx_str_t *type, ngx_chain_t *out, size_t len);

/*
 * An answer that comes in parts: begin has its headers, NGX_OK; NGX_DONE where
 * nothing is to follow.  Each part is a chain, the last of which lines_end()
 * takes, and returns NGX_DONE.  Whatever else would be answered from there on
 * cuts it off, so that nobody takes it for whole.
 */
ngx_int_t lines_begin(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t status, ngx_str_t *type);

/* NGX_OK: it is sent, and its memory is free; NGX_AGAIN: r's write event
   handler is to ask again, with NULL; NGX_ERROR */
ngx_int_t lines_part(ngx_http_request_t *r, ngx_chain_t *part);

ngx_int_t lines_end(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_chain_t *part);

/* format as ngx_snprintf(); %V of strings that are JSON already */
ngx_int_t lines_answer_format(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t status, const char *fmt, ...);

/* 200 with prefix, the items (ngx_str_t, JSON) as an array, and suffix */
ngx_int_t lines_answer_array(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *prefix, ngx_array_t *items, const char *suffix);

/*
 * Ends the request with a step's result other than NGX_OK and NGX_AGAIN.
 * Where the client takes its time, nginx goes on sending.  The request, and
 * anything of its pool, may be gone afterwards.
 */

void lines_finalize(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc);

/* in the dialect of the location; error is a code, or NULL */
ngx_int_t lines_error(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t status, const char *error, const char *message);

/*
 * Headers of ours that give way to those of the same name that the operator
 * adds.
 */

enum {
    LINES_CACHE_CONTROL = 0,
    LINES_X_REQUEST_ID,
    LINES_RETRY_AFTER,
    LINES_OWN_HEADERS
};

extern ngx_str_t  lines_own_headers[];

/*
 * nginx' own errors in the location of an API get its dialect: filters, for
 * postconfiguration.
 */
ngx_int_t lines_special_init(ngx_conf_t *cf);

/* 503 with Retry-After (seconds) in the dialect */
ngx_int_t lines_unavailable(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_uint_t retry_after);

/* 401 in the dialect, with WWW-Authenticate where challenge is given */
ngx_int_t lines_unauthorized(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *challenge);

/* WWW-Authenticate, unless somebody asks for something already */
ngx_int_t lines_ask(ngx_http_request_t *r, const char *challenge);

/* appends a header to the answer; value is not copied */
ngx_int_t lines_add_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/* of several calls the last one counts */
ngx_int_t lines_retry_after(ngx_http_request_t *r, ngx_uint_t seconds);


/* a JSON string literal, with its quotes; len 0 and data NULL: no memory */
ngx_str_t lines_json_string(ngx_pool_t *pool, ngx_str_t *value);


/* an HTTP module of this nginx, by its name; NULL: it was built without */
ngx_module_t *lines_find_module(ngx_conf_t *cf, const char *name);

/* the first request header of that name, or NULL; name in lower case */
ngx_table_elt_t *lines_find_header(ngx_http_request_t *r, const char *name);

/* the next one after that one */
ngx_table_elt_t *lines_next_header(ngx_http_request_t *r, const char *name,
    ngx_table_elt_t *after);


#endif /* _LINES_HTTP_REQUEST_H_INCLUDED_ */
