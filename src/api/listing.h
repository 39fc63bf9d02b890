
/*
 * Lists of lines: ids from a sorted set, page by page, then what a script makes
 * of them, some at a time: nobody is held for long, and of the places in flight
 * a list takes one.  The ends of a page are a score and an id, so that lines
 * that come and go in between move nothing.
 */

#ifndef _LINES_API_LISTING_H_INCLUDED_
#define _LINES_API_LISTING_H_INCLUDED_


#include "api/input.h"
#include "api/turn.h"
#include "store/calls.h"


#define LINES_PAGE          100
#define LINES_RUN           50       /* lines that a script reads */
#define LINES_LISTING_SCAN  2000     /* of one request; a page may
                                                 be short, with a cursor */


/* a line that a list has no use for */
typedef void (*lines_listing_idle_pt)(ngx_http_request_t *r, ngx_str_t *tenant,
    ngx_str_t *id);


typedef struct {
    ngx_str_t              key;       /* of the sorted set */
    ngx_str_t              tenant;    /* of all lines; empty where a
                                         member is "TENANT ID" */
    ngx_uint_t             oldest;    /* flag: oldest first */
    int64_t                limit;     /* 0: all */
    const char            *list;      /* as line_list.lua has them */
    ngx_str_t              status;    /* wanted; empty: any */
    ngx_str_t              reference; /* the same */
    lines_listing_idle_pt  idle;      /* or NULL */

    /* the listing's own */
    lines_turn_t          *turn;
    lines_caller_t        *caller;
    ngx_pool_t            *pool;      /* of a page, and of replies */
    ngx_str_t              score;     /* to go on from */
    ngx_str_t              member;
    ngx_str_t             *members;   /* of a page, each with its score */
    ngx_uint_t             nmembers;
    ngx_uint_t             next;      /* whose turn it is */
    ngx_uint_t             scanned;
    int64_t                shown;
    ngx_pool_t            *texts;     /* of what is not sent yet */
    ngx_chain_t           *out;       /* JSON, without brackets */
    ngx_chain_t           *last;      /* of them */
    ngx_chain_t           *free;
    size_t                 size;
    unsigned               exhausted:1;
    unsigned               kept:1;    /* by a filter: texts are */
} lines_listing_t;


/*
 * Makes a listing, ctx->data, of tenant's lines, or of another key, which the
 * caller sets where tenant is empty; prefix is that of the answer, with "[".
 * Takes limit= (1 to 100, default fallback) and cursor= from the request's
 * arguments; fallback 0: all lines, unless one of the two asks for a page.  A
 * step's result.
 */

ngx_int_t lines_listing_create(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *tenant, const char *list, const char *prefix,
    ngx_uint_t fallback);

/*
 * The last step; it runs again until there is enough, and answers.  Where there
 * is no room to wait for the rest, what came before it is sent and freed.
 */
ngx_int_t lines_listing_run(ngx_http_request_t *r, lines_ctx_t *ctx);


#endif /* _LINES_API_LISTING_H_INCLUDED_ */
