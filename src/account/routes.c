
/*
 * The endpoints of accounts: who may, what it is about,
 * what becomes of its body, and then the steps that answer.
 */

#include "account/routes.h"
#include "api/listing.h"
#include "auth/auth.h"
#include "auth/dialect.h"
#include "deliver/webhooks.h"
#include "events/stream.h"
#include "events/wait.h"
#include "http/body.h"
#include "limit/limit.h"


#define LINES_ACCOUNT_BODY  (64 * 1024)

/* of a row, what follows its path */
#define row(name, about, body, input, ...)                                    \
    ngx_string(name),                                                         \
    { lines_authenticate_account, lines_limit_identity, about, body },        \
    (lines_step_pt[]) { __VA_ARGS__, NULL }, input


static lines_route_t  account_routes[] = {

    { NGX_HTTP_POST, ngx_string("lines/provision-preview"),
      row("provision_preview", NULL, lines_read_any_body,
          &lines_account_preview_input, lines_read_input, lines_account_read,
          lines_account_plan, lines_account_preview_token,
          lines_account_preview_issue, lines_account_preview_reserve,
          lines_account_preview_answer) },

    { NGX_HTTP_POST, ngx_string("lines/provision-confirm"),
      row("provision_confirm", NULL, lines_read_optional_json,
          &lines_account_confirm_input, lines_read_input,
          lines_account_confirm_validate, lines_account_confirm_check,
          lines_account_confirm_decide, lines_account_confirm_offer,
          lines_account_confirm_dry, lines_account_confirm_reserve,
          lines_account_confirm_announce,
          lines_account_confirm_begin) },

    { NGX_HTTP_GET, ngx_string("lines"),
      row("account_lines", NULL, lines_discard_body, NULL, lines_account_list,
          lines_listing_run) },

    /* 403 as well: clients take any "no" here for a plan that cannot
       provision */

    { NGX_HTTP_GET, ngx_string("limits"),
      row("account_limits", NULL, lines_discard_body,
          &lines_account_state_own, lines_read_input, lines_account_read,
          lines_account_plan, lines_account_limits_answer) },

    { NGX_HTTP_GET, ngx_string("events"),
      row("account_events", NULL, lines_discard_body, NULL,
          lines_stream_begin, lines_stream_renew, lines_stream_say,
          lines_stream_read) },

    { NGX_HTTP_POST, ngx_string("lines/add-line"),
      row("add_line", lines_ticket_deprecated, lines_read_optional_json,
          &lines_account_ticket_input, lines_read_input,
          lines_account_ticket_next, lines_account_ticket_announce,
          lines_account_ticket_add) },

    { NGX_HTTP_GET, ngx_string("lines/line-request/:ticket"),
      row("line_request_ticket", lines_ticket_deprecated, lines_discard_body,
          &lines_account_ticket_own, lines_read_input,
          lines_account_ticket_find, lines_account_ticket_owner,
          lines_account_ticket_get) },

    { NGX_HTTP_GET, ngx_string("lines/:phone_number"),
      row("account_line", lines_account_line_number, lines_discard_body,
          &lines_account_line_input, lines_read_input, lines_account_line_turn,
          lines_account_line_find, lines_wait_renewed, lines_wait_begin,
          lines_account_line_get) },

    { NGX_HTTP_GET, ngx_string("webhooks"),
      row("webhook_list", lines_webhook_offered, lines_discard_body, NULL,
          lines_webhook_list) },

    { NGX_HTTP_POST, ngx_string("webhooks"),
      row("webhook_create", lines_webhook_offered, lines_read_optional_json,
          &lines_webhook_create_input, lines_read_input, lines_webhook_check,
          lines_webhook_create, lines_webhook_due, lines_webhook_made) },

    { NGX_HTTP_GET, ngx_string("webhooks/:id"),
      row("webhook_get", lines_webhook_offered, lines_discard_body, NULL,
          lines_webhook_show) },

    { NGX_HTTP_PATCH, ngx_string("webhooks/:id"),
      row("webhook_change", lines_webhook_offered, lines_read_optional_json,
          &lines_webhook_change_input, lines_read_input, lines_webhook_check,
          lines_webhook_change, lines_webhook_due, lines_webhook_tell,
          lines_webhook_changed) },

    { NGX_HTTP_DELETE, ngx_string("webhooks/:id"),
      row("webhook_delete", lines_webhook_offered, lines_discard_body, NULL,
          lines_webhook_delete) },

    { NGX_HTTP_POST, ngx_string("webhooks/:id/secret"),
      row("webhook_secret", lines_webhook_offered, lines_discard_body,
          &lines_webhook_own, lines_read_input, lines_webhook_rotate) },

    { NGX_HTTP_GET, ngx_string("webhooks/:id/deliveries"),
      row("webhook_deliveries", lines_webhook_offered, lines_discard_body,
          NULL, lines_webhook_calls) },

    { NGX_HTTP_POST, ngx_string("webhooks/:id/replay"),
      row("webhook_replay", lines_webhook_offered, lines_read_optional_json,
          &lines_webhook_replay_input, lines_read_input, lines_webhook_replay,
          lines_webhook_due, lines_webhook_tell, lines_webhook_replayed) },

    { 0, ngx_null_string, ngx_null_string, { NULL }, NULL, NULL }
};


lines_api_t  lines_account_api = {
    ngx_string("account"),
    lines_account_error,
    account_routes,
    LINES_ACCOUNT_BODY,
    NULL
};
