
/*
 * Operations that need a look, and another try by the operator's word.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/input.h"
#include "http/answer.h"
#include "http/text.h"
#include "operation/client.h"
#include "operation/operation.h"
#include "store/calls.h"


#define LINES_STUCK_MAX  100


typedef struct {
    lines_stuck_page_reply_t  page;   /* "TENANT ID" */
    ngx_uint_t                next;
    ngx_array_t               items;  /* ngx_str_t: JSON */
} stuck_t;


static ngx_int_t list_stuck(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t read_stuck(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t read_record(lines_ctx_t *ctx, lines_op_show_pt done,
    ngx_str_t *tenant, ngx_str_t *id);
static ngx_int_t stuck_read(void *data, lines_op_show_reply_t *reply);
static ngx_int_t show_stuck(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t operation_json(ngx_pool_t *pool, ngx_str_t *tenant,
    ngx_str_t *id, lines_op_show_reply_t *op, ngx_str_t *json);

static ngx_int_t clear_stuck(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t stuck_cleared(void *data, lines_op_retry_reply_t *reply);
static ngx_int_t retry(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t retried(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc, lines_op_t *op);
static ngx_int_t show_retried(void *data, lines_op_show_reply_t *reply);


lines_step_pt  lines_admin_list_operations_steps[] = {
    list_stuck,                 /* 400 */
    read_stuck,
    show_stuck,
    NULL
};


lines_step_pt  lines_admin_retry_operation_steps[] = {
    lines_admin_owner,          /* 400, 404 */
    clear_stuck,                /* 404 */
    retry,
    NULL
};


static ngx_int_t
list_stuck(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    stuck_t    *stuck;
    ngx_str_t   state;

    if (lines_query(r, "state", &state) != NGX_OK
        || !lines_is(&state, "stuck"))
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "state must be stuck");
    }

    stuck = ngx_pcalloc(r->pool, sizeof(stuck_t));

    if (stuck == NULL
        || ngx_array_init(&stuck->items, r->pool, 8, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->data = stuck;

    return lines_keep_stuck_page(&ctx->caller, &stuck->page,
                                 .last = LINES_STUCK_MAX - 1);
}


static ngx_int_t
read_stuck(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    stuck_t     *stuck;
    ngx_int_t    rc;
    ngx_str_t    tenant, id;
    ngx_uint_t   i;

    rc = NGX_OK;
    stuck = ctx->data;

    for (i = 0; i < stuck->page.members.n; i++) {
        id = stuck->page.members.elts[i];
        tenant = lines_admin_word(&id);

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

    stuck_t    *stuck;
    ngx_str_t  *item, tenant, id;

    stuck = ctx->data;
    id = stuck->page.members.elts[stuck->next++];

    /* the list is a hint; the record knows */

    if (reply->stuck.len == 0) {
        (void) lines_forget_stuck_drop(&ctx->caller, .member = id);

        return NGX_OK;
    }

    tenant = lines_admin_word(&id);

    item = ngx_array_push(&stuck->items);
    if (item == NULL) {
        return NGX_ERROR;
    }

    return operation_json(ctx->request->pool, &tenant, &id, reply, item);
}


static ngx_int_t
show_stuck(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    stuck_t  *stuck;

    stuck = ctx->data;

    return lines_answer_array(r, ctx, "{\"operations\":", &stuck->items, "}");
}


/* what is empty is null, and the last three are numbers */

static ngx_int_t
operation_json(ngx_pool_t *pool, ngx_str_t *tenant, ngx_str_t *id,
    lines_op_show_reply_t *op, ngx_str_t *json)
{
    ngx_str_t   what, whose;
    ngx_uint_t  i;

    ngx_str_t  *values[] = {
        &op->kind, &op->step, &op->stuck, &op->line, &op->subscription,
        &op->invoice, &op->attempt, &op->tries, &op->begun
    };

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (lines_admin_json(pool, values[i], i >= 6) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    what = lines_json_string(pool, id);
    whose = lines_json_string(pool, tenant);

    return lines_redis_format(pool, json,
                              "{\"id\":%V,\"tenant\":%V,\"kind\":%V,"
                              "\"step\":%V,\"stuck\":%V,\"line\":%V,"
                              "\"attempt\":%V,\"subscription\":%V,"
                              "\"invoice\":%V,\"tries\":%V,\"begun\":%V}",
                              &what, &whose, &op->kind, &op->step, &op->stuck,
                              &op->line, &op->attempt, &op->subscription,
                              &op->invoice, &op->tries, &op->begun);
}


static ngx_int_t
clear_stuck(ngx_http_request_t *r, lines_ctx_t *ctx)
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

    return lines_due_add(&ctx->caller, NULL, NULL,
                         .shard = lines_due_shard(&ctx->params[0]),
                         .tenant = ctx->identity.tenant, .id = ctx->params[0],
                         .delay = 0);
}


static ngx_int_t
retry(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_op_start(r, ctx, &ctx->identity.tenant, &ctx->params[0],
                          1, 0, retried);
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

    ngx_str_t  json;

    if (operation_json(ctx->request->pool, &ctx->identity.tenant,
                       &ctx->params[0], reply, &json)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_answer(ctx->request, ctx, NGX_HTTP_OK, &json);
}
