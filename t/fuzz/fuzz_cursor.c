
/*
 * The query string of a list, then the page that Redis gave, a member and its
 * score in a line each.  A cursor that a client is given is good, and goes on
 * where it says.  The first byte: how the list is asked for.
 */

#include "fuzz.h"
#include "api/listing.c"


static ngx_str_t  answer;


lines_turn_t *
lines_turn_create(lines_ctx_t *ctx, ngx_str_t *tenant, lines_step_pt run)
{
    return ngx_pcalloc(ctx->request->pool, sizeof(lines_turn_t));
}


void
lines_caller_detach(lines_caller_t *caller)
{
}


ngx_int_t
lines_answer_chain(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t status,
    ngx_str_t *type, ngx_chain_t *out, size_t len)
{
    u_char  *p;

    must(status == 200);

    answer.data = ngx_pnalloc(r->pool, len);
    p = answer.data;

    for ( /* void */ ; out; out = out->next) {
        must((size_t) (answer.data + len - p) >= (size_t) ngx_buf_size(out->buf));
        p = ngx_cpymem(p, out->buf->pos, ngx_buf_size(out->buf));
    }

    answer.len = p - answer.data;
    must(answer.len == len);

    return NGX_DONE;
}


ngx_chain_t *
ngx_chain_get_free_buf(ngx_pool_t *pool, ngx_chain_t **free)
{
    ngx_chain_t  *cl;

    cl = ngx_pcalloc(pool, sizeof(ngx_chain_t));
    cl->buf = ngx_pcalloc(pool, sizeof(ngx_buf_t));

    return cl;
}


/* what the client has of the answer is where the next list begins */

static void
fuzz_round(lines_listing_t *listing)
{
    u_char           *p;
    json_t           *json, *cursor;
    ngx_str_t         args;
    fuzz_request_t    request;
    lines_listing_t  *again;

    static ngx_str_t  tenant = ngx_string("w:one");

    json = json_loadb((char *) answer.data, answer.len, 0, NULL);
    must(json != NULL);

    cursor = json_object_get(json, "cursor");

    if (!json_is_string(cursor)) {
        must(listing->score.len == 0 || listing->limit == 0);
        json_decref(json);
        return;
    }

    must(listing->score.len > 0);

    request = fuzz_request();

    args.data = ngx_pnalloc(request.pool, json_string_length(cursor) + 7);
    p = ngx_cpymem(args.data, "cursor=", 7);
    p = ngx_cpymem(p, json_string_value(cursor), json_string_length(cursor));
    args.len = p - args.data;

    request.r->args = args;

    must(lines_listing_create(request.r, request.ctx, &tenant, "lines",
                              "{'lines':[", 0)
         == NGX_OK);

    again = request.ctx->data;

    must(lines_same(&again->score, &listing->score)
         && lines_same(&again->member, &listing->member)
         && again->limit == LINES_PAGE);

    json_decref(json);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t            in = { data, data + size };
    ngx_int_t         rc;
    ngx_str_t         elts[2 * LINES_PAGE], tenant, id, first;
    ngx_uint_t        how, i, n;
    fuzz_request_t    request;
    lines_listing_t  *listing;

    lines_lines_page_reply_t  reply;

    request = fuzz_request();
    how = fuzz_byte(&in);
    request.r->args = fuzz_line(&in);

    ngx_str_set(&tenant, "w:one");

    if (how & 1) {
        tenant.len = 0;
    }

    rc = lines_listing_create(request.r, request.ctx, &tenant, "lines",
                              "{\"lines\":[", how & 2 ? LINES_PAGE : 0);

    must(rc == NGX_OK ? fuzz_status == 0
                      : rc == NGX_DONE && fuzz_status == 400);

    if (rc != NGX_OK) {
        fuzz_end();
        return 0;
    }

    listing = request.ctx->data;
    must(listing->limit >= 0 && listing->limit <= LINES_PAGE);
    must(listing->score.len == 0
         || strspn((char *) listing->score.data, "0123456789")
            >= listing->score.len);

    /* a reply is of whole strings, maybe an odd number of them */

    for (n = 0; n < 2 * LINES_PAGE && in.p < in.last; n++) {
        elts[n] = fuzz_line(&in);
    }

    listing->oldest = how >> 2 & 1;

    reply.exhausted = how >> 3 & 1;
    reply.members.n = n;
    reply.members.elts = elts;

    must(listing_page(request.ctx, &reply) == NGX_OK);

    must(listing->nmembers <= n / 2
         && (listing->nmembers == 0
             || (listing->members >= elts
                 && listing->members + 2 * listing->nmembers <= elts + n)));
    must(listing->exhausted == (how >> 3 & 1));

    for (i = 0; i < listing->nmembers; i++) {
        listing_member(listing, i, &first, &id);

        must(first.len > 0 || listing->members[2 * i].len == 0);
        must(id.len <= listing->members[2 * i].len);

        listing->member = listing->members[2 * i];
        listing->score = listing->members[2 * i + 1];
    }

    /* scores are times, members ids: no others have been written there */

    if (listing->nmembers == 0
        || (listing->score.len < 18
            && listing->member.len < 300
            && ngx_atoof(listing->score.data, listing->score.len)
               != NGX_ERROR))
    {
        must(listing_answer(request.r, request.ctx) == NGX_DONE);
        fuzz_round(listing);
    }

    fuzz_end();

    return 0;
}
