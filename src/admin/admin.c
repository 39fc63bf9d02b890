
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/limits.h"
#include "admin/numbers.h"
#include "api/input.h"
#include "auth/bearer.h"
#include "http/digest.h"
#include "directive/params.h"
#include "workspace/workspace.h"


#define LINES_ADMIN_BODY  (256 * 1024)


static ngx_int_t admin_tenant(ngx_http_request_t *r, lines_ctx_t *ctx,
    const char *kind, const char *error);
static ngx_int_t admin_tenant_found(ngx_http_request_t *r, lines_ctx_t *ctx,
    redisReply *reply);


static lines_route_t  admin_routes[] = {

    { NGX_HTTP_PUT, ngx_string("workspaces/:id"),
      lines_admin_put_workspace_steps,
      ngx_string("admin_put_workspace") },

    { NGX_HTTP_GET, ngx_string("workspaces/:id"),
      lines_admin_get_workspace_steps,
      ngx_string("admin_get_workspace") },

    { NGX_HTTP_DELETE, ngx_string("workspaces/:id"),
      lines_admin_delete_workspace_steps,
      ngx_string("admin_delete_workspace") },

    { NGX_HTTP_POST, ngx_string("workspaces/:id/keys"),
      lines_admin_add_workspace_key_steps,
      ngx_string("admin_add_key") },

    { NGX_HTTP_GET, ngx_string("workspaces/:id/keys"),
      lines_admin_list_workspace_keys_steps,
      ngx_string("admin_list_keys") },

    { NGX_HTTP_DELETE, ngx_string("workspaces/:id/keys/:key"),
      lines_admin_revoke_workspace_key_steps,
      ngx_string("admin_revoke_key") },

    { NGX_HTTP_PUT, ngx_string("accounts/:id"),
      lines_admin_put_account_steps,
      ngx_string("admin_put_account") },

    { NGX_HTTP_GET, ngx_string("accounts/:id"),
      lines_admin_get_account_steps,
      ngx_string("admin_get_account") },

    { NGX_HTTP_DELETE, ngx_string("accounts/:id"),
      lines_admin_delete_account_steps,
      ngx_string("admin_delete_account") },

    { NGX_HTTP_POST, ngx_string("accounts/:id/keys"),
      lines_admin_add_account_key_steps,
      ngx_string("admin_add_key") },

    { NGX_HTTP_GET, ngx_string("accounts/:id/keys"),
      lines_admin_list_account_keys_steps,
      ngx_string("admin_list_keys") },

    { NGX_HTTP_DELETE, ngx_string("accounts/:id/keys/:key"),
      lines_admin_revoke_account_key_steps,
      ngx_string("admin_revoke_key") },

    { NGX_HTTP_GET, ngx_string("operations"),
      lines_admin_list_operations_steps,
      ngx_string("admin_list_operations") },

    { NGX_HTTP_POST, ngx_string("operations/:id/retry"),
      lines_admin_retry_operation_steps,
      ngx_string("admin_retry_operation") },

    { NGX_HTTP_GET, ngx_string("lines"),
      lines_admin_list_lines_steps,
      ngx_string("admin_list_lines") },

    { NGX_HTTP_POST, ngx_string("lines/:id/status"),
      lines_admin_line_status_steps,
      ngx_string("admin_line_status") },

    { NGX_HTTP_POST, ngx_string("lines/:id/usage"),
      lines_admin_line_usage_steps,
      ngx_string("admin_line_usage") },

    { NGX_HTTP_POST, ngx_string("lines/:id/release"),
      lines_admin_line_release_steps,
      ngx_string("admin_line_release") },

    { NGX_HTTP_POST, ngx_string("numbers"),
      lines_admin_add_numbers_steps,
      ngx_string("admin_add_numbers") },

    { NGX_HTTP_GET, ngx_string("numbers"),
      lines_admin_list_numbers_steps,
      ngx_string("admin_list_numbers") },

    { NGX_HTTP_DELETE, ngx_string("numbers/:number"),
      lines_admin_delete_number_steps,
      ngx_string("admin_delete_number") },

    { NGX_HTTP_POST, ngx_string("tickets/:id"),
      lines_admin_move_ticket_steps,
      ngx_string("admin_move_ticket") },

    { NGX_HTTP_PUT, ngx_string("workspaces/:id/limits/:limit"),
      lines_admin_put_workspace_limit_steps,
      ngx_string("admin_put_limit") },

    { NGX_HTTP_GET, ngx_string("workspaces/:id/limits/:limit"),
      lines_admin_get_workspace_limit_steps,
      ngx_string("admin_get_limit") },

    { NGX_HTTP_DELETE, ngx_string("workspaces/:id/limits/:limit"),
      lines_admin_delete_workspace_limit_steps,
      ngx_string("admin_delete_limit") },

    { NGX_HTTP_PUT, ngx_string("accounts/:id/limits/:limit"),
      lines_admin_put_account_limit_steps,
      ngx_string("admin_put_limit") },

    { NGX_HTTP_GET, ngx_string("accounts/:id/limits/:limit"),
      lines_admin_get_account_limit_steps,
      ngx_string("admin_get_limit") },

    { NGX_HTTP_DELETE, ngx_string("accounts/:id/limits/:limit"),
      lines_admin_delete_account_limit_steps,
      ngx_string("admin_delete_limit") },

    { NGX_HTTP_PUT, ngx_string("plans/:plan/limits/:limit"),
      lines_admin_put_plan_limit_steps,
      ngx_string("admin_put_limit") },

    { NGX_HTTP_GET, ngx_string("plans/:plan/limits/:limit"),
      lines_admin_get_plan_limit_steps,
      ngx_string("admin_get_limit") },

    { NGX_HTTP_DELETE, ngx_string("plans/:plan/limits/:limit"),
      lines_admin_delete_plan_limit_steps,
      ngx_string("admin_delete_limit") },

    { NGX_HTTP_GET, ngx_string("limits"),
      lines_admin_list_limits_steps,
      ngx_string("admin_list_limits") },

    { 0, ngx_null_string, NULL, ngx_null_string }
};


lines_api_t  lines_admin_api = {
    ngx_string("admin"),
    lines_plain_error,
    admin_routes,
    LINES_ADMIN_BODY
};


char *
lines_admin_token(ngx_conf_t *cf, lines_loc_conf_t *llcf)
{
    ngx_str_t  token;

    static lines_param_t  params[] = {
        { .name = ngx_string("token_file"), .type = LINES_PARAM_SECRET },
        lines_param_end
    };

    static lines_directive_t  directive = {
        .name = "lines_admin",
        .params = params
    };

    if (lines_params(cf, &directive, 1, &token) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    llcf->token.data = ngx_palloc(cf->pool, LINES_SHA256_LEN);
    if (llcf->token.data == NULL) {
        return NGX_CONF_ERROR;
    }

    llcf->token.len = LINES_SHA256_LEN;

    if (lines_sha256(&token, llcf->token.data) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_int_t
lines_admin_authorize(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    u_char             digest[LINES_SHA256_LEN];
    ngx_str_t          token;
    lines_loc_conf_t  *llcf;

    llcf = lines_get_loc_conf(r);

    if (r->headers_in.authorization
        && lines_bearer_header(&r->headers_in.authorization->value, &token)
           == NGX_OK
        && lines_sha256(&token, digest) == NGX_OK
        && lines_equal(digest, llcf->token.data, LINES_SHA256_LEN))
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "lines: the operator's token is missing or wrong");

    return lines_unauthorized(r, ctx, "Bearer");
}


ngx_int_t
lines_admin_workspace(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_tenant(r, ctx, "w", "Invalid workspace id");
}


ngx_int_t
lines_admin_account(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    return admin_tenant(r, ctx, "a", "Invalid account id");
}


static ngx_int_t
admin_tenant(ngx_http_request_t *r, lines_ctx_t *ctx, const char *kind,
    const char *error)
{
    if (!lines_is_tenant(&ctx->params[0])) {
        return lines_error(r, ctx, NGX_HTTP_BAD_REQUEST, NULL, error);
    }

    return lines_redis_format(r->pool, &ctx->identity.tenant, "%s:%V", kind,
                              &ctx->params[0]);
}


ngx_int_t
lines_admin_tenant_exists(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_str_t  argv[2];

    ngx_str_set(&argv[0], "EXISTS");

    if (lines_redis_format(r->pool, &argv[1], "lines:{%V}:t",
                           &ctx->identity.tenant)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_command(r, ctx, 2, argv, admin_tenant_found);
}


static ngx_int_t
admin_tenant_found(ngx_http_request_t *r, lines_ctx_t *ctx, redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER && reply->integer == 1) {
        return NGX_OK;
    }

    return lines_error(r, ctx, NGX_HTTP_NOT_FOUND, NULL,
                       ctx->identity.tenant.data[0] == 'w'
                       ? "Workspace not found"
                       : "Account not found");
}
