
/*
 * GET lines/by-user: all lines of a workspace, with the usage of the day.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_limit.h"
#include "ngx_http_lines_workspace.h"
#include "ngx_http_lines_listing.h"


static ngx_int_t ngx_http_lines_by_user(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);
static ngx_int_t ngx_http_lines_by_user_day(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, redisReply *reply);
static ngx_int_t ngx_http_lines_by_user_item(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx, ngx_http_lines_listing_t *listing,
    ngx_str_t *tenant, ngx_str_t *id, redisReply *reply);
static ngx_int_t ngx_http_lines_by_user_answer(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx);


ngx_http_lines_step_pt  ngx_http_lines_lines_by_user_steps[] = {
    ngx_http_lines_authenticate_workspace,
    ngx_http_lines_limit_identity,
    ngx_http_lines_discard_body,
    ngx_http_lines_by_user,
    ngx_http_lines_listing_members,
    ngx_http_lines_listing_documents,
    ngx_http_lines_listing_more,
    ngx_http_lines_by_user_answer,
    NULL
};


static ngx_int_t
ngx_http_lines_by_user(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_str_t                  argv[1];
    ngx_http_lines_listing_t  *listing;

    static const char  *fields[] = {
        "json", "usage_date", "usage_conversations", "usage_messages"
    };

    listing = ngx_http_lines_listing_create(r, ctx, 0, &rc);
    if (listing == NULL) {
        return rc;
    }

    listing->tenant = ctx->identity.tenant;
    listing->fields = fields;
    listing->nfields = 4;
    listing->item = ngx_http_lines_by_user_item;

    if (ngx_lines_redis_format(r->pool, &listing->key, "lines:{%V}:lines",
                               &ctx->identity.tenant)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* which day it is, Redis says */

    ngx_str_set(&argv[0], "TIME");

    return ngx_http_lines_command(r, ctx, 1, argv,
                                  ngx_http_lines_by_user_day);
}


static ngx_int_t
ngx_http_lines_by_user_day(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    redisReply *reply)
{
    time_t                     sec;
    ngx_tm_t                   tm;
    ngx_str_t                 *day, value;
    ngx_http_lines_listing_t  *listing;

    listing = ctx->data;

    value = ngx_http_lines_reply_str(reply, 0);
    sec = ngx_atotm(value.data, value.len);

    day = ngx_palloc(r->pool, sizeof(ngx_str_t));

    if (day == NULL || sec == NGX_ERROR) {
        return NGX_ERROR;
    }

    ngx_gmtime(sec, &tm);

    listing->data = day;

    return ngx_lines_redis_format(r->pool, day, "%04d-%02d-%02d",
                                  tm.ngx_tm_year, tm.ngx_tm_mon,
                                  tm.ngx_tm_mday);
}


/* the document is ready to send; the usage goes before its last brace */

static ngx_int_t
ngx_http_lines_by_user_item(ngx_http_request_t *r, ngx_http_lines_ctx_t *ctx,
    ngx_http_lines_listing_t *listing, ngx_str_t *tenant, ngx_str_t *id,
    redisReply *reply)
{
    ngx_str_t  *item, *day, json, date, conversations, messages;

    json = ngx_http_lines_reply_str(reply, 0);

    if (json.len < 2) {
        return NGX_OK;
    }

    day = listing->data;
    date = ngx_http_lines_reply_str(reply, 1);
    conversations = ngx_http_lines_reply_str(reply, 2);
    messages = ngx_http_lines_reply_str(reply, 3);

    if (date.len != day->len
        || ngx_strncmp(date.data, day->data, day->len) != 0)
    {
        ngx_str_set(&conversations, "0");
        ngx_str_set(&messages, "0");
    }

    item = ngx_array_push(&listing->items);
    if (item == NULL) {
        return NGX_ERROR;
    }

    json.len--;

    return ngx_lines_redis_format(r->pool, item,
               "%V,\"usage\":{\"date\":\"%V\",\"newConversationsCount\":%V,"
               "\"totalMessagesCount\":%V}}",
               &json, day, &conversations, &messages);
}


static ngx_int_t
ngx_http_lines_by_user_answer(ngx_http_request_t *r,
    ngx_http_lines_ctx_t *ctx)
{
    return ngx_http_lines_listing_answer(r, ctx, "{\"lines\":", 0);
}
