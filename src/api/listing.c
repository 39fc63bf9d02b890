
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "api/listing.h"
#include "http/answer.h"
#include "http/steps.h"
#include "operation/subscription.h"
#include "store/calls.h"


#define LINES_CURSOR_MAX    512

#define LINES_LISTING_POOL  8192


static ngx_str_t  listing_json = ngx_string("application/json");


static ngx_int_t listing_cursor(ngx_http_request_t *r,
    lines_listing_t *listing, ngx_str_t *cursor);
static ngx_int_t listing_range(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t listing_newest(void *data, lines_lines_newest_reply_t *reply);
static ngx_int_t listing_oldest(void *data, lines_lines_oldest_reply_t *reply);
static ngx_int_t listing_page(lines_listing_t *listing, lines_list_t *members);
static ngx_int_t listing_run(void *data, lines_line_list_reply_t *reply);
static ngx_int_t listing_copy(ngx_pool_t *pool, ngx_str_t *to,
    ngx_str_t *from);
static ngx_int_t listing_append(ngx_http_request_t *r,
    lines_listing_t *listing, ngx_str_t *text, ngx_uint_t comma);
static ngx_int_t listing_send(ngx_http_request_t *r, lines_ctx_t *ctx);
static void listing_writer(ngx_http_request_t *r);
static ngx_int_t listing_sent(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc);
static void listing_free(lines_listing_t *listing, ngx_chain_t **chain,
    ngx_uint_t all);
static void listing_member(lines_listing_t *listing, ngx_uint_t i,
    ngx_str_t *tenant, ngx_str_t *id);
static void listing_cleanup(void *data);


lines_listing_t *
lines_listing_create(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *tenant, ngx_uint_t fallback, ngx_int_t *rc)
{
    ngx_int_t            n;
    ngx_str_t            value;
    ngx_pool_cleanup_t  *cln;
    lines_listing_t     *listing;

    *rc = NGX_ERROR;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(lines_listing_t));
    if (cln == NULL) {
        return NULL;
    }

    listing = cln->data;
    ngx_memzero(listing, sizeof(lines_listing_t));

    cln->handler = listing_cleanup;

    listing->caller = &ctx->caller;
    listing->turn = lines_turn_create(r, ctx, tenant);
    listing->pool = ngx_create_pool(LINES_LISTING_POOL, r->connection->log);

    if (listing->turn == NULL || listing->pool == NULL) {
        return NULL;
    }

    /* replies are a page's, too */

    ctx->caller.pool = listing->pool;

    listing->last = &listing->out;
    listing->tenant = *tenant;
    listing->limit = fallback;
    ctx->data = listing;

    /* what a subrequest sends may have to wait for others, in memory */

    if (r == r->main) {
        listing->turn->send = listing_send;
    }

    if (lines_query(r, "limit", &value) == NGX_OK) {

        n = ngx_atoi(value.data, value.len);

        if (n < 1 || n > LINES_PAGE) {
            *rc = lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                              "limit must be from 1 to 100");
            return NULL;
        }

        listing->limit = n;
    }

    if (lines_query(r, "cursor", &value) == NGX_OK) {

        if (listing_cursor(r, listing, &value) != NGX_OK) {
            *rc = lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                              "cursor is not one that was given out");
            return NULL;
        }

        if (listing->limit == 0) {
            listing->limit = LINES_PAGE;
        }
    }

    return listing;
}


static void
listing_cleanup(void *data)
{
    lines_listing_t  *listing = data;

    lines_caller_detach(listing->caller);

    if (listing->pool) {
        ngx_destroy_pool(listing->pool);
    }

    listing_free(listing, &listing->out, 1);
    listing_free(listing, &listing->sending, 1);
    listing_free(listing, &listing->kept, 1);
}


static ngx_int_t
listing_cursor(ngx_http_request_t *r, lines_listing_t *listing,
    ngx_str_t *cursor)
{
    u_char    *p;
    ngx_str_t  text;

    if (cursor->len == 0 || cursor->len > LINES_CURSOR_MAX) {
        return NGX_ERROR;
    }

    text.data = ngx_pnalloc(r->pool, ngx_base64_decoded_length(cursor->len));
    if (text.data == NULL || ngx_decode_base64url(&text, cursor) != NGX_OK) {
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
lines_listing_members(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_listing_t  *listing;

    listing = ctx->data;

    return lines_turn_take(listing->turn, listing_range);
}


static ngx_int_t
listing_range(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_listing_t           *listing;
    ngx_str_t                  from;
    lines_lines_oldest_args_t  oldest;

    listing = ctx->data;

    /* of the page before, the last one is still needed */

    if (listing_copy(r->pool, &listing->score, &listing->score) != NGX_OK
        || listing_copy(r->pool, &listing->member, &listing->member) != NGX_OK)
    {
        return NGX_ERROR;
    }

    listing->nmembers = 0;
    listing->next = 0;

    ngx_reset_pool(listing->pool);

    if (listing->oldest) {
        oldest.lines_key = listing->key;
        oldest.from = listing->score;
        oldest.offset = listing->offset;
        oldest.count = LINES_PAGE;

        if (oldest.from.len == 0) {
            ngx_str_set(&oldest.from, "-inf");
        }

        return lines_send_lines_oldest(&ctx->caller, LINES_CALL, &oldest,
                                       listing_oldest, ctx);
    }

    from = listing->score;

    if (from.len == 0) {
        ngx_str_set(&from, "+inf");
    }

    return lines_lines_newest(&ctx->caller, listing_newest, ctx,
                              .lines_key = listing->key,
                              .offset = listing->offset, .count = LINES_PAGE,
                              .from = from);
}


static ngx_int_t
listing_newest(void *data, lines_lines_newest_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return listing_page(ctx->data, &reply->members);
}


static ngx_int_t
listing_oldest(void *data, lines_lines_oldest_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return listing_page(ctx->data, &reply->members);
}


/* each with its score */

static ngx_int_t
listing_page(lines_listing_t *listing, lines_list_t *members)
{
    ngx_int_t   rc;
    ngx_str_t  *member, *score;
    ngx_uint_t  n;

    n = members->n / 2;
    listing->nmembers = n;
    listing->members = members->elts;

    /* the last page ended within a score: pass what it had */

    while (listing->nmembers && listing->score.len) {
        member = &listing->members[0];
        score = &listing->members[1];

        if (score->len != listing->score.len
            || ngx_strncmp(score->data, listing->score.data, score->len) != 0)
        {
            break;
        }

        rc = ngx_memn2cmp(member->data, listing->member.data, member->len,
                          listing->member.len);

        if (listing->oldest ? rc > 0 : rc < 0) {
            break;
        }

        listing->members += 2;
        listing->nmembers--;
    }

    /* what was passed is free: a page of a cursor makes headway, always */

    listing->scanned += listing->nmembers;
    listing->exhausted = (n < LINES_PAGE);

    /* a whole page of one score */

    listing->offset = (listing->nmembers || listing->exhausted)
                      ? 0
                      : listing->offset + n;

    return NGX_OK;
}


static ngx_int_t
listing_copy(ngx_pool_t *pool, ngx_str_t *to, ngx_str_t *from)
{
    u_char  *p;

    if (from->len == 0) {
        ngx_str_null(to);
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, from->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, from->data, from->len);

    to->data = p;
    to->len = from->len;

    return NGX_OK;
}


/* the next lines, all of one tenant: what is passed to a script is one slot */

ngx_int_t
lines_listing_documents(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t        *ids, tenant, id, other;
    ngx_uint_t        i, n;
    lines_listing_t  *listing;

    listing = ctx->data;

    n = ngx_min(listing->nmembers - listing->next, LINES_RUN);

    if (n == 0) {
        return NGX_OK;
    }

    listing_member(listing, listing->next, &tenant, &id);

    for (i = 1; i < n && listing->tenant.len == 0; i++) {

        listing_member(listing, listing->next + i, &other, &id);

        if (other.len != tenant.len
            || ngx_strncmp(other.data, tenant.data, tenant.len) != 0)
        {
            n = i;
        }
    }

    ids = ngx_palloc(listing->pool, n * sizeof(ngx_str_t));
    if (ids == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        listing_member(listing, listing->next + i, &other, &ids[i]);
    }

    return lines_line_list(&ctx->caller, listing_run, ctx, .tenant = tenant,
                 .ids.n = n, .ids.elts = ids,
                 .list.data = (u_char *) listing->list,
                 .list.len = ngx_strlen(listing->list),
                 .most = listing->limit ? listing->limit - listing->shown : 0,
                 .wanted = listing->status);
}


static void
listing_member(lines_listing_t *listing, ngx_uint_t i, ngx_str_t *tenant,
    ngx_str_t *id)
{
    u_char     *p;
    ngx_str_t  *member;

    member = &listing->members[2 * i];
    *tenant = listing->tenant;
    *id = *member;

    if (tenant->len) {
        return;
    }

    /* a member that is none names no line */

    *tenant = *member;

    p = ngx_strlchr(member->data, member->data + member->len, ' ');

    if (p && p > member->data && p + 1 < member->data + member->len) {
        tenant->len = p - member->data;
        id->data = p + 1;
        id->len = member->data + member->len - id->data;
    }
}


static ngx_int_t
listing_run(void *data, lines_line_list_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ngx_str_t            tenant, id, *text, *unclear;
    ngx_uint_t           i, shown;
    lines_listing_t     *listing;
    ngx_http_request_t  *r;

    listing = ctx->data;
    r = ctx->request;

    if (reply->looked < 1
        || reply->looked > (int64_t) (listing->nmembers - listing->next))
    {
        return NGX_ERROR;
    }

    shown = (ngx_uint_t) reply->shown;
    text = &reply->text;

    /* of a list that is not sent, only its length is needed */

    if (shown && r->method == NGX_HTTP_HEAD) {
        listing->size += text->len + (listing->shown != 0);

    } else if (shown) {

        if (listing_append(r, listing, text, listing->shown != 0) != NGX_OK) {
            return NGX_ERROR;
        }

        lines_turn_hold(listing->turn, text->len);
    }

    listing_member(listing, listing->next, &tenant, &id);

    unclear = reply->unclear.elts;

    for (i = 0; i + 1 < reply->unclear.n; i += 2) {
        lines_lapse_look(r, &tenant, &unclear[i], &unclear[i + 1]);
    }

    if (listing->idle) {
        for (i = 0; i < reply->hidden.n; i++) {
            listing->idle(r, &tenant, &reply->hidden.elts[i]);
        }
    }

    listing->next += reply->looked;
    listing->shown += shown;
    listing->member = listing->members[2 * listing->next - 2];
    listing->score = listing->members[2 * listing->next - 1];

    if (listing->limit && listing->shown >= listing->limit) {
        listing->full = 1;
    }

    return NGX_OK;
}


static ngx_int_t
listing_append(ngx_http_request_t *r, lines_listing_t *listing,
    ngx_str_t *text, ngx_uint_t comma)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    cl = listing->free;

    if (cl) {
        listing->free = cl->next;

    } else {
        cl = ngx_alloc_chain_link(r->pool);
        if (cl == NULL) {
            return NGX_ERROR;
        }

        cl->buf = ngx_palloc(r->pool, sizeof(ngx_buf_t));
        if (cl->buf == NULL) {
            return NGX_ERROR;
        }
    }

    b = cl->buf;
    ngx_memzero(b, sizeof(ngx_buf_t));

    b->start = ngx_alloc(text->len + comma, r->connection->log);
    if (b->start == NULL) {
        return NGX_ERROR;
    }

    b->pos = b->start;
    b->last = b->start;
    b->end = b->start + text->len + comma;
    b->temporary = 1;

    if (comma) {
        *b->last++ = ',';
    }

    b->last = ngx_cpymem(b->last, text->data, text->len);

    cl->next = NULL;

    *listing->last = cl;
    listing->last = &cl->next;
    listing->size += b->last - b->pos;

    return NGX_OK;
}


/*
 * There is no room to wait with what was read for the rest.  From here on the
 * list comes in parts, each when the one before was taken.
 */

static ngx_int_t
listing_send(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    ngx_buf_t        *b;
    ngx_chain_t      *out, *cl;
    lines_listing_t  *listing;

    listing = ctx->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines listing: %uz bytes are sent on the way",
                   listing->turn->held);

    out = listing->out;

    if (!ctx->begun) {
        rc = lines_begin(r, ctx, NGX_HTTP_OK, &listing_json);

        if (rc != NGX_OK) {
            return rc;
        }

        out = ngx_alloc_chain_link(r->pool);
        b = ngx_calloc_buf(r->pool);

        if (out == NULL || b == NULL) {
            return NGX_ERROR;
        }

        b->pos = (u_char *) listing->prefix;
        b->last = b->pos + ngx_strlen(listing->prefix);
        b->memory = 1;

        out->buf = b;
        out->next = listing->out;
    }

    for (cl = out; cl->next; cl = cl->next) { /* void */ }

    cl->buf->flush = 1;
    cl->buf->last_in_chain = 1;

    listing->sending = listing->out;
    listing->out = NULL;
    listing->last = &listing->out;

    return listing_sent(r, ctx, lines_part(r, out));
}


static void
listing_writer(ngx_http_request_t *r)
{
    ngx_int_t     rc;
    lines_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_lines_module);

    rc = lines_part(r, NULL);

    if (rc != NGX_AGAIN) {
        lines_resume(r, ctx, listing_sent(r, ctx, rc));
    }
}


static ngx_int_t
listing_sent(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc)
{
    lines_listing_t  *listing;

    if (rc == NGX_AGAIN) {
        r->write_event_handler = listing_writer;
        return NGX_AGAIN;
    }

    r->write_event_handler = ngx_http_request_empty_handler;

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    listing = ctx->data;

    listing_free(listing, &listing->sending, 0);
    lines_turn_release(listing->turn);

    return lines_turn_take(listing->turn, listing_range);
}


/* what a filter has kept without a word goes with the request */

static void
listing_free(lines_listing_t *listing, ngx_chain_t **chain, ngx_uint_t all)
{
    ngx_chain_t  *cl;

    while (*chain) {
        cl = *chain;
        *chain = cl->next;

        if (all || cl->buf->pos == cl->buf->last) {
            ngx_free(cl->buf->start);
            cl->next = listing->free;
            listing->free = cl;

        } else {
            cl->next = listing->kept;
            listing->kept = cl;
        }
    }
}


ngx_int_t
lines_listing_more(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_step_pt     step;
    lines_listing_t  *listing;

    listing = ctx->data;
    step = lines_listing_documents;

    if (listing->full || listing->next == listing->nmembers) {

        /* others may have theirs before the next page, or while it is sent */

        lines_turn_end(listing->turn);

        if (listing->exhausted && listing->next == listing->nmembers) {
            listing->score.len = 0;
            return NGX_OK;
        }

        if (listing->full
            || (listing->limit && listing->scanned >= LINES_LISTING_SCAN))
        {
            return NGX_OK;
        }

        step = lines_listing_members;
    }

    lines_again_from(ctx, step);

    return NGX_OK;
}


ngx_int_t
lines_listing_answer(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t         text, cursor, suffix;
    ngx_chain_t      *out, *tail;
    lines_listing_t  *listing;

    listing = ctx->data;

    ngx_str_set(&suffix, "]}");

    if (listing->limit && listing->score.len == 0) {
        ngx_str_set(&suffix, "],\"cursor\":null}");

    } else if (listing->limit) {

        if (lines_redis_format(r->pool, &text, "%V/%V", &listing->score,
                               &listing->member)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        cursor.data = ngx_pnalloc(r->pool,
                                  ngx_base64_encoded_length(text.len));
        if (cursor.data == NULL) {
            return NGX_ERROR;
        }

        ngx_encode_base64url(&cursor, &text);

        if (lines_redis_format(r->pool, &suffix, "],\"cursor\":\"%V\"}",
                               &cursor)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (listing_append(r, listing, &suffix, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    /* the list goes between its first and its last buffer: it is not copied */

    for (tail = listing->out; tail->next; tail = tail->next) { /* void */ }

    tail->buf->last_buf = (r == r->main) ? 1 : 0;
    tail->buf->last_in_chain = 1;

    if (ctx->begun) {
        return lines_end(r, ctx, listing->out);
    }

    out = ngx_alloc_chain_link(r->pool);
    if (out == NULL) {
        return NGX_ERROR;
    }

    out->buf = ngx_calloc_buf(r->pool);
    if (out->buf == NULL) {
        return NGX_ERROR;
    }

    out->buf->pos = (u_char *) listing->prefix;
    out->buf->last = out->buf->pos + ngx_strlen(listing->prefix);
    out->buf->memory = 1;
    out->next = listing->out;

    return lines_answer_chain(r, ctx, NGX_HTTP_OK, &listing_json, out,
                              listing->size + ngx_strlen(listing->prefix));
}
