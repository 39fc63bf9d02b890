
/*
 * Operations that need a look, and another try by the operator's word.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/listing.h"
#include "http/answer.h"
#include "http/id.h"
#include "http/text.h"
#include "operation/client.h"
#include "store/calls.h"


#define LINES_STUCK_MAX  100


typedef struct {
    lines_stuck_page_reply_t  page;   /* "TENANT ID" */
    ngx_uint_t                next;
    ngx_array_t               items;  /* ngx_str_t: JSON */
} lines_stuck_t;


static ngx_int_t admin_stuck(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_stuck_records(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_stuck_record(void *data, lines_op_show_reply_t *reply);
static ngx_int_t admin_stuck_listed(ngx_http_request_t *r, lines_ctx_t *ctx);
static void admin_member(ngx_str_t *member, ngx_str_t *tenant, ngx_str_t *id);
static ngx_int_t admin_operation_json(ngx_pool_t *pool, ngx_str_t *tenant,
    ngx_str_t *id, lines_op_show_reply_t *op, ngx_str_t *json);

static ngx_int_t admin_retry_find(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_retry_found(void *data, lines_ix_get_reply_t *reply);
static ngx_int_t admin_retry_unknown(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_retry_clear(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_retry_cleared(void *data,
    lines_op_retry_reply_t *reply);
static ngx_int_t admin_retry_hint(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_retry_start(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_retried(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc, lines_op_t *op);
static ngx_int_t admin_retry_read(ngx_http_request_t *r, lines_ctx_t *ctx);
static ngx_int_t admin_retry_answer(void *data, lines_op_show_reply_t *reply);


lines_step_pt  lines_admin_list_operations_steps[] = {
    admin_stuck,                /* 400 */
    admin_stuck_records,
    admin_stuck_listed,
    NULL
};


lines_step_pt  lines_admin_retry_operation_steps[] = {
    admin_retry_find,           /* 400, 404 */
    admin_retry_clear,          /* 404 */
    admin_retry_hint,
    admin_retry_start,
    admin_retry_read,
    NULL
};


/* what is shown of a record, in this order */

typedef struct {
    ngx_str_t   name;
    size_t      offset;
    ngx_uint_t  number;     /* flag */
} lines_admin_field_t;

#define admin_field(name, number)                                             \
    { ngx_string(#name), offsetof(lines_op_show_reply_t, name), number }

static const lines_admin_field_t  admin_operation_fields[] = {
    admin_field(kind, 0),
    admin_field(step, 0),
    admin_field(stuck, 0),
    admin_field(line, 0),
    admin_field(attempt, 1),
    admin_field(subscription, 0),
    admin_field(invoice, 0),
    admin_field(tries, 1),
    admin_field(begun, 1),
    { ngx_null_string, 0, 0 }
};


static ngx_int_t
admin_stuck(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t       state;
    lines_stuck_t  *stuck;

    if (lines_query(r, "state", &state) != NGX_OK
        || !lines_is(&state, "stuck"))
    {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "state must be stuck");
    }

    stuck = ngx_pcalloc(r->pool, sizeof(lines_stuck_t));

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
admin_stuck_records(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t       rc;
    ngx_str_t       tenant, id;
    ngx_uint_t      i;
    lines_stuck_t  *stuck;
    ngx_str_t       op_key;

    rc = NGX_OK;
    stuck = ctx->data;

    for (i = 0; i < stuck->page.members.n; i++) {
        admin_member(&stuck->page.members.elts[i], &tenant, &id);

        if (lines_key_op(r->pool, &op_key, &tenant, &id) != NGX_OK) {
            return NGX_ERROR;
        }

        rc = lines_op_show(&ctx->caller, admin_stuck_record, ctx,
                           .op_key = op_key);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return rc;
}


static ngx_int_t
admin_stuck_record(void *data, lines_op_show_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ngx_str_t      *item, tenant, id;
    ngx_str_t       member;
    lines_stuck_t  *stuck;

    stuck = ctx->data;
    member = stuck->page.members.elts[stuck->next++];

    /* the list is a hint; the record knows */

    if (reply->stuck.len == 0) {
        (void) lines_forget_stuck_drop(&ctx->caller, .member = member);

        return NGX_OK;
    }

    admin_member(&member, &tenant, &id);

    item = ngx_array_push(&stuck->items);
    if (item == NULL) {
        return NGX_ERROR;
    }

    return admin_operation_json(ctx->request->pool, &tenant, &id, reply, item);
}


static ngx_int_t
admin_stuck_listed(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    size_t          len;
    u_char         *p;
    ngx_str_t       json, *item;
    ngx_uint_t      i;
    lines_stuck_t  *stuck;

    stuck = ctx->data;
    item = stuck->items.elts;

    len = sizeof("{\"operations\":[]}") - 1;

    for (i = 0; i < stuck->items.nelts; i++) {
        len += item[i].len + 1;
    }

    json.data = ngx_pnalloc(r->pool, len);
    if (json.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(json.data, "{\"operations\":[",
                   sizeof("{\"operations\":[") - 1);

    for (i = 0; i < stuck->items.nelts; i++) {
        if (i) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, item[i].data, item[i].len);
    }

    p = ngx_cpymem(p, "]}", 2);

    json.len = p - json.data;

    return lines_answer(r, ctx, NGX_HTTP_OK, &json);
}


static void
admin_member(ngx_str_t *member, ngx_str_t *tenant, ngx_str_t *id)
{
    u_char  *space, *last;

    last = member->data + member->len;
    space = ngx_strlchr(member->data, last, ' ');

    if (space == NULL) {
        space = last;
    }

    tenant->data = member->data;
    tenant->len = space - member->data;

    id->data = (space < last) ? space + 1 : last;
    id->len = last - id->data;
}


static ngx_int_t
admin_operation_json(ngx_pool_t *pool, ngx_str_t *tenant, ngx_str_t *id,
    lines_op_show_reply_t *op, ngx_str_t *json)
{
    ngx_str_t                   value, members[2];
    const lines_admin_field_t  *field;

    members[0] = lines_json_string(pool, tenant);
    members[1] = lines_json_string(pool, id);

    if (lines_redis_format(pool, json, "{\"id\":%V,\"tenant\":%V",
                           &members[1], &members[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (field = admin_operation_fields; field->name.len; field++) {
        value = *(ngx_str_t *) ((u_char *) op + field->offset);

        if (value.len == 0) {
            ngx_str_set(&value, "null");

        } else if (!field->number) {
            value = lines_json_string(pool, &value);
        }

        members[0] = *json;

        if (lines_redis_format(pool, json, "%V,\"%V\":%V", &members[0],
                               &field->name, &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    value = *json;

    return lines_redis_format(pool, json, "%V}", &value);
}


static ngx_int_t
admin_retry_find(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    if (!lines_is_id(&ctx->params[0])) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL,
                           "Invalid operation id");
    }

    return lines_ix_get(&ctx->caller, admin_retry_found, ctx,
                        .id = ctx->params[0]);
}


static ngx_int_t
admin_retry_found(void *data, lines_ix_get_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    if (reply->tenant.len < 3) {
        return admin_retry_unknown(ctx->request, ctx);
    }

    ctx->identity.tenant = reply->tenant;

    return NGX_OK;
}


static ngx_int_t
admin_retry_unknown(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                       "Operation not found");
}


static ngx_int_t
admin_retry_clear(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_op_retry(&ctx->caller, admin_retry_cleared, ctx,
                          .tenant = ctx->identity.tenant,
                          .id = ctx->params[0]);
}


static ngx_int_t
admin_retry_cleared(void *data, lines_op_retry_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    return reply->step.len ? NGX_OK : admin_retry_unknown(ctx->request, ctx);
}


static ngx_int_t
admin_retry_hint(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_due_add(&ctx->caller, NULL, NULL,
                         .shard = lines_due_shard(&ctx->params[0]),
                         .tenant = ctx->identity.tenant, .id = ctx->params[0],
                         .delay = 0);
}


static ngx_int_t
admin_retry_start(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_op_start(r, ctx, &ctx->identity.tenant, &ctx->params[0],
                          LINES_WANT_INTENT, 0, admin_retried);
}


static ngx_int_t
admin_retried(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_int_t rc,
    lines_op_t *op)
{
    return NGX_OK;
}


static ngx_int_t
admin_retry_read(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  op_key;

    if (lines_key_op(r->pool, &op_key, &ctx->identity.tenant,
                     &ctx->params[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_op_show(&ctx->caller, admin_retry_answer, ctx,
                         .op_key = op_key);
}


static ngx_int_t
admin_retry_answer(void *data, lines_op_show_reply_t *reply)
{
    lines_ctx_t  *ctx = data;

    ngx_str_t  json;

    if (admin_operation_json(ctx->request->pool, &ctx->identity.tenant,
                             &ctx->params[0], reply, &json)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_answer(ctx->request, ctx, NGX_HTTP_OK, &json);
}
