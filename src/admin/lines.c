
/*
 * Lines: the provisioner's list of work, what it and the operator report of
 * one, and its release (its refund: refunds.c).
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "api/listing.h"
#include "operation/operation.h"


#define LINES_LIST_DEFAULT  100

/* how long the announcement of a line may come before the line itself */
#define LINES_ANNOUNCED     (5 * 60 * 1000)


typedef struct {
    ngx_str_t    status;
    ngx_str_t    phone;
    ngx_str_t    reason;
    int64_t      conversations;
    int64_t      messages;
    ngx_str_t    operation;        /* that the script may begin */
    ngx_str_t    document;         /* once it has ended */
} report_t;


const lines_body_input_t  lines_admin_status_input =
    lines_body_input(report_t,
        lines_in_word("status", report_t, status,
                      "status must be active or failed",
                      .words = { "active", "failed" },
                      .flags = LINES_REQUIRED),
        lines_in_string("phone", report_t, phone, 16, lines_is_e164,
                        "phone must be an E.164 number such as +14155551234"),
        lines_in_text("reason", report_t, reason, 500));


#define usage_count(name, field)                                              \
    lines_in_number(name, report_t, field, 0, NGX_MAX_INT32_VALUE,            \
                    "newConversationsCount and totalMessagesCount must be "   \
                    "whole numbers", .flags = LINES_REQUIRED)

const lines_body_input_t  lines_admin_usage_input =
    lines_body_input(report_t,
        usage_count("newConversationsCount", conversations),
        usage_count("totalMessagesCount", messages));

const lines_body_input_t  lines_admin_release_own = lines_own(report_t);


/*
 * It has gone on, or never came to be.  Nobody waits: a hint that stays is
 * looked at with the next list.
 */

static void
drop_idle(ngx_http_request_t *r, ngx_str_t *tenant, ngx_str_t *id)
{
    lines_ctx_t  *ctx;

    ctx = lines_find_ctx(r);

    (void) lines_forget_prov_drop(&ctx->caller, .tenant = *tenant, .id = *id,
                                  .age = LINES_ANNOUNCED);
}


/* over all workspaces, oldest first */

ngx_int_t
lines_admin_list_work(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t         rc;
    ngx_str_t         status, all;
    lines_listing_t  *listing;

    rc = lines_query(r, "status", &status);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc != NGX_OK || lines_status(&status) != LINES_PROVISIONING) {
        return lines_refuse(ctx, 400, "status must be provisioning");
    }

    ngx_str_set(&all, "");

    rc = lines_listing_create(r, ctx, &all, "work", "{\"lines\":[",
                              LINES_LIST_DEFAULT);
    if (rc != NGX_OK) {
        return rc;
    }

    listing = ctx->data;

    listing->oldest = 1;
    listing->status = status;
    listing->idle = drop_idle;

    return lines_key_prov(r->pool, &listing->key);
}


/* all of a tenant, as he sees them */

ngx_int_t
lines_admin_list_lines(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return lines_listing_create(r, ctx, &ctx->identity.tenant,
                                ctx->identity.tenant.data[0] == 'a'
                                ? "account" : "requests",
                                "{\"lines\":[", LINES_LIST_DEFAULT);
}


/*
 * The scripts may begin an operation that gives money back: its index and its
 * due instant are written before, by Redis' clock, as everything that the
 * sweeper looks at.  Its id derives from the line's, so that a report that is
 * repeated names the same one.  The number of an account's line that is
 * released will be looked at, whatever happens.
 */

ngx_int_t
lines_admin_announce_refund(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *operation, ngx_uint_t ends)
{
    ngx_int_t         rc;
    lines_op_conf_t  *conf;

    conf = lines_get_main_conf(r)->operation;

    if (lines_refund_id(r->pool, &ctx->params[0], operation) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = lines_ix_put(&ctx->caller, NULL, NULL, .id = *operation,
                      .tenant = ctx->identity.tenant);

    if (rc == NGX_AGAIN) {
        rc = lines_due_add(&ctx->caller, NULL, NULL,
                           .shard = lines_due_shard(operation),
                           .tenant = ctx->identity.tenant,
                           .id = *operation, .delay = conf->due);
    }

    if (rc == NGX_AGAIN && ends && ctx->identity.tenant.data[0] == 'a') {
        rc = lines_inv_watch(&ctx->caller, NULL, NULL,
                             .tenant = ctx->identity.tenant,
                             .operation = ctx->params[0],
                             .delay = conf->lease);
    }

    return rc;
}


ngx_int_t
lines_admin_announce(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    report_t  *report = ctx->data;

    if (lines_status(&report->status) == LINES_ACTIVE) {
        return NGX_OK;
    }

    if (report->reason.len == 0) {
        ngx_str_set(&report->reason, "provisioning_failed");
    }

    return lines_admin_announce_refund(r, ctx, &report->operation,
                                       report->status.len == 0);
}


/* it runs at once; the sweeper is for when this worker dies */

static void
go_on(lines_ctx_t *ctx, ngx_str_t *operation, ngx_str_t *pending)
{
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(ctx->request);

    if (operation->len) {
        (void) lines_op_spawn(lmcf, &ctx->identity.tenant, operation);
    }

    lines_op_signal(&ctx->caller, lmcf, &ctx->identity.tenant, pending);
}


/* its number, if any, rests a while, and then is free again */

ngx_int_t
lines_admin_ended(lines_ctx_t *ctx, ngx_str_t *operation, ngx_str_t *pending,
    ngx_str_t *number)
{
    go_on(ctx, operation, pending);

    return number->len == 0
           ? NGX_OK
           : lines_inv_release(&ctx->caller, NULL, NULL,
                  .operation = ctx->params[0], .tenant = ctx->identity.tenant,
                  .quarantine = lines_get_main_conf(ctx->request)->quarantine);
}


lines_asks(lines_admin_report, report_t *report, line_report,
           .tenant = ctx->identity.tenant, .id = ctx->params[0],
           .status = report->status, .phone = report->phone,
           .reason = report->reason, .operation = report->operation)
{
    switch (reply->is) {

    case LINES_LINE_REPORT_UNKNOWN:
        return lines_admin_unknown(ctx);

    case LINES_LINE_REPORT_ILLEGAL:
        return lines_admin_conflict(ctx, "status", &reply->status,
                                    "A line that is %V cannot be reported so");
    }

    (void) lines_forget_prov_rem(&ctx->caller, .tenant = ctx->identity.tenant,
                                 .id = ctx->params[0]);

    go_on(ctx, &reply->operation, &reply->pending);

    return lines_json_ok(ctx, "{'line':%V}", &reply->document);
}


lines_asks(lines_admin_set_usage, report_t *report, line_usage,
           .tenant = ctx->identity.tenant, .id = ctx->params[0],
           .conversations = report->conversations, .messages = report->messages)
{
    if (reply->is == LINES_LINE_USAGE_UNKNOWN) {
        return lines_admin_unknown(ctx);
    }

    return lines_json_ok(ctx, "{'id':'%V',"
                         "'usage':{'newConversationsCount':%L,"
                         "'totalMessagesCount':%L}}", &ctx->params[0],
                         report->conversations, report->messages);
}


lines_asks(lines_admin_release, report_t *report, line_release,
           .tenant = ctx->identity.tenant, .id = ctx->params[0],
           .operation = report->operation)
{
    switch (reply->is) {

    case LINES_LINE_RELEASE_UNKNOWN:
        return lines_admin_unknown(ctx);

    case LINES_LINE_RELEASE_ILLEGAL:
        return lines_admin_conflict(ctx, "status", &reply->status,
                                    "A line that is %V cannot be released");
    }

    report->document = reply->document;

    return lines_admin_ended(ctx, &reply->operation, &reply->pending,
                             &reply->number);
}


ngx_int_t
lines_admin_show_released(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    report_t  *report = ctx->data;

    return lines_json_ok(ctx, "{'line':%V}", &report->document);
}
