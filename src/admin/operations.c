
/*
 * Operations that need a look, and another try by the operator's word.
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/ask.h"
#include "api/client.h"
#include "api/input.h"
#include "api/json.h"
#include "http/answer.h"
#include "http/text.h"
#include "operation/operation.h"


#define LINES_STUCK_MAX     100
#define LINES_STUCK_CURSOR  256
#define LINES_NOTE_MAX      500


typedef struct {
    ngx_str_t      state;
    ngx_str_t      from;
    int64_t        limit;
    ngx_str_t      cursor;
    lines_list_t   members;    /* "TENANT ID" */
    ngx_uint_t     next;
    lines_json_t   json;
} stuck_t;


typedef struct {
    ngx_str_t  as;
    ngx_str_t  note;
} resolve_t;


/* AT:TENANT:ID, of what is not looked for, but gone on after */

static ngx_uint_t
is_cursor(ngx_str_t *value)
{
    ngx_str_t  at, kind, tenant, rest;

    rest = *value;
    at = lines_split(&rest, ':');
    kind = lines_split(&rest, ':');
    tenant = lines_split(&rest, ':');

    return ngx_atoof(at.data, at.len) != NGX_ERROR
           && kind.len == 1
           && lines_is_tenant(&tenant)
           && lines_is_tenant(&rest);
}


const lines_body_input_t  lines_admin_stuck_input =
    lines_body_input(stuck_t,
        lines_in_word("state", stuck_t, state, "state must be stuck",
                      .words = { "stuck" }, .flags = LINES_REQUIRED),
        lines_in_number("limit", stuck_t, limit, 1, LINES_STUCK_MAX,
                        "limit must be from 1 to 100"),
        lines_in_string("cursor", stuck_t, from, LINES_STUCK_CURSOR, is_cursor,
                        "cursor is not one that was given out"));

const lines_body_input_t  lines_admin_resolve_input =
    lines_body_input(resolve_t,
        lines_in_word("as", resolve_t, as, "as must be settled or canceled",
                      .words = { "settled", "canceled" },
                      .flags = LINES_REQUIRED),
        lines_in_text("note", resolve_t, note, LINES_NOTE_MAX,
                      .absent = "note is required",
                      .flags = LINES_REQUIRED));


lines_asks(lines_admin_list_stuck, stuck_t *stuck, stuck_page,
           .from = stuck->from,
           .most = stuck->limit ? stuck->limit : LINES_STUCK_MAX)
{
    stuck->cursor = reply->cursor;
    stuck->members = reply->members;
    stuck->json.pool = r->pool;

    lines_json_add(&stuck->json, "{'operations':[");

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


lines_answered(stuck_read, stuck_t *stuck, op_show)
{
    ngx_str_t  tenant, id;

    id = stuck->members.elts[stuck->next++];

    /* the list is a hint; the record knows */

    if (reply->stuck.len == 0) {
        (void) lines_forget_stuck_drop(&ctx->caller, .member = id,
                              .age = lines_get_main_conf(r)->operation->lease);

        return NGX_OK;
    }

    tenant = lines_word(&id);

    lines_json_add(&stuck->json, ",");
    show_operation(&stuck->json, &tenant, &id, reply);

    return NGX_OK;
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


ngx_int_t
lines_admin_read_stuck(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    stuck_t     *stuck = ctx->data;
    ngx_int_t    rc;
    ngx_str_t    tenant, id;
    ngx_uint_t   i;

    rc = NGX_OK;

    for (i = 0; i < stuck->members.n; i++) {
        id = stuck->members.elts[i];
        tenant = lines_word(&id);

        rc = read_record(ctx, stuck_read, &tenant, &id);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


ngx_int_t
lines_admin_show_stuck(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    stuck_t  *stuck = ctx->data;

    lines_json_add(&stuck->json, "],'cursor':%J}", &stuck->cursor);

    return lines_json_answer(ctx, NGX_HTTP_OK, &stuck->json);
}


lines_asks(lines_admin_clear_stuck, void *none, op_retry,
           .tenant = ctx->identity.tenant, .id = ctx->params[0])
{
    return reply->step.len ? NGX_OK : lines_admin_unknown(ctx);
}


/* written down for whoever runs it, which is begun as by a retry */

lines_asks(lines_admin_resolve, resolve_t *resolve, op_resolve,
           .tenant = ctx->identity.tenant, .id = ctx->params[0],
           .as = resolve->as, .by = ctx->operator,
           .note = resolve->note,
           .lease = lines_get_main_conf(r)->operation->lease)
{
    switch (reply->is) {

    case LINES_OP_RESOLVE_UNKNOWN:
        return lines_admin_unknown(ctx);

    case LINES_OP_RESOLVE_BUSY:
        return lines_unavailable(r, ctx, 1);

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
        ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                      "lines operation %V of \"%V\", stuck: %V, invoice \"%V\""
                      ", due \"%V\": is %V, says \"%V\": \"%V\"",
                      &ctx->params[0], &ctx->identity.tenant, &reply->stuck,
                      &reply->invoice, &reply->due, &resolve->as,
                      &ctx->operator, &resolve->note);
    }

    return NGX_OK;
}


lines_tells(lines_admin_due_now, due_add,
            .shard = lines_due_shard(&ctx->params[0]),
            .tenant = ctx->identity.tenant, .id = ctx->params[0])


ngx_int_t
lines_admin_retry(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_op_start(ctx, &ctx->params[0], 1, 0, NULL);
}


lines_answered(show_retried, void *none, op_show)
{
    lines_json_t  json = { .pool = r->pool };

    show_operation(&json, &ctx->identity.tenant, &ctx->params[0], reply);

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}


ngx_int_t
lines_admin_show_operation(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return read_record(ctx, show_retried, &ctx->identity.tenant,
                       &ctx->params[0]);
}
