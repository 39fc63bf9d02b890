
/*
 * What an account may buy: POST lines/provision-preview, may it buy a line now,
 * and a token for it; GET limits.  GET lines: those that it bought.
 */

#include "account/account.h"
#include "account/preview_token.h"
#include "account/routes.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "api/listing.h"
#include "api/plan.h"
#include "api/tenant_limits.h"
#include "http/answer.h"
#include "http/id.h"
#include "http/text.h"


#define LINES_ACCOUNT_PAGE      50

/* open previews of an account: with one more, none reserves a number */
#define LINES_ACCOUNT_RESERVED  5


typedef struct {
    lines_offer_t  offer;
    ngx_str_t      token;
    ngx_str_t      hash;
    ngx_str_t      id;        /* of the operation that it may begin */
    ngx_str_t      area;      /* that is wished for */
    ngx_str_t      prefix;    /* of a number of that, in E.164 */
    ngx_str_t      expires;
} lines_account_state_t;


const lines_body_input_t  lines_account_state_own =
    lines_own(lines_account_state_t);


/* an area code of the country code 1, or "+" and what a number begins with */

static ngx_uint_t
is_area(ngx_str_t *value)
{
    size_t  plus;

    plus = value->len && value->data[0] == '+';

    return value->len > plus
           && value->len <= (plus ? 16 : 6)
           && ngx_atoof(value->data + plus, value->len - plus) != NGX_ERROR;
}


const lines_body_input_t  lines_account_preview_input =
    lines_body_input(lines_account_state_t,
        lines_in_string("area_code", lines_account_state_t, area, 16, is_area,
                        "area_code must be 1 to 6 digits, or + and the first "
                        "digits of a number"));


static ngx_int_t
offer_full(lines_ctx_t *ctx, ngx_str_t *retry_after, ngx_str_t *limit,
    const char *error, const char *period)
{
    if (retry_after->len) {
        ctx->retry_after = ngx_max(1, ngx_atoi(retry_after->data,
                                               retry_after->len));
    }

    return lines_json(ctx, NGX_HTTP_TOO_MANY_REQUESTS,
                      "{'status':'ERROR','error':'%s',"
                      "'message':'Maximum %V lines can be added per %s via "
                      "API'}", error, limit, period);
}


ngx_int_t
lines_offer_judge(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_offer_t *offer)
{
    lines_window_read_reply_t  *windows = &offer->windows;

    if (windows->day_full) {
        return offer_full(ctx, &windows->day_retry_after, &windows->day_limit,
                          "daily_limit_reached", "day");
    }

    if (windows->month_full) {
        return offer_full(ctx, &windows->month_retry_after,
                          &windows->month_limit, "monthly_limit_reached",
                          "month");
    }

    if (offer->numbers.free <= 0 && offer->reserved.len == 0) {

        ctx->retry_after = 60;

        return lines_error(r, ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                           "no_lines_available",
                           "No lines are currently available");
    }

    return NGX_OK;
}


ngx_int_t
lines_account_preview_token(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t               rc;
    ngx_str_t               account;
    lines_account_state_t  *state = ctx->data;

    rc = lines_offer_judge(r, ctx, &state->offer);

    if (rc != NGX_OK) {
        return rc;
    }

    account = lines_account_id(ctx);

    state->token.len = LINES_PREVIEW_TOKEN_LEN;
    state->token.data = ngx_pnalloc(r->pool, LINES_PREVIEW_TOKEN_LEN);

    if (state->token.data == NULL
        || lines_preview_token(&account, state->token.data) != NGX_OK
        || lines_hash(r->pool, &state->token, &state->hash) != NGX_OK)
    {
        return NGX_ERROR;
    }

    state->id = state->hash;
    state->id.len = LINES_ID_LEN;

    if (state->area.len) {
        return lines_redis_format(r->pool, &state->prefix, "%s%V",
                                  state->area.data[0] == '+' ? "" : "+1",
                                  &state->area);
    }

    return NGX_OK;
}


/* each that reserves a number is one of these: so many are bounded, too */

static int64_t *
preview_most(ngx_http_request_t *r, lines_account_state_t *state)
{
    int64_t  *most;

    static int64_t  reserved = LINES_ACCOUNT_RESERVED;

    most = lines_tenant_limits_of(r)->previews;

    return state->prefix.len && (most == NULL || *most > reserved)
           ? &reserved : most;
}


lines_asks(lines_account_preview_issue, lines_account_state_t *state,
           preview_issue, .tenant = ctx->identity.tenant, .hash = state->hash,
           .id = state->id, .ttl = state->offer.plan->preview_ttl,
           .most = preview_most(r, state), .prefix = state->prefix)
{
    static ngx_str_t  bound = ngx_string("previews");

    if (reply->is == LINES_PREVIEW_ISSUE_FULL) {
        return lines_tenant_limited(ctx, &bound, reply->ms);
    }

    state->expires = reply->expires;

    return NGX_OK;
}


/* the token is there before: a number is reserved by who has one, and no more */

lines_answered(preview_reserved, lines_account_state_t *state, inv_reserve)
{
    /* nobody was shown the token: what counts no more is not kept either */

    if (reply->is == LINES_INV_RESERVE_NONE) {
        (void) lines_forget_token_drop(&ctx->caller,
                                       .tenant = ctx->identity.tenant,
                                       .hash = state->hash, .id = state->id);

        (void) lines_forget_preview_drop(&ctx->caller,
                                         .tenant = ctx->identity.tenant,
                                         .hash = state->hash);

        return lines_account_no_area(ctx);
    }

    state->offer.reserved = reply->number;

    return NGX_OK;
}


ngx_int_t
lines_account_preview_reserve(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_account_state_t  *state = ctx->data;

    return state->prefix.len
           ? lines_inv_reserve(&ctx->caller, preview_reserved, ctx,
                               .operation = state->id,
                               .tenant = ctx->identity.tenant,
                               .prefix = state->prefix,
                               .keep = state->offer.plan->preview_ttl,
                               .rest = lines_get_main_conf(r)->quarantine)
           : NGX_OK;
}


ngx_int_t
lines_account_preview_answer(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    int64_t                 n;
    const char             *unit;
    lines_json_t            json = { .pool = r->pool };
    lines_account_state_t  *state = ctx->data;

    n = state->offer.plan->preview_ttl / 1000;
    unit = "second";

    if (n % 60 == 0) {
        n /= 60;
        unit = "minute";
    }

    lines_json_add(&json, "{'status':'OK','preview_token':'%V',"
                   "'expires_at':'%V'", &state->token, &state->expires);

    if (state->offer.reserved.len) {
        lines_json_add(&json, ",'phone_number':'%V'", &state->offer.reserved);
    }

    lines_json_add(&json, ",'message':'Call the confirm endpoint with this "
                   "token within %L %s%s to complete the purchase.'}", n, unit,
                   n == 1 ? "" : "s");

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}


ngx_int_t
lines_account_read(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_account_state_t  *state = ctx->data;

    return lines_offer_read(r, ctx, &state->offer);
}


ngx_int_t
lines_offer_read(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_offer_t *offer)
{
    ngx_int_t           rc;
    ngx_str_t          *elts;
    ngx_uint_t          i, n;
    lines_plan_t       *plan;
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(r);
    plan = lmcf->plans.elts;

    elts = ngx_palloc(r->pool, 3 * lmcf->plans.nelts * sizeof(ngx_str_t));
    if (elts == NULL) {
        return NGX_ERROR;
    }

    n = 0;

    for (i = 0; i < lmcf->plans.nelts; i++) {

        if (plan[i].channel == LINES_AGENT) {
            elts[n++] = plan[i].name;
            elts[n++] = plan[i].daily;
            elts[n++] = plan[i].monthly;
        }
    }

    rc = lines_keep_window_read(&ctx->caller, &offer->windows,
                                .tenant = ctx->identity.tenant,
                                .plans.n = n, .plans.elts = elts);

    return rc == NGX_AGAIN && r->method == NGX_HTTP_POST
           ? lines_keep_inv_count(&ctx->caller, &offer->numbers) : rc;
}


ngx_int_t
lines_account_plan(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_account_state_t  *state = ctx->data;
    lines_offer_t          *offer = &state->offer;

    offer->plan = lines_find_plan(lines_get_main_conf(r),
                                  &offer->windows.plan, LINES_AGENT);
    if (offer->plan == NULL) {
        return lines_account_plan_error(ctx);
    }

    ctx->identity.plan = offer->plan->name;

    return NGX_OK;
}


ngx_int_t
lines_account_list(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t  rc;

    static const lines_input_t  inputs[] = {
        lines_in_text("customer_reference", lines_listing_t, reference,
                      LINES_REFERENCE_MAX),
        lines_input_end
    };

    rc = lines_listing_create(r, ctx, &ctx->identity.tenant, "account",
                              "{\"status\":\"OK\",\"lines\":[",
                              LINES_ACCOUNT_PAGE);

    return rc == NGX_OK ? lines_read_query(r, ctx, inputs, ctx->data) : rc;
}


static void
limits_window(lines_json_t *json, const char *name, ngx_str_t *limit,
    int64_t used, ngx_str_t *resets_at, int64_t seconds)
{
    int64_t  left;

    lines_json_add(json, ",'api_provision_%s':{'limit':%N,'used':%L,"
                   "'remaining':", name, limit, used);

    if (limit->len) {
        left = ngx_atoi(limit->data, limit->len) - used;

        lines_json_add(json, "%L", ngx_max(left, 0));

    } else {
        lines_json_add(json, "null");
    }

    lines_json_add(json, ",'window_seconds':%L,'resets_at':%J}", seconds,
                   resets_at);
}


ngx_int_t
lines_account_limits_answer(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    lines_json_t                json = { .pool = r->pool };
    lines_account_state_t      *state = ctx->data;
    lines_window_read_reply_t  *windows;

    windows = &state->offer.windows;

    lines_json_add(&json, "{'status':'OK','limits':{");

    limits_window(&json, "daily", &windows->day_limit, windows->day_used,
                  &windows->day_resets_at, 86400);

    limits_window(&json, "monthly", &windows->month_limit,
                  windows->month_used, &windows->month_resets_at, 30 * 86400);

    lines_json_add(&json, "}}");

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}
