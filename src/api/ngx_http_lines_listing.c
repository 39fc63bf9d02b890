
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_listing.h"


#define NGX_HTTP_LINES_CURSOR_MAX  512


static ngx_int_t ngx_http_lines_listing_cursor(ngx_http_request_t *r,
    ngx_http_lines_listing_t *listing, ngx_str_t *cursor);
static ngx_int_t ngx_http_lines_listing_page(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_listing_document(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static void ngx_http_lines_listing_member(ngx_http_lines_listing_t *listing,
    ngx_uint_t i, ngx_str_t *tenant, ngx_str_t *id);


ngx_http_lines_listing_t *
ngx_http_lines_listing_create(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_uint_t fallback, ngx_int_t *rc)
{
    ngx_int_t                  n;
    ngx_str_t                  value;
    ngx_http_lines_listing_t  *listing;

    *rc = NGX_ERROR;

    listing = ngx_pcalloc(r->pool, sizeof(ngx_http_lines_listing_t));
    if (listing == NULL) {
        return NULL;
    }

    if (ngx_array_init(&listing->items, r->pool, 16, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NULL;
    }

    listing->members = ngx_palloc(r->pool, 2 * NGX_HTTP_LINES_PAGE
                                           * sizeof(ngx_str_t));
    if (listing->members == NULL) {
        return NULL;
    }

    listing->scores = listing->members + NGX_HTTP_LINES_PAGE;
    listing->limit = fallback;
    ctx->data = listing;

    if (fallback == 0) {
        return listing;
    }

    if (ngx_http_lines_query(r, "limit", &value) == NGX_OK) {

        n = ngx_atoi(value.data, value.len);

        if (n < 1 || n > NGX_HTTP_LINES_PAGE) {
            *rc = ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                       "limit must be from 1 to 100");
            return NULL;
        }

        listing->limit = n;
    }

    if (ngx_http_lines_query(r, "cursor", &value) == NGX_OK
        && ngx_http_lines_listing_cursor(r, listing, &value) != NGX_OK)
    {
        *rc = ngx_http_lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                   "cursor is not one that was given out");
        return NULL;
    }

    return listing;
}


ngx_int_t
ngx_http_lines_query(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    u_char     *dst, *src;
    ngx_str_t   raw;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &raw) != NGX_OK) {
        return NGX_DECLINED;
    }

    value->data = ngx_pnalloc(r->pool, raw.len ? raw.len : 1);
    if (value->data == NULL) {
        return NGX_DECLINED;
    }

    dst = value->data;
    src = raw.data;

    ngx_unescape_uri(&dst, &src, raw.len, 0);

    value->len = dst - value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_lines_listing_cursor(ngx_http_request_t *r,
    ngx_http_lines_listing_t *listing, ngx_str_t *cursor)
{
    u_char     *p;
    ngx_str_t   text;

    if (cursor->len == 0 || cursor->len > NGX_HTTP_LINES_CURSOR_MAX) {
        return NGX_ERROR;
    }

    text.data = ngx_pnalloc(r->pool, ngx_base64_decoded_length(cursor->len));
    if (text.data == NULL
        || ngx_decode_base64url(&text, cursor) != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_strlchr(text.data, text.data + text.len, '/');

    if (p == NULL) {
        return NGX_ERROR;
    }

    listing->score.data = text.data;
    listing->score.len = p - text.data;
    listing->member.data = p + 1;
    listing->member.len = text.data + text.len - p - 1;

    if (ngx_atoof(listing->score.data, listing->score.len) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_lines_listing_members(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_str_t                  argv[8];
    ngx_http_lines_listing_t  *listing;

    listing = ctx->data;

    if (listing->oldest) {
        ngx_str_set(&argv[0], "ZRANGEBYSCORE");
        ngx_str_set(&argv[2], "-inf");
        ngx_str_set(&argv[3], "+inf");

    } else {
        ngx_str_set(&argv[0], "ZREVRANGEBYSCORE");
        ngx_str_set(&argv[2], "+inf");
        ngx_str_set(&argv[3], "-inf");
    }

    argv[1] = listing->key;

    if (listing->score.len) {
        argv[2] = listing->score;
    }

    ngx_str_set(&argv[4], "WITHSCORES");
    ngx_str_set(&argv[5], "LIMIT");

    if (ngx_lines_redis_format(r->pool, &argv[6], "%ui", listing->offset)
        != NGX_OK
        || ngx_lines_redis_format(r->pool, &argv[7], "%d",
                                  NGX_HTTP_LINES_PAGE)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_command(r, ctx, 8, argv,
                                  ngx_http_lines_listing_page);
}


static ngx_int_t
ngx_http_lines_listing_page(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    redisReply *reply)
{
    ngx_int_t                  rc;
    ngx_str_t                  member, score;
    ngx_uint_t                 i, n;
    ngx_http_lines_listing_t  *listing;

    listing = ctx->data;
    listing->nmembers = 0;
    listing->next = 0;

    n = (reply->type == REDIS_REPLY_ARRAY) ? reply->elements / 2 : 0;

    for (i = 0; i < n && i < NGX_HTTP_LINES_PAGE; i++) {

        member = ngx_http_lines_reply_str(reply, 2 * i);
        score = ngx_http_lines_reply_str(reply, 2 * i + 1);

        /* the last page ended within a score: pass what it had */

        if (score.len == listing->score.len
            && ngx_strncmp(score.data, listing->score.data, score.len) == 0)
        {
            rc = ngx_memn2cmp(member.data, listing->member.data, member.len,
                              listing->member.len);

            if (listing->oldest ? rc <= 0 : rc >= 0) {
                continue;
            }
        }

        if (ngx_http_lines_reply_copy(r, reply, 2 * i,
                                      &listing->members[listing->nmembers])
            != NGX_OK
            || ngx_http_lines_reply_copy(r, reply, 2 * i + 1,
                                         &listing->scores[listing->nmembers])
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        listing->nmembers++;
    }

    listing->scanned += n;
    listing->exhausted = (n < NGX_HTTP_LINES_PAGE);

    /* a whole page of one score */

    listing->offset = (listing->nmembers || listing->exhausted)
                      ? 0 : listing->offset + n;

    return NGX_OK;
}


ngx_int_t
ngx_http_lines_listing_documents(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_str_t                 *argv, tenant, id;
    ngx_uint_t                 i, j;
    ngx_http_lines_listing_t  *listing;

    listing = ctx->data;

    if (listing->nmembers == 0) {
        return NGX_OK;
    }

    argv = ngx_palloc(r->pool, (2 + listing->nfields) * sizeof(ngx_str_t));
    if (argv == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "HMGET");

    for (j = 0; j < listing->nfields; j++) {
        argv[2 + j].data = (u_char *) listing->fields[j];
        argv[2 + j].len = ngx_strlen(listing->fields[j]);
    }

    for (i = 0; i < listing->nmembers; i++) {

        ngx_http_lines_listing_member(listing, i, &tenant, &id);

        if (ngx_lines_redis_format(r->pool, &argv[1], "lines:{%V}:line:%V",
                                   &tenant, &id)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = ngx_http_lines_command(r, ctx, 2 + listing->nfields, argv,
                                    ngx_http_lines_listing_document);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return NGX_AGAIN;
}


static void
ngx_http_lines_listing_member(ngx_http_lines_listing_t *listing,
    ngx_uint_t i, ngx_str_t *tenant, ngx_str_t *id)
{
    u_char     *p;
    ngx_str_t  *member;

    member = &listing->members[i];
    *tenant = listing->tenant;
    *id = *member;

    if (tenant->len) {
        return;
    }

    p = ngx_strlchr(member->data, member->data + member->len, ' ');

    if (p) {
        tenant->data = member->data;
        tenant->len = p - member->data;
        id->data = p + 1;
        id->len = member->data + member->len - id->data;
    }
}


/* replies come in the order of their commands */

static ngx_int_t
ngx_http_lines_listing_document(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply)
{
    ngx_int_t                  rc;
    ngx_str_t                  tenant, id;
    ngx_uint_t                 i;
    ngx_http_lines_listing_t  *listing;

    listing = ctx->data;

    if (listing->full) {
        return NGX_OK;
    }

    i = listing->next++;

    ngx_http_lines_listing_member(listing, i, &tenant, &id);

    rc = listing->item(r, ctx, listing, &tenant, &id, reply);

    listing->score = listing->scores[i];
    listing->member = listing->members[i];

    if (listing->limit && listing->items.nelts == listing->limit) {
        listing->full = 1;
    }

    return rc;
}


ngx_int_t
ngx_http_lines_listing_more(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_http_lines_listing_t  *listing;

    listing = ctx->data;

    if (listing->full) {

        if (listing->exhausted && listing->next == listing->nmembers) {
            listing->score.len = 0;
        }

        return NGX_OK;
    }

    if (listing->exhausted) {
        listing->score.len = 0;
        return NGX_OK;
    }

    if (listing->limit && listing->scanned >= NGX_HTTP_LINES_LISTING_SCAN) {
        return NGX_OK;
    }

    while (*ctx->step != ngx_http_lines_listing_members) {
        ctx->step--;
    }

    ctx->step--;

    return NGX_OK;
}


ngx_int_t
ngx_http_lines_listing_answer(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, const char *prefix, ngx_uint_t cursor)
{
    ngx_str_t                  text, encoded, suffix;
    ngx_http_lines_listing_t  *listing;

    listing = ctx->data;

    if (!cursor) {
        return ngx_http_lines_answer_array(r, ctx, prefix, &listing->items,
                                           "}");
    }

    if (listing->score.len == 0) {
        return ngx_http_lines_answer_array(r, ctx, prefix, &listing->items,
                                           ",\"cursor\":null}");
    }

    if (ngx_lines_redis_format(r->pool, &text, "%V/%V", &listing->score,
                               &listing->member)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    encoded.data = ngx_pnalloc(r->pool, ngx_base64_encoded_length(text.len));
    if (encoded.data == NULL) {
        return NGX_ERROR;
    }

    ngx_encode_base64url(&encoded, &text);

    if (ngx_lines_redis_format(r->pool, &suffix, ",\"cursor\":\"%V\"}%Z",
                               &encoded)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lines_answer_array(r, ctx, prefix, &listing->items,
                                       (char *) suffix.data);
}
