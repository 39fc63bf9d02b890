
/*
 * Turns: what may be long, such as a list of ten thousand lines, asks Redis
 * when it is its turn, one command at a time.  A worker gives out a few turns,
 * fewer to one tenant; who waits is served tenant by tenant, so that one with
 * much to read does not keep the others from theirs.  What is held in memory
 * meanwhile, and until it is sent, has a bound: who would exceed it waits, too.
 */

#ifndef _NGX_HTTP_LINES_TURN_H_INCLUDED_
#define _NGX_HTTP_LINES_TURN_H_INCLUDED_


#include "ngx_http_lines_request.h"


/* at a time, of a worker and of a tenant */
#define NGX_HTTP_LINES_TURNS         16
#define NGX_HTTP_LINES_TENANT_TURNS  2

/* bytes; ten thousand lines take six million */
#define NGX_HTTP_LINES_HELD          (64 * 1024 * 1024)
#define NGX_HTTP_LINES_TENANT_HELD   (16 * 1024 * 1024)
#define NGX_HTTP_LINES_HELD_SMALL    (64 * 1024)     /* never waits */

/* ms; it is others of the same tenant, as a rule, that are waited for */
#define NGX_HTTP_LINES_TURN_WAIT     10000


typedef struct ngx_http_lines_turns_s  ngx_http_lines_turns_t;


typedef struct {
    ngx_queue_t               queue;       /* of those that wait */
    ngx_http_request_t       *request;
    ngx_http_lines_ctx_t     *ctx;
    ngx_http_lines_step_pt    handler;
    ngx_str_t                 tenant;
    ngx_http_lines_turns_t   *turns;       /* the tenant's; NULL: was never
                                              asked for */
    size_t                    held;        /* bytes, until the pool is freed */
    ngx_event_t               timer;
    unsigned                  waiting:1;
    unsigned                  running:1;
} ngx_http_lines_turn_t;


/*
 * Makes the turn of the request; it is given back when the request is answered
 * at the latest.  tenant is not copied.  NULL without memory.
 */

ngx_http_lines_turn_t *ngx_http_lines_turn_create(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_str_t *tenant);

/*
 * Runs handler when it is the request's turn, now or later; the result is
 * handler's, NGX_AGAIN while it waits, or NGX_ERROR.  Who waits for too long is
 * answered with 503.  Who holds much may have to wait for memory first.
 */

ngx_int_t ngx_http_lines_turn_take(ngx_http_lines_turn_t *turn,
    ngx_http_lines_step_pt handler);

/* the next one's turn; no harm where there was none */
void ngx_http_lines_turn_end(ngx_http_lines_turn_t *turn);

/* counts bytes of the request's pool; the turn must have been taken once */
void ngx_http_lines_turn_hold(ngx_http_lines_turn_t *turn, size_t size);


#endif /* _NGX_HTTP_LINES_TURN_H_INCLUDED_ */
