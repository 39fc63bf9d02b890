
/*
 * Operations that need a look, and another try by the operator's word.
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/input.h"
#include "api/json.h"
#include "http/answer.h"
#include "http/text.h"
#include "api/client.h"
#include "operation/operation.h"
#include "store/calls.h"


#define LINES_STUCK_MAX  100
#define LINES_NOTE_MAX   500


typedef struct {
    lines_stuck_page_reply_t  page;   /* "TENANT ID" */
    ngx_uint_t                next;
    lines_json_t              json;
} stuck_t;


typedef struct {
    ngx_str_t  as;
    ngx_str_t  note;
} resolve_t;


static ngx_int_t read_record(lines_ctx_t *ctx, lines_op_show_pt done,
    ngx_str_t *tenant, ngx_str_t *id);
static ngx_int_t stuck_read(void *data, lines_op_show_reply_t *reply);
static void show_operation(lines_json_t *json, ngx_str_t *tenant,
    ngx_str_t *id, lines_op_show_reply_t *op);
static ngx_int_t stuck_cleared(void *data, lines_op_retry_reply_t *reply);
static ngx_int_t due_now(lines_ctx_t *ctx);
static ngx_int_t resolved(void *data, lines_op_resolve_reply_t *reply);
static ngx_int_t retried(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc, lines_op_t *op);
static ngx_int_t show_retried(void *data, lines_op_show_reply_t *reply);


const lines_body_input_t  lines_admin_resolve_input =
    lines_body_input(resolve_t,
        lines_in_word("as", resolve_t, as, "as must be settled or canceled",
                      .words = { "settled", "canceled" },
                      .flags = LINES_REQUIRED),
        lines_in_text("note", resolve_t, note, LINES_NOTE_MAX,
                      .absent = "note is required",
                      .flags = LINES_REQUIRED));


ngx_int_t
lines_admin_list_stuck(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    stuck_t    *stuck;
    ngx_int_t   rc;
    ngx_str_t   state;

    rc = lines_query(r, "state", &state);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc != NGX_OK || !lines_is(&state, "stuck")) {
        return lines_refuse(ctx, 400, "state must be stuck");
    }

    stuck = ngx_pcalloc(r->pool, sizeof(stuck_t));
    if (stuck == NULL) {
        return NGX_ERROR;
    }

    ctx->data = stuck;
    stuck->json.pool = r->pool;

    lines_json_add(&stuck->json, "{'operations':[");

    return lines_keep_stuck_page(&ctx->caller, &stuck->page,
                                 .last = LINES_STUCK_MAX - 1);
}


ngx_int_t
lines_admin_read_stuck(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    stuck_t     *stuck = ctx->data;
    ngx_int_t    rc;
    ngx_str_t    tenant, id;
    ngx_uint_t   i;

    rc = NGX_OK;

    for (i = 0; i < stuck->page.members.n; i++) {
        id = stuck->page.members.elts[i];
        tenant = lines_word(&id);

        rc = read_record(ctx, stuck_read, &tenant, &id);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


static ngx_int_t
read_record(lines_ctx_t *ctx, lines_op_show_pt done, ngx_str_t *tenant,
    ngx_str_t *id)
{
    ngx_str_t  key;

    if (lines_key_op(ctx->request->pool, &key, tenant, id) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_op_show(&ctx->caller, done, ctx, .op_key = key);
}


static ngx_int_t
stuck_read(void *data, lines_op_show_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    stuck_t    *stuck = ctx->data;
    ngx_str_t   tenant, id;

    id = stuck->page.members.elts[stuck->next++];

    /* the list is a hint; the record knows */

    if (reply->stuck.len == 0) {
        (void) lines_forget_stuck_drop(&ctx->caller, .member = id);

        return NGX_OK;
    }

    tenant = lines_word(&id);

    lines_json_add(&stuck->json, ",");
    show_operation(&stuck->json, &tenant, &id, reply);

    return NGX_OK;
}


static void
show_operation(lines_json_t *json, ngx_str_t *tenant, ngx_str_t *id,
    lines_op_show_reply_t *op)
{
    lines_json_add(json, "{'id':%J,'tenant':%J,'kind':%J,'step':%J,"
                   "'stuck':%J,'line':%J,'attempt':%N,'subscription':%J,"
                   "'invoice':%J,'tries':%N,'begun':%N,"
                   "'due':{'invoice':%J,'amount':%N},"
                   "'resolved':{'as':%J,'note':%J,'by':%J,'at':%N}}",
                   id, tenant,
                   &op->kind, &op->step, &op->stuck, &op->line, &op->attempt,
                   &op->subscription, &op->invoice, &op->tries, &op->begun,
                   &op->stuck_invoice, &op->stuck_due, &op->resolved,
                   &op->resolved_note, &op->resolved_by, &op->resolved_at);
}


ngx_int_t
lines_admin_show_stuck(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    stuck_t  *stuck = ctx->data;

    lines_json_add(&stuck->json, "]}");

    return lines_json_answer(ctx, NGX_HTTP_OK, &stuck->json);
}


ngx_int_t
lines_admin_clear_stuck(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_op_retry(&ctx->caller, stuck_cleared, ctx,
                          .tenant = ctx->identity.tenant,
                          .id = ctx->params[0]);
}


static ngx_int_t
stuck_cleared(void *data, lines_op_retry_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    if (reply->step.len == 0) {
        return lines_admin_unknown(ctx);
    }

    return due_now(ctx);
}


static ngx_int_t
due_now(lines_ctx_t *ctx)
{
    return lines_due_add(&ctx->caller, NULL, NULL,
                         .shard = lines_due_shard(&ctx->params[0]),
                         .tenant = ctx->identity.tenant, .id = ctx->params[0],
                         .delay = 0);
}


/* written down for whoever runs it, which is begun as by a retry */

ngx_int_t
lines_admin_resolve(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    resolve_t  *resolve = ctx->data;

    return lines_op_resolve(&ctx->caller, resolved, ctx,
                            .tenant = ctx->identity.tenant,
                            .id = ctx->params[0], .as = resolve->as,
                            .by = r->connection->addr_text,
                            .note = resolve->note,
                            .lease = lines_get_main_conf(r)->operation->lease);
}


static ngx_int_t
resolved(void *data, lines_op_resolve_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    resolve_t  *resolve = ctx->data;

    switch (reply->is) {

    case LINES_OP_RESOLVE_UNKNOWN:
        return lines_admin_unknown(ctx);

    case LINES_OP_RESOLVE_BUSY:
        return lines_unavailable(ctx->request, ctx, 1);

    case LINES_OP_RESOLVE_GOING:
        return lines_admin_conflict(ctx, "step", &reply->step,
                                    "The operation is in %V, and not stuck");

    case LINES_OP_RESOLVE_AGAIN:
        return lines_admin_conflict(ctx, "stuck", &reply->stuck,
                                    "This was said before, and it is stuck "
                                    "since: %V; say what is true of that in "
                                    "another note");

    case LINES_OP_RESOLVE_OTHER:
        return lines_admin_conflict(ctx, "as", &reply->as,
                                    "Of what it is stuck with can only be "
                                    "said that it is %V");

    case LINES_OP_RESOLVE_RESOLVED:
        ngx_log_error(NGX_LOG_NOTICE, ctx->request->connection->log, 0,
                      "lines operation %V of \"%V\", stuck: %V, invoice \"%V\""
                      ", due \"%V\": is %V, says the operator: \"%V\"",
                      &ctx->params[0], &ctx->identity.tenant, &reply->stuck,
                      &reply->invoice, &reply->due, &resolve->as,
                      &resolve->note);
    }

    return due_now(ctx);
}


ngx_int_t
lines_admin_retry(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_op_start(ctx, &ctx->params[0], 1, 0, retried);
}


static ngx_int_t
retried(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc, lines_op_t *op)
{
    return read_record(ctx, show_retried, &ctx->identity.tenant,
                       &ctx->params[0]);
}


static ngx_int_t
show_retried(void *data, lines_op_show_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    lines_json_t  json = { .pool = ctx->request->pool };

    show_operation(&json, &ctx->identity.tenant, &ctx->params[0], reply);

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}
