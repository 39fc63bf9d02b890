
/*
 * Lists of lines: ids from a sorted set, page by page, and their hashes, each
 * page in one round trip.  The ends of a page are a score and an id, so that
 * lines that come and go in between move nothing.
 */

#ifndef _NGX_HTTP_LINES_LISTING_H_INCLUDED_
#define _NGX_HTTP_LINES_LISTING_H_INCLUDED_


#include "ngx_http_lines_request.h"


#define NGX_HTTP_LINES_PAGE          100
#define NGX_HTTP_LINES_LISTING_SCAN  2000     /* of one request; a page may
                                                 be short, with a cursor */


typedef struct ngx_http_lines_listing_s  ngx_http_lines_listing_t;

/*
 * What to do with a line: reply has the fields asked for (all nil where the
 * line is not there).  NGX_OK, having pushed to items or not; NGX_ERROR.
 */
typedef ngx_int_t (*ngx_http_lines_listing_item_pt)(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_listing_t *listing,
    ngx_str_t *tenant, ngx_str_t *id, redisReply *reply);


struct ngx_http_lines_listing_s {
    ngx_str_t                        key;       /* of the sorted set */
    ngx_str_t                        tenant;    /* of all lines; empty where a
                                                   member is "TENANT ID" */
    ngx_uint_t                       oldest;    /* flag: oldest first */
    ngx_uint_t                       limit;     /* 0: all */
    ngx_uint_t                       nfields;
    const char                     **fields;    /* of a line's hash */
    ngx_http_lines_listing_item_pt   item;
    ngx_array_t                      items;     /* ngx_str_t: JSON */
    void                            *data;      /* the caller's own */

    /* the listing's own */
    ngx_str_t                        score;     /* to go on from */
    ngx_str_t                        member;
    ngx_str_t                       *members;   /* of this page */
    ngx_str_t                       *scores;
    ngx_uint_t                       nmembers;
    ngx_uint_t                       next;      /* whose hash comes next */
    ngx_uint_t                       offset;
    ngx_uint_t                       scanned;
    unsigned                         exhausted:1;
    unsigned                         full:1;
};


/*
 * Makes a listing, in ctx->data as well.  Takes limit= (1 to 100, default
 * fallback) and cursor= from the request's arguments; fallback 0: neither is
 * looked at, all lines come.  NULL where it answered 400, or without memory:
 * *rc is the step's result.
 */

ngx_http_lines_listing_t *ngx_http_lines_listing_create(
    ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx, ngx_uint_t fallback,
    ngx_int_t *rc);

/* three steps; the last goes back to the first until there is enough */
ngx_int_t ngx_http_lines_listing_members(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
ngx_int_t ngx_http_lines_listing_documents(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
ngx_int_t ngx_http_lines_listing_more(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);

/*
 * Answers {PREFIX"name":[items…]} and, with cursor, "cursor":"…"|null.
 */

ngx_int_t ngx_http_lines_listing_answer(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, const char *prefix, ngx_uint_t cursor);


/* an argument of the query string, decoded; NGX_DECLINED where it is absent */
ngx_int_t ngx_http_lines_query(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);


#endif /* _NGX_HTTP_LINES_LISTING_H_INCLUDED_ */
