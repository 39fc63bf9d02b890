
/*
 * The endpoints of workspaces: who may, what it is about,
 * what becomes of its body, and then the steps that answer.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/auth.h"
#include "auth/dialect.h"
#include "http/body.h"
#include "limit/limit.h"
#include "workspace/routes.h"
#include "workspace/workspace.h"


#define LINES_WORKSPACE_BODY  (64 * 1024)

#define LINES_WORKSPACE  lines_authenticate_workspace, lines_limit_identity
#define LINES_SESSION    lines_authenticate_session, lines_limit_identity


static lines_route_t  workspace_routes[] = {

    { NGX_HTTP_POST, ngx_string("line-requests"),
      ngx_string("line_request_create"),
      { LINES_WORKSPACE, NULL, lines_read_optional_json },
      lines_line_request_create_steps },

    { NGX_HTTP_GET, ngx_string("line-requests"),
      ngx_string("line_request_list"),
      { LINES_WORKSPACE, NULL, lines_discard_body },
      lines_line_request_list_steps },

    { NGX_HTTP_GET, ngx_string("line-requests/:id"),
      ngx_string("line_request_get"),
      { LINES_WORKSPACE, lines_line_request_id, lines_discard_body },
      lines_line_request_get_steps },

    { NGX_HTTP_POST, ngx_string("line-requests/:id"),
      ngx_string("line_request_manage"),
      { LINES_WORKSPACE, lines_line_request_id, lines_read_optional_json },
      lines_line_request_manage_steps },

    { NGX_HTTP_GET, ngx_string("lines/by-user"),
      ngx_string("lines_by_user"),
      { LINES_WORKSPACE, NULL, lines_discard_body },
      lines_lines_by_user_steps },

    { NGX_HTTP_GET, ngx_string("lines/check-availability"),
      ngx_string("line_check"),
      { LINES_SESSION, NULL, lines_discard_body },
      lines_check_steps },

    { 0, ngx_null_string, ngx_null_string, { NULL }, NULL }
};


lines_api_t  lines_workspace_api = {
    ngx_string("workspace"),
    lines_plain_error,
    workspace_routes,
    LINES_WORKSPACE_BODY
};
