
/*
 * The endpoints of accounts: who may, what it is about,
 * what becomes of its body, and then the steps that answer.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "account/account.h"
#include "account/routes.h"
#include "auth/auth.h"
#include "auth/dialect.h"
#include "http/body.h"
#include "limit/limit.h"


#define LINES_ACCOUNT_BODY  (64 * 1024)

#define LINES_ACCOUNT    lines_authenticate_account, lines_limit_identity


static lines_route_t  account_routes[] = {

    { NGX_HTTP_POST, ngx_string("lines/provision-preview"),
      ngx_string("provision_preview"),
      { LINES_ACCOUNT, NULL, lines_discard_body },
      lines_preview_steps },

    { NGX_HTTP_POST, ngx_string("lines/provision-confirm"),
      ngx_string("provision_confirm"),
      { LINES_ACCOUNT, NULL, lines_read_optional_json },
      lines_confirm_steps },

    { NGX_HTTP_GET, ngx_string("lines"),
      ngx_string("account_lines"),
      { LINES_ACCOUNT, NULL, lines_discard_body },
      lines_account_lines_steps },

    { NGX_HTTP_GET, ngx_string("limits"),
      ngx_string("account_limits"),
      { LINES_ACCOUNT, NULL, lines_discard_body },
      lines_limits_steps },

    { NGX_HTTP_POST, ngx_string("lines/add-line"),
      ngx_string("add_line"),
      { LINES_ACCOUNT, lines_ticket_deprecated, lines_read_optional_json },
      lines_ticket_add_steps },

    { NGX_HTTP_GET, ngx_string("lines/line-request/:ticket"),
      ngx_string("line_request_ticket"),
      { LINES_ACCOUNT, lines_ticket_deprecated, lines_discard_body },
      lines_ticket_get_steps },

    { 0, ngx_null_string, ngx_null_string, { NULL }, NULL }
};


lines_api_t  lines_account_api = {
    ngx_string("account"),
    lines_account_error,
    account_routes,
    LINES_ACCOUNT_BODY
};
