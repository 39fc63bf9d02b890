
#include "api/ask.h"
#include "api/client.h"
#include "api/json.h"
#include "api/listing.h"
#include "http/steps.h"


#define LINES_CURSOR_MAX    512

#define LINES_LISTING_POOL  8192
#define LINES_TEXTS_POOL    512     /* most are larger: on their own */


static ngx_int_t listing_sent(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc);


static const lines_input_t  listing_inputs[] = {
    lines_in_number("limit", lines_listing_t, limit, 1, LINES_PAGE,
                    "limit must be from 1 to 100"),
    lines_input_end
};


static void
listing_cleanup(void *data)
{
    lines_listing_t  *listing = data;

    lines_caller_detach(listing->caller);

    if (listing->pool) {
        ngx_destroy_pool(listing->pool);
    }

    if (listing->texts) {
        ngx_destroy_pool(listing->texts);
    }
}


lines_answered(listing_page, lines_listing_t *listing, lines_page)
{
    listing->members = reply->members.elts;
    listing->nmembers = reply->members.n / 2;
    listing->next = 0;

    listing->scanned += listing->nmembers;
    listing->exhausted = (reply->exhausted == 1);

    return NGX_OK;
}


static ngx_int_t
listing_range(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_uint_t        most;
    lines_listing_t  *listing = ctx->data;

    /* one more than is shown tells whether there are any */

    most = LINES_PAGE;

    if (listing->limit
        && listing->status.len == 0
        && listing->reference.len == 0)
    {
        most = ngx_min(most, (ngx_uint_t) (listing->limit - listing->shown)
                             + 1);
    }

    /* of the page before, the last one is still needed */

    if (lines_redis_format(r->pool, &listing->score, "%V", &listing->score)
        != NGX_OK
        || lines_redis_format(r->pool, &listing->member, "%V",
                              &listing->member)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    listing->nmembers = 0;
    listing->next = 0;

    ngx_reset_pool(listing->pool);

    return lines_lines_page(&ctx->caller, listing_page, ctx,
                            .lines_key = listing->key,
                            .oldest = listing->oldest,
                            .score = listing->score,
                            .member = listing->member,
                            .most = (int64_t) most);
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
    ngx_chain_t      *cl;
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

    /* what a filter has kept without a word goes with the request */

    for (cl = listing->out; cl; cl = cl->next) {
        listing->kept |= (cl->buf->pos != cl->buf->last);
    }

    if (!listing->kept) {
        ngx_reset_pool(listing->texts);

        listing->last->next = listing->free;
        listing->free = listing->out;
    }

    listing->out = NULL;
    lines_turn_release(listing->turn);

    return lines_turn_take(listing->turn);
}


/*
 * There is no room to wait with what was read for the rest.  From here on the
 * list comes in parts, each when the one before was taken.
 */

static ngx_int_t
listing_send(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    lines_listing_t  *listing = ctx->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines listing: %uz bytes are sent on the way",
                   listing->turn->held);

    if (!ctx->begun) {
        rc = lines_begin(r, ctx, NGX_HTTP_OK, &lines_json_type);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    listing->last->buf->flush = 1;
    listing->last->buf->last_in_chain = 1;

    return listing_sent(r, ctx, lines_part(r, listing->out));
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

    if (p == NULL || ngx_atoof(text.data, p - text.data) == NGX_ERROR) {
        return NGX_ERROR;
    }

    listing->score.data = text.data;
    listing->score.len = p - text.data;
    listing->member.data = p + 1;
    listing->member.len = text.data + text.len - p - 1;

    return NGX_OK;
}


/* room for so much, which the caller fills */

static u_char *
listing_room(ngx_http_request_t *r, lines_listing_t *listing, size_t size)
{
    u_char       *p;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    cl = ngx_chain_get_free_buf(r->pool, &listing->free);
    p = ngx_pnalloc(listing->texts, size);

    if (cl == NULL || p == NULL) {
        return NULL;
    }

    b = cl->buf;
    ngx_memzero(b, sizeof(ngx_buf_t));

    b->pos = p;
    b->last = p + size;
    b->temporary = 1;

    if (listing->out) {
        listing->last->next = cl;

    } else {
        listing->out = cl;
    }

    listing->last = cl;
    listing->size += size;

    return p;
}


static ngx_int_t
listing_append(ngx_http_request_t *r, lines_listing_t *listing,
    ngx_str_t *text)
{
    u_char  *p;

    p = listing_room(r, listing, text->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, text->data, text->len);

    return NGX_OK;
}


/* the JSON in the texts of a reply, each with what is to be added to it */

static ngx_int_t
listing_items(ngx_http_request_t *r, lines_listing_t *listing,
    lines_list_t *items)
{
    size_t       size;
    u_char      *p;
    ngx_str_t   *text, *more;
    ngx_uint_t   i;

    size = 0;

    for (i = 0; i + 1 < items->n; i += 2) {
        text = &items->elts[i];
        more = text + 1;

        p = ngx_strlchr(text->data, text->data + text->len, '{');

        if (p == NULL || text->data[text->len - 1] != '}') {
            return NGX_ERROR;
        }

        text->len -= p - text->data;
        text->data = p;

        size += (listing->shown + i / 2 != 0) + text->len + more->len;
    }

    if (size == 0) {
        return NGX_OK;
    }

    /* of a list that is not sent, only its length is needed */

    if (r->method == NGX_HTTP_HEAD) {
        listing->size += size;
        return NGX_OK;
    }

    p = listing_room(r, listing, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i + 1 < items->n; i += 2) {
        text = &items->elts[i];
        more = text + 1;

        if (listing->shown + i / 2) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, text->data, text->len - 1);
        p = ngx_cpymem(p, more->data, more->len);
        *p++ = '}';
    }

    lines_turn_hold(listing->turn, size);

    return NGX_OK;
}


ngx_int_t
lines_listing_create(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *tenant, const char *list, const char *prefix,
    ngx_uint_t fallback)
{
    ngx_int_t            rc;
    ngx_str_t            value;
    ngx_pool_cleanup_t  *cln;
    lines_listing_t     *listing;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(lines_listing_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    listing = cln->data;
    ngx_memzero(listing, sizeof(lines_listing_t));

    cln->handler = listing_cleanup;

    listing->caller = &ctx->caller;
    listing->turn = lines_turn_create(ctx, tenant, listing_range);
    listing->pool = ngx_create_pool(LINES_LISTING_POOL, r->connection->log);
    listing->texts = ngx_create_pool(LINES_TEXTS_POOL, r->connection->log);

    if (listing->turn == NULL
        || listing->pool == NULL
        || listing->texts == NULL)
    {
        return NGX_ERROR;
    }

    /* replies are a page's, too */

    ctx->caller.pool = listing->pool;

    listing->tenant = *tenant;
    listing->list = list;
    listing->limit = fallback;
    ctx->data = listing;

    /* what a subrequest sends may have to wait for others, in memory */

    if (r == r->main) {
        listing->turn->send = listing_send;
    }

    rc = lines_read_query(r, ctx, listing_inputs, listing);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = lines_query(r, "cursor", &value);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK) {

        if (listing_cursor(r, listing, &value) != NGX_OK) {
            return lines_refuse(ctx, 400, "cursor is not one that was given "
                                "out");
        }

        if (listing->limit == 0) {
            listing->limit = LINES_PAGE;
        }
    }

    value.data = (u_char *) prefix;
    value.len = ngx_strlen(prefix);

    if (listing_append(r, listing, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    return tenant->len ? lines_key_lines(r->pool, &listing->key, tenant)
                       : NGX_OK;
}


static void
listing_member(lines_listing_t *listing, ngx_uint_t i, ngx_str_t *tenant,
    ngx_str_t *id)
{
    *tenant = listing->tenant;
    *id = listing->members[2 * i];

    if (tenant->len) {
        return;
    }

    *tenant = lines_word(id);

    /* a member that is none names no line */

    if (tenant->len == 0 || id->len == 0) {
        *tenant = listing->members[2 * i];
        *id = *tenant;
    }
}


lines_answered(listing_run, lines_listing_t *listing, line_list)
{
    ngx_str_t   tenant, id, *unclear;
    ngx_uint_t  i;

    if (reply->looked < 1
        || reply->looked > (int64_t) (listing->nmembers - listing->next)
        || listing_items(r, listing, &reply->items) != NGX_OK)
    {
        return NGX_ERROR;
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
    listing->shown += reply->items.n / 2;
    listing->member = listing->members[2 * listing->next - 2];
    listing->score = listing->members[2 * listing->next - 1];

    return NGX_OK;
}


/* the next lines, all of one tenant: what is passed to a script is one slot */

static ngx_int_t
listing_documents(lines_ctx_t *ctx)
{
    ngx_str_t        *ids, tenant, other;
    ngx_uint_t        n, most;
    lines_listing_t  *listing = ctx->data;

    most = ngx_min(listing->nmembers - listing->next, LINES_RUN);

    ids = ngx_palloc(listing->pool, most * sizeof(ngx_str_t));
    if (ids == NULL) {
        return NGX_ERROR;
    }

    listing_member(listing, listing->next, &tenant, &ids[0]);

    for (n = 1; n < most; n++) {
        listing_member(listing, listing->next + n, &other, &ids[n]);

        if (!lines_same(&other, &tenant)) {
            break;
        }
    }

    return lines_line_list(&ctx->caller, listing_run, ctx, .tenant = tenant,
                 .ids.n = n, .ids.elts = ids,
                 .list.data = (u_char *) listing->list,
                 .list.len = ngx_strlen(listing->list),
                 .most = listing->limit ? listing->limit - listing->shown : 0,
                 .wanted = listing->status, .reference = listing->reference);
}


/* {PREFIX[…]}, and after a page "cursor":"…"|null besides */

static ngx_int_t
listing_answer(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t         text, cursor, suffix;
    lines_json_t      json = { .pool = r->pool };
    lines_listing_t  *listing = ctx->data;

    ngx_str_null(&cursor);

    if (listing->limit && listing->score.len) {

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
    }

    lines_json_add(&json, listing->limit ? "],'cursor':%J}" : "]}", &cursor);

    suffix.data = json.start;
    suffix.len = json.last - json.start;

    if (json.failed || listing_append(r, listing, &suffix) != NGX_OK) {
        return NGX_ERROR;
    }

    listing->last->buf->last_buf = (r == r->main) ? 1 : 0;
    listing->last->buf->last_in_chain = 1;

    return ctx->begun
           ? lines_end(r, ctx, listing->out)
           : lines_answer_chain(r, ctx, NGX_HTTP_OK, &lines_json_type,
                                listing->out, listing->size);
}


ngx_int_t
lines_listing_run(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_uint_t        full;
    lines_listing_t  *listing = ctx->data;

    full = listing->limit && listing->shown >= listing->limit;

    /* until there is enough */

    lines_again_from(ctx, lines_listing_run);

    if (!full && listing->next < listing->nmembers) {
        return listing_documents(ctx);
    }

    /* others may have theirs before the next page, or while it is sent */

    lines_turn_end(listing->turn);

    if (listing->exhausted && listing->next == listing->nmembers) {
        listing->score.len = 0;
        return listing_answer(r, ctx);
    }

    if (full || (listing->limit && listing->scanned >= LINES_LISTING_SCAN)) {
        return listing_answer(r, ctx);
    }

    return lines_turn_take(listing->turn);
}
