
/*
 * The operator's endpoints: who may, what it is about,
 * what becomes of its body, and then the steps that answer.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/routes.h"
#include "auth/dialect.h"
#include "http/body.h"


#define LINES_ADMIN_BODY  (256 * 1024)

#define LINES_OPERATOR   lines_admin_authorize, NULL


static lines_route_t  admin_routes[] = {

    { NGX_HTTP_PUT, ngx_string("workspaces/:id"),
      ngx_string("admin_put_workspace"),
      { LINES_OPERATOR, lines_admin_workspace, lines_read_json },
      lines_admin_put_workspace_steps },

    { NGX_HTTP_GET, ngx_string("workspaces/:id"),
      ngx_string("admin_get_workspace"),
      { LINES_OPERATOR, lines_admin_workspace, lines_discard_body },
      lines_admin_get_tenant_steps },

    { NGX_HTTP_DELETE, ngx_string("workspaces/:id"),
      ngx_string("admin_delete_workspace"),
      { LINES_OPERATOR, lines_admin_workspace, lines_discard_body },
      lines_admin_delete_tenant_steps },

    { NGX_HTTP_POST, ngx_string("workspaces/:id/keys"),
      ngx_string("admin_add_key"),
      { LINES_OPERATOR, lines_admin_workspace, lines_discard_body },
      lines_admin_add_key_steps },

    { NGX_HTTP_GET, ngx_string("workspaces/:id/keys"),
      ngx_string("admin_list_keys"),
      { LINES_OPERATOR, lines_admin_workspace, lines_discard_body },
      lines_admin_list_keys_steps },

    { NGX_HTTP_DELETE, ngx_string("workspaces/:id/keys/:key"),
      ngx_string("admin_revoke_key"),
      { LINES_OPERATOR, lines_admin_workspace, lines_discard_body },
      lines_admin_revoke_key_steps },

    { NGX_HTTP_PUT, ngx_string("accounts/:id"),
      ngx_string("admin_put_account"),
      { LINES_OPERATOR, lines_admin_account, lines_read_json },
      lines_admin_put_account_steps },

    { NGX_HTTP_GET, ngx_string("accounts/:id"),
      ngx_string("admin_get_account"),
      { LINES_OPERATOR, lines_admin_account, lines_discard_body },
      lines_admin_get_tenant_steps },

    { NGX_HTTP_DELETE, ngx_string("accounts/:id"),
      ngx_string("admin_delete_account"),
      { LINES_OPERATOR, lines_admin_account, lines_discard_body },
      lines_admin_delete_tenant_steps },

    { NGX_HTTP_POST, ngx_string("accounts/:id/keys"),
      ngx_string("admin_add_key"),
      { LINES_OPERATOR, lines_admin_account, lines_discard_body },
      lines_admin_add_key_steps },

    { NGX_HTTP_GET, ngx_string("accounts/:id/keys"),
      ngx_string("admin_list_keys"),
      { LINES_OPERATOR, lines_admin_account, lines_discard_body },
      lines_admin_list_keys_steps },

    { NGX_HTTP_DELETE, ngx_string("accounts/:id/keys/:key"),
      ngx_string("admin_revoke_key"),
      { LINES_OPERATOR, lines_admin_account, lines_discard_body },
      lines_admin_revoke_key_steps },

    { NGX_HTTP_GET, ngx_string("operations"),
      ngx_string("admin_list_operations"),
      { LINES_OPERATOR, NULL, lines_discard_body },
      lines_admin_list_operations_steps },

    { NGX_HTTP_POST, ngx_string("operations/:id/retry"),
      ngx_string("admin_retry_operation"),
      { LINES_OPERATOR, NULL, lines_discard_body },
      lines_admin_retry_operation_steps },

    { NGX_HTTP_GET, ngx_string("lines"),
      ngx_string("admin_list_lines"),
      { LINES_OPERATOR, NULL, lines_discard_body },
      lines_admin_list_lines_steps },

    { NGX_HTTP_POST, ngx_string("lines/:id/status"),
      ngx_string("admin_line_status"),
      { LINES_OPERATOR, NULL, lines_read_json },
      lines_admin_line_status_steps },

    { NGX_HTTP_POST, ngx_string("lines/:id/usage"),
      ngx_string("admin_line_usage"),
      { LINES_OPERATOR, NULL, lines_read_json },
      lines_admin_line_usage_steps },

    { NGX_HTTP_POST, ngx_string("lines/:id/release"),
      ngx_string("admin_line_release"),
      { LINES_OPERATOR, NULL, lines_discard_body },
      lines_admin_line_release_steps },

    { NGX_HTTP_POST, ngx_string("numbers"),
      ngx_string("admin_add_numbers"),
      { LINES_OPERATOR, NULL, lines_read_json },
      lines_admin_add_numbers_steps },

    { NGX_HTTP_GET, ngx_string("numbers"),
      ngx_string("admin_list_numbers"),
      { LINES_OPERATOR, NULL, lines_discard_body },
      lines_admin_list_numbers_steps },

    { NGX_HTTP_DELETE, ngx_string("numbers/:number"),
      ngx_string("admin_delete_number"),
      { LINES_OPERATOR, NULL, lines_discard_body },
      lines_admin_delete_number_steps },

    { NGX_HTTP_POST, ngx_string("tickets/:id"),
      ngx_string("admin_move_ticket"),
      { LINES_OPERATOR, NULL, lines_read_json },
      lines_admin_move_ticket_steps },

    { NGX_HTTP_PUT, ngx_string("workspaces/:id/limits/:limit"),
      ngx_string("admin_put_limit"),
      { LINES_OPERATOR, lines_admin_workspace, lines_read_json },
      lines_admin_put_tenant_limit_steps },

    { NGX_HTTP_GET, ngx_string("workspaces/:id/limits/:limit"),
      ngx_string("admin_get_limit"),
      { LINES_OPERATOR, lines_admin_workspace, lines_discard_body },
      lines_admin_get_tenant_limit_steps },

    { NGX_HTTP_DELETE, ngx_string("workspaces/:id/limits/:limit"),
      ngx_string("admin_delete_limit"),
      { LINES_OPERATOR, lines_admin_workspace, lines_discard_body },
      lines_admin_delete_tenant_limit_steps },

    { NGX_HTTP_PUT, ngx_string("accounts/:id/limits/:limit"),
      ngx_string("admin_put_limit"),
      { LINES_OPERATOR, lines_admin_account, lines_read_json },
      lines_admin_put_tenant_limit_steps },

    { NGX_HTTP_GET, ngx_string("accounts/:id/limits/:limit"),
      ngx_string("admin_get_limit"),
      { LINES_OPERATOR, lines_admin_account, lines_discard_body },
      lines_admin_get_tenant_limit_steps },

    { NGX_HTTP_DELETE, ngx_string("accounts/:id/limits/:limit"),
      ngx_string("admin_delete_limit"),
      { LINES_OPERATOR, lines_admin_account, lines_discard_body },
      lines_admin_delete_tenant_limit_steps },

    { NGX_HTTP_PUT, ngx_string("plans/:plan/limits/:limit"),
      ngx_string("admin_put_limit"),
      { LINES_OPERATOR, NULL, lines_read_json },
      lines_admin_put_plan_limit_steps },

    { NGX_HTTP_GET, ngx_string("plans/:plan/limits/:limit"),
      ngx_string("admin_get_limit"),
      { LINES_OPERATOR, NULL, lines_discard_body },
      lines_admin_get_plan_limit_steps },

    { NGX_HTTP_DELETE, ngx_string("plans/:plan/limits/:limit"),
      ngx_string("admin_delete_limit"),
      { LINES_OPERATOR, NULL, lines_discard_body },
      lines_admin_delete_plan_limit_steps },

    { NGX_HTTP_GET, ngx_string("limits"),
      ngx_string("admin_list_limits"),
      { LINES_OPERATOR, NULL, lines_discard_body },
      lines_admin_list_limits_steps },

    { 0, ngx_null_string, ngx_null_string, { NULL }, NULL }
};


lines_api_t  lines_admin_api = {
    ngx_string("admin"),
    lines_plain_error,
    admin_routes,
    LINES_ADMIN_BODY
};
