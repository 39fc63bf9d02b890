
/*
 * What the auditor found: where Redis and billing, or two records, disagree.
 */

#include "admin/routes.h"
#include "api/json.h"
#include "store/calls.h"


static ngx_int_t audit_read(void *data, lines_audit_show_reply_t *reply);


ngx_int_t
lines_admin_ask_audit(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_audit_ask(&ctx->caller, NULL, NULL);
}


ngx_int_t
lines_admin_read_audit(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_audit_show(&ctx->caller, audit_read, ctx);
}


static ngx_int_t
audit_read(void *data, lines_audit_show_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ngx_uint_t    i;
    lines_json_t  json = { .pool = ctx->request->pool };

    lines_json_add(&json, "{'running':%B,'began':%V,'ended':%V,"
                   "'disagreements':[", (ngx_uint_t) (reply->running != 0),
                   &reply->began, &reply->ended);

    for (i = 0; i < reply->found.n; i++) {
        lines_json_add(&json, ",%V", &reply->found.elts[i]);
    }

    lines_json_add(&json, "]}");

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}
