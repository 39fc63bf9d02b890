
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
#include "http/id.h"
#include "http/text.h"
#include "operation/operation.h"


#define LINES_STUCK_MAX     100
#define LINES_STUCK_CURSOR  256
#define LINES_NOTE_MAX      500

/* entries of a journal: that are shown, and that are looked at for them */
#define LINES_STORY_MAX     100
#define LINES_STORY_LOOK    5000


typedef struct {
    ngx_str_t               state;
    ngx_str_t               from;
    int64_t                 limit;
    ngx_str_t               cursor;
    ngx_str_t              *members;   /* "TENANT ID" */
    ngx_uint_t              n;
    double                 *due;       /* of those that run: when, ms */
    lines_op_show_reply_t  *read;      /* of each, whichever was answered
                                          first: they lie on several nodes of a
                                          cluster */
} op_list_t;


typedef struct {
    lines_op_show_reply_t  op;
} story_t;


typedef struct {
    story_t    story;     /* the first: what became of it is shown as of others */
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
    lines_body_input(op_list_t,
        lines_in_word("state", op_list_t, state,
                      "state must be stuck or running",
                      .words = { "stuck", "running" },
                      .flags = LINES_REQUIRED),
        lines_in_number("limit", op_list_t, limit, 1, LINES_STUCK_MAX,
                        "limit must be from 1 to 100"),
        lines_in_string("cursor", op_list_t, from, LINES_STUCK_CURSOR,
                        is_cursor,
                        "cursor is not one that was given out"));

const lines_body_input_t  lines_admin_story_own = lines_own(story_t);

const lines_body_input_t  lines_admin_resolve_input =
    lines_body_input(resolve_t,
        lines_in_word("as", resolve_t, as, "as must be settled or canceled",
                      .words = { "settled", "canceled" },
                      .flags = LINES_REQUIRED),
        lines_in_text("note", resolve_t, note, LINES_NOTE_MAX,
                      .absent = "note is required",
                      .flags = LINES_REQUIRED));


lines_answered(stuck_listed, op_list_t *list, stuck_page)
{
    list->cursor = reply->cursor;
    list->members = reply->members.elts;
    list->n = reply->members.n;

    return NGX_OK;
}


/*
 * Of all lists of what is due the next ones, the first one first.  What is due
 * may be a ticket.
 */

lines_answered(running_listed, op_list_t *list, due_page)
{
    double      due;
    ngx_str_t   id;
    ngx_uint_t  i, n;

    for (i = 0; i + 1 < reply->members.n; i += 2) {
        id = reply->members.elts[i];
        (void) lines_word(&id);

        due = strtod((char *) reply->members.elts[i + 1].data, NULL);

        for (n = list->n; n && due < list->due[n - 1]; n--) { /* void */ }

        if (!lines_is_id(&id) || n == (ngx_uint_t) list->limit) {
            continue;
        }

        list->n = ngx_min(list->n + 1, (ngx_uint_t) list->limit);

        ngx_memmove(&list->members[n + 1], &list->members[n],
                    (list->n - n - 1) * sizeof(ngx_str_t));
        ngx_memmove(&list->due[n + 1], &list->due[n],
                    (list->n - n - 1) * sizeof(double));

        list->members[n] = reply->members.elts[i];
        list->due[n] = due;
    }

    return NGX_OK;
}


static ngx_int_t
list_running(ngx_http_request_t *r, lines_ctx_t *ctx, op_list_t *list)
{
    int64_t     shard;
    ngx_int_t   rc;

    list->members = ngx_palloc(r->pool, LINES_STUCK_MAX * sizeof(ngx_str_t));
    list->due = ngx_palloc(r->pool, LINES_STUCK_MAX * sizeof(double));

    if (list->members == NULL || list->due == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    for (shard = 0; shard < LINES_DUE_SHARDS; shard++) {
        rc = lines_due_page(&ctx->caller, running_listed, ctx,
                            .shard = shard,
                            .last = LINES_STUCK_MAX - 1);

        if (rc != NGX_AGAIN) {
            break;
        }
    }

    return rc;
}


ngx_int_t
lines_admin_list_operations(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    op_list_t  *list = ctx->data;

    if (list->limit == 0) {
        list->limit = LINES_STUCK_MAX;
    }

    if (lines_is(&list->state, "running")) {
        return list_running(r, ctx, list);
    }

    return lines_stuck_page(&ctx->caller, stuck_listed, ctx,
                            .from = list->from, .most = list->limit);
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


static ngx_int_t
read_record(lines_ctx_t *ctx, lines_op_show_reply_t *read, ngx_str_t *tenant,
    ngx_str_t *id)
{
    ngx_str_t  key;

    if (lines_key_op(ctx->request->pool, &key, tenant, id) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_keep_op_show(&ctx->caller, read, .op_key = key);
}


ngx_int_t
lines_admin_read_operations(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t    rc;
    ngx_str_t    tenant, id;
    ngx_uint_t   i;
    op_list_t   *list = ctx->data;

    list->read = ngx_pcalloc(r->pool,
                             list->n * sizeof(lines_op_show_reply_t) + 1);

    if (list->read == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    for (i = 0; i < list->n; i++) {
        id = list->members[i];
        tenant = lines_word(&id);

        rc = read_record(ctx, &list->read[i], &tenant, &id);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


/* the lists are hints; the record knows */

ngx_int_t
lines_admin_show_operations(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t               tenant, id;
    ngx_uint_t              i, stuck;
    op_list_t              *list = ctx->data;
    lines_json_t            json = { .pool = r->pool };
    lines_op_show_reply_t  *op;

    stuck = lines_is(&list->state, "stuck");

    lines_json_add(&json, "{'operations':[");

    for (i = 0; i < list->n; i++) {
        op = &list->read[i];
        id = list->members[i];

        if (stuck ? op->stuck.len != 0
                  : op->stuck.len == 0 && op->step.len
                    && !lines_is(&op->step, "done"))
        {
            tenant = lines_word(&id);

            lines_json_add(&json, ",");
            show_operation(&json, &tenant, &id, op);

        } else if (stuck) {
            (void) lines_forget_stuck_drop(&ctx->caller, .member = id,
                              .age = lines_get_main_conf(r)->operation->lease);
        }
    }

    lines_json_add(&json, "],'cursor':%J}", &list->cursor);

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
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


ngx_int_t
lines_admin_read_operation(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    story_t  *story = ctx->data;

    return read_record(ctx, &story->op, &ctx->identity.tenant,
                       &ctx->params[0]);
}


ngx_int_t
lines_admin_show_operation(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    story_t       *story = ctx->data;
    lines_json_t   json = { .pool = r->pool };

    show_operation(&json, &ctx->identity.tenant, &ctx->params[0], &story->op);

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}


/* and what its tenant's journal has of it, and of its line since it began */

lines_answered(story_read, story_t *story, journal_page)
{
    lines_json_t  json = { .pool = r->pool };

    lines_json_add(&json, "{'operation':");
    show_operation(&json, &ctx->identity.tenant, &ctx->params[0], &story->op);
    lines_json_add(&json, ",'events':[%A]}", &reply->entries);

    return lines_json_answer(ctx, NGX_HTTP_OK, &json);
}


ngx_int_t
lines_admin_show_story(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    off_t      begun;
    int64_t    since;
    story_t   *story = ctx->data;

    if (story->op.kind.len == 0) {
        return lines_admin_unknown(ctx);
    }

    begun = ngx_atoof(story->op.begun.data, story->op.begun.len);
    since = ngx_max(begun, 0);

    return lines_journal_page(&ctx->caller, story_read, ctx,
                              .tenant = ctx->identity.tenant, .since = &since,
                              .operation = ctx->params[0],
                              .line = story->op.line, .most = LINES_STORY_MAX,
                              .look = LINES_STORY_LOOK);
}
