
/*
 * The operator's endpoints: who may, what it is about, what becomes of its
 * body, and then the steps that answer.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "admin/admin.h"
#include "admin/routes.h"
#include "auth/dialect.h"
#include "directive/params.h"
#include "http/body.h"
#include "http/digest.h"
#include "http/router.h"


#define LINES_ADMIN_BODY  (256 * 1024)

/* of a row, what follows its path */
#define row(name, about, body, steps)                                         \
    ngx_string("admin_" name),                                                \
    { lines_admin_authorize, NULL, about, body },                     \
    lines_admin_##steps##_steps


static lines_route_t  admin_routes[] = {

    { NGX_HTTP_PUT, ngx_string("workspaces/:id"),
      row("put_workspace", lines_admin_id, lines_read_json, put_tenant) },
    { NGX_HTTP_GET, ngx_string("workspaces/:id"),
      row("get_workspace", lines_admin_id, lines_discard_body, get_tenant) },
    { NGX_HTTP_DELETE, ngx_string("workspaces/:id"),
      row("delete_workspace", lines_admin_id, lines_discard_body, delete_tenant) },
    { NGX_HTTP_POST, ngx_string("workspaces/:id/keys"),
      row("add_key", lines_admin_id, lines_discard_body, add_key) },
    { NGX_HTTP_GET, ngx_string("workspaces/:id/keys"),
      row("list_keys", lines_admin_id, lines_discard_body, list_keys) },
    { NGX_HTTP_DELETE, ngx_string("workspaces/:id/keys/:key"),
      row("revoke_key", lines_admin_id, lines_discard_body, revoke_key) },

    { NGX_HTTP_PUT, ngx_string("accounts/:id"),
      row("put_account", lines_admin_id, lines_read_json, put_tenant) },
    { NGX_HTTP_GET, ngx_string("accounts/:id"),
      row("get_account", lines_admin_id, lines_discard_body, get_tenant) },
    { NGX_HTTP_DELETE, ngx_string("accounts/:id"),
      row("delete_account", lines_admin_id, lines_discard_body, delete_tenant) },
    { NGX_HTTP_POST, ngx_string("accounts/:id/keys"),
      row("add_key", lines_admin_id, lines_discard_body, add_key) },
    { NGX_HTTP_GET, ngx_string("accounts/:id/keys"),
      row("list_keys", lines_admin_id, lines_discard_body, list_keys) },
    { NGX_HTTP_DELETE, ngx_string("accounts/:id/keys/:key"),
      row("revoke_key", lines_admin_id, lines_discard_body, revoke_key) },

    { NGX_HTTP_GET, ngx_string("operations"),
      row("list_operations", NULL, lines_discard_body, list_operations) },
    { NGX_HTTP_POST, ngx_string("operations/:id/retry"),
      row("retry_operation", NULL, lines_discard_body, retry_operation) },

    { NGX_HTTP_GET, ngx_string("lines"),
      row("list_lines", NULL, lines_discard_body, list_lines) },
    { NGX_HTTP_POST, ngx_string("lines/:id/status"),
      row("line_status", NULL, lines_read_json, line_status) },
    { NGX_HTTP_POST, ngx_string("lines/:id/usage"),
      row("line_usage", NULL, lines_read_json, line_usage) },
    { NGX_HTTP_POST, ngx_string("lines/:id/release"),
      row("line_release", NULL, lines_discard_body, line_release) },

    { NGX_HTTP_POST, ngx_string("numbers"),
      row("add_numbers", NULL, lines_read_json, add_numbers) },
    { NGX_HTTP_GET, ngx_string("numbers"),
      row("list_numbers", NULL, lines_discard_body, list_numbers) },
    { NGX_HTTP_DELETE, ngx_string("numbers/:number"),
      row("delete_number", NULL, lines_discard_body, delete_number) },
    { NGX_HTTP_POST, ngx_string("tickets/:id"),
      row("move_ticket", NULL, lines_read_json, move_ticket) },

    { NGX_HTTP_PUT, ngx_string("workspaces/:id/limits/:limit"),
      row("put_limit", lines_admin_id, lines_read_json, put_limit) },
    { NGX_HTTP_GET, ngx_string("workspaces/:id/limits/:limit"),
      row("get_limit", lines_admin_id, lines_discard_body, own_limit) },
    { NGX_HTTP_DELETE, ngx_string("workspaces/:id/limits/:limit"),
      row("delete_limit", lines_admin_id, lines_discard_body, own_limit) },
    { NGX_HTTP_PUT, ngx_string("accounts/:id/limits/:limit"),
      row("put_limit", lines_admin_id, lines_read_json, put_limit) },
    { NGX_HTTP_GET, ngx_string("accounts/:id/limits/:limit"),
      row("get_limit", lines_admin_id, lines_discard_body, own_limit) },
    { NGX_HTTP_DELETE, ngx_string("accounts/:id/limits/:limit"),
      row("delete_limit", lines_admin_id, lines_discard_body, own_limit) },
    { NGX_HTTP_PUT, ngx_string("plans/:plan/limits/:limit"),
      row("put_limit", NULL, lines_read_json, put_limit) },
    { NGX_HTTP_GET, ngx_string("plans/:plan/limits/:limit"),
      row("get_limit", NULL, lines_discard_body, own_limit) },
    { NGX_HTTP_DELETE, ngx_string("plans/:plan/limits/:limit"),
      row("delete_limit", NULL, lines_discard_body, own_limit) },
    { NGX_HTTP_GET, ngx_string("limits"),
      row("list_limits", NULL, lines_discard_body, list_limits) },

    { 0, ngx_null_string, ngx_null_string, { NULL }, NULL }
};


static lines_api_t  admin_api = {
    ngx_string("admin"),
    lines_plain_error,
    admin_routes,
    LINES_ADMIN_BODY
};


char *
lines_admin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    char       *rv;
    ngx_str_t   token;

    static lines_param_t  params[] = {
        { .name = ngx_string("token_file"), .type = LINES_PARAM_SECRET },
        lines_param_end
    };

    static lines_directive_t  directive = {
        .name = "lines_admin",
        .params = params
    };

    rv = lines_set_api(cf, llcf, &admin_api);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    llcf->own = ngx_palloc(cf->pool, LINES_SHA256_LEN);

    return llcf->own
           && lines_params(cf, &directive, 1, &token) == NGX_CONF_OK
           && lines_sha256(&token, llcf->own) == NGX_OK
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}
