
/*
 * Workspaces and accounts: PUT and GET.
 */

#include "admin/admin.h"
#include "admin/routes.h"
#include "api/ask.h"
#include "api/input.h"
#include "api/json.h"
#include "http/text.h"
#include "operation/operation.h"


/* members of the body, each a field of the tenant's hash; data NULL: absent */

typedef struct {
    ngx_str_t   plan;
    ngx_str_t   customer;
    ngx_str_t   subscription;
    ngx_str_t   limit_daily;
    ngx_str_t   limit_monthly;
    ngx_uint_t  created;    /* flag */
} tenant_t;

#define tenant_inputs                                                         \
    lines_in_string("plan", tenant_t, plan, 64, lines_is_name,                \
                    "plan must be 1 to 64 letters, digits, _ or -",           \
                    .flags = LINES_NULL_BAD),                                 \
    lines_in_string("customer", tenant_t, customer, 255, lines_is_name,       \
                    "customer must be the id of a billing customer, or null", \
                    .flags = LINES_NULL_EMPTY)

const lines_body_input_t  lines_admin_workspace_input =
    lines_body_input(tenant_t, tenant_inputs,
        lines_in_word("subscription", tenant_t, subscription,
                      "subscription must be active, past_due, canceled or none",
                      .words = { "active", "past_due", "canceled", "none" }));

/* null is for the plan's own */

#define account_limit(name, field)                                            \
    lines_in_amount(name, tenant_t, field, 0, NGX_MAX_INT32_VALUE,            \
                    "limits must be whole numbers, \"unlimited\" or null",    \
                    .words = { "unlimited" })

static const lines_input_t  account_limits[] = {
    account_limit("api_provision_daily", limit_daily),
    account_limit("api_provision_monthly", limit_monthly),
    lines_input_end
};

const lines_body_input_t  lines_admin_account_input =
    lines_body_input(tenant_t, tenant_inputs,
        lines_in_object("limits", account_limits, "limits must be an object",
                        .flags = LINES_NULL_BAD));


/* found again from the other slots: written before the tenant itself */

ngx_int_t
lines_admin_index_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    tenant_t  *tenant = ctx->data;

    return lines_admin_index(ctx, &tenant->customer);
}


ngx_int_t
lines_admin_index(lines_ctx_t *ctx, ngx_str_t *customer)
{
    ngx_int_t  rc;

    rc = lines_tenants_add(&ctx->caller, NULL, NULL,
                           .tenant = ctx->identity.tenant);

    if (rc != NGX_AGAIN || customer->len == 0) {
        return rc;
    }

    return lines_customer_add(&ctx->caller, NULL, NULL, .customer = *customer,
                              .tenant = ctx->identity.tenant);
}


/* a deletion may have taken it out in between, and then made way */

ngx_int_t
lines_admin_index_again(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    tenant_t  *tenant = ctx->data;

    return tenant->created ? lines_admin_index_tenant(r, ctx) : NGX_OK;
}


lines_answered(tenant_put, tenant_t *tenant, tenant_put)
{
    if (reply->created == -1) {
        return lines_refuse(ctx, 409, "The tenant is being deleted: send "
                            "DELETE again, until it is answered with 200");
    }

    tenant->created = (reply->created == 1);

    /* its plan may include by now what is to be paid for */

    lines_op_signal(&ctx->caller, lines_get_main_conf(r),
                    &ctx->identity.tenant, &reply->pending);

    return NGX_OK;
}


ngx_int_t
lines_admin_put_tenant(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    tenant_t  *tenant = ctx->data;

    ngx_str_t  pairs[] = {
        ngx_string("plan"), tenant->plan,
        ngx_string("customer"), tenant->customer,
        ngx_string("subscription"), tenant->subscription,
        ngx_string("limit_daily"), tenant->limit_daily,
        ngx_string("limit_monthly"), tenant->limit_monthly
    };

    return lines_tenant_put(&ctx->caller, tenant_put, ctx,
                            .tenant = ctx->identity.tenant,
                            .fields = lines_given(pairs, 0));
}


/* of a PUT, or of a GET, which has none */

static ngx_uint_t
put_status(tenant_t *tenant)
{
    return tenant && tenant->created ? NGX_HTTP_CREATED : NGX_HTTP_OK;
}


lines_asks(lines_admin_show_workspace, tenant_t *tenant, tenant_places,
           .tenant = ctx->identity.tenant)
{
    if (reply->subscription.len == 0) {
        ngx_str_set(&reply->subscription, "none");
    }

    return lines_json(ctx, put_status(tenant),
                      "{'id':'%V','plan':'%V','subscription':'%V',"
                      "'customer':%J,'lines':{'phone':{'included':%L,"
                      "'paid':%L},'email':{'included':%L,'paid':%L}}}",
                      &ctx->params[0], &reply->plan, &reply->subscription,
                      &reply->customer, reply->phone_included,
                      reply->phone_paid, reply->email_included,
                      reply->email_paid);
}


static void
show_limit(lines_json_t *json, const char *name, ngx_str_t *limit)
{
    lines_json_add(json, lines_is(limit, "unlimited")
                         ? ",'api_provision_%s':%J" : ",'api_provision_%s':%N",
                   name, limit);
}


lines_asks(lines_admin_show_account, tenant_t *tenant, account_show,
           .tenant = ctx->identity.tenant)
{
    lines_json_t  json = { .pool = r->pool };

    lines_json_add(&json, "{'id':'%V','plan':'%V','customer':%J,'limits':{",
                   &ctx->params[0], &reply->plan, &reply->customer);

    show_limit(&json, "daily", &reply->limit_daily);
    show_limit(&json, "monthly", &reply->limit_monthly);

    lines_json_add(&json, "},'lines':%L}", reply->account_lines);

    return lines_json_answer(ctx, put_status(tenant), &json);
}
